/* Those who want to know when media come and go hear of changes, too, in a whole stepped engine:
 * each seed is another order of what happens. */
#include "stack_rig.h"

#include <stdio.h>

#include "drivers/driver.h"

static const char *last_sent(const char *node)
{
    const Sluice__NodeInfo *info = stack_do("node-show %s", node)->node;
    return info->state[info->n_state - 1]->value;
}

/* Requests reach this medium, and no other. */
static void assert_medium(actor_addr backend, const char *node)
{
    static int64_t offset;
    char sent[40];
    offset = (offset + 512) % 65536;
    snprintf(sent, sizeof sent, "write %d+512", (int)offset);
    assert_int_equal(stack_run(backend, OP_WRITE, offset, 512, 0), 0);
    assert_string_equal(last_sent(node), sent);
}

/* Backend `b` on node `one`; node `two`. */
static actor_addr start_two(void)
{
    stack_do("node-add driver=mock name=one size=1M");
    stack_do("node-add driver=mock name=two size=2M");
    stack_do("backend-add name=b node=one");
    return stack_find("b");
}

static void a_change_is_told_before_the_old_medium_goes_and_when_the_new_one_is_in(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer changed;
        actor_addr b = start_two();
        uint64_t session = stack_media_session(b);
        stack_media()->hold = true;
        stack_send(&changed, "medium-change b two");
        stack_settle();
        assert_string_equal(stack_media()->log, "remove");
        assert_medium(b, "one");
        assert_false(changed.came);
        stack_media_answer();
        stack_settle();
        assert_string_equal(stack_media()->log, "remove, insert");
        assert_medium(b, "two");
        assert_false(changed.came);
        stack_media_answer();
        stack_await(&changed);
        assert_int_equal(changed.code, 0);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(session));
    }
}

static void into_an_empty_backend_only_one_comes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = start_two();
        stack_do("medium-remove b");
        uint64_t session = stack_media_session(b);
        stack_do("medium-change b two");
        assert_string_equal(stack_media()->log, "insert");
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(session));
    }
}

static void a_change_that_is_refused_before_anything_moves_is_told_to_nobody(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = start_two();
        uint64_t session = stack_media_session(b);
        stack_do("node-add driver=mock name=ro read-only=on");
        stack_refused(-EACCES, "is read-only", "medium-change b ro mode=read-write");
        stack_do("device-add b id=cd removable=on tray=on locked=on");
        stack_refused(-EINPROGRESS, "in progress", "medium-change b two");
        assert_string_equal(stack_media()->log, "");
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(session));
    }
}

/* A change that fails half-way is told as the same medium, coming again, to those who heard that it
 * goes. */
static void assert_told_of_failure(actor_addr b, const char *node, int code)
{
    struct stack_answer changed;
    uint64_t first = stack_media_session(b);
    stack_media()->hold = true;
    stack_send(&changed, "medium-change b %s", node);
    stack_settle();
    assert_string_equal(stack_media()->log, "remove");
    uint64_t late = stack_media_session(b);
    stack_media_answer();
    stack_settle();
    assert_false(changed.came);
    assert_string_equal(stack_media()->log, "remove, insert"); /* not to the late one */
    assert_string_equal(stack_do("backend-show b")->backend->node, "one");
    assert_medium(b, "one");
    stack_media_answer();
    stack_await(&changed);
    assert_int_equal(changed.code, code);
    /* Both know that it is there now, and both hear when it goes. */
    stack_media()->hold = false;
    stack_device_ops(b, 0);
    stack_do("medium-remove b");
    assert_string_equal(stack_media()->log, "remove, insert, remove, remove");
    stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(first));
    stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(late));
}

static void when_permissions_refuse_it_the_old_one_is_told_as_come_again(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = start_two();
        stack_do("node-add driver=mock name=no deny=consistent-read");
        assert_told_of_failure(b, "no", -EPERM);
    }
}

static void when_the_device_does_not_load_it_the_old_one_is_told_as_come_again(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = start_two();
        stack_device()->load_error = -EIO;
        stack_device_ops(b, DEVICE_OFFERS_CHANGE_MEDIA);
        assert_told_of_failure(b, "two", -EIO);
    }
}

/* Then what was said holds: it is gone, and that is said once. */
static void an_old_one_that_somebody_took_meanwhile_is_not_told_twice(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer changed;
        start_two();
        stack_do("backend-add name=thief node=one");
        stack_release("b");
        stack_do("device-add b id=cd removable=on writable=on");
        struct stack_answer claim;
        stack_claim(&claim, "b", PERM_CONSISTENT_READ, PERM_ALL);
        stack_await(&claim);
        actor_addr b = ((const Sluice__Claimed *)claim.body)->address;
        uint64_t session = stack_media_session(b);
        stack_device()->load_error = -EIO;
        stack_device()->hold = true;
        stack_device_ops(b, DEVICE_OFFERS_CHANGE_MEDIA);
        stack_send(&changed, "medium-change b two");
        stack_settle();
        stack_do("device-add thief id=t writable=on");
        stack_device()->hold = false;
        stack_device_answer();
        stack_await(&changed);
        assert_int_equal(changed.code, -EIO);
        assert_null(stack_do("backend-show b")->backend->node);
        assert_string_equal(stack_media()->log, "remove");
        stack_device()->load_error = 0;
        stack_do("medium-insert backend=b node=two");
        assert_string_equal(stack_media()->log, "remove, insert");
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(session));
    }
}

static void one_who_leaves_instead_of_answering_holds_a_change_up_no_longer(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer changed;
        actor_addr b = start_two();
        uint64_t session = stack_media_session(b), other = stack_media_session(b);
        stack_media()->hold = true;
        stack_send(&changed, "medium-change b two");
        stack_settle();
        assert_false(changed.came);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(session));
        stack_media_answer(); /* also for the one that has gone */
        stack_settle();
        assert_string_equal(stack_media()->log, "remove, remove, insert");
        assert_false(changed.came);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(other));
        stack_await(&changed);
        assert_int_equal(changed.code, 0);
        assert_medium(b, "two");
    }
}

static void a_shutdown_ends_a_change_that_waits_for_those_who_are_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer changed;
        actor_addr b = start_two();
        stack_media_session(b);
        stack_media()->hold = true;
        stack_send(&changed, "medium-change b two");
        stack_settle();
        if (seed / 3 % 2) {
            stack_media_answer();
            stack_settle();
        }
        assert_false(changed.came);
        stack_leaves(2); /* the backend, as its session is not closed, and its node */
        stack_stop();
        assert_true(changed.came);
        stack_start(1, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_told_before_the_old_medium_goes_and_when_the_new_one_is_in),
        cmocka_unit_test(into_an_empty_backend_only_one_comes),
        cmocka_unit_test(a_change_that_is_refused_before_anything_moves_is_told_to_nobody),
        cmocka_unit_test(when_permissions_refuse_it_the_old_one_is_told_as_come_again),
        cmocka_unit_test(when_the_device_does_not_load_it_the_old_one_is_told_as_come_again),
        cmocka_unit_test(an_old_one_that_somebody_took_meanwhile_is_not_told_twice),
        cmocka_unit_test(one_who_leaves_instead_of_answering_holds_a_change_up_no_longer),
        cmocka_unit_test(a_shutdown_ends_a_change_that_waits_for_those_who_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
