/* endpoint.h — where a ZeroMQ socket may listen, and that nobody else does.
 *
 * libzmq takes over an existing ipc path without a word, so a path is locked by a file beside it,
 * PATH.lock, which holds the owner's process id: a second daemon is refused, a path left over by a
 * dead one is taken. The folder is made, for the owner only, when it is missing. TCP is for
 * loopback only. */
#ifndef SLUICE_ENDPOINT_H
#define SLUICE_ENDPOINT_H

#include "engine/err.h"

#define ENDPOINT_TEXT 256

struct endpoint {
    char bind[ENDPOINT_TEXT];  /* what to give to zmq_bind() */
    char shown[ENDPOINT_TEXT]; /* the endpoint in use, once endpoint_bound() was called */
    char path[ENDPOINT_TEXT];  /* of an ipc endpoint, else "" */
    int lock;                  /* descriptor of the lock file, or -1 */
};

/* Checks `text` ("ipc://PATH" or "tcp://ADDRESS:PORT") and takes the path, with blocking system
 * calls: for starting only. Fails with a sentence. */
int endpoint_claim(struct endpoint *endpoint, const char *text, struct err *err);

/* After zmq_bind(): narrows the path's mode to its owner, and keeps `last`, which is the socket's
 * ZMQ_LAST_ENDPOINT. */
void endpoint_bound(struct endpoint *endpoint, const char *last);

/* Gives the path back. */
void endpoint_release(struct endpoint *endpoint);

#endif
