/* ranges.h — requests under way, by the ranges that they touch, for drivers and nodes in which some
 * have to wait for others.
 *
 * A request enters with what it does to its range. When that does not get along with one that
 * overlaps and came earlier, it waits until that one has left: first come, first served, so nobody
 * waits for ever. With nothing to wait for, entering and leaving cost a few stores. */
#ifndef SLUICE_RANGES_H
#define SLUICE_RANGES_H

#include <stdbool.h>
#include <stdint.h>

/* What a request does. Two get along when these add up to less than 3. */
enum range_use {
    RANGE_READ,  /* with all but the last */
    RANGE_WRITE, /* with reads and writes */
    RANGE_COPY,  /* brings data there from elsewhere: with reads only */
    RANGE_ALONE,
    RANGE_USES,
};

struct range;
typedef void range_go_fn(struct range *range);

/* In the frame of a request; for ranges.c but for `start` and `end`. */
struct range {
    struct range *prev, *next;
    uint64_t start, end; /* `end` is the first byte behind it */
    uint8_t use;
    bool waiting;
};

/* Begins as zeroes, but for `go`. */
struct ranges {
    range_go_fn *go;            /* called when one that waited may go on */
    struct range *first, *last; /* as they came */
    unsigned uses[RANGE_USES];  /* how many of each */
    unsigned waiting;
    bool admitting;
};

/* Returns whether the request may go on. If not, it waits. */
bool ranges_enter(struct ranges *ranges, struct range *range, enum range_use use, uint64_t start,
                  uint64_t end);

/* Others may go on, and do, inside this call. */
void ranges_leave(struct ranges *ranges, struct range *range);

/* The oldest that waits; null when none does. To be ended, it leaves. */
struct range *ranges_waiting(const struct ranges *ranges);

#endif
