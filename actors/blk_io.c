/* blk_io.c — an embedding thread's requests, asynchronous and synchronous, and their callbacks. See
 * blk_cancel.c for their early end. */
#include <errno.h>
#include <limits.h>

#include "actors/context.h"

/* --- Callbacks */

/* Only this thread writes it. */
static void count(struct blk *blk, uint32_t more)
{
    uint32_t now = atomic_load_explicit(&blk->in_flight, memory_order_relaxed);
    atomic_store_explicit(&blk->in_flight, now + more, memory_order_release);
}

void blk_request_done(struct op *op, void *who)
{
    struct blk *blk = who;
    blk->due++;
    op_enqueue(&blk->context->ended, op);
}

void blk_tell_calm(struct blk *blk)
{
    if (!blk->quiet_asked || blk->due != blk->running)
        return;
    blk->quiet_asked = false;
    Sluice__SessionCalm *calm = MAIL_NEW(sluice__session_calm);
    calm->session = blk->session;
    port_tell(blk->context->port, blk->backend, MAIL_SESSION_CALM, calm);
}

void blk_run_done(struct op *op)
{
    const struct request request = *(struct request *)op_popped(op);
    struct blk *blk = request.blk;
    int ret = op->ret < 0 || op->kind == OP_IOCTL ? (int)op->ret : 0;
    if (request.result)
        *request.result = op->ret;
    op_free(op); /* first: the callback may want it for its next request */
    blk->running++;
    request.done(request.opaque, ret);
    blk->running--;
    blk->due--;
    count(blk, -1U);
    blk_tell_calm(blk);
    blk_free_closed(blk);
}

/* --- Asynchronous */

static bool is_full(const struct blk *blk)
{
    return blk->context->outstanding >= blk->context->depth ||
           blk->in_flight - blk->running >= blk->granted;
}

/* An operation with its bottom frame, counted in; null when too many are outstanding. */
static struct op *prepare(struct blk *blk, enum op_kind kind, int64_t offset, uint64_t bytes,
                          unsigned flags, blk_done_fn *done, void *opaque)
{
    if (is_full(blk))
        return NULL;
    blk->context->outstanding++;
    count(blk, 1);
    struct op *op = op_new(port_peer(blk->context->port));
    op->kind = (uint8_t)kind;
    op->offset = offset;
    op->bytes = bytes;
    op->flags = (uint16_t)flags;
    if (kind == OP_READ)
        op->flags |= OP_OWN_MEMORY;
    if (blk->beyond_end && (kind == OP_READ || kind == OP_WRITE || kind == OP_ZEROES))
        op->flags |= OP_BEYOND_END;
    if (op->flags & OP_BEYOND_END && kind != OP_READ && !(blk->perms.perm & PERM_RESIZE))
        op->flags |= OP_KEEPS_LENGTH;
    if (__builtin_expect(blk->regions != NULL, 0))
        op->holder = (uint8_t)blk->number;
    if (__builtin_expect(blk->context->regions != NULL, 0))
        op->flags |= OP_DRAINING;
    struct request *request = op_push(op, blk_request_done, blk);
    *request = (struct request){blk, done, opaque, NULL, false};
    return op;
}

/* What no backend needs to see ends like any other request: with `ret`, later. */
static int submit(struct op *op, int ret, struct blk *blk)
{
    if (ret < 0) {
        account_tell_invalid(&blk->told, op->kind, 1, engine_now(blk->context->sluice->engine));
        op_complete(op, ret);
    } else {
        op_send(op, blk->backend);
    }
    return 0;
}

/* The operation's flags for those that the caller gives; -EINVAL for ones that `known` lacks. */
static int op_flags(int flags, int known)
{
    if (flags & ~known)
        return -EINVAL;
    return (flags & BLK_FUA ? OP_FUA : 0) | (flags & BLK_MAY_UNMAP ? OP_MAY_UNMAP : 0) |
           (flags & BLK_NO_FALLBACK ? OP_NO_FALLBACK : 0) |
           (flags & BLK_COMPRESSED ? OP_COMPRESSED : 0) |
           (flags & BLK_UNTHROTTLED ? OP_UNTHROTTLED : 0);
}

/* What the backend can't check: it knows lengths without a sign, and not how this blk was opened.
 */
static int check(const struct blk *blk, enum op_kind kind, int64_t bytes, int flags)
{
    if (bytes < 0)
        return -EIO;
    if (flags < 0)
        return flags;
    switch (kind) {
    case OP_READ:
    case OP_LOAD_VMSTATE:
        return blk->perms.perm & PERM_CONSISTENT_READ ? 0 : -EPERM;
    case OP_FLUSH:
    case OP_STATUS:
        return 0;
    case OP_TRUNCATE:
        return blk->perms.perm & PERM_RESIZE ? 0 : blk->writable ? -EPERM : -EACCES;
    default:
        return blk->perms.perm & PERM_WRITE ? 0 : -EPERM;
    }
}

/* In these, `flags` are the operation's, or the error that they are. */
static int submit_one(struct blk *blk, enum op_kind kind, int64_t offset, int64_t bytes,
                      void *buffer, int flags, blk_done_fn *done, void *opaque)
{
    struct op *op = prepare(blk, kind, offset, (uint64_t)bytes, (unsigned)flags, done, opaque);
    if (!op)
        return -EAGAIN;
    op->one = (struct iovec){buffer, (size_t)bytes};
    op->niov = 1;
    return submit(op, check(blk, kind, bytes, flags), blk);
}

/* The vector's length; -EIO when it has none that can be told. */
static int64_t vector_bytes(const struct iovec *iov, int niov)
{
    int64_t bytes = 0;
    for (int i = 0; i < niov; i++)
        if (__builtin_add_overflow(bytes, iov[i].iov_len, &bytes))
            return -EIO;
    return bytes;
}

static int submit_vector(struct blk *blk, enum op_kind kind, int64_t offset,
                         const struct iovec *iov, int niov, int flags, blk_done_fn *done,
                         void *opaque)
{
    bool fits = niov >= 0 && niov <= IOV_MAX;
    int64_t bytes = fits ? vector_bytes(iov, niov) : 0;
    if (niov == 1)
        return submit_one(blk, kind, offset, bytes, iov->iov_base, flags, done, opaque);
    struct op *op = prepare(blk, kind, offset, (uint64_t)bytes, (unsigned)flags, done, opaque);
    if (!op)
        return -EAGAIN;
    op->iov = (struct iovec *)iov;
    op->niov = (uint16_t)niov;
    return submit(op, fits ? check(blk, kind, bytes, flags) : -EINVAL, blk);
}

/* For the kinds without data. */
static int submit_plain(struct blk *blk, enum op_kind kind, int64_t offset, int64_t bytes,
                        int flags, blk_done_fn *done, void *opaque)
{
    struct op *op = prepare(blk, kind, offset, (uint64_t)bytes, (unsigned)flags, done, opaque);
    return op ? submit(op, check(blk, kind, bytes, flags), blk) : -EAGAIN;
}

int blk_aio_pread(blk *blk, int64_t offset, int64_t bytes, void *buffer, int flags,
                  blk_done_fn *done, void *opaque)
{
    return submit_one(blk, OP_READ, offset, bytes, buffer, op_flags(flags, BLK_UNTHROTTLED), done,
                      opaque);
}

int blk_aio_pwrite(blk *blk, int64_t offset, int64_t bytes, const void *buffer, int flags,
                   blk_done_fn *done, void *opaque)
{
    return submit_one(blk, OP_WRITE, offset, bytes, (void *)buffer,
                      op_flags(flags, BLK_FUA | BLK_COMPRESSED), done, opaque);
}

int blk_aio_preadv(blk *blk, int64_t offset, const struct iovec *iov, int niov, int flags,
                   blk_done_fn *done, void *opaque)
{
    return submit_vector(blk, OP_READ, offset, iov, niov, op_flags(flags, BLK_UNTHROTTLED), done,
                         opaque);
}

int blk_aio_pwritev(blk *blk, int64_t offset, const struct iovec *iov, int niov, int flags,
                    blk_done_fn *done, void *opaque)
{
    return submit_vector(blk, OP_WRITE, offset, iov, niov,
                         op_flags(flags, BLK_FUA | BLK_COMPRESSED), done, opaque);
}

int blk_aio_pwrite_zeroes(blk *blk, int64_t offset, int64_t bytes, int flags, blk_done_fn *done,
                          void *opaque)
{
    return submit_plain(blk, OP_ZEROES, offset, bytes,
                        op_flags(flags, BLK_FUA | BLK_MAY_UNMAP | BLK_NO_FALLBACK), done, opaque);
}

int blk_aio_pdiscard(blk *blk, int64_t offset, int64_t bytes, blk_done_fn *done, void *opaque)
{
    return submit_plain(blk, OP_DISCARD, offset, bytes, 0, done, opaque);
}

int blk_aio_flush(blk *blk, blk_done_fn *done, void *opaque)
{
    return submit_plain(blk, OP_FLUSH, 0, 0, 0, done, opaque);
}

int blk_aio_truncate(blk *blk, int64_t size, enum blk_prealloc prealloc, blk_done_fn *done,
                     void *opaque)
{
    static const int flags[] = {
        [BLK_PREALLOC_OFF] = 0,
        [BLK_PREALLOC_METADATA] = OP_PREALLOC_METADATA,
        [BLK_PREALLOC_FALLOC] = OP_PREALLOC_FALLOC,
        [BLK_PREALLOC_FULL] = OP_PREALLOC_FULL,
    };
    bool known = (unsigned)prealloc < sizeof flags / sizeof *flags;
    return submit_plain(blk, OP_TRUNCATE, size, 0, known ? flags[prealloc] : -EINVAL, done, opaque);
}

int blk_aio_ioctl(blk *blk, unsigned code, void *argument, size_t size, blk_done_fn *done,
                  void *opaque)
{
    return submit_one(blk, OP_IOCTL, code, size > INT32_MAX ? -1 : (int64_t)size, argument, 0, done,
                      opaque);
}

int blk_aio_save_vmstate(blk *blk, int64_t offset, int64_t bytes, const void *buffer,
                         blk_done_fn *done, void *opaque)
{
    return submit_one(blk, OP_SAVE_VMSTATE, offset, bytes, (void *)buffer, 0, done, opaque);
}

int blk_aio_load_vmstate(blk *blk, int64_t offset, int64_t bytes, void *buffer, blk_done_fn *done,
                         void *opaque)
{
    return submit_one(blk, OP_LOAD_VMSTATE, offset, bytes, buffer, 0, done, opaque);
}

int blk_abort_aio_request(blk *blk, int ret, blk_done_fn *done, void *opaque)
{
    struct op *op = prepare(blk, OP_FLUSH, 0, 0, 0, done, opaque);
    if (!op)
        return -EAGAIN;
    op_complete(op, ret);
    return 0;
}

/* --- Synchronous */

struct wait {
    bool done;
    int ret;
};

static void wake(void *opaque, int ret)
{
    *(struct wait *)opaque = (struct wait){true, ret};
}

static void make_room(struct blk *blk)
{
    while (is_full(blk))
        blk_wait(blk->context, -1);
}

static int finish(struct blk *blk, const struct wait *wait)
{
    while (!wait->done)
        blk_wait(blk->context, -1);
    return wait->ret;
}

int64_t blk_pread(blk *blk, int64_t offset, int64_t bytes, void *buffer, int flags)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_pread(blk, offset, bytes, buffer, flags, wake, &wait);
    int ret = finish(blk, &wait);
    return ret < 0 ? ret : bytes;
}

int64_t blk_pwrite(blk *blk, int64_t offset, int64_t bytes, const void *buffer, int flags)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_pwrite(blk, offset, bytes, buffer, flags, wake, &wait);
    int ret = finish(blk, &wait);
    return ret < 0 ? ret : bytes;
}

int64_t blk_preadv(blk *blk, int64_t offset, const struct iovec *iov, int niov, int flags)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_preadv(blk, offset, iov, niov, flags, wake, &wait);
    int ret = finish(blk, &wait);
    return ret < 0 ? ret : vector_bytes(iov, niov);
}

int64_t blk_pwritev(blk *blk, int64_t offset, const struct iovec *iov, int niov, int flags)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_pwritev(blk, offset, iov, niov, flags, wake, &wait);
    int ret = finish(blk, &wait);
    return ret < 0 ? ret : vector_bytes(iov, niov);
}

int blk_pwrite_zeroes(blk *blk, int64_t offset, int64_t bytes, int flags)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_pwrite_zeroes(blk, offset, bytes, flags, wake, &wait);
    return finish(blk, &wait);
}

int blk_pdiscard(blk *blk, int64_t offset, int64_t bytes)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_pdiscard(blk, offset, bytes, wake, &wait);
    return finish(blk, &wait);
}

int blk_flush(blk *blk)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_flush(blk, wake, &wait);
    return finish(blk, &wait);
}

int blk_truncate(blk *blk, int64_t size, enum blk_prealloc prealloc)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_truncate(blk, size, prealloc, wake, &wait);
    return finish(blk, &wait);
}

int blk_ioctl(blk *blk, unsigned code, void *argument, size_t size)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_ioctl(blk, code, argument, size, wake, &wait);
    return finish(blk, &wait);
}

int64_t blk_save_vmstate(blk *blk, int64_t offset, int64_t bytes, const void *buffer)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_save_vmstate(blk, offset, bytes, buffer, wake, &wait);
    int ret = finish(blk, &wait);
    return ret < 0 ? ret : bytes;
}

int64_t blk_load_vmstate(blk *blk, int64_t offset, int64_t bytes, void *buffer)
{
    struct wait wait = {0};
    make_room(blk);
    blk_aio_load_vmstate(blk, offset, bytes, buffer, wake, &wait);
    int ret = finish(blk, &wait);
    return ret < 0 ? ret : bytes;
}

int blk_block_status(blk *blk, int64_t offset, int64_t bytes, int64_t *run)
{
    struct wait wait = {0};
    int64_t result = 0;
    make_room(blk);
    struct op *op = prepare(blk, OP_STATUS, offset, (uint64_t)bytes, 0, wake, &wait);
    ((struct request *)op_top(op))->result = &result;
    submit(op, check(blk, OP_STATUS, bytes, 0), blk);
    int ret = finish(blk, &wait);
    *run = ret < 0 ? 0 : (int64_t)op_status_run(result);
    return ret < 0 ? ret : (int)op_status_bits(result);
}
