/* stack_rig.h — a whole engine as programs have it, stepped by hand: the real graph, events and
 * control actors on 1 to 3 reactors, virtual time, an order that a seed draws, and one port as the
 * client and as the frontend.
 *
 * Answers and ends of operations are noted in what the caller gives, with the moment (a count, see
 * stack_moment()), so that a test sees what came before what. Bodies of answers stay until
 * stack_stop(). */
#ifndef STACK_RIG_H
#define STACK_RIG_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "actors/kinds.h"
#include "engine/clock.h"
#include "engine/engine.h"

/* Runs what follows once for each seed, on 1, 2 and 3 reactors in turn. There are 60, or as many as
 * STACK_SEEDS in the environment says; with STACK_SEED there only that one, or so many from that
 * on. A test that fails tells its seed at the end of the program. */
#define FOR_EACH_SEED(seed) FOR_EACH_SEED_ON(seed, STACK_THREADS(seed))
#define FOR_EACH_SEED_ON(seed, threads)                                                            \
    for (uint64_t seed = stack_first_seed();                                                       \
         seed < stack_last_seed() && (stack_start(threads, seed), true); stack_stop(), seed++)
#define STACK_THREADS(seed) ((unsigned)((seed) % 3 + 1))
uint64_t stack_first_seed(void);
uint64_t stack_last_seed(void); /* the one after it */

struct stack_answer {
    bool came;
    unsigned at;                /* the moment */
    unsigned kind;              /* of the reply */
    int code;                   /* 0, or the negative errno of a refusal */
    Sluice__Error__Class class; /* of a refusal by control, with its field */
    char field[48], text[512];
    void *body; /* of the reply; null for a refusal */
};

struct stack_op {
    bool came;
    unsigned at;
    int64_t ret;
    uint64_t tag; /* its name, for an OP_CANCEL after it to the same actor */
};

/* What the port was told as a watcher, the newest. */
struct stack_news {
    unsigned count, at;
    int64_t length;
    bool inserted;
    unsigned moves;   /* of a backend that is claimed, */
    bool leaving;     /* and whether one is under way */
    unsigned reactor; /* where to, or where it is since the last one */
};

/* The port as a device: what it is called to do is noted, and obeyed. */
struct stack_device {
    bool tray_open, locked;
    int load_error; /* what a load ends with; 0: success */
    bool hold;      /* calls are answered when stack_device_answer() says so */
    char log[512];  /* "load, eject, ..." */
};
#define STACK_DEVICE_TAG 77

/* The port as one who is told of media, and asked whether its callbacks have returned: what it
 * heard of media is noted, and all is answered. */
struct stack_media {
    bool hold;     /* answered when stack_media_answer() says so */
    char log[256]; /* "insert, remove, ..." */
};

void stack_start(unsigned threads, uint64_t seed);
/* The same, incoming. */
void stack_start_incoming(unsigned threads, uint64_t seed);
/* Shuts down in order, if the test has not; nobody is left after that, or as many as the test said.
 */
void stack_stop(void);
void stack_leaves(unsigned actors);
struct engine *stack_engine(void);
const struct world *stack_world(void);
const struct stack_news *stack_news(void);
unsigned stack_moment(void);
unsigned stack_actors(void); /* alive, on all reactors */

struct stack_device *stack_device(void);
/* What the two below send. */
Sluice__DeviceOps *stack_device_offers(unsigned offers);
Sluice__DeviceState *stack_device_stands(Sluice__DeviceState__Act act);
/* Tells the backend that the port is its device, and understands this (enum device_offers). */
void stack_device_ops(actor_addr backend, unsigned offers);
/* Tells it how the device stands, and what that has done. */
void stack_device_state(actor_addr backend, Sluice__DeviceState__Act act);
bool stack_device_is_called(void);
void stack_device_answer(void); /* the oldest call */
void stack_device_refuse(int code);
struct stack_media *stack_media(void);
/* Opens a session that is told, and returns its number. */
uint64_t stack_media_session(actor_addr backend);
/* One with callbacks, of which `due` says how many are to return. */
uint64_t stack_callback_session(actor_addr backend, const _Atomic uint32_t *due);
/* Answers all of them, or one. */
void stack_media_answer(void);
bool stack_is_asked(uint64_t session);
void stack_answer_session(uint64_t session);
/* Asks from the port; an answer that comes meanwhile or later is noted. */
void stack_ask(struct stack_answer *answer, actor_addr to, unsigned kind, void *body);
/* Tells; there is no answer. */
void stack_tell(actor_addr to, unsigned kind, void *body);
/* A request as words, to control: "node add n driver=null". */
void stack_send(struct stack_answer *answer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, past control, to the graph. */
void stack_send_graph(struct stack_answer *answer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Steps, and lets time pass, until it has come. */
void stack_await(const struct stack_answer *answer);
void stack_await_op(const struct stack_op *op);
/* Steps until nothing happens at this time; an answer that has not come by then waits for time. */
void stack_settle(void);
/* Lets `ns` pass. */
void stack_pass(uint64_t ns);
/* One step. */
void stack_step(void);

/* Sends, waits, expects success; returns the reply. */
const Sluice__Reply *stack_do(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Sends, waits, expects a refusal with this code that says `text`. */
void stack_refused(int code, const char *text, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Asks, waits, expects success; returns the body. */
void *stack_call(actor_addr to, unsigned kind, void *body);

/* The events since number `since`, as "NODE_ADDED n, BACKEND_ADDED b"; without PERMISSION_CHANGED,
 * which comes with every user that comes and goes. */
const char *stack_story(uint64_t since);

/* Frontend of a backend. */
/* Claims the backend, once: to read, and to write and resize if it can be had. */
actor_addr stack_find(const char *backend);
/* A backend `b`, with these settings ("werror=stop"), on a node of this name, made so ("driver=null
 * latency=1s"); its address, as stack_find() gives it. */
actor_addr stack_backend(const char *node, const char *driver, const char *settings);
/* Ends that, so that it can be removed; stack_stop() does it too. */
void stack_release(const char *backend);
/* Claims it for this; it may be ended, and ends with stack_stop(). */
void stack_claim(struct stack_answer *answer, const char *backend, unsigned perm, unsigned shared);
void stack_claim_end(uint64_t claim);
Sluice__SessionOpen *stack_session(uint32_t requests, uint64_t bytes);
Sluice__SessionClose *stack_session_end(uint64_t session);
/* Submits; data of reads and writes is `data`, or the rig's own scratch when it is null. `flags`
 * are of enum op_flag, and may say whose number as a holder of regions it has. */
#define STACK_HOLDER(number) ((unsigned)(number) << 16)
void stack_submit(struct stack_op *op, actor_addr to, enum op_kind kind, int64_t offset,
                  uint64_t bytes, unsigned flags, void *data);
/* Whether what is submitted gathers in the port. */
void stack_plug(bool on);
/* Submits and waits; returns the result. */
int64_t stack_run(actor_addr to, enum op_kind kind, int64_t offset, uint64_t bytes, unsigned flags);

#endif
