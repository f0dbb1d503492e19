/* graph_tray.c — consoles open and close trays, and eject media. The backend knows its device, and
 * decides; meanwhile nobody else changes the medium. */
#include "actors/graph_impl.h"

static void ask(struct object *backend, bool open, bool force, bool lenient, actor_reply_fn *then)
{
    Sluice__BackendTray *mail = MAIL_NEW(sluice__backend_tray);
    mail->open = open;
    mail->has_force = mail->has_lenient = true;
    mail->force = force;
    mail->lenient = lenient;
    backend->state = CHANGING;
    actor_ask(backend->graph->self, backend->address, MAIL_BACKEND_TRAY, mail, then, backend);
}

static void moved(struct actor *self, struct mail *reply, void *arg)
{
    struct err err = {0};
    (void)self;
    if (mail_fault(reply))
        mail_fault_err(reply, &err);
    graph_medium_done(arg, err.code ? &err : NULL);
}

int graph_medium_tray(struct graph *graph, const char *name, bool open, bool force,
                      struct ticket ticket, struct err *err)
{
    struct object *backend = graph_ready(graph, BACKEND, name, "backend", err);
    if (!backend)
        return err->code;
    backend->ticket = ticket;
    ask(backend, open, force, false, moved);
    return 0;
}

/* The tray is open, or there is none. */
static void opened(struct actor *self, struct mail *reply, void *arg)
{
    if (mail_fault(reply))
        moved(self, reply, arg);
    else
        graph_take_out(arg);
}

int graph_medium_eject(struct graph *graph, const Sluice__MediumTray *eject, struct ticket ticket,
                       struct err *err)
{
    struct object *backend = graph_ready(graph, BACKEND, eject->backend, "backend", err);
    if (!backend || graph_blocked(backend, SLUICE__OP_BLOCK__OPERATION__EJECT, err) < 0)
        return err->code;
    backend->ticket = ticket;
    ask(backend, true, eject->force, true, opened);
    return 0;
}
