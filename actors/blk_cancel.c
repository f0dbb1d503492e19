/* blk_cancel.c — the early end of an embedding thread's requests. */
#include <errno.h>
#include <stdlib.h>

#include "actors/context.h"
#include "engine/mem.h"
#include "engine/peer.h"

/* The tags of those that were given this, or of all, in memory that is the caller's. */
static uint64_t *tags_of(struct blk *blk, bool all, const void *opaque, size_t *n)
{
    struct peer *peer = port_peer(blk->context->port);
    uint64_t *tags = mem_new((blk->in_flight + 1) * sizeof *tags);
    size_t found = op_tags(peer, blk_request_done, blk, tags, blk->in_flight);
    *n = 0;
    for (size_t i = 0; i < found; i++) {
        const struct request *request =
            op_frame(op_find(peer, peer->id, tags[i]), blk_request_done, blk);
        if (all || request->opaque == opaque)
            tags[(*n)++] = tags[i];
    }
    return tags;
}

static void tell(struct blk *blk, bool all, const void *opaque)
{
    Sluice__Cancel *cancel = MAIL_NEW(sluice__cancel);
    cancel->tags = tags_of(blk, all, opaque, &cancel->n_tags);
    port_tell(blk->context->port, blk->backend, MAIL_CANCEL, cancel);
}

void blk_cancel_waiting(struct blk *blk)
{
    tell(blk, true, NULL);
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
    size_t n;
    uint64_t *tags = tags_of(blk, false, opaque, &n);
    for (size_t i = 0; i < n; i++) {
        struct op *op = op_find(peer, peer->id, tags[i]);
        struct request *request = op_frame(op, blk_request_done, blk);
        if (!request->cancelled)
            ask(blk, op);
        request->cancelled = true;
    }
    free(tags);
    return (int)n;
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

/* On their way behind requests that wait in a paused backend, cancels wait with them for credits of
 * the link. Mail does not. */
void blk_aio_cancel(blk *blk, const void *opaque)
{
    while (blk_aio_cancel_async(blk, opaque) || has_ended(blk, opaque))
        if (!blk_wait(blk->context, BLK_CANCEL_AGAIN_MS))
            tell(blk, false, opaque);
}
