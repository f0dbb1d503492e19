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

void graph_export_proceed(struct object *export, struct object *backend)
{
    Sluice__ExportOpen *open = export->body;
    export->reactor = backend->reactor;
    open->backend = backend->address;
    graph_begin_add(export, (struct standing){.to = {backend}, .wants = {wanted(open->spec)}},
                    open);
}

/* Makes one for the node. */
static int begin_own(struct object *export, const char *node, struct err *err)
{
    Sluice__BackendAdd *spec = MAIL_NEW(sluice__backend_add);
    mail_set(&spec->name, "");
    mail_set(&spec->node, node);
    int ret = graph_backend_make(export->graph, spec, export, (struct ticket){0}, err);
    mail_free_body(spec);
    return ret;
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
    if (!spec->node)
        graph_export_proceed(object, on);
    else if (begin_own(object, on->name, err) < 0)
        graph_object_drop(object);
    return err->code;
}
