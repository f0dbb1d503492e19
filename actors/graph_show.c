/* graph_show.c — what the graph and its objects are, as replies: descriptions of several objects
 * are gathered into one. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/mem.h"
#include "engine/reactor.h"

struct gather {
    struct graph *graph;
    struct ticket ticket;
    Sluice__Reply *reply;
    size_t outstanding;
    uint64_t told; /* of the graph, when it was begun */
    bool missed;   /* one has ended, and the graph will hear of it */
};

struct part {
    struct gather *gather;
    enum object_kind kind;
    uint64_t id;
    void **slot;
};

static void add_user(char ***users, size_t *n, const char *name)
{
    *users = mem_resize(*users, (*n + 1) * sizeof(char *));
    (*users)[*n] = NULL;
    mail_set(&(*users)[(*n)++], name);
}

/* What only the graph knows. */
static void complete_device(const struct object *object, Sluice__DeviceInfo *info)
{
    const struct driver_perms *wants = &object->standing.wants[0];
    info->has_embedded = info->has_writable = info->has_share_rw = true;
    info->embedded = object->embedded;
    info->writable = wants->perm & PERM_WRITE;
    info->share_rw = wants->shared & PERM_WRITE;
}

static void complete_info(struct graph *graph, const struct part *part)
{
    const struct object *object = graph_find_id(graph, part->kind, part->id), *user;
    if (!object)
        return;
    unsigned other = 0;
    size_t i = 0;
    if (part->kind == NODE) {
        Sluice__NodeInfo *info = *part->slot;
        if (object->group)
            mail_set(&info->throttle, object->group->name);
        info->has_inactive = info->inactive = object->inactive;
        if (object->standing.to[EDGE_CHILD])
            mail_set(&info->child, object->standing.to[EDGE_CHILD]->name);
        if (object->standing.to[EDGE_BACKING])
            mail_set(&info->backing, object->standing.to[EDGE_BACKING]->name);
        while ((user = graph_next_user(object, &other, &i)))
            add_user(&info->users, &info->n_users, graph_name(user));
        graph_show_blocked(object, info);
        graph_perm_names(object->shown.perm, &info->permissions, &info->n_permissions);
        graph_perm_names(object->shown.shared, &info->shares, &info->n_shares);
        info->has_has_backend = info->has_only_backends = true;
        info->has_backend = graph_has_backend(object);
        info->only_backends = graph_is_root(object);
    } else if (part->kind == BACKEND) {
        Sluice__BackendInfo *info = *part->slot;
        if (object->group)
            mail_set(&info->throttle, object->group->name);
        info->has_activity = true;
        info->activity = (Sluice__Activity)object->standing.activity;
        info->has_allow_inactivate = info->allow_inactivate = object->allow_inactivate;
        while ((user = graph_next_user(object, &other, &i)))
            if (user->kind != CLAIM)
                add_user(&info->users, &info->n_users, graph_name(user));
        graph_perm_names(object->total.perm, &info->permissions, &info->n_permissions);
        graph_perm_names(object->total.shared, &info->shares, &info->n_shares);
        info->has_references = true;
        info->references = graph_references(object);
        mail_set(&info->description, graph_name(object));
    } else if (part->kind == EXPORT) {
        Sluice__ExportInfo *info = *part->slot;
        const struct object *backend = object->standing.to[0];
        if (backend) { /* which may have got another name, or lost it */
            free(info->backend);
            mail_set(&info->backend, backend->name);
        }
        if (backend && !*backend->name && backend->standing.to[0])
            mail_set(&info->node, backend->standing.to[0]->name);
    } else if (part->kind == DEVICE) {
        complete_device(object, *part->slot);
    } else if (part->kind == JOB) {
        graph_show_job(object, *part->slot);
    } else if (part->kind == GROUP) {
        graph_show_throttle(object, *part->slot);
    }
}

/* Those that were gone when they were asked leave no gap. */
static void close_gaps(void **list, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++)
        if (list[i])
            list[kept++] = list[i];
    *n = kept;
}

static void close_all_gaps(Sluice__Reply *reply)
{
    switch (reply->body_case) {
    case SLUICE__REPLY__BODY_STATUS:
        close_gaps((void **)reply->status->reactors, &reply->status->n_reactors);
        close_gaps((void **)reply->status->nodes, &reply->status->n_nodes);
        close_gaps((void **)reply->status->backends, &reply->status->n_backends);
        close_gaps((void **)reply->status->exports, &reply->status->n_exports);
        close_gaps((void **)reply->status->devices, &reply->status->n_devices);
        close_gaps((void **)reply->status->jobs, &reply->status->n_jobs);
        close_gaps((void **)reply->status->throttle_groups, &reply->status->n_throttle_groups);
        break;
    case SLUICE__REPLY__BODY_NODES:
        close_gaps((void **)reply->nodes->nodes, &reply->nodes->n_nodes);
        break;
    case SLUICE__REPLY__BODY_BACKENDS:
        close_gaps((void **)reply->backends->backends, &reply->backends->n_backends);
        break;
    case SLUICE__REPLY__BODY_EXPORTS:
        close_gaps((void **)reply->exports->exports, &reply->exports->n_exports);
        break;
    case SLUICE__REPLY__BODY_DEVICES:
        close_gaps((void **)reply->devices->devices, &reply->devices->n_devices);
        break;
    case SLUICE__REPLY__BODY_JOBS:
        close_gaps((void **)reply->jobs->jobs, &reply->jobs->n_jobs);
        break;
    case SLUICE__REPLY__BODY_THROTTLES:
        close_gaps((void **)reply->throttles->throttle_groups,
                   &reply->throttles->n_throttle_groups);
        break;
    default: /* of one object; all cases hold one pointer */
        if (!reply->node)
            reply->body_case = SLUICE__REPLY__BODY__NOT_SET;
        break;
    }
}

static void gather_fini(void *kept)
{
    struct gather *gather = kept;
    if (gather->reply)
        close_all_gaps(gather->reply);
    mail_free_body(gather->reply);
}

static void gather_end(struct gather *gather)
{
    struct graph *graph = gather->graph;
    graph_unkeep(gather);
    graph->gathers--;
    graph_settled(graph);
}

static void gathered(struct gather *gather)
{
    struct graph *graph = gather->graph;
    Sluice__Reply *reply = gather->reply;
    close_all_gaps(reply);
    if (reply->body_case == SLUICE__REPLY__BODY_STATUS &&
        (gather->told != graph->told || gather->missed)) {
        /* It is not the state at the sequence number that it has: once more. */
        graph_status(graph, gather->ticket);
    } else if (reply->body_case == SLUICE__REPLY__BODY__NOT_SET) {
        struct err err = {0};
        err_field(&err, "name", -ENOENT, "it was removed meanwhile; list what is there");
        actor_refuse(graph->self, gather->ticket, &err);
    } else {
        actor_reply(graph->self, gather->ticket, MAIL_REPLY, reply);
        gather->reply = NULL;
    }
    gather_end(gather);
}

static void part_done(struct gather *gather)
{
    if (!--gather->outstanding)
        gathered(gather);
}

static void described(struct actor *self, struct mail *reply, void *arg)
{
    struct part *part = arg;
    struct gather *gather = part->gather;
    (void)self;
    if (!mail_fault(reply)) {
        *part->slot =
            part->kind == GROUP ? graph_take_throttle(gather->graph, reply->body) : reply->body;
        reply->body = NULL;
        complete_info(gather->graph, part);
    } else {
        const struct object *object = graph_find_id(gather->graph, part->kind, part->id);
        if (object && object->state == CLOSING)
            gather->missed = true; /* the news of its end are on their way */
    }
    graph_unkeep(part);
    part_done(gather);
}

static void gather_one(struct gather *gather, const struct object *object, void **slot)
{
    struct part *part = GRAPH_KEEP(gather->graph, struct part, NULL);
    *part = (struct part){gather, object->kind, object->id, slot};
    gather->outstanding++;
    actor_addr whom = object->address;
    unsigned kind = MAIL_DESCRIBE;
    void *body = NULL;
    if (object->kind == DEVICE) { /* its backend knows how it stands */
        whom = object->standing.to[0]->address;
        kind = MAIL_DEVICE_DESCRIBE;
    } else if (object->kind == GROUP) { /* one of a tree */
        Sluice__ThrottleDescribe *describe = body = MAIL_NEW(sluice__throttle_describe);
        describe->group = object->id;
        kind = MAIL_THROTTLE_DESCRIBE;
    }
    actor_ask(gather->graph->self, whom, kind, body, described, part);
}

static void reactor_described(struct actor *self, struct mail *reply, void *arg)
{
    struct part *part = arg;
    struct gather *gather = part->gather;
    (void)self;
    if (!mail_fault(reply)) {
        *part->slot = reply->body;
        reply->body = NULL;
    }
    graph_unkeep(part);
    part_done(gather);
}

static void *gather_reactors(struct gather *gather, size_t *n)
{
    struct graph *graph = gather->graph;
    void **list = mem_new(graph_threads(graph) * sizeof(void *));
    for (unsigned i = 0; i < graph_threads(graph); i++) {
        struct part *part = GRAPH_KEEP(graph, struct part, NULL);
        *part = (struct part){.gather = gather, .slot = &list[(*n)++]};
        gather->outstanding++;
        actor_ask(graph->self, graph->reactors[i], MAIL_DESCRIBE, NULL, reactor_described, part);
    }
    return list;
}

/* A device that has let go is gone; backends are seen that have a name, or really all. */
static bool is_seen(const struct object *object, bool unnamed)
{
    return object->state >= READY && (object->kind != BACKEND || unnamed || *object->name) &&
           (object->kind != DEVICE || object->standing.to[0]);
}

/* Asks all that are seen; returns the list that fills up. */
static void *gather_all(struct gather *gather, enum object_kind kind, bool unnamed, size_t *n)
{
    const struct table *table = &gather->graph->tables[kind];
    if (!table->n)
        return NULL;
    void **list = mem_new(table->n * sizeof(void *));
    for (size_t i = 0; i < table->n; i++)
        if (is_seen(table->all[i], unnamed))
            gather_one(gather, table->all[i], &list[(*n)++]);
    return list;
}

/* Holds one part itself until part_done(), so that nothing ends too early. */
static struct gather *gather_new(struct graph *graph, struct ticket ticket,
                                 Sluice__Reply__BodyCase body)
{
    struct gather *gather = GRAPH_KEEP(graph, struct gather, gather_fini);
    *gather = (struct gather){.graph = graph,
                              .ticket = ticket,
                              .reply = MAIL_NEW(sluice__reply),
                              .outstanding = 1,
                              .told = graph->told};
    gather->reply->body_case = body;
    graph->gathers++;
    return gather;
}

static void *gather_roots(struct gather *gather, size_t *n)
{
    struct graph_walk walk = {0};
    const struct object *node;
    void **list = mem_new((gather->graph->tables[NODE].n + 1) * sizeof(void *));
    while ((node = graph_next_root(gather->graph, &walk)))
        gather_one(gather, node, &list[(*n)++]);
    return list;
}

void graph_list(struct graph *graph, enum object_kind kind, bool wide, struct ticket ticket)
{
    static const Sluice__Reply__BodyCase bodies[] = {
        SLUICE__REPLY__BODY_NODES,   SLUICE__REPLY__BODY_BACKENDS, SLUICE__REPLY__BODY_EXPORTS,
        SLUICE__REPLY__BODY_DEVICES, SLUICE__REPLY__BODY_JOBS,     SLUICE__REPLY__BODY_THROTTLES};
    struct gather *gather = gather_new(graph, ticket, bodies[kind]);
    Sluice__Reply *reply = gather->reply;
    if (kind == NODE) {
        reply->nodes = MAIL_NEW(sluice__node_list);
        reply->nodes->nodes = wide ? gather_all(gather, kind, true, &reply->nodes->n_nodes)
                                   : gather_roots(gather, &reply->nodes->n_nodes);
    } else if (kind == BACKEND) {
        reply->backends = MAIL_NEW(sluice__backend_list);
        reply->backends->backends = gather_all(gather, kind, wide, &reply->backends->n_backends);
    } else if (kind == DEVICE) {
        reply->devices = MAIL_NEW(sluice__device_list);
        reply->devices->devices = gather_all(gather, kind, true, &reply->devices->n_devices);
    } else if (kind == JOB) {
        reply->jobs = MAIL_NEW(sluice__job_list);
        reply->jobs->jobs = gather_all(gather, kind, true, &reply->jobs->n_jobs);
    } else if (kind == GROUP) {
        reply->throttles = MAIL_NEW(sluice__throttle_list);
        reply->throttles->throttle_groups =
            gather_all(gather, kind, true, &reply->throttles->n_throttle_groups);
    } else {
        reply->exports = MAIL_NEW(sluice__export_list);
        reply->exports->exports = gather_all(gather, kind, true, &reply->exports->n_exports);
    }
    part_done(gather);
}

static const Sluice__Reply__BodyCase bodies_of_one[] = {
    SLUICE__REPLY__BODY_NODE,   SLUICE__REPLY__BODY_BACKEND, SLUICE__REPLY__BODY_EXPORT,
    SLUICE__REPLY__BODY_DEVICE, SLUICE__REPLY__BODY_JOB,     SLUICE__REPLY__BODY_THROTTLE};

int graph_show(struct graph *graph, enum object_kind kind, const char *name, struct ticket ticket,
               struct err *err)
{
    const struct object *object = graph_there(graph, kind, name, "name", err);
    if (!object)
        return err->code;
    struct gather *gather = gather_new(graph, ticket, bodies_of_one[kind]);
    gather_one(gather, object, (void **)&gather->reply->node);
    part_done(gather);
    return 0;
}

/* The sequence number comes first: what was told up to it has happened by the time the objects are
 * asked. An object tells what happens to it before it describes itself so, both to the graph: when
 * no event has passed meanwhile, nothing that is told later is in the descriptions. */
static void stamped(struct actor *self, struct mail *reply, void *arg)
{
    struct gather *gather = arg;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        actor_refuse(self, gather->ticket, &err);
        gather_end(gather);
        return;
    }
    gather->reply = (Sluice__Reply *)reply->body;
    reply->body = NULL;
    Sluice__Status *out = gather->reply->status;
    out->reactors = gather_reactors(gather, &out->n_reactors);
    out->nodes = gather_all(gather, NODE, true, &out->n_nodes);
    out->backends = gather_all(gather, BACKEND, false, &out->n_backends);
    out->exports = gather_all(gather, EXPORT, true, &out->n_exports);
    out->devices = gather_all(gather, DEVICE, true, &out->n_devices);
    out->jobs = gather_all(gather, JOB, true, &out->n_jobs);
    out->throttle_groups = gather_all(gather, GROUP, true, &out->n_throttle_groups);
    part_done(gather);
}

void graph_status(struct graph *graph, struct ticket ticket)
{
    struct gather *gather = gather_new(graph, ticket, SLUICE__REPLY__BODY_STATUS);
    Sluice__Reply *reply = gather->reply;
    Sluice__Status *out = reply->status = MAIL_NEW(sluice__status);
    gather->reply = NULL;
    mail_set(&out->version, SLUICE_VERSION);
    out->has_uptime = out->has_run_state = true;
    out->run_state = graph->incoming ? SLUICE__RUN_STATE__INCOMING
                     : graph->paused ? SLUICE__RUN_STATE__PAUSED
                                     : SLUICE__RUN_STATE__RUNNING;
    out->uptime = (reactor_now(actor_reactor(graph->self)) - graph->started) / NS_PER_S;
    actor_ask(graph->self, world(graph->self)->events, MAIL_SNAPSHOT, reply, stamped, gather);
}
