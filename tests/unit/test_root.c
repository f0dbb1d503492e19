/* What of a medium stays when it goes, all media at once, rereading, and writes of zeroes, in a
 * whole stepped engine: each seed is another order of what happens. */
#include "shown_rig.h"

static void assert_root(bool read_only, const char *flags, const char *reopen)
{
    const Sluice__BackendInfo *info = shown();
    assert_int_equal(info->read_only, read_only);
    assert_string_equal(shown_words(info->flags, info->n_flags), flags);
    assert_string_equal(shown_words(info->reopen_flags, info->n_reopen_flags), reopen);
}

/* --- The root state */

static void the_root_state_answers_without_a_medium(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=rw direct=on");
        stack_do("node-add driver=mock name=ro read-only=on can=flush");
        stack_do("backend-add name=b detect-zeroes=unmap");
        assert_root(false, "", "read-write");
        stack_do("medium-insert backend=b node=ro");
        assert_root(true, "", "");
        stack_do("medium-remove b");
        assert_root(true, "", "");
        stack_do("medium-insert backend=b node=rw");
        assert_root(false, "read-write,direct,unmap", "read-write,direct,unmap");
        stack_do("medium-remove b");
        assert_root(false, "read-write,direct,unmap", "read-write,direct,unmap");
        assert_int_equal(shown()->detect_zeroes, SLUICE__DETECT_ZEROES__MODE__UNMAP);
        stack_do("backend-remove b");

        /* The medium is opened to write, but the backend is not. */
        stack_do("backend-add name=b node=rw read-only=on");
        assert_root(true, "read-write,direct,unmap", "direct,unmap");
        stack_do("medium-remove b");
        assert_root(true, "read-write,direct,unmap", "direct,unmap");
    }
}

static void writes_of_zeroes_are_detected_when_asked_and_on_the_next_medium_too(void **state)
{
    (void)state;
    static char zeroes[4096], last[4096] = {[4095] = 1}, first[4096] = {1};
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=one size=1M");
        stack_do("node-add driver=mock name=two size=1M");
        stack_do("backend-add name=b node=one");
        actor_addr b = stack_find("b");
        struct stack_op op;
        stack_submit(&op, b, OP_WRITE, 0, 4096, 0, zeroes);
        stack_await_op(&op);
        assert_string_equal(shown_last_sent("one"), "write 0+4096");
        stack_do("backend-set b detect-zeroes=on");
        stack_submit(&op, b, OP_WRITE, 512, 4096, OP_FUA, zeroes);
        stack_await_op(&op);
        assert_string_equal(shown_last_sent("one"), "zeroes 512+4096 fua");
        stack_submit(&op, b, OP_WRITE, 0, 4096, 0, last);
        stack_await_op(&op);
        assert_string_equal(shown_last_sent("one"), "write 0+4096");
        stack_submit(&op, b, OP_WRITE, 0, 4096, 0, first);
        stack_await_op(&op);
        assert_string_equal(shown_last_sent("one"), "write 0+4096");
        stack_submit(&op, b, OP_WRITE, 0, 4096, OP_COMPRESSED, zeroes);
        stack_await_op(&op);
        assert_string_equal(shown_last_sent("one"), "write 0+4096 compressed");
        stack_do("backend-set b detect-zeroes=unmap");
        stack_do("medium-remove b");
        stack_do("medium-insert backend=b node=two");
        stack_submit(&op, b, OP_WRITE, 0, 1, 0, zeroes);
        stack_await_op(&op);
        assert_string_equal(shown_last_sent("two"), "zeroes 0+1 unmap");
        /* To whoever counts, and sees what is told of errors, it is the write that it was. */
        stack_do("node-set two error=5");
        stack_submit(&op, b, OP_WRITE, 0, 4096, 0, zeroes);
        stack_await_op(&op);
        assert_int_equal(op.ret, -EIO);
        const Sluice__BackendInfo *info = shown();
        assert_int_equal(info->write->operations, 6);
        assert_int_equal(info->write->failed, 1);
        assert_int_equal(info->zeroes->operations, 0);
    }
}

static void a_write_of_zeroes_that_was_held_is_tried_again_as_what_it_was(void **state)
{
    (void)state;
    static char zeroes[512];
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M error=5");
        stack_do("backend-add name=b node=m werror=stop detect-zeroes=on");
        struct stack_op op;
        stack_submit(&op, stack_find("b"), OP_WRITE, 0, 512, 0, zeroes);
        stack_settle();
        assert_int_equal(shown()->held, 1);
        stack_do("node-set m error=0");
        stack_do("backend-set b detect-zeroes=off");
        stack_do("backend-resume b");
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        assert_string_equal(shown_last_sent("m"), "write 0+512");
    }
}

/* --- All media */

static void remove_all_takes_every_medium_when_nothing_is_in_flight(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M hold=on");
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=a node=n");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=empty");
        stack_do("backend-add name=own driver=null");
        struct stack_op op;
        struct stack_answer all, again, coming;
        stack_submit(&op, stack_find("b"), OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&coming, "medium-insert backend=empty node=n"); /* is under way */
        stack_send(&all, "medium-remove-all");
        stack_send(&again, "medium-remove-all");
        stack_settle();
        assert_false(all.came || again.came);
        assert_null(stack_do("backend-show a")->backend->node);
        stack_do("node-set m hold=off");
        stack_await(&all);
        stack_await(&again);
        assert_int_equal(all.code, 0);
        assert_int_equal(again.code, 0);
        assert_int_equal(op.ret, 0);
        const Sluice__BackendList *list = stack_do("backend-list")->backends;
        assert_int_equal(list->n_backends, 4);
        for (size_t i = 0; i < list->n_backends; i++)
            assert_null(list->backends[i]->node);
        assert_int_equal(stack_do("node-list")->nodes->n_nodes, 2); /* own's went with its user */
        stack_do("medium-remove-all");                              /* nothing to do */
    }
}

static void a_shutdown_amid_remove_all_answers_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M hold=on");
        stack_do("backend-add name=b node=m");
        struct stack_op op;
        struct stack_answer all;
        stack_submit(&op, stack_find("b"), OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&all, "medium-remove-all");
        stack_settle();
        stack_stop();
        assert_true(all.came);
        assert_int_equal(op.ret, -ESHUTDOWN);
        stack_start(1, seed);
    }
}

/* --- Rereading */

static void invalidating_rereads_the_nodes_below_first(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("node-add driver=raw name=f child=m");
        stack_do("backend-add name=b node=f");
        stack_do("invalidate-cache b");
        assert_string_equal(shown_last_sent("m"), "invalidate");
        stack_do("invalidate-cache f");
        stack_do("invalidate-cache m");
        stack_do("node-set m error=5");
        stack_refused(-EIO, "node m can't reread what it keeps", "invalidate-cache b");
        stack_do("node-set m error=0");
        stack_do("invalidate-cache b"); /* the failure holds nothing */
        stack_refused(-ENOENT, "there is no backend and no node 'x'", "invalidate-cache x");
        stack_do("medium-remove b");
        stack_refused(-ENOMEDIUM, "backend 'b' has no medium", "invalidate-cache b");
        stack_do("backend-remove b");
        stack_do("node-remove f");
        stack_do("node-remove m");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_root_state_answers_without_a_medium),
        cmocka_unit_test(writes_of_zeroes_are_detected_when_asked_and_on_the_next_medium_too),
        cmocka_unit_test(a_write_of_zeroes_that_was_held_is_tried_again_as_what_it_was),
        cmocka_unit_test(remove_all_takes_every_medium_when_nothing_is_in_flight),
        cmocka_unit_test(a_shutdown_amid_remove_all_answers_it),
        cmocka_unit_test(invalidating_rereads_the_nodes_below_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
