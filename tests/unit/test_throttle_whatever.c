/* All that can happen to members of throttle groups, drawn from a seed: nothing is lost or stuck,
 * and order is kept. */
#include "limited_rig.h"

#define RANDOM_OPS 200
static struct random_op {
    struct stack_op noted;
    unsigned backend;
    bool write, cancelled;
} all[RANDOM_OPS];
static const char *const names[] = {"a", "b", "c"};
static actor_addr backends[3];

static uint64_t draw(uint64_t *state, uint64_t n)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (*state >> 33) % n;
}

static void cancel(struct random_op *op)
{
    struct stack_op done;
    if (op->noted.came)
        return;
    stack_submit(&done, backends[op->backend], OP_CANCEL, (int64_t)op->noted.tag, 0, 0, NULL);
    stack_await_op(&done);
    op->cancelled = true;
}

static void change_limits(uint64_t *state)
{
    static const char *const groups[] = {"g", "h", "s"};
    static const char *const limits[] = {"iops-total=100 bps-total=0 iops-read=0 bps-write=0",
                                         "iops-total=1000000 bps-total=0 iops-read=0 bps-write=0",
                                         "iops-total=0 iops-read=20 bps-total=1M bps-write=0",
                                         "iops-total=0 iops-read=0 bps-total=0 bps-write=0"};
    stack_do("throttle-set %s %s", groups[draw(state, 3)], limits[draw(state, 4)]);
}

static void join_another(uint64_t *state)
{
    static const char *const groups[] = {"g", "h", "s", ""};
    unsigned i = (unsigned)draw(state, 3);
    if (i < 2)
        stack_do("backend-set %s throttle='%s'", names[i], groups[draw(state, 4)]);
    else
        stack_do("node-set t throttle-group=%s", groups[draw(state, 3)]);
}

static void change_medium(uint64_t *state)
{
    static const char *const nodes[][2] = {{"a-0", "a-1"}, {"b-0", "b-1"}, {"t", "c-1"}};
    unsigned i = (unsigned)draw(state, 3);
    const char *name = names[i], *node = nodes[i][draw(state, 2)];
    if (draw(state, 2)) {
        stack_do("medium-change %s %s", name, node);
    } else {
        stack_settle(); /* what comes when there is none fails */
        stack_do("medium-remove %s", name);
        stack_do("medium-insert %s %s", name, node);
    }
}

/* Whoever has asked for all that the backend has not done yet is gone. It is told twice by
 * mail, as the first time may be before what it names. */
static void die(uint64_t *state, unsigned n)
{
    unsigned backend = (unsigned)draw(state, 3);
    for (unsigned times = 0; times < 2; times++) {
        Sluice__Cancel *mail = MAIL_NEW(sluice__cancel);
        mail->tags = calloc(RANDOM_OPS, sizeof *mail->tags);
        for (unsigned i = 0; i < n; i++)
            if (all[i].backend == backend && !all[i].noted.came) {
                mail->tags[mail->n_tags++] = all[i].noted.tag;
                all[i].cancelled = true;
            }
        stack_tell(backends[backend], MAIL_CANCEL, mail);
        stack_settle();
    }
    for (unsigned i = 0; i < n; i++)
        if (all[i].backend == backend)
            cancel(&all[i]);
    stack_settle();
    for (unsigned i = 0; i < n; i++)
        assert_true(all[i].backend != backend || all[i].noted.came);
}

static void do_something(uint64_t *state, unsigned *n)
{
    switch (draw(state, 10)) {
    case 0:
        change_limits(state);
        break;
    case 1:
        join_another(state);
        break;
    case 2:
        stack_do("backend-move name=%s reactor=%u", names[draw(state, 3)],
                 (unsigned)draw(state, 3));
        break;
    case 3:
        if (*n)
            cancel(&all[draw(state, *n)]);
        break;
    case 4:
        stack_pass(draw(state, 50) * NS_PER_MS);
        break;
    case 5:
        change_medium(state);
        break;
    case 6:
        die(state, *n);
        break;
    case 7: {
        const char *name = names[draw(state, 3)];
        stack_do("backend-pause %s", name);
        stack_do("backend-resume %s", name);
        break;
    }
    default:
        for (uint64_t i = draw(state, 12); i && *n < RANDOM_OPS; i--, ++*n) {
            struct random_op *op = &all[*n];
            *op = (struct random_op){.backend = (unsigned)draw(state, 3), .write = draw(state, 2)};
            stack_submit(&op->noted, backends[op->backend], op->write ? OP_WRITE : OP_READ, 0,
                         draw(state, 2) ? 512 : 65536, 0, NULL);
        }
        for (uint64_t i = draw(state, 30); i; i--)
            stack_step();
    }
}

static void assert_random(unsigned n)
{
    const struct random_op *last[3][2] = {{NULL}};
    for (unsigned i = 0; i < n; i++) {
        const struct random_op *op = &all[i];
        assert_true(op->noted.came);
        if (op->cancelled && op->noted.ret == -ECANCELED)
            continue;
        assert_int_equal(op->noted.ret, 0);
        const struct random_op **before = &last[op->backend][op->write];
        assert_true(!*before || (*before)->noted.at < op->noted.at);
        *before = op;
    }
}

/* While somebody has the backends open, and without time for limits. */
static void end_engine(unsigned n)
{
    struct stack_answer ended;
    Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
    shutdown->deadline = 30 * NS_PER_S;
    stack_ask(&ended, stack_world()->graph, MAIL_SHUTDOWN, shutdown);
    stack_settle();
    assert_random(n);
    for (unsigned i = 0; i < 3; i++)
        stack_release(names[i]);
    stack_await(&ended);
    assert_int_equal(ended.code, 0);
}

static void nothing_is_lost_or_stuck_and_order_is_kept_whatever_happens(void **state)
{
    (void)state;
    static const char *const nulls[] = {"a-0", "a-1", "b-0", "b-1", "c-1"};
    FOR_EACH_SEED_ON(seed, 3)
    {
        uint64_t random = seed;
        unsigned n = 0;
        stack_do("throttle-add name=g iops-total=100");
        stack_do("throttle-add name=h iops-read=50 bps-write=1M");
        stack_do("throttle-add name=s parent=g iops-total=20");
        stack_do("node-add driver=null name=n size=1G reactor=1");
        stack_do("node-add driver=throttle name=t child=n throttle-group=s");
        for (unsigned i = 0; i < 5; i++)
            stack_do("node-add driver=null name=%s size=1G reactor=%u", nulls[i], i % 3);
        stack_do("backend-add name=a node=a-0 throttle=g");
        stack_do("backend-add name=b node=b-0 throttle=s");
        stack_do("backend-add name=c node=t throttle=h");
        for (unsigned i = 0; i < 3; i++)
            backends[i] = stack_find(names[i]);
        for (unsigned i = 0; i < 60; i++)
            do_something(&random, &n);
        if (draw(&random, 2)) {
            end_engine(n);
            continue;
        }
        stack_pass(60 * NS_PER_S);
        assert_random(n);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(limited_group((const char *const[]){"g", "h", "s"}[i])->waiting, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_stuck_and_order_is_kept_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
