/* events.h — the events actor: numbers, keeps and publishes.
 *
 * Every Emit gets the boot epoch, the next sequence number, the next number of its topic and the
 * time; its packed form is kept for replay and published. Because it is one actor, and mail from
 * one sender keeps its order, events come in the order in which they were emitted.
 *
 * Opened by EVENTS_OPEN. Closed by CLOSE, last of all actors: it publishes SHUTDOWN, and what was
 * sent lingers until the ZeroMQ context is terminated. A slow subscriber's queue is bounded:
 * beyond it the subscriber misses events, sees the gap, and replays. */
#ifndef SLUICE_EVENTS_H
#define SLUICE_EVENTS_H

#include "engine/actor.h"

#define EVENTS_REPLAY        1000          /* events in one reply, at most */
#define EVENTS_REPLAY_BYTES  (1000 * 1000) /* their packed bytes, at most */
#define EVENTS_QUEUE         10000         /* messages that wait for one subscriber, at most */
#define EVENTS_SUBSCRIPTIONS 65536         /* of all subscribers; beyond it all have to come anew */

extern const struct actor_type events_type;

#endif
