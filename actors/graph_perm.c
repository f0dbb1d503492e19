/* graph_perm.c — changes of edges and permissions, as transactions.
 *
 * A change gives one object another standing: other objects to stand on, other permissions that it
 * wants there. It is tried on the graph's tables first: from the users down to the lowest nodes,
 * what everyone needs of what it stands on is worked out anew, so that what a change replaces is
 * never in its own way. Where two then don't get along, it is refused. Else the nodes whose users
 * have more, or share less, are asked to prepare; when all agree it is committed, everywhere, and
 * when one refuses or fails it is aborted, everywhere. Changes run one after the other. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/emit.h"
#include "engine/mem.h"

static const struct driver_perms nothing = {0, PERM_ALL};

/* --- On the tables */

static struct driver_perms add(struct driver_perms a, struct driver_perms b)
{
    return (struct driver_perms){a.perm | b.perm, a.shared & b.shared};
}

static struct driver_perms node_needs(const struct object *node, enum driver_edge edge)
{
    struct driver_perms needs = node->driver && node->driver->needs
                                    ? node->driver->needs(edge, node->total_next)
                                    : node->total_next;
    if (edge == EDGE_BACKING && node->committed)
        needs.shared = PERM_ALL;
    return needs;
}

static struct driver_perms needs(const struct object *object, enum driver_edge edge)
{
    switch (object->kind) {
    case NODE:
        return object->inactive_next ? nothing : node_needs(object, edge);
    case BACKEND:
        /* A medium that is replaced is not used, but has to stay until it is. */
        if (object->standing.activity == INACTIVE || edge != EDGE_CHILD)
            return nothing;
        return (struct driver_perms){object->total_next.perm, object->standing.activity == SHARING
                                                                  ? PERM_ALL
                                                                  : object->total_next.shared};
    default:
        return object->standing.wants[edge];
    }
}

/* A node is inactive when backends are above it and all of them are. One that loses its last
 * backend stays what it is. A job that works there itself is active. */
static void work_out_activity(const struct object *object, struct object *to)
{
    bool node = object->kind == NODE;
    to->above_next |= !node || object->above_next;
    to->active_next |= node ? object->active_next : object->standing.activity != INACTIVE;
}

/* Without those who pass, it is as if these had not come. */
static void work_out(struct object *object, bool with_passing)
{
    if (object->standing.commits)
        object->standing.to[0]->committed = true;
    object->inactive_next = object->above_next ? !object->active_next : object->inactive;
    for (int i = 0; i < EDGES; i++) {
        struct object *to = object->standing.to[i];
        bool counts = to && (with_passing || !object->passing);
        object->next[i] = counts ? needs(object, (enum driver_edge)i) : nothing;
        if (!counts)
            continue;
        to->total_next = add(to->total_next, object->next[i]);
        work_out_activity(object, to);
    }
}

/* Users before what they use: a node is added after those that it stands on, so later ones come
 * first. */
static void work_out_all(struct graph *graph, bool with_passing)
{
    for (unsigned kind = 0; kind < OBJECT_KINDS; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++) {
            struct object *object = graph->tables[kind].all[i];
            object->total_next = nothing;
            object->committed = false;
            object->above_next = object->active_next = false;
        }
    for (unsigned kind = OBJECT_KINDS; kind-- > 0;)
        for (size_t i = graph->tables[kind].n; i-- > 0;)
            work_out(graph->tables[kind].all[i], with_passing);
}

/* --- Conflicts */

/* What `object` needs of `to`, if it stands on it; several edges together. */
static struct driver_perms part(const struct object *object, const struct object *to)
{
    struct driver_perms sum = nothing;
    for (int i = 0; i < EDGES; i++)
        if (object->standing.to[i] == to)
            sum = add(sum, object->next[i]);
    return sum;
}

/* "backend 'b', for export 'e'": with the user that brings what is in the way, if it is above. */
static const char *side(const struct object *object, unsigned perm, unsigned unshared, char *out,
                        size_t size)
{
    unsigned kind = 0;
    size_t i = 0;
    const struct object *user;
    snprintf(out, size, "%s '%s'", graph_words[object->kind], graph_name(object));
    while (object->kind == BACKEND && (user = graph_next_user(object, &kind, &i))) {
        struct driver_perms brings = part(user, object);
        if (brings.perm & perm || ~brings.shared & unshared) {
            size_t used = strlen(out); /* which is what fits */
            snprintf(out + used, size - used, ", for %s '%s'", graph_words[user->kind],
                     graph_name(user));
            break;
        }
    }
    return out;
}

static int refuse(const struct object *node, const struct object *a, const struct object *b,
                  unsigned perm, struct err *err)
{
    char wants[300], has[300];
    perm &= -perm; /* the lowest one stands for all */
    return err_set(
        err, -EPERM,
        "%s needs '%s' on node '%s', which %s does not share; end one of them, or let it "
        "share that",
        side(a, perm, 0, wants, sizeof wants), driver_perm_names[__builtin_ctz(perm)], node->name,
        side(b, 0, perm, has, sizeof has));
}

/* Two that stand on the node and don't get along there. */
static int find_conflict(const struct object *node, struct err *err)
{
    const struct object *a, *b;
    unsigned a_kind = 0, b_kind;
    for (size_t i = 0, k; (a = graph_next_user(node, &a_kind, &i));)
        for (b_kind = 0, k = 0; (b = graph_next_user(node, &b_kind, &k));) {
            unsigned perm = part(a, node).perm & ~part(b, node).shared;
            if (a != b && perm)
                return refuse(node, a, b, perm, err);
        }
    return 0;
}

static int check(const struct graph *graph, struct err *err)
{
    const struct table *nodes = &graph->tables[NODE];
    for (size_t i = 0; i < nodes->n; i++) {
        struct driver_perms total = nodes->all[i]->total_next;
        /* Only then can there be two such. */
        if (total.perm & ~total.shared && find_conflict(nodes->all[i], err) < 0)
            return err->code;
    }
    return 0;
}

/* --- On the actors */

static bool has_more(const struct object *object)
{
    return (object->inactive && !object->inactive_next) ||
           object->total_next.perm & ~object->total.perm ||
           object->total.shared & ~object->total_next.shared;
}

static bool differs(const struct object *object)
{
    return object->inactive != object->inactive_next ||
           object->total_next.perm != object->total.perm ||
           object->total_next.shared != object->total.shared;
}

static Sluice__Permissions *message(struct driver_perms perms)
{
    Sluice__Permissions *out = MAIL_NEW(sluice__permissions);
    out->perm = perms.perm;
    out->shared = perms.shared;
    return out;
}

static Sluice__NodePermit *step(const struct object *node, Sluice__NodePermit__Step step)
{
    Sluice__NodePermit *mail = MAIL_NEW(sluice__node_permit);
    mail->step = step;
    mail->permissions = message(node->total_next);
    mail->has_inactive = true;
    mail->inactive = node->inactive_next;
    return mail;
}

static void swap(struct change *change)
{
    struct standing was = change->object->standing;
    change->object->standing = change->standing;
    change->standing = was;
}

static void begin(struct graph *graph);

/* Once all who are concerned know of a change it is seen, and told: at once, so that a snapshot is
 * true at its sequence number. Consoles would drown in the comings and goings of their own
 * requests. */
static void tell_nodes(struct graph *graph)
{
    const struct table *nodes = &graph->tables[NODE];
    work_out_all(graph, false);
    for (size_t i = 0; i < nodes->n; i++) {
        struct object *node = nodes->all[i];
        struct driver_perms now = node->total_next;
        if (node->shown.perm == now.perm && node->shown.shared == now.shared)
            continue;
        node->shown = now;
        Sluice__PermissionEvent *event = MAIL_NEW(sluice__permission_event);
        mail_set(&event->node, node->name);
        graph_perm_names(now.perm, &event->permissions, &event->n_permissions);
        graph_perm_names(now.shared, &event->shares, &event->n_shares);
        graph_emit(graph, emit_make("node", node->name, SLUICE__EVENT__SEVERITY__INFO,
                                    SLUICE__EVENT__BODY_PERMISSION_CHANGED, event));
    }
}

/* The one under way has ended. */
static void end(struct graph *graph, const struct err *err)
{
    struct change *change = graph->changes;
    graph->changes = change->next;
    if (!graph->changes)
        graph->last_change = &graph->changes;
    graph->changing = false;
    change->object->was = change->standing;
    tell_nodes(graph);
    change->then(change->object, err);
    free(change);
    begin(graph);
    graph_settled(graph);
}

static void told(struct actor *self, struct mail *reply, void *arg)
{
    struct graph *graph = arg;
    (void)self;
    (void)reply; /* one that is gone needs no permissions */
    if (!--graph->change_waits)
        end(graph, NULL);
}

static void tell_backend(struct object *backend)
{
    struct graph *graph = backend->graph;
    struct driver_perms had = backend->granted;
    backend->granted = backend->standing.activity == INACTIVE ? nothing : backend->total;
    if (!backend->address ||
        (had.perm == backend->granted.perm && had.shared == backend->granted.shared))
        return;
    Sluice__BackendPermit *mail = MAIL_NEW(sluice__backend_permit);
    mail->permissions = message(backend->granted);
    graph->change_waits++;
    actor_ask(graph->self, backend->address, MAIL_BACKEND_PERMIT, mail, told, graph);
}

/* What a backend's requests may do is known there before anybody is told that it may. */
static void commit_users(struct graph *graph)
{
    graph->change_waits = 1;
    graph_drain_sync(graph);
    graph_block_sync(graph);
    for (unsigned kind = NODE + 1; kind < OBJECT_KINDS; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++) {
            struct object *object = graph->tables[kind].all[i];
            object->total = object->total_next;
            if (kind == BACKEND)
                tell_backend(object);
        }
    if (!--graph->change_waits)
        end(graph, NULL);
}

static void node_told(struct actor *self, struct mail *reply, void *arg)
{
    struct graph *graph = arg;
    (void)self;
    (void)reply;
    if (!--graph->change_waits)
        commit_users(graph);
}

/* Nodes first: they take changes before a backend that was inactive sends any, and have released
 * what they stand on before anybody is told that it is free. */
static void commit(struct graph *graph)
{
    const struct table *nodes = &graph->tables[NODE];
    graph->change_waits = 1;
    graph_drain_sync(graph);
    for (size_t i = 0; i < nodes->n; i++) {
        struct object *node = nodes->all[i];
        bool turns = node->inactive != node->inactive_next;
        if (turns && node->address) {
            graph->change_waits++;
            actor_ask(graph->self, node->address, MAIL_NODE_PERMIT,
                      step(node, SLUICE__NODE_PERMIT__STEP__COMMIT), node_told, graph);
        } else if (differs(node)) {
            actor_tell(graph->self, node->address, MAIL_NODE_PERMIT,
                       step(node, SLUICE__NODE_PERMIT__STEP__COMMIT));
        }
        node->total = node->total_next;
        node->inactive = node->inactive_next;
    }
    if (!--graph->change_waits)
        commit_users(graph);
}

static void abort_change(struct graph *graph)
{
    const struct table *nodes = &graph->tables[NODE];
    for (size_t i = 0; i < nodes->n; i++)
        if (has_more(nodes->all[i]))
            actor_tell(graph->self, nodes->all[i]->address, MAIL_NODE_PERMIT,
                       step(nodes->all[i], SLUICE__NODE_PERMIT__STEP__ABORT));
    swap(graph->changes);
    struct err err = graph->change_err;
    end(graph, &err);
}

static void prepare_end(struct graph *graph)
{
    if (--graph->change_waits)
        return;
    if (graph->change_err.code)
        abort_change(graph);
    else
        commit(graph);
}

static void prepared(struct actor *self, struct mail *reply, void *arg)
{
    struct graph *graph = arg;
    (void)self;
    if (mail_fault(reply) && !graph->change_err.code)
        mail_fault_err(reply, &graph->change_err);
    prepare_end(graph);
}

/* Only what has users can have more, and what has users does not go: all of them stay. */
static void prepare(struct graph *graph)
{
    const struct table *nodes = &graph->tables[NODE];
    graph->change_waits = 1;
    for (size_t i = 0; i < nodes->n; i++) {
        if (!has_more(nodes->all[i]))
            continue;
        graph->change_waits++;
        actor_ask(graph->self, nodes->all[i]->address, MAIL_NODE_PERMIT,
                  step(nodes->all[i], SLUICE__NODE_PERMIT__STEP__PREPARE), prepared, graph);
    }
    prepare_end(graph);
}

/* The next one, if none is under way. */
static void begin(struct graph *graph)
{
    if (graph->changing || !graph->changes)
        return;
    graph->changing = true;
    graph->change_err = (struct err){0};
    swap(graph->changes);
    work_out_all(graph, true);
    if (check(graph, &graph->change_err) == 0) {
        prepare(graph);
        return;
    }
    swap(graph->changes);
    struct err err = graph->change_err;
    end(graph, &err);
}

void graph_change(struct object *object, struct standing standing, change_fn *then)
{
    struct graph *graph = object->graph;
    struct change *change = MEM_NEW(struct change);
    *change = (struct change){.object = object, .standing = standing, .then = then};
    *graph->last_change = change;
    graph->last_change = &change->next;
    begin(graph);
}

/* --- For others to see */

void graph_perm_names(unsigned perms, char ***out, size_t *n)
{
    for (unsigned bit = 0; bit < PERMS; bit++)
        if (perms >> bit & 1) {
            *out = mem_resize(*out, (*n + 1) * sizeof(char *));
            (*out)[*n] = NULL;
            mail_set(&(*out)[(*n)++], driver_perm_names[bit]);
        }
}
