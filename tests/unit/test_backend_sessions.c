/* Who may have a backend open, with how much under way, and what they are told. In a whole stepped
 * engine: each seed is another order of what happens. */
#include "shown_rig.h"

#define LIMIT       65536
#define LIMIT_BYTES (UINT64_C(4) << 30)
/* What clients can have. */
#define REQUESTS (LIMIT - 64)
#define BYTES    (LIMIT_BYTES - (UINT64_C(64) << 20))

static void grants_stay_within_the_backend_s_bounds(void **state)
{
    (void)state;
    stack_start(2, 1);
    actor_addr b = stack_backend("n", "driver=null", "");
    const Sluice__SessionGrant *grants[3];
    struct stack_answer refused;
    grants[0] = stack_call(b, MAIL_SESSION_OPEN, stack_session(REQUESTS - 36, 1000));
    grants[1] = stack_call(b, MAIL_SESSION_OPEN, stack_session(100, 2 * BYTES));
    assert_int_equal(grants[0]->requests, REQUESTS - 36);
    assert_int_equal(grants[0]->bytes, 1000);
    assert_int_equal(grants[1]->requests, 36);
    assert_int_equal(grants[1]->bytes, BYTES - 1000);
    stack_ask(&refused, b, MAIL_SESSION_OPEN, stack_session(1, 0));
    stack_await(&refused);
    assert_int_equal(refused.code, -ENOBUFS);
    assert_string_equal(refused.text,
                        "backend 'b' has granted all of its 65472 requests; close a client");
    stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(grants[0]->session));
    stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(grants[0]->session)); /* it is gone */
    stack_ask(&refused, b, MAIL_SESSION_OPEN, stack_session(1, 2000));
    stack_await(&refused);
    assert_int_equal(refused.code, 0); /* 1000 of them */
    assert_int_equal(((Sluice__SessionGrant *)refused.body)->bytes, 1000);
    stack_ask(&refused, b, MAIL_SESSION_OPEN, stack_session(1, 1));
    stack_await(&refused);
    assert_int_equal(refused.code, -ENOBUFS);
    assert_string_equal(refused.text,
                        "backend 'b' has granted all of its 4227858432 bytes; close a client");
    /* Control can't be locked out. */
    Sluice__SessionOpen *reserved = stack_session(1, 1 << 20);
    reserved->has_reserved = reserved->reserved = true;
    const Sluice__SessionGrant *kept = stack_call(b, MAIL_SESSION_OPEN, reserved);
    assert_int_equal(kept->requests, 1);
    assert_int_equal(kept->bytes, 1 << 20);
    stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(kept->session));
    /* Who wants nothing is let in. */
    grants[2] = stack_call(b, MAIL_SESSION_OPEN, stack_session(0, 0));
    const Sluice__BackendInfo *info = shown();
    assert_int_equal(info->granted, 37);
    assert_int_equal(info->granted_bytes, BYTES);
    assert_int_equal(info->limit, LIMIT);
    assert_int_equal(info->limit_bytes, LIMIT_BYTES);
    for (uint64_t session = 2; session <= grants[2]->session; session++)
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(session));
    info = shown();
    assert_int_equal(info->granted + info->granted_bytes, 0);
    stack_stop();
}

static void what_is_granted_at_once_adds_up(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer opened[40], closed[40];
        actor_addr b = stack_backend("n", "driver=null", "");
        uint64_t granted = 0, bytes = 0;
        for (unsigned i = 0; i < 40; i++) {
            stack_ask(&opened[i], b, MAIL_SESSION_OPEN, stack_session(3000, LIMIT_BYTES / 30));
            closed[i].came = false;
            unsigned other = (unsigned)((seed + i) * 7 % 40);
            stack_step();
            if (other >= i || !opened[other].came || opened[other].code || closed[other].came)
                continue;
            const Sluice__SessionGrant *grant = opened[other].body;
            stack_ask(&closed[other], b, MAIL_SESSION_CLOSE, stack_session_end(grant->session));
            stack_await(&closed[other]);
        }
        for (unsigned i = 0; i < 40; i++) {
            stack_await(&opened[i]);
            const Sluice__SessionGrant *grant = opened[i].body;
            granted += grant && !closed[i].came ? grant->requests : 0;
            bytes += grant && !closed[i].came ? grant->bytes : 0;
        }
        const Sluice__BackendInfo *info = shown();
        assert_int_equal(info->granted, granted);
        assert_int_equal(info->granted_bytes, bytes);
        assert_true(granted <= LIMIT && bytes <= LIMIT_BYTES);
        for (unsigned i = 0; i < 40; i++)
            if (!opened[i].code && !closed[i].came)
                stack_call(b, MAIL_SESSION_CLOSE,
                           stack_session_end(((Sluice__SessionGrant *)opened[i].body)->session));
    }
}

static void a_session_is_told_what_the_backend_is(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("node-add name=n driver=memory size=1M");
    stack_do("backend-add name=ro node=n read-only=on");
    stack_do("backend-add name=empty");
    struct stack_answer refused;
    const Sluice__SessionGrant *grant =
        stack_call(stack_find("ro"), MAIL_SESSION_OPEN, stack_session(1, 1));
    assert_true(grant->inserted && grant->facts->read_only && grant->facts->length == MIB);
    stack_call(stack_find("ro"), MAIL_SESSION_CLOSE, stack_session_end(grant->session));
    grant = stack_call(stack_find("empty"), MAIL_SESSION_OPEN, stack_session(1, 1));
    assert_false(grant->inserted);
    stack_call(stack_find("empty"), MAIL_SESSION_CLOSE, stack_session_end(grant->session));
    stack_claim(&refused, "ro", PERM_WRITE, PERM_ALL);
    stack_await(&refused);
    assert_int_equal(refused.code, -EPERM);
    assert_non_null(strstr(refused.text, "'rig' can't write to backend 'ro': it is read-only"));
    stack_stop();
}

static void a_backend_on_its_way_out_lets_no_session_in(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer removed, refused;
        actor_addr b = stack_backend("n", "driver=null latency=1s", "");
        stack_submit(&op, b, OP_FLUSH, 0, 0, 0, NULL);
        stack_settle();
        stack_release("b");
        stack_send(&removed, "backend-remove b");
        stack_settle();
        stack_ask(&refused, b, MAIL_SESSION_OPEN, stack_session(1, 1));
        stack_settle();
        assert_true(refused.came && refused.code == -ESHUTDOWN);
        assert_string_equal(refused.text, "backend 'b' is closing; choose another");
        stack_await(&removed);

        stack_do("backend-add name=c");
        b = stack_find("c");
        Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
        const Sluice__SessionGrant *grant = stack_call(b, MAIL_SESSION_OPEN, stack_session(1, 1));
        stack_release("c");
        stack_tell(stack_world()->graph, MAIL_SHUTDOWN, shutdown); /* time is up */
        stack_pass(20 * NS_PER_MS);
        stack_ask(&refused, b, MAIL_SESSION_OPEN, stack_session(1, 1));
        stack_settle();
        assert_true(refused.came && refused.code == -ESHUTDOWN);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(grant->session));
    }
}

static void a_backend_with_sessions_does_not_close_and_names_who_has_it_open(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static const char *const names[] = {"one", "two"};
        stack_do("backend-add name=b");
        actor_addr b = stack_find("b");
        for (unsigned i = 0; i < 2; i++) {
            Sluice__SessionOpen *open = stack_session(1, 1);
            free(open->name);
            open->name = NULL;
            mail_set(&open->name, names[i]);
            stack_call(b, MAIL_SESSION_OPEN, open);
        }
        stack_refused(-EBUSY, "backend 'b' can't be removed: client 'rig' uses it",
                      "backend-remove b");
        stack_release("b");
        stack_refused(-EBUSY,
                      "backend 'b' can't be closed: 'two', 'one' have it open; end those first",
                      "backend-remove b");
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(1));
        stack_refused(-EBUSY, "backend 'b' can't be closed: 'two' has it open; end that first",
                      "backend-remove b");
        for (unsigned i = 0; i < 60; i++)
            stack_call(b, MAIL_SESSION_OPEN, stack_session(1, 1));
        stack_refused(-EBUSY, " more have it open; end those first", "backend-remove b");
        for (uint64_t session = 2; session <= 62; session++)
            stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(session));
        stack_do("backend-remove b");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_stay_within_the_backend_s_bounds),
        cmocka_unit_test(what_is_granted_at_once_adds_up),
        cmocka_unit_test(a_session_is_told_what_the_backend_is),
        cmocka_unit_test(a_backend_on_its_way_out_lets_no_session_in),
        cmocka_unit_test(a_backend_with_sessions_does_not_close_and_names_who_has_it_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
