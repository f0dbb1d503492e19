#include "engine/buffer.h"

#include <assert.h>
#include <stdlib.h>

#ifdef SLUICE_JEMALLOC
#include <jemalloc/jemalloc.h>

void buffers_init(struct buffers *buffers)
{
    *buffers = (struct buffers){0};
    size_t size = sizeof buffers->arena;
    /* Without an arena of its own a reactor shares the default one, which works as well, only less
     * apart. */
    if (mallctl("arenas.create", &buffers->arena, &size, NULL, 0) != 0)
        buffers->arena = 0;
    size = sizeof buffers->tcache;
    if (mallctl("tcache.create", &buffers->tcache, &size, NULL, 0) != 0)
        buffers->tcache = UINT32_MAX;
}

static int flags(const struct buffers *buffers)
{
    return MALLOCX_ALIGN(BUFFER_ALIGN) | MALLOCX_ARENA(buffers->arena) |
           (buffers->tcache == UINT32_MAX ? MALLOCX_TCACHE_NONE : MALLOCX_TCACHE(buffers->tcache));
}

void buffers_fini(struct buffers *buffers)
{
    assert(buffers->held == 0);
    if (buffers->tcache != UINT32_MAX)
        mallctl("tcache.destroy", NULL, NULL, &buffers->tcache, sizeof buffers->tcache);
    if (buffers->arena) {
        size_t mib[3], length = 3;
        if (mallctlnametomib("arena.0.destroy", mib, &length) == 0) {
            mib[1] = buffers->arena;
            mallctlbymib(mib, length, NULL, NULL, NULL, 0);
        }
    }
}

/* jemalloc's numbers are as of the last `epoch`. The default arena is everyone's, so what it tells
 * is not this reactor's. */
static size_t resident(const struct buffers *buffers)
{
    uint64_t epoch = 1;
    size_t mib[4], length = 4, bytes = 0, size = sizeof epoch;
    if (!buffers->arena || mallctl("epoch", &epoch, &size, &epoch, sizeof epoch) != 0 ||
        mallctlnametomib("stats.arenas.0.resident", mib, &length) != 0)
        return buffers->held;
    mib[2] = buffers->arena;
    size = sizeof bytes;
    return mallctlbymib(mib, length, &bytes, &size, NULL, 0) == 0 ? bytes : buffers->held;
}

static void *take(struct buffers *buffers, size_t bytes)
{
    return mallocx(bytes, flags(buffers));
}

static void give(struct buffers *buffers, void *buffer, size_t bytes)
{
    sdallocx(buffer, bytes, flags(buffers));
}

#else

void buffers_init(struct buffers *buffers)
{
    *buffers = (struct buffers){0};
}

void buffers_fini(struct buffers *buffers)
{
    assert(buffers->held == 0);
    (void)buffers;
}

static size_t resident(const struct buffers *buffers)
{
    return buffers->held;
}

static void *take(struct buffers *buffers, size_t bytes)
{
    (void)buffers;
    void *buffer;
    return posix_memalign(&buffer, BUFFER_ALIGN, bytes) == 0 ? buffer : NULL;
}

static void give(struct buffers *buffers, void *buffer, size_t bytes)
{
    (void)buffers;
    (void)bytes;
    free(buffer);
}

#endif

void buffers_stats(const struct buffers *buffers, struct buffers_stats *stats)
{
    *stats = (struct buffers_stats){buffers->held, resident(buffers)};
}

void *buffer_alloc(struct buffers *buffers, size_t bytes)
{
    if (bytes == 0)
        bytes = 1;
    void *buffer = take(buffers, bytes);
    if (buffer)
        buffers->held += bytes;
    return buffer;
}

void buffer_free(struct buffers *buffers, void *buffer, size_t bytes)
{
    if (!buffer)
        return;
    if (bytes == 0)
        bytes = 1;
    assert(buffers->held >= bytes);
    buffers->held -= bytes;
    give(buffers, buffer, bytes);
}
