#include "drivers/sequence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mem.h"

void sequence_run(struct sequence *sequence)
{
    if (sequence->inside) {
        sequence->ended = true;
        return;
    }
    sequence->inside = true;
    do {
        sequence->ended = false;
        int ret = sequence->cancelled ? -ECANCELED : sequence->next(sequence);
        if (ret == SEQUENCE_GONE)
            return;
        if (ret != SEQUENCE_WAITS) {
            op_complete(sequence->op, ret < 0 ? ret : 0);
            return;
        }
    } while (sequence->ended);
    sequence->inside = false;
}

static void piece_done(struct op *piece, void *who)
{
    struct sequence *sequence = who;
    sequence->below = false;
    sequence->result = piece->ret;
    if (piece->iov != &piece->one)
        free(piece->iov);
    op_free(piece);
    sequence_run(sequence);
}

static void send_below(struct sequence *sequence, const struct driver_node *node,
                       enum driver_edge edge, struct op *op)
{
    sequence->below = true;
    sequence->piece = op;
    sequence->edge = (uint8_t)edge;
    driver_send(node, edge, op);
}

void sequence_send(struct sequence *sequence, struct driver_node *node, enum driver_edge edge,
                   struct op *piece)
{
    op_inherit(piece, sequence->op);
    op_push(piece, piece_done, sequence);
    send_below(sequence, node, edge, piece);
}

void sequence_pass(struct sequence *sequence, struct driver_node *node, enum driver_edge edge)
{
    send_below(sequence, node, edge, sequence->op);
}

/* One entry of the vector from `*from` on, `*bytes` of it at most; both become what is left. */
static struct iovec take(const struct iovec *entry, uint64_t *from, uint64_t *bytes)
{
    uint64_t skip = *from < entry->iov_len ? *from : entry->iov_len;
    uint64_t n = entry->iov_len - skip < *bytes ? entry->iov_len - skip : *bytes;
    *from -= skip;
    *bytes -= n;
    return (struct iovec){(char *)entry->iov_base + skip, n};
}

void sequence_slice(const struct sequence *sequence, struct op *piece, uint64_t from,
                    uint64_t bytes)
{
    const struct iovec *entry = sequence->op->iov;
    for (; from >= entry->iov_len; entry++)
        from -= entry->iov_len;
    if (bytes <= entry->iov_len - from) {
        driver_op_data(piece, (char *)entry->iov_base + from, bytes);
        return;
    }
    size_t most = (size_t)(sequence->op->iov + sequence->op->niov - entry);
    piece->iov = mem_new(most * sizeof *piece->iov);
    for (piece->niov = 0; bytes; entry++)
        piece->iov[piece->niov++] = take(entry, &from, &bytes);
}

void sequence_gather(const struct sequence *sequence, void *out, uint64_t from, uint64_t bytes)
{
    for (const struct iovec *entry = sequence->op->iov; bytes; entry++) {
        struct iovec part = take(entry, &from, &bytes);
        memcpy(out, part.iov_base, part.iov_len);
        out = (char *)out + part.iov_len;
    }
}

void sequence_clear(const struct sequence *sequence, uint64_t from, uint64_t bytes)
{
    for (const struct iovec *entry = sequence->op->iov; bytes; entry++) {
        struct iovec part = take(entry, &from, &bytes);
        memset(part.iov_base, 0, part.iov_len);
    }
}
