/* graph_block.c — op blockers: kinds of operations that somebody does not want at a node, each with
 * his reason, which the refusal quotes.
 *
 * They are asked through a backend about its medium, and what lies below filters there, for what is
 * done to a filter is done to that: without a medium, nothing is blocked. Each is one entry, so
 * that two who block the same for the same reason take back one each. A backend is told what it
 * does without the graph: changing the length. */
#include "actors/graph_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/reply.h"
#include "engine/mem.h"
#include "proto/reflect.h"

_Static_assert(SLUICE__OP_BLOCK__OPERATION__DRIVE_DEL + 1 == BLOCKS, "all of them");

struct block {
    struct block *next;
    unsigned op;
    const struct object *owner; /* a job, which alone takes it back; or null */
    char *reason;
};

struct object *graph_filtered(const struct object *node)
{
    return node->standing.to[EDGE_BACKING] ? NULL : node->standing.to[EDGE_CHILD];
}

static struct object *node_of(const struct object *object)
{
    return object->kind == BACKEND ? object->standing.to[0] : (struct object *)object;
}

/* What `asker` (may be null) has blocked does not count. */
static const struct block *find_on(const struct object *node, unsigned ops,
                                   const struct object *asker)
{
    for (const struct block *block = node->blocks; block; block = block->next)
        if (ops >> block->op & 1 && (!asker || block->owner != asker))
            return block;
    return NULL;
}

/* `*node` becomes the one where it is blocked. */
static const struct block *find(const struct object *object, unsigned ops,
                                const struct object *asker, const struct object **node)
{
    const struct block *block = NULL;
    *node = node_of(object);
    while (*node && !(block = find_on(*node, ops, asker)))
        *node = graph_filtered(*node);
    return block;
}

static const char *name_of(unsigned op, char *out)
{
    return reflect_word(sluice__op_block__operation__descriptor.values[op].name, out);
}

/* --- Asking */

static int refuse(const struct object *node, const struct block *block, struct err *err)
{
    char name[REFLECT_NAME];
    return err_set(err, -EBUSY,
                   "%s is blocked on node '%s': %.250s; try again when that is over, or unblock it",
                   name_of(block->op, name), node->name, block->reason);
}

static int blocked_for(const struct object *asker, const struct object *object, unsigned ops,
                       struct err *err)
{
    const struct object *node;
    const struct block *block = find(object, ops, asker, &node);
    return block ? refuse(node, block, err) : 0;
}

int graph_blocked_any(const struct object *object, unsigned ops, struct err *err)
{
    return blocked_for(NULL, object, ops, err);
}

int graph_blocked(const struct object *object, Sluice__OpBlock__Operation op, struct err *err)
{
    return graph_blocked_any(object, 1U << op, err);
}

/* A filter that goes leaves what it filters. */
int graph_blocked_removal(const struct object *object, struct err *err)
{
    const unsigned op = SLUICE__OP_BLOCK__OPERATION__DRIVE_DEL;
    if (object->kind != NODE)
        return graph_blocked(object, op, err);
    const struct block *block = find_on(object, 1U << op, NULL);
    return block ? refuse(object, block, err) : 0;
}

/* --- Blocking */

void graph_block(struct object *node, unsigned ops, const struct object *owner, const char *reason)
{
    for (unsigned op = 0; op < BLOCKS; op++) {
        if (!(ops >> op & 1))
            continue;
        struct block *block = MEM_NEW(struct block);
        *block = (struct block){node->blocks, op, owner, mem_string(reason)};
        node->blocks = block;
    }
}

static void drop(struct block **at)
{
    struct block *block = *at;
    *at = block->next;
    free(block->reason);
    free(block);
}

/* One of each kind. Returns those that were blocked for this reason. */
static unsigned unblock(struct object *node, unsigned ops, const char *reason)
{
    unsigned found = 0;
    for (struct block **at = &node->blocks; *at;) {
        unsigned bit = 1U << (*at)->op;
        if (ops & bit & ~found && !(*at)->owner && !strcmp((*at)->reason, reason)) {
            found |= bit;
            drop(at);
        } else {
            at = &(*at)->next;
        }
    }
    return found;
}

void graph_unblock(struct object *node, const struct object *owner)
{
    for (struct block **at = &node->blocks; *at;)
        if ((*at)->owner == owner)
            drop(at);
        else
            at = &(*at)->next;
}

void graph_block_free(struct object *object)
{
    while (object->blocks)
        drop(&object->blocks);
}

/* --- Backends */

/* Who waits for all backends to know: a request, or one who goes on then. */
struct telling {
    struct ticket ticket;
    bool control; /* asked by a request */
    struct object *object;
    void (*then)(struct object *object); /* null: the ticket is answered */
    size_t outstanding;
};

static void told_one(struct graph *graph, struct telling *telling)
{
    if (--telling->outstanding)
        return;
    if (telling->then)
        telling->then(telling->object);
    else
        actor_reply(graph->self, telling->ticket, telling->control ? MAIL_REPLY : MAIL_NONE,
                    telling->control ? reply_done() : NULL);
    graph_unkeep(telling);
    graph->gathers--;
    if (graph->ending)
        graph_step_end(graph);
}

/* One that is gone by now does nothing any more. */
static void told(struct actor *self, struct mail *reply, void *arg)
{
    (void)reply;
    if (arg)
        told_one(actor_state(self), arg);
}

/* Where it is blocked, who waits hears it from each backend, also from one that has been told, but
 * has not answered yet. */
static void sync(struct graph *graph, struct telling *telling)
{
    const struct table *backends = &graph->tables[BACKEND];
    for (size_t i = 0; i < backends->n; i++) {
        struct object *backend = backends->all[i];
        const struct object *node;
        bool blocked = find(backend, 1U << SLUICE__OP_BLOCK__OPERATION__RESIZE, NULL, &node);
        if (!backend->address || (blocked == backend->resize_blocked && !(blocked && telling)))
            continue;
        backend->resize_blocked = blocked;
        Sluice__BackendBlocked *mail = MAIL_NEW(sluice__backend_blocked);
        mail->resize = blocked;
        if (telling)
            telling->outstanding++;
        actor_ask(graph->self, backend->address, MAIL_BACKEND_BLOCKED, mail, told, telling);
    }
}

void graph_block_sync(struct graph *graph)
{
    sync(graph, NULL);
}

static void sync_for(struct graph *graph, struct telling how)
{
    struct telling *telling = GRAPH_KEEP(graph, struct telling, NULL);
    *telling = how;
    telling->outstanding = 1;
    graph->gathers++;
    sync(graph, telling);
    told_one(graph, telling);
}

void graph_block_await(struct object *object, void (*then)(struct object *object))
{
    sync_for(object->graph, (struct telling){.object = object, .then = then});
}

/* Answers when all backends know. */
static void sync_and_answer(struct graph *graph, struct ticket ticket, bool control)
{
    sync_for(graph, (struct telling){.ticket = ticket, .control = control});
}

/* --- Requests */

static int change(struct object *node, bool block, unsigned ops, const char *reason,
                  struct err *err)
{
    if (block) {
        graph_block(node, ops, NULL, reason);
        return 0;
    }
    if (unblock(node, ops, reason))
        return 0;
    return err_field(err, "reason", -ENOENT,
                     "nothing of that is blocked on node '%s' for the reason \"%.150s\"; show the "
                     "node to see what is",
                     node->name, reason);
}

static unsigned bits(const Sluice__OpBlock__Operation *ops, size_t n)
{
    unsigned out = 0;
    for (size_t i = 0; i < n; i++)
        out |= 1U << ops[i];
    return out;
}

/* The node that a request is about. */
static struct object *find_node(const struct graph *graph, const Sluice__OpBlock *request,
                                struct err *err)
{
    if ((request->node != NULL) == (request->backend != NULL)) {
        err_field(err, "node", -EINVAL, "give either a node or a backend, whose medium is meant");
        return NULL;
    }
    if (request->node)
        return graph_ready(graph, NODE, request->node, "node", err);
    const struct object *backend = graph_there(graph, BACKEND, request->backend, "backend", err);
    if (backend && !backend->standing.to[0])
        err_field(err, "backend", -ENOMEDIUM, "backend '%s' has no medium to block anything on",
                  backend->name);
    return backend ? backend->standing.to[0] : NULL;
}

int graph_op_block(struct graph *graph, const Sluice__OpBlock *request, bool block,
                   struct ticket ticket, struct err *err)
{
    struct object *node = find_node(graph, request, err);
    unsigned ops = request->n_op ? bits(request->op, request->n_op) : BLOCK_ALL;
    if (!node)
        return err->code;
    ops &= ~bits(request->except, request->n_except);
    if (!ops)
        return err_field(err, "except", -EINVAL,
                         "nothing is left to be %sblocked on node '%s'; name fewer exceptions",
                         block ? "" : "un", node->name);
    if (change(node, block, ops, request->reason, err) < 0)
        return err->code;
    sync_and_answer(graph, ticket, true);
    return 0;
}

/* From an embedding program, or a job. */
static int on_medium(struct graph *graph, const struct mail *mail, struct err *err)
{
    const Sluice__Blockers *asked = (const Sluice__Blockers *)mail->body;
    struct ticket ticket = mail_ticket(mail);
    const struct object *object = graph_by_address(graph, asked->object);
    struct object *node = object ? node_of(object) : NULL;
    unsigned ops = asked->operations & BLOCK_ALL;
    if (asked->what == SLUICE__BLOCKERS__WHAT__ASK) {
        if (object && blocked_for(graph_by_address(graph, mail->from), object, ops, err) < 0)
            return err->code;
        actor_reply(graph->self, ticket, MAIL_NONE, NULL);
        return 0;
    }
    if (!node)
        return err_set(err, -ENOMEDIUM, "the backend has no medium to block anything on");
    if (change(node, asked->what == SLUICE__BLOCKERS__WHAT__BLOCK, ops, asked->reason, err) < 0)
        return err->code;
    sync_and_answer(graph, ticket, false);
    return 0;
}

void graph_on_blockers(struct actor *self, struct mail *mail)
{
    struct err err = {0};
    if (on_medium(actor_state(self), mail, &err) < 0)
        actor_refuse(self, mail_ticket(mail), &err);
}

/* --- To be seen */

void graph_show_blocked(const struct object *node, Sluice__NodeInfo *info)
{
    for (const struct block *block = node->blocks; block; block = block->next) {
        Sluice__OpBlocker *out = MAIL_NEW(sluice__op_blocker);
        out->op = block->op;
        mail_set(&out->reason, block->reason);
        info->blocked = mem_resize(info->blocked, (info->n_blocked + 1) * sizeof *info->blocked);
        info->blocked[info->n_blocked++] = out;
    }
}
