/* throttle.h — the actor of a tree of throttle groups, and how members write to it.
 *
 * It lives until the root group is closed. It is told of groups by the graph, and of members by
 * themselves: a backend, or a node with a throttle driver (drivers/throttle_member.h). See the
 * messages in proto/internal.proto. */
#ifndef SLUICE_THROTTLE_H
#define SLUICE_THROTTLE_H

#include "actors/kinds.h"
#include "drivers/throttle_member.h"

extern const struct actor_type throttle_type;

throttle_send_fn throttle_send;

#endif
