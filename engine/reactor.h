/* reactor.h — one pinned thread with its timers, ring, buffers and actors.
 *
 * Each turn: take what other threads sent, reap completed system calls, fire due timers, run the
 * actors that have mail, flush one frame per peer, submit. With nothing to do it spins a little (as
 * long as that has been paying lately), then sleeps in the ring until a doorbell, a completion or a
 * timer wakes it. */
#ifndef SLUICE_REACTOR_H
#define SLUICE_REACTOR_H

#include <stdint.h>

#include "engine/buffer.h"
#include "engine/ring.h"
#include "engine/timer.h"

struct reactor;

/* The reactor that runs on this thread now (also while it is stepped by hand), or null. */
struct reactor *reactor_here(void);

unsigned reactor_id(const struct reactor *reactor);
/* Monotonic time at the start of this turn, nanoseconds. */
uint64_t reactor_now(const struct reactor *reactor);
struct timers *reactor_timers(struct reactor *reactor);
struct ring *reactor_ring(struct reactor *reactor);
struct buffers *reactor_buffers(struct reactor *reactor);

/* Runs `fn` at the end of this turn, before frames are flushed: where what was gathered in the turn
 * is sent. A hook is embedded in its owner, and runs once for each time that it was queued;
 * queueing a queued one does nothing. */
struct turn_hook {
    void (*run)(struct turn_hook *hook);
    struct turn_hook *next;
    bool queued;
};
void reactor_at_turn_end(struct reactor *reactor, struct turn_hook *hook);
void reactor_forget(struct reactor *reactor, struct turn_hook *hook);

/* Foreign inbox: any thread hands a piece of work to a reactor, which runs it in its next turn. The
 * work is embedded in what it belongs to and is the reactor's until `run`. Work from one thread
 * runs in order. */
struct work {
    void (*run)(struct work *work, struct reactor *reactor);
    struct work *next;
};
void reactor_post(struct reactor *reactor, struct work *work);

/* What a reactor did, for status. Read on its own thread. */
struct reactor_stats {
    uint64_t turns, parks, frames, requests;
    unsigned actors;
    int cpu;
};
const struct reactor_stats *reactor_stats(struct reactor *reactor);

#endif
