/* Whatever is asked at once is answered once: all that can be asked of an engine, sent without
 * waiting for one another in an order that a seed draws, over one graph: overlays, a diamond,
 * filters, backends on 1 to 3 reactors, devices, sessions, throttle groups, jobs. What comes of an
 * answer or of the end of a request may ask more. With STACK_TRACE in the environment it tells what
 * it does.
 *
 *     a: raw > thr (throttle) > cor (copy-on-read) > flt (fault) > top (overlay) > space
 *     b: wt (write-threshold) > cor                                two (overlay) > more
 *     c: rm (raw) > m0 (mock); m1 (mock) is there, too             base
 *
 * The lower half of `top` is for writes over a and b, each to a place of its own: what they
 * acknowledge is to be read there. Everything else happens in the upper half. */
#include "acts_rig.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static bool letting_go; /* nothing new begins */
static uint64_t own[3]; /* claims of a, b and c, kept to the end */
static unsigned nown;

/* --- What came */

static void ask_came(struct acts_ask *ask)
{
    const struct stack_answer *answer = &ask->answer;
    acts_trace("answer", ask->text, answer->code);
    if (answer->code)
        acts_trace("  says", answer->text, answer->code);
    if (answer->code && !answer->text[0])
        fail_msg("'%s' was refused without a word, with %d", ask->text, answer->code);
    if (answer->code || !answer->body)
        return;
    const Sluice__Claimed *claimed = answer->body;
    switch (ask->what) {
    case ACTS_NOTHING:
        break;
    case ACTS_REGION:
        acts.regions[acts.nregions++] = ((const Sluice__Drained *)answer->body)->region;
        break;
    case ACTS_SESSION:
        acts.sessions[acts.nsessions].to = ask->to;
        acts.sessions[acts.nsessions++].session =
            ((const Sluice__SessionGrant *)answer->body)->session;
        break;
    case ACTS_DEVICE:
        stack_ask(&acts_ask(ACTS_NOTHING, 0, "device ops")->answer, claimed->address,
                  MAIL_DEVICE_OPS, stack_device_offers(15));
        /* fall through */
    case ACTS_CLAIM:
    case ACTS_UNNAMED:
        acts.claims[acts.nclaims].claim = claimed->claim;
        acts.claims[acts.nclaims].device = ask->what == ACTS_DEVICE;
        acts.claims[acts.nclaims].unnamed = ask->what == ACTS_UNNAMED;
        acts.claims[acts.nclaims++].to = claimed->address;
        break;
    }
}

static void request_came(const struct acts_request *request)
{
    acts_trace("ended", "request", request - acts.requests);
    acts_trace("  with", "", request->op.ret);
    if (!request->kept || request->op.ret < 0)
        return;
    if (request->kind == OP_WRITE) {
        acts.acknowledged[request->place] = true;
        acts.bytes[request->place] = request->bytes;
    } else {
        for (unsigned i = 0; i < request->bytes; i++)
            if (request->data[i] != acts_pattern(request->place))
                fail_msg("place %u reads as %u at %u, but not as %u", request->place,
                         request->data[i], i, acts_pattern(request->place));
    }
}

/* Notes what has come; who hears of it may ask for more. */
static void look(void)
{
    for (unsigned i = 0; i < acts.nasks; i++)
        if (acts.asks[i].answer.came && !acts.asks[i].seen) {
            acts.asks[i].seen = true;
            ask_came(&acts.asks[i]);
            if (!letting_go && acts_chance(15))
                acts_act();
        }
    for (unsigned i = 0; i < acts.nrequests; i++)
        if (acts.requests[i].op.came && !acts.requests[i].seen) {
            acts.requests[i].seen = true;
            request_came(&acts.requests[i]);
            if (!letting_go && acts_chance(15))
                acts_act();
        }
}

static unsigned outstanding(bool tell)
{
    unsigned n = 0;
    for (unsigned i = 0; i < acts.nasks; i++)
        if (!acts.asks[i].answer.came) {
            if (tell)
                print_error("'%s' was not answered\n", acts.asks[i].text);
            n++;
        }
    for (unsigned i = 0; i < acts.nrequests; i++)
        if (!acts.requests[i].op.came) {
            if (tell)
                print_error("request %u of kind %d has not ended\n", i, (int)acts.requests[i].kind);
            n++;
        }
    return n;
}

/* --- All of it */

static actor_addr begin_to_use(const char *name)
{
    struct stack_answer answer;
    stack_claim(&answer, name, PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE, PERM_ALL);
    stack_await(&answer);
    assert_int_equal(answer.code, 0);
    const Sluice__Claimed *claimed = answer.body;
    own[nown++] = claimed->claim;
    return claimed->address;
}

static void begin(uint64_t seed)
{
    unsigned threads = STACK_THREADS(seed);
    memset(&acts, 0, sizeof acts);
    letting_go = false;
    nown = 0;
    acts.random = seed;
    stack_do("throttle-add g0 iops-total=%s", seed & 1 ? "0" : "1000");
    stack_do("node-add driver=memory name=base size=1M reactor=%u", (unsigned)acts_draw(threads));
    stack_do("node-add driver=memory name=more size=1M reactor=%u", (unsigned)acts_draw(threads));
    stack_do("node-add driver=memory name=space size=1M reactor=%u", (unsigned)acts_draw(threads));
    stack_do("node-add driver=overlay name=two child=more backing=base");
    stack_do("node-add driver=overlay name=top child=space backing=two");
    stack_do("node-add driver=fault name=flt child=top reactor=%u", (unsigned)acts_draw(threads));
    stack_do("node-add driver=copy-on-read name=cor child=flt");
    stack_do("node-add driver=throttle name=thr child=cor throttle-group=g0");
    stack_do("node-add driver=raw name=raw child=thr reactor=%u", (unsigned)acts_draw(threads));
    stack_do("node-add driver=write-threshold name=wt child=cor reactor=%u",
             (unsigned)acts_draw(threads));
    stack_do("node-add driver=mock name=m0 size=1M hold=%s", seed & 2 ? "on" : "off");
    stack_do("node-add driver=mock name=m1 size=1M");
    stack_do("node-add driver=raw name=rm child=m0");
    stack_do("backend-add name=a node=raw");
    stack_do("backend-add name=b node=wt");
    stack_do("backend-add name=c node=rm");
    if (acts_chance(60))
        acts_say("device-add c id=cd removable=on tray=$o");
    if (acts_chance(60))
        acts_say("backend-add name=d node=$n");
    if (acts_chance(60))
        acts_say("throttle-add g1 iops-total=$l parent=g0");
    if (acts_chance(60))
        acts_say("node-add driver=overlay name=x0 child=m1 backing=$n");
    acts.a = begin_to_use("a");
    acts.b = begin_to_use("b");
    acts.c = begin_to_use("c");
}

/* What frontends do when they end. */
static void leave(void)
{
    while (acts.nsessions)
        acts_close_session();
    while (acts.nclaims)
        acts_end_claim();
}

/* Nobody has what others can't have then. */
static void clear_the_way(void)
{
    static const char *const goes[] = {"device-remove cd", "export-remove ex", "export-remove ey",
                                       "medium-remove c",  "medium-remove d",  "medium-remove e",
                                       "node-remove x0",   "node-remove x1",   "node-remove x2",
                                       "node-remove x0",   "node-remove x1",   "node-remove x0"};
    static const char *const blocked[] = {"raw",  "thr", "cor", "flt", "wt", "top", "two",
                                          "base", "m0",  "m1",  "rm",  "x0", "x1",  "x2"};
    leave();
    for (size_t i = 0; i < sizeof blocked / sizeof *blocked; i++) {
        char line[64];
        snprintf(line, sizeof line, "op-unblock node=%s reason=r", blocked[i]);
        acts_say(line);
    }
    for (size_t i = 0; i < sizeof goes / sizeof *goes; i++) {
        stack_settle();
        look();
        acts_say(goes[i]);
    }
}

/* Everything that keeps something waiting goes; then all is answered. */
static void let_go(void)
{
    static const char *const goes[] = {"resume",
                                       "node-set m0 hold=off error=0",
                                       "node-set m1 hold=off error=0",
                                       "node-set x0 hold=off error=0",
                                       "node-set x1 hold=off error=0",
                                       "node-set x2 hold=off error=0",
                                       "node-set flt rules=",
                                       "node-set x0 rules=",
                                       "node-set x1 rules=",
                                       "node-set x2 rules=",
                                       "throttle-set g0 iops-total=0 bps-total=0",
                                       "throttle-set g1 iops-total=0 bps-total=0",
                                       "throttle-set g2 iops-total=0 bps-total=0",
                                       "activate",
                                       "backend-set a werror=report rerror=report",
                                       "backend-set b werror=report rerror=report",
                                       "backend-set c werror=report rerror=report",
                                       "backend-set d werror=report rerror=report",
                                       "backend-set e werror=report rerror=report",
                                       "backend-resume a",
                                       "backend-resume b",
                                       "backend-resume c",
                                       "backend-resume d",
                                       "backend-resume e",
                                       "job-resume a",
                                       "job-resume b",
                                       "job-resume c",
                                       "job-resume j",
                                       "job-set a speed=0",
                                       "job-set b speed=0",
                                       "job-set c speed=0",
                                       "job-set j speed=0"};
    letting_go = true;
    bool answered = false;
    for (unsigned round = 0; round < 20; round++) {
        acts_answer_all();
        while (acts.nregions)
            acts_end_region();
        if (round == 3) /* what is incoming can't be resumed when not all can have what they need */
            clear_the_way();
        for (size_t i = 0; i < sizeof goes / sizeof *goes; i++)
            acts_say(goes[i]);
        stack_pass(NS_PER_S);
        look();
        if (answered && !outstanding(false) && !acts.nregions)
            return; /* nor was anything in the way of this round */
        answered = !outstanding(false);
    }
    outstanding(true);
    fail_msg("something was not answered");
}

/* What was acknowledged is there. */
static void check_data(void)
{
    struct stack_answer inserted;
    clear_the_way();
    stack_settle();
    stack_do("activate");
    stack_send(&inserted, "medium-insert a raw");
    stack_await(&inserted);
    for (unsigned place = 0; place < acts.places; place++) {
        unsigned char data[PLACE];
        struct stack_op op;
        if (!acts.acknowledged[place])
            continue;
        stack_submit(&op, acts.a, OP_READ, place * PLACE, acts.bytes[place], 0, data);
        stack_await_op(&op);
        if (op.ret)
            fail_msg("place %u can't be read: %lld; %s", place, (long long)op.ret, inserted.text);
        for (unsigned i = 0; i < acts.bytes[place]; i++)
            if (data[i] != acts_pattern(place))
                fail_msg("place %u has %u at %u, but not %u", place, data[i], i,
                         acts_pattern(place));
    }
}

static bool is_left(void)
{
    return outstanding(false) || acts.nclaims || acts.nsessions || nown;
}

/* An engine that ends answers all, amid everything too; when nothing is in its way, at once.
 * Frontends leave when they hear of it. */
static void stop(unsigned seconds)
{
    letting_go = true;
    Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
    shutdown->deadline = 5 * NS_PER_S;
    stack_ask(&acts_ask(ACTS_NOTHING, 0, "shutdown")->answer, stack_world()->graph, MAIL_SHUTDOWN,
              shutdown);
    for (unsigned second = 0; second < seconds && is_left(); second++) {
        leave();
        while (nown) {
            Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
            end->claim = own[--nown];
            stack_ask(&acts_ask(ACTS_NOTHING, 0, "claim end")->answer, stack_world()->graph,
                      MAIL_CLAIM_END, end);
        }
        acts_answer_all();
        stack_pass(NS_PER_S);
        look();
    }
    if (outstanding(true))
        fail_msg("something was not answered when the engine ended");
}

/* Nothing waits any more. What succeeded is counted, and all else is, as failed or invalid, but for
 * what was cancelled before it began. One that is held counts as failed each time that it fails. */
static void check_counts(const char *name, actor_addr to)
{
    const Sluice__BackendInfo *info = stack_do("backend-show %s", name)->backend;
    assert_int_equal(info->in_flight + info->queued + info->queued_bytes, 0);
    assert_int_equal(info->held + info->held_bytes, 0);
    const struct {
        enum op_kind kind;
        const Sluice__OpCounters *counters;
    } kinds[] = {{OP_READ, info->read},     {OP_WRITE, info->write},
                 {OP_ZEROES, info->zeroes}, {OP_DISCARD, info->discard},
                 {OP_FLUSH, info->flush},   {OP_TRUNCATE, info->truncate}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const Sluice__OpCounters none = SLUICE__OP_COUNTERS__INIT,
                                 *counters = kinds[k].counters ? kinds[k].counters : &none;
        uint64_t done = 0, cancelled = 0, others = 0;
        for (unsigned i = 0; i < acts.nrequests; i++) {
            const struct acts_request *request = &acts.requests[i];
            if (request->kind != kinds[k].kind || request->to != to)
                continue;
            done += request->op.ret >= 0;
            cancelled += request->op.ret == -ECANCELED;
            others += request->op.ret < 0 && request->op.ret != -ECANCELED;
        }
        if (counters->operations != done || counters->failed + counters->invalid < others ||
            counters->invalid > others + cancelled)
            fail_msg(
                "backend '%s' counts %llu of kind %d that are done, %llu failed, %llu invalid; "
                "there were %llu, and %llu that did not succeed, %llu cancelled",
                name, (unsigned long long)counters->operations, (int)kinds[k].kind,
                (unsigned long long)counters->failed, (unsigned long long)counters->invalid,
                (unsigned long long)done, (unsigned long long)others,
                (unsigned long long)cancelled);
    }
}

static void check_groups(void)
{
    const Sluice__ThrottleList *groups = stack_do("throttle-list")->throttles;
    for (size_t i = 0; i < groups->n_throttle_groups; i++)
        assert_int_equal(groups->throttle_groups[i]->waiting, 0);
}

static void shortly(void)
{
    for (uint64_t steps = acts_draw(8); steps; steps--)
        stack_step();
}

static void hang(int sig)
{
    (void)sig;
    fail_msg("nothing comes to an end any more");
}

static void whatever_is_asked_at_once_is_answered_once(void **state)
{
    (void)state;
    signal(SIGALRM, hang);
    FOR_EACH_SEED(seed)
    {
        alarm(120);
        if (seed % 8 == 7) { /* another process has the images first */
            stack_stop();
            stack_start_incoming(STACK_THREADS(seed), seed);
        }
        begin(seed);
        for (uint64_t n = 40 + acts_draw(80); n; n--) {
            acts_act();
            shortly();
            look();
        }
        if (acts_chance(25)) {
            stop(10);
        } else {
            let_go();
            check_counts("a", acts.a);
            check_counts("b", acts.b);
            check_groups();
            check_data();
            stop(2);
        }
    }
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_is_asked_at_once_is_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
