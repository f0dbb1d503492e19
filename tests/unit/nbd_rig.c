#include "nbd_rig.h"

#include <endian.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "actors/export_nbd.h"

struct nbd_backend backend;
struct nbd_export export;

/* --- The backend */

static Sluice__NodeFacts *facts(void)
{
    Sluice__NodeFacts *facts = MAIL_NEW(sluice__node_facts);
    facts->length = backend.length;
    facts->alignment = 1;
    return facts;
}

static void on_session_open(struct actor *self, struct mail *mail)
{
    const Sluice__SessionOpen *open = (Sluice__SessionOpen *)mail->body;
    if (backend.refuses_sessions) {
        struct err err = {0};
        err_set(&err, -EBUSY, "all credits are taken");
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    Sluice__SessionGrant *grant = MAIL_NEW(sluice__session_grant);
    grant->session = ++backend.sessions;
    grant->requests = open->requests < backend.requests ? open->requests : backend.requests;
    grant->bytes = open->bytes < backend.bytes ? open->bytes : backend.bytes;
    grant->inserted = backend.inserted;
    grant->facts = facts();
    if (open->watcher)
        backend.watcher = open->watcher;
    backend.told = (const struct account_told *)(uintptr_t)open->told;
    actor_reply(self, mail_ticket(mail), MAIL_SESSION_GRANT, grant);
}

static void on_session_close(struct actor *self, struct mail *mail)
{
    backend.sessions--;
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static void perform(struct op *op)
{
    unsigned char *at = backend.memory + op->offset;
    if (backend.error && (!backend.error_at || (unsigned)backend.error_at == backend.count)) {
        op_complete(op, backend.error);
        return;
    }
    if (op->kind == OP_READ)
        memcpy(op->iov->iov_base, at, op->bytes);
    else if (op->kind == OP_WRITE)
        memcpy(at, op->iov->iov_base, op->bytes);
    op_complete(op, 0);
}

static void submit(struct actor *self, struct op *op)
{
    (void)self;
    assert_true(backend.count < BACKEND_SEEN);
    backend.seen[backend.count].kind = op->kind;
    backend.seen[backend.count].flags = op->flags;
    backend.seen[backend.count].offset = op->offset;
    backend.seen[backend.count++].bytes = op->bytes;
    if (backend.holds)
        op_enqueue(&backend.held, op);
    else
        perform(op);
}

static void backend_init(struct actor *self)
{
    backend.self = self;
}

static const struct actor_type backend_type = {
    .name = "backend",
    .size = 1,
    .init = backend_init,
    .submit = submit,
    .handlers = {[MAIL_SESSION_OPEN] = on_session_open, [MAIL_SESSION_CLOSE] = on_session_close},
};

void rig_settle(void)
{
    for (int i = 0; i < 4; i++)
        rig_advance(20 * NS_PER_US);
}

void rig_pass(uint64_t ns)
{
    rig_advance(ns);
    rig_settle();
}

uint64_t backend_invalid(enum op_kind kind)
{
    return atomic_load(&backend.told->invalid[kind]);
}

static void tell_watcher(void *changed)
{
    actor_tell(backend.self, backend.watcher, MAIL_BACKEND_CHANGED, changed);
}

void backend_grow(int64_t length)
{
    backend.length = length;
    Sluice__BackendChanged *changed = MAIL_NEW(sluice__backend_changed);
    changed->facts = facts();
    changed->inserted = true;
    rig_at(backend.address, tell_watcher, changed);
    rig_settle();
}

static void end_held(void *arg)
{
    unsigned count = *(unsigned *)arg;
    struct op *op;
    while (count-- && (op = op_dequeue(&backend.held)))
        perform(op);
}

void rig_release(unsigned count)
{
    rig_at(backend.address, end_held, &count);
    rig_settle();
}

/* --- The exports and their events */

static void on_emit(struct actor *self, struct mail *mail)
{
    (void)self;
    const Sluice__Event *event = ((Sluice__Emit *)mail->body)->event;
    if (event->body_case == SLUICE__EVENT__BODY_CLIENT_CONNECTED)
        export.connected++;
    if (event->body_case == SLUICE__EVENT__BODY_CLIENT_DISCONNECTED) {
        export.disconnected++;
        snprintf(export.last_reason, sizeof(export.last_reason), "%s",
                 event->client_disconnected->reason);
        export.last_severity = event->severity;
    }
}

static const struct actor_type events_type = {
    .name = "events",
    .size = 1,
    .handlers = {[MAIL_EMIT] = on_emit},
};

Sluice__ExportAdd *export_spec(bool writable)
{
    Sluice__ExportAdd *spec = MAIL_NEW(sluice__export_add);
    mail_set(&spec->type, "nbd");
    mail_set(&spec->backend, "vd0");
    mail_set(&spec->name, "disk");
    mail_set(&spec->unix, export.path);
    spec->has_writable = true;
    spec->writable = writable;
    return spec;
}

void export_open(Sluice__ExportAdd *spec)
{
    export.address = rig_spawn(&export_nbd_type, "export");
    Sluice__ExportOpen *open = MAIL_NEW(sluice__export_open);
    open->backend = backend.address;
    open->spec = spec;
    rig_post(&export.answer, export.address, MAIL_EXPORT_OPEN, open);
    rig_settle();
}

void export_close(void)
{
    rig_post(&export.answer, export.address, MAIL_CLOSE, NULL);
    rig_settle();
}

int nbd_setup(void **state)
{
    (void)state;
    memset(&backend, 0, sizeof(backend));
    backend.memory = calloc(1, MEDIUM);
    backend.length = MEDIUM;
    backend.inserted = true;
    backend.requests = 128;
    backend.bytes = 64 << 20;
    op_queue_init(&backend.held);
    memset(&export, 0, sizeof(export));
    snprintf(export.path, sizeof(export.path), "/tmp/test_nbd.%d", (int)getpid());
    rig_up();
    backend.address = rig_play(&backend_type);
    rig_world.graph = rig_play(&events_type); /* events go through the graph */
    export_open(export_spec(true));
    assert_int_equal(export.answer.kind, MAIL_EXPORT_INFO);
    return 0;
}

int nbd_teardown(void **state)
{
    (void)state;
    backend.holds = false;
    rig_release(BACKEND_SEEN);
    if (export.address) {
        export_close();
        for (unsigned i = 0; i < 4 && !export.answer.came; i++)
            rig_pass(10 * NS_PER_S); /* clients that don't listen */
        assert_true(export.answer.came);
    }
    assert_int_equal(backend.sessions, 0);
    assert_int_equal(access(export.path, F_OK), -1);
    rig_down();
    free(backend.memory);
    return 0;
}

/* --- A client */

int client_dial(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, export.path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    rig_settle();
    return fd;
}

size_t client_give(int fd, const void *data, size_t bytes)
{
    size_t sent = 0;
    for (unsigned idle = 0; sent < bytes && idle < 3;) {
        ssize_t ret = send(fd, (const char *)data + sent, bytes - sent, MSG_NOSIGNAL);
        if (ret > 0) {
            sent += (size_t)ret;
            idle = 0;
        } else {
            idle++;
        }
        rig_settle();
    }
    return sent;
}

size_t client_take(int fd, void *data, size_t bytes)
{
    size_t got = 0;
    for (unsigned idle = 0; got < bytes && idle < 3;) {
        ssize_t ret = recv(fd, (char *)data + got, bytes - got, 0);
        if (ret == 0)
            break;
        if (ret > 0) {
            got += (size_t)ret;
            idle = 0;
        } else {
            idle++;
        }
        rig_settle();
    }
    return got;
}

bool client_is_closed(int fd)
{
    char byte;
    rig_settle();
    ssize_t ret = recv(fd, &byte, 1, 0);
    return ret == 0 || (ret < 0 && errno == ECONNRESET);
}

void client_give_option(int fd, uint32_t option, const void *data, uint32_t bytes)
{
    struct nbd_wire_option wire = {htobe64(NBD_OPTION_MAGIC), htobe32(option), htobe32(bytes)};
    assert_int_equal(client_give(fd, &wire, sizeof(wire)), sizeof(wire));
    assert_int_equal(client_give(fd, data, bytes), bytes);
}

uint32_t client_take_rep(int fd, uint32_t option, char *data, size_t room)
{
    struct nbd_wire_rep rep;
    char skipped[9000];
    assert_int_equal(client_take(fd, &rep, sizeof(rep)), sizeof(rep));
    assert_int_equal(be64toh(rep.magic), NBD_REP_MAGIC);
    assert_int_equal(be32toh(rep.option), option);
    size_t bytes = be32toh(rep.length);
    assert_true(bytes < sizeof(skipped));
    assert_int_equal(client_take(fd, skipped, bytes), bytes);
    if (data) {
        size_t keep = bytes < room - 1 ? bytes : room - 1;
        memcpy(data, skipped, keep);
        data[keep] = '\0';
    }
    return be32toh(rep.type);
}

uint32_t client_last_rep(int fd, uint32_t option)
{
    uint32_t type;
    do
        type = client_take_rep(fd, option, NULL, 0);
    while (type == NBD_REP_INFO || type == NBD_REP_SERVER);
    return type;
}

int client_greeted(void)
{
    int fd = client_dial();
    struct nbd_wire_greeting greeting;
    assert_int_equal(client_take(fd, &greeting, sizeof(greeting)), sizeof(greeting));
    uint32_t flags = htobe32(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    client_give(fd, &flags, sizeof(flags));
    return fd;
}

int client_ready(void)
{
    int fd = client_greeted();
    client_give_option(fd, NBD_OPT_GO, CLIENT_GO, 10);
    assert_int_equal(client_last_rep(fd, NBD_OPT_GO), NBD_REP_ACK);
    return fd;
}

struct nbd_wire_request client_request(uint16_t type, uint16_t flags, uint64_t offset,
                                       uint32_t length, uint64_t cookie)
{
    return (struct nbd_wire_request){htobe32(NBD_REQUEST_MAGIC),
                                     htobe16(flags),
                                     htobe16(type),
                                     htobe64(cookie),
                                     htobe64(offset),
                                     htobe32(length)};
}

void client_give_request(int fd, uint16_t type, uint16_t flags, uint64_t offset, uint32_t length)
{
    struct nbd_wire_request wire = client_request(type, flags, offset, length, offset);
    assert_int_equal(client_give(fd, &wire, sizeof(wire)), sizeof(wire));
}

int client_take_reply(int fd)
{
    struct nbd_wire_reply reply;
    if (client_take(fd, &reply, sizeof(reply)) != sizeof(reply))
        return -1;
    assert_int_equal(be32toh(reply.magic), NBD_REPLY_MAGIC);
    return (int)be32toh(reply.error);
}

int client_ask(int fd, uint16_t type, uint16_t flags, uint64_t offset, uint32_t length)
{
    client_give_request(fd, type, flags, offset, length);
    return client_take_reply(fd);
}

void client_goes_on(int fd)
{
    char data[512];
    assert_int_equal(client_ask(fd, NBD_CMD_READ, 0, 0, sizeof(data)), 0);
    assert_int_equal(client_take(fd, data, sizeof(data)), sizeof(data));
}
