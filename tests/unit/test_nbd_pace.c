/* When an NBD connection receives next (actors/nbd_pace.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "actors/nbd_pace.h"

/* `times` receives of `requests` each, `gap` apart. */
static uint64_t play(struct nbd_pace *pace, uint64_t now, unsigned times, uint64_t gap,
                     unsigned requests)
{
    while (times--) {
        now += gap;
        nbd_pace_received(pace, now, requests);
    }
    return now;
}

static uint64_t wait_after(const struct nbd_pace *pace, uint64_t now)
{
    uint64_t next = nbd_pace_next(pace);
    return next > now ? next - now : 0;
}

static void test_new_connection_is_received_from_at_once(void **state)
{
    (void)state;
    struct nbd_pace pace = {0};
    assert_int_equal(nbd_pace_next(&pace), 0);
    nbd_pace_received(&pace, NS_PER_S, 64);
    assert_int_equal(nbd_pace_next(&pace), 0); /* a rate takes two */
}

static void test_shallow_queue_never_waits(void **state)
{
    (void)state;
    for (unsigned depth = 1; depth <= NBD_PACE_DEPTH; depth *= 2) {
        struct nbd_pace pace = {0};
        uint64_t now = play(&pace, NS_PER_S, 1000, 10 * NS_PER_US, depth);
        assert_int_equal(wait_after(&pace, now), 0);
    }
}

static void test_deep_queue_waits_for_half_of_it(void **state)
{
    (void)state;
    struct nbd_pace pace = {0};
    uint64_t now = play(&pace, NS_PER_S, 1, NS_PER_US, 64);
    now = play(&pace, now, 1000, 2 * NS_PER_US, 2);
    /* 32 requests at one a microsecond */
    uint64_t wait = wait_after(&pace, now);
    assert_in_range(wait, 31 * NS_PER_US, 33 * NS_PER_US);
}

static void test_slow_client_waits_no_longer_than_the_bound(void **state)
{
    (void)state;
    struct nbd_pace pace = {0};
    uint64_t now = play(&pace, NS_PER_S, 1, NS_PER_US, 64);
    now = play(&pace, now, 50, 500 * NS_PER_US, 1);
    assert_int_equal(wait_after(&pace, now), NBD_PACE_MAX);
}

static void test_fast_client_does_not_wait_for_less_than_a_timer_costs(void **state)
{
    (void)state;
    struct nbd_pace pace = {0};
    uint64_t now = play(&pace, NS_PER_S, 1000, NS_PER_US, 40);
    assert_int_equal(wait_after(&pace, now), 0);
}

static void test_queue_that_became_shallow_is_noticed(void **state)
{
    (void)state;
    struct nbd_pace pace = {0};
    uint64_t now = play(&pace, NS_PER_S, 1000, 20 * NS_PER_US, 40);
    assert_true(wait_after(&pace, now) > 0);
    now = play(&pace, now, 3 * NBD_PACE_LATELY / (20 * NS_PER_US), 20 * NS_PER_US, 1);
    assert_int_equal(wait_after(&pace, now), 0);
}

static void test_idleness_is_no_rate(void **state)
{
    (void)state;
    struct nbd_pace pace = {0};
    uint64_t now = play(&pace, NS_PER_S, 1000, 20 * NS_PER_US, 40);
    uint64_t busy = wait_after(&pace, now);
    now = play(&pace, now, 1, 50 * NS_PER_MS, 40);
    assert_int_equal(wait_after(&pace, now), busy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_connection_is_received_from_at_once),
        cmocka_unit_test(test_shallow_queue_never_waits),
        cmocka_unit_test(test_deep_queue_waits_for_half_of_it),
        cmocka_unit_test(test_slow_client_waits_no_longer_than_the_bound),
        cmocka_unit_test(test_fast_client_does_not_wait_for_less_than_a_timer_costs),
        cmocka_unit_test(test_queue_that_became_shallow_is_noticed),
        cmocka_unit_test(test_idleness_is_no_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
