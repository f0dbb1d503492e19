/* graph_move.c — backends and nodes go to other reactors.
 *
 * A backend, its medium and all that is connected with them live on one reactor and move together:
 * everything is drained, each actor goes, and the region ends. Whoever holds objects that another
 * move or change has waits for that. When one can't go, those that have gone come back. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "actors/emit.h"
#include "actors/reply.h"
#include "engine/mem.h"

struct move {
    struct move *next;
    struct graph *graph;
    actor_addr backend; /* that is moved, or whose medium is */
    unsigned reactor;
    bool force, begun;
    struct region *region;
    size_t waits;                         /* answers to come */
    struct err err;                       /* why it failed; then it goes back */
    struct ticket ticket;                 /* who asked */
    void (*then)(struct object *backend); /* instead: what goes on */
};

/* One of its objects, on its way. */
struct mover {
    struct move *move;
    struct object *object;
    unsigned from;
};

static struct object *backend_of(const struct move *move)
{
    const struct table *table = &move->graph->tables[BACKEND];
    for (size_t i = 0; i < table->n; i++)
        if (table->all[i]->address == move->backend)
            return table->all[i];
    return NULL;
}

/* --- Who may go */

static const struct object *next_marked(const struct graph *graph, unsigned *kind, size_t *i)
{
    for (; *kind <= BACKEND; ++*kind, *i = 0)
        while (*i < graph->tables[*kind].n)
            if (graph->tables[*kind].all[(*i)++]->marked)
                return graph->tables[*kind].all[*i - 1];
    return NULL;
}

/* The device of a backend that does not go with it, or null. */
static const struct object *tied(const struct object *backend)
{
    const struct object *user;
    unsigned kind = 0;
    size_t i = 0;
    while ((user = graph_next_user(backend, &kind, &i)))
        if (user->kind != CLAIM && !user->may_move)
            return user;
    return NULL;
}

static int check_followers(const struct move *move, struct err *err)
{
    const struct object *object;
    unsigned kind = 0;
    for (size_t i = 0; !move->force && (object = next_marked(move->graph, &kind, &i));) {
        const struct object *device;
        if (object->kind != BACKEND || object->address == move->backend || object->may_move)
            continue;
        if (!*object->name)
            return err_set(
                err, -EBUSY,
                "backend '%s' can't move to reactor %u: an unnamed backend stands on the "
                "same nodes; give force=on to move it too",
                graph_name(backend_of(move)), move->reactor);
        if ((device = tied(object)))
            return err_set(err, -EBUSY,
                           "backend '%s' can't move to reactor %u: backend '%s' on the same nodes "
                           "has %s '%s'; give force=on to move it too",
                           graph_name(backend_of(move)), move->reactor, graph_name(object),
                           graph_words[device->kind], graph_name(device));
    }
    return 0;
}

static bool all_free(const struct graph *graph)
{
    const struct object *object;
    unsigned kind = 0;
    for (size_t i = 0; (object = next_marked(graph, &kind, &i));)
        if (object->state != READY)
            return false;
    return true;
}

/* Who blocked it has a reason, which no force sets aside: that is for backends that would be taken
 * along. Asked when it is about to begin, so that what was blocked while it waited counts. */
static int check_blocked(const struct graph *graph, struct err *err)
{
    for (size_t i = 0; i < graph->tables[NODE].n; i++) {
        const struct object *node = graph->tables[NODE].all[i];
        if (node->marked && graph_blocked(node, SLUICE__OP_BLOCK__OPERATION__MOVE, err) < 0)
            return -EBUSY;
    }
    return 0;
}

/* --- Going */

static void unlink_move(struct move *move)
{
    struct move **at = &move->graph->moves;
    while (*at != move)
        at = &(*at)->next;
    *at = move->next;
}

/* Those who use the backend are told before, where it is to go, and after, where it is: when it
 * could not go, where it was. Who comes in between is told neither. */
static void tell_claims(struct move *move, bool arrived)
{
    const struct table *claims = &move->graph->tables[CLAIM];
    for (size_t i = 0; i < claims->n; i++) {
        struct object *claim = claims->all[i];
        const struct object *backend = claim->standing.to[0];
        if (!backend || (arrived ? claim : backend)->move != move)
            continue;
        claim->move = arrived ? NULL : move;
        Sluice__Moving *moving = MAIL_NEW(sluice__moving);
        moving->claim = claim->id;
        moving->reactor = arrived ? backend->reactor : move->reactor;
        moving->arrived = arrived;
        actor_tell(move->graph->self, claim->owner, MAIL_MOVING, moving);
    }
}

static void tell_event(const struct object *backend)
{
    if (!*backend->name) /* control does not see it */
        return;
    Sluice__BackendMovedEvent *event = MAIL_NEW(sluice__backend_moved_event);
    mail_set(&event->backend, backend->name);
    event->reactor = backend->reactor;
    graph_emit(backend->graph, emit_make("backend", backend->name, SLUICE__EVENT__SEVERITY__INFO,
                                         SLUICE__EVENT__BODY_BACKEND_MOVED, event));
}

static void finish(struct move *move)
{
    struct graph *graph = move->graph;
    struct object *backend = backend_of(move);
    if (move->region)
        tell_claims(move, true);
    for (unsigned kind = 0; kind <= BACKEND; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++) {
            struct object *object = graph->tables[kind].all[i];
            if (object->move != move)
                continue;
            object->move = NULL;
            if (object != backend || !move->then)
                object->state = READY;
            if (kind == BACKEND && move->region && !move->err.code)
                tell_event(object);
        }
    if (move->region)
        graph_drain_end(move->region);
    unlink_move(move);
    if (move->then)
        move->then(backend);
    else if (move->err.code)
        actor_refuse(graph->self, move->ticket, &move->err);
    else
        actor_reply(graph->self, move->ticket, MAIL_REPLY, reply_done());
    free(move);
    graph_settled(graph);
}

static void gone_back(struct actor *self, struct mail *reply, void *arg)
{
    struct mover *mover = arg;
    struct move *move = mover->move;
    (void)self;
    if (!mail_fault(reply))
        mover->object->reactor = mover->from;
    graph_unkeep(mover);
    if (!--move->waits)
        finish(move);
}

static void send_one(struct move *move, struct object *object, unsigned reactor, actor_reply_fn *fn)
{
    struct mover *mover = GRAPH_KEEP(move->graph, struct mover, NULL);
    *mover = (struct mover){move, object, object->reactor};
    Sluice__Move *mail = MAIL_NEW(sluice__move);
    mail->reactor = reactor;
    move->waits++;
    actor_ask(move->graph->self, object->address, MAIL_MOVE, mail, fn, mover);
}

/* All have answered. */
static void arrived(struct move *move)
{
    struct graph *graph = move->graph;
    move->waits = 1;
    for (unsigned kind = 0; move->err.code && kind <= BACKEND; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++) {
            struct object *object = graph->tables[kind].all[i];
            if (object->move == move && object->reactor != object->came_from)
                send_one(move, object, object->came_from, gone_back);
        }
    if (!--move->waits)
        finish(move);
}

static void moved(struct actor *self, struct mail *reply, void *arg)
{
    struct mover *mover = arg;
    struct move *move = mover->move;
    (void)self;
    if (!mail_fault(reply))
        mover->object->reactor = move->reactor;
    else if (!move->err.code)
        mail_fault_err(reply, &move->err);
    graph_unkeep(mover);
    if (!--move->waits)
        arrived(move);
}

/* Nothing is in flight in any of its objects. */
static void quiet(void *arg)
{
    struct move *move = arg;
    struct graph *graph = move->graph;
    move->waits = 1;
    for (unsigned kind = 0; kind <= BACKEND; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++) {
            struct object *object = graph->tables[kind].all[i];
            if (object->move != move)
                continue;
            object->came_from = object->reactor;
            if (object->reactor != move->reactor)
                send_one(move, object, move->reactor, moved);
        }
    if (!--move->waits)
        arrived(move);
}

/* The objects that are marked are its own from now on. */
static void take_marked(struct move *move)
{
    const struct graph *graph = move->graph;
    move->begun = true;
    for (unsigned kind = 0; kind <= BACKEND; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++) {
            struct object *object = graph->tables[kind].all[i];
            if (!object->marked)
                continue;
            object->move = move;
            object->state = CHANGING;
        }
}

/* Begins it, refuses it, or leaves it to wait for what has its objects. */
static void try(struct move *move)
{
    struct object *backend = backend_of(move);
    struct err err = {0};
    if (!backend)
        err_set(&err, -ENXIO, "the backend that was to be moved is gone");
    else
        graph_mark_connected(backend);
    if (backend && !all_free(move->graph))
        return;
    if (!err.code && check_blocked(move->graph, &err) == 0)
        check_followers(move, &err);
    if (err.code) {
        unlink_move(move);
        actor_refuse(move->graph->self, move->ticket, &err);
        free(move);
        return;
    }
    take_marked(move);
    tell_claims(move, false);
    graph_drain_begin(backend, true, quiet, move, &move->region);
}

static struct move *add(struct graph *graph, struct object *backend, unsigned reactor, bool force)
{
    struct move *move = MEM_NEW(struct move), **at = &graph->moves;
    *move = (struct move){
        .graph = graph, .backend = backend->address, .reactor = reactor, .force = force};
    while (*at)
        at = &(*at)->next;
    *at = move;
    return move;
}

static int begin(struct object *backend, unsigned reactor, bool force, struct ticket ticket,
                 struct err *err)
{
    struct graph *graph = backend->graph;
    if (reactor >= graph_threads(graph))
        return err_field(err, "reactor", -EINVAL,
                         "backend '%s' can't move to reactor %u: the reactors are 0 to %u",
                         graph_name(backend), reactor, graph_threads(graph) - 1);
    struct move *move = add(graph, backend, reactor, force);
    move->ticket = ticket;
    try(move);
    return 0;
}

int graph_backend_move(struct graph *graph, const Sluice__BackendMove *spec, struct ticket ticket,
                       struct err *err)
{
    struct object *backend = graph_there(graph, BACKEND, spec->name, "name", err);
    return backend ? begin(backend, spec->reactor, spec->force, ticket, err) : err->code;
}

void graph_on_claim_move(struct actor *self, struct mail *mail)
{
    const Sluice__ClaimMove *asked = (const Sluice__ClaimMove *)mail->body;
    const struct object *claim = graph_find_claim(actor_state(self), asked->claim);
    struct err err = {0};
    if (!claim)
        err_set(&err, -ENXIO, "there is no claim %llu any more; open the backend again",
                (unsigned long long)asked->claim);
    else
        begin(claim->standing.to[0], asked->reactor, asked->force, mail_ticket(mail), &err);
    if (err.code)
        actor_refuse(self, mail_ticket(mail), &err);
}

/* --- Media */

static bool others_hold(const struct object *backend)
{
    const struct table *table = &backend->graph->tables[BACKEND];
    for (size_t i = 0; i < table->n; i++)
        if (table->all[i]->marked && table->all[i] != backend)
            return true;
    return false;
}

/* Nothing is in flight in a backend without a medium, nor in nodes that nobody else has. */
void graph_join(struct object *backend, void (*then)(struct object *backend))
{
    struct graph *graph = backend->graph;
    unsigned reactor = backend->reactor;
    graph_mark_connected(backend);
    backend->marked = false;
    bool all = all_free(graph) && check_blocked(graph, NULL) == 0;
    backend->marked = true;
    if (!all) { /* they stay apart, which works too */
        then(backend);
        return;
    }
    if (others_hold(backend)) { /* it goes to them */
        reactor = backend->standing.to[0]->reactor;
        for (size_t i = 0; i < graph->tables[NODE].n; i++)
            graph->tables[NODE].all[i]->marked = false;
        for (size_t i = 0; i < graph->tables[BACKEND].n; i++)
            graph->tables[BACKEND].all[i]->marked = graph->tables[BACKEND].all[i] == backend;
    }
    struct move *move = add(graph, backend, reactor, true);
    move->then = then;
    take_marked(move);
    quiet(move);
}

void graph_part(struct object *backend, struct object *node, void (*then)(struct object *backend))
{
    struct graph *graph = node->graph;
    graph_mark_connected(node);
    if (others_hold(node) || !all_free(graph) || check_blocked(graph, NULL) < 0) {
        then(backend);
        return;
    }
    struct move *move = add(graph, backend, node->home, true);
    move->then = then;
    take_marked(move);
    quiet(move);
}

/* --- The rest */

void graph_moves_go(struct graph *graph)
{
    if (graph->settling)
        return;
    graph->settling = true;
    for (struct move *move = graph->moves, *next; move; move = next) {
        next = move->next;
        if (!move->begun)
            try(move);
    }
    graph->settling = false;
}

void graph_settled(struct graph *graph)
{
    graph_moves_go(graph);
    if (graph->settling)
        return;
    graph_sweep(graph);
    graph_evict(graph);
    if (graph->ending)
        graph_step_end(graph);
}

void graph_moves_refuse(struct graph *graph)
{
    struct err err = {0};
    graph_refuse_ending(graph, &err);
    for (struct move *move = graph->moves, *next; move; move = next) {
        next = move->next;
        if (move->begun)
            continue;
        unlink_move(move);
        actor_refuse(graph->self, move->ticket, &err);
        free(move);
    }
}

void graph_moves_free(struct graph *graph)
{
    struct move *move;
    while ((move = graph->moves)) {
        graph->moves = move->next;
        free(move);
    }
}
