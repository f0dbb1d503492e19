/* What a program counts by itself, over the public interface, with real threads. */
#include "api_rig.h"

#include <pthread.h>

/* A number of one kind's counters, as `backend-show` tells it. */
static long long counter(blk_context *context, const char *kind, const char *name)
{
    char *reply, *error, key[40];
    worked(sluice_request(context, "backend-show disk", &reply, &error), &error);
    snprintf(key, sizeof key, "\"%s\"", kind);
    const char *at = strstr(reply, key);
    assert_non_null(at);
    snprintf(key, sizeof key, "\"%s\":", name);
    at = strstr(at, key);
    assert_non_null(at);
    long long number = strtoll(at + strlen(key), NULL, 10);
    free(reply);
    return number;
}

static void merged_and_refused_requests_are_counted_by_kind(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        [BLK_ACCT_READ] = "read",       [BLK_ACCT_WRITE] = "write", [BLK_ACCT_ZEROES] = "zeroes",
        [BLK_ACCT_DISCARD] = "discard", [BLK_ACCT_FLUSH] = "flush", [BLK_ACCT_IOCTL] = "ioctl",
    };
    struct rig rig = rig_open(0, "driver=null size=1M");
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        assert_int_equal(blk_account_merged(rig.blk, (enum blk_acct)i, 3), 0);
        assert_int_equal(blk_account_merged(rig.blk, (enum blk_acct)i, i + 1), 0);
        assert_int_equal(blk_account_invalid(rig.blk, (enum blk_acct)i, i), 0);
    }
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        assert_int_equal(counter(rig.context, kinds[i], "merged"), i + 4);
        assert_int_equal(counter(rig.context, kinds[i], "invalid"), i);
        assert_int_equal(counter(rig.context, kinds[i], "operations"), 0);
    }
    assert_int_equal(blk_account_merged(rig.blk, (enum blk_acct)(BLK_ACCT_IOCTL + 1), 1), -EINVAL);
    assert_int_equal(blk_account_invalid(rig.blk, (enum blk_acct) - 1, 1), -EINVAL);
    /* It outlives the blk. */
    blk_account_merged(rig.blk, BLK_ACCT_READ, 6);
    blk_close(&rig.blk);
    assert_int_equal(counter(rig.context, "read", "merged"), 10);
    rig.blk = open_blk(rig.context, "disk", 0);
    assert_int_equal(counter(rig.context, "read", "merged"), 10);
    rig_close(&rig);
}

/* Those that no backend sees, because of how the blk was opened or what only it can tell. */
static void what_these_calls_refuse_is_invalid_and_counted(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=1M");
    struct tally tally = {0};
    char data[512] = "";
    struct iovec iov[2] = {{data, 256}, {data + 256, 256}};
    blk *reader = open_blk(rig.context, "disk", 0);
    assert_int_equal(blk_pwrite(reader, 0, 512, data, 0), -EPERM);
    assert_int_equal(blk_ioctl(reader, 1, data, 512), -EPERM);
    assert_int_equal(blk_pread(reader, 0, -1, data, 0), -EIO);
    assert_int_equal(blk_pread(reader, 0, 512, data, BLK_FUA), -EINVAL);
    assert_int_equal(blk_preadv(reader, 0, iov, -1, 0), -EINVAL);
    assert_int_equal(blk_pdiscard(reader, 0, 512), -EPERM);
    assert_int_equal(blk_abort_aio_request(reader, -EIO, count, &tally), 0);
    reap(rig.context, &tally.calls, 1);
    assert_int_equal(blk_pread(reader, 0, 512, data, 0), 512);
    assert_int_equal(counter(rig.context, "read", "invalid"), 3);
    assert_int_equal(counter(rig.context, "read", "operations"), 1);
    assert_int_equal(counter(rig.context, "write", "invalid"), 1);
    assert_int_equal(counter(rig.context, "ioctl", "invalid"), 1);
    assert_int_equal(counter(rig.context, "discard", "invalid"), 1);
    assert_int_equal(counter(rig.context, "flush", "invalid"), 0);
    assert_int_equal(counter(rig.context, "flush", "failed"), 0);
    blk_close(&reader);
    rig_close(&rig);
}

/* --- Several at once */

#define THREADS 3
#define LOOKS   50

struct teller {
    pthread_t thread;
    sluice *engine;
    _Atomic bool *end;
    long long told;
};

static void *tell(void *arg)
{
    struct teller *teller = arg;
    blk_context *context = context_on(teller->engine, 0);
    blk *blk = open_blk(context, "disk", 0);
    for (unsigned n = 1; !*teller->end; n = n % 7 + 1) {
        blk_account_merged(blk, BLK_ACCT_READ, n);
        teller->told += n;
    }
    blk_context_close(&context);
    return NULL;
}

static void none_is_lost_while_others_look_and_the_backend_moves(void **state)
{
    (void)state;
    sluice *engine = start(&(struct sluice_options){.threads = 2});
    blk_context *context = context_on(engine, 0);
    struct teller tellers[THREADS];
    _Atomic bool end = false;
    request(context, "node-add name=node driver=null size=1M");
    request(context, "backend-add name=disk node=node");
    for (unsigned i = 0; i < THREADS; i++) {
        tellers[i] = (struct teller){.engine = engine, .end = &end};
        assert_int_equal(pthread_create(&tellers[i].thread, NULL, tell, &tellers[i]), 0);
    }
    long long before = 0, told = 0;
    double patience = now_s() + PATIENCE_S;
    for (unsigned seen = 0, i = 0; seen < LOOKS && now_s() < patience; i++) {
        request(context, i % 2 ? "backend-move disk reactor=1" : "backend-move disk reactor=0");
        long long now = counter(context, "read", "merged");
        assert_true(now >= before);
        seen += now > before;
        before = now;
    }
    end = true;
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(tellers[i].thread, NULL);
        told += tellers[i].told;
    }
    assert_true(before > 0);
    assert_int_equal(counter(context, "read", "merged"), told);
    blk_context_close(&context);
    sluice_stop(&engine);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(merged_and_refused_requests_are_counted_by_kind),
        TEST(what_these_calls_refuse_is_invalid_and_counted),
        TEST(none_is_lost_while_others_look_and_the_backend_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
