/* graph_active.c — handing media over to another process, and taking them over from it.
 *
 * A backend that is inactive has given up what it may do with its medium, and shares all; what its
 * users need is remembered. A node that only inactive backends are above releases what it holds of
 * its image (graph_perm.c, node_perm.c).
 *
 * To activate one takes two steps. It gets what its users need, with everything shared, which is
 * when the nodes take hold of their images; then it shares only what its users share. While the
 * engine is incoming, the images' former owner may still have something to do there, so the second
 * step is owed until the engine is resumed.
 *
 * A request for all backends is done by all or by none: they turn one after the other, and when one
 * can't, those that have are turned back. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/emit.h"
#include "actors/reply.h"
#include "engine/mem.h"
#include "engine/op.h"
#include "engine/reactor.h"

/* One request under way. Its backends are CHANGING, and stay. */
struct activity_round {
    struct activity_round *next;
    struct graph *graph;
    struct ticket ticket;
    bool active;  /* what they are to be */
    bool leaves;  /* the engine is incoming no longer then */
    bool undoing; /* what is done is turned back, because of `err` */
    struct object **all;
    size_t n, at;
    size_t waits; /* answers to come */
    struct region *region;
    struct op *flush; /* under way, or null */
    struct err err;
};

/* --- Telling */

static void tell(const struct object *backend, Sluice__Event__BodyCase what, const struct err *err)
{
    if (!*backend->name) /* control does not see it */
        return;
    Sluice__ActivityEvent *event = MAIL_NEW(sluice__activity_event);
    mail_set(&event->backend, backend->name);
    if (backend->standing.to[0])
        mail_set(&event->node, backend->standing.to[0]->name);
    if (err)
        mail_set(&event->reason, err->text);
    graph_emit(backend->graph,
               emit_make("backend", backend->name,
                         err ? SLUICE__EVENT__SEVERITY__ERROR : SLUICE__EVENT__SEVERITY__INFO, what,
                         event));
}

/* --- The end of a request */

static void free_round(struct activity_round *round)
{
    struct activity_round **at = &round->graph->rounds;
    while (*at != round)
        at = &(*at)->next;
    *at = round->next;
    free(round->all);
    free(round);
}

static void finish(struct activity_round *round)
{
    struct graph *graph = round->graph;
    for (size_t i = 0; i < round->n; i++) {
        round->all[i]->round = NULL;
        round->all[i]->state = READY;
    }
    bool leaves = round->leaves;
    if (leaves)
        graph->leaving = false;
    if (round->err.code)
        actor_refuse(graph->self, round->ticket, &round->err);
    else if (round->leaves)
        graph_run_backends(graph, round->ticket);
    else
        actor_reply(graph->self, round->ticket, MAIL_REPLY, reply_done());
    free_round(round);
    graph->gathers--;
    if (leaves)
        graph_add_waiting(graph);
    graph_settled(graph);
}

/* --- One backend after the other */

static void turn(struct activity_round *round);

static struct object *current(const struct activity_round *round)
{
    return round->all[round->at];
}

static struct standing as(const struct object *backend, enum activity activity)
{
    struct standing standing = backend->standing;
    standing.activity = activity;
    return standing;
}

/* What was owed is had, or never will be; that is no matter of the others. */
static void was_paid(struct object *backend, const struct err *err)
{
    struct activity_round *round = backend->round;
    if (err)
        tell(backend, SLUICE__EVENT__BODY_BACKEND_ACTIVATION_ERROR, err);
    if (!--round->waits)
        finish(round);
}

static void leave(struct activity_round *round)
{
    graph_set_running(round->graph);
    round->waits = 1;
    for (size_t i = 0; i < round->n; i++) {
        struct object *backend = round->all[i];
        if (backend->standing.activity != SHARING)
            continue;
        round->waits++;
        graph_change(backend, as(backend, ACTIVE), was_paid);
    }
    if (!--round->waits)
        finish(round);
}

static bool is_to_turn(const struct object *backend, bool active)
{
    enum activity activity = backend->standing.activity;
    if (!active)
        return activity != INACTIVE;
    return activity == INACTIVE || (activity == SHARING && !backend->graph->incoming);
}

static void go_on(struct activity_round *round)
{
    while (round->undoing && round->at)
        if (round->all[--round->at]->turned) {
            turn(round);
            return;
        }
    while (!round->undoing && round->at < round->n && !is_to_turn(current(round), round->active))
        round->at++;
    if (!round->undoing && round->at < round->n)
        turn(round);
    else if (!round->undoing && round->leaves)
        leave(round);
    else
        finish(round);
}

/* The current one has turned, or not. */
static void turned(struct activity_round *round, const struct err *err)
{
    if (round->undoing) {
        if (err)
            tell(current(round), SLUICE__EVENT__BODY_BACKEND_ACTIVATION_ERROR, err);
    } else if (err) {
        round->err = *err;
        round->undoing = true;
        round->active = !round->active;
    } else {
        round->at++;
    }
    go_on(round);
}

/* --- Inactivation */

static void end_region(struct activity_round *round)
{
    struct region *region = round->region;
    round->region = NULL;
    graph_drain_end(region);
}

/* An activation that did not come about was not told, and is not told to be over. */
static void gave_up(struct object *backend, const struct err *err)
{
    struct activity_round *round = backend->round;
    (void)err; /* giving up is never refused */
    end_region(round);
    if (backend->err.code) {
        turned(round, &backend->err);
        return;
    }
    backend->turned = true;
    tell(backend, SLUICE__EVENT__BODY_BACKEND_INACTIVATED, NULL);
    turned(round, NULL);
}

static void give_up(struct activity_round *round)
{
    graph_change(current(round), as(current(round), INACTIVE), gave_up);
}

/* What can't be made durable stays here, unless that is no choice any more. A graph that has ended
 * by force has no rounds any more. */
static void flushed(struct op *op, void *who)
{
    struct activity_round *round = *(struct activity_round **)op_popped(op);
    int64_t ret = op->ret;
    (void)who;
    op_free(op);
    if (!round)
        return;
    const struct object *backend = current(round);
    round->flush = NULL;
    if (ret >= 0 || backend->err.code || round->undoing) {
        give_up(round);
        return;
    }
    struct err err = {0};
    err_set(&err, (int)ret,
            "backend '%s' can't be inactivated: what was written to its medium could not be made "
            "durable (%s), so another process would not find it",
            graph_name(backend), strerror((int)-ret));
    end_region(round);
    turned(round, &err);
}

/* Nothing is in flight. */
static void quiet(void *arg)
{
    struct activity_round *round = arg;
    const struct object *backend = current(round), *node = backend->standing.to[0];
    if (!node || !(backend->total.perm & (PERM_WRITE | PERM_WRITE_UNCHANGED | PERM_RESIZE))) {
        give_up(round);
        return;
    }
    struct op *op = round->flush = op_new(actor_peer(round->graph->self));
    op->kind = OP_FLUSH;
    op->flags = op->niov = 0;
    op->offset = 0;
    op->bytes = 0;
    op->iov = NULL;
    *(struct activity_round **)op_push(op, flushed, NULL) = round;
    op_send(op, node->address);
}

static void inactivate(struct activity_round *round)
{
    graph_drain_begin(current(round), false, quiet, round, &round->region);
}

/* --- Activation */

static void activated(struct object *backend)
{
    backend->turned = true;
    tell(backend, SLUICE__EVENT__BODY_BACKEND_ACTIVATED, NULL);
    turned(backend->round, NULL);
}

static void shares(struct object *backend, const struct err *err)
{
    if (!err) {
        activated(backend);
        return;
    }
    backend->err = *err;
    inactivate(backend->round);
}

static void has_permissions(struct object *backend, const struct err *err)
{
    if (err)
        turned(backend->round, err);
    else if (backend->graph->incoming)
        activated(backend);
    else
        graph_change(backend, as(backend, ACTIVE), shares);
}

/* One that could not have its own sharing when the engine was incoming no longer asks once more. */
static void asked_again(struct object *backend, const struct err *err)
{
    turned(backend->round, err);
}

static void turn(struct activity_round *round)
{
    struct object *backend = current(round);
    backend->err = (struct err){0};
    if (!round->active)
        inactivate(round);
    else if (backend->standing.activity == SHARING)
        graph_change(backend, as(backend, ACTIVE), asked_again);
    else
        graph_change(backend, as(backend, SHARING), has_permissions);
}

/* --- Who may be inactivated */

static bool has_device(const struct object *backend)
{
    const struct object *user;
    unsigned kind = 0;
    for (size_t i = 0; (user = graph_next_user(backend, &kind, &i));)
        if (user->kind != CLAIM)
            return true;
    return false;
}

/* Whoever is behind a name or a device can be told; others would only find that they can't write
 * any more. */
static int check_may(const struct object *backend, struct err *err)
{
    if (*backend->name || backend->allow_inactivate || has_device(backend) ||
        !(backend->total.perm & (PERM_WRITE | PERM_WRITE_UNCHANGED)))
        return 0;
    return err_set(err, -EPERM,
                   "%s on node '%s' can't be inactivated: it has neither a name nor a device, but "
                   "a user that writes; end that, or let it allow it",
                   graph_name(backend),
                   backend->standing.to[0] ? backend->standing.to[0]->name : "");
}

/* A job that works on what is below a backend has its permissions there by itself. */
static int check_jobs(const struct object *backend, struct err *err)
{
    const struct table *jobs = &backend->graph->tables[JOB];
    if (jobs->n)
        graph_mark_connected(backend);
    for (size_t i = 0; i < jobs->n; i++)
        for (int edge = 0; edge < EDGES; edge++) {
            const struct object *job = jobs->all[i], *node = job->standing.to[edge];
            if (node && node->marked)
                return err_set(err, -EPERM,
                               "%s '%s' can't be inactivated: job '%s' works on node '%s'; cancel "
                               "it, or let it end",
                               graph_words[BACKEND], graph_name(backend), job->name, node->name);
        }
    return 0;
}

static void looked(struct activity_round *round)
{
    if (--round->waits)
        return;
    if (round->err.code)
        finish(round);
    else
        go_on(round);
}

static void described(struct actor *self, struct mail *reply, void *arg)
{
    struct activity_round *round = arg;
    (void)self;
    if (!mail_fault(reply) && !round->err.code) {
        const Sluice__ExportInfo *info = (const Sluice__ExportInfo *)reply->body;
        if (info->connections && !info->allow_inactive)
            err_set(&round->err, -EPERM,
                    "export '%s' has %u client%s, so its backend can't be inactivated; disconnect "
                    "%s, or add the export with allow-inactive=on",
                    info->id, info->connections, info->connections > 1 ? "s" : "",
                    info->connections > 1 ? "them" : "it");
    }
    looked(round);
}

static void look_at_exports(struct activity_round *round)
{
    struct actor *self = round->graph->self;
    const struct object *user;
    round->waits = 1;
    for (size_t i = 0; i < round->n; i++) {
        unsigned kind = 0;
        for (size_t k = 0; (user = graph_next_user(round->all[i], &kind, &k));) {
            if (user->kind != EXPORT || !user->address)
                continue;
            round->waits++;
            actor_ask(self, user->address, MAIL_DESCRIBE, NULL, described, round);
        }
    }
    looked(round);
}

/* --- Requests */

static int check_one(const struct object *backend, bool active, struct err *err)
{
    if (backend->state != READY)
        return err_set(err, -EBUSY,
                       "backend '%s' is being opened, changed or moved; try again when that is "
                       "done",
                       graph_name(backend));
    if (active || check_may(backend, err) < 0)
        return err->code;
    return check_jobs(backend, err);
}

/* All, or `only`, that have to turn or are owed something. Others are not held up. */
static int collect(struct activity_round *round, const struct object *only, struct err *err)
{
    const struct table *backends = &round->graph->tables[BACKEND];
    round->all = mem_new((backends->n + 1) * sizeof(struct object *));
    for (size_t i = 0; i < backends->n; i++) {
        struct object *backend = backends->all[i];
        bool concerned = backend->round || is_to_turn(backend, round->active) ||
                         (round->leaves && backend->standing.activity == SHARING);
        bool there = backend->state != CLOSING && backend->state != FAILED;
        if ((only && backend != only) || !there)
            continue;
        if (!concerned)
            continue;
        if (check_one(backend, round->active, err) < 0)
            return err->code;
        round->all[round->n++] = backend;
    }
    return 0;
}

static int begin(struct graph *graph, const struct object *only, struct activity_round made,
                 struct err *err)
{
    struct activity_round *round = MEM_NEW(struct activity_round);
    *round = made;
    round->graph = graph;
    round->next = graph->rounds;
    graph->rounds = round;
    if (collect(round, only, err) < 0) {
        free_round(round);
        return err->code;
    }
    graph->gathers++;
    if (round->leaves)
        graph->leaving = true;
    for (size_t i = 0; i < round->n; i++) {
        struct object *backend = round->all[i];
        backend->round = round;
        backend->state = CHANGING;
        backend->turned = false;
    }
    if (round->active)
        go_on(round);
    else
        look_at_exports(round);
    return 0;
}

int graph_activate(struct graph *graph, const char *name, bool active, struct ticket ticket,
                   struct err *err)
{
    const struct object *only = NULL;
    if (name && !(only = graph_ready(graph, BACKEND, name, "name", err)))
        return err->code;
    return begin(graph, only, (struct activity_round){.ticket = ticket, .active = active}, err);
}

int graph_leave_incoming(struct graph *graph, struct ticket ticket, struct err *err)
{
    if (graph->leaving)
        return err_set(err, -EBUSY,
                       "the engine is being resumed already; try again when that is done");
    return begin(graph, NULL,
                 (struct activity_round){.ticket = ticket, .active = true, .leaves = true}, err);
}

void graph_on_claim_activity(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    const Sluice__ClaimActivity *asked = (const Sluice__ClaimActivity *)mail->body;
    const struct object *claim = graph_find_claim(graph, asked->claim);
    struct object *backend = claim ? claim->standing.to[0] : NULL;
    struct err err = {0};
    switch (asked->what) {
    case SLUICE__CLAIM_ACTIVITY__WHAT__INACTIVATE:
    case SLUICE__CLAIM_ACTIVITY__WHAT__ACTIVATE:
        if (!backend)
            err_set(&err, -ENXIO, "there is no claim %llu any more; open the backend again",
                    (unsigned long long)asked->claim);
        else if (graph_refuse_ending(graph, &err) == 0)
            begin(graph, backend,
                  (struct activity_round){.ticket = mail_ticket(mail),
                                          .active = asked->what ==
                                                    SLUICE__CLAIM_ACTIVITY__WHAT__ACTIVATE},
                  &err);
        if (err.code)
            actor_refuse(self, mail_ticket(mail), &err);
        return;
    default:
        if (backend)
            backend->allow_inactivate = asked->what == SLUICE__CLAIM_ACTIVITY__WHAT__ALLOW;
        actor_reply(self, mail_ticket(mail), MAIL_REPLY, reply_done());
    }
}

/* --- What is new */

void graph_active_init(struct object *object, struct standing *standing, void *body)
{
    const struct graph *graph = object->graph;
    if (object->kind == NODE) {
        object->inactive = graph->incoming;
        for (int i = 0; i < EDGES; i++)
            object->inactive |= standing->to[i] && standing->to[i]->inactive;
        object->inactive_next = object->inactive;
        Sluice__NodeOpen *open = body;
        open->has_inactive = true;
        open->inactive = object->inactive;
    } else if (object->kind == BACKEND) {
        object->allow_inactivate = ((const Sluice__BackendOpen *)body)->spec->allow_inactivate;
        object->waits_for_leaving = graph->leaving;
        /* Known at once, so that who leaves incoming before it is made sees it. */
        if (graph->incoming)
            standing->activity = object->standing.activity = INACTIVE;
    }
}

/* --- The end of the graph */

void graph_active_fini(struct graph *graph)
{
    struct activity_round *round;
    while ((round = graph->rounds)) {
        graph->rounds = round->next;
        if (round->flush)
            *(struct activity_round **)op_frame(round->flush, flushed, NULL) = NULL;
        free(round->all);
        free(round);
    }
}
