/* drivers.c — the drivers that there are: one line each. */
#include "drivers/driver.h"

#include <string.h>

extern const struct driver driver_null, driver_memory, driver_file, driver_raw, driver_fault,
    driver_mock, driver_copy_on_read, driver_write_threshold, driver_overlay, driver_throttle;

const struct driver *const drivers[] = {
    &driver_null,
    &driver_memory,
    &driver_file,
    &driver_raw,
    &driver_overlay,
    &driver_copy_on_read,
    &driver_write_threshold,
    &driver_throttle,
    &driver_fault,
    &driver_mock,
    NULL,
};

const struct driver *driver_find(const char *name)
{
    for (const struct driver *const *driver = drivers; *driver; driver++)
        if (!strcmp((*driver)->name, name))
            return *driver;
    return NULL;
}
