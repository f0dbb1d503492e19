/* The public interface: contexts, one for each thread, and what is short when they open. With real
 * threads. */
#include "api_rig.h"

#include <pthread.h>
#include <sys/resource.h>

#define STRIPE  (1 << 20)
#define BLOCK   4096
#define THREADS 4

struct worker {
    pthread_t thread;
    sluice *engine;
    unsigned number;
    char *problem;
};

/* Each block of the stripe tells whose it is, and of which round. */
static void fill(uint32_t *block, unsigned worker, unsigned index, unsigned round)
{
    for (unsigned i = 0; i < BLOCK / sizeof *block; i++)
        block[i] = worker << 28 ^ index << 16 ^ round << 8 ^ i;
}

static char *write_and_compare(blk_context *context, const struct worker *worker)
{
    char name[20], *error;
    static _Thread_local uint32_t data[STRIPE / BLOCK][BLOCK / 4], expected[BLOCK / 4];
    blk *blk;
    snprintf(name, sizeof name, "disk%u", worker->number);
    if (blk_open(context, name, BLK_WRITABLE, &blk, &error) < 0)
        return error;
    for (unsigned round = 0; round < 10; round++) {
        struct tally tally = {0};
        for (unsigned reading = 0; reading < 2; reading++) {
            for (unsigned i = 0; i < STRIPE / BLOCK; i++) {
                int64_t offset = (int64_t)worker->number * STRIPE + i * BLOCK;
                if (reading)
                    memset(data[i], 0, BLOCK);
                else
                    fill(data[i], worker->number, i, round);
                while ((reading ? blk_aio_pread(blk, offset, BLOCK, data[i], 0, count, &tally)
                                : blk_aio_pwrite(blk, offset, BLOCK, data[i], 0, count, &tally)) ==
                       -EAGAIN)
                    blk_wait(context, -1);
            }
            while (blk_in_flight(blk))
                blk_wait(context, -1);
        }
        if (tally.calls != 2 * STRIPE / BLOCK)
            return strdup("completions are missing");
        for (unsigned i = 0; i < STRIPE / BLOCK; i++) {
            fill(expected, worker->number, i, round);
            if (memcmp(expected, data[i], BLOCK) != 0)
                return strdup("a block holds something else");
        }
    }
    blk_close(&blk);
    return NULL;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    blk_context *context;
    if (blk_context_open(worker->engine, 32, &context, &worker->problem) < 0)
        return NULL;
    worker->problem = write_and_compare(context, worker);
    blk_context_close(&context);
    return NULL;
}

static void run_workers(sluice *engine, unsigned at_once)
{
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.engine = engine, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
        if (at_once == 1)
            pthread_join(workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        if (at_once > 1)
            pthread_join(workers[i].thread, NULL);
        if (workers[i].problem)
            fail_msg("thread %u: %s", i, workers[i].problem);
    }
}

static sluice *engine_with_disks(void)
{
    sluice *engine = start(NULL);
    blk_context *context = context_on(engine, 0);
    request(context, "node-add driver=memory name=ram size=4M");
    for (unsigned i = 0; i < THREADS; i++) {
        char text[60];
        snprintf(text, sizeof text, "backend-add name=disk%u node=ram", i);
        request(context, text);
    }
    blk_context_close(&context);
    return engine;
}

static void threads_with_a_context_each_share_one_medium(void **state)
{
    (void)state;
    sluice *engine = engine_with_disks();
    run_workers(engine, THREADS);
    sluice_stop(&engine);
}

static void a_closed_contexts_place_serves_another_thread(void **state)
{
    (void)state;
    sluice *engine = engine_with_disks();
    run_workers(engine, 1);
    struct holdings before = holdings();
    run_workers(engine, 1);
    holds_only(before);
    sluice_stop(&engine);
}

static void a_context_deeper_than_the_bound_is_refused(void **state)
{
    (void)state;
    sluice *engine = start(&(struct sluice_options){.threads = 1});
    blk_context *context;
    char *error;
    refused(-EINVAL, "65536", blk_context_open(engine, UINT32_MAX, &context, &error), &error);
    assert_null(context);
    context = context_on(engine, 65536);
    blk_context_close(&context);
    sluice_stop(&engine);
}

static void an_engine_does_not_start_where_descriptors_are_short(void **state)
{
    (void)state;
    struct rlimit limit, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    int first = dup(0);
    close(first);
    for (unsigned i = 0; i < 64; i++) {
        low.rlim_cur = (rlim_t)first + i;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        sluice *engine;
        char *error;
        int ret = sluice_start(NULL, &engine, &error);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        refused(-EMFILE, "ulimit", ret, &error);
        assert_null(engine);
    }
}

/* However often there was no descriptor for one, a context opens when there is one again. */
static void contexts_open_again_after_descriptors_were_short(void **state)
{
    (void)state;
    struct rlimit limit, low;
    sluice *engine = start(NULL);
    struct holdings before = holdings();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    int first = dup(0);
    close(first);
    for (unsigned i = 0; i < 300; i++) {
        blk_context *context;
        char *error;
        low.rlim_cur = (rlim_t)first + i % 3;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        int ret = blk_context_open(engine, 0, &context, &error);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        refused(-EMFILE, "context could not be", ret, &error);
        assert_null(context);
    }
    blk_context *context = context_on(engine, 0);
    request(context, "status");
    blk_context_close(&context);
    assert_int_equal(holdings().threads, before.threads);
    sluice_stop(&engine);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(threads_with_a_context_each_share_one_medium),
        TEST(a_closed_contexts_place_serves_another_thread),
        TEST(a_context_deeper_than_the_bound_is_refused),
        TEST(an_engine_does_not_start_where_descriptors_are_short),
        TEST(contexts_open_again_after_descriptors_were_short),
    };
    return cmocka_run_group_tests(tests, first_thread, NULL);
}
