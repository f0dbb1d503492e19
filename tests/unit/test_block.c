/* Op blockers, in a whole stepped engine: each seed is another order of what happens. */
#include "shown_rig.h"

static size_t blocked_on(const char *node)
{
    return stack_do("node-show %s", node)->node->n_blocked;
}

static void each_operation_asks_for_its_kind_and_is_refused_with_the_reason(void **state)
{
    static const struct {
        const char *op, *request;
    } all[] = {
        {"resize", "io-truncate backend=b size=512"},
        {"external-snapshot", "node-add driver=overlay name=o child=other backing=m"},
        {"eject", "medium-change backend=b node=other"},
        {"change", "medium-change backend=b node=other"},
        {"eject", "medium-eject b"},
        {"eject", "medium-remove-all"},
        {"eject", "medium-remove b"},
        {"drive-del", "backend-remove b"},
    };
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("node-add driver=mock name=other size=1M");
        stack_do("backend-add name=b node=m");
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            char sentence[80];
            snprintf(sentence, sizeof sentence, "%s is blocked on node 'm': somebody sleeps",
                     all[i].op);
            stack_do("op-block backend=b op=%s reason='somebody sleeps'", all[i].op);
            stack_refused(-EBUSY, sentence, "%s", all[i].request);
            stack_do("op-unblock node=m op=%s reason='somebody sleeps'", all[i].op);
        }
        stack_do("io-truncate backend=b size=512");
        stack_do("medium-remove b");
        stack_do("backend-remove b");
        stack_do("op-block node=m op=drive-del reason=stay");
        stack_refused(-EBUSY, "drive-del is blocked on node 'm': stay", "node-remove m");
        stack_do("op-unblock node=m op=drive-del reason=stay");
        stack_do("node-remove m");
    }
}

static void all_media_go_but_for_the_blocked(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer all = {0}, again = {0}, coming = {0};
        struct stack_op op;
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("node-add driver=mock name=slow size=1M hold=on");
        stack_do("node-add driver=raw name=window child=m");
        stack_do("backend-add name=first node=window");
        stack_do("backend-add name=second node=slow");
        stack_do("backend-add name=third");
        stack_do("op-block node=m op=eject reason=stay");
        stack_submit(&op, stack_find("second"), OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&coming, "medium-insert backend=third node=m"); /* is asked when it is there */
        stack_send(&all, "medium-remove-all");
        stack_send(&again, "medium-remove-all");
        stack_settle();
        assert_false(all.came || again.came);
        stack_do("node-set slow hold=off");
        stack_await(&all);
        stack_await(&again);
        assert_int_equal(all.code, -EBUSY);
        assert_non_null(strstr(all.text, "eject is blocked on node 'm': stay"));
        assert_int_equal(again.code, -EBUSY);
        assert_string_equal(stack_do("backend-show first")->backend->node, "window");
        assert_string_equal(stack_do("backend-show third")->backend->node, "m");
        assert_null(stack_do("backend-show second")->backend->node);
        stack_do("op-unblock node=m reason=stay");
        stack_do("medium-remove-all");
        assert_null(stack_do("backend-show first")->backend->node);
        assert_null(stack_do("backend-show third")->backend->node);
    }
}

static void other_kinds_and_other_nodes_are_not_concerned(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("node-add driver=mock name=other size=1M");
        stack_do("backend-add name=b node=m");
        stack_do("op-block node=m op=move op=stream reason=r");
        stack_do("op-block node=other reason=r");
        stack_do("io-truncate backend=b size=512");
        stack_do("medium-remove b");
        stack_do("backend-remove b");
        stack_do("node-remove m");
        stack_refused(-EBUSY, "drive-del is blocked on node 'other': r", "node-remove other");
    }
}

static void what_two_have_blocked_is_free_when_both_have_taken_it_back(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b node=m");
        stack_do("op-block node=m op=eject reason=one");
        stack_do("op-block node=m op=eject reason=two");
        stack_do("op-block node=m op=eject reason=two");
        stack_do("op-unblock node=m op=eject reason=two");
        assert_int_equal(blocked_on("m"), 2);
        stack_do("op-unblock node=m op=eject reason=one");
        stack_refused(-EBUSY, "eject is blocked on node 'm': two", "medium-remove b");
        stack_do("op-unblock node=m op=eject reason=two");
        stack_refused(-ENOENT, "for the reason \"two\"", "op-unblock node=m op=eject reason=two");
        stack_do("medium-remove b");
    }
}

static void all_can_be_blocked_but_for_some(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b node=m");
        stack_do("op-block node=m except=eject reason=r");
        assert_int_equal(blocked_on("m"), 16);
        stack_refused(-EBUSY, "resize is blocked", "io-truncate backend=b size=512");
        stack_do("medium-remove b");
        stack_refused(-EBUSY, "drive-del is blocked", "node-remove m");
        stack_do("op-unblock node=m except=drive-del reason=r");
        assert_int_equal(blocked_on("m"), 1);
        const Sluice__OpBlocker *left = stack_do("node-show m")->node->blocked[0];
        assert_int_equal(left->op, SLUICE__OP_BLOCK__OPERATION__DRIVE_DEL);
        assert_string_equal(left->reason, "r");
        stack_do("op-unblock node=m reason=r");
        stack_do("node-remove m");
    }
}

static void a_frontend_that_resizes_by_itself_finds_it_blocked(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("node-add driver=mock name=other size=1M");
        stack_do("backend-add name=b node=m");
        actor_addr b = stack_find("b");
        stack_do("op-block node=m op=resize reason=r");
        assert_int_equal(stack_run(b, OP_TRUNCATE, 512, 0, 0), -EBUSY);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        /* A write that makes it longer does that, too. */
        assert_int_equal(stack_run(b, OP_WRITE, MIB - 256, 512, OP_BEYOND_END), -EBUSY);
        assert_int_equal(stack_run(b, OP_ZEROES, MIB, 512, OP_BEYOND_END), -EBUSY);
        assert_int_equal(stack_run(b, OP_WRITE, MIB - 512, 512, OP_BEYOND_END), 0);
        assert_int_equal(stack_run(b, OP_READ, MIB, 512, OP_BEYOND_END), 0);
        assert_int_equal(stack_do("node-show m")->node->length, MIB);
        /* It stays with the medium. */
        stack_do("medium-remove b");
        stack_do("medium-insert backend=b node=other");
        assert_int_equal(stack_run(b, OP_TRUNCATE, 1024, 0, 0), 0);
        stack_do("medium-remove b");
        stack_do("medium-insert backend=b node=m");
        assert_int_equal(stack_run(b, OP_TRUNCATE, 512, 0, 0), -EBUSY);
        stack_do("op-unblock node=m op=resize reason=r");
        assert_int_equal(stack_run(b, OP_TRUNCATE, 512, 0, 0), 0);
    }
}

static void a_backend_that_is_added_finds_what_is_blocked(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("op-block node=m op=resize reason=r");
        stack_do("backend-add name=b node=m");
        assert_int_equal(stack_run(stack_find("b"), OP_TRUNCATE, 512, 0, 0), -EBUSY);
    }
}

static void without_a_medium_nothing_is_blocked(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b");
        stack_do("op-block node=m reason=r");
        stack_refused(-ENOMEDIUM, "backend 'b' has no medium", "op-block backend=b reason=r");
        stack_do("medium-remove b");
        stack_do("backend-remove b");
    }
}

static void mistakes_are_told(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add driver=mock name=m size=1M");
    stack_do("backend-add name=b node=m");
    stack_refused(-EINVAL, "give either a node or a backend", "op-block reason=r");
    stack_refused(-EINVAL, "give either a node or a backend", "op-block node=m backend=b reason=r");
    stack_refused(-ENOENT, "there is no node 'x'", "op-block node=x reason=r");
    stack_refused(-ENOENT, "there is no backend 'x'", "op-unblock backend=x reason=r");
    stack_refused(-EINVAL, "nothing is left to be blocked",
                  "op-block node=m op=move except=move reason=r");
    assert_int_equal(blocked_on("m"), 0);
    stack_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operation_asks_for_its_kind_and_is_refused_with_the_reason),
        cmocka_unit_test(all_media_go_but_for_the_blocked),
        cmocka_unit_test(other_kinds_and_other_nodes_are_not_concerned),
        cmocka_unit_test(what_two_have_blocked_is_free_when_both_have_taken_it_back),
        cmocka_unit_test(all_can_be_blocked_but_for_some),
        cmocka_unit_test(a_frontend_that_resizes_by_itself_finds_it_blocked),
        cmocka_unit_test(a_backend_that_is_added_finds_what_is_blocked),
        cmocka_unit_test(without_a_medium_nothing_is_blocked),
        cmocka_unit_test(mistakes_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
