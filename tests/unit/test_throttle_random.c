/* All that can happen to a tree of throttle groups, in an order that a seed draws, against a model
 * that knows of each request only what became of it. There are 3000 seeds, or as many as
 * THROTTLE_SEEDS in the environment says; with THROTTLE_SEED there is only that one. */
#include "crowd_rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS    3000
#define STEPS    500
#define MEMBERS  6
#define GROUPS   5
#define REQUESTS 600 /* of a member, at most */

enum fate { WAITS, CANCELLED, OWED, GONE };

struct member {
    struct throttle_place *place; /* null: nobody */
    struct throttle_group *group;
    struct requests {
        enum fate fates[REQUESTS];
        uint64_t bytes[REQUESTS];
        uint64_t seen, n;
        struct throttle_lease lease; /* as the member knows it */
        uint64_t spent, spent_bytes; /* and has not told */
        double beyond[THROTTLE_DEPTH];
    } requests[THROTTLE_DIRECTIONS];
};

static struct {
    struct throttle_tree tree;
    struct throttle_group *groups[GROUPS];
    struct window windows[GROUPS];
    struct member members[MEMBERS];
    uint64_t random, ids;
} run;

static uint64_t seed;
static bool running;

static uint64_t draw(uint64_t n)
{
    run.random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t x = run.random;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % n;
}

/* --- What must hold */

static unsigned index_of(const struct throttle_group *group)
{
    unsigned i = 0;
    while (run.groups[i] != group)
        i++;
    return i;
}

static bool concerns(unsigned number, unsigned direction)
{
    return number % 3 == 0 || number % 3 == direction + 1;
}

static double units_of(const struct throttle_group *group, unsigned number, uint64_t bytes)
{
    uint64_t size = group->limits.iops_size;
    if (number >= LIMIT_BPS_TOTAL)
        return (double)bytes;
    return size ? fmax(1, (double)bytes / (double)size) : 1;
}

/* A request passes all these groups now. */
static void passes(struct throttle_group *group, unsigned direction, uint64_t bytes)
{
    for (; group; group = group->parent)
        window_pass(&run.windows[index_of(group)], &group->limits, direction, bytes, run.tree.now);
}

/* In order, nothing twice, and nothing that was cancelled. */
static void see_what_went(struct member *member)
{
    bool news = false;
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
        struct requests *requests = &member->requests[d];
        const struct throttle_queue *queue = &member->place->queues[d];
        assert_true(queue->head >= requests->seen && queue->head <= requests->n);
        for (; requests->seen < queue->head; requests->seen++) {
            enum fate *fate = &requests->fates[requests->seen];
            news |= *fate == WAITS;
            if (*fate != CANCELLED)
                passes(member->group, d, requests->bytes[requests->seen]);
            *fate = *fate == CANCELLED ? CANCELLED : GONE;
        }
    }
    assert_true(member->place->is_news || !news);
}

static uint64_t waiting(const struct member *member)
{
    uint64_t n = 0;
    for (unsigned d = 0; member->place && d < THROTTLE_DIRECTIONS; d++)
        for (uint64_t i = member->requests[d].seen; i < member->requests[d].n; i++)
            n += member->requests[d].fates[i] == WAITS;
    return n;
}

static bool is_in(const struct throttle_group *inner, const struct throttle_group *outer)
{
    while (inner && inner != outer)
        inner = inner->parent;
    return inner;
}

static uint64_t counted(uint64_t leased)
{
    return leased == UINT64_MAX ? 0 : leased;
}

static void check_counts(void)
{
    for (unsigned i = 0; i < GROUPS; i++) {
        const struct throttle_group *group = run.groups[i];
        uint64_t waits = 0, members = 0, requests[2] = {0}, bytes[2] = {0};
        for (unsigned j = 0; group && j < MEMBERS; j++) {
            const struct member *member = &run.members[j];
            if (!member->place || !is_in(member->group, group))
                continue;
            assert_int_equal(member->place->counts.waiting, waiting(member));
            waits += waiting(member);
            members++;
            for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
                requests[d] += counted(member->place->leases[d].requests);
                bytes[d] += counted(member->place->leases[d].bytes);
            }
        }
        if (!group)
            continue;
        assert_int_equal(group->counts.waiting, waits);
        assert_int_equal(group->members, members);
        assert_memory_equal(group->leased_requests, requests, sizeof requests);
        assert_memory_equal(group->leased_bytes, bytes, sizeof bytes);
    }
}

/* How long the first request of a queue is held by limits. */
static double held(struct throttle_group *group, unsigned direction)
{
    double wait = 0;
    for (; group; group = group->parent)
        for (unsigned i = 0; i < LIMITS; i++) {
            const struct limit *limit = &group->limits.limit[i];
            struct bucket bucket = group->buckets[i];
            if (!(limit->average > 0) || !concerns(i, direction))
                continue;
            bucket_leak(&bucket, limit, run.tree.now - group->leaked);
            wait = fmax(wait, bucket_wait(&bucket, limit));
        }
    return wait;
}

/* Nanoseconds for which limits hold all requests. */
static double all_held(void)
{
    double first = (double)INFINITY;
    for (const struct throttle_place *place = run.tree.places; place; place = place->next)
        for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++)
            if (place->queues[d].head < place->queues[d].tail)
                first = fmin(first, held(place->group, d));
    return first;
}

/* The next time is when limits do not hold all requests any more, to the nanosecond. */
static void check_next(void)
{
    double first = all_held();
    uint64_t next = throttle_next(&run.tree);
    assert_true(next > run.tree.now);
    if (isinf(first))
        assert_true(next == UINT64_MAX);
    else
        assert_in_range(next, run.tree.now + (uint64_t)first - 1,
                        run.tree.now + (uint64_t)first + 1);
}

static void take_news(void)
{
    for (unsigned i = 0; i < MEMBERS; i++)
        if (run.members[i].place)
            see_what_went(&run.members[i]);
    for (; run.tree.news; run.tree.news = run.tree.news->next_news)
        run.tree.news->is_news = false;
}

static void dispatch(void)
{
    throttle_dispatch(&run.tree);
    take_news();
    check_counts();
    check_next();
    if (all_held() > 0)
        return;
    run.tree.now++; /* it was rounded */
    throttle_dispatch(&run.tree);
    take_news();
    assert_true(all_held() > 0);
}

/* --- What happens */

static struct limits draw_limits(void)
{
    struct limits limits = LIMITS_NONE;
    for (unsigned i = 0; i < LIMITS; i++) {
        if (draw(3) || (i % 3 && limits.limit[i - i % 3].average > 0))
            continue;
        struct limit *limit = &limits.limit[i];
        limit->average = (i < LIMIT_BPS_TOTAL ? 1 : 4096) * pow(10, (double)(1 + draw(4)));
        if (draw(2))
            limit->maximum = limit->average * (double)(1 + draw(20));
        if (limit->maximum > 0)
            limit->burst_length = (double)(1 + draw(3));
    }
    for (unsigned i = LIMIT_IOPS_TOTAL; i <= LIMIT_IOPS_WRITE; i++)
        if (limits.limit[i].average > 0 && !limits.iops_size && !draw(3))
            limits.iops_size = 4096;
    assert_int_equal(limits_check(&limits, NULL), 0);
    return limits;
}

static struct throttle_group *draw_group(void)
{
    struct throttle_group *group;
    do
        group = run.groups[draw(GROUPS)];
    while (!group);
    return group;
}

static struct member *draw_member(void)
{
    struct member *member = &run.members[draw(MEMBERS)];
    return member->place ? member : NULL;
}

static void add_group(void)
{
    unsigned i = (unsigned)draw(GROUPS);
    if (run.groups[i])
        return;
    struct limits limits = draw_limits();
    struct throttle_group *parent = run.ids ? draw_group() : NULL;
    run.groups[i] = throttle_group_add(&run.tree, ++run.ids, "group", parent, &limits);
    window_begin(&run.windows[i]);
}

static void remove_group(void)
{
    unsigned i = (unsigned)draw(GROUPS);
    struct throttle_group *group = run.groups[i];
    if (!group || group == run.tree.root || group->members)
        return;
    for (unsigned j = 0; j < GROUPS; j++)
        if (run.groups[j] && run.groups[j]->parent == group)
            return;
    throttle_group_remove(&run.tree, group);
    run.groups[i] = NULL;
}

static void enter(void)
{
    struct member *member = &run.members[draw(MEMBERS)];
    if (member->place)
        return;
    *member = (struct member){.group = draw_group()};
    member->place = throttle_enter(&run.tree, member->group, "member", 0);
}

static void wait_for_some(struct member *member)
{
    static const uint64_t sizes[] = {0, 512, 4096, 6000, 65536, 1048576};
    unsigned direction = (unsigned)draw(2);
    struct requests *requests = &member->requests[direction];
    for (uint64_t n = draw(8); n-- && requests->n < REQUESTS;) {
        uint64_t bytes = sizes[draw(6)];
        requests->fates[requests->n] = WAITS;
        requests->bytes[requests->n++] = bytes;
        throttle_wait(&run.tree, member->place, direction, bytes);
    }
}

/* Of a request that waits, or of any, or the next. */
static uint64_t draw_number(const struct requests *requests)
{
    uint64_t from = draw(4) ? requests->seen : 0;
    return from + draw(requests->n - from + 1);
}

static void cancel(struct member *member)
{
    unsigned direction = (unsigned)draw(2);
    struct requests *requests = &member->requests[direction];
    uint64_t number = draw_number(requests);
    throttle_cancel(&run.tree, member->place, direction, number);
    if (number < requests->n && requests->fates[number] == WAITS)
        requests->fates[number] = CANCELLED;
    see_what_went(member); /* it may have been the first */
}

static void let_through(struct member *member)
{
    unsigned direction = (unsigned)draw(2);
    struct requests *requests = &member->requests[direction];
    uint64_t number = draw_number(requests);
    throttle_through(&run.tree, member->place, direction, number);
    for (uint64_t i = 0; i < number; i++)
        if (requests->fates[i] == WAITS)
            requests->fates[i] = OWED;
}

/* Some go without having waited. */
static void owe(struct member *member)
{
    unsigned direction = (unsigned)draw(2);
    struct requests *requests = &member->requests[direction];
    for (uint64_t n = draw(4); n-- && requests->n < REQUESTS;) {
        uint64_t bytes = draw(2) ? 4096 : UINT64_C(1) << draw(35);
        requests->fates[requests->n] = OWED;
        requests->bytes[requests->n++] = bytes;
        throttle_owe(&run.tree, member->place, direction, bytes);
    }
}

static void lease(struct member *member)
{
    unsigned direction = (unsigned)draw(2);
    struct requests *requests = &member->requests[direction];
    uint64_t want = draw(40);
    struct throttle_lease more = throttle_lease(&run.tree, member->place, direction,
                                                (struct throttle_lease){want, want * 6000});
    take_news(); /* what may go, goes first */
    assert_true(more.requests <= want || more.requests == UINT64_MAX);
    assert_true(more.bytes <= want * 6000 || more.bytes == UINT64_MAX);
    if (!more.requests)
        return;
    uint64_t *const has[] = {&requests->lease.requests, &requests->lease.bytes};
    const uint64_t plus[] = {more.requests, more.bytes};
    for (unsigned i = 0; i < 2; i++)
        *has[i] = plus[i] == UINT64_MAX || *has[i] == UINT64_MAX ? UINT64_MAX : *has[i] + plus[i];
}

/* One request goes by the lease, if that covers it; what was spent is told later. */
static void spend(struct member *member)
{
    unsigned direction = (unsigned)draw(2), level = 0;
    struct requests *requests = &member->requests[direction];
    uint64_t bytes = draw(2) ? 512 : 5000;
    if (!requests->lease.requests || requests->lease.bytes < bytes)
        return;
    requests->lease.requests -= requests->lease.requests != UINT64_MAX;
    requests->lease.bytes -= requests->lease.bytes != UINT64_MAX ? bytes : 0;
    requests->spent++;
    requests->spent_bytes += bytes;
    for (struct throttle_group *group = member->group; group; group = group->parent)
        requests->beyond[level++] += units_of(group, 0, bytes) - 1;
    passes(member->group, direction, bytes);
}

static void tell_spent(struct member *member)
{
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
        struct requests *requests = &member->requests[d];
        throttle_spent(&run.tree, member->place, d, requests->spent, requests->spent_bytes,
                       requests->beyond, THROTTLE_DEPTH);
        requests->spent = requests->spent_bytes = 0;
        memset(requests->beyond, 0, sizeof requests->beyond);
    }
}

static void give_back(struct member *member)
{
    tell_spent(member);
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
        throttle_return(member->place, d);
        member->requests[d].lease = (struct throttle_lease){0};
    }
    assert_false(throttle_has_lease(member->place));
}

static void give_all_back(void)
{
    for (unsigned i = 0; i < MEMBERS; i++)
        if (run.members[i].place)
            give_back(&run.members[i]);
}

static void leave(struct member *member)
{
    if (draw(2))
        give_back(member);
    else
        tell_spent(member);
    throttle_leave(&run.tree, member->place);
    member->place = NULL;
}

static void set_limits(void)
{
    struct throttle_group *group = draw_group();
    struct limits limits = draw_limits();
    give_all_back();
    throttle_group_set(&run.tree, group, &limits);
    window_begin(&run.windows[index_of(group)]);
}

static void let_time_pass(void)
{
    uint64_t next = throttle_next(&run.tree);
    if (next != UINT64_MAX && draw(2))
        run.tree.now = next;
    else
        run.tree.now += draw(UINT64_C(1) << draw(31));
}

static void step(void)
{
    struct member *member = draw_member();
    uint64_t what = draw(100);
    if (what < 3)
        set_limits();
    else if (what < 6)
        add_group();
    else if (what < 8)
        remove_group();
    else if (what < 14)
        enter();
    else if (what < 34)
        let_time_pass();
    else if (!member)
        return;
    else if (what < 44)
        wait_for_some(member);
    else if (what < 52)
        cancel(member);
    else if (what < 55)
        let_through(member);
    else if (what < 56)
        owe(member);
    else if (what < 70)
        lease(member);
    else if (what < 88)
        spend(member);
    else if (what < 94)
        tell_spent(member);
    else if (what < 97)
        give_back(member);
    else
        leave(member);
    if (draw(4))
        dispatch();
}

/* --- Runs */

/* All that waits goes in the end. */
static void drain(void)
{
    give_all_back();
    for (unsigned n = 0;; n++) {
        assert_true(n < 100000);
        dispatch();
        uint64_t next = throttle_next(&run.tree);
        if (next == UINT64_MAX)
            break;
        run.tree.now = next;
    }
    for (unsigned i = 0; i < MEMBERS; i++)
        for (unsigned d = 0; run.members[i].place && d < THROTTLE_DIRECTIONS; d++)
            assert_int_equal(run.members[i].requests[d].seen, run.members[i].requests[d].n);
    assert_int_equal(run.tree.root->counts.waiting, 0);
}

static void all_that_can_happen_in_any_order(void **state)
{
    (void)state;
    const char *one = getenv("THROTTLE_SEED"), *many = getenv("THROTTLE_SEEDS");
    seed = one ? strtoull(one, NULL, 10) : 0;
    uint64_t end = one ? seed + 1 : many ? strtoull(many, NULL, 10) : SEEDS;
    running = true;
    for (; seed < end; seed++) {
        memset(&run, 0, sizeof run);
        run.random = seed;
        run.tree.now = SEC;
        while (!run.tree.root)
            add_group();
        enter();
        enter();
        for (unsigned i = 0; i < STEPS; i++)
            step();
        drain();
        throttle_tree_fini(&run.tree);
    }
    running = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_can_happen_in_any_order),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (running)
        fprintf(stderr, "it failed with seed %llu: THROTTLE_SEED=%llu replays it\n",
                (unsigned long long)seed, (unsigned long long)seed);
    return failed;
}
