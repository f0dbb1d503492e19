/* How a job begins: what it has blocked is over everywhere when it is there, whatever else happens
 * in between, in a whole stepped engine. Each seed is another order of what happens. */
#include "job_rig.h"

#include "engine/random.h"

#define KIB INT64_C(1024)

/* Backend `b` on the overlay `top`, and `far` on it through filters of another reactor, the lower
 * of which takes its time for resizes. */
static void add_stack(uint64_t seed)
{
    stack_do("node-add driver=memory name=upper size=8M reactor=0");
    stack_do("node-add driver=memory name=lower size=8M reactor=0");
    stack_do("node-add driver=overlay name=top child=upper backing=lower");
    stack_do("node-add driver=fault name=late child=top reactor=1 %s",
             seed % 2 ? "rules='truncate delay=20ms'" : "");
    stack_do("node-add driver=raw name=window child=late reactor=1");
    stack_do("backend-add name=b node=top");
    stack_do("backend-add name=far node=window");
    stack_do("io-write b offset=0 bytes=8M pattern=7");
}

static void step(uint64_t *random)
{
    for (uint64_t n = random_next(random) % 4; n; n--)
        stack_step();
}

/* --- Resizes */

#define RESIZES 60

static void whoever_knows_that_a_job_is_there_resizes_no_more_and_none_makes_it_fail(void **state)
{
    unsigned before = 0, after = 0;
    (void)state;
    FOR_EACH_SEED_ON(seed, 2)
    {
        struct stack_op resizes[RESIZES];
        struct stack_answer committed;
        uint64_t random = seed + 1;
        bool all = seed % 5 == 4;
        add_stack(seed);
        actor_addr to[] = {stack_find("b"), stack_find("far")};
        bool asked = false, there[RESIZES];
        for (unsigned i = 0; i < RESIZES; i++) {
            if (!asked && random_next(&random) % 8 == 0) {
                stack_send(&committed, all ? "commit-all" : "commit b speed=64K");
                asked = true;
            }
            there[i] = asked && committed.came;
            stack_submit(&resizes[i], to[random_next(&random) % 2], OP_TRUNCATE,
                         (int64_t)(random_next(&random) % 64 + 96) * 64 * KIB, 0, 0, NULL);
            if (random_next(&random) % 16 == 0)
                stack_pass(random_next(&random) % 5 * NS_PER_MS);
            step(&random);
        }
        if (!asked)
            stack_send(&committed, "commit b");
        if (!all) {
            stack_await(&committed);
            assert_int_equal(committed.code, 0);
            stack_do("job-set b speed=0");
        }
        for (unsigned i = 0; i < RESIZES; i++) {
            stack_await_op(&resizes[i]);
            if (!all && there[i])
                assert_int_equal(resizes[i].ret, -EBUSY);
            before += resizes[i].ret == 0;
            after += there[i];
            assert_true(resizes[i].ret == 0 || resizes[i].ret == -EBUSY);
        }
        stack_await(&committed);
        assert_int_equal(committed.code, 0);
        job_run_out();
        assert_null(job_completed()->reason);
        for (unsigned i = 0; i < 2; i++) /* again */
            assert_int_equal(stack_run(to[i], OP_TRUNCATE, MIB, 0, 0), 0);
    }
    assert_true(before > 100 && after > 100);
}

static void a_job_waits_for_the_resize_that_is_under_way(void **state)
{
    (void)state;
    FOR_EACH_SEED_ON(seed, 2)
    {
        struct stack_op shorter, grows;
        struct stack_answer committed, again;
        add_stack(1);
        bool writes = seed % 4 == 3;
        actor_addr far = stack_find("far");
        if (writes)
            stack_do("node-set late rules='write delay=20ms'");
        stack_submit(&shorter, far, writes ? OP_WRITE : OP_TRUNCATE, writes ? 8 * MIB - 512 : MIB,
                     writes ? 1024 : 0, writes ? OP_BEYOND_END : 0, NULL);
        stack_settle();
        stack_send(&committed, "commit b");
        stack_settle();
        assert_false(committed.came || shorter.came);
        /* It is there for others, and blocks what it stands on. */
        stack_refused(-EBUSY, "job 'b' works on it", "commit far id=c");
        stack_refused(-EBUSY, "job 'b' is being opened", "job-cancel b");
        stack_refused(-EBUSY, "job 'b' works on it", "io-truncate far size=9M");
        stack_submit(&grows, far, OP_TRUNCATE, 9 * MIB, 0, 0, NULL);
        stack_await_op(&grows);
        assert_int_equal(grows.ret, -EBUSY);
        stack_send(&again, "op-block node=top op=resize reason=mine"); /* tells nobody news */
        stack_settle();
        assert_false(again.came);
        stack_await_op(&shorter);
        assert_int_equal(shorter.ret, 0);
        stack_await(&again);
        stack_await(&committed);
        assert_int_equal(again.code, 0);
        assert_int_equal(committed.code, 0);
        job_run_out();
        assert_null(job_completed()->reason);
        assert_int_equal(stack_do("node-show top")->node->length, writes ? 8 * MIB + 512 : MIB);
    }
}

/* What has failed, and is held, is under way no more; tried again, it is refused. */
static void a_job_does_not_wait_for_a_resize_that_is_held(void **state)
{
    (void)state;
    FOR_EACH_SEED_ON(seed, 2)
    {
        struct stack_op held;
        add_stack(0);
        stack_do("node-set late rules='truncate errno=EIO once'");
        stack_do("backend-set far werror=stop");
        stack_submit(&held, stack_find("far"), OP_TRUNCATE, MIB, 0, 0, NULL);
        stack_settle();
        assert_false(held.came);
        stack_do("commit b speed=64K");
        stack_do("backend-resume far");
        stack_await_op(&held);
        assert_int_equal(held.ret, -EBUSY);
        stack_do("job-set b speed=0");
        job_run_out();
        assert_null(job_completed()->reason);
    }
}

/* --- What else happens in between */

static void what_could_not_begin_blocks_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED_ON(seed, 2)
    {
        struct stack_answer claimed;
        add_stack(seed);
        stack_do("backend-add name=below node=lower");
        stack_claim(&claimed, "below", PERM_CONSISTENT_READ, PERM_CONSISTENT_READ);
        stack_await(&claimed);
        assert_int_equal(claimed.code, 0);
        stack_refused(-EPERM, "needs 'write' on node 'lower'", "commit b");
        if (seed % 2)
            stack_refused(-EPERM, "needs 'write' on node 'lower'", "commit-all");
        assert_false(job_is_there());
        assert_int_equal(stack_do("node-show top")->node->n_blocked, 0);
        stack_settle();
        assert_int_equal(stack_run(stack_find("far"), OP_TRUNCATE, MIB, 0, 0), 0);
        stack_claim_end(((const Sluice__Claimed *)claimed.body)->claim);
        stack_settle();
        stack_do("commit b");
        job_run_out();
        assert_null(job_completed()->reason);
    }
}

#define ACTS 40

static const char *const all_acts[] = {
    "commit b",
    "commit far id=b",
    "commit far id=c",
    "commit-all",
    "job-cancel b",
    "job-cancel c force=on",
    "job-pause b",
    "job-resume b",
    "backend-remove far",
    "backend-remove b",
    "backend-add name=far node=window",
    "backend-add name=b node=top",
    "backend-add name=third node=late",
    "backend-remove third",
    "backend-move far reactor=0",
    "backend-move far reactor=1",
    "medium-remove far",
    "medium-insert far window",
    "node-remove window",
    "node-remove late",
    "node-remove top",
    "node-remove lower",
    "node-add driver=raw name=window child=late reactor=1",
    "op-block node=top op=resize reason=r",
    "op-unblock node=top op=resize reason=r",
    "inactivate",
    "activate",
    "io-truncate far size=9M",
    "io-truncate b size=7M",
};
#define KINDS (sizeof all_acts / sizeof *all_acts)

/* Among all that may happen before it begins, the end too: all is answered, once, and the engine
 * ends. */
static void whatever_happens_before_it_begins_is_answered_and_ends(void **state)
{
    unsigned begun = 0;
    (void)state;
    FOR_EACH_SEED_ON(seed, 2)
    {
        struct stack_answer answers[ACTS], ended;
        struct stack_op resizes[ACTS];
        uint64_t random = seed + 1;
        unsigned n = 0, ends = seed % 3 ? ACTS : (unsigned)random_next(&random) % ACTS;
        add_stack(seed);
        actor_addr far = stack_find("far");
        stack_release("far");
        for (; n < ACTS && n < ends; n++) {
            stack_send_graph(&answers[n], "%s",
                             all_acts[random_next(&random) % (n % 3 ? KINDS : 4)]);
            stack_submit(&resizes[n], far, OP_TRUNCATE,
                         (int64_t)(random_next(&random) % 128 + 1) * 64 * KIB, 0, 0, NULL);
            step(&random);
        }
        Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
        shutdown->deadline = 30 * NS_PER_S;
        if (ends == ACTS)
            for (unsigned i = 0; i < n; i++)
                stack_await(&answers[i]);
        uint64_t begins = engine_now(stack_engine());
        stack_ask(&ended, stack_world()->graph, MAIL_SHUTDOWN, shutdown);
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_true(engine_now(stack_engine()) - begins < NS_PER_S); /* nothing has waited */
        for (unsigned i = 0; i < n; i++) {
            stack_await(&answers[i]);
            stack_await_op(&resizes[i]);
        }
        const Sluice__EventList *list = stack_do("events-since")->events;
        for (size_t i = 0; i < list->n_events; i++)
            begun += list->events[i]->body_case == SLUICE__EVENT__BODY_JOB_ADDED;
    }
    assert_true(begun > stack_last_seed() - stack_first_seed());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_knows_that_a_job_is_there_resizes_no_more_and_none_makes_it_fail),
        cmocka_unit_test(a_job_waits_for_the_resize_that_is_under_way),
        cmocka_unit_test(a_job_does_not_wait_for_a_resize_that_is_held),
        cmocka_unit_test(what_could_not_begin_blocks_nothing),
        cmocka_unit_test(whatever_happens_before_it_begins_is_answered_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
