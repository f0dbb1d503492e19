/* Devices of embedding programs, with real threads: attached, played by callbacks. */
#include "api_rig.h"

/* What a device was called to do, and how it stands. */
struct drive {
    blk *blk;
    char log[256];
    bool open, locked;
    int load_error;
    bool leaves;    /* it closes its blk when it is asked for the medium */
    int64_t length; /* at its last resize */
};

static void add(struct drive *drive, const char *what)
{
    size_t used = strlen(drive->log);
    snprintf(drive->log + used, sizeof drive->log - used, "%s%s", used ? ", " : "", what);
}

static int change_media(void *opaque, bool load)
{
    struct drive *drive = opaque;
    add(drive, load ? "load" : "eject");
    if (load && drive->load_error)
        return drive->load_error;
    drive->open = !load;
    return 0;
}

static void eject_request(void *opaque, bool force)
{
    struct drive *drive = opaque;
    add(drive, force ? "force" : "eject-request");
    if (force)
        drive->locked = false;
    if (drive->leaves)
        blk_close(&drive->blk);
}

static bool is_tray_open(void *opaque)
{
    return ((struct drive *)opaque)->open;
}

static bool is_medium_locked(void *opaque)
{
    return ((struct drive *)opaque)->locked;
}

static void resized(void *opaque)
{
    struct drive *drive = opaque;
    drive->length = blk_getlength(drive->blk);
    add(drive, "resized");
}

static void drained_begin(void *opaque)
{
    add(opaque, "drained-begin");
}

static void drained_end(void *opaque)
{
    add(opaque, "drained-end");
}

static const struct blk_dev_ops all_ops = {
    .change_media = change_media,
    .eject_request = eject_request,
    .is_tray_open = is_tray_open,
    .is_medium_locked = is_medium_locked,
    .resized = resized,
    .drained_begin = drained_begin,
    .drained_end = drained_end,
};

static struct rig start_rig(void)
{
    return rig_open(0, "driver=mock size=1M");
}

static void attach(struct rig *rig, int flags)
{
    char *error;
    worked(blk_attach_dev(rig->blk, "cd", NULL, flags, &error), &error);
}

static void request_refused(blk_context *context, int code, const char *word, const char *text)
{
    char *error;
    refused(code, word, sluice_request(context, text, NULL, &error), &error);
}

static char *answer(blk_context *context, const char *text)
{
    char *reply, *error;
    worked(sluice_request(context, text, &reply, &error), &error);
    return reply;
}

static void says(blk_context *context, const char *text, const char *word, bool expected)
{
    char *reply = answer(context, text);
    if (!!strstr(reply, word) != expected)
        fail_msg("%s: %s \"%s\" in %s", text, expected ? "no" : "there is", word, reply);
    free(reply);
}

static unsigned tray_events(blk_context *context)
{
    char *reply = answer(context, "events-since");
    unsigned n = 0;
    for (const char *at = reply; (at = strstr(at, "\"device_tray_moved\"")); at++)
        n++;
    free(reply);
    return n;
}

static void assert_device(blk *blk, const char *expected)
{
    char *id = blk_get_attached_dev_id(blk);
    assert_string_equal(id, expected);
    free(id);
}

static void assert_perms(const blk *blk, unsigned perm, unsigned shared)
{
    unsigned has, shares;
    blk_get_perm(blk, &has, &shares);
    assert_int_equal(has, perm);
    assert_int_equal(shares, shared);
}

#define READ   BLK_PERM_CONSISTENT_READ
#define SHARED (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED)

static void a_device_is_attached_once_and_gives_all_back(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    char *error, byte = 1;
    assert_device(rig.blk, "");
    assert_int_equal(blk_detach_dev(rig.blk), -EINVAL);
    unsigned references = blk_get_refcnt(rig.blk);
    attach(&rig, BLK_WRITABLE);
    assert_device(rig.blk, "cd");
    assert_int_equal(blk_get_refcnt(rig.blk), references + 1);
    assert_perms(rig.blk, READ | BLK_PERM_WRITE, SHARED);
    refused(-EBUSY, "backend 'disk' has a device already, device 'cd'",
            blk_attach_dev(rig.blk, "dvd", NULL, 0, &error), &error);
    request_refused(rig.context, -EBUSY, "has a device already, device 'cd'",
                    "export-add type=nbd backend=disk port=0");
    request_refused(rig.context, -EBUSY, "backend 'disk' can't be removed", "backend-remove disk");
    request_refused(rig.context, -EBUSY, "is a program's, which detaches it", "device-remove cd");
    request_refused(rig.context, -ENOTSUP, "is a program's", "device-set cd locked=on");
    says(rig.context, "device-show cd", "\"embedded\": true", true);
    says(rig.context, "status", "\"embedded\": true", true);
    assert_int_equal(blk_pwrite(rig.blk, 0, 1, &byte, 0), 1);

    assert_int_equal(blk_set_guest_block_size(rig.blk, 4096), 0);
    assert_int_equal(blk_detach_dev(rig.blk), 0);
    assert_device(rig.blk, "");
    assert_int_equal(blk_get_refcnt(rig.blk), references);
    assert_int_equal(blk_get_guest_block_size(rig.blk), 512);
    assert_perms(rig.blk, 0, BLK_PERM_ALL);
    assert_int_equal(blk_pwrite(rig.blk, 0, 1, &byte, 0), -EPERM);
    says(rig.context, "backend-show disk", "\"permissions\": [\n  ]", true);
    says(rig.context, "events-since", "device_deleted", true);

    attach(&rig, BLK_SHARE_RW | BLK_RESIZE);
    assert_perms(rig.blk, READ | BLK_PERM_RESIZE, SHARED | BLK_PERM_WRITE);
    worked(blk_set_perm(rig.blk, READ | BLK_PERM_WRITE, BLK_PERM_ALL, &error), &error);
    assert_int_equal(blk_pwrite(rig.blk, 0, 1, &byte, 0), 1);
    rig_close(&rig); /* with the device attached */
}

static void a_device_without_an_id_is_called_by_its_path(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    char *error;
    refused(-EINVAL, "needs an id or a path", blk_attach_dev(rig.blk, NULL, NULL, 0, &error),
            &error);
    refused(-EINVAL, "can't name the new device", blk_attach_dev(rig.blk, "9", NULL, 0, &error),
            &error);
    refused(-EINVAL, "takes the flags", blk_attach_dev(rig.blk, "cd", NULL, BLK_FUA, &error),
            &error);
    worked(blk_attach_dev(rig.blk, NULL, "/machine/ide[0]", 0, &error), &error);
    assert_device(rig.blk, "/machine/ide[0]");
    request_refused(rig.context, -EBUSY, "device '/machine/ide[0]'", "backend-remove disk");
    says(rig.context, "device-list", "\"path\": \"/machine/ide[0]\"", true);
    rig_close(&rig);
}

static void refuse_path(struct rig *rig, const char *path, const char *word)
{
    char *error;
    refused(-EINVAL, word, blk_attach_dev(rig->blk, NULL, path, 0, &error), &error);
    refused(-EINVAL, word, blk_attach_dev(rig->blk, *path ? "cd" : NULL, path, 0, &error), &error);
}

/* Sentences are full of the longest ones: two backends on a node, each without a name, whose
 * devices don't get along; and one that more use than can be named. */
static void paths_are_bounded_and_the_longest_break_no_sentence(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    char path[301], word[700], *error;
    memset(path, 'p', sizeof path);
    path[300] = 0;
    refuse_path(&rig, path, "it has 300 bytes, but 127 is the most");
    path[128] = 0;
    refuse_path(&rig, path, "it has 128 bytes, but 127 is the most");
    refuse_path(&rig, "/ide\xff", "is not UTF-8");
    refuse_path(&rig, "", "needs an id or a path");
    path[127] = 0;
    blk *one, *two;
    worked(blk_set_perm(rig.blk, READ, BLK_PERM_ALL, &error), &error);
    worked(blk_new_open(rig.context, NULL, "node", NULL, 0, &one, &error), &error);
    worked(blk_new_open(rig.context, NULL, "node", NULL, BLK_WRITABLE, &two, &error), &error);
    worked(blk_attach_dev(two, NULL, path, BLK_WRITABLE | BLK_SHARE_RW, &error), &error);
    snprintf(word, sizeof word, "backend '%s', for device '%s' needs 'write' on node 'node'", path,
             path);
    refused(-EPERM, word, blk_attach_dev(one, NULL, path, 0, &error), &error);
    blk_close(&one);

    snprintf(word, sizeof word, "device '%s', client 'context", path);
    worked(blk_attach_dev(rig.blk, NULL, path, BLK_SHARE_RW, &error), &error);
    blk *more[8];
    for (unsigned i = 0; i < 8; i++)
        more[i] = open_blk(rig.context, "disk", 0);
    refused(-EBUSY, word, sluice_request(rig.context, "backend-remove disk", NULL, &error), &error);
    refused(-EBUSY, " more use it; remove those first",
            sluice_request(rig.context, "backend-remove disk", NULL, &error), &error);
    for (unsigned i = 0; i < 8; i++)
        blk_close(&more[i]);
    blk_close(&two);
    rig_close(&rig);
}

static void an_unnamed_backend_is_described_by_its_device(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    blk *blk;
    char *error, text[64];
    worked(blk_new(rig.context, 0, BLK_PERM_ALL, &blk, &error), &error);
    assert_int_equal(blk_description(blk, text, sizeof text), 0);
    assert_string_equal(text, "a block device");
    worked(blk_attach_dev(blk, NULL, "/machine/ide[1]", 0, &error), &error);
    assert_int_equal(blk_description(blk, text, sizeof text), 0);
    assert_string_equal(text, "/machine/ide[1]");
    blk_detach_dev(blk);
    worked(blk_attach_dev(blk, "ide1", "/machine/ide[1]", 0, &error), &error);
    assert_int_equal(blk_description(blk, text, sizeof text), 0);
    assert_string_equal(text, "ide1");
    blk_close(&blk);
    rig_close(&rig);
}

static void a_conflict_of_permissions_attaches_nothing(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    char *error;
    request(rig.context, "backend-add name=other node=node");
    worked(blk_set_perm(rig.blk, READ, BLK_PERM_ALL, &error), &error);
    request(rig.context, "device-add other id=o");
    refused(-EPERM, "device 'o' does not share",
            blk_attach_dev(rig.blk, "cd", NULL, BLK_WRITABLE, &error), &error);
    assert_device(rig.blk, "");
    assert_perms(rig.blk, READ, BLK_PERM_ALL);
    rig_close(&rig);
}

static void what_a_device_offers_decides_what_the_backend_is(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    struct drive drive = {.blk = rig.blk, .open = true, .locked = true};
    struct blk_dev_ops ops = {0};
    assert_int_equal(blk_dev_has_removable_media(rig.blk), 1); /* no device */
    attach(&rig, 0);
    assert_int_equal(blk_dev_has_removable_media(rig.blk), 0);
    ops.change_media = change_media;
    assert_int_equal(blk_set_dev_ops(rig.blk, &ops, &drive), 0);
    assert_int_equal(blk_dev_has_removable_media(rig.blk), 1);
    assert_int_equal(blk_dev_has_tray(rig.blk), 0);
    assert_int_equal(blk_dev_is_tray_open(rig.blk), 0); /* nobody says so */
    assert_int_equal(blk_dev_is_medium_locked(rig.blk), 0);
    assert_int_equal(blk_set_dev_ops(rig.blk, &all_ops, &drive), 0);
    assert_int_equal(blk_dev_has_tray(rig.blk), 1);
    assert_int_equal(blk_dev_is_tray_open(rig.blk), 1);
    assert_int_equal(blk_dev_is_medium_locked(rig.blk), 1);
    drive.open = drive.locked = false; /* asked, it is looked at */
    assert_int_equal(blk_dev_is_tray_open(rig.blk), 0);
    assert_int_equal(blk_dev_is_medium_locked(rig.blk), 0);
    assert_int_equal(blk_detach_dev(rig.blk), 0);
    assert_int_equal(blk_dev_has_tray(rig.blk), 0);
    assert_int_equal(blk_dev_change_media(rig.blk, false, NULL), 0);
    assert_string_equal(drive.log, ""); /* its operations went with it */
    assert_int_equal(blk_set_dev_ops(rig.blk, &all_ops, &drive), 0); /* without a device, too */
    assert_int_equal(blk_dev_has_tray(rig.blk), 1);
    assert_int_equal(blk_set_dev_ops(rig.blk, NULL, NULL), 0);
    assert_int_equal(blk_dev_has_tray(rig.blk), 0);
    rig_close(&rig);
}

static void consoles_move_the_tray_through_callbacks(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    struct drive drive = {.blk = rig.blk};
    char byte;
    attach(&rig, 0);
    assert_int_equal(blk_set_dev_ops(rig.blk, &all_ops, &drive), 0);
    request(rig.context, "medium-open-tray disk");
    assert_true(drive.open && blk_is_inserted(rig.blk) && !blk_is_available(rig.blk));
    assert_int_equal(blk_getlength(rig.blk), -ENOMEDIUM);
    assert_int_equal(blk_pread(rig.blk, 0, 1, &byte, 0), -ENOMEDIUM);
    request(rig.context, "medium-close-tray disk");
    assert_true(blk_is_available(rig.blk));
    assert_int_equal(blk_pread(rig.blk, 0, 1, &byte, 0), 1);
    assert_int_equal(tray_events(rig.context), 2);

    drive.locked = true;
    assert_int_equal(blk_dev_state_changed(rig.blk), 0);
    request_refused(rig.context, -EINPROGRESS, "in progress", "medium-eject disk");
    assert_false(drive.open);
    request(rig.context, "medium-eject disk force=on");
    assert_true(drive.open);
    assert_false(blk_is_inserted(rig.blk));
    drive.load_error = -EIO;
    request_refused(rig.context, -EIO,
                    "the device of backend 'disk' did not take the medium: Input/output error",
                    "medium-close-tray disk");
    assert_int_equal(tray_events(rig.context), 3);
    assert_string_equal(drive.log, "eject, load, eject-request, force, eject, drained-begin, "
                                   "drained-end, load");
    rig_close(&rig);
}

static void a_program_asks_its_own_device_too(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    struct drive drive = {.blk = rig.blk};
    char *error;
    assert_int_equal(blk_set_dev_ops(rig.blk, &all_ops, &drive), 0);
    worked(blk_dev_change_media(rig.blk, false, &error), &error);
    worked(blk_dev_change_media(rig.blk, false, &error), &error); /* has not moved */
    assert_int_equal(tray_events(rig.context), 1);
    drive.load_error = -ENOSPC;
    refused(-ENOSPC, "did not take the medium", blk_dev_change_media(rig.blk, true, &error),
            &error);
    assert_int_equal(blk_dev_eject_request(rig.blk, false), 0);
    assert_int_equal(blk_dev_eject_request(rig.blk, true), 0);
    assert_int_equal(tray_events(rig.context), 1);
    assert_string_equal(drive.log, "eject, eject, load, eject-request, force");
    rig_close(&rig);
}

static void a_guest_s_own_eject_is_always_told_and_goes_down_to_the_driver(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    struct drive drive = {.blk = rig.blk};
    assert_int_equal(blk_eject(rig.blk, true), 0); /* also without a device */
    assert_int_equal(tray_events(rig.context), 1);
    assert_int_equal(blk_set_dev_ops(rig.blk, &all_ops, &drive), 0);
    drive.open = true;
    assert_int_equal(blk_eject(rig.blk, true), 0);
    assert_int_equal(tray_events(rig.context), 2); /* once, though the tray has moved */
    assert_false(blk_is_available(rig.blk));
    assert_int_equal(blk_lock_medium(rig.blk, true), 0);
    says(rig.context, "node-show node", "\"sent-3\": \"lock\"", true);
    request(rig.context, "medium-remove disk");
    assert_int_equal(blk_eject(rig.blk, false), 0); /* without a medium, too */
    assert_int_equal(blk_lock_medium(rig.blk, false), 0);
    assert_int_equal(tray_events(rig.context), 3);
    says(rig.context, "node-show node", "sent-4", false);
    rig_close(&rig);
}

static void a_drained_region_is_told_once_and_at_once_to_one_that_comes_into_it(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    struct drive drive = {.blk = rig.blk};
    assert_int_equal(blk_drain_begin(rig.blk), 0);
    assert_int_equal(blk_set_dev_ops(rig.blk, &all_ops, &drive), 0);
    assert_string_equal(drive.log, "drained-begin");
    assert_int_equal(blk_drain_begin(rig.blk), 0);
    assert_int_equal(blk_drain_end(rig.blk), 0);
    assert_int_equal(blk_drain_end(rig.blk), 0);
    double end = now_s() + PATIENCE_S;
    while (!strstr(drive.log, "end") && now_s() < end)
        blk_wait(rig.context, 100);
    assert_string_equal(drive.log, "drained-begin, drained-end");
    rig_close(&rig);
}

static void a_resize_calls_the_device_which_finds_the_new_length(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    struct drive drive = {.blk = rig.blk};
    assert_int_equal(blk_set_dev_ops(rig.blk, &all_ops, &drive), 0);
    request(rig.context, "node-set node size=2M");
    double end = now_s() + PATIENCE_S;
    while (!*drive.log && now_s() < end)
        blk_wait(rig.context, 100);
    assert_string_equal(drive.log, "resized");
    assert_int_equal(drive.length, 2 << 20);
    rig_close(&rig);
}

static void a_device_that_leaves_while_it_is_asked_holds_nobody_up(void **state)
{
    (void)state;
    struct rig rig = start_rig();
    struct drive drive = {.locked = true, .leaves = true};
    char *error;
    drive.blk = open_blk(rig.context, "disk", 0);
    worked(blk_attach_dev(drive.blk, "cd", NULL, 0, &error), &error);
    assert_int_equal(blk_set_dev_ops(drive.blk, &all_ops, &drive), 0);
    request(rig.context, "medium-open-tray disk force=on"); /* there is none any more to move */
    assert_null(drive.blk);
    assert_string_equal(drive.log, "force");
    assert_device(rig.blk, "");
    request(rig.context, "medium-remove disk");
    rig_close(&rig);
}

#define TEST(name) cmocka_unit_test_setup(name, bound_time)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_device_is_attached_once_and_gives_all_back),
        TEST(a_device_without_an_id_is_called_by_its_path),
        TEST(paths_are_bounded_and_the_longest_break_no_sentence),
        TEST(an_unnamed_backend_is_described_by_its_device),
        TEST(a_conflict_of_permissions_attaches_nothing),
        TEST(what_a_device_offers_decides_what_the_backend_is),
        TEST(consoles_move_the_tray_through_callbacks),
        TEST(a_program_asks_its_own_device_too),
        TEST(a_guest_s_own_eject_is_always_told_and_goes_down_to_the_driver),
        TEST(a_drained_region_is_told_once_and_at_once_to_one_that_comes_into_it),
        TEST(a_resize_calls_the_device_which_finds_the_new_length),
        TEST(a_device_that_leaves_while_it_is_asked_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
