/* link.h — one end of a counted link between two peers.
 *
 * A link is an inproc PAIR of ZeroMQ sockets and, per direction, an atomic count of frames sent.
 * The receiver takes exactly as many frames as the count tells: reading an empty pipe is what makes
 * libzmq slow (it arms the mailbox for the next message), so it never happens.
 *
 * What is sent gathers in the outbox: columns of requests and completions, and envelopes. It
 * becomes one Frame (proto/lane.proto) when it is flushed, at the end of a turn, or earlier when
 * LINK_BATCH rows have gathered, so that the other side starts on the first half of a burst while
 * this side makes the second.
 *
 * A burst is gathered whole, however many requests it has, and the other side takes its frames in
 * one turn: while the link is plugged, requests wait in `waiting`.
 *
 * Credits: at most LINK_CREDITS requests of one end are outstanding. The completion's place is the
 * operation itself, which its sender keeps, so a completion is never refused, and two full peers
 * can't wait for each other. Requests without a credit wait in `waiting`, in order. */
#ifndef SLUICE_LINK_H
#define SLUICE_LINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/arena.h"
#include "engine/op.h"
#include "lane.pb-c.h"

#define LINK_BATCH   32
#define LINK_CREDITS 4096

struct peer;

struct outbox {
    unsigned requests, completions, mails, mails_room;
    unsigned origin; /* of the requests, when it is not this end's peer; else 0 */
    uint64_t to[LINK_BATCH], tag[LINK_BATCH], op[LINK_BATCH], offset[LINK_BATCH], bytes[LINK_BATCH],
        buffer[LINK_BATCH];
    uint64_t done[LINK_BATCH];
    int64_t result[LINK_BATCH];
    Sluice__Envelope **mail; /* on the heap, with their bodies */
};

struct link {
    struct peer *self, *other;
    struct link *twin; /* the other end; only its `sent` is read from here */
    void *socket;      /* used by `self` only */
    uint32_t taken;    /* frames taken from this end */
    uint32_t credits;  /* requests that may still be sent */
    struct op_queue waiting;
    struct link *dirty; /* next link of `self` with something in its outbox */
    bool is_dirty;
    bool plugged;
    bool burst;      /* what was gathered is being sent */
    uint32_t unsent; /* frames of it that the other end is not told of yet */
    struct outbox out;
    _Alignas(64) _Atomic uint32_t sent; /* frames sent by this end */
};

/* Both ends of a new link; `context` is a ZeroMQ context. Null ends when sockets are exhausted. */
int link_pair(void *context, struct peer *a, struct peer *b, struct link **ab, struct link **ba);
void link_free(struct link **link);

/* Frames that can be taken now. */
static inline uint32_t link_ready(const struct link *link)
{
    return atomic_load_explicit(&link->twin->sent, memory_order_acquire) - link->taken;
}

/* Takes one frame, unpacked into the arena. Only when link_ready() is above 0. Never null. */
const Sluice__Frame *link_take(struct link *link, struct arena *arena);

/* Adds to the outbox, and flushes when it is full. */
void link_request(struct link *link, unsigned origin, uint64_t to, uint64_t tag, uint64_t opword,
                  uint64_t offset, uint64_t bytes, uint64_t buffer);
void link_completion(struct link *link, uint64_t tag, int64_t result);
void link_mail(struct link *link, Sluice__Envelope *envelope); /* takes it over */

/* From now on requests gather; or what has gathered is sent, as far as there are credits. */
void link_plug(struct link *link);
void link_unplug(struct link *link);

/* Sends what the outbox holds, as one frame, and rings the other end if it sleeps. */
void link_flush(struct link *link);

#endif
