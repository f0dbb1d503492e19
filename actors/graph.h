/* graph.h — the actor that owns the tables of nodes, backends and exports.
 *
 * Takes REQUEST (those of the control requests that are about objects, and status), answered with
 * REPLY or a Fault; CLAIM, CLAIM_SET and CLAIM_END, from those who use a backend; EMIT, what an
 * object has to tell: it goes through the graph so that it comes between that object's ADDED and
 * DELETED; and SHUTDOWN, which closes everything, users before what they use, and ends the actor.
 * At the deadline everyone is told to ABORT, and what is not gone shortly after is left to the end
 * of the engine. */
#ifndef SLUICE_GRAPH_H
#define SLUICE_GRAPH_H

#include "engine/actor.h"

extern const struct actor_type graph_type;

#endif
