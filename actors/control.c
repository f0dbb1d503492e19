#include "actors/control.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "actors/clients.h"
#include "actors/dispatch.h"
#include "actors/io.h"
#include "actors/kinds.h"
#include "actors/reply.h"
#include "actors/zsocket.h"
#include "engine/clock.h"
#include "engine/reactor.h"
#include "proto/check.h"

#define PATIENCE NS_PER_S /* with what media have not ended when the graph is gone */

struct control {
    struct actor *self;
    struct zsocket socket;
    struct dispatcher dispatcher;
    struct clients clients;
    unsigned in_flight; /* requests under way, from outside and inside */
    bool closing;
    struct ticket close;
    struct timer patience;
};

/* A request under way. */
struct pending {
    struct client *client; /* null: it came as mail */
    uint64_t id;
    bool delimiter;       /* the client sent one, and gets one */
    struct ticket ticket; /* who sent the mail */
};

/* What came in one message. */
struct incoming {
    uint8_t identity[CLIENT_IDENTITY_MAX];
    size_t identity_size;
    bool delimiter;
    unsigned frames; /* of payload */
    zmq_msg_t payload;
};

static void close_if_idle(struct control *control);

static struct pending *begin(struct control *control, struct pending what)
{
    struct pending *pending = malloc(sizeof *pending);
    if (!pending)
        abort();
    *pending = what;
    control->in_flight++;
    return pending;
}

/* --- replies -----------------------------------------------------------------------------------
 */

/* A client that is gone, or does not read, misses its reply; it may ask for it again. */
static void send_reply(struct control *control, const void *identity, size_t identity_size,
                       bool delimiter, const void *data, size_t size)
{
    struct zsocket *socket = &control->socket;
    if (!socket->socket || socket->closing)
        return;
    if (zsocket_send(socket, identity, identity_size, true))
        return;
    if (delimiter)
        zsocket_send(socket, "", 0, true);
    zsocket_send(socket, data, size, false);
}

static uint8_t *pack(Sluice__Reply *reply, uint64_t id, size_t *size)
{
    reply->has_id = 1;
    reply->id = id;
    *size = sluice__reply__get_packed_size(reply);
    uint8_t *data = malloc(*size + 1);
    if (!data)
        abort();
    sluice__reply__pack(reply, data);
    return data;
}

/* Replies to a request that was not begun, and is not remembered: it did nothing. */
static void refuse(struct control *control, const struct incoming *in, uint64_t id,
                   Sluice__Reply *reply)
{
    size_t size;
    uint8_t *data = pack(reply, id, &size);
    send_reply(control, in->identity, in->identity_size, in->delimiter, data, size);
    free(data);
    mail_free_body(reply);
}

static void answered(struct actor *self, Sluice__Reply *reply, void *arg)
{
    struct control *control = actor_state(self);
    struct pending *pending = arg;
    control->in_flight--;
    if (pending->client) {
        size_t size;
        uint8_t *data = pack(reply, pending->id, &size);
        client_end(&control->clients, pending->client, pending->id, data, size);
        send_reply(control, pending->client->identity, pending->client->identity_size,
                   pending->delimiter, data, size);
        free(data);
        mail_free_body(reply);
        zsocket_attend(&control->socket);
    } else {
        reply->has_id = 1;
        reply->id = pending->id;
        actor_reply(self, pending->ticket, MAIL_REPLY, reply);
    }
    free(pending);
    close_if_idle(control);
}

static Sluice__Reply *too_busy(const char *who, unsigned most)
{
    return reply_error(SLUICE__ERROR__CLASS__LIMIT, NULL, -ENOBUFS,
                       "%s %u requests under way already; wait for replies, then ask again", who,
                       most);
}

/* --- requests from outside ---------------------------------------------------------------------
 */

Sluice__Reply *control_unpack(const void *data, size_t size, Sluice__Request **request)
{
    struct refusal refusal = {0};
    if (size > CONTROL_REQUEST_BYTES)
        return reply_error(SLUICE__ERROR__CLASS__INVALID, NULL, -EMSGSIZE,
                           "the request has %zu bytes; %d are the most", size,
                           CONTROL_REQUEST_BYTES);
    *request = check_unpack(&sluice__request__descriptor, data, size, CHECK_CLIENT, &refusal);
    if (*request)
        return NULL;
    return reply_error(SLUICE__ERROR__CLASS__INVALID, refusal.field, -EINVAL,
                       "this is no request that is known here: %s", refusal.text);
}

static Sluice__Reply *check_incoming(struct incoming *in, Sluice__Request **request)
{
    if (in->frames != 1)
        return reply_error(SLUICE__ERROR__CLASS__INVALID, NULL, -EINVAL,
                           "a request is one frame (after an empty delimiter, or none); %u came",
                           in->frames);
    return control_unpack(zmq_msg_data(&in->payload), zmq_msg_size(&in->payload), request);
}

static void take(struct control *control, struct incoming *in)
{
    struct client *client = clients_find(&control->clients, in->identity, in->identity_size);
    Sluice__Request *request = NULL;
    uint64_t id = 0;
    if (in->frames == 1)
        id = check_request_id(zmq_msg_data(&in->payload), zmq_msg_size(&in->payload));
    if (!client) {
        refuse(control, in, id,
               reply_error(SLUICE__ERROR__CLASS__LIMIT, NULL, -ENOBUFS,
                           "%d other clients wait for replies; ask again later", CLIENTS_MAX));
        return;
    }
    const struct reply_kept *kept = id ? client_recall(client, id) : NULL;
    if (kept) {
        send_reply(control, in->identity, in->identity_size, in->delimiter, kept->data, kept->size);
        return;
    }
    if (client_is_busy(client, id))
        return;
    Sluice__Reply *error = check_incoming(in, &request);
    if (!error && control->closing)
        error = reply_error(SLUICE__ERROR__CLASS__SHUTDOWN, NULL, -ESHUTDOWN,
                            "the engine is shutting down; start it again, then ask again");
    if (!error && control->in_flight >= CONTROL_IN_FLIGHT)
        error = too_busy("there are", CONTROL_IN_FLIGHT);
    if (!error && !client_begin(client, id))
        error = too_busy("this client has", CLIENT_IN_FLIGHT);
    if (error) {
        if (request)
            mail_free_body(request);
        refuse(control, in, id, error);
        return;
    }
    struct pending what = {.client = client, .id = id, .delimiter = in->delimiter};
    dispatch_run(control->self, &control->dispatcher, request, answered, begin(control, what));
}

/* Takes one message with all its frames: identity, an empty delimiter or none, the payload. */
static void receive(struct zsocket *socket)
{
    struct control *control = (struct control *)((char *)socket - offsetof(struct control, socket));
    struct incoming in = {0};
    int size = zmq_recv(socket->socket, in.identity, sizeof in.identity, ZMQ_DONTWAIT);
    if (size < 0)
        return;
    in.identity_size = (size_t)size;
    zmq_msg_init(&in.payload);
    int more = 0;
    size_t more_size = sizeof more;
    zmq_getsockopt(socket->socket, ZMQ_RCVMORE, &more, &more_size);
    for (unsigned frame = 0; more; frame++) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&part);
            break;
        }
        more = zmq_msg_more(&part);
        if (frame == 0 && more && zmq_msg_size(&part) == 0) {
            in.delimiter = true;
        } else {
            in.frames++;
            zmq_msg_move(&in.payload, &part); /* of too many, the last is as good as any */
        }
        zmq_msg_close(&part);
    }
    take(control, &in);
    zmq_msg_close(&in.payload);
}

/* --- mail --------------------------------------------------------------------------------------
 */

static void on_open(struct actor *self, struct mail *mail)
{
    static const struct zsocket_option options[] = {
        {ZMQ_SNDHWM, 256},
        {ZMQ_RCVHWM, 64},
        {ZMQ_MAXMSGSIZE, CONTROL_FRAME_BYTES},
        {ZMQ_ROUTER_MANDATORY, 1}, /* a client that is gone, or full, is told apart */
        {ZMQ_ROUTER_HANDOVER, 1},  /* a client that comes back under its name gets its replies */
        {0, 0},
    };
    struct control *control = actor_state(self);
    const Sluice__ControlOpen *open = (Sluice__ControlOpen *)mail->body;
    struct err err = {0};
    control->dispatcher.shutdown_fd = open->shutdown_fd;
    control->socket.readable = receive;
    if (*open->endpoint &&
        zsocket_open(&control->socket, actor_reactor(self), (void *)(uintptr_t)open->context,
                     ZMQ_ROUTER, options, open->endpoint, &err)) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    Sluice__EndpointOpened *opened = MAIL_NEW(sluice__endpoint_opened);
    mail_set(&opened->endpoint, control->socket.endpoint.shown);
    actor_reply(self, mail_ticket(mail), MAIL_ENDPOINT_OPENED, opened);
}

static void on_request(struct actor *self, struct mail *mail)
{
    struct control *control = actor_state(self);
    Sluice__Request *request = (Sluice__Request *)mail->body;
    if (control->closing) {
        struct err err;
        err_set(&err, -ESHUTDOWN, "the engine is shutting down");
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    if (control->in_flight >= CONTROL_IN_FLIGHT) {
        actor_reply(self, mail_ticket(mail), MAIL_REPLY, too_busy("there are", CONTROL_IN_FLIGHT));
        return;
    }
    mail->body = NULL;
    struct pending what = {.ticket = mail_ticket(mail), .id = request->id};
    dispatch_run(self, &control->dispatcher, request, answered, begin(control, what));
}

static void finish(struct control *control)
{
    actor_reply(control->self, control->close, MAIL_NONE, NULL);
    actor_stop(control->self);
}

static void socket_closed(struct zsocket *socket)
{
    finish((struct control *)((char *)socket - offsetof(struct control, socket)));
}

static void close_if_idle(struct control *control)
{
    if (!control->closing || control->in_flight || control->socket.closing)
        return;
    if (control->socket.socket)
        zsocket_close(&control->socket, socket_closed);
    else
        finish(control);
}

static void on_close(struct actor *self, struct mail *mail)
{
    struct control *control = actor_state(self);
    control->closing = true;
    control->close = mail_ticket(mail);
    close_if_idle(control);
    if (control->in_flight)
        timer_arm(reactor_timers(actor_reactor(self)), &control->patience,
                  reactor_now(actor_reactor(self)) + PATIENCE);
}

/* The graph is gone: what has not ended by now is with a medium that does not end it. */
static void lose_patience(struct timer *timer)
{
    struct control *control =
        (struct control *)((char *)timer - offsetof(struct control, patience));
    io_abandon(control->dispatcher.io);
}

static void control_init(struct actor *self)
{
    struct control *control = actor_state(self);
    control->self = self;
    control->dispatcher.shutdown_fd = -1;
    control->patience.fire = lose_patience;
}

static void control_fini(struct actor *self)
{
    struct control *control = actor_state(self);
    timer_cancel(reactor_timers(actor_reactor(self)), &control->patience);
    clients_free(&control->clients);
}

const struct actor_type control_type = {
    .name = "control",
    .size = sizeof(struct control),
    .init = control_init,
    .fini = control_fini,
    .handlers =
        {
            [MAIL_CONTROL_OPEN] = on_open,
            [MAIL_REQUEST] = on_request,
            [MAIL_CLOSE] = on_close,
        },
};
