/* node_rig_engine.h — what node_rig.h needs of an engine: the contract of engine/actor.h, op.h and
 * reactor.h on the test's own thread, with virtual time, and with the real ring, timers and
 * buffers.
 *
 * It is the runtime's stand-in, so that a fault of a node or a driver is not one of the runtime's.
 * A linker takes these definitions before it looks into the library. Only node_rig.h includes this.
 */
#ifndef NODE_RIG_ENGINE_H
#define NODE_RIG_ENGINE_H

#include "engine/clock.h"

struct reactor {
    struct clock clock;
    struct timers timers;
    struct ring *ring;
    struct buffers buffers;
    uint64_t now;
};

struct peer {
    struct op *free; /* linked by next */
    unsigned used;
};

struct actor {
    const struct actor_type *type;
    void *state; /* null when it has ended */
    char *name;
    actor_addr address;
    bool stopping;
};

struct question {
    struct actor *asker;
    actor_reply_fn *fn;
    void *arg;
};

#define RIG_ACTORS    512
#define RIG_QUESTIONS 4096

static struct {
    struct reactor reactor;
    struct peer peer;
    struct actor *actors[RIG_ACTORS]; /* by address */
    unsigned nactors;
    struct question questions[RIG_QUESTIONS]; /* by correlation */
    unsigned nquestions;
    struct mail *first, **last;
} engine;

/* --- reactor.h */

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

unsigned reactor_id(const struct reactor *reactor)
{
    (void)reactor;
    return 0;
}

/* --- op.h */

struct op *op_new(struct peer *peer)
{
    struct op *op = peer->free;
    if (op)
        peer->free = op->next;
    else
        op = malloc(sizeof(*op));
    memset(op, 0xa5, sizeof(*op)); /* nothing in it is set */
    op->depth = 0;
    op->peer = peer;
    peer->used++;
    return op;
}

void op_free(struct op *op)
{
    op->peer->used--;
    op->next = op->peer->free;
    op->peer->free = op;
}

static struct actor *actor_at(actor_addr address)
{
    struct actor *actor = address < engine.nactors ? engine.actors[address] : NULL;
    return actor && actor->state ? actor : NULL;
}

void op_send(struct op *op, uint64_t to)
{
    struct actor *actor = actor_at(to);
    if (actor)
        actor->type->submit(actor, op);
    else
        op_complete(op, -ENXIO);
}

/* --- actor.h */

actor_addr actor_spawn(struct actor *self, const struct actor_type *type, const char *name,
                       unsigned reactor)
{
    (void)self;
    (void)reactor;
    assert_true(engine.nactors < RIG_ACTORS);
    struct actor *actor = calloc(1, sizeof(*actor));
    actor->type = type;
    actor->state = calloc(1, type->size);
    actor->name = strdup(name);
    actor->address = engine.nactors++;
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

const char *actor_name(const struct actor *self)
{
    return self->name;
}

actor_addr actor_address(const struct actor *self)
{
    return self->address;
}

struct reactor *actor_reactor(const struct actor *self)
{
    (void)self;
    return &engine.reactor;
}

struct peer *actor_peer(const struct actor *self)
{
    (void)self;
    return &engine.peer;
}

static void rig_mail(actor_addr from, actor_addr to, uint64_t correlation, unsigned kind,
                     bool reply, void *body)
{
    struct mail *mail = calloc(1, sizeof(*mail));
    mail->from = from;
    mail->to = to;
    mail->correlation = correlation;
    mail->kind = (uint16_t)kind;
    mail->reply = reply;
    mail->body = body;
    *engine.last = mail;
    engine.last = &mail->next;
}

void actor_tell(struct actor *self, actor_addr to, unsigned kind, void *body)
{
    rig_mail(self->address, to, 0, kind, false, body);
}

void actor_ask(struct actor *self, actor_addr to, unsigned kind, void *body, actor_reply_fn *fn,
               void *arg)
{
    assert_true(engine.nquestions < RIG_QUESTIONS);
    engine.questions[engine.nquestions] = (struct question){self, fn, arg};
    rig_mail(self->address, to, engine.nquestions++, kind, false, body);
}

void actor_reply(struct actor *self, struct ticket ticket, unsigned kind, void *body)
{
    if (ticket.correlation)
        rig_mail(self->address, ticket.to, ticket.correlation, kind, true, body);
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

/* --- Stepping */

static void rig_end(struct actor *actor)
{
    if (actor->type->fini)
        actor->type->fini(actor);
    free(actor->state);
    actor->state = NULL;
}

/* A message that lacks a required field could not go to another thread. */
static void rig_check(const struct mail *mail)
{
    if (mail->body)
        assert_true(protobuf_c_message_check(mail->body));
}

static bool rig_deliver(void)
{
    struct mail *mail = engine.first;
    if (!mail)
        return false;
    engine.first = mail->next;
    if (!engine.first)
        engine.last = &engine.first;
    rig_check(mail);

    struct actor *actor = actor_at(mail->to);
    if (actor && mail->reply) {
        const struct question *question = &engine.questions[mail->correlation];
        question->fn(actor, mail, question->arg);
    } else if (actor) {
        assert_non_null(actor->type->handlers[mail->kind]);
        actor->type->handlers[mail->kind](actor, mail);
    } else if (mail->correlation && !mail->reply) {
        struct err err;
        err_set(&err, -ENXIO, "nobody is at this address");
        actor_refuse(engine.actors[mail->to], mail_ticket(mail), &err);
    }
    if (mail->body)
        mail_free_body(mail->body);
    free(mail);
    return true;
}

/* One round of what a reactor does; false when there was nothing to do. */
static bool rig_step(void)
{
    struct reactor *reactor = &engine.reactor;
    reactor->now = clock_ns(&reactor->clock);
    bool did = ring_turn(reactor->ring) > 0;
    did |= timers_run(&reactor->timers, reactor->now) > 0;
    did |= rig_deliver();
    for (unsigned i = 0; i < engine.nactors; i++)
        if (engine.actors[i] && engine.actors[i]->state && engine.actors[i]->stopping)
            rig_end(engine.actors[i]);
    return did;
}

/* Waits a moment for the kernel; false when nothing came. */
static bool rig_wait_kernel(void)
{
    return ring_pending(engine.reactor.ring) && ring_wait(engine.reactor.ring, 100 * NS_PER_MS) > 0;
}

static __attribute__((unused)) void rig_advance(uint64_t ns)
{
    engine.reactor.clock.virtual_ns += ns;
}

/* Runs `fn` where an actor's code runs. */
static void rig_on_reactor(void (*fn)(void *arg), void *arg)
{
    fn(arg);
}

/* What a move does, though there is only one reactor. */
static __attribute__((unused)) void rig_move(actor_addr address)
{
    struct actor *actor = actor_at(address);
    actor->type->leave(actor);
    actor->type->arrive(actor);
}

static int rig_setup(void **state)
{
    (void)state;
    struct err err;
    engine.nactors = engine.nquestions = 1; /* 0 is nobody, and no question */
    engine.last = &engine.first;
    engine.reactor.clock = (struct clock){true, NS_PER_S};
    buffers_init(&engine.reactor.buffers);
    engine.reactor.ring = ring_new(&err);
    if (!engine.reactor.ring) {
        print_error("%s\n", err.text);
        return -1;
    }
    ring_enable(engine.reactor.ring);
    actor_spawn(NULL, &rig_type, "probe", 0);
    return 0;
}

/* Nothing may be left: no operation, no buffer, no request in the ring. */
static int rig_teardown(void **state)
{
    (void)state;
    int left = (engine.peer.used || engine.reactor.buffers.held || engine.first ||
                ring_pending(engine.reactor.ring));
    for (unsigned i = 1; i < engine.nactors; i++) {
        if (engine.actors[i]->state)
            rig_end(engine.actors[i]);
        free(engine.actors[i]->name);
        free(engine.actors[i]);
    }
    for (struct op *op; (op = engine.peer.free);) {
        engine.peer.free = op->next;
        free(op);
    }
    if (rig.body)
        mail_free_body(rig.body);
    timers_fini(&engine.reactor.timers);
    ring_free(&engine.reactor.ring);
    if (!left)
        buffers_fini(&engine.reactor.buffers);
    return left ? -1 : 0;
}

#endif
