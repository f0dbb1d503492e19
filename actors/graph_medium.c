/* graph_medium.c — media of backends come and go. */
#include "actors/graph_impl.h"

#include <errno.h>

#include "actors/emit.h"
#include "actors/reply.h"

static void tell(const struct object *backend, const struct object *node,
                 Sluice__Event__BodyCase what)
{
    if (!*backend->name) /* control does not see it */
        return;
    Sluice__MediumEvent *event = MAIL_NEW(sluice__medium_event);
    mail_set(&event->backend, backend->name);
    mail_set(&event->node, node->name);
    graph_emit(backend->graph,
               emit_make("backend", backend->name, SLUICE__EVENT__SEVERITY__INFO, what, event));
}

void graph_tell_removed(const struct object *backend, const struct object *node)
{
    tell(backend, node, SLUICE__EVENT__BODY_MEDIUM_REMOVED);
}

void graph_medium_done(struct object *backend, const struct err *err)
{
    struct graph *graph = backend->graph;
    backend->state = READY;
    if (err)
        actor_refuse(graph->self, backend->ticket, err);
    else
        actor_reply(graph->self, backend->ticket, MAIL_REPLY, reply_done());
    graph_settled(graph);
}

/* The backend's standing, on another medium. */
static struct standing on(const struct object *backend, struct object *node)
{
    struct standing standing = backend->standing;
    standing.to[0] = node;
    return standing;
}

/* --- Insertion */

static void put_back(struct object *backend, const struct err *err)
{
    (void)err; /* giving up is never refused */
    graph_medium_done(backend, &backend->err);
}

static void inserted(struct actor *self, struct mail *reply, void *arg)
{
    struct object *backend = arg;
    (void)self;
    if (mail_fault(reply)) {
        mail_fault_err(reply, &backend->err);
        graph_change(backend, on(backend, NULL), put_back);
        return;
    }
    tell(backend, backend->standing.to[0], SLUICE__EVENT__BODY_MEDIUM_INSERTED);
    graph_medium_done(backend, NULL);
}

/* They are on one reactor now. */
static void joined(struct object *backend)
{
    const struct object *node = backend->standing.to[0];
    Sluice__BackendInsert *mail = MAIL_NEW(sluice__backend_insert);
    mail->node = node->address;
    mail_set(&mail->name, node->name);
    mail->has_console = mail->console = true;
    actor_ask(backend->graph->self, backend->address, MAIL_BACKEND_INSERT, mail, inserted, backend);
}

static void attached(struct object *backend, const struct err *err)
{
    if (err)
        graph_medium_done(backend, err);
    else
        graph_join(backend, joined);
}

int graph_medium_insert(struct graph *graph, const Sluice__MediumInsert *insert,
                        struct ticket ticket, struct err *err)
{
    struct object *backend = graph_ready(graph, BACKEND, insert->backend, "backend", err), *node;
    if (!backend)
        return err->code;
    if (backend->standing.to[0])
        return err_field(err, "backend", -EBUSY,
                         "backend '%s' has a medium already, node '%s'; remove that first",
                         graph_name(backend), backend->standing.to[0]->name);
    node = graph_ready(graph, NODE, insert->node, "node", err);
    if (!node)
        return err->code;
    backend->state = CHANGING;
    backend->ticket = ticket;
    graph_change(backend, on(backend, node), attached);
    return 0;
}

/* --- Removal */

static void parted(struct object *backend)
{
    graph_medium_done(backend, NULL);
}

static void detached(struct object *backend, const struct err *err)
{
    (void)err;                                                 /* giving up is never refused */
    if (graph_let_go(backend->aside, backend->ticket, NULL)) { /* it answers */
        backend->ticket = (struct ticket){0};
        parted(backend);
    } else {
        graph_part(backend, backend->aside, parted);
    }
}

static void removed(struct actor *self, struct mail *reply, void *arg)
{
    struct object *backend = arg;
    (void)self;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        graph_medium_done(backend, &err);
        return;
    }
    if (!backend->standing.to[0]) { /* fine: it is as asked */
        graph_medium_done(backend, NULL);
        return;
    }
    tell(backend, backend->standing.to[0], SLUICE__EVENT__BODY_MEDIUM_REMOVED);
    backend->aside = backend->standing.to[0];
    graph_change(backend, on(backend, NULL), detached);
}

void graph_take_out(struct object *backend)
{
    Sluice__BackendRemove *mail = MAIL_NEW(sluice__backend_remove);
    mail->has_console = mail->console = true;
    actor_ask(backend->graph->self, backend->address, MAIL_BACKEND_REMOVE, mail, removed, backend);
}

/* An empty one looks too: at its tray. */
int graph_medium_remove(struct graph *graph, const char *name, struct ticket ticket,
                        struct err *err)
{
    struct object *backend = graph_ready(graph, BACKEND, name, "backend", err);
    if (!backend)
        return err->code;
    backend->state = CHANGING;
    backend->ticket = ticket;
    graph_take_out(backend);
    return 0;
}
