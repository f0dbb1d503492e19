/* What a node does where a driver has blocks: bounces, reads what is changed in part, and what
 * overlaps waits. */
#include "block_rig.h"

RIG_DRIVERS(&driver_block, &driver_null)

static void unaligned_reads_go_through_one_aligned_buffer(void **state)
{
    (void)state;
    block.facts.alignment = 512;
    block_open();
    assert_int_equal(block_io(OP_READ, 700, 1000, 0), 0);
    block_assert_came("R512+1536");
    assert_memory_equal(block.buffer, block.data + 700, 1000);
    assert_true(rig_all(block.buffer + 1000, 100, 'B'));
    assert_int_equal(rig_io(block.node, OP_READ, 512, block.buffer + 1, 1024, 0), 0);
    block_assert_came("R512+1024");
    assert_memory_equal(block.buffer + 1, block.data + 512, 1024);
    assert_int_equal(block_io(OP_READ, 1024, 512, 0), 0);
    block_assert_came("R1024+512");
    rig_close(block.node);
}

static void unaligned_writes_read_the_blocks_that_they_change_in_part(void **state)
{
    (void)state;
    block.facts.alignment = 512;
    block_open();
    assert_int_equal(block_io(OP_WRITE, 700, 2000, 0), 0);
    block_assert_came("R512+512 W512+512 W1024+1536 R2560+512 W2560+512");
    assert_true(block_original(0, 700) && rig_all(block.data + 700, 2000, 'B') &&
                block_original(2700, 5000));
    assert_int_equal(block_io(OP_WRITE, 5000, 7, OP_FUA), 0);
    block_assert_came("R4608+512 W4608+512!");
    assert_true(block_original(2700, 2300) && rig_all(block.data + 5000, 7, 'B') &&
                block_original(5007, 2300));
    assert_int_equal(block_io(OP_WRITE, 512, 1024, 0), 0);
    block_assert_came("W512+1024");
    rig_close(block.node);
}

static void vectors_of_unaligned_memory_are_bounced(void **state)
{
    (void)state;
    struct rig_op op;
    block.facts.alignment = 512;
    block_open();
    op.iov[0] = (struct iovec){block.buffer, 512};
    op.iov[1] = (struct iovec){block.buffer + 1000, 300};
    op.iov[2] = (struct iovec){block.buffer + 2000, 212};
    op.iov[3] = (struct iovec){block.buffer + 4096, 1024};
    assert_int_equal(rig_io_v(&op, block.node, OP_READ, 0, 4, 0), 0);
    assert_memory_equal(block.buffer, block.data, 512);
    assert_memory_equal(block.buffer + 1000, block.data + 512, 300);
    assert_memory_equal(block.buffer + 2000, block.data + 812, 212);
    assert_memory_equal(block.buffer + 4096, block.data + 1024, 1024);
    assert_true(rig_all(block.buffer + 512, 488, 'B') && rig_all(block.buffer + 1300, 700, 'B') &&
                rig_all(block.buffer + 2212, 1884, 'B'));
    rig_close(block.node);
}

static void zeroes_of_parts_of_blocks_keep_the_rest(void **state)
{
    (void)state;
    block.facts.alignment = 512;
    block_open();
    assert_int_equal(block_io(OP_ZEROES, 700, 2000, 0), 0);
    block_assert_came("R512+512 W512+512 Z1024+1536 R2560+512 W2560+512");
    assert_true(block_original(0, 700) && rig_all(block.data + 700, 2000, 0) &&
                block_original(2700, 5000));
    assert_int_equal(block_io(OP_ZEROES, 700, 2000, OP_NO_FALLBACK), -ENOTSUP);
    block_assert_came("");
    rig_close(block.node);
}

static void discards_shrink_to_whole_blocks(void **state)
{
    (void)state;
    block.facts.alignment = 512;
    block_open();
    assert_int_equal(block_io(OP_DISCARD, 700, 2000, 0), 0);
    block_assert_came("D1024+1536");
    assert_int_equal(block_io(OP_DISCARD, 700, 300, 0), 0);
    block_assert_came("");
    rig_close(block.node);
}

static void a_block_beyond_the_end_is_not_read_before_it_is_written(void **state)
{
    (void)state;
    block.facts.alignment = 512;
    block_open();
    assert_int_equal(block_io(OP_WRITE, LENGTH + 100, 10, OP_BEYOND_END), 0);
    block_assert_came("W65536+512");
    assert_true(rig_all(block.data + LENGTH, 100, 0) &&
                rig_all(block.data + LENGTH + 100, 10, 'B') &&
                rig_all(block.data + LENGTH + 110, 402, 0));
    rig_close(block.node);
}

static void a_read_that_fails_under_a_write_fails_it(void **state)
{
    (void)state;
    block.facts.alignment = 512;
    block.fail_at = 1;
    block.fail_with = -EIO;
    block_open();
    assert_int_equal(block_io(OP_WRITE, 1, 1, 0), -EIO);
    block_assert_came("R0+512");
    rig_close(block.node);
}

static void writes_into_one_block_do_not_lose_each_other(void **state)
{
    (void)state;
    struct rig_op ops[4];
    block.facts.alignment = 512;
    block.hold = true;
    block_open();
    memset(block.buffer, 'a', 100);
    memset(block.buffer + 100, 'b', 100);
    memset(block.buffer + 200, 'c', 100);
    rig_start(&ops[0], block.node, OP_WRITE, 0, block.buffer, 100, 0);
    rig_start(&ops[1], block.node, OP_WRITE, 100, block.buffer + 100, 100, 0);
    rig_start(&ops[2], block.node, OP_WRITE, 450, block.buffer + 200, 100, 0); /* in two blocks */
    rig_start(&ops[3], block.node, OP_WRITE, 600, block.buffer, 10, 0);        /* in the second */
    rig_run();
    block_assert_came("R0+512");
    block_release(1);
    block_assert_came("W0+512");
    assert_false(ops[0].done);
    block_release(1);
    assert_true(ops[0].done);
    block_assert_came("R0+512");
    block_release(1000);
    assert_true(ops[1].done && ops[2].done && ops[3].done);
    block_assert_came("W0+512 R0+512 W0+512 R512+512 W512+512 R512+512 W512+512");
    assert_true(rig_all(block.data, 100, 'a') && rig_all(block.data + 100, 100, 'b') &&
                block_original(200, 250) && rig_all(block.data + 450, 100, 'c') &&
                block_original(550, 50) && rig_all(block.data + 600, 10, 'a') &&
                block_original(610, 500));
    rig_close(block.node);
}

static void whole_blocks_wait_only_for_what_changes_a_part_of_them(void **state)
{
    (void)state;
    struct rig_op ops[5];
    block.facts.alignment = 512;
    block.hold = true;
    block_open();
    rig_start(&ops[0], block.node, OP_WRITE, 0, block.buffer, 1024, 0);
    rig_start(&ops[1], block.node, OP_WRITE, 512, block.buffer, 1024,
              0);                                                       /* overlaps; nobody minds */
    rig_start(&ops[2], block.node, OP_WRITE, 600, block.buffer, 10, 0); /* waits for both */
    rig_start(&ops[3], block.node, OP_WRITE, 512, block.buffer, 512, 0);  /* waits for that */
    rig_start(&ops[4], block.node, OP_WRITE, 4096, block.buffer, 512, 0); /* waits for nobody */
    rig_run();
    block_assert_came("W0+1024 W512+1024 W4096+512");
    block_release(1);
    block_assert_came("");
    block_release(1);
    block_assert_came("R512+512");
    block_release(2);
    assert_true(ops[4].done);
    block_assert_came("W512+512");
    block_release(1);
    assert_true(ops[2].done && !ops[3].done);
    block_assert_came("W512+512");
    block_release(1);
    assert_true(ops[3].done);
    rig_close(block.node);
}

static void a_write_that_waited_goes_on_when_the_first_fails(void **state)
{
    (void)state;
    struct rig_op ops[2];
    block.facts.alignment = 512;
    block.hold = true;
    block_open();
    rig_start(&ops[0], block.node, OP_WRITE, 0, block.buffer, 100, 0);
    rig_start(&ops[1], block.node, OP_WRITE, 100, block.buffer, 100, 0);
    block.fail_at = 1;
    block.fail_with = -EIO;
    block_release(1);
    assert_true(ops[0].done && ops[0].ret == -EIO);
    block.fail_at = 0;
    block_release(10);
    assert_true(ops[1].done && ops[1].ret == 0);
    assert_true(rig_all(block.data + 100, 100, 'B') && block_original(0, 100));
    rig_close(block.node);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        BLOCK_TEST(unaligned_reads_go_through_one_aligned_buffer),
        BLOCK_TEST(unaligned_writes_read_the_blocks_that_they_change_in_part),
        BLOCK_TEST(vectors_of_unaligned_memory_are_bounced),
        BLOCK_TEST(zeroes_of_parts_of_blocks_keep_the_rest),
        BLOCK_TEST(discards_shrink_to_whole_blocks),
        BLOCK_TEST(a_block_beyond_the_end_is_not_read_before_it_is_written),
        BLOCK_TEST(a_read_that_fails_under_a_write_fails_it),
        BLOCK_TEST(writes_into_one_block_do_not_lose_each_other),
        BLOCK_TEST(whole_blocks_wait_only_for_what_changes_a_part_of_them),
        BLOCK_TEST(a_write_that_waited_goes_on_when_the_first_fails),
    };
    while (rig_next_seed(12))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
