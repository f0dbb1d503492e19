/* blk_buffer.c — an embedding thread's registered memory. */
#include <stdlib.h>

#include "actors/context.h"
#include "engine/mem.h"

struct blk_buffer {
    struct blk_buffer *next;
    void *memory;
    size_t bytes;
};

static int tell(blk *blk, const void *memory, size_t bytes, bool on)
{
    Sluice__Buffer *body = MAIL_NEW(sluice__buffer);
    body->address = (uint64_t)(uintptr_t)memory;
    body->bytes = bytes;
    body->on = on;
    return context_call(blk->context, blk->backend, MAIL_BUFFER, body, NULL, NULL);
}

int blk_register_buf(blk *blk, void *host, size_t size)
{
    int ret = tell(blk, host, size, true);
    if (ret < 0)
        return ret;
    struct blk_buffer *buffer = MEM_NEW(struct blk_buffer);
    *buffer = (struct blk_buffer){blk->buffers, host, size};
    blk->buffers = buffer;
    return 0;
}

void blk_unregister_buf(blk *blk, void *host, size_t size)
{
    struct blk_buffer **at = &blk->buffers, *buffer;
    while (*at && ((*at)->memory != host || (*at)->bytes != size))
        at = &(*at)->next;
    if (!(buffer = *at))
        return;
    *at = buffer->next;
    free(buffer);
    tell(blk, host, size, false);
}

void blk_unregister_all(struct blk *blk)
{
    while (blk->buffers)
        blk_unregister_buf(blk, blk->buffers->memory, blk->buffers->bytes);
}
