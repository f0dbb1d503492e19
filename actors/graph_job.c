/* graph_job.c — jobs: what they stand on and block, and their end; commits of all backends.
 *
 * While a job is there, operations are blocked on the nodes that it works on, through filters. When
 * it has told that it is through, it gives up what it stands on; then its end is told, so that
 * whoever hears of it finds nothing in his way; then the actor ends. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/emit.h"
#include "actors/reply.h"
#include "engine/mem.h"

/* Places of nodes in a job's standing. */
enum { SOURCE, TARGET };

static void unblock(const struct object *job)
{
    struct graph *graph = job->graph;
    for (size_t i = 0; i < graph->tables[NODE].n; i++)
        graph_unblock(graph->tables[NODE].all[i], job);
    graph_block_sync(graph);
}

/* --- Commit */

/* The overlay that is the backend's medium, or lies below filters there; or null. */
static struct object *overlay_of(const struct object *backend)
{
    struct object *node = backend->standing.to[0];
    while (node && !node->standing.to[EDGE_BACKING])
        node = graph_filtered(node);
    return node;
}

static int check(const struct object *backend, const struct object *overlay, struct err *err)
{
    const struct object *backing = overlay->standing.to[EDGE_BACKING];
    if (overlay->inactive)
        return err_set(err, -EPERM,
                       "node '%s' is inactive: another process may own what it stands on; activate "
                       "a backend above it first",
                       overlay->name);
    if (graph_blocked(backend, SLUICE__OP_BLOCK__OPERATION__COMMIT_SOURCE, err) < 0)
        return err->code;
    return graph_blocked(backing, SLUICE__OP_BLOCK__OPERATION__COMMIT_TARGET, err);
}

static void start(struct object *overlay, const char *id, const Sluice__Commit *spec,
                  struct commits *commits, struct ticket ticket)
{
    struct object *backing = overlay->standing.to[EDGE_BACKING];
    struct object *job = graph_object_add(overlay->graph, JOB, id);
    char reason[100];
    job->type = mem_string("commit");
    job->reactor = overlay->reactor;
    job->commits = commits;
    snprintf(reason, sizeof reason, "job '%s' works on it", job->name);
    graph_block(overlay, BLOCK_ALL, job, reason);
    for (struct object *node = backing; node; node = graph_filtered(node))
        graph_block(node, BLOCK_ALL, job, reason);
    graph_block_sync(job->graph);
    struct standing standing = {
        .to = {[SOURCE] = overlay, [TARGET] = backing},
        /* Emptying the overlay changes nothing that is seen there. */
        .wants = {[SOURCE] = {PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED, PERM_ALL},
                  [TARGET] = {PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE,
                              PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED}},
        .commits = true};
    Sluice__JobOpen *open = MAIL_NEW(sluice__job_open);
    mail_set(&open->type, job->type);
    open->source = overlay->address;
    open->target = backing->address;
    open->speed = spec->speed;
    open->on_error = spec->on_error;
    job->ticket = ticket;
    graph_begin_add(job, standing, open);
}

int graph_commit(struct graph *graph, const Sluice__Commit *spec, struct ticket ticket,
                 struct err *err)
{
    const struct object *backend = graph_ready(graph, BACKEND, spec->backend, "backend", err);
    const char *id = spec->id ? spec->id : spec->backend;
    if (!backend || graph_check_name(graph, JOB, id, err) < 0)
        return err->code;
    struct object *overlay = overlay_of(backend);
    if (!overlay)
        return err_field(err, "backend", backend->standing.to[0] ? -ENOTSUP : -ENOMEDIUM,
                         "backend '%s' has nothing to commit: %s", backend->name,
                         backend->standing.to[0] ? "its medium is no overlay" : "it has no medium");
    if (check(backend, overlay, err) < 0)
        return err->code;
    start(overlay, id, spec, NULL, ticket);
    return 0;
}

/* --- Commits of all backends */

struct commits {
    struct graph *graph;
    struct ticket ticket;
    actor_addr *backends; /* as there were when it began */
    size_t n, i;
};

static void fini(void *kept)
{
    free(((struct commits *)kept)->backends);
}

static void end_all(struct commits *commits, const struct err *err)
{
    struct graph *graph = commits->graph;
    if (err)
        actor_refuse(graph->self, commits->ticket, err);
    else
        actor_reply(graph->self, commits->ticket, MAIL_REPLY, reply_done());
    graph_unkeep(commits);
    graph->gathers--;
    if (graph->ending)
        graph_step_end(graph);
}

static void go_on(struct commits *commits)
{
    static const Sluice__Commit plain = SLUICE__COMMIT__INIT;
    struct graph *graph = commits->graph;
    struct err err = {0};
    const struct object *backend = NULL;
    struct object *overlay = NULL;
    while (!overlay && commits->i < commits->n) {
        backend = graph_by_address(graph, commits->backends[commits->i++]);
        overlay = backend ? overlay_of(backend) : NULL;
    }
    if (!overlay || graph_refuse_ending(graph, &err) < 0 || check(backend, overlay, &err) < 0) {
        end_all(commits, err.code ? &err : NULL);
        return;
    }
    char id[32]; /* one that nobody else can give */
    snprintf(id, sizeof id, "#commit%llu", (unsigned long long)++graph->last_commit);
    start(overlay, id, &plain, commits, (struct ticket){0});
}

/* One of them is through. */
static void next(struct commits *commits, const struct err *err)
{
    if (err->code)
        end_all(commits, err);
    else
        go_on(commits);
}

void graph_commit_all(struct graph *graph, struct ticket ticket)
{
    const struct table *backends = &graph->tables[BACKEND];
    struct commits *commits = GRAPH_KEEP(graph, struct commits, fini);
    commits->graph = graph;
    commits->ticket = ticket;
    commits->backends = mem_new((backends->n + 1) * sizeof *commits->backends);
    for (size_t i = 0; i < backends->n; i++)
        if (backends->all[i]->address)
            commits->backends[commits->n++] = backends->all[i]->address;
    graph->gathers++;
    go_on(commits);
}

/* --- The end */

static void leave_commits(struct object *job)
{
    struct commits *commits = job->commits;
    job->commits = NULL;
    if (commits)
        next(commits, &job->err);
}

void graph_job_failed(struct object *job)
{
    unblock(job);
    leave_commits(job);
}

static void *end_event(const struct object *job, const Sluice__JobEnded *ended)
{
    Sluice__JobEvent *event = MAIL_NEW(sluice__job_event);
    mail_set(&event->id, job->name);
    mail_set(&event->type, job->type);
    event->has_done_bytes = event->has_total_bytes = event->has_speed = true;
    event->done_bytes = ended->done;
    event->total_bytes = ended->total;
    event->speed = ended->speed;
    if (ended->code && !ended->cancelled)
        mail_set(&event->reason, ended->reason);
    return emit_make("job", job->name,
                     event->reason ? SLUICE__EVENT__SEVERITY__ERROR : SLUICE__EVENT__SEVERITY__INFO,
                     ended->cancelled ? SLUICE__EVENT__BODY_JOB_CANCELLED
                                      : SLUICE__EVENT__BODY_JOB_COMPLETED,
                     event);
}

static void tell_end(struct object *job)
{
    graph_emit(job->graph, job->body);
    job->body = NULL;
    leave_commits(job);
}

static void gave_up(struct object *job, const struct err *err)
{
    (void)err; /* giving up is never refused */
    tell_end(job);
    if (job->state == READY)
        graph_close_object(job, (struct ticket){0});
}

void graph_on_job_ended(struct actor *self, struct mail *mail)
{
    struct object *job = graph_by_address(actor_state(self), mail->from);
    const Sluice__JobEnded *ended = (const Sluice__JobEnded *)mail->body;
    if (ended->code)
        err_set(&job->err, ended->code, "job '%s': %s", job->name, ended->reason);
    unblock(job);
    job->body = end_event(job, ended);
    if (job->state == READY)
        graph_change(job, (struct standing){0}, gave_up);
    else
        tell_end(job); /* it is being closed, and gives up then */
}

/* --- Requests */

int graph_job_pause(struct graph *graph, const char *name, bool on, struct ticket ticket,
                    struct err *err)
{
    Sluice__JobPause *pause = MAIL_NEW(sluice__job_pause);
    pause->on = on;
    return graph_pass_on(graph, JOB, name, MAIL_JOB_PAUSE, pause, ticket, err);
}

int graph_job_cancel(struct graph *graph, const Sluice__JobCancel *cancel, struct ticket ticket,
                     struct err *err)
{
    return graph_pass_on(graph, JOB, cancel->name, MAIL_JOB_CANCEL, mail_copy(cancel), ticket, err);
}

int graph_job_set(struct graph *graph, const Sluice__JobSet *set, struct ticket ticket,
                  struct err *err)
{
    return graph_pass_on(graph, JOB, set->name, MAIL_JOB_SET, mail_copy(set), ticket, err);
}

void graph_show_job(const struct object *job, Sluice__JobInfo *info)
{
    if (job->standing.to[SOURCE])
        mail_set(&info->source, job->standing.to[SOURCE]->name);
    if (job->standing.to[TARGET])
        mail_set(&info->target, job->standing.to[TARGET]->name);
}

/* --- Media */

/* Through filters, as what is committed is found. */
static bool is_above(const struct object *above, const struct object *node)
{
    while (above && above != node)
        above = graph_filtered(above);
    return above == node && node;
}

/* A reset of a backend's io-status is one of the jobs on its medium, too. */
void graph_on_io_status_reset(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    const struct object *backend = graph_by_address(graph, mail->from);
    const struct object *medium = backend ? backend->standing.to[0] : NULL;
    for (size_t i = 0; medium && i < graph->tables[JOB].n; i++) {
        const struct object *job = graph->tables[JOB].all[i];
        if (job->address && (is_above(medium, job->standing.to[SOURCE]) ||
                             is_above(medium, job->standing.to[TARGET]) ||
                             is_above(job->standing.to[TARGET], medium)))
            actor_tell(self, job->address, MAIL_IO_STATUS_RESET, NULL);
    }
}
