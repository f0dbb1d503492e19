/* directory.h — where each actor lives now: the one table that all threads read.
 *
 * An address is a slot (low 32 bits) and a generation (high 32 bits). The entry of a slot tells the
 * present generation and the peer that is the actor's home. Look-ups are one atomic read; a sender
 * may see an old home, and then that home passes the message on. Changes take a lock; they are
 * rare. */
#ifndef SLUICE_DIRECTORY_H
#define SLUICE_DIRECTORY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DIRECTORY_SLOTS 65536

struct directory {
    _Atomic uint64_t *entries; /* generation << 32 | home peer + 1, or 0 there: nobody */
    pthread_mutex_t lock;
    uint32_t *free_slots; /* a queue: a slot rests as long as possible before its next use */
    uint32_t free_head, free_count;
};

void directory_init(struct directory *directory);
void directory_fini(struct directory *directory);

/* Returns an address whose home is `peer`, or 0 when the table is full. */
uint64_t directory_add(struct directory *directory, unsigned peer);
void directory_remove(struct directory *directory, uint64_t address);
void directory_move(struct directory *directory, uint64_t address, unsigned peer);

static inline uint32_t address_slot(uint64_t address)
{
    return (uint32_t)address;
}

static inline uint32_t address_generation(uint64_t address)
{
    return (uint32_t)(address >> 32);
}

/* The home peer of `address`, or -1 when it is not alive. */
static inline int directory_home(const struct directory *directory, uint64_t address)
{
    uint32_t slot = address_slot(address);
    if (slot >= DIRECTORY_SLOTS)
        return -1;
    uint64_t entry = atomic_load_explicit(&directory->entries[slot], memory_order_acquire);
    if ((entry ^ address) >> 32 != 0)
        return -1;
    return (int)(uint32_t)entry - 1;
}

#endif
