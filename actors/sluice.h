/* sluice.h — the public interface of libsluice, a block I/O engine.
 *
 * Words: a *node* holds data (a file, memory, …); a *backend* (`blk`) stands between a frontend and
 * a node, checks, counts and pauses; an *export* serves a backend to clients. They live on the
 * engine's own threads, the reactors. A program talks to them through a *context*, of which each
 * thread has its own.
 *
 * Conventions: offsets, sizes and lengths are bytes. Functions that can fail return a negative
 * errno; those that take a `char **error` fill it in with a sentence, to be freed with free(), and
 * null on success. Destructors take the address of the caller's pointer, null it, and do nothing
 * for null.
 *
 * Threads: sluice_start, sluice_shutdown and sluice_stop of one engine on one thread at a time,
 * any; everything that takes a context, or a blk that was opened in it, likewise: usually a context
 * stays with one thread. Contexts are independent of each other, and so are engines.
 *
 * Callbacks run in blk_poll(), blk_wait() and all that waits as blk_wait() does: the synchronous
 * calls, control requests, and what else asks the engine. A callback may call everything but
 * blk_context_close() and sluice_stop(); other callbacks run inside one that waits. */
#ifndef SLUICE_H
#define SLUICE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* --- The engine
 * ------------------------------------------------------------------------------------- */

typedef struct sluice sluice;

#define SLUICE_THREADS_MAX 64

struct sluice_options {
    unsigned threads;     /* reactors, SLUICE_THREADS_MAX at most; 0: one per CPU that this process
                             may run on */
    const int *cpus;      /* the CPU of each of `threads`; null: the first that may be used */
    const char *control;  /* ZeroMQ endpoint for control requests; null: none */
    const char *events;   /* ZeroMQ endpoint for events; null: none */
    unsigned events_kept; /* events that can be replayed, 100,000,000 at most; 0: 65536 */
    unsigned deadline_ms; /* from sluice_shutdown() until requests that still wait end with
                             -ESHUTDOWN; 0: 30,000 */
    bool incoming;        /* another process still owns the images: backends begin inactive, and a
                             `resume` request activates them */
};

/* Starts the reactors. `options` may be null. Returns 0 and the engine, or a negative errno and a
 * sentence. */
int sluice_start(const struct sluice_options *options, sluice **engine, char **error);

/* Begins the end, without waiting: exports end; control and blk_open() are refused with -ESHUTDOWN.
 * Contexts go on, so that their owners finish and close them; after the deadline, what they have
 * outstanding and what they submit ends with -ESHUTDOWN. So blk_context_close() after this takes no
 * longer than the deadline; before it, as long as the slowest request. */
void sluice_shutdown(sluice *engine);

/* Shuts down if that has not begun, drains backends, closes nodes, joins the threads. Contexts are
 * closed first, by their owners: with one still open it ends the program, and says so. */
void sluice_stop(sluice **engine);

/* The endpoints in use ("" when there is none). Owned by the engine. */
const char *sluice_control_endpoint(const sluice *engine);
const char *sluice_events_endpoint(const sluice *engine);

/* A descriptor that becomes readable when a `shutdown` request came over control; the program is to
 * call sluice_stop(). */
int sluice_shutdown_fd(const sluice *engine);

const char *sluice_version(void);

/* Prints every driver with its options. */
void sluice_print_drivers(FILE *out);

/* --- Contexts
 * --------------------------------------------------------------------------------------- */

typedef struct blk_context blk_context;

/* A link to every reactor. `depth` bounds the requests outstanding at once (0: 1024; 65,536 at
 * most). */
int blk_context_open(sluice *engine, unsigned depth, blk_context **context, char **error);

/* Closes the blks that are still open, with blk_close(). */
void blk_context_close(blk_context **context);

/* Submits what is queued, runs the callbacks of what has completed, without waiting. Returns how
 * many ran. */
unsigned blk_poll(blk_context *context);

/* As blk_poll, but waits until at least one callback ran, or `timeout_ms` passed (-1: for ever).
 * Spins briefly, then sleeps. */
unsigned blk_wait(blk_context *context, int timeout_ms);

/* Around a burst: until the outermost unplug the context's requests gather, then they go together,
 * and reach the driver as one batch (what a file does with them is one system call). Regions nest.
 * blk_poll() and blk_arm() do not send what has gathered; whatever waits sends it first, so it
 * can't wait for ever. What is plugged in a callback is unplugged in it. */
void blk_io_plug(blk_context *context);
void blk_io_unplug(blk_context *context);

/* For an event loop: a descriptor that is readable when blk_poll() has something to do, once armed.
 * blk_arm() submits what is queued; it returns false, and arms nothing, when there is something to
 * do already. So call it last before sleeping, and blk_poll() after. */
int blk_context_fd(const blk_context *context);
bool blk_arm(blk_context *context);

/* One control request, written as on sluice's command line or in a configuration file:
 *     "node-add driver=file name=disk filename=/srv/disk.img"
 * The reply is JSON text (free() it; `reply` may be null). Returns 0, or a negative errno and a
 * sentence. */
int sluice_request(blk_context *context, const char *request, char **reply, char **error);

/* The same as packed protobuf messages, sluice.Request and sluice.Reply (proto/control.proto). An
 * error that a Reply tells of is not an error of this function: it fails when nothing
 * replies. Free the reply with free(). */
int sluice_request_packed(blk_context *context, const void *request, size_t size, void **reply,
                          size_t *reply_size);

/* Merges each backend's overlay into its backing, one after the other, and returns when that is
 * done; stops at the first error. What is written meanwhile stays in the overlay. */
int blk_commit_all(blk_context *context, char **error);

/* --- Backends
 * --------------------------------------------------------------------------------------- */

typedef struct blk blk;

enum blk_flags {
    BLK_WRITABLE = 1, /* blk_open: to write too */
    BLK_RESIZE = 2,   /* blk_open: to truncate */
    BLK_NO_IO = 4,    /* blk_open: neither to read nor to write */
    BLK_SHARE_RW = 8, /* blk_attach_dev: others may write too */

    BLK_FUA = 16,         /* durable before completion */
    BLK_MAY_UNMAP = 32,   /* zeroes: the range may be unmapped */
    BLK_NO_FALLBACK = 64, /* zeroes: -ENOTSUP rather than writing them */
    BLK_COMPRESSED = 128, /* write: in compressed form, or -ENOTSUP */

    BLK_DIRECT = 256, /* blk_get_flags: the medium passes the page cache by */
    BLK_UNMAP = 512,  /* blk_get_flags: discards free space */

    BLK_UNTHROTTLED = 1024 /* a read: throttle groups count it, but do not hold it up */
};

enum blk_prealloc {
    BLK_PREALLOC_OFF,
    BLK_PREALLOC_METADATA,
    BLK_PREALLOC_FALLOC,
    BLK_PREALLOC_FULL
};

/* What a user of a medium may do there. Each has some of these, and shares some: what others may
 * have. What is not shared can't be had by others, nor had when others have it already. */
enum blk_perm {
    BLK_PERM_CONSISTENT_READ = 1, /* what is read is the content, not something half done */
    BLK_PERM_WRITE = 2,
    BLK_PERM_WRITE_UNCHANGED = 4, /* write what is there already */
    BLK_PERM_RESIZE = 8,
    BLK_PERM_GRAPH_MOD = 16, /* put another node in the place of this one */
    BLK_PERM_ALL = 31
};

/* Opens the backend with this name for requests from this context. It has consistent-read, unless
 * BLK_NO_IO; write, and resize, as the flags say; and shares all. */
int blk_open(blk_context *context, const char *name, int flags, blk **out, char **error);

/* Makes a backend without a name, a medium or a device, with these permissions (enum blk_perm) and
 * write cache on. It lives as long as somebody refers to it. */
int blk_new(blk_context *context, unsigned perm, unsigned shared, blk **out, char **error);

/* Makes such a backend together with its medium: the file, the node that is there already, or the
 * one that `options` describe ("driver=memory size=1M", as backend-add takes them); each may be
 * null. The medium is opened for reading only unless a flag asks for more. What was made goes with
 * the last reference; after a failure nothing of it is left. */
int blk_new_open(blk_context *context, const char *filename, const char *node, const char *options,
                 int flags, blk **out, char **error);

/* References. To a backend refer its name, the device that is attached to it, and each blk, as
 * often as blk_ref() was called on it, and once for having been opened. blk_unref() and blk_close()
 * drop one; a null blk has none. The blk's last one ends its drained regions and waits for its
 * requests, but not for callbacks of its own that call it; those that merely wait, because an error
 * or somebody paused the backend, or for another region of this context, end with an error. The
 * backend's last one deletes it: what waits for the limits of a throttle group goes at once, though
 * it counts; it gives its medium up, and is gone when the call returns. */
void blk_ref(blk *blk);
void blk_unref(blk *blk);
unsigned blk_get_refcnt(const blk *blk); /* of the backend; 0 for null */
void blk_close(blk **blk);

/* A name makes a backend visible to control: a letter, then letters, digits, '-', '.' or '_', 63 at
 * most, which no backend and no node has. Only one that has none gets one. Removing is fine when
 * there is none. */
int blk_add_name(blk *blk, const char *name, char **error);
int blk_remove_name(blk *blk);
/* "" for none; it stays until callbacks can run. */
const char *blk_name(const blk *blk);
/* For messages: the name, else the device's id, else "a block device". Returns 0 or a negative
 * errno. */
int blk_description(const blk *blk, char *out, size_t size);

/* What there is. A walk goes on from a cursor, all zeroes at first, and holds nothing: it may be
 * abandoned, and goes on whatever changes meanwhile. What is there all the time is met once,
 * nothing is met twice. All of these return 1 and what they found, 0 when there is none, or a
 * negative errno. */
struct blk_cursor {
    uint64_t at[3];
};
struct blk_info {
    uint64_t id; /* for blk_open_id(); never another's, and blk_id() of the backend's blks */
    char name[64], description[256];
    char node[64];    /* its medium; "" for none */
    char device[256]; /* the attached device's id, its path when it has none; "" without one */
    unsigned references;
};
struct blk_node_info {
    char name[64];
    bool has_backend; /* it is the medium of one, or of several */
    bool is_root;     /* nobody but backends uses it */
};
int blk_next(blk_context *context, struct blk_cursor *cursor, struct blk_info *out);
int blk_next_named(blk_context *context, struct blk_cursor *cursor, struct blk_info *out);
/* Each node that is a backend's medium, then those of control that are no backend's. One that
 * becomes a backend's meanwhile, or is no longer, is met once all the same, unless 64 other walks
 * have begun since. */
int blk_next_root(blk_context *context, struct blk_cursor *cursor, struct blk_node_info *out);
int blk_by_name(blk_context *context, const char *name, struct blk_info *out);
/* By the device's id, or its path when it has none. Nothing is found by "". */
int blk_by_dev(blk_context *context, const char *device, struct blk_info *out);
int blk_by_node(blk_context *context, const char *node, struct blk_info *out); /* the first one */
int blk_by_id(blk_context *context, uint64_t id, struct blk_info *out);
int blk_node(blk_context *context, const char *node, struct blk_node_info *out);
uint64_t blk_id(const blk *blk);
int blk_open_id(blk_context *context, uint64_t id, int flags, blk **out, char **error);

/* What is done about a request that failed at the medium: the caller is told; told that it
 * succeeded, and what it read is zeroes; or the request waits, and with it all others, until the
 * backend is resumed (ENOSPC: if space was lacking, else report). It holds for all who use the
 * backend. */
enum blk_on_error {
    BLK_ON_ERROR_REPORT,
    BLK_ON_ERROR_IGNORE,
    BLK_ON_ERROR_STOP,
    BLK_ON_ERROR_ENOSPC
};
int blk_set_on_error(blk *blk, enum blk_on_error on_read_error, enum blk_on_error on_write_error);

/* The first error that stopped the backend since it was resumed. */
enum blk_iostatus { BLK_IOSTATUS_OK, BLK_IOSTATUS_NOSPACE, BLK_IOSTATUS_FAILED };
int blk_iostatus(blk *blk); /* or a negative errno */

/* Whether writes may be cached by the medium: off makes each durable before it is done. */
int blk_set_enable_write_cache(blk *blk, bool on);
int blk_enable_write_cache(blk *blk); /* 1, 0, or a negative errno */

/* Lets this blk's reads give zeroes beyond the medium's end, and its writes grow what can grow: one
 * that does resizes, so that it ends with -EPERM when the blk has not BLK_PERM_RESIZE, and with
 * -EBUSY when BLK_OP_RESIZE is blocked. */
void blk_set_allow_write_beyond_eof(blk *blk, bool allow);

/* A drained region: begin returns when nothing is in flight, callbacks included, but for the one
 * that it is called from; until the matching end, requests queue at the backend, from whomever but
 * this blk, and then go in order. It covers all backends that stand on the same node, those too
 * that come to stand there meanwhile. Regions nest. Inside somebody else's region, who may be
 * another blk of this context, this blk's requests queue too. End without begin is -EINVAL; begin
 * is -ENXIO when a callback has closed the blk meanwhile: then there is no region. */
int blk_drain_begin(blk *blk);
int blk_drain_end(blk *blk);
int blk_drain(blk *blk); /* both */
/* The same for all who stand on a node, directly or through others; and for all there are, and all
 * that are added meanwhile. These are the context's: the requests of all its blks go on that are
 * asked for inside. A context that closes ends the regions that it has begun. */
int blk_node_drain_begin(blk_context *context, const char *node);
int blk_node_drain_end(blk_context *context, const char *node);
int blk_drain_all_begin(blk_context *context);
int blk_drain_all_end(blk_context *context);

/* Limits. A throttle group holds reads and writes of its members back, all together, so that they
 * keep its limits; backends are members, whatever medium they have, and nodes of the driver
 * throttle. Flushes, ioctls and VM state are never held back. Groups have names, of their own, and
 * are made by control requests (`throttle-add`), or by joining one that is not there: such a group
 * has no limits at first, and goes with its last member.
 *
 * These wait for the engine, as control requests do, and are called where the blk is used. What is
 * done is done to the backend, for all who use it. */
struct blk_io_limit {
    uint64_t avg;          /* units per second that are sustained; 0: no limit */
    uint64_t max;          /* the same, in a burst, not below avg; 0: no bursts */
    uint64_t burst_length; /* seconds that a burst may last; 0 stands for 1 */
};

/* Units are operations and bytes. For each, reads and writes are limited either together (total) or
 * each; writes of zeroes, and discards at a node, are writes. */
struct blk_io_limits {
    struct blk_io_limit iops_total, iops_read, iops_write;
    struct blk_io_limit bps_total, bps_read, bps_write;
    uint64_t iops_size; /* bytes: a longer request is as many operations as it has of these; 0: each
                           is one */
};

/* Joins a group; null is one for this backend alone, that has its name: -EBUSY when there is one
 * that others are in, or control has made. Fine when it is in that group already; -EBUSY when it is
 * in another one. */
int blk_io_limits_enable(blk *blk, const char *group, char **error);
/* Goes to another group, with what waits, in its order. Does nothing for a backend that is in that
 * group, or in none. */
int blk_io_limits_update_group(blk *blk, const char *group, char **error);
/* Leaves its group, if it is in one: what waits goes on. */
int blk_io_limits_disable(blk *blk);
/* Sets all limits of the group that the backend is in, for all members; -EINVAL when it is in none,
 * or with a sentence that tells which rule is broken: then the old ones stay. */
int blk_set_io_limits(blk *blk, const struct blk_io_limits *limits, char **error);
/* Those that the group has, however they were set, with lengths of bursts of 1 at least; -EINVAL
 * when the backend is in none. */
int blk_get_io_limits(blk *blk, struct blk_io_limits *limits, char **error);

/* Moves the backend to another reactor, with its medium and all that stands on the same nodes.
 * Requests wait meanwhile, in order. Refused (-EBUSY) when an unnamed backend is among those, or
 * one with a device, unless they allow it or it is forced; and, forced or not, when BLK_OP_MOVE is
 * blocked on one of the nodes. Two movers at once take turns. */
int blk_set_reactor(blk *blk, unsigned reactor, bool force, char **error);
int blk_get_reactor(blk *blk); /* or a negative errno */
int blk_set_allow_reactor_change(blk *blk, bool allow);
/* Called, as callbacks are, when the backend is about to leave its reactor, and when it has arrived
 * at one; in that order, whatever medium it has. Null for none. */
void blk_set_reactor_notifier(blk *blk, void (*detached)(void *opaque),
                              void (*attached)(void *opaque, unsigned reactor), void *opaque);

/* Lets requests wait, and returns when none is with the medium, for which what limits hold back
 * goes at once; lets them go again, in order, those first that an error stopped. */
int blk_pause(blk *blk);
int blk_resume(blk *blk);

/* Has and shares other permissions from now on, when all others who use the medium, of this backend
 * or another, agree: else -EPERM with a sentence, and all stays. Without a medium it is remembered.
 * A change that lacks its permission ends with -EPERM. */
int blk_set_perm(blk *blk, unsigned perm, unsigned shared, char **error);
void blk_get_perm(const blk *blk, unsigned *perm, unsigned *shared);

/* Media come and go. One backend has one at most (else -EBUSY), and what its users need of a new
 * one must be had there (else -EPERM). Removing waits for what is in flight; it is fine when there
 * is none. A node that was made together with a backend goes when nothing has it any more. */
int blk_insert_bs(blk *blk, const char *node, char **error);
int blk_remove_bs(blk *blk, char **error);
/* Of all backends. Where BLK_OP_EJECT is blocked they stay: -EBUSY, when all others are out. */
int blk_remove_all_bs(blk_context *context, char **error);

/* Called as callbacks are: after a medium has come, and before one goes, which waits for them; for
 * a change both are, and when it fails after the first, the old medium is told as having come
 * again. They may do all that callbacks may, but not change this backend's medium. A context that
 * has some must be polled. Dropping takes away those with this function and argument. */
typedef void blk_notify_fn(void *opaque);
int blk_add_insert_bs_notifier(blk *blk, blk_notify_fn *notify, void *opaque);
int blk_add_remove_bs_notifier(blk *blk, blk_notify_fn *notify, void *opaque);
void blk_drop_bs_notifiers(blk *blk, blk_notify_fn *notify, void *opaque);

/* Rereads what the medium, and the nodes below, keep of what they stand on: another has changed it.
 * -ENOMEDIUM without one. */
int blk_invalidate_cache(blk *blk, char **error);

/* How the medium is opened, or the last one was: BLK_WRITABLE, BLK_DIRECT, BLK_UNMAP; and how it is
 * to be opened again: writable exactly when the backend is not read-only. */
int blk_get_flags(const blk *blk);
int blk_get_open_flags_from_root_state(const blk *blk);

/* Whether the backend makes writes of nothing but zeroes to writes of zeroes, which may unmap. It
 * stays when the medium changes. */
enum blk_detect_zeroes { BLK_DETECT_ZEROES_OFF, BLK_DETECT_ZEROES_ON, BLK_DETECT_ZEROES_UNMAP };
int blk_set_detect_zeroes(blk *blk, enum blk_detect_zeroes detect);

/* Hands the medium over to another process, or takes it over. An inactive backend has no permission
 * and shares all, but remembers what its users want; what they read or change ends with -EPERM.
 *
 * To inactivate waits for what is in flight, and makes it durable. It is refused with -EPERM where
 * users write and the backend has neither a name nor a device, unless that was allowed; and while
 * an export of it has clients, unless that was added with allow-inactive. To activate can be
 * refused by whatever else holds the medium; all stays then. While the engine is incoming, what
 * users don't share is had only when that ends. Both do nothing where that is so already. Not from
 * a callback. */
int blk_inactivate(blk *blk, char **error);
int blk_activate(blk *blk, char **error);
void blk_set_allow_inactivate(blk *blk, bool allow);
/* All backends, or none. */
int blk_inactivate_all(blk_context *context, char **error);
int blk_activate_all(blk_context *context, char **error);

/* Kinds of operations that can be blocked on a medium: whoever asks for one is refused with the
 * reason, -EBUSY, until it is unblocked. */
enum blk_op {
    BLK_OP_RESIZE,
    BLK_OP_EJECT,
    BLK_OP_CHANGE,
    BLK_OP_COMMIT_SOURCE,
    BLK_OP_COMMIT_TARGET,
    BLK_OP_MOVE,
    BLK_OP_EXTERNAL_SNAPSHOT,
    BLK_OP_INTERNAL_SNAPSHOT,
    BLK_OP_INTERNAL_SNAPSHOT_DELETE,
    BLK_OP_MIRROR_SOURCE,
    BLK_OP_MIRROR_TARGET,
    BLK_OP_REPLACE,
    BLK_OP_STREAM,
    BLK_OP_BACKUP_SOURCE,
    BLK_OP_BACKUP_TARGET,
    BLK_OP_EXTERNAL_DATA_PLANE,
    BLK_OP_DRIVE_DEL /* removing the node, or a backend that has it */
};
/* True when it is blocked on the medium, or below filters there, and then `error` has the reason in
 * it; without a medium nothing is. A blk that is about to do such a thing itself asks first. */
bool blk_op_is_blocked(blk *blk, enum blk_op op, char **error);
/* Blocks it, or takes that back, for the same reason. What is blocked stays blocked on that medium
 * when the blk is closed. Blocking a resize waits until none is under way. -ENOMEDIUM without a
 * medium; unblocking what is not blocked for this reason is -ENOENT. All: what is left out is
 * `except`, or -1 for nothing. */
int blk_op_block(blk *blk, enum blk_op op, const char *reason);
int blk_op_unblock(blk *blk, enum blk_op op, const char *reason);
int blk_op_block_all(blk *blk, int except, const char *reason);
int blk_op_unblock_all(blk *blk, int except, const char *reason);

/* Requests from acceptance until their callback has returned. */
unsigned blk_in_flight(const blk *blk);

/* --- Accounting
 * ----------------------------------------------------------------------------------------- */

/* The backend counts what is submitted, by kind: see BackendInfo in proto/control.proto, and
 * `sluice backend show`. What a program does with its device's requests instead of submitting them
 * it tells itself. That sends nothing and costs a few stores; who asks the backend after the call
 * has returned is told all. It counts in no latency; while accounting is off it does not count at
 * all.
 */
enum blk_acct {
    BLK_ACCT_READ,
    BLK_ACCT_WRITE,
    BLK_ACCT_ZEROES,
    BLK_ACCT_DISCARD,
    BLK_ACCT_FLUSH,
    BLK_ACCT_IOCTL
};
/* `n` requests have gone along in others: of four that are submitted as one, 3. Returns 0, or
 * -EINVAL for what is no kind. */
int blk_account_merged(blk *blk, enum blk_acct kind, unsigned n);
/* `n` requests were refused as they came, which is now: a backend that is asked nonsense is not
 * idle. Those that these calls refuse are counted already. */
int blk_account_invalid(blk *blk, enum blk_acct kind, unsigned n);

/* --- Facts about the device
 * ----------------------------------------------------------------------------------------- */

/* Changes are taken in when the context polls or waits. */

/* There is a medium, and its driver says so; and requests can reach it. */
bool blk_is_inserted(const blk *blk);
bool blk_is_available(const blk *blk);
bool blk_is_read_only(const blk *blk); /* or opened for reading only */
bool blk_is_sg(const blk *blk);        /* a SCSI-generic device */

/* Bytes, and sectors of 512 bytes, not counting a part of one at the end. -ENOMEDIUM when it is not
 * available, or the errno with which the length can't be told; the last gives 0 sectors then. */
int64_t blk_getlength(const blk *blk);
int64_t blk_nb_sectors(const blk *blk);
void blk_get_geometry(const blk *blk, uint64_t *nb_sectors);

/* As the driver finds them on a device: 0, -ENOMEDIUM when it is not available, or -ENOTSUP where
 * it knows none; then `out` is left as it is. Block sizes in bytes; sectors are those of a track.
 */
struct blk_blocksizes {
    uint32_t logical, physical;
};
struct blk_geometry {
    uint32_t cylinders, heads, sectors;
};
int blk_probe_blocksizes(const blk *blk, struct blk_blocksizes *out);
int blk_probe_geometry(const blk *blk, struct blk_geometry *out);

/* What suits the medium; requests of any shape are taken, and changed on the way. Without a medium
 * there are answers too: 512, 2^31-512, 0, 1024. */
uint32_t blk_get_request_alignment(const blk *blk); /* bytes; a power of two */
uint32_t blk_get_max_transfer(const blk *blk); /* bytes of a read or write; above 0, 2^31-1 at most,
                                                  a multiple of the alignment */
uint64_t blk_get_optimal_transfer(const blk *blk); /* bytes; 0: none known */
int blk_get_max_iov(const blk *blk);               /* entries of a vector */

/* Memory that the medium takes as it is: aligned to at least 4096 bytes. free() it. Without memory
 * the first returns null, the second ends the program. */
void *blk_try_blockalign(const blk *blk, size_t size);
void *blk_blockalign(const blk *blk, size_t size);

/* Tells the medium that requests will use this memory again and again, so that a driver may prepare
 * it: a file locks it in memory, and requests of one entry that lie in it cost the kernel less.
 * Without a medium it is kept for the next one. A negative errno tells that the medium can't;
 * requests may use it all the same. Unregister it before it is freed, when nothing uses it any
 * more; blk_close() does. What is registered twice is unregistered twice. */
int blk_register_buf(blk *blk, void *host, size_t size);
void blk_unregister_buf(blk *blk, void *host, size_t size);

/* The block size that the device shows to a guest, bytes: 512 unless set. A power of two from 512
 * to 2 MiB (-EINVAL). */
int blk_set_guest_block_size(blk *blk, uint32_t bytes);
int blk_get_guest_block_size(blk *blk); /* or a negative errno */

/* --- Devices
 * ---------------------------------------------------------------------------------------
 *
 * A program that puts a drive in front of a guest attaches it to the drive's backend, which has one
 * device at most. It has permissions as a guest's drive: to read what is consistent, and to write
 * when it is BLK_WRITABLE; others may have the same, but write only with BLK_SHARE_RW. They take
 * the place of those that the blk was opened with. */

/* `id` is unique among devices and exports; it may be null, and then messages call it by `path`, at
 * most 127 bytes of UTF-8, which may be null else. -EBUSY when there is a device already; it may be
 * an export. The device holds the backend. Errors so far are forgotten (blk_iostatus). Flags:
 * BLK_WRITABLE, BLK_RESIZE, BLK_SHARE_RW. */
int blk_attach_dev(blk *blk, const char *id, const char *path, int flags, char **error);
/* Clears the device's operations, sets its block size back to 512, and leaves the blk without
 * permissions, sharing all. blk_close() does it, too. -EINVAL when this blk has attached none. */
int blk_detach_dev(blk *blk);
/* The id of the backend's device, or its path when it has none, or "" without a device; to be freed
 * with free(). Null when the backend can't tell. */
char *blk_get_attached_dev_id(blk *blk);

/* What a device understands; each may be null. They are called as callbacks are (see above), never
 * on another thread. After each, and in the calls below, is_tray_open and is_medium_locked are
 * looked at, so that the engine knows: whoever changes what they say at another time calls
 * blk_dev_state_changed(). Without is_tray_open there is no tray, without is_medium_locked it is
 * never locked in.
 *
 * Amid a change of the medium all requests wait: so change_media must not wait for one. */
struct blk_dev_ops {
    /* A medium is there to be loaded, or to be ejected. 0, or a negative errno: then it is not
     * loaded; ejecting can't fail. */
    int (*change_media)(void *opaque, bool load);
    /* Somebody wants the medium, which is locked in; by force, and then it will go. */
    void (*eject_request)(void *opaque, bool force);
    bool (*is_tray_open)(void *opaque);
    bool (*is_medium_locked)(void *opaque);
    void (*resized)(void *opaque); /* the medium has another length */
    /* Requests are to stop coming, as they would wait, and may come again. When this is set while
     * the backend is drained, drained_begin is called at once. */
    void (*drained_begin)(void *opaque);
    void (*drained_end)(void *opaque);
};

/* This blk plays the device from now on, whether one is attached or not; the struct is copied. Null
 * ends it. */
int blk_set_dev_ops(blk *blk, const struct blk_dev_ops *ops, void *opaque);
int blk_dev_state_changed(blk *blk);

/* The guest opens the tray, or closes it: goes down to the driver, when there is a medium, and is
 * told by an event, always. It locks the medium in, or no longer. */
int blk_eject(blk *blk, bool eject);
int blk_lock_medium(blk *blk, bool lock);

/* Of the backend's device, whoever plays it: 1, 0, or a negative errno. A medium can be changed
 * when there is no device, or one that understands it. */
int blk_dev_has_removable_media(blk *blk);
int blk_dev_has_tray(blk *blk);
int blk_dev_is_tray_open(blk *blk);
int blk_dev_is_medium_locked(blk *blk);

/* Lets the device load the medium, or eject it. One that does not understand that has done it. */
int blk_dev_change_media(blk *blk, bool load, char **error);
int blk_dev_eject_request(blk *blk, bool force);

/* --- Requests
 * ----------------------------------------------------------------------------------------- */

/* Flags: a write takes BLK_FUA and BLK_COMPRESSED, zeroes take the first three, a read takes
 * BLK_UNTHROTTLED; others are -EINVAL. A vector has IOV_MAX entries at most (-EINVAL), a request
 * 2^31-1 bytes (-EIO). */

/* Synchronous: reads and writes return the byte count, the others 0, or a negative errno. */
int64_t blk_pread(blk *blk, int64_t offset, int64_t bytes, void *buffer, int flags);
int64_t blk_pwrite(blk *blk, int64_t offset, int64_t bytes, const void *buffer, int flags);
int64_t blk_preadv(blk *blk, int64_t offset, const struct iovec *iov, int niov, int flags);
int64_t blk_pwritev(blk *blk, int64_t offset, const struct iovec *iov, int niov, int flags);
int blk_pwrite_zeroes(blk *blk, int64_t offset, int64_t bytes, int flags);
int blk_pdiscard(blk *blk, int64_t offset, int64_t bytes);
int blk_flush(blk *blk);
int blk_truncate(blk *blk, int64_t size, enum blk_prealloc prealloc);
/* `argument` has `size` bytes and is read and written. Returns what the device returns. It may
 * change the medium, so the blk must be BLK_WRITABLE. -ENOTSUP: the driver takes none; -ENOTTY:
 * not this one; -EINVAL, -EPERM: not so, or not from this process. These come back whatever
 * blk_set_on_error() says: only other errors are failures of the medium. */
int blk_ioctl(blk *blk, unsigned code, void *argument, size_t size);
/* The state of a virtual machine, kept beside the content where the driver can (else -ENOTSUP).
 * Return the byte count. With the write cache off, what is saved is durable. */
int64_t blk_save_vmstate(blk *blk, int64_t offset, int64_t bytes, const void *buffer);
int64_t blk_load_vmstate(blk *blk, int64_t offset, int64_t bytes, void *buffer);
/* What the beginning of a range is: bits of enum blk_status, which hold for `*run` bytes, 1 at
 * least and the range at most. A driver that can't tell says that all is data. An empty range has
 * no bits, and no run. */
enum blk_status {
    BLK_STATUS_DATA = 1,     /* holds data to be read */
    BLK_STATUS_ZERO = 2,     /* reads as zeroes */
    BLK_STATUS_ALLOCATED = 4 /* the medium's top layer provides it, not the backing of that */
};
int blk_block_status(blk *blk, int64_t offset, int64_t bytes, int64_t *run);
/* Makes all of the medium read as zeroes, but leaves alone what does already. Flags as zeroes have.
 */
int blk_make_zero(blk *blk, int flags);

/* Asynchronous: `done` runs later (see above), never inside these calls, with 0 or a negative
 * errno; also what is wrong with a request is told there. Buffers and vectors stay the caller's and
 * must remain until then. They return 0, or -EAGAIN when `depth` requests are outstanding (or
 * as many as the backend had left of the 65,536 for all its clients): reap, then submit again. A
 * request is outstanding until its callback begins, so a callback can always submit one in its
 * place. */
typedef void blk_done_fn(void *opaque, int ret);
int blk_aio_pread(blk *blk, int64_t offset, int64_t bytes, void *buffer, int flags,
                  blk_done_fn *done, void *opaque);
int blk_aio_pwrite(blk *blk, int64_t offset, int64_t bytes, const void *buffer, int flags,
                   blk_done_fn *done, void *opaque);
int blk_aio_preadv(blk *blk, int64_t offset, const struct iovec *iov, int niov, int flags,
                   blk_done_fn *done, void *opaque);
int blk_aio_pwritev(blk *blk, int64_t offset, const struct iovec *iov, int niov, int flags,
                    blk_done_fn *done, void *opaque);
int blk_aio_pwrite_zeroes(blk *blk, int64_t offset, int64_t bytes, int flags, blk_done_fn *done,
                          void *opaque);
int blk_aio_pdiscard(blk *blk, int64_t offset, int64_t bytes, blk_done_fn *done, void *opaque);
int blk_aio_flush(blk *blk, blk_done_fn *done, void *opaque);
int blk_aio_truncate(blk *blk, int64_t size, enum blk_prealloc prealloc, blk_done_fn *done,
                     void *opaque);
int blk_aio_ioctl(blk *blk, unsigned code, void *argument, size_t size, blk_done_fn *done,
                  void *opaque);

int blk_aio_save_vmstate(blk *blk, int64_t offset, int64_t bytes, const void *buffer,
                         blk_done_fn *done, void *opaque);
int blk_aio_load_vmstate(blk *blk, int64_t offset, int64_t bytes, void *buffer, blk_done_fn *done,
                         void *opaque);

/* Cancelling. A request is named by its `opaque`; several that have the same are meant all. It
 * still completes exactly once: with -ECANCELED, or with its result, when it was faster, is under
 * way at a medium that can't be stopped, or was held (then with its error). What a cancelled write
 * has written by then is not told. The first returns at once, and how many were outstanding; the
 * second when their callbacks have returned, but for those that it is called from. */
int blk_aio_cancel_async(blk *blk, const void *opaque);
void blk_aio_cancel(blk *blk, const void *opaque);

/* A request that only ends: `done` runs later, with `ret` (0 or a negative errno). For callers that
 * find out that they need not ask. Returns as the calls above. */
int blk_abort_aio_request(blk *blk, int ret, blk_done_fn *done, void *opaque);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
