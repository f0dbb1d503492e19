#include "actors/graph.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/backend.h"
#include "actors/export_nbd.h"
#include "actors/kinds.h"
#include "actors/node.h"
#include "actors/reply.h"
#include "engine/clock.h"
#include "engine/mem.h"
#include "engine/reactor.h"

#define NAME_MAX_LENGTH  63
#define BACKEND_REQUESTS 65536
#define BACKEND_BYTES    (UINT64_C(1) << 30)
#define CLOSE_AGAIN      (10 * NS_PER_MS) /* until one that was busy is asked again to close */
#define ABORT_TIME       (2 * NS_PER_S)   /* for closing after everyone was told to abort */

enum object_kind { NODE, BACKEND, EXPORT, OBJECT_KINDS };
/* READY and CLOSING objects are seen from outside: between their two events. */
enum object_state { OPENING, FAILED, READY, CLOSING };

static const char *const words[] = {"node", "backend", "export"};

struct graph;
struct object {
    struct graph *graph;
    enum object_kind kind;
    enum object_state state;
    char *name;
    char *type; /* a node's driver, an export's protocol */
    char *uri;  /* an export's */
    actor_addr address;
    unsigned reactor;
    struct object *below;     /* child, medium, or what is exported */
    Sluice__NodeFacts *facts; /* a node's, when it was opened */
    struct ticket ticket;     /* of the change under way */
    struct err err;           /* why it failed */
};

struct table {
    struct object **all;
    size_t n;
};

struct graph {
    struct actor *self;
    struct table tables[OBJECT_KINDS];
    uint64_t started;
    uint64_t changes; /* of the tables, as far as they are seen from outside */
    size_t gathers;
    bool ending, aborted;
    uint64_t deadline;
    struct ticket ender;
    struct timer again;
};

static unsigned threads(const struct graph *graph)
{
    unsigned n = world(graph->self)->threads;
    return n ? n : 1;
}

/* --- Tables */

static struct object *find(const struct graph *graph, enum object_kind kind, const char *name)
{
    const struct table *table = &graph->tables[kind];
    for (size_t i = 0; i < table->n; i++)
        if (!strcmp(table->all[i]->name, name))
            return table->all[i];
    return NULL;
}

static struct object *add(struct graph *graph, enum object_kind kind, const char *name)
{
    struct table *table = &graph->tables[kind];
    struct object *object = MEM_NEW(struct object);
    object->graph = graph;
    object->kind = kind;
    object->name = mem_string(name);
    table->all = mem_resize(table->all, (table->n + 1) * sizeof(struct object *));
    table->all[table->n++] = object;
    return object;
}

static void object_free(struct object *object)
{
    free(object->name);
    free(object->type);
    free(object->uri);
    mail_free_body(object->facts);
    free(object);
}

static void step_end(struct graph *graph);

static void drop(struct object *object)
{
    struct graph *graph = object->graph;
    struct table *table = &graph->tables[object->kind];
    size_t i = 0;
    while (table->all[i] != object)
        i++;
    table->n--;
    memmove(&table->all[i], &table->all[i + 1], (table->n - i) * sizeof(struct object *));
    object_free(object);
    if (graph->ending)
        step_end(graph);
}

/* The next one that stands on `object`, after `*kind` and `*i`; they start at 0. */
static struct object *next_user(const struct object *object, unsigned *kind, size_t *i)
{
    for (; *kind < OBJECT_KINDS; ++*kind, *i = 0) {
        const struct table *table = &object->graph->tables[*kind];
        while (*i < table->n)
            if (table->all[(*i)++]->below == object)
                return table->all[*i - 1];
    }
    return NULL;
}

static struct object *first_user(const struct object *object)
{
    unsigned kind = 0;
    size_t i = 0;
    return next_user(object, &kind, &i);
}

/* The object with this name, when it can be used; else null. */
static struct object *ready(const struct graph *graph, enum object_kind kind, const char *name,
                            const char *field, struct err *err)
{
    struct object *object = find(graph, kind, name);
    if (!object) {
        err_field(err, field, -ENOENT, "there is no %s '%.100s'; %s-list tells which there are",
                  words[kind], name, words[kind]);
        return NULL;
    }
    if (object->state != READY) {
        err_field(err, field, -EBUSY, "%s '%s' is %s; try again when that is done", words[kind],
                  object->name, object->state == CLOSING ? "being closed" : "being opened");
        return NULL;
    }
    return object;
}

static int check_name(const struct graph *graph, enum object_kind kind, const char *name,
                      struct err *err)
{
    const char *field = kind == EXPORT ? "id" : "name";
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    size_t length = strlen(name);
    if (!length || length > NAME_MAX_LENGTH || strspn(name, good) != length ||
        !memchr(good, name[0], 52))
        return err_field(
            err, field, -EINVAL,
            "'%.100s' can't name the new %s: a name is a letter, then letters, digits, "
            "'-', '.' or '_', %d characters at most",
            name, words[kind], NAME_MAX_LENGTH);
    for (unsigned other = 0; other < OBJECT_KINDS; other++)
        if ((kind == EXPORT) == (other == EXPORT) && find(graph, other, name))
            return err_field(err, field, -EEXIST,
                             "there is a %s '%s' already; choose another %s for the new %s",
                             words[other], name, field, words[kind]);
    return 0;
}

static unsigned emptiest(const struct graph *graph)
{
    const struct table *nodes = &graph->tables[NODE];
    unsigned best = 0;
    size_t fewest = SIZE_MAX;
    for (unsigned reactor = 0; reactor < threads(graph); reactor++) {
        size_t here = 0;
        for (size_t i = 0; i < nodes->n; i++)
            here += nodes->all[i]->reactor == reactor;
        if (here < fewest) {
            fewest = here;
            best = reactor;
        }
    }
    return best;
}

/* --- Events */

static void emit(struct object *object, bool added)
{
    Sluice__Event *event = MAIL_NEW(sluice__event);
    const char *below = object->below ? object->below->name : NULL;
    object->graph->changes++;
    mail_set(&event->source_kind, words[object->kind]);
    mail_set(&event->source, object->name);
    if (object->kind == NODE) {
        Sluice__NodeEvent *body = MAIL_NEW(sluice__node_event);
        mail_set(&body->node, object->name);
        mail_set(&body->driver, object->type);
        event->body_case =
            added ? SLUICE__EVENT__BODY_NODE_ADDED : SLUICE__EVENT__BODY_NODE_DELETED;
        event->node_added = body; /* both cases hold the same type */
    } else if (object->kind == BACKEND) {
        Sluice__BackendEvent *body = MAIL_NEW(sluice__backend_event);
        mail_set(&body->backend, object->name);
        if (below)
            mail_set(&body->node, below);
        event->body_case =
            added ? SLUICE__EVENT__BODY_BACKEND_ADDED : SLUICE__EVENT__BODY_BACKEND_DELETED;
        event->backend_added = body;
    } else {
        Sluice__ExportEvent *body = MAIL_NEW(sluice__export_event);
        mail_set(&body->export, object->name);
        mail_set(&body->type, object->type);
        mail_set(&body->backend, below);
        if (object->uri)
            mail_set(&body->uri, object->uri);
        event->body_case =
            added ? SLUICE__EVENT__BODY_EXPORT_ADDED : SLUICE__EVENT__BODY_EXPORT_DELETED;
        event->export_added = body;
    }
    Sluice__Emit *mail = MAIL_NEW(sluice__emit);
    mail->event = event;
    actor_tell(object->graph->self, world(object->graph->self)->events, MAIL_EMIT, mail);
}

/* --- Adding */

static void failed_closed(struct actor *self, struct mail *reply, void *arg)
{
    struct object *object = arg;
    (void)reply;
    actor_refuse(self, object->ticket, &object->err);
    drop(object);
}

/* Tells where it listens. */
static Sluice__Reply *export_reply(struct mail *mail)
{
    Sluice__Reply *reply = MAIL_NEW(sluice__reply);
    reply->body_case = SLUICE__REPLY__BODY_EXPORT;
    reply->export = (Sluice__ExportInfo *)mail->body;
    mail->body = NULL;
    return reply;
}

static void opened(struct actor *self, struct mail *reply, void *arg)
{
    struct object *object = arg;
    if (mail_fault(reply)) {
        mail_fault_err(reply, &object->err);
        object->state = FAILED;
        if (object->kind == EXPORT) /* has ended by itself */
            failed_closed(self, NULL, object);
        else
            actor_ask(self, object->address, MAIL_CLOSE, NULL, failed_closed, object);
        return;
    }
    object->state = READY;
    if (object->kind == NODE) {
        object->facts = (Sluice__NodeFacts *)reply->body;
        reply->body = NULL;
    } else if (object->kind == EXPORT) {
        const Sluice__ExportInfo *info = (Sluice__ExportInfo *)reply->body;
        object->uri = info->uri ? mem_string(info->uri) : NULL;
    }
    emit(object, true);
    actor_reply(self, object->ticket, MAIL_REPLY,
                object->kind == EXPORT ? export_reply(reply) : reply_done());
    if (object->graph->ending)
        step_end(object->graph);
}

/* Makes the actor and asks it to open; takes over `body`. */
static void open_object(struct object *object, const struct actor_type *type, unsigned kind,
                        void *body, struct ticket ticket)
{
    struct actor *self = object->graph->self;
    object->ticket = ticket;
    object->address = actor_spawn(self, type, object->name, object->reactor);
    if (object->address) {
        actor_ask(self, object->address, kind, body, opened, object);
        return;
    }
    struct err err = {0};
    err_set(&err, -ENOBUFS, "%s '%s' can't be added: the table of actors is full; remove something",
            words[object->kind], object->name);
    mail_free_body(body);
    actor_refuse(self, ticket, &err);
    drop(object);
}

static int node_add(struct graph *graph, const Sluice__NodeAdd *spec, struct ticket ticket,
                    struct err *err)
{
    struct object *child = NULL;
    if (check_name(graph, NODE, spec->name, err) < 0)
        return err->code;
    if (spec->child && !(child = ready(graph, NODE, spec->child, "child", err)))
        return err->code;
    if (spec->has_reactor && spec->reactor >= threads(graph))
        return err_field(err, "reactor", -EINVAL,
                         "node '%s' can't live on reactor %u: the reactors are 0 to %u", spec->name,
                         spec->reactor, threads(graph) - 1);
    unsigned reactor = spec->has_reactor ? spec->reactor : child ? child->reactor : emptiest(graph);
    struct object *object = add(graph, NODE, spec->name);
    object->type = mem_string(spec->driver);
    object->below = child;
    object->reactor = reactor;
    Sluice__NodeOpen *open = MAIL_NEW(sluice__node_open);
    open->spec = mail_copy(spec);
    if (child) {
        open->has_child = true;
        open->child = child->address;
        open->child_facts = mail_copy(child->facts);
    }
    open_object(object, &node_type, MAIL_NODE_OPEN, open, ticket);
    return 0;
}

static int backend_add(struct graph *graph, const Sluice__BackendAdd *spec, struct ticket ticket,
                       struct err *err)
{
    struct object *node = NULL;
    if (check_name(graph, BACKEND, spec->name, err) < 0)
        return err->code;
    if (spec->node && !(node = ready(graph, NODE, spec->node, "node", err)))
        return err->code;
    struct object *object = add(graph, BACKEND, spec->name);
    object->below = node;
    object->reactor = node ? node->reactor : emptiest(graph);
    Sluice__BackendOpen *open = MAIL_NEW(sluice__backend_open);
    open->spec = mail_copy(spec);
    open->limit = BACKEND_REQUESTS;
    open->limit_bytes = BACKEND_BYTES;
    if (node) {
        open->has_node = true;
        open->node = node->address;
        open->facts = mail_copy(node->facts);
    }
    open_object(object, &backend_type, MAIL_BACKEND_OPEN, open, ticket);
    return 0;
}

static int export_add(struct graph *graph, const Sluice__ExportAdd *spec, struct ticket ticket,
                      struct err *err)
{
    const char *id = spec->id ? spec->id : spec->backend;
    if (strcmp(spec->type, "nbd") != 0)
        return err_field(err, "type", -EINVAL,
                         "there is no export of type '%.100s'; the types are: nbd", spec->type);
    struct object *backend = ready(graph, BACKEND, spec->backend, "backend", err);
    if (!backend || check_name(graph, EXPORT, id, err) < 0)
        return err->code;
    struct object *object = add(graph, EXPORT, id);
    object->type = mem_string(spec->type);
    object->below = backend;
    object->reactor = backend->reactor;
    Sluice__ExportOpen *open = MAIL_NEW(sluice__export_open);
    open->spec = mail_copy(spec);
    open->backend = backend->address;
    if (!spec->id)
        mail_set(&open->spec->id, id);
    if (!spec->name)
        mail_set(&open->spec->name, spec->backend);
    open_object(object, &export_nbd_type, MAIL_EXPORT_OPEN, open, ticket);
    return 0;
}

/* --- Removing */

static void closed(struct actor *self, struct mail *reply, void *arg)
{
    struct object *object = arg;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        if (err.code != -ENXIO) { /* still there */
            object->state = READY;
            actor_refuse(self, object->ticket, &err);
            return; /* while shutting down, the timer asks again */
        }
    }
    emit(object, false);
    actor_reply(self, object->ticket, MAIL_REPLY, reply_done());
    drop(object);
}

static void close_object(struct object *object, struct ticket ticket)
{
    object->state = CLOSING;
    object->ticket = ticket;
    actor_ask(object->graph->self, object->address, MAIL_CLOSE, NULL, closed, object);
}

/* Names those that stand on `object`, and counts those that the sentence has no room for. */
static unsigned name_users(const struct object *object, char *out, size_t size)
{
    const struct object *user;
    unsigned kind = 0, n = 0, named = 0;
    size_t used = 0;
    for (size_t i = 0; (user = next_user(object, &kind, &i)); n++) {
        if (size - used < 2 * NAME_MAX_LENGTH)
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s '%s'", n ? ", " : "",
                                 words[user->kind], user->name);
        named++;
    }
    if (n > named)
        snprintf(out + used, size - used, " and %u more", n - named);
    return n;
}

static int remove_object(struct graph *graph, enum object_kind kind, const char *name,
                         struct ticket ticket, struct err *err)
{
    struct object *object = ready(graph, kind, name, "name", err);
    if (!object)
        return err->code;
    char users[300];
    unsigned n = name_users(object, users, sizeof(users));
    if (n)
        return err_set(err, -EBUSY, "%s '%s' can't be removed: %s %s it; remove %s first",
                       words[kind], name, users, n > 1 ? "use" : "uses", n > 1 ? "those" : "that");
    close_object(object, ticket);
    return 0;
}

/* --- Showing: descriptions of several objects are gathered into one reply */

struct gather {
    struct graph *graph;
    struct ticket ticket;
    Sluice__Reply *reply;
    size_t outstanding;
    uint64_t changes; /* of the graph, when it was begun */
    bool missed;      /* one has ended, and the graph will hear of it */
};

struct part {
    struct gather *gather;
    enum object_kind kind;
    char *name;
    void **slot;
};

static void status(struct graph *graph, struct ticket ticket);

static void add_user(char ***users, size_t *n, const char *name)
{
    *users = mem_resize(*users, (*n + 1) * sizeof(char *));
    (*users)[*n] = NULL;
    mail_set(&(*users)[(*n)++], name);
}

/* What only the graph knows. */
static void complete_info(struct graph *graph, const struct part *part)
{
    const struct object *object = find(graph, part->kind, part->name), *user;
    if (!object)
        return;
    unsigned other = 0;
    size_t i = 0;
    if (part->kind == NODE) {
        Sluice__NodeInfo *info = *part->slot;
        if (object->below)
            mail_set(&info->child, object->below->name);
        while ((user = next_user(object, &other, &i)))
            add_user(&info->users, &info->n_users, user->name);
    } else if (part->kind == BACKEND) {
        Sluice__BackendInfo *info = *part->slot;
        while ((user = next_user(object, &other, &i)))
            add_user(&info->users, &info->n_users, user->name);
    }
}

static void gather_free(struct gather *gather)
{
    struct graph *graph = gather->graph;
    free(gather);
    graph->gathers--;
    if (graph->ending)
        step_end(graph);
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

static void finish_show(struct gather *gather, void *info)
{
    struct actor *self = gather->graph->self;
    if (info) {
        actor_reply(self, gather->ticket, MAIL_REPLY, gather->reply);
        return;
    }
    struct err err = {0};
    err_field(&err, "name", -ENOENT, "it was removed meanwhile; list what is there");
    gather->reply->body_case = SLUICE__REPLY__BODY__NOT_SET;
    mail_free_body(gather->reply);
    actor_refuse(self, gather->ticket, &err);
}

static void gathered(struct gather *gather)
{
    struct graph *graph = gather->graph;
    Sluice__Reply *reply = gather->reply;
    switch (reply->body_case) {
    case SLUICE__REPLY__BODY_STATUS:
        close_gaps((void **)reply->status->nodes, &reply->status->n_nodes);
        close_gaps((void **)reply->status->backends, &reply->status->n_backends);
        close_gaps((void **)reply->status->exports, &reply->status->n_exports);
        if (gather->changes == graph->changes && !gather->missed) {
            actor_reply(graph->self, gather->ticket, MAIL_REPLY, reply);
            break;
        }
        /* It is not the state at the sequence number that it has: once more. */
        status(graph, gather->ticket);
        mail_free_body(reply);
        break;
    case SLUICE__REPLY__BODY_NODES:
        close_gaps((void **)reply->nodes->nodes, &reply->nodes->n_nodes);
        actor_reply(graph->self, gather->ticket, MAIL_REPLY, reply);
        break;
    case SLUICE__REPLY__BODY_BACKENDS:
        close_gaps((void **)reply->backends->backends, &reply->backends->n_backends);
        actor_reply(graph->self, gather->ticket, MAIL_REPLY, reply);
        break;
    case SLUICE__REPLY__BODY_EXPORTS:
        close_gaps((void **)reply->exports->exports, &reply->exports->n_exports);
        actor_reply(graph->self, gather->ticket, MAIL_REPLY, reply);
        break;
    default:
        finish_show(gather, reply->node); /* all cases hold one pointer */
        break;
    }
    gather_free(gather);
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
        *part->slot = reply->body;
        reply->body = NULL;
        complete_info(gather->graph, part);
    } else {
        const struct object *object = find(gather->graph, part->kind, part->name);
        if (object && object->state == CLOSING)
            gather->missed = true; /* the news of its end are on their way */
    }
    free(part->name);
    free(part);
    part_done(gather);
}

static void gather_one(struct gather *gather, const struct object *object, void **slot)
{
    struct part *part = MEM_NEW(struct part);
    *part = (struct part){gather, object->kind, mem_string(object->name), slot};
    gather->outstanding++;
    actor_ask(gather->graph->self, object->address, MAIL_DESCRIBE, NULL, described, part);
}

/* Asks all that are seen from outside; returns the list that fills up. */
static void *gather_all(struct gather *gather, enum object_kind kind, size_t *n)
{
    const struct table *table = &gather->graph->tables[kind];
    if (!table->n)
        return NULL;
    void **list = mem_new(table->n * sizeof(void *));
    for (size_t i = 0; i < table->n; i++)
        if (table->all[i]->state >= READY)
            gather_one(gather, table->all[i], &list[(*n)++]);
    return list;
}

/* Holds one part itself until part_done(), so that nothing ends too early. */
static struct gather *gather_new(struct graph *graph, struct ticket ticket,
                                 Sluice__Reply__BodyCase body)
{
    struct gather *gather = MEM_NEW(struct gather);
    *gather = (struct gather){.graph = graph,
                              .ticket = ticket,
                              .reply = MAIL_NEW(sluice__reply),
                              .outstanding = 1,
                              .changes = graph->changes};
    gather->reply->body_case = body;
    graph->gathers++;
    return gather;
}

static void list_objects(struct graph *graph, enum object_kind kind, struct ticket ticket)
{
    static const Sluice__Reply__BodyCase bodies[] = {
        SLUICE__REPLY__BODY_NODES, SLUICE__REPLY__BODY_BACKENDS, SLUICE__REPLY__BODY_EXPORTS};
    struct gather *gather = gather_new(graph, ticket, bodies[kind]);
    Sluice__Reply *reply = gather->reply;
    if (kind == NODE) {
        reply->nodes = MAIL_NEW(sluice__node_list);
        reply->nodes->nodes = gather_all(gather, kind, &reply->nodes->n_nodes);
    } else if (kind == BACKEND) {
        reply->backends = MAIL_NEW(sluice__backend_list);
        reply->backends->backends = gather_all(gather, kind, &reply->backends->n_backends);
    } else {
        reply->exports = MAIL_NEW(sluice__export_list);
        reply->exports->exports = gather_all(gather, kind, &reply->exports->n_exports);
    }
    part_done(gather);
}

static int show_object(struct graph *graph, enum object_kind kind, const char *name,
                       struct ticket ticket, struct err *err)
{
    static const Sluice__Reply__BodyCase bodies[] = {
        SLUICE__REPLY__BODY_NODE, SLUICE__REPLY__BODY_BACKEND, SLUICE__REPLY__BODY_EXPORT};
    const struct object *object = ready(graph, kind, name, "name", err);
    if (!object)
        return err->code;
    struct gather *gather = gather_new(graph, ticket, bodies[kind]);
    gather_one(gather, object, (void **)&gather->reply->node);
    part_done(gather);
    return 0;
}

/* The sequence number comes first: what was told up to it has happened by the time the objects are
 * asked. Of the graph's own events none may come between; others that do are told after it too, and
 * have the last word. */
static void stamped(struct actor *self, struct mail *reply, void *arg)
{
    struct gather *gather = arg;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        actor_refuse(self, gather->ticket, &err);
        gather_free(gather);
        return;
    }
    gather->reply = (Sluice__Reply *)reply->body;
    reply->body = NULL;
    Sluice__Status *out = gather->reply->status;
    out->nodes = gather_all(gather, NODE, &out->n_nodes);
    out->backends = gather_all(gather, BACKEND, &out->n_backends);
    out->exports = gather_all(gather, EXPORT, &out->n_exports);
    part_done(gather);
}

static void status(struct graph *graph, struct ticket ticket)
{
    struct gather *gather = gather_new(graph, ticket, SLUICE__REPLY__BODY_STATUS);
    Sluice__Reply *reply = gather->reply;
    Sluice__Status *out = reply->status = MAIL_NEW(sluice__status);
    gather->reply = NULL;
    mail_set(&out->version, SLUICE_VERSION);
    out->has_uptime = true;
    out->uptime = (reactor_now(actor_reactor(graph->self)) - graph->started) / NS_PER_S;
    out->reactors = mem_new(threads(graph) * sizeof(Sluice__ReactorInfo *));
    for (; out->n_reactors < threads(graph); out->n_reactors++) {
        out->reactors[out->n_reactors] = MAIL_NEW(sluice__reactor_info);
        out->reactors[out->n_reactors]->id = (uint32_t)out->n_reactors;
    }
    actor_ask(graph->self, world(graph->self)->events, MAIL_SNAPSHOT, reply, stamped, gather);
}

/* --- The end */

/* Whoever waits for one that is left. */
static void refuse_left(const struct object *object)
{
    struct err err = {0};
    err_set(&err, -ESHUTDOWN, "the engine has ended before %s '%s' could be %s",
            words[object->kind], object->name, object->state == CLOSING ? "removed" : "added");
    if (object->state != READY)
        actor_refuse(object->graph->self, object->ticket, &err);
}

static void end(struct graph *graph)
{
    for (unsigned kind = 0; kind < OBJECT_KINDS; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++)
            refuse_left(graph->tables[kind].all[i]);
    timer_cancel(reactor_timers(actor_reactor(graph->self)), &graph->again);
    actor_reply(graph->self, graph->ender, MAIL_NONE, NULL);
    graph->ending = false;
    actor_stop(graph->self);
}

/* Closes what nothing uses any more. */
static void step_end(struct graph *graph)
{
    size_t left = graph->gathers;
    for (unsigned kind = 0; kind < OBJECT_KINDS; kind++) {
        struct table *table = &graph->tables[kind];
        left += table->n;
        for (size_t i = 0; i < table->n; i++)
            if (table->all[i]->state == READY && !first_user(table->all[i]))
                close_object(table->all[i], (struct ticket){0});
    }
    if (!left && graph->ender.correlation)
        end(graph);
}

static void abort_all(struct graph *graph)
{
    graph->aborted = true;
    for (unsigned kind = 0; kind < OBJECT_KINDS; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++)
            actor_tell(graph->self, graph->tables[kind].all[i]->address, MAIL_ABORT, NULL);
}

static void fire(struct timer *timer)
{
    struct graph *graph = (struct graph *)((char *)timer - offsetof(struct graph, again));
    struct reactor *reactor = actor_reactor(graph->self);
    uint64_t now = reactor_now(reactor);
    if (now >= graph->deadline) {
        if (graph->aborted && graph->ender.correlation) {
            end(graph);
            return;
        }
        if (!graph->aborted)
            abort_all(graph);
        graph->deadline = now + ABORT_TIME;
    }
    timer_arm(reactor_timers(reactor), &graph->again, now + CLOSE_AGAIN);
    step_end(graph);
}

/* Told, it begins the end; asked, it also answers and ends itself when all is gone. Until then,
 * frontends may come to close their sessions. */
static void on_shutdown(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    struct reactor *reactor = actor_reactor(self);
    uint64_t wait = ((Sluice__Shutdown *)mail->body)->deadline, now = reactor_now(reactor);
    graph->ender = mail_ticket(mail);
    if (!graph->ending) {
        graph->ending = true;
        graph->deadline = wait > UINT64_MAX - now ? UINT64_MAX : now + wait;
        timer_arm(reactor_timers(reactor), &graph->again, now + CLOSE_AGAIN);
    } else if (graph->aborted) {
        graph->deadline = now + ABORT_TIME;
    }
    step_end(graph);
}

/* --- Requests */

static int refuse_ending(const struct graph *graph, struct err *err)
{
    return graph->ending
               ? err_set(err, -ESHUTDOWN, "the engine is shutting down; it takes no more requests")
               : 0;
}

static int perform(struct graph *graph, const Sluice__Request *request, struct ticket ticket,
                   struct err *err)
{
    switch (request->body_case) {
    case SLUICE__REQUEST__BODY_STATUS:
        status(graph, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_NODE_ADD:
        return node_add(graph, request->node_add, ticket, err);
    case SLUICE__REQUEST__BODY_NODE_LIST:
        list_objects(graph, NODE, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_NODE_SHOW:
        return show_object(graph, NODE, request->node_show->name, ticket, err);
    case SLUICE__REQUEST__BODY_NODE_REMOVE:
        return remove_object(graph, NODE, request->node_remove->name, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_ADD:
        return backend_add(graph, request->backend_add, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_LIST:
        list_objects(graph, BACKEND, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_BACKEND_SHOW:
        return show_object(graph, BACKEND, request->backend_show->name, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_REMOVE:
        return remove_object(graph, BACKEND, request->backend_remove->name, ticket, err);
    case SLUICE__REQUEST__BODY_EXPORT_ADD:
        return export_add(graph, request->export_add, ticket, err);
    case SLUICE__REQUEST__BODY_EXPORT_LIST:
        list_objects(graph, EXPORT, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_EXPORT_SHOW:
        return show_object(graph, EXPORT, request->export_show->name, ticket, err);
    case SLUICE__REQUEST__BODY_EXPORT_REMOVE:
        return remove_object(graph, EXPORT, request->export_remove->name, ticket, err);
    default:
        return err_set(err, -ENOTSUP, "the graph does not take this request; ask control");
    }
}

static void on_request(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    struct err err = {0};
    if (refuse_ending(graph, &err) < 0 ||
        perform(graph, (Sluice__Request *)mail->body, mail_ticket(mail), &err) < 0)
        actor_refuse(self, mail_ticket(mail), &err);
}

static void on_find(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    const char *name = ((Sluice__BackendFind *)mail->body)->name;
    struct err err = {0};
    const struct object *backend = NULL;
    if (refuse_ending(graph, &err) == 0)
        backend = ready(graph, BACKEND, name, "backend", &err);
    if (!backend) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    Sluice__BackendFound *found = MAIL_NEW(sluice__backend_found);
    found->address = backend->address;
    found->reactor = backend->reactor;
    actor_reply(self, mail_ticket(mail), MAIL_BACKEND_FOUND, found);
}

/* --- Life */

static void graph_init(struct actor *self)
{
    struct graph *graph = actor_state(self);
    graph->self = self;
    graph->started = reactor_now(actor_reactor(self));
    graph->again.fire = fire;
}

static void graph_fini(struct actor *self)
{
    struct graph *graph = actor_state(self);
    timer_cancel(reactor_timers(actor_reactor(self)), &graph->again);
    for (unsigned kind = 0; kind < OBJECT_KINDS; kind++) {
        for (size_t i = 0; i < graph->tables[kind].n; i++)
            object_free(graph->tables[kind].all[i]);
        free(graph->tables[kind].all);
    }
}

const struct actor_type graph_type = {
    .name = "graph",
    .size = sizeof(struct graph),
    .init = graph_init,
    .fini = graph_fini,
    .handlers =
        {
            [MAIL_REQUEST] = on_request,
            [MAIL_BACKEND_FIND] = on_find,
            [MAIL_SHUTDOWN] = on_shutdown,
        },
};
