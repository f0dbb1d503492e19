/* The state of a virtual machine, over the public interface: kept by a driver that can, checked,
 * and durable when writes are. */
#include "api_rig.h"

static char *shown(blk_context *context)
{
    char *reply, *error;
    worked(sluice_request(context, "node-show mock", &reply, &error), &error);
    return reply;
}

/* How often a request of this kind was sent to the mock. */
static unsigned sent(blk_context *context, const char *kind)
{
    char *text = shown(context);
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, kind)); at++)
        n++;
    free(text);
    return n;
}

/* `disk` is on a mock, through rules that make requests fail. */
static struct rig rig_with(const char *rules)
{
    char text[100];
    struct rig rig = {.engine = start(&(struct sluice_options){.threads = 1})};
    rig.context = context_on(rig.engine, 0);
    request(rig.context, "node-add name=mock driver=mock");
    snprintf(text, sizeof text, "node-add name=fault driver=fault child=mock rules='%s'", rules);
    request(rig.context, text);
    request(rig.context, "backend-add name=disk node=fault");
    rig.blk = open_blk(rig.context, "disk", BLK_WRITABLE);
    return rig;
}

static void the_asynchronous_forms_call_back_later_and_move_the_data(void **state)
{
    (void)state;
    struct rig rig = rig_with("");
    struct tally tally = {0};
    char data[100] = "machine", got[100] = "";
    assert_int_equal(blk_aio_save_vmstate(rig.blk, 50, 100, data, count, &tally), 0);
    assert_int_equal(tally.calls, 0);
    reap(rig.context, &tally.calls, 1);
    assert_int_equal(tally.ret, 0);
    assert_int_equal(blk_aio_load_vmstate(rig.blk, 50, 100, got, count, &tally), 0);
    reap(rig.context, &tally.calls, 2);
    assert_int_equal(tally.ret, 0);
    assert_memory_equal(data, got, 100);
    rig_close(&rig);
}

static void saving_flushes_when_writes_are_not_cached(void **state)
{
    (void)state;
    struct rig rig = rig_with("");
    char data[100] = "machine";
    assert_int_equal(blk_save_vmstate(rig.blk, 0, 100, data), 100);
    assert_int_equal(sent(rig.context, "flush 0"), 0);
    assert_int_equal(blk_set_enable_write_cache(rig.blk, false), 0);
    assert_int_equal(blk_load_vmstate(rig.blk, 0, 100, data), 100);
    assert_int_equal(sent(rig.context, "flush 0"), 0);
    assert_int_equal(blk_save_vmstate(rig.blk, 0, 100, data), 100);
    assert_int_equal(sent(rig.context, "flush 0"), 1);
    assert_int_equal(blk_in_flight(rig.blk), 0);
    assert_int_equal(blk_drain(rig.blk), 0);
    rig_close(&rig);
}

static void saved_state_that_could_not_be_flushed_was_not_saved(void **state)
{
    (void)state;
    struct rig rig = rig_with("flush errno=EIO");
    char data[100] = "machine";
    assert_int_equal(blk_set_enable_write_cache(rig.blk, false), 0);
    assert_int_equal(blk_save_vmstate(rig.blk, 0, 100, data), -EIO);
    request(rig.context, "node-set fault rules='save-vmstate errno=ENOSPC'");
    assert_int_equal(blk_save_vmstate(rig.blk, 0, 100, data), -ENOSPC);
    assert_int_equal(sent(rig.context, "flush 0"), 0); /* nothing to flush */
    request(rig.context, "node-set fault rules=''");
    assert_int_equal(blk_save_vmstate(rig.blk, 0, 100, data), 100);
    rig_close(&rig);
}

/* Held by an error of its flush, all of it is done again. */
static void held_by_its_flush_it_is_saved_again(void **state)
{
    (void)state;
    struct rig rig = rig_with("flush errno=EIO once");
    struct tally tally = {0};
    char data[100] = "machine";
    assert_int_equal(blk_set_enable_write_cache(rig.blk, false), 0);
    assert_int_equal(blk_set_on_error(rig.blk, BLK_ON_ERROR_REPORT, BLK_ON_ERROR_STOP), 0);
    assert_int_equal(blk_aio_save_vmstate(rig.blk, 0, 100, data, count, &tally), 0);
    double patience = now_s() + PATIENCE_S;
    while (blk_iostatus(rig.blk) == BLK_IOSTATUS_OK && now_s() < patience)
        blk_wait(rig.context, 10);
    assert_int_equal(tally.calls, 0);
    assert_int_equal(blk_resume(rig.blk), 0);
    reap(rig.context, &tally.calls, 1);
    assert_int_equal(tally.ret, 0);
    assert_int_equal(sent(rig.context, "save-vmstate"), 2);
    assert_int_equal(sent(rig.context, "flush 0"), 1);
    rig_close(&rig);
}

static void what_cannot_be_is_refused_before_the_driver_sees_it(void **state)
{
    (void)state;
    struct rig rig = rig_with("");
    char data[8] = "x";
    request(rig.context, "backend-add name=drive");
    request(rig.context, "backend-add name=frozen node=fault read-only=on");
    blk *drive = open_blk(rig.context, "drive", BLK_WRITABLE);
    blk *frozen = open_blk(rig.context, "frozen", 0);
    assert_int_equal(blk_save_vmstate(drive, 0, 8, data), -ENOMEDIUM);
    assert_int_equal(blk_load_vmstate(drive, 0, 8, data), -ENOMEDIUM);
    assert_int_equal(blk_ioctl(drive, 1, data, 8), -ENOMEDIUM);
    assert_int_equal(blk_save_vmstate(frozen, 0, 8, data), -EPERM);
    assert_int_equal(blk_load_vmstate(frozen, 0, 8, data), 8);
    assert_int_equal(blk_save_vmstate(rig.blk, -1, 8, data), -EIO);
    assert_int_equal(blk_load_vmstate(rig.blk, INT64_MIN, 8, data), -EIO);
    assert_int_equal(blk_load_vmstate(rig.blk, 0, (int64_t)INT32_MAX + 1, data), -EIO);
    assert_int_equal(blk_save_vmstate(rig.blk, 0, -1, data), -EIO);
    assert_int_equal(sent(rig.context, "save-vmstate"), 0);
    blk_close(&drive);
    blk_close(&frozen);
    rig_close(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(the_asynchronous_forms_call_back_later_and_move_the_data),
        TEST(saving_flushes_when_writes_are_not_cached),
        TEST(saved_state_that_could_not_be_flushed_was_not_saved),
        TEST(held_by_its_flush_it_is_saved_again),
        TEST(what_cannot_be_is_refused_before_the_driver_sees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
