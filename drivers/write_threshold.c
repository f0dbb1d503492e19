/* write_threshold.c — a filter that tells, once, when a write reaches beyond a place: for those who
 * give a medium that grows as it is written its room in time. */
#include "drivers/driver.h"

#include <inttypes.h>
#include <stdio.h>

struct write_threshold {
    uint64_t threshold; /* bytes; 0: off */
};

static const struct option write_threshold_options[] = {
    {.name = "threshold",
     .type = OPTION_SIZE,
     .preset = "0",
     .max = INT64_MAX,
     .live = true,
     .help =
         "place in bytes: the first write that reaches beyond it is told, in an event, and it is "
         "off until it is set again; 0: off"},
    {0},
};

static void tell(struct driver_node *node, uint64_t exceeded)
{
    struct write_threshold *self = node->state;
    Sluice__WriteThresholdEvent *event = MAIL_NEW(sluice__write_threshold_event);
    mail_set(&event->node, node->name);
    event->threshold = self->threshold;
    event->exceeded = exceeded;
    self->threshold = 0;
    driver_emit(node, SLUICE__EVENT__SEVERITY__WARNING, SLUICE__EVENT__BODY_BLOCK_WRITE_THRESHOLD,
                event);
}

static void resized(struct op *op, void *who)
{
    driver_catch_up(who, op);
}

static void write_threshold_submit(struct driver_node *node, struct op *op)
{
    const struct write_threshold *self = node->state;
    bool writes = op->kind == OP_WRITE || op->kind == OP_ZEROES;
    uint64_t end = (uint64_t)op->offset + op->bytes;
    if (writes && self->threshold && end > self->threshold)
        tell(node, end - self->threshold);
    if (op->kind == OP_TRUNCATE || op->flags & OP_BEYOND_END)
        op_push(op, resized, node);
    driver_pass(node, op);
}

static int write_threshold_set(struct driver_node *node, const struct option_set *options,
                               struct err *err)
{
    struct write_threshold *self = node->state;
    (void)err;
    self->threshold = option_number(options, "threshold");
    return 0;
}

static void write_threshold_open(struct driver_node *node, driver_opened_fn *opened)
{
    write_threshold_set(node, node->options, NULL);
    node->facts = node->child_facts;
    opened(node, 0, NULL);
}

static void write_threshold_close(struct driver_node *node,
                                  void (*closed)(struct driver_node *node))
{
    closed(node);
}

static void write_threshold_child_changed(struct driver_node *node)
{
    node->facts = node->child_facts;
    driver_changed(node);
}

static void write_threshold_describe(struct driver_node *node, driver_tell_fn *tell_to, void *to)
{
    const struct write_threshold *self = node->state;
    char value[32] = "off";
    if (self->threshold)
        snprintf(value, sizeof value, "%" PRIu64, self->threshold);
    tell_to(to, "armed", value);
}

const struct driver driver_write_threshold = {
    .name = "write-threshold",
    .help = "Tells, once, when a write to its child reaches beyond a place",
    .options = write_threshold_options,
    .size = sizeof(struct write_threshold),
    .filter = true,
    .open = write_threshold_open,
    .close = write_threshold_close,
    .submit = write_threshold_submit,
    .set = write_threshold_set,
    .describe = write_threshold_describe,
    .child_changed = write_threshold_child_changed,
};
