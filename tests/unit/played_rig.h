/* played_rig.h — the parts that stack_rig.h's port plays: a device, and one who is told of media.
 * For stack_rig.c only, which has what tests call in its header. */
#ifndef PLAYED_RIG_H
#define PLAYED_RIG_H

#include "stack_rig.h"

#include "engine/port.h"

/* Of the engine that runs. */
struct port *stack_port(void);
/* Another engine begins: nothing is noted yet. */
void played_start(void);
/* Takes what is for one of the parts, or returns false. */
bool played_mail(const struct mail *mail);

#endif
