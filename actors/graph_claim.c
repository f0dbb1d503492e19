/* graph_claim.c — claims: what those need of a backend who use it and are no object of the graph,
 * such as an embedding thread, or a request of a console. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/mem.h"

static struct driver_perms wanted(const Sluice__Permissions *permissions)
{
    return (struct driver_perms){permissions->perm & PERM_ALL, permissions->shared & PERM_ALL};
}

static bool changes(struct driver_perms wants)
{
    return wants.perm & (PERM_WRITE | PERM_WRITE_UNCHANGED | PERM_RESIZE);
}

int graph_check_writable(const struct object *backend, const char *who, struct driver_perms wants,
                         struct err *err)
{
    if (!backend->read_only || !changes(wants))
        return 0;
    return err_set(
        err, -EPERM,
        "'%.100s' can't write to backend '%s': it is read-only; ask for reading only, or "
        "make it writable",
        who, graph_name(backend));
}

static void claimed(struct object *claim, const struct err *err)
{
    struct actor *self = claim->graph->self;
    if (err) {
        claim->err = *err;
        graph_fail(claim);
        return;
    }
    struct object *backend = claim->standing.to[0];
    claim->state = READY;
    graph_look_abandoned(backend);
    Sluice__Claimed *reply = MAIL_NEW(sluice__claimed);
    reply->address = backend->address;
    reply->claim = claim->id;
    reply->has_id = true;
    reply->id = backend->id;
    mail_set(&reply->name, backend->name);
    actor_reply(self, ticket_take(&claim->ticket), MAIL_CLAIMED, reply);
}

void graph_claim_go(struct object *claim, struct object *backend)
{
    struct standing standing = claim->standing;
    standing.to[0] = backend;
    graph_change(claim, standing, claimed);
}

/* The backend that is there already and is to be claimed. */
static struct object *find_claimed(const struct graph *graph, const Sluice__Claim *asked,
                                   struct err *err)
{
    struct object *backend = NULL;
    if (!asked->has_id)
        return graph_there(graph, BACKEND, asked->backend, "backend", err);
    backend = graph_find_id(graph, BACKEND, asked->id);
    if (backend && (backend->state == READY || backend->state == CHANGING))
        return backend;
    err_set(err, -ENOENT, "the backend that was looked up is not there any more; look again");
    return NULL;
}

/* Of the backend that is to be made for it. */
static int make_claimed(struct graph *graph, struct object *claim, const Sluice__BackendAdd *make,
                        struct err *err)
{
    if (make->read_only && changes(claim->standing.wants[0]))
        return err_set(err, -EPERM,
                       "'%.100s' can't write to the new backend: it is to be read-only; leave "
                       "read-only=on out, or ask for reading only",
                       claim->name);
    return graph_backend_make(graph, make, claim, (struct ticket){0}, err);
}

static int begin_claim(struct graph *graph, struct object *claim, const Sluice__Claim *asked,
                       struct err *err)
{
    struct driver_perms wants = wanted(asked->permissions);
    claim->references = 1;
    claim->standing.wants[0] = wants;
    if (asked->make)
        return make_claimed(graph, claim, asked->make, err);
    struct object *backend = find_claimed(graph, asked, err);
    if (!backend || graph_check_writable(backend, asked->name, wants, err) < 0 ||
        graph_blocked_any(backend, asked->operations, err) < 0)
        return err->code;
    graph_claim_go(claim, backend);
    return 0;
}

void graph_on_claim(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    const Sluice__Claim *asked = (const Sluice__Claim *)mail->body;
    struct err err = {0};
    if (graph_refuse_ending(graph, &err) < 0) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    struct object *claim = graph_object_add(graph, CLAIM, asked->name);
    claim->owner = mail->from;
    claim->passing = asked->passing;
    claim->ticket = mail_ticket(mail);
    if (begin_claim(graph, claim, asked, &err) < 0) {
        actor_refuse(self, mail_ticket(mail), &err);
        graph_object_drop(claim);
    }
}

struct object *graph_find_claim(const struct graph *graph, uint64_t id)
{
    static const enum object_kind kinds[] = {CLAIM, DEVICE}; /* a program's has a number, too */
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const struct table *table = &graph->tables[kinds[k]];
        for (size_t i = 0; i < table->n; i++)
            if (table->all[i]->id == id &&
                (table->all[i]->state == READY || table->all[i]->state == CHANGING) &&
                (kinds[k] == CLAIM || table->all[i]->embedded))
                return table->all[i];
    }
    return NULL;
}

static void ended(struct object *claim, const struct err *err)
{
    (void)err; /* giving up is never refused */
    if (!graph_let_go_below(claim, claim->ticket, NULL)) {
        actor_reply(claim->graph->self, claim->ticket, MAIL_NONE, NULL);
        graph_look_abandoned(claim->was.to[0]);
    }
    graph_object_drop(claim);
}

static void end_claim(struct object *claim, struct ticket ticket)
{
    claim->state = CLOSING;
    claim->ticket = ticket;
    if (claim->kind == DEVICE)
        graph_detach(claim);
    else
        graph_change(claim, (struct standing){0}, ended);
}

static void was_set(struct object *claim, const struct err *err)
{
    struct actor *self = claim->graph->self;
    claim->state = READY;
    if (err)
        actor_refuse(self, ticket_take(&claim->ticket), err);
    else
        actor_reply(self, ticket_take(&claim->ticket), MAIL_NONE, NULL);
    if (claim->leaver.correlation)
        end_claim(claim, claim->leaver);
}

void graph_on_claim_set(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    const Sluice__ClaimSet *set = (const Sluice__ClaimSet *)mail->body;
    struct object *claim = graph_find_claim(graph, set->claim);
    struct driver_perms wants = wanted(set->permissions);
    struct err err = {0};
    if (!claim)
        err_set(&err, -ENXIO, "there is no claim %llu any more; open the backend again",
                (unsigned long long)set->claim);
    else if (claim->state == CHANGING)
        err_set(&err, -EBUSY, "other permissions of claim %llu are being set; wait for that",
                (unsigned long long)set->claim);
    if (!claim || err.code ||
        graph_check_writable(claim->standing.to[0], claim->name, wants, &err) < 0) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    struct standing standing = claim->standing;
    standing.wants[0] = wants;
    claim->state = CHANGING;
    claim->ticket = mail_ticket(mail);
    graph_change(claim, standing, was_set);
}

void graph_on_claim_allow(struct actor *self, struct mail *mail)
{
    const Sluice__ClaimAllow *allow = (const Sluice__ClaimAllow *)mail->body;
    const struct object *claim = graph_find_claim(actor_state(self), allow->claim);
    if (claim)
        claim->standing.to[0]->may_move = allow->move;
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

void graph_on_claim_end(struct actor *self, struct mail *mail)
{
    struct object *claim =
        graph_find_claim(actor_state(self), ((Sluice__ClaimEnd *)mail->body)->claim);
    if (!claim) {
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
        return;
    }
    if (claim->state == READY) {
        end_claim(claim, mail_ticket(mail));
    } else {
        actor_reply(self, claim->leaver, MAIL_NONE, NULL); /* asked twice */
        claim->leaver = mail_ticket(mail);
    }
}
