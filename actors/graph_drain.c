/* graph_drain.c — drained regions: which backends and jobs they cover, and when all of those are
 * quiet.
 *
 * To drain a node is to keep everyone quiet who stands on it, directly or through other nodes. A
 * region covers those who do so at the time: who comes to stand there inside it is quiesced before
 * he has the node, and who leaves is let go. A job does not make itself quiet. Each counts the
 * regions that cover it. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/mem.h"

struct region {
    struct region *next;
    struct graph *graph;
    uint64_t id;
    actor_addr target; /* a backend or a node; 0: all there are */
    actor_addr holder; /* a job that it does not cover, or 0 */
    bool connected;    /* and all that is connected with it */
    bool ended, telling;
    size_t waits; /* answers to come */
    region_fn *then;
    void *arg;
    struct ticket ticket; /* who asked from outside */
};

/* --- What a region covers */

static bool reaches(const struct object *object, const struct object *node)
{
    for (int i = 0; i < EDGES; i++) {
        const struct object *to = object->standing.to[i];
        if (to && (to == node || reaches(to, node)))
            return true;
    }
    return false;
}

static bool mark(struct object *object)
{
    bool news = !object->marked;
    object->marked = true;
    return news;
}

void graph_mark_connected(const struct object *object)
{
    static const enum object_kind kinds[] = {NODE, BACKEND, JOB};
    struct graph *graph = object->graph;
    for (unsigned kind = 0; kind < OBJECT_KINDS; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++)
            graph->tables[kind].all[i]->marked = graph->tables[kind].all[i] == object;
    for (bool more = true; more;) {
        more = false;
        for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++)
            for (size_t i = 0; i < graph->tables[kinds[k]].n; i++) {
                struct object *one = graph->tables[kinds[k]].all[i];
                for (int edge = 0; edge < EDGES; edge++) {
                    struct object *to = one->standing.to[edge];
                    if (to && one->marked)
                        more |= mark(to);
                    else if (to && to->marked)
                        more |= mark(one);
                }
            }
    }
}

/* Those who make requests. */
static const enum object_kind coverable[] = {BACKEND, JOB};
#define COVERABLE (sizeof coverable / sizeof *coverable)

/* Calls `fn` for each one that the region covers. */
static void each_covered(const struct region *region,
                         void (*fn)(struct object *object, struct region *region))
{
    struct graph *graph = region->graph;
    const struct object *target = NULL, *node = NULL;
    if (region->ended)
        return;
    if (region->target) {
        target = graph_by_address(graph, region->target);
        if (!target)
            return; /* it is gone, and nobody stands on it */
        node = target->kind == NODE ? target : target->standing.to[0];
    }
    if (region->connected && target)
        graph_mark_connected(target);
    for (size_t k = 0; k < COVERABLE; k++)
        for (size_t i = 0; i < graph->tables[coverable[k]].n; i++) {
            struct object *object = graph->tables[coverable[k]].all[i];
            bool covered = !region->target || object == target ||
                           (region->connected ? object->marked : node && reaches(object, node));
            if (covered && object->address && object->address != region->holder)
                fn(object, (struct region *)region);
        }
}

/* --- Telling the backends */

static void quiet_one(struct region *region)
{
    if (--region->waits)
        return;
    region->telling = true;
    if (region->then)
        region->then(region->arg);
    else if (region->ticket.correlation) {
        Sluice__Drained *drained = MAIL_NEW(sluice__drained);
        drained->region = region->id;
        actor_reply(region->graph->self, region->ticket, MAIL_DRAINED, drained);
    }
    region->telling = false;
    if (region->ended)
        free(region);
}

static void quiet(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply; /* one that is gone is quiet */
    quiet_one(arg);
}

static void begin_one(struct object *backend, struct region *region)
{
    backend->drained++;
    region->waits++;
    actor_ask(backend->graph->self, backend->address, MAIL_DRAIN_BEGIN, NULL, quiet, region);
}

static void count_one(struct object *backend, struct region *region)
{
    (void)region;
    backend->drained_next++;
}

static void was_told(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply;
    (void)arg;
}

static void tell_drained(struct object *object)
{
    struct actor *self = object->graph->self;
    for (; object->drained < object->drained_next; object->drained++)
        actor_ask(self, object->address, MAIL_DRAIN_BEGIN, NULL, was_told, NULL);
    for (; object->drained > object->drained_next; object->drained--)
        actor_tell(self, object->address, MAIL_DRAIN_END, NULL);
}

void graph_drain_sync(struct graph *graph)
{
    for (size_t k = 0; k < COVERABLE; k++)
        for (size_t i = 0; i < graph->tables[coverable[k]].n; i++)
            graph->tables[coverable[k]].all[i]->drained_next = 0;
    for (struct region *region = graph->regions; region; region = region->next)
        each_covered(region, count_one);
    for (size_t k = 0; k < COVERABLE; k++)
        for (size_t i = 0; i < graph->tables[coverable[k]].n; i++)
            tell_drained(graph->tables[coverable[k]].all[i]);
}

/* --- Regions */

static struct region *begin(struct graph *graph, struct region made)
{
    struct region *region = MEM_NEW(struct region);
    *region = made;
    region->graph = graph;
    region->id = ++graph->last_region;
    region->waits = 1;
    region->next = graph->regions;
    graph->regions = region;
    each_covered(region, begin_one);
    return region;
}

void graph_drain_begin(const struct object *target, bool connected, region_fn *then, void *arg,
                       struct region **out)
{
    struct region *region = *out =
        begin(target->graph,
              (struct region){
                  .target = target->address, .connected = connected, .then = then, .arg = arg});
    quiet_one(region);
}

void graph_drain_end(struct region *region)
{
    struct graph *graph = region->graph;
    struct region **at = &graph->regions;
    while (*at != region)
        at = &(*at)->next;
    *at = region->next;
    region->ended = true;
    graph_drain_sync(graph);
    if (!region->waits && !region->telling)
        free(region);
}

void graph_drain_free(struct graph *graph)
{
    struct region *region;
    while ((region = graph->regions)) {
        graph->regions = region->next;
        free(region);
    }
}

/* --- From outside */

void graph_on_drain(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    const Sluice__Drain *drain = (const Sluice__Drain *)mail->body;
    struct region region = {.ticket = mail_ticket(mail), .holder = drain->holder};
    struct err err = {0};
    if (drain->node) {
        const struct object *node = graph_there(graph, NODE, drain->node, "node", &err);
        region.target = node ? node->address : 0;
    } else if (drain->backend) {
        region.target = drain->backend;
        if (!graph_by_address(graph, drain->backend))
            err_set(&err, -ENXIO, "the backend that is to be drained is gone");
    }
    if (err.code)
        actor_refuse(self, mail_ticket(mail), &err);
    else
        quiet_one(begin(graph, region));
}

void graph_on_drain_end(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    uint64_t id = ((Sluice__RegionEnd *)mail->body)->region;
    struct region *region = graph->regions;
    while (region && (region->id != id || region->then))
        region = region->next;
    if (region)
        graph_drain_end(region);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}
