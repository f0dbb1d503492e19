/* render.h — replies and events for people, by their descriptors.
 *
 * A list is a table, of which a column appears only when it tells something: when some row has a
 * value that is not the field's default. What is wide (options, capabilities) is left to the block
 * of the object itself. One object is a block of "key: value" lines. Sizes are human-readable (they
 * are known by the field's name: bytes, length, size, …); `--json` has the exact ones. */
#ifndef SLUICE_RENDER_H
#define SLUICE_RENDER_H

#include <stdio.h>

#include "control.pb-c.h"
#include "event.pb-c.h"

/* A message as a block or a table; prints nothing for one without fields. */
void render_message(FILE *out, const ProtobufCMessage *message);

/* The body of a reply; nothing for `done`. Errors are the caller's. */
void render_reply(FILE *out, const Sluice__Reply *reply);

/* One line: number, local time, topic, source, and what the body tells. */
void render_event(FILE *out, const Sluice__Event *event);

/* An event's topic: the name of its body's field in capitals; "" without a body. Returns `out`. */
#define RENDER_TOPIC 64
char *render_topic(const Sluice__Event *event, char out[RENDER_TOPIC]);

#endif
