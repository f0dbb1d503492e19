/* job.c — the frame of all jobs. */
#include "actors/job.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/emit.h"
#include "engine/clock.h"
#include "engine/mem.h"
#include "engine/reactor.h"

#define TELL_PERIOD  NS_PER_S /* between news of progress */
#define ERROR_PERIOD NS_PER_S /* and of errors that were ignored */
#define SLICES_PER_S 20       /* of a job with a speed: how smooth it is */
#define SLICE_LEAST  65536    /* bytes */

struct job_waiter {
    struct job_waiter *next;
    struct ticket ticket;
};

static void step(struct job *job);

static uint64_t now(const struct job *job)
{
    return reactor_now(actor_reactor(job->self));
}

/* --- Telling */

static void tell(struct job *job, Sluice__Event__BodyCase what)
{
    Sluice__JobEvent *event = MAIL_NEW(sluice__job_event);
    mail_set(&event->id, actor_name(job->self));
    mail_set(&event->type, job->kind->name);
    event->has_status = event->has_done_bytes = event->has_total_bytes = event->has_speed = true;
    event->status = job->status;
    event->done_bytes = job->done;
    event->total_bytes = job->total;
    event->speed = job->speed;
    emit_event(job->self, "job", actor_name(job->self), SLUICE__EVENT__SEVERITY__INFO, what, event);
}

static void set_status(struct job *job, Sluice__JobEvent__Status status)
{
    if (job->status == status)
        return;
    job->status = status;
    tell(job, SLUICE__EVENT__BODY_JOB_STATUS_CHANGE);
}

static void tell_progress(struct job *job)
{
    if (now(job) < job->tell_next)
        return;
    job->tell_next = now(job) + TELL_PERIOD;
    tell(job, SLUICE__EVENT__BODY_JOB_PROGRESS);
}

/* --- Telling errors: as backends do, the first at once, and what follows within a second as one */

static void tell_error(struct job *job, Sluice__JobErrorEvent *event)
{
    emit_event(job->self, "job", actor_name(job->self), SLUICE__EVENT__SEVERITY__ERROR,
               SLUICE__EVENT__BODY_BLOCK_JOB_ERROR, event);
}

static void tell_gathered(struct job *job, struct job_errors *errors)
{
    if (!errors->event)
        return;
    tell_error(job, errors->event);
    errors->event = NULL;
    errors->until = now(job) + ERROR_PERIOD;
}

static void tell_all_gathered(struct job *job)
{
    for (int i = 0; i < 2; i++)
        tell_gathered(job, &job->errors[i]);
}

static void arm_errors(struct job *job)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < 2; i++)
        if (job->errors[i].event && job->errors[i].until < next)
            next = job->errors[i].until;
    if (next != UINT64_MAX)
        timer_arm(reactor_timers(actor_reactor(job->self)), &job->error_timer, next);
}

static void second_over(struct timer *timer)
{
    struct job *job = (struct job *)((char *)timer - offsetof(struct job, error_timer));
    for (int i = 0; i < 2; i++)
        if (now(job) >= job->errors[i].until)
            tell_gathered(job, &job->errors[i]);
    arm_errors(job);
}

/* What was gathered is told before what happens because of an error. */
static void note_error(struct job *job, bool reading, int code, Sluice__IoErrorEvent__Action action)
{
    struct job_errors *errors = &job->errors[!reading];
    Sluice__JobErrorEvent *event = MAIL_NEW(sluice__job_error_event);
    mail_set(&event->id, actor_name(job->self));
    mail_set(&event->operation, reading ? "read" : "write");
    event->action = action;
    mail_set(&event->reason, strerror(-code));
    mail_set(&event->type, job->kind->name);
    event->has_done_bytes = event->has_total_bytes = event->has_speed = true;
    event->done_bytes = job->done;
    event->total_bytes = job->total;
    event->speed = job->speed;
    event->has_count = true;
    if (action != SLUICE__IO_ERROR_EVENT__ACTION__IGNORE) {
        tell_all_gathered(job);
        tell_error(job, event);
    } else if (now(job) >= errors->until) {
        tell_error(job, event);
        errors->until = now(job) + ERROR_PERIOD;
    } else {
        event->count += errors->event ? errors->event->count : 0;
        mail_free_body(errors->event);
        errors->event = event;
        arm_errors(job);
    }
}

/* --- The end */

static void close_now(struct job *job)
{
    actor_reply(job->self, job->closer, MAIL_NONE, NULL);
    actor_stop(job->self);
}

static void conclude(struct job *job)
{
    if (!job->concluded) {
        bool cancelled = job->cancelled && !job->through;
        job->concluded = true;
        if (cancelled)
            err_set(&job->err, -ECANCELED, "it was cancelled");
        else if (!job->err.code)
            job->err = job->left_out;
        tell_all_gathered(job);
        set_status(job, SLUICE__JOB_EVENT__STATUS__CONCLUDED);
        Sluice__JobEnded *ended = MAIL_NEW(sluice__job_ended);
        ended->cancelled = cancelled;
        ended->code = job->err.code;
        mail_set(&ended->reason, job->err.text);
        ended->done = job->done;
        ended->total = job->total;
        ended->speed = job->speed;
        actor_tell(job->self, world(job->self)->graph, MAIL_JOB_ENDED, ended);
    }
    if (job->closing)
        close_now(job);
}

/* --- Going on */

static void fire(struct timer *timer)
{
    step((struct job *)((char *)timer - offsetof(struct job, timer)));
}

static void answer_waiters(struct job *job)
{
    struct job_waiter *waiter;
    while ((waiter = job->waiters)) {
        job->waiters = waiter->next;
        actor_reply(job->self, waiter->ticket, MAIL_NONE, NULL);
        free(waiter);
    }
}

static bool is_paused(const struct job *job)
{
    return job->drained || job->paused || job->stopped;
}

/* What to do between two slices. Returns whether one is to be done. */
static bool decide(struct job *job)
{
    if (job->cancelled || job->err.code) {
        conclude(job);
        return false;
    }
    if (is_paused(job)) {
        set_status(job, SLUICE__JOB_EVENT__STATUS__PAUSED);
        return false;
    }
    set_status(job, SLUICE__JOB_EVENT__STATUS__RUNNING);
    if (now(job) < job->next) {
        timer_arm(reactor_timers(actor_reactor(job->self)), &job->timer, job->next);
        return false;
    }
    if (job->through)
        conclude(job);
    return !job->through;
}

/* To be called whenever something has changed. A slice may end before it returns: hence a loop. */
static void step(struct job *job)
{
    if (job->busy || job->in_step || !job->opened)
        return;
    job->in_step = true;
    while (!job->busy && !job->concluded) {
        answer_waiters(job);
        if (!decide(job))
            break;
        job->busy = true;
        job->kind->slice(job);
    }
    job->in_step = false;
    if (job->concluded)
        answer_waiters(job);
}

void job_sliced(struct job *job, uint64_t moved)
{
    job->busy = false;
    if (job->speed && moved) {
        uint64_t from = job->next > now(job) ? job->next : now(job);
        job->next = from + (uint64_t)((double)moved * NS_PER_S / (double)job->speed);
    }
    tell_progress(job);
    step(job);
}

void job_through(struct job *job)
{
    job->through = true;
    job_sliced(job, 0);
}

uint64_t job_slice_bytes(const struct job *job, uint64_t most)
{
    uint64_t bytes = job->speed / SLICES_PER_S;
    if (!job->speed || bytes > most)
        return most;
    return bytes < SLICE_LEAST ? SLICE_LEAST : bytes & ~(uint64_t)(SLICE_LEAST - 1);
}

/* --- Errors */

static Sluice__IoErrorEvent__Action action_for(const struct job *job, int code)
{
    if (job->cancelled || code == -ESHUTDOWN || code == -ENXIO)
        return SLUICE__IO_ERROR_EVENT__ACTION__REPORT;
    switch (job->on_error) {
    case SLUICE__ON_ERROR__POLICY__IGNORE:
        return SLUICE__IO_ERROR_EVENT__ACTION__IGNORE;
    case SLUICE__ON_ERROR__POLICY__STOP:
        return SLUICE__IO_ERROR_EVENT__ACTION__STOP;
    case SLUICE__ON_ERROR__POLICY__ENOSPC:
        return code == -ENOSPC ? SLUICE__IO_ERROR_EVENT__ACTION__STOP
                               : SLUICE__IO_ERROR_EVENT__ACTION__REPORT;
    default:
        return SLUICE__IO_ERROR_EVENT__ACTION__REPORT;
    }
}

void job_failed(struct job *job, bool reading, int code)
{
    Sluice__IoErrorEvent__Action action = action_for(job, code);
    struct err err = {0};
    uint64_t bytes = 0;
    if (job->cancelled && code == -ECANCELED) {
        job_sliced(job, 0);
        return;
    }
    err_set(&err, code, "%s failed: %s", reading ? "reading its source" : "writing its target",
            strerror(-code));
    if (action == SLUICE__IO_ERROR_EVENT__ACTION__STOP) {
        if (job->io_status == SLUICE__IO_STATUS__OK)
            job->io_status =
                code == -ENOSPC ? SLUICE__IO_STATUS__NOSPACE : SLUICE__IO_STATUS__FAILED;
        job->stopped = true;
    } else if (action == SLUICE__IO_ERROR_EVENT__ACTION__IGNORE) {
        if (!job->left_out.code)
            job->left_out = err;
        bytes = job->kind->leave_out(job);
    } else {
        job->err = err;
    }
    note_error(job, reading, code, action);
    job_sliced(job, bytes);
}

/* --- Mail */

void job_begun(struct job *job, const struct err *err)
{
    job->busy = false;
    if (err) {
        actor_refuse(job->self, job->opening, err);
        job->concluded = true; /* nobody has heard of it, */
        answer_waiters(job);   /* but for those who drain everything */
        if (job->closing)
            close_now(job);
        return;
    }
    job->opened = true;
    job->tell_next = now(job) + TELL_PERIOD;
    actor_reply(job->self, job->opening, MAIL_NONE, NULL);
    step(job);
}

static const struct job_kind *find_kind(const char *name)
{
    static const struct job_kind *const kinds[] = {&job_commit};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i]->name, name))
            return kinds[i];
    return NULL;
}

static void on_open(struct actor *self, struct mail *mail)
{
    struct job *job = actor_state(self);
    const Sluice__JobOpen *open = (const Sluice__JobOpen *)mail->body;
    job->kind = find_kind(open->type);
    assert(job->kind); /* the graph knows them */
    job->source = open->source;
    job->target = open->target;
    job->speed = open->speed;
    job->on_error = open->on_error;
    job->state = mem_new(job->kind->size);
    job->opening = mail_ticket(mail);
    job->busy = true;
    job->kind->begin(job);
}

static void await_quiet(struct job *job, struct ticket ticket)
{
    struct job_waiter *waiter = MEM_NEW(struct job_waiter);
    *waiter = (struct job_waiter){job->waiters, ticket};
    job->waiters = waiter;
    if (!job->busy)
        answer_waiters(job);
}

static void on_drain_begin(struct actor *self, struct mail *mail)
{
    struct job *job = actor_state(self);
    job->drained++;
    await_quiet(job, mail_ticket(mail));
    step(job);
}

static void on_drain_end(struct actor *self, struct mail *mail)
{
    struct job *job = actor_state(self);
    if (job->drained)
        job->drained--;
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
    step(job);
}

static void reset_io_status(struct job *job)
{
    job->io_status = SLUICE__IO_STATUS__OK;
}

static void on_pause(struct actor *self, struct mail *mail)
{
    struct job *job = actor_state(self);
    job->paused = ((Sluice__JobPause *)mail->body)->on;
    if (!job->paused) {
        job->stopped = false;
        reset_io_status(job);
    }
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
    step(job);
}

static void cancel(struct job *job)
{
    if (job->concluded)
        return;
    job->cancelled = true;
    if (job->busy && job->opened) {
        set_status(job, SLUICE__JOB_EVENT__STATUS__ABORTING);
        job->kind->cancel(job);
    }
    step(job);
}

static void on_cancel(struct actor *self, struct mail *mail)
{
    struct job *job = actor_state(self);
    struct err err = {0};
    if ((job->paused || job->stopped) && !((Sluice__JobCancel *)mail->body)->force) {
        err_set(&err, -EBUSY, "job '%.63s' is paused; resume it first, or cancel it with force=on",
                actor_name(self));
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
    cancel(job);
}

/* What it still has to wait is measured anew. */
static void set_speed(struct job *job, uint64_t speed)
{
    uint64_t left = job->next > now(job) ? job->next - now(job) : 0;
    job->next =
        !speed ? 0 : now(job) + (uint64_t)((double)left * (double)job->speed / (double)speed);
    job->speed = speed;
}

static void on_set(struct actor *self, struct mail *mail)
{
    struct job *job = actor_state(self);
    const Sluice__JobSet *set = (const Sluice__JobSet *)mail->body;
    if (set->has_speed)
        set_speed(job, set->speed);
    if (set->has_on_error)
        job->on_error = set->on_error;
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
    step(job);
}

static void on_io_status_reset(struct actor *self, struct mail *mail)
{
    (void)mail;
    reset_io_status(actor_state(self));
}

static void on_describe(struct actor *self, struct mail *mail)
{
    const struct job *job = actor_state(self);
    Sluice__JobInfo *info = MAIL_NEW(sluice__job_info);
    mail_set(&info->id, actor_name(self));
    mail_set(&info->type, job->kind ? job->kind->name : "");
    info->has_status = info->has_done_bytes = info->has_total_bytes = true;
    info->has_speed = info->has_io_status = info->has_on_error = info->has_reactor = true;
    info->status = job->status;
    info->done_bytes = job->done;
    info->total_bytes = job->total;
    info->speed = job->speed;
    info->io_status = job->io_status;
    info->on_error = job->on_error;
    info->reactor = reactor_id(actor_reactor(self));
    actor_reply(self, mail_ticket(mail), MAIL_JOB_INFO, info);
}

static void on_close(struct actor *self, struct mail *mail)
{
    struct job *job = actor_state(self);
    struct err err = {0};
    if (job->closing) {
        err_set(&err, -EALREADY, "job '%.63s' is closing already", actor_name(self));
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    job->closing = true;
    job->closer = mail_ticket(mail);
    if (job->concluded || !job->kind)
        close_now(job);
    else
        cancel(job);
}

static void on_abort(struct actor *self, struct mail *mail)
{
    (void)mail;
    cancel(actor_state(self));
}

/* --- Life */

static void job_init(struct actor *self)
{
    struct job *job = actor_state(self);
    job->self = self;
    job->timer.fire = fire;
    job->error_timer.fire = second_over;
}

static void job_fini(struct actor *self)
{
    struct job *job = actor_state(self);
    struct job_waiter *waiter;
    timer_cancel(reactor_timers(actor_reactor(self)), &job->timer);
    timer_cancel(reactor_timers(actor_reactor(self)), &job->error_timer);
    for (int i = 0; i < 2; i++)
        mail_free_body(job->errors[i].event);
    while ((waiter = job->waiters)) {
        job->waiters = waiter->next;
        free(waiter);
    }
    if (job->kind && job->kind->end)
        job->kind->end(job);
    free(job->state);
}

const struct actor_type job_type = {
    .name = "job",
    .size = sizeof(struct job),
    .init = job_init,
    .fini = job_fini,
    .handlers =
        {
            [MAIL_JOB_OPEN] = on_open,
            [MAIL_JOB_PAUSE] = on_pause,
            [MAIL_JOB_CANCEL] = on_cancel,
            [MAIL_JOB_SET] = on_set,
            [MAIL_IO_STATUS_RESET] = on_io_status_reset,
            [MAIL_DRAIN_BEGIN] = on_drain_begin,
            [MAIL_DRAIN_END] = on_drain_end,
            [MAIL_DESCRIBE] = on_describe,
            [MAIL_CLOSE] = on_close,
            [MAIL_ABORT] = on_abort,
        },
};
