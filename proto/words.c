#include "proto/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json-c/json.h>

#include "proto/convert.h"
#include "proto/reflect.h"

static void add_word(struct words *words, const char *text, size_t length)
{
    char **grown = realloc(words->word, (words->n + 1) * sizeof *grown);
    char *word = strndup(text, length);
    if (!grown || !word)
        abort();
    words->word = grown;
    words->word[words->n++] = word;
}

void words_free(struct words *words)
{
    for (size_t i = 0; i < words->n; i++)
        free(words->word[i]);
    free(words->word);
    *words = (struct words){0};
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

int words_split(const char *line, struct words *words, struct refusal *refusal)
{
    *words = (struct words){0};
    char *buffer = malloc(strlen(line) + 1);
    if (!buffer)
        abort();
    for (const char *at = skip_blanks(line); *at; at = skip_blanks(at)) {
        size_t length = 0;
        char quote = 0;
        for (; *at && (quote || !strchr(" \t\r\n", *at)); at++) {
            bool escapes = *at == '\\' && at[1] &&
                           (!quote || (quote == '"' && (at[1] == '"' || at[1] == '\\')));
            if (escapes)
                buffer[length++] = *++at;
            else if (quote ? *at == quote : *at == '"' || *at == '\'')
                quote = quote ? 0 : *at;
            else
                buffer[length++] = *at;
        }
        if (quote) {
            free(buffer);
            words_free(words);
            return refusal_set(refusal, NULL, "the quote %c is not closed", quote);
        }
        add_word(words, buffer, length);
    }
    free(buffer);
    return 0;
}

void words_split_commas(const char *text, struct words *words)
{
    *words = (struct words){0};
    char *buffer = malloc(strlen(text) + 1);
    if (!buffer)
        abort();
    size_t length = 0;
    for (const char *at = text;; at++) {
        if (*at == ',' && at[1] == ',') {
            buffer[length++] = *at++;
        } else if (*at == ',' || !*at) {
            if (length)
                add_word(words, buffer, length);
            length = 0;
            if (!*at)
                break;
        } else {
            buffer[length++] = *at;
        }
    }
    free(buffer);
}

static const ProtobufCFieldDescriptor *find_request(const char *name)
{
    const ProtobufCFieldDescriptor *field = reflect_field(&sluice__request__descriptor, name);
    return field && (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ? field : NULL;
}

/* The verbs that go with an object: "add, list, show, remove" for "node". */
static char *verbs_of(const char *object, char *out, size_t size)
{
    size_t length = strlen(object);
    *out = '\0';
    for (unsigned i = 0; i < sluice__request__descriptor.n_fields; i++) {
        const char *name = sluice__request__descriptor.fields[i].name;
        if (strncmp(name, object, length) == 0 && name[length] == '_') {
            size_t used = strlen(out);
            snprintf(out + used, size - used, "%s%s", used ? ", " : "", name + length + 1);
        }
    }
    return out;
}

const ProtobufCFieldDescriptor *words_request_name(char *const *words, size_t n, size_t *used,
                                                   struct refusal *refusal)
{
    char text[400];
    if (n == 0) {
        refusal_set(refusal, NULL, "a request is needed: %s",
                    reflect_names(&sluice__request__descriptor, true, text, sizeof text));
        return NULL;
    }
    *used = 1;
    const ProtobufCFieldDescriptor *field = find_request(words[0]);
    if (!field && n > 1) {
        *used = 2;
        snprintf(text, sizeof text, "%.100s_%.100s", words[0], words[1]);
        field = find_request(text);
    }
    if (field)
        return field;
    if (*verbs_of(words[0], text, sizeof text))
        refusal_set(refusal, NULL, "%s%s%.40s is unknown; %s can be followed by: %s", words[0],
                    n > 1 ? " " : " alone", n > 1 ? words[1] : "", words[0], text);
    else
        refusal_set(refusal, NULL, "the request \"%.40s\" is unknown; known are: %s", words[0],
                    reflect_names(&sluice__request__descriptor, true, text, sizeof text));
    return NULL;
}

/* The name that `object` has for a field, whether with `-` or with `_`. */
static struct json_object *given(struct json_object *object, const char *name)
{
    json_object_object_foreach(object, key, value)
    {
        if (reflect_same_name(key, name))
            return value;
    }
    return NULL;
}

static const char *first_missing(const ProtobufCMessageDescriptor *type, struct json_object *object)
{
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].label == PROTOBUF_C_LABEL_REQUIRED &&
            !given(object, type->fields[i].name))
            return type->fields[i].name;
    return NULL;
}

static int add_value(const ProtobufCMessageDescriptor *type, struct json_object *object,
                     const char *key, const char *text, const char *what, struct refusal *refusal)
{
    const ProtobufCFieldDescriptor *field = reflect_field(type, key);
    struct json_object *present = given(object, key), *value = json_object_new_string(text);
    if (!present) {
        json_object_object_add(object, key, value);
        return 0;
    }
    if (!field || field->label != PROTOBUF_C_LABEL_REPEATED || reflect_is_options(field)) {
        json_object_put(value);
        return refusal_set(refusal, key, "%s: %s is given twice", what, key);
    }
    if (!json_object_is_type(present, json_type_array)) {
        struct json_object *list = json_object_new_array();
        json_object_array_add(list, json_object_get(present));
        json_object_object_add(object, key, list);
        present = list;
    }
    json_object_array_add(present, value);
    return 0;
}

static int add_assignment(const ProtobufCMessageDescriptor *type, struct json_object *object,
                          const char *word, const char *what, struct refusal *refusal)
{
    const char *equals = strchr(word, '=');
    if (!equals) {
        const char *key = first_missing(type, object);
        if (!key)
            return refusal_set(refusal, NULL, "%s: \"%.60s\" must be written as key=value", what,
                               word);
        return add_value(type, object, key, word, what, refusal);
    }
    if (equals == word)
        return refusal_set(refusal, NULL, "%s: \"%.60s\" has no key before its =", what, word);
    char *key = strndup(word, (size_t)(equals - word));
    if (!key)
        abort();
    int ret = add_value(type, object, key, equals + 1, what, refusal);
    free(key);
    return ret;
}

Sluice__Request *words_request(const ProtobufCFieldDescriptor *body, char *const *words, size_t n,
                               struct refusal *refusal)
{
    struct json_object *object = json_object_new_object();
    Sluice__Request *request = NULL;
    char what[REFLECT_NAME];
    int ret = 0;
    reflect_name(body->name, what);
    /* Bare words take the fields that are left when all the others are known. */
    for (int bare = 0; bare < 2; bare++)
        for (size_t i = 0; i < n && !ret; i++)
            if ((strchr(words[i], '=') == NULL) == bare)
                ret = add_assignment(body->descriptor, object, words[i], what, refusal);
    if (!ret)
        request = convert_request(body, object, refusal);
    json_object_put(object);
    return request;
}

Sluice__Request *words_request_line(const char *line, struct refusal *refusal)
{
    struct words words;
    Sluice__Request *request = NULL;
    size_t used;
    if (words_split(line, &words, refusal))
        return NULL;
    const ProtobufCFieldDescriptor *body = words_request_name(words.word, words.n, &used, refusal);
    if (body)
        request = words_request(body, words.word + used, words.n - used, refusal);
    words_free(&words);
    return request;
}
