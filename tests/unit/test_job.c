/* Jobs: how they begin, tell of themselves, keep their speed, pause and end. In a whole stepped
 * engine with virtual time: each seed is another order of what happens. */
#include "drained_rig.h"
#include "job_rig.h"

/* --- Life */

static void a_job_tells_its_states_and_its_end_and_is_seen_meanwhile(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        uint64_t before = shown_sequence();
        stack_do("commit b speed=1M on-error=enospc");
        const Sluice__JobInfo *info = job_shown();
        assert_string_equal(info->type, "commit");
        assert_string_equal(info->source, "top");
        assert_string_equal(info->target, "lower");
        assert_int_equal(info->total_bytes, 16 * MIB);
        assert_int_equal(info->speed, MIB);
        assert_int_equal(info->status, SLUICE__JOB_EVENT__STATUS__RUNNING);
        assert_int_equal(stack_do("status")->status->n_jobs, 1);
        stack_refused(-EEXIST, "there is a job 'b' already", "commit b");
        stack_do("job-set b speed=0");
        job_run_out();
        assert_string_equal(stack_story(before + 1),
                            "JOB_ADDED b, JOB_STATUS_CHANGE b, JOB_STATUS_CHANGE b, "
                            "JOB_COMPLETED b, JOB_DELETED b");
        assert_int_equal(job_completed()->done_bytes, 16 * MIB);
        assert_true(job_completed()->has_speed && job_completed()->speed == 0);
        assert_null(job_completed()->reason);
        stack_refused(-ENOENT, "there is no job 'b'", "job-show b");
    }
}

static void whoever_hears_of_the_end_finds_nothing_in_his_way(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        stack_do("commit b id=j speed=1M");
        assert_int_equal(stack_do("node-show top")->node->n_blocked, 17);
        stack_refused(-EBUSY, "resize is blocked on node 'top': job 'j' works on it",
                      "io-truncate backend=b size=1M");
        stack_refused(-EBUSY, "eject is blocked on node 'top'", "medium-remove b");
        stack_refused(-EBUSY, "commit-source is blocked on node 'top'", "commit b id=k");
        stack_refused(-EBUSY, "job 'j'", "node-remove lower");
        stack_refused(-EBUSY, "move is blocked", "backend-move b reactor=0");
        stack_do("job-cancel j");
        while (!shown_event(SLUICE__EVENT__BODY_JOB_CANCELLED))
            stack_pass(NS_PER_MS);
        assert_int_equal(stack_do("node-show top")->node->n_blocked, 0);
        stack_do("io-truncate backend=b size=1M");
        stack_do("medium-remove b");
        stack_do("node-remove top");
        stack_do("node-remove lower");
    }
}

static void what_a_job_has_blocked_is_not_for_others_to_unblock(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        stack_do("commit b speed=1M");
        stack_refused(-ENOENT, "nothing of that is blocked on node 'top'",
                      "op-unblock node=top reason=\"job 'b' works on it\"");
        /* Nor does the job take back what somebody has blocked in its words. */
        stack_do("op-block node=top op=eject reason=\"job 'b' works on it\"");
        stack_do("op-block node=top op=eject reason=\"job 'b' works on it\"");
        stack_do("op-unblock node=top op=eject reason=\"job 'b' works on it\"");
        assert_int_equal(stack_do("node-show top")->node->n_blocked, 18);
        stack_do("job-set b speed=0");
        job_run_out();
        assert_int_equal(stack_do("node-show top")->node->n_blocked, 1);
        stack_refused(-EBUSY, "eject is blocked on node 'top'", "medium-remove b");
        stack_do("op-unblock node=top reason=\"job 'b' works on it\"");
        stack_do("medium-remove b");
    }
}

static void a_job_without_the_permissions_it_needs_leaves_nothing_behind(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer claim = {0};
        job_add_stack(0);
        stack_do("backend-add name=other node=lower");
        stack_claim(&claim, "other", PERM_CONSISTENT_READ, PERM_CONSISTENT_READ);
        stack_await(&claim);
        assert_int_equal(claim.code, 0);
        stack_refused(-EPERM, "job 'b' needs 'write' on node 'lower', which backend 'other'",
                      "commit b");
        assert_false(job_is_there());
        assert_int_equal(stack_do("node-show lower")->node->n_blocked, 0);
        stack_claim_end(((const Sluice__Claimed *)claim.body)->claim);
        /* Nor may others begin to write below while it runs. */
        stack_do("commit b speed=1M");
        stack_claim(&claim, "other", PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
        stack_await(&claim);
        assert_int_equal(claim.code, -EPERM);
        assert_non_null(strstr(claim.text, "job 'b'"));
    }
}

static void who_shares_no_writing_of_an_overlay_does_not_mind_a_commit_of_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer claim = {0};
        job_add_stack(0);
        stack_claim(&claim, "b", PERM_CONSISTENT_READ | PERM_WRITE,
                    PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED);
        stack_await(&claim);
        assert_int_equal(claim.code, 0);
        stack_do("commit b");
        job_run_out();
        assert_null(job_completed()->reason);
        /* But what others write below it does matter to him. */
        struct stack_answer other = {0};
        stack_do("backend-add name=other node=lower");
        stack_claim(&other, "other", PERM_WRITE, PERM_ALL);
        stack_await(&other);
        assert_int_equal(other.code, -EPERM);
    }
}

static void what_has_no_backing_can_not_be_committed(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add driver=mock name=m");
    stack_do("backend-add name=b node=m");
    stack_do("backend-add name=empty");
    stack_refused(-ENOTSUP, "its medium is no overlay", "commit b");
    stack_refused(-ENOMEDIUM, "it has no medium", "commit empty");
    stack_refused(-ENOENT, "there is no backend 'x'", "commit x");
    stack_refused(-ENOENT, "there is no job 'x'", "job-cancel x");
    stack_stop();
}

/* --- Speed */

static void a_job_keeps_to_its_speed(void **state)
{
    static const unsigned speeds[] = {1, 5, 64}; /* MiB/s */
    (void)state;
    for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++)
        for (uint64_t seed = 0; seed < 9; seed++) {
            stack_start(STACK_THREADS(seed), seed);
            job_add_stack(0);
            stack_do("commit b speed=%uM", speeds[i]);
            double expected = 16.0 / speeds[i], took = (double)job_run_out() / NS_PER_S;
            if (took < expected * 0.99 || took > expected * 1.01)
                fail_msg("%g s, but not %g s", took, expected);
            stack_stop();
        }
}

static void another_speed_holds_from_then_on(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 9; seed++) {
        stack_start(STACK_THREADS(seed), seed);
        job_add_stack(0);
        stack_do("commit b speed=1M");
        stack_pass(8 * NS_PER_S);
        int64_t done = (int64_t)job_shown()->done_bytes;
        assert_true(done > 7 * MIB && done < 9 * MIB);
        stack_do("job-set b speed=4M");
        double took = (double)job_run_out() / NS_PER_S;
        assert_true(took > 1.9 && took < 2.1);
        stack_stop();
    }
}

static void what_is_not_allocated_takes_no_time_of_the_speed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(8);
        stack_do("commit b speed=4M");
        double took = (double)job_run_out() / NS_PER_S;
        assert_true(took > 1.98 && took < 2.02);
        assert_int_equal(job_completed()->done_bytes, 16 * MIB);
    }
}

static void progress_is_told_once_a_second(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 9; seed++) {
        stack_start(STACK_THREADS(seed), seed);
        job_add_stack(0);
        stack_do("commit b speed=2M");
        job_run_out();
        const Sluice__EventList *list = stack_do("events-since")->events;
        unsigned told = 0;
        uint64_t done = 0;
        for (size_t i = 0; i < list->n_events; i++) {
            if (list->events[i]->body_case != SLUICE__EVENT__BODY_JOB_PROGRESS)
                continue;
            told++;
            assert_true(list->events[i]->job_progress->done_bytes > done);
            assert_int_equal(list->events[i]->job_progress->speed, 2 * MIB);
            done = list->events[i]->job_progress->done_bytes;
        }
        assert_in_range(told, 6, 8);
        stack_stop();
    }
}

/* --- Pauses */

static void a_paused_job_does_nothing_until_it_is_resumed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        job_add_stack(0);
        stack_do("commit b speed=8M");
        stack_pass(NS_PER_S / 2);
        stack_do("job-pause b");
        stack_do("job-pause b");
        stack_settle();
        assert_int_equal(job_shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        uint64_t done = job_shown()->done_bytes;
        assert_true(done > 0 && done < 16 * MIB);
        stack_pass(10 * NS_PER_S);
        assert_int_equal(job_shown()->done_bytes, done);
        stack_do("job-resume b");
        assert_true(job_run_out() > NS_PER_S);
        assert_null(job_completed()->reason);
    }
}

static void a_drained_region_pauses_a_job_when_nothing_of_it_is_in_flight(void **state)
{
    static const char *const nodes[] = {"upper", "lower", NULL};
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer drained = {0};
        job_add_stack(0);
        job_hold("lower", true);
        stack_do("commit b");
        stack_settle();
        drained_ask(&drained, 0, 0, nodes[seed % 3]);
        stack_settle();
        assert_false(drained.came);
        job_hold("lower", false);
        stack_await(&drained);
        stack_pass(10 * NS_PER_S);
        /* The first slice has ended, and no other begins; it does not finish either. */
        assert_int_equal(job_shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        assert_int_equal(job_shown()->done_bytes, 4 * MIB);
        stack_do("job-pause b");
        drained_end(drained_region(&drained));
        stack_pass(10 * NS_PER_S);
        assert_int_equal(job_shown()->done_bytes, 4 * MIB); /* they nest */
        stack_do("job-resume b");
        job_run_out();
        assert_null(job_completed()->reason);
    }
}

static void a_job_that_is_through_in_a_drained_region_finishes_after_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer drained = {0};
        stack_do("node-add driver=mock name=upper size=4M");
        stack_do("node-add driver=mock name=lower size=4M");
        stack_do("node-add driver=overlay name=top child=upper backing=lower");
        stack_do("backend-add name=b node=top");
        stack_do("io-write b offset=0 bytes=4M pattern=1"); /* one slice */
        job_hold("lower", true);
        stack_do("commit b");
        stack_settle();
        drained_ask(&drained, 0, 0, "lower");
        stack_settle();
        assert_false(drained.came);
        job_hold("lower", false);
        stack_await(&drained);
        stack_pass(10 * NS_PER_S);
        assert_int_equal(job_shown()->done_bytes, 4 * MIB);
        assert_int_equal(job_shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        drained_end(drained_region(&drained));
        job_run_out();
        assert_null(job_completed()->reason);
    }
}

static void a_job_that_begins_in_a_drained_region_waits_for_its_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer drained = {0};
        job_add_stack(0);
        drained_ask(&drained, 0, 0, "lower");
        stack_await(&drained);
        stack_do("commit b");
        stack_pass(NS_PER_S);
        assert_int_equal(job_shown()->done_bytes, 0);
        drained_end(drained_region(&drained));
        job_run_out();
        assert_int_equal(job_completed()->done_bytes, 16 * MIB);
    }
}

static void a_drained_region_does_not_wait_for_a_job_that_fails_to_begin(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer commit = {0}, drained = {0};
        job_add_stack(0);
        stack_do("node-set upper length-error=5");
        stack_send(&commit, "commit b");
        for (uint64_t n = seed / 3 % 20; n; n--)
            stack_step();
        drained_ask(&drained, 0, 0, seed % 2 ? "lower" : NULL);
        stack_await(&commit);
        assert_int_equal(commit.code, -EIO);
        assert_non_null(strstr(commit.text, "the overlay can't tell its length"));
        stack_settle();
        assert_true(drained.came);
        drained_end(drained_region(&drained));
        stack_do("node-set upper length-error=0");
        stack_do("commit b");
        job_run_out();
        assert_null(job_completed()->reason);
    }
}

static void requests_wait_for_a_slice_and_then_go(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op = {0};
        job_add_stack(0);
        actor_addr b = stack_find("b");
        job_hold("lower", true);
        stack_do("commit b speed=1M");
        stack_settle();
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_false(op.came);
        job_hold("lower", false);
        stack_settle();
        assert_true(op.came);
        assert_int_equal(op.ret, 0);
        assert_true(job_is_there());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_tells_its_states_and_its_end_and_is_seen_meanwhile),
        cmocka_unit_test(whoever_hears_of_the_end_finds_nothing_in_his_way),
        cmocka_unit_test(what_a_job_has_blocked_is_not_for_others_to_unblock),
        cmocka_unit_test(a_job_without_the_permissions_it_needs_leaves_nothing_behind),
        cmocka_unit_test(who_shares_no_writing_of_an_overlay_does_not_mind_a_commit_of_it),
        cmocka_unit_test(what_has_no_backing_can_not_be_committed),
        cmocka_unit_test(a_job_keeps_to_its_speed),
        cmocka_unit_test(another_speed_holds_from_then_on),
        cmocka_unit_test(what_is_not_allocated_takes_no_time_of_the_speed),
        cmocka_unit_test(progress_is_told_once_a_second),
        cmocka_unit_test(a_paused_job_does_nothing_until_it_is_resumed),
        cmocka_unit_test(a_drained_region_pauses_a_job_when_nothing_of_it_is_in_flight),
        cmocka_unit_test(a_job_that_is_through_in_a_drained_region_finishes_after_it),
        cmocka_unit_test(a_job_that_begins_in_a_drained_region_waits_for_its_end),
        cmocka_unit_test(a_drained_region_does_not_wait_for_a_job_that_fails_to_begin),
        cmocka_unit_test(requests_wait_for_a_slice_and_then_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
