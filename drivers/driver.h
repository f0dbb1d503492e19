/* driver.h — what a driver is.
 *
 * A driver is one designated-initialiser table and one line in drivers.c. A node (actors/node.c)
 * hosts one instance of it, on one reactor at a time; all functions of the instance run there and
 * none blocks.
 *
 * The node checks and prepares: operations reach `submit` with alignment, lengths and vectors
 * inside the limits that `open` declared, within the length unless OP_BEYOND_END, never a write on
 * a read-only instance, never empty reads, writes, zeroes or discards, and only with the kinds and
 * flags that `can` claims. OP_BEYOND_END comes with writes and zeroes only, OP_PREALLOC_FULL never.
 * OP_IOCTL and VM state come as their sender made them. OP_STATUS comes with a range that is not
 * empty, inside the length, and aligned; the run that is told is a multiple of the alignment too.
 * What a driver leaves out is answered by the node: split, bounce, emulate (zeroes by writing, FUA
 * by flushing, full preallocation by writing zeroes) or ENOTSUP.
 *
 * ENXIO, ESHUTDOWN and ECANCELED are the engine's words: for a node that is gone, for the end (see
 * `abort`), for a request whose end was asked for. A medium that fails with the first or the second
 * is told as ENODEV or ENOTCONN: the node of a driver that stands on no other sees to that. Whether
 * the end of a request was asked for its backend knows: without that, the third is a failure, too.
 *
 * A read that succeeds has filled its memory, which may hold others' data: where there is nothing
 * to read, with zeroes. Only with OP_OWN_MEMORY a driver that keeps nothing may leave it.
 *
 * Zeroes may also be answered with -ENOTSUP at the time, and are written then. */
#ifndef SLUICE_DRIVER_H
#define SLUICE_DRIVER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "drivers/option.h"
#include "drivers/throttle_member.h"
#include "engine/actor.h"
#include "engine/err.h"
#include "engine/op.h"
#include "engine/reactor.h"
#include "event.pb-c.h"

enum driver_can {
    DRIVER_CAN_DISCARD = 1,
    DRIVER_CAN_ZEROES = 2, /* write-zeroes faster than by writing */
    DRIVER_CAN_FUA = 4,    /* OP_FUA, with writes, zeroes and discards */
    DRIVER_CAN_RESIZE = 8, /* OP_TRUNCATE */
    DRIVER_CAN_FLUSH = 16, /* without it a flush succeeds at once: nothing is cached */
    DRIVER_CAN_GROW = 32,  /* OP_BEYOND_END */
    DRIVER_CAN_UNMAP = 64, /* OP_MAY_UNMAP makes a difference to its zeroes */
    DRIVER_CAN_IOCTL = 128,
    DRIVER_CAN_VMSTATE = 256,
    DRIVER_CAN_COMPRESS = 512,    /* OP_COMPRESSED */
    DRIVER_CAN_STATUS = 1024,     /* OP_STATUS; without it all is data, and allocated */
    DRIVER_CAN_MAKE_EMPTY = 2048, /* OP_MAKE_EMPTY */
};

/* Their names, by the number of the bit. */
#define DRIVER_CANS 12
extern const char *const driver_can_names[];

/* What an instance tells of itself; the driver fills it in at opening and may change `length`
 * later, followed by driver_changed(). */
struct driver_facts {
    int64_t length;     /* bytes, a multiple of `alignment`; negative: the errno with which it
                           can't be told */
    uint32_t alignment; /* of offset, bytes and memory (there 4096 at most); a power of two, 1 MiB
                           at most, 1 when anything goes */
    uint64_t max_transfer; /* bytes of one read, write; 0: 2^31-1 rounded down to the alignment */
    uint64_t max_zeroes;   /* bytes of one zeroes or discard; 0: as long as they come */
    uint64_t optimal_transfer; /* 0: none known */
    uint32_t max_vector;       /* entries; 0: 1024 */
    bool read_only;
    bool direct;  /* passes the page cache by */
    unsigned can; /* enum driver_can */

    /* Of a device. */
    bool empty;                             /* a drive that says that no medium is in it */
    bool sg;                                /* it is SCSI-generic */
    uint32_t logical_block, physical_block; /* bytes; 0: not known */
    uint32_t cylinders, heads, sectors;     /* its geometry; 0: not known */
};

/* What those who use a node may do there: each has some of these, and shares some, which others may
 * have. Sharing none of something means that nobody else has it. */
enum driver_perm {
    PERM_CONSISTENT_READ = 1, /* what is read is what the medium holds, not something half done */
    PERM_WRITE = 2,
    PERM_WRITE_UNCHANGED = 4, /* write what is there already */
    PERM_RESIZE = 8,
    PERM_GRAPH_MOD = 16, /* put something else in its place in the graph */
};
#define PERM_ALL 31

/* Their names, by the number of the bit. */
#define PERMS 5
extern const char *const driver_perm_names[];

struct driver_perms {
    unsigned perm, shared; /* enum driver_perm */
};

/* The places of nodes that a driver stands on. */
enum driver_edge { EDGE_CHILD, EDGE_BACKING, EDGES };

struct driver_node {
    const struct driver *driver;
    const char *name;        /* the node's */
    void *state;             /* driver->size bytes, zeroed before open */
    struct actor *actor;     /* the node's actor, for its reactor */
    struct reactor *reactor; /* where it lives now */
    struct peer *peer;       /* where it makes operations */
    struct driver_facts facts;
    union { /* what it stands on; 0 for a driver without */
        struct {
            actor_addr child, backing;
        };
        actor_addr below[EDGES];
    };
    union {
        struct {
            struct driver_facts child_facts, backing_facts;
        };
        struct driver_facts below_facts[EDGES];
    };
    struct driver_perms perms; /* what all above it have and share together */
    bool inactive; /* all backends above it are: another process may own what it stands on */
    /* For members of throttle groups: where theirs is when they are opened, and how to write to it.
     * Grants, and other groups to join, go to `member` (see throttle_member.h). */
    uint64_t throttle_address, throttle_group;
    throttle_send_fn *throttle_send;
    struct throttle_member *member;
    const struct option_set *options;          /* checked against the table, defaults filled in */
    void (*changed)(struct driver_node *node); /* see driver_changed() */
    void (*catch_up)(struct driver_node *node, struct op *op); /* see driver_catch_up() */
    /* see driver_emit() */
    void (*emit)(struct driver_node *node, Sluice__Event__Severity severity,
                 Sluice__Event__BodyCase what, void *body);
};

/* Reports the end of an open; `err` (may be null) tells why it failed, and then close is not
 * called. */
typedef void driver_opened_fn(struct driver_node *node, int ret, const struct err *err);

/* Takes one line of a description. */
typedef void driver_tell_fn(void *to, const char *name, const char *value);

struct driver {
    const char *name;
    const char *help;             /* one line */
    const struct option *options; /* ends with an empty one; may be null */
    size_t size;                  /* bytes of an instance's state */
    bool filter;                  /* stands on a child; operations go on to it */
    bool backing;                 /* and on a second node, which holds what is not on the child */

    /* Fills in node->facts, then calls `opened` once, now or later. On failure it has cleaned up.
     */
    void (*open)(struct driver_node *node, driver_opened_fn *opened);
    /* Releases everything, then calls `closed` once, now or later. No operation is outstanding. */
    void (*close)(struct driver_node *node, void (*closed)(struct driver_node *node));
    /* Completes the operation with op_complete(), now or later. A filter passes it on with
     * driver_pass(). */
    void (*submit)(struct driver_node *node, struct op *op);
    /* Asks for the early end of an operation that it was given and has not completed: with
     * -ECANCELED, or with its result if that is faster, now or later. True when it has been taken
     * care of; false sends the question on to where the operation was passed on to, or the piece of
     * it that is under way. Optional: without it, and a child, the operation ends as it would
     * have. */
    bool (*cancel)(struct driver_node *node, struct op *op);
    /* The operation of its own which one that it was given waits for, and where that is; null, and
     * `edge` as it is, when there is none. Optional, but due for a driver that has such. */
    struct op *(*piece)(struct driver_node *node, struct op *op, enum driver_edge *edge);
    /* Time is up: completes with -ESHUTDOWN what is not in the hands of a medium. Optional. */
    void (*abort)(struct driver_node *node);
    /* Takes new values of the options that are `live`; at once, or it fails with a sentence and
     * changes nothing. Optional, but due when an option is live. */
    int (*set)(struct driver_node *node, const struct option_set *options, struct err *err);
    /* Tells what `node show` is to show beyond facts and options. Optional. */
    void (*describe)(struct driver_node *node, driver_tell_fn *tell, void *to);
    /* What an instance needs of a node that it stands on, and shares there, when all above it have
     * and share `above` together. Optional: then it is that. Depends on nothing else: the graph
     * asks it, on another thread. */
    struct driver_perms (*needs)(enum driver_edge edge, struct driver_perms above);
    /* Whether those above may have and share this; a refusal has its sentence. Optional. */
    int (*permit)(struct driver_node *node, struct driver_perms perms, struct err *err);
    /* What a frontend does to the medium: opens or closes the drive's tray, locks it in or no
     * longer. Nothing comes of a failure. Optional: then it goes on to the child, if there is one.
     */
    void (*eject)(struct driver_node *node, bool eject);
    void (*lock_medium)(struct driver_node *node, bool lock);
    /* Forgets what it keeps of what it stands on, and rereads what it needs: another has changed
     * it. Changes of the facts are told first, then `done` is called once, now or later, as after
     * an open. Requests may be under way; a close or a move waits. Optional. */
    void (*invalidate)(struct driver_node *node, driver_opened_fn *done);
    /* The facts of the child, or the backing, have changed (node->child_facts, backing_facts);
     * optional for filters. */
    void (*child_changed)(struct driver_node *node);
    /* This memory is going to hold data of many operations, and stays until it is unregistered,
     * which it is before the node leaves a reactor or closes. Optional; a failure (negative errno)
     * only means that nothing is gained. */
    int (*register_buf)(struct driver_node *node, void *memory, size_t bytes);
    void (*unregister_buf)(struct driver_node *node, void *memory, size_t bytes);
    /* Takes what the instance stands on over from another process, and hands it over. While it is
     * inactive, and also when it is opened so (node->inactive), it holds no locks and gets neither
     * reads nor changes. To be active it takes what it needs, and rereads its facts (changes are
     * told before `done` runs, now or later); or it fails with a sentence, and has taken nothing.
     * It may be inactivated at once, when another node fails. Optional. */
    void (*activate)(struct driver_node *node, driver_opened_fn *done);
    void (*inactivate)(struct driver_node *node);
    /* While somebody who stands on it is drained (on, until he is not): of his requests (op->user)
     * those that wait by the driver's own will go on at once, and none waits so. Optional, but due
     * for a driver that makes requests wait when nothing else does. Called while the instance is
     * open. */
    void (*let_through)(struct driver_node *node, uint16_t user, bool on);
    /* Before it leaves a reactor and after it arrived at another; no operation is outstanding.
     * Optional. */
    void (*leave)(struct driver_node *node);
    void (*arrive)(struct driver_node *node);
};

/* What a medium's error is to those above, who take some for the engine's own. */
static inline int64_t driver_error(int64_t ret)
{
    return ret == -ENXIO ? -ENODEV : ret == -ESHUTDOWN ? -ENOTCONN : ret;
}

/* For drivers: the facts have changed; those above are told. */
static inline void driver_changed(struct driver_node *node)
{
    node->changed(node);
}

/* For drivers: tells of an event of this node; `body` is the message of the field `what`, and is
 * taken over. */
static inline void driver_emit(struct driver_node *node, Sluice__Event__Severity severity,
                               Sluice__Event__BodyCase what, void *body)
{
    node->emit(node, severity, what, body);
}

/* For filters: completes the operation, with the result that it has, when all that the child has
 * told until now is in `child_facts`. Changes are told by mail, which may come after the end of the
 * operation that made them: who waits for a resize is to find the new length. */
static inline void driver_catch_up(struct driver_node *node, struct op *op)
{
    node->catch_up(node, op);
}

/* For filters: sends the operation to the child. Push a frame first to see its end. */
static inline void driver_pass(struct driver_node *node, struct op *op)
{
    op_send(op, node->child);
}

/* For filters: an operation of their own, to be sent on with driver_send() and freed in the
 * function of its bottom frame. */
static inline struct op *driver_op(struct driver_node *node, enum op_kind kind, uint64_t offset,
                                   uint64_t bytes)
{
    struct op *op = op_new(node->peer);
    op->kind = (uint8_t)kind;
    op->offset = (int64_t)offset;
    op->bytes = bytes;
    return op;
}

/* Its data, in one piece. */
static inline void driver_op_data(struct op *op, void *data, uint64_t bytes)
{
    op->one = (struct iovec){data, bytes};
    op->iov = &op->one;
    op->niov = 1;
}

static inline void driver_send(const struct driver_node *node, enum driver_edge edge, struct op *op)
{
    op_send(op, node->below[edge]);
}

/* Zeroes what a read's vector holds from its byte `from` on. */
static inline void driver_clear(const struct op *op, uint64_t from)
{
    for (unsigned i = 0; i < op->niov; i++) {
        uint64_t length = op->iov[i].iov_len, skip = from < length ? from : length;
        memset((char *)op->iov[i].iov_base + skip, 0, length - skip);
        from -= skip;
    }
}

/* The driver with this name, or null. */
const struct driver *driver_find(const char *name);
/* All of them, ended by null. */
extern const struct driver *const drivers[];

#endif
