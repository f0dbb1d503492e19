/* Members of throttle groups as they are, with their leases: rates, the window rule, messages, and
 * what is left when they are idle. Each seed is another order of what happens. */
#include "member_rig.h"

#include <math.h>
#include <stdlib.h>

#define READ  0
#define WRITE 1
#define KIB   UINT64_C(1024)
#define MIB   UINT64_C(1048576)

static void assert_near(double value, double expected, double part)
{
    if (fabs(value - expected) > part * expected)
        fail_msg("%g is more than %g%% away from %g", value, 100 * part, expected);
}

static uint64_t longer(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static struct limits with(unsigned number, double average)
{
    struct limits limits = LIMITS_NONE;
    limits.limit[number].average = average;
    return limits;
}

/* Requests that pass in a second; the first burst is let pass before. */
static double rate(double expected)
{
    uint64_t ns = longer(NS_PER_S / 20, (uint64_t)(400e9 / expected));
    rig_advance(NS_PER_S / 10);
    members_measure();
    rig_advance(ns);
    return (double)members_passed() * 1e9 / (double)ns;
}

/* All that was leased comes back when nobody asks for anything. */
static void assert_nothing_is_left(void)
{
    rig_advance(NS_PER_S);
    const Sluice__ThrottleInfo *root = members_show(1);
    assert_true(root->leased_ops == 0 && root->leased_bytes == 0);
    assert_int_equal(root->waiting, 0);
}

static struct member *busy(unsigned direction, unsigned depth, uint64_t bytes, uint64_t think)
{
    struct member *member = members_add(1);
    members_start(member, direction, depth, bytes, think);
    return member;
}

/* --- Rates */

static void keeps_rate(const struct limits *limits, double expected, uint64_t bytes, size_t members)
{
    members_up(limits);
    for (size_t i = 0; i < members; i++)
        busy(READ, 8, bytes, 0);
    assert_near(rate(expected), expected, 0.01);
    members_down();
}

static void operations_pass_at_the_limit_s_rate(void **state)
{
    (void)state;
    const size_t members[] = {1, 7, 64};
    for (double average = 10; average <= 1e6; average *= 10)
        for (unsigned i = 0; i < 3; i++) {
            struct limits limits = with(i % 2 ? LIMIT_IOPS_READ : LIMIT_IOPS_TOTAL, average);
            keeps_rate(&limits, average, 4096, members[i]);
        }
}

static void bytes_pass_at_the_limit_s_rate(void **state)
{
    (void)state;
    const size_t members[] = {1, 7, 64};
    for (double average = 1e6; average <= 1e10; average *= 100)
        for (unsigned i = 0; i < 3; i++) {
            uint64_t bytes = average > 1e9 ? 64 * KIB : 4 * KIB;
            struct limits limits = with(i % 2 ? LIMIT_BPS_READ : LIMIT_BPS_TOTAL, average);
            keeps_rate(&limits, average / (double)bytes, bytes, members[i]);
        }
}

/* Operations hold them, then bytes do; and with a size of operations, those by bytes. */
static void the_tighter_one_of_two_limits_makes_the_rate(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct limits limits = with(LIMIT_IOPS_TOTAL, 10000);
        double expected = 10000;
        limits.limit[i % 2 ? LIMIT_BPS_READ : LIMIT_BPS_TOTAL].average = 1e9;
        if (i / 2 == 1)
            limits.limit[i % 2 ? LIMIT_BPS_READ : LIMIT_BPS_TOTAL].average =
                512 * (expected = 2000);
        if (i / 2 == 2)
            limits.iops_size = 128, expected = 2500;
        keeps_rate(&limits, expected, 512, 1 + i % 3);
    }
}

/* --- The window rule */

/* Members that think now and then, so that they lease, spend and give back all the time; others
 * wait. */
static void members_with_leases_keep_the_window_rule(void **state)
{
    (void)state;
    for (double average = 100; average <= 1e6; average *= 10)
        for (unsigned burst = 0; burst < 3; burst++) {
            struct limits limits = with(LIMIT_IOPS_TOTAL, average);
            if (burst)
                limits.limit[LIMIT_IOPS_TOTAL] = (struct limit){average, 3 * average, burst};
            limits.limit[LIMIT_BPS_TOTAL].average = 6000 * average;
            limits.iops_size = burst == 2 ? 4096 : 0;
            members_up(&limits);
            uint64_t think = (uint64_t)(40e9 / average);
            for (unsigned i = 0; i < 16; i++) {
                struct member *member =
                    busy(READ, 1 + i % 3, i % 2 ? 8192 : 512, think * (i % 5 + 1) + i * 977);
                members_start(member, WRITE, i % 2, 6144, 3 * think);
            }
            struct member *greedy = members_add(1);
            for (unsigned i = 0; i < 16; i++) {
                members_start(greedy, i % 4 > 1 ? READ : WRITE, i % 2 ? 16 : 0, 4096, 0);
                rig_advance((uint64_t)(50e9 / average));
            }
            members_down();
        }
}

/* --- Messages */

/* Members that stay below all limits go by leases, whatever the sizes of their requests. */
static void below_the_limits_few_requests_are_messages(void **state)
{
    (void)state;
    const uint64_t sizes[] = {512, 4096, 64 * KIB};
    for (unsigned i = 0; i < 9; i++) {
        struct limits limits = with(LIMIT_IOPS_TOTAL, 1e6);
        if (i / 3)
            limits.limit[LIMIT_BPS_TOTAL].average = i % 3 ? 1e11 : 1.5e9; /* of 0.8e9 used */
        if (i / 3 == 2)
            limits.iops_size = 4096, limits.limit[LIMIT_IOPS_TOTAL].average = 1e7;
        members_up(&limits);
        for (unsigned j = 0; j < 3; j++) {
            struct member *member = busy(READ, 4, sizes[i % 3], 100000);
            members_start(member, WRITE, 1 + j, sizes[(i + j) % 3], 300000);
        }
        rig_advance(NS_PER_S / 10);
        members_measure();
        rig_advance(NS_PER_S);
        assert_in_range(members_passed(), 130000, 145000); /* nobody waits */
        assert_true(members_asks() * 20 < members_passed());
        for (unsigned d = 0; d < 2; d++)
            assert_int_equal(members_show(1)->waiting, 0);
        members_down();
    }
}

/* --- Idle */

static void what_is_leased_comes_back_whatever_the_requests_were(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct limits limits = with(LIMIT_IOPS_TOTAL, 1000);
        limits.limit[LIMIT_BPS_TOTAL].average = 10.0 * (double)MIB;
        limits.iops_size = i % 2 ? 4096 : 0;
        members_up(&limits);
        struct member *one = members_add(1), *other = members_add(1);
        for (unsigned j = 0; j < 10; j++) {
            members_start(one, READ, 100, 512, 0);
            members_start(other, j % 2, 10, i / 2 ? 64 * KIB : 8192, 0);
            rig_advance(NS_PER_S / 5);
            members_start(one, READ, 0, 512, 0);
            members_start(other, j % 2, 0, 512, 0);
            rig_advance(2 * NS_PER_S);
            assert_nothing_is_left();
        }
        members_down();
    }
}

static void one_busy_member_among_63_idle_ones_gets_the_whole_rate_soon(void **state)
{
    (void)state;
    for (double average = 1000; average <= 1e6; average *= 10) {
        struct limits limits = with(LIMIT_IOPS_TOTAL, average);
        members_up(&limits);
        for (unsigned i = 0; i < 63; i++) /* one request, and the lease that it took */
            members_start(busy(READ, 1, 4096, NS_PER_S), READ, 0, 4096, 0);
        busy(READ, 32, 4096, 0);
        rig_advance(30 * NS_PER_MS);
        members_measure();
        for (unsigned i = 1; i <= 50; i++) {
            rig_advance(NS_PER_MS);
            assert_true((double)members_passed() >= 0.995 * average * i / 1000 - 1);
        }
        members_down();
    }
}

static void a_second_busy_member_has_its_half_within_50_ms(void **state)
{
    (void)state;
    for (double average = 1000; average <= 1e6; average *= 10) {
        struct limits limits = with(LIMIT_IOPS_TOTAL, average);
        members_up(&limits);
        struct member *first = busy(READ, 32, 4096, 0);
        rig_advance(NS_PER_S / 5);
        struct member *second = busy(WRITE, 4, 4096, 0);
        rig_advance(50 * NS_PER_MS);
        members_measure();
        for (unsigned i = 1; i <= 50; i++) {
            rig_advance(NS_PER_MS);
            assert_true((double)first->streams[READ].passed >= 0.4975 * average * i / 1000 - 1);
            assert_true((double)second->streams[WRITE].passed >= 0.4975 * average * i / 1000 - 1);
        }
        members_down();
    }
}

/* --- All of it, at random */

static uint64_t draw(uint64_t *random, uint64_t n)
{
    *random = *random * 6364136223846793005U + 1442695040888963407U;
    return (*random >> 33) % n;
}

/* Operations and bytes together more often than not. */
static struct limits draw_limits(uint64_t *random)
{
    struct limits limits = LIMITS_NONE;
    for (unsigned i = 0; i < LIMITS; i++) {
        if (draw(random, 3) == 0 || (i % 3 && limits.limit[i - i % 3].average > 0))
            continue;
        struct limit *limit = &limits.limit[i];
        limit->average = (i < LIMIT_BPS_TOTAL ? 1 : 4096) * pow(10, (double)(1 + draw(random, 5)));
        if (draw(random, 2)) {
            limit->maximum = limit->average * (double)(1 + draw(random, 20));
            limit->burst_length = (double)(1 + draw(random, 3));
        }
    }
    for (unsigned i = LIMIT_IOPS_TOTAL; i <= LIMIT_IOPS_WRITE; i++)
        if (limits.limit[i].average > 0 && !draw(random, 4))
            limits.iops_size = 4096;
    assert_int_equal(limits_check(&limits, NULL), 0);
    return limits;
}

static void step(uint64_t *random, struct member **members, unsigned n)
{
    static const uint64_t sizes[] = {0, 512, 4096, 6000, 65536, 1048576, UINT64_C(1) << 40};
    struct member *member = members[draw(random, n)];
    unsigned direction = (unsigned)draw(random, 2);
    switch (draw(random, 11)) {
    case 0: {
        struct limits limits = draw_limits(random);
        members_set(1 + draw(random, 3), &limits);
        break;
    }
    case 1:
        members_join(member, draw(random, 4));
        break;
    case 2:
        members_cancel(member, direction);
        break;
    case 3:
        members_open(member, draw(random, 2));
        break;
    case 4:
    case 5:
    case 6:
        member->streams[direction].small_every = draw(random, 4);
        member->streams[direction].keeps_every = draw(random, 3);
        member->streams[direction].at_once = draw(random, 2);
        members_start(member, direction, (unsigned)draw(random, 40),
                      sizes[draw(random, draw(random, 9) ? 6 : 7)],
                      1000 + draw(random, UINT64_C(1) << (14 + draw(random, 10))));
        break;
    default:
        rig_advance(draw(random, UINT64_C(1) << (10 + draw(random, 17))));
    }
}

/* The window rule holds, also when limits change while leases are out; nothing is lost or stuck,
 * and nothing stays leased. */
static void members_keep_all_rules_whatever_happens(void **state)
{
    static uint64_t random;
    (void)state;
    const char *runs = getenv("THROTTLE_RUNS"); /* of the same random numbers; 20, or as many */
    unsigned end = runs ? (unsigned)strtoul(runs, NULL, 10) : 20;
    for (unsigned run = 0; run < end; run++) {
        struct limits limits = draw_limits(&random);
        struct member *members[5];
        members_up(&limits);
        for (unsigned i = 0; i < 2; i++) {
            limits = draw_limits(&random);
            members_group(1 + draw(&random, i + 1), &limits);
        }
        for (unsigned i = 0; i < 5; i++)
            members[i] = members_add(1 + draw(&random, 3));
        for (unsigned i = 0; i < 100; i++)
            step(&random, members, 5);
        for (unsigned i = 0; i < 10; i++)
            members_start(members[i / 2], i % 2, 0, 512, 0);
        for (unsigned i = 0; i < 5; i++)
            members_open(members[i], false);
        rig_advance(3600 * NS_PER_S);
        limits = LIMITS_NONE; /* those that need days */
        for (unsigned i = 1; i <= 3; i++)
            members_set(i, &limits);
        assert_nothing_is_left();
        for (unsigned i = 0; i < 10; i++)
            assert_int_equal(members[i / 2]->streams[i % 2].running, 0);
        members_down();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_pass_at_the_limit_s_rate),
        cmocka_unit_test(bytes_pass_at_the_limit_s_rate),
        cmocka_unit_test(the_tighter_one_of_two_limits_makes_the_rate),
        cmocka_unit_test(members_with_leases_keep_the_window_rule),
        cmocka_unit_test(below_the_limits_few_requests_are_messages),
        cmocka_unit_test(what_is_leased_comes_back_whatever_the_requests_were),
        cmocka_unit_test(one_busy_member_among_63_idle_ones_gets_the_whole_rate_soon),
        cmocka_unit_test(a_second_busy_member_has_its_half_within_50_ms),
        cmocka_unit_test(members_keep_all_rules_whatever_happens),
    };
    int failed = 0;
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
