#include "engine/calls.h"

#include <stdlib.h>

#include "engine/mem.h"

uint64_t calls_add(struct calls *calls, call_fn *fn, void *arg)
{
    uint32_t slot = 0;
    while (slot < calls->count && calls->slots[slot].used)
        slot++;
    if (slot == calls->count) {
        calls->slots = mem_resize(calls->slots, (slot + 1) * sizeof *calls->slots);
        calls->slots[slot] = (struct call){0};
        calls->count++;
    }
    struct call *call = &calls->slots[slot];
    *call = (struct call){call->generation + 1, true, fn, arg};
    return (uint64_t)call->generation << 32 | (slot + 1);
}

bool calls_take(struct calls *calls, uint64_t correlation, call_fn **fn, void **arg)
{
    uint32_t slot = (uint32_t)correlation - 1;
    if (slot >= calls->count)
        return false;
    struct call *call = &calls->slots[slot];
    if (!call->used || call->generation != (uint32_t)(correlation >> 32))
        return false;
    call->used = false;
    *fn = call->fn;
    *arg = call->arg;
    return true;
}

void calls_fini(struct calls *calls)
{
    free(calls->slots);
    *calls = (struct calls){0};
}
