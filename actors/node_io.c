/* node_io.c — limits and checks; what each operation that does not simply pass is to do; and which
 * writes have to wait for each other. What then goes to the driver in pieces is node_slow.c's. */
#include "actors/node_slow.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* --- Limits */

void node_limits(struct node *node)
{
    const struct driver_facts *facts = &node->base.facts;
    uint64_t alignment = facts->alignment;

    node->length = facts->length > 0 ? (uint64_t)facts->length : 0;
    node->mask = alignment - 1;
    node->memory_mask = least(alignment, BUFFER_ALIGN) - 1;
    node->max_transfer = (facts->max_transfer ? facts->max_transfer : INT32_MAX) & ~node->mask;
    node->max_zeroes = (facts->max_zeroes ? facts->max_zeroes : INT64_MAX) & ~node->mask;
    node->max_vector = facts->max_vector ? facts->max_vector : 1024;

    memset(node->rules, 0, sizeof(node->rules));
    if (node->stage != NODE_OPEN || node->aborted)
        return;
    uint64_t max = least(node->max_transfer, node->length);
    node->rules[OP_READ].max = max;
    node->rules[OP_READ].slow = OP_BEYOND_END;
    /* With an alignment, writes are listed: see `writes`. */
    if (node_may_change(node) && !node->mask)
        node->rules[OP_WRITE].max = max;
    node->rules[OP_WRITE].slow = OP_BEYOND_END | (node_can(node, DRIVER_CAN_FUA) ? 0 : OP_FUA) |
                                 (node_can(node, DRIVER_CAN_COMPRESS) ? 0 : OP_COMPRESSED);
}

/* --- Checks */

static int check_truncate(const struct node *node, const struct op *op)
{
    if (node->base.facts.read_only)
        return -EACCES;
    if (!node_may_change(node))
        return -EPERM;
    if (op->offset < 0)
        return -EINVAL;
    if (!node_can(node, DRIVER_CAN_RESIZE))
        return -ENOTSUP;
    if (op->flags & OP_PREALLOC && op->offset < node->base.facts.length)
        return -EINVAL;
    return 0;
}

static int check_range(const struct node *node, const struct op *op)
{
    int64_t length = node->base.facts.length, end;
    if (is_write(op) && !node_may_change(node))
        return -EPERM;
    if (op->offset < 0 || op->bytes > INT64_MAX ||
        __builtin_add_overflow(op->offset, (int64_t)op->bytes, &end))
        return -EIO;
    if (op->flags & OP_BEYOND_END && op->kind != OP_STATUS) {
        bool grows = op->kind == OP_WRITE || op->kind == OP_ZEROES;
        if (grows && end > length && !node_can(node, DRIVER_CAN_GROW))
            return -EIO;
        if (grows && end > (INT64_MAX & ~(int64_t)node->mask))
            return -EFBIG; /* no offset can tell where its last block ends */
    } else if (length < 0) {
        return (int)length;
    } else if (end > length) {
        return -EIO;
    }
    if (op->kind == OP_DISCARD && !node_can(node, DRIVER_CAN_DISCARD))
        return -ENOTSUP;
    if (op->flags & OP_COMPRESSED && !node_can(node, DRIVER_CAN_COMPRESS))
        return -ENOTSUP;
    if (op->kind == OP_ZEROES && op->flags & OP_NO_FALLBACK &&
        (!node_can(node, DRIVER_CAN_ZEROES) || ((uint64_t)op->offset | op->bytes) & node->mask))
        return -ENOTSUP;
    return 0;
}

static int check(const struct node *node, const struct op *op)
{
    if (node->stage != NODE_OPEN)
        return -ENXIO;
    if (node->aborted)
        return -ESHUTDOWN;
    switch (op->kind) {
    case OP_FLUSH:
        return 0;
    case OP_TRUNCATE:
        return check_truncate(node, op);
    case OP_READ:
    case OP_WRITE:
    case OP_ZEROES:
    case OP_DISCARD:
    case OP_STATUS:
        return check_range(node, op);
    case OP_IOCTL:
        return node_can(node, DRIVER_CAN_IOCTL) ? 0 : -ENOTSUP;
    case OP_MAKE_EMPTY:
        if (!node_may_change(node))
            return -EPERM;
        if (!node_can(node, DRIVER_CAN_MAKE_EMPTY))
            return -ENOTSUP;
        return op->bytes ? check_range(node, op) : 0;
    case OP_SAVE_VMSTATE:
        if (!node_may_change(node))
            return -EPERM;
        /* fall through */
    case OP_LOAD_VMSTATE:
        return node_can(node, DRIVER_CAN_VMSTATE) ? 0 : -ENOTSUP;
    }
    return -ENOTSUP;
}

/* --- Overlapping writes */

/* Those that change a part of a block read it before, so they run alone there. */
static bool enter(struct slow *slow)
{
    struct node *node = slow->node;
    uint64_t start = (uint64_t)slow->op->offset, stop = start + slow->op->bytes;
    slow->listed = true;
    return ranges_enter(&node->writes, &slow->range,
                        (slow->at | slow->stop) & node->mask ? RANGE_ALONE : RANGE_WRITE,
                        start & ~node->mask, (stop + node->mask) & ~node->mask);
}

static void begin(struct slow *slow);

void node_write_goes_on(struct range *range)
{
    begin((struct slow *)((char *)range - offsetof(struct slow, range)));
}

/* --- Status */

/* In the frame of one whose range the driver sees in whole blocks. */
struct status {
    int64_t offset; /* as they came */
    uint64_t bytes;
};
_Static_assert(sizeof(struct status) <= OP_SPACE, "a status's range fits its frame");

static void status_done(struct op *op, void *who)
{
    const struct status *status = op_popped(op);
    uint64_t before = (uint64_t)(status->offset - op->offset);
    op->offset = status->offset;
    op->bytes = status->bytes;
    if (op->ret >= 0) {
        uint64_t run = op_status_run(op->ret);
        assert(run > before);
        op->ret = op_status(least(run - before, op->bytes), op_status_bits(op->ret));
    }
    node_end(who, op);
}

static void ask_status(struct node *node, struct op *op)
{
    if (!node_can(node, DRIVER_CAN_STATUS)) {
        op_complete(op, op_status(op->bytes, OP_STATUS_DATA | OP_STATUS_ALLOCATED));
        return;
    }
    node->in_flight++;
    if (!node->mask) {
        op_push(op, node_quick_done, node);
        node->base.driver->submit(&node->base, op);
        return;
    }
    struct status *status = op_push(op, status_done, node);
    *status = (struct status){op->offset, op->bytes};
    uint64_t stop = ((uint64_t)op->offset + op->bytes + node->mask) & ~node->mask;
    op->offset &= ~(int64_t)node->mask;
    op->bytes = stop - (uint64_t)op->offset;
    node->base.driver->submit(&node->base, op);
}

/* --- Entry */

void node_end(struct node *node, struct op *op)
{
    bool quiet = --node->in_flight == 0 && node->stage == NODE_CLOSING;
    bool failed = __builtin_expect(op->ret < 0, 0);
    op_complete(op, failed && !node->base.driver->filter && !node->aborted ? driver_error(op->ret)
                                                                           : op->ret);
    if (quiet)
        node_quiet(node);
}

void node_slow_done(struct op *op, void *who)
{
    struct node *node = who;
    struct slow *slow = op_popped(op);
    if (slow->listed)
        ranges_leave(&node->writes, &slow->range);
    node_end(node, op);
}

/* Whether the driver takes the operation as it is. */
static bool as_it_is(const struct node *node, const struct op *op)
{
    if (op->kind == OP_TRUNCATE)
        return (op->flags & OP_PREALLOC) != OP_PREALLOC_FULL;
    if (!op_has_range(op->kind))
        return true;
    if (op->kind == OP_ZEROES || ((uint64_t)op->offset | op->bytes) & node->mask)
        return false;
    if (op->kind == OP_DISCARD)
        return op->bytes <= node->max_zeroes && !(op->flags & OP_BEYOND_END) &&
               (!(op->flags & OP_FUA) || node_can(node, DRIVER_CAN_FUA));
    if (op->bytes > node->max_transfer || op->niov > node->max_vector)
        return false;
    if (op->flags & (op->kind == OP_READ              ? OP_BEYOND_END
                     : node_can(node, DRIVER_CAN_FUA) ? 0
                                                      : OP_FUA))
        return false;
    for (unsigned i = 0; node->mask && i < op->niov; i++)
        if (op->iov[i].iov_len & node->mask || (uintptr_t)op->iov[i].iov_base & node->memory_mask)
            return false;
    return true;
}

static void begin(struct slow *slow)
{
    struct driver_node *base = &slow->node->base;
    if (as_it_is(slow->node, slow->op))
        base->driver->submit(base, slow->op);
    else
        slow_run(slow);
}

/* What of the operation the driver is to do. */
static void bound(struct slow *slow)
{
    const struct node *node = slow->node;
    const struct op *op = slow->op;
    uint64_t start = (uint64_t)op->offset, stop = start + op->bytes;

    switch (op->kind) {
    case OP_TRUNCATE:
        slow->old_length = start = node->length;
        slow->by_writing = true;
        break;
    case OP_READ:
        if (stop > node->length) {
            stop = start < node->length ? node->length : start;
            driver_clear(op, stop - start);
        }
        break;
    case OP_DISCARD: /* a hint: what is not a whole block stays */
        start = (start + node->mask) & ~node->mask;
        stop = least(stop, node->length) & ~node->mask;
        break;
    }
    slow->at = start;
    slow->stop = stop;
}

void node_slow(struct node *node, struct op *op)
{
    if (op->kind == OP_CANCEL) {
        node_cancel(node, op);
        return;
    }
    bool nothing = op->kind == OP_FLUSH ? !node_can(node, DRIVER_CAN_FLUSH)
                                        : op_has_range(op->kind) && !op->bytes;
    int ret = check(node, op);
    if (ret < 0 || nothing) {
        op_complete(op, ret);
        return;
    }
    if (op->kind == OP_STATUS) {
        ask_status(node, op);
        return;
    }

    struct slow *slow = op_push(op, node_slow_done, node);
    *slow = (struct slow){.node = node, .op = op};
    node->in_flight++;
    bound(slow);
    if (!node->mask || !is_write(op) || enter(slow))
        begin(slow);
}
