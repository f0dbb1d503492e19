#include "proto/config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json-c/json.h>
#include <yaml.h>

#include "proto/check.h"
#include "proto/convert.h"
#include "proto/reflect.h"

struct loader {
    yaml_parser_t yaml;
    yaml_event_t event; /* the one that is looked at */
    unsigned depth, values;
    bool no_yaml; /* the text is not YAML at all */
    struct refusal *refusal;
};

/* A value carries the line that it starts in, as json-c's user data. */
static struct json_object *at_line(struct json_object *value, size_t line)
{
    if (value)
        json_object_set_userdata(value, (void *)(uintptr_t)line, NULL);
    return value;
}

static unsigned line_of(struct json_object *value)
{
    return value ? (unsigned)(uintptr_t)json_object_get_userdata(value) : 0;
}

static size_t event_line(const struct loader *loader)
{
    return loader->event.start_mark.line + 1;
}

static int next(struct loader *loader)
{
    yaml_event_delete(&loader->event);
    if (yaml_parser_parse(&loader->yaml, &loader->event))
        return 0;
    const yaml_mark_t *mark = &loader->yaml.problem_mark;
    memset(&loader->event, 0, sizeof loader->event);
    loader->no_yaml = true;
    return refusal_set(loader->refusal, NULL, "line %zu: %s (column %zu)", mark->line + 1,
                       loader->yaml.problem ? loader->yaml.problem
                                            : "this is neither YAML nor JSON",
                       mark->column + 1);
}

static int load_value(struct loader *loader, struct json_object **out);

/* What the present event is adorned with that is not taken, or null. */
static const char *decoration(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return "aliases";
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor ? "anchors" : event->data.scalar.tag ? "tags" : NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor ? "anchors"
               : event->data.sequence_start.tag  ? "tags"
                                                 : NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor ? "anchors"
               : event->data.mapping_start.tag  ? "tags"
                                                : NULL;
    default:
        return NULL;
    }
}

static int check_plain(const struct loader *loader)
{
    const char *refused = decoration(&loader->event);
    if (!refused)
        return 0;
    return refusal_set(loader->refusal, NULL,
                       "line %zu: %s are not taken here; write the value out", event_line(loader),
                       refused);
}

static int load_scalar(struct loader *loader, struct json_object **out)
{
    const char *text = (const char *)loader->event.data.scalar.value;
    size_t length = loader->event.data.scalar.length;
    bool plain = loader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (!check_utf8(text, length))
        return refusal_set(loader->refusal, NULL,
                           "line %zu: this is not text in UTF-8 without zero bytes",
                           event_line(loader));
    if (plain && length == 0)
        *out = NULL;
    else
        *out = at_line(json_object_new_string_len(text, (int)length), event_line(loader));
    return 0;
}

static int load_list(struct loader *loader, struct json_object **out)
{
    *out = at_line(json_object_new_array(), event_line(loader));
    for (;;) {
        struct json_object *value = NULL;
        int ret = next(loader);
        if (ret)
            return ret;
        if (loader->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        ret = load_value(loader, &value);
        json_object_array_add(*out, value);
        if (ret)
            return ret;
    }
}

static int load_map(struct loader *loader, struct json_object **out)
{
    *out = at_line(json_object_new_object(), event_line(loader));
    for (;;) {
        struct json_object *value = NULL;
        int ret = next(loader);
        if (ret)
            return ret;
        if (loader->event.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (loader->event.type != YAML_SCALAR_EVENT)
            return refusal_set(loader->refusal, NULL, "line %zu: a key must be a word",
                               event_line(loader));
        ret = check_plain(loader);
        if (ret)
            return ret;
        const char *text = (const char *)loader->event.data.scalar.value;
        size_t line = event_line(loader);
        if (!check_utf8(text, loader->event.data.scalar.length))
            return refusal_set(loader->refusal, NULL, "line %zu: a key is not text in UTF-8", line);
        if (json_object_object_get_ex(*out, text, NULL))
            return refusal_set(loader->refusal, text, "line %zu: %.60s is given twice", line, text);
        char *key = strdup(text);
        if (!key)
            abort();
        ret = next(loader);
        if (!ret)
            ret = load_value(loader, &value);
        json_object_object_add(*out, key, value);
        free(key);
        if (ret)
            return ret;
    }
}

/* What the present event begins; `out` owns what was made of it, also after a failure. */
static int load_value(struct loader *loader, struct json_object **out)
{
    int ret = check_plain(loader);
    if (ret)
        return ret;
    if (++loader->values > CONFIG_VALUES)
        return refusal_set(loader->refusal, NULL, "line %zu: more than %d values in one file",
                           event_line(loader), CONFIG_VALUES);
    if (loader->depth >= CONFIG_DEPTH)
        return refusal_set(loader->refusal, NULL, "line %zu: nested more than %d deep",
                           event_line(loader), CONFIG_DEPTH);
    loader->depth++;
    if (loader->event.type == YAML_SCALAR_EVENT)
        ret = load_scalar(loader, out);
    else if (loader->event.type == YAML_SEQUENCE_START_EVENT)
        ret = load_list(loader, out);
    else
        ret = load_map(loader, out);
    loader->depth--;
    return ret;
}

static int load_document(struct loader *loader, struct json_object **out)
{
    int ret = next(loader); /* stream start */
    if (!ret)
        ret = next(loader); /* document start, or the end of an empty stream */
    if (ret || loader->event.type == YAML_STREAM_END_EVENT)
        return ret;
    ret = next(loader);
    if (!ret)
        ret = load_value(loader, out);
    if (!ret)
        ret = next(loader); /* document end */
    if (!ret)
        ret = next(loader);
    if (!ret && loader->event.type != YAML_STREAM_END_EVENT)
        ret = refusal_set(loader->refusal, NULL, "line %zu: a second document begins here",
                          event_line(loader));
    return ret;
}

/* JSON writes what lies beyond 16 bits as two escapes, which YAML does not know: what YAML refuses
 * may still be JSON. */
static struct json_object *load_json(const char *text, size_t size)
{
    struct json_tokener *tokener = json_tokener_new_ex(CONFIG_DEPTH);
    if (!tokener)
        abort();
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *root = json_tokener_parse_ex(tokener, text, (int)size);
    json_tokener_free(tokener);
    return root;
}

static int load(const char *text, size_t size, struct json_object **out, struct refusal *refusal)
{
    struct loader loader = {.refusal = refusal};
    if (!yaml_parser_initialize(&loader.yaml))
        abort();
    yaml_parser_set_encoding(&loader.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&loader.yaml, (const unsigned char *)text, size);
    int ret = load_document(&loader, out);
    struct json_object *json = loader.no_yaml ? load_json(text, size) : NULL;
    if (json) {
        json_object_put(*out);
        *out = json;
        ret = 0;
    }
    yaml_event_delete(&loader.event);
    yaml_parser_delete(&loader.yaml);
    return ret;
}

static int add_item(struct config *config, struct json_object *value, unsigned line,
                    struct refusal *refusal)
{
    struct refusal inner;
    if (!json_object_is_type(value, json_type_object) || json_object_object_length(value) != 1)
        return refusal_set(refusal, NULL,
                           "line %u: a request must be one key with its fields below it, as in "
                           "\"- node-add: {driver: null, name: n}\"",
                           line);
    json_object_object_foreach(value, name, fields)
    {
        const ProtobufCFieldDescriptor *body = reflect_field(&sluice__request__descriptor, name);
        if (!body || !(body->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
            char names[400];
            return refusal_set(
                refusal, NULL, "line %u: the request \"%.40s\" is unknown; known are: %s", line,
                name, reflect_names(&sluice__request__descriptor, true, names, sizeof names));
        }
        /* "null" is a text like others (and a driver), but as a request's body it is none. */
        bool empty = json_object_is_type(fields, json_type_string) &&
                     strcmp(json_object_get_string(fields), "null") == 0;
        Sluice__Request *request = convert_request(body, empty ? NULL : fields, &inner);
        if (!request)
            return refusal_set(refusal, inner.field, "line %u: %s", line, inner.text);
        config->items[config->n++] = (struct config_item){request, line};
    }
    return 0;
}

static int add_items(struct config *config, struct json_object *root, struct refusal *refusal)
{
    struct json_object *list = root;
    if (json_object_is_type(root, json_type_object)) {
        if (json_object_object_length(root) != 1 ||
            !json_object_object_get_ex(root, "requests", &list))
            return refusal_set(refusal, NULL,
                               "line %u: a file is a list of requests, or the key \"requests\" "
                               "with such a list",
                               line_of(root));
    }
    if (!list) /* an empty file asks nothing */
        return 0;
    if (!json_object_is_type(list, json_type_array))
        return refusal_set(refusal, NULL, "line %u: a file must be a list of requests",
                           line_of(list));
    size_t n = json_object_array_length(list);
    config->items = calloc(n + 1, sizeof *config->items);
    if (!config->items)
        abort();
    for (size_t i = 0; i < n; i++) {
        struct json_object *value = json_object_array_get_idx(list, i);
        int ret = add_item(config, value, value ? line_of(value) : line_of(list), refusal);
        if (ret)
            return ret;
    }
    return 0;
}

int config_parse(const char *text, size_t size, struct config *config, struct refusal *refusal)
{
    struct json_object *root = NULL;
    *config = (struct config){0};
    if (size > CONFIG_SIZE)
        return refusal_set(refusal, NULL, "line 1: %zu bytes are too many; %d are the most", size,
                           CONFIG_SIZE);
    int ret = load(text, size, &root, refusal);
    if (!ret)
        ret = add_items(config, root, refusal);
    json_object_put(root);
    if (ret)
        config_free(config);
    return ret;
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < config->n; i++)
        sluice__request__free_unpacked(config->items[i].request, NULL);
    free(config->items);
    *config = (struct config){0};
}
