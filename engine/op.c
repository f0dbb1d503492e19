#include "engine/op.h"

#include <errno.h>
#include <string.h>

#include "engine/mem.h"
#include "engine/peer.h"
#include "engine/row.h"

#define OP_CHUNK 64

/* In a debug build whoever relies on what an operation said in its last life finds noise. */
static void forget(struct op *op)
{
#ifndef NDEBUG
    memset(&op->one, 0xa5, sizeof op->one);
    memset(op->frames, 0xa5, sizeof op->frames);
    op->kind = 0xa5;
    op->offset = op->ret = INT64_MIN;
    op->bytes = UINT64_MAX;
#else
    (void)op;
#endif
}

struct op *op_new(struct peer *peer)
{
    struct op *op = peer->free_ops;
    if (!op) {
        peer->chunks = mem_resize(peer->chunks, (peer->nchunks + 1) * sizeof *peer->chunks);
        struct op *chunk = mem_aligned(64, OP_CHUNK * sizeof *chunk);
        peer->chunks[peer->nchunks] = chunk;
        for (unsigned i = OP_CHUNK; i-- > 0;) {
            chunk[i].slot = peer->nchunks * OP_CHUNK + i;
            chunk[i].peer = peer;
            chunk[i].next = peer->free_ops;
            peer->free_ops = &chunk[i];
        }
        peer->nchunks++;
        op = peer->free_ops;
    }
    peer->free_ops = op->next;
    peer->ops_used++;
    forget(op);
    op->depth = 0;
    op->holder = 0;
    op->user = 0;
    op->flags = 0;
    op->niov = 0;
    op->iov = &op->one;
    op->remote = false;
    op->further = NULL;
    return op;
}

void op_free(struct op *op)
{
    struct peer *peer = op->peer;
    op->generation++; /* its tag names nobody from now on */
    op->depth = 0;
    op->next = peer->free_ops;
    peer->free_ops = op;
    peer->ops_used--;
}

size_t op_tags(struct peer *peer, op_done_fn *done, const void *who, uint64_t *tags, size_t most)
{
    size_t n = 0;
    for (unsigned i = 0; i < peer->nchunks * OP_CHUNK && n < most; i++) {
        const struct op *op = &peer->chunks[i / OP_CHUNK][i % OP_CHUNK];
        if (op->depth && op->frames[0].done == done && op->frames[0].who == who)
            tags[n++] = op_tag(op);
    }
    return n;
}

struct op *op_find(struct peer *peer, unsigned whose, uint64_t tag)
{
    unsigned first = 0, end = peer->nchunks * OP_CHUNK;
    if (whose == peer->id && (uint32_t)tag < end) {
        first = (uint32_t)tag;
        end = first + 1;
    }
    for (unsigned i = first; i < end; i++) {
        struct op *op = &peer->chunks[i / OP_CHUNK][i % OP_CHUNK];
        if (op->depth && op_is(op, whose, tag))
            return op;
    }
    return NULL;
}

struct op *peer_find_op(struct peer *peer, uint64_t tag)
{
    uint32_t slot = (uint32_t)tag;
    if (slot / OP_CHUNK >= peer->nchunks)
        return NULL;
    struct op *op = &peer->chunks[slot / OP_CHUNK][slot % OP_CHUNK];
    return op->generation == (uint32_t)(tag >> 32) && op->remote ? op : NULL;
}

static uint32_t next_sequence(struct peer *peer, uint64_t to)
{
    struct route *route = &peer->routes[address_slot(to)];
    if (route->generation != address_generation(to))
        *route = (struct route){.generation = address_generation(to)};
    return route->ops++;
}

static void request(struct link *link, struct op *op, uint64_t tag)
{
    uint64_t buffer =
        op->niov == 1 ? (uint64_t)(uintptr_t)op->iov->iov_base : (uint64_t)(uintptr_t)op->iov;
    link_request(link, op->origin, row_to(op), tag, row_word(op), (uint64_t)op->offset, op->bytes,
                 buffer);
}

/* Over the link, when there is a credit for it. */
static void journey(struct op *op, struct link *link)
{
    op->remote = true;
    op->link = link;
    if (link->credits == 0 || link->plugged) {
        op_enqueue(&link->waiting, op);
        return;
    }
    link->credits--;
    request(link, op, op_tag(op));
}

void op_send_waiting(struct link *link)
{
    struct op *op;
    while (link->credits && (op = op_dequeue(&link->waiting))) {
        link->credits--;
        request(link, op, op_tag(op));
    }
}

static void further_done(struct op *op, void *who)
{
    int64_t ret = op->ret;
    ((struct op *)who)->further = NULL;
    op_free(op);
    op_complete(who, ret);
}

struct op *op_further(struct op *op)
{
    struct op *next = op_new(op->peer);
    next->kind = op->kind;
    next->holder = op->holder;
    next->user = op->user;
    next->flags = op->flags;
    next->offset = op->offset;
    next->bytes = op->bytes;
    next->niov = op->niov;
    next->one = op->one;
    next->iov = op->iov == &op->one ? &next->one : op->iov;
    next->origin = op->origin;
    op->further = next;
    op_push(next, further_done, op);
    return next;
}

struct op *op_with(struct op *op, op_done_fn *done, const void *who)
{
    while (op && !op_frame(op, done, who))
        op = op->further;
    return op;
}

void op_send(struct op *op, uint64_t to)
{
    struct peer *peer = op->peer;
    int home = directory_home(&peer->mesh->directory, to);
    if (home < 0) {
        op_complete(op, -ENXIO);
        return;
    }
    if (op->depth > OP_FRAMES - 3)
        op = op_further(op);
    op->to = to;
    op->origin = (uint16_t)peer->id;
    op->sequence = next_sequence(peer, to);
    if ((unsigned)home == peer->id) {
        peer->local->op(peer, op);
        return;
    }
    journey(op, peer->links[home]);
}

void op_send_cancel(struct op *cancel, const struct op *op, uint64_t to)
{
    /* Who has passed it on already is on this thread, and finds what it goes on in. */
    uint64_t tag = op_tag(op);
    for (const struct op *sent = op; sent; sent = sent->further)
        if (sent->to == to) {
            tag = op_tag(sent);
            break;
        }
    cancel->offset = (int64_t)tag;
    op_send(cancel, to);
}

bool op_unqueue(struct op_queue *queue, struct op *op)
{
    struct op **at = &queue->head;
    while (*at && *at != op)
        at = &(*at)->next;
    if (!*at)
        return false;
    *at = op->next;
    if (!op->next)
        queue->tail = at;
    queue->count--;
    return true;
}

void peer_pass_op(struct peer *peer, struct op *op, unsigned home)
{
    struct link *link = peer->links[home];
    if (op->origin == peer->id) {
        journey(op, link);
        return;
    }
    /* Its sender keeps the credit and gets the reply from there. */
    struct remote *remote = op_top(op);
    request(link, op, remote->tag);
    op_free(op);
}

void peer_credit(struct op *op)
{
    struct link *link = op->link;
    op->remote = false;
    op->generation++; /* a second reply is recognised, also when the operation is sent again */
    link->credits++;
    if (!link->plugged && link->waiting.head)
        op_send_waiting(link);
}

void peer_completion(struct peer *peer, uint64_t tag, int64_t result)
{
    struct op *op = peer_find_op(peer, tag);
    if (!op)
        return;
    peer_credit(op);
    op_complete(op, result);
}
