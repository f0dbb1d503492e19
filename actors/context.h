/* context.h — what api.c, context.c and blk*.c share of the public interface; not for others. */
#ifndef SLUICE_CONTEXT_H
#define SLUICE_CONTEXT_H

#include <stdatomic.h>

#include "actors/account.h"
#include "actors/kinds.h"
#include "actors/sluice.h"
#include "drivers/driver.h"
#include "engine/port.h"

#define CONTEXT_DEPTH     1024 /* requests outstanding when nothing else is asked */
#define CONTEXT_DEPTH_MAX 65536

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

struct blk_context {
    sluice *sluice;
    struct port *port;
    unsigned depth;
    unsigned outstanding;  /* from acceptance until the callback begins */
    struct op_queue ended; /* their callbacks are due: never where they end, which may be inside the
                              call that submits, or amid the taking of a frame */
    unsigned running;      /* callbacks that have not returned; above 1 when they nest */
    uint64_t ran;          /* callbacks that have */
    unsigned plugged;      /* see blk_io_plug(); 0 while it waits */
    struct blk *blks;
    struct held_region *regions; /* of nodes, and of everything */
    unsigned opened;             /* blks, ever */
    struct note *notes;          /* mail of which callbacks are to tell, the oldest first */
};

struct note {
    struct note *next;
    unsigned kind;
    actor_addr from;
    struct ticket ticket; /* who waits for an answer to it */
    void *body;
};

/* A drained region that somebody holds. */
struct held_region {
    struct held_region *next;
    uint64_t id;
    char *node; /* "" for all; null for a blk's own */
};

struct blk {
    struct blk *next;
    blk_context *context;
    char *name;
    actor_addr backend;
    uint64_t id; /* the backend's, in the graph */
    uint64_t claim, session;
    unsigned number;            /* as a holder of regions; see OP_HOLDERS. Two blks of a context may
                                   share one when there are many; then they do regions, too */
    unsigned references;        /* of those who share this blk */
    bool closing;               /* the last one goes, and waits for requests */
    uint32_t granted;           /* requests that may be outstanding */
    struct driver_perms perms;  /* what it has */
    bool writable;              /* opened to write too */
    bool beyond_end;            /* see blk_set_allow_write_beyond_eof() */
    _Atomic uint32_t in_flight; /* from acceptance until the callback has returned; the backend
                                   looks at it */
    struct account_told told;   /* the backend looks at it, too */
    unsigned due;               /* of them, ended: their callbacks are to run, or run */
    unsigned running;           /* callbacks that have not returned */
    unsigned cancels;           /* questions for the end of requests that are not answered */
    struct blk_buffer *buffers; /* registered; see blk_buffer.c */
    bool quiet_asked;           /* the backend waits for those that are due */
    struct held_region *regions;
    void (*detached)(void *opaque), (*attached)(void *opaque, unsigned reactor); /* of a move */
    void *move_opaque;
    uint64_t device; /* that it has attached; 0 for none */
    bool has_ops;    /* it plays the backend's device */
    struct blk_dev_ops ops;
    void *ops_opaque;
    bool told_open, told_locked; /* to the backend, last */
    unsigned calling;            /* of those: callbacks that have not returned */
    bool closed;                 /* by one of its callbacks: the last of them frees it */
    struct driver_facts facts;
    bool inserted, available;
    struct notifier *notifiers; /* of media; see blk_medium.c */
    unsigned holds;             /* of loops over them, and of drains that begin */
    unsigned open_flags;        /* enum open_flag: of the medium, or the last one */
};

/* In the bottom frame of its operation, whose function is blk_request_done(), with the blk. */
struct request {
    struct blk *blk;
    blk_done_fn *done;
    void *opaque;
    int64_t *result; /* where it goes whole; null when nobody wants more than `done` is told */
    bool cancelled;  /* its end was asked for */
};
void blk_request_done(struct op *op, void *who);

/* blk_cancel.c: asks for the end of those that merely wait, because an error or somebody paused the
 * backend. Those that the backend has in flight go on, and one that is on its way is not found. */
void blk_cancel_waiting(struct blk *blk);
#define BLK_CANCEL_AGAIN_MS 50 /* until it is said again: mail may be faster than what it names */

/* Puts the sentence where the caller wants it; `error` may be null. Returns `code`. */
int context_error(char **error, int code, const char *text);
/* Asks, and waits for the answer, as port_call() does; runs the callbacks that are due meanwhile.
 */
int context_call(blk_context *context, actor_addr to, unsigned kind, void *body, void **reply,
                 struct err *err);
/* The same, for an answer that tells how things are, as mail does, which may come with it or before
 * the call returns: it is taken when it comes, in that order. It stays the context's. */
typedef void context_take_fn(const void *reply, void *arg);
int context_call_take(blk_context *context, actor_addr to, unsigned kind, void *body,
                      context_take_fn *take, void *arg, struct err *err);
/* Begins a region and adds it to a list, or ends it and takes it out. */
int region_begin(blk_context *context, struct held_region **list, Sluice__Drain *drain);
int region_end(blk_context *context, struct held_region **at);

/* Answers the backend when none of the callbacks that are due is left, but for those that wait. */
void blk_tell_calm(struct blk *blk);
/* Opens what the claim says, which lacks the name of who claims, and is taken over. */
int blk_claim(blk_context *context, Sluice__Claim *claim, blk **out, char **error);
/* As a message, the caller's. */
Sluice__Permissions *blk_permissions(struct driver_perms perms);
/* blk_buffer.c: unregisters what is. */
void blk_unregister_all(struct blk *blk);

/* What waits sends what is plugged first, and goes on plugged after. */
unsigned context_wait_begin(blk_context *context);
void context_wait_end(blk_context *context, unsigned plugged);
/* Runs the callback of a request that has ended. */
void blk_run_done(struct op *op);
/* The backend has told of a change. */
void blk_moving(struct blk *blk, const Sluice__Moving *moving);
/* Frees one that is closed, when no callback of it runs. */
void blk_free_closed(struct blk *blk);
/* Detaches its device, if it has one. */
void blk_dev_end(struct blk *blk);
/* The backend calls a device that a blk of this context plays. */
void blk_dev_called(blk_context *context, struct note *note);
/* Its medium has come, or is to go. */
void blk_medium_news(struct blk *blk, const Sluice__MediumNews *news);
void blk_notifiers_free(struct blk *blk);
void blk_changed(struct blk *blk, const Sluice__BackendChanged *told);
/* The backend's name is this now. */
void blk_renamed(struct blk *blk, const char *name);

#endif
