/* follow.h — `sluice events`: replays, and follows so that nothing is missed. */
#ifndef SLUICE_FOLLOW_H
#define SLUICE_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/client.h"

struct follow {
    struct client *client;
    const char *events; /* endpoint */
    bool json;
    bool follow;
    bool since_given;
    uint64_t since;
    uint64_t count; /* events to print; 0: all */
};

/* Prints events until all that was asked for is printed, or the engine has shut down. Returns the
 * exit status; tells what went wrong on stderr. */
int follow_run(const struct follow *follow);

#endif
