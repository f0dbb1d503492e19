/* graph_drain.c — drained regions: which backends and jobs they cover, and when all of those are
 * quiet.
 *
 * To drain a node is to keep everyone quiet who stands on it, directly or through other nodes. A
 * region covers those who do so at the time: who comes to stand there inside it is quiesced before
 * he has the node, and who leaves is let go. A job does not make itself quiet. Each knows the
 * regions that cover it, and whose requests each of them lets through.
 *
 * What is in flight may wait in a node below, for a limit's sake: so nodes whose drivers make
 * requests wait are told of those above them who are covered, and let go what is theirs. Where
 * somebody gets quiet by himself a region does nothing but that. */
#include "actors/graph_impl.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "engine/directory.h"
#include "engine/mem.h"
#include "engine/reactor.h"

/* Who goes on in a region, as operations show it; see DrainWhose. */
struct whose {
    unsigned peer;
    unsigned number;
};

/* A region as an object knows it, which was told. */
struct drained {
    struct drained *next;
    uint64_t region;
    struct whose whose;
    bool told, covers; /* the object, still */
};

struct region {
    struct region *next;
    struct graph *graph;
    uint64_t id;
    actor_addr target; /* a backend or a node; 0: all there are */
    actor_addr holder; /* a job that it does not cover, or 0 */
    struct whose whose;
    bool connected; /* and all that is connected with it */
    bool through;   /* keeps nobody quiet; what waits below the target goes on */
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

typedef void covered_fn(struct object *object, struct region *region);

/* What a region is about; nothing when that is gone. */
struct scope {
    struct region *region;
    const struct object *target, *node; /* null: everything */
};

static bool look(struct region *region, struct scope *scope)
{
    *scope = (struct scope){.region = region};
    if (region->ended)
        return false;
    if (!region->target)
        return true;
    const struct object *target = scope->target = graph_by_address(region->graph, region->target);
    if (!target)
        return false; /* nobody stands on it */
    scope->node = target->kind == NODE ? target : target->standing.to[0];
    if (region->connected)
        graph_mark_connected(target);
    return true;
}

static bool covers(const struct scope *scope, const struct object *object)
{
    const struct region *region = scope->region;
    bool covered =
        !region->target || object == scope->target ||
        (!region->through &&
         (region->connected ? object->marked : scope->node && reaches(object, scope->node)));
    return covered && object->address && object->address != region->holder;
}

static bool makes_wait(const struct object *node)
{
    return node->address && node->driver && node->driver->let_through;
}

/* Whether somebody stands on the node who is covered. */
static bool is_below(const struct scope *scope, const struct object *node)
{
    const struct graph *graph = node->graph;
    for (size_t k = 0; k < COVERABLE; k++)
        for (size_t i = 0; i < graph->tables[coverable[k]].n; i++) {
            const struct object *object = graph->tables[coverable[k]].all[i];
            if (covers(scope, object) && reaches(object, node))
                return true;
        }
    return false;
}

/* Calls `fn` for each one that the region covers. */
static void each_covered(struct region *region, covered_fn *fn)
{
    struct graph *graph = region->graph;
    struct scope scope;
    if (!look(region, &scope))
        return;
    for (size_t k = 0; !region->through && k < COVERABLE; k++)
        for (size_t i = 0; i < graph->tables[coverable[k]].n; i++)
            if (covers(&scope, graph->tables[coverable[k]].all[i]))
                fn(graph->tables[coverable[k]].all[i], region);
}

/* --- Who is let through by nodes */

/* One whom a node lets through, as it was told. */
struct let {
    struct let *next;
    actor_addr user;
    bool still;
};

static Sluice__LetThrough *let_mail(actor_addr user, bool on)
{
    Sluice__LetThrough *mail = MAIL_NEW(sluice__let_through);
    mail->on = on;
    mail->has_user = true;
    mail->user = address_slot(user);
    return mail;
}

static void was_told(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply;
    (void)arg;
}

static void let(struct object *node, actor_addr user)
{
    struct let *one = node->lets;
    while (one && one->user != user)
        one = one->next;
    if (!one) {
        one = MEM_NEW(struct let);
        *one = (struct let){.next = node->lets, .user = user};
        node->lets = one;
        actor_ask(node->graph->self, node->address, MAIL_LET_THROUGH, let_mail(user, true),
                  was_told, NULL);
    }
    one->still = true;
}

/* Those who are covered, and the holder of the region: everybody waits for him. */
static void let_users(struct region *region)
{
    struct graph *graph = region->graph;
    struct scope scope;
    if (!look(region, &scope))
        return;
    for (size_t i = 0; i < graph->tables[NODE].n; i++) {
        struct object *node = graph->tables[NODE].all[i];
        if (!makes_wait(node) || !is_below(&scope, node))
            continue;
        for (size_t k = 0; k < COVERABLE; k++)
            for (size_t j = 0; j < graph->tables[coverable[k]].n; j++) {
                const struct object *one = graph->tables[coverable[k]].all[j];
                bool holds = one->address && one->address == region->holder;
                if ((holds || covers(&scope, one)) && reaches(one, node))
                    let(node, one->address);
            }
    }
}

static void node_ended(struct actor *self, struct mail *reply, void *arg)
{
    struct graph *graph = arg;
    (void)self;
    (void)reply; /* one that is gone lets nothing through */
    if (!--graph->drain_ends)
        graph_drain_sync(graph);
}

static void let_no_longer(struct object *node)
{
    struct let **at = &node->lets, *one;
    while ((one = *at)) {
        if (one->still) {
            at = &one->next;
            continue;
        }
        node->graph->drain_ends++;
        actor_ask(node->graph->self, node->address, MAIL_LET_THROUGH, let_mail(one->user, false),
                  node_ended, node->graph);
        *at = one->next;
        free(one);
    }
}

static void sync_nodes(struct graph *graph)
{
    const struct table *nodes = &graph->tables[NODE];
    for (size_t i = 0; i < nodes->n; i++)
        for (struct let *one = nodes->all[i]->lets; one; one = one->next)
            one->still = false;
    for (struct region *region = graph->regions; region; region = region->next)
        let_users(region);
    for (size_t i = 0; i < nodes->n; i++)
        let_no_longer(nodes->all[i]);
}

/* --- Telling them */

/* One that has ended stays in the list until the last answer has come. */
static void drop(struct region *region)
{
    struct region **at = &region->graph->regions;
    while (*at != region) {
        assert(*at); /* it is there */
        at = &(*at)->next;
    }
    *at = region->next;
    free(region);
}

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
        actor_reply(region->graph->self, ticket_take(&region->ticket), MAIL_DRAINED, drained);
    }
    region->telling = false;
    if (region->ended)
        drop(region);
}

static void quiet(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply; /* one that is gone is quiet */
    quiet_one(arg);
}

static struct drained *add(struct object *object, const struct region *region)
{
    struct drained *drained = MEM_NEW(struct drained);
    *drained = (struct drained){
        .next = object->drained, .region = region->id, .whose = region->whose, .covers = true};
    return object->drained = drained;
}

static Sluice__DrainWhose *whose_mail(const struct drained *drained)
{
    Sluice__DrainWhose *whose = MAIL_NEW(sluice__drain_whose);
    whose->has_peer = whose->has_number = true;
    whose->peer = drained->whose.peer;
    whose->number = drained->whose.number;
    return whose;
}

static void ask(const struct object *object, struct drained *drained, actor_reply_fn *then,
                void *arg)
{
    drained->told = true;
    actor_ask(object->graph->self, object->address, MAIL_DRAIN_BEGIN, whose_mail(drained), then,
              arg);
}

static void begin_one(struct object *object, struct region *region)
{
    region->waits++;
    ask(object, add(object, region), quiet, region);
}

static void cover_one(struct object *object, struct region *region)
{
    struct drained *drained = object->drained;
    while (drained && drained->region != region->id)
        drained = drained->next;
    if (drained)
        drained->covers = true;
    else
        add(object, region);
}

static void tell_begin(struct object *object)
{
    for (struct drained *drained = object->drained; drained; drained = drained->next)
        if (!drained->told)
            ask(object, drained, was_told, NULL);
}

/* What has waited in those above is not to find the node open still: they hear of the end when the
 * nodes have. */
static void tell_end(struct object *object)
{
    struct graph *graph = object->graph;
    struct drained **at = &object->drained, *drained;
    while ((drained = *at)) {
        if (drained->covers || graph->drain_ends) {
            at = &drained->next;
            continue;
        }
        actor_tell(graph->self, object->address, MAIL_DRAIN_END, whose_mail(drained));
        *at = drained->next;
        free(drained);
    }
}

void graph_drain_forget(struct object *object)
{
    struct drained *drained;
    struct let *one;
    while ((one = object->lets)) {
        object->lets = one->next;
        free(one);
    }
    while ((drained = object->drained)) {
        object->drained = drained->next;
        free(drained);
    }
}

static void each_coverable(struct graph *graph, void (*fn)(struct object *object))
{
    for (size_t k = 0; k < COVERABLE; k++)
        for (size_t i = 0; i < graph->tables[coverable[k]].n; i++)
            fn(graph->tables[coverable[k]].all[i]);
}

static void uncover(struct object *object)
{
    for (struct drained *drained = object->drained; drained; drained = drained->next)
        drained->covers = false;
}

void graph_drain_sync(struct graph *graph)
{
    sync_nodes(graph);
    each_coverable(graph, uncover);
    for (struct region *region = graph->regions; region; region = region->next)
        each_covered(region, cover_one);
    each_coverable(graph, tell_begin);
    each_coverable(graph, tell_end);
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
    sync_nodes(graph);
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
    region->ended = true;
    graph_drain_sync(region->graph);
    if (!region->waits && !region->telling)
        drop(region);
}

static void went_through(void *arg)
{
    (void)arg; /* nobody waits for that */
}

static void tell_through(const struct object *backend, bool on)
{
    Sluice__LetThrough *mail = MAIL_NEW(sluice__let_through);
    mail->on = on;
    if (backend->address)
        actor_tell(backend->graph->self, backend->address, MAIL_LET_THROUGH, mail);
    else
        mail_free_body(mail);
}

/* Without a node that makes requests wait there is no region to be kept. */
void graph_let_through(struct object *backend)
{
    struct graph *graph = backend->graph;
    bool any = false;
    if (!backend->throughs++)
        tell_through(backend, true);
    for (size_t i = 0; i < graph->tables[NODE].n; i++)
        any |=
            makes_wait(graph->tables[NODE].all[i]) && reaches(backend, graph->tables[NODE].all[i]);
    if (!any || !backend->address || backend->through)
        return;
    backend->through = begin(
        graph, (struct region){.target = backend->address, .through = true, .then = went_through});
    quiet_one(backend->through);
}

void graph_let_through_end(struct object *backend)
{
    struct region *region = backend->through;
    if (--backend->throughs)
        return;
    tell_through(backend, false);
    backend->through = NULL;
    if (region)
        graph_drain_end(region);
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
    struct region region = {.ticket = mail_ticket(mail),
                            .holder = drain->holder,
                            .whose = {drain->holder ? 0 : mail->origin, drain->number}};
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

/* The one that he waits for. */
static void give_up(struct graph *graph, actor_addr holder)
{
    struct region *region = graph->regions;
    struct err err = {0};
    while (region && (region->holder != holder || !region->ticket.correlation))
        region = region->next;
    if (!region)
        return; /* it has begun by now: he will hear of it */
    err_set(&err, -ECANCELED, "who asked for the drained region has given it up");
    actor_refuse(graph->self, ticket_take(&region->ticket), &err);
    graph_drain_end(region);
}

static void end(struct graph *graph, uint64_t id)
{
    struct region *region = graph->regions;
    while (region && (region->id != id || region->then || region->ended))
        region = region->next;
    if (region)
        graph_drain_end(region);
}

void graph_on_drain_end(struct actor *self, struct mail *mail)
{
    uint64_t id = ((Sluice__RegionEnd *)mail->body)->region;
    if (id)
        end(actor_state(self), id);
    else
        give_up(actor_state(self), mail->from);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}
