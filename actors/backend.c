/* backend.c — a backend's life, sessions and medium. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/backend_impl.h"
#include "actors/emit.h"
#include "actors/name_list.h"
#include "actors/node.h"
#include "engine/directory.h"
#include "engine/mem.h"
#include "engine/reactor.h"

/* Kept of a backend's bounds for control: 64 requests of a mebibyte, as many as it begins at once.
 */
#define RESERVED_REQUESTS 64
#define RESERVED_BYTES    (UINT64_C(64) << 20)

/* --- Drains, pauses and the end */

static void on_pause(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__Pause *pause = (const Sluice__Pause *)mail->body;
    unsigned why = pause->engine ? PAUSE_ENGINE : PAUSE_REQUEST;
    if (pause->on) {
        backend_pause(backend, why, "asked for");
        backend_await_quiet(backend, why, mail_ticket(mail));
        return;
    }
    backend_resume(backend, why | (pause->error ? PAUSE_ERROR : 0));
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static void on_cancel(struct actor *self, struct mail *mail)
{
    const Sluice__Cancel *cancel = (const Sluice__Cancel *)mail->body;
    backend_cancel(actor_state(self), mail->origin, cancel->tags, cancel->n_tags);
}

/* Names those that have it open. */
static void refuse_sessions(struct backend *backend, struct mail *mail)
{
    struct name_list names = {0};
    for (const struct session *s = backend->sessions; s; s = s->next)
        name_list_add(&names, "", s->name);
    unsigned n = name_list_end(&names);
    struct err err = {0};
    err_set(&err, -EBUSY, "backend '%.63s' can't be closed: %s %s it open; end %s first",
            actor_name(backend->self), names.text, n > 1 ? "have" : "has",
            n > 1 ? "those" : "that");
    actor_refuse(backend->self, mail_ticket(mail), &err);
}

void backend_unwatch(const struct backend *backend)
{
    Sluice__NodeWatch *body = MAIL_NEW(sluice__node_watch);
    body->parent = actor_address(backend->self);
    actor_tell(backend->self, backend->node, MAIL_NODE_WATCH, body);
}

static void forget_node(struct backend *backend)
{
    backend->node = 0;
    free(backend->node_name);
    backend->node_name = NULL;
}

void backend_closed(struct backend *backend)
{
    if (!backend_throttle_close(backend))
        return;
    backend_buffers_end(backend);
    backend_device_abort(backend);
    if (backend->node)
        backend_unwatch(backend);
    backend_error_tell(backend);
    actor_reply(backend->self, backend->closer, MAIL_NONE, NULL);
    actor_stop(backend->self);
}

static void on_close(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    if (backend->closing) {
        struct err err = {0};
        err_set(&err, -EALREADY, "backend '%.63s' is closing already", actor_name(self));
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    if (backend->sessions) {
        refuse_sessions(backend, mail);
        return;
    }
    backend->closing = true;
    backend->closer = mail_ticket(mail);
    backend_throttle_look(backend);
    backend_end_waiting(backend);
    if (!backend->in_flight)
        backend_settle(backend);
}

static void on_abort(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    (void)mail;
    backend->aborted = true;
    backend_end_waiting(backend);
    backend_device_abort(backend);
    backend_stop_notifying(backend, NULL);
    backend_drain_abort(backend);
}

void backend_watch(struct backend *backend, bool on, actor_reply_fn *then, void *arg)
{
    Sluice__NodeWatch *body = MAIL_NEW(sluice__node_watch);
    body->parent = actor_address(backend->self);
    body->watch = on;
    actor_ask(backend->self, backend->node, MAIL_NODE_WATCH, body, then, arg);
}

/* --- The medium */

/* Which operations may go to the medium. */
static void allow(struct backend *backend)
{
    unsigned read = 1U << OP_READ | 1U << OP_LOAD_VMSTATE | 1U << OP_STATUS;
    unsigned change = 1U << OP_WRITE | 1U << OP_ZEROES | 1U << OP_DISCARD | 1U << OP_SAVE_VMSTATE;
    backend->allowed = ~(read | change | 1U << OP_TRUNCATE | 1U << OP_MAKE_EMPTY | 1U << OP_IOCTL);
    if (backend->perm & PERM_CONSISTENT_READ)
        backend->allowed |= read;
    if (backend->perm & PERM_WRITE)
        backend->allowed |= 1U << OP_IOCTL; /* which may be one that writes */
    if (backend->read_only)
        return;
    if (backend->perm & PERM_WRITE)
        backend->allowed |= change;
    if (backend->perm & (PERM_WRITE | PERM_WRITE_UNCHANGED))
        backend->allowed |= 1U << OP_MAKE_EMPTY; /* what reads as before */
    if (backend->perm & PERM_RESIZE)
        backend->allowed |= 1U << OP_TRUNCATE;
}

void backend_look(struct backend *backend)
{
    backend->inserted = backend->has_medium && !backend->facts.empty;
    backend->available = backend->inserted && !backend->device.tray_open;
}

void backend_take_facts(struct backend *backend, const Sluice__NodeFacts *facts)
{
    node_facts_from_message(facts, &backend->facts);
    backend_look(backend);
    backend->read_only = backend->asked_read_only || backend->facts.read_only;
    backend->open_flags = backend_flags_of(&backend->facts);
    allow(backend);
}

static void on_permit(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__BackendPermit *permit = (const Sluice__BackendPermit *)mail->body;
    backend->perm = permit->permissions->perm;
    allow(backend);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static void on_blocked(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    backend->resize_blocked = ((Sluice__BackendBlocked *)mail->body)->resize;
    if (backend->resize_blocked)
        backend_await_resizes(backend, mail_ticket(mail));
    else
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

/* As a frontend is told: read-only when the backend is. */
static Sluice__NodeFacts *facts_mail(const struct backend *backend)
{
    Sluice__NodeFacts *facts = MAIL_NEW(sluice__node_facts);
    node_facts_to_message(&backend->facts, facts);
    facts->has_open_flags = true;
    facts->open_flags = backend->open_flags;
    facts->read_only = backend->read_only;
    return facts;
}

static void emit_resized(struct backend *backend)
{
    Sluice__ResizeEvent *body = MAIL_NEW(sluice__resize_event);
    mail_set(&body->node, backend->node_name ? backend->node_name : "");
    mail_set(&body->backend, actor_name(backend->self));
    body->length = (uint64_t)backend->facts.length;
    emit_event(backend->self, "backend", actor_name(backend->self), SLUICE__EVENT__SEVERITY__INFO,
               SLUICE__EVENT__BODY_BLOCK_RESIZED, body);
}

void backend_tell_watchers(const struct backend *backend)
{
    for (const struct session *session = backend->sessions; session; session = session->next) {
        if (!session->watcher)
            continue;
        Sluice__BackendChanged *told = MAIL_NEW(sluice__backend_changed);
        told->facts = facts_mail(backend);
        told->inserted = backend->inserted;
        told->has_available = true;
        told->available = backend->available;
        mail_set(&told->name, actor_name(backend->self));
        actor_tell(backend->self, session->watcher, MAIL_BACKEND_CHANGED, told);
    }
}

/* Those who have it open are told. */
static void on_rename(struct actor *self, struct mail *mail)
{
    actor_rename(self, ((const Sluice__BackendRename *)mail->body)->name);
    backend_tell_watchers(actor_state(self));
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static void on_node_changed(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    if (mail->from != backend->node)
        return;
    int64_t before = backend->facts.length;
    backend_take_facts(backend, ((Sluice__NodeChanged *)mail->body)->facts);
    backend_tell_watchers(backend);
    if (backend->facts.length != before && backend->facts.length >= 0) {
        backend_device_resized(backend);
        emit_resized(backend);
    }
}

/* Those who wanted to know do: what they still asked of the medium is in flight. */
static void begin_removal(struct backend *backend)
{
    backend->removing = true;
    backend_quiesce(backend);
    if (!backend->in_flight)
        backend_settle(backend);
}

static void remove_medium(struct backend *backend, struct ticket ticket, bool by_console)
{
    backend->remover = ticket;
    backend->by_console = by_console;
    backend_notify(backend, NEWS_REMOVED, begin_removal);
}

/* A device without a tray has taken the medium, or not. */
static void pushed_in(struct backend *backend, const struct err *err)
{
    if (!err) {
        actor_reply(backend->self, backend->opening, MAIL_NONE, NULL);
        return;
    }
    backend->removal_cause = *err;
    remove_medium(backend, backend->opening, false);
}

/* One with a tray takes it in when that is closed. */
static void insertion_noted(struct backend *backend)
{
    if (backend->by_console && !backend_has_tray(backend))
        backend_device_ask(backend, SLUICE__DEVICE_CALL__CALL__LOAD, pushed_in);
    else
        actor_reply(backend->self, backend->opening, MAIL_NONE, NULL);
}

static void on_watching(struct actor *self, struct mail *reply, void *arg)
{
    struct backend *backend = arg;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        forget_node(backend);
        actor_refuse(self, backend->opening, &err);
        return;
    }
    backend->has_medium = true;
    backend_buffers_tell(backend, true);
    backend_take_facts(backend, (Sluice__NodeFacts *)reply->body);
    backend_tell_watchers(backend);
    backend_notify(backend, NEWS_INSERTED, insertion_noted);
}

/* The node becomes the medium; answers `ticket` when it has. Until then there is none. */
static void take_medium(struct backend *backend, actor_addr node, const char *name,
                        struct ticket ticket)
{
    backend->opening = ticket;
    backend->node = node;
    backend->node_name = mem_string(name);
    backend_watch(backend, true, on_watching, backend);
}

static void on_insert(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__BackendInsert *insert = (const Sluice__BackendInsert *)mail->body;
    struct err err = {0};
    if (backend->node || backend->closing || backend->aborted)
        err_set(&err, -EBUSY, "backend '%.63s' takes no medium now: it has one, or is closing",
                actor_name(self));
    if (err.code || (insert->console && backend_check_console(backend, &err) < 0)) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    backend->by_console = insert->console;
    take_medium(backend, insert->node, insert->name, mail_ticket(mail));
}

/* The medium is out, and who uses the backend as a drive knows. */
static void taken_out(struct backend *backend, const struct err *err)
{
    (void)err; /* ejecting is never refused */
    if (backend->removal_cause.code)
        actor_refuse(backend->self, backend->remover, &backend->removal_cause);
    else
        actor_reply(backend->self, backend->remover, MAIL_NONE, NULL);
    backend->removal_cause = (struct err){0};
}

/* What is held is no business of the medium that goes: it is tried again on the next one. Whether
 * it is read-only stays. */
void backend_removed(struct backend *backend)
{
    if (backend->has_medium)
        backend_buffers_tell(backend, false);
    backend_unwatch(backend);
    forget_node(backend);
    backend->has_medium = backend->removing = false;
    backend->facts = (struct driver_facts){0};
    backend_look(backend);
    backend_tell_watchers(backend);
    if (backend->by_console && !backend_has_tray(backend))
        backend_device_ask(backend, SLUICE__DEVICE_CALL__CALL__EJECT, taken_out);
    else
        taken_out(backend, NULL);
    backend_unquiesce(backend);
}

static void on_remove(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__BackendRemove *asked = (const Sluice__BackendRemove *)mail->body;
    bool console = asked && asked->console;
    struct err err = {0};
    if (console && backend_check_console(backend, &err) < 0)
        actor_refuse(self, mail_ticket(mail), &err);
    else if (!backend->node)
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
    else
        remove_medium(backend, mail_ticket(mail), console);
}

void backend_opened(struct backend *backend, const struct err *err)
{
    if (err)
        actor_refuse(backend->self, backend->opening, err);
    else if (backend->node)
        backend_watch(backend, true, on_watching, backend);
    else
        actor_reply(backend->self, backend->opening, MAIL_NONE, NULL);
}

static void on_open(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__BackendOpen *open = (Sluice__BackendOpen *)mail->body;
    backend->asked_read_only = backend->read_only = open->spec->read_only;
    backend->limit = open->limit;
    backend->limit_bytes = open->limit_bytes;
    backend->on_error = open->spec->werror;
    backend->on_read_error = open->spec->rerror;
    backend->stop_scope = open->spec->stop;
    backend->keeps_io_status = open->spec->io_status;
    backend->account.count_failed = open->spec->account_failed;
    backend_set_accounting(backend, open->spec->accounting);
    backend->write_through = !open->spec->write_cache;
    backend->detect_zeroes = open->spec->detect_zeroes;
    if (open->paused)
        backend_pause(backend, PAUSE_ENGINE, NULL);
    backend->opening = mail_ticket(mail);
    if (open->node) {
        backend->node = open->node;
        backend->node_name = mem_string(open->spec->node ? open->spec->node : "");
    }
    if (open->throttle)
        backend_throttle_open(backend, open->throttle);
    else
        backend_opened(backend, NULL);
}

/* --- Sessions */

/* What of a bound this one may take: clients leave a reserve to control. */
static uint64_t bound_of(const Sluice__SessionOpen *open, uint64_t limit, uint64_t reserve)
{
    return open->reserved || limit < reserve ? limit : limit - reserve;
}

static int check_session(const struct backend *backend, const Sluice__SessionOpen *open,
                         uint64_t requests, uint64_t bytes, struct err *err)
{
    const char *name = actor_name(backend->self);
    if (backend->closing || backend->aborted)
        return err_set(err, -ESHUTDOWN, "backend '%.63s' is closing; choose another", name);
    if (open->requests && backend->granted >= requests)
        return err_set(err, -ENOBUFS,
                       "backend '%.63s' has granted all of its %llu requests; close a client", name,
                       (unsigned long long)requests);
    if (open->bytes && backend->granted_bytes >= bytes)
        return err_set(err, -ENOBUFS,
                       "backend '%.63s' has granted all of its %llu bytes; close a client", name,
                       (unsigned long long)bytes);
    return 0;
}

static uint64_t least_of(uint64_t asked, uint64_t bound, uint64_t granted)
{
    uint64_t left = granted < bound ? bound - granted : 0;
    return asked < left ? asked : left;
}

static void on_session_open(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__SessionOpen *open = (Sluice__SessionOpen *)mail->body;
    struct err err = {0};
    uint64_t requests = bound_of(open, backend->limit, RESERVED_REQUESTS);
    uint64_t bytes = bound_of(open, backend->limit_bytes, RESERVED_BYTES);
    if (check_session(backend, open, requests, bytes, &err) < 0) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    struct session *session = MEM_NEW(struct session);
    session->id = ++backend->last_session;
    session->requests = (uint32_t)least_of(open->requests, requests, backend->granted);
    session->bytes = least_of(open->bytes, bytes, backend->granted_bytes);
    session->watcher = open->watcher;
    session->callbacks = (const _Atomic uint32_t *)(uintptr_t)open->callbacks;
    session->told = (const struct account_told *)(uintptr_t)open->told;
    session->name = mem_string(open->name);
    session->next = backend->sessions;
    backend->sessions = session;
    backend->granted += session->requests;
    backend->granted_bytes += session->bytes;

    Sluice__SessionGrant *grant = MAIL_NEW(sluice__session_grant);
    grant->session = session->id;
    grant->requests = session->requests;
    grant->bytes = session->bytes;
    grant->facts = facts_mail(backend);
    grant->inserted = backend->inserted;
    grant->has_available = true;
    grant->available = backend->available;
    mail_set(&grant->name, actor_name(self));
    actor_reply(self, mail_ticket(mail), MAIL_SESSION_GRANT, grant);
}

static void on_session_close(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    uint64_t id = ((Sluice__SessionClose *)mail->body)->session;
    struct session **at = &backend->sessions, *session;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    if ((session = *at)) {
        *at = session->next;
        backend->granted -= session->requests;
        backend->granted_bytes -= session->bytes;
        backend_hear(backend, session);
        backend_forget_session(backend, session);
        backend_stop_notifying(backend, session);
        free(session->name);
        free(session);
        backend_device_session_ended(backend, id);
    }
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

/* --- Life */

static void backend_init(struct actor *self)
{
    struct backend *backend = actor_state(self);
    backend->self = self;
    backend->user = (uint16_t)address_slot(actor_address(self));
    allow(backend);
    op_queue_init(&backend->held);
    op_queue_init(&backend->queue);
    backend->guest_block_size = GUEST_BLOCK;
    backend_error_init(backend);
}

static void backend_fini(struct actor *self)
{
    struct backend *backend = actor_state(self);
    struct session *session;
    while ((session = backend->sessions)) {
        backend->sessions = session->next;
        free(session->name);
        free(session);
    }
    backend_drain_fini(backend);
    backend_move_fini(backend);
    backend_throttle_fini(backend);
    backend_error_fini(backend);
    backend_buffers_fini(backend);
    backend_device_fini(backend);
    backend_change_fini(backend);
    account_fini(&backend->account);
    free(backend->node_name);
}

const struct actor_type backend_type = {
    .name = "backend",
    .size = sizeof(struct backend),
    .init = backend_init,
    .fini = backend_fini,
    .submit = backend_submit,
    .leave = backend_leave,
    .arrive = backend_arrive,
    .handlers =
        {
            [MAIL_BACKEND_OPEN] = on_open,
            [MAIL_BACKEND_PERMIT] = on_permit,
            [MAIL_BACKEND_BLOCKED] = on_blocked,
            [MAIL_SESSION_OPEN] = on_session_open,
            [MAIL_SESSION_CLOSE] = on_session_close,
            [MAIL_DRAIN_BEGIN] = backend_on_drain_begin,
            [MAIL_DRAIN_END] = backend_on_drain_end,
            [MAIL_SESSION_CALM] = backend_on_session_calm,
            [MAIL_NODE_CHANGED] = on_node_changed,
            [MAIL_DESCRIBE] = backend_on_describe,
            [MAIL_BACKEND_SET] = backend_on_set,
            [MAIL_BACKEND_RENAME] = on_rename,
            [MAIL_SESSION_NOTIFY] = backend_on_session_notify,
            [MAIL_MEDIUM_NOTED] = backend_on_medium_noted,
            [MAIL_BACKEND_INSERT] = on_insert,
            [MAIL_BACKEND_REMOVE] = on_remove,
            [MAIL_BACKEND_TRAY] = backend_on_tray,
            [MAIL_BACKEND_CHANGE] = backend_on_change,
            [MAIL_DEVICE_ATTACH] = backend_on_device_attach,
            [MAIL_DEVICE_DETACH] = backend_on_device_detach,
            [MAIL_DEVICE_OPS] = backend_on_device_ops,
            [MAIL_DEVICE_STATE] = backend_on_device_state,
            [MAIL_DEVICE_ASK] = backend_on_device_ask,
            [MAIL_DEVICE_DESCRIBE] = backend_on_device_describe,
            [MAIL_THROTTLE_JOIN] = backend_on_throttle_join,
            [MAIL_THROTTLE_GRANT] = backend_on_throttle_grant,
            [MAIL_PAUSE] = on_pause,
            [MAIL_MOVE] = backend_on_move,
            [MAIL_CANCEL] = on_cancel,
            [MAIL_LET_THROUGH] = backend_on_let_through,
            [MAIL_BUFFER] = backend_on_buffer,
            [MAIL_CLOSE] = on_close,
            [MAIL_ABORT] = on_abort,
        },
};
