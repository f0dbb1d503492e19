#include "engine/way.h"

#include <sched.h>
#include <sys/resource.h>

#include "engine/clock.h"

#define ALONE_LOOK  NS_PER_MS        /* how often it looks when it is alone, */
#define SHARED_LOOK (10 * NS_PER_US) /* and yields when it is not */
#define SHARED_FOR  (50 * NS_PER_MS) /* after the last sign of others */

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
    way->look = now + SHARED_LOOK;
    sched_yield();
}
