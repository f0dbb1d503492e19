/* probe_rig.h — a driver that notes what reaches it, for whole stepped engines. */
#ifndef PROBE_RIG_H
#define PROBE_RIG_H

#include "drivers_rig.h"
#include "shown_rig.h"

#define PROBE_OPS 4096 /* that it notes at most */

/* Options: error=ERRNO, which its length is; read-only=on; fua=off; fails=on, with -ENOSPC. */
extern const struct driver driver_probe;

/* What reached all nodes of it; the test sets `n` to 0. */
extern struct probe_rig {
    unsigned n;
    struct {
        unsigned kind, flags;
        int64_t offset;
    } op[PROBE_OPS];
} probe;

#endif
