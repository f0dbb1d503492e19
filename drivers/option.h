/* option.h — a driver's options as a table: checking, help and documentation come from it. */
#ifndef SLUICE_OPTION_H
#define SLUICE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

enum option_type {
    OPTION_STRING,
    OPTION_SIZE,     /* bytes; proto/units.h tells how sizes, durations and switches are written */
    OPTION_SWITCH,   /* on or off */
    OPTION_INTEGER,  /* as a size: 1K is 1024 */
    OPTION_DURATION, /* kept in nanoseconds */
    OPTION_CHOICE,   /* one of `choices` */
};

struct option {
    const char *name;
    enum option_type type;
    bool required;
    const char *preset;  /* the default, as text; null: not set */
    uint64_t min, max;   /* of numbers, both included; max 0: unbounded */
    const char *choices; /* "a|b|c" */
    const char *help;    /* one line, no full stop */
    bool live;           /* can be changed while the node is open */
};

/* Checked values of one table, in its order. */
struct option_set;

struct option_pair {
    const char *key, *value;
};

/* Checks `pairs` against `table` (may be null: no options) and fills in defaults. Names are the
 * same with `-` and `_`. Refuses an unknown name (and says which are known), a doubled one, a
 * missing required one, and a value of the wrong form or out of bounds. Returns null with `err`
 * then. `whose` is for the message: "driver file". */
struct option_set *option_check(const struct option *table, const char *whose,
                                const struct option_pair *pairs, size_t n, struct err *err);
void option_set_free(struct option_set **set);

/* Values. The name must stand in the table. A string that is not set is null. */
bool option_given(const struct option_set *set, const char *name);
const char *option_string(const struct option_set *set, const char *name);
uint64_t option_number(const struct option_set *set,
                       const char *name); /* size, integer, duration */
bool option_switch(const struct option_set *set, const char *name);

/* Iterates over values in force, as text; returns false at the end. */
bool option_next(const struct option_set *set, size_t *i, const char **name, const char **value);

const char *option_type_name(enum option_type type);

#endif
