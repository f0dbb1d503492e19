/* arena.h — memory that is given out in a row and taken back all at once.
 *
 * A protobuf-c allocator for unpacking frames: an allocation moves a pointer, a free does nothing,
 * and arena_reset() after the frame is handled takes everything back. It grows to the largest frame
 * seen. */
#ifndef SLUICE_ARENA_H
#define SLUICE_ARENA_H

#include <stddef.h>
#include <protobuf-c/protobuf-c.h>

struct arena {
    ProtobufCAllocator allocator; /* pass this to protobuf-c */
    unsigned char *memory;
    size_t used, size;
    struct arena_extra *extra; /* what did not fit, until the reset */
    size_t extra_bytes;
};

void arena_init(struct arena *arena, size_t bytes);
void arena_fini(struct arena *arena);
void arena_reset(struct arena *arena);

#endif
