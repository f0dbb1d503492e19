#include "probe_rig.h"

struct probe_rig probe;

static const struct option probe_options[] = {
    {.name = "error", .type = OPTION_INTEGER, .preset = "0", .max = 4000},
    {.name = "read-only", .type = OPTION_SWITCH, .preset = "off"},
    {.name = "fua", .type = OPTION_SWITCH, .preset = "on"},
    {.name = "fails", .type = OPTION_SWITCH, .preset = "off"},
    {0},
};

static void probe_open(struct driver_node *node, driver_opened_fn *opened)
{
    int64_t error = (int64_t)option_number(node->options, "error");
    node->facts = (struct driver_facts){
        .length = error ? -error : MIB,
        .alignment = 1,
        .read_only = option_switch(node->options, "read-only"),
        .can = DRIVER_CAN_DISCARD | DRIVER_CAN_ZEROES | DRIVER_CAN_FLUSH | DRIVER_CAN_RESIZE |
               (option_switch(node->options, "fua") ? DRIVER_CAN_FUA : 0),
    };
    opened(node, 0, NULL);
}

static void probe_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    closed(node);
}

static void probe_submit(struct driver_node *node, struct op *op)
{
    assert_true(probe.n < PROBE_OPS);
    probe.op[probe.n].kind = op->kind;
    probe.op[probe.n].flags = op->flags;
    probe.op[probe.n++].offset = op->offset;
    op_complete(op, option_switch(node->options, "fails") ? -ENOSPC : 0);
}

const struct driver driver_probe = {
    .name = "probe",
    .help = "Notes what reaches it",
    .options = probe_options,
    .open = probe_open,
    .close = probe_close,
    .submit = probe_submit,
};
