/* What is told of errors, and what becomes of those that are held, in a whole stepped engine: each
 * seed is another order of what happens. See test_backend_errors.c for what is done about errors.
 */
#include "faulty_rig.h"

static actor_addr backend;

/* The newest error that was told. */
static const Sluice__IoErrorEvent *told(void)
{
    stack_settle(); /* it is told by mail, which may be slower than the request's end */
    const Sluice__EventList *list = stack_do("events-since since=1")->events;
    for (size_t i = list->n_events; i--;)
        if (list->events[i]->body_case == SLUICE__EVENT__BODY_BLOCK_IO_ERROR)
            return list->events[i]->block_io_error;
    fail_msg("no error was told");
    return NULL;
}

/* --- The event */

static void everything_but_a_read_is_told_as_a_write(void **state)
{
    (void)state;
    static const enum op_kind kinds[] = {
        OP_READ,  OP_WRITE,    OP_ZEROES, OP_DISCARD,      OP_FLUSH,
        OP_IOCTL, OP_TRUNCATE, OP_READ,   OP_SAVE_VMSTATE, OP_LOAD_VMSTATE,
    };
    stack_start(2, 1);
    stack_do("node-add driver=mock name=m size=1M error=%d", EIO);
    stack_do("backend-add name=b node=m");
    backend = stack_find("b");
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        bool plain = kinds[i] == OP_FLUSH || kinds[i] == OP_TRUNCATE;
        stack_pass(2 * NS_PER_S); /* so that the error is told at once */
        assert_int_equal(stack_run(backend, kinds[i], 0, plain ? 0 : 512, 0), -EIO);
        assert_string_equal(told()->operation, kinds[i] == OP_READ ? "read" : "write");
    }
    stack_stop();
}

static void the_event_tells_what_was_done_and_why(void **state)
{
    (void)state;
    static const struct {
        const char *policy, *errno_name, *reason;
        Sluice__IoErrorEvent__Action action;
        bool nospace;
    } cases[] = {
        {"report", "EIO", "Input/output error", SLUICE__IO_ERROR_EVENT__ACTION__REPORT, false},
        {"ignore", "ENOSPC", "No space left", SLUICE__IO_ERROR_EVENT__ACTION__IGNORE, true},
        {"stop", "EIO", "Input/output error", SLUICE__IO_ERROR_EVENT__ACTION__STOP, false},
        {"enospc", "ENOSPC", "No space left", SLUICE__IO_ERROR_EVENT__ACTION__STOP, true},
    };
    stack_start(2, 1);
    backend = faulty_backend("", "");
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stack_op op;
        stack_pass(2 * NS_PER_S);
        stack_do("node-set f rules='write errno=%s once'", cases[i].errno_name);
        stack_do("backend-set b werror=%s", cases[i].policy);
        stack_submit(&op, backend, OP_WRITE, 4096, 512, 0, NULL);
        stack_settle();
        const Sluice__IoErrorEvent *event = told();
        assert_int_equal(event->action, cases[i].action);
        assert_int_equal(event->nospace, cases[i].nospace);
        assert_non_null(strstr(event->reason, cases[i].reason));
        assert_string_equal(event->backend, "b");
        assert_int_equal(event->offset, 4096);
        assert_int_equal(event->length, 512);
        stack_do("backend-resume b");
        stack_await_op(&op);
    }
    stack_stop();
}

/* A drive whose medium was taken out while a request was with it. */
static void the_event_names_no_node_when_the_medium_has_gone(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        stack_do("node-add driver=mock name=m size=1M hold=on");
        stack_do("backend-add name=b node=m");
        backend = stack_find("b");
        stack_submit(&op, backend, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_do("node-set m empty=on");
        stack_settle();
        assert_false(op.came);
        stack_do("node-set m hold=off error=%d", EIO);
        stack_await_op(&op);
        assert_int_equal(op.ret, -EIO);
        assert_null(told()->node);
        stack_do("node-set m empty=off");
        stack_pass(2 * NS_PER_S);
        assert_int_equal(stack_run(backend, OP_WRITE, 0, 512, 0), -EIO);
        assert_string_equal(told()->node, "m");
    }
}

/* Errors that the engine has a meaning of its own for are no such thing when a medium says them. */
static void an_error_that_is_the_engines_word_too_is_a_failure_of_the_medium(void **state)
{
    (void)state;
    static const struct {
        const char *failing, *reason;
        int64_t ret;
    } cases[] = {
        {"m error=6", "No such device", -ENODEV},
        {"m error=108", "not connected", -ENOTCONN},
        {"f rules='any errno=ENXIO'", "No such device", -ENODEV},
        {"f rules='any errno=ESHUTDOWN'", "not connected", -ENOTCONN},
        {"m error=125", "canceled", -ECANCELED}, /* nobody has cancelled it */
        {"f rules='any errno=ECANCELED'", "canceled", -ECANCELED},
    };
    FOR_EACH_SEED(seed)
    {
        unsigned i = (unsigned)(seed / 3 % 6);
        struct stack_op op;
        backend = faulty_backend("", "");
        stack_do("node-set %s", cases[i].failing);
        assert_int_equal(stack_run(backend, OP_WRITE, 0, 512, 0), cases[i].ret);
        assert_non_null(strstr(told()->reason, cases[i].reason));
        assert_int_equal(shown()->write->failed, 1);
        assert_int_equal(shown()->write->invalid, 0);
        stack_do("backend-set b rerror=stop");
        stack_submit(&op, backend, OP_READ, 0, 512, 0, NULL);
        stack_settle();
        assert_false(op.came);
        stack_do("node-set m error=0");
        stack_do("node-set f rules=");
        stack_do("backend-resume b");
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
    }
}

/* What happened before a stop is told before it, of whatever kind. */
static void errors_that_are_counted_are_told_before_a_stop(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        bool by_hand = seed / 3 % 2;
        backend =
            faulty_backend("read errno=EIO; write errno=ENOSPC", "rerror=report werror=enospc");
        uint64_t before = shown_sequence();
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(stack_run(backend, OP_READ, 0, 512, 0), -EIO);
        if (by_hand)
            stack_do("backend-pause b");
        stack_submit(&op, backend, OP_WRITE, 0, 512, 0, NULL);
        stack_pass(2 * NS_PER_S);
        assert_string_equal(stack_story(before + 1),
                            by_hand
                                ? "BLOCK_IO_ERROR b, BLOCK_IO_ERROR b, STOP b"
                                : "BLOCK_IO_ERROR b, BLOCK_IO_ERROR b, BLOCK_IO_ERROR b, STOP b");
        const Sluice__EventList *list =
            stack_do("events-since since=%u", (unsigned)before + 1)->events;
        assert_int_equal(list->events[1]->block_io_error->count, 2);
        assert_string_equal(list->events[1]->block_io_error->operation, "read");
        stack_do("node-set f rules=");
        stack_do("backend-resume b");
        stack_await_op(&op);
    }
}

/* --- The status */

static void the_first_error_stays_until_a_reset(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        bool full = seed / 3 % 2; /* the first */
        struct stack_op ops[2];
        backend = faulty_backend(
            full ? "write nth=1 errno=ENOSPC delay=1ms; write nth=2 errno=EIO delay=2ms"
                 : "write nth=1 errno=EIO delay=1ms; write nth=2 errno=ENOSPC delay=2ms",
            "werror=stop");
        for (unsigned i = 0; i < 2; i++)
            stack_submit(&ops[i], backend, OP_WRITE, i * 512, 512, 0, NULL);
        stack_pass(5 * NS_PER_MS);
        assert_int_equal(shown()->held, 2);
        assert_int_equal(shown()->io_status,
                         full ? SLUICE__IO_STATUS__NOSPACE : SLUICE__IO_STATUS__FAILED);
        /* Asked for, it is reset, and what is held stays so. */
        stack_do("backend-set b io_status=on");
        assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__OK);
        assert_int_equal(shown()->held, 2);
        stack_do("backend-resume b");
        for (unsigned i = 0; i < 2; i++) {
            stack_await_op(&ops[i]);
            assert_int_equal(ops[i].ret, 0);
        }
    }
}

static void an_ioctl_and_vm_state_follow_the_policy_of_writes(void **state)
{
    (void)state;
    static const enum op_kind kinds[] = {OP_IOCTL, OP_SAVE_VMSTATE, OP_LOAD_VMSTATE};
    stack_start(2, 1);
    stack_do("node-add driver=mock name=m size=1M");
    stack_do("backend-add name=b node=m rerror=report werror=stop");
    backend = stack_find("b");
    for (unsigned i = 0; i < 3; i++) {
        struct stack_op op;
        stack_do("node-set m error=%d", EIO);
        stack_submit(&op, backend, kinds[i], 0, 512, 0, NULL);
        stack_settle();
        assert_false(op.came);
        assert_int_equal(shown()->held, 1);
        stack_do("node-set m error=0 ioctl-result=7");
        stack_do("backend-resume b");
        stack_await_op(&op);
        assert_int_equal(op.ret, kinds[i] == OP_IOCTL ? 7 : 0);
    }
    stack_stop();
}

/* Else whoever may send one could stop the backend by asking nonsense. */
static void
an_ioctl_that_the_medium_does_not_take_goes_to_who_asked_whatever_the_policy(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *text;
        Sluice__Error__Class class;
    } cases[] = {
        {ENOTTY, "the medium does not have it", SLUICE__ERROR__CLASS__UNSUPPORTED},
        {EINVAL, "Invalid argument", SLUICE__ERROR__CLASS__INVALID},
        {EPERM, "the driver refuses this code", SLUICE__ERROR__CLASS__DENIED},
    };
    static const char *const policies[] = {"stop", "ignore", "enospc", "report"};
    stack_start(2, 1);
    stack_do("node-add driver=mock name=m size=1M");
    stack_do("backend-add name=b node=m");
    backend = stack_find("b");
    for (unsigned i = 0; i < 12; i++) {
        int code = cases[i % 3].code;
        stack_do("node-set m error=%d", code);
        stack_do("backend-set b werror=%s", policies[i / 3]);
        assert_int_equal(stack_run(backend, OP_IOCTL, 1, 8, 0), -code);
        struct stack_answer refusal;
        stack_send(&refusal, "io-ioctl b 1 bytes=8");
        stack_await(&refusal);
        assert_int_equal(refusal.code, -code);
        assert_int_equal(refusal.class, cases[i % 3].class);
        assert_non_null(strstr(refusal.text, cases[i % 3].text));
        assert_int_equal(shown()->ioctl->invalid, 2 * (i + 1));
        assert_int_equal(shown()->ioctl->failed, 0);
        assert_int_equal(shown()->run_state, SLUICE__RUN_STATE__RUNNING);
    }
    /* Of anything else it is a failure. */
    stack_do("node-set m error=%d", ENOTTY);
    assert_int_equal(stack_run(backend, OP_WRITE, 0, 512, 0), -ENOTTY);
    assert_int_equal(shown()->write->failed, 1);
    stack_stop();
}

/* --- The end of those that are held */

static void a_shutdown_does_not_wait_for_what_is_held(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op held[2], queued;
        struct stack_answer ended;
        backend = faulty_backend(
            "write nth=1 delay=1ms errno=ENOSPC; write nth=2 delay=1ms errno=EIO", "werror=stop");
        for (unsigned i = 0; i < 2; i++)
            stack_submit(&held[i], backend, OP_WRITE, i * 512, 512, 0, NULL);
        stack_pass(NS_PER_MS);
        assert_int_equal(shown()->held, 2);
        stack_submit(&queued, backend, OP_READ, 0, 512, 0, NULL);
        stack_settle();
        stack_release("b");
        uint64_t begun = engine_now(stack_engine());
        Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
        shutdown->deadline = 30 * NS_PER_S;
        stack_ask(&ended, stack_world()->graph, MAIL_SHUTDOWN, shutdown);
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_true(engine_now(stack_engine()) - begun < NS_PER_S);
        stack_settle();
        assert_true(held[0].came && held[1].came && queued.came);
        assert_int_equal(held[0].ret, -ENOSPC);
        assert_int_equal(held[1].ret, -EIO);
        assert_int_equal(queued.ret, -ESHUTDOWN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_but_a_read_is_told_as_a_write),
        cmocka_unit_test(the_event_tells_what_was_done_and_why),
        cmocka_unit_test(the_event_names_no_node_when_the_medium_has_gone),
        cmocka_unit_test(an_error_that_is_the_engines_word_too_is_a_failure_of_the_medium),
        cmocka_unit_test(errors_that_are_counted_are_told_before_a_stop),
        cmocka_unit_test(the_first_error_stays_until_a_reset),
        cmocka_unit_test(an_ioctl_and_vm_state_follow_the_policy_of_writes),
        cmocka_unit_test(
            an_ioctl_that_the_medium_does_not_take_goes_to_who_asked_whatever_the_policy),
        cmocka_unit_test(a_shutdown_does_not_wait_for_what_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
