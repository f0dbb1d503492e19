#include "actors/nbd_conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/nbd_event.h"

/* Bytes of replies that the kernel may hold: a deep queue's worth of 4 KiB reads. */
#define SEND_BUFFER (1 << 20)

/* Seconds of silence after which TCP asks whether the client is still there. */
#define KEEPALIVE_IDLE 60

static struct nbd_conn *of_hook(struct turn_hook *hook)
{
    return (struct nbd_conn *)((char *)hook - offsetof(struct nbd_conn, hook));
}

static struct nbd_conn *of_timer(struct timer *timer)
{
    return (struct nbd_conn *)((char *)timer - offsetof(struct nbd_conn, timer));
}

static void arm(struct nbd_conn *conn, uint64_t ns)
{
    struct reactor *reactor = actor_reactor(conn->self);
    timer_arm(reactor_timers(reactor), &conn->timer, reactor_now(reactor) + ns);
}

/* Until the client must have taken the last replies; looks at requests that wait meanwhile. */
static void linger(struct nbd_conn *conn, uint64_t ns)
{
    conn->linger_until = reactor_now(actor_reactor(conn->self)) + ns;
    arm(conn, conn->in_flight && ns > NBD_CANCEL_TIME ? NBD_CANCEL_TIME : ns);
}

static void turn_end(struct turn_hook *hook)
{
    struct nbd_conn *conn = of_hook(hook);
    nbd_reply_send(conn);
    nbd_receive(conn);
    nbd_settle(conn);
}

void nbd_schedule(struct nbd_conn *conn)
{
    reactor_at_turn_end(actor_reactor(conn->self), &conn->hook);
}

static void time_over(struct timer *timer)
{
    struct nbd_conn *conn = of_timer(timer);
    uint64_t now = reactor_now(actor_reactor(conn->self));
    if (!nbd_is_ending(conn)) {
        nbd_end(conn, "the handshake was not finished within %llu seconds",
                (unsigned long long)(NBD_HANDSHAKE_TIME / NS_PER_S));
        nbd_break(conn);
        return;
    }
    if (conn->in_flight)
        nbd_requests_cancel(conn); /* again: the mail may have been faster than what it names */
    if (conn->in_flight && !conn->sending)
        linger(conn, NBD_LINGER_TIME); /* it waits for the backend, not for the client */
    else if (now < conn->linger_until)
        linger(conn, conn->linger_until - now);
    else
        nbd_break(conn);
}

/* --- Ending */

void nbd_end(struct nbd_conn *conn, const char *format, ...)
{
    if (nbd_is_ending(conn))
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(conn->reason, sizeof(conn->reason), format, args);
    va_end(args);
    conn->state = NBD_ENDING;
    timer_cancel(reactor_timers(actor_reactor(conn->self)), &conn->gather);
    if (conn->receiving)
        ring_cancel(reactor_ring(actor_reactor(conn->self)), &conn->recv);
    if (conn->watching)
        ring_cancel(reactor_ring(actor_reactor(conn->self)), &conn->watch);
    linger(conn, NBD_LINGER_TIME);
    if (conn->in_flight)
        nbd_requests_cancel(conn);
    nbd_schedule(conn);
}

void nbd_end_orderly(struct nbd_conn *conn, const char *reason)
{
    if (!nbd_is_ending(conn))
        conn->orderly = true;
    nbd_end(conn, "%s", reason);
}

void nbd_break(struct nbd_conn *conn)
{
    conn->broken = true;
    if (conn->sending)
        ring_cancel(reactor_ring(actor_reactor(conn->self)), &conn->send);
    nbd_schedule(conn);
}

/* The last step: nothing is outstanding anywhere. */
static void leave(struct nbd_conn *conn)
{
    struct ring *ring = reactor_ring(actor_reactor(conn->self));
    int fd = conn->file.fd;
    ring_file_unregister(ring, &conn->file);
    close(fd);
    timer_cancel(reactor_timers(actor_reactor(conn->self)), &conn->timer);
    reactor_forget(actor_reactor(conn->self), &conn->hook);
    nbd_tell_disconnected(conn->self, conn->spec->id, conn->number, conn->peer, conn->reason,
                          conn->orderly);
    Sluice__ConnectionGone *gone = MAIL_NEW(sluice__connection_gone);
    gone->number = conn->number;
    actor_tell(conn->self, conn->export, MAIL_CONNECTION_GONE, gone);
    actor_stop(conn->self);
}

static void session_closed(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply;
    leave(arg);
}

void nbd_settle(struct nbd_conn *conn)
{
    if (conn->state != NBD_ENDING || conn->receiving || conn->watching || conn->sending ||
        conn->in_flight)
        return;
    if (conn->session_asked && !conn->granted)
        return; /* the backend's answer is still to come */
    if (conn->ready.head && !conn->broken)
        return; /* the turn's end sends it */
    conn->state = NBD_CLOSING;
    if (!conn->granted) {
        leave(conn);
        return;
    }
    Sluice__SessionClose *ask = MAIL_NEW(sluice__session_close);
    ask->session = conn->session;
    actor_ask(conn->self, conn->backend, MAIL_SESSION_CLOSE, ask, session_closed, conn);
}

/* --- The session with the backend */

static void take_facts(struct nbd_conn *conn, const Sluice__NodeFacts *facts, bool inserted)
{
    conn->facts = *facts; /* numbers only: nothing of it is owned */
    conn->inserted = inserted;
}

/* The largest power of two that a request may carry: what clients assume, unless less is granted.
 */
static uint32_t payload_max(uint64_t granted)
{
    uint32_t max = NBD_PAYLOAD_MAX;
    while (max > granted)
        max >>= 1;
    return max;
}

static void session_answered(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    struct nbd_conn *conn = arg;
    const Sluice__Fault *fault = mail_fault(reply);
    if (fault) {
        conn->session_asked = false;
        nbd_handshake_session(conn, fault->text);
        return;
    }
    const Sluice__SessionGrant *grant = (Sluice__SessionGrant *)reply->body;
    conn->granted = true;
    conn->session = grant->session;
    conn->bytes_max = grant->bytes;
    conn->payload_max = payload_max(grant->bytes);
    take_facts(conn, grant->facts, grant->inserted);
    if (!nbd_requests_init(conn, grant->requests))
        nbd_end(conn, "there is no memory for its requests");
    nbd_handshake_session(conn, NULL);
}

void nbd_session_open(struct nbd_conn *conn)
{
    conn->session_asked = true;
    Sluice__SessionOpen *ask = MAIL_NEW(sluice__session_open);
    ask->requests = NBD_REQUESTS;
    ask->bytes = NBD_BYTES;
    mail_set(&ask->name, actor_name(conn->self));
    ask->has_watcher = true;
    ask->watcher = actor_address(conn->self);
    ask->has_told = true;
    ask->told = (uint64_t)(uintptr_t)&conn->told;
    actor_ask(conn->self, conn->backend, MAIL_SESSION_OPEN, ask, session_answered, conn);
}

static void on_backend_changed(struct actor *self, struct mail *mail)
{
    const Sluice__BackendChanged *changed = (Sluice__BackendChanged *)mail->body;
    take_facts(actor_state(self), changed->facts, changed->inserted);
}

/* --- Life */

static void init(struct actor *self)
{
    struct nbd_conn *conn = actor_state(self);
    conn->self = self;
    conn->file.fd = -1;
    conn->hook.run = turn_end;
    conn->timer.fire = time_over;
    nbd_requests_queue(&conn->ready);
    nbd_requests_queue(&conn->leaving);
}

static void fini(struct actor *self)
{
    struct nbd_conn *conn = actor_state(self);
    nbd_requests_fini(conn);
    nbd_receive_fini(conn);
    nbd_handshake_fini(conn);
    mail_free_body(conn->open);
}

/* Refusals are of no consequence: they are about speed, and about clients whose machine is gone
 * without a word, which would count as connected for ever. */
static void tune_socket(int fd)
{
    const int on = 1, size = SEND_BUFFER, idle = KEEPALIVE_IDLE;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void on_open(struct actor *self, struct mail *mail)
{
    struct nbd_conn *conn = actor_state(self);
    conn->open = (Sluice__ConnectionOpen *)mail->body;
    mail->body = NULL;
    conn->export = mail->from;
    conn->backend = conn->open->backend;
    conn->number = conn->open->number;
    conn->peer = conn->open->peer;
    conn->spec = conn->open->spec;
    tune_socket(conn->open->fd);
    ring_file_register(reactor_ring(actor_reactor(self)), &conn->file, conn->open->fd);
    nbd_tell_connected(self, conn->spec->id, conn->number, conn->peer);
    arm(conn, NBD_HANDSHAKE_TIME);
    nbd_greet(conn);
}

static void on_close(struct actor *self, struct mail *mail)
{
    (void)mail;
    nbd_end_orderly(actor_state(self), "the export is being removed");
}

static void on_abort(struct actor *self, struct mail *mail)
{
    struct nbd_conn *conn = actor_state(self);
    (void)mail;
    nbd_end_orderly(conn, "the engine is shutting down");
    linger(conn, NBD_ABORT_TIME); /* for the last replies, whatever was left of the time before */
}

const struct actor_type nbd_conn_type = {
    .name = "nbd connection",
    .size = sizeof(struct nbd_conn),
    .init = init,
    .fini = fini,
    .handlers =
        {
            [MAIL_CONNECTION_OPEN] = on_open,
            [MAIL_CLOSE] = on_close,
            [MAIL_ABORT] = on_abort,
            [MAIL_BACKEND_CHANGED] = on_backend_changed,
        },
};
