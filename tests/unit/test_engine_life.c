/* How actors begin and end: what is left in them is answered, and each that began ends once. */
#include "engine_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* What all actors of a run see. */
struct run {
    actor_addr ender, friend;
    unsigned reactors;
    atomic_uint begun, ended;
    unsigned answers, faults, completions, gone, kept;
};

static struct run *run_of(struct actor *self)
{
    return (struct run *)actor_world(self);
}

static void on_reply(struct port *port, struct mail *reply, void *arg)
{
    (void)port;
    struct run *run = arg;
    const Sluice__Fault *fault = mail_fault(reply);
    if (fault)
        assert_int_equal(fault->code, -ENXIO);
    run->answers++;
    run->faults += fault != NULL;
}

static void on_done(struct op *op, void *arg)
{
    struct run *run = arg;
    assert_true(op->ret == op->offset || op->ret == -ENXIO);
    run->completions++;
    run->gone += op->ret == -ENXIO;
    op_free(op);
}

/* --- An actor that ends at the tenth arrival. The operation of its friend it keeps until then, and
 * so the friend writes to it while it ends. */

struct ender {
    unsigned arrivals;
    struct op *kept;
};

static void ender_count(struct actor *self)
{
    struct ender *ender = actor_state(self);
    if (++ender->arrivals == 10)
        actor_stop(self);
}

static void ender_mail(struct actor *self, struct mail *mail)
{
    ender_count(self);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static void ender_op(struct actor *self, struct op *op)
{
    struct ender *ender = actor_state(self);
    assert_true(ender->arrivals < 10);
    if (op->bytes == 1) {
        ender->kept = op;
        run_of(self)->kept++;
        return;
    }
    ender_count(self);
    op_complete(op, op->offset);
}

static void ender_init(struct actor *self)
{
    atomic_fetch_add(&run_of(self)->begun, 1);
}

static void ender_fini(struct actor *self)
{
    struct ender *ender = actor_state(self);
    atomic_fetch_add(&run_of(self)->ended, 1);
    actor_tell(self, actor_address(self), MAIL_NUMBER, number(0));
    if (ender->kept)
        op_complete(ender->kept, ender->kept->offset);
}

static const struct actor_type ender_type = {
    .name = "ender",
    .size = sizeof(struct ender),
    .init = ender_init,
    .fini = ender_fini,
    .submit = ender_op,
    .handlers = {[MAIL_NUMBER] = ender_mail},
};

static void friend_replied(struct actor *self, struct mail *reply, void *arg)
{
    (void)arg;
    struct run *run = run_of(self);
    assert_int_equal(mail_fault(reply)->code, -ENXIO);
    run->answers++;
    run->faults++;
}

static void friend_done(struct op *op, void *who)
{
    struct actor *self = who;
    struct run *run = run_of(self);
    on_done(op, run);
    actor_ask(self, run->ender, MAIL_NUMBER, number(0), friend_replied, NULL);
    send_number(actor_peer(self), 0, 77, run->ender, on_done, run);
}

static void friend_go(struct actor *self, struct mail *mail)
{
    (void)mail;
    send_number(actor_peer(self), 1, 0, run_of(self)->ender, friend_done, self);
}

static const struct actor_type friend_type = {.name = "friend",
                                              .handlers = {[MAIL_GO] = friend_go}};

static void what_is_left_in_an_actor_that_ends_is_answered(void **state)
{
    (void)state;
    unsigned kept = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct run run = {.reactors = 2};
        struct engine *engine = rig_stepped(2, seed, &run);
        struct port *port = rig_port(engine);
        run.ender = engine_spawn(engine, &ender_type, "ender", 0);
        run.friend = engine_spawn(engine, &friend_type, "friend", seed % 2);
        port_tell(port, run.friend, MAIL_GO, number(0));
        port_poll(port);
        for (unsigned i = seed % 8; i > 0; i--)
            engine_step(engine);
        for (unsigned i = 0; i < 40; i++) {
            port_ask(port, run.ender, MAIL_NUMBER, number(i), on_reply, &run);
            send_number(port_peer(port), 2, i, run.ender, on_done, &run);
        }
        while (port_poll(port) | engine_step(engine))
            continue;
        assert_int_equal(run.answers, 41);
        assert_int_equal(run.completions, 42);
        assert_int_equal(run.faults + run.gone, 41 + 42 - 10 - run.kept);
        kept += run.kept;
        assert_int_equal(run.begun, 1);
        assert_int_equal(run.ended, 1);
        port_close(&port);
        engine_free(&engine);
    }
    assert_true(kept > 100);
}

/* --- One that stops in the middle of what it does: it answers every third at once, every other one
 * of the rest late, in any order, and at the last one refuses what is left. */

#define ASKED 40

struct quitter {
    struct ticket kept[ASKED];
    unsigned n;
};

static void quitter_mail(struct actor *self, struct mail *mail)
{
    struct quitter *quitter = actor_state(self);
    struct err err = {0};
    uint64_t which = number_of(mail);
    if (which % 3 == 0) {
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
    } else {
        quitter->kept[quitter->n++] = mail_ticket(mail);
    }
    if (which % 4 == 3 && quitter->n)
        actor_reply(self, quitter->kept[--quitter->n], MAIL_NONE, NULL);
    if (which % 7 == 6 && quitter->n) {
        actor_reply(self, quitter->kept[0], MAIL_NONE, NULL);
        quitter->kept[0] = quitter->kept[--quitter->n];
    }
    if (which < ASKED - 1)
        return;
    run_of(self)->kept = quitter->n;
    err_set(&err, -ENXIO, "it has quit");
    actor_refuse_rest(self, &err);
    actor_stop(self);
}

static const struct actor_type quitter_type = {
    .name = "quitter",
    .size = sizeof(struct quitter),
    .handlers = {[MAIL_NUMBER] = quitter_mail},
};

static void one_that_stops_in_the_middle_refuses_what_it_has_not_answered(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct run run = {.reactors = 2};
        struct engine *engine = rig_stepped(2, seed, &run);
        struct port *port = rig_port(engine);
        actor_addr quitter = engine_spawn(engine, &quitter_type, "quitter", seed % 2);
        for (unsigned i = 0; i < ASKED; i++)
            port_ask(port, quitter, MAIL_NUMBER, number(i), on_reply, &run);
        while (port_poll(port) | engine_step(engine))
            continue;
        assert_int_equal(run.answers, ASKED);
        assert_true(run.kept > 5);
        assert_int_equal(run.faults, run.kept);
        port_close(&port);
        engine_free(&engine);
    }
}

/* --- Moves */

/* Tells itself that it is to move on, for ever. */
static void nomad_mail(struct actor *self, struct mail *mail)
{
    (void)mail;
    actor_tell(self, actor_address(self), MAIL_NUMBER, number(0));
    actor_move(self, (reactor_id(actor_reactor(self)) + 1) % run_of(self)->reactors);
}

static void nomad_init(struct actor *self)
{
    atomic_fetch_add(&run_of(self)->begun, 1);
    actor_tell(self, actor_address(self), MAIL_NUMBER, number(0));
}

static void nomad_fini(struct actor *self)
{
    atomic_fetch_add(&run_of(self)->ended, 1);
}

static const struct actor_type nomad_type = {
    .name = "nomad",
    .init = nomad_init,
    .fini = nomad_fini,
    .handlers = {[MAIL_NUMBER] = nomad_mail},
};

static void actors_on_their_way_end_with_the_engine(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct run run = {.reactors = 3};
        struct engine *engine = rig_stepped(3, seed, &run);
        for (unsigned i = 0; i < 6; i++)
            engine_spawn(engine, &nomad_type, "nomad", i % 3);
        for (unsigned i = 0; i < seed % 50; i++)
            engine_step(engine);
        engine_free(&engine);
        assert_int_equal(run.begun, run.ended);
        assert_true(seed % 50 < 20 || run.begun == 6);
    }
}

static void actors_on_their_way_end_with_the_threads(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct run run = {.reactors = 2};
        struct engine *engine = rig_threads(&run);
        for (unsigned i = 0; i < 6; i++)
            engine_spawn(engine, &nomad_type, "nomad", i % 2);
        for (unsigned i = 0; round % 4 && i < 100 * round; i++)
            sched_yield();
        engine_free(&engine);
        assert_int_equal(run.begun, run.ended);
    }
}

/* Some that ask and tell each other all the time: at the end their mail is answered among them. */
static void gossip(struct actor *self, actor_addr to);

static void gossip_replied(struct actor *self, struct mail *reply, void *arg)
{
    (void)arg;
    if (!mail_fault(reply))
        gossip(self, reply->from);
}

static void gossip(struct actor *self, actor_addr to)
{
    actor_ask(self, to, MAIL_NUMBER, number(0), gossip_replied, NULL);
}

static void gossip_go(struct actor *self, struct mail *mail)
{
    gossip(self, number_of(mail));
}

static void gossip_mail(struct actor *self, struct mail *mail)
{
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static const struct actor_type gossip_type = {
    .name = "gossip",
    .init = nomad_init,
    .fini = nomad_fini,
    .handlers = {[MAIL_GO] = gossip_go, [MAIL_NUMBER] = gossip_mail},
};

static void actors_with_mail_end_with_the_engine(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct run run = {.reactors = 1};
        struct engine *engine = rig_stepped(1, seed, &run);
        struct port *port = rig_port(engine);
        actor_addr all[12];
        for (unsigned i = 0; i < 12; i++)
            all[i] = engine_spawn(engine, &gossip_type, "gossip", 0);
        for (unsigned i = 0; i < 5; i++)
            port_tell(port, all[(i * 7 + seed) % 12], MAIL_GO,
                      number(all[(i * 5 + seed / 2) % 12]));
        port_poll(port);
        for (unsigned i = 0; i < 20 + seed % 40; i++)
            engine_step(engine);
        for (unsigned i = 0; i < 3; i++)
            port_tell(port, all[(i * 3 + seed) % 12], MAIL_NUMBER, number(0));
        port_poll(port);
        engine_step(engine);
        port_close(&port);
        engine_free(&engine);
        assert_int_equal(run.begun, 12);
        assert_int_equal(run.ended, 12);
    }
}

/* Mail that was queued behind a move to where the actor is already. */
static void settled_mail(struct actor *self, struct mail *mail)
{
    actor_move(self, reactor_id(actor_reactor(self)));
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static const struct actor_type settled_type = {.name = "settled",
                                               .handlers = {[MAIL_NUMBER] = settled_mail}};

static void a_move_to_where_the_actor_is_leaves_no_mail_lying(void **state)
{
    (void)state;
    struct run run = {.reactors = 2};
    struct engine *engine = rig_stepped(2, 1, &run);
    struct port *port = rig_port(engine);
    actor_addr settled = engine_spawn(engine, &settled_type, "settled", 1);
    for (unsigned i = 0; i < 20; i++)
        port_ask(port, settled, MAIL_NUMBER, number(i), on_reply, &run);
    while (port_poll(port) | engine_step(engine))
        continue;
    assert_int_equal(run.answers, 20);
    assert_int_equal(run.faults, 0);
    port_close(&port);
    engine_free(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_in_an_actor_that_ends_is_answered),
        cmocka_unit_test(one_that_stops_in_the_middle_refuses_what_it_has_not_answered),
        cmocka_unit_test(actors_on_their_way_end_with_the_engine),
        cmocka_unit_test(actors_on_their_way_end_with_the_threads),
        cmocka_unit_test(actors_with_mail_end_with_the_engine),
        cmocka_unit_test(a_move_to_where_the_actor_is_leaves_no_mail_lying),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
