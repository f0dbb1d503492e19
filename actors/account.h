/* account.h — what a backend's requests did, by kind: counts, latencies, their distribution.
 *
 * All of it belongs to one thread and takes no lock. Times are nanoseconds of the reactor's clock,
 * as it was at the start of a turn, so that counting does not read the clock: a request that begins
 * and ends in one turn took 0.
 *
 * Equal latencies that follow each other are counted as a run, and only the end of a run touches
 * sums, windows and histograms: see account_settle(), which is due before anything is read. */
#ifndef SLUICE_ACCOUNT_H
#define SLUICE_ACCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/histogram.h"
#include "engine/op.h"

#define ACCOUNT_SLICES  10 /* of a window: what is told covers its length less up to one slice */
#define ACCOUNT_WINDOWS 8  /* at most */
#define ACCOUNT_BOUNDS  64 /* at most */
#define ACCOUNT_RUN     UINT64_C(1000000) /* a run ends after this time, ns */

/* Latencies of the last `length` nanoseconds, as slices that are used in turn. */
struct account_window {
    uint64_t length;
    struct account_slice {
        uint64_t number; /* since the clock's zero, in lengths of a slice; 0: never used */
        uint64_t count, sum, min, max;
    } slices[ACCOUNT_SLICES + 1];
};

struct account_kind {
    uint64_t operations, bytes; /* that succeeded */
    uint64_t run_latency, run_count, run_until;
    uint64_t failed, invalid, merged;
    uint64_t time;               /* sum of latencies */
    struct histogram *latencies; /* null until there is one */
    struct account_window *windows;
    uint64_t *bounds, *bins; /* chosen: nbounds, and nbounds + 1 */
    size_t nbounds;
};

struct account {
    bool count_failed; /* whether failed requests count in latencies */
    bool used;
    uint64_t last;            /* end of the newest request */
    uint64_t highest_written; /* first byte behind the furthest write */
    size_t nwindows;
    struct account_kind kinds[OP_KINDS];
};

/* What a frontend counts by itself, of what it never submits. Only its thread writes it, with
 * account_tell() and account_tell_invalid(); the account takes it in with account_hear() before
 * anything is read. */
struct account_told {
    _Atomic uint64_t merged[OP_KINDS], invalid[OP_KINDS];
    _Atomic uint64_t last; /* when the newest invalid one came */
};
/* How far it is taken in. */
struct account_heard {
    uint64_t merged[OP_KINDS], invalid[OP_KINDS];
};

static inline void account_tell(_Atomic uint64_t *count, uint64_t more)
{
    uint64_t now = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, now + more, memory_order_release);
}

/* Requests that were refused at `now`, by whichever reactor's clock. */
static inline void account_tell_invalid(struct account_told *told, unsigned kind, uint64_t more,
                                        uint64_t now)
{
    if (!more)
        return;
    atomic_store_explicit(&told->last, now, memory_order_relaxed);
    account_tell(&told->invalid[kind], more);
}

/* `kinds`, by bit, are counted; others are taken in, and forgotten. */
void account_hear(struct account *account, const struct account_told *told,
                  struct account_heard *heard, unsigned kinds);

void account_fini(struct account *account);

/* Ends the runs under way. */
void account_settle(struct account *account, uint64_t now);

/* Chooses the windows, and begins them anew: lengths in nanoseconds, above 0, ACCOUNT_WINDOWS at
 * most. */
void account_set_windows(struct account *account, const uint64_t *lengths, size_t n);

/* Chooses the bounds of a kind's histogram, and begins it anew: rising, above 0. Bin i then counts
 * latencies from bound i - 1 on and below bound i. */
void account_set_bounds(struct account *account, unsigned kind, const uint64_t *bounds, size_t n);

/* What a window tells at `now`. */
struct account_interval {
    uint64_t length; /* as chosen */
    uint64_t count, min, average, max;
    double queue_depth; /* mean: latencies' sum by time, which is Little's law */
};
void account_interval(const struct account *account, unsigned kind, size_t window, uint64_t now,
                      struct account_interval *out);

/* For account_latency(). */
void account_run(struct account *account, struct account_kind *kind, uint64_t latency,
                 uint64_t now);

static inline void account_latency(struct account *account, struct account_kind *kind,
                                   uint64_t latency, uint64_t now)
{
    if (__builtin_expect(latency == kind->run_latency && now < kind->run_until, 1))
        kind->run_count++;
    else
        account_run(account, kind, latency, now);
}

/* A request has succeeded. */
static inline void account_done(struct account *account, unsigned kind, uint64_t bytes,
                                uint64_t started, uint64_t now)
{
    struct account_kind *counted = &account->kinds[kind];
    counted->operations++;
    counted->bytes += bytes;
    account->used = true;
    account->last = now;
    account_latency(account, counted, now - started, now);
}

/* A request has failed at the medium. */
static inline void account_failed(struct account *account, unsigned kind, uint64_t started,
                                  uint64_t now)
{
    account->kinds[kind].failed++;
    account->used = true;
    account->last = now;
    if (account->count_failed)
        account_latency(account, &account->kinds[kind], now - started, now);
}

/* A request was refused before the medium saw it. */
static inline void account_invalid(struct account *account, unsigned kind, uint64_t now)
{
    account->kinds[kind].invalid++;
    account->used = true;
    account->last = now;
}

/* A write ends at `end`, whether it succeeded or not. */
static inline void account_written(struct account *account, uint64_t end)
{
    if (end > account->highest_written)
        account->highest_written = end;
}

#endif
