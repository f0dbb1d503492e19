/* What a backend counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/account.h"
#include "engine/clock.h"

#define T0 (100 * NS_PER_S)

static void requests_are_counted_by_kind_with_their_bytes_and_time(void **state)
{
    (void)state;
    struct account account = {0};
    for (uint64_t i = 1; i <= 10; i++)
        account_done(&account, OP_READ, 4096, T0, T0 + i * NS_PER_US);
    account_done(&account, OP_WRITE, 512, T0, T0 + 7);
    account_settle(&account, T0 + NS_PER_S);
    assert_int_equal(account.kinds[OP_READ].operations, 10);
    assert_int_equal(account.kinds[OP_READ].bytes, 40960);
    assert_int_equal(account.kinds[OP_READ].time, 55 * NS_PER_US);
    assert_int_equal(account.kinds[OP_WRITE].operations, 1);
    assert_int_equal(account.kinds[OP_WRITE].bytes, 512);
    assert_int_equal(account.kinds[OP_WRITE].time, 7);
    assert_int_equal(account.kinds[OP_FLUSH].operations, 0);
    account_fini(&account);
}

static void a_run_of_equal_latencies_counts_each_of_them(void **state)
{
    (void)state;
    struct account account = {0};
    for (unsigned i = 0; i < 1000; i++)
        account_done(&account, OP_READ, 1, T0 + i, T0 + i + 5000);
    account_done(&account, OP_READ, 1, T0, T0 + 9000);
    account_settle(&account, T0 + NS_PER_S);
    const struct histogram *latencies = account.kinds[OP_READ].latencies;
    assert_int_equal(latencies->count, 1001);
    assert_int_equal(latencies->min, 5000);
    assert_int_equal(latencies->max, 9000);
    assert_int_equal(account.kinds[OP_READ].time, 5009000);
    account_fini(&account);
}

static void failed_requests_count_in_latency_only_if_asked_and_invalid_ones_never(void **state)
{
    (void)state;
    struct account account = {0};
    account_failed(&account, OP_WRITE, T0, T0 + 50);
    account_invalid(&account, OP_WRITE, T0 + 60);
    account_settle(&account, T0 + 100);
    assert_int_equal(account.kinds[OP_WRITE].failed, 1);
    assert_int_equal(account.kinds[OP_WRITE].invalid, 1);
    assert_int_equal(account.kinds[OP_WRITE].operations, 0);
    assert_int_equal(account.kinds[OP_WRITE].bytes, 0);
    assert_int_equal(account.kinds[OP_WRITE].time, 0);
    assert_null(account.kinds[OP_WRITE].latencies);
    account.count_failed = true;
    account_failed(&account, OP_WRITE, T0, T0 + 70);
    account_settle(&account, T0 + 100);
    assert_int_equal(account.kinds[OP_WRITE].time, 70);
    assert_int_equal(account.kinds[OP_WRITE].latencies->count, 1);
    assert_int_equal(account.kinds[OP_WRITE].operations, 0);
    assert_int_equal(account.last, T0 + 70);
    account_fini(&account);
}

static void a_window_tells_of_its_time_only(void **state)
{
    (void)state;
    struct account account = {0};
    const uint64_t lengths[] = {NS_PER_S, 10 * NS_PER_S};
    struct account_interval short_one, long_one;
    account_set_windows(&account, lengths, 2);
    /* One slow second, then four fast ones: 100 requests a second. */
    for (uint64_t i = 0; i < 500; i++) {
        uint64_t now = T0 + i * 10 * NS_PER_MS, latency = i < 100 ? 8 * NS_PER_MS : 2 * NS_PER_MS;
        account_done(&account, OP_READ, 1, now - latency, now);
    }
    uint64_t now = T0 + 5 * NS_PER_S - 1;
    account_settle(&account, now);
    account_interval(&account, OP_READ, 0, now, &short_one);
    account_interval(&account, OP_READ, 1, now, &long_one);
    assert_int_equal(short_one.min, 2 * NS_PER_MS);
    assert_int_equal(short_one.average, 2 * NS_PER_MS);
    assert_int_equal(short_one.max, 2 * NS_PER_MS);
    assert_in_range(short_one.count, 90, 100);
    assert_true(short_one.queue_depth > 0.17 && short_one.queue_depth < 0.21);
    assert_int_equal(long_one.count, 500);
    assert_int_equal(long_one.min, 2 * NS_PER_MS);
    assert_int_equal(long_one.max, 8 * NS_PER_MS);
    assert_int_equal(long_one.average, 3200 * NS_PER_US);
    assert_true(long_one.queue_depth > 0.15 && long_one.queue_depth < 0.17);
    /* And of nothing when nothing happened lately. */
    account_interval(&account, OP_READ, 0, now + 3 * NS_PER_S, &short_one);
    assert_int_equal(short_one.count, 0);
    assert_int_equal(short_one.average, 0);
    account_fini(&account);
}

static void chosen_bounds_count_latencies_below_each(void **state)
{
    (void)state;
    struct account account = {0};
    const uint64_t bounds[] = {10, 100, 1000};
    account_set_bounds(&account, OP_READ, bounds, 3);
    const uint64_t latencies[] = {0, 9, 10, 99, 100, 999, 1000, 5000};
    for (unsigned i = 0; i < 8; i++)
        account_done(&account, OP_READ, 1, T0, T0 + latencies[i]);
    account_settle(&account, T0 + NS_PER_S);
    for (unsigned bin = 0; bin < 4; bin++)
        assert_int_equal(account.kinds[OP_READ].bins[bin], 2);
    /* New ones begin anew; none turn it off. */
    account_set_bounds(&account, OP_READ, bounds, 1);
    assert_int_equal(account.kinds[OP_READ].bins[0], 0);
    account_set_bounds(&account, OP_READ, NULL, 0);
    account_done(&account, OP_READ, 1, T0, T0 + 1);
    account_settle(&account, T0 + NS_PER_S);
    account_fini(&account);
}

static void the_highest_written_offset_only_grows(void **state)
{
    (void)state;
    struct account account = {0};
    account_written(&account, 4096);
    account_written(&account, 100);
    assert_int_equal(account.highest_written, 4096);
    account_fini(&account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_counted_by_kind_with_their_bytes_and_time),
        cmocka_unit_test(a_run_of_equal_latencies_counts_each_of_them),
        cmocka_unit_test(failed_requests_count_in_latency_only_if_asked_and_invalid_ones_never),
        cmocka_unit_test(a_window_tells_of_its_time_only),
        cmocka_unit_test(chosen_bounds_count_latencies_below_each),
        cmocka_unit_test(the_highest_written_offset_only_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
