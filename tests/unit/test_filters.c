/* Filters in a whole engine: what the graph lets them do, and what they tell. */
#include "shown_rig.h"

static void a_write_beyond_the_threshold_is_an_event(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory name=m size=1M");
        actor_addr b = stack_backend("w", "driver=write-threshold child=m", "");
        uint64_t before = shown_sequence();
        assert_int_equal(stack_run(b, OP_WRITE, MIB - 512, 512, 0), 0);
        stack_do("node-set w threshold=64K");
        assert_int_equal(stack_run(b, OP_WRITE, 65536 - 512, 512, 0), 0);
        assert_int_equal(stack_run(b, OP_WRITE, 65536, 512, 0), 0);
        assert_int_equal(stack_run(b, OP_WRITE, 65536, 512, 0), 0);
        stack_settle();
        assert_string_equal(stack_story(before + 1), "BLOCK_WRITE_THRESHOLD w");
        const Sluice__Event *event =
            stack_do("events-since since=%lu", (unsigned long)before + 1)->events->events[0];
        assert_int_equal(event->severity, SLUICE__EVENT__SEVERITY__WARNING);
        assert_string_equal(event->block_write_threshold->node, "w");
        assert_int_equal(event->block_write_threshold->threshold, 65536);
        assert_int_equal(event->block_write_threshold->exceeded, 512);
    }
}

static void copy_on_read_takes_write_unchanged_of_its_child(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M unallocated=0+1M");
        actor_addr b = stack_backend("c", "driver=copy-on-read child=m", "read_only=true");
        const Sluice__NodeInfo *info = stack_do("node-show m")->node;
        assert_int_equal(info->n_permissions, 2);
        assert_string_equal(info->permissions[0], "consistent-read");
        assert_string_equal(info->permissions[1], "write-unchanged");
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        info = stack_do("node-show m")->node;
        assert_string_equal(info->state[4]->value, "write 0+512");
        stack_do("node-add driver=mock name=fixed read-only=on");
        stack_refused(-EPERM, "node", "node-add driver=copy-on-read name=d child=fixed");
    }
}

static void only_who_may_write_may_empty_a_layer(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=r node=m read_only=true");
        assert_int_equal(stack_run(stack_find("r"), OP_MAKE_EMPTY, 0, 0, 0), -EPERM);
        assert_int_equal(stack_run(stack_find("b"), OP_MAKE_EMPTY, 0, 0, 0), 0);
        const Sluice__NodeInfo *info = stack_do("node-show m")->node;
        assert_string_equal(info->state[1]->value, "make-empty 0+0");
        stack_do("node-set m can=flush");
        assert_int_equal(stack_run(stack_find("b"), OP_MAKE_EMPTY, 0, 0, 0), -ENOTSUP);
        assert_false(shown()->has_idle_ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_beyond_the_threshold_is_an_event),
        cmocka_unit_test(copy_on_read_takes_write_unchanged_of_its_child),
        cmocka_unit_test(only_who_may_write_may_empty_a_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
