/* Throttle groups of a tree, and their buckets. */
#include "actors/throttle_impl.h"

#include <stdlib.h>
#include <string.h>

#include "engine/mem.h"

const unsigned throttle_touched[THROTTLE_DIRECTIONS][THROTTLE_TOUCHED] = {
    {LIMIT_IOPS_TOTAL, LIMIT_IOPS_READ, LIMIT_BPS_TOTAL, LIMIT_BPS_READ},
    {LIMIT_IOPS_TOTAL, LIMIT_IOPS_WRITE, LIMIT_BPS_TOTAL, LIMIT_BPS_WRITE},
};

/* --- Buckets */

bool throttle_is_shared(const struct throttle_group *group)
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

/* What was worked out holds until its buckets change. */
double throttle_wait_of(const struct throttle_tree *tree, struct throttle_group *group,
                        unsigned direction)
{
    double wait = 0;
    uint64_t opens = group->opens[direction];
    if (opens)
        return opens > tree->now ? (double)(opens - tree->now) : 0;
    throttle_leak(tree, group);
    for (unsigned i = 0; i < THROTTLE_TOUCHED; i++) {
        unsigned number = throttle_touched[direction][i];
        if (throttle_has_limit(group, number))
            wait = throttle_larger(
                wait, bucket_wait(&group->buckets[number], &group->limits.limit[number]));
    }
    if (wait < THROTTLE_NEVER)
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

double throttle_cost_in(const struct throttle_group *group, unsigned number, uint64_t bytes)
{
    if (!throttle_has_limit(group, number))
        return 0;
    return (limit_is_of_bytes(number) ? (double)bytes
                                      : limits_ops(group->limits.iops_size, bytes)) /
           group->limits.limit[number].average;
}

double throttle_cost_of(const struct throttle_group *group, unsigned direction, uint64_t bytes)
{
    double cost = 0;
    for (unsigned i = 0; i < THROTTLE_TOUCHED; i++)
        cost =
            throttle_larger(cost, throttle_cost_in(group, throttle_touched[direction][i], bytes));
    return cost > 0 ? cost : 1;
}

/* --- Groups */

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
        throttle_flow_init(&group->flows[d], d, parent, group, NULL);
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
    throttle_changed(group);
    throttle_forget_costs(group);
}

void throttle_group_remove(struct throttle_tree *tree, struct throttle_group *group)
{
    /* Of members that have left, and owe. */
    for (struct throttle_place *place = tree->places, *next; place; place = next) {
        next = place->next;
        if (place->group == group)
            throttle_place_free(tree, place);
    }
    struct throttle_group **at = &tree->groups;
    while (*at != group)
        at = &(*at)->next;
    *at = group->next;
    if (tree->root == group)
        tree->root = NULL;
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++)
        timers_fini(&group->rings[d].blocked);
    free(group->name);
    free(group);
}

void throttle_tree_fini(struct throttle_tree *tree)
{
    while (tree->places)
        throttle_place_free(tree, tree->places);
    while (tree->groups)
        throttle_group_remove(tree, tree->groups);
    free(tree->seats);
}
