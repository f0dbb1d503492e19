/* Media come and go, in a whole stepped engine: each seed is another order of what happens. */
#include "shown_rig.h"

static void a_backend_gets_a_medium_and_gives_it_back(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory name=one size=1M");
        stack_do("node-add driver=memory name=two size=2M");
        stack_do("backend-add name=b");
        actor_addr b = stack_find("b");
        stack_call(b, MAIL_SESSION_OPEN, stack_session(8, 0));
        uint64_t before = shown_sequence();
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(b, OP_TRUNCATE, 512, 0, 0), -ENOMEDIUM);

        stack_do("medium-insert backend=b node=one");
        assert_int_equal(stack_news()->length, MIB);
        assert_true(stack_news()->inserted);
        assert_string_equal(shown()->node, "one");
        assert_int_equal(stack_run(b, OP_WRITE, MIB - 512, 512, 0), 0);
        assert_int_equal(stack_run(b, OP_WRITE, MIB, 512, 0), -EIO);
        stack_refused(-EBUSY, "backend 'b' has a medium already, node 'one'",
                      "medium-insert backend=b node=two");
        stack_refused(-EBUSY, "node 'one' can't be removed: backend 'b' uses it",
                      "node-remove one");

        stack_do("medium-remove b");
        assert_false(stack_news()->inserted);
        assert_null(shown()->node);
        assert_false(shown()->has_length);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), -ENOMEDIUM);
        stack_do("medium-remove b"); /* nothing to do, which is fine, and tells nothing */

        stack_do("medium-insert backend=b node=two");
        assert_int_equal(stack_run(b, OP_WRITE, MIB, 512, 0), 0);
        stack_do("node-remove one");
        assert_string_equal(stack_story(before + 1), "MEDIUM_INSERTED b, MEDIUM_REMOVED b, "
                                                     "MEDIUM_INSERTED b, NODE_DELETED one");
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(1));
    }
}

static void removing_waits_for_what_is_in_flight_and_what_comes_meanwhile_finds_none(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock size=1M hold=on", "");
        struct stack_op before = {0}, meanwhile = {0};
        struct stack_answer removed = {0};
        stack_submit(&before, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&removed, "medium-remove b");
        stack_settle();
        stack_submit(&meanwhile, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_false(removed.came || before.came || meanwhile.came);
        stack_refused(-EBUSY, "backend 'b' is being changed", "medium-remove b");
        stack_refused(-EBUSY, "backend 'b' is being changed", "backend-remove b");
        stack_do("node-set m hold=off");
        stack_await(&removed);
        stack_await_op(&meanwhile);
        assert_int_equal(removed.code, 0);
        assert_int_equal(before.ret, 0);
        assert_true(before.at < removed.at);
        assert_int_equal(meanwhile.ret, -ENOMEDIUM);
    }
}

static void what_is_held_is_tried_again_on_the_medium_then_present(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=bad size=1M error=5");
        stack_do("node-add driver=mock name=good size=1M");
        stack_do("backend-add name=b node=bad werror=stop");
        actor_addr b = stack_find("b");
        struct stack_op op = {0};
        stack_submit(&op, b, OP_WRITE, 4096, 512, 0, NULL);
        stack_settle();
        assert_int_equal(shown()->held, 1);
        stack_do("medium-remove b");
        assert_int_equal(shown()->held, 1);
        stack_do("medium-insert backend=b node=good");
        stack_settle();
        assert_false(op.came);
        stack_do("backend-resume b");
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        const Sluice__NodeInfo *info = stack_do("node-show good")->node;
        assert_string_equal(info->state[info->n_state - 1]->value, "write 4096+512");

        /* And none may be: it fails as a new one would. */
        stack_do("node-set good error=5");
        stack_submit(&op, b, OP_WRITE, 8192, 512, 0, NULL);
        stack_settle();
        assert_int_equal(shown()->held, 1);
        stack_do("medium-remove b");
        stack_do("backend-resume b");
        stack_await_op(&op);
        assert_int_equal(op.ret, -ENOMEDIUM);
        assert_int_equal(shown()->held, 0);
    }
}

static void read_only_stays_with_an_empty_backend(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("node-add driver=mock name=ro read-only=on");
    stack_do("node-add driver=mock name=rw");
    stack_do("backend-add name=b node=ro");
    assert_true(shown()->read_only);
    stack_do("medium-remove b");
    assert_true(shown()->read_only);
    stack_do("medium-insert backend=b node=rw");
    assert_false(shown()->read_only);
    stack_do("medium-remove b");
    assert_false(shown()->read_only);
    stack_stop();
}

static void a_node_that_another_backend_holds_stays_where_it_is(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned reactor = (unsigned)(seed / 3) % STACK_THREADS(seed);
        stack_do("node-add driver=mock name=m size=1M reactor=%u", reactor);
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=other node=m");
        stack_do("medium-remove b");
        stack_settle();
        assert_int_equal(stack_do("node-show m")->node->reactor, reactor);
        assert_int_equal(stack_run(stack_find("other"), OP_WRITE, 0, 512, 0), 0);
        assert_string_equal(stack_do("backend-show other")->backend->node, "m");
    }
}

/* A backend that is an embedding program's, on a node that is made with it. */
static void the_last_reference_takes_the_medium_along_before_it_has_gone(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer made, ended;
        stack_settle();
        unsigned actors = stack_actors();
        Sluice__Claim *claim = MAIL_NEW(sluice__claim);
        mail_set(&claim->backend, "");
        mail_set(&claim->name, "rig");
        claim->permissions = MAIL_NEW(sluice__permissions);
        claim->make = MAIL_NEW(sluice__backend_add);
        mail_set(&claim->make->name, "");
        mail_set(&claim->make->driver, "null");
        stack_ask(&made, stack_world()->graph, MAIL_CLAIM, claim);
        stack_await(&made);
        assert_int_equal(made.code, 0);
        assert_int_equal(stack_actors(), actors + 2);
        Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
        end->claim = ((const Sluice__Claimed *)made.body)->claim;
        stack_ask(&ended, stack_world()->graph, MAIL_CLAIM_END, end);
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_int_equal(stack_actors(), actors); /* by the time that one knows */

        stack_send_graph(&made, "backend-add name=b driver=null");
        stack_await(&made);
        assert_int_equal(made.code, 0);
        stack_send_graph(&ended, "backend-remove b");
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_int_equal(stack_actors(), actors);
    }
}

static void mistakes_are_told_and_change_nothing(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add driver=memory name=n size=1M");
    stack_do("backend-add name=b");
    stack_refused(-ENOENT, "there is no backend 'x'", "medium-insert backend=x node=n");
    stack_refused(-ENOENT, "there is no node 'x'", "medium-insert backend=b node=x");
    stack_refused(-ENOENT, "there is no backend 'x'", "medium-remove x");
    assert_null(shown()->node);
    stack_do("node-remove n");
    stack_stop();
}

static void a_shutdown_during_a_removal_ends_both(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m hold=on");
        stack_do("backend-add name=b node=m");
        struct stack_op op = {0};
        struct stack_answer removed = {0};
        stack_submit(&op, stack_find("b"), OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&removed, "medium-remove b");
        stack_settle();
        stack_stop();
        assert_true(removed.came);
        assert_int_equal(op.ret, -ESHUTDOWN);
        stack_start(1, seed);
    }
}

static void a_drive_that_says_it_is_empty_is_not_available(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock size=1M empty=on", "");
        stack_call(b, MAIL_SESSION_OPEN, stack_session(8, 0));
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), -ENOMEDIUM);
        assert_false(shown()->has_length);
        stack_do("node-set m empty=off");
        stack_settle();
        assert_true(stack_news()->inserted);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        assert_int_equal(shown()->length, MIB);
        stack_do("node-set m empty=on");
        stack_settle();
        assert_false(stack_news()->inserted);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), -ENOMEDIUM);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backend_gets_a_medium_and_gives_it_back),
        cmocka_unit_test(removing_waits_for_what_is_in_flight_and_what_comes_meanwhile_finds_none),
        cmocka_unit_test(what_is_held_is_tried_again_on_the_medium_then_present),
        cmocka_unit_test(read_only_stays_with_an_empty_backend),
        cmocka_unit_test(a_drive_that_says_it_is_empty_is_not_available),
        cmocka_unit_test(a_node_that_another_backend_holds_stays_where_it_is),
        cmocka_unit_test(the_last_reference_takes_the_medium_along_before_it_has_gone),
        cmocka_unit_test(mistakes_are_told_and_change_nothing),
        cmocka_unit_test(a_shutdown_during_a_removal_ends_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
