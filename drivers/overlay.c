/* overlay.c — what is written goes to a scratch child; what was not written yet is read from a
 * backing, which stays as it is. Which blocks were written is kept in memory, so an overlay begins
 * empty each time that it is opened, whatever the child holds.
 *
 * It is as long as its child. What lies behind the backing's end reads as zeroes, and so does what
 * comes back after the overlay was shorter for a while. A write of a part of a block that is not
 * its own yet copies that block up from the backing first, alone: others that write to it wait.
 * Zeroes and discards make blocks its own. Any alignment is taken: the nodes below bounce. */
#include "drivers/overlay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const struct option overlay_options[] = {
    {.name = "block",
     .type = OPTION_SIZE,
     .preset = "64K",
     .min = 512,
     .max = 2 << 20,
     .help = "what is copied from the backing at once, and remembered; a power of two"},
    {0},
};

static void look(struct driver_node *node)
{
    struct overlay *overlay = node->state;
    const struct driver_facts *child = &node->child_facts;
    unsigned can =
        child->can & (DRIVER_CAN_ZEROES | DRIVER_CAN_UNMAP | DRIVER_CAN_RESIZE | DRIVER_CAN_GROW);
    if (can & DRIVER_CAN_ZEROES) /* what is discarded becomes zeroes */
        can |= DRIVER_CAN_DISCARD;
    if (child->length >= 0)
        overlay->backed = least(overlay->backed, (uint64_t)child->length);
    if (node->backing_facts.length >= 0)
        overlay->backed = least(overlay->backed, (uint64_t)node->backing_facts.length);
    node->facts = (struct driver_facts){
        .length = child->length,
        .alignment = 1,
        .optimal_transfer = block_bytes(overlay),
        .read_only = child->read_only,
        .can = can | DRIVER_CAN_FUA | DRIVER_CAN_FLUSH | DRIVER_CAN_STATUS | DRIVER_CAN_MAKE_EMPTY,
        .empty = child->empty,
        .logical_block = child->logical_block,
        .physical_block = child->physical_block,
    };
}

static int check(const struct driver_node *node, uint64_t block, struct err *err)
{
    uint64_t length = length_of(&node->child_facts);
    if (block & (block - 1))
        return err_field(err, "block", -EINVAL,
                         "node %s: a block is a power of two, which %" PRIu64 " is not", node->name,
                         block);
    if (length / block >= OVERLAY_BLOCKS)
        return err_field(err, "block", -EFBIG,
                         "node %s: its %" PRIu64 " bytes are more than %" PRIu64
                         " blocks; give a larger block",
                         node->name, length, OVERLAY_BLOCKS);
    if (node->backing_facts.length < 0)
        return err_field(err, "backing", (int)node->backing_facts.length,
                         "node %s: the length of the backing can't be told: %s", node->name,
                         strerror((int)-node->backing_facts.length));
    return 0;
}

static void overlay_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct overlay *overlay = node->state;
    uint64_t block = option_number(node->options, "block");
    struct err err = {0};
    if (check(node, block, &err) == 0) {
        overlay->node = node;
        overlay->ranges.go = overlay_go_on;
        overlay->block_bits = (unsigned)__builtin_ctzll(block);
        overlay->backed = UINT64_MAX;
        look(node);
    }
    opened(node, err.code, &err);
}

static void overlay_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    struct overlay *overlay = node->state;
    overlay_map_free(&overlay->map);
    closed(node);
}

static void overlay_child_changed(struct driver_node *node)
{
    look(node);
    driver_changed(node);
}

/* The backing is read only. The child is the overlay's alone: what others wrote to it would not be
 * known to be there. */
static struct driver_perms overlay_needs(enum driver_edge edge, struct driver_perms above)
{
    unsigned change = PERM_WRITE | PERM_WRITE_UNCHANGED,
             perm = above.perm ? PERM_CONSISTENT_READ : 0;
    unsigned others = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED | PERM_GRAPH_MOD;
    if (edge == EDGE_BACKING)
        return (struct driver_perms){
            perm, others | (above.shared & PERM_WRITE ? PERM_WRITE | PERM_RESIZE : 0)};
    if (above.perm & change)
        perm |= PERM_WRITE;
    return (struct driver_perms){perm | (above.perm & PERM_RESIZE),
                                 above.shared & ~(unsigned)(change | PERM_RESIZE)};
}

static void overlay_describe(struct driver_node *node, driver_tell_fn *tell, void *to)
{
    const struct overlay *overlay = node->state;
    char value[32];
    snprintf(value, sizeof value, "%" PRIu64, overlay->map.set << overlay->block_bits);
    tell(to, "own-bytes", value);
}

const struct driver driver_overlay = {
    .name = "overlay",
    .help = "Keeps what is written on a scratch child, over a backing that stays as it is; until "
            "it is closed",
    .options = overlay_options,
    .size = sizeof(struct overlay),
    .filter = true,
    .backing = true,
    .open = overlay_open,
    .close = overlay_close,
    .submit = overlay_submit,
    .cancel = overlay_cancel,
    .piece = overlay_piece,
    .abort = overlay_abort,
    .needs = overlay_needs,
    .describe = overlay_describe,
    .child_changed = overlay_child_changed,
};
