/* backend_buffer.c — memory that frontends say they will use again and again: it is registered with
 * each medium that the backend has while they keep it. A medium that can't register it takes
 * requests from it all the same, so only who asks for it is told. */
#include <errno.h>
#include <stdlib.h>

#include "actors/backend_impl.h"
#include "engine/mem.h"

struct buffer {
    struct buffer *next;
    struct backend *backend;
    uint64_t address, bytes;
    unsigned asks; /* questions to nodes that are not answered */
    bool waits;    /* who registers it is answered by the last of them, */
    bool leaves;   /* or who unregisters it */
    struct ticket ticket;
    struct err err; /* what the present medium said to the registration; 0 until it has answered */
};

static void forget(struct buffer *buffer)
{
    struct buffer **at = &buffer->backend->buffers;
    while (*at != buffer)
        at = &(*at)->next;
    *at = buffer->next;
    free(buffer);
}

static void settle(struct buffer *buffer)
{
    struct actor *self = buffer->backend->self;
    if (buffer->asks || !(buffer->waits || buffer->leaves))
        return;
    buffer->waits = false;
    if (buffer->err.code)
        actor_refuse(self, buffer->ticket, &buffer->err);
    else
        actor_reply(self, buffer->ticket, MAIL_NONE, NULL);
    if (buffer->leaves || buffer->err.code)
        forget(buffer);
}

static void answered(struct actor *self, struct mail *reply, void *arg)
{
    struct buffer *buffer = arg;
    const struct backend *backend = actor_state(self);
    buffer->asks--;
    if (buffer->waits && backend->has_medium && reply->from == backend->node) {
        buffer->err = (struct err){0};
        if (mail_fault(reply))
            mail_fault_err(reply, &buffer->err);
    }
    settle(buffer);
}

static void ask(struct buffer *buffer, bool on)
{
    struct backend *backend = buffer->backend;
    Sluice__Buffer *body = MAIL_NEW(sluice__buffer);
    body->address = buffer->address;
    body->bytes = buffer->bytes;
    body->on = on;
    buffer->asks++;
    buffer->err = (struct err){0}; /* that was another medium's */
    actor_ask(backend->self, backend->node, MAIL_BUFFER, body, answered, buffer);
}

void backend_on_buffer(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__Buffer *told = (const Sluice__Buffer *)mail->body;
    struct buffer *buffer = backend->buffers;
    if (told->on) {
        buffer = MEM_NEW(struct buffer);
        *buffer = (struct buffer){.next = backend->buffers,
                                  .backend = backend,
                                  .address = told->address,
                                  .bytes = told->bytes,
                                  .waits = true};
        backend->buffers = buffer;
    } else {
        while (buffer && (buffer->waits || buffer->leaves || buffer->address != told->address ||
                          buffer->bytes != told->bytes))
            buffer = buffer->next;
        if (!buffer) { /* nothing to do, which is fine */
            actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
            return;
        }
        buffer->leaves = true;
    }
    buffer->ticket = mail_ticket(mail);
    if (backend->has_medium)
        ask(buffer, told->on);
    settle(buffer);
}

void backend_buffers_tell(struct backend *backend, bool on)
{
    for (struct buffer *buffer = backend->buffers; buffer; buffer = buffer->next)
        if (!buffer->leaves)
            ask(buffer, on);
}

void backend_buffers_end(struct backend *backend)
{
    struct err err = {0};
    err_set(&err, -ESHUTDOWN, "backend '%.63s' is closing, and registers no memory any more",
            actor_name(backend->self));
    if (backend->has_medium)
        backend_buffers_tell(backend, false);
    for (struct buffer *buffer = backend->buffers; buffer; buffer = buffer->next)
        if (buffer->leaves)
            actor_reply(backend->self, buffer->ticket, MAIL_NONE, NULL);
        else if (buffer->waits)
            actor_refuse(backend->self, buffer->ticket, &err);
}

void backend_buffers_fini(struct backend *backend)
{
    struct buffer *buffer;
    while ((buffer = backend->buffers)) {
        backend->buffers = buffer->next;
        free(buffer);
    }
}
