/* Drained regions as embedding threads hold them, in an engine with real threads. */
#include "api_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static const char memory[] = "driver=memory size=1M";

static void a_drain_lets_requests_queue_and_run_in_order_at_its_end(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    blk *other = open_blk(rig.context, "disk", BLK_WRITABLE);
    struct tally tally = {0};
    char one[512] = "one", two[512] = "two", got[512];
    assert_int_equal(blk_drain_begin(rig.blk), 0);
    assert_int_equal(blk_drain_begin(rig.blk), 0);
    assert_int_equal(blk_aio_pwrite(other, 0, 512, one, 0, count, &tally), 0);
    assert_int_equal(blk_aio_pwrite(other, 0, 512, two, 0, count, &tally), 0);
    blk_wait(rig.context, 20);
    assert_int_equal(blk_drain_end(rig.blk), 0);
    blk_wait(rig.context, 20);
    assert_int_equal(tally.calls, 0);
    assert_int_equal(blk_drain_end(rig.blk), 0);
    reap(rig.context, &tally.calls, 2);
    assert_int_equal(blk_pread(rig.blk, 0, 512, got, 0), 512);
    assert_string_equal(got, "two");
    assert_int_equal(blk_drain(rig.blk), 0);
    assert_int_equal(blk_drain_end(rig.blk), -EINVAL);
    blk_close(&other);
    rig_close(&rig);
}

static void the_holder_of_a_region_goes_on(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    char got[512];
    assert_int_equal(blk_drain_begin(rig.blk), 0);
    assert_int_equal(blk_pwrite(rig.blk, 0, 4, "mine", 0), 4);
    assert_int_equal(blk_pread(rig.blk, 0, 4, got, 0), 4);
    assert_int_equal(blk_drain_end(rig.blk), 0);
    rig_close(&rig);
}

static void the_thread_that_holds_a_region_of_a_node_or_of_everything_goes_on(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    blk_context *context = context_on(rig.engine, 0);
    blk *other = open_blk(context, "disk", 0);
    struct tally tally = {0};
    char got[512];
    assert_int_equal(blk_node_drain_begin(rig.context, "node"), 0);
    assert_int_equal(blk_drain_all_begin(rig.context), 0);
    assert_int_equal(blk_aio_pread(other, 0, 4, got, 0, count, &tally), 0);
    assert_int_equal(blk_pwrite(rig.blk, 0, 4, "mine", 0), 4);
    assert_int_equal(blk_drain_all_end(rig.context), 0);
    assert_int_equal(blk_pread(rig.blk, 0, 4, got, 0), 4);
    blk_wait(context, 20);
    assert_int_equal(tally.calls, 0);
    assert_int_equal(blk_node_drain_end(rig.context, "node"), 0);
    reap(context, &tally.calls, 1);
    blk_context_close(&context);
    rig_close(&rig);
}

/* One is of another thread, or of the same. */
static void a_region_keeps_the_holder_of_an_earlier_one_waiting(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    for (unsigned same = 0; same < 2; same++) {
        blk_context *context = same ? rig.context : context_on(rig.engine, 0);
        blk *other = open_blk(context, "disk", 0);
        struct tally tally = {0}, others = {0};
        char got[512];
        assert_int_equal(blk_drain_begin(rig.blk), 0);
        assert_int_equal(blk_drain_begin(other), 0);
        assert_int_equal(blk_aio_pread(rig.blk, 0, 4, got, 0, count, &tally), 0);
        assert_int_equal(blk_aio_pread(other, 0, 4, got, 0, count, &others), 0);
        blk_wait(rig.context, 20);
        blk_wait(context, 20);
        assert_int_equal(tally.calls + others.calls, 0);
        assert_int_equal(blk_drain_end(other), 0);
        reap(rig.context, &tally.calls, 1); /* in its own region */
        assert_int_equal(others.calls, 0);
        assert_int_equal(blk_drain_end(rig.blk), 0);
        reap(context, &others.calls, 1);
        blk_close(&other);
        if (!same)
            blk_context_close(&context);
    }
    rig_close(&rig);
}

static void a_blk_or_a_context_that_closes_ends_its_regions(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    blk *other = open_blk(rig.context, "disk", BLK_WRITABLE);
    blk_context *context = context_on(rig.engine, 0);
    char got[512];
    assert_int_equal(blk_drain_begin(other), 0);
    assert_int_equal(blk_drain_all_begin(context), 0);
    assert_int_equal(blk_node_drain_begin(context, "node"), 0);
    assert_int_equal(blk_node_drain_begin(context, "nobody"), -ENOENT);
    assert_int_equal(blk_node_drain_end(context, "nobody"), -EINVAL);
    blk_close(&other);
    blk_context_close(&context);
    assert_int_equal(blk_pread(rig.blk, 0, 512, got, 0), 512);
    rig_close(&rig);
}

static void a_context_closes_in_its_own_region_of_everything_or_of_a_node(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    char data[512];
    for (unsigned all = 0; all < 2; all++) {
        struct tally tally = {0};
        blk_context *context = context_on(rig.engine, 0);
        blk *blk = open_blk(context, "disk", 0);
        if (all)
            assert_int_equal(blk_drain_all_begin(context), 0);
        else
            assert_int_equal(blk_node_drain_begin(context, "node"), 0);
        assert_int_equal(blk_aio_pread(blk, 0, 512, data, 0, count, &tally), 0);
        blk_context_close(&context);
        assert_int_equal(tally.calls, 1);
        assert_int_equal(tally.ret, 0);
        assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), 512);
    }
    rig_close(&rig);
}

static void a_context_closes_in_a_region_that_another_blk_of_it_has_begun(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    struct tally tally = {0};
    char data[512];
    request(rig.context, "backend-add name=sibling node=node");
    blk_context *context = context_on(rig.engine, 0);
    blk *first = open_blk(context, "disk", 0), *second = open_blk(context, "sibling", 0);
    assert_int_equal(blk_drain_begin(first), 0);
    assert_int_equal(blk_aio_pread(second, 0, 512, data, 0, count, &tally), 0);
    blk_context_close(&context);
    assert_int_equal(tally.calls, 1);
    assert_int_equal(tally.ret, 0);
    rig_close(&rig);
}

/* The request waits for the other one's region first, and so does not count in its own. */
static void a_blk_closes_in_its_own_region_with_a_request_from_before_it(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    struct tally tally = {0};
    char data[512];
    blk_context *context = context_on(rig.engine, 0);
    blk *blk = open_blk(context, "disk", 0);
    assert_int_equal(blk_drain_begin(rig.blk), 0);
    assert_int_equal(blk_aio_pread(blk, 0, 512, data, 0, count, &tally), 0);
    assert_int_equal(blk_drain_begin(blk), 0);
    assert_int_equal(blk_drain_end(rig.blk), 0);
    blk_wait(context, 20);
    assert_int_equal(tally.calls, 0);
    blk_close(&blk);
    assert_int_equal(tally.calls, 1);
    assert_int_equal(tally.ret, 0);
    blk_context_close(&context);
    rig_close(&rig);
}

/* Who closes a blk is who would end the region. */
static void what_waits_for_a_region_of_its_own_context_ends_when_its_blk_closes(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    char data[512];
    request(rig.context, "backend-add name=sibling node=node");
    for (unsigned all = 0; all < 2; all++) {
        struct tally tally = {0};
        blk_context *context = context_on(rig.engine, 0);
        blk *blk = open_blk(context, "disk", 0), *sibling = open_blk(context, "sibling", 0);
        assert_int_equal(blk_drain_begin(rig.blk), 0);
        assert_int_equal(blk_aio_pread(blk, 0, 512, data, 0, count, &tally), 0);
        assert_int_equal(all ? blk_drain_all_begin(context) : blk_drain_begin(sibling), 0);
        assert_int_equal(blk_drain_end(rig.blk), 0);
        blk_close(&blk);
        assert_int_equal(tally.calls, 1);
        assert_int_equal(tally.ret, -ECANCELED);
        blk_context_close(&context);
        assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), 512);
    }
    rig_close(&rig);
}

/* --- Callbacks */

struct drainer {
    blk_context *context;
    blk *blk;
    int ret;
    unsigned calls, others;
};

static void drain_in_callback(void *opaque, int ret)
{
    struct drainer *drainer = opaque;
    assert_int_equal(ret, 0);
    drainer->ret = blk_drain_begin(drainer->blk);
    drainer->others = drainer->calls;
    assert_int_equal(blk_drain_end(drainer->blk), 0);
    drainer->calls++;
}

static void count_call(void *opaque, int ret)
{
    assert_int_equal(ret, 0);
    ((struct drainer *)opaque)->calls++;
}

static void draining_from_inside_a_callback_waits_for_the_others_but_not_for_itself(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null latency=2ms");
    struct drainer drainer = {.blk = rig.blk, .ret = 1};
    char data[512];
    blk_aio_pread(rig.blk, 0, 512, data, 0, drain_in_callback, &drainer);
    for (unsigned i = 0; i < 5; i++)
        blk_aio_pread(rig.blk, 0, 512, data, 0, count_call, &drainer);
    reap(rig.context, &drainer.calls, 6);
    assert_int_equal(drainer.ret, 0);
    assert_int_equal(drainer.others, 5); /* they had returned when it was drained */
    rig_close(&rig);
}

struct thread {
    sluice *engine;
    bool late; /* it reaps after the drain has begun */
    atomic_bool submitted, runs, drained, returned;
};

static void await(const atomic_bool *so)
{
    while (!atomic_load(so))
        usleep(100);
}

static void slow_callback(void *opaque, int ret)
{
    struct thread *thread = opaque;
    assert_int_equal(ret, 0);
    atomic_store(&thread->runs, true);
    if (!thread->late)
        await(&thread->drained);
    usleep(50000);
    atomic_store(&thread->returned, true);
}

/* Submits, and lets the request end while it looks elsewhere. */
static void *run_thread(void *arg)
{
    struct thread *thread = arg;
    blk_context *context = context_on(thread->engine, 0);
    blk *blk = open_blk(context, "disk", 0);
    char data[512];
    blk_aio_pread(blk, 0, 512, data, 0, slow_callback, thread);
    blk_poll(context); /* it leaves */
    atomic_store(&thread->submitted, true);
    if (thread->late) {
        await(&thread->drained);
        usleep(20000);
    }
    while (!atomic_load(&thread->returned))
        blk_wait(context, -1);
    blk_close(&blk);
    blk_context_close(&context);
    return NULL;
}

/* Of one that is due, and of one that runs. */
static void a_drain_waits_until_the_callbacks_of_another_thread_have_returned(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    for (unsigned late = 0; late < 2; late++) {
        struct thread thread = {.engine = rig.engine, .late = late};
        pthread_t id;
        assert_int_equal(pthread_create(&id, NULL, run_thread, &thread), 0);
        await(late ? &thread.submitted : &thread.runs);
        atomic_store(&thread.drained, true);
        assert_int_equal(blk_drain_begin(rig.blk), 0);
        assert_true(atomic_load(&thread.returned));
        assert_int_equal(blk_drain_end(rig.blk), 0);
        assert_int_equal(pthread_join(id, NULL), 0);
    }
    rig_close(&rig);
}

static void a_thread_that_has_nothing_outstanding_holds_up_no_drain(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    blk_context *idle = context_on(rig.engine, 0); /* which nobody polls */
    blk *blk = open_blk(idle, "disk", 0);
    char data[512];
    assert_int_equal(blk_pread(blk, 0, 512, data, 0), 512);
    assert_int_equal(blk_drain(rig.blk), 0);
    request(rig.context, "medium-remove disk");
    blk_close(&blk);
    blk_context_close(&idle);
    rig_close(&rig);
}

static void remove_in_callback(void *opaque, int ret)
{
    struct drainer *drainer = opaque;
    assert_int_equal(ret, 0);
    request(drainer->context, "medium-remove disk");
    drainer->calls++;
}

static void removing_from_inside_a_callback_does_not_wait_for_itself(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    char data[512];
    struct drainer drainer = {.context = rig.context};
    blk_aio_pread(rig.blk, 0, 512, data, 0, remove_in_callback, &drainer);
    reap(rig.context, &drainer.calls, 1);
    assert_false(blk_is_inserted(rig.blk));
    rig_close(&rig);
}

static void change_in_callback(void *opaque, int ret)
{
    struct drainer *drainer = opaque;
    assert_int_equal(ret, 0);
    request(drainer->context, "node-add name=more driver=null");
    request(drainer->context, "backend-add name=sibling node=node");
    request(drainer->context, "medium-remove other");
    request(drainer->context, "medium-insert backend=other node=more");
    request(drainer->context, "backend-remove sibling");
    request(drainer->context, "backend-remove other");
    request(drainer->context, "node-remove more");
    drainer->calls++;
}

static void callbacks_may_change_the_graph_during_a_drain(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null latency=2ms");
    struct drainer drainer = {.context = rig.context};
    char data[512];
    request(rig.context, "backend-add name=other node=node");
    blk_aio_pread(rig.blk, 0, 512, data, 0, change_in_callback, &drainer);
    assert_int_equal(blk_drain_begin(rig.blk), 0);
    assert_int_equal(drainer.calls, 1);
    assert_int_equal(blk_drain_end(rig.blk), 0);
    assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), 512);
    rig_close(&rig);
}

static void close_in_callback(void *opaque, int ret)
{
    struct drainer *drainer = opaque;
    assert_int_equal(ret, 0);
    blk_close(&drainer->blk);
    drainer->calls++;
}

/* By one of its own, or by one of another blk. */
static void a_callback_may_close_what_is_being_drained_and_no_region_is_left(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null latency=2ms");
    char data[512];
    for (unsigned own = 0; own < 2; own++) {
        blk *going = open_blk(rig.context, "disk", 0);
        struct drainer drainer = {.blk = going};
        blk_aio_pread(own ? going : rig.blk, 0, 512, data, 0, close_in_callback, &drainer);
        assert_int_equal(blk_drain(going), -ENXIO);
        assert_int_equal(drainer.calls, 1);
        assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), 512);
    }
    rig_close(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(a_drain_lets_requests_queue_and_run_in_order_at_its_end),
        TEST(the_holder_of_a_region_goes_on),
        TEST(the_thread_that_holds_a_region_of_a_node_or_of_everything_goes_on),
        TEST(a_region_keeps_the_holder_of_an_earlier_one_waiting),
        TEST(a_blk_or_a_context_that_closes_ends_its_regions),
        TEST(a_context_closes_in_its_own_region_of_everything_or_of_a_node),
        TEST(a_context_closes_in_a_region_that_another_blk_of_it_has_begun),
        TEST(a_blk_closes_in_its_own_region_with_a_request_from_before_it),
        TEST(what_waits_for_a_region_of_its_own_context_ends_when_its_blk_closes),
        TEST(draining_from_inside_a_callback_waits_for_the_others_but_not_for_itself),
        TEST(a_drain_waits_until_the_callbacks_of_another_thread_have_returned),
        TEST(a_thread_that_has_nothing_outstanding_holds_up_no_drain),
        TEST(removing_from_inside_a_callback_does_not_wait_for_itself),
        TEST(callbacks_may_change_the_graph_during_a_drain),
        TEST(a_callback_may_close_what_is_being_drained_and_no_region_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
