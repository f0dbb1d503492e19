/* What a backend passes on to its medium's driver: flags of requests, preallocation, writes beyond
 * the end. In a whole stepped engine. */
#include "shown_rig.h"

static actor_addr mocked(const char *options)
{
    stack_do("node-add driver=mock name=m size=1M %s", options);
    stack_do("backend-add name=b node=m");
    return stack_find("b");
}

/* How many requests the mock was sent, and the last of them. */
static unsigned sent(const char **last)
{
    const Sluice__NodeInfo *info = stack_do("node-show m")->node;
    unsigned number = 0;
    *last = "";
    for (size_t i = 0; i < info->n_state; i++)
        if (sscanf(info->state[i]->key, "sent-%u", &number) == 1)
            *last = info->state[i]->value;
    return number;
}

static void flags_reach_the_driver(void **state)
{
    (void)state;
    static const struct {
        enum op_kind kind;
        unsigned flags;
        const char *sent;
    } cases[] = {
        {OP_READ, 0, "read 0+512"},
        {OP_WRITE, 0, "write 0+512"},
        {OP_WRITE, OP_FUA, "write 0+512 fua"},
        {OP_WRITE, OP_COMPRESSED, "write 0+512 compressed"},
        {OP_ZEROES, 0, "zeroes 0+512"},
        {OP_ZEROES, OP_MAY_UNMAP, "zeroes 0+512 unmap"},
        {OP_ZEROES, OP_FUA | OP_MAY_UNMAP, "zeroes 0+512 fua unmap"},
        {OP_DISCARD, 0, "discard 0+512"},
        {OP_DISCARD, OP_FUA, "discard 0+512 fua"},
    };
    for (unsigned threads = 1; threads <= 3; threads++) {
        stack_start(threads, threads);
        actor_addr b = mocked("");
        for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
            const char *last;
            assert_int_equal(stack_run(b, cases[i].kind, 0, 512, cases[i].flags), 0);
            assert_int_equal(sent(&last), i + 1);
            assert_string_equal(last, cases[i].sent);
        }
        stack_stop();
    }
}

static void zeroes_without_fallback_are_not_written(void **state)
{
    (void)state;
    const char *last;
    stack_start(2, 1);
    actor_addr b = mocked("");
    assert_int_equal(stack_run(b, OP_ZEROES, 0, 512, OP_NO_FALLBACK), 0);
    assert_int_equal(sent(&last), 1);
    stack_do("node-set m can=flush");
    assert_int_equal(stack_run(b, OP_ZEROES, 0, 512, OP_NO_FALLBACK), -ENOTSUP);
    assert_int_equal(sent(&last), 1);
    assert_int_equal(stack_run(b, OP_ZEROES, 0, 512, 0), 0);
    assert_int_equal(sent(&last), 2);
    assert_string_equal(last, "write 0+512");
    stack_stop();
    /* Nor is a part of a block. */
    stack_start(2, 1);
    b = mocked("alignment=4096");
    assert_int_equal(stack_run(b, OP_ZEROES, 512, 4096, OP_NO_FALLBACK), -ENOTSUP);
    assert_int_equal(stack_run(b, OP_ZEROES, 4096, 512, OP_NO_FALLBACK), -ENOTSUP);
    assert_int_equal(sent(&last), 0);
    assert_int_equal(stack_run(b, OP_ZEROES, 4096, 4096, OP_NO_FALLBACK), 0);
    assert_string_equal((sent(&last), last), "zeroes 4096+4096");
    stack_stop();
}

static void preallocation_reaches_the_driver(void **state)
{
    (void)state;
    const char *last;
    stack_start(2, 1);
    mocked("");
    stack_do("io-truncate backend=b size=2M");
    sent(&last);
    assert_string_equal(last, "truncate 2097152+0");
    stack_do("io-truncate backend=b size=3M preallocation=metadata");
    sent(&last);
    assert_string_equal(last, "truncate 3145728+0 metadata");
    stack_do("io-truncate backend=b size=4M preallocation=falloc");
    assert_int_equal(sent(&last), 3);
    assert_string_equal(last, "truncate 4194304+0 falloc");
    assert_int_equal(shown()->length, 4 * MIB);
    stack_stop();
}

static void what_can_t_grow_refuses_writes_beyond_its_end(void **state)
{
    (void)state;
    const char *last;
    char data[512];
    struct stack_op op;
    stack_start(2, 1);
    actor_addr b = mocked("can=flush,zeroes");
    assert_int_equal(stack_run(b, OP_WRITE, MIB, 512, OP_BEYOND_END), -EIO);
    assert_int_equal(stack_run(b, OP_WRITE, MIB - 1, 2, OP_BEYOND_END), -EIO);
    assert_int_equal(stack_run(b, OP_ZEROES, MIB, 512, OP_BEYOND_END), -EIO);
    assert_int_equal(sent(&last), 0);
    assert_int_equal(shown()->length, MIB);
    /* Reads give zeroes there all the same. */
    memset(data, 'x', sizeof data);
    stack_submit(&op, b, OP_READ, MIB, sizeof data, OP_BEYOND_END, data);
    stack_await_op(&op);
    assert_int_equal(op.ret, 0);
    for (size_t i = 0; i < sizeof data; i++)
        assert_int_equal(data[i], 0);
    stack_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_reach_the_driver),
        cmocka_unit_test(zeroes_without_fallback_are_not_written),
        cmocka_unit_test(preallocation_reaches_the_driver),
        cmocka_unit_test(what_can_t_grow_refuses_writes_beyond_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
