/* graph_impl.h — what the graph knows, for its sources: graph.c (requests and the end),
 * graph_objects.c (the tables; removing), graph_add.c, graph_perm.c (edges and permissions),
 * graph_claim.c (those who use backends without being objects), graph_life.c (names, references,
 * what is made in one step), graph_walk.c (walks and look-ups), graph_active.c (handing media
 * over), graph_medium.c, graph_run.c and graph_show.c (lists, descriptions, status),
 * graph_throttle.c and graph_member.c (throttle groups, and who is in them), graph_keep.c (what
 * answers are awaited with). */
#ifndef SLUICE_GRAPH_IMPL_H
#define SLUICE_GRAPH_IMPL_H

#include "actors/graph.h"

#include "actors/kinds.h"
#include "actors/limits.h"
#include "drivers/driver.h"
#include "engine/timer.h"

/* Users come after what they use: see graph_perm.c. */
enum object_kind { NODE, BACKEND, EXPORT, DEVICE, JOB, GROUP, CLAIM, OBJECT_KINDS };
#define HOSTED_KINDS GROUP /* kinds below have an actor each, but for devices of programs; */
#define NAMED_KINDS                                                                                \
    CLAIM /* and a name that is seen, unless it is empty, as throttle groups have                  \
           */

/* READY, CHANGING and CLOSING objects are seen from outside: between their two events. CHANGING is
 * a backend whose medium comes or goes, or which is activated or inactivated. */
enum object_state { OPENING, FAILED, READY, CHANGING, CLOSING };

/* The kinds, for sentences; and in names of requests and in events. */
extern const char *const graph_words[OBJECT_KINDS];
extern const char *const graph_short_words[OBJECT_KINDS];

struct graph;
struct object;

/* What a backend has of what its users need; see graph_active.c. */
enum activity {
    ACTIVE,
    SHARING, /* what they need, with everything shared */
    INACTIVE /* nothing, with everything shared */
};

/* What an object is in the graph. */
struct standing {
    struct object *to[EDGES];         /* child and backing; medium; what is exported or used */
    struct driver_perms wants[EDGES]; /* there; nodes and backends have needs instead, which
                                         follow from those of their users */
    enum activity activity;           /* of a backend */
    bool commits; /* a job that writes what lies below its first node, which does not mind: what is
                     written there is what that one shows */
};

struct object {
    struct graph *graph;
    enum object_kind kind;
    enum object_state state;
    char *name;                  /* of a claim: whose it is; of a backend without one: "" */
    bool kept;                   /* control refers to it: else it goes with its last user */
    char *type;                  /* a node's driver, an export's protocol, what a job does */
    char *uri;                   /* an export's; of a device, its path, or null */
    const struct driver *driver; /* a node's; null when there is no such */
    actor_addr address;          /* 0 before it is spawned, and for claims */
    uint64_t id;                 /* never used again */
    uint32_t references;         /* that a claim stands for */
    uint64_t met;                /* bits of walks that have met a node: see graph_walk.c */
    actor_addr owner;            /* of a claim: who is told of what happens to its backend */
    bool embedded;               /* a device that is a program's: it has no actor */
    uint32_t block_size;         /* a device's, bytes */
    struct swap *swap;           /* of a backend's medium, under way; see graph_change.c */
    unsigned reactor, home;      /* where it is; where a node is when no backend has it */
    bool may_move;               /* a device that follows its backend to another reactor */
    struct move *move;           /* that it is part of, or that a claim was told of, */
    unsigned came_from;          /* and where it was before */
    bool evicted;                /* its medium is to go */
    struct object *aside;        /* the medium that has gone */
    bool read_only;              /* a backend that refuses changes whatever its node allows */
    struct standing standing;
    struct standing was;         /* the other standing of its last change: until it, or refused */
    struct ticket leaver;        /* of who left it last, while it was changing */
    struct object *above;        /* is made together with it, and comes next */
    struct driver_perms total;   /* what its users have and share together */
    struct driver_perms granted; /* what a backend was told that it has */
    struct driver_perms shown;   /* of a node: the total that is seen, and was told by an event, */
    bool passing;                /* which a claim like this is left out of */
    struct driver_perms next[EDGES], total_next; /* while a change is tried */
    bool inactive, inactive_next;                /* a node that has released what it stands on */
    bool above_next, active_next;                /* backends are above it; one of them is active */
    bool allow_inactivate;                       /* a backend, in any case */
    bool waits_for_leaving;                      /* a backend that is added amid that */
    bool turned;                                 /* by the round */
    struct activity_round *round;                /* that changes its activity */
    struct drained *drained;                     /* regions that it was told of; of those who can be
                                                    drained */
    struct let *lets;                            /* users that a node lets through */
    bool marked;                                 /* see graph_mark_connected() */
    bool committed;                              /* a node: see standing.commits */
    struct commits *commits;                     /* what a job is a part of; or null */
    struct ticket ticket;                        /* of the change under way */
    struct block *blocks;                        /* of a node: see graph_block.c */
    bool resize_blocked;                         /* as a backend was told */
    struct err err;                              /* why it failed */
    void *body;                                  /* to be sent to it when it is spawned */
    struct object *group;                        /* that a node or backend is a member of, or that a
                                                    group is in; or null */
    struct object *leaves;                       /* that it is still in, */
    bool joining;                                /* while it goes from there to `group` */
    struct throttle *throttle;                   /* what a group is; see graph_throttle.c */
    unsigned throughs;                           /* why what waits below it is let through, */
    struct region *through;                      /* and how: see graph_let_through() */
    bool abandoned;                              /* that is why: see graph_look_abandoned() */
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
    bool paused;   /* no backend lets requests go to its medium */
    bool incoming; /* another process owns the images, */
    bool leaving;  /* and they are being taken over */
    struct activity_round *rounds;
    uint64_t deadline;
    struct ticket *ender; /* who wait for the end */
    size_t enders;
    struct kept *kept; /* see graph_keep() */
    struct timer again;
    uint64_t last_id, last_region, last_commit;
    struct region *regions;
    size_t drain_ends;  /* nodes that have yet to hear that a region is over */
    struct move *moves; /* that wait, or are under way */
    bool settling;
    struct eviction *evictions;            /* those who wait until all media are gone */
    uint64_t walks;                        /* over root nodes, that have begun */
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

/* By name; nothing is found by an empty one. */
struct object *graph_find(const struct graph *graph, enum object_kind kind, const char *name);
struct object *graph_find_id(const struct graph *graph, enum object_kind kind, uint64_t id);
/* The object with this name, when it can be used; else null, and `err` names `field`. */
struct object *graph_ready(const struct graph *graph, enum object_kind kind, const char *name,
                           const char *field, struct err *err);
/* Refuses an object that can't be used now. */
int graph_check_ready(const struct object *object, const char *field, struct err *err);
/* The same, also while its medium or its reactor changes. */
struct object *graph_there(const struct graph *graph, enum object_kind kind, const char *name,
                           const char *field, struct err *err);
/* The one with this address, of those that have an actor; or null. */
struct object *graph_by_address(const struct graph *graph, actor_addr address);
/* What a sentence calls it: of a backend without a name, its device's id, else "a block device". */
const char *graph_name(const struct object *object);
/* The next one that stands on `object`, or is about to, after `*kind` and `*i`; they start at 0. */
struct object *graph_next_user(const struct object *object, unsigned *kind, size_t *i);
struct object *graph_first_user(const struct object *object);
struct object *graph_object_add(struct graph *graph, enum object_kind kind, const char *name);
void graph_object_drop(struct object *object);
/* Refuses a name for a new object, or for a backend that had none, that is not well-formed, or is
 * taken. */
int graph_check_name(const struct graph *graph, enum object_kind kind, const char *name,
                     struct err *err);
/* Tells of an object that is seen from now on, or no longer. */
void graph_emit_object(const struct object *object, bool added);
unsigned graph_emptiest(const struct graph *graph);
void graph_object_free(struct object *object);

/* These check, begin, and answer `ticket` when it is done; or refuse at once, unanswered. */
int graph_remove(struct graph *graph, enum object_kind kind, const char *name, struct ticket ticket,
                 struct err *err);
/* Makes its actor, when it can have `standing`; takes over `body`, which opens it. */
void graph_begin_add(struct object *object, struct standing standing, void *body);
/* The engine is no longer about to leave incoming: makes the backends that waited for that. */
void graph_add_waiting(struct graph *graph);
/* Of one that nothing uses. */
void graph_close_object(struct object *object, struct ticket ticket);

/* --- graph_keep.c: what one has to know when an answer comes, if it comes */

/* Memory like that of mem_new(), which the graph frees when it ends; `fini` (may be null) frees
 * what is in it. */
void *graph_keep(struct graph *graph, size_t size, void (*fini)(void *kept));
#define GRAPH_KEEP(graph, type, fini) ((type *)graph_keep(graph, sizeof(type), fini))
void graph_unkeep(void *data);
void graph_keep_fini(struct graph *graph);

/* --- graph_export.c */

int graph_export_add(struct graph *graph, const Sluice__ExportAdd *spec, struct ticket ticket,
                     struct err *err);
/* Its own backend is there. */
void graph_export_proceed(struct object *export, struct object *backend);

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
/* A backend gets quiet by itself: what waits there, or in nodes below it, for a limit's sake goes
 * on at once, until that ends. They count. */
void graph_let_through(struct object *backend);
void graph_let_through_end(struct object *backend);
/* Objects stand elsewhere now. */
void graph_drain_sync(struct graph *graph);
/* Sets `marked` of all nodes and backends that are connected with the object, and of no other. */
void graph_mark_connected(const struct object *object);
void graph_drain_free(struct graph *graph);
void graph_drain_forget(struct object *object); /* it ends */
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

/* --- graph_add.c: these answer `ticket` when it is done, or refuse at once */

int graph_node_add(struct graph *graph, const Sluice__NodeAdd *spec, struct ticket ticket,
                   struct err *err);
int graph_backend_add(struct graph *graph, const Sluice__BackendAdd *spec, struct ticket ticket,
                      struct err *err);
/* A backend that may have no name, and its node, if `spec` describes one. `above` is made next, and
 * has the ticket then. */
int graph_backend_make(struct graph *graph, const Sluice__BackendAdd *spec, struct object *above,
                       struct ticket ticket, struct err *err);
/* Makes the actor of such a backend, on this node (may be null). */
void graph_place_backend(struct object *backend, struct object *node);

/* --- graph_life.c */

/* The device that is attached to a backend, or null. */
const struct object *graph_device(const struct object *backend);

/* How many refer to a backend: its name, each device, and each claim as often as it says. */
uint32_t graph_references(const struct object *backend);
/* Begins the end of a node or backend to which nobody refers any more, and returns true: `ticket`
 * is answered when it is gone, with `why` if that is not null. Null, and others, stay: false. */
bool graph_let_go(struct object *object, struct ticket ticket, const struct err *why);
/* The same of all that could not end at the time, because a change of them was under way. */
void graph_sweep(struct graph *graph);
/* The same of those that an object stood on before its last change, or would have. */
bool graph_let_go_below(struct object *object, struct ticket ticket, const struct err *why);
/* Tells who waits for an object and those that are made on top of it that it has failed with
 * object->err, and drops them all. What it stood on is given up. */
void graph_fail(struct object *object);
/* What is made on top of an object comes next, if anything does: true. */
bool graph_go_on(struct object *object);
/* All who refer to the backend are about to let go of it, or the engine ends, or no longer, maybe:
 * then limits don't hold up what it still has to do. */
void graph_look_abandoned(struct object *backend);
void graph_on_claim_refs(struct actor *self, struct mail *mail);
void graph_on_backend_name(struct actor *self, struct mail *mail);

/* --- graph_walk.c */

void graph_on_look_up(struct actor *self, struct mail *mail);
/* The next node of the walk over root nodes, or null. All zeroes at first; one that goes on when
 * others have done something has a number. */
struct graph_walk {
    uint64_t after, phase, number;
};
struct object *graph_next_root(const struct graph *graph, struct graph_walk *walk);
bool graph_has_backend(const struct object *node);
/* Whether nothing but backends stands on it. */
bool graph_is_root(const struct object *node);
/* --- graph_block.c; `ops` are bits of Sluice__OpBlock__Operation */

#define BLOCKS    17
#define BLOCK_ALL ((1U << BLOCKS) - 1)

/* What a filter filters; null for a node that is none. */
struct object *graph_filtered(const struct object *node);
/* Refuses, with the reason, what is blocked on the node, or on the backend's medium, or below
 * filters there. */
int graph_blocked(const struct object *object, Sluice__OpBlock__Operation op, struct err *err);
int graph_blocked_any(const struct object *object, unsigned ops, struct err *err);
/* The same, of removing it. */
int graph_blocked_removal(const struct object *object, struct err *err);
/* To be followed by graph_block_sync(). A job is the owner of what it has blocked, and takes back
 * all of that. */
void graph_block(struct object *node, unsigned ops, const struct object *owner, const char *reason);
void graph_unblock(struct object *node, const struct object *owner);
/* Backends have other media now, or something has been blocked or unblocked. */
void graph_block_sync(struct graph *graph);
/* The same; `then` runs when no backend does what is blocked any more, maybe at once. */
void graph_block_await(struct object *object, void (*then)(struct object *object));
void graph_block_free(struct object *object);
int graph_op_block(struct graph *graph, const Sluice__OpBlock *request, bool block,
                   struct ticket ticket, struct err *err);
void graph_on_blockers(struct actor *self, struct mail *mail);
void graph_show_blocked(const struct object *node, Sluice__NodeInfo *info);

/* --- graph_job.c: these answer `ticket` when it is done, or refuse at once */

int graph_commit(struct graph *graph, const Sluice__Commit *spec, struct ticket ticket,
                 struct err *err);
void graph_commit_all(struct graph *graph, struct ticket ticket);
/* The job could not be added; `err` tells why. */
void graph_job_failed(struct object *job);
void graph_on_job_ended(struct actor *self, struct mail *mail);
void graph_on_io_status_reset(struct actor *self, struct mail *mail);
int graph_job_set(struct graph *graph, const Sluice__JobSet *set, struct ticket ticket,
                  struct err *err);
int graph_job_cancel(struct graph *graph, const Sluice__JobCancel *cancel, struct ticket ticket,
                     struct err *err);
int graph_job_pause(struct graph *graph, const char *name, bool on, struct ticket ticket,
                    struct err *err);
void graph_show_job(const struct object *job, Sluice__JobInfo *info);

/* --- graph_throttle.c: these answer `ticket` when it is done, or refuse at once */

/* What a throttle group has beside what all objects have. Its address is that of the root of the
 * tree that it is in. */
struct throttle {
    struct limits limits;
    bool temporary;           /* it goes with its last member */
    struct enabler *enablers; /* who wait for it, or for its end; see graph_member.c */
};

int graph_throttle_add(struct graph *graph, const Sluice__ThrottleGroupAdd *spec,
                       struct ticket ticket, struct err *err);
int graph_throttle_set(struct graph *graph, const Sluice__ThrottleGroupSet *set,
                       struct ticket ticket, struct err *err);
/* Other limits, which have been checked. */
void graph_throttle_limit(struct object *group, const struct limits *limits, struct ticket ticket);
int graph_throttle_remove(struct graph *graph, const char *name, struct ticket ticket,
                          struct err *err);
/* A temporary one, for those who wait for it; its name has been checked. */
void graph_throttle_make(struct graph *graph, const char *name, struct enabler *enablers);
/* Whether anything but this is in the group. */
bool graph_throttle_has_others(const struct object *group, const struct object *member);
/* Something that was in the group is no longer. Null: nothing. */
void graph_throttle_left(struct object *group);
/* While ending: closes those that nothing is in any more; returns how many there are. */
size_t graph_throttle_step_end(struct graph *graph);
void *graph_throttle_event(const struct object *group);
/* What the group's actor has told of it, with the names that its members have now. Frees the rest.
 */
void *graph_take_throttle(const struct graph *graph, void *described);
void graph_show_throttle(const struct object *group, Sluice__ThrottleInfo *info);

/* --- graph_member.c */

/* The group that a new member is to be in; null for none, when `name` is null or empty. */
int graph_find_group(const struct graph *graph, const char *name, const char *field,
                     struct object **group, struct err *err);
/* The name of the group, among a driver's options; null when they have none, or the driver knows no
 * such option. */
const char *graph_group_option(const struct driver *driver, Sluice__Option **options, size_t n);
/* Where a group is, for a member that is opened, or told to join; null stands for none. */
Sluice__ThrottleJoin *graph_join_mail(const struct object *group);
/* The member is to be in the group that is called `name`, "" for none: 1; it is already: 0; or it
 * is refused. What has begun goes on when the member is told, or is undone. */
int graph_join_begin(struct object *member, const char *name, const char *field, struct err *err);
void graph_join_go(struct object *member, struct ticket ticket);
void graph_join_undo(struct object *member);
/* The group is ready: lets those join who waited for that; or it will not be. */
void graph_enablers_go(struct object *group);
void graph_enablers_refuse(struct object *group, const struct err *err);
/* Frees what a throttle group has beside. */
void graph_throttle_free(struct object *object);
void graph_on_claim_throttle(struct actor *self, struct mail *mail);

/* --- graph_claim.c */

/* The claim with this number that can be changed, or null. */
struct object *graph_find_claim(const struct graph *graph, uint64_t id);
/* Gives a new claim what it wants of the backend. */
void graph_claim_go(struct object *claim, struct object *backend);

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
void graph_on_claim_pause(struct actor *self, struct mail *mail);
/* All backends. `backend` is the one whose error it was, or null. */
void graph_pause(struct graph *graph, const char *backend, const char *reason,
                 struct ticket ticket);
void graph_resume(struct graph *graph, struct ticket ticket);
/* Its two halves: the run state, and the backends' pauses, which answers. */
void graph_set_running(struct graph *graph);
void graph_run_backends(struct graph *graph, struct ticket ticket);

/* --- graph_active.c */

/* What a new node or backend begins as; `body` is what it is opened with. */
void graph_active_init(struct object *object, struct standing *standing, void *body);
/* This backend, or all for null. Answers `ticket` when it is done, or refuses at once. */
int graph_activate(struct graph *graph, const char *backend, bool active, struct ticket ticket,
                   struct err *err);
/* Activates all, ends incoming, and resumes. */
int graph_leave_incoming(struct graph *graph, struct ticket ticket, struct err *err);
void graph_active_fini(struct graph *graph);
void graph_on_claim_activity(struct actor *self, struct mail *mail);

/* Asks the object, and passes its answer on; takes over `body`, also when it refuses. */
int graph_pass_on(struct graph *graph, enum object_kind kind, const char *name, unsigned mail,
                  void *body, struct ticket ticket, struct err *err);

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
void graph_on_claim_medium(struct actor *self, struct mail *mail);
void graph_medium_remove_all(struct graph *graph, struct ticket ticket);
/* Goes on with that; to be called when something has settled. */
void graph_evict(struct graph *graph);
/* Forgets those who wait for it, and may tell them so. */
void graph_evictions_free(struct graph *graph, bool refuse);

/* --- graph_invalidate.c: answers `ticket` when it is done, or refuses at once */

int graph_invalidate(struct graph *graph, const char *name, struct ticket ticket, struct err *err);
void graph_on_claim_invalidate(struct actor *self, struct mail *mail);

/* --- graph_show.c: these answer `ticket`, or refuse at once */

/* `wide`: all nodes, not only roots; all backends, not only those with a name. */
void graph_list(struct graph *graph, enum object_kind kind, bool wide, struct ticket ticket);
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
