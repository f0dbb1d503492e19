/* A thread that polls, alone and with another on its CPU. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "engine/clock.h"
#include "engine/way.h"

#define BOUND_NS (20 * NS_PER_S) /* after which a test gives up */

static const struct clock real;

/* --- The kernel's part: its own, or one that is played */

static bool played;
static long switches;        /* that are told, when it is played, */
static unsigned yields;      /* and those that were asked for, */
static uint64_t others_take; /* ns, of each */

int getrusage(__rusage_who_t who, struct rusage *usage)
{
    if (!played)
        return (int)syscall(SYS_getrusage, who, usage);
    *usage = (struct rusage){.ru_nivcsw = switches};
    return 0;
}

int sched_yield(void)
{
    if (!played)
        return (int)syscall(SYS_sched_yield);
    yields++;
    nanosleep(&(struct timespec){.tv_nsec = (long)others_take}, NULL);
    return 0;
}

static void play(uint64_t ns)
{
    played = true;
    switches = 1;
    yields = 0;
    others_take = ns;
}

static int end_play(void **state)
{
    (void)state;
    played = false;
    return 0;
}

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

static void one_that_shares_its_cpu_finds_out(void **state)
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
    atomic_store(&stop, true);
    pthread_join(other, NULL);
    assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof before, &before), 0);
}

static void one_that_is_alone_does_not_yield(void **state)
{
    (void)state;
    struct way way = {.switched = 1};
    play(0);
    way_give(&way, NS_PER_S);
    assert_int_equal(yields, 0);
    switches++;
    way_give(&way, 2 * NS_PER_S);
    assert_int_equal(yields, 1);
    way_give(&way, 3 * NS_PER_S);
    assert_int_equal(yields, 1);
}

/* Yields may be long because of others on the machine: one that is short is enough. */
static void those_that_give_the_cpu_back_soon_are_yielded_to_again_at_once(void **state)
{
    (void)state;
    bool soon = false;
    play(0);
    for (uint64_t i = 1; i < 1000 && !soon; i++) {
        struct way way = {0};
        way_give(&way, i * NS_PER_S);
        assert_int_equal(yields, i);
        soon = way.look - i * NS_PER_S < NS_PER_MS;
    }
    assert_true(soon);
}

/* Four times in 50 ms, whether or not they give it back at once in between. */
static void those_that_keep_it_for_a_slice_time_and_again_are_let_be(void **state)
{
    (void)state;
    struct way way = {0};
    uint64_t now = NS_PER_S;
    for (unsigned i = 1; i < 8; i++) {
        play(i % 2 ? 4 * NS_PER_MS : 0);
        assert_true(way.look <= now);
        way_give(&way, now);
        assert_int_equal(yields, 1);
        way.switched = 0;
        now += 6 * NS_PER_MS;
    }
    assert_true(way.look >= now + 100 * NS_PER_MS);
    /* Now and then does not matter. */
    way = (struct way){0};
    for (unsigned i = 0; i < 8; i++) {
        play(4 * NS_PER_MS);
        assert_true(way.look <= now);
        way_give(&way, now);
        way.switched = 0;
        now += 60 * NS_PER_MS;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(between_looks_nothing_is_done),
        cmocka_unit_test(one_that_shares_its_cpu_finds_out),
        cmocka_unit_test_teardown(one_that_is_alone_does_not_yield, end_play),
        cmocka_unit_test_teardown(those_that_give_the_cpu_back_soon_are_yielded_to_again_at_once,
                                  end_play),
        cmocka_unit_test_teardown(those_that_keep_it_for_a_slice_time_and_again_are_let_be,
                                  end_play),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
