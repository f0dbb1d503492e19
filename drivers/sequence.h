/* sequence.h — a request that a filter does in steps: each step sends operations of its own to the
 * nodes below, one at a time, and the next begins when that has ended. Steps that end at once run
 * in a loop, not by recursion. */
#ifndef SLUICE_SEQUENCE_H
#define SLUICE_SEQUENCE_H

#include "drivers/driver.h"

enum {
    SEQUENCE_WAITS = 0, /* for a piece, or for others: sequence_run() then goes on */
    SEQUENCE_DONE = 1,  /* the request succeeds */
    SEQUENCE_GONE = 2,  /* it was passed on; nothing of it is to be touched */
};

struct sequence;
/* The next step: one of these, or a negative errno to end the request with. */
typedef int sequence_next_fn(struct sequence *sequence);

/* In a frame of the request, which is on top while this runs. */
struct sequence {
    struct op *op;
    sequence_next_fn *next;
    union {
        int64_t result;   /* of the last piece */
        struct op *piece; /* while one is below; it may be the request itself, */
    };
    bool below;
    uint8_t edge;   /* and where: enum driver_edge */
    bool cancelled; /* no further step */
    bool inside, ended;
};

static inline void sequence_init(struct sequence *sequence, struct op *op, sequence_next_fn *next)
{
    *sequence = (struct sequence){.op = op, .next = next};
}

/* Begins it, or goes on. */
void sequence_run(struct sequence *sequence);

/* Sends a piece, which is freed when it has ended, along with a vector of its own. */
void sequence_send(struct sequence *sequence, struct driver_node *node, enum driver_edge edge,
                   struct op *piece);

/* The piece under way, and where: see driver's piece(). */
static inline struct op *sequence_piece(const struct sequence *sequence, enum driver_edge *edge)
{
    if (!sequence->below)
        return NULL;
    *edge = (enum driver_edge)sequence->edge;
    return sequence->piece;
}

/* Sends the request itself, whose next step this was. */
void sequence_pass(struct sequence *sequence, struct driver_node *node, enum driver_edge edge);

/* Makes `bytes` of the request's data, from its byte `from` on, the data of a piece. */
void sequence_slice(const struct sequence *sequence, struct op *piece, uint64_t from,
                    uint64_t bytes);

/* Copies so much of what the request writes into `out`; zeroes so much of where it reads to. */
void sequence_gather(const struct sequence *sequence, void *out, uint64_t from, uint64_t bytes);
void sequence_clear(const struct sequence *sequence, uint64_t from, uint64_t bytes);

#endif
