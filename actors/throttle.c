#include "actors/throttle.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "actors/emit.h"
#include "actors/limits_message.h"
#include "actors/throttle_tree.h"
#include "engine/clock.h"
#include "engine/mem.h"
#include "engine/reactor.h"

/* A group that holds nothing back for so long is told not to any more. */
#define CALM NS_PER_S

/* Somebody waits until nothing is leased that was before the limits changed. */
struct setting {
    struct setting *next;
    struct ticket ticket;
};

struct throttle {
    struct actor *self;
    struct throttle_tree tree;
    struct timer wake; /* something may go, or a group is calm */
    struct setting *settings;
};

/* --- Messages */

void throttle_send(struct actor *self, actor_addr group, enum throttle_mail what, void *body,
                   actor_reply_fn *fn, void *arg)
{
    static const unsigned kinds[] = {
        [THROTTLE_MAIL_ENTER] = MAIL_THROTTLE_ENTER,
        [THROTTLE_MAIL_ASK] = MAIL_THROTTLE_ASK,
        [THROTTLE_MAIL_LEAVE] = MAIL_THROTTLE_LEAVE,
    };
    actor_ask(self, group, kinds[what], body, fn, arg);
}

static Sluice__ThrottleGrant *grant_of(const struct throttle_place *place)
{
    Sluice__ThrottleGrant *grant = MAIL_NEW(sluice__throttle_grant);
    grant->go = mem_new(THROTTLE_DIRECTIONS * sizeof *grant->go);
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++)
        grant->go[grant->n_go++] = place->queues[d].head;
    return grant;
}

static void tell_sizes(const struct throttle_place *place, Sluice__ThrottleGrant *grant)
{
    grant->iops_sizes = mem_new(THROTTLE_DEPTH * sizeof *grant->iops_sizes);
    for (const struct throttle_group *group = place->group; group; group = group->parent)
        grant->iops_sizes[grant->n_iops_sizes++] = group->limits.iops_size;
}

/* --- Events */

static void tell_limiting(struct throttle *throttle, struct throttle_group *group)
{
    Sluice__ThrottleEvent *event = MAIL_NEW(sluice__throttle_event);
    mail_set(&event->group, group->name);
    event->has_waiting = group->limiting;
    event->waiting = group->counts.waiting;
    event->has_lasted_ns = event->has_held = event->has_waited_ns = !group->limiting;
    event->lasted_ns = group->idle_since - group->limiting_since;
    event->held = group->counts.held - group->held_before;
    event->waited_ns = throttle_waited(&throttle->tree, &group->counts) - group->waited_before;
    emit_event(throttle->self, "throttle", group->name, SLUICE__EVENT__SEVERITY__INFO,
               group->limiting ? SLUICE__EVENT__BODY_THROTTLE_BEGIN
                               : SLUICE__EVENT__BODY_THROTTLE_END,
               event);
}

static void end_limiting(struct throttle *throttle, struct throttle_group *group)
{
    group->limiting = false;
    tell_limiting(throttle, group);
}

/* Begins with the first request that is held back, and ends when none was for a while. Returns when
 * that may be. */
static uint64_t look_at(struct throttle *throttle, struct throttle_group *group)
{
    uint64_t now = throttle->tree.now;
    if (throttle_holds(&throttle->tree, group)) {
        group->idle_since = 0;
        if (!group->limiting) {
            group->limiting = true;
            group->limiting_since = now;
            group->held_before = group->counts.held - group->counts.waiting;
            group->waited_before = throttle_waited(&throttle->tree, &group->counts);
            tell_limiting(throttle, group);
        }
        return UINT64_MAX;
    }
    if (!group->limiting)
        return UINT64_MAX;
    if (!group->idle_since)
        group->idle_since = now;
    if (now < group->idle_since + CALM)
        return group->idle_since + CALM;
    end_limiting(throttle, group);
    return UINT64_MAX;
}

/* --- What goes */

static struct throttle_tree *tree_now(struct throttle *throttle)
{
    throttle->tree.now = reactor_now(actor_reactor(throttle->self));
    return &throttle->tree;
}

/* Lets go what may, tells the members, but not `asker`, who is answered; and comes back when more
 * may. */
static void go_on(struct throttle *throttle, const struct throttle_place *asker)
{
    struct throttle_tree *tree = &throttle->tree;
    struct throttle_place *place;
    struct timers *timers = reactor_timers(actor_reactor(throttle->self));
    throttle_dispatch(tree);
    while ((place = tree->news)) {
        tree->news = place->next_news;
        place->is_news = false;
        if (place != asker)
            actor_tell(throttle->self, place->key, MAIL_THROTTLE_GRANT, grant_of(place));
    }
    uint64_t next = throttle_next(tree);
    for (struct throttle_group *group = tree->groups; group; group = group->next) {
        uint64_t calm = look_at(throttle, group);
        next = calm < next ? calm : next;
    }
    if (next == UINT64_MAX)
        timer_cancel(timers, &throttle->wake);
    else
        timer_arm(timers, &throttle->wake, next);
}

static void wake(struct timer *timer)
{
    struct throttle *throttle =
        (struct throttle *)((char *)timer - offsetof(struct throttle, wake));
    tree_now(throttle);
    go_on(throttle, NULL);
}

/* --- From the graph */

static struct throttle_group *group_of(struct throttle *throttle, uint64_t id, struct mail *mail)
{
    struct throttle_group *group = throttle_group_find(&throttle->tree, id);
    struct err err;
    if (group)
        return group;
    err_set(&err, -ENOENT, "there is no such throttle group any more");
    actor_refuse(throttle->self, mail_ticket(mail), &err);
    return NULL;
}

static void on_open(struct actor *self, struct mail *mail)
{
    struct throttle *throttle = actor_state(self);
    const Sluice__ThrottleOpen *open = (const Sluice__ThrottleOpen *)mail->body;
    struct throttle_group *parent = NULL;
    struct limits limits;
    if (open->parent && !(parent = group_of(throttle, open->parent, mail)))
        return;
    limits_from_mail(open->limits, &limits);
    throttle_group_add(tree_now(throttle), open->group, open->name, parent, &limits);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static bool is_below(const struct throttle_place *place, const struct throttle_group *group)
{
    for (const struct throttle_group *one = place->group; one; one = one->parent)
        if (one == group)
            return true;
    return false;
}

/* Those who wait until all is back are answered. */
static void settle(struct throttle *throttle)
{
    struct setting *setting;
    for (const struct throttle_place *place = throttle->tree.places; place; place = place->next)
        if (place->recalled)
            return;
    for (struct throttle_group *group = throttle->tree.groups; group; group = group->next)
        group->recalls = false;
    while ((setting = throttle->settings)) {
        throttle->settings = setting->next;
        actor_reply(throttle->self, setting->ticket, MAIL_NONE, NULL);
        free(setting);
    }
}

static void on_set(struct actor *self, struct mail *mail)
{
    struct throttle *throttle = actor_state(self);
    const Sluice__ThrottleSet *set = (const Sluice__ThrottleSet *)mail->body;
    struct throttle_group *group = group_of(throttle, set->group, mail);
    struct limits limits;
    if (!group)
        return;
    limits_from_mail(set->limits, &limits);
    throttle_group_set(tree_now(throttle), group, &limits);
    group->recalls = true;
    for (struct throttle_place *place = throttle->tree.places; place; place = place->next) {
        if (place->left || !is_below(place, group))
            continue;
        Sluice__ThrottleGrant *grant = grant_of(place);
        tell_sizes(place, grant);
        if (throttle_has_lease(place))
            grant->has_recall = grant->recall = place->recalled = true;
        actor_tell(self, place->key, MAIL_THROTTLE_GRANT, grant);
    }
    struct setting *setting = MEM_NEW(struct setting);
    *setting = (struct setting){throttle->settings, mail_ticket(mail)};
    throttle->settings = setting;
    settle(throttle);
    go_on(throttle, NULL);
}

static void on_close(struct actor *self, struct mail *mail)
{
    struct throttle *throttle = actor_state(self);
    struct throttle_group *group =
        group_of(throttle, ((const Sluice__ThrottleClose *)mail->body)->group, mail);
    if (!group)
        return;
    tree_now(throttle);
    if (group->limiting) {
        group->idle_since = group->idle_since ? group->idle_since : throttle->tree.now;
        end_limiting(throttle, group);
    }
    throttle_group_remove(&throttle->tree, group);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
    if (throttle->tree.root)
        go_on(throttle, NULL);
    else
        actor_stop(self);
}

/* --- From members */

static void on_enter(struct actor *self, struct mail *mail)
{
    struct throttle *throttle = actor_state(self);
    const Sluice__ThrottleEnter *enter = (const Sluice__ThrottleEnter *)mail->body;
    struct throttle_group *group = group_of(throttle, enter->group, mail);
    if (!group)
        return;
    struct throttle_place *place =
        throttle_enter(tree_now(throttle), group, enter->name, mail->from);
    Sluice__ThrottleGrant *grant = grant_of(place);
    tell_sizes(place, grant);
    grant->has_place = true;
    grant->place = place->handle;
    actor_reply(self, mail_ticket(mail), MAIL_THROTTLE_GRANT, grant);
}

/* In the order in which they arrived there; what was cancelled was told to wait before. */
static void take_queues(struct throttle_tree *tree, struct throttle_place *place,
                        const Sluice__ThrottleAsk *ask)
{
    for (size_t i = 0; i < ask->n_owed_reads; i++)
        throttle_owe(tree, place, THROTTLE_READ, ask->owed_reads[i]);
    for (size_t i = 0; i < ask->n_owed_writes; i++)
        throttle_owe(tree, place, THROTTLE_WRITE, ask->owed_writes[i]);
    for (size_t i = 0; i < ask->n_reads; i++)
        throttle_wait(tree, place, THROTTLE_READ, ask->reads[i]);
    for (size_t i = 0; i < ask->n_writes; i++)
        throttle_wait(tree, place, THROTTLE_WRITE, ask->writes[i]);
    for (size_t i = 0; i < ask->n_cancelled_reads; i++)
        throttle_cancel(tree, place, THROTTLE_READ, ask->cancelled_reads[i]);
    for (size_t i = 0; i < ask->n_cancelled_writes; i++)
        throttle_cancel(tree, place, THROTTLE_WRITE, ask->cancelled_writes[i]);
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS && d < ask->n_through; d++)
        throttle_through(tree, place, d, ask->through[d]);
}

static void take_spent(struct throttle_tree *tree, struct throttle_place *place,
                       const Sluice__ThrottleAsk *ask)
{
    size_t levels = ask->n_spent_beyond / THROTTLE_DIRECTIONS;
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS && d < ask->n_spent_requests; d++)
        throttle_spent(tree, place, d, ask->spent_requests[d], ask->spent_bytes[d],
                       ask->spent_beyond + d * levels, levels);
}

/* What was recalled may come in parts. */
static void take_returns(struct throttle *throttle, struct throttle_place *place,
                         const Sluice__ThrottleAsk *ask)
{
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS && d < ask->n_returns; d++)
        if (ask->returns[d])
            throttle_return(place, d);
    if (!ask->n_returns || throttle_has_lease(place))
        return;
    place->recalled = false;
    settle(throttle);
}

static void give_lease(struct throttle_tree *tree, struct throttle_place *place,
                       const Sluice__ThrottleAsk *ask, Sluice__ThrottleGrant *grant)
{
    if (ask->n_want_requests < THROTTLE_DIRECTIONS || place->recalled)
        return;
    grant->lease_requests = mem_new(THROTTLE_DIRECTIONS * sizeof *grant->lease_requests);
    grant->lease_bytes = mem_new(THROTTLE_DIRECTIONS * sizeof *grant->lease_bytes);
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
        struct throttle_lease lease = throttle_lease(
            tree, place, d, (struct throttle_lease){ask->want_requests[d], ask->want_bytes[d]});
        grant->lease_requests[grant->n_lease_requests++] = lease.requests;
        grant->lease_bytes[grant->n_lease_bytes++] = lease.bytes;
    }
}

static void on_ask(struct actor *self, struct mail *mail)
{
    struct throttle *throttle = actor_state(self);
    const Sluice__ThrottleAsk *ask = (const Sluice__ThrottleAsk *)mail->body;
    struct throttle_tree *tree = tree_now(throttle);
    struct throttle_place *place = throttle_find(tree, ask->place);
    if (!place) {
        struct err err = {0};
        err_set(&err, -ENOENT, "there is no such member of a throttle group");
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    take_spent(tree, place, ask);
    take_queues(tree, place, ask);
    take_returns(throttle, place, ask);
    go_on(throttle, place);
    Sluice__ThrottleGrant *grant = grant_of(place);
    give_lease(tree, place, ask, grant);
    actor_reply(self, mail_ticket(mail), MAIL_THROTTLE_GRANT, grant);
}

static void on_leave(struct actor *self, struct mail *mail)
{
    struct throttle *throttle = actor_state(self);
    const Sluice__ThrottleLeave *leave = (const Sluice__ThrottleLeave *)mail->body;
    struct throttle_place *place = throttle_find(tree_now(throttle), leave->place);
    if (place) {
        place->recalled = false;
        throttle_leave(&throttle->tree, place);
        settle(throttle);
        go_on(throttle, NULL);
    }
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

/* --- What is told */

/* Whether leases in this group are limited, in any direction: their requests, or their bytes. */
static bool is_limited(const struct throttle_group *group, bool bytes)
{
    for (; group; group = group->parent)
        for (unsigned i = 0; i < LIMITS; i++)
            if (group->limits.limit[i].average > 0 &&
                (bytes ? i >= LIMIT_BPS_TOTAL || group->limits.iops_size : i < LIMIT_BPS_TOTAL))
                return true;
    return false;
}

/* What a direction has without limit does not count. */
static double both(uint64_t reads, uint64_t writes)
{
    return (reads != UINT64_MAX ? (double)reads : 0) + (writes != UINT64_MAX ? (double)writes : 0);
}

static Sluice__ThrottleMemberInfo *describe_member(const struct throttle_tree *tree,
                                                   const struct throttle_place *place)
{
    Sluice__ThrottleMemberInfo *info = MAIL_NEW(sluice__throttle_member_info);
    struct rate_slot rate = rate_tell(&place->counts.rate, tree->now);
    mail_set(&info->name, place->name);
    info->iops = rate.operations;
    info->bps = rate.bytes;
    info->waiting = place->counts.waiting;
    info->waited_ns = throttle_waited(tree, &place->counts);
    const struct throttle_lease *reads = &place->leases[THROTTLE_READ];
    const struct throttle_lease *writes = &place->leases[THROTTLE_WRITE];
    info->has_leased_ops = is_limited(place->group, false);
    info->leased_ops = both(reads->requests, writes->requests);
    info->has_leased_bytes = is_limited(place->group, true);
    info->leased_bytes = both(reads->bytes, writes->bytes);
    return info;
}

static void on_describe(struct actor *self, struct mail *mail)
{
    struct throttle *throttle = actor_state(self);
    struct throttle_tree *tree = tree_now(throttle);
    struct throttle_group *group =
        group_of(throttle, ((const Sluice__ThrottleDescribe *)mail->body)->group, mail);
    if (!group)
        return;
    Sluice__ThrottleInfo *info = MAIL_NEW(sluice__throttle_info);
    struct rate_slot rate = rate_tell(&group->counts.rate, tree->now);
    mail_set(&info->name, group->name);
    info->has_iops = info->has_bps = info->has_waiting = info->has_waited_ns = true;
    info->iops = rate.operations;
    info->bps = rate.bytes;
    info->waiting = group->counts.waiting;
    info->waited_ns = throttle_waited(tree, &group->counts);
    info->has_leased_ops = is_limited(group, false);
    info->leased_ops =
        both(group->leased_requests[THROTTLE_READ], group->leased_requests[THROTTLE_WRITE]);
    info->has_leased_bytes = is_limited(group, true);
    info->leased_bytes =
        both(group->leased_bytes[THROTTLE_READ], group->leased_bytes[THROTTLE_WRITE]);
    info->has_limiting = true;
    info->limiting = group->limiting;
    size_t n = 0;
    for (const struct throttle_place *place = tree->places; place; place = place->next)
        n += place->group == group && !place->left;
    Sluice__ThrottleDescribed *told = MAIL_NEW(sluice__throttle_described);
    told->info = info;
    info->members = mem_new((n + 1) * sizeof *info->members);
    told->members = mem_new((n + 1) * sizeof *told->members);
    info->n_members = told->n_members = n; /* those that came last are first in the list */
    for (const struct throttle_place *place = tree->places; place; place = place->next)
        if (place->group == group && !place->left) {
            info->members[--n] = describe_member(tree, place);
            told->members[n] = place->key;
        }
    actor_reply(self, mail_ticket(mail), MAIL_THROTTLE_DESCRIBED, told);
}

/* --- Life */

static void throttle_init(struct actor *self)
{
    struct throttle *throttle = actor_state(self);
    throttle->self = self;
    throttle->wake.fire = wake;
}

static void throttle_fini(struct actor *self)
{
    struct throttle *throttle = actor_state(self);
    struct setting *setting;
    timer_cancel(reactor_timers(actor_reactor(self)), &throttle->wake);
    throttle_tree_fini(&throttle->tree);
    while ((setting = throttle->settings)) {
        throttle->settings = setting->next;
        free(setting);
    }
}

const struct actor_type throttle_type = {
    .name = "throttle",
    .size = sizeof(struct throttle),
    .init = throttle_init,
    .fini = throttle_fini,
    .handlers =
        {
            [MAIL_THROTTLE_OPEN] = on_open,
            [MAIL_THROTTLE_SET] = on_set,
            [MAIL_THROTTLE_CLOSE] = on_close,
            [MAIL_THROTTLE_DESCRIBE] = on_describe,
            [MAIL_THROTTLE_ENTER] = on_enter,
            [MAIL_THROTTLE_ASK] = on_ask,
            [MAIL_THROTTLE_LEAVE] = on_leave,
        },
};
