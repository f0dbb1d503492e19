/* The public interface: media come and go, those who are told, what stays. With real threads. */
#include "api_rig.h"

#include <pthread.h>

struct witness {
    blk_context *context;
    blk *blk;
    unsigned inserted, removed, done;
    int64_t length; /* as the last one saw it */
    bool closes;
};

static void on_inserted(void *opaque)
{
    struct witness *witness = opaque;
    witness->inserted++;
    witness->length = blk_getlength(witness->blk);
}

/* The medium is still there: also for a request. */
static void on_removed(void *opaque)
{
    struct witness *witness = opaque;
    char data[512] = "last";
    witness->removed++;
    witness->length = blk_getlength(witness->blk);
    if (blk_pwrite(witness->blk, 0, sizeof data, data, 0) == sizeof data)
        witness->done++;
    if (witness->closes)
        blk_close(&witness->blk);
}

static blk *new_blk(blk_context *context)
{
    blk *blk;
    char *error;
    worked(blk_new(context, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, BLK_PERM_ALL, &blk, &error),
           &error);
    return blk;
}

static void notifiers_run_after_the_attach_and_before_the_detach(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    struct witness witness = {.blk = new_blk(rig.context)}, other = witness;
    char *error, data[512];
    blk *blk = witness.blk;
    assert_int_equal(blk_add_insert_bs_notifier(blk, on_inserted, &witness), 0);
    assert_int_equal(blk_add_remove_bs_notifier(blk, on_removed, &witness), 0);
    assert_int_equal(blk_add_insert_bs_notifier(blk, on_inserted, &other), 0);
    worked(blk_insert_bs(blk, "node", &error), &error);
    assert_int_equal(witness.inserted, 1);
    assert_int_equal(other.inserted, 1);
    assert_int_equal(witness.length, 1 << 20);
    assert_int_equal(witness.removed, 0);
    refused(-EBUSY, "has a medium already", blk_insert_bs(blk, "node", &error), &error);
    worked(blk_remove_bs(blk, &error), &error);
    assert_int_equal(witness.removed, 1);
    assert_int_equal(witness.length, 1 << 20);
    assert_int_equal(witness.done, 1);
    assert_int_equal(blk_pread(rig.blk, 0, 512, data, 0), 512);
    assert_string_equal(data, "last");
    assert_false(blk_is_inserted(blk));
    worked(blk_remove_bs(blk, &error), &error); /* nothing to do, and nothing to tell */
    assert_int_equal(witness.removed, 1);
    refused(-ENOENT, "there is no node", blk_insert_bs(blk, "none", &error), &error);
    assert_int_equal(witness.inserted, 1);

    blk_drop_bs_notifiers(blk, on_inserted, &witness);
    worked(blk_insert_bs(blk, "node", &error), &error);
    assert_int_equal(witness.inserted, 1);
    assert_int_equal(other.inserted, 2);
    blk_drop_bs_notifiers(blk, on_inserted, &other);
    blk_drop_bs_notifiers(blk, on_removed, &witness);
    worked(blk_remove_bs(blk, &error), &error);
    assert_int_equal(witness.removed, 1);
    rig_close(&rig);
}

static void notifiers_run_around_a_change_of_the_medium(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    struct witness witness = {.blk = rig.blk};
    char *error, data[512];
    blk *old;
    request(rig.context, "node-add name=next driver=memory size=2M");
    assert_int_equal(blk_add_insert_bs_notifier(rig.blk, on_inserted, &witness), 0);
    assert_int_equal(blk_add_remove_bs_notifier(rig.blk, on_removed, &witness), 0);
    request(rig.context, "medium-change disk next");
    assert_int_equal(witness.removed, 1);
    assert_int_equal(witness.inserted, 1);
    assert_int_equal(witness.length, 2 << 20);
    assert_int_equal(witness.done, 1);
    worked(blk_new_open(rig.context, NULL, "node", NULL, 0, &old, &error), &error);
    assert_int_equal(blk_pread(old, 0, 512, data, 0), 512);
    assert_string_equal(data, "last");
    blk_close(&old);
    rig_close(&rig);
}

static void a_notifier_may_close_its_blk_while_the_medium_goes(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    struct witness witness = {.blk = new_blk(rig.context), .closes = true};
    struct blk_info info;
    char *error;
    uint64_t id = blk_id(witness.blk);
    worked(blk_add_name(witness.blk, "other", &error), &error);
    worked(blk_insert_bs(witness.blk, "node", &error), &error);
    assert_int_equal(blk_add_remove_bs_notifier(witness.blk, on_removed, &witness), 0);
    request(rig.context, "medium-remove other");
    assert_null(witness.blk);
    assert_int_equal(blk_by_id(rig.context, id, &info), 1); /* the name holds it */
    request(rig.context, "backend-remove other");

    /* The last reference goes amid the removal: it ends with that. */
    witness.blk = new_blk(rig.context);
    id = blk_id(witness.blk);
    worked(blk_insert_bs(witness.blk, "node", &error), &error);
    assert_int_equal(blk_add_remove_bs_notifier(witness.blk, on_removed, &witness), 0);
    worked(blk_remove_all_bs(rig.context, &error), &error);
    assert_null(witness.blk);
    assert_int_equal(witness.removed, 2);
    assert_int_equal(blk_by_id(rig.context, id, &info), 0);
    assert_false(blk_is_inserted(rig.blk));
    rig_close(&rig);
}

static void *remove_elsewhere(void *engine)
{
    blk_context *context = context_on(engine, 0);
    request(context, "medium-remove disk");
    blk_context_close(&context);
    return NULL;
}

static void a_context_that_nobody_polls_holds_a_medium_no_longer_than_until_it_closes(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    blk_context *context = context_on(rig.engine, 0);
    struct witness witness = {.blk = open_blk(context, "disk", 0)};
    pthread_t thread;
    char *error = NULL;
    assert_int_equal(blk_add_remove_bs_notifier(witness.blk, on_inserted, &witness), 0);
    assert_int_equal(pthread_create(&thread, NULL, remove_elsewhere, rig.engine), 0);
    double end = now_s() + PATIENCE_S;
    do { /* until the removal is under way */
        free(error);
        assert_int_equal(blk_insert_bs(rig.blk, "node", &error), -EBUSY);
    } while (!strstr(error, "being changed") && now_s() < end);
    assert_non_null(strstr(error, "being changed"));
    free(error);
    assert_true(blk_is_inserted(rig.blk)); /* it waits for the notifier */
    blk_context_close(&context);
    assert_int_equal(pthread_join(thread, NULL), 0);
    worked(blk_insert_bs(rig.blk, "node", &error), &error);
    rig_close(&rig);
}

static void flags_answer_from_the_root_state_without_a_medium(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M direct=on");
    char *error;
    blk *blk;
    int all = BLK_WRITABLE | BLK_DIRECT | BLK_UNMAP;
    assert_int_equal(blk_get_flags(rig.blk), all);
    worked(blk_new_open(rig.context, NULL, "node", NULL, 0, &blk, &error), &error);
    assert_int_equal(blk_get_flags(blk), all);
    assert_int_equal(blk_get_open_flags_from_root_state(blk), BLK_DIRECT | BLK_UNMAP);
    worked(blk_remove_bs(blk, &error), &error);
    assert_true(blk_is_read_only(blk));
    assert_int_equal(blk_get_flags(blk), all);
    assert_int_equal(blk_get_open_flags_from_root_state(blk), BLK_DIRECT | BLK_UNMAP);
    worked(blk_remove_bs(rig.blk, &error), &error);
    assert_false(blk_is_read_only(rig.blk));
    assert_int_equal(blk_get_open_flags_from_root_state(rig.blk), all);
    rig_close(&rig);
}

/* The blk may write: what the medium was decides. */
static void read_only_answers_from_the_root_state_without_a_medium(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    char *error;
    request(rig.context, "node-add name=ro driver=mock read-only=on");
    request(rig.context, "backend-add name=cd node=ro");
    request(rig.context, "medium-remove cd");
    blk *blk = open_blk(rig.context, "cd", BLK_WRITABLE);
    assert_true(blk_is_read_only(blk));
    assert_int_equal(blk_get_open_flags_from_root_state(blk) & BLK_WRITABLE, 0);
    worked(blk_insert_bs(blk, "node", &error), &error);
    assert_false(blk_is_read_only(blk));
    worked(blk_remove_bs(blk, &error), &error);
    assert_false(blk_is_read_only(blk));
    blk_close(&blk);
    rig_close(&rig);
}

static void zeroes_are_detected_when_asked(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M");
    char data[512] = "", *json;
    assert_int_equal(blk_set_detect_zeroes(rig.blk, BLK_DETECT_ZEROES_UNMAP), 0);
    assert_int_equal(blk_pwrite(rig.blk, 0, sizeof data, data, 0), sizeof data);
    assert_int_equal(sluice_request(rig.context, "node-show node", &json, NULL), 0);
    assert_non_null(strstr(json, "zeroes 0+512 unmap"));
    free(json);
    assert_int_equal(blk_set_detect_zeroes(rig.blk, 3), -EINVAL);
    rig_close(&rig);
}

static void invalidating_finds_the_length_that_another_has_made(void **state)
{
    (void)state;
    char path[] = "/tmp/sluice-root-XXXXXX", *error, data[512] = "x";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    struct rig rig = rig_open(0, "driver=null");
    blk *blk;
    worked(blk_new_open(rig.context, path, NULL, NULL, BLK_WRITABLE, &blk, &error), &error);
    assert_int_equal(blk_pwrite(blk, 0, sizeof data, data, 0), sizeof data);
    assert_int_equal(ftruncate(fd, 3 << 20), 0);
    assert_int_equal(blk_getlength(blk), 1 << 20);
    worked(blk_invalidate_cache(blk, &error), &error);
    double end = now_s() + PATIENCE_S;
    while (blk_getlength(blk) != 3 << 20 && now_s() < end) /* is told */
        blk_wait(rig.context, 10);
    assert_int_equal(blk_getlength(blk), 3 << 20);
    assert_int_equal(blk_pread(blk, 0, sizeof data, data, 0), sizeof data);
    assert_string_equal(data, "x");
    worked(blk_remove_bs(blk, &error), &error);
    refused(-ENOMEDIUM, "has no medium", blk_invalidate_cache(blk, &error), &error);
    blk_close(&blk);
    close(fd);
    unlink(path);
    rig_close(&rig);
}

#define TEST(name) cmocka_unit_test_setup(name, bound_time)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(notifiers_run_after_the_attach_and_before_the_detach),
        TEST(notifiers_run_around_a_change_of_the_medium),
        TEST(a_notifier_may_close_its_blk_while_the_medium_goes),
        TEST(a_context_that_nobody_polls_holds_a_medium_no_longer_than_until_it_closes),
        TEST(flags_answer_from_the_root_state_without_a_medium),
        TEST(read_only_answers_from_the_root_state_without_a_medium),
        TEST(zeroes_are_detected_when_asked),
        TEST(invalidating_finds_the_length_that_another_has_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
