#include "drivers/throttle_ask.h"

#include <stddef.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/mem.h"
#include "engine/reactor.h"

#define UNLIMITED UINT64_MAX
/* A lease that is not used for so long goes back; what was spent is told as often. */
#define LOOK_EVERY (10 * NS_PER_MS)

static uint64_t now(const struct throttle_member *member)
{
    return reactor_now(actor_reactor(member->self));
}

static struct throttle_side *side_of(struct throttle_member *member, const struct op *op)
{
    return &member->sides[throttle_is_write(op->kind)];
}

static void look_later(struct throttle_member *member)
{
    if (!timer_armed(&member->timer))
        timer_arm(reactor_timers(actor_reactor(member->self)), &member->timer,
                  now(member) + LOOK_EVERY);
}

/* --- Asking */

static void answered(struct actor *self, struct mail *reply, void *arg);

static void send_ask(struct throttle_member *member)
{
    member->again = false;
    member->asking++;
    member->send(member->self, member->group, THROTTLE_MAIL_ASK, throttle_ask(member), answered,
                 member);
}

/* One question at a time: so all that was leased is here whenever it is given back. */
static void ask(struct throttle_member *member)
{
    if (member->entered && !member->asking)
        send_ask(member);
    else
        member->again = true;
}

/* --- What goes */

/* May bring others, or cancel some that wait, before it returns: where requests end at once. */
static void go(struct throttle_member *member, struct throttle_side *side, struct op_queue *queue)
{
    struct op *op = op_dequeue(queue);
    side->waiting--;
    op_pop(op);
    member->pass(member->owner, op);
}

/* Nothing keeps them any more. */
static void release(struct throttle_side *side, struct op_queue *queue)
{
    struct op *op;
    while ((op = op_dequeue(queue)))
        op_enqueue(&side->going, op);
}

static void await(struct throttle_side *side, struct op_queue *queue, struct op *op)
{
    op_enqueue(queue, op);
    side->waiting++;
}

static void let_go(struct throttle_member *member, struct throttle_side *side, uint64_t number)
{
    while (side->told.head && *throttle_number(side->told.head) < number)
        go(member, side, &side->told);
}

/* In the order of their arrival, which only matters within a direction. Those that come meanwhile,
 * as pieces of what goes do, follow. */
static void let_all_go(struct throttle_member *member)
{
    bool within = member->letting_go;
    member->letting_go = true;
    for (unsigned i = 0; i < 2; i++) {
        release(&member->sides[i], &member->sides[i].told);
        release(&member->sides[i], &member->sides[i].fresh);
    }
    for (unsigned i = 0; i < 2; i++)
        while (member->sides[i].going.head)
            go(member, &member->sides[i], &member->sides[i].going);
    member->letting_go = within;
}

/* A lease that has come is for those that came after the question, too. What the group was told of
 * it pays itself: a lease is in the way of that, and goes back. */
static void spend(struct throttle_member *member, struct throttle_side *side)
{
    while (!side->told.head && side->fresh.head && throttle_has(side, side->fresh.head->bytes)) {
        throttle_spend(member, side, side->fresh.head->bytes);
        go(member, side, &side->fresh);
    }
    if (side->told.head && throttle_holds_lease(side))
        side->returns = true;
}

static uint64_t more(uint64_t has, uint64_t gets)
{
    return gets == UNLIMITED || has > UNLIMITED - gets ? UNLIMITED : has + gets;
}

static void lease(struct throttle_member *member, struct throttle_side *side, uint64_t requests,
                  uint64_t bytes)
{
    if (!requests)
        return;
    side->requests = more(side->requests, requests);
    side->bytes = more(side->bytes, bytes);
    side->few = requests == UNLIMITED ? 0 : side->requests / 2;
    side->few_bytes = bytes == UNLIMITED ? 0 : side->bytes / 2;
    side->leased = now(member);
    look_later(member);
}

static bool has_news(const struct throttle_side *side)
{
    return side->fresh.head || side->n_owed;
}

void throttle_member_on_grant(struct throttle_member *member, const Sluice__ThrottleGrant *grant)
{
    if (!member->entered)
        return; /* of the group that it has left */
    if (grant->n_iops_sizes) {
        member->levels = 0;
        for (size_t i = 0; i < grant->n_iops_sizes && i < THROTTLE_LEVELS; i++) {
            member->sizes[i] = grant->iops_sizes[i];
            if (member->sizes[i])
                member->levels = (unsigned)i + 1;
        }
    }
    for (size_t i = 0; i < 2 && i < grant->n_lease_requests && i < grant->n_lease_bytes; i++)
        lease(member, &member->sides[i], grant->lease_requests[i], grant->lease_bytes[i]);
    for (size_t i = 0; i < 2 && i < grant->n_go; i++)
        let_go(member, &member->sides[i], grant->go[i]);
    for (size_t i = 0; i < 2; i++) {
        spend(member, &member->sides[i]);
        member->sides[i].returns |= grant->recall;
    }
    if (throttle_has_returns(member) || has_news(&member->sides[0]) || has_news(&member->sides[1]))
        ask(member);
}

static void forget_owed(struct throttle_member *member)
{
    member->sides[0].n_owed = member->sides[1].n_owed = 0;
}

/* A group that is gone has no limits. */
static void lost(struct throttle_member *member)
{
    member->entered = false;
    member->group = member->to = 0;
    throttle_drop_leases(member);
    timer_cancel(reactor_timers(actor_reactor(member->self)), &member->timer);
    forget_owed(member);
    let_all_go(member);
}

static void answered(struct actor *self, struct mail *reply, void *arg)
{
    struct throttle_member *member = arg;
    (void)self;
    member->asking--;
    if (!member->entered)
        return;
    if (mail_fault(reply)) {
        lost(member);
        return;
    }
    throttle_member_on_grant(member, (const Sluice__ThrottleGrant *)reply->body);
    if (member->again)
        ask(member);
}

/* --- Requests */

static void ended(struct op *op, void *who)
{
    (void)who;
    op_complete(op, op->ret);
}

/* It is let through, and told of as one that is owed. */
static void owe(struct throttle_side *side, uint64_t bytes)
{
    if (side->n_owed == side->owed_capacity) {
        side->owed_capacity = side->n_owed ? 2 * side->n_owed : 16;
        side->owed = mem_resize(side->owed, side->owed_capacity * sizeof *side->owed);
    }
    side->owed[side->n_owed++] = bytes;
}

void throttle_member_beyond(struct throttle_member *member, struct throttle_side *side,
                            uint64_t bytes)
{
    for (unsigned i = 0; i < member->levels; i++)
        if (member->sizes[i] && bytes > member->sizes[i])
            side->beyond[i] += (double)bytes / (double)member->sizes[i] - 1;
}

void throttle_member_refill(struct throttle_member *member, struct throttle_side *side)
{
    side->few = side->few_bytes = 0; /* until there is more, or none left */
    look_later(member);
    if (!throttle_is_limited(side->requests) && !throttle_is_limited(side->bytes))
        return;
    side->due = true;
    ask(member);
}

/* Whether a group is to count what goes: the one that knows it, or that it is about to enter. */
static bool is_counted(const struct throttle_member *member)
{
    return member->entered || (member->joining && member->to);
}

static void pass_or_wait(struct throttle_member *member, struct op *op, bool free)
{
    struct throttle_side *side = side_of(member, op);
    if (free && is_counted(member))
        owe(side, op->bytes);
    if (free && !side->going.head) {
        member->pass(member->owner, op);
    } else {
        op_push(op, ended, member);
        await(side, free ? &side->going : &side->fresh, op);
        side->due |= !free;
    }
    if (member->group)
        ask(member);
}

void throttle_member_wait(struct throttle_member *member, struct op *op)
{
    pass_or_wait(member, op, !member->group || member->letting_go || member->open);
}

void throttle_member_go(struct throttle_member *member, struct op *op)
{
    pass_or_wait(member, op, true);
}

void throttle_member_pass(struct throttle_member *member, struct op *op)
{
    struct throttle_side *side = side_of(member, op);
    if (member->entered) {
        /* From the lease, as far as that goes: so does the group count it. */
        side->requests -= side->requests > 0;
        side->bytes -= side->bytes < op->bytes ? side->bytes : op->bytes;
        side->spent_requests++;
        side->spent_bytes += op->bytes;
        throttle_member_beyond(member, side, op->bytes);
        look_later(member);
    } else if (is_counted(member)) {
        owe(side, op->bytes);
    }
    member->pass(member->owner, op);
}

/* For the group it waits no longer. */
static void cancelled(struct throttle_side *side, uint64_t number)
{
    side->cancelled =
        mem_resize(side->cancelled, (side->n_cancelled + 1) * sizeof *side->cancelled);
    side->cancelled[side->n_cancelled++] = number;
}

bool throttle_member_cancel(struct throttle_member *member, struct op *op)
{
    struct throttle_side *side = side_of(member, op);
    bool told = op_unqueue(&side->told, op);
    if (told)
        cancelled(side, *throttle_number(op));
    else if (!op_unqueue(&side->fresh, op) && !op_unqueue(&side->going, op))
        return false;
    side->waiting--;
    op_pop(op);
    if (told)
        ask(member);
    return true;
}

struct op *throttle_member_take(struct throttle_member *member)
{
    for (unsigned i = 0; i < 2; i++) {
        struct throttle_side *side = &member->sides[i];
        struct op *op = side->going.head  ? side->going.head
                        : side->told.head ? side->told.head
                                          : side->fresh.head;
        if (op && throttle_member_cancel(member, op))
            return op;
    }
    return NULL;
}

/* The others keep their places. */
static void release_of(struct throttle_member *member, struct throttle_side *side,
                       struct op_queue *queue, uint16_t user)
{
    for (size_t left = queue->count; left; left--) {
        struct op *op = op_dequeue(queue);
        bool goes = op->user == user;
        if (goes && queue == &side->told)
            cancelled(side, *throttle_number(op));
        if (goes && is_counted(member))
            owe(side, op->bytes);
        op_enqueue(goes ? &side->going : queue, op);
    }
}

void throttle_member_let_go(struct throttle_member *member, uint16_t user)
{
    for (unsigned i = 0; i < 2; i++) {
        struct throttle_side *side = &member->sides[i];
        release_of(member, side, &side->told, user);
        release_of(member, side, &side->fresh, user);
    }
    for (unsigned i = 0; i < 2; i++)
        while (member->sides[i].going.head)
            go(member, &member->sides[i], &member->sides[i].going);
    if (throttle_member_joined(member))
        ask(member);
}

void throttle_member_open(struct throttle_member *member, bool open)
{
    member->open = open;
    if (!open)
        return;
    for (unsigned i = 0; i < 2; i++) {
        struct throttle_side *side = &member->sides[i];
        side->through_is_news |= side->told.head != NULL;
        side->through = side->next;
        /* A group that it is leaving forgets those that it was told of. */
        for (const struct op *op = side->told.head; !member->entered && op; op = op->next)
            owe(side, op->bytes);
        for (const struct op *op = side->fresh.head; op; op = op->next)
            owe(side, op->bytes);
    }
    if (!is_counted(member))
        forget_owed(member);
    let_all_go(member);
    if (throttle_member_joined(member))
        ask(member);
}

/* --- Groups */

static void end_join(struct throttle_member *member, const struct err *err)
{
    bool again = member->closed && member->joined != member->closed;
    member->joining = false;
    member->joined(member->owner, err);
    if (again)
        throttle_member_join(member, 0, 0, member->closed);
}

void throttle_member_close(struct throttle_member *member,
                           void (*closed)(void *owner, const struct err *err))
{
    member->closed = closed;
    if (!member->joining)
        throttle_member_join(member, 0, 0, closed);
}

/* Those that wait are news to the next group; their numbers begin anew. */
static void begin_anew(struct throttle_member *member)
{
    for (unsigned i = 0; i < 2; i++) {
        struct throttle_side *side = &member->sides[i];
        struct op_queue waiting = side->told;
        struct op *op;
        if (!waiting.head)
            op_queue_init(&waiting);
        op_queue_init(&side->told);
        while ((op = op_dequeue(&side->fresh)))
            op_enqueue(&waiting, op);
        while ((op = op_dequeue(&waiting)))
            op_enqueue(&side->fresh, op);
        side->next = side->through = side->want = 0;
        side->n_cancelled = 0;
        side->through_is_news = side->returns = false;
        side->due = side->fresh.head;
    }
    member->again = false;
    member->levels = 0;
}

static void on_entered(struct actor *self, struct mail *reply, void *arg)
{
    struct throttle_member *member = arg;
    struct err err = {0};
    (void)self;
    if (mail_fault(reply)) {
        mail_fault_err(reply, &err);
        lost(member);
        end_join(member, &err);
        return;
    }
    member->entered = true;
    member->place = ((const Sluice__ThrottleGrant *)reply->body)->place;
    throttle_member_on_grant(member, (const Sluice__ThrottleGrant *)reply->body);
    end_join(member, NULL);
}

static void enter(struct throttle_member *member)
{
    member->group = member->to;
    member->group_id = member->to_id;
    begin_anew(member);
    if (!member->group) {
        forget_owed(member);
        let_all_go(member);
        end_join(member, NULL);
        return;
    }
    Sluice__ThrottleEnter *enter = MAIL_NEW(sluice__throttle_enter);
    enter->group = member->group_id;
    mail_set(&enter->name, member->name);
    member->send(member->self, member->group, THROTTLE_MAIL_ENTER, enter, on_entered, member);
}

static void on_left(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)reply; /* from one that is gone, it has left */
    enter(arg);
}

void throttle_member_join(struct throttle_member *member, actor_addr group, uint64_t id,
                          void (*joined)(void *owner, const struct err *err))
{
    member->joined = joined;
    if (member->group == group && (member->group_id == id || !group)) {
        joined(member->owner, NULL);
        return;
    }
    member->joining = true;
    member->to = group;
    member->to_id = id;
    if (!member->entered) {
        enter(member);
        return;
    }
    send_ask(member); /* what was spent, and let through; its answer is not waited for */
    throttle_drop_leases(member);
    member->entered = false;
    timer_cancel(reactor_timers(actor_reactor(member->self)), &member->timer);
    Sluice__ThrottleLeave *leave = MAIL_NEW(sluice__throttle_leave);
    leave->place = member->place;
    member->send(member->self, member->group, THROTTLE_MAIL_LEAVE, leave, on_left, member);
}

/* --- Life */

/* Spends of leases are told now and then; what is leased and not used goes back. */
static void look(struct timer *timer)
{
    struct throttle_member *member =
        (struct throttle_member *)((char *)timer - offsetof(struct throttle_member, timer));
    bool busy = false;
    for (unsigned i = 0; i < 2; i++) {
        struct throttle_side *side = &member->sides[i];
        uint64_t spent = side->paid + side->spent_requests;
        if (spent != side->looked)
            busy = true;
        else if (throttle_holds_lease(side))
            side->returns = true;
        else if (side->requests && side->bytes)
            side->few = UNLIMITED; /* the next one begins to look again */
        side->looked = spent;
    }
    if (busy)
        look_later(member);
    if (busy || throttle_has_returns(member))
        ask(member);
}

void throttle_member_init(struct throttle_member *member, struct actor *self, const char *name,
                          throttle_send_fn *send, void (*pass)(void *owner, struct op *op),
                          void *owner)
{
    *member = (struct throttle_member){
        .self = self, .name = name, .send = send, .pass = pass, .owner = owner};
    for (unsigned i = 0; i < 2; i++)
        op_queue_init(&member->sides[i].fresh), op_queue_init(&member->sides[i].told),
            op_queue_init(&member->sides[i].going);
    member->timer.fire = look;
}

void throttle_member_fini(struct throttle_member *member)
{
    timer_cancel(reactor_timers(actor_reactor(member->self)), &member->timer);
    for (unsigned i = 0; i < 2; i++) {
        free(member->sides[i].owed);
        free(member->sides[i].cancelled);
    }
}

void throttle_member_leave(struct throttle_member *member)
{
    timer_cancel(reactor_timers(actor_reactor(member->self)), &member->timer);
}

void throttle_member_arrive(struct throttle_member *member)
{
    look_later(member);
}
