/* reactor_info.h — an actor on each reactor that tells of it: DESCRIBE is answered with
 * REACTOR_INFO; CLOSE ends it. */
#ifndef SLUICE_REACTOR_INFO_H
#define SLUICE_REACTOR_INFO_H

#include "engine/actor.h"

extern const struct actor_type reactor_info_type;

#endif
