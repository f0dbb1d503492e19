/* copy_on_read.c — a filter that copies what is read, and not allocated in the child's own layer,
 * into that layer, before the read completes. On a chain of layers over a slow medium, each block
 * is fetched once.
 *
 * A read asks what its range is, and copies what lacks. A copy waits for writes that overlap it,
 * and those wait for the copy, so what is written is never overwritten by what was there before. A
 * copy that fails ends the read with its error. */
#include "drivers/driver.h"

#include <errno.h>

#include "drivers/ranges.h"
#include "drivers/sequence.h"

#define COPY_BYTES (UINT64_C(1) << 20) /* of one piece */

struct copy_on_read {
    struct driver_node *node;
    struct ranges ranges;
};

/* What the piece under way is for. */
enum step {
    STEP_START,  /* none yet */
    STEP_STATUS, /* asks what is at `at` */
    STEP_FETCH,  /* reads it from below the child's layer */
    STEP_STORE,  /* writes it there */
};

/* In the frame of a request. */
struct request {
    struct range range;       /* first: see go() */
    struct sequence sequence; /* of a read */
    struct copy_on_read *self;
    uint64_t at;           /* what lies before is allocated */
    unsigned char *buffer; /* of a copy; null when there is none */
    uint32_t part;         /* bytes of a copy */
    uint8_t step;          /* enum step */
    bool listed;           /* among the ranges */
};
_Static_assert(sizeof(struct request) <= OP_SPACE, "a request's state fits its frame");

static struct request *request_of(struct sequence *sequence)
{
    return (struct request *)((char *)sequence - offsetof(struct request, sequence));
}

static uint64_t end_of(const struct op *op)
{
    return (uint64_t)op->offset + op->bytes;
}

static void buffer_drop(struct request *request)
{
    buffer_free(reactor_buffers(request->self->node->reactor), request->buffer, request->part);
    request->buffer = NULL;
}

static void request_done(struct op *op, void *who)
{
    struct copy_on_read *self = who;
    struct request *request = op_popped(op);
    bool resizes = op->kind == OP_TRUNCATE || op->flags & OP_BEYOND_END;
    if (request->buffer)
        buffer_drop(request);
    if (request->listed)
        ranges_leave(&self->ranges, &request->range);
    if (resizes)
        driver_catch_up(self->node, op);
    else
        op_complete(op, op->ret);
}

static sequence_next_fn next;

static struct request *request_new(struct copy_on_read *self, struct op *op)
{
    struct request *request = op_push(op, request_done, self);
    sequence_init(&request->sequence, op, next);
    request->self = self;
    request->at = (uint64_t)op->offset;
    request->buffer = NULL;
    request->step = STEP_START;
    request->listed = false;
    return request;
}

/* --- A read: looks at what is there, and copies what lacks */

static int ask(struct request *request, enum step step, enum op_kind kind, uint64_t bytes)
{
    struct driver_node *node = request->self->node;
    struct op *piece = driver_op(node, kind, request->at, bytes);
    if (kind == OP_READ || kind == OP_WRITE)
        driver_op_data(piece, request->buffer, bytes);
    request->step = step;
    sequence_send(&request->sequence, node, EDGE_CHILD, piece);
    return SEQUENCE_WAITS;
}

/* All of it is in the child's layer, where it is read from. */
static int pass(struct request *request)
{
    struct copy_on_read *self = request->self;
    struct op *op = request->sequence.op;
    if (request->listed)
        ranges_leave(&self->ranges, &request->range);
    op_pop(op);
    driver_pass(self->node, op);
    return SEQUENCE_GONE;
}

static int look(struct request *request)
{
    uint64_t end = end_of(request->sequence.op);
    if (request->at == end)
        return pass(request);
    return ask(request, STEP_STATUS, OP_STATUS, end - request->at);
}

static int copy(struct request *request, uint64_t bytes, bool zeroes)
{
    if (zeroes) {
        request->part = (uint32_t)bytes;
        return ask(request, STEP_STORE, OP_ZEROES, bytes);
    }
    request->part = (uint32_t)(bytes < COPY_BYTES ? bytes : COPY_BYTES);
    request->buffer = buffer_alloc(reactor_buffers(request->self->node->reactor), request->part);
    if (!request->buffer)
        return -ENOMEM;
    return ask(request, STEP_FETCH, OP_READ, request->part);
}

static int looked(struct request *request)
{
    struct op *op = request->sequence.op;
    uint64_t run = op_status_run(request->sequence.result);
    unsigned bits = op_status_bits(request->sequence.result);
    if (bits & OP_STATUS_ALLOCATED) {
        request->at += run;
        return look(request);
    }
    if (request->listed)
        return copy(request, run, bits & OP_STATUS_ZERO);
    request->listed = true;
    if (!ranges_enter(&request->self->ranges, &request->range, RANGE_COPY, (uint64_t)op->offset,
                      end_of(op)))
        return SEQUENCE_WAITS;
    return look(request);
}

static int next(struct sequence *sequence)
{
    struct request *request = request_of(sequence);
    if (request->step != STEP_START && sequence->result < 0)
        return (int)sequence->result;
    switch ((enum step)request->step) {
    case STEP_STATUS:
        return looked(request);
    case STEP_FETCH:
        return ask(request, STEP_STORE, OP_WRITE, request->part);
    case STEP_STORE:
        if (request->buffer)
            buffer_drop(request);
        request->at += request->part;
        break;
    case STEP_START:
        break;
    }
    return look(request);
}

/* --- Waiting */

static void go(struct range *range)
{
    struct request *request = (struct request *)range;
    if (request->sequence.op->kind == OP_READ) {
        request->step = STEP_START; /* what was told before it had to wait may have changed */
        sequence_run(&request->sequence);
    } else {
        driver_pass(request->self->node, request->sequence.op);
    }
}

static void submit_change(struct copy_on_read *self, struct op *op)
{
    struct request *request = request_new(self, op);
    bool all = !op_has_range(op->kind);
    request->listed = true;
    if (ranges_enter(&self->ranges, &request->range, RANGE_WRITE, all ? 0 : request->at,
                     all ? UINT64_MAX : end_of(op)))
        go(&request->range);
}

/* What does not wait is with the child, as a whole or in pieces. */
static bool copy_on_read_cancel(struct driver_node *node, struct op *op)
{
    struct request *request = op_frame(op, request_done, node->state);
    if (!request)
        return false;
    request->sequence.cancelled = true;
    if (!request->listed || !request->range.waiting)
        return false;
    op_complete(op, -ECANCELED);
    return true;
}

static struct op *copy_on_read_piece(struct driver_node *node, struct op *op,
                                     enum driver_edge *edge)
{
    const struct request *request = op_frame(op, request_done, node->state);
    return request ? sequence_piece(&request->sequence, edge) : NULL;
}

static void copy_on_read_abort(struct driver_node *node)
{
    struct copy_on_read *self = node->state;
    struct range *range;
    while ((range = ranges_waiting(&self->ranges)))
        op_complete(((struct request *)range)->sequence.op, -ESHUTDOWN);
}

/* --- The driver */

static void copy_on_read_submit(struct driver_node *node, struct op *op)
{
    struct copy_on_read *self = node->state;
    switch (op->kind) {
    case OP_READ:
        if (node->facts.can & DRIVER_CAN_STATUS && !node->facts.read_only)
            sequence_run(&request_new(self, op)->sequence);
        else
            driver_pass(node, op);
        break;
    case OP_WRITE:
    case OP_ZEROES:
    case OP_DISCARD:
    case OP_TRUNCATE:
        submit_change(self, op);
        break;
    default:
        driver_pass(node, op);
    }
}

static void copy_on_read_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct copy_on_read *self = node->state;
    struct err err = {0};
    self->node = node;
    self->ranges.go = go;
    node->facts = node->child_facts;
    if (node->facts.read_only)
        err_field(&err, "child", -EPERM,
                  "node %s: what is read is to be copied to the child, which is read-only; make "
                  "that writable",
                  node->name);
    opened(node, err.code, &err);
}

static void copy_on_read_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    closed(node);
}

static void copy_on_read_child_changed(struct driver_node *node)
{
    node->facts = node->child_facts;
    driver_changed(node);
}

static struct driver_perms copy_on_read_needs(enum driver_edge edge, struct driver_perms above)
{
    (void)edge;
    return (struct driver_perms){above.perm | PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED,
                                 above.shared | PERM_WRITE_UNCHANGED};
}

const struct driver driver_copy_on_read = {
    .name = "copy-on-read",
    .help = "Copies what is read from below its child's layer into that layer",
    .size = sizeof(struct copy_on_read),
    .filter = true,
    .open = copy_on_read_open,
    .close = copy_on_read_close,
    .submit = copy_on_read_submit,
    .cancel = copy_on_read_cancel,
    .piece = copy_on_read_piece,
    .abort = copy_on_read_abort,
    .needs = copy_on_read_needs,
    .child_changed = copy_on_read_child_changed,
};
