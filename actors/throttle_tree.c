#include "actors/throttle_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mem.h"

#define NEVER     1e18       /* ns */
#define CANCELLED UINT64_MAX /* in place of a request's bytes */

const unsigned throttle_touched[THROTTLE_DIRECTIONS][THROTTLE_TOUCHED] = {
    {LIMIT_IOPS_TOTAL, LIMIT_IOPS_READ, LIMIT_BPS_TOTAL, LIMIT_BPS_READ},
    {LIMIT_IOPS_TOTAL, LIMIT_IOPS_WRITE, LIMIT_BPS_TOTAL, LIMIT_BPS_WRITE},
};

/* fmax() is a call, for the sake of what is not a number. */
static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* --- Buckets of a group */

/* Whether reads and writes stand in each other's way. */
static bool is_shared(const struct throttle_group *group)
{
    return throttle_has_limit(group, LIMIT_IOPS_TOTAL) ||
           throttle_has_limit(group, LIMIT_BPS_TOTAL);
}

void throttle_leak(const struct throttle_tree *tree, struct throttle_group *group)
{
    uint64_t ns = tree->now - group->leaked;
    if (!ns)
        return;
    group->leaked = tree->now;
    for (unsigned i = 0; i < LIMITS; i++)
        if (throttle_has_limit(group, i))
            bucket_leak(&group->buckets[i], &group->limits.limit[i], ns);
}

static void forget_waits(struct throttle_group *group)
{
    group->opens[THROTTLE_READ] = group->opens[THROTTLE_WRITE] = 0;
}

/* What is leased could be spent on requests that are worth at most this. */
void throttle_reserve(struct throttle_group *group)
{
    forget_waits(group);
    for (unsigned i = 0; i < LIMITS; i++)
        group->buckets[i].reserved = 0;
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
        double ops = (double)group->leased_requests[d], bytes = (double)group->leased_bytes[d];
        if (group->limits.iops_size)
            ops += bytes / (double)group->limits.iops_size;
        for (unsigned i = 0; i < THROTTLE_TOUCHED; i++)
            group->buckets[throttle_touched[d][i]].reserved +=
                limit_is_of_bytes(throttle_touched[d][i]) ? bytes : ops;
    }
}

/* Nanoseconds until a request of this direction may go, if it were for this group. What was worked
 * out holds until its buckets change. */
static double wait_of(const struct throttle_tree *tree, struct throttle_group *group,
                      unsigned direction)
{
    double wait = 0;
    if (tree->now < group->opens[direction])
        return (double)(group->opens[direction] - tree->now);
    throttle_leak(tree, group);
    for (unsigned i = 0; i < THROTTLE_TOUCHED; i++) {
        unsigned number = throttle_touched[direction][i];
        if (throttle_has_limit(group, number))
            wait = larger(wait, bucket_wait(&group->buckets[number], &group->limits.limit[number]));
    }
    if (wait < NEVER)
        group->opens[direction] = tree->now + (uint64_t)wait;
    return wait;
}

double throttle_room(const struct throttle_group *group, unsigned number)
{
    return bucket_room(&group->buckets[number], &group->limits.limit[number]);
}

void throttle_account(const struct throttle_tree *tree, struct throttle_group *group,
                      unsigned direction, double ops, double bytes)
{
    throttle_leak(tree, group);
    forget_waits(group);
    for (unsigned i = 0; i < THROTTLE_TOUCHED; i++) {
        unsigned number = throttle_touched[direction][i];
        if (throttle_has_limit(group, number))
            bucket_add(&group->buckets[number], limit_is_of_bytes(number) ? bytes : ops);
    }
}

/* For how long a request fills a bucket; 0 without that limit. */
static double cost_in(const struct throttle_group *group, unsigned number, uint64_t bytes)
{
    if (!throttle_has_limit(group, number))
        return 0;
    return (limit_is_of_bytes(number) ? (double)bytes
                                      : limits_ops(group->limits.iops_size, bytes)) /
           group->limits.limit[number].average;
}

/* The same of the tightest bucket; 1 where there is none. */
static double cost_of(const struct throttle_group *group, unsigned direction, uint64_t bytes)
{
    double cost = 0;
    for (unsigned i = 0; i < THROTTLE_TOUCHED; i++)
        cost = larger(cost, cost_in(group, throttle_touched[direction][i], bytes));
    return cost > 0 ? cost : 1;
}

/* --- Counts */

static void count(const struct throttle_tree *tree, struct throttle_counts *counts, int64_t change)
{
    counts->waited += counts->waiting * (tree->now - counts->since);
    counts->since = tree->now;
    counts->waiting += (uint64_t)change;
    counts->held += change > 0;
}

static void count_waiting(const struct throttle_tree *tree, struct throttle_place *place,
                          int64_t change)
{
    if (!change)
        return;
    count(tree, &place->counts, change);
    for (struct throttle_group *group = place->group; group; group = group->parent)
        count(tree, &group->counts, change);
}

/* For the rates of a member and all its groups, in operations as each of them counts. */
static void count_passed(const struct throttle_tree *tree, struct throttle_place *place,
                         uint64_t bytes)
{
    rate_add(&place->counts.rate, tree->now, limits_ops(place->group->limits.iops_size, bytes),
             (double)bytes);
    for (struct throttle_group *group = place->group; group; group = group->parent)
        rate_add(&group->counts.rate, tree->now, limits_ops(group->limits.iops_size, bytes),
                 (double)bytes);
}

uint64_t throttle_waited(const struct throttle_tree *tree, const struct throttle_counts *counts)
{
    return counts->waited + counts->waiting * (tree->now - counts->since);
}

/* --- Rings */

static void link_flow(struct throttle_flow *flow, unsigned direction)
{
    struct throttle_group *group = flow->in;
    struct throttle_ring *ring = &group->rings[direction];
    if (flow->next)
        return;
    if (!ring->head) {
        flow->next = flow->previous = ring->head = flow;
        ring->visiting = false;
    } else {
        flow->next = ring->head;
        flow->previous = ring->head->previous;
        flow->next->previous = flow->previous->next = flow;
    }
    ring->n++;
    if (ring->n == 1 && group->parent)
        link_flow(&group->flows[direction], direction);
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

static void unlink_flow(struct throttle_flow *flow, unsigned direction)
{
    struct throttle_group *group = flow->in;
    struct throttle_ring *ring = &group->rings[direction];
    if (!flow->next)
        return;
    if (!--ring->n) {
        *ring = (struct throttle_ring){0};
    } else if (ring->head == flow) {
        ring->head = flow->next;
        end_turn(ring);
    }
    flow->previous->next = flow->next;
    flow->next->previous = flow->previous;
    flow->next = flow->previous = NULL;
    flow->deficit = 0;
    if (!ring->n && group->parent)
        unlink_flow(&group->flows[direction], direction);
}

/* What was had before other limits came was worth something else. */
static void forget_costs(struct throttle_group *group)
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

static uint64_t *bytes_at(const struct throttle_queue *queue, uint64_t number)
{
    return &queue->bytes[number & (queue->capacity - 1)];
}

static uint64_t head_bytes(const struct throttle_queue *queue)
{
    return *bytes_at(queue, queue->head);
}

/* Of a member's next request. */
static uint64_t bytes_of(const struct throttle_flow *leaf, unsigned direction)
{
    return head_bytes(&leaf->place->queues[direction]);
}

static unsigned preferred(const struct throttle_group *group)
{
    return group->balance > 0 ? THROTTLE_WRITE : THROTTLE_READ;
}

/* A direction that goes although the other one has had less does so because that one can't. */
static void weigh(struct throttle_group *group, unsigned direction, uint64_t bytes)
{
    double cost =
        larger(cost_in(group, LIMIT_IOPS_TOTAL, bytes), cost_in(group, LIMIT_BPS_TOTAL, bytes));
    if (!is_shared(group))
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
    if (wait_of(tree, group, direction) > 0)
        return NULL;
    other = other && group->rings[!direction].head && wait_of(tree, group, !direction) <= 0;
    struct throttle_flow *leaf = pick(tree, group, direction, other);
    if (!leaf || !other || preferred(group) == direction ||
        !is_last(group, bytes_of(leaf, direction)) || !pick(tree, group, !direction, false))
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
    for (size_t blocked = 0; ring->head && blocked < ring->n;) {
        struct throttle_flow *flow = ring->head, *leaf = flow;
        if (flow->sub)
            leaf = pick_below(tree, flow->sub, direction, other);
        if (!leaf) {
            flow->deficit = 0; /* as of one that has nothing: turns are not saved up */
            rotate(ring);
            blocked++;
            continue;
        }
        double cost = cost_of(group, direction, bytes_of(leaf, direction));
        ring->highest = larger(ring->highest, cost);
        ring->quantum = larger(ring->quantum, cost);
        if (!ring->visiting)
            flow->deficit += ring->quantum;
        ring->visiting = true;
        if (flow->deficit >= cost * (1 - 1e-9)) /* sums of costs are rounded */
            return leaf;
        rotate(ring);
    }
    return NULL;
}

/* --- Queues */

static void put(struct throttle_queue *queue, uint64_t bytes)
{
    size_t n = queue->tail - queue->head;
    if (n == queue->capacity) {
        size_t capacity = n ? 2 * n : 64;
        uint64_t *more = mem_new(capacity * sizeof *more);
        for (uint64_t number = queue->head; number < queue->tail; number++)
            more[number & (capacity - 1)] = *bytes_at(queue, number);
        free(queue->bytes);
        queue->bytes = more;
        queue->capacity = capacity;
    }
    *bytes_at(queue, queue->tail++) = bytes;
}

/* Steps over those that were cancelled. The flow of an empty queue has no turns. */
static void settle(struct throttle_place *place, unsigned direction)
{
    struct throttle_queue *queue = &place->queues[direction];
    while (queue->head < queue->tail && head_bytes(queue) == CANCELLED)
        queue->head++;
    if (queue->head == queue->tail)
        unlink_flow(&place->flows[direction], direction);
}

void throttle_wait(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                   uint64_t bytes)
{
    put(&place->queues[direction], bytes);
    count_waiting(tree, place, 1);
    link_flow(&place->flows[direction], direction);
}

/* How many of the queue from one number on, up to another, wait. */
static int64_t waiting_between(const struct throttle_queue *queue, uint64_t from, uint64_t to)
{
    int64_t n = 0;
    if (from < queue->head)
        from = queue->head;
    if (from < queue->through)
        from = queue->through;
    for (; from < to && from < queue->tail; from++)
        n += *bytes_at(queue, from) != CANCELLED;
    return n;
}

void throttle_through(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                      uint64_t number)
{
    struct throttle_queue *queue = &place->queues[direction];
    if (number <= queue->through)
        return;
    count_waiting(tree, place, -waiting_between(queue, 0, number));
    /* They pass now, and not when they are paid. */
    for (uint64_t at = queue->head > queue->through ? queue->head : queue->through;
         at < number && at < queue->tail; at++)
        if (*bytes_at(queue, at) != CANCELLED)
            count_passed(tree, place, *bytes_at(queue, at));
    queue->through = number;
}

void throttle_cancel(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                     uint64_t number)
{
    struct throttle_queue *queue = &place->queues[direction];
    if (!waiting_between(queue, number, number + 1))
        return; /* it has gone meanwhile */
    count_waiting(tree, place, -1);
    *bytes_at(queue, number) = CANCELLED;
    settle(place, direction);
}

/* --- Letting go */

static void add_news(struct throttle_tree *tree, struct throttle_place *place)
{
    if (place->is_news)
        return;
    place->is_news = true;
    place->next_news = tree->news;
    tree->news = place;
}

static void free_place(struct throttle_tree *tree, struct throttle_place *place)
{
    struct throttle_place **at = &tree->places;
    while (*at != place)
        at = &(*at)->next;
    *at = place->next;
    for (at = &tree->news; place->is_news && *at; at = &(*at)->next_news)
        if (*at == place) {
            *at = place->next_news;
            break;
        }
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++)
        free(place->queues[d].bytes);
    free(place->name);
    free(place);
}

static bool owes(const struct throttle_place *place)
{
    return place->flows[THROTTLE_READ].next || place->flows[THROTTLE_WRITE].next;
}

static void serve(struct throttle_tree *tree, struct throttle_flow *leaf, unsigned direction)
{
    struct throttle_place *place = leaf->place;
    struct throttle_queue *queue = &place->queues[direction];
    uint64_t bytes = head_bytes(queue);
    bool waited = queue->head >= queue->through;
    for (struct throttle_flow *flow = leaf; flow;) {
        struct throttle_group *group = flow->in;
        flow->deficit -= cost_of(group, direction, bytes);
        throttle_account(tree, group, direction, limits_ops(group->limits.iops_size, bytes),
                         (double)bytes);
        weigh(group, direction, bytes);
        flow = group->parent ? &group->flows[direction] : NULL;
    }
    queue->head++;
    if (waited) {
        count_passed(tree, place, bytes);
        count_waiting(tree, place, -1);
        add_news(tree, place);
    }
    settle(place, direction);
    if (place->left && !owes(place))
        free_place(tree, place);
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
        open[d] = root->rings[d].head && wait_of(tree, root, d) <= 0;
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
        if (is_shared(tree->root))
            direction = preferred(tree->root);
        struct throttle_flow *leaf = pick_direction(tree, &direction, true);
        if (!leaf && tree->insisted) /* groups above each other, each on another direction */
            leaf = pick_direction(tree, &direction, false);
        if (!leaf)
            return;
        serve(tree, leaf, direction);
    }
}

static double next_of(const struct throttle_tree *tree, struct throttle_group *group,
                      unsigned direction);

/* Nanoseconds until a request of this direction may go, as far as limits below this group hold it;
 * infinite when none waits. */
static double next_below(const struct throttle_tree *tree, const struct throttle_group *group,
                         unsigned direction)
{
    const struct throttle_ring *ring = &group->rings[direction];
    const struct throttle_flow *flow = ring->head;
    double first = (double)INFINITY;
    for (size_t i = 0; i < ring->n && first > 0; i++, flow = flow->next)
        first = fmin(first, flow->sub ? next_of(tree, flow->sub, direction) : 0);
    return first;
}

static double next_of(const struct throttle_tree *tree, struct throttle_group *group,
                      unsigned direction)
{
    return larger(next_below(tree, group, direction), wait_of(tree, group, direction));
}

bool throttle_holds(const struct throttle_tree *tree, struct throttle_group *group)
{
    for (unsigned d = 0; group->counts.waiting && d < THROTTLE_DIRECTIONS; d++)
        if (wait_of(tree, group, d) > next_below(tree, group, d))
            return true;
    return false;
}

uint64_t throttle_next(struct throttle_tree *tree)
{
    double wait =
        fmin(next_of(tree, tree->root, THROTTLE_READ), next_of(tree, tree->root, THROTTLE_WRITE));
    if (wait >= NEVER)
        return UINT64_MAX;
    return tree->now + (wait < 1 ? 1 : (uint64_t)wait);
}

/* --- Groups and members */

struct throttle_group *throttle_group_find(const struct throttle_tree *tree, uint64_t id)
{
    struct throttle_group *group = tree->groups;
    while (group && group->id != id)
        group = group->next;
    return group;
}

struct throttle_group *throttle_group_add(struct throttle_tree *tree, uint64_t id, const char *name,
                                          struct throttle_group *parent,
                                          const struct limits *limits)
{
    struct throttle_group *group = MEM_NEW(struct throttle_group);
    group->id = id;
    group->name = mem_string(name);
    group->parent = parent;
    group->limits = *limits;
    group->leaked = group->counts.since = tree->now;
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++)
        group->flows[d] = (struct throttle_flow){.in = parent, .sub = group};
    group->next = tree->groups;
    tree->groups = group;
    if (!parent)
        tree->root = group;
    return group;
}

void throttle_group_set(struct throttle_tree *tree, struct throttle_group *group,
                        const struct limits *limits)
{
    group->limits = *limits;
    group->leaked = tree->now;
    memset(group->buckets, 0, sizeof group->buckets);
    throttle_reserve(group);
    forget_costs(group);
}

void throttle_group_remove(struct throttle_tree *tree, struct throttle_group *group)
{
    /* Of members that have left, and owe. */
    for (struct throttle_place *place = tree->places, *next; place; place = next) {
        next = place->next;
        if (place->group != group)
            continue;
        for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++)
            unlink_flow(&place->flows[d], d);
        free_place(tree, place);
    }
    struct throttle_group **at = &tree->groups;
    while (*at != group)
        at = &(*at)->next;
    *at = group->next;
    if (tree->root == group)
        tree->root = NULL;
    free(group->name);
    free(group);
}

struct throttle_place *throttle_enter(struct throttle_tree *tree, struct throttle_group *group,
                                      const char *name, uint64_t key)
{
    struct throttle_place *place = MEM_NEW(struct throttle_place);
    place->group = group;
    place->name = mem_string(name);
    place->key = key;
    place->counts.since = tree->now;
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++)
        place->flows[d] = (struct throttle_flow){.in = group, .place = place};
    place->next = tree->places;
    tree->places = place;
    for (; group; group = group->parent)
        group->members++;
    return place;
}

struct throttle_place *throttle_find(const struct throttle_tree *tree, uint64_t key)
{
    struct throttle_place *place = tree->places;
    while (place && (place->key != key || place->left))
        place = place->next;
    return place;
}

void throttle_leave(struct throttle_tree *tree, struct throttle_place *place)
{
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
        throttle_return(place, d);
        struct throttle_queue *queue = &place->queues[d];
        count_waiting(tree, place, -waiting_between(queue, 0, queue->tail));
        if (queue->tail > queue->through)
            queue->tail = queue->through > queue->head ? queue->through : queue->head;
        settle(place, d);
    }
    for (struct throttle_group *group = place->group; group; group = group->parent)
        group->members--;
    place->left = true;
    if (!owes(place))
        free_place(tree, place);
}

void throttle_tree_fini(struct throttle_tree *tree)
{
    while (tree->places)
        free_place(tree, tree->places);
    while (tree->groups)
        throttle_group_remove(tree, tree->groups);
}
