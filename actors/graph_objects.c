/* graph_objects.c — the tables of the graph, and how objects come and go. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/backend.h"
#include "actors/device.h"
#include "actors/emit.h"
#include "actors/export_nbd.h"
#include "actors/job.h"
#include "actors/name_list.h"
#include "actors/node.h"
#include "actors/reply.h"
#include "engine/mem.h"

#define NAME_MAX_LENGTH 63

const char *const graph_words[OBJECT_KINDS] = {"node", "backend",        "export", "device",
                                               "job",  "throttle group", "client"};
const char *const graph_short_words[OBJECT_KINDS] = {"node", "backend",  "export", "device",
                                                     "job",  "throttle", "client"};

/* --- Tables */

struct object *graph_find(const struct graph *graph, enum object_kind kind, const char *name)
{
    const struct table *table = &graph->tables[kind];
    for (size_t i = 0; *name && i < table->n; i++)
        if (!strcmp(table->all[i]->name, name))
            return table->all[i];
    return NULL;
}

struct object *graph_find_id(const struct graph *graph, enum object_kind kind, uint64_t id)
{
    const struct table *table = &graph->tables[kind];
    for (size_t i = 0; i < table->n; i++)
        if (table->all[i]->id == id)
            return table->all[i];
    return NULL;
}

struct object *graph_by_address(const struct graph *graph, actor_addr address)
{
    for (unsigned kind = 0; kind < HOSTED_KINDS; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++)
            if (graph->tables[kind].all[i]->address == address)
                return graph->tables[kind].all[i];
    return NULL;
}

const char *graph_name(const struct object *object)
{
    if (*object->name)
        return object->name;
    if (object->kind == DEVICE)
        return object->uri;
    const struct object *device = object->kind == BACKEND ? graph_device(object) : NULL;
    return device ? graph_name(device) : "a block device";
}

struct object *graph_object_add(struct graph *graph, enum object_kind kind, const char *name)
{
    struct table *table = &graph->tables[kind];
    struct object *object = MEM_NEW(struct object);
    object->graph = graph;
    object->kind = kind;
    object->name = mem_string(name);
    object->id = ++graph->last_id;
    object->kept = *name;
    object->total.shared = object->total_next.shared = object->granted.shared = PERM_ALL;
    object->shown.shared = PERM_ALL;
    table->all = mem_resize(table->all, (table->n + 1) * sizeof(struct object *));
    table->all[table->n++] = object;
    return object;
}

void graph_object_free(struct object *object)
{
    free(object->name);
    free(object->type);
    free(object->uri);
    mail_free_body(object->body);
    free(object->swap);
    graph_block_free(object);
    graph_drain_forget(object);
    graph_throttle_free(object);
    free(object);
}

void graph_object_drop(struct object *object)
{
    struct graph *graph = object->graph;
    struct table *table = &graph->tables[object->kind];
    struct object *group = object->group, *leaves = object->leaves;
    size_t i = 0;
    if (object->through) /* and nobody else will end it */
        graph_drain_end(object->through);
    while (table->all[i] != object)
        i++;
    table->n--;
    memmove(&table->all[i], &table->all[i + 1], (table->n - i) * sizeof(struct object *));
    graph_object_free(object);
    graph_throttle_left(group);
    graph_throttle_left(leaves);
    graph_settled(graph);
}

static bool stands_on(const struct standing *standing, const struct object *object)
{
    for (int i = 0; i < EDGES; i++)
        if (standing->to[i] == object)
            return true;
    return false;
}

struct object *graph_next_user(const struct object *object, unsigned *kind, size_t *i)
{
    for (; *kind < OBJECT_KINDS; ++*kind, *i = 0) {
        const struct table *table = &object->graph->tables[*kind];
        while (*i < table->n)
            if (stands_on(&table->all[(*i)++]->standing, object))
                return table->all[*i - 1];
    }
    /* Then those that are about to. */
    size_t number = 0;
    for (struct change *change = object->graph->changes; change; change = change->next) {
        if (number++ < *i || stands_on(&change->object->standing, object) ||
            !stands_on(&change->standing, object))
            continue;
        *i = number;
        return change->object;
    }
    return NULL;
}

struct object *graph_first_user(const struct object *object)
{
    unsigned kind = 0;
    size_t i = 0;
    return graph_next_user(object, &kind, &i);
}

struct object *graph_there(const struct graph *graph, enum object_kind kind, const char *name,
                           const char *field, struct err *err)
{
    struct object *object = graph_find(graph, kind, name);
    return object && object->state == CHANGING ? object
                                               : graph_ready(graph, kind, name, field, err);
}

int graph_check_ready(const struct object *object, const char *field, struct err *err)
{
    if (object->state == READY)
        return 0;
    return err_field(err, field, -EBUSY, "%s '%s' is %s; try again when that is done",
                     graph_words[object->kind], graph_name(object),
                     object->state == CLOSING    ? "being closed"
                     : object->state == CHANGING ? "being changed"
                                                 : "being opened");
}

struct object *graph_ready(const struct graph *graph, enum object_kind kind, const char *name,
                           const char *field, struct err *err)
{
    struct object *object = graph_find(graph, kind, name);
    if (!object) {
        err_field(err, field, -ENOENT, "there is no %s '%.100s'; %s-list tells which there are",
                  graph_words[kind], name, graph_short_words[kind]);
        return NULL;
    }
    return graph_check_ready(object, field, err) < 0 ? NULL : object;
}

/* Bytes of the character at `text`, in UTF-8. */
static int character(const char *text)
{
    int bytes = 1;
    while (((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes++;
    return bytes;
}

/* What is wrong with a name, or "" when nothing is. Returns `out`. */
static const char *fault_of_name(const char *name, char *out, size_t size)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    size_t length = strlen(name), clean = strspn(name, good);
    *out = '\0';
    if (!length)
        snprintf(out, size, "it is empty");
    else if (!memchr(good, name[0], 52))
        snprintf(out, size, "it begins with '%.*s'", character(name), name);
    else if (clean < length)
        snprintf(out, size, "it has '%.*s' in it", character(name + clean), name + clean);
    else if (length > NAME_MAX_LENGTH)
        snprintf(out, size, "it has %zu characters", length);
    return out;
}

/* Nodes and backends share theirs, and so do exports and devices. */
static unsigned name_space(enum object_kind kind)
{
    return kind == BACKEND ? NODE : kind == DEVICE ? EXPORT : kind;
}

int graph_check_name(const struct graph *graph, enum object_kind kind, const char *name,
                     struct err *err)
{
    static const char *const with_article[] = {"a node",   "a backend", "an export",
                                               "a device", "a job",     "a throttle group"};
    const char *field = kind == EXPORT || kind == DEVICE || kind == JOB ? "id" : "name";
    char fault[64];
    if (*fault_of_name(name, fault, sizeof(fault)))
        return err_field(
            err, field, -EINVAL,
            "'%.100s' can't name the new %s: %s, but a name is a letter, then letters, digits, "
            "'-', '.' or '_', %d characters at most",
            name, graph_words[kind], fault, NAME_MAX_LENGTH);
    for (unsigned other = 0; other < NAMED_KINDS; other++)
        if (name_space(kind) == name_space(other) && graph_find(graph, other, name))
            return err_field(err, field, -EEXIST,
                             "there is %s '%s' already; choose another %s for the new %s",
                             with_article[other], name, field, graph_words[kind]);
    return 0;
}

unsigned graph_emptiest(const struct graph *graph)
{
    const struct table *nodes = &graph->tables[NODE];
    unsigned best = 0;
    size_t fewest = SIZE_MAX;
    for (unsigned reactor = 0; reactor < graph_threads(graph); reactor++) {
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

static void *node_event(const struct object *object)
{
    Sluice__NodeEvent *event = MAIL_NEW(sluice__node_event);
    mail_set(&event->node, object->name);
    mail_set(&event->driver, object->type);
    return event;
}

static void *backend_event(const struct object *object)
{
    Sluice__BackendEvent *event = MAIL_NEW(sluice__backend_event);
    mail_set(&event->backend, object->name);
    if (object->standing.to[0])
        mail_set(&event->node, object->standing.to[0]->name);
    return event;
}

static void *export_event(const struct object *object)
{
    Sluice__ExportEvent *event = MAIL_NEW(sluice__export_event);
    mail_set(&event->export, object->name);
    mail_set(&event->type, object->type);
    mail_set(&event->backend, object->standing.to[0]->name);
    const struct object *backend = object->standing.to[0];
    if (!*backend->name && backend->standing.to[0]) /* its own */
        mail_set(&event->node, backend->standing.to[0]->name);
    if (object->uri)
        mail_set(&event->uri, object->uri);
    return event;
}

static void *device_event(const struct object *object)
{
    Sluice__DeviceEvent *event = MAIL_NEW(sluice__device_event);
    mail_set(&event->device, graph_name(object));
    mail_set(&event->backend, object->standing.to[0]->name);
    return event;
}

static void *job_event(const struct object *object)
{
    Sluice__JobEvent *event = MAIL_NEW(sluice__job_event);
    mail_set(&event->id, object->name);
    mail_set(&event->type, object->type);
    return event;
}

void graph_emit_object(const struct object *object, bool added)
{
    static const struct {
        Sluice__Event__BodyCase added, deleted;
        void *(*make)(const struct object *object);
    } kinds[] = {
        [NODE] = {SLUICE__EVENT__BODY_NODE_ADDED, SLUICE__EVENT__BODY_NODE_DELETED, node_event},
        [BACKEND] = {SLUICE__EVENT__BODY_BACKEND_ADDED, SLUICE__EVENT__BODY_BACKEND_DELETED,
                     backend_event},
        [EXPORT] = {SLUICE__EVENT__BODY_EXPORT_ADDED, SLUICE__EVENT__BODY_EXPORT_DELETED,
                    export_event},
        [DEVICE] = {SLUICE__EVENT__BODY_DEVICE_ADDED, SLUICE__EVENT__BODY_DEVICE_DELETED,
                    device_event},
        [JOB] = {SLUICE__EVENT__BODY_JOB_ADDED, SLUICE__EVENT__BODY_JOB_DELETED, job_event},
        [GROUP] = {SLUICE__EVENT__BODY_THROTTLE_ADDED, SLUICE__EVENT__BODY_THROTTLE_DELETED,
                   graph_throttle_event},
    };
    if (object->kind == BACKEND && !*object->name) /* nobody sees it */
        return;
    graph_emit(object->graph,
               emit_make(graph_short_words[object->kind], graph_name(object),
                         SLUICE__EVENT__SEVERITY__INFO,
                         added ? kinds[object->kind].added : kinds[object->kind].deleted,
                         kinds[object->kind].make(object)));
}

/* --- Adding */

/* What it held is given up: nothing is left of it. */
static void failed(struct object *object, const struct err *err)
{
    (void)err;
    graph_fail(object);
}

static void failed_closed(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply;
    graph_change(arg, (struct standing){0}, failed);
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
    if (object->kind == EXPORT) {
        const Sluice__ExportInfo *info = (Sluice__ExportInfo *)reply->body;
        object->uri = info->uri ? mem_string(info->uri) : NULL;
    }
    if (object->kind == EXPORT || object->kind == DEVICE)
        graph_tell_attached(object, NULL);
    graph_emit_object(object, true);
    if (!graph_go_on(object))
        actor_reply(self, ticket_take(&object->ticket), MAIL_REPLY,
                    object->kind == EXPORT ? export_reply(reply) : reply_done());
    graph_settled(object->graph);
}

/* Makes the actor and asks it to open. */
static void make(struct object *object)
{
    static const struct {
        const struct actor_type *type;
        unsigned open;
    } hosts[HOSTED_KINDS] = {
        [NODE] = {&node_type, MAIL_NODE_OPEN},
        [BACKEND] = {&backend_type, MAIL_BACKEND_OPEN},
        [EXPORT] = {&export_nbd_type, MAIL_EXPORT_OPEN},
        [DEVICE] = {&device_type, MAIL_DEVICE_OPEN},
        [JOB] = {&job_type, MAIL_JOB_OPEN},
    };
    struct actor *self = object->graph->self;
    if (object->kind == BACKEND) { /* from here on it is told */
        Sluice__BackendOpen *open = object->body;
        open->has_paused = true;
        open->paused = object->graph->paused;
    }
    object->address = actor_spawn(self, hosts[object->kind].type, object->name, object->reactor);
    if (object->address) {
        actor_ask(self, object->address, hosts[object->kind].open, object->body, opened, object);
        object->body = NULL;
        graph_drain_sync(object->graph);
        graph_block_sync(object->graph);
        return;
    }
    err_set(&object->err, -ENOBUFS,
            "%s '%s' can't be added: the table of actors is full; remove something",
            graph_words[object->kind], object->name);
    failed_closed(self, NULL, object);
}

/* It has what it needs. What a job has blocked has come to an end before it begins. */
static void placed(struct object *object, const struct err *err)
{
    if (err) {
        object->err = *err;
        graph_fail(object);
    } else if (object->kind == JOB) {
        graph_block_await(object, make);
    } else {
        make(object);
    }
}

void graph_begin_add(struct object *object, struct standing standing, void *body)
{
    object->body = body;
    graph_active_init(object, &standing, body);
    if (object->waits_for_leaving)
        object->standing = standing; /* so that what it is to stand on stays */
    else
        graph_change(object, standing, placed);
}

static struct object *next_waiting(const struct graph *graph)
{
    const struct table *backends = &graph->tables[BACKEND];
    for (size_t i = 0; i < backends->n; i++)
        if (backends->all[i]->waits_for_leaving)
            return backends->all[i];
    return NULL;
}

void graph_add_waiting(struct graph *graph)
{
    struct object *backend;
    while ((backend = next_waiting(graph)))
        graph_begin_add(backend, (struct standing){.to = {backend->standing.to[0]}}, backend->body);
}

/* --- Removing */

static void gone(struct object *object)
{
    if (object->err.code) /* it goes because something else failed */
        actor_refuse(object->graph->self, object->ticket, &object->err);
    else
        actor_reply(object->graph->self, object->ticket, MAIL_REPLY, reply_done());
    graph_object_drop(object);
}

static void left(struct object *object, const struct err *err)
{
    (void)err; /* giving up is never refused */
    if (graph_let_go_below(object, object->ticket, object->err.code ? &object->err : NULL))
        graph_object_drop(object); /* its medium answers */
    else if (object->aside)
        graph_part(object, object->aside, gone);
    else
        gone(object);
}

static void let_go(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply;
    graph_change(arg, (struct standing){0}, left);
}

/* Something may wait for limits when one of these goes; in its backend. */
static bool may_wait(const struct object *object)
{
    return object->kind == BACKEND || object->kind == EXPORT;
}

static struct object *waits_at(struct object *object)
{
    return object->kind == BACKEND ? object : object->standing.to[0];
}

static void closed(struct actor *self, struct mail *reply, void *arg)
{
    struct object *object = arg;
    if (may_wait(object))
        graph_let_through_end(waits_at(object));
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        if (err.code != -ENXIO) { /* still there */
            object->state = READY;
            actor_refuse(self, ticket_take(&object->ticket), &err);
            graph_moves_go(object->graph);
            return; /* while shutting down, the timer asks again */
        }
    }
    graph_emit_object(object, false);
    object->aside = object->kind == BACKEND ? object->standing.to[0] : NULL;
    if (object->kind == EXPORT || object->kind == DEVICE)
        actor_ask(self, object->standing.to[0]->address, MAIL_DEVICE_DETACH, NULL, let_go, object);
    else
        graph_change(object, (struct standing){0}, left);
}

void graph_close_object(struct object *object, struct ticket ticket)
{
    object->state = CLOSING;
    object->err = (struct err){0};
    object->ticket = ticket;
    if (may_wait(object))
        graph_let_through(waits_at(object));
    actor_ask(object->graph->self, object->address, MAIL_CLOSE, NULL, closed, object);
}

/* Names those that stand on `object`. */
static unsigned name_users(const struct object *object, struct name_list *list)
{
    const struct object *user;
    unsigned kind = 0;
    for (size_t i = 0; (user = graph_next_user(object, &kind, &i));) {
        if (user->kind == BACKEND && !*user->name && graph_device(user))
            user = graph_device(user); /* with which it goes */
        name_list_add(list, graph_words[user->kind], graph_name(user));
    }
    return name_list_end(list);
}

int graph_remove(struct graph *graph, enum object_kind kind, const char *name, struct ticket ticket,
                 struct err *err)
{
    struct object *object = graph_ready(graph, kind, name, "name", err);
    if (!object)
        return err->code;
    if (object->embedded)
        return err_set(err, -EBUSY,
                       "device '%s' can't be removed: it is a program's, which detaches it", name);
    struct name_list users = {0};
    unsigned n = name_users(object, &users);
    if (n)
        return err_set(err, -EBUSY, "%s '%s' can't be removed: %s %s it; remove %s first",
                       graph_words[kind], name, users.text, n > 1 ? "use" : "uses",
                       n > 1 ? "those" : "that");
    if (graph_blocked_removal(object, err) < 0)
        return err->code;
    graph_close_object(object, ticket);
    return 0;
}
