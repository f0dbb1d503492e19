/* What a backend makes of requests: checks, counts, and new lengths. In a whole stepped engine:
 * each seed is another order of what happens. */
#include "probe_rig.h"

extern const struct driver driver_null, driver_memory, driver_raw;

RIG_DRIVERS(&driver_null, &driver_memory, &driver_raw, &driver_probe)

/* --- Checks */

static const enum op_kind ranges[] = {OP_READ, OP_WRITE, OP_ZEROES, OP_DISCARD};
#define FOR_EACH_RANGE(kind) for (unsigned i_ = 0, kind; i_ < 4 && (kind = ranges[i_], true); i_++)

static void a_range_is_checked_for_size_medium_sign_length_and_end_in_this_order(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add name=known driver=probe");
    stack_do("node-add name=unknown driver=probe error=%d reactor=1", ETIMEDOUT);
    stack_do("backend-add name=b node=known");
    stack_do("backend-add name=u node=unknown");
    stack_do("backend-add name=empty");
    actor_addr b = stack_find("b"), u = stack_find("u"), empty = stack_find("empty");
    probe.n = 0;
    FOR_EACH_RANGE(kind)
    {
        const uint64_t most = INT32_MAX;
        assert_int_equal(stack_run(empty, kind, -1, most + 1, 0), -EIO);
        assert_int_equal(stack_run(u, kind, 0, most + 1, 0), -EIO);
        assert_int_equal(stack_run(empty, kind, -1, most, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(empty, kind, 0, 0, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(u, kind, -1, most, 0), -EIO);
        assert_int_equal(stack_run(u, kind, 0, most, 0), -ETIMEDOUT);
        assert_int_equal(stack_run(u, kind, 0, 0, 0), -ETIMEDOUT);
        assert_int_equal(stack_run(b, kind, -1, 1, 0), -EIO);
        assert_int_equal(stack_run(b, kind, -1, 1, OP_BEYOND_END), -EIO);
        assert_int_equal(stack_run(b, kind, INT64_MAX, 1, 0), -EIO);
        assert_int_equal(stack_run(b, kind, 0, MIB + 1, 0), -EIO);
        assert_int_equal(stack_run(b, kind, MIB - 1, 2, 0), -EIO);
        assert_int_equal(stack_run(b, kind, MIB + 1, 0, 0), -EIO);
        assert_int_equal(probe.n, 0);
        assert_int_equal(stack_run(b, kind, MIB, 0, 0), 0);
        assert_int_equal(stack_run(b, kind, MIB - 4096, 4096, 0), 0);
        assert_int_equal(probe.n, 1); /* an empty one asks nothing of the driver */
        probe.n = 0;
    }
    stack_stop();
}

static void beyond_the_end_writes_grow_what_can_grow_and_reads_give_zeroes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add name=m driver=memory size=1M reactor=%u",
                 (unsigned)(seed / 3) % STACK_THREADS(seed));
        stack_do("backend-add name=b node=m");
        actor_addr b = stack_find("b");
        char data[64];
        struct stack_op op;
        memset(data, 'x', sizeof data);
        stack_submit(&op, b, OP_READ, MIB - 4, sizeof data, OP_BEYOND_END, data);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        for (size_t i = 0; i < sizeof data; i++)
            assert_int_equal(data[i], 0);
        assert_int_equal(stack_run(b, OP_WRITE, MIB, 4096, OP_BEYOND_END), 0);
        assert_int_equal(stack_run(b, OP_READ, MIB, 4096, 0), 0);
        assert_int_equal(shown()->length, MIB + 4096);
        assert_int_equal(stack_run(b, OP_READ, MIB, 4097, 0), -EIO);
        stack_settle();
        assert_string_equal(stack_story(3), "BLOCK_RESIZED b");
    }
}

static void a_read_only_backend_refuses_changes_and_flushes(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add name=n driver=probe");
    stack_do("node-add name=ro driver=probe read-only=on reactor=1");
    stack_do("backend-add name=asked node=n read-only=on");
    stack_do("backend-add name=below node=ro");
    stack_do("backend-add name=empty read-only=on");
    for (unsigned i = 0; i < 2; i++) {
        actor_addr b = stack_find(i ? "below" : "asked");
        assert_true(stack_do("backend-show %s", i ? "below" : "asked")->backend->read_only);
        probe.n = 0;
        assert_int_equal(stack_run(b, OP_WRITE, 0, 4096, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_ZEROES, 0, 4096, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_DISCARD, 0, 4096, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_WRITE, MIB, 1, 0), -EIO); /* the range first */
        assert_int_equal(stack_run(b, OP_TRUNCATE, MIB, 0, 0), -EACCES);
        assert_int_equal(probe.n, 0);
        assert_int_equal(stack_run(b, OP_READ, 0, 4096, 0), 0);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), 0);
        assert_int_equal(probe.n, 2);
    }
    actor_addr empty = stack_find("empty");
    assert_int_equal(stack_run(empty, OP_WRITE, 0, 1, 0), -ENOMEDIUM);
    assert_int_equal(stack_run(empty, OP_TRUNCATE, 1, 0, 0), -ENOMEDIUM);
    stack_stop();
}

static void a_truncate_asks_for_a_medium_and_a_length_and_a_flush_for_a_medium(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("node-add name=n driver=probe");
    stack_do("backend-add name=b node=n");
    stack_do("backend-add name=empty");
    actor_addr b = stack_find("b"), empty = stack_find("empty");
    probe.n = 0;
    assert_int_equal(stack_run(b, OP_TRUNCATE, -1, 0, 0), -EINVAL);
    assert_int_equal(stack_run(empty, OP_TRUNCATE, -1, 0, 0), -ENOMEDIUM);
    assert_int_equal(stack_run(empty, OP_FLUSH, 0, 0, 0), -ENOMEDIUM);
    assert_int_equal(probe.n, 0);
    assert_int_equal(stack_run(b, OP_TRUNCATE, 0, 0, 0), 0);
    assert_int_equal(probe.op[0].kind, OP_TRUNCATE);
    stack_stop();
}

static void forced_unit_access_reaches_the_driver_or_a_flush_follows(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned reactor = (unsigned)(seed / 3) % STACK_THREADS(seed);
        stack_do("node-add name=with driver=probe reactor=%u", reactor);
        stack_do("node-add name=without driver=probe fua=off reactor=%u", reactor);
        stack_do("backend-add name=b node=with");
        stack_do("backend-add name=c node=without");
        probe.n = 0;
        assert_int_equal(stack_run(stack_find("b"), OP_WRITE, 0, 4096, OP_FUA), 0);
        assert_int_equal(probe.n, 1);
        assert_int_equal(probe.op[0].flags, OP_FUA);
        assert_int_equal(stack_run(stack_find("c"), OP_WRITE, 0, 4096, OP_FUA), 0);
        assert_int_equal(probe.n, 3);
        assert_int_equal(probe.op[1].kind, OP_WRITE);
        assert_int_equal(probe.op[1].flags, 0);
        assert_int_equal(probe.op[2].kind, OP_FLUSH);
        /* A discard too. */
        assert_int_equal(stack_run(stack_find("b"), OP_DISCARD, 0, 4096, OP_FUA), 0);
        assert_int_equal(probe.n, 4);
        assert_int_equal(probe.op[3].flags, OP_FUA);
        assert_int_equal(stack_run(stack_find("c"), OP_DISCARD, 0, 4096, OP_FUA), 0);
        assert_int_equal(probe.n, 6);
        assert_int_equal(probe.op[4].kind, OP_DISCARD);
        assert_int_equal(probe.op[5].kind, OP_FLUSH);
    }
}

static void without_a_write_cache_each_write_is_durable(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add name=with driver=probe");
    stack_do("node-add name=without driver=probe fua=off");
    stack_do("backend-add name=b node=with write-cache=off");
    stack_do("backend-add name=c node=without");
    stack_do("backend-set c write-cache=off");
    probe.n = 0;
    actor_addr b = stack_find("b"), c = stack_find("c");
    assert_int_equal(stack_run(b, OP_WRITE, 0, 4096, 0), 0);
    assert_int_equal(stack_run(b, OP_ZEROES, 0, 4096, 0), 0);
    assert_int_equal(stack_run(b, OP_READ, 0, 4096, 0), 0);
    assert_int_equal(probe.n, 3);
    assert_int_equal(probe.op[0].flags, OP_FUA);
    assert_int_equal(probe.op[1].flags, OP_FUA);
    assert_int_equal(probe.op[2].flags, 0);
    assert_int_equal(stack_run(c, OP_WRITE, 0, 4096, 0), 0);
    assert_int_equal(probe.n, 5);
    assert_int_equal(probe.op[4].kind, OP_FLUSH);
    stack_do("backend-set c write-cache=on");
    assert_int_equal(stack_run(c, OP_WRITE, 0, 4096, 0), 0);
    assert_int_equal(probe.n, 6);
    assert_false(shown()->write_cache);
    assert_true(stack_do("backend-show c")->backend->write_cache);
    stack_stop();
}

/* --- Counting */

static void check_counters(const Sluice__OpCounters *counters, uint64_t operations, uint64_t bytes,
                           uint64_t failed, uint64_t invalid)
{
    assert_int_equal(counters->operations, operations);
    assert_int_equal(counters->bytes, bytes);
    assert_int_equal(counters->failed, failed);
    assert_int_equal(counters->invalid, invalid);
}

static void what_succeeds_fails_and_is_refused_is_counted_by_kind(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add name=n driver=probe");
        stack_do("node-add name=f driver=probe fails=on");
        stack_do("backend-add name=b node=n");
        stack_do("backend-add name=c node=f");
        actor_addr b = stack_find("b"), c = stack_find("c");
        probe.n = 0;
        FOR_EACH_RANGE(kind)
        {
            for (unsigned n = 0; n <= kind; n++)
                assert_int_equal(stack_run(b, kind, 0, 1000 + n, 0), 0);
            assert_int_equal(stack_run(b, kind, MIB, 1, 0), -EIO);
            assert_int_equal(stack_run(c, kind, 0, 4096, 0), -ENOSPC);
        }
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), 0);
        assert_int_equal(stack_run(c, OP_FLUSH, 0, 0, 0), -ENOSPC);
        assert_int_equal(stack_run(b, OP_TRUNCATE, MIB, 0, 0), 0);
        assert_int_equal(stack_run(b, OP_TRUNCATE, -1, 0, 0), -EINVAL);
        const Sluice__BackendInfo *info = shown();
        const Sluice__OpCounters *const by_kind[] = {
            [OP_READ] = info->read,
            [OP_WRITE] = info->write,
            [OP_ZEROES] = info->zeroes,
            [OP_DISCARD] = info->discard,
        };
        FOR_EACH_RANGE(kind)
        check_counters(by_kind[kind], kind + 1, (kind + 1) * 1000 + kind * (kind + 1) / 2, 0, 1);
        check_counters(info->flush, 1, 0, 0, 0);
        check_counters(info->truncate, 1, 0, 0, 1);
        info = stack_do("backend-show c")->backend;
        check_counters(info->write, 0, 0, 1, 0);
        check_counters(info->flush, 0, 0, 1, 0);
    }
}

static void what_is_with_the_medium_is_in_flight_and_what_is_refused_is_not(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[5];
        actor_addr b = stack_backend("n", "driver=null size=1M latency=1s", "");
        for (unsigned i = 0; i < 5; i++)
            stack_submit(&ops[i], b, OP_READ, i == 3 ? MIB : 0, 4096, 0, NULL);
        stack_settle();
        assert_int_equal(shown()->in_flight, 4);
        assert_true(ops[3].came && !ops[4].came);
        stack_await_op(&ops[4]);
        assert_int_equal(shown()->in_flight, 0);
    }
}

/* --- A new length */

static void add_stack(uint64_t seed)
{
    unsigned threads = STACK_THREADS(seed);
    stack_do("node-add name=m driver=memory size=1M reactor=%u", (unsigned)(seed / 3) % threads);
    stack_do("node-add name=w driver=raw child=m reactor=%u", (unsigned)(seed / 9) % threads);
    stack_do("backend-add name=b node=%s", seed / 27 ? "m" : "w");
}

static void when_a_truncate_ends_the_new_length_is_known_and_can_be_used(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op grown, used;
        struct stack_answer shown;
        add_stack(seed);
        actor_addr b = stack_find("b");
        stack_call(b, MAIL_SESSION_OPEN, stack_session(8, 65536));
        stack_submit(&grown, b, OP_TRUNCATE, 3 * MIB, 0, 0, NULL);
        while (!grown.came)
            stack_step();
        assert_int_equal(grown.ret, 0);
        assert_int_equal(stack_news()->length, 3 * MIB);
        assert_true(stack_news()->at < grown.at);
        stack_submit(&used, b, OP_WRITE, 3 * MIB - 4096, 4096, 0, NULL);
        stack_ask(&shown, b, MAIL_DESCRIBE, NULL);
        stack_await(&shown);
        stack_await_op(&used);
        assert_int_equal(((const Sluice__BackendInfo *)shown.body)->length, 3 * MIB);
        assert_int_equal(used.ret, 0);
        stack_settle();
        assert_int_equal(stack_news()->count, 1);
        assert_string_equal(stack_story(4), "BLOCK_RESIZED b");

        assert_int_equal(stack_run(b, OP_TRUNCATE, MIB, 0, 0), 0);
        assert_int_equal(stack_run(b, OP_WRITE, MIB, 1, 0), -EIO);
        assert_int_equal(stack_run(b, OP_TRUNCATE, MIB, 0, 0), 0); /* changes nothing: no event */
        stack_settle();
        assert_string_equal(stack_story(4), "BLOCK_RESIZED b, BLOCK_RESIZED b");
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(1));
    }
}

static void of_several_truncates_at_once_the_last_one_counts(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[5], writes[40];
        unsigned threads = STACK_THREADS(seed);
        add_stack(seed % 27);
        stack_do("node-add name=top driver=raw child=w reactor=%u", (unsigned)(seed / 5) % threads);
        stack_do("backend-add name=t node=top");
        actor_addr t = stack_find("t");
        for (unsigned i = 0; i < 5; i++)
            stack_submit(&ops[i], t, OP_TRUNCATE, (2 + i) * MIB, 0, 0, NULL);
        while (!ops[4].came)
            stack_step();
        for (unsigned i = 0; i < 40; i++) {
            stack_submit(&writes[i], t, OP_WRITE, 6 * MIB - 4096, 4096, 0, NULL);
            stack_step();
        }
        stack_settle();
        for (unsigned i = 0; i < 40; i++)
            assert_true(writes[i].came && writes[i].ret == 0);
        for (unsigned i = 0; i < 5; i++)
            assert_true(ops[i].came && ops[i].ret == 0);
        assert_int_equal(stack_do("backend-show t")->backend->length, 6 * MIB);
        assert_int_equal(shown()->length, 6 * MIB);
        unsigned events = 0; /* of each backend, for each of them */
        for (const char *at = stack_story(6); (at = strstr(at, "BLOCK_RESIZED")); at++)
            events++;
        assert_int_equal(events, 10);
    }
}

static void the_other_backends_of_a_node_hear_of_its_new_length(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack(seed);
        stack_do("backend-add name=c node=m");
        stack_call(stack_find("c"), MAIL_SESSION_OPEN, stack_session(8, 65536));
        assert_int_equal(stack_run(stack_find("b"), OP_TRUNCATE, 2 * MIB, 0, 0), 0);
        stack_settle();
        assert_int_equal(stack_news()->length, 2 * MIB);
        assert_int_equal(stack_do("backend-show c")->backend->length, 2 * MIB);
        assert_non_null(strstr(stack_story(5), "BLOCK_RESIZED b"));
        assert_non_null(strstr(stack_story(5), "BLOCK_RESIZED c"));
        stack_call(stack_find("c"), MAIL_SESSION_CLOSE, stack_session_end(1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_is_checked_for_size_medium_sign_length_and_end_in_this_order),
        cmocka_unit_test(beyond_the_end_writes_grow_what_can_grow_and_reads_give_zeroes),
        cmocka_unit_test(a_read_only_backend_refuses_changes_and_flushes),
        cmocka_unit_test(a_truncate_asks_for_a_medium_and_a_length_and_a_flush_for_a_medium),
        cmocka_unit_test(forced_unit_access_reaches_the_driver_or_a_flush_follows),
        cmocka_unit_test(without_a_write_cache_each_write_is_durable),
        cmocka_unit_test(what_succeeds_fails_and_is_refused_is_counted_by_kind),
        cmocka_unit_test(what_is_with_the_medium_is_in_flight_and_what_is_refused_is_not),
        cmocka_unit_test(when_a_truncate_ends_the_new_length_is_known_and_can_be_used),
        cmocka_unit_test(of_several_truncates_at_once_the_last_one_counts),
        cmocka_unit_test(the_other_backends_of_a_node_hear_of_its_new_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
