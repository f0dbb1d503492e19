#include "actors/zsocket.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <zmq.h>

#define PORTION 64 /* messages taken before others have their turn */

/* What guards memory and time of every socket. Times are milliseconds. */
static const struct zsocket_option guards[] = {
    {ZMQ_LINGER, 1000},
    {ZMQ_HANDSHAKE_IVL, 5000},
    {ZMQ_HEARTBEAT_IVL, 10000},
    {ZMQ_HEARTBEAT_TIMEOUT, 30000},
    {ZMQ_BACKLOG, 64},
    {ZMQ_TCP_KEEPALIVE, 1},
    {0, 0},
};

static int set_options(void *socket, const struct zsocket_option *options)
{
    for (; options->name; options++) {
        int64_t large = options->value;
        int ret = options->name == ZMQ_MAXMSGSIZE
                      ? zmq_setsockopt(socket, options->name, &large, sizeof large)
                      : zmq_setsockopt(socket, options->name, &options->value, sizeof(int));
        if (ret < 0)
            return -errno;
    }
    return 0;
}

static bool has_input(struct zsocket *socket)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(socket->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN);
}

void zsocket_attend(struct zsocket *socket)
{
    if (!socket->socket || socket->attending || socket->closing)
        return;
    socket->attending = true;
    bool more = has_input(socket);
    for (unsigned n = 0; more && n < PORTION && !socket->closing; n++) {
        socket->readable(socket);
        more = has_input(socket);
    }
    socket->attending = false;
    if (more && !socket->closing)
        timer_arm(reactor_timers(socket->reactor), &socket->again, reactor_now(socket->reactor));
}

static void attend_again(struct timer *timer)
{
    zsocket_attend((struct zsocket *)((char *)timer - offsetof(struct zsocket, again)));
}

static void finish_close(struct zsocket *socket)
{
    zmq_close(socket->socket);
    socket->socket = NULL;
    socket->closing = false;
    endpoint_release(&socket->endpoint);
    socket->closed(socket);
}

static void arm_poll(struct zsocket *socket)
{
    int fd;
    size_t size = sizeof fd;
    int ret = zmq_getsockopt(socket->socket, ZMQ_FD, &fd, &size);
    assert(ret == 0);
    (void)ret;
    ring_poll(reactor_ring(socket->reactor), &socket->poll, fd, POLLIN);
}

static void polled(struct ring_req *req, int res)
{
    struct zsocket *socket = (struct zsocket *)((char *)req - offsetof(struct zsocket, poll));
    (void)res;
    if (socket->closing) {
        if (!req->more)
            finish_close(socket);
        return;
    }
    zsocket_attend(socket);
    if (!req->more) {
        /* The attending may have closed it, which found the poll ended. */
        if (socket->closing)
            finish_close(socket);
        else
            arm_poll(socket);
    }
}

static int bind_socket(struct zsocket *socket, const char *endpoint, struct err *err)
{
    int ret = endpoint_claim(&socket->endpoint, endpoint, err);
    if (ret)
        return ret;
    if (zmq_bind(socket->socket, socket->endpoint.bind) < 0) {
        ret = err_set(err, -errno, "can't listen at %s: %s", endpoint, zmq_strerror(errno));
        endpoint_release(&socket->endpoint);
        return ret;
    }
    char last[ENDPOINT_TEXT] = "";
    size_t size = sizeof last;
    zmq_getsockopt(socket->socket, ZMQ_LAST_ENDPOINT, last, &size);
    endpoint_bound(&socket->endpoint, last);
    return 0;
}

int zsocket_open(struct zsocket *socket, struct reactor *reactor, void *context, int type,
                 const struct zsocket_option *options, const char *endpoint, struct err *err)
{
    socket->reactor = reactor;
    socket->again.fire = attend_again;
    socket->poll.done = polled;
    socket->socket = zmq_socket(context, type);
    if (!socket->socket)
        return err_set(err, -errno, "can't make a socket for %s: %s", endpoint,
                       zmq_strerror(errno));
    int ret = set_options(socket->socket, guards);
    if (!ret)
        ret = set_options(socket->socket, options);
    if (ret)
        err_set(err, ret, "can't set a socket option for %s: %s", endpoint, strerror(-ret));
    else
        ret = bind_socket(socket, endpoint, err);
    if (ret) {
        zmq_close(socket->socket);
        socket->socket = NULL;
        return ret;
    }
    arm_poll(socket);
    /* Something may have come before the descriptor was watched. */
    timer_arm(reactor_timers(reactor), &socket->again, reactor_now(reactor));
    return 0;
}

void zsocket_close(struct zsocket *socket, void (*closed)(struct zsocket *socket))
{
    assert(socket->socket && !socket->closing);
    socket->closed = closed;
    socket->closing = true;
    timer_cancel(reactor_timers(socket->reactor), &socket->again);
    ring_cancel(reactor_ring(socket->reactor), &socket->poll);
}

int zsocket_send(struct zsocket *socket, const void *data, size_t size, bool more)
{
    int flags = ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0);
    return zmq_send(socket->socket, data, size, flags) < 0 ? -errno : 0;
}
