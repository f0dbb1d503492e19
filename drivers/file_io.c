/* file_io.c — requests to a file. Their state lies in the operation's frame. */
#include "drivers/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

/* In the frame of an operation. */
struct io {
    struct ring_req req;
    struct file *file;
    struct op *op;
    uint64_t done;    /* bytes transferred so far */
    struct iovec one; /* rest of an entry, when a transfer stopped inside it */
    bool punches;     /* zeroes under way by a hole */
    bool cancelled;   /* it is not to go on */
};
_Static_assert(sizeof(struct io) <= OP_SPACE, "a request's state fits its frame");

static struct io *io_of(struct ring_req *req)
{
    return (struct io *)((char *)req - offsetof(struct io, req));
}

static struct ring *ring_of(const struct io *io)
{
    return reactor_ring(io->file->node->reactor);
}

static int64_t end_of(const struct op *op)
{
    return op->offset + (int64_t)op->bytes;
}

static bool again(int res)
{
    return res == -EINTR || res == -EAGAIN;
}

/* What a system call has ended with. One that was interrupted because it is cancelled is not begun
 * again. */
static int outcome(const struct io *io, int res)
{
    return io->cancelled && again(res) ? -ECANCELED : res;
}

static bool unsupported(int res)
{
    return res == -EOPNOTSUPP || res == -ENOSYS || res == -ENODEV || res == -ENOTTY;
}

static void set_length(struct file *file, int64_t length)
{
    file->node->facts.length = length;
    file->lengths++;
    driver_changed(file->node);
}

static void done(struct op *op, void *who)
{
    (void)who;
    op_complete(op, op->ret);
}

/* --- Read and write */

static void transfer(struct io *io)
{
    const struct op *op = io->op;
    struct iovec *iov = op->iov;
    uint64_t within = io->done;
    while (within >= iov->iov_len)
        within -= iov++->iov_len;
    unsigned niov = (unsigned)(op->niov - (iov - op->iov));
    if (within) {
        io->one.iov_base = (char *)iov->iov_base + within;
        io->one.iov_len = iov->iov_len - within;
        iov = &io->one;
        niov = 1;
    }
    uint64_t offset = (uint64_t)op->offset + io->done;
    if (op->kind == OP_READ)
        ring_readv(ring_of(io), &io->req, &io->file->at, iov, niov, offset);
    else
        ring_writev(ring_of(io), &io->req, &io->file->at, iov, niov, offset,
                    op->flags & OP_FUA ? RWF_DSYNC : 0);
}

static void transferred(struct ring_req *req, int res)
{
    struct io *io = io_of(req);
    struct op *op = io->op;
    uint64_t mask = io->file->node->facts.alignment - 1;

    res = outcome(io, res);
    if (again(res)) {
        transfer(io);
        return;
    }
    if (res < 0) {
        op_complete(op, res);
        return;
    }
    if (io->done + (uint64_t)res < op->bytes) {
        if (op->kind == OP_READ && (res == 0 || (uint64_t)res & mask)) {
            /* The file ends here: its length is no multiple of the alignment, or it was cut. */
            driver_clear(op, io->done + (uint64_t)res);
            op_complete(op, 0);
        } else if ((uint64_t)res <= mask && (res == 0 || mask)) {
            op_complete(op, -EIO); /* a write that does not get on */
        } else if (io->cancelled) {
            op_complete(op, -ECANCELED);
        } else {
            io->done += (uint64_t)res & ~mask;
            transfer(io);
        }
        return;
    }
    if (op->kind == OP_WRITE && end_of(op) > io->file->node->facts.length)
        set_length(io->file, end_of(op));
    op_complete(op, 0);
}

/* --- Flush */

static void flush(struct io *io);

static void flushed(struct ring_req *req, int res)
{
    struct io *io = io_of(req);
    res = outcome(io, res);
    if (again(res)) {
        flush(io);
        return;
    }
    if (res < 0 && res != -ECANCELED && !io->file->direct)
        io->file->flush_error = res;
    op_complete(io->op, res);
}

static void flush(struct io *io)
{
    if (io->file->flush_error) {
        op_complete(io->op, io->file->flush_error);
        return;
    }
    io->req.done = flushed;
    ring_fdatasync(ring_of(io), &io->req, &io->file->at);
}

/* --- Discard: a hint, so a file system without holes is no error */

static void discard(struct io *io);

static void end_discard(struct io *io, int ret)
{
    if (ret == 0 && io->op->flags & OP_FUA)
        flush(io);
    else
        op_complete(io->op, ret);
}

static void discarded(struct ring_req *req, int res)
{
    struct io *io = io_of(req);
    res = outcome(io, res);
    if (again(res)) {
        discard(io);
        return;
    }
    if (unsupported(res)) {
        io->file->no_punch = true;
        res = 0;
    }
    end_discard(io, res);
}

static void discard(struct io *io)
{
    uint64_t mask = io->file->block - 1;
    uint64_t start = ((uint64_t)io->op->offset + mask) & ~mask;
    uint64_t end = (uint64_t)end_of(io->op) & ~mask;
    if (io->file->no_punch || start >= end) {
        end_discard(io, 0);
        return;
    }
    io->req.done = discarded;
    ring_fallocate(ring_of(io), &io->req, &io->file->at, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   start, end - start);
}

/* --- Zeroes: by a hole if that is allowed, else by the file system's own means. What it can't do
 * is -ENOTSUP, upon which the node writes them. */

static void zeroes(struct io *io);

static void learn_no_zeroes(struct file *file, bool punch)
{
    struct driver_facts *facts = &file->node->facts;
    if (punch)
        file->no_punch = true;
    else
        file->no_zero_range = true;
    bool by_hole = !file->no_punch && facts->can & DRIVER_CAN_UNMAP;
    if (file->no_zero_range && !by_hole) {
        facts->can &= ~(unsigned)(DRIVER_CAN_ZEROES | DRIVER_CAN_UNMAP);
        driver_changed(file->node);
    }
}

static void zeroed(struct ring_req *req, int res)
{
    struct io *io = io_of(req);
    struct op *op = io->op;
    res = outcome(io, res);
    if (unsupported(res))
        learn_no_zeroes(io->file, io->punches);
    if (again(res) || unsupported(res)) {
        zeroes(io);
        return;
    }
    if (res < 0) {
        op_complete(op, res);
        return;
    }
    if (end_of(op) > io->file->node->facts.length)
        set_length(io->file, end_of(op));
    if (op->flags & OP_FUA)
        flush(io);
    else
        op_complete(op, 0);
}

static void zeroes(struct io *io)
{
    const struct op *op = io->op;
    const struct file *file = io->file;
    bool grows = end_of(op) > file->node->facts.length;
    bool in_blocks = !(((uint64_t)op->offset | op->bytes) & (file->block - 1));
    int mode;

    io->punches = op->flags & OP_MAY_UNMAP && !file->no_punch && !grows;
    if (io->punches)
        mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    else
        mode = FALLOC_FL_ZERO_RANGE | (grows ? 0 : FALLOC_FL_KEEP_SIZE);
    if (!in_blocks || (!io->punches && file->no_zero_range)) {
        op_complete(io->op, -ENOTSUP);
        return;
    }
    io->req.done = zeroed;
    ring_fallocate(ring_of(io), &io->req, &io->file->at, mode, (uint64_t)op->offset, op->bytes);
}

/* --- Truncate */

/* At once, on this thread: there is no asynchronous call for it in the kernels that are in use. */
static int set_size(const struct file *file, int64_t length)
{
    int ret;
    do
        ret = ftruncate(file->at.fd, length);
    while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

static int64_t new_length(const struct io *io)
{
    int64_t mask = (int64_t)io->file->node->facts.alignment - 1, length;
    return __builtin_add_overflow(io->op->offset, mask, &length) ? INT64_MAX & ~mask
                                                                 : length & ~mask;
}

static void reserve(struct io *io);

static void reserved(struct ring_req *req, int res)
{
    struct io *io = io_of(req);
    res = outcome(io, res);
    if (again(res)) {
        reserve(io);
        return;
    }
    if (res < 0)
        set_size(io->file, io->file->node->facts.length); /* a part of it may have been done */
    else
        set_length(io->file, new_length(io));
    op_complete(io->op, unsupported(res) ? -ENOTSUP : res);
}

static void reserve(struct io *io)
{
    uint64_t old = (uint64_t)io->file->node->facts.length;
    io->req.done = reserved;
    ring_fallocate(ring_of(io), &io->req, &io->file->at, 0, old, (uint64_t)new_length(io) - old);
}

static void truncate_file(struct io *io)
{
    int64_t length = new_length(io);
    /* Metadata alone can't be reserved: with falloc it is, along with the space. */
    if (io->op->flags & OP_PREALLOC && length > io->file->node->facts.length) {
        reserve(io);
        return;
    }
    int ret = set_size(io->file, length);
    if (ret == 0)
        set_length(io->file, length);
    op_complete(io->op, ret);
}

/* --- Status */

/* Where the next data or hole begins, from `from` on; `end` when there is none, negative when it
 * can't be told. At once, on this thread: there is no asynchronous call for it, and it looks at
 * metadata only. Requests tell their own place, so it does not matter that this one moves. */
static int64_t find(const struct file *file, int64_t from, int64_t end, int whence)
{
    off_t found = lseek(file->at.fd, from, whence);
    if (found < 0)
        return errno == ENXIO ? end : -errno;
    return found < end ? found : end;
}

/* What the file system can't tell is data. A block that is data in part is data, too. */
static int64_t status(const struct file *file, const struct op *op)
{
    int64_t mask = (int64_t)file->node->facts.alignment - 1, end = end_of(op);
    int64_t data = find(file, op->offset, end, SEEK_DATA);
    if (data >= 0 && (data & ~mask) > op->offset)
        return op_status((uint64_t)((data & ~mask) - op->offset),
                         OP_STATUS_ZERO | OP_STATUS_ALLOCATED);
    int64_t hole = data < 0 ? end : find(file, data, end, SEEK_HOLE);
    hole = hole <= op->offset ? end : (hole + mask) & ~mask;
    return op_status((uint64_t)((hole < end ? hole : end) - op->offset),
                     OP_STATUS_DATA | OP_STATUS_ALLOCATED);
}

void file_submit(struct driver_node *node, struct op *op)
{
    struct io *io = op_push(op, done, node);
    io->req = (struct ring_req){.done = transferred};
    io->file = node->state;
    io->op = op;
    io->done = 0;
    io->cancelled = false;
    switch (op->kind) {
    case OP_READ:
    case OP_WRITE:
        transfer(io);
        break;
    case OP_FLUSH:
        flush(io);
        break;
    case OP_DISCARD:
        discard(io);
        break;
    case OP_ZEROES:
        zeroes(io);
        break;
    case OP_TRUNCATE:
        truncate_file(io);
        break;
    case OP_STATUS:
        op_complete(op, status(io->file, op));
        break;
    }
}

/* Every request that has not ended waits for a system call. */
bool file_cancel(struct driver_node *node, struct op *op)
{
    struct io *io = op_top(op);
    (void)node;
    io->cancelled = true;
    ring_cancel(ring_of(io), &io->req);
    return true;
}
