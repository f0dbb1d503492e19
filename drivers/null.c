/* null.c — a medium that keeps nothing: for measuring everything but a medium.
 *
 * Every request succeeds at once, or after a fixed latency. A read whose memory is its asker's own
 * leaves that as it is unless read-zeroes is on, so that not even memory bandwidth is in the
 * measurement. What a server sends on, or a filter keeps, is zeroed: there may be anything in it.
 */
#include "drivers/driver.h"
#include "engine/clock.h"

#include <errno.h>

struct null {
    bool read_zeroes;
    uint64_t latency_ns;
    /* With a latency: requests in the order in which they came, which is that of their ends. */
    struct op_queue waiting;
    struct timer timer;
    struct driver_node *node;
};

/* In the frame of a request that waits. */
struct delay {
    uint64_t until_ns;
};

static const struct option null_options[] = {
    {.name = "size",
     .type = OPTION_SIZE,
     .preset = "1G",
     .max = INT64_MAX,
     .help = "length of the medium"},
    {.name = "latency",
     .type = OPTION_DURATION,
     .preset = "0",
     .max = 3600 * NS_PER_S,
     .help = "time that each request takes"},
    {.name = "read-zeroes",
     .type = OPTION_SWITCH,
     .preset = "off",
     .help = "whether reads fill the buffer with zeroes; off leaves a program's own as it is"},
    {0},
};

static void null_perform(struct driver_node *node, struct op *op)
{
    const struct null *null = node->state;
    if (op->kind == OP_READ && (null->read_zeroes || !(op->flags & OP_OWN_MEMORY)))
        driver_clear(op, 0);
    if (op->kind == OP_TRUNCATE) {
        node->facts.length = op->offset;
        driver_changed(node);
    }
    unsigned content = null->read_zeroes ? OP_STATUS_ZERO : OP_STATUS_DATA;
    op_complete(op,
                op->kind == OP_STATUS ? op_status(op->bytes, content | OP_STATUS_ALLOCATED) : 0);
}

static void null_delayed(struct op *op, void *who)
{
    if (op->ret < 0)
        op_complete(op, op->ret);
    else
        null_perform(who, op);
}

static struct delay *delay_of(struct op *op)
{
    return op_top(op);
}

static void null_expire(struct timer *timer)
{
    struct null *null = (void *)((char *)timer - offsetof(struct null, timer));
    uint64_t now = reactor_now(null->node->reactor);
    struct op_queue *waiting = &null->waiting;
    while (waiting->head && delay_of(waiting->head)->until_ns <= now)
        op_complete(op_dequeue(waiting), 0);
    if (waiting->head)
        timer_arm(reactor_timers(null->node->reactor), timer, delay_of(waiting->head)->until_ns);
}

static void null_submit(struct driver_node *node, struct op *op)
{
    struct null *null = node->state;
    if (!null->latency_ns) {
        null_perform(node, op);
        return;
    }
    struct delay *delay = op_push(op, null_delayed, node);
    delay->until_ns = reactor_now(node->reactor) + null->latency_ns;
    op_enqueue(&null->waiting, op);
    if (!timer_armed(&null->timer))
        timer_arm(reactor_timers(node->reactor), &null->timer, delay->until_ns);
}

static void null_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct null *null = node->state;
    null->node = node;
    null->read_zeroes = option_switch(node->options, "read-zeroes");
    null->latency_ns = option_number(node->options, "latency");
    null->timer.fire = null_expire;
    op_queue_init(&null->waiting);
    node->facts = (struct driver_facts){
        .length = (int64_t)option_number(node->options, "size"),
        .alignment = 1,
        .can = DRIVER_CAN_DISCARD | DRIVER_CAN_ZEROES | DRIVER_CAN_FUA | DRIVER_CAN_RESIZE |
               DRIVER_CAN_FLUSH | DRIVER_CAN_UNMAP | DRIVER_CAN_STATUS,
    };
    opened(node, 0, NULL);
}

static void null_abort(struct driver_node *node)
{
    struct null *null = node->state;
    struct op *op;
    timer_cancel(reactor_timers(node->reactor), &null->timer);
    while ((op = op_dequeue(&null->waiting)))
        op_complete(op, -ESHUTDOWN);
}

static void null_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    closed(node);
}

const struct driver driver_null = {
    .name = "null",
    .help = "Keeps nothing: requests succeed at once, or after a fixed latency",
    .options = null_options,
    .size = sizeof(struct null),
    .open = null_open,
    .close = null_close,
    .submit = null_submit,
    .abort = null_abort,
};
