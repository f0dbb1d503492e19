/* graph_life.c — what keeps nodes and backends alive, and what they are called.
 *
 * References are edges. To a backend refer its name, each device that is attached to it, and each
 * claim, as often as its owner says; to a node, what stands on it, and control if it was added by
 * itself. When the last one lets go, the object ends: it is drained, gives up what it stands on,
 * and that may end with it. So nothing counts what the tables know, and nothing can end twice. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/mem.h"

/* --- References */

uint32_t graph_references(const struct object *backend)
{
    unsigned kind = 0;
    size_t i = 0;
    uint32_t n = backend->kept;
    const struct object *user;
    while ((user = graph_next_user(backend, &kind, &i)))
        n += user->kind == CLAIM ? user->references : 1;
    return n;
}

static void answer_leaver(struct object *object)
{
    actor_reply(object->graph->self, ticket_take(&object->leaver), MAIL_NONE, NULL);
}

bool graph_let_go(struct object *object, struct ticket ticket, const struct err *why)
{
    if (!object || object->kept || graph_first_user(object))
        return false;
    if (object->state == CHANGING && !why && ticket.correlation) {
        answer_leaver(object); /* somebody came after that one, and has left too */
        object->leaver = ticket;
        return true;
    }
    if (object->state != READY)
        return false;
    graph_close_object(object, ticket);
    if (why)
        object->err = *why;
    return true;
}

void graph_sweep(struct graph *graph)
{
    for (unsigned kind = 0; kind <= BACKEND; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++) {
            struct object *object = graph->tables[kind].all[i];
            if (object->state != READY)
                continue;
            if (graph_let_go(object, object->leaver, NULL))
                object->leaver = (struct ticket){0};
            else
                answer_leaver(object); /* somebody came meanwhile, and it stays */
        }
}

bool graph_let_go_below(struct object *object, struct ticket ticket, const struct err *why)
{
    for (int i = 0; i < EDGES; i++)
        if (graph_let_go(object->was.to[i], ticket, why))
            return true;
    return false;
}

static bool is_abandoned(const struct object *backend)
{
    unsigned kind = 0;
    size_t i = 0;
    const struct object *user;
    if (backend->graph->ending)
        return true;
    while ((user = graph_next_user(backend, &kind, &i)))
        if ((user->kind != CLAIM && !user->embedded) ||
            (user->references && user->state != CLOSING))
            return false;
    return !backend->kept;
}

void graph_look_abandoned(struct object *backend)
{
    bool is = backend->address && backend->state != CLOSING && is_abandoned(backend);
    if (is == backend->abandoned)
        return;
    backend->abandoned = is;
    if (is)
        graph_let_through(backend);
    else
        graph_let_through_end(backend);
}

void graph_on_claim_refs(struct actor *self, struct mail *mail)
{
    const Sluice__ClaimRefs *refs = (const Sluice__ClaimRefs *)mail->body;
    struct object *claim = graph_find_claim(actor_state(self), refs->claim);
    if (!claim)
        return;
    claim->references = refs->references;
    graph_look_abandoned(claim->standing.to[0]);
}

/* --- What is made in one step */

void graph_fail(struct object *object)
{
    struct actor *self = object->graph->self;
    const struct object *top = object;
    while (top->above)
        top = top->above;
    if (!graph_let_go_below(object, top->ticket, &object->err))
        actor_refuse(self, top->ticket, &object->err);
    while (object) {
        struct object *above = object->above;
        if (object->kind == JOB)
            graph_job_failed(object);
        graph_object_drop(object);
        object = above;
    }
}

bool graph_go_on(struct object *object)
{
    struct object *above = object->above;
    object->above = NULL;
    if (!above)
        return false;
    if (above->kind == CLAIM)
        graph_claim_go(above, object);
    else if (above->kind == EXPORT)
        graph_export_proceed(above, object);
    else
        graph_place_backend(above, object);
    return true;
}

/* --- Names */

static void renamed(struct actor *self, struct mail *reply, void *arg)
{
    struct ticket *ticket = arg;
    (void)reply; /* one that is gone answers to no name */
    actor_reply(self, *ticket, MAIL_NONE, NULL);
    graph_unkeep(ticket);
}

/* What is told of a backend is told while it has the name. */
static void rename_to(struct object *backend, const char *name, struct ticket asker)
{
    if (!*name)
        graph_emit_object(backend, false);
    free(backend->name);
    backend->name = mem_string(name);
    backend->kept = *name;
    if (*name)
        graph_emit_object(backend, true);
    graph_look_abandoned(backend);
    struct ticket *ticket = GRAPH_KEEP(backend->graph, struct ticket, NULL);
    *ticket = asker;
    Sluice__BackendRename *mail = MAIL_NEW(sluice__backend_rename);
    mail_set(&mail->name, name);
    actor_ask(backend->graph->self, backend->address, MAIL_BACKEND_RENAME, mail, renamed, ticket);
}

static int check_rename(const struct object *backend, const char *name, struct err *err)
{
    const struct graph *graph = backend->graph;
    if (graph_refuse_ending(graph, err) < 0)
        return err->code;
    if (*backend->name)
        return err_field(err, "name", -EBUSY,
                         "backend '%s' has a name already, so it can't be called '%.100s'; remove "
                         "that name first",
                         backend->name, name);
    return graph_check_name(graph, BACKEND, name, err);
}

void graph_on_backend_name(struct actor *self, struct mail *mail)
{
    const Sluice__BackendName *asked = (const Sluice__BackendName *)mail->body;
    const struct object *claim = graph_find_claim(actor_state(self), asked->claim);
    struct object *backend = claim ? claim->standing.to[0] : NULL;
    struct err err = {0};
    if (!backend)
        err_set(&err, -ENXIO, "there is no claim %llu any more; open the backend again",
                (unsigned long long)asked->claim);
    else if (asked->name)
        check_rename(backend, asked->name, &err);
    if (!backend || err.code < 0)
        actor_refuse(self, mail_ticket(mail), &err);
    else if (asked->name || *backend->name)
        rename_to(backend, asked->name ? asked->name : "", mail_ticket(mail));
    else
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL); /* it has none as it is */
}
