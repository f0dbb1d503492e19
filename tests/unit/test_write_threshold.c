/* The write-threshold filter, on the rig: the test is the graph that events go to. */
#include "node_rig.h"

#define KIB 1024

static actor_addr memory, filter;
static unsigned told;
static char event[200];

static void on_mail(const struct mail *mail)
{
    assert_int_equal(mail->kind, MAIL_EMIT);
    const Sluice__Event *came = ((const Sluice__Emit *)mail->body)->event;
    assert_int_equal(came->body_case, SLUICE__EVENT__BODY_BLOCK_WRITE_THRESHOLD);
    assert_string_equal(came->source_kind, "node");
    assert_string_equal(came->source, "w");
    const Sluice__WriteThresholdEvent *body = came->block_write_threshold;
    told++;
    snprintf(event, sizeof event, "%s %lu+%lu", body->node, (unsigned long)body->threshold,
             (unsigned long)body->exceeded);
}

static void build(const char *options)
{
    rig_world.graph = rig_address();
    rig_on_mail(on_mail);
    told = 0;
    event[0] = '\0';
    memory = rig_open("m", "memory", 0, "size=1M");
    filter = rig_open("w", "write-threshold", memory, options);
}

static void tear_down(void)
{
    rig_close(filter);
    rig_close(memory);
}

static int set(const char *value)
{
    return rig_set(filter, "threshold", value);
}

static void do_op(enum op_kind kind, int64_t offset, uint64_t bytes)
{
    char data[4 * KIB] = "";
    assert_int_equal(rig_io(filter, kind, offset, data, bytes, 0), 0);
    rig_run();
}

static void the_first_write_beyond_it_is_told_and_no_other(void **state)
{
    (void)state;
    build("threshold=64K");
    do_op(OP_WRITE, 60 * KIB, 4 * KIB);
    assert_int_equal(told, 0);
    do_op(OP_WRITE, 61 * KIB, 4 * KIB);
    assert_string_equal(event, "w 65536+1024");
    do_op(OP_WRITE, 100 * KIB, 4 * KIB);
    assert_int_equal(told, 1);
    tear_down();
}

static void zeroes_write_but_reads_and_discards_do_not(void **state)
{
    (void)state;
    build("threshold=64K");
    do_op(OP_READ, 100 * KIB, KIB);
    do_op(OP_DISCARD, 100 * KIB, KIB);
    do_op(OP_STATUS, 1000 * KIB, 0);
    do_op(OP_FLUSH, 0, 0);
    assert_int_equal(told, 0);
    do_op(OP_ZEROES, 0, 65 * KIB);
    assert_string_equal(event, "w 65536+1024");
    tear_down();
}

static void it_is_off_until_it_is_set_again(void **state)
{
    (void)state;
    build("");
    do_op(OP_WRITE, 1000 * KIB, KIB);
    assert_string_equal(rig_describe(filter)->state[0]->value, "off");
    assert_int_equal(set("64K"), 0);
    assert_string_equal(rig_describe(filter)->state[0]->value, "65536");
    assert_int_equal(told, 0);
    do_op(OP_WRITE, 64 * KIB, 1);
    assert_string_equal(event, "w 65536+1");
    assert_string_equal(rig_describe(filter)->state[0]->value, "off");
    assert_int_equal(set("64K"), 0);
    do_op(OP_WRITE, 64 * KIB, 2);
    assert_string_equal(event, "w 65536+2");
    assert_int_equal(set("0"), 0);
    do_op(OP_WRITE, 64 * KIB, 2);
    assert_int_equal(told, 2);
    assert_int_equal(set("-1"), -EINVAL);
    tear_down();
}

static void all_else_goes_on_to_the_child(void **state)
{
    (void)state;
    char got[4];
    build("threshold=1K");
    assert_int_equal(rig_io(filter, OP_WRITE, 2000, "data", 4, 0), 0);
    assert_int_equal(rig_io(memory, OP_READ, 2000, got, 4, 0), 0);
    assert_memory_equal(got, "data", 4);
    assert_int_equal(rig_io(filter, OP_TRUNCATE, 2 << 20, NULL, 0, 0), 0);
    assert_int_equal(rig_describe(filter)->length, 2 << 20);
    assert_int_equal(rig_io(filter, OP_WRITE, 2 << 20, "data", 4, OP_BEYOND_END), 0);
    assert_int_equal(rig_describe(filter)->length, (2 << 20) + 4);
    int64_t ret = rig_io(filter, OP_STATUS, 100 * KIB, NULL, 10, 0);
    assert_int_equal(ret, op_status(10, OP_STATUS_ZERO | OP_STATUS_ALLOCATED));
    tear_down();
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        RIG_TEST(the_first_write_beyond_it_is_told_and_no_other),
        RIG_TEST(zeroes_write_but_reads_and_discards_do_not),
        RIG_TEST(it_is_off_until_it_is_set_again),
        RIG_TEST(all_else_goes_on_to_the_child),
    };
    while (rig_next_seed(6))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
