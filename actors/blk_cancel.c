/* blk_cancel.c — the early end of an embedding thread's requests. */
#include <errno.h>
#include <stdlib.h>

#include "actors/context.h"
#include "engine/mem.h"
#include "engine/peer.h"

void blk_cancel_waiting(struct blk *blk)
{
    Sluice__Cancel *cancel = MAIL_NEW(sluice__cancel);
    cancel->tags = mem_new(blk->in_flight * sizeof *cancel->tags);
    cancel->n_tags =
        op_tags(port_peer(blk->context->port), blk_request_done, blk, cancel->tags, blk->in_flight);
    port_tell(blk->context->port, blk->backend, MAIL_CANCEL, cancel);
}

static void answered(struct op *op, void *who)
{
    struct blk *blk = who;
    blk->cancels--;
    op_free(op);
}

static void ask(struct blk *blk, const struct op *op)
{
    struct op *cancel = op_new(port_peer(blk->context->port));
    cancel->kind = OP_CANCEL;
    cancel->bytes = 0;
    op_push(cancel, answered, blk);
    blk->cancels++;
    op_send_cancel(cancel, op, blk->backend);
}

int blk_aio_cancel_async(blk *blk, const void *opaque)
{
    struct peer *peer = port_peer(blk->context->port);
    uint64_t *tags = mem_new((blk->in_flight + 1) * sizeof *tags);
    size_t n = op_tags(peer, blk_request_done, blk, tags, blk->in_flight);
    int asked = 0;
    for (size_t i = 0; i < n; i++) {
        struct op *op = op_find(peer, peer->id, tags[i]);
        struct request *request = op_frame(op, blk_request_done, blk);
        if (request->opaque != opaque)
            continue;
        asked++;
        if (!request->cancelled)
            ask(blk, op);
        request->cancelled = true;
    }
    free(tags);
    return asked;
}

/* Whether the callback of one that has ended is still to run. */
static bool has_ended(const struct blk *blk, const void *opaque)
{
    for (struct op *op = blk->context->ended.head; op; op = op->next) {
        const struct request *request = op_popped(op);
        if (request->blk == blk && request->opaque == opaque)
            return true;
    }
    return false;
}

void blk_aio_cancel(blk *blk, const void *opaque)
{
    while (blk_aio_cancel_async(blk, opaque) || has_ended(blk, opaque))
        blk_wait(blk->context, -1);
}
