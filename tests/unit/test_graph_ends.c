/* Objects that take their time to open and to close: what is seen of them meanwhile, and how the
 * engine ends around them. Each seed is another order of what happens. */
#include "shown_rig.h"

#include "drivers_rig.h"

/* --- A driver that takes its time */

struct slow {
    struct driver_node *node;
    struct timer timer;
    driver_opened_fn *opened;
    void (*closed)(struct driver_node *node);
};

static const struct option slow_options[] = {
    {.name = "opening", .type = OPTION_DURATION, .preset = "0", .max = 3600 * NS_PER_S},
    {.name = "closing", .type = OPTION_DURATION, .preset = "0", .max = 3600 * NS_PER_S},
    {.name = "fails", .type = OPTION_SWITCH, .preset = "off"},
    {0},
};

static void slow_later(struct driver_node *node, const char *option)
{
    struct slow *slow = node->state;
    timer_arm(reactor_timers(node->reactor), &slow->timer,
              reactor_now(node->reactor) + option_number(node->options, option));
}

static void slow_fire(struct timer *timer)
{
    struct slow *slow = (struct slow *)((char *)timer - offsetof(struct slow, timer));
    if (slow->closed)
        slow->closed(slow->node);
    else
        slow->opened(slow->node, option_switch(slow->node->options, "fails") ? -EIO : 0, NULL);
}

static void slow_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct slow *slow = node->state;
    slow->node = node;
    slow->timer.fire = slow_fire;
    slow->opened = opened;
    node->facts = (struct driver_facts){.length = 1 << 20, .alignment = 1};
    slow_later(node, "opening");
}

static void slow_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    struct slow *slow = node->state;
    slow->closed = closed;
    slow_later(node, "closing");
}

static void slow_submit(struct driver_node *node, struct op *op)
{
    (void)node;
    op_complete(op, 0);
}

static const struct driver driver_slow = {
    .name = "slow",
    .help = "Takes its time to open and to close",
    .options = slow_options,
    .size = sizeof(struct slow),
    .open = slow_open,
    .close = slow_close,
    .submit = slow_submit,
};

extern const struct driver driver_null, driver_memory, driver_file, driver_raw;

RIG_DRIVERS(&driver_null, &driver_memory, &driver_file, &driver_raw, &driver_slow)

/* --- Objects on their way in or out */

static void an_object_that_is_being_opened_can_t_be_used_yet(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer node;
        stack_send(&node, "node-add name=n driver=slow opening=1s");
        stack_settle();
        stack_refused(-EBUSY, "node 'n' is being opened; try again", "backend-add name=b node=n");
        stack_refused(-EBUSY, "being opened", "node-add name=w driver=raw child=n");
        stack_refused(-EBUSY, "being opened", "node-remove n");
        stack_refused(-EBUSY, "being opened", "node-show n");
        stack_refused(-EEXIST, "there is a node 'n'", "backend-add name=n");
        assert_int_equal(stack_do("node-list")->nodes->n_nodes, 0);
        assert_int_equal(stack_do("status")->status->n_nodes, 0);
        assert_string_equal(stack_story(1), "");
        assert_false(node.came);
        stack_pass(NS_PER_S);
        assert_true(node.came && node.code == 0);
        assert_string_equal(stack_story(1), "NODE_ADDED n");
        stack_do("backend-add name=b node=n");
    }
}

static void an_object_that_fails_to_open_is_never_seen(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static struct stack_answer lists[100];
        struct stack_answer node;
        stack_send(&node, "node-add name=n driver=slow fails=on");
        for (unsigned i = 0; i < 100; i++) {
            stack_send(&lists[i], i % 2 ? "node-list" : "status");
            stack_step();
        }
        for (unsigned i = 0; i < 100; i++) {
            stack_await(&lists[i]);
            const Sluice__Reply *reply = lists[i].body;
            assert_int_equal(i % 2 ? reply->nodes->n_nodes : reply->status->n_nodes, 0);
        }
        assert_int_equal(node.code, -EIO);
        assert_string_equal(stack_story(1), "");
        stack_do("backend-add name=n");
    }
}

static void an_object_that_is_being_closed_is_there_until_it_is_gone(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer removed;
        stack_do("node-add name=n driver=null latency=5s");
        stack_do("backend-add name=b node=n");
        stack_submit(&op, stack_find("b"), OP_FLUSH, 0, 0, 0, NULL);
        stack_release("b");
        stack_settle();
        stack_send(&removed, "backend-remove b");
        stack_settle();
        assert_false(removed.came);
        stack_refused(-EBUSY, "backend 'b' is being closed; try again", "backend-remove b");
        stack_refused(-EBUSY, "being closed", "backend-show b");
        stack_refused(-EBUSY, "being closed", "export-add type=nbd backend=b port=0");
        stack_refused(-EBUSY, "backend 'b' uses it", "node-remove n");
        stack_refused(-EEXIST, "there is a backend 'b'", "backend-add name=b");
        assert_int_equal(stack_do("backend-list")->backends->n_backends, 1);
        assert_int_equal(stack_do("status")->status->n_backends, 1);
        assert_string_equal(stack_story(1), "NODE_ADDED n, BACKEND_ADDED b");
        stack_await(&removed);
        assert_int_equal(removed.code, 0);
        stack_settle();
        assert_true(op.came && op.ret == 0);
        assert_int_equal(stack_do("status")->status->n_backends, 0);
        assert_string_equal(stack_story(3), "BACKEND_DELETED b");

        stack_do("node-add name=slow driver=slow closing=1s");
        stack_send(&removed, "node-remove slow");
        stack_settle();
        assert_int_equal(stack_do("node-list")->nodes->n_nodes, 2);
        stack_await(&removed);
        assert_int_equal(stack_do("node-list")->nodes->n_nodes, 1);
    }
}

static void a_removal_that_the_backend_refuses_leaves_it_in_use(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add name=n driver=null");
        stack_do("backend-add name=b node=n");
        actor_addr backend = stack_find("b");
        const Sluice__SessionGrant *grant =
            stack_call(backend, MAIL_SESSION_OPEN, stack_session(1, 4096));
        struct stack_answer removed, status;
        stack_release("b");
        stack_send(&removed, "backend-remove b");
        stack_send(&status, "status"); /* while it is asked */
        stack_await(&removed);
        stack_await(&status);
        assert_int_equal(removed.code, -EBUSY);
        assert_non_null(strstr(removed.text, "'rig' has it open; end that first"));
        assert_int_equal(((const Sluice__Reply *)status.body)->status->n_backends, 1);
        assert_int_equal(stack_run(stack_find("b"), OP_READ, 0, 4096, 0), 0);
        stack_release("b");
        assert_string_equal(stack_story(1), "NODE_ADDED n, BACKEND_ADDED b");
        stack_call(backend, MAIL_SESSION_CLOSE, stack_session_end(grant->session));
        stack_do("backend-remove b");
    }
}

/* --- The end */

static void shut_down(struct stack_answer *answer, uint64_t deadline)
{
    Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
    shutdown->deadline = deadline;
    stack_ask(answer, stack_world()->graph, MAIL_SHUTDOWN, shutdown);
}

static unsigned place(const char *story, const char *what)
{
    const char *at = strstr(story, what);
    if (!at)
        fail_msg("no %s in: %s", what, story);
    return (unsigned)(at - story);
}

static void everything_is_closed_before_what_it_uses(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer ended;
        stack_do("node-add name=m driver=memory size=1M");
        stack_do("node-add name=w driver=raw child=m reactor=%u",
                 (unsigned)(seed / 3) % STACK_THREADS(seed));
        stack_do("backend-add name=b node=w");
        stack_do("backend-add name=c node=m");
        stack_do("export-add type=nbd backend=b port=0 id=e");
        shut_down(&ended, 30 * NS_PER_S);
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        stack_settle();
        assert_int_equal(stack_actors(), 2); /* control and events */
        const char *story = stack_story(6);
        unsigned e = place(story, "EXPORT_DELETED e"), b = place(story, "BACKEND_DELETED b"),
                 c = place(story, "BACKEND_DELETED c"), w = place(story, "NODE_DELETED w"),
                 m = place(story, "NODE_DELETED m");
        assert_true(e < b && b < w && w < m && c < m);
    }
}

static void once_the_end_has_begun_requests_are_refused(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer ended;
        stack_do("node-add name=n driver=null latency=1s");
        stack_do("backend-add name=b node=n");
        stack_submit(&op, stack_find("b"), OP_FLUSH, 0, 0, 0, NULL);
        stack_release("b");
        stack_settle();
        shut_down(&ended, 30 * NS_PER_S);
        stack_settle();
        assert_false(ended.came);
        stack_refused(-ESHUTDOWN, "the engine is shutting down", "node-add name=x driver=null");
        stack_refused(-ESHUTDOWN, "the engine is shutting down", "status");
        stack_refused(-ESHUTDOWN, "the engine is shutting down", "io-flush backend=b");
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_true(op.came && op.ret == 0); /* the deadline was far */
        stack_refused(-ENXIO, "gone", "status");
    }
}

static void what_still_waits_at_the_deadline_ends_with_eshutdown(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[4];
        struct stack_answer ended, drained;
        stack_do("node-add name=n driver=null latency=3600s");
        stack_do("node-add name=w driver=raw child=n reactor=%u",
                 (unsigned)(seed / 3) % STACK_THREADS(seed));
        stack_do("backend-add name=b node=w");
        stack_do("backend-add name=held node=w");
        actor_addr backend = stack_find("b"), held = stack_find("held");
        const Sluice__SessionGrant *grant =
            stack_call(backend, MAIL_SESSION_OPEN, stack_session(8, 65536));
        stack_call(held, MAIL_SESSION_OPEN, stack_session(8, 65536));
        stack_ask(&drained, held, MAIL_DRAIN_BEGIN, NULL);
        stack_await(&drained);
        stack_submit(&ops[0], backend, OP_WRITE, 0, 4096, 0, NULL);
        stack_submit(&ops[1], backend, OP_FLUSH, 0, 0, 0, NULL);
        stack_submit(&ops[2], held, OP_READ, 0, 4096, 0, NULL);
        stack_settle();
        uint64_t begun = engine_now(stack_engine());
        shut_down(&ended, 5 * NS_PER_S);
        stack_pass(5 * NS_PER_S - 1);
        assert_false(ops[0].came || ops[1].came || ops[2].came || ended.came);
        stack_pass(20 * NS_PER_MS);
        for (unsigned i = 0; i < 3; i++)
            assert_true(ops[i].came && ops[i].ret == -ESHUTDOWN);
        stack_submit(&ops[3], backend, OP_READ, 0, 4096, 0, NULL);
        stack_settle();
        assert_true(ops[3].came && ops[3].ret == -ESHUTDOWN);
        assert_false(ended.came); /* the frontend has the backends open */
        stack_call(held, MAIL_SESSION_CLOSE, stack_session_end(1));
        stack_release("held");
        stack_release("b");
        stack_call(backend, MAIL_SESSION_CLOSE, stack_session_end(grant->session));
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_true(engine_now(stack_engine()) - begun < 6 * NS_PER_S);
        stack_settle();
        assert_int_equal(stack_actors(), 2);
    }
}

static void the_end_waits_for_what_is_being_opened(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer node, failing, quick, bad, ended;
        stack_send_graph(&node, "node-add name=n driver=slow opening=1001ms closing=1s");
        stack_send_graph(&failing, "node-add name=f driver=slow opening=2s fails=on");
        stack_settle();
        stack_send_graph(&quick, "node-add name=q driver=memory size=1M");
        for (uint64_t i = 0; i < seed; i++)
            stack_step();
        stack_send_graph(&bad, "node-add name=x driver=file filename=/no/such/file");
        uint64_t begun = engine_now(stack_engine());
        shut_down(&ended, 30 * NS_PER_S);
        stack_pass(1001 * NS_PER_MS);
        assert_true(node.came && node.code == 0 && quick.came && quick.code == 0);
        assert_true(bad.came && bad.code == -ENOENT);
        assert_false(ended.came || failing.came);
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_int_equal(engine_now(stack_engine()) - begun, 2001 * NS_PER_MS); /* and no longer */
        assert_true(failing.came && failing.code == -EIO);
        stack_settle();
        assert_int_equal(stack_actors(), 2);
        const char *story = stack_story(1);
        place(story, "NODE_DELETED n");
        place(story, "NODE_DELETED q");
        assert_null(strstr(story, " x"));
        assert_null(strstr(story, " f"));
    }
}

static void a_status_that_is_being_gathered_is_answered_before_the_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer status, list, ended;
        stack_do("node-add name=n driver=null");
        stack_do("node-add name=w driver=raw child=n");
        stack_send_graph(&status, "status");
        stack_send_graph(&list, "node-list");
        shut_down(&ended, 30 * NS_PER_S);
        stack_await(&ended);
        stack_settle();
        assert_true(status.came && status.code == 0 && list.came && list.code == 0);
        const Sluice__Status *said = ((const Sluice__Reply *)status.body)->status;
        assert_int_equal(said->n_nodes, 4 - said->sequence);
    }
}

/* A frontend that never lets go, and drivers that do not return: the graph ends all the same, and
 * whoever waits for them is answered, so that control can end, too. */
static void what_does_not_close_is_left_and_whoever_waits_is_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer added, removed, ended, closed;
        stack_do("node-add name=n driver=null");
        stack_do("backend-add name=b node=n");
        stack_do("node-add name=s driver=slow closing=1000s");
        stack_call(stack_find("b"), MAIL_SESSION_OPEN, stack_session(1, 4096));
        stack_send(&added, "node-add name=x driver=slow opening=1000s");
        stack_send(&removed, "node-remove s");
        stack_settle();
        uint64_t begun = engine_now(stack_engine());
        shut_down(&ended, NS_PER_S);
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        uint64_t took = engine_now(stack_engine()) - begun;
        assert_true(took >= 3 * NS_PER_S && took < 4 * NS_PER_S);
        stack_ask(&closed, stack_world()->control, MAIL_CLOSE, NULL);
        stack_settle();
        assert_true(closed.came && closed.code == 0);
        assert_true(added.came && added.code == -ESHUTDOWN);
        assert_non_null(strstr(added.text, "the engine has ended before node 'x' could be added"));
        assert_true(removed.came && removed.code == -ESHUTDOWN);
        assert_non_null(strstr(removed.text, "ended before node 's' could be removed"));
        stack_pass(1000 * NS_PER_S); /* s has closed by now; b, n and x are the engine's to end */
        stack_leaves(3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_that_is_being_opened_can_t_be_used_yet),
        cmocka_unit_test(an_object_that_fails_to_open_is_never_seen),
        cmocka_unit_test(an_object_that_is_being_closed_is_there_until_it_is_gone),
        cmocka_unit_test(a_removal_that_the_backend_refuses_leaves_it_in_use),
        cmocka_unit_test(everything_is_closed_before_what_it_uses),
        cmocka_unit_test(once_the_end_has_begun_requests_are_refused),
        cmocka_unit_test(what_still_waits_at_the_deadline_ends_with_eshutdown),
        cmocka_unit_test(the_end_waits_for_what_is_being_opened),
        cmocka_unit_test(a_status_that_is_being_gathered_is_answered_before_the_end),
        cmocka_unit_test(what_does_not_close_is_left_and_whoever_waits_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
