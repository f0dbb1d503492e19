/* throttle_ask.h — what a member of a throttle group tells it and asks for in one message, all that
 * there is by then; see throttle_member.h. */
#ifndef SLUICE_THROTTLE_ASK_H
#define SLUICE_THROTTLE_ASK_H

#include "drivers/throttle_member.h"

/* The message; from then on the group knows all that. Those that wait have their numbers. */
Sluice__ThrottleAsk *throttle_ask(struct throttle_member *member);
/* It has leased nothing any more. */
void throttle_drop_leases(struct throttle_member *member);

/* The number of a request that the group was told of, in its frame. */
static inline uint64_t *throttle_number(struct op *op)
{
    return op_top(op);
}

static inline bool throttle_is_limited(uint64_t leased)
{
    return leased <= UINT64_MAX / 2; /* what has no limit is counted down, too */
}

/* Whether it has something that the group has reserved for it: requests or bytes, be it of no use
 * without the other. */
static inline bool throttle_holds_lease(const struct throttle_side *side)
{
    return (side->requests && throttle_is_limited(side->requests)) ||
           (side->bytes && throttle_is_limited(side->bytes));
}

static inline bool throttle_has_returns(const struct throttle_member *member)
{
    return member->sides[0].returns || member->sides[1].returns;
}

#endif
