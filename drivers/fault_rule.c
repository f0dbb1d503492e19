#include "drivers/fault_rule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mem.h"
#include "engine/random.h"
#include "proto/units.h"

#define RULES_MAX 64

/* --- Words */

static const char *const kind_names[OP_KINDS] = {
    [OP_READ] = "read",
    [OP_WRITE] = "write",
    [OP_ZEROES] = "zeroes",
    [OP_DISCARD] = "discard",
    [OP_FLUSH] = "flush",
    [OP_TRUNCATE] = "truncate",
    [OP_IOCTL] = "ioctl",
    [OP_SAVE_VMSTATE] = "save-vmstate",
    [OP_LOAD_VMSTATE] = "load-vmstate",
    [OP_STATUS] = "status",
    [OP_MAKE_EMPTY] = "make-empty",
};

static int parse_kinds(char *text, unsigned *kinds, struct err *err)
{
    char *rest = NULL;
    for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        unsigned kind = 1;
        if (!strcmp(word, "any")) {
            *kinds = ~0u;
            continue;
        }
        while (kind < OP_KINDS && strcmp(kind_names[kind], word) != 0)
            kind++;
        if (kind == OP_KINDS)
            return err_field(err, "rules", -EINVAL,
                             "a rule begins with kinds of requests, and '%.40s' is none; they are "
                             "read, write, zeroes, discard, flush, truncate, ioctl, save-vmstate, "
                             "load-vmstate, status, make-empty and any",
                             word);
        *kinds |= 1u << kind;
    }
    return 0;
}

static int parse_errno(const char *text, int *error)
{
    for (int code = 1; code < 134; code++) {
        const char *name = strerrorname_np(code);
        if (name && !strcmp(name, text)) {
            *error = -code;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_count(const char *text, uint64_t *count)
{
    char *end;
    errno = 0;
    *count = strtoull(text, &end, 10);
    return errno || *end || end == text || *text == '-' || !*count ? -EINVAL : 0;
}

static int parse_probability(const char *text, uint64_t *probability)
{
    char *end;
    double value = strtod(text, &end);
    if (*end || end == text || !(value >= 0 && value <= 1))
        return -EINVAL;
    *probability = (uint64_t)(value * 4294967296.0);
    return 0;
}

/* One word of a rule behind its kinds. */
static int parse_word(struct fault_rule *rule, char *word, struct err *err)
{
    const char *form = "";
    int ret = -EINVAL;
    char *value = strchr(word, '=');
    if (!value) {
        if (!strcmp(word, "once")) {
            rule->once = true;
            return 0;
        }
        return err_field(err, "rules", -EINVAL,
                         "'%.40s' is no word of a rule; they are errno=, delay=, torn=, offset=, "
                         "length=, nth=, every=, probability= and once",
                         word);
    }
    *value++ = '\0';
    if (!strcmp(word, "errno")) {
        ret = parse_errno(value, &rule->error);
        form = "the name of an error, as EIO or ENOSPC";
    } else if (!strcmp(word, "delay")) {
        ret = units_parse_duration(value, &rule->delay_ns);
        form = UNITS_DURATION_FORM;
    } else if (!strcmp(word, "torn")) {
        ret = units_parse_size(value, &rule->torn);
        form = UNITS_SIZE_FORM;
    } else if (!strcmp(word, "offset")) {
        ret = units_parse_size(value, &rule->offset);
        rule->ranged = true;
        form = UNITS_SIZE_FORM;
    } else if (!strcmp(word, "length")) {
        ret = units_parse_size(value, &rule->length);
        rule->ranged = true;
        form = UNITS_SIZE_FORM;
    } else if (!strcmp(word, "nth")) {
        ret = parse_count(value, &rule->nth);
        form = "a whole number from 1";
    } else if (!strcmp(word, "every")) {
        ret = parse_count(value, &rule->every);
        form = "a whole number from 1";
    } else if (!strcmp(word, "probability")) {
        ret = parse_probability(value, &rule->probability);
        rule->chancy = true;
        form = "a number from 0 to 1";
    } else {
        return err_field(err, "rules", -EINVAL,
                         "'%.40s=' is no word of a rule; they are errno=, delay=, torn=, offset=, "
                         "length=, nth=, every=, probability= and once",
                         word);
    }
    return ret < 0
               ? err_field(err, "rules", ret, "%s=%.40s in a rule must be %s", word, value, form)
               : 0;
}

static int parse_rule(struct fault_rule *rule, char *text, struct err *err)
{
    char *rest = NULL, *word = strtok_r(text, " \t\n", &rest);
    *rule = (struct fault_rule){.length = UINT64_MAX};
    int ret = parse_kinds(word, &rule->kinds, err);
    while (ret == 0 && (word = strtok_r(NULL, " \t\n", &rest)))
        ret = parse_word(rule, word, err);
    if (ret < 0)
        return ret;
    if (rule->torn && rule->kinds != 1u << OP_WRITE)
        return err_field(err, "rules", -EINVAL,
                         "a rule with torn= is for writes only: begin it with the word write");
    if (!rule->error && (rule->torn || !rule->delay_ns))
        rule->error = -EIO;
    return 0;
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\n")] == '\0';
}

int fault_rules_parse(struct fault_rules *rules, const char *text, uint64_t seed, struct err *err)
{
    struct fault_rules made = {.random = seed};
    char *copy = mem_string(text), *rest = NULL;
    int ret = 0;
    for (char *rule = strtok_r(copy, ";", &rest); ret == 0 && rule;
         rule = strtok_r(NULL, ";", &rest)) {
        if (is_blank(rule))
            continue;
        if (made.n == RULES_MAX) {
            ret = err_field(err, "rules", -EINVAL, "there are more than %d rules; give fewer",
                            RULES_MAX);
            break;
        }
        made.rules = mem_resize(made.rules, (made.n + 1) * sizeof *made.rules);
        ret = parse_rule(&made.rules[made.n++], rule, err);
    }
    free(copy);
    if (ret < 0) {
        fault_rules_free(&made);
        return ret;
    }
    fault_rules_free(rules);
    *rules = made;
    return 0;
}

void fault_rules_free(struct fault_rules *rules)
{
    free(rules->rules);
    *rules = (struct fault_rules){0};
}

/* --- Meeting */

static bool fits(const struct fault_rule *rule, const struct op *op)
{
    if (!(rule->kinds >> op->kind & 1))
        return false;
    if (!rule->ranged)
        return true;
    if (!op_has_range(op->kind))
        return false;
    uint64_t start = (uint64_t)op->offset, end = start + op->bytes;
    uint64_t stop =
        rule->offset + rule->length < rule->offset ? UINT64_MAX : rule->offset + rule->length;
    return start < stop && rule->offset < end;
}

static bool acts(struct fault_rules *rules, const struct fault_rule *rule)
{
    if (rule->once && rule->acted)
        return false;
    if (rule->nth && rule->met != rule->nth)
        return false;
    if (rule->every && rule->met % rule->every != 0)
        return false;
    return !rule->chancy || (random_next(&rules->random) >> 32) < rule->probability;
}

struct fault_rule *fault_rules_meet(struct fault_rules *rules, const struct op *op)
{
    struct fault_rule *acting = NULL;
    for (size_t i = 0; i < rules->n; i++) {
        struct fault_rule *rule = &rules->rules[i];
        if (!fits(rule, op))
            continue;
        rule->met++;
        if (acts(rules, rule) && !acting) {
            rule->acted++;
            acting = rule;
        }
    }
    return acting;
}
