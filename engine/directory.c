#include "engine/directory.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/mem.h"

void directory_init(struct directory *directory)
{
    directory->entries = mem_new(DIRECTORY_SLOTS * sizeof *directory->entries);
    directory->free_slots = mem_new(DIRECTORY_SLOTS * sizeof *directory->free_slots);
    pthread_mutex_init(&directory->lock, NULL);
    /* Slot 0 is nobody's, so that no address is 0. */
    for (uint32_t slot = 1; slot < DIRECTORY_SLOTS; slot++)
        directory->free_slots[slot - 1] = slot;
    directory->free_head = 0;
    directory->free_count = DIRECTORY_SLOTS - 1;
}

void directory_fini(struct directory *directory)
{
    pthread_mutex_destroy(&directory->lock);
    free((void *)directory->entries);
    free(directory->free_slots);
}

static void set(struct directory *directory, uint32_t slot, uint32_t generation, uint32_t home)
{
    atomic_store_explicit(&directory->entries[slot], (uint64_t)generation << 32 | home,
                          memory_order_release);
}

uint64_t directory_add(struct directory *directory, unsigned peer)
{
    uint64_t address = 0;
    pthread_mutex_lock(&directory->lock);
    if (directory->free_count) {
        uint32_t slot = directory->free_slots[directory->free_head];
        directory->free_head = (directory->free_head + 1) % DIRECTORY_SLOTS;
        directory->free_count--;
        uint32_t generation = (uint32_t)(directory->entries[slot] >> 32) + 1;
        if (generation == 0)
            generation = 1;
        address = (uint64_t)generation << 32 | slot;
        set(directory, slot, generation, peer + 1);
    }
    pthread_mutex_unlock(&directory->lock);
    return address;
}

void directory_remove(struct directory *directory, uint64_t address)
{
    uint32_t slot = address_slot(address);
    pthread_mutex_lock(&directory->lock);
    assert(directory_home(directory, address) >= 0);
    set(directory, slot, address_generation(address), 0);
    uint32_t tail = (directory->free_head + directory->free_count) % DIRECTORY_SLOTS;
    directory->free_slots[tail] = slot;
    directory->free_count++;
    pthread_mutex_unlock(&directory->lock);
}

void directory_move(struct directory *directory, uint64_t address, unsigned peer)
{
    pthread_mutex_lock(&directory->lock);
    assert(directory_home(directory, address) >= 0);
    set(directory, address_slot(address), address_generation(address), peer + 1);
    pthread_mutex_unlock(&directory->lock);
}
