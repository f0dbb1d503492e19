/* backend_drain.c — drained regions, and the end of what is in flight.
 *
 * An operation is in flight until its callback has returned. Callbacks on the backend's own reactor
 * have, when the operation has been completed. Those of an embedding thread run when that looks: so
 * when the last completion has left, those sessions are asked whose count says that callbacks are
 * due, and whoever waits is answered when they have answered; at the end of the engine's patience
 * without them, as a thread may have stopped looking. */
#include "actors/backend_impl.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "engine/mem.h"
#include "engine/peer.h"

/* --- Quiet */

static unsigned ask_sessions(struct backend *backend)
{
    for (struct session *session = backend->sessions; session && !backend->aborted;
         session = session->next) {
        if (!session->callbacks || session->asked ||
            !atomic_load_explicit(session->callbacks, memory_order_acquire))
            continue;
        session->asked = true;
        backend->asked++;
        Sluice__SessionQuiet *mail = MAIL_NEW(sluice__session_quiet);
        mail->session = session->id;
        actor_tell(backend->self, session->watcher, MAIL_SESSION_QUIET, mail);
    }
    return backend->asked;
}

static void answer(struct backend *backend, struct waiter **waiters)
{
    struct waiter *waiter;
    while ((waiter = *waiters)) {
        *waiters = waiter->next;
        actor_reply(backend->self, waiter->ticket, MAIL_NONE, NULL);
        free(waiter);
    }
}

static void answer_over(struct backend *backend, struct waiter **at)
{
    struct waiter *waiter;
    while ((waiter = *at)) {
        if (waiter->pause ? backend->pauses & waiter->pause : backend->quiesced) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        actor_reply(backend->self, waiter->ticket, MAIL_NONE, NULL);
        free(waiter);
    }
}

void backend_await_over(struct backend *backend)
{
    answer_over(backend, &backend->waiters);
    answer_over(backend, &backend->calm_waiters);
}

/* All callbacks of what was in flight when they were asked have returned. */
static void calm(struct backend *backend)
{
    answer(backend, &backend->calm_waiters);
    if (backend->in_flight)
        return; /* of the holder of a region, or since a resume: its end looks again */
    if (backend->asks_again) {
        backend_settle(backend);
        return;
    }
    if (backend->removing)
        backend_removed(backend);
    if (backend->closing && !backend->carried)
        backend_closed(backend);
}

void backend_settle(struct backend *backend)
{
    /* Of one frame, mail is taken first: the completions, of which the answers tell, leave before.
     */
    peer_flush(actor_peer(backend->self));
    backend->asks_again = backend->asked; /* that was about others' callbacks, maybe */
    if (backend->asked)
        return;
    backend->calm_waiters = backend->waiters;
    backend->waiters = NULL;
    if (!ask_sessions(backend))
        calm(backend);
}

static void answered(struct backend *backend, struct session *session)
{
    if (!session->asked)
        return;
    session->asked = false;
    if (!--backend->asked)
        calm(backend);
}

void backend_on_session_calm(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    uint64_t id = ((Sluice__SessionCalm *)mail->body)->session;
    struct session *session = backend->sessions;
    while (session && session->id != id)
        session = session->next;
    if (session)
        answered(backend, session);
}

void backend_forget_session(struct backend *backend, struct session *session)
{
    answered(backend, session);
}

void backend_drain_abort(struct backend *backend)
{
    for (struct session *session = backend->sessions; session; session = session->next)
        answered(backend, session);
}

void backend_await_quiet(struct backend *backend, unsigned pause, struct ticket ticket)
{
    struct waiter *waiter = MEM_NEW(struct waiter);
    waiter->ticket = ticket;
    waiter->pause = pause;
    waiter->next = backend->waiters;
    backend->waiters = waiter;
    if (!backend->in_flight)
        backend_settle(backend);
}

/* --- Resizes */

void backend_resize_over(struct backend *backend)
{
    if (!--backend->resizes)
        answer(backend, &backend->resize_waiters);
}

void backend_await_resizes(struct backend *backend, struct ticket ticket)
{
    struct waiter *waiter = MEM_NEW(struct waiter);
    *waiter = (struct waiter){.next = backend->resize_waiters, .ticket = ticket};
    backend->resize_waiters = waiter;
    if (!backend->resizes)
        answer(backend, &backend->resize_waiters);
}

/* --- Regions */

void backend_quiesce(struct backend *backend)
{
    backend->waits = true;
    if (!backend->quiesced++)
        backend_device_drained(backend, true);
    backend_throttle_look(backend);
}

void backend_unquiesce(struct backend *backend)
{
    if (!--backend->quiesced) {
        backend_await_over(backend);
        backend_device_drained(backend, false);
        backend_throttle_look(backend);
    }
    backend_go(backend);
}

static struct drain region_of(const struct mail *mail)
{
    const Sluice__DrainWhose *whose = (const Sluice__DrainWhose *)mail->body;
    return whose ? (struct drain){NULL, whose->peer, whose->number} : (struct drain){0};
}

void backend_on_drain_begin(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    struct drain *region = MEM_NEW(struct drain);
    *region = region_of(mail);
    region->next = backend->regions;
    backend->regions = region;
    backend_quiesce(backend);
    backend_await_quiet(backend, 0, mail_ticket(mail));
}

void backend_on_drain_end(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    struct drain ends = region_of(mail), **at = &backend->regions, *region;
    while ((region = *at) && (region->peer != ends.peer || region->number != ends.number))
        at = &region->next;
    if (region) {
        *at = region->next;
        free(region);
        backend_unquiesce(backend);
    }
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

bool backend_drained_by(const struct backend *backend, unsigned peer)
{
    unsigned regions = 0;
    for (const struct drain *region = backend->regions; region; region = region->next, regions++)
        if (region->peer != peer)
            return false;
    return regions && regions == backend->quiesced;
}

bool backend_drain_passes(const struct backend *backend, const struct op *op)
{
    if (!(op->holder || op->flags & OP_DRAINING) ||
        !backend_drained_by(backend, op_key_peer(op_key(op))))
        return false;
    for (const struct drain *region = backend->regions; region; region = region->next)
        if (region->number ? op->holder != region->number : !(op->flags & OP_DRAINING))
            return false;
    return true;
}

void backend_drain_fini(struct backend *backend)
{
    struct waiter **lists[] = {&backend->waiters, &backend->calm_waiters, &backend->resize_waiters},
                  *waiter;
    struct drain *region;
    while ((region = backend->regions)) {
        backend->regions = region->next;
        free(region);
    }
    for (int i = 0; i < 3; i++)
        while ((waiter = *lists[i])) {
            *lists[i] = waiter->next;
            free(waiter);
        }
}
