#include "drivers/driver.h"

const char *const driver_can_names[] = {
    "discard", "zeroes", "fua",     "resize",   "flush",  "grow",
    "unmap",   "ioctl",  "vmstate", "compress", "status", "make-empty",
};
_Static_assert(sizeof driver_can_names / sizeof *driver_can_names == DRIVER_CANS &&
                   DRIVER_CAN_MAKE_EMPTY == 1 << (DRIVER_CANS - 1),
               "a name for each capability");

const char *const driver_perm_names[] = {
    "consistent-read", "write", "write-unchanged", "resize", "graph-mod",
};
_Static_assert(sizeof driver_perm_names / sizeof *driver_perm_names == PERMS &&
                   PERM_GRAPH_MOD == 1 << (PERMS - 1) && PERM_ALL == (1 << PERMS) - 1,
               "a name for each permission");
