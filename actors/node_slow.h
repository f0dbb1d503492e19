/* node_slow.h — an operation that goes to the driver in pieces. For node_io.c, which begins it,
 * node_slow.c, which runs it, and node_cancel.c, which ends it early. */
#ifndef SLUICE_NODE_SLOW_H
#define SLUICE_NODE_SLOW_H

#include "actors/node_io.h"

/* In the frame of a slow operation. */
struct slow {
    struct node *node;
    struct op *op;
    struct op *piece;         /* under way; null while none is, or the operation is its own */
    struct slow *prev, *next; /* in the node's list of writes */
    uint64_t at, stop;        /* what is left to do: absolute bytes */
    uint64_t within;          /* where `at` is in the vector: byte of its entry `entry` */
    uint64_t old_length;      /* before a resize */
    uint16_t entry;
    uint8_t step;          /* enum step: of the piece under way */
    bool inside, ended;    /* the loop runs; a piece ended inside it */
    bool listed;           /* among the node's writes */
    bool waiting;          /* for overlapping writes */
    bool alone;            /* changes a part of a block */
    bool by_writing;       /* zeroes: the driver does not do these */
    bool cancelled;        /* no more pieces of data are begun */
    int result;            /* of the last piece */
    uint32_t part;         /* bytes of the operation in this piece */
    uint32_t bounced;      /* bytes of the bounce buffer */
    unsigned char *bounce; /* null when there is none */
};
_Static_assert(sizeof(struct slow) <= OP_SPACE, "a slow operation's state fits its frame");

/* Starts the first piece, or, when one has ended, the next; completes the operation after the last.
 */
void slow_run(struct slow *slow);

/* Ends one that waits for others. */
void slow_give_up(struct slow *slow);

static inline bool node_can(const struct node *node, unsigned bit)
{
    return node->base.facts.can & bit;
}

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline bool is_write(const struct op *op)
{
    return op->kind == OP_WRITE || op->kind == OP_ZEROES || op->kind == OP_DISCARD;
}

#endif
