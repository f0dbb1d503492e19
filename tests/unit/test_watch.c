/* Who stands on a node watches it, and does so no more when it ends: a real backend and a real node
 * above a node whose part the test plays. */
#include "node_rig.h"

#include "actors/backend.h"

static struct {
    actor_addr watchers[4];
    unsigned n;
} played;

static void on_watch(struct actor *self, struct mail *mail)
{
    const Sluice__NodeWatch *watch = (const Sluice__NodeWatch *)mail->body;
    unsigned at = 0;
    while (at < played.n && played.watchers[at] != watch->parent)
        at++;
    if (watch->watch && at == played.n)
        played.watchers[played.n++] = watch->parent;
    else if (!watch->watch && at < played.n)
        played.watchers[at] = played.watchers[--played.n];
    Sluice__NodeFacts *facts = MAIL_NEW(sluice__node_facts);
    facts->length = 1 << 20;
    facts->alignment = 1;
    actor_reply(self, mail_ticket(mail), MAIL_NODE_FACTS, facts);
}

static void ignore(struct actor *self, struct mail *mail)
{
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static const struct actor_type node = {
    .name = "node",
    .handlers = {[MAIL_NODE_WATCH] = on_watch},
};

static const struct actor_type graph = {
    .name = "graph",
    .handlers = {[MAIL_EMIT] = ignore},
};

static actor_addr play(void)
{
    memset(&played, 0, sizeof played);
    rig_world.graph = rig_play(&graph);
    return rig_play(&node);
}

static actor_addr backend_on(actor_addr medium)
{
    actor_addr backend = rig_spawn(&backend_type, "b");
    Sluice__BackendOpen *open = MAIL_NEW(sluice__backend_open);
    open->spec = MAIL_NEW(sluice__backend_add);
    mail_set(&open->spec->name, "b");
    mail_set(&open->spec->node, "n");
    open->has_node = medium != 0;
    open->node = medium;
    assert_int_equal(rig_ask(backend, MAIL_BACKEND_OPEN, open).err.code, 0);
    return backend;
}

static void a_backend_that_ends_with_its_medium_watches_it_no_more(void **state)
{
    (void)state;
    actor_addr medium = play(), one = backend_on(medium), two = backend_on(medium);
    assert_int_equal(played.n, 2);
    assert_int_equal(rig_ask(one, MAIL_CLOSE, NULL).err.code, 0);
    rig_run();
    assert_int_equal(played.n, 1);
    assert_true(played.watchers[0] == two);
    assert_int_equal(rig_ask(two, MAIL_CLOSE, NULL).err.code, 0);
    rig_run();
    assert_int_equal(played.n, 0);
}

static void a_backend_whose_medium_is_taken_out_watches_it_no_more(void **state)
{
    (void)state;
    actor_addr medium = play(), backend = backend_on(0);
    assert_int_equal(played.n, 0);
    Sluice__BackendInsert *insert = MAIL_NEW(sluice__backend_insert);
    insert->node = medium;
    mail_set(&insert->name, "n");
    assert_int_equal(rig_ask(backend, MAIL_BACKEND_INSERT, insert).err.code, 0);
    assert_int_equal(played.n, 1);
    assert_int_equal(rig_ask(backend, MAIL_BACKEND_REMOVE, NULL).err.code, 0);
    rig_run();
    assert_int_equal(played.n, 0);
    assert_int_equal(rig_ask(backend, MAIL_CLOSE, NULL).err.code, 0);
}

static void a_node_that_ends_watches_what_it_stood_on_no_more(void **state)
{
    (void)state;
    actor_addr below = play(), above = rig_open("r", "raw", below, "");
    assert_int_equal(played.n, 1);
    assert_true(played.watchers[0] == above);
    rig_close(above);
    assert_int_equal(played.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_backend_that_ends_with_its_medium_watches_it_no_more),
        RIG_TEST(a_backend_whose_medium_is_taken_out_watches_it_no_more),
        RIG_TEST(a_node_that_ends_watches_what_it_stood_on_no_more),
    };
    int failed = 0;
    while (rig_next_seed(6))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
