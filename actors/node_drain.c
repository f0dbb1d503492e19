/* node_drain.c — what a node does for drained regions: it keeps nobody quiet, but lets go on what
 * its driver makes wait. */
#include "actors/node_io.h"

static void tell(struct node *node, bool on)
{
    const struct driver *driver = node->base.driver;
    /* Nobody stands on one that is not open. */
    if (node->stage == NODE_OPEN && driver->drain)
        driver->drain(&node->base, on);
}

void node_on_drain_begin(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    node->drained++;
    tell(node, true);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

void node_on_drain_end(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    if (node->drained && !--node->drained)
        tell(node, false);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}
