/* backend_io.c — a backend's requests: checked, counted, begun, held, drained. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/backend_impl.h"
#include "engine/mem.h"
#include "engine/reactor.h"

/* In the frame of an operation that is in flight. */
struct begun {
    uint64_t started; /* ns */
    uint64_t arrival;
    bool cancelled;   /* its end was asked for: it is not held */
    struct op *flush; /* that is to follow it, when it has been sent; see flush_after() */
    /* Of a write that is made to zeroes: what it was. */
    bool turned;
    uint16_t flags, niov;
};

static uint64_t now(const struct backend *backend)
{
    return reactor_now(actor_reactor(backend->self));
}

/* --- Checks */

/* Whether it reaches beyond the end, which only reads may do and leave that where it is. */
static bool is_longer(const struct backend *backend, const struct op *op)
{
    int64_t length = backend->facts.length;
    return op->kind != OP_READ &&
           (length < 0 || (uint64_t)op->offset + op->bytes > (uint64_t)length);
}

/* To make the medium longer by a write is to resize it. */
static int check_growth(const struct backend *backend, const struct op *op)
{
    if (!(backend->facts.can & DRIVER_CAN_GROW))
        return -EIO; /* no medium is to blame for what it never does */
    if (backend->resize_blocked)
        return -EBUSY;
    return op->flags & OP_KEEPS_LENGTH || !(backend->allowed >> OP_TRUNCATE & 1) ? -EPERM : 0;
}

static int check_range(const struct backend *backend, const struct op *op)
{
    if (op->bytes > INT32_MAX && op->kind != OP_STATUS)
        return -EIO;
    if (!backend->available)
        return -ENOMEDIUM;
    if (op->offset < 0)
        return -EIO;
    if (!(op->flags & OP_BEYOND_END)) {
        int64_t length = backend->facts.length;
        if (length < 0)
            return (int)length;
        if (op->offset > length || (uint64_t)(length - op->offset) < op->bytes)
            return -EIO;
    } else if (op->bytes > (uint64_t)(INT64_MAX - op->offset)) {
        return -EIO;
    } else if (is_longer(backend, op)) {
        int ret = check_growth(backend, op);
        if (ret < 0)
            return ret;
    }
    return backend->allowed >> op->kind & 1 ? 0 : -EPERM;
}

static int check_vmstate(const struct op *op)
{
    if (op->kind != OP_SAVE_VMSTATE && op->kind != OP_LOAD_VMSTATE)
        return 0;
    if (op->bytes > INT32_MAX || op->offset < 0 || op->bytes > (uint64_t)(INT64_MAX - op->offset))
        return -EIO;
    return 0;
}

static int check(const struct backend *backend, const struct op *op)
{
    if (op_has_range(op->kind))
        return check_range(backend, op);
    if (!backend->available)
        return -ENOMEDIUM;
    if (op->kind == OP_TRUNCATE) {
        if (op->offset < 0)
            return -EINVAL;
        if (backend->read_only)
            return -EACCES;
        if (backend->resize_blocked)
            return -EBUSY;
    }
    int ret = check_vmstate(op);
    return ret < 0 || backend->allowed >> op->kind & 1 ? ret : -EPERM;
}

/* Whether it is counted. */
static bool counts(const struct backend *backend, const struct op *op)
{
    return backend->counted >> op->kind & 1;
}

/* What moves no data of a client counts as nothing. */
void backend_set_accounting(struct backend *backend, bool on)
{
    backend->counted = on ? ~(1U << OP_STATUS | 1U << OP_MAKE_EMPTY) : 0;
}

/* --- The end of what is in flight */

/* Whether it may make the medium longer or shorter. */
static bool may_resize(const struct op *op)
{
    return op->kind == OP_TRUNCATE || (op->flags & OP_BEYOND_END && op->kind != OP_READ);
}

static void landed(struct backend *backend, bool resizes)
{
    if (__builtin_expect(resizes, 0))
        backend_resize_over(backend);
    if (!--backend->in_flight && backend->waits)
        backend_settle(backend);
}

/* It is in flight until its callback has returned. */
static void finish(struct backend *backend, struct op *op, int64_t ret, bool resizes)
{
    op_complete(op, ret);
    landed(backend, resizes);
}

/* --- Errors */

static void held_ended(struct op *op, void *who)
{
    (void)who;
    op_complete(op, op->ret);
}

/* Those that were begun earlier are tried again earlier. */
void backend_hold(struct backend *backend, struct op *op, uint64_t arrival, int error)
{
    struct held *held = op_push(op, held_ended, NULL);
    *held = (struct held){arrival, error};
    struct op **at = &backend->held.head;
    while (*at && ((const struct held *)op_top(*at))->arrival < arrival)
        at = &(*at)->next;
    op->next = *at;
    *at = op;
    if (!op->next)
        backend->held.tail = &op->next;
    backend->held.count++;
}

static void end_held(struct op *op)
{
    op_complete(op, ((const struct held *)op_top(op))->error);
}

/* What no medium is to blame for: it can't do such a thing, was asked for a length that it can't
 * have, or too late, or no longer. An ioctl that it does not have, does not take so, or not from
 * this process is its sender's mistake, who may send any. */
static bool is_blameless(const struct op *op, bool cancelled)
{
    switch (op->ret) {
    case -ENOTSUP:
    case -ESHUTDOWN:
    case -ENXIO:
        return true;
    case -ECANCELED:
        return cancelled;
    case -ENOTTY:
    case -EPERM:
        return op->kind == OP_IOCTL;
    case -EINVAL:
        return op->kind == OP_IOCTL || op->kind == OP_TRUNCATE;
    case -EFBIG:
        return may_resize(op);
    default:
        return false;
    }
}

/* What the medium saw of it counts, whatever came of that. */
static void note_written(struct backend *backend, const struct op *op)
{
    if (op->kind == OP_WRITE || op->kind == OP_ZEROES)
        account_written(&backend->account, (uint64_t)op->offset + op->bytes);
}

/* What an operation that has failed ends with when that is ignored. What was not read is zeroes:
 * the memory may hold others' data, and go to a client. */
static int64_t ignored(struct op *op)
{
    if (op->kind == OP_READ || op->kind == OP_LOAD_VMSTATE)
        driver_clear(op, 0);
    return op->kind == OP_STATUS ? op_status(op->bytes, OP_STATUS_DATA | OP_STATUS_ALLOCATED) : 0;
}

static void failed(struct backend *backend, struct op *op, struct begun begun)
{
    if (is_blameless(op, begun.cancelled)) {
        if (counts(backend, op))
            account_invalid(&backend->account, op->kind, now(backend));
        finish(backend, op, op->ret, may_resize(op));
        return;
    }
    if (counts(backend, op)) {
        account_failed(&backend->account, op->kind, begun.started, now(backend));
        note_written(backend, op);
    }
    switch (backend_error(backend, op)) {
    case SLUICE__IO_ERROR_EVENT__ACTION__IGNORE:
        finish(backend, op, ignored(op), may_resize(op));
        break;
    case SLUICE__IO_ERROR_EVENT__ACTION__STOP:
        if (begun.cancelled) {
            finish(backend, op, op->ret, may_resize(op));
            break;
        }
        backend_hold(backend, op, begun.arrival, (int)op->ret);
        if (may_resize(op))
            backend_resize_over(backend);
        if (!--backend->in_flight)
            backend_settle(backend);
        break;
    default:
        finish(backend, op, op->ret, may_resize(op));
    }
}

/* --- Writes of zeroes */

static bool is_zero(const struct iovec *part)
{
    const char *at = part->iov_base;
    return !part->iov_len || (!*at && !memcmp(at, at + 1, part->iov_len - 1));
}

/* Its sender finds it as it was. */
static void turn(const struct backend *backend, struct op *op, struct begun *begun)
{
    if (op->flags & OP_COMPRESSED)
        return;
    for (unsigned i = 0; i < op->niov; i++)
        if (!is_zero(&op->iov[i]))
            return;
    begun->turned = true;
    begun->flags = op->flags;
    begun->niov = op->niov;
    op->kind = OP_ZEROES;
    op->niov = 0;
    if (backend->detect_zeroes == SLUICE__DETECT_ZEROES__MODE__UNMAP)
        op->flags |= OP_MAY_UNMAP;
}

static void turn_back(struct op *op, const struct begun *begun)
{
    op->kind = OP_WRITE;
    op->flags = begun->flags;
    op->niov = begun->niov;
}

/* --- Requests */

/* The node has told of the change by now: news keep their order. */
static void resized(struct actor *self, struct mail *reply, void *arg)
{
    struct op *op = arg;
    (void)reply;
    finish(actor_state(self), op, op->ret, true);
}

/* The result, now that all that belongs to the request is through. */
static void ended(struct backend *backend, struct op *op, struct begun begun)
{
    if (__builtin_expect(op->ret < 0, 0)) {
        failed(backend, op, begun);
        return;
    }
    if (counts(backend, op)) {
        account_done(&backend->account, op->kind, op_moves(op->kind) ? op->bytes : 0, begun.started,
                     now(backend));
        note_written(backend, op);
    }
    if (__builtin_expect(may_resize(op), 0)) {
        /* The news of the length come by mail, which may be slower. Whoever sees this completed may
         * use the new length at once, so the news come first. */
        backend_watch(backend, true, resized, op);
        return;
    }
    finish(backend, op, op->ret, false);
}

static void done(struct op *op, void *who);

static void flushed(struct op *flush, void *who)
{
    (void)who;
    struct op *op = *(struct op **)op_popped(flush);
    int64_t ret = flush->ret < 0 ? flush->ret : op->ret;
    op_free(flush);
    op_complete(op, ret);
}

/* VM state has no FUA. Its operation stays in flight as it was, so that it can be cancelled. */
static void flush_after(struct backend *backend, struct op *op, struct begun begun)
{
    struct op *flush = begun.flush = op_new(actor_peer(backend->self));
    struct begun *kept = op_push(op, done, backend);
    *kept = begun;
    flush->kind = OP_FLUSH;
    flush->offset = 0;
    flush->bytes = 0;
    *(struct op **)op_push(flush, flushed, backend) = op;
    op_send(flush, backend->node);
}

static void done(struct op *op, void *who)
{
    struct backend *backend = who;
    const struct begun begun = *(struct begun *)op_popped(op);
    if (begun.turned)
        turn_back(op, &begun);
    if (__builtin_expect(op->kind == OP_SAVE_VMSTATE && op->ret >= 0 && backend->write_through &&
                             !begun.flush,
                         0))
        flush_after(backend, op, begun);
    else
        ended(backend, op, begun);
}

/* What keeps limits: reads, and what writes. A filter limits discards, too. */
static void throttle(struct backend *backend, struct op *op)
{
    if (__builtin_expect(op->flags & OP_UNTHROTTLED, 0))
        throttle_member_pass(backend->throttle, op);
    else if (throttle_member_pays(backend->throttle, op))
        op_send(op, backend->node);
    else
        throttle_member_wait(backend->throttle, op);
}

static void begin(struct backend *backend, struct op *op, uint64_t arrival)
{
    int ret = check(backend, op);
    if (ret < 0) {
        if (counts(backend, op))
            account_invalid(&backend->account, op->kind, now(backend));
        op_complete(op, ret);
        return;
    }
    op->user = backend->user;
    if (backend->write_through && (op->kind == OP_WRITE || op->kind == OP_ZEROES))
        op->flags |= OP_FUA;
    backend->in_flight++;
    if (__builtin_expect(may_resize(op), 0))
        backend->resizes++;
    struct begun *begun = op_push(op, done, backend);
    *begun = (struct begun){.started = now(backend), .arrival = arrival};
    if (backend->detect_zeroes && op->kind == OP_WRITE)
        turn(backend, op, begun);
    if (backend->throttle && op->kind <= OP_ZEROES)
        throttle(backend, op);
    else
        op_send(op, backend->node);
}

/* --- Cancelling one */

static void cancel_passed(struct op *op, void *who)
{
    op_complete(op, op->ret);
    landed(who, false);
}

/* Ends one that waits for a limit. */
static bool end_limited(struct backend *backend, struct op *op)
{
    if (!backend->throttle || !throttle_member_cancel(backend->throttle, op))
        return false;
    ((struct begun *)op_top(op))->cancelled = true;
    op_complete(op, -ECANCELED);
    return true;
}

/* What is with the node may be ended there, or not. */
static void cancel_one(struct backend *backend, struct op *cancel)
{
    struct op *op = op_find(actor_peer(backend->self), cancel->origin, (uint64_t)cancel->offset);
    int ret = 0;
    if (op && op_unqueue(&backend->held, op)) {
        end_held(op);
    } else if (op && op_unqueue(&backend->queue, op)) {
        backend->queued_bytes -= op->bytes;
        op_complete(op, -ECANCELED);
    } else if (op && end_limited(backend, op)) {
        ret = 0;
    } else if (op && (op = op_with(op, done, backend))) {
        struct begun *begun = op_frame(op, done, backend);
        begun->cancelled = true;
        backend->in_flight++; /* it is outstanding here, too */
        op_push(cancel, cancel_passed, backend);
        op_send_cancel(cancel, begun->flush ? begun->flush : op, backend->node);
        return;
    } else {
        ret = -ENOENT;
    }
    op_complete(cancel, ret);
}

static bool may_begin(const struct backend *backend)
{
    return !backend->pauses && !backend->carried && !backend->closing && !backend->aborted;
}

static bool may_go(const struct backend *backend)
{
    return !backend->quiesced && may_begin(backend);
}

/* The holder of a region still issues its own. */
static bool may_pass(const struct backend *backend, const struct op *op)
{
    return may_begin(backend) && backend_drain_passes(backend, op);
}

void backend_submit(struct actor *self, struct op *op)
{
    struct backend *backend = actor_state(self);
    if (__builtin_expect(op->kind == OP_CANCEL, 0)) {
        cancel_one(backend, op);
    } else if (!backend->waits) {
        begin(backend, op, backend->arrivals++);
    } else if (backend->carried && backend_was_held(backend, op)) {
        return; /* it has been waiting all the time */
    } else if (backend->closing || backend->aborted) {
        op_complete(op, -ESHUTDOWN);
    } else if (may_pass(backend, op)) {
        begin(backend, op, backend->arrivals++);
    } else {
        op_enqueue(&backend->queue, op);
        backend->queued_bytes += op->bytes;
    }
}

/* Takes the first that may go out of a queue; null when none may. */
static struct op *take(const struct backend *backend, struct op_queue *queue)
{
    if (may_go(backend))
        return op_dequeue(queue);
    struct op *op = backend->regions ? queue->head : NULL;
    while (op && !may_pass(backend, op))
        op = op->next;
    if (op)
        op_unqueue(queue, op);
    return op;
}

void backend_go(struct backend *backend)
{
    /* What arrives meanwhile queues behind, so the order stays. What fails again may stop it again:
     * that one is held with those that were not tried yet. */
    struct op *op;
    while ((op = take(backend, &backend->held))) {
        uint64_t arrival = ((const struct held *)op_top(op))->arrival;
        op_pop(op);
        begin(backend, op, arrival);
    }
    while ((op = take(backend, &backend->queue))) {
        backend->queued_bytes -= op->bytes;
        begin(backend, op, backend->arrivals++);
    }
    backend->waits = !may_go(backend);
}

/* --- Ending what waits */

void backend_end_waiting(struct backend *backend)
{
    struct op *op;
    backend->waits = true;
    while ((op = op_dequeue(&backend->held)))
        end_held(op);
    while ((op = op_dequeue(&backend->queue)))
        op_complete(op, -ESHUTDOWN);
    backend->queued_bytes = 0;
}

static bool is_named(const struct op *op, unsigned peer, const uint64_t *tags, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (op_is(op, peer, tags[i]))
            return true;
    return false;
}

/* Moves those that are named from one queue to another. */
static void sort_out(struct op_queue *from, struct op_queue *to, unsigned peer,
                     const uint64_t *tags, size_t n)
{
    for (size_t left = from->count; left; left--) {
        struct op *op = op_dequeue(from);
        op_enqueue(is_named(op, peer, tags, n) ? to : from, op);
    }
}

void backend_cancel(struct backend *backend, unsigned peer, const uint64_t *tags, size_t n)
{
    struct op_queue held, queued;
    struct op *op;
    op_queue_init(&held);
    op_queue_init(&queued);
    sort_out(&backend->held, &held, peer, tags, n);
    if (backend->pauses || backend_drained_by(backend, peer))
        sort_out(&backend->queue, &queued, peer, tags, n);
    while ((op = op_dequeue(&held)))
        end_held(op);
    while ((op = op_dequeue(&queued))) {
        backend->queued_bytes -= op->bytes;
        op_complete(op, -ECANCELED);
    }
}
