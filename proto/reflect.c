#include "proto/reflect.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.pb-c.h"

static int plain(char c)
{
    return c == '-' ? '_' : c;
}

bool reflect_same_name(const char *a, const char *b)
{
    while (*a && plain(*a) == plain(*b))
        a++, b++;
    return plain(*a) == plain(*b);
}

bool reflect_same_word(const char *a, const char *b)
{
    while (*a && tolower((unsigned char)plain(*a)) == tolower((unsigned char)plain(*b)))
        a++, b++;
    return !*a && !*b;
}

const ProtobufCFieldDescriptor *reflect_field(const ProtobufCMessageDescriptor *type,
                                              const char *name)
{
    for (unsigned i = 0; i < type->n_fields; i++)
        if (reflect_same_name(type->fields[i].name, name))
            return &type->fields[i];
    return NULL;
}

char *reflect_name(const char *name, char out[REFLECT_NAME])
{
    snprintf(out, REFLECT_NAME, "%s", name);
    for (char *c = out; *c; c++)
        if (*c == '_')
            *c = '-';
    return out;
}

static void join(char *out, size_t size, const char *name)
{
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s%s", used ? ", " : "", name);
}

char *reflect_names(const ProtobufCMessageDescriptor *type, bool oneof, char *out, size_t size)
{
    char name[REFLECT_NAME];
    *out = '\0';
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        bool in_oneof = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
        if (in_oneof == oneof && !reflect_is_options(field))
            join(out, size, reflect_name(field->name, name));
    }
    return out;
}

char *reflect_values(const ProtobufCEnumDescriptor *type, char *out, size_t size)
{
    *out = '\0';
    for (unsigned i = 0; i < type->n_values; i++)
        join(out, size, type->values[i].name);
    return out;
}

char *reflect_word(const char *value, char out[REFLECT_NAME])
{
    size_t i = 0;
    for (; i < REFLECT_NAME - 1 && value[i]; i++)
        out[i] = value[i] == '_' ? '-' : (char)tolower((unsigned char)value[i]);
    out[i] = '\0';
    return out;
}

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), of_end = strlen(end);
    return length > of_end && strcmp(name + length - of_end, end) == 0;
}

bool reflect_is_size(const ProtobufCFieldDescriptor *field)
{
    static const char *const names[] = {"bytes",        "length", "size",      "alignment",
                                        "max_transfer", "speed",  "iops_size", "bps"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(field->name, names[i]) == 0)
            return true;
    if (strncmp(field->name, "bps_", 4) == 0) /* a rate; a burst's length is in seconds */
        return !ends_with(field->name, "_length");
    return ends_with(field->name, "_bytes");
}

bool reflect_is_duration(const ProtobufCFieldDescriptor *field)
{
    return ends_with(field->name, "_ns");
}

bool reflect_is_options(const ProtobufCFieldDescriptor *field)
{
    return field->label == PROTOBUF_C_LABEL_REPEATED && field->type == PROTOBUF_C_TYPE_MESSAGE &&
           field->descriptor == &sluice__option__descriptor;
}

const ProtobufCFieldDescriptor *reflect_options(const ProtobufCMessageDescriptor *type)
{
    for (unsigned i = 0; i < type->n_fields; i++)
        if (reflect_is_options(&type->fields[i]))
            return &type->fields[i];
    return NULL;
}

static void *or_abort(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

void *reflect_new(const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = or_abort(calloc(1, type->sizeof_message));
    protobuf_c_message_init(type, message);
    return message;
}

static size_t value_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 8;
    }
}

static void *member(const ProtobufCMessage *message, size_t offset)
{
    return (unsigned char *)(uintptr_t)message + offset;
}

size_t reflect_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *place = member(message, field->offset);
    const void *quantifier = member(message, field->quantifier_offset);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)quantifier;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *(const uint32_t *)quantifier != field->id)
        return 0;
    if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE) {
        const void *value = *(void *const *)place;
        return value && value != field->default_value;
    }
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL && !(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return *(const protobuf_c_boolean *)quantifier != 0;
    return 1;
}

void *reflect_place(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                    size_t i)
{
    void *place = member(message, field->offset);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(unsigned char **)place + i * value_size(field);
    return place;
}

static void free_value(const ProtobufCFieldDescriptor *field, void *place)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        if (*(ProtobufCMessage **)place)
            protobuf_c_message_free_unpacked(*(ProtobufCMessage **)place, NULL);
    } else if (field->type == PROTOBUF_C_TYPE_STRING) {
        if (*(char **)place != field->default_value)
            free(*(char **)place);
    } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
        free(((ProtobufCBinaryData *)place)->data);
    }
}

void *reflect_set(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    void *place = member(message, field->offset);
    void *quantifier = member(message, field->quantifier_offset);
    size_t size = value_size(field);
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t *count = quantifier;
        /* Grows by doubling: the room is always the power of two at or above the count. */
        if ((*count & (*count - 1)) == 0) {
            size_t room = *count ? *count * 2 : 1;
            *(void **)place = or_abort(realloc(*(void **)place, room * size));
        }
        place = *(unsigned char **)place + (*count)++ * size;
    } else {
        if (reflect_count(message, field))
            free_value(field, place);
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            *(uint32_t *)quantifier = field->id;
        else if (field->label == PROTOBUF_C_LABEL_OPTIONAL &&
                 field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE)
            *(protobuf_c_boolean *)quantifier = 1;
    }
    memset(place, 0, size);
    return place;
}

const ProtobufCFieldDescriptor *reflect_body(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++)
        if ((type->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
            reflect_count(message, &type->fields[i]))
            return &type->fields[i];
    return NULL;
}
