/* job.h — a job: long work on nodes, with progress, a speed limit, pauses and an end.
 *
 * The actor is the frame of all jobs (job.c); what a job does is its type's (job_commit.c), which
 * is asked for one slice after the other. Between two slices nothing of the job is in flight: that
 * is where it is paused and drained, and where it waits for its speed's sake. So a slice is
 * bounded, and one that has failed can be done again. One that is cancelled is left where it is.
 *
 * Mail:
 *
 *     JOB_OPEN     begins; answered without a body, or with a Fault, and then the actor knows CLOSE
 *                  only.
 *     DRAIN_BEGIN  pauses it; answered when nothing is in flight. Nests, and with JOB_PAUSE.
 *     JOB_PAUSE    pauses it for somebody, or goes on, after an error too; JOB_CANCEL, JOB_SET,
 *                  IO_STATUS_RESET, DESCRIBE
 *     CLOSE        cancels it when it is not through; answered when it is, and the actor ends.
 *
 * When it is through it tells the graph, JOB_ENDED, and waits to be closed. */
#ifndef SLUICE_JOB_H
#define SLUICE_JOB_H

#include "actors/kinds.h"
#include "engine/err.h"
#include "engine/timer.h"

extern const struct actor_type job_type;

struct job {
    struct actor *self;
    const struct job_kind *kind;
    void *state; /* the kind's, zeroed before it begins */
    actor_addr source, target;
    uint64_t done, total; /* bytes; the kind keeps them */

    Sluice__JobEvent__Status status;
    bool opened;
    bool busy;        /* a slice is under way */
    bool in_step;     /* see job.c */
    bool through;     /* the kind has nothing more to do */
    bool concluded;   /* the graph was told */
    unsigned drained; /* regions */
    bool paused;      /* by somebody */
    bool stopped;     /* by an error */
    bool cancelled;
    struct err err;      /* why it failed */
    struct err left_out; /* the first error that was ignored */
    Sluice__OnError__Policy on_error;
    Sluice__IoStatus io_status;

    uint64_t speed; /* bytes/s; 0: any */
    uint64_t next;  /* not before this time, ns: what was moved is to take its time */
    struct timer timer;
    uint64_t tell_next; /* no news of progress before this time, ns */
    struct job_errors {
        uint64_t until;               /* what comes before this time, ns, is gathered */
        Sluice__JobErrorEvent *event; /* not told yet, or null */
    } errors[2];                      /* of reading, and of writing */
    struct timer error_timer;

    struct job_waiter *waiters; /* for nothing to be in flight */
    struct ticket opening, closer;
    bool closing;
};

/* What a kind of job does. Each function ends in one of those below, now or later. */
struct job_kind {
    const char *name;
    size_t size;
    void (*begin)(struct job *job); /* once; ends in job_begun() */
    void (*slice)(struct job *job); /* some more; ends in job_sliced(), job_through() or
                                       job_failed() */
    /* What the slice that has failed was about is left out for good, so it does not come again.
     * Returns what of it counts for the speed, bytes. */
    uint64_t (*leave_out)(struct job *job);
    /* Ends the slice under way early, in job_failed() with -ECANCELED; it may be asked again. */
    void (*cancel)(struct job *job);
    void (*end)(struct job *job); /* frees what it has; optional */
};

/* `err` is null when it can begin. */
void job_begun(struct job *job, const struct err *err);
/* `moved` bytes count for the speed. */
void job_sliced(struct job *job, uint64_t moved);
void job_through(struct job *job);
/* A medium has failed, or the slice was cancelled. */
void job_failed(struct job *job, bool reading, int code);

/* How much one slice should move at most, of `most`: so much that a slice takes its time. */
uint64_t job_slice_bytes(const struct job *job, uint64_t most);

extern const struct job_kind job_commit;

#endif
