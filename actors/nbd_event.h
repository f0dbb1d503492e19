/* nbd_event.h — what an NBD export tells of its clients. */
#ifndef SLUICE_NBD_EVENT_H
#define SLUICE_NBD_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/actor.h"

/* CLIENT_CONNECTED. `export` is the export's id. */
void nbd_tell_connected(struct actor *self, const char *export, uint64_t number, const char *peer);

/* CLIENT_DISCONNECTED: a warning, unless it is `expected` that the connection ends. */
void nbd_tell_disconnected(struct actor *self, const char *export, uint64_t number,
                           const char *peer, const char *reason, bool expected);

#endif
