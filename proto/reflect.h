/* reflect.h — messages by their descriptors: what protobuf-c leaves to generated code.
 *
 * Values are reached by place: a pointer to the C member (a uint32_t, a char *, a message pointer,
 * …) that the descriptor tells the type of. */
#ifndef SLUICE_REFLECT_H
#define SLUICE_REFLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <protobuf-c/protobuf-c.h>

/* Whether two names are the same: `-` and `_` are, and letters are as they are. */
bool reflect_same_name(const char *a, const char *b);
/* The same of words for values, where capitals are as small letters. */
bool reflect_same_word(const char *a, const char *b);

/* The field with this name, or null. */
const ProtobufCFieldDescriptor *reflect_field(const ProtobufCMessageDescriptor *type,
                                              const char *name);

/* Its name as people write it, with `-`. Returns `out`. */
#define REFLECT_NAME 64
char *reflect_name(const char *name, char out[REFLECT_NAME]);

/* A value of an enum as people write it, in small letters and with `-`. Returns `out`. */
char *reflect_word(const char *value, char out[REFLECT_NAME]);

/* Whether a field's number is of bytes, or of nanoseconds: its name tells ("size", "…_bytes";
 * "…_ns"). */
bool reflect_is_size(const ProtobufCFieldDescriptor *field);
bool reflect_is_duration(const ProtobufCFieldDescriptor *field);

/* Names of the fields (or of an enum's values), "a, b, c", cut when they do not fit. Those of a
 * oneof only, or those outside of one only, with `oneof`. Returns `out`. */
char *reflect_names(const ProtobufCMessageDescriptor *type, bool oneof, char *out, size_t size);
char *reflect_values(const ProtobufCEnumDescriptor *type, char *out, size_t size);

/* Whether a field holds options: `repeated Option …`, which texts write as keys of their own. */
bool reflect_is_options(const ProtobufCFieldDescriptor *field);

/* The field with options of a message that has one, or null. */
const ProtobufCFieldDescriptor *reflect_options(const ProtobufCMessageDescriptor *type);

/* A message on the heap, with defaults; aborts without memory. Free it with
 * protobuf_c_message_free_unpacked(message, NULL). */
void *reflect_new(const ProtobufCMessageDescriptor *type);

/* How many values the field holds: 0 or 1, more for a repeated one. */
size_t reflect_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

/* The place of value `i`; also of a field that is not set, where the default stands. */
void *reflect_place(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                    size_t i);

/* Makes the field set, adds a value to a repeated one, and returns the place of it, all zero. What
 * a singular field held is freed; another field of the same oneof is not. */
void *reflect_set(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

/* The field of the message's oneof that is set, or null. */
const ProtobufCFieldDescriptor *reflect_body(const ProtobufCMessage *message);

#endif
