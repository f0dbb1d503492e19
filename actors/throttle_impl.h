/* throttle_impl.h — what the sources behind throttle_tree.h share: throttle_group.c, groups and
 * their buckets; throttle_place.c, members and what waits; throttle_tree.c, turns; and
 * throttle_lease.c, what is spent without asking. */
#ifndef SLUICE_THROTTLE_IMPL_H
#define SLUICE_THROTTLE_IMPL_H

#include "actors/throttle_tree.h"

#define THROTTLE_NEVER 1e18 /* ns */

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

/* fmax() is a call, for the sake of what is not a number. */
static inline double throttle_larger(double a, double b)
{
    return a > b ? a : b;
}

/* --- Groups */

/* Whether reads and writes stand in each other's way. */
bool throttle_is_shared(const struct throttle_group *group);
/* Brings the levels up to now. */
void throttle_leak(const struct throttle_tree *tree, struct throttle_group *group);
/* Units that may be leased. */
double throttle_room(const struct throttle_group *group, unsigned number);
/* What is leased has changed. */
void throttle_reserve(struct throttle_group *group);
/* So much has passed this group, for its buckets. */
void throttle_account(const struct throttle_tree *tree, struct throttle_group *group,
                      unsigned direction, double ops, double bytes);
/* Nanoseconds until a request of this direction may go, if it were for this group. */
double throttle_wait_of(const struct throttle_tree *tree, struct throttle_group *group,
                        unsigned direction);
/* For how long a request fills a bucket; 0 without that limit. */
double throttle_cost_in(const struct throttle_group *group, unsigned number, uint64_t bytes);
/* The same of the tightest bucket; 1 where there is none. */
double throttle_cost_of(const struct throttle_group *group, unsigned direction, uint64_t bytes);

/* --- Turns */

void throttle_flow_init(struct throttle_flow *flow, unsigned direction, struct throttle_group *in,
                        struct throttle_group *sub, struct throttle_place *place);
/* The flow has something that waits, */
void throttle_link(struct throttle_flow *flow);
/* or nothing any more. */
void throttle_unlink(struct throttle_flow *flow);
/* When requests of this group may go is to be worked out anew. */
void throttle_changed(struct throttle_group *group);
/* What was had before other limits came was worth something else. */
void throttle_forget_costs(struct throttle_group *group);

/* --- Members */

/* Bytes of the first request that waits, or is to be paid: there is one. */
uint64_t throttle_head(const struct throttle_place *place, unsigned direction);
/* That is paid, and goes if it has not gone. May free a place that has left. */
void throttle_pop(struct throttle_tree *tree, struct throttle_place *place, unsigned direction);
void throttle_place_free(struct throttle_tree *tree, struct throttle_place *place);

#endif
