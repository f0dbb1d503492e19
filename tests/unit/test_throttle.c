/* Throttle groups in a whole stepped engine: backends and throttle nodes on 1 to 3 reactors keep
 * the limits of a group that is an actor of its own. Each seed is another order of what happens. */
#include "stack_rig.h"

#include "drivers/driver.h"

#define MIB INT64_C(1048576)
#define OPS 64

static struct stack_op ops[OPS], others[OPS];

/* A backend on a null node, as a member of the group. */
static actor_addr member(const char *name, const char *group)
{
    stack_do("backend-add name=%s driver=null size=1G throttle=%s", name, group);
    return stack_find(name);
}

static void submit(struct stack_op *all, unsigned n, actor_addr to, enum op_kind kind,
                   uint64_t bytes)
{
    for (unsigned i = 0; i < n; i++)
        stack_submit(&all[i], to, kind, 0, bytes, 0, NULL);
    stack_settle();
}

static unsigned came(const struct stack_op *all, unsigned n)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        count += all[i].came;
        if (all[i].came)
            assert_int_equal(all[i].ret, 0);
    }
    return count;
}

static void assert_in_order(const struct stack_op *all, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        assert_true(all[i - 1].came || !all[i].came);
        assert_true(!all[i].came || all[i - 1].at < all[i].at);
    }
}

static const Sluice__ThrottleInfo *shown(const char *group)
{
    return stack_do("throttle-show %s", group)->throttle;
}

/* --- The limit */

static void requests_beyond_the_limit_wait_for_their_time(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=100");
        actor_addr b = member("b", "g");
        submit(ops, 40, b, OP_READ, 512);
        /* A tenth of a second's worth, and the one that overshoots. */
        assert_int_equal(came(ops, 40), 11);
        assert_int_equal(shown("g")->waiting, 29);
        for (unsigned i = 1; i <= 29; i++) {
            stack_pass(10 * NS_PER_MS);
            assert_int_equal(came(ops, 40), 11 + i);
        }
        assert_in_order(ops, 40);
        assert_int_equal(shown("g")->waiting, 0);
        /* 10 ms the first, 20 the second, … */
        assert_int_equal(shown("g")->waited_ns, 29 * 30 / 2 * 10 * NS_PER_MS);
    }
}

static void bytes_are_limited_too_and_a_large_one_goes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g bps-total=1M");
        actor_addr b = member("b", "g");
        submit(ops, 1, b, OP_WRITE, 4 * MIB); /* 40 times what the bucket holds */
        assert_int_equal(came(ops, 1), 1);
        submit(ops, 2, b, OP_READ, 512);
        assert_int_equal(came(ops, 2), 0);
        stack_pass(3899 * NS_PER_MS);
        assert_int_equal(came(ops, 2), 0);
        stack_pass(2 * NS_PER_MS);
        assert_int_equal(came(ops, 2), 2);
    }
}

static void a_limit_that_is_not_reached_holds_nothing_up(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=1000000 bps-write=1G");
        actor_addr b = member("b", "g");
        for (unsigned i = 0; i < 10; i++) {
            submit(ops, OPS, b, i % 2 ? OP_READ : OP_WRITE, 4096);
            assert_int_equal(came(ops, OPS), OPS);
            memset(ops, 0, sizeof ops);
        }
        assert_true(shown("g")->leased_ops > 0);
        stack_pass(NS_PER_S); /* what is not used goes back */
        assert_int_equal(shown("g")->leased_ops, 0);
        assert_int_equal(shown("g")->members[0]->leased_ops, 0);
    }
}

static void a_group_without_limits_holds_nothing_up(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g");
        actor_addr b = member("b", "g");
        submit(ops, OPS, b, OP_READ, 4096);
        assert_int_equal(came(ops, OPS), OPS);
        assert_false(shown("g")->has_leased_ops);
        stack_pass(NS_PER_S);
        submit(others, OPS, b, OP_WRITE, 4096);
        assert_int_equal(came(others, OPS), OPS);
    }
}

static void reads_and_writes_are_limited_apart(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-read=10");
        actor_addr b = member("b", "g");
        submit(ops, 20, b, OP_READ, 512);
        submit(others, 20, b, OP_WRITE, 512);
        assert_int_equal(came(ops, 20), 2);
        assert_int_equal(came(others, 20), 20);
        stack_pass(NS_PER_S);
        assert_int_equal(came(ops, 20), 12);
        assert_in_order(ops, 20);
    }
}

static void what_is_never_throttled_passes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr b = member("b", "g");
        submit(ops, 20, b, OP_ZEROES, 512);
        assert_int_equal(came(ops, 20), 2);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), 0);
        assert_int_equal(stack_run(b, OP_DISCARD, 0, 512, 0), 0); /* on a filter only */
        assert_int_equal(came(ops, 20), 2);
    }
}

static void a_read_may_pass_the_limits_by_but_counts(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr b = member("b", "g");
        submit(ops, 2, b, OP_READ, 512);
        for (unsigned i = 10; i < 20; i++)
            stack_submit(&ops[i], b, OP_READ, 0, 512, OP_UNTHROTTLED, NULL);
        stack_settle();
        assert_int_equal(came(ops + 10, 10), 10);
        stack_pass(20 * NS_PER_MS); /* it is told now and then */
        submit(others, 1, b, OP_READ, 512);
        stack_pass(1050 * NS_PER_MS); /* what is over is 11 less what has leaked */
        assert_int_equal(came(others, 1), 0);
        stack_pass(50 * NS_PER_MS);
        assert_int_equal(came(others, 1), 1);
    }
}

static void a_console_s_read_may_pass_the_limits_by_too(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=1");
        actor_addr b = member("b", "g");
        struct stack_answer held;
        submit(ops, 2, b, OP_READ, 512); /* a tenth of one fits, and one that overshoots */
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
        actor_addr a = member("a", "g"), b = member("b", "g");
        submit(ops, 60, a, OP_READ, 512);
        assert_int_equal(came(ops, 60), 11);
        submit(others, 20, b, OP_READ, 512);
        for (unsigned i = 1; i <= 20; i++) {
            stack_pass(20 * NS_PER_MS);
            assert_int_equal(came(ops, 60), 11 + i);
            assert_int_equal(came(others, 20), i);
        }
        assert_int_equal(shown("g")->n_members, 2);
        assert_string_equal(shown("g")->members[0]->name, "backend 'a'");
        assert_int_equal(shown("g")->members[0]->waiting, 29);
    }
}

static void who_leaves_waits_no_longer_and_others_are_not_delayed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = member("a", "g"), b = member("b", "g");
        submit(ops, 20, a, OP_READ, 512);
        submit(others, 20, b, OP_READ, 512);
        assert_int_equal(came(ops, 20) + came(others, 20), 2);
        stack_do("backend-set a throttle=''");
        stack_settle();
        assert_int_equal(came(ops, 20), 20);
        assert_in_order(ops, 20);
        assert_int_equal(shown("g")->n_members, 1);
        assert_int_equal(shown("g")->waiting, 20 - came(others, 20));
        unsigned before = came(others, 20);
        stack_pass(NS_PER_S);
        assert_int_equal(came(others, 20), before + 10);
        submit(ops, 20, a, OP_READ, 512);
        assert_int_equal(came(ops, 20), 20);
    }
}

static void who_goes_to_another_group_waits_there_in_order(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        stack_do("throttle-add name=h iops-total=100");
        actor_addr a = member("a", "g");
        submit(ops, 40, a, OP_WRITE, 512);
        assert_int_equal(came(ops, 40), 2);
        stack_do("backend-set a throttle=h");
        stack_settle();
        assert_int_equal(came(ops, 40), 13);
        assert_int_equal(shown("g")->waiting, 0);
        assert_int_equal(shown("h")->waiting, 27);
        stack_pass(200 * NS_PER_MS);
        assert_int_equal(came(ops, 40), 33);
        assert_in_order(ops, 40);
        stack_do("throttle-remove g");
    }
}

static void other_limits_are_in_force_at_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = member("a", "g");
        submit(ops, 40, a, OP_WRITE, 512);
        assert_int_equal(came(ops, 40), 2);
        stack_do("throttle-set g iops-total=100");
        stack_settle();
        assert_int_equal(came(ops, 40), 13); /* levels are empty */
        stack_pass(100 * NS_PER_MS);
        assert_int_equal(came(ops, 40), 23);
        stack_do("throttle-set g iops-total=0 bps-read=1");
        stack_settle();
        assert_int_equal(came(ops, 40), 40);
        assert_in_order(ops, 40);
    }
}

/* What was leased under the old limits is not spent under the new ones. */
static void a_lower_limit_takes_leases_back(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=1000000");
        actor_addr a = member("a", "g");
        submit(ops, OPS, a, OP_READ, 512);
        assert_int_equal(came(ops, OPS), OPS);
        assert_true(shown("g")->leased_ops > 0);
        stack_do("throttle-set g iops-total=10");
        memset(ops, 0, sizeof ops);
        submit(ops, OPS, a, OP_READ, 512);
        assert_int_equal(came(ops, OPS), 2);
    }
}

/* --- What else happens to a member that waits */

static void a_drain_lets_what_waits_through_and_it_is_paid_later(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer drained;
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = member("a", "g"), b = member("b", "g");
        submit(ops, 12, a, OP_READ, 512);
        assert_int_equal(came(ops, 12), 2);
        Sluice__Drain *drain = MAIL_NEW(sluice__drain);
        drain->has_backend = true;
        drain->backend = a;
        stack_ask(&drained, stack_world()->graph, MAIL_DRAIN, drain);
        stack_settle();
        assert_true(drained.came);
        assert_int_equal(came(ops, 12), 12);
        assert_in_order(ops, 12);
        assert_int_equal(shown("g")->waiting, 0);
        uint64_t region = ((Sluice__Drained *)drained.body)->region;
        Sluice__RegionEnd *end = MAIL_NEW(sluice__region_end);
        end->region = region;
        stack_call(stack_world()->graph, MAIL_REGION_END, end);
        /* Its 10 are paid by its own turns: the other one has each second turn as before. */
        memset(ops, 0, sizeof ops);
        submit(ops, 20, a, OP_READ, 512);
        submit(others, 20, b, OP_READ, 512);
        unsigned before = came(others, 20);
        stack_pass(2 * NS_PER_S);
        assert_in_range(came(others, 20), before + 9, before + 11);
        assert_in_range(came(ops, 20), 0, 1);
        stack_pass(NS_PER_S);
        assert_in_range(came(ops, 20), 4, 6);
    }
}

static void a_member_moves_while_it_waits(void **state)
{
    (void)state;
    FOR_EACH_SEED_ON(seed, 3)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = member("a", "g");
        submit(ops, 12, a, OP_READ, 512);
        for (unsigned i = 0; i < 3; i++) {
            stack_do("backend-move name=a reactor=%u", i);
            stack_settle();
            assert_int_equal(came(ops, 12), 12); /* moves drain */
            assert_in_order(ops, 12);
        }
        stack_pass(2 * NS_PER_S); /* it is paid */
        memset(ops, 0, sizeof ops);
        submit(ops, 12, a, OP_READ, 512);
        assert_int_equal(came(ops, 12), 2);
        stack_pass(500 * NS_PER_MS);
        assert_int_equal(came(ops, 12), 7);
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
        submit(ops, 20, b, OP_READ, 512);
        assert_int_equal(came(ops, 20), 3);
        stack_do("medium-remove b");
        assert_int_equal(came(ops, 20), 20);
        stack_do("medium-insert backend=b node=n");
        assert_string_equal(stack_do("backend-show b")->backend->throttle, "h");
        stack_pass(3 * NS_PER_S);
        memset(ops, 0, sizeof ops);
        submit(ops, 20, b, OP_READ, 512);
        assert_int_equal(came(ops, 20), 3);
    }
}

static void one_that_waits_is_cancelled_and_costs_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = member("a", "g");
        submit(ops, 12, a, OP_READ, 512);
        assert_int_equal(came(ops, 12), 2);
        for (unsigned i = 2; i < 7; i++) {
            assert_int_equal(stack_run(a, OP_CANCEL, (int64_t)ops[i].tag, 0, 0), 0);
            assert_true(ops[i].came);
            assert_int_equal(ops[i].ret, -ECANCELED);
        }
        stack_settle();
        assert_int_equal(shown("g")->waiting, 5);
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
        actor_addr a = member("a", "g");
        submit(ops, 12, a, OP_READ, 512);
        stack_do("backend-pause a");
        stack_settle();
        assert_int_equal(came(ops, 12), 12);
        submit(others, 1, a, OP_READ, 512);
        assert_int_equal(came(others, 1), 0);
        stack_do("backend-resume a");
        stack_pass(2 * NS_PER_S);
        assert_int_equal(came(others, 1), 1);
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
        actor_addr a = member("a", "g");
        submit(ops, 12, a, OP_READ, 512);
        assert_int_equal(came(ops, 12), 2);
        stack_send(&changed, "backend-set a throttle=h");
        for (unsigned steps = 0; steps < seed % 20; steps++)
            stack_step();
        for (unsigned i = 0; i < 8; i++)
            stack_submit(&others[i], a, OP_READ, 0, 512, i % 2 ? OP_UNTHROTTLED : 0, NULL);
        stack_send(&paused, "backend-pause a");
        stack_settle();
        assert_true(changed.came && paused.came);
        assert_int_equal(came(ops, 12), 12); /* those of the others that come later are held */
        stack_pass(150 * NS_PER_MS);
        assert_true(shown("g")->iops + shown("h")->iops == 12 + came(others, 8));
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
        stack_do("node-add driver=throttle name=t child=n throttle-group=g");
        stack_do("backend-add name=b node=t");
        actor_addr b = stack_find("b");
        submit(ops, 30, b, OP_DISCARD, 512);
        assert_int_equal(came(ops, 30), 11);
        stack_pass(100 * NS_PER_MS);
        assert_int_equal(came(ops, 30), 21);
        assert_string_equal(shown("g")->members[0]->name, "node 't'");
        assert_int_equal(stack_run(b, OP_CANCEL, (int64_t)ops[29].tag, 0, 0), 0);
        stack_settle();
        assert_int_equal(ops[29].ret, -ECANCELED);
        ops[29].came = false;
        stack_do("throttle-add name=h");
        stack_do("node-set t throttle-group=h");
        stack_settle();
        assert_int_equal(came(ops, 29), 29);
        assert_in_order(ops, 29);
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
        stack_do("node-add driver=raw name=r child=t");
        stack_do("backend-add name=b node=r");
        actor_addr b = stack_find("b");
        submit(ops, 12, b, OP_READ, 512);
        assert_int_equal(came(ops, 12), 2);
        stack_do("backend-move name=b reactor=%u", STACK_THREADS(seed) - 1);
        stack_settle();
        assert_int_equal(came(ops, 12), 12);
        assert_in_order(ops, 12);
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

/* --- Groups in groups */

static void a_request_keeps_the_limits_of_all_groups_above_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=all iops-total=100");
        stack_do("throttle-add name=few iops-total=20 parent=all");
        stack_do("throttle-add name=many parent=all");
        actor_addr a = member("a", "few"), b = member("b", "many");
        submit(ops, 60, b, OP_READ, 512);
        assert_int_equal(came(ops, 60), 11);
        submit(others, 30, a, OP_READ, 512);
        stack_pass(500 * NS_PER_MS);
        /* 50 in all: 3 and 20 a second of the small one, the others all the rest. */
        assert_int_equal(came(ops, 60) + came(others, 30), 61);
        assert_in_range(came(others, 30), 12, 13);
    }
}

/* --- Events */

static void a_group_at_its_limit_is_told_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=10");
        actor_addr a = member("a", "g");
        uint64_t before = stack_do("status")->status->sequence;
        submit(ops, 2, a, OP_READ, 512);
        stack_pass(100 * NS_PER_MS);
        assert_string_equal(stack_story(before + 1), "");
        submit(others, 30, a, OP_READ, 512);
        stack_pass(2 * NS_PER_S);
        assert_string_equal(stack_story(before + 1), "THROTTLE_BEGIN g");
        stack_pass(NS_PER_S);
        for (unsigned i = 0; i < 4; i++) { /* that it is at its limit now and then is no news */
            memset(ops, 0, sizeof ops);
            submit(ops, 4, a, OP_READ, 512);
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
        actor_addr a = member("a", "g");
        uint64_t before = stack_do("status")->status->sequence;
        submit(ops, 30, a, OP_READ, 512);
        stack_pass(2 * NS_PER_S);
        assert_string_equal(stack_story(before + 1), "THROTTLE_BEGIN g");
        actor_addr b = member("b", "h");
        before = stack_do("status")->status->sequence;
        submit(others, 30, b, OP_READ, 512);
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
        actor_addr a = member("a", "g");
        uint64_t before = stack_do("status")->status->sequence;
        submit(ops, 12, a, OP_READ, 512);
        assert_int_equal(came(ops, 12), 2);
        stack_do("backend-set a throttle=''");
        stack_do("throttle-remove g");
        assert_string_equal(stack_story(before + 1),
                            "THROTTLE_BEGIN g, THROTTLE_END g, THROTTLE_DELETED g");
    }
}

/* --- All of it, at random */

#define RANDOM_OPS 200
static struct random_op {
    struct stack_op noted;
    unsigned backend;
    bool write, cancelled;
} all[RANDOM_OPS];
static const char *const names[] = {"a", "b", "c"};
static actor_addr backends[3];

static uint64_t draw(uint64_t *state, uint64_t n)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (*state >> 33) % n;
}

static void cancel(struct random_op *op)
{
    struct stack_op done;
    if (op->noted.came)
        return;
    stack_submit(&done, backends[op->backend], OP_CANCEL, (int64_t)op->noted.tag, 0, 0, NULL);
    stack_await_op(&done);
    op->cancelled = true;
}

static void change_limits(uint64_t *state)
{
    static const char *const groups[] = {"g", "h", "s"};
    static const char *const limits[] = {"iops-total=100 bps-total=0 iops-read=0 bps-write=0",
                                         "iops-total=1000000 bps-total=0 iops-read=0 bps-write=0",
                                         "iops-total=0 iops-read=20 bps-total=1M bps-write=0",
                                         "iops-total=0 iops-read=0 bps-total=0 bps-write=0"};
    stack_do("throttle-set %s %s", groups[draw(state, 3)], limits[draw(state, 4)]);
}

static void join_another(uint64_t *state)
{
    static const char *const groups[] = {"g", "h", "s", ""};
    unsigned i = (unsigned)draw(state, 3);
    if (i < 2)
        stack_do("backend-set %s throttle='%s'", names[i], groups[draw(state, 4)]);
    else
        stack_do("node-set t throttle-group=%s", groups[draw(state, 3)]);
}

static void change_medium(uint64_t *state)
{
    static const char *const nodes[][2] = {{"a-0", "a-1"}, {"b-0", "b-1"}, {"t", "c-1"}};
    unsigned i = (unsigned)draw(state, 3);
    const char *name = names[i], *node = nodes[i][draw(state, 2)];
    if (draw(state, 2)) {
        stack_do("medium-change %s %s", name, node);
    } else {
        stack_settle(); /* what comes when there is none fails */
        stack_do("medium-remove %s", name);
        stack_do("medium-insert %s %s", name, node);
    }
}

/* Whoever has asked for all that the backend has not done yet is gone. It is told twice, as the
 * first time may be before what it names. */
static void die(uint64_t *state, unsigned n)
{
    unsigned backend = (unsigned)draw(state, 3);
    for (unsigned times = 0; times < 2; times++) {
        Sluice__Cancel *cancel = MAIL_NEW(sluice__cancel);
        cancel->has_unwanted = cancel->unwanted = true;
        cancel->tags = calloc(RANDOM_OPS, sizeof *cancel->tags);
        for (unsigned i = 0; i < n; i++)
            if (all[i].backend == backend && !all[i].noted.came) {
                cancel->tags[cancel->n_tags++] = all[i].noted.tag;
                all[i].cancelled = true;
            }
        stack_tell(backends[backend], MAIL_CANCEL, cancel);
        stack_settle();
    }
    for (unsigned i = 0; i < n; i++)
        assert_true(all[i].backend != backend || all[i].noted.came);
}

static void do_something(uint64_t *state, unsigned *n)
{
    switch (draw(state, 10)) {
    case 0:
        change_limits(state);
        break;
    case 1:
        join_another(state);
        break;
    case 2:
        stack_do("backend-move name=%s reactor=%u", names[draw(state, 3)],
                 (unsigned)draw(state, 3));
        break;
    case 3:
        if (*n)
            cancel(&all[draw(state, *n)]);
        break;
    case 4:
        stack_pass(draw(state, 50) * NS_PER_MS);
        break;
    case 5:
        change_medium(state);
        break;
    case 6:
        die(state, *n);
        break;
    case 7: {
        const char *name = names[draw(state, 3)];
        stack_do("backend-pause %s", name);
        stack_do("backend-resume %s", name);
        break;
    }
    default:
        for (uint64_t i = draw(state, 12); i && *n < RANDOM_OPS; i--, ++*n) {
            struct random_op *op = &all[*n];
            *op = (struct random_op){.backend = (unsigned)draw(state, 3), .write = draw(state, 2)};
            stack_submit(&op->noted, backends[op->backend], op->write ? OP_WRITE : OP_READ, 0,
                         draw(state, 2) ? 512 : 65536, 0, NULL);
        }
        for (uint64_t i = draw(state, 30); i; i--)
            stack_step();
    }
}

static void assert_random(unsigned n)
{
    const struct random_op *last[3][2] = {{NULL}};
    for (unsigned i = 0; i < n; i++) {
        const struct random_op *op = &all[i];
        assert_true(op->noted.came);
        if (op->cancelled && op->noted.ret == -ECANCELED)
            continue;
        assert_int_equal(op->noted.ret, 0);
        const struct random_op **before = &last[op->backend][op->write];
        assert_true(!*before || (*before)->noted.at < op->noted.at);
        *before = op;
    }
}

/* While somebody has the backends open, and without time for limits. */
static void end_engine(unsigned n)
{
    struct stack_answer ended;
    Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
    shutdown->deadline = 30 * NS_PER_S;
    stack_ask(&ended, stack_world()->graph, MAIL_SHUTDOWN, shutdown);
    stack_settle();
    assert_random(n);
    for (unsigned i = 0; i < 3; i++)
        stack_release(names[i]);
    stack_await(&ended);
    assert_int_equal(ended.code, 0);
}

static void nothing_is_lost_or_stuck_and_order_is_kept_whatever_happens(void **state)
{
    (void)state;
    static const char *const nulls[] = {"a-0", "a-1", "b-0", "b-1", "c-1"};
    FOR_EACH_SEED_ON(seed, 3)
    {
        uint64_t random = seed;
        unsigned n = 0;
        stack_do("throttle-add name=g iops-total=100");
        stack_do("throttle-add name=h iops-read=50 bps-write=1M");
        stack_do("throttle-add name=s parent=g iops-total=20");
        stack_do("node-add driver=null name=n size=1G reactor=1");
        stack_do("node-add driver=throttle name=t child=n throttle-group=s");
        for (unsigned i = 0; i < 5; i++)
            stack_do("node-add driver=null name=%s size=1G reactor=%u", nulls[i], i % 3);
        stack_do("backend-add name=a node=a-0 throttle=g");
        stack_do("backend-add name=b node=b-0 throttle=s");
        stack_do("backend-add name=c node=t throttle=h");
        for (unsigned i = 0; i < 3; i++)
            backends[i] = stack_find(names[i]);
        for (unsigned i = 0; i < 60; i++)
            do_something(&random, &n);
        if (draw(&random, 2)) {
            end_engine(n);
            continue;
        }
        stack_pass(60 * NS_PER_S);
        assert_random(n);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(shown((const char *const[]){"g", "h", "s"}[i])->waiting, 0);
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
        cmocka_unit_test(a_drain_lets_what_waits_through_and_it_is_paid_later),
        cmocka_unit_test(a_member_moves_while_it_waits),
        cmocka_unit_test(limits_stay_when_media_come_and_go),
        cmocka_unit_test(one_that_waits_is_cancelled_and_costs_nothing),
        cmocka_unit_test(a_pause_lets_through_what_is_in_flight),
        cmocka_unit_test(what_is_let_through_between_two_groups_is_counted),
        cmocka_unit_test(a_throttle_node_is_a_member_and_limits_discards),
        cmocka_unit_test(a_drain_lets_through_what_waits_in_a_throttle_node),
        cmocka_unit_test(members_that_go_while_they_change_their_group_are_answered_and_gone),
        cmocka_unit_test(a_request_keeps_the_limits_of_all_groups_above_it),
        cmocka_unit_test(a_group_at_its_limit_is_told_once),
        cmocka_unit_test(a_group_tells_only_of_its_own_limits),
        cmocka_unit_test(a_group_that_is_removed_at_its_limit_does_not_hold_any_more),
        cmocka_unit_test(nothing_is_lost_or_stuck_and_order_is_kept_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
