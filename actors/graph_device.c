/* graph_device.c — devices: built-in ones, those of programs, and that a backend has one at most.
 *
 * An export is its backend's device, too. A device is a user of the backend, which holds it, and
 * has permissions as QEMU gives them to a drive. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <string.h>

#include "engine/mem.h"
#include "proto/check.h"

#define PATH_MAX_LENGTH 127 /* bytes */

const struct object *graph_device(const struct object *backend)
{
    const struct object *user;
    unsigned kind = EXPORT;
    size_t i = 0;
    while ((user = graph_next_user(backend, &kind, &i)))
        if (user->kind == EXPORT || user->kind == DEVICE)
            return user;
    return NULL;
}

int graph_check_device(const struct object *backend, struct err *err)
{
    const struct object *device = graph_device(backend);
    if (!device)
        return 0;
    return err_field(err, "backend", -EBUSY,
                     "backend '%s' has a device already, %s '%s'; remove that first, or use a "
                     "backend of its own on the same node",
                     graph_name(backend), graph_words[device->kind], graph_name(device));
}

void graph_tell_attached(const struct object *device, actor_reply_fn *then)
{
    struct actor *self = device->graph->self;
    actor_addr backend = device->standing.to[0]->address;
    Sluice__DeviceAttach *mail = MAIL_NEW(sluice__device_attach);
    mail_set(&mail->id, device->name);
    if (device->kind == EXPORT) {
        mail->has_any_media = mail->any_media = true;
    } else {
        if (device->uri)
            mail_set(&mail->path, device->uri);
        mail->has_block_size = device->block_size != 0;
        if (device->block_size)
            mail->block_size = device->block_size;
    }
    if (then)
        actor_ask(self, backend, MAIL_DEVICE_ATTACH, mail, then, (void *)device);
    else
        actor_tell(self, backend, MAIL_DEVICE_ATTACH, mail);
}

/* --- Built-in ones */

static int check_spec(const Sluice__DeviceAdd *spec, const char *id, struct err *err)
{
    if (spec->tray && !spec->removable)
        return err_field(err, "tray", -EINVAL,
                         "device '%.100s' can't have a tray when it is not removable; give "
                         "removable=on, or leave tray out",
                         id);
    if (spec->locked && !spec->removable)
        return err_field(err, "locked", -EINVAL,
                         "device '%.100s' can't lock its medium in when nobody can take it out; "
                         "give removable=on, or leave locked out",
                         id);
    if (spec->block_size < 512 || spec->block_size > 2 << 20 ||
        spec->block_size & (spec->block_size - 1))
        return err_field(err, "block_size", -EINVAL,
                         "device '%.100s' can't have blocks of %u bytes; give a power of two, 512 "
                         "to 2M",
                         id, spec->block_size);
    return 0;
}

int graph_device_add(struct graph *graph, const Sluice__DeviceAdd *spec, struct ticket ticket,
                     struct err *err)
{
    const char *id = spec->id ? spec->id : spec->backend;
    struct driver_perms wants = {PERM_CONSISTENT_READ | (spec->writable ? PERM_WRITE : 0),
                                 PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED |
                                     (spec->share_rw ? PERM_WRITE : 0)};
    struct object *backend = graph_ready(graph, BACKEND, spec->backend, "backend", err);
    if (!backend || graph_check_name(graph, DEVICE, id, err) < 0 || check_spec(spec, id, err) < 0 ||
        graph_check_device(backend, err) < 0 || graph_check_writable(backend, id, wants, err) < 0)
        return err->code;
    struct object *object = graph_object_add(graph, DEVICE, id);
    object->ticket = ticket;
    object->reactor = backend->reactor;
    object->block_size = spec->block_size;
    Sluice__DeviceOpen *open = MAIL_NEW(sluice__device_open);
    open->spec = mail_copy(spec);
    open->backend = backend->address;
    graph_begin_add(object, (struct standing){.to = {backend}, .wants = {wants}}, open);
    return 0;
}

int graph_device_set(struct graph *graph, const Sluice__DeviceSet *set, struct ticket ticket,
                     struct err *err)
{
    const struct object *device = graph_ready(graph, DEVICE, set->id, "id", err);
    if (!device)
        return err->code;
    if (device->embedded)
        return err_field(err, "id", -ENOTSUP,
                         "device '%s' is a program's, which alone decides what it does",
                         device->name);
    return graph_pass_on(graph, DEVICE, set->id, MAIL_DEVICE_SET, mail_copy(set), ticket, err);
}

/* --- Those of programs */

static void told(struct actor *self, struct mail *reply, void *arg)
{
    struct object *device = arg;
    (void)reply; /* a backend that has a user is there */
    device->state = READY;
    graph_look_abandoned(device->standing.to[0]);
    graph_emit_object(device, true);
    Sluice__Claimed *claimed = MAIL_NEW(sluice__claimed);
    claimed->address = device->standing.to[0]->address;
    claimed->claim = device->id;
    actor_reply(self, ticket_take(&device->ticket), MAIL_CLAIMED, claimed);
}

static void attached(struct object *device, const struct err *err)
{
    if (!err) {
        graph_tell_attached(device, told);
        return;
    }
    actor_refuse(device->graph->self, device->ticket, err);
    graph_object_drop(device);
}

/* Sentences have room for a path that is no longer than that, and events are UTF-8. */
static int check_path(const char *path, struct err *err)
{
    size_t length = strlen(path);
    if (length > PATH_MAX_LENGTH)
        return err_set(
            err, -EINVAL,
            "a device can't have the path '%.40s…': it has %zu bytes, but %d is the most", path,
            length, PATH_MAX_LENGTH);
    if (!check_utf8(path, length))
        return err_set(err, -EINVAL, "a device can't have a path that is not UTF-8; encode it");
    return 0;
}

static int check_attach(struct graph *graph, const Sluice__Attach *asked, struct object **backend,
                        struct driver_perms wants, struct err *err)
{
    const char *path = asked->path ? asked->path : "", *who = *asked->id ? asked->id : path;
    if (graph_refuse_ending(graph, err) < 0)
        return err->code;
    if (!*who)
        return err_set(err, -EINVAL, "a device needs an id or a path, so that it can be named");
    if ((*asked->id && graph_check_name(graph, DEVICE, asked->id, err) < 0) ||
        check_path(path, err) < 0)
        return err->code;
    const struct object *claim = graph_find_claim(graph, asked->claim);
    *backend =
        claim ? claim->standing.to[0]
              : graph_there(graph, BACKEND, asked->backend ? asked->backend : "", "backend", err);
    if (!*backend || graph_check_device(*backend, err) < 0)
        return err->code;
    return graph_check_writable(*backend, who, wants, err);
}

void graph_on_attach(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    const Sluice__Attach *asked = (const Sluice__Attach *)mail->body;
    struct driver_perms wants = {asked->permissions->perm & PERM_ALL,
                                 asked->permissions->shared & PERM_ALL};
    struct object *backend = NULL;
    struct err err = {0};
    if (check_attach(graph, asked, &backend, wants, &err) < 0) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    struct object *device = graph_object_add(graph, DEVICE, asked->id);
    device->owner = mail->from;
    device->embedded = true;
    device->references = 1;
    device->uri = asked->path ? mem_string(asked->path) : NULL;
    device->ticket = mail_ticket(mail);
    graph_change(device, (struct standing){.to = {backend}, .wants = {wants}}, attached);
}

static void ended(struct object *device, const struct err *err)
{
    (void)err; /* giving up is never refused */
    actor_reply(device->graph->self, device->ticket, MAIL_NONE, NULL);
    graph_look_abandoned(device->was.to[0]);
    graph_object_drop(device);
}

static void let_go(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply;
    graph_change(arg, (struct standing){0}, ended);
}

void graph_detach(struct object *device)
{
    graph_emit_object(device, false);
    actor_ask(device->graph->self, device->standing.to[0]->address, MAIL_DEVICE_DETACH, NULL,
              let_go, device);
}
