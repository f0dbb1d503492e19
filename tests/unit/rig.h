/* rig.h — an engine that a test steps by hand: reactors on the test's own thread, an order of
 * events that a seed draws, virtual time, and a port from which the test asks, tells and submits.
 *
 * A test is linear: what is posted or started only leaves with the next call that steps (rig_run,
 * rig_until, rig_advance, rig_ask, rig_io, …). Answers and results are noted in what the caller
 * gives; bodies of answers stay until rig_down(). Actors are spread over the reactors.
 *
 * main() runs the tests once for each seed; a seed is another order, and 1 to 3 reactors:
 *
 *     while (rig_next_seed(6))
 *         failed += cmocka_run_group_tests(tests, NULL, NULL);
 */
#ifndef RIG_H
#define RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/kinds.h"
#include "engine/actor.h"
#include "engine/clock.h"

/* The next of so many seeds (RIG_SEEDS in the environment: of that many), from 1 on; false after
 * the last. Says which. */
bool rig_next_seed(unsigned seeds);

/* --- Life */

/* What all actors see, zeroed by rig_up() but for `threads`. */
extern struct world rig_world;

void rig_up(void);
/* Nothing may be left: no actor but those played, no operation in use, no buffer held, no timer
 * armed, no request in a ring. */
void rig_down(void);

actor_addr rig_spawn(const struct actor_type *type, const char *name);
/* An actor whose part the test plays: it stays until rig_down(). */
actor_addr rig_play(const struct actor_type *type);

/* --- Stepping */

/* Until nothing is left to do at this time. */
void rig_run(void);
/* Runs until `*so`, for 20 s of real time at most. Virtual time stands still. */
void rig_until(const bool *so);
/* Lets virtual time pass. */
void rig_advance(uint64_t ns);
/* Runs `fn` on the reactor of this actor, where code of its own would run. */
void rig_at(actor_addr actor, void (*fn)(void *arg), void *arg);
/* Moves the actor to the next reactor, if there is another. */
void rig_move(actor_addr actor);

/* Partners outside (sockets) take real time, in which virtual time stands still. */
void rig_for(int64_t ms); /* steps for so long */
int64_t rig_ms(void);     /* now, monotonic */

/* --- Mail */

struct rig_answer {
    bool came;
    unsigned kind;  /* MAIL_FAULT: `err` holds it */
    void *body;     /* null for a fault */
    struct err err; /* zeroed without one */
};

void rig_tell(actor_addr to, unsigned kind, void *body);
/* Asks; the answer is noted when it comes. */
void rig_post(struct rig_answer *answer, actor_addr to, unsigned kind, void *body);
/* Asks and waits. */
struct rig_answer rig_ask(actor_addr to, unsigned kind, void *body);
/* Mail to rig_address() that answers nothing goes to `fn`, which may look at it. */
void rig_on_mail(void (*fn)(const struct mail *mail));
actor_addr rig_address(void);

/* --- Operations */

struct rig_op {
    bool done;
    int64_t ret;
    uint64_t tag; /* its name, for an OP_CANCEL */
    struct iovec iov[64];
};

/* Begins one; `data` is for reads and writes. */
void rig_start(struct rig_op *op, actor_addr to, enum op_kind kind, int64_t offset,
               const void *data, uint64_t bytes, unsigned flags);
/* The same on op->iov, of which `niov` entries are set. */
void rig_start_v(struct rig_op *op, actor_addr to, enum op_kind kind, int64_t offset, unsigned niov,
                 unsigned flags);
/* Begin one and wait; return its result. */
int64_t rig_io(actor_addr to, enum op_kind kind, int64_t offset, const void *data, uint64_t bytes,
               unsigned flags);
int64_t rig_io_v(struct rig_op *op, actor_addr to, enum op_kind kind, int64_t offset, unsigned niov,
                 unsigned flags);

/* Asks for its early end, and runs. */
void rig_cancel(const struct rig_op *op, actor_addr to);

/* Whether all bytes are `value`. */
bool rig_all(const void *data, uint64_t bytes, unsigned char value);

#endif
