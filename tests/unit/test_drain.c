/* Drained regions of the graph, in a whole stepped engine: each seed is another order of what
 * happens. */
#include "drained_rig.h"

#include "engine/peer.h"

static void begin(struct stack_answer *answer, actor_addr backend, const char *node)
{
    drained_ask(answer, 0, backend, node);
}

static uint64_t drain(actor_addr backend, const char *node)
{
    return drained_begin(0, backend, node);
}

static void submit(struct stack_op *op, actor_addr backend)
{
    stack_submit(op, backend, OP_FLUSH, 0, 0, 0, NULL);
}

/* --- Who is quiet */

static void draining_a_backend_quiesces_its_siblings_on_the_same_node(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=n hold=on");
        stack_do("node-add driver=mock name=other");
        stack_do("backend-add name=a node=n");
        stack_do("backend-add name=b node=n");
        stack_do("backend-add name=c node=other");
        actor_addr a = stack_find("a"), b = stack_find("b"), c = stack_find("c");
        struct stack_op before, after, elsewhere;
        struct stack_answer drained;
        submit(&before, b);
        stack_settle();
        begin(&drained, a, NULL);
        stack_settle();
        submit(&after, b);
        submit(&elsewhere, c);
        stack_settle();
        assert_false(before.came || drained.came || after.came);
        assert_true(elsewhere.came); /* it has nothing to do with them */
        stack_do("node-set n hold=off");
        stack_await(&drained);
        assert_true(before.came && before.at < drained.at && before.ret == 0);
        stack_settle();
        assert_false(after.came);
        assert_int_equal(shown()->queued, 1);
        drained_end(drained_region(&drained));
        stack_await_op(&after);
        assert_int_equal(after.ret, 0);
    }
}

static void draining_a_node_reaches_all_who_stand_on_it_through_others(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("node-add driver=raw name=one child=n");
        stack_do("node-add driver=raw name=two child=n");
        stack_do("node-add driver=raw name=top child=two");
        static const char *const nodes[] = {"n", "one", "two", "top"};
        actor_addr backends[4];
        struct stack_op ops[4];
        for (unsigned i = 0; i < 4; i++) {
            stack_do("backend-add name=b%u node=%s", i, nodes[i]);
            char name[8];
            snprintf(name, sizeof name, "b%u", i);
            backends[i] = stack_find(name);
        }
        uint64_t region = drain(0, "two");
        for (unsigned i = 0; i < 4; i++)
            submit(&ops[i], backends[i]);
        stack_settle();
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(ops[i].came, i < 2); /* not those beside or below it */
        uint64_t all = drain(0, "n");
        for (unsigned i = 0; i < 2; i++)
            submit(&ops[i], backends[i]);
        drained_end(region);
        stack_settle();
        for (unsigned i = 0; i < 4; i++)
            assert_false(ops[i].came);
        drained_end(all);
        for (unsigned i = 0; i < 4; i++)
            stack_await_op(&ops[i]);
    }
}

static void a_region_over_everything_covers_what_is_added_inside_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op before, added, empty;
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=a node=n");
        uint64_t region = drain(0, NULL);
        stack_do("node-add driver=null name=m");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=c");
        submit(&before, stack_find("a"));
        submit(&added, stack_find("b"));
        submit(&empty, stack_find("c"));
        stack_settle();
        assert_false(before.came || added.came || empty.came);
        drained_end(region);
        stack_await_op(&before);
        stack_await_op(&added);
        stack_await_op(&empty);
        assert_int_equal(added.ret, 0);
        assert_int_equal(empty.ret, -ENOMEDIUM);
    }
}

/* The node is reached in two ways: as the backing of both overlays. */
static void what_is_reached_in_two_ways_is_drained_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        stack_do("node-add driver=memory name=n size=1M");
        stack_do("node-add driver=memory name=one size=1M");
        stack_do("node-add driver=memory name=two size=1M");
        stack_do("node-add driver=overlay name=middle child=one backing=n");
        stack_do("node-add driver=overlay name=top child=middle backing=n");
        stack_do("node-add driver=memory name=three size=1M");
        stack_do("backend-add name=b node=top");
        actor_addr b = stack_find("b");
        uint64_t region = drain(0, "n");
        stack_submit(&op, b, OP_READ, 0, 512, 0, NULL);
        stack_settle();
        assert_false(op.came);
        drained_end(region); /* once is enough */
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
    }
}

/* --- Who is in the way of quiet */

static struct {
    actor_addr backend, port;
} guest;

static void own_ended(struct op *op, void *who)
{
    (void)who;
    assert_int_equal(op->ret, 0);
    op_free(op);
}

static struct op *guest_send(struct actor *self, unsigned flags, op_done_fn *done)
{
    struct op *op = op_new(actor_peer(self));
    op->kind = OP_FLUSH;
    op->flags = (uint16_t)flags;
    op->offset = 0;
    op->bytes = 0;
    op_push(op, done, self);
    op_send(op, guest.backend);
    return op;
}

/* Issues another in its own region, which ends meanwhile, and then says that it returns. */
static void first_ended(struct op *op, void *who)
{
    own_ended(op, who);
    guest_send(who, OP_DRAINING, own_ended);
    Sluice__BackendChanged *told = MAIL_NEW(sluice__backend_changed);
    told->facts = MAIL_NEW(sluice__node_facts);
    actor_tell(who, guest.port, MAIL_BACKEND_CHANGED, told);
}

/* Its requests are let through by the region that it answers with. */
static void guest_go(struct actor *self, struct mail *mail)
{
    guest.port = mail->from;
    guest_send(self, 0, first_ended);
    Sluice__DrainWhose *whose = MAIL_NEW(sluice__drain_whose);
    whose->has_peer = true;
    whose->peer = actor_peer(self)->id;
    actor_reply(self, mail_ticket(mail), MAIL_DRAIN_BEGIN, whose);
}

static const struct actor_type guest_type = {
    .name = "guest",
    .handlers = {[MAIL_DESCRIBE] = guest_go},
};

static void a_callback_that_issues_more_in_its_own_region_has_not_returned_by_that(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer drained;
        stack_do("node-add name=n driver=mock hold=on reactor=0");
        stack_do("backend-add name=b node=n");
        guest.backend = stack_find("b");
        actor_addr self = engine_spawn(stack_engine(), &guest_type, "guest", 0);
        const Sluice__DrainWhose *whose = stack_call(self, MAIL_DESCRIBE, NULL);
        stack_ask(&drained, guest.backend, MAIL_DRAIN_BEGIN, mail_copy(whose));
        stack_settle();
        assert_false(drained.came);
        unsigned before = stack_news()->count;
        stack_do("node-set n hold=off");
        stack_await(&drained);
        assert_int_equal(drained.code, 0);
        stack_settle();
        assert_int_equal(stack_news()->count, before + 1);
        assert_true(stack_news()->at < drained.at);
        stack_call(guest.backend, MAIL_DRAIN_END, mail_copy(whose));
        stack_leaves(1); /* the guest */
    }
}

/* --- Changes inside */

static void a_backend_that_attaches_inside_inherits_and_one_that_detaches_gives_back(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op, left;
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=a node=n");
        stack_do("backend-add name=b");
        actor_addr a = stack_find("a"), b = stack_find("b");
        uint64_t one = drain(0, "n"), two = drain(a, NULL);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), -ENOMEDIUM);
        stack_do("medium-insert backend=b node=n");
        submit(&op, b);
        stack_settle();
        assert_false(op.came);
        drained_end(one);
        stack_settle();
        assert_false(op.came); /* it had both */
        stack_do("medium-remove b");
        stack_await_op(&op);
        assert_int_equal(op.ret, -ENOMEDIUM);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), -ENOMEDIUM);
        submit(&left, a);
        stack_settle();
        assert_false(left.came);
        drained_end(two);
        stack_await_op(&left);
        stack_do("medium-insert backend=b node=n");
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), 0);
    }
}

static void what_is_drained_can_be_removed_and_the_region_still_ends(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer drained, removed;
        stack_do("node-add driver=mock name=n hold=on");
        stack_do("backend-add name=a node=n");
        stack_do("backend-add name=b node=n");
        actor_addr a = stack_find("a");
        submit(&op, a);
        stack_settle();
        begin(&drained, a, NULL);
        stack_release("a");
        stack_send(&removed, "backend-remove a");
        stack_settle();
        assert_false(drained.came);
        stack_do("node-set n hold=off");
        stack_await(&drained);
        stack_await(&removed);
        assert_int_equal(removed.code, 0);
        stack_do("backend-remove b");
        stack_do("node-remove n");
        drained_end(drained_region(&drained));
        drained_end(12345); /* of no region, which is fine */
    }
}

static void a_drain_of_what_is_not_there_is_refused(void **state)
{
    (void)state;
    stack_start(1, 1);
    struct stack_answer answer;
    begin(&answer, 0, "x");
    stack_await(&answer);
    assert_int_equal(answer.code, -ENOENT);
    assert_string_equal(answer.text, "there is no node 'x'; node-list tells which there are");
    begin(&answer, 0xdead, NULL);
    stack_await(&answer);
    assert_int_equal(answer.code, -ENXIO);
    stack_stop();
}

/* --- Whose requests go on */

static void read_as(struct stack_op *op, actor_addr backend, unsigned flags)
{
    stack_submit(op, backend, OP_READ, 0, 512, flags, NULL);
}

static void the_holder_of_a_region_still_issues_its_own(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op own, others;
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=a node=n");
        actor_addr a = stack_find("a");
        uint64_t region = drained_begin(1, a, NULL);
        submit(&others, a);
        read_as(&own, a, STACK_HOLDER(1));
        stack_await_op(&own);
        assert_int_equal(own.ret, 0);
        assert_false(others.came);
        /* A pause holds it up all the same, and no longer. */
        stack_do("backend-pause a");
        read_as(&own, a, STACK_HOLDER(1));
        stack_settle();
        assert_false(own.came);
        stack_do("backend-resume a");
        stack_await_op(&own);
        assert_false(others.came);
        drained_end(region);
        stack_await_op(&others);
    }
}

static void where_two_hold_regions_neither_goes_on_until_one_has_ended(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        const unsigned flags[] = {STACK_HOLDER(1), STACK_HOLDER(2)};
        struct stack_op own[2], others;
        stack_do("node-add driver=mock name=n hold=on");
        stack_do("backend-add name=a node=n");
        stack_do("backend-add name=b node=n");
        actor_addr a = stack_find("a"), b = stack_find("b");
        uint64_t first = drained_begin(1, a, NULL);
        struct stack_answer second;
        read_as(&own[0], a, flags[0]);
        stack_settle();
        drained_ask(&second, 2, b, NULL);
        stack_settle();
        assert_false(second.came); /* what is in flight in the first one counts */
        stack_do("node-set n hold=off");
        stack_await(&second);
        assert_true(own[0].came);
        read_as(&own[0], a, flags[0]);
        read_as(&own[1], b, flags[1]);
        submit(&others, a);
        stack_settle();
        assert_false(own[0].came || own[1].came || others.came);
        unsigned one = seed & 1;
        uint64_t regions[] = {first, drained_region(&second)};
        drained_end(regions[one]);
        /* The other one's go on in his region; the first one's wait for its end now. */
        stack_await_op(&own[!one]);
        stack_settle();
        assert_false(others.came);
        assert_false(own[one].came);
        drained_end(regions[!one]);
        stack_await_op(&others);
        stack_await_op(&own[one]);
    }
}

static void regions_of_nodes_and_of_everything_let_through_what_their_thread_asks(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op own, both, others[2];
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=a node=n");
        actor_addr a = stack_find("a");
        uint64_t region = drain(0, seed & 1 ? "n" : NULL);
        submit(&others[0], a);
        read_as(&others[1], a, STACK_HOLDER(1)); /* of a backend that is gone by now, say */
        read_as(&own, a, OP_DRAINING);
        stack_await_op(&own);
        uint64_t inner = drained_begin(1, a, NULL);
        read_as(&own, a, OP_DRAINING);
        read_as(&both, a, STACK_HOLDER(1) | OP_DRAINING);
        stack_await_op(&both);
        stack_settle();
        assert_false(own.came || others[0].came || others[1].came);
        drained_end(inner);
        stack_await_op(&own);
        stack_settle();
        assert_false(others[0].came || others[1].came);
        drained_end(region);
        stack_await_op(&others[0]);
        stack_await_op(&others[1]);
    }
}

/* However much the holder asks: a backend is quiet when it goes, and when its medium does. */
static void what_needs_a_backend_to_be_quiet_is_not_refused_for_a_holder_s_sake(void **state)
{
    (void)state;
    FOR_EACH_SEED_ON(seed, 3)
    {
        static const char *const what[] = {"backend-move name=a reactor=2", "medium-change a m",
                                           "backend-move name=a reactor=1", "medium-remove a"};
        enum { OPS = 40 };
        struct stack_op ops[OPS];
        struct stack_answer answers[4];
        stack_do("node-add driver=memory name=n size=1M reactor=0");
        stack_do("node-add driver=memory name=m size=1M reactor=0");
        stack_do("backend-add name=a node=n");
        actor_addr a = stack_find("a");
        uint64_t region = drained_begin(1, a, NULL);
        for (unsigned i = 0; i < OPS; i++) {
            read_as(&ops[i], a, STACK_HOLDER(1));
            if (i % 10 == 5)
                stack_send(&answers[i / 10], "%s", what[i / 10]);
            for (uint64_t steps = (seed >> i % 5 & 3) + (i % 10 == 9 ? 60 : 0); steps; steps--)
                stack_step();
        }
        for (unsigned i = 0; i < OPS; i++) {
            stack_await_op(&ops[i]);
            assert_true(ops[i].ret == 0 || ops[i].ret == -ENOMEDIUM);
        }
        for (unsigned i = 0; i < 4; i++) {
            stack_await(&answers[i]);
            if (answers[i].code)
                fail_msg("%s", answers[i].text);
        }
        drained_end(region);
    }
}

static void a_shutdown_ends_drains_that_wait(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer drained;
        stack_do("node-add driver=mock name=n hold=on");
        stack_do("backend-add name=a node=n");
        submit(&op, stack_find("a"));
        stack_settle();
        begin(&drained, 0, "n");
        stack_settle();
        stack_stop();
        assert_true(op.came && drained.came);
        stack_start(1, seed);
    }
}

/* Drains, media and removals at random: nothing is lost, and all goes on in the end. */
static void drains_and_changes_in_any_order_lose_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        enum { OPS = 40 };
        struct stack_op ops[OPS];
        struct stack_answer drains[8], changes[16];
        uint64_t random = seed * 977 + 1;
        unsigned ndrains = 0, nchanges = 0, nops = 0;
        stack_do("node-add driver=null name=n latency=10us");
        stack_do("node-add driver=raw name=f child=n");
        stack_do("backend-add name=b0 node=n");
        stack_do("backend-add name=b1 node=f");
        stack_do("backend-add name=b2");
        actor_addr backends[] = {stack_find("b0"), stack_find("b1"), stack_find("b2")};
        while (nops < OPS) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            switch (random >> 60) {
            case 0:
            case 1:
                if (ndrains < 8)
                    begin(&drains[ndrains++], random >> 40 & 1 ? backends[random >> 41 & 1] : 0,
                          random >> 40 & 1 ? NULL : "n");
                break;
            case 2:
                if (nchanges < 16)
                    stack_send(&changes[nchanges++], "medium-insert backend=b2 node=f");
                break;
            case 3:
                if (nchanges < 16)
                    stack_send(&changes[nchanges++], "medium-remove b2");
                break;
            default:
                submit(&ops[nops++], backends[random % 3]);
            }
            for (unsigned steps = random >> 33 & 7; steps; steps--)
                stack_step();
        }
        for (unsigned i = 0; i < ndrains; i++) {
            stack_await(&drains[i]);
            assert_int_equal(drains[i].code, 0);
            drained_end(drained_region(&drains[i]));
        }
        for (unsigned i = 0; i < OPS; i++) {
            stack_await_op(&ops[i]);
            assert_true(ops[i].ret == 0 || ops[i].ret == -ENOMEDIUM);
        }
        for (unsigned i = 0; i < nchanges; i++)
            stack_await(&changes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draining_a_backend_quiesces_its_siblings_on_the_same_node),
        cmocka_unit_test(draining_a_node_reaches_all_who_stand_on_it_through_others),
        cmocka_unit_test(what_is_reached_in_two_ways_is_drained_once),
        cmocka_unit_test(a_region_over_everything_covers_what_is_added_inside_it),
        cmocka_unit_test(a_callback_that_issues_more_in_its_own_region_has_not_returned_by_that),
        cmocka_unit_test(a_backend_that_attaches_inside_inherits_and_one_that_detaches_gives_back),
        cmocka_unit_test(what_is_drained_can_be_removed_and_the_region_still_ends),
        cmocka_unit_test(a_drain_of_what_is_not_there_is_refused),
        cmocka_unit_test(the_holder_of_a_region_still_issues_its_own),
        cmocka_unit_test(where_two_hold_regions_neither_goes_on_until_one_has_ended),
        cmocka_unit_test(regions_of_nodes_and_of_everything_let_through_what_their_thread_asks),
        cmocka_unit_test(what_needs_a_backend_to_be_quiet_is_not_refused_for_a_holder_s_sake),
        cmocka_unit_test(a_shutdown_ends_drains_that_wait),
        cmocka_unit_test(drains_and_changes_in_any_order_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
