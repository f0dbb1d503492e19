/* backend_impl.h — what the backend's sources share: backend.c (life, sessions, medium),
 * backend_io.c (requests), backend_error.c (errors and pauses), backend_device.c, backend_tray.c
 * (what consoles do to media), backend_change.c and backend_info.c (description, settings); not for
 * others. */
#ifndef SLUICE_BACKEND_IMPL_H
#define SLUICE_BACKEND_IMPL_H

#include "actors/account.h"
#include "actors/backend.h"
#include "actors/kinds.h"
#include "drivers/driver.h"
#include "drivers/throttle_member.h"

/* Block size that a guest is shown, bytes. */
#define GUEST_BLOCK     512U
#define GUEST_BLOCK_MAX (2U << 20)

/* Why requests wait, beside drains. */
enum pause {
    PAUSE_REQUEST = 1, /* somebody asked */
    PAUSE_ERROR = 2,   /* an error stopped it */
    PAUSE_ENGINE = 4,  /* the whole engine is paused */
};

struct session {
    struct session *next;
    uint64_t id, bytes;
    uint32_t requests;
    actor_addr watcher;
    bool notify;                       /* it wants to know when media come, and before they go */
    bool noting;                       /* it has been told, and has not answered */
    bool told_removal;                 /* the last that it has heard is that one was to go */
    const _Atomic uint32_t *callbacks; /* the watcher's, not returned yet; null when it has none */
    bool asked;                        /* whether they have */
    const struct account_told *told;   /* what it counts by itself; null for nothing */
    struct account_heard heard;        /* of that */
    char *name;
};

struct waiter {
    struct waiter *next;
    struct ticket ticket;
    unsigned pause; /* the enum pause for whose sake it waits; 0: for a region's */
};

/* A drained region, and whose operations it lets through; see DrainWhose. */
struct drain {
    struct drain *next;
    unsigned peer, number;
};

/* In the frame of an operation that is held. */
struct held {
    uint64_t arrival;
    int error;
};

struct backend;

/* The device was asked, and has done it (`err` is null), or refused to load. */
typedef void device_fn(struct backend *backend, const struct err *err);

/* Who uses the backend as a drive, and who is told; see backend_device.c. */
struct backend_device {
    bool attached;
    char *id, *path;    /* "" without; null without */
    bool any_media;     /* takes other media without being told */
    actor_addr address; /* whom to tell; 0: nobody */
    uint64_t tag;       /* and as whom */
    unsigned offers;    /* enum device_offers; of what it is not told, nothing is known */
    bool tray_open, locked;
    uint64_t eject_requests;           /* while it is attached */
    struct device_question *questions; /* that it has not answered */
    struct ticket asker;               /* who waits for what a console or its owner has asked */
};

/* A change of the medium that is under way; see backend_change.c. */
struct backend_change {
    bool prepared, quiet; /* moves of the tray are told at the end */
    bool done;            /* the new one is in, for good */
    struct ticket ticket; /* who waits for it to rest, or for the end */
    bool was_open, opened, closed;
    bool read_only, asked_read_only; /* as they were */
    bool had;                        /* a medium */
    actor_addr old;
    char *old_name;
    struct driver_facts old_facts;
    Sluice__MediumChange__Mode mode;
    struct err err; /* why it failed */
};

struct backend {
    /* What every operation looks at. */
    bool waits;     /* operations wait: drained, paused, or those that waited are not all through */
    bool inserted;  /* there is a medium, and its driver says so */
    bool available; /* inserted, and no tray is open */
    bool read_only;
    unsigned allowed;   /* kinds of operations that permissions let through, by bit */
    bool write_through; /* each write is durable before it is done */
    uint16_t user;      /* of what is begun: itself */
    Sluice__DetectZeroes__Mode detect_zeroes;
    struct throttle_member *throttle; /* null: it is a member of no throttle group */
    actor_addr node;
    uint64_t in_flight;
    uint64_t arrivals; /* operations that were begun; orders those that are held */
    struct driver_facts facts;
    struct account account;
    unsigned counted; /* kinds of operations there, by bit */

    struct actor *self;
    char *node_name;
    unsigned perm; /* enum driver_perm; what the graph has got for its users */
    bool asked_read_only;
    uint32_t guest_block_size; /* bytes */
    bool resize_blocked;       /* see graph_block.c */
    bool closing, aborted;

    /* Errors. */
    Sluice__OnError__Policy on_read_error, on_error;
    Sluice__OnError__Scope stop_scope;
    bool stop_told; /* that an error stopped it, by its own event and not the engine's */
    bool keeps_io_status;
    Sluice__IoStatus io_status;
    struct quiet_error { /* errors that were not told one by one, of reads and of all else */
        Sluice__IoErrorEvent *event; /* the last one, with their count; null when there is none */
        uint64_t until;              /* no event of its own before this time */
    } errors[2];
    struct timer error_timer;

    /* What waits. */
    unsigned quiesced;       /* why it is quiet, beside pauses: regions, and changes of media */
    struct drain *regions;   /* those of them that the graph has told of */
    unsigned pauses;         /* enum pause */
    bool lets_through;       /* what waits for limits goes at once */
    struct op_queue held;    /* failed, to be tried again; in the order in which they were begun */
    struct op_queue queue;   /* not begun yet */
    struct carried *carried; /* those that were held before a move, and are still to come */
    struct ticket mover;     /* who waits for the arrival at another reactor */
    uint64_t queued_bytes;
    uint64_t resizes;              /* in flight: those that may make the medium longer or shorter */
    struct waiter *waiters;        /* for the end of what is in flight */
    struct waiter *calm_waiters;   /* of them, for the sessions that are asked */
    struct waiter *resize_waiters; /* for the end of resizes */
    unsigned asked;                /* sessions whose answer is to come */
    bool asks_again;               /* it got quiet once more while they were asked */

    struct session *sessions;
    struct buffer *buffers; /* memory that is registered; see backend_buffer.c */
    uint64_t last_session;
    uint64_t granted, limit, granted_bytes, limit_bytes;
    struct ticket opening, closer;
    bool has_medium;       /* the node is watched: what it tells holds */
    struct ticket remover; /* who waits for the medium to be out */
    bool removing;
    bool by_console;          /* so goes or comes the medium: the device is told */
    struct err removal_cause; /* why it goes, if it was refused */
    struct backend_device device;
    struct backend_change change;

    /* The root state: what the empty backend answers, and the next medium is opened with. Without a
     * medium its facts stay: read_only and this. */
    unsigned open_flags; /* enum open_flag, of the medium there is or was */

    unsigned notified; /* sessions that have not said yet that they know of the medium's change */
    void (*then)(struct backend *backend); /* when all have */
};

/* By the bits of enum open_flag. */
extern const char *const backend_flag_names[];
/* Those for opening it again. */
unsigned backend_reopen_flags(const struct backend *backend);

/* backend_root.c */

/* The flags of a medium with these facts. */
unsigned backend_flags_of(const struct driver_facts *facts);
enum news {
    NEWS_INSERTED,
    NEWS_REMOVED, /* is to go; once, until another has come, or the same again */
    NEWS_KEPT     /* those who heard that hear that it is there, as if it had been inserted */
};
/* Sessions that want to know are told of the medium; when all have heard, `then` runs, maybe at
 * once. */
void backend_notify(struct backend *backend, enum news news, void (*then)(struct backend *backend));
void backend_on_session_notify(struct actor *self, struct mail *mail);
void backend_on_medium_noted(struct actor *self, struct mail *mail);
/* The session ends, or all that wait are to go on. */
void backend_stop_notifying(struct backend *backend, struct session *session);

/* backend_io.c */

void backend_submit(struct actor *self, struct op *op);
/* Whether requests are counted, and their latencies taken. */
void backend_set_accounting(struct backend *backend, bool on);
/* Begins what waited, in order, if nothing stands against it. */
void backend_go(struct backend *backend);
/* Ends what waits, each held one with its error, others with -ESHUTDOWN. Nothing is begun any more.
 */
void backend_end_waiting(struct backend *backend);
/* Ends those of the operations that wait which a peer knows by these tags: held ones with their
 * error, those that wait for the end of a pause, or of that peer's own regions, with -ECANCELED.
 * For one who leaves, and has asked for all of them: unlike an OP_CANCEL this lets go on what
 * somebody else will end, that which is with the medium or waits for the end of another's region.
 */
void backend_cancel(struct backend *backend, unsigned peer, const uint64_t *tags, size_t n);

/* backend_drain.c */

void backend_on_drain_begin(struct actor *self, struct mail *mail);
void backend_on_drain_end(struct actor *self, struct mail *mail);
void backend_on_session_calm(struct actor *self, struct mail *mail);
/* Answers `ticket` when nothing is in flight; new operations are to wait by then, for the sake of
 * this pause, or, when it is 0, of regions. Where that is over first nobody knows when it would be
 * quiet: backend_await_over() answers. */
void backend_await_quiet(struct backend *backend, unsigned pause, struct ticket ticket);
/* Answers when no resize is under way; and one has ended. */
void backend_await_resizes(struct backend *backend, struct ticket ticket);
void backend_resize_over(struct backend *backend);
void backend_await_over(struct backend *backend);
/* Nothing is in flight any more, and operations wait: goes on with whatever waited for that. */
void backend_settle(struct backend *backend);
/* Whether it is quiet for the sake of this thread's regions, and for nothing else. */
bool backend_drained_by(const struct backend *backend, unsigned peer);
/* Whether that is so, and they let this operation through. */
bool backend_drain_passes(const struct backend *backend, const struct op *op);
/* The session ends. */
void backend_forget_session(struct backend *backend, struct session *session);
/* Sessions whose callbacks are due are waited for no longer. */
void backend_drain_abort(struct backend *backend);
void backend_drain_fini(struct backend *backend);

/* Holds an operation that has failed, or had before a move. */
void backend_hold(struct backend *backend, struct op *op, uint64_t arrival, int error);

/* backend_move.c */

void backend_on_move(struct actor *self, struct mail *mail);
void backend_leave(struct actor *self);
void backend_arrive(struct actor *self);
/* Whether the operation was held when the backend left; then it is held again, or ends with its
 * error in a backend that ends. */
bool backend_was_held(struct backend *backend, struct op *op);
void backend_move_fini(struct backend *backend);

/* backend_error.c */

/* Around a move. */
void backend_error_leave(struct backend *backend);
void backend_error_arrive(struct backend *backend);

/* What is to be done about this error of a medium, which is told. */
Sluice__IoErrorEvent__Action backend_error(struct backend *backend, const struct op *op);
void backend_reset_io_status(struct backend *backend);
void backend_error_init(struct backend *backend);
void backend_error_fini(struct backend *backend);
/* An error has stopped it: pauses, and tells. */
void backend_stop(struct backend *backend, const char *reason);
/* Begins or ends pauses, and tells. */
void backend_pause(struct backend *backend, unsigned pauses, const char *reason);
void backend_resume(struct backend *backend, unsigned pauses);

/* Tells what was only counted so far. */
void backend_error_tell(struct backend *backend);

/* backend_buffer.c */

void backend_on_buffer(struct actor *self, struct mail *mail);
/* Registers all with the medium that has come, or unregisters them from the one that goes. */
void backend_buffers_tell(struct backend *backend, bool on);
/* The backend closes: unregisters all, and answers who waits. */
void backend_buffers_end(struct backend *backend);
void backend_buffers_fini(struct backend *backend);

/* backend_info.c */

/* Takes in what the session has counted by itself. */
void backend_hear(struct backend *backend, struct session *session);
void backend_on_describe(struct actor *self, struct mail *mail);
void backend_on_set(struct actor *self, struct mail *mail);

/* backend_drain.c: it is quiet for one reason more, or less. */
void backend_quiesce(struct backend *backend);
void backend_unquiesce(struct backend *backend);

/* backend_throttle.c */

/* While it is opened, which goes on with backend_opened(). */
void backend_throttle_open(struct backend *backend, const Sluice__ThrottleJoin *join);
void backend_on_throttle_join(struct actor *self, struct mail *mail);
void backend_on_throttle_grant(struct actor *self, struct mail *mail);
/* Whether limits hold has changed, maybe: they don't while it is drained, paused or closing, or the
 * graph says so. */
void backend_throttle_look(struct backend *backend);
void backend_on_let_through(struct actor *self, struct mail *mail);
/* Whether it is in no group; else it leaves, and backend_closed() is called then. */
bool backend_throttle_close(struct backend *backend);
void backend_throttle_fini(struct backend *backend);

/* backend_device.c */

bool backend_is_removable(const struct backend *backend);
bool backend_has_tray(const struct backend *backend);
/* What a sentence calls the device. */
const char *backend_device_name(const struct backend *backend);
/* Refuses what can't be asked of a device that is busy. */
int backend_device_idle(const struct backend *backend, struct err *err);
/* Asks it; at once done when it would not understand. */
void backend_device_ask(struct backend *backend, Sluice__DeviceCall__Call call, device_fn *then);
/* A drained region begins or ends: the first, the last. */
void backend_device_drained(struct backend *backend, bool begin);
void backend_device_resized(struct backend *backend);
/* No answer is waited for any more: the backend or the engine ends. */
void backend_device_abort(struct backend *backend);
/* The session with this number has ended. */
void backend_device_session_ended(struct backend *backend, uint64_t session);
void backend_device_describe(const struct backend *backend, Sluice__BackendInfo *info);
void backend_tray_moved(struct backend *backend, bool open);
void backend_device_fini(struct backend *backend);
void backend_on_device_attach(struct actor *self, struct mail *mail);
void backend_on_device_detach(struct actor *self, struct mail *mail);
void backend_on_device_ops(struct actor *self, struct mail *mail);
void backend_on_device_state(struct actor *self, struct mail *mail);
void backend_on_device_ask(struct actor *self, struct mail *mail);
void backend_on_device_describe(struct actor *self, struct mail *mail);

/* backend_tray.c */

/* Refuses what a console can't do to the medium: the device is not removable, its tray is closed.
 */
int backend_check_console(const struct backend *backend, struct err *err);
int backend_check_removable(const struct backend *backend, struct err *err);
/* One that has its medium locked in has been asked for it. */
void backend_refuse_locked(struct backend *backend);
void backend_on_tray(struct actor *self, struct mail *mail);

/* backend_change.c */

void backend_on_change(struct actor *self, struct mail *mail);
void backend_change_fini(struct backend *backend);

/* backend.c */

/* It is in the throttle group that it was opened for, or can't be. */
void backend_opened(struct backend *backend, const struct err *err);
/* Whether it is available has changed, maybe. */
void backend_look(struct backend *backend);
void backend_tell_watchers(const struct backend *backend);
void backend_unwatch(const struct backend *backend);

/* Nothing is in flight any more in a backend that is closing. */
void backend_closed(struct backend *backend);
/* Nothing is in flight any more in one whose medium is to go. */
void backend_removed(struct backend *backend);
void backend_take_facts(struct backend *backend, const Sluice__NodeFacts *facts);
void backend_watch(struct backend *backend, bool on, actor_reply_fn *then, void *arg);

#endif
