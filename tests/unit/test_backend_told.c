/* What a backend tells of itself: at its beginning, without a medium, while it waits, and what it
 * counts. In a whole stepped engine: each seed is another order of what happens. */
#include "shown_rig.h"

/* A mock, a fault filter on it, and a backend on that. */
static actor_addr built(const char *rules)
{
    stack_do("node-add driver=mock name=m size=1M");
    stack_do("node-add driver=fault name=f child=m rules='%s'", rules);
    stack_do("backend-add name=b node=f");
    return stack_find("b");
}

/* What the mock was sent last, "" for nothing. */
static const char *sent_last(void)
{
    const Sluice__NodeInfo *info = stack_do("node-show m")->node;
    const Sluice__Option *last = info->state[info->n_state - 1];
    return strncmp(last->key, "sent-", 5) ? "" : last->value;
}

/* --- A new one, and one without a medium */

static void a_new_backend_is_empty_caches_writes_and_reports_errors(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("backend-add name=b");
        const Sluice__BackendInfo *info = shown();
        assert_null(info->node);
        assert_false(info->has_length);
        assert_true(info->write_cache);
        assert_false(info->read_only);
        assert_int_equal(info->werror, SLUICE__ON_ERROR__POLICY__REPORT);
        assert_int_equal(info->rerror, SLUICE__ON_ERROR__POLICY__REPORT);
        assert_int_equal(info->run_state, SLUICE__RUN_STATE__RUNNING);
        assert_int_equal(info->io_status, SLUICE__IO_STATUS__OK);
        assert_int_equal(info->in_flight + info->queued + info->held + info->n_users, 0);
    }
}

static void the_write_cache_of_an_empty_backend_is_that_of_its_next_medium(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("backend-add name=b");
        stack_do("backend-set b write_cache=off");
        assert_false(shown()->write_cache);
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("medium-insert backend=b node=m");
        assert_int_equal(stack_run(stack_find("b"), OP_WRITE, 0, 512, 0), 0);
        assert_string_equal(sent_last(), "write 0+512 fua");
        stack_do("medium-remove b");
        assert_false(shown()->write_cache);
    }
}

static void ioctls_and_vm_state_find_no_medium(void **state)
{
    (void)state;
    static const enum op_kind kinds[] = {OP_IOCTL, OP_SAVE_VMSTATE, OP_LOAD_VMSTATE};
    stack_start(2, 1);
    stack_do("backend-add name=b");
    stack_do("node-add driver=mock name=m size=1M empty=on");
    stack_do("backend-add name=drive node=m");
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(stack_run(stack_find("b"), kinds[i], 0, 512, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(stack_find("drive"), kinds[i], 0, 512, 0), -ENOMEDIUM);
    }
    assert_string_equal(sent_last(), "");
    stack_stop();
}

static void a_backend_stays_on_its_reactor_when_its_medium_goes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned reactor = (unsigned)(seed / 3) % STACK_THREADS(seed);
        stack_do("node-add driver=null name=n reactor=%u", reactor);
        stack_do("backend-add name=b node=n");
        assert_int_equal(shown()->reactor, reactor);
        stack_do("medium-remove b");
        stack_do("node-remove n");
        stack_settle();
        assert_int_equal(shown()->reactor, reactor);
    }
}

/* --- While requests wait */

static void what_a_pause_lets_wait_is_queued_and_not_in_flight(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[3];
        actor_addr b = built("");
        stack_do("backend-pause b");
        for (unsigned i = 0; i < 3; i++)
            stack_submit(&ops[i], b, OP_WRITE, i * 512, 512, 0, NULL);
        stack_settle();
        assert_int_equal(shown()->in_flight, 0);
        assert_int_equal(shown()->queued, 3);
        assert_string_equal(sent_last(), "");
        stack_do("backend-resume b");
        for (unsigned i = 0; i < 3; i++)
            stack_await_op(&ops[i]);
        assert_int_equal(shown()->queued, 0);
    }
}

static void control_works_inside_a_drain(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        actor_addr b = built("");
        stack_call(b, MAIL_DRAIN_BEGIN, NULL);
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_do("backend-set b werror=ignore");
        stack_do("node-set f rules='write errno=EIO'");
        assert_int_equal(shown()->werror, SLUICE__ON_ERROR__POLICY__IGNORE);
        assert_int_equal(stack_do("status")->status->n_backends, 1);
        stack_do("backend-pause b");
        stack_do("backend-resume b");
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=other node=n");
        assert_int_equal(stack_run(stack_find("other"), OP_READ, 0, 512, 0), 0);
        stack_release("other");
        stack_do("backend-remove other");
        assert_false(op.came);
        stack_call(b, MAIL_DRAIN_END, NULL);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0); /* it failed, and that is ignored since */
        assert_int_equal(shown()->write->failed, 1);
    }
}

/* --- Counting */

static void the_furthest_write_is_told_whether_it_failed_or_not(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = built("write offset=8192 length=512");
        assert_int_equal(shown()->highest_written_bytes, 0);
        assert_int_equal(stack_run(b, OP_READ, 4096, 512, 0), 0);
        assert_int_equal(stack_run(b, OP_DISCARD, 4096, 512, 0), 0);
        assert_int_equal(shown()->highest_written_bytes, 0);
        assert_int_equal(stack_run(b, OP_WRITE, 512, 512, 0), 0);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        assert_int_equal(shown()->highest_written_bytes, 1024);
        assert_int_equal(stack_run(b, OP_WRITE, 8192, 512, 0), -EIO);
        assert_int_equal(shown()->highest_written_bytes, 8704);
        assert_int_equal(stack_run(b, OP_ZEROES, 16384, 512, 0), 0);
        assert_int_equal(shown()->highest_written_bytes, 16896);
        assert_int_equal(stack_run(b, OP_WRITE, MIB, 512, 0), -EIO); /* the medium never saw it */
        assert_int_equal(shown()->highest_written_bytes, 16896);
    }
}

/* Neither do those count that it never saw, for they were cancelled while they waited for a limit,
 * and those that it can't do. */
static void writes_that_the_medium_never_saw_are_not_the_furthest(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op, cancel;
        stack_do("throttle-add name=g iops-total=1");
        actor_addr b = stack_backend("m", "driver=mock size=1M can=flush,zeroes", "throttle=g");
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        stack_submit(&op, b, OP_WRITE, 8192, 512, 0, NULL);
        stack_settle();
        assert_false(op.came);
        stack_submit(&cancel, b, OP_CANCEL, (int64_t)op.tag, 0, 0, NULL);
        stack_await_op(&op);
        assert_int_equal(op.ret, -ECANCELED);
        assert_int_equal(shown()->highest_written_bytes, 512);
        stack_await_op(&cancel);
        stack_do("backend-set b throttle=");
        assert_int_equal(stack_run(b, OP_WRITE, 4096, 512, OP_COMPRESSED), -ENOTSUP);
        assert_int_equal(shown()->highest_written_bytes, 512);
        stack_do("node-set m error=5");
        assert_int_equal(stack_run(b, OP_WRITE, 1024, 512, 0), -EIO);
        assert_int_equal(shown()->highest_written_bytes, 1536);
    }
}

static void a_backend_is_idle_from_its_last_request_on(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = built("");
        stack_pass(NS_PER_S);
        assert_false(shown()->has_idle_ns);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        assert_true(shown()->has_idle_ns);
        assert_int_equal(shown()->idle_ns, 0);
        stack_pass(5 * NS_PER_S);
        assert_int_equal(shown()->idle_ns, 5 * NS_PER_S);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), 0);
        stack_pass(NS_PER_S);
        assert_int_equal(shown()->idle_ns, NS_PER_S);
        /* One that fails and one that is refused are requests too. */
        stack_do("node-set f rules=read");
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), -EIO);
        assert_int_equal(shown()->idle_ns, 0);
        stack_pass(NS_PER_S);
        assert_int_equal(stack_run(b, OP_READ, MIB, 512, 0), -EIO);
        assert_int_equal(shown()->idle_ns, 0);
    }
}

static void failures_take_time_only_if_that_is_asked(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = built("write delay=5ms errno=EIO");
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), -EIO);
        assert_int_equal(shown()->write->time_ns, 0);
        assert_false(shown()->write->has_p50_ns);
        assert_false(shown()->account_failed);
        stack_do("backend-set b account_failed=on");
        assert_true(shown()->account_failed);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), -EIO);
        assert_int_equal(shown()->write->time_ns, 5 * NS_PER_MS);
        assert_int_equal(shown()->write->max_ns, 5 * NS_PER_MS);
        assert_int_equal(stack_run(b, OP_WRITE, MIB, 512, 0), -EIO);
        const Sluice__OpCounters *write = shown()->write;
        assert_int_equal(write->time_ns, 5 * NS_PER_MS);
        assert_int_equal(write->failed, 2);
        assert_int_equal(write->invalid, 1);
        assert_int_equal(write->operations + write->bytes, 0);
    }
}

static void nothing_is_counted_where_accounting_is_off(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = built("write delay=5ms errno=EIO");
        stack_do("backend-set b accounting=off");
        assert_false(shown()->accounting);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        assert_int_equal(stack_run(b, OP_READ, MIB, 512, 0), -EIO);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), -EIO);
        const Sluice__BackendInfo *info = shown();
        assert_false(info->has_idle_ns);
        assert_int_equal(info->highest_written_bytes, 0);
        assert_int_equal(info->read->operations + info->read->invalid + info->write->failed, 0);
        stack_do("backend-set b accounting=on");
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        assert_int_equal(shown()->read->operations, 1);
        stack_do("backend-add name=c node=f accounting=off");
        assert_false(stack_do("backend-show c")->backend->accounting);
    }
}

static void a_backend_tells_quantiles_to_1_percent_that_nobody_chose(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = built("read delay=1ms");
        for (unsigned i = 0; i < 85; i++)
            assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        stack_do("node-set f rules='read delay=10ms'");
        for (unsigned i = 0; i < 13; i++)
            assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        stack_do("node-set f rules='read delay=100ms'");
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        const Sluice__OpCounters *read = shown()->read;
        assert_in_range(read->p50_ns, 990 * NS_PER_US, 1010 * NS_PER_US);
        assert_in_range(read->p90_ns, 9900 * NS_PER_US, 10100 * NS_PER_US);
        assert_in_range(read->p99_ns, 99 * NS_PER_MS, 101 * NS_PER_MS);
        assert_in_range(read->p999_ns, 99 * NS_PER_MS, 101 * NS_PER_MS);
        assert_int_equal(read->max_ns, 100 * NS_PER_MS);
        assert_int_equal(read->time_ns, (85 + 130 + 200) * NS_PER_MS);
        assert_false(shown()->write->has_p50_ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_backend_is_empty_caches_writes_and_reports_errors),
        cmocka_unit_test(the_write_cache_of_an_empty_backend_is_that_of_its_next_medium),
        cmocka_unit_test(ioctls_and_vm_state_find_no_medium),
        cmocka_unit_test(a_backend_stays_on_its_reactor_when_its_medium_goes),
        cmocka_unit_test(what_a_pause_lets_wait_is_queued_and_not_in_flight),
        cmocka_unit_test(control_works_inside_a_drain),
        cmocka_unit_test(the_furthest_write_is_told_whether_it_failed_or_not),
        cmocka_unit_test(writes_that_the_medium_never_saw_are_not_the_furthest),
        cmocka_unit_test(a_backend_is_idle_from_its_last_request_on),
        cmocka_unit_test(failures_take_time_only_if_that_is_asked),
        cmocka_unit_test(nothing_is_counted_where_accounting_is_off),
        cmocka_unit_test(a_backend_tells_quantiles_to_1_percent_that_nobody_chose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
