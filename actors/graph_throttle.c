/* graph_throttle.c — throttle groups come and go, and get other limits.
 *
 * A tree of groups has one actor, the root's, so that a request passes all levels at once: the
 * graph spawns it with the root, and tells it of each group, by a number that is the object's. What
 * is in a group keeps it: its members, and groups. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/emit.h"
#include "actors/limits_message.h"
#include "actors/name_list.h"
#include "actors/reply.h"
#include "actors/throttle.h"
#include "engine/mem.h"

#define NESTED_MOST 8 /* groups, of which each is in the one before it */

/* --- What is in a group */

/* The next one, after `*kind` and `*i`; they start at 0. One that leaves is in it until it has. */
static const struct object *next_in(const struct object *group, unsigned *kind, size_t *i)
{
    for (; *kind <= GROUP; ++*kind, *i = 0) {
        const struct table *table = &group->graph->tables[*kind];
        while (*i < table->n) {
            const struct object *object = table->all[(*i)++];
            if (object->group == group || object->leaves == group)
                return object;
        }
    }
    return NULL;
}

bool graph_throttle_has_others(const struct object *group, const struct object *member)
{
    const struct object *in;
    unsigned kind = 0;
    for (size_t i = 0; (in = next_in(group, &kind, &i));)
        if (in != member)
            return true;
    return false;
}

static bool is_empty(const struct object *group)
{
    return !graph_throttle_has_others(group, NULL);
}

static unsigned level(const struct object *group)
{
    unsigned n = 0;
    for (; group; group = group->group)
        n++;
    return n;
}

/* --- Adding */

static void failed(struct object *group, const struct err *err)
{
    graph_enablers_refuse(group, err);
    actor_refuse(group->graph->self, group->ticket, err);
    graph_object_drop(group);
}

static void opened(struct actor *self, struct mail *reply, void *arg)
{
    struct object *group = arg;
    struct graph *graph = group->graph;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        failed(group, &err);
        return;
    }
    group->state = READY;
    graph_emit_object(group, true);
    actor_reply(self, ticket_take(&group->ticket), MAIL_REPLY, reply_done());
    graph_enablers_go(group);
    graph_throttle_left(group); /* those who wanted it are gone, maybe */
    graph_settled(graph);
}

static struct object *make(struct graph *graph, const char *name, struct object *parent,
                           const struct limits *limits)
{
    struct object *group = graph_object_add(graph, GROUP, name);
    group->group = parent;
    group->throttle = MEM_NEW(struct throttle);
    group->throttle->limits = *limits;
    return group;
}

/* In the tree of its parent, or in a new one on this reactor. */
static void begin(struct object *group, unsigned reactor)
{
    struct actor *self = group->graph->self;
    const struct object *parent = group->group;
    group->reactor = parent ? parent->reactor : reactor;
    group->address =
        parent ? parent->address : actor_spawn(self, &throttle_type, group->name, reactor);
    if (!group->address) {
        struct err err = {0};
        err_set(&err, -ENOBUFS,
                "throttle group '%s' can't be added: the table of actors is full; remove something",
                group->name);
        failed(group, &err);
        return;
    }
    Sluice__ThrottleOpen *open = MAIL_NEW(sluice__throttle_open);
    open->group = group->id;
    mail_set(&open->name, group->name);
    open->has_parent = parent != NULL;
    open->parent = parent ? parent->id : 0;
    open->limits = limits_to_mail(&group->throttle->limits);
    actor_ask(self, group->address, MAIL_THROTTLE_OPEN, open, opened, group);
}

static int check_place(const struct graph *graph, const Sluice__ThrottleGroupAdd *spec,
                       const struct object *parent, struct err *err)
{
    if (parent && level(parent) >= NESTED_MOST)
        return err_field(err, "parent", -EINVAL,
                         "throttle group '%s' can't be in '%s', which is the last of %d groups "
                         "that are nested, and more can't be; choose one above it",
                         spec->name, parent->name, NESTED_MOST);
    if (parent && spec->has_reactor)
        return err_field(err, "reactor", -EINVAL,
                         "throttle group '%s' is where '%s' is, on reactor %u; leave reactor out",
                         spec->name, parent->name, parent->reactor);
    if (spec->has_reactor && spec->reactor >= graph_threads(graph))
        return err_field(err, "reactor", -EINVAL,
                         "throttle group '%s' can't live on reactor %u: the reactors are 0 to %u",
                         spec->name, spec->reactor, graph_threads(graph) - 1);
    return 0;
}

int graph_throttle_add(struct graph *graph, const Sluice__ThrottleGroupAdd *spec,
                       struct ticket ticket, struct err *err)
{
    struct object *parent = NULL;
    struct limits limits = LIMITS_NONE;
    limits_take(&limits, &spec->base);
    if (graph_check_name(graph, GROUP, spec->name, err) < 0 ||
        (spec->parent && !(parent = graph_ready(graph, GROUP, spec->parent, "parent", err))) ||
        check_place(graph, spec, parent, err) < 0 || limits_check(&limits, err) < 0)
        return err->code;
    struct object *group = make(graph, spec->name, parent, &limits);
    group->ticket = ticket;
    begin(group, spec->has_reactor ? spec->reactor : graph_emptiest(graph));
    return 0;
}

void graph_throttle_make(struct graph *graph, const char *name, struct enabler *enablers)
{
    struct object *group = make(graph, name, NULL, &LIMITS_NONE);
    group->throttle->temporary = true;
    group->throttle->enablers = enablers;
    begin(group, graph_emptiest(graph));
}

/* --- Changing */

struct setter {
    struct ticket ticket;
    char *name;
    struct limits limits;
    bool news; /* they are other ones */
};

static void setter_fini(void *kept)
{
    free(((struct setter *)kept)->name);
}

static void tell_changed(struct graph *graph, const struct setter *setter)
{
    Sluice__ThrottleChangedEvent *event = MAIL_NEW(sluice__throttle_changed_event);
    mail_set(&event->group, setter->name);
    limits_tell_given(&setter->limits, &event->base);
    graph_emit(graph,
               emit_make(graph_short_words[GROUP], setter->name, SLUICE__EVENT__SEVERITY__INFO,
                         SLUICE__EVENT__BODY_THROTTLE_CHANGED, event));
}

static void was_set(struct actor *self, struct mail *reply, void *arg)
{
    struct setter *setter = arg;
    struct err err = {0};
    if (mail_fault(reply)) {
        mail_fault_err(reply, &err);
        actor_refuse(self, setter->ticket, &err);
    } else {
        if (setter->news)
            tell_changed(actor_state(self), setter);
        actor_reply(self, setter->ticket, MAIL_REPLY, reply_done());
    }
    graph_unkeep(setter);
}

void graph_throttle_limit(struct object *group, const struct limits *limits, struct ticket ticket)
{
    struct setter *setter = GRAPH_KEEP(group->graph, struct setter, setter_fini);
    *setter = (struct setter){.ticket = ticket,
                              .name = mem_string(group->name),
                              .limits = *limits,
                              .news = !limits_same(&group->throttle->limits, limits)};
    group->throttle->limits = *limits;
    Sluice__ThrottleSet *set = MAIL_NEW(sluice__throttle_set);
    set->group = group->id;
    set->limits = limits_to_mail(limits);
    actor_ask(group->graph->self, group->address, MAIL_THROTTLE_SET, set, was_set, setter);
}

int graph_throttle_set(struct graph *graph, const Sluice__ThrottleGroupSet *set,
                       struct ticket ticket, struct err *err)
{
    struct object *group = graph_ready(graph, GROUP, set->name, "name", err);
    if (!group)
        return err->code;
    struct limits limits = group->throttle->limits;
    if (!limits_take(&limits, &set->base))
        return err_set(err, -EINVAL,
                       "throttle group '%s': nothing to set was named; give a limit, as "
                       "iops-total=1000",
                       group->name);
    if (limits_check(&limits, err) < 0)
        return err->code;
    graph_throttle_limit(group, &limits, ticket);
    return 0;
}

/* --- Removing */

/* Who wants to be in a group of this name has waited for its end: there is another one. */
static void gone(struct object *group)
{
    struct graph *graph = group->graph;
    struct err err = {0};
    char *name = mem_string(group->name);
    if (graph_refuse_ending(graph, &err) < 0)
        graph_enablers_refuse(group, &err);
    struct enabler *enablers = group->throttle->enablers;
    group->throttle->enablers = NULL;
    graph_object_drop(group);
    if (enablers)
        graph_throttle_make(graph, name, enablers);
    free(name);
}

static void closed(struct actor *self, struct mail *reply, void *arg)
{
    struct object *group = arg;
    struct graph *graph = group->graph;
    struct err err = {0};
    if (mail_fault(reply))
        mail_fault_err(reply, &err);
    if (err.code && err.code != -ENXIO) { /* still there */
        group->state = READY;
        actor_refuse(self, ticket_take(&group->ticket), &err);
        graph_enablers_go(group);
        graph_settled(graph);
        return;
    }
    graph_emit_object(group, false);
    actor_reply(self, group->ticket, MAIL_REPLY, reply_done());
    gone(group);
}

static void begin_close(struct object *group, struct ticket ticket)
{
    group->state = CLOSING;
    group->ticket = ticket;
    Sluice__ThrottleClose *close = MAIL_NEW(sluice__throttle_close);
    close->group = group->id;
    actor_ask(group->graph->self, group->address, MAIL_THROTTLE_CLOSE, close, closed, group);
}

/* Names what is in the group. */
static unsigned name_contents(const struct object *group, struct name_list *list)
{
    const struct object *in;
    unsigned kind = 0;
    for (size_t i = 0; (in = next_in(group, &kind, &i));)
        name_list_add(list, graph_words[in->kind], graph_name(in));
    return name_list_end(list);
}

int graph_throttle_remove(struct graph *graph, const char *name, struct ticket ticket,
                          struct err *err)
{
    struct object *group = graph_ready(graph, GROUP, name, "name", err);
    struct name_list contents = {0};
    if (!group)
        return err->code;
    unsigned n = name_contents(group, &contents);
    if (n)
        return err_set(err, -EBUSY,
                       "throttle group '%s' can't be removed: %s %s in it; let backends leave "
                       "(backend-set throttle=), and remove nodes and groups first",
                       name, contents.text, n > 1 ? "are" : "is");
    begin_close(group, ticket);
    return 0;
}

void graph_throttle_left(struct object *group)
{
    if (group && group->throttle->temporary && group->state == READY && is_empty(group))
        begin_close(group, (struct ticket){0});
}

size_t graph_throttle_step_end(struct graph *graph)
{
    const struct table *table = &graph->tables[GROUP];
    for (size_t i = 0; i < table->n; i++)
        if (table->all[i]->state == READY && is_empty(table->all[i]))
            begin_close(table->all[i], (struct ticket){0});
    return table->n;
}

/* --- For others to see */

void *graph_throttle_event(const struct object *group)
{
    Sluice__ThrottleGroupEvent *event = MAIL_NEW(sluice__throttle_group_event);
    mail_set(&event->group, group->name);
    if (group->group)
        mail_set(&event->parent, group->group->name);
    return event;
}

/* The group has the name that a member had when it came. */
static void name_member(const struct object *member, Sluice__ThrottleMemberInfo *info)
{
    if (!member)
        return;
    free(info->name);
    if (member->kind == BACKEND && !*member->name && !graph_device(member))
        info->name = mem_string(graph_name(member));
    else if (asprintf(&info->name, "%s '%s'", graph_words[member->kind], graph_name(member)) < 0)
        abort();
}

void *graph_take_throttle(const struct graph *graph, void *described)
{
    Sluice__ThrottleDescribed *told = described;
    Sluice__ThrottleInfo *info = told->info;
    for (size_t i = 0; i < told->n_members; i++)
        name_member(graph_by_address(graph, told->members[i]), info->members[i]);
    told->info = NULL;
    mail_free_body(told);
    return info;
}

void graph_show_throttle(const struct object *group, Sluice__ThrottleInfo *info)
{
    const struct table *groups = &group->graph->tables[GROUP];
    if (group->group)
        mail_set(&info->parent, group->group->name);
    info->has_reactor = true;
    info->reactor = group->reactor;
    info->has_temporary = info->temporary = group->throttle->temporary;
    limits_tell(&group->throttle->limits, &info->base);
    info->children = mem_new((groups->n + 1) * sizeof *info->children);
    for (size_t i = 0; i < groups->n; i++)
        if (groups->all[i]->group == group)
            mail_set(&info->children[info->n_children++], groups->all[i]->name);
}
