#include "engine/arena.h"

#include <stdlib.h>

#include "engine/mem.h"

struct arena_extra {
    struct arena_extra *next;
    _Alignas(16) unsigned char memory[];
};

static void *arena_alloc(void *data, size_t bytes)
{
    struct arena *arena = data;
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes <= arena->size - arena->used) {
        void *memory = arena->memory + arena->used;
        arena->used += bytes;
        return memory;
    }
    struct arena_extra *extra = malloc(sizeof *extra + bytes);
    if (!extra)
        return NULL;
    extra->next = arena->extra;
    arena->extra = extra;
    arena->extra_bytes += bytes;
    return extra->memory;
}

static void arena_free(void *data, void *memory)
{
    (void)data;
    (void)memory;
}

void arena_init(struct arena *arena, size_t bytes)
{
    *arena = (struct arena){
        .allocator = {arena_alloc, arena_free, arena},
        .memory = mem_aligned(64, bytes),
        .size = bytes,
    };
}

void arena_reset(struct arena *arena)
{
    arena->used = 0;
    if (!arena->extra)
        return;
    while (arena->extra) {
        struct arena_extra *extra = arena->extra;
        arena->extra = extra->next;
        free(extra);
    }
    size_t size = arena->size + arena->extra_bytes;
    arena->extra_bytes = 0;
    if (size > (size_t)1 << 20) /* one huge message is no reason to keep its size for ever */
        return;
    free(arena->memory);
    arena->memory = mem_aligned(64, size);
    arena->size = (size + 63) & ~(size_t)63;
}

void arena_fini(struct arena *arena)
{
    arena_reset(arena);
    free(arena->memory);
    *arena = (struct arena){0};
}
