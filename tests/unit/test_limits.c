/* The limits of throttle groups: what is refused, in which words, and the arithmetic of
 * the buckets. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "actors/limits.h"

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

static struct limits with(unsigned number, double average, double maximum, double burst_length)
{
    struct limits limits = LIMITS_NONE;
    limits.limit[number] = (struct limit){average, maximum, burst_length};
    return limits;
}

static void allowed(struct limits limits)
{
    struct err err = {0};
    assert_int_equal(limits_check(&limits, &err), 0);
    assert_int_equal(err.code, 0);
    assert_string_equal(err.text, "");
}

static void refused(struct limits limits, const char *field, const char *sentence)
{
    struct err err = {0};
    assert_int_equal(limits_check(&limits, &err), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.text, sentence);
    assert_string_equal(err.field, field);
    assert_int_equal(limits_check(&limits, NULL), -EINVAL);
}

/* --- Checks */

static void no_limits_and_each_limit_alone_are_allowed(void **state)
{
    (void)state;
    allowed(LIMITS_NONE);
    for (unsigned i = 0; i < LIMITS; i++) {
        allowed(with(i, 100, 0, 1));
        allowed(with(i, 100, 100, 1));
        allowed(with(i, 100, 1000, 60));
        allowed(with(i, 0.5, 0, 1));
    }
}

static void reads_and_writes_may_be_limited_apart_and_units_independently(void **state)
{
    (void)state;
    struct limits limits = with(LIMIT_IOPS_READ, 100, 200, 2);
    limits.limit[LIMIT_IOPS_WRITE] = (struct limit){50, 0, 1};
    limits.limit[LIMIT_BPS_TOTAL] = (struct limit){1e6, 2e6, 1};
    allowed(limits);
}

static void total_together_with_read_or_write_of_the_same_unit_is_refused(void **state)
{
    (void)state;
    for (unsigned total = LIMIT_IOPS_TOTAL; total <= LIMIT_BPS_TOTAL; total += 3)
        for (unsigned number = total + 1; number < total + 3; number++) {
            char sentence[200];
            struct limits limits = with(total, 100, 0, 1);
            limits.limit[number].average = 50;
            snprintf(sentence, sizeof sentence,
                     "%s and %s can't be limited together; set one of them to 0",
                     limit_names[total], limit_names[number]);
            refused(limits, limit_names[number], sentence);
            limits.limit[total].maximum = 200;
            snprintf(sentence, sizeof sentence,
                     "%s and %s can't be limited together; set one of them, and its -max, to 0",
                     limit_names[total], limit_names[number]);
            refused(limits, limit_names[number], sentence);
            limits.limit[number].maximum = 200;
            refused(limits, limit_names[number], sentence);
            struct limits obeyed = limits;
            obeyed.limit[number] = (struct limit){0, 0, 1};
            allowed(obeyed);
            limits.limit[total].average = 0; /* the maxima alone are enough */
            snprintf(sentence, sizeof sentence,
                     "%s-max and %s-max can't be limited together; set one of them to 0",
                     limit_names[total], limit_names[number]);
            refused(limits, limit_names[number], sentence);
            limits.limit[total].maximum = 0;
            allowed(limits);
        }
}

static void an_iops_size_without_a_limit_of_operations_is_refused(void **state)
{
    (void)state;
    struct limits limits = with(LIMIT_BPS_TOTAL, 100, 0, 1);
    limits.iops_size = 4096;
    refused(limits, "iops-size",
            "iops-size is 4096 bytes, but no operations are limited; set iops-total, iops-read or "
            "iops-write, or an iops-size of 0");
    for (unsigned i = LIMIT_IOPS_TOTAL; i <= LIMIT_IOPS_WRITE; i++) {
        limits = with(i, 100, 0, 1);
        limits.iops_size = 4096;
        allowed(limits);
        limits.iops_size = UINT64_C(1000000000000000);
        allowed(limits);
        limits.iops_size++;
        refused(limits, "iops-size",
                "iops-size is 1000000000000001 bytes, but is 0 (off) to 10^15");
    }
}

static void values_below_0_or_above_10_to_the_15_are_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LIMITS; i++) {
        char sentence[200];
        snprintf(sentence, sizeof sentence, "%s is -1, but a limit is 0 (none) to 10^15",
                 limit_names[i]);
        refused(with(i, -1, 0, 1), limit_names[i], sentence);
        snprintf(sentence, sizeof sentence, "%s-max is -7, but a limit is 0 (none) to 10^15",
                 limit_names[i]);
        refused(with(i, 5, -7, 1), limit_names[i], sentence);
        snprintf(sentence, sizeof sentence,
                 "%s is 1000000000000001, but a limit is 0 (none) to 10^15", limit_names[i]);
        refused(with(i, 1e15 + 1, 0, 1), limit_names[i], sentence);
        snprintf(sentence, sizeof sentence, "%s-max is inf, but a limit is 0 (none) to 10^15",
                 limit_names[i]);
        refused(with(i, 5, (double)INFINITY, 1), limit_names[i], sentence);
        allowed(with(i, 1e15, 0, 1));
        allowed(with(i, 1e15, 1e15, 1));
    }
    struct limits limits = with(LIMIT_IOPS_READ, (double)NAN, 0, 1);
    assert_int_equal(limits_check(&limits, NULL), -EINVAL);
}

static void a_value_that_is_refused_is_told_as_it_was_given(void **state)
{
    (void)state;
    refused(with(LIMIT_IOPS_READ, -0.25, 0, 1), "iops-read",
            "iops-read is -0.25, but a limit is 0 (none) to 10^15");
    refused(with(LIMIT_IOPS_READ, 0.5, 0.25, 1), "iops-read",
            "iops-read-max is 0.25, less than iops-read, which is 0.5; set iops-read-max to 0, "
            "or higher");
}

static void a_burst_length_of_0_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LIMITS; i++) {
        char sentence[200];
        snprintf(sentence, sizeof sentence,
                 "%s-max-length is 0, but a burst lasts 1 second or more", limit_names[i]);
        refused(with(i, 0, 0, 0), limit_names[i], sentence);
        refused(with(i, 100, 200, 0), limit_names[i], sentence);
    }
    struct limits limits = with(LIMIT_BPS_READ, 100, 200, (double)NAN);
    assert_int_equal(limits_check(&limits, NULL), -EINVAL);
}

static void a_burst_length_above_1_without_a_maximum_is_refused(void **state)
{
    (void)state;
    refused(with(LIMIT_BPS_WRITE, 100, 0, 2), "bps-write",
            "bps-write-max-length is 2, but there is no bps-write-max, which it is the length of; "
            "set that, or a length of 1");
    allowed(with(LIMIT_BPS_WRITE, 100, 0, 1));
}

static void a_burst_of_more_than_10_to_the_15_in_all_is_refused(void **state)
{
    (void)state;
    refused(with(LIMIT_BPS_TOTAL, 100, 1e14, 11), "bps-total",
            "bps-total-max of 100000000000000 for 11 seconds is more than 10^15 in all; set a "
            "lower bps-total-max or bps-total-max-length");
    allowed(with(LIMIT_BPS_TOTAL, 100, 1e14, 10));
}

static void a_maximum_without_an_average_is_refused(void **state)
{
    (void)state;
    refused(with(LIMIT_IOPS_WRITE, 0, 100, 1), "iops-write",
            "iops-write-max is 100, but there is no iops-write, which bursts go beyond; set that, "
            "or iops-write-max to 0");
}

static void a_maximum_below_the_average_is_refused(void **state)
{
    (void)state;
    refused(with(LIMIT_IOPS_TOTAL, 100, 99, 1), "iops-total",
            "iops-total-max is 99, less than iops-total, which is 100; set iops-total-max to 0, "
            "or higher");
    allowed(with(LIMIT_IOPS_TOTAL, 100, 100, 1));
}

/* --- Operations */

static void a_request_is_worth_its_size_in_operations_with_fractions_and_1_at_least(void **state)
{
    (void)state;
    assert_true(limits_ops(0, 1 << 30) == 1);
    assert_true(limits_ops(4096, 0) == 1);
    assert_true(limits_ops(4096, 512) == 1);
    assert_true(limits_ops(4096, 4096) == 1);
    assert_true(limits_ops(4096, 6144) == 1.5);
    assert_true(limits_ops(4096, 1 << 20) == 256);
}

/* --- Buckets */

/* What passes in `ns` when there is always one more request of 1 unit. */
static double greedy(const struct limit *limit, struct bucket *bucket, uint64_t ns)
{
    double passed = 0;
    for (uint64_t now = 0;;) {
        double wait = bucket_wait(bucket, limit);
        if (wait > 0) {
            if (now + (uint64_t)wait > ns)
                return passed;
            now += (uint64_t)wait;
            bucket_leak(bucket, limit, (uint64_t)wait);
            continue;
        }
        bucket_add(bucket, 1);
        passed++;
    }
}

/* Seconds until the first request has to wait, when they come at the rate of the maximum. */
static double burst(double average, double maximum, double length)
{
    struct limit limit = {average, maximum, length};
    struct bucket bucket = {0};
    uint64_t step = (uint64_t)(1e9 / maximum);
    for (uint64_t now = 0;; now += step) {
        assert_true(now < 60 * S);
        if (bucket_wait(&bucket, &limit) > 0)
            return (double)now / 1e9;
        bucket_add(&bucket, 1);
        bucket_leak(&bucket, &limit, step);
    }
}

static void near(double value, double expected, double part)
{
    if (fabs(value - expected) > part * expected)
        fail_msg("%g is more than %g%% away from %g", value, 100 * part, expected);
}

static void a_burst_at_the_maximum_lasts_until_the_bucket_is_full(void **state)
{
    (void)state;
    near(burst(10, 200, 2), 400.0 / 190, 0.01);
    near(burst(100, 700, 4), 28.0 / 6, 0.01);
    near(burst(1000, 7000, 4), 28.0 / 6, 0.01);
    near(burst(10, 20, 1), 2, 0.06); /* 20 at most, in whole requests */
}

/* The burst level lets max / 10 go at once, then `max` a second; what was ahead of that rate is
 * missing at the burst's end, so that all in all it is as long. */
static void a_greedy_burst_passes_the_maximum_for_the_burst_s_time(void **state)
{
    (void)state;
    struct limit limit = {10, 200, 2};
    near(greedy(&limit, &(struct bucket){0}, 1 * S), 20 + 200, 0.01);
    near(greedy(&limit, &(struct bucket){0}, 2105 * MS), 200 * 2.105, 0.01);
    near(greedy(&limit, &(struct bucket){0}, 12 * S), 400 + 10 * 12, 0.01);
    limit = (struct limit){1000, 7000, 4};
    near(greedy(&limit, &(struct bucket){0}, 4667 * MS), 7000 * 4.667, 0.01);
    near(greedy(&limit, &(struct bucket){0}, 10 * S), 28000 + 1000 * 10, 0.01);
}

static void with_a_burst_length_of_1_the_maximum_goes_at_once(void **state)
{
    (void)state;
    struct limit limit = {10, 200, 1};
    struct bucket bucket = {0};
    assert_true(greedy(&limit, &bucket, 0) == 201); /* the last one overshoots */
    assert_true(bucket_wait(&bucket, &limit) == 1e8);
    near(greedy(&limit, &bucket, 100 * S), 1000, 0.002);
}

static void without_a_maximum_a_tenth_of_a_second_s_worth_goes_at_once(void **state)
{
    (void)state;
    struct limit limit = {1000, 0, 1};
    struct bucket bucket = {0};
    assert_true(limit_size(&limit) == 100);
    assert_true(isinf(limit_burst_size(&limit)));
    assert_true(greedy(&limit, &bucket, 0) == 101);
    assert_true(bucket_wait(&bucket, &limit) == 1e6);
}

static void the_longer_wait_of_both_levels_counts(void **state)
{
    (void)state;
    struct limit limit = {10, 200, 2};
    assert_true(bucket_wait(&(struct bucket){.level = 400, .burst = 20}, &limit) == 0);
    assert_true(bucket_wait(&(struct bucket){.level = 401, .burst = 20}, &limit) == 1e8);
    assert_true(bucket_wait(&(struct bucket){.level = 400, .burst = 22}, &limit) == 1e7);
    assert_true(bucket_wait(&(struct bucket){.level = 401, .burst = 22}, &limit) == 1e8);
    assert_true(bucket_wait(&(struct bucket){.level = 401, .burst = 60}, &limit) == 2e8);
}

static void a_level_leaks_at_its_rate_and_not_below_0(void **state)
{
    (void)state;
    struct limit limit = {10, 200, 2};
    struct bucket bucket = {.level = 100, .burst = 100};
    bucket_leak(&bucket, &limit, 250 * MS);
    assert_true(bucket.level == 97.5 && bucket.burst == 50);
    bucket_leak(&bucket, &limit, 1 * S);
    assert_true(bucket.level == 87.5 && bucket.burst == 0);
    bucket_leak(&bucket, &limit, UINT64_MAX);
    assert_true(bucket.level == 0 && bucket.burst == 0);
}

static void what_is_reserved_stands_in_the_way_and_does_not_leak(void **state)
{
    (void)state;
    struct limit limit = {10, 200, 2};
    struct bucket bucket = {.level = 390, .burst = 8, .reserved = 12};
    assert_true(bucket_room(&bucket, &limit) == -2);
    assert_true(bucket_wait(&bucket, &limit) == 2e8);
    bucket_leak(&bucket, &limit, 200 * MS);
    assert_true(bucket.reserved == 12 && bucket_wait(&bucket, &limit) == 0);
    assert_true(bucket_room(&bucket, &limit) == 0);
    bucket = (struct bucket){.burst = 15, .reserved = 3};
    assert_true(bucket_room(&bucket, &limit) == 2); /* of the burst level */
    bucket.reserved = 6;
    assert_true(bucket_wait(&bucket, &limit) == 5e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_limits_and_each_limit_alone_are_allowed),
        cmocka_unit_test(reads_and_writes_may_be_limited_apart_and_units_independently),
        cmocka_unit_test(total_together_with_read_or_write_of_the_same_unit_is_refused),
        cmocka_unit_test(an_iops_size_without_a_limit_of_operations_is_refused),
        cmocka_unit_test(values_below_0_or_above_10_to_the_15_are_refused),
        cmocka_unit_test(a_value_that_is_refused_is_told_as_it_was_given),
        cmocka_unit_test(a_burst_length_of_0_is_refused),
        cmocka_unit_test(a_burst_length_above_1_without_a_maximum_is_refused),
        cmocka_unit_test(a_burst_of_more_than_10_to_the_15_in_all_is_refused),
        cmocka_unit_test(a_maximum_without_an_average_is_refused),
        cmocka_unit_test(a_maximum_below_the_average_is_refused),
        cmocka_unit_test(a_request_is_worth_its_size_in_operations_with_fractions_and_1_at_least),
        cmocka_unit_test(a_burst_at_the_maximum_lasts_until_the_bucket_is_full),
        cmocka_unit_test(a_greedy_burst_passes_the_maximum_for_the_burst_s_time),
        cmocka_unit_test(with_a_burst_length_of_1_the_maximum_goes_at_once),
        cmocka_unit_test(without_a_maximum_a_tenth_of_a_second_s_worth_goes_at_once),
        cmocka_unit_test(the_longer_wait_of_both_levels_counts),
        cmocka_unit_test(a_level_leaks_at_its_rate_and_not_below_0),
        cmocka_unit_test(what_is_reserved_stands_in_the_way_and_does_not_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
