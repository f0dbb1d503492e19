/* api_rig.h — for tests of the public interface with real threads: an engine with a context, waits
 * that are bounded, and what the process holds. */
#ifndef API_RIG_H
#define API_RIG_H

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "actors/sluice.h"

#define PATIENCE_S 30 /* for what must happen; a test that waits longer has failed */

static inline double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A test that hangs is ended by a signal. */
static inline int bound_time(void **state)
{
    (void)state;
    alarm(4 * PATIENCE_S);
    return 0;
}

static inline void *nothing(void *arg)
{
    return arg;
}

/* For programs that count threads: a first one, with which a sanitizer may start one of its own,
 * that stays. */
static inline int first_thread(void **state)
{
    pthread_t thread;
    (void)state;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0)
        return -1;
    return pthread_join(thread, NULL);
}

/* `error` is looked at after the call: arguments have no order. */
static inline void worked(int ret, char **error)
{
    if (ret < 0)
        print_error("%s\n", *error ? *error : strerror(-ret));
    assert_true(ret >= 0);
    assert_null(*error);
}

/* It failed with `code`, and a sentence that has `word` in it. */
static inline void refused(int code, const char *word, int ret, char **error)
{
    assert_int_equal(ret, code);
    assert_non_null(*error);
    if (!strstr(*error, word))
        fail_msg("\"%s\" does not say \"%s\"", *error, word);
    free(*error);
    *error = NULL;
}

static inline sluice *start(const struct sluice_options *options)
{
    sluice *engine;
    char *error;
    worked(sluice_start(options, &engine, &error), &error);
    return engine;
}

static inline blk_context *context_on(sluice *engine, unsigned depth)
{
    blk_context *context;
    char *error;
    worked(blk_context_open(engine, depth, &context, &error), &error);
    return context;
}

static inline void request(blk_context *context, const char *text)
{
    char *error;
    worked(sluice_request(context, text, NULL, &error), &error);
}

static inline blk *open_blk(blk_context *context, const char *name, int flags)
{
    blk *blk;
    char *error;
    worked(blk_open(context, name, flags, &blk, &error), &error);
    return blk;
}

/* One engine of one reactor, a context, and backend `disk` on the node that `node` tells of. */
struct rig {
    sluice *engine;
    blk_context *context;
    blk *blk;
};

static inline struct rig rig_open(unsigned depth, const char *node)
{
    struct rig rig = {.engine = start(&(struct sluice_options){.threads = 1})};
    char text[200];
    rig.context = context_on(rig.engine, depth);
    snprintf(text, sizeof text, "node-add name=node %s", node);
    request(rig.context, text);
    request(rig.context, "backend-add name=disk node=node");
    rig.blk = open_blk(rig.context, "disk", BLK_WRITABLE | BLK_RESIZE);
    return rig;
}

static inline void rig_close(struct rig *rig)
{
    blk_close(&rig->blk);
    blk_context_close(&rig->context);
    sluice_stop(&rig->engine);
}

/* --- Callbacks */

struct tally {
    unsigned calls;
    int ret; /* the last one's */
};

static inline void count(void *opaque, int ret)
{
    struct tally *tally = opaque;
    tally->calls++;
    tally->ret = ret;
}

static inline void reap(blk_context *context, const unsigned *calls, unsigned target)
{
    double end = now_s() + PATIENCE_S;
    while (*calls < target && now_s() < end)
        blk_wait(context, 100);
    assert_int_equal(*calls, target);
}

/* --- What the process holds */

typedef bool entry_fn(const char *path, const char *name);

/* How many entries of a folder are meant. */
static inline unsigned entries(const char *path, entry_fn *is_meant)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    unsigned n = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)))
        n += entry->d_name[0] != '.' && (!is_meant || is_meant(path, entry->d_name));
    closedir(dir);
    return n;
}

/* The kernel has threads in the process, too, which do for a ring what would make it wait, as to
 * look up a path; one of them stays as long as the ring. A ring that is left is a descriptor. */
static inline bool is_own_thread(const char *path, const char *id)
{
    char file[300], name[32] = "";
    snprintf(file, sizeof file, "%s/%s/comm", path, id);
    FILE *comm = fopen(file, "r");
    if (!comm)
        return false; /* it has ended meanwhile */
    bool is = fgets(name, sizeof name, comm) && strncmp(name, "iou-", 4) != 0;
    fclose(comm);
    return is;
}

struct holdings {
    unsigned threads, descriptors;
};

static inline struct holdings holdings(void)
{
    return (struct holdings){entries("/proc/self/task", is_own_thread),
                             entries("/proc/self/fd", NULL)};
}

/* No more than before. A thread that has been joined may show for a moment, and ZeroMQ closes a
 * socket's descriptor some time after the socket. */
static inline void holds_only(struct holdings before)
{
    double end = now_s() + PATIENCE_S;
    struct holdings now = holdings();
    while ((now.threads > before.threads || now.descriptors > before.descriptors) &&
           now_s() < end) {
        sched_yield();
        now = holdings();
    }
    assert_in_range(now.threads, 1, before.threads);
    assert_in_range(now.descriptors, 1, before.descriptors);
}

#endif
