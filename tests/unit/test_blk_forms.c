/* The public interface's requests, synchronous and asynchronous: each reaches the driver as what it
 * was asked for, with all of its data. With real threads. See test_blk.c for what they return. */
#include "api_rig.h"

/* Whether the mock was sent this, word for word. */
static void assert_sent(const struct rig *rig, const char *what)
{
    char *reply, *error, told[80];
    worked(sluice_request(rig->context, "node-show node", &reply, &error), &error);
    snprintf(told, sizeof told, "\"%s\"", what);
    if (!strstr(reply, told))
        fail_msg("it was not sent \"%s\": %s", what, reply);
    free(reply);
}

static char data[4096];
static const struct iovec parts[3] = {{data, 512}, {data + 512, 1024}, {data + 1536, 2560}};

static void each_synchronous_form_reaches_the_driver_as_what_it_is(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M");
    blk *blk = rig.blk;
    assert_int_equal(blk_pread(blk, 1024, 512, data, 0), 512);
    assert_sent(&rig, "read 1024+512");
    assert_int_equal(blk_pwrite(blk, 2048, 512, data, 0), 512);
    assert_sent(&rig, "write 2048+512");
    assert_int_equal(blk_preadv(blk, 4096, parts, 3, 0), 4096);
    assert_sent(&rig, "read 4096+4096");
    assert_int_equal(blk_pwritev(blk, 8192, parts, 3, BLK_FUA), 4096);
    assert_sent(&rig, "write 8192+4096 fua");
    assert_int_equal(blk_pwrite_zeroes(blk, 16384, 1024, 0), 0);
    assert_sent(&rig, "zeroes 16384+1024");
    assert_int_equal(blk_pwrite_zeroes(blk, 20480, 1024, BLK_MAY_UNMAP), 0);
    assert_sent(&rig, "zeroes 20480+1024 unmap");
    assert_int_equal(blk_pdiscard(blk, 32768, 2048), 0);
    assert_sent(&rig, "discard 32768+2048");
    assert_int_equal(blk_ioctl(blk, 0xfedcba98, data, 8), 0);
    assert_sent(&rig, "ioctl 4275878552+8");
    assert_int_equal(blk_flush(blk), 0);
    assert_sent(&rig, "flush 0+0");
    assert_int_equal(blk_truncate(blk, 65536, BLK_PREALLOC_OFF), 0);
    assert_sent(&rig, "truncate 65536+0");
    rig_close(&rig);
}

static void each_asynchronous_form_reaches_the_driver_as_what_it_is(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M");
    struct tally tally = {0};
    blk *blk = rig.blk;
    assert_int_equal(blk_aio_pread(blk, 1024, 512, data, 0, count, &tally), 0);
    assert_int_equal(blk_aio_pwrite(blk, 2048, 512, data, 0, count, &tally), 0);
    assert_int_equal(blk_aio_preadv(blk, 4096, parts, 3, 0, count, &tally), 0);
    assert_int_equal(blk_aio_pwritev(blk, 8192, parts, 3, BLK_FUA, count, &tally), 0);
    assert_int_equal(blk_aio_pwrite_zeroes(blk, 16384, 1024, 0, count, &tally), 0);
    assert_int_equal(blk_aio_pwrite_zeroes(blk, 20480, 1024, BLK_MAY_UNMAP, count, &tally), 0);
    assert_int_equal(blk_aio_pdiscard(blk, 32768, 2048, count, &tally), 0);
    assert_int_equal(blk_aio_ioctl(blk, 0xfedcba98, data, 8, count, &tally), 0);
    assert_int_equal(blk_aio_flush(blk, count, &tally), 0);
    assert_int_equal(blk_aio_truncate(blk, 65536, BLK_PREALLOC_OFF, count, &tally), 0);
    reap(rig.context, &tally.calls, 10);
    assert_int_equal(tally.ret, 0);
    assert_sent(&rig, "read 1024+512");
    assert_sent(&rig, "write 2048+512");
    assert_sent(&rig, "read 4096+4096");
    assert_sent(&rig, "write 8192+4096 fua");
    assert_sent(&rig, "zeroes 16384+1024");
    assert_sent(&rig, "zeroes 20480+1024 unmap");
    assert_sent(&rig, "discard 32768+2048");
    assert_sent(&rig, "ioctl 4275878552+8");
    assert_sent(&rig, "flush 0+0");
    assert_sent(&rig, "truncate 65536+0");
    rig_close(&rig);
}

/* Each entry of a vector, and the last byte of each request. */
static void asynchronous_forms_move_all_of_their_data(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    struct tally tally = {0};
    char got[3][4096] = {{0}};
    const struct iovec in[3] = {{got[2], 1}, {got[2] + 1, 4000}, {got[2] + 4001, 95}};
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (char)(1 + i * 7 + i / 256);
    assert_int_equal(blk_aio_pwrite(rig.blk, 0, 4096, data, 0, count, &tally), 0);
    assert_int_equal(blk_aio_pwritev(rig.blk, 4096, parts, 3, 0, count, &tally), 0);
    reap(rig.context, &tally.calls, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(blk_aio_pread(rig.blk, i * 4096, 4096, got[i], 0, count, &tally), 0);
        reap(rig.context, &tally.calls, 3 + i);
        assert_memory_equal(got[i], data, 4096);
    }
    assert_int_equal(blk_aio_preadv(rig.blk, 4096, in, 3, 0, count, &tally), 0);
    reap(rig.context, &tally.calls, 5);
    assert_int_equal(tally.ret, 0);
    assert_memory_equal(got[2], data, 4096);
    rig_close(&rig);
}

static void the_write_cache_is_turned_off_and_on_again(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(blk_set_enable_write_cache(rig.blk, false), 0);
        assert_int_equal(blk_enable_write_cache(rig.blk), 0);
        assert_int_equal(blk_pwrite(rig.blk, i * 1024, 512, data, 0), 512);
        assert_sent(&rig, i ? "write 1024+512 fua" : "write 0+512 fua");
        assert_int_equal(blk_set_enable_write_cache(rig.blk, true), 0);
        assert_int_equal(blk_enable_write_cache(rig.blk), 1);
        assert_int_equal(blk_pwrite(rig.blk, i * 1024 + 512, 512, data, 0), 512);
        assert_sent(&rig, i ? "write 1536+512" : "write 512+512");
    }
    rig_close(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(each_synchronous_form_reaches_the_driver_as_what_it_is),
        TEST(each_asynchronous_form_reaches_the_driver_as_what_it_is),
        TEST(asynchronous_forms_move_all_of_their_data),
        TEST(the_write_cache_is_turned_off_and_on_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
