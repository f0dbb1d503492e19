/* A thread that polls, alone and with another on its CPU. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "engine/clock.h"
#include "engine/way.h"

#define BOUND_NS (20 * NS_PER_S) /* after which a test gives up */

static const struct clock real;

static void between_looks_nothing_is_done(void **state)
{
    (void)state;
    struct way way = {.look = 100};
    way_give(&way, 99);
    assert_int_equal(way.look, 100);
    way_give(&way, 100);
    assert_true(way.look > 100);
}

static void pin(void)
{
    cpu_set_t set;
    int cpu = 0;
    assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof set, &set), 0);
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof set, &set), 0);
}

static void *poll_for_nothing(void *stop)
{
    pin();
    while (!atomic_load((atomic_bool *)stop))
        ;
    return NULL;
}

static void
one_that_shares_its_cpu_finds_out_and_yields_more_often_than_it_looks_alone(void **state)
{
    (void)state;
    atomic_bool stop = false;
    pthread_t other;
    cpu_set_t before;
    assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof before, &before), 0);
    pin();
    struct way way = {0};
    uint64_t start = clock_ns(&real), now = start;
    way_give(&way, now); /* what it was switched away from before is no sign */
    way.until = 0;
    assert_int_equal(pthread_create(&other, NULL, poll_for_nothing, &stop), 0);
    while (way.until <= now && now - start < BOUND_NS) {
        now = clock_ns(&real);
        way_give(&way, now);
    }
    assert_true(way.until > now);
    assert_true(way.look - now < NS_PER_MS);
    atomic_store(&stop, true);
    pthread_join(other, NULL);
    assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof before, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(between_looks_nothing_is_done),
        cmocka_unit_test(
            one_that_shares_its_cpu_finds_out_and_yields_more_often_than_it_looks_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
