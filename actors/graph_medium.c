/* graph_medium.c — media of backends come and go. */
#include "actors/graph_impl.h"

#include <errno.h>

#include "actors/emit.h"
#include "actors/reply.h"

static void tell(const struct object *backend, const struct object *node,
                 Sluice__Event__BodyCase what)
{
    Sluice__MediumEvent *event = MAIL_NEW(sluice__medium_event);
    mail_set(&event->backend, backend->name);
    mail_set(&event->node, node->name);
    graph_emit(backend->graph,
               emit_make("backend", backend->name, SLUICE__EVENT__SEVERITY__INFO, what, event));
}

static void finish(struct object *backend, struct mail *reply)
{
    struct err err = {0};
    backend->state = READY;
    if (mail_fault(reply)) {
        mail_fault_err(reply, &err);
        actor_refuse(backend->graph->self, backend->ticket, &err);
    } else {
        actor_reply(backend->graph->self, backend->ticket, MAIL_REPLY, reply_done());
    }
    if (backend->graph->ending)
        graph_step_end(backend->graph);
}

static void inserted(struct actor *self, struct mail *reply, void *arg)
{
    struct object *backend = arg;
    (void)self;
    if (mail_fault(reply))
        backend->below = NULL;
    else
        tell(backend, backend->below, SLUICE__EVENT__BODY_MEDIUM_INSERTED);
    finish(backend, reply);
}

int graph_medium_insert(struct graph *graph, const Sluice__MediumInsert *insert,
                        struct ticket ticket, struct err *err)
{
    struct object *backend = graph_ready(graph, BACKEND, insert->backend, "backend", err), *node;
    if (!backend)
        return err->code;
    if (backend->below)
        return err_field(err, "backend", -EBUSY,
                         "backend '%s' has a medium already, node '%s'; remove that first",
                         backend->name, backend->below->name);
    node = graph_ready(graph, NODE, insert->node, "node", err);
    if (!node)
        return err->code;
    /* From now on the node can't be removed. */
    backend->below = node;
    backend->state = CHANGING;
    backend->ticket = ticket;
    Sluice__BackendInsert *mail = MAIL_NEW(sluice__backend_insert);
    mail->node = node->address;
    mail_set(&mail->name, node->name);
    actor_ask(graph->self, backend->address, MAIL_BACKEND_INSERT, mail, inserted, backend);
    return 0;
}

static void removed(struct actor *self, struct mail *reply, void *arg)
{
    struct object *backend = arg;
    const struct object *node = backend->below;
    (void)self;
    if (!mail_fault(reply)) {
        backend->below = NULL;
        tell(backend, node, SLUICE__EVENT__BODY_MEDIUM_REMOVED);
    }
    finish(backend, reply);
}

int graph_medium_remove(struct graph *graph, const char *name, struct ticket ticket,
                        struct err *err)
{
    struct object *backend = graph_ready(graph, BACKEND, name, "backend", err);
    if (!backend)
        return err->code;
    if (!backend->below) { /* fine: it is as asked */
        actor_reply(graph->self, ticket, MAIL_REPLY, reply_done());
        return 0;
    }
    backend->state = CHANGING;
    backend->ticket = ticket;
    actor_ask(graph->self, backend->address, MAIL_BACKEND_REMOVE, NULL, removed, backend);
    return 0;
}
