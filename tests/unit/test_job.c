/* Jobs, in a whole stepped engine with virtual time: each seed is another order of what happens. */
#include "stack_rig.h"

#include <stdio.h>

#include "drivers/driver.h"

#define MIB (INT64_C(1) << 20)

/* Backend `b` on `top`, an overlay over `lower` that has what is from `first` MiB on, 16 MiB in
 * all. */
static void add_stack(unsigned first)
{
    stack_do("node-add driver=mock name=upper size=16M");
    stack_do("node-add driver=mock name=lower size=16M");
    stack_do("node-add driver=overlay name=top child=upper backing=lower");
    stack_do("backend-add name=b node=top");
    stack_do("io-write b offset=%uM bytes=%uM pattern=1", first, 16 - first);
}

static const Sluice__JobInfo *shown(void)
{
    return stack_do("job-show b")->job;
}

static bool is_there(void)
{
    return stack_do("job-list")->jobs->n_jobs > 0;
}

static uint64_t sequence(void)
{
    return stack_do("status")->status->sequence;
}

/* Lets time pass until the job is gone; returns how much, ns. To ask each millisecond would be most
 * of what this program does, so it asks when there are fewer actors. */
static uint64_t run_out(void)
{
    uint64_t start = engine_now(stack_engine());
    stack_settle();
    while (is_there()) {
        unsigned actors = stack_actors();
        for (int i = 0; i < 50 && stack_actors() == actors; i++)
            stack_pass(NS_PER_MS);
    }
    return engine_now(stack_engine()) - start;
}

/* The newest event with this body, or null. */
static const Sluice__Event *last_event(Sluice__Event__BodyCase body)
{
    const Sluice__EventList *list = stack_do("events-since")->events;
    for (size_t i = list->n_events; i-- > 0;)
        if (list->events[i]->body_case == body)
            return list->events[i];
    return NULL;
}

static const Sluice__JobEvent *completed(void)
{
    const Sluice__Event *event = last_event(SLUICE__EVENT__BODY_JOB_COMPLETED);
    assert_non_null(event);
    return event->job_completed;
}

static void hold(const char *node, bool on)
{
    stack_do("node-set %s hold=%s", node, on ? "on" : "off");
    stack_settle();
}

/* --- Life */

static void a_job_tells_its_states_and_its_end_and_is_seen_meanwhile(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack(0);
        uint64_t before = sequence();
        stack_do("commit b speed=1M on-error=enospc");
        const Sluice__JobInfo *info = shown();
        assert_string_equal(info->type, "commit");
        assert_string_equal(info->source, "top");
        assert_string_equal(info->target, "lower");
        assert_int_equal(info->total_bytes, 16 * MIB);
        assert_int_equal(info->speed, MIB);
        assert_int_equal(info->status, SLUICE__JOB_EVENT__STATUS__RUNNING);
        assert_int_equal(stack_do("status")->status->n_jobs, 1);
        stack_refused(-EEXIST, "there is a job 'b' already", "commit b");
        stack_do("job-set b speed=0");
        run_out();
        assert_string_equal(stack_story(before + 1),
                            "JOB_ADDED b, JOB_STATUS_CHANGE b, JOB_STATUS_CHANGE b, "
                            "JOB_COMPLETED b, JOB_DELETED b");
        assert_int_equal(completed()->done_bytes, 16 * MIB);
        assert_true(completed()->has_speed && completed()->speed == 0);
        assert_null(completed()->reason);
        stack_refused(-ENOENT, "there is no job 'b'", "job-show b");
    }
}

static void whoever_hears_of_the_end_finds_nothing_in_his_way(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack(0);
        stack_do("commit b id=j speed=1M");
        assert_int_equal(stack_do("node-show top")->node->n_blocked, 17);
        stack_refused(-EBUSY, "resize is blocked on node 'top': job 'j' works on it",
                      "io-truncate backend=b size=1M");
        stack_refused(-EBUSY, "eject is blocked on node 'top'", "medium-remove b");
        stack_refused(-EBUSY, "commit-source is blocked on node 'top'", "commit b id=k");
        stack_refused(-EBUSY, "job 'j'", "node-remove lower");
        stack_refused(-EBUSY, "move is blocked", "backend-move b reactor=0");
        stack_do("job-cancel j");
        while (!last_event(SLUICE__EVENT__BODY_JOB_CANCELLED))
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
        add_stack(0);
        stack_do("commit b speed=1M");
        stack_refused(-ENOENT, "nothing of that is blocked on node 'top'",
                      "op-unblock node=top reason=\"job 'b' works on it\"");
        /* Nor does the job take back what somebody has blocked in its words. */
        stack_do("op-block node=top op=eject reason=\"job 'b' works on it\"");
        stack_do("op-block node=top op=eject reason=\"job 'b' works on it\"");
        stack_do("op-unblock node=top op=eject reason=\"job 'b' works on it\"");
        assert_int_equal(stack_do("node-show top")->node->n_blocked, 18);
        stack_do("job-set b speed=0");
        run_out();
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
        add_stack(0);
        stack_do("backend-add name=other node=lower");
        stack_claim(&claim, "other", PERM_CONSISTENT_READ, PERM_CONSISTENT_READ);
        stack_await(&claim);
        assert_int_equal(claim.code, 0);
        stack_refused(-EPERM, "job 'b' needs 'write' on node 'lower', which backend 'other'",
                      "commit b");
        assert_false(is_there());
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
        add_stack(0);
        stack_claim(&claim, "b", PERM_CONSISTENT_READ | PERM_WRITE,
                    PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED);
        stack_await(&claim);
        assert_int_equal(claim.code, 0);
        stack_do("commit b");
        run_out();
        assert_null(completed()->reason);
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
            add_stack(0);
            stack_do("commit b speed=%uM", speeds[i]);
            double expected = 16.0 / speeds[i], took = (double)run_out() / NS_PER_S;
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
        add_stack(0);
        stack_do("commit b speed=1M");
        stack_pass(8 * NS_PER_S);
        int64_t done = (int64_t)shown()->done_bytes;
        assert_true(done > 7 * MIB && done < 9 * MIB);
        stack_do("job-set b speed=4M");
        double took = (double)run_out() / NS_PER_S;
        assert_true(took > 1.9 && took < 2.1);
        stack_stop();
    }
}

static void what_is_not_allocated_takes_no_time_of_the_speed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack(8);
        stack_do("commit b speed=4M");
        double took = (double)run_out() / NS_PER_S;
        assert_true(took > 1.98 && took < 2.02);
        assert_int_equal(completed()->done_bytes, 16 * MIB);
    }
}

static void progress_is_told_once_a_second(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 9; seed++) {
        stack_start(STACK_THREADS(seed), seed);
        add_stack(0);
        stack_do("commit b speed=2M");
        run_out();
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
        add_stack(0);
        stack_do("commit b speed=8M");
        stack_pass(NS_PER_S / 2);
        stack_do("job-pause b");
        stack_do("job-pause b");
        stack_settle();
        assert_int_equal(shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        uint64_t done = shown()->done_bytes;
        assert_true(done > 0 && done < 16 * MIB);
        stack_pass(10 * NS_PER_S);
        assert_int_equal(shown()->done_bytes, done);
        stack_do("job-resume b");
        assert_true(run_out() > NS_PER_S);
        assert_null(completed()->reason);
    }
}

static Sluice__Drain *region(const char *node)
{
    Sluice__Drain *drain = MAIL_NEW(sluice__drain);
    if (node)
        mail_set(&drain->node, node);
    return drain;
}

static void end_region(const struct stack_answer *drained)
{
    Sluice__RegionEnd *end = MAIL_NEW(sluice__region_end);
    end->region = ((const Sluice__Drained *)drained->body)->region;
    stack_call(stack_world()->graph, MAIL_REGION_END, end);
}

static void a_drained_region_pauses_a_job_when_nothing_of_it_is_in_flight(void **state)
{
    static const char *const nodes[] = {"upper", "lower", NULL};
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer drained = {0};
        add_stack(0);
        hold("lower", true);
        stack_do("commit b");
        stack_settle();
        stack_ask(&drained, stack_world()->graph, MAIL_DRAIN, region(nodes[seed % 3]));
        stack_settle();
        assert_false(drained.came);
        hold("lower", false);
        stack_await(&drained);
        stack_pass(10 * NS_PER_S);
        /* The first slice has ended, and no other begins; it does not finish either. */
        assert_int_equal(shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        assert_int_equal(shown()->done_bytes, 4 * MIB);
        stack_do("job-pause b");
        end_region(&drained);
        stack_pass(10 * NS_PER_S);
        assert_int_equal(shown()->done_bytes, 4 * MIB); /* they nest */
        stack_do("job-resume b");
        run_out();
        assert_null(completed()->reason);
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
        hold("lower", true);
        stack_do("commit b");
        stack_settle();
        stack_ask(&drained, stack_world()->graph, MAIL_DRAIN, region("lower"));
        stack_settle();
        assert_false(drained.came);
        hold("lower", false);
        stack_await(&drained);
        stack_pass(10 * NS_PER_S);
        assert_int_equal(shown()->done_bytes, 4 * MIB);
        assert_int_equal(shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        end_region(&drained);
        run_out();
        assert_null(completed()->reason);
    }
}

static void a_job_that_begins_in_a_drained_region_waits_for_its_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer drained = {0};
        add_stack(0);
        stack_ask(&drained, stack_world()->graph, MAIL_DRAIN, region("lower"));
        stack_await(&drained);
        stack_do("commit b");
        stack_pass(NS_PER_S);
        assert_int_equal(shown()->done_bytes, 0);
        end_region(&drained);
        run_out();
        assert_int_equal(completed()->done_bytes, 16 * MIB);
    }
}

static void a_drained_region_does_not_wait_for_a_job_that_fails_to_begin(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer commit = {0}, drained = {0};
        add_stack(0);
        stack_do("node-set upper length-error=5");
        stack_send(&commit, "commit b");
        for (uint64_t n = seed / 3 % 20; n; n--)
            stack_step();
        stack_ask(&drained, stack_world()->graph, MAIL_DRAIN, region(seed % 2 ? "lower" : NULL));
        stack_await(&commit);
        assert_int_equal(commit.code, -EIO);
        assert_non_null(strstr(commit.text, "the overlay can't tell its length"));
        stack_settle();
        assert_true(drained.came);
        end_region(&drained);
        stack_do("node-set upper length-error=0");
        stack_do("commit b");
        run_out();
        assert_null(completed()->reason);
    }
}

static void requests_wait_for_a_slice_and_then_go(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op = {0};
        add_stack(0);
        actor_addr b = stack_find("b");
        hold("lower", true);
        stack_do("commit b speed=1M");
        stack_settle();
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_false(op.came);
        hold("lower", false);
        stack_settle();
        assert_true(op.came);
        assert_int_equal(op.ret, 0);
        assert_true(is_there());
    }
}

/* --- Cancels */

static void a_cancelled_job_ends_what_it_has_under_way(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        const char *held = seed / 3 % 2 ? "upper" : "lower"; /* a read, or a write */
        add_stack(0);
        hold(held, true);
        uint64_t before = sequence();
        stack_do("commit b");
        stack_settle();
        stack_do("job-cancel b");
        stack_settle();
        assert_false(is_there());
        assert_string_equal(stack_story(before + 1),
                            "JOB_ADDED b, JOB_STATUS_CHANGE b, JOB_STATUS_CHANGE b, "
                            "JOB_STATUS_CHANGE b, JOB_CANCELLED b, JOB_DELETED b");
        /* Its region is over, and nothing is kept. */
        hold(held, false);
        stack_do("io-write b offset=0 bytes=512 pattern=7");
        stack_do("commit b");
        run_out();
        assert_int_equal(completed()->done_bytes, 16 * MIB);
    }
}

static void
what_a_cancelled_job_has_under_way_is_its_last_when_that_can_not_be_cancelled(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack(0);
        stack_do("node-set lower cancel=off");
        hold("lower", true);
        stack_do("commit b");
        stack_settle();
        stack_do("job-cancel b");
        stack_settle();
        assert_int_equal(shown()->status, SLUICE__JOB_EVENT__STATUS__ABORTING);
        assert_null(last_event(SLUICE__EVENT__BODY_JOB_CANCELLED));
        hold("lower", false);
        run_out();
        const Sluice__Event *event = last_event(SLUICE__EVENT__BODY_JOB_CANCELLED);
        assert_non_null(event);
        assert_int_equal(event->job_cancelled->done_bytes, 0);
        const Sluice__NodeInfo *info = stack_do("node-show lower")->node;
        assert_string_equal(info->state[info->n_state - 2]->value, "write 0+1048576");
        assert_null(last_event(SLUICE__EVENT__BODY_JOB_COMPLETED));
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
        assert_false(is_there());
        assert_true(other.came);
        assert_int_equal(other.ret, 0);
        assert_false(slow.came);
        assert_non_null(last_event(SLUICE__EVENT__BODY_JOB_CANCELLED));
        stack_pass(100 * NS_PER_S);
        assert_true(slow.came);
        assert_int_equal(slow.ret, 0);
        stack_do("node-set late rules=");
        stack_do("commit b");
        run_out();
        assert_int_equal(completed()->done_bytes, 16 * MIB);
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
        add_stack(0);
        actor_addr b = stack_find("b");
        stack_send(&commit, "commit b");
        for (uint64_t n = seed / 3; n; n--)
            stack_step();
        stack_send(&cancel, "job-cancel b");
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        stack_await(&commit);
        stack_await(&cancel);
        run_out();
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        stack_do("commit b");
        run_out();
        assert_int_equal(completed()->done_bytes, 16 * MIB);
    }
}

static void a_paused_job_is_cancelled_by_force_only(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack(0);
        stack_do("commit b speed=1M");
        stack_do("job-pause b");
        stack_refused(-EBUSY, "job 'b' is paused", "job-cancel b");
        stack_do("job-cancel b force=on");
        stack_settle();
        assert_false(is_there());
        assert_non_null(last_event(SLUICE__EVENT__BODY_JOB_CANCELLED));
    }
}

static void shutting_down_cancels_jobs(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer all = {0};
        add_stack(0);
        if (seed % 2)
            hold("lower", true);
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

/* --- Errors */

static void an_error_ends_a_job_unless_it_is_told_otherwise(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack(0);
        stack_do("node-set lower error=5");
        stack_do("commit b speed=512M");
        run_out();
        assert_non_null(strstr(completed()->reason, "writing its target failed"));
        assert_int_equal(completed()->done_bytes, 0);
        const Sluice__Event *event = last_event(SLUICE__EVENT__BODY_BLOCK_JOB_ERROR);
        assert_string_equal(event->block_job_error->operation, "write");
        assert_int_equal(event->block_job_error->action, SLUICE__IO_ERROR_EVENT__ACTION__REPORT);
        assert_string_equal(event->block_job_error->type, "commit");
        assert_int_equal(event->block_job_error->total_bytes, 16 * MIB);
        assert_int_equal(event->block_job_error->done_bytes, 0);
        assert_int_equal(event->block_job_error->speed, 512 * MIB);
        assert_int_equal(completed()->speed, 512 * MIB);
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
        add_stack(0);
        uint64_t before = sequence();
        stack_do("node-set lower error=%d", nospace ? ENOSPC : EIO);
        stack_do("commit b on-error=%s", nospace ? "enospc" : "stop");
        stack_pass(NS_PER_S);
        assert_int_equal(shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        assert_int_equal(shown()->io_status,
                         nospace ? SLUICE__IO_STATUS__NOSPACE : SLUICE__IO_STATUS__FAILED);
        assert_string_equal(stack_story(before + 1), "JOB_ADDED b, JOB_STATUS_CHANGE b, "
                                                     "BLOCK_JOB_ERROR b, JOB_STATUS_CHANGE b");
        /* Again: it fails again. */
        stack_do("job-resume b");
        stack_settle();
        assert_int_equal(shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        stack_do("node-set lower error=0");
        stack_do("job-resume b");
        run_out();
        assert_null(completed()->reason);
        assert_int_equal(completed()->done_bytes, 16 * MIB);
    }
}

static void an_error_that_is_not_one_of_space_ends_it_with_enospc(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack(0);
        stack_do("node-set lower error=5");
        stack_do("commit b on-error=enospc");
        run_out();
        assert_non_null(completed()->reason);
    }
}

static void what_an_ignored_error_is_about_is_left_and_told_at_the_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack(0);
        stack_do("node-set lower error=5");
        stack_do("commit b on-error=ignore speed=40M");
        stack_pass(NS_PER_MS);
        stack_do("node-set lower error=0");
        run_out();
        assert_non_null(strstr(completed()->reason, "writing its target failed"));
        assert_int_equal(completed()->done_bytes, 16 * MIB);
        const Sluice__Event *event = last_event(SLUICE__EVENT__BODY_BLOCK_JOB_ERROR);
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
        add_stack(0);
        stack_do("node-set lower error=5");
        /* A slice that fails takes the time of what it is about: 64 KiB, then 192 KiB. */
        stack_do("commit b on-error=ignore speed=1M");
        stack_pass(NS_PER_MS);
        assert_int_equal(told_errors(&events), 1);
        stack_pass(NS_PER_S / 2);
        assert_int_equal(events, 1);
        stack_do("job-set b speed=4M");
        double took = (double)run_out() / NS_PER_S;
        assert_true(took > 3.8 && took < 4.0);
        assert_non_null(completed()->reason);
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
        add_stack(0);
        stack_do("node-set lower error=5");
        stack_do("commit b on-error=ignore speed=4M");
        stack_pass(NS_PER_S / 2);
        stack_do("job-set b on-error=%s", seed % 2 ? "stop" : "report");
        stack_pass(NS_PER_S / 10);
        told_errors(&events);
        assert_int_equal(events, 3);
        const Sluice__JobErrorEvent *last =
            last_event(SLUICE__EVENT__BODY_BLOCK_JOB_ERROR)->block_job_error;
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
        add_stack(0);
        stack_do("node-add driver=mock name=m");
        stack_do("backend-add name=far node=m");
        stack_do("node-set lower error=5");
        stack_do("commit b on-error=stop");
        stack_settle();
        stack_do("backend-set far io-status=on");
        stack_settle();
        assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__FAILED);
        stack_do("backend-set b io-status=on");
        stack_settle();
        assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__OK);
        assert_int_equal(shown()->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
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
        assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__FAILED);
        stack_do("backend-set other io-status=on");
        stack_settle();
        assert_int_equal(shown()->io_status,
                         reach[which] ? SLUICE__IO_STATUS__OK : SLUICE__IO_STATUS__FAILED);
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
        cmocka_unit_test(a_cancelled_job_ends_what_it_has_under_way),
        cmocka_unit_test(
            what_a_cancelled_job_has_under_way_is_its_last_when_that_can_not_be_cancelled),
        cmocka_unit_test(a_cancelled_job_does_not_wait_for_its_region),
        cmocka_unit_test(a_cancelled_job_leaves_no_region_behind),
        cmocka_unit_test(a_paused_job_is_cancelled_by_force_only),
        cmocka_unit_test(shutting_down_cancels_jobs),
        cmocka_unit_test(an_error_ends_a_job_unless_it_is_told_otherwise),
        cmocka_unit_test(an_error_that_stops_a_job_is_tried_again_when_it_is_resumed),
        cmocka_unit_test(an_error_that_is_not_one_of_space_ends_it_with_enospc),
        cmocka_unit_test(what_an_ignored_error_is_about_is_left_and_told_at_the_end),
        cmocka_unit_test(errors_that_come_thick_and_fast_are_counted_in_few_events),
        cmocka_unit_test(what_was_gathered_is_told_before_the_error_that_ends_it),
        cmocka_unit_test(a_reset_of_the_backends_io_status_is_one_of_the_job_on_its_medium),
        cmocka_unit_test(filters_are_not_in_the_way_of_a_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
