/* What ranges are (OP_STATUS): each driver's answer, and the node's for those that have none. */
#include "node_rig.h"

#include <fcntl.h>
#include <unistd.h>

#define KIB   1024
#define PAGE  (64 * KIB)
#define DATA  OP_STATUS_DATA
#define ZERO  OP_STATUS_ZERO
#define ALLOC OP_STATUS_ALLOCATED

/* The beginning of the range is a run of so many bytes with these bits. */
static void expect(actor_addr node, int64_t offset, uint64_t bytes, uint64_t run, unsigned bits)
{
    int64_t ret = rig_io(node, OP_STATUS, offset, NULL, bytes, 0);
    if (ret != op_status(run, bits))
        fail_msg("%ld+%lu is %lu bytes of %x, not %lu of %x", (long)offset, (unsigned long)bytes,
                 (unsigned long)op_status_run(ret), op_status_bits(ret), (unsigned long)run, bits);
}

static void of_a_driver_that_cannot_tell_all_is_data_and_allocated(void **state)
{
    (void)state;
    actor_addr node = rig_open("n", "mock", 0, "size=1M zero=0+1M can=discard alignment=4096");
    expect(node, 0, 1 << 20, 1 << 20, DATA | ALLOC);
    expect(node, 4095, 10, 10, DATA | ALLOC);
    rig_close(node);
}

static void the_range_is_checked_as_a_read_s(void **state)
{
    (void)state;
    actor_addr node = rig_open("n", "null", 0, "size=1M");
    assert_int_equal(rig_io(node, OP_STATUS, -1, NULL, 10, 0), -EIO);
    assert_int_equal(rig_io(node, OP_STATUS, 0, NULL, (1 << 20) + 1, 0), -EIO);
    assert_int_equal(rig_io(node, OP_STATUS, (1 << 20) - 5, NULL, 10, OP_BEYOND_END), -EIO);
    assert_int_equal(rig_io(node, OP_STATUS, 1 << 20, NULL, 0, 0), 0);
    rig_close(node);
    node = rig_open("n", "mock", 0, "length-error=123");
    assert_int_equal(rig_io(node, OP_STATUS, 0, NULL, 10, 0), -123);
    rig_close(node);
    node = rig_open("n", "mock", 0, "size=1M error=5");
    assert_int_equal(rig_io(node, OP_STATUS, 0, NULL, 10, 0), -EIO);
    rig_close(node);
}

static void a_driver_with_an_alignment_is_asked_of_whole_blocks(void **state)
{
    (void)state;
    actor_addr node = rig_open("n", "mock", 0, "size=1M alignment=4096 zero=8K+8K");
    expect(node, 100, 10, 10, DATA | ALLOC);
    expect(node, 100, 1 << 19, 8 * KIB - 100, DATA | ALLOC);
    expect(node, 9 * KIB, 100 * KIB, 7 * KIB, ZERO | ALLOC);
    expect(node, 9 * KIB, 1, 1, ZERO | ALLOC);
    const Sluice__NodeInfo *info = rig_describe(node);
    assert_string_equal(info->state[1]->value, "status 0+4096");
    assert_string_equal(info->state[2]->value, "status 0+528384");
    assert_string_equal(info->state[4]->value, "status 8192+4096");
    rig_close(node);
}

static void null_is_zeroes_when_it_reads_so(void **state)
{
    (void)state;
    actor_addr node = rig_open("n", "null", 0, "size=1G");
    expect(node, 0, 1 << 30, 1 << 30, DATA | ALLOC);
    rig_close(node);
    node = rig_open("n", "null", 0, "size=1G read-zeroes=on latency=1ms");
    struct rig_op op;
    rig_start(&op, node, OP_STATUS, 5, NULL, 100, 0);
    rig_run();
    assert_false(op.done);
    rig_advance(NS_PER_MS);
    assert_true(op.done);
    assert_int_equal(op.ret, op_status(100, ZERO | ALLOC));
    rig_close(node);
}

static void memory_tells_the_pages_that_it_keeps(void **state)
{
    (void)state;
    actor_addr node = rig_open("m", "memory", 0, "size=1M");
    expect(node, 0, 1 << 20, 1 << 20, ZERO | ALLOC);
    rig_fill(node, 3 * PAGE + 5, PAGE, 'x', 0);
    expect(node, 10, 1 << 19, 3 * PAGE - 10, ZERO | ALLOC);
    expect(node, 10, 100, 100, ZERO | ALLOC);
    expect(node, 3 * PAGE, 1 << 19, 2 * PAGE, DATA | ALLOC);
    expect(node, 4 * PAGE + 7, PAGE, PAGE - 7, DATA | ALLOC);
    expect(node, 4 * PAGE + 7, 9, 9, DATA | ALLOC);
    expect(node, 5 * PAGE, 1 << 19, 1 << 19, ZERO | ALLOC);
    assert_int_equal(rig_io(node, OP_DISCARD, 0, NULL, 1 << 20, 0), 0);
    expect(node, 0, 1 << 20, 1 << 20, ZERO | ALLOC);
    rig_close(node);
}

static void the_largest_memory_is_looked_through_quickly(void **state)
{
    (void)state;
    int64_t far = INT64_C(1) << 50;
    actor_addr node = rig_open("m", "memory", 0, "size=9223372036854775807");
    uint64_t run = op_status_run(rig_io(node, OP_STATUS, 0, NULL, INT64_MAX, 0));
    assert_true(run > INT64_C(1) << 59 && run <= OP_STATUS_RUN);
    rig_fill(node, far, 1, 'x', 0);
    rig_fill(node, 0, 1, 'x', 0);
    expect(node, 0, INT64_MAX, PAGE, DATA | ALLOC);
    expect(node, PAGE, INT64_MAX - PAGE, (uint64_t)far - PAGE, ZERO | ALLOC);
    expect(node, far, PAGE + 1, PAGE, DATA | ALLOC);
    rig_close(node);
}

static void a_file_tells_its_holes(void **state)
{
    (void)state;
    char path[] = "/var/tmp/sluice-status-XXXXXX", options[100], data[PAGE];
    int fd = mkstemp(path);
    memset(data, 'x', sizeof data);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(pwrite(fd, data, PAGE, 4 * PAGE), PAGE);
    if (lseek(fd, 0, SEEK_DATA) != 4 * PAGE) {
        close(fd);
        unlink(path);
        skip(); /* this file system keeps no holes */
    }
    for (int direct = 0; direct < 2; direct++) {
        snprintf(options, sizeof options, "filename=%s direct=%s", path, direct ? "on" : "off");
        actor_addr node = rig_try("f", "file", 0, options);
        if (!node && direct)
            break; /* not everywhere */
        assert_true(node);
        expect(node, 0, 1 << 20, 4 * PAGE, ZERO | ALLOC);
        expect(node, 100, 10, 10, ZERO | ALLOC);
        expect(node, 4 * PAGE, 1 << 19, PAGE, DATA | ALLOC);
        expect(node, 4 * PAGE + 9, 90, 90, DATA | ALLOC);
        expect(node, 5 * PAGE, 11 * PAGE, 11 * PAGE, ZERO | ALLOC);
        rig_close(node);
    }
    close(fd);
    unlink(path);
}

static void raw_asks_for_what_lies_behind_its_window(void **state)
{
    (void)state;
    actor_addr child = rig_open("c", "memory", 0, "size=1M");
    actor_addr node = rig_open("w", "raw", child, "offset=1000 size=500K");
    rig_fill(child, PAGE, PAGE, 'x', 0);
    expect(node, 0, 500 * KIB, PAGE - 1000, ZERO | ALLOC);
    expect(node, PAGE - 1000, 400 * KIB, PAGE, DATA | ALLOC);
    assert_int_equal(rig_io(node, OP_STATUS, 500 * KIB, NULL, 1, 0), -EIO);
    rig_close(node);
    rig_close(child);
}

static void raw_moves_no_code_of_an_ioctl_and_no_place_in_vm_state(void **state)
{
    (void)state;
    char data[8] = "machine", got[8];
    actor_addr child = rig_open("c", "mock", 0, "size=1M");
    actor_addr node = rig_open("w", "raw", child, "offset=1000");
    assert_int_equal(rig_io(node, OP_SAVE_VMSTATE, 65528, data, 8, 0), 0);
    assert_int_equal(rig_io(child, OP_LOAD_VMSTATE, 65528, got, 8, 0), 0);
    rig_io(node, OP_IOCTL, 7, NULL, 0, 0);
    const Sluice__NodeInfo *info = rig_describe(child);
    assert_string_equal(info->state[1]->value, "save-vmstate 65528+8");
    assert_string_equal(info->state[3]->value, "ioctl 7+0");
    rig_close(node);
    rig_close(child);
}

static void fault_passes_it_on_or_makes_it_fail(void **state)
{
    (void)state;
    actor_addr child = rig_open("c", "mock", 0, "size=1M zero=0+4K unallocated=8K+4K");
    actor_addr node = rig_open("f", "fault", child, "");
    expect(node, 0, 1 << 20, 4 * KIB, ZERO | ALLOC);
    expect(node, 4 * KIB, 1 << 19, 4 * KIB, DATA | ALLOC);
    expect(node, 8 * KIB, 1 << 19, 4 * KIB, DATA);
    rig_close(node);
    node = rig_open("f", "fault", child, "rules=status;read");
    assert_int_equal(rig_io(node, OP_STATUS, 0, NULL, 10, 0), -EIO);
    rig_close(node);
    rig_close(child);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        RIG_TEST(of_a_driver_that_cannot_tell_all_is_data_and_allocated),
        RIG_TEST(the_range_is_checked_as_a_read_s),
        RIG_TEST(a_driver_with_an_alignment_is_asked_of_whole_blocks),
        RIG_TEST(null_is_zeroes_when_it_reads_so),
        RIG_TEST(memory_tells_the_pages_that_it_keeps),
        RIG_TEST(the_largest_memory_is_looked_through_quickly),
        RIG_TEST(a_file_tells_its_holes),
        RIG_TEST(raw_asks_for_what_lies_behind_its_window),
        RIG_TEST(raw_moves_no_code_of_an_ioctl_and_no_place_in_vm_state),
        RIG_TEST(fault_passes_it_on_or_makes_it_fail),
    };
    while (rig_next_seed(6))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
