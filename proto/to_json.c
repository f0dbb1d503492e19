/* to_json.c — the half of convert.h that makes JSON values of messages. */
#include "proto/convert.h"

#include <stdlib.h>
#include <string.h>
#include <json-c/json.h>

#include "proto/base64.h"
#include "proto/reflect.h"

static struct json_object *bytes_to_json(const ProtobufCBinaryData *bytes)
{
    struct json_object *object = json_object_new_object();
    char *text = base64_encode(bytes->data, bytes->len);
    json_object_object_add(object, "base64", json_object_new_string(text));
    free(text);
    return object;
}

static struct json_object *enum_to_json(const ProtobufCEnumDescriptor *type, int number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    /* A newer peer may know more of them. */
    return value ? json_object_new_string(value->name) : json_object_new_int(number);
}

static struct json_object *value_to_json(const ProtobufCFieldDescriptor *field, const void *place)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_object_new_int(*(const int32_t *)place);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return json_object_new_int64(*(const int64_t *)place);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_object_new_int64(*(const uint32_t *)place);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_object_new_uint64(*(const uint64_t *)place);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_object_new_double((double)*(const float *)place);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_object_new_double(*(const double *)place);
    case PROTOBUF_C_TYPE_BOOL:
        return json_object_new_boolean(*(const protobuf_c_boolean *)place);
    case PROTOBUF_C_TYPE_ENUM:
        return enum_to_json(field->descriptor, *(const int *)place);
    case PROTOBUF_C_TYPE_STRING:
        return json_object_new_string(*(char *const *)place);
    case PROTOBUF_C_TYPE_BYTES:
        return bytes_to_json(place);
    case PROTOBUF_C_TYPE_MESSAGE:
        return convert_to_json(*(ProtobufCMessage *const *)place);
    }
    abort();
}

static struct json_object *options_to_json(const ProtobufCMessage *message,
                                           const ProtobufCFieldDescriptor *field)
{
    struct json_object *object = json_object_new_object();
    for (size_t i = 0; i < reflect_count(message, field); i++) {
        const Sluice__Option *option = *(Sluice__Option **)reflect_place(message, field, i);
        json_object_object_add(object, option->key, json_object_new_string(option->value));
    }
    return object;
}

static struct json_object *list_to_json(const ProtobufCMessage *message,
                                        const ProtobufCFieldDescriptor *field)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < reflect_count(message, field); i++)
        json_object_array_add(list, value_to_json(field, reflect_place(message, field, i)));
    return list;
}

struct json_object *convert_to_json(const ProtobufCMessage *message)
{
    struct json_object *object = json_object_new_object();
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        struct json_object *value;
        if (reflect_is_options(field))
            value = options_to_json(message, field);
        else if (field->label == PROTOBUF_C_LABEL_REPEATED)
            value = list_to_json(message, field);
        else if (reflect_count(message, field) || field->default_value)
            value = value_to_json(field, reflect_place(message, field, 0));
        else
            continue;
        json_object_object_add(object, field->name, value);
    }
    return object;
}

char *convert_reply(const Sluice__Reply *reply)
{
    const ProtobufCFieldDescriptor *body = reflect_body(&reply->base);
    struct json_object *object = json_object_new_object();
    if (body) {
        struct json_object *inner = value_to_json(body, reflect_place(&reply->base, body, 0));
        if (reply->body_case == SLUICE__REPLY__BODY_ERROR) {
            json_object_object_add(object, body->name, inner);
        } else {
            json_object_put(object);
            object = inner;
        }
    }
    char *text = strdup(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
                                                                   JSON_C_TO_STRING_SPACED |
                                                                   JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(object);
    if (!text)
        abort();
    return text;
}
