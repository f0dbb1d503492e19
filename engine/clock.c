#include "engine/clock.h"

#include <time.h>

uint64_t clock_ns(const struct clock *clock)
{
    if (clock->is_virtual)
        return clock->virtual_ns;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}
