/* Trees of throttle groups, in virtual time: rates, turns, latencies. That the window rule
 * holds is checked with each request (see crowd_rig.h). */
#include "crowd_rig.h"

#include <stdlib.h>

#define READ  THROTTLE_READ
#define WRITE THROTTLE_WRITE

static uint64_t longer(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Lets the first burst pass, and then measures 1000 requests, or a tenth of a second. */
static void run(struct crowd *crowd, double rate)
{
    crowd_run(crowd, SEC / 10);
    crowd_measure(crowd);
    crowd_run(crowd, longer(SEC / 10, (uint64_t)(1000e9 / rate)));
}

/* --- Rates */

static void crowd_keeps_rate(unsigned number, double average, double rate, uint64_t bytes,
                             size_t members)
{
    struct limits limits = crowd_limits(number, average);
    struct crowd *crowd = crowd_new(&limits);
    for (size_t i = 0; i < members; i++)
        crowd_member(crowd, crowd->tree.root);
    for (size_t i = 0; i < members; i++)
        crowd_start(crowd, &crowd->members[i], READ, 8, bytes, 0);
    run(crowd, rate);
    assert_near(crowd_rate(crowd), rate, 0.005);
    crowd_free(&crowd);
}

static void operations_pass_at_the_limit_s_rate(void **state)
{
    (void)state;
    const size_t members[] = {1, 2, 7, 64};
    for (double rate = 10; rate <= 1e6; rate *= 10)
        for (unsigned i = 0; i < 4; i++) {
            crowd_keeps_rate(LIMIT_IOPS_TOTAL, rate, rate, 4096, members[i]);
            crowd_keeps_rate(LIMIT_IOPS_READ, rate, rate, 4096, members[i]);
        }
}

static void bytes_pass_at_the_limit_s_rate(void **state)
{
    (void)state;
    const size_t members[] = {1, 2, 64};
    for (uint64_t rate = MIB; rate <= 10 * GIB; rate *= 10)
        for (unsigned i = 0; i < 3; i++) {
            uint64_t bytes = rate > GIB ? 64 * KIB : 4 * KIB;
            double average = (double)rate;
            crowd_keeps_rate(LIMIT_BPS_TOTAL, average, average / (double)bytes, bytes, members[i]);
            crowd_keeps_rate(LIMIT_BPS_READ, average, average / (double)bytes, bytes, members[i]);
        }
    crowd_keeps_rate(LIMIT_BPS_TOTAL, 10.0 * GIB, 10 * 16384, 64 * KIB, 64);
}

/* --- Turns */

static void equally_greedy_members_get_the_same_and_wait_as_long(void **state)
{
    (void)state;
    const size_t members[] = {2, 5, 64};
    const unsigned depths[] = {1, 4, 32};
    for (double rate = 10; rate <= 1e6; rate *= 10)
        for (unsigned i = 0; i < 3; i++)
            for (unsigned j = 0; j < 3; j++) {
                struct limits limits = crowd_limits(LIMIT_IOPS_TOTAL, rate);
                struct crowd *crowd = crowd_new(&limits);
                double ideal = (double)members[i] * depths[j] / rate;
                crowd_fill(crowd, members[i], depths[j], 4096, 0);
                crowd_run(crowd, longer(SEC / 10, (uint64_t)(2e9 * ideal)));
                crowd_measure(crowd);
                crowd_run(crowd, longer(SEC / 10, (uint64_t)(4000e9 / rate)));
                assert_true(crowd_spread(crowd) <= 1);
                assert_true(crowd_jain(crowd) >= 0.9999);
                assert_true((double)crowd_p99(crowd) <= 1.15e9 * ideal);
                crowd_free(&crowd);
            }
}

static void members_that_answer_late_share_as_long_as_they_have_a_backlog(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_IOPS_TOTAL, 10000);
    struct crowd *crowd = crowd_new(&limits);
    for (unsigned i = 0; i < 16; i++)
        crowd_start(crowd, crowd_member(crowd, crowd->tree.root), i % 2 ? READ : WRITE, 8 + i, 4096,
                    i * 200 * US);
    run(crowd, 1000);
    assert_near(crowd_rate(crowd), 10000, 0.005);
    assert_true(crowd_jain(crowd) >= 0.9999);
    crowd_free(&crowd);
}

static void one_busy_member_among_63_idle_ones_gets_the_whole_rate_within_10_ms(void **state)
{
    (void)state;
    for (double rate = 1000; rate <= 1e6; rate *= 10) {
        struct limits limits = crowd_limits(LIMIT_IOPS_TOTAL, rate);
        struct crowd *crowd = crowd_new(&limits);
        for (unsigned i = 0; i < 63; i++) {
            struct crowd_member *idle = crowd_member(crowd, crowd->tree.root);
            crowd_start(crowd, idle, READ, 1, 4096, 0);
            idle->streams[READ].depth = 0;
        }
        struct crowd_member *busy = crowd_member(crowd, crowd->tree.root);
        crowd_start(crowd, busy, READ, 32, 4096, 0);
        crowd_run(crowd, 10 * MS);
        crowd_measure(crowd);
        for (unsigned i = 1; i <= 100; i++) {
            crowd_run(crowd, MS);
            assert_true((double)busy->streams[READ].passed >= 0.995 * rate * i / 1000 - 1);
        }
        crowd_free(&crowd);
    }
}

static void a_second_busy_member_has_its_half_within_50_ms(void **state)
{
    (void)state;
    for (double rate = 1000; rate <= 1e6; rate *= 10) {
        struct limits limits = crowd_limits(LIMIT_IOPS_TOTAL, rate);
        struct crowd *crowd = crowd_new(&limits);
        struct crowd_member *first = crowd_member(crowd, crowd->tree.root);
        struct crowd_member *second = crowd_member(crowd, crowd->tree.root);
        for (unsigned i = 0; i < 62; i++)
            crowd_member(crowd, crowd->tree.root);
        crowd_start(crowd, first, READ, 32, 4096, 0);
        crowd_run(crowd, SEC);
        crowd_start(crowd, second, WRITE, 4, 4096, 0);
        crowd_run(crowd, 50 * MS);
        crowd_measure(crowd);
        for (unsigned i = 1; i <= 100; i++) {
            crowd_run(crowd, MS);
            assert_true((double)first->streams[READ].passed >= 0.4975 * rate * i / 1000 - 1);
            assert_true((double)second->streams[WRITE].passed >= 0.4975 * rate * i / 1000 - 1);
        }
        crowd_free(&crowd);
    }
}

/* --- Sizes */

/* Two members with small requests, one with large ones. */
static struct crowd *mixed(const struct limits *limits)
{
    struct crowd *crowd = crowd_new(limits);
    crowd_start(crowd, crowd_member(crowd, crowd->tree.root), READ, 32, 512, 0);
    crowd_start(crowd, crowd_member(crowd, crowd->tree.root), READ, 4, MIB, 0);
    crowd_start(crowd, crowd_member(crowd, crowd->tree.root), READ, 2, 512, 0);
    crowd_run(crowd, SEC);
    crowd_measure(crowd);
    crowd_run(crowd, 30 * SEC);
    return crowd;
}

static void bytes_are_shared_evenly_between_small_and_large_requests(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_BPS_TOTAL, 30.0 * MIB);
    struct crowd *crowd = mixed(&limits);
    for (unsigned i = 0; i < 3; i++)
        assert_near(crowd_bytes_rate_of(crowd, &crowd->members[i], READ), 10.0 * MIB, 0.01);
    crowd_free(&crowd);
}

static void operations_are_shared_evenly_between_small_and_large_requests(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_IOPS_TOTAL, 3000);
    struct crowd *crowd = mixed(&limits);
    for (unsigned i = 0; i < 3; i++)
        assert_near(crowd_rate_of(crowd, &crowd->members[i], READ), 1000, 0.001);
    crowd_free(&crowd);
}

static void with_an_iops_size_large_requests_are_worth_many_operations(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_IOPS_TOTAL, 30000);
    limits.iops_size = 4096;
    struct crowd *crowd = mixed(&limits);
    assert_near(crowd_rate_of(crowd, &crowd->members[0], READ), 10000, 0.01);
    assert_near(crowd_rate_of(crowd, &crowd->members[1], READ), 10000.0 / 256, 0.01);
    assert_near(crowd_rate_of(crowd, &crowd->members[2], READ), 10000, 0.01);
    crowd_free(&crowd);
}

static void a_request_larger_than_the_bucket_goes_and_starves_nobody(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_BPS_TOTAL, (double)MIB); /* it holds 0.1 MiB */
    struct crowd *crowd = crowd_new(&limits);
    struct crowd_member *large = crowd_member(crowd, crowd->tree.root);
    struct crowd_member *small = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, large, READ, 2, 4 * MIB, 0);
    crowd_start(crowd, small, READ, 2, 4 * KIB, 0);
    crowd_run(crowd, 20 * SEC);
    crowd_measure(crowd);
    crowd_run(crowd, 400 * SEC);
    assert_near(crowd_bytes_rate_of(crowd, large, READ), 0.5 * MIB, 0.02);
    assert_near(crowd_bytes_rate_of(crowd, small, READ), 0.5 * MIB, 0.02);
    assert_true(small->streams[READ].slowest < 4200 * MS);
    assert_true(large->streams[READ].slowest < 16200 * MS);
    crowd_free(&crowd);
}

/* A large request that has gone by is no reason for long turns afterwards. */
static void turns_become_short_again_when_large_requests_are_over(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_BPS_TOTAL, 10.0 * MIB);
    struct crowd *crowd = crowd_new(&limits);
    crowd_fill(crowd, 3, 4, 4 * KIB, 0);
    struct crowd_member *large = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, large, READ, 1, MIB, 0);
    large->streams[READ].depth = 0;
    crowd_run(crowd, 5 * SEC);
    crowd_measure(crowd);
    crowd_run(crowd, SEC);
    assert_near((double)crowd_p99(crowd), 1e9 * 3 * 4 / 2560, 0.15);
    crowd_free(&crowd);
}

/* The same beside members whose turns end because they have nothing more to ask. */
static void turns_become_short_again_also_beside_members_with_one_request_each(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_BPS_TOTAL, 10.0 * MIB);
    struct crowd *crowd = crowd_new(&limits);
    crowd_fill(crowd, 20, 1, 4 * KIB, 0);
    crowd_fill(crowd, 1, 32, 4 * KIB, 0);
    struct crowd_member *large = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, large, READ, 1, MIB, 0);
    large->streams[READ].depth = 0;
    crowd_run(crowd, SEC / 2);
    crowd_measure(crowd);
    crowd_run(crowd, SEC);
    for (unsigned i = 0; i < 20; i++)
        assert_near((double)crowd->members[i].streams[READ].slowest, 1e9 * 21 / 2560, 0.15);
    crowd_free(&crowd);
}

static void turns_are_short_when_a_large_request_was_alone(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_BPS_TOTAL, 10.0 * MIB);
    struct crowd *crowd = crowd_new(&limits);
    struct crowd_member *large = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, large, READ, 1, 4 * MIB, 0);
    large->streams[READ].depth = 0;
    crowd_run(crowd, 300 * MS); /* then the next may go */
    crowd_fill(crowd, 8, 4, 4 * KIB, 0);
    crowd_run(crowd, SEC);
    assert_near((double)crowd->members[8].streams[READ].slowest, 1e9 * 32 / 2560, 0.15);
    crowd_free(&crowd);
}

static void a_member_that_asks_for_little_saves_up_no_turns(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_BPS_TOTAL, 10.0 * MIB);
    struct crowd *crowd = crowd_new(&limits);
    struct crowd_member *small = crowd_member(crowd, crowd->tree.root);
    struct crowd_member *large = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, small, READ, 1, 4 * KIB, 0);
    crowd_start(crowd, large, READ, 8, MIB, 0);
    crowd_run(crowd, 20 * SEC);
    crowd_start(crowd, small, READ, 8, 4 * KIB, 0);
    crowd_measure(crowd);
    crowd_run(crowd, 4 * SEC);
    assert_near(crowd_bytes_rate_of(crowd, small, READ), 5.0 * MIB, 0.1);
    assert_near(crowd_bytes_rate_of(crowd, large, READ), 5.0 * MIB, 0.1);
    crowd_free(&crowd);
}

/* --- Directions */

static void a_read_limit_never_holds_a_write(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_IOPS_READ, 100);
    struct crowd *crowd = crowd_new(&limits);
    struct crowd_member *member = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, member, READ, 8, 4096, 0);
    crowd_start(crowd, member, WRITE, 1, 4096, 100 * US);
    run(crowd, 100);
    assert_near(crowd_rate_of(crowd, member, READ), 100, 0.005);
    assert_near(crowd_rate_of(crowd, member, WRITE), 10000, 0.005);
    assert_true(member->streams[WRITE].slowest == 0);
    crowd_free(&crowd);
}

static void reads_and_writes_have_limits_of_their_own(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_IOPS_READ, 100);
    limits.limit[LIMIT_BPS_WRITE].average = 4096.0 * 1000;
    struct crowd *crowd = crowd_new(&limits);
    struct crowd_member *member = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, member, READ, 8, 64 * KIB, 0);
    crowd_start(crowd, member, WRITE, 8, 4096, 0);
    run(crowd, 100);
    assert_near(crowd_rate_of(crowd, member, READ), 100, 0.005);
    assert_near(crowd_rate_of(crowd, member, WRITE), 1000, 0.005);
    crowd_free(&crowd);
}

static void reads_and_writes_share_a_total_evenly(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_BPS_TOTAL, 20.0 * MIB);
    struct crowd *crowd = crowd_new(&limits);
    struct crowd_member *member = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, member, READ, 16, 4 * KIB, 0);
    crowd_start(crowd, member, WRITE, 3, 256 * KIB, 0);
    run(crowd, 100);
    assert_near(crowd_bytes_rate_of(crowd, member, READ), 10.0 * MIB, 0.02);
    assert_near(crowd_bytes_rate_of(crowd, member, WRITE), 10.0 * MIB, 0.02);
    crowd_free(&crowd);
}

/* What reads could not use while a limit of their own held them is not theirs later. */
static void a_subgroup_s_reads_that_were_held_do_not_catch_up(void **state)
{
    (void)state;
    struct limits top = crowd_limits(LIMIT_IOPS_TOTAL, 1000);
    struct limits below = crowd_limits(LIMIT_IOPS_READ, 10);
    struct crowd *crowd = crowd_new(&top);
    struct throttle_group *sub = crowd_group(crowd, crowd->tree.root, &below);
    struct crowd_member *reader = crowd_member(crowd, sub),
                        *writer = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, reader, READ, 8, 4096, 0);
    crowd_start(crowd, writer, WRITE, 8, 4096, 0);
    crowd_run(crowd, 20 * SEC);
    below.limit[LIMIT_IOPS_READ].average = 0;
    crowd_set(crowd, sub, &below);
    crowd_measure(crowd);
    crowd_run(crowd, 2 * SEC);
    assert_near(crowd_rate_of(crowd, reader, READ), 500, 0.02);
    assert_near(crowd_rate_of(crowd, writer, WRITE), 500, 0.02);
    crowd_free(&crowd);
}

/* --- Groups in groups */

static void a_subgroup_at_its_limit_does_not_hold_its_sibling(void **state)
{
    (void)state;
    struct limits top = crowd_limits(LIMIT_IOPS_TOTAL, 1000);
    struct limits low = crowd_limits(LIMIT_IOPS_TOTAL, 300),
                  high = crowd_limits(LIMIT_IOPS_READ, 2000);
    struct crowd *crowd = crowd_new(&top);
    struct crowd_member *a = crowd_member(crowd, crowd_group(crowd, crowd->tree.root, &low));
    struct crowd_member *b = crowd_member(crowd, crowd_group(crowd, crowd->tree.root, &high));
    crowd_start(crowd, a, READ, 32, 4096, 0);
    crowd_start(crowd, b, READ, 2, 4096, 0);
    run(crowd, 100);
    assert_near(crowd_rate_of(crowd, a, READ), 300, 0.005);
    assert_near(crowd_rate_of(crowd, b, READ), 700, 0.005);
    crowd_free(&crowd);
}

static void subgroups_and_members_of_a_group_take_turns(void **state)
{
    (void)state;
    struct limits top = crowd_limits(LIMIT_BPS_TOTAL, 3000 * 4096.0), none = LIMITS_NONE;
    struct crowd *crowd = crowd_new(&top);
    struct throttle_group *one = crowd_group(crowd, crowd->tree.root, &none);
    struct throttle_group *two = crowd_group(crowd, crowd->tree.root, &none);
    struct crowd_member *alone = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, alone, READ, 4, 4096, 0);
    for (unsigned i = 0; i < 5; i++) {
        crowd_start(crowd, crowd_member(crowd, one), READ, 4, 4096, 0);
        crowd_start(crowd, crowd_member(crowd, two), READ, 4, 64 * KIB, 0);
    }
    crowd_run(crowd, SEC);
    crowd_measure(crowd);
    crowd_run(crowd, 20 * SEC);
    assert_near(crowd_rate_of(crowd, alone, READ), 1000, 0.02);
    for (unsigned i = 0; i < 10; i++)
        assert_near(crowd_bytes_rate_of(crowd, &crowd->members[i + 1], READ), 200 * 4096, 0.02);
    crowd_free(&crowd);
}

static void each_level_s_rate_holds_and_nothing_is_left_over(void **state)
{
    (void)state;
    struct limits top = crowd_limits(LIMIT_IOPS_TOTAL, 1000),
                  middle = crowd_limits(LIMIT_IOPS_READ, 800);
    struct limits low = crowd_limits(LIMIT_BPS_TOTAL, 500 * 4096.0);
    struct crowd *crowd = crowd_new(&top);
    struct throttle_group *group = crowd_group(crowd, crowd->tree.root, &middle);
    struct crowd_member *a = crowd_member(crowd, group);
    struct crowd_member *b = crowd_member(crowd, crowd_group(crowd, group, &low));
    struct crowd_member *c = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, b, READ, 8, 4096, 0);
    run(crowd, 500);
    assert_near(crowd_rate_of(crowd, b, READ), 500, 0.005);
    crowd_start(crowd, a, READ, 8, 4096, 0);
    run(crowd, 800);
    assert_near(crowd_rate_of(crowd, b, READ), 400, 0.01);
    assert_near(crowd_rate_of(crowd, a, READ), 400, 0.01);
    crowd_start(crowd, c, WRITE, 8, 4096, 0);
    run(crowd, 1000);
    assert_near(crowd_rate_of(crowd, c, WRITE), 500, 0.01);
    assert_near(crowd_rate_of(crowd, b, READ), 250, 0.01);
    crowd_start(crowd, c, WRITE, 0, 4096, 0);
    crowd_run(crowd, SEC);
    run(crowd, 800);
    assert_near(crowd_rate(crowd), 800, 0.005);
    crowd_free(&crowd);
}

/* Where the group above is at no limit of its own, its order of directions means nothing to groups
 * below. */
static void reads_and_writes_share_a_subgroup_s_total_evenly(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct limits top = crowd_limits(i ? LIMIT_IOPS_TOTAL : LIMIT_BPS_WRITE, 1e6);
        struct limits low = crowd_limits(LIMIT_IOPS_TOTAL, 100), none = LIMITS_NONE;
        struct crowd *crowd = crowd_new(&top);
        struct throttle_group *middle = crowd_group(crowd, crowd->tree.root, i == 2 ? &low : &none);
        struct crowd_member *both = crowd_member(crowd, crowd_group(crowd, middle, &low));
        struct crowd_member *sibling =
            crowd_member(crowd, crowd_group(crowd, crowd->tree.root, &none));
        crowd_start(crowd, both, READ, 4, 4096, 0);
        crowd_start(crowd, both, WRITE, 4, 512, 0);
        crowd_start(crowd, sibling, i ? READ : WRITE, 1, 512, MS);
        crowd_run(crowd, SEC);
        crowd_measure(crowd);
        crowd_run(crowd, 20 * SEC);
        assert_near(crowd_rate_of(crowd, both, READ), 50, 0.02);
        assert_near(crowd_rate_of(crowd, both, WRITE), 50, 0.02);
        crowd_free(&crowd);
    }
}

/* A group that is not what holds its requests does not insist on an order of directions. */
static void a_group_below_its_limit_follows_the_order_above(void **state)
{
    (void)state;
    struct limits top = crowd_limits(LIMIT_BPS_TOTAL, 10.0 * MIB);
    struct limits low = crowd_limits(LIMIT_BPS_TOTAL, 8.0 * MIB);
    struct crowd *crowd = crowd_new(&top);
    struct crowd_member *small = crowd_member(crowd, crowd_group(crowd, crowd->tree.root, &low));
    struct crowd_member *large = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, small, READ, 8, 4 * KIB, 0);
    crowd_start(crowd, small, WRITE, 8, 4 * KIB, 0);
    crowd_start(crowd, large, WRITE, 8, 256 * KIB, 0);
    crowd_run(crowd, SEC);
    crowd_measure(crowd);
    crowd_run(crowd, 60 * SEC);
    assert_near(crowd_bytes_rate_of(crowd, small, READ), 5.0 * MIB, 0.02);
    assert_near(crowd_bytes_rate_of(crowd, small, WRITE), 2.5 * MIB, 0.02);
    assert_near(crowd_bytes_rate_of(crowd, large, WRITE), 2.5 * MIB, 0.02);
    crowd_free(&crowd);
}

/* Nor does one whose other direction is held, by itself or below: a sibling would have its share.
 */
static void a_group_whose_writes_are_held_goes_on_reading(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct limits top = crowd_limits(LIMIT_IOPS_TOTAL, 100);
        struct limits low = crowd_limits(LIMIT_IOPS_TOTAL, 5); /* it holds half of one */
        struct limits writes = crowd_limits(LIMIT_BPS_WRITE, 0.5 * 4096);
        if (!i)
            low.limit[LIMIT_BPS_WRITE] = writes.limit[LIMIT_BPS_WRITE];
        struct crowd *crowd = crowd_new(&top);
        struct throttle_group *group = crowd_group(crowd, crowd->tree.root, &low);
        struct throttle_group *below = crowd_group(crowd, group, &writes);
        struct crowd_member *reader = crowd_member(crowd, group);
        struct crowd_member *writer = crowd_member(crowd, i ? below : group);
        struct crowd_member *sibling = crowd_member(crowd, crowd->tree.root);
        crowd_start(crowd, reader, READ, 4, 4096, 0);
        crowd_start(crowd, writer, WRITE, 4, 4096, 0);
        crowd_start(crowd, sibling, READ, 2, 4096, 0);
        crowd_run(crowd, SEC);
        crowd_measure(crowd);
        crowd_run(crowd, 200 * SEC);
        assert_near(crowd_rate_of(crowd, reader, READ), 4.5, 0.02);
        assert_near(crowd_rate_of(crowd, writer, WRITE), 0.5, 0.02);
        crowd_free(&crowd);
    }
}

/* Small requests of a group that is at its own limit, beside large ones: its turns are not saved
 * up. */
static void a_subgroup_that_was_held_does_not_catch_up_at_its_sibling_s_cost(void **state)
{
    (void)state;
    struct limits top = crowd_limits(LIMIT_BPS_TOTAL, 10.0 * MIB), none = LIMITS_NONE;
    struct limits low = crowd_limits(LIMIT_IOPS_TOTAL, 10);
    struct crowd *crowd = crowd_new(&top);
    struct throttle_group *sub = crowd_group(crowd, crowd->tree.root, &low);
    struct crowd_member *small = crowd_member(crowd, sub),
                        *large = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, small, READ, 8, 4 * KIB, 0);
    crowd_start(crowd, large, READ, 8, MIB, 0);
    crowd_run(crowd, 20 * SEC);
    crowd_set(crowd, sub, &none);
    crowd_measure(crowd);
    crowd_run(crowd, 4 * SEC);
    assert_near(crowd_bytes_rate_of(crowd, large, READ), 5.0 * MIB, 0.1);
    assert_near(crowd_bytes_rate_of(crowd, small, READ), 5.0 * MIB, 0.1);
    crowd_free(&crowd);
}

/* --- Other limits */

static void other_limits_count_at_once_and_levels_begin_empty(void **state)
{
    (void)state;
    struct limits limits = crowd_limits(LIMIT_IOPS_TOTAL, 1);
    struct crowd *crowd = crowd_new(&limits);
    struct crowd_member *member = crowd_member(crowd, crowd->tree.root);
    crowd_start(crowd, member, READ, 16, 4096, SEC);
    crowd_run(crowd, 2 * SEC);
    limits = crowd_limits(LIMIT_IOPS_TOTAL, 100);
    crowd_set(crowd, crowd->tree.root, &limits);
    crowd_measure(crowd);
    crowd_run(crowd, 0);
    assert_int_equal(member->streams[READ].passed, 11); /* a tenth of a second's worth, and one */
    crowd_run(crowd, 20 * MS);
    assert_int_equal(member->streams[READ].passed, 13);
    limits = LIMITS_NONE;
    crowd_set(crowd, crowd->tree.root, &limits);
    crowd_run(crowd, 0);
    assert_true(throttle_next(&crowd->tree) == UINT64_MAX);
    assert_int_equal(member->place->counts.waiting, 0);
    crowd_free(&crowd);
}

/* What was had before is in another measure. */
static void other_limits_begin_the_turns_anew(void **state)
{
    (void)state;
    struct limits low = crowd_limits(LIMIT_IOPS_TOTAL, 10), high = crowd_limits(0, 100);
    struct crowd *crowd = crowd_new(&low);
    for (unsigned i = 0; i < 4; i++)
        crowd_start(crowd, crowd_member(crowd, crowd->tree.root), i % 2 ? READ : WRITE, 32, 4096,
                    0);
    crowd_run(crowd, 2 * SEC + 150 * MS); /* until one direction has had more */
    assert_true(crowd->nlatencies % 2);
    crowd_set(crowd, crowd->tree.root, &high);
    crowd_measure(crowd);
    crowd_run(crowd, 0);
    assert_int_equal(crowd->nlatencies, 11);
    assert_true(crowd_spread(crowd) <= 1);
    crowd_free(&crowd);
}

static void what_is_left_of_a_turn_is_gone_with_other_limits(void **state)
{
    (void)state;
    struct limits low = crowd_limits(LIMIT_BPS_TOTAL, 10 * 4096);
    struct limits high = crowd_limits(LIMIT_BPS_TOTAL, 100 * 4096);
    struct crowd *crowd = crowd_new(&low);
    crowd_fill(crowd, 2, 32, 4096, 0);
    crowd_fill(crowd, 1, 4, 40960, 0);
    crowd_run(crowd, SEC + 350 * MS); /* the first one is in the midst of ten */
    assert_in_range(crowd->members[0].streams[READ].passed, 2, 8);
    crowd_set(crowd, crowd->tree.root, &high);
    crowd_measure(crowd);
    crowd_run(crowd, 0);
    assert_int_equal(crowd->members[0].streams[READ].passed, 1);
    crowd_free(&crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_pass_at_the_limit_s_rate),
        cmocka_unit_test(bytes_pass_at_the_limit_s_rate),
        cmocka_unit_test(equally_greedy_members_get_the_same_and_wait_as_long),
        cmocka_unit_test(members_that_answer_late_share_as_long_as_they_have_a_backlog),
        cmocka_unit_test(one_busy_member_among_63_idle_ones_gets_the_whole_rate_within_10_ms),
        cmocka_unit_test(a_second_busy_member_has_its_half_within_50_ms),
        cmocka_unit_test(bytes_are_shared_evenly_between_small_and_large_requests),
        cmocka_unit_test(operations_are_shared_evenly_between_small_and_large_requests),
        cmocka_unit_test(with_an_iops_size_large_requests_are_worth_many_operations),
        cmocka_unit_test(a_request_larger_than_the_bucket_goes_and_starves_nobody),
        cmocka_unit_test(turns_become_short_again_when_large_requests_are_over),
        cmocka_unit_test(turns_become_short_again_also_beside_members_with_one_request_each),
        cmocka_unit_test(turns_are_short_when_a_large_request_was_alone),
        cmocka_unit_test(a_member_that_asks_for_little_saves_up_no_turns),
        cmocka_unit_test(a_read_limit_never_holds_a_write),
        cmocka_unit_test(reads_and_writes_have_limits_of_their_own),
        cmocka_unit_test(reads_and_writes_share_a_total_evenly),
        cmocka_unit_test(a_subgroup_s_reads_that_were_held_do_not_catch_up),
        cmocka_unit_test(a_subgroup_at_its_limit_does_not_hold_its_sibling),
        cmocka_unit_test(subgroups_and_members_of_a_group_take_turns),
        cmocka_unit_test(each_level_s_rate_holds_and_nothing_is_left_over),
        cmocka_unit_test(reads_and_writes_share_a_subgroup_s_total_evenly),
        cmocka_unit_test(a_group_below_its_limit_follows_the_order_above),
        cmocka_unit_test(a_group_whose_writes_are_held_goes_on_reading),
        cmocka_unit_test(a_subgroup_that_was_held_does_not_catch_up_at_its_sibling_s_cost),
        cmocka_unit_test(other_limits_count_at_once_and_levels_begin_empty),
        cmocka_unit_test(other_limits_begin_the_turns_anew),
        cmocka_unit_test(what_is_left_of_a_turn_is_gone_with_other_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
