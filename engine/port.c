#include "engine/port.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "engine/mem.h"
#include "engine/reactor_impl.h"
#include "engine/way.h"

#define SPIN_NS    (50 * NS_PER_US)
#define GIVE_EVERY 16

struct port {
    struct peer peer; /* first */
    struct engine *engine;
    actor_addr address;
    struct calls calls;
    void (*on_mail)(struct port *port, struct mail *mail, void *arg);
    void *on_mail_arg;
    struct way way;
    unsigned waits;
    struct port *next;
};

static void port_op(struct peer *peer, struct op *op)
{
    (void)peer;
    op_complete(op, -ENOTSUP); /* nothing on a port serves operations */
}

static void port_mail(struct peer *peer, struct mail *mail)
{
    struct port *port = (struct port *)peer;
    if (mail->reply) {
        call_fn *fn;
        void *arg;
        if (calls_take(&port->calls, mail->correlation, &fn, &arg))
            ((port_reply_fn *)fn)(port, mail, arg);
    } else if (port->on_mail) {
        port->on_mail(port, mail, port->on_mail_arg);
    }
    mail_free(mail);
}

static const struct peer_local port_local = {port_op, port_mail};

/* --- Opening: each reactor takes its end of the link on its own thread
 * ------------------------------- */

struct attach {
    struct work work;
    struct link *link;
    sem_t done;
};

static void attach(struct work *work, struct reactor *reactor)
{
    struct attach *a = (struct attach *)work;
    peer_add_link(&reactor->peer, a->link);
    sem_post(&a->done);
}

static void attach_to(struct reactor *reactor, struct link *link, bool stepped)
{
    struct attach a = {.work.run = attach, .link = link};
    sem_init(&a.done, 0, 0);
    if (stepped || !reactor->started) {
        attach(&a.work, reactor);
    } else {
        reactor_post(reactor, &a.work);
        while (sem_wait(&a.done) != 0)
            continue;
    }
    sem_destroy(&a.done);
}

/* All links are made before the first reactor gets its end: from then on there is no way back. */
static struct port *port_new(struct engine *engine, unsigned id, struct err *err)
{
    if (id >= PEERS_MAX) {
        err_set(err, -EMFILE, "a context could not be opened: %u are open, which is the most",
                PEERS_MAX - 1 - engine->nreactors);
        return NULL;
    }
    struct port *port = mem_aligned(64, sizeof *port);
    struct link *theirs[PEERS_MAX];
    port->engine = engine;
    int ret = peer_init(&port->peer, &engine->mesh, id, &port_local);
    unsigned n = 0;
    for (; ret == 0 && n < engine->nreactors; n++) {
        struct link *mine;
        ret =
            link_pair(engine->mesh.zmq, &port->peer, &engine->reactors[n]->peer, &mine, &theirs[n]);
        if (ret < 0)
            break;
        peer_add_link(&port->peer, mine);
    }
    if (ret < 0) {
        err_set(err, ret, "a context could not be linked to the reactors: %s", zmq_strerror(-ret));
        while (n-- > 0)
            link_free(&theirs[n]);
        peer_fini(&port->peer);
        free(port);
        return NULL;
    }
    for (unsigned i = 0; i < n; i++)
        attach_to(engine->reactors[i], theirs[i], engine->options.stepped);
    return port;
}

/* For the next one who opens. */
static void keep(struct port *port)
{
    pthread_mutex_lock(&port->engine->ports_lock);
    port->next = port->engine->ports;
    port->engine->ports = port;
    pthread_mutex_unlock(&port->engine->ports_lock);
}

struct port *port_open(struct engine *engine, struct err *err)
{
    pthread_mutex_lock(&engine->ports_lock);
    struct port *port = engine->ports;
    if (port)
        engine->ports = port->next;
    else if ((port = port_new(engine, engine->next_peer, err)))
        engine->next_peer++;
    pthread_mutex_unlock(&engine->ports_lock);
    if (!port)
        return NULL;
    port->address = directory_add(&engine->mesh.directory, port->peer.id);
    if (!port->address) {
        err_set(err, -ENOBUFS,
                "a context could not be opened: the table of actors is full; remove something");
        keep(port);
        return NULL;
    }
    atomic_fetch_add(&engine->ports_open, 1);
    return port;
}

void port_close(struct port **self)
{
    struct port *port = *self;
    if (!port)
        return;
    *self = NULL;
    port_unplug(port);
    port_poll(port);
    assert(port->peer.ops_used == 0);
    directory_remove(&port->engine->mesh.directory, port->address);
    port->address = 0;
    port->on_mail = NULL;
    atomic_fetch_sub(&port->engine->ports_open, 1);
    keep(port);
}

void port_free_all(struct engine *engine)
{
    while (engine->ports) {
        struct port *port = engine->ports;
        engine->ports = port->next;
        calls_fini(&port->calls);
        peer_fini(&port->peer);
        free(port);
    }
}

struct peer *port_peer(struct port *port)
{
    return &port->peer;
}

actor_addr port_address(const struct port *port)
{
    return port->address;
}

/* --- Mail
 * ------------------------------------------------------------------------------------------- */

static void send_mail(struct port *port, actor_addr to, uint64_t correlation, bool reply,
                      unsigned kind, void *body)
{
    struct mail *mail = MEM_NEW(struct mail);
    mail->to = to;
    mail->from = port->address;
    mail->correlation = correlation;
    mail->reply = reply;
    mail->kind = (uint16_t)kind;
    mail->body = body;
    peer_send_mail(&port->peer, mail);
}

void port_tell(struct port *port, actor_addr to, unsigned kind, void *body)
{
    send_mail(port, to, 0, false, kind, body);
}

void port_ask(struct port *port, actor_addr to, unsigned kind, void *body, port_reply_fn *fn,
              void *arg)
{
    send_mail(port, to, calls_add(&port->calls, (call_fn *)fn, arg), false, kind, body);
}

void port_reply(struct port *port, struct ticket ticket, unsigned kind, void *body)
{
    if (ticket.correlation)
        send_mail(port, ticket.to, ticket.correlation, true, kind, body);
    else
        mail_free_body(body);
}

void port_refuse(struct port *port, struct ticket ticket, const struct err *err)
{
    port_reply(port, ticket, MAIL_FAULT, mail_fault_body(err));
}

void port_on_mail(struct port *port, void (*fn)(struct port *port, struct mail *mail, void *arg),
                  void *arg)
{
    port->on_mail = fn;
    port->on_mail_arg = arg;
}

struct call_state {
    bool done;
    int ret;
    void *body;
    struct err *err;
};

static void call_done(struct port *port, struct mail *reply, void *arg)
{
    (void)port;
    struct call_state *state = arg;
    state->done = true;
    const Sluice__Fault *fault = mail_fault(reply);
    if (fault) {
        state->ret = fault->code;
        mail_fault_err(reply, state->err);
        return;
    }
    state->body = reply->body;
    reply->body = NULL;
}

int port_call(struct port *port, actor_addr to, unsigned kind, void *body, void **reply,
              struct err *err)
{
    struct call_state state = {.err = err};
    port_ask(port, to, kind, body, call_done, &state);
    while (!state.done)
        port_wait(port, UINT64_MAX);
    if (reply && state.ret == 0)
        *reply = state.body;
    else
        mail_free_body(state.body);
    return state.ret;
}

/* --- Reaping
 * ---------------------------------------------------------------------------------------- */

void port_plug(struct port *port)
{
    for (unsigned i = 0; i < port->peer.nlinked; i++)
        link_plug(port->peer.linked[i]);
}

void port_unplug(struct port *port)
{
    for (unsigned i = 0; i < port->peer.nlinked; i++)
        link_unplug(port->peer.linked[i]);
}

void port_flush(struct port *port)
{
    peer_flush(&port->peer);
}

bool port_poll(struct port *port)
{
    peer_flush(&port->peer);
    bool any = peer_take(&port->peer, NULL, UINT32_MAX) > 0;
    peer_flush(&port->peer);
    return any;
}

static bool step(struct port *port, uint64_t timeout_ns)
{
    struct engine *engine = port->engine;
    uint64_t end = timeout_ns == UINT64_MAX ? UINT64_MAX : engine_now(engine) + timeout_ns;
    while (!port_poll(port)) {
        if (engine_step(engine))
            continue;
        engine_settle(engine);
        if (port_poll(port))
            return true;
        uint64_t next = UINT64_MAX;
        for (unsigned i = 0; i < engine->nreactors; i++)
            if (timers_next(&engine->reactors[i]->timers) < next)
                next = timers_next(&engine->reactors[i]->timers);
        if (next == UINT64_MAX || next > end)
            return false;
        engine_advance(engine, next > engine_now(engine) ? next - engine_now(engine) : 0);
    }
    return true;
}

bool port_arm(struct port *port)
{
    peer_flush(&port->peer);
    uint64_t value;
    ssize_t ignored = read(port->peer.doorbell, &value, sizeof value);
    (void)ignored;
    return peer_sleep(&port->peer);
}

bool port_wait(struct port *port, uint64_t timeout_ns)
{
    if (port->engine->options.stepped)
        return step(port, timeout_ns);
    bool any = port_poll(port);
    if (port->waits++ % GIVE_EVERY == 0) /* what it was given is on its way by now */
        way_give(&port->way, engine_now(port->engine));
    if (any)
        return true;
    uint64_t start = engine_now(port->engine), spin = timeout_ns < SPIN_NS ? timeout_ns : SPIN_NS;
    uint64_t now;
    do {
        for (int i = 0; i < 32; i++) {
            if (peer_ready(&port->peer)) {
                port_poll(port);
                return true;
            }
            __builtin_ia32_pause();
        }
        now = engine_now(port->engine);
        way_give(&port->way, now);
    } while (now - start < spin);
    if (timeout_ns > spin && port_arm(port)) {
        struct pollfd fd = {port->peer.doorbell, POLLIN, 0};
        uint64_t left = timeout_ns - spin;
        struct timespec ts = {(time_t)(left / NS_PER_S), (long)(left % NS_PER_S)};
        ppoll(&fd, 1, timeout_ns == UINT64_MAX ? NULL : &ts, NULL);
        peer_awake(&port->peer);
    }
    return port_poll(port);
}

int port_fd(const struct port *port)
{
    return port->peer.doorbell;
}
