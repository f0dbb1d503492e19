#include "actors/emit.h"

Sluice__Emit *emit_make(const char *source_kind, const char *source,
                        Sluice__Event__Severity severity, Sluice__Event__BodyCase what, void *body)
{
    Sluice__Event *event = MAIL_NEW(sluice__event);
    mail_set(&event->source_kind, source_kind);
    mail_set(&event->source, source);
    event->has_severity = severity != SLUICE__EVENT__SEVERITY__INFO;
    event->severity = severity;
    event->body_case = what;
    event->node_added = body; /* all cases hold one pointer */
    Sluice__Emit *emit = MAIL_NEW(sluice__emit);
    emit->event = event;
    return emit;
}

void emit_event(struct actor *self, const char *source_kind, const char *source,
                Sluice__Event__Severity severity, Sluice__Event__BodyCase what, void *body)
{
    actor_tell(self, world(self)->graph, MAIL_EMIT,
               emit_make(source_kind, source, severity, what, body));
}
