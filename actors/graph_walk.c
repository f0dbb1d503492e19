/* graph_walk.c — walks over backends and root nodes, and look-ups.
 *
 * A walk is the number of the object where it is: it holds nothing, and when that object goes, the
 * next one is still the next one. */
#include "actors/graph_impl.h"

#include <string.h>

/* --- Nodes and their backends */

static struct object *first_backend(const struct object *node)
{
    const struct table *backends = &node->graph->tables[BACKEND];
    for (size_t i = 0; i < backends->n; i++)
        if (backends->all[i]->standing.to[0] == node && backends->all[i]->state >= READY)
            return backends->all[i];
    return NULL;
}

bool graph_has_backend(const struct object *node)
{
    return first_backend(node) != NULL;
}

bool graph_is_root(const struct object *node)
{
    unsigned kind = 0;
    size_t i = 0;
    const struct object *user;
    while ((user = graph_next_user(node, &kind, &i)))
        if (user->kind != BACKEND)
            return false;
    return true;
}

/* --- Walks */

enum phase { HELD_BY_BACKENDS, HELD_BY_CONTROL };

/* Backends come to nodes and leave them while a walk is under way: where it is does not tell what
 * it has met. So each node has a bit for it, as long as so many walks have not begun after it. */
#define WALKS 64

static bool has_bit(const struct graph *graph, const struct graph_walk *walk)
{
    return walk->number && graph->walks - walk->number < WALKS;
}

static uint64_t bit(const struct graph_walk *walk)
{
    return UINT64_C(1) << walk->number % WALKS;
}

static void begin_walk(struct graph *graph, struct graph_walk *walk)
{
    const struct table *nodes = &graph->tables[NODE];
    walk->number = ++graph->walks;
    for (size_t i = 0; i < nodes->n; i++)
        nodes->all[i]->met &= ~bit(walk);
}

static bool is_next(const struct object *node, const struct graph_walk *walk)
{
    bool held = graph_has_backend(node);
    if (node->state < READY || node->id <= walk->after)
        return false;
    if (!has_bit(node->graph, walk))
        return walk->phase == HELD_BY_BACKENDS ? held : node->kept && !held;
    return !(node->met & bit(walk)) && (held || (node->kept && walk->phase == HELD_BY_CONTROL));
}

struct object *graph_next_root(const struct graph *graph, struct graph_walk *walk)
{
    const struct table *nodes = &graph->tables[NODE];
    for (; walk->phase <= HELD_BY_CONTROL; walk->phase++, walk->after = 0)
        for (size_t i = 0; i < nodes->n; i++)
            if (is_next(nodes->all[i], walk)) {
                walk->after = nodes->all[i]->id;
                if (has_bit(graph, walk))
                    nodes->all[i]->met |= bit(walk);
                return nodes->all[i];
            }
    return NULL;
}

static struct object *next_backend(const struct graph *graph, uint64_t after, bool named)
{
    const struct table *backends = &graph->tables[BACKEND];
    for (size_t i = 0; i < backends->n; i++) {
        struct object *backend = backends->all[i];
        if (backend->id > after && backend->state >= READY && (*backend->name || !named))
            return backend;
    }
    return NULL;
}

/* --- Look-ups */

/* The backend that has this device: by its id, which is one device's only, or by the path of one
 * that has none. */
static struct object *by_device(const struct graph *graph, const char *name)
{
    const struct table *backends = &graph->tables[BACKEND];
    struct object *by_path = NULL;
    for (size_t i = 0; *name && i < backends->n; i++) {
        const struct object *device = graph_device(backends->all[i]);
        if (!device || strcmp(graph_name(device), name) != 0)
            continue;
        if (*device->name)
            return backends->all[i];
        by_path = by_path ? by_path : backends->all[i];
    }
    return by_path;
}

static struct object *by_node(const struct graph *graph, const char *name)
{
    const struct object *node = graph_find(graph, NODE, name);
    return node ? first_backend(node) : NULL;
}

static struct object *look_up(struct graph *graph, const Sluice__LookUp *look,
                              struct graph_walk *walk)
{
    switch (look->by) {
    case SLUICE__LOOK_UP__BY__NEXT_ROOT:
        if (!walk->number)
            begin_walk(graph, walk);
        return graph_next_root(graph, walk);
    case SLUICE__LOOK_UP__BY__NAME:
        return graph_find(graph, BACKEND, look->name);
    case SLUICE__LOOK_UP__BY__DEVICE:
        return by_device(graph, look->name);
    case SLUICE__LOOK_UP__BY__NODE:
        return by_node(graph, look->name);
    case SLUICE__LOOK_UP__BY__ID:
        return graph_find_id(graph, BACKEND, look->after);
    case SLUICE__LOOK_UP__BY__NODE_NAME:
        return graph_find(graph, NODE, look->name);
    default:
        return next_backend(graph, look->after, look->by == SLUICE__LOOK_UP__BY__NEXT_NAMED);
    }
}

static void tell(const struct object *object, Sluice__Found *found)
{
    found->id = object->id;
    mail_set(&found->name, object->name);
    if (object->kind == NODE) {
        found->has_has_backend = found->has_is_root = true;
        found->has_backend = graph_has_backend(object);
        found->is_root = graph_is_root(object);
        return;
    }
    const struct object *node = object->standing.to[0], *device = graph_device(object);
    mail_set(&found->description, graph_name(object));
    mail_set(&found->node, node ? node->name : "");
    mail_set(&found->device, device ? graph_name(device) : "");
    found->has_references = true;
    found->references = graph_references(object);
}

void graph_on_look_up(struct actor *self, struct mail *mail)
{
    const Sluice__LookUp *look = (const Sluice__LookUp *)mail->body;
    struct graph_walk walk = {look->after, look->phase, look->walk};
    const struct object *object = look_up(actor_state(self), look, &walk);
    Sluice__Found *found = MAIL_NEW(sluice__found);
    if (object && object->state >= READY)
        tell(object, found);
    found->has_phase = found->has_walk = true;
    found->phase = walk.phase;
    found->walk = walk.number;
    actor_reply(self, mail_ticket(mail), MAIL_FOUND, found);
}
