#include "window_rig.h"

#include <math.h>

static void pass(const struct limit *limit, struct window_sum *sum, double seconds, double units)
{
    double size = limit->maximum > 0 ? limit->maximum * limit->burst_length : limit->average / 10;
    double before = sum->passed - limit->average * seconds;
    double burst_before = sum->passed - limit->maximum * seconds;
    sum->lowest = fmin(sum->lowest, before);
    sum->burst_lowest = fmin(sum->burst_lowest, burst_before);
    sum->largest = fmax(sum->largest, units);
    sum->passed += units;
    double over = before + units - sum->lowest - size - sum->largest;
    if (limit->burst_length > 1)
        over = fmax(over,
                    burst_before + units - sum->burst_lowest - limit->maximum / 10 - sum->largest);
    if (over > 1e-6 * sum->largest + 1e-9 * sum->passed)
        fail_msg("%g too much has passed at %.9f s", over, seconds);
}

void window_pass(struct window *window, const struct limits *limits, unsigned direction,
                 uint64_t bytes, uint64_t ns)
{
    double ops = limits->iops_size && bytes > limits->iops_size
                     ? (double)bytes / (double)limits->iops_size
                     : 1;
    for (unsigned i = 0; i < LIMITS; i++)
        if (limits->limit[i].average > 0 && (i % 3 == 0 || i % 3 == direction + 1))
            pass(&limits->limit[i], &window->sums[i], (double)ns / 1e9,
                 i < LIMIT_BPS_TOTAL ? ops : (double)bytes);
}

void window_begin(struct window *window)
{
    for (unsigned i = 0; i < LIMITS; i++)
        window->sums[i] =
            (struct window_sum){.lowest = (double)INFINITY, .burst_lowest = (double)INFINITY};
}
