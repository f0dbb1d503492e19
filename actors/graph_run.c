/* graph_run.c — the engine's run state, and changes that objects make by themselves when asked. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "actors/emit.h"
#include "actors/reply.h"
#include "engine/mem.h"

/* --- One object */

struct asker {
    struct ticket ticket;
    enum object_kind kind;
    uint64_t id;
    /* What the graph itself keeps of it, when that is done. */
    bool has_allow, allow;
    bool joins;    /* then it is told of its throttle group, which answers */
    bool quietens; /* it gets quiet */
};

/* What the object has done is told as done. */
static void changed(struct actor *self, struct mail *reply, void *arg)
{
    struct asker *asker = arg;
    struct object *object = graph_find_id(actor_state(self), asker->kind, asker->id);
    struct err err = {0};
    if (asker->quietens && object)
        graph_let_through_end(object);
    if (mail_fault(reply)) {
        mail_fault_err(reply, &err);
        if (asker->joins && object)
            graph_join_undo(object);
        actor_refuse(self, asker->ticket, &err);
    } else {
        if (asker->has_allow && object)
            object->allow_inactivate = asker->allow;
        if (asker->joins && object)
            graph_join_go(object, asker->ticket);
        else
            actor_reply(self, asker->ticket, MAIL_REPLY, reply_done());
    }
    graph_unkeep(asker);
}

static void ask(const struct object *object, unsigned mail, void *body, struct asker how)
{
    struct asker *asker = GRAPH_KEEP(object->graph, struct asker, NULL);
    *asker = how;
    asker->kind = object->kind;
    asker->id = object->id;
    actor_ask(object->graph->self, object->address, mail, body, changed, asker);
}

int graph_pass_on(struct graph *graph, enum object_kind kind, const char *name, unsigned mail,
                  void *body, struct ticket ticket, struct err *err)
{
    const struct object *object = graph_there(graph, kind, name, "name", err);
    if (!object) {
        mail_free_body(body);
        return err->code;
    }
    ask(object, mail, body, (struct asker){.ticket = ticket});
    return 0;
}

int graph_node_set(struct graph *graph, const Sluice__NodeSet *set, struct ticket ticket,
                   struct err *err)
{
    struct object *node = graph_there(graph, NODE, set->name, "name", err);
    if (!node)
        return err->code;
    const char *group = graph_group_option(node->driver, set->options, set->n_options);
    if (group && !*group)
        return err_field(err, "throttle-group", -EINVAL,
                         "node '%s' can't be in no throttle group, because it throttles; name "
                         "another one, or remove the node",
                         node->name);
    int joins = group ? graph_join_begin(node, group, "throttle-group", err) : 0;
    if (joins < 0)
        return joins;
    ask(node, MAIL_NODE_SET, mail_copy(set), (struct asker){.ticket = ticket, .joins = joins});
    return 0;
}

int graph_backend_set(struct graph *graph, const Sluice__BackendSet *set, struct ticket ticket,
                      struct err *err)
{
    struct object *backend = graph_there(graph, BACKEND, set->name, "name", err);
    if (!backend)
        return err->code;
    int joins = set->throttle ? graph_join_begin(backend, set->throttle, "throttle", err) : 0;
    if (joins < 0)
        return joins;
    ask(backend, MAIL_BACKEND_SET, mail_copy(set),
        (struct asker){.ticket = ticket,
                       .has_allow = set->has_allow_inactivate,
                       .allow = set->allow_inactivate,
                       .joins = joins});
    return 0;
}

static Sluice__Pause *pause_mail(bool on, bool engine)
{
    Sluice__Pause *pause = MAIL_NEW(sluice__pause);
    pause->on = on;
    pause->engine = engine;
    pause->has_error = true;
    pause->error = !on;
    return pause;
}

static void pause_backend(struct object *backend, bool on, struct ticket ticket)
{
    if (on)
        graph_let_through(backend);
    ask(backend, MAIL_PAUSE, pause_mail(on, false),
        (struct asker){.ticket = ticket, .quietens = on});
}

int graph_backend_pause(struct graph *graph, const char *name, bool on, struct ticket ticket,
                        struct err *err)
{
    struct object *backend = graph_there(graph, BACKEND, name, "name", err);
    if (backend)
        pause_backend(backend, on, ticket);
    return err->code;
}

void graph_on_claim_pause(struct actor *self, struct mail *mail)
{
    const Sluice__ClaimPause *asked = (const Sluice__ClaimPause *)mail->body;
    const struct object *claim = graph_find_claim(actor_state(self), asked->claim);
    struct err err = {0};
    if (claim) {
        pause_backend(claim->standing.to[0], asked->on, mail_ticket(mail));
        return;
    }
    err_set(&err, -ENXIO, "there is no claim %llu any more; open the backend again",
            (unsigned long long)asked->claim);
    actor_refuse(self, mail_ticket(mail), &err);
}

/* --- All backends */

struct round {
    struct graph *graph;
    struct ticket ticket;
    size_t outstanding;
};

static void round_end(struct round *round)
{
    struct graph *graph = round->graph;
    if (--round->outstanding)
        return;
    actor_reply(graph->self, round->ticket, MAIL_REPLY, reply_done());
    graph_unkeep(round);
    graph->gathers--;
    graph_settled(graph);
}

struct part {
    struct round *round;
    uint64_t id;
    bool quietens;
};

/* One that is gone by now is paused enough. */
static void obeyed(struct actor *self, struct mail *reply, void *arg)
{
    struct part *part = arg;
    struct object *backend = graph_find_id(actor_state(self), BACKEND, part->id);
    (void)reply;
    if (part->quietens && backend)
        graph_let_through_end(backend);
    round_end(part->round);
    graph_unkeep(part);
}

static void tell(struct graph *graph, Sluice__Event__BodyCase what, const char *backend,
                 const char *reason)
{
    Sluice__RunEvent *event = MAIL_NEW(sluice__run_event);
    if (backend)
        mail_set(&event->backend, backend);
    if (reason)
        mail_set(&event->reason, reason);
    graph_emit(graph, emit_make("engine", "engine", SLUICE__EVENT__SEVERITY__INFO, what, event));
}

/* Backends that are being opened know the state from their opening. */
static void run_all(struct graph *graph, bool on, struct ticket ticket)
{
    struct round *round = GRAPH_KEEP(graph, struct round, NULL);
    *round = (struct round){graph, ticket, 1};
    graph->gathers++;
    const struct table *table = &graph->tables[BACKEND];
    for (size_t i = 0; i < table->n; i++) {
        struct part *part = GRAPH_KEEP(graph, struct part, NULL);
        *part = (struct part){round, table->all[i]->id, on};
        round->outstanding++;
        if (on)
            graph_let_through(table->all[i]);
        actor_ask(graph->self, table->all[i]->address, MAIL_PAUSE, pause_mail(on, true), obeyed,
                  part);
    }
    round_end(round);
}

void graph_pause(struct graph *graph, const char *backend, const char *reason, struct ticket ticket)
{
    if (!graph->paused) {
        graph->paused = true;
        tell(graph, SLUICE__EVENT__BODY_STOP, backend, reason);
    }
    run_all(graph, true, ticket);
}

void graph_set_running(struct graph *graph)
{
    if (!graph->paused && !graph->incoming)
        return;
    graph->paused = graph->incoming = false;
    tell(graph, SLUICE__EVENT__BODY_RESUME, NULL, NULL);
}

void graph_run_backends(struct graph *graph, struct ticket ticket)
{
    run_all(graph, false, ticket);
}

void graph_resume(struct graph *graph, struct ticket ticket)
{
    graph_set_running(graph);
    graph_run_backends(graph, ticket);
}
