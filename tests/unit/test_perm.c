/* Permissions, in a whole stepped engine: each seed is another order of what happens. */
#include "perm_rig.h"

static uint64_t claim(const char *backend, unsigned perm, unsigned shared)
{
    return perm_claim(backend, perm, shared)->claim;
}

static void claim_refused(const char *backend, unsigned perm, unsigned shared, const char *text)
{
    struct stack_answer answer;
    stack_claim(&answer, backend, perm, shared);
    stack_await(&answer);
    assert_int_equal(answer.code, -EPERM);
    if (!strstr(answer.text, text))
        fail_msg("\"%s\", but not \"%s\"", answer.text, text);
}

/* --- What is had */

static void a_backend_made_over_control_has_no_permission_and_shares_all(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=b node=n");
        perm_assert("b", "", ALL);
        perm_assert_node("n", "", ALL);
        claim("b", 0, PERM_ALL);
        perm_assert("b", "", ALL);
    }
}

static void permissions_come_with_a_user_and_go_with_it(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("node-add driver=raw name=f child=n");
        stack_do("backend-add name=b node=f");
        uint64_t one = claim("b", READ | PERM_WRITE, SHARED | PERM_WRITE);
        uint64_t two = claim("b", PERM_RESIZE, SHARED | PERM_GRAPH_MOD);
        perm_assert("b", "consistent-read,write,resize", "consistent-read,write-unchanged");
        perm_assert_node("f", "consistent-read,write,resize", "consistent-read,write-unchanged");
        perm_assert_node("n", "consistent-read,write,resize", "consistent-read,write-unchanged");
        stack_claim_end(one);
        perm_assert_node("n", "resize", "consistent-read,write-unchanged,graph-mod");
        stack_claim_end(two);
        perm_assert_node("n", "", ALL);
    }
}

static void an_export_has_what_it_needs_while_it_is_there(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add driver=null name=n");
    stack_do("backend-add name=b node=n");
    stack_do("export-add type=nbd backend=b port=0 writable=on");
    perm_assert("b", "consistent-read,write", ALL);
    stack_do("export-remove b");
    perm_assert("b", "", ALL);
    stack_do("export-add type=nbd backend=b port=0");
    perm_assert("b", "consistent-read", ALL);
    stack_stop();
}

/* --- Refusals */

static void a_conflict_names_both_sides_and_changes_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("node-add driver=raw name=f child=n");
        stack_do("backend-add name=one node=n");
        stack_do("backend-add name=two node=f");
        claim("one", READ | PERM_WRITE, SHARED);
        claim_refused("two", PERM_WRITE, PERM_ALL,
                      "node 'f' needs 'write' on node 'n', which backend 'one', for client 'rig' "
                      "does not share");
        perm_assert("two", "", ALL);
        perm_assert_node("f", "", ALL);
        perm_assert_node("n", "consistent-read,write", "consistent-read,write-unchanged");
        claim("two", READ, PERM_ALL);
        /* The other way round: what is to be shared no longer, but is had. */
        claim_refused("two", 0, PERM_ALL & ~PERM_WRITE, "backend 'one', for client 'rig'");
        stack_refused(-EPERM, "needs 'write' on node 'n'",
                      "export-add type=nbd backend=two port=0 writable=on");
        assert_int_equal(stack_do("export-list")->exports->n_exports, 0);
        perm_assert("two", "consistent-read", ALL);
    }
}

static void users_of_one_backend_are_one_side(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=b node=n");
        claim("b", READ | PERM_WRITE, SHARED);
        claim("b", READ | PERM_WRITE, SHARED);
        perm_assert("b", "consistent-read,write", "consistent-read,write-unchanged");
    }
}

static void what_a_node_refuses_is_aborted_everywhere(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m deny=write");
        stack_do("node-add driver=raw name=f child=m");
        stack_do("node-add driver=raw name=g child=f");
        stack_do("backend-add name=b node=g");
        claim_refused("b", READ | PERM_WRITE, SHARED,
                      "node 'm' gives nobody 'write': its option deny says so");
        for (unsigned i = 0; i < 3; i++)
            perm_assert_node(i == 0 ? "m" : i == 1 ? "f" : "g", "", ALL);
        assert_int_equal(stack_run(stack_find("b"), OP_WRITE, 0, 512, 0), -EPERM);
        /* One that is there already has what it had: others' changes do not bring the rest. */
        uint64_t one = claim("b", READ, PERM_ALL);
        assert_int_equal(perm_set(one, READ | PERM_WRITE, SHARED).code, -EPERM);
        stack_do("node-set m deny=");
        stack_claim_end(claim("b", READ, PERM_ALL));
        perm_assert_node("m", "consistent-read", ALL);
        stack_claim_end(one);
        claim("b", READ | PERM_WRITE, SHARED);
        perm_assert_node("m", "consistent-read,write", "consistent-read,write-unchanged");
    }
}

static void nobody_can_write_to_what_is_read_only(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=n read-only=on");
        stack_do("node-add driver=null name=w");
        stack_do("backend-add name=b node=n");
        stack_do("backend-add name=c node=w read-only=on");
        claim_refused("b", PERM_WRITE, PERM_ALL, "node 'n' is read-only");
        claim_refused("b", PERM_RESIZE, PERM_ALL, "nobody can have 'resize' there");
        claim_refused("c", PERM_WRITE, PERM_ALL,
                      "'rig' can't write to backend 'c': it is read-only");
        claim("b", READ, PERM_ALL);
    }
}

static void many_who_want_it_at_once_are_tried_one_after_the_other(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer answers[12];
        stack_do("node-add driver=null name=n");
        for (unsigned i = 0; i < 12; i++)
            stack_do("backend-add name=b%u node=n", i);
        for (unsigned i = 0; i < 12; i++) {
            char name[8];
            snprintf(name, sizeof name, "b%u", i);
            stack_claim(&answers[i], name, READ | PERM_WRITE, SHARED);
        }
        unsigned had = 0;
        for (unsigned i = 0; i < 12; i++) {
            stack_await(&answers[i]);
            assert_true(answers[i].code == 0 || answers[i].code == -EPERM);
            had += answers[i].code == 0;
        }
        assert_int_equal(had, 1);
        perm_assert_node("n", "consistent-read,write", "consistent-read,write-unchanged");
    }
}

/* Whoever is above has been asked by then, also when there are two ways down. */
static void nodes_are_tried_after_all_who_stand_on_them(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory name=n size=1M");
        stack_do("node-add driver=memory name=one size=1M");
        stack_do("node-add driver=overlay name=middle child=one backing=n");
        stack_do("node-add driver=overlay name=top child=middle backing=n");
        stack_do("backend-add name=b node=top");
        stack_do("backend-add name=c node=n");
        uint64_t claimed = claim("b", READ | PERM_WRITE, PERM_ALL);
        const Sluice__NodeInfo *info = stack_do("node-show n")->node;
        assert_string_equal(shown_words(info->permissions, info->n_permissions), "consistent-read");
        info = stack_do("node-show one")->node;
        assert_non_null(strstr(shown_words(info->permissions, info->n_permissions), "write"));
        /* Through the middle one, as directly. */
        claim_refused("c", PERM_WRITE, PERM_CONSISTENT_READ & 0, "backend 'c'");
        stack_claim_end(claimed);
        perm_assert_node("one", "", "consistent-read,graph-mod");
    }
}

/* --- What is told of them */

/* The newest event of this node's permissions since `since`; null when there is none. */
static const Sluice__PermissionEvent *told(const char *node, uint64_t since, unsigned *count)
{
    const Sluice__PermissionEvent *newest = NULL;
    const Sluice__EventList *list =
        stack_do("events-since since=%llu", (unsigned long long)since)->events;
    *count = 0;
    for (size_t i = 0; i < list->n_events; i++) {
        const Sluice__Event *event = list->events[i];
        if (event->body_case != SLUICE__EVENT__BODY_PERMISSION_CHANGED ||
            strcmp(event->source, node) != 0)
            continue;
        newest = event->permission_changed;
        (*count)++;
        assert_string_equal(event->source_kind, "node");
        assert_string_equal(newest->node, node);
    }
    return newest;
}

static uint64_t sequence(void)
{
    stack_settle();
    return shown_sequence();
}

/* One has been told of the node, or none when `permissions` is null. */
static void assert_told(const char *node, uint64_t before, const char *permissions,
                        const char *shares)
{
    unsigned count;
    stack_settle();
    const Sluice__PermissionEvent *event = told(node, before + 1, &count);
    assert_int_equal(count, permissions != NULL);
    if (!event)
        return;
    assert_string_equal(shown_words(event->permissions, event->n_permissions), permissions);
    assert_string_equal(shown_words(event->shares, event->n_shares), shares);
    perm_assert_node(node, permissions, shares);
}

static void a_change_of_what_users_have_or_share_is_told_once_of_each_node(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        uint64_t before = sequence();
        stack_do("node-add driver=memory name=n size=1M");
        stack_do("node-add driver=raw name=f child=n");
        stack_do("backend-add name=b node=f");
        stack_do("backend-add name=c node=f");
        assert_told("n", before, NULL, NULL);
        uint64_t one = claim("b", READ | PERM_WRITE, SHARED);
        assert_told("n", before, "consistent-read,write", "consistent-read,write-unchanged");
        assert_told("f", before, "consistent-read,write", "consistent-read,write-unchanged");
        /* Another that changes nothing of the sum, and one that is refused. */
        before = sequence();
        uint64_t two = claim("b", READ, PERM_ALL);
        claim_refused("c", PERM_RESIZE, PERM_ALL, "resize");
        assert_told("n", before, NULL, NULL);
        /* What is shared, alone. */
        assert_int_equal(perm_set(one, READ | PERM_WRITE, SHARED | PERM_RESIZE).code, 0);
        assert_told("n", before, "consistent-read,write", "consistent-read,write-unchanged,resize");
        before = sequence();
        stack_claim_end(one);
        assert_told("n", before, "consistent-read", ALL);
        before = sequence();
        stack_claim_end(two);
        assert_told("n", before, "", ALL);
        assert_told("f", before, "", ALL);
    }
}

/* Whoever hears of it finds it so; of what a node refuses in the end nobody hears. */
static void permissions_are_told_when_they_are_had(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=n");
        stack_do("node-add driver=raw name=f child=n");
        stack_do("backend-add name=b node=f");
        struct stack_answer answer;
        uint64_t before = sequence();
        unsigned count = 0;
        stack_do("node-set n deny=write");
        claim_refused("b", READ | PERM_WRITE, SHARED, "write");
        assert_told("n", before, NULL, NULL);
        assert_told("f", before, NULL, NULL);
        stack_do("node-set n deny=");
        stack_claim(&answer, "b", READ | PERM_WRITE, SHARED);
        for (uint64_t steps = seed % 7; steps; steps--)
            stack_step();
        for (unsigned tries = 0; !told("n", before + 1, &count); tries++)
            assert_true(tries < 100);
        perm_assert_node("n", "consistent-read,write", "consistent-read,write-unchanged");
        perm_assert("b", "consistent-read,write", "consistent-read,write-unchanged");
        stack_await(&answer);
        assert_int_equal(answer.code, 0);
    }
}

/* It is a user like all others, but consoles that watch events would drown in theirs. */
static void a_consoles_request_is_not_told_of(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer written;
        stack_do("node-add driver=mock name=n size=1M hold=on");
        stack_do("node-add driver=raw name=f child=n");
        stack_do("backend-add name=b node=f");
        stack_do("backend-add name=c node=f");
        uint64_t before = sequence();
        stack_send(&written, "io-write b offset=0 data=text");
        stack_settle();
        assert_false(written.came);
        perm_assert("b", "write", ALL);
        perm_assert_node("f", "", ALL);
        claim_refused("c", READ, SHARED, "control");
        assert_told("n", before, NULL, NULL);
        /* Who stays is told of, without it, */
        uint64_t stays = claim("c", READ, PERM_ALL & ~PERM_RESIZE);
        assert_told("n", before, "consistent-read",
                    "consistent-read,write,write-unchanged,graph-mod");
        before = sequence();
        stack_do("node-set n hold=off");
        stack_await(&written);
        assert_int_equal(written.code, 0);
        assert_told("n", before, NULL, NULL);
        stack_claim_end(stays); /* and of what it had nothing is left */
        assert_told("n", before, "", ALL);
    }
}

/* --- Changes */

static void a_claim_can_be_changed_and_its_own_old_one_is_not_in_the_way(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=b node=n");
        stack_do("backend-add name=c node=n");
        uint64_t one = claim("b", READ, PERM_ALL), other = claim("c", READ, PERM_ALL);
        assert_int_equal(perm_set(one, READ | PERM_WRITE, SHARED).code, 0);
        assert_int_equal(perm_set(one, READ | PERM_WRITE | PERM_RESIZE, SHARED).code, 0);
        assert_int_equal(perm_set(other, PERM_WRITE, PERM_ALL).code, -EPERM);
        perm_assert("c", "consistent-read", ALL);
        assert_int_equal(perm_set(one, READ, PERM_ALL).code, 0);
        assert_int_equal(perm_set(other, PERM_WRITE, PERM_ALL).code, 0);
        stack_claim_end(other);
        assert_int_equal(perm_set(other, 0, PERM_ALL).code, -ENXIO);
    }
}

static void a_claim_that_ends_while_it_is_changed_is_gone(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer changed, again, ended[2];
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=b node=n");
        uint64_t one = claim("b", READ, PERM_ALL);
        perm_ask_set(&changed, one, READ | PERM_WRITE, SHARED);
        perm_ask_set(&again, one, READ, PERM_ALL);
        for (unsigned i = 0; i < 2; i++) {
            Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
            end->claim = one;
            stack_ask(&ended[i], stack_world()->graph, MAIL_CLAIM_END, end);
        }
        stack_await(&changed);
        stack_await(&again);
        stack_await(&ended[0]);
        stack_await(&ended[1]);
        assert_int_equal(changed.code, 0);
        assert_int_equal(again.code, -EBUSY);
        assert_non_null(strstr(again.text, "are being set; wait for that"));
        assert_int_equal(ended[0].code, 0);
        assert_int_equal(ended[1].code, 0);
        perm_assert("b", "", ALL);
        stack_do("backend-remove b"); /* nobody uses it */
    }
}

static void without_a_medium_a_change_is_remembered_and_asked_for_on_insertion(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("node-add driver=mock name=ro read-only=on");
        stack_do("backend-add name=b");
        stack_do("backend-add name=c node=n");
        uint64_t claimed = claim("b", READ | PERM_WRITE, SHARED);
        perm_assert("b", "consistent-read,write", "consistent-read,write-unchanged");
        uint64_t other = claim("c", PERM_WRITE, PERM_ALL);
        stack_refused(-EPERM, "does not share", "medium-insert backend=b node=n");
        stack_refused(-EPERM, "node 'ro' is read-only", "medium-insert backend=b node=ro");
        assert_null(shown()->node);
        perm_assert_node("n", "write", ALL);
        stack_do("node-remove ro");
        stack_claim_end(other);
        stack_do("medium-insert backend=b node=n");
        perm_assert_node("n", "consistent-read,write", "consistent-read,write-unchanged");
        stack_do("medium-remove b");
        perm_assert_node("n", "", ALL);
        perm_assert("b", "consistent-read,write", "consistent-read,write-unchanged");
        stack_claim_end(claimed);
    }
}

static void a_request_that_lacks_its_permission_is_refused(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory name=n size=1M");
        stack_do("backend-add name=b node=n");
        uint64_t one = claim("b", READ, PERM_ALL);
        struct stack_answer answer;
        stack_claim(&answer, "b", 0, PERM_ALL); /* which sees all that one has, as they share b */
        stack_await(&answer);
        actor_addr b = ((const Sluice__Claimed *)answer.body)->address;
        static const enum op_kind kinds[] = {OP_WRITE, OP_ZEROES, OP_DISCARD};
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(stack_run(b, kinds[i], 0, 512, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_TRUNCATE, 512, 0, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), 0);
        assert_int_equal(stack_run(b, OP_FLUSH, 0, 0, 0), 0);
        assert_int_equal(perm_set(one, PERM_WRITE, PERM_ALL).code, 0);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(stack_run(b, kinds[i], 0, 512, 0), 0);
        assert_int_equal(stack_run(b, OP_TRUNCATE, 512, 0, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), -EPERM);
        assert_int_equal(perm_set(one, PERM_RESIZE, PERM_ALL).code, 0);
        assert_int_equal(stack_run(b, OP_TRUNCATE, 512, 0, 0), 0);
        assert_int_equal(stack_run(b, OP_WRITE, 0, 512, 0), -EPERM);
        assert_int_equal(stack_run(b, OP_READ, 0, 512, 0), -EPERM);
        assert_int_equal(shown()->write->invalid, 2);
        assert_int_equal(shown()->read->failed, 0);
    }
}

static void the_end_ends_claims_that_wait_or_that_nobody_ends(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer answers[4];
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=b node=n");
        for (unsigned i = 0; i < 4; i++)
            stack_claim(&answers[i], "b", READ, PERM_ALL);
        struct stack_answer ended;
        Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
        shutdown->deadline = NS_PER_S;
        stack_ask(&ended, stack_world()->graph, MAIL_SHUTDOWN, shutdown);
        stack_pass(NS_PER_S - 1);
        assert_false(ended.came && answers[3].code == 0);
        stack_await(&ended);
        for (unsigned i = 0; i < 4; i++)
            assert_true(answers[i].came);
        if (answers[0].code == 0)
            stack_leaves(2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backend_made_over_control_has_no_permission_and_shares_all),
        cmocka_unit_test(permissions_come_with_a_user_and_go_with_it),
        cmocka_unit_test(an_export_has_what_it_needs_while_it_is_there),
        cmocka_unit_test(a_conflict_names_both_sides_and_changes_nothing),
        cmocka_unit_test(users_of_one_backend_are_one_side),
        cmocka_unit_test(what_a_node_refuses_is_aborted_everywhere),
        cmocka_unit_test(nobody_can_write_to_what_is_read_only),
        cmocka_unit_test(nodes_are_tried_after_all_who_stand_on_them),
        cmocka_unit_test(many_who_want_it_at_once_are_tried_one_after_the_other),
        cmocka_unit_test(a_change_of_what_users_have_or_share_is_told_once_of_each_node),
        cmocka_unit_test(permissions_are_told_when_they_are_had),
        cmocka_unit_test(a_consoles_request_is_not_told_of),
        cmocka_unit_test(a_claim_can_be_changed_and_its_own_old_one_is_not_in_the_way),
        cmocka_unit_test(a_claim_that_ends_while_it_is_changed_is_gone),
        cmocka_unit_test(without_a_medium_a_change_is_remembered_and_asked_for_on_insertion),
        cmocka_unit_test(a_request_that_lacks_its_permission_is_refused),
        cmocka_unit_test(the_end_ends_claims_that_wait_or_that_nobody_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
