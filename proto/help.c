#include "proto/help.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "control.pb-c.h"
#include "proto/docs.h"
#include "proto/reflect.h"

#define COLUMNS 80

static int characters(const char *text, size_t bytes)
{
    int n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

void help_wrap(FILE *out, const char *text, int indent)
{
    int column = indent;
    bool first = true;
    while (*text) {
        size_t bytes = strcspn(text, " ");
        int width = characters(text, bytes);
        if (!first && column + 1 + width > COLUMNS) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        fprintf(out, "%s%.*s", first ? "" : " ", (int)bytes, text);
        column += width + !first;
        first = false;
        text += bytes + strspn(text + bytes, " ");
    }
    fputc('\n', out);
}

static const char *type_name(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return "TEXT";
    case PROTOBUF_C_TYPE_BOOL:
        return "on|off";
    case PROTOBUF_C_TYPE_MESSAGE:
        return "{…}";
    default:
        return reflect_is_size(field) ? "SIZE" : reflect_is_duration(field) ? "TIME" : "NUMBER";
    }
}

static void print_type(FILE *out, const ProtobufCFieldDescriptor *field)
{
    char word[REFLECT_NAME];
    if (field->type != PROTOBUF_C_TYPE_ENUM) {
        fputs(type_name(field), out);
        return;
    }
    const ProtobufCEnumDescriptor *type = field->descriptor;
    for (unsigned i = 0; i < type->n_values; i++)
        fprintf(out, "%s%s", i ? "|" : "", reflect_word(type->values[i].name, word));
}

static void print_default(FILE *out, const ProtobufCFieldDescriptor *field)
{
    const void *value = field->default_value;
    char word[REFLECT_NAME];
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        fprintf(out, " [%s]", (const char *)value);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        fprintf(
            out, " [%s]",
            reflect_word(
                protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)value)->name,
                word));
        break;
    case PROTOBUF_C_TYPE_BOOL:
        fprintf(out, " [%s]", *(const protobuf_c_boolean *)value ? "on" : "off");
        break;
    case PROTOBUF_C_TYPE_UINT32:
        fprintf(out, " [%" PRIu32 "]", *(const uint32_t *)value);
        break;
    case PROTOBUF_C_TYPE_INT32:
        fprintf(out, " [%" PRId32 "]", *(const int32_t *)value);
        break;
    case PROTOBUF_C_TYPE_UINT64:
        fprintf(out, " [%" PRIu64 "]", *(const uint64_t *)value);
        break;
    case PROTOBUF_C_TYPE_INT64:
        fprintf(out, " [%" PRId64 "]", *(const int64_t *)value);
        break;
    default:
        break;
    }
}

static void print_text(FILE *out, const char *message, const char *field, int indent)
{
    const char *text = docs_find(message, field);
    fprintf(out, "%*s", indent, "");
    help_wrap(out, text ? text : "", indent);
}

void help_fields(FILE *out, const ProtobufCMessageDescriptor *type)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        char name[REFLECT_NAME];
        if (reflect_is_options(field)) {
            fprintf(out, "  KEY=TEXT …\n");
        } else {
            fprintf(out, "  %s=", reflect_name(field->name, name));
            print_type(out, field);
            if (field->default_value)
                print_default(out, field);
            fputs(field->label == PROTOBUF_C_LABEL_REQUIRED ? " (required)\n" : "\n", out);
        }
        print_text(out, type->name, field->name, 6);
    }
}

void help_request(FILE *out, const ProtobufCFieldDescriptor *body)
{
    const ProtobufCMessageDescriptor *type = body->descriptor;
    print_text(out, sluice__request__descriptor.name, body->name, 0);
    if (type->n_fields) {
        fputc('\n', out);
        help_fields(out, type);
    }
}

void help_requests(FILE *out, const char *prefix)
{
    for (unsigned i = 0; i < sluice__request__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &sluice__request__descriptor.fields[i];
        char name[REFLECT_NAME];
        if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
            strncmp(field->name, prefix, strlen(prefix)) != 0)
            continue;
        fprintf(out, "  %-16s ", reflect_name(field->name, name));
        const char *text = docs_find(sluice__request__descriptor.name, field->name);
        help_wrap(out, text ? text : "", 19);
    }
}
