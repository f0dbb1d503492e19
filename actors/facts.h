/* facts.h — what is answered about a medium, where its driver tells less, or where there is none
 * (then all facts are 0). */
#ifndef SLUICE_FACTS_H
#define SLUICE_FACTS_H

#include "drivers/driver.h"

#define FACTS_SECTOR     512
#define FACTS_MAX_VECTOR 1024

static inline uint32_t facts_alignment(const struct driver_facts *facts)
{
    return facts->alignment ? facts->alignment : FACTS_SECTOR;
}

/* Bytes of one request: above 0, 2^31-1 at most, a multiple of the alignment. */
static inline uint32_t facts_max_transfer(const struct driver_facts *facts)
{
    uint32_t mask = facts_alignment(facts) - 1;
    uint64_t most =
        facts->max_transfer && facts->max_transfer < INT32_MAX ? facts->max_transfer : INT32_MAX;
    return most > mask ? (uint32_t)most & ~mask : mask + 1;
}

static inline uint32_t facts_max_vector(const struct driver_facts *facts)
{
    return facts->max_vector ? facts->max_vector : FACTS_MAX_VECTOR;
}

static inline bool facts_have_blocksizes(const struct driver_facts *facts)
{
    return facts->logical_block && facts->physical_block;
}

static inline bool facts_have_geometry(const struct driver_facts *facts)
{
    return facts->cylinders && facts->heads && facts->sectors;
}

#endif
