#include "actors/io.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "actors/kinds.h"
#include "actors/reply.h"
#include "engine/op.h"
#include "engine/reactor.h"
#include "proto/reflect.h"

struct io {
    struct actor *self;
    Sluice__Request *request;
    const struct io_kind *kind;
    dispatch_done_fn *done;
    void *arg;

    const char *backend;
    uint64_t offset, bytes; /* what is asked; a truncation has no bytes */
    uint64_t at;            /* bytes done */
    actor_addr address;
    uint64_t session;
    int64_t length; /* of the medium, when the session was opened */
    uint64_t chunk; /* bytes of one operation, at most */
    uint8_t *data;  /* data->bytes: the whole of what is read, or what each operation writes */
    size_t data_size;
    bool submitting, waiting, flushed;
    struct err err;
};

struct io_kind {
    const char *name; /* for sentences */
    uint8_t op;
    bool changes; /* opens the backend for writing */
    bool has_data;
    const char *fields; /* of IoRange, that it takes; each in commas */
};

static const struct io_kind kinds[] = {
    [SLUICE__REQUEST__BODY_IO_READ] = {"io-read", OP_READ, false, true, ",backend,offset,bytes,"},
    [SLUICE__REQUEST__BODY_IO_WRITE] = {"io-write", OP_WRITE, true, true,
                                        ",backend,offset,bytes,data,pattern,fua,"},
    [SLUICE__REQUEST__BODY_IO_FLUSH] = {"io-flush", OP_FLUSH, false, false, ",backend,"},
    [SLUICE__REQUEST__BODY_IO_DISCARD] = {"io-discard", OP_DISCARD, true, false,
                                          ",backend,offset,bytes,"},
    [SLUICE__REQUEST__BODY_IO_ZEROES] = {"io-zeroes", OP_ZEROES, true, false,
                                         ",backend,offset,bytes,fua,unmap,"},
    [SLUICE__REQUEST__BODY_IO_TRUNCATE] = {"io-truncate", OP_TRUNCATE, true, false, NULL},
};

static void go_on(struct io *io);

/* --- the request -------------------------------------------------------------------------------
 */

static bool takes(const struct io_kind *kind, const char *field)
{
    size_t length = strlen(field);
    for (const char *at = strstr(kind->fields, field); at; at = strstr(at + 1, field))
        if (at[-1] == ',' && at[length] == ',')
            return true;
    return false;
}

static int check_fields(struct io *io, const Sluice__IoRange *range)
{
    for (unsigned i = 0; i < range->base.descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &range->base.descriptor->fields[i];
        if (reflect_count(&range->base, field) && !takes(io->kind, field->name))
            return err_field(&io->err, field->name, -EINVAL, "%s does not take %s; leave it out",
                             io->kind->name, field->name);
    }
    return 0;
}

static int check_write(struct io *io, const Sluice__IoRange *range)
{
    if (range->has_data == range->has_pattern)
        return err_field(&io->err, "data", -EINVAL, "io-write: give either data or pattern");
    if (range->has_pattern && range->pattern > 255)
        return err_field(&io->err, "pattern", -EINVAL,
                         "io-write: pattern is %" PRIu32 ", but a byte is 0 to 255",
                         range->pattern);
    if (range->has_data && range->has_bytes && range->bytes != range->data.len)
        return err_field(&io->err, "bytes", -EINVAL,
                         "io-write: bytes is %" PRIu64 ", but data has %zu; leave bytes out",
                         range->bytes, range->data.len);
    if (range->has_pattern && !range->has_bytes)
        return err_field(&io->err, "bytes", -EINVAL,
                         "io-write: bytes tells how many to fill with the pattern; give it");
    io->bytes = range->has_data ? range->data.len : range->bytes;
    return 0;
}

static int check_range(struct io *io, const Sluice__IoRange *range)
{
    int ret = check_fields(io, range);
    if (ret || io->kind->op == OP_FLUSH)
        return ret;
    io->offset = (uint64_t)range->offset;
    io->bytes = range->bytes;
    if (io->kind->op == OP_WRITE) {
        ret = check_write(io, range);
        if (ret)
            return ret;
    } else if (!range->has_bytes) {
        return err_field(&io->err, "bytes", -EINVAL, "%s: bytes tells how many; give it",
                         io->kind->name);
    }
    uint64_t most = range->has_pattern ? IO_PATTERN : io->kind->has_data ? IO_BYTES : INT64_MAX;
    if (io->bytes > most)
        return err_field(&io->err, range->has_data ? "data" : "bytes", -EINVAL,
                         "%s: %" PRIu64 " bytes are asked for; %" PRIu64
                         " are the most in one request",
                         io->kind->name, io->bytes, most);
    return 0;
}

static int preallocation(struct io *io, const Sluice__IoTruncate *truncate, uint16_t *flag)
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
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(truncate->preallocation, modes[i].name) == 0) {
            *flag = modes[i].flag;
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
    uint16_t ignored;
    if (io->kind->op == OP_TRUNCATE) {
        const Sluice__IoTruncate *truncate = io->request->io_truncate;
        io->backend = truncate->backend;
        io->offset = (uint64_t)truncate->size;
        return preallocation(io, truncate, &ignored);
    }
    const Sluice__IoRange *range = io->request->io_read; /* one place for all of the union */
    io->backend = range->backend;
    return check_range(io, range);
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
    reply->io->bytes = io->bytes;
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

static void session_closed(struct actor *self, struct mail *mail, void *arg)
{
    (void)self;
    (void)mail; /* a backend that is gone has closed it too */
    finish(arg);
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

static void explain(struct io *io, int code)
{
    const char *why = code == -ESHUTDOWN ? "the engine is shutting down" : strerror(-code);
    if (io->kind->op == OP_FLUSH || io->kind->op == OP_TRUNCATE) {
        err_set(&io->err, code, "%s: backend \"%s\" refused: %s", io->kind->name, io->backend, why);
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

static void op_ended(struct op *op, void *who)
{
    struct io *io = who;
    int64_t ret = op->ret;
    uint64_t bytes = op->bytes;
    op_free(op);
    if (ret < 0)
        explain(io, (int)ret);
    io->at += bytes;
    io->waiting = false;
    go_on(io);
}

static uint16_t flags_of(struct io *io)
{
    uint16_t flags = 0;
    if (io->kind->op == OP_TRUNCATE) {
        preallocation(io, io->request->io_truncate, &flags);
    } else {
        const Sluice__IoRange *range = io->request->io_read;
        flags |= range->fua ? OP_FUA : 0;
        flags |= range->unmap ? OP_MAY_UNMAP : 0;
    }
    return flags;
}

static void submit(struct io *io)
{
    struct op *op = op_new(actor_peer(io->self));
    op->kind = io->kind->op;
    op->flags = flags_of(io);
    op->offset = (int64_t)(io->offset + io->at);
    op->bytes = io->bytes - io->at < io->chunk ? io->bytes - io->at : io->chunk;
    op->niov = 0;
    op->iov = NULL;
    if (io->kind->has_data) {
        uint64_t from = io->kind->op == OP_READ || !io->request->io_write->has_pattern ? io->at : 0;
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
    const Sluice__IoRange *range = io->request->io_read;
    if (!io->kind->has_data)
        return 0;
    bool pattern = io->kind->op == OP_WRITE && range->has_pattern;
    io->data_size = pattern && io->bytes > io->chunk ? io->chunk : io->bytes;
    if (io->data_size == 0)
        io->data_size = 1; /* an empty request has an address all the same */
    io->data = buffer_alloc(reactor_buffers(actor_reactor(io->self)), io->data_size);
    if (!io->data)
        return err_set(&io->err, -ENOMEM, "%s: there is no memory for %zu bytes", io->kind->name,
                       io->data_size);
    if (pattern)
        memset(io->data, (int)range->pattern, io->data_size);
    else if (io->kind->op == OP_WRITE && io->bytes)
        memcpy(io->data, range->data.data, io->bytes);
    return 0;
}

static void granted(struct actor *self, struct mail *mail, void *arg)
{
    struct io *io = arg;
    (void)self;
    if (mail_fault(mail)) {
        mail_fault_err(mail, &io->err);
        finish(io);
        return;
    }
    const Sluice__SessionGrant *grant = (Sluice__SessionGrant *)mail->body;
    io->session = grant->session;
    io->length = grant->inserted ? grant->facts->length : -ENOMEDIUM;
    io->chunk = io->kind->has_data ? IO_BYTES : IO_RANGE_BYTES;
    if (io->kind->has_data && grant->bytes && grant->bytes < io->chunk)
        io->chunk = grant->bytes;
    /* All of the range before the first part of it: a request that is refused has done nothing. */
    bool has_range = io->kind->op != OP_FLUSH && io->kind->op != OP_TRUNCATE;
    if (has_range && is_beyond(io))
        explain(io, -EIO);
    if (io->err.code || make_buffer(io))
        close_session(io);
    else
        go_on(io);
}

static void found(struct actor *self, struct mail *mail, void *arg)
{
    struct io *io = arg;
    if (mail_fault(mail)) {
        mail_fault_err(mail, &io->err);
        if (!*io->err.field)
            strcpy(io->err.field, "backend");
        finish(io);
        return;
    }
    io->address = ((Sluice__BackendFound *)mail->body)->address;
    Sluice__SessionOpen *open = MAIL_NEW(sluice__session_open);
    open->requests = 1;
    open->bytes = io->kind->has_data ? (io->bytes < IO_BYTES ? io->bytes : IO_BYTES) : 0;
    open->write = io->kind->changes;
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
    Sluice__BackendFind *find = MAIL_NEW(sluice__backend_find);
    mail_set(&find->name, io->backend);
    actor_ask(self, world(self)->graph, MAIL_BACKEND_FIND, find, found, io);
}
