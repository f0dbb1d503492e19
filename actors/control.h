/* control.h — the control actor: requests come in, replies go out.
 *
 * From outside over a ROUTER socket: [identity] [an empty delimiter, or none] [one Request]. Every
 * request gets one Reply; what can't be taken as a request gets an Error reply and costs its sender
 * nothing but that. From inside as REQUEST mail, answered with REPLY mail; so it lives also where
 * there is no endpoint.
 *
 * Opened by CONTROL_OPEN. Closed by CLOSE, after the graph has shut down (requests meanwhile are
 * refused there): answered when no request is under way and the socket is closed. What a medium has
 * not ended within a second gets an error. */
#ifndef SLUICE_CONTROL_H
#define SLUICE_CONTROL_H

#include "control.pb-c.h"
#include "engine/actor.h"

#define CONTROL_REQUEST_BYTES ((5 << 20) / 4) /* of one request; longer ones get an error */
#define CONTROL_FRAME_BYTES   (2 << 20)       /* of one frame; beyond, the connection ends */
#define CONTROL_IN_FLIGHT     1024            /* requests under way, of all clients */

extern const struct actor_type control_type;

/* Checks and unpacks a request from outside the engine. Returns null and the request, or the reply
 * that refuses it, without an id. */
Sluice__Reply *control_unpack(const void *data, size_t size, Sluice__Request **request);

#endif
