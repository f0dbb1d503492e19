/* Throttle groups in a whole stepped engine: backends on 1 to 3 reactors keep the limits of a group
 * that is an actor of its own, share them, and hear of them. Each seed is another order of what
 * happens. */
#include "limited_rig.h"

#define OPS 64

static struct stack_op ops[OPS], others[OPS];

/* --- The limit */

static void requests_beyond_the_limit_wait_for_their_time(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=100");
        actor_addr b = limited_backend("b", "g");
        limited_submit(ops, 40, b, OP_READ, 512);
        /* A tenth of a second's worth, and the one that overshoots. */
        assert_int_equal(limited_came(ops, 40), 11);
        assert_int_equal(limited_group("g")->waiting, 29);
        for (unsigned i = 1; i <= 29; i++) {
            stack_pass(10 * NS_PER_MS);
            assert_int_equal(limited_came(ops, 40), 11 + i);
        }
        limited_in_order(ops, 40);
        assert_int_equal(limited_group("g")->waiting, 0);
        /* 10 ms the first, 20 the second, … */
        assert_int_equal(limited_group("g")->waited_ns, 29 * 30 / 2 * 10 * NS_PER_MS);
    }
}

static void bytes_are_limited_too_and_a_large_one_goes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g bps-total=1M");
        actor_addr b = limited_backend("b", "g");
        limited_submit(ops, 1, b, OP_WRITE, 4 * MIB); /* 40 times what the bucket holds */
        assert_int_equal(limited_came(ops, 1), 1);
        limited_submit(ops, 2, b, OP_READ, 512);
        assert_int_equal(limited_came(ops, 2), 0);
        stack_pass(3899 * NS_PER_MS);
        assert_int_equal(limited_came(ops, 2), 0);
        stack_pass(2 * NS_PER_MS);
        assert_int_equal(limited_came(ops, 2), 2);
    }
}

static void a_limit_that_is_not_reached_holds_nothing_up(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=1000000 bps-write=1G");
        actor_addr b = limited_backend("b", "g");
        for (unsigned i = 0; i < 10; i++) {
            limited_submit(ops, OPS, b, i % 2 ? OP_READ : OP_WRITE, 4096);
            assert_int_equal(limited_came(ops, OPS), OPS);
            memset(ops, 0, sizeof ops);
        }
        assert_true(limited_group("g")->leased_ops > 0);
        stack_pass(NS_PER_S); /* what is not used goes back */
        assert_int_equal(limited_group("g")->leased_ops, 0);
        assert_int_equal(limited_group("g")->members[0]->leased_ops, 0);
    }
}

static void a_group_without_limits_holds_nothing_up(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g");
        actor_addr b = limited_backend("b", "g");
        limited_submit(ops, OPS, b, OP_READ, 4096);
        assert_int_equal(limited_came(ops, OPS), OPS);
        assert_false(limited_group("g")->has_leased_ops);
        stack_pass(NS_PER_S);
        limited_submit(others, OPS, b, OP_WRITE, 4096);
        assert_int_equal(limited_came(others, OPS), OPS);
    }
}

static void reads_and_writes_are_limited_apart(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-read=10");
        actor_addr b = limited_backend("b", "g");
        limited_submit(ops, 20, b, OP_READ, 512);
        limited_submit(others, 20, b, OP_WRITE, 512);
        assert_int_equal(limited_came(ops, 20), 2);
        assert_int_equal(limited_came(others, 20), 20);
        stack_pass(NS_PER_S);
        assert_int_equal(limited_came(ops, 20), 12);
        limited_in_order(ops, 20);
    }
}

static void what_is_never_throttled_passes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr b = limited_backend("b", "g");
        limited_submit(ops, 20, b, OP_ZEROES, 512);
        assert_int_equal(limited_came(ops, 20), 2);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), 0);
        assert_int_equal(stack_run(b, OP_DISCARD, 0, 512, 0), 0); /* on a filter only */
        assert_int_equal(limited_came(ops, 20), 2);
    }
}

static void a_read_may_pass_the_limits_by_but_counts(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr b = limited_backend("b", "g");
        limited_submit(ops, 2, b, OP_READ, 512);
        for (unsigned i = 10; i < 20; i++)
            stack_submit(&ops[i], b, OP_READ, 0, 512, OP_UNTHROTTLED, NULL);
        stack_settle();
        assert_int_equal(limited_came(ops + 10, 10), 10);
        stack_pass(20 * NS_PER_MS); /* it is told now and then */
        limited_submit(others, 1, b, OP_READ, 512);
        stack_pass(1050 * NS_PER_MS); /* what is over is 11 less what has leaked */
        assert_int_equal(limited_came(others, 1), 0);
        stack_pass(50 * NS_PER_MS);
        assert_int_equal(limited_came(others, 1), 1);
    }
}

static void a_console_s_read_may_pass_the_limits_by_too(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=1");
        actor_addr b = limited_backend("b", "g");
        struct stack_answer held;
        limited_submit(ops, 2, b, OP_READ, 512); /* a tenth of one fits, and one that overshoots */
        stack_send(&held, "io-read b bytes=512");
        stack_settle();
        assert_false(held.came);
        uint64_t begun = engine_now(stack_engine());
        stack_do("io-read b bytes=512 unthrottled=on");
        assert_true(engine_now(stack_engine()) - begun < NS_PER_MS);
        assert_false(held.came);
        stack_await(&held);
        assert_int_equal(held.code, 0);
    }
}

/* --- Members */

static void members_share_by_turns_wherever_they_live(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=100");
        actor_addr a = limited_backend("a", "g"), b = limited_backend("b", "g");
        limited_submit(ops, 60, a, OP_READ, 512);
        assert_int_equal(limited_came(ops, 60), 11);
        limited_submit(others, 20, b, OP_READ, 512);
        for (unsigned i = 1; i <= 20; i++) {
            stack_pass(20 * NS_PER_MS);
            assert_int_equal(limited_came(ops, 60), 11 + i);
            assert_int_equal(limited_came(others, 20), i);
        }
        assert_int_equal(limited_group("g")->n_members, 2);
        assert_string_equal(limited_group("g")->members[0]->name, "backend 'a'");
        assert_int_equal(limited_group("g")->members[0]->waiting, 29);
    }
}

static void who_leaves_waits_no_longer_and_others_are_not_delayed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = limited_backend("a", "g"), b = limited_backend("b", "g");
        limited_submit(ops, 20, a, OP_READ, 512);
        limited_submit(others, 20, b, OP_READ, 512);
        assert_int_equal(limited_came(ops, 20) + limited_came(others, 20), 2);
        stack_do("backend-set a throttle=''");
        stack_settle();
        assert_int_equal(limited_came(ops, 20), 20);
        limited_in_order(ops, 20);
        assert_int_equal(limited_group("g")->n_members, 1);
        assert_int_equal(limited_group("g")->waiting, 20 - limited_came(others, 20));
        unsigned before = limited_came(others, 20);
        stack_pass(NS_PER_S);
        assert_int_equal(limited_came(others, 20), before + 10);
        limited_submit(ops, 20, a, OP_READ, 512);
        assert_int_equal(limited_came(ops, 20), 20);
    }
}

static void who_goes_to_another_group_waits_there_in_order(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        stack_do("throttle-add name=h iops-total=100");
        actor_addr a = limited_backend("a", "g");
        limited_submit(ops, 40, a, OP_WRITE, 512);
        assert_int_equal(limited_came(ops, 40), 2);
        stack_do("backend-set a throttle=h");
        stack_settle();
        assert_int_equal(limited_came(ops, 40), 13);
        assert_int_equal(limited_group("g")->waiting, 0);
        assert_int_equal(limited_group("h")->waiting, 27);
        stack_pass(200 * NS_PER_MS);
        assert_int_equal(limited_came(ops, 40), 33);
        limited_in_order(ops, 40);
        stack_do("throttle-remove g");
    }
}

static void other_limits_are_in_force_at_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = limited_backend("a", "g");
        limited_submit(ops, 40, a, OP_WRITE, 512);
        assert_int_equal(limited_came(ops, 40), 2);
        stack_do("throttle-set g iops-total=100");
        stack_settle();
        assert_int_equal(limited_came(ops, 40), 13); /* levels are empty */
        stack_pass(100 * NS_PER_MS);
        assert_int_equal(limited_came(ops, 40), 23);
        stack_do("throttle-set g iops-total=0 bps-read=1");
        stack_settle();
        assert_int_equal(limited_came(ops, 40), 40);
        limited_in_order(ops, 40);
    }
}

/* What was leased under the old limits is not spent under the new ones. */
static void a_lower_limit_takes_leases_back(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=1000000");
        actor_addr a = limited_backend("a", "g");
        limited_submit(ops, OPS, a, OP_READ, 512);
        assert_int_equal(limited_came(ops, OPS), OPS);
        assert_true(limited_group("g")->leased_ops > 0);
        stack_do("throttle-set g iops-total=10");
        memset(ops, 0, sizeof ops);
        limited_submit(ops, OPS, a, OP_READ, 512);
        assert_int_equal(limited_came(ops, OPS), 2);
    }
}

/* --- Groups in groups */

static void a_request_keeps_the_limits_of_all_groups_above_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=all iops-total=100");
        stack_do("throttle-add name=few iops-total=20 parent=all");
        stack_do("throttle-add name=many parent=all");
        actor_addr a = limited_backend("a", "few"), b = limited_backend("b", "many");
        limited_submit(ops, 60, b, OP_READ, 512);
        assert_int_equal(limited_came(ops, 60), 11);
        limited_submit(others, 30, a, OP_READ, 512);
        stack_pass(500 * NS_PER_MS);
        /* 50 in all: 3 and 20 a second of the small one, the others all the rest. */
        assert_int_equal(limited_came(ops, 60) + limited_came(others, 30), 61);
        assert_in_range(limited_came(others, 30), 12, 13);
    }
}

/* --- Events */

static void a_group_at_its_limit_is_told_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = limited_backend("a", "g");
        uint64_t before = shown_sequence();
        limited_submit(ops, 2, a, OP_READ, 512);
        stack_pass(100 * NS_PER_MS);
        assert_string_equal(stack_story(before + 1), "");
        limited_submit(others, 30, a, OP_READ, 512);
        stack_pass(2 * NS_PER_S);
        assert_string_equal(stack_story(before + 1), "THROTTLE_BEGIN g");
        stack_pass(NS_PER_S);
        for (unsigned i = 0; i < 4; i++) { /* that it is at its limit now and then is no news */
            memset(ops, 0, sizeof ops);
            limited_submit(ops, 4, a, OP_READ, 512);
            stack_pass(900 * NS_PER_MS);
        }
        assert_string_equal(stack_story(before + 1), "THROTTLE_BEGIN g");
        stack_pass(2 * NS_PER_S);
        assert_string_equal(stack_story(before + 1), "THROTTLE_BEGIN g, THROTTLE_END g");
    }
}

/* Where a group in it lets go less than that anyway, it delays nobody. */
static void a_group_tells_only_of_its_own_limits(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=top iops-total=8"); /* it holds less than one */
        stack_do("throttle-add name=g parent=top iops-total=5");
        stack_do("throttle-add name=h parent=top");
        actor_addr a = limited_backend("a", "g");
        uint64_t before = shown_sequence();
        limited_submit(ops, 30, a, OP_READ, 512);
        stack_pass(2 * NS_PER_S);
        assert_string_equal(stack_story(before + 1), "THROTTLE_BEGIN g");
        actor_addr b = limited_backend("b", "h");
        before = shown_sequence();
        limited_submit(others, 30, b, OP_READ, 512);
        stack_pass(NS_PER_S);
        assert_string_equal(stack_story(before + 1), "THROTTLE_BEGIN top");
    }
}

static void a_group_that_is_removed_at_its_limit_does_not_hold_any_more(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        if (seed & 1)
            stack_do("throttle-add name=top");
        stack_do("throttle-add name=g iops-total=10 %s", seed & 1 ? "parent=top" : "");
        actor_addr a = limited_backend("a", "g");
        uint64_t before = shown_sequence();
        limited_submit(ops, 12, a, OP_READ, 512);
        assert_int_equal(limited_came(ops, 12), 2);
        stack_do("backend-set a throttle=''");
        stack_do("throttle-remove g");
        assert_string_equal(stack_story(before + 1),
                            "THROTTLE_BEGIN g, THROTTLE_END g, THROTTLE_DELETED g");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_beyond_the_limit_wait_for_their_time),
        cmocka_unit_test(bytes_are_limited_too_and_a_large_one_goes),
        cmocka_unit_test(a_limit_that_is_not_reached_holds_nothing_up),
        cmocka_unit_test(a_group_without_limits_holds_nothing_up),
        cmocka_unit_test(reads_and_writes_are_limited_apart),
        cmocka_unit_test(what_is_never_throttled_passes),
        cmocka_unit_test(a_read_may_pass_the_limits_by_but_counts),
        cmocka_unit_test(a_console_s_read_may_pass_the_limits_by_too),
        cmocka_unit_test(members_share_by_turns_wherever_they_live),
        cmocka_unit_test(who_leaves_waits_no_longer_and_others_are_not_delayed),
        cmocka_unit_test(who_goes_to_another_group_waits_there_in_order),
        cmocka_unit_test(other_limits_are_in_force_at_once),
        cmocka_unit_test(a_lower_limit_takes_leases_back),
        cmocka_unit_test(a_request_keeps_the_limits_of_all_groups_above_it),
        cmocka_unit_test(a_group_at_its_limit_is_told_once),
        cmocka_unit_test(a_group_tells_only_of_its_own_limits),
        cmocka_unit_test(a_group_that_is_removed_at_its_limit_does_not_hold_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
