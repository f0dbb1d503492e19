/* Bursts that are plugged: in a stepped engine, where each seed is another order of what happens,
 * and over the public interface with real threads. */
#include "api_rig.h"
#include "stack_rig.h"

#include <limits.h>

static uint64_t taken(void)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < engine_threads(stack_engine()); i++)
        n += reactor_stats(engine_reactor(stack_engine(), i))->requests;
    return n;
}

static void a_burst_arrives_whole_and_not_before_it_is_unplugged(void **state)
{
    (void)state;
    enum { MANY = 200 }; /* several frames */
    FOR_EACH_SEED(seed)
    {
        static struct stack_op ops[MANY];
        actor_addr b = stack_backend("m", "driver=mock reactor=0", "");
        unsigned many = seed & 1 ? MANY : (unsigned)seed;
        stack_plug(true);
        for (unsigned i = 0; i < many; i++)
            stack_submit(&ops[i], b, OP_WRITE, i * 512, 512, 0, NULL);
        uint64_t before = taken();
        stack_settle();
        assert_int_equal(taken(), before);
        stack_plug(false);
        while (many && taken() == before)
            stack_step();
        assert_int_equal(taken() - before, many); /* in that one step */
        stack_settle();
        for (unsigned i = 0; i < many; i++)
            assert_true(ops[i].came && ops[i].ret == 0 && (i == 0 || ops[i].at > ops[i - 1].at));
    }
}

/* More than the link takes at once: the rest follows by itself. */
static void a_burst_beyond_the_credits_goes_on_as_they_come_back(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static struct stack_op ops[MANY];
    stack_start(1, 1);
    actor_addr b = stack_backend("m", "driver=mock", "");
    stack_plug(true);
    for (unsigned i = 0; i < MANY; i++)
        stack_submit(&ops[i], b, OP_WRITE, 0, 512, 0, NULL);
    stack_plug(false);
    stack_settle();
    for (unsigned i = 0; i < MANY; i++)
        assert_true(ops[i].came && ops[i].ret == 0);
    stack_stop();
}

/* While it is plugged, completions of earlier ones make no way for those that wait. */
static void completions_meanwhile_let_nothing_through(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock hold=on", "");
        struct stack_op before, burst;
        stack_submit(&before, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_plug(true);
        stack_submit(&burst, b, OP_WRITE, 512, 512, 0, NULL);
        stack_do("node-set m hold=off");
        stack_settle();
        assert_true(before.came && !burst.came);
        stack_plug(false);
        stack_await_op(&burst);
        assert_int_equal(burst.ret, 0);
    }
}

/* --- Over the public interface */

static char *reply_to(blk_context *context, const char *ask)
{
    char *reply, *error;
    worked(sluice_request(context, ask, &reply, &error), &error);
    return reply;
}

/* The first number with this name. */
static long number(const char *reply, const char *name)
{
    char key[40];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(reply, key);
    assert_non_null(at);
    return atol(at + strlen(key));
}

static long operations(blk_context *context)
{
    char *reply = reply_to(context, "backend-show disk");
    long operations = number(reply, "operations");
    free(reply);
    return operations;
}

static void polling(blk_context *context)
{
    for (double end = now_s() + 0.02; now_s() < end;)
        blk_poll(context);
}

static void regions_nest_and_what_waits_sends_first(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock");
    blk_context *other = context_on(rig.engine, 0); /* asking sends what is plugged in one's own */
    struct tally tally = {0};
    char byte = 0;
    blk_io_unplug(rig.context); /* nothing is plugged: nothing happens */
    blk_io_plug(rig.context);
    blk_io_plug(rig.context);
    assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &tally), 0);
    blk_io_unplug(rig.context);
    polling(rig.context);
    assert_int_equal(tally.calls, 0);
    assert_int_equal(operations(other), 0);
    assert_int_equal(blk_in_flight(rig.blk), 1);
    blk_io_unplug(rig.context);
    reap(rig.context, &tally.calls, 1);

    blk_io_plug(rig.context);
    assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &tally), 0);
    assert_int_equal(blk_pread(rig.blk, 0, 1, &byte, 0), 1);
    reap(rig.context, &tally.calls, 2);
    assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &tally), 0);
    polling(rig.context);
    assert_int_equal(tally.calls, 2); /* it is still plugged */
    assert_int_equal(blk_drain(rig.blk), 0);
    blk_poll(rig.context);
    assert_int_equal(tally.calls, 3); /* a drain waits for what was submitted before it */
    assert_int_equal(blk_aio_pread(rig.blk, 0, 1, &byte, 0, count, &tally), 0);
    blk_aio_cancel_async(rig.blk, &tally);
    blk_close(&rig.blk);
    assert_int_equal(tally.calls, 4);
    blk_context_close(&other);
    rig_close(&rig);
}

/* System calls of the one reactor, but for one before each sleep. */
static long submissions(blk_context *context)
{
    char *reply = reply_to(context, "status");
    long submissions = number(reply, "submissions") - number(reply, "parks");
    free(reply);
    return submissions;
}

/* Without the plug it would be one for every 32, or more. */
static void a_burst_of_reads_of_a_file_is_one_system_call(void **state)
{
    (void)state;
    enum { MANY = 250, BYTES = 4096 };
    static char data[MANY][BYTES];
    char path[] = "/var/tmp/sluice-plug.XXXXXX", node[100];
    int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, MANY * BYTES), 0);
    snprintf(node, sizeof node, "driver=file filename=%s", path);
    struct rig rig = rig_open(0, node);
    struct tally tally = {0};
    long calls = LONG_MAX;
    for (unsigned round = 1; round <= 5 && calls > 1; round++) {
        long before = submissions(rig.context);
        blk_io_plug(rig.context);
        for (int i = 0; i < MANY; i++)
            assert_int_equal(blk_aio_pread(rig.blk, i * BYTES, BYTES, data[i], 0, count, &tally),
                             0);
        blk_io_unplug(rig.context);
        reap(rig.context, &tally.calls, round * MANY);
        calls = submissions(rig.context) - before;
    }
    assert_true(calls <= 1); /* a sleep may need none */
    rig_close(&rig);
    close(fd);
    unlink(path);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(a_burst_arrives_whole_and_not_before_it_is_unplugged),
        TEST(a_burst_beyond_the_credits_goes_on_as_they_come_back),
        TEST(completions_meanwhile_let_nothing_through),
        TEST(regions_nest_and_what_waits_sends_first),
        TEST(a_burst_of_reads_of_a_file_is_one_system_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
