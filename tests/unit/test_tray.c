/* Trays, and media that go in and out through them. */
#include "device_rig.h"

/* --- The tray */

static void an_open_tray_makes_the_medium_unavailable(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        start_drive(seed);
        actor_addr b = stack_find("b");
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        uint64_t before = shown_sequence();
        stack_do("medium-open-tray b");
        assert_true(shown()->tray_open && device()->tray_open);
        assert_string_equal(shown()->node, "one"); /* inserted it is, still */
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(b, OP_TRUNCATE, 512, 0, 0), -ENOMEDIUM);
        assert_string_equal(shown_last_sent("one"), "read 0+512");
        stack_do("medium-open-tray b"); /* is open: nothing is told */
        stack_do("medium-close-tray b");
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        stack_do("medium-close-tray b");
        assert_string_equal(stack_story(before + 1), "DEVICE_TRAY_MOVED cd, DEVICE_TRAY_MOVED cd");
        const Sluice__EventList *events =
            stack_do("events-since since=%llu", (unsigned long long)before + 1)->events;
        assert_true(events->events[0]->device_tray_moved->open);
        assert_false(events->events[1]->device_tray_moved->open);
        assert_string_equal(events->events[0]->device_tray_moved->device, "cd");
        assert_string_equal(events->events[0]->device_tray_moved->backend, "b");
    }
}

static void a_tray_that_is_not_there_can_t_be_opened_but_counts_as_closed(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("backend-add name=b");
    stack_refused(-ENOTSUP, "backend 'b' has no device, and so no tray that could be opened",
                  "medium-open-tray b");
    stack_do("medium-close-tray b");
    stack_do("device-add b id=cd removable=on");
    stack_refused(-ENOTSUP, "device 'cd' of backend 'b' has no tray that could be opened",
                  "medium-open-tray b force=on");
    stack_do("medium-close-tray b");
    stack_stop();
}

static void a_closed_tray_is_not_asked_to_close(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("backend-add name=b");
        stack_do("device-add b id=cd removable=on");
        stack_device_ops(stack_find("b"), TRAYED);
        stack_device()->load_error = -EIO;
        uint64_t before = shown_sequence();
        stack_do("medium-close-tray b");
        assert_string_equal(stack_device()->log, "");
        assert_int_equal(shown_sequence(), before);
    }
}

static void a_locked_tray_asks_the_device_unless_forced(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        start_drive(seed);
        uint64_t before = shown_sequence();
        stack_do("device-set cd locked=on");
        assert_true(shown()->locked);
        stack_refused(-EINPROGRESS,
                      "device 'cd' of backend 'b' has its medium locked in, and was asked for it: "
                      "in progress",
                      "medium-open-tray b");
        assert_int_equal(device()->eject_requests, 1);
        stack_refused(-EINPROGRESS, "in progress", "medium-eject b");
        stack_refused(-EINPROGRESS, "in progress", "medium-change b two");
        assert_int_equal(device()->eject_requests, 3);
        assert_false(shown()->tray_open);
        assert_string_equal(shown()->node, "one");
        assert_string_equal(stack_story(before + 1), "");
        stack_do("medium-open-tray b force=on");
        assert_true(shown()->tray_open && !shown()->locked);
        assert_int_equal(device()->eject_requests, 4);
        stack_do("device-set cd locked=on"); /* one that is open already need not be asked */
        stack_do("medium-eject b");
        assert_int_equal(device()->eject_requests, 4);
    }
}

static void media_go_in_and_out_through_an_open_tray_only(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        start_drive(seed);
        uint64_t before = shown_sequence();
        stack_refused(-EBUSY,
                      "the tray of device 'cd' of backend 'b' is closed; open it first, with "
                      "medium-open-tray",
                      "medium-remove b");
        stack_do("medium-open-tray b");
        stack_refused(-EBUSY, "backend 'b' has a medium already, node 'one'",
                      "medium-insert b two");
        stack_do("medium-remove b");
        stack_do("medium-remove b"); /* is empty */
        stack_do("medium-close-tray b");
        stack_refused(-EBUSY, "is closed; open it first", "medium-remove b");
        stack_refused(-EBUSY, "is closed; open it first", "medium-insert b two");
        assert_null(shown()->node);
        stack_do("node-remove two"); /* nobody has it */
        stack_do("medium-open-tray b");
        stack_do("medium-insert b one");
        assert_true(shown()->tray_open);
        stack_do("medium-close-tray b");
        assert_int_equal(stack_run(stack_find("b"), OP_READ, 0, 512, 0), 0);
        assert_string_equal(stack_story(before + 1),
                            "DEVICE_TRAY_MOVED cd, MEDIUM_REMOVED b, DEVICE_TRAY_MOVED cd, "
                            "NODE_DELETED two, DEVICE_TRAY_MOVED cd, MEDIUM_INSERTED b, "
                            "DEVICE_TRAY_MOVED cd");
    }
}

static void without_a_tray_media_are_pushed_in_and_pulled_out(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=one size=1M");
        stack_do("backend-add name=b");
        stack_do("device-add b id=cd");
        actor_addr b = stack_find("b");
        stack_device_ops(b, DEVICE_OFFERS_CHANGE_MEDIA);
        uint64_t before = shown_sequence();
        stack_do("medium-insert b one");
        assert_string_equal(stack_device()->log, "load");
        stack_do("medium-eject b");
        assert_string_equal(stack_device()->log, "load, eject");
        stack_device()->load_error = -EIO;
        stack_refused(-EIO, "the rig does not load", "medium-insert b one");
        assert_null(shown()->node);
        assert_string_equal(stack_story(before + 1), "MEDIUM_INSERTED b, MEDIUM_REMOVED b");
        stack_do("node-remove one");
    }
}

static void a_backend_without_a_device_needs_no_tray(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=one size=1M");
        stack_do("backend-add name=b node=one");
        uint64_t before = shown_sequence();
        stack_do("medium-eject b");
        stack_do("medium-eject b");
        stack_do("medium-insert b one");
        stack_do("medium-change b one");
        assert_string_equal(
            stack_story(before + 1),
            "MEDIUM_REMOVED b, MEDIUM_INSERTED b, MEDIUM_REMOVED b, MEDIUM_INSERTED b");
        assert_int_equal(stack_run(stack_find("b"), OP_READ, 0, 512, 0), 0);
    }
}

static void a_medium_under_an_export_can_be_changed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=one size=1M");
        stack_do("node-add driver=mock name=two size=2M");
        stack_do("backend-add name=b node=one");
        stack_do("export-add type=nbd backend=b port=0 id=cd writable=on");
        stack_do("medium-change b two");
        assert_int_equal(shown()->length, 2 * MIB);
        stack_do("medium-eject b");
        stack_do("medium-insert b one");
    }
}

static void eject_opens_the_tray_and_takes_the_medium_out(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        start_drive(seed);
        uint64_t before = shown_sequence();
        stack_do("medium-eject b");
        assert_true(shown()->tray_open);
        assert_null(shown()->node);
        stack_do("medium-eject b");
        assert_string_equal(stack_story(before + 1), "DEVICE_TRAY_MOVED cd, MEDIUM_REMOVED b");
    }
}

/* --- Loading may fail */

static void a_load_that_fails_is_told_to_who_asked_and_by_no_event(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        start_drive(seed);
        stack_do("medium-open-tray b");
        stack_do("device-set cd jammed=on");
        uint64_t before = shown_sequence();
        stack_refused(-EIO, "the tray of device 'cd' is jammed and does not close",
                      "medium-close-tray b");
        assert_true(shown()->tray_open);
        stack_refused(-EIO, "is jammed and does not close; unjam it with jammed=off",
                      "device-set cd tray-open=off");
        assert_string_equal(stack_story(before + 1), "");
        stack_do("device-set cd jammed=off");
        stack_do("medium-close-tray b");
        assert_string_equal(stack_story(before + 1), "DEVICE_TRAY_MOVED cd");
    }
}

static void a_device_that_is_gone_while_it_is_asked_does_not_load(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer closed;
        stack_do("backend-add name=b");
        stack_do("device-add b id=cd removable=on");
        actor_addr b = stack_find("b");
        stack_device()->tray_open = stack_device()->hold = true;
        stack_device_ops(b, TRAYED);
        stack_send(&closed, "medium-close-tray b");
        stack_settle();
        assert_false(closed.came);
        stack_refused(-EBUSY, "backend 'b' is being changed", "medium-open-tray b");
        stack_do("device-remove cd");
        stack_device_answer(); /* by one that has no say any more */
        stack_await(&closed);
        assert_false(shown()->tray || shown()->tray_open);
    }
}

static void ask_device(struct stack_answer *answer, actor_addr b, Sluice__DeviceCall__Call call)
{
    Sluice__DeviceAsk *ask = MAIL_NEW(sluice__device_ask);
    ask->call = call;
    stack_ask(answer, b, MAIL_DEVICE_ASK, ask);
}

/* The medium was about to come or to go when its owner asked, and each has its own answer. */
static void what_the_owner_asks_and_what_a_medium_asks_are_two_questions(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer removed, asked, inserted;
        actor_addr b = stack_backend("m", "driver=mock hold=on", "");
        stack_device_ops(b, DEVICE_OFFERS_CHANGE_MEDIA | DEVICE_OFFERS_EJECT_REQUEST);
        stack_device()->hold = true;
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&removed, "medium-remove b");
        stack_settle();
        ask_device(&asked, b, SLUICE__DEVICE_CALL__CALL__EJECT_REQUEST);
        stack_settle();
        stack_do("node-set m hold=off");
        stack_settle();
        assert_string_equal(stack_device()->log, "eject-request, eject");
        stack_device_answer();
        stack_await(&asked);
        assert_int_equal(asked.code, 0);
        stack_settle();
        assert_false(removed.came);
        stack_device_answer();
        stack_await(&removed);
        assert_int_equal(removed.code, 0);
        stack_await_op(&op);

        uint64_t session = stack_media_session(b);
        stack_media()->hold = true;
        stack_device()->load_error = -EIO;
        stack_send(&inserted, "medium-insert backend=b node=m");
        stack_settle();
        ask_device(&asked, b, SLUICE__DEVICE_CALL__CALL__EJECT_REQUEST);
        stack_settle();
        stack_media_answer();
        stack_settle();
        assert_string_equal(stack_device()->log, "eject-request, eject, eject-request, load");
        stack_device_answer();
        stack_await(&asked);
        stack_device_answer();
        stack_media()->hold = false;
        stack_settle();
        stack_media_answer();
        stack_await(&inserted);
        assert_int_equal(asked.code, 0);
        assert_int_equal(inserted.code, -EIO);
        assert_null(shown()->node);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(session));
    }
}

static void a_backend_that_goes_answers_who_has_asked_its_device(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer load, eject;
        stack_do("backend-add name=b");
        actor_addr b = stack_find("b");
        stack_device()->hold = true;
        stack_device_ops(b, DEVICE_OFFERS_CHANGE_MEDIA);
        bool loads = seed / 3 % 2;
        ask_device(&load, b,
                   loads ? SLUICE__DEVICE_CALL__CALL__LOAD : SLUICE__DEVICE_CALL__CALL__EJECT);
        stack_settle();
        ask_device(&eject, b, SLUICE__DEVICE_CALL__CALL__EJECT);
        stack_await(&eject);
        assert_int_equal(eject.code, -EBUSY);
        stack_release("b");
        stack_do("backend-remove b");
        stack_await(&load);
        assert_int_equal(load.code, loads ? -ESHUTDOWN : 0);
        stack_device_answer();
    }
}

/* Nothing is left to eject from, so the tray counts as open. */
static void an_eject_that_is_not_answered_has_not_failed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer opened;
        start_drive(seed);
        stack_device_ops(stack_find("b"), TRAYED);
        stack_device()->hold = true;
        stack_send(&opened, "medium-open-tray b");
        stack_settle();
        assert_false(opened.came);
        stack_device_refuse(-EIO);
        stack_await(&opened);
        assert_int_equal(opened.code, 0);
    }
}

/* --- What a frontend does by itself */

static void a_frontend_s_own_eject_is_always_told_medium_or_none(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        start_drive(seed);
        uint64_t before = shown_sequence();
        stack_do("device-set cd tray-open=on");
        assert_true(shown()->tray_open);
        stack_do("medium-remove b");
        stack_do("device-set cd tray-open=off");
        assert_string_equal(stack_story(before + 1),
                            "DEVICE_TRAY_MOVED cd, MEDIUM_REMOVED b, DEVICE_TRAY_MOVED cd");
        /* Also when nothing changes, nobody is attached, and nothing is there. */
        stack_do("device-remove cd");
        before = shown_sequence();
        actor_addr b = stack_find("b");
        stack_device_ops(b, TRAYED);
        stack_device_state(b, SLUICE__DEVICE_STATE__ACT__LOAD);
        stack_device_state(b, SLUICE__DEVICE_STATE__ACT__EJECT);
        stack_settle();
        assert_string_equal(stack_story(before + 1), "DEVICE_TRAY_MOVED , DEVICE_TRAY_MOVED ");
        /* A state that is told is an event only when the tray has moved. */
        stack_device_state(b, SLUICE__DEVICE_STATE__ACT__NONE);
        stack_device()->tray_open = true;
        stack_device_state(b, SLUICE__DEVICE_STATE__ACT__NONE);
        stack_device_state(b, SLUICE__DEVICE_STATE__ACT__NONE);
        stack_settle();
        assert_string_equal(stack_story(before + 1),
                            "DEVICE_TRAY_MOVED , DEVICE_TRAY_MOVED , DEVICE_TRAY_MOVED ");
    }
}

static void a_locked_drive_does_not_eject_by_itself(void **state)
{
    (void)state;
    stack_start(2, 1);
    start_drive(0);
    stack_do("device-set cd locked=on");
    stack_refused(-EBUSY, "device 'cd' does not open its tray: the medium is locked in",
                  "device-set cd tray-open=on");
    stack_do("device-set cd tray-open=on locked=off");
    assert_true(shown()->tray_open && !shown()->locked);
    stack_stop();
}

static void lock_and_eject_go_down_to_the_driver_through_filters(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=n size=1M");
        stack_do("node-add driver=raw child=n name=w reactor=%u",
                 (unsigned)(seed / 3) % STACK_THREADS(seed));
        stack_do("backend-add name=b node=w");
        stack_do("device-add b id=cd removable=on tray=on");
        static const struct {
            const char *request, *sent;
        } acts[] = {{"device-set cd locked=on", "lock"},
                    {"device-set cd locked=off", "unlock"},
                    {"device-set cd tray-open=on", "eject"},
                    {"device-set cd tray-open=off", "load"}};
        for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
            stack_do("%s", acts[i].request);
            stack_settle();
            assert_string_equal(shown_last_sent("n"), acts[i].sent);
        }
        stack_do("medium-eject b"); /* a console's does not: that is the device's business */
        stack_settle();
        assert_string_equal(shown_last_sent("n"), "load");
        stack_do("device-set cd locked=on tray-open=off"); /* without a medium: nobody is told */
        stack_settle();
        assert_string_equal(shown_last_sent("n"), "load");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_open_tray_makes_the_medium_unavailable),
        cmocka_unit_test(a_tray_that_is_not_there_can_t_be_opened_but_counts_as_closed),
        cmocka_unit_test(a_closed_tray_is_not_asked_to_close),
        cmocka_unit_test(a_locked_tray_asks_the_device_unless_forced),
        cmocka_unit_test(media_go_in_and_out_through_an_open_tray_only),
        cmocka_unit_test(without_a_tray_media_are_pushed_in_and_pulled_out),
        cmocka_unit_test(a_backend_without_a_device_needs_no_tray),
        cmocka_unit_test(a_medium_under_an_export_can_be_changed),
        cmocka_unit_test(eject_opens_the_tray_and_takes_the_medium_out),
        cmocka_unit_test(a_load_that_fails_is_told_to_who_asked_and_by_no_event),
        cmocka_unit_test(a_device_that_is_gone_while_it_is_asked_does_not_load),
        cmocka_unit_test(what_the_owner_asks_and_what_a_medium_asks_are_two_questions),
        cmocka_unit_test(a_backend_that_goes_answers_who_has_asked_its_device),
        cmocka_unit_test(an_eject_that_is_not_answered_has_not_failed),
        cmocka_unit_test(a_frontend_s_own_eject_is_always_told_medium_or_none),
        cmocka_unit_test(a_locked_drive_does_not_eject_by_itself),
        cmocka_unit_test(lock_and_eject_go_down_to_the_driver_through_filters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
