#include "proto/check.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "control.pb-c.h"
#include "proto/reflect.h"

#define MAX_FIELDS 128 /* of one message type */

struct reader {
    const uint8_t *at, *end;
};

struct context {
    enum check_source source;
    unsigned depth;
    struct refusal *refusal;
};

static bool read_varint(struct reader *in, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && in->at < in->end; shift += 7) {
        uint8_t byte = *in->at++;
        if (shift == 63 && byte > 1)
            return false;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

/* Reads a field's value: a number, or `body` for a length-prefixed one. */
static bool read_value(struct reader *in, unsigned wire, uint64_t *number, struct reader *body)
{
    size_t left = (size_t)(in->end - in->at);
    switch (wire) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return read_varint(in, number);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
    case PROTOBUF_C_WIRE_TYPE_32BIT: {
        size_t size = wire == PROTOBUF_C_WIRE_TYPE_64BIT ? 8 : 4;
        if (left < size)
            return false;
        *number = 0;
        memcpy(number, in->at, size);
        in->at += size;
        return true;
    }
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        if (!read_varint(in, number) || *number > (size_t)(in->end - in->at))
            return false;
        *body = (struct reader){in->at, in->at + *number};
        in->at += *number;
        return true;
    default:
        return false; /* groups are not spoken here */
    }
}

static unsigned wire_type(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

bool check_utf8(const char *text, size_t size)
{
    const uint8_t *at = (const uint8_t *)text, *end = at + size;
    while (at < end) {
        uint8_t lead = *at++;
        if (lead == 0)
            return false;
        if (lead < 0x80)
            continue;
        unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || (size_t)(end - at) < more)
            return false;
        uint32_t code = lead & (0x3fu >> more);
        for (; more; more--, at++) {
            if ((*at & 0xc0) != 0x80)
                return false;
            code = code << 6 | (*at & 0x3f);
        }
        bool overlong = (lead == 0xe0 && code < 0x800) || (lead == 0xf0 && code < 0x10000);
        if (overlong || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return false;
    }
    return true;
}

static bool in_range(const ProtobufCFieldDescriptor *field, uint64_t number)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_SINT32:
        return number <= UINT32_MAX;
    case PROTOBUF_C_TYPE_INT32:
        return (int64_t)number >= INT32_MIN && (int64_t)number <= INT32_MAX;
    case PROTOBUF_C_TYPE_BOOL:
        return number <= 1;
    default:
        return true;
    }
}

static int check_message(const ProtobufCMessageDescriptor *type, const char *what, struct reader in,
                         struct context *context);

static int check_value(const ProtobufCFieldDescriptor *field, const char *what, uint64_t number,
                       struct reader body, struct context *context)
{
    size_t size = (size_t)(body.end - body.at);
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        if (!check_utf8((const char *)body.at, size))
            return refusal_set(context->refusal, field->name,
                               "%s: %s is not text in UTF-8 without zero bytes", what, field->name);
        return 0;
    case PROTOBUF_C_TYPE_MESSAGE: {
        const char *inner = field->label == PROTOBUF_C_LABEL_REPEATED ? what : field->name;
        return check_message(field->descriptor, inner, body, context);
    }
    case PROTOBUF_C_TYPE_ENUM:
        if (context->source == CHECK_CLIENT &&
            (number > INT32_MAX ||
             !protobuf_c_enum_descriptor_get_value(field->descriptor, (int)number)))
            return refusal_set(context->refusal, field->name, "%s: %s has no value %llu", what,
                               field->name, (unsigned long long)number);
        return 0;
    default:
        if (!in_range(field, number))
            return refusal_set(context->refusal, field->name, "%s: %s is out of its type's range",
                               what, field->name);
        return 0;
    }
}

/* A repeated scalar may come packed: many values in one length-prefixed body. */
static int check_packed(const ProtobufCFieldDescriptor *field, const char *what, struct reader body,
                        uint32_t *values, struct context *context)
{
    while (body.at < body.end) {
        uint64_t number = 0;
        struct reader none = {0};
        if (!read_value(&body, wire_type(field), &number, &none))
            return refusal_set(context->refusal, field->name, "%s: %s ends in mid-value", what,
                               field->name);
        int ret = check_value(field, what, number, none, context);
        if (ret)
            return ret;
        ++*values;
    }
    return 0;
}

/* What holds for the message as a whole, when all its fields have been seen. */
static int check_counts(const ProtobufCMessageDescriptor *type, const char *what,
                        const uint32_t *values, struct context *context)
{
    unsigned bodies = 0;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (field->label == PROTOBUF_C_LABEL_REQUIRED && values[i] == 0)
            return refusal_set(context->refusal, field->name, "%s needs %s, which is missing", what,
                               field->name);
        if (context->source == CHECK_SERVER)
            continue;
        if (field->label == PROTOBUF_C_LABEL_REPEATED && values[i] > CHECK_VALUES)
            return refusal_set(context->refusal, field->name,
                               "%s: %s has %u values; %u are the most", what, field->name,
                               values[i], CHECK_VALUES);
        if (field->label != PROTOBUF_C_LABEL_REPEATED && values[i] > 1)
            return refusal_set(context->refusal, field->name, "%s: %s is given %u times", what,
                               field->name, values[i]);
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && values[i] && ++bodies > 1)
            return refusal_set(context->refusal, field->name,
                               "%s has more than one body; %s is one too many", what, field->name);
    }
    return 0;
}

static int check_field(const ProtobufCMessageDescriptor *type, const char *what, uint64_t key,
                       struct reader *in, uint32_t *values, struct context *context)
{
    uint64_t number = 0;
    struct reader body = {0};
    unsigned wire = key & 7;
    if (key >> 3 == 0 || key >> 3 > 0x1fffffff || !read_value(in, wire, &number, &body))
        return refusal_set(context->refusal, NULL, "%s is no message: it ends in mid-field", what);

    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(type, (unsigned)(key >> 3));
    if (!field) {
        if (context->source == CHECK_SERVER)
            return 0;
        return refusal_set(context->refusal, NULL, "%s has no field number %llu", what,
                           (unsigned long long)(key >> 3));
    }
    uint32_t *count = &values[field - type->fields];
    if (wire != wire_type(field)) {
        if (field->label == PROTOBUF_C_LABEL_REPEATED &&
            wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            return check_packed(field, what, body, count, context);
        return refusal_set(context->refusal, field->name, "%s: %s is not of its type", what,
                           field->name);
    }
    ++*count;
    return check_value(field, what, number, body, context);
}

static int check_message(const ProtobufCMessageDescriptor *type, const char *what, struct reader in,
                         struct context *context)
{
    uint32_t values[MAX_FIELDS] = {0};
    assert(type->n_fields <= MAX_FIELDS);
    if (++context->depth > CHECK_DEPTH)
        return refusal_set(context->refusal, NULL, "%s is nested more than %u deep", what,
                           CHECK_DEPTH);
    while (in.at < in.end) {
        uint64_t key;
        if (!read_varint(&in, &key))
            return refusal_set(context->refusal, NULL, "%s is no message: it ends in mid-field",
                               what);
        int ret = check_field(type, what, key, &in, values, context);
        if (ret)
            return ret;
    }
    context->depth--;
    return check_counts(type, what, values, context);
}

int check_wire(const ProtobufCMessageDescriptor *type, const void *data, size_t size,
               enum check_source source, struct refusal *refusal)
{
    struct context context = {.source = source, .refusal = refusal};
    const uint8_t *start = data;
    return check_message(type, type->short_name, (struct reader){start, start + size}, &context);
}

void *check_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t size,
                   enum check_source source, struct refusal *refusal)
{
    if (check_wire(type, data, size, source, refusal))
        return NULL;
    void *message = protobuf_c_message_unpack(type, NULL, size, data);
    if (!message)
        refusal_set(refusal, NULL, "%s is no message of its type", type->short_name);
    return message;
}

uint64_t check_request_id(const void *data, size_t size)
{
    const uint8_t *start = data;
    struct reader in = {start, start + size}, body;
    uint64_t key, number, id = 0;
    while (in.at < in.end && read_varint(&in, &key) && read_value(&in, key & 7, &number, &body))
        if (key == (1 << 3 | PROTOBUF_C_WIRE_TYPE_VARINT))
            id = number;
    return id;
}
