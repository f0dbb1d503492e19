/* node_throttle.c — mail about the throttle group that a node's driver is a member of. */
#include <errno.h>

#include "actors/node_io.h"
#include "actors/throttle.h"

void node_on_throttle_grant(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    if (node->base.member)
        throttle_member_on_grant(node->base.member, (const Sluice__ThrottleGrant *)mail->body);
}

static void joined(void *owner, const struct err *err)
{
    struct node *node = owner; /* its driver's part is its first */
    struct ticket ticket = node->joiner;
    node->joiner = (struct ticket){0};
    if (err)
        actor_refuse(node->base.actor, ticket, err);
    else
        actor_reply(node->base.actor, ticket, MAIL_NONE, NULL);
}

void node_on_throttle_join(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    const Sluice__ThrottleJoin *join = (const Sluice__ThrottleJoin *)mail->body;
    struct err err = {0};
    if (node->stage == NODE_CLOSING)
        err_set(&err, -EBUSY, "node '%s' is being closed", node->base.name);
    else if (!node->base.member)
        err_set(&err, -ENOTSUP, "node '%s' is no member of throttle groups: its driver is %s",
                node->base.name, node->base.driver ? node->base.driver->name : "not there");
    else if (node->joiner.correlation)
        err_set(&err, -EBUSY, "node '%s' joins another throttle group; try again when it has",
                node->base.name);
    if (err.code) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    node->joiner = mail_ticket(mail);
    throttle_member_join(node->base.member, join->address, join->group, joined);
}
