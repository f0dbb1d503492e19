/* Tests of members' places in trees of throttle groups: what waits, is cancelled, let through and
 * owed, leases, leaving, and what is counted. */
#include "crowd_rig.h"

#include <string.h>

#define READ  THROTTLE_READ
#define WRITE THROTTLE_WRITE

static struct limits iops(double average)
{
    return crowd_limits(LIMIT_IOPS_TOTAL, average);
}

static void let_go(struct throttle_tree *tree)
{
    throttle_dispatch(tree);
    for (; tree->news; tree->news = tree->news->next_news)
        tree->news->is_news = false;
}

/* Lets go what may go until then, and forgets the news. */
static void step_to(struct throttle_tree *tree, uint64_t end)
{
    for (;;) {
        let_go(tree);
        uint64_t next = throttle_next(tree);
        if (next > end)
            break;
        tree->now = next;
    }
    tree->now = end;
}

static void ask(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                unsigned n, uint64_t bytes)
{
    while (n--)
        throttle_wait(tree, place, direction, bytes);
}

static uint64_t gone(const struct throttle_place *place, unsigned direction)
{
    return place->queues[direction].head;
}

static uint64_t both(const struct throttle_place *place)
{
    return gone(place, READ) + gone(place, WRITE);
}

/* A tree of one group, with n members. */
struct stage {
    struct throttle_tree tree;
    struct throttle_place *members[4];
};

static void set_up(struct stage *stage, const struct limits *limits, unsigned n)
{
    *stage = (struct stage){.tree.now = SEC};
    throttle_group_add(&stage->tree, 1, "gold", NULL, limits);
    for (unsigned i = 0; i < n; i++)
        stage->members[i] = throttle_enter(&stage->tree, stage->tree.root, "member", 100 + i);
}

static void tear_down(struct stage *stage)
{
    throttle_tree_fini(&stage->tree);
}

/* --- Letting go */

static void who_has_something_that_may_go_is_news(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 3);
    ask(&s.tree, s.members[0], READ, 2, 4096);
    ask(&s.tree, s.members[2], READ, 1, 4096);
    throttle_dispatch(&s.tree); /* 1 unit, and one that overshoots */
    assert_int_equal(gone(s.members[0], READ), 1);
    assert_int_equal(gone(s.members[2], READ), 1);
    assert_true(s.tree.news == s.members[2] && s.members[2]->next_news == s.members[0]);
    assert_null(s.members[0]->next_news);
    assert_true(s.members[0]->is_news && !s.members[1]->is_news);
    assert_int_equal(throttle_next(&s.tree), SEC + 100 * MS);
    tear_down(&s);
}

static void with_nothing_to_do_there_is_no_next_time(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 1);
    assert_true(throttle_next(&s.tree) == UINT64_MAX);
    ask(&s.tree, s.members[0], WRITE, 1, 4096);
    assert_int_equal(throttle_next(&s.tree), SEC + 1); /* at once */
    step_to(&s.tree, SEC);
    assert_true(throttle_next(&s.tree) == UINT64_MAX);
    tear_down(&s);
}

static void the_next_time_is_the_earliest_of_all_groups_and_directions(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = crowd_limits(LIMIT_IOPS_READ, 1), low = iops(4), lower = iops(2);
    set_up(&s, &limits, 1);
    struct throttle_group *a = throttle_group_add(&s.tree, 2, "a", s.tree.root, &low);
    struct throttle_group *b = throttle_group_add(&s.tree, 3, "b", s.tree.root, &lower);
    struct throttle_place *in_a = throttle_enter(&s.tree, a, "a", 7);
    struct throttle_place *in_b = throttle_enter(&s.tree, b, "b", 8);
    ask(&s.tree, in_b, WRITE, 2, 512);
    step_to(&s.tree, SEC);
    assert_int_equal(throttle_next(&s.tree), SEC + 400 * MS); /* 0.2 of 1 fit */
    ask(&s.tree, in_a, WRITE, 2, 512);
    step_to(&s.tree, SEC);
    assert_int_equal(throttle_next(&s.tree), SEC + 150 * MS); /* 0.4 of 1 fit */
    ask(&s.tree, s.members[0], READ, 2, 512);
    step_to(&s.tree, SEC);
    assert_int_equal(throttle_next(&s.tree), SEC + 150 * MS);
    step_to(&s.tree, SEC + 400 * MS);
    assert_int_equal(throttle_next(&s.tree), SEC + 900 * MS);
    tear_down(&s);
}

/* --- Cancelling */

static void a_cancelled_request_costs_nothing_and_does_not_go(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 2);
    struct throttle_place *one = s.members[0], *other = s.members[1];
    ask(&s.tree, one, READ, 6, 4096);
    step_to(&s.tree, SEC);
    assert_int_equal(gone(one, READ), 2);
    ask(&s.tree, other, READ, 4, 4096);
    throttle_cancel(&s.tree, one, READ, 3);
    throttle_cancel(&s.tree, one, READ, 2);
    assert_int_equal(one->counts.waiting, 2);
    throttle_cancel(&s.tree, one, READ, 2); /* again, */
    throttle_cancel(&s.tree, one, READ, 1); /* gone, */
    throttle_cancel(&s.tree, one, READ, 6); /* and not come yet */
    assert_int_equal(one->counts.waiting, 2);
    step_to(&s.tree, SEC + 400 * MS);
    assert_int_equal(gone(one, READ), 6); /* the first and the last two of the six */
    assert_int_equal(gone(other, READ), 2);
    assert_int_equal(one->counts.waiting, 0);
    tear_down(&s);
}

static void with_its_last_request_cancelled_a_member_has_no_turns(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 2);
    ask(&s.tree, s.members[0], READ, 5, 4096);
    ask(&s.tree, s.members[1], READ, 5, 4096);
    step_to(&s.tree, SEC);
    for (unsigned i = 5; i-- > 1;)
        throttle_cancel(&s.tree, s.members[0], READ, i);
    assert_int_equal(s.tree.root->rings[READ].n, 1);
    step_to(&s.tree, SEC + 400 * MS);
    assert_int_equal(gone(s.members[1], READ), 5);
    assert_true(throttle_next(&s.tree) == UINT64_MAX);
    tear_down(&s);
}

/* --- Letting through */

static void what_was_let_through_waits_no_more_and_is_paid_by_its_member_s_turns(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 2);
    struct throttle_place *one = s.members[0], *other = s.members[1];
    ask(&s.tree, one, READ, 12, 4096);
    ask(&s.tree, other, READ, 30, 4096);
    step_to(&s.tree, SEC); /* one of each */
    throttle_through(&s.tree, one, READ, 11);
    assert_int_equal(one->counts.waiting, 1);
    assert_int_equal(s.tree.root->counts.waiting, 1 + 29);
    throttle_through(&s.tree, one, READ, 5); /* older */
    throttle_cancel(&s.tree, one, READ, 7);  /* too late */
    assert_int_equal(one->counts.waiting, 1);
    step_to(&s.tree, SEC + 2 * SEC);
    assert_int_equal(gone(other, READ), 11); /* as many as without that */
    assert_int_equal(gone(one, READ), 11);
    assert_int_equal(one->counts.waiting, 1);
    step_to(&s.tree, SEC + 2200 * MS);
    assert_int_equal(gone(one, READ), 12);
    assert_int_equal(one->counts.waiting, 0);
    tear_down(&s);
}

static void paying_for_what_was_let_through_is_no_news(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 1);
    ask(&s.tree, s.members[0], READ, 2, 4096);
    throttle_through(&s.tree, s.members[0], READ, 1);
    s.tree.root->buckets[LIMIT_IOPS_TOTAL].level = 0.5;
    throttle_dispatch(&s.tree);
    assert_null(s.tree.news);
    assert_int_equal(gone(s.members[0], READ), 1);
    s.tree.now += SEC;
    throttle_dispatch(&s.tree);
    assert_true(s.tree.news == s.members[0]);
    assert_int_equal(gone(s.members[0], READ), 2);
    tear_down(&s);
}

/* Those that wait behind them wait for their member's turns, and for nobody else's. */
static void what_went_without_waiting_is_paid_by_turns_in_its_place(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 2);
    struct throttle_place *one = s.members[0], *other = s.members[1];
    ask(&s.tree, one, READ, 3, 4096);
    ask(&s.tree, other, READ, 30, 4096);
    step_to(&s.tree, SEC); /* one of each */
    for (unsigned i = 0; i < 10; i++)
        throttle_owe(&s.tree, one, READ, 4096);
    ask(&s.tree, one, READ, 1, 4096);
    assert_int_equal(one->counts.waiting, 3);
    assert_int_equal(s.tree.root->counts.waiting, 3 + 29);
    throttle_cancel(&s.tree, one, READ, 5); /* too late */
    step_to(&s.tree, SEC + 400 * MS);
    assert_int_equal(gone(one, READ), 3);
    assert_int_equal(gone(other, READ), 3);
    step_to(&s.tree, SEC + 2400 * MS);
    assert_int_equal(gone(other, READ), 13);
    assert_int_equal(gone(one, READ), 13);
    assert_int_equal(one->counts.waiting, 1);
    assert_int_equal(one->counts.held, 4);
    step_to(&s.tree, SEC + 2600 * MS);
    assert_int_equal(gone(one, READ), 14);
    assert_int_equal(one->counts.waiting, 0);
    tear_down(&s);
}

/* --- Leaving */

static void leaving_forgets_what_waits_and_keeps_what_is_owed(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 2);
    struct throttle_place *other = s.members[1];
    ask(&s.tree, s.members[0], READ, 8, 4096);
    ask(&s.tree, s.members[0], WRITE, 8, 4096);
    ask(&s.tree, other, READ, 20, 4096);
    step_to(&s.tree, SEC); /* a read and a write */
    assert_int_equal(gone(s.members[0], WRITE), 1);
    throttle_through(&s.tree, s.members[0], WRITE, 5); /* four */
    uint64_t handle = s.members[0]->handle;
    assert_true(throttle_find(&s.tree, handle) == s.members[0]);
    throttle_leave(&s.tree, s.members[0]);
    assert_null(throttle_find(&s.tree, handle));
    assert_int_equal(s.tree.root->counts.waiting, 20);
    assert_int_equal(s.tree.root->members, 1);
    step_to(&s.tree, SEC + 800 * MS);
    assert_int_equal(gone(other, READ), 4);
    assert_null(s.tree.root->rings[WRITE].head);
    assert_true(s.tree.places == other && !other->next); /* it is quit */
    step_to(&s.tree, SEC + 1600 * MS);
    assert_int_equal(gone(other, READ), 12);
    tear_down(&s);
}

static void who_comes_back_is_another_member(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 1);
    ask(&s.tree, s.members[0], READ, 8, 4096);
    step_to(&s.tree, SEC);
    throttle_through(&s.tree, s.members[0], READ, 8);
    uint64_t handle = s.members[0]->handle;
    throttle_leave(&s.tree, s.members[0]);
    struct throttle_place *again = throttle_enter(&s.tree, s.tree.root, "member", 100);
    uint64_t next = again->handle;
    assert_true(throttle_find(&s.tree, next) == again);
    assert_null(throttle_find(&s.tree, handle)); /* in the same seat */
    assert_int_equal((uint32_t)handle, (uint32_t)next);
    assert_null(throttle_find(&s.tree, 0));
    assert_null(throttle_find(&s.tree, handle + 1000));
    ask(&s.tree, again, READ, 1, 4096);
    step_to(&s.tree, SEC + 200 * MS); /* takes turns with what it owes */
    assert_int_equal(gone(again, READ), 1);
    throttle_leave(&s.tree, again);
    assert_null(throttle_find(&s.tree, next));
    tear_down(&s);
}

static void who_leaves_is_no_news(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1000);
    for (unsigned i = 0; i < 3; i++) {
        set_up(&s, &limits, 3);
        for (unsigned j = 0; j < 3; j++)
            ask(&s.tree, s.members[j], READ, 1, 4096);
        throttle_dispatch(&s.tree);
        throttle_leave(&s.tree, s.members[i]);
        unsigned n = 0;
        for (struct throttle_place *place = s.tree.news; place; place = place->next_news)
            n += throttle_find(&s.tree, place->handle) == place;
        assert_int_equal(n, 2);
        tear_down(&s);
    }
}

static void members_leave_in_any_order_and_the_others_go_on(void **state)
{
    (void)state;
    const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                   {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (unsigned i = 0; i < 6; i++) {
        struct stage s;
        struct limits limits = iops(10), low = iops(5);
        set_up(&s, &limits, 2);
        struct throttle_group *sub = throttle_group_add(&s.tree, 2, "sub", s.tree.root, &low);
        s.members[2] = throttle_enter(&s.tree, sub, "member", 102);
        for (unsigned j = 0; j < 3; j++) {
            ask(&s.tree, s.members[j], READ, 100, 4096);
            ask(&s.tree, s.members[j], WRITE, 100, 4096);
        }
        uint64_t now = SEC;
        for (unsigned j = 0; j < 3; j++) {
            now += 3 * SEC;
            step_to(&s.tree, now);
            throttle_leave(&s.tree, s.members[orders[i][j]]);
            assert_int_equal(s.tree.root->members, 2 - j);
            uint64_t before[3];
            for (unsigned k = j + 1; k < 3; k++)
                before[k] = both(s.members[orders[i][k]]);
            step_to(&s.tree, now + 2 * SEC);
            for (unsigned k = j + 1; k < 3; k++)
                assert_true(both(s.members[orders[i][k]]) > before[k]);
        }
        assert_true(throttle_next(&s.tree) == UINT64_MAX);
        assert_int_equal(s.tree.root->counts.waiting, 0);
        assert_int_equal(sub->counts.waiting, 0);
        throttle_group_remove(&s.tree, sub);
        throttle_group_remove(&s.tree, s.tree.root);
        assert_null(s.tree.root);
        tear_down(&s);
    }
}

static void a_removed_group_takes_along_what_is_still_owed_in_it(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 1);
    struct throttle_group *sub = throttle_group_add(&s.tree, 2, "sub", s.tree.root, &limits);
    assert_true(throttle_group_find(&s.tree, 2) == sub);
    struct throttle_place *place = throttle_enter(&s.tree, sub, "member", 7);
    ask(&s.tree, place, READ, 50, 4096);
    step_to(&s.tree, SEC);
    throttle_through(&s.tree, place, READ, 50);
    throttle_leave(&s.tree, place);
    throttle_group_remove(&s.tree, sub);
    assert_null(throttle_group_find(&s.tree, 2));
    assert_true(throttle_next(&s.tree) == UINT64_MAX);
    ask(&s.tree, s.members[0], READ, 1, 4096);
    step_to(&s.tree, SEC + 100 * MS);
    assert_int_equal(gone(s.members[0], READ), 1);
    tear_down(&s);
}

/* --- Leases */

static const struct throttle_lease plenty = {1000, 1000 * 4096};

static void a_lease_is_half_the_member_s_part_of_the_room(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1000); /* it holds 100 */
    set_up(&s, &limits, 2);
    struct throttle_lease lease = throttle_lease(&s.tree, s.members[0], READ, plenty);
    assert_int_equal(lease.requests, 25);
    assert_true(lease.bytes == UINT64_MAX);
    assert_true(throttle_has_lease(s.members[0]) && !throttle_has_lease(s.members[1]));
    lease = throttle_lease(&s.tree, s.members[1], WRITE, plenty);
    assert_int_equal(lease.requests, 18); /* of the 75 that are left */
    lease = throttle_lease(&s.tree, s.members[1], WRITE, (struct throttle_lease){3, 3 * 4096});
    assert_int_equal(lease.requests, 3); /* no more than that was wanted */
    assert_int_equal(s.members[1]->leases[WRITE].requests, 21);
    assert_int_equal(s.tree.root->leased_requests[READ], 25);
    assert_int_equal(s.tree.root->leased_requests[WRITE], 21);
    tear_down(&s);
}

static void what_is_leased_is_reserved_until_it_is_spent_or_given_back(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1000);
    set_up(&s, &limits, 2);
    struct throttle_place *lessee = s.members[0], *other = s.members[1];
    throttle_lease(&s.tree, lessee, READ, plenty); /* 25 */
    s.tree.now += SEC;
    ask(&s.tree, other, WRITE, 200, 4096);
    throttle_dispatch(&s.tree);
    assert_int_equal(gone(other, WRITE), 76);
    throttle_spent(&s.tree, lessee, READ, 10, 40960, NULL, 0);
    assert_int_equal(lessee->leases[READ].requests, 15);
    throttle_dispatch(&s.tree);
    assert_int_equal(gone(other, WRITE), 76);
    throttle_return(lessee, READ);
    assert_false(throttle_has_lease(lessee));
    throttle_dispatch(&s.tree);
    assert_int_equal(gone(other, WRITE), 91);
    assert_true(s.tree.root->buckets[LIMIT_IOPS_TOTAL].reserved == 0);
    tear_down(&s);
}

static void what_was_spent_beyond_a_lease_is_accounted_all_the_same(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1000);
    limits.iops_size = 4096;
    set_up(&s, &limits, 1);
    struct throttle_lease lease =
        throttle_lease(&s.tree, s.members[0], READ, (struct throttle_lease){10, 20 * 4096});
    assert_int_equal(lease.requests, 10);
    assert_int_equal(lease.bytes, 20 * 4096);
    assert_true(s.tree.root->buckets[LIMIT_IOPS_TOTAL].reserved == 30); /* at most that */
    double beyond = 18;
    throttle_spent(&s.tree, s.members[0], READ, 12, 30 * 4096, &beyond, 1);
    assert_true(s.tree.root->buckets[LIMIT_IOPS_TOTAL].level == 30);
    assert_true(s.tree.root->buckets[LIMIT_IOPS_TOTAL].reserved == 0);
    assert_false(throttle_has_lease(s.members[0]));
    tear_down(&s);
}

static void nothing_is_leased_where_a_limit_holds_requests_back(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = crowd_limits(LIMIT_IOPS_WRITE, 10), total = iops(1000);
    set_up(&s, &limits, 1);
    struct throttle_group *sub = throttle_group_add(&s.tree, 2, "sub", s.tree.root, &total);
    struct throttle_place *place = throttle_enter(&s.tree, sub, "member", 7);
    ask(&s.tree, s.members[0], WRITE, 3, 4096);
    step_to(&s.tree, SEC);
    assert_int_equal(throttle_lease(&s.tree, place, WRITE, plenty).requests, 0);
    assert_int_equal(throttle_lease(&s.tree, place, READ, plenty).requests, 50); /* that is free */
    throttle_group_set(&s.tree, s.tree.root, &(struct limits){.limit[0] = {10, 0, 1}});
    throttle_return(place, READ);
    step_to(&s.tree, SEC);
    assert_int_equal(throttle_lease(&s.tree, place, READ, plenty).requests, 0);
    tear_down(&s);
}

static void who_waits_in_a_group_at_its_limit_keeps_no_lease_from_its_sibling(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1000), low = iops(10);
    set_up(&s, &limits, 1);
    struct throttle_group *sub = throttle_group_add(&s.tree, 2, "sub", s.tree.root, &low);
    ask(&s.tree, throttle_enter(&s.tree, sub, "member", 7), READ, 5, 4096); /* 2 go */
    assert_int_equal(throttle_lease(&s.tree, s.members[0], READ, plenty).requests, 98 / 4);
    tear_down(&s);
}

static void who_waited_until_now_comes_before_a_lease(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1000);
    set_up(&s, &limits, 2);
    ask(&s.tree, s.members[0], READ, 201, 4096);
    step_to(&s.tree, SEC);
    s.tree.now += 100 * MS;
    assert_int_equal(throttle_lease(&s.tree, s.members[1], WRITE, plenty).requests, 0);
    assert_int_equal(gone(s.members[0], READ), 201);
    assert_true(s.tree.news == s.members[0]);
    tear_down(&s);
}

static void less_than_one_request_is_not_leased(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10); /* it holds one */
    set_up(&s, &limits, 1);
    assert_int_equal(throttle_lease(&s.tree, s.members[0], READ, plenty).requests, 0);
    assert_int_equal(
        throttle_lease(&s.tree, s.members[0], READ, (struct throttle_lease){0}).requests, 0);
    limits = crowd_limits(LIMIT_BPS_READ, 4096 * 19.0); /* less than half of it for one request */
    throttle_group_set(&s.tree, s.tree.root, &limits);
    assert_int_equal(throttle_lease(&s.tree, s.members[0], READ, plenty).requests, 0);
    limits = crowd_limits(LIMIT_BPS_READ, 4096 * 20.0);
    throttle_group_set(&s.tree, s.tree.root, &limits);
    struct throttle_lease lease = throttle_lease(&s.tree, s.members[0], READ, plenty);
    assert_true(lease.requests == UINT64_MAX && lease.bytes == 4096);
    tear_down(&s);
}

static void a_lease_that_lost_its_limit_leaves_nothing_reserved(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1000), none = LIMITS_NONE;
    set_up(&s, &limits, 1);
    throttle_lease(&s.tree, s.members[0], READ, plenty);
    throttle_group_set(&s.tree, s.tree.root, &none);
    struct throttle_lease lease = throttle_lease(&s.tree, s.members[0], READ, plenty);
    assert_true(lease.requests == UINT64_MAX && lease.bytes == UINT64_MAX);
    assert_int_equal(s.tree.root->leased_requests[READ], 0);
    throttle_group_set(&s.tree, s.tree.root, &limits);
    throttle_return(s.members[0], READ);
    assert_int_equal(s.tree.root->leased_requests[READ], 0);
    assert_true(s.tree.root->buckets[LIMIT_IOPS_TOTAL].reserved == 0);
    tear_down(&s);
}

static void what_is_spent_of_a_recalled_lease_counts_where_limits_stayed(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1000);
    set_up(&s, &limits, 0);
    struct throttle_group *sub = throttle_group_add(&s.tree, 2, "sub", s.tree.root, &limits);
    struct throttle_place *place = throttle_enter(&s.tree, sub, "member", 7);
    assert_int_equal(throttle_lease(&s.tree, place, READ, plenty).requests, 50);
    limits = iops(100);
    throttle_group_set(&s.tree, sub, &limits);
    sub->recalls = place->recalled = true;
    throttle_spent(&s.tree, place, READ, 30, 30 * 4096, NULL, 0);
    assert_true(sub->buckets[LIMIT_IOPS_TOTAL].level == 0);
    assert_true(s.tree.root->buckets[LIMIT_IOPS_TOTAL].level == 30);
    tear_down(&s);
}

static void who_leaves_gives_back_what_it_leased(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1000);
    set_up(&s, &limits, 1);
    struct throttle_group *sub = throttle_group_add(&s.tree, 2, "sub", s.tree.root, &limits);
    struct throttle_place *place = throttle_enter(&s.tree, sub, "member", 7);
    throttle_lease(&s.tree, place, READ, plenty);
    throttle_lease(&s.tree, place, WRITE, plenty);
    assert_true(s.tree.root->buckets[LIMIT_IOPS_TOTAL].reserved > 20);
    throttle_leave(&s.tree, place);
    assert_true(s.tree.root->buckets[LIMIT_IOPS_TOTAL].reserved == 0);
    assert_true(sub->buckets[LIMIT_IOPS_TOTAL].reserved == 0);
    tear_down(&s);
}

static void other_limits_leave_leases_reserved(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1000);
    set_up(&s, &limits, 1);
    assert_int_equal(throttle_lease(&s.tree, s.members[0], READ, plenty).requests, 50);
    limits = iops(2000);
    throttle_group_set(&s.tree, s.tree.root, &limits);
    ask(&s.tree, s.members[0], READ, 300, 4096);
    throttle_dispatch(&s.tree);
    assert_int_equal(gone(s.members[0], READ), 151);
    tear_down(&s);
}

/* --- Counts */

static void waiting_requests_and_the_time_they_wait_are_counted_up_to_the_root(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10), none = LIMITS_NONE;
    set_up(&s, &limits, 1);
    struct throttle_group *sub = throttle_group_add(&s.tree, 2, "sub", s.tree.root, &none);
    struct throttle_place *place = throttle_enter(&s.tree, sub, "member", 7);
    ask(&s.tree, place, READ, 4, 4096); /* 2 go at once */
    step_to(&s.tree, SEC);
    assert_int_equal(place->counts.waiting, 2);
    ask(&s.tree, s.members[0], WRITE, 1, 4096);
    s.tree.now += 50 * MS;
    assert_int_equal(throttle_waited(&s.tree, &place->counts), 2 * 50 * MS);
    assert_int_equal(throttle_waited(&s.tree, &sub->counts), 2 * 50 * MS);
    assert_int_equal(throttle_waited(&s.tree, &s.tree.root->counts), 3 * 50 * MS);
    step_to(&s.tree, SEC + 5 * SEC); /* they went after 100, 200 and 300 ms */
    assert_int_equal(s.tree.root->counts.waiting, 0);
    assert_int_equal(throttle_waited(&s.tree, &s.tree.root->counts), 600 * MS);
    assert_int_equal(throttle_waited(&s.tree, &sub->counts) +
                         throttle_waited(&s.tree, &s.members[0]->counts),
                     600 * MS);
    tear_down(&s);
}

static void rates_are_those_of_the_last_second(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(100);
    set_up(&s, &limits, 2);
    ask(&s.tree, s.members[0], READ, 1000, 4096);
    step_to(&s.tree, SEC + 2 * SEC);
    struct rate_slot rate = rate_tell(&s.members[0]->counts.rate, s.tree.now);
    assert_true(rate.operations == 100 && rate.bytes == 409600);
    throttle_spent(&s.tree, s.members[1], WRITE, 50, 512, NULL, 0);
    s.tree.now += 100 * MS;
    rate = rate_tell(&s.members[1]->counts.rate, s.tree.now);
    assert_true(rate.operations == 50 && rate.bytes == 512);
    rate = rate_tell(&s.tree.root->counts.rate, s.tree.now);
    assert_true(rate.operations >= 130 && rate.operations <= 150);
    s.tree.now += 900 * MS;
    assert_true(rate_tell(&s.members[1]->counts.rate, s.tree.now).operations == 50);
    s.tree.now += 100 * MS;
    assert_true(rate_tell(&s.members[1]->counts.rate, s.tree.now).operations == 0);
    assert_true(rate_tell(&s.tree.root->counts.rate, s.tree.now).operations == 0);
    tear_down(&s);
}

static void rates_are_of_operations_as_each_group_counts_them(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(1600), none = LIMITS_NONE;
    limits.iops_size = 4096;
    set_up(&s, &none, 0);
    struct throttle_group *group = throttle_group_add(&s.tree, 2, "sized", s.tree.root, &limits);
    struct throttle_place *place = throttle_enter(&s.tree, group, "member", 7);
    ask(&s.tree, place, READ, 1000, 64 * KIB);
    step_to(&s.tree, SEC + 2 * SEC);
    assert_near(rate_tell(&place->counts.rate, s.tree.now).operations, 1600, 0.02);
    assert_near(rate_tell(&group->counts.rate, s.tree.now).operations, 1600, 0.02);
    assert_near(rate_tell(&s.tree.root->counts.rate, s.tree.now).operations, 100, 0.02);
    throttle_leave(&s.tree, place);
    step_to(&s.tree, 10 * SEC);
    place = throttle_enter(&s.tree, group, "member", 7);
    throttle_spent(&s.tree, place, WRITE, 10, 10 * 8192, (const double[]){10}, 1);
    ask(&s.tree, place, READ, 1, 16384);
    throttle_through(&s.tree, place, READ, 1);
    s.tree.now += 100 * MS;
    assert_true(rate_tell(&place->counts.rate, s.tree.now).operations == 24);
    assert_true(rate_tell(&group->counts.rate, s.tree.now).operations == 24);
    assert_true(rate_tell(&s.tree.root->counts.rate, s.tree.now).operations == 11);
    tear_down(&s);
}

static void what_was_let_through_counts_when_it_went(void **state)
{
    (void)state;
    struct stage s;
    struct limits limits = iops(10);
    set_up(&s, &limits, 1);
    struct throttle_place *place = s.members[0];
    ask(&s.tree, place, READ, 602, 512);
    step_to(&s.tree, SEC);
    assert_int_equal(gone(place, READ), 2);
    throttle_cancel(&s.tree, place, READ, 300);
    throttle_through(&s.tree, place, READ, 302);
    throttle_through(&s.tree, place, READ, 602);
    step_to(&s.tree, 2 * SEC);
    struct rate_slot rate = rate_tell(&place->counts.rate, s.tree.now);
    assert_true(rate.operations == 601 && rate.bytes == 601 * 512);
    assert_true(rate_tell(&s.tree.root->counts.rate, s.tree.now).operations == 601);
    step_to(&s.tree, 4 * SEC); /* it is paid still */
    assert_in_range(gone(place, READ), 20, 50);
    assert_true(rate_tell(&place->counts.rate, s.tree.now).operations == 0);
    assert_true(rate_tell(&s.tree.root->counts.rate, s.tree.now).operations == 0);
    tear_down(&s);
}

/* --- Groups that limits of their own hold */

/* They are not looked at while others go, nor when the next time is asked for. */
static void groups_that_are_held_take_no_turns_until_they_may_go(void **state)
{
    (void)state;
    struct stage s;
    struct limits none = LIMITS_NONE;
    struct throttle_place *held[10];
    set_up(&s, &none, 1);
    const struct throttle_ring *ring = &s.tree.root->rings[READ];
    for (unsigned i = 0; i < 10; i++) {
        struct limits low = iops(10 + i);
        struct throttle_group *sub = throttle_group_add(&s.tree, 2 + i, "sub", s.tree.root, &low);
        held[i] = throttle_enter(&s.tree, sub, "member", 200 + i);
        ask(&s.tree, held[i], READ, 100, 4096);
    }
    step_to(&s.tree, SEC);
    ask(&s.tree, s.members[0], READ, 1000, 4096);
    assert_int_equal(ring->n, 1);
    assert_int_equal(ring->blocked.count, 10);
    let_go(&s.tree);
    assert_int_equal(gone(s.members[0], READ), 1000);
    assert_int_equal(ring->n, 0);
    uint64_t before = gone(held[9], READ);
    step_to(&s.tree, 5 * SEC);
    assert_in_range(gone(held[9], READ) - before, 75, 76);
    throttle_group_set(&s.tree, held[0]->group, &none); /* that counts at once */
    step_to(&s.tree, 5 * SEC);
    assert_int_equal(gone(held[0], READ), 100);
    assert_int_equal(ring->blocked.count, 9);
    tear_down(&s);
}

/* The lease of one member holds another one of the same group: it goes when that comes back. */
static void what_a_lease_holds_goes_when_that_is_given_back(void **state)
{
    (void)state;
    struct stage s;
    struct limits none = LIMITS_NONE, low = iops(10);
    set_up(&s, &none, 0);
    struct throttle_group *sub = throttle_group_add(&s.tree, 2, "sub", s.tree.root, &low);
    struct throttle_place *one = throttle_enter(&s.tree, sub, "one", 7);
    struct throttle_place *other = throttle_enter(&s.tree, sub, "other", 8);
    low.limit[LIMIT_IOPS_TOTAL] = (struct limit){10, 100, 1};
    throttle_group_set(&s.tree, sub, &low);
    throttle_lease(&s.tree, one, READ, (struct throttle_lease){25, 0});
    assert_int_equal(one->leases[READ].requests, 25);
    ask(&s.tree, other, READ, 80, 4096);
    step_to(&s.tree, SEC);
    assert_int_equal(gone(other, READ), 76);
    assert_true(throttle_next(&s.tree) > SEC);
    throttle_return(one, READ);
    assert_int_equal(throttle_next(&s.tree), SEC + 1);
    step_to(&s.tree, SEC);
    assert_int_equal(gone(other, READ), 80);
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_something_that_may_go_is_news),
        cmocka_unit_test(with_nothing_to_do_there_is_no_next_time),
        cmocka_unit_test(the_next_time_is_the_earliest_of_all_groups_and_directions),
        cmocka_unit_test(a_cancelled_request_costs_nothing_and_does_not_go),
        cmocka_unit_test(with_its_last_request_cancelled_a_member_has_no_turns),
        cmocka_unit_test(what_was_let_through_waits_no_more_and_is_paid_by_its_member_s_turns),
        cmocka_unit_test(paying_for_what_was_let_through_is_no_news),
        cmocka_unit_test(what_went_without_waiting_is_paid_by_turns_in_its_place),
        cmocka_unit_test(leaving_forgets_what_waits_and_keeps_what_is_owed),
        cmocka_unit_test(who_comes_back_is_another_member),
        cmocka_unit_test(who_leaves_is_no_news),
        cmocka_unit_test(members_leave_in_any_order_and_the_others_go_on),
        cmocka_unit_test(a_removed_group_takes_along_what_is_still_owed_in_it),
        cmocka_unit_test(a_lease_is_half_the_member_s_part_of_the_room),
        cmocka_unit_test(what_is_leased_is_reserved_until_it_is_spent_or_given_back),
        cmocka_unit_test(what_was_spent_beyond_a_lease_is_accounted_all_the_same),
        cmocka_unit_test(nothing_is_leased_where_a_limit_holds_requests_back),
        cmocka_unit_test(who_waits_in_a_group_at_its_limit_keeps_no_lease_from_its_sibling),
        cmocka_unit_test(who_waited_until_now_comes_before_a_lease),
        cmocka_unit_test(less_than_one_request_is_not_leased),
        cmocka_unit_test(a_lease_that_lost_its_limit_leaves_nothing_reserved),
        cmocka_unit_test(what_is_spent_of_a_recalled_lease_counts_where_limits_stayed),
        cmocka_unit_test(who_leaves_gives_back_what_it_leased),
        cmocka_unit_test(other_limits_leave_leases_reserved),
        cmocka_unit_test(waiting_requests_and_the_time_they_wait_are_counted_up_to_the_root),
        cmocka_unit_test(rates_are_those_of_the_last_second),
        cmocka_unit_test(rates_are_of_operations_as_each_group_counts_them),
        cmocka_unit_test(what_was_let_through_counts_when_it_went),
        cmocka_unit_test(groups_that_are_held_take_no_turns_until_they_may_go),
        cmocka_unit_test(what_a_lease_holds_goes_when_that_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
