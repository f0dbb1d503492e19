/* overlay_io.c — requests to an overlay, by pieces: each moves what lies together below, or copies
 * a block up. */
#include "drivers/overlay.h"

#include <errno.h>

#include "drivers/sequence.h"

/* What the piece under way is for. */
enum step {
    STEP_START, /* none yet */
    STEP_MOVE,  /* moves `part` bytes of the request */
    STEP_FETCH, /* reads a block from the backing */
    STEP_STORE, /* writes it, with `part` bytes of the request in it */
    STEP_WHOLE, /* the request itself is below */
    STEP_FREE,  /* an emptied child gives its room back */
};

/* In the frame of a request. */
struct request {
    struct range range; /* first: see overlay_go_on() */
    struct sequence sequence;
    struct overlay *overlay;
    uint64_t at, stop;     /* what is left to do */
    unsigned char *buffer; /* of a block to copy up; null when there is none */
    uint32_t part;
    uint8_t step;   /* enum step */
    uint8_t source; /* enum source, of a status */
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

static bool has_block(const struct overlay *overlay, uint64_t at)
{
    return overlay_map_has(&overlay->map, at >> overlay->block_bits);
}

/* Where the block that holds `at` ends, in a device that is as long as it is now, or `stop`. */
static uint64_t block_end(const struct overlay *overlay, uint64_t at, uint64_t stop)
{
    uint64_t length = length_of(&overlay->node->facts);
    uint64_t end = (at | (block_bytes(overlay) - 1)) + 1;
    return least(end, stop > length ? stop : length);
}

/* --- Where content is */

enum source { CHILD, BACKING, ZEROES };

/* Where what is at `at` is read from, and how much of what is before `stop`. */
static enum source find(const struct overlay *overlay, uint64_t at, uint64_t stop, uint64_t *run)
{
    unsigned bits = overlay->block_bits;
    uint64_t blocks = overlay_map_run(&overlay->map, at >> bits, (stop - 1) >> bits);
    uint64_t end = least(((at >> bits) + blocks) << bits, stop);
    enum source source = has_block(overlay, at) ? CHILD : at < overlay->backed ? BACKING : ZEROES;
    if (source == BACKING)
        end = least(end, overlay->backed);
    *run = end - at;
    return source;
}

/* Whether a write of a part of the block that holds `at` needs the rest of it from the backing. */
static bool first_in_part(const struct overlay *overlay, uint64_t at, uint64_t stop)
{
    return !has_block(overlay, at) &&
           (at & (block_bytes(overlay) - 1) || stop < block_end(overlay, at, stop));
}

static bool last_in_part(const struct overlay *overlay, uint64_t stop)
{
    return !has_block(overlay, stop - 1) && stop < block_end(overlay, stop - 1, stop);
}

/* How far from `at` on a write needs no block to be copied up; 0 when the first one does. */
static uint64_t straight(const struct overlay *overlay, uint64_t at, uint64_t stop)
{
    if (first_in_part(overlay, at, stop))
        return 0;
    if (last_in_part(overlay, stop))
        stop = (stop - 1) & ~(block_bytes(overlay) - 1);
    return stop - at;
}

/* The blocks that a write touched are the overlay's own. */
static void own(struct overlay *overlay, uint64_t start, uint64_t stop)
{
    overlay_map_add(&overlay->map, start >> overlay->block_bits, (stop - 1) >> overlay->block_bits);
}

/* --- The end of a request */

static void buffer_drop(struct request *request)
{
    buffer_free(reactor_buffers(request->overlay->node->reactor), request->buffer,
                block_bytes(request->overlay));
    request->buffer = NULL;
}

static void shrink(struct overlay *overlay, uint64_t length)
{
    overlay->backed = least(overlay->backed, length);
    overlay_map_cut(&overlay->map, (length + block_bytes(overlay) - 1) >> overlay->block_bits);
}

/* What below says of a part of the range, in the overlay's terms. */
static void told_status(struct request *request, struct op *op)
{
    op->bytes = request->stop - (uint64_t)op->offset;
    if (op->ret < 0)
        return;
    unsigned bits = op_status_bits(op->ret) & ~(unsigned)OP_STATUS_ALLOCATED;
    if (request->source == CHILD)
        bits |= OP_STATUS_ALLOCATED;
    op->ret = op_status(op_status_run(op->ret), bits);
}

static void whole_done(struct request *request, struct op *op)
{
    if (op->kind == OP_STATUS)
        told_status(request, op);
    else if (op->ret == 0 && op->kind == OP_TRUNCATE)
        shrink(request->overlay, (uint64_t)op->offset);
    else if (op->ret == 0 && op->kind != OP_READ)
        own(request->overlay, (uint64_t)op->offset, end_of(op));
}

static void leave(struct op *op, void *who)
{
    struct overlay *overlay = who;
    struct request *request = op_popped(op);
    ranges_leave(&overlay->ranges, &request->range);
    op_complete(op, op->ret);
}

static void request_done(struct op *op, void *who)
{
    struct overlay *overlay = who;
    struct request *request = op_popped(op);
    if (request->buffer)
        buffer_drop(request);
    if (request->step == STEP_WHOLE)
        whole_done(request, op);
    op_push(op, leave, overlay); /* in the same place, so the request stays as it is */
    bool resizes = op->kind == OP_TRUNCATE || op->flags & OP_BEYOND_END;
    if (resizes && !request->range.waiting) /* one that has waited till now has done nothing */
        driver_catch_up(overlay->node, op); /* others begin when the length is known */
    else
        op_complete(op, op->ret);
}

/* --- Pieces */

/* Of what the request says, in its pieces too. */
static uint16_t piece_flags(const struct request *request, uint64_t stop)
{
    uint64_t length = length_of(&request->overlay->node->facts);
    unsigned flags = request->sequence.op->flags;
    return (uint16_t)(flags & (OP_FUA | OP_MAY_UNMAP | (stop > length ? OP_BEYOND_END : 0)));
}

static int send_whole(struct request *request, enum driver_edge edge)
{
    request->step = STEP_WHOLE;
    sequence_pass(&request->sequence, request->overlay->node, edge);
    return SEQUENCE_GONE;
}

static bool is_whole(const struct request *request, uint64_t bytes)
{
    const struct op *op = request->sequence.op;
    return request->at == (uint64_t)op->offset && bytes == op->bytes && op->kind != OP_DISCARD;
}

/* Sends `bytes` from `at` on as a piece of their own, or as the request itself when they are all of
 * it. */
static int move(struct request *request, enum driver_edge edge, uint64_t bytes)
{
    struct sequence *sequence = &request->sequence;
    struct driver_node *node = request->overlay->node;
    if (is_whole(request, bytes))
        return send_whole(request, edge);
    bool discards = sequence->op->kind == OP_DISCARD;
    uint64_t mask = block_bytes(request->overlay) - 1;
    bytes = least(bytes, ((request->at + INT32_MAX) & ~mask) - request->at);
    struct op *piece =
        driver_op(node, discards ? OP_ZEROES : sequence->op->kind, request->at, bytes);
    if (piece->kind != OP_ZEROES)
        sequence_slice(sequence, piece, request->at - (uint64_t)sequence->op->offset, bytes);
    if (piece->kind != OP_READ)
        piece->flags = piece_flags(request, request->at + bytes) | (discards ? OP_MAY_UNMAP : 0);
    request->step = STEP_MOVE;
    request->part = (uint32_t)bytes;
    sequence_send(sequence, node, edge, piece);
    return SEQUENCE_WAITS;
}

/* --- Reads, and what a range is */

static int read_on(struct request *request)
{
    while (request->at < request->stop) {
        uint64_t run;
        enum source source = find(request->overlay, request->at, request->stop, &run);
        if (source != ZEROES)
            return move(request, source == CHILD ? EDGE_CHILD : EDGE_BACKING, run);
        sequence_clear(&request->sequence, request->at - (uint64_t)request->sequence.op->offset,
                       run);
        request->at += run;
    }
    return SEQUENCE_DONE;
}

/* Where the overlay gives zeroes although its backing has something there, they are its own. */
static int tell_status(struct request *request)
{
    uint64_t run, behind = length_of(&request->overlay->node->backing_facts);
    struct op *op = request->sequence.op;
    enum source source = find(request->overlay, request->at, request->stop, &run);
    if (source != ZEROES) {
        request->source = (uint8_t)source;
        op->bytes = run;
        return send_whole(request, source == CHILD ? EDGE_CHILD : EDGE_BACKING);
    }
    bool hides = request->at < behind;
    if (hides)
        run = least(run, behind - request->at);
    op_complete(op, op_status(run, OP_STATUS_ZERO | (hides ? OP_STATUS_ALLOCATED : 0)));
    return SEQUENCE_GONE;
}

/* --- Writes, zeroes, discards */

/* Puts what is written into the block, and writes that. */
static int store(struct request *request)
{
    struct overlay *overlay = request->overlay;
    const struct sequence *sequence = &request->sequence;
    uint64_t mask = block_bytes(overlay) - 1, start = request->at & ~mask;
    uint64_t end = block_end(overlay, request->at, request->stop);
    unsigned char *place = request->buffer + (request->at & mask);
    if (sequence->op->kind == OP_WRITE)
        sequence_gather(sequence, place, request->at - (uint64_t)sequence->op->offset,
                        request->part);
    else
        memset(place, 0, request->part);
    struct op *piece = driver_op(overlay->node, OP_WRITE, start, end - start);
    driver_op_data(piece, request->buffer, end - start);
    piece->flags = piece_flags(request, end) & (uint16_t)~OP_MAY_UNMAP;
    request->step = STEP_STORE;
    sequence_send(&request->sequence, overlay->node, EDGE_CHILD, piece);
    return SEQUENCE_WAITS;
}

static int copy_up(struct request *request)
{
    struct overlay *overlay = request->overlay;
    uint64_t start = request->at & ~(block_bytes(overlay) - 1);
    uint64_t end = block_end(overlay, request->at, request->stop);
    uint64_t there = start < overlay->backed ? least(end, overlay->backed) - start : 0;
    request->part = (uint32_t)(least(end, request->stop) - request->at);
    request->buffer = buffer_alloc(reactor_buffers(overlay->node->reactor), block_bytes(overlay));
    if (!request->buffer)
        return -ENOMEM;
    memset(request->buffer + there, 0, end - start - there);
    if (!there)
        return store(request);
    struct op *piece = driver_op(overlay->node, OP_READ, start, there);
    driver_op_data(piece, request->buffer, there);
    request->step = STEP_FETCH;
    sequence_send(&request->sequence, overlay->node, EDGE_BACKING, piece);
    return SEQUENCE_WAITS;
}

static int write_on(struct request *request)
{
    if (request->at == request->stop)
        return SEQUENCE_DONE;
    uint64_t bytes = straight(request->overlay, request->at, request->stop);
    return bytes ? move(request, EDGE_CHILD, bytes) : copy_up(request);
}

/* --- Emptying */

/* What the overlay held is in the backing; the child's room for it is given back, if it can. What
 * the backing does not show stays: what is behind its end, and all that comes after a place where
 * the overlay hides what the backing has. */
static int make_empty(struct request *request)
{
    struct overlay *overlay = request->overlay;
    struct driver_node *node = overlay->node;
    uint64_t start = request->at, stop = request->stop;
    uint64_t behind = length_of(&node->backing_facts);
    if (stop > behind)
        stop = behind & ~(block_bytes(overlay) - 1);
    if (start >= stop || start > overlay->backed)
        return SEQUENCE_DONE;
    if (overlay->backed < stop)
        overlay->backed = stop;
    overlay_map_drop(&overlay->map, start >> overlay->block_bits,
                     (stop - 1) >> overlay->block_bits);
    if (!(node->child_facts.can & DRIVER_CAN_DISCARD))
        return SEQUENCE_DONE;
    request->step = STEP_FREE;
    sequence_send(&request->sequence, node, EDGE_CHILD,
                  driver_op(node, OP_DISCARD, start, stop - start));
    return SEQUENCE_WAITS;
}

/* --- The sequence */

/* Accounts for the piece before. */
static int settle(struct request *request)
{
    const struct sequence *sequence = &request->sequence;
    if (request->step == STEP_START)
        return 0;
    if (sequence->result < 0)
        return (int)sequence->result;
    if (request->step == STEP_FETCH)
        return 0;
    if (request->buffer)
        buffer_drop(request);
    if (sequence->op->kind != OP_READ)
        own(request->overlay, request->at, request->at + request->part);
    request->at += request->part;
    return 0;
}

static int next(struct sequence *sequence)
{
    struct request *request = request_of(sequence);
    if (request->step == STEP_FREE)
        return SEQUENCE_DONE; /* what the child did not free, it keeps */
    int ret = settle(request);
    if (ret < 0)
        return ret;
    if (request->step == STEP_FETCH)
        return store(request);
    switch (sequence->op->kind) {
    case OP_READ:
        return read_on(request);
    case OP_STATUS:
        return tell_status(request);
    case OP_TRUNCATE:
        return send_whole(request, EDGE_CHILD);
    case OP_MAKE_EMPTY:
        return make_empty(request);
    default:
        return write_on(request);
    }
}

/* --- Beginning, waiting */

static enum range_use use_of(const struct request *request)
{
    const struct overlay *overlay = request->overlay;
    switch (request->sequence.op->kind) {
    case OP_READ:
    case OP_STATUS:
        return RANGE_READ;
    case OP_TRUNCATE:
    case OP_MAKE_EMPTY:
        return RANGE_ALONE;
    default:
        return first_in_part(overlay, request->at, request->stop) ||
                       last_in_part(overlay, request->stop)
                   ? RANGE_COPY
                   : RANGE_WRITE;
    }
}

/* Whole blocks for one that copies up. */
static bool enter(struct request *request)
{
    struct overlay *overlay = request->overlay;
    uint64_t mask = block_bytes(overlay) - 1;
    enum range_use use = use_of(request);
    uint64_t start = request->at & ~mask, stop = (request->stop + mask) & ~mask;
    if (request->sequence.op->kind == OP_TRUNCATE) {
        start = 0;
        stop = UINT64_MAX;
    }
    return ranges_enter(&overlay->ranges, &request->range, use, start, stop);
}

/* While it waited, a block may have ceased to be the overlay's own: then it has more to do, and
 * queues anew. */
void overlay_go_on(struct range *range)
{
    struct request *request = (struct request *)range;
    if (use_of(request) > (enum range_use)range->use) {
        ranges_leave(&request->overlay->ranges, range);
        if (!enter(request))
            return;
    }
    sequence_run(&request->sequence);
}

/* Room for the bits of what it may write, up to the end that the device may get. */
static int reserve(struct overlay *overlay, const struct op *op)
{
    bool changes = op->kind == OP_WRITE || op->kind == OP_ZEROES || op->kind == OP_DISCARD;
    uint64_t end = op->kind == OP_TRUNCATE ? (uint64_t)op->offset : changes ? end_of(op) : 0;
    uint64_t blocks = (end + block_bytes(overlay) - 1) >> overlay->block_bits;
    if (blocks > OVERLAY_BLOCKS)
        return -EFBIG;
    return changes ? overlay_map_reserve(&overlay->map, blocks) : 0;
}

void overlay_submit(struct driver_node *node, struct op *op)
{
    struct overlay *overlay = node->state;
    if (op->kind == OP_FLUSH) {
        driver_pass(node, op);
        return;
    }
    uint64_t mask = block_bytes(overlay) - 1, start = (uint64_t)op->offset, stop = end_of(op);
    if (op->kind == OP_MAKE_EMPTY && !op->bytes) { /* all of it */
        start = 0;
        stop = length_of(&node->facts);
    }
    if (op->kind == OP_DISCARD || op->kind == OP_MAKE_EMPTY) { /* not a whole block: it stays */
        start = (start + mask) & ~mask;
        stop = stop == length_of(&node->facts) ? stop : stop & ~mask;
    }
    int ret = reserve(overlay, op);
    bool by_blocks = op->kind == OP_DISCARD || op->kind == OP_MAKE_EMPTY;
    if (ret < 0 || (by_blocks && start >= stop)) {
        op_complete(op, ret);
        return;
    }
    struct request *request = op_push(op, request_done, overlay);
    sequence_init(&request->sequence, op, next);
    request->overlay = overlay;
    request->at = start;
    request->stop = stop;
    request->buffer = NULL;
    request->step = STEP_START;
    if (enter(request))
        sequence_run(&request->sequence);
}

/* What is below is asked for there. */
bool overlay_cancel(struct driver_node *node, struct op *op)
{
    struct request *request = op_frame(op, request_done, node->state);
    if (!request)
        return false;
    request->sequence.cancelled = request->step != STEP_FREE;
    if (!request->range.waiting)
        return false;
    op_complete(op, -ECANCELED);
    return true;
}

struct op *overlay_piece(struct driver_node *node, struct op *op, enum driver_edge *edge)
{
    const struct request *request = op_frame(op, request_done, node->state);
    return request ? sequence_piece(&request->sequence, edge) : NULL;
}

void overlay_abort(struct driver_node *node)
{
    struct overlay *overlay = node->state;
    struct range *range;
    while ((range = ranges_waiting(&overlay->ranges)))
        op_complete(((struct request *)range)->sequence.op, -ESHUTDOWN);
}
