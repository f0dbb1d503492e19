/* Backends that are moved between reactors by embedding threads, under load, with real threads. */
#include "api_rig.h"

#include <pthread.h>
#include <stdatomic.h>

#define THREADS 2
#define BLOCKS  64
#define BLOCK   512

struct moves {
    unsigned detached, attached, reactor;
    bool out_of_turn;
};

static void detached(void *opaque)
{
    struct moves *moves = opaque;
    moves->out_of_turn |= moves->detached++ != moves->attached;
}

static void attached(void *opaque, unsigned reactor)
{
    struct moves *moves = opaque;
    moves->out_of_turn |= ++moves->attached != moves->detached;
    moves->reactor = reactor;
}

static struct rig open_two(void)
{
    struct rig rig = {.engine = start(&(struct sluice_options){.threads = THREADS})};
    rig.context = context_on(rig.engine, 0);
    request(rig.context, "node-add name=node driver=memory size=1M reactor=0");
    request(rig.context, "backend-add name=disk node=node");
    rig.blk = open_blk(rig.context, "disk", BLK_WRITABLE);
    return rig;
}

struct writer {
    sluice *engine;
    atomic_bool stop;
    uint64_t rounds;
};

/* Each round writes its number everywhere, several requests at once, and reads it back. */
static void *write_on(void *arg)
{
    struct writer *writer = arg;
    blk_context *context = context_on(writer->engine, 0);
    blk *blk = open_blk(context, "disk", BLK_WRITABLE);
    static uint64_t data[BLOCKS][BLOCK / 8], got[BLOCKS][BLOCK / 8];
    while (!atomic_load(&writer->stop)) {
        struct tally tally = {0};
        writer->rounds++;
        for (unsigned i = 0; i < BLOCKS; i++) {
            data[i][0] = writer->rounds;
            assert_int_equal(blk_aio_pwrite(blk, i * BLOCK, BLOCK, data[i], 0, count, &tally), 0);
        }
        reap(context, &tally.calls, BLOCKS);
        assert_int_equal(tally.ret, 0);
        for (unsigned i = 0; i < BLOCKS; i++)
            assert_int_equal(blk_aio_pread(blk, i * BLOCK, BLOCK, got[i], 0, count, &tally), 0);
        reap(context, &tally.calls, 2 * BLOCKS);
        for (unsigned i = 0; i < BLOCKS; i++)
            assert_int_equal(got[i][0], writer->rounds);
    }
    blk_close(&blk);
    blk_context_close(&context);
    return NULL;
}

static void moves_under_load_lose_nothing_and_are_told_in_turn(void **state)
{
    (void)state;
    struct rig rig = open_two();
    struct writer writer = {.engine = rig.engine};
    struct moves moves = {0};
    char *error;
    pthread_t thread;
    blk_set_reactor_notifier(rig.blk, detached, attached, &moves);
    assert_int_equal(pthread_create(&thread, NULL, write_on, &writer), 0);
    for (unsigned i = 1; i <= 200; i++) {
        worked(blk_set_reactor(rig.blk, i % THREADS, false, &error), &error);
        assert_int_equal(blk_get_reactor(rig.blk), i % THREADS);
    }
    blk_poll(rig.context);
    atomic_store(&writer.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(writer.rounds > 0);
    assert_int_equal(moves.detached, 200);
    assert_int_equal(moves.attached, 200);
    assert_int_equal(moves.reactor, 0);
    assert_false(moves.out_of_turn);
    rig_close(&rig);
}

static void notifiers_survive_a_change_of_medium(void **state)
{
    (void)state;
    struct rig rig = open_two();
    struct moves moves = {0};
    char *error;
    blk_set_reactor_notifier(rig.blk, detached, attached, &moves);
    request(rig.context, "medium-remove disk");
    worked(blk_set_reactor(rig.blk, 1, false, &error), &error);
    request(rig.context, "medium-insert backend=disk node=node");
    worked(blk_set_reactor(rig.blk, 0, false, &error), &error);
    blk_poll(rig.context);
    assert_int_equal(moves.detached, 2);
    assert_int_equal(moves.attached, 2);
    blk_set_reactor_notifier(rig.blk, NULL, NULL, NULL);
    worked(blk_set_reactor(rig.blk, 1, false, &error), &error);
    blk_poll(rig.context);
    assert_int_equal(moves.detached, 2);
    rig_close(&rig);
}

static void a_reactor_that_is_not_there_is_refused(void **state)
{
    (void)state;
    struct rig rig = open_two();
    char *error;
    refused(-EINVAL, "the reactors are 0 to 1", blk_set_reactor(rig.blk, 2, false, &error), &error);
    assert_int_equal(blk_set_allow_reactor_change(rig.blk, true), 0);
    assert_int_equal(blk_get_reactor(rig.blk), 0);
    rig_close(&rig);
}

static void an_unnamed_backend_on_the_same_nodes_forbids_it_unless_told_otherwise(void **state)
{
    (void)state;
    struct rig rig = open_two();
    blk *unnamed;
    char *error;
    worked(blk_new(rig.context, 0, BLK_PERM_ALL, &unnamed, &error), &error);
    worked(blk_insert_bs(unnamed, "node", &error), &error);
    refused(-EBUSY, "an unnamed backend stands on the same nodes",
            blk_set_reactor(rig.blk, 1, false, &error), &error);
    assert_int_equal(blk_get_reactor(rig.blk), 0);
    worked(blk_set_reactor(rig.blk, 1, true, &error), &error);
    assert_int_equal(blk_get_reactor(unnamed), 1);
    assert_int_equal(blk_set_allow_reactor_change(unnamed, true), 0);
    worked(blk_set_reactor(rig.blk, 0, false, &error), &error);
    assert_int_equal(blk_get_reactor(unnamed), 0);
    blk_close(&unnamed);
    rig_close(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(moves_under_load_lose_nothing_and_are_told_in_turn),
        TEST(notifiers_survive_a_change_of_medium),
        TEST(a_reactor_that_is_not_there_is_refused),
        TEST(an_unnamed_backend_on_the_same_nodes_forbids_it_unless_told_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
