/* The null driver, through its node. */
#include "node_rig.h"

static void its_length_is_1g_unless_told_otherwise(void **state)
{
    (void)state;
    actor_addr node = rig_open("n", "null", 0, "");
    assert_int_equal(rig.facts.length, 1 << 30);
    assert_int_equal(rig.facts.alignment, 1);
    rig_close(node);
    node = rig_open("n", "null", 0, "size=1.5K");
    assert_int_equal(rig.facts.length, 1536);
    rig_close(node);
}

static void reads_leave_memory_of_ones_own_unless_read_zeroes(void **state)
{
    (void)state;
    char data[512];
    memset(data, 'x', sizeof(data));
    actor_addr node = rig_open("n", "null", 0, "size=1M");
    assert_int_equal(rig_io(node, OP_READ, 0, data, sizeof(data), OP_OWN_MEMORY), 0);
    assert_true(rig_all(data, sizeof(data), 'x'));
    rig_close(node);
    node = rig_open("n", "null", 0, "size=1M read-zeroes=on");
    struct rig_op op;
    op.iov[0] = (struct iovec){data, 100};
    op.iov[1] = (struct iovec){data + 200, 312};
    assert_int_equal(rig_io_v(&op, node, OP_READ, 7, 2, OP_OWN_MEMORY), 0);
    assert_true(rig_all(data, 100, 0));
    assert_true(rig_all(data + 100, 100, 'x'));
    assert_true(rig_all(data + 200, 312, 0));
    rig_close(node);
}

/* What servers read for their clients, at once and later. */
static void memory_that_goes_elsewhere_is_never_left_as_it_was(void **state)
{
    (void)state;
    static const char *const options[] = {"size=1M", "size=1M latency=1ms"};
    char data[512];
    for (unsigned i = 0; i < 2; i++) {
        struct rig_op op;
        actor_addr node = rig_open("n", "null", 0, options[i]);
        memset(data, 'x', sizeof(data));
        rig_start(&op, node, OP_READ, 0, data, sizeof(data), 0);
        rig_run();
        rig_advance(NS_PER_MS);
        assert_true(op.done && op.ret == 0);
        assert_true(rig_all(data, sizeof(data), 0));
        rig_close(node);
    }
}

static void every_kind_of_request_succeeds(void **state)
{
    (void)state;
    char data[512] = "";
    actor_addr node = rig_open("n", "null", 0, "size=1M");
    assert_int_equal(rig_io(node, OP_WRITE, 512, data, sizeof(data), OP_FUA), 0);
    assert_int_equal(rig_io(node, OP_ZEROES, 1, NULL, 4097, OP_NO_FALLBACK | OP_MAY_UNMAP), 0);
    assert_int_equal(rig_io(node, OP_DISCARD, 1, NULL, 4097, 0), 0);
    assert_int_equal(rig_io(node, OP_FLUSH, 0, NULL, 0, 0), 0);
    rig_close(node);
}

static void a_truncate_changes_its_length(void **state)
{
    (void)state;
    char data[512] = "";
    actor_addr node = rig_open("n", "null", 0, "size=1M");
    assert_int_equal(rig_io(node, OP_WRITE, 1 << 20, data, sizeof(data), 0), -EIO);
    assert_int_equal(rig_io(node, OP_TRUNCATE, 2 << 20, NULL, 0, 0), 0);
    assert_int_equal(rig_io(node, OP_WRITE, 1 << 20, data, sizeof(data), 0), 0);
    assert_int_equal(rig_io(node, OP_TRUNCATE, 0, NULL, 0, 0), 0);
    assert_int_equal(rig_io(node, OP_WRITE, 0, data, sizeof(data), 0), -EIO);
    rig_close(node);
}

static void a_latency_is_kept_to_the_nanosecond_of_virtual_time(void **state)
{
    (void)state;
    char data[512];
    struct rig_op first, second, third;
    actor_addr node = rig_open("n", "null", 0, "latency=1ms");
    rig_start(&first, node, OP_READ, 0, data, 512, 0);
    rig_run();
    rig_advance(400 * NS_PER_US);
    rig_start(&second, node, OP_FLUSH, 0, NULL, 0, 0);
    rig_run();
    rig_start(&third, node, OP_WRITE, 0, data, 512, 0);
    rig_run();
    rig_advance(600 * NS_PER_US - 1);
    assert_false(first.done);
    rig_advance(1);
    assert_true(first.done);
    assert_false(second.done);
    rig_advance(400 * NS_PER_US - 1);
    assert_false(second.done || third.done);
    rig_advance(1);
    assert_true(second.done && third.done);
    rig_close(node);
}

static void a_close_waits_for_what_is_in_flight(void **state)
{
    (void)state;
    char data[512];
    struct rig_op op;
    struct rig_answer closed;
    actor_addr node = rig_open("n", "null", 0, "latency=1ms");
    rig_start(&op, node, OP_READ, 0, data, 512, 0);
    rig_post(&closed, node, MAIL_CLOSE, MAIL_NEW(sluice__close));
    rig_run();
    assert_false(closed.came);
    assert_int_equal(rig_io(node, OP_READ, 0, data, 512, 0), -ENXIO);
    rig_advance(NS_PER_MS);
    assert_true(op.done && op.ret == 0);
    assert_true(closed.came);
    assert_int_equal(rig_io(node, OP_READ, 0, data, 512, 0), -ENXIO);
}

static void impossible_options_are_refused(void **state)
{
    (void)state;
    assert_int_equal(rig_try("n", "null", 0, "size=8E"), 0);
    assert_string_equal(rig.err.field, "size");
    assert_int_equal(rig_try("n", "null", 0, "latency=2h"), 0);
    assert_string_equal(rig.err.field, "latency");
    assert_int_equal(rig_try("n", "null", 0, "colour=red"), 0);
    assert_string_equal(rig.err.field, "colour");
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        RIG_TEST(its_length_is_1g_unless_told_otherwise),
        RIG_TEST(reads_leave_memory_of_ones_own_unless_read_zeroes),
        RIG_TEST(memory_that_goes_elsewhere_is_never_left_as_it_was),
        RIG_TEST(every_kind_of_request_succeeds),
        RIG_TEST(a_truncate_changes_its_length),
        RIG_TEST(a_latency_is_kept_to_the_nanosecond_of_virtual_time),
        RIG_TEST(a_close_waits_for_what_is_in_flight),
        RIG_TEST(impossible_options_are_refused),
    };
    while (rig_next_seed(6))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
