#include "engine/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *check(void *memory, size_t bytes)
{
    if (!memory) {
        fprintf(stderr, "sluice: out of memory (%zu bytes were asked for)\n", bytes);
        abort();
    }
    return memory;
}

void *mem_new(size_t bytes)
{
    return check(calloc(1, bytes ? bytes : 1), bytes);
}

void *mem_resize(void *memory, size_t bytes)
{
    return check(realloc(memory, bytes ? bytes : 1), bytes);
}

void *mem_aligned(size_t alignment, size_t bytes)
{
    bytes = (bytes + alignment - 1) / alignment * alignment;
    return memset(check(aligned_alloc(alignment, bytes), bytes), 0, bytes);
}

char *mem_string(const char *text)
{
    return check(strdup(text), strlen(text) + 1);
}
