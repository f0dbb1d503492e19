/* backend_move.c — a backend goes to another reactor.
 *
 * What waits in it belongs to the thread that it leaves: it is handed back, and comes again over
 * there, in the same order. Those that were held are known by their keys when they come, and are
 * held again with the error that they had. */
#include "actors/backend_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/mem.h"
#include "engine/reactor.h"

struct carried {
    struct carried *next;
    uint64_t key; /* of the operation */
    struct held held;
};

void backend_on_move(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    unsigned reactor = ((const Sluice__Move *)mail->body)->reactor;
    if (backend->in_flight || backend->closing || backend->aborted) {
        struct err err = {0};
        if (backend->closing || backend->aborted)
            err_set(&err, -ESHUTDOWN, "backend '%.63s' can't move any more: it ends",
                    actor_name(self));
        else
            err_set(&err, -EBUSY, "backend '%.63s' can't move now: it is not quiet; drain it first",
                    actor_name(self));
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    if (reactor == reactor_id(actor_reactor(self))) {
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
        return;
    }
    backend->waits = true; /* what comes again is to find the queue */
    backend->mover = mail_ticket(mail);
    actor_move(self, reactor);
}

void backend_leave(struct actor *self)
{
    struct backend *backend = actor_state(self);
    struct op_queue back;
    struct op *op;
    backend_error_leave(backend);
    if (backend->throttle)
        throttle_member_leave(backend->throttle);
    op_queue_init(&back);
    while ((op = op_dequeue(&backend->held))) {
        struct carried *carried = MEM_NEW(struct carried);
        carried->held = *(const struct held *)op_top(op);
        op_pop(op);
        carried->key = op_key(op);
        carried->next = backend->carried;
        backend->carried = carried;
        op_enqueue(&back, op);
    }
    while ((op = op_dequeue(&backend->queue)))
        op_enqueue(&back, op);
    backend->queued_bytes = 0;
    actor_give_back(self, &back);
}

void backend_arrive(struct actor *self)
{
    struct backend *backend = actor_state(self);
    backend_error_arrive(backend);
    if (backend->throttle)
        throttle_member_arrive(backend->throttle);
    actor_reply(self, backend->mover, MAIL_NONE, NULL);
    backend->mover = (struct ticket){0};
    backend_go(backend); /* unless it is drained */
}

bool backend_was_held(struct backend *backend, struct op *op)
{
    struct carried **at = &backend->carried, *carried;
    while (*at && (*at)->key != op_key(op))
        at = &(*at)->next;
    carried = *at;
    if (!carried)
        return false;
    *at = carried->next;
    backend_hold(backend, op, carried->held.arrival, carried->held.error);
    free(carried);
    if (backend->closing || backend->aborted)
        backend_end_waiting(backend);
    if (backend->carried)
        return true;
    backend_go(backend);
    if (backend->closing && !backend->in_flight)
        backend_settle(backend);
    return true;
}

void backend_move_fini(struct backend *backend)
{
    struct carried *carried;
    while ((carried = backend->carried)) {
        backend->carried = carried->next;
        free(carried);
    }
}
