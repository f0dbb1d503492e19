#include "tools/defaults.h"

#include <stdio.h>
#include <stdlib.h>

char *default_endpoint(const char *name, char out[ENDPOINT_MAX])
{
    const char *folder = getenv("XDG_RUNTIME_DIR");
    if (!folder || !*folder)
        folder = "/run";
    snprintf(out, ENDPOINT_MAX, "ipc://%s/sluice/%s.sock", folder, name);
    return out;
}
