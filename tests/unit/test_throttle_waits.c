/* What else happens to members of throttle groups while their requests wait, and throttle nodes.
 * Each seed is another order of what happens. */
#include "drained_rig.h"
#include "limited_rig.h"

#define OPS 64

static struct stack_op ops[OPS], others[OPS];

/* --- What else happens to a member that waits */

static void a_drain_lets_what_waits_through_and_it_is_paid_later(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer drained;
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = limited_backend("a", "g"), b = limited_backend("b", "g");
        limited_submit(ops, 12, a, OP_READ, 512);
        assert_int_equal(limited_came(ops, 12), 2);
        drained_ask(&drained, 0, a, NULL);
        stack_settle();
        assert_true(drained.came);
        assert_int_equal(limited_came(ops, 12), 12);
        limited_in_order(ops, 12);
        assert_int_equal(limited_group("g")->waiting, 0);
        drained_end(drained_region(&drained));
        /* Its 10 are paid by its own turns: the other one has each second turn as before. */
        memset(ops, 0, sizeof ops);
        limited_submit(ops, 20, a, OP_READ, 512);
        limited_submit(others, 20, b, OP_READ, 512);
        unsigned before = limited_came(others, 20);
        stack_pass(2 * NS_PER_S);
        assert_in_range(limited_came(others, 20), before + 9, before + 11);
        assert_in_range(limited_came(ops, 20), 0, 1);
        stack_pass(NS_PER_S);
        assert_in_range(limited_came(ops, 20), 4, 6);
    }
}

static void a_member_moves_while_it_waits(void **state)
{
    (void)state;
    FOR_EACH_SEED_ON(seed, 3)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = limited_backend("a", "g");
        limited_submit(ops, 12, a, OP_READ, 512);
        for (unsigned i = 0; i < 3; i++) {
            stack_do("backend-move name=a reactor=%u", i);
            stack_settle();
            assert_int_equal(limited_came(ops, 12), 12); /* moves drain */
            limited_in_order(ops, 12);
        }
        stack_pass(2 * NS_PER_S); /* it is paid */
        memset(ops, 0, sizeof ops);
        limited_submit(ops, 12, a, OP_READ, 512);
        assert_int_equal(limited_came(ops, 12), 2);
        stack_pass(500 * NS_PER_MS);
        assert_int_equal(limited_came(ops, 12), 7);
    }
}

static void limits_stay_when_media_come_and_go(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        stack_do("throttle-add name=h iops-total=20");
        stack_do("backend-add name=b throttle=g");
        stack_do("backend-set b throttle=h");
        stack_do("node-add driver=null name=n size=1M");
        stack_do("medium-insert backend=b node=n");
        actor_addr b = stack_find("b");
        limited_submit(ops, 20, b, OP_READ, 512);
        assert_int_equal(limited_came(ops, 20), 3);
        stack_do("medium-remove b");
        assert_int_equal(limited_came(ops, 20), 20);
        stack_do("medium-insert backend=b node=n");
        assert_string_equal(shown()->throttle, "h");
        stack_pass(3 * NS_PER_S);
        memset(ops, 0, sizeof ops);
        limited_submit(ops, 20, b, OP_READ, 512);
        assert_int_equal(limited_came(ops, 20), 3);
    }
}

static void one_that_waits_is_cancelled_and_costs_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = limited_backend("a", "g");
        limited_submit(ops, 12, a, OP_READ, 512);
        assert_int_equal(limited_came(ops, 12), 2);
        for (unsigned i = 2; i < 7; i++) {
            assert_int_equal(stack_run(a, OP_CANCEL, (int64_t)ops[i].tag, 0, 0), 0);
            assert_true(ops[i].came);
            assert_int_equal(ops[i].ret, -ECANCELED);
        }
        stack_settle();
        assert_int_equal(limited_group("g")->waiting, 5);
        stack_pass(500 * NS_PER_MS);
        for (unsigned i = 7; i < 12; i++)
            assert_int_equal(ops[i].came ? ops[i].ret : -1, 0);
    }
}

static void a_pause_lets_through_what_is_in_flight(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = limited_backend("a", "g");
        limited_submit(ops, 12, a, OP_READ, 512);
        stack_do("backend-pause a");
        stack_settle();
        assert_int_equal(limited_came(ops, 12), 12);
        limited_submit(others, 1, a, OP_READ, 512);
        assert_int_equal(limited_came(others, 1), 0);
        stack_do("backend-resume a");
        stack_pass(2 * NS_PER_S);
        assert_int_equal(limited_came(others, 1), 1);
    }
}

/* A drain that comes while it goes from one group to another: one of them counts what goes. */
static void what_is_let_through_between_two_groups_is_counted(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer changed, paused;
        stack_do("throttle-add name=g iops-total=10");
        stack_do("throttle-add name=h iops-total=10");
        actor_addr a = limited_backend("a", "g");
        limited_submit(ops, 12, a, OP_READ, 512);
        assert_int_equal(limited_came(ops, 12), 2);
        stack_send(&changed, "backend-set a throttle=h");
        for (unsigned steps = 0; steps < seed % 20; steps++)
            stack_step();
        for (unsigned i = 0; i < 8; i++)
            stack_submit(&others[i], a, OP_READ, 0, 512, i % 2 ? OP_UNTHROTTLED : 0, NULL);
        stack_send(&paused, "backend-pause a");
        stack_settle();
        assert_true(changed.came && paused.came);
        assert_int_equal(limited_came(ops, 12),
                         12); /* those of the others that come later are held */
        stack_pass(150 * NS_PER_MS);
        assert_true(limited_group("g")->iops + limited_group("h")->iops ==
                    12 + limited_came(others, 8));
    }
}

/* --- The filter */

static void a_throttle_node_is_a_member_and_limits_discards(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=100");
        stack_do("node-add driver=null name=n size=1M");
        actor_addr b = stack_backend("t", "driver=throttle child=n throttle-group=g", "");
        limited_submit(ops, 30, b, OP_DISCARD, 512);
        assert_int_equal(limited_came(ops, 30), 11);
        stack_pass(100 * NS_PER_MS);
        assert_int_equal(limited_came(ops, 30), 21);
        assert_string_equal(limited_group("g")->members[0]->name, "node 't'");
        assert_int_equal(stack_run(b, OP_CANCEL, (int64_t)ops[29].tag, 0, 0), 0);
        stack_settle();
        assert_int_equal(ops[29].ret, -ECANCELED);
        ops[29].came = false;
        stack_do("throttle-add name=h");
        stack_do("node-set t throttle-group=h");
        stack_settle();
        assert_int_equal(limited_came(ops, 29), 29);
        limited_in_order(ops, 29);
    }
}

static void a_drain_lets_through_what_waits_in_a_throttle_node(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        stack_do("node-add driver=null name=n size=1M");
        stack_do("node-add driver=throttle name=t child=n throttle-group=g");
        actor_addr b = stack_backend("r", "driver=raw child=t", "");
        limited_submit(ops, 12, b, OP_READ, 512);
        assert_int_equal(limited_came(ops, 12), 2);
        stack_do("backend-move name=b reactor=%u", STACK_THREADS(seed) - 1);
        stack_settle();
        assert_int_equal(limited_came(ops, 12), 12);
        limited_in_order(ops, 12);
    }
}

static void members_that_go_while_they_change_their_group_are_answered_and_gone(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer changed[2], removed[2];
        stack_do("throttle-add name=g");
        stack_do("throttle-add name=h");
        stack_do("node-add driver=null name=n size=1M");
        stack_do("node-add driver=throttle name=t child=n throttle-group=g");
        stack_do("backend-add name=b throttle=g");
        stack_send(&changed[0], "node-set t throttle-group=h");
        stack_send(&changed[1], "backend-set b throttle=h");
        for (unsigned steps = 0; steps < seed % 40; steps++)
            stack_step();
        stack_send(&removed[0], "node-remove t");
        stack_send(&removed[1], "backend-remove b");
        for (unsigned i = 0; i < 2; i++) {
            stack_await(&changed[i]);
            stack_await(&removed[i]);
            assert_int_equal(removed[i].code, 0);
            assert_null(strstr(changed[i].text, "its driver is throttle"));
        }
        stack_do("throttle-remove g");
        stack_do("throttle-remove h");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_drain_lets_what_waits_through_and_it_is_paid_later),
        cmocka_unit_test(a_member_moves_while_it_waits),
        cmocka_unit_test(limits_stay_when_media_come_and_go),
        cmocka_unit_test(one_that_waits_is_cancelled_and_costs_nothing),
        cmocka_unit_test(a_pause_lets_through_what_is_in_flight),
        cmocka_unit_test(what_is_let_through_between_two_groups_is_counted),
        cmocka_unit_test(a_throttle_node_is_a_member_and_limits_discards),
        cmocka_unit_test(a_drain_lets_through_what_waits_in_a_throttle_node),
        cmocka_unit_test(members_that_go_while_they_change_their_group_are_answered_and_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
