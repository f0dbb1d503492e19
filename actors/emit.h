/* emit.h — telling of an event. Epoch, sequence and time are filled in by the events actor.
 *
 * What objects tell goes through the graph, which passes it on: so a status is exact at its
 * sequence number, and what happened earlier is told earlier. */
#ifndef SLUICE_EMIT_H
#define SLUICE_EMIT_H

#include "actors/kinds.h"

/* The mail that tells of it. `body` is the message of the field `what`, and is taken over. */
Sluice__Emit *emit_make(const char *source_kind, const char *source,
                        Sluice__Event__Severity severity, Sluice__Event__BodyCase what, void *body);

/* Tells it; for everyone but the graph. */
void emit_event(struct actor *self, const char *source_kind, const char *source,
                Sluice__Event__Severity severity, Sluice__Event__BodyCase what, void *body);

#endif
