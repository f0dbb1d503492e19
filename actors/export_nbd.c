#include "actors/export_nbd.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/kinds.h"
#include "actors/nbd_conn.h"
#include "actors/nbd_event.h"
#include "actors/nbd_listen.h"
#include "engine/clock.h"
#include "engine/descriptors.h"
#include "engine/reactor.h"
#include "proto/reflect.h"

/* After the system has refused a client (no descriptor left, say): time before the next try. */
#define ACCEPT_PAUSE (100 * NS_PER_MS)

struct client {
    struct client *next;
    uint64_t number;
    actor_addr address;
};

struct export_nbd {
    struct actor *self;
    Sluice__ExportAdd *spec; /* with id, name and max_connections set */
    actor_addr backend;
    struct nbd_listener listener;

    struct ring_req accept;
    bool accepting;     /* the ring has the request */
    struct timer pause; /* until the next try to accept */
    struct client *clients;
    uint32_t connected;
    uint64_t total; /* clients since the start; the last one's number */

    struct ticket opening; /* whoever waits for the answer to EXPORT_OPEN */
    bool closing;
    struct ticket closer;
};

static void accept_more(struct export_nbd *export)
{
    export->accepting = true;
    ring_accept(reactor_ring(actor_reactor(export->self)), &export->accept, export->listener.fd);
}

static void pause_over(struct timer *timer)
{
    struct export_nbd *export =
        (struct export_nbd *)((char *)timer - offsetof(struct export_nbd, pause));
    accept_more(export);
}

/* The address of the client behind `fd`, as text. */
static void peer_name(int fd, char *out, size_t size)
{
    struct sockaddr_storage address = {0};
    socklen_t bytes = sizeof(address);
    char host[64], port[8];
    if (getpeername(fd, (struct sockaddr *)&address, &bytes) < 0)
        snprintf(out, size, "gone");
    else if (address.ss_family == AF_UNIX)
        snprintf(out, size, "unix");
    else if (getnameinfo((struct sockaddr *)&address, bytes, host, sizeof(host), port, sizeof(port),
                         NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(out, size, "unknown");
    else
        snprintf(out, size, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static void send_away(struct export_nbd *export, int fd, uint64_t number, const char *peer,
                      const char *reason)
{
    close(fd);
    nbd_tell_disconnected(export->self, export->spec->id, number, peer, reason, false);
}

/* Gives the client behind `fd` an actor, or sends it away. */
static void admit(struct export_nbd *export, int fd)
{
    const Sluice__ExportAdd *spec = export->spec;
    uint64_t number = ++export->total;
    char peer[80], name[128];
    peer_name(fd, peer, sizeof(peer));
    if (export->connected >= spec->max_connections) {
        snprintf(name, sizeof(name), "refused: %" PRIu32 " clients are connected, the most allowed",
                 export->connected);
        send_away(export, fd, number, peer, name);
        return;
    }
    if (!descriptors_suffice(fd)) {
        send_away(export, fd, number, peer,
                  "refused: too few file descriptors are left; raise their limit (ulimit -n)");
        return;
    }
    snprintf(name, sizeof(name), "%.90s/%" PRIu64, spec->id, number);
    struct client *client = malloc(sizeof(*client));
    actor_addr address = 0;
    if (client)
        address = actor_spawn(export->self, &nbd_conn_type, name,
                              reactor_id(actor_reactor(export->self)));
    if (!address) {
        free(client);
        send_away(export, fd, number, peer, "refused: no more actors can be made");
        return;
    }
    *client = (struct client){export->clients, number, address};
    export->clients = client;
    export->connected++;

    Sluice__ConnectionOpen *open = MAIL_NEW(sluice__connection_open);
    open->fd = fd;
    open->backend = export->backend;
    open->number = number;
    mail_set(&open->peer, peer);
    open->spec = mail_copy(spec);
    actor_tell(export->self, address, MAIL_CONNECTION_OPEN, open);
}

/* Ends when the listening socket and all connections are gone. */
static void settle(struct export_nbd *export)
{
    if (!export->closing || export->accepting || export->clients)
        return;
    nbd_unlisten(&export->listener);
    actor_reply(export->self, export->closer, MAIL_NONE, NULL);
    actor_stop(export->self);
}

static void accepted(struct ring_req *req, int res)
{
    struct export_nbd *export =
        (struct export_nbd *)((char *)req - offsetof(struct export_nbd, accept));
    export->accepting = req->more;
    if (export->closing) {
        if (res >= 0)
            close(res);
        settle(export);
        return;
    }
    if (res >= 0)
        admit(export, res);
    if (export->accepting)
        return;
    if (res >= 0 || res == -ECONNABORTED || res == -EINTR)
        accept_more(export);
    else
        timer_arm(reactor_timers(actor_reactor(export->self)), &export->pause,
                  reactor_now(actor_reactor(export->self)) + ACCEPT_PAUSE);
}

static void init(struct actor *self)
{
    struct export_nbd *export = actor_state(self);
    export->self = self;
    export->listener.fd = -1;
    export->accept.done = accepted;
    export->pause.fire = pause_over;
}

static void fini(struct actor *self)
{
    struct export_nbd *export = actor_state(self);
    nbd_unlisten(&export->listener);
    mail_free_body(export->spec);
}

/* --- Opening */

/* Checks what does not depend on others, and fills in what was left out. */
static int check_spec(Sluice__ExportAdd *spec, struct err *err)
{
    if (strcmp(spec->type, "nbd") != 0)
        return err_field(err, "type", -EINVAL,
                         "there is no export of type \"%.100s\"; the types are: nbd", spec->type);
    if (!spec->id)
        mail_set(&spec->id, spec->backend);
    if (!spec->name)
        mail_set(&spec->name, spec->backend);
    if (!!spec->unix + !!spec->has_port != 1)
        return err_field(err, "unix", -EINVAL,
                         "export %.64s is to listen on %s; give exactly one of unix=PATH and "
                         "port=NUMBER",
                         spec->id, spec->unix ? "both a Unix socket and a TCP port" : "nothing");
    if (spec->unix && reflect_count(&spec->base, reflect_field(spec->base.descriptor, "host")))
        return err_field(err, "host", -EINVAL,
                         "export %.64s is to listen on a Unix socket, which has no host; leave "
                         "host out, or give port instead of unix",
                         spec->id);
    if (strlen(spec->name) > NBD_STRING_MAX)
        return err_field(err, "name", -ENAMETOOLONG,
                         "the name of export %.64s has %zu bytes; NBD allows %d", spec->id,
                         strlen(spec->name), NBD_STRING_MAX);
    if (spec->description && strlen(spec->description) > NBD_STRING_MAX)
        return err_field(err, "description", -ENAMETOOLONG,
                         "the description of export %.64s has %zu bytes; NBD allows %d", spec->id,
                         strlen(spec->description), NBD_STRING_MAX);
    if (spec->max_connections == 0)
        return err_field(err, "max_connections", -EINVAL,
                         "export %.64s would serve nobody: max_connections is at least 1",
                         spec->id);
    return 0;
}

static Sluice__ExportInfo *describe(const struct export_nbd *export)
{
    const Sluice__ExportAdd *spec = export->spec;
    Sluice__ExportInfo *info = MAIL_NEW(sluice__export_info);
    mail_set(&info->id, spec->id);
    mail_set(&info->type, spec->type);
    mail_set(&info->backend, spec->backend);
    mail_set(&info->name, spec->name);
    if (export->listener.uri) /* it may still be opening */
        mail_set(&info->uri, export->listener.uri);
    info->has_writable = info->has_connections = info->has_connections_total = true;
    info->has_max_connections = true;
    info->writable = spec->writable;
    info->connections = export->connected;
    info->connections_total = export->total;
    info->max_connections = spec->max_connections;
    info->has_allow_inactive = info->allow_inactive = spec->allow_inactive;
    return info;
}

static void fail_open(struct export_nbd *export, const struct err *err)
{
    actor_refuse(export->self, export->opening, err);
    actor_stop(export->self);
}

static void set_policies(struct export_nbd *export)
{
    const Sluice__ExportAdd *spec = export->spec;
    if (!spec->has_werror && !spec->has_rerror)
        return;
    Sluice__BackendSet *set = MAIL_NEW(sluice__backend_set);
    mail_set(&set->name, spec->backend);
    set->has_werror = spec->has_werror;
    set->werror = spec->werror;
    set->has_rerror = spec->has_rerror;
    set->rerror = spec->rerror;
    actor_tell(export->self, export->backend, MAIL_BACKEND_SET, set);
}

/* The backend can be had as asked: its session has served its purpose. */
static void backend_answered(struct actor *self, struct mail *reply, void *arg)
{
    struct export_nbd *export = arg;
    struct err err = {0};
    if (mail_fault(reply)) {
        mail_fault_err(reply, &err);
        fail_open(export, &err);
        return;
    }
    Sluice__SessionClose *close_session = MAIL_NEW(sluice__session_close);
    close_session->session = ((Sluice__SessionGrant *)reply->body)->session;
    actor_tell(self, export->backend, MAIL_SESSION_CLOSE, close_session);

    if (nbd_listen(&export->listener, export->spec, &err) < 0) {
        fail_open(export, &err);
        return;
    }
    set_policies(export);
    accept_more(export);
    actor_reply(self, export->opening, MAIL_EXPORT_INFO, describe(export));
}

static void on_open(struct actor *self, struct mail *mail)
{
    struct export_nbd *export = actor_state(self);
    Sluice__ExportOpen *open = (Sluice__ExportOpen *)mail->body;
    struct err err = {0};
    export->opening = mail_ticket(mail);
    export->backend = open->backend;
    export->spec = open->spec;
    open->spec = NULL;
    if (check_spec(export->spec, &err) < 0) {
        fail_open(export, &err);
        return;
    }
    Sluice__SessionOpen *ask = MAIL_NEW(sluice__session_open);
    ask->requests = 1;
    ask->bytes = 4096;
    ask->has_reserved = ask->reserved = true;
    mail_set(&ask->name, export->spec->id);
    actor_ask(self, export->backend, MAIL_SESSION_OPEN, ask, backend_answered, export);
}

static void on_describe(struct actor *self, struct mail *mail)
{
    actor_reply(self, mail_ticket(mail), MAIL_EXPORT_INFO, describe(actor_state(self)));
}

/* --- Ending */

static void on_close(struct actor *self, struct mail *mail)
{
    struct export_nbd *export = actor_state(self);
    export->closing = true;
    export->closer = mail_ticket(mail);
    timer_cancel(reactor_timers(actor_reactor(self)), &export->pause);
    if (export->accepting)
        ring_cancel(reactor_ring(actor_reactor(self)), &export->accept);
    for (struct client *client = export->clients; client; client = client->next)
        actor_tell(self, client->address, MAIL_CLOSE, NULL);
    settle(export);
}

static void on_abort(struct actor *self, struct mail *mail)
{
    struct export_nbd *export = actor_state(self);
    (void)mail;
    for (struct client *client = export->clients; client; client = client->next)
        actor_tell(self, client->address, MAIL_ABORT, NULL);
}

static void on_gone(struct actor *self, struct mail *mail)
{
    struct export_nbd *export = actor_state(self);
    uint64_t number = ((Sluice__ConnectionGone *)mail->body)->number;
    struct client **at = &export->clients;
    while (*at && (*at)->number != number)
        at = &(*at)->next;
    struct client *client = *at;
    if (!client)
        return;
    *at = client->next;
    free(client);
    export->connected--;
    settle(export);
}

const struct actor_type export_nbd_type = {
    .name = "nbd export",
    .size = sizeof(struct export_nbd),
    .init = init,
    .fini = fini,
    .handlers =
        {
            [MAIL_EXPORT_OPEN] = on_open,
            [MAIL_DESCRIBE] = on_describe,
            [MAIL_CLOSE] = on_close,
            [MAIL_ABORT] = on_abort,
            [MAIL_CONNECTION_GONE] = on_gone,
        },
};
