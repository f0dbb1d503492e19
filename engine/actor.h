/* actor.h — private state, an address, a table of handlers, and a home reactor.
 *
 * An actor runs on its home reactor only, one handler at a time, and never blocks. Others know its
 * address, never its state. It is reached on two lanes:
 *
 * - the I/O lane: operations (op.h), handed to `submit` as they arrive;
 * - the control lane: mail, queued and handed to the handler of its kind, one by one.
 *
 * Each lane keeps the order in which one sender sent, also while the receiver moves to another
 * reactor: nothing is lost, nothing comes twice. Between the lanes there is no order. Mail to an
 * address that is no longer alive is answered with a Fault (-ENXIO) when it wants an answer,
 * operations end with -ENXIO.
 *
 * All functions here run on the actor's home reactor. A debug build checks that, and aborts with
 * the name of an actor whose state is touched elsewhere. */
#ifndef SLUICE_ACTOR_H
#define SLUICE_ACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <protobuf-c/protobuf-c.h>

#include "engine/err.h"
#include "engine/op.h"
#include "lane.pb-c.h"

struct actor;
struct reactor;

typedef uint64_t actor_addr; /* 0: nobody */

/* Kinds of mail. The engine has the first two; the table of all kinds is given to engine_new(). */
enum {
    MAIL_NONE = 0,  /* a reply without a body */
    MAIL_FAULT = 1, /* a Fault: the request was not done */
    MAIL_FIRST = 2,
    MAIL_KINDS = 128, /* upper bound of all */
};

struct mail {
    struct mail *next;
    actor_addr to, from;
    uint64_t correlation; /* 0: no reply is expected */
    uint16_t kind;
    bool reply;
    uint16_t origin; /* the peer that sent it, and its count of mail to `to` */
    uint32_t sequence;
    ProtobufCMessage
        *body; /* of the kind's type; null when the kind has none. Owned by the mail. */
};

/* May keep the body by taking it: `body = mail->body; mail->body = NULL`. */
typedef void actor_handler(struct actor *self, struct mail *mail);

struct actor_type {
    const char *name;
    size_t size;                                       /* bytes of private state, zeroed at first */
    void (*init)(struct actor *self);                  /* once, on its first reactor; optional */
    void (*fini)(struct actor *self);                  /* once, on its last; optional */
    void (*submit)(struct actor *self, struct op *op); /* I/O lane; optional: -ENOTSUP without */
    /* Called on the old reactor before and on the new one after a move; optional. */
    void (*leave)(struct actor *self);
    void (*arrive)(struct actor *self);
    actor_handler *handlers[MAIL_KINDS]; /* by kind; a kind without one gets a Fault (-ENOTSUP) */
};

/* Makes an actor and sends it to a reactor, where `init` runs first. The address is valid at once:
 * mail sent by the caller after this arrives after init. `name` is for messages and is copied.
 * Returns 0 when the table of actors is full, or the engine ends. */
actor_addr actor_spawn(struct actor *self, const struct actor_type *type, const char *name,
                       unsigned reactor);

/* Ends the actor when the present handler returns: fini runs, the address dies, what is left in its
 * mailbox is answered with a Fault. No operation may be outstanding through it, and it has answered
 * all that it was asked: a debug build checks that. */
void actor_stop(struct actor *self);

/* Moves the actor when the present handler returns; to where it is already, cancels a move. Until
 * it has arrived no operation is handed to it. It has no operation in hand then: each that it was
 * given has been completed, and none that it forwarded is outstanding. The order of what it sent
 * before the move and after it is not kept: that comes from two threads. */
void actor_move(struct actor *self, unsigned reactor);

/* Hands operations back that were taken, and are not under way: as they came, without any frame of
 * the actor's. They come again before all others, in this order: here, or where the actor moves to.
 * To be called by `leave`. */
void actor_give_back(struct actor *self, struct op_queue *ops);

void *actor_state(struct actor *self);
const char *actor_name(const struct actor *self);
/* What actor_name() gave until now is gone. */
void actor_rename(struct actor *self, const char *name);
actor_addr actor_address(const struct actor *self);
struct reactor *actor_reactor(const struct actor *self);
/* The peer on which the actor makes operations. */
struct peer *actor_peer(const struct actor *self);

/* What was given to engine_new() for all actors to see. */
const void *actor_world(const struct actor *self);

/* Sends one message that wants no reply. `body` (may be null) is taken over; it was made with
 * mail_new() or unpacked. */
void actor_tell(struct actor *self, actor_addr to, unsigned kind, void *body);

/* Sends a message and runs `fn` with the reply, exactly once, unless the actor stops first. A
 * request that the receiver refuses, or that finds nobody, is answered by a MAIL_FAULT. */
typedef void actor_reply_fn(struct actor *self, struct mail *reply, void *arg);
void actor_ask(struct actor *self, actor_addr to, unsigned kind, void *body, actor_reply_fn *fn,
               void *arg);

/* Replies to `mail`, once, now or later (keep what mail_ticket() gives). Does nothing when no reply
 * was asked. A debug build aborts over a second reply. */
struct ticket {
    actor_addr to;
    uint64_t correlation;
};
static inline struct ticket mail_ticket(const struct mail *mail)
{
    return (struct ticket){mail->from, mail->correlation};
}
void actor_reply(struct actor *self, struct ticket ticket, unsigned kind, void *body);
/* A ticket is good for one reply: gives it, and leaves none behind. */
static inline struct ticket ticket_take(struct ticket *from)
{
    struct ticket ticket = *from;
    *from = (struct ticket){0};
    return ticket;
}
/* Replies with a Fault that tells `err`. */
void actor_refuse(struct actor *self, struct ticket ticket, const struct err *err);
/* Refuses all that the actor was asked and has not answered: for one that stops in the middle of
 * what it does. The tickets of those are of no use any more. */
void actor_refuse_rest(struct actor *self, const struct err *err);

/* The fault that a reply holds, or null when it tells of success. */
const Sluice__Fault *mail_fault(const struct mail *mail);
/* A Fault that tells `err`, as a body. */
void *mail_fault_body(const struct err *err);
/* Copies it into an err. */
void mail_fault_err(const struct mail *mail, struct err *err);

/* A message on the heap, initialised: struct Foo *m = MAIL_NEW(sluice__foo). Free with
 * mail_free_body(). */
void *mail_new(const ProtobufCMessageDescriptor *descriptor);
#define MAIL_NEW(lower) mail_new(&lower##__descriptor)
void mail_free_body(void *body);
/* A deep copy (pack and unpack). */
void *mail_copy(const void *body);
/* Strings in messages are on the heap: sets a string field. */
void mail_set(char **field, const char *text);

#endif
