/* blk_account.c — what an embedding thread counts by itself. */
#include <errno.h>

#include "actors/context.h"

/* Where the requests of a kind are counted; null for what is no kind. */
static _Atomic uint64_t *counter(_Atomic uint64_t *counters, enum blk_acct kind)
{
    static const enum op_kind kinds[] = {
        [BLK_ACCT_READ] = OP_READ,       [BLK_ACCT_WRITE] = OP_WRITE, [BLK_ACCT_ZEROES] = OP_ZEROES,
        [BLK_ACCT_DISCARD] = OP_DISCARD, [BLK_ACCT_FLUSH] = OP_FLUSH, [BLK_ACCT_IOCTL] = OP_IOCTL,
    };
    return (unsigned)kind < sizeof kinds / sizeof *kinds ? &counters[kinds[kind]] : NULL;
}

static int tell(_Atomic uint64_t *counters, enum blk_acct kind, unsigned n)
{
    _Atomic uint64_t *count = counter(counters, kind);
    if (!count)
        return -EINVAL;
    account_tell(count, n);
    return 0;
}

int blk_account_merged(blk *blk, enum blk_acct kind, unsigned n)
{
    return tell(blk->told.merged, kind, n);
}

int blk_account_invalid(blk *blk, enum blk_acct kind, unsigned n)
{
    return tell(blk->told.invalid, kind, n);
}
