/* What a throttle group's members have leased comes back, in a whole stepped engine: when it is not
 * used, when it is of no use, and when limits change. Each seed is another order of what happens.
 */
#include "limited_rig.h"

#include "engine/reactor.h"

#define OPS 256

static struct stack_op ops[OPS];

/* --- Requests and bytes limited together */

/* Small requests use up the requests of a lease first, and leave bytes. */
static void bytes_that_small_requests_leave_of_leases_come_back(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=1000 bps-total=10M");
        actor_addr b = limited_backend("b", "g");
        for (unsigned i = 0; i < 5; i++) {
            limited_submit(ops, 200, b, OP_READ, 512);
            stack_pass(NS_PER_S);
            assert_int_equal(limited_came(ops, 200), 200);
            assert_int_equal(limited_group("g")->leased_bytes, 0);
            assert_int_equal(limited_group("g")->leased_ops, 0);
        }
    }
}

/* Whatever was left over. */
static void a_lower_limit_of_bytes_does_not_stop_a_group(void **state)
{
    static const char *const limits[] = {"bps-total=1M", "iops-size=512", "iops-total=100"};
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=1000 bps-total=10M");
        actor_addr b = limited_backend("b", "g"), other = limited_backend("other", "g");
        limited_submit(ops, 200, b, OP_READ, 512);
        stack_do("throttle-set g %s", limits[seed / 3 % 3]);
        limited_submit(ops, 100, other, OP_READ, 512);
        stack_pass(2 * NS_PER_S);
        assert_int_equal(limited_came(ops, 100), 100);
    }
}

/* A lease under which bytes had no limit is none when they have one. */
static void a_new_limit_of_bytes_holds_at_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=1000");
        actor_addr b = limited_backend("b", "g");
        limited_submit(ops, 200, b, OP_READ, 512);
        stack_pass(NS_PER_S);
        stack_do("throttle-set g bps-total=10M"); /* it holds 1 MiB */
        limited_submit(ops, 1, b, OP_READ, 512);
        limited_submit(ops, 31, b, OP_READ, 64 << 10);
        assert_in_range(limited_came(ops, 31), 16, 17);
    }
}

/* It asks for the bytes that it lacks, not for those that it has left, too. */
static void small_requests_do_not_gather_bytes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-total=100000 bps-total=100M"); /* 10 MiB fit in */
        actor_addr b = limited_backend("b", "g");
        double most = 0;
        for (unsigned i = 0; i < 400; i++) {
            limited_submit(ops, 16, b, OP_READ, 512);
            assert_int_equal(limited_came(ops, 16), 16);
            stack_pass(NS_PER_MS);
            double leased = limited_group("g")->leased_bytes;
            most = leased > most ? leased : most;
        }
        /* 64 requests at a time, when half of those before are left. */
        assert_true(most > 0 && most <= 128 * 4096);
    }
}

/* --- Idle */

static void a_direction_s_idle_lease_comes_back_while_the_other_is_busy(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=g iops-write=100000 bps-read=1G");
        actor_addr b = limited_backend("b", "g");
        limited_submit(ops, 200, b, OP_WRITE, 512);
        assert_int_equal(limited_came(ops, 200), 200);
        assert_true(limited_group("g")->has_leased_ops && limited_group("g")->leased_ops > 0);
        for (unsigned i = 0; i < 8; i++) {
            limited_submit(ops, 8, b, OP_READ, 512);
            assert_int_equal(limited_came(ops, 8), 8);
            stack_pass(5 * NS_PER_MS);
        }
        assert_true(limited_group("g")->has_leased_ops && limited_group("g")->leased_ops == 0);
        assert_true(limited_group("g")->leased_bytes > 0); /* the other's is kept */
    }
}

/* --- Moves */

/* 200 writes at once, so that some of a lease is left; and which backend that was. */
static actor_addr leases(const char *group)
{
    stack_do("throttle-add name=%s iops-write=100000", group);
    actor_addr b = limited_backend("b", group);
    limited_submit(ops, 200, b, OP_WRITE, 512);
    assert_int_equal(limited_came(ops, 200), 200);
    assert_true(limited_group(group)->leased_ops > 0);
    return b;
}

/* To another reactor, by itself or to a node that stays there. */
static void move(uint64_t seed)
{
    unsigned threads = STACK_THREADS(seed);
    unsigned to = (stack_do("backend-show b")->backend->reactor + 1) % threads;
    if (seed / 3 & 1) {
        stack_do("backend-move b reactor=%u", to);
    } else {
        stack_do("node-add driver=null name=n reactor=%u", to);
        stack_do("backend-add name=holder node=n");
        stack_do("medium-change b n");
    }
    assert_int_equal(stack_do("backend-show b")->backend->reactor, to);
}

static void an_idle_lease_comes_back_from_another_reactor(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = leases("g");
        move(seed);
        assert_true(limited_group("g")->leased_ops > 0); /* it went along */
        stack_pass(50 * NS_PER_MS);
        assert_true(limited_group("g")->leased_ops == 0);

        /* And what is leased there. */
        limited_submit(ops, 200, b, OP_WRITE, 512);
        assert_int_equal(limited_came(ops, 200), 200);
        assert_true(limited_group("g")->leased_ops > 0);
        stack_pass(50 * NS_PER_MS);
        assert_true(limited_group("g")->leased_ops == 0);
    }
}

/* What the old reactor was to do later is done by the new one, or not at all. */
static void a_member_that_has_moved_may_end_at_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        leases("g");
        move(seed);
        stack_release("b");
        stack_do("backend-remove b");
        assert_int_equal(limited_group("g")->n_members, 0);
        stack_pass(50 * NS_PER_MS);
        for (unsigned i = 0; i < STACK_THREADS(seed); i++)
            assert_true(timers_next(reactor_timers(engine_reactor(stack_engine(), i))) ==
                        UINT64_MAX);
    }
}

/* --- What is shown */

static void what_is_leased_is_shown_also_when_one_direction_has_no_limit(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add name=all bps-read=100M");
        stack_do("throttle-add name=g iops-read=100000 parent=all");
        actor_addr b = limited_backend("b", "g");
        limited_submit(ops, 8, b, OP_WRITE, 512);
        limited_submit(ops, 8, b, OP_READ, 512);
        const Sluice__ThrottleInfo *g = limited_group("g"), *all = limited_group("all");
        assert_true(g->has_leased_ops && g->leased_ops >= 24);
        assert_true(g->has_leased_bytes && g->leased_bytes >= 24 * 512);
        assert_true(g->members[0]->has_leased_ops && g->members[0]->has_leased_bytes);
        assert_true(g->members[0]->leased_ops == g->leased_ops);
        assert_true(g->members[0]->leased_bytes == g->leased_bytes);
        assert_false(all->has_leased_ops); /* that limits bytes only */
        assert_true(all->has_leased_bytes && all->leased_bytes == g->leased_bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_small_requests_leave_of_leases_come_back),
        cmocka_unit_test(a_lower_limit_of_bytes_does_not_stop_a_group),
        cmocka_unit_test(a_new_limit_of_bytes_holds_at_once),
        cmocka_unit_test(small_requests_do_not_gather_bytes),
        cmocka_unit_test(a_direction_s_idle_lease_comes_back_while_the_other_is_busy),
        cmocka_unit_test(an_idle_lease_comes_back_from_another_reactor),
        cmocka_unit_test(a_member_that_has_moved_may_end_at_once),
        cmocka_unit_test(what_is_leased_is_shown_also_when_one_direction_has_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
