/* The NBD export against a backend that the test plays, stepped by hand with a virtual clock. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "actors/account.h"
#include "actors/export_nbd.h"
#include "actors/kinds.h"
#include "actors/nbd_proto.h"
#include "rig.h"

#define MEDIUM (64 << 20)
#define MANY   4096 /* operations that the backend remembers */

/* --- The backend that the test plays */

static struct {
    unsigned char *memory;                  /* MEDIUM bytes */
    int64_t length;                         /* what it says to have */
    bool inserted, refuses_sessions, holds; /* holds: operations wait for release() */
    uint32_t requests;                      /* granted at most */
    uint64_t bytes;
    int error;    /* what all operations end with, or 0 */
    int error_at; /* the operation, counted from 1, that ends with `error`; 0: all */

    unsigned sessions; /* open now */
    actor_addr watcher;
    const struct account_told *told; /* by the newest session */
    struct op_queue held;
    struct {
        uint8_t kind;
        uint16_t flags;
        int64_t offset;
        uint64_t bytes;
    } seen[MANY];
    unsigned count;
    actor_addr address;
    struct actor *self;
} backend;

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
    assert_true(backend.count < MANY);
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

/* Runs until nothing more happens, also what was put off for a moment of virtual time. */
static void settle(void)
{
    for (int i = 0; i < 4; i++)
        rig_advance(20 * NS_PER_US);
}

static void pass(uint64_t ns)
{
    rig_advance(ns);
    settle();
}

static void end_held(void *arg)
{
    unsigned count = *(unsigned *)arg;
    struct op *op;
    while (count-- && (op = op_dequeue(&backend.held)))
        perform(op);
}

static void release(unsigned count)
{
    rig_at(backend.address, end_held, &count);
    settle();
}

/* --- The exports and their events */

static char path[80];
static char last_reason[256]; /* of the client that left last */
static Sluice__Event__Severity last_severity;
static unsigned connected, disconnected;

static void on_emit(struct actor *self, struct mail *mail)
{
    (void)self;
    const Sluice__Event *event = ((Sluice__Emit *)mail->body)->event;
    if (event->body_case == SLUICE__EVENT__BODY_CLIENT_CONNECTED)
        connected++;
    if (event->body_case == SLUICE__EVENT__BODY_CLIENT_DISCONNECTED) {
        disconnected++;
        snprintf(last_reason, sizeof(last_reason), "%s", event->client_disconnected->reason);
        last_severity = event->severity;
    }
}

static const struct actor_type events_type = {
    .name = "events",
    .size = 1,
    .handlers = {[MAIL_EMIT] = on_emit},
};

static Sluice__ExportAdd *spec_of(bool writable)
{
    Sluice__ExportAdd *spec = MAIL_NEW(sluice__export_add);
    mail_set(&spec->type, "nbd");
    mail_set(&spec->backend, "vd0");
    mail_set(&spec->name, "disk");
    mail_set(&spec->unix, path);
    spec->has_writable = true;
    spec->writable = writable;
    return spec;
}

static actor_addr the_export;
static struct rig_answer answer; /* to what the test asked last */

static void open_export(Sluice__ExportAdd *spec)
{
    the_export = rig_spawn(&export_nbd_type, "export");
    Sluice__ExportOpen *open = MAIL_NEW(sluice__export_open);
    open->backend = backend.address;
    open->spec = spec;
    rig_post(&answer, the_export, MAIL_EXPORT_OPEN, open);
    settle();
}

static void close_export(void)
{
    rig_post(&answer, the_export, MAIL_CLOSE, NULL);
    settle();
}

static int set_up(void **state)
{
    (void)state;
    memset(&backend, 0, sizeof(backend));
    backend.memory = calloc(1, MEDIUM);
    backend.length = MEDIUM;
    backend.inserted = true;
    backend.requests = 128;
    backend.bytes = 64 << 20;
    op_queue_init(&backend.held);
    connected = disconnected = 0;
    last_reason[0] = '\0';
    snprintf(path, sizeof(path), "/tmp/test_nbd.%d", (int)getpid());
    rig_up();
    backend.address = rig_play(&backend_type);
    rig_world.graph = rig_play(&events_type); /* events go through the graph */
    open_export(spec_of(true));
    assert_int_equal(answer.kind, MAIL_EXPORT_INFO);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    backend.holds = false;
    release(MANY);
    if (the_export) {
        close_export();
        for (unsigned i = 0; i < 4 && !answer.came; i++)
            pass(10 * NS_PER_S); /* clients that don't listen */
        assert_true(answer.came);
    }
    assert_int_equal(backend.sessions, 0);
    assert_int_equal(access(path, F_OK), -1);
    rig_down();
    free(backend.memory);
    return 0;
}

/* --- A client */

static int dial(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    settle();
    return fd;
}

/* Sends all, as far as the server takes it; returns how much it took. */
static size_t give(int fd, const void *data, size_t bytes)
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
        settle();
    }
    return sent;
}

/* Takes what is there, at most `bytes`. */
static size_t take(int fd, void *data, size_t bytes)
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
        settle();
    }
    return got;
}

static bool is_closed(int fd)
{
    char byte;
    settle();
    ssize_t ret = recv(fd, &byte, 1, 0);
    return ret == 0 || (ret < 0 && errno == ECONNRESET);
}

static void give_option(int fd, uint32_t option, const void *data, uint32_t bytes)
{
    struct nbd_wire_option wire = {htobe64(NBD_OPTION_MAGIC), htobe32(option), htobe32(bytes)};
    assert_int_equal(give(fd, &wire, sizeof(wire)), sizeof(wire));
    assert_int_equal(give(fd, data, bytes), bytes);
}

/* Type of the next answer; its data is skipped, but for what `data` takes (null: nothing). */
static uint32_t take_rep(int fd, uint32_t option, char *data, size_t room)
{
    struct nbd_wire_rep rep;
    char skipped[9000];
    assert_int_equal(take(fd, &rep, sizeof(rep)), sizeof(rep));
    assert_int_equal(be64toh(rep.magic), NBD_REP_MAGIC);
    assert_int_equal(be32toh(rep.option), option);
    size_t bytes = be32toh(rep.length);
    assert_true(bytes < sizeof(skipped));
    assert_int_equal(take(fd, skipped, bytes), bytes);
    if (data) {
        size_t keep = bytes < room - 1 ? bytes : room - 1;
        memcpy(data, skipped, keep);
        data[keep] = '\0';
    }
    return be32toh(rep.type);
}

static uint32_t last_rep(int fd, uint32_t option)
{
    uint32_t type;
    do
        type = take_rep(fd, option, NULL, 0);
    while (type == NBD_REP_INFO || type == NBD_REP_SERVER);
    return type;
}

static const char go[] = "\0\0\0\4disk\0"; /* with its end: 10 bytes */

/* Connected and greeted. */
static int client_greeted(void)
{
    int fd = dial();
    struct nbd_wire_greeting greeting;
    assert_int_equal(take(fd, &greeting, sizeof(greeting)), sizeof(greeting));
    uint32_t flags = htobe32(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    give(fd, &flags, sizeof(flags));
    return fd;
}

/* Ready for requests. */
static int client(void)
{
    int fd = client_greeted();
    give_option(fd, NBD_OPT_GO, go, 10);
    assert_int_equal(last_rep(fd, NBD_OPT_GO), NBD_REP_ACK);
    return fd;
}

static struct nbd_wire_request request(uint16_t type, uint16_t flags, uint64_t offset,
                                       uint32_t length, uint64_t cookie)
{
    return (struct nbd_wire_request){htobe32(NBD_REQUEST_MAGIC),
                                     htobe16(flags),
                                     htobe16(type),
                                     htobe64(cookie),
                                     htobe64(offset),
                                     htobe32(length)};
}

static void give_request(int fd, uint16_t type, uint16_t flags, uint64_t offset, uint32_t length)
{
    struct nbd_wire_request wire = request(type, flags, offset, length, offset);
    assert_int_equal(give(fd, &wire, sizeof(wire)), sizeof(wire));
}

/* The error of the next reply, or -1 when there is none. */
static int take_reply(int fd)
{
    struct nbd_wire_reply reply;
    if (take(fd, &reply, sizeof(reply)) != sizeof(reply))
        return -1;
    assert_int_equal(be32toh(reply.magic), NBD_REPLY_MAGIC);
    return (int)be32toh(reply.error);
}

static int ask(int fd, uint16_t type, uint16_t flags, uint64_t offset, uint32_t length)
{
    give_request(fd, type, flags, offset, length);
    return take_reply(fd);
}

static void goes_on(int fd)
{
    char data[512];
    assert_int_equal(ask(fd, NBD_CMD_READ, 0, 0, sizeof(data)), 0);
    assert_int_equal(take(fd, data, sizeof(data)), sizeof(data));
}

static uint64_t invalid(enum op_kind kind)
{
    return atomic_load(&backend.told->invalid[kind]);
}

/* --- Bounds */

static void test_requests_beyond_the_credits_are_not_read(void **state)
{
    (void)state;
    backend.requests = 4;
    backend.holds = true;
    int fd = client();
    for (unsigned i = 0; i < 20; i++)
        give_request(fd, NBD_CMD_READ, 0, i * 512, 512);
    assert_int_equal(backend.count, 4);
    release(1);
    assert_int_equal(backend.count, 5);
    backend.holds = false;
    release(MANY);
    assert_int_equal(backend.count, 20);
    char replies[20 * (16 + 512)];
    assert_int_equal(take(fd, replies, sizeof(replies)), sizeof(replies));
    close(fd);
}

static void test_bytes_beyond_the_credits_are_not_read(void **state)
{
    (void)state;
    backend.bytes = 1 << 20;
    backend.holds = true;
    int fd = client();
    for (unsigned i = 0; i < 20; i++)
        give_request(fd, NBD_CMD_READ, 0, 0, 300 << 10);
    assert_int_equal(backend.count, 3);
    /* More than is ever granted is more than the largest request. */
    int other = client();
    assert_int_equal(ask(other, NBD_CMD_READ, 0, 0, (1 << 20) + 1), NBD_EINVAL);
    close(fd);
    close(other);
}

static void test_client_that_does_not_listen_is_not_read(void **state)
{
    (void)state;
    backend.requests = 8;
    int fd = client();
    for (unsigned i = 0; i < 100; i++)
        give_request(fd, NBD_CMD_READ, 0, 0, 1 << 20);
    /* What the socket takes, and the credits. */
    assert_in_range(backend.count, 8, 24);
    goes_on(client());
    unsigned char *replies = malloc(100 * (16 + (1 << 20)));
    assert_int_equal(take(fd, replies, 100 * (16 + (1 << 20))), 100 * (16 + (1 << 20)));
    free(replies);
    goes_on(fd);
    close(fd);
}

static void test_client_beyond_the_allowed_number_is_sent_away(void **state)
{
    (void)state;
    close_export();
    Sluice__ExportAdd *spec = spec_of(true);
    spec->has_max_connections = true;
    spec->max_connections = 2;
    open_export(spec);
    int first = client(), second = client(), third = dial();
    assert_true(is_closed(third));
    assert_non_null(strstr(last_reason, "2 clients"));
    assert_int_equal(last_severity, SLUICE__EVENT__SEVERITY__WARNING);
    close(first);
    settle();
    int fourth = client();
    goes_on(second);
    goes_on(fourth);
    close(second);
    close(third);
    close(fourth);
}

/* --- What reaches the backend */

static void test_long_zeroes_go_in_parts_one_after_the_other(void **state)
{
    (void)state;
    backend.length = INT64_C(8) << 30;
    backend.holds = true;
    int fd = client();
    give_request(fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FUA, 512, UINT32_MAX);
    uint64_t at = 512;
    for (unsigned i = 1; backend.held.count; i++) {
        assert_int_equal(backend.count, i);
        assert_int_equal(backend.seen[i - 1].offset, at);
        assert_int_equal(backend.seen[i - 1].flags, OP_FUA | OP_MAY_UNMAP);
        assert_true(backend.seen[i - 1].bytes <= INT32_MAX);
        at += backend.seen[i - 1].bytes;
        release(1);
    }
    assert_int_equal(at, 512 + (uint64_t)UINT32_MAX);
    assert_int_equal(take_reply(fd), 0);
    close(fd);
}

static void test_part_that_fails_ends_the_request(void **state)
{
    (void)state;
    backend.length = INT64_C(8) << 30;
    backend.error = -ENOSPC;
    backend.error_at = 2;
    int fd = client();
    assert_int_equal(ask(fd, NBD_CMD_WRITE_ZEROES, 0, 0, UINT32_MAX), NBD_ENOSPC);
    assert_int_equal(backend.count, 2);
    close(fd);
}

static void test_flags_are_passed_on(void **state)
{
    (void)state;
    static const struct {
        uint16_t type, flags;
        uint8_t kind;
        uint16_t op_flags;
    } cases[] = {
        {NBD_CMD_READ, NBD_CMD_FUA, OP_READ, 0},
        {NBD_CMD_FLUSH, 0, OP_FLUSH, 0},
        {NBD_CMD_TRIM, NBD_CMD_FUA, OP_DISCARD, OP_FUA},
        {NBD_CMD_WRITE_ZEROES, 0, OP_ZEROES, OP_MAY_UNMAP},
        {NBD_CMD_WRITE_ZEROES, NBD_CMD_NO_HOLE, OP_ZEROES, 0},
        {NBD_CMD_WRITE_ZEROES, NBD_CMD_NO_HOLE | NBD_CMD_FAST_ZERO, OP_ZEROES, OP_NO_FALLBACK},
    };
    char data[512];
    int fd = client();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t length = cases[i].type == NBD_CMD_FLUSH ? 0 : 512;
        assert_int_equal(ask(fd, cases[i].type, cases[i].flags, 0, length), 0);
        if (cases[i].type == NBD_CMD_READ)
            take(fd, data, sizeof(data));
        assert_int_equal(backend.seen[i].kind, cases[i].kind);
        assert_int_equal(backend.seen[i].flags, cases[i].op_flags);
    }
    give_request(fd, NBD_CMD_WRITE, NBD_CMD_FUA, 0, 512);
    give(fd, data, sizeof(data));
    assert_int_equal(take_reply(fd), 0);
    assert_int_equal(backend.seen[backend.count - 1].flags, OP_FUA);
    close(fd);
}

static void test_errors_of_the_medium_have_the_protocols_numbers(void **state)
{
    (void)state;
    static const int cases[][2] = {
        {-EIO, NBD_EIO},       {-ENOSPC, NBD_ENOSPC},       {-EDQUOT, NBD_ENOSPC},
        {-EFBIG, NBD_ENOSPC},  {-EPERM, NBD_EPERM},         {-EROFS, NBD_EPERM},
        {-EINVAL, NBD_EINVAL}, {-ENOMEM, NBD_ENOMEM},       {-ENOTSUP, NBD_ENOTSUP},
        {-ENXIO, NBD_EIO},     {-ESHUTDOWN, NBD_ESHUTDOWN}, {-ENOMEDIUM, NBD_EIO},
    };
    int fd = client();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        backend.error = cases[i][0];
        assert_int_equal(ask(fd, NBD_CMD_READ, 0, 0, 512), cases[i][1]);
    }
    /* But a trim is a hint. */
    backend.error = -ENOTSUP;
    assert_int_equal(ask(fd, NBD_CMD_TRIM, 0, 0, 512), 0);
    backend.error = 0;
    close(fd);
}

static void test_payloads_arrive_whole_however_they_are_cut(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {512, 4096, 1, 70000, 28, 65536, 65535, 300000, 131072, 12345};
    unsigned seed = 1;
    unsigned char *model = calloc(1, MEDIUM), *stream = malloc(64 << 20);
    size_t bytes = 0, count = 400;
    for (size_t i = 0; i < count; i++) {
        uint32_t length = sizes[rand_r(&seed) % 10];
        uint64_t offset = (uint64_t)rand_r(&seed) % (MEDIUM - length);
        struct nbd_wire_request wire = request(NBD_CMD_WRITE, 0, offset, length, i);
        memcpy(stream + bytes, &wire, sizeof(wire));
        bytes += sizeof(wire);
        for (uint32_t j = 0; j < length; j++)
            stream[bytes + j] = (unsigned char)(rand_r(&seed) >> 8);
        memcpy(model + offset, stream + bytes, length);
        bytes += length;
    }
    int fd = client();
    unsigned char *replies = malloc(count * sizeof(struct nbd_wire_reply));
    size_t got = 0, room = count * sizeof(struct nbd_wire_reply);
    for (size_t at = 0; at < bytes;) {
        size_t cut = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 2 ? 100 : 200000);
        cut = cut < bytes - at ? cut : bytes - at;
        assert_int_equal(give(fd, stream + at, cut), cut);
        at += cut;
        if (rand_r(&seed) % 8 == 0)
            got += take(fd, replies + got, room - got);
    }
    got += take(fd, replies + got, room - got);
    assert_int_equal(got, room);
    assert_int_equal(memcmp(model, backend.memory, MEDIUM), 0);
    free(replies);
    free(stream);
    free(model);
    close(fd);
}

/* --- Bad input */

static void test_requests_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint16_t type, flags;
        uint64_t offset;
        uint32_t length;
        int error;
    } cases[] = {
        {5, 0, 0, 512, NBD_EINVAL},
        {7, 0, 0, 512, NBD_EINVAL},
        {65535, 0, 0, 512, NBD_EINVAL},
        {NBD_CMD_READ, NBD_CMD_NO_HOLE, 0, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0x8000, 0, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, MEDIUM, 1, NBD_EINVAL},
        {NBD_CMD_READ, 0, UINT64_MAX, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX + 1, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, UINT32_MAX, NBD_EINVAL},
        {NBD_CMD_TRIM, 0, MEDIUM - 511, 512, NBD_EINVAL},
        {NBD_CMD_WRITE_ZEROES, 0, MEDIUM - 511, 512, NBD_ENOSPC},
        {NBD_CMD_FLUSH, 0, 0, 1, NBD_EINVAL},
    };
    int fd = client();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(ask(fd, cases[i].type, cases[i].flags, cases[i].offset, cases[i].length),
                         cases[i].error);
    assert_int_equal(backend.count, 0);
    assert_int_equal(invalid(OP_READ), 6); /* each counts where its kind is known */
    assert_int_equal(invalid(OP_DISCARD) + invalid(OP_ZEROES) + invalid(OP_FLUSH), 3);
    assert_int_equal(invalid(OP_WRITE), 0);
    goes_on(fd);
    assert_int_equal(ask(fd, NBD_CMD_READ, 0, 0, 0), 0); /* it is fine */
    assert_int_equal(invalid(OP_READ), 6);
    close(fd);
}

/* But for commands that there are not, and those that the backend has seen. */
static void test_what_is_refused_here_is_counted_as_invalid(void **state)
{
    (void)state;
    char data[512] = "x";
    int fd = client();
    pass(NS_PER_S);
    assert_int_equal(ask(fd, NBD_CMD_READ, 0, MEDIUM, 1), NBD_EINVAL);
    assert_int_equal(ask(fd, NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX + 1), NBD_EINVAL);
    assert_int_equal(ask(fd, NBD_CMD_READ, NBD_CMD_NO_HOLE, 0, 512), NBD_EINVAL);
    give_request(fd, NBD_CMD_WRITE, 0, MEDIUM, sizeof(data));
    give(fd, data, sizeof(data));
    assert_int_equal(take_reply(fd), NBD_ENOSPC);
    assert_int_equal(ask(fd, NBD_CMD_WRITE_ZEROES, 0, MEDIUM, 1), NBD_ENOSPC);
    assert_int_equal(ask(fd, NBD_CMD_TRIM, 0, MEDIUM, 1), NBD_EINVAL);
    assert_int_equal(ask(fd, NBD_CMD_FLUSH, 0, 0, 1), NBD_EINVAL);
    assert_int_equal(ask(fd, 5, 0, 0, 512), NBD_EINVAL);
    assert_int_equal(ask(fd, NBD_CMD_TRIM, 0, 0, 0), 0);
    goes_on(fd);
    assert_non_null(backend.told);
    assert_int_equal(backend.told->invalid[OP_READ], 3);
    assert_int_equal(backend.told->invalid[OP_WRITE], 1);
    assert_int_equal(backend.told->invalid[OP_ZEROES], 1);
    assert_int_equal(backend.told->invalid[OP_DISCARD], 1);
    assert_int_equal(backend.told->invalid[OP_FLUSH], 1);
    assert_true(backend.told->last >= NS_PER_S);
    close(fd);
}

static void test_refused_write_is_skipped_with_its_payload(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset;
        uint32_t length;
        uint16_t flags;
        int error;
    } cases[] = {
        {0, NBD_PAYLOAD_MAX + 1, 0, NBD_EINVAL},
        {MEDIUM, 100000, 0, NBD_ENOSPC},
        {0, 512, NBD_CMD_NO_HOLE, NBD_EINVAL},
        {MEDIUM, 512, 0, NBD_ENOSPC},
    };
    char *payload = malloc(NBD_PAYLOAD_MAX + 1);
    memset(payload, 'x', NBD_PAYLOAD_MAX + 1);
    int fd = client();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        give_request(fd, NBD_CMD_WRITE, cases[i].flags, cases[i].offset, cases[i].length);
        assert_int_equal(give(fd, payload, cases[i].length), cases[i].length);
        assert_int_equal(take_reply(fd), cases[i].error);
        assert_int_equal(invalid(OP_WRITE), i + 1);
    }
    assert_int_equal(backend.count, 0);
    goes_on(fd);
    free(payload);
    close(fd);
}

static void test_wrong_magic_ends_this_connection_only(void **state)
{
    (void)state;
    int fd = client(), other = client();
    struct nbd_wire_request wire = request(NBD_CMD_READ, 0, 0, 512, 0);
    wire.magic ^= 1;
    give(fd, &wire, sizeof(wire));
    assert_true(is_closed(fd));
    assert_non_null(strstr(last_reason, "magic"));
    goes_on(other);
    close(fd);
    close(other);
}

static void test_writing_to_a_read_only_export_is_not_permitted(void **state)
{
    (void)state;
    close_export();
    open_export(spec_of(false));
    char data[512] = "x";
    int fd = client();
    give_request(fd, NBD_CMD_WRITE, 0, 0, sizeof(data));
    give(fd, data, sizeof(data));
    assert_int_equal(take_reply(fd), NBD_EPERM);
    assert_int_equal(ask(fd, NBD_CMD_TRIM, 0, 0, 512), NBD_EPERM);
    assert_int_equal(ask(fd, NBD_CMD_WRITE_ZEROES, 0, 0, 512), NBD_EPERM);
    assert_int_equal(backend.count, 0);
    assert_int_equal(invalid(OP_WRITE) + invalid(OP_DISCARD) + invalid(OP_ZEROES), 3);
    goes_on(fd);
    close(fd);
}

static void test_half_a_request_and_silence_costs_the_others_nothing(void **state)
{
    (void)state;
    int fd = client(), other = client();
    struct nbd_wire_request wire = request(NBD_CMD_READ, 0, 0, 512, 0);
    give(fd, &wire, 11);
    pass(3600 * NS_PER_S);
    goes_on(other);
    give(fd, (char *)&wire + 11, sizeof(wire) - 11);
    assert_int_equal(take_reply(fd), 0);
    close(fd);
    close(other);
}

static void test_silence_in_the_handshake_ends_the_connection(void **state)
{
    (void)state;
    int fd = client_greeted();
    give(fd, "IHAVE", 5);
    pass(9 * NS_PER_S);
    assert_false(is_closed(fd));
    pass(1 * NS_PER_S);
    assert_true(is_closed(fd));
    assert_non_null(strstr(last_reason, "handshake"));
    close(fd);
}

static void test_bad_options_are_refused_and_the_handshake_goes_on(void **state)
{
    (void)state;
    char *large = calloc(1, 200000);
    int fd = client_greeted();
    give_option(fd, 8, NULL, 0); /* STRUCTURED_REPLY */
    assert_int_equal(take_rep(fd, 8, NULL, 0), NBD_REP_ERR_UNSUP);
    give_option(fd, 12345, large, 1000);
    assert_int_equal(take_rep(fd, 12345, NULL, 0), NBD_REP_ERR_UNSUP);
    give_option(fd, NBD_OPT_GO, large, 200000);
    assert_int_equal(take_rep(fd, NBD_OPT_GO, NULL, 0), NBD_REP_ERR_TOO_BIG);
    give_option(fd, NBD_OPT_GO, go, 9);
    assert_int_equal(take_rep(fd, NBD_OPT_GO, NULL, 0), NBD_REP_ERR_INVALID);
    give_option(fd, NBD_OPT_GO, "\0\0\0\4disc\0\0", 10);
    assert_int_equal(take_rep(fd, NBD_OPT_GO, NULL, 0), NBD_REP_ERR_UNKNOWN);
    give_option(fd, NBD_OPT_LIST, "x", 1);
    assert_int_equal(take_rep(fd, NBD_OPT_LIST, NULL, 0), NBD_REP_ERR_INVALID);
    give_option(fd, NBD_OPT_GO, go, 10);
    assert_int_equal(last_rep(fd, NBD_OPT_GO), NBD_REP_ACK);
    goes_on(fd);
    free(large);
    close(fd);
}

static void test_noise_ends_the_connection_and_nothing_else(void **state)
{
    (void)state;
    int other = client();
    for (unsigned seed = 1; seed < 50; seed++) {
        unsigned r = seed;
        unsigned char noise[3000];
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (unsigned char)(rand_r(&r) >> 4);
        int fd = seed % 2 ? client() : client_greeted();
        give(fd, noise, sizeof(noise));
        assert_true(is_closed(fd));
        close(fd);
    }
    goes_on(other);
    close(other);
}

/* --- The backend's side of things */

static void test_refused_session_is_told_to_the_client(void **state)
{
    (void)state;
    char text[200];
    int fd = client_greeted();
    backend.refuses_sessions = true;
    give_option(fd, NBD_OPT_GO, go, 10);
    assert_int_equal(take_rep(fd, NBD_OPT_GO, text, sizeof(text)), NBD_REP_ERR_POLICY);
    assert_string_equal(text, "all credits are taken");
    backend.refuses_sessions = false;
    give_option(fd, NBD_OPT_GO, go, 10);
    assert_int_equal(last_rep(fd, NBD_OPT_GO), NBD_REP_ACK);
    close(fd);
}

static void test_backend_without_medium_is_not_served(void **state)
{
    (void)state;
    backend.inserted = false;
    int fd = client_greeted();
    give_option(fd, NBD_OPT_GO, go, 10);
    assert_int_equal(last_rep(fd, NBD_OPT_GO), NBD_REP_ERR_UNKNOWN);
    close(fd);
}

static void tell_watcher(void *changed)
{
    actor_tell(backend.self, backend.watcher, MAIL_BACKEND_CHANGED, changed);
}

static void test_growth_of_the_medium_is_noticed(void **state)
{
    (void)state;
    backend.length = 1 << 20;
    int fd = client();
    assert_int_equal(ask(fd, NBD_CMD_TRIM, 0, 1 << 20, 512), NBD_EINVAL);
    backend.length = 2 << 20;
    Sluice__BackendChanged *changed = MAIL_NEW(sluice__backend_changed);
    changed->facts = facts();
    changed->inserted = true;
    rig_at(backend.address, tell_watcher, changed);
    settle();
    assert_int_equal(ask(fd, NBD_CMD_TRIM, 0, 1 << 20, 512), 0);
    close(fd);
}

static void test_export_of_a_backend_that_refuses_is_refused(void **state)
{
    (void)state;
    close_export();
    backend.refuses_sessions = true;
    open_export(spec_of(true));
    assert_int_equal(answer.kind, MAIL_FAULT);
    assert_string_equal(answer.err.text, "all credits are taken");
    the_export = 0;
}

/* --- Ending */

static void test_death_with_requests_in_flight_costs_the_others_nothing(void **state)
{
    (void)state;
    backend.holds = true;
    int dying = client(), other = client();
    for (unsigned i = 0; i < 10; i++)
        give_request(dying, NBD_CMD_READ, 0, i * 4096, 4096);
    give_request(other, NBD_CMD_READ, 0, 512, 512);
    close(dying);
    settle();
    pass(3600 * NS_PER_S);
    assert_int_equal(backend.sessions, 2); /* its buffers are still in use */
    assert_int_equal(disconnected, 0);
    release(11);
    assert_int_equal(backend.sessions, 1);
    assert_int_equal(disconnected, 1);
    assert_non_null(strstr(last_reason, "without a disconnect"));
    assert_int_equal(last_severity, SLUICE__EVENT__SEVERITY__WARNING);
    char data[512];
    assert_int_equal(take_reply(other), 0);
    assert_int_equal(take(other, data, sizeof(data)), sizeof(data));
    close(other);
}

static void test_death_with_half_a_payload_leaves_nothing(void **state)
{
    (void)state;
    for (uint32_t length = 4096; length <= 1 << 20; length <<= 8) {
        int dying = client();
        char data[1000] = {0};
        give_request(dying, NBD_CMD_WRITE, 0, 0, length);
        give(dying, data, sizeof(data));
        close(dying);
        settle();
        assert_int_equal(backend.sessions, 0);
    }
    assert_int_equal(backend.count, 0);
}

static void test_disconnect_waits_for_what_came_before_it(void **state)
{
    (void)state;
    backend.holds = true;
    int fd = client();
    give_request(fd, NBD_CMD_READ, 0, 0, 512);
    give_request(fd, NBD_CMD_DISC, 0, 0, 0);
    assert_int_equal(take_reply(fd), -1);
    release(1);
    char data[512];
    assert_int_equal(take_reply(fd), 0);
    assert_int_equal(take(fd, data, sizeof(data)), sizeof(data));
    assert_true(is_closed(fd));
    assert_string_equal(last_reason, "disconnect");
    assert_int_equal(last_severity, SLUICE__EVENT__SEVERITY__INFO);
    close(fd);
}

static void test_closing_the_export_lets_requests_in_flight_finish(void **state)
{
    (void)state;
    backend.holds = true;
    int fd = client(), idle = client(), shaking = client_greeted();
    give_request(fd, NBD_CMD_FLUSH, 0, 0, 0);
    close_export();
    assert_false(answer.came);
    assert_true(is_closed(idle));
    assert_true(is_closed(shaking));
    release(1);
    assert_true(answer.came);
    assert_int_equal(take_reply(fd), 0);
    assert_true(is_closed(fd));
    assert_int_equal(backend.sessions, 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(connected, disconnected);
    the_export = 0;
    close(fd);
    close(idle);
    close(shaking);
}

static void test_last_replies_wait_for_a_client_only_so_long(void **state)
{
    (void)state;
    int fd = client();
    for (unsigned i = 0; i < 100; i++)
        give_request(fd, NBD_CMD_READ, 0, 0, 1 << 20);
    close_export();
    pass(9 * NS_PER_S);
    assert_false(answer.came);
    pass(2 * NS_PER_S);
    assert_true(answer.came);
    the_export = 0;
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        TEST(test_requests_beyond_the_credits_are_not_read),
        TEST(test_bytes_beyond_the_credits_are_not_read),
        TEST(test_client_that_does_not_listen_is_not_read),
        TEST(test_client_beyond_the_allowed_number_is_sent_away),
        TEST(test_long_zeroes_go_in_parts_one_after_the_other),
        TEST(test_part_that_fails_ends_the_request),
        TEST(test_flags_are_passed_on),
        TEST(test_errors_of_the_medium_have_the_protocols_numbers),
        TEST(test_payloads_arrive_whole_however_they_are_cut),
        TEST(test_requests_that_make_no_sense_are_refused),
        TEST(test_what_is_refused_here_is_counted_as_invalid),
        TEST(test_refused_write_is_skipped_with_its_payload),
        TEST(test_wrong_magic_ends_this_connection_only),
        TEST(test_writing_to_a_read_only_export_is_not_permitted),
        TEST(test_half_a_request_and_silence_costs_the_others_nothing),
        TEST(test_silence_in_the_handshake_ends_the_connection),
        TEST(test_bad_options_are_refused_and_the_handshake_goes_on),
        TEST(test_noise_ends_the_connection_and_nothing_else),
        TEST(test_refused_session_is_told_to_the_client),
        TEST(test_backend_without_medium_is_not_served),
        TEST(test_growth_of_the_medium_is_noticed),
        TEST(test_export_of_a_backend_that_refuses_is_refused),
        TEST(test_death_with_requests_in_flight_costs_the_others_nothing),
        TEST(test_death_with_half_a_payload_leaves_nothing),
        TEST(test_disconnect_waits_for_what_came_before_it),
        TEST(test_closing_the_export_lets_requests_in_flight_finish),
        TEST(test_last_replies_wait_for_a_client_only_so_long),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
