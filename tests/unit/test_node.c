/* What a node does for its driver: checks, splits, bounces, emulates; and its life.
 *
 * Under it is a driver defined here. It keeps its data in an array, notes every operation that
 * reaches it, checks that each is one that it declared to take, and can hold completions back. */
#include "node_rig.h"

#define LENGTH 65536

static struct {
    struct driver_facts facts;
    int open_ret;           /* fails the open */
    bool open_later;        /* completes it with script.opened only */
    bool hold;              /* completions, until release() */
    int fail_at, fail_with; /* the n-th operation from 1 on ends so; 0: none does */
    bool no_zeroes;         /* answers zeroes with -ENOTSUP */
    unsigned closed;
    /* What came. */
    char log[4000];
    int count;
    struct op_queue held;
    unsigned char data[2 * LENGTH];
    struct driver_node *node;
    driver_opened_fn *opened;
} script;

static void block_check(const struct driver_node *node, const struct op *op)
{
    const struct driver_facts *facts = &node->facts;
    uint64_t mask = facts->alignment - 1, sum = 0;
    uint64_t most = facts->max_transfer ? facts->max_transfer : INT32_MAX;
    bool moves = op->kind == OP_READ || op->kind == OP_WRITE;
    if (op->kind == OP_FLUSH || op->kind == OP_TRUNCATE)
        return;
    if (!moves && facts->max_zeroes)
        most = facts->max_zeroes;
    assert_true(op->bytes > 0 && op->bytes <= most);
    assert_int_equal(((uint64_t)op->offset | op->bytes) & mask, 0);
    assert_true(op->offset >= 0);
    if (!(op->flags & OP_BEYOND_END))
        assert_true(op->offset + (int64_t)op->bytes <= facts->length);
    else
        assert_true(facts->can & DRIVER_CAN_GROW && op->kind != OP_READ);
    if (op->flags & OP_FUA)
        assert_true(facts->can & DRIVER_CAN_FUA && op->kind != OP_READ);
    if (op->flags & OP_MAY_UNMAP)
        assert_true(facts->can & DRIVER_CAN_UNMAP);
    assert_int_equal(op->flags & OP_PREALLOC_FULL, 0);
    if (!moves)
        return;
    assert_true(op->niov <= (facts->max_vector ? facts->max_vector : 1024));
    for (unsigned i = 0; i < op->niov; i++) {
        assert_int_equal(
            ((uintptr_t)op->iov[i].iov_base | op->iov[i].iov_len) & (mask < 4095 ? mask : 4095), 0);
        sum += op->iov[i].iov_len;
    }
    assert_int_equal(sum, op->bytes);
}

static void block_perform(struct driver_node *node, struct op *op)
{
    unsigned char *at = script.data + op->offset;
    int64_t end = op->offset + (int64_t)op->bytes;
    if (op->kind == OP_ZEROES)
        memset(at, 0, op->bytes);
    for (unsigned i = 0; (op->kind == OP_READ || op->kind == OP_WRITE) && i < op->niov; i++) {
        if (op->kind == OP_READ)
            memcpy(op->iov[i].iov_base, at, op->iov[i].iov_len);
        else
            memcpy(at, op->iov[i].iov_base, op->iov[i].iov_len);
        at += op->iov[i].iov_len;
    }
    if (op->kind == OP_TRUNCATE)
        end = op->offset;
    if (op->kind == OP_TRUNCATE || end > node->facts.length) {
        node->facts.length = end;
        driver_changed(node);
    }
}

static void block_end(struct op *op)
{
    int ret = 0;
    if (script.fail_at && ++script.count >= script.fail_at)
        ret = script.fail_with;
    else if (op->kind == OP_ZEROES && script.no_zeroes)
        ret = -ENOTSUP;
    else
        block_perform(script.node, op);
    op_complete(op, ret);
}

static void block_submit(struct driver_node *node, struct op *op)
{
    static const char kinds[] = {[OP_READ] = 'R',    [OP_WRITE] = 'W', [OP_ZEROES] = 'Z',
                                 [OP_DISCARD] = 'D', [OP_FLUSH] = 'F', [OP_TRUNCATE] = 'T'};
    block_check(node, op);
    size_t used = strlen(script.log);
    snprintf(script.log + used, sizeof(script.log) - used, "%s%c%ld+%lu%s%s", used ? " " : "",
             kinds[op->kind], (long)op->offset, (unsigned long)op->bytes,
             op->flags & OP_FUA ? "!" : "", op->flags & OP_MAY_UNMAP ? "u" : "");
    if (script.hold)
        op_enqueue(&script.held, op);
    else
        block_end(op);
}

static void block_open(struct driver_node *node, driver_opened_fn *opened)
{
    node->facts = script.facts;
    script.node = node;
    script.opened = opened;
    if (!script.open_later)
        opened(node, script.open_ret, NULL);
}

static void block_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    script.closed++;
    closed(node);
}

static const struct option block_options[] = {
    {.name = "flavour", .type = OPTION_STRING, .preset = "vanilla"},
    {0},
};

static const struct driver driver_block = {
    .name = "block",
    .help = "for this test",
    .options = block_options,
    .open = block_open,
    .close = block_close,
    .submit = block_submit,
};

/* Instead of drivers.c. */
extern const struct driver driver_null;
const struct driver *const drivers[] = {&driver_block, &driver_null, NULL};

const struct driver *driver_find(const char *name)
{
    for (int i = 0; drivers[i]; i++)
        if (!strcmp(drivers[i]->name, name))
            return drivers[i];
    return NULL;
}

#define CAN_ALL                                                                                    \
    (DRIVER_CAN_DISCARD | DRIVER_CAN_ZEROES | DRIVER_CAN_FUA | DRIVER_CAN_RESIZE |                 \
     DRIVER_CAN_FLUSH | DRIVER_CAN_GROW | DRIVER_CAN_UNMAP)

static actor_addr node;
static _Alignas(4096) unsigned char buffer[LENGTH];

static int fresh(void **state)
{
    memset(&script, 0, sizeof(script));
    op_queue_init(&script.held);
    for (int i = 0; i < LENGTH; i++)
        script.data[i] = (unsigned char)(i / 100 + 1);
    memset(buffer, 'B', sizeof(buffer));
    script.facts = (struct driver_facts){.length = LENGTH, .alignment = 1, .can = CAN_ALL};
    return rig_setup(state);
}

static void open_block(void)
{
    node = rig_open("b", "block", 0, "");
}

static void end_held(void *arg)
{
    unsigned n = *(unsigned *)arg;
    while (n-- && script.held.head)
        block_end(op_dequeue(&script.held));
}

static void release(unsigned n)
{
    rig_run();
    rig_at(node, end_held, &n);
    rig_run();
}

static void end_open(void *arg)
{
    (void)arg;
    script.opened(script.node, 0, NULL);
}

/* What reached the driver since the last time. */
static void assert_came(const char *expected)
{
    assert_string_equal(script.log, expected);
    script.log[0] = '\0';
}

static bool original(int64_t offset, uint64_t bytes)
{
    for (uint64_t i = (uint64_t)offset; i < (uint64_t)offset + bytes; i++)
        if (script.data[i] != (unsigned char)(i / 100 + 1))
            return false;
    return true;
}

static int64_t io(enum op_kind kind, int64_t offset, uint64_t bytes, unsigned flags)
{
    return rig_io(node, kind, offset, buffer, bytes, flags);
}

/* --- Checks */

static void what_fits_reaches_the_driver_as_it_is(void **state)
{
    (void)state;
    open_block();
    assert_int_equal(io(OP_WRITE, 1, 4099, OP_FUA), 0);
    assert_int_equal(io(OP_READ, 0, LENGTH, 0), 0);
    assert_int_equal(io(OP_ZEROES, 5, 10, OP_MAY_UNMAP), 0);
    assert_int_equal(io(OP_DISCARD, 7, 11, 0), 0);
    assert_int_equal(io(OP_FLUSH, 0, 0, 0), 0);
    assert_int_equal(io(OP_TRUNCATE, 100, 0, 0), 0);
    assert_came("W1+4099! R0+65536 Z5+10u D7+11 F0+0 T100+0");
    rig_close(node);
}

static void what_lies_outside_is_refused_before_the_driver(void **state)
{
    (void)state;
    open_block();
    static const enum op_kind kinds[] = {OP_READ, OP_WRITE, OP_ZEROES, OP_DISCARD};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(io(kinds[i], -1, 10, 0), -EIO);
        assert_int_equal(io(kinds[i], -5, 5, 0), -EIO);
        assert_int_equal(io(kinds[i], LENGTH, 1, 0), -EIO);
        assert_int_equal(io(kinds[i], LENGTH - 5, 6, 0), -EIO);
        assert_int_equal(io(kinds[i], INT64_MAX, 6, 0), -EIO);
        assert_int_equal(io(kinds[i], LENGTH, 0, 0), 0);
        assert_int_equal(io(kinds[i], LENGTH + 1, 0, 0), -EIO);
    }
    assert_int_equal(io(OP_ZEROES, 5, UINT64_MAX, 0), -EIO);
    assert_int_equal(io(OP_TRUNCATE, -1, 0, 0), -EINVAL);
    assert_came("");
    rig_close(node);
}

static void a_read_only_node_refuses_what_changes_it(void **state)
{
    (void)state;
    script.facts.read_only = true;
    open_block();
    assert_int_equal(io(OP_READ, 0, 10, 0), 0);
    assert_int_equal(io(OP_WRITE, 0, 10, 0), -EPERM);
    assert_int_equal(io(OP_ZEROES, 0, 10, 0), -EPERM);
    assert_int_equal(io(OP_DISCARD, 0, 10, 0), -EPERM);
    assert_int_equal(io(OP_TRUNCATE, 0, 0, 0), -EACCES);
    assert_int_equal(io(OP_FLUSH, 0, 0, 0), 0);
    assert_came("R0+10 F0+0");
    rig_close(node);
}

static void a_length_that_can_t_be_told_is_the_request_s_error(void **state)
{
    (void)state;
    script.facts.length = -ENODEV;
    open_block();
    assert_int_equal(io(OP_READ, 0, 10, 0), -ENODEV);
    assert_int_equal(io(OP_WRITE, 0, 10, 0), -ENODEV);
    assert_came("");
    rig_close(node);
}

static void an_unknown_kind_is_refused(void **state)
{
    (void)state;
    open_block();
    assert_int_equal(io(0, 0, 10, 0), -ENOTSUP);
    rig_close(node);
}

static void what_the_driver_can_t_do_is_enotsup(void **state)
{
    (void)state;
    script.facts.can = 0;
    open_block();
    assert_int_equal(io(OP_DISCARD, 0, 10, 0), -ENOTSUP);
    assert_int_equal(io(OP_TRUNCATE, 0, 0, 0), -ENOTSUP);
    assert_int_equal(io(OP_ZEROES, 0, 10, OP_NO_FALLBACK), -ENOTSUP);
    assert_int_equal(io(OP_WRITE, LENGTH - 5, 10, OP_BEYOND_END), -EIO);
    assert_int_equal(io(OP_FLUSH, 0, 0, 0), 0);
    assert_came("");
    rig_close(node);
}

/* --- Beyond the end */

static void a_read_beyond_the_end_gives_zeroes_there(void **state)
{
    (void)state;
    open_block();
    assert_int_equal(io(OP_READ, LENGTH - 100, 300, OP_BEYOND_END), 0);
    assert_memory_equal(buffer, script.data + LENGTH - 100, 100);
    assert_true(rig_all(buffer + 100, 200, 0));
    assert_true(rig_all(buffer + 300, 100, 'B'));
    assert_came("R65436+100");
    memset(buffer, 'B', 300);
    assert_int_equal(io(OP_READ, LENGTH + 1000, 300, OP_BEYOND_END), 0);
    assert_true(rig_all(buffer, 300, 0));
    assert_came("");
    rig_close(node);
}

static void a_write_beyond_the_end_grows_and_the_watchers_are_told(void **state)
{
    (void)state;
    open_block();
    rig_watch(node, true);
    assert_int_equal(io(OP_WRITE, LENGTH - 10, 20, OP_BEYOND_END), 0);
    rig_run();
    assert_int_equal(rig.told, 1);
    assert_int_equal(rig.change.length, LENGTH + 10);
    assert_int_equal(io(OP_WRITE, LENGTH, 10, 0), 0);
    assert_int_equal(rig.told, 1);
    rig_close(node);
}

/* --- Splitting */

static void long_requests_are_split(void **state)
{
    (void)state;
    script.facts.max_transfer = 4096;
    script.facts.max_zeroes = 10000;
    open_block();
    assert_int_equal(io(OP_READ, 100, 10000, 0), 0);
    assert_came("R100+4096 R4196+4096 R8292+1808");
    assert_memory_equal(buffer, script.data + 100, 10000);
    assert_int_equal(io(OP_WRITE, 0, 8192, OP_FUA), 0);
    assert_came("W0+4096! W4096+4096!");
    assert_int_equal(io(OP_ZEROES, 1, 25000, 0), 0);
    assert_came("Z1+10000 Z10001+10000 Z20001+5000");
    assert_int_equal(io(OP_DISCARD, 1, 25000, 0), 0);
    assert_came("D1+10000 D10001+10000 D20001+5000");
    rig_close(node);
}

static void long_vectors_are_split_between_and_inside_entries(void **state)
{
    (void)state;
    struct rig_op op;
    script.facts.max_vector = 3;
    script.facts.max_transfer = 1000;
    open_block();
    static const size_t lengths[] = {100, 0, 200, 300, 50, 2500, 0, 70};
    unsigned char *at = buffer;
    for (int i = 0; i < 8; at += lengths[i++])
        op.iov[i] = (struct iovec){at, lengths[i]};
    assert_int_equal(rig_io_v(&op, node, OP_READ, 10, 8, 0), 0);
    assert_came("R10+300 R310+350 R660+1000 R1660+1000 R2660+500 R3160+70");
    assert_memory_equal(buffer, script.data + 10, 3220);
    memset(buffer, 'v', 3220);
    assert_int_equal(rig_io_v(&op, node, OP_WRITE, 10, 8, 0), 0);
    assert_true(rig_all(script.data + 10, 3220, 'v') && original(3230, 1000) && original(0, 10));
    rig_close(node);
}

static void a_request_of_very_many_pieces_does_not_grow_the_stack(void **state)
{
    (void)state;
    static unsigned char big[LENGTH];
    script.facts.max_transfer = 1;
    open_block();
    assert_int_equal(rig_io(node, OP_WRITE, 0, big, LENGTH, 0), 0);
    assert_true(rig_all(script.data, LENGTH, 0));
    rig_close(node);
}

static void a_piece_that_fails_ends_the_request(void **state)
{
    (void)state;
    script.facts.max_transfer = 4096;
    script.fail_at = 2;
    script.fail_with = -ENOSPC;
    open_block();
    assert_int_equal(io(OP_WRITE, 0, 16384, 0), -ENOSPC);
    assert_came("W0+4096 W4096+4096");
    rig_close(node);
}

/* --- Alignment */

static void unaligned_reads_go_through_one_aligned_buffer(void **state)
{
    (void)state;
    script.facts.alignment = 512;
    open_block();
    assert_int_equal(io(OP_READ, 700, 1000, 0), 0);
    assert_came("R512+1536");
    assert_memory_equal(buffer, script.data + 700, 1000);
    assert_true(rig_all(buffer + 1000, 100, 'B'));
    assert_int_equal(rig_io(node, OP_READ, 512, buffer + 1, 1024, 0), 0);
    assert_came("R512+1024");
    assert_memory_equal(buffer + 1, script.data + 512, 1024);
    assert_int_equal(io(OP_READ, 1024, 512, 0), 0);
    assert_came("R1024+512");
    rig_close(node);
}

static void unaligned_writes_read_the_blocks_that_they_change_in_part(void **state)
{
    (void)state;
    script.facts.alignment = 512;
    open_block();
    assert_int_equal(io(OP_WRITE, 700, 2000, 0), 0);
    assert_came("R512+512 W512+512 W1024+1536 R2560+512 W2560+512");
    assert_true(original(0, 700) && rig_all(script.data + 700, 2000, 'B') && original(2700, 5000));
    assert_int_equal(io(OP_WRITE, 5000, 7, OP_FUA), 0);
    assert_came("R4608+512 W4608+512!");
    assert_true(original(2700, 2300) && rig_all(script.data + 5000, 7, 'B') &&
                original(5007, 2300));
    assert_int_equal(io(OP_WRITE, 512, 1024, 0), 0);
    assert_came("W512+1024");
    rig_close(node);
}

static void vectors_of_unaligned_memory_are_bounced(void **state)
{
    (void)state;
    struct rig_op op;
    script.facts.alignment = 512;
    open_block();
    op.iov[0] = (struct iovec){buffer, 512};
    op.iov[1] = (struct iovec){buffer + 1000, 300};
    op.iov[2] = (struct iovec){buffer + 2000, 212};
    op.iov[3] = (struct iovec){buffer + 4096, 1024};
    assert_int_equal(rig_io_v(&op, node, OP_READ, 0, 4, 0), 0);
    assert_memory_equal(buffer, script.data, 512);
    assert_memory_equal(buffer + 1000, script.data + 512, 300);
    assert_memory_equal(buffer + 2000, script.data + 812, 212);
    assert_memory_equal(buffer + 4096, script.data + 1024, 1024);
    assert_true(rig_all(buffer + 512, 488, 'B') && rig_all(buffer + 1300, 700, 'B') &&
                rig_all(buffer + 2212, 1884, 'B'));
    rig_close(node);
}

static void zeroes_of_parts_of_blocks_keep_the_rest(void **state)
{
    (void)state;
    script.facts.alignment = 512;
    open_block();
    assert_int_equal(io(OP_ZEROES, 700, 2000, 0), 0);
    assert_came("R512+512 W512+512 Z1024+1536 R2560+512 W2560+512");
    assert_true(original(0, 700) && rig_all(script.data + 700, 2000, 0) && original(2700, 5000));
    assert_int_equal(io(OP_ZEROES, 700, 2000, OP_NO_FALLBACK), -ENOTSUP);
    assert_came("");
    rig_close(node);
}

static void discards_shrink_to_whole_blocks(void **state)
{
    (void)state;
    script.facts.alignment = 512;
    open_block();
    assert_int_equal(io(OP_DISCARD, 700, 2000, 0), 0);
    assert_came("D1024+1536");
    assert_int_equal(io(OP_DISCARD, 700, 300, 0), 0);
    assert_came("");
    rig_close(node);
}

static void a_block_beyond_the_end_is_not_read_before_it_is_written(void **state)
{
    (void)state;
    script.facts.alignment = 512;
    open_block();
    assert_int_equal(io(OP_WRITE, LENGTH + 100, 10, OP_BEYOND_END), 0);
    assert_came("W65536+512");
    assert_true(rig_all(script.data + LENGTH, 100, 0) &&
                rig_all(script.data + LENGTH + 100, 10, 'B') &&
                rig_all(script.data + LENGTH + 110, 402, 0));
    rig_close(node);
}

static void a_read_that_fails_under_a_write_fails_it(void **state)
{
    (void)state;
    script.facts.alignment = 512;
    script.fail_at = 1;
    script.fail_with = -EIO;
    open_block();
    assert_int_equal(io(OP_WRITE, 1, 1, 0), -EIO);
    assert_came("R0+512");
    rig_close(node);
}

static void writes_into_one_block_do_not_lose_each_other(void **state)
{
    (void)state;
    struct rig_op ops[4];
    script.facts.alignment = 512;
    script.hold = true;
    open_block();
    memset(buffer, 'a', 100);
    memset(buffer + 100, 'b', 100);
    memset(buffer + 200, 'c', 100);
    rig_start(&ops[0], node, OP_WRITE, 0, buffer, 100, 0);
    rig_start(&ops[1], node, OP_WRITE, 100, buffer + 100, 100, 0);
    rig_start(&ops[2], node, OP_WRITE, 450, buffer + 200, 100, 0); /* in two blocks */
    rig_start(&ops[3], node, OP_WRITE, 600, buffer, 10, 0);        /* in the second */
    rig_run();
    assert_came("R0+512");
    release(1);
    assert_came("W0+512");
    assert_false(ops[0].done);
    release(1);
    assert_true(ops[0].done);
    assert_came("R0+512");
    release(1000);
    assert_true(ops[1].done && ops[2].done && ops[3].done);
    assert_came("W0+512 R0+512 W0+512 R512+512 W512+512 R512+512 W512+512");
    assert_true(rig_all(script.data, 100, 'a') && rig_all(script.data + 100, 100, 'b') &&
                original(200, 250) && rig_all(script.data + 450, 100, 'c') && original(550, 50) &&
                rig_all(script.data + 600, 10, 'a') && original(610, 500));
    rig_close(node);
}

static void whole_blocks_wait_only_for_what_changes_a_part_of_them(void **state)
{
    (void)state;
    struct rig_op ops[5];
    script.facts.alignment = 512;
    script.hold = true;
    open_block();
    rig_start(&ops[0], node, OP_WRITE, 0, buffer, 1024, 0);
    rig_start(&ops[1], node, OP_WRITE, 512, buffer, 1024, 0); /* overlaps; nobody minds */
    rig_start(&ops[2], node, OP_WRITE, 600, buffer, 10, 0);   /* waits for both */
    rig_start(&ops[3], node, OP_WRITE, 512, buffer, 512, 0);  /* waits for that */
    rig_start(&ops[4], node, OP_WRITE, 4096, buffer, 512, 0); /* waits for nobody */
    rig_run();
    assert_came("W0+1024 W512+1024 W4096+512");
    release(1);
    assert_came("");
    release(1);
    assert_came("R512+512");
    release(2);
    assert_true(ops[4].done);
    assert_came("W512+512");
    release(1);
    assert_true(ops[2].done && !ops[3].done);
    assert_came("W512+512");
    release(1);
    assert_true(ops[3].done);
    rig_close(node);
}

static void a_write_that_waited_goes_on_when_the_first_fails(void **state)
{
    (void)state;
    struct rig_op ops[2];
    script.facts.alignment = 512;
    script.hold = true;
    open_block();
    rig_start(&ops[0], node, OP_WRITE, 0, buffer, 100, 0);
    rig_start(&ops[1], node, OP_WRITE, 100, buffer, 100, 0);
    script.fail_at = 1;
    script.fail_with = -EIO;
    release(1);
    assert_true(ops[0].done && ops[0].ret == -EIO);
    script.fail_at = 0;
    release(10);
    assert_true(ops[1].done && ops[1].ret == 0);
    assert_true(rig_all(script.data + 100, 100, 'B') && original(0, 100));
    rig_close(node);
}

/* --- Emulation */

static void zeroes_are_written_when_the_driver_has_none(void **state)
{
    (void)state;
    script.facts.can &= ~(unsigned)DRIVER_CAN_ZEROES;
    script.facts.max_transfer = 8192;
    open_block();
    assert_int_equal(io(OP_ZEROES, 100, 20000, OP_MAY_UNMAP | OP_FUA), 0);
    assert_came("W100+8192! W8292+8192! W16484+3616!");
    assert_true(original(0, 100) && rig_all(script.data + 100, 20000, 0) && original(20100, 1000));
    rig_close(node);
}

static void zeroes_are_written_when_the_driver_answers_enotsup(void **state)
{
    (void)state;
    script.no_zeroes = true;
    open_block();
    assert_int_equal(io(OP_ZEROES, 100, 200, OP_FUA), 0);
    assert_came("Z100+200! W100+200!");
    assert_true(rig_all(script.data + 100, 200, 0) && original(300, 100));
    assert_int_equal(io(OP_ZEROES, 1000, 200, OP_NO_FALLBACK), -ENOTSUP);
    assert_came("Z1000+200");
    rig_close(node);
}

static void fua_is_a_flush_after_the_write_when_the_driver_has_none(void **state)
{
    (void)state;
    struct rig_op op;
    script.facts.can &= ~(unsigned)DRIVER_CAN_FUA;
    script.facts.max_transfer = 4096;
    script.hold = true;
    open_block();
    rig_start(&op, node, OP_WRITE, 0, buffer, 8192, OP_FUA);
    release(1);
    release(1);
    assert_came("W0+4096 W4096+4096 F0+0");
    assert_false(op.done);
    release(1);
    assert_true(op.done && op.ret == 0);
    script.hold = false;
    assert_int_equal(io(OP_ZEROES, 0, 10, OP_FUA), 0);
    assert_came("Z0+10 F0+0");
    assert_int_equal(io(OP_WRITE, 0, 10, 0), 0);
    assert_came("W0+10");
    script.fail_at = 2;
    script.fail_with = -EIO;
    assert_int_equal(io(OP_WRITE, 0, 10, OP_FUA), -EIO);
    rig_close(node);
}

static void fua_needs_no_flush_when_nothing_is_cached(void **state)
{
    (void)state;
    script.facts.can &= ~(unsigned)(DRIVER_CAN_FUA | DRIVER_CAN_FLUSH);
    open_block();
    assert_int_equal(io(OP_WRITE, 0, 10, OP_FUA), 0);
    assert_came("W0+10");
    rig_close(node);
}

static void may_unmap_is_dropped_when_it_makes_no_difference(void **state)
{
    (void)state;
    script.facts.can &= ~(unsigned)DRIVER_CAN_UNMAP;
    open_block();
    assert_int_equal(io(OP_ZEROES, 0, 10, OP_MAY_UNMAP), 0);
    assert_came("Z0+10");
    rig_close(node);
}

static void full_preallocation_writes_the_growth(void **state)
{
    (void)state;
    open_block();
    assert_int_equal(io(OP_TRUNCATE, LENGTH + 1000, 0, OP_PREALLOC_FULL), 0);
    assert_came("T66536+0 W65536+1000");
    assert_int_equal(io(OP_TRUNCATE, 10, 0, OP_PREALLOC_FULL), -EINVAL);
    assert_int_equal(io(OP_TRUNCATE, 10, 0, OP_PREALLOC_FALLOC), -EINVAL);
    assert_came("");
    rig_close(node);
}

static void a_preallocation_that_fails_is_undone(void **state)
{
    (void)state;
    script.hold = true;
    open_block();
    struct rig_op op;
    rig_start(&op, node, OP_TRUNCATE, LENGTH + 1000, NULL, 0, OP_PREALLOC_FULL);
    release(1);
    script.fail_at = 1;
    script.fail_with = -ENOSPC;
    release(1);
    script.fail_at = 0;
    release(1);
    assert_true(op.done);
    assert_int_equal(op.ret, -ENOSPC);
    assert_came("T66536+0 W65536+1000 T65536+0");
    assert_int_equal(script.node->facts.length, LENGTH);
    rig_close(node);
}

/* --- Life */

static void an_open_is_answered_when_the_driver_is_open(void **state)
{
    (void)state;
    script.open_later = true;
    struct rig_answer opened;
    actor_addr late = rig_spawn(&node_type, "late");
    rig_post(&opened, late, MAIL_NODE_OPEN, rig_spec("late", "block", 0, "flavour=mint"));
    rig_run();
    assert_false(opened.came);
    assert_int_equal(rig_io(late, OP_READ, 0, buffer, 10, 0), -ENXIO);
    rig_at(late, end_open, NULL);
    rig_until(&opened.came);
    assert_int_equal(opened.kind, MAIL_NODE_FACTS);
    assert_int_equal(rig_io(late, OP_READ, 0, buffer, 10, 0), 0);
    Sluice__NodeOpen *again = rig_spec("late", "block", 0, "");
    assert_int_equal(rig_ask(late, MAIL_NODE_OPEN, again).err.code, -EBUSY);
    rig_close(late);
    assert_int_equal(script.closed, 1);
}

static void a_close_during_the_open_waits_for_it(void **state)
{
    (void)state;
    script.open_later = true;
    struct rig_answer opened, closed;
    actor_addr late = rig_spawn(&node_type, "late");
    rig_post(&opened, late, MAIL_NODE_OPEN, rig_spec("late", "block", 0, ""));
    rig_run();
    rig_post(&closed, late, MAIL_CLOSE, MAIL_NEW(sluice__close));
    rig_run();
    assert_false(opened.came || closed.came);
    rig_at(late, end_open, NULL);
    rig_run();
    assert_true(opened.came && closed.came);
    assert_int_equal(closed.kind, MAIL_NONE);
    assert_int_equal(script.closed, 1);
    assert_int_equal(rig_io(late, OP_READ, 0, buffer, 10, 0), -ENXIO);
}

static void a_failed_open_is_told_and_leaves_nothing_to_close(void **state)
{
    (void)state;
    script.open_ret = -EIO;
    assert_int_equal(rig_try("b", "block", 0, ""), 0);
    assert_int_equal(rig.err.code, -EIO);
    assert_string_equal(rig.err.text, "node b can't be opened: Input/output error");
    assert_int_equal(script.closed, 0);
    assert_int_equal(rig_try("b", "floppy", 0, ""), 0);
    assert_string_equal(rig.err.text, "there is no driver 'floppy'; the drivers are block, null");
    assert_string_equal(rig.err.field, "driver");
}

static void a_close_waits_for_what_is_in_flight_and_lets_nothing_new_in(void **state)
{
    (void)state;
    struct rig_op op;
    struct rig_answer closed;
    script.hold = true;
    script.facts.max_transfer = 100;
    open_block();
    rig_start(&op, node, OP_WRITE, 0, buffer, 150, 0);
    rig_post(&closed, node, MAIL_CLOSE, MAIL_NEW(sluice__close));
    rig_run();
    assert_int_equal(io(OP_READ, 0, 10, 0), -ENXIO);
    assert_int_equal(io(OP_FLUSH, 0, 0, 0), -ENXIO);
    release(1);
    assert_false(closed.came);
    assert_int_equal(script.closed, 0);
    release(1);
    assert_true(op.done && op.ret == 0);
    assert_true(closed.came);
    assert_int_equal(closed.kind, MAIL_NONE);
    assert_int_equal(script.closed, 1);
}

static void a_description_tells_what_is_in_force(void **state)
{
    (void)state;
    script.facts.alignment = 4096;
    script.facts.can = DRIVER_CAN_DISCARD | DRIVER_CAN_FLUSH;
    open_block();
    const Sluice__NodeInfo *info = rig_describe(node);
    assert_string_equal(info->name, "b");
    assert_string_equal(info->driver, "block");
    assert_int_equal(info->length, LENGTH);
    assert_int_equal(info->alignment, 4096);
    assert_false(info->read_only);
    assert_int_equal(info->max_transfer, 0x7ffff000);
    assert_int_equal(info->n_can, 2);
    assert_string_equal(info->can[0], "discard");
    assert_string_equal(info->can[1], "flush");
    assert_int_equal(info->n_options, 1);
    assert_string_equal(info->options[0]->key, "flavour");
    assert_string_equal(info->options[0]->value, "vanilla");
    rig_close(node);
}

static void facts_survive_the_way_through_a_message(void **state)
{
    (void)state;
    struct driver_facts facts = {.length = -5,
                                 .alignment = 512,
                                 .max_transfer = 1 << 20,
                                 .optimal_transfer = 4096,
                                 .max_vector = 7,
                                 .read_only = true,
                                 .can = CAN_ALL},
                        back;
    Sluice__NodeFacts message;
    node_facts_to_message(&facts, &message);
    node_facts_from_message(&message, &back);
    assert_int_equal(back.length, -5);
    assert_int_equal(back.alignment, 512);
    assert_int_equal(back.max_transfer, 1 << 20);
    assert_int_equal(back.optimal_transfer, 4096);
    assert_int_equal(back.max_vector, 7);
    assert_true(back.read_only);
    assert_int_equal(back.can, CAN_ALL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, rig_teardown)

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        TEST(what_fits_reaches_the_driver_as_it_is),
        TEST(what_lies_outside_is_refused_before_the_driver),
        TEST(a_read_only_node_refuses_what_changes_it),
        TEST(a_length_that_can_t_be_told_is_the_request_s_error),
        TEST(an_unknown_kind_is_refused),
        TEST(what_the_driver_can_t_do_is_enotsup),
        TEST(a_read_beyond_the_end_gives_zeroes_there),
        TEST(a_write_beyond_the_end_grows_and_the_watchers_are_told),
        TEST(long_requests_are_split),
        TEST(long_vectors_are_split_between_and_inside_entries),
        TEST(a_request_of_very_many_pieces_does_not_grow_the_stack),
        TEST(a_piece_that_fails_ends_the_request),
        TEST(unaligned_reads_go_through_one_aligned_buffer),
        TEST(unaligned_writes_read_the_blocks_that_they_change_in_part),
        TEST(vectors_of_unaligned_memory_are_bounced),
        TEST(zeroes_of_parts_of_blocks_keep_the_rest),
        TEST(discards_shrink_to_whole_blocks),
        TEST(a_block_beyond_the_end_is_not_read_before_it_is_written),
        TEST(a_read_that_fails_under_a_write_fails_it),
        TEST(writes_into_one_block_do_not_lose_each_other),
        TEST(whole_blocks_wait_only_for_what_changes_a_part_of_them),
        TEST(a_write_that_waited_goes_on_when_the_first_fails),
        TEST(zeroes_are_written_when_the_driver_has_none),
        TEST(zeroes_are_written_when_the_driver_answers_enotsup),
        TEST(fua_is_a_flush_after_the_write_when_the_driver_has_none),
        TEST(fua_needs_no_flush_when_nothing_is_cached),
        TEST(may_unmap_is_dropped_when_it_makes_no_difference),
        TEST(full_preallocation_writes_the_growth),
        TEST(a_preallocation_that_fails_is_undone),
        TEST(an_open_is_answered_when_the_driver_is_open),
        TEST(a_close_during_the_open_waits_for_it),
        TEST(a_failed_open_is_told_and_leaves_nothing_to_close),
        TEST(a_close_waits_for_what_is_in_flight_and_lets_nothing_new_in),
        TEST(a_description_tells_what_is_in_force),
        TEST(facts_survive_the_way_through_a_message),
    };
    while (rig_next_seed(12))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
