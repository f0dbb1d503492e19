/* What keeps its limits stays when a backend changes its medium or its reactor; and whatever is to
 * come to rest does not wait for limits. Each seed is another order of what happens. */
#include "drained_rig.h"
#include "limited_rig.h"

/* --- Requests that wait */

#define OPS 5

static void submit(struct stack_op *ops, actor_addr backend)
{
    for (int i = 0; i < OPS; i++) {
        ops[i] = (struct stack_op){0};
        stack_submit(&ops[i], backend, OP_WRITE, i * 4096, 512, 0, NULL);
    }
    stack_settle();
    assert_true(!ops[OPS - 1].came && !ops[1].came);
}

static void assert_done(const struct stack_op *ops)
{
    for (int i = 0; i < OPS; i++) {
        assert_true(ops[i].came);
        assert_int_equal(ops[i].ret, 0);
    }
}

/* They need time, a second each. */
static void run_out(const struct stack_op *ops)
{
    for (int i = 0; i < OPS; i++)
        stack_await_op(&ops[i]);
    assert_done(ops);
}

static void limits_stay_when_the_medium_changes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[OPS];
        stack_do("throttle-add slow iops-total=1");
        stack_do("node-add driver=memory name=one size=1M");
        stack_do("node-add driver=memory name=two size=2M");
        stack_do("backend-add name=b"); /* without a medium */
        stack_do("backend-set b throttle=slow");
        assert_string_equal(limited_group_of("b"), "slow");
        stack_do("medium-insert b one");
        actor_addr b = stack_find("b");
        submit(ops, b);
        run_out(ops);
        stack_do("medium-change b two");
        submit(ops, b);
        run_out(ops);
        stack_do("medium-remove b");
        assert_string_equal(limited_group_of("b"), "slow");
        stack_do("medium-insert b one");
        submit(ops, b);
        run_out(ops);
        assert_string_equal(limited_group("slow")->members[0]->name, "backend 'b'");
    }
}

static void the_member_goes_along_to_another_reactor(void **state)
{
    (void)state;
    FOR_EACH_SEED_ON(seed, 2)
    {
        struct stack_op ops[OPS];
        struct stack_answer moved = {0};
        stack_do("throttle-add slow iops-total=1 reactor=%u", (unsigned)(seed / 2 % 2));
        stack_do("node-add driver=memory name=n size=1M reactor=1");
        stack_do("backend-add name=holder node=n");
        stack_do("backend-add name=b throttle=slow");
        actor_addr b = stack_find("b");
        stack_do("backend-move b reactor=0");
        stack_do("medium-insert b n"); /* it follows the node */
        assert_int_equal(shown()->reactor, 1);
        submit(ops, b);
        run_out(ops);

        /* With requests that wait: none is lost, and it keeps the limit over there. */
        submit(ops, b);
        stack_send(&moved, "backend-move b reactor=0");
        stack_await(&moved);
        assert_int_equal(moved.code, 0);
        assert_int_equal(shown()->reactor, 0);
        run_out(ops);
        submit(ops, b);
        run_out(ops);
        assert_int_equal(limited_group("slow")->n_members, 1);
        assert_int_equal(limited_group("slow")->waiting, 0);
    }
}

/* --- Drains */

/* A backend on memory that lets one request pass in a second: itself, or the node between; found.
 */
static actor_addr slow_backend(const char *name, bool itself)
{
    stack_do("throttle-add slow-%s iops-total=1", name);
    stack_do("node-add driver=memory name=memory-%s size=1M", name);
    if (itself) {
        stack_do("backend-add name=%s node=memory-%s throttle=slow-%s", name, name, name);
    } else {
        stack_do("node-add driver=throttle name=node-%s child=memory-%s throttle-group=slow-%s",
                 name, name, name);
        stack_do("backend-add name=%s node=node-%s", name, name);
    }
    return stack_find(name);
}

/* Waits without letting time pass. */
static void assert_at_once(const struct stack_answer *answer)
{
    stack_settle();
    assert_true(answer->came);
    if (answer->code)
        fail_msg("%s", answer->text);
}

static void a_drain_lets_go_what_waits_for_limits_and_nobody_else(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr a = slow_backend("a", seed & 1), b = slow_backend("b", seed & 2);
        struct stack_op on_a[OPS], on_b[OPS];
        struct stack_answer drained = {0};
        submit(on_a, a);
        submit(on_b, b);
        drained_ask(&drained, 0, 0, "memory-a");
        assert_at_once(&drained);
        assert_done(on_a);
        assert_false(on_b[OPS - 1].came);

        drained_end(drained_region(&drained));
        stack_settle();
        submit(on_a, a); /* they wait as before */

        /* Everything. */
        struct stack_answer all = {0};
        drained_ask(&all, 0, 0, NULL);
        assert_at_once(&all);
        assert_done(on_a);
        assert_done(on_b);
        drained_end(drained_region(&all));
    }
}

static void a_node_that_comes_into_a_region_lets_go_too(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory name=n size=1M");
        stack_do("throttle-add slow iops-total=1");
        stack_do("node-add driver=throttle name=t child=n throttle-group=slow");
        stack_do("backend-add name=b");
        actor_addr b = stack_find("b");
        uint64_t region = drained_begin(0, b, NULL);
        stack_do("medium-insert b t");
        struct stack_op ops[OPS];
        submit(ops, b); /* they wait in the backend */

        /* Another region is over: they go, and then this one begins anew around them. */
        drained_end(region);
        stack_settle();
        assert_false(ops[OPS - 1].came);
        struct stack_answer again = {0};
        drained_ask(&again, 0, b, NULL);
        assert_at_once(&again);
        assert_done(ops);
        drained_end(drained_region(&again));
    }
}

static void whatever_brings_a_backend_to_rest_does_not_wait_for_limits(void **state)
{
    static const char *const how[] = {"medium-remove b",
                                      "medium-change b other",
                                      "backend-move b reactor=0",
                                      "backend-inactivate b",
                                      "medium-remove-all",
                                      "backend-pause b",
                                      "pause",
                                      "backend-remove b"};
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[OPS];
        actor_addr b = slow_backend("b", seed & 1);
        stack_do("node-add driver=memory name=other size=1M");
        submit(ops, b);
        stack_release("b"); /* so that it can be removed */
        assert_false(ops[OPS - 1].came);
        struct stack_answer answer = {0};
        stack_send(&answer, "%s", how[seed / 2 % (sizeof how / sizeof *how)]);
        assert_at_once(&answer);
        assert_done(ops);
    }
}

/* --- Others on the same node */

#define MANY 40

static uint64_t drain_node(const char *name)
{
    struct stack_answer drained = {0};
    drained_ask(&drained, 0, 0, name);
    assert_at_once(&drained);
    return drained_region(&drained);
}

/* 10 requests in a second, of `a` through a node between, which is what is drained, and of `b`;
 * each of 8 KiB is 16 pieces. */
static void shared_node(actor_addr *a, actor_addr *b)
{
    stack_do("throttle-add slow iops-total=10");
    stack_do("node-add driver=mock name=m size=1M max-transfer=512");
    stack_do("node-add driver=throttle name=t child=m throttle-group=slow");
    stack_do("node-add driver=raw name=r child=t");
    stack_do("backend-add name=a node=r");
    stack_do("backend-add name=b node=t");
    *a = stack_find("a");
    *b = stack_find("b");
}

/* Those that come meanwhile, and those that wait there already. */
static void others_on_the_node_of_one_that_is_drained_keep_its_limits(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op on_a[OPS] = {0}, on_b[MANY] = {0};
        actor_addr a, b;
        shared_node(&a, &b);
        for (int i = 0; i < OPS; i++)
            stack_submit(&on_a[i], a, OP_READ, 0, 8192, 0, NULL);
        for (int i = 0; i < MANY && seed & 1; i++)
            stack_submit(&on_b[i], b, OP_READ, 0, 512, 0, NULL);
        stack_settle();
        assert_int_equal(limited_came(on_a, OPS) + limited_came(on_b, MANY), 0);
        uint64_t region = drain_node("r");
        assert_done(on_a);
        assert_int_equal(limited_came(on_b, MANY), 0);
        for (int i = 0; i < MANY && !(seed & 1); i++)
            stack_submit(&on_b[i], b, OP_READ, 0, 512, 0, NULL);
        stack_pass(NS_PER_S);
        if (seed & 1) {
            assert_in_range(limited_came(on_b, MANY), 9, 11); /* they are in front of that */
        } else {
            assert_int_equal(limited_came(on_b, MANY), 0); /* what was let through is paid first */
            stack_pass(9 * NS_PER_S);
            assert_in_range(OPS * 16 + limited_came(on_b, MANY), 100, 102);
        }
        drained_end(region);
        stack_settle();
        stack_pass(20 * NS_PER_S);
        assert_int_equal(limited_came(on_b, MANY), MANY);
    }
}

/* One that is paused, and waits for its medium. */
static void others_keep_limits_while_one_waits_for_something_else(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op on_a = {0}, on_b[MANY] = {0};
        struct stack_answer paused = {0};
        stack_do("throttle-add slow iops-total=10");
        stack_do("node-add driver=memory name=m size=1M");
        stack_do("node-add driver=throttle name=t child=m throttle-group=slow");
        stack_do("node-add driver=mock name=hung size=1M hold=on");
        stack_do("node-add driver=overlay name=top child=hung backing=t");
        stack_do("backend-add name=a node=top");
        stack_do("backend-add name=b node=t");
        actor_addr a = stack_find("a"), b = stack_find("b");
        stack_submit(&on_a, a, OP_WRITE, 0, 65536, 0, NULL);
        stack_settle();
        stack_send(&paused, "backend-pause a");
        stack_settle();
        for (int i = 0; i < MANY; i++)
            stack_submit(&on_b[i], b, OP_READ, 0, 512, 0, NULL);
        stack_pass(NS_PER_S);
        assert_in_range(limited_came(on_b, MANY), 10, 12);
        stack_do("node-set hung hold=off");
        stack_do("node-set hung release=1");
        stack_await(&paused);
        assert_true(on_a.came);
        stack_pass(20 * NS_PER_S);
        assert_int_equal(limited_came(on_b, MANY), MANY);
    }
}

/* What it sent while it had to keep limits for the other's sake waits no longer either. */
static void one_that_had_to_keep_limits_comes_to_rest_too(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op on_a[OPS] = {0}, on_b[OPS] = {0};
        struct stack_answer answers[2] = {{0}};
        actor_addr a, b;
        shared_node(&a, &b);
        for (int i = 0; i < OPS; i++)
            stack_submit(&on_a[i], a, OP_READ, 0, 8192, 0, NULL);
        stack_send(&answers[0], "backend-pause %s", seed & 1 ? "a" : "b");
        for (unsigned steps = 0; steps < seed % 30; steps++)
            stack_step();
        for (int i = 0; i < OPS; i++)
            stack_submit(&on_b[i], b, OP_READ, 0, 8192, 0, NULL);
        for (unsigned steps = 0; steps < seed % 7; steps++)
            stack_step();
        stack_send(&answers[1], "pause");
        stack_pass(NS_PER_MS);
        assert_true(answers[0].came && answers[1].came);
        stack_do("resume");
        stack_do("backend-resume %s", seed & 1 ? "a" : "b");
        stack_pass(60 * NS_PER_S);
        assert_done(on_a);
        assert_done(on_b);
    }
}

static void after_a_pause_limits_hold_again(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static const char *const suffix[] = {"", " b"}; /* all backends, or one */
        const char *which = seed & 2 ? "backend-" : "";
        struct stack_op ops[OPS];
        actor_addr b = slow_backend("b", seed & 1);
        submit(ops, b);
        stack_do("%spause%s", which, suffix[*which != 0]);
        assert_done(ops);
        stack_do("%sresume%s", which, suffix[*which != 0]);
        stack_settle();
        submit(ops, b);
        run_out(ops);
    }
}

static void after_a_pause_that_was_never_quiet_limits_hold_again(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[OPS];
        struct stack_answer paused = {0};
        stack_do("throttle-add slow iops-total=1");
        stack_do("node-add driver=mock name=m size=1M hold=on");
        actor_addr b = stack_backend("t", "driver=throttle child=m throttle-group=slow", "");
        submit(ops, b);
        stack_send(&paused, seed & 1 ? "pause" : "backend-pause b");
        stack_settle();
        stack_do(seed & 1 ? "resume" : "backend-resume b");
        stack_do("node-set m hold=off");
        stack_settle();
        assert_true(paused.came);
        assert_done(ops); /* the pause had let them go */
        submit(ops, b);
        run_out(ops);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_stay_when_the_medium_changes),
        cmocka_unit_test(the_member_goes_along_to_another_reactor),
        cmocka_unit_test(a_drain_lets_go_what_waits_for_limits_and_nobody_else),
        cmocka_unit_test(a_node_that_comes_into_a_region_lets_go_too),
        cmocka_unit_test(whatever_brings_a_backend_to_rest_does_not_wait_for_limits),
        cmocka_unit_test(after_a_pause_limits_hold_again),
        cmocka_unit_test(after_a_pause_that_was_never_quiet_limits_hold_again),
        cmocka_unit_test(others_on_the_node_of_one_that_is_drained_keep_its_limits),
        cmocka_unit_test(others_keep_limits_while_one_waits_for_something_else),
        cmocka_unit_test(one_that_had_to_keep_limits_comes_to_rest_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
