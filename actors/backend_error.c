/* backend_error.c — what a backend does about errors of its medium, and its pauses.
 *
 * Who acts on an event finds the state it tells of: on a stop the status is set first, then
 * BLOCK_IO_ERROR is told, then STOP. Errors that come thick and fast are counted: the first is told
 * at once, what follows within a second is told as one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/backend_impl.h"
#include "actors/emit.h"
#include "engine/clock.h"
#include "engine/reactor.h"

#define ERROR_PERIOD NS_PER_S

static uint64_t now(const struct backend *backend)
{
    return reactor_now(actor_reactor(backend->self));
}

/* --- Telling */

static void tell_error(struct backend *backend, Sluice__IoErrorEvent *event)
{
    emit_event(backend->self, "backend", actor_name(backend->self), SLUICE__EVENT__SEVERITY__ERROR,
               SLUICE__EVENT__BODY_BLOCK_IO_ERROR, event);
}

static void tell_gathered(struct backend *backend, struct quiet_error *quiet)
{
    if (quiet->event)
        tell_error(backend, quiet->event);
    quiet->event = NULL;
}

/* Looks when the next second is over, if there is anything to be told then. */
static void arm(struct backend *backend)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < 2; i++)
        if (backend->errors[i].event && backend->errors[i].until < next)
            next = backend->errors[i].until;
    struct timers *timers = reactor_timers(actor_reactor(backend->self));
    if (next == UINT64_MAX)
        timer_cancel(timers, &backend->error_timer);
    else
        timer_arm(timers, &backend->error_timer, next);
}

static void second_over(struct timer *timer)
{
    struct backend *backend =
        (struct backend *)((char *)timer - offsetof(struct backend, error_timer));
    for (int i = 0; i < 2; i++) {
        struct quiet_error *quiet = &backend->errors[i];
        if (!quiet->event || quiet->until > now(backend))
            continue;
        tell_gathered(backend, quiet);
        quiet->until = now(backend) + ERROR_PERIOD;
    }
    arm(backend);
}

void backend_error_tell(struct backend *backend)
{
    for (int i = 0; i < 2; i++)
        tell_gathered(backend, &backend->errors[i]);
}

static bool reads(const struct op *op)
{
    return op->kind == OP_READ || op->kind == OP_STATUS;
}

static Sluice__IoErrorEvent *make_event(const struct backend *backend, const struct op *op,
                                        Sluice__IoErrorEvent__Action action)
{
    Sluice__IoErrorEvent *event = MAIL_NEW(sluice__io_error_event);
    mail_set(&event->backend, actor_name(backend->self));
    if (backend->inserted && backend->node_name)
        mail_set(&event->node, backend->node_name);
    mail_set(&event->operation, reads(op) ? "read" : "write");
    event->action = action;
    event->has_nospace = true;
    event->nospace = op->ret == -ENOSPC;
    mail_set(&event->reason, strerror((int)-op->ret));
    event->has_offset = event->has_length = op_has_range(op->kind);
    event->offset = (uint64_t)op->offset;
    event->length = op->bytes;
    event->has_count = true;
    return event;
}

static void tell(struct backend *backend, const struct op *op, Sluice__IoErrorEvent__Action action)
{
    struct quiet_error *quiet = &backend->errors[!reads(op)];
    Sluice__IoErrorEvent *event = make_event(backend, op, action);
    if (action == SLUICE__IO_ERROR_EVENT__ACTION__STOP) {
        backend_error_tell(backend); /* what came before it, of whatever kind */
        tell_error(backend, event);
    } else if (now(backend) >= quiet->until) {
        tell_error(backend, event);
        quiet->until = now(backend) + ERROR_PERIOD;
    } else {
        event->count += quiet->event ? quiet->event->count : 0;
        mail_free_body(quiet->event);
        quiet->event = event;
    }
    arm(backend);
}

/* --- Deciding */

static Sluice__IoErrorEvent__Action action_for(const struct backend *backend, const struct op *op)
{
    switch (reads(op) ? backend->on_read_error : backend->on_error) {
    case SLUICE__ON_ERROR__POLICY__IGNORE:
        return SLUICE__IO_ERROR_EVENT__ACTION__IGNORE;
    case SLUICE__ON_ERROR__POLICY__STOP:
        return SLUICE__IO_ERROR_EVENT__ACTION__STOP;
    case SLUICE__ON_ERROR__POLICY__ENOSPC:
        return op->ret == -ENOSPC ? SLUICE__IO_ERROR_EVENT__ACTION__STOP
                                  : SLUICE__IO_ERROR_EVENT__ACTION__REPORT;
    default:
        return SLUICE__IO_ERROR_EVENT__ACTION__REPORT;
    }
}

/* Nothing can be held any more by one that is ending. */
static bool may_stop(const struct backend *backend)
{
    return !backend->closing && !backend->aborted;
}

Sluice__IoErrorEvent__Action backend_error(struct backend *backend, const struct op *op)
{
    Sluice__IoErrorEvent__Action action = action_for(backend, op);
    bool stops = action == SLUICE__IO_ERROR_EVENT__ACTION__STOP;
    if (stops && !may_stop(backend)) {
        action = SLUICE__IO_ERROR_EVENT__ACTION__REPORT;
        stops = false;
    }
    if (stops && backend->keeps_io_status && backend->io_status == SLUICE__IO_STATUS__OK)
        backend->io_status =
            op->ret == -ENOSPC ? SLUICE__IO_STATUS__NOSPACE : SLUICE__IO_STATUS__FAILED;
    bool was_stopped = backend->pauses & PAUSE_ERROR;
    if (stops) {
        backend->pauses |= PAUSE_ERROR;
        backend->waits = true;
    }
    tell(backend, op, action);
    if (stops && !was_stopped)
        backend_stop(backend, strerror((int)-op->ret));
    return action;
}

void backend_reset_io_status(struct backend *backend)
{
    backend->io_status = SLUICE__IO_STATUS__OK;
    actor_tell(backend->self, world(backend->self)->graph, MAIL_IO_STATUS_RESET, NULL);
}

/* --- Pauses */

static void tell_run(struct backend *backend, Sluice__Event__BodyCase what, const char *reason)
{
    Sluice__RunEvent *event = MAIL_NEW(sluice__run_event);
    mail_set(&event->backend, actor_name(backend->self));
    if (reason)
        mail_set(&event->reason, reason);
    emit_event(backend->self, "backend", actor_name(backend->self), SLUICE__EVENT__SEVERITY__INFO,
               what, event);
}

void backend_stop(struct backend *backend, const char *reason)
{
    backend->stop_told = backend->stop_scope == SLUICE__ON_ERROR__SCOPE__BACKEND;
    if (backend->stop_told) {
        tell_run(backend, SLUICE__EVENT__BODY_STOP, reason);
        return;
    }
    Sluice__Stop *stop = MAIL_NEW(sluice__stop);
    mail_set(&stop->backend, actor_name(backend->self));
    mail_set(&stop->reason, reason);
    actor_tell(backend->self, world(backend->self)->graph, MAIL_STOP, stop);
}

void backend_pause(struct backend *backend, unsigned pauses, const char *reason)
{
    bool own = pauses & PAUSE_REQUEST && !(backend->pauses & PAUSE_REQUEST);
    backend->pauses |= pauses;
    backend_throttle_look(backend);
    backend->waits = true;
    if (own) {
        backend_error_tell(backend);
        tell_run(backend, SLUICE__EVENT__BODY_STOP, reason);
    }
}

void backend_resume(struct backend *backend, unsigned pauses)
{
    unsigned ended = backend->pauses & pauses;
    backend->pauses &= ~pauses;
    backend_await_over(backend);
    backend_throttle_look(backend);
    if (ended & PAUSE_ERROR)
        backend_reset_io_status(backend);
    bool told = ended & PAUSE_REQUEST || (ended & PAUSE_ERROR && backend->stop_told);
    if (told && !(backend->pauses & (PAUSE_REQUEST | PAUSE_ERROR)))
        tell_run(backend, SLUICE__EVENT__BODY_RESUME, NULL);
    backend_go(backend);
}

/* --- Life */

void backend_error_init(struct backend *backend)
{
    backend->error_timer.fire = second_over;
}

void backend_error_leave(struct backend *backend)
{
    timer_cancel(reactor_timers(actor_reactor(backend->self)), &backend->error_timer);
}

void backend_error_arrive(struct backend *backend)
{
    arm(backend);
}

void backend_error_fini(struct backend *backend)
{
    timer_cancel(reactor_timers(actor_reactor(backend->self)), &backend->error_timer);
    for (int i = 0; i < 2; i++)
        mail_free_body(backend->errors[i].event);
}
