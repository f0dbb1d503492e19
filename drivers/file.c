/* file.c — a regular file or block device: opening, locking, closing. See file_io.c for requests.
 *
 * Locking. An open image holds advisory locks that belong to its open file description, so they go
 * with it and hold among nodes of one process too. Among themselves, nodes lock byte 0: exclusively
 * for writing, shared for reading, so there is one writer, or any number of readers.
 *
 * QEMU's programs use shared locks on other bytes, which /proc/locks shows: from 100 on for what
 * one does (100 reading, 101 writing), from 200 on for what one does not put up with in others. The
 * locks here say the same, so that QEMU and Sluice keep each other from writing, while qemu-img can
 * read an image that is being written here, which it takes for its own risk.
 *
 * While all backends above a node are inactive it holds no lock, so that another process can take
 * the image over: see file_activate().
 *
 * When a process with an io_uring is killed, the kernel lets go of its files some time after others
 * see that it is gone: about 40 ms. So who starts in its place does not take a lock that is in the
 * way for final at once. */
#include "drivers/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/descriptors.h"

/* The longest read or write that Linux does at once. */
#define TRANSFER_MAX UINT64_C(0x7ffff000)
#define VECTOR_MAX   1024

/* For how long a lock may be in the way, and time between tries. */
#define LOCK_PATIENCE (500 * NS_PER_MS)
#define LOCK_AGAIN    (20 * NS_PER_MS)
/* The same for taking a file over, while other changes of the graph wait. */
#define ACTIVATION_PATIENCE (100 * NS_PER_MS)

/* Alignment that every file system's direct I/O is content with, where the kernel does not tell. */
#define DIRECT_ALIGN 4096

static const struct option file_options[] = {
    {.name = "filename",
     .type = OPTION_STRING,
     .required = true,
     .help = "path of a regular file or block device"},
    {.name = "read-only",
     .type = OPTION_SWITCH,
     .preset = "off",
     .help = "open it for reading only"},
    {.name = "direct",
     .type = OPTION_SWITCH,
     .preset = "off",
     .help = "pass the page cache by (O_DIRECT); the length is rounded up to the alignment"},
    {.name = "locking",
     .type = OPTION_SWITCH,
     .preset = "on",
     .help = "keep others from writing it, and refuse it when others have it open to write"},
    {.name = "discard",
     .type = OPTION_SWITCH,
     .preset = "on",
     .help = "whether discards and unmapping zeroes free space in it"},
    {0},
};

static const char *path_of(const struct driver_node *node)
{
    return option_string(node->options, "filename");
}

/* A path in a sentence, for "'%s%s'": of a long one the end, so that there is room for the rest. */
#define PATH_SHOWN  200
#define SHOWN(node) cut_of(node) ? "…" : "", path_of(node) + cut_of(node)

static size_t cut_of(const struct driver_node *node)
{
    size_t length = strlen(path_of(node));
    return length > PATH_SHOWN ? length - PATH_SHOWN : 0;
}

static void file_drop(struct file *file)
{
    if (file->at.fd >= 0)
        close(file->at.fd);
    file->at.fd = -1;
}

static void fail(struct file *file, const struct err *err)
{
    file_drop(file);
    file->opened(file->node, err->code, err);
}

static int refuse_path(const struct driver_node *node, int code, struct err *err)
{
    bool read_only = option_switch(node->options, "read-only");
    switch (code) {
    case -ENOENT:
        return err_field(
            err, "filename", code,
            "node %s: there is no file '%s%s'; create it, e.g. with truncate -s 1G, or "
            "correct filename=",
            node->name, SHOWN(node));
    case -EACCES:
    case -EPERM:
        return err_field(err, "filename", code,
                         "node %s: '%s%s' may not be opened for %s: permission denied%s",
                         node->name, SHOWN(node), read_only ? "reading" : "writing",
                         read_only ? "" : "; if reading is enough, give read-only=on");
    case -EROFS:
        return err_field(err, "filename", code,
                         "node %s: '%s%s' is on a read-only file system; give read-only=on",
                         node->name, SHOWN(node));
    case -EISDIR:
        return err_field(err, "filename", code,
                         "node %s: '%s%s' is a directory; name a regular file or a block device",
                         node->name, SHOWN(node));
    case -ENXIO:
        return err_field(
            err, "filename", code,
            "node %s: '%s%s' is neither a regular file nor a block device that is there",
            node->name, SHOWN(node));
    case -EMFILE:
        return err_field(
            err, "filename", code,
            "node %s: '%s%s' can't be opened: too few file descriptors are left; raise "
            "their limit (ulimit -n)",
            node->name, SHOWN(node));
    case -EINVAL:
        if (option_switch(node->options, "direct"))
            return err_field(
                err, "direct", code,
                "node %s: the file system of '%s%s' has no direct I/O; give direct=off", node->name,
                SHOWN(node));
    }
    return err_field(err, "filename", code, "node %s: '%s%s' can't be opened: %s", node->name,
                     SHOWN(node), strerror(-code));
}

static int check_type(const struct file *file, struct err *err)
{
    const char *what = NULL;
    switch (file->stat.stx_mode & S_IFMT) {
    case S_IFREG:
    case S_IFBLK:
        return 0;
    case S_IFDIR:
        return refuse_path(file->node, -EISDIR, err);
    case S_IFIFO:
        what = "a pipe";
        break;
    case S_IFCHR:
        what = "a character device";
        break;
    default:
        what = "something else";
    }
    return err_field(err, "filename", -EINVAL,
                     "node %s: '%s%s' is %s; name a regular file or a block device",
                     file->node->name, SHOWN(file->node), what);
}

/* Bytes that are locked by those who write or change an image, and by those who do not want others
 * to write it: QEMU's, and ours for its sake. */
#define BYTES_CHANGING 101, 99
#define BYTES_AGAINST  201, 99

static struct flock bytes(short type, off_t start, off_t count)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = count};
}

static int take(int fd, struct flock range)
{
    return fcntl(fd, F_OFD_SETLK, &range) < 0 ? -errno : 0;
}

/* Whether nobody else has any lock there. */
static int look(int fd, struct flock range)
{
    if (fcntl(fd, F_OFD_GETLK, &range) < 0)
        return -errno;
    return range.l_type == F_UNLCK ? 0 : -EAGAIN;
}

static int lock_all(int fd, bool write)
{
    int ret = take(fd, bytes(write ? F_WRLCK : F_RDLCK, 0, 1));
    if (ret == 0)
        ret = look(fd, bytes(F_WRLCK, BYTES_CHANGING));
    if (ret == 0 && write)
        ret = look(fd, bytes(F_WRLCK, BYTES_AGAINST));
    if (ret == 0 && write)
        ret = take(fd, bytes(F_RDLCK, BYTES_CHANGING));
    if (ret == 0)
        ret = take(fd, bytes(F_RDLCK, BYTES_AGAINST));
    return ret;
}

/* -EAGAIN without a sentence: it is worth another try. */
static int lock(const struct file *file, struct err *err)
{
    const struct driver_node *node = file->node;
    bool read_only = option_switch(node->options, "read-only");
    if (!option_switch(node->options, "locking") || !file->active)
        return 0;
    int ret = lock_all(file->at.fd, !read_only);
    bool taken = ret == -EAGAIN || ret == -EACCES;
    if (taken && reactor_now(node->reactor) < file->patience_until)
        return -EAGAIN;
    if (taken)
        return err_field(
            err, "filename", -EBUSY,
            "node %s: '%s%s' is in use: another program or node has it open%s; close it "
            "there, or give locking=off if you know that it is safe",
            node->name, SHOWN(node), read_only ? " for writing" : "");
    if (ret < 0)
        return err_field(err, "locking", ret,
                         "node %s: '%s%s' can't be locked: %s; give locking=off", node->name,
                         SHOWN(node), strerror(-ret));
    return 0;
}

/* Length and block size of a block device. */
static int measure_device(struct file *file, struct err *err)
{
    uint64_t length = 0;
    int block = 512;
    if (ioctl(file->at.fd, BLKGETSIZE64, &length) < 0 || ioctl(file->at.fd, BLKSSZGET, &block) < 0)
        return refuse_path(file->node, -errno, err);
    file->is_device = true;
    file->block = (uint64_t)block;
    file->stat.stx_size = length;
    return 0;
}

/* What a block device is, beyond what requests need: what can't be told stays 0. The kernel counts
 * cylinders in 16 bits, so they are made of the length. SCSI-generic devices are character devices,
 * which have no content to read: they are none of this driver's. */
static void probe_device(const struct file *file, struct driver_facts *facts)
{
    unsigned physical = 0;
    struct hd_geometry geometry = {0};
    facts->logical_block = (uint32_t)file->block;
    if (ioctl(file->at.fd, BLKPBSZGET, &physical) == 0)
        facts->physical_block = physical;
    if (ioctl(file->at.fd, HDIO_GETGEO, &geometry) < 0 || !geometry.heads || !geometry.sectors)
        return;
    facts->heads = geometry.heads;
    facts->sectors = geometry.sectors;
    facts->cylinders = (uint32_t)(file->stat.stx_size / (512U * facts->heads * facts->sectors));
}

static int direct_alignment(const struct file *file, uint32_t *alignment, struct err *err)
{
    *alignment = file->is_device ? (uint32_t)file->block : DIRECT_ALIGN;
#ifdef STATX_DIOALIGN
    if (file->stat.stx_mask & STATX_DIOALIGN) {
        uint32_t offset = file->stat.stx_dio_offset_align, memory = file->stat.stx_dio_mem_align;
        if (!offset)
            return refuse_path(file->node, -EINVAL, err);
        *alignment = offset > memory ? offset : memory;
    }
#endif
    return 0;
}

/* Whether all of it is in memory, so that a request never waits (but for swap). */
static bool is_memory(const struct file *file)
{
    struct statfs fs;
    return fstatfs(file->at.fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* O_NONBLOCK kept the open from waiting for a pipe's other end. For what follows it means that
 * io_uring tries a request at once, also where the file system does not promise not to wait: right
 * for memory, which costs less to copy than to hand to another thread, and wrong for all else.
 * Times of access are no use to anyone, and cost a few percent; only the owner may do without. */
static void set_flags(const struct file *file)
{
    int flags = (file->direct ? O_DIRECT : 0) | (is_memory(file) ? O_NONBLOCK : 0);
    if (fcntl(file->at.fd, F_SETFL, flags | O_NOATIME) < 0)
        fcntl(file->at.fd, F_SETFL, flags);
}

static int64_t rounded_length(const struct file *file, uint64_t alignment)
{
    return (int64_t)((file->stat.stx_size + alignment - 1) & ~(alignment - 1));
}

static int settle(struct file *file, struct err *err)
{
    struct driver_node *node = file->node;
    bool discard = option_switch(node->options, "discard");
    uint32_t alignment = 1;
    int ret = check_type(file, err);
    file->block = 1;
    if (ret == 0 && S_ISBLK(file->stat.stx_mode))
        ret = measure_device(file, err);
    if (ret == 0 && file->direct)
        ret = direct_alignment(file, &alignment, err);
    if (ret == 0)
        ret = lock(file, err);
    if (ret < 0)
        return ret;

    set_flags(file);
    node->facts = (struct driver_facts){
        .length = rounded_length(file, alignment),
        .direct = file->direct,
        .alignment = alignment,
        .max_transfer = TRANSFER_MAX & ~(uint64_t)(alignment - 1),
        .optimal_transfer = file->stat.stx_blksize,
        .max_vector = VECTOR_MAX,
        .read_only = option_switch(node->options, "read-only"),
        .can = DRIVER_CAN_ZEROES | DRIVER_CAN_FUA | DRIVER_CAN_FLUSH |
               (discard ? DRIVER_CAN_DISCARD | DRIVER_CAN_UNMAP : 0) |
               (file->is_device ? 0 : DRIVER_CAN_RESIZE | DRIVER_CAN_GROW | DRIVER_CAN_STATUS),
    };
    if (file->is_device)
        probe_device(file, &node->facts);
    ring_file_register(reactor_ring(node->reactor), &file->at, file->at.fd);
    return 0;
}

/* Opening, in order: openat, statx, and what settle() does at once; from statx on again after a
 * while when a lock is in the way. */

static struct file *file_of(struct ring_req *req)
{
    return (struct file *)((char *)req - offsetof(struct file, req));
}

static void on_stat(struct ring_req *req, int res)
{
    struct file *file = file_of(req);
    struct reactor *reactor = file->node->reactor;
    struct err err;
    int ret = res < 0 ? refuse_path(file->node, res, &err) : settle(file, &err);
    if (ret == -EAGAIN)
        timer_arm(reactor_timers(reactor), &file->lock_again, reactor_now(reactor) + LOCK_AGAIN);
    else if (ret < 0)
        fail(file, &err);
    else
        file->opened(file->node, 0, NULL);
}

static void look_at(struct file *file)
{
    file->req.done = on_stat;
    ring_statx(reactor_ring(file->node->reactor), &file->req, file->at.fd, &file->stat);
}

static void lock_again(struct timer *timer)
{
    look_at((struct file *)((char *)timer - offsetof(struct file, lock_again)));
}

static void on_open(struct ring_req *req, int res)
{
    struct file *file = file_of(req);
    file->at.fd = res;
    if (res >= 0 && !descriptors_suffice(res))
        res = -EMFILE;
    if (res < 0) {
        struct err err;
        refuse_path(file->node, res, &err);
        fail(file, &err);
        return;
    }
    look_at(file);
}

static void file_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct file *file = node->state;
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    file->node = node;
    file->opened = opened;
    file->at = (struct ring_file){-1, -1};
    file->direct = option_switch(node->options, "direct");
    file->active = !node->inactive;
    file->lock_again.fire = lock_again;
    file->patience_until = reactor_now(node->reactor) + LOCK_PATIENCE;
    flags |= option_switch(node->options, "read-only") ? O_RDONLY : O_RDWR;
    flags |= file->direct ? O_DIRECT : 0;
    file->req.done = on_open;
    ring_openat(reactor_ring(node->reactor), &file->req, path_of(node), flags, 0);
}

/* Rereading, in order: fdatasync, for only what is clean can be forgotten; fadvise, which makes the
 * page cache forget; statx. Among processes of one host all see the same, but the file system may
 * be another host's too. An error of an earlier flush stays: what it lost is lost. */

static void file_inactivate(struct driver_node *node)
{
    struct file *file = node->state;
    file->active = false;
    take(file->at.fd, bytes(F_UNLCK, 0, 0));
}

static int refuse_reread(const struct driver_node *node, const char *what, int code,
                         struct err *err)
{
    return err_set(err, code, "node %s: '%s%s' can't be reread, as %s: %s", node->name, SHOWN(node),
                   what, strerror(-code));
}

/* What could not be taken over as a whole is not kept. */
static void end_reread(struct file *file, const struct err *err)
{
    if (err && file->taking_over)
        file_inactivate(file->node);
    file->taking_over = false;
    file->opened(file->node, err ? err->code : 0, err);
}

static void reread_stat(struct file *file);

static void on_reread_stat(struct ring_req *req, int res)
{
    struct file *file = file_of(req);
    struct driver_node *node = file->node;
    struct err err;
    int ret = res;
    if (res == 0 && file->lengths != file->lengths_before) {
        reread_stat(file); /* a request has changed it meanwhile */
        return;
    }
    if (res == 0 && file->is_device)
        ret = measure_device(file, &err);
    else if (res < 0)
        refuse_reread(node, "its length can't be told", res, &err);
    if (ret < 0) {
        end_reread(file, &err);
        return;
    }
    node->facts.length = rounded_length(file, node->facts.alignment);
    driver_changed(node);
    end_reread(file, NULL);
}

static void reread_stat(struct file *file)
{
    file->lengths_before = file->lengths;
    file->req.done = on_reread_stat;
    ring_statx(reactor_ring(file->node->reactor), &file->req, file->at.fd, &file->stat);
}

/* A file system without a page cache has nothing to forget. */
static void on_forgotten(struct ring_req *req, int res)
{
    (void)res;
    reread_stat(file_of(req));
}

static void on_reread_flush(struct ring_req *req, int res)
{
    struct file *file = file_of(req);
    struct err err;
    if (res < 0) {
        file->flush_error = res;
        refuse_reread(file->node, "what was written could not be flushed", res, &err);
        end_reread(file, &err);
        return;
    }
    req->done = on_forgotten;
    ring_fadvise(reactor_ring(file->node->reactor), req, &file->at, POSIX_FADV_DONTNEED);
}

static void file_invalidate(struct driver_node *node, driver_opened_fn *done)
{
    struct file *file = node->state;
    file->opened = done;
    if (file->direct) {
        reread_stat(file);
        return;
    }
    file->req.done = on_reread_flush;
    ring_fdatasync(reactor_ring(node->reactor), &file->req, &file->at);
}

/* Taking the file over: its locks, again after a while when one is in the way, then its content.
 * The descriptor stayed when the locks went. What was learnt of the file is true of it still. */
static void take_over(struct timer *timer)
{
    struct file *file = (struct file *)((char *)timer - offsetof(struct file, lock_again));
    struct reactor *reactor = file->node->reactor;
    struct err err;
    int ret = lock(file, &err);
    if (ret == -EAGAIN)
        timer_arm(reactor_timers(reactor), timer, reactor_now(reactor) + LOCK_AGAIN);
    else if (ret < 0)
        end_reread(file, &err);
    else
        file_invalidate(file->node, file->opened);
}

static void file_activate(struct driver_node *node, driver_opened_fn *done)
{
    struct file *file = node->state;
    file->active = file->taking_over = true;
    file->opened = done;
    file->lock_again.fire = take_over;
    file->patience_until = reactor_now(node->reactor) + ACTIVATION_PATIENCE;
    take_over(&file->lock_again);
}

static void file_leave(struct driver_node *node)
{
    struct file *file = node->state;
    ring_file_unregister(reactor_ring(node->reactor), &file->at);
}

static void file_arrive(struct driver_node *node)
{
    struct file *file = node->state;
    ring_file_register(reactor_ring(node->reactor), &file->at, file->at.fd);
}

static void file_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    file_leave(node);
    file_drop(node->state);
    closed(node);
}

static int file_register_buf(struct driver_node *node, void *memory, size_t bytes)
{
    return ring_buffer_register(reactor_ring(node->reactor), memory, bytes);
}

static void file_unregister_buf(struct driver_node *node, void *memory, size_t bytes)
{
    ring_buffer_unregister(reactor_ring(node->reactor), memory, bytes);
}

const struct driver driver_file = {
    .name = "file",
    .help = "A regular file or block device",
    .options = file_options,
    .size = sizeof(struct file),
    .open = file_open,
    .close = file_close,
    .submit = file_submit,
    .cancel = file_cancel,
    .activate = file_activate,
    .inactivate = file_inactivate,
    .register_buf = file_register_buf,
    .unregister_buf = file_unregister_buf,
    .invalidate = file_invalidate,
    .leave = file_leave,
    .arrive = file_arrive,
};
