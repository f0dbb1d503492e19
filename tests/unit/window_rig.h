/* window_rig.h — the window rule of throttle groups, worked out from the limits and from what went,
 * not from buckets: over any window of W seconds at most size + average * W + one largest request
 * pass, and in a burst at most max / 10 + max * W + one largest. */
#ifndef WINDOW_RIG_H
#define WINDOW_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/limits.h"

/* All that has to be known of a group. */
struct window {
    struct window_sum {
        double passed, lowest, burst_lowest, largest;
    } sums[LIMITS];
};

/* Counts from now on. */
void window_begin(struct window *window);
/* Such a request passes, a read (direction 0) or a write, at this time. Fails when it should not.
 */
void window_pass(struct window *window, const struct limits *limits, unsigned direction,
                 uint64_t bytes, uint64_t ns);

#endif
