/* The overlay driver, and copy-on-read on it. Two layers of memory, of which the backing is full of
 * letters, or mocks that tell what they were sent. */
#include "node_rig.h"

#include "engine/random.h"

#define KIB   1024
#define BLOCK (64 * KIB)
#define MIB   (1 << 20)

static actor_addr backing, child, overlay;

/* A child of 1 MiB on a backing of so many bytes, each 'b'. */
static void build(uint64_t backing_bytes, const char *options)
{
    char text[40];
    snprintf(text, sizeof text, "size=%lu", (unsigned long)backing_bytes);
    backing = rig_open("b", "memory", 0, text);
    rig_fill(backing, 0, backing_bytes, 'b', 0);
    child = rig_open("c", "memory", 0, "size=1M");
    rig_fill(child, 0, MIB, 'g', 0); /* garbage of an earlier life */
    overlay = rig_open_over("o", "overlay", child, backing, options);
}

static void build_mocks(const char *backing_options, const char *child_options)
{
    backing = rig_open("b", "mock", 0, backing_options);
    child = rig_open("c", "mock", 0, child_options);
    overlay = rig_open_over("o", "overlay", child, backing, "");
}

static void tear_down(void)
{
    rig_close(overlay);
    rig_close(child);
    rig_close(backing);
}

static void expect(int64_t offset, uint64_t bytes, uint64_t run, unsigned bits)
{
    int64_t ret = rig_io(overlay, OP_STATUS, offset, NULL, bytes, 0);
    if (ret != op_status(run, bits))
        fail_msg("%ld+%lu is %ld bytes of %x", (long)offset, (unsigned long)bytes,
                 (long)op_status_run(ret), op_status_bits(ret));
}

/* Bytes that are the overlay's own. */
static const char *own(void)
{
    const Sluice__NodeInfo *info = rig_describe(overlay);
    return info->state[0]->value;
}

/* --- Content */

static void what_was_not_written_comes_from_the_backing_which_stays(void **state)
{
    (void)state;
    build(MIB, "");
    assert_int_equal(rig.facts.length, MIB);
    assert_true(rig_reads_as(overlay, 0, MIB, 'b'));
    rig_fill(overlay, 2 * BLOCK - 10, 20, 'w', 0);
    assert_true(rig_reads_as(overlay, 0, 2 * BLOCK - 10, 'b'));
    assert_true(rig_reads_as(overlay, 2 * BLOCK - 10, 20, 'w'));
    assert_true(rig_reads_as(overlay, 2 * BLOCK + 10, MIB - 2 * BLOCK - 10, 'b'));
    assert_true(rig_reads_as(backing, 0, MIB, 'b'));
    assert_true(rig_reads_as(child, 0, BLOCK, 'g'));
    assert_string_equal(own(), "131072");
    tear_down();
}

static void only_a_part_of_a_block_is_copied_up_and_only_once(void **state)
{
    (void)state;
    build_mocks("size=1M", "size=1M");
    rig_fill(overlay, BLOCK, 2 * BLOCK, 'w', 0);
    assert_string_equal(rig_sent(backing), "");
    assert_string_equal(rig_sent(child), "write 65536+131072");
    rig_fill(overlay, BLOCK + 100, 100, 'w', 0);
    rig_fill(overlay, 3 * BLOCK + 100, 100, 'w', 0);
    rig_fill(overlay, 3 * BLOCK + 200, 100, 'w', 0);
    rig_fill(overlay, 5 * BLOCK - 1, 2 * BLOCK + 2, 'w', 0); /* a byte, two blocks, a byte */
    assert_string_equal(rig_sent(backing), "read 196608+65536, read 262144+65536, "
                                           "read 458752+65536");
    assert_string_equal(rig_sent(child), "write 65536+131072, write 65636+100, "
                                         "write 196608+65536, write 196808+100, "
                                         "write 262144+65536, write 327680+131072, "
                                         "write 458752+65536");
    tear_down();
}

static void blocks_are_as_large_as_told(void **state)
{
    (void)state;
    build(MIB, "block=4K");
    rig_fill(overlay, 100, 1, 'w', 0);
    assert_string_equal(own(), "4096");
    tear_down();
}

static void vectors_are_cut_where_the_source_changes(void **state)
{
    (void)state;
    static char data[3][100 * KIB];
    struct rig_op op;
    build(MIB, "");
    for (int i = 0; i < 3; i++) {
        memset(data[i], '0' + i, sizeof data[i]);
        op.iov[i] = (struct iovec){data[i], sizeof data[i]};
    }
    assert_int_equal(rig_io_v(&op, overlay, OP_WRITE, 70000, 3, 0), 0);
    for (int i = 0; i < 3; i++)
        assert_true(rig_reads_as(overlay, 70000 + i * 100 * KIB, 100 * KIB, (char)('0' + i)));
    assert_int_equal(rig_io(overlay, OP_ZEROES, 2 * BLOCK, NULL, BLOCK, 0), 0);
    for (int i = 0; i < 3; i++)
        memset(data[i], '.', sizeof data[i]);
    assert_int_equal(rig_io_v(&op, overlay, OP_READ, 10, 3, 0), 0);
    const char *all = data[0];
    assert_true(rig_all(all, 69990, 'b'));
    assert_true(rig_all(all + 69990, 2 * BLOCK - 70000, '0'));
    assert_true(rig_all(all + 2 * BLOCK - 10, BLOCK, 0));
    assert_true(rig_all(all + 3 * BLOCK - 10, 70000 + 200 * KIB - 3 * BLOCK, '1'));
    assert_true(rig_all(all + 69990 + 200 * KIB, 100 * KIB - 69990, '2'));
    tear_down();
}

static void behind_a_short_backing_it_is_zeroes(void **state)
{
    (void)state;
    build(BLOCK + 1000, "");
    assert_true(rig_reads_as(overlay, 0, BLOCK + 1000, 'b'));
    assert_true(rig_reads_as(overlay, BLOCK + 1000, MIB - BLOCK - 1000, 0));
    rig_fill(overlay, BLOCK + 2000, 10, 'w', 0);
    rig_fill(overlay, 3 * BLOCK + 2000, 10, 'w', 0);
    assert_true(rig_reads_as(overlay, BLOCK, 1000, 'b'));
    assert_true(rig_reads_as(overlay, BLOCK + 1000, 1000, 0));
    assert_true(rig_reads_as(overlay, BLOCK + 2000, 10, 'w'));
    assert_true(rig_reads_as(overlay, BLOCK + 2010, 2 * BLOCK - 10, 0));
    assert_true(rig_reads_as(overlay, 3 * BLOCK + 2010, BLOCK, 0));
    tear_down();
}

static void zeroes_and_discards_make_blocks_its_own(void **state)
{
    (void)state;
    build(MIB, "");
    assert_int_equal(rig_io(overlay, OP_ZEROES, BLOCK - 10, NULL, BLOCK + 20, 0), 0);
    assert_true(rig_reads_as(overlay, 0, BLOCK - 10, 'b'));
    assert_true(rig_reads_as(overlay, BLOCK - 10, BLOCK + 20, 0));
    assert_true(rig_reads_as(overlay, 2 * BLOCK + 10, BLOCK, 'b'));
    assert_string_equal(own(), "196608");
    assert_int_equal(rig_io(overlay, OP_DISCARD, 5 * BLOCK - 10, NULL, BLOCK + 20, 0), 0);
    assert_true(rig_reads_as(overlay, 4 * BLOCK, BLOCK, 'b'));
    assert_true(rig_reads_as(overlay, 5 * BLOCK, BLOCK, 0));
    assert_true(rig_reads_as(overlay, 6 * BLOCK, BLOCK, 'b'));
    assert_int_equal(rig_io(overlay, OP_DISCARD, 7 * BLOCK + 1, NULL, BLOCK, 0), 0);
    assert_true(rig_reads_as(overlay, 7 * BLOCK, 2 * BLOCK, 'b'));
    assert_int_equal(rig_io(overlay, OP_DISCARD, 9 * BLOCK, NULL, 7 * BLOCK, 0), 0);
    assert_true(rig_reads_as(overlay, 9 * BLOCK, 7 * BLOCK, 0));
    tear_down();
}

static void flags_and_flushes_go_to_the_child(void **state)
{
    (void)state;
    char data[512] = "";
    build_mocks("size=1M", "size=1M");
    assert_int_equal(rig_io(overlay, OP_WRITE, 100, data, 512, OP_FUA), 0);
    assert_int_equal(rig_io(overlay, OP_ZEROES, BLOCK, NULL, BLOCK + 10, OP_FUA | OP_MAY_UNMAP), 0);
    assert_int_equal(rig_io(overlay, OP_FLUSH, 0, NULL, 0, 0), 0);
    assert_string_equal(rig_sent(child), "write 0+65536 fua, zeroes 65536+65536 fua unmap, "
                                         "write 131072+65536 fua, flush 0+0");
    assert_int_equal(rig_io(overlay, OP_IOCTL, 0, NULL, 0, 0), -ENOTSUP);
    tear_down();
    build_mocks("size=1M", "size=1M can=flush");
    assert_int_equal(rig_io(overlay, OP_ZEROES, 0, NULL, BLOCK, OP_NO_FALLBACK), -ENOTSUP);
    assert_int_equal(rig_io(overlay, OP_DISCARD, 0, NULL, BLOCK, 0), -ENOTSUP);
    assert_int_equal(rig_io(overlay, OP_TRUNCATE, 0, NULL, 0, 0), -ENOTSUP);
    assert_int_equal(rig_io(overlay, OP_WRITE, 0, data, 512, OP_FUA), 0);
    assert_string_equal(rig_sent(child), "write 0+65536, flush 0+0");
    tear_down();
}

/* --- What a range is */

static void its_status_tells_what_is_its_own(void **state)
{
    (void)state;
    build_mocks("size=768K zero=128K+64K", "size=1M zero=256K+64K");
    expect(0, MIB, 128 * KIB, OP_STATUS_DATA);
    expect(128 * KIB, BLOCK, BLOCK, OP_STATUS_ZERO);
    rig_fill(overlay, 64 * KIB, 4 * BLOCK, 'w', 0);
    expect(0, MIB, 64 * KIB, OP_STATUS_DATA);
    expect(64 * KIB + 10, BLOCK * 8, 3 * BLOCK - 10, OP_STATUS_DATA | OP_STATUS_ALLOCATED);
    expect(256 * KIB, BLOCK * 8, BLOCK, OP_STATUS_ZERO | OP_STATUS_ALLOCATED);
    expect(320 * KIB, 704 * KIB, 448 * KIB, OP_STATUS_DATA);
    expect(768 * KIB, BLOCK, BLOCK, OP_STATUS_ZERO);
    assert_int_equal(rig_set(child, "error", "5"), 0);
    assert_int_equal(rig_io(overlay, OP_STATUS, 64 * KIB, NULL, 1, 0), -EIO);
    tear_down();
}

/* --- Lengths */

static void what_a_shrink_cut_off_does_not_come_back(void **state)
{
    (void)state;
    build(MIB, "");
    rig_fill(overlay, 3 * BLOCK, BLOCK, 'w', 0);
    assert_int_equal(rig_io(overlay, OP_TRUNCATE, BLOCK + 100, NULL, 0, 0), 0);
    assert_int_equal(rig_describe(overlay)->length, BLOCK + 100);
    assert_string_equal(own(), "0");
    assert_int_equal(rig_io(overlay, OP_TRUNCATE, MIB, NULL, 0, 0), 0);
    assert_true(rig_reads_as(overlay, 0, BLOCK + 100, 'b'));
    assert_true(rig_reads_as(overlay, BLOCK + 100, MIB - BLOCK - 100, 0));
    expect(2 * BLOCK, BLOCK, BLOCK, OP_STATUS_ZERO | OP_STATUS_ALLOCATED);
    rig_fill(overlay, BLOCK + 200, 1, 'w', 0);
    assert_true(rig_reads_as(overlay, BLOCK, 100, 'b'));
    assert_true(rig_reads_as(overlay, BLOCK + 100, 100, 0));
    tear_down();
}

static void it_grows_over_a_longer_backing_with_zeroes(void **state)
{
    (void)state;
    char data[10] = "123456789";
    backing = rig_open("b", "memory", 0, "size=1M");
    rig_fill(backing, 0, MIB, 'b', 0);
    child = rig_open("c", "memory", 0, "size=100");
    overlay = rig_open_over("o", "overlay", child, backing, "");
    assert_int_equal(rig_io(overlay, OP_READ, 95, data, 10, 0), -EIO);
    assert_true(rig_reads_as(overlay, 0, 100, 'b'));
    assert_int_equal(rig_io(overlay, OP_WRITE, 95, data, 10, OP_BEYOND_END), 0);
    assert_int_equal(rig_describe(overlay)->length, 105);
    assert_true(rig_reads_as(overlay, 0, 95, 'b'));
    assert_int_equal(rig_io(overlay, OP_WRITE, 3 * BLOCK + 5, data, 10, OP_BEYOND_END), 0);
    assert_true(rig_reads_as(overlay, 105, 3 * BLOCK - 100, 0));
    assert_int_equal(rig_io(overlay, OP_ZEROES, 4 * BLOCK, NULL, 2 * BLOCK, OP_BEYOND_END), 0);
    assert_int_equal(rig_io(overlay, OP_TRUNCATE, MIB, NULL, 0, 0), 0);
    assert_true(rig_reads_as(overlay, 3 * BLOCK + 15, MIB - 3 * BLOCK - 15, 0));
    assert_int_equal(rig_io(overlay, OP_TRUNCATE, INT64_MAX, NULL, 0, 0), -EFBIG);
    tear_down();
}

static void it_follows_its_child_s_length(void **state)
{
    (void)state;
    build(MIB, "");
    assert_int_equal(rig_io(child, OP_TRUNCATE, BLOCK, NULL, 0, 0), 0);
    rig_run();
    assert_int_equal(rig_describe(overlay)->length, BLOCK);
    assert_int_equal(rig_io(backing, OP_TRUNCATE, 1000, NULL, 0, 0), 0);
    rig_run();
    assert_true(rig_reads_as(overlay, 0, 1000, 'b'));
    assert_true(rig_reads_as(overlay, 1000, BLOCK - 1000, 0));
    tear_down();
}

/* --- Emptying */

static void emptied_it_shows_the_backing_again(void **state)
{
    (void)state;
    build(MIB, "");
    rig_fill(overlay, 0, 3 * BLOCK, 'w', 0);
    assert_int_equal(rig_io(overlay, OP_TRUNCATE, BLOCK, NULL, 0, 0), 0);
    assert_int_equal(rig_io(overlay, OP_TRUNCATE, MIB, NULL, 0, 0), 0);
    assert_int_equal(rig_io(overlay, OP_MAKE_EMPTY, 0, NULL, 0, 0), 0);
    assert_string_equal(own(), "0");
    assert_true(rig_reads_as(overlay, 0, MIB, 'b'));
    /* Its room was given back. */
    int64_t ret = rig_io(child, OP_STATUS, 0, NULL, MIB, 0);
    assert_int_equal(ret, op_status(MIB, OP_STATUS_ZERO | OP_STATUS_ALLOCATED));
    rig_fill(overlay, 5, 1, 'w', 0);
    assert_true(rig_reads_as(overlay, 0, 5, 'b'));
    assert_int_equal(rig_io(backing, OP_MAKE_EMPTY, 0, NULL, 0, 0), -ENOTSUP);
    tear_down();
}

static void it_is_emptied_although_the_child_keeps_its_room(void **state)
{
    (void)state;
    build_mocks("size=1M", "size=1M");
    rig_fill(overlay, 0, BLOCK, 'w', 0);
    assert_int_equal(rig_set(child, "error", "5"), 0);
    assert_int_equal(rig_io(overlay, OP_MAKE_EMPTY, 0, NULL, 0, 0), 0);
    assert_string_equal(own(), "0");
    assert_int_equal(rig_set(child, "read-only", "on"), 0);
    assert_int_equal(rig_io(overlay, OP_MAKE_EMPTY, 0, NULL, 0, 0), -EPERM);
    tear_down();
}

static void emptying_waits_for_all_before_it_and_all_after_wait_for_it(void **state)
{
    (void)state;
    struct rig_op reader, writers[2], emptier, status;
    static char got[BLOCK], data[BLOCK];
    build_mocks("size=1M", "size=1M");
    rig_fill(overlay, 0, BLOCK, 'w', 0);
    assert_int_equal(rig_set(child, "hold", "on"), 0);
    rig_start(&reader, overlay, OP_READ, 0, got, BLOCK, 0);
    rig_run();
    rig_start(&emptier, overlay, OP_MAKE_EMPTY, 0, NULL, 0, 0);
    rig_run();
    for (int i = 0; i < 2; i++)
        rig_start(&writers[i], overlay, OP_WRITE, 10 + 100 * i, data, 10, 0);
    rig_start(&status, overlay, OP_STATUS, 0, NULL, MIB, 0);
    rig_run();
    assert_string_equal(rig_sent(child), "write 0+65536, read 0+65536");
    assert_false(emptier.done || status.done);
    assert_int_equal(rig_set(child, "release", "1"), 0);
    assert_true(reader.done);
    assert_string_equal(rig_sent(child), "write 0+65536, read 0+65536, discard 0+1048576");
    assert_int_equal(rig_set(child, "hold", "off"), 0);
    rig_until(&emptier.done);
    for (int i = 0; i < 2; i++)
        rig_until(&writers[i].done);
    rig_until(&status.done);
    /* The writes came to a block that had been its own, and one had to copy it up all the same. */
    const char *copy = strstr(rig_sent(backing), "read 0+65536");
    assert_non_null(copy);
    assert_null(strstr(copy + 1, "read 0+65536"));
    tear_down();
}

/* --- Order */

static void writes_to_one_block_wait_for_its_copy(void **state)
{
    (void)state;
    struct rig_op ops[4];
    static char data[4][BLOCK];
    build_mocks("size=1M hold=on", "size=1M");
    for (int i = 0; i < 3; i++)
        rig_start(&ops[i], overlay, OP_WRITE, 1000 * i, data[i], 100, 0);
    rig_start(&ops[3], overlay, OP_WRITE, BLOCK, data[3], BLOCK, 0);
    rig_until(&ops[3].done);
    assert_string_equal(rig_sent(backing), "read 0+65536");
    assert_int_equal(rig_set(backing, "hold", "off"), 0);
    for (int i = 0; i < 3; i++) {
        rig_until(&ops[i].done);
        assert_int_equal(ops[i].ret, 0);
    }
    assert_string_equal(rig_sent(backing), "read 0+65536");
    const char *sent = rig_sent(child);
    assert_non_null(strstr(sent, "write 0+65536"));
    assert_int_equal(strlen(sent), strlen("write 65536+65536, write 0+65536, write 1000+100, "
                                          "write 2000+100"));
    tear_down();
}

struct change {
    struct rig_op op;
    char data[3 * BLOCK];
    char got[3 * BLOCK];
};

/* Many at once, each in a place of its own, most of which share blocks: none may be lost. */
static void none_of_many_writes_at_once_is_lost(void **state)
{
    (void)state;
    static struct change changes[24];
    static char model[MIB];
    uint64_t random = 5;
    for (int round = 0; round < 4; round++) {
        build(MIB - 30 * KIB, "");
        memset(model, 'b', MIB - 30 * KIB);
        memset(model + MIB - 30 * KIB, 0, 30 * KIB);
        actor_addr top = round & 1 ? rig_open("r", "copy-on-read", overlay, "") : overlay;
        for (int turn = 0; turn < 3; turn++) {
            uint64_t at = 0;
            unsigned n = 0;
            for (; n < 24 && at < MIB; n++) {
                struct change *change = &changes[n];
                enum op_kind kind = random_next(&random) % 3 == 0 ? OP_ZEROES : OP_WRITE;
                uint64_t bytes =
                    1 + random_next(&random) % (random_next(&random) % 4 ? 30000 : BLOCK * 2);
                if (bytes > MIB - at)
                    bytes = MIB - at;
                memset(change->data, 'A' + (int)(n % 26), bytes);
                memset(model + at, kind == OP_WRITE ? 'A' + (int)(n % 26) : 0, bytes);
                rig_start(&change->op, top, kind, (int64_t)at, change->data, bytes, 0);
                at += bytes + random_next(&random) % 40000;
            }
            struct rig_op read;
            rig_start(&read, top, OP_READ, (int64_t)(random_next(&random) % 1000), changes[23].got,
                      3 * BLOCK - 1000, 0); /* it may see any of it; it must not harm it */
            for (unsigned i = 0; i < n; i++) {
                rig_until(&changes[i].op.done);
                assert_int_equal(changes[i].op.ret, 0);
            }
            rig_until(&read.done);
        }
        static char got[MIB];
        assert_int_equal(rig_io(top, OP_READ, 0, got, MIB, 0), 0);
        assert_memory_equal(got, model, MIB);
        assert_int_equal(rig_io(overlay, OP_READ, 0, got, MIB, 0), 0);
        assert_memory_equal(got, model, MIB);
        assert_true(rig_reads_as(backing, 0, MIB - 30 * KIB, 'b'));
        if (round & 1) {
            expect(0, MIB, MIB, OP_STATUS_DATA | OP_STATUS_ALLOCATED);
            rig_close(top);
        }
        tear_down();
    }
}

static void copy_on_read_fetches_each_block_once(void **state)
{
    (void)state;
    build_mocks("size=1M", "size=1M");
    actor_addr top = rig_open("r", "copy-on-read", overlay, "");
    char data[1000] = "";
    assert_int_equal(rig_io(top, OP_READ, 100, data, 1000, 0), 0);
    assert_int_equal(rig_io(top, OP_READ, 5000, data, 1000, 0), 0);
    assert_string_equal(rig_sent(backing), "status 100+1000, status 100+1000, read 100+1000, "
                                           "read 0+65536");
    assert_string_equal(own(), "65536");
    rig_close(top);
    tear_down();
}

/* --- Failures */

static void a_copy_that_fails_leaves_the_block_as_it_was(void **state)
{
    (void)state;
    static const char *const rules[2][2] = {{"read errno=EIO once", ""},
                                            {"", "write errno=ENOSPC once"}};
    for (int i = 0; i < 2; i++) {
        struct rig_op ops[2];
        char data[2][100] = {"one", "two"};
        backing = rig_open("b", "memory", 0, "size=1M");
        rig_fill(backing, 0, MIB, 'b', 0);
        child = rig_open("c", "memory", 0, "size=1M");
        actor_addr below = rig_open("bf", "fault", backing, "");
        actor_addr beside = rig_open("cf", "fault", child, "");
        overlay = rig_open_over("o", "overlay", beside, below, "");
        assert_int_equal(rig_set(below, "rules", rules[i][0]), 0);
        assert_int_equal(rig_set(beside, "rules", rules[i][1]), 0);
        rig_start(&ops[0], overlay, OP_WRITE, BLOCK + 10, data[0], 100, 0);
        rig_run();
        rig_start(&ops[1], overlay, OP_WRITE, BLOCK + 500, data[1], 100, 0);
        rig_until(&ops[0].done);
        rig_until(&ops[1].done);
        assert_int_equal(ops[0].ret, i ? -ENOSPC : -EIO);
        assert_int_equal(ops[1].ret, 0);
        assert_true(rig_reads_as(overlay, BLOCK, 500, 'b'));
        rig_close(overlay);
        rig_close(beside);
        rig_close(below);
        rig_close(child);
        rig_close(backing);
    }
}

static void a_write_that_fails_in_the_middle_has_done_what_came_before(void **state)
{
    (void)state;
    build_mocks("size=1M", "size=1M");
    assert_int_equal(rig_set(backing, "error", "5"), 0);
    char data[100] = "";
    static char long_one[2 * BLOCK];
    assert_int_equal(rig_io(overlay, OP_WRITE, 0, data, 100, 0), -EIO);
    assert_string_equal(own(), "0");
    assert_int_equal(rig_io(overlay, OP_WRITE, 0, long_one, BLOCK + 1, 0), -EIO);
    assert_string_equal(own(), "65536");
    assert_int_equal(rig_io(overlay, OP_READ, 0, long_one, 2 * BLOCK, 0), -EIO);
    assert_int_equal(rig_io(overlay, OP_READ, 0, long_one, BLOCK, 0), 0);
    assert_int_equal(rig_set(child, "error", "28"), 0);
    assert_int_equal(rig_io(overlay, OP_WRITE, BLOCK, long_one, BLOCK, 0), -ENOSPC);
    assert_string_equal(own(), "65536");
    assert_int_equal(rig_io(overlay, OP_TRUNCATE, BLOCK, NULL, 0, 0), -ENOSPC);
    tear_down();
}

static void what_waits_ends_when_it_is_cancelled_or_time_is_up(void **state)
{
    (void)state;
    struct rig_op ops[4];
    char data[4][100] = {""};
    build_mocks("size=1M hold=on cancel=off", "size=1M");
    for (int i = 0; i < 4; i++) {
        rig_start(&ops[i], overlay, OP_WRITE, 200 * i, data[i], 100, 0);
        rig_run();
    }
    rig_cancel(&ops[2], overlay);
    assert_true(ops[2].done && !ops[3].done);
    assert_int_equal(ops[2].ret, -ECANCELED);
    rig_cancel(&ops[0], overlay); /* it fetches, which does not end early: it ends after that */
    assert_false(ops[0].done);
    assert_int_equal(rig_set(backing, "release", "1"), 0);
    assert_true(ops[0].done);
    assert_int_equal(ops[0].ret, -ECANCELED);
    rig_tell(overlay, MAIL_ABORT, NULL);
    rig_run();
    assert_true(ops[3].done && !ops[1].done);
    assert_int_equal(ops[3].ret, -ESHUTDOWN);
    assert_int_equal(rig_set(backing, "hold", "off"), 0);
    rig_until(&ops[1].done);
    tear_down();
}

/* --- Opening */

static void it_needs_a_backing_and_others_do_not(void **state)
{
    (void)state;
    child = rig_open("c", "memory", 0, "size=1M");
    backing = rig_open("b", "mock", 0, "size=1M");
    assert_int_equal(rig_try_over("o", "overlay", child, 0, ""), 0);
    assert_string_equal(rig.err.field, "backing");
    assert_int_equal(rig_try_over("o", "overlay", 0, backing, ""), 0);
    assert_string_equal(rig.err.field, "child");
    assert_int_equal(rig_try_over("o", "raw", child, backing, ""), 0);
    assert_string_equal(rig.err.field, "backing");
    assert_int_equal(rig_try_over("o", "overlay", child, backing, "block=5000"), 0);
    assert_string_equal(rig.err.field, "block");
    assert_int_equal(rig_set(backing, "length-error", "110"), 0);
    assert_int_equal(rig_try_over("o", "overlay", child, backing, ""), 0);
    assert_string_equal(rig.err.field, "backing");
    assert_int_equal(rig.err.code, -ETIMEDOUT);
    rig_close(backing);
    backing = rig_open("b", "memory", 0, "size=9223372036854775807");
    assert_int_equal(rig_try_over("o", "overlay", backing, child, ""), 0);
    assert_string_equal(rig.err.field, "block");
    assert_int_equal(rig.err.code, -EFBIG);
    assert_int_equal(rig_try_over("o", "overlay", child, backing + 1000, ""), 0);
    assert_int_equal(rig.err.code, -ENXIO);
    rig_close(child);
    rig_close(backing);
}

static void it_changes_its_child_only_and_lets_nobody_else(void **state)
{
    (void)state;
    const struct driver *driver = driver_find("overlay");
    struct driver_perms above = {PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL};
    struct driver_perms perms = driver->needs(EDGE_BACKING, above);
    assert_int_equal(perms.perm, PERM_CONSISTENT_READ);
    assert_int_equal(perms.shared, PERM_ALL);
    perms = driver->needs(EDGE_BACKING, (struct driver_perms){PERM_WRITE, PERM_CONSISTENT_READ});
    assert_false(perms.shared & (PERM_WRITE | PERM_RESIZE));
    perms = driver->needs(EDGE_CHILD, above);
    assert_int_equal(perms.perm, PERM_CONSISTENT_READ | PERM_WRITE);
    assert_false(perms.shared & (PERM_WRITE | PERM_WRITE_UNCHANGED | PERM_RESIZE));
    perms = driver->needs(EDGE_CHILD, (struct driver_perms){PERM_WRITE_UNCHANGED, PERM_ALL});
    assert_true(perms.perm & PERM_WRITE);
    perms = driver->needs(EDGE_CHILD, (struct driver_perms){0, PERM_ALL});
    assert_int_equal(perms.perm, 0);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        RIG_TEST(what_was_not_written_comes_from_the_backing_which_stays),
        RIG_TEST(only_a_part_of_a_block_is_copied_up_and_only_once),
        RIG_TEST(blocks_are_as_large_as_told),
        RIG_TEST(vectors_are_cut_where_the_source_changes),
        RIG_TEST(behind_a_short_backing_it_is_zeroes),
        RIG_TEST(zeroes_and_discards_make_blocks_its_own),
        RIG_TEST(flags_and_flushes_go_to_the_child),
        RIG_TEST(its_status_tells_what_is_its_own),
        RIG_TEST(what_a_shrink_cut_off_does_not_come_back),
        RIG_TEST(it_grows_over_a_longer_backing_with_zeroes),
        RIG_TEST(it_follows_its_child_s_length),
        RIG_TEST(emptied_it_shows_the_backing_again),
        RIG_TEST(it_is_emptied_although_the_child_keeps_its_room),
        RIG_TEST(emptying_waits_for_all_before_it_and_all_after_wait_for_it),
        RIG_TEST(writes_to_one_block_wait_for_its_copy),
        RIG_TEST(none_of_many_writes_at_once_is_lost),
        RIG_TEST(copy_on_read_fetches_each_block_once),
        RIG_TEST(a_copy_that_fails_leaves_the_block_as_it_was),
        RIG_TEST(a_write_that_fails_in_the_middle_has_done_what_came_before),
        RIG_TEST(what_waits_ends_when_it_is_cancelled_or_time_is_up),
        RIG_TEST(it_needs_a_backing_and_others_do_not),
        cmocka_unit_test(it_changes_its_child_only_and_lets_nobody_else),
    };
    while (rig_next_seed(6))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
