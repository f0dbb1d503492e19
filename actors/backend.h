/* backend.h — the actor between frontends and a node: it checks, counts and pauses.
 *
 * Mail: BACKEND_OPEN first of all; SESSION_OPEN and SESSION_CLOSE from frontends; DRAIN_BEGIN and
 * DRAIN_END, between which operations wait; NODE_CHANGED from its node; DESCRIBE, answered with a
 * BACKEND_INFO that lacks the users; CLOSE, refused (-EBUSY) while sessions are open; ABORT.
 *
 * DRAIN_BEGIN and CLOSE are answered when nothing is in flight: callbacks on the backend's own
 * reactor have returned, and to other threads the completions have left, so that one which asks
 * itself has seen the ends of its own operations.
 *
 * OP_CANCEL ends the operation that it names if that waits here, and is passed on if it does not.
 * It ends with 0, or -ENOENT when the operation has ended; it waits for no drain and no pause.
 *
 * Operations that are refused here end with -EIO (too long, or outside the medium), -ENOMEDIUM,
 * -EPERM (what it has no permission for, or on a read-only one), -EACCES (a truncate on
 * one) or -EINVAL. */
#ifndef SLUICE_BACKEND_H
#define SLUICE_BACKEND_H

#include "engine/actor.h"

extern const struct actor_type backend_type;

/* How a medium is opened. */
enum open_flag { OPEN_READ_WRITE = 1, OPEN_DIRECT = 2, OPEN_UNMAP = 4 };
#define OPEN_FLAGS 3

#endif
