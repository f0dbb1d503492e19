/* client.h — the programs' side of control and events.
 *
 * Functions that can fail fill in a sentence (`error`, never null, CLIENT_ERROR bytes). */
#ifndef SLUICE_CLIENT_H
#define SLUICE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "control.pb-c.h"
#include "event.pb-c.h"

#define CLIENT_ERROR      512
#define CLIENT_CONNECT_MS 2000 /* for a daemon to answer at all */

/* A connection to a control endpoint. */
struct client;

struct client *client_new(const char *endpoint, int timeout_ms);
void client_free(struct client **client);

/* Sends the request, whose id is set here, and waits for its reply; null with a sentence. An error
 * that the reply tells of is a reply. Free it with sluice__reply__free_unpacked(reply, NULL). */
Sluice__Reply *client_call(struct client *client, Sluice__Request *request, char *error);

/* A subscription to all events. */
struct watch;

struct watch *watch_new(const char *endpoint);
void watch_free(struct watch **watch);

/* The next message, markers too; null when none came in time (`error` is "" then), or what came is
 * no event. Free it with sluice__event__free_unpacked(event, NULL). */
Sluice__Event *watch_next(struct watch *watch, int timeout_ms, char *error);

#endif
