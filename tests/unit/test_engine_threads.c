/* Reactors on threads: they sleep when there is nothing to do and wake at once; work from any
 * thread runs in that thread's order; ports come and go. */
#include "engine_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* --- An actor that tells its reactor's turns and parks */

static void meter_mail(struct actor *self, struct mail *mail)
{
    const struct reactor_stats *stats = reactor_stats(actor_reactor(self));
    actor_reply(self, mail_ticket(mail), MAIL_NUMBER,
                number(number_of(mail) ? stats->parks : stats->turns));
}

static void meter_op(struct actor *self, struct op *op)
{
    (void)self;
    op_complete(op, op->offset);
}

static const struct actor_type meter_type = {
    .name = "meter", .submit = meter_op, .handlers = {[MAIL_NUMBER] = meter_mail}};

enum { TURNS, PARKS };

static uint64_t measure(struct port *port, actor_addr meter, uint64_t what)
{
    struct err err = {0};
    void *body = NULL;
    if (port_call(port, meter, MAIL_NUMBER, number(what), &body, &err) != 0)
        fail_msg("%s", err.text);
    uint64_t value = ((Sluice__SessionClose *)body)->session;
    mail_free_body(body);
    return value;
}

static void pause_ms(long ms)
{
    struct timespec ts = {0, ms * (long)NS_PER_MS};
    nanosleep(&ts, NULL);
}

static void an_idle_reactor_stands_still_and_a_message_wakes_it(void **state)
{
    (void)state;
    struct engine *engine = rig_threads(NULL);
    struct port *port = rig_port(engine);
    actor_addr meters[2];
    for (unsigned i = 0; i < 2; i++)
        meters[i] = engine_spawn(engine, &meter_type, "meter", i);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 2; i++) {
            uint64_t turns = measure(port, meters[i], TURNS),
                     parks = measure(port, meters[i], PARKS);
            pause_ms(50);
            /* A busy loop would make hundreds of thousands. */
            assert_in_range(measure(port, meters[i], TURNS) - turns, 1, 50);
            assert_in_range(measure(port, meters[i], PARKS) - parks, 1, 50);
        }
    }
    port_close(&port);
    engine_free(&engine);
}

/* Each wake is lost without the ring of the doorbell, and would wait for ever. */
static void no_wake_is_lost_however_messages_and_sleep_meet(void **state)
{
    (void)state;
    struct engine *engine = rig_threads(NULL);
    struct port *port = rig_port(engine);
    actor_addr meter = engine_spawn(engine, &meter_type, "meter", 0);
    uint64_t random = 1;
    for (unsigned i = 0; i < 3000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        for (volatile unsigned spin = random >> 49; spin > 0; spin--) /* up to some tens of us */
            continue;
        measure(port, meter, TURNS);
    }
    port_close(&port);
    engine_free(&engine);
}

/* --- The foreign inbox */

enum { POSTERS = 4, POSTS = 20000 };

struct parcel {
    struct work work;
    unsigned who, value;
};

static struct {
    struct reactor *reactor;
    unsigned due[POSTERS]; /* written by the reactor only */
    atomic_uint ran;
    struct parcel parcels[POSTERS][POSTS];
} post;

static void unpack(struct work *work, struct reactor *reactor)
{
    struct parcel *parcel = (struct parcel *)work;
    assert_ptr_equal(reactor, post.reactor);
    assert_ptr_equal(reactor_here(), reactor);
    assert_int_equal(parcel->value, post.due[parcel->who]++);
    atomic_fetch_add(&post.ran, 1);
}

static void *poster(void *opaque)
{
    unsigned who = (unsigned)(uintptr_t)opaque;
    for (unsigned i = 0; i < POSTS; i++) {
        post.parcels[who][i] = (struct parcel){{.run = unpack}, who, i};
        reactor_post(post.reactor, &post.parcels[who][i].work);
        if (i % 1000 == 0)
            sched_yield();
    }
    return NULL;
}

static void work_from_several_threads_runs_once_in_the_order_of_each(void **state)
{
    (void)state;
    struct engine *engine = rig_threads(NULL);
    post.reactor = engine_reactor(engine, 1);
    pthread_t threads[POSTERS];
    for (uintptr_t i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, poster, (void *)i), 0);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    while (atomic_load(&post.ran) < POSTERS * POSTS)
        sched_yield();
    engine_free(&engine);
    for (unsigned i = 0; i < POSTERS; i++)
        assert_int_equal(post.due[i], POSTS);
}

/* --- Ports */

static void on_done(struct op *op, void *arg)
{
    assert_int_equal(op->ret, op->offset);
    ++*(unsigned *)arg;
    op_free(op);
}

struct visitor {
    struct engine *engine;
    actor_addr meters[2];
};

/* Opens, uses and closes a context again and again. */
static void *visit(void *opaque)
{
    struct visitor *visitor = opaque;
    for (unsigned round = 0; round < 50; round++) {
        struct port *port = rig_port(visitor->engine);
        unsigned completions = 0;
        for (unsigned i = 0; i < 100; i++)
            send_number(port_peer(port), 0, i, visitor->meters[i % 2], on_done, &completions);
        measure(port, visitor->meters[round % 2], TURNS);
        while (completions < 100)
            port_wait(port, NS_PER_S);
        port_tell(port, visitor->meters[0], MAIL_NUMBER, number(0)); /* leaves before the answer */
        port_close(&port);
    }
    return NULL;
}

static void contexts_of_several_threads_come_and_go(void **state)
{
    (void)state;
    struct visitor visitor = {.engine = rig_threads(NULL)};
    for (unsigned i = 0; i < 2; i++)
        visitor.meters[i] = engine_spawn(visitor.engine, &meter_type, "meter", i);
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, visit, &visitor), 0);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    engine_free(&visitor.engine);
}

static void the_answer_for_a_closed_context_is_not_given_to_the_next(void **state)
{
    (void)state;
    struct engine *engine = rig_stepped(1, 1, NULL);
    actor_addr meter = engine_spawn(engine, &meter_type, "meter", 0);
    struct port *port = rig_port(engine);
    unsigned answers = 0;
    port_ask(port, meter, MAIL_NUMBER, number(0), NULL, &answers);
    actor_addr first = port_address(port);
    port_close(&port);
    port = rig_port(engine); /* the same place */
    assert_true(port_address(port) != first);
    engine_settle(engine);
    port_poll(port);
    measure(port, meter, TURNS);
    port_close(&port);
    engine_free(&engine);
}

static void the_most_contexts_are_refused_with_a_sentence_and_one_closed_makes_room(void **state)
{
    (void)state;
    struct engine *engine = rig_stepped(1, 1, NULL);
    struct port *ports[PEERS_MAX];
    struct err err = {0};
    unsigned n = 0;
    while ((ports[n] = port_open(engine, &err)))
        n++;
    assert_int_equal(n, PEERS_MAX - 2); /* one is the reactor, and 0 is nobody */
    assert_int_equal(err.code, -EMFILE);
    assert_non_null(strstr(err.text, "254 are open"));
    assert_null(port_open(engine, &err));
    port_close(&ports[7]);
    ports[7] = rig_port(engine);
    while (n-- > 0)
        port_close(&ports[n]);
    engine_free(&engine);
}

static void a_context_that_could_not_be_opened_takes_nothing_from_later_ones(void **state)
{
    (void)state;
    struct engine *engine = rig_stepped(1, 1, NULL);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(STDERR_FILENO);
    close(next);
    tight = (struct rlimit){(rlim_t)next, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    struct err err = {0};
    for (unsigned i = 0; i < PEERS_MAX; i++)
        assert_null(port_open(engine, &err));
    assert_int_equal(err.code, -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    struct port *port = rig_port(engine);
    port_close(&port);
    engine_free(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_reactor_stands_still_and_a_message_wakes_it),
        cmocka_unit_test(no_wake_is_lost_however_messages_and_sleep_meet),
        cmocka_unit_test(work_from_several_threads_runs_once_in_the_order_of_each),
        cmocka_unit_test(contexts_of_several_threads_come_and_go),
        cmocka_unit_test(the_answer_for_a_closed_context_is_not_given_to_the_next),
        cmocka_unit_test(the_most_contexts_are_refused_with_a_sentence_and_one_closed_makes_room),
        cmocka_unit_test(a_context_that_could_not_be_opened_takes_nothing_from_later_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
