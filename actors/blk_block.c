/* blk_block.c — op blockers, and what they are asked for, as an embedding program has them. */
#include <errno.h>

#include "actors/context.h"

_Static_assert((int)BLK_OP_RESIZE == (int)SLUICE__OP_BLOCK__OPERATION__RESIZE &&
                   (int)BLK_OP_MOVE == (int)SLUICE__OP_BLOCK__OPERATION__MOVE &&
                   (int)BLK_OP_DRIVE_DEL == (int)SLUICE__OP_BLOCK__OPERATION__DRIVE_DEL,
               "sluice.h says what the graph means");

#define ALL ((2U << BLK_OP_DRIVE_DEL) - 1)

static int call(blk *blk, Sluice__Blockers__What what, unsigned ops, const char *reason,
                struct err *err)
{
    Sluice__Blockers *mail = MAIL_NEW(sluice__blockers);
    mail->what = what;
    mail->object = blk->backend;
    mail->operations = ops;
    if (reason)
        mail_set(&mail->reason, reason);
    return context_call(blk->context, blk->context->sluice->world.graph, MAIL_BLOCKERS, mail, NULL,
                        err);
}

/* The kind's bit; 0 for what is no kind. */
static unsigned bit(int op)
{
    return op >= 0 && op <= BLK_OP_DRIVE_DEL ? 1U << op : 0;
}

bool blk_op_is_blocked(blk *blk, enum blk_op op, char **error)
{
    struct err err = {0};
    if (call(blk, SLUICE__BLOCKERS__WHAT__ASK, bit((int)op), NULL, &err) == -EBUSY) {
        context_error(error, err.code, err.text);
        return true;
    }
    context_error(error, 0, NULL);
    return false;
}

static int change(blk *blk, Sluice__Blockers__What what, unsigned ops, const char *reason)
{
    return ops && reason ? call(blk, what, ops, reason, NULL) : -EINVAL;
}

int blk_op_block(blk *blk, enum blk_op op, const char *reason)
{
    return change(blk, SLUICE__BLOCKERS__WHAT__BLOCK, bit((int)op), reason);
}

int blk_op_unblock(blk *blk, enum blk_op op, const char *reason)
{
    return change(blk, SLUICE__BLOCKERS__WHAT__UNBLOCK, bit((int)op), reason);
}

int blk_op_block_all(blk *blk, int except, const char *reason)
{
    return change(blk, SLUICE__BLOCKERS__WHAT__BLOCK, ALL & ~bit(except), reason);
}

int blk_op_unblock_all(blk *blk, int except, const char *reason)
{
    return change(blk, SLUICE__BLOCKERS__WHAT__UNBLOCK, ALL & ~bit(except), reason);
}

int blk_commit_all(blk_context *context, char **error)
{
    return sluice_request(context, "commit-all", NULL, error);
}
