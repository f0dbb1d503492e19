/* graph_impl.h — what the graph knows, for its sources: graph.c (requests and the end),
 * graph_objects.c (the tables; adding and removing), graph_perm.c (edges and permissions),
 * graph_claim.c (those who use backends without being objects), graph_medium.c, graph_run.c and
 * graph_show.c (lists, descriptions, status). */
#ifndef SLUICE_GRAPH_IMPL_H
#define SLUICE_GRAPH_IMPL_H

#include "actors/graph.h"

#include "actors/kinds.h"
#include "drivers/driver.h"
#include "engine/timer.h"

/* Users come after what they use: see graph_perm.c. */
enum object_kind { NODE, BACKEND, EXPORT, DEVICE, CLAIM, OBJECT_KINDS };
#define HOSTED_KINDS                                                                               \
    CLAIM /* kinds below have an actor each, but for devices of programs, and a                    \
             name that is seen, unless it is empty */

/* READY, CHANGING and CLOSING objects are seen from outside: between their two events. CHANGING is
 * a backend whose medium comes or goes. */
enum object_state { OPENING, FAILED, READY, CHANGING, CLOSING };

/* The kinds, for sentences. */
extern const char *const graph_words[OBJECT_KINDS];

struct graph;
struct object;

/* What an object is in the graph. */
struct standing {
    struct object *to[EDGES];         /* child and backing; medium; what is exported or used */
    struct driver_perms wants[EDGES]; /* there; nodes and backends have needs instead, which
                                         follow from those of their users */
    bool inactive;                    /* a backend that has given its permissions up */
};

struct object {
    struct graph *graph;
    enum object_kind kind;
    enum object_state state;
    char *name;                  /* of a claim: whose it is */
    char *type;                  /* a node's driver, an export's protocol */
    char *uri;                   /* an export's; of a device, its path, or null */
    const struct driver *driver; /* a node's; null when there is no such */
    actor_addr address;          /* 0 before it is spawned, and for claims */
    uint64_t id;                 /* a claim's, a device's */
    actor_addr owner;            /* of a claim: who is told of what happens to its backend */
    bool embedded;               /* a device that is a program's: it has no actor */
    struct object *own;          /* an export's backend that ends with it */
    struct object *master;       /* whose such a backend is */
    bool doomed;                 /* which ends as soon as it can */
    uint32_t block_size;         /* a device's, bytes */
    struct swap *swap;           /* of a backend's medium, under way; see graph_change.c */
    unsigned reactor, home;      /* where it is; where a node is when no backend has it */
    bool may_move;               /* a device that follows its backend to another reactor */
    struct move *move;           /* that it is part of, */
    unsigned came_from;          /* and where it was before */
    struct object *aside;        /* the medium that has gone */
    bool read_only;              /* a backend that refuses changes whatever its node allows */
    struct standing standing;
    struct driver_perms total;                   /* what its users have and share together */
    struct driver_perms granted;                 /* what a backend was told that it has */
    struct driver_perms next[EDGES], total_next; /* while a change is tried */
    unsigned drained, drained_next;              /* regions that a backend was told of */
    bool marked;                                 /* see graph_mark_connected() */
    struct ticket ticket;                        /* of the change under way */
    struct err err;                              /* why it failed */
    void *body;                                  /* to be sent to it when it is spawned */
};

/* A change has been committed (`err` is null), or has changed nothing. */
typedef void change_fn(struct object *object, const struct err *err);

/* A change that is under way or waits; see graph_perm.c. */
struct change {
    struct change *next;
    struct object *object;
    struct standing standing; /* to be; while it is tried, the one that was */
    change_fn *then;
};

struct table {
    struct object **all;
    size_t n;
};

struct graph {
    struct actor *self;
    struct table tables[OBJECT_KINDS];
    actor_addr *reactors; /* who tells of each (reactor_info.h) */
    uint64_t started;
    uint64_t told; /* events */
    size_t gathers;
    bool ending, aborted;
    bool paused; /* no backend lets requests go to its medium */
    uint64_t deadline;
    struct ticket ender;
    struct timer again;
    uint64_t last_claim, last_region;
    struct region *regions;
    struct move *moves; /* that wait, or are under way */
    bool settling;
    struct change *changes, **last_change; /* the first one is under way when `changing` */
    bool changing;
    size_t change_waits; /* answers to come */
    struct err change_err;
};

static inline unsigned graph_threads(const struct graph *graph)
{
    unsigned n = world(graph->self)->threads;
    return n ? n : 1;
}

/* --- graph_objects.c */

struct object *graph_find(const struct graph *graph, enum object_kind kind, const char *name);
/* The object with this name, when it can be used; else null, and `err` names `field`. */
struct object *graph_ready(const struct graph *graph, enum object_kind kind, const char *name,
                           const char *field, struct err *err);
/* The same, also while its medium or its reactor changes. */
struct object *graph_there(const struct graph *graph, enum object_kind kind, const char *name,
                           const char *field, struct err *err);
/* What a sentence calls it. */
const char *graph_name(const struct object *object);
/* The next one that stands on `object`, or is about to, after `*kind` and `*i`; they start at 0. */
struct object *graph_next_user(const struct object *object, unsigned *kind, size_t *i);
struct object *graph_first_user(const struct object *object);
struct object *graph_object_add(struct graph *graph, enum object_kind kind, const char *name);
void graph_object_drop(struct object *object);
void graph_object_free(struct object *object);

/* These check, begin, and answer `ticket` when it is done; or refuse at once, unanswered. */
int graph_node_add(struct graph *graph, const Sluice__NodeAdd *spec, struct ticket ticket,
                   struct err *err);
int graph_backend_add(struct graph *graph, const Sluice__BackendAdd *spec, struct ticket ticket,
                      struct err *err);
int graph_remove(struct graph *graph, enum object_kind kind, const char *name, struct ticket ticket,
                 struct err *err);
/* Of one that nothing uses. */
void graph_close_object(struct object *object, struct ticket ticket);

/* Tells that it has come or gone. */
void graph_emit_object(const struct object *object, bool added);
/* For what is in the table: gives it what it is to stand on, makes the actor, sends it `body`
 * (taken over), tells, and answers `ticket`. */
void graph_object_begin(struct object *object, struct standing standing, void *body,
                        struct ticket ticket);
int graph_check_name(const struct graph *graph, enum object_kind kind, const char *name,
                     struct err *err);
/* Adds a backend without a name, on a node, for an export. */
struct object *graph_own_backend(struct object *export, struct object *node);

/* --- graph_export.c */

int graph_export_add(struct graph *graph, const Sluice__ExportAdd *spec, struct ticket ticket,
                     struct err *err);
/* Ends its own backend, now or when that can be. */
void graph_close_own(struct object *export);
void graph_close_doomed(struct graph *graph);
/* Its own backend is there, or could not be made. */
void graph_export_proceed(struct object *export, const struct err *err);
/* Its own backend is gone, or stays because of an error. */
void graph_export_end(struct object *export, const struct err *err);

/* --- graph_device.c */

/* The backend's device: an export, or a device; null when it has none. */
const struct object *graph_device(const struct object *backend);
/* Refuses a second one. */
int graph_check_device(const struct object *backend, struct err *err);
int graph_device_add(struct graph *graph, const Sluice__DeviceAdd *spec, struct ticket ticket,
                     struct err *err);
int graph_device_set(struct graph *graph, const Sluice__DeviceSet *set, struct ticket ticket,
                     struct err *err);
/* Tells the backend that this is its device. */
void graph_tell_attached(const struct object *device, actor_reply_fn *then);
void graph_on_attach(struct actor *self, struct mail *mail);
/* Of a device of a program; answers its ticket. */
void graph_detach(struct object *device);

/* --- graph_tray.c: these answer `ticket` when it is done, or refuse at once */

int graph_medium_tray(struct graph *graph, const char *backend, bool open, bool force,
                      struct ticket ticket, struct err *err);
int graph_medium_eject(struct graph *graph, const Sluice__MediumTray *eject, struct ticket ticket,
                       struct err *err);

/* --- graph_change.c */

int graph_medium_change(struct graph *graph, const Sluice__MediumChange *change,
                        struct ticket ticket, struct err *err);

/* --- graph_perm.c */

/* Gives the object another standing, or refuses; then tells. The object stays until then, and what
 * it is to stand on counts as used. */
void graph_change(struct object *object, struct standing standing, change_fn *then);
/* Appends the names of permissions to a message's list. */
void graph_perm_names(unsigned perms, char ***out, size_t *n);

/* --- graph_drain.c */

/* All that the region covers is quiet. */
typedef void region_fn(void *arg);

/* Keeps those quiet who stand on the node, or on the backend's medium; or all that is connected
 * with it. Calls `then` when nothing is in flight in them, maybe at once. */
void graph_drain_begin(const struct object *target, bool connected, region_fn *then, void *arg,
                       struct region **region);
void graph_drain_end(struct region *region);
/* Objects stand elsewhere now. */
void graph_drain_sync(struct graph *graph);
/* Sets `marked` of all nodes and backends that are connected with the object, and of no other. */
void graph_mark_connected(const struct object *object);
void graph_drain_free(struct graph *graph);
void graph_on_drain(struct actor *self, struct mail *mail);
void graph_on_drain_end(struct actor *self, struct mail *mail);

/* --- graph_move.c */

/* Checks, and answers `ticket` when it is done; or refuses at once, unanswered. */
int graph_backend_move(struct graph *graph, const Sluice__BackendMove *spec, struct ticket ticket,
                       struct err *err);
void graph_on_claim_move(struct actor *self, struct mail *mail);
/* A medium has been attached: brings it and the backend together on one reactor. */
void graph_join(struct object *backend, void (*then)(struct object *backend));
/* Its medium has been detached: brings that home, if nobody has it any more. */
void graph_part(struct object *backend, struct object *node, void (*then)(struct object *backend));
/* An object can be moved again. */
void graph_moves_go(struct graph *graph);
/* Something has been done: what waited for that may go on, the end too. */
void graph_settled(struct graph *graph);
void graph_moves_free(struct graph *graph);
/* Refuses the moves that have not begun. */
void graph_moves_refuse(struct graph *graph);

/* --- graph_claim.c */

struct object *graph_find_claim(const struct graph *graph, uint64_t id);

/* Refuses what a read-only backend does not give to `who`. */
int graph_check_writable(const struct object *backend, const char *who, struct driver_perms wants,
                         struct err *err);
void graph_on_claim(struct actor *self, struct mail *mail);
void graph_on_claim_set(struct actor *self, struct mail *mail);
void graph_on_claim_allow(struct actor *self, struct mail *mail);
void graph_on_claim_end(struct actor *self, struct mail *mail);

/* --- graph_run.c: these answer `ticket` when it is done, or refuse at once */

/* Asks the object, and passes its answer on; takes over `body`, also when it refuses. */
int graph_pass_on(struct graph *graph, enum object_kind kind, const char *name, unsigned mail,
                  void *body, struct ticket ticket, struct err *err);
int graph_node_set(struct graph *graph, const Sluice__NodeSet *set, struct ticket ticket,
                   struct err *err);
int graph_backend_set(struct graph *graph, const Sluice__BackendSet *set, struct ticket ticket,
                      struct err *err);
int graph_backend_pause(struct graph *graph, const char *name, bool on, struct ticket ticket,
                        struct err *err);
/* All backends. `backend` is the one whose error it was, or null. */
void graph_pause(struct graph *graph, const char *backend, const char *reason,
                 struct ticket ticket);
void graph_resume(struct graph *graph, struct ticket ticket);

/* --- graph_medium.c: these answer `ticket` when it is done, or refuse at once */

int graph_medium_insert(struct graph *graph, const Sluice__MediumInsert *insert,
                        struct ticket ticket, struct err *err);
int graph_medium_remove(struct graph *graph, const char *backend, struct ticket ticket,
                        struct err *err);
/* A backend that is CHANGING: takes its medium out, and answers its ticket. */
void graph_take_out(struct object *backend);
void graph_tell_removed(const struct object *backend, const struct object *node);
/* Answers the ticket of a backend that was CHANGING. */
void graph_medium_done(struct object *backend, const struct err *err);

/* --- graph_show.c: these answer `ticket`, or refuse at once */

void graph_list(struct graph *graph, enum object_kind kind, struct ticket ticket);
int graph_show(struct graph *graph, enum object_kind kind, const char *name, struct ticket ticket,
               struct err *err);
void graph_status(struct graph *graph, struct ticket ticket);

/* --- graph.c */

/* Refuses what comes while the engine ends. */
int graph_refuse_ending(const struct graph *graph, struct err *err);

/* Tells an event; takes it over. */
void graph_emit(struct graph *graph, Sluice__Emit *emit);

/* While ending: closes what nothing uses any more, and ends when nothing is left. To be called
 * whenever something has gone, or has become ready. */
void graph_step_end(struct graph *graph);

#endif
