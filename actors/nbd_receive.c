#include "actors/nbd_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* While big writes stream in, a receive into a chunk takes a header and little more, so that most
 * of each payload comes straight into its own buffer. */
#define STREAMING_ROOM 4096

/* --- Chunks */

static struct nbd_chunk *chunk_get(struct nbd_conn *conn)
{
    struct nbd_chunk *chunk = conn->spares;
    if (chunk) {
        conn->spares = chunk->next;
        conn->spare_count--;
    } else {
        chunk = malloc(sizeof(*chunk));
        void *data = buffer_alloc(nbd_buffers(conn), NBD_CHUNK);
        if (!chunk || !data) {
            free(chunk);
            buffer_free(nbd_buffers(conn), data, NBD_CHUNK);
            return NULL;
        }
        chunk->data = data;
    }
    chunk->refs = 1;
    return chunk;
}

static void chunk_free(struct nbd_conn *conn, struct nbd_chunk *chunk)
{
    buffer_free(nbd_buffers(conn), chunk->data, NBD_CHUNK);
    free(chunk);
}

void nbd_chunk_put(struct nbd_conn *conn, struct nbd_chunk *chunk)
{
    if (--chunk->refs)
        return;
    if (conn->spare_count == NBD_SPARE_CHUNKS) {
        chunk_free(conn, chunk);
        return;
    }
    chunk->next = conn->spares;
    conn->spares = chunk;
    conn->spare_count++;
}

void nbd_receive_fini(struct nbd_conn *conn)
{
    if (conn->chunk)
        nbd_chunk_put(conn, conn->chunk);
    for (struct nbd_chunk *chunk = conn->spares, *next; chunk; chunk = next) {
        next = chunk->next;
        chunk_free(conn, chunk);
    }
}

/* Makes room for at least NBD_BIG bytes behind what is not understood yet, so that what is small
 * always becomes whole in one chunk:
 *
 *     | used by requests | parsed ... filled |        room        |
 *
 * The rest is moved to the start, of this chunk if nobody else uses it. */
static bool make_room(struct nbd_conn *conn)
{
    struct nbd_chunk *old = conn->chunk;
    uint32_t rest = conn->filled - conn->parsed;
    bool alone = old && old->refs == 1;
    if (old && !(alone && rest == 0) && NBD_CHUNK - conn->filled >= NBD_BIG)
        return true;
    if (!alone) {
        conn->chunk = chunk_get(conn);
        if (!conn->chunk) {
            conn->chunk = old;
            return false;
        }
    }
    if (old && rest)
        memmove(conn->chunk->data, old->data + conn->parsed, rest);
    if (old && !alone)
        nbd_chunk_put(conn, old);
    conn->parsed = 0;
    conn->filled = rest;
    return true;
}

/* --- Receiving */

void nbd_feed(struct nbd_conn *conn)
{
    bool on = true;
    while (on && !nbd_is_ending(conn) && !conn->hold) {
        uint64_t skip = nbd_available(conn) < conn->skip ? nbd_available(conn) : conn->skip;
        conn->skip -= skip;
        conn->parsed += skip;
        if (conn->skip)
            break;
        switch (conn->state) {
        case NBD_AWAITS_FLAGS:
            on = nbd_handshake_flags(conn);
            break;
        case NBD_AWAITS_OPTIONS:
            on = nbd_handshake_option(conn);
            break;
        default:
            on = nbd_request_parse(conn);
        }
    }
    nbd_schedule(conn);
}

void nbd_resume(struct nbd_conn *conn)
{
    if (conn->hold) {
        conn->hold = false;
        nbd_feed(conn);
    }
}

static const char gone[] = "the client closed the connection without a disconnect request";

static void hung_up(struct ring_req *req, int res)
{
    struct nbd_conn *conn = (struct nbd_conn *)((char *)req - offsetof(struct nbd_conn, watch));
    conn->watching = req->more;
    if (res > 0 && conn->hold && !nbd_is_ending(conn)) {
        nbd_end(conn, "%s", gone);
        nbd_break(conn);
    } else if (conn->watching) { /* what is received tells, or it is watched again */
        ring_cancel(reactor_ring(actor_reactor(conn->self)), &conn->watch);
    }
    nbd_schedule(conn);
}

/* It has closed both ways: one that has only said all that it wants to say takes replies. */
static void watch(struct nbd_conn *conn)
{
    conn->watching = true;
    conn->watch.done = hung_up;
    ring_poll(reactor_ring(actor_reactor(conn->self)), &conn->watch, conn->file.fd, 0);
}

static void received(struct ring_req *req, int res)
{
    struct nbd_conn *conn = (struct nbd_conn *)((char *)req - offsetof(struct nbd_conn, recv));
    conn->receiving = false;
    if (nbd_is_ending(conn)) {
        nbd_schedule(conn);
    } else if (res == -EINTR || res == -EAGAIN) {
        nbd_schedule(conn);
    } else if (res < 0) {
        nbd_end(conn, "receiving failed: %s", strerror(-res));
        nbd_break(conn);
    } else if (res == 0) {
        nbd_end(conn, "%s",
                conn->state == NBD_TRANSMISSION
                    ? gone
                    : "the client closed the connection during the handshake");
    } else if (conn->filling) {
        conn->got += res;
        if (conn->got == conn->filling->length)
            nbd_request_filled(conn);
        nbd_feed(conn);
    } else {
        conn->filled += res;
        conn->parsed_now = 0;
        nbd_feed(conn);
        nbd_pace_received(&conn->pace, reactor_now(actor_reactor(conn->self)), conn->parsed_now);
    }
}

static void receive_now(struct nbd_conn *conn)
{
    void *to;
    size_t room;
    int flags = 0;
    if (conn->filling) {
        flags = MSG_WAITALL; /* the kernel goes on by itself until it is whole */
        to = (unsigned char *)conn->filling->payload + conn->got;
        room = conn->filling->length - conn->got;
    } else if (make_room(conn)) {
        to = conn->chunk->data + conn->filled;
        room = conn->streaming ? STREAMING_ROOM : NBD_CHUNK - conn->filled;
    } else {
        nbd_end(conn, "there is no memory to receive into");
        return;
    }
    conn->receiving = true;
    conn->recv.done = received;
    ring_recv(reactor_ring(actor_reactor(conn->self)), &conn->recv, &conn->file, to, room, flags);
}

static void gathered(struct timer *timer)
{
    struct nbd_conn *conn = (struct nbd_conn *)((char *)timer - offsetof(struct nbd_conn, gather));
    if (!conn->hold && !nbd_is_ending(conn))
        receive_now(conn);
}

void nbd_receive(struct nbd_conn *conn)
{
    if (conn->hold && conn->state == NBD_TRANSMISSION && !conn->receiving && !conn->watching)
        watch(conn);
    if (conn->receiving || conn->hold || nbd_is_ending(conn) || timer_armed(&conn->gather))
        return;
    struct reactor *reactor = actor_reactor(conn->self);
    uint64_t next = conn->filling ? 0 : nbd_pace_next(&conn->pace);
    if (next > reactor_now(reactor)) {
        conn->gather.fire = gathered;
        timer_arm(reactor_timers(reactor), &conn->gather, next);
    } else {
        receive_now(conn);
    }
}
