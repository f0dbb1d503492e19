/* A backend's errors: what is done about them, what is held, and what is counted. In a whole
 * stepped engine: each seed is another order of what happens. See test_error_events.c for what is
 * told. */
#include "faulty_rig.h"

static actor_addr backend;

/* --- Policies */

static void the_action_follows_from_the_policy_the_kind_and_the_error(void **state)
{
    (void)state;
    static const struct {
        const char *policy, *errno_name;
        int64_t ret; /* 1: it is held */
    } cases[] = {
        {"report", "EIO", -EIO}, {"report", "ENOSPC", -ENOSPC},
        {"ignore", "EIO", 0},    {"ignore", "ENOSPC", 0},
        {"stop", "EIO", 1},      {"stop", "ENOSPC", 1},
        {"enospc", "EIO", -EIO}, {"enospc", "ENOSPC", 1},
    };
    static const struct {
        enum op_kind kind;
        const char *name, *field;
    } kinds[] = {
        {OP_READ, "read", "rerror"},     {OP_WRITE, "write", "werror"},
        {OP_ZEROES, "zeroes", "werror"}, {OP_DISCARD, "discard", "werror"},
        {OP_FLUSH, "flush", "werror"},   {OP_TRUNCATE, "truncate", "werror"},
    };
    stack_start(2, 1);
    backend = faulty_backend("", "");
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            bool plain = kinds[k].kind == OP_FLUSH || kinds[k].kind == OP_TRUNCATE;
            stack_pass(2 * NS_PER_S); /* so that the error is told at once */
            uint64_t before = shown_sequence();
            stack_do("node-set f rules='%s errno=%s once'", kinds[k].name, cases[i].errno_name);
            stack_do("backend-set b werror=report rerror=report");
            stack_do("backend-set b %s=%s", kinds[k].field, cases[i].policy);
            struct stack_op op = {0};
            stack_submit(&op, backend, kinds[k].kind, plain ? 1 << 20 : 0, plain ? 0 : 512, 0,
                         NULL);
            stack_settle();
            bool holds = cases[i].ret == 1;
            assert_int_equal(op.came, !holds);
            assert_int_equal(shown()->held, holds);
            if (!strstr(stack_story(before + 1), "BLOCK_IO_ERROR"))
                fail_msg("%s: no event: %s", cases[i].policy, stack_story(before + 1));
            stack_do("backend-resume b");
            stack_await_op(&op);
            if (op.ret != (holds ? 0 : cases[i].ret))
                fail_msg("%s of %s with %s ended with %d", cases[i].policy, kinds[k].name,
                         cases[i].errno_name, (int)op.ret);
        }
    stack_stop();
}

static void what_no_medium_is_to_blame_for_is_counted_as_invalid_and_stops_nothing(void **state)
{
    (void)state;
    stack_start(1, 1);
    backend = faulty_backend("", "werror=stop rerror=stop");
    assert_int_equal(stack_run(backend, OP_READ, 1 << 20, 1, 0), -EIO);
    assert_int_equal(stack_run(backend, OP_READ, -1, 1, 0), -EIO);
    assert_int_equal(stack_run(backend, OP_WRITE, 0, UINT64_C(1) << 31, 0), -EIO);
    stack_do("node-set m can=flush");
    assert_int_equal(stack_run(backend, OP_DISCARD, 0, 512, 0), -ENOTSUP);
    assert_int_equal(stack_run(backend, OP_ZEROES, 0, 512, OP_NO_FALLBACK), -ENOTSUP);
    const Sluice__BackendInfo *info = shown();
    assert_int_equal(info->run_state, SLUICE__RUN_STATE__RUNNING);
    assert_int_equal(info->read->invalid, 2);
    assert_int_equal(info->write->invalid, 1);
    assert_int_equal(info->discard->invalid, 1);
    assert_int_equal(info->zeroes->invalid, 1);
    assert_int_equal(info->read->failed + info->write->failed, 0);
    stack_stop();
}

/* Others' data may be in the memory that a frontend reads to, and sends to its client. */
static void a_read_that_failed_and_is_ignored_gives_zeroes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        char data[1024], zeroes[1024] = "";
        struct stack_op op;
        memset(data, 'x', sizeof data);
        backend = faulty_backend("read errno=EIO", "rerror=ignore");
        stack_submit(&op, backend, OP_READ, 0, sizeof data, OP_OWN_MEMORY, data);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        assert_memory_equal(data, zeroes, sizeof data);
    }
}

/* --- Held requests */

static void held_requests_are_tried_again_in_the_order_in_which_they_were_begun(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        /* They fail in neither that order nor the opposite one. */
        backend =
            faulty_backend("write nth=1 delay=6ms errno=EIO; write nth=2 delay=9ms errno=EIO; "
                           "write nth=3 delay=3ms errno=EIO",
                           "werror=stop");
        struct stack_op ops[5] = {0};
        for (unsigned i = 0; i < 3; i++)
            stack_submit(&ops[i], backend, OP_WRITE, i * 512, 512, 0, NULL);
        stack_pass(4 * NS_PER_MS); /* the third has stopped the backend */
        for (unsigned i = 3; i < 5; i++)
            stack_submit(&ops[i], backend, OP_WRITE, i * 512, 512, 0, NULL);
        stack_pass(20 * NS_PER_MS);
        const Sluice__BackendInfo *info = shown();
        assert_int_equal(info->held, 3);
        assert_int_equal(info->queued, 2);
        assert_int_equal(info->in_flight, 0);
        assert_string_equal(shown_sent("m", 1), "");
        stack_do("backend-resume b");
        for (unsigned i = 0; i < 5; i++) {
            stack_await_op(&ops[i]);
            assert_int_equal(ops[i].ret, 0);
        }
        assert_string_equal(
            shown_sent("m", 1),
            "write 0+512, write 512+512, write 1024+512, write 1536+512, write 2048+512");
        assert_int_equal(shown()->write->operations, 5);
        assert_int_equal(shown()->write->failed, 3);
    }
}

static void nothing_held_is_lost_or_run_twice_however_often_it_fails(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do(
            "node-add driver=fault name=f child=m seed=%u "
            "rules='write probability=0.4 errno=EIO delay=1ms; write probability=0.3 delay=2ms'",
            (unsigned)seed + 1);
        stack_do("backend-add name=b node=f werror=stop");
        backend = stack_find("b");
        struct stack_op ops[24] = {0};
        unsigned left = 24, resumes = 0;
        for (unsigned i = 0; i < 24; i++)
            stack_submit(&ops[i], backend, OP_WRITE, i * 512, 512, 0, NULL);
        while (left) {
            stack_pass(10 * NS_PER_MS);
            left = 0;
            for (unsigned i = 0; i < 24; i++)
                left += !ops[i].came;
            if (left)
                stack_do("backend-resume b");
            assert_true(++resumes < 1000);
        }
        for (unsigned i = 0; i < 24; i++)
            assert_int_equal(ops[i].ret, 0);
        assert_int_equal(shown()->write->operations, 24);
        /* Each reached the medium once. */
        unsigned writes = 0;
        for (const char *at = shown_sent("m", 1); (at = strstr(at, "write")); at++)
            writes++;
        assert_int_equal(writes, 24);
    }
}

static void a_drain_passes_held_requests_by_and_resume_waits_for_its_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        backend = faulty_backend("write once", "werror=stop");
        struct stack_op op = {0};
        stack_submit(&op, backend, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_int_equal(shown()->held, 1);
        stack_call(backend, MAIL_DRAIN_BEGIN, NULL);
        stack_do("backend-resume b");
        stack_settle();
        assert_false(op.came);
        stack_call(backend, MAIL_DRAIN_END, NULL);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
    }
}

static void the_end_of_the_engine_ends_held_requests_with_their_error(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        backend = faulty_backend("write errno=ENOSPC", "werror=stop");
        struct stack_op held = {0}, queued = {0};
        stack_submit(&held, backend, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_submit(&queued, backend, OP_READ, 0, 512, 0, NULL);
        stack_settle();
        struct stack_answer answer = {0};
        stack_release("b");
        stack_send(&answer, "backend-remove b");
        stack_await(&answer);
        assert_int_equal(answer.code, 0);
        assert_true(held.came && queued.came);
        assert_int_equal(held.ret, -ENOSPC);
        assert_int_equal(queued.ret, -ESHUTDOWN);
    }
}

/* --- Status and events */

static void status_comes_before_the_error_and_the_error_before_the_stop(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        backend = faulty_backend("any errno=ENOSPC", "werror=stop rerror=stop");
        uint64_t before = shown_sequence();
        struct stack_op first = {0}, second = {0};
        stack_submit(&first, backend, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_string_equal(stack_story(before + 1), "BLOCK_IO_ERROR b, STOP b");
        const Sluice__BackendInfo *info = shown();
        assert_int_equal(info->run_state, SLUICE__RUN_STATE__STOPPED);
        assert_int_equal(info->io_status, SLUICE__IO_STATUS__NOSPACE);
        /* The first error stays, whatever comes later. */
        stack_do("node-set f rules=any");
        stack_do("backend-resume b");
        stack_settle();
        assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__FAILED);
        assert_string_equal(stack_story(before + 3), "RESUME b, BLOCK_IO_ERROR b, STOP b");
        stack_do("node-set f rules=");
        stack_submit(&second, backend, OP_READ, 0, 512, 0, NULL);
        stack_do("backend-resume b");
        stack_await_op(&first);
        stack_await_op(&second);
        assert_int_equal(first.ret, 0);
        assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__OK);
        assert_int_equal(shown()->run_state, SLUICE__RUN_STATE__RUNNING);
    }
}

static void io_status_is_kept_only_when_asked(void **state)
{
    (void)state;
    stack_start(1, 1);
    backend = faulty_backend("write", "werror=stop io_status=off");
    struct stack_op op = {0};
    stack_submit(&op, backend, OP_WRITE, 0, 512, 0, NULL);
    stack_settle();
    assert_false(shown()->has_io_status);
    stack_do("backend-set b io_status=on");
    assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__OK);
    stack_do("node-set f rules=");
    stack_do("resume");
    stack_await_op(&op);
    /* What was kept until it was disabled is not there when it is enabled again. */
    stack_do("node-set f rules='write'");
    stack_submit(&op, backend, OP_WRITE, 0, 512, 0, NULL);
    stack_settle();
    assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__FAILED);
    stack_do("backend-set b io_status=off");
    assert_false(shown()->has_io_status);
    stack_do("backend-set b io_status=on");
    assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__OK);
    stack_do("node-set f rules=");
    stack_do("resume");
    stack_await_op(&op);
    assert_int_equal(op.ret, 0);
    stack_stop();
}

static void a_flood_of_errors_is_counted_in_few_events(void **state)
{
    (void)state;
    stack_start(2, 1);
    backend = faulty_backend("any", "");
    uint64_t before = shown_sequence();
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(stack_run(backend, i % 2 ? OP_READ : OP_WRITE, 0, 512, 0), -EIO);
        stack_pass(5 * NS_PER_MS);
    }
    stack_pass(2 * NS_PER_S);
    const Sluice__EventList *list = stack_do("events-since since=%u", (unsigned)before + 1)->events;
    uint64_t reads = 0, writes = 0;
    assert_int_equal(list->n_events, 4); /* the first of each kind, and the rest of each */
    for (size_t i = 0; i < list->n_events; i++) {
        const Sluice__IoErrorEvent *event = list->events[i]->block_io_error;
        assert_int_equal(list->events[i]->body_case, SLUICE__EVENT__BODY_BLOCK_IO_ERROR);
        *(strcmp(event->operation, "read") ? &writes : &reads) += event->count;
        assert_string_equal(event->node, "f");
        assert_int_equal(event->action, SLUICE__IO_ERROR_EVENT__ACTION__REPORT);
    }
    assert_int_equal(reads, 50);
    assert_int_equal(writes, 50);
    stack_stop();
}

/* --- Accounting over control */

static void windows_and_histograms_begin_when_they_are_chosen(void **state)
{
    (void)state;
    stack_start(2, 1);
    backend = faulty_backend("", "");
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(stack_run(backend, OP_WRITE, 0, 512, 0), 0);
    stack_do("backend-set b intervals='1s 1m' histogram='1us 1ms'");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(stack_run(backend, OP_WRITE, 0, 512, 0), 0);
    const Sluice__OpCounters *write = shown()->write;
    uint64_t binned = 0;
    assert_int_equal(write->operations, 8);
    assert_int_equal(write->n_intervals, 2);
    assert_int_equal(write->intervals[1]->length_ns, 60 * NS_PER_S);
    assert_int_equal(write->intervals[1]->operations, 3);
    assert_int_equal(write->n_histogram, 3);
    for (size_t i = 0; i < write->n_histogram; i++)
        binned += write->histogram[i]->operations;
    assert_int_equal(binned, 3);
    stack_do("backend-set b intervals='' histogram=''");
    assert_int_equal(shown()->write->n_intervals + shown()->write->n_histogram, 0);
    stack_stop();
}

static void what_a_medium_never_does_is_not_its_error(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock size=1M can=flush", "werror=stop");
        assert_int_equal(stack_run(b, OP_WRITE, 1 << 20, 512, OP_BEYOND_END), -EIO);
        assert_int_equal(stack_run(b, OP_ZEROES, (1 << 20) - 256, 512, OP_BEYOND_END), -EIO);
        assert_int_equal(shown()->run_state, SLUICE__RUN_STATE__RUNNING);
        assert_int_equal(shown()->write->invalid, 1);
        assert_int_equal(shown()->write->failed, 0);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, OP_BEYOND_END), 0);
    }
}

/* Turns of the only reactor until a request has ended. */
static uint64_t turns(actor_addr to, enum op_kind kind, unsigned flags)
{
    const struct reactor_stats *stats = reactor_stats(engine_reactor(stack_engine(), 0));
    stack_settle();
    uint64_t before = stats->turns;
    assert_int_equal(stack_run(to, kind, 0, 512, flags), 0);
    return stats->turns - before;
}

/* What can't change the length need not wait for news of it. */
static void a_read_that_may_go_beyond_the_end_takes_no_longer(void **state)
{
    (void)state;
    FOR_EACH_SEED_ON(seed, 1)
    {
        actor_addr b = stack_backend("m", "driver=memory size=1M", "");
        uint64_t plain = turns(b, OP_READ, 0), write = turns(b, OP_WRITE, OP_BEYOND_END);
        assert_int_equal(turns(b, OP_READ, OP_BEYOND_END), plain);
        assert_true(write > plain);
    }
}

static void io_status_is_told_only_where_a_policy_can_stop(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("backend-add name=b");
    assert_false(shown()->has_io_status);
    stack_do("backend-set name=b rerror=enospc");
    assert_true(shown()->has_io_status);
    stack_do("backend-set name=b rerror=ignore werror=stop");
    assert_true(shown()->has_io_status);
    stack_do("backend-set name=b io-status=off");
    assert_false(shown()->has_io_status);
    stack_stop();
}

static void saving_vm_state_with_the_cache_off_flushes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock", "");
        assert_int_equal(stack_run(b, OP_SAVE_VMSTATE, 0, 0, 0), 0);
        stack_do("backend-set name=b write-cache=off");
        assert_int_equal(stack_run(b, OP_SAVE_VMSTATE, 0, 0, 0), 0);
        const Sluice__NodeInfo *info = stack_do("node-show m")->node;
        assert_true(info->n_state >= 3);
        assert_string_equal(info->state[info->n_state - 1]->value, "flush 0+0");
        assert_string_equal(info->state[info->n_state - 2]->value, "save-vmstate 0+0");
        assert_string_equal(info->state[info->n_state - 3]->value, "save-vmstate 0+0");
    }
}

static void the_bytes_of_what_is_held_are_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m error=28");
        stack_do("backend-add name=b node=m werror=stop");
        struct stack_op ops[2];
        actor_addr b = stack_find("b");
        stack_submit(&ops[0], b, OP_WRITE, 0, 4096, 0, NULL);
        stack_settle();
        stack_submit(&ops[1], b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_int_equal(shown()->held_bytes, 4096);
        assert_int_equal(shown()->queued_bytes, 512);
        stack_do("node-set m error=0");
        stack_do("backend-resume b");
        stack_await_op(&ops[1]);
        assert_int_equal(shown()->held_bytes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_action_follows_from_the_policy_the_kind_and_the_error),
        cmocka_unit_test(what_no_medium_is_to_blame_for_is_counted_as_invalid_and_stops_nothing),
        cmocka_unit_test(a_read_that_failed_and_is_ignored_gives_zeroes),
        cmocka_unit_test(held_requests_are_tried_again_in_the_order_in_which_they_were_begun),
        cmocka_unit_test(nothing_held_is_lost_or_run_twice_however_often_it_fails),
        cmocka_unit_test(a_drain_passes_held_requests_by_and_resume_waits_for_its_end),
        cmocka_unit_test(the_end_of_the_engine_ends_held_requests_with_their_error),
        cmocka_unit_test(status_comes_before_the_error_and_the_error_before_the_stop),
        cmocka_unit_test(io_status_is_kept_only_when_asked),
        cmocka_unit_test(a_flood_of_errors_is_counted_in_few_events),
        cmocka_unit_test(windows_and_histograms_begin_when_they_are_chosen),
        cmocka_unit_test(what_a_medium_never_does_is_not_its_error),
        cmocka_unit_test(a_read_that_may_go_beyond_the_end_takes_no_longer),
        cmocka_unit_test(io_status_is_told_only_where_a_policy_can_stop),
        cmocka_unit_test(saving_vm_state_with_the_cache_off_flushes),
        cmocka_unit_test(the_bytes_of_what_is_held_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
