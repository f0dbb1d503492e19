/* node_cancel.c — the early end of an operation, which its sender asks for with an OP_CANCEL. It
 * reaches the node after the operation that it names. An operation that has ended by then keeps its
 * result, and so does one that the driver ends with one. */
#include "actors/node_slow.h"

#include <errno.h>

static void passed(struct op *cancel, void *who)
{
    node_end(who, cancel);
}

/* What the driver has passed on, or does for the operation below. */
static void ask_below(struct node *node, struct op *cancel, struct op *op)
{
    const struct driver *driver = node->base.driver;
    enum driver_edge edge = EDGE_CHILD;
    struct op *piece = driver->piece ? driver->piece(&node->base, op, &edge) : NULL;
    if (node->base.below[edge]) {
        node->in_flight++;
        op_push(cancel, passed, node);
        op_send_cancel(cancel, piece ? piece : op, node->base.below[edge]);
    } else {
        op_complete(cancel, -ENOTSUP);
    }
}

/* The driver has the operation, or, of a filter, the child may have it. */
static void ask(struct node *node, struct op *cancel, struct op *op)
{
    const struct driver *driver = node->base.driver;
    if (driver->cancel && driver->cancel(&node->base, op))
        op_complete(cancel, 0);
    else
        ask_below(node, cancel, op);
}

static void ask_slow(struct slow *slow, struct op *cancel)
{
    slow->cancelled = true;
    if (!slow->listed || !slow->range.waiting) {
        ask(slow->node, cancel, slow->piece ? slow->piece : slow->op);
        return;
    }
    op_complete(slow->op, -ECANCELED);
    op_complete(cancel, 0);
}

void node_cancel(struct node *node, struct op *cancel)
{
    struct op *op = op_find(node->base.peer, cancel->origin, (uint64_t)cancel->offset);
    struct op *quick = op ? op_with(op, node_quick_done, node) : NULL;
    struct op *slow = op ? op_with(op, node_slow_done, node) : NULL;
    if (quick)
        ask(node, cancel, quick);
    else if (slow)
        ask_slow(op_frame(slow, node_slow_done, node), cancel);
    else
        op_complete(cancel, -ENOENT);
}
