/* graph_member.c — who is in which throttle group.
 *
 * A member is in the graph's table of a group from before it is told to join until it has told that
 * it has left, so that a group never ends while somebody counts on it. On its way from one group to
 * another it is in both.
 *
 * Programs may join a group that is not there: it is made, and goes with its last member. Who wants
 * it while it comes, or goes, waits for that. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/limits_message.h"
#include "actors/reply.h"
#include "engine/mem.h"
#include "proto/reflect.h"

#define GROUP_OPTION "throttle-group" /* of a driver that throttles */

/* --- Groups of new members */

int graph_find_group(const struct graph *graph, const char *name, const char *field,
                     struct object **group, struct err *err)
{
    *group = NULL;
    if (!name || !*name)
        return 0;
    *group = graph_ready(graph, GROUP, name, field, err);
    return *group ? 0 : err->code;
}

const char *graph_group_option(const struct driver *driver, Sluice__Option **options, size_t n)
{
    const struct option *known = driver ? driver->options : NULL;
    while (known && known->name && strcmp(known->name, GROUP_OPTION) != 0)
        known++;
    for (size_t i = 0; known && known->name && i < n; i++)
        if (reflect_same_name(options[i]->key, GROUP_OPTION))
            return options[i]->value;
    return NULL;
}

Sluice__ThrottleJoin *graph_join_mail(const struct object *group)
{
    Sluice__ThrottleJoin *join = MAIL_NEW(sluice__throttle_join);
    join->address = group ? group->address : 0;
    join->group = group ? group->id : 0;
    return join;
}

/* --- Joining and leaving */

static int begin_join(struct object *member, struct object *group, struct err *err)
{
    if (member->joining)
        return err_set(err, -EBUSY,
                       "%s '%s' is changing its throttle group; try again when that is done",
                       graph_words[member->kind], graph_name(member));
    if (group == member->group)
        return 0;
    member->leaves = member->group;
    member->group = group;
    member->joining = true;
    return 1;
}

int graph_join_begin(struct object *member, const char *name, const char *field, struct err *err)
{
    struct object *group;
    if (graph_find_group(member->graph, name, field, &group, err) < 0)
        return err->code;
    return begin_join(member, group, err);
}

/* It is in one group again, and no longer in the other one. */
static void settle(struct object *member, struct object *left)
{
    member->leaves = NULL;
    member->joining = false;
    graph_throttle_left(left);
}

void graph_join_undo(struct object *member)
{
    struct object *left = member->group;
    member->group = member->leaves;
    settle(member, left);
}

struct joiner {
    struct ticket ticket;
    enum object_kind kind;
    uint64_t id;
};

static void joined(struct actor *self, struct mail *reply, void *arg)
{
    struct joiner *joiner = arg;
    struct graph *graph = actor_state(self);
    struct object *member = graph_find_id(graph, joiner->kind, joiner->id);
    struct err err = {0};
    if (mail_fault(reply)) {
        mail_fault_err(reply, &err);
        actor_refuse(self, joiner->ticket, &err);
        if (member)
            graph_join_undo(member);
    } else {
        actor_reply(self, joiner->ticket, MAIL_REPLY, reply_done());
        if (member)
            settle(member, member->leaves);
    }
    graph_unkeep(joiner);
    graph->gathers--;
    graph_settled(graph);
}

void graph_join_go(struct object *member, struct ticket ticket)
{
    struct joiner *joiner = GRAPH_KEEP(member->graph, struct joiner, NULL);
    *joiner = (struct joiner){ticket, member->kind, member->id};
    member->graph->gathers++;
    actor_ask(member->graph->self, member->address, MAIL_THROTTLE_JOIN,
              graph_join_mail(member->group), joined, joiner);
}

/* --- From programs */

/* A program's backend that waits for its group. */
struct enabler {
    struct enabler *next;
    uint64_t claim;
    struct ticket ticket;
};

static void refuse(struct graph *graph, struct ticket ticket, const struct err *err)
{
    actor_refuse(graph->self, ticket, err);
}

/* The backend that is claimed, or null. */
static struct object *claimed(const struct graph *graph, uint64_t id, struct err *err)
{
    const struct object *claim = graph_find_claim(graph, id);
    if (claim)
        return claim->standing.to[0];
    err_set(err, -ENXIO, "there is no claim %llu any more; open the backend again",
            (unsigned long long)id);
    return NULL;
}

static void join(struct object *backend, struct object *group, struct ticket ticket)
{
    struct err err = {0};
    int joins = begin_join(backend, group, &err);
    if (joins < 0)
        refuse(backend->graph, ticket, &err);
    else if (joins)
        graph_join_go(backend, ticket);
    else
        actor_reply(backend->graph->self, ticket, MAIL_REPLY, reply_done());
}

void graph_enablers_go(struct object *group)
{
    struct graph *graph = group->graph;
    struct enabler *enabler;
    while ((enabler = group->throttle->enablers)) {
        struct err err = {0};
        struct object *backend = claimed(graph, enabler->claim, &err);
        group->throttle->enablers = enabler->next;
        if (backend)
            join(backend, group, enabler->ticket);
        else
            refuse(graph, enabler->ticket, &err);
        free(enabler);
    }
}

void graph_enablers_refuse(struct object *group, const struct err *err)
{
    struct enabler *enabler;
    while ((enabler = group->throttle->enablers)) {
        group->throttle->enablers = enabler->next;
        refuse(group->graph, enabler->ticket, err);
        free(enabler);
    }
}

void graph_throttle_free(struct object *object)
{
    struct enabler *enabler;
    while (object->throttle && (enabler = object->throttle->enablers)) {
        object->throttle->enablers = enabler->next;
        free(enabler);
    }
    free(object->throttle);
}

/* Whether control made the group, or others are in it, or are to be. One that goes is nobody's. */
static bool is_for_others(const struct object *group, const struct object *backend)
{
    struct err none = {0};
    if (group->state == CLOSING)
        return false;
    for (const struct enabler *enabler = group->throttle->enablers; enabler;
         enabler = enabler->next)
        if (claimed(group->graph, enabler->claim, &none) != backend)
            return true;
    return !group->throttle->temporary || graph_throttle_has_others(group, backend);
}

/* The backend joins the group, as soon as that is there. */
static int enable(struct object *backend, const char *name, const Sluice__ClaimThrottle *asked,
                  struct ticket ticket, struct err *err)
{
    struct graph *graph = backend->graph;
    struct object *group = graph_find(graph, GROUP, name);
    if (group && group != backend->group && !asked->group && is_for_others(group, backend))
        return err_field(err, "group", -EBUSY,
                         "backend '%s' can't have a throttle group for itself: '%.63s' is there "
                         "already, and is not for this backend alone; name the group that it is "
                         "to be in",
                         graph_name(backend), name);
    if (group && group->state == READY) {
        join(backend, group, ticket);
        return 0;
    }
    if (!group && asked->group && graph_check_name(graph, GROUP, name, err) < 0)
        return err->code;
    struct enabler *enabler = MEM_NEW(struct enabler);
    *enabler = (struct enabler){.claim = asked->claim, .ticket = ticket};
    if (!group) {
        graph_throttle_make(graph, name, enabler);
        return 0;
    }
    struct enabler **last = &group->throttle->enablers;
    while (*last)
        last = &(*last)->next;
    *last = enabler;
    return 0;
}

/* The one that is asked for, or one for this backend alone, which has its name, or one that nobody
 * can choose. */
static const char *group_name(const struct object *backend, const char *asked, char *out,
                              size_t size)
{
    if (asked)
        return asked;
    if (*backend->name)
        return backend->name;
    snprintf(out, size, "#throttle%llu", (unsigned long long)backend->id);
    return out;
}

static int check_member(const struct object *backend, const char *what, struct err *err)
{
    if (backend->group)
        return 0;
    return err_set(
        err, -EINVAL,
        "backend '%s' is in no throttle group whose limits could be %s; let it join one first",
        graph_name(backend), what);
}

static int get_limits(const struct object *backend, struct ticket ticket, struct err *err)
{
    if (check_member(backend, "told", err) < 0)
        return err->code;
    Sluice__Reply *reply = MAIL_NEW(sluice__reply);
    reply->body_case = SLUICE__REPLY__BODY_THROTTLE;
    reply->throttle = MAIL_NEW(sluice__throttle_info);
    mail_set(&reply->throttle->name, backend->group->name);
    limits_tell(&backend->group->throttle->limits, &reply->throttle->base);
    actor_reply(backend->graph->self, ticket, MAIL_REPLY, reply);
    return 0;
}

static int set_limits(const struct object *backend, const Sluice__ThrottleLimits *mail,
                      struct ticket ticket, struct err *err)
{
    struct limits limits;
    if (check_member(backend, "set", err) < 0)
        return err->code;
    limits_from_mail(mail, &limits);
    if (graph_check_ready(backend->group, "group", err) < 0 || limits_check(&limits, err) < 0)
        return err->code;
    graph_throttle_limit(backend->group, &limits, ticket);
    return 0;
}

static int perform(struct object *backend, const Sluice__ClaimThrottle *asked, struct ticket ticket,
                   struct err *err)
{
    char own[40];
    const char *name = group_name(backend, asked->group, own, sizeof own);
    switch (asked->what) {
    case SLUICE__CLAIM_THROTTLE__WHAT__SET:
        return set_limits(backend, asked->limits, ticket, err);
    case SLUICE__CLAIM_THROTTLE__WHAT__GET:
        return get_limits(backend, ticket, err);
    case SLUICE__CLAIM_THROTTLE__WHAT__DISABLE:
        join(backend, NULL, ticket);
        return 0;
    case SLUICE__CLAIM_THROTTLE__WHAT__UPDATE:
        if (backend->group)
            return enable(backend, name, asked, ticket, err);
        actor_reply(backend->graph->self, ticket, MAIL_REPLY, reply_done());
        return 0;
    default:
        if (backend->group && strcmp(backend->group->name, name) != 0)
            return err_field(err, "group", -EBUSY,
                             "backend '%s' can't join throttle group '%.63s': it is in '%s'; let "
                             "it leave that, or change its group",
                             graph_name(backend), name, backend->group->name);
        return enable(backend, name, asked, ticket, err);
    }
}

void graph_on_claim_throttle(struct actor *self, struct mail *mail)
{
    struct graph *graph = actor_state(self);
    const Sluice__ClaimThrottle *asked = (const Sluice__ClaimThrottle *)mail->body;
    struct err err = {0};
    struct object *backend = claimed(graph, asked->claim, &err);
    if (backend && asked->what != SLUICE__CLAIM_THROTTLE__WHAT__DISABLE)
        graph_refuse_ending(graph, &err);
    if (!backend || err.code || perform(backend, asked, mail_ticket(mail), &err) < 0)
        actor_refuse(self, mail_ticket(mail), &err);
}
