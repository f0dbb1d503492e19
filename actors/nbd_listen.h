/* nbd_listen.h — the socket that an NBD export listens on. */
#ifndef SLUICE_NBD_LISTEN_H
#define SLUICE_NBD_LISTEN_H

#include <sys/types.h>

#include "control.pb-c.h"
#include "engine/err.h"

struct nbd_listener {
    int fd;     /* -1: not listening */
    char *path; /* of a Unix socket, made absolute; else null */
    dev_t dev;  /* which file the socket is, so that no other one is removed */
    ino_t ino;
    char *uri; /* where clients find the export */
};

/* Binds and listens where `spec` says; exactly one of its unix and port is set, and its name is. A
 * socket file that nobody listens on any more is taken over; anything else in its place is left
 * alone and refused. A negative errno and a sentence when it can't be done. Does not wait: host
 * names other than localhost are not looked up. */
int nbd_listen(struct nbd_listener *listener, const Sluice__ExportAdd *spec, struct err *err);

/* Stops listening and removes the socket file. */
void nbd_unlisten(struct nbd_listener *listener);

#endif
