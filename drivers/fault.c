/* fault.c — a filter that makes requests fail, wait or tear, by rules (fault_rule.h) that can be
 * changed while it runs. For testing what stands above it. */
#include "drivers/driver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "drivers/fault_rule.h"
#include "engine/mem.h"

struct fault {
    struct driver_node *node;
    struct fault_rules rules;
    struct waiting *first; /* requests that wait for their delay */
};

/* In the frame of a request that is delayed or torn. */
struct waiting {
    struct waiting *next, **at; /* in the fault's list, while the timer is armed */
    struct timer timer;
    struct fault *fault;
    struct op *op;
    int error;            /* to end with; 0: goes on */
    uint16_t niov;        /* of the vector */
    struct iovec *vector; /* of a torn write: its submitter's, put back at the end; else null */
    uint64_t torn, bytes; /* bytes to write of it, 0 for none; bytes asked */
};
_Static_assert(sizeof(struct waiting) <= OP_SPACE, "a waiting request's state fits its frame");

static const struct option fault_options[] = {
    {.name = "rules",
     .type = OPTION_STRING,
     .preset = "",
     .live = true,
     .help = "what is to fail: 'KIND[,KIND] [errno=NAME] [delay=TIME] [torn=BYTES] [offset=SIZE] "
             "[length=SIZE] [nth=N] [every=N] [probability=P] [once]; ...'"},
    {.name = "seed",
     .type = OPTION_INTEGER,
     .preset = "1",
     .live = true,
     .help = "what probabilities are drawn from"},
    {0},
};

/* --- What is done to a request */

/* Ends what the rule did: a delay that is over, an error, or a torn write. */
static void faulted(struct op *op, void *who)
{
    struct fault *fault = who;
    const struct waiting *waiting = op_popped(op);
    if (waiting->vector) {
        free(op->iov);
        op->iov = waiting->vector;
        op->niov = waiting->niov;
        op->bytes = waiting->bytes;
        op_complete(op, waiting->error);
    } else if (op->ret < 0) {
        op_complete(op, op->ret);
    } else {
        driver_pass(fault->node, op);
    }
}

/* Writes the first bytes only, from a vector of its own. */
static void tear(struct fault *fault, struct waiting *waiting)
{
    struct op *op = waiting->op;
    struct iovec *first = mem_new(op->niov * sizeof *first);
    uint64_t left = waiting->torn < op->bytes ? waiting->torn : op->bytes;
    uint16_t n = 0;
    waiting->vector = op->iov;
    waiting->niov = op->niov;
    waiting->bytes = op->bytes;
    op->bytes = left;
    for (; left; n++) {
        first[n] = op->iov[n];
        if (first[n].iov_len > left)
            first[n].iov_len = left;
        left -= first[n].iov_len;
    }
    op->iov = first;
    op->niov = n;
    driver_pass(fault->node, op);
}

static void act(struct fault *fault, struct waiting *waiting)
{
    if (waiting->torn)
        tear(fault, waiting);
    else
        op_complete(waiting->op, waiting->error);
}

/* --- Delays */

static void unlist(struct waiting *waiting)
{
    *waiting->at = waiting->next;
    if (waiting->next)
        waiting->next->at = waiting->at;
}

static void expire(struct timer *timer)
{
    struct waiting *waiting = (struct waiting *)((char *)timer - offsetof(struct waiting, timer));
    unlist(waiting);
    act(waiting->fault, waiting);
}

static void wait_for(struct fault *fault, struct waiting *waiting, uint64_t ns)
{
    struct reactor *reactor = fault->node->reactor;
    waiting->next = fault->first;
    waiting->at = &fault->first;
    if (waiting->next)
        waiting->next->at = &waiting->next;
    fault->first = waiting;
    waiting->timer = (struct timer){.fire = expire};
    timer_arm(reactor_timers(reactor), &waiting->timer, reactor_now(reactor) + ns);
}

/* --- The driver */

static void fault_submit(struct driver_node *node, struct op *op)
{
    struct fault *fault = node->state;
    const struct fault_rule *rule = fault->rules.n ? fault_rules_meet(&fault->rules, op) : NULL;
    if (!rule) {
        driver_pass(node, op);
        return;
    }
    struct waiting *waiting = op_push(op, faulted, fault);
    waiting->fault = fault;
    waiting->op = op;
    waiting->error = (int)driver_error(rule->error);
    waiting->torn = rule->torn;
    waiting->vector = NULL;
    if (rule->delay_ns)
        wait_for(fault, waiting, rule->delay_ns);
    else
        act(fault, waiting);
}

static void fault_abort(struct driver_node *node)
{
    struct fault *fault = node->state;
    struct waiting *waiting;
    while ((waiting = fault->first)) {
        timer_cancel(reactor_timers(node->reactor), &waiting->timer);
        unlist(waiting);
        op_complete(waiting->op, -ESHUTDOWN);
    }
}

/* One that is torn is with the child. */
static bool fault_cancel(struct driver_node *node, struct op *op)
{
    struct fault *fault = node->state;
    struct waiting *waiting = fault->first;
    while (waiting && waiting->op != op)
        waiting = waiting->next;
    if (!waiting)
        return false;
    timer_cancel(reactor_timers(node->reactor), &waiting->timer);
    unlist(waiting);
    op_complete(op, -ECANCELED);
    return true;
}

static int fault_set(struct driver_node *node, const struct option_set *options, struct err *err)
{
    struct fault *fault = node->state;
    return fault_rules_parse(&fault->rules, option_string(options, "rules"),
                             option_number(options, "seed"), err);
}

static void fault_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct fault *fault = node->state;
    struct err err = {0};
    fault->node = node;
    node->facts = node->child_facts;
    int ret = fault_set(node, node->options, &err);
    opened(node, ret, &err);
}

static void fault_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    struct fault *fault = node->state;
    fault_rules_free(&fault->rules);
    closed(node);
}

static void fault_child_changed(struct driver_node *node)
{
    node->facts = node->child_facts;
    driver_changed(node);
}

static void fault_describe(struct driver_node *node, driver_tell_fn *tell, void *to)
{
    const struct fault *fault = node->state;
    for (size_t i = 0; i < fault->rules.n; i++) {
        const struct fault_rule *rule = &fault->rules.rules[i];
        char name[32], value[64];
        snprintf(name, sizeof name, "rule-%zu", i + 1);
        snprintf(value, sizeof value, "met %" PRIu64 ", acted %" PRIu64, rule->met, rule->acted);
        tell(to, name, value);
    }
}

const struct driver driver_fault = {
    .name = "fault",
    .help = "Makes requests to its child fail, wait or tear, by rules; for tests",
    .options = fault_options,
    .size = sizeof(struct fault),
    .filter = true,
    .open = fault_open,
    .close = fault_close,
    .submit = fault_submit,
    .cancel = fault_cancel,
    .abort = fault_abort,
    .set = fault_set,
    .describe = fault_describe,
    .child_changed = fault_child_changed,
};
