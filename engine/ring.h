/* ring.h — asynchronous system calls of one reactor. ring.c alone knows io_uring.
 *
 * A request is embedded in what it belongs to; it is the ring's from the call until `done` runs.
 * `done` runs on the reactor's thread, never inside the submitting call, with the call's result: 0
 * or more, or a negative errno. Calls queue; the reactor submits them once per turn. Nothing fails
 * for want of room.
 *
 * Buffers, vectors and paths must stay until `done`, also after a cancellation: a cancelled request
 * ends with its own completion, -ECANCELED, or its result when it was faster ("completed wins"). */
#ifndef SLUICE_RING_H
#define SLUICE_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "engine/err.h"

struct ring;
struct statx;

struct ring_req {
    void (*done)(struct ring_req *req, int res);
    /* Set by the ring while a multishot request is armed: `done` will run again. */
    bool more;
    bool outside; /* the ring's: see ring_working() */
};

/* A descriptor, registered with the ring when there is room for it (`slot` >= 0). */
struct ring_file {
    int fd;
    int slot;
};

/* Fails with a sentence when the kernel or a container forbids io_uring. */
struct ring *ring_new(struct err *err);

/* Once, on the thread that will use the ring from then on. */
int ring_enable(struct ring *ring);

/* No request may be outstanding. */
void ring_free(struct ring **ring);

/* Takes `fd` into the ring's table; without room it is used as it is. Unregister before close(). */
void ring_file_register(struct ring *ring, struct ring_file *file, int fd);
void ring_file_unregister(struct ring *ring, struct ring_file *file);

/* Takes memory into the ring's table, so that reads and writes of a part of it, as one entry of a
 * vector, cost the kernel less: it does not look its pages up each time. -ENOSPC when the table is
 * full, or what the kernel says (-ENOMEM: too little may be locked; -EFAULT: more than 1 GiB). The
 * same memory counts as often as it was registered. Nothing may be under way from memory that is
 * unregistered. */
int ring_buffer_register(struct ring *ring, void *memory, size_t bytes);
void ring_buffer_unregister(struct ring *ring, void *memory, size_t bytes);

void ring_openat(struct ring *ring, struct ring_req *req, const char *path, int flags, mode_t mode);
void ring_statx(struct ring *ring, struct ring_req *req, int fd, struct statx *out);
void ring_readv(struct ring *ring, struct ring_req *req, const struct ring_file *file,
                const struct iovec *iov, unsigned niov, uint64_t offset);
/* `rw_flags`: RWF_DSYNC for forced unit access, or 0. */
void ring_writev(struct ring *ring, struct ring_req *req, const struct ring_file *file,
                 const struct iovec *iov, unsigned niov, uint64_t offset, int rw_flags);
void ring_fdatasync(struct ring *ring, struct ring_req *req, const struct ring_file *file);
/* Of the whole file. */
void ring_fadvise(struct ring *ring, struct ring_req *req, const struct ring_file *file,
                  int advice);
void ring_fallocate(struct ring *ring, struct ring_req *req, const struct ring_file *file, int mode,
                    uint64_t offset, uint64_t bytes);

/* Multishot while `req->more`; the result is the new descriptor, close-on-exec. */
void ring_accept(struct ring *ring, struct ring_req *req, int fd);
void ring_recv(struct ring *ring, struct ring_req *req, const struct ring_file *file, void *buffer,
               size_t bytes, int flags);
void ring_sendmsg(struct ring *ring, struct ring_req *req, const struct ring_file *file,
                  const struct msghdr *msg, int flags);
/* Level-triggered while `req->more`: re-arm when it is not. */
void ring_poll(struct ring *ring, struct ring_req *req, int fd, unsigned events);

/* Once: ends when `fd` is readable. */
void ring_poll_once(struct ring *ring, struct ring_req *req, int fd);

/* Asks that `req` end early. Its `done` still runs. Does nothing to one that already ended. */
void ring_cancel(struct ring *ring, struct ring_req *req);

/* Requests whose `done` has not run yet. */
unsigned ring_pending(const struct ring *ring);

/* Of them, those that end by themselves: not the sockets' and polls, which wait for somebody
 * outside. */
unsigned ring_working(const struct ring *ring);

/* System calls that handed queued requests to the kernel. */
uint64_t ring_submissions(const struct ring *ring);

/* For the reactor: submits what is queued and runs `done` of what has completed, without waiting;
 * returns how many ran. Costs no system call when there is nothing to submit and nothing has
 * completed. */
unsigned ring_turn(struct ring *ring);

/* For the reactor: as ring_turn, but waits for a completion, at most `timeout_ns` (UINT64_MAX: for
 * ever). */
unsigned ring_wait(struct ring *ring, uint64_t timeout_ns);

#endif
