/* Throttle groups as the graph knows them: how they come, change and go, and who is in which. Each
 * seed is another order of what happens. */
#include "limited_rig.h"

#define ALL "iops-total=100 iops-total-max=200 iops-total-max-length=3 bps-write=1M iops-size=4K"

static const char *group_of_node(const char *name)
{
    const char *throttle = stack_do("node-show %s", name)->node->throttle;
    return throttle ? throttle : "";
}

/* --- Groups */

static void groups_come_change_and_go(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        uint64_t before = shown_sequence();
        stack_do("throttle-add gold " ALL);
        stack_do("throttle-add silver parent=gold");
        const Sluice__ThrottleInfo *gold = limited_group("gold");
        assert_string_equal(gold->name, "gold");
        assert_null(gold->parent);
        assert_int_equal(gold->iops_total, 100);
        assert_int_equal(gold->iops_total_max, 200);
        assert_int_equal(gold->iops_total_max_length, 3);
        assert_int_equal(gold->bps_write, 1 << 20);
        assert_int_equal(gold->bps_write_max_length, 1);
        assert_int_equal(gold->iops_read, 0);
        assert_int_equal(gold->iops_size, 4096);
        assert_int_equal(gold->n_members, 0);
        assert_int_equal(gold->n_children, 1);
        assert_string_equal(gold->children[0], "silver");
        assert_false(gold->temporary);
        assert_string_equal(limited_group("silver")->parent, "gold");
        assert_int_equal(stack_do("throttle-list")->throttles->n_throttle_groups, 2);
        const Sluice__Status *status = stack_do("status")->status;
        assert_int_equal(status->n_throttle_groups, 2);
        assert_string_equal(status->throttle_groups[0]->name, "gold");

        stack_do("throttle-remove silver");
        stack_do("throttle-remove gold");
        assert_int_equal(stack_do("throttle-list")->throttles->n_throttle_groups, 0);
        stack_refused(-ENOENT, "there is no throttle group 'gold'; throttle-list tells",
                      "throttle-show gold");
        assert_string_equal(stack_story(before + 1),
                            "THROTTLE_ADDED gold, THROTTLE_ADDED silver, THROTTLE_DELETED silver, "
                            "THROTTLE_DELETED gold");
    }
}

static void a_change_keeps_what_it_leaves_out(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add gold " ALL);
        stack_do("throttle-set gold iops-total=50 iops-size=0");
        const Sluice__ThrottleInfo *gold = limited_group("gold");
        assert_int_equal(gold->iops_total, 50);
        assert_int_equal(gold->iops_total_max, 200);
        assert_int_equal(gold->iops_total_max_length, 3);
        assert_int_equal(gold->bps_write, 1 << 20);
        assert_int_equal(gold->iops_size, 0);
        stack_refused(-EINVAL, "throttle group 'gold': nothing to set was named",
                      "throttle-set gold");
    }
}

static void other_limits_are_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add gold " ALL);
        uint64_t before = shown_sequence();
        stack_do("throttle-set gold iops-total=50 bps-write=0 iops-size=0");
        stack_do("throttle-set gold iops-total=50"); /* as it is */
        stack_refused(-EINVAL, "can't be limited together", "throttle-set gold iops-read=5");
        const Sluice__EventList *events =
            stack_do("events-since since=%llu", (unsigned long long)before + 1)->events;
        assert_int_equal(events->n_events, 1);
        const Sluice__Event *event = events->events[0];
        assert_int_equal(event->body_case, SLUICE__EVENT__BODY_THROTTLE_CHANGED);
        assert_string_equal(event->source, "gold");
        assert_string_equal(event->source_kind, "throttle");
        const Sluice__ThrottleChangedEvent *told = event->throttle_changed;
        assert_string_equal(told->group, "gold");
        assert_true(told->has_iops_total && told->iops_total == 50);
        assert_true(told->has_iops_total_max && told->iops_total_max == 200);
        assert_true(told->has_iops_total_max_length && told->iops_total_max_length == 3);
        assert_false(told->has_bps_write || told->has_bps_write_max_length || told->has_iops_size);
        assert_false(told->has_iops_read || told->has_bps_read_max || told->has_bps_total);
    }
}

static void limits_that_are_wrong_are_refused_and_the_old_ones_stay(void **state)
{
    static const struct {
        const char *given, *text;
    } wrong[] = {
        {"iops-read=5", "iops-total and iops-read can't be limited together"},
        {"bps-total=5", "bps-total and bps-write can't be limited together"},
        {"iops-total=-1", "iops-total is -1"},
        {"bps-write=1000000000000001", "10^15"},
        {"iops-total-max-length=0", "iops-total-max-length is 0"},
        {"bps-write-max-length=2", "there is no bps-write-max"},
        {"bps-total-max=7", "there is no bps-total"},
        {"iops-total-max=99", "iops-total-max is 99, less than iops-total"},
        {"iops-total-max=1000000000000000", "more than 10^15 in all"},
        {"iops-total=0 iops-total-max=0 iops-total-max-length=1", "no operations are limited"},
    };
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add gold " ALL);
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
            stack_refused(-EINVAL, wrong[i].text, "throttle-set gold %s", wrong[i].given);
        stack_refused(-EINVAL, "can't be limited together",
                      "throttle-add silver bps-total=1 bps-read=1");
        const Sluice__ThrottleInfo *gold = limited_group("gold");
        assert_int_equal(gold->iops_total, 100);
        assert_int_equal(gold->iops_total_max, 200);
        assert_int_equal(gold->iops_total_max_length, 3);
        assert_int_equal(gold->bps_write, 1 << 20);
        assert_int_equal(gold->bps_write_max_length, 1);
        assert_int_equal(stack_do("throttle-list")->throttles->n_throttle_groups, 1);
    }
}

static void a_group_has_a_name_of_its_own_and_a_place(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("throttle-add g1");
    stack_refused(-EEXIST, "there is a throttle group 'g1' already; choose another name",
                  "throttle-add g1");
    stack_refused(-EINVAL, "'1' can't name the new throttle group", "throttle-add 1");
    stack_do("node-add driver=null name=g"); /* others may be called the same */
    stack_do("throttle-add g reactor=1");
    assert_int_equal(limited_group("g")->reactor, 1);
    stack_refused(-EINVAL, "can't live on reactor 2: the reactors are 0 to 1",
                  "throttle-add far reactor=2");
    stack_refused(-ENOENT, "there is no throttle group 'nobody'", "throttle-add x parent=nobody");
    stack_refused(-EINVAL, "is where 'g' is, on reactor 1; leave reactor out",
                  "throttle-add x parent=g reactor=0");
    stack_do("throttle-add in-g parent=g");
    assert_int_equal(limited_group("in-g")->reactor, 1);
    for (int i = 2; i <= 8; i++)
        stack_do("throttle-add g%d parent=g%d", i, i - 1);
    stack_refused(-EINVAL, "can't be in 'g8', which is the last of 8 groups that are nested",
                  "throttle-add g9 parent=g8");
    stack_refused(-ENOENT, "there is no throttle group 'nobody'", "throttle-set nobody bps-read=1");
    stack_refused(-ENOENT, "there is no throttle group 'nobody'", "throttle-remove nobody");
    stack_stop();
}

static void what_is_in_a_group_keeps_it_and_is_named(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add gold");
        stack_do("throttle-add silver parent=gold");
        stack_do("node-add driver=null name=n");
        stack_do("node-add driver=throttle name=t child=n throttle-group=gold");
        stack_do("backend-add name=b throttle=gold");
        stack_refused(-EBUSY,
                      "throttle group 'gold' can't be removed: node 't', backend 'b', throttle "
                      "group 'silver' are in it; let backends leave",
                      "throttle-remove gold");
        stack_do("node-remove t");
        stack_do("backend-set b throttle=");
        stack_refused(-EBUSY, "throttle group 'silver' is in it", "throttle-remove gold");
        stack_do("throttle-remove silver");
        for (int i = 10; i < 40; i++)
            stack_do("backend-add name=a-backend-with-a-long-name-%d throttle=gold", i);
        stack_refused(-EBUSY, " more are in it", "throttle-remove gold");
    }
}

/* --- Members */

static void a_backend_joins_switches_and_leaves(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add gold");
        stack_do("throttle-add silver parent=gold");
        stack_do("throttle-add red");
        stack_refused(-ENOENT, "there is no throttle group 'blue'",
                      "backend-add name=b throttle=blue");
        stack_do("backend-add name=b");
        assert_string_equal(limited_group_of("b"), "");
        stack_do("backend-set b throttle="); /* it is in none as it is */
        stack_refused(-ENOENT, "there is no throttle group 'blue'", "backend-set b throttle=blue");
        stack_do("backend-set b throttle=silver werror=stop");
        assert_string_equal(limited_group_of("b"), "silver");
        assert_int_equal(shown()->werror, SLUICE__ON_ERROR__POLICY__STOP);
        stack_do("backend-set b throttle=silver");
        stack_refused(-EINVAL, "power of two", "backend-set b throttle=red guest-block-size=3");
        assert_string_equal(limited_group_of("b"), "silver");
        stack_do("throttle-remove red");
        stack_do("backend-set b throttle=gold");
        assert_string_equal(limited_group_of("b"), "gold");
        stack_do("throttle-remove silver");
        stack_do("backend-set b werror=report");
        assert_string_equal(limited_group_of("b"), "gold");
        stack_do("backend-set b throttle=");
        assert_string_equal(limited_group_of("b"), "");
        stack_do("throttle-remove gold");
    }
}

static void a_node_that_throttles_is_always_in_a_group(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add gold");
        stack_do("throttle-add silver");
        stack_do("node-add driver=memory name=n size=1M");
        stack_refused(-ENOENT, "there is no throttle group 'blue'",
                      "node-add driver=throttle name=t child=n throttle-group=blue");
        stack_refused(-EINVAL, "is to be in no throttle group",
                      "node-add driver=throttle name=t child=n throttle-group=");
        stack_refused(-EINVAL, "throttle-group", "node-add driver=throttle name=t child=n");
        stack_do("node-add driver=throttle name=t child=n throttle-group=gold");
        assert_string_equal(group_of_node("t"), "gold");
        assert_string_equal(group_of_node("n"), "");
        stack_refused(-EINVAL, "can't be in no throttle group", "node-set t throttle_group=");
        stack_refused(-ENOENT, "there is no throttle group 'blue'",
                      "node-set t throttle-group=blue");
        stack_refused(-EINVAL, "nonsense", "node-set t throttle-group=silver nonsense=1");
        assert_string_equal(group_of_node("t"), "gold");
        stack_do("throttle-remove silver");
        stack_do("throttle-add red");
        stack_do("node-set t throttle_group=red");
        assert_string_equal(group_of_node("t"), "red");
        stack_do("throttle-remove gold");
        stack_do("node-set t throttle-group=red");

        /* A backend and such a node in one step, each in a group. */
        stack_do("throttle-add green");
        stack_refused(-ENOENT, "there is no throttle group 'blue'",
                      "backend-add name=b driver=throttle child=n throttle-group=blue");
        stack_do("backend-add name=b driver=throttle child=n throttle-group=red throttle=green");
        assert_string_equal(limited_group_of("b"), "green");
        assert_string_equal(group_of_node(shown()->node), "red");
        stack_do("backend-remove b");
        stack_do("throttle-remove green");
        stack_do("node-remove t");
        stack_do("throttle-remove red");
    }
}

static void a_member_that_was_just_added_can_change_groups_at_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add gold");
        stack_do("throttle-add silver");
        stack_do("backend-add name=b throttle=gold");
        stack_do("backend-set b throttle=silver");
        stack_do("throttle-remove gold");
        stack_do("backend-add name=c throttle=silver");
        stack_do("backend-remove c");
    }
}

static void a_member_that_could_not_be_added_is_in_no_group(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add gold");
        stack_do("node-add driver=null name=n");
        stack_refused(-EINVAL, "nonsense",
                      "node-add driver=throttle name=t child=n throttle-group=gold nonsense=1");
        stack_refused(-EINVAL, "", "backend-add name=b driver=null nonsense=1 throttle=gold");
        stack_do("throttle-remove gold");
    }
}

static void the_last_reference_leaves_the_group(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add gold");
        Sluice__Claim *claim = MAIL_NEW(sluice__claim);
        mail_set(&claim->backend, "");
        mail_set(&claim->name, "test");
        claim->permissions = MAIL_NEW(sluice__permissions);
        claim->make = MAIL_NEW(sluice__backend_add);
        mail_set(&claim->make->name, "");
        mail_set(&claim->make->throttle, "gold");
        const Sluice__Claimed *claimed = stack_call(stack_world()->graph, MAIL_CLAIM, claim);
        assert_string_equal(limited_group("gold")->members[0]->name, "a block device");
        stack_refused(-EBUSY, "backend 'a block device' is in it", "throttle-remove gold");
        Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
        end->claim = claimed->claim;
        stack_call(stack_world()->graph, MAIL_CLAIM_END, end);
        assert_int_equal(limited_group("gold")->n_members, 0); /* as its actor knows */
        stack_do("throttle-remove gold");
    }
}

static void name_it(uint64_t claim, const char *name)
{
    Sluice__BackendName *mail = MAIL_NEW(sluice__backend_name);
    mail->claim = claim;
    if (name)
        mail_set(&mail->name, name);
    stack_call(stack_world()->graph, MAIL_BACKEND_NAME, mail);
}

static void a_member_is_shown_with_the_name_that_it_has_now(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer answer;
        stack_do("throttle-add gold");
        stack_do("throttle-add silver");
        stack_do("node-add driver=null name=n");
        stack_do("node-add driver=throttle name=t child=n throttle-group=gold");
        stack_do("backend-add name=b throttle=gold");
        stack_claim(&answer, "b", 0, PERM_ALL);
        stack_await(&answer);
        uint64_t claim = ((const Sluice__Claimed *)answer.body)->claim;
        assert_string_equal(limited_group("gold")->members[0]->name, "node 't'");
        assert_string_equal(limited_group("gold")->members[1]->name, "backend 'b'");
        name_it(claim, NULL);
        assert_string_equal(limited_group("gold")->members[1]->name, "a block device");
        stack_do("backend-add name=b throttle=silver"); /* the old name is another's */
        assert_string_equal(limited_group("gold")->members[1]->name, "a block device");
        assert_string_equal(limited_group("silver")->members[0]->name, "backend 'b'");
        name_it(claim, "new");
        assert_string_equal(limited_group("gold")->members[1]->name, "backend 'new'");
        stack_do("backend-set new throttle=silver");
        assert_string_equal(limited_group("silver")->members[1]->name, "backend 'new'");
        stack_do("device-add new id=cd");
        name_it(claim, NULL);
        assert_string_equal(limited_group("silver")->members[1]->name, "backend 'cd'");
    }
}

/* --- What crosses */

static void a_group_is_not_removed_under_those_who_come_or_go(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer first = {0}, second = {0};
        stack_do("throttle-add gold");
        stack_do("throttle-add silver");
        stack_do("backend-add name=b");
        stack_send_graph(&first, "backend-set b throttle=gold");
        stack_send_graph(&second, "throttle-remove gold");
        stack_await(&first);
        stack_await(&second);
        assert_int_equal(first.code, 0);
        assert_int_equal(second.code, -EBUSY);
        assert_non_null(strstr(second.text, "backend 'b' is in it"));

        /* It is in both on its way. */
        first = second = (struct stack_answer){0};
        struct stack_answer third = {0};
        stack_send_graph(&first, "backend-set b throttle=silver");
        stack_send_graph(&second, "throttle-remove gold");
        stack_send_graph(&third, "backend-set b throttle=gold");
        stack_await(&first);
        stack_await(&second);
        stack_await(&third);
        assert_int_equal(first.code, 0);
        assert_int_equal(second.code, -EBUSY);
        assert_int_equal(third.code, -EBUSY);
        assert_non_null(strstr(third.text, "backend 'b' is changing its throttle group"));

        first = second = (struct stack_answer){0};
        stack_send_graph(&first, "throttle-remove gold");
        stack_send_graph(&second, "backend-set b throttle=gold");
        stack_await(&first);
        stack_await(&second);
        assert_int_equal(first.code, 0);
        assert_int_equal(second.code, -EBUSY);
        assert_non_null(strstr(second.text, "throttle group 'gold' is being closed"));
        assert_string_equal(limited_group_of("b"), "silver");

        /* The member goes while it changes groups. */
        stack_do("throttle-add gold");
        first = second = (struct stack_answer){0};
        stack_send_graph(&first, "backend-set b throttle=gold");
        stack_send_graph(&second, "backend-remove b");
        stack_await(&first);
        stack_await(&second);
        assert_int_equal(second.code, 0);
        stack_do("throttle-remove gold");
        stack_do("throttle-remove silver");
    }
}

static void the_end_closes_groups_after_their_members(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add gold");
        stack_do("throttle-add silver parent=gold");
        stack_do("throttle-add red parent=silver");
        stack_do("node-add driver=null name=n");
        stack_do("node-add driver=throttle name=t child=n throttle-group=silver");
        stack_do("backend-add name=b node=t throttle=red");
        stack_do("backend-add name=c node=n throttle=gold");
        /* stack_stop() ends the engine, and looks that nobody is left. */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_come_change_and_go),
        cmocka_unit_test(a_change_keeps_what_it_leaves_out),
        cmocka_unit_test(other_limits_are_told),
        cmocka_unit_test(limits_that_are_wrong_are_refused_and_the_old_ones_stay),
        cmocka_unit_test(a_group_has_a_name_of_its_own_and_a_place),
        cmocka_unit_test(what_is_in_a_group_keeps_it_and_is_named),
        cmocka_unit_test(a_backend_joins_switches_and_leaves),
        cmocka_unit_test(a_node_that_throttles_is_always_in_a_group),
        cmocka_unit_test(a_member_that_was_just_added_can_change_groups_at_once),
        cmocka_unit_test(a_member_that_could_not_be_added_is_in_no_group),
        cmocka_unit_test(the_last_reference_leaves_the_group),
        cmocka_unit_test(a_member_is_shown_with_the_name_that_it_has_now),
        cmocka_unit_test(a_group_is_not_removed_under_those_who_come_or_go),
        cmocka_unit_test(the_end_closes_groups_after_their_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
