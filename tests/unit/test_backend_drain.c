/* Drains of one backend: what they wait for, and what waits for them. In a whole stepped engine:
 * each seed is another order of what happens. */
#include "probe_rig.h"

extern const struct driver driver_null, driver_memory, driver_raw;

RIG_DRIVERS(&driver_null, &driver_memory, &driver_raw, &driver_probe)

/* --- A frontend that is an actor: each end of a request of it submits the next one */

static struct {
    actor_addr backend, port;
    unsigned left, ended;
} front;

static void front_ended(struct op *op, void *who);

static void front_submit(struct actor *self)
{
    struct op *op = op_new(actor_peer(self));
    front.left--;
    op->kind = OP_FLUSH;
    op->flags = 0;
    op->offset = 0;
    op->bytes = 0;
    op->niov = 0;
    op->iov = NULL;
    op_push(op, front_ended, self);
    op_send(op, front.backend);
}

/* Tells the port, as news of a watcher. */
static void front_ended(struct op *op, void *who)
{
    assert_int_equal(op->ret, 0);
    front.ended++;
    op_free(op);
    if (front.left)
        front_submit(who);
    Sluice__BackendChanged *told = MAIL_NEW(sluice__backend_changed);
    told->facts = MAIL_NEW(sluice__node_facts);
    told->facts->alignment = 1;
    actor_tell(who, front.port, MAIL_BACKEND_CHANGED, told);
}

static void front_go(struct actor *self, struct mail *mail)
{
    front.port = mail->from;
    front_submit(self);
}

static const struct actor_type front_type = {
    .name = "front",
    .handlers = {[MAIL_DESCRIBE] = front_go},
};

static void front_start(const char *backend, unsigned reactor, unsigned requests)
{
    static struct stack_answer answer; /* there will be none */
    front.backend = stack_find(backend);
    front.left = requests;
    front.ended = 0;
    stack_ask(&answer, engine_spawn(stack_engine(), &front_type, "front", reactor), MAIL_DESCRIBE,
              NULL);
    stack_settle();
}

/* --- What is drained */

static void begin(struct stack_answer *answer, actor_addr backend)
{
    stack_ask(answer, backend, MAIL_DRAIN_BEGIN, NULL);
}

static void end(actor_addr backend)
{
    stack_call(backend, MAIL_DRAIN_END, NULL);
}

static void a_drain_begins_when_nothing_is_in_flight(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[6];
        struct stack_answer idle, drained;
        stack_do("node-add name=n driver=null latency=1s");
        stack_do("node-add name=w driver=raw child=n reactor=%u",
                 (unsigned)(seed / 3) % STACK_THREADS(seed));
        stack_do("backend-add name=b node=w");
        actor_addr b = stack_find("b");
        begin(&idle, b);
        stack_settle();
        assert_true(idle.came); /* nothing was */
        end(b);
        for (unsigned i = 0; i < 6; i++) {
            stack_submit(&ops[i], b, OP_WRITE, 0, 4096, 0, NULL);
            if (i % 2)
                stack_pass(NS_PER_S / 10);
        }
        begin(&drained, b);
        stack_pass(NS_PER_S / 2);
        assert_false(ops[0].came || drained.came);
        stack_await(&drained);
        for (unsigned i = 0; i < 6; i++)
            assert_true(ops[i].came && ops[i].ret == 0 && ops[i].at < drained.at);
        assert_int_equal(shown()->in_flight, 0);
        end(b);
    }
}

/* Of a frontend on the backend's own reactor, whose word comes the way the answer does. */
static void a_request_is_in_flight_until_its_callback_has_returned(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer drained;
        stack_do("node-add name=n driver=null latency=1s reactor=0");
        stack_do("backend-add name=b node=n");
        front_start("b", 0, 1);
        begin(&drained, front.backend);
        stack_await(&drained);
        stack_settle();
        assert_int_equal(front.ended, 1);
        assert_int_equal(stack_news()->count, 1);
        assert_true(stack_news()->at < drained.at);
        end(front.backend);
        stack_leaves(1); /* the frontend */
    }
}

/* Two frontends are asked for a pause's sake; one has long answered, and has callbacks due again,
 * when the other one does. */
static void a_medium_goes_after_callbacks_that_are_due_since_an_older_question(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        _Atomic uint32_t due[2] = {1, 1};
        struct stack_answer paused, removed;
        actor_addr b = stack_backend("n", "driver=memory size=1M", "");
        uint64_t quick = stack_callback_session(b, &due[0]);
        uint64_t slow = stack_callback_session(b, &due[1]);
        stack_media()->hold = true;
        stack_send(&paused, "backend-pause b");
        stack_settle();
        assert_true(stack_is_asked(quick) && stack_is_asked(slow) && !paused.came);
        due[0] = 0;
        stack_answer_session(quick);
        stack_do("backend-resume b");
        stack_await(&paused);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        due[0] = 1;
        stack_send(&removed, "medium-remove b");
        stack_settle();
        due[1] = 0;
        stack_answer_session(slow);
        stack_settle();
        assert_true(stack_is_asked(quick) && !stack_is_asked(slow) && !removed.came);
        due[0] = 0;
        stack_answer_session(quick);
        stack_await(&removed);
        assert_int_equal(removed.code, 0);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(quick));
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(slow));
    }
}

static void requests_wait_for_the_end_of_a_drain_and_run_in_order(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static struct stack_op ops[60];
        struct stack_answer drained;
        actor_addr b = stack_backend("n", "driver=probe", "");
        stack_ask(&drained, b, MAIL_DRAIN_BEGIN, NULL);
        stack_await(&drained);
        probe.n = 0;
        for (unsigned i = 0; i < 40; i++)
            stack_submit(&ops[i], b, OP_WRITE, i, 100, 0, NULL);
        stack_submit(&ops[40], b, OP_WRITE, MIB, 100, 0, NULL); /* refused when its turn comes */
        stack_settle();
        assert_int_equal(probe.n, 0);
        const Sluice__BackendInfo *info = shown();
        assert_int_equal(info->queued, 41);
        assert_int_equal(info->queued_bytes, 4100);
        assert_int_equal(info->in_flight, 0);
        stack_ask(&drained, b, MAIL_DRAIN_END, NULL);
        for (unsigned i = 41; i < 60; i++) {
            stack_submit(&ops[i], b, OP_WRITE, i - 1, 100, 0, NULL);
            stack_step();
        }
        stack_await(&drained);
        stack_settle();
        assert_int_equal(probe.n, 59);
        for (unsigned i = 0; i < 59; i++)
            assert_int_equal(probe.op[i].offset, i);
        for (unsigned i = 0; i < 60; i++)
            assert_true(ops[i].came && ops[i].ret == (i == 40 ? -EIO : 0));
        info = shown();
        assert_int_equal(info->queued + info->queued_bytes, 0);
    }
}

static void what_a_callback_asks_for_comes_behind_what_a_drain_has_held(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[5];
        struct stack_answer drained;
        actor_addr b = stack_backend("n", "driver=probe reactor=0", "");
        begin(&drained, b);
        stack_await(&drained);
        front_start("b", (unsigned)(seed / 3) % STACK_THREADS(seed), 4);
        for (unsigned i = 0; i < 5; i++)
            stack_submit(&ops[i], b, OP_WRITE, i, 100, 0, NULL);
        stack_settle();
        probe.n = 0;
        end(b);
        stack_settle();
        assert_int_equal(front.ended, 4);
        assert_int_equal(probe.n, 9);
        for (unsigned i = 0; i < 9; i++)
            assert_int_equal(probe.op[i].kind, i < 1 || i > 5 ? OP_FLUSH : OP_WRITE);
        stack_leaves(1);
    }
}

static void drains_nest(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer first, second;
        actor_addr b = stack_backend("n", "driver=null latency=1s", "");
        stack_submit(&op, b, OP_FLUSH, 0, 0, 0, NULL);
        stack_settle();
        begin(&first, b);
        begin(&second, b);
        stack_await(&first);
        stack_await(&second);
        assert_true(op.came);
        stack_submit(&op, b, OP_FLUSH, 0, 0, 0, NULL);
        end(b);
        stack_pass(2 * NS_PER_S);
        assert_false(op.came);
        end(b);
        stack_pass(NS_PER_S);
        assert_true(op.came && op.ret == 0);
    }
}

static void a_second_drain_waits_for_what_the_first_had_held(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[3];
        struct stack_answer first, ended, second;
        actor_addr b = stack_backend("n", "driver=null latency=1s", "");
        begin(&first, b);
        stack_await(&first);
        for (unsigned i = 0; i < 3; i++)
            stack_submit(&ops[i], b, OP_READ, 0, 4096, 0, NULL);
        stack_settle();
        stack_ask(&ended, b, MAIL_DRAIN_END, NULL);
        begin(&second, b);
        stack_settle();
        assert_true(ended.came && !second.came);
        stack_await(&second);
        for (unsigned i = 0; i < 3; i++)
            assert_true(ops[i].came && ops[i].ret == 0 && ops[i].at < second.at);
        end(b);
    }
}

static void a_callback_that_asks_for_more_does_not_hold_up_a_drain(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer drained;
        stack_do("node-add name=n driver=null latency=1ms reactor=0");
        stack_do("backend-add name=b node=n");
        front_start("b", (unsigned)(seed / 3) % STACK_THREADS(seed), 1000);
        stack_pass(10 * NS_PER_MS);
        begin(&drained, front.backend);
        stack_await(&drained);
        stack_settle();
        unsigned ended = front.ended;
        assert_true(ended > 5 && ended < 20);
        stack_pass(NS_PER_S);
        assert_int_equal(front.ended, ended);
        assert_int_equal(shown()->queued, 1);
        end(front.backend);
        stack_pass(2 * NS_PER_S);
        assert_int_equal(front.ended, 1000);
        stack_leaves(1);
    }
}

static void a_close_during_a_drain_ends_what_waits(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op running, waiting[3], late;
        struct stack_answer drained, removed;
        actor_addr b = stack_backend("n", "driver=null latency=1s", "");
        stack_submit(&running, b, OP_FLUSH, 0, 0, 0, NULL);
        stack_settle();
        begin(&drained, b);
        stack_settle();
        for (unsigned i = 0; i < 3; i++)
            stack_submit(&waiting[i], b, OP_READ, 0, 4096, 0, NULL);
        stack_settle();
        stack_release("b");
        stack_send(&removed, "backend-remove b");
        stack_settle();
        for (unsigned i = 0; i < 3; i++)
            assert_true(waiting[i].came && waiting[i].ret == -ESHUTDOWN);
        assert_false(running.came || removed.came || drained.came);
        stack_submit(&late, b, OP_READ, 0, 4096, 0, NULL);
        stack_settle();
        assert_true(late.came && late.ret == -ESHUTDOWN);
        stack_await(&removed);
        assert_int_equal(removed.code, 0);
        stack_settle();
        assert_true(running.came && running.ret == 0);
        assert_true(drained.came && drained.code == 0);
        assert_int_equal(stack_run(b, OP_READ, 0, 4096, 0), -ENXIO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_drain_begins_when_nothing_is_in_flight),
        cmocka_unit_test(a_request_is_in_flight_until_its_callback_has_returned),
        cmocka_unit_test(a_medium_goes_after_callbacks_that_are_due_since_an_older_question),
        cmocka_unit_test(requests_wait_for_the_end_of_a_drain_and_run_in_order),
        cmocka_unit_test(what_a_callback_asks_for_comes_behind_what_a_drain_has_held),
        cmocka_unit_test(drains_nest),
        cmocka_unit_test(a_second_drain_waits_for_what_the_first_had_held),
        cmocka_unit_test(a_callback_that_asks_for_more_does_not_hold_up_a_drain),
        cmocka_unit_test(a_close_during_a_drain_ends_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
