/* limits.c — how well a throttle group keeps its limit, and how evenly its members share it: each
 * member is a backend on a null node of its own, which one thread keeps as many reads outstanding
 * at as `--depth` says. The first second does not count. With a limit that is never reached, or
 * none, it tells what throttling costs. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actors/sluice.h"
#include "engine/histogram.h"

#define MEMBERS   64
#define DEPTH     256
#define RAMP_NS   1000000000ULL
#define SECOND_NS 1000000000ULL

struct member {
    blk *blk;
    uint64_t done;
};

struct request {
    struct member *member;
    uint64_t started;
};

static struct {
    double iops; /* the limit; 0: none */
    unsigned members, depth, threads;
    double seconds;
    bool json, latency;
} options = {.iops = 1000, .members = 4, .depth = 16, .threads = 1, .latency = true};

static struct member members[MEMBERS];
static struct histogram latencies; /* ns */
static char data[4096];
static bool counting, stopping;
static unsigned outstanding;

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SECOND_NS + (uint64_t)ts.tv_nsec;
}

static void check(int ret, char *const *error)
{
    if (ret >= 0)
        return;
    fprintf(stderr, "sluice-limits: %s\n", error && *error ? *error : strerror(-ret));
    exit(1);
}

/* --- The load */

static void submit(struct request *request);

static void done(void *opaque, int ret)
{
    struct request *request = opaque;
    check(ret, NULL);
    outstanding--;
    if (counting) {
        request->member->done++;
        if (options.latency)
            histogram_add(&latencies, now_ns() - request->started);
    }
    if (!stopping)
        submit(request);
}

static void submit(struct request *request)
{
    outstanding++;
    request->started = options.latency ? now_ns() : 0;
    check(blk_aio_pread(request->member->blk, 0, sizeof data, data, 0, done, request), NULL);
}

/* Returns the time for which was counted, in seconds. */
static double run(blk_context *context)
{
    uint64_t start = now_ns(), from = 0, now;
    uint64_t length = (uint64_t)(options.seconds * (double)SECOND_NS);
    do {
        blk_wait(context, 10);
        now = now_ns();
        if (!counting && now - start >= RAMP_NS) {
            counting = true;
            from = now;
        }
    } while (!counting || now - from < length);
    counting = false;
    stopping = true;
    while (outstanding)
        blk_wait(context, 100);
    return (double)(now - from) / (double)SECOND_NS;
}

/* --- What it runs on */

static void request(blk_context *context, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void request(blk_context *context, const char *format, ...)
{
    char text[200], *error;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    check(sluice_request(context, text, NULL, &error), &error);
}

static void build(blk_context *context)
{
    char *error;
    if (options.iops > 0)
        request(context, "throttle-add name=group iops-total=%.0f", options.iops);
    for (unsigned i = 0; i < options.members; i++) {
        char name[16];
        snprintf(name, sizeof name, "b%u", i);
        request(context, "backend-add name=%s driver=null reactor=%u%s", name, i % options.threads,
                options.iops > 0 ? " throttle=group" : "");
        check(blk_open(context, name, 0, &members[i].blk, &error), &error);
    }
}

/* --- What came of it */

/* 1 when all have the same, 1/n when one has all (Jain, Chiu and Hawe, 1984). */
static double fairness(uint64_t *total)
{
    double sum = 0, squares = 0;
    *total = 0;
    for (unsigned i = 0; i < options.members; i++) {
        double one = (double)members[i].done;
        *total += members[i].done;
        sum += one;
        squares += one * one;
    }
    return squares > 0 ? sum * sum / (options.members * squares) : 0;
}

static void tell(double seconds)
{
    uint64_t total;
    double jain = fairness(&total), iops = (double)total / seconds;
    double off = options.iops > 0 ? (iops / options.iops - 1) * 100 : 0;
    double ideal = options.iops > 0 ? options.members * options.depth / options.iops * 1e6 : 0;
    double p50 = (double)histogram_quantile(&latencies, 0.5) / 1e3;
    double p99 = (double)histogram_quantile(&latencies, 0.99) / 1e3;
    if (options.json)
        printf("{\"limit\": %.0f, \"members\": %u, \"depth\": %u, \"seconds\": %.3f, "
               "\"iops\": %.2f, \"off_percent\": %.4f, \"jain\": %.6f, \"p50_us\": %.1f, "
               "\"p99_us\": %.1f, \"ideal_us\": %.1f, \"p99_of_ideal\": %.4f}\n",
               options.iops, options.members, options.depth, seconds, iops, off, jain, p50, p99,
               ideal, ideal > 0 ? p99 / ideal : 0);
    else
        printf("limit %.0f: %.1f IOPS (%+.3f%%), Jain %.6f, p50 %.1f us, p99 %.1f us (%.3f of the "
               "ideal)\n",
               options.iops, iops, off, jain, p50, p99, ideal > 0 ? p99 / ideal : 0);
}

/* --- The command line */

static void usage(void)
{
    printf("usage: sluice-limits [OPTION]...\n"
           "Measures how well a throttle group keeps its limit, and how evenly members share it.\n"
           "\n"
           "  --iops N       the limit, operations per second; 0: no group [1000]\n"
           "  --members N    backends in the group, 1 to %d [4]\n"
           "  --depth N      requests outstanding at each, 1 to %d [16]\n"
           "  --threads N    reactors that the backends are spread over [1]\n"
           "  --runtime S    seconds that count [as many as 1000 operations take; 2 at least]\n"
           "  --no-latency   take no latencies: for the highest rates\n"
           "  --json         one object\n",
           MEMBERS, DEPTH);
}

static unsigned number(const char *what, const char *text, unsigned most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || !value || value > most) {
        fprintf(stderr, "sluice-limits: --%s is '%s', but must be 1 to %u\n", what, text, most);
        exit(2);
    }
    return (unsigned)value;
}

static double real(const char *what, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (*end || !(value >= 0) || value > 1e15) {
        fprintf(stderr, "sluice-limits: --%s is '%s', but must be a number from 0 on\n", what,
                text);
        exit(2);
    }
    return value;
}

static void read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"iops", required_argument, NULL, 'i'},
        {"members", required_argument, NULL, 'm'},
        {"depth", required_argument, NULL, 'd'},
        {"threads", required_argument, NULL, 't'},
        {"runtime", required_argument, NULL, 'r'},
        {"no-latency", no_argument, NULL, 'n'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
        switch (option) {
        case 'i':
            options.iops = real("iops", optarg);
            break;
        case 'm':
            options.members = number("members", optarg, MEMBERS);
            break;
        case 'd':
            options.depth = number("depth", optarg, DEPTH);
            break;
        case 't':
            options.threads = number("threads", optarg, SLUICE_THREADS_MAX);
            break;
        case 'r':
            options.seconds = real("runtime", optarg);
            break;
        case 'n':
            options.latency = false;
            break;
        case 'j':
            options.json = true;
            break;
        case 'h':
            usage();
            exit(0);
        default:
            fprintf(stderr, "sluice-limits: see --help\n");
            exit(2);
        }
    if (options.seconds == 0)
        options.seconds = options.iops > 0 && options.iops < 500 ? 1000 / options.iops : 2;
}

int main(int argc, char **argv)
{
    static struct request requests[MEMBERS * DEPTH];
    sluice *engine;
    blk_context *context;
    char *error;
    read_options(argc, argv);
    check(sluice_start(&(struct sluice_options){.threads = options.threads}, &engine, &error),
          &error);
    check(blk_context_open(engine, options.members * options.depth, &context, &error), &error);
    build(context);
    for (unsigned i = 0; i < options.members * options.depth; i++) {
        requests[i].member = &members[i % options.members];
        submit(&requests[i]);
    }
    tell(run(context));
    blk_context_close(&context);
    sluice_stop(&engine);
    return 0;
}
