/* blk_facts.c — what an embedding thread can ask about a backend and its medium. All but the
 * guest's block size is answered from what the backend told last, at once. */
#include <errno.h>
#include <stdlib.h>

#include "actors/context.h"
#include "actors/facts.h"

const char *blk_name(const blk *blk)
{
    return blk->name;
}

bool blk_is_inserted(const blk *blk)
{
    return blk->inserted;
}

bool blk_is_available(const blk *blk)
{
    return blk->available;
}

bool blk_is_read_only(const blk *blk)
{
    return blk->facts.read_only || !blk->writable;
}

bool blk_is_sg(const blk *blk)
{
    return blk->facts.sg;
}

unsigned blk_in_flight(const blk *blk)
{
    return blk->in_flight;
}

/* --- Sizes */

int64_t blk_getlength(const blk *blk)
{
    return blk_is_available(blk) ? blk->facts.length : -ENOMEDIUM;
}

int64_t blk_nb_sectors(const blk *blk)
{
    int64_t length = blk_getlength(blk);
    return length < 0 ? length : length / FACTS_SECTOR;
}

void blk_get_geometry(const blk *blk, uint64_t *nb_sectors)
{
    int64_t sectors = blk_nb_sectors(blk);
    *nb_sectors = sectors < 0 ? 0 : (uint64_t)sectors;
}

int blk_probe_blocksizes(const blk *blk, struct blk_blocksizes *out)
{
    if (!blk_is_available(blk))
        return -ENOMEDIUM;
    if (!facts_have_blocksizes(&blk->facts))
        return -ENOTSUP;
    *out = (struct blk_blocksizes){blk->facts.logical_block, blk->facts.physical_block};
    return 0;
}

int blk_probe_geometry(const blk *blk, struct blk_geometry *out)
{
    if (!blk_is_available(blk))
        return -ENOMEDIUM;
    if (!facts_have_geometry(&blk->facts))
        return -ENOTSUP;
    *out = (struct blk_geometry){blk->facts.cylinders, blk->facts.heads, blk->facts.sectors};
    return 0;
}

/* --- Limits */

uint32_t blk_get_request_alignment(const blk *blk)
{
    return facts_alignment(&blk->facts);
}

uint32_t blk_get_max_transfer(const blk *blk)
{
    return facts_max_transfer(&blk->facts);
}

uint64_t blk_get_optimal_transfer(const blk *blk)
{
    return blk->facts.optimal_transfer;
}

int blk_get_max_iov(const blk *blk)
{
    return (int)facts_max_vector(&blk->facts);
}

/* --- Memory */

void *blk_try_blockalign(const blk *blk, size_t size)
{
    size_t alignment = blk_get_request_alignment(blk);
    void *memory = NULL;
    if (alignment < BUFFER_ALIGN)
        alignment = BUFFER_ALIGN;
    return posix_memalign(&memory, alignment, size ? size : 1) == 0 ? memory : NULL;
}

void *blk_blockalign(const blk *blk, size_t size)
{
    void *memory = blk_try_blockalign(blk, size);
    if (!memory)
        abort();
    return memory;
}

/* --- The guest's block size */

int blk_set_guest_block_size(blk *blk, uint32_t bytes)
{
    Sluice__BackendSet *set = MAIL_NEW(sluice__backend_set);
    mail_set(&set->name, blk->name);
    set->has_guest_block_size = true;
    set->guest_block_size = bytes;
    return context_call(blk->context, blk->backend, MAIL_BACKEND_SET, set, NULL, NULL);
}

int blk_get_guest_block_size(blk *blk)
{
    void *reply = NULL;
    int ret = context_call(blk->context, blk->backend, MAIL_DESCRIBE, NULL, &reply, NULL);
    if (ret == 0)
        ret = (int)((const Sluice__BackendInfo *)reply)->guest_block_size;
    mail_free_body(reply);
    return ret;
}
