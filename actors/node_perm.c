/* node_perm.c — what those above a node may do there, and whether another process may own what it
 * stands on. Both come as a change that is prepared, then committed or aborted. */
#include "actors/node_io.h"

#include <errno.h>

static int permit(const struct node *node, struct driver_perms perms, struct err *err)
{
    const struct driver_node *base = &node->base;
    unsigned change = perms.perm & (PERM_WRITE | PERM_WRITE_UNCHANGED | PERM_RESIZE);
    if (node->stage != NODE_OPEN)
        return err_set(err, -ENXIO, "node %s is not open", base->name);
    if (base->facts.read_only && change)
        return err_set(err, -EPERM,
                       "node '%s' is read-only, so nobody can have '%s' there; ask for reading "
                       "only, or make it writable",
                       base->name, driver_perm_names[__builtin_ctz(change)]);
    if (base->driver->permit)
        return base->driver->permit((struct driver_node *)base, perms, err);
    return 0;
}

static void activated(struct driver_node *base, int ret, const struct err *err)
{
    struct node *node = (struct node *)base;
    struct ticket ticket = node->activation;
    node->activation = (struct ticket){0};
    node->activated = ret == 0;
    if (ret < 0)
        actor_refuse(base->actor, ticket, err);
    else
        actor_reply(base->actor, ticket, MAIL_NONE, NULL);
}

/* Permissions are only checked: there is nothing to give back when they don't stand. What the node
 * needs to be active is taken. */
static void prepare(struct node *node, const Sluice__NodePermit *asked, struct ticket ticket)
{
    struct driver_node *base = &node->base;
    struct err err = {0};
    if (permit(node, (struct driver_perms){asked->permissions->perm, asked->permissions->shared},
               &err) < 0) {
        actor_refuse(base->actor, ticket, &err);
        return;
    }
    if (base->inactive && !asked->inactive && node->invalidator.correlation) {
        err_set(&err, -EBUSY, "node '%s' rereads what it keeps; activate it when that is done",
                base->name);
        actor_refuse(base->actor, ticket, &err);
        return;
    }
    if (!base->inactive || asked->inactive || !base->driver->activate) {
        actor_reply(base->actor, ticket, MAIL_NONE, NULL);
        return;
    }
    node->activation = ticket;
    base->driver->activate(base, activated);
}

static void release(struct node *node)
{
    node->activated = false;
    if (node->stage == NODE_OPEN && node->base.driver->inactivate)
        node->base.driver->inactivate(&node->base);
}

void node_on_permit(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    const Sluice__NodePermit *asked = (const void *)mail->body;
    switch (asked->step) {
    case SLUICE__NODE_PERMIT__STEP__PREPARE:
        prepare(node, asked, mail_ticket(mail));
        break;
    case SLUICE__NODE_PERMIT__STEP__COMMIT:
        node->base.perms =
            (struct driver_perms){asked->permissions->perm, asked->permissions->shared};
        if (asked->inactive && !node->base.inactive)
            release(node);
        node->base.inactive = asked->inactive;
        node->activated = false;
        node_limits(node);
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
        break;
    default:
        if (node->activated)
            release(node);
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
    }
}
