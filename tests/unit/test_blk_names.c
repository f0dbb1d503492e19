/* The public interface: life, references, names, walks and look-ups of backends. With real threads.
 */
#include "api_rig.h"

#include <fcntl.h>

#define ALL BLK_PERM_ALL

static blk *new_blk(blk_context *context)
{
    blk *blk;
    char *error;
    worked(blk_new(context, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, ALL, &blk, &error), &error);
    return blk;
}

static unsigned count_all(blk_context *context)
{
    struct blk_cursor cursor = {0};
    struct blk_info info;
    unsigned n = 0;
    while (blk_next(context, &cursor, &info) == 1)
        n++;
    return n;
}

static unsigned count_roots(blk_context *context)
{
    struct blk_cursor cursor = {0};
    struct blk_node_info info;
    unsigned n = 0;
    while (blk_next_root(context, &cursor, &info) == 1)
        n++;
    return n;
}

/* --- Life and references */

static void a_new_blk_is_empty_and_unnamed_and_has_one_reference(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null");
    blk *blk = new_blk(rig.context);
    char text[64];
    unsigned perm, shared;
    assert_int_equal(blk_get_refcnt(blk), 1);
    assert_string_equal(blk_name(blk), "");
    assert_false(blk_is_inserted(blk));
    assert_int_equal(blk_getlength(blk), -ENOMEDIUM);
    assert_int_equal(blk_enable_write_cache(blk), 1);
    assert_int_equal(blk_description(blk, text, sizeof text), 0);
    assert_string_equal(text, "a block device");
    blk_get_perm(blk, &perm, &shared);
    assert_int_equal(perm, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE);
    assert_int_equal(shared, ALL);
    assert_int_equal(blk_flush(blk), -ENOMEDIUM);
    char *error;
    refused(-EINVAL, "permission", blk_new(rig.context, 32, ALL, &blk, &error), &error);
    assert_null(blk);
    rig_close(&rig);
}

static void references_are_counted_and_the_last_unref_deletes(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null");
    blk *blk = new_blk(rig.context), *other;
    uint64_t id = blk_id(blk);
    struct blk_info info;
    char *error;
    blk_ref(blk);
    blk_ref(blk);
    assert_int_equal(blk_get_refcnt(blk), 3);
    worked(blk_open_id(rig.context, id, BLK_NO_IO, &other, &error), &error);
    assert_int_equal(blk_get_refcnt(blk), 4);
    assert_int_equal(blk_get_refcnt(other), 4);
    blk_unref(blk);
    blk_unref(blk);
    assert_int_equal(blk_get_refcnt(other), 2);
    blk_unref(blk);
    assert_int_equal(blk_get_refcnt(other), 1);
    blk_unref(other);
    assert_int_equal(blk_by_id(rig.context, id, &info), 0);
    refused(-ENOENT, "look again", blk_open_id(rig.context, id, 0, &other, &error), &error);

    assert_int_equal(blk_get_refcnt(NULL), 0);
    blk_unref(NULL);
    other = NULL;
    blk_close(&other);
    assert_int_equal(blk_get_refcnt(rig.blk), 2); /* its name's, and this */
    rig_close(&rig);
}

/* What callbacks do while the last reference waits for requests. */
struct meddler {
    blk *blk;
    unsigned calls;
    bool keeps;
};

static void meddle(void *opaque, int ret)
{
    struct meddler *meddler = opaque;
    assert_int_equal(ret, 0);
    meddler->calls++;
    if (meddler->keeps && meddler->calls == 1)
        blk_ref(meddler->blk); /* kept */
    blk_ref(meddler->blk);
    blk_unref(meddler->blk);
    if (!meddler->keeps)
        blk_unref(meddler->blk); /* that of which the drain runs */
}

static void
callbacks_that_drop_references_while_the_last_unref_drains_do_not_delete_twice(void **state)
{
    (void)state;
    for (unsigned keeps = 0; keeps < 2; keeps++) {
        struct rig rig = rig_open(0, "driver=null latency=5ms");
        struct meddler meddler = {.keeps = keeps};
        struct blk_info info;
        char *error, data[512] = "";
        worked(blk_new_open(rig.context, NULL, "node", NULL, BLK_WRITABLE, &meddler.blk, &error),
               &error);
        uint64_t id = blk_id(meddler.blk);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(blk_aio_pwrite(meddler.blk, 512 * i, 512, data, 0, meddle, &meddler),
                             0);
        blk_unref(meddler.blk);
        assert_int_equal(meddler.calls, 3);
        assert_int_equal(blk_by_id(rig.context, id, &info), keeps);
        if (keeps) {
            assert_int_equal(info.references, 1);
            assert_int_equal(blk_pwrite(meddler.blk, 0, 512, data, 0), 512);
            blk_unref(meddler.blk);
            assert_int_equal(blk_by_id(rig.context, id, &info), 0);
        }
        rig_close(&rig);
    }
}

static void drop(void *opaque, int ret)
{
    struct meddler *meddler = opaque;
    assert_int_equal(ret, 0);
    if (!meddler->calls++)
        blk_unref(meddler->blk);
    else if (meddler->calls == 2)
        blk_unref(meddler->blk); /* runs inside the one above, which waits for this request */
}

static void the_last_reference_may_go_from_a_callback(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null latency=5ms");
    struct meddler meddler = {0};
    struct blk_info info;
    char *error, data[512] = "";
    worked(blk_new_open(rig.context, NULL, "node", NULL, BLK_WRITABLE, &meddler.blk, &error),
           &error);
    uint64_t id = blk_id(meddler.blk);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(blk_aio_pwrite(meddler.blk, 512 * i, 512, data, 0, drop, &meddler), 0);
    reap(rig.context, &meddler.calls, 3);
    assert_int_equal(blk_by_id(rig.context, id, &info), 0);
    rig_close(&rig);
}

static void a_context_that_closes_lets_go_of_what_it_has(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null");
    blk_context *context = context_on(rig.engine, 0);
    blk *blk = new_blk(context);
    blk_ref(blk);
    new_blk(context);
    assert_int_equal(count_all(rig.context), 3);
    blk_context_close(&context);
    assert_int_equal(count_all(rig.context), 1);
    rig_close(&rig);
}

/* --- Opening in one step */

static void a_file_opens_in_one_step_with_the_permissions_of_the_flags(void **state)
{
    (void)state;
    static const struct {
        int flags;
        unsigned perm;
    } cases[] = {
        {0, BLK_PERM_CONSISTENT_READ},
        {BLK_WRITABLE, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE},
        {BLK_RESIZE, BLK_PERM_CONSISTENT_READ | BLK_PERM_RESIZE},
        {BLK_NO_IO, 0},
        {BLK_NO_IO | BLK_WRITABLE, 0},
        {BLK_NO_IO | BLK_RESIZE, BLK_PERM_RESIZE},
    };
    char path[] = "/tmp/sluice-names-XXXXXX", *error;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    struct rig rig = rig_open(0, "driver=null");
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        blk *blk;
        unsigned perm, shared;
        worked(blk_new_open(rig.context, path, NULL, NULL, cases[i].flags, &blk, &error), &error);
        assert_int_equal(blk_getlength(blk), 1 << 20);
        blk_get_perm(blk, &perm, &shared);
        assert_int_equal(perm, cases[i].perm);
        assert_int_equal(shared, ALL);
        assert_string_equal(blk_name(blk), "");
        assert_int_equal(count_all(rig.context), 2);
        assert_int_equal(count_roots(rig.context), 2);
        blk_close(&blk);
        assert_int_equal(count_all(rig.context), 1);
        assert_int_equal(count_roots(rig.context), 1); /* the file is closed by now: its lock too */
    }
    close(fd);
    unlink(path);
    rig_close(&rig);
}

static void a_node_or_options_open_in_one_step_too(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    char *error, byte = 'x';
    blk *blk;
    worked(blk_new_open(rig.context, NULL, "node", "werror=ignore", BLK_WRITABLE, &blk, &error),
           &error);
    assert_int_equal(blk_pwrite(blk, 5, 1, &byte, 0), 1);
    blk_close(&blk);
    assert_int_equal(blk_pread(rig.blk, 5, 1, &byte, 0), 1);
    assert_int_equal(byte, 'x');
    worked(blk_new_open(rig.context, NULL, NULL, "driver=memory size=2M", 0, &blk, &error), &error);
    assert_int_equal(blk_getlength(blk), 2 << 20);
    assert_true(blk_is_read_only(blk));
    assert_int_equal(blk_pwrite(blk, 0, 1, &byte, 0), -EPERM);
    blk_close(&blk);
    rig_close(&rig);
}

/* The image is locked for readers, who don't exclude each other, and what it is on may be
 * read-only. */
static void one_that_only_reads_opens_its_image_for_reading(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null");
    char path[] = "/tmp/sluice-names-XXXXXX", text[100], *error;
    blk *blk;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "backend-add name=b%u driver=file filename=%s read-only=on", i,
                 path);
        request(rig.context, text);
    }
    snprintf(text, sizeof text, "driver=file filename=%s", path);
    worked(blk_new_open(rig.context, NULL, NULL, text, 0, &blk, &error), &error);
    assert_true(blk_is_read_only(blk));
    blk_close(&blk);
    snprintf(text, sizeof text, "driver=mock read-only=on");
    worked(blk_new_open(rig.context, NULL, NULL, text, 0, &blk, &error), &error);
    assert_true(blk_is_read_only(blk));
    blk_close(&blk);
    close(fd);
    unlink(path);
    rig_close(&rig);
}

static void what_cannot_be_opened_in_one_step_leaves_nothing(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    char *error;
    blk *blk;
    char path[64]; /* nobody has looked there, so that the kernel has a thread look */
    snprintf(path, sizeof path, "/nowhere-%d/file", (int)getpid());
    request(rig.context, "node-add name=ro driver=mock read-only=on");
    struct holdings before = holdings();
#define REFUSED(code, word, ...) refused(code, word, blk_new_open(rig.context, __VA_ARGS__), &error)
    REFUSED(-ENOENT, "there is no file", path, NULL, NULL, BLK_WRITABLE, &blk, &error);
    assert_null(blk);
    REFUSED(-ENOENT, "there is no node", NULL, "none", NULL, 0, &blk, &error);
    REFUSED(-EPERM, "read-only", NULL, "ro", NULL, BLK_WRITABLE, &blk, &error);
    REFUSED(-EPERM, "is to be read-only", NULL, "node", "read-only=on", BLK_WRITABLE, &blk, &error);
    REFUSED(-EPERM, "is to be read-only", NULL, NULL, "driver=null read-only=on",
            BLK_NO_IO | BLK_RESIZE, &blk, &error);
    REFUSED(-EINVAL, "nothing to open", NULL, NULL, NULL, 0, &blk, &error);
    REFUSED(-EINVAL, "nothing to open", NULL, NULL, "werror=stop", 0, &blk, &error);
    REFUSED(-EINVAL, "another one", NULL, "node", "node=node", 0, &blk, &error);
    REFUSED(-EINVAL, "both node", NULL, "node", "driver=null", 0, &blk, &error);
    REFUSED(-EINVAL, "werror", NULL, "node", "werror=maybe", 0, &blk, &error);
    REFUSED(-EINVAL, "name is given twice", NULL, "node", "name=b", 0, &blk, &error);
    REFUSED(-EINVAL, "blk_new_open", NULL, "node", NULL, BLK_FUA, &blk, &error);
    REFUSED(-EINVAL, "no driver 'x'", NULL, NULL, "driver=x", 0, &blk, &error);
    assert_int_equal(count_all(rig.context), 1);
    assert_int_equal(count_roots(rig.context), 2);
    holds_only(before);
    rig_close(&rig);
}

/* --- Names */

static void a_name_makes_a_blk_visible(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null");
    blk *blk = new_blk(rig.context), *other;
    char *error, text[64];
    refused(-EEXIST, "a node 'node' already", blk_add_name(blk, "node", &error), &error);
    refused(-EEXIST, "a backend 'disk' already", blk_add_name(blk, "disk", &error), &error);
    refused(-EINVAL, "begins with '-'", blk_add_name(blk, "-x", &error), &error);
    refused(-EINVAL, "it is empty", blk_add_name(blk, "", &error), &error);
    assert_string_equal(blk_name(blk), "");
    worked(blk_add_name(blk, "new", &error), &error);
    assert_string_equal(blk_name(blk), "new");
    assert_int_equal(blk_get_refcnt(blk), 2);
    assert_int_equal(blk_description(blk, text, sizeof text), 0);
    assert_string_equal(text, "new");
    refused(-EBUSY, "has a name already", blk_add_name(blk, "newer", &error), &error);
    request(rig.context, "backend-show new");
    other = open_blk(rig.context, "new", 0);
    assert_int_equal(blk_remove_name(blk), 0);
    assert_int_equal(blk_remove_name(blk), 0);
    assert_string_equal(blk_name(blk), "");
    double end = now_s() + PATIENCE_S;
    while (*blk_name(other) && now_s() < end) /* is told */
        blk_wait(rig.context, 10);
    assert_string_equal(blk_name(other), "");
    assert_int_equal(sluice_request(rig.context, "backend-show new", NULL, NULL), -ENOENT);
    /* The name keeps it. */
    worked(blk_add_name(blk, "new", &error), &error);
    blk_close(&blk);
    blk_close(&other);
    assert_int_equal(count_all(rig.context), 2);
    request(rig.context, "backend-remove new");
    assert_int_equal(count_all(rig.context), 1);
    rig_close(&rig);
}

static void shows(blk_context *context, const char *text, const char *word)
{
    char *reply, *error;
    worked(sluice_request(context, text, &reply, &error), &error);
    if (!strstr(reply, word))
        fail_msg("%s: no %s in %s", text, word, reply);
    free(reply);
}

/* Also when another backend has the old name by now. */
static void an_export_is_shown_with_the_name_that_its_backend_has_now(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null");
    char *error;
    request(rig.context, "export-add type=nbd backend=disk id=e port=0");
    shows(rig.context, "export-show e", "\"backend\": \"disk\"");
    assert_int_equal(blk_remove_name(rig.blk), 0);
    request(rig.context, "backend-add name=disk");
    shows(rig.context, "export-show e", "\"backend\": \"\"");
    shows(rig.context, "export-show e", "\"node\": \"node\"");
    worked(blk_add_name(rig.blk, "new", &error), &error);
    shows(rig.context, "export-show e", "\"backend\": \"new\"");
    shows(rig.context, "status", "\"backend\": \"new\"");
    rig_close(&rig);
}

/* --- Walks and look-ups */

static void walks_meet_all_or_the_named_ones_and_go_on_when_one_is_gone(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null");
    blk *one = new_blk(rig.context), *two = new_blk(rig.context);
    struct blk_cursor cursor = {0}, named = {0}, roots = {0};
    struct blk_info info;
    struct blk_node_info node;
    char *error;
    worked(blk_add_name(two, "two", &error), &error);
    request(rig.context, "node-add name=own driver=null");
    assert_int_equal(blk_next_named(rig.context, &named, &info), 1);
    assert_string_equal(info.name, "disk");
    assert_string_equal(info.node, "node");
    assert_int_equal(info.references, 2);
    assert_int_equal(blk_next_named(rig.context, &named, &info), 1);
    assert_string_equal(info.name, "two");
    assert_int_equal(info.id, blk_id(two));
    assert_int_equal(blk_next_named(rig.context, &named, &info), 0);

    assert_int_equal(blk_next(rig.context, &cursor, &info), 1);
    assert_int_equal(blk_next(rig.context, &cursor, &info), 1);
    assert_int_equal(info.id, blk_id(one));
    assert_string_equal(info.description, "a block device");
    blk_close(&one);
    assert_int_equal(blk_next(rig.context, &cursor, &info), 1);
    assert_string_equal(info.name, "two");
    assert_int_equal(blk_next(rig.context, &cursor, &info), 0);

    assert_int_equal(blk_next_root(rig.context, &roots, &node), 1);
    assert_string_equal(node.name, "node");
    assert_true(node.has_backend && node.is_root);
    assert_int_equal(blk_next_root(rig.context, &roots, &node), 1);
    assert_string_equal(node.name, "own");
    assert_false(node.has_backend);
    assert_int_equal(blk_next_root(rig.context, &roots, &node), 0);
    rig_close(&rig);
}

static void a_backend_is_found_by_name_device_and_node_and_opened(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null");
    struct blk_info info;
    struct blk_node_info node;
    char *error;
    request(rig.context, "export-add type=nbd backend=disk id=e port=0");
    assert_int_equal(blk_by_name(rig.context, "disk", &info), 1);
    assert_int_equal(info.id, blk_id(rig.blk));
    assert_string_equal(info.device, "e");
    assert_int_equal(blk_by_name(rig.context, "node", &info), 0); /* which is a node's */
    blk *nameless = new_blk(rig.context);
    assert_int_equal(blk_by_name(rig.context, "", &info), 0);
    blk_close(&nameless);
    assert_int_equal(blk_by_dev(rig.context, "e", &info), 1);
    assert_string_equal(info.name, "disk");
    assert_int_equal(blk_by_dev(rig.context, "f", &info), 0);
    assert_int_equal(blk_by_node(rig.context, "node", &info), 1);
    assert_string_equal(info.name, "disk");
    assert_int_equal(blk_by_node(rig.context, "disk", &info), 0);
    assert_int_equal(blk_node(rig.context, "node", &node), 1);
    assert_int_equal(blk_node(rig.context, "none", &node), 0);
    blk *blk;
    worked(blk_open_id(rig.context, info.id, BLK_WRITABLE, &blk, &error), &error);
    assert_string_equal(blk_name(blk), "disk");
    assert_int_equal(blk_flush(blk), 0);
    refused(-EINVAL, "blk_open_id", blk_open_id(rig.context, info.id, -1, &blk, &error), &error);
    rig_close(&rig);
}

static void a_program_s_device_is_found_by_its_id_or_by_its_path_when_it_has_none(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null");
    struct blk_info info;
    char *error;
    blk *other = new_blk(rig.context), *third = new_blk(rig.context);
    assert_int_equal(blk_by_dev(rig.context, "", &info), 0);
    worked(blk_attach_dev(other, NULL, "/machine/ide[0]", 0, &error), &error);
    assert_int_equal(blk_by_dev(rig.context, "/machine/ide[0]", &info), 1);
    assert_int_equal(info.id, blk_id(other));
    assert_string_equal(info.device, "/machine/ide[0]");
    assert_string_equal(info.description, "/machine/ide[0]");
    assert_int_equal(blk_by_dev(rig.context, "", &info), 0);
    assert_int_equal(blk_by_dev(rig.context, "/machine/ide[1]", &info), 0);
    /* One that has an id is found by that only, and before one that has it for a path. */
    blk_detach_dev(other);
    worked(blk_attach_dev(other, NULL, "cd", 0, &error), &error);
    worked(blk_attach_dev(third, "cd", "/machine/ide[1]", 0, &error), &error);
    assert_int_equal(blk_by_dev(rig.context, "cd", &info), 1);
    assert_int_equal(info.id, blk_id(third));
    assert_string_equal(info.device, "cd");
    assert_int_equal(blk_by_dev(rig.context, "/machine/ide[1]", &info), 0);
    blk_detach_dev(third);
    assert_int_equal(blk_by_dev(rig.context, "cd", &info), 1);
    assert_int_equal(info.id, blk_id(other));
    blk_close(&third);
    blk_close(&other);
    rig_close(&rig);
}

#define TEST(name) cmocka_unit_test_setup(name, bound_time)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_blk_is_empty_and_unnamed_and_has_one_reference),
        TEST(references_are_counted_and_the_last_unref_deletes),
        TEST(callbacks_that_drop_references_while_the_last_unref_drains_do_not_delete_twice),
        TEST(the_last_reference_may_go_from_a_callback),
        TEST(a_context_that_closes_lets_go_of_what_it_has),
        TEST(a_file_opens_in_one_step_with_the_permissions_of_the_flags),
        TEST(a_node_or_options_open_in_one_step_too),
        TEST(what_cannot_be_opened_in_one_step_leaves_nothing),
        TEST(one_that_only_reads_opens_its_image_for_reading),
        TEST(a_name_makes_a_blk_visible),
        TEST(an_export_is_shown_with_the_name_that_its_backend_has_now),
        TEST(walks_meet_all_or_the_named_ones_and_go_on_when_one_is_gone),
        TEST(a_backend_is_found_by_name_device_and_node_and_opened),
        TEST(a_program_s_device_is_found_by_its_id_or_by_its_path_when_it_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
