/* engine.h — the reactors together: start, stop, and stepping by hand.
 *
 * Threads: real reactors are pinned, one to a CPU. A stepped engine has no threads: the caller
 * steps it, with virtual time, and the order of what happens is drawn from a seed, so that a
 * failing seed replays. */
#ifndef SLUICE_ENGINE_H
#define SLUICE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/actor.h"
#include "engine/err.h"
#include "engine/reactor.h"

struct engine;
struct mesh;

#define ENGINE_THREADS_MAX 64

struct engine_options {
    unsigned threads; /* reactors; 0: one per CPU that the process may run on */
    const int *cpus;  /* the CPU of each; null: the first that the process may run on */
    const ProtobufCMessageDescriptor *const *bodies; /* of mail, by kind */
    unsigned nbodies;
    const void *world; /* for actor_world(); may be filled in until engine_start() */
    bool stepped;
    uint64_t seed; /* of a stepped engine's order */
};

/* Makes the reactors, without running them. */
struct engine *engine_new(const struct engine_options *options, struct err *err);
/* Starts the threads; nothing to do for a stepped engine. */
int engine_start(struct engine *engine, struct err *err);
/* Ends the threads; the actors that are left end, each on its reactor. Ports are closed before. */
void engine_free(struct engine **engine);

unsigned engine_threads(const struct engine *engine);
struct reactor *engine_reactor(const struct engine *engine, unsigned index);
struct mesh *engine_mesh(const struct engine *engine);

/* As actor_spawn, from any thread. */
actor_addr engine_spawn(struct engine *engine, const struct actor_type *type, const char *name,
                        unsigned reactor);

/* Stepping. One step runs one turn of a reactor that the seed chooses, with a part of what it could
 * take; true when something was done. */
bool engine_step(struct engine *engine);
/* Steps until nothing is left to do at this time. Waits for system calls that are under way when
 * they are all that is left, except those that wait for the outside (sockets, polls). */
void engine_settle(struct engine *engine);
/* Lets `ns` pass, timer by timer, settling at each. */
void engine_advance(struct engine *engine, uint64_t ns);
uint64_t engine_now(const struct engine *engine);

#endif
