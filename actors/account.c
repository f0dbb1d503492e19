#include "actors/account.h"

#include <stdlib.h>
#include <string.h>

#include "engine/mem.h"

void account_fini(struct account *account)
{
    for (unsigned i = 0; i < OP_KINDS; i++) {
        struct account_kind *kind = &account->kinds[i];
        free(kind->latencies);
        free(kind->windows);
        free(kind->bounds);
        free(kind->bins);
    }
}

/* --- Runs */

static void slice_add(struct account_slice *slice, uint64_t latency, uint64_t n)
{
    if (!slice->count || latency < slice->min)
        slice->min = latency;
    if (latency > slice->max)
        slice->max = latency;
    slice->count += n;
    slice->sum += n * latency;
}

static uint64_t slice_number(const struct account_window *window, uint64_t now)
{
    return now / (window->length / ACCOUNT_SLICES + 1) + 1;
}

static void window_add(struct account_window *window, uint64_t latency, uint64_t n, uint64_t now)
{
    uint64_t number = slice_number(window, now);
    struct account_slice *slice = &window->slices[number % (ACCOUNT_SLICES + 1)];
    if (slice->number != number)
        *slice = (struct account_slice){.number = number};
    slice_add(slice, latency, n);
}

/* The first bound above the latency, by halving. */
static size_t bin_of(const struct account_kind *kind, uint64_t latency)
{
    size_t low = 0, high = kind->nbounds;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (latency < kind->bounds[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void end_run(struct account *account, struct account_kind *kind, uint64_t now)
{
    uint64_t n = kind->run_count, latency = kind->run_latency;
    if (!n)
        return;
    kind->run_count = 0;
    kind->time += n * latency;
    if (!kind->latencies)
        kind->latencies = MEM_NEW(struct histogram);
    histogram_add_many(kind->latencies, latency, n);
    for (size_t i = 0; i < account->nwindows; i++)
        window_add(&kind->windows[i], latency, n, now);
    if (kind->nbounds)
        kind->bins[bin_of(kind, latency)] += n;
}

void account_run(struct account *account, struct account_kind *kind, uint64_t latency, uint64_t now)
{
    end_run(account, kind, now);
    kind->run_latency = latency;
    kind->run_count = 1;
    kind->run_until = now + ACCOUNT_RUN;
}

void account_settle(struct account *account, uint64_t now)
{
    for (unsigned i = 0; i < OP_KINDS; i++)
        end_run(account, &account->kinds[i], now);
}

/* --- What is counted elsewhere */

static uint64_t news(const _Atomic uint64_t *count, uint64_t *heard)
{
    uint64_t now = atomic_load_explicit(count, memory_order_acquire), before = *heard;
    *heard = now;
    return now - before;
}

static void hear_last(struct account *account, const struct account_told *told)
{
    uint64_t last = atomic_load_explicit(&told->last, memory_order_relaxed);
    account->used = true;
    if (last > account->last)
        account->last = last;
}

void account_hear(struct account *account, const struct account_told *told,
                  struct account_heard *heard, unsigned kinds)
{
    for (unsigned i = 0; i < OP_KINDS; i++) {
        uint64_t merged = news(&told->merged[i], &heard->merged[i]);
        uint64_t invalid = news(&told->invalid[i], &heard->invalid[i]);
        if (!(kinds >> i & 1))
            continue;
        account->kinds[i].merged += merged;
        account->kinds[i].invalid += invalid;
        if (invalid)
            hear_last(account, told);
    }
}

/* --- What is chosen */

void account_set_windows(struct account *account, const uint64_t *lengths, size_t n)
{
    account->nwindows = n;
    for (unsigned i = 0; i < OP_KINDS; i++) {
        struct account_kind *kind = &account->kinds[i];
        free(kind->windows);
        kind->windows = n ? mem_new(n * sizeof *kind->windows) : NULL;
        for (size_t w = 0; w < n; w++)
            kind->windows[w].length = lengths[w];
    }
}

void account_set_bounds(struct account *account, unsigned number, const uint64_t *bounds, size_t n)
{
    struct account_kind *kind = &account->kinds[number];
    free(kind->bounds);
    free(kind->bins);
    kind->nbounds = n;
    kind->bounds = n ? mem_new(n * sizeof *bounds) : NULL;
    kind->bins = n ? mem_new((n + 1) * sizeof *kind->bins) : NULL;
    if (n)
        memcpy(kind->bounds, bounds, n * sizeof *bounds);
}

/* --- What is told */

void account_interval(const struct account *account, unsigned kind, size_t number, uint64_t now,
                      struct account_interval *out)
{
    const struct account_window *window = &account->kinds[kind].windows[number];
    uint64_t newest = slice_number(window, now);
    struct account_slice all = {0};
    for (size_t i = 0; i <= ACCOUNT_SLICES; i++) {
        const struct account_slice *slice = &window->slices[i];
        if (!slice->count || slice->number + ACCOUNT_SLICES <= newest)
            continue;
        if (!all.count || slice->min < all.min)
            all.min = slice->min;
        if (slice->max > all.max)
            all.max = slice->max;
        all.count += slice->count;
        all.sum += slice->sum;
    }
    *out = (struct account_interval){
        .length = window->length,
        .count = all.count,
        .min = all.min,
        .average = all.count ? all.sum / all.count : 0,
        .max = all.max,
        .queue_depth = (double)all.sum / (double)window->length,
    };
}
