/* node_slow.c — splits, bounces, emulates: a slow operation is a sequence of pieces, further
 * operations to the driver, one at a time. Pieces that end at once are run in a loop, not by
 * recursion. */
#include "actors/node_slow.h"

#include <errno.h>
#include <string.h>

#define BOUNCE_BYTES (UINT64_C(1) << 20)
#define ZERO_BYTES   (UINT64_C(1) << 20)

/* What fallback zeroes are written from. Never written to, so it takes no memory of its own: the
 * kernel maps its page of zeroes. */
static _Alignas(BUFFER_ALIGN) unsigned char zero_bytes[ZERO_BYTES];

/* What the piece under way is for. */
enum step {
    STEP_START,  /* none yet */
    STEP_MOVE,   /* moves `part` bytes of the operation on */
    STEP_FETCH,  /* reads a block that is then changed in part */
    STEP_RESIZE, /* a truncate, after which its growth is written */
    STEP_UNDO,   /* the truncate back, as that failed */
    STEP_FLUSH,  /* emulates FUA */
};

/* --- The vector */

static void skip_empty(struct slow *slow)
{
    while (slow->entry < slow->op->niov && slow->within == slow->op->iov[slow->entry].iov_len) {
        slow->entry++;
        slow->within = 0;
    }
}

static void advance(struct slow *slow, uint64_t bytes)
{
    slow->at += bytes;
    if (slow->op->kind != OP_READ && slow->op->kind != OP_WRITE)
        return;
    while (bytes) {
        uint64_t n = least(bytes, slow->op->iov[slow->entry].iov_len - slow->within);
        slow->within += n;
        bytes -= n;
        skip_empty(slow);
    }
}

/* Copies from or to the vector at the present place. */
static void copy(const struct slow *slow, unsigned char *buffer, uint64_t bytes)
{
    const struct iovec *entry = &slow->op->iov[slow->entry];
    uint64_t within = slow->within;
    for (; bytes; entry++, within = 0) {
        uint64_t n = least(bytes, entry->iov_len - within);
        unsigned char *place = (unsigned char *)entry->iov_base + within;
        if (slow->op->kind == OP_READ)
            memcpy(place, buffer, n);
        else
            memcpy(buffer, place, n);
        buffer += n;
        bytes -= n;
    }
}

/* The bytes that the driver can take straight from the vector at the present place: part of one
 * entry, or whole ones. */
static uint64_t straight(const struct slow *slow, struct op *piece)
{
    const struct node *node = slow->node;
    uint64_t limit = least(node->max_transfer, slow->stop - slow->at), total = 0;
    struct iovec *entry = &slow->op->iov[slow->entry];

    piece->iov = entry;
    piece->niov = 0;
    if (slow->within || entry->iov_len > limit) {
        unsigned char *base = (unsigned char *)entry->iov_base + slow->within;
        if ((uintptr_t)base & node->memory_mask)
            return 0;
        total = least(entry->iov_len - slow->within, limit) & ~node->mask;
        piece->one = (struct iovec){base, total};
        piece->iov = &piece->one;
        piece->niov = 1;
        return total;
    }
    unsigned left = (unsigned)(slow->op->niov - slow->entry);
    for (; piece->niov < left && piece->niov < node->max_vector; entry++, piece->niov++) {
        if (total + entry->iov_len > limit || entry->iov_len & node->mask ||
            (uintptr_t)entry->iov_base & node->memory_mask)
            break;
        total += entry->iov_len;
    }
    return total;
}

/* --- Pieces */

static void piece_done(struct op *piece, void *who)
{
    struct slow *slow = op_top(who);
    slow->result = (int)piece->ret;
    slow->piece = NULL;
    op_free(piece);
    slow_run(slow);
}

static struct op *piece_new(struct slow *slow, enum step step, enum op_kind kind)
{
    struct op *piece = op_new(slow->node->base.peer);
    piece->kind = kind;
    piece->flags = 0;
    op_inherit(piece, slow->op);
    piece->niov = 0;
    piece->iov = NULL;
    piece->offset = 0;
    piece->bytes = 0;
    slow->step = step;
    op_push(piece, piece_done, slow->op);
    return piece;
}

static void piece_submit(struct slow *slow, struct op *piece)
{
    struct driver_node *base = &slow->node->base;
    slow->piece = piece;
    base->driver->submit(base, piece);
}

/* Flags of a write or zeroes that its pieces have too. */
static uint16_t piece_flags(const struct slow *slow, enum op_kind kind, uint64_t end)
{
    uint16_t flags = 0;
    if (kind == OP_READ)
        return 0;
    if (node_can(slow->node, DRIVER_CAN_FUA))
        flags |= slow->op->flags & OP_FUA;
    if (kind == OP_WRITE)
        flags |= slow->op->flags & OP_COMPRESSED;
    if (kind == OP_ZEROES && node_can(slow->node, DRIVER_CAN_UNMAP))
        flags |= slow->op->flags & OP_MAY_UNMAP;
    if (end > slow->node->length)
        flags |= slow->op->flags & OP_BEYOND_END;
    return flags;
}

static void place(struct slow *slow, struct op *piece, uint64_t offset, uint64_t bytes)
{
    piece->offset = (int64_t)offset;
    piece->bytes = bytes;
    piece->flags |= piece_flags(slow, piece->kind, offset + bytes);
}

static void point(struct op *piece, void *data, uint64_t bytes)
{
    piece->one = (struct iovec){data, bytes};
    piece->iov = &piece->one;
    piece->niov = 1;
}

static void bounce_free(struct slow *slow)
{
    buffer_free(reactor_buffers(slow->node->base.reactor), slow->bounce, slow->bounced);
    slow->bounce = NULL;
}

static void bounce_submit(struct slow *slow, enum step step, enum op_kind kind)
{
    struct op *piece = piece_new(slow, step, kind);
    point(piece, slow->bounce, slow->bounced);
    place(slow, piece, slow->at & ~slow->node->mask, slow->bounced);
    piece_submit(slow, piece);
}

/* Puts what the operation writes into the bounce buffer, and writes that. */
static void bounce_write(struct slow *slow)
{
    unsigned char *at = slow->bounce + (slow->at & slow->node->mask);
    if (slow->op->kind == OP_WRITE)
        copy(slow, at, slow->part);
    else
        memset(at, 0, slow->part);
    bounce_submit(slow, STEP_MOVE, OP_WRITE);
}

/* Moves the next bytes through an aligned buffer. Writing a part of a block, that is one block,
 * which is read first. */
static int bounce(struct slow *slow)
{
    const struct node *node = slow->node;
    uint64_t block = node->mask + 1, low = slow->at & ~node->mask;
    uint64_t left = slow->stop - low;
    bool reads = slow->op->kind == OP_READ;
    bool in_part = !reads && (low != slow->at || left < block);

    if (reads)
        left = (left + node->mask) & ~node->mask;
    else if (in_part)
        left = block;
    else
        left &= ~node->mask;
    slow->bounced = (uint32_t)least(left, least(BOUNCE_BYTES, node->max_transfer));
    slow->part = (uint32_t)(least(low + slow->bounced, slow->stop) - slow->at);
    slow->bounce = buffer_alloc(reactor_buffers(node->base.reactor), slow->bounced);
    if (!slow->bounce)
        return -ENOMEM;
    if (reads) {
        bounce_submit(slow, STEP_MOVE, OP_READ);
    } else if (in_part && low < node->length) {
        bounce_submit(slow, STEP_FETCH, OP_READ);
    } else {
        if (in_part)
            memset(slow->bounce, 0, slow->bounced);
        bounce_write(slow);
    }
    return 0;
}

static int move_data(struct slow *slow)
{
    struct node *node = slow->node;
    skip_empty(slow);
    if (!(slow->at & node->mask)) {
        struct op *piece = piece_new(slow, STEP_MOVE, slow->op->kind);
        uint64_t bytes = straight(slow, piece);
        if (bytes) {
            place(slow, piece, slow->at, bytes);
            slow->part = (uint32_t)bytes;
            piece_submit(slow, piece);
            return 0;
        }
        op_free(piece);
    }
    return bounce(slow);
}

static int move_zeroes(struct slow *slow)
{
    struct node *node = slow->node;
    uint64_t whole = (slow->stop - slow->at) & ~node->mask;
    if (slow->at & node->mask || !whole)
        return bounce(slow);

    bool by_writing = slow->by_writing || !node_can(node, DRIVER_CAN_ZEROES);
    if (by_writing && slow->op->flags & OP_NO_FALLBACK)
        return -ENOTSUP;
    struct op *piece = piece_new(slow, STEP_MOVE, by_writing ? OP_WRITE : OP_ZEROES);
    if (by_writing) {
        whole = least(whole, least(ZERO_BYTES, node->max_transfer));
        point(piece, zero_bytes, whole);
    } else {
        whole = least(whole, least(node->max_zeroes, INT32_MAX & ~node->mask));
    }
    place(slow, piece, slow->at, whole);
    slow->part = (uint32_t)whole;
    piece_submit(slow, piece);
    return 0;
}

static int move_discard(struct slow *slow)
{
    struct op *piece = piece_new(slow, STEP_MOVE, OP_DISCARD);
    uint64_t bytes =
        least(slow->stop - slow->at, least(slow->node->max_zeroes, INT32_MAX & ~slow->node->mask));
    place(slow, piece, slow->at, bytes);
    slow->part = (uint32_t)bytes;
    piece_submit(slow, piece);
    return 0;
}

static int resize(struct slow *slow, enum step step, int64_t length)
{
    struct op *piece = piece_new(slow, step, OP_TRUNCATE);
    piece->offset = length;
    piece_submit(slow, piece);
    return 0;
}

/* --- The sequence */

#define FINISHED 1

/* A piece of data has ended: accounts for it. */
static int moved(struct slow *slow)
{
    const struct op *op = slow->op;
    if (slow->result == -ENOTSUP && op->kind == OP_ZEROES && !slow->by_writing && !slow->bounce) {
        slow->by_writing = true;
        return 0;
    }
    if (slow->result < 0)
        return slow->result;
    if (slow->bounce) {
        if (op->kind == OP_READ)
            copy(slow, slow->bounce + (slow->at & slow->node->mask), slow->part);
        bounce_free(slow);
    }
    advance(slow, slow->part);
    return 0;
}

static int move_on(struct slow *slow)
{
    if (slow->at < slow->stop && slow->cancelled)
        return -ECANCELED;
    if (slow->at < slow->stop)
        switch (slow->op->kind) {
        case OP_READ:
        case OP_WRITE:
            return move_data(slow);
        case OP_DISCARD:
            return move_discard(slow);
        default:
            return move_zeroes(slow);
        }
    bool flush = is_write(slow->op) && slow->op->flags & OP_FUA &&
                 !node_can(slow->node, DRIVER_CAN_FUA) && node_can(slow->node, DRIVER_CAN_FLUSH);
    if (!flush)
        return FINISHED;
    piece_submit(slow, piece_new(slow, STEP_FLUSH, OP_FLUSH));
    return 0;
}

/* Takes the result of the piece before and starts the next one. Returns 0 while one is under way,
 * FINISHED, or a negative errno. */
static int next(struct slow *slow)
{
    int ret = 0;
    switch ((enum step)slow->step) {
    case STEP_START:
        if (slow->op->kind == OP_TRUNCATE)
            return resize(slow, STEP_RESIZE, slow->op->offset);
        break;
    case STEP_FETCH:
        if (slow->result < 0 || slow->cancelled)
            return slow->result < 0 ? slow->result : -ECANCELED;
        bounce_write(slow);
        return 0;
    case STEP_MOVE:
        ret = moved(slow);
        break;
    case STEP_RESIZE:
        if (slow->result < 0)
            return slow->result;
        slow->stop = slow->node->length;
        break;
    case STEP_FLUSH:
        return slow->result < 0 ? slow->result : FINISHED;
    case STEP_UNDO:
        return (int)slow->op->ret;
    }
    if (ret == 0)
        ret = move_on(slow);
    if (ret < 0 && slow->op->kind == OP_TRUNCATE) {
        slow->op->ret = ret; /* told after the undoing */
        return resize(slow, STEP_UNDO, (int64_t)slow->old_length);
    }
    return ret;
}

void slow_run(struct slow *slow)
{
    if (slow->inside) {
        slow->ended = true;
        return;
    }
    slow->inside = true;
    do {
        slow->ended = false;
        int ret = next(slow);
        if (ret != 0) {
            if (slow->bounce)
                bounce_free(slow);
            op_complete(slow->op, ret < 0 ? ret : 0);
            return;
        }
    } while (slow->ended);
    slow->inside = false;
}
