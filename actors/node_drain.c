/* node_drain.c — what a node does for drained regions: it keeps nobody quiet, but lets go on what
 * its driver makes wait of those who are in them. */
#include "actors/node_io.h"

void node_on_let_through(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    const Sluice__LetThrough *let = (const Sluice__LetThrough *)mail->body;
    const struct driver *driver = node->base.driver;
    /* Nobody stands on one that is not open. */
    if (node->stage == NODE_OPEN && driver->let_through)
        driver->let_through(&node->base, (uint16_t)let->user, let->on);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}
