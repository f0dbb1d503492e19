/* option.c — checks what a user gave against a table of options.
 *
 * Numbers are parsed with whole-number arithmetic, fractions too, so that 1.1K is the same number
 * of bytes everywhere and no rounding of a floating-point unit shows. */
#include "drivers/option.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct value {
    char *text; /* null: not set */
    bool given; /* by the user, rather than by the table */
    uint64_t number;
    bool on;
};

struct option_set {
    const struct option *table;
    size_t count;
    struct value values[];
};

/* --- Numbers */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"K", UINT64_C(1) << 10},
    {"M", UINT64_C(1) << 20},
    {"G", UINT64_C(1) << 30},
    {"T", UINT64_C(1) << 40},
    {"P", UINT64_C(1) << 50},
    {"E", UINT64_C(1) << 60},
    {NULL, 0},
};

static const struct unit duration_units[] = {
    {"", 1000000000}, {"s", 1000000000}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}, {NULL, 0},
};

enum number_fault { NUMBER_OK, NUMBER_FORM, NUMBER_UNIT, NUMBER_FRACTION, NUMBER_RANGE };

/* Eighteen digits of a fraction times the largest factor stay inside 128 bits; the digits beyond
 * are too small to matter. */
#define FRACTION_DIGITS 18

static enum number_fault parse_scaled(const char *text, const struct unit *units, bool ignore_case,
                                      uint64_t *out)
{
    uint64_t whole = 0, fraction = 0, scale = 1;
    const char *p = text;

    if (!isdigit((unsigned char)*p))
        return NUMBER_FORM;
    for (; isdigit((unsigned char)*p); p++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
            return NUMBER_RANGE;
    bool has_fraction = *p == '.';
    if (has_fraction) {
        if (!isdigit((unsigned char)*++p))
            return NUMBER_FORM;
        for (int digits = 0; isdigit((unsigned char)*p); p++, digits++)
            if (digits < FRACTION_DIGITS) {
                fraction = fraction * 10 + (uint64_t)(*p - '0');
                scale *= 10;
            }
    }

    const struct unit *unit = units;
    while (unit->name && (ignore_case ? strcasecmp(p, unit->name) : strcmp(p, unit->name)))
        unit++;
    if (!unit->name)
        return NUMBER_UNIT;
    if (has_fraction && unit->factor == 1)
        return NUMBER_FRACTION;

    unsigned __int128 sum = (unsigned __int128)whole * unit->factor +
                            (unsigned __int128)fraction * unit->factor / scale;
    if (sum > UINT64_MAX)
        return NUMBER_RANGE;
    *out = (uint64_t)sum;
    return NUMBER_OK;
}

int option_parse_size(const char *text, uint64_t *bytes, struct err *err)
{
    /* KiB, MiB, … say the same as K, M, …; what KB means is disputed, so it is refused. */
    char plain[64];
    size_t length = strlen(text);
    if (length >= 3 && length < sizeof(plain) && !strcasecmp(text + length - 2, "ib") &&
        isalpha((unsigned char)text[length - 3])) {
        memcpy(plain, text, length - 2);
        plain[length - 2] = '\0';
    } else {
        snprintf(plain, sizeof(plain), "%s", text);
    }

    switch (length < sizeof(plain) ? parse_scaled(plain, size_units, true, bytes) : NUMBER_FORM) {
    case NUMBER_OK:
        return 0;
    case NUMBER_RANGE:
        return err_set(err, -EINVAL, "'%s' is too large a size; the largest is under 16E", text);
    case NUMBER_FRACTION:
        return err_set(err, -EINVAL,
                       "'%s' is not a whole number of bytes; give a whole number, or a suffix such "
                       "as K, M or G",
                       text);
    default:
        return err_set(err, -EINVAL,
                       "'%.64s' is not a size; give a number, with a suffix K, M, G, T, P or E "
                       "(powers of 1024) if you like, e.g. 1.5G",
                       text);
    }
}

int option_parse_duration(const char *text, uint64_t *ns, struct err *err)
{
    switch (parse_scaled(text, duration_units, false, ns)) {
    case NUMBER_OK:
        return 0;
    case NUMBER_RANGE:
        return err_set(err, -EINVAL, "'%.64s' is too long a time; the longest is 584 years", text);
    default:
        return err_set(err, -EINVAL,
                       "'%.64s' is not a time; give a number with a unit ns, us, ms or s (seconds "
                       "without one), e.g. 250us",
                       text);
    }
}

int option_parse_switch(const char *text, bool *on, struct err *err)
{
    static const char *const words[2][4] = {{"off", "no", "false", "0"},
                                            {"on", "yes", "true", "1"}};
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < 4; i++)
            if (!strcasecmp(text, words[side][i])) {
                *on = side;
                return 0;
            }
    return err_set(err, -EINVAL, "'%.64s' is neither on nor off", text);
}

static int parse_integer(const char *text, uint64_t *number, struct err *err)
{
    static const struct unit none[] = {{"", 1}, {NULL, 0}};
    switch (parse_scaled(text, none, false, number)) {
    case NUMBER_OK:
        return 0;
    case NUMBER_RANGE:
        return err_set(err, -EINVAL, "'%.64s' is too large a number", text);
    default:
        return err_set(err, -EINVAL, "'%.64s' is not a whole number", text);
    }
}

/* --- Names */

/* `-` and `_` are the same. */
static bool same_name(const char *a, const char *b)
{
    for (; *a || *b; a++, b++)
        if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b))
            return false;
    return true;
}

static size_t table_find(const struct option *table, size_t count, const char *name)
{
    size_t i = 0;
    while (i < count && !same_name(table[i].name, name))
        i++;
    return i;
}

/* Edits (insert, drop or change a letter) from one word to the other, by the usual table of
 * prefixes, one row at a time. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[32];
    size_t n = strlen(b);
    if (n >= 32 || strlen(a) >= 32)
        return 32;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; *a; a++, i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            unsigned best = diagonal + (*a != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

static int refuse_name(const struct option *table, size_t count, const char *whose, const char *key,
                       struct err *err)
{
    if (!count)
        return err_field(err, key, -EINVAL, "%s has no option '%.47s'; it takes none", whose, key);

    char known[256] = "";
    const struct option *near = NULL;
    unsigned nearest = 3; /* further away it is another word */
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "", table[i].name);
        unsigned edits = distance(key, table[i].name);
        if (edits < nearest) {
            nearest = edits;
            near = &table[i];
        }
    }
    if (near)
        return err_field(err, key, -EINVAL,
                         "%s has no option '%.47s': did you mean '%s'? Its options are %s", whose,
                         key, near->name, known);
    return err_field(err, key, -EINVAL, "%s has no option '%.47s'; its options are %s", whose, key,
                     known);
}

/* --- Sets */

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *p = choices; length && *p;) {
        size_t word = strcspn(p, "|");
        if (word == length && !memcmp(p, text, length))
            return true;
        p += word + (p[word] == '|');
    }
    return false;
}

/* Says the number as its option would be written. */
static void print_number(enum option_type type, uint64_t number, char *out, size_t size)
{
    const struct unit *units = type == OPTION_SIZE ? size_units : duration_units;
    const struct unit *best = NULL;
    if (type != OPTION_INTEGER)
        for (const struct unit *unit = units; unit->name; unit++)
            if (*unit->name && number && number % unit->factor == 0 &&
                (!best || unit->factor > best->factor))
                best = unit;
    if (best)
        snprintf(out, size, "%" PRIu64 "%s", number / best->factor, best->name);
    else
        snprintf(out, size, "%" PRIu64, number);
}

static int parse_value(const struct option *option, struct value *value, struct err *err)
{
    int ret = 0;
    switch (option->type) {
    case OPTION_STRING:
        break;
    case OPTION_SWITCH:
        ret = option_parse_switch(value->text, &value->on, err);
        break;
    case OPTION_CHOICE:
        if (!is_choice(option->choices, value->text))
            ret = err_set(err, -EINVAL, "'%.64s' is not one of %s", value->text, option->choices);
        break;
    case OPTION_SIZE:
        ret = option_parse_size(value->text, &value->number, err);
        break;
    case OPTION_DURATION:
        ret = option_parse_duration(value->text, &value->number, err);
        break;
    case OPTION_INTEGER:
        ret = parse_integer(value->text, &value->number, err);
        break;
    }
    bool is_number = option->type == OPTION_SIZE || option->type == OPTION_DURATION ||
                     option->type == OPTION_INTEGER;
    if (ret < 0 || !is_number)
        return ret;

    char bound[32];
    if (value->number < option->min) {
        print_number(option->type, option->min, bound, sizeof(bound));
        return err_set(err, -EINVAL, "'%.64s' is too small; the least is %s", value->text, bound);
    }
    if (option->max && value->number > option->max) {
        print_number(option->type, option->max, bound, sizeof(bound));
        return err_set(err, -EINVAL, "'%.64s' is too large; the most is %s", value->text, bound);
    }
    return 0;
}

static int set_value(struct option_set *set, size_t i, const char *text, const char *whose,
                     struct err *err)
{
    struct err why = {0};
    struct value *value = &set->values[i];
    value->text = strdup(text);
    if (!value->text)
        abort();
    int ret = parse_value(&set->table[i], value, &why);
    if (ret < 0)
        err_field(err, set->table[i].name, ret, "%s, option %s: %s", whose, set->table[i].name,
                  why.text);
    return ret;
}

static int fill(struct option_set *set, const char *whose, const struct option_pair *pairs,
                size_t n, struct err *err)
{
    for (size_t p = 0; p < n; p++) {
        size_t i = table_find(set->table, set->count, pairs[p].key);
        if (i == set->count)
            return refuse_name(set->table, set->count, whose, pairs[p].key, err);
        if (set->values[i].given)
            return err_field(err, set->table[i].name, -EINVAL,
                             "%s: option %s is given twice; give it once", whose,
                             set->table[i].name);
        int ret = set_value(set, i, pairs[p].value, whose, err);
        if (ret < 0)
            return ret;
        set->values[i].given = true;
    }
    for (size_t i = 0; i < set->count; i++) {
        const struct option *option = &set->table[i];
        if (set->values[i].given)
            continue;
        if (option->required)
            return err_field(err, option->name, -EINVAL, "%s needs the option %s: %s", whose,
                             option->name, option->help);
        if (option->preset) {
            int ret = set_value(set, i, option->preset, whose, err);
            if (ret < 0)
                return ret;
        }
    }
    return 0;
}

struct option_set *option_check(const struct option *table, const char *whose,
                                const struct option_pair *pairs, size_t n, struct err *err)
{
    static const struct option none[] = {{0}};
    if (!table)
        table = none;
    size_t count = 0;
    while (table[count].name)
        count++;
    struct option_set *set = calloc(1, sizeof(*set) + count * sizeof(set->values[0]));
    if (!set)
        abort();
    set->table = table;
    set->count = count;
    if (fill(set, whose, pairs, n, err) < 0)
        option_set_free(&set);
    return set;
}

void option_set_free(struct option_set **set)
{
    if (!*set)
        return;
    for (size_t i = 0; i < (*set)->count; i++)
        free((*set)->values[i].text);
    free(*set);
    *set = NULL;
}

static const struct value *value_of(const struct option_set *set, const char *name)
{
    size_t i = table_find(set->table, set->count, name);
    assert(i < set->count);
    return &set->values[i];
}

bool option_given(const struct option_set *set, const char *name)
{
    return value_of(set, name)->given;
}

const char *option_string(const struct option_set *set, const char *name)
{
    return value_of(set, name)->text;
}

uint64_t option_number(const struct option_set *set, const char *name)
{
    return value_of(set, name)->number;
}

bool option_switch(const struct option_set *set, const char *name)
{
    return value_of(set, name)->on;
}

bool option_next(const struct option_set *set, size_t *i, const char **name, const char **value)
{
    while (*i < set->count) {
        size_t at = (*i)++;
        if (set->values[at].text) {
            *name = set->table[at].name;
            *value = set->values[at].text;
            return true;
        }
    }
    return false;
}

const char *option_type_name(enum option_type type)
{
    static const char *const names[] = {
        [OPTION_STRING] = "string",   [OPTION_SIZE] = "size",         [OPTION_SWITCH] = "switch",
        [OPTION_INTEGER] = "integer", [OPTION_DURATION] = "duration", [OPTION_CHOICE] = "choice",
    };
    return names[type];
}
