/* graph_impl.h — what the graph knows, for its three sources: graph.c (requests and the end),
 * graph_objects.c (the tables; adding and removing) and graph_show.c (lists, descriptions, status).
 */
#ifndef SLUICE_GRAPH_IMPL_H
#define SLUICE_GRAPH_IMPL_H

#include "actors/graph.h"

#include "actors/kinds.h"
#include "engine/timer.h"

enum object_kind { NODE, BACKEND, EXPORT, OBJECT_KINDS };
/* READY, CHANGING and CLOSING objects are seen from outside: between their two events. CHANGING is
 * a backend whose medium comes or goes. */
enum object_state { OPENING, FAILED, READY, CHANGING, CLOSING };

/* The kinds, for sentences. */
extern const char *const graph_words[OBJECT_KINDS];

struct graph;
struct object {
    struct graph *graph;
    enum object_kind kind;
    enum object_state state;
    char *name;
    char *type; /* a node's driver, an export's protocol */
    char *uri;  /* an export's */
    actor_addr address;
    unsigned reactor;
    struct object *below; /* child, medium, or what is exported */
    struct ticket ticket; /* of the change under way */
    struct err err;       /* why it failed */
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
    uint64_t changes; /* events that were told */
    size_t gathers;
    bool ending, aborted;
    bool paused; /* no backend lets requests go to its medium */
    uint64_t deadline;
    struct ticket ender;
    struct timer again;
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
/* The next one that stands on `object`, after `*kind` and `*i`; they start at 0. */
struct object *graph_next_user(const struct object *object, unsigned *kind, size_t *i);
struct object *graph_first_user(const struct object *object);
void graph_object_free(struct object *object);

/* These check, begin, and answer `ticket` when it is done; or refuse at once, unanswered. */
int graph_node_add(struct graph *graph, const Sluice__NodeAdd *spec, struct ticket ticket,
                   struct err *err);
int graph_backend_add(struct graph *graph, const Sluice__BackendAdd *spec, struct ticket ticket,
                      struct err *err);
int graph_export_add(struct graph *graph, const Sluice__ExportAdd *spec, struct ticket ticket,
                     struct err *err);
int graph_remove(struct graph *graph, enum object_kind kind, const char *name, struct ticket ticket,
                 struct err *err);
/* Of one that nothing uses. */
void graph_close_object(struct object *object, struct ticket ticket);

/* --- graph_run.c: these answer `ticket` when it is done, or refuse at once */

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

/* --- graph_show.c: these answer `ticket`, or refuse at once */

void graph_list(struct graph *graph, enum object_kind kind, struct ticket ticket);
int graph_show(struct graph *graph, enum object_kind kind, const char *name, struct ticket ticket,
               struct err *err);
void graph_status(struct graph *graph, struct ticket ticket);

/* --- graph.c */

/* Tells an event; takes it over. */
void graph_emit(struct graph *graph, Sluice__Emit *emit);

/* While ending: closes what nothing uses any more, and ends when nothing is left. To be called
 * whenever something has gone, or has become ready. */
void graph_step_end(struct graph *graph);

#endif
