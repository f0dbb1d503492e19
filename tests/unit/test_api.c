/* The public interface: engines, control requests, opening backends, the end. With real threads;
 * test_contexts.c has contexts, test_blk.c the requests. */
#include "api_rig.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "control.pb-c.h"

static char folder[] = "/tmp/sluice-api.XXXXXX";

static const char *in_folder(const char *format)
{
    static char text[4][100]; /* of the last four calls */
    static unsigned next;
    char *out = text[next++ % 4];
    snprintf(out, sizeof text[0], format, folder);
    return out;
}

/* --- Starting */

static unsigned cpus_allowed(void)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    return (unsigned)CPU_COUNT(&set);
}

static void start_refuses(const struct sluice_options *options, int code, const char *word)
{
    struct holdings before = holdings();
    sluice *engine = (sluice *)folder;
    char *error = NULL;
    refused(code, word, sluice_start(options, &engine, &error), &error);
    assert_null(engine);
    engine = (sluice *)folder;
    assert_int_equal(sluice_start(options, &engine, NULL), code);
    assert_null(engine);
    holds_only(before);
}

static void bad_options_are_refused_with_a_sentence_and_leave_nothing(void **state)
{
    (void)state;
    const int none[] = {-1}, huge[] = {CPU_SETSIZE}, missing[] = {CPU_SETSIZE - 1};
    start_refuses(&(struct sluice_options){.threads = 65}, -EINVAL, "64");
    if (cpus_allowed() < 64)
        start_refuses(&(struct sluice_options){.threads = cpus_allowed() + 1}, -EINVAL, "at most");
    start_refuses(&(struct sluice_options){.threads = 1, .cpus = none}, -EINVAL, "CPU -1");
    start_refuses(&(struct sluice_options){.threads = 1, .cpus = huge}, -EINVAL, "CPU 1024");
    start_refuses(&(struct sluice_options){.threads = 1, .cpus = missing}, -EINVAL, "CPU 1023");
    start_refuses(&(struct sluice_options){.cpus = missing}, -EINVAL, "threads");
    start_refuses(&(struct sluice_options){.events_kept = UINT32_MAX}, -EINVAL, "100000000");
}

static void bad_endpoints_are_refused_with_a_sentence_and_leave_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "nonsense", "tcp://", "tcp://127.0.0.1:99999", "ipc://"};
    for (unsigned i = 1; i < sizeof bad / sizeof *bad; i++) {
        start_refuses(&(struct sluice_options){.threads = 1, .control = bad[i]}, -EINVAL, bad[i]);
        start_refuses(&(struct sluice_options){.threads = 1, .events = bad[i]}, -EINVAL, bad[i]);
    }
    const char *lost = in_folder("ipc://%s/missing/more/socket");
    start_refuses(&(struct sluice_options){.threads = 1, .control = lost}, -ENOENT, lost);
    start_refuses(&(struct sluice_options){.threads = 1, .events = lost}, -ENOENT, lost);
}

static void an_endpoint_in_use_is_refused_and_its_owner_goes_on(void **state)
{
    (void)state;
    const char *taken = in_folder("ipc://%s/taken"), *other = in_folder("ipc://%s/other");
    sluice *engine = start(&(struct sluice_options){.threads = 1, .control = taken});
    assert_string_equal(sluice_control_endpoint(engine), taken);
    assert_string_equal(sluice_events_endpoint(engine), "");
    struct sluice_options options = {.threads = 1, .control = taken, .events = other};
    start_refuses(&options, -EADDRINUSE, taken);
    options = (struct sluice_options){.threads = 1, .control = other, .events = taken};
    start_refuses(&options, -EADDRINUSE, taken);
    blk_context *context = context_on(engine, 0);
    request(context, "status");
    blk_context_close(&context);
    sluice_stop(&engine);
}

static void engines_start_and_stop_again_and_again_leaving_nothing(void **state)
{
    (void)state;
    struct holdings before = holdings();
    struct sluice_options options = {.control = in_folder("ipc://%s/control"),
                                     .events = in_folder("ipc://%s/events")};
    for (unsigned i = 0; i < 5; i++) {
        options.threads = i % 2 && cpus_allowed() > 1 ? 2 : 1;
        sluice *engine = start(&options);
        blk_context *context = context_on(engine, 0);
        request(context, "node-add driver=memory name=ram size=1M");
        request(context, "backend-add name=disk node=ram");
        blk *blk = open_blk(context, "disk", BLK_WRITABLE | BLK_RESIZE);
        assert_int_equal(blk_pwrite(blk, 0, 6, "sluice", 0), 6);
        blk_context_close(&context); /* the blk with it */
        assert_null(context);
        sluice_stop(&engine);
        assert_null(engine);
        holds_only(before);
    }
}

static void the_destructors_take_null(void **state)
{
    (void)state;
    sluice *engine = NULL;
    blk_context *context = NULL;
    blk *blk = NULL;
    blk_close(&blk);
    blk_context_close(&context);
    sluice_stop(&engine);
}

static void two_engines_in_one_process_do_not_meet(void **state)
{
    (void)state;
    struct rig a = rig_open(0, "driver=memory size=1M"), b = rig_open(0, "driver=memory size=2M");
    char got[2];
    assert_int_equal(blk_pwrite(a.blk, 0, 1, "a", 0), 1);
    assert_int_equal(blk_pwrite(b.blk, 0, 1, "b", 0), 1);
    assert_int_equal(blk_pread(a.blk, 0, 1, &got[0], 0), 1);
    rig_close(&a);
    assert_int_equal(blk_pread(b.blk, 0, 1, &got[1], 0), 1);
    assert_memory_equal(got, "ab", 2);
    assert_int_equal(blk_getlength(b.blk), 2 << 20);
    rig_close(&b);
}

/* --- Control requests */

static void a_request_is_answered_with_json(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=64M");
    char *reply, *error = (char *)folder;
    worked(sluice_request(rig.context, "node-show name=node", &reply, &error), &error);
    assert_non_null(strstr(reply, "67108864"));
    free(reply);
    worked(sluice_request(rig.context, "  node   list ", &reply, &error), &error);
    assert_non_null(strstr(reply, "memory"));
    free(reply);
    rig_close(&rig);
}

static void what_is_wrong_with_a_request_is_told_in_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *word;
    } wrong[] = {
        {"", -EINVAL, "request"},
        {"frobnicate name=x", -EINVAL, "frobnicate"},
        {"node-add driver=memory name=x colour=red", -EINVAL, "colour"},
        {"node-add driver=memory name=x size=lots", -EINVAL, "size"},
        {"node-add driver=memory", -EINVAL, "name"},
        {"node-add driver=memory name=node", -EEXIST, "node"},
        {"node-add driver=punchcards name=x", -EINVAL, "punchcards"},
        {"node-show name=nobody", -ENOENT, "nobody"},
        {"backend-add name=x node=nobody", -ENOENT, "nobody"},
        {"node-remove name=node", -EBUSY, "disk"},
        {"backend-remove name=disk", -EBUSY, "context"},
    };
    struct rig rig = rig_open(0, "driver=memory size=1M");
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *reply = (char *)folder, *error;
        int ret = sluice_request(rig.context, wrong[i].text, &reply, &error);
        refused(wrong[i].code, wrong[i].word, ret, &error);
        assert_null(reply);
        assert_int_equal(sluice_request(rig.context, wrong[i].text, NULL, NULL), wrong[i].code);
    }
    rig_close(&rig);
}

static Sluice__Reply *packed(blk_context *context, const void *data, size_t size)
{
    void *reply;
    size_t reply_size;
    assert_int_equal(sluice_request_packed(context, data, size, &reply, &reply_size), 0);
    Sluice__Reply *out = sluice__reply__unpack(NULL, reply_size, reply);
    free(reply);
    assert_non_null(out);
    return out;
}

static void packed_refuses(blk_context *context, const void *data, size_t size, int code)
{
    Sluice__Reply *reply = packed(context, data, size);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_ERROR);
    assert_int_equal(-reply->error->errno_value, code);
    assert_true(strlen(reply->error->message) > 10);
    sluice__reply__free_unpacked(reply, NULL);
}

static void a_packed_request_is_answered_with_a_packed_reply(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    Sluice__Request request = SLUICE__REQUEST__INIT;
    Sluice__Named named = SLUICE__NAMED__INIT;
    uint8_t data[64];
    request.has_id = true;
    request.id = 77;
    request.body_case = SLUICE__REQUEST__BODY_NODE_SHOW;
    request.node_show = &named;
    named.name = "node";
    size_t size = sluice__request__pack(&request, data);
    Sluice__Reply *reply = packed(rig.context, data, size);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_NODE);
    assert_int_equal(reply->id, 77);
    assert_string_equal(reply->node->driver, "memory");
    sluice__reply__free_unpacked(reply, NULL);
    named.name = "nobody";
    packed_refuses(rig.context, data, sluice__request__pack(&request, data), -ENOENT);
    rig_close(&rig);
}

static void a_packed_request_that_is_none_gets_an_error_reply(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    static const uint8_t unknown[] = {0x08, 0x05, 0xfa, 0x07, 0x00}; /* id 5, field 127 */
    static uint8_t large[3 << 20];
    packed_refuses(rig.context, NULL, 0, -EINVAL);
    packed_refuses(rig.context, "\xff\xff\xff\xff\xff", 5, -EINVAL);
    packed_refuses(rig.context, "\x12\x05\x00", 3, -EINVAL); /* ends too early */
    packed_refuses(rig.context, large, sizeof large, -EMSGSIZE);
    Sluice__Reply *reply = packed(rig.context, unknown, sizeof unknown);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_ERROR);
    assert_int_equal(reply->id, 5);
    sluice__reply__free_unpacked(reply, NULL);
    rig_close(&rig);
}

/* --- Opening backends */

static void who_may_not_write_finds_it_read_only_without_a_medium_too(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    blk *reader = open_blk(rig.context, "disk", 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(blk_is_inserted(reader), !i);
        assert_true(blk_is_read_only(reader));
        assert_false(blk_is_read_only(rig.blk));
        if (!i)
            request(rig.context, "medium-remove disk");
    }
    blk_close(&reader);
    rig_close(&rig);
}

static void what_stands_in_the_way_of_opening_is_told_in_a_sentence(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    blk *blk = rig.blk;
    char *error;
    request(rig.context, "backend-add name=frozen node=node read-only=on");
    refused(-ENOENT, "nobody", blk_open(rig.context, "nobody", 0, &blk, &error), &error);
    assert_null(blk);
    refused(-ENOENT, "backend", blk_open(rig.context, "node", 0, &blk, &error), &error);
    refused(-ENOENT, "backend", blk_open(rig.context, "", 0, &blk, &error), &error);
    refused(-EPERM, "read-only", blk_open(rig.context, "frozen", BLK_WRITABLE, &blk, &error),
            &error);
    refused(-EINVAL, "BLK_WRITABLE", blk_open(rig.context, "disk", BLK_FUA, &blk, &error), &error);
    assert_int_equal(blk_open(rig.context, "disk", -1, &blk, NULL), -EINVAL);
    assert_null(blk);
    blk = open_blk(rig.context, "frozen", 0);
    assert_true(blk_is_read_only(blk));
    blk_close(&blk);
    rig_close(&rig);
}

static void an_empty_backend_opens_and_has_no_medium(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    char byte = 0;
    request(rig.context, "backend-add name=drive");
    blk *blk = open_blk(rig.context, "drive", BLK_WRITABLE | BLK_RESIZE);
    assert_string_equal(blk_name(blk), "drive");
    assert_false(blk_is_inserted(blk));
    assert_int_equal(blk_getlength(blk), -ENOMEDIUM);
    assert_int_equal(blk_get_request_alignment(blk), 512);
    assert_int_equal(blk_pread(blk, 0, 1, &byte, 0), -ENOMEDIUM);
    assert_int_equal(blk_pwrite(blk, 0, 1, &byte, 0), -ENOMEDIUM);
    assert_int_equal(blk_flush(blk), -ENOMEDIUM);
    assert_int_equal(blk_truncate(blk, 0, BLK_PREALLOC_OFF), -ENOMEDIUM);
    blk_close(&blk);
    rig_close(&rig);
}

static void facts_follow_a_truncate_before_it_returns(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    blk_context *other = context_on(rig.engine, 0);
    blk *second = open_blk(rig.context, "disk", 0), *elsewhere = open_blk(other, "disk", 0);
    assert_true(blk_is_inserted(rig.blk));
    assert_false(blk_is_read_only(rig.blk));
    for (int64_t size = 1 << 20; size < 200 << 20; size += (1 << 20) + 512) {
        assert_int_equal(blk_truncate(rig.blk, size, BLK_PREALLOC_OFF), 0);
        assert_int_equal(blk_getlength(rig.blk), size);
        assert_int_equal(blk_getlength(second), size);
        assert_int_equal(blk_pwrite(rig.blk, size - 1, 1, "x", 0), 1);
    }
    /* Another thread's context learns of it by and by. */
    double end = now_s() + PATIENCE_S;
    while (blk_getlength(elsewhere) != blk_getlength(rig.blk) && now_s() < end)
        blk_wait(other, 1);
    assert_int_equal(blk_getlength(elsewhere), blk_getlength(rig.blk));
    blk_context_close(&other);
    rig_close(&rig);
}

static void the_alignment_is_the_nodes(void **state)
{
    (void)state;
    char text[200];
    const char *path = in_folder("%s/image");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(truncate(path, 1 << 20), 0);
    struct rig rig = {.engine = start(&(struct sluice_options){.threads = 1})};
    rig.context = context_on(rig.engine, 0);
    snprintf(text, sizeof text, "node-add name=node driver=file filename=%s read-only=on", path);
    request(rig.context, text);
    request(rig.context, "backend-add name=disk node=node");
    rig.blk = open_blk(rig.context, "disk", 0);
    assert_true(blk_is_read_only(rig.blk));
    assert_int_equal(blk_getlength(rig.blk), 1 << 20);
    uint32_t alignment = blk_get_request_alignment(rig.blk);
    assert_true(alignment && !(alignment & (alignment - 1)));
    rig_close(&rig);
}

/* --- The end */

static bool is_readable(int fd)
{
    struct pollfd one = {fd, POLLIN, 0};
    return poll(&one, 1, 0) == 1;
}

static void a_shutdown_request_makes_the_descriptor_readable(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    assert_false(is_readable(sluice_shutdown_fd(rig.engine)));
    request(rig.context, "shutdown");
    assert_true(is_readable(sluice_shutdown_fd(rig.engine)));
    assert_int_equal(blk_pwrite(rig.blk, 0, 1, "x", 0), 1); /* the program decides when */
    rig_close(&rig);
}

static struct rig slow_rig(unsigned deadline_ms)
{
    struct rig rig = {
        .engine = start(&(struct sluice_options){.threads = 1, .deadline_ms = deadline_ms})};
    rig.context = context_on(rig.engine, 0);
    request(rig.context, "node-add driver=null name=node latency=3600s");
    request(rig.context, "backend-add name=disk node=node");
    rig.blk = open_blk(rig.context, "disk", BLK_WRITABLE | BLK_RESIZE);
    return rig;
}

/* One thread that does it all: begins the end, closes its context, stops. */
static void a_context_closes_within_the_deadline_once_the_end_has_begun(void **state)
{
    (void)state;
    struct holdings before = holdings();
    struct rig rig = slow_rig(50);
    struct tally tally = {0};
    char data[512];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(blk_aio_pread(rig.blk, 0, sizeof data, data, 0, count, &tally), 0);
    double begun = now_s();
    sluice_shutdown(rig.engine);
    blk_context_close(&rig.context);
    assert_true(now_s() - begun < PATIENCE_S);
    assert_int_equal(tally.calls, 4);
    assert_int_equal(tally.ret, -ESHUTDOWN);
    sluice_stop(&rig.engine);
    holds_only(before);
}

static void requests_work_between_the_beginning_of_the_end_and_the_deadline(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    blk *blk;
    char *error;
    sluice_shutdown(rig.engine);
    assert_int_equal(blk_pwrite(rig.blk, 0, 1, "x", BLK_FUA), 1);
    refused(-ESHUTDOWN, "shutting down", blk_open(rig.context, "disk", 0, &blk, &error), &error);
    refused(-ESHUTDOWN, "shutting down", sluice_request(rig.context, "status", NULL, &error),
            &error);
    sluice_shutdown(rig.engine); /* once more does nothing */
    double begun = now_s();
    rig_close(&rig);
    assert_true(now_s() - begun < PATIENCE_S / 2); /* and nothing waits for the deadline of 30 s */
}

/* The engine keeps the nodes of those who are late, and closes them all the same. */
static void a_context_may_be_closed_long_after_the_deadline(void **state)
{
    (void)state;
    struct holdings before = holdings();
    struct rig rig = slow_rig(1);
    struct tally tally = {0};
    char text[200], data[512];
    snprintf(text, sizeof text, "node-add name=image driver=file filename=%s",
             in_folder("%s/image"));
    request(rig.context, text);
    request(rig.context, "backend-add name=file node=image");
    blk *file = open_blk(rig.context, "file", 0);
    assert_int_equal(blk_aio_pread(rig.blk, 0, sizeof data, data, 0, count, &tally), 0);
    sluice_shutdown(rig.engine);
    reap(rig.context, &tally.calls, 1);
    assert_int_equal(tally.ret, -ESHUTDOWN);
    assert_int_equal(blk_wait(rig.context, 2500), 0); /* longer than the end ever waits */
    assert_int_equal(blk_pread(file, 0, sizeof data, data, 0), -ESHUTDOWN);
    assert_int_equal(blk_pread(rig.blk, 0, sizeof data, data, 0), -ESHUTDOWN);
    blk_close(&file);
    rig_close(&rig);
    holds_only(before);
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? first_thread(state) : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(in_folder("%s/image"));
    unlink(in_folder("%s/taken"));
    unlink(in_folder("%s/other"));
    unlink(in_folder("%s/control"));
    unlink(in_folder("%s/events"));
    return rmdir(folder);
}

/* In a process of its own: it ends that. */
static void stopping_with_a_context_open_ends_the_program_and_says_so(void **state)
{
    (void)state;
    int ends[2], status;
    char text[512] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        alarm(PATIENCE_S);
        sluice *engine = start(&(struct sluice_options){.threads = 1});
        blk_context *context;
        char *error;
        if (blk_context_open(engine, 0, &context, &error) == 0)
            sluice_stop(&engine);
        _exit(0);
    }
    close(ends[1]);
    for (size_t n = 0; n < sizeof text - 1;) {
        ssize_t got = read(ends[0], text + n, sizeof text - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "stopped while 1 context is open"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(bad_options_are_refused_with_a_sentence_and_leave_nothing),
        TEST(bad_endpoints_are_refused_with_a_sentence_and_leave_nothing),
        TEST(an_endpoint_in_use_is_refused_and_its_owner_goes_on),
        TEST(engines_start_and_stop_again_and_again_leaving_nothing),
        TEST(the_destructors_take_null),
        TEST(two_engines_in_one_process_do_not_meet),
        TEST(a_request_is_answered_with_json),
        TEST(what_is_wrong_with_a_request_is_told_in_a_sentence),
        TEST(a_packed_request_is_answered_with_a_packed_reply),
        TEST(a_packed_request_that_is_none_gets_an_error_reply),
        TEST(who_may_not_write_finds_it_read_only_without_a_medium_too),
        TEST(what_stands_in_the_way_of_opening_is_told_in_a_sentence),
        TEST(an_empty_backend_opens_and_has_no_medium),
        TEST(facts_follow_a_truncate_before_it_returns),
        TEST(the_alignment_is_the_nodes),
        TEST(a_shutdown_request_makes_the_descriptor_readable),
        TEST(a_context_closes_within_the_deadline_once_the_end_has_begun),
        TEST(requests_work_between_the_beginning_of_the_end_and_the_deadline),
        TEST(a_context_may_be_closed_long_after_the_deadline),
        TEST(stopping_with_a_context_open_ends_the_program_and_says_so),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
