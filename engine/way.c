#include "engine/way.h"

#include <sched.h>
#include <sys/resource.h>

#include "engine/clock.h"

#define ALONE_LOOK  NS_PER_MS        /* how often it looks when it is alone, */
#define SHARED_LOOK (10 * NS_PER_US) /* and yields when it is not */
#define SHARED_FOR  (50 * NS_PER_MS) /* after the last sign of others */
#define SLICE       NS_PER_MS        /* who keeps the CPU for so long does not give way, */
#define SLICES      20               /* and is let have it once in so many times that long */

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
    uint64_t start = clock_ns(&real), kept;
    sched_yield();
    /* Some kernels charge a whole slice for a yield (Linux 6.18): with one who has work to do the
     * CPU is shared more evenly without. */
    kept = clock_ns(&real) - start;
    way->look = now + kept + (kept < SLICE ? SHARED_LOOK : SLICES * kept);
}
