/* What a backend counts beside reads and writes: ioctls, and the state of virtual machines. In a
 * whole stepped engine; see test_account.c for times, test_backend.c for other kinds. */
#include "stack_rig.h"

static const Sluice__BackendInfo *shown(void)
{
    return stack_do("backend-show b")->backend;
}

static void assert_counters(const Sluice__OpCounters *counters, uint64_t operations, uint64_t bytes,
                            uint64_t failed, uint64_t invalid)
{
    assert_non_null(counters);
    assert_int_equal(counters->operations, operations);
    assert_int_equal(counters->bytes, bytes);
    assert_int_equal(counters->failed, failed);
    assert_int_equal(counters->invalid, invalid);
}

static void ioctls_and_vm_state_are_counted_with_their_bytes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M ioctl-result=7");
        stack_do("backend-add name=b node=m");
        actor_addr b = stack_find("b");
        assert_counters(shown()->ioctl, 0, 0, 0, 0);
        assert_int_equal(stack_run(b, OP_IOCTL, 4660, 100, 0), 7);
        assert_int_equal(stack_run(b, OP_IOCTL, 4660, 0, 0), 7);
        stack_do("io-ioctl b 1 data=four");
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(stack_run(b, OP_SAVE_VMSTATE, 0, 1000, 0), 0);
        assert_int_equal(stack_run(b, OP_LOAD_VMSTATE, 0, 10, 0), 0);
        const Sluice__BackendInfo *info = shown();
        assert_counters(info->ioctl, 3, 104, 0, 0);
        assert_counters(info->save_vmstate, 2, 2000, 0, 0);
        assert_counters(info->load_vmstate, 1, 10, 0, 0);
        assert_counters(info->read, 0, 0, 0, 0);
        assert_counters(info->write, 0, 0, 0, 0);
        assert_int_equal(info->highest_written_bytes, 0);
    }
}

static void those_that_fail_and_that_are_refused_are_counted_apart(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M error=5");
        stack_do("backend-add name=b node=m");
        actor_addr b = stack_find("b");
        assert_int_equal(stack_run(b, OP_IOCTL, 1, 100, 0), -EIO);
        assert_int_equal(stack_run(b, OP_SAVE_VMSTATE, 0, 100, 0), -EIO);
        assert_int_equal(stack_run(b, OP_LOAD_VMSTATE, 0, 100, 0), -EIO);
        assert_int_equal(stack_run(b, OP_LOAD_VMSTATE, -1, 100, 0), -EIO);
        stack_do("node-set m can=flush");
        assert_int_equal(stack_run(b, OP_IOCTL, 1, 100, 0), -ENOTSUP);
        stack_do("medium-remove b");
        assert_int_equal(stack_run(b, OP_IOCTL, 1, 100, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(b, OP_SAVE_VMSTATE, 0, 100, 0), -ENOMEDIUM);
        const Sluice__BackendInfo *info = shown();
        assert_counters(info->ioctl, 0, 0, 1, 2);
        assert_counters(info->save_vmstate, 0, 0, 1, 1);
        assert_counters(info->load_vmstate, 0, 0, 1, 1);
    }
}

static void their_time_is_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static const enum op_kind kinds[] = {OP_IOCTL, OP_SAVE_VMSTATE, OP_LOAD_VMSTATE};
        struct stack_op ops[3];
        stack_do("node-add driver=mock name=m size=1M hold=on");
        stack_do("backend-add name=b node=m");
        actor_addr b = stack_find("b");
        for (unsigned i = 0; i < 3; i++)
            stack_submit(&ops[i], b, kinds[i], 0, 8, 0, NULL);
        stack_settle();
        stack_pass(NS_PER_MS);
        stack_do("node-set m hold=off");
        for (unsigned i = 0; i < 3; i++)
            stack_await_op(&ops[i]);
        const Sluice__BackendInfo *info = shown();
        const Sluice__OpCounters *const counters[] = {info->ioctl, info->save_vmstate,
                                                      info->load_vmstate};
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(counters[i]->operations, 1);
            assert_true(counters[i]->time_ns >= NS_PER_MS);
            assert_true(counters[i]->has_p99_ns && counters[i]->max_ns >= NS_PER_MS);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ioctls_and_vm_state_are_counted_with_their_bytes),
        cmocka_unit_test(those_that_fail_and_that_are_refused_are_counted_apart),
        cmocka_unit_test(their_time_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
