/* The public interface's requests: results, refusals, callbacks, bounds, event loops. With real
 * threads; test_api.c has engines, test_contexts.c contexts. */
#include "api_rig.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>

#define MEDIUM (1 << 20)

static const char memory[] = "driver=memory size=1M";

/* --- Results */

static void the_synchronous_forms_return_counts_or_zero(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    char data[8192], got[8192];
    struct iovec out[2] = {{data, 5000}, {data + 5000, 3192}}, in[2] = {{got, 1}, {got + 1, 8191}};
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7 + i / 256);
    assert_int_equal(blk_pwrite(rig.blk, 100, sizeof data, data, 0), sizeof data);
    assert_int_equal(blk_pread(rig.blk, 100, sizeof got, got, 0), sizeof got);
    assert_memory_equal(data, got, sizeof got);
    memset(got, 0, sizeof got);
    assert_int_equal(blk_pwritev(rig.blk, 70001, out, 2, BLK_FUA), sizeof data);
    assert_int_equal(blk_preadv(rig.blk, 70001, in, 2, 0), sizeof got);
    assert_memory_equal(data, got, sizeof got);
    assert_int_equal(blk_flush(rig.blk), 0);
    assert_int_equal(blk_pwrite_zeroes(rig.blk, 70001, 4096, 0), 0);
    assert_int_equal(blk_pdiscard(rig.blk, 0, 65536), 0);
    assert_int_equal(blk_preadv(rig.blk, 70001, in, 2, 0), sizeof got);
    memset(data, 0, 4096);
    assert_memory_equal(data, got, sizeof got);
    assert_int_equal(blk_truncate(rig.blk, 100, BLK_PREALLOC_OFF), 0);
    assert_int_equal(blk_pread(rig.blk, 99, 1, got, 0), 1);
    assert_int_equal(blk_in_flight(rig.blk), 0);
    rig_close(&rig);
}

static void the_asynchronous_forms_call_back_once_with_zero(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    struct tally tally = {0};
    char data[4096] = "sluice", got[4096];
    struct iovec out = {data, sizeof data}, in = {got, sizeof got};
    blk *blk = rig.blk;
    assert_int_equal(blk_aio_pwrite(blk, 0, 4096, data, 0, count, &tally), 0);
    assert_int_equal(blk_aio_pwritev(blk, 4096, &out, 1, BLK_FUA, count, &tally), 0);
    assert_int_equal(blk_aio_flush(blk, count, &tally), 0);
    reap(rig.context, &tally.calls, 3);
    assert_int_equal(blk_aio_preadv(blk, 4096, &in, 1, 0, count, &tally), 0);
    assert_int_equal(blk_aio_pwrite_zeroes(blk, 0, 8, BLK_MAY_UNMAP, count, &tally), 0);
    reap(rig.context, &tally.calls, 5);
    assert_memory_equal(data, got, sizeof got);
    assert_int_equal(blk_aio_pread(blk, 0, 4096, got, 0, count, &tally), 0);
    assert_int_equal(blk_aio_pdiscard(blk, 65536, 65536, count, &tally), 0);
    assert_int_equal(blk_aio_truncate(blk, 8192, BLK_PREALLOC_OFF, count, &tally), 0);
    reap(rig.context, &tally.calls, 8);
    assert_int_equal(tally.ret, 0);
    assert_memory_equal(got, "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(blk_getlength(blk), 8192);
    assert_int_equal(blk_wait(rig.context, 0), 0);
    rig_close(&rig);
}

/* --- Refusals */

static void sizes_and_offsets_that_cannot_be_are_eio(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    static const struct {
        int64_t offset, bytes;
        int ret;
    } ranges[] = {
        {0, -1, -EIO},         {0, INT64_MIN, -EIO},  {0, (int64_t)INT32_MAX + 1, -EIO},
        {0, INT64_MAX, -EIO},  {-1, 1, -EIO},         {INT64_MIN, 1, -EIO},
        {INT64_MAX, 1, -EIO},  {MEDIUM - 1, 2, -EIO}, {MEDIUM, 1, -EIO},
        {MEDIUM + 1, 0, -EIO}, {MEDIUM, 0, 0},        {0, 0, 0},
        {-1, 0, -EIO},
    };
    char byte[2] = "x";
    for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        int64_t offset = ranges[i].offset, bytes = ranges[i].bytes;
        int ret = ranges[i].ret;
        struct tally tally = {0};
        assert_int_equal(blk_pread(rig.blk, offset, bytes, byte, 0), ret);
        assert_int_equal(blk_pwrite(rig.blk, offset, bytes, byte, 0), ret);
        assert_int_equal(blk_pwrite_zeroes(rig.blk, offset, bytes, 0), ret);
        assert_int_equal(blk_pdiscard(rig.blk, offset, bytes), ret);
        assert_int_equal(blk_aio_pwrite(rig.blk, offset, bytes, byte, 0, count, &tally), 0);
        reap(rig.context, &tally.calls, 1);
        assert_int_equal(tally.ret, ret);
    }
    rig_close(&rig);
}

static void vectors_have_0_to_iov_max_entries_and_a_length(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    static char data[IOV_MAX + 1], got[IOV_MAX + 1];
    struct iovec out[IOV_MAX + 1], in[IOV_MAX + 1];
    for (unsigned i = 0; i <= IOV_MAX; i++) {
        data[i] = (char)(i % 251);
        out[i] = (struct iovec){data + i, 1};
        in[i] = (struct iovec){got + IOV_MAX - i, 1};
    }
    assert_int_equal(blk_pwritev(rig.blk, 5, out, IOV_MAX, 0), IOV_MAX);
    assert_int_equal(blk_preadv(rig.blk, 5, in, IOV_MAX, 0), IOV_MAX);
    for (unsigned i = 0; i < IOV_MAX; i++)
        assert_int_equal(got[IOV_MAX - i], data[i]);
    assert_int_equal(blk_preadv(rig.blk, 0, NULL, 0, 0), 0);
    assert_int_equal(blk_preadv(rig.blk, MEDIUM + 1, NULL, 0, 0), -EIO);
    assert_int_equal(blk_pwritev(rig.blk, 0, out, IOV_MAX + 1, 0), -EINVAL);
    assert_int_equal(blk_preadv(rig.blk, 0, in, INT_MAX, 0), -EINVAL);
    assert_int_equal(blk_preadv(rig.blk, 0, in, -1, 0), -EINVAL);
    assert_int_equal(blk_preadv(rig.blk, 0, in, INT_MIN, 0), -EINVAL);

    struct iovec huge[3] = {{data, SIZE_MAX}, {data, 1}, {data, 1}};
    assert_int_equal(blk_preadv(rig.blk, 0, huge, 1, 0), -EIO);
    assert_int_equal(blk_preadv(rig.blk, 0, huge, 2, 0), -EIO); /* 0 bytes, were it to wrap */
    assert_int_equal(blk_pwritev(rig.blk, 0, huge, 3, 0), -EIO);
    huge[0].iov_len = INT64_MAX;
    assert_int_equal(blk_preadv(rig.blk, 0, huge, 1, 0), -EIO);
    assert_int_equal(blk_preadv(rig.blk, 0, huge, 2, 0), -EIO);
    huge[0].iov_len = INT32_MAX;
    assert_int_equal(blk_pwritev(rig.blk, 0, huge, 2, 0), -EIO);
    struct iovec nothing[2] = {{NULL, 0}, {NULL, 0}};
    assert_int_equal(blk_preadv(rig.blk, 0, nothing, 2, 0), 0);
    rig_close(&rig);
}

static void flags_that_a_call_does_not_take_are_refused(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    char data[512] = "";
    struct iovec iov[2] = {{data, 256}, {data + 256, 256}};
    const int all = BLK_FUA | BLK_MAY_UNMAP | BLK_NO_FALLBACK;
    assert_int_equal(blk_pread(rig.blk, 0, 512, data, BLK_FUA), -EINVAL);
    assert_int_equal(blk_preadv(rig.blk, 0, iov, 2, 1 << 20), -EINVAL);
    assert_int_equal(blk_pwrite(rig.blk, 0, 512, data, BLK_FUA), 512);
    assert_int_equal(blk_pwrite(rig.blk, 0, 512, data, BLK_WRITABLE), -EINVAL);
    assert_int_equal(blk_pwrite(rig.blk, 0, 512, data, BLK_MAY_UNMAP), -EINVAL);
    assert_int_equal(blk_pwritev(rig.blk, 0, iov, 2, -1), -EINVAL);
    assert_int_equal(blk_pwrite_zeroes(rig.blk, 0, 512, all), 0);
    assert_int_equal(blk_pwrite_zeroes(rig.blk, 0, 512, all | 1), -EINVAL);
    rig_close(&rig);
}

static void zeroes_without_fallback_are_refused_where_they_would_be_written(void **state)
{
    (void)state;
    static char path[] = "/tmp/sluice-blk.XXXXXX";
    char node[100], got[2] = "";
    int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, MEDIUM), 0);
    snprintf(node, sizeof node, "driver=file filename=%s", path);
    struct rig rig = rig_open(0, node);
    assert_int_equal(pwrite(fd, "xy", 2, 0), 2);
    int ret = blk_pwrite_zeroes(rig.blk, 0, 1, BLK_NO_FALLBACK);
    assert_true(ret == 0 || ret == -ENOTSUP);
    assert_int_equal(pread(fd, got, 1, 0), 1);
    assert_int_equal(got[0], ret ? 'x' : 0);
    assert_int_equal(blk_pwrite_zeroes(rig.blk, 0, 1, BLK_FUA), 0);
    assert_int_equal(pread(fd, got, 2, 0), 2);
    assert_memory_equal(got, "\0y", 2);
    rig_close(&rig);
    close(fd);
    unlink(path);
}

static void a_read_only_backend_refuses_what_changes_it(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    char byte = 0;
    request(rig.context, "backend-add name=frozen node=node read-only=on");
    blk *blk = open_blk(rig.context, "frozen", 0);
    assert_int_equal(blk_pread(blk, 0, 1, &byte, 0), 1);
    assert_int_equal(blk_pwrite(blk, 0, 1, &byte, 0), -EPERM);
    assert_int_equal(blk_pwrite_zeroes(blk, 0, 1, 0), -EPERM);
    assert_int_equal(blk_pdiscard(blk, 0, 1), -EPERM);
    assert_int_equal(blk_truncate(blk, 0, BLK_PREALLOC_OFF), -EACCES);
    assert_int_equal(blk_flush(blk), 0);
    blk_close(&blk);
    rig_close(&rig);
}

/* Without BLK_WRITABLE, a blk of a writable backend must not write either. */
static void a_blk_that_was_opened_for_reading_does_not_write(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    char byte = 'x';
    blk *blk = open_blk(rig.context, "disk", 0);
    assert_int_equal(blk_pwrite(blk, 0, 1, &byte, 0), -EPERM);
    assert_int_equal(blk_pwrite_zeroes(blk, 0, 1, 0), -EPERM);
    assert_int_equal(blk_pdiscard(blk, 0, 1), -EPERM);
    assert_int_equal(blk_truncate(blk, 0, BLK_PREALLOC_OFF), -EACCES);
    assert_int_equal(blk_flush(blk), 0);
    assert_int_equal(blk_pread(blk, 0, 1, &byte, 0), 1);
    assert_int_equal(byte, 0);
    rig_close(&rig);
}

/* --- Truncate */

static int64_t allocated(const char *path)
{
    struct stat of;
    assert_int_equal(stat(path, &of), 0);
    return of.st_blocks * 512;
}

static void a_truncate_reserves_space_as_it_was_asked(void **state)
{
    (void)state;
    static char path[] = "/tmp/sluice-blk.XXXXXX";
    char node[100];
    close(mkstemp(path));
    snprintf(node, sizeof node, "driver=file filename=%s", path);
    struct rig rig = rig_open(0, node);
    assert_int_equal(blk_truncate(rig.blk, MEDIUM, BLK_PREALLOC_OFF), 0);
    assert_int_equal(allocated(path), 0);
    assert_int_equal(blk_truncate(rig.blk, 2 * MEDIUM, BLK_PREALLOC_FULL), 0);
    assert_true(allocated(path) >= MEDIUM);
    assert_true(allocated(path) < 2 * MEDIUM);
    int ret = blk_truncate(rig.blk, 3 * MEDIUM, BLK_PREALLOC_FALLOC);
    if (ret != -ENOTSUP) { /* the file system of /tmp can't */
        assert_int_equal(ret, 0);
        assert_true(allocated(path) >= 2 * MEDIUM);
    }
    int64_t length = blk_getlength(rig.blk);
    assert_int_equal(blk_truncate(rig.blk, -1, BLK_PREALLOC_OFF), -EINVAL);
    assert_int_equal(blk_truncate(rig.blk, MEDIUM, BLK_PREALLOC_FULL), -EINVAL);
    assert_int_equal(blk_truncate(rig.blk, MEDIUM, (enum blk_prealloc)4), -EINVAL);
    assert_int_equal(blk_truncate(rig.blk, MEDIUM, (enum blk_prealloc) - 1), -EINVAL);
    assert_int_equal(blk_getlength(rig.blk), length);
    assert_int_equal(blk_truncate(rig.blk, 0, BLK_PREALLOC_OFF), 0);
    assert_int_equal(allocated(path), 0);
    assert_int_equal(blk_getlength(rig.blk), 0);
    ret = blk_truncate(rig.blk, MEDIUM, BLK_PREALLOC_METADATA);
    assert_true(ret == 0 || ret == -ENOTSUP);
    rig_close(&rig);
    unlink(path);
}

static void each_preallocation_reaches_the_driver_as_it_was_asked(void **state)
{
    static const char *const words[] = {
        [BLK_PREALLOC_OFF] = "+0\"",
        [BLK_PREALLOC_METADATA] = "+0 metadata\"",
        [BLK_PREALLOC_FALLOC] = "+0 falloc\"",
    };
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M");
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        char expected[80], *reply, *error;
        int64_t size = (int64_t)(i + 2) << 20;
        assert_int_equal(blk_truncate(rig.blk, size, (enum blk_prealloc)i), 0);
        worked(sluice_request(rig.context, "node-show node", &reply, &error), &error);
        snprintf(expected, sizeof expected, "\"truncate %lld%s", (long long)size, words[i]);
        if (!strstr(reply, expected))
            fail_msg("no %s in %s", expected, reply);
        free(reply);
    }
    rig_close(&rig);
}

/* --- Callbacks */

struct watched {
    bool submitting;
    unsigned calls, inside;
};

static void watch(void *opaque, int ret)
{
    struct watched *watched = opaque;
    (void)ret;
    watched->calls++;
    watched->inside += watched->submitting;
}

static void a_callback_never_runs_inside_the_submitting_call(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    struct watched watched = {0};
    char byte;
    struct iovec iov = {&byte, 1};
    for (unsigned i = 0; i < 300; i++) {
        watched.submitting = true;
        assert_int_equal(blk_aio_pread(rig.blk, 0, -1, &byte, 0, watch, &watched), 0);
        assert_int_equal(blk_aio_preadv(rig.blk, 0, &iov, -1, 0, watch, &watched), 0);
        assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, watch, &watched), 0);
        watched.submitting = false;
        assert_int_equal(watched.inside, 0);
        if (i % 3 == 0)
            blk_poll(rig.context);
    }
    reap(rig.context, &watched.calls, 900);
    assert_int_equal(watched.inside, 0);
    rig_close(&rig);
}

static void the_completion_of_an_early_failure_wakes_the_waiter(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    struct tally tally = {0};
    char byte;
    assert_int_equal(blk_aio_pread(rig.blk, 0, -1, &byte, 0, count, &tally), 0);
    assert_false(blk_arm(rig.context));
    assert_int_equal(blk_wait(rig.context, -1), 1);
    assert_int_equal(tally.ret, -EIO);
    rig_close(&rig);
}

struct chain {
    blk *blk;
    unsigned left, calls;
    int64_t bytes;
    char byte;
};

static void next(void *opaque, int ret)
{
    struct chain *chain = opaque;
    (void)ret;
    chain->calls++;
    if (!chain->left)
        return;
    chain->left--;
    assert_int_equal(blk_aio_pread(chain->blk, 0, chain->bytes, &chain->byte, 0, next, chain), 0);
}

static void a_callback_may_submit_the_next_request_at_any_depth(void **state)
{
    (void)state;
    for (unsigned depth = 1; depth <= 2; depth++)
        for (int64_t bytes = -1; bytes <= 1; bytes += 2) {
            struct rig rig = rig_open(depth, memory);
            struct chain chain = {.blk = rig.blk, .left = 1000, .bytes = bytes};
            for (unsigned i = 0; i < depth; i++)
                assert_int_equal(blk_aio_pread(rig.blk, 0, bytes, &chain.byte, 0, next, &chain), 0);
            unsigned most = bytes < 0 ? depth : UINT_MAX; /* one poll must not go on for ever */
            double end = now_s() + PATIENCE_S;
            while (blk_in_flight(rig.blk) && now_s() < end)
                assert_true(blk_poll(rig.context) <= most);
            assert_int_equal(chain.calls, 1000 + depth);
            rig_close(&rig);
        }
}

struct inner {
    blk_context *context;
    blk **blk;
    unsigned in_flight;
    int64_t got;
    char byte;
    struct tally tally;
};

static void read_inside(void *opaque, int ret)
{
    struct inner *inner = opaque;
    count(&inner->tally, ret);
    inner->in_flight = blk_in_flight(*inner->blk);
    inner->got = blk_pread(*inner->blk, 0, 1, &inner->byte, 0);
}

static void a_callback_may_wait_for_another_request(void **state)
{
    (void)state;
    struct rig rig = rig_open(1, memory);
    struct inner inner = {.context = rig.context, .blk = &rig.blk};
    char byte = 'x';
    assert_int_equal(blk_aio_pwrite(rig.blk, 0, 1, &byte, 0, read_inside, &inner), 0);
    reap(rig.context, &inner.tally.calls, 1);
    assert_int_equal(inner.in_flight, 1); /* itself */
    assert_int_equal(inner.got, 1);
    assert_int_equal(inner.byte, 'x');
    assert_int_equal(blk_in_flight(rig.blk), 0);
    rig_close(&rig);
}

static void close_inside(void *opaque, int ret)
{
    struct inner *inner = opaque;
    count(&inner->tally, ret);
    blk_close(inner->blk);
}

static void a_blk_closed_by_its_own_callback_waits_for_the_others_only(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    struct inner inner = {.context = rig.context, .blk = &rig.blk};
    struct tally others = {0};
    char byte;
    assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, close_inside, &inner), 0);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &others), 0);
    reap(rig.context, &inner.tally.calls, 1);
    assert_null(rig.blk);
    assert_int_equal(others.calls, 50);
    request(rig.context, "backend-remove name=disk");
    rig_close(&rig);
}

/* --- Bounds */

static void at_the_depth_a_request_is_refused_until_one_is_reaped(void **state)
{
    (void)state;
    struct rig rig = rig_open(4, "driver=null latency=20ms");
    blk *second = open_blk(rig.context, "disk", 0);
    struct tally tally = {0}, never = {0};
    char byte;
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 1; i <= 4; i++) {
            assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &tally), 0);
            assert_int_equal(blk_in_flight(rig.blk), i);
        }
        assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &never), -EAGAIN);
        assert_int_equal(blk_aio_flush(second, count, &never), -EAGAIN);
        assert_int_equal(blk_in_flight(rig.blk), 4);
        assert_int_equal(blk_pread(second, 0, 1, &byte, 0), 1); /* waits for a place */
        reap(rig.context, &tally.calls, 4 * round);
        assert_int_equal(blk_in_flight(rig.blk), 0);
    }
    assert_int_equal(never.calls, 0);
    rig_close(&rig);
}

static void closing_waits_for_what_is_outstanding(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null latency=20ms");
    struct tally tally = {0};
    char byte;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &tally), 0);
    blk_close(&rig.blk);
    assert_null(rig.blk);
    assert_int_equal(tally.calls, 10);
    blk *blk = open_blk(rig.context, "disk", 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(blk_aio_pread(blk, 0, 1, &byte, 0, count, &tally), 0);
    blk_context_close(&rig.context);
    assert_int_equal(tally.calls, 20);
    assert_int_equal(tally.ret, 0);
    rig_close(&rig);
}

/* --- Waiting */

static void waiting_ends_at_the_timeout_and_not_before(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null latency=1s");
    struct tally tally = {0};
    char byte;
    assert_int_equal(blk_wait(rig.context, 0), 0);
    assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &tally), 0);
    static const int timeouts[] = {0, 1, 50}; /* of the second that the request takes */
    for (unsigned i = 0; i < 3; i++) {
        double begun = now_s(), took;
        assert_int_equal(blk_wait(rig.context, timeouts[i]), 0);
        took = now_s() - begun;
        assert_true(took >= timeouts[i] / 1e3);
        assert_true(took < PATIENCE_S);
    }
    assert_int_equal(tally.calls, 0);
    reap(rig.context, &tally.calls, 1);
    rig_close(&rig);
}

/* Sleeps in poll(2) whenever there is nothing to do; a lost wake-up would sleep to the timeout. */
static void no_wake_up_is_lost_in_an_event_loop(void **state)
{
    (void)state;
    enum { REQUESTS = 100000 };
    struct rig rig = rig_open(0, memory);
    struct tally tally = {0};
    struct pollfd fd = {blk_context_fd(rig.context), POLLIN, 0};
    unsigned submitted = 0, slept = 0;
    char byte;
    while (tally.calls < REQUESTS) {
        unsigned depth = 1 + submitted % 7;
        while (submitted < REQUESTS && submitted - tally.calls < depth) {
            assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &tally), 0);
            submitted++;
        }
        if (blk_arm(rig.context)) {
            slept++;
            assert_int_equal(poll(&fd, 1, PATIENCE_S * 1000), 1);
        }
        blk_poll(rig.context);
    }
    assert_int_equal(tally.calls, REQUESTS);
    assert_int_equal(tally.ret, 0);
    assert_true(slept > 0);
    rig_close(&rig);
}

/* --- Errors, pauses, what drivers may have */

/* A request that fails once is held; the caller learns nothing, and resuming tries it again. */
static void a_stop_holds_the_request_and_resuming_tries_it_again(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    struct tally tally = {0};
    char data[512] = "held", *error = NULL;
    blk *blk;
    worked(sluice_request(rig.context, "node-add driver=mock name=m", NULL, &error), &error);
    worked(sluice_request(rig.context,
                          "node-add driver=fault name=f child=m rules='write errno=ENOSPC once'",
                          NULL, &error),
           &error);
    worked(sluice_request(rig.context, "backend-add name=faulty node=f", NULL, &error), &error);
    worked(blk_open(rig.context, "faulty", BLK_WRITABLE, &blk, &error), &error);
    assert_int_equal(blk_set_on_error(blk, BLK_ON_ERROR_REPORT, BLK_ON_ERROR_STOP), 0);
    assert_int_equal(blk_set_on_error(blk, (enum blk_on_error)9, BLK_ON_ERROR_STOP), -EINVAL);
    assert_int_equal(blk_iostatus(blk), BLK_IOSTATUS_OK);
    assert_int_equal(blk_aio_pwrite(blk, 0, 512, data, 0, count, &tally), 0);
    double patience = now_s() + PATIENCE_S;
    while (blk_iostatus(blk) == BLK_IOSTATUS_OK && now_s() < patience)
        blk_wait(rig.context, 10);
    assert_int_equal(blk_iostatus(blk), BLK_IOSTATUS_NOSPACE);
    assert_int_equal(tally.calls, 0);
    assert_int_equal(blk_in_flight(blk), 1);
    assert_int_equal(blk_resume(blk), 0);
    reap(rig.context, &tally.calls, 1);
    assert_int_equal(blk_iostatus(blk), BLK_IOSTATUS_OK);
    blk_close(&blk);
    rig_close(&rig);
}

static void closing_ends_what_merely_waits(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    struct tally tally = {0};
    char data[512] = "waits", *error = NULL;
    blk *blk;
    worked(blk_open(rig.context, blk_name(rig.blk), BLK_WRITABLE, &blk, &error), &error);
    assert_int_equal(blk_pause(rig.blk), 0);
    assert_int_equal(blk_aio_pwrite(blk, 0, 512, data, 0, count, &tally), 0);
    blk_poll(rig.context);
    blk_close(&blk);
    assert_int_equal(tally.calls, 1);
    assert_int_equal(tally.ret, -ECANCELED);
    assert_int_equal(blk_resume(rig.blk), 0);
    assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), 512);
    assert_string_equal(data, "");
    rig_close(&rig);
}

static void ioctls_vm_state_and_compressed_writes_reach_drivers_that_have_them(void **state)
{
    (void)state;
    char data[64] = "machine", got[64] = "";
    struct rig rig = rig_open(0, "driver=mock ioctl-result=7");
    assert_int_equal(blk_ioctl(rig.blk, 0x1234, data, sizeof data), 7);
    assert_int_equal(blk_save_vmstate(rig.blk, 100, sizeof data, data), sizeof data);
    assert_int_equal(blk_load_vmstate(rig.blk, 100, sizeof got, got), sizeof got);
    assert_string_equal(got, "machine");
    assert_int_equal(blk_pwrite(rig.blk, 0, 64, data, BLK_COMPRESSED), 64);
    assert_int_equal(blk_pread(rig.blk, 0, 64, got, BLK_COMPRESSED), -EINVAL);
    request(rig.context, "node-set node error=25");
    assert_int_equal(blk_set_on_error(rig.blk, BLK_ON_ERROR_STOP, BLK_ON_ERROR_STOP), 0);
    assert_int_equal(blk_ioctl(rig.blk, 0x1234, data, sizeof data), -ENOTTY);
    rig_close(&rig);
    rig = rig_open(0, memory);
    assert_int_equal(blk_ioctl(rig.blk, 0x1234, data, sizeof data), -ENOTSUP);
    assert_int_equal(blk_save_vmstate(rig.blk, 0, sizeof data, data), -ENOTSUP);
    assert_int_equal(blk_load_vmstate(rig.blk, 0, sizeof data, data), -ENOTSUP);
    assert_int_equal(blk_pwrite(rig.blk, 0, 64, data, BLK_COMPRESSED), -ENOTSUP);
    rig_close(&rig);
}

static void the_write_cache_is_on_unless_told_otherwise(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    assert_int_equal(blk_enable_write_cache(rig.blk), 1);
    assert_int_equal(blk_set_enable_write_cache(rig.blk, false), 0);
    assert_int_equal(blk_enable_write_cache(rig.blk), 0);
    assert_int_equal(blk_pwrite(rig.blk, 0, 4, "data", 0), 4);
    rig_close(&rig);
}

static void beyond_the_end_is_refused_unless_allowed(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    char got[8] = "garbage";
    assert_int_equal(blk_pread(rig.blk, MEDIUM - 4, 8, got, 0), -EIO);
    assert_int_equal(blk_pwrite(rig.blk, MEDIUM, 4, "more", 0), -EIO);
    blk_set_allow_write_beyond_eof(rig.blk, true);
    assert_int_equal(blk_pread(rig.blk, MEDIUM - 4, 8, got, 0), 8);
    assert_memory_equal(got, "\0\0\0\0\0\0\0", 8);
    assert_int_equal(blk_pwrite(rig.blk, MEDIUM, 4, "more", 0), 4);
    assert_int_equal(blk_getlength(rig.blk), MEDIUM + 4);
    rig_close(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(the_synchronous_forms_return_counts_or_zero),
        TEST(the_asynchronous_forms_call_back_once_with_zero),
        TEST(sizes_and_offsets_that_cannot_be_are_eio),
        TEST(vectors_have_0_to_iov_max_entries_and_a_length),
        TEST(flags_that_a_call_does_not_take_are_refused),
        TEST(zeroes_without_fallback_are_refused_where_they_would_be_written),
        TEST(a_read_only_backend_refuses_what_changes_it),
        TEST(a_blk_that_was_opened_for_reading_does_not_write),
        TEST(a_truncate_reserves_space_as_it_was_asked),
        TEST(each_preallocation_reaches_the_driver_as_it_was_asked),
        TEST(a_callback_never_runs_inside_the_submitting_call),
        TEST(the_completion_of_an_early_failure_wakes_the_waiter),
        TEST(a_callback_may_submit_the_next_request_at_any_depth),
        TEST(a_callback_may_wait_for_another_request),
        TEST(a_blk_closed_by_its_own_callback_waits_for_the_others_only),
        TEST(at_the_depth_a_request_is_refused_until_one_is_reaped),
        TEST(closing_waits_for_what_is_outstanding),
        TEST(waiting_ends_at_the_timeout_and_not_before),
        TEST(no_wake_up_is_lost_in_an_event_loop),
        TEST(the_write_cache_is_on_unless_told_otherwise),
        TEST(beyond_the_end_is_refused_unless_allowed),
        TEST(a_stop_holds_the_request_and_resuming_tries_it_again),
        TEST(closing_ends_what_merely_waits),
        TEST(ioctls_vm_state_and_compressed_writes_reach_drivers_that_have_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
