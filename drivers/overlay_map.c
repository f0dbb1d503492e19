#include "drivers/overlay_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BITS 64

int overlay_map_reserve(struct overlay_map *map, uint64_t blocks)
{
    if (blocks <= map->capacity)
        return 0;
    assert(blocks <= OVERLAY_BLOCKS);
    uint64_t n = map->capacity / BITS * 2;
    if (n < (blocks + BITS - 1) / BITS)
        n = (blocks + BITS - 1) / BITS;
    uint64_t *words = calloc(n, sizeof *words);
    if (!words)
        return -ENOMEM;
    if (map->capacity)
        memcpy(words, map->words, map->capacity / 8);
    free(map->words);
    map->words = words;
    map->capacity = n * BITS;
    return 0;
}

bool overlay_map_has(const struct overlay_map *map, uint64_t block)
{
    return block < map->capacity && map->words[block / BITS] >> (block % BITS) & 1;
}

uint64_t overlay_map_run(const struct overlay_map *map, uint64_t first, uint64_t last)
{
    bool has = overlay_map_has(map, first);
    uint64_t block = first;
    while (block <= last && block < map->capacity) {
        uint64_t word = map->words[block / BITS];
        uint64_t others = (has ? ~word : word) >> (block % BITS);
        if (others) {
            block += (uint64_t)__builtin_ctzll(others);
            break;
        }
        block += BITS - block % BITS;
    }
    if (block >= map->capacity && !has)
        block = last + 1; /* there are none of its own beyond */
    return (block > last ? last + 1 : block) - first;
}

void overlay_map_add(struct overlay_map *map, uint64_t first, uint64_t last)
{
    for (uint64_t block = first; block <= last; block++) {
        uint64_t bit = UINT64_C(1) << (block % BITS), *word = &map->words[block / BITS];
        map->set += !(*word & bit);
        *word |= bit;
    }
}

void overlay_map_drop(struct overlay_map *map, uint64_t first, uint64_t last)
{
    for (uint64_t block = first; block <= last && block < map->capacity; block++) {
        uint64_t bit = UINT64_C(1) << (block % BITS), *word = &map->words[block / BITS];
        map->set -= *word >> (block % BITS) & 1;
        *word &= ~bit;
    }
}

void overlay_map_cut(struct overlay_map *map, uint64_t first)
{
    for (uint64_t block = first; block < map->capacity && map->set;) {
        uint64_t *word = &map->words[block / BITS];
        uint64_t kept = *word & ((UINT64_C(1) << (block % BITS)) - 1);
        map->set -= (uint64_t)__builtin_popcountll(*word ^ kept);
        *word = kept;
        block += BITS - block % BITS;
    }
}

void overlay_map_free(struct overlay_map *map)
{
    free(map->words);
    *map = (struct overlay_map){0};
}
