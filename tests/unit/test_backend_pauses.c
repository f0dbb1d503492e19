/* Pauses of a backend and of all, by hand and by errors. In a whole stepped engine: each seed is
 * another order of what happens. */
#include "faulty_rig.h"

static actor_addr backend;

static Sluice__Pause *pause_mail(bool on)
{
    Sluice__Pause *pause = MAIL_NEW(sluice__pause);
    pause->on = on;
    pause->engine = false;
    return pause;
}

static void a_pause_is_done_when_nothing_is_in_flight_and_loses_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        backend = faulty_backend("", "");
        stack_do("node-set m hold=on");
        struct stack_op before = {0}, after[3] = {0};
        struct stack_answer answer = {0};
        stack_submit(&before, backend, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_ask(&answer, backend, MAIL_PAUSE, pause_mail(true));
        stack_settle();
        assert_false(answer.came);
        for (unsigned i = 0; i < 3; i++)
            stack_submit(&after[i], backend, OP_WRITE, 4096 + i * 512, 512, 0, NULL);
        stack_settle();
        assert_int_equal(shown()->queued, 3);
        assert_int_equal(shown()->queued_bytes, 1536);
        assert_int_equal(shown()->run_state, SLUICE__RUN_STATE__PAUSED);
        stack_do("node-set m hold=off");
        stack_await(&answer);
        assert_true(before.came && before.at < answer.at);
        assert_false(after[0].came);
        stack_do("backend-resume b");
        for (unsigned i = 0; i < 3; i++)
            stack_await_op(&after[i]);
        assert_string_equal(shown_sent("m", 2), "write 4096+512, write 4608+512, write 5120+512");
    }
}

/* Whoever waits for its quiet hears of the end, however long requests go on. */
static void a_pause_that_ends_before_all_is_quiet_is_done_then(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static const char *const whom[][2] = {{"pause", "resume"},
                                              {"backend-pause b", "backend-resume b"}};
        bool alone = seed & 1;
        backend = faulty_backend("", "");
        stack_do("node-set m hold=on");
        struct stack_op slow = {0}, queued = {0};
        struct stack_answer paused = {0}, drained = {0};
        stack_submit(&slow, backend, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&paused, "%s", whom[alone][0]);
        stack_ask(&drained, backend, MAIL_DRAIN_BEGIN, NULL);
        stack_settle();
        assert_false(paused.came || drained.came);
        stack_submit(&queued, backend, OP_WRITE, 512, 512, 0, NULL);
        stack_do("%s", whom[alone][1]);
        stack_settle();
        assert_true(paused.came && paused.code == 0);
        assert_false(drained.came || slow.came || queued.came); /* which is not over */
        stack_call(backend, MAIL_DRAIN_END, NULL);
        stack_settle();
        assert_true(drained.came && !slow.came);
        assert_int_equal(shown()->in_flight, 2);
        stack_do("node-set m hold=off");
        stack_await_op(&slow);
        stack_await_op(&queued);
    }
}

static void the_engine_s_pause_covers_backends_that_are_added_meanwhile(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        backend = faulty_backend("", "");
        uint64_t before = shown_sequence();
        stack_do("pause");
        stack_do("pause"); /* again, which is fine, and tells nothing */
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=later node=n");
        actor_addr later = stack_find("later");
        struct stack_op ops[2] = {0};
        stack_submit(&ops[0], backend, OP_READ, 0, 512, 0, NULL);
        stack_submit(&ops[1], later, OP_READ, 0, 512, 0, NULL);
        stack_settle();
        assert_false(ops[0].came || ops[1].came);
        assert_int_equal(stack_do("status")->status->run_state, SLUICE__RUN_STATE__PAUSED);
        /* One alone can't be resumed against the engine. */
        stack_do("backend-resume b");
        stack_settle();
        assert_false(ops[0].came);
        stack_do("resume");
        stack_await_op(&ops[0]);
        stack_await_op(&ops[1]);
        assert_string_equal(stack_story(before + 1),
                            "STOP engine, NODE_ADDED n, BACKEND_ADDED later, RESUME engine");
    }
}

/* What it is to stand on is asked for permissions, for another one, when the state changes. */
static void a_backend_that_is_being_added_knows_the_state_it_comes_into(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        bool pauses = seed / 3 % 2;
        struct stack_answer claimed, added, paused;
        struct stack_op op = {0};
        stack_do("node-add driver=mock name=n reactor=%u",
                 (unsigned)(seed / 6) % STACK_THREADS(seed));
        stack_do("backend-add name=a node=n");
        if (!pauses)
            stack_do("pause");
        stack_claim(&claimed, "a", PERM_WRITE, PERM_ALL);
        stack_send_graph(&added, "backend-add name=b node=n");
        for (uint64_t steps = 0; steps < seed / 6; steps++)
            stack_step();
        stack_send_graph(&paused, pauses ? "pause" : "resume");
        stack_await(&claimed);
        stack_await(&added);
        stack_await(&paused);
        assert_int_equal(claimed.code | added.code | paused.code, 0);
        assert_int_equal(shown()->run_state,
                         pauses ? SLUICE__RUN_STATE__PAUSED : SLUICE__RUN_STATE__RUNNING);
        stack_submit(&op, stack_find("b"), OP_READ, 0, 512, 0, NULL);
        stack_settle();
        assert_int_equal(op.came, !pauses);
        if (pauses)
            stack_do("resume");
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
    }
}

static void an_error_can_pause_the_whole_engine(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        backend = faulty_backend("write once", "werror=stop stop=engine");
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=other node=n");
        actor_addr other = stack_find("other");
        uint64_t before = shown_sequence();
        struct stack_op failing = {0}, waiting = {0};
        stack_submit(&failing, backend, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_string_equal(stack_story(before + 1), "BLOCK_IO_ERROR b, STOP engine");
        stack_submit(&waiting, other, OP_READ, 0, 512, 0, NULL);
        stack_settle();
        assert_false(waiting.came);
        stack_do("resume");
        stack_await_op(&failing);
        stack_await_op(&waiting);
        assert_int_equal(failing.ret, 0);
    }
}

static void resume_ends_stops_by_errors_but_no_pause_that_was_asked_for(void **state)
{
    (void)state;
    stack_start(1, 1);
    backend = faulty_backend("", "");
    stack_do("backend-pause b");
    stack_do("resume");
    assert_int_equal(shown()->run_state, SLUICE__RUN_STATE__PAUSED);
    stack_do("backend-resume b");
    assert_int_equal(shown()->run_state, SLUICE__RUN_STATE__RUNNING);
    stack_stop();
}

static void a_stop_is_told_and_its_end_by_the_same_whatever_is_chosen_meanwhile(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        bool engine = seed / 3 % 2;
        struct stack_op op = {0};
        backend = faulty_backend("write once", engine ? "werror=stop stop=engine" : "werror=stop");
        assert_int_equal(shown()->stop, engine ? SLUICE__ON_ERROR__SCOPE__ENGINE
                                               : SLUICE__ON_ERROR__SCOPE__BACKEND);
        uint64_t before = shown_sequence();
        stack_submit(&op, backend, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_do("backend-set b stop=%s", engine ? "backend" : "engine");
        assert_int_equal(shown()->stop, engine ? SLUICE__ON_ERROR__SCOPE__BACKEND
                                               : SLUICE__ON_ERROR__SCOPE__ENGINE);
        stack_do("backend-resume b");
        stack_do("resume");
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        assert_string_equal(stack_story(before + 1),
                            engine ? "BLOCK_IO_ERROR b, STOP engine, RESUME engine"
                                   : "BLOCK_IO_ERROR b, STOP b, RESUME b");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pause_is_done_when_nothing_is_in_flight_and_loses_nothing),
        cmocka_unit_test(a_pause_that_ends_before_all_is_quiet_is_done_then),
        cmocka_unit_test(the_engine_s_pause_covers_backends_that_are_added_meanwhile),
        cmocka_unit_test(a_backend_that_is_being_added_knows_the_state_it_comes_into),
        cmocka_unit_test(an_error_can_pause_the_whole_engine),
        cmocka_unit_test(resume_ends_stops_by_errors_but_no_pause_that_was_asked_for),
        cmocka_unit_test(a_stop_is_told_and_its_end_by_the_same_whatever_is_chosen_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
