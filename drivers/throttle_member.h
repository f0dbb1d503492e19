/* throttle_member.h — a member of a throttle group: part of an actor whose requests keep the limits
 * of a group, which is another actor.
 *
 * What it has leased it spends without a message. When that is used up, requests wait here, and the
 * group is told of them and tells how far they may go. One question is under way at a time, so the
 * more there is to tell the more goes into one message.
 *
 * Those that it was told of have numbers, in each direction: those that may go, and those that were
 * let through, are all those below a number. */
#ifndef SLUICE_THROTTLE_MEMBER_H
#define SLUICE_THROTTLE_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/actor.h"
#include "engine/op.h"
#include "engine/timer.h"
#include "internal.pb-c.h"

#define THROTTLE_LEVELS 8 /* groups above each other, at most */

/* What a member sends its group; see the messages of the same names. */
enum throttle_mail { THROTTLE_MAIL_ENTER, THROTTLE_MAIL_ASK, THROTTLE_MAIL_LEAVE };

/* How: asks `group`, and runs `fn` with the reply. */
typedef void throttle_send_fn(struct actor *self, actor_addr group, enum throttle_mail what,
                              void *body, actor_reply_fn *fn, void *arg);

struct throttle_member {
    /* What each request looks at, by direction: reads and writes. */
    struct throttle_side {
        uint64_t requests, bytes; /* leased; UINT64_MAX at first: without limit */
        uint64_t few, few_bytes;  /* more is due at that */
        uint64_t spent_requests, spent_bytes;
        size_t waiting;        /* in one of these: */
        struct op_queue fresh; /* those that the group was not told of, */
        struct op_queue told;  /* those that it was, with their numbers, */
        /* What is looked at less often. */
        struct op_queue going; /* and those that are about to go, as it has let them all go */
        uint64_t next;         /* of all numbers */
        uint64_t through;      /* those with lower numbers were let through, */
        bool through_is_news;
        uint64_t *owed; /* and these, bytes, that it was not told of */
        size_t n_owed, owed_capacity;
        uint64_t *cancelled; /* numbers */
        size_t n_cancelled;
        bool returns;                   /* what was leased is to be given back */
        bool due;                       /* it would lease more */
        uint64_t want;                  /* so many requests, */
        uint64_t typical;               /* of so many bytes */
        uint64_t leased;                /* when it did last, ns */
        uint64_t paid;                  /* requests that were paid from leases: told, */
        uint64_t looked;                /* and all there were at the last look */
        double beyond[THROTTLE_LEVELS]; /* see ThrottleAsk */
    } sides[2];
    uint64_t sizes[THROTTLE_LEVELS]; /* bytes of one operation, or 0 */
    unsigned levels;

    struct actor *self;
    const char *name; /* for people; the owner's */
    throttle_send_fn *send;
    void (*pass)(void *owner, struct op *op); /* sends a request on */
    void *owner;

    actor_addr group; /* 0: none */
    uint64_t group_id;
    bool entered;    /* it knows this member, */
    uint64_t place;  /* by this */
    unsigned asking; /* questions under way */
    bool again;      /* there is more to tell */
    bool open;       /* whatever waits goes at once: see throttle_member_open() */
    bool letting_go; /* all that waits, just now */
    struct timer timer;

    /* A change of the group. */
    bool joining;
    actor_addr to;
    uint64_t to_id;
    void (*joined)(void *owner, const struct err *err);
    void (*closed)(void *owner, const struct err *err); /* null: it is not being closed */
};

void throttle_member_init(struct throttle_member *member, struct actor *self, const char *name,
                          throttle_send_fn *send, void (*pass)(void *owner, struct op *op),
                          void *owner);
void throttle_member_fini(struct throttle_member *member);

/* Makes it a member of this group, and of no other; of none for 0. What waits does so in the new
 * one, or goes. Runs `joined` when it is, now or later; one change at a time. */
void throttle_member_join(struct throttle_member *member, actor_addr group, uint64_t id,
                          void (*joined)(void *owner, const struct err *err));
/* Makes it a member of none, for good, and runs `closed`; after a change that is under way, whose
 * `joined` runs first. */
void throttle_member_close(struct throttle_member *member,
                           void (*closed)(void *owner, const struct err *err));
/* Whether it is a member of a group, or about to be, or not to be. */
static inline bool throttle_member_joined(const struct throttle_member *member)
{
    return member->group || member->joining;
}

/* Whether it is a member of none, and nothing is under way: it may end. In `joined`, too. */
static inline bool throttle_member_over(const struct throttle_member *member)
{
    return !throttle_member_joined(member) && !member->asking && !member->closed;
}

/* News from the group. */
void throttle_member_on_grant(struct throttle_member *member, const Sluice__ThrottleGrant *grant);

/* What waits goes at once, and from now on, until it is closed, all that comes; it is paid later.
 */
void throttle_member_open(struct throttle_member *member, bool open);

/* What waits of this user goes at once, and is paid later; so does one that comes meanwhile. */
void throttle_member_go(struct throttle_member *member, struct op *op);
void throttle_member_let_go(struct throttle_member *member, uint16_t user);

/* Around a move; nothing waits. */
void throttle_member_leave(struct throttle_member *member);
void throttle_member_arrive(struct throttle_member *member);

/* Takes a request that waits out, without completing it; its frame is gone. False when it does not
 * wait here. */
bool throttle_member_cancel(struct throttle_member *member, struct op *op);

/* Takes any request that waits out, without completing it; null when there is none. */
struct op *throttle_member_take(struct throttle_member *member);

static inline bool throttle_is_write(unsigned kind)
{
    return kind != OP_READ;
}

/* One for which throttle_member_pays() is false: passes it later, or now when nothing limits it. */
void throttle_member_wait(struct throttle_member *member, struct op *op);
/* For throttle_member_pays(). */
void throttle_member_refill(struct throttle_member *member, struct throttle_side *side);
void throttle_member_beyond(struct throttle_member *member, struct throttle_side *side,
                            uint64_t bytes);
/* Passes it whatever the limits say; they count it. */
void throttle_member_pass(struct throttle_member *member, struct op *op);

/* Whether a lease is enough for a request, and paying for it. */
static inline bool throttle_has(const struct throttle_side *side, uint64_t bytes)
{
    return side->requests && side->bytes >= bytes;
}

static inline void throttle_spend(struct throttle_member *member, struct throttle_side *side,
                                  uint64_t bytes)
{
    side->requests--;
    side->bytes -= bytes;
    side->spent_requests++;
    side->spent_bytes += bytes;
    if (member->levels)
        throttle_member_beyond(member, side, bytes);
}

/* Whether a request that keeps the limits may go at once: then it has been paid for. Otherwise it
 * is for throttle_member_wait(). */
static inline bool throttle_member_pays(struct throttle_member *member, const struct op *op)
{
    struct throttle_side *side = &member->sides[throttle_is_write(op->kind)];
    if (!throttle_has(side, op->bytes) || side->waiting)
        return false;
    throttle_spend(member, side, op->bytes);
    if (__builtin_expect(side->requests <= side->few || side->bytes <= side->few_bytes, 0))
        throttle_member_refill(member, side);
    return true;
}

#endif
