/* Jobs that are cancelled, wherever they are, and the engine's end amid them. Each seed is another
 * order of what happens. */
#include "job_rig.h"

static void a_cancelled_job_ends_what_it_has_under_way(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        const char *held = seed / 3 % 2 ? "upper" : "lower"; /* a read, or a write */
        job_add_stack(0);
        job_hold(held, true);
        uint64_t before = shown_sequence();
        stack_do("commit b");
        stack_settle();
        stack_do("job-cancel b");
        stack_settle();
        assert_false(job_is_there());
        assert_string_equal(stack_story(before + 1),
                            "JOB_ADDED b, JOB_STATUS_CHANGE b, JOB_STATUS_CHANGE b, "
                            "JOB_STATUS_CHANGE b, JOB_CANCELLED b, JOB_DELETED b");
        /* Its region is over, and nothing is kept. */
        job_hold(held, false);
        stack_do("io-write b offset=0 bytes=512 pattern=7");
        stack_do("commit b");
        job_run_out();
        assert_int_equal(job_completed()->done_bytes, 16 * MIB);
    }
}

static void
what_a_cancelled_job_has_under_way_is_its_last_when_that_can_not_be_cancelled(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        stack_do("node-set lower cancel=off");
        job_hold("lower", true);
        stack_do("commit b");
        stack_settle();
        stack_do("job-cancel b");
        stack_settle();
        assert_int_equal(job_shown()->status, SLUICE__JOB_EVENT__STATUS__ABORTING);
        assert_null(shown_event(SLUICE__EVENT__BODY_JOB_CANCELLED));
        job_hold("lower", false);
        job_run_out();
        const Sluice__Event *event = shown_event(SLUICE__EVENT__BODY_JOB_CANCELLED);
        assert_non_null(event);
        assert_int_equal(event->job_cancelled->done_bytes, 0);
        const Sluice__NodeInfo *info = stack_do("node-show lower")->node;
        assert_string_equal(info->state[info->n_state - 2]->value, "write 0+1048576");
        assert_null(shown_event(SLUICE__EVENT__BODY_JOB_COMPLETED));
    }
}

/* Nor do others' requests then wait for each other any more. */
static void a_cancelled_job_does_not_wait_for_its_region(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op slow = {0}, other = {0};
        stack_do("node-add driver=mock name=upper size=16M");
        stack_do("node-add driver=fault name=late child=upper");
        stack_do("node-add driver=mock name=lower size=16M");
        stack_do("node-add driver=overlay name=top child=late backing=lower");
        stack_do("backend-add name=b node=top");
        stack_do("io-write b offset=0 bytes=16M pattern=1");
        stack_do("node-set late rules='write delay=100s'");
        actor_addr b = stack_find("b");
        stack_submit(&slow, b, OP_WRITE, 12 * MIB, 512, 0, NULL);
        stack_settle();
        stack_do("commit b");
        stack_settle();
        stack_submit(&other, b, OP_READ, 0, 512, 0, NULL);
        for (uint64_t n = seed / 3 % 20; n; n--)
            stack_step();
        assert_false(other.came);
        stack_do("job-cancel b");
        stack_settle();
        assert_false(job_is_there());
        assert_true(other.came);
        assert_int_equal(other.ret, 0);
        assert_false(slow.came);
        assert_non_null(shown_event(SLUICE__EVENT__BODY_JOB_CANCELLED));
        stack_pass(100 * NS_PER_S);
        assert_true(slow.came);
        assert_int_equal(slow.ret, 0);
        stack_do("node-set late rules=");
        stack_do("commit b");
        job_run_out();
        assert_int_equal(job_completed()->done_bytes, 16 * MIB);
    }
}

/* Whichever comes first, the region or the cancel. */
static void a_cancelled_job_leaves_no_region_behind(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op = {0};
        struct stack_answer commit = {0}, cancel = {0};
        job_add_stack(0);
        actor_addr b = stack_find("b");
        stack_send(&commit, "commit b");
        for (uint64_t n = seed / 3; n; n--)
            stack_step();
        stack_send(&cancel, "job-cancel b");
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        stack_await(&commit);
        stack_await(&cancel);
        job_run_out();
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        stack_do("commit b");
        job_run_out();
        assert_int_equal(job_completed()->done_bytes, 16 * MIB);
    }
}

static void a_paused_job_is_cancelled_by_force_only(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        stack_do("commit b speed=1M");
        stack_do("job-pause b");
        stack_refused(-EBUSY, "job 'b' is paused", "job-cancel b");
        stack_do("job-cancel b force=on");
        stack_settle();
        assert_false(job_is_there());
        assert_non_null(shown_event(SLUICE__EVENT__BODY_JOB_CANCELLED));
    }
}

static void shutting_down_cancels_jobs(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer all = {0};
        job_add_stack(0);
        if (seed % 2)
            job_hold("lower", true);
        if (seed % 3)
            stack_do("commit b speed=%d", seed % 5 ? 1 : 0);
        else
            stack_send(&all, "commit-all");
        stack_settle();
        stack_stop();
        if (seed % 3 == 0)
            assert_true(all.came);
        stack_start(1, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_job_ends_what_it_has_under_way),
        cmocka_unit_test(
            what_a_cancelled_job_has_under_way_is_its_last_when_that_can_not_be_cancelled),
        cmocka_unit_test(a_cancelled_job_does_not_wait_for_its_region),
        cmocka_unit_test(a_cancelled_job_leaves_no_region_behind),
        cmocka_unit_test(a_paused_job_is_cancelled_by_force_only),
        cmocka_unit_test(shutting_down_cancels_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
