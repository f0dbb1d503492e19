/* Overlays are merged into their backings, in a whole stepped engine: each seed is another order of
 * what happens. */
#include "drained_rig.h"
#include "job_rig.h"

#include "engine/random.h"

#define KIB  INT64_C(1024)
#define SIZE (8 * MIB)

/* Backend `b` on `top`, an overlay of what is in `upper` over `lower`, with `below` on that. */
static void add_stack(const char *lower)
{
    stack_do("node-add driver=memory name=upper size=8M");
    stack_do("node-add name=lower %s", lower);
    stack_do("node-add driver=overlay name=top child=upper backing=lower");
    stack_do("backend-add name=b node=top");
    stack_do("backend-add name=below node=lower");
}

/* What a range reads as, all of it the same byte. */
static unsigned filled(const char *backend, int64_t offset, uint64_t bytes)
{
    unsigned byte = 256;
    for (uint64_t done = 0; done < bytes;) {
        uint64_t part = bytes - done < MIB ? bytes - done : MIB;
        const Sluice__IoResult *io =
            stack_do("io-read %s offset=%lld bytes=%llu", backend,
                     (long long)(offset + (int64_t)done), (unsigned long long)part)
                ->io;
        if (!done)
            byte = io->data.data[0];
        /* At once: byte by byte is most of what this program does under sanitizers. */
        if (io->data.data[0] != byte ||
            memcmp(io->data.data, io->data.data + 1, io->data.len - 1) != 0)
            fail_msg("not all of it is %u", byte);
        done += part;
    }
    return byte;
}

static void fill(const char *backend, int64_t offset, uint64_t bytes, unsigned pattern)
{
    stack_do("io-write %s offset=%lld bytes=%llu pattern=%u", backend, (long long)offset,
             (unsigned long long)bytes, pattern);
}

/* Bytes that the backend's own layer provides. */
static uint64_t allocated(const char *backend)
{
    actor_addr to = stack_find(backend);
    uint64_t sum = 0;
    for (int64_t at = 0; at < SIZE;) {
        int64_t ret = stack_run(to, OP_STATUS, at, (uint64_t)(SIZE - at), 0);
        assert_true(ret >= 0);
        if (op_status_bits(ret) & OP_STATUS_ALLOCATED)
            sum += op_status_run(ret);
        at += (int64_t)op_status_run(ret);
    }
    stack_release(backend);
    return sum;
}

/* --- Emptying */

static void a_part_of_an_overlay_is_emptied_by_whole_blocks(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=memory size=8M");
        fill("below", 0, 8 * MIB, 1);
        fill("b", 0, 8 * MIB, 2);
        actor_addr b = stack_find("b");
        assert_int_equal(stack_run(b, OP_MAKE_EMPTY, MIB + 1, MIB, 0), 0);
        assert_int_equal(allocated("b"), 8 * MIB - (MIB - 64 * KIB));
        assert_int_equal(filled("b", MIB, 64 * KIB), 2);
        assert_int_equal(filled("b", MIB + 64 * KIB, MIB - 64 * KIB), 1);
        assert_int_equal(filled("b", 2 * MIB, MIB), 2);
        assert_int_equal(stack_run(stack_find("b"), OP_MAKE_EMPTY, 8 * MIB, 1, 0), -EIO);
        assert_int_equal(stack_run(stack_find("b"), OP_MAKE_EMPTY, 0, 0, 0), 0);
        assert_int_equal(filled("b", 0, 8 * MIB), 1);
        assert_int_equal(allocated("b"), 0);
    }
}

static void what_the_backing_can_not_show_stays(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=memory size=4M");
        fill("below", 0, 4 * MIB, 1);
        fill("b", 3 * MIB, 3 * MIB, 2);
        assert_int_equal(stack_run(stack_find("b"), OP_MAKE_EMPTY, 0, 0, 0), 0);
        assert_int_equal(filled("b", 3 * MIB, MIB), 1);
        assert_int_equal(filled("b", 4 * MIB, 2 * MIB), 2);
        /* Nor is what the overlay hides uncovered by emptying something that lies behind. */
        stack_do("io-truncate below size=8M");
        fill("below", 4 * MIB, 4 * MIB, 3);
        assert_int_equal(stack_run(stack_find("b"), OP_MAKE_EMPTY, 5 * MIB, MIB, 0), 0);
        assert_int_equal(filled("b", 5 * MIB, MIB), 2);
        assert_int_equal(filled("b", 7 * MIB, MIB), 0);
    }
}

/* --- One commit */

static void what_the_overlay_has_goes_into_the_backing_and_the_overlay_is_empty(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=memory size=8M");
        fill("below", 0, MIB, 1);
        fill("b", 512 * KIB, MIB, 2);
        fill("b", 7 * MIB, MIB, 3);
        assert_int_equal(filled("below", 512 * KIB, 512 * KIB), 1);
        assert_int_equal(allocated("b"), 2 * MIB);
        stack_do("commit b");
        job_run_out();
        assert_int_equal(filled("below", 0, 512 * KIB), 1);
        assert_int_equal(filled("below", 512 * KIB, MIB), 2);
        assert_int_equal(filled("below", 1536 * KIB, MIB), 0);
        assert_int_equal(filled("below", 7 * MIB, MIB), 3);
        assert_int_equal(filled("b", 512 * KIB, MIB), 2);
        assert_int_equal(allocated("b"), 0);
    }
}

static void zeroes_are_made_as_zeroes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=mock size=8M");
        stack_do("io-zeroes b offset=1M bytes=2M");
        stack_do("commit b");
        job_run_out();
        const Sluice__NodeInfo *info = stack_do("node-show lower")->node;
        bool zeroes = false;
        for (size_t i = 0; i < info->n_state; i++) {
            zeroes |= !strncmp(info->state[i]->value, "zeroes 1048576+2097152", 22);
            assert_null(strstr(info->state[i]->value, "write "));
        }
        assert_true(zeroes);
    }
}

static void a_backing_that_is_shorter_grows(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=memory size=1M");
        fill("b", 6 * MIB, MIB, 5);
        stack_do("commit b");
        job_run_out();
        assert_int_equal(stack_do("node-show lower")->node->length, SIZE);
        assert_int_equal(filled("below", MIB, MIB), 0);
        assert_int_equal(filled("below", 6 * MIB, MIB), 5);
    }
}

static void a_backing_that_is_to_grow_is_asked_for_resizes_and_no_other_is(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=memory size=1M");
        fill("b", 0, MIB, 5);
        stack_do("op-block node=lower op=resize reason='it is as long as its label says'");
        stack_refused(-EBUSY,
                      "job 'b' can't begin: resize is blocked on node 'lower': it is as long as",
                      "commit b");
        stack_refused(-EBUSY, "resize is blocked on node 'lower'", "commit-all");
        assert_int_equal(stack_do("node-show top")->node->n_blocked, 0);
        assert_int_equal(stack_do("node-show lower")->node->length, MIB);
        stack_do("io-truncate b size=1M");
        stack_do("commit b");
        job_run_out();
        assert_null(job_completed()->reason);
        assert_int_equal(filled("below", 0, MIB), 5);
    }
}

/* Whether the job waits for the refusal, or has it at once, as on one reactor. */
static void
what_a_backing_that_can_not_grow_has_no_room_for_stays_when_errors_are_ignored(void **state)
{
    static const char *const backings[] = {"driver=raw child=store size=1M",
                                           "driver=fault child=store rules='truncate errno=EIO'"};
    (void)state;
    FOR_EACH_SEED(seed)
    {
        bool fails = seed / 3 % 2;
        stack_do("node-add driver=memory name=store size=%dM", fails ? 1 : 2);
        add_stack(backings[fails]);
        fill("b", 512 * KIB, MIB, 5);
        fill("b", 6 * MIB, MIB, 6);
        stack_do("commit b on-error=ignore");
        job_run_out();
        const Sluice__JobEvent *end = job_completed();
        assert_non_null(strstr(end->reason, "writing its target failed"));
        assert_int_equal(end->done_bytes, SIZE);
        assert_int_equal(stack_do("node-show lower")->node->length, MIB);
        assert_int_equal(filled("below", 512 * KIB, 512 * KIB), 5);
        assert_int_equal(filled("b", 512 * KIB, MIB), 5);
        assert_int_equal(filled("b", 6 * MIB, MIB), 6);
        assert_int_equal(allocated("b"), 512 * KIB + MIB);
    }
}

static void an_overlay_below_filters_is_the_backends(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=memory size=8M");
        stack_do("node-add driver=raw name=window child=top offset=1M");
        stack_do("backend-add name=far node=window");
        fill("far", 0, MIB, 9);
        stack_do("commit far");
        job_run_out();
        assert_int_equal(filled("below", MIB, MIB), 9);
    }
}

/* Who stands on a filter above it could change its length, or take it away, as well. */
static void a_commit_blocks_those_above_filters_too(void **state)
{
    static const char *const filters[] = {"driver=raw", "driver=write-threshold", "driver=fault",
                                          "driver=copy-on-read"};
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=memory size=8M");
        stack_do("node-add name=near child=top %s", filters[seed / 3 % 4]);
        stack_do("node-add name=window child=near driver=raw");
        stack_do("backend-add name=far node=window");
        actor_addr far = stack_find("far");
        fill("b", 0, 8 * MIB, 9);
        stack_do(seed % 2 ? "commit b speed=1M" : "commit far id=b speed=1M");
        stack_settle(); /* a backend may hear of it a mail later than who asked */
        assert_int_equal(stack_run(far, OP_TRUNCATE, MIB, 0, 0), -EBUSY);
        stack_refused(-EBUSY, "resize is blocked on node 'top': job 'b' works on it",
                      "io-truncate far size=9M");
        stack_refused(-EBUSY, "eject is blocked on node 'top'", "medium-remove far");
        stack_refused(-EBUSY, "commit-source is blocked on node 'top'", "commit far id=second");
        stack_release("far");
        stack_refused(-EBUSY, "drive-del is blocked on node 'top'", "backend-remove far");
        stack_do("job-set b speed=0");
        job_run_out();
        assert_null(job_completed()->reason);
        stack_do("io-truncate far size=9M");
        stack_do("medium-remove far");
    }
}

static void what_is_blocked_on_a_filter_is_not_committed_through_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=memory size=8M");
        stack_do("node-add name=window child=top driver=raw");
        stack_do("backend-add name=far node=window");
        stack_do("op-block node=window op=commit-source reason='it is mine'");
        stack_refused(-EBUSY, "commit-source is blocked on node 'window': it is mine",
                      "commit far");
        stack_do("commit b");
        job_run_out();
        assert_null(job_completed()->reason);
    }
}

/* Its base would change under it. */
static void what_is_being_committed_gets_no_other_overlay_meanwhile(void **state)
{
    static const char *const bases[] = {"top", "lower", "store", "window"};
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory name=store size=8M");
        add_stack("driver=fault child=store");
        stack_do("node-add driver=raw name=window child=store");
        stack_do("node-add driver=memory name=other size=8M");
        fill("b", 0, 8 * MIB, 9);
        stack_do("commit b speed=1M");
        for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
            stack_refused(-EBUSY, "external-snapshot is blocked on node",
                          "node-add driver=overlay name=late child=other backing=%s", bases[i]);
            stack_refused(-EBUSY, "job 'b' works on it",
                          "backend-add name=own driver=overlay child=other backing=%s", bases[i]);
        }
        stack_do("node-remove window"); /* what is blocked is below it */
        stack_do("job-set b speed=0");
        job_run_out();
        stack_do("node-add driver=overlay name=late child=other backing=lower");
    }
}

/* --- While others write */

#define AREAS 8 /* that are written to at once */

struct model {
    unsigned char *data; /* SIZE bytes */
    uint64_t random;
    struct stack_op ops[AREAS];
};

/* Writes somewhere into the area, without waiting. */
static void submit_one(struct model *model, actor_addr to, int area)
{
    uint64_t length = (random_next(&model->random) % 256 + 1) * 512;
    int64_t offset = area * (SIZE / AREAS);
    offset += (int64_t)(random_next(&model->random) % ((SIZE / AREAS - length) / 512) * 512);
    bool zeroes = random_next(&model->random) % 4 == 0;
    memset(model->data + offset, zeroes ? 0 : (int)(random_next(&model->random) % 255 + 1), length);
    stack_submit(&model->ops[area], to, zeroes ? OP_ZEROES : OP_WRITE, offset, length, 0,
                 model->data + offset);
}

static void await_all(struct model *model)
{
    for (int area = 0; area < AREAS; area++) {
        stack_await_op(&model->ops[area]);
        assert_int_equal(model->ops[area].ret, 0);
    }
}

static void compare(const struct model *model, actor_addr to)
{
    unsigned char *got = malloc(MIB);
    for (int64_t at = 0; at < SIZE; at += MIB) {
        struct stack_op op;
        stack_submit(&op, to, OP_READ, at, MIB, 0, got);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        assert_memory_equal(got, model->data + at, MIB);
    }
    free(got);
}

/* What else happens to the job. */
static void disturb(struct model *model)
{
    struct stack_answer answer;
    switch (random_next(&model->random) % 8) {
    case 0:
        stack_send(&answer, "job-pause b");
        break;
    case 1:
        stack_send(&answer, "job-resume b");
        break;
    case 2:
        stack_send(&answer, "job-cancel b");
        break;
    case 3:
        stack_send(&answer, "commit b speed=%dM on-error=stop",
                   (int)(random_next(&model->random) % 64 + 1));
        break;
    case 4:
        stack_send(&answer, random_next(&model->random) % 2
                                ? "node-set broken rules='write errno=EIO once'"
                                : "node-set broken rules='any delay=1ms probability=0.5'");
        break;
    case 5:
    case 6:
        stack_send(&answer, "commit b id=fast");
        break;
    default:
        return;
    }
    stack_await(&answer);
}

static void what_is_written_meanwhile_is_never_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 24; seed++) {
        stack_start(STACK_THREADS(seed), seed);
        struct model model = {.data = calloc(1, SIZE), .random = seed + 1};
        stack_do("node-add driver=memory name=upper size=8M");
        stack_do("node-add driver=memory name=base size=8M");
        stack_do("node-add driver=fault name=broken child=base");
        actor_addr b = stack_backend("top", "driver=overlay child=upper backing=broken", "");
        for (int i = 0; i < 60; i++) {
            disturb(&model);
            for (int area = 0; area < AREAS; area++) {
                submit_one(&model, b, area);
                for (uint64_t n = random_next(&model.random) % 8; n; n--)
                    stack_step();
            }
            await_all(&model);
            stack_pass(random_next(&model.random) % 100 * NS_PER_MS);
        }
        compare(&model, b);
        stack_do("node-set broken rules=");
        while (job_is_there()) {
            struct stack_answer answer;
            stack_send(&answer, "job-cancel b force=on");
            stack_await(&answer);
            stack_pass(NS_PER_MS);
        }
        stack_do("commit-all");
        compare(&model, b);
        stack_do("backend-add name=below node=base");
        compare(&model, stack_find("below"));
        assert_int_equal(allocated("b"), 0);
        free(model.data);
        stack_stop();
    }
}

/* The first chunk of the slice is in the backing when the second one fails; what is written there
 * before the slice is tried again must not be thought to be copied. */
/* Its region covered the backend before that had the medium, and it is the job that now is at it.
 */
static void who_holds_a_region_does_not_write_amid_a_slice_when_the_medium_comes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op write = {0};
        static char data[64 << 10];
        add_stack("driver=memory size=8M");
        fill("b", 0, 8 * MIB, 2);
        stack_do("backend-add name=late");
        actor_addr late = stack_find("late");
        uint64_t region = drained_begin(1, late, NULL);
        struct stack_answer committed, inserted;
        stack_send(&committed, "commit b");
        for (uint64_t steps = seed % 40; steps; steps--)
            stack_step();
        stack_send(&inserted, "medium-insert late top");
        memset(data, 3, sizeof data);
        do {
            stack_submit(&write, late, OP_WRITE, 0, sizeof data, STACK_HOLDER(1), data);
            stack_await_op(&write);
        } while (write.ret == -ENOMEDIUM);
        assert_int_equal(write.ret, 0);
        stack_await(&inserted);
        drained_end(region);
        job_run_out();
        assert_int_equal(filled("late", 0, sizeof data), 3);
        assert_int_equal(filled("late", sizeof data, 8 * MIB - sizeof data), 2);
    }
}

static void a_slice_that_has_failed_is_copied_from_its_start(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory name=upper size=8M");
        stack_do("node-add driver=memory name=lower size=8M");
        stack_do("node-add driver=fault name=broken child=lower rules='write errno=EIO nth=2'");
        stack_do("node-add driver=overlay name=top child=upper backing=broken");
        stack_do("backend-add name=b node=top");
        stack_do("backend-add name=below node=lower");
        fill("b", 0, 4 * MIB, 2);
        stack_do("commit b on-error=stop");
        stack_settle();
        const Sluice__JobInfo *job = stack_do("job-show b")->job;
        assert_int_equal(job->status, SLUICE__JOB_EVENT__STATUS__PAUSED);
        assert_int_equal(job->io_status, SLUICE__IO_STATUS__FAILED);
        assert_int_equal(filled("below", 0, MIB), 2);
        assert_int_equal(filled("below", MIB, MIB), 0);
        fill("b", 64 * KIB, 512 * KIB, 7);
        stack_do("job-resume b");
        job_run_out();
        for (unsigned i = 0; i < 2; i++) {
            const char *backend = i ? "below" : "b";
            assert_int_equal(filled(backend, 0, 64 * KIB), 2);
            assert_int_equal(filled(backend, 64 * KIB, 512 * KIB), 7);
            assert_int_equal(filled(backend, 576 * KIB, 4 * MIB - 576 * KIB), 2);
            assert_int_equal(filled(backend, 4 * MIB, 4 * MIB), 0);
        }
        assert_int_equal(allocated("b"), 0);
    }
}

static void an_overlay_is_emptied_only_of_what_is_durable_below(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=mock size=8M");
        fill("b", 0, 64 * KIB, 4);
        stack_do("node-set lower hold=on");
        stack_do("commit b");
        stack_settle();
        assert_int_equal(stack_do("node-show top")->node->n_blocked, 17);
        /* The write may go, and the look at what lies behind; then the flush comes. */
        stack_do("node-set lower release=1");
        stack_settle();
        stack_do("node-set lower release=2");
        stack_settle();
        const Sluice__NodeInfo *info = stack_do("node-show lower")->node;
        assert_string_equal(info->state[info->n_state - 1]->value, "flush 0+0");
        stack_do("node-set lower error=5");
        stack_do("node-set lower hold=off");
        job_run_out();
        stack_do("node-set lower error=0");
        assert_int_equal(filled("b", 0, 64 * KIB), 4);
        assert_int_equal(allocated("b"), 64 * KIB);
    }
}

/* --- All */

static void commit_all_merges_each_overlay(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack("driver=memory size=8M");
        stack_do("backend-add name=same node=top");
        stack_do("backend-add name=empty");
        stack_do("node-add driver=memory name=upper2 size=8M");
        stack_do("node-add driver=memory name=lower2 size=8M");
        stack_do("node-add driver=overlay name=top2 child=upper2 backing=lower2");
        stack_do("backend-add name=b2 node=top2");
        stack_do("backend-add name=below2 node=lower2");
        fill("b", MIB, MIB, 1);
        fill("b2", 2 * MIB, MIB, 2);
        stack_do("commit-all");
        assert_int_equal(filled("below", MIB, MIB), 1);
        assert_int_equal(filled("below2", 2 * MIB, MIB), 2);
        stack_do("commit-all");
        job_run_out();
    }
}

static void commit_all_stops_at_the_first_error(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory name=upper size=8M");
        stack_do("node-add driver=memory name=lower size=8M");
        stack_do("node-add driver=fault name=bad child=lower rules='write errno=EIO'");
        stack_do("node-add driver=overlay name=top child=upper backing=bad");
        stack_do("backend-add name=b node=top");
        stack_do("node-add driver=memory name=upper2 size=8M");
        stack_do("node-add driver=memory name=lower2 size=8M");
        stack_do("node-add driver=overlay name=top2 child=upper2 backing=lower2");
        stack_do("backend-add name=b2 node=top2");
        fill("b", MIB, MIB, 1);
        fill("b2", 2 * MIB, MIB, 2);
        stack_refused(-EIO, "writing its target failed", "commit-all");
        assert_int_equal(allocated("b2"), MIB);
        stack_do("node-set bad rules=");
        stack_do("op-block node=bad op=commit-target reason='it is wanted as it is'");
        stack_refused(-EBUSY, "it is wanted as it is", "commit-all");
        assert_int_equal(allocated("b2"), MIB);
        stack_do("op-unblock node=bad reason='it is wanted as it is'");
        uint64_t before = shown_sequence();
        stack_do("commit-all");
        assert_int_equal(allocated("b2"), 0);
        stack_settle();
        assert_non_null(strstr(stack_story(before + 1), "JOB_COMPLETED #commit"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_of_an_overlay_is_emptied_by_whole_blocks),
        cmocka_unit_test(what_the_backing_can_not_show_stays),
        cmocka_unit_test(what_the_overlay_has_goes_into_the_backing_and_the_overlay_is_empty),
        cmocka_unit_test(zeroes_are_made_as_zeroes),
        cmocka_unit_test(a_backing_that_is_shorter_grows),
        cmocka_unit_test(a_backing_that_is_to_grow_is_asked_for_resizes_and_no_other_is),
        cmocka_unit_test(
            what_a_backing_that_can_not_grow_has_no_room_for_stays_when_errors_are_ignored),
        cmocka_unit_test(an_overlay_below_filters_is_the_backends),
        cmocka_unit_test(a_commit_blocks_those_above_filters_too),
        cmocka_unit_test(what_is_blocked_on_a_filter_is_not_committed_through_it),
        cmocka_unit_test(what_is_being_committed_gets_no_other_overlay_meanwhile),
        cmocka_unit_test(what_is_written_meanwhile_is_never_lost),
        cmocka_unit_test(who_holds_a_region_does_not_write_amid_a_slice_when_the_medium_comes),
        cmocka_unit_test(a_slice_that_has_failed_is_copied_from_its_start),
        cmocka_unit_test(an_overlay_is_emptied_only_of_what_is_durable_below),
        cmocka_unit_test(commit_all_merges_each_overlay),
        cmocka_unit_test(commit_all_stops_at_the_first_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
