/* raw.c — a window of a child: what lies from `offset` on, `size` bytes or all the rest.
 *
 * Without a size the window ends where the child ends, follows its length, and can be resized.
 * Requests go on to the child with their offset moved. Any alignment is taken: the child's node
 * bounces, so that two windows that meet inside one of its blocks do not lose each other's writes.
 */
#include "drivers/driver.h"

#include <errno.h>
#include <inttypes.h>

struct raw {
    int64_t offset;
    int64_t size; /* -1: to the child's end */
};

/* In the frame of a request on its way through the child. */
struct moved {
    int64_t offset; /* as it came */
};

static const struct option raw_options[] = {
    {.name = "offset",
     .type = OPTION_SIZE,
     .preset = "0",
     .max = INT64_MAX,
     .help = "where the window begins on the child"},
    {.name = "size",
     .type = OPTION_SIZE,
     .max = INT64_MAX,
     .help = "length of the window; left out, it reaches to the child's end"},
    {0},
};

/* What the window is on the child as that is now. A child that has shrunk cuts it short. */
static void raw_look(struct driver_node *node)
{
    const struct raw *raw = node->state;
    const struct driver_facts *child = &node->child_facts;

    node->facts = *child;
    node->facts.alignment = 1;
    if (node->facts.optimal_transfer < child->alignment && child->alignment > 1)
        node->facts.optimal_transfer = child->alignment;
    node->facts.can &= ~(unsigned)DRIVER_CAN_MAKE_EMPTY; /* it would take in what is outside */
    if (raw->size >= 0)
        node->facts.can &= ~(unsigned)(DRIVER_CAN_RESIZE | DRIVER_CAN_GROW);
    if (child->length < 0)
        return;

    int64_t rest = child->length > raw->offset ? child->length - raw->offset : 0;
    node->facts.length = raw->size >= 0 && raw->size < rest ? raw->size : rest;
}

static void raw_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct raw *raw = node->state;
    struct err err;
    int64_t length = node->child_facts.length;

    raw->offset = (int64_t)option_number(node->options, "offset");
    raw->size =
        option_given(node->options, "size") ? (int64_t)option_number(node->options, "size") : -1;
    if (length >= 0 && raw->offset > length) {
        err_field(&err, "offset", -EINVAL,
                  "node %s: the window begins at %" PRId64 ", beyond the child's end at %" PRId64
                  "; give a smaller offset",
                  node->name, raw->offset, length);
        opened(node, err.code, &err);
        return;
    }
    if (length >= 0 && raw->size > length - raw->offset) {
        err_field(&err, "size", -EINVAL,
                  "node %s: the window of %" PRId64 " bytes at %" PRId64
                  " ends beyond the child's end at %" PRId64
                  "; give a smaller size, or none to reach to the end",
                  node->name, raw->size, raw->offset, length);
        opened(node, err.code, &err);
        return;
    }
    raw_look(node);
    opened(node, 0, NULL);
}

static void raw_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    closed(node);
}

static void raw_child_changed(struct driver_node *node)
{
    raw_look(node);
    driver_changed(node);
}

static void raw_resized(struct op *op, void *who)
{
    const struct moved *moved = op_popped(op);
    op->offset = moved->offset;
    driver_catch_up(who, op);
}

static void raw_done(struct op *op, void *who)
{
    (void)who;
    const struct moved *moved = op_popped(op);
    op->offset = moved->offset;
    op_complete(op, op->ret);
}

static void raw_submit(struct driver_node *node, struct op *op)
{
    const struct raw *raw = node->state;
    if (!op_has_range(op->kind) && op->kind != OP_TRUNCATE) { /* its offset is no place */
        driver_pass(node, op);
        return;
    }
    int64_t offset;
    if (__builtin_add_overflow(op->offset, raw->offset, &offset) ||
        (op_has_range(op->kind) && op->bytes > (uint64_t)(INT64_MAX - offset))) {
        op_complete(op, -EFBIG);
        return;
    }
    bool resizes = op->kind == OP_TRUNCATE || op->flags & OP_BEYOND_END;
    struct moved *moved = op_push(op, resizes ? raw_resized : raw_done, node);
    moved->offset = op->offset;
    op->offset = offset;
    driver_pass(node, op);
}

const struct driver driver_raw = {
    .name = "raw",
    .help = "A window of its child: an offset and a size",
    .options = raw_options,
    .size = sizeof(struct raw),
    .filter = true,
    .open = raw_open,
    .close = raw_close,
    .submit = raw_submit,
    .child_changed = raw_child_changed,
};
