/* overlay.h — an open overlay, shared by overlay.c (what it is, and tells) and overlay_io.c
 * (requests). */
#ifndef SLUICE_OVERLAY_H
#define SLUICE_OVERLAY_H

#include "drivers/driver.h"
#include "drivers/overlay_map.h"
#include "drivers/ranges.h"

struct overlay {
    struct driver_node *node;
    struct ranges ranges;
    struct overlay_map map;
    unsigned block_bits; /* its blocks have 1 << block_bits bytes */
    uint64_t backed;     /* below it the backing shows where a block is not its own; from there on
                            such a block is zeroes */
};

static inline uint64_t block_bytes(const struct overlay *overlay)
{
    return UINT64_C(1) << overlay->block_bits;
}

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t length_of(const struct driver_facts *facts)
{
    return facts->length > 0 ? (uint64_t)facts->length : 0;
}

void overlay_submit(struct driver_node *node, struct op *op);
bool overlay_cancel(struct driver_node *node, struct op *op);
struct op *overlay_piece(struct driver_node *node, struct op *op, enum driver_edge *edge);
void overlay_abort(struct driver_node *node);
/* For `ranges`: one that has waited goes on. */
void overlay_go_on(struct range *range);

#endif
