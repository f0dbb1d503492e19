/* node_buffer.c — memory that is registered with the node, and with those below it. What is
 * registered twice is once known to the driver, until it has been unregistered twice. */
#include "actors/node_io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mem.h"

struct node_buffer {
    struct node_buffer *next;
    uint64_t address, bytes;
    unsigned uses; /* once 0, for good: it is on its way out */
    unsigned asks; /* of the questions, those that the child has not answered */
    bool known;    /* the driver has it */
    struct question {
        struct node_buffer *buffer;
        struct ticket ticket; /* who waits for the child */
    } questions[2];           /* out; in: each is asked once, and the second one may come early */
};

static void *place_of(const struct node_buffer *buffer)
{
    return (void *)(uintptr_t)buffer->address;
}

static int tell_driver(struct node *node, struct node_buffer *buffer, bool on)
{
    const struct driver *driver = node->base.driver;
    int ret = 0;
    if (on && driver->register_buf)
        ret = driver->register_buf(&node->base, place_of(buffer), buffer->bytes);
    else if (!on && buffer->known && driver->unregister_buf)
        driver->unregister_buf(&node->base, place_of(buffer), buffer->bytes);
    buffer->known = on && ret == 0;
    return ret;
}

static void forget(struct node *node, struct node_buffer *buffer)
{
    struct node_buffer **at = &node->buffers;
    while (*at != buffer)
        at = &(*at)->next;
    *at = buffer->next;
    free(buffer);
}

static void refuse(struct node *node, struct ticket ticket, const struct node_buffer *buffer,
                   int ret)
{
    struct err err = {0};
    err_set(&err, ret,
            "node %s can't register %llu bytes of memory: %s; use it unregistered, which is slower",
            node->base.name, (unsigned long long)buffer->bytes, strerror(-ret));
    actor_refuse(node->base.actor, ticket, &err);
}

/* One that the child refuses is nobody's. */
static void child_answered(struct actor *self, struct mail *reply, void *arg)
{
    struct node *node = actor_state(self);
    const struct question *question = arg;
    struct node_buffer *buffer = question->buffer;
    if (mail_fault(reply)) {
        struct err err = {0};
        mail_fault_err(reply, &err);
        actor_refuse(self, question->ticket, &err);
        if (buffer->uses)
            tell_driver(node, buffer, false);
        buffer->uses = 0;
    } else {
        actor_reply(self, question->ticket, MAIL_NONE, NULL);
    }
    if (!--buffer->asks && !buffer->uses)
        forget(node, buffer);
    if (!--node->buffer_asks && !node->in_flight && node->stage == NODE_CLOSING)
        node_quiet(node);
}

/* To the child, if there is one; then the answer. */
static void pass(struct node *node, struct node_buffer *buffer, bool on, struct ticket ticket)
{
    struct actor *self = node->base.actor;
    if (!node->base.child) {
        if (!on)
            forget(node, buffer);
        actor_reply(self, ticket, MAIL_NONE, NULL);
        return;
    }
    Sluice__Buffer *body = MAIL_NEW(sluice__buffer);
    body->address = buffer->address;
    body->bytes = buffer->bytes;
    body->on = on;
    buffer->questions[on] = (struct question){buffer, ticket};
    buffer->asks++;
    node->buffer_asks++;
    actor_ask(self, node->base.child, MAIL_BUFFER, body, child_answered, &buffer->questions[on]);
}

static void enter(struct node *node, const Sluice__Buffer *told, struct ticket ticket)
{
    struct node_buffer *buffer = MEM_NEW(struct node_buffer);
    *buffer = (struct node_buffer){
        .next = node->buffers, .address = told->address, .bytes = told->bytes, .uses = 1};
    node->buffers = buffer;
    int ret = node->stage == NODE_OPEN ? tell_driver(node, buffer, true) : -ENXIO;
    if (ret == 0) {
        pass(node, buffer, true, ticket);
        return;
    }
    refuse(node, ticket, buffer, ret);
    forget(node, buffer);
}

void node_on_buffer(struct actor *self, struct mail *mail)
{
    struct node *node = actor_state(self);
    const Sluice__Buffer *told = (const void *)mail->body;
    struct node_buffer *buffer = node->buffers;
    /* One that is on its way out is entered anew. */
    while (buffer &&
           (!buffer->uses || buffer->address != told->address || buffer->bytes != told->bytes))
        buffer = buffer->next;
    if (!buffer && told->on) {
        enter(node, told, mail_ticket(mail));
    } else if (buffer && !told->on && buffer->uses == 1) {
        buffer->uses = 0;
        tell_driver(node, buffer, false);
        pass(node, buffer, false, mail_ticket(mail));
    } else {
        if (buffer)
            buffer->uses += told->on ? 1U : -1U;
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
    }
}

void node_buffers_tell(struct node *node, bool on)
{
    for (struct node_buffer *buffer = node->buffers; buffer; buffer = buffer->next)
        if (buffer->uses)
            tell_driver(node, buffer, on); /* what fails here is slower, no more */
}

void node_buffers_fini(struct node *node)
{
    while (node->buffers)
        forget(node, node->buffers);
}
