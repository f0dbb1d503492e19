#include "actors/limits.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#define NS_PER_SECOND 1e9

const char *const limit_names[LIMITS] = {
    [LIMIT_IOPS_TOTAL] = "iops-total", [LIMIT_IOPS_READ] = "iops-read",
    [LIMIT_IOPS_WRITE] = "iops-write", [LIMIT_BPS_TOTAL] = "bps-total",
    [LIMIT_BPS_READ] = "bps-read",     [LIMIT_BPS_WRITE] = "bps-write",
};

bool limits_same(const struct limits *one, const struct limits *other)
{
    for (unsigned i = 0; i < LIMITS; i++) {
        const struct limit *a = &one->limit[i], *b = &other->limit[i];
        if (a->average != b->average || a->maximum != b->maximum ||
            a->burst_length != b->burst_length)
            return false;
    }
    return one->iops_size == other->iops_size;
}

/* --- Checks */

/* The sentence is about all that has to be changed: who does what it says is not refused again. */
static int check_together(const struct limits *limits, unsigned total, struct err *err)
{
    for (unsigned number = total + 1; number < total + 3; number++) {
        const struct limit *all = &limits->limit[total], *one = &limits->limit[number];
        bool averages = all->average > 0 && one->average > 0;
        if (!averages && !(all->maximum > 0 && one->maximum > 0))
            continue;
        const char *suffix = averages ? "" : "-max";
        const char *what = averages && (all->maximum > 0 || one->maximum > 0)
                               ? "one of them, and its -max,"
                               : "one of them";
        return err_field(err, limit_names[number], -EINVAL,
                         "%s%s and %s%s can't be limited together; set %s to 0", limit_names[total],
                         suffix, limit_names[number], suffix, what);
    }
    return 0;
}

static int check_range(const char *name, const char *suffix, double value, struct err *err)
{
    if (value >= 0 && value <= LIMIT_MOST)
        return 0;
    return err_field(err, name, -EINVAL, "%s%s is %.16g, but a limit is 0 (none) to 10^15", name,
                     suffix, value);
}

static int check_burst(const char *name, const struct limit *limit, struct err *err)
{
    if (!(limit->burst_length >= 1))
        return err_field(err, name, -EINVAL,
                         "%s-max-length is %.16g, but a burst lasts 1 second or more", name,
                         limit->burst_length);
    if (limit->burst_length > 1 && !(limit->maximum > 0))
        return err_field(err, name, -EINVAL,
                         "%s-max-length is %.16g, but there is no %s-max, which it is the length "
                         "of; set that, or a length of 1",
                         name, limit->burst_length, name);
    if (limit->maximum > 0 && limit->maximum * limit->burst_length > LIMIT_MOST)
        return err_field(err, name, -EINVAL,
                         "%s-max of %.16g for %.16g seconds is more than 10^15 in all; set a lower "
                         "%s-max or %s-max-length",
                         name, limit->maximum, limit->burst_length, name, name);
    if (limit->maximum > 0 && !(limit->average > 0))
        return err_field(err, name, -EINVAL,
                         "%s-max is %.16g, but there is no %s, which bursts go beyond; set that, "
                         "or %s-max to 0",
                         name, limit->maximum, name, name);
    if (limit->maximum > 0 && limit->maximum < limit->average)
        return err_field(err, name, -EINVAL,
                         "%s-max is %.16g, less than %s, which is %.16g; set %s-max to 0, or "
                         "higher",
                         name, limit->maximum, name, limit->average, name);
    return 0;
}

int limits_check(const struct limits *limits, struct err *err)
{
    bool has_ops = false;
    for (unsigned i = 0; i < LIMITS; i++) {
        const struct limit *limit = &limits->limit[i];
        if (check_range(limit_names[i], "", limit->average, err) < 0 ||
            check_range(limit_names[i], "-max", limit->maximum, err) < 0)
            return -EINVAL;
        has_ops |= i <= LIMIT_IOPS_WRITE && limit->average > 0;
    }
    if (check_together(limits, LIMIT_IOPS_TOTAL, err) < 0 ||
        check_together(limits, LIMIT_BPS_TOTAL, err) < 0)
        return -EINVAL;
    for (unsigned i = 0; i < LIMITS; i++)
        if (check_burst(limit_names[i], &limits->limit[i], err) < 0)
            return -EINVAL;
    if ((double)limits->iops_size > LIMIT_MOST)
        return err_field(err, "iops-size", -EINVAL,
                         "iops-size is %llu bytes, but is 0 (off) to 10^15",
                         (unsigned long long)limits->iops_size);
    if (limits->iops_size && !has_ops)
        return err_field(err, "iops-size", -EINVAL,
                         "iops-size is %llu bytes, but no operations are limited; set iops-total, "
                         "iops-read or iops-write, or an iops-size of 0",
                         (unsigned long long)limits->iops_size);
    return 0;
}

/* --- Buckets */

double limit_size(const struct limit *limit)
{
    return limit->maximum > 0 ? limit->maximum * limit->burst_length : limit->average / 10;
}

double limit_burst_size(const struct limit *limit)
{
    return limit->burst_length > 1 ? limit->maximum / 10 : (double)INFINITY;
}

static double leaked(double level, double rate, uint64_t ns)
{
    return fmax(0, level - rate * ((double)ns / NS_PER_SECOND));
}

void bucket_leak(struct bucket *bucket, const struct limit *limit, uint64_t ns)
{
    bucket->level = leaked(bucket->level, limit->average, ns);
    bucket->burst = limit->burst_length > 1 ? leaked(bucket->burst, limit->maximum, ns) : 0;
}

double bucket_wait(const struct bucket *bucket, const struct limit *limit)
{
    double over = bucket->level + bucket->reserved - limit_size(limit), wait = 0;
    if (over > 0)
        wait = over / limit->average;
    over = bucket->burst + bucket->reserved - limit_burst_size(limit);
    if (over > 0)
        wait = fmax(wait, over / limit->maximum);
    return ceil(wait * NS_PER_SECOND);
}

double bucket_room(const struct bucket *bucket, const struct limit *limit)
{
    return fmin(limit_size(limit) - bucket->level, limit_burst_size(limit) - bucket->burst) -
           bucket->reserved;
}
