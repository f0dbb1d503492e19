/* graph_medium.c — media of backends come and go. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "actors/emit.h"
#include "actors/reply.h"
#include "engine/mem.h"

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
        actor_refuse(graph->self, ticket_take(&backend->ticket), err);
    else
        actor_reply(graph->self, ticket_take(&backend->ticket), MAIL_REPLY, reply_done());
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

static int insert_into(struct object *backend, const char *name, struct ticket ticket,
                       struct err *err)
{
    if (backend->standing.to[0])
        return err_field(err, "backend", -EBUSY,
                         "backend '%s' has a medium already, node '%s'; remove that first",
                         graph_name(backend), backend->standing.to[0]->name);
    struct object *node = graph_ready(backend->graph, NODE, name, "node", err);
    if (!node)
        return err->code;
    backend->state = CHANGING;
    backend->ticket = ticket;
    graph_change(backend, on(backend, node), attached);
    return 0;
}

int graph_medium_insert(struct graph *graph, const Sluice__MediumInsert *insert,
                        struct ticket ticket, struct err *err)
{
    struct object *backend = graph_ready(graph, BACKEND, insert->backend, "backend", err);
    return backend ? insert_into(backend, insert->node, ticket, err) : err->code;
}

/* --- Removal */

/* Of all that are taken out. */
struct eviction {
    struct eviction *next;
    struct ticket ticket;
    struct err err; /* why the first of those that stay does */
};

/* Its medium, which was to go with all others, stays. */
static void stays(struct object *backend, const struct err *err)
{
    if (!backend->evicted)
        return;
    backend->evicted = false;
    for (struct eviction *eviction = backend->graph->evictions; eviction; eviction = eviction->next)
        if (!eviction->err.code)
            eviction->err = *err;
}

static void parted(struct object *backend)
{
    graph_medium_done(backend, NULL);
}

static void detached(struct object *backend, const struct err *err)
{
    (void)err;                                                 /* giving up is never refused */
    if (graph_let_go(backend->aside, backend->ticket, NULL)) { /* it answers */
        ticket_take(&backend->ticket);
        parted(backend);
    } else {
        graph_part(backend, backend->aside, parted);
    }
}

static void removed(struct actor *self, struct mail *reply, void *arg)
{
    struct object *backend = arg;
    (void)self;
    graph_let_through_end(backend);
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        stays(backend, &err);
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

static void begin_removal(struct object *backend, struct ticket ticket, bool console)
{
    Sluice__BackendRemove *mail = MAIL_NEW(sluice__backend_remove);
    mail->has_console = true;
    mail->console = console;
    backend->state = CHANGING;
    backend->ticket = ticket;
    graph_let_through(backend);
    actor_ask(backend->graph->self, backend->address, MAIL_BACKEND_REMOVE, mail, removed, backend);
}

void graph_take_out(struct object *backend)
{
    begin_removal(backend, backend->ticket, true);
}

/* An empty one looks too: at its tray. */
int graph_medium_remove(struct graph *graph, const char *name, struct ticket ticket,
                        struct err *err)
{
    struct object *backend = graph_ready(graph, BACKEND, name, "backend", err);
    if (!backend)
        return err->code;
    if (graph_blocked(backend, SLUICE__OP_BLOCK__OPERATION__EJECT, err) < 0)
        return err->code;
    begin_removal(backend, ticket, true);
    return 0;
}

void graph_on_claim_medium(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    const Sluice__ClaimMedium *asked = (const Sluice__ClaimMedium *)mail->body;
    const struct object *claim = graph_find_claim(graph, asked->claim);
    struct object *backend = claim ? claim->standing.to[0] : NULL;
    struct err err = {0};
    if (!backend)
        err_set(&err, -ENXIO, "there is no claim %llu any more; open the backend again",
                (unsigned long long)asked->claim);
    else if (!asked->node || graph_refuse_ending(graph, &err) == 0)
        graph_check_ready(backend, "backend", &err);
    if (backend && !err.code && asked->node)
        insert_into(backend, asked->node, mail_ticket(mail), &err);
    else if (backend && !err.code &&
             graph_blocked(backend, SLUICE__OP_BLOCK__OPERATION__EJECT, &err) == 0)
        begin_removal(backend, mail_ticket(mail), false);
    if (err.code < 0)
        actor_refuse(self, mail_ticket(mail), &err);
}

/* --- All of them */

/* Takes out the media that are still to go; when there is none, whoever waits is told. What is
 * being opened, or changed, comes when that is done. */
void graph_evict(struct graph *graph)
{
    const struct table *table = &graph->tables[BACKEND];
    size_t left = 0;
    for (size_t i = 0; graph->evictions && i < table->n; i++) {
        struct object *backend = table->all[i];
        if (backend->state == CLOSING || backend->state == FAILED ||
            (backend->state == READY && !backend->standing.to[0]))
            backend->evicted = false;
        struct err err = {0};
        if (backend->evicted && backend->state == READY &&
            graph_blocked(backend, SLUICE__OP_BLOCK__OPERATION__EJECT, &err) < 0)
            stays(backend, &err);
        left += backend->evicted;
        if (backend->evicted && backend->state == READY)
            begin_removal(backend, (struct ticket){0}, false);
    }
    struct eviction *eviction;
    while (!left && (eviction = graph->evictions)) {
        graph->evictions = eviction->next;
        if (eviction->err.code)
            actor_refuse(graph->self, eviction->ticket, &eviction->err);
        else
            actor_reply(graph->self, eviction->ticket, MAIL_REPLY, reply_done());
        free(eviction);
    }
}

void graph_medium_remove_all(struct graph *graph, struct ticket ticket)
{
    struct eviction *eviction = MEM_NEW(struct eviction);
    *eviction = (struct eviction){.next = graph->evictions, .ticket = ticket};
    graph->evictions = eviction;
    for (size_t i = 0; i < graph->tables[BACKEND].n; i++)
        graph->tables[BACKEND].all[i]->evicted = true;
    graph_evict(graph);
}

void graph_evictions_free(struct graph *graph, bool refuse)
{
    struct eviction *eviction;
    struct err err = {0};
    err_set(&err, -ESHUTDOWN, "the engine has ended before all media could be removed");
    while ((eviction = graph->evictions)) {
        graph->evictions = eviction->next;
        if (refuse)
            actor_refuse(graph->self, eviction->ticket, &err);
        free(eviction);
    }
}
