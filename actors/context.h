/* context.h — what api.c, context.c and blk.c share of the public interface; not for others. */
#ifndef SLUICE_CONTEXT_H
#define SLUICE_CONTEXT_H

#include "actors/kinds.h"
#include "actors/sluice.h"
#include "drivers/driver.h"
#include "engine/port.h"

#define CONTEXT_DEPTH 1024 /* requests outstanding when nothing else is asked */

struct sluice {
    struct engine *engine;
    struct world world;
    void *zmq;         /* context of the sockets that leave the process */
    struct port *port; /* of the thread that starts and stops */
    bool control_open, events_open;
    char *control, *events; /* endpoints in use; "" for none */
    int shutdown_fd;        /* eventfd */
    uint64_t deadline_ns;
};

/* A request that ended before the call that submitted it returned: its callback has to wait. */
struct early {
    struct blk *blk;
    blk_done_fn *done;
    void *opaque;
    int ret;
};

struct blk_context {
    sluice *sluice;
    struct port *port;
    unsigned depth, outstanding;
    bool submitting; /* inside a submitting call: callbacks may not run */
    uint64_t ran;    /* callbacks */
    struct blk *blks;
    struct early *early; /* a ring of `depth` */
    unsigned early_first, early_count;
};

struct blk {
    struct blk *next;
    blk_context *context;
    char *name;
    actor_addr backend;
    uint64_t session;
    uint32_t granted; /* requests that may be outstanding */
    unsigned in_flight;
    struct driver_facts facts;
    bool inserted;
};

/* Puts the sentence where the caller wants it; `error` may be null. Returns `code`. */
int context_error(char **error, int code, const char *text);
/* Runs the callback of a request that has ended, or keeps it until it may run. */
void context_done(struct blk *blk, blk_done_fn *done, void *opaque, int ret);
/* The backend has told of a change. */
void blk_changed(struct blk *blk, const Sluice__BackendChanged *told);

#endif
