/* The memory driver, through its node. */
#include "node_rig.h"

#define PAGE 65536

static actor_addr open_memory(const char *options)
{
    return rig_open("m", "memory", 0, options);
}

static void what_was_written_is_read_and_the_rest_is_zero(void **state)
{
    (void)state;
    actor_addr node = open_memory("size=1M");
    assert_true(rig_reads_as(node, 0, 1 << 20, 0));
    rig_fill(node, PAGE - 3, 6, 'a', 0);
    assert_true(rig_reads_as(node, 0, PAGE - 3, 0));
    assert_true(rig_reads_as(node, PAGE - 3, 6, 'a'));
    assert_true(rig_reads_as(node, PAGE + 3, PAGE, 0));
    rig_fill(node, 100, 5 * PAGE, 'b', 0);
    assert_true(rig_reads_as(node, 100, 5 * PAGE, 'b'));
    assert_true(rig_reads_as(node, 100 + 5 * PAGE, 2 * PAGE, 0));
    rig_close(node);
}

static void vectors_land_in_order(void **state)
{
    (void)state;
    char out[3][100], in[300];
    struct rig_op op;
    for (int i = 0; i < 3; i++) {
        memset(out[i], 'a' + i, 100);
        op.iov[i] = (struct iovec){out[i], 100};
    }
    actor_addr node = open_memory("size=1M");
    assert_int_equal(rig_io_v(&op, node, OP_WRITE, PAGE - 150, 3, 0), 0);
    assert_int_equal(rig_io(node, OP_READ, PAGE - 150, in, 300, 0), 0);
    assert_true(rig_all(in, 100, 'a') && rig_all(in + 100, 100, 'b') &&
                rig_all(in + 200, 100, 'c'));
    memset(out, 0, sizeof(out));
    assert_int_equal(rig_io_v(&op, node, OP_READ, PAGE - 150, 3, 0), 0);
    assert_memory_equal(out, in, 300);
    rig_close(node);
}

static void the_largest_medium_takes_room_only_for_what_is_written(void **state)
{
    (void)state;
    int64_t end = INT64_MAX - 10;
    actor_addr node = open_memory("size=9223372036854775807");
    rig_fill(node, end, 10, 'z', 0);
    rig_fill(node, 0, 10, 'a', 0);
    rig_fill(node, INT64_C(1) << 40, 10, 'm', 0);
    assert_true(rig_reads_as(node, end, 10, 'z'));
    assert_true(rig_reads_as(node, 0, 10, 'a'));
    assert_true(rig_reads_as(node, INT64_C(1) << 40, 10, 'm'));
    assert_true(rig_reads_as(node, INT64_C(1) << 50, 10, 0));
    /* Nearly all of it at once, which has to be quick. */
    assert_int_equal(rig_io(node, OP_DISCARD, 5, NULL, INT64_MAX - 10, 0), 0);
    assert_true(rig_reads_as(node, 0, 5, 'a'));
    assert_true(rig_reads_as(node, 5, 5, 0));
    assert_true(rig_reads_as(node, INT64_C(1) << 40, 10, 0));
    rig_close(node);
}

static void discarded_and_zeroed_ranges_read_as_zeroes(void **state)
{
    (void)state;
    static const struct {
        enum op_kind kind;
        unsigned flags;
    } ways[] = {{OP_DISCARD, 0}, {OP_ZEROES, 0}, {OP_ZEROES, OP_MAY_UNMAP}};
    for (int i = 0; i < 3; i++) {
        actor_addr node = open_memory("size=1M");
        rig_fill(node, 0, 1 << 20, 'x', 0);
        assert_int_equal(rig_io(node, ways[i].kind, 1000, NULL, 4 * PAGE, ways[i].flags), 0);
        assert_true(rig_reads_as(node, 0, 1000, 'x'));
        assert_true(rig_reads_as(node, 1000, 4 * PAGE, 0));
        assert_true(rig_reads_as(node, 1000 + 4 * PAGE, PAGE, 'x'));
        rig_close(node);
    }
}

static void beyond_its_limit_a_write_has_no_space_until_pages_are_given_back(void **state)
{
    (void)state;
    char data[10] = "123456789";
    actor_addr node = open_memory("size=1G limit=128K");
    rig_fill(node, 0, 1, 'x', 0);
    rig_fill(node, 9 * PAGE, 1, 'x', 0);
    assert_int_equal(rig_io(node, OP_WRITE, 20 * PAGE, data, 10, 0), -ENOSPC);
    rig_fill(node, 10, 1, 'y', 0);
    assert_true(rig_reads_as(node, 20 * PAGE, 10, 0));
    assert_int_equal(rig_io(node, OP_ZEROES, 0, NULL, PAGE, 0), 0);
    assert_int_equal(rig_io(node, OP_WRITE, 20 * PAGE, data, 10, 0), -ENOSPC);
    assert_int_equal(rig_io(node, OP_ZEROES, 0, NULL, PAGE, OP_MAY_UNMAP), 0);
    assert_int_equal(rig_io(node, OP_WRITE, 20 * PAGE, data, 10, 0), 0);
    assert_int_equal(rig_io(node, OP_WRITE, 0, data, 10, 0), -ENOSPC);
    assert_int_equal(rig_io(node, OP_DISCARD, 20 * PAGE, NULL, PAGE, 0), 0);
    assert_int_equal(rig_io(node, OP_WRITE, 0, data, 10, 0), 0);
    rig_close(node);
}

static void what_a_shrink_cuts_off_is_zero_when_it_grows_again(void **state)
{
    (void)state;
    actor_addr node = open_memory("size=1M");
    rig_fill(node, 0, 1 << 20, 'x', 0);
    assert_int_equal(rig_io(node, OP_TRUNCATE, PAGE + 1, NULL, 0, 0), 0);
    assert_int_equal(rig_io(node, OP_READ, PAGE + 1, (char[1]){0}, 1, 0), -EIO);
    assert_int_equal(rig_io(node, OP_TRUNCATE, 1 << 20, NULL, 0, 0), 0);
    assert_true(rig_reads_as(node, 0, PAGE + 1, 'x'));
    assert_true(rig_reads_as(node, PAGE + 1, 10 * PAGE, 0));
    rig_close(node);
}

static void it_grows_by_writes_beyond_the_end_when_that_is_allowed(void **state)
{
    (void)state;
    char data[100] = "";
    actor_addr node = open_memory("size=1000");
    assert_int_equal(rig_io(node, OP_WRITE, 950, data, 100, 0), -EIO);
    rig_fill(node, 950, 100, 'g', OP_BEYOND_END);
    assert_true(rig_reads_as(node, 950, 100, 'g'));
    assert_int_equal(rig_io(node, OP_ZEROES, 2000, NULL, 48, OP_BEYOND_END), 0);
    assert_int_equal(rig_describe(node)->length, 2048);
    rig_close(node);
}

static void preallocation_is_by_writing_or_not_supported(void **state)
{
    (void)state;
    actor_addr node = open_memory("size=0 limit=128K");
    assert_int_equal(rig_io(node, OP_TRUNCATE, PAGE, NULL, 0, OP_PREALLOC_FALLOC), -ENOTSUP);
    assert_int_equal(rig_io(node, OP_TRUNCATE, 2 * PAGE, NULL, 0, OP_PREALLOC_FULL), 0);
    assert_int_equal(rig_io(node, OP_TRUNCATE, 3 * PAGE, NULL, 0, OP_PREALLOC_FULL), -ENOSPC);
    assert_int_equal(rig_describe(node)->length, 2 * PAGE);
    rig_close(node);
}

static void it_needs_a_size(void **state)
{
    (void)state;
    assert_int_equal(rig_try("m", "memory", 0, ""), 0);
    assert_string_equal(rig.err.text, "driver memory needs the option size: length of the medium");
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        RIG_TEST(what_was_written_is_read_and_the_rest_is_zero),
        RIG_TEST(vectors_land_in_order),
        RIG_TEST(the_largest_medium_takes_room_only_for_what_is_written),
        RIG_TEST(discarded_and_zeroed_ranges_read_as_zeroes),
        RIG_TEST(beyond_its_limit_a_write_has_no_space_until_pages_are_given_back),
        RIG_TEST(what_a_shrink_cuts_off_is_zero_when_it_grows_again),
        RIG_TEST(it_grows_by_writes_beyond_the_end_when_that_is_allowed),
        RIG_TEST(preallocation_is_by_writing_or_not_supported),
        RIG_TEST(it_needs_a_size),
    };
    while (rig_next_seed(6))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
