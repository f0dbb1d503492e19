#include "tools/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "proto/check.h"

#define MESSAGE_MAX (64 << 20) /* bytes of what a server sends */

struct end {
    void *context, *socket;
    const char *endpoint;
    bool usable; /* the endpoint's text was understood */
};

struct client {
    struct end end;
    struct end monitor; /* tells when the connection stands */
    bool connected;
    int timeout_ms;
    uint64_t next_id;
};

struct watch {
    struct end end;
};

static void end_open(struct end *end, int type)
{
    int none = 0;
    end->context = zmq_ctx_new();
    end->socket = end->context ? zmq_socket(end->context, type) : NULL;
    if (!end->socket)
        abort();
    zmq_setsockopt(end->socket, ZMQ_LINGER, &none, sizeof none);
}

static void end_connect(struct end *end, const char *endpoint, int queue)
{
    int64_t most = MESSAGE_MAX;
    zmq_setsockopt(end->socket, ZMQ_RCVHWM, &queue, sizeof queue);
    zmq_setsockopt(end->socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    end->endpoint = endpoint;
    end->usable = zmq_connect(end->socket, endpoint) == 0;
}

static void end_close(struct end *end)
{
    zmq_close(end->socket);
    zmq_ctx_term(end->context);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for ZMQ_POLLIN or ZMQ_POLLOUT until a time. */
static bool wait_for(struct end *end, short events, int64_t until)
{
    for (;;) {
        int64_t left = until - now_ms();
        zmq_pollitem_t item = {.socket = end->socket, .events = events};
        int ret = zmq_poll(&item, 1, left > 0 ? left : 0);
        if (ret > 0)
            return true;
        if (ret == 0 || errno != EINTR)
            return false;
    }
}

/* The last frame of a message, which this also takes the others of. */
static bool receive(struct end *end, zmq_msg_t *message)
{
    do {
        if (zmq_msg_recv(message, end->socket, ZMQ_DONTWAIT) < 0)
            return false;
    } while (zmq_msg_more(message));
    return true;
}

/* A message can be sent to nobody, and waits; whether there is somebody, only the monitor knows.
 * (ZMQ_IMMEDIATE would tell too, but loses what has arrived when the daemon ends.) */
static void watch_connection(struct client *client)
{
    static const char name[] = "inproc://connection";
    zmq_socket_monitor(client->end.socket, name, ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
    client->monitor.socket = zmq_socket(client->end.context, ZMQ_PAIR);
    if (!client->monitor.socket || zmq_connect(client->monitor.socket, name) < 0)
        abort();
}

static bool await_connection(struct client *client, int64_t until)
{
    zmq_msg_t message;
    if (!client->connected && wait_for(&client->monitor, ZMQ_POLLIN, until)) {
        zmq_msg_init(&message);
        client->connected = receive(&client->monitor, &message);
        zmq_msg_close(&message);
    }
    return client->connected;
}

struct client *client_new(const char *endpoint, int timeout_ms)
{
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        abort();
    end_open(&client->end, ZMQ_DEALER);
    watch_connection(client);
    end_connect(&client->end, endpoint, 100);
    client->timeout_ms = timeout_ms;
    return client;
}

void client_free(struct client **client)
{
    if (!*client)
        return;
    zmq_close((*client)->monitor.socket);
    end_close(&(*client)->end);
    free(*client);
    *client = NULL;
}

static bool send_request(struct client *client, Sluice__Request *request, int64_t until,
                         char *error)
{
    const char *endpoint = client->end.endpoint;
    if (!client->end.usable) {
        snprintf(error, CLIENT_ERROR, "%s is no endpoint; it is ipc://PATH or tcp://HOST:PORT",
                 endpoint);
        return false;
    }
    int64_t connect_until = now_ms() + CLIENT_CONNECT_MS;
    if (!await_connection(client, connect_until < until ? connect_until : until)) {
        snprintf(error, CLIENT_ERROR,
                 "no daemon answers at %s; start sluiced, or name its endpoint with -s", endpoint);
        return false;
    }
    request->has_id = 1;
    request->id = ++client->next_id;
    size_t size = sluice__request__get_packed_size(request);
    uint8_t *data = malloc(size + 1);
    if (!data)
        abort();
    sluice__request__pack(request, data);
    int ret = zmq_send(client->end.socket, data, size, ZMQ_DONTWAIT);
    free(data);
    if (ret < 0)
        snprintf(error, CLIENT_ERROR, "can't send to %s: %s", endpoint, zmq_strerror(errno));
    return ret >= 0;
}

static Sluice__Reply *read_reply(struct client *client, char *error)
{
    struct refusal refusal;
    zmq_msg_t message;
    Sluice__Reply *reply = NULL;
    zmq_msg_init(&message);
    if (receive(&client->end, &message)) {
        reply = check_unpack(&sluice__reply__descriptor, zmq_msg_data(&message),
                             zmq_msg_size(&message), CHECK_SERVER, &refusal);
        if (!reply)
            snprintf(error, CLIENT_ERROR, "what answers at %s is no Sluice daemon: %.300s",
                     client->end.endpoint, refusal.text);
    }
    zmq_msg_close(&message);
    return reply;
}

Sluice__Reply *client_call(struct client *client, Sluice__Request *request, char *error)
{
    int64_t until = now_ms() + client->timeout_ms;
    *error = '\0';
    if (!send_request(client, request, until, error))
        return NULL;
    while (wait_for(&client->end, ZMQ_POLLIN, until)) {
        Sluice__Reply *reply = read_reply(client, error);
        if (*error || (reply && reply->id == request->id))
            return reply;
        if (reply) /* of an earlier request, too late */
            sluice__reply__free_unpacked(reply, NULL);
    }
    snprintf(error, CLIENT_ERROR,
             "the daemon at %s did not reply within %d ms; it may still do what was asked "
             "(--timeout sets how long to wait)",
             client->end.endpoint, client->timeout_ms);
    return NULL;
}

struct watch *watch_new(const char *endpoint)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        abort();
    end_open(&watch->end, ZMQ_SUB);
    zmq_setsockopt(watch->end.socket, ZMQ_SUBSCRIBE, "", 0);
    end_connect(&watch->end, endpoint, 100000);
    return watch;
}

void watch_free(struct watch **watch)
{
    if (!*watch)
        return;
    end_close(&(*watch)->end);
    free(*watch);
    *watch = NULL;
}

Sluice__Event *watch_next(struct watch *watch, int timeout_ms, char *error)
{
    struct refusal refusal;
    zmq_msg_t message;
    Sluice__Event *event = NULL;
    *error = '\0';
    if (!watch->end.usable) {
        snprintf(error, CLIENT_ERROR, "%s is no endpoint; it is ipc://PATH or tcp://HOST:PORT",
                 watch->end.endpoint);
        return NULL;
    }
    if (!wait_for(&watch->end, ZMQ_POLLIN, now_ms() + timeout_ms))
        return NULL;
    zmq_msg_init(&message);
    if (receive(&watch->end, &message)) {
        event = check_unpack(&sluice__event__descriptor, zmq_msg_data(&message),
                             zmq_msg_size(&message), CHECK_SERVER, &refusal);
        if (!event)
            snprintf(error, CLIENT_ERROR, "what publishes at %s is no Sluice daemon: %.300s",
                     watch->end.endpoint, refusal.text);
    }
    zmq_msg_close(&message);
    return event;
}
