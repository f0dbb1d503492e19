/* io.c — io-* requests, done: a claim, a session, operations, a reply. See io_request.c for what
 * they ask. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "actors/io_impl.h"
#include "actors/reply.h"
#include "engine/reactor.h"

static void go_on(struct io *io);

/* --- the end -----------------------------------------------------------------------------------
 */

static bool returns_data(const struct io *io)
{
    return io->kind->op == OP_READ || io->kind->op == OP_LOAD_VMSTATE ||
           (io->kind->op == OP_IOCTL && io->bytes);
}

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
    if (io->kind->op == OP_IOCTL) {
        reply->io->has_result = 1;
        reply->io->result = io->result;
    }
    if (returns_data(io)) {
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

static void unlink_io(struct io *io)
{
    *io->link = io->next;
    if (io->next)
        io->next->link = io->link;
}

static void release(struct io *io)
{
    buffer_free(reactor_buffers(io->reactor), io->data, io->data_size);
    mail_free_body(io->request);
    free(io);
}

/* What its operation moves data to or from stays until that has ended. */
static void finish(struct io *io)
{
    Sluice__Reply *reply = result(io);
    struct actor *self = io->self;
    unlink_io(io);
    io->self = NULL;
    io->done(self, reply, io->arg);
    if (!io->waiting)
        release(io);
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

void io_abandon(struct io *first)
{
    for (struct io *io = first; io; io = io->next) {
        if (!io->waiting)
            continue;
        io->abandoned = true;
        err_set(&io->err, -ESHUTDOWN,
                "%s: the engine has ended before backend \"%s\" has; what has been done of it is "
                "not known; start the engine again, and look",
                io->kind->name, io->backend);
        close_session(io);
    }
}

/* --- operations --------------------------------------------------------------------------------
 */

/* Whether it is about bytes from an offset on, of the content or of VM state. */
static bool has_place(const struct io *io)
{
    return io->kind->op != OP_FLUSH && io->kind->op != OP_TRUNCATE && io->kind->op != OP_IOCTL;
}

static bool is_beyond(const struct io *io)
{
    return op_has_range(io->kind->op) && io->length >= 0 && (int64_t)io->offset >= 0 &&
           (io->offset > (uint64_t)io->length || io->bytes > (uint64_t)io->length - io->offset);
}

static bool makes_zero(const struct io *io)
{
    return io->request->body_case == SLUICE__REQUEST__BODY_IO_MAKE_ZERO;
}

static const char *reason(const struct io *io, int code)
{
    if (code == -ESHUTDOWN)
        return "the engine is shutting down";
    if (code == -ENOMEDIUM)
        return "No medium found; insert one (see medium-insert), or close the tray";
    if (code == -ENOTSUP && io->kind->lacking)
        return io->kind->lacking;
    if (code == -ENOTSUP && io->flags & OP_COMPRESSED)
        return "the medium's driver does not compress; leave compressed out";
    if (code == -ENOTTY && io->kind->op == OP_IOCTL)
        return "the medium does not have it; choose another code, or another medium";
    if (code == -EPERM && io->kind->op == OP_IOCTL)
        return "Operation not permitted; it is inactive (see backend-activate), or the driver "
               "refuses this code";
    if (code == -EPERM) /* who has a claim could write, and gets it where the backend can't */
        return "Operation not permitted; it is inactive (see backend-activate), or read-only";
    return strerror(-code);
}

static void explain(struct io *io, int code)
{
    const char *why = reason(io, code);
    if (code == -EINVAL && io->flags & OP_PREALLOC && (int64_t)io->offset < io->length) {
        err_field(&io->err, "preallocation", -EINVAL,
                  "io-truncate: backend \"%s\" is %" PRId64
                  " bytes long, and space is preallocated for growth only; leave preallocation out",
                  io->backend, io->length);
        return;
    }
    if (!has_place(io)) {
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

/* All of the range before the first part of it: a request that is refused has done nothing. It
 * counts with what the backend refuses. */
static void refuse(struct io *io, int code)
{
    account_tell_invalid(&io->told, io->kind->op, 1, reactor_now(actor_reactor(io->self)));
    explain(io, code);
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
    io->waiting = false;
    if (io->abandoned) {
        if (!io->self)
            release(io);
        return;
    }
    if (ret < 0)
        explain(io, (int)ret);
    else if (asked)
        learn(io, ret);
    else
        io->at += bytes;
    io->result = ret;
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
    if (fill || io->kind->op == OP_IOCTL)
        memset(io->data, fill ? (int)fill->pattern : 0, io->data_size);
    if (io->given && io->given->len)
        memcpy(io->data, io->given->data, io->given->len);
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
            refuse(io, (int)io->length);
    }
    if (is_beyond(io))
        refuse(io, -EIO);
    if (io->kind->op == OP_IOCTL && io->chunk < io->bytes)
        err_set(&io->err, -ENOBUFS,
                "io-ioctl: the argument goes whole, but of its %" PRIu64
                " bytes backend \"%s\" has room for %" PRIu64
                " now; ask again when others' requests have ended",
                io->bytes, io->backend, io->chunk);
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
    open->has_told = true;
    open->told = (uint64_t)(uintptr_t)&io->told;
    mail_set(&open->name, "control");
    actor_ask(self, io->address, MAIL_SESSION_OPEN, open, granted, io);
}

void io_run(struct actor *self, struct io **first, Sluice__Request *request, dispatch_done_fn *done,
            void *arg)
{
    struct io *io = calloc(1, sizeof *io);
    if (!io)
        abort();
    io->self = self;
    io->reactor = actor_reactor(self);
    io->next = *first;
    io->link = first;
    if (io->next)
        io->next->link = &io->next;
    *first = io;
    io->request = request;
    io->done = done;
    io->arg = arg;
    if (io_request_check(io)) {
        finish(io);
        return;
    }
    Sluice__Claim *claim = MAIL_NEW(sluice__claim);
    mail_set(&claim->backend, io->backend);
    mail_set(&claim->name, "control");
    claim->permissions = MAIL_NEW(sluice__permissions);
    claim->permissions->perm = io->kind->needs;
    claim->permissions->shared = PERM_ALL;
    claim->has_passing = claim->passing = true;
    claim->has_operations = true;
    claim->operations = io->kind->op == OP_TRUNCATE ? 1U << SLUICE__OP_BLOCK__OPERATION__RESIZE : 0;
    actor_ask(self, world(self)->graph, MAIL_CLAIM, claim, claimed, io);
}
