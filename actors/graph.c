/* graph.c — the graph's requests, its end, its life. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "actors/reactor_info.h"
#include "engine/clock.h"
#include "engine/mem.h"
#include "engine/reactor.h"

#define CLOSE_AGAIN (10 * NS_PER_MS) /* until one that was busy is asked again to close */
#define ABORT_TIME  (2 * NS_PER_S)   /* for closing after everyone was told to abort */

/* --- The end */

/* Whoever waits for one that is left. */
static void refuse_left(struct object *object)
{
    struct err err = {0};
    err_set(&err, -ESHUTDOWN, "the engine has ended before %s '%s' could be %s",
            graph_words[object->kind], graph_name(object),
            object->state == CLOSING    ? "removed"
            : object->state == CHANGING ? "changed"
                                        : "added");
    actor_refuse(object->graph->self, ticket_take(&object->ticket), &err);
    if (object->kind == GROUP)
        graph_enablers_refuse(object, &err);
}

static void end(struct graph *graph)
{
    for (size_t i = 0; i < graph->enders; i++)
        actor_reply(graph->self, graph->ender[i], MAIL_NONE, NULL);
    for (unsigned i = 0; i < graph_threads(graph); i++)
        actor_tell(graph->self, graph->reactors[i], MAIL_CLOSE, NULL);
    timer_cancel(reactor_timers(actor_reactor(graph->self)), &graph->again);
    graph->ending = false;
    actor_stop(graph->self);
}

/* Something does not end: whoever waits for that, or for anything else, hears that it won't. */
static void end_by_force(struct graph *graph)
{
    struct err err = {0};
    for (unsigned kind = 0; kind < OBJECT_KINDS; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++)
            refuse_left(graph->tables[kind].all[i]);
    graph_evictions_free(graph, true);
    end(graph);
    err_set(&err, -ESHUTDOWN,
            "the engine has ended before this was done, and what has been done of it is not known; "
            "start the engine again, and look");
    actor_refuse_rest(graph->self, &err);
}

void graph_step_end(struct graph *graph)
{
    size_t left = graph->gathers + (graph->changes != NULL) + graph_throttle_step_end(graph);
    for (unsigned kind = 0; kind < HOSTED_KINDS; kind++) {
        struct table *table = &graph->tables[kind];
        left += table->n;
        for (size_t i = 0; i < table->n; i++)
            if (table->all[i]->state == READY && !table->all[i]->embedded &&
                !graph_first_user(table->all[i]))
                graph_close_object(table->all[i], (struct ticket){0});
    }
    if (!left && graph->enders)
        end(graph);
}

static void abort_all(struct graph *graph)
{
    graph->aborted = true;
    for (unsigned kind = 0; kind < HOSTED_KINDS; kind++)
        for (size_t i = 0; i < graph->tables[kind].n; i++)
            actor_tell(graph->self, graph->tables[kind].all[i]->address, MAIL_ABORT, NULL);
}

static void fire(struct timer *timer)
{
    struct graph *graph = (struct graph *)((char *)timer - offsetof(struct graph, again));
    struct reactor *reactor = actor_reactor(graph->self);
    uint64_t now = reactor_now(reactor);
    if (now >= graph->deadline) {
        if (graph->aborted && graph->enders) {
            end_by_force(graph);
            return;
        }
        if (!graph->aborted)
            abort_all(graph);
        graph->deadline = now + ABORT_TIME;
    }
    timer_arm(reactor_timers(reactor), &graph->again, now + CLOSE_AGAIN);
    graph_step_end(graph);
}

static void add_ender(struct graph *graph, struct ticket ticket)
{
    if (!ticket.correlation)
        return;
    graph->ender = mem_resize(graph->ender, (graph->enders + 1) * sizeof *graph->ender);
    graph->ender[graph->enders++] = ticket;
}

/* Told, it begins the end; asked, it also answers and ends itself when all is gone. Until then,
 * frontends may come to close their sessions. */
static void on_shutdown(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    struct reactor *reactor = actor_reactor(self);
    uint64_t wait = ((Sluice__Shutdown *)mail->body)->deadline, now = reactor_now(reactor);
    add_ender(graph, mail_ticket(mail));
    if (!graph->ending) {
        graph->ending = true;
        graph_moves_refuse(graph);
        graph->deadline = wait > UINT64_MAX - now ? UINT64_MAX : now + wait;
        timer_arm(reactor_timers(reactor), &graph->again, now + CLOSE_AGAIN);
        for (size_t i = 0; i < graph->tables[BACKEND].n; i++)
            graph_look_abandoned(graph->tables[BACKEND].all[i]);
    } else if (graph->aborted) {
        graph->deadline = now + ABORT_TIME;
    }
    graph_step_end(graph);
}

/* --- Requests */

int graph_refuse_ending(const struct graph *graph, struct err *err)
{
    return graph->ending
               ? err_set(err, -ESHUTDOWN, "the engine is shutting down; it takes no more requests")
               : 0;
}

static int perform(struct graph *graph, const Sluice__Request *request, struct ticket ticket,
                   struct err *err)
{
    switch (request->body_case) {
    case SLUICE__REQUEST__BODY_STATUS:
        graph_status(graph, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_PAUSE:
        graph_pause(graph, NULL, "asked for", ticket);
        return 0;
    case SLUICE__REQUEST__BODY_RESUME:
        if (graph->incoming)
            return graph_leave_incoming(graph, ticket, err);
        graph_resume(graph, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_BACKEND_INACTIVATE:
        return graph_activate(graph, request->backend_inactivate->name, false, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_ACTIVATE:
        return graph_activate(graph, request->backend_activate->name, true, ticket, err);
    case SLUICE__REQUEST__BODY_INACTIVATE:
        return graph_activate(graph, NULL, false, ticket, err);
    case SLUICE__REQUEST__BODY_ACTIVATE:
        return graph_activate(graph, NULL, true, ticket, err);
    case SLUICE__REQUEST__BODY_NODE_ADD:
        return graph_node_add(graph, request->node_add, ticket, err);
    case SLUICE__REQUEST__BODY_NODE_LIST:
        graph_list(graph, NODE, !request->node_list->roots, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_NODE_SHOW:
        return graph_show(graph, NODE, request->node_show->name, ticket, err);
    case SLUICE__REQUEST__BODY_NODE_REMOVE:
        return graph_remove(graph, NODE, request->node_remove->name, ticket, err);
    case SLUICE__REQUEST__BODY_NODE_SET:
        return graph_node_set(graph, request->node_set, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_ADD:
        return graph_backend_add(graph, request->backend_add, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_LIST:
        graph_list(graph, BACKEND, request->backend_list->all, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_BACKEND_SHOW:
        return graph_show(graph, BACKEND, request->backend_show->name, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_REMOVE:
        return graph_remove(graph, BACKEND, request->backend_remove->name, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_SET:
        return graph_backend_set(graph, request->backend_set, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_PAUSE:
        return graph_backend_pause(graph, request->backend_pause->name, true, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_RESUME:
        return graph_backend_pause(graph, request->backend_resume->name, false, ticket, err);
    case SLUICE__REQUEST__BODY_MEDIUM_INSERT:
        return graph_medium_insert(graph, request->medium_insert, ticket, err);
    case SLUICE__REQUEST__BODY_MEDIUM_REMOVE:
        return graph_medium_remove(graph, request->medium_remove->backend, ticket, err);
    case SLUICE__REQUEST__BODY_MEDIUM_OPEN_TRAY:
        return graph_medium_tray(graph, request->medium_open_tray->backend, true,
                                 request->medium_open_tray->force, ticket, err);
    case SLUICE__REQUEST__BODY_MEDIUM_CLOSE_TRAY:
        return graph_medium_tray(graph, request->medium_close_tray->backend, false, false, ticket,
                                 err);
    case SLUICE__REQUEST__BODY_MEDIUM_CHANGE:
        return graph_medium_change(graph, request->medium_change, ticket, err);
    case SLUICE__REQUEST__BODY_MEDIUM_EJECT:
        return graph_medium_eject(graph, request->medium_eject, ticket, err);
    case SLUICE__REQUEST__BODY_DEVICE_ADD:
        return graph_device_add(graph, request->device_add, ticket, err);
    case SLUICE__REQUEST__BODY_DEVICE_LIST:
        graph_list(graph, DEVICE, true, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_DEVICE_SHOW:
        return graph_show(graph, DEVICE, request->device_show->name, ticket, err);
    case SLUICE__REQUEST__BODY_DEVICE_REMOVE:
        return graph_remove(graph, DEVICE, request->device_remove->name, ticket, err);
    case SLUICE__REQUEST__BODY_DEVICE_SET:
        return graph_device_set(graph, request->device_set, ticket, err);
    case SLUICE__REQUEST__BODY_MEDIUM_REMOVE_ALL:
        graph_medium_remove_all(graph, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_INVALIDATE_CACHE:
        return graph_invalidate(graph, request->invalidate_cache->name, ticket, err);
    case SLUICE__REQUEST__BODY_COMMIT:
        return graph_commit(graph, request->commit, ticket, err);
    case SLUICE__REQUEST__BODY_COMMIT_ALL:
        graph_commit_all(graph, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_JOB_LIST:
        graph_list(graph, JOB, true, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_JOB_SHOW:
        return graph_show(graph, JOB, request->job_show->name, ticket, err);
    case SLUICE__REQUEST__BODY_JOB_PAUSE:
        return graph_job_pause(graph, request->job_pause->name, true, ticket, err);
    case SLUICE__REQUEST__BODY_JOB_RESUME:
        return graph_job_pause(graph, request->job_resume->name, false, ticket, err);
    case SLUICE__REQUEST__BODY_JOB_CANCEL:
        return graph_job_cancel(graph, request->job_cancel, ticket, err);
    case SLUICE__REQUEST__BODY_JOB_SET:
        return graph_job_set(graph, request->job_set, ticket, err);
    case SLUICE__REQUEST__BODY_OP_BLOCK:
        return graph_op_block(graph, request->op_block, true, ticket, err);
    case SLUICE__REQUEST__BODY_OP_UNBLOCK:
        return graph_op_block(graph, request->op_unblock, false, ticket, err);
    case SLUICE__REQUEST__BODY_THROTTLE_ADD:
        return graph_throttle_add(graph, request->throttle_add, ticket, err);
    case SLUICE__REQUEST__BODY_THROTTLE_SET:
        return graph_throttle_set(graph, request->throttle_set, ticket, err);
    case SLUICE__REQUEST__BODY_THROTTLE_LIST:
        graph_list(graph, GROUP, true, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_THROTTLE_SHOW:
        return graph_show(graph, GROUP, request->throttle_show->name, ticket, err);
    case SLUICE__REQUEST__BODY_THROTTLE_REMOVE:
        return graph_throttle_remove(graph, request->throttle_remove->name, ticket, err);
    case SLUICE__REQUEST__BODY_EXPORT_ADD:
        return graph_export_add(graph, request->export_add, ticket, err);
    case SLUICE__REQUEST__BODY_BACKEND_MOVE:
        return graph_backend_move(graph, request->backend_move, ticket, err);
    case SLUICE__REQUEST__BODY_EXPORT_LIST:
        graph_list(graph, EXPORT, true, ticket);
        return 0;
    case SLUICE__REQUEST__BODY_EXPORT_SHOW:
        return graph_show(graph, EXPORT, request->export_show->name, ticket, err);
    case SLUICE__REQUEST__BODY_EXPORT_REMOVE:
        return graph_remove(graph, EXPORT, request->export_remove->name, ticket, err);
    default:
        return err_set(err, -ENOTSUP, "the graph does not take this request; ask control");
    }
}

static void on_request(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    struct err err = {0};
    if (graph_refuse_ending(graph, &err) < 0 ||
        perform(graph, (Sluice__Request *)mail->body, mail_ticket(mail), &err) < 0)
        actor_refuse(self, mail_ticket(mail), &err);
}

/* An error is to pause the whole engine. */
static void on_stop(struct actor *self, struct mail *mail)
{
    const Sluice__Stop *stop = (const Sluice__Stop *)mail->body;
    graph_pause(actor_state(self), stop->backend, stop->reason, (struct ticket){0});
}

/* --- Events */

void graph_emit(struct graph *graph, Sluice__Emit *emit)
{
    graph->told++;
    actor_tell(graph->self, world(graph->self)->events, MAIL_EMIT, emit);
}

static void on_emit(struct actor *self, struct mail *mail)
{
    graph_emit(actor_state(self), (Sluice__Emit *)mail->body);
    mail->body = NULL;
}

/* --- Life */

static void graph_init(struct actor *self)
{
    struct graph *graph = actor_state(self);
    graph->self = self;
    graph->started = reactor_now(actor_reactor(self));
    graph->again.fire = fire;
    graph->incoming = world(self)->incoming;
    graph->last_change = &graph->changes;
    graph->reactors = mem_new(graph_threads(graph) * sizeof *graph->reactors);
    for (unsigned i = 0; i < graph_threads(graph); i++)
        graph->reactors[i] = actor_spawn(self, &reactor_info_type, "reactor", i);
}

static void graph_fini(struct actor *self)
{
    struct graph *graph = actor_state(self);
    timer_cancel(reactor_timers(actor_reactor(self)), &graph->again);
    for (unsigned kind = 0; kind < OBJECT_KINDS; kind++) {
        for (size_t i = 0; i < graph->tables[kind].n; i++)
            graph_object_free(graph->tables[kind].all[i]);
        free(graph->tables[kind].all);
    }
    graph_moves_free(graph);
    graph_active_fini(graph);
    graph_drain_free(graph);
    struct change *change;
    while ((change = graph->changes)) {
        graph->changes = change->next;
        free(change);
    }
    graph_evictions_free(graph, false);
    graph_keep_fini(graph);
    free(graph->ender);
    free(graph->reactors);
}

const struct actor_type graph_type = {
    .name = "graph",
    .size = sizeof(struct graph),
    .init = graph_init,
    .fini = graph_fini,
    .handlers =
        {
            [MAIL_REQUEST] = on_request,
            [MAIL_CLAIM_MOVE] = graph_on_claim_move,
            [MAIL_CLAIM_ALLOW] = graph_on_claim_allow,
            [MAIL_DRAIN] = graph_on_drain,
            [MAIL_REGION_END] = graph_on_drain_end,
            [MAIL_BLOCKERS] = graph_on_blockers,
            [MAIL_CLAIM] = graph_on_claim,
            [MAIL_CLAIM_SET] = graph_on_claim_set,
            [MAIL_CLAIM_END] = graph_on_claim_end,
            [MAIL_ATTACH] = graph_on_attach,
            [MAIL_CLAIM_REFS] = graph_on_claim_refs,
            [MAIL_BACKEND_NAME] = graph_on_backend_name,
            [MAIL_LOOK_UP] = graph_on_look_up,
            [MAIL_CLAIM_MEDIUM] = graph_on_claim_medium,
            [MAIL_CLAIM_PAUSE] = graph_on_claim_pause,
            [MAIL_CLAIM_INVALIDATE] = graph_on_claim_invalidate,
            [MAIL_JOB_ENDED] = graph_on_job_ended,
            [MAIL_IO_STATUS_RESET] = graph_on_io_status_reset,
            [MAIL_CLAIM_ACTIVITY] = graph_on_claim_activity,
            [MAIL_CLAIM_THROTTLE] = graph_on_claim_throttle,
            [MAIL_EMIT] = on_emit,
            [MAIL_STOP] = on_stop,
            [MAIL_SHUTDOWN] = on_shutdown,
        },
};
