#include "engine/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/mem.h"
#include "engine/row.h"

int peer_init(struct peer *peer, struct mesh *mesh, unsigned id, const struct peer_local *local)
{
    peer->mesh = mesh;
    peer->id = id;
    peer->local = local;
    peer->routes = mem_new(DIRECTORY_SLOTS * sizeof *peer->routes);
    peer->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    arena_init(&peer->arena, 16384);
    if (peer->doorbell < 0)
        return -errno;
    return 0;
}

void peer_fini(struct peer *peer)
{
    for (unsigned i = 0; i < peer->nlinked; i++)
        link_free(&peer->linked[i]);
    for (unsigned i = 0; i < peer->nchunks; i++)
        free(peer->chunks[i]);
    free(peer->chunks);
    free(peer->routes);
    arena_fini(&peer->arena);
    if (peer->doorbell >= 0)
        close(peer->doorbell);
}

void peer_add_link(struct peer *peer, struct link *link)
{
    peer->links[link->other->id] = link;
    peer->linked[peer->nlinked++] = link;
}

void mail_free(struct mail *mail)
{
    mail_free_body(mail->body);
    free(mail);
}

/* --- Sending
 * ---------------------------------------------------------------------------------------- */

static void post(struct link *link, struct mail *mail)
{
    Sluice__Envelope *envelope = mail_new(&sluice__envelope__descriptor);
    envelope->to = mail->to;
    envelope->from = mail->from;
    envelope->correlation = mail->correlation;
    envelope->kind = mail->kind;
    envelope->has_reply = true;
    envelope->reply = mail->reply;
    envelope->sequence = mail->sequence;
    envelope->has_origin = true;
    envelope->origin = mail->origin;
    if (mail->body) {
        size_t size = protobuf_c_message_get_packed_size(mail->body);
        envelope->has_body = true;
        envelope->body.len = size;
        envelope->body.data = mem_new(size);
        protobuf_c_message_pack(mail->body, envelope->body.data);
    }
    mail_free(mail);
    link_mail(link, envelope);
}

void peer_bounce(struct peer *peer, struct mail *mail, int code, const char *text)
{
    if (mail->correlation && !mail->reply) {
        struct mail *reply = MEM_NEW(struct mail);
        Sluice__Fault *fault = MAIL_NEW(sluice__fault);
        fault->code = code;
        mail_set(&fault->text, text);
        reply->to = mail->from;
        reply->from = mail->to;
        reply->correlation = mail->correlation;
        reply->reply = true;
        reply->kind = MAIL_FAULT;
        reply->body = &fault->base;
        mail_free(mail);
        peer_send_mail(peer, reply);
        return;
    }
    mail_free(mail);
}

static const char gone[] =
    "the object that was asked is gone; look at what there is now and ask again";

bool peer_pass_mail(struct peer *peer, struct mail *mail)
{
    int home = directory_home(&peer->mesh->directory, mail->to);
    if (home == (int)peer->id)
        return false;
    if (home < 0)
        peer_bounce(peer, mail, -ENXIO, gone);
    else
        post(peer->links[home], mail);
    return true;
}

void peer_send_mail(struct peer *peer, struct mail *mail)
{
#ifndef NDEBUG
    assert(!mail->body || protobuf_c_message_check(mail->body));
#endif
    struct route *route = &peer->routes[address_slot(mail->to) % DIRECTORY_SLOTS];
    if (directory_home(&peer->mesh->directory, mail->to) >= 0) {
        if (route->generation != address_generation(mail->to))
            *route = (struct route){.generation = address_generation(mail->to)};
        mail->sequence = route->mail++;
    }
    mail->origin = (uint16_t)peer->id;
    if (!peer_pass_mail(peer, mail))
        peer->local->mail(peer, mail);
}

/* --- Taking
 * ----------------------------------------------------------------------------------------- */

static void remote_done(struct op *op, void *who)
{
    (void)who;
    struct remote *remote = op_popped(op);
    link_completion(remote->back, remote->tag, op->ret);
    op_free(op);
}

bool op_is(const struct op *op, unsigned peer, uint64_t tag)
{
    if (op->peer->id == peer)
        return op_tag(op) == tag;
    if (!op->depth || op->frames[0].done != remote_done)
        return false;
    const struct remote *remote = (const void *)op->frames[0].space;
    return remote->back->other->id == peer && remote->tag == tag;
}

uint64_t op_key(const struct op *op)
{
    if (op->depth && op->frames[0].done == remote_done) {
        const struct remote *remote = (const void *)op->frames[0].space;
        return (uint64_t)remote->back->other->id << 32 | (uint32_t)remote->tag;
    }
    return (uint64_t)op->peer->id << 32 | op->slot;
}

/* The actor has moved to the thread that asked: the operation goes on there as its own. */
static void come_home(struct peer *peer, uint64_t tag)
{
    struct op *op = peer_find_op(peer, tag);
    if (op) {
        peer_credit(op);
        peer->local->op(peer, op);
    }
}

static void reply_gone(struct peer *peer, struct link *back, uint64_t tag)
{
    if (back)
        link_completion(back, tag, -ENXIO);
    else
        peer_completion(peer, tag, -ENXIO);
}

static void take_requests(struct peer *peer, struct link *link, const Sluice__Frame *frame)
{
    unsigned origin = frame->has_origin ? frame->origin : link->other->id;
    struct link *back = peer->links[origin];
    peer->requests += frame->n_to;
    for (size_t i = 0; i < frame->n_to; i++) {
        uint64_t word = frame->op[i], to = row_address(frame->to[i]);
        int home = directory_home(&peer->mesh->directory, to);
        if (home != (int)peer->id) {
            if (home < 0)
                reply_gone(peer, back, frame->tag[i]);
            else
                link_request(peer->links[home], origin, frame->to[i], frame->tag[i], word,
                             frame->offset[i], frame->bytes[i], frame->buffer[i]);
            continue;
        }
        if (!back) {
            come_home(peer, frame->tag[i]);
            continue;
        }
        struct op *op = op_new(peer);
        op->to = to;
        op->user = row_user(frame->to[i]);
        op->origin = (uint16_t)origin;
        row_take(op, word);
        op->offset = (int64_t)frame->offset[i];
        op->bytes = frame->bytes[i];
        if (op->niov == 1) {
            op->one.iov_base = (void *)(uintptr_t)frame->buffer[i];
            op->one.iov_len = op->bytes;
        } else {
            op->iov = (struct iovec *)(uintptr_t)frame->buffer[i];
        }
        struct remote *remote = op_push(op, remote_done, NULL);
        remote->tag = frame->tag[i];
        remote->back = back;
        peer->local->op(peer, op);
    }
}

static void take_mail(struct peer *peer, const Sluice__Envelope *envelope)
{
    struct mail *mail = MEM_NEW(struct mail);
    mail->to = envelope->to;
    mail->from = envelope->from;
    mail->correlation = envelope->correlation;
    mail->kind = (uint16_t)envelope->kind;
    mail->reply = envelope->reply;
    mail->sequence = envelope->sequence;
    mail->origin = (uint16_t)envelope->origin;
    const ProtobufCMessageDescriptor *type =
        envelope->kind < peer->mesh->nbodies ? peer->mesh->bodies[envelope->kind] : NULL;
    if (envelope->kind == MAIL_FAULT)
        type = &sluice__fault__descriptor;
    if (type && envelope->has_body)
        mail->body = protobuf_c_message_unpack(type, NULL, envelope->body.len, envelope->body.data);
    if (!peer_pass_mail(peer, mail))
        peer->local->mail(peer, mail);
}

/* Stops when a batch of requests has come, so that its completions leave before the next batch is
 * begun: sender and receiver work at the same time, on a half each. */
static unsigned take(struct peer *peer, struct link *link, unsigned limit)
{
    uint32_t ready = link_ready(link), taken = 0;
    uint64_t enough = peer->requests + LINK_BATCH;
    bool more = false; /* of a burst, which is taken whole */
    for (; taken < ready && (more || (taken < limit && peer->requests < enough)); taken++) {
        const Sluice__Frame *frame = link_take(link, &peer->arena);
        more = frame->more;
        /* Mail first: what tells of a change arrives before the completion of what made it. */
        for (size_t i = 0; i < frame->n_mail; i++)
            take_mail(peer, frame->mail[i]);
        for (size_t i = 0; i < frame->n_done; i++)
            peer_completion(peer, frame->done[i], frame->result[i]);
        if (frame->n_to)
            take_requests(peer, link, frame);
        arena_reset(&peer->arena);
        peer->frames++;
    }
    return taken;
}

unsigned peer_take(struct peer *peer, struct link *link, unsigned limit)
{
    if (link)
        return take(peer, link, limit);
    unsigned taken = 0;
    for (unsigned i = 0; i < peer->nlinked; i++)
        taken += take(peer, peer->linked[i], limit);
    return taken;
}

bool peer_ready(const struct peer *peer)
{
    for (unsigned i = 0; i < peer->nlinked; i++)
        if (link_ready(peer->linked[i]))
            return true;
    return false;
}

void peer_flush(struct peer *peer)
{
    while (peer->dirty) {
        struct link *link = peer->dirty;
        peer->dirty = link->dirty;
        link->is_dirty = false;
        link_flush(link);
    }
}

/* --- Sleeping and waking
 * ---------------------------------------------------------------------------- */

void peer_wake(struct peer *peer)
{
    uint64_t one = 1;
    ssize_t ignored = write(peer->doorbell, &one, sizeof one);
    (void)ignored; /* a full counter wakes as well */
}

void peer_ring(struct peer *peer)
{
    if (atomic_load_explicit(&peer->sleeping, memory_order_seq_cst) &&
        atomic_exchange_explicit(&peer->sleeping, 0, memory_order_seq_cst))
        peer_wake(peer);
}

bool peer_sleep(struct peer *peer)
{
    atomic_store_explicit(&peer->sleeping, 1, memory_order_seq_cst);
    for (unsigned i = 0; i < peer->nlinked; i++) {
        struct link *link = peer->linked[i];
        if (atomic_load_explicit(&link->twin->sent, memory_order_seq_cst) != link->taken) {
            peer_awake(peer);
            return false;
        }
    }
    return true;
}

void peer_awake(struct peer *peer)
{
    atomic_store_explicit(&peer->sleeping, 0, memory_order_relaxed);
}
