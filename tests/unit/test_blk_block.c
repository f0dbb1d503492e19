/* Op blockers as embedding programs ask and set them. */
#include "api_rig.h"

static const char memory[] = "driver=memory size=1M";

static void what_is_blocked_is_refused_with_its_reason_until_that_is_taken_back(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    char *error = NULL;
    blk *resizer = open_blk(rig.context, "disk", BLK_WRITABLE | BLK_RESIZE);
    assert_false(blk_op_is_blocked(rig.blk, BLK_OP_RESIZE, &error));
    assert_null(error);
    assert_int_equal(blk_op_block(rig.blk, BLK_OP_RESIZE, "the guest sleeps"), 0);
    assert_true(blk_op_is_blocked(rig.blk, BLK_OP_RESIZE, &error));
    assert_non_null(strstr(error, "the guest sleeps"));
    free(error);
    assert_false(blk_op_is_blocked(rig.blk, BLK_OP_EJECT, NULL));
    assert_int_equal(blk_truncate(resizer, 512, BLK_PREALLOC_OFF), -EBUSY);
    assert_int_equal(blk_op_unblock(rig.blk, BLK_OP_RESIZE, "another"), -ENOENT);
    assert_int_equal(blk_op_unblock(rig.blk, BLK_OP_RESIZE, "the guest sleeps"), 0);
    assert_false(blk_op_is_blocked(rig.blk, BLK_OP_RESIZE, NULL));
    assert_int_equal(blk_truncate(resizer, 512, BLK_PREALLOC_OFF), 0);
    blk_close(&resizer);
    rig_close(&rig);
}

static void all_can_be_blocked_with_an_exception(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    assert_int_equal(blk_op_block_all(rig.blk, BLK_OP_MOVE, "r"), 0);
    for (int op = BLK_OP_RESIZE; op <= BLK_OP_DRIVE_DEL; op++)
        assert_int_equal(blk_op_is_blocked(rig.blk, (enum blk_op)op, NULL), op != BLK_OP_MOVE);
    assert_int_equal(blk_op_unblock_all(rig.blk, BLK_OP_EJECT, "r"), 0);
    for (int op = BLK_OP_RESIZE; op <= BLK_OP_DRIVE_DEL; op++)
        assert_int_equal(blk_op_is_blocked(rig.blk, (enum blk_op)op, NULL), op == BLK_OP_EJECT);
    assert_int_equal(blk_op_unblock_all(rig.blk, -1, "r"), 0);
    assert_false(blk_op_is_blocked(rig.blk, BLK_OP_EJECT, NULL));
    assert_int_equal(blk_op_block(rig.blk, (enum blk_op)99, "r"), -EINVAL);
    assert_int_equal(blk_op_block(rig.blk, BLK_OP_MOVE, NULL), -EINVAL);
    rig_close(&rig);
}

static void without_a_medium_nothing_is_blocked(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    assert_int_equal(blk_op_block_all(rig.blk, BLK_OP_EJECT, "r"), 0);
    request(rig.context, "medium-remove disk");
    assert_false(blk_op_is_blocked(rig.blk, BLK_OP_MOVE, NULL));
    assert_int_equal(blk_op_block(rig.blk, BLK_OP_MOVE, "r"), -ENOMEDIUM);
    rig_close(&rig);
}

#define TEST(name) cmocka_unit_test_setup(name, bound_time)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_blocked_is_refused_with_its_reason_until_that_is_taken_back),
        TEST(all_can_be_blocked_with_an_exception),
        TEST(without_a_medium_nothing_is_blocked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
