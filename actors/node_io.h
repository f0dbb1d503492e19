/* node_io.h — a node's operations on their way to its driver.
 *
 * For node.c only, which owns the state and the control lane. An operation that the driver takes as
 * it is passes in node_submit() below, in a few nanoseconds; everything else goes through
 * node_slow(). */
#ifndef SLUICE_NODE_IO_H
#define SLUICE_NODE_IO_H

#include "actors/node.h"
#include "drivers/ranges.h"

enum node_stage { NODE_NEW, NODE_OPENING, NODE_OPEN, NODE_CLOSING, NODE_BROKEN };

/* When an operation of one kind needs nothing done. */
struct node_rule {
    uint64_t max;  /* bytes, at most; 0: never */
    uint16_t slow; /* flags that it must not have */
};

struct slow;

struct node {
    struct driver_node base; /* what the driver sees */

    /* From the facts, by node_limits(). */
    uint64_t length;            /* bytes; 0 while it can't be told */
    uint64_t mask, memory_mask; /* alignment - 1: of offsets and lengths, of memory */
    uint64_t max_transfer;      /* of one read or write; a multiple of the alignment */
    uint64_t max_zeroes;        /* of one zeroes or discard; likewise */
    uint32_t max_vector;
    struct node_rule rules[OP_ALL_KINDS];

    enum node_stage stage;
    unsigned in_flight;

    /* Writes under way, while the driver has an alignment: those that change a part of a block run
     * alone in that block. */
    struct ranges writes;

    /* Control lane. */
    struct ticket ticket;       /* who waits for the open */
    struct ticket close_ticket; /* who waits for the close */
    struct ticket invalidator;  /* who waits for what is kept to be reread */
    struct ticket activation;   /* who waits for the driver to be active */
    bool activated;             /* it is, and that was not committed yet */
    struct ticket joiner;       /* who waits for it to be in another throttle group */
    struct ticket mover;        /* who waits for the arrival at another reactor */
    bool close_asked;
    bool aborted; /* see MAIL_ABORT */
    actor_addr *watchers;
    size_t nwatchers;
    struct driver_facts told; /* to them, last */
    unsigned watched;         /* places below that it watches, while it is opened */
    struct option_set *options;
    struct node_buffer *buffers; /* memory that is registered; see node_buffer.c */
    unsigned buffer_asks;        /* questions to the child that it has not answered */
};

/* Derives the limits from the facts; in every stage but NODE_OPEN, nothing is let through. */
void node_limits(struct node *node);

/* While it is inactive, another process may own what changes would reach. */
static inline bool node_may_change(const struct node *node)
{
    return !node->base.facts.read_only && !node->base.inactive;
}

/* Frames that a node and its driver take of an operation. */
#define NODE_FRAMES 2

/* Takes an operation that needs checking, splitting, bouncing, emulating, or refusing. */
void node_slow(struct node *node, struct op *op);

/* Takes an OP_CANCEL. */
void node_cancel(struct node *node, struct op *cancel);

/* For `writes`: begins one that has waited. */
void node_write_goes_on(struct range *range);

/* The functions of a node's frame of an operation that it passed on, and of one that node_slow()
 * took; `who` is the node. */
void node_quick_done(struct op *op, void *who);
void node_slow_done(struct op *op, void *who);

/* node_perm.c */
void node_on_permit(struct actor *self, struct mail *mail);

/* node_throttle.c */
void node_on_throttle_grant(struct actor *self, struct mail *mail);
void node_on_throttle_join(struct actor *self, struct mail *mail);

/* Counts an operation out and ends it. */
void node_end(struct node *node, struct op *op);

/* node_buffer.c */
void node_on_buffer(struct actor *self, struct mail *mail);
/* Registers all with the driver, or unregisters them from it. */
void node_buffers_tell(struct node *node, bool on);
void node_buffers_fini(struct node *node);

/* In node_info.c: DESCRIBE. */
void node_on_describe(struct actor *self, struct mail *mail);

/* In node_drain.c. */
void node_on_let_through(struct actor *self, struct mail *mail);

/* In node_medium.c. */
void node_on_medium(struct actor *self, struct mail *mail);

/* In node.c: while closing, nothing is in flight any more, or the child has answered all. */
void node_quiet(struct node *node);

static inline bool node_fits(const struct node *node, const struct op *op)
{
    const struct node_rule *rule = &node->rules[op->kind];
    /* An empty one wraps around to more than any maximum, which is the length at most. */
    if (op->bytes - 1 >= rule->max || (uint64_t)op->offset > node->length - op->bytes ||
        op->flags & rule->slow || op->niov > node->max_vector)
        return false;
    return !node->mask || (op->niov == 1 && !(((uint64_t)op->offset | op->bytes) & node->mask) &&
                           !((uintptr_t)op->iov->iov_base & node->memory_mask));
}

#endif
