/* node_medium.c — what a frontend does to the drive that a medium may be in. */
#include "actors/node_io.h"

void node_on_medium(struct actor *self, struct mail *mail)
{
    const struct node *node = actor_state(self);
    Sluice__DeviceState__Act act = ((Sluice__NodeMedium *)mail->body)->act;
    struct driver_node *base = (struct driver_node *)&node->base;
    if (node->stage != NODE_OPEN || act == SLUICE__DEVICE_STATE__ACT__NONE)
        return;
    bool moves = act == SLUICE__DEVICE_STATE__ACT__EJECT || act == SLUICE__DEVICE_STATE__ACT__LOAD;
    if (moves && base->driver->eject) {
        base->driver->eject(base, act == SLUICE__DEVICE_STATE__ACT__EJECT);
    } else if (!moves && base->driver->lock_medium) {
        base->driver->lock_medium(base, act == SLUICE__DEVICE_STATE__ACT__LOCK);
    } else if (base->child) {
        actor_tell(self, base->child, MAIL_NODE_MEDIUM, mail->body);
        mail->body = NULL;
    }
}
