/* zsocket.h — a ZeroMQ socket that leaves the process, on a reactor.
 *
 * ZMQ_FD is edge-triggered and consumed by any call on the socket, so after whatever sends, and
 * before the reactor sleeps, ZMQ_EVENTS must be looked at: call zsocket_attend() then. `readable`
 * is to receive one message. A flood of them is taken in portions, so that it does not hold up the
 * reactor. */
#ifndef SLUICE_ZSOCKET_H
#define SLUICE_ZSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/endpoint.h"
#include "engine/err.h"
#include "engine/reactor.h"

struct zsocket {
    void (*readable)(struct zsocket *socket); /* there is a message: receive it, don't wait */
    void (*closed)(struct zsocket *socket);

    void *socket; /* null while it is not open */
    struct reactor *reactor;
    struct endpoint endpoint;
    struct ring_req poll;
    struct timer again; /* armed when a portion was taken and there is more */
    bool attending, closing;
};

struct zsocket_option {
    int name, value;
};

/* Makes a socket of this type, with these options (up to a name of 0) after those that guard every
 * socket, and binds it. `readable` is set. Fails with a sentence, and holds nothing then. */
int zsocket_open(struct zsocket *socket, struct reactor *reactor, void *context, int type,
                 const struct zsocket_option *options, const char *endpoint, struct err *err);

/* Looks whether there is something to read. */
void zsocket_attend(struct zsocket *socket);

/* Stops, and runs `closed` later, on the reactor. What was sent lingers for up to a second. */
void zsocket_close(struct zsocket *socket, void (*closed)(struct zsocket *socket));

/* Sends one frame without waiting; returns 0 or a negative errno. */
int zsocket_send(struct zsocket *socket, const void *data, size_t size, bool more);

#endif
