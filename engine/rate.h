/* rate.h — how much went through in the last second: slots of a tenth of a second, used in turn. */
#ifndef SLUICE_RATE_H
#define SLUICE_RATE_H

#include <stdint.h>

#define RATE_SLOTS 10
#define RATE_SLOT  UINT64_C(100000000) /* ns */

struct rate {
    struct rate_slot {
        uint64_t number; /* since the clock's zero, + 1; 0: never used */
        double operations, bytes;
    } slots[RATE_SLOTS + 1];
};

static inline void rate_add(struct rate *rate, uint64_t now, double operations, double bytes)
{
    uint64_t number = now / RATE_SLOT + 1;
    struct rate_slot *slot = &rate->slots[number % (RATE_SLOTS + 1)];
    if (slot->number != number)
        *slot = (struct rate_slot){.number = number};
    slot->operations += operations;
    slot->bytes += bytes;
}

/* Per second, over the last ten slots that are over. */
static inline struct rate_slot rate_tell(const struct rate *rate, uint64_t now)
{
    uint64_t number = now / RATE_SLOT + 1;
    struct rate_slot sum = {.number = number};
    for (unsigned i = 0; i <= RATE_SLOTS; i++) {
        const struct rate_slot *slot = &rate->slots[i];
        if (slot->number >= number || slot->number + RATE_SLOTS < number)
            continue;
        sum.operations += slot->operations;
        sum.bytes += slot->bytes;
    }
    return sum;
}

#endif
