/* The public interface: limits of backends. With real threads. */
#include "api_rig.h"

#include <pthread.h>

#define BYTES 512

/* What control tells of it, as JSON, holds `text`. */
static void shows(blk_context *context, const char *what, const char *text)
{
    char *reply, *error;
    worked(sluice_request(context, what, &reply, &error), &error);
    if (!strstr(reply, text))
        fail_msg("%s does not tell %s: %s", what, text, reply);
    free(reply);
}

static void shows_no_groups(blk_context *context)
{
    char *reply, *error;
    worked(sluice_request(context, "throttle-list", &reply, &error), &error);
    assert_null(strstr(reply, "name"));
    free(reply);
}

static void enable(blk *blk, const char *group)
{
    char *error;
    worked(blk_io_limits_enable(blk, group, &error), &error);
}

static void update(blk *blk, const char *group)
{
    char *error;
    worked(blk_io_limits_update_group(blk, group, &error), &error);
}

static void a_group_that_is_joined_is_there_and_goes_with_its_last_member(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null size=1M");
    char *error;
    request(rig.context, "backend-add name=two");
    blk *two = open_blk(rig.context, "two", BLK_NO_IO);
    enable(rig.blk, "gold");
    enable(rig.blk, "gold"); /* as it is */
    enable(two, "gold");
    shows(rig.context, "throttle-show gold", "\"temporary\": true");
    shows(rig.context, "throttle-show gold", "backend 'two'");
    shows(rig.context, "backend-show disk", "\"throttle\": \"gold\"");
    refused(-EBUSY, "it is in 'gold'", blk_io_limits_enable(two, "silver", &error), &error);

    assert_int_equal(blk_io_limits_disable(rig.blk), 0);
    assert_int_equal(blk_io_limits_disable(rig.blk), 0);
    shows(rig.context, "throttle-show gold", "backend 'two'");
    update(rig.blk, "gold"); /* it is in none, and stays so */
    update(two, "gold");
    update(two, "silver");
    refused(-ENOENT, "gold", sluice_request(rig.context, "throttle-show gold", NULL, &error),
            &error);
    shows(rig.context, "throttle-show silver", "backend 'two'");
    blk_close(&two);
    request(rig.context, "backend-remove two");
    shows_no_groups(rig.context);
    rig_close(&rig);
}

static void a_group_that_control_made_stays(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null size=1M");
    request(rig.context, "throttle-add gold iops-total=100000");
    enable(rig.blk, "gold");
    assert_int_equal(blk_io_limits_disable(rig.blk), 0);
    shows(rig.context, "throttle-show gold", "100000");
    request(rig.context, "throttle-remove gold");
    rig_close(&rig);
}

static void a_backend_can_have_a_group_for_itself(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null size=1M");
    blk *unnamed;
    char *error;
    enable(rig.blk, NULL);
    shows(rig.context, "throttle-show disk", "backend 'disk'");
    worked(blk_new(rig.context, 0, BLK_PERM_ALL, &unnamed, &error), &error);
    enable(unnamed, NULL);
    shows(rig.context, "throttle-list", "\"#throttle");
    refused(-EINVAL, "can't name the new throttle group",
            blk_io_limits_update_group(unnamed, "#mine", &error), &error);
    blk_close(&unnamed); /* the last one who refers to it: it leaves its group */
    refused(-EINVAL, "can't name the new throttle group",
            blk_io_limits_update_group(rig.blk, "no name", &error), &error);
    shows(rig.context, "backend-show disk", "\"throttle\": \"disk\"");
    assert_int_equal(blk_io_limits_disable(rig.blk), 0);
    shows_no_groups(rig.context);
    rig_close(&rig);
}

static void a_group_for_itself_is_never_one_of_others(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null size=1M");
    char *error;
    request(rig.context, "backend-add name=two");
    blk *two = open_blk(rig.context, "two", BLK_NO_IO);
    request(rig.context, "throttle-add disk");
    refused(-EBUSY, "'disk' is there already", blk_io_limits_enable(rig.blk, NULL, &error), &error);
    enable(rig.blk, "disk"); /* who names it may have it */
    enable(rig.blk, NULL);   /* as it is */
    assert_int_equal(blk_io_limits_disable(rig.blk), 0);
    request(rig.context, "throttle-remove disk");

    enable(two, "disk");
    refused(-EBUSY, "name the group", blk_io_limits_enable(rig.blk, NULL, &error), &error);
    enable(rig.blk, "gold");
    refused(-EBUSY, "name the group", blk_io_limits_update_group(rig.blk, NULL, &error), &error);
    assert_int_equal(blk_io_limits_disable(two), 0);
    update(rig.blk, NULL);
    shows(rig.context, "throttle-show disk", "backend 'disk'");
    enable(two, "disk"); /* as it likes */
    enable(rig.blk, NULL);
    blk_close(&two);
    rig_close(&rig);
}

static void limits_are_those_of_the_group_and_wrong_ones_change_nothing(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null size=1M");
    struct blk_io_limits limits = {.iops_total = {.avg = 1000, .max = 5000, .burst_length = 2},
                                   .bps_write = {.avg = 1 << 20},
                                   .iops_size = 4096};
    char *error;
    refused(-EINVAL, "is in no throttle group", blk_set_io_limits(rig.blk, &limits, &error),
            &error);
    refused(-EINVAL, "is in no throttle group", blk_get_io_limits(rig.blk, &limits, &error),
            &error);
    enable(rig.blk, "gold");
    worked(blk_set_io_limits(rig.blk, &limits, &error), &error);
    shows(rig.context, "throttle-show gold", "\"iops_total\": 1000,");
    shows(rig.context, "throttle-show gold", "\"iops_total_max_length\": 2,");
    shows(rig.context, "throttle-show gold", "\"bps_write\": 1048576,");
    shows(rig.context, "throttle-show gold", "\"bps_write_max_length\": 1,");
    shows(rig.context, "throttle-show gold", "\"iops_size\": 4096");

    struct blk_io_limits has;
    worked(blk_get_io_limits(rig.blk, &has, &error), &error);
    assert_int_equal(has.iops_total.avg, 1000);
    assert_int_equal(has.iops_total.max, 5000);
    assert_int_equal(has.iops_total.burst_length, 2);
    assert_int_equal(has.bps_write.avg, 1 << 20);
    assert_int_equal(has.bps_write.max, 0);
    assert_int_equal(has.bps_write.burst_length, 1);
    assert_int_equal(has.iops_read.avg + has.iops_write.avg + has.bps_total.avg + has.bps_read.avg,
                     0);
    assert_int_equal(has.iops_size, 4096);
    request(rig.context, "throttle-set gold iops-size=0 bps-write=0 bps-read=3"); /* by others */
    worked(blk_get_io_limits(rig.blk, &has, &error), &error);
    assert_int_equal(has.iops_size + has.bps_write.avg, 0);
    assert_int_equal(has.bps_read.avg, 3);
    worked(blk_set_io_limits(rig.blk, &has, &error),
           &error); /* as they are told, they can be set */
    shows(rig.context, "throttle-show gold", "\"bps_read\": 3,");

    limits.iops_read.avg = 7;
    refused(-EINVAL, "can't be limited together", blk_set_io_limits(rig.blk, &limits, &error),
            &error);
    limits.iops_read.avg = 0;
    limits.iops_total.max = UINT64_C(1000000000000001);
    refused(-EINVAL, "10^15", blk_set_io_limits(rig.blk, &limits, &error), &error);
    shows(rig.context, "throttle-show gold", "\"iops_total_max\": 5000,");
    shows(rig.context, "throttle-show gold", "\"iops_read\": 0,");
    limits = (struct blk_io_limits){0};
    worked(blk_set_io_limits(rig.blk, &limits, &error), &error);
    shows(rig.context, "throttle-show gold", "\"iops_total\": 0,");
    rig_close(&rig);
}

static void what_waits_for_a_limit_goes_when_the_backend_leaves(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    struct tally tally = {0};
    static char data[4 * BYTES];
    char *error;
    enable(rig.blk, "slow");
    worked(blk_set_io_limits(rig.blk, &(struct blk_io_limits){.iops_write = {.avg = 1}}, &error),
           &error);
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            blk_aio_pwrite(rig.blk, i * BYTES, BYTES, data + i * BYTES, 0, count, &tally), 0);
    reap(rig.context, &tally.calls, 1);
    blk_wait(rig.context, 50);
    assert_int_equal(tally.calls, 1); /* a second would have to pass */
    assert_int_equal(blk_pread(rig.blk, 0, BYTES, data, 0), BYTES); /* reads are not limited */
    assert_int_equal(blk_io_limits_disable(rig.blk), 0);
    reap(rig.context, &tally.calls, 4);
    assert_int_equal(tally.ret, 0);
    rig_close(&rig);
}

/* Without a name, with one write a second allowed. */
static blk *slow_blk(blk_context *context)
{
    const struct blk_io_limits limits = {.iops_write = {.avg = 1}};
    blk *blk;
    char *error;
    worked(blk_new_open(context, NULL, NULL, "driver=memory size=1M", BLK_WRITABLE, &blk, &error),
           &error);
    enable(blk, NULL);
    worked(blk_set_io_limits(blk, &limits, &error), &error);
    return blk;
}

/* Many; none of them can be done in the time that the tests wait for. */
static void write_many(blk_context *context, blk *blk, struct tally *tally)
{
    static char data[BYTES];
    for (int i = 0; i < 2 * PATIENCE_S; i++)
        assert_int_equal(blk_aio_pwrite(blk, i * BYTES, BYTES, data, 0, count, tally), 0);
    reap(context, &tally->calls, 1);
}

static void assert_all_written_since(const struct tally *tally, double begun)
{
    assert_int_equal(tally->calls, 2 * PATIENCE_S);
    assert_int_equal(tally->ret, 0);
    assert_true(now_s() - begun < PATIENCE_S);
}

static void the_last_reference_does_not_wait_for_limits(void **state)
{
    (void)state;
    sluice *engine = start(&(struct sluice_options){.threads = 2});
    blk_context *context = context_on(engine, 0);
    struct tally tally = {0};
    char *error;
    for (unsigned device = 0; device < 2; device++) {
        blk *blk = slow_blk(context);
        tally = (struct tally){0};
        if (device)
            worked(blk_attach_dev(blk, "disk", NULL, BLK_WRITABLE, &error), &error);
        write_many(context, blk, &tally);
        double begun = now_s();
        blk_unref(blk);
        assert_all_written_since(&tally, begun);
        shows_no_groups(context);
    }
    slow_blk(context);
    blk *blk = slow_blk(context);
    tally = (struct tally){0};
    write_many(context, blk, &tally);
    double begun = now_s();
    blk_context_close(&context);
    assert_all_written_since(&tally, begun);
    sluice_stop(&engine);
}

/* A callback that takes a reference and gives it back. */
struct taker {
    blk *blk;
    struct tally tally;
};

static void take_and_give(void *opaque, int ret)
{
    struct taker *taker = opaque;
    count(&taker->tally, ret);
    blk_ref(taker->blk);
    blk_unref(taker->blk);
}

static void callbacks_may_take_references_meanwhile(void **state)
{
    (void)state;
    sluice *engine = start(NULL);
    blk_context *context = context_on(engine, 0);
    struct taker taker = {.blk = slow_blk(context)};
    static char data[BYTES];
    for (int i = 0; i < 2 * PATIENCE_S; i++)
        assert_int_equal(blk_aio_pwrite(taker.blk, 0, BYTES, data, 0, take_and_give, &taker), 0);
    double begun = now_s();
    blk_unref(taker.blk);
    assert_all_written_since(&taker.tally, begun);
    shows_no_groups(context);
    blk_context_close(&context);
    sluice_stop(&engine);
}

/* Who is not the last one waits, as the limits are still those of the others. */
static void another_reference_waits_for_limits_until_it_is_the_last_one(void **state)
{
    (void)state;
    sluice *engine = start(&(struct sluice_options){.threads = 2});
    blk_context *context = context_on(engine, 0), *other = context_on(engine, 0);
    const struct blk_io_limits limits = {.iops_write = {.avg = 20}};
    static char data[BYTES];
    struct tally tally = {0};
    blk *blk = slow_blk(context), *second;
    char *error;
    worked(blk_set_io_limits(blk, &limits, &error), &error);
    worked(blk_open_id(other, blk_id(blk), BLK_NO_IO, &second, &error), &error);
    for (int i = 0; i < 13; i++)
        assert_int_equal(blk_aio_pwrite(blk, i * BYTES, BYTES, data, 0, count, &tally), 0);
    double begun = now_s();
    blk_unref(blk); /* 3 at once, the others each 50 ms */
    assert_true(now_s() - begun > 0.4);
    assert_int_equal(tally.calls, 13);
    assert_int_equal(tally.ret, 0);
    blk_close(&second);
    shows_no_groups(context);
    blk_context_close(&other);
    blk_context_close(&context);
    sluice_stop(&engine);
}

/* Several threads, each with a context and a backend of its own, join and leave one group. */
struct churn {
    sluice *engine;
    unsigned number;
    bool failed;
};

/* Neither for its own nor for those of nodes below it, which hold again after it. */
static void a_pause_does_not_wait_for_limits(void **state)
{
    enum { MANY = 20 };
    (void)state;
    for (unsigned itself = 0; itself < 2; itself++) {
        struct rig rig = rig_open(0, "driver=memory size=1M");
        struct tally tally = {0};
        char data[BYTES] = "";
        request(rig.context, "throttle-add slow iops-total=1");
        request(rig.context, "node-add name=t driver=throttle child=node throttle-group=slow");
        request(rig.context, "backend-add name=slow node=t");
        if (itself)
            request(rig.context, "backend-set disk throttle=slow");
        blk *blk = open_blk(rig.context, itself ? "disk" : "slow", 0);
        double begun = now_s();
        for (unsigned i = 0; i < MANY; i++)
            assert_int_equal(blk_aio_pread(blk, 0, BYTES, data, 0, count, &tally), 0);
        blk_wait(rig.context, 20);
        assert_true(tally.calls < MANY);
        assert_int_equal(blk_pause(blk), 0);
        blk_poll(rig.context);
        assert_int_equal(tally.calls, MANY);
        assert_true(now_s() - begun < MANY / 2);
        assert_int_equal(blk_resume(blk), 0);
        assert_int_equal(blk_aio_pread(blk, 0, BYTES, data, 0, count, &tally), 0);
        blk_wait(rig.context, 200);
        assert_int_equal(tally.calls, MANY);
        blk_close(&blk);
        rig_close(&rig);
    }
}

static void *churn(void *arg)
{
    struct churn *churn = arg;
    blk_context *context = context_on(churn->engine, 0);
    char text[64], *error;
    snprintf(text, sizeof text, "backend-add name=b%u", churn->number);
    request(context, text);
    blk *blk = open_blk(context, text + strlen("backend-add name="), BLK_NO_IO);
    for (unsigned i = 0; i < 200 && !churn->failed; i++) {
        churn->failed =
            blk_io_limits_enable(blk, "shared", &error) < 0 || blk_io_limits_disable(blk) < 0;
        if (churn->failed)
            print_error("%s\n", error ? error : "?");
    }
    blk_close(&blk);
    blk_context_close(&context);
    return NULL;
}

static void threads_that_join_a_group_as_it_comes_and_goes_never_fail(void **state)
{
    (void)state;
    sluice *engine = start(&(struct sluice_options){.threads = 2});
    struct churn churns[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        churns[i] = (struct churn){engine, i, false};
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &churns[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < 4; i++)
        assert_false(churns[i].failed);
    blk_context *context = context_on(engine, 0);
    shows_no_groups(context);
    blk_context_close(&context);
    sluice_stop(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_that_is_joined_is_there_and_goes_with_its_last_member),
        cmocka_unit_test(a_group_that_control_made_stays),
        cmocka_unit_test(a_backend_can_have_a_group_for_itself),
        cmocka_unit_test(a_group_for_itself_is_never_one_of_others),
        cmocka_unit_test(limits_are_those_of_the_group_and_wrong_ones_change_nothing),
        cmocka_unit_test(what_waits_for_a_limit_goes_when_the_backend_leaves),
        cmocka_unit_test(the_last_reference_does_not_wait_for_limits),
        cmocka_unit_test(callbacks_may_take_references_meanwhile),
        cmocka_unit_test(another_reference_waits_for_limits_until_it_is_the_last_one),
        cmocka_unit_test(a_pause_does_not_wait_for_limits),
        cmocka_unit_test(threads_that_join_a_group_as_it_comes_and_goes_never_fail),
    };
    return cmocka_run_group_tests(tests, bound_time, NULL);
}
