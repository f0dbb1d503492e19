/* blk.c — a backend as an embedding thread has it, from the claim to the last reference. See
 * blk_life.c for how it gets one, blk_io.c for requests, blk_facts.c for facts, blk_control.c for
 * policies and pauses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/context.h"
#include "actors/node.h"
#include "engine/mem.h"

/* --- What the backend tells */

static void take_facts(struct blk *blk, const Sluice__NodeFacts *facts, bool inserted,
                       bool available)
{
    node_facts_from_message(facts, &blk->facts);
    blk->inserted = inserted;
    blk->available = available;
    blk->open_flags = facts->open_flags;
}

void blk_renamed(struct blk *blk, const char *name)
{
    if (strcmp(blk->name, name) != 0) {
        free(blk->name);
        blk->name = mem_string(name);
    }
}

void blk_changed(struct blk *blk, const Sluice__BackendChanged *told)
{
    take_facts(blk, told->facts, told->inserted, told->available);
    blk_renamed(blk, told->name);
}

/* --- Opening */

/* What a blk is called in messages. */
static void write_name(const blk_context *context, char *out, size_t size)
{
    snprintf(out, size, "context %u", (unsigned)port_address(context->port));
}

Sluice__Permissions *blk_permissions(struct driver_perms perms)
{
    Sluice__Permissions *out = MAIL_NEW(sluice__permissions);
    out->perm = perms.perm;
    out->shared = perms.shared;
    return out;
}

static void end_claim(blk_context *context, uint64_t claim)
{
    Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
    end->claim = claim;
    context_call(context, context->sluice->world.graph, MAIL_CLAIM_END, end, NULL, NULL);
}

static void take_grant(const void *reply, void *arg)
{
    const Sluice__SessionGrant *grant = reply;
    struct blk *blk = arg;
    blk->session = grant->session;
    blk->granted = grant->requests;
    take_facts(blk, grant->facts, grant->inserted, grant->available);
    blk_renamed(blk, grant->name);
}

static int open_session(struct blk *blk, struct err *err)
{
    blk_context *context = blk->context;
    char who[32];
    write_name(context, who, sizeof who);
    Sluice__SessionOpen *session = MAIL_NEW(sluice__session_open);
    session->requests = context->depth;
    session->bytes = 0; /* data stays in the caller's memory: nothing of it waits in the engine */
    session->has_watcher = true;
    session->watcher = port_address(context->port);
    session->has_callbacks = true;
    session->callbacks = (uint64_t)(uintptr_t)&blk->in_flight;
    session->has_told = true;
    session->told = (uint64_t)(uintptr_t)&blk->told;
    mail_set(&session->name, who);
    return context_call_take(context, blk->backend, MAIL_SESSION_OPEN, session, take_grant, blk,
                             err);
}

/* From then on it hears what the backend tells. */
static void list(struct blk *blk)
{
    blk->next = blk->context->blks;
    blk->context->blks = blk;
}

static void unlist(struct blk *blk)
{
    struct blk **at = &blk->context->blks;
    while (*at != blk)
        at = &(*at)->next;
    *at = blk->next;
}

static void blk_free(struct blk *blk)
{
    blk_notifiers_free(blk);
    free(blk->name);
    free(blk);
}

void blk_free_closed(struct blk *blk)
{
    if (blk->closed && !blk->running && !blk->calling && !blk->holds)
        blk_free(blk);
}

int blk_claim(blk_context *context, Sluice__Claim *claim, blk **out, char **error)
{
    struct driver_perms perms = {claim->permissions->perm, claim->permissions->shared};
    char who[32];
    struct err err = {0};
    void *reply = NULL;
    *out = NULL;
    write_name(context, who, sizeof who);
    mail_set(&claim->name, who);
    if (context_call(context, context->sluice->world.graph, MAIL_CLAIM, claim, &reply, &err) < 0)
        return context_error(error, err.code, err.text);
    Sluice__Claimed *claimed = reply;
    struct blk *blk = MEM_NEW(struct blk);
    blk->context = context;
    blk->name = mem_string(claimed->name);
    blk->references = 1;
    blk->backend = claimed->address;
    blk->id = claimed->id;
    blk->claim = claimed->claim;
    blk->number = 1 + context->opened++ % OP_HOLDERS;
    blk->perms = perms;
    blk->writable = perms.perm & PERM_WRITE;
    mail_free_body(claimed);
    list(blk); /* before the session: what changes after it has been granted is told at once */
    if (open_session(blk, &err) < 0) {
        unlist(blk);
        end_claim(context, blk->claim);
        blk_free(blk);
        return context_error(error, err.code, err.text);
    }
    *out = blk;
    return context_error(error, 0, NULL);
}

/* --- References, closing */

static void end_regions(struct blk *blk)
{
    while (blk->regions)
        region_end(blk->context, &blk->regions);
}

/* The last reference has gone. */
static void end(struct blk *blk)
{
    blk_context *context = blk->context;
    unsigned plugged = context_wait_begin(context);
    while (blk->cancels)
        port_wait(context->port, UINT64_MAX);
    context_wait_end(context, plugged);
    blk_unregister_all(blk);
    blk_dev_end(blk);
    Sluice__SessionClose *close = MAIL_NEW(sluice__session_close);
    close->session = blk->session;
    context_call(context, blk->backend, MAIL_SESSION_CLOSE, close, NULL, NULL);
    end_regions(blk);
    end_claim(context, blk->claim);
    unlist(blk);
    blk->closed = true;
    blk_free_closed(blk);
}

/* Tells how often the claim, or the device, refers to the backend. */
static void tell_references(const struct blk *blk, uint64_t claim, unsigned n)
{
    Sluice__ClaimRefs *refs = MAIL_NEW(sluice__claim_refs);
    refs->claim = claim;
    refs->references = n;
    port_tell(blk->context->port, blk->context->sluice->world.graph, MAIL_CLAIM_REFS, refs);
}

/* One that is about to go does not count: if none is left, nothing waits for limits. */
static void tell_all_references(const struct blk *blk)
{
    unsigned n = blk->references - blk->closing;
    tell_references(blk, blk->claim, n);
    if (blk->device)
        tell_references(blk, blk->device, n > 0);
    port_flush(blk->context->port);
}

static void set_references(struct blk *blk, unsigned n)
{
    blk->references = n;
    tell_all_references(blk);
}

void blk_ref(blk *blk)
{
    set_references(blk, blk->references + 1);
}

/* Callbacks that run while the last reference waits for requests may drop it again, which is
 * nothing: it goes already. One that they take and keep keeps the blk. */
void blk_unref(blk *blk)
{
    if (!blk || blk->closed)
        return;
    if (blk->references == 1) {
        if (blk->closing)
            return;
        blk->closing = true;
        if (blk->in_flight > blk->running)
            tell_all_references(blk);
        while (blk->in_flight > blk->running) {
            end_regions(blk);        /* what waits for that is not to be waited for */
            blk_cancel_waiting(blk); /* again, as mail may be faster than what it names */
            blk_wait(blk->context, BLK_CANCEL_AGAIN_MS);
        }
        if (blk->references == 1) {
            end(blk);
            return;
        }
        blk->closing = false;
    }
    set_references(blk, blk->references - 1);
}

void blk_close(blk **self)
{
    struct blk *blk = *self;
    *self = NULL;
    blk_unref(blk);
}
