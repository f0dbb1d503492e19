/* Timers: a heap that fires in order, also when timers are armed and cancelled while it fires. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "engine/timer.h"

enum { MANY = 500 };

struct alarm {
    struct timer timer;
    unsigned number;
};

static struct timers timers;
static unsigned fired[4 * MANY], nfired;

static void note(struct timer *timer)
{
    assert_false(timer_armed(timer));
    fired[nfired++] = ((struct alarm *)timer)->number;
}

static int teardown(void **state)
{
    (void)state;
    timers_fini(&timers);
    nfired = 0;
    return 0;
}

static void timers_fire_by_deadline_and_then_in_the_order_of_arming(void **state)
{
    (void)state;
    static struct alarm alarms[MANY];
    srand(7);
    for (unsigned i = 0; i < MANY; i++) {
        alarms[i] = (struct alarm){{.fire = note}, i};
        timer_arm(&timers, &alarms[i].timer, 1000 + (unsigned)rand() % 50);
    }
    assert_int_equal(timers_run(&timers, 999), 0);
    for (uint64_t now = 1000; now < 1050; now++) {
        assert_true(timers_next(&timers) >= now);
        timers_run(&timers, now);
    }
    assert_int_equal(nfired, MANY);
    assert_true(timers_next(&timers) == UINT64_MAX);
    for (unsigned i = 1; i < MANY; i++) {
        const struct alarm *a = &alarms[fired[i - 1]], *b = &alarms[fired[i]];
        assert_true(a->timer.deadline_ns < b->timer.deadline_ns ||
                    (a->timer.deadline_ns == b->timer.deadline_ns && a->number < b->number));
    }
}

static void a_cancelled_timer_does_not_fire_and_a_rearmed_one_fires_once(void **state)
{
    (void)state;
    static struct alarm alarms[MANY];
    srand(8);
    for (unsigned i = 0; i < MANY; i++) {
        alarms[i] = (struct alarm){{.fire = note}, i};
        timer_arm(&timers, &alarms[i].timer, (unsigned)rand() % 1000);
    }
    for (unsigned i = 0; i < MANY; i += 3) {
        timer_cancel(&timers, &alarms[i].timer);
        timer_cancel(&timers, &alarms[i].timer);
        assert_false(timer_armed(&alarms[i].timer));
    }
    for (unsigned i = 1; i < MANY; i += 3)
        timer_arm(&timers, &alarms[i].timer, 2000 + (unsigned)rand() % 1000);
    uint64_t last = 0, next;
    while ((next = timers_next(&timers)) != UINT64_MAX) {
        assert_true(next >= last);
        last = next;
        assert_true(timers_run(&timers, next) > 0);
    }
    unsigned times[MANY] = {0};
    for (unsigned i = 0; i < nfired; i++)
        times[fired[i]]++;
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(times[i], i % 3 != 0);
}

/* --- While it fires */

static void again_at_once(struct timer *timer)
{
    note(timer);
    timer_arm(&timers, timer, 0);
}

static void a_timer_that_rearms_itself_in_the_past_keeps_no_other_from_firing(void **state)
{
    (void)state;
    struct alarm eager = {{.fire = again_at_once}, 1}, patient = {{.fire = note}, 2};
    timer_arm(&timers, &patient.timer, 90);
    timer_arm(&timers, &eager.timer, 10);
    assert_int_equal(timers_run(&timers, 100), 2);
    assert_int_equal(fired[0], 1);
    assert_int_equal(fired[1], 2);
    assert_int_equal(timers_run(&timers, 100), 1);
    timer_cancel(&timers, &eager.timer);
}

static struct alarm victim, heir;

static void cancel_and_arm(struct timer *timer)
{
    note(timer);
    timer_cancel(&timers, &victim.timer);
    timer_arm(&timers, &heir.timer, timer->deadline_ns);
}

static void
what_a_timer_cancels_is_due_no_more_and_what_it_arms_waits_for_the_next_run(void **state)
{
    (void)state;
    struct alarm first = {{.fire = cancel_and_arm}, 1};
    victim = (struct alarm){{.fire = note}, 2};
    heir = (struct alarm){{.fire = note}, 3};
    timer_arm(&timers, &first.timer, 10);
    timer_arm(&timers, &victim.timer, 10);
    assert_int_equal(timers_run(&timers, 10), 1);
    assert_int_equal(nfired, 1);
    assert_int_equal(timers_run(&timers, 10), 1);
    assert_int_equal(fired[1], 3);
}

static void free_it(struct timer *timer)
{
    note(timer);
    free(timer);
}

static void a_timer_may_free_itself(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct alarm *alarm = calloc(1, sizeof *alarm);
        *alarm = (struct alarm){{.fire = free_it}, i};
        timer_arm(&timers, &alarm->timer, 5);
    }
    assert_int_equal(timers_run(&timers, 5), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(timers_fire_by_deadline_and_then_in_the_order_of_arming,
                                  teardown),
        cmocka_unit_test_teardown(a_cancelled_timer_does_not_fire_and_a_rearmed_one_fires_once,
                                  teardown),
        cmocka_unit_test_teardown(a_timer_that_rearms_itself_in_the_past_keeps_no_other_from_firing,
                                  teardown),
        cmocka_unit_test_teardown(
            what_a_timer_cancels_is_due_no_more_and_what_it_arms_waits_for_the_next_run, teardown),
        cmocka_unit_test_teardown(a_timer_may_free_itself, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
