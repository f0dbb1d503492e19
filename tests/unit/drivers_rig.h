/* drivers_rig.h — the drivers of a test program instead of the library's: a linker takes
 * definitions of the program before it looks into libraries. */
#ifndef DRIVERS_RIG_H
#define DRIVERS_RIG_H

#include <string.h>

#include "drivers/driver.h"

/* Once in a program: the only drivers that it has. */
#define RIG_DRIVERS(...)                                                                           \
    const struct driver *const drivers[] = {__VA_ARGS__, NULL};                                    \
                                                                                                   \
    const struct driver *driver_find(const char *name)                                             \
    {                                                                                              \
        for (const struct driver *const *driver = drivers; *driver; driver++)                      \
            if (!strcmp((*driver)->name, name))                                                    \
                return *driver;                                                                    \
        return NULL;                                                                               \
    }

#endif
