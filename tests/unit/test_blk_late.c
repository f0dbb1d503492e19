/* Embedding threads that don't look at their contexts, and others that wait for them: at the
 * shutdown's deadline everybody gets an answer, and the engine ends. With real threads. */
#include "api_rig.h"

#include <pthread.h>

#define DEADLINE_MS 100

/* What the context that nobody polls would be told. */
struct late {
    blk_context *context;
    blk *blk;
    struct tally tally;
    unsigned calls; /* of its device and its notifiers, before it closes */
    char data[512];
};

static void told(void *opaque)
{
    ((struct late *)opaque)->calls++;
}

static int change_media(void *opaque, bool load)
{
    (void)load;
    told(opaque);
    return 0;
}

static bool is_never(void *opaque)
{
    (void)opaque;
    return false;
}

static void is_told_of_removals(struct late *late)
{
    assert_int_equal(blk_add_remove_bs_notifier(late->blk, told, late), 0);
}

static void is_told_of_insertions(struct late *late)
{
    assert_int_equal(blk_add_insert_bs_notifier(late->blk, told, late), 0);
}

static void plays_a_device(struct late *late)
{
    char *error;
    static const struct blk_dev_ops ops = {
        .change_media = change_media,
        .is_tray_open = is_never,
        .is_medium_locked = is_never,
    };
    worked(blk_attach_dev(late->blk, "cd", NULL, 0, &error), &error);
    assert_int_equal(blk_set_dev_ops(late->blk, &ops, late), 0);
}

/* Its callback has not returned, although nothing is in flight below. */
static void has_a_callback_due(struct late *late)
{
    blk_io_plug(late->context);
    assert_int_equal(
        blk_aio_pread(late->blk, 0, sizeof late->data, late->data, 0, count, &late->tally), 0);
    blk_io_unplug(late->context);
}

/* It ends at the deadline, and its callback does not run then. */
static void has_a_request_in_flight(struct late *late)
{
    request(late->context, "node-set node hold=on");
    has_a_callback_due(late);
}

/* Another thread, which waits. */
struct asker {
    sluice *engine;
    const char *request; /* null: it drains the backend */
    atomic_bool answered;
    int code;
    pthread_t thread;
};

static void *ask(void *arg)
{
    struct asker *asker = arg;
    char *error = NULL;
    blk_context *context = context_on(asker->engine, 0);
    blk *blk = asker->request ? NULL : open_blk(context, "disk", 0);
    asker->code =
        blk ? blk_drain_begin(blk) : sluice_request(context, asker->request, NULL, &error);
    atomic_store(&asker->answered, true);
    free(error);
    blk_close(&blk);
    blk_context_close(&context);
    return NULL;
}

static bool is_being_changed(blk_context *context)
{
    char *error = NULL;
    sluice_request(context, "medium-insert backend=disk node=none", NULL, &error);
    assert_non_null(error);
    bool changes = strstr(error, "is being changed");
    free(error);
    return changes;
}

static bool shows(blk_context *context, const char *text)
{
    char *reply, *error;
    worked(sluice_request(context, "backend-show disk", &reply, &error), &error);
    bool found = strstr(reply, text);
    free(reply);
    return found;
}

/* It has begun, and does not end. */
static void wait_until_it_waits(blk_context *context, blk *probe, const struct asker *asker)
{
    double end = now_s() + PATIENCE_S;
    static char data[512];
    static struct tally tally;
    bool waits = false;
    while (!waits && now_s() < end)
        if (!asker->request) { /* until a request is kept back */
            assert_int_equal(blk_aio_pread(probe, 0, sizeof data, data, 0, count, &tally), 0);
            blk_wait(context, 10);
            waits = shows(context, "\"queued\": 1,");
        } else if (strstr(asker->request, "pause"))
            waits = shows(context, "\"run_state\": \"PAUSED\"");
        else
            waits = is_being_changed(context);
    if (!waits)
        fail_msg("%s does not wait", asker->request ? asker->request : "a drain");
    assert_int_equal(blk_wait(context, 20), 0);
    assert_false(atomic_load(&asker->answered));
}

static void ends_in_time(void (*prepare)(struct late *late), const char *words)
{
    sluice *engine = start(&(struct sluice_options){.threads = 2, .deadline_ms = DEADLINE_MS});
    blk_context *context = context_on(engine, 0);
    struct late late = {.context = context_on(engine, 0)};
    struct asker asker = {.engine = engine, .request = words};
    request(context, "node-add name=node driver=mock size=1M");
    request(context, "node-add name=other driver=memory size=1M");
    request(context, "backend-add name=disk");
    if (prepare != is_told_of_insertions)
        request(context, "medium-insert backend=disk node=node");
    late.blk = open_blk(late.context, "disk", 0);
    prepare(&late);
    blk *probe = open_blk(context, "disk", 0);
    assert_int_equal(pthread_create(&asker.thread, NULL, ask, &asker), 0);
    wait_until_it_waits(context, probe, &asker);
    assert_int_equal(late.calls, 0);

    double begun = now_s();
    sluice_shutdown(engine);
    assert_int_equal(pthread_join(asker.thread, NULL), 0);
    assert_true(now_s() - begun < PATIENCE_S / 2);
    if (asker.code != 0 && asker.code != -ESHUTDOWN)
        fail_msg("%s ends with %d", words ? words : "a drain", asker.code);
    blk_drain(probe); /* nor does who comes now wait for it */
    blk_close(&probe);
    blk_context_close(&context);
    blk_context_close(&late.context);
    sluice_stop(&engine);
    assert_true(now_s() - begun < PATIENCE_S / 2);
}

static void a_removal_ends_although_one_who_is_told_of_it_never_looks(void **state)
{
    (void)state;
    ends_in_time(is_told_of_removals, "medium-remove disk");
    ends_in_time(is_told_of_removals, "medium-remove-all");
}

static void a_change_ends_although_one_who_is_told_of_it_never_looks(void **state)
{
    (void)state;
    ends_in_time(is_told_of_removals, "medium-change disk other");
    ends_in_time(is_told_of_insertions, "medium-change disk other");
}

static void an_insertion_ends_although_one_who_is_told_of_it_never_looks(void **state)
{
    (void)state;
    ends_in_time(is_told_of_insertions, "medium-insert backend=disk node=node");
}

static void what_a_device_is_asked_ends_although_it_never_looks(void **state)
{
    (void)state;
    ends_in_time(plays_a_device, "medium-change disk other");
    ends_in_time(plays_a_device, "medium-open-tray disk");
}

static void what_waits_for_a_callback_ends_although_it_never_runs(void **state)
{
    (void)state;
    ends_in_time(has_a_callback_due, "medium-remove disk");
    ends_in_time(has_a_callback_due, "medium-change disk other");
    ends_in_time(has_a_callback_due, "backend-pause disk");
    ends_in_time(has_a_callback_due, "backend-move name=disk reactor=1 force=on");
    ends_in_time(has_a_callback_due, NULL);
    ends_in_time(has_a_request_in_flight, "medium-remove disk");
    ends_in_time(has_a_request_in_flight, "medium-change disk other");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(a_removal_ends_although_one_who_is_told_of_it_never_looks),
        TEST(a_change_ends_although_one_who_is_told_of_it_never_looks),
        TEST(an_insertion_ends_although_one_who_is_told_of_it_never_looks),
        TEST(what_a_device_is_asked_ends_although_it_never_looks),
        TEST(what_waits_for_a_callback_ends_although_it_never_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
