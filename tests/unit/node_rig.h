/* node_rig.h — for tests of nodes and drivers: a stepped engine with one reactor, and an actor from
 * which nodes are spawned, asked and given operations.
 *
 * A test is linear: each call steps the engine until what it asks has been answered. rig_start()
 * only begins an operation; rig_run() then does what can be done without waiting for the kernel. */
#ifndef NODE_RIG_H
#define NODE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/node.h"
#include "engine/clock.h"

struct rig_op {
    bool done;
    int64_t ret;
    struct iovec iov[64];
};

struct rig {
    struct actor *probe;
    bool answered;
    uint16_t kind; /* of the last reply, with its body or err */
    void *body;
    struct err err;
    struct driver_facts facts; /* of the node opened or asked last */
    unsigned told;             /* NODE_CHANGED that came, and the facts in the last */
    struct driver_facts change;
};

static struct rig rig;

static void rig_on_changed(struct actor *self, struct mail *mail)
{
    (void)self;
    rig.told++;
    node_facts_from_message(((Sluice__NodeChanged *)mail->body)->facts, &rig.change);
}

static void rig_init(struct actor *self)
{
    rig.probe = self;
}

static const struct actor_type rig_type = {
    .name = "probe",
    .size = 1,
    .init = rig_init,
    .handlers = {[MAIL_NODE_CHANGED] = rig_on_changed},
};

#include "node_rig_engine.h"

static void rig_run(void)
{
    while (rig_step())
        ;
}

/* Steps until it is so, for ten seconds at most. */
static void rig_until(const bool *so)
{
    for (unsigned idle = 0; !*so && idle < 100;)
        if (!rig_step() && !rig_wait_kernel())
            idle++;
    assert_true(*so);
}

/* --- Mail */

static void rig_on_reply(struct actor *self, struct mail *reply, void *arg)
{
    (void)self;
    (void)arg;
    rig.kind = reply->kind;
    rig.err = (struct err){0};
    if (mail_fault(reply))
        mail_fault_err(reply, &rig.err);
    if (rig.body)
        mail_free_body(rig.body); /* of a question whose answer was not waited for */
    rig.body = reply->body;
    reply->body = NULL;
    rig.answered = true;
}

struct rig_ask {
    actor_addr to;
    unsigned kind;
    void *body;
};

static void rig_do_ask(void *arg)
{
    const struct rig_ask *ask = arg;
    actor_ask(rig.probe, ask->to, ask->kind, ask->body, rig_on_reply, NULL);
}

static void rig_forget(void)
{
    if (rig.body)
        mail_free_body(rig.body);
    rig.body = NULL;
    rig.answered = false;
}

/* Asks without stepping on to the answer. */
static void rig_post(actor_addr to, unsigned kind, void *body)
{
    rig_forget();
    struct rig_ask ask = {to, kind, body};
    rig_on_reactor(rig_do_ask, &ask);
}

/* Asks and waits; returns 0 or the fault's code. The reply's body is in rig.body until the next. */
static int rig_ask(actor_addr to, unsigned kind, void *body)
{
    rig_post(to, kind, body);
    rig_until(&rig.answered);
    if (rig.kind == MAIL_NODE_FACTS)
        node_facts_from_message(rig.body, &rig.facts);
    return rig.err.code;
}

/* --- Nodes */

struct rig_spawn {
    const char *name;
    actor_addr address;
};

static void rig_do_spawn(void *arg)
{
    struct rig_spawn *spawn = arg;
    spawn->address = actor_spawn(rig.probe, &node_type, spawn->name, 0);
}

static actor_addr rig_spawn(const char *name)
{
    struct rig_spawn spawn = {name, 0};
    rig_on_reactor(rig_do_spawn, &spawn);
    assert_true(spawn.address != 0);
    return spawn.address;
}

/* `options`: "key=value key=value". */
static Sluice__NodeOpen *rig_spec(const char *name, const char *driver, actor_addr child,
                                  const struct driver_facts *child_facts, const char *options)
{
    Sluice__NodeOpen *open = MAIL_NEW(sluice__node_open);
    Sluice__NodeAdd *spec = open->spec = MAIL_NEW(sluice__node_add);
    mail_set(&spec->name, name);
    mail_set(&spec->driver, driver);
    spec->options = calloc(16, sizeof(*spec->options));
    char *copy = strdup(options), *rest = copy, *pair;
    while ((pair = strsep(&rest, " "))) {
        char *value = strchr(pair, '=');
        if (!value)
            continue;
        *value++ = '\0';
        Sluice__Option *option = spec->options[spec->n_options++] = MAIL_NEW(sluice__option);
        mail_set(&option->key, pair);
        mail_set(&option->value, value);
    }
    free(copy);
    open->has_child = child != 0;
    open->child = child;
    if (child_facts) {
        open->child_facts = MAIL_NEW(sluice__node_facts);
        node_facts_to_message(child_facts, open->child_facts);
    }
    return open;
}

static void rig_close(actor_addr node)
{
    assert_int_equal(rig_ask(node, MAIL_CLOSE, MAIL_NEW(sluice__close)), 0);
    assert_int_equal(rig.kind, MAIL_NONE);
    rig_run();
}

/* Opens a node on the node opened last (child 0: on none); its address, or 0 with rig.err. */
static actor_addr rig_try(const char *name, const char *driver, actor_addr child,
                          const char *options)
{
    actor_addr node = rig_spawn(name);
    struct driver_facts child_facts = rig.facts;
    if (rig_ask(node, MAIL_NODE_OPEN,
                rig_spec(name, driver, child, child ? &child_facts : NULL, options)) == 0)
        return node;
    struct err why = rig.err;
    rig_close(node);
    rig.err = why;
    return 0;
}

static actor_addr rig_open(const char *name, const char *driver, actor_addr child,
                           const char *options)
{
    actor_addr node = rig_try(name, driver, child, options);
    if (!node)
        print_error("%s\n", rig.err.text);
    assert_true(node != 0);
    rig_run();
    return node;
}

/* --- Operations */

struct rig_request {
    actor_addr node;
    enum op_kind kind;
    int64_t offset;
    unsigned flags, niov;
    uint64_t bytes;
    struct rig_op *op;
};

static void rig_op_done(struct op *op, void *who)
{
    struct rig_op *mine = who;
    mine->ret = op->ret;
    mine->done = true;
    op_free(op);
}

static void rig_do_start(void *arg)
{
    const struct rig_request *request = arg;
    struct op *op = op_new(actor_peer(rig.probe));
    op->kind = (uint8_t)request->kind;
    op->flags = (uint16_t)request->flags;
    op->offset = request->offset;
    op->bytes = request->bytes;
    op->niov = (uint16_t)request->niov;
    op->iov = request->op->iov;
    op_push(op, rig_op_done, request->op);
    op_send(op, request->node);
}

/* Begins an operation on op->iov, of which `niov` entries are set. */
static void rig_start_v(struct rig_op *op, actor_addr node, enum op_kind kind, int64_t offset,
                        unsigned niov, unsigned flags)
{
    struct rig_request request = {node, kind, offset, flags, niov, 0, op};
    for (unsigned i = 0; i < niov; i++)
        request.bytes += op->iov[i].iov_len;
    op->done = false;
    rig_on_reactor(rig_do_start, &request);
}

static void rig_start(struct rig_op *op, actor_addr node, enum op_kind kind, int64_t offset,
                      const void *data, uint64_t bytes, unsigned flags)
{
    bool has_data = kind == OP_READ || kind == OP_WRITE;
    struct rig_request request = {node, kind, offset, flags, has_data, bytes, op};
    op->iov[0] = (struct iovec){(void *)data, bytes};
    op->done = false;
    rig_on_reactor(rig_do_start, &request);
}

static int64_t rig_io(actor_addr node, enum op_kind kind, int64_t offset, const void *data,
                      uint64_t bytes, unsigned flags)
{
    struct rig_op op;
    rig_start(&op, node, kind, offset, data, bytes, flags);
    rig_until(&op.done);
    return op.ret;
}

static __attribute__((unused)) int64_t rig_io_v(struct rig_op *op, actor_addr node,
                                                enum op_kind kind, int64_t offset, unsigned niov,
                                                unsigned flags)
{
    rig_start_v(op, node, kind, offset, niov, flags);
    rig_until(&op->done);
    return op->ret;
}

/* Whether all bytes are `value`. */
static __attribute__((unused)) bool rig_all(const void *data, uint64_t bytes, unsigned char value)
{
    const unsigned char *at = data;
    for (uint64_t i = 0; i < bytes; i++)
        if (at[i] != value)
            return false;
    return true;
}

#endif
