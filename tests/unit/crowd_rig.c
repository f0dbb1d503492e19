#include "crowd_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mem.h"

/* --- The window rule */

static struct window *window_of(struct crowd *crowd, const struct throttle_group *group)
{
    for (size_t i = 0; i < crowd->groups; i++)
        if (crowd->windows[i].group == group)
            return &crowd->windows[i].window;
    fail_msg("the crowd does not know this group");
    return NULL;
}

static void watch(struct crowd *crowd, const struct crowd_member *member, unsigned direction,
                  uint64_t bytes)
{
    for (struct throttle_group *group = member->place->group; group; group = group->parent)
        window_pass(window_of(crowd, group), &group->limits, direction, bytes, crowd->tree.now);
}

/* --- Members */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void went(struct crowd *crowd, struct crowd_member *member, unsigned direction,
                 uint64_t asked)
{
    struct crowd_stream *stream = &member->streams[direction];
    uint64_t latency = crowd->tree.now - asked, due = crowd->tree.now + stream->think;
    watch(crowd, member, direction, stream->bytes);
    stream->passed++;
    stream->passed_bytes += stream->bytes;
    stream->slowest = latency > stream->slowest ? latency : stream->slowest;
    if (crowd->nlatencies == crowd->capacity) {
        crowd->capacity = crowd->capacity ? 2 * crowd->capacity : 1024;
        crowd->latencies = mem_resize(crowd->latencies, crowd->capacity * sizeof *crowd->latencies);
    }
    crowd->latencies[crowd->nlatencies++] = latency;
    if (stream->running > stream->depth) {
        stream->running--;
        return;
    }
    stream->due[stream->end_due++ % CROWD_DEPTH] = due;
    crowd->soonest = earlier(due, crowd->soonest);
}

/* One more request of this member comes. */
static void ask(struct crowd *crowd, struct crowd_member *member, unsigned direction)
{
    struct crowd_stream *stream = &member->streams[direction];
    const struct throttle_queue *queue = &member->place->queues[direction];
    stream->asked[queue->tail % CROWD_DEPTH] = crowd->tree.now;
    throttle_wait(&crowd->tree, member->place, direction, stream->bytes);
    if (crowd->eager)
        throttle_dispatch(&crowd->tree);
}

/* What is due by now; and when something is, the next time. */
static void wake(struct crowd *crowd, struct crowd_member *member)
{
    uint64_t now = crowd->tree.now, soonest = crowd->soonest;
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
        struct crowd_stream *stream = &member->streams[d];
        const uint64_t *due = stream->due;
        while (stream->first_due < stream->end_due && due[stream->first_due % CROWD_DEPTH] <= now) {
            stream->first_due++;
            ask(crowd, member, d);
        }
        if (stream->first_due < stream->end_due)
            soonest = earlier(soonest, due[stream->first_due % CROWD_DEPTH]);
    }
    crowd->soonest = earlier(soonest, crowd->soonest);
}

static struct crowd_member *member_at(struct crowd *crowd, const struct throttle_place *place)
{
    return &crowd->members[place->key];
}

static void take_news(struct crowd *crowd)
{
    while (crowd->tree.news) {
        struct throttle_place *place = crowd->tree.news;
        crowd->tree.news = place->next_news;
        place->is_news = false;
        struct crowd_member *member = member_at(crowd, place);
        for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
            struct crowd_stream *stream = &member->streams[d];
            for (; stream->gone < place->queues[d].head; stream->gone++)
                went(crowd, member, d, stream->asked[stream->gone % CROWD_DEPTH]);
        }
    }
}

/* --- Time */

static void settle(struct crowd *crowd)
{
    for (;;) {
        throttle_dispatch(&crowd->tree);
        take_news(crowd);
        if (crowd->soonest > crowd->tree.now)
            return;
        crowd->soonest = UINT64_MAX;
        for (size_t i = 0; i < crowd->n; i++)
            wake(crowd, &crowd->members[i]);
    }
}

void crowd_run(struct crowd *crowd, uint64_t ns)
{
    uint64_t end = crowd->tree.now + ns;
    for (;;) {
        settle(crowd);
        uint64_t next = throttle_next(&crowd->tree);
        assert_true(next > crowd->tree.now);
        next = earlier(next, crowd->soonest);
        if (next > end)
            break;
        crowd->tree.now = next;
    }
    crowd->tree.now = end;
}

/* --- Life */

struct crowd *crowd_new(const struct limits *root)
{
    struct crowd *crowd = MEM_NEW(struct crowd);
    crowd->tree.now = 7 * SEC + 123456789;
    crowd->soonest = UINT64_MAX;
    crowd_group(crowd, NULL, root);
    crowd_measure(crowd);
    return crowd;
}

void crowd_free(struct crowd **crowd)
{
    throttle_tree_fini(&(*crowd)->tree);
    free((*crowd)->latencies);
    free(*crowd);
    *crowd = NULL;
}

struct throttle_group *crowd_group(struct crowd *crowd, struct throttle_group *parent,
                                   const struct limits *limits)
{
    struct throttle_group *group =
        throttle_group_add(&crowd->tree, crowd->groups + 1, "group", parent, limits);
    crowd->windows[crowd->groups].group = group;
    window_begin(&crowd->windows[crowd->groups++].window);
    return group;
}

void crowd_set(struct crowd *crowd, struct throttle_group *group, const struct limits *limits)
{
    throttle_group_set(&crowd->tree, group, limits);
    window_begin(window_of(crowd, group));
}

struct crowd_member *crowd_member(struct crowd *crowd, struct throttle_group *group)
{
    struct crowd_member *member = &crowd->members[crowd->n];
    member->place = throttle_enter(&crowd->tree, group, "member", crowd->n++);
    return member;
}

void crowd_start(struct crowd *crowd, struct crowd_member *member, unsigned direction,
                 unsigned depth, uint64_t bytes, uint64_t think)
{
    struct crowd_stream *stream = &member->streams[direction];
    stream->depth = depth;
    stream->bytes = bytes;
    stream->think = think;
    for (; stream->running < depth; stream->running++)
        ask(crowd, member, direction);
}

void crowd_fill(struct crowd *crowd, size_t n, unsigned depth, uint64_t bytes, uint64_t think)
{
    for (size_t i = 0; i < n; i++)
        crowd_start(crowd, crowd_member(crowd, crowd->tree.root), THROTTLE_READ, depth, bytes,
                    think);
}

/* --- What was measured */

void crowd_measure(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->n; i++)
        for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
            struct crowd_stream *stream = &crowd->members[i].streams[d];
            stream->passed = stream->passed_bytes = stream->slowest = 0;
        }
    crowd->measured_since = crowd->tree.now;
    crowd->nlatencies = 0;
}

static double seconds(const struct crowd *crowd)
{
    return (double)(crowd->tree.now - crowd->measured_since) / 1e9;
}

static uint64_t passed(const struct crowd_member *member)
{
    return member->streams[THROTTLE_READ].passed + member->streams[THROTTLE_WRITE].passed;
}

double crowd_rate(const struct crowd *crowd)
{
    double sum = 0;
    for (size_t i = 0; i < crowd->n; i++)
        sum += (double)passed(&crowd->members[i]);
    return sum / seconds(crowd);
}

double crowd_rate_of(const struct crowd *crowd, const struct crowd_member *member,
                     unsigned direction)
{
    return (double)member->streams[direction].passed / seconds(crowd);
}

double crowd_bytes_rate_of(const struct crowd *crowd, const struct crowd_member *member,
                           unsigned direction)
{
    return (double)member->streams[direction].passed_bytes / seconds(crowd);
}

double crowd_jain(const struct crowd *crowd)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < crowd->n; i++) {
        double x = (double)passed(&crowd->members[i]);
        sum += x;
        squares += x * x;
    }
    return sum * sum / ((double)crowd->n * squares);
}

uint64_t crowd_spread(const struct crowd *crowd)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (size_t i = 0; i < crowd->n; i++) {
        uint64_t x = passed(&crowd->members[i]);
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
    return most - least;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t crowd_p99(struct crowd *crowd)
{
    assert_true(crowd->nlatencies > 0);
    qsort(crowd->latencies, crowd->nlatencies, sizeof *crowd->latencies, compare);
    return crowd->latencies[(crowd->nlatencies - 1) * 99 / 100];
}

void crowd_near(double value, double expected, double part, const char *file, int line)
{
    if (fabs(value - expected) <= part * expected)
        return;
    print_error("%g is more than %g%% away from %g\n", value, 100 * part, expected);
    _fail(file, line);
}
