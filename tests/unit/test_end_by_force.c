/* The end of an engine in which something never ends: whoever waits for an answer hears that. In a
 * whole stepped engine, each seed is another order of what happens. */
#include "acts_rig.h"

#include <signal.h>
#include <unistd.h>

extern const struct driver driver_null, driver_memory, driver_raw, driver_overlay, driver_mock,
    driver_copy_on_read, driver_write_threshold, driver_throttle, driver_fault;

/* Nodes that are left are not closed, so what their drivers have is not freed. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:/drivers/\n";
}

/* Faults as everybody has them, but what waits in it waits on when time is up; and from some time
 * on it takes nothing over and rereads nothing. */
static struct driver stuck;
static bool never;

static void may_be_done(struct driver_node *node, driver_opened_fn *done)
{
    if (!never)
        done(node, 0, NULL);
}

static void hand_over(struct driver_node *node)
{
    (void)node;
}

const struct driver *const drivers[] = {
    &driver_null,
    &driver_memory,
    &driver_raw,
    &driver_overlay,
    &driver_mock,
    &driver_copy_on_read,
    &driver_write_threshold,
    &driver_throttle,
    &driver_fault,
    &stuck,
    NULL,
};

const struct driver *driver_find(const char *name)
{
    for (const struct driver *const *driver = drivers; *driver; driver++)
        if (!strcmp((*driver)->name, name))
            return *driver;
    return NULL;
}

static void shut_down(struct stack_answer *answer)
{
    Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
    shutdown->deadline = NS_PER_S;
    stack_ask(answer, stack_world()->graph, MAIL_SHUTDOWN, shutdown);
}

/* Backends `b` and `far` on the overlay `top`, whose nodes are stuck; nothing waits there yet. */
static void add_stack(uint64_t seed)
{
    never = false;
    stack_do("node-add driver=memory name=upper size=1M reactor=0");
    stack_do("node-add driver=memory name=lower size=1M reactor=0");
    stack_do("node-add driver=stuck name=stuck child=lower");
    stack_do("node-add driver=overlay name=top child=upper backing=stuck");
    stack_do("node-add driver=stuck name=window child=top reactor=%u",
             (unsigned)(seed / 3) % STACK_THREADS(seed));
    stack_do("backend-add name=b node=top");
    stack_do("backend-add name=far node=window");
    stack_do("throttle-add g iops-total=1");
    stack_do("io-write b offset=0 bytes=64K pattern=7");
}

/* From here on. */
static void get_stuck(void)
{
    stack_do("node-set stuck rules='any delay=1000s'");
    stack_do("node-set window rules='any delay=1000s'");
    never = true;
}

/* What waits ends when the graph has gone; its actors are left to the engine. */
static void leave_it(void)
{
    struct stack_answer closed;
    uint64_t begun = engine_now(stack_engine());
    stack_ask(&closed, stack_world()->control, MAIL_CLOSE, NULL);
    stack_await(&closed);
    assert_int_equal(closed.code, 0);
    assert_true(engine_now(stack_engine()) - begun <= NS_PER_S); /* it waits for nothing else */
    stack_pass(3000 * NS_PER_S);
    stack_leaves(stack_actors() - 1); /* but for events */
}

static void end_by_force(struct stack_answer *ended)
{
    uint64_t begun = engine_now(stack_engine());
    shut_down(ended);
    stack_await(ended);
    assert_int_equal(ended->code, 0);
    assert_true(engine_now(stack_engine()) - begun >= 3 * NS_PER_S);
    stack_settle();
}

static void hears_that_it_ended(const struct stack_answer *answer)
{
    assert_true(answer->came);
    assert_int_equal(answer->code, -ESHUTDOWN);
    assert_non_null(strstr(answer->text, "the engine has ended before"));
}

/* --- Who waits */

static const char *const waits[] = {
    "commit-all",
    "backend-pause far",
    "pause",
    "backend-move far reactor=1",
    "medium-remove far",
    "medium-remove-all",
    "invalidate-cache far",
    "inactivate",
    "backend-inactivate far",
    "backend-remove far",
    "op-block node=top op=resize reason=r",
    "commit b",
};

static void whoever_waits_for_what_does_not_end_is_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        const char *line = waits[seed / 3 % (sizeof waits / sizeof *waits)];
        struct stack_op reads, resizes;
        struct stack_answer waiting, ended;
        if (strstr(line, "move") && STACK_THREADS(seed) == 1)
            continue;
        add_stack(seed);
        actor_addr far = stack_find("far");
        get_stuck();
        stack_submit(&reads, far, OP_READ, 0, 4096, 0, NULL);
        stack_submit(&resizes, far, OP_TRUNCATE, 2 * MIB, 0, 0, NULL);
        stack_settle();
        if (strstr(line, "remove far"))
            stack_release("far");
        stack_send(&waiting, "%s", line);
        stack_settle();
        if (waiting.came || reads.came || resizes.came)
            fail_msg("%s: %d %s", line, waiting.code, waiting.text);
        end_by_force(&ended);
        hears_that_it_ended(&waiting);
        leave_it();
    }
}

/* A change that does not end holds up all others. */
static void whoever_waits_for_a_change_behind_one_is_told(void **state)
{
    static const char *const lines[] = {
        "backend-activate far",
        "node-add driver=raw name=x child=lower",
        "backend-add name=y node=top",
        "backend-add name=z driver=raw child=lower",
        "commit c",
        "commit-all",
        "medium-insert empty lower",
        "medium-change backend=other node=lower",
        "device-add other id=d",
        "export-add type=nbd node=lower port=0 id=e",
        "backend-remove gone",
        "pause",
        "node-remove alone",
    };
    enum { LINES = sizeof lines / sizeof *lines };
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer answers[LINES], mine, claimed, set, end, again, ended;
        add_stack(seed);
        stack_do("node-add driver=memory name=under size=1M");
        stack_do("node-add driver=memory name=over size=1M");
        stack_do("node-add driver=overlay name=both child=over backing=under");
        stack_do("node-add driver=memory name=alone size=1M");
        stack_do("backend-add name=c node=both");
        stack_do("backend-add name=gone node=over");
        stack_do("backend-add name=empty");
        stack_do("backend-add name=other node=over");
        stack_claim(&mine, "c", PERM_CONSISTENT_READ, PERM_ALL);
        stack_await(&mine);
        uint64_t claim = ((const Sluice__Claimed *)mine.body)->claim;
        stack_do("backend-inactivate b");
        stack_do("backend-inactivate far");
        get_stuck();
        for (unsigned i = 0; i < LINES; i++) {
            stack_send(&answers[i], "%s", lines[i]);
            stack_settle();
        }
        stack_claim(&claimed, "other", PERM_CONSISTENT_READ, PERM_ALL);
        Sluice__ClaimSet *other = MAIL_NEW(sluice__claim_set);
        other->claim = claim;
        other->permissions = MAIL_NEW(sluice__permissions);
        other->permissions->shared = PERM_ALL;
        stack_ask(&set, stack_world()->graph, MAIL_CLAIM_SET, other);
        for (unsigned i = 0; i < 2; i++) {
            Sluice__ClaimEnd *body = MAIL_NEW(sluice__claim_end);
            body->claim = claim;
            stack_ask(i ? &again : &end, stack_world()->graph, MAIL_CLAIM_END, body);
            stack_settle();
        }
        assert_true(end.came && !end.code); /* who left once more waits for both */
        unsigned waited = 0;
        for (unsigned i = 0; i < LINES; i++)
            waited += !answers[i].came;
        assert_true(waited >= LINES - 3); /* some of them need no change, or are refused */
        assert_false(claimed.came || set.came || again.came);
        end_by_force(&ended);
        for (unsigned i = 0; i < LINES; i++) {
            if (!answers[i].came)
                print_error("%s\n", lines[i]);
            assert_true(answers[i].came);
            if (answers[i].code == -ESHUTDOWN)
                hears_that_it_ended(&answers[i]), waited--;
        }
        assert_int_equal(waited, 0);
        hears_that_it_ended(&claimed);
        hears_that_it_ended(&set);
        hears_that_it_ended(&again);
        leave_it();
    }
}

/* Frontends, and programs that leave. */
static void whoever_drains_or_leaves_is_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op reads;
        struct stack_answer made, drained, removed, left, ended;
        add_stack(seed);
        Sluice__Claim *claim = MAIL_NEW(sluice__claim);
        mail_set(&claim->backend, "");
        mail_set(&claim->name, "rig");
        claim->permissions = MAIL_NEW(sluice__permissions);
        claim->permissions->perm = PERM_CONSISTENT_READ;
        claim->permissions->shared = PERM_ALL;
        claim->make = MAIL_NEW(sluice__backend_add);
        mail_set(&claim->make->name, "");
        mail_set(&claim->make->node, "window");
        stack_ask(&made, stack_world()->graph, MAIL_CLAIM, claim);
        stack_await(&made);
        const Sluice__Claimed *own = made.body;
        get_stuck();
        stack_submit(&reads, own->address, OP_READ, 0, 4096, 0, NULL);
        stack_settle();
        Sluice__Drain *drain = MAIL_NEW(sluice__drain);
        drain->has_backend = true;
        drain->backend = own->address;
        stack_ask(&drained, stack_world()->graph, MAIL_DRAIN, drain);
        Sluice__ClaimMedium *medium = MAIL_NEW(sluice__claim_medium);
        medium->claim = own->claim;
        stack_ask(&removed, stack_world()->graph, MAIL_CLAIM_MEDIUM, medium);
        stack_settle();
        Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
        end->claim = own->claim;
        stack_ask(&left, stack_world()->graph, MAIL_CLAIM_END, end);
        stack_settle();
        assert_false(drained.came || removed.came || left.came);
        end_by_force(&ended);
        hears_that_it_ended(&drained);
        hears_that_it_ended(&removed);
        hears_that_it_ended(&left);
        leave_it();
    }
}

static void a_request_of_control_that_a_medium_does_not_end_is_answered(void **state)
{
    static const char *const lines[] = {"io-read far offset=0 bytes=4K", "io-flush far",
                                        "io-write b offset=512K bytes=4K pattern=1",
                                        "io-zeroes far offset=0 bytes=4K"};
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer read, ended, closed;
        add_stack(seed);
        actor_addr backend = stack_find(seed / 3 % 4 == 2 ? "b" : "far");
        get_stuck();
        stack_send(&read, "%s", lines[seed / 3 % 4]);
        stack_settle();
        end_by_force(&ended);
        assert_false(read.came);
        stack_ask(&closed, stack_world()->control, MAIL_CLOSE, NULL);
        stack_await(&closed);
        hears_that_it_ended(&read);
        assert_int_equal(closed.code, 0);
        stack_pass(3000 * NS_PER_S); /* the operation ends, and nobody is there any more */
        stack_call(backend, MAIL_DESCRIBE, NULL); /* nor looked at by the backend */
        stack_leaves(stack_actors() - 1);
    }
}

/* --- All that may wait, at once */

/* What acts_rig.h knows by name, with what gets stuck below all of it. */
static void add_graph(uint64_t seed)
{
    unsigned threads = STACK_THREADS(seed);
    memset(&acts, 0, sizeof acts);
    acts.random = seed;
    never = false;
    stack_do("throttle-add g0 iops-total=1000");
    stack_do("node-add driver=memory name=bottom size=1M reactor=%u", (unsigned)acts_draw(threads));
    stack_do("node-add driver=memory name=more size=1M reactor=%u", (unsigned)acts_draw(threads));
    stack_do("node-add driver=memory name=space size=1M reactor=%u", (unsigned)acts_draw(threads));
    stack_do("node-add driver=stuck name=base child=bottom");
    stack_do("node-add driver=overlay name=two child=more backing=base");
    stack_do("node-add driver=stuck name=fill child=space");
    stack_do("node-add driver=overlay name=top child=fill backing=two");
    stack_do("node-add driver=fault name=flt child=top reactor=%u", (unsigned)acts_draw(threads));
    stack_do("node-add driver=copy-on-read name=cor child=flt");
    stack_do("node-add driver=throttle name=thr child=cor throttle-group=g0");
    stack_do("node-add driver=raw name=raw child=thr reactor=%u", (unsigned)acts_draw(threads));
    stack_do("node-add driver=write-threshold name=wt child=cor");
    stack_do("node-add driver=mock name=m0 size=1M");
    stack_do("node-add driver=mock name=m1 size=1M");
    stack_do("node-add driver=stuck name=rm child=m0");
    stack_do("backend-add name=a node=raw");
    stack_do("backend-add name=b node=wt");
    stack_do("backend-add name=c node=rm");
    acts.a = stack_find("a");
    acts.b = stack_find("b");
    acts.c = stack_find("c");
}

static void act(uint64_t n)
{
    for (; n; n--) {
        acts_act();
        for (uint64_t steps = acts_draw(8); steps; steps--)
            stack_step();
    }
}

static void hang(int sig)
{
    (void)sig;
    fail_msg("nothing comes to an end any more");
}

static void whatever_is_asked_at_once_is_answered_by_the_end(void **state)
{
    unsigned told = 0, forced = 0;
    (void)state;
    signal(SIGALRM, hang);
    FOR_EACH_SEED(seed)
    {
        struct stack_answer ended[2];
        alarm(120);
        add_graph(seed);
        act(acts_draw(40));
        never = true;
        acts_say("node-set base rules='any delay=1000s'");
        acts_say("node-set fill rules='any delay=1000s'");
        acts_say("node-set rm rules='any delay=1000s'");
        act(40 + acts_draw(80));
        for (unsigned i = 0; i < 2; i++) {
            shut_down(&ended[i]);
            act(acts_draw(10));
        }
        for (unsigned i = 0; i < 2; i++) {
            stack_await(&ended[i]);
            assert_int_equal(ended[i].code, 0);
        }
        stack_settle();
        for (unsigned i = 0; i < acts.nasks; i++) {
            const struct stack_answer *answer = &acts.asks[i].answer;
            /* Control waits for its requests, as all do who make any, until it is closed. */
            bool with_medium = !strncmp(acts.asks[i].text, "io-", 3);
            if (!answer->came && !with_medium)
                fail_msg("'%s' was not answered", acts.asks[i].text);
            if (answer->code && !answer->text[0])
                fail_msg("'%s' was refused without a word, with %d", acts.asks[i].text,
                         answer->code);
            told += strstr(answer->text, "the engine has ended before") != NULL;
        }
        forced += stack_actors() > 2;
        leave_it();
        for (unsigned i = 0; i < acts.nasks; i++)
            assert_true(acts.asks[i].answer.came);
    }
    alarm(0);
    assert_true(told > forced && forced > (stack_last_seed() - stack_first_seed()) / 2);
}

/* --- Who asked for the end */

static void all_who_asked_for_the_end_are_told_of_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer ended[3];
        struct stack_op reads;
        bool force = seed % 2;
        add_stack(seed);
        actor_addr far = stack_find("far");
        if (force) {
            get_stuck();
            stack_submit(&reads, far, OP_READ, 0, 4096, 0, NULL);
            stack_settle();
        } else {
            stack_call(far, MAIL_SESSION_OPEN, stack_session(1, 4096)); /* which holds it up */
        }
        for (unsigned i = 0; i < 3; i++) {
            shut_down(&ended[i]);
            for (uint64_t steps = seed / 2 % 4 * i; steps; steps--)
                stack_step();
        }
        stack_settle();
        for (unsigned i = 0; i < 3; i++)
            assert_false(ended[i].came);
        if (!force)
            stack_call(far, MAIL_SESSION_CLOSE, stack_session_end(1));
        if (!force)
            stack_release("far");
        for (unsigned i = 0; i < 3; i++) {
            stack_await(&ended[i]);
            assert_int_equal(ended[i].code, 0);
        }
        if (force)
            leave_it();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_waits_for_what_does_not_end_is_told),
        cmocka_unit_test(whoever_waits_for_a_change_behind_one_is_told),
        cmocka_unit_test(whoever_drains_or_leaves_is_told),
        cmocka_unit_test(a_request_of_control_that_a_medium_does_not_end_is_answered),
        cmocka_unit_test(whatever_is_asked_at_once_is_answered_by_the_end),
        cmocka_unit_test(all_who_asked_for_the_end_are_told_of_it),
    };
    stuck = driver_fault;
    stuck.name = "stuck";
    stuck.abort = NULL;
    stuck.cancel = NULL;
    stuck.activate = stuck.invalidate = may_be_done;
    stuck.inactivate = hand_over;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
