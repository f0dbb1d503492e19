/* Errors of jobs: what is done about them, and what is told. Each seed is another order of what
 * happens.
 */
#include "job_rig.h"

static void an_error_ends_a_job_unless_it_is_told_otherwise(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        stack_do("node-set lower error=5");
        stack_do("commit b speed=512M");
        job_run_out();
        assert_non_null(strstr(job_completed()->reason, "writing its target failed"));
        assert_int_equal(job_completed()->done_bytes, 0);
        const Sluice__Event *event = shown_event(SLUICE__EVENT__BODY_BLOCK_JOB_ERROR);
        assert_string_equal(event->block_job_error->operation, "write");
        assert_int_equal(event->block_job_error->action, SLUICE__IO_ERROR_EVENT__ACTION__REPORT);
        assert_string_equal(event->block_job_error->type, "commit");
        assert_int_equal(event->block_job_error->total_bytes, 16 * MIB);
        assert_int_equal(event->block_job_error->done_bytes, 0);
        assert_int_equal(event->block_job_error->speed, 512 * MIB);
        assert_int_equal(job_completed()->speed, 512 * MIB);
        stack_do("medium-remove b"); /* nothing is left blocked */
        stack_do("node-remove top");
    }
}

static void an_error_that_stops_a_job_is_tried_again_when_it_is_resumed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        bool nospace = seed % 2;
        job_add_stack(0);
        uint64_t before = shown_sequence();
        stack_do("node-set lower error=%d", nospace ? ENOSPC : EIO);
        stack_do("commit b on-error=%s", nospace ? "enospc" : "stop");
        stack_pass(NS_PER_S);
        assert_int_equal(job_shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        assert_int_equal(job_shown()->io_status,
                         nospace ? SLUICE__IO_STATUS__NOSPACE : SLUICE__IO_STATUS__FAILED);
        assert_string_equal(stack_story(before + 1), "JOB_ADDED b, JOB_STATUS_CHANGE b, "
                                                     "BLOCK_JOB_ERROR b, JOB_STATUS_CHANGE b");
        /* Again: it fails again. */
        stack_do("job-resume b");
        stack_settle();
        assert_int_equal(job_shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        stack_do("node-set lower error=0");
        stack_do("job-resume b");
        job_run_out();
        assert_null(job_completed()->reason);
        assert_int_equal(job_completed()->done_bytes, 16 * MIB);
    }
}

static void a_medium_that_says_cancelled_fails_as_nobody_has_cancelled_the_job(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        stack_do("node-set lower error=%d", ECANCELED);
        stack_do("commit b on-error=%s", seed % 2 ? "ignore" : "report");
        job_run_out();
        assert_null(shown_event(SLUICE__EVENT__BODY_JOB_CANCELLED));
        assert_non_null(strstr(job_completed()->reason, "writing its target failed"));
    }
}

static void an_error_that_is_not_one_of_space_ends_it_with_enospc(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        stack_do("node-set lower error=5");
        stack_do("commit b on-error=enospc");
        job_run_out();
        assert_non_null(job_completed()->reason);
    }
}

static void what_an_ignored_error_is_about_is_left_and_told_at_the_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        stack_do("node-set lower error=5");
        stack_do("commit b on-error=ignore speed=40M");
        stack_pass(NS_PER_MS);
        stack_do("node-set lower error=0");
        job_run_out();
        assert_non_null(strstr(job_completed()->reason, "writing its target failed"));
        assert_int_equal(job_completed()->done_bytes, 16 * MIB);
        const Sluice__Event *event = shown_event(SLUICE__EVENT__BODY_BLOCK_JOB_ERROR);
        assert_int_equal(event->block_job_error->action, SLUICE__IO_ERROR_EVENT__ACTION__IGNORE);
    }
}

/* How many errors were told, and in how many events. */
static uint64_t told_errors(unsigned *events)
{
    const Sluice__EventList *list = stack_do("events-since")->events;
    uint64_t sum = 0;
    *events = 0;
    for (size_t i = 0; i < list->n_events; i++)
        if (list->events[i]->body_case == SLUICE__EVENT__BODY_BLOCK_JOB_ERROR) {
            sum += list->events[i]->block_job_error->count;
            ++*events;
        }
    return sum;
}

static void errors_that_come_thick_and_fast_are_counted_in_few_events(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 9; seed++) {
        unsigned events;
        stack_start(STACK_THREADS(seed), seed);
        job_add_stack(0);
        stack_do("node-set lower error=5");
        /* A slice that fails takes the time of what it is about: 64 KiB, then 192 KiB. */
        stack_do("commit b on-error=ignore speed=1M");
        stack_pass(NS_PER_MS);
        assert_int_equal(told_errors(&events), 1);
        stack_pass(NS_PER_S / 2);
        assert_int_equal(events, 1);
        stack_do("job-set b speed=4M");
        double took = (double)job_run_out() / NS_PER_S;
        assert_true(took > 3.8 && took < 4.0);
        assert_non_null(job_completed()->reason);
        assert_int_equal(told_errors(&events), 9 + 83);
        assert_in_range(events, 5, 7);
        stack_stop();
    }
}

static void what_was_gathered_is_told_before_the_error_that_ends_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned events;
        job_add_stack(0);
        stack_do("node-set lower error=5");
        stack_do("commit b on-error=ignore speed=4M");
        stack_pass(NS_PER_S / 2);
        stack_do("job-set b on-error=%s", seed % 2 ? "stop" : "report");
        stack_pass(NS_PER_S / 10);
        told_errors(&events);
        assert_int_equal(events, 3);
        const Sluice__JobErrorEvent *last =
            shown_event(SLUICE__EVENT__BODY_BLOCK_JOB_ERROR)->block_job_error;
        assert_int_equal(last->count, 1);
        assert_int_equal(last->action, seed % 2 ? SLUICE__IO_ERROR_EVENT__ACTION__STOP
                                                : SLUICE__IO_ERROR_EVENT__ACTION__REPORT);
    }
}

static void a_reset_of_the_backends_io_status_is_one_of_the_job_on_its_medium(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        stack_do("node-add driver=mock name=m");
        stack_do("backend-add name=far node=m");
        stack_do("node-set lower error=5");
        stack_do("commit b on-error=stop");
        stack_settle();
        stack_do("backend-set far io-status=on");
        stack_settle();
        assert_int_equal(job_shown()->io_status, SLUICE__IO_STATUS__FAILED);
        stack_do("backend-set b io-status=on");
        stack_settle();
        assert_int_equal(job_shown()->io_status, SLUICE__IO_STATUS__OK);
        assert_int_equal(job_shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
    }
}

static void filters_are_not_in_the_way_of_a_reset(void **state)
{
    static const char *const media[] = {"over", "lower", "store", "side"};
    static const bool reach[] = {true, true, true, false};
    (void)state;
    FOR_EACH_SEED(seed)
    {
        size_t which = seed / 3 % 4;
        stack_do("node-add driver=mock name=upper size=16M");
        stack_do("node-add driver=mock name=store size=16M");
        stack_do("node-add driver=raw name=lower child=store");
        stack_do("node-add driver=overlay name=top child=upper backing=lower");
        stack_do("node-add driver=raw name=near child=top");
        stack_do("node-add driver=raw name=over child=near");
        stack_do("node-add driver=mock name=aside");
        stack_do("node-add driver=raw name=side child=aside");
        stack_do("backend-add name=b node=top");
        stack_do("backend-add name=other node=%s", media[which]);
        stack_do("io-write b offset=0 bytes=1M pattern=1");
        stack_do("node-set store error=5");
        stack_do("commit b on-error=stop");
        stack_settle();
        assert_int_equal(job_shown()->io_status, SLUICE__IO_STATUS__FAILED);
        stack_do("backend-set other io-status=on");
        stack_settle();
        assert_int_equal(job_shown()->io_status,
                         reach[which] ? SLUICE__IO_STATUS__OK : SLUICE__IO_STATUS__FAILED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_ends_a_job_unless_it_is_told_otherwise),
        cmocka_unit_test(an_error_that_stops_a_job_is_tried_again_when_it_is_resumed),
        cmocka_unit_test(a_medium_that_says_cancelled_fails_as_nobody_has_cancelled_the_job),
        cmocka_unit_test(an_error_that_is_not_one_of_space_ends_it_with_enospc),
        cmocka_unit_test(what_an_ignored_error_is_about_is_left_and_told_at_the_end),
        cmocka_unit_test(errors_that_come_thick_and_fast_are_counted_in_few_events),
        cmocka_unit_test(what_was_gathered_is_told_before_the_error_that_ends_it),
        cmocka_unit_test(a_reset_of_the_backends_io_status_is_one_of_the_job_on_its_medium),
        cmocka_unit_test(filters_are_not_in_the_way_of_a_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
