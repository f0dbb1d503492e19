/* way.h — a thread that polls gives way to those that share its CPU.
 *
 * A thread that waits by polling looks busy to the kernel, which then lets others on the same CPU
 * wait for whole time slices: milliseconds. Whether there are others shows in the times that the
 * thread was switched away from while it could run. As long as there are, it yields every few
 * microseconds; a yield that nobody took is not counted by the kernel, so alone it soon stops. To
 * one who does not give way in turn, but works, it yields seldom.
 *
 * Thread rules: belongs to the thread that gives way. */
#ifndef SLUICE_WAY_H
#define SLUICE_WAY_H

#include <stdint.h>

struct way {
    uint64_t look;    /* when to look again, ns */
    uint64_t until;   /* it yields so long, ns */
    long switched;    /* times that it was */
    unsigned in_vain; /* yields to one who kept the CPU, */
    uint64_t since;   /* from this time on, ns */
};

void way_look(struct way *way, uint64_t now);

/* To be called often, with the time in ns. */
static inline void way_give(struct way *way, uint64_t now)
{
    if (__builtin_expect(now >= way->look, 0))
        way_look(way, now);
}

#endif
