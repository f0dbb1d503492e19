/* What a backend counts beside what it is sent of reads and writes: ioctls, the state of virtual
 * machines, and what frontends tell. In a whole stepped engine; see test_account.c for times,
 * test_backend_requests.c for other kinds. */
#include "shown_rig.h"

#include "actors/account.h"

static void assert_counters(const Sluice__OpCounters *counters, uint64_t operations, uint64_t bytes,
                            uint64_t failed, uint64_t invalid)
{
    assert_non_null(counters);
    assert_int_equal(counters->operations, operations);
    assert_int_equal(counters->bytes, bytes);
    assert_int_equal(counters->failed, failed);
    assert_int_equal(counters->invalid, invalid);
}

static void ioctls_and_vm_state_are_counted_with_their_bytes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock size=1M ioctl-result=7", "");
        assert_counters(shown()->ioctl, 0, 0, 0, 0);
        assert_int_equal(stack_run(b, OP_IOCTL, 4660, 100, 0), 7);
        assert_int_equal(stack_run(b, OP_IOCTL, 4660, 0, 0), 7);
        stack_do("io-ioctl b 1 data=four");
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(stack_run(b, OP_SAVE_VMSTATE, 0, 1000, 0), 0);
        assert_int_equal(stack_run(b, OP_LOAD_VMSTATE, 0, 10, 0), 0);
        const Sluice__BackendInfo *info = shown();
        assert_counters(info->ioctl, 3, 104, 0, 0);
        assert_counters(info->save_vmstate, 2, 2000, 0, 0);
        assert_counters(info->load_vmstate, 1, 10, 0, 0);
        assert_counters(info->read, 0, 0, 0, 0);
        assert_counters(info->write, 0, 0, 0, 0);
        assert_int_equal(info->highest_written_bytes, 0);
    }
}

static void those_that_fail_and_that_are_refused_are_counted_apart(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock size=1M error=5", "");
        assert_int_equal(stack_run(b, OP_IOCTL, 1, 100, 0), -EIO);
        assert_int_equal(stack_run(b, OP_SAVE_VMSTATE, 0, 100, 0), -EIO);
        assert_int_equal(stack_run(b, OP_LOAD_VMSTATE, 0, 100, 0), -EIO);
        assert_int_equal(stack_run(b, OP_LOAD_VMSTATE, -1, 100, 0), -EIO);
        stack_do("node-set m can=flush");
        assert_int_equal(stack_run(b, OP_IOCTL, 1, 100, 0), -ENOTSUP);
        stack_do("medium-remove b");
        assert_int_equal(stack_run(b, OP_IOCTL, 1, 100, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(b, OP_SAVE_VMSTATE, 0, 100, 0), -ENOMEDIUM);
        const Sluice__BackendInfo *info = shown();
        assert_counters(info->ioctl, 0, 0, 1, 2);
        assert_counters(info->save_vmstate, 0, 0, 1, 1);
        assert_counters(info->load_vmstate, 0, 0, 1, 1);
    }
}

static void their_time_is_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static const enum op_kind kinds[] = {OP_IOCTL, OP_SAVE_VMSTATE, OP_LOAD_VMSTATE};
        struct stack_op ops[3];
        actor_addr b = stack_backend("m", "driver=mock size=1M hold=on", "");
        for (unsigned i = 0; i < 3; i++)
            stack_submit(&ops[i], b, kinds[i], 0, 8, 0, NULL);
        stack_settle();
        stack_pass(NS_PER_MS);
        stack_do("node-set m hold=off");
        for (unsigned i = 0; i < 3; i++)
            stack_await_op(&ops[i]);
        const Sluice__BackendInfo *info = shown();
        const Sluice__OpCounters *const counters[] = {info->ioctl, info->save_vmstate,
                                                      info->load_vmstate};
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(counters[i]->operations, 1);
            assert_true(counters[i]->time_ns >= NS_PER_MS);
            assert_true(counters[i]->has_p99_ns && counters[i]->max_ns >= NS_PER_MS);
        }
    }
}

/* --- What frontends tell */

/* Opens a session that counts by itself. */
static uint64_t session(actor_addr b, const struct account_told *told)
{
    Sluice__SessionOpen *open = stack_session(1, 0);
    open->has_told = true;
    open->told = (uint64_t)(uintptr_t)told;
    return ((const Sluice__SessionGrant *)stack_call(b, MAIL_SESSION_OPEN, open))->session;
}

static void assert_told(unsigned merged_reads, unsigned merged_writes, unsigned invalid_writes)
{
    const Sluice__BackendInfo *info = shown();
    assert_int_equal(info->read->merged, merged_reads);
    assert_int_equal(info->write->merged, merged_writes);
    assert_int_equal(info->write->invalid, invalid_writes);
    assert_int_equal(info->read->invalid, 0);
    assert_counters(info->read, 0, 0, 0, 0);
}

static void what_frontends_tell_is_shown_at_once_and_stays_when_they_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct account_told one = {0}, other = {0};
        actor_addr b = stack_backend("n", "driver=null size=1M", "");
        account_tell(&one.merged[OP_READ], 2); /* before there is a session */
        uint64_t ones = session(b, &one), others = session(b, &other);
        assert_told(2, 0, 0);
        account_tell(&one.merged[OP_READ], 3);
        account_tell(&other.merged[OP_READ], 10);
        account_tell(&other.merged[OP_WRITE], 7);
        account_tell(&other.invalid[OP_WRITE], 1);
        assert_told(15, 7, 1);
        assert_told(15, 7, 1);
        stack_do("backend-move b reactor=%u", STACK_THREADS(seed) - 1);
        account_tell(&one.merged[OP_WRITE], 4);
        assert_told(15, 11, 1);
        /* The last words of one that ends. */
        account_tell(&other.invalid[OP_WRITE], 5);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(others));
        memset(&other, 0xff, sizeof other);
        assert_told(15, 11, 6);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(ones));
        assert_told(15, 11, 6);
    }
}

static void while_accounting_is_off_it_is_forgotten(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct account_told told = {0};
        stack_do("backend-add name=b");
        actor_addr b = stack_find("b");
        uint64_t id = session(b, &told);
        account_tell(&told.merged[OP_READ], 1);
        stack_do("backend-set b accounting=off");
        account_tell(&told.merged[OP_READ], 10);
        assert_told(1, 0, 0);
        account_tell(&told.merged[OP_READ], 100);
        stack_do("backend-set b accounting=on");
        account_tell(&told.merged[OP_READ], 1000);
        assert_told(1001, 0, 0);
        stack_do("backend-set b accounting=off");
        account_tell(&told.merged[OP_READ], 10);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(id));
        assert_told(1001, 0, 0);
    }
}

/* Those that have gone along in others were none of their own; those that were refused came. */
static void what_a_frontend_refuses_ends_the_time_that_a_backend_is_idle(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct account_told told = {0};
        actor_addr b = stack_backend("n", "driver=null size=1M", "");
        uint64_t id = session(b, &told);
        account_tell(&told.merged[OP_READ], 1);
        assert_told(1, 0, 0);
        assert_false(shown()->has_idle_ns);
        account_tell_invalid(&told, OP_WRITE, 1, engine_now(stack_engine()));
        stack_pass(NS_PER_S);
        account_tell_invalid(&told, OP_WRITE, 0, engine_now(stack_engine())); /* nothing came */
        assert_told(1, 0, 1);
        assert_in_range(shown()->idle_ns, NS_PER_S, NS_PER_S + NS_PER_MS);
        /* A newer one that was submitted counts more. */
        account_tell_invalid(&told, OP_WRITE, 1, engine_now(stack_engine()));
        stack_pass(NS_PER_S);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        assert_in_range(shown()->idle_ns, 0, NS_PER_MS);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(id));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ioctls_and_vm_state_are_counted_with_their_bytes),
        cmocka_unit_test(those_that_fail_and_that_are_refused_are_counted_apart),
        cmocka_unit_test(their_time_is_told),
        cmocka_unit_test(what_frontends_tell_is_shown_at_once_and_stays_when_they_end),
        cmocka_unit_test(while_accounting_is_off_it_is_forgotten),
        cmocka_unit_test(what_a_frontend_refuses_ends_the_time_that_a_backend_is_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
