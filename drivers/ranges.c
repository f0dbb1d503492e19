#include "drivers/ranges.h"

#include <stddef.h>

static bool get_along(unsigned a, unsigned b)
{
    return a + b < 3;
}

/* Whether any could be in the way at all. */
static bool alone(const struct ranges *ranges, unsigned use)
{
    for (unsigned other = 0; other < RANGE_USES; other++)
        if (ranges->uses[other] && !get_along(use, other))
            return false;
    return true;
}

static bool must_wait(const struct ranges *ranges, const struct range *range)
{
    for (const struct range *other = ranges->first; other != range; other = other->next)
        if (!get_along(other->use, range->use) && other->start < range->end &&
            range->start < other->end)
            return true;
    return false;
}

bool ranges_enter(struct ranges *ranges, struct range *range, enum range_use use, uint64_t start,
                  uint64_t end)
{
    bool free = alone(ranges, use);
    *range = (struct range){.prev = ranges->last, .start = start, .end = end, .use = (uint8_t)use};
    *(ranges->last ? &ranges->last->next : &ranges->first) = range;
    ranges->last = range;
    ranges->uses[use]++;
    range->waiting = !free && must_wait(ranges, range);
    ranges->waiting += range->waiting;
    return !range->waiting;
}

static void unlist(struct ranges *ranges, struct range *range)
{
    *(range->prev ? &range->prev->next : &ranges->first) = range->next;
    *(range->next ? &range->next->prev : &ranges->last) = range->prev;
    ranges->uses[range->use]--;
    ranges->waiting -= range->waiting;
    range->waiting = false;
}

/* One that goes on may change the list in any way, so the search begins anew. */
static void admit(struct ranges *ranges)
{
    ranges->admitting = true;
    struct range *range = ranges->first;
    while (range && ranges->waiting) {
        if (!range->waiting || must_wait(ranges, range)) {
            range = range->next;
            continue;
        }
        range->waiting = false;
        ranges->waiting--;
        ranges->go(range);
        range = ranges->first;
    }
    ranges->admitting = false;
}

void ranges_leave(struct ranges *ranges, struct range *range)
{
    unlist(ranges, range);
    if (ranges->waiting && !ranges->admitting)
        admit(ranges);
}

struct range *ranges_waiting(const struct ranges *ranges)
{
    struct range *range = ranges->waiting ? ranges->first : NULL;
    while (range && !range->waiting)
        range = range->next;
    return range;
}
