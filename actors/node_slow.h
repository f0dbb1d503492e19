/* node_slow.h — an operation that goes to the driver in pieces. For node_io.c, which begins it,
 * node_slow.c, which runs it, and node_cancel.c, which ends it early. */
#ifndef SLUICE_NODE_SLOW_H
#define SLUICE_NODE_SLOW_H

#include "actors/node_io.h"

/* In the frame of a slow operation. */
struct slow {
    struct node *node;
    struct op *op;
    struct op *piece; /* under way; null while none is, or the operation is its own */
    union {
        struct range range;  /* of one that is listed */
        uint64_t old_length; /* of a resize, before it */
    };
    uint64_t at, stop; /* what is left to do: absolute bytes */
    uint64_t within;   /* where `at` is in the vector: byte of its entry `entry` */
    uint16_t entry;
    uint8_t step;          /* enum step: of the piece under way */
    bool inside : 1;       /* the loop runs, */
    bool ended : 1;        /* and a piece ended inside it */
    bool listed : 1;       /* among the node's writes */
    bool by_writing : 1;   /* zeroes: the driver does not do these */
    bool cancelled : 1;    /* no more pieces of data are begun */
    int result;            /* of the last piece */
    uint32_t part;         /* bytes of the operation in this piece */
    uint32_t bounced;      /* bytes of the bounce buffer */
    unsigned char *bounce; /* null when there is none */
};
_Static_assert(sizeof(struct slow) <= OP_SPACE, "a slow operation's state fits its frame");

/* Starts the first piece, or, when one has ended, the next; completes the operation after the last.
 */
void slow_run(struct slow *slow);

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
