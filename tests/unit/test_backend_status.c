/* What a range is, asked of a backend: checked as a read, counted as nothing; errors of the medium
 * go by the policy for reads. */
#include "shown_rig.h"

static actor_addr build(const char *policies)
{
    stack_do("node-add driver=mock name=m size=4G zero=0+64K");
    stack_do("backend-add name=b node=m %s", policies);
    return stack_find("b");
}

static int64_t ask(actor_addr b, int64_t offset, uint64_t bytes)
{
    return stack_run(b, OP_STATUS, offset, bytes, 0);
}

static void it_is_checked_as_a_read_but_may_be_of_any_length(void **state)
{
    (void)state;
    stack_start(2, 1);
    actor_addr b = build("");
    assert_int_equal(ask(b, 0, 4096 * MIB), op_status(65536, OP_STATUS_ZERO | OP_STATUS_ALLOCATED));
    assert_int_equal(ask(b, 65536, 4095 * MIB),
                     op_status(4095 * MIB, OP_STATUS_DATA | OP_STATUS_ALLOCATED));
    assert_int_equal(ask(b, -1, 1), -EIO);
    assert_int_equal(ask(b, 4096 * MIB, 1), -EIO);
    assert_int_equal(ask(b, 0, UINT64_MAX), -EIO);
    stack_do("node-set m empty=on");
    assert_int_equal(ask(b, 0, 1), -ENOMEDIUM);
    stack_stop();
}

static void it_counts_as_nothing(void **state)
{
    (void)state;
    stack_start(1, 1);
    actor_addr b = build("");
    ask(b, 0, 1);
    ask(b, -1, 1);
    stack_do("node-set m error=5");
    assert_int_equal(ask(b, 0, 1), -EIO);
    const Sluice__BackendInfo *info = shown();
    assert_false(info->has_idle_ns);
    assert_int_equal(info->read->operations + info->read->failed + info->read->invalid, 0);
    assert_int_equal(info->in_flight, 0);
    stack_stop();
}

static void an_error_of_the_medium_is_dealt_with_as_a_read_s(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = build("rerror=stop werror=report");
        assert_int_equal(ask(b, -1, 1), -EIO); /* nonsense stops nobody */
        assert_int_equal(shown()->run_state, SLUICE__RUN_STATE__RUNNING);
        stack_do("node-set m error=5");
        struct stack_op op = {0};
        stack_submit(&op, b, OP_STATUS, 0, 4 * MIB, 0, NULL);
        stack_settle();
        assert_false(op.came);
        assert_int_equal(shown()->held, 1);
        stack_do("node-set m error=0");
        stack_do("backend-resume b");
        stack_await_op(&op);
        assert_int_equal(op.ret, op_status(65536, OP_STATUS_ZERO | OP_STATUS_ALLOCATED));

        /* Ignored, it is no lie: all may be data. */
        stack_do("backend-set b rerror=ignore");
        stack_do("node-set m error=5");
        assert_int_equal(ask(b, 0, 4 * MIB),
                         op_status(4 * MIB, OP_STATUS_DATA | OP_STATUS_ALLOCATED));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_checked_as_a_read_but_may_be_of_any_length),
        cmocka_unit_test(it_counts_as_nothing),
        cmocka_unit_test(an_error_of_the_medium_is_dealt_with_as_a_read_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
