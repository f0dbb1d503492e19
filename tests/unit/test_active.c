/* Backends are inactivated and activated, one or all, in a whole stepped engine: each seed is
 * another order of what happens. See test_incoming.c for an engine that begins so. */
#include "active_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- Inactivation */

static void one_that_is_inactivated_gives_all_up_and_remembers_what_it_had(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("node-add driver=raw name=f child=m");
        stack_do("backend-add name=b node=f");
        actor_addr b = perm_claim("b", READ | PERM_WRITE | PERM_RESIZE, SHARED)->address;
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        uint64_t before = shown_sequence();
        stack_do("backend-inactivate b");
        assert_string_equal(stack_story(before + 1), "BACKEND_INACTIVATED b");
        assert_activity("b", INACTIVE);
        assert_node("f", true, "", ALL);
        assert_node("m", true, "", ALL);
        assert_turns("m", 0, 1);
        perm_assert("b", "consistent-read,write,resize", "consistent-read,write-unchanged");
        stack_do("backend-activate b");
        assert_string_equal(stack_story(before + 1), "BACKEND_INACTIVATED b, BACKEND_ACTIVATED b");
        assert_activity("b", ACTIVE);
        assert_node("f", false, "consistent-read,write,resize", "consistent-read,write-unchanged");
        assert_node("m", false, "consistent-read,write,resize", "consistent-read,write-unchanged");
        assert_turns("m", 1, 1);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
    }
}

static void requests_of_an_inactive_one_are_refused(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static const enum op_kind kinds[] = {
            OP_READ,     OP_WRITE,      OP_ZEROES,       OP_STATUS,       OP_DISCARD,
            OP_TRUNCATE, OP_MAKE_EMPTY, OP_SAVE_VMSTATE, OP_LOAD_VMSTATE, OP_IOCTL};
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b node=m");
        actor_addr b = perm_claim("b", READ | PERM_WRITE | PERM_RESIZE, PERM_ALL)->address;
        stack_do("backend-inactivate b");
        for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
            assert_int_equal(stack_run(b, kinds[i], 0, 512, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), 0);
        assert_false(was_sent("m", "read") || was_sent("m", "write") || was_sent("m", "truncate"));
        stack_refused(-EPERM,
                      "backend \"b\" failed at byte 0: Operation not permitted; it is inactive",
                      "io-write b offset=0 data=x");
        stack_do("backend-activate b");
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(stack_run(b, kinds[i], 512, 512, 0), 0);
    }
}

static void what_is_in_flight_ends_first_and_is_made_durable(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock size=1M hold=on", "");
        struct stack_op before, meanwhile;
        struct stack_answer done;
        stack_submit(&before, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&done, "backend-inactivate b");
        stack_settle();
        stack_submit(&meanwhile, b, OP_WRITE, 512, 512, 0, NULL);
        stack_settle();
        assert_false(before.came || meanwhile.came || done.came);
        assert_activity("b", ACTIVE);
        assert_turns("m", 0, 0);
        assert_false(was_sent("m", "flush"));
        stack_do("node-set m release=1");
        stack_settle();
        assert_true(before.came && was_sent("m", "flush"));
        assert_false(done.came || meanwhile.came);
        assert_turns("m", 0, 0);
        stack_do("node-set m hold=off");
        stack_await(&done);
        stack_await_op(&meanwhile);
        assert_int_equal(done.code, 0);
        assert_int_equal(before.ret, 0);
        assert_int_equal(meanwhile.ret, -EPERM);
        assert_turns("m", 0, 1);
        stack_release("b");
    }
}

static void what_can_not_be_made_durable_stays_active(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        actor_addr b = stack_backend("m", "driver=mock size=1M", "");
        uint64_t before = shown_sequence();
        stack_do("node-set m error=5");
        stack_refused(-EIO, "could not be made durable", "backend-inactivate b");
        assert_activity("b", ACTIVE);
        assert_turns("m", 0, 0);
        stack_do("node-set m error=0");
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        assert_string_equal(stack_story(before + 1), "");
        stack_do("backend-inactivate b");
    }
}

static void what_is_so_already_is_fine_and_tells_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=empty");
        uint64_t before = shown_sequence();
        stack_do("backend-activate b");
        stack_do("activate");
        assert_string_equal(stack_story(before + 1), "");
        stack_do("backend-inactivate b");
        stack_do("backend-inactivate empty");
        stack_do("backend-inactivate b");
        stack_do("inactivate");
        assert_string_equal(stack_story(before + 1),
                            "BACKEND_INACTIVATED b, BACKEND_INACTIVATED empty");
        assert_turns("m", 0, 1);
        stack_do("backend-activate empty");
        assert_activity("empty", ACTIVE);
        stack_refused(-ENOENT, "there is no backend 'x'", "backend-inactivate x");
        stack_refused(-ENOENT, "there is no backend 'x'", "backend-activate x");
    }
}

static void a_node_stays_active_while_one_backend_above_it_is(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m");
        stack_do("node-add driver=raw name=f child=m");
        stack_do("backend-add name=b node=f");
        stack_do("backend-add name=c node=m");
        perm_claim("b", READ, PERM_ALL);
        uint64_t c = perm_claim("c", READ | PERM_WRITE, PERM_ALL)->claim;
        stack_do("backend-inactivate b");
        assert_node("f", true, "", ALL);
        assert_node("m", false, "consistent-read,write", ALL);
        stack_do("backend-inactivate c");
        assert_node("m", true, "", ALL);
        assert_turns("m", 0, 1);
        stack_do("backend-activate b");
        assert_node("f", false, "consistent-read", ALL);
        assert_node("m", false, "consistent-read", ALL);
        stack_do("backend-inactivate b");
        stack_claim_end(c);
        stack_do("backend-remove c");
        assert_turns("m", 1, 2);
        /* One that loses its backends stays as it is, and who comes then activates it. */
        stack_do("node-add driver=raw name=g child=m");
        assert_node("g", true, "", ALL);
        stack_do("node-set m deny-activate=on");
        stack_refused(-EBUSY, "node 'm' is not activated", "backend-add name=d node=g");
        assert_node("g", true, "", ALL);
        stack_do("node-set m deny-activate=off");
        stack_do("backend-add name=d node=g");
        assert_node("g", false, "", ALL);
        assert_node("m", false, "", ALL);
    }
}

/* --- While inactive */

static void a_change_of_permissions_is_only_remembered(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=c node=m");
        stack_do("backend-inactivate b");
        uint64_t other = perm_claim("c", READ | PERM_WRITE, SHARED)->claim;
        uint64_t mine = perm_claim("b", READ, PERM_ALL)->claim;
        assert_int_equal(perm_set(mine, READ | PERM_WRITE, SHARED).code, 0); /* in conflict */
        perm_assert("b", "consistent-read,write", "consistent-read,write-unchanged");
        assert_node("m", false, "consistent-read,write", "consistent-read,write-unchanged");
        stack_refused(-EPERM, "backend 'c', for client 'rig' does not share", "backend-activate b");
        assert_activity("b", INACTIVE);
        stack_claim_end(other);
        stack_do("backend-activate b");
        assert_node("m", false, "consistent-read,write", "consistent-read,write-unchanged");
    }
}

static void a_medium_that_comes_meanwhile_is_released_too(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b");
        actor_addr b = perm_claim("b", READ | PERM_WRITE, PERM_ALL)->address;
        stack_do("backend-inactivate b");
        stack_do("medium-insert backend=b node=m");
        assert_node("m", true, "", ALL);
        assert_turns("m", 0, 1);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), -EPERM);
        stack_do("medium-remove b");
        stack_do("medium-insert backend=b node=m");
        stack_do("backend-activate b");
        assert_turns("m", 1, 1);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
    }
}

/* --- Refusals */

static void a_failure_of_the_first_step_leaves_it_inactive_and_says_why(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b node=m");
        actor_addr b = perm_claim("b", READ | PERM_WRITE, SHARED)->address;
        stack_do("backend-inactivate b");
        stack_do("node-set m deny-activate=on");
        uint64_t before = shown_sequence();
        stack_refused(-EBUSY, "node 'm' is not activated: its option deny-activate says so",
                      "backend-activate b");
        assert_string_equal(stack_story(before + 1), "");
        assert_activity("b", INACTIVE);
        assert_node("m", true, "", ALL);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), -EPERM);
        stack_do("node-set m deny-activate=off deny=write");
        stack_refused(-EPERM, "node 'm' gives nobody 'write'", "backend-activate b");
        assert_node("m", true, "", ALL);
        assert_turns("m", 1, 1); /* it was not asked to be, when the other was known */
        stack_do("node-set m deny=");
        stack_do("backend-activate b");
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
    }
}

static void a_failure_of_the_second_step_gives_back_what_the_first_took(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("node-add driver=raw name=f child=m");
        stack_do("backend-add name=b node=f");
        stack_do("backend-add name=c node=m");
        actor_addr b = perm_claim("b", READ | PERM_WRITE, SHARED)->address;
        stack_do("backend-inactivate b");
        uint64_t other =
            perm_claim("c", PERM_WRITE, PERM_ALL)->claim; /* shares all: no conflict yet */
        uint64_t before = shown_sequence();
        stack_refused(-EPERM,
                      "backend 'c', for client 'rig' needs 'write' on node 'm', which node "
                      "'f' does not share",
                      "backend-activate b");
        assert_string_equal(stack_story(before + 1), "");
        assert_activity("b", INACTIVE);
        assert_node("f", true, "", ALL);
        assert_node("m", false, "write", ALL);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), -EPERM);
        stack_claim_end(other);
        stack_do("backend-activate b");
        assert_node("f", false, "consistent-read,write", "consistent-read,write-unchanged");
    }
}

static void a_node_that_refuses_half_way_lets_the_others_go_again(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=top size=1M");
        stack_do("node-add driver=mock name=below size=1M");
        stack_do("node-add driver=overlay name=o child=top backing=below");
        stack_do("backend-add name=b node=o");
        perm_claim("b", READ, PERM_ALL);
        stack_do("backend-inactivate b");
        assert_turns("top", 0, 1);
        assert_turns("below", 0, 1);
        stack_do("node-set below deny-activate=on");
        stack_refused(-EBUSY, "node 'below' is not activated", "backend-activate b");
        assert_turns("top", 1, 2); /* taken, and given back */
        assert_turns("below", 1, 1);
        assert_node("o", true, "", ALL);
        assert_node("top", true, "", ALL);
        stack_do("node-set below deny-activate=off");
        stack_do("backend-activate b");
        assert_turns("top", 2, 2);
        assert_turns("below", 2, 1);
    }
}

/* --- Exports */

/* A client of the export, at port 0 of this host. */
static int connect_to(const char *id)
{
    const char *uri = stack_do("export-show %s", id)->export->uri, *colon = strrchr(uri, ':');
    assert_non_null(colon);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(colon + 1)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    while (stack_do("export-show %s", id)->export->connections < 1)
        stack_step();
    return fd;
}

static void an_export_with_clients_refuses_it_unless_it_was_told_to_allow_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=other");
        stack_do("export-add type=nbd backend=b id=e port=0 writable=on");
        stack_do("backend-inactivate b"); /* nobody is there */
        stack_do("backend-activate b");
        int client = connect_to("e");
        uint64_t before = shown_sequence();
        stack_refused(-EPERM, "export 'e' has 1 client, so its backend can't be inactivated",
                      "backend-inactivate b");
        stack_refused(-EPERM, "export 'e' has 1 client", "inactivate");
        assert_string_equal(stack_story(before + 1), "");
        assert_activity("b", ACTIVE);
        assert_activity("other", ACTIVE);
        assert_node("m", false, "consistent-read,write", ALL);
        stack_do("backend-inactivate other");
        close(client);
        stack_do("export-remove e");
        stack_do("export-add type=nbd backend=b id=e port=0 writable=on allow-inactive=on");
        client = connect_to("e");
        stack_do("backend-inactivate b");
        assert_node("m", true, "", ALL);
        assert_int_equal(stack_do("export-show e")->export->connections, 1);
        close(client);
        stack_do("export-remove e");
        /* One with a backend of its own, which has no name. */
        stack_do("export-add type=nbd node=m id=own port=0 writable=on");
        client = connect_to("own");
        stack_refused(-EPERM, "export 'own' has 1 client", "inactivate");
        close(client);
        while (stack_do("export-show own")->export->connections)
            stack_step();
        stack_do("inactivate");
        assert_node("m", true, "", ALL);
        stack_do("export-remove own");
    }
}

/* --- Jobs */

static void one_whose_export_is_being_added_is_inactivated(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer added, inactivated;
        stack_do("node-add driver=mock name=m size=1M reactor=%u",
                 (unsigned)seed / 3 % 3 % STACK_THREADS(seed));
        stack_do("backend-add name=b node=m");
        stack_send(&added, "export-add type=nbd backend=b id=e port=0");
        for (uint64_t steps = seed % 20; steps; steps--)
            stack_step();
        stack_send(&inactivated, "backend-inactivate b");
        stack_await(&inactivated);
        stack_await(&added);
        assert_int_equal(added.code, 0);
        assert_int_equal(inactivated.code, 0);
        assert_activity("b", INACTIVE);
        assert_non_null(stack_do("export-show e")->export->uri);
    }
}

static void a_job_below_refuses_it_and_what_is_inactive_refuses_a_job(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=top size=1M");
        stack_do("node-add driver=mock name=below size=1M");
        stack_do("node-add driver=overlay name=o child=top backing=below");
        stack_do("backend-add name=b node=o");
        stack_do("backend-add name=other");
        actor_addr b = stack_find("b");
        assert_int_equal(stack_run(b, OP_WRITE, 0, 65536, 0), 0);
        stack_do("node-set below hold=on");
        stack_do("commit b id=j");
        stack_refused(-EPERM, "job 'j' works on node", "backend-inactivate b");
        stack_refused(-EPERM, "job 'j' works on node", "inactivate");
        assert_activity("other", ACTIVE);
        stack_do("backend-inactivate other");
        stack_do("node-set below hold=off");
        while (stack_do("job-list")->jobs->n_jobs)
            stack_pass(NS_PER_MS);
        stack_do("backend-inactivate b");
        stack_refused(-EPERM, "node 'o' is inactive", "commit b");
        stack_refused(-EPERM, "node 'o' is inactive", "commit-all");
        assert_node("o", true, "", ALL);
        stack_release("b");
    }
}

/* --- All */

static void add_three(void)
{
    for (unsigned i = 0; i < 3; i++) {
        char name[8];
        stack_do("node-add driver=mock name=m%u size=1M", i);
        stack_do("backend-add name=b%u node=m%u", i, i);
        snprintf(name, sizeof name, "b%u", i);
        perm_claim(name, READ | PERM_WRITE, SHARED);
    }
}

static void all_are_inactivated_and_activated(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_three();
        stack_do("backend-inactivate b1");
        uint64_t before = shown_sequence();
        stack_do("inactivate");
        assert_string_equal(stack_story(before + 1),
                            "BACKEND_INACTIVATED b0, BACKEND_INACTIVATED b2");
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(stack_do("backend-show b%u", i)->backend->activity, INACTIVE);
        before = shown_sequence();
        stack_do("activate");
        assert_string_equal(stack_story(before + 1), "BACKEND_ACTIVATED b0, BACKEND_ACTIVATED b1, "
                                                     "BACKEND_ACTIVATED b2");
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(stack_do("backend-show b%u", i)->backend->activity, ACTIVE);
    }
}

static void all_or_none_when_one_refuses(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_three();
        /* The last one can't be made durable: the first two come back. */
        stack_do("node-set m2 error=5");
        stack_do("backend-inactivate b1");
        uint64_t before = shown_sequence();
        stack_refused(-EIO, "backend 'b2' can't be inactivated", "inactivate");
        assert_string_equal(stack_story(before + 1),
                            "BACKEND_INACTIVATED b0, BACKEND_ACTIVATED b0");
        assert_activity("b0", ACTIVE);
        assert_activity("b1", INACTIVE);
        assert_activity("b2", ACTIVE);
        stack_do("node-set m2 error=0");
        stack_do("inactivate");
        /* The last one can't be had. */
        stack_do("node-set m2 deny-activate=on");
        before = shown_sequence();
        stack_refused(-EBUSY, "node 'm2' is not activated", "activate");
        assert_string_equal(stack_story(before + 1),
                            "BACKEND_ACTIVATED b0, BACKEND_ACTIVATED b1, BACKEND_INACTIVATED b1, "
                            "BACKEND_INACTIVATED b0");
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(stack_do("backend-show b%u", i)->backend->activity, INACTIVE);
        assert_turns("m0", 2, 3);
        stack_do("node-set m2 deny-activate=off");
        stack_do("activate");
        assert_activity("b2", ACTIVE);
    }
}

static void what_can_not_be_undone_is_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        add_three();
        stack_do("node-set m0 deny-activate=on");
        stack_do("node-set m2 error=5");
        uint64_t before = shown_sequence();
        stack_refused(-EIO, "backend 'b2' can't be inactivated", "inactivate");
        assert_string_equal(stack_story(before + 1),
                            "BACKEND_INACTIVATED b0, BACKEND_INACTIVATED b1, BACKEND_ACTIVATED b1, "
                            "BACKEND_ACTIVATION_ERROR b0");
        assert_activity("b0", INACTIVE);
        assert_activity("b1", ACTIVE);
        stack_do("node-set m2 error=0");
    }
}

/* --- Others meanwhile */

static void requests_that_cross_are_each_answered_and_what_is_told_is_so(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static const char *const asked[] = {
            "inactivate", "backend-activate b1",   "medium-remove b0",
            "activate",   "backend-inactivate b2", "backend-move b1 reactor=0",
            "activate",   "backend-remove b1"};
        struct stack_answer answers[8];
        for (unsigned i = 0; i < 3; i++) {
            stack_do("node-add driver=mock name=m%u size=1M", i);
            stack_do("backend-add name=b%u node=m%u", i, i);
        }
        uint64_t before = shown_sequence();
        for (unsigned i = 0; i < 8; i++) {
            stack_send(&answers[i], "%s", asked[(i * 5 + seed) % 8]);
            for (unsigned steps = 0; steps < seed % 7; steps++)
                stack_step();
        }
        for (unsigned i = 0; i < 8; i++) {
            stack_await(&answers[i]);
            assert_true(answers[i].code == 0 || answers[i].code == -EBUSY ||
                        answers[i].code == -ENOENT);
        }
        const Sluice__Status *status = stack_do("status")->status;
        const char *story = stack_story(before + 1);
        for (size_t i = 0; i < status->n_backends; i++) {
            char on[40], off[40];
            const Sluice__BackendInfo *info = status->backends[i];
            snprintf(on, sizeof on, "BACKEND_ACTIVATED %s", info->name);
            snprintf(off, sizeof off, "BACKEND_INACTIVATED %s", info->name);
            const char *last_on = NULL, *last_off = NULL, *at;
            for (at = story; (at = strstr(at, on)); at++)
                last_on = at;
            for (at = story; (at = strstr(at, off)); at++)
                last_off = at;
            bool inactive = last_off && (!last_on || last_on < last_off);
            assert_int_equal(info->activity, inactive ? INACTIVE : ACTIVE);
        }
        stack_do("activate");
        stack_do("inactivate");
    }
}

static void the_end_ends_an_inactivation_that_waits(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer done;
        stack_do("node-add driver=mock name=m size=1M hold=on");
        stack_do("backend-add name=b node=m");
        stack_submit(&op, stack_find("b"), OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_send(&done, "inactivate");
        stack_settle();
        assert_false(done.came);
        stack_stop();
        assert_true(done.came && op.came);
        assert_int_equal(op.ret, -ESHUTDOWN);
        stack_start(1, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_inactivated_gives_all_up_and_remembers_what_it_had),
        cmocka_unit_test(requests_of_an_inactive_one_are_refused),
        cmocka_unit_test(what_is_in_flight_ends_first_and_is_made_durable),
        cmocka_unit_test(what_can_not_be_made_durable_stays_active),
        cmocka_unit_test(what_is_so_already_is_fine_and_tells_nothing),
        cmocka_unit_test(a_node_stays_active_while_one_backend_above_it_is),
        cmocka_unit_test(a_change_of_permissions_is_only_remembered),
        cmocka_unit_test(a_medium_that_comes_meanwhile_is_released_too),
        cmocka_unit_test(a_failure_of_the_first_step_leaves_it_inactive_and_says_why),
        cmocka_unit_test(a_failure_of_the_second_step_gives_back_what_the_first_took),
        cmocka_unit_test(a_node_that_refuses_half_way_lets_the_others_go_again),
        cmocka_unit_test(an_export_with_clients_refuses_it_unless_it_was_told_to_allow_it),
        cmocka_unit_test(one_whose_export_is_being_added_is_inactivated),
        cmocka_unit_test(a_job_below_refuses_it_and_what_is_inactive_refuses_a_job),
        cmocka_unit_test(all_are_inactivated_and_activated),
        cmocka_unit_test(all_or_none_when_one_refuses),
        cmocka_unit_test(what_can_not_be_undone_is_told),
        cmocka_unit_test(requests_that_cross_are_each_answered_and_what_is_told_is_so),
        cmocka_unit_test(the_end_ends_an_inactivation_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
