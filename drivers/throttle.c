/* throttle.c — a filter whose reads, writes, zeroes and discards keep the limits of a throttle
 * group, which it is a member of. */
#include "drivers/driver.h"
#include "drivers/throttle_member.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/mem.h"

struct throttle_filter {
    struct driver_node *node;
    struct throttle_member member;
    char name[80];   /* what the group calls it */
    uint16_t *users; /* whose requests are let through */
    size_t n_users;
    driver_opened_fn *opened;
    void (*closed)(struct driver_node *node);
};

/* The graph knows the group by this name, and tells where it is. */
static const struct option throttle_options[] = {
    {.name = "throttle-group",
     .type = OPTION_STRING,
     .required = true,
     .live = true,
     .help = "the throttle group that it is a member of"},
    {0},
};

static void pass(void *owner, struct op *op)
{
    driver_pass(owner, op);
}

static void open_joined(void *owner, const struct err *err)
{
    struct driver_node *node = owner;
    struct throttle_filter *self = node->state;
    node->member = err ? NULL : &self->member;
    if (err)
        throttle_member_fini(&self->member);
    self->opened(node, err ? err->code : 0, err);
}

static void throttle_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct throttle_filter *self = node->state;
    snprintf(self->name, sizeof self->name, "node '%s'", node->name);
    self->node = node;
    self->opened = opened;
    node->facts = node->child_facts;
    throttle_member_init(&self->member, node->actor, self->name, node->throttle_send, pass, node);
    throttle_member_join(&self->member, node->throttle_address, node->throttle_group, open_joined);
}

static void close_left(void *owner, const struct err *err)
{
    struct driver_node *node = owner;
    struct throttle_filter *self = node->state;
    (void)err; /* leaving is never refused */
    throttle_member_fini(&self->member);
    free(self->users);
    self->closed(node);
}

static void throttle_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    struct throttle_filter *self = node->state;
    self->closed = closed;
    node->member = NULL;
    throttle_member_close(&self->member, close_left);
}

static void resized(struct op *op, void *who)
{
    driver_catch_up(who, op);
}

static bool is_let_through(const struct throttle_filter *self, const struct op *op)
{
    for (size_t i = 0; i < self->n_users; i++)
        if (self->users[i] == op->user)
            return true;
    return false;
}

static void throttle_submit(struct driver_node *node, struct op *op)
{
    struct throttle_filter *self = node->state;
    if (op->flags & OP_BEYOND_END || op->kind == OP_TRUNCATE)
        op_push(op, resized, node);
    if (op->kind > OP_DISCARD)
        driver_pass(node, op);
    else if (op->flags & OP_UNTHROTTLED)
        throttle_member_pass(&self->member, op);
    else if (throttle_member_pays(&self->member, op))
        driver_pass(node, op);
    else if (is_let_through(self, op))
        throttle_member_go(&self->member, op);
    else
        throttle_member_wait(&self->member, op);
}

static bool throttle_cancel(struct driver_node *node, struct op *op)
{
    struct throttle_filter *self = node->state;
    if (op->kind > OP_DISCARD || !throttle_member_cancel(&self->member, op))
        return false;
    op_complete(op, -ECANCELED);
    return true;
}

static void throttle_let_through(struct driver_node *node, uint16_t user, bool on)
{
    struct throttle_filter *self = node->state;
    if (on) {
        self->users = mem_resize(self->users, (self->n_users + 1) * sizeof *self->users);
        self->users[self->n_users++] = user;
        throttle_member_let_go(&self->member, user);
        return;
    }
    for (size_t i = 0; i < self->n_users; i++)
        if (self->users[i] == user) {
            self->users[i] = self->users[--self->n_users];
            return;
        }
}

static void throttle_abort(struct driver_node *node)
{
    struct throttle_filter *self = node->state;
    struct op *op;
    while ((op = throttle_member_take(&self->member)))
        op_complete(op, -ESHUTDOWN);
}

static void throttle_leave(struct driver_node *node)
{
    struct throttle_filter *self = node->state;
    throttle_member_leave(&self->member);
}

static void throttle_arrive(struct driver_node *node)
{
    struct throttle_filter *self = node->state;
    throttle_member_arrive(&self->member);
}

/* Which group it is has been told in another way: see driver_node. */
static int throttle_set(struct driver_node *node, const struct option_set *options, struct err *err)
{
    (void)node;
    (void)options;
    (void)err;
    return 0;
}

static void throttle_child_changed(struct driver_node *node)
{
    node->facts = node->child_facts;
    driver_changed(node);
}

const struct driver driver_throttle = {
    .name = "throttle",
    .help = "Keeps its reads and writes within the limits of a throttle group",
    .options = throttle_options,
    .size = sizeof(struct throttle_filter),
    .filter = true,
    .open = throttle_open,
    .close = throttle_close,
    .submit = throttle_submit,
    .cancel = throttle_cancel,
    .abort = throttle_abort,
    .let_through = throttle_let_through,
    .set = throttle_set,
    .leave = throttle_leave,
    .arrive = throttle_arrive,
    .child_changed = throttle_child_changed,
};
