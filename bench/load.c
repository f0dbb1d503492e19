#include "bench/load.h"
#include "engine/random.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define NS UINT64_C(1000000000)

enum {
    WAIT_MS = 100,    /* at most between two looks at the clock */
    BLIND_TURNS = 32, /* turns between two looks at the clock when no latency is kept */
    STUCK_S = 30,     /* how long the last requests may take */
    BUFFER_ALIGNMENT = 4096,
};

struct slot {
    struct load *load;
    uint64_t started;
    void *buffer;
    int ret;
    uint8_t kind;
};

struct load {
    const struct load_options *options;
    struct load_result *result;
    blk *blk;
    uint64_t random, blocks, position;
    struct slot *slots;
    struct slot **completed; /* in this turn */
    unsigned n_completed, outstanding;
};

static volatile sig_atomic_t interrupted;

void load_interrupt(void)
{
    interrupted = 1;
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

static double cpu_s(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void completed(void *opaque, int ret)
{
    struct slot *slot = opaque;
    slot->ret = ret;
    slot->load->completed[slot->load->n_completed++] = slot;
}

/* The high half of the random number, scaled, chooses the block, the low half the kind. */
static void submit(struct load *load, struct slot *slot, uint64_t now)
{
    const struct load_options *options = load->options;
    uint64_t random = random_next(&load->random), block;
    if (options->random) {
        block = (uint64_t)((unsigned __int128)random * load->blocks >> 64);
    } else {
        block = load->position;
        load->position = block + 1 < load->blocks ? block + 1 : 0;
    }
    slot->kind = (random & 0xffffffff) * 100 >> 32 < options->read_percent ? LOAD_READ : LOAD_WRITE;
    slot->started = now;
    int64_t offset = (int64_t)(block * options->block), bytes = (int64_t)options->block;
    int ret = slot->kind == LOAD_READ
                  ? blk_aio_pread(load->blk, offset, bytes, slot->buffer, 0, completed, slot)
                  : blk_aio_pwrite(load->blk, offset, bytes, slot->buffer, 0, completed, slot);
    load->outstanding++;
    if (ret < 0)
        completed(slot, ret);
}

static void account(struct load *load, const struct slot *slot, uint64_t now, bool counted)
{
    struct load_result *result = load->result;
    if (slot->ret < 0) {
        if (!result->failed++)
            result->first_error = slot->ret;
    } else if (counted) {
        result->requests[slot->kind]++;
        if (load->options->latency)
            histogram_add(&result->latency[slot->kind], now - slot->started);
    }
}

/* What is told from time to time. */
struct reporter {
    uint64_t begin, last, requests;
};

static void report(struct reporter *reporter, const struct load *load, uint64_t now)
{
    const struct load_result *result = load->result;
    uint64_t requests = result->requests[LOAD_READ] + result->requests[LOAD_WRITE];
    load->options->progress((double)(now - reporter->begin) / 1e9,
                            (double)(now - reporter->last) / 1e9, requests - reporter->requests);
    reporter->last = now;
    reporter->requests = requests;
}

/* Keeps the requests going until `end`, or until one fails; counts them if `counted`. */
static void run_until(blk_context *context, struct load *load, uint64_t end, bool counted)
{
    uint64_t now = now_ns();
    struct reporter reporter = {now, now, 0};
    for (unsigned turn = 1; now < end && !interrupted && !load->result->failed; turn++) {
        if (load->n_completed == 0)
            blk_wait(context, WAIT_MS);
        if (load->options->latency || turn % BLIND_TURNS == 0 || load->n_completed == 0)
            now = now_ns();
        unsigned n = load->n_completed;
        load->n_completed = 0;
        load->outstanding -= n;
        for (unsigned i = 0; i < n; i++) {
            struct slot *slot = load->completed[i];
            account(load, slot, now, counted);
            submit(load, slot, now);
        }
        if (counted && load->options->progress && now - reporter.last >= NS / 5)
            report(&reporter, load, now);
    }
}

/* Waits for what is outstanding, and counts failures only. */
static void drain(blk_context *context, struct load *load)
{
    uint64_t deadline = now_ns() + STUCK_S * NS;
    do {
        for (unsigned i = 0; i < load->n_completed; i++)
            account(load, load->completed[i], 0, false);
        load->outstanding -= load->n_completed;
        load->n_completed = 0;
        if (load->outstanding)
            blk_wait(context, WAIT_MS);
    } while (load->outstanding && now_ns() < deadline);
    load->result->stuck = load->outstanding;
}

int load_run(blk_context *context, blk *blk, const struct load_options *options,
             struct load_result *result)
{
    memset(result, 0, sizeof *result);
    uint64_t stride = (options->block + BUFFER_ALIGNMENT - 1) & ~(uint64_t)(BUFFER_ALIGNMENT - 1);
    struct load load = {
        options, result, blk, options->seed, options->size / options->block, 0, NULL, NULL, 0, 0};
    unsigned char *memory = aligned_alloc(BUFFER_ALIGNMENT, stride * options->depth);
    load.slots = calloc(options->depth, sizeof *load.slots);
    load.completed = calloc(options->depth, sizeof *load.completed);
    if (!memory || !load.slots || !load.completed) {
        free(memory);
        free(load.slots);
        free(load.completed);
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < stride * options->depth; i += sizeof(uint64_t)) {
        uint64_t random = random_next(&load.random);
        memcpy(memory + i, &random, sizeof random);
    }
    load.random = options->seed;

    interrupted = 0;
    uint64_t begin = now_ns();
    for (unsigned i = 0; i < options->depth; i++) {
        load.slots[i] = (struct slot){&load, 0, memory + i * stride, 0, 0};
        submit(&load, &load.slots[i], begin);
    }
    if (options->ramp_ns)
        run_until(context, &load, begin + options->ramp_ns, false);

    begin = now_ns();
    double submitter = cpu_s(RUSAGE_THREAD), process = cpu_s(RUSAGE_SELF);
    run_until(context, &load, begin + options->runtime_ns, true);
    result->seconds = (double)(now_ns() - begin) / 1e9;
    result->submitter_cpu_s = cpu_s(RUSAGE_THREAD) - submitter;
    result->process_cpu_s = cpu_s(RUSAGE_SELF) - process;

    drain(context, &load);
    if (result->stuck)
        return 0; /* the engine still holds the memory */
    free(memory);
    free(load.slots);
    free(load.completed);
    return 0;
}
