/* nbd_pace.h — when to receive next, so that requests come in batches.
 *
 * A client with a deep queue sends its requests one by one. A server that is faster than that and
 * receives each at once pays a wake-up and a system call or two for each, and both sides fight over
 * the socket's lock. So the server lets some gather, but never so many that the client would have
 * to wait for it:
 *
 *     the most requests that came at once lately   tell how many the client keeps outstanding,
 *                                                  at least
 *     half of them                                 can be let gather, while the client still has
 *                                                  the replies to the others to digest
 *     requests by time, lately                     tells how long that takes
 *
 * The next receive is put off until that long after the last one. Shallow queues and slow clients
 * are received from at once; nobody waits longer than NBD_PACE_MAX. All times are nanoseconds. */
#ifndef SLUICE_NBD_PACE_H
#define SLUICE_NBD_PACE_H

#include <stdint.h>

#include "engine/clock.h"

#define NBD_PACE_MAX      (50 * NS_PER_US)  /* of waiting */
#define NBD_PACE_MIN      (4 * NS_PER_US)   /* less is not worth a timer */
#define NBD_PACE_DEPTH    32                /* a queue as shallow as this is not made to wait */
#define NBD_PACE_LATELY   (100 * NS_PER_MS) /* for the most that came at once */
#define NBD_PACE_SLOWEST  (2 * NS_PER_MS)   /* a longer time between two receives was idleness */
#define NBD_PACE_RECEIVES 16                /* weight of the past, for the rate */

struct nbd_pace {
    uint64_t last;                    /* when the last receive came */
    uint64_t gap;                     /* average time between receives, times NBD_PACE_RECEIVES */
    uint64_t count;                   /* average of requests a receive, times 256 and that */
    uint64_t since;                   /* start of the present period */
    unsigned deepest, deepest_before; /* most requests at once, in this period and the one before */
};

/* A receive brought so many requests. */
static inline void nbd_pace_received(struct nbd_pace *pace, uint64_t now, unsigned requests)
{
    uint64_t gap = now - pace->last;
    pace->last = now;
    if (now - pace->since > NBD_PACE_LATELY) {
        pace->deepest_before = now - pace->since > 2 * NBD_PACE_LATELY ? 0 : pace->deepest;
        pace->deepest = 0;
        pace->since = now;
    }
    if (requests > pace->deepest)
        pace->deepest = requests;
    if (gap > NBD_PACE_SLOWEST)
        return;
    pace->gap += gap - pace->gap / NBD_PACE_RECEIVES;
    pace->count += 256 * requests - pace->count / NBD_PACE_RECEIVES;
}

/* The time before which there is no point in receiving again; 0: receive at once. */
static inline uint64_t nbd_pace_next(const struct nbd_pace *pace)
{
    unsigned depth = pace->deepest > pace->deepest_before ? pace->deepest : pace->deepest_before;
    if (depth <= NBD_PACE_DEPTH || pace->count == 0)
        return 0;
    uint64_t wait = depth / 2 * pace->gap * 256 / pace->count;
    if (wait < NBD_PACE_MIN)
        return 0;
    return pace->last + (wait < NBD_PACE_MAX ? wait : NBD_PACE_MAX);
}

#endif
