#include <stdio.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "actors/kinds.h"
#include "engine/engine.h"
#include "engine/port.h"
#include "nbd_rig.h"

/* The rig over the engine's own stepping. */
static struct {
    struct engine *engine;
    struct port *port;
    struct world world;
    const struct actor_type *types[2];
    actor_addr addresses[2];
} rig;

void rig_start(const struct actor_type *backend, const struct actor_type *events)
{
    struct err err = {0};
    struct engine_options options = {.threads = 1,
                                     .bodies = mail_bodies,
                                     .nbodies = MAIL_COUNT,
                                     .world = &rig.world,
                                     .stepped = true,
                                     .seed = 1};
    rig.engine = engine_new(&options, &err);
    if (!rig.engine)
        fail_msg("%s", err.text);
    rig.types[0] = backend;
    rig.types[1] = events;
    for (int i = 0; i < 2; i++)
        rig.addresses[i] = engine_spawn(rig.engine, rig.types[i], rig.types[i]->name, 0);
    rig.world.events = rig.addresses[1];
    rig.port = port_open(rig.engine, &err);
    engine_settle(rig.engine);
}

void rig_stop(void)
{
    engine_settle(rig.engine);
    struct reactor *reactor = engine_reactor(rig.engine, 0);
    assert_int_equal(reactor_stats(reactor)->actors, 2);
    assert_int_equal(ring_pending(reactor_ring(reactor)), 0);
    assert_int_equal(reactor_buffers(reactor)->held, 0);
    port_close(&rig.port);
    engine_free(&rig.engine);
}

actor_addr rig_spawn(const struct actor_type *type, const char *name)
{
    actor_addr address = engine_spawn(rig.engine, type, name, 0);
    engine_settle(rig.engine);
    return address;
}

actor_addr rig_address(const struct actor_type *type)
{
    return rig.addresses[type == rig.types[1]];
}

static void rig_answered(struct port *port, struct mail *reply, void *arg)
{
    (void)port;
    struct rig_answer *answer = arg;
    answer->came = true;
    answer->kind = reply->kind;
    const Sluice__Fault *fault = mail_fault(reply);
    snprintf(answer->text, sizeof answer->text, "%s", fault ? fault->text : "");
}

void rig_settle(void)
{
    for (int i = 0; i < 4; i++) {
        engine_advance(rig.engine, 20 * NS_PER_US);
        port_poll(rig.port);
    }
}

void rig_ask(actor_addr to, unsigned kind, void *body, struct rig_answer *answer)
{
    *answer = (struct rig_answer){0};
    port_ask(rig.port, to, kind, body, rig_answered, answer);
    port_poll(rig.port);
    rig_settle();
}

void rig_advance(uint64_t ns)
{
    engine_advance(rig.engine, ns);
    rig_settle();
}
