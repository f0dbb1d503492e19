/* What members of throttle groups may spend without asking. */
#include "actors/throttle_impl.h"

#include <math.h>

#define UNLIMITED UINT64_MAX

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a == UNLIMITED || b == UNLIMITED ? UNLIMITED : a + b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    if (a == UNLIMITED)
        return a;
    return a > b ? a - b : 0;
}

/* What has no limit is not counted. */
static uint64_t counted(uint64_t leased)
{
    return leased == UNLIMITED ? 0 : leased;
}

/* From now on the place has leased that. */
static void lease_is(struct throttle_place *place, unsigned direction, struct throttle_lease lease)
{
    struct throttle_lease *old = &place->leases[direction];
    for (struct throttle_group *group = place->group; group; group = group->parent) {
        group->leased_requests[direction] += counted(lease.requests) - counted(old->requests);
        group->leased_bytes[direction] += counted(lease.bytes) - counted(old->bytes);
        throttle_reserve(group);
    }
    throttle_changed(place->group);
    *old = lease;
}

void throttle_spent(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                    uint64_t requests, uint64_t bytes, const double *beyond, size_t depth)
{
    const struct throttle_lease *lease = &place->leases[direction];
    size_t level = 0;
    lease_is(place, direction,
             (struct throttle_lease){minus(lease->requests, requests), minus(lease->bytes, bytes)});
    rate_add(&place->counts.rate, tree->now, (double)requests + (depth ? beyond[0] : 0),
             (double)bytes);
    for (struct throttle_group *group = place->group; group; group = group->parent, level++) {
        double ops = (double)requests + (level < depth ? beyond[level] : 0);
        rate_add(&group->counts.rate, tree->now, ops, (double)bytes);
        if (!place->recalled || !group->recalls) /* else it was spent under the limits that were */
            throttle_account(tree, group, direction, ops, (double)bytes);
    }
    throttle_changed(place->group);
}

/* The part of what is wanted that this group can give; whether requests and bytes are limited. */
static double part_of(const struct throttle_tree *tree, struct throttle_group *group,
                      unsigned direction, struct throttle_lease want, bool limited[2])
{
    double part = 1, ops = (double)want.requests, bytes = (double)want.bytes;
    if (group->limits.iops_size)
        ops += bytes / (double)group->limits.iops_size;
    throttle_leak(tree, group);
    for (unsigned i = 0; i < THROTTLE_TOUCHED; i++) {
        unsigned number = throttle_touched[direction][i];
        if (!throttle_has_limit(group, number))
            continue;
        double share = throttle_room(group, number) / (2 * (double)group->members);
        part = fmin(part, share / fmax(1, limit_is_of_bytes(number) ? bytes : ops));
        limited[limit_is_of_bytes(number)] = true;
        limited[1] |= group->limits.iops_size > 0;
    }
    return part;
}

struct throttle_lease throttle_lease(struct throttle_tree *tree, struct throttle_place *place,
                                     unsigned direction, struct throttle_lease want)
{
    const struct throttle_lease none = {0};
    double part = 1;
    bool limited[2] = {false};
    if (!want.requests)
        return none;
    throttle_dispatch(tree); /* who waits comes first */
    for (struct throttle_group *group = place->group; group; group = group->parent)
        part = fmin(part, part_of(tree, group, direction, want, limited));
    const struct throttle_lease *has = &place->leases[direction];
    struct throttle_lease lease = {UNLIMITED, UNLIMITED};
    if (part * (double)want.requests < 1)
        return none;
    if (limited[0])
        lease.requests = (uint64_t)(part * (double)want.requests);
    if (limited[1])
        lease.bytes = (uint64_t)(part * (double)want.bytes);
    lease_is(place, direction,
             (struct throttle_lease){plus(has->requests, lease.requests),
                                     plus(has->bytes, lease.bytes)});
    return lease;
}

void throttle_return(struct throttle_place *place, unsigned direction)
{
    lease_is(place, direction, (struct throttle_lease){0});
}
