/* limits.h — what a throttle group's members may do together: six limits, checked, and the leaky
 * buckets that keep them.
 *
 * A bucket has a level, which a request raises by what it is worth and which leaks `average` per
 * second; while a burst may last longer than a second, a second level leaks `maximum` per second. A
 * request may go when neither is over its size, and is then accounted whole. The arithmetic is that
 * of the throttling that QEMU documents (docs/throttle.txt).
 *
 * What is leased to members is reserved: it stands in the way as if it were spent already, but does
 * not leak until it is. */
#ifndef SLUICE_LIMITS_H
#define SLUICE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/err.h"

enum limit_number {
    LIMIT_IOPS_TOTAL,
    LIMIT_IOPS_READ,
    LIMIT_IOPS_WRITE,
    LIMIT_BPS_TOTAL,
    LIMIT_BPS_READ,
    LIMIT_BPS_WRITE,
    LIMITS,
};

/* As requests and sentences call them: "iops-total". */
extern const char *const limit_names[LIMITS];

#define LIMIT_MOST 1e15

struct limit {
    double average;      /* units per second; 0: no limit */
    double maximum;      /* the same, in a burst; 0: no bursts */
    double burst_length; /* seconds that `maximum` may last */
};

struct limits {
    struct limit limit[LIMITS];
    uint64_t iops_size; /* bytes of one operation; 0: each request is one */
};

#define LIMITS_NONE                                                                                \
    (struct limits)                                                                                \
    {                                                                                              \
        .limit = { [0 ... LIMITS - 1] = {0, 0, 1} }                                                \
    }

/* Refuses, naming the rule and what to set instead; `err` has the field. */
int limits_check(const struct limits *limits, struct err *err);

bool limits_same(const struct limits *one, const struct limits *other);

/* Operations that a request is worth. */
static inline double limits_ops(uint64_t iops_size, uint64_t bytes)
{
    return iops_size && bytes > iops_size ? (double)bytes / (double)iops_size : 1;
}

struct bucket {
    double level, burst; /* units */
    double reserved;     /* units */
};

/* Units that a bucket holds before requests wait: of its level, and of its burst level (infinite
 * without one). */
double limit_size(const struct limit *limit);
double limit_burst_size(const struct limit *limit);

void bucket_leak(struct bucket *bucket, const struct limit *limit, uint64_t ns);
/* Nanoseconds until a request may go; 0: now. What is reserved does not leak, so it can be longer.
 */
double bucket_wait(const struct bucket *bucket, const struct limit *limit);
/* Units that may be leased; 0 or less when there is no room. */
double bucket_room(const struct bucket *bucket, const struct limit *limit);
static inline void bucket_add(struct bucket *bucket, double units)
{
    bucket->level += units;
    bucket->burst += units;
}

#endif
