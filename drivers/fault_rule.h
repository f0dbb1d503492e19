/* fault_rule.h — rules of the fault filter: which request is to fail, wait or tear, and how.
 *
 * Written as rules with ';' between them, each a list of words:
 *
 *     write errno=ENOSPC offset=1M length=64K nth=3 once; read,flush delay=10ms probability=0.5
 *
 *     KIND[,KIND]…       read, write, zeroes, discard, flush, truncate, ioctl, save-vmstate,
 *                        load-vmstate, status, make-empty, or any
 *     errno=NAME         the error to end with; EIO when nothing else is to be done
 *     delay=TIME         waits first; with no errno and no torn the request then goes on
 *     torn=BYTES         a write writes so many bytes only, then ends with the error
 *     offset=, length=   only requests that touch this range; flush and the like have none
 *     nth=N              only the Nth that the words above fit, counted from 1
 *     every=N            every Nth of them
 *     probability=P      that share of them, 0 to 1, drawn from the seed
 *     once               the rule has served when it has acted once
 *
 * The first rule that fits acts, but each counts. */
#ifndef SLUICE_FAULT_RULE_H
#define SLUICE_FAULT_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/op.h"

struct fault_rule {
    unsigned kinds; /* bits by enum op_kind */
    int error;      /* negative errno; 0: none */
    uint64_t delay_ns;
    uint64_t torn; /* bytes that a torn write writes; 0: none, it only fails */
    bool ranged;
    uint64_t offset, length;
    uint64_t nth, every;  /* 0: not asked */
    uint64_t probability; /* in 2^-32 */
    bool chancy, once;
    uint64_t met, acted; /* requests that the kinds and range fit; of them, acted upon */
};

struct fault_rules {
    struct fault_rule *rules;
    size_t n;
    uint64_t random; /* state of the generator */
};

/* Fails with a sentence; `rules` is untouched then. An empty text is no rule. */
int fault_rules_parse(struct fault_rules *rules, const char *text, uint64_t seed, struct err *err);
void fault_rules_free(struct fault_rules *rules);

/* The rule that acts on this request, which is counted as met; or null. */
struct fault_rule *fault_rules_meet(struct fault_rules *rules, const struct op *op);

#endif
