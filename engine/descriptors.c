#include "engine/descriptors.h"

#include <sys/resource.h>

/* Left for clients of control and events: that many, or a quarter where the limit is tight. */
#define RESERVE 64

bool descriptors_suffice(int fd)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return true;
    rlim_t reserve = limit.rlim_cur / 4 < RESERVE ? limit.rlim_cur / 4 : RESERVE;
    return (rlim_t)fd < limit.rlim_cur - reserve; /* the lowest free number is always taken */
}
