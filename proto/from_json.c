/* from_json.c — the half of convert.h that makes messages of JSON values. */
#include "proto/convert.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json-c/json.h>

#include "proto/base64.h"
#include "proto/check.h"
#include "proto/reflect.h"
#include "proto/units.h"

struct state {
    const char *what; /* names the message in sentences */
    unsigned depth;
    struct refusal *refusal;
};

/* `text` in a sentence; a long one is cut. */
#define SHOWN "\"%.60s\""

static int fill(ProtobufCMessage *message, struct json_object *object, struct state *state);

static const char *form_of(struct json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_null:
        return "nothing";
    case json_type_object:
        return "an object";
    case json_type_array:
        return "a list";
    default:
        return json_object_get_string(value);
    }
}

static int wrong_form(const ProtobufCFieldDescriptor *field, struct json_object *value,
                      const char *expected, struct state *state)
{
    return refusal_set(state->refusal, field->name, "%s: %s is " SHOWN ", but must be %s",
                       state->what, field->name, form_of(value), expected);
}

static int check_bounds(const ProtobufCFieldDescriptor *field, struct json_object *value, int ret,
                        int64_t min, uint64_t max, struct state *state)
{
    if (ret == -ERANGE)
        return refusal_set(state->refusal, field->name,
                           "%s: %s is " SHOWN ", but must be from %" PRId64 " to %" PRIu64,
                           state->what, field->name, form_of(value), min, max);
    if (ret)
        return wrong_form(field, value,
                          "a whole number, or one with K, M, G, T, P or E (powers of 1024)", state);
    return 0;
}

static int parse_unsigned(const ProtobufCFieldDescriptor *field, struct json_object *value,
                          uint64_t max, uint64_t *out, struct state *state)
{
    int ret = -EINVAL;
    if (json_object_is_type(value, json_type_string)) {
        const char *text = json_object_get_string(value);
        int64_t negative;
        ret = units_parse_size(text, out);
        if (ret == -EINVAL && units_parse_signed(text, &negative) != -EINVAL)
            ret = -ERANGE;
    } else if (json_object_is_type(value, json_type_int)) {
        *out = json_object_get_uint64(value);
        ret = json_object_get_int64(value) < 0 ? -ERANGE : 0;
    }
    if (!ret && *out > max)
        ret = -ERANGE;
    return check_bounds(field, value, ret, 0, max, state);
}

static int parse_signed(const ProtobufCFieldDescriptor *field, struct json_object *value,
                        int64_t min, int64_t max, int64_t *out, struct state *state)
{
    int ret = -EINVAL;
    if (json_object_is_type(value, json_type_string)) {
        ret = units_parse_signed(json_object_get_string(value), out);
    } else if (json_object_is_type(value, json_type_int)) {
        *out = json_object_get_int64(value);
        ret = *out >= 0 && json_object_get_uint64(value) != (uint64_t)*out ? -ERANGE : 0;
    }
    if (!ret && (*out < min || *out > max))
        ret = -ERANGE;
    return check_bounds(field, value, ret, min, (uint64_t)max, state);
}

static int parse_double(const ProtobufCFieldDescriptor *field, struct json_object *value,
                        double *out, struct state *state)
{
    errno = 0;
    *out = json_object_get_double(value); /* a string must be used up, or it sets errno */
    if (errno || (!json_object_is_type(value, json_type_string) &&
                  !json_object_is_type(value, json_type_int) &&
                  !json_object_is_type(value, json_type_double)))
        return wrong_form(field, value, "a number", state);
    return 0;
}

static int parse_bool(const ProtobufCFieldDescriptor *field, struct json_object *value,
                      protobuf_c_boolean *out, struct state *state)
{
    bool on;
    if (json_object_is_type(value, json_type_boolean))
        on = json_object_get_boolean(value);
    else if (json_object_is_type(value, json_type_object) ||
             json_object_is_type(value, json_type_array) || !value ||
             units_parse_switch(json_object_get_string(value), &on))
        return wrong_form(field, value, UNITS_SWITCH_FORM, state);
    *out = on;
    return 0;
}

static int parse_enum(const ProtobufCFieldDescriptor *field, struct json_object *value, int *out,
                      struct state *state)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    char known[200] = "one of ";
    if (json_object_is_type(value, json_type_string))
        for (unsigned i = 0; i < type->n_values; i++)
            if (reflect_same_word(type->values[i].name, json_object_get_string(value))) {
                *out = type->values[i].value;
                return 0;
            }
    reflect_values(type, known + 7, sizeof known - 7);
    return wrong_form(field, value, known, state);
}

/* The text of a scalar, which must be UTF-8, without zero bytes and of bounded length. */
static int text_of(const char *key, struct json_object *value, char **out, struct state *state)
{
    const char *text;
    size_t length;
    switch (json_object_get_type(value)) {
    case json_type_string:
        text = json_object_get_string(value);
        length = (size_t)json_object_get_string_len(value);
        break;
    case json_type_boolean:
        text = json_object_get_boolean(value) ? "on" : "off";
        length = strlen(text);
        break;
    case json_type_int:
    case json_type_double:
        text = json_object_get_string(value);
        length = strlen(text);
        break;
    default:
        return refusal_set(state->refusal, key, "%s: %s is %s, but must be a text", state->what,
                           key, form_of(value));
    }
    if (length > CONVERT_TEXT)
        return refusal_set(state->refusal, key, "%s: %s is %zu bytes long; %d are the most",
                           state->what, key, length, CONVERT_TEXT);
    if (!check_utf8(text, length))
        return refusal_set(state->refusal, key, "%s: %s is not text in UTF-8 without zero bytes",
                           state->what, key);
    *out = strdup(text);
    if (!*out)
        abort();
    return 0;
}

static int parse_bytes(const ProtobufCFieldDescriptor *field, struct json_object *value,
                       ProtobufCBinaryData *out, struct state *state)
{
    struct json_object *base64;
    if (json_object_is_type(value, json_type_string)) {
        out->len = (size_t)json_object_get_string_len(value);
        out->data = malloc(out->len + 1);
        if (!out->data)
            abort();
        memcpy(out->data, json_object_get_string(value), out->len);
        return 0;
    }
    if (json_object_is_type(value, json_type_object) && json_object_object_length(value) == 1 &&
        json_object_object_get_ex(value, "base64", &base64) &&
        json_object_is_type(base64, json_type_string)) {
        out->data = base64_decode(json_object_get_string(base64),
                                  (size_t)json_object_get_string_len(base64), &out->len);
        if (out->data)
            return 0;
        return refusal_set(state->refusal, field->name, "%s: %s is not base64", state->what,
                           field->name);
    }
    return wrong_form(field, value, "a text, or {\"base64\": TEXT}", state);
}

static int parse_message(const ProtobufCFieldDescriptor *field, struct json_object *value,
                         ProtobufCMessage **out, struct state *state)
{
    if (value && !json_object_is_type(value, json_type_object))
        return wrong_form(field, value, "an object", state);
    *out = reflect_new(field->descriptor);
    return fill(*out, value, state);
}

static int parse_value(const ProtobufCFieldDescriptor *field, struct json_object *value,
                       void *place, struct state *state)
{
    uint64_t number = 0;
    int64_t integer = 0;
    double real = 0;
    int ret;
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        ret = parse_unsigned(field, value, UINT32_MAX, &number, state);
        *(uint32_t *)place = (uint32_t)number;
        return ret;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return parse_unsigned(field, value, UINT64_MAX, place, state);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        ret = parse_signed(field, value, INT32_MIN, INT32_MAX, &integer, state);
        *(int32_t *)place = (int32_t)integer;
        return ret;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return parse_signed(field, value, INT64_MIN, INT64_MAX, place, state);
    case PROTOBUF_C_TYPE_DOUBLE:
        return parse_double(field, value, place, state);
    case PROTOBUF_C_TYPE_FLOAT:
        ret = parse_double(field, value, &real, state);
        *(float *)place = (float)real;
        return ret;
    case PROTOBUF_C_TYPE_BOOL:
        return parse_bool(field, value, place, state);
    case PROTOBUF_C_TYPE_ENUM:
        return parse_enum(field, value, place, state);
    case PROTOBUF_C_TYPE_STRING:
        return text_of(field->name, value, place, state);
    case PROTOBUF_C_TYPE_BYTES:
        return parse_bytes(field, value, place, state);
    case PROTOBUF_C_TYPE_MESSAGE:
        return parse_message(field, value, place, state);
    }
    abort();
}

/* Adds a value to the options; what is nested becomes several, their keys joined with dots. */
static int add_option(ProtobufCMessage *message, const ProtobufCFieldDescriptor *options,
                      const char *key, struct json_object *value, struct state *state)
{
    int ret = 0;
    char name[256];
    if (state->depth + 1 > CONVERT_DEPTH)
        return refusal_set(state->refusal, key, "%s: %.60s is nested more than %d deep",
                           state->what, key, CONVERT_DEPTH);
    state->depth++;
    if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, inner, item)
        {
            if (ret)
                break;
            if (snprintf(name, sizeof name, "%s.%s", key, inner) >= (int)sizeof name)
                ret = refusal_set(state->refusal, key, "%s: %.60s… is too long a name", state->what,
                                  key);
            else
                ret = add_option(message, options, name, item, state);
        }
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value) && !ret; i++) {
            snprintf(name, sizeof name, "%.200s.%zu", key, i);
            ret = add_option(message, options, name, json_object_array_get_idx(value, i), state);
        }
    } else if (reflect_count(message, options) >= CHECK_VALUES) {
        ret = refusal_set(state->refusal, key, "%s has more than %d options", state->what,
                          CHECK_VALUES);
    } else if (!check_utf8(key, strlen(key))) {
        ret = refusal_set(state->refusal, NULL, "%s: an option's name is not UTF-8", state->what);
    } else {
        Sluice__Option *option = reflect_new(&sluice__option__descriptor);
        *(Sluice__Option **)reflect_set(message, options) = option;
        option->key = strdup(key);
        ret = text_of(key, value, &option->value, state);
    }
    state->depth--;
    return ret;
}

static int add_options(ProtobufCMessage *message, const ProtobufCFieldDescriptor *options,
                       struct json_object *object, struct state *state)
{
    json_object_object_foreach(object, key, value)
    {
        int ret = add_option(message, options, key, value, state);
        if (ret)
            return ret;
    }
    return 0;
}

static int set_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                     struct json_object *value, struct state *state)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        const ProtobufCFieldDescriptor *body =
            field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? reflect_body(message) : NULL;
        if (body)
            return refusal_set(state->refusal, field->name, "%s: %s and %s exclude each other",
                               state->what, body->name, field->name);
        return parse_value(field, value, reflect_set(message, field), state);
    }
    if (!json_object_is_type(value, json_type_array))
        return parse_value(field, value, reflect_set(message, field), state);
    size_t n = json_object_array_length(value);
    if (n > CHECK_VALUES)
        return refusal_set(state->refusal, field->name, "%s: %s has %zu values; %d are the most",
                           state->what, field->name, n, CHECK_VALUES);
    for (size_t i = 0; i < n; i++) {
        int ret = parse_value(field, json_object_array_get_idx(value, i),
                              reflect_set(message, field), state);
        if (ret)
            return ret;
    }
    return 0;
}

/* How often the object has the field, under whichever spelling. */
static unsigned times_given(struct json_object *object, const char *name)
{
    unsigned times = 0;
    if (!object)
        return 0;
    json_object_object_foreach(object, key, value)
    {
        (void)value;
        times += reflect_same_name(key, name);
    }
    return times;
}

static int check_given(const ProtobufCMessageDescriptor *type, struct json_object *object,
                       struct state *state)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        unsigned times = times_given(object, field->name);
        if (times > 1)
            return refusal_set(state->refusal, field->name, "%s: %s is given twice", state->what,
                               field->name);
        if (times == 0 && field->label == PROTOBUF_C_LABEL_REQUIRED)
            return refusal_set(state->refusal, field->name, "%s needs %s, which is missing",
                               state->what, field->name);
    }
    return 0;
}

static int fill_field(ProtobufCMessage *message, const char *key, struct json_object *value,
                      struct state *state)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const ProtobufCFieldDescriptor *options = reflect_options(type);
    const ProtobufCFieldDescriptor *field = reflect_field(type, key);
    if (field && field != options)
        return set_field(message, field, value, state);
    if (field && json_object_is_type(value, json_type_object))
        return add_options(message, options, value, state);
    if (options)
        return add_option(message, options, key, value, state);
    char names[300];
    reflect_names(type, false, names, sizeof names);
    if (*names)
        return refusal_set(state->refusal, key, "%s has no field \"%.60s\"; it takes %s",
                           state->what, key, names);
    return refusal_set(state->refusal, key, "%s takes nothing, but \"%.60s\" is given", state->what,
                       key);
}

static int fill(ProtobufCMessage *message, struct json_object *object, struct state *state)
{
    int ret = 0;
    if (++state->depth > CONVERT_DEPTH)
        return refusal_set(state->refusal, NULL, "%s is nested more than %d deep", state->what,
                           CONVERT_DEPTH);
    if (object) {
        json_object_object_foreach(object, key, value)
        {
            ret = fill_field(message, key, value, state);
            if (ret)
                return ret;
        }
    }
    state->depth--;
    return check_given(message->descriptor, object, state);
}

/* A message that was given up half-way may lack required texts; the free function does not mind. */
void *convert_from_json(const ProtobufCMessageDescriptor *type, const char *what,
                        struct json_object *object, struct refusal *refusal)
{
    struct state state = {.what = what, .refusal = refusal};
    if (object && !json_object_is_type(object, json_type_object)) {
        refusal_set(refusal, NULL, "%s must be an object (fields with values), not " SHOWN, what,
                    form_of(object));
        return NULL;
    }
    ProtobufCMessage *message = reflect_new(type);
    if (fill(message, object, &state)) {
        protobuf_c_message_free_unpacked(message, NULL);
        return NULL;
    }
    return message;
}

Sluice__Request *convert_request(const ProtobufCFieldDescriptor *body, struct json_object *object,
                                 struct refusal *refusal)
{
    char what[REFLECT_NAME];
    ProtobufCMessage *message =
        convert_from_json(body->descriptor, reflect_name(body->name, what), object, refusal);
    if (!message)
        return NULL;
    Sluice__Request *request = reflect_new(&sluice__request__descriptor);
    *(ProtobufCMessage **)reflect_set(&request->base, body) = message;
    return request;
}
