/* op.h — one request of the I/O lane, on the thread that holds it.
 *
 * An operation passes through layers (backend, node, filter, driver). Each layer that wants to see
 * its end pushes a frame: a function and some inline space, so nothing is allocated per request.
 * op_complete() pops the top frame and calls its function, which completes further, now or later. A
 * layer that changes what the operation says (its offset, say) keeps the old value in its frame and
 * restores it in its function. A layer that splits makes further operations with op_new() and frees
 * them with op_free().
 *
 * Thread rules: an operation belongs to the thread (peer) it was made on. What other threads see of
 * it is a row in a frame, and the operation that they make of that row.
 *
 * Ownership: whoever calls op_new() owns the operation, and frees it in its own bottom frame's
 * function. Data and vector belong to the submitter and stay until the completion. */
#ifndef SLUICE_OP_H
#define SLUICE_OP_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lane.pb-c.h"

struct op;
struct peer;
struct link;

#define OP_FRAMES 8   /* layers of one operation; beyond, op_further() goes on in another */
#define OP_SPACE  112 /* bytes of each layer's own */

enum op_kind {
    OP_READ = SLUICE__OP_KIND__OP_READ,
    OP_WRITE = SLUICE__OP_KIND__OP_WRITE,
    OP_ZEROES = SLUICE__OP_KIND__OP_ZEROES,
    OP_DISCARD = SLUICE__OP_KIND__OP_DISCARD,
    OP_FLUSH = SLUICE__OP_KIND__OP_FLUSH,
    OP_TRUNCATE = SLUICE__OP_KIND__OP_TRUNCATE, /* `offset` is the new length */
    OP_IOCTL = SLUICE__OP_KIND__OP_IOCTL,       /* `offset` is the code */
    OP_SAVE_VMSTATE = SLUICE__OP_KIND__OP_SAVE_VMSTATE,
    OP_LOAD_VMSTATE = SLUICE__OP_KIND__OP_LOAD_VMSTATE,
    OP_STATUS = SLUICE__OP_KIND__OP_STATUS,         /* its result: see op_status() */
    OP_MAKE_EMPTY = SLUICE__OP_KIND__OP_MAKE_EMPTY, /* no bytes: of all of it */
    OP_KINDS, /* what a medium can be asked; others are about operations */
    OP_CANCEL = SLUICE__OP_KIND__OP_CANCEL, /* `offset` is a tag; see op_send_cancel() */
    OP_ALL_KINDS,
};

/* Whether the kind is about `bytes` from `offset` on. */
static inline bool op_has_range(unsigned kind)
{
    return kind <= SLUICE__OP_KIND__OP_DISCARD || kind == SLUICE__OP_KIND__OP_STATUS;
}

/* Whether its `bytes` are moved, or made something else: they count. */
static inline bool op_moves(unsigned kind)
{
    return kind != OP_FLUSH && kind != OP_TRUNCATE;
}

/* What OP_STATUS tells of the beginning of its range: some of these bits hold for a run of bytes
 * from `offset` on. It is at least 1 byte long and at most the range; behind it things may be the
 * same. Neither DATA nor ZERO: what it reads as is not known. */
enum op_status {
    OP_STATUS_DATA = 1,      /* what it holds is to be read */
    OP_STATUS_ZERO = 2,      /* reads as zeroes */
    OP_STATUS_ALLOCATED = 4, /* this layer provides it, not its backing */
};
#define OP_STATUS_BITS 3
#define OP_STATUS_RUN  (INT64_MAX >> OP_STATUS_BITS) /* the longest one */

/* The result of an OP_STATUS that succeeds, and back. */
static inline int64_t op_status(uint64_t run, unsigned bits)
{
    if (run > OP_STATUS_RUN)
        run = OP_STATUS_RUN & ~((INT64_C(1) << 20) - 1); /* of any alignment */
    return (int64_t)run << OP_STATUS_BITS | bits;
}

static inline uint64_t op_status_run(int64_t ret)
{
    return (uint64_t)ret >> OP_STATUS_BITS;
}

static inline unsigned op_status_bits(int64_t ret)
{
    return (unsigned)ret & ((1U << OP_STATUS_BITS) - 1);
}

enum op_flag {
    OP_FUA = SLUICE__OP_FLAG__OP_FUA,
    OP_MAY_UNMAP = SLUICE__OP_FLAG__OP_MAY_UNMAP,
    OP_NO_FALLBACK = SLUICE__OP_FLAG__OP_NO_FALLBACK,
    OP_PREALLOC_METADATA = SLUICE__OP_FLAG__OP_PREALLOC_METADATA,
    OP_PREALLOC_FALLOC = SLUICE__OP_FLAG__OP_PREALLOC_FALLOC,
    OP_PREALLOC_FULL = SLUICE__OP_FLAG__OP_PREALLOC_FULL,
    OP_BEYOND_END = SLUICE__OP_FLAG__OP_BEYOND_END,
    OP_COMPRESSED = SLUICE__OP_FLAG__OP_COMPRESSED,
    OP_UNTHROTTLED = SLUICE__OP_FLAG__OP_UNTHROTTLED,
    OP_DRAINING = SLUICE__OP_FLAG__OP_DRAINING,
    OP_OWN_MEMORY = SLUICE__OP_FLAG__OP_OWN_MEMORY,
    OP_KEEPS_LENGTH = SLUICE__OP_FLAG__OP_KEEPS_LENGTH,
};
#define OP_PREALLOC (OP_PREALLOC_METADATA | OP_PREALLOC_FALLOC | OP_PREALLOC_FULL)

/* Who holds a drained region has a number in his thread, from 1 to this; 0: he holds none. */
#define OP_HOLDERS 31

/* What is sent to an actor is counted in so many bits: more than can be under way. */
#define OP_SEQUENCE_BITS 28

/* Runs when the layers above the frame are through; op->ret holds the result. */
typedef void op_done_fn(struct op *op, void *who);

struct op_frame {
    op_done_fn *done;
    void *who;
    _Alignas(16) unsigned char space[OP_SPACE];
};

struct op {
    /* What is asked. */
    uint8_t kind;   /* enum op_kind */
    uint8_t holder; /* the number of its sender, if he holds drained regions; see OP_HOLDERS */
    uint16_t flags; /* enum op_flag */
    uint16_t niov;  /* entries of `iov`; 0 for kinds without data */
    uint16_t user;  /* for whose sake: the slot of a backend or a job; 0: nobody's */
    int64_t offset; /* bytes; signed, so that a negative one from a caller can be refused as such */
    uint64_t bytes; /* the vector's length for kinds with data */
    struct iovec *iov; /* &one, or the submitter's */
    struct iovec one;

    int64_t ret; /* 0 or more, or a negative errno */

    uint8_t depth;                        /* frames in use */
    struct peer *peer;                    /* the thread it belongs to */
    uint32_t slot, generation;            /* its correlation, for the reply of another thread */
    struct op *next;                      /* for a queue of whoever holds it */
    struct op *further;                   /* see op_further(); null when it goes on in no other */
    uint64_t to;                          /* where it goes: an actor's address */
    uint16_t origin;                      /* the sender, a peer, */
    uint32_t sequence : OP_SEQUENCE_BITS; /* and its count of operations to that actor */
    bool remote;                          /* another thread works on it, */
    struct link *link;                    /* and this is the way it went */

    struct op_frame frames[OP_FRAMES];
};

/* An operation from the thread's pool, with no frame; never null (the pool grows, aborts without
 * memory). */
struct op *op_new(struct peer *peer);
void op_free(struct op *op);

/* For an operation whose frames run out: another that asks the same, and ends it when it ends. */
struct op *op_further(struct op *op);

/* What is made of an operation on its way keeps limits as that does. */
static inline void op_inherit(struct op *piece, const struct op *op)
{
    piece->user = op->user;
    piece->flags |= op->flags & OP_UNTHROTTLED;
}

/* Pushes a frame and returns its space, undefined content. */
static inline void *op_push(struct op *op, op_done_fn *done, void *who)
{
    assert(op->depth < OP_FRAMES);
    struct op_frame *frame = &op->frames[op->depth++];
    frame->done = done;
    frame->who = who;
    return frame->space;
}

/* Takes the top frame back without running it. */
static inline void op_pop(struct op *op)
{
    assert(op->depth > 0);
    op->depth--;
}

/* By what other threads' messages name the operation; see op_is(). */
static inline uint64_t op_tag(const struct op *op)
{
    return (uint64_t)op->generation << 32 | op->slot;
}

/* The tags of a thread's operations whose bottom frame has this function and `who`: writes at most
 * `most` of them, and returns how many. Some may have ended. */
size_t op_tags(struct peer *peer, op_done_fn *done, const void *who, uint64_t *tags, size_t most);

/* What tells an operation from all others under way, on whatever thread: its sender and its place
 * there. */
uint64_t op_key(const struct op *op);
static inline unsigned op_key_peer(uint64_t key)
{
    return (unsigned)(key >> 32);
}

/* Whether the operation is, or was made here for, the one that `peer` knows by this tag. */
bool op_is(const struct op *op, unsigned peer, uint64_t tag);

/* The operation of this thread for which that is so; null when it has ended. Looks through all of
 * them when it is another thread's tag. */
struct op *op_find(struct peer *peer, unsigned whose, uint64_t tag);

/* The space of the frame that has this function and `who`; null when the operation has none. */
static inline void *op_frame(struct op *op, op_done_fn *done, const void *who)
{
    for (unsigned i = op->depth; i-- > 0;)
        if (op->frames[i].done == done && op->frames[i].who == who)
            return op->frames[i].space;
    return NULL;
}

/* Of an operation and those that it goes on in (see op_further()): the one that has this frame;
 * null when none has. */
struct op *op_with(struct op *op, op_done_fn *done, const void *who);

/* Space of the top frame. In a `done` function the frame has just been popped, and this gives its
 * space with op_popped(); it stays valid until something is pushed. */
static inline void *op_top(struct op *op)
{
    assert(op->depth > 0);
    return op->frames[op->depth - 1].space;
}

static inline void *op_popped(struct op *op)
{
    assert(op->depth < OP_FRAMES);
    return op->frames[op->depth].space;
}

/* Ends the layer on top with a result. */
static inline void op_complete(struct op *op, int64_t ret)
{
    assert(op->depth > 0);
    op->ret = ret;
    struct op_frame *frame = &op->frames[--op->depth];
    frame->done(op, frame->who);
}

/* Sends the operation on to the actor with this address, on whatever thread that lives; the top
 * frame's function runs when it is done. With an address that is no longer alive it ends with
 * -ENXIO. May complete before it returns. */
void op_send(struct op *op, uint64_t to);

/* Sends `cancel`, an OP_CANCEL, to the actor that `op` was sent to: it names it there, where it
 * arrives after it. */
void op_send_cancel(struct op *cancel, const struct op *op, uint64_t to);

/* Over the link: those that wait for a credit, as far as there are any. For link.c. */
void op_send_waiting(struct link *link);

/* A queue of operations, by their `next`. */
struct op_queue {
    struct op *head, **tail;
    size_t count;
};

static inline void op_queue_init(struct op_queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
    queue->count = 0;
}

static inline void op_enqueue(struct op_queue *queue, struct op *op)
{
    op->next = NULL;
    *queue->tail = op;
    queue->tail = &op->next;
    queue->count++;
}

static inline struct op *op_dequeue(struct op_queue *queue)
{
    struct op *op = queue->head;
    if (op) {
        queue->head = op->next;
        if (!queue->head)
            queue->tail = &queue->head;
        queue->count--;
    }
    return op;
}

/* Takes one out of it; false when it is not in it. */
bool op_unqueue(struct op_queue *queue, struct op *op);

#endif
