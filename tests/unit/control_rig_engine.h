/* control_rig_engine.h — what control_rig.h needs of an engine: the contract of engine/actor.h,
 * op.h and reactor.h on the test's own thread, in real time (ZeroMQ knows no other), with the real
 * ring, timers and buffers.
 *
 * It is the runtime's stand-in, so that a fault of an actor is not one of the runtime's. A linker
 * takes these definitions before it looks into the library. Only control_rig.h includes this. */
#ifndef CONTROL_RIG_ENGINE_H
#define CONTROL_RIG_ENGINE_H

#include "engine/clock.h"

#define RIG_ACTORS    64
#define RIG_QUESTIONS 4096

struct reactor {
    struct clock clock;
    struct timers timers;
    struct ring *ring;
    struct buffers buffers;
    uint64_t now;
};

struct actor {
    const struct actor_type *type;
    void *state;
    actor_addr address;
    bool stopping;
    struct mail *first, **last; /* its mailbox */
};

struct question {
    struct actor *asker; /* null: a free place */
    actor_reply_fn *fn;
    void *arg;
};

static struct {
    struct reactor reactor;
    const void *world;
    struct actor *actors[RIG_ACTORS]; /* by address; null when it has ended */
    unsigned nactors;
    struct question questions[RIG_QUESTIONS]; /* by correlation */
    unsigned nops;                            /* outstanding */
} engine;

/* --- reactor.h ---------------------------------------------------------------------------------
 */

uint64_t reactor_now(const struct reactor *reactor)
{
    return reactor->now;
}

struct timers *reactor_timers(struct reactor *reactor)
{
    return &reactor->timers;
}

struct ring *reactor_ring(struct reactor *reactor)
{
    return reactor->ring;
}

struct buffers *reactor_buffers(struct reactor *reactor)
{
    return &reactor->buffers;
}

/* --- op.h --------------------------------------------------------------------------------------
 */

struct op *op_new(struct peer *peer)
{
    struct op *op = malloc(sizeof *op);
    assert_non_null(op);
    memset(op, 0xa5, sizeof *op); /* nothing in it is set */
    op->depth = 0;
    op->peer = peer;
    engine.nops++;
    return op;
}

void op_free(struct op *op)
{
    engine.nops--;
    free(op);
}

static struct actor *actor_at(actor_addr address)
{
    return address < engine.nactors ? engine.actors[address] : NULL;
}

void op_send(struct op *op, uint64_t to)
{
    struct actor *actor = actor_at(to);
    if (actor)
        actor->type->submit(actor, op);
    else
        op_complete(op, -ENXIO);
}

/* --- actor.h -----------------------------------------------------------------------------------
 */

actor_addr actor_spawn(struct actor *self, const struct actor_type *type, const char *name,
                       unsigned reactor)
{
    (void)self;
    (void)name;
    (void)reactor;
    assert_true(engine.nactors < RIG_ACTORS);
    struct actor *actor = calloc(1, sizeof *actor);
    assert_non_null(actor);
    actor->type = type;
    actor->state = calloc(1, type->size + 1);
    actor->address = engine.nactors++;
    actor->last = &actor->first;
    engine.actors[actor->address] = actor;
    if (type->init)
        type->init(actor);
    return actor->address;
}

void actor_stop(struct actor *self)
{
    self->stopping = true;
}

void *actor_state(struct actor *self)
{
    return self->state;
}

struct reactor *actor_reactor(const struct actor *self)
{
    (void)self;
    return &engine.reactor;
}

struct peer *actor_peer(const struct actor *self)
{
    (void)self;
    return NULL;
}

const void *actor_world(const struct actor *self)
{
    (void)self;
    return engine.world;
}

static void rig_refuse_mail(struct mail *mail);

static void rig_mail(struct actor *from, actor_addr to, uint64_t correlation, unsigned kind,
                     bool reply, void *body)
{
    struct mail *mail = calloc(1, sizeof *mail);
    struct actor *actor = actor_at(to);
    assert_non_null(mail);
    *mail = (struct mail){.from = from ? from->address : 0,
                          .to = to,
                          .correlation = correlation,
                          .kind = (uint16_t)kind,
                          .reply = reply,
                          .body = body};
    /* A message that lacks a required field could not go to another thread. */
    assert_true(!body || protobuf_c_message_check(body));
    if (!actor || actor->stopping) {
        rig_refuse_mail(mail);
        return;
    }
    *actor->last = mail;
    actor->last = &mail->next;
}

void actor_tell(struct actor *self, actor_addr to, unsigned kind, void *body)
{
    rig_mail(self, to, 0, kind, false, body);
}

void actor_ask(struct actor *self, actor_addr to, unsigned kind, void *body, actor_reply_fn *fn,
               void *arg)
{
    uint64_t place = 1;
    while (place < RIG_QUESTIONS && engine.questions[place].asker)
        place++;
    assert_true(place < RIG_QUESTIONS);
    engine.questions[place] = (struct question){self, fn, arg};
    rig_mail(self, to, place, kind, false, body);
}

void actor_reply(struct actor *self, struct ticket ticket, unsigned kind, void *body)
{
    if (ticket.correlation)
        rig_mail(self, ticket.to, ticket.correlation, kind, true, body);
    else if (body)
        mail_free_body(body);
}

void actor_refuse(struct actor *self, struct ticket ticket, const struct err *err)
{
    Sluice__Fault *fault = MAIL_NEW(sluice__fault);
    fault->code = err->code;
    mail_set(&fault->text, err->text);
    mail_set(&fault->field, err->field);
    actor_reply(self, ticket, MAIL_FAULT, fault);
}

const Sluice__Fault *mail_fault(const struct mail *mail)
{
    return mail->kind == MAIL_FAULT ? (const void *)mail->body : NULL;
}

void mail_fault_err(const struct mail *mail, struct err *err)
{
    const Sluice__Fault *fault = mail_fault(mail);
    err_field(err, fault->field ? fault->field : "", fault->code, "%s", fault->text);
}

void *mail_new(const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = malloc(descriptor->sizeof_message);
    assert_non_null(message);
    protobuf_c_message_init(descriptor, message);
    return message;
}

void mail_free_body(void *body)
{
    protobuf_c_message_free_unpacked(body, NULL);
}

void mail_set(char **field, const char *text)
{
    *field = strdup(text);
}

/* --- stepping ----------------------------------------------------------------------------------
 */

static void rig_free_mail(struct mail *mail)
{
    if (mail->body)
        mail_free_body(mail->body);
    free(mail);
}

static void rig_refuse_mail(struct mail *mail)
{
    struct err err;
    err_set(&err, -ENXIO, "nobody is at this address");
    if (!mail->reply)
        actor_refuse(NULL, mail_ticket(mail), &err);
    rig_free_mail(mail);
}

static void rig_deliver(struct actor *actor, struct mail *mail)
{
    if (mail->reply) {
        struct question question = engine.questions[mail->correlation];
        assert_ptr_equal(question.asker, actor);
        engine.questions[mail->correlation] = (struct question){0};
        question.fn(actor, mail, question.arg);
    } else {
        assert_non_null(actor->type->handlers[mail->kind]);
        actor->type->handlers[mail->kind](actor, mail);
    }
    rig_free_mail(mail);
}

static struct mail *rig_take(struct actor *actor)
{
    struct mail *mail = actor->first;
    if (mail) {
        actor->first = mail->next;
        if (!actor->first)
            actor->last = &actor->first;
    }
    return mail;
}

static void rig_end_actor(struct actor *actor)
{
    engine.actors[actor->address] = NULL;
    for (struct mail *mail; (mail = rig_take(actor));)
        rig_refuse_mail(mail);
    if (actor->type->fini)
        actor->type->fini(actor);
    free(actor->state);
    free(actor);
}

/* One round of what a reactor does: completions, timers, a message for each actor. */
static void rig_step(void)
{
    struct reactor *reactor = &engine.reactor;
    reactor->now = clock_ns(&reactor->clock);
    ring_turn(reactor->ring);
    timers_run(&reactor->timers, reactor->now);
    for (unsigned i = 1; i < engine.nactors; i++) {
        struct actor *actor = engine.actors[i];
        struct mail *mail = actor && !actor->stopping ? rig_take(actor) : NULL;
        if (mail)
            rig_deliver(actor, mail);
        if (actor && actor->stopping)
            rig_end_actor(actor);
    }
}

static void rig_engine_up(const void *world)
{
    struct err err;
    memset(&engine, 0, sizeof engine);
    engine.world = world;
    engine.nactors = 1; /* 0 is nobody */
    buffers_init(&engine.reactor.buffers);
    engine.reactor.ring = ring_new(&err);
    if (!engine.reactor.ring)
        fail_msg("%s", err.text);
    ring_enable(engine.reactor.ring);
    engine.reactor.now = clock_ns(&engine.reactor.clock);
}

/* Nothing may be left: no operation, no buffer, no timer, no request in the ring. */
static void rig_engine_down(void)
{
    for (unsigned i = 1; i < engine.nactors; i++)
        if (engine.actors[i])
            rig_end_actor(engine.actors[i]);
    assert_int_equal(engine.nops, 0);
    assert_int_equal(engine.reactor.buffers.held, 0);
    assert_true(timers_next(&engine.reactor.timers) == UINT64_MAX);
    assert_int_equal(ring_pending(engine.reactor.ring), 0);
    timers_fini(&engine.reactor.timers);
    ring_free(&engine.reactor.ring);
    buffers_fini(&engine.reactor.buffers);
}

#endif
