/* option.c — checks what a user gave against a table of options. What numbers and switches look
 * like is told by proto/units.h, for options as for all requests. */
#include "drivers/option.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/reflect.h"
#include "proto/units.h"

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

/* --- Names */

static size_t table_find(const struct option *table, size_t count, const char *name)
{
    size_t i = 0;
    while (i < count && !reflect_same_name(table[i].name, name))
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

/* Writes the number as its option takes it. */
static const char *write_number(enum option_type type, uint64_t number, char out[UNITS_TEXT])
{
    if (type == OPTION_SIZE)
        return units_write_size(number, out);
    if (type == OPTION_DURATION)
        return units_write_duration(number, out);
    snprintf(out, UNITS_TEXT, "%" PRIu64, number);
    return out;
}

static int check_bounds(const struct option *option, const struct value *value, struct err *err)
{
    char bound[UNITS_TEXT];
    if (value->number < option->min)
        return err_set(err, -EINVAL, "'%.64s' is too small; the least is %s", value->text,
                       write_number(option->type, option->min, bound));
    if (option->max && value->number > option->max)
        return err_set(err, -EINVAL, "'%.64s' is too large; the most is %s", value->text,
                       write_number(option->type, option->max, bound));
    return 0;
}

static int parse_number(const struct option *option, struct value *value, struct err *err)
{
    static const struct {
        int (*parse)(const char *text, uint64_t *number);
        const char *what, *form, *beyond;
    } numbers[] = {
        [OPTION_SIZE] = {units_parse_size, "a size", UNITS_SIZE_FORM ", e.g. 1.5G",
                         "too large a size; the largest is under 16E"},
        [OPTION_DURATION] = {units_parse_duration, "a time", UNITS_DURATION_FORM ", e.g. 250us",
                             "too long a time; the longest is 584 years"},
        [OPTION_INTEGER] = {units_parse_size, "a whole number", "one, e.g. 16",
                            "too large a number; the largest is under 16E"},
    };
    int ret = numbers[option->type].parse(value->text, &value->number);
    if (ret == -ERANGE)
        return err_set(err, -EINVAL, "'%.64s' is %s", value->text, numbers[option->type].beyond);
    if (ret < 0)
        return err_set(err, -EINVAL, "'%.64s' is not %s; give %s", value->text,
                       numbers[option->type].what, numbers[option->type].form);
    return check_bounds(option, value, err);
}

static int parse_value(const struct option *option, struct value *value, struct err *err)
{
    switch (option->type) {
    case OPTION_STRING:
        return 0;
    case OPTION_SWITCH:
        return units_parse_switch(value->text, &value->on) == 0
                   ? 0
                   : err_set(err, -EINVAL, "'%.64s' is neither on nor off", value->text);
    case OPTION_CHOICE:
        return is_choice(option->choices, value->text)
                   ? 0
                   : err_set(err, -EINVAL, "'%.64s' is not one of %s", value->text,
                             option->choices);
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_INTEGER:
        return parse_number(option, value, err);
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
