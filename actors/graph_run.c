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
    /* What the graph itself keeps of it, when that is done. */
    bool has_allow, allow;
    char *name;
};

/* What the object has done is told as done. */
static void changed(struct actor *self, struct mail *reply, void *arg)
{
    struct asker *asker = arg;
    struct err err = {0};
    if (mail_fault(reply)) {
        mail_fault_err(reply, &err);
        actor_refuse(self, asker->ticket, &err);
    } else {
        struct object *backend =
            asker->has_allow ? graph_find(actor_state(self), BACKEND, asker->name) : NULL;
        if (backend)
            backend->allow_inactivate = asker->allow;
        actor_reply(self, asker->ticket, MAIL_REPLY, reply_done());
    }
    free(asker->name);
    free(asker);
}

int graph_pass_on(struct graph *graph, enum object_kind kind, const char *name, unsigned mail,
                  void *body, struct ticket ticket, struct err *err)
{
    struct object *object = graph_there(graph, kind, name, "name", err);
    if (!object) {
        mail_free_body(body);
        return err->code;
    }
    struct asker *asker = MEM_NEW(struct asker);
    *asker = (struct asker){.ticket = ticket};
    if (mail == MAIL_BACKEND_SET) {
        const Sluice__BackendSet *set = body;
        asker->has_allow = set->has_allow_inactivate;
        asker->allow = set->allow_inactivate;
        asker->name = mem_string(name);
    }
    actor_ask(graph->self, object->address, mail, body, changed, asker);
    return 0;
}

int graph_node_set(struct graph *graph, const Sluice__NodeSet *set, struct ticket ticket,
                   struct err *err)
{
    return graph_pass_on(graph, NODE, set->name, MAIL_NODE_SET, mail_copy(set), ticket, err);
}

int graph_backend_set(struct graph *graph, const Sluice__BackendSet *set, struct ticket ticket,
                      struct err *err)
{
    return graph_pass_on(graph, BACKEND, set->name, MAIL_BACKEND_SET, mail_copy(set), ticket, err);
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

int graph_backend_pause(struct graph *graph, const char *name, bool on, struct ticket ticket,
                        struct err *err)
{
    return graph_pass_on(graph, BACKEND, name, MAIL_PAUSE, pause_mail(on, false), ticket, err);
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
    free(round);
    graph->gathers--;
    graph_settled(graph);
}

/* One that is gone by now is paused enough. */
static void obeyed(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply;
    round_end(arg);
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
    struct round *round = MEM_NEW(struct round);
    *round = (struct round){graph, ticket, 1};
    graph->gathers++;
    const struct table *table = &graph->tables[BACKEND];
    for (size_t i = 0; i < table->n; i++) {
        round->outstanding++;
        actor_ask(graph->self, table->all[i]->address, MAIL_PAUSE, pause_mail(on, true), obeyed,
                  round);
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
