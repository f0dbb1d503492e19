#include "engine/timer.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/mem.h"

static bool earlier(const struct timer *a, const struct timer *b)
{
    if (a->deadline_ns != b->deadline_ns)
        return a->deadline_ns < b->deadline_ns;
    return a->order < b->order;
}

static void place(struct timers *timers, size_t i, struct timer *timer)
{
    timers->heap[i] = timer;
    timer->index = i + 1;
}

static void sift_up(struct timers *timers, size_t i, struct timer *timer)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!earlier(timer, timers->heap[parent]))
            break;
        place(timers, i, timers->heap[parent]);
        i = parent;
    }
    place(timers, i, timer);
}

static void sift_down(struct timers *timers, size_t i, struct timer *timer)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= timers->count)
            break;
        if (child + 1 < timers->count && earlier(timers->heap[child + 1], timers->heap[child]))
            child++;
        if (!earlier(timers->heap[child], timer))
            break;
        place(timers, i, timers->heap[child]);
        i = child;
    }
    place(timers, i, timer);
}

void timers_fini(struct timers *timers)
{
    assert(timers->count == 0);
    free(timers->heap);
    *timers = (struct timers){0};
}

void timer_arm(struct timers *timers, struct timer *timer, uint64_t deadline_ns)
{
    timer_cancel(timers, timer);
    if (timers->count == timers->capacity) {
        timers->capacity = timers->capacity ? 2 * timers->capacity : 16;
        timers->heap = mem_resize(timers->heap, timers->capacity * sizeof *timers->heap);
    }
    timer->deadline_ns = deadline_ns > timers->now_ns ? deadline_ns : timers->now_ns;
    timer->order = timers->next_order++;
    sift_up(timers, timers->count++, timer);
}

void timer_cancel(struct timers *timers, struct timer *timer)
{
    if (!timer_armed(timer))
        return;
    size_t i = timer->index - 1;
    assert(i < timers->count && timers->heap[i] == timer);
    timer->index = 0;
    struct timer *last = timers->heap[--timers->count];
    if (last == timer)
        return;
    if (i > 0 && earlier(last, timers->heap[(i - 1) / 2]))
        sift_up(timers, i, last);
    else
        sift_down(timers, i, last);
}

uint64_t timers_next(const struct timers *timers)
{
    return timers->count ? timers->heap[0]->deadline_ns : UINT64_MAX;
}

size_t timers_run(struct timers *timers, uint64_t now_ns)
{
    /* What is armed while this runs has a later order and waits for the next run; it can't come
     * before what is due, as no deadline is before this time. */
    timers->now_ns = now_ns;
    uint64_t limit = timers->next_order;
    size_t fired = 0;
    while (timers->count && timers->heap[0]->deadline_ns <= now_ns &&
           timers->heap[0]->order < limit) {
        struct timer *timer = timers->heap[0];
        timer_cancel(timers, timer);
        fired++;
        timer->fire(timer);
    }
    return fired;
}
