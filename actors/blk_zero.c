/* blk_zero.c — a whole device is made to read as zeroes, but for what does already. */
#include <errno.h>
#include <limits.h>

#include "actors/context.h"

/* Of one request; a multiple of every alignment. */
#define CHUNK (INT64_C(1) << 30)

_Static_assert((int)BLK_STATUS_DATA == (int)OP_STATUS_DATA &&
                   (int)BLK_STATUS_ZERO == (int)OP_STATUS_ZERO &&
                   (int)BLK_STATUS_ALLOCATED == (int)OP_STATUS_ALLOCATED,
               "sluice.h says what operations mean");

static int zero_run(blk *blk, int64_t offset, int64_t bytes, int flags)
{
    int ret = 0;
    for (int64_t n; ret == 0 && bytes; offset += n, bytes -= n) {
        n = bytes < CHUNK ? bytes : CHUNK;
        ret = blk_pwrite_zeroes(blk, offset, n, flags);
    }
    return ret;
}

int blk_make_zero(blk *blk, int flags)
{
    int64_t length = blk_getlength(blk), run;
    if (length < 0)
        return (int)length;
    if (flags & ~(BLK_FUA | BLK_MAY_UNMAP | BLK_NO_FALLBACK))
        return -EINVAL;
    for (int64_t offset = 0; offset < length; offset += run) {
        int status = blk_block_status(blk, offset, length - offset, &run);
        if (status < 0)
            return status;
        int ret = status & BLK_STATUS_ZERO ? 0 : zero_run(blk, offset, run, flags);
        if (ret < 0)
            return ret;
    }
    return 0;
}
