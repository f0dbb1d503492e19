/* graph_invalidate.c — nodes reread what they keep of what they stand on. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "actors/reply.h"
#include "engine/mem.h"

struct invalidation {
    struct graph *graph;
    struct ticket ticket;
    struct object *top; /* it can't go, move, or be invalidated again meanwhile */
    struct object **nodes;
    size_t n, next;
};

/* Those below first. */
static void collect(struct invalidation *invalidation, struct object *node)
{
    for (int i = 0; i < EDGES; i++)
        if (node->standing.to[i])
            collect(invalidation, node->standing.to[i]);
    invalidation->nodes =
        mem_resize(invalidation->nodes, (invalidation->n + 1) * sizeof *invalidation->nodes);
    invalidation->nodes[invalidation->n++] = node;
}

static void fini(void *kept)
{
    free(((struct invalidation *)kept)->nodes);
}

static void end(struct invalidation *invalidation, const struct err *err)
{
    struct graph *graph = invalidation->graph;
    invalidation->top->state = READY;
    if (err)
        actor_refuse(graph->self, invalidation->ticket, err);
    else
        actor_reply(graph->self, invalidation->ticket, MAIL_REPLY, reply_done());
    graph_unkeep(invalidation);
    graph->gathers--;
    graph_settled(graph);
}

static void go_on(struct invalidation *invalidation);

static void invalidated(struct actor *self, struct mail *reply, void *arg)
{
    struct err err = {0};
    (void)self;
    if (mail_fault(reply)) {
        mail_fault_err(reply, &err);
        end(arg, &err);
    } else {
        go_on(arg);
    }
}

static void go_on(struct invalidation *invalidation)
{
    if (invalidation->next == invalidation->n)
        end(invalidation, NULL);
    else
        actor_ask(invalidation->graph->self, invalidation->nodes[invalidation->next++]->address,
                  MAIL_NODE_INVALIDATE, NULL, invalidated, invalidation);
}

/* All that is connected with it lives on one reactor, and must not leave that meanwhile. */
static bool all_free(const struct object *node)
{
    const struct table *nodes = &node->graph->tables[NODE];
    graph_mark_connected(node);
    for (size_t i = 0; i < nodes->n; i++)
        if (nodes->all[i]->marked && nodes->all[i]->state != READY)
            return false;
    return true;
}

static int begin(struct object *node, struct ticket ticket, struct err *err)
{
    if (!all_free(node))
        return err_set(err, -EBUSY,
                       "node '%s', or one that is connected with it, is changing; try again when "
                       "that is done",
                       node->name);
    struct invalidation *invalidation = GRAPH_KEEP(node->graph, struct invalidation, fini);
    *invalidation = (struct invalidation){.graph = node->graph, .ticket = ticket, .top = node};
    node->state = CHANGING;
    node->graph->gathers++;
    collect(invalidation, node);
    go_on(invalidation);
    return 0;
}

static int begin_medium(const struct object *backend, struct ticket ticket, struct err *err)
{
    if (!backend->standing.to[0])
        return err_set(err, -ENOMEDIUM,
                       "backend '%s' has no medium, so there is nothing to reread; insert one",
                       graph_name(backend));
    return begin(backend->standing.to[0], ticket, err);
}

int graph_invalidate(struct graph *graph, const char *name, struct ticket ticket, struct err *err)
{
    struct object *node = graph_find(graph, NODE, name), *backend;
    if (node)
        return begin(node, ticket, err);
    backend = graph_find(graph, BACKEND, name);
    if (!backend)
        return err_field(err, "name", -ENOENT,
                         "there is no backend and no node '%.100s'; backend-list and node-list "
                         "tell which there are",
                         name);
    return begin_medium(backend, ticket, err);
}

void graph_on_claim_invalidate(struct actor *self, struct mail *mail)
{
    const Sluice__ClaimEnd *asked = (const Sluice__ClaimEnd *)mail->body;
    const struct object *claim = graph_find_claim(actor_state(self), asked->claim);
    struct err err = {0};
    if (!claim)
        err_set(&err, -ENXIO, "there is no claim %llu any more; open the backend again",
                (unsigned long long)asked->claim);
    else
        begin_medium(claim->standing.to[0], mail_ticket(mail), &err);
    if (err.code < 0)
        actor_refuse(self, mail_ticket(mail), &err);
}
