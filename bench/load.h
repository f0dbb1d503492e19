/* load.h — a load of reads and writes on one backend, from one thread.
 *
 * A fixed number of requests is kept outstanding. Offsets come from a seed: the same seed asks for
 * the same offsets. The first request that fails ends the load. Time is read once for all requests
 * that complete together, which makes a request's own cost a few nanoseconds; a latency is the time
 * from the turn that submitted it to the turn that saw it complete. */
#ifndef SLUICE_BENCH_LOAD_H
#define SLUICE_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/sluice.h"
#include "engine/histogram.h"

struct load_options {
    bool random;           /* offsets: random, or one block after the other */
    unsigned read_percent; /* of the requests; the others write */
    uint64_t block;        /* bytes of a request */
    uint64_t size;         /* bytes of the range, from 0; at least one block */
    unsigned depth;        /* requests outstanding */
    uint64_t ramp_ns;      /* load before counting begins */
    uint64_t runtime_ns;   /* counted load */
    uint64_t seed;
    bool latency; /* whether each turn reads the time, and latencies are kept */
    /* Called about five times a second with what was done since the last call; may be null. */
    void (*progress)(double elapsed_s, double interval_s, uint64_t requests);
};

enum { LOAD_READ, LOAD_WRITE, LOAD_KINDS };

struct load_result {
    double seconds;
    uint64_t requests[LOAD_KINDS]; /* that succeeded */
    uint64_t failed;
    int first_error;                      /* negative errno of the first that failed */
    double submitter_cpu_s;               /* user and system time of the calling thread */
    double process_cpu_s;                 /* of the whole process, the calling thread included */
    uint64_t stuck;                       /* requests that had not ended 30 s after the load did */
    struct histogram latency[LOAD_KINDS]; /* nanoseconds */
};

/* Runs the load until its time is over or load_interrupt() was called. Returns 0, or -ENOMEM. */
int load_run(blk_context *context, blk *blk, const struct load_options *options,
             struct load_result *result);

/* Ends the running load early. For a signal handler. */
void load_interrupt(void);

#endif
