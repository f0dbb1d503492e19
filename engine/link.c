#include "engine/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "engine/mem.h"
#include "engine/peer.h"

/* Setting options changes errno where they succeed, so the error is kept at once. */
static int pair_socket(void *context, void **out)
{
    void *socket = *out = zmq_socket(context, ZMQ_PAIR);
    if (!socket)
        return -errno;
    int none = 0;
    zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    return 0;
}

static struct link *link_end(struct peer *self, struct peer *other, void *socket)
{
    struct link *link = mem_aligned(64, sizeof *link);
    link->self = self;
    link->other = other;
    link->socket = socket;
    link->credits = LINK_CREDITS;
    op_queue_init(&link->waiting);
    return link;
}

int link_pair(void *context, struct peer *a, struct peer *b, struct link **ab, struct link **ba)
{
    char endpoint[64];
    /* Used once: ZeroMQ forgets the name of a closed socket some time later. */
    unsigned number = atomic_fetch_add_explicit(&a->mesh->pairs, 1, memory_order_relaxed);
    snprintf(endpoint, sizeof endpoint, "inproc://link-%u", number);
    void *sa, *sb = NULL;
    int ret = pair_socket(context, &sa);
    if (ret == 0)
        ret = pair_socket(context, &sb);
    if (ret == 0 && (zmq_bind(sa, endpoint) != 0 || zmq_connect(sb, endpoint) != 0))
        ret = -errno;
    if (ret < 0) {
        if (sa)
            zmq_close(sa);
        if (sb)
            zmq_close(sb);
        return ret;
    }
    *ab = link_end(a, b, sa);
    *ba = link_end(b, a, sb);
    (*ab)->twin = *ba;
    (*ba)->twin = *ab;
    return 0;
}

void link_free(struct link **self)
{
    struct link *link = *self;
    if (!link)
        return;
    *self = NULL;
    zmq_close(link->socket);
    for (unsigned i = 0; i < link->out.mails; i++)
        protobuf_c_message_free_unpacked(&link->out.mail[i]->base, NULL);
    free(link->out.mail);
    free(link);
}

static void broken(const char *what)
{
    fprintf(stderr, "sluice: an inproc link failed to %s: %s\n", what, zmq_strerror(errno));
    abort();
}

const Sluice__Frame *link_take(struct link *link, struct arena *arena)
{
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    while (zmq_msg_recv(&msg, link->socket, ZMQ_DONTWAIT) < 0)
        if (errno != EINTR)
            broken("take a frame");
    link->taken++;
    Sluice__Frame *frame = sluice__frame__unpack(&arena->allocator, zmq_msg_size(&msg),
                                                 (const uint8_t *)zmq_msg_data(&msg));
    zmq_msg_close(&msg);
    if (!frame)
        broken("unpack a frame");
    return frame;
}

static void mark(struct link *link)
{
    if (!link->is_dirty) {
        link->is_dirty = true;
        link->dirty = link->self->dirty;
        link->self->dirty = link;
    }
}

void link_request(struct link *link, unsigned origin, uint64_t to, uint64_t tag, uint64_t opword,
                  uint64_t offset, uint64_t bytes, uint64_t buffer)
{
    struct outbox *out = &link->out;
    if (out->requests && out->origin != origin)
        link_flush(link);
    unsigned i = out->requests++;
    out->origin = origin;
    out->to[i] = to;
    out->tag[i] = tag;
    out->op[i] = opword;
    out->offset[i] = offset;
    out->bytes[i] = bytes;
    out->buffer[i] = buffer;
    mark(link);
    if (out->requests == LINK_BATCH)
        link_flush(link);
}

void link_completion(struct link *link, uint64_t tag, int64_t result)
{
    struct outbox *out = &link->out;
    unsigned i = out->completions++;
    out->done[i] = tag;
    out->result[i] = result;
    mark(link);
    if (out->completions == LINK_BATCH)
        link_flush(link);
}

void link_mail(struct link *link, Sluice__Envelope *envelope)
{
    struct outbox *out = &link->out;
    if (out->mails == out->mails_room) {
        out->mails_room = out->mails_room ? 2 * out->mails_room : 8;
        out->mail = mem_resize(out->mail, out->mails_room * sizeof *out->mail);
    }
    out->mail[out->mails++] = envelope;
    mark(link);
}

/* The count, then the flag: the sleeper sets its flag, then reads the count (peer_sleep). Both in
 * one total order, so one of the two sees the other. */
static void tell(struct link *link, uint32_t frames)
{
    atomic_fetch_add_explicit(&link->sent, frames, memory_order_seq_cst);
    peer_ring(link->other);
}

void link_flush(struct link *link)
{
    struct outbox *out = &link->out;
    if (!(out->requests | out->completions | out->mails))
        return;
    Sluice__Frame frame = SLUICE__FRAME__INIT;
    frame.n_to = frame.n_tag = frame.n_op = frame.n_offset = frame.n_bytes = frame.n_buffer =
        out->requests;
    frame.to = out->to;
    frame.tag = out->tag;
    frame.op = out->op;
    frame.offset = out->offset;
    frame.bytes = out->bytes;
    frame.buffer = out->buffer;
    frame.n_done = frame.n_result = out->completions;
    frame.done = out->done;
    frame.result = out->result;
    frame.has_origin = out->requests && out->origin != link->self->id;
    frame.origin = out->origin;
    frame.n_mail = out->mails;
    frame.mail = out->mail;
    frame.has_more = frame.more = link->burst;

    size_t size = sluice__frame__get_packed_size(&frame);
    zmq_msg_t msg;
    if (zmq_msg_init_size(&msg, size) != 0)
        broken("make a frame");
    sluice__frame__pack(&frame, zmq_msg_data(&msg));
    while (zmq_msg_send(&msg, link->socket, ZMQ_DONTWAIT) < 0)
        if (errno != EINTR)
            broken("send a frame");

    for (unsigned i = 0; i < out->mails; i++)
        protobuf_c_message_free_unpacked(&out->mail[i]->base, NULL);
    out->requests = out->completions = out->mails = 0;

    if (link->burst)
        link->unsent++;
    else
        tell(link, 1);
}

void link_plug(struct link *link)
{
    link->plugged = true;
}

void link_unplug(struct link *link)
{
    if (!link->plugged)
        return;
    link->plugged = false;
    link->burst = true;
    op_send_waiting(link);
    link_flush(link);
    link->burst = false;
    if (link->unsent)
        tell(link, link->unsent);
    link->unsent = 0;
}
