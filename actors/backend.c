#include "actors/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/kinds.h"
#include "actors/node.h"
#include "engine/mem.h"
#include "engine/peer.h"
#include "engine/reactor.h"

struct session {
    struct session *next;
    uint64_t id, bytes;
    uint32_t requests;
    bool write;
    actor_addr watcher;
    char *name;
};

struct waiter {
    struct waiter *next;
    struct ticket ticket;
};

struct counters {
    uint64_t operations, bytes, failed, invalid;
};

struct backend {
    /* What every operation looks at. */
    bool held; /* operations wait: drained, or those that waited are not all through */
    bool inserted, read_only, closing;
    bool aborted; /* see MAIL_ABORT */
    actor_addr node;
    uint64_t in_flight;
    struct driver_facts facts;
    struct counters counters[OP_KINDS];

    struct actor *self;
    char *node_name;
    bool asked_read_only;
    unsigned quiesced;
    struct op_queue queue;
    uint64_t queued_bytes;
    struct waiter *waiters; /* for the end of what is in flight */
    struct session *sessions;
    uint64_t last_session;
    uint64_t granted, limit, granted_bytes, limit_bytes;
    struct ticket opening, closer;
};

/* --- Operations */

static int check_range(const struct backend *backend, const struct op *op)
{
    if (op->bytes > INT32_MAX)
        return -EIO;
    if (!backend->inserted)
        return -ENOMEDIUM;
    if (op->offset < 0)
        return -EIO;
    if (!(op->flags & OP_BEYOND_END)) {
        int64_t length = backend->facts.length;
        if (length < 0)
            return (int)length;
        if (op->offset > length || (uint64_t)(length - op->offset) < op->bytes)
            return -EIO;
    }
    return op->kind != OP_READ && backend->read_only ? -EPERM : 0;
}

static int check(const struct backend *backend, const struct op *op)
{
    if (op->kind <= OP_DISCARD)
        return check_range(backend, op);
    if (!backend->inserted)
        return -ENOMEDIUM;
    if (op->kind == OP_TRUNCATE) {
        if (op->offset < 0)
            return -EINVAL;
        if (backend->read_only)
            return -EACCES;
    }
    return 0;
}
_Static_assert(OP_READ <= OP_DISCARD && OP_WRITE <= OP_DISCARD && OP_ZEROES <= OP_DISCARD &&
                   OP_FLUSH > OP_DISCARD && OP_TRUNCATE > OP_DISCARD,
               "kinds with a range come first");

static void quiet(struct backend *backend);

/* In flight until the callback has returned. */
static void finish(struct backend *backend, struct op *op)
{
    op_complete(op, op->ret);
    if (!--backend->in_flight && backend->quiesced)
        quiet(backend);
}

static void take_facts(struct backend *backend, const Sluice__NodeFacts *facts);

/* The node has told of the change by now. */
static void grown(struct actor *self, struct mail *reply, void *arg)
{
    if (!mail_fault(reply))
        take_facts(actor_state(self), (Sluice__NodeFacts *)reply->body);
    finish(actor_state(self), arg);
}

static void watch(struct backend *backend, bool on, actor_reply_fn *then, void *arg)
{
    Sluice__NodeWatch *body = MAIL_NEW(sluice__node_watch);
    body->parent = actor_address(backend->self);
    body->watch = on;
    actor_ask(backend->self, backend->node, MAIL_NODE_WATCH, body, then, arg);
}

static void backend_done(struct op *op, void *who)
{
    struct backend *backend = who;
    struct counters *counters = &backend->counters[op->kind];
    if (op->ret < 0) {
        counters->failed++;
    } else {
        counters->operations++;
        if (op->kind <= OP_DISCARD)
            counters->bytes += op->bytes;
        if (op->kind == OP_TRUNCATE || op->flags & OP_BEYOND_END) {
            /* The news of the length come by mail, which may be slower. Whoever sees this completed
             * may use the new length at once, so the news come first. */
            watch(backend, true, grown, op);
            return;
        }
    }
    finish(backend, op);
}

static void start(struct backend *backend, struct op *op)
{
    int ret = check(backend, op);
    if (ret < 0) {
        backend->counters[op->kind].invalid++;
        op_complete(op, ret);
        return;
    }
    backend->in_flight++;
    op_push(op, backend_done, backend);
    op_send(op, backend->node);
}

static void backend_submit(struct actor *self, struct op *op)
{
    struct backend *backend = actor_state(self);
    if (!backend->held) {
        start(backend, op);
    } else if (backend->closing || backend->aborted) {
        op_complete(op, -ESHUTDOWN);
    } else {
        op_enqueue(&backend->queue, op);
        backend->queued_bytes += op->bytes;
    }
}

/* --- Drains and the end */

static void quiet(struct backend *backend)
{
    struct waiter *waiter;
    /* Of one frame, mail is taken first: the completions, of which the answer tells, leave before.
     */
    peer_flush(actor_peer(backend->self));
    while ((waiter = backend->waiters)) {
        backend->waiters = waiter->next;
        actor_reply(backend->self, waiter->ticket, MAIL_NONE, NULL);
        free(waiter);
    }
    if (!backend->closing)
        return;
    if (backend->node) {
        Sluice__NodeWatch *body = MAIL_NEW(sluice__node_watch);
        body->parent = actor_address(backend->self);
        actor_tell(backend->self, backend->node, MAIL_NODE_WATCH, body);
    }
    actor_reply(backend->self, backend->closer, MAIL_NONE, NULL);
    actor_stop(backend->self);
}

static void on_drain_begin(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    backend->quiesced++;
    backend->held = true;
    struct waiter *waiter = MEM_NEW(struct waiter);
    waiter->ticket = mail_ticket(mail);
    waiter->next = backend->waiters;
    backend->waiters = waiter;
    if (!backend->in_flight && !backend->closing)
        quiet(backend);
}

static void on_drain_end(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    if (backend->quiesced && !--backend->quiesced && !backend->aborted) {
        /* What arrives meanwhile queues behind, so the order stays. */
        struct op *op;
        while ((op = op_dequeue(&backend->queue))) {
            backend->queued_bytes -= op->bytes;
            start(backend, op);
        }
        backend->held = false;
    }
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

/* Names those that have it open, and counts those that the sentence has no room for. */
static void refuse_sessions(struct backend *backend, struct mail *mail)
{
    char names[300] = "";
    unsigned n = 0, named = 0;
    size_t used = 0;
    for (const struct session *s = backend->sessions; s; s = s->next, n++) {
        if (used >= 200)
            continue;
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s'%.60s'", n ? ", " : "",
                                 s->name);
        named++;
    }
    if (n > named)
        snprintf(names + used, sizeof(names) - used, " and %u more", n - named);
    struct err err = {0};
    err_set(&err, -EBUSY, "backend '%.63s' can't be closed: %s %s it open; end %s first",
            actor_name(backend->self), names, n > 1 ? "have" : "has", n > 1 ? "those" : "that");
    actor_refuse(backend->self, mail_ticket(mail), &err);
}

/* What waits ends, and nothing is started any more. */
static void end_queued(struct backend *backend)
{
    struct op *op;
    backend->held = true;
    while ((op = op_dequeue(&backend->queue)))
        op_complete(op, -ESHUTDOWN);
    backend->queued_bytes = 0;
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
    backend->quiesced++;
    end_queued(backend);
    if (!backend->in_flight)
        quiet(backend);
}

static void on_abort(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    (void)mail;
    backend->aborted = true;
    end_queued(backend);
}

/* --- The medium */

static void take_facts(struct backend *backend, const Sluice__NodeFacts *facts)
{
    node_facts_from_message(facts, &backend->facts);
    backend->read_only = backend->asked_read_only || backend->facts.read_only;
}

/* As a frontend is told: read-only when the backend is. */
static Sluice__NodeFacts *facts_mail(const struct backend *backend)
{
    Sluice__NodeFacts *facts = MAIL_NEW(sluice__node_facts);
    node_facts_to_message(&backend->facts, facts);
    facts->read_only = backend->read_only;
    return facts;
}

static void emit_resized(struct backend *backend)
{
    Sluice__ResizeEvent *body = MAIL_NEW(sluice__resize_event);
    mail_set(&body->node, backend->node_name ? backend->node_name : "");
    mail_set(&body->backend, actor_name(backend->self));
    body->length = (uint64_t)backend->facts.length;
    Sluice__Event *event = MAIL_NEW(sluice__event);
    mail_set(&event->source_kind, "backend");
    mail_set(&event->source, actor_name(backend->self));
    event->body_case = SLUICE__EVENT__BODY_BLOCK_RESIZED;
    event->block_resized = body;
    Sluice__Emit *emit = MAIL_NEW(sluice__emit);
    emit->event = event;
    actor_tell(backend->self, world(backend->self)->graph, MAIL_EMIT, emit);
}

static void on_node_changed(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    if (mail->from != backend->node)
        return;
    int64_t before = backend->facts.length;
    take_facts(backend, ((Sluice__NodeChanged *)mail->body)->facts);
    for (const struct session *session = backend->sessions; session; session = session->next) {
        if (!session->watcher)
            continue;
        Sluice__BackendChanged *told = MAIL_NEW(sluice__backend_changed);
        told->facts = facts_mail(backend);
        told->inserted = backend->inserted;
        actor_tell(self, session->watcher, MAIL_BACKEND_CHANGED, told);
    }
    if (backend->facts.length != before && backend->facts.length >= 0)
        emit_resized(backend);
}

static void on_watching(struct actor *self, struct mail *reply, void *arg)
{
    struct backend *backend = arg;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        actor_refuse(self, backend->opening, &err);
        return;
    }
    take_facts(backend, (Sluice__NodeFacts *)reply->body);
    backend->inserted = true;
    actor_reply(self, backend->opening, MAIL_NONE, NULL);
}

static void on_open(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__BackendOpen *open = (Sluice__BackendOpen *)mail->body;
    backend->opening = mail_ticket(mail);
    backend->asked_read_only = backend->read_only = open->spec->read_only;
    backend->limit = open->limit;
    backend->limit_bytes = open->limit_bytes;
    if (!open->node) {
        actor_reply(self, backend->opening, MAIL_NONE, NULL);
        return;
    }
    backend->node = open->node;
    backend->node_name = mem_string(open->spec->node ? open->spec->node : "");
    watch(backend, true, on_watching, backend);
}

/* --- Sessions */

static int check_session(const struct backend *backend, const Sluice__SessionOpen *open,
                         struct err *err)
{
    const char *name = actor_name(backend->self);
    if (backend->closing || backend->aborted)
        return err_set(err, -ESHUTDOWN, "backend '%.63s' is closing; choose another", name);
    if (open->write && backend->read_only)
        return err_set(err, -EPERM,
                       "'%.100s' can't write to backend '%.63s': it is read-only; ask for reading "
                       "only, or make it writable",
                       open->name, name);
    if (open->requests && backend->granted >= backend->limit)
        return err_set(err, -ENOBUFS,
                       "backend '%.63s' has granted all of its %llu requests; close a client", name,
                       (unsigned long long)backend->limit);
    if (open->bytes && backend->granted_bytes >= backend->limit_bytes)
        return err_set(err, -ENOBUFS,
                       "backend '%.63s' has granted all of its %llu bytes; close a client", name,
                       (unsigned long long)backend->limit_bytes);
    return 0;
}

static void on_session_open(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__SessionOpen *open = (Sluice__SessionOpen *)mail->body;
    struct err err = {0};
    if (check_session(backend, open, &err) < 0) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    uint64_t left = backend->limit - backend->granted;
    uint64_t left_bytes = backend->limit_bytes - backend->granted_bytes;
    struct session *session = MEM_NEW(struct session);
    session->id = ++backend->last_session;
    session->requests = open->requests < left ? open->requests : (uint32_t)left;
    session->bytes = open->bytes < left_bytes ? open->bytes : left_bytes;
    session->write = open->write;
    session->watcher = open->watcher;
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
        free(session->name);
        free(session);
    }
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

/* --- Description */

static Sluice__OpCounters *counters_mail(const struct counters *counters)
{
    Sluice__OpCounters *out = MAIL_NEW(sluice__op_counters);
    out->has_operations = out->has_bytes = out->has_failed = out->has_invalid = true;
    out->operations = counters->operations;
    out->bytes = counters->bytes;
    out->failed = counters->failed;
    out->invalid = counters->invalid;
    return out;
}

static void on_describe(struct actor *self, struct mail *mail)
{
    const struct backend *backend = actor_state(self);
    Sluice__BackendInfo *info = MAIL_NEW(sluice__backend_info);
    mail_set(&info->name, actor_name(self));
    if (backend->node_name)
        mail_set(&info->node, backend->node_name);
    info->has_length = backend->inserted && backend->facts.length >= 0;
    info->length = info->has_length ? (uint64_t)backend->facts.length : 0;
    info->has_read_only = info->has_reactor = info->has_in_flight = info->has_queued = true;
    info->has_queued_bytes = info->has_granted = info->has_limit = true;
    info->has_granted_bytes = info->has_limit_bytes = true;
    info->read_only = backend->read_only;
    info->reactor = reactor_id(actor_reactor(self));
    info->in_flight = backend->in_flight;
    info->queued = backend->queue.count;
    info->queued_bytes = backend->queued_bytes;
    info->granted = backend->granted;
    info->limit = backend->limit;
    info->granted_bytes = backend->granted_bytes;
    info->limit_bytes = backend->limit_bytes;
    info->read = counters_mail(&backend->counters[OP_READ]);
    info->write = counters_mail(&backend->counters[OP_WRITE]);
    info->zeroes = counters_mail(&backend->counters[OP_ZEROES]);
    info->discard = counters_mail(&backend->counters[OP_DISCARD]);
    info->flush = counters_mail(&backend->counters[OP_FLUSH]);
    info->truncate = counters_mail(&backend->counters[OP_TRUNCATE]);
    actor_reply(self, mail_ticket(mail), MAIL_BACKEND_INFO, info);
}

/* --- Life */

static void backend_init(struct actor *self)
{
    struct backend *backend = actor_state(self);
    backend->self = self;
    op_queue_init(&backend->queue);
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
    struct waiter *waiter;
    while ((waiter = backend->waiters)) {
        backend->waiters = waiter->next;
        free(waiter);
    }
    free(backend->node_name);
}

const struct actor_type backend_type = {
    .name = "backend",
    .size = sizeof(struct backend),
    .init = backend_init,
    .fini = backend_fini,
    .submit = backend_submit,
    .handlers =
        {
            [MAIL_BACKEND_OPEN] = on_open,
            [MAIL_SESSION_OPEN] = on_session_open,
            [MAIL_SESSION_CLOSE] = on_session_close,
            [MAIL_DRAIN_BEGIN] = on_drain_begin,
            [MAIL_DRAIN_END] = on_drain_end,
            [MAIL_NODE_CHANGED] = on_node_changed,
            [MAIL_DESCRIBE] = on_describe,
            [MAIL_CLOSE] = on_close,
            [MAIL_ABORT] = on_abort,
        },
};
