/* engine_rig.h — what the tests of the runtime share: one kind of mail that carries a number, and
 * engines that are stepped by hand or run on threads. */
#ifndef ENGINE_RIG_H
#define ENGINE_RIG_H

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/clock.h"
#include "engine/engine.h"
#include "engine/peer.h"
#include "engine/port.h"
#include "internal.pb-c.h"

enum { MAIL_NUMBER = MAIL_FIRST, MAIL_GO, RIG_KINDS };

static const ProtobufCMessageDescriptor *const rig_bodies[RIG_KINDS] = {
    [MAIL_FAULT] = &sluice__fault__descriptor,
    [MAIL_NUMBER] = &sluice__session_close__descriptor,
    [MAIL_GO] = &sluice__session_close__descriptor,
};

static inline void *number(uint64_t value)
{
    Sluice__SessionClose *body = MAIL_NEW(sluice__session_close);
    body->session = value;
    return body;
}

static inline uint64_t number_of(const struct mail *mail)
{
    return ((const Sluice__SessionClose *)mail->body)->session;
}

static inline struct engine *rig_engine(struct engine_options options)
{
    struct err err = {0};
    options.bodies = rig_bodies;
    options.nbodies = RIG_KINDS;
    struct engine *engine = engine_new(&options, &err);
    if (!engine)
        fail_msg("%s", err.text);
    if (engine_start(engine, &err) != 0)
        fail_msg("%s", err.text);
    return engine;
}

static inline struct engine *rig_stepped(unsigned threads, uint64_t seed, const void *world)
{
    return rig_engine(
        (struct engine_options){.threads = threads, .stepped = true, .seed = seed, .world = world});
}

/* Two reactors on threads, on a CPU each when there are two. */
static inline struct engine *rig_threads(const void *world)
{
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    int cpus[2], n = 0;
    for (int cpu = 0; n < 2 && cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed))
            cpus[n++] = cpu;
    if (n == 1)
        cpus[1] = cpus[0];
    return rig_engine((struct engine_options){.threads = 2, .cpus = cpus, .world = world});
}

static inline struct port *rig_port(struct engine *engine)
{
    struct err err = {0};
    struct port *port = port_open(engine, &err);
    if (!port)
        fail_msg("%s", err.text);
    return port;
}

/* An operation without data, which carries a number and, in `bytes`, who sends it. */
static inline void send_number(struct peer *peer, uint64_t who, uint64_t value, actor_addr to,
                               op_done_fn *done, void *arg)
{
    struct op *op = op_new(peer);
    op->kind = OP_FLUSH;
    op->offset = (int64_t)value;
    op->bytes = who;
    op_push(op, done, arg);
    op_send(op, to);
}

#endif
