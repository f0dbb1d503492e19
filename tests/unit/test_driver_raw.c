/* The raw driver: a window of a child. The child is a memory node unless told otherwise. */
#include "node_rig.h"

static actor_addr child;

static actor_addr open_window(const char *options)
{
    child = rig_open("c", "memory", 0, "size=1M");
    return rig_open("w", "raw", child, options);
}

static void close_window(actor_addr window)
{
    rig_close(window);
    rig_close(child);
}

static int64_t length_of(actor_addr node)
{
    return (int64_t)rig_describe(node)->length;
}

static void fill_child(void)
{
    unsigned char *data = malloc(1 << 20);
    for (int i = 0; i < 1 << 20; i++)
        data[i] = (unsigned char)(i / 1000);
    assert_int_equal(rig_io(child, OP_WRITE, 0, data, 1 << 20, 0), 0);
    free(data);
}

static void requests_are_moved_by_the_offset(void **state)
{
    (void)state;
    char data[1000];
    actor_addr window = open_window("offset=3000 size=5000");
    assert_int_equal(rig.facts.length, 5000);
    fill_child();
    assert_int_equal(rig_io(window, OP_READ, 1000, data, 1000, 0), 0);
    assert_true(rig_all(data, 1000, 4));
    memset(data, 'w', 1000);
    assert_int_equal(rig_io(window, OP_WRITE, 4000, data, 1000, 0), 0);
    assert_int_equal(rig_io(window, OP_ZEROES, 0, NULL, 1000, 0), 0);
    assert_int_equal(rig_io(window, OP_DISCARD, 2000, NULL, 1000, 0), 0);
    assert_int_equal(rig_io(window, OP_FLUSH, 0, NULL, 0, 0), 0);
    static const unsigned char expected[] = {2, 0, 4, 0, 6, 'w', 8};
    for (int i = 0; i < 7; i++) {
        assert_int_equal(rig_io(child, OP_READ, 2000 + 1000 * i, data, 1000, 0), 0);
        assert_true(rig_all(data, 1000, expected[i]));
    }
    close_window(window);
}

static void requests_end_at_the_window_s_end(void **state)
{
    (void)state;
    char data[1000] = "";
    actor_addr window = open_window("offset=3000 size=5000");
    assert_int_equal(rig_io(window, OP_READ, 4001, data, 1000, 0), -EIO);
    assert_int_equal(rig_io(window, OP_WRITE, -1000, data, 1000, 0), -EIO);
    assert_int_equal(rig_io(window, OP_WRITE, 4001, data, 1000, OP_BEYOND_END), -EIO);
    assert_int_equal(rig_io(window, OP_TRUNCATE, 6000, NULL, 0, 0), -ENOTSUP);
    memset(data, 'x', 1000);
    assert_int_equal(rig_io(window, OP_READ, 4900, data, 200, OP_BEYOND_END), 0);
    assert_true(rig_all(data, 200, 0));
    close_window(window);
}

static void a_window_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    actor_addr node = rig_open("c", "memory", 0, "size=1M");
    assert_int_equal(rig_try("w", "raw", node, "offset=1048577"), 0);
    assert_string_equal(rig.err.field, "offset");
    assert_string_equal(rig.err.text,
                        "node w: the window begins at 1048577, beyond the child's end "
                        "at 1048576; give a smaller offset");
    rig_close(node);

    node = rig_open("c", "memory", 0, "size=1M");
    assert_int_equal(rig_try("w", "raw", node, "offset=1K size=1M"), 0);
    assert_string_equal(rig.err.field, "size");
    rig_close(node);
    node = rig_open("c", "memory", 0, "size=1M");
    actor_addr window = rig_open("w", "raw", node, "offset=1M");
    assert_int_equal(rig.facts.length, 0);
    rig_close(window);
    rig_close(node);
}

static void without_a_size_it_follows_the_child_s_length(void **state)
{
    (void)state;
    actor_addr window = open_window("offset=1000");
    assert_int_equal(rig.facts.length, (1 << 20) - 1000);
    assert_int_equal(rig_io(child, OP_TRUNCATE, 5000, NULL, 0, 0), 0);
    rig_run();
    assert_int_equal(length_of(window), 4000);
    assert_int_equal(rig_io(child, OP_TRUNCATE, 500, NULL, 0, 0), 0);
    rig_run();
    assert_int_equal(length_of(window), 0);
    close_window(window);
}

static void with_a_size_a_child_that_shrinks_cuts_it_short(void **state)
{
    (void)state;
    actor_addr window = open_window("offset=1000 size=2000");
    assert_int_equal(rig_io(child, OP_TRUNCATE, 1500, NULL, 0, 0), 0);
    rig_run();
    assert_int_equal(length_of(window), 500);
    assert_int_equal(rig_io(child, OP_TRUNCATE, 9000, NULL, 0, 0), 0);
    rig_run();
    assert_int_equal(length_of(window), 2000);
    close_window(window);
}

static void a_resize_goes_through_and_is_known_when_it_ends(void **state)
{
    (void)state;
    char data[10] = "123456789";
    actor_addr window = open_window("offset=1000");
    assert_int_equal(rig_io(window, OP_TRUNCATE, 5000, NULL, 0, 0), 0);
    assert_int_equal(length_of(child), 6000);
    assert_int_equal(length_of(window), 5000);
    assert_int_equal(rig_io(window, OP_WRITE, 4995, data, 10, OP_BEYOND_END), 0);
    assert_int_equal(rig_io(window, OP_READ, 4995, data, 10, 0), 0);
    assert_int_equal(length_of(child), 6005);
    assert_int_equal(rig_io(window, OP_TRUNCATE, INT64_MAX, NULL, 0, 0), -EFBIG);
    close_window(window);
}

static void windows_stand_on_windows_and_changes_reach_the_top(void **state)
{
    (void)state;
    unsigned char byte = 'q', back = 0;
    actor_addr nodes[7];
    nodes[0] = rig_open("c", "memory", 0, "size=1000");
    for (int i = 1; i < 7; i++)
        nodes[i] = rig_open("w", "raw", nodes[i - 1], "offset=10");
    assert_int_equal(rig.facts.length, 940);
    assert_int_equal(rig_io(nodes[6], OP_WRITE, 5, &byte, 1, 0), 0);
    assert_int_equal(rig_io(nodes[0], OP_READ, 65, &back, 1, 0), 0);
    assert_int_equal(back, 'q');

    rig_watch(nodes[6], true);
    assert_int_equal(rig_io(nodes[0], OP_TRUNCATE, 2000, NULL, 0, 0), 0);
    rig_run();
    assert_int_equal(rig.told, 1);
    assert_int_equal(rig.change.length, 1940);

    /* From above too, where the window knows before the child tells. */
    assert_int_equal(rig_io(nodes[6], OP_TRUNCATE, 1000, NULL, 0, 0), 0);
    rig_run();
    assert_int_equal(rig.told, 2);
    assert_int_equal(rig.change.length, 1000);

    rig_watch(nodes[6], false);
    assert_int_equal(rig_io(nodes[0], OP_TRUNCATE, 3000, NULL, 0, 0), 0);
    rig_run();
    assert_int_equal(rig.told, 2);
    for (int i = 6; i >= 0; i--)
        rig_close(nodes[i]);
}

static void it_stands_on_a_child_and_others_do_not(void **state)
{
    (void)state;
    assert_int_equal(rig_try("w", "raw", 0, ""), 0);
    assert_string_equal(rig.err.field, "child");
    actor_addr node = rig_open("c", "memory", 0, "size=1M");
    assert_int_equal(rig_try("w", "null", node, ""), 0);
    assert_string_equal(rig.err.field, "child");
    rig_close(node);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        RIG_TEST(requests_are_moved_by_the_offset),
        RIG_TEST(requests_end_at_the_window_s_end),
        RIG_TEST(a_window_that_does_not_fit_is_refused),
        RIG_TEST(without_a_size_it_follows_the_child_s_length),
        RIG_TEST(with_a_size_a_child_that_shrinks_cuts_it_short),
        RIG_TEST(a_resize_goes_through_and_is_known_when_it_ends),
        RIG_TEST(windows_stand_on_windows_and_changes_reach_the_top),
        RIG_TEST(it_stands_on_a_child_and_others_do_not),
    };
    while (rig_next_seed(6))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
