/* convert.h — messages to and from JSON values, by their descriptors.
 *
 * A message is an object whose keys are the fields' names (`-` and `_` are the same on the way in).
 * Any scalar may be written as text: numbers with size suffixes (units.h), switches as on or off,
 * enum values by name. Bytes are a text, taken as it stands, or {"base64": TEXT}; on the way out
 * they are always the latter, so that a program finds one form. Options (`repeated Option`) are
 * keys of the message itself on the way in, or an object `options`; nested ones are joined with
 * dots. On the way out they are the object `options`. */
#ifndef SLUICE_CONVERT_H
#define SLUICE_CONVERT_H

#include <protobuf-c/protobuf-c.h>

#include "control.pb-c.h"
#include "proto/refusal.h"

struct json_object;

#define CONVERT_DEPTH 16          /* objects within objects */
#define CONVERT_TEXT  (64 * 1024) /* bytes of one string */

/* The message that `object` describes; null is an empty object. `what` names it in sentences:
 * "node-add". Returns null with a refusal for an unknown name (and tells the known ones), a value
 * of the wrong form or out of range, or a required field that is missing. Free with
 * protobuf_c_message_free_unpacked(message, NULL). */
void *convert_from_json(const ProtobufCMessageDescriptor *type, const char *what,
                        struct json_object *object, struct refusal *refusal);

/* The request with this body (a field of Request's oneof). Free with
 * sluice__request__free_unpacked(request, NULL). */
Sluice__Request *convert_request(const ProtobufCFieldDescriptor *body, struct json_object *object,
                                 struct refusal *refusal);

/* Fields that are set, and those that have a default. Never null; free with json_object_put(). */
struct json_object *convert_to_json(const ProtobufCMessage *message);

/* A reply as JSON text: its body, {} when it only says done, {"error": …} for an error. On the
 * heap. */
char *convert_reply(const Sluice__Reply *reply);

#endif
