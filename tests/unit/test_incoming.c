/* An engine that begins incoming, as another process still owns the images: backends that are
 * activated one by one, and the end of that. Each seed is another order of what happens. */
#include "active_rig.h"

#define RUNNING  SLUICE__RUN_STATE__RUNNING
#define PAUSED   SLUICE__RUN_STATE__PAUSED
#define INCOMING SLUICE__RUN_STATE__INCOMING

static void what_is_opened_takes_nothing_until_it_is_resumed(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        assert_int_equal(run_state(), INCOMING);
        stack_do("node-add driver=mock name=m size=1M deny-activate=on");
        stack_do("node-add driver=raw name=f child=m");
        stack_do("backend-add name=b node=f");
        stack_do("backend-add name=empty");
        assert_activity("b", INACTIVE);
        assert_activity("empty", INACTIVE);
        assert_node("m", true, "", ALL);
        assert_node("f", true, "", ALL);
        actor_addr b = perm_claim("b", READ | PERM_WRITE, SHARED)->address;
        perm_assert("b", "consistent-read,write", "consistent-read,write-unchanged");
        assert_node("m", true, "", ALL);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), -EPERM);
        assert_turns("m", 0, 0);
        stack_do("node-set m deny-activate=off");
        uint64_t before = shown_sequence();
        stack_do("resume");
        assert_string_equal(stack_story(before + 1),
                            "BACKEND_ACTIVATED b, BACKEND_ACTIVATED empty, RESUME engine");
        assert_int_equal(run_state(), RUNNING);
        assert_activity("b", ACTIVE);
        assert_activity("empty", ACTIVE);
        assert_node("m", false, "consistent-read,write", "consistent-read,write-unchanged");
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        assert_turns("m", 1, 0);
        before = shown_sequence();
        stack_do("resume");
        assert_string_equal(stack_story(before + 1), "");
        stack_do("node-add driver=mock name=later");
        stack_do("backend-add name=c node=later");
        assert_node("later", false, "", ALL);
        assert_activity("c", ACTIVE);
    }
}

static void own_sharing_waits_for_the_end_of_incoming(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b node=m");
        actor_addr b = perm_claim("b", READ | PERM_WRITE, SHARED)->address;
        uint64_t before = shown_sequence();
        stack_do("backend-activate b");
        stack_do("activate"); /* nothing is left to be done by that */
        assert_string_equal(stack_story(before + 1), "BACKEND_ACTIVATED b");
        assert_int_equal(run_state(), INCOMING);
        assert_activity("b", SHARING);
        assert_node("m", false, "consistent-read,write", ALL);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), 0);
        stack_do("resume");
        assert_string_equal(stack_story(before + 1), "BACKEND_ACTIVATED b, RESUME engine");
        assert_activity("b", ACTIVE);
        assert_node("m", false, "consistent-read,write", "consistent-read,write-unchanged");
    }
}

static void own_sharing_that_can_not_be_had_then_is_told_and_changes_nothing_else(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        for (unsigned i = 0; i < 3; i++)
            stack_do("backend-add name=b%u node=m", i);
        stack_do("activate");
        actor_addr b = perm_claim("b1", READ, SHARED)->address;
        uint64_t other = perm_claim("b0", PERM_WRITE, PERM_ALL)->claim; /* all share all as yet */
        uint64_t before = shown_sequence();
        stack_do("resume");
        assert_string_equal(stack_story(before + 1), "RESUME engine, BACKEND_ACTIVATION_ERROR b1");
        const Sluice__EventList *events =
            stack_do("events-since since=%llu", (unsigned long long)before + 2)->events;
        assert_non_null(strstr(events->events[0]->backend_activation_error->reason,
                               "backend 'b1', for client 'rig' does not share"));
        assert_int_equal(run_state(), RUNNING);
        assert_activity("b0", ACTIVE);
        assert_activity("b1", SHARING);
        assert_activity("b2", ACTIVE);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        assert_node("m", false, "consistent-read,write", ALL);
        /* It can be asked for again. */
        stack_refused(-EPERM, "does not share", "backend-activate b1");
        assert_activity("b1", SHARING);
        stack_claim_end(other);
        stack_do("backend-activate b1");
        assert_activity("b1", ACTIVE);
        assert_node("m", false, "consistent-read", "consistent-read,write-unchanged");
    }
}

/* One without a name, which goes with the claim whose sharing can't be had: at once, or when what
 * it has in flight has ended. */
static void a_step_that_is_pending_dies_with_the_backend(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=c node=m");
        Sluice__Claim *mail = MAIL_NEW(sluice__claim);
        mail_set(&mail->backend, "");
        mail_set(&mail->name, "rig");
        mail->permissions = MAIL_NEW(sluice__permissions);
        mail->permissions->perm = READ;
        mail->permissions->shared = SHARED;
        mail->make = MAIL_NEW(sluice__backend_add);
        mail_set(&mail->make->name, "");
        mail_set(&mail->make->node, "m");
        const Sluice__Claimed *mine = stack_call(stack_world()->graph, MAIL_CLAIM, mail);
        stack_do("activate");
        perm_claim("c", PERM_WRITE, PERM_ALL);
        assert_node("m", false, "consistent-read,write", ALL); /* it is pending */
        unsigned actors = stack_actors();
        bool lingers = seed % 2;
        struct stack_op op;
        struct stack_answer ended;
        if (lingers) {
            stack_do("node-set m hold=on");
            stack_submit(&op, mine->address, OP_READ, 0, 512, 0, NULL);
            stack_settle();
        }
        Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
        end->claim = mine->claim;
        stack_ask(&ended, stack_world()->graph, MAIL_CLAIM_END, end);
        stack_settle();
        assert_int_equal(ended.came, !lingers);
        assert_int_equal(stack_actors(), actors - !lingers);
        uint64_t before = shown_sequence();
        stack_do("resume");
        assert_string_equal(stack_story(before + 1), "RESUME engine");
        assert_node("m", false, "write", ALL);
        if (lingers)
            stack_do("node-set m hold=off");
        stack_await(&ended);
        stack_settle();
        assert_int_equal(ended.code, 0);
        assert_int_equal(stack_actors(), actors - 1);
        assert_activity("c", ACTIVE);
        assert_node("m", false, "write", ALL);
    }
}

/* The same while its removal and the end of incoming cross. */
static void one_that_is_removed_meanwhile_is_in_nobody_s_way(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        struct stack_answer removed, resumed;
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=c node=m");
        if (seed % 2)
            stack_do("activate");
        stack_send(&removed, "backend-remove b");
        for (unsigned steps = 0; steps < seed % 11; steps++)
            stack_step();
        stack_send(&resumed, "resume");
        stack_await(&removed);
        stack_await(&resumed);
        assert_true(removed.code == 0 || removed.code == -EBUSY);
        assert_int_equal(resumed.code, 0);
        assert_int_equal(run_state(), RUNNING);
        assert_activity("c", ACTIVE);
        if (removed.code)
            stack_do("backend-remove b");
    }
}

static void devices_that_attach_get_their_permissions_at_activation(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("node-add driver=mock name=n size=1M");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=c node=n");
        stack_do("export-add type=nbd backend=b port=0 writable=on");
        stack_do("device-add c id=cd");
        perm_assert("b", "consistent-read,write", ALL);
        assert_node("m", true, "", ALL);
        assert_node("n", true, "", ALL);
        stack_do("backend-activate b");
        assert_node("m", false, "consistent-read,write", ALL);
        /* Whoever attaches to one that has been activated has them at once. */
        stack_do("export-remove b");
        assert_node("m", false, "", ALL);
        stack_do("export-add type=nbd backend=b port=0");
        assert_node("m", false, "consistent-read", ALL);
        stack_do("resume");
        assert_activity("c", ACTIVE);
        const Sluice__NodeInfo *info = stack_do("node-show n")->node;
        assert_false(info->inactive);
        assert_true(info->n_permissions > 0);
        stack_do("export-remove b");
    }
}

static void it_stays_incoming_when_one_can_not_be_activated(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        for (unsigned i = 0; i < 3; i++) {
            stack_do("node-add driver=mock name=m%u size=1M", i);
            stack_do("backend-add name=b%u node=m%u", i, i);
        }
        stack_do("backend-activate b1");
        stack_do("node-set m2 deny-activate=on");
        uint64_t before = shown_sequence();
        stack_refused(-EBUSY, "node 'm2' is not activated", "resume");
        assert_string_equal(stack_story(before + 1),
                            "BACKEND_ACTIVATED b0, BACKEND_INACTIVATED b0");
        assert_int_equal(run_state(), INCOMING);
        assert_activity("b0", INACTIVE);
        assert_activity("b1", SHARING);
        stack_do("node-set m2 deny-activate=off");
        stack_do("resume");
        assert_int_equal(run_state(), RUNNING);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(stack_do("backend-show b%u", i)->backend->activity, ACTIVE);
    }
}

static void a_pause_holds_requests_and_stays_a_pause_of_an_incoming_engine(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        struct stack_op op;
        actor_addr b = stack_backend("m", "driver=mock size=1M", "");
        uint64_t before = shown_sequence();
        stack_do("pause");
        assert_int_equal(run_state(), INCOMING);
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        assert_false(op.came);
        stack_do("resume");
        stack_await_op(&op);
        assert_int_equal(op.ret, 0); /* it went when the backend was active */
        assert_string_equal(stack_story(before + 1),
                            "STOP engine, BACKEND_ACTIVATED b, RESUME engine");
        assert_int_equal(run_state(), RUNNING);
        stack_do("pause");
        assert_int_equal(run_state(), PAUSED);
    }
}

static void what_is_added_while_it_is_resumed_is_not_left_inactive(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        struct stack_answer resumed, twice, node, backend;
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("backend-add name=b node=m");
        stack_send(&resumed, "resume");
        for (unsigned steps = 0; steps < seed % 13; steps++)
            stack_step();
        stack_send(&node, "node-add driver=mock name=n");
        stack_send(&backend, "backend-add name=c node=m");
        stack_send(&twice, "resume");
        stack_await(&resumed);
        stack_await(&node);
        stack_await(&backend);
        stack_await(&twice);
        assert_int_equal(node.code, 0);
        assert_int_equal(backend.code, 0);
        assert_true(twice.code == 0 || twice.code == -EBUSY);
        if (resumed.code) { /* the backend was being added */
            assert_int_equal(resumed.code, -EBUSY);
            stack_do("resume");
        }
        assert_int_equal(run_state(), RUNNING);
        assert_activity("b", ACTIVE);
        assert_activity("c", ACTIVE);
        stack_do("backend-add name=d node=n");
        assert_node("n", false, "", ALL);
    }
}

/* Whose change waits for one of permissions. */
static void one_that_is_still_to_be_made_counts_when_it_is_resumed(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        struct stack_answer claimed, added, resumed;
        stack_do("node-add driver=mock name=m size=1M reactor=%u",
                 (unsigned)(seed / 3) % STACK_THREADS(seed));
        stack_do("backend-add name=b node=m");
        stack_do("backend-activate b");
        stack_claim(&claimed, "b", PERM_WRITE, PERM_ALL);
        stack_send_graph(&added, "backend-add name=c node=m");
        for (uint64_t steps = 0; steps < seed / 6; steps++)
            stack_step();
        stack_send_graph(&resumed, "resume");
        stack_await(&claimed);
        stack_await(&added);
        stack_await(&resumed);
        assert_int_equal(claimed.code | added.code, 0);
        if (resumed.code) {
            assert_int_equal(resumed.code, -EBUSY);
            stack_do("resume");
        }
        assert_int_equal(run_state(), RUNNING);
        assert_activity("b", ACTIVE);
        assert_activity("c", ACTIVE);
    }
}

static void what_is_added_is_inactive_when_a_resume_fails_meanwhile(void **state)
{
    (void)state;
    FOR_EACH_SEED_INCOMING(seed)
    {
        struct stack_answer added, resumed, removed;
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("node-add driver=mock name=no size=1M deny-activate=on");
        stack_do("node-add driver=mock name=n size=1M");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=other node=no");
        stack_send(&resumed, "resume");
        for (uint64_t steps = 0; steps < seed / 3; steps++)
            stack_step();
        stack_send(&added, "backend-add name=c node=n");
        stack_send(&removed, "node-remove n");
        stack_await(&resumed);
        stack_await(&added);
        stack_await(&removed);
        assert_int_equal(resumed.code, -EBUSY);
        assert_int_equal(added.code, 0);
        assert_int_equal(removed.code, -EBUSY);
        assert_int_equal(run_state(), INCOMING);
        assert_activity("c", INACTIVE);
        assert_node("n", true, "", ALL);
        stack_do("node-set no deny-activate=off");
        stack_do("resume");
        assert_activity("c", ACTIVE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_opened_takes_nothing_until_it_is_resumed),
        cmocka_unit_test(own_sharing_waits_for_the_end_of_incoming),
        cmocka_unit_test(own_sharing_that_can_not_be_had_then_is_told_and_changes_nothing_else),
        cmocka_unit_test(a_step_that_is_pending_dies_with_the_backend),
        cmocka_unit_test(one_that_is_removed_meanwhile_is_in_nobody_s_way),
        cmocka_unit_test(devices_that_attach_get_their_permissions_at_activation),
        cmocka_unit_test(it_stays_incoming_when_one_can_not_be_activated),
        cmocka_unit_test(a_pause_holds_requests_and_stays_a_pause_of_an_incoming_engine),
        cmocka_unit_test(what_is_added_while_it_is_resumed_is_not_left_inactive),
        cmocka_unit_test(one_that_is_still_to_be_made_counts_when_it_is_resumed),
        cmocka_unit_test(what_is_added_is_inactive_when_a_resume_fails_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
