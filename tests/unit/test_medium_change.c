/* Changes of a device's medium in one step: through the tray, with what is in flight, and back when
 * one fails. */
#include "device_rig.h"

static void a_change_goes_through_the_tray_and_ends_closed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        start_drive(seed);
        actor_addr b = stack_find("b");
        uint64_t before = shown_sequence();
        stack_do("medium-change b two");
        assert_non_null(strstr(stack_story(before + 1),
                               "DEVICE_TRAY_MOVED cd, MEDIUM_REMOVED b, MEDIUM_INSERTED b, "
                               "DEVICE_TRAY_MOVED cd"));
        assert_false(shown()->tray_open);
        assert_string_equal(shown()->node, "two");
        assert_int_equal(shown()->length, 2 * MIB);
        assert_int_equal(shown()->reactor, stack_do("node-show two")->node->reactor);
        assert_int_equal(stack_run(b, OP_READ, MIB, 512, 0), 0);
        assert_string_equal(shown_last_sent("two"), "read 1048576+512");
        stack_do("node-remove one");
        stack_do("medium-open-tray b");
        stack_do("medium-change b two"); /* from an open tray, onto the same */
        assert_false(shown()->tray_open);
        stack_do("medium-eject b");
        stack_do("medium-change b two"); /* and into an empty one */
        assert_false(shown()->tray_open);
        assert_int_equal(stack_run(b, OP_READ, MIB, 512, 0), 0);
    }
}

static void
a_change_waits_for_what_is_in_flight_and_what_comes_meanwhile_goes_on_after(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op before, meanwhile;
        struct stack_answer changed;
        start_drive(seed);
        stack_do("node-set one hold=on");
        actor_addr b = stack_find("b");
        stack_submit(&before, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&changed, "medium-change b two");
        stack_settle();
        stack_submit(&meanwhile, b, OP_WRITE, 4096, 512, 0, NULL);
        stack_settle();
        assert_false(before.came || changed.came || meanwhile.came);
        stack_refused(-EBUSY, "node 'two' can't be removed: backend 'b' uses it",
                      "node-remove two");
        stack_do("node-set one hold=off");
        stack_await(&changed);
        stack_await_op(&meanwhile);
        assert_int_equal(changed.code, 0);
        assert_int_equal(before.ret, 0);
        assert_int_equal(meanwhile.ret, 0);
        assert_string_equal(shown_last_sent("two"), "write 4096+512");
    }
}

static void a_failed_change_keeps_the_old_medium_and_sends_no_event(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        start_drive(seed);
        stack_do("node-add driver=mock name=ro read-only=on");
        stack_do("node-add driver=mock name=no deny=consistent-read");
        stack_do("backend-add name=other node=two");
        stack_do("device-add other id=o");
        stack_do("device-remove cd");
        stack_do("device-add b id=cd removable=on tray=on writable=on");
        stack_do("device-set cd locked=on");
        actor_addr b = stack_find("b");
        uint64_t before = shown_sequence();
        static const struct {
            int code;
            const char *text, *request;
        } tries[] = {
            {-ENOENT, "there is no node 'x'", "medium-change b x"},
            {-ENOENT, "there is no backend 'x'", "medium-change x two"},
            {-EINPROGRESS, "in progress", "medium-change b two"},
            {-EACCES, "node 'ro' is read-only, so backend 'b' can't get it read-write",
             "medium-change b ro mode=read-write force=on"},
            {-EPERM, "node 'ro' is read-only", "medium-change b ro force=on"},
            {-EPERM, "gives nobody 'consistent-read'", "medium-change b no force=on"},
            {-EPERM, "needs 'write' on node 'two', which backend 'other', for device 'o' does not",
             "medium-change b two force=on"},
            {-EPERM, "backend 'b' can't get a medium read-only: its users have 'write' there",
             "medium-change b two force=on mode=read-only"},
        };
        for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
            stack_refused(tries[i].code, tries[i].text, "%s", tries[i].request);
            assert_string_equal(shown()->node, "one");
            assert_false(shown()->tray_open);
            assert_true(shown()->locked);
            assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        }
        assert_string_equal(stack_story(before + 1), "");
        const Sluice__NodeInfo *info = stack_do("node-show one")->node;
        assert_int_equal(info->n_users, 1);
        stack_do("node-remove ro");
        stack_do("node-remove no");
    }
}

static void one_that_does_not_load_gets_its_old_medium_back(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=one size=1M");
        stack_do("node-add driver=mock name=two size=2M");
        stack_do("backend-add name=b node=one");
        stack_do("device-add b id=cd removable=on");
        actor_addr b = stack_find("b");
        stack_device()->load_error = -EIO;
        stack_device()->hold = true;
        stack_device_ops(b, TRAYED);
        uint64_t before = shown_sequence();
        struct stack_answer changed;
        stack_send(&changed, "medium-change b two");
        stack_settle();
        stack_device_answer(); /* eject */
        stack_settle();
        stack_device_answer(); /* load: refused */
        stack_settle();
        stack_device()->load_error = 0;
        stack_device_answer(); /* load, of the old one */
        stack_await(&changed);
        assert_int_equal(changed.code, -EIO);
        assert_string_equal(changed.text, "the rig does not load");
        assert_string_equal(stack_device()->log, "eject, load, load");
        assert_string_equal(shown()->node, "one");
        assert_int_equal(shown()->length, MIB);
        assert_false(shown()->tray_open);
        assert_string_equal(stack_story(before + 1), "");
        stack_device()->hold = false;
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        assert_string_equal(shown_last_sent("one"), "read 0+512");
        stack_do("node-remove two");
        /* One that loads neither stays open, which is the truth, and told. */
        stack_do("node-add driver=mock name=two size=2M");
        stack_device()->load_error = -EIO;
        stack_refused(-EIO, "the rig does not load", "medium-change b two");
        assert_true(shown()->tray_open);
        assert_string_equal(shown()->node, "one");
        assert_non_null(strstr(stack_story(before + 1), "DEVICE_TRAY_MOVED cd"));
        assert_null(strstr(stack_story(before + 1), "MEDIUM"));
    }
}

static void an_old_medium_that_somebody_took_meanwhile_is_lost_and_that_is_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=one size=1M");
        stack_do("node-add driver=mock name=two size=2M");
        stack_do("backend-add name=b node=one");
        stack_do("backend-add name=thief node=one");
        stack_do("device-add b id=cd removable=on writable=on");
        actor_addr b = stack_find("b");
        stack_device()->load_error = -EIO;
        stack_device()->hold = true;
        stack_device_ops(b, TRAYED);
        uint64_t before = shown_sequence();
        struct stack_answer changed;
        stack_send(&changed, "medium-change b two");
        stack_settle();
        stack_do("device-add thief id=t writable=on");
        stack_device()->hold = false;
        stack_device_answer();
        stack_await(&changed);
        assert_int_equal(changed.code, -EIO);
        assert_null(shown()->node);
        assert_non_null(strstr(stack_story(before + 1), "MEDIUM_REMOVED b"));
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), -ENOMEDIUM);
    }
}

static void a_change_retains_read_only_or_sets_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=ro read-only=on");
        stack_do("node-add driver=mock name=rw");
        stack_do("backend-add name=b node=ro");
        stack_do("medium-change b rw");
        assert_true(shown()->read_only); /* as it was with the medium before */
        stack_refused(-EPERM, "it is read-only",
                      "export-add type=nbd backend=b port=0 writable=on");
        stack_do("medium-change b rw mode=read-write");
        assert_false(shown()->read_only);
        stack_do("medium-change b rw");
        assert_false(shown()->read_only);
        stack_do("export-add type=nbd backend=b port=0 writable=on");
        stack_do("export-remove b");
        stack_do("medium-change b rw mode=read-only");
        assert_true(shown()->read_only);
        stack_do("medium-remove b");
        assert_true(shown()->read_only); /* the root state stays */
        stack_do("medium-change b rw mode=retain");
        assert_true(shown()->read_only);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_goes_through_the_tray_and_ends_closed),
        cmocka_unit_test(
            a_change_waits_for_what_is_in_flight_and_what_comes_meanwhile_goes_on_after),
        cmocka_unit_test(a_failed_change_keeps_the_old_medium_and_sends_no_event),
        cmocka_unit_test(one_that_does_not_load_gets_its_old_medium_back),
        cmocka_unit_test(an_old_medium_that_somebody_took_meanwhile_is_lost_and_that_is_told),
        cmocka_unit_test(a_change_retains_read_only_or_sets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
