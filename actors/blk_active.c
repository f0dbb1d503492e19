/* blk_active.c — media are handed over to other processes, and taken over. */
#include "actors/context.h"

#include "engine/mem.h"

static int ask(blk_context *context, unsigned kind, void *body, char **error)
{
    struct err err = {0};
    int ret = context_call(context, context->sluice->world.graph, kind, body, NULL, &err);
    return context_error(error, ret, err.text);
}

static int ask_one(const blk *blk, Sluice__ClaimActivity__What what, char **error)
{
    Sluice__ClaimActivity *body = MAIL_NEW(sluice__claim_activity);
    body->claim = blk->claim;
    body->what = what;
    return ask(blk->context, MAIL_CLAIM_ACTIVITY, body, error);
}

int blk_inactivate(blk *blk, char **error)
{
    return ask_one(blk, SLUICE__CLAIM_ACTIVITY__WHAT__INACTIVATE, error);
}

int blk_activate(blk *blk, char **error)
{
    return ask_one(blk, SLUICE__CLAIM_ACTIVITY__WHAT__ACTIVATE, error);
}

void blk_set_allow_inactivate(blk *blk, bool allow)
{
    ask_one(blk, allow ? SLUICE__CLAIM_ACTIVITY__WHAT__ALLOW : SLUICE__CLAIM_ACTIVITY__WHAT__FORBID,
            NULL);
}

static int ask_all(blk_context *context, bool active, char **error)
{
    Sluice__Request *request = MAIL_NEW(sluice__request);
    request->body_case = active ? SLUICE__REQUEST__BODY_ACTIVATE : SLUICE__REQUEST__BODY_INACTIVATE;
    request->activate = MAIL_NEW(sluice__empty); /* both hold one */
    return ask(context, MAIL_REQUEST, request, error);
}

int blk_inactivate_all(blk_context *context, char **error)
{
    return ask_all(context, false, error);
}

int blk_activate_all(blk_context *context, char **error)
{
    return ask_all(context, true, error);
}
