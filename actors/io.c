#include "actors/io.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "actors/kinds.h"
#include "drivers/driver.h"
#include "actors/reply.h"
#include "engine/op.h"
#include "engine/reactor.h"

struct io {
    struct actor *self;
    Sluice__Request *request;
    const struct io_kind *kind;
    dispatch_done_fn *done;
    void *arg;

    const char *backend;
    uint64_t offset, bytes; /* what is asked; a truncation has no bytes */
    uint16_t flags;         /* of each operation */
    uint64_t at;            /* bytes done */
    actor_addr address;
    uint64_t claim, session;
    int64_t length; /* of the medium, when the session was opened */
    uint64_t chunk; /* bytes of one operation, at most */
    uint8_t *data;  /* data->bytes: the whole of what is read, or what each operation writes */
    size_t data_size;
    bool submitting, waiting, flushed;
    uint64_t known;      /* make-zero: up to where it is known that there is something to zero */
    uint64_t left_alone; /* make-zero: bytes that were zeroes already */
    struct err err;
};

struct io_kind {
    const char *name; /* for sentences */
    uint8_t op;
    uint8_t needs; /* enum driver_perm */
    bool has_data;
};

static const struct io_kind kinds[] = {
    [SLUICE__REQUEST__BODY_IO_READ] = {"io-read", OP_READ, PERM_CONSISTENT_READ, true},
    [SLUICE__REQUEST__BODY_IO_WRITE] = {"io-write", OP_WRITE, PERM_WRITE, true},
    [SLUICE__REQUEST__BODY_IO_FLUSH] = {"io-flush", OP_FLUSH, 0, false},
    [SLUICE__REQUEST__BODY_IO_DISCARD] = {"io-discard", OP_DISCARD, PERM_WRITE, false},
    [SLUICE__REQUEST__BODY_IO_ZEROES] = {"io-zeroes", OP_ZEROES, PERM_WRITE, false},
    [SLUICE__REQUEST__BODY_IO_TRUNCATE] = {"io-truncate", OP_TRUNCATE, PERM_RESIZE, false},
    [SLUICE__REQUEST__BODY_IO_MAKE_ZERO] = {"io-make-zero", OP_ZEROES, PERM_WRITE, false},
};

static void go_on(struct io *io);

/* --- the request -------------------------------------------------------------------------------
 */

static int check_range(struct io *io, const char *field, int64_t offset, uint64_t bytes,
                       uint64_t most)
{
    io->offset = (uint64_t)offset;
    io->bytes = bytes;
    if (bytes > most)
        return err_field(&io->err, field, -EINVAL,
                         "%s: %" PRIu64 " bytes are asked for; %" PRIu64
                         " are the most in one request",
                         io->kind->name, bytes, most);
    return 0;
}

static int check_write(struct io *io, const Sluice__IoWrite *write)
{
    if (write->has_data == write->has_pattern)
        return err_field(&io->err, "data", -EINVAL, "io-write: give either data or pattern");
    if (write->has_pattern && write->pattern > 255)
        return err_field(&io->err, "pattern", -EINVAL,
                         "io-write: pattern is %" PRIu32 ", but a byte is 0 to 255",
                         write->pattern);
    if (write->has_data && write->has_bytes && write->bytes != write->data.len)
        return err_field(&io->err, "bytes", -EINVAL,
                         "io-write: bytes is %" PRIu64 ", but data has %zu; leave bytes out",
                         write->bytes, write->data.len);
    if (write->has_pattern && !write->has_bytes)
        return err_field(&io->err, "bytes", -EINVAL,
                         "io-write: bytes tells how many to fill with the pattern; give it");
    io->flags = write->fua ? OP_FUA : 0;
    if (write->has_pattern)
        return check_range(io, "bytes", write->offset, write->bytes, IO_PATTERN);
    return check_range(io, "data", write->offset, write->data.len, IO_BYTES);
}

static int check_truncate(struct io *io, const Sluice__IoTruncate *truncate)
{
    static const struct {
        const char *name;
        uint16_t flag;
    } modes[] = {
        {"off", 0},
        {"metadata", OP_PREALLOC_METADATA},
        {"falloc", OP_PREALLOC_FALLOC},
        {"full", OP_PREALLOC_FULL},
    };
    io->offset = (uint64_t)truncate->size;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(truncate->preallocation, modes[i].name) == 0) {
            io->flags = modes[i].flag;
            return 0;
        }
    return err_field(
        &io->err, "preallocation", -EINVAL,
        "io-truncate: preallocation is \"%.40s\", but must be off, metadata, falloc or "
        "full",
        truncate->preallocation);
}

static int check_request(struct io *io)
{
    const Sluice__Request *request = io->request;
    switch (request->body_case) {
    case SLUICE__REQUEST__BODY_IO_READ:
        io->backend = request->io_read->backend;
        return check_range(io, "bytes", request->io_read->offset, request->io_read->bytes,
                           IO_BYTES);
    case SLUICE__REQUEST__BODY_IO_WRITE:
        io->backend = request->io_write->backend;
        return check_write(io, request->io_write);
    case SLUICE__REQUEST__BODY_IO_FLUSH:
        io->backend = request->io_flush->backend;
        return 0;
    case SLUICE__REQUEST__BODY_IO_DISCARD:
        io->backend = request->io_discard->backend;
        return check_range(io, "bytes", request->io_discard->offset, request->io_discard->bytes,
                           INT64_MAX);
    case SLUICE__REQUEST__BODY_IO_ZEROES:
        io->backend = request->io_zeroes->backend;
        io->flags =
            (request->io_zeroes->fua ? OP_FUA : 0) | (request->io_zeroes->unmap ? OP_MAY_UNMAP : 0);
        return check_range(io, "bytes", request->io_zeroes->offset, request->io_zeroes->bytes,
                           INT64_MAX);
    case SLUICE__REQUEST__BODY_IO_MAKE_ZERO:
        io->backend = request->io_make_zero->backend;
        io->flags = (request->io_make_zero->fua ? OP_FUA : 0) |
                    (request->io_make_zero->unmap ? OP_MAY_UNMAP : 0);
        return 0;
    default:
        io->backend = request->io_truncate->backend;
        return check_truncate(io, request->io_truncate);
    }
}

/* --- the end -----------------------------------------------------------------------------------
 */

static Sluice__Reply *result(struct io *io)
{
    if (io->err.code)
        return reply_err(&io->err);
    if (io->kind->op == OP_FLUSH || io->kind->op == OP_TRUNCATE)
        return reply_done();
    Sluice__Reply *reply = MAIL_NEW(sluice__reply);
    reply->body_case = SLUICE__REPLY__BODY_IO;
    reply->io = MAIL_NEW(sluice__io_result);
    reply->io->has_bytes = 1;
    reply->io->bytes = io->bytes - io->left_alone;
    if (io->kind->op == OP_READ) {
        reply->io->has_data = 1;
        reply->io->data.len = io->bytes;
        reply->io->data.data = malloc(io->bytes + 1);
        if (!reply->io->data.data)
            abort();
        if (io->bytes)
            memcpy(reply->io->data.data, io->data, io->bytes);
    }
    return reply;
}

static void finish(struct io *io)
{
    Sluice__Reply *reply = result(io);
    buffer_free(reactor_buffers(actor_reactor(io->self)), io->data, io->data_size);
    mail_free_body(io->request);
    io->done(io->self, reply, io->arg);
    free(io);
}

static void claim_ended(struct actor *self, struct mail *mail, void *arg)
{
    (void)self;
    (void)mail; /* a graph that is gone has ended it too */
    finish(arg);
}

static void end_claim(struct io *io)
{
    Sluice__ClaimEnd *body = MAIL_NEW(sluice__claim_end);
    body->claim = io->claim;
    actor_ask(io->self, world(io->self)->graph, MAIL_CLAIM_END, body, claim_ended, io);
}

static void session_closed(struct actor *self, struct mail *mail, void *arg)
{
    (void)self;
    (void)mail; /* a backend that is gone has closed it too */
    end_claim(arg);
}

static void close_session(struct io *io)
{
    Sluice__SessionClose *body = MAIL_NEW(sluice__session_close);
    body->session = io->session;
    actor_ask(io->self, io->address, MAIL_SESSION_CLOSE, body, session_closed, io);
}

/* --- operations --------------------------------------------------------------------------------
 */

static bool is_beyond(const struct io *io)
{
    return io->length >= 0 && (int64_t)io->offset >= 0 &&
           (io->offset > (uint64_t)io->length || io->bytes > (uint64_t)io->length - io->offset);
}

static bool makes_zero(const struct io *io)
{
    return io->request->body_case == SLUICE__REQUEST__BODY_IO_MAKE_ZERO;
}

static void explain(struct io *io, int code)
{
    const char *why = code == -ESHUTDOWN ? "the engine is shutting down" : strerror(-code);
    if (code == -EPERM) /* who has a claim could write, and gets it where the backend can't */
        why = "Operation not permitted; it is inactive (see backend-activate), or read-only";
    if (code == -EINVAL && io->flags & OP_PREALLOC && (int64_t)io->offset < io->length) {
        err_field(&io->err, "preallocation", -EINVAL,
                  "io-truncate: backend \"%s\" is %" PRId64
                  " bytes long, and space is preallocated for growth only; leave preallocation out",
                  io->backend, io->length);
        return;
    }
    if (io->kind->op == OP_FLUSH || io->kind->op == OP_TRUNCATE) {
        err_set(&io->err, code, "%s: backend \"%s\" refused: %s", io->kind->name, io->backend, why);
        return;
    }
    if (makes_zero(io) && io->length < 0) {
        err_set(&io->err, code, "io-make-zero: backend \"%s\" has no length: %s", io->backend, why);
        return;
    }
    if (code == -EIO && is_beyond(io)) {
        err_field(&io->err, "offset", -EINVAL,
                  "%s: backend \"%s\" is %" PRId64 " bytes long, and %" PRIu64 " bytes at %" PRId64
                  " reach beyond its end",
                  io->kind->name, io->backend, io->length, io->bytes, (int64_t)io->offset);
        return;
    }
    if ((int64_t)io->offset < 0) {
        err_field(&io->err, "offset", -EINVAL, "%s: offset is %" PRId64 ", but must be 0 or more",
                  io->kind->name, (int64_t)io->offset);
        return;
    }
    err_set(&io->err, code, "%s: backend \"%s\" failed at byte %" PRIu64 ": %s", io->kind->name,
            io->backend, io->offset + io->at, why);
}

/* What make-zero has to do next: to zero a run, or to leave it alone. */
static void learn(struct io *io, int64_t status)
{
    uint64_t run = op_status_run(status);
    io->known = io->at + run;
    if (op_status_bits(status) & OP_STATUS_ZERO) {
        io->at += run;
        io->left_alone += run;
    }
}

static void op_ended(struct op *op, void *who)
{
    struct io *io = who;
    int64_t ret = op->ret;
    uint64_t bytes = op->bytes;
    bool asked = op->kind == OP_STATUS;
    op_free(op);
    if (ret < 0)
        explain(io, (int)ret);
    else if (asked)
        learn(io, ret);
    else
        io->at += bytes;
    io->waiting = false;
    go_on(io);
}

/* The write that fills its range with one byte, or null. */
static const Sluice__IoWrite *filling(const struct io *io)
{
    if (io->kind->op == OP_WRITE && io->request->io_write->has_pattern)
        return io->request->io_write;
    return NULL;
}

static void submit(struct io *io)
{
    struct op *op = op_new(actor_peer(io->self));
    bool asks = makes_zero(io) && io->at == io->known;
    uint64_t left = (makes_zero(io) && !asks ? io->known : io->bytes) - io->at;
    op->kind = asks ? OP_STATUS : io->kind->op;
    op->flags = asks ? 0 : io->flags;
    op->offset = (int64_t)(io->offset + io->at);
    op->bytes = left < io->chunk || asks ? left : io->chunk;
    op->niov = 0;
    op->iov = NULL;
    if (io->kind->has_data) {
        uint64_t from = filling(io) ? 0 : io->at;
        op->one = (struct iovec){io->data + from, op->bytes};
        op->iov = &op->one;
        op->niov = 1;
    }
    op_push(op, op_ended, io);
    op_send(op, io->address);
}

/* A request without bytes, and one of none, is one operation all the same: it is checked. */
static bool is_through(const struct io *io)
{
    return io->err.code || (io->flushed && io->at >= io->bytes);
}

/* Operations may end before op_send() returns: hence a loop, not a recursion. */
static void go_on(struct io *io)
{
    if (io->submitting || io->waiting)
        return;
    io->submitting = true;
    while (!io->waiting && !is_through(io)) {
        io->waiting = true;
        io->flushed = true;
        submit(io);
    }
    io->submitting = false;
    if (!io->waiting)
        close_session(io);
}

/* --- the way there -----------------------------------------------------------------------------
 */

static int make_buffer(struct io *io)
{
    const Sluice__IoWrite *fill = filling(io);
    if (!io->kind->has_data)
        return 0;
    io->data_size = fill && io->bytes > io->chunk ? io->chunk : io->bytes;
    if (io->data_size == 0)
        io->data_size = 1; /* an empty request has an address all the same */
    io->data = buffer_alloc(reactor_buffers(actor_reactor(io->self)), io->data_size);
    if (!io->data)
        return err_set(&io->err, -ENOMEM, "%s: there is no memory for %zu bytes", io->kind->name,
                       io->data_size);
    if (fill)
        memset(io->data, (int)fill->pattern, io->data_size);
    else if (io->kind->op == OP_WRITE && io->bytes)
        memcpy(io->data, io->request->io_write->data.data, io->bytes);
    return 0;
}

static void granted(struct actor *self, struct mail *mail, void *arg)
{
    struct io *io = arg;
    (void)self;
    if (mail_fault(mail)) {
        mail_fault_err(mail, &io->err);
        end_claim(io);
        return;
    }
    const Sluice__SessionGrant *grant = (Sluice__SessionGrant *)mail->body;
    io->session = grant->session;
    io->length = grant->inserted ? grant->facts->length : -ENOMEDIUM;
    io->chunk = io->kind->has_data ? IO_BYTES : IO_RANGE_BYTES;
    if (io->kind->has_data && grant->bytes && grant->bytes < io->chunk)
        io->chunk = grant->bytes;
    if (makes_zero(io)) {
        io->bytes = io->length < 0 ? 0 : (uint64_t)io->length;
        if (io->length < 0)
            explain(io, (int)io->length);
    }
    /* All of the range before the first part of it: a request that is refused has done nothing. */
    bool has_range = io->kind->op != OP_FLUSH && io->kind->op != OP_TRUNCATE;
    if (has_range && is_beyond(io))
        explain(io, -EIO);
    if (io->err.code || make_buffer(io))
        close_session(io);
    else
        go_on(io);
}

static void claimed(struct actor *self, struct mail *mail, void *arg)
{
    struct io *io = arg;
    if (mail_fault(mail)) {
        mail_fault_err(mail, &io->err);
        finish(io);
        return;
    }
    const Sluice__Claimed *claimed = (Sluice__Claimed *)mail->body;
    io->address = claimed->address;
    io->claim = claimed->claim;
    Sluice__SessionOpen *open = MAIL_NEW(sluice__session_open);
    open->requests = 1;
    open->bytes = io->kind->has_data ? (io->bytes < IO_BYTES ? io->bytes : IO_BYTES) : 0;
    open->has_reserved = open->reserved = true;
    mail_set(&open->name, "control");
    actor_ask(self, io->address, MAIL_SESSION_OPEN, open, granted, io);
}

void io_run(struct actor *self, Sluice__Request *request, dispatch_done_fn *done, void *arg)
{
    struct io *io = calloc(1, sizeof *io);
    if (!io)
        abort();
    io->self = self;
    io->request = request;
    io->kind = &kinds[request->body_case];
    io->done = done;
    io->arg = arg;
    if (check_request(io)) {
        finish(io);
        return;
    }
    Sluice__Claim *claim = MAIL_NEW(sluice__claim);
    mail_set(&claim->backend, io->backend);
    mail_set(&claim->name, "control");
    claim->permissions = MAIL_NEW(sluice__permissions);
    claim->permissions->perm = io->kind->needs;
    claim->permissions->shared = PERM_ALL;
    claim->has_operations = true;
    claim->operations = io->kind->op == OP_TRUNCATE ? 1U << SLUICE__OP_BLOCK__OPERATION__RESIZE : 0;
    actor_ask(self, world(self)->graph, MAIL_CLAIM, claim, claimed, io);
}
