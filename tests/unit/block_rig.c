#include "block_rig.h"

struct block_rig block;

/* --- The driver */

static void check(const struct driver_node *node, const struct op *op)
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
    assert_int_equal((op->flags & OP_PREALLOC) == OP_PREALLOC_FULL, false);
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

static void perform(struct driver_node *node, struct op *op)
{
    unsigned char *at = block.data + op->offset;
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

static void end(struct op *op)
{
    int ret = 0;
    if (block.fail_at && ++block.count >= block.fail_at)
        ret = block.fail_with;
    else if (op->kind == OP_ZEROES && block.no_zeroes)
        ret = -ENOTSUP;
    else
        perform(block.driver, op);
    op_complete(op, ret);
}

static void on_submit(struct driver_node *node, struct op *op)
{
    static const char kinds[] = {[OP_READ] = 'R',    [OP_WRITE] = 'W', [OP_ZEROES] = 'Z',
                                 [OP_DISCARD] = 'D', [OP_FLUSH] = 'F', [OP_TRUNCATE] = 'T'};
    check(node, op);
    size_t used = strlen(block.log);
    snprintf(block.log + used, sizeof(block.log) - used, "%s%c%ld+%lu%s%s", used ? " " : "",
             kinds[op->kind], (long)op->offset, (unsigned long)op->bytes,
             op->flags & OP_FUA ? "!" : "", op->flags & OP_MAY_UNMAP ? "u" : "");
    if (block.hold)
        op_enqueue(&block.held, op);
    else
        end(op);
}

static void on_open(struct driver_node *node, driver_opened_fn *opened)
{
    node->facts = block.facts;
    block.driver = node;
    block.opened = opened;
    if (!block.open_later)
        opened(node, block.open_ret, NULL);
}

static void on_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    block.closed++;
    closed(node);
}

static const struct option options[] = {
    {.name = "flavour", .type = OPTION_STRING, .preset = "vanilla"},
    {0},
};

const struct driver driver_block = {
    .name = "block",
    .help = "for this test",
    .options = options,
    .open = on_open,
    .close = on_close,
    .submit = on_submit,
};

/* --- The node */

int block_setup(void **state)
{
    memset(&block, 0, sizeof(block));
    op_queue_init(&block.held);
    for (int i = 0; i < LENGTH; i++)
        block.data[i] = (unsigned char)(i / 100 + 1);
    memset(block.buffer, 'B', sizeof(block.buffer));
    block.facts = (struct driver_facts){.length = LENGTH, .alignment = 1, .can = CAN_ALL};
    return rig_setup(state);
}

void block_open(void)
{
    block.node = rig_open("b", "block", 0, "");
}

static void end_held(void *arg)
{
    unsigned n = *(unsigned *)arg;
    while (n-- && block.held.head)
        end(op_dequeue(&block.held));
}

void block_release(unsigned n)
{
    rig_run();
    rig_at(block.node, end_held, &n);
    rig_run();
}

static void end_open(void *arg)
{
    (void)arg;
    block.opened(block.driver, 0, NULL);
}

void block_end_open(actor_addr node)
{
    rig_at(node, end_open, NULL);
}

void block_assert_came(const char *expected)
{
    assert_string_equal(block.log, expected);
    block.log[0] = '\0';
}

bool block_original(int64_t offset, uint64_t bytes)
{
    for (uint64_t i = (uint64_t)offset; i < (uint64_t)offset + bytes; i++)
        if (block.data[i] != (unsigned char)(i / 100 + 1))
            return false;
    return true;
}

int64_t block_io(enum op_kind kind, int64_t offset, uint64_t bytes, unsigned flags)
{
    return rig_io(block.node, kind, offset, block.buffer, bytes, flags);
}
