#include "actors/nbd_conn.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Zeroes and trims may be longer than a backend takes in one piece; this much goes at a time. */
#define PART_MAX (UINT32_C(1) << 30)

/* What is known of a command. */
static const struct command {
    uint8_t kind; /* enum op_kind; 0: unknown */
    bool writes;
    bool carries;    /* its length is that of data, there or back */
    uint16_t flags;  /* those that make sense; FUA does with every command */
    uint32_t beyond; /* the error for a range past the end */
} commands[NBD_CMDS] = {
    [NBD_CMD_READ] = {OP_READ, false, true, NBD_CMD_FUA, NBD_EINVAL},
    [NBD_CMD_WRITE] = {OP_WRITE, true, true, NBD_CMD_FUA, NBD_ENOSPC},
    [NBD_CMD_FLUSH] = {OP_FLUSH, false, false, NBD_CMD_FUA, NBD_EINVAL},
    [NBD_CMD_TRIM] = {OP_DISCARD, true, false, NBD_CMD_FUA, NBD_EINVAL},
    [NBD_CMD_WRITE_ZEROES] = {OP_ZEROES, true, false,
                              NBD_CMD_FUA | NBD_CMD_NO_HOLE | NBD_CMD_FAST_ZERO, NBD_ENOSPC},
};

/* A request in the machine's byte order. */
struct asked {
    uint16_t flags, type;
    uint64_t cookie; /* but this, which nobody reads */
    uint64_t offset;
    uint32_t length;
};

static bool past_end(const struct nbd_conn *conn, uint64_t offset, uint32_t length)
{
    if (!conn->inserted || conn->facts.length < 0)
        return false; /* the backend knows what to say */
    uint64_t end = conn->facts.length;
    return offset > end || length > end - offset;
}

/* The error that the protocol wants for a request that can't be done whatever the backend says. */
static uint32_t check(const struct nbd_conn *conn, const struct asked *asked)
{
    if (asked->type >= NBD_CMDS || !commands[asked->type].kind)
        return NBD_EINVAL;
    const struct command *command = &commands[asked->type];
    if (asked->flags & ~command->flags)
        return NBD_EINVAL;
    if (command->writes && !conn->spec->writable)
        return NBD_EPERM;
    if (command->carries && asked->length > conn->payload_max)
        return NBD_EINVAL;
    if (asked->type == NBD_CMD_FLUSH)
        return asked->offset || asked->length ? NBD_EINVAL : 0;
    return past_end(conn, asked->offset, asked->length) ? command->beyond : 0;
}

/* What is refused here counts with what the backend refuses. */
static void count_refused(struct nbd_conn *conn, const struct asked *asked)
{
    unsigned kind = asked->type < NBD_CMDS ? commands[asked->type].kind : 0;
    if (kind)
        account_tell_invalid(&conn->told, kind, 1, reactor_now(actor_reactor(conn->self)));
}

static uint16_t op_flags(const struct asked *asked)
{
    uint16_t flags = 0;
    if (commands[asked->type].writes && asked->flags & NBD_CMD_FUA)
        flags |= OP_FUA;
    if (asked->type == NBD_CMD_WRITE_ZEROES) {
        if (!(asked->flags & NBD_CMD_NO_HOLE))
            flags |= OP_MAY_UNMAP;
        if (asked->flags & NBD_CMD_FAST_ZERO)
            flags |= OP_NO_FALLBACK;
    }
    return flags;
}

/* --- Requests and their memory */

bool nbd_requests_init(struct nbd_conn *conn, uint32_t count)
{
    conn->pool = calloc(count, sizeof(*conn->pool));
    if (!conn->pool)
        return false;
    conn->pool_size = count;
    for (uint32_t i = count; i--;) {
        conn->pool[i].conn = conn;
        conn->pool[i].next = conn->unused;
        conn->unused = &conn->pool[i];
    }
    return true;
}

void nbd_requests_fini(struct nbd_conn *conn)
{
    for (uint32_t i = 0; i < conn->pool_size; i++)
        buffer_free(nbd_buffers(conn), conn->pool[i].buffer, conn->pool[i].room);
    free(conn->pool);
}

static struct nbd_request *request_get(struct nbd_conn *conn, const struct asked *asked,
                                       uint32_t charge)
{
    struct nbd_request *request = conn->unused;
    conn->unused = request->next;
    request->cookie = asked->cookie;
    request->length = request->left = asked->length;
    request->offset = asked->offset;
    request->charged = charge;
    conn->bytes += charge;
    return request;
}

/* What was to be written is not needed any more. */
static void drop_payload(struct nbd_request *request)
{
    if (request->chunk) {
        nbd_chunk_put(request->conn, request->chunk);
        request->chunk = NULL;
    }
}

void nbd_request_put(struct nbd_request *request)
{
    struct nbd_conn *conn = request->conn;
    if (request->room > NBD_KEEP) {
        buffer_free(nbd_buffers(conn), request->buffer, request->room);
        request->buffer = NULL;
        request->room = 0;
    }
    conn->bytes -= request->charged;
    request->next = conn->unused;
    conn->unused = request;
}

/* A buffer of its own for all of the request's data. */
static bool need_buffer(struct nbd_request *request)
{
    struct nbd_conn *conn = request->conn;
    if (request->room >= request->length)
        return true;
    buffer_free(nbd_buffers(conn), request->buffer, request->room);
    request->room = (request->length + BUFFER_ALIGN - 1) & ~(uint32_t)(BUFFER_ALIGN - 1);
    request->buffer = buffer_alloc(nbd_buffers(conn), request->room);
    if (!request->buffer)
        request->room = 0;
    return request->buffer;
}

/* --- Operations */

static void part_done(struct op *op, void *who);

/* Sends the request, or its next part, to the backend. */
static void send_part(struct nbd_request *request)
{
    struct nbd_conn *conn = request->conn;
    struct op *op = op_new(actor_peer(conn->self));
    bool reads = request->kind == OP_READ, carries = reads || request->kind == OP_WRITE;
    uint32_t bytes = carries || request->left < PART_MAX ? request->left : PART_MAX;
    op->kind = request->kind;
    op->flags = request->flags;
    op->offset = request->offset;
    op->bytes = bytes;
    op->niov = carries;
    op->iov = &op->one;
    op->one = (struct iovec){reads ? request->buffer : request->payload, carries ? bytes : 0};
    request->offset += bytes;
    request->left -= bytes;
    op_push(op, part_done, request);
    request->op = op;
    request->cancelled = false;
    op_send(op, conn->backend);
}

static void part_done(struct op *op, void *who)
{
    struct nbd_request *request = who;
    struct nbd_conn *conn = request->conn;
    int64_t ret = op->ret;
    request->op = NULL;
    op_free(op);
    if (ret >= 0 && request->left && !conn->broken) {
        send_part(request);
        return;
    }
    if (ret == -ENOTSUP && request->kind == OP_DISCARD)
        ret = 0; /* a trim is a hint: there is nothing to be done with this one */
    conn->in_flight--;
    drop_payload(request);
    nbd_reply(request, nbd_error(ret));
}

static void submit(struct nbd_request *request, const struct asked *asked)
{
    request->kind = commands[asked->type].kind;
    request->flags = op_flags(asked);
    request->conn->in_flight++;
    send_part(request);
}

/* Of what the connection may not live to see. */
static void cancel_ended(struct op *cancel, void *who)
{
    (void)who;
    op_free(cancel);
}

static void cancel_one(const struct nbd_conn *conn, struct nbd_request *request)
{
    if (!request->op || request->cancelled)
        return;
    request->cancelled = true;
    struct op *cancel = op_new(actor_peer(conn->self));
    cancel->kind = OP_CANCEL;
    cancel->bytes = 0;
    op_push(cancel, cancel_ended, NULL);
    op_send_cancel(cancel, request->op, conn->backend);
}

void nbd_requests_cancel(struct nbd_conn *conn)
{
    Sluice__Cancel *cancel = MAIL_NEW(sluice__cancel);
    cancel->tags = calloc(conn->pool_size + 1, sizeof(*cancel->tags));
    if (!cancel->tags)
        abort();
    for (uint32_t i = 0; i < conn->pool_size; i++)
        if (conn->pool[i].op)
            cancel->tags[cancel->n_tags++] = op_tag(conn->pool[i].op);
    actor_tell(conn->self, conn->backend, MAIL_CANCEL, cancel);
    if (conn->orderly && !conn->broken)
        return;
    for (uint32_t i = 0; i < conn->pool_size; i++)
        cancel_one(conn, &conn->pool[i]);
}

/* Answers without asking the backend. */
static void answer(struct nbd_request *request, uint32_t error)
{
    request->kind = OP_FLUSH; /* none that returns data */
    nbd_reply(request, error);
}

void nbd_request_filled(struct nbd_conn *conn)
{
    struct nbd_request *request = conn->filling;
    conn->filling = NULL;
    conn->in_flight++;
    send_part(request);
}

/* A big write whose payload is on its way: what is here is moved, the rest received in place. */
static void fill(struct nbd_conn *conn, struct nbd_request *request, const struct asked *asked)
{
    if (!need_buffer(request)) {
        conn->skip = asked->length;
        answer(request, NBD_ENOMEM);
        return;
    }
    request->kind = OP_WRITE;
    request->flags = op_flags(asked);
    request->payload = request->buffer;
    conn->got = nbd_available(conn);
    memcpy(request->buffer, nbd_next(conn), conn->got);
    conn->parsed = conn->filled;
    conn->filling = request;
}

/* Takes the payload where it lies. */
static void write_in_place(struct nbd_conn *conn, struct nbd_request *request,
                           const struct asked *asked)
{
    request->payload = nbd_next(conn);
    request->chunk = conn->chunk;
    conn->chunk->refs++;
    conn->parsed += asked->length;
    submit(request, asked);
}

bool nbd_request_parse(struct nbd_conn *conn)
{
    struct nbd_wire_request wire;
    if (nbd_available(conn) < sizeof(wire))
        return false;
    memcpy(&wire, nbd_next(conn), sizeof(wire));
    const struct asked asked = {be16toh(wire.flags), be16toh(wire.type), wire.cookie,
                                be64toh(wire.offset), be32toh(wire.length)};
    if (be32toh(wire.magic) != NBD_REQUEST_MAGIC) {
        nbd_end(conn, "the client sent a request with a wrong magic number (0x%08x)",
                be32toh(wire.magic));
        return false;
    }
    if (asked.type == NBD_CMD_DISC) {
        nbd_end_orderly(conn, "disconnect");
        return false;
    }

    uint32_t error = check(conn, &asked);
    bool is_write = asked.type == NBD_CMD_WRITE;
    bool idle = error || (asked.length == 0 && asked.type != NBD_CMD_FLUSH);
    uint32_t charge = !idle && commands[asked.type].carries ? asked.length : 0;
    if (!conn->unused || conn->bytes + charge > conn->bytes_max) {
        conn->hold = true; /* until a reply has left */
        return false;
    }
    bool whole = nbd_available(conn) >= sizeof(wire) + asked.length;
    conn->streaming = is_write && asked.length >= NBD_BIG;
    if (is_write && !idle && !whole && !conn->streaming)
        return false;

    conn->parsed += sizeof(wire);
    conn->parsed_now++;
    struct nbd_request *request = request_get(conn, &asked, charge);
    if (idle) {
        conn->skip = is_write ? asked.length : 0;
        if (error)
            count_refused(conn, &asked);
        answer(request, error);
    } else if (is_write && whole) {
        write_in_place(conn, request, &asked);
    } else if (is_write) {
        fill(conn, request, &asked);
    } else if (asked.type == NBD_CMD_READ && !need_buffer(request)) {
        answer(request, NBD_ENOMEM);
    } else {
        submit(request, &asked);
    }
    return true;
}
