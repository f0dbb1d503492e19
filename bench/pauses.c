/* pauses.c — how long drains and moves hold up requests: drains of an idle backend, and the longest
 * time without a completion that a load of 64 reads sees around each move of its backend between
 * two reactors; and, to compare, the longest time in each millisecond in which the machine did not
 * let a loop run that only reads the clock. One line each, or with --json one object. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actors/sluice.h"

#define DRAINS 2000
#define MOVES  200
#define DEPTH  64
#define WAITS  2000

static double now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void check(int ret, char *const *error)
{
    if (ret >= 0)
        return;
    fprintf(stderr, "pauses: %s\n", error && *error ? *error : strerror(-ret));
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell(const char *what, double *us, size_t n, bool json, bool last)
{
    qsort(us, n, sizeof *us, compare);
    if (json)
        printf("\"%s\": {\"median_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}%s", what,
               us[n / 2], us[n * 99 / 100], us[n - 1], last ? "}\n" : ", ");
    else
        printf("%-28s median %8.1f us, p99 %8.1f us, max %8.1f us\n", what, us[n / 2],
               us[n * 99 / 100], us[n - 1]);
}

/* --- The load */

struct load {
    sluice *engine;
    blk *blk;
    char data[4096];
    double last;
    _Atomic double gap; /* the longest since it was last set to 0, microseconds */
    atomic_bool running, stop;
    unsigned outstanding;
};

static void again(void *opaque, int ret)
{
    struct load *load = opaque;
    check(ret, NULL);
    double now = now_us();
    if (now - load->last > atomic_load(&load->gap))
        atomic_store(&load->gap, now - load->last);
    load->last = now;
    load->outstanding--;
    if (atomic_load(&load->stop))
        return;
    load->outstanding++;
    check(blk_aio_pread(load->blk, 0, sizeof load->data, load->data, 0, again, load), NULL);
}

static void *run(void *arg)
{
    struct load *load = arg;
    blk_context *context;
    char *error;
    check(blk_context_open(load->engine, DEPTH, &context, &error), &error);
    check(blk_open(context, "disk", 0, &load->blk, &error), &error);
    load->last = now_us();
    for (; load->outstanding < DEPTH; load->outstanding++)
        check(blk_aio_pread(load->blk, 0, sizeof load->data, load->data, 0, again, load), NULL);
    atomic_store(&load->running, true);
    while (load->outstanding)
        blk_wait(context, 100);
    blk_close(&load->blk);
    blk_context_close(&context);
    return NULL;
}

/* --- What is measured */

static void drains(blk *blk, double *us)
{
    for (unsigned i = 0; i < DRAINS; i++) {
        double start = now_us();
        check(blk_drain(blk), NULL);
        us[i] = now_us() - start;
    }
}

static void moves(sluice *engine, blk *blk, double *gaps, double *took)
{
    static struct load load;
    const struct timespec rest = {0, 5000000};
    pthread_t thread;
    char *error;
    load.engine = engine;
    if (pthread_create(&thread, NULL, run, &load) != 0)
        exit(1);
    while (!atomic_load(&load.running))
        nanosleep(&rest, NULL);
    for (unsigned i = 0; i < MOVES; i++) {
        nanosleep(&rest, NULL);
        atomic_store(&load.gap, 0);
        double start = now_us();
        check(blk_set_reactor(blk, (i + 1) % 2, false, &error), &error);
        took[i] = now_us() - start;
        nanosleep(&rest, NULL);
        gaps[i] = atomic_load(&load.gap);
    }
    atomic_store(&load.stop, true);
    pthread_join(thread, NULL);
}

static void machine(double *us)
{
    for (unsigned i = 0; i < WAITS; i++) {
        double start = now_us(), last = start;
        us[i] = 0;
        while (last < start + 1000) {
            double now = now_us();
            if (now - last > us[i])
                us[i] = now - last;
            last = now;
        }
    }
}

int main(int argc, char **argv)
{
    static double idle[DRAINS], gaps[MOVES], took[MOVES], waits[WAITS];
    bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
    if (argc > 1 && !json) {
        printf("usage: sluice-pauses [--json]\n"
               "Tells how long drains and moves of a backend hold up its requests.\n");
        return strcmp(argv[1], "--help") != 0;
    }
    machine(waits);
    sluice *engine;
    blk_context *context;
    blk *blk;
    char *error;
    check(sluice_start(&(struct sluice_options){.threads = 2}, &engine, &error), &error);
    check(blk_context_open(engine, 0, &context, &error), &error);
    check(sluice_request(context, "node-add name=node driver=null reactor=0", NULL, &error),
          &error);
    check(sluice_request(context, "backend-add name=disk node=node", NULL, &error), &error);
    check(blk_open(context, "disk", 0, &blk, &error), &error);
    drains(blk, idle);
    moves(engine, blk, gaps, took);
    if (json)
        printf("{");
    tell("drain of an idle backend", idle, DRAINS, json, false);
    tell("no completion around a move", gaps, MOVES, json, false);
    tell("a move, from asking to done", took, MOVES, json, false);
    tell("the machine by itself", waits, WAITS, json, true);
    blk_close(&blk);
    blk_context_close(&context);
    sluice_stop(&engine);
    return 0;
}
