#include "engine/actor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mem.h"
#include "engine/reactor_impl.h"

/* --- Identity
 * --------------------------------------------------------------------------------------- */

static void check_here(const struct actor *self)
{
#ifndef NDEBUG
    if (reactor_here() != self->reactor) {
        fprintf(stderr, "sluice: actor '%s' (%s) is touched off its reactor\n", self->name,
                self->type->name);
        abort();
    }
#else
    (void)self;
#endif
}

/* Whoever asked would wait for ever. */
static void check_answered(const struct actor *self)
{
#ifndef NDEBUG
    if (self->nasked) {
        fprintf(stderr, "sluice: actor '%s' (%s) stops, and has not answered %zu that asked it\n",
                self->name, self->type->name, self->nasked);
        abort();
    }
#else
    (void)self;
#endif
}

void *actor_state(struct actor *self)
{
    check_here(self);
    return self->state;
}

const char *actor_name(const struct actor *self)
{
    return self->name;
}

void actor_rename(struct actor *self, const char *name)
{
    check_here(self);
    char *had = self->name;
    self->name = mem_string(name);
    free(had);
}

actor_addr actor_address(const struct actor *self)
{
    return self->address;
}

struct reactor *actor_reactor(const struct actor *self)
{
    return self->reactor;
}

struct peer *actor_peer(const struct actor *self)
{
    return &self->reactor->peer;
}

const void *actor_world(const struct actor *self)
{
    return self->engine->options.world;
}

/* Who asked drops a second answer; but it tells that somebody has lost count. */
static void check_due(const struct actor *self, bool due)
{
#ifndef NDEBUG
    if (!due) {
        fprintf(stderr, "sluice: actor '%s' (%s) answers what it has answered, or was not asked\n",
                self->name, self->type->name);
        abort();
    }
#else
    (void)self;
    (void)due;
#endif
}

/* --- Life
 * ------------------------------------------------------------------------------------------- */

static void settle_limbo(struct reactor *reactor)
{
    struct op_queue ops = reactor->limbo_ops;
    if (!ops.head)
        ops.tail = &ops.head;
    op_queue_init(&reactor->limbo_ops);
    struct op *op;
    while ((op = op_dequeue(&ops)))
        actor_local.op(&reactor->peer, op);
    struct mail *mail = reactor->limbo_mail;
    reactor->limbo_mail = NULL;
    while (mail) {
        struct mail *next = mail->next;
        if (!peer_pass_mail(&reactor->peer, mail))
            actor_local.mail(&reactor->peer, mail);
        mail = next;
    }
}

static void release(struct actor *self)
{
    calls_fini(&self->calls);
    free(self->asked);
    free(self->name);
    free(self);
}

static void adopt(struct work *work, struct reactor *reactor)
{
    struct actor *actor = (struct actor *)((char *)work - offsetof(struct actor, adopt));
    if (!actor->born && reactor_stopping(reactor)) {
        directory_remove(&reactor->engine->mesh.directory, actor->address);
        release(actor);
        settle_limbo(reactor);
        return;
    }
    actor->reactor = reactor;
    actor->moving = -1;
    actor->running = false;
    reactor->present[address_slot(actor->address)] = actor;
    reactor->stats.actors++;
    if (!actor->born) {
        actor->born = true;
        if (actor->type->init)
            actor->type->init(actor);
    } else if (actor->type->arrive) {
        actor->type->arrive(actor);
    }
    if (actor->mail || actor->stopping)
        actor_make_runnable(actor);
    settle_limbo(reactor);
}

actor_addr engine_spawn(struct engine *engine, const struct actor_type *type, const char *name,
                        unsigned reactor)
{
    struct reactor *home = engine->reactors[reactor];
    if (reactor_stopping(home))
        return 0;
    actor_addr address = directory_add(&engine->mesh.directory, home->peer.id);
    if (!address)
        return 0;
    struct actor *actor = mem_aligned(16, sizeof *actor + type->size);
    actor->type = type;
    actor->name = mem_string(name);
    actor->address = address;
    actor->engine = engine;
    actor->moving = -1;
    actor->mail_tail = &actor->mail;
    op_queue_init(&actor->ops);
    op_queue_init(&actor->early_ops);
    actor->adopt.run = adopt;
    reactor_post(home, &actor->adopt);
    return address;
}

actor_addr actor_spawn(struct actor *self, const struct actor_type *type, const char *name,
                       unsigned reactor)
{
    check_here(self);
    return engine_spawn(self->engine, type, name, reactor);
}

static void destroy(struct actor *self)
{
    struct reactor *reactor = self->reactor;
    if (self->type->fini)
        self->type->fini(self);
    if (self->stopping)
        check_answered(self);
    directory_remove(&self->engine->mesh.directory, self->address);
    reactor->present[address_slot(self->address)] = NULL;
    reactor->stats.actors--;
    struct mail *lists[] = {self->mail, self->early_mail};
    for (int i = 0; i < 2; i++)
        while (lists[i]) {
            struct mail *mail = lists[i];
            lists[i] = mail->next;
            peer_bounce(&reactor->peer, mail, -ENXIO,
                        "the object that was asked ended before it could answer");
        }
    struct op *op;
    while ((op = op_dequeue(&self->ops)) || (op = op_dequeue(&self->early_ops)))
        op_complete(op, -ENXIO);
    release(self);
}

/* Operations belong to the thread that they are on: they don't go with the actor, but over the
 * links, and are counted again where they arrive. */
static void pass_ops(struct actor *self, unsigned home)
{
    struct peer *peer = &self->reactor->peer;
    struct op *op;
    /* Their numbers may have gaps, where others were begun. */
    for (op = self->ops.head; op; op = op->next)
        self->order[op->origin].ops--;
    for (op = self->ops.head; op; op = op->next)
        op->sequence = self->order[op->origin].ops++;
    while ((op = op_dequeue(&self->ops))) {
        self->order[op->origin].ops--;
        peer_pass_op(peer, op, home);
    }
    while ((op = op_dequeue(&self->early_ops)))
        peer_pass_op(peer, op, home);
}

static void move(struct actor *self)
{
    struct reactor *from = self->reactor, *to = self->engine->reactors[self->moving];
    if (self->type->leave)
        self->type->leave(self);
    from->present[address_slot(self->address)] = NULL;
    from->stats.actors--;
    directory_move(&self->engine->mesh.directory, self->address, to->peer.id);
    pass_ops(self, to->peer.id);
    self->reactor = NULL;
    reactor_post(to, &self->adopt);
}

void actor_give_back(struct actor *self, struct op_queue *ops)
{
    check_here(self);
    if (!ops->head)
        return;
    for (struct op *op = ops->head; op; op = op->next) { /* one that was begun went elsewhere */
        op->to = self->address;
        op->origin = (uint16_t)op_key_peer(op_key(op));
    }
    *ops->tail = self->ops.head;
    if (!self->ops.head)
        self->ops.tail = ops->tail;
    self->ops.head = ops->head;
    self->ops.count += ops->count;
    op_queue_init(ops);
}

void actor_stop(struct actor *self)
{
    check_here(self);
    self->stopping = true;
    actor_make_runnable(self);
}

void actor_move(struct actor *self, unsigned reactor)
{
    check_here(self);
    self->moving = reactor == self->reactor->id ? -1 : (int)reactor;
    actor_make_runnable(self);
}

void actor_destroy_all(struct reactor *reactor)
{
    /* What reaches one from here on waits in it for its end. */
    for (uint32_t slot = 0; reactor->stats.actors && slot < DIRECTORY_SLOTS; slot++)
        if (reactor->present[slot])
            reactor->present[slot]->running = true;
    for (uint32_t slot = 0; reactor->stats.actors && slot < DIRECTORY_SLOTS; slot++)
        if (reactor->present[slot])
            destroy(reactor->present[slot]);
}

/* --- The I/O lane
 * ----------------------------------------------------------------------------------- */

static void submit(struct actor *actor, struct op *op)
{
    struct reactor *reactor = actor->reactor;
    if (!actor->type->submit) {
        op_complete(op, -ENOTSUP);
        return;
    }
    if (reactor->depth >= ACTOR_DEPTH || actor->ops.head || actor->moving >= 0 || actor->stopping) {
        op_enqueue(&actor->ops, op);
        actor_make_runnable(actor);
        return;
    }
    reactor->depth++;
    actor->type->submit(actor, op);
    reactor->depth--;
}

static void late_ops(struct actor *actor, unsigned origin)
{
    for (struct op **at = &actor->early_ops.head; *at;) {
        struct op *op = *at;
        if (op->origin != origin || op->sequence != actor->order[origin].ops) {
            at = &op->next;
            continue;
        }
        *at = op->next;
        if (!*at)
            actor->early_ops.tail = at;
        actor->early_ops.count--;
        actor->order[origin].ops++;
        submit(actor, op);
        at = &actor->early_ops.head;
    }
}

static void local_op(struct peer *peer, struct op *op)
{
    struct reactor *reactor = (struct reactor *)peer;
    struct actor *actor = reactor->present[address_slot(op->to)];
    if (!actor || actor->address != op->to) {
        if (directory_home(&peer->mesh->directory, op->to) == (int)peer->id)
            op_enqueue(&reactor->limbo_ops, op);
        else
            op_complete(op, -ENXIO);
        return;
    }
    struct order *order = &actor->order[op->origin];
    if (__builtin_expect(op->sequence != order->ops, 0)) {
        op_enqueue(&actor->early_ops, op);
        return;
    }
    order->ops++;
    unsigned origin = op->origin;
    actor_addr to = op->to;
    submit(actor, op);
    /* What came early may follow now; the actor may have ended meanwhile. */
    actor = reactor->present[address_slot(to)];
    if (actor && actor->address == to && __builtin_expect(actor->early_ops.head != NULL, 0))
        late_ops(actor, origin);
}

/* --- The control lane
 * ------------------------------------------------------------------------------- */

static void queue_mail(struct actor *actor, struct mail *mail)
{
    mail->next = NULL;
    *actor->mail_tail = mail;
    actor->mail_tail = &mail->next;
    actor_make_runnable(actor);
}

static void local_mail(struct peer *peer, struct mail *mail)
{
    struct reactor *reactor = (struct reactor *)peer;
    struct actor *actor = reactor->present[address_slot(mail->to) % DIRECTORY_SLOTS];
    if (!actor || actor->address != mail->to) {
        struct mail **at = &reactor->limbo_mail;
        while (*at)
            at = &(*at)->next;
        mail->next = NULL;
        *at = mail;
        return;
    }
    struct order *order = &actor->order[mail->origin];
    if (mail->sequence != order->mail) {
        mail->next = actor->early_mail;
        actor->early_mail = mail;
        return;
    }
    unsigned origin = mail->origin;
    order->mail++;
    queue_mail(actor, mail);
    for (struct mail **at = &actor->early_mail; *at;) {
        mail = *at;
        if (mail->origin == origin && mail->sequence == order->mail) {
            *at = mail->next;
            order->mail++;
            queue_mail(actor, mail);
            at = &actor->early_mail;
        } else {
            at = &mail->next;
        }
    }
}

const struct peer_local actor_local = {local_op, local_mail};

static void note_asked(struct actor *self, struct ticket ticket)
{
    if (self->nasked == self->asked_room) {
        self->asked_room = self->asked_room ? 2 * self->asked_room : 4;
        self->asked = mem_resize(self->asked, self->asked_room * sizeof *self->asked);
    }
    self->asked[self->nasked++] = ticket;
}

/* The newest first: most are answered at once. */
static bool take_asked(struct actor *self, struct ticket ticket)
{
    for (size_t i = self->nasked; i-- > 0;)
        if (self->asked[i].to == ticket.to && self->asked[i].correlation == ticket.correlation) {
            self->asked[i] = self->asked[--self->nasked];
            return true;
        }
    return false;
}

static void handle(struct actor *self, struct mail *mail)
{
    if (mail->reply) {
        call_fn *fn;
        void *arg;
        if (calls_take(&self->calls, mail->correlation, &fn, &arg))
            ((actor_reply_fn *)fn)(self, mail, arg);
        mail_free(mail);
        return;
    }
    if (mail->correlation)
        note_asked(self, mail_ticket(mail));
    if (mail->kind < MAIL_KINDS && self->type->handlers[mail->kind]) {
        self->type->handlers[mail->kind](self, mail);
    } else {
        struct err err = {0};
        err_set(&err, -ENOTSUP, "'%s' (%s) does not understand this kind of message", self->name,
                self->type->name);
        actor_refuse(self, mail_ticket(mail), &err);
    }
    mail_free(mail);
}

void actor_make_runnable(struct actor *actor)
{
    if (actor->runnable || actor->running || !actor->reactor)
        return;
    struct reactor *reactor = actor->reactor;
    actor->runnable = true;
    actor->next_run = NULL;
    *reactor->run_tail = actor;
    reactor->run_tail = &actor->next_run;
}

/* Runs what is in the mailbox now; what comes meanwhile waits for its next turn. */
void actor_run(struct actor *actor)
{
    actor->running = true;
    size_t ops = actor->ops.count;
    while (ops-- && !actor->stopping && actor->moving < 0) {
        struct op *op = op_dequeue(&actor->ops);
        actor->type->submit(actor, op);
    }
    unsigned limit = 64;
    while (actor->mail && limit-- && !actor->stopping && actor->moving < 0) {
        struct mail *mail = actor->mail;
        actor->mail = mail->next;
        if (!actor->mail)
            actor->mail_tail = &actor->mail;
        handle(actor, mail);
    }
    /* One that leaves stays "running": what comes to it last must not queue it here again. */
    if (actor->stopping) {
        destroy(actor);
    } else if (actor->moving >= 0) {
        move(actor);
    } else {
        actor->running = false;
        if (actor->mail || actor->ops.head)
            actor_make_runnable(actor);
    }
}

/* --- Mail
 * ------------------------------------------------------------------------------------------- */

static void send_mail(struct actor *self, actor_addr to, uint64_t correlation, bool reply,
                      unsigned kind, void *body)
{
    struct mail *mail = MEM_NEW(struct mail);
    mail->to = to;
    mail->from = self->address;
    mail->correlation = correlation;
    mail->reply = reply;
    mail->kind = (uint16_t)kind;
    mail->body = body;
    peer_send_mail(&self->reactor->peer, mail);
}

void actor_tell(struct actor *self, actor_addr to, unsigned kind, void *body)
{
    check_here(self);
    send_mail(self, to, 0, false, kind, body);
}

void actor_ask(struct actor *self, actor_addr to, unsigned kind, void *body, actor_reply_fn *fn,
               void *arg)
{
    check_here(self);
    send_mail(self, to, calls_add(&self->calls, (call_fn *)fn, arg), false, kind, body);
}

void actor_reply(struct actor *self, struct ticket ticket, unsigned kind, void *body)
{
    check_here(self);
    bool due = take_asked(self, ticket);
    check_due(self, due || !ticket.correlation);
    if (!due) {
        mail_free_body(body);
        return;
    }
    send_mail(self, ticket.to, ticket.correlation, true, kind, body);
}

void actor_refuse(struct actor *self, struct ticket ticket, const struct err *err)
{
    actor_reply(self, ticket, MAIL_FAULT, mail_fault_body(err));
}

void actor_refuse_rest(struct actor *self, const struct err *err)
{
    while (self->nasked)
        actor_refuse(self, self->asked[0], err);
}
