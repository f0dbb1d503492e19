#include "proto/render.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "proto/check.h"
#include "proto/reflect.h"
#include "proto/units.h"

#define COLUMNS 128 /* of a table, at most */

static bool is_list(const ProtobufCFieldDescriptor *field)
{
    return field->label == PROTOBUF_C_LABEL_REPEATED && field->type == PROTOBUF_C_TYPE_MESSAGE &&
           !reflect_is_options(field);
}

/* Text from outside, on a terminal: control characters would be obeyed. */
static void put_text(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc(iscntrl((unsigned char)*text) ? '?' : *text, out);
}

/* A duration needs no unit in its name for people. */
static const char *label(const ProtobufCFieldDescriptor *field, char out[REFLECT_NAME])
{
    reflect_name(field->name, out);
    if (reflect_is_duration(field))
        out[strlen(out) - 3] = '\0';
    return out;
}

static void put_unsigned(FILE *out, const ProtobufCFieldDescriptor *field, uint64_t number)
{
    char size[UNITS_TEXT];
    if (reflect_is_size(field))
        fputs(units_print_size(number, size), out);
    else if (reflect_is_duration(field))
        fputs(units_print_duration(number, size), out);
    else if (strcmp(field->name, "uptime") == 0)
        fprintf(out, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, number / 3600, number / 60 % 60,
                number % 60);
    else
        fprintf(out, "%" PRIu64, number);
}

static void put_signed(FILE *out, const ProtobufCFieldDescriptor *field, int64_t number)
{
    if (number >= 0)
        put_unsigned(out, field, (uint64_t)number);
    else
        fprintf(out, "%" PRId64, number);
}

/* A rate or the like: large ones need no fractions, nor an exponent. */
static void put_double(FILE *out, const ProtobufCFieldDescriptor *field, double number)
{
    if (reflect_is_size(field) && number >= 0 && number < 1e18)
        put_unsigned(out, field, (uint64_t)(number + 0.5));
    else if (number >= 1e5 && number < 1e18)
        fprintf(out, "%.0f", number);
    else
        fprintf(out, "%g", number);
}

static void put_enum(FILE *out, const ProtobufCEnumDescriptor *type, int number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    char word[REFLECT_NAME];
    if (value)
        fputs(reflect_word(value->name, word), out);
    else
        fprintf(out, "%d", number);
}

/* Bytes that are text are shown as such, others as a dump. */
static void put_bytes(FILE *out, const ProtobufCBinaryData *bytes)
{
    bool text = check_utf8((const char *)bytes->data, bytes->len);
    for (size_t i = 0; i < bytes->len && text; i++)
        text = !iscntrl(bytes->data[i]) || strchr("\t\n", bytes->data[i]);
    if (text) {
        fwrite(bytes->data, 1, bytes->len, out);
        return;
    }
    bool starred = false;
    for (size_t row = 0; row < bytes->len; row += 16) {
        /* A run of equal rows is one row and a star, as hexdump shows it. */
        if (row && row + 16 < bytes->len &&
            !memcmp(bytes->data + row, bytes->data + row - 16, 16)) {
            fputs(starred ? "" : "\n*", out);
            starred = true;
            continue;
        }
        starred = false;
        fprintf(out, "\n%08zx ", row);
        for (size_t i = row; i < row + 16; i++)
            if (i < bytes->len)
                fprintf(out, " %02x", bytes->data[i]);
            else
                fputs("   ", out);
        fputs("  ", out);
        for (size_t i = row; i < row + 16 && i < bytes->len; i++)
            fputc(isprint(bytes->data[i]) ? bytes->data[i] : '.', out);
    }
}

/* All that is set of a message, on one line: "operations 5, bytes 20 KiB". */
static void put_inline(FILE *out, const ProtobufCMessage *message);

static void put_value(FILE *out, const ProtobufCFieldDescriptor *field, const void *place)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        fprintf(out, "%" PRId32, *(const int32_t *)place);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        put_signed(out, field, *(const int64_t *)place);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        put_unsigned(out, field, *(const uint32_t *)place);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        put_unsigned(out, field, *(const uint64_t *)place);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        fprintf(out, "%g", (double)*(const float *)place);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        put_double(out, field, *(const double *)place);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        fputs(*(const protobuf_c_boolean *)place ? "on" : "off", out);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        put_enum(out, field->descriptor, *(const int *)place);
        break;
    case PROTOBUF_C_TYPE_STRING:
        put_text(out, *(char *const *)place);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        put_bytes(out, place);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        put_inline(out, *(ProtobufCMessage *const *)place);
        break;
    }
}

/* All values of a field: a repeated one's with `between` between them, options as key=value. */
static void put_values(FILE *out, const ProtobufCMessage *message,
                       const ProtobufCFieldDescriptor *field, const char *between)
{
    size_t n = reflect_count(message, field);
    if (field->default_value)
        n = 1;
    for (size_t i = 0; i < n; i++) {
        const void *place = reflect_place(message, field, i);
        if (i)
            fputs(reflect_is_options(field) ? " " : between, out);
        if (reflect_is_options(field)) {
            const Sluice__Option *option = *(Sluice__Option *const *)place;
            put_text(out, option->key);
            fputc('=', out);
            put_text(out, option->value);
        } else {
            put_value(out, field, place);
        }
    }
}

static void put_field(FILE *out, const ProtobufCMessage *message,
                      const ProtobufCFieldDescriptor *field)
{
    put_values(out, message, field, ", ");
}

/* Whether the field says something that its absence would not. */
static bool tells(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (!reflect_count(message, field))
        return false;
    const void *place = reflect_place(message, field, 0);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && field->label != PROTOBUF_C_LABEL_REPEATED) {
        const ProtobufCMessage *inner = *(ProtobufCMessage *const *)place;
        for (unsigned i = 0; i < inner->descriptor->n_fields; i++)
            if (tells(inner, &inner->descriptor->fields[i]))
                return true;
        return false;
    }
    if (field->label != PROTOBUF_C_LABEL_OPTIONAL || !field->default_value)
        return true;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return strcmp(*(char *const *)place, field->default_value) != 0;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64:
        return *(const uint64_t *)place != *(const uint64_t *)field->default_value;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        return *(const uint32_t *)place != *(const uint32_t *)field->default_value;
    default:
        return true;
    }
}

static void put_inline(FILE *out, const ProtobufCMessage *message)
{
    const char *before = "";
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        char name[REFLECT_NAME];
        if (!tells(message, field))
            continue;
        fprintf(out, "%s%s ", before, label(field, name));
        /* A comma ends the field here, so words have another mark between them. */
        put_values(out, message, field, field->type == PROTOBUF_C_TYPE_STRING ? "+" : ", ");
        before = ", ";
    }
}

/* Columns that a terminal gives to the text: its characters, as far as we know them. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* What `put_field` prints, on the heap. */
static char *field_text(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        abort();
    put_field(out, message, field);
    if (fclose(out))
        abort();
    return text;
}

static bool column_tells(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *list,
                         const ProtobufCFieldDescriptor *field)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE || strcmp(field->name, "can") == 0)
        return false; /* too wide for a row; `show` tells it */
    for (size_t i = 0; i < reflect_count(message, list); i++)
        if (tells(*(ProtobufCMessage **)reflect_place(message, list, i), field))
            return true;
    return false;
}

static void put_row(FILE *out, char *const *cells, const int *widths, size_t n)
{
    int pad = 0; /* blanks are due only when something follows */
    for (size_t c = 0; c < n; c++) {
        if (*cells[c]) {
            fprintf(out, "%*s%s", pad, "", cells[c]);
            pad = 0;
        }
        pad += widths[c] + 2 - width_of(cells[c]);
    }
    fputc('\n', out);
}

static void render_table(FILE *out, const ProtobufCMessage *message,
                         const ProtobufCFieldDescriptor *list)
{
    const ProtobufCMessageDescriptor *type = list->descriptor;
    const ProtobufCFieldDescriptor *columns[COLUMNS];
    size_t n = 0, rows = reflect_count(message, list);
    for (unsigned i = 0; i < type->n_fields && n < COLUMNS; i++)
        if (column_tells(message, list, &type->fields[i]))
            columns[n++] = &type->fields[i];

    char **cells = calloc((rows + 1) * (n + 1), sizeof *cells);
    int widths[COLUMNS] = {0};
    if (!cells)
        abort();
    for (size_t row = 0; row <= rows; row++)
        for (size_t c = 0; c < n; c++) {
            char **cell = &cells[row * n + c], name[REFLECT_NAME];
            if (row == 0)
                *cell = strdup(label(columns[c], name));
            else
                *cell = field_text(*(ProtobufCMessage **)reflect_place(message, list, row - 1),
                                   columns[c]);
            for (char *at = *cell; row == 0 && *at; at++)
                *at = (char)toupper((unsigned char)*at);
            if (width_of(*cell) > widths[c])
                widths[c] = width_of(*cell);
        }
    for (size_t row = 0; row <= rows; row++) {
        put_row(out, &cells[row * n], widths, n);
        for (size_t c = 0; c < n; c++)
            free(cells[row * n + c]);
    }
    free(cells);
}

static void render_list(FILE *out, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *list, bool titled)
{
    char name[REFLECT_NAME];
    reflect_name(list->name, name);
    if (!reflect_count(message, list)) {
        fprintf(out, "no %s\n", name);
        return;
    }
    if (titled)
        fprintf(out, "%s:\n", name);
    if (list->descriptor == &sluice__event__descriptor) {
        for (size_t i = 0; i < reflect_count(message, list); i++)
            render_event(out, *(Sluice__Event **)reflect_place(message, list, i));
        return;
    }
    render_table(out, message, list);
}

/* Drivers with their options are a list of lists: a heading and a table each. */
static void render_drivers(FILE *out, const Sluice__DriverList *list)
{
    for (size_t i = 0; i < list->n_drivers; i++) {
        const Sluice__DriverInfo *driver = list->drivers[i];
        fprintf(out, "%s%s%s%s%s\n", i ? "\n" : "", driver->name, driver->help ? ": " : "",
                driver->help ? driver->help : "", driver->filter ? " (needs child=)" : "");
        if (driver->n_options)
            render_list(out, &driver->base,
                        reflect_field(&sluice__driver_info__descriptor, "options"), false);
    }
}

void render_message(FILE *out, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    unsigned lists = 0, others = 0;
    int width = 0;
    if (type == &sluice__driver_list__descriptor) {
        render_drivers(out, (const Sluice__DriverList *)message);
        return;
    }
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (is_list(&type->fields[i])) {
            lists++;
        } else if (tells(message, &type->fields[i])) {
            others++;
            if ((int)strlen(type->fields[i].name) > width)
                width = (int)strlen(type->fields[i].name);
        }
    }
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        char name[REFLECT_NAME];
        if (is_list(field) || !tells(message, field))
            continue;
        label(field, name);
        fprintf(out, "%s:%*s ", name, width - (int)strlen(name), "");
        put_field(out, message, field);
        fputc('\n', out);
    }
    for (unsigned i = 0; i < type->n_fields; i++)
        if (is_list(&type->fields[i])) {
            if (others)
                fputc('\n', out);
            render_list(out, message, &type->fields[i], others || lists > 1);
        }
}

void render_reply(FILE *out, const Sluice__Reply *reply)
{
    const ProtobufCFieldDescriptor *body = reflect_body(&reply->base);
    if (body && reply->body_case != SLUICE__REPLY__BODY_ERROR)
        render_message(out, *(ProtobufCMessage **)reflect_place(&reply->base, body, 0));
}

char *render_topic(const Sluice__Event *event, char out[RENDER_TOPIC])
{
    const ProtobufCFieldDescriptor *body = reflect_body(&event->base);
    snprintf(out, RENDER_TOPIC, "%s", body ? body->name : "");
    for (char *at = out; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    return out;
}

void render_event(FILE *out, const Sluice__Event *event)
{
    char topic[RENDER_TOPIC], when[32] = "";
    time_t seconds = (time_t)(event->time / 1000000);
    struct tm local;
    if (localtime_r(&seconds, &local))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local);
    fprintf(out, "%6" PRIu64 "  %s.%06u  %-20s", event->sequence, when,
            (unsigned)(event->time % 1000000), render_topic(event, topic));
    if (event->severity != SLUICE__EVENT__SEVERITY__INFO) {
        fputc(' ', out);
        put_enum(out, &sluice__event__severity__descriptor, event->severity);
    }
    const ProtobufCFieldDescriptor *body = reflect_body(&event->base);
    if (body) {
        fputc(' ', out);
        put_inline(out, *(ProtobufCMessage **)reflect_place(&event->base, body, 0));
    }
    fputc('\n', out);
}
