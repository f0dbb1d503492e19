/* node_info.c — what a node tells of itself: facts as messages and back, and its description. */
#include "actors/node_io.h"

#include <stdlib.h>

/* --- Facts */

void node_facts_to_message(const struct driver_facts *facts, Sluice__NodeFacts *out)
{
    *out = (Sluice__NodeFacts)SLUICE__NODE_FACTS__INIT;
    out->length = facts->length;
    out->alignment = facts->alignment;
    out->has_max_transfer = facts->max_transfer != 0;
    out->max_transfer = facts->max_transfer;
    out->has_max_vector = facts->max_vector != 0;
    out->max_vector = facts->max_vector;
    out->has_optimal_transfer = facts->optimal_transfer != 0;
    out->optimal_transfer = facts->optimal_transfer;
    out->read_only = facts->read_only;
    out->can = facts->can;
    out->has_direct = true;
    out->direct = facts->direct;
    out->has_empty = out->has_sg = true;
    out->empty = facts->empty;
    out->sg = facts->sg;
    out->has_logical_block = out->has_physical_block = true;
    out->logical_block = facts->logical_block;
    out->physical_block = facts->physical_block;
    out->has_cylinders = out->has_heads = out->has_sectors = true;
    out->cylinders = facts->cylinders;
    out->heads = facts->heads;
    out->sectors = facts->sectors;
}

void node_facts_from_message(const Sluice__NodeFacts *message, struct driver_facts *out)
{
    *out = (struct driver_facts){
        .length = message->length,
        .alignment = message->alignment,
        .max_transfer = message->max_transfer,
        .max_vector = message->max_vector,
        .optimal_transfer = message->optimal_transfer,
        .read_only = message->read_only,
        .can = message->can,
        .direct = message->direct,
        .empty = message->empty,
        .sg = message->sg,
        .logical_block = message->logical_block,
        .physical_block = message->physical_block,
        .cylinders = message->cylinders,
        .heads = message->heads,
        .sectors = message->sectors,
    };
}

/* --- Description */

/* Room for one more in a message's list of pointers. */
static void *grow(void *list, size_t *n)
{
    void *more = realloc(list, (*n + 1) * sizeof(void *));
    if (!more)
        abort();
    ++*n;
    return more;
}

static void describe_options(const struct node *node, Sluice__NodeInfo *info)
{
    const char *name, *value;
    for (size_t i = 0; option_next(node->options, &i, &name, &value);) {
        Sluice__Option *option = MAIL_NEW(sluice__option);
        mail_set(&option->key, name);
        mail_set(&option->value, value);
        info->options = grow(info->options, &info->n_options);
        info->options[info->n_options - 1] = option;
    }
}

static void tell_state(void *to, const char *name, const char *value)
{
    Sluice__NodeInfo *info = to;
    Sluice__Option *option = MAIL_NEW(sluice__option);
    mail_set(&option->key, name);
    mail_set(&option->value, value);
    info->state = grow(info->state, &info->n_state);
    info->state[info->n_state - 1] = option;
}

static void describe_can(const struct node *node, Sluice__NodeInfo *info)
{
    for (unsigned bit = 0; bit < DRIVER_CANS; bit++) {
        if (!(node->base.facts.can >> bit & 1))
            continue;
        info->can = grow(info->can, &info->n_can);
        info->can[info->n_can - 1] = NULL;
        mail_set(&info->can[info->n_can - 1], driver_can_names[bit]);
    }
}

void node_on_describe(struct actor *self, struct mail *mail)
{
    const struct node *node = actor_state(self);
    const struct driver_node *base = &node->base;
    Sluice__NodeInfo *info = MAIL_NEW(sluice__node_info);

    mail_set(&info->name, base->name);
    mail_set(&info->driver, base->driver ? base->driver->name : "");
    info->has_reactor = true;
    info->reactor = reactor_id(base->reactor);
    if (node->stage == NODE_OPEN || node->stage == NODE_CLOSING) {
        info->has_length = base->facts.length >= 0;
        info->length = node->length;
        info->has_alignment = info->has_read_only = info->has_max_transfer = true;
        info->alignment = base->facts.alignment;
        info->read_only = base->facts.read_only;
        info->max_transfer = node->max_transfer;
        describe_can(node, info);
        describe_options(node, info);
        assert(base->driver); /* one that is open has it */
        if (base->driver->describe)
            base->driver->describe((struct driver_node *)base, tell_state, info);
    }
    actor_reply(self, mail_ticket(mail), MAIL_NODE_INFO, info);
}
