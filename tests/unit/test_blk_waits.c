/* The public interface's requests that fail or wait: policies, what an error holds, pauses, bounds.
 * With real threads; test_blk.c has requests that succeed and that are refused. */
#include "api_rig.h"

#include <pthread.h>

static void policies_decide_what_the_caller_learns(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock error=5");
    char data[512] = "";
    assert_int_equal(blk_pwrite(rig.blk, 0, 512, data, 0),
                     -EIO); /* reported unless told otherwise */
    assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), -EIO);
    assert_int_equal(blk_set_on_error(rig.blk, BLK_ON_ERROR_REPORT, BLK_ON_ERROR_IGNORE), 0);
    assert_int_equal(blk_pwrite(rig.blk, 0, 512, data, 0), 512);
    assert_int_equal(blk_pwrite_zeroes(rig.blk, 0, 512, 0), 0);
    assert_int_equal(blk_pdiscard(rig.blk, 0, 512), 0);
    assert_int_equal(blk_flush(rig.blk), 0);
    assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), -EIO);
    assert_int_equal(blk_set_on_error(rig.blk, BLK_ON_ERROR_IGNORE, BLK_ON_ERROR_ENOSPC), 0);
    assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), 512);
    assert_int_equal(blk_pwrite(rig.blk, 0, 512, data, 0), -EIO);
    assert_int_equal(blk_iostatus(rig.blk), BLK_IOSTATUS_OK); /* nothing has stopped */
    rig_close(&rig);
}

static void wait_for_status(const struct rig *rig, enum blk_iostatus status)
{
    double end = now_s() + PATIENCE_S;
    while (blk_iostatus(rig->blk) != (int)status && now_s() < end)
        blk_wait(rig->context, 5);
    assert_int_equal(blk_iostatus(rig->blk), status);
}

static void closing_ends_what_an_error_holds_with_its_error(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock error=28");
    blk *blk = open_blk(rig.context, "disk", BLK_WRITABLE);
    struct tally held = {0}, queued = {0};
    char data[512] = "";
    assert_int_equal(blk_set_on_error(rig.blk, BLK_ON_ERROR_REPORT, BLK_ON_ERROR_STOP), 0);
    assert_int_equal(blk_aio_pwrite(blk, 0, 512, data, 0, count, &held), 0);
    wait_for_status(&rig, BLK_IOSTATUS_NOSPACE);
    assert_int_equal(blk_aio_pwrite(blk, 512, 512, data, 0, count, &queued), 0);
    blk_close(&blk);
    assert_int_equal(held.calls, 1);
    assert_int_equal(held.ret, -ENOSPC);
    assert_int_equal(queued.calls, 1);
    assert_int_equal(queued.ret, -ECANCELED);
    /* Others are not concerned, and nothing of it runs later. */
    request(rig.context, "node-set node error=0");
    assert_int_equal(blk_resume(rig.blk), 0);
    assert_int_equal(blk_pwrite(rig.blk, 1024, 512, data, 0), 512);
    char *reply, *error;
    worked(sluice_request(rig.context, "node-show node", &reply, &error), &error);
    assert_non_null(strstr(reply, "write 1024+512"));
    assert_null(strstr(reply, "write 512+512"));
    free(reply);
    rig_close(&rig);
}

/* Waits until control tells that a backend has so many requests with its medium. */
static void await_in_flight(const struct rig *rig, unsigned n)
{
    char *reply, *error, told[40];
    bool all = false;
    snprintf(told, sizeof told, "\"in_flight\": %u,", n);
    for (double end = now_s() + PATIENCE_S; !all && now_s() < end;) {
        worked(sluice_request(rig->context, "backend-show disk", &reply, &error), &error);
        all = strstr(reply, told);
        free(reply);
    }
    assert_true(all);
}

static void begin_ten(const struct rig *rig, struct tally *tally)
{
    static char byte;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(blk_aio_pread(rig->blk, 0, 1, &byte, 0, count, tally), 0);
    blk_poll(rig->context);
}

static void a_pause_returns_when_no_request_is_with_the_medium(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null latency=20ms");
    struct tally before = {0}, after = {0};
    char byte;
    begin_ten(&rig, &before);
    await_in_flight(&rig, 10);
    assert_int_equal(blk_pause(rig.blk), 0);
    blk_poll(rig.context);
    assert_int_equal(before.calls, 10);
    assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &after), 0);
    assert_int_equal(blk_wait(rig.context, 50), 0);
    assert_int_equal(blk_resume(rig.blk), 0);
    reap(rig.context, &after.calls, 1);
    assert_int_equal(before.ret, 0);
    assert_int_equal(after.ret, 0);
    rig_close(&rig);
}

static void closing_ends_what_waits_without_a_medium_too(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock error=5");
    struct tally held = {0}, queued = {0};
    char data[512] = "";
    request(rig.context, "backend-set disk werror=stop");
    assert_int_equal(blk_aio_pwrite(rig.blk, 0, 512, data, 0, count, &held), 0);
    wait_for_status(&rig, BLK_IOSTATUS_FAILED);
    request(rig.context, "medium-remove disk");
    assert_int_equal(blk_aio_pread(rig.blk, 0, 512, data, 0, count, &queued), 0);
    blk_close(&rig.blk);
    assert_int_equal(held.calls, 1);
    assert_int_equal(held.ret, -EIO);
    assert_int_equal(queued.calls, 1);
    assert_int_equal(queued.ret, -ECANCELED);
    request(rig.context, "backend-resume disk");
    request(rig.context, "backend-remove disk");
    rig_close(&rig);
}

/* Lets go, from another thread, what has kept a request for some time. */
struct keeper {
    blk_context *context;
    bool drains; /* keeps it by a drained region; else the medium does */
};

static void *let_go(void *arg)
{
    const struct keeper *keeper = arg;
    usleep(100000); /* the other thread is closing by then; it may be late, and then shows less */
    if (keeper->drains)
        assert_int_equal(blk_drain_all_end(keeper->context), 0);
    else
        request(keeper->context, "node-set node hold=off");
    return NULL;
}

static void closing_cancels_nothing_that_will_end_by_itself(void **state)
{
    (void)state;
    for (unsigned drains = 0; drains < 2; drains++) {
        struct rig rig = rig_open(0, "driver=mock size=1M");
        struct keeper keeper = {context_on(rig.engine, 0), drains};
        struct tally tally = {0};
        char data[512] = "";
        pthread_t thread;
        if (drains)
            assert_int_equal(blk_drain_all_begin(keeper.context), 0);
        else
            request(keeper.context, "node-set node hold=on");
        assert_int_equal(blk_aio_pwrite(rig.blk, 0, 512, data, 0, count, &tally), 0);
        blk_poll(rig.context);
        assert_int_equal(pthread_create(&thread, NULL, let_go, &keeper), 0);
        blk_close(&rig.blk);
        assert_int_equal(tally.calls, 1);
        assert_int_equal(tally.ret, 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        blk_context_close(&keeper.context);
        rig_close(&rig);
    }
}

static void a_drain_returns_when_no_request_is_with_the_medium(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null latency=20ms");
    struct tally before = {0};
    begin_ten(&rig, &before);
    await_in_flight(&rig, 10);
    assert_int_equal(blk_drain_begin(rig.blk), 0);
    blk_poll(rig.context);
    assert_int_equal(before.calls, 10);
    assert_int_equal(blk_drain_end(rig.blk), 0);
    begin_ten(&rig, &before);
    await_in_flight(&rig, 10);
    assert_int_equal(blk_drain(rig.blk), 0);
    blk_poll(rig.context);
    assert_int_equal(before.calls, 20);
    assert_int_equal(before.ret, 0);
    rig_close(&rig);
}

static void what_waits_is_bounded_and_nobody_else_is_held_up(void **state)
{
    (void)state;
    struct rig rig = rig_open(4, "driver=memory size=1M");
    struct tally waiting = {0}, never = {0};
    char data[512] = "data", *reply, *error;
    request(rig.context, "backend-add name=other node=node");
    assert_int_equal(blk_pause(rig.blk), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(blk_aio_pwrite(rig.blk, i * 512, 512, data, 0, count, &waiting), 0);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(blk_aio_pwrite(rig.blk, 0, 512, data, 0, count, &never), -EAGAIN);
        blk_poll(rig.context);
    }
    /* Control goes on, for this backend too, and so does who has another context. */
    double end = now_s() + PATIENCE_S;
    for (bool all = false; !all && now_s() < end;) {
        worked(sluice_request(rig.context, "backend-show disk", &reply, &error), &error);
        all = strstr(reply, "\"queued\": 4,") && strstr(reply, "\"queued_bytes\": 2048,");
        free(reply);
    }
    assert_true(now_s() < end);
    request(rig.context, "backend-set disk werror=ignore");
    request(rig.context, "io-write backend=other offset=4K data=control");
    blk_context *context = context_on(rig.engine, 4);
    blk *other = open_blk(context, "other", 0);
    assert_int_equal(blk_pread(other, 4096, 512, data, 0), 512);
    assert_string_equal(data, "control");
    blk_context_close(&context);
    assert_int_equal(waiting.calls, 0);
    assert_int_equal(blk_resume(rig.blk), 0);
    reap(rig.context, &waiting.calls, 4);
    assert_int_equal(waiting.ret, 0);
    assert_int_equal(never.calls, 0);
    rig_close(&rig);
}

/* Of the backend's bound another context has taken all but a few. */
static void what_others_have_left_of_a_backend_s_bound_is_a_bound_too(void **state)
{
    (void)state;
    struct rig rig = rig_open(64, "driver=memory size=1M");
    struct tally waiting = {0}, never = {0};
    char data[512] = "", *reply, *error;
    worked(sluice_request(rig.context, "backend-show disk", &reply, &error), &error);
    const char *told = strstr(reply, "\"limit\": ");
    assert_non_null(told);
    unsigned most = (unsigned)strtoul(told + strlen("\"limit\": "), NULL, 10);
    free(reply);
    /* Control's part is 64, and the rig's another 64. */
    blk_context *greedy = context_on(rig.engine, most - 128 - 3);
    blk *other = open_blk(greedy, "disk", BLK_WRITABLE);
    blk_context *late = context_on(rig.engine, 64);
    blk *blk = open_blk(late, "disk", BLK_WRITABLE);
    assert_int_equal(blk_pause(blk), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(blk_aio_pwrite(blk, 0, 512, data, 0, count, &waiting), 0);
    assert_int_equal(blk_aio_pwrite(blk, 0, 512, data, 0, count, &never), -EAGAIN);
    assert_int_equal(blk_resume(blk), 0);
    reap(late, &waiting.calls, 3);
    assert_int_equal(waiting.ret, 0);
    assert_int_equal(blk_pwrite(blk, 0, 512, data, 0), 512); /* there is room again */
    assert_int_equal(never.calls, 0);
    blk_close(&blk);
    blk_close(&other);
    blk_context_close(&late);
    blk_context_close(&greedy);
    rig_close(&rig);
}

static void asynchronous_ioctls_and_compressed_writes_call_back_with_their_result(void **state)
{
    (void)state;
    struct tally ioctl = {0}, write = {0};
    char data[64] = "";
    struct iovec iov[2] = {{data, 32}, {data + 32, 32}};
    struct rig rig = rig_open(0, "driver=mock ioctl-result=7");
    assert_int_equal(blk_aio_ioctl(rig.blk, 0x1234, data, sizeof data, count, &ioctl), 0);
    reap(rig.context, &ioctl.calls, 1);
    assert_int_equal(ioctl.ret, 7);
    assert_int_equal(blk_aio_pwrite(rig.blk, 0, 64, data, BLK_COMPRESSED, count, &write), 0);
    assert_int_equal(blk_aio_pwritev(rig.blk, 64, iov, 2, BLK_COMPRESSED, count, &write), 0);
    reap(rig.context, &write.calls, 2);
    assert_int_equal(write.ret, 0);
    char *reply, *error;
    worked(sluice_request(rig.context, "node-show node", &reply, &error), &error);
    assert_non_null(strstr(reply, "ioctl 4660+64"));
    assert_non_null(strstr(reply, "write 0+64 compressed"));
    assert_non_null(strstr(reply, "write 64+64 compressed"));
    free(reply);
    rig_close(&rig);

    rig = rig_open(0, "driver=memory size=1M");
    assert_int_equal(blk_aio_ioctl(rig.blk, 0x1234, data, sizeof data, count, &ioctl), 0);
    assert_int_equal(blk_aio_pwrite(rig.blk, 0, 64, data, BLK_COMPRESSED, count, &write), 0);
    reap(rig.context, &ioctl.calls, 2);
    reap(rig.context, &write.calls, 3);
    assert_int_equal(ioctl.ret, -ENOTSUP);
    assert_int_equal(write.ret, -ENOTSUP);
    rig_close(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(policies_decide_what_the_caller_learns),
        TEST(closing_ends_what_an_error_holds_with_its_error),
        TEST(a_pause_returns_when_no_request_is_with_the_medium),
        TEST(closing_cancels_nothing_that_will_end_by_itself),
        TEST(a_drain_returns_when_no_request_is_with_the_medium),
        TEST(closing_ends_what_waits_without_a_medium_too),
        TEST(what_waits_is_bounded_and_nobody_else_is_held_up),
        TEST(what_others_have_left_of_a_backend_s_bound_is_a_bound_too),
        TEST(asynchronous_ioctls_and_compressed_writes_call_back_with_their_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
