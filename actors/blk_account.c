/* blk_account.c — what an embedding thread counts by itself. */
#include <errno.h>

#include "actors/context.h"

/* As the engine calls it; OP_KINDS for what is no kind. */
static unsigned op_kind(enum blk_acct kind)
{
    static const enum op_kind kinds[] = {
        [BLK_ACCT_READ] = OP_READ,       [BLK_ACCT_WRITE] = OP_WRITE, [BLK_ACCT_ZEROES] = OP_ZEROES,
        [BLK_ACCT_DISCARD] = OP_DISCARD, [BLK_ACCT_FLUSH] = OP_FLUSH, [BLK_ACCT_IOCTL] = OP_IOCTL,
    };
    return (unsigned)kind < sizeof kinds / sizeof *kinds ? kinds[kind] : OP_KINDS;
}

int blk_account_merged(blk *blk, enum blk_acct kind, unsigned n)
{
    unsigned of = op_kind(kind);
    if (of == OP_KINDS)
        return -EINVAL;
    account_tell(&blk->told.merged[of], n);
    return 0;
}

int blk_account_invalid(blk *blk, enum blk_acct kind, unsigned n)
{
    unsigned of = op_kind(kind);
    if (of == OP_KINDS)
        return -EINVAL;
    account_tell_invalid(&blk->told, of, n, engine_now(blk->context->sluice->engine));
    return 0;
}
