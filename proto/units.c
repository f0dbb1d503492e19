#include "proto/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A decimal number as whole part and fraction = digits / scale, and where it ended. */
struct decimal {
    uint64_t whole, digits, scale;
    const char *end;
};

/* Decimal places beyond these can't change a whole number of the smallest unit much, and are
 * refused: nobody writes them on purpose. */
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

static int scale_decimal(const struct decimal *number, uint64_t unit, uint64_t *out)
{
    unsigned __int128 value = (unsigned __int128)number->whole * unit +
                              (unsigned __int128)number->digits * unit / number->scale;
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
    static const char letters[] = "KMGTPE";
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return parse_hex(text + 2, bytes);

    struct decimal number;
    int ret = parse_decimal(text, &number);
    if (ret)
        return ret;
    uint64_t unit = 1;
    if (*number.end) {
        const char *letter = strchr(letters, toupper((unsigned char)*number.end));
        if (!letter || (number.end[1] && strcmp(number.end + 1, "iB") != 0))
            return -EINVAL;
        unit <<= 10 * (letter - letters + 1);
    } else if (number.scale > 1) {
        return -EINVAL; /* half a byte */
    }
    return scale_decimal(&number, unit, bytes);
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
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {
        {"", 1000000000},  {"ns", 1},          {"us", 1000},         {"ms", 1000000},
        {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000},
    };
    struct decimal number;
    int ret = parse_decimal(text, &number);
    if (ret)
        return ret;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(number.end, units[i].name) == 0)
            return scale_decimal(&number, units[i].ns, ns);
    return -EINVAL;
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
