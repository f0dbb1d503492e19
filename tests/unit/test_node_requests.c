/* What a node does of a driver's requests: checks, splits, emulates. test_node_align.c has blocks.
 */
#include "block_rig.h"

RIG_DRIVERS(&driver_block, &driver_null)

/* --- Checks */

static void what_fits_reaches_the_driver_as_it_is(void **state)
{
    (void)state;
    block_open();
    assert_int_equal(block_io(OP_WRITE, 1, 4099, OP_FUA), 0);
    assert_int_equal(block_io(OP_READ, 0, LENGTH, 0), 0);
    assert_int_equal(block_io(OP_ZEROES, 5, 10, OP_MAY_UNMAP), 0);
    assert_int_equal(block_io(OP_DISCARD, 7, 11, 0), 0);
    assert_int_equal(block_io(OP_FLUSH, 0, 0, 0), 0);
    assert_int_equal(block_io(OP_TRUNCATE, 100, 0, 0), 0);
    block_assert_came("W1+4099! R0+65536 Z5+10u D7+11 F0+0 T100+0");
    rig_close(block.node);
}

static void what_lies_outside_is_refused_before_the_driver(void **state)
{
    (void)state;
    block_open();
    static const enum op_kind kinds[] = {OP_READ, OP_WRITE, OP_ZEROES, OP_DISCARD};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(block_io(kinds[i], -1, 10, 0), -EIO);
        assert_int_equal(block_io(kinds[i], -5, 5, 0), -EIO);
        assert_int_equal(block_io(kinds[i], LENGTH, 1, 0), -EIO);
        assert_int_equal(block_io(kinds[i], LENGTH - 5, 6, 0), -EIO);
        assert_int_equal(block_io(kinds[i], INT64_MAX, 6, 0), -EIO);
        assert_int_equal(block_io(kinds[i], LENGTH, 0, 0), 0);
        assert_int_equal(block_io(kinds[i], LENGTH + 1, 0, 0), -EIO);
    }
    assert_int_equal(block_io(OP_ZEROES, 5, UINT64_MAX, 0), -EIO);
    assert_int_equal(block_io(OP_TRUNCATE, -1, 0, 0), -EINVAL);
    block_assert_came("");
    rig_close(block.node);
}

static void a_read_only_node_refuses_what_changes_it(void **state)
{
    (void)state;
    block.facts.read_only = true;
    block_open();
    assert_int_equal(block_io(OP_READ, 0, 10, 0), 0);
    assert_int_equal(block_io(OP_WRITE, 0, 10, 0), -EPERM);
    assert_int_equal(block_io(OP_ZEROES, 0, 10, 0), -EPERM);
    assert_int_equal(block_io(OP_DISCARD, 0, 10, 0), -EPERM);
    assert_int_equal(block_io(OP_TRUNCATE, 0, 0, 0), -EACCES);
    assert_int_equal(block_io(OP_FLUSH, 0, 0, 0), 0);
    block_assert_came("R0+10 F0+0");
    rig_close(block.node);
}

static void a_length_that_can_t_be_told_is_the_request_s_error(void **state)
{
    (void)state;
    block.facts.length = -ENODEV;
    block_open();
    assert_int_equal(block_io(OP_READ, 0, 10, 0), -ENODEV);
    assert_int_equal(block_io(OP_WRITE, 0, 10, 0), -ENODEV);
    block_assert_came("");
    rig_close(block.node);
}

static void an_unknown_kind_is_refused(void **state)
{
    (void)state;
    block_open();
    assert_int_equal(block_io(0, 0, 10, 0), -ENOTSUP);
    rig_close(block.node);
}

static void what_the_driver_can_t_do_is_enotsup(void **state)
{
    (void)state;
    block.facts.can = 0;
    block_open();
    assert_int_equal(block_io(OP_DISCARD, 0, 10, 0), -ENOTSUP);
    assert_int_equal(block_io(OP_TRUNCATE, 0, 0, 0), -ENOTSUP);
    assert_int_equal(block_io(OP_ZEROES, 0, 10, OP_NO_FALLBACK), -ENOTSUP);
    assert_int_equal(block_io(OP_WRITE, LENGTH - 5, 10, OP_BEYOND_END), -EIO);
    assert_int_equal(block_io(OP_FLUSH, 0, 0, 0), 0);
    block_assert_came("");
    rig_close(block.node);
}

/* --- Beyond the end */

static void a_read_beyond_the_end_gives_zeroes_there(void **state)
{
    (void)state;
    block_open();
    assert_int_equal(block_io(OP_READ, LENGTH - 100, 300, OP_BEYOND_END), 0);
    assert_memory_equal(block.buffer, block.data + LENGTH - 100, 100);
    assert_true(rig_all(block.buffer + 100, 200, 0));
    assert_true(rig_all(block.buffer + 300, 100, 'B'));
    block_assert_came("R65436+100");
    memset(block.buffer, 'B', 300);
    assert_int_equal(block_io(OP_READ, LENGTH + 1000, 300, OP_BEYOND_END), 0);
    assert_true(rig_all(block.buffer, 300, 0));
    block_assert_came("");
    rig_close(block.node);
}

static void a_write_beyond_the_end_grows_and_the_watchers_are_told(void **state)
{
    (void)state;
    block_open();
    rig_watch(block.node, true);
    assert_int_equal(block_io(OP_WRITE, LENGTH - 10, 20, OP_BEYOND_END), 0);
    rig_run();
    assert_int_equal(rig.told, 1);
    assert_int_equal(rig.change.length, LENGTH + 10);
    assert_int_equal(block_io(OP_WRITE, LENGTH, 10, 0), 0);
    assert_int_equal(rig.told, 1);
    rig_close(block.node);
}

/* --- Splitting */

static void long_requests_are_split(void **state)
{
    (void)state;
    block.facts.max_transfer = 4096;
    block.facts.max_zeroes = 10000;
    block_open();
    assert_int_equal(block_io(OP_READ, 100, 10000, 0), 0);
    block_assert_came("R100+4096 R4196+4096 R8292+1808");
    assert_memory_equal(block.buffer, block.data + 100, 10000);
    assert_int_equal(block_io(OP_WRITE, 0, 8192, OP_FUA), 0);
    block_assert_came("W0+4096! W4096+4096!");
    assert_int_equal(block_io(OP_ZEROES, 1, 25000, 0), 0);
    block_assert_came("Z1+10000 Z10001+10000 Z20001+5000");
    assert_int_equal(block_io(OP_DISCARD, 1, 25000, 0), 0);
    block_assert_came("D1+10000 D10001+10000 D20001+5000");
    rig_close(block.node);
}

static void long_vectors_are_split_between_and_inside_entries(void **state)
{
    (void)state;
    struct rig_op op;
    block.facts.max_vector = 3;
    block.facts.max_transfer = 1000;
    block_open();
    static const size_t lengths[] = {100, 0, 200, 300, 50, 2500, 0, 70};
    unsigned char *at = block.buffer;
    for (int i = 0; i < 8; at += lengths[i++])
        op.iov[i] = (struct iovec){at, lengths[i]};
    assert_int_equal(rig_io_v(&op, block.node, OP_READ, 10, 8, 0), 0);
    block_assert_came("R10+300 R310+350 R660+1000 R1660+1000 R2660+500 R3160+70");
    assert_memory_equal(block.buffer, block.data + 10, 3220);
    memset(block.buffer, 'v', 3220);
    assert_int_equal(rig_io_v(&op, block.node, OP_WRITE, 10, 8, 0), 0);
    assert_true(rig_all(block.data + 10, 3220, 'v') && block_original(3230, 1000) &&
                block_original(0, 10));
    rig_close(block.node);
}

static void a_request_of_very_many_pieces_does_not_grow_the_stack(void **state)
{
    (void)state;
    static unsigned char big[LENGTH];
    block.facts.max_transfer = 1;
    block_open();
    assert_int_equal(rig_io(block.node, OP_WRITE, 0, big, LENGTH, 0), 0);
    assert_true(rig_all(block.data, LENGTH, 0));
    rig_close(block.node);
}

static void a_piece_that_fails_ends_the_request(void **state)
{
    (void)state;
    block.facts.max_transfer = 4096;
    block.fail_at = 2;
    block.fail_with = -ENOSPC;
    block_open();
    assert_int_equal(block_io(OP_WRITE, 0, 16384, 0), -ENOSPC);
    block_assert_came("W0+4096 W4096+4096");
    rig_close(block.node);
}

/* --- Emulation */

static void zeroes_are_written_when_the_driver_has_none(void **state)
{
    (void)state;
    block.facts.can &= ~(unsigned)DRIVER_CAN_ZEROES;
    block.facts.max_transfer = 8192;
    block_open();
    assert_int_equal(block_io(OP_ZEROES, 100, 20000, OP_MAY_UNMAP | OP_FUA), 0);
    block_assert_came("W100+8192! W8292+8192! W16484+3616!");
    assert_true(block_original(0, 100) && rig_all(block.data + 100, 20000, 0) &&
                block_original(20100, 1000));
    rig_close(block.node);
}

static void zeroes_are_written_when_the_driver_answers_enotsup(void **state)
{
    (void)state;
    block.no_zeroes = true;
    block_open();
    assert_int_equal(block_io(OP_ZEROES, 100, 200, OP_FUA), 0);
    block_assert_came("Z100+200! W100+200!");
    assert_true(rig_all(block.data + 100, 200, 0) && block_original(300, 100));
    assert_int_equal(block_io(OP_ZEROES, 1000, 200, OP_NO_FALLBACK), -ENOTSUP);
    block_assert_came("Z1000+200");
    rig_close(block.node);
}

static void fua_is_a_flush_after_the_write_when_the_driver_has_none(void **state)
{
    (void)state;
    struct rig_op op;
    block.facts.can &= ~(unsigned)DRIVER_CAN_FUA;
    block.facts.max_transfer = 4096;
    block.hold = true;
    block_open();
    rig_start(&op, block.node, OP_WRITE, 0, block.buffer, 8192, OP_FUA);
    block_release(1);
    block_release(1);
    block_assert_came("W0+4096 W4096+4096 F0+0");
    assert_false(op.done);
    block_release(1);
    assert_true(op.done && op.ret == 0);
    block.hold = false;
    assert_int_equal(block_io(OP_ZEROES, 0, 10, OP_FUA), 0);
    block_assert_came("Z0+10 F0+0");
    assert_int_equal(block_io(OP_WRITE, 0, 10, 0), 0);
    block_assert_came("W0+10");
    block.fail_at = 2;
    block.fail_with = -EIO;
    assert_int_equal(block_io(OP_WRITE, 0, 10, OP_FUA), -EIO);
    rig_close(block.node);
}

static void fua_needs_no_flush_when_nothing_is_cached(void **state)
{
    (void)state;
    block.facts.can &= ~(unsigned)(DRIVER_CAN_FUA | DRIVER_CAN_FLUSH);
    block_open();
    assert_int_equal(block_io(OP_WRITE, 0, 10, OP_FUA), 0);
    block_assert_came("W0+10");
    rig_close(block.node);
}

static void may_unmap_is_dropped_when_it_makes_no_difference(void **state)
{
    (void)state;
    block.facts.can &= ~(unsigned)DRIVER_CAN_UNMAP;
    block_open();
    assert_int_equal(block_io(OP_ZEROES, 0, 10, OP_MAY_UNMAP), 0);
    block_assert_came("Z0+10");
    rig_close(block.node);
}

static void full_preallocation_writes_the_growth(void **state)
{
    (void)state;
    block_open();
    assert_int_equal(block_io(OP_TRUNCATE, LENGTH + 1000, 0, OP_PREALLOC_FULL), 0);
    block_assert_came("T66536+0 W65536+1000");
    assert_int_equal(block_io(OP_TRUNCATE, 10, 0, OP_PREALLOC_FULL), -EINVAL);
    assert_int_equal(block_io(OP_TRUNCATE, 10, 0, OP_PREALLOC_FALLOC), -EINVAL);
    block_assert_came("");
    rig_close(block.node);
}

static void a_preallocation_that_fails_is_undone(void **state)
{
    (void)state;
    block.hold = true;
    block_open();
    struct rig_op op;
    rig_start(&op, block.node, OP_TRUNCATE, LENGTH + 1000, NULL, 0, OP_PREALLOC_FULL);
    block_release(1);
    block.fail_at = 1;
    block.fail_with = -ENOSPC;
    block_release(1);
    block.fail_at = 0;
    block_release(1);
    assert_true(op.done);
    assert_int_equal(op.ret, -ENOSPC);
    block_assert_came("T66536+0 W65536+1000 T65536+0");
    assert_int_equal(block.driver->facts.length, LENGTH);
    rig_close(block.node);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        BLOCK_TEST(what_fits_reaches_the_driver_as_it_is),
        BLOCK_TEST(what_lies_outside_is_refused_before_the_driver),
        BLOCK_TEST(a_read_only_node_refuses_what_changes_it),
        BLOCK_TEST(a_length_that_can_t_be_told_is_the_request_s_error),
        BLOCK_TEST(an_unknown_kind_is_refused),
        BLOCK_TEST(what_the_driver_can_t_do_is_enotsup),
        BLOCK_TEST(a_read_beyond_the_end_gives_zeroes_there),
        BLOCK_TEST(a_write_beyond_the_end_grows_and_the_watchers_are_told),
        BLOCK_TEST(long_requests_are_split),
        BLOCK_TEST(long_vectors_are_split_between_and_inside_entries),
        BLOCK_TEST(a_request_of_very_many_pieces_does_not_grow_the_stack),
        BLOCK_TEST(a_piece_that_fails_ends_the_request),
        BLOCK_TEST(zeroes_are_written_when_the_driver_has_none),
        BLOCK_TEST(zeroes_are_written_when_the_driver_answers_enotsup),
        BLOCK_TEST(fua_is_a_flush_after_the_write_when_the_driver_has_none),
        BLOCK_TEST(fua_needs_no_flush_when_nothing_is_cached),
        BLOCK_TEST(may_unmap_is_dropped_when_it_makes_no_difference),
        BLOCK_TEST(full_preallocation_writes_the_growth),
        BLOCK_TEST(a_preallocation_that_fails_is_undone),
    };
    while (rig_next_seed(12))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
