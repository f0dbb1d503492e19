/* request_rig.h — requests of words, for tests of what becomes of messages. */
#ifndef REQUEST_RIG_H
#define REQUEST_RIG_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/words.h"

static inline Sluice__Request *request(const char *line)
{
    struct refusal refusal = {0};
    Sluice__Request *message = words_request_line(line, &refusal);
    if (!message)
        fail_msg("\"%s\" was refused: %s", line, refusal.text);
    return message;
}

static inline void done(Sluice__Request *message)
{
    sluice__request__free_unpacked(message, NULL);
}

#endif
