#include "proto/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

#define POWER(n) (UINT64_C(1) << 10 * (n))
static const struct unit size_units[] = {
    {"", 1},           {"B", 1},          {"K", POWER(1)},   {"KiB", POWER(1)}, {"M", POWER(2)},
    {"MiB", POWER(2)}, {"G", POWER(3)},   {"GiB", POWER(3)}, {"T", POWER(4)},   {"TiB", POWER(4)},
    {"P", POWER(5)},   {"PiB", POWER(5)}, {"E", POWER(6)},   {"EiB", POWER(6)}, {NULL, 0},
};
static const struct unit duration_units[] = {
    {"", 1000000000},  {"ns", 1},          {"us", 1000},         {"ms", 1000000},
    {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000}, {NULL, 0},
};

/* A decimal number as whole part and fraction = digits / scale, and where it ended. */
struct decimal {
    uint64_t whole, digits, scale;
    const char *end;
};

/* Decimal places beyond these can't change a whole number of the smallest unit much, and are
 * refused: nobody writes them on purpose. So many times the largest factor stay inside 128 bits. */
#define PLACES 18

static int parse_decimal(const char *text, struct decimal *out)
{
    *out = (struct decimal){.scale = 1};
    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    for (; isdigit((unsigned char)*text); text++)
        if (__builtin_mul_overflow(out->whole, UINT64_C(10), &out->whole) ||
            __builtin_add_overflow(out->whole, (uint64_t)(*text - '0'), &out->whole))
            return -ERANGE;
    if (*text == '.') {
        if (!isdigit((unsigned char)*++text))
            return -EINVAL;
        for (unsigned places = 0; isdigit((unsigned char)*text); text++) {
            if (++places > PLACES)
                return -EINVAL;
            out->digits = out->digits * 10 + (uint64_t)(*text - '0');
            out->scale *= 10;
        }
    }
    out->end = text;
    return 0;
}

/* `compare` says whether letters are the same in either case. */
static int parse_scaled(const char *text, const struct unit *unit,
                        int (*compare)(const char *, const char *), uint64_t *out)
{
    struct decimal number;
    int ret = parse_decimal(text, &number);
    if (ret)
        return ret;
    while (unit->name && compare(number.end, unit->name) != 0)
        unit++;
    if (!unit->name || (unit->factor == 1 && number.scale > 1))
        return -EINVAL;
    unsigned __int128 value = (unsigned __int128)number.whole * unit->factor +
                              (unsigned __int128)number.digits * unit->factor / number.scale;
    if (value > UINT64_MAX)
        return -ERANGE;
    *out = (uint64_t)value;
    return 0;
}

static int parse_hex(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    if (!isxdigit((unsigned char)*text))
        return -EINVAL;
    for (; isxdigit((unsigned char)*text); text++) {
        if (value >> 60)
            return -ERANGE;
        int c = tolower((unsigned char)*text);
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (*text)
        return -EINVAL;
    *out = value;
    return 0;
}

int units_parse_size(const char *text, uint64_t *bytes)
{
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return parse_hex(text + 2, bytes);
    return parse_scaled(text, size_units, strcasecmp, bytes);
}

int units_parse_signed(const char *text, int64_t *value)
{
    uint64_t magnitude;
    bool negative = *text == '-';
    int ret = units_parse_size(text + negative, &magnitude);
    if (ret)
        return ret;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return -ERANGE;
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return 0;
}

int units_parse_duration(const char *text, uint64_t *ns)
{
    return parse_scaled(text, duration_units, strcmp, ns);
}

int units_parse_switch(const char *text, bool *on)
{
    static const char *const words[][2] = {
        {"off", "on"}, {"no", "yes"}, {"false", "true"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (int value = 0; value < 2; value++)
            if (strcasecmp(text, words[i][value]) == 0) {
                *on = value;
                return 0;
            }
    return -EINVAL;
}

char *units_print_size(uint64_t bytes, char out[UNITS_TEXT])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    while (unit < 6 && bytes >> (10 * (unit + 1)))
        unit++;
    uint64_t one = UINT64_C(1) << (10 * unit);
    uint64_t whole = bytes / one;
    unsigned __int128 tenths = (unsigned __int128)(bytes % one) * 10;
    unsigned tenth = (unsigned)(tenths / one);
    const char *about = tenths % one ? "~" : "";
    if (tenth)
        snprintf(out, UNITS_TEXT, "%s%" PRIu64 ".%u %s", about, whole, tenth, names[unit]);
    else
        snprintf(out, UNITS_TEXT, "%s%" PRIu64 " %s", about, whole, names[unit]);
    return out;
}

/* With the largest unit of which it is a whole number. */
static char *write_scaled(uint64_t number, const struct unit *unit, char *out)
{
    const char *name = "";
    uint64_t factor = 1;
    for (; unit->name; unit++)
        if (*unit->name && number && number % unit->factor == 0 &&
            (!*name || unit->factor > factor)) {
            name = unit->name;
            factor = unit->factor;
        }
    snprintf(out, UNITS_TEXT, "%" PRIu64 "%s", number / factor, name);
    return out;
}

char *units_write_size(uint64_t bytes, char out[UNITS_TEXT])
{
    return write_scaled(bytes, size_units, out);
}

char *units_write_duration(uint64_t ns, char out[UNITS_TEXT])
{
    return write_scaled(ns, duration_units, out);
}

char *units_print_duration(uint64_t ns, char out[UNITS_TEXT])
{
    static const struct {
        uint64_t one;
        const char *name;
    } units[] = {{1000000000, "s"}, {1000000, "ms"}, {1000, "us"}, {1, "ns"}};
    unsigned unit = 0;
    while (unit < 3 && ns < units[unit].one)
        unit++;
    double value = (double)ns / (double)units[unit].one;
    int digits = units[unit].one == 1 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
    if (ns)
        snprintf(out, UNITS_TEXT, "%.*f %s", digits, value, units[unit].name);
    else
        snprintf(out, UNITS_TEXT, "0");
    return out;
}
