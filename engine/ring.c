#include "engine/ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/mem.h"

#define ENTRIES 512  /* submission queue; when it is full it is submitted early */
#define FILES   4096 /* places for registered descriptors */
#define BUFFERS 64   /* and for registered memory, which each read and write looks through */

struct ring {
    struct io_uring uring;
    unsigned pending;
    unsigned outside; /* of them, that wait for somebody outside */
    uint64_t submissions;
    struct ring_buffer {
        char *memory; /* null: a free place */
        size_t bytes;
        unsigned uses;
    } buffers[BUFFERS];
    unsigned nbuffers; /* places up to the last that is in use; 0 too when the kernel has none */
    bool has_buffers;
    int *free_slots; /* a stack; null when the kernel registers none */
    unsigned nfree;
};

static int refuse(struct err *err, int code)
{
    switch (code) {
    case -EPERM:
    case -EACCES:
        return err_set(err, code,
                       "io_uring is forbidden here (%s): allow it, by the sysctl "
                       "kernel.io_uring_disabled=0 and a seccomp profile of the container that "
                       "lets io_uring_setup pass",
                       strerror(-code));
    case -ENOSYS:
        return err_set(err, code,
                       "this kernel, or the container's seccomp profile, has no io_uring; Linux "
                       "6.1 or later with io_uring allowed is needed");
    case -EINVAL:
        return err_set(err, code,
                       "this kernel's io_uring is too old: Linux 6.1 or later is needed (single "
                       "issuer and deferred task work)");
    case -ENOMEM:
        return err_set(err, code,
                       "io_uring could not be set up for want of memory: raise the limit on "
                       "locked memory (ulimit -l)");
    default:
        return err_set(err, code, "io_uring could not be set up: %s", strerror(-code));
    }
}

struct ring *ring_new(struct err *err)
{
    struct ring *ring = MEM_NEW(struct ring);
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE |
                 IORING_SETUP_R_DISABLED,
        .cq_entries = 4 * ENTRIES,
    };
    int ret = io_uring_queue_init_params(ENTRIES, &ring->uring, &params);
    if (ret < 0) {
        refuse(err, ret);
        free(ring);
        return NULL;
    }
    if (io_uring_register_files_sparse(&ring->uring, FILES) == 0) {
        ring->free_slots = mem_new(FILES * sizeof *ring->free_slots);
        for (int slot = FILES - 1; slot >= 0; slot--)
            ring->free_slots[ring->nfree++] = slot;
    }
    ring->has_buffers = io_uring_register_buffers_sparse(&ring->uring, BUFFERS) == 0;
    return ring;
}

int ring_enable(struct ring *ring)
{
    /* Debian's liburing 2.3 declares io_uring_enable_rings() and does not export it. */
    return (int)syscall(SYS_io_uring_register, ring->uring.ring_fd, IORING_REGISTER_ENABLE_RINGS,
                        NULL, 0) < 0
               ? -errno
               : 0;
}

void ring_free(struct ring **self)
{
    struct ring *ring = *self;
    if (!ring)
        return;
    *self = NULL;
    assert(ring->pending == 0);
    io_uring_queue_exit(&ring->uring);
    free(ring->free_slots);
    free(ring);
}

void ring_file_register(struct ring *ring, struct ring_file *file, int fd)
{
    *file = (struct ring_file){fd, -1};
    if (!ring->nfree)
        return;
    int slot = ring->free_slots[ring->nfree - 1];
    if (io_uring_register_files_update(&ring->uring, (unsigned)slot, &fd, 1) == 1) {
        ring->nfree--;
        file->slot = slot;
    }
}

void ring_file_unregister(struct ring *ring, struct ring_file *file)
{
    if (file->slot < 0)
        return;
    int none = -1;
    int ret = io_uring_register_files_update(&ring->uring, (unsigned)file->slot, &none, 1);
    /* A place that can't be emptied is not used again: it may still hold the old file. */
    if (ret == 1)
        ring->free_slots[ring->nfree++] = file->slot;
    file->slot = -1;
}

/* --- Registered memory */

static int set_buffer(struct ring *ring, unsigned slot, void *memory, size_t bytes)
{
    struct iovec iov = {memory, bytes};
    __u64 tag = 0;
    int ret = io_uring_register_buffers_update_tag(&ring->uring, slot, &iov, &tag, 1);
    return ret == 1 ? 0 : ret < 0 ? ret : -EINVAL;
}

static struct ring_buffer *find_buffer(struct ring *ring, const void *memory, size_t bytes)
{
    for (struct ring_buffer *at = ring->buffers; at < ring->buffers + ring->nbuffers; at++)
        if (at->memory == memory && (!memory || at->bytes == bytes))
            return at;
    return NULL;
}

int ring_buffer_register(struct ring *ring, void *memory, size_t bytes)
{
    struct ring_buffer *buffer;
    if (!memory || !bytes)
        return -EINVAL;
    if ((buffer = find_buffer(ring, memory, bytes))) {
        buffer->uses++;
        return 0;
    }
    if (!(buffer = find_buffer(ring, NULL, 0)))
        buffer = ring->buffers + ring->nbuffers;
    unsigned slot = (unsigned)(buffer - ring->buffers);
    if (!ring->has_buffers || slot == BUFFERS)
        return ring->has_buffers ? -ENOSPC : -ENOTSUP;
    int ret = set_buffer(ring, slot, memory, bytes);
    if (ret < 0)
        return ret;
    *buffer = (struct ring_buffer){memory, bytes, 1};
    if (slot == ring->nbuffers)
        ring->nbuffers++;
    return 0;
}

void ring_buffer_unregister(struct ring *ring, void *memory, size_t bytes)
{
    struct ring_buffer *buffer = memory ? find_buffer(ring, memory, bytes) : NULL;
    if (!buffer || --buffer->uses)
        return;
    set_buffer(ring, (unsigned)(buffer - ring->buffers), NULL, 0);
    *buffer = (struct ring_buffer){0};
    while (ring->nbuffers && !ring->buffers[ring->nbuffers - 1].memory)
        ring->nbuffers--;
}

/* The place of the memory that this is a part of; -1 when it is none's. */
static int place_of(const struct ring *ring, const struct iovec *iov)
{
    for (unsigned i = 0; i < ring->nbuffers; i++) {
        const struct ring_buffer *buffer = &ring->buffers[i];
        uintptr_t offset = (uintptr_t)iov->iov_base - (uintptr_t)buffer->memory;
        if (offset < buffer->bytes && iov->iov_len <= buffer->bytes - offset)
            return (int)i;
    }
    return -1;
}

/* --- Requests */

static void submit(struct ring *ring)
{
    while (io_uring_sq_ready(&ring->uring)) {
        ring->submissions++;
        int ret = io_uring_submit_and_get_events(&ring->uring);
        if (ret >= 0 || ret == -EINTR)
            continue;
        if (ret == -EAGAIN || ret == -EBUSY)
            return; /* memory is short, or the completion queue is full: after the next reaping */
        /* Nothing a request does makes the submission itself fail: this is a bug. */
        fprintf(stderr, "sluice: io_uring refused a submission: %s\n", strerror(-ret));
        abort();
    }
}

static struct io_uring_sqe *prepare(struct ring *ring)
{
    struct io_uring_sqe *sqe;
    while (!(sqe = io_uring_get_sqe(&ring->uring)))
        submit(ring);
    return sqe;
}

static void begin(struct ring *ring, struct io_uring_sqe *sqe, struct ring_req *req)
{
    req->more = false;
    req->outside = false;
    io_uring_sqe_set_data(sqe, req);
    ring->pending++;
}

/* For one that ends when somebody outside does something. */
static void begin_outside(struct ring *ring, struct io_uring_sqe *sqe, struct ring_req *req)
{
    begin(ring, sqe, req);
    req->outside = true;
    ring->outside++;
}

static void use_file(struct io_uring_sqe *sqe, const struct ring_file *file)
{
    if (file->slot >= 0) {
        sqe->fd = file->slot;
        sqe->flags |= IOSQE_FIXED_FILE;
    }
}

void ring_openat(struct ring *ring, struct ring_req *req, const char *path, int flags, mode_t mode)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_openat(sqe, AT_FDCWD, path, flags, mode);
    begin(ring, sqe, req);
}

void ring_statx(struct ring *ring, struct ring_req *req, int fd, struct statx *out)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_statx(sqe, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_DIOALIGN, out);
    begin(ring, sqe, req);
}

void ring_readv(struct ring *ring, struct ring_req *req, const struct ring_file *file,
                const struct iovec *iov, unsigned niov, uint64_t offset)
{
    struct io_uring_sqe *sqe = prepare(ring);
    int place = niov == 1 ? place_of(ring, iov) : -1;
    if (place >= 0)
        io_uring_prep_read_fixed(sqe, file->fd, iov->iov_base, (unsigned)iov->iov_len, offset,
                                 place);
    else if (niov == 1)
        io_uring_prep_read(sqe, file->fd, iov->iov_base, (unsigned)iov->iov_len, offset);
    else
        io_uring_prep_readv(sqe, file->fd, iov, niov, offset);
    use_file(sqe, file);
    begin(ring, sqe, req);
}

void ring_writev(struct ring *ring, struct ring_req *req, const struct ring_file *file,
                 const struct iovec *iov, unsigned niov, uint64_t offset, int rw_flags)
{
    struct io_uring_sqe *sqe = prepare(ring);
    int place = niov == 1 ? place_of(ring, iov) : -1;
    if (place >= 0)
        io_uring_prep_write_fixed(sqe, file->fd, iov->iov_base, (unsigned)iov->iov_len, offset,
                                  place);
    else if (niov == 1)
        io_uring_prep_write(sqe, file->fd, iov->iov_base, (unsigned)iov->iov_len, offset);
    else
        io_uring_prep_writev(sqe, file->fd, iov, niov, offset);
    sqe->rw_flags = rw_flags;
    use_file(sqe, file);
    begin(ring, sqe, req);
}

void ring_fdatasync(struct ring *ring, struct ring_req *req, const struct ring_file *file)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_fsync(sqe, file->fd, IORING_FSYNC_DATASYNC);
    use_file(sqe, file);
    begin(ring, sqe, req);
}

void ring_fadvise(struct ring *ring, struct ring_req *req, const struct ring_file *file, int advice)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_fadvise(sqe, file->fd, 0, 0, advice);
    use_file(sqe, file);
    begin(ring, sqe, req);
}

void ring_fallocate(struct ring *ring, struct ring_req *req, const struct ring_file *file, int mode,
                    uint64_t offset, uint64_t bytes)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_fallocate(sqe, file->fd, mode, (off_t)offset, (off_t)bytes);
    use_file(sqe, file);
    begin(ring, sqe, req);
}

void ring_accept(struct ring *ring, struct ring_req *req, int fd)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    begin_outside(ring, sqe, req);
}

void ring_recv(struct ring *ring, struct ring_req *req, const struct ring_file *file, void *buffer,
               size_t bytes, int flags)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_recv(sqe, file->fd, buffer, bytes, flags);
    use_file(sqe, file);
    begin_outside(ring, sqe, req);
}

void ring_sendmsg(struct ring *ring, struct ring_req *req, const struct ring_file *file,
                  const struct msghdr *msg, int flags)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_sendmsg(sqe, file->fd, msg, (unsigned)flags);
    use_file(sqe, file);
    begin_outside(ring, sqe, req);
}

void ring_poll(struct ring *ring, struct ring_req *req, int fd, unsigned events)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_poll_multishot(sqe, fd, events);
    begin_outside(ring, sqe, req);
}

void ring_poll_once(struct ring *ring, struct ring_req *req, int fd)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_poll_add(sqe, fd, POLLIN);
    begin_outside(ring, sqe, req);
}

void ring_cancel(struct ring *ring, struct ring_req *req)
{
    struct io_uring_sqe *sqe = prepare(ring);
    io_uring_prep_cancel(sqe, req, 0);
    /* The cancellation's own end interests nobody: the request's completion tells. */
    io_uring_sqe_set_data(sqe, NULL);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

unsigned ring_pending(const struct ring *ring)
{
    return ring->pending;
}

unsigned ring_working(const struct ring *ring)
{
    return ring->pending - ring->outside;
}

uint64_t ring_submissions(const struct ring *ring)
{
    return ring->submissions;
}

static unsigned reap(struct ring *ring)
{
    struct io_uring_cqe *batch[64];
    unsigned ran = 0, count;
    while ((count = io_uring_peek_batch_cqe(&ring->uring, batch, 64)) > 0) {
        struct {
            struct ring_req *req;
            int res;
            unsigned flags;
        } ended[64];
        for (unsigned i = 0; i < count; i++) {
            ended[i].req = io_uring_cqe_get_data(batch[i]);
            ended[i].res = batch[i]->res;
            ended[i].flags = batch[i]->flags;
        }
        io_uring_cq_advance(&ring->uring, count);
        for (unsigned i = 0; i < count; i++) {
            struct ring_req *req = ended[i].req;
            if (!req)
                continue;
            req->more = ended[i].flags & IORING_CQE_F_MORE;
            if (!req->more) {
                ring->pending--;
                ring->outside -= req->outside;
            }
            ran++;
            req->done(req, ended[i].res);
        }
        if (count < 64)
            break;
    }
    return ran;
}

static bool kernel_has_work(struct ring *ring)
{
    unsigned flags = __atomic_load_n(ring->uring.sq.kflags, __ATOMIC_RELAXED);
    return flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

unsigned ring_turn(struct ring *ring)
{
    submit(ring);
    if (kernel_has_work(ring))
        io_uring_get_events(&ring->uring);
    return io_uring_cq_ready(&ring->uring) ? reap(ring) : 0;
}

unsigned ring_wait(struct ring *ring, uint64_t timeout_ns)
{
    struct __kernel_timespec ts = {
        .tv_sec = (long long)(timeout_ns / NS_PER_S),
        .tv_nsec = (long long)(timeout_ns % NS_PER_S),
    };
    struct io_uring_cqe *cqe;
    ring->submissions += io_uring_sq_ready(&ring->uring) > 0;
    io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, timeout_ns == UINT64_MAX ? NULL : &ts,
                                     NULL);
    return reap(ring);
}
