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
#include "actors/node.h"
#include "actors/reply.h"
#include "engine/mem.h"

#define NAME_MAX_LENGTH  63
#define BACKEND_REQUESTS 65536
#define BACKEND_BYTES    (UINT64_C(4) << 30) /* so that NBD connections by the hundred have theirs */

const char *const graph_words[OBJECT_KINDS] = {"node", "backend", "export", "device", "client"};

/* --- Tables */

struct object *graph_find(const struct graph *graph, enum object_kind kind, const char *name)
{
    const struct table *table = &graph->tables[kind];
    for (size_t i = 0; *name && i < table->n; i++)
        if (!strcmp(table->all[i]->name, name))
            return table->all[i];
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
    object->total.shared = object->total_next.shared = object->granted.shared = PERM_ALL;
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
    free(object);
}

void graph_object_drop(struct object *object)
{
    struct graph *graph = object->graph;
    struct table *table = &graph->tables[object->kind];
    size_t i = 0;
    while (table->all[i] != object)
        i++;
    table->n--;
    memmove(&table->all[i], &table->all[i + 1], (table->n - i) * sizeof(struct object *));
    graph_object_free(object);
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

struct object *graph_ready(const struct graph *graph, enum object_kind kind, const char *name,
                           const char *field, struct err *err)
{
    struct object *object = graph_find(graph, kind, name);
    if (!object) {
        err_field(err, field, -ENOENT, "there is no %s '%.100s'; %s-list tells which there are",
                  graph_words[kind], name, graph_words[kind]);
        return NULL;
    }
    if (object->state != READY) {
        err_field(err, field, -EBUSY, "%s '%s' is %s; try again when that is done",
                  graph_words[kind], object->name,
                  object->state == CLOSING    ? "being closed"
                  : object->state == CHANGING ? "being changed"
                                              : "being opened");
        return NULL;
    }
    return object;
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

int graph_check_name(const struct graph *graph, enum object_kind kind, const char *name,
                     struct err *err)
{
    static const char *const with_article[] = {"a node", "a backend", "an export", "a device"};
    const char *field = kind >= EXPORT ? "id" : "name";
    char fault[64];
    if (*fault_of_name(name, fault, sizeof(fault)))
        return err_field(
            err, field, -EINVAL,
            "'%.100s' can't name the new %s: %s, but a name is a letter, then letters, digits, "
            "'-', '.' or '_', %d characters at most",
            name, graph_words[kind], fault, NAME_MAX_LENGTH);
    for (unsigned other = 0; other < HOSTED_KINDS; other++)
        if ((kind >= EXPORT) == (other >= EXPORT) && graph_find(graph, other, name))
            return err_field(err, field, -EEXIST,
                             "there is %s '%s' already; choose another %s for the new %s",
                             with_article[other], name, field, graph_words[kind]);
    return 0;
}

static unsigned emptiest(const struct graph *graph)
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
    if (object->own)
        mail_set(&event->node, object->own->standing.to[0]->name);
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
    };
    if (object->kind == BACKEND && !*object->name) /* nobody sees it */
        return;
    graph_emit(object->graph,
               emit_make(graph_words[object->kind], graph_name(object),
                         SLUICE__EVENT__SEVERITY__INFO,
                         added ? kinds[object->kind].added : kinds[object->kind].deleted,
                         kinds[object->kind].make(object)));
}

/* --- Adding */

/* What it held is given up: nothing is left of it. */
static void failed(struct object *object, const struct err *err)
{
    (void)err;
    object->state = FAILED;
    if (object->own) { /* first */
        graph_close_own(object);
        return;
    }
    if (object->master)
        graph_export_proceed(object->master, &object->err);
    else
        actor_refuse(object->graph->self, object->ticket, &object->err);
    graph_object_drop(object);
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
    if (object->master)
        graph_export_proceed(object->master, NULL);
    actor_reply(self, object->ticket, MAIL_REPLY,
                object->kind == EXPORT ? export_reply(reply) : reply_done());
    graph_settled(object->graph);
}

/* It has what it needs: makes the actor and asks it to open. */
static void placed(struct object *object, const struct err *err)
{
    static const struct {
        const struct actor_type *type;
        unsigned open;
    } hosts[HOSTED_KINDS] = {
        [NODE] = {&node_type, MAIL_NODE_OPEN},
        [BACKEND] = {&backend_type, MAIL_BACKEND_OPEN},
        [EXPORT] = {&export_nbd_type, MAIL_EXPORT_OPEN},
        [DEVICE] = {&device_type, MAIL_DEVICE_OPEN},
    };
    struct actor *self = object->graph->self;
    if (err) {
        object->err = *err;
        failed(object, NULL);
        return;
    }
    object->address = actor_spawn(self, hosts[object->kind].type, object->name, object->reactor);
    if (object->address) {
        actor_ask(self, object->address, hosts[object->kind].open, object->body, opened, object);
        object->body = NULL;
        graph_drain_sync(object->graph);
        return;
    }
    err_set(&object->err, -ENOBUFS,
            "%s '%s' can't be added: the table of actors is full; remove something",
            graph_words[object->kind], object->name);
    failed_closed(self, NULL, object);
}

void graph_object_begin(struct object *object, struct standing standing, void *body,
                        struct ticket ticket)
{
    object->ticket = ticket;
    object->body = body;
    graph_change(object, standing, placed);
}

static int find_children(struct graph *graph, const Sluice__NodeAdd *spec, struct object **to,
                         struct err *err)
{
    if (spec->child && !(to[EDGE_CHILD] = graph_ready(graph, NODE, spec->child, "child", err)))
        return err->code;
    if (spec->backing &&
        !(to[EDGE_BACKING] = graph_ready(graph, NODE, spec->backing, "backing", err)))
        return err->code;
    return 0;
}

int graph_node_add(struct graph *graph, const Sluice__NodeAdd *spec, struct ticket ticket,
                   struct err *err)
{
    struct standing standing = {0};
    if (graph_check_name(graph, NODE, spec->name, err) < 0 ||
        find_children(graph, spec, standing.to, err) < 0)
        return err->code;
    if (spec->has_reactor && spec->reactor >= graph_threads(graph))
        return err_field(err, "reactor", -EINVAL,
                         "node '%s' can't live on reactor %u: the reactors are 0 to %u", spec->name,
                         spec->reactor, graph_threads(graph) - 1);
    const struct object *child = standing.to[EDGE_CHILD];
    unsigned reactor = spec->has_reactor ? spec->reactor : child ? child->reactor : emptiest(graph);
    struct object *object = graph_object_add(graph, NODE, spec->name);
    object->type = mem_string(spec->driver);
    object->driver = driver_find(spec->driver);
    object->reactor = object->home = reactor;
    Sluice__NodeOpen *open = MAIL_NEW(sluice__node_open);
    open->spec = mail_copy(spec);
    if (child) {
        open->has_child = true;
        open->child = child->address;
    }
    graph_object_begin(object, standing, open, ticket);
    return 0;
}

/* Takes over `spec`. */
static void begin_backend(struct object *object, struct object *node, Sluice__BackendAdd *spec,
                          struct ticket ticket)
{
    struct graph *graph = object->graph;
    object->reactor = node ? node->reactor : emptiest(graph);
    object->read_only = spec->read_only;
    Sluice__BackendOpen *open = MAIL_NEW(sluice__backend_open);
    open->spec = spec;
    open->limit = BACKEND_REQUESTS;
    open->limit_bytes = BACKEND_BYTES;
    open->has_paused = true;
    open->paused = graph->paused;
    if (node) {
        open->has_node = true;
        open->node = node->address;
    }
    graph_object_begin(object, (struct standing){.to = {node}}, open, ticket);
}

struct object *graph_own_backend(struct object *export, struct object *node)
{
    struct object *object = graph_object_add(export->graph, BACKEND, "");
    object->master = export;
    object->may_move = true;
    Sluice__BackendAdd *spec = MAIL_NEW(sluice__backend_add);
    mail_set(&spec->name, "");
    mail_set(&spec->node, node->name);
    begin_backend(object, node, spec, (struct ticket){0});
    return object;
}

int graph_backend_add(struct graph *graph, const Sluice__BackendAdd *spec, struct ticket ticket,
                      struct err *err)
{
    struct object *node = NULL;
    if (graph_check_name(graph, BACKEND, spec->name, err) < 0)
        return err->code;
    if (spec->node && !(node = graph_ready(graph, NODE, spec->node, "node", err)))
        return err->code;
    begin_backend(graph_object_add(graph, BACKEND, spec->name), node, mail_copy(spec), ticket);
    return 0;
}

/* --- Removing */

/* The event tells what it stood on. */
static void gone(struct object *object)
{
    if (object->own) {
        graph_close_own(object);
        return;
    }
    if (object->master)
        graph_export_end(object->master, NULL);
    actor_reply(object->graph->self, object->ticket, MAIL_REPLY, reply_done());
    graph_object_drop(object);
}

static void left(struct object *object, const struct err *err)
{
    (void)err; /* giving up is never refused */
    if (object->aside)
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

static void closed(struct actor *self, struct mail *reply, void *arg)
{
    struct object *object = arg;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        if (err.code != -ENXIO) { /* still there */
            object->state = READY;
            if (object->master)
                graph_export_end(object->master, &err);
            actor_refuse(self, object->ticket, &err);
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
    object->ticket = ticket;
    actor_ask(object->graph->self, object->address, MAIL_CLOSE, NULL, closed, object);
}

/* Names those that stand on `object`, and counts those that the sentence has no room for. */
static unsigned name_users(const struct object *object, char *out, size_t size)
{
    const struct object *user;
    unsigned kind = 0, n = 0, named = 0;
    size_t used = 0;
    for (size_t i = 0; (user = graph_next_user(object, &kind, &i)); n++) {
        if (size - used < 2 * NAME_MAX_LENGTH)
            continue;
        if (user->master) /* which nobody can remove but with its export */
            user = user->master;
        used += (size_t)snprintf(out + used, size - used, "%s%s '%s'", n ? ", " : "",
                                 graph_words[user->kind], graph_name(user));
        named++;
    }
    if (n > named)
        snprintf(out + used, size - used, " and %u more", n - named);
    return n;
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
    char users[300];
    unsigned n = name_users(object, users, sizeof(users));
    if (n)
        return err_set(err, -EBUSY, "%s '%s' can't be removed: %s %s it; remove %s first",
                       graph_words[kind], name, users, n > 1 ? "use" : "uses",
                       n > 1 ? "those" : "that");
    graph_close_object(object, ticket);
    return 0;
}
