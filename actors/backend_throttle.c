/* backend_throttle.c — a backend as a member of a throttle group. The member is the backend, so the
 * limits stay when media come and go. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/backend_impl.h"
#include "actors/throttle.h"
#include "engine/mem.h"

struct backend_throttle {
    struct throttle_member member; /* first: see backend->throttle */
    struct ticket joiner;          /* who waits for it to be in another group */
    char name[80];                 /* what the group calls it */
};

static struct backend_throttle *throttle_of(const struct backend *backend)
{
    return (struct backend_throttle *)backend->throttle;
}

static void pass(void *owner, struct op *op)
{
    const struct backend *backend = owner;
    op_send(op, backend->node);
}

static void joined(void *owner, const struct err *err)
{
    struct backend *backend = owner;
    struct backend_throttle *throttle = throttle_of(backend);
    struct ticket ticket = throttle->joiner;
    throttle->joiner = (struct ticket){0};
    if (err)
        actor_refuse(backend->self, ticket, err);
    else
        actor_reply(backend->self, ticket, MAIL_NONE, NULL);
    if (throttle_member_over(&throttle->member))
        backend_throttle_fini(backend); /* requests of one in no group need not look at it */
}

static struct throttle_member *make(struct backend *backend)
{
    struct backend_throttle *throttle = MEM_NEW(struct backend_throttle);
    const char *name = actor_name(backend->self);
    if (*name)
        snprintf(throttle->name, sizeof throttle->name, "backend '%s'", name);
    else
        snprintf(throttle->name, sizeof throttle->name, "a block device");
    throttle_member_init(&throttle->member, backend->self, throttle->name, throttle_send, pass,
                         backend);
    backend->throttle = &throttle->member;
    backend_throttle_look(backend);
    return backend->throttle;
}

static void open_joined(void *owner, const struct err *err)
{
    backend_opened(owner, err);
}

void backend_throttle_open(struct backend *backend, const Sluice__ThrottleJoin *join)
{
    throttle_member_join(make(backend), join->address, join->group, open_joined);
}

void backend_on_throttle_join(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    struct err err = {0};
    if (backend->throttle && backend->throttle->joining)
        err_set(&err, -EBUSY, "backend '%.63s' joins another throttle group; try again when it has",
                actor_name(self));
    else if (backend->closing)
        err_set(&err, -EBUSY, "backend '%.63s' is being closed", actor_name(self));
    if (err.code) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    const Sluice__ThrottleJoin *join = (const Sluice__ThrottleJoin *)mail->body;
    struct throttle_member *member = backend->throttle ? backend->throttle : make(backend);
    throttle_of(backend)->joiner = mail_ticket(mail);
    throttle_member_join(member, join->address, join->group, joined);
}

void backend_on_throttle_grant(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    if (backend->throttle)
        throttle_member_on_grant(backend->throttle, (const Sluice__ThrottleGrant *)mail->body);
}

void backend_throttle_look(struct backend *backend)
{
    bool open = backend->lets_through || backend->quiesced || backend->closing ||
                backend->pauses & (unsigned)~PAUSE_ERROR;
    if (backend->throttle)
        throttle_member_open(backend->throttle, open);
}

void backend_on_let_through(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    backend->lets_through = ((const Sluice__LetThrough *)mail->body)->on;
    backend_throttle_look(backend);
}

static void left(void *owner, const struct err *err)
{
    (void)err; /* leaving is never refused */
    backend_closed(owner);
}

bool backend_throttle_close(struct backend *backend)
{
    if (!backend->throttle || !throttle_member_joined(backend->throttle))
        return true;
    if (!backend->throttle->closed)
        throttle_member_close(backend->throttle, left);
    return false;
}

void backend_throttle_fini(struct backend *backend)
{
    if (backend->throttle)
        throttle_member_fini(backend->throttle);
    free(throttle_of(backend));
    backend->throttle = NULL;
}
