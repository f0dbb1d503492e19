/* graph_add.c — nodes and backends are added: alone, or a backend together with its node. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/mem.h"
#include "proto/reflect.h"

#define BACKEND_REQUESTS 65536
#define BACKEND_BYTES    (UINT64_C(4) << 30) /* so that NBD connections by the hundred have theirs */
#define READ_ONLY        "read-only"         /* what drivers call it */

/* --- Nodes */

static int find_children(struct graph *graph, const Sluice__NodeAdd *spec, struct object **to,
                         struct err *err)
{
    if (spec->child && !(to[EDGE_CHILD] = graph_ready(graph, NODE, spec->child, "child", err)))
        return err->code;
    if (spec->backing &&
        !(to[EDGE_BACKING] = graph_ready(graph, NODE, spec->backing, "backing", err)))
        return err->code;
    return spec->backing ? graph_blocked(to[EDGE_BACKING],
                                         SLUICE__OP_BLOCK__OPERATION__EXTERNAL_SNAPSHOT, err)
                         : 0;
}

static int check_reactor(const struct graph *graph, const Sluice__NodeAdd *spec, struct err *err)
{
    if (!spec->has_reactor || spec->reactor < graph_threads(graph))
        return 0;
    return err_field(err, "reactor", -EINVAL,
                     "node '%s' can't live on reactor %u: the reactors are 0 to %u", spec->name,
                     spec->reactor, graph_threads(graph) - 1);
}

/* A driver that throttles is always in a group. */
static int find_group(const struct graph *graph, const Sluice__NodeAdd *spec, struct object **group,
                      struct err *err)
{
    const char *name =
        graph_group_option(driver_find(spec->driver), spec->options, spec->n_options);
    if (name && !*name)
        return err_field(err, "throttle-group", -EINVAL,
                         "node '%s' is to be in no throttle group, but a node that throttles is in "
                         "one; name it",
                         spec->name);
    return graph_find_group(graph, name, "throttle-group", group, err);
}

/* Takes over `spec`. Whoever asked is told by then that it failed, if it does so at once. */
static void begin_node(struct graph *graph, Sluice__NodeAdd *spec, struct standing standing,
                       struct object *group, struct object *above, struct ticket ticket)
{
    const struct object *child = standing.to[EDGE_CHILD];
    unsigned reactor = spec->has_reactor ? spec->reactor
                       : child           ? child->reactor
                                         : graph_emptiest(graph);
    struct object *object = graph_object_add(graph, NODE, spec->name);
    object->type = mem_string(spec->driver);
    object->driver = driver_find(spec->driver);
    object->reactor = object->home = reactor;
    object->above = above;
    object->kept = !above;
    object->ticket = ticket;
    object->group = group;
    Sluice__NodeOpen *open = MAIL_NEW(sluice__node_open);
    open->spec = spec;
    if (group)
        open->throttle = graph_join_mail(group);
    if (child) {
        open->has_child = true;
        open->child = child->address;
    }
    if (standing.to[EDGE_BACKING]) {
        open->has_backing = true;
        open->backing = standing.to[EDGE_BACKING]->address;
    }
    graph_begin_add(object, standing, open);
}

int graph_node_add(struct graph *graph, const Sluice__NodeAdd *spec, struct ticket ticket,
                   struct err *err)
{
    struct standing standing = {0};
    struct object *group = NULL;
    if (graph_check_name(graph, NODE, spec->name, err) < 0 ||
        find_children(graph, spec, standing.to, err) < 0 || check_reactor(graph, spec, err) < 0 ||
        find_group(graph, spec, &group, err) < 0)
        return err->code;
    begin_node(graph, mail_copy(spec), standing, group, NULL, ticket);
    return 0;
}

/* --- Backends */

static bool knows(const struct driver *driver, const char *key)
{
    const struct option *option = driver ? driver->options : NULL;
    while (option && option->name && strcmp(option->name, key) != 0)
        option++;
    return option && option->name;
}

static bool is_given(const Sluice__NodeAdd *node, const char *key)
{
    for (size_t i = 0; i < node->n_options; i++)
        if (reflect_same_name(node->options[i]->key, key))
            return true;
    return false;
}

/* The node that a backend's request describes, so that both are made in one step. Its name is one
 * that nobody can choose. What is only read from is opened for reading. */
static Sluice__NodeAdd *own_node(const struct graph *graph, const Sluice__BackendAdd *spec)
{
    char name[32];
    Sluice__NodeAdd *node = MAIL_NEW(sluice__node_add);
    snprintf(name, sizeof name, "#node%llu", (unsigned long long)graph->last_id + 1);
    mail_set(&node->name, name);
    mail_set(&node->driver, spec->driver);
    if (spec->child)
        mail_set(&node->child, spec->child);
    if (spec->backing)
        mail_set(&node->backing, spec->backing);
    node->has_reactor = spec->has_reactor;
    node->reactor = spec->reactor;
    node->options = mem_new((spec->n_options + 1) * sizeof *node->options);
    for (; node->n_options < spec->n_options; node->n_options++)
        node->options[node->n_options] = mail_copy(spec->options[node->n_options]);
    if (spec->read_only && knows(driver_find(spec->driver), READ_ONLY) &&
        !is_given(node, READ_ONLY)) {
        Sluice__Option *option = MAIL_NEW(sluice__option);
        mail_set(&option->key, READ_ONLY);
        mail_set(&option->value, "on");
        node->options[node->n_options++] = option;
    }
    return node;
}

static int check_medium(const Sluice__BackendAdd *spec, struct err *err)
{
    if (spec->driver && spec->node)
        return err_field(err, "node", -EINVAL,
                         "a backend has one medium, but both node=%.60s and driver=%.60s were "
                         "given; leave one out",
                         spec->node, spec->driver);
    if (spec->driver)
        return 0;
    if (spec->n_options)
        return err_field(err, spec->options[0]->key, -EINVAL,
                         "'%.60s' is nothing that a backend has; if it is an option of a driver, "
                         "name that with driver= too",
                         spec->options[0]->key);
    if (spec->child || spec->backing || spec->has_reactor)
        return err_field(err, "driver", -EINVAL,
                         "child, backing and reactor tell of a node that is made with the "
                         "backend; name its driver= too");
    return 0;
}

/* Takes over `spec`, which names no medium that is still to be made. */
static struct object *new_backend(struct graph *graph, Sluice__BackendAdd *spec,
                                  struct object *above, const struct object *node)
{
    struct object *object = graph_object_add(graph, BACKEND, spec->name);
    object->reactor = node ? node->reactor : graph_emptiest(graph);
    object->read_only = spec->read_only;
    object->above = above;
    Sluice__BackendOpen *open = MAIL_NEW(sluice__backend_open);
    open->spec = spec;
    open->limit = BACKEND_REQUESTS;
    open->limit_bytes = BACKEND_BYTES;
    object->body = open;
    return object;
}

void graph_place_backend(struct object *backend, struct object *node)
{
    Sluice__BackendOpen *open = backend->body;
    if (backend->group)
        open->throttle = graph_join_mail(backend->group);
    if (node) {
        open->has_node = true;
        open->node = node->address;
        if (!open->spec->node)
            mail_set(&open->spec->node, node->name);
        backend->reactor = node->reactor;
    }
    graph_begin_add(backend, (struct standing){.to = {node}}, open);
}

int graph_backend_make(struct graph *graph, const Sluice__BackendAdd *spec, struct object *above,
                       struct ticket ticket, struct err *err)
{
    struct object *node = NULL, *backend, *group = NULL, *node_group = NULL;
    struct standing standing = {0};
    if (check_medium(spec, err) < 0 ||
        graph_find_group(graph, spec->throttle, "throttle", &group, err) < 0 ||
        (spec->node && !(node = graph_ready(graph, NODE, spec->node, "node", err))))
        return err->code;
    Sluice__NodeAdd *own = spec->driver ? own_node(graph, spec) : NULL;
    if (own &&
        (find_children(graph, own, standing.to, err) < 0 || check_reactor(graph, own, err) < 0 ||
         find_group(graph, own, &node_group, err) < 0)) {
        mail_free_body(own);
        return err->code;
    }
    backend = new_backend(graph, mail_copy(spec), above, node);
    backend->ticket = ticket;
    backend->group = group;
    if (own)
        begin_node(graph, own, standing, node_group, backend, (struct ticket){0});
    else
        graph_place_backend(backend, node);
    return 0;
}

int graph_backend_add(struct graph *graph, const Sluice__BackendAdd *spec, struct ticket ticket,
                      struct err *err)
{
    if (graph_check_name(graph, BACKEND, spec->name, err) < 0)
        return err->code;
    return graph_backend_make(graph, spec, NULL, ticket, err);
}
