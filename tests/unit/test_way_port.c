/* A port that shares its CPU: what it was given is on its way before others have the CPU. */
#include "engine_rig.h"

#include <stdatomic.h>
#include <sys/resource.h>

#include "engine/peer.h"

static struct peer *watched; /* null: nobody */
static unsigned yields, unsent;
static atomic_uint switches;

/* To each that asks, it was switched away from since it last did. */
int getrusage(__rusage_who_t who, struct rusage *usage)
{
    (void)who;
    *usage = (struct rusage){.ru_nivcsw = (long)atomic_fetch_add(&switches, 1) + 1};
    return 0;
}

static _Thread_local bool is_ports;

int sched_yield(void)
{
    if (is_ports && watched) {
        yields++;
        unsent += watched->dirty != NULL;
    }
    return 0;
}

static void on_tell(struct actor *self, struct mail *mail)
{
    (void)self;
    (void)mail;
}

static const struct actor_type listener = {
    .name = "listener", .size = 1, .handlers = {[MAIL_NUMBER] = on_tell}};

static void what_a_port_was_given_is_sent_before_it_gives_way(void **state)
{
    (void)state;
    struct err err = {0};
    struct engine *engine = rig_engine((struct engine_options){.threads = 1});
    struct port *port = port_open(engine, &err);
    assert_non_null(port);
    actor_addr to = engine_spawn(engine, &listener, "listener", 0);
    assert_true(to != 0);
    is_ports = true;
    watched = port_peer(port);
    for (unsigned i = 0; i < 2000; i++) {
        port_tell(port, to, MAIL_NUMBER, number(i));
        port_wait(port, 20 * NS_PER_US);
    }
    watched = NULL;
    assert_true(yields > 0);
    assert_int_equal(unsent, 0);
    port_close(&port);
    engine_free(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_port_was_given_is_sent_before_it_gives_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
