/* overlay_map.h — which blocks of an overlay are its own: a bit for each, in memory. */
#ifndef SLUICE_OVERLAY_MAP_H
#define SLUICE_OVERLAY_MAP_H

#include <stdbool.h>
#include <stdint.h>

#define OVERLAY_BLOCKS (UINT64_C(1) << 31) /* the most that are kept: 256 MiB of bits */

/* Begins as zeroes. */
struct overlay_map {
    uint64_t *words;
    uint64_t capacity; /* blocks that there is room for */
    uint64_t set;      /* blocks that are its own */
};

/* Makes room for blocks below `blocks`, OVERLAY_BLOCKS at most; 0 or -ENOMEM. */
int overlay_map_reserve(struct overlay_map *map, uint64_t blocks);

bool overlay_map_has(const struct overlay_map *map, uint64_t block);

/* Of the blocks `first` to `last`, how many from `first` on are as that one is. */
uint64_t overlay_map_run(const struct overlay_map *map, uint64_t first, uint64_t last);

/* Makes them its own; there is room for them. */
void overlay_map_add(struct overlay_map *map, uint64_t first, uint64_t last);

/* They are not any more. */
void overlay_map_drop(struct overlay_map *map, uint64_t first, uint64_t last);

/* Those from `first` on are not. */
void overlay_map_cut(struct overlay_map *map, uint64_t first);

void overlay_map_free(struct overlay_map *map);

#endif
