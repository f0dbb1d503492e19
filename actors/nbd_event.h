/* nbd_event.h — what an NBD export tells of its clients. */
#ifndef SLUICE_NBD_EVENT_H
#define SLUICE_NBD_EVENT_H

#include <stdint.h>

#include "engine/actor.h"

/* CLIENT_CONNECTED. `export` is the export's id. */
void nbd_tell_connected(struct actor *self, const char *export, uint64_t number, const char *peer);

/* CLIENT_DISCONNECTED. */
void nbd_tell_disconnected(struct actor *self, const char *export, uint64_t number,
                           const char *peer, const char *reason);

#endif
