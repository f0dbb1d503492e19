/* graph_change.c — a console puts another medium in the place of the one there.
 *
 * From the beginning the backend stands on both nodes, so that both stay; its permissions are on
 * the first of them. It comes to rest; then they change places; then its device takes the new
 * medium, or does not, and it stands on one of them again. What a failure leaves is what was. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/mem.h"

/* What one has to know between the steps. */
struct swap {
    struct object *backend, *node, *old;
    Sluice__MediumChange__Mode mode;
    bool force;
    bool rests;     /* the backend does */
    struct err err; /* why it failed */
};

static Sluice__BackendChange *step(Sluice__BackendChange__Step step)
{
    Sluice__BackendChange *mail = MAIL_NEW(sluice__backend_change);
    mail->step = step;
    return mail;
}

static struct standing on(const struct object *backend, struct object *node, struct object *old)
{
    struct standing standing = backend->standing;
    standing.to[EDGE_CHILD] = node;
    standing.to[EDGE_BACKING] = old;
    return standing;
}

static void done(struct object *backend)
{
    struct swap *swap = backend->swap;
    struct err err = swap->err;
    backend->swap = NULL;
    free(swap);
    graph_medium_done(backend, err.code ? &err : NULL);
}

static void rested(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply;
    done(arg);
}

/* Ends what began in the backend, and answers. */
static void rest_over(struct object *backend)
{
    if (backend->swap->rests)
        actor_ask(backend->graph->self, backend->address, MAIL_BACKEND_CHANGE,
                  step(SLUICE__BACKEND_CHANGE__STEP__END), rested, backend);
    else
        done(backend);
}

/* --- The new one is in */

static void parted(struct object *backend)
{
    graph_join(backend, rest_over);
}

static void settled(struct object *backend, const struct err *err)
{
    const struct swap *swap = backend->swap;
    (void)err; /* giving up is never refused */
    if (swap->old && swap->old != swap->node)
        graph_part(backend, swap->old, parted);
    else
        parted(backend);
}

/* --- It is not */

static void emptied(struct object *backend, const struct err *err)
{
    (void)err;
    rest_over(backend);
}

static void taken_out(struct actor *self, struct mail *reply, void *arg)
{
    struct object *backend = arg;
    (void)self;
    (void)reply;
    graph_tell_removed(backend, backend->swap->old);
    graph_change(backend, on(backend, NULL, NULL), emptied);
}

/* Somebody else may have taken what the backend needs of the old one meanwhile. Then that has to
 * go.
 */
static void restored(struct object *backend, const struct err *err)
{
    if (err && backend->swap->old)
        actor_ask(backend->graph->self, backend->address, MAIL_BACKEND_REMOVE, NULL, taken_out,
                  backend);
    else
        rest_over(backend);
}

static void give_up(struct object *backend, const struct err *err)
{
    backend->swap->err = *err;
    graph_change(backend, on(backend, backend->swap->old, NULL), restored);
}

static void committed(struct actor *self, struct mail *reply, void *arg)
{
    struct object *backend = arg;
    struct swap *swap = backend->swap;
    (void)self;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        give_up(backend, &err);
        return;
    }
    backend->read_only = ((Sluice__BackendInserted *)reply->body)->read_only;
    graph_change(backend, on(backend, swap->node, NULL), settled);
}

/* --- Towards it */

static void permitted(struct object *backend, const struct err *err)
{
    struct swap *swap = backend->swap;
    if (err) {
        give_up(backend, err);
        return;
    }
    Sluice__BackendChange *commit = step(SLUICE__BACKEND_CHANGE__STEP__COMMIT);
    commit->has_node = commit->has_mode = true;
    commit->node = swap->node->address;
    mail_set(&commit->name, swap->node->name);
    commit->mode = swap->mode;
    actor_ask(backend->graph->self, backend->address, MAIL_BACKEND_CHANGE, commit, committed,
              backend);
}

static void prepared(struct actor *self, struct mail *reply, void *arg)
{
    struct object *backend = arg;
    struct swap *swap = backend->swap;
    (void)self;
    graph_let_through_end(backend);
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        give_up(backend, &err);
        return;
    }
    swap->rests = true;
    graph_change(backend, on(backend, swap->node, swap->old), permitted);
}

/* Only the node knows whether it can be written to. */
static void described(struct actor *self, struct mail *reply, void *arg)
{
    struct object *backend = arg;
    struct swap *swap = backend->swap;
    struct err err = {0};
    if (mail_fault(reply))
        mail_fault_err(reply, &err);
    else if (swap->mode == SLUICE__MEDIUM_CHANGE__MODE__READ_WRITE &&
             ((Sluice__NodeInfo *)reply->body)->read_only)
        err_field(&err, "mode", -EACCES,
                  "node '%s' is read-only, so backend '%s' can't get it read-write; give another "
                  "node, or another mode",
                  swap->node->name, graph_name(backend));
    if (err.code) {
        give_up(backend, &err);
        return;
    }
    Sluice__BackendChange *prepare = step(SLUICE__BACKEND_CHANGE__STEP__PREPARE);
    prepare->has_force = true;
    prepare->force = swap->force;
    graph_let_through(backend);
    actor_ask(self, backend->address, MAIL_BACKEND_CHANGE, prepare, prepared, backend);
}

static void held(struct object *backend, const struct err *err)
{
    (void)err; /* nothing is asked of the new one yet */
    actor_ask(backend->graph->self, backend->swap->node->address, MAIL_DESCRIBE, NULL, described,
              backend);
}

/* Who writes does not want it read-only. */
static int check_mode(const struct object *backend, Sluice__MediumChange__Mode mode,
                      struct err *err)
{
    unsigned change = backend->total.perm & (PERM_WRITE | PERM_WRITE_UNCHANGED | PERM_RESIZE);
    if (mode != SLUICE__MEDIUM_CHANGE__MODE__READ_ONLY || !change)
        return 0;
    return err_field(err, "mode", -EPERM,
                     "backend '%s' can't get a medium read-only: its users have '%s' there; let "
                     "them give that up, or give another mode",
                     graph_name(backend), driver_perm_names[__builtin_ctz(change)]);
}

int graph_medium_change(struct graph *graph, const Sluice__MediumChange *change,
                        struct ticket ticket, struct err *err)
{
    /* The medium there is taken out, too. */
    const unsigned ops =
        1U << SLUICE__OP_BLOCK__OPERATION__CHANGE | 1U << SLUICE__OP_BLOCK__OPERATION__EJECT;
    struct object *backend = graph_ready(graph, BACKEND, change->backend, "backend", err), *node;
    if (!backend || !(node = graph_ready(graph, NODE, change->node, "node", err)) ||
        check_mode(backend, change->mode, err) < 0 || graph_blocked_any(backend, ops, err) < 0)
        return err->code;
    struct swap *swap = MEM_NEW(struct swap);
    *swap = (struct swap){.backend = backend,
                          .node = node,
                          .old = backend->standing.to[0],
                          .mode = change->mode,
                          .force = change->force};
    backend->swap = swap;
    backend->state = CHANGING;
    backend->ticket = ticket;
    graph_change(backend, on(backend, swap->old, node), held);
    return 0;
}
