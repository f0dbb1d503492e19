/* drained_rig.h — drained regions in a whole stepped engine. */
#ifndef DRAINED_RIG_H
#define DRAINED_RIG_H

#include "shown_rig.h"

/* Asks for a region of the holder with this number (0: the port's own), around a backend, a node
 * (in which case `backend` is 0), or all. */
void drained_ask(struct stack_answer *answer, unsigned number, actor_addr backend,
                 const char *node);
/* The region that an answer has given. */
uint64_t drained_region(const struct stack_answer *answer);
/* Asks, waits, expects success; returns the region. */
uint64_t drained_begin(unsigned number, actor_addr backend, const char *node);
void drained_end(uint64_t region);

#endif
