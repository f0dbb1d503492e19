/* histogram.h — latencies, log-linear: every power of two is cut into 64 equal parts, and a
 * quantile is told as the middle of its part, so that it is at most 0.8% off; a record costs a few
 * instructions, and the whole is 30 KiB. */
#ifndef SLUICE_HISTOGRAM_H
#define SLUICE_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_BITS = 6, HISTOGRAM_CELLS = (64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS };

struct histogram {
    uint64_t count, sum, min, max; /* min means something only when count is not 0 */
    uint64_t cells[HISTOGRAM_CELLS];
};

/* Values below 64 have a cell each; above, the cell is the exponent and the six bits below the
 * leading one. */
static inline unsigned histogram_cell(uint64_t value)
{
    unsigned width = 64 - (unsigned)__builtin_clzll(value | 1);
    unsigned shift = width > HISTOGRAM_BITS + 1 ? width - HISTOGRAM_BITS - 1 : 0;
    return (shift << HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

/* The value in the middle of the cell. */
static inline uint64_t histogram_middle(unsigned cell)
{
    unsigned shift = cell >> HISTOGRAM_BITS;
    if (shift <= 1)
        return cell;
    shift--;
    uint64_t first = (uint64_t)(cell - (shift << HISTOGRAM_BITS)) << shift;
    return first + (UINT64_C(1) << shift) / 2;
}

/* The same value, `n` times. */
static inline void histogram_add_many(struct histogram *histogram, uint64_t value, uint64_t n)
{
    if (value < histogram->min || histogram->count == 0)
        histogram->min = value;
    if (value > histogram->max)
        histogram->max = value;
    histogram->count += n;
    histogram->sum += n * value;
    histogram->cells[histogram_cell(value)] += n;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram_add_many(histogram, value, 1);
}

/* The value that a fraction of all (0 to 1) does not exceed; 0 when there is none. */
static inline uint64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
    double exact = fraction * (double)histogram->count;
    uint64_t rank = (uint64_t)exact, seen = 0;
    rank += (double)rank < exact || !rank; /* so many values do not exceed it */
    if (rank >= histogram->count)
        return histogram->max;
    for (unsigned cell = 0; cell < HISTOGRAM_CELLS; cell++) {
        seen += histogram->cells[cell];
        if (seen >= rank) {
            uint64_t middle = histogram_middle(cell);
            if (middle < histogram->min)
                return histogram->min;
            return middle < histogram->max ? middle : histogram->max;
        }
    }
    return histogram->max;
}

#endif
