/* The runtime, stepped by hand with virtual time: each seed is another order of events. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "actors/kinds.h"
#include "engine/clock.h"
#include "engine/engine.h"
#include "engine/port.h"

#define SEEDS 300

static const ProtobufCMessageDescriptor *const bodies[] = {NULL, &sluice__fault__descriptor,
                                                           &sluice__session_close__descriptor};
enum { MAIL_COUNTED = MAIL_FIRST };

/* Checks that numbers come in order on both lanes, and moves at every seventh piece of mail. */
struct counter {
    uint64_t mails, ops;
};

static void on_counted(struct actor *self, struct mail *mail)
{
    struct counter *counter = actor_state(self);
    Sluice__SessionClose *body = (Sluice__SessionClose *)mail->body;
    assert_int_equal(body->session, counter->mails++);
    if (counter->mails % 7 == 0)
        actor_move(self, (reactor_id(actor_reactor(self)) + 1) % 3);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static void on_op(struct actor *self, struct op *op)
{
    struct counter *counter = actor_state(self);
    assert_int_equal(op->offset, counter->ops++);
    op_complete(op, op->offset);
}

static const struct actor_type counter_type = {
    .name = "counter",
    .size = sizeof(struct counter),
    .submit = on_op,
    .handlers = {[MAIL_COUNTED] = on_counted},
};

static struct engine *stepped(unsigned threads, uint64_t seed)
{
    struct err err = {0};
    struct engine_options options = {
        .threads = threads, .bodies = bodies, .nbodies = 3, .stepped = true, .seed = seed};
    struct engine *engine = engine_new(&options, &err);
    if (!engine)
        fail_msg("%s", err.text);
    return engine;
}

static unsigned replies, completions;

static void on_reply(struct port *port, struct mail *reply, void *arg)
{
    (void)port;
    assert_null(mail_fault(reply));
    (void)arg; /* replies of an actor that moves may come over two links */
    replies++;
}

static void on_done(struct op *op, void *who)
{
    assert_int_equal(op->ret, (uintptr_t)who);
    completions++;
    op_free(op);
}

static void mail_and_operations_keep_their_order_while_the_actor_moves(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct engine *engine = stepped(3, seed);
        struct port *port = port_open(engine, NULL);
        actor_addr to = engine_spawn(engine, &counter_type, "counter", seed % 3);
        replies = completions = 0;
        for (uintptr_t i = 0; i < 100; i++) {
            Sluice__SessionClose *body = MAIL_NEW(sluice__session_close);
            body->session = i;
            port_ask(port, to, MAIL_COUNTED, body, on_reply, (void *)i);
            struct op *op = op_new(port_peer(port));
            op->kind = OP_FLUSH;
            op->offset = (int64_t)i;
            op->bytes = 0;
            op_push(op, on_done, (void *)i);
            op_send(op, to);
            if (i % 3 == 0)
                port_poll(port);
            if (i % 2 == 0)
                engine_step(engine);
        }
        while (replies < 100 || completions < 100)
            assert_true(port_wait(port, NS_PER_S));
        port_close(&port);
        engine_free(&engine);
    }
}

static void a_dead_address_answers_mail_with_a_fault_and_operations_with_enxio(void **state)
{
    (void)state;
    struct engine *engine = stepped(2, 1);
    struct port *port = port_open(engine, NULL);
    struct err err = {0};
    actor_addr nobody = UINT64_C(77) << 32 | 12;
    assert_int_equal(
        port_call(port, nobody, MAIL_COUNTED, MAIL_NEW(sluice__session_close), NULL, &err), -ENXIO);
    completions = 0;
    struct op *op = op_new(port_peer(port));
    op->kind = OP_FLUSH;
    op_push(op, on_done, (void *)(intptr_t)-ENXIO);
    op_send(op, nobody);
    assert_int_equal(completions, 1);
    port_close(&port);
    engine_free(&engine);
}

static void real_threads_pass_mail_and_operations(void **state)
{
    (void)state;
    struct err err = {0};
    struct engine_options options = {.threads = 1, .bodies = bodies, .nbodies = 3};
    struct engine *engine = engine_new(&options, &err);
    if (!engine)
        fail_msg("%s", err.text);
    actor_addr to = engine_spawn(engine, &counter_type, "counter", 0);
    assert_int_equal(engine_start(engine, &err), 0);
    struct port *port = port_open(engine, &err);
    completions = 0;
    for (uintptr_t i = 0; i < 10000; i++) {
        struct op *op = op_new(port_peer(port));
        op->kind = OP_FLUSH;
        op->offset = (int64_t)i;
        op->bytes = 0;
        op_push(op, on_done, (void *)i);
        op_send(op, to);
    }
    while (completions < 10000)
        port_wait(port, NS_PER_S);
    port_close(&port);
    engine_free(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_and_operations_keep_their_order_while_the_actor_moves),
        cmocka_unit_test(a_dead_address_answers_mail_with_a_fault_and_operations_with_enxio),
        cmocka_unit_test(real_threads_pass_mail_and_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
