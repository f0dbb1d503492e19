/* buffer.h — memory for data, from an arena per reactor.
 *
 * Buffers are aligned to 4096 bytes (what O_DIRECT may ask for) and come from a jemalloc arena of
 * the reactor, so threads do not share them and statistics tell what each holds. Allocation runs on
 * the reactor's thread; a free may too only there. A build without jemalloc (sanitizers bring their
 * own allocator) uses the C library. */
#ifndef SLUICE_BUFFER_H
#define SLUICE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#define BUFFER_ALIGN 4096

struct buffers {
    unsigned arena, tcache; /* jemalloc's numbers */
    size_t held;            /* bytes handed out now */
};

void buffers_init(struct buffers *buffers);
void buffers_fini(struct buffers *buffers);

/* Null when there is no memory. The content is undefined. */
void *buffer_alloc(struct buffers *buffers, size_t bytes);

struct buffers_stats {
    size_t held; /* bytes handed out now */
    size_t
        resident; /* of memory in use for them, by jemalloc's count; as `held` without jemalloc */
};
void buffers_stats(const struct buffers *buffers, struct buffers_stats *stats);

/* `bytes` is what was asked for. Null is fine. */
void buffer_free(struct buffers *buffers, void *buffer, size_t bytes);

#endif
