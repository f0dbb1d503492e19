/* export_nbd.h — an export: a server that offers one backend to NBD clients.
 *
 * The actor listens, accepts, and gives each client a connection of its own (nbd_conn.h) on the
 * same reactor. Mail:
 *
 *     EXPORT_OPEN  checks the options, asks the backend whether it can be had so, listens; answered
 *                  with EXPORT_INFO. On a fault the actor has ended.
 *     DESCRIBE     answered with EXPORT_INFO.
 *     CLOSE        stops listening, ends the connections, each after the replies of what it has in
 *                  flight; answered without a body when all are gone, and the actor ends.
 *
 * Unix sockets and TCP; a client beyond `max_connections` is disconnected at once. */
#ifndef SLUICE_EXPORT_NBD_H
#define SLUICE_EXPORT_NBD_H

#include "engine/actor.h"

extern const struct actor_type export_nbd_type;

#endif
