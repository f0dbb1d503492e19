/* Turns: which of the requests that wait goes next. */
#include "actors/throttle_impl.h"

#include <math.h>
#include <stddef.h>

/* --- Rings */

static struct throttle_ring *ring_of(const struct throttle_flow *flow)
{
    return &flow->in->rings[flow->direction];
}

/* Its turn is after those of all others. */
static void put_in(struct throttle_flow *flow)
{
    struct throttle_ring *ring = ring_of(flow);
    if (!ring->head) {
        flow->next = flow->previous = ring->head = flow;
    } else {
        flow->next = ring->head;
        flow->previous = ring->head->previous;
        flow->next->previous = flow->previous->next = flow;
    }
    ring->n++;
}

static void end_turn(struct throttle_ring *ring)
{
    ring->visiting = false;
    if (ring->left > 1) {
        ring->left--;
        return;
    }
    ring->left = ring->n;
    ring->quantum = ring->highest;
    ring->highest = 0;
}

static void rotate(struct throttle_ring *ring)
{
    ring->head = ring->head->next;
    end_turn(ring);
}

/* Turns are not saved up. */
static void take_out(struct throttle_flow *flow)
{
    struct throttle_ring *ring = ring_of(flow);
    ring->n--;
    if (ring->head == flow) {
        ring->head = ring->n ? flow->next : NULL;
        end_turn(ring);
    }
    flow->previous->next = flow->next;
    flow->next->previous = flow->previous;
    flow->next = flow->previous = NULL;
    flow->deficit = 0;
}

static void unblock(struct timer *timer)
{
    put_in((struct throttle_flow *)((char *)timer - offsetof(struct throttle_flow, blocked)));
}

void throttle_flow_init(struct throttle_flow *flow, unsigned direction, struct throttle_group *in,
                        struct throttle_group *sub, struct throttle_place *place)
{
    *flow = (struct throttle_flow){
        .blocked.fire = unblock, .direction = direction, .in = in, .sub = sub, .place = place};
}

void throttle_changed(struct throttle_group *group)
{
    for (; group->parent; group = group->parent)
        for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
            struct throttle_flow *flow = &group->flows[d];
            if (!timer_armed(&flow->blocked))
                continue;
            timer_cancel(&ring_of(flow)->blocked, &flow->blocked);
            put_in(flow);
        }
}

void throttle_link(struct throttle_flow *flow)
{
    if (flow->next || timer_armed(&flow->blocked))
        return;
    put_in(flow);
    throttle_changed(flow->in);
    if (flow->in->parent)
        throttle_link(&flow->in->flows[flow->direction]);
}

void throttle_unlink(struct throttle_flow *flow)
{
    struct throttle_ring *ring = ring_of(flow);
    if (flow->next)
        take_out(flow);
    else if (timer_armed(&flow->blocked))
        timer_cancel(&ring->blocked, &flow->blocked);
    else
        return;
    throttle_changed(flow->in);
    if (ring->n || ring->blocked.count)
        return;
    ring->quantum = ring->highest = 0;
    if (flow->in->parent)
        throttle_unlink(&flow->in->flows[flow->direction]);
}

void throttle_forget_costs(struct throttle_group *group)
{
    group->balance = 0;
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
        struct throttle_ring *ring = &group->rings[d];
        struct throttle_flow *flow = ring->head;
        for (size_t i = 0; i < ring->n; i++, flow = flow->next)
            flow->deficit = 0;
        ring->visiting = false;
        ring->quantum = ring->highest = 0;
        ring->left = ring->n;
    }
}

/* --- When */

/* In so many nanoseconds: absolute, or UINT64_MAX. */
static uint64_t when(const struct throttle_tree *tree, double wait)
{
    if (wait >= THROTTLE_NEVER)
        return UINT64_MAX;
    return tree->now + (wait < 1 ? 1 : (uint64_t)wait);
}

static bool is_open(const struct throttle_tree *tree, struct throttle_group *group,
                    unsigned direction);
static double next_of(const struct throttle_tree *tree, struct throttle_group *group,
                      unsigned direction);

/* Nanoseconds until a request of this direction may go, as far as limits below this group hold it;
 * infinite when none waits. At 0 that is one of the first flow, as those that are held by then take
 * no turns. */
static double next_below(const struct throttle_tree *tree, struct throttle_group *group,
                         unsigned direction)
{
    struct throttle_ring *ring = &group->rings[direction];
    struct throttle_flow *flow;
    if (ring->blocked.count)
        timers_run(&ring->blocked, tree->now);
    while ((flow = ring->head)) {
        if (!flow->sub || is_open(tree, flow->sub, direction))
            return 0;
        uint64_t next = when(tree, next_of(tree, flow->sub, direction));
        take_out(flow);
        timer_arm(&ring->blocked, &flow->blocked, next);
    }
    return ring->blocked.count ? (double)(timers_next(&ring->blocked) - tree->now)
                               : (double)INFINITY;
}

static double next_of(const struct throttle_tree *tree, struct throttle_group *group,
                      unsigned direction)
{
    return throttle_larger(next_below(tree, group, direction),
                           throttle_wait_of(tree, group, direction));
}

/* Whether that is now. */
static bool is_open(const struct throttle_tree *tree, struct throttle_group *group,
                    unsigned direction)
{
    return throttle_wait_of(tree, group, direction) <= 0 && next_below(tree, group, direction) <= 0;
}

/* --- Whose turn it is */

/* Of a member's next request. */
static uint64_t bytes_of(const struct throttle_flow *leaf, unsigned direction)
{
    return throttle_head(leaf->place, direction);
}

static unsigned preferred(const struct throttle_group *group)
{
    return group->balance > 0 ? THROTTLE_WRITE : THROTTLE_READ;
}

/* A direction that goes although the other one has had less does so because that one can't. */
static void weigh(struct throttle_group *group, unsigned direction, uint64_t bytes)
{
    double cost = throttle_larger(throttle_cost_in(group, LIMIT_IOPS_TOTAL, bytes),
                                  throttle_cost_in(group, LIMIT_BPS_TOTAL, bytes));
    if (!throttle_is_shared(group))
        return;
    if (direction != preferred(group))
        group->balance = 0;
    group->balance += direction == THROTTLE_READ ? cost : -cost;
}

/* Whether both directions wait, and the other one would have to go on waiting after this request.
 */
static bool is_last(const struct throttle_group *group, uint64_t bytes)
{
    double ops = limits_ops(group->limits.iops_size, bytes);
    return (throttle_has_limit(group, LIMIT_IOPS_TOTAL) &&
            throttle_room(group, LIMIT_IOPS_TOTAL) < ops) ||
           (throttle_has_limit(group, LIMIT_BPS_TOTAL) &&
            throttle_room(group, LIMIT_BPS_TOTAL) < (double)bytes);
}

static struct throttle_flow *pick(struct throttle_tree *tree, struct throttle_group *group,
                                  unsigned direction, bool other);

/* The same, of a group in that one: null as well when only one request more may go, and it is the
 * other direction's turn in this group. */
static struct throttle_flow *pick_below(struct throttle_tree *tree, struct throttle_group *group,
                                        unsigned direction, bool other)
{
    other = other && is_open(tree, group, !direction);
    struct throttle_flow *leaf = pick(tree, group, direction, other);
    if (!leaf || !other || preferred(group) == direction ||
        !is_last(group, bytes_of(leaf, direction)))
        return leaf;
    tree->insisted = true;
    return NULL;
}

/* The flow whose turn it is, and whose first request it can pay for; null when all are held up by
 * groups in this one. With `other`, groups above let the other direction pass, too. */
static struct throttle_flow *pick(struct throttle_tree *tree, struct throttle_group *group,
                                  unsigned direction, bool other)
{
    struct throttle_ring *ring = &group->rings[direction];
    for (size_t passed = 0; next_below(tree, group, direction) <= 0 && passed < ring->n;) {
        struct throttle_flow *flow = ring->head, *leaf = flow;
        if (flow->sub)
            leaf = pick_below(tree, flow->sub, direction, other);
        if (!leaf) {
            flow->deficit = 0; /* as of one that has nothing */
            rotate(ring);
            passed++;
            continue;
        }
        double cost = throttle_cost_of(group, direction, bytes_of(leaf, direction));
        ring->highest = throttle_larger(ring->highest, cost);
        ring->quantum = throttle_larger(ring->quantum, cost);
        if (!ring->visiting)
            flow->deficit += ring->quantum;
        ring->visiting = true;
        if (flow->deficit >= cost * (1 - 1e-9)) /* sums of costs are rounded */
            return leaf;
        rotate(ring);
    }
    return NULL;
}

/* --- Letting go */

static void serve(struct throttle_tree *tree, struct throttle_flow *leaf, unsigned direction)
{
    uint64_t bytes = bytes_of(leaf, direction);
    for (struct throttle_flow *flow = leaf; flow;) {
        struct throttle_group *group = flow->in;
        flow->deficit -= throttle_cost_of(group, direction, bytes);
        throttle_account(tree, group, direction, limits_ops(group->limits.iops_size, bytes),
                         (double)bytes);
        weigh(group, direction, bytes);
        flow = group->parent ? &group->flows[direction] : NULL;
    }
    throttle_changed(leaf->in);
    throttle_pop(tree, leaf->place, direction);
}

/* The next flow, and its direction: the one that is given, if something of that may go. With
 * `insist`, groups below the root may hold out for the other one. */
static struct throttle_flow *pick_direction(struct throttle_tree *tree, unsigned *direction,
                                            bool insist)
{
    struct throttle_group *root = tree->root;
    bool open[THROTTLE_DIRECTIONS];
    struct throttle_flow *leaf = NULL;
    tree->insisted = false;
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++)
        open[d] = is_open(tree, root, d);
    if (open[*direction])
        leaf = pick(tree, root, *direction, insist && open[!*direction]);
    if (leaf || !open[!*direction])
        return leaf;
    *direction = !*direction;
    return pick(tree, root, *direction, insist && open[!*direction]);
}

void throttle_dispatch(struct throttle_tree *tree)
{
    for (unsigned direction = THROTTLE_READ;;) {
        if (throttle_is_shared(tree->root))
            direction = preferred(tree->root);
        struct throttle_flow *leaf = pick_direction(tree, &direction, true);
        if (!leaf && tree->insisted) /* groups above each other, each on another direction */
            leaf = pick_direction(tree, &direction, false);
        if (!leaf)
            return;
        serve(tree, leaf, direction);
    }
}

bool throttle_holds(const struct throttle_tree *tree, struct throttle_group *group)
{
    for (unsigned d = 0; group->counts.waiting && d < THROTTLE_DIRECTIONS; d++)
        if (throttle_wait_of(tree, group, d) > next_below(tree, group, d))
            return true;
    return false;
}

uint64_t throttle_next(struct throttle_tree *tree)
{
    return when(tree, fmin(next_of(tree, tree->root, THROTTLE_READ),
                           next_of(tree, tree->root, THROTTLE_WRITE)));
}
