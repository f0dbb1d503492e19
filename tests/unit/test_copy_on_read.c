/* The copy-on-read filter on a mock, which tells what it was sent; on real layers see
 * test_driver_overlay.c. */
#include "node_rig.h"

#define KIB  1024
#define MIB  (1 << 20)
#define PART (64 * KIB)

static actor_addr mock, filter;

static void build(const char *options)
{
    char all[200];
    snprintf(all, sizeof all, "size=4M unallocated=64K+64K %s", options);
    mock = rig_open("m", "mock", 0, all);
    filter = rig_open("c", "copy-on-read", mock, "");
}

static void tear_down(void)
{
    rig_close(filter);
    rig_close(mock);
}

static void set(actor_addr node, const char *key, const char *value)
{
    assert_int_equal(rig_set(node, key, value), 0);
}

static const char *sent(void)
{
    return rig_sent(mock);
}

static int64_t read_at(int64_t offset, uint64_t bytes)
{
    char *data = calloc(1, bytes);
    int64_t ret = rig_io(filter, OP_READ, offset, data, bytes, 0);
    free(data);
    return ret;
}

static void what_is_not_allocated_is_copied_before_the_read_goes_on(void **state)
{
    (void)state;
    build("");
    assert_int_equal(read_at(0, 3 * PART), 0);
    assert_string_equal(sent(), "status 0+196608, status 65536+131072, status 65536+131072, "
                                "read 65536+65536, write 65536+65536, status 131072+65536, "
                                "read 0+196608");
    tear_down();
}

static void what_is_allocated_is_only_read(void **state)
{
    (void)state;
    build("");
    assert_int_equal(read_at(2 * PART, 100), 0);
    assert_string_equal(sent(), "status 131072+100, read 131072+100");
    tear_down();
}

static void zeroes_are_copied_as_zeroes(void **state)
{
    (void)state;
    build("zero=64K+32K");
    assert_int_equal(read_at(PART, PART), 0);
    assert_string_equal(sent(), "status 65536+65536, status 65536+65536, zeroes 65536+32768, "
                                "status 98304+32768, read 98304+32768, write 98304+32768, "
                                "read 65536+65536");
    tear_down();
}

static void a_long_copy_goes_in_parts(void **state)
{
    (void)state;
    build("");
    set(mock, "unallocated", "0+4M");
    assert_int_equal(read_at(0, 2 * MIB + 5), 0);
    assert_string_equal(sent(), "status 0+2097157, status 0+2097157, "
                                "read 0+1048576, write 0+1048576, status 1048576+1048581, "
                                "read 1048576+1048576, write 1048576+1048576, status 2097152+5, "
                                "read 2097152+5, write 2097152+5, read 0+2097157");
    tear_down();
}

static void a_child_that_cannot_tell_is_not_asked(void **state)
{
    (void)state;
    build("can=flush");
    assert_int_equal(read_at(0, 3 * PART), 0);
    assert_string_equal(sent(), "read 0+196608");
    tear_down();
}

static void one_that_became_read_only_is_only_read(void **state)
{
    (void)state;
    build("");
    set(mock, "read-only", "on");
    assert_int_equal(read_at(PART, PART), 0);
    assert_string_equal(sent(), "read 65536+65536");
    tear_down();
    mock = rig_open("m", "mock", 0, "read-only=on");
    assert_int_equal(rig_try("c", "copy-on-read", mock, ""), 0);
    assert_string_equal(rig.err.field, "child");
    assert_int_equal(rig.err.code, -EPERM);
    rig_close(mock);
}

/* Lets one completion of the mock go. */
static void let(unsigned total)
{
    char text[20];
    snprintf(text, sizeof text, "%u", total);
    set(mock, "release", text);
}

static void a_write_that_overlaps_a_copy_comes_after_it(void **state)
{
    (void)state;
    static const enum op_kind kinds[] = {OP_WRITE, OP_ZEROES, OP_DISCARD, OP_TRUNCATE};
    static const char *const last[] = {", write 66000+512", ", zeroes 66000+512",
                                       ", discard 66000+512", ", truncate 2097152+0"};
    for (int i = 0; i < 4; i++) {
        struct rig_op reader, near, far;
        char data[512] = "", other[512] = "", got[PART] = "";
        build("");
        set(mock, "hold", "on");
        rig_start(&reader, filter, OP_READ, PART, got, PART, 0);
        rig_run();
        let(1); /* what was asked; then it is asked again, alone */
        let(2);
        rig_start(&near, filter, kinds[i], kinds[i] == OP_TRUNCATE ? 2 * MIB : 66000, data,
                  kinds[i] == OP_TRUNCATE ? 0 : 512, 0);
        rig_start(&far, filter, OP_WRITE, 3 * PART, other, 512, 0);
        rig_run();
        const char *far_too = kinds[i] == OP_TRUNCATE ? "" : ", write 196608+512";
        char expected[400];
        snprintf(expected, sizeof expected,
                 "status 65536+65536, status 65536+65536, read 65536+65536%s", far_too);
        if (kinds[i] != OP_TRUNCATE)
            assert_string_equal(sent(), expected);
        let(4); /* the fetch, and the other write */
        assert_false(near.done);
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected),
                 ", write 65536+65536");
        if (kinds[i] != OP_TRUNCATE)
            assert_string_equal(sent(), expected);
        let(5);
        assert_non_null(strstr(sent(), last[i]));
        assert_true(strstr(sent(), last[i]) > strstr(sent(), "write 65536+65536"));
        set(mock, "hold", "off");
        rig_until(&near.done);
        rig_until(&reader.done);
        rig_until(&far.done);
        assert_int_equal(near.ret, 0);
        assert_int_equal(reader.ret, 0);
        tear_down();
    }
}

static void a_copy_waits_for_writes_before_it_and_looks_again(void **state)
{
    (void)state;
    struct rig_op reader, writer;
    char data[PART] = "", got[PART] = "";
    build("");
    set(mock, "hold", "on");
    rig_start(&writer, filter, OP_WRITE, PART, data, PART, 0);
    rig_run();
    rig_start(&reader, filter, OP_READ, PART, got, PART, 0);
    rig_run();
    assert_string_equal(sent(), "write 65536+65536, status 65536+65536");
    set(mock, "hold", "off"); /* the write ends first; it would have been allocated by it */
    rig_until(&writer.done);
    rig_until(&reader.done);
    assert_string_equal(sent(), "write 65536+65536, status 65536+65536, status 65536+65536, "
                                "read 65536+65536, write 65536+65536, read 65536+65536");
    tear_down();
}

static void two_reads_copy_one_after_the_other(void **state)
{
    (void)state;
    struct rig_op ops[2];
    char got[2][PART] = {{0}};
    build("");
    set(mock, "hold", "on");
    for (int i = 0; i < 2; i++)
        rig_start(&ops[i], filter, OP_READ, PART, got[i], PART, 0);
    rig_run();
    let(2);
    assert_string_equal(sent(), "status 65536+65536, status 65536+65536, status 65536+65536");
    set(mock, "unallocated", "");
    set(mock, "hold", "off");
    rig_until(&ops[0].done);
    rig_until(&ops[1].done);
    assert_null(strstr(sent(), "write"));
    tear_down();
}

static void a_copy_that_fails_ends_the_read_and_lets_others_go(void **state)
{
    (void)state;
    static const char *const rules[] = {"status errno=EIO once", "read errno=EIO once",
                                        "write errno=EIO once", "zeroes errno=EIO once"};
    for (int i = 0; i < 4; i++) {
        char data[100] = "";
        mock = rig_open("m", "mock", 0, i == 3 ? "unallocated=0+1G zero=0+1G" : "unallocated=0+1G");
        actor_addr fault = rig_open("f", "fault", mock, "");
        filter = rig_open("c", "copy-on-read", fault, "");
        set(fault, "rules", rules[i]);
        assert_int_equal(read_at(PART, PART), -EIO);
        assert_int_equal(rig_io(filter, OP_WRITE, PART, data, 100, 0), 0);
        assert_int_equal(read_at(PART, PART), 0);
        rig_close(filter);
        rig_close(fault);
        rig_close(mock);
    }
}

static void when_time_is_up_what_waits_ends(void **state)
{
    (void)state;
    struct rig_op reader, writer, second;
    char data[PART] = "", got[2][PART] = {{0}};
    build("");
    set(mock, "hold", "on");
    rig_start(&reader, filter, OP_READ, PART, got[0], PART, 0);
    rig_start(&second, filter, OP_READ, PART, got[1], PART, 0);
    rig_run();
    let(2);
    rig_start(&writer, filter, OP_WRITE, PART, data, PART, 0);
    rig_run();
    rig_tell(filter, MAIL_ABORT, NULL);
    rig_run();
    assert_true(writer.done && second.done && !reader.done);
    assert_int_equal(writer.ret, -ESHUTDOWN);
    assert_int_equal(second.ret, -ESHUTDOWN);
    set(mock, "hold", "off");
    rig_until(&reader.done);
    tear_down();
}

static void a_read_is_cancelled_while_it_waits_and_between_two_steps(void **state)
{
    (void)state;
    struct rig_op ops[2];
    char got[2][PART] = {{0}};
    build("");
    set(mock, "hold", "on");
    set(mock, "cancel", "off"); /* the step itself does not end early */
    for (int i = 0; i < 2; i++)
        rig_start(&ops[i], filter, OP_READ, PART, got[i], PART, 0);
    rig_run();
    let(2);
    let(3); /* the first one fetches, the second one waits for it */
    rig_cancel(&ops[1], filter);
    assert_true(ops[1].done);
    assert_int_equal(ops[1].ret, -ECANCELED);
    rig_cancel(&ops[0], filter);
    assert_false(ops[0].done);
    let(4);
    assert_true(ops[0].done);
    assert_int_equal(ops[0].ret, -ECANCELED);
    assert_null(strstr(sent(), "write"));
    assert_int_equal(rig_io(filter, OP_WRITE, 3 * PART, got[0], 0, 0), 0);
    set(mock, "hold", "off");
    assert_int_equal(rig_io(filter, OP_WRITE, PART, got[0], PART, 0), 0);
    tear_down();
}

static void a_write_is_cancelled_while_it_waits_and_by_the_child(void **state)
{
    (void)state;
    struct rig_op reader, waits, goes;
    char data[PART] = "", got[PART] = "";
    build("");
    set(mock, "hold", "on");
    rig_start(&reader, filter, OP_READ, PART, got, PART, 0);
    rig_start(&goes, filter, OP_WRITE, 3 * PART, data, PART, 0);
    rig_run();
    let(1);
    set(mock, "release", "1");
    rig_start(&waits, filter, OP_WRITE, PART, data, PART, 0);
    rig_run();
    rig_cancel(&goes, filter);
    rig_until(&goes.done);
    assert_int_equal(goes.ret, -ECANCELED);
    if (!waits.done)
        rig_cancel(&waits, filter);
    rig_until(&waits.done);
    assert_int_equal(waits.ret, -ECANCELED);
    set(mock, "hold", "off");
    rig_until(&reader.done);
    assert_int_equal(reader.ret, 0);
    tear_down();
}

static void resizes_are_known_when_they_end(void **state)
{
    (void)state;
    char data[512] = "";
    build("");
    assert_int_equal(rig_io(filter, OP_TRUNCATE, MIB, NULL, 0, 0), 0);
    assert_int_equal(rig_describe(filter)->length, MIB);
    assert_int_equal(rig_io(filter, OP_WRITE, MIB, data, 512, OP_BEYOND_END), 0);
    assert_int_equal(rig_describe(filter)->length, MIB + 512);
    tear_down();
}

static void it_needs_to_write_what_is_there_already(void **state)
{
    (void)state;
    const struct driver *driver = driver_find("copy-on-read");
    struct driver_perms perms = driver->needs(
        EDGE_CHILD, (struct driver_perms){PERM_CONSISTENT_READ, PERM_CONSISTENT_READ});
    assert_int_equal(perms.perm, PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED);
    assert_int_equal(perms.shared, PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        RIG_TEST(what_is_not_allocated_is_copied_before_the_read_goes_on),
        RIG_TEST(what_is_allocated_is_only_read),
        RIG_TEST(zeroes_are_copied_as_zeroes),
        RIG_TEST(a_long_copy_goes_in_parts),
        RIG_TEST(a_child_that_cannot_tell_is_not_asked),
        RIG_TEST(one_that_became_read_only_is_only_read),
        RIG_TEST(a_write_that_overlaps_a_copy_comes_after_it),
        RIG_TEST(a_copy_waits_for_writes_before_it_and_looks_again),
        RIG_TEST(two_reads_copy_one_after_the_other),
        RIG_TEST(a_copy_that_fails_ends_the_read_and_lets_others_go),
        RIG_TEST(when_time_is_up_what_waits_ends),
        RIG_TEST(a_read_is_cancelled_while_it_waits_and_between_two_steps),
        RIG_TEST(a_write_is_cancelled_while_it_waits_and_by_the_child),
        RIG_TEST(resizes_are_known_when_they_end),
        cmocka_unit_test(it_needs_to_write_what_is_there_already),
    };
    while (rig_next_seed(6))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
