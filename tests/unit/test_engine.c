/* The two lanes, stepped by hand with virtual time: credits, depth, fairness, and replies that come
 * once. How actors move and end have tests of their own. */
#include "engine_rig.h"

#include "engine/row.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* What all actors of a run see. */
struct run {
    actor_addr to;
    unsigned served, completions, replies, faults;
    unsigned many;   /* to be sent */
    uint64_t due;    /* the number that has to come next */
    bool hold, stop; /* completions wait; no more is sent */
    struct op_queue held;
    uintptr_t low, high; /* of the stack, where operations are served */
};

static struct run *run_of(struct actor *self)
{
    return (struct run *)actor_world(self);
}

/* --- Serves operations in order, at once or when it is told to go; answers mail. */

static void server_op(struct actor *self, struct op *op)
{
    struct run *run = run_of(self);
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    run->low = !run->low || here < run->low ? here : run->low;
    run->high = here > run->high ? here : run->high;
    assert_int_equal(op->offset, run->due++);
    run->served++;
    if (run->hold)
        op_enqueue(&run->held, op);
    else
        op_complete(op, op->offset);
}

static void server_mail(struct actor *self, struct mail *mail)
{
    actor_reply(self, mail_ticket(mail), MAIL_NUMBER, number(number_of(mail) + 1));
}

static void server_go(struct actor *self, struct mail *mail)
{
    (void)mail;
    struct run *run = run_of(self);
    run->hold = false;
    struct op *op;
    while ((op = op_dequeue(&run->held)))
        op_complete(op, op->offset);
}

static const struct actor_type server_type = {
    .name = "server",
    .submit = server_op,
    .handlers = {[MAIL_NUMBER] = server_mail, [MAIL_GO] = server_go},
};

static void on_done(struct op *op, void *arg)
{
    struct run *run = arg;
    assert_int_equal(op->ret, run->completions++);
    op_free(op);
}

static void on_reply(struct port *port, struct mail *reply, void *arg)
{
    (void)port;
    struct run *run = arg;
    run->replies++;
    run->faults += mail_fault(reply) != NULL;
}

static void settle(struct engine *engine, struct port *port)
{
    while (port_poll(port) | engine_step(engine))
        continue;
}

/* --- Rows */

/* Every field at its least and its most, the others at the other end. */
static void a_row_says_of_an_operation_what_it_was_told(void **state)
{
    static const struct op most = {.kind = OP_CANCEL,
                                   .holder = OP_HOLDERS,
                                   .flags = UINT16_MAX,
                                   .niov = IOV_MAX,
                                   .user = UINT16_MAX,
                                   .to = ((uint64_t)UINT32_MAX << 32) + DIRECTORY_SLOTS - 1,
                                   .sequence = (1U << OP_SEQUENCE_BITS) - 1};
    (void)state;
    for (unsigned bits = 0; bits < 128; bits++) {
        struct op op = {.kind = bits & 1 ? most.kind : 0,
                        .holder = bits & 2 ? most.holder : 0,
                        .flags = bits & 4 ? most.flags : 0,
                        .niov = bits & 8 ? most.niov : 0,
                        .sequence = bits & 16 ? most.sequence : 0,
                        .user = bits & 32 ? most.user : 0,
                        .to = bits & 64 ? most.to : 0};
        struct op back = most;
        row_take(&back, row_word(&op));
        assert_int_equal(back.kind, op.kind);
        assert_int_equal(back.holder, op.holder);
        assert_int_equal(back.flags, op.flags);
        assert_int_equal(back.niov, op.niov);
        assert_int_equal(back.sequence, op.sequence);
        assert_int_equal(row_address(row_to(&op)), op.to);
        assert_int_equal(row_user(row_to(&op)), op.user);
    }
}

/* --- Credits */

static void operations_without_a_credit_wait_in_order_and_none_is_lost(void **state)
{
    (void)state;
    struct run run = {.hold = true, .many = 3 * LINK_CREDITS};
    op_queue_init(&run.held);
    struct engine *engine = rig_stepped(1, 1, &run);
    struct port *port = rig_port(engine);
    run.to = engine_spawn(engine, &server_type, "server", 0);
    for (unsigned i = 0; i < run.many; i++)
        send_number(port_peer(port), 0, i, run.to, on_done, &run);
    settle(engine, port);
    assert_int_equal(run.served, LINK_CREDITS);
    assert_int_equal(run.completions, 0);
    port_tell(port, run.to, MAIL_GO, number(0));
    settle(engine, port);
    assert_int_equal(run.served, run.many);
    assert_int_equal(run.completions, run.many);
    port_close(&port);
    engine_free(&engine);
}

/* Serves what comes, and sends as much as it is told, all at once. */
static void crowd_done(struct op *op, void *who)
{
    run_of(who)->completions++;
    assert_int_equal(op->ret, 0);
    op_free(op);
}

static void crowd_go(struct actor *self, struct mail *mail)
{
    for (unsigned i = 0; i < run_of(self)->many; i++)
        send_number(actor_peer(self), 0, 0, number_of(mail), crowd_done, self);
}

static void crowd_op(struct actor *self, struct op *op)
{
    run_of(self)->served++;
    op_complete(op, 0);
}

static const struct actor_type crowd_type = {
    .name = "crowd", .submit = crowd_op, .handlers = {[MAIL_GO] = crowd_go}};

static void two_reactors_full_of_operations_for_each_other_go_on(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct run run = {.many = 2 * LINK_CREDITS + 100};
        struct engine *engine = rig_stepped(2, seed, &run);
        struct port *port = rig_port(engine);
        actor_addr a = engine_spawn(engine, &crowd_type, "a", 0),
                   b = engine_spawn(engine, &crowd_type, "b", 1);
        port_tell(port, a, MAIL_GO, number(b));
        port_tell(port, b, MAIL_GO, number(a));
        settle(engine, port);
        assert_int_equal(run.served, 2 * run.many);
        assert_int_equal(run.completions, 2 * run.many);
        port_close(&port);
        engine_free(&engine);
    }
}

/* --- Depth */

/* Sends the next operation in the completion of the one before. */
static void chain_send(struct actor *self);

static void chain_done(struct op *op, void *who)
{
    struct run *run = run_of(who);
    assert_int_equal(op->ret, run->completions++);
    op_free(op);
    if (run->completions < run->many && !run->stop)
        chain_send(who);
}

static void chain_send(struct actor *self)
{
    struct run *run = run_of(self);
    send_number(actor_peer(self), 0, run->completions, run->to, chain_done, self);
}

static void chain_go(struct actor *self, struct mail *mail)
{
    (void)mail;
    chain_send(self);
}

static const struct actor_type chain_type = {.name = "chain", .handlers = {[MAIL_GO] = chain_go}};

static void operations_that_end_at_once_nest_to_a_bound_and_keep_their_order(void **state)
{
    (void)state;
    struct run run = {.many = 100000};
    struct engine *engine = rig_stepped(1, 1, &run);
    struct port *port = rig_port(engine);
    run.to = engine_spawn(engine, &server_type, "server", 0);
    actor_addr chain = engine_spawn(engine, &chain_type, "chain", 0);
    port_tell(port, chain, MAIL_GO, number(0));
    settle(engine, port);
    assert_int_equal(run.completions, run.many);
    assert_in_range(run.high - run.low, 0, 64 << 10);
    port_close(&port);
    engine_free(&engine);
}

/* --- Neither lane starves the other */

static void mail_is_answered_while_operations_never_end(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 2; at++) {
        struct run run = {.many = UINT32_MAX};
        struct engine *engine = rig_stepped(2, at, &run);
        struct port *port = rig_port(engine);
        run.to = engine_spawn(engine, &server_type, "server", 0);
        actor_addr chain = engine_spawn(engine, &chain_type, "chain", at); /* local, then not */
        port_tell(port, chain, MAIL_GO, number(0));
        for (unsigned i = 0; i < 100; i++, port_poll(port))
            engine_step(engine);
        port_ask(port, run.to, MAIL_NUMBER, number(1), on_reply, &run);
        unsigned before = run.completions;
        for (unsigned i = 0; i < 100; i++, port_poll(port))
            engine_step(engine);
        assert_int_equal(run.replies, 1);
        assert_true(run.completions > before);
        run.stop = true;
        settle(engine, port);
        port_close(&port);
        engine_free(&engine);
    }
}

static void chatter_mail(struct actor *self, struct mail *mail)
{
    if (!run_of(self)->stop)
        actor_tell(self, actor_address(self), MAIL_NUMBER, number(0));
    (void)mail;
}

static const struct actor_type chatter_type = {
    .name = "chatter", .submit = crowd_op, .handlers = {[MAIL_NUMBER] = chatter_mail}};

static void operations_end_while_mail_never_does(void **state)
{
    (void)state;
    struct run run = {0};
    struct engine *engine = rig_stepped(2, 5, &run);
    struct port *port = rig_port(engine);
    run.to = engine_spawn(engine, &chatter_type, "chatter", 0);
    for (unsigned i = 0; i < 200; i++)
        port_tell(port, run.to, MAIL_NUMBER, number(0));
    for (unsigned i = 0; i < 50; i++, port_poll(port))
        engine_step(engine);
    send_number(port_peer(port), 0, 0, run.to, on_done, &run);
    for (unsigned i = 0; i < 50; i++, port_poll(port))
        engine_step(engine);
    assert_int_equal(run.completions, 1);
    run.stop = true;
    settle(engine, port);
    port_close(&port);
    engine_free(&engine);
}

/* --- Answers come once */

static void on_end(struct op *op, void *arg)
{
    *(int64_t *)arg = op->ret;
    op_free(op);
}

static void a_dead_address_answers_mail_with_a_fault_and_operations_with_enxio(void **state)
{
    (void)state;
    struct engine *engine = rig_stepped(2, 1, NULL);
    struct port *port = rig_port(engine);
    static const actor_addr nobody[] = {UINT64_C(77) << 32 | 12, 0, UINT64_MAX};
    for (unsigned i = 0; i < 3; i++) {
        struct err err = {0};
        assert_int_equal(port_call(port, nobody[i], MAIL_NUMBER, number(0), NULL, &err), -ENXIO);
        assert_true(err.text[0]);
        int64_t ret = 0;
        send_number(port_peer(port), 0, 0, nobody[i], on_end, &ret);
        assert_int_equal(ret, -ENXIO);
    }
    port_close(&port);
    engine_free(&engine);
}

static const struct actor_type mute_type = {.name = "mute"};

static void what_an_actor_does_not_understand_is_refused(void **state)
{
    (void)state;
    struct engine *engine = rig_stepped(1, 1, NULL);
    struct port *port = rig_port(engine);
    actor_addr mute = engine_spawn(engine, &mute_type, "mute", 0);
    struct err err = {0};
    assert_int_equal(port_call(port, mute, MAIL_NUMBER, number(0), NULL, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "mute"));
    int64_t ret = 0;
    send_number(port_peer(port), 0, 0, mute, on_end, &ret);
    settle(engine, port);
    assert_int_equal(ret, -ENOTSUP);
    port_close(&port);
    engine_free(&engine);
}

/* Answers each piece of mail three times, as an actor can't. */
static void stutter_mail(struct port *port, struct mail *mail, void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 3; i++)
        port_reply(port, mail_ticket(mail), MAIL_NUMBER, number(number_of(mail)));
}

/* Asks one after the other; its calls use the same slot again. */
static void asker_replied(struct actor *self, struct mail *reply, void *arg)
{
    struct run *run = run_of(self);
    assert_int_equal(number_of(reply), (uintptr_t)arg);
    if (++run->replies < run->many)
        actor_ask(self, run->to, MAIL_NUMBER, number(run->replies), asker_replied,
                  (void *)(uintptr_t)run->replies);
}

static void asker_go(struct actor *self, struct mail *mail)
{
    (void)mail;
    actor_ask(self, run_of(self)->to, MAIL_NUMBER, number(0), asker_replied, NULL);
}

static const struct actor_type asker_type = {.name = "asker", .handlers = {[MAIL_GO] = asker_go}};

static void a_doubled_reply_is_dropped_also_when_its_slot_is_asked_from_again(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct run run = {.many = 30};
        struct engine *engine = rig_stepped(2, seed, &run);
        struct port *port = rig_port(engine);
        port_on_mail(port, stutter_mail, NULL);
        run.to = port_address(port);
        port_tell(port, engine_spawn(engine, &asker_type, "asker", seed % 2), MAIL_GO, number(0));
        settle(engine, port);
        assert_int_equal(run.replies, run.many);
        port_close(&port);
        engine_free(&engine);
    }
}

/* A layer that sends its operation once more when it has ended. */
static void once_more(struct op *op, void *arg)
{
    struct run *run = arg;
    run->completions++;
    run->hold = true;
    op->offset++;
    op_push(op, on_done, run);
    op_send(op, run->to);
}

static void a_doubled_completion_is_dropped_also_when_its_operation_is_sent_again(void **state)
{
    (void)state;
    struct run run = {0};
    op_queue_init(&run.held);
    struct engine *engine = rig_stepped(1, 1, &run);
    struct port *port = rig_port(engine);
    run.to = engine_spawn(engine, &server_type, "server", 0);
    settle(engine, port);

    struct peer *peer = port_peer(port);
    struct op *op = op_new(peer);
    op->kind = OP_FLUSH;
    op->offset = op->bytes = 0;
    op_push(op, once_more, &run);
    op_send(op, run.to);
    uint64_t tag = (uint64_t)op->generation << 32 | op->slot;
    assert_ptr_equal(peer_find_op(peer, tag), op);
    settle(engine, port);
    assert_int_equal(run.served, 2);
    assert_int_equal(run.completions, 1);
    peer_completion(peer, tag, 1); /* the first journey's, for a second time */
    assert_int_equal(run.completions, 1);
    peer_completion(peer, UINT64_MAX, 1);
    port_tell(port, run.to, MAIL_GO, number(0));
    settle(engine, port);
    assert_int_equal(run.completions, 2);
    port_close(&port);
    engine_free(&engine);
}

/* Layers of 20 actors on two reactors, each of which adds one to the offset on the way down, and to
 * the result on the way up. */
struct layer {
    actor_addr below; /* 0: the last one */
};

static void layer_done(struct op *op, void *who)
{
    (void)who;
    --op->offset;
    assert_int_equal(op->offset, *(int64_t *)op_popped(op));
    op_complete(op, op->ret + 1);
}

static void layer_op(struct actor *self, struct op *op)
{
    struct layer *layer = actor_state(self);
    if (!layer->below) {
        op_complete(op, op->offset);
        return;
    }
    *(int64_t *)op_push(op, layer_done, self) = op->offset++;
    op_send(op, layer->below);
}

static void layer_go(struct actor *self, struct mail *mail)
{
    ((struct layer *)actor_state(self))->below = number_of(mail);
}

static const struct actor_type layer_type = {.name = "layer",
                                             .size = sizeof(struct layer),
                                             .submit = layer_op,
                                             .handlers = {[MAIL_GO] = layer_go}};

static void an_operation_of_more_layers_than_it_has_frames_ends_through_all_of_them(void **state)
{
    (void)state;
    for (unsigned spread = 1; spread <= 5; spread++) {
        struct engine *engine = rig_stepped(2, spread, NULL);
        struct port *port = rig_port(engine);
        actor_addr below = 0;
        for (unsigned i = 0; i < 20; i++) {
            actor_addr layer = engine_spawn(engine, &layer_type, "layer", i / spread % 2);
            port_tell(port, layer, MAIL_GO, number(below));
            below = layer;
        }
        settle(engine, port);
        int64_t ret = 0;
        send_number(port_peer(port), 0, 100, below, on_end, &ret);
        settle(engine, port);
        assert_int_equal(ret, 100 + 19 + 19);
        port_close(&port);
        engine_free(&engine);
    }
}

/* --- Time */

struct clockwork {
    struct timer timer;
    struct actor *self;
    struct run *run;
};

static void tick(struct timer *timer)
{
    struct clockwork *clockwork = (struct clockwork *)timer;
    struct reactor *reactor = actor_reactor(clockwork->self);
    assert_int_equal(reactor_now(reactor), timer->deadline_ns);
    if (++clockwork->run->served < 1000)
        timer_arm(reactor_timers(reactor), timer, reactor_now(reactor) + 7 * NS_PER_MS);
}

static void clockwork_init(struct actor *self)
{
    struct clockwork *clockwork = actor_state(self);
    *clockwork = (struct clockwork){{.fire = tick}, self, run_of(self)};
    struct reactor *reactor = actor_reactor(self);
    timer_arm(reactor_timers(reactor), &clockwork->timer, reactor_now(reactor) + 7 * NS_PER_MS);
}

static void clockwork_fini(struct actor *self)
{
    struct clockwork *clockwork = actor_state(self);
    timer_cancel(reactor_timers(actor_reactor(self)), &clockwork->timer);
}

static const struct actor_type clockwork_type = {.name = "clockwork",
                                                 .size = sizeof(struct clockwork),
                                                 .init = clockwork_init,
                                                 .fini = clockwork_fini};

static void virtual_time_stops_at_every_timer_and_nowhere_else(void **state)
{
    (void)state;
    struct run run = {0};
    struct engine *engine = rig_stepped(2, 3, &run);
    engine_spawn(engine, &clockwork_type, "clockwork", 1);
    uint64_t start = engine_now(engine);
    engine_settle(engine);
    assert_int_equal(engine_now(engine), start);
    engine_advance(engine, 7 * NS_PER_MS - 1);
    assert_int_equal(run.served, 0);
    engine_advance(engine, 1);
    assert_int_equal(run.served, 1);
    engine_advance(engine, 3600 * NS_PER_S);
    assert_int_equal(run.served, 1000);
    assert_int_equal(engine_now(engine), start + 7 * NS_PER_MS + 3600 * NS_PER_S);
    engine_free(&engine);
}

/* --- What a debug build catches, in a process of its own */

#ifndef NDEBUG
static void abort_of(void (*body)(void), char *text, size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL); /* cmocka's own handler would go on */
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(ends[0], text + n, size - 1 - n)) > 0;)
        n += (size_t)got;
    text[n] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static struct actor *touched;

static void touched_init(struct actor *self)
{
    touched = self;
}

static const struct actor_type touched_type = {.name = "touchy", .init = touched_init};

static void touch_elsewhere(void)
{
    struct engine *engine = rig_stepped(1, 1, NULL);
    engine_spawn(engine, &touched_type, "porcelain", 0);
    engine_settle(engine);
    actor_state(touched);
}

static void forget_to_answer(struct actor *self, struct mail *mail)
{
    (void)mail;
    actor_stop(self);
}

static const struct actor_type forgetful_type = {.name = "forgetful",
                                                 .handlers = {[MAIL_FAULT] = forget_to_answer}};

static void stop_without_an_answer(void)
{
    struct engine *engine = rig_stepped(1, 1, NULL);
    struct port *port = rig_port(engine);
    struct err err = {.code = -EIO};
    port_tell(port, engine_spawn(engine, &forgetful_type, "told", 0), MAIL_FAULT,
              mail_fault_body(&err));
    port_poll(port);
    engine_settle(engine); /* nobody waits for that one */
    fprintf(stderr, "so far so good\n");
    port_ask(port, engine_spawn(engine, &forgetful_type, "asked", 0), MAIL_FAULT,
             mail_fault_body(&err), NULL, NULL);
    port_poll(port);
    engine_settle(engine);
}

static void send_incomplete(void)
{
    struct engine *engine = rig_stepped(1, 1, NULL);
    struct port *port = rig_port(engine);
    Sluice__Fault *fault = MAIL_NEW(sluice__fault); /* without its text, which is required */
    port_tell(port, engine_spawn(engine, &mute_type, "mute", 0), MAIL_FAULT, fault);
}
#endif

static void an_actor_that_is_touched_off_its_reactor_aborts_with_its_name(void **state)
{
    (void)state;
#ifdef NDEBUG
    skip();
#else
    char text[4096];
    abort_of(touch_elsewhere, text, sizeof text);
    assert_non_null(strstr(text, "porcelain"));
    assert_non_null(strstr(text, "touchy"));
#endif
}

static void an_actor_that_stops_without_having_answered_aborts_with_its_name(void **state)
{
    (void)state;
#ifdef NDEBUG
    skip();
#else
    char text[4096];
    abort_of(stop_without_an_answer, text, sizeof text);
    assert_non_null(strstr(text, "so far so good"));
    assert_non_null(strstr(text, "'asked' (forgetful) stops"));
#endif
}

static void a_message_that_lacks_a_required_field_is_caught_where_it_is_sent(void **state)
{
    (void)state;
#ifdef NDEBUG
    skip();
#else
    char text[4096];
    abort_of(send_incomplete, text, sizeof text);
    assert_non_null(strstr(text, "protobuf_c_message_check"));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_says_of_an_operation_what_it_was_told),
        cmocka_unit_test(operations_without_a_credit_wait_in_order_and_none_is_lost),
        cmocka_unit_test(two_reactors_full_of_operations_for_each_other_go_on),
        cmocka_unit_test(operations_that_end_at_once_nest_to_a_bound_and_keep_their_order),
        cmocka_unit_test(mail_is_answered_while_operations_never_end),
        cmocka_unit_test(operations_end_while_mail_never_does),
        cmocka_unit_test(a_dead_address_answers_mail_with_a_fault_and_operations_with_enxio),
        cmocka_unit_test(what_an_actor_does_not_understand_is_refused),
        cmocka_unit_test(a_doubled_reply_is_dropped_also_when_its_slot_is_asked_from_again),
        cmocka_unit_test(a_doubled_completion_is_dropped_also_when_its_operation_is_sent_again),
        cmocka_unit_test(an_operation_of_more_layers_than_it_has_frames_ends_through_all_of_them),
        cmocka_unit_test(virtual_time_stops_at_every_timer_and_nowhere_else),
        cmocka_unit_test(an_actor_that_is_touched_off_its_reactor_aborts_with_its_name),
        cmocka_unit_test(an_actor_that_stops_without_having_answered_aborts_with_its_name),
        cmocka_unit_test(a_message_that_lacks_a_required_field_is_caught_where_it_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
