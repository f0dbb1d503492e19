/* port.h — an embedding thread's way to the actors: sends operations and mail, and reaps what comes
 * back.
 *
 * One port per thread; all functions run on that thread. A closed port's place is kept for the next
 * one. In a stepped engine, waiting steps the engine. */
#ifndef SLUICE_PORT_H
#define SLUICE_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/actor.h"
#include "engine/engine.h"

struct port;

struct port *port_open(struct engine *engine, struct err *err);
/* Nothing may be outstanding. */
void port_close(struct port **port);
/* Frees the places of all, for an engine that ends. */
void port_free_all(struct engine *engine);

/* Where the port makes operations: op_new(port_peer(port)), push a frame, op_send(). */
struct peer *port_peer(struct port *port);
actor_addr port_address(const struct port *port);

typedef void port_reply_fn(struct port *port, struct mail *reply, void *arg);
void port_ask(struct port *port, actor_addr to, unsigned kind, void *body, port_reply_fn *fn,
              void *arg);
void port_tell(struct port *port, actor_addr to, unsigned kind, void *body);
/* Answers mail that came, now or later, as actor_reply() and actor_refuse() do. */
void port_reply(struct port *port, struct ticket ticket, unsigned kind, void *body);
void port_refuse(struct port *port, struct ticket ticket, const struct err *err);
/* Mail that is no reply (BACKEND_CHANGED, say) goes here; the mail stays the port's. */
void port_on_mail(struct port *port, void (*fn)(struct port *port, struct mail *mail, void *arg),
                  void *arg);
/* Asks and waits; returns 0 and the reply's body (the caller's; null when it has none), or the
 * fault. */
int port_call(struct port *port, actor_addr to, unsigned kind, void *body, void **reply,
              struct err *err);

/* While it is plugged, operations gather; mail goes. Unplugged, they go in one burst. */
void port_plug(struct port *port);
void port_unplug(struct port *port);

/* Sends what is queued. */
void port_flush(struct port *port);
/* Flushes, takes what has arrived, runs what it completes. Returns whether anything arrived. */
bool port_poll(struct port *port);
/* As port_poll, but waits for something to arrive, at most `timeout_ns` (UINT64_MAX: for ever). */
bool port_wait(struct port *port, uint64_t timeout_ns);
int port_fd(const struct port *port);
/* Arms the descriptor; false when something has arrived already. */
bool port_arm(struct port *port);

#endif
