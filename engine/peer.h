/* peer.h — a thread's end of the mesh: links to all others, its operations, its doorbell.
 *
 * A reactor is a peer with actors; a port (port.h) is a peer of an embedding thread. All functions
 * run on the peer's thread but for peer_ring(). Delivery to what lives on the peer is done by
 * `local`.
 *
 * Order: for each actor that it writes to, a peer counts what it sends, on each lane. The actor's
 * home takes each peer's messages in the order of that count. So they may travel different ways
 * while the actor moves: what arrives early waits, and what comes twice would show. */
#ifndef SLUICE_PEER_H
#define SLUICE_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/actor.h"
#include "engine/arena.h"
#include "engine/directory.h"
#include "engine/link.h"
#include "engine/op.h"

#define PEERS_MAX 256

struct route {
    uint32_t generation; /* of the actor that was last written to in this slot */
    uint32_t ops : OP_SEQUENCE_BITS;
    uint32_t mail; /* sent to it */
};

struct peer;

/* Hands over what has arrived, or was sent, for an address whose home is this peer. */
struct peer_local {
    void (*op)(struct peer *peer, struct op *op);       /* op->to, op->origin, op->sequence */
    void (*mail)(struct peer *peer, struct mail *mail); /* takes it over */
};

struct mesh {
    struct directory directory;
    void *zmq;
    _Atomic unsigned pairs;                          /* of links made so far */
    const ProtobufCMessageDescriptor *const *bodies; /* by kind of mail */
    unsigned nbodies;
};

struct peer {
    unsigned id; /* 1 and up */
    struct mesh *mesh;
    const struct peer_local *local;

    struct link *links[PEERS_MAX]; /* by the other's id */
    struct link *linked[PEERS_MAX];
    unsigned nlinked;
    struct link *dirty; /* links with something to flush */
    struct arena arena;

    struct op **chunks; /* the operations, OP_CHUNK each */
    unsigned nchunks;
    struct op *free_ops;
    unsigned ops_used;

    struct route *routes;      /* by slot */
    uint64_t frames, requests; /* taken, for statistics */

    int doorbell; /* eventfd */
    _Alignas(64) _Atomic uint32_t sleeping;
};

/* Fails with a negative errno when there is no descriptor for the doorbell; peer_fini() is due all
 * the same. */
int peer_init(struct peer *peer, struct mesh *mesh, unsigned id, const struct peer_local *local);
void peer_fini(struct peer *peer);
void peer_add_link(struct peer *peer, struct link *link);

/* Takes at most `limit` frames from each link, and no more once a batch of requests has come;
 * returns how many. With `link` not null, from that one only. */
unsigned peer_take(struct peer *peer, struct link *link, unsigned limit);
bool peer_ready(const struct peer *peer);
void peer_flush(struct peer *peer);

/* Sends one message to wherever its address lives; takes it over. `from` etc. are filled in by the
 * caller. */
void peer_send_mail(struct peer *peer, struct mail *mail);
/* For a home that the addressee left, or never reached: passes on, keeping origin and sequence.
 * Returns false when the address is alive and its home is this peer. */
bool peer_pass_mail(struct peer *peer, struct mail *mail);

/* Replies to mail that can't be delivered, and frees it. */
void peer_bounce(struct peer *peer, struct mail *mail, int code, const char *text);

/* What an operation that another thread asked for keeps in its bottom frame: its reply goes back to
 * that thread. */
struct remote {
    uint64_t tag;
    struct link *back;
};

/* For a home that the addressee leaves for `home`: passes on an operation that no layer has seen
 * yet, keeping origin and sequence. */
void peer_pass_op(struct peer *peer, struct op *op, unsigned home);

/* The operation that a completion's tag names, or null when it has ended. */
struct op *peer_find_op(struct peer *peer, uint64_t tag);
/* Its way is free for the next one. */
void peer_credit(struct op *op);
void peer_completion(struct peer *peer, uint64_t tag, int64_t result);

void mail_free(struct mail *mail);

/* Wakes the peer if it sleeps. From any thread. A sender makes what it sent visible (seq_cst)
 * before. */
void peer_ring(struct peer *peer);
/* Wakes the peer, or keeps it from its next sleep. */
void peer_wake(struct peer *peer);

/* Before sleeping: after this returns true, whoever sends will ring. False: there is something to
 * do, don't sleep. */
bool peer_sleep(struct peer *peer);
void peer_awake(struct peer *peer);

#endif
