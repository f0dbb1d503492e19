/* clock.h — monotonic time, real or virtual.
 *
 * Real time is CLOCK_MONOTONIC. Virtual time stands still until it is advanced, which the stepping
 * of an engine by hand does: tests need no sleeps. All times are nanoseconds. */
#ifndef SLUICE_CLOCK_H
#define SLUICE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

struct clock {
    bool is_virtual;
    uint64_t virtual_ns; /* the time, while virtual */
};

uint64_t clock_ns(const struct clock *clock);

#endif
