#include "engine/way.h"

#include <sched.h>
#include <sys/resource.h>

#include "engine/clock.h"

#define ALONE_LOOK  NS_PER_MS        /* how often it looks when it is alone, */
#define SHARED_LOOK (10 * NS_PER_US) /* and yields when it is not */
#define SHARED_FOR  (10 * NS_PER_MS) /* after the last sign of others */
/* Who keeps the CPU for so long, so many times in such a time, has work to do and gives way to
 * nobody: for a while there is no yielding. A thread that polls finds out within two of them. */
#define SLICE   NS_PER_MS
#define IN_VAIN 4
#define WITHIN  (50 * NS_PER_MS)
#define LET_BE  (500 * NS_PER_MS)

static const struct clock real;

void way_look(struct way *way, uint64_t now)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    if (usage.ru_nivcsw != way->switched)
        way->until = now + SHARED_FOR;
    way->switched = usage.ru_nivcsw;
    way->look = now + ALONE_LOOK;
    if (now >= way->until)
        return;
    /* Some kernels charge a whole slice for a yield (Linux 6.18): beside one who works there would
     * be little left. */
    uint64_t start = clock_ns(&real), kept;
    sched_yield();
    kept = clock_ns(&real) - start;
    way->look = now + kept + SHARED_LOOK;
    if (kept < SLICE)
        return;
    if (now - way->since > WITHIN) {
        way->since = now;
        way->in_vain = 0;
    }
    if (++way->in_vain < IN_VAIN)
        return;
    way->in_vain = 0;
    way->look += LET_BE;
}
