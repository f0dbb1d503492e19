/* The backend, in a whole stepped engine: each seed is another order of what happens. */
#include "stack_rig.h"

#include <stdio.h>

#include "drivers/driver.h"
#include "engine/reactor.h"

#define MIB (INT64_C(1) << 20)

/* --- The drivers: the real ones, and one that notes what reaches it
 *
 * A linker takes these definitions before it looks into the library. */

extern const struct driver driver_null, driver_memory, driver_file, driver_raw;

#define NOTED 4096

static struct {
    unsigned n;
    struct {
        unsigned kind, flags;
        int64_t offset;
    } op[NOTED];
} noted;

static const struct option probe_options[] = {
    {.name = "error", .type = OPTION_INTEGER, .preset = "0", .max = 4000},
    {.name = "read-only", .type = OPTION_SWITCH, .preset = "off"},
    {.name = "fua", .type = OPTION_SWITCH, .preset = "on"},
    {.name = "fails", .type = OPTION_SWITCH, .preset = "off"},
    {0},
};

static void probe_open(struct driver_node *node, driver_opened_fn *opened)
{
    int64_t error = (int64_t)option_number(node->options, "error");
    node->facts = (struct driver_facts){
        .length = error ? -error : MIB,
        .alignment = 1,
        .read_only = option_switch(node->options, "read-only"),
        .can = DRIVER_CAN_DISCARD | DRIVER_CAN_ZEROES | DRIVER_CAN_FLUSH | DRIVER_CAN_RESIZE |
               (option_switch(node->options, "fua") ? DRIVER_CAN_FUA : 0),
    };
    opened(node, 0, NULL);
}

static void probe_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    closed(node);
}

static void probe_submit(struct driver_node *node, struct op *op)
{
    assert_true(noted.n < NOTED);
    noted.op[noted.n].kind = op->kind;
    noted.op[noted.n].flags = op->flags;
    noted.op[noted.n++].offset = op->offset;
    op_complete(op, option_switch(node->options, "fails") ? -ENOSPC : 0);
}

static const struct driver driver_probe = {
    .name = "probe",
    .help = "Notes what reaches it",
    .options = probe_options,
    .open = probe_open,
    .close = probe_close,
    .submit = probe_submit,
};

const struct driver *const drivers[] = {
    &driver_null, &driver_memory, &driver_file, &driver_raw, &driver_probe, NULL,
};

const struct driver *driver_find(const char *name)
{
    for (const struct driver *const *driver = drivers; *driver; driver++)
        if (!strcmp((*driver)->name, name))
            return *driver;
    return NULL;
}

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

/* --- Checks */

static const enum op_kind ranges[] = {OP_READ, OP_WRITE, OP_ZEROES, OP_DISCARD};
#define FOR_EACH_RANGE(kind) for (unsigned i_ = 0, kind; i_ < 4 && (kind = ranges[i_], true); i_++)

static void a_range_is_checked_for_size_medium_sign_length_and_end_in_this_order(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add name=known driver=probe");
    stack_do("node-add name=unknown driver=probe error=%d reactor=1", ETIMEDOUT);
    stack_do("backend-add name=b node=known");
    stack_do("backend-add name=u node=unknown");
    stack_do("backend-add name=empty");
    actor_addr b = stack_find("b"), u = stack_find("u"), empty = stack_find("empty");
    noted.n = 0;
    FOR_EACH_RANGE(kind)
    {
        const uint64_t most = INT32_MAX;
        assert_int_equal(stack_run(empty, kind, -1, most + 1, 0), -EIO);
        assert_int_equal(stack_run(u, kind, 0, most + 1, 0), -EIO);
        assert_int_equal(stack_run(empty, kind, -1, most, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(empty, kind, 0, 0, 0), -ENOMEDIUM);
        assert_int_equal(stack_run(u, kind, -1, most, 0), -EIO);
        assert_int_equal(stack_run(u, kind, 0, most, 0), -ETIMEDOUT);
        assert_int_equal(stack_run(u, kind, 0, 0, 0), -ETIMEDOUT);
        assert_int_equal(stack_run(b, kind, -1, 1, 0), -EIO);
        assert_int_equal(stack_run(b, kind, -1, 1, OP_BEYOND_END), -EIO);
        assert_int_equal(stack_run(b, kind, INT64_MAX, 1, 0), -EIO);
        assert_int_equal(stack_run(b, kind, 0, MIB + 1, 0), -EIO);
        assert_int_equal(stack_run(b, kind, MIB - 1, 2, 0), -EIO);
        assert_int_equal(stack_run(b, kind, MIB + 1, 0, 0), -EIO);
        assert_int_equal(noted.n, 0);
        assert_int_equal(stack_run(b, kind, MIB, 0, 0), 0);
        assert_int_equal(stack_run(b, kind, MIB - 4096, 4096, 0), 0);
        assert_int_equal(noted.n, 1); /* an empty one asks nothing of the driver */
        noted.n = 0;
    }
    stack_stop();
}

static void beyond_the_end_writes_grow_what_can_grow_and_reads_give_zeroes(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add name=m driver=memory size=1M reactor=%u",
                 (unsigned)(seed / 3) % STACK_THREADS(seed));
        stack_do("backend-add name=b node=m");
        actor_addr b = stack_find("b");
        char data[64];
        struct stack_op op;
        memset(data, 'x', sizeof data);
        stack_submit(&op, b, OP_READ, MIB - 4, sizeof data, OP_BEYOND_END, data);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        for (size_t i = 0; i < sizeof data; i++)
            assert_int_equal(data[i], 0);
        assert_int_equal(stack_run(b, OP_WRITE, MIB, 4096, OP_BEYOND_END), 0);
        assert_int_equal(stack_run(b, OP_READ, MIB, 4096, 0), 0);
        assert_int_equal(stack_do("backend-show b")->backend->length, MIB + 4096);
        assert_int_equal(stack_run(b, OP_READ, MIB, 4097, 0), -EIO);
        stack_settle();
        assert_string_equal(stack_story(3), "BLOCK_RESIZED b");
    }
}

static void a_read_only_backend_refuses_changes_and_flushes(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add name=n driver=probe");
    stack_do("node-add name=ro driver=probe read-only=on reactor=1");
    stack_do("backend-add name=asked node=n read-only=on");
    stack_do("backend-add name=below node=ro");
    stack_do("backend-add name=empty read-only=on");
    for (unsigned i = 0; i < 2; i++) {
        actor_addr b = stack_find(i ? "below" : "asked");
        assert_true(stack_do("backend-show %s", i ? "below" : "asked")->backend->read_only);
        noted.n = 0;
        assert_int_equal(stack_run(b, OP_WRITE, 0, 4096, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_ZEROES, 0, 4096, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_DISCARD, 0, 4096, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_WRITE, MIB, 1, 0), -EIO); /* the range first */
        assert_int_equal(stack_run(b, OP_TRUNCATE, MIB, 0, 0), -EACCES);
        assert_int_equal(noted.n, 0);
        assert_int_equal(stack_run(b, OP_READ, 0, 4096, 0), 0);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), 0);
        assert_int_equal(noted.n, 2);
    }
    actor_addr empty = stack_find("empty");
    assert_int_equal(stack_run(empty, OP_WRITE, 0, 1, 0), -ENOMEDIUM);
    assert_int_equal(stack_run(empty, OP_TRUNCATE, 1, 0, 0), -ENOMEDIUM);
    stack_stop();
}

static void a_truncate_asks_for_a_medium_and_a_length_and_a_flush_for_a_medium(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("node-add name=n driver=probe");
    stack_do("backend-add name=b node=n");
    stack_do("backend-add name=empty");
    actor_addr b = stack_find("b"), empty = stack_find("empty");
    noted.n = 0;
    assert_int_equal(stack_run(b, OP_TRUNCATE, -1, 0, 0), -EINVAL);
    assert_int_equal(stack_run(empty, OP_TRUNCATE, -1, 0, 0), -ENOMEDIUM);
    assert_int_equal(stack_run(empty, OP_FLUSH, 0, 0, 0), -ENOMEDIUM);
    assert_int_equal(noted.n, 0);
    assert_int_equal(stack_run(b, OP_TRUNCATE, 0, 0, 0), 0);
    assert_int_equal(noted.op[0].kind, OP_TRUNCATE);
    stack_stop();
}

static void forced_unit_access_reaches_the_driver_or_a_flush_follows(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned reactor = (unsigned)(seed / 3) % STACK_THREADS(seed);
        stack_do("node-add name=with driver=probe reactor=%u", reactor);
        stack_do("node-add name=without driver=probe fua=off reactor=%u", reactor);
        stack_do("backend-add name=b node=with");
        stack_do("backend-add name=c node=without");
        noted.n = 0;
        assert_int_equal(stack_run(stack_find("b"), OP_WRITE, 0, 4096, OP_FUA), 0);
        assert_int_equal(noted.n, 1);
        assert_int_equal(noted.op[0].flags, OP_FUA);
        assert_int_equal(stack_run(stack_find("c"), OP_WRITE, 0, 4096, OP_FUA), 0);
        assert_int_equal(noted.n, 3);
        assert_int_equal(noted.op[1].kind, OP_WRITE);
        assert_int_equal(noted.op[1].flags, 0);
        assert_int_equal(noted.op[2].kind, OP_FLUSH);
        /* A discard too. */
        assert_int_equal(stack_run(stack_find("b"), OP_DISCARD, 0, 4096, OP_FUA), 0);
        assert_int_equal(noted.n, 4);
        assert_int_equal(noted.op[3].flags, OP_FUA);
        assert_int_equal(stack_run(stack_find("c"), OP_DISCARD, 0, 4096, OP_FUA), 0);
        assert_int_equal(noted.n, 6);
        assert_int_equal(noted.op[4].kind, OP_DISCARD);
        assert_int_equal(noted.op[5].kind, OP_FLUSH);
    }
}

static void without_a_write_cache_each_write_is_durable(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add name=with driver=probe");
    stack_do("node-add name=without driver=probe fua=off");
    stack_do("backend-add name=b node=with write-cache=off");
    stack_do("backend-add name=c node=without");
    stack_do("backend-set c write-cache=off");
    noted.n = 0;
    actor_addr b = stack_find("b"), c = stack_find("c");
    assert_int_equal(stack_run(b, OP_WRITE, 0, 4096, 0), 0);
    assert_int_equal(stack_run(b, OP_ZEROES, 0, 4096, 0), 0);
    assert_int_equal(stack_run(b, OP_READ, 0, 4096, 0), 0);
    assert_int_equal(noted.n, 3);
    assert_int_equal(noted.op[0].flags, OP_FUA);
    assert_int_equal(noted.op[1].flags, OP_FUA);
    assert_int_equal(noted.op[2].flags, 0);
    assert_int_equal(stack_run(c, OP_WRITE, 0, 4096, 0), 0);
    assert_int_equal(noted.n, 5);
    assert_int_equal(noted.op[4].kind, OP_FLUSH);
    stack_do("backend-set c write-cache=on");
    assert_int_equal(stack_run(c, OP_WRITE, 0, 4096, 0), 0);
    assert_int_equal(noted.n, 6);
    assert_false(stack_do("backend-show b")->backend->write_cache);
    assert_true(stack_do("backend-show c")->backend->write_cache);
    stack_stop();
}

/* --- Counting */

static void check_counters(const Sluice__OpCounters *counters, uint64_t operations, uint64_t bytes,
                           uint64_t failed, uint64_t invalid)
{
    assert_int_equal(counters->operations, operations);
    assert_int_equal(counters->bytes, bytes);
    assert_int_equal(counters->failed, failed);
    assert_int_equal(counters->invalid, invalid);
}

static void what_succeeds_fails_and_is_refused_is_counted_by_kind(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add name=n driver=probe");
        stack_do("node-add name=f driver=probe fails=on");
        stack_do("backend-add name=b node=n");
        stack_do("backend-add name=c node=f");
        actor_addr b = stack_find("b"), c = stack_find("c");
        noted.n = 0;
        FOR_EACH_RANGE(kind)
        {
            for (unsigned n = 0; n <= kind; n++)
                assert_int_equal(stack_run(b, kind, 0, 1000 + n, 0), 0);
            assert_int_equal(stack_run(b, kind, MIB, 1, 0), -EIO);
            assert_int_equal(stack_run(c, kind, 0, 4096, 0), -ENOSPC);
        }
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), 0);
        assert_int_equal(stack_run(c, OP_FLUSH, 0, 0, 0), -ENOSPC);
        assert_int_equal(stack_run(b, OP_TRUNCATE, MIB, 0, 0), 0);
        assert_int_equal(stack_run(b, OP_TRUNCATE, -1, 0, 0), -EINVAL);
        const Sluice__BackendInfo *info = stack_do("backend-show b")->backend;
        const Sluice__OpCounters *const by_kind[] = {
            [OP_READ] = info->read,
            [OP_WRITE] = info->write,
            [OP_ZEROES] = info->zeroes,
            [OP_DISCARD] = info->discard,
        };
        FOR_EACH_RANGE(kind)
        check_counters(by_kind[kind], kind + 1, (kind + 1) * 1000 + kind * (kind + 1) / 2, 0, 1);
        check_counters(info->flush, 1, 0, 0, 0);
        check_counters(info->truncate, 1, 0, 0, 1);
        info = stack_do("backend-show c")->backend;
        check_counters(info->write, 0, 0, 1, 0);
        check_counters(info->flush, 0, 0, 1, 0);
    }
}

static void what_is_with_the_medium_is_in_flight_and_what_is_refused_is_not(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[5];
        stack_do("node-add name=n driver=null size=1M latency=1s");
        stack_do("backend-add name=b node=n");
        actor_addr b = stack_find("b");
        for (unsigned i = 0; i < 5; i++)
            stack_submit(&ops[i], b, OP_READ, i == 3 ? MIB : 0, 4096, 0, NULL);
        stack_settle();
        assert_int_equal(stack_do("backend-show b")->backend->in_flight, 4);
        assert_true(ops[3].came && !ops[4].came);
        stack_await_op(&ops[4]);
        assert_int_equal(stack_do("backend-show b")->backend->in_flight, 0);
    }
}

/* --- A new length */

static void add_stack(uint64_t seed)
{
    unsigned threads = STACK_THREADS(seed);
    stack_do("node-add name=m driver=memory size=1M reactor=%u", (unsigned)(seed / 3) % threads);
    stack_do("node-add name=w driver=raw child=m reactor=%u", (unsigned)(seed / 9) % threads);
    stack_do("backend-add name=b node=%s", seed / 27 ? "m" : "w");
}

static void when_a_truncate_ends_the_new_length_is_known_and_can_be_used(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op grown, used;
        struct stack_answer shown;
        add_stack(seed);
        actor_addr b = stack_find("b");
        stack_call(b, MAIL_SESSION_OPEN, stack_session(8, 65536));
        stack_submit(&grown, b, OP_TRUNCATE, 3 * MIB, 0, 0, NULL);
        while (!grown.came)
            stack_step();
        assert_int_equal(grown.ret, 0);
        assert_int_equal(stack_news()->length, 3 * MIB);
        assert_true(stack_news()->at < grown.at);
        stack_submit(&used, b, OP_WRITE, 3 * MIB - 4096, 4096, 0, NULL);
        stack_ask(&shown, b, MAIL_DESCRIBE, NULL);
        stack_await(&shown);
        stack_await_op(&used);
        assert_int_equal(((const Sluice__BackendInfo *)shown.body)->length, 3 * MIB);
        assert_int_equal(used.ret, 0);
        stack_settle();
        assert_int_equal(stack_news()->count, 1);
        assert_string_equal(stack_story(4), "BLOCK_RESIZED b");

        assert_int_equal(stack_run(b, OP_TRUNCATE, MIB, 0, 0), 0);
        assert_int_equal(stack_run(b, OP_WRITE, MIB, 1, 0), -EIO);
        assert_int_equal(stack_run(b, OP_TRUNCATE, MIB, 0, 0), 0); /* changes nothing: no event */
        stack_settle();
        assert_string_equal(stack_story(4), "BLOCK_RESIZED b, BLOCK_RESIZED b");
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(1));
    }
}

static void of_several_truncates_at_once_the_last_one_counts(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[5], writes[40];
        unsigned threads = STACK_THREADS(seed);
        add_stack(seed % 27);
        stack_do("node-add name=top driver=raw child=w reactor=%u", (unsigned)(seed / 5) % threads);
        stack_do("backend-add name=t node=top");
        actor_addr t = stack_find("t");
        for (unsigned i = 0; i < 5; i++)
            stack_submit(&ops[i], t, OP_TRUNCATE, (2 + i) * MIB, 0, 0, NULL);
        while (!ops[4].came)
            stack_step();
        for (unsigned i = 0; i < 40; i++) {
            stack_submit(&writes[i], t, OP_WRITE, 6 * MIB - 4096, 4096, 0, NULL);
            stack_step();
        }
        stack_settle();
        for (unsigned i = 0; i < 40; i++)
            assert_true(writes[i].came && writes[i].ret == 0);
        for (unsigned i = 0; i < 5; i++)
            assert_true(ops[i].came && ops[i].ret == 0);
        assert_int_equal(stack_do("backend-show t")->backend->length, 6 * MIB);
        assert_int_equal(stack_do("backend-show b")->backend->length, 6 * MIB);
        unsigned events = 0; /* of each backend, for each of them */
        for (const char *at = stack_story(6); (at = strstr(at, "BLOCK_RESIZED")); at++)
            events++;
        assert_int_equal(events, 10);
    }
}

static void the_other_backends_of_a_node_hear_of_its_new_length(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_stack(seed);
        stack_do("backend-add name=c node=m");
        stack_call(stack_find("c"), MAIL_SESSION_OPEN, stack_session(8, 65536));
        assert_int_equal(stack_run(stack_find("b"), OP_TRUNCATE, 2 * MIB, 0, 0), 0);
        stack_settle();
        assert_int_equal(stack_news()->length, 2 * MIB);
        assert_int_equal(stack_do("backend-show c")->backend->length, 2 * MIB);
        assert_non_null(strstr(stack_story(5), "BLOCK_RESIZED b"));
        assert_non_null(strstr(stack_story(5), "BLOCK_RESIZED c"));
        stack_call(stack_find("c"), MAIL_SESSION_CLOSE, stack_session_end(1));
    }
}

/* --- Drains */

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
        assert_int_equal(stack_do("backend-show b")->backend->in_flight, 0);
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
        stack_do("node-add name=n driver=memory size=1M");
        stack_do("backend-add name=b node=n");
        actor_addr b = stack_find("b");
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
        stack_do("node-add name=n driver=probe");
        stack_do("backend-add name=b node=n");
        actor_addr b = stack_find("b");
        stack_ask(&drained, b, MAIL_DRAIN_BEGIN, NULL);
        stack_await(&drained);
        noted.n = 0;
        for (unsigned i = 0; i < 40; i++)
            stack_submit(&ops[i], b, OP_WRITE, i, 100, 0, NULL);
        stack_submit(&ops[40], b, OP_WRITE, MIB, 100, 0, NULL); /* refused when its turn comes */
        stack_settle();
        assert_int_equal(noted.n, 0);
        const Sluice__BackendInfo *info = stack_do("backend-show b")->backend;
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
        assert_int_equal(noted.n, 59);
        for (unsigned i = 0; i < 59; i++)
            assert_int_equal(noted.op[i].offset, i);
        for (unsigned i = 0; i < 60; i++)
            assert_true(ops[i].came && ops[i].ret == (i == 40 ? -EIO : 0));
        info = stack_do("backend-show b")->backend;
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
        stack_do("node-add name=n driver=probe reactor=0");
        stack_do("backend-add name=b node=n");
        actor_addr b = stack_find("b");
        begin(&drained, b);
        stack_await(&drained);
        front_start("b", (unsigned)(seed / 3) % STACK_THREADS(seed), 4);
        for (unsigned i = 0; i < 5; i++)
            stack_submit(&ops[i], b, OP_WRITE, i, 100, 0, NULL);
        stack_settle();
        noted.n = 0;
        end(b);
        stack_settle();
        assert_int_equal(front.ended, 4);
        assert_int_equal(noted.n, 9);
        for (unsigned i = 0; i < 9; i++)
            assert_int_equal(noted.op[i].kind, i < 1 || i > 5 ? OP_FLUSH : OP_WRITE);
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
        stack_do("node-add name=n driver=null latency=1s");
        stack_do("backend-add name=b node=n");
        actor_addr b = stack_find("b");
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
        stack_do("node-add name=n driver=null latency=1s");
        stack_do("backend-add name=b node=n");
        actor_addr b = stack_find("b");
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
        assert_int_equal(stack_do("backend-show b")->backend->queued, 1);
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
        stack_do("node-add name=n driver=null latency=1s");
        stack_do("backend-add name=b node=n");
        actor_addr b = stack_find("b");
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

/* --- Sessions */

#define LIMIT       65536
#define LIMIT_BYTES (UINT64_C(4) << 30)
/* What clients can have. */
#define REQUESTS (LIMIT - 64)
#define BYTES    (LIMIT_BYTES - (UINT64_C(64) << 20))

static void grants_stay_within_the_backend_s_bounds(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add name=n driver=null");
    stack_do("backend-add name=b node=n");
    actor_addr b = stack_find("b");
    const Sluice__SessionGrant *grants[3];
    struct stack_answer refused;
    grants[0] = stack_call(b, MAIL_SESSION_OPEN, stack_session(REQUESTS - 36, 1000));
    grants[1] = stack_call(b, MAIL_SESSION_OPEN, stack_session(100, 2 * BYTES));
    assert_int_equal(grants[0]->requests, REQUESTS - 36);
    assert_int_equal(grants[0]->bytes, 1000);
    assert_int_equal(grants[1]->requests, 36);
    assert_int_equal(grants[1]->bytes, BYTES - 1000);
    stack_ask(&refused, b, MAIL_SESSION_OPEN, stack_session(1, 0));
    stack_await(&refused);
    assert_int_equal(refused.code, -ENOBUFS);
    assert_string_equal(refused.text,
                        "backend 'b' has granted all of its 65472 requests; close a client");
    stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(grants[0]->session));
    stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(grants[0]->session)); /* it is gone */
    stack_ask(&refused, b, MAIL_SESSION_OPEN, stack_session(1, 2000));
    stack_await(&refused);
    assert_int_equal(refused.code, 0); /* 1000 of them */
    assert_int_equal(((Sluice__SessionGrant *)refused.body)->bytes, 1000);
    stack_ask(&refused, b, MAIL_SESSION_OPEN, stack_session(1, 1));
    stack_await(&refused);
    assert_int_equal(refused.code, -ENOBUFS);
    assert_string_equal(refused.text,
                        "backend 'b' has granted all of its 4227858432 bytes; close a client");
    /* Control can't be locked out. */
    Sluice__SessionOpen *reserved = stack_session(1, 1 << 20);
    reserved->has_reserved = reserved->reserved = true;
    const Sluice__SessionGrant *kept = stack_call(b, MAIL_SESSION_OPEN, reserved);
    assert_int_equal(kept->requests, 1);
    assert_int_equal(kept->bytes, 1 << 20);
    stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(kept->session));
    /* Who wants nothing is let in. */
    grants[2] = stack_call(b, MAIL_SESSION_OPEN, stack_session(0, 0));
    const Sluice__BackendInfo *info = stack_do("backend-show b")->backend;
    assert_int_equal(info->granted, 37);
    assert_int_equal(info->granted_bytes, BYTES);
    assert_int_equal(info->limit, LIMIT);
    assert_int_equal(info->limit_bytes, LIMIT_BYTES);
    for (uint64_t session = 2; session <= grants[2]->session; session++)
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(session));
    info = stack_do("backend-show b")->backend;
    assert_int_equal(info->granted + info->granted_bytes, 0);
    stack_stop();
}

static void what_is_granted_at_once_adds_up(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer opened[40], closed[40];
        stack_do("node-add name=n driver=null");
        stack_do("backend-add name=b node=n");
        actor_addr b = stack_find("b");
        uint64_t granted = 0, bytes = 0;
        for (unsigned i = 0; i < 40; i++) {
            stack_ask(&opened[i], b, MAIL_SESSION_OPEN, stack_session(3000, LIMIT_BYTES / 30));
            closed[i].came = false;
            unsigned other = (unsigned)((seed + i) * 7 % 40);
            stack_step();
            if (other >= i || !opened[other].came || opened[other].code || closed[other].came)
                continue;
            const Sluice__SessionGrant *grant = opened[other].body;
            stack_ask(&closed[other], b, MAIL_SESSION_CLOSE, stack_session_end(grant->session));
            stack_await(&closed[other]);
        }
        for (unsigned i = 0; i < 40; i++) {
            stack_await(&opened[i]);
            const Sluice__SessionGrant *grant = opened[i].body;
            granted += grant && !closed[i].came ? grant->requests : 0;
            bytes += grant && !closed[i].came ? grant->bytes : 0;
        }
        const Sluice__BackendInfo *info = stack_do("backend-show b")->backend;
        assert_int_equal(info->granted, granted);
        assert_int_equal(info->granted_bytes, bytes);
        assert_true(granted <= LIMIT && bytes <= LIMIT_BYTES);
        for (unsigned i = 0; i < 40; i++)
            if (!opened[i].code && !closed[i].came)
                stack_call(b, MAIL_SESSION_CLOSE,
                           stack_session_end(((Sluice__SessionGrant *)opened[i].body)->session));
    }
}

static void a_session_is_told_what_the_backend_is(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("node-add name=n driver=memory size=1M");
    stack_do("backend-add name=ro node=n read-only=on");
    stack_do("backend-add name=empty");
    struct stack_answer refused;
    const Sluice__SessionGrant *grant =
        stack_call(stack_find("ro"), MAIL_SESSION_OPEN, stack_session(1, 1));
    assert_true(grant->inserted && grant->facts->read_only && grant->facts->length == MIB);
    stack_call(stack_find("ro"), MAIL_SESSION_CLOSE, stack_session_end(grant->session));
    grant = stack_call(stack_find("empty"), MAIL_SESSION_OPEN, stack_session(1, 1));
    assert_false(grant->inserted);
    stack_call(stack_find("empty"), MAIL_SESSION_CLOSE, stack_session_end(grant->session));
    stack_claim(&refused, "ro", PERM_WRITE, PERM_ALL);
    stack_await(&refused);
    assert_int_equal(refused.code, -EPERM);
    assert_non_null(strstr(refused.text, "'rig' can't write to backend 'ro': it is read-only"));
    stack_stop();
}

static void a_backend_on_its_way_out_lets_no_session_in(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer removed, refused;
        stack_do("node-add name=n driver=null latency=1s");
        stack_do("backend-add name=b node=n");
        actor_addr b = stack_find("b");
        stack_submit(&op, b, OP_FLUSH, 0, 0, 0, NULL);
        stack_settle();
        stack_release("b");
        stack_send(&removed, "backend-remove b");
        stack_settle();
        stack_ask(&refused, b, MAIL_SESSION_OPEN, stack_session(1, 1));
        stack_settle();
        assert_true(refused.came && refused.code == -ESHUTDOWN);
        assert_string_equal(refused.text, "backend 'b' is closing; choose another");
        stack_await(&removed);

        stack_do("backend-add name=c");
        b = stack_find("c");
        Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
        const Sluice__SessionGrant *grant = stack_call(b, MAIL_SESSION_OPEN, stack_session(1, 1));
        stack_release("c");
        stack_tell(stack_world()->graph, MAIL_SHUTDOWN, shutdown); /* time is up */
        stack_pass(20 * NS_PER_MS);
        stack_ask(&refused, b, MAIL_SESSION_OPEN, stack_session(1, 1));
        stack_settle();
        assert_true(refused.came && refused.code == -ESHUTDOWN);
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(grant->session));
    }
}

static void a_backend_with_sessions_does_not_close_and_names_who_has_it_open(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static const char *const names[] = {"one", "two"};
        stack_do("backend-add name=b");
        actor_addr b = stack_find("b");
        for (unsigned i = 0; i < 2; i++) {
            Sluice__SessionOpen *open = stack_session(1, 1);
            free(open->name);
            open->name = NULL;
            mail_set(&open->name, names[i]);
            stack_call(b, MAIL_SESSION_OPEN, open);
        }
        stack_refused(-EBUSY, "backend 'b' can't be removed: client 'rig' uses it",
                      "backend-remove b");
        stack_release("b");
        stack_refused(-EBUSY,
                      "backend 'b' can't be closed: 'two', 'one' have it open; end those first",
                      "backend-remove b");
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(1));
        stack_refused(-EBUSY, "backend 'b' can't be closed: 'two' has it open; end that first",
                      "backend-remove b");
        for (unsigned i = 0; i < 60; i++)
            stack_call(b, MAIL_SESSION_OPEN, stack_session(1, 1));
        stack_refused(-EBUSY, " more have it open; end those first", "backend-remove b");
        for (uint64_t session = 2; session <= 62; session++)
            stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(session));
        stack_do("backend-remove b");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_is_checked_for_size_medium_sign_length_and_end_in_this_order),
        cmocka_unit_test(beyond_the_end_writes_grow_what_can_grow_and_reads_give_zeroes),
        cmocka_unit_test(a_read_only_backend_refuses_changes_and_flushes),
        cmocka_unit_test(a_truncate_asks_for_a_medium_and_a_length_and_a_flush_for_a_medium),
        cmocka_unit_test(forced_unit_access_reaches_the_driver_or_a_flush_follows),
        cmocka_unit_test(without_a_write_cache_each_write_is_durable),
        cmocka_unit_test(what_succeeds_fails_and_is_refused_is_counted_by_kind),
        cmocka_unit_test(what_is_with_the_medium_is_in_flight_and_what_is_refused_is_not),
        cmocka_unit_test(when_a_truncate_ends_the_new_length_is_known_and_can_be_used),
        cmocka_unit_test(of_several_truncates_at_once_the_last_one_counts),
        cmocka_unit_test(the_other_backends_of_a_node_hear_of_its_new_length),
        cmocka_unit_test(a_drain_begins_when_nothing_is_in_flight),
        cmocka_unit_test(a_request_is_in_flight_until_its_callback_has_returned),
        cmocka_unit_test(a_medium_goes_after_callbacks_that_are_due_since_an_older_question),
        cmocka_unit_test(requests_wait_for_the_end_of_a_drain_and_run_in_order),
        cmocka_unit_test(what_a_callback_asks_for_comes_behind_what_a_drain_has_held),
        cmocka_unit_test(drains_nest),
        cmocka_unit_test(a_second_drain_waits_for_what_the_first_had_held),
        cmocka_unit_test(a_callback_that_asks_for_more_does_not_hold_up_a_drain),
        cmocka_unit_test(a_close_during_a_drain_ends_what_waits),
        cmocka_unit_test(grants_stay_within_the_backend_s_bounds),
        cmocka_unit_test(what_is_granted_at_once_adds_up),
        cmocka_unit_test(a_session_is_told_what_the_backend_is),
        cmocka_unit_test(a_backend_on_its_way_out_lets_no_session_in),
        cmocka_unit_test(a_backend_with_sessions_does_not_close_and_names_who_has_it_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
