/* What clients ask that can't be, whoever asks: it is refused, counted as invalid, and stops no
 * backend, whatever is to be done about errors. In a whole stepped engine; see test_nbd_bad_input.c
 * for what an NBD connection refuses by itself. */
#include "shown_rig.h"

static actor_addr backend;

/* A backend that any error of its medium, `n`, would stop. */
static void built(const char *node)
{
    backend = stack_backend("n", node, "werror=stop rerror=stop");
}

/* Ends with `ret`, at once: nothing is held. */
static void ends(int64_t ret, enum op_kind kind, int64_t offset, uint64_t bytes, unsigned flags)
{
    struct stack_op op;
    stack_submit(&op, backend, kind, offset, bytes, flags, NULL);
    stack_settle();
    if (!op.came || op.ret != ret)
        fail_msg("kind %d at %lld: %s, with %lld", kind, (long long)offset,
                 op.came ? "ended" : "held", op.came ? (long long)op.ret : 0);
    assert_int_equal(shown()->run_state, SLUICE__RUN_STATE__RUNNING);
}

/* The same, and no error is told, not later either. */
static void refused(int64_t ret, enum op_kind kind, int64_t offset, uint64_t bytes, unsigned flags)
{
    uint64_t before = shown_sequence();
    ends(ret, kind, offset, bytes, flags);
    stack_pass(2 * NS_PER_S);
    assert_string_equal(stack_story(before + 1), "");
}

/* --- Lengths */

static void a_length_that_cannot_be_stops_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        built("driver=mock size=1M");
        refused(-EINVAL, OP_TRUNCATE, 0, 0, OP_PREALLOC_FULL);
        refused(-EINVAL, OP_TRUNCATE, 4096, 0, OP_PREALLOC_FALLOC);
        refused(-EINVAL, OP_TRUNCATE, -1, 0, 0);
        /* As control tells it, with its sentence. */
        stack_refused(-EINVAL, "space is preallocated for growth only",
                      "io-truncate b size=0 preallocation=full");
        assert_int_equal(shown()->length, 1 << 20);
        /* What fails for another reason is still the medium's failure. */
        stack_do("node-set n error=5");
        struct stack_op op;
        stack_submit(&op, backend, OP_TRUNCATE, 4096, 0, 0, NULL);
        stack_settle();
        assert_false(op.came);
        stack_do("node-set n error=0");
        stack_do("backend-resume b");
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
    }
}

static void a_length_that_no_medium_can_have_stops_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory name=m size=1M");
        built("driver=raw child=m offset=64K");
        refused(-EFBIG, OP_TRUNCATE, INT64_MAX, 0, 0);
        stack_refused(-EFBIG, "File too large", "io-truncate b size=9223372036854775807");
        assert_int_equal(shown()->length, (1 << 20) - (64 << 10));
        stack_do("node-add driver=memory name=top size=1M");
        stack_do("node-add driver=overlay name=o child=top backing=m block=512");
        stack_do("medium-change b node=o");
        refused(-EFBIG, OP_TRUNCATE, INT64_MAX, 0, 0);
    }
}

/* --- Offsets */

static void offsets_that_no_medium_can_have_stop_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *node;
        int64_t write; /* how a write ends that is to grow it up to the last byte there can be */
    } media[] = {
        {"driver=memory size=1M", 0},
        {"driver=mock size=1M can=flush,grow", 0},
        {"driver=mock size=1M can=flush", -EIO},
        {"driver=mock size=1M can=flush,grow alignment=4096", -EFBIG},
        {"driver=raw child=under offset=64K", -EFBIG},
        {"driver=raw child=under offset=100", -EFBIG},
        {"driver=raw child=aligned offset=0", -EFBIG},
    };
    FOR_EACH_SEED(seed)
    {
        unsigned i = (unsigned)(seed / 3 % (sizeof media / sizeof *media));
        stack_do("node-add driver=memory name=under size=1M");
        stack_do("node-add driver=mock name=aligned size=1M alignment=512");
        built(media[i].node);
        for (unsigned back = 0; back < 512; back += 73) {
            refused(-EIO, OP_READ, INT64_MAX - back, 512, OP_BEYOND_END);
            refused(-EIO, OP_WRITE, INT64_MAX - back, 512, OP_BEYOND_END);
            refused(-EIO, OP_ZEROES, INT64_MAX - back, 512, OP_BEYOND_END);
        }
        refused(-EIO, OP_WRITE, -1, 512, OP_BEYOND_END);
        const Sluice__BackendInfo *info = shown();
        assert_int_equal(info->read->invalid, 8);
        assert_int_equal(info->write->invalid + info->zeroes->invalid, 17);
        assert_int_equal(info->read->failed + info->write->failed + info->zeroes->failed, 0);
        assert_int_equal(info->highest_written_bytes, 0);
        ends(0, OP_READ, INT64_MAX - 512, 512, OP_BEYOND_END);
        ends(media[i].write, OP_WRITE, INT64_MAX - 512, 512, OP_BEYOND_END);
    }
}

/* --- Frontends that look first */

static void what_control_refuses_by_itself_is_counted_and_ends_the_idle_time(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        built("driver=mock size=1M");
        assert_false(shown()->has_idle_ns);
        stack_refused(-EINVAL, "beyond its end", "io-read b offset=1M bytes=1");
        assert_int_equal(shown()->read->invalid, 1);
        stack_pass(NS_PER_S);
        assert_in_range(shown()->idle_ns, NS_PER_S, NS_PER_S + NS_PER_MS);
        stack_refused(-EINVAL, "beyond its end", "io-write b offset=1M data=x");
        assert_in_range(shown()->idle_ns, 0, NS_PER_MS);
        stack_refused(-EINVAL, "beyond its end", "io-zeroes b offset=1M bytes=1");
        stack_refused(-EINVAL, "beyond its end", "io-discard b offset=1M bytes=1");
        stack_do("medium-remove b");
        stack_refused(-ENOMEDIUM, "has no length", "io-make-zero b");
        const Sluice__BackendInfo *info = shown();
        assert_int_equal(info->read->invalid, 1);
        assert_int_equal(info->write->invalid, 1);
        assert_int_equal(info->zeroes->invalid, 2);
        assert_int_equal(info->discard->invalid, 1);
        assert_int_equal(info->read->failed + info->write->failed, 0);
        assert_int_equal(info->run_state, SLUICE__RUN_STATE__RUNNING);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_length_that_cannot_be_stops_nothing),
        cmocka_unit_test(a_length_that_no_medium_can_have_stops_nothing),
        cmocka_unit_test(offsets_that_no_medium_can_have_stop_nothing),
        cmocka_unit_test(what_control_refuses_by_itself_is_counted_and_ends_the_idle_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
