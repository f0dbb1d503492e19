/* check.h — packed messages from outside, looked at before they are unpacked.
 *
 * protobuf-c checks neither UTF-8 nor depth nor counts nor enums, takes the last of several bodies,
 * and says nothing of what was wrong. A message that passes here unpacks into memory in proportion
 * to its size, with every string ended by its only zero byte. */
#ifndef SLUICE_CHECK_H
#define SLUICE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <protobuf-c/protobuf-c.h>

#include "proto/refusal.h"

#define CHECK_DEPTH  16   /* messages within messages */
#define CHECK_VALUES 4096 /* values of one repeated field of a message from a client */

enum check_source {
    CHECK_CLIENT, /* strict: what is not known is refused, and so is a field given twice */
    CHECK_SERVER, /* a newer server may send fields, values and more of them than we know */
};

/* Checks `size` bytes against `type`. Returns 0, or -EINVAL and a sentence that names the field. */
int check_wire(const ProtobufCMessageDescriptor *type, const void *data, size_t size,
               enum check_source source, struct refusal *refusal);

/* check_wire, then unpacks; null with a refusal. Free with
 * protobuf_c_message_free_unpacked(message, NULL). */
void *check_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t size,
                   enum check_source source, struct refusal *refusal);

/* The `id` of a packed Request that may be broken further on; 0 when it can't be read. */
uint64_t check_request_id(const void *data, size_t size);

/* Whether it is UTF-8 without a zero byte. */
bool check_utf8(const char *text, size_t size);

#endif
