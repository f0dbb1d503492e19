/* How nodes open, close and describe themselves. */
#include "block_rig.h"

RIG_DRIVERS(&driver_block, &driver_null)

static void an_open_is_answered_when_the_driver_is_open(void **state)
{
    (void)state;
    block.open_later = true;
    struct rig_answer opened;
    actor_addr late = rig_spawn(&node_type, "late");
    rig_post(&opened, late, MAIL_NODE_OPEN, rig_spec("late", "block", 0, "flavour=mint"));
    rig_run();
    assert_false(opened.came);
    assert_int_equal(rig_io(late, OP_READ, 0, block.buffer, 10, 0), -ENXIO);
    block_end_open(late);
    rig_until(&opened.came);
    assert_int_equal(opened.kind, MAIL_NODE_FACTS);
    assert_int_equal(rig_io(late, OP_READ, 0, block.buffer, 10, 0), 0);
    Sluice__NodeOpen *again = rig_spec("late", "block", 0, "");
    assert_int_equal(rig_ask(late, MAIL_NODE_OPEN, again).err.code, -EBUSY);
    rig_close(late);
    assert_int_equal(block.closed, 1);
}

static void a_close_during_the_open_waits_for_it(void **state)
{
    (void)state;
    block.open_later = true;
    struct rig_answer opened, closed;
    actor_addr late = rig_spawn(&node_type, "late");
    rig_post(&opened, late, MAIL_NODE_OPEN, rig_spec("late", "block", 0, ""));
    rig_run();
    rig_post(&closed, late, MAIL_CLOSE, MAIL_NEW(sluice__close));
    rig_run();
    assert_false(opened.came || closed.came);
    block_end_open(late);
    rig_run();
    assert_true(opened.came && closed.came);
    assert_int_equal(closed.kind, MAIL_NONE);
    assert_int_equal(block.closed, 1);
    assert_int_equal(rig_io(late, OP_READ, 0, block.buffer, 10, 0), -ENXIO);
}

static void a_failed_open_is_told_and_leaves_nothing_to_close(void **state)
{
    (void)state;
    block.open_ret = -EIO;
    assert_int_equal(rig_try("b", "block", 0, ""), 0);
    assert_int_equal(rig.err.code, -EIO);
    assert_string_equal(rig.err.text, "node b can't be opened: Input/output error");
    assert_int_equal(block.closed, 0);
    assert_int_equal(rig_try("b", "floppy", 0, ""), 0);
    assert_string_equal(rig.err.text, "there is no driver 'floppy'; the drivers are block, null");
    assert_string_equal(rig.err.field, "driver");
}

static void a_close_waits_for_what_is_in_flight_and_lets_nothing_new_in(void **state)
{
    (void)state;
    struct rig_op op;
    struct rig_answer closed;
    block.hold = true;
    block.facts.max_transfer = 100;
    block_open();
    rig_start(&op, block.node, OP_WRITE, 0, block.buffer, 150, 0);
    rig_post(&closed, block.node, MAIL_CLOSE, MAIL_NEW(sluice__close));
    rig_run();
    assert_int_equal(block_io(OP_READ, 0, 10, 0), -ENXIO);
    assert_int_equal(block_io(OP_FLUSH, 0, 0, 0), -ENXIO);
    block_release(1);
    assert_false(closed.came);
    assert_int_equal(block.closed, 0);
    block_release(1);
    assert_true(op.done && op.ret == 0);
    assert_true(closed.came);
    assert_int_equal(closed.kind, MAIL_NONE);
    assert_int_equal(block.closed, 1);
}

static void a_description_tells_what_is_in_force(void **state)
{
    (void)state;
    block.facts.alignment = 4096;
    block.facts.can = DRIVER_CAN_DISCARD | DRIVER_CAN_FLUSH;
    block_open();
    const Sluice__NodeInfo *info = rig_describe(block.node);
    assert_string_equal(info->name, "b");
    assert_string_equal(info->driver, "block");
    assert_int_equal(info->length, LENGTH);
    assert_int_equal(info->alignment, 4096);
    assert_false(info->read_only);
    assert_int_equal(info->max_transfer, 0x7ffff000);
    assert_int_equal(info->n_can, 2);
    assert_string_equal(info->can[0], "discard");
    assert_string_equal(info->can[1], "flush");
    assert_int_equal(info->n_options, 1);
    assert_string_equal(info->options[0]->key, "flavour");
    assert_string_equal(info->options[0]->value, "vanilla");
    rig_close(block.node);
}

static void facts_survive_the_way_through_a_message(void **state)
{
    (void)state;
    struct driver_facts facts = {.length = -5,
                                 .alignment = 512,
                                 .max_transfer = 1 << 20,
                                 .optimal_transfer = 4096,
                                 .max_vector = 7,
                                 .read_only = true,
                                 .can = CAN_ALL},
                        back;
    Sluice__NodeFacts message;
    node_facts_to_message(&facts, &message);
    node_facts_from_message(&message, &back);
    assert_int_equal(back.length, -5);
    assert_int_equal(back.alignment, 512);
    assert_int_equal(back.max_transfer, 1 << 20);
    assert_int_equal(back.optimal_transfer, 4096);
    assert_int_equal(back.max_vector, 7);
    assert_true(back.read_only);
    assert_int_equal(back.can, CAN_ALL);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        BLOCK_TEST(an_open_is_answered_when_the_driver_is_open),
        BLOCK_TEST(a_close_during_the_open_waits_for_it),
        BLOCK_TEST(a_failed_open_is_told_and_leaves_nothing_to_close),
        BLOCK_TEST(a_close_waits_for_what_is_in_flight_and_lets_nothing_new_in),
        BLOCK_TEST(a_description_tells_what_is_in_force),
        BLOCK_TEST(facts_survive_the_way_through_a_message),
    };
    while (rig_next_seed(12))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
