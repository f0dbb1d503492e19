/* graph_export.c — exports come, on a backend that is there, or with one of their own.
 *
 * A backend has one device. So that a node can be exported twice, an export that is given a node
 * makes a backend without a name, which goes when the export goes. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <string.h>

#include "actors/reply.h"
#include "engine/mem.h"

static struct driver_perms wanted(const Sluice__ExportAdd *spec)
{
    return (struct driver_perms){PERM_CONSISTENT_READ | (spec->writable ? PERM_WRITE : 0),
                                 PERM_ALL};
}

static int check(struct graph *graph, const Sluice__ExportAdd *spec, struct err *err)
{
    if (strcmp(spec->type, "nbd") != 0)
        return err_field(err, "type", -EINVAL,
                         "there is no export of type '%.100s'; the types are: nbd", spec->type);
    if (!spec->backend == !spec->node)
        return err_field(err, "backend", -EINVAL,
                         "an export is to offer %s; give exactly one of backend=NAME and node=NAME",
                         spec->backend ? "both a backend and a node" : "nothing");
    const char *id = spec->id ? spec->id : spec->backend ? spec->backend : spec->node;
    return graph_check_name(graph, EXPORT, id, err);
}

/* What it is to stand on, ready for it; else null. */
static struct object *find(struct graph *graph, const Sluice__ExportAdd *spec, const char *id,
                           struct err *err)
{
    if (spec->node)
        return graph_ready(graph, NODE, spec->node, "node", err);
    struct object *backend = graph_ready(graph, BACKEND, spec->backend, "backend", err);
    if (!backend || graph_check_device(backend, err) < 0 ||
        graph_check_writable(backend, id, wanted(spec), err) < 0)
        return NULL;
    return backend;
}

int graph_export_add(struct graph *graph, const Sluice__ExportAdd *spec, struct ticket ticket,
                     struct err *err)
{
    const char *name = spec->backend ? spec->backend : spec->node;
    const char *id = spec->id ? spec->id : name;
    if (check(graph, spec, err) < 0)
        return err->code;
    struct object *on = find(graph, spec, id, err);
    if (!on)
        return err->code;
    struct object *object = graph_object_add(graph, EXPORT, id);
    object->type = mem_string(spec->type);
    object->may_move = true;
    object->ticket = ticket;
    Sluice__ExportOpen *open = MAIL_NEW(sluice__export_open);
    open->spec = mail_copy(spec);
    object->body = open;
    if (!spec->backend)
        mail_set(&open->spec->backend, "");
    if (!spec->id)
        mail_set(&open->spec->id, id);
    if (!spec->name)
        mail_set(&open->spec->name, name);
    if (spec->node) {
        object->own = graph_own_backend(object, on);
    } else {
        object->reactor = on->reactor;
        open->backend = on->address;
        graph_object_begin(object, (struct standing){.to = {on}, .wants = {wanted(spec)}}, open,
                           ticket);
    }
    return 0;
}

void graph_export_proceed(struct object *export, const struct err *err)
{
    struct object *backend = export->own;
    Sluice__ExportOpen *open = export->body;
    if (err) {
        actor_refuse(export->graph->self, export->ticket, err);
        graph_object_drop(export);
        return;
    }
    export->reactor = backend->reactor;
    open->backend = backend->address;
    struct standing standing = {.to = {backend}, .wants = {wanted(open->spec)}};
    graph_object_begin(export, standing, open, export->ticket);
}

void graph_close_own(struct object *export)
{
    if (export->own->state == READY)
        graph_close_object(export->own, (struct ticket){0});
    else
        export->own->doomed = true; /* it is being moved */
}

void graph_close_doomed(struct graph *graph)
{
    const struct table *backends = &graph->tables[BACKEND];
    for (size_t i = 0; i < backends->n; i++)
        if (backends->all[i]->doomed && backends->all[i]->state == READY)
            graph_close_object(backends->all[i], (struct ticket){0});
}

void graph_export_end(struct object *export, const struct err *err)
{
    struct actor *self = export->graph->self;
    if (export->state == FAILED)
        err = &export->err;
    if (err)
        actor_refuse(self, export->ticket, err);
    else
        actor_reply(self, export->ticket, MAIL_REPLY, reply_done());
    export->own->master = NULL;
    graph_object_drop(export);
}
