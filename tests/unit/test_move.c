/* Backends that move between reactors, in a whole stepped engine: each seed is another order of
 * what happens. */
#include "drained_rig.h"

#define THREADS 3

#undef FOR_EACH_SEED
#define FOR_EACH_SEED(seed) FOR_EACH_SEED_ON(seed, THREADS)

static unsigned at(const char *backend)
{
    return stack_do("backend-show %s", backend)->backend->reactor;
}

static unsigned node_at(const char *node)
{
    return stack_do("node-show %s", node)->node->reactor;
}

/* --- With what it stands on */

static void a_backend_moves_with_all_nodes_below_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory name=n size=1M reactor=0");
        actor_addr b = stack_backend("f", "driver=raw child=n", "");
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        for (unsigned i = 0; i < 4; i++) {
            unsigned to = (unsigned)(seed + i) % THREADS;
            stack_do("backend-move name=b reactor=%u", to);
            assert_int_equal(at("b"), to);
            assert_int_equal(node_at("f"), to);
            assert_int_equal(node_at("n"), to);
            assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
            assert_int_equal(stack_news()->moves, i + 1); /* its users are told, before and after */
        }
    }
}

static void who_stands_on_the_same_nodes_follows_exports_too(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n reactor=0");
        stack_do("node-add driver=raw name=f child=n");
        stack_do("backend-add name=a node=n");
        stack_do("backend-add name=b node=f");
        stack_do("export-add type=nbd backend=b port=0");
        stack_do("backend-add name=other");
        unsigned elsewhere = at("other");
        stack_do("backend-move name=a reactor=2");
        assert_int_equal(at("b"), 2);
        assert_int_equal(node_at("f"), 2);
        assert_int_equal(at("other"), elsewhere);
        assert_non_null(strstr(stack_story(1), "BACKEND_MOVED"));
    }
}

/* --- Requests */

/* The offsets that the mock was sent, as it tells. */
static unsigned sent(int64_t *offsets, unsigned most)
{
    const Sluice__NodeInfo *info = stack_do("node-show m")->node;
    unsigned n = 0;
    for (size_t i = 0; i < info->n_state && n < most; i++)
        if (sscanf(info->state[i]->value, "write %ld+", &offsets[n]) == 1)
            n++;
    return n;
}

static void under_load_nothing_is_lost_reordered_or_seen_twice(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        enum { OPS = 60 };
        struct stack_op ops[OPS];
        struct stack_answer moves[8];
        int64_t offsets[OPS + 1];
        uint64_t random = seed * 31 + 7;
        unsigned nmoves = 0;
        actor_addr b = stack_backend("m", "driver=mock size=1M", "");
        for (unsigned i = 0; i < OPS; i++) {
            stack_submit(&ops[i], b, OP_WRITE, (int64_t)i * 512, 512, 0, NULL);
            random = random * 6364136223846793005U + 1442695040888963407U;
            if (random >> 60 < 2 && nmoves < 8)
                stack_send(&moves[nmoves++], "backend-move name=b reactor=%u",
                           (unsigned)(random >> 40) % THREADS);
            for (unsigned steps = random >> 33 & 7; steps; steps--)
                stack_step();
        }
        for (unsigned i = 0; i < OPS; i++) {
            stack_await_op(&ops[i]);
            assert_int_equal(ops[i].ret, 0);
        }
        for (unsigned i = 0; i < nmoves; i++) {
            stack_await(&moves[i]);
            assert_int_equal(moves[i].code, 0);
        }
        assert_int_equal(sent(offsets, OPS + 1), OPS);
        for (unsigned i = 0; i < OPS; i++)
            assert_int_equal(offsets[i], i * 512);
        assert_int_equal(shown()->write->operations, OPS);
    }
}

static void a_move_waits_for_what_is_in_flight_and_takes_what_queues_along(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op running, queued[5];
        struct stack_answer moved;
        actor_addr b = stack_backend("m", "driver=mock size=1M hold=on reactor=0", "");
        stack_submit(&running, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&moved, "backend-move name=b reactor=1");
        stack_settle();
        for (unsigned i = 0; i < 5; i++)
            stack_submit(&queued[i], b, OP_WRITE, 512 * (i + 1), 512, 0, NULL);
        stack_settle();
        assert_false(moved.came || running.came || queued[0].came);
        assert_int_equal(shown()->queued, 5);
        stack_do("node-set m hold=off");
        stack_await(&moved);
        assert_true(running.came && running.at < moved.at);
        int64_t offsets[8];
        for (unsigned i = 0; i < 5; i++)
            stack_await_op(&queued[i]);
        assert_int_equal(sent(offsets, 8), 6);
        for (unsigned i = 0; i < 6; i++)
            assert_int_equal(offsets[i], i * 512);
    }
}

static void many_that_are_held_keep_their_order(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op held[3];
        int64_t offsets[16];
        stack_do("node-add driver=mock name=m size=1M reactor=0");
        stack_do("node-add driver=fault name=f child=m rules='write nth=1 delay=6ms errno=EIO; "
                 "write nth=2 delay=9ms errno=EIO; write nth=3 delay=3ms errno=EIO'");
        stack_do("backend-add name=b node=f werror=stop");
        actor_addr b = stack_find("b");
        for (unsigned i = 0; i < 3; i++)
            stack_submit(&held[i], b, OP_WRITE, 512 * i, 512, 0, NULL);
        stack_pass(20 * NS_PER_MS);
        assert_int_equal(shown()->held, 3);
        for (unsigned i = 0; i < 2; i++)
            stack_do("backend-move name=b reactor=%u", (unsigned)(seed + i) % THREADS);
        stack_do("backend-resume b");
        for (unsigned i = 0; i < 3; i++)
            stack_await_op(&held[i]);
        assert_int_equal(sent(offsets, 16), 3);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(offsets[i], 512 * i);
    }
}

static void what_is_held_goes_along_and_is_tried_again_over_there(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op held[3], queued, last;
        int64_t offsets[16];
        actor_addr b = stack_backend("m", "driver=mock size=1M error=28 reactor=0", "werror=stop");
        stack_submit(&held[0], b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_do("node-set m error=5");
        for (unsigned i = 1; i < 3; i++)
            stack_submit(&held[i], b, OP_WRITE, 512 * i, 512, 0, NULL);
        stack_submit(&queued, b, OP_WRITE, 1536, 512, 0, NULL);
        stack_settle();
        for (unsigned i = 0; i < 3; i++) {
            stack_do("backend-move name=b reactor=%u", (unsigned)(seed + i) % THREADS);
            stack_settle();
            const Sluice__BackendInfo *info = shown();
            assert_int_equal(info->held, 1);
            assert_int_equal(info->queued, 3);
            assert_int_equal(info->run_state, SLUICE__RUN_STATE__STOPPED);
        }
        stack_do("node-set m error=0");
        stack_do("backend-resume b");
        for (unsigned i = 0; i < 3; i++) {
            stack_await_op(&held[i]);
            assert_int_equal(held[i].ret, 0);
        }
        stack_await_op(&queued);
        assert_int_equal(sent(offsets, 16), 5);
        assert_int_equal(offsets[0], 0);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(offsets[i + 1], i * 512);
        /* One that is held ends with its error when the backend ends. */
        stack_do("node-set m error=28");
        stack_submit(&last, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_do("backend-move name=b reactor=%u", (unsigned)(seed + 5) % THREADS);
        stack_settle();
        stack_release("b");
        stack_do("backend-remove b");
        assert_true(last.came && last.ret == -ENOSPC);
    }
}

/* A resume reaches the backend anywhere on its way: before what was held has come, too. */
static void what_its_holder_has_held_in_a_region_is_tried_again_after_a_move(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op held[2], next;
        struct stack_answer moved, resumed;
        actor_addr b = stack_backend("m", "driver=mock size=1M error=28 reactor=0", "werror=stop");
        uint64_t region = drained_begin(1, b, NULL);
        for (unsigned i = 0; i < 2; i++)
            stack_submit(&held[i], b, OP_WRITE, 512 * i, 512, STACK_HOLDER(1), NULL);
        stack_settle();
        assert_false(held[0].came || held[1].came);
        stack_do("node-set m error=0");
        stack_send(&moved, "backend-move name=b reactor=%u", (unsigned)(seed + 1) % THREADS);
        for (uint64_t steps = seed % 24; steps; steps--)
            stack_step();
        stack_send(&resumed, "backend-resume b");
        stack_await(&moved);
        stack_await(&resumed);
        stack_submit(&next, b, OP_WRITE, 1024, 512, 0, NULL);
        stack_settle();
        assert_true(held[0].came && held[1].came && !next.came);
        drained_end(region);
        stack_await_op(&next);
        assert_true(held[0].ret == 0 && held[1].ret == 0 && next.ret == 0);
    }
}

/* The end reaches the backend anywhere on its way: before what was held has come, too. */
static void one_that_was_held_before_a_move_ends_with_its_error_when_the_backend_does(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op held, queued;
        struct stack_answer moved, closed;
        actor_addr b = stack_backend("m", "driver=mock size=1M error=28 reactor=0", "werror=stop");
        stack_submit(&held, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_submit(&queued, b, OP_WRITE, 0, 512, 0, NULL);
        stack_send(&moved, "backend-move name=b reactor=1");
        for (uint64_t steps = seed % 24; steps; steps--)
            stack_step();
        stack_ask(&closed, b, MAIL_CLOSE, NULL);
        stack_await(&closed);
        stack_await(&moved);
        stack_settle();
        assert_true(held.came && held.ret == -ENOSPC);
        assert_true(queued.came && (queued.ret == -ESHUTDOWN || queued.ret == -ENXIO));
    }
}

static void a_drained_backend_moves_and_stays_drained(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        actor_addr b = stack_backend("n", "driver=null reactor=0", "");
        uint64_t region = drained_begin(1, 0, NULL);
        stack_submit(&op, b, OP_READ, 0, 512, 0, NULL);
        stack_do("backend-move name=b reactor=1");
        stack_settle();
        assert_false(op.came);
        assert_int_equal(at("b"), 1);
        drained_end(region);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
    }
}

/* --- Media */

static void an_empty_backend_remembers_and_its_medium_comes_to_it_and_goes_home(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n reactor=0");
        stack_do("backend-add name=b");
        stack_do("backend-move name=b reactor=2");
        assert_int_equal(at("b"), 2);
        stack_do("medium-insert backend=b node=n");
        assert_int_equal(node_at("n"), 2);
        assert_int_equal(stack_run(stack_find("b"), OP_READ, 0, 512, 0), 0);
        stack_do("medium-remove b");
        assert_int_equal(node_at("n"), 0);
        assert_int_equal(at("b"), 2);
        stack_do("medium-insert backend=b node=n");
        stack_release("b");
        stack_do("backend-remove b");
        assert_int_equal(node_at("n"), 0);
        stack_do("node-remove n");
    }
}

static void a_backend_follows_a_node_that_others_hold(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n reactor=1");
        stack_do("backend-add name=a node=n");
        stack_do("backend-add name=b");
        stack_do("backend-move name=b reactor=2");
        stack_do("medium-insert backend=b node=n");
        assert_int_equal(at("b"), 1);
        assert_int_equal(at("a"), 1);
        stack_do("medium-remove b");
        assert_int_equal(node_at("n"), 1);
        assert_int_equal(at("b"), 1);
        /* Away from home, too. */
        stack_do("backend-move name=a reactor=2");
        stack_do("medium-insert backend=b node=n");
        stack_do("medium-remove b");
        assert_int_equal(node_at("n"), 2);
        assert_int_equal(at("a"), 2);
    }
}

/* --- Order and refusals */

static void movers_at_once_take_turns(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer moves[6], inserted, removed;
        stack_do("node-add driver=null name=n latency=10us");
        stack_do("node-add driver=raw name=f child=n");
        stack_do("backend-add name=a node=n");
        stack_do("backend-add name=b node=f");
        stack_do("backend-add name=c");
        for (unsigned i = 0; i < 6; i++)
            stack_send(&moves[i], "backend-move name=%s reactor=%u", i % 2 ? "a" : "b",
                       i % THREADS);
        stack_send(&inserted, "medium-insert backend=c node=f");
        stack_send(&removed, "backend-remove c");
        for (unsigned i = 0; i < 6; i++) {
            stack_await(&moves[i]);
            assert_int_equal(moves[i].code, 0);
        }
        stack_await(&inserted);
        stack_await(&removed);
        assert_true(inserted.code == 0 || inserted.code == -EBUSY);
        assert_int_equal(at("a"), 5 % THREADS);
        assert_int_equal(at("b"), 5 % THREADS);
        assert_int_equal(node_at("n"), 5 % THREADS);
    }
}

static void a_move_that_cant_be_is_refused(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("backend-add name=b");
    stack_refused(-EINVAL, "backend 'b' can't move to reactor 2: the reactors are 0 to 1",
                  "backend-move name=b reactor=2");
    stack_refused(-ENOENT, "there is no backend 'x'", "backend-move name=x reactor=0");
    stack_stop();
}

static void when_one_cant_go_all_come_back_and_who_uses_them_is_told_where_they_are(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned from = (unsigned)seed % THREADS, to = (from + 1) % THREADS;
        stack_do("node-add driver=memory name=n size=1M reactor=%u", from);
        stack_do("backend-add name=b node=n");
        actor_addr b = stack_find("b");
        stack_do("backend-move name=b reactor=%u", to);
        assert_int_equal(stack_news()->reactor, to);
        uint64_t before = shown_sequence();
        stack_tell(b, MAIL_ABORT, NULL); /* it ends, so it does not go any more */
        stack_settle();
        stack_refused(-ESHUTDOWN, "backend 'b' can't move any more",
                      "backend-move name=b reactor=%u", from);
        assert_int_equal(stack_news()->moves, 2);
        assert_int_equal(stack_news()->reactor, to);
        assert_int_equal(at("b"), to);
        assert_int_equal(node_at("n"), to);
        assert_string_equal(stack_story(before + 1), "");
    }
}

/* Who comes shortly before a move, or amid it, is told of both its halves (the rig looks) or none.
 */
static void who_comes_amid_a_move_is_not_told_that_it_is_over(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer moved, amid;
        stack_do("node-add driver=mock name=m size=1M hold=on reactor=0");
        stack_do("backend-add name=b node=m");
        stack_submit(&op, stack_find("b"), OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        if (seed & 1)
            stack_claim(&amid, "b", PERM_CONSISTENT_READ, PERM_CONSISTENT_READ | PERM_WRITE);
        for (uint64_t steps = seed / 2 % 8; steps; steps--)
            stack_step();
        stack_send(&moved, "backend-move name=b reactor=1");
        if (!(seed & 1)) {
            stack_settle();
            stack_claim(&amid, "b", PERM_CONSISTENT_READ, PERM_CONSISTENT_READ | PERM_WRITE);
        }
        stack_settle();
        assert_true(amid.came && !moved.came);
        stack_do("node-set m hold=off");
        stack_await(&moved);
        stack_settle();
        unsigned told = stack_news()->moves;
        assert_true(told == 1 || (seed & 1 && told == 2));
        stack_do("backend-move name=b reactor=2");
        assert_int_equal(stack_news()->moves, told + 2);
    }
}

static void what_blocks_moves_on_any_of_the_nodes_is_not_set_aside_by_force(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n reactor=0");
        stack_do("node-add driver=raw name=f child=n");
        stack_do("backend-add name=b node=f");
        stack_do("op-block node=n op=move reason='a card is wired to this thread'");
        stack_refused(-EBUSY, "move is blocked on node 'n': a card is wired to this thread",
                      "backend-move name=b reactor=1");
        stack_refused(-EBUSY, "move is blocked on node 'n': a card is wired to this thread",
                      "backend-move name=b reactor=1 force=on");
        assert_int_equal(node_at("n"), 0);
        stack_do("op-unblock node=n reason='a card is wired to this thread'");
        stack_do("op-block node=n except=move reason=other");
        stack_do("backend-move name=b reactor=1");
        assert_int_equal(node_at("n"), 1);
    }
}

static void what_is_blocked_while_a_move_waits_refuses_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer first, second;
        stack_do("node-add driver=mock name=m hold=on reactor=0");
        stack_do("backend-add name=b node=m");
        stack_submit(&op, stack_find("b"), OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&first, "backend-move name=b reactor=1");
        stack_send(&second, "backend-move name=b reactor=2 force=on");
        stack_settle();
        assert_false(first.came || second.came);
        assert_int_equal(stack_do("op-block backend=b op=move reason=stay")->body_case,
                         SLUICE__REPLY__BODY_DONE);
        stack_do("node-set m hold=off");
        stack_await(&first);
        stack_await(&second);
        assert_int_equal(first.code, 0); /* it had begun */
        assert_int_equal(second.code, -EBUSY);
        assert_non_null(strstr(second.text, "move is blocked on node 'm': stay"));
        assert_int_equal(node_at("m"), 1);
    }
}

static void a_shutdown_during_moves_ends_all(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer moves[3];
        stack_do("node-add driver=mock name=m hold=on");
        stack_do("backend-add name=b node=m");
        stack_submit(&op, stack_find("b"), OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        for (unsigned i = 0; i < 3; i++)
            stack_send(&moves[i], "backend-move name=b reactor=%u", i);
        if (seed % 2)
            stack_settle();
        stack_stop();
        for (unsigned i = 0; i < 3; i++)
            assert_true(moves[i].came);
        assert_true(op.came);
        stack_start(1, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backend_moves_with_all_nodes_below_it),
        cmocka_unit_test(who_stands_on_the_same_nodes_follows_exports_too),
        cmocka_unit_test(under_load_nothing_is_lost_reordered_or_seen_twice),
        cmocka_unit_test(a_move_waits_for_what_is_in_flight_and_takes_what_queues_along),
        cmocka_unit_test(many_that_are_held_keep_their_order),
        cmocka_unit_test(what_is_held_goes_along_and_is_tried_again_over_there),
        cmocka_unit_test(what_its_holder_has_held_in_a_region_is_tried_again_after_a_move),
        cmocka_unit_test(one_that_was_held_before_a_move_ends_with_its_error_when_the_backend_does),
        cmocka_unit_test(a_drained_backend_moves_and_stays_drained),
        cmocka_unit_test(an_empty_backend_remembers_and_its_medium_comes_to_it_and_goes_home),
        cmocka_unit_test(a_backend_follows_a_node_that_others_hold),
        cmocka_unit_test(movers_at_once_take_turns),
        cmocka_unit_test(a_move_that_cant_be_is_refused),
        cmocka_unit_test(when_one_cant_go_all_come_back_and_who_uses_them_is_told_where_they_are),
        cmocka_unit_test(who_comes_amid_a_move_is_not_told_that_it_is_over),
        cmocka_unit_test(what_blocks_moves_on_any_of_the_nodes_is_not_set_aside_by_force),
        cmocka_unit_test(what_is_blocked_while_a_move_waits_refuses_it),
        cmocka_unit_test(a_shutdown_during_moves_ends_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
