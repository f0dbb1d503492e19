/* backend_change.c — another medium in the place of the one there.
 *
 * All that can be refused is refused before anything moves, then the graph tries the permissions.
 * After that only the device can still fail to load: then the old medium is put back, the tray is
 * closed over it, and no event was told. So the tray's moves are kept until the end.
 *
 * Sessions that want to know hear that the medium goes before the backend comes to rest, and what
 * they still ask of it then is done; at the end, when requests go through again, they hear that the
 * new one has come. Those who heard that it goes hear that it has come again when it is put back.
 */
#include <errno.h>
#include <stdlib.h>

#include "actors/backend_impl.h"
#include "actors/emit.h"
#include "engine/mem.h"

void backend_change_fini(struct backend *backend)
{
    free(backend->change.old_name);
}

static void end_noted(struct backend *backend)
{
    actor_reply(backend->self, backend->change.ticket, MAIL_NONE, NULL);
}

static void end(struct backend *backend, struct ticket ticket)
{
    bool done = backend->change.done;
    free(backend->change.old_name);
    backend->change = (struct backend_change){.ticket = ticket};
    backend_unquiesce(backend);
    if (backend->has_medium)
        backend_notify(backend, done ? NEWS_INSERTED : NEWS_KEPT, end_noted);
    else
        end_noted(backend);
}

/* --- The device did not take the new one */

static void failed(struct backend *backend, const struct err *err)
{
    struct backend_change *change = &backend->change;
    (void)err; /* then the tray is open, which is told */
    if (backend->device.tray_open != change->was_open)
        backend_tray_moved(backend, backend->device.tray_open);
    change->quiet = false;
    actor_refuse(backend->self, backend->device.asker, &change->err);
}

/* All is as it was but for the tray, or, where there is none, for what the device knows. */
static void take_back(struct backend *backend)
{
    const struct backend_change *change = &backend->change;
    backend_tell_watchers(backend);
    if (backend_has_tray(backend) ? backend->device.tray_open && !change->was_open : change->had)
        backend_device_ask(backend, SLUICE__DEVICE_CALL__CALL__LOAD, failed);
    else
        failed(backend, NULL);
}

/* One that is gone keeps the facts that it had. */
static void old_watched(struct actor *self, struct mail *reply, void *arg)
{
    struct backend *backend = arg;
    (void)self;
    if (!mail_fault(reply))
        backend_take_facts(backend, (const Sluice__NodeFacts *)reply->body);
    take_back(backend);
}

static void put_back(struct backend *backend, const struct err *err)
{
    struct backend_change *change = &backend->change;
    change->err = *err;
    if (backend->has_medium)
        backend_buffers_tell(backend, false);
    backend_unwatch(backend);
    free(backend->node_name);
    backend->node = change->old;
    backend->node_name = change->old_name;
    change->old_name = NULL;
    backend->has_medium = change->had;
    backend->facts = change->old_facts;
    backend->asked_read_only = change->asked_read_only;
    backend->read_only = change->read_only;
    backend_look(backend);
    if (backend->has_medium)
        backend_buffers_tell(backend, true);
    if (backend->node)
        backend_watch(backend, true, old_watched, backend);
    else
        take_back(backend);
}

/* --- Committing */

static void tell_medium(struct backend *backend, const char *node, Sluice__Event__BodyCase what)
{
    Sluice__MediumEvent *event = MAIL_NEW(sluice__medium_event);
    mail_set(&event->backend, actor_name(backend->self));
    mail_set(&event->node, node);
    emit_event(backend->self, "backend", actor_name(backend->self), SLUICE__EVENT__SEVERITY__INFO,
               what, event);
}

static void unwatch_old(const struct backend *backend)
{
    if (!backend->change.old || backend->change.old == backend->node)
        return;
    Sluice__NodeWatch *body = MAIL_NEW(sluice__node_watch);
    body->parent = actor_address(backend->self);
    actor_tell(backend->self, backend->change.old, MAIL_NODE_WATCH, body);
}

static void loaded(struct backend *backend, const struct err *err)
{
    struct backend_change *change = &backend->change;
    if (err) {
        put_back(backend, err);
        return;
    }
    unwatch_old(backend);
    if (change->opened)
        backend_tray_moved(backend, true);
    if (change->had)
        tell_medium(backend, change->old_name, SLUICE__EVENT__BODY_MEDIUM_REMOVED);
    tell_medium(backend, backend->node_name, SLUICE__EVENT__BODY_MEDIUM_INSERTED);
    if (change->closed)
        backend_tray_moved(backend, false);
    Sluice__BackendInserted *reply = MAIL_NEW(sluice__backend_inserted);
    reply->read_only = backend->asked_read_only;
    change->quiet = false;
    change->done = true;
    actor_reply(backend->self, backend->device.asker, MAIL_BACKEND_INSERTED, reply);
}

static void new_watched(struct actor *self, struct mail *reply, void *arg)
{
    struct backend *backend = arg;
    struct backend_change *change = &backend->change;
    (void)self;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        put_back(backend, &err);
        return;
    }
    backend->has_medium = true;
    backend_buffers_tell(backend, true);
    backend->asked_read_only = change->mode == SLUICE__MEDIUM_CHANGE__MODE__RETAIN
                                   ? change->read_only
                                   : change->mode == SLUICE__MEDIUM_CHANGE__MODE__READ_ONLY;
    backend_take_facts(backend, (const Sluice__NodeFacts *)reply->body);
    backend_tell_watchers(backend);
    backend_device_ask(backend, SLUICE__DEVICE_CALL__CALL__LOAD, loaded);
}

/* The tray is open, if there is one. */
static void opened(struct backend *backend, const struct err *err)
{
    (void)err; /* only loading fails */
    backend_watch(backend, true, new_watched, backend);
}

static void open_it(struct backend *backend, const struct err *err)
{
    (void)err;
    backend_device_ask(backend, SLUICE__DEVICE_CALL__CALL__EJECT, opened);
}

static void commit(struct backend *backend, const Sluice__BackendChange *asked)
{
    struct backend_change *change = &backend->change;
    if (backend->has_medium)
        backend_buffers_tell(backend, false);
    change->quiet = true;
    change->mode = asked->mode;
    change->was_open = backend->device.tray_open;
    change->read_only = backend->read_only;
    change->asked_read_only = backend->asked_read_only;
    change->had = backend->has_medium;
    change->old = backend->node;
    change->old_name = backend->node_name;
    change->old_facts = backend->facts;
    backend->node = asked->node;
    backend->node_name = mem_string(asked->name);
    backend->has_medium = false;
    backend_look(backend);
    if (backend->device.tray_open)
        opened(backend, NULL);
    else if (backend->device.locked)
        backend_device_ask(backend, SLUICE__DEVICE_CALL__CALL__FORCED_EJECT_REQUEST, open_it);
    else if (backend_has_tray(backend) || change->had)
        open_it(backend, NULL);
    else
        opened(backend, NULL);
}

/* --- Preparing */

static void was_asked(struct backend *backend, const struct err *err)
{
    (void)err;
    backend_refuse_locked(backend);
}

static void come_to_rest(struct backend *backend)
{
    backend_quiesce(backend);
    backend_await_quiet(backend, 0, backend->change.ticket);
}

static void prepare(struct backend *backend, bool force, struct ticket ticket)
{
    struct err err = {0};
    if (backend_device_idle(backend, &err) < 0 || backend_check_removable(backend, &err) < 0) {
        actor_refuse(backend->self, ticket, &err);
        return;
    }
    if (backend_has_tray(backend) && !backend->device.tray_open && backend->device.locked &&
        !force) {
        backend->device.asker = ticket;
        backend_device_ask(backend, SLUICE__DEVICE_CALL__CALL__EJECT_REQUEST, was_asked);
        return;
    }
    backend->change.prepared = true;
    backend->change.ticket = ticket;
    if (backend->has_medium)
        backend_notify(backend, NEWS_REMOVED, come_to_rest);
    else
        come_to_rest(backend);
}

void backend_on_change(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__BackendChange *asked = (const Sluice__BackendChange *)mail->body;
    switch (asked->step) {
    case SLUICE__BACKEND_CHANGE__STEP__PREPARE:
        prepare(backend, asked->force, mail_ticket(mail));
        break;
    case SLUICE__BACKEND_CHANGE__STEP__COMMIT:
        backend->device.asker = mail_ticket(mail);
        commit(backend, asked);
        break;
    default:
        end(backend, mail_ticket(mail));
    }
}
