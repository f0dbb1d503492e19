/* Media are handed over by embedding programs, over the public interface: between two engines on
 * one file, as between two programs. */
#include "api_rig.h"

#include <fcntl.h>

#define READS  BLK_PERM_CONSISTENT_READ
#define WRITES (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE)

static const char rig_data[512];

/* A backend without a name, on node `node`. */
static blk *nameless(blk_context *context, unsigned perm)
{
    blk *blk;
    char *error;
    worked(blk_new(context, perm, BLK_PERM_ALL, &blk, &error), &error);
    worked(blk_insert_bs(blk, "node", &error), &error);
    return blk;
}

static void two_engines_hand_a_file_over_to_each_other(void **state)
{
    (void)state;
    char path[] = "/tmp/test_blk_active.XXXXXX", node[100], *error, out = 0, in = 'a';
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    snprintf(node, sizeof node, "driver=file filename=%s", path);
    struct rig one = rig_open(0, node), two;
    two.engine = start(&(struct sluice_options){.threads = 1, .incoming = true});
    two.context = context_on(two.engine, 0);
    snprintf(node, sizeof node, "node-add name=node driver=file filename=%s", path);
    request(two.context, node);
    request(two.context, "backend-add name=disk node=node");
    two.blk = open_blk(two.context, "disk", BLK_WRITABLE | BLK_RESIZE);
    for (struct rig *has = &one, *gets = &two, *was; in < 'g'; in++) {
        assert_int_equal(blk_pwrite(has->blk, 0, 1, &in, 0), 1);
        assert_int_equal(blk_truncate(has->blk, ((int64_t)in) << 20, BLK_PREALLOC_OFF), 0);
        refused(-EBUSY, "is in use: another program", blk_activate(gets->blk, &error), &error);
        refused(-EBUSY, "is in use: another program", blk_activate_all(gets->context, &error),
                &error);
        assert_int_equal(blk_pwrite(gets->blk, 0, 1, "x", 0), -EPERM);
        if (in % 2)
            worked(blk_inactivate(has->blk, &error), &error);
        else
            worked(blk_inactivate_all(has->context, &error), &error);
        worked(blk_activate(gets->blk, &error), &error);
        assert_int_equal(blk_pread(gets->blk, 0, 1, &out, 0), 1);
        assert_int_equal(out, in);
        blk_wait(gets->context, 0);
        assert_int_equal(blk_getlength(gets->blk), ((int64_t)in) << 20);
        was = has;
        has = gets;
        gets = was;
    }
    rig_close(&one);
    rig_close(&two);
    close(fd);
    unlink(path);
}

static void one_that_writes_without_a_name_or_a_device_is_not_inactivated(void **state)
{
    (void)state;
    char *error;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    blk *blk = nameless(rig.context, WRITES);
    refused(-EPERM, "neither a name nor a device", blk_inactivate(blk, &error), &error);
    refused(-EPERM, "neither a name nor a device", blk_inactivate_all(rig.context, &error), &error);
    assert_int_equal(blk_pwrite(blk, 0, 1, "x", 0), 1);
    assert_int_equal(blk_pwrite(rig.blk, 0, 1, "x", 0), 1);
    /* Neither write nor write-unchanged. */
    worked(blk_set_perm(blk, BLK_PERM_WRITE_UNCHANGED, BLK_PERM_ALL, &error), &error);
    refused(-EPERM, "neither a name nor a device", blk_inactivate(blk, &error), &error);
    worked(blk_set_perm(blk, READS | BLK_PERM_RESIZE, BLK_PERM_ALL, &error), &error);
    worked(blk_inactivate(blk, &error), &error);
    worked(blk_set_perm(blk, WRITES, BLK_PERM_ALL, &error), &error);
    worked(blk_inactivate(blk, &error), &error); /* it is */
    worked(blk_activate(blk, &error), &error);
    assert_int_equal(blk_pwrite(blk, 0, 1, "x", 0), 1);
    blk_close(&blk);
    rig_close(&rig);
}

static void a_name_or_a_device_or_being_told_allows_it(void **state)
{
    (void)state;
    char *error;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    blk *blk = nameless(rig.context, WRITES);
    worked(blk_set_perm(rig.blk, READS, BLK_PERM_ALL, &error), &error);
    blk_set_allow_inactivate(blk, true);
    worked(blk_inactivate(blk, &error), &error);
    assert_int_equal(blk_pwrite(blk, 0, 1, "x", 0), -EPERM);
    worked(blk_activate(blk, &error), &error);
    blk_set_allow_inactivate(blk, false);
    refused(-EPERM, "neither a name nor a device", blk_inactivate(blk, &error), &error);

    worked(blk_add_name(blk, "named", &error), &error);
    worked(blk_inactivate(blk, &error), &error);
    worked(blk_activate(blk, &error), &error);
    worked(blk_attach_dev(blk, "dev", NULL, BLK_WRITABLE | BLK_SHARE_RW, &error), &error);
    assert_int_equal(blk_remove_name(blk), 0);
    worked(blk_inactivate(blk, &error), &error);
    worked(blk_activate(blk, &error), &error);
    blk_detach_dev(blk);
    worked(blk_set_perm(blk, WRITES, BLK_PERM_ALL, &error), &error);
    refused(-EPERM, "neither a name nor a device", blk_inactivate(blk, &error), &error);
    blk_close(&blk);
    rig_close(&rig);
}

static void callbacks_that_are_due_run_before_the_medium_is_given_up(void **state)
{
    (void)state;
    char *error;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    struct tally tally = {0};
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(blk_aio_pwrite(rig.blk, 512 * i, 512, rig_data, 0, count, &tally), 0);
    worked(blk_inactivate(rig.blk, &error), &error);
    assert_int_equal(tally.calls, 8);
    assert_int_equal(tally.ret, 0);
    worked(blk_activate_all(rig.context, &error), &error);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(blk_aio_pwrite(rig.blk, 512 * i, 512, rig_data, 0, count, &tally), 0);
    worked(blk_inactivate_all(rig.context, &error), &error);
    assert_int_equal(tally.calls, 16);
    assert_int_equal(tally.ret, 0);
    rig_close(&rig);
}

static void control_allows_it_too(void **state)
{
    (void)state;
    char *error, *reply;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    request(rig.context, "backend-set disk allow-inactivate=on");
    worked(sluice_request(rig.context, "backend-show disk", &reply, &error), &error);
    assert_non_null(strstr(reply, "\"allow_inactivate\": true"));
    free(reply);
    assert_int_equal(blk_remove_name(rig.blk), 0);
    worked(blk_inactivate(rig.blk, &error), &error);
    worked(blk_activate(rig.blk, &error), &error);
    /* A request that is refused for something else changes nothing. */
    worked(blk_add_name(rig.blk, "disk", &error), &error);
    refused(-EINVAL, "is no time",
            sluice_request(rig.context, "backend-set disk allow-inactivate=off intervals=soon",
                           NULL, &error),
            &error);
    assert_int_equal(blk_remove_name(rig.blk), 0);
    worked(blk_inactivate(rig.blk, &error), &error);
    worked(blk_activate(rig.blk, &error), &error);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_engines_hand_a_file_over_to_each_other),
        cmocka_unit_test(one_that_writes_without_a_name_or_a_device_is_not_inactivated),
        cmocka_unit_test(a_name_or_a_device_or_being_told_allows_it),
        cmocka_unit_test(callbacks_that_are_due_run_before_the_medium_is_given_up),
        cmocka_unit_test(control_allows_it_too),
    };
    return cmocka_run_group_tests(tests, bound_time, NULL);
}
