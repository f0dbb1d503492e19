/* nbd_rig.h — one reactor, stepped by hand with a virtual clock, for test_nbd.c. */
#ifndef NBD_RIG_H
#define NBD_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/actor.h"
#include "engine/clock.h"

struct rig_answer {
    bool came;
    unsigned kind;  /* of the reply; MAIL_FAULT for a refusal */
    char text[464]; /* of the refusal */
};

/* Starts an engine of one reactor with an actor of each type; the second is the world's `events`.
 */
void rig_start(const struct actor_type *backend, const struct actor_type *events);
/* Ends it; checks that no actor but these two is left, nothing is with the ring, no buffer is held.
 */
void rig_stop(void);
actor_addr rig_spawn(const struct actor_type *type, const char *name);
actor_addr rig_address(const struct actor_type *type); /* of one given to rig_start() */
/* Asks from outside, and settles; the answer may come later. */
void rig_ask(actor_addr to, unsigned kind, void *body, struct rig_answer *answer);
/* Steps until nothing more happens; each step takes 20 us of virtual time. */
void rig_settle(void);
/* Lets time pass, then settles. */
void rig_advance(uint64_t ns);

#endif
