/* limits.c — how well a throttle group keeps its limit, and how evenly its members share it: each
 * member is a backend on a null node of its own, in this process, or with `--uri` a client of some
 * NBD server that limits. One thread keeps as many reads outstanding at each as `--depth` says. The
 * first second does not count. With a limit that is never reached, or none, it tells what
 * throttling costs. With `--settle` it tells how soon one of many that stops being one of many gets
 * all, and how soon a second one gets half. */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actors/sluice.h"
#include "engine/histogram.h"
#include "limits.h"
#include "proto/units.h"

#define RAMP      1.0 /* s */
#define SECOND_NS 1000000000ULL
#define TURN      0.02 /* s; of those that --cost compares */
#define TURNS     4000 /* at most */

struct member {
    blk *blk; /* null with --uri */
    uint64_t done;
    bool idle; /* submits no more */
};

static struct {
    double iops;  /* the limit, or what one of bytes amounts to; 0: none */
    uint64_t bps; /* of bytes; 0: it is one of operations */
    unsigned members, depth, threads;
    double seconds;
    bool json, latency, settle, cost;
    const char *uris[LIMITS_MEMBERS]; /* of an NBD server's exports, one for each member */
    unsigned n_uris;
} options = {.iops = 1000, .members = 4, .depth = 16, .threads = 1, .latency = true};

static struct member members[LIMITS_MEMBERS];
static struct histogram latencies; /* ns */
char limits_data[LIMITS_BYTES];
uint64_t limits_bytes = 4096;
static struct request requests[LIMITS_MEMBERS * LIMITS_DEPTH];
static sluice *engine;       /* null with --uri, as is: */
static blk_context *context; /* that of the backends */
static bool counting, stopping;
static unsigned outstanding;

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SECOND_NS + (uint64_t)ts.tv_nsec;
}

void limits_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("sluice-limits: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void check(int ret, char *const *error)
{
    if (ret < 0)
        limits_fail("%s", error && *error ? *error : strerror(-ret));
}

/* --- The load */

static void done(void *opaque, int ret)
{
    limits_done(opaque, ret);
}

static void submit(struct request *request)
{
    outstanding++;
    request->started = options.latency ? now_ns() : 0;
    if (options.n_uris)
        nbd_members_submit((unsigned)(request->member - members), request);
    else
        check(blk_aio_pread(request->member->blk, 0, (int64_t)limits_bytes, limits_data, 0, done,
                            request),
              NULL);
}

void limits_done(struct request *request, int ret)
{
    check(ret, NULL);
    outstanding--;
    if (counting) {
        request->member->done++;
        if (options.latency)
            histogram_add(&latencies, now_ns() - request->started);
    }
    if (!stopping && !request->member->idle)
        submit(request);
}

static void wait_some(int ms)
{
    if (options.n_uris)
        nbd_members_wait(ms);
    else
        blk_wait(context, ms);
}

/* The load goes on for this many seconds. Returns how many it were. */
static double pass(double seconds)
{
    uint64_t start = now_ns(), now, length = (uint64_t)(seconds * (double)SECOND_NS);
    do {
        wait_some(1);
        now = now_ns();
    } while (now - start < length);
    return (double)(now - start) / (double)SECOND_NS;
}

/* The same, counted. */
static double count(double seconds)
{
    for (unsigned i = 0; i < options.members; i++)
        members[i].done = 0;
    counting = true;
    seconds = pass(seconds);
    counting = false;
    return seconds;
}

static void stop(void)
{
    stopping = true;
    while (outstanding)
        wait_some(100);
}

static void begin(struct member *member)
{
    member->idle = false;
    for (unsigned i = 0; i < options.members * options.depth; i++)
        if (requests[i].member == member)
            submit(&requests[i]);
}

/* --- What it runs on */

static void request(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void request(const char *format, ...)
{
    char text[200], *error;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    check(sluice_request(context, text, NULL, &error), &error);
}

static void build(void)
{
    char *error;
    if (options.n_uris) {
        nbd_members_open(options.uris, options.n_uris);
        return;
    }
    check(sluice_start(&(struct sluice_options){.threads = options.threads}, &engine, &error),
          &error);
    check(blk_context_open(engine, options.members * options.depth, &context, &error), &error);
    if (options.bps)
        request("throttle-add name=group bps-total=%" PRIu64, options.bps);
    else if (options.iops > 0)
        request("throttle-add name=group iops-total=%.0f", options.iops);
    for (unsigned i = 0; i < options.members; i++) {
        char name[16];
        snprintf(name, sizeof name, "b%u", i);
        request("backend-add name=%s driver=null reactor=%u%s", name, i % options.threads,
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
        printf("{\"limit\": %.2f, \"members\": %u, \"depth\": %u, \"seconds\": %.3f, "
               "\"iops\": %.2f, \"off_percent\": %.4f, \"jain\": %.6f, \"p50_us\": %.1f, "
               "\"p99_us\": %.1f, \"ideal_us\": %.1f, \"p99_of_ideal\": %.4f}\n",
               options.iops, options.members, options.depth, seconds, iops, off, jain, p50, p99,
               ideal, ideal > 0 ? p99 / ideal : 0);
    else
        printf("limit %.2f: %.2f IOPS (%+.3f%%), Jain %.6f, p50 %.1f us, p99 %.1f us (%.3f of the "
               "ideal)\n",
               options.iops, iops, off, jain, p50, p99, ideal > 0 ? p99 / ideal : 0);
}

/* Shares of the limit, once the others have been idle for 10 ms, and from 50 ms after a second one
 * has begun. */
static void settle(void)
{
    double window = options.iops > 2000 ? 0.1 : 200 / options.iops;
    pass(RAMP);
    for (unsigned i = 1; i < options.members; i++)
        members[i].idle = true;
    while (outstanding > options.depth) /* until then they aren't idle */
        wait_some(1);
    pass(0.01);
    double alone = count(window);
    alone = (double)members[0].done / (alone * options.iops);
    begin(&members[1]);
    pass(0.05);
    double both = count(window) * options.iops;
    double first = (double)members[0].done / both, second = (double)members[1].done / both;
    static const char object[] =
        "{\"limit\": %.2f, \"members\": %u, \"depth\": %u, \"window_s\": %.3f, \"alone\": %.4f, "
        "\"first\": %.4f, \"second\": %.4f}\n";
    static const char line[] =
        "limit %.2f, %u members, depth %u, over %.3f s: %.4f of the limit for one from 10 ms after "
        "the others; %.4f and %.4f for two from 50 ms after the second began\n";
    printf(options.json ? object : line, options.iops, options.members, options.depth, window,
           alone, first, second);
}

static int compare_reals(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The first member is in the group and in none by turns, on the same threads and in the same
 * memory, and the turns are so short that the machine is mostly as fast in the one as in the other.
 */
static void cost(void)
{
    static double ratios[TURNS];
    size_t n = 0, most = (size_t)(options.seconds / (2 * TURN));
    uint64_t total[2] = {0};
    pass(RAMP);
    for (; n < TURNS && n <= most; n++) {
        double rates[2];
        for (unsigned i = 0; i < 2; i++) {
            unsigned outside = (i + n) % 2; /* neither is always the first */
            request("backend-set name=b0 throttle=%s", outside ? "" : "group");
            pass(TURN / 4);
            double seconds = count(TURN);
            rates[outside] = (double)members[0].done / seconds;
            total[outside] += members[0].done;
        }
        ratios[n] = rates[0] / rates[1];
    }
    qsort(ratios, n, sizeof *ratios, compare_reals);
    static const char object[] = "{\"limit\": %.2f, \"members\": %u, \"depth\": %u, \"turns\": "
                                 "%zu, \"ratio\": %.4f, \"p25\": %.4f, \"p75\": %.4f, "
                                 "\"ratio_of_all\": %.4f}\n";
    static const char line[] =
        "limit %.2f, %u members, depth %u, %zu turns: %.4f of its requests in no group (median; "
        "quartiles %.4f and %.4f; %.4f of all)\n";
    printf(options.json ? object : line, options.iops, options.members, options.depth, n,
           ratios[n / 2], ratios[n / 4], ratios[n * 3 / 4], (double)total[0] / (double)total[1]);
}

/* --- The command line */

static void usage(void)
{
    printf(
        "usage: sluice-limits [OPTION]...\n"
        "Measures how well a throttle group keeps its limit, and how evenly members share it.\n"
        "\n"
        "  --iops N       the limit, operations per second; 0: no group [1000]\n"
        "  --bps SIZE     the limit, bytes per second, instead; what is told is in operations\n"
        "  --bs SIZE      bytes of a request, 1 to 1M [4K]\n"
        "  --members N    backends in the group, 1 to %d [4]\n"
        "  --depth N      requests outstanding at each, 1 to %d [16]\n"
        "  --threads N    reactors that the backends are spread over [1]\n"
        "  --runtime S    seconds that count [as many as 1000 operations take; 2 at least]\n"
        "  --no-latency   take no latencies: for the highest rates\n"
        "  --settle       all members but one fall idle, then a second begins: what share of the\n"
        "                 limit each has, from 10 ms and from 50 ms after that\n"
        "  --cost         only the first member has a load, and is in the group and in none by\n"
        "                 turns: how much a limit that is never reached costs\n"
        "  --uri URI      a member is a client of this NBD server, which limits to --iops all its\n"
        "                 clients together; once for each member\n"
        "  --json         one object\n",
        LIMITS_MEMBERS, LIMITS_DEPTH);
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

static uint64_t size(const char *what, const char *text, uint64_t most)
{
    uint64_t value;
    if (units_parse_size(text, &value) < 0 || !value || value > most) {
        fprintf(stderr, "sluice-limits: --%s is '%s', but must be a size from 1 to %" PRIu64 "\n",
                what, text, most);
        exit(2);
    }
    return value;
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
        {"iops", required_argument, NULL, 'i'},    {"bps", required_argument, NULL, 'B'},
        {"bs", required_argument, NULL, 'b'},      {"members", required_argument, NULL, 'm'},
        {"depth", required_argument, NULL, 'd'},   {"threads", required_argument, NULL, 't'},
        {"runtime", required_argument, NULL, 'r'}, {"no-latency", no_argument, NULL, 'n'},
        {"settle", no_argument, NULL, 's'},        {"cost", no_argument, NULL, 'c'},
        {"uri", required_argument, NULL, 'u'},     {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
        switch (option) {
        case 'i':
            options.iops = real("iops", optarg);
            break;
        case 'B':
            options.bps = size("bps", optarg, INT64_MAX);
            break;
        case 'b':
            limits_bytes = size("bs", optarg, LIMITS_BYTES);
            break;
        case 'm':
            options.members = number("members", optarg, LIMITS_MEMBERS);
            break;
        case 'd':
            options.depth = number("depth", optarg, LIMITS_DEPTH);
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
        case 's':
            options.settle = true;
            break;
        case 'c':
            options.cost = true;
            options.latency = false;
            break;
        case 'u':
            if (options.n_uris == LIMITS_MEMBERS)
                limits_fail("--uri may be given %d times", LIMITS_MEMBERS);
            options.uris[options.n_uris++] = optarg;
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
    if (options.n_uris)
        options.members = options.n_uris;
    if (options.bps)
        options.iops = (double)options.bps / (double)limits_bytes;
    if (options.settle && (options.iops == 0 || options.members < 2)) {
        fprintf(stderr, "sluice-limits: --settle takes a limit and two members at least\n");
        exit(2);
    }
    if (options.cost && (options.iops == 0 || options.n_uris || options.settle)) {
        fprintf(stderr, "sluice-limits: --cost takes a limit, and neither --uri nor --settle\n");
        exit(2);
    }
    if (options.seconds == 0)
        options.seconds = options.iops > 0 && options.iops < 500 ? 1000 / options.iops : 2;
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    build();
    for (unsigned i = 0; i < options.members * options.depth; i++)
        requests[i].member = &members[i % options.members];
    for (unsigned i = 0; i < (options.cost ? 1 : options.members); i++)
        begin(&members[i]);
    if (options.cost) {
        cost();
    } else if (options.settle) {
        settle();
    } else {
        pass(RAMP);
        tell(count(options.seconds));
    }
    stop();
    nbd_members_close();
    blk_context_close(&context);
    sluice_stop(&engine);
    return 0;
}
