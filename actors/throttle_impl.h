/* throttle_impl.h — what the two sources behind throttle_tree.h share: throttle_tree.c, turns; and
 * throttle_lease.c, what is spent without asking. */
#ifndef SLUICE_THROTTLE_IMPL_H
#define SLUICE_THROTTLE_IMPL_H

#include "actors/throttle_tree.h"

/* Limits that a request of a direction is up against. */
#define THROTTLE_TOUCHED 4
extern const unsigned throttle_touched[THROTTLE_DIRECTIONS][THROTTLE_TOUCHED];

static inline bool limit_is_of_bytes(unsigned number)
{
    return number >= LIMIT_BPS_TOTAL;
}

static inline bool throttle_has_limit(const struct throttle_group *group, unsigned number)
{
    return group->limits.limit[number].average > 0;
}

/* Brings the levels up to now. */
void throttle_leak(const struct throttle_tree *tree, struct throttle_group *group);
/* Units that may be leased. */
double throttle_room(const struct throttle_group *group, unsigned number);
/* What is leased has changed. */
void throttle_reserve(struct throttle_group *group);
/* So much has passed this group, for its buckets. */
void throttle_account(const struct throttle_tree *tree, struct throttle_group *group,
                      unsigned direction, double ops, double bytes);

#endif
