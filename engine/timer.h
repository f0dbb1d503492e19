/* timer.h — timers of one reactor, in a binary heap.
 *
 * A timer is embedded in what it belongs to and costs no allocation. Arm and cancel run on the
 * reactor's thread only, in O(log n). Timers with the same deadline fire in the order in which they
 * were armed. */
#ifndef SLUICE_TIMER_H
#define SLUICE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    void (*fire)(struct timer *timer); /* runs on the reactor; may arm or free the timer */
    uint64_t deadline_ns;
    uint64_t order;
    size_t index; /* place in the heap + 1; 0 while not armed */
};

struct timers {
    struct timer **heap;
    size_t count, capacity;
    uint64_t next_order;
    uint64_t now_ns; /* of the last run */
};

void timers_fini(struct timers *timers);

/* Arms, or re-arms, `timer` (whose `fire` is set) for an absolute time. One that has passed counts
 * as the time of the last run. */
void timer_arm(struct timers *timers, struct timer *timer, uint64_t deadline_ns);

/* Does nothing when it is not armed. */
void timer_cancel(struct timers *timers, struct timer *timer);

static inline bool timer_armed(const struct timer *timer)
{
    return timer->index != 0;
}

/* Deadline of the first timer, or UINT64_MAX. */
uint64_t timers_next(const struct timers *timers);

/* Fires what is due at `now_ns`, each timer at most once; returns how many fired. */
size_t timers_run(struct timers *timers, uint64_t now_ns);

#endif
