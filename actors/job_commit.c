/* job_commit.c — merges an overlay into its backing.
 *
 * Slice by slice, in a drained region of the overlay, so that nobody writes there meanwhile: what
 * the slice has allocated is copied into the backing, made durable, and then the overlay is made
 * empty there. What the overlay shows never changes: what is written to a slice before it has its
 * turn is copied with it, and what is written after it stays in the overlay. So a slice may be left
 * at any point. */
#include "actors/job.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/directory.h"
#include "engine/buffer.h"
#include "engine/op.h"
#include "engine/reactor.h"

#define SLICE  (UINT64_C(4) << 20) /* bytes of the overlay, at most: how long its users wait */
#define BUFFER (UINT64_C(1) << 20)

struct commit {
    uint64_t length;                            /* of what is merged: the overlay, */
    uint64_t backing;                           /* and of what it goes into; meaningful when that */
    bool grows;                                 /* is shorter, and is to be made as long first */
    uint64_t offset;                            /* where the next slice begins, */
    uint64_t stop;                              /* and ends */
    uint64_t at;                                /* in the slice: what is before is copied */
    uint64_t data;                              /* data up to there */
    uint64_t moved;                             /* bytes of this slice */
    uint64_t chunk;                             /* bytes of the copy that is under way */
    uint64_t region;                            /* that the slice is in; */
    bool waits;                                 /* for that */
    const struct op *op;                        /* under way, or null; */
    actor_addr to;                              /* who has it */
    unsigned char *buffer;                      /* BUFFER bytes */
    void (*then)(struct job *job, int64_t ret); /* when the operation under way has ended, */
    bool ended;                                 /* as it has */
    int64_t ret;
    bool driving;
};

static struct commit *commit_of(const struct job *job)
{
    return job->state;
}

/* --- Operations */

/* Operations may end before they are sent: hence a loop, not a recursion. */
static void drive(struct job *job)
{
    struct commit *commit = commit_of(job);
    if (commit->driving)
        return;
    commit->driving = true;
    while (commit->ended) {
        commit->ended = false;
        commit->then(job, commit->ret);
    }
    commit->driving = false;
}

static void op_ended(struct op *op, void *who)
{
    struct job *job = who;
    commit_of(job)->ret = op->ret;
    commit_of(job)->ended = true;
    commit_of(job)->op = NULL;
    op_free(op);
    drive(job);
}

static void run(struct job *job, actor_addr to, enum op_kind kind, uint64_t offset, uint64_t bytes,
                unsigned flags, void (*then)(struct job *job, int64_t ret))
{
    commit_of(job)->then = then;
    if (job->cancelled) {
        commit_of(job)->ret = -ECANCELED;
        commit_of(job)->ended = true;
        drive(job);
        return;
    }
    struct op *op = op_new(actor_peer(job->self));
    commit_of(job)->op = op;
    commit_of(job)->to = to;
    op->kind = (uint8_t)kind;
    op->flags = (uint16_t)flags;
    op->user = (uint16_t)address_slot(actor_address(job->self));
    op->offset = (int64_t)offset;
    op->bytes = bytes;
    op->niov = kind == OP_READ || kind == OP_WRITE;
    op->one = (struct iovec){commit_of(job)->buffer, bytes};
    op->iov = op->niov ? &op->one : NULL;
    op_push(op, op_ended, job);
    op_send(op, to);
}

/* 0: the one that it waits for. */
static void end_region(struct job *job, uint64_t region)
{
    Sluice__RegionEnd *end = MAIL_NEW(sluice__region_end);
    end->region = region;
    actor_tell(job->self, world(job->self)->graph, MAIL_REGION_END, end);
}

/* Of what the job may not live to see. */
static void cancel_ended(struct op *cancel, void *who)
{
    (void)who;
    op_free(cancel);
}

/* Whether the driver can or not: the operation under way is the last. Others' requests, for which
 * it may wait, are none of it. */
static void commit_cancel(struct job *job)
{
    const struct commit *commit = commit_of(job);
    if (commit->waits)
        end_region(job, 0);
    if (!commit->op)
        return;
    struct op *cancel = op_new(actor_peer(job->self));
    cancel->kind = OP_CANCEL;
    cancel->bytes = 0;
    op_push(cancel, cancel_ended, NULL);
    op_send_cancel(cancel, commit->op, commit->to);
}

/* --- The beginning */

static void refuse(struct job *job, int code, const char *what)
{
    struct err err = {0};
    err_set(&err, code, "job '%.63s' can't begin: %s", actor_name(job->self), what);
    job_begun(job, &err);
}

static void may_grow(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        refuse(arg, err.code, err.text);
        return;
    }
    job_begun(arg, NULL);
}

static void ask_to_grow(struct job *job)
{
    Sluice__Blockers *asked = MAIL_NEW(sluice__blockers);
    asked->what = SLUICE__BLOCKERS__WHAT__ASK;
    asked->object = job->target;
    asked->operations = 1U << SLUICE__OP_BLOCK__OPERATION__RESIZE;
    actor_ask(job->self, world(job->self)->graph, MAIL_BLOCKERS, asked, may_grow, job);
}

static void backing_known(struct actor *self, struct mail *reply, void *arg)
{
    struct job *job = arg;
    (void)self;
    if (mail_fault(reply)) {
        refuse(job, -ENXIO, "the backing is gone");
        return;
    }
    int64_t length = ((Sluice__NodeFacts *)reply->body)->length;
    commit_of(job)->grows = length >= 0 && (uint64_t)length < job->total;
    commit_of(job)->backing = (uint64_t)length;
    if (commit_of(job)->grows)
        ask_to_grow(job);
    else
        job_begun(job, NULL);
}

static void ask_facts(struct job *job, actor_addr node, actor_reply_fn *then)
{
    Sluice__NodeWatch *mail = MAIL_NEW(sluice__node_watch);
    mail->parent = actor_address(job->self);
    actor_ask(job->self, node, MAIL_NODE_WATCH, mail, then, job);
}

static void overlay_known(struct actor *self, struct mail *reply, void *arg)
{
    struct job *job = arg;
    (void)self;
    if (mail_fault(reply)) {
        refuse(job, -ENXIO, "the overlay is gone");
        return;
    }
    int64_t length = ((Sluice__NodeFacts *)reply->body)->length;
    if (length < 0) {
        refuse(job, (int)length, "the overlay can't tell its length");
        return;
    }
    commit_of(job)->length = job->total = (uint64_t)length;
    ask_facts(job, job->target, backing_known);
}

static void commit_begin(struct job *job)
{
    commit_of(job)->buffer = buffer_alloc(reactor_buffers(actor_reactor(job->self)), BUFFER);
    if (!commit_of(job)->buffer)
        refuse(job, -ENOMEM, "there is no memory to copy with");
    else
        ask_facts(job, job->source, overlay_known);
}

/* --- The end of a slice */

static void fail(struct job *job, bool reading, int64_t ret)
{
    end_region(job, commit_of(job)->region);
    job_failed(job, reading, (int)ret);
}

static void pass(struct job *job)
{
    struct commit *commit = commit_of(job);
    commit->offset = job->done = commit->stop;
}

/* What a backing that can't grow has no room for stays in the overlay as a whole. Slices take the
 * time that they would have taken, so that a job with a speed does not rush through what is broken.
 */
static uint64_t leave_out(struct job *job)
{
    struct commit *commit = commit_of(job);
    if (commit->grows) {
        commit->grows = false;
        commit->length = commit->backing;
        return 0;
    }
    uint64_t bytes = commit->stop - commit->offset;
    pass(job);
    return bytes;
}

static void emptied(struct job *job, int64_t ret)
{
    if (ret < 0) {
        fail(job, false, ret);
        return;
    }
    end_region(job, commit_of(job)->region);
    pass(job);
    job_sliced(job, commit_of(job)->moved);
}

static void durable(struct job *job, int64_t ret)
{
    struct commit *commit = commit_of(job);
    if (ret < 0)
        fail(job, false, ret);
    else
        run(job, job->source, OP_MAKE_EMPTY, commit->offset, commit->stop - commit->offset, 0,
            emptied);
}

/* --- Copying */

static void go_on(struct job *job);

static void written(struct job *job, int64_t ret)
{
    struct commit *commit = commit_of(job);
    if (ret < 0) {
        fail(job, false, ret);
        return;
    }
    commit->at += commit->chunk;
    go_on(job);
}

static void read_done(struct job *job, int64_t ret)
{
    struct commit *commit = commit_of(job);
    if (ret < 0) {
        fail(job, true, ret);
        return;
    }
    commit->moved += commit->chunk;
    run(job, job->target, OP_WRITE, commit->at, commit->chunk, 0, written);
}

static void known(struct job *job, int64_t ret)
{
    struct commit *commit = commit_of(job);
    if (ret < 0) {
        fail(job, true, ret);
        return;
    }
    unsigned bits = op_status_bits(ret);
    commit->chunk = op_status_run(ret);
    if (!(bits & OP_STATUS_ALLOCATED)) {
        commit->at += commit->chunk;
        go_on(job);
    } else if (bits & OP_STATUS_ZERO) {
        run(job, job->target, OP_ZEROES, commit->at, commit->chunk, OP_MAY_UNMAP, written);
    } else {
        commit->data = commit->at + commit->chunk;
        go_on(job);
    }
}

static void go_on(struct job *job)
{
    struct commit *commit = commit_of(job);
    if (commit->at < commit->data) {
        uint64_t left = commit->data - commit->at;
        commit->chunk = left < BUFFER ? left : BUFFER;
        run(job, job->source, OP_READ, commit->at, commit->chunk, 0, read_done);
    } else if (commit->at < commit->stop) {
        run(job, job->source, OP_STATUS, commit->at, commit->stop - commit->at, 0, known);
    } else {
        run(job, job->target, OP_FLUSH, 0, 0, 0, durable);
    }
}

/* --- The beginning of a slice */

static void alone(struct actor *self, struct mail *reply, void *arg)
{
    struct job *job = arg;
    struct commit *commit = commit_of(job);
    (void)self;
    commit->waits = false;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        job_failed(job, true, err.code);
        return;
    }
    commit->region = ((Sluice__Drained *)reply->body)->region;
    commit->at = commit->data = commit->offset;
    commit->moved = 0;
    go_on(job);
}

static void looked(struct job *job, int64_t ret)
{
    struct commit *commit = commit_of(job);
    if (ret < 0) {
        job_failed(job, true, (int)ret);
        return;
    }
    if (!(op_status_bits(ret) & OP_STATUS_ALLOCATED)) {
        commit->stop = commit->offset + op_status_run(ret);
        pass(job);
        job_sliced(job, 0);
        return;
    }
    Sluice__Drain *drain = MAIL_NEW(sluice__drain);
    drain->has_backend = drain->has_holder = true;
    drain->backend = job->source;
    drain->holder = actor_address(job->self);
    commit->waits = true;
    actor_ask(job->self, world(job->self)->graph, MAIL_DRAIN, drain, alone, job);
}

static void grown(struct job *job, int64_t ret)
{
    if (ret < 0) {
        job_failed(job, false, (int)ret);
        return;
    }
    commit_of(job)->grows = false;
    job_sliced(job, 0);
}

/* A look at it first costs its users nothing. Slices end at multiples of their size. */
static void commit_slice(struct job *job)
{
    struct commit *commit = commit_of(job);
    uint64_t bytes = job_slice_bytes(job, SLICE), left = commit->length - commit->offset;
    if (commit->grows) {
        run(job, job->target, OP_TRUNCATE, commit->length, 0, 0, grown);
        return;
    }
    if (!left) {
        job->done = job->total; /* less is through when the rest was left out */
        job_through(job);
        return;
    }
    commit->stop = commit->offset + (left < bytes ? left : bytes);
    run(job, job->source, OP_STATUS, commit->offset, left, 0, looked);
}

static void commit_end(struct job *job)
{
    buffer_free(reactor_buffers(actor_reactor(job->self)), commit_of(job)->buffer, BUFFER);
}

const struct job_kind job_commit = {
    .name = "commit",
    .size = sizeof(struct commit),
    .begin = commit_begin,
    .slice = commit_slice,
    .leave_out = leave_out,
    .cancel = commit_cancel,
    .end = commit_end,
};
