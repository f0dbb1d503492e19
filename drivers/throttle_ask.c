#include "drivers/throttle_ask.h"

#include <string.h>

#include "engine/clock.h"
#include "engine/mem.h"
#include "engine/reactor.h"

/* How many requests are leased at first, and at most. Twice as many when that was soon used up. */
#define WANT_FIRST  32
#define WANT_MOST   (UINT64_C(1) << 20)
#define SOON        NS_PER_MS
#define BYTES_LEAST 4096 /* of one request, of those that are wanted */

static void tell_owed(struct throttle_side *side, size_t *n, uint64_t **sizes)
{
    *sizes = side->owed;
    *n = side->n_owed;
    side->next += side->n_owed;
    side->owed = NULL;
    side->n_owed = side->owed_capacity = 0;
}

/* In the order of their arrival. */
static void tell_queue(struct throttle_side *side, size_t *n, uint64_t **sizes)
{
    struct op *op;
    if (side->fresh.count)
        *sizes = mem_new(side->fresh.count * sizeof **sizes);
    while ((op = op_dequeue(&side->fresh))) {
        *throttle_number(op) = side->next++;
        (*sizes)[(*n)++] = side->typical = op->bytes;
        op_enqueue(&side->told, op);
    }
}

static void tell_queues(struct throttle_member *member, Sluice__ThrottleAsk *ask)
{
    struct throttle_side *reads = &member->sides[0], *writes = &member->sides[1];
    tell_owed(reads, &ask->n_owed_reads, &ask->owed_reads);
    tell_owed(writes, &ask->n_owed_writes, &ask->owed_writes);
    tell_queue(reads, &ask->n_reads, &ask->reads);
    tell_queue(writes, &ask->n_writes, &ask->writes);
    ask->n_cancelled_reads = reads->n_cancelled;
    ask->cancelled_reads = reads->cancelled;
    ask->n_cancelled_writes = writes->n_cancelled;
    ask->cancelled_writes = writes->cancelled;
    reads->cancelled = writes->cancelled = NULL;
    reads->n_cancelled = writes->n_cancelled = 0;
    if (!reads->through_is_news && !writes->through_is_news)
        return;
    reads->through_is_news = writes->through_is_news = false;
    ask->through = mem_new(2 * sizeof *ask->through);
    ask->through[ask->n_through++] = reads->through;
    ask->through[ask->n_through++] = writes->through;
}

static bool has_spent(const struct throttle_member *member)
{
    return member->sides[0].spent_requests || member->sides[1].spent_requests;
}

static void tell_spent(struct throttle_member *member, Sluice__ThrottleAsk *ask)
{
    if (!has_spent(member))
        return;
    ask->spent_requests = mem_new(2 * sizeof *ask->spent_requests);
    ask->spent_bytes = mem_new(2 * sizeof *ask->spent_bytes);
    ask->spent_beyond = mem_new((2 * member->levels + 1) * sizeof *ask->spent_beyond);
    for (unsigned i = 0; i < 2; i++) {
        struct throttle_side *side = &member->sides[i];
        ask->spent_requests[ask->n_spent_requests++] = side->spent_requests;
        ask->spent_bytes[ask->n_spent_bytes++] = side->spent_bytes;
        for (unsigned level = 0; level < member->levels; level++)
            ask->spent_beyond[ask->n_spent_beyond++] = side->beyond[level];
        if (side->spent_requests)
            side->typical = side->spent_bytes / side->spent_requests;
        side->paid += side->spent_requests;
        side->spent_requests = side->spent_bytes = 0;
        memset(side->beyond, 0, sizeof side->beyond);
    }
}

static void adapt(struct throttle_side *side, uint64_t at)
{
    if (!side->want)
        side->want = WANT_FIRST;
    else if (at - side->leased < SOON)
        side->want = side->want < WANT_MOST ? 2 * side->want : WANT_MOST;
    else if (at - side->leased > 10 * SOON && side->want > WANT_FIRST)
        side->want /= 2;
}

/* Bytes for all requests that it will have then, less those that it has. */
static uint64_t lacks_bytes(const struct throttle_side *side)
{
    uint64_t typical = side->typical > BYTES_LEAST ? side->typical : BYTES_LEAST;
    uint64_t requests = side->want + (throttle_is_limited(side->requests) ? side->requests : 0);
    return requests * typical > side->bytes ? requests * typical - side->bytes : 0;
}

static void tell_wants(struct throttle_member *member, Sluice__ThrottleAsk *ask)
{
    if (!member->sides[0].due && !member->sides[1].due)
        return;
    ask->want_requests = mem_new(2 * sizeof *ask->want_requests);
    ask->want_bytes = mem_new(2 * sizeof *ask->want_bytes);
    for (unsigned i = 0; i < 2; i++) {
        struct throttle_side *side = &member->sides[i];
        if (side->due)
            adapt(side, reactor_now(actor_reactor(member->self)));
        ask->want_requests[ask->n_want_requests++] = side->due ? side->want : 0;
        ask->want_bytes[ask->n_want_bytes++] = side->due ? lacks_bytes(side) : 0;
        side->due = false;
    }
}

static void drop_lease(struct throttle_side *side)
{
    side->requests = side->bytes = side->few = side->few_bytes = 0;
    side->due = side->returns = false;
}

void throttle_drop_leases(struct throttle_member *member)
{
    for (unsigned i = 0; i < 2; i++)
        drop_lease(&member->sides[i]);
}

static void tell_returns(struct throttle_member *member, Sluice__ThrottleAsk *ask)
{
    if (!throttle_has_returns(member))
        return;
    ask->returns = mem_new(2 * sizeof *ask->returns);
    for (unsigned i = 0; i < 2; i++) {
        struct throttle_side *side = &member->sides[i];
        ask->returns[ask->n_returns++] = side->returns;
        if (side->returns)
            drop_lease(side);
    }
}

Sluice__ThrottleAsk *throttle_ask(struct throttle_member *member)
{
    Sluice__ThrottleAsk *ask = MAIL_NEW(sluice__throttle_ask);
    ask->place = member->place;
    tell_queues(member, ask);
    tell_spent(member, ask);
    tell_returns(member, ask);
    tell_wants(member, ask);
    return ask;
}
