/* dispatch.h — who does what is asked: one table from request to performer.
 *
 * Used by the control actor, for requests from its socket and for those that contexts in the
 * process send it as mail. Most go to the graph; control itself lists drivers, acts as a frontend
 * for io-*, and signals a shutdown. */
#ifndef SLUICE_DISPATCH_H
#define SLUICE_DISPATCH_H

#include "control.pb-c.h"
#include "engine/actor.h"

#define DISPATCH_IOS 64 /* io-* requests at once, at most: each has a buffer */

struct dispatcher {
    int shutdown_fd; /* eventfd that a shutdown request signals; -1: none */
    unsigned ios;    /* io-* requests on their way, */
    struct io *io;   /* and they */
};

/* Runs once, now or later, with the reply, which it takes over. */
typedef void dispatch_done_fn(struct actor *self, Sluice__Reply *reply, void *arg);

/* Performs `request` and takes it over. */
void dispatch_run(struct actor *self, struct dispatcher *dispatcher, Sluice__Request *request,
                  dispatch_done_fn *done, void *arg);

#endif
