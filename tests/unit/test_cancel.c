/* Cancelling one request, wherever it is, in a whole stepped engine: each seed is another order of
 * what happens, on 1 to 3 reactors. */
#include "shown_rig.h"

#include "engine/random.h"

/* What the mock on node m says under this name. */
static const char *told(const char *name)
{
    const Sluice__NodeInfo *info = stack_do("node-show m")->node;
    for (size_t i = 0; i < info->n_state; i++)
        if (strcmp(info->state[i]->key, name) == 0)
            return info->state[i]->value;
    return "";
}

static void cancel(struct stack_op *asked, const struct stack_op *op, actor_addr to)
{
    stack_submit(asked, to, OP_CANCEL, (int64_t)op->tag, 0, 0, NULL);
}

static int64_t cancelled(const struct stack_op *op, actor_addr to)
{
    struct stack_op asked;
    cancel(&asked, op, to);
    stack_settle();
    assert_true(asked.came);
    return asked.ret;
}

/* --- What waits in the backend */

static void a_held_request_ends_with_its_error_and_is_not_tried_again(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock error=5", "werror=stop");
        struct stack_op first, second;
        stack_submit(&first, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_int_equal(shown()->held, 1);
        stack_submit(&second, b, OP_WRITE, 4096, 512, 0, NULL);
        assert_int_equal(cancelled(&first, b), 0);
        assert_true(first.came && !second.came);
        assert_int_equal(first.ret, -EIO);
        assert_int_equal(shown()->held, 0);
        stack_do("node-set m error=0");
        stack_do("backend-resume b");
        stack_await_op(&second);
        assert_int_equal(second.ret, 0);
        assert_string_equal(told("sent-1"), "write 0+512");
        assert_string_equal(told("sent-2"), "write 4096+512");
        assert_string_equal(told("sent-3"), "");
    }
}

static void what_a_drain_or_a_pause_queued_ends_at_once_and_never_runs(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock", "");
        struct stack_op first, second;
        bool drained = seed & 1;
        if (drained)
            stack_call(b, MAIL_DRAIN_BEGIN, NULL);
        else
            stack_do("backend-pause b");
        stack_submit(&first, b, OP_WRITE, 0, 512, 0, NULL);
        stack_submit(&second, b, OP_WRITE, 4096, 512, 0, NULL);
        assert_int_equal(cancelled(&first, b), 0);
        assert_true(first.came && !second.came);
        assert_int_equal(first.ret, -ECANCELED);
        assert_int_equal(shown()->queued, 1);
        assert_int_equal(shown()->queued_bytes, 512);
        if (drained)
            stack_call(b, MAIL_DRAIN_END, NULL);
        else
            stack_do("backend-resume b");
        stack_await_op(&second);
        assert_int_equal(second.ret, 0);
        assert_string_equal(told("sent-1"), "write 4096+512");
    }
}

static void without_a_medium_and_after_the_end_there_is_nothing_to_cancel(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=empty");
        actor_addr b = stack_find("b"), empty = stack_find("empty");
        struct stack_op op, asked;
        stack_submit(&op, empty, OP_WRITE, 0, 512, 0, NULL);
        cancel(&asked, &op, empty);
        stack_settle();
        assert_true(op.came && asked.came);
        assert_int_equal(op.ret, -ENOMEDIUM);
        assert_int_equal(asked.ret, -ENOENT);
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        assert_int_equal(cancelled(&op, b), -ENOENT);
        assert_string_equal(shown_last_sent("m"), "write 0+512");
    }
}

/* --- What is with the medium */

/* Sent right behind it, the question never arrives before its request: were it so, the request
 * would stay. Filters, so many that frames run out, are passed through. */
static void it_reaches_the_driver_behind_its_request_through_any_number_of_filters(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned depth = (unsigned)seed % 10;
        uint64_t random = seed, home = 0;
        char below[8] = "m";
        stack_do("node-add driver=mock name=m hold=on");
        for (unsigned i = 0; i < depth; i++) {
            uint64_t reactor = random_next(&random) >> 32;
            reactor = reactor % 4 == 0 ? random_next(&random) % STACK_THREADS(seed) : home;
            stack_do("node-add driver=%s name=f%u child=%s reactor=%u", i % 2 ? "fault" : "raw", i,
                     below, (unsigned)reactor);
            home = reactor;
            snprintf(below, sizeof below, "f%u", i);
        }
        stack_do("backend-add name=b node=%s", below);
        actor_addr b = stack_find("b");
        struct stack_op ops[3], asked;
        for (unsigned i = 0; i < 3; i++)
            stack_submit(&ops[i], b, OP_READ, i * 4096, 512, 0, NULL);
        cancel(&asked, &ops[1], b);
        stack_settle();
        assert_true(asked.came && ops[1].came && !ops[0].came && !ops[2].came);
        assert_int_equal(asked.ret, 0);
        assert_int_equal(ops[1].ret, -ECANCELED);
        assert_string_equal(told("sent-4"), "cancel read 4096+512");
        stack_do("node-set m hold=off");
        stack_await_op(&ops[0]);
        stack_await_op(&ops[2]);
        assert_int_equal(ops[0].ret, 0);
        assert_int_equal(ops[2].ret, 0);
    }
}

/* An overlay on a child that has its first 4K, and on the mock, which holds: where the request is,
 * or the piece of it, there it ends. Filters between, on whatever reactor. */
static void it_reaches_the_backing_of_an_overlay_and_pieces(void **state)
{
    static const struct {
        enum op_kind kind;
        int64_t offset;
        uint64_t bytes;
        const char *sent;
    } cases[] = {
        {OP_READ, 8192, 512, "cancel read 8192+512"},     /* as it is */
        {OP_READ, 0, 8192, "cancel read 4096+4096"},      /* the second piece */
        {OP_WRITE, 8192, 512, "cancel read 8192+4096"},   /* which copies up first */
        {OP_ZEROES, 12000, 9000, "cancel read 8192+4096"} /* the same, of the first of them */
    };
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned threads = STACK_THREADS(seed), i = (unsigned)(seed / 3) % 4;
        struct stack_op op, other, asked;
        stack_do("node-add driver=mock name=m size=1M reactor=%u", 1 % threads);
        stack_do("node-add driver=raw name=r child=m reactor=%u", (unsigned)seed / 2 % threads);
        stack_do("node-add driver=memory name=s size=1M reactor=0");
        stack_do("node-add driver=overlay name=o block=4K child=s backing=r reactor=0");
        stack_do("node-add driver=copy-on-read name=c child=o reactor=%u", 2 % threads);
        stack_do("backend-add name=b node=%s", seed / 12 % 2 ? "o" : "c");
        actor_addr b = stack_find("b");
        assert_int_equal(stack_run(b, OP_WRITE, 0, 4096, 0), 0);
        stack_do("node-set m hold=on");
        stack_submit(&other, b, OP_READ, 1 << 19, 512, 0, NULL);
        stack_settle();
        stack_submit(&op, b, cases[i].kind, cases[i].offset, cases[i].bytes, 0, NULL);
        stack_settle();
        assert_false(op.came);
        cancel(&asked, &op, b);
        stack_settle();
        assert_true(op.came && asked.came && !other.came);
        assert_int_equal(op.ret, -ECANCELED);
        assert_int_equal(asked.ret, 0);
        if (seed / 12 % 2)
            assert_string_equal(shown_last_sent("m"), cases[i].sent);
        assert_int_equal(cancelled(&op, b), -ENOENT);
        stack_do("node-set m hold=off");
        stack_await_op(&other);
        assert_int_equal(other.ret, 0);
        assert_int_equal(stack_run(b, cases[i].kind, cases[i].offset, cases[i].bytes, 0), 0);
    }
}

static void a_request_at_the_driver_ends_early(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock hold=on", "");
        struct stack_op first, second;
        stack_submit(&first, b, OP_WRITE, 0, 512, 0, NULL);
        stack_submit(&second, b, OP_FLUSH, 0, 0, 0, NULL);
        if (seed & 1)
            stack_settle();
        assert_int_equal(cancelled(&second, b), 0);
        assert_true(second.came && !first.came);
        assert_int_equal(second.ret, -ECANCELED);
        assert_string_equal(told("held"), "1");
        assert_string_equal(shown_last_sent("m"), "cancel flush 0+0");
        stack_do("node-set m hold=off");
        stack_await_op(&first);
        assert_int_equal(first.ret, 0);
        assert_int_equal(shown()->write->operations, 1);
        assert_int_equal(shown()->flush->failed, 0);
    }
}

static void a_result_that_is_faster_wins(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock hold=on cancel=off", "");
        struct stack_op op;
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        assert_int_equal(cancelled(&op, b), 0);
        assert_int_equal(cancelled(&op, b), 0); /* asking twice is fine */
        assert_false(op.came);
        stack_do("node-set m hold=off");
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
    }
}

static void one_that_fails_after_it_was_cancelled_is_not_held(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock hold=on cancel=off", "werror=stop");
        struct stack_op op;
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        assert_int_equal(cancelled(&op, b), 0);
        stack_do("node-set m hold=off error=28");
        stack_await_op(&op);
        assert_int_equal(op.ret, -ENOSPC);
        assert_int_equal(shown()->held, 0);
        assert_int_equal(shown()->run_state, SLUICE__RUN_STATE__STOPPED);
    }
}

/* The sender leaves with all that it has asked for. */
static void leave(const struct stack_op *op, actor_addr from)
{
    Sluice__Cancel *all = MAIL_NEW(sluice__cancel);
    all->n_tags = 1;
    all->tags = calloc(1, sizeof *all->tags);
    all->tags[0] = op->tag;
    stack_tell(from, MAIL_CANCEL, all);
    stack_settle();
    if (!op->came)
        cancelled(op, from);
}

static void one_that_fails_after_its_sender_has_left_is_not_held(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m hold=on cancel=off");
        stack_do("backend-add name=b node=m werror=stop");
        actor_addr b = stack_find("b");
        struct stack_op op;
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        leave(&op, b);
        assert_false(op.came);
        stack_do("node-set m hold=off error=28");
        stack_await_op(&op);
        assert_int_equal(op.ret, -ENOSPC);
        assert_int_equal(shown()->held, 0);
    }
}

/* Wherever it waits, and whoever does not want it any more. */
static void one_that_is_cancelled_is_no_failure_of_the_medium(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        bool below = seed / 3 % 3 == 1, at_medium = seed / 3 % 3 == 2, leaves = seed / 9 % 2;
        struct stack_op first, op;
        stack_do("node-add driver=mock name=m hold=%s", at_medium ? "on" : "off");
        stack_do("throttle-add g iops-total=1");
        stack_do("throttle-add wide");
        stack_do("node-add driver=throttle name=t child=m throttle-group=%s", below ? "g" : "wide");
        stack_do("backend-add name=b node=t werror=stop%s",
                 below || at_medium ? "" : " throttle=g");
        actor_addr b = stack_find("b");
        if (!at_medium) {
            stack_submit(&first, b, OP_WRITE, 0, 512, 0, NULL);
            stack_await_op(&first);
        }
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_false(op.came);
        if (leaves && !at_medium)
            leave(&op, b);
        else
            assert_int_equal(cancelled(&op, b), 0);
        assert_true(op.came);
        assert_int_equal(op.ret, -ECANCELED);
        assert_int_equal(shown()->write->failed, 0);
        assert_int_equal(shown()->write->invalid, 1);
        assert_int_equal(shown()->run_state, SLUICE__RUN_STATE__RUNNING);
    }
}

/* Its state has been saved: what is left is a flush. */
static void saving_vm_state_is_cancelled_in_the_flush_after_it_too(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        bool ends = seed & 1;
        stack_do("node-add driver=mock name=m hold=on cancel=%s", ends ? "on" : "off");
        stack_do("backend-add name=b node=m werror=stop write-cache=off");
        actor_addr b = stack_find("b");
        struct stack_op op;
        stack_submit(&op, b, OP_SAVE_VMSTATE, 0, 0, 0, NULL);
        stack_settle();
        stack_do("node-set m release=1");
        stack_settle();
        assert_string_equal(shown_last_sent("m"), "flush 0+0");
        assert_int_equal(cancelled(&op, b), 0);
        assert_string_equal(shown_last_sent("m"), "cancel flush 0+0");
        assert_int_equal(op.came, ends);
        stack_do("node-set m hold=off error=28");
        stack_await_op(&op);
        assert_int_equal(op.ret, ends ? -ECANCELED : -ENOSPC);
        assert_int_equal(shown()->held + shown()->in_flight, 0);
        stack_do("backend-resume b");
        stack_do("node-set m error=0");
        assert_int_equal(stack_run(b, OP_SAVE_VMSTATE, 0, 0, 0), 0);
    }
}

static void a_delay_of_the_fault_filter_ends_early(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m");
        actor_addr b = stack_backend("f", "driver=fault child=m rules='write delay=1h'", "");
        struct stack_op op;
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        assert_int_equal(cancelled(&op, b), 0);
        assert_true(op.came);
        assert_int_equal(op.ret, -ECANCELED);
        assert_string_equal(told("sent-1"), "");
    }
}

/* --- What the node does in pieces */

static void of_a_split_request_the_pieces_that_are_left_are_not_begun(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock hold=on max-transfer=512", "");
        struct stack_op op;
        stack_submit(&op, b, OP_WRITE, 0, 2048, 0, NULL);
        stack_settle();
        stack_do("node-set m release=1");
        stack_do("node-set m cancel=%s", seed & 1 ? "off" : "on");
        assert_int_equal(cancelled(&op, b), 0);
        assert_int_equal(op.came, !(seed & 1));
        stack_do("node-set m hold=off");
        stack_await_op(&op);
        assert_int_equal(op.ret, -ECANCELED);
        assert_string_equal(told("sent-3"), "cancel write 512+512");
        assert_string_equal(told("sent-4"), "");
    }
}

static void the_last_piece_that_is_faster_makes_the_whole_succeed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock hold=on cancel=off max-transfer=512", "");
        struct stack_op op;
        stack_submit(&op, b, OP_WRITE, 0, 1024, 0, NULL);
        stack_settle();
        stack_do("node-set m release=1");
        assert_int_equal(cancelled(&op, b), 0);
        stack_do("node-set m hold=off");
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
    }
}

static void a_block_that_was_read_to_be_changed_is_not_written(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock hold=on cancel=off alignment=4096", "");
        struct stack_op op, next;
        stack_submit(&op, b, OP_WRITE, 100, 10, 0, NULL);
        stack_submit(&next, b, OP_WRITE, 200, 10, 0, NULL);
        assert_int_equal(cancelled(&op, b), 0);
        stack_do("node-set m hold=off");
        stack_await_op(&op);
        stack_await_op(&next);
        assert_int_equal(op.ret, -ECANCELED);
        assert_int_equal(next.ret, 0);
        assert_string_equal(told("sent-1"), "read 0+4096");
        assert_string_equal(told("sent-2"), "cancel read 0+4096");
        assert_string_equal(told("sent-3"), "read 0+4096");
        assert_string_equal(told("sent-4"), "write 0+4096");
        assert_string_equal(told("sent-5"), "");
    }
}

static void one_that_waits_for_an_overlapping_write_gives_up_its_place(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock hold=on alignment=4096", "");
        struct stack_op first, across, second;
        stack_submit(&first, b, OP_WRITE, 100, 10, 0, NULL);
        stack_submit(&across, b, OP_WRITE, 4000, 200, 0, NULL);
        stack_submit(&second, b, OP_WRITE, 8000, 10, 0, NULL);
        assert_int_equal(cancelled(&across, b), 0);
        assert_true(across.came && !first.came && !second.came);
        assert_int_equal(across.ret, -ECANCELED);
        assert_string_equal(told("held"), "2");
        stack_do("node-set m hold=off");
        stack_await_op(&first);
        stack_await_op(&second);
        assert_int_equal(first.ret, 0);
        assert_int_equal(second.ret, 0);
    }
}

/* --- Everything at once */

#define OPS 64

/* The truncate waits in the overlay for the write, which is held. The engine may also end first. */
static void a_change_of_the_length_that_waits_in_an_overlay_ends_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op write, truncate, asked;
        stack_do("node-add driver=mock name=m size=1M hold=on cancel=off reactor=0");
        stack_do("node-add driver=null name=n size=1M reactor=0");
        actor_addr b = stack_backend("o", "driver=overlay child=m backing=n reactor=0", "");
        stack_submit(&write, b, OP_WRITE, 0, 65536, 0, NULL);
        stack_submit(&truncate, b, OP_TRUNCATE, 524288, 0, 0, NULL);
        stack_settle();
        assert_false(write.came || truncate.came);
        if (seed % 4 == 0) {
            stack_stop();
            assert_true(write.came && truncate.came && truncate.ret == -ESHUTDOWN);
            stack_start(1, seed);
            continue;
        }
        cancel(&asked, &truncate, b);
        stack_settle();
        assert_true(asked.came && truncate.came && !write.came);
        assert_int_equal(truncate.ret, -ECANCELED);
        stack_do("node-set m hold=off");
        stack_await_op(&write);
        assert_int_equal(write.ret, 0);
        assert_int_equal(stack_do("node-show o")->node->length, 1 << 20);
        assert_int_equal(stack_run(b, OP_TRUNCATE, 524288, 0, 0), 0);
        assert_int_equal(stack_do("node-show o")->node->length, 524288);
    }
}

static void whatever_is_cancelled_ends_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static const enum op_kind kinds[] = {OP_READ, OP_WRITE, OP_ZEROES, OP_FLUSH};
        uint64_t random = seed + 1;
        struct stack_op ops[OPS], asked[OPS];
        stack_do("node-add driver=mock name=m hold=on alignment=512 max-transfer=4096");
        stack_do("node-add driver=fault name=f child=m seed=%llu "
                 "rules='write delay=1s probability=0.3; read errno=EIO probability=0.1'",
                 (unsigned long long)seed);
        stack_do("backend-add name=b node=f");
        actor_addr b = stack_find("b");
        for (unsigned i = 0; i < OPS; i++) {
            uint64_t draw = random_next(&random);
            stack_submit(&ops[i], b, kinds[draw % 4], (int64_t)(draw >> 8 & 0xffff),
                         1 + (draw >> 24 & 0x1fff), 0, NULL);
            cancel(&asked[i], &ops[draw >> 40 & 1 ? i : i / 2], b);
            for (unsigned steps = draw >> 48 & 7; steps; steps--)
                stack_step();
        }
        stack_do("node-set m hold=off");
        for (unsigned i = 0; i < OPS; i++) {
            stack_await_op(&asked[i]);
            stack_await_op(&ops[i]);
            assert_true(ops[i].ret == 0 || ops[i].ret == -ECANCELED || ops[i].ret == -EIO);
            assert_true(asked[i].ret == 0 || asked[i].ret == -ENOENT);
        }
        assert_int_equal(shown()->in_flight, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_held_request_ends_with_its_error_and_is_not_tried_again),
        cmocka_unit_test(what_a_drain_or_a_pause_queued_ends_at_once_and_never_runs),
        cmocka_unit_test(without_a_medium_and_after_the_end_there_is_nothing_to_cancel),
        cmocka_unit_test(it_reaches_the_driver_behind_its_request_through_any_number_of_filters),
        cmocka_unit_test(it_reaches_the_backing_of_an_overlay_and_pieces),
        cmocka_unit_test(a_request_at_the_driver_ends_early),
        cmocka_unit_test(a_result_that_is_faster_wins),
        cmocka_unit_test(one_that_fails_after_it_was_cancelled_is_not_held),
        cmocka_unit_test(one_that_fails_after_its_sender_has_left_is_not_held),
        cmocka_unit_test(one_that_is_cancelled_is_no_failure_of_the_medium),
        cmocka_unit_test(saving_vm_state_is_cancelled_in_the_flush_after_it_too),
        cmocka_unit_test(a_delay_of_the_fault_filter_ends_early),
        cmocka_unit_test(of_a_split_request_the_pieces_that_are_left_are_not_begun),
        cmocka_unit_test(the_last_piece_that_is_faster_makes_the_whole_succeed),
        cmocka_unit_test(a_block_that_was_read_to_be_changed_is_not_written),
        cmocka_unit_test(one_that_waits_for_an_overlapping_write_gives_up_its_place),
        cmocka_unit_test(a_change_of_the_length_that_waits_in_an_overlay_ends_once),
        cmocka_unit_test(whatever_is_cancelled_ends_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
