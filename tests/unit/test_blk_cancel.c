/* Cancelling over the public interface, with real threads. See test_cancel.c for where a request
 * may be. */
#include "api_rig.h"

static void asking_returns_at_once_and_waiting_returns_after_the_callbacks(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock hold=on");
    struct tally first = {0}, second = {0}, none = {0};
    char data[512] = "";
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(blk_aio_pwrite(rig.blk, 0, 512, data, 0, count, &first), 0);
    assert_int_equal(blk_aio_flush(rig.blk, count, &second), 0);
    assert_int_equal(blk_aio_cancel_async(rig.blk, &none), 0);
    assert_int_equal(blk_aio_cancel_async(rig.blk, &second), 1);
    assert_int_equal(second.calls, 0);
    blk_aio_cancel(rig.blk, &first);
    assert_int_equal(first.calls, 3);
    assert_int_equal(first.ret, -ECANCELED);
    reap(rig.context, &second.calls, 1);
    assert_int_equal(second.ret, -ECANCELED);
    assert_int_equal(blk_aio_cancel_async(rig.blk, &first), 0);
    blk_aio_cancel(rig.blk, &first);
    assert_int_equal(blk_in_flight(rig.blk), 0);
    rig_close(&rig);
}

/* What it has ended with counts, not that somebody asked for its end. */
static void a_result_that_is_faster_wins(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock hold=on cancel=off");
    struct tally tally = {0};
    char data[512] = "";
    assert_int_equal(blk_aio_pwrite(rig.blk, 0, 512, data, 0, count, &tally), 0);
    assert_int_equal(blk_aio_cancel_async(rig.blk, &tally), 1);
    request(rig.context, "node-set node hold=off");
    blk_aio_cancel(rig.blk, &tally);
    assert_int_equal(tally.calls, 1);
    assert_int_equal(tally.ret, 0);

    request(rig.context, "node-set node hold=on error=28");
    assert_int_equal(blk_aio_pwrite(rig.blk, 0, 512, data, 0, count, &tally), 0);
    assert_int_equal(blk_aio_cancel_async(rig.blk, &tally), 1);
    request(rig.context, "node-set node hold=off");
    reap(rig.context, &tally.calls, 2);
    assert_int_equal(tally.ret, -ENOSPC);
    rig_close(&rig);
}

static void cancelling_what_a_pause_holds_up_does_not_wait_for_its_end(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    struct tally tally = {0};
    char data[512] = "never";
    assert_int_equal(blk_pause(rig.blk), 0);
    assert_int_equal(blk_aio_pwrite(rig.blk, 0, 512, data, 0, count, &tally), 0);
    blk_aio_cancel(rig.blk, &tally);
    assert_int_equal(tally.calls, 1);
    assert_int_equal(tally.ret, -ECANCELED);
    assert_int_equal(blk_resume(rig.blk), 0);
    assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), 512);
    assert_string_equal(data, "");
    rig_close(&rig);
}

/* So many that they, and with them what cancels them, wait for each other on the way. */
static void cancelling_more_than_a_link_takes_does_not_wait_for_the_end_of_a_pause(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    struct rig rig = rig_open(MANY, "driver=memory size=1M");
    struct tally tally = {0};
    char data[512] = "";
    assert_int_equal(blk_pause(rig.blk), 0);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(blk_aio_pread(rig.blk, 0, 512, data, 0, count, &tally), 0);
    blk_aio_cancel(rig.blk, &tally);
    assert_int_equal(tally.calls, MANY);
    assert_int_equal(tally.ret, -ECANCELED);
    assert_int_equal(blk_resume(rig.blk), 0);
    assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), 512);
    rig_close(&rig);
}

static blk *other;
static void cancel_the_others(void *opaque, int ret)
{
    struct tally *tally = opaque;
    count(tally, ret);
    blk_aio_cancel(other, tally + 1);
    blk_aio_cancel(other, tally); /* its own, which it does not wait for */
}

static void a_callback_may_cancel_and_wait(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock hold=on release=1");
    struct tally tallies[2] = {0};
    char byte = 0;
    other = rig.blk;
    request(rig.context, "node-set node release=0");
    assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, cancel_the_others, tallies), 0);
    assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, tallies + 1), 0);
    blk_aio_cancel_async(rig.blk, tallies);
    reap(rig.context, &tallies[0].calls, 1);
    assert_int_equal(tallies[1].calls, 1);
    assert_int_equal(tallies[1].ret, -ECANCELED);
    rig_close(&rig);
}

static void an_aborted_request_calls_back_later_with_what_it_was_given(void **state)
{
    (void)state;
    struct rig rig = rig_open(2, "driver=null");
    struct tally tally = {0}, never = {0};
    assert_int_equal(blk_abort_aio_request(rig.blk, -EIO, count, &tally), 0);
    assert_int_equal(tally.calls, 0);
    assert_int_equal(blk_in_flight(rig.blk), 1);
    assert_int_equal(blk_abort_aio_request(rig.blk, -ENOSPC, count, &tally), 0);
    assert_int_equal(blk_abort_aio_request(rig.blk, -ENOSPC, count, &never), -EAGAIN);
    blk_aio_cancel(rig.blk, &tally); /* they have ended: completed wins */
    assert_int_equal(tally.calls, 2);
    assert_int_equal(tally.ret, -ENOSPC);
    assert_int_equal(never.calls, 0);
    rig_close(&rig);
}

static void closing_waits_for_the_answers_to_what_was_asked(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    struct tally tally = {0};
    char data[512] = "";
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(blk_aio_pwrite(rig.blk, 0, 512, data, 0, count, &tally), 0);
        blk_aio_cancel_async(rig.blk, &tally);
    }
    blk_close(&rig.blk);
    assert_int_equal(tally.calls, 100);
    rig_close(&rig);
}

/* Flushes of a file run on threads of the kernel, a few at a time, so of many some are cancelled.
 * That a flush was cancelled is no failure of the file's. */
static void many_flushes_of_a_file_are_cancelled_and_a_later_one_succeeds(void **state)
{
    (void)state;
    enum { MANY = 400, MIB = 1 << 20 };
    char path[] = "/var/tmp/sluice-cancel.XXXXXX", node[100];
    int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, 16 * MIB), 0);
    snprintf(node, sizeof node, "driver=file filename=%s", path);
    struct rig rig = rig_open(0, node);
    char *data = calloc(1, MIB);
    unsigned rounds = 0;
    bool any = false;
    while (!any && rounds < 20) {
        for (int i = 0; i < 16; i++)
            assert_int_equal(blk_pwrite(rig.blk, i * MIB, MIB, data, 0), MIB);
        struct tally flushes[MANY] = {0};
        for (unsigned i = 0; i < MANY; i++)
            assert_int_equal(blk_aio_flush(rig.blk, count, &flushes[i]), 0);
        for (unsigned i = MANY; i-- > 0;)
            blk_aio_cancel_async(rig.blk, &flushes[i]);
        for (unsigned i = 0; i < MANY; i++) {
            blk_aio_cancel(rig.blk, &flushes[i]);
            assert_int_equal(flushes[i].calls, 1);
            assert_true(flushes[i].ret == 0 || flushes[i].ret == -ECANCELED);
            any |= flushes[i].ret == -ECANCELED;
        }
        rounds++;
    }
    assert_true(any);
    assert_int_equal(blk_flush(rig.blk), 0);
    free(data);
    rig_close(&rig);
    close(fd);
    unlink(path);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(asking_returns_at_once_and_waiting_returns_after_the_callbacks),
        TEST(a_result_that_is_faster_wins),
        TEST(cancelling_what_a_pause_holds_up_does_not_wait_for_its_end),
        TEST(cancelling_more_than_a_link_takes_does_not_wait_for_the_end_of_a_pause),
        TEST(a_callback_may_cancel_and_wait),
        TEST(an_aborted_request_calls_back_later_with_what_it_was_given),
        TEST(closing_waits_for_the_answers_to_what_was_asked),
        TEST(many_flushes_of_a_file_are_cancelled_and_a_later_one_succeeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
