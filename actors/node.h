/* node.h — the actor that hosts one driver instance.
 *
 * Spawned by the graph, it is first sent NODE_OPEN; until that has been answered, operations end
 * with -ENXIO. A refused open leaves a node that knows CLOSE only. NODE_WATCH adds and removes
 * those who are told (NODE_CHANGED) when its facts change. DESCRIBE is answered with a NODE_INFO
 * that lacks what the graph alone knows: the child's and the users' names. CLOSE waits until no
 * operation is in flight (new ones end with -ENXIO), closes the driver, answers, and ends the
 * actor. NODE_INVALIDATE makes the driver reread what it keeps. NODE_SET changes those options of
 * the driver that can be changed while it is open. ABORT makes every operation end with -ESHUTDOWN
 * from then on, and those that wait in the driver. It can be moved to another reactor while it is
 * open and nothing is in flight.
 *
 * Operations: whatever is inside the facts' length is taken, in any size, alignment and vector;
 * what the driver can't take as it is, is split, bounced or emulated (node_slow.c). They end with
 * 0, with what the driver ends them with, or with
 *
 * - -EIO: outside the medium (when its length can't be told, with that error instead);
 * - -EPERM: a write, zeroes or discard on a read-only node; -EACCES: a truncate on one;
 * - -EINVAL: a truncate to a negative length, or one with a preallocation that shrinks;
 * - -ENOTSUP: discard, truncate or OP_NO_FALLBACK zeroes that the driver can't do;
 * - -ENOMEM: no memory to bounce.
 *
 * OP_CANCEL (node_cancel.c) asks for the early end of one; it ends with 0 when that has been asked,
 * -ENOTSUP when the driver can't, -ENOENT when the operation has ended.
 *
 * A status is answered for a driver that can't tell it: all is data, and allocated.
 *
 * Overlapping writes, zeroes and discards that change parts of the same block of a driver with an
 * alignment run one after the other, so none is lost. */
#ifndef SLUICE_NODE_H
#define SLUICE_NODE_H

#include "actors/kinds.h"
#include "drivers/driver.h"

extern const struct actor_type node_type;

/* Facts as messages and back. `out` of the first is overwritten, and owns nothing. What a message
 * does not tell is 0. */
void node_facts_to_message(const struct driver_facts *facts, Sluice__NodeFacts *out);
void node_facts_from_message(const Sluice__NodeFacts *message, struct driver_facts *out);

#endif
