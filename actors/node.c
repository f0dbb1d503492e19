/* node.c — a node's life and its control lane. See node_io.c for its operations, and
 * node_info.c for what it tells of itself. */
#include "actors/node_io.h"
#include "actors/throttle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/emit.h"
#include "engine/mem.h"
#include "proto/reflect.h"

static struct node *node_of(struct driver_node *base)
{
    return (struct node *)base;
}

static Sluice__NodeFacts *facts_mail(const struct node *node)
{
    Sluice__NodeFacts *facts = MAIL_NEW(sluice__node_facts);
    node_facts_to_message(&node->base.facts, facts);
    return facts;
}

/* --- Operations */

void node_quick_done(struct op *op, void *who)
{
    node_end(who, op);
}

static void node_submit(struct actor *self, struct op *op)
{
    struct node *node = actor_state(self);
    if (op->depth > OP_FRAMES - NODE_FRAMES)
        op = op_further(op);
    if (!node_fits(node, op)) {
        node_slow(node, op);
        return;
    }
    node->in_flight++;
    op_push(op, node_quick_done, node);
    node->base.driver->submit(&node->base, op);
}

/* --- Changes */

static bool same_facts(const struct driver_facts *a, const struct driver_facts *b)
{
    return a->length == b->length && a->alignment == b->alignment &&
           a->max_transfer == b->max_transfer && a->max_vector == b->max_vector &&
           a->optimal_transfer == b->optimal_transfer && a->read_only == b->read_only &&
           a->can == b->can && a->direct == b->direct && a->empty == b->empty && a->sg == b->sg &&
           a->logical_block == b->logical_block && a->physical_block == b->physical_block &&
           a->cylinders == b->cylinders && a->heads == b->heads && a->sectors == b->sectors;
}

static void changed(struct driver_node *base)
{
    struct node *node = node_of(base);
    node_limits(node);
    if (same_facts(&node->told, &base->facts))
        return;
    node->told = base->facts;
    for (size_t i = 0; i < node->nwatchers; i++) {
        Sluice__NodeChanged *told = MAIL_NEW(sluice__node_changed);
        told->facts = facts_mail(node);
        actor_tell(base->actor, node->watchers[i], MAIL_NODE_CHANGED, told);
    }
}

/* One that it stands on is like this now. */
static void below_is(struct node *node, actor_addr address, const Sluice__NodeFacts *facts)
{
    for (int i = 0; i < EDGES; i++)
        if (node->base.below[i] == address)
            node_facts_from_message(facts, &node->base.below_facts[i]);
    if (node->stage == NODE_OPEN && node->base.driver->child_changed)
        node->base.driver->child_changed(&node->base);
}

static void on_node_changed(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    const Sluice__NodeChanged *told = (const void *)mail->body;
    bool below = false;
    for (int i = 0; i < EDGES; i++)
        below |= mail->from == node->base.below[i];
    if (below)
        below_is(node, mail->from, told->facts);
}

static void on_node_watch(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    const Sluice__NodeWatch *watch = (const void *)mail->body;
    size_t i = 0;
    while (i < node->nwatchers && node->watchers[i] != watch->parent)
        i++;

    if (watch->watch && node->stage != NODE_OPEN) {
        struct err err;
        err_set(&err, -ENXIO, "node %s is not open", actor_name(self));
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    if (watch->watch && i == node->nwatchers) {
        actor_addr *more = realloc(node->watchers, (i + 1) * sizeof(*more));
        if (!more)
            abort();
        more[i] = watch->parent;
        node->watchers = more;
        node->nwatchers++;
    } else if (!watch->watch && i < node->nwatchers) {
        node->watchers[i] = node->watchers[--node->nwatchers];
    }
    actor_reply(self, mail_ticket(mail), MAIL_NODE_FACTS, facts_mail(node));
}

static void watch_below(struct node *node, enum driver_edge edge, bool watch, actor_reply_fn *fn,
                        void *arg)
{
    struct actor *self = node->base.actor;
    Sluice__NodeWatch *body = MAIL_NEW(sluice__node_watch);
    body->parent = actor_address(self);
    body->watch = watch;
    if (fn)
        actor_ask(self, node->base.below[edge], MAIL_NODE_WATCH, body, fn, arg);
    else
        actor_tell(self, node->base.below[edge], MAIL_NODE_WATCH, body);
}

static void watch_no_more(struct node *node)
{
    for (int i = 0; i < EDGES; i++)
        if (node->base.below[i])
            watch_below(node, (enum driver_edge)i, false, NULL, NULL);
}

static void caught_up(struct actor *self, struct mail *reply, void *arg)
{
    struct op *op = arg;
    struct node *node = actor_state(self);
    if (!mail_fault(reply))
        below_is(node, node->base.child, (const void *)reply->body);
    op_complete(op, op->ret);
}

/* The answer to another question comes after the news. */
static void catch_up(struct driver_node *base, struct op *op)
{
    watch_below(node_of(base), EDGE_CHILD, true, caught_up, op);
}

static void emit(struct driver_node *base, Sluice__Event__Severity severity,
                 Sluice__Event__BodyCase what, void *body)
{
    emit_event(base->actor, "node", base->name, severity, what, body);
}

/* --- Opening */

static int refuse_driver(const char *name, struct err *err)
{
    char known[200] = "";
    for (const struct driver *const *driver = drivers; *driver; driver++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "", (*driver)->name);
    }
    return err_field(err, "driver", -EINVAL, "there is no driver '%.47s'; the drivers are %s", name,
                     known);
}

static int prepare(struct node *node, const Sluice__NodeOpen *open, struct err *err)
{
    struct driver_node *base = &node->base;
    const Sluice__NodeAdd *spec = open->spec;

    base->driver = driver_find(spec->driver);
    if (!base->driver)
        return refuse_driver(spec->driver, err);
    if (base->driver->filter && !open->child)
        return err_field(err, "child", -EINVAL,
                         "node %s: driver %s stands on another node; name it with child=",
                         base->name, spec->driver);
    if (!base->driver->filter && open->child)
        return err_field(err, "child", -EINVAL,
                         "node %s: driver %s stands on no other node; leave child= out", base->name,
                         spec->driver);
    if (base->driver->backing && !open->backing)
        return err_field(err, "backing", -EINVAL,
                         "node %s: driver %s stands on a second node, which holds what is not on "
                         "its child; name it with backing=",
                         base->name, spec->driver);
    if (!base->driver->backing && open->backing)
        return err_field(err, "backing", -EINVAL,
                         "node %s: driver %s has no backing; leave backing= out", base->name,
                         spec->driver);
    base->child = open->child;
    base->backing = open->backing;

    struct option_pair *pairs = calloc(spec->n_options + 1, sizeof(*pairs));
    if (!pairs)
        abort();
    for (size_t i = 0; i < spec->n_options; i++)
        pairs[i] = (struct option_pair){spec->options[i]->key, spec->options[i]->value};
    char whose[64];
    snprintf(whose, sizeof(whose), "driver %s", base->driver->name);
    node->options = option_check(base->driver->options, whose, pairs, spec->n_options, err);
    free(pairs);
    if (!node->options)
        return -EINVAL;

    base->options = node->options;
    base->throttle_send = throttle_send;
    if (open->throttle) {
        base->throttle_address = open->throttle->address;
        base->throttle_group = open->throttle->group;
    }
    base->state = calloc(1, base->driver->size + 1);
    if (!base->state)
        abort();
    return 0;
}

static void close_now(struct node *node);

static void opened(struct driver_node *base, int ret, const struct err *why)
{
    struct node *node = node_of(base);
    if (ret < 0) {
        struct err err;
        if (why)
            err = *why;
        else
            err_set(&err, ret, "node %s can't be opened: %s", base->name, strerror(-ret));
        node->stage = NODE_BROKEN;
        watch_no_more(node);
        actor_refuse(base->actor, node->ticket, &err);
    } else {
        assert(base->facts.alignment && !(base->facts.alignment & (base->facts.alignment - 1)));
        node->stage = NODE_OPEN;
        node->told = base->facts;
        node_limits(node);
        if (base->driver->child_changed) /* while it was opened, maybe */
            base->driver->child_changed(base);
        actor_reply(base->actor, node->ticket, MAIL_NODE_FACTS, facts_mail(node));
    }
    if (node->close_asked)
        close_now(node);
}

/* What it stands on is known when the driver opens. */
static void watch_next(struct node *node);

static void on_watching(struct actor *self, struct mail *reply, void *arg)
{
    struct driver_node *base = arg;
    struct node *node = node_of(base);
    (void)self;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        opened(base, err.code, &err);
        return;
    }
    below_is(node, base->below[node->watched], (const void *)reply->body);
    node->watched++;
    watch_next(node);
}

static void watch_next(struct node *node)
{
    while (node->watched < EDGES && !node->base.below[node->watched])
        node->watched++;
    if (node->watched < EDGES)
        watch_below(node, (enum driver_edge)node->watched, true, on_watching, &node->base);
    else
        node->base.driver->open(&node->base, opened);
}

static void on_node_open(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    struct err err;
    if (node->stage != NODE_NEW) {
        err_set(&err, -EBUSY, "node %s has been opened before", actor_name(self));
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    node->ticket = mail_ticket(mail);
    node->base.inactive = ((const Sluice__NodeOpen *)mail->body)->inactive;
    if (prepare(node, (const void *)mail->body, &err) < 0) {
        node->stage = NODE_BROKEN;
        actor_refuse(self, node->ticket, &err);
        return;
    }
    node->stage = NODE_OPENING;
    watch_next(node);
}

/* --- Changing options */

/* The pairs in force, but those that are given anew. Names and values are borrowed. */
static struct option_pair *merge_options(const struct node *node, const Sluice__NodeSet *set,
                                         size_t *n)
{
    struct option_pair *pairs = NULL;
    const char *name, *value;
    *n = 0;
    for (size_t i = 0; option_next(node->options, &i, &name, &value);) {
        size_t given = 0;
        while (given < set->n_options && !reflect_same_name(set->options[given]->key, name))
            given++;
        if (given < set->n_options)
            continue;
        pairs = mem_resize(pairs, (*n + 1) * sizeof *pairs);
        pairs[(*n)++] = (struct option_pair){name, value};
    }
    for (size_t i = 0; i < set->n_options; i++) {
        pairs = mem_resize(pairs, (*n + 1) * sizeof *pairs);
        pairs[(*n)++] = (struct option_pair){set->options[i]->key, set->options[i]->value};
    }
    return pairs;
}

static int check_live(const struct node *node, const Sluice__NodeSet *set, struct err *err)
{
    const struct driver *driver = node->base.driver;
    if (!set->n_options)
        return err_field(err, "options", -EINVAL,
                         "node %s: nothing to set was named; give KEY=VALUE", node->base.name);
    for (size_t i = 0; i < set->n_options; i++) {
        const struct option *option = driver->options;
        while (option && option->name && !reflect_same_name(option->name, set->options[i]->key))
            option++;
        /* An unknown one is refused, with the known ones, by option_check(). */
        if (option && option->name && !option->live)
            return err_field(err, option->name, -ENOTSUP,
                             "node %s: option %s of driver %s can't be changed while the node is "
                             "open; remove the node, and add it anew",
                             node->base.name, option->name, driver->name);
    }
    return 0;
}

static int set_options(struct node *node, const Sluice__NodeSet *set, struct err *err)
{
    const struct driver *driver = node->base.driver;
    if (check_live(node, set, err) < 0)
        return err->code;
    char whose[64];
    snprintf(whose, sizeof(whose), "driver %s", driver->name);
    size_t n;
    struct option_pair *pairs = merge_options(node, set, &n);
    struct option_set *options = option_check(driver->options, whose, pairs, n, err);
    free(pairs);
    if (!options)
        return err->code;
    if (driver->set && driver->set(&node->base, options, err) < 0) {
        option_set_free(&options);
        return err->code;
    }
    option_set_free(&node->options);
    node->base.options = node->options = options;
    return 0;
}

static void on_node_set(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    struct err err = {0};
    if (node->stage != NODE_OPEN)
        err_set(&err, -ENXIO, "node %s is not open", actor_name(self));
    else
        set_options(node, (const void *)mail->body, &err);
    if (err.code < 0)
        actor_refuse(self, mail_ticket(mail), &err);
    else
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

/* --- Moving */

static void on_move(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    unsigned reactor = ((const Sluice__Move *)mail->body)->reactor;
    if (node->stage != NODE_OPEN || node->in_flight || node->activation.correlation) {
        struct err err = {0};
        err_set(&err, -EBUSY, "node %s can't move now: it is not open, or not quiet",
                actor_name(self));
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    if (reactor == reactor_id(node->base.reactor)) {
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
        return;
    }
    node->mover = mail_ticket(mail);
    actor_move(self, reactor);
}

/* --- What it keeps */

/* It counts as in flight: nothing closes or moves the node meanwhile. */
static void invalidated(struct driver_node *base, int ret, const struct err *why)
{
    struct node *node = node_of(base);
    struct ticket ticket = node->invalidator;
    struct err err = {0};
    node->invalidator = (struct ticket){0};
    if (why)
        err = *why;
    else if (ret < 0)
        err_set(&err, ret, "node %s can't reread what it keeps: %s", base->name, strerror(-ret));
    if (err.code < 0)
        actor_refuse(base->actor, ticket, &err);
    else
        actor_reply(base->actor, ticket, MAIL_NONE, NULL);
    if (!--node->in_flight && node->stage == NODE_CLOSING)
        node_quiet(node);
}

static void on_invalidate(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    const struct driver *driver = node->base.driver;
    struct err err = {0};
    if (node->stage != NODE_OPEN)
        err_set(&err, -ENXIO, "node %s is not open", actor_name(self));
    else if (node->invalidator.correlation || node->activation.correlation)
        err_set(&err, -EBUSY, "node %s rereads what it keeps already", actor_name(self));
    if (err.code < 0) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    node->invalidator = mail_ticket(mail);
    node->in_flight++;
    if (driver->invalidate)
        driver->invalidate(&node->base, invalidated);
    else
        invalidated(&node->base, 0, NULL);
}

/* --- Closing */

static void closed(struct driver_node *base)
{
    actor_reply(base->actor, node_of(base)->close_ticket, MAIL_NONE, NULL);
    actor_stop(base->actor);
}

void node_quiet(struct node *node)
{
    if (node->buffer_asks)
        return; /* the last answer comes back here */
    watch_no_more(node);
    node_buffers_tell(node, false);
    node->base.driver->close(&node->base, closed);
}

static void close_now(struct node *node)
{
    if (node->stage != NODE_OPEN) {
        closed(&node->base);
        return;
    }
    node->stage = NODE_CLOSING;
    node_limits(node);
    if (!node->in_flight)
        node_quiet(node);
}

static void on_close(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    if (node->close_asked) {
        struct err err;
        err_set(&err, -EALREADY, "node %s is closing already", actor_name(self));
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    node->close_asked = true;
    node->close_ticket = mail_ticket(mail);
    if (node->stage != NODE_OPENING)
        close_now(node);
}

static void on_abort(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    (void)mail;
    node->aborted = true;
    node_limits(node);
    if (node->stage == NODE_OPEN && node->base.driver->abort)
        node->base.driver->abort(&node->base);
}

/* --- Life */

static void settle(struct actor *self)
{
    struct node *node = actor_state(self);
    node->base.reactor = actor_reactor(self);
    node->base.peer = actor_peer(self);
}

static void node_init(struct actor *self)
{
    struct node *node = actor_state(self);
    node->base.actor = self;
    node->base.name = actor_name(self);
    node->base.changed = changed;
    node->base.catch_up = catch_up;
    node->base.emit = emit;
    node->writes.go = node_write_goes_on;
    settle(self);
}

static void node_fini(struct actor *self)
{
    struct node *node = actor_state(self);
    free(node->base.state);
    free(node->watchers);
    option_set_free(&node->options);
    node_buffers_fini(node);
}

static void node_leave(struct actor *self)
{
    struct node *node = actor_state(self);
    assert(!node->in_flight);
    if (node->stage == NODE_OPEN)
        node_buffers_tell(node, false);
    if (node->stage == NODE_OPEN && node->base.driver->leave)
        node->base.driver->leave(&node->base);
}

static void node_arrive(struct actor *self)
{
    struct node *node = actor_state(self);
    settle(self);
    if (node->stage == NODE_OPEN && node->base.driver->arrive)
        node->base.driver->arrive(&node->base);
    if (node->stage == NODE_OPEN)
        node_buffers_tell(node, true);
    actor_reply(self, node->mover, MAIL_NONE, NULL);
    node->mover = (struct ticket){0};
}

const struct actor_type node_type = {
    .name = "node",
    .size = sizeof(struct node),
    .init = node_init,
    .fini = node_fini,
    .submit = node_submit,
    .leave = node_leave,
    .arrive = node_arrive,
    .handlers =
        {
            [MAIL_NODE_OPEN] = on_node_open,
            [MAIL_NODE_WATCH] = on_node_watch,
            [MAIL_NODE_SET] = on_node_set,
            [MAIL_NODE_INVALIDATE] = on_invalidate,
            [MAIL_NODE_PERMIT] = node_on_permit,
            [MAIL_THROTTLE_GRANT] = node_on_throttle_grant,
            [MAIL_THROTTLE_JOIN] = node_on_throttle_join,
            [MAIL_MOVE] = on_move,
            [MAIL_LET_THROUGH] = node_on_let_through,
            [MAIL_NODE_CHANGED] = on_node_changed,
            [MAIL_BUFFER] = node_on_buffer,
            [MAIL_DESCRIBE] = node_on_describe,
            [MAIL_NODE_MEDIUM] = node_on_medium,
            [MAIL_CLOSE] = on_close,
            [MAIL_ABORT] = on_abort,
        },
};
