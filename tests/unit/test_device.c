/* Devices of backends, and backends of exports, as consoles see them. */
#include "device_rig.h"

/* --- One device */

static void a_second_device_is_refused_and_the_first_one_named(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=b node=n");
        stack_do("backend-add name=c node=n");
        stack_do("device-add b id=cd");
        stack_refused(-EBUSY,
                      "backend 'b' has a device already, device 'cd'; remove that first, or use a "
                      "backend of its own on the same node",
                      "device-add b id=dvd");
        stack_refused(-EBUSY, "backend 'b' has a device already, device 'cd'",
                      "export-add type=nbd backend=b port=0 id=e");
        stack_do("export-add type=nbd backend=c port=0 id=e");
        stack_refused(-EBUSY, "backend 'c' has a device already, export 'e'", "device-add c");
        stack_refused(-EBUSY, "backend 'c' has a device already, export 'e'",
                      "export-add type=nbd backend=c port=0 id=f");
        assert_string_equal(shown()->device, "cd");
        assert_string_equal(stack_do("backend-show c")->backend->device, "e");
        stack_do("device-remove cd");
        assert_null(shown()->device);
        stack_do("export-remove e");
        stack_do("device-add c"); /* its id is the backend's name */
        assert_string_equal(stack_do("device-show c")->device->backend, "c");
    }
}

static void of_two_devices_at_once_one_is_attached(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer one, two;
        stack_do("backend-add name=b");
        stack_send(&one, "device-add b id=one");
        for (uint64_t i = 0; i < seed / 3; i++)
            stack_step();
        stack_send(&two, "device-add b id=two");
        stack_await(&one);
        stack_await(&two);
        assert_int_equal(one.code, 0);
        assert_int_equal(two.code, -EBUSY);
        assert_string_equal(shown()->device, "one");
    }
}

static void an_id_is_one_device_s_or_one_export_s(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("node-add driver=null name=n");
    stack_do("backend-add name=b");
    stack_do("export-add type=nbd node=n port=0 id=e");
    stack_refused(-EEXIST, "there is an export 'e' already; choose another id for the new device",
                  "device-add b id=e");
    stack_do("device-add b id=cd");
    stack_refused(-EEXIST, "there is a device 'cd' already; choose another id for the new export",
                  "export-add type=nbd node=n port=0 id=cd");
    stack_refused(-EINVAL, "'9' can't name the new device: it begins with '9'",
                  "device-add b id=9");
    stack_stop();
}

static void a_device_holds_its_backend_until_it_is_removed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("status");
        unsigned actors = stack_actors();
        stack_do("backend-add name=b");
        uint64_t before = shown_sequence();
        stack_do("device-add b id=cd removable=on");
        stack_refused(-EBUSY, "backend 'b' can't be removed: device 'cd' uses it",
                      "backend-remove b");
        assert_string_equal(shown()->users[0], "cd");
        const Sluice__DeviceList *list = stack_do("device-list")->devices;
        assert_int_equal(list->n_devices, 1);
        assert_string_equal(list->devices[0]->id, "cd");
        assert_int_equal(stack_do("status")->status->n_devices, 1);
        stack_do("device-remove cd");
        assert_int_equal(stack_do("status")->status->n_devices, 0);
        stack_do("backend-remove b");
        stack_refused(-ENOENT, "there is no device 'cd'; device-list tells which there are",
                      "device-show cd");
        assert_string_equal(stack_story(before + 1),
                            "DEVICE_ADDED cd, DEVICE_DELETED cd, BACKEND_DELETED b");
        assert_int_equal(stack_actors(), actors);
    }
}

static void an_attach_forgets_the_errors_so_far(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        stack_do("node-add driver=mock name=n error=5");
        stack_do("backend-add name=b node=n werror=stop");
        stack_submit(&op, stack_find("b"), OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__FAILED);
        stack_do("device-add b id=cd");
        assert_int_equal(shown()->io_status, SLUICE__IO_STATUS__OK);
        stack_do("node-set n error=0");
        stack_do("backend-resume b");
        stack_await_op(&op);
    }
}

static void a_device_has_a_drive_s_permissions_and_gives_them_back(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=b node=n");
        stack_do("backend-add name=c node=n");
        stack_do("device-add b id=cd");
        perm_assert("b", "consistent-read", "consistent-read,write-unchanged");
        assert_false(device()->writable);
        stack_do("device-remove cd");
        perm_assert("b", "", ALL);
        stack_do("device-add b id=cd writable=on");
        perm_assert("b", "consistent-read,write", "consistent-read,write-unchanged");
        stack_refused(-EPERM,
                      "backend 'b', for device 'cd' needs 'write' on node 'n', which backend 'c', "
                      "for device 'x' does not share",
                      "device-add c id=x writable=on");
        /* One without a name is called by its device's. */
        stack_refused(-EPERM,
                      "backend 'n', for export 'n' needs 'write' on node 'n', which backend 'b', "
                      "for device 'cd' does not share",
                      "export-add type=nbd node=n port=0 writable=on");
        assert_int_equal(stack_do("device-list")->devices->n_devices, 1);
        stack_do("device-remove cd");
        stack_do("device-add b id=cd writable=on share-rw=on");
        perm_assert("b", "consistent-read,write", "consistent-read,write,write-unchanged");
        stack_do("device-add c id=x writable=on share-rw=on");
        assert_true(device()->writable && device()->share_rw && !device()->embedded);
    }
}

static void a_device_ties_its_backend_to_its_reactor_unless_forced(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add driver=null name=n reactor=0");
    stack_do("backend-add name=b node=n");
    stack_do("backend-add name=c node=n");
    stack_do("device-add b id=cd removable=on");
    stack_refused(-EBUSY, "backend 'b' on the same nodes has device 'cd'; give force=on",
                  "backend-move c reactor=1");
    assert_int_equal(shown()->reactor, 0);
    stack_do("backend-move c reactor=1 force=on");
    assert_int_equal(shown()->reactor, 1);
    stack_do("device-set cd locked=on"); /* which finds it there */
    assert_true(shown()->locked);
    stack_stop();
}

static void a_read_only_backend_has_no_device_that_writes(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("backend-add name=b read-only=on");
    stack_refused(-EPERM, "'cd' can't write to backend 'b': it is read-only",
                  "device-add b id=cd writable=on");
    stack_do("device-add b id=cd");
    stack_stop();
}

static void what_a_device_can_t_be_is_told(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("backend-add name=b");
    stack_refused(-EINVAL, "can't have a tray when it is not removable", "device-add b tray=on");
    stack_refused(-EINVAL, "device 'b' can't lock its medium in when nobody can take it out",
                  "device-add b locked=on");
    stack_refused(-EINVAL, "can't have blocks of 513 bytes; give a power of two, 512 to 2M",
                  "device-add b block-size=513");
    stack_refused(-EINVAL, "blocks of 256 bytes", "device-add b block-size=256");
    stack_refused(-EINVAL, "blocks of 4194304 bytes", "device-add b block-size=4194304");
    stack_refused(-ENOENT, "there is no backend 'x'", "device-add x");
    stack_refused(-ENOENT, "there is no device 'x'", "device-set x locked=on");
    stack_do("device-add b id=cd removable=on");
    stack_refused(-ENOTSUP, "device 'cd' has no tray; add it with tray=on to have one",
                  "device-set cd tray-open=on");
    stack_refused(-ENOTSUP, "device 'cd' has no tray", "device-set cd jammed=on");
    stack_do("device-remove cd");
    stack_do("device-add b id=hd");
    stack_refused(-ENOTSUP, "device 'hd' can't lock its medium in when nobody can take it out",
                  "device-set hd locked=on");
    assert_false(shown()->locked);
    stack_do("device-set hd locked=off"); /* as it is */
    stack_stop();
}

static void detaching_clears_all_that_the_device_was(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=one size=1M");
        stack_do("backend-add name=b node=one");
        stack_do("device-add b id=cd block-size=4096");
        actor_addr b = stack_find("b");
        stack_device()->tray_open = stack_device()->locked = true;
        stack_device_ops(b, TRAYED);
        const Sluice__BackendInfo *info = shown();
        assert_int_equal(info->guest_block_size, 4096);
        assert_true(info->removable && info->tray && info->tray_open && info->locked);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), -ENOMEDIUM);
        stack_do("device-remove cd");
        info = shown();
        assert_int_equal(info->guest_block_size, 512);
        assert_true(info->removable); /* as there is no device */
        assert_false(info->tray || info->tray_open || info->locked);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        stack_device_state(b, SLUICE__DEVICE_STATE__ACT__NONE); /* it has no say any more */
        assert_false(shown()->tray_open);
        stack_do("medium-remove b");
        assert_string_equal(stack_device()->log, "");
    }
}

/* --- Exports with a backend of their own */

static void a_node_can_be_exported_twice_each_on_a_backend_of_its_own(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory size=1M name=n");
        stack_do("status");
        unsigned actors = stack_actors();
        uint64_t before = shown_sequence();
        const Sluice__ExportInfo *info =
            stack_do("export-add type=nbd node=n port=0 writable=on")->export;
        assert_string_equal(info->id, "n");
        assert_string_equal(info->name, "n");
        assert_string_equal(info->backend, "");
        stack_do("export-add type=nbd node=n port=0 id=e writable=on");
        assert_string_equal(stack_do("export-show e")->export->node, "n");
        assert_int_equal(stack_do("backend-list")->backends->n_backends, 0);
        assert_int_equal(stack_do("status")->status->n_backends, 0);
        const Sluice__NodeInfo *node = stack_do("node-show n")->node;
        assert_string_equal(shown_words(node->users, node->n_users), "n,e");
        assert_string_equal(shown_words(node->permissions, node->n_permissions),
                            "consistent-read,write");
        stack_refused(-EBUSY, "node 'n' can't be removed: export 'n', export 'e' use it",
                      "node-remove n");
        stack_refused(-ENOENT, "there is no backend ''", "backend-show ''");
        stack_do("export-remove n");
        stack_do("export-remove e");
        stack_settle();
        assert_int_equal(stack_actors(), actors);
        assert_string_equal(stack_story(before + 1),
                            "EXPORT_ADDED n, EXPORT_ADDED e, EXPORT_DELETED n, EXPORT_DELETED e");
        stack_do("node-remove n");
    }
}

static void an_export_that_fails_takes_its_own_backend_with_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=n deny=write");
        stack_do("status");
        unsigned actors = stack_actors();
        stack_refused(-ENOENT, "/no/such", "export-add type=nbd node=n unix=/no/such/folder/x");
        stack_settle();
        assert_int_equal(stack_actors(), actors);
        stack_refused(-EPERM, "gives nobody 'write'",
                      "export-add type=nbd node=n port=0 writable=on");
        stack_settle();
        assert_int_equal(stack_actors(), actors);
        stack_refused(-EINVAL, "offer nothing; give exactly one of backend=NAME and node=NAME",
                      "export-add type=nbd port=0");
        stack_refused(-EINVAL, "offer both a backend and a node",
                      "export-add type=nbd port=0 backend=b node=n");
        stack_refused(-ENOENT, "there is no node 'm'", "export-add type=nbd port=0 node=m");
        stack_do("node-remove n");
    }
}

static void a_shutdown_ends_devices_and_own_backends(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        start_drive(seed);
        stack_do("export-add type=nbd node=two port=0");
        struct stack_answer added, changed;
        stack_send(&added, "export-add type=nbd node=one port=0 id=late");
        stack_send(&changed, "medium-change backend=b node=two");
        for (uint64_t i = 0; i < seed; i++)
            stack_step();
        stack_stop(); /* nobody is left */
        assert_true(added.came && changed.came);
        stack_start(1, seed);
    }
}

/* Whose backend has yet to say that it knows. */
static void one_that_is_set_answers_that_before_it_ends(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer set, again, removed;
        start_drive(seed);
        stack_send(&set, "device-set cd tray-open=on");
        stack_send(&again, "device-set cd tray-open=off");
        for (uint64_t i = 0; i < seed / 3 % 8; i++)
            stack_step();
        stack_send(&removed, "device-remove cd");
        stack_await(&set);
        stack_await(&again);
        stack_await(&removed);
        assert_int_equal(set.code, 0);
        assert_int_equal(again.code, 0);
        assert_int_equal(removed.code, 0);
        assert_false(shown()->tray);
        stack_do("device-add b id=cd removable=on tray=on");
        stack_send(&set, "device-set cd locked=on");
        for (uint64_t i = 0; i < seed / 3 % 8; i++)
            stack_step();
        stack_stop();
        assert_true(set.came);
        stack_start(1, seed);
    }
}

/* --- What a device offers */

static void without_a_device_or_with_one_that_takes_media_a_backend_is_removable(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add driver=null name=n");
    stack_do("backend-add name=b");
    assert_true(shown()->removable && !shown()->tray);
    stack_do("device-add b id=cd");
    assert_false(shown()->removable);
    stack_refused(-ENOTSUP, "device 'cd' of backend 'b' is not removable, so its medium stays",
                  "medium-insert b n");
    stack_refused(-ENOTSUP, "is not removable", "medium-remove b");
    stack_refused(-ENOTSUP, "is not removable", "medium-change b n");
    stack_refused(-ENOTSUP, "is not removable", "medium-open-tray b");
    stack_refused(-ENOTSUP, "is not removable", "medium-close-tray b");
    stack_refused(-ENOTSUP, "is not removable", "medium-eject b");
    stack_do("node-remove n"); /* nothing of it is left */
    stack_do("device-remove cd");
    stack_do("device-add b id=cd removable=on");
    assert_true(shown()->removable && !shown()->tray);
    stack_do("device-remove cd");
    stack_do("device-add b id=cd removable=on tray=on");
    assert_true(shown()->removable && shown()->tray && !shown()->tray_open);
    assert_true(device()->removable && device()->tray && !device()->tray_open);
    stack_stop();
}

static void what_a_device_does_not_offer_is_closed_and_unlocked(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("backend-add name=b");
    stack_device()->tray_open = stack_device()->locked = true;
    stack_device_ops(stack_find("b"), DEVICE_OFFERS_CHANGE_MEDIA);
    assert_false(shown()->tray || shown()->tray_open || shown()->locked);
    stack_device_ops(stack_find("b"), TRAYED); /* without being attached */
    assert_true(shown()->tray && shown()->tray_open && shown()->locked);
    stack_device_ops(stack_find("b"), 0);
    assert_false(shown()->tray || shown()->tray_open || shown()->locked);
    stack_stop();
}

static void the_first_and_the_last_of_nested_drains_are_told_and_one_that_is_under_way(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("n", "driver=null", "");
        stack_device_ops(b, DEVICE_OFFERS_DRAIN);
        stack_call(b, MAIL_DRAIN_BEGIN, NULL);
        assert_string_equal(stack_device()->log, "drain-begin");
        stack_call(b, MAIL_DRAIN_BEGIN, NULL);
        stack_call(b, MAIL_DRAIN_END, NULL);
        assert_string_equal(stack_device()->log, "drain-begin");
        stack_call(b, MAIL_DRAIN_END, NULL);
        assert_string_equal(stack_device()->log, "drain-begin, drain-end");
        stack_device_ops(b, 0);
        stack_call(b, MAIL_DRAIN_BEGIN, NULL);
        stack_device_ops(b, DEVICE_OFFERS_DRAIN); /* at once, before the answer */
        assert_string_equal(stack_device()->log, "drain-begin, drain-end, drain-begin");
        stack_call(b, MAIL_DRAIN_END, NULL);
        stack_do("medium-remove b"); /* which drains */
        assert_string_equal(
            stack_device()->log,
            "drain-begin, drain-end, drain-begin, drain-end, drain-begin, drain-end");
    }
}

static void a_resize_of_the_node_is_told_to_the_device_and_by_an_event(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=n size=1M");
        actor_addr b = stack_backend("w", "driver=raw child=n", "");
        stack_device_ops(b, DEVICE_OFFERS_RESIZED);
        uint64_t before = shown_sequence();
        stack_do("node-set n size=2M");
        stack_settle();
        assert_string_equal(stack_device()->log, "resized");
        assert_string_equal(stack_story(before + 1), "BLOCK_RESIZED b");
        stack_do("node-set n read-only=on"); /* is something else */
        stack_settle();
        assert_string_equal(stack_device()->log, "resized");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_device_is_refused_and_the_first_one_named),
        cmocka_unit_test(of_two_devices_at_once_one_is_attached),
        cmocka_unit_test(an_id_is_one_device_s_or_one_export_s),
        cmocka_unit_test(a_device_holds_its_backend_until_it_is_removed),
        cmocka_unit_test(an_attach_forgets_the_errors_so_far),
        cmocka_unit_test(a_device_has_a_drive_s_permissions_and_gives_them_back),
        cmocka_unit_test(a_device_ties_its_backend_to_its_reactor_unless_forced),
        cmocka_unit_test(a_read_only_backend_has_no_device_that_writes),
        cmocka_unit_test(what_a_device_can_t_be_is_told),
        cmocka_unit_test(detaching_clears_all_that_the_device_was),
        cmocka_unit_test(a_node_can_be_exported_twice_each_on_a_backend_of_its_own),
        cmocka_unit_test(an_export_that_fails_takes_its_own_backend_with_it),
        cmocka_unit_test(a_shutdown_ends_devices_and_own_backends),
        cmocka_unit_test(one_that_is_set_answers_that_before_it_ends),
        cmocka_unit_test(without_a_device_or_with_one_that_takes_media_a_backend_is_removable),
        cmocka_unit_test(what_a_device_does_not_offer_is_closed_and_unlocked),
        cmocka_unit_test(
            the_first_and_the_last_of_nested_drains_are_told_and_one_that_is_under_way),
        cmocka_unit_test(a_resize_of_the_node_is_told_to_the_device_and_by_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
