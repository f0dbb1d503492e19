#include "actors/events.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "actors/kinds.h"
#include "actors/zsocket.h"
#include "engine/clock.h"
#include "proto/reflect.h"
#include "proto/render.h"

#define TOPICS 128 /* numbers of the fields of Event's body are below this */

struct kept {
    uint8_t *data; /* packed Event */
    size_t size;
};

struct events {
    struct actor *self;
    struct zsocket socket;
    void *context;                /* ZeroMQ's */
    char endpoint[ENDPOINT_TEXT]; /* what to listen at again after an overflow; "" for nothing */
    size_t subscriptions;
    bool overflowed;     /* the socket was given up for its subscriptions */
    struct timer heart;  /* beats once a second */
    struct ticket close; /* who waits for the end */
    uint64_t deaf_until; /* when to listen again after an overflow, nanoseconds */

    uint64_t epoch;         /* microseconds since 1970 at the start */
    uint64_t last;          /* number of the newest event, 0 before the first */
    uint64_t topic[TOPICS]; /* the same by topic, by number of the body's field */
    struct kept *ring;      /* event number n at n % capacity */
    size_t capacity;
};

static uint64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Oldest number that can be replayed; one above `last` when there is none. */
static uint64_t first_kept(const struct events *events)
{
    return events->last >= events->capacity ? events->last - events->capacity + 1 : 1;
}

/* --- publishing --------------------------------------------------------------------------------
 */

/* An XPUB never waits: what a subscriber's queue has no room for, it misses. */
static void publish(struct events *events, const char *topic, const void *data, size_t size)
{
    if (!events->socket.socket || events->socket.closing)
        return;
    if (zsocket_send(&events->socket, topic, strlen(topic), true) == 0)
        zsocket_send(&events->socket, data, size, false);
}

static uint8_t *pack(const Sluice__Event *event, size_t *size)
{
    *size = sluice__event__get_packed_size(event);
    uint8_t *data = malloc(*size);
    if (!data)
        abort();
    sluice__event__pack(event, data);
    return data;
}

/* Numbers the event, keeps and publishes it. */
static void emit(struct events *events, Sluice__Event *event)
{
    const ProtobufCFieldDescriptor *body = reflect_body(&event->base);
    char topic[RENDER_TOPIC];
    assert(body && body->id < TOPICS);
    event->epoch = events->epoch;
    event->sequence = ++events->last;
    event->has_topic_sequence = 1;
    event->topic_sequence = ++events->topic[body->id];
    event->time = wall_us();
    struct kept *kept = &events->ring[event->sequence % events->capacity];
    free(kept->data);
    kept->data = pack(event, &kept->size);
    publish(events, render_topic(event, topic), kept->data, kept->size);
    zsocket_attend(&events->socket);
}

/* Welcomes and heartbeats tell where the stream stands and are no part of it. */
static void publish_marker(struct events *events, Sluice__Event__BodyCase which)
{
    Sluice__Event event = SLUICE__EVENT__INIT;
    Sluice__Marker marker = SLUICE__MARKER__INIT;
    char topic[RENDER_TOPIC], kind[] = "engine";
    marker.last = events->last;
    event.epoch = events->epoch;
    event.time = wall_us();
    event.source_kind = kind;
    event.body_case = which;
    event.welcome = &marker; /* one place for all of the union */
    size_t size;
    uint8_t *data = pack(&event, &size);
    publish(events, render_topic(&event, topic), data, size);
    free(data);
}

/* --- the socket --------------------------------------------------------------------------------
 */

static void overflow_closed(struct zsocket *socket)
{
    struct events *events = (struct events *)((char *)socket - offsetof(struct events, socket));
    events->subscriptions = 0;
    events->deaf_until = reactor_now(actor_reactor(events->self)) + NS_PER_S;
}

/* A subscriber's message: 1 or 0 for more or less, and the prefix. Whoever will see the welcome is
 * sent it. */
static void read_subscription(struct zsocket *socket)
{
    struct events *events = (struct events *)((char *)socket - offsetof(struct events, socket));
    char data[64];
    int size = zmq_recv(socket->socket, data, sizeof data, ZMQ_DONTWAIT);
    if (size < 1 || data[0] > 1) /* no subscription: nobody asked for it */
        return;
    if (data[0] == 0) {
        events->subscriptions -= events->subscriptions > 0;
        return;
    }
    if (++events->subscriptions > EVENTS_SUBSCRIPTIONS) {
        events->overflowed = true;
        zsocket_close(socket, overflow_closed);
        return;
    }
    size_t prefix = (size_t)size - 1;
    if (prefix <= strlen("WELCOME") && memcmp(data + 1, "WELCOME", prefix) == 0)
        publish_marker(events, SLUICE__EVENT__BODY_WELCOME);
}

static int listen_at(struct events *events, const char *endpoint, struct err *err)
{
    static const struct zsocket_option options[] = {
        {ZMQ_SNDHWM, EVENTS_QUEUE},
        {ZMQ_RCVHWM, 1000},
        {ZMQ_MAXMSGSIZE, 256}, /* a subscription is a prefix of a topic */
        {ZMQ_XPUB_VERBOSER,
         1}, /* every subscriber's subscriptions, so that each gets its welcome */
        {0, 0},
    };
    events->socket.readable = read_subscription;
    int ret = zsocket_open(&events->socket, actor_reactor(events->self), events->context, ZMQ_XPUB,
                           options, endpoint, err);
    if (!ret)
        snprintf(events->endpoint, sizeof events->endpoint, "%s", events->socket.endpoint.shown);
    return ret;
}

static void beat(struct timer *timer)
{
    struct events *events = (struct events *)((char *)timer - offsetof(struct events, heart));
    struct reactor *reactor = actor_reactor(events->self);
    /* libzmq frees the port in a thread of its own: hence a pause before it is taken again. */
    if (!events->socket.socket && events->overflowed && reactor_now(reactor) >= events->deaf_until)
        events->overflowed = listen_at(events, events->endpoint, NULL) != 0;
    publish_marker(events, SLUICE__EVENT__BODY_HEARTBEAT);
    zsocket_attend(&events->socket);
    timer_arm(reactor_timers(reactor), &events->heart, reactor_now(reactor) + NS_PER_S);
}

/* --- mail --------------------------------------------------------------------------------------
 */

static void on_open(struct actor *self, struct mail *mail)
{
    struct events *events = actor_state(self);
    const Sluice__EventsOpen *open = (Sluice__EventsOpen *)mail->body;
    struct err err = {0};
    events->context = (void *)(uintptr_t)open->context;
    events->capacity = open->kept ? open->kept : 1;
    events->ring = calloc(events->capacity, sizeof *events->ring);
    if (!events->ring)
        abort();
    if (*open->endpoint && listen_at(events, open->endpoint, &err)) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    if (events->socket.socket) {
        events->heart.fire = beat;
        timer_arm(reactor_timers(actor_reactor(self)), &events->heart,
                  reactor_now(actor_reactor(self)) + NS_PER_S);
    }
    Sluice__EndpointOpened *opened = MAIL_NEW(sluice__endpoint_opened);
    mail_set(&opened->endpoint, events->endpoint);
    actor_reply(self, mail_ticket(mail), MAIL_ENDPOINT_OPENED, opened);
}

static void on_emit(struct actor *self, struct mail *mail)
{
    struct events *events = actor_state(self);
    if (events->ring) /* an engine that failed to start may have something to tell all the same */
        emit(events, ((Sluice__Emit *)mail->body)->event);
}

/* Whether the asker must take a snapshot: numbers of another epoch, or no longer kept. A number
 * beyond the next one can only be of another epoch. */
static bool has_gap(const struct events *events, const Sluice__EventsSince *asked, uint64_t since)
{
    if (asked->has_epoch && asked->epoch != events->epoch)
        return true;
    return since < first_kept(events) || since > events->last + 1;
}

static Sluice__EventList *replay(struct events *events, const Sluice__EventsSince *asked)
{
    Sluice__EventList *list = MAIL_NEW(sluice__event_list);
    uint64_t since = asked->since ? asked->since : 1, first = first_kept(events);
    uint64_t count = asked->count < EVENTS_REPLAY ? asked->count : EVENTS_REPLAY;
    bool same_epoch = !asked->has_epoch || asked->epoch == events->epoch;
    list->epoch = events->epoch;
    list->last = events->last;
    list->first = first;
    list->has_gap = 1;
    list->gap = has_gap(events, asked, since);
    if (since < first)
        since = first;
    size_t bytes = 0;
    for (uint64_t n = since; same_epoch && n <= events->last && list->n_events < count; n++) {
        const struct kept *kept = &events->ring[n % events->capacity];
        bytes += kept->size;
        if (bytes > EVENTS_REPLAY_BYTES)
            break;
        *(Sluice__Event **)reflect_set(&list->base,
                                       reflect_field(list->base.descriptor, "events")) =
            sluice__event__unpack(NULL, kept->size, kept->data);
    }
    return list;
}

static void on_request(struct actor *self, struct mail *mail)
{
    struct events *events = actor_state(self);
    const Sluice__Request *request = (Sluice__Request *)mail->body;
    assert(request->body_case == SLUICE__REQUEST__BODY_EVENTS_SINCE && events->ring);
    Sluice__Reply *reply = MAIL_NEW(sluice__reply);
    reply->body_case = SLUICE__REPLY__BODY_EVENTS;
    reply->events = replay(events, request->events_since);
    actor_reply(self, mail_ticket(mail), MAIL_REPLY, reply);
}

/* What has been told up to this number, the sender finds when it looks now. */
static void on_snapshot(struct actor *self, struct mail *mail)
{
    struct events *events = actor_state(self);
    Sluice__Reply *reply = (Sluice__Reply *)mail->body;
    mail->body = NULL;
    assert(reply->body_case == SLUICE__REPLY__BODY_STATUS);
    reply->status->has_epoch = reply->status->has_sequence = 1;
    reply->status->epoch = events->epoch;
    reply->status->sequence = events->last;
    actor_reply(self, mail_ticket(mail), MAIL_REPLY, reply);
}

static void finish(struct events *events)
{
    actor_reply(events->self, events->close, MAIL_NONE, NULL);
    actor_stop(events->self);
}

static void all_closed(struct zsocket *socket)
{
    finish((struct events *)((char *)socket - offsetof(struct events, socket)));
}

static void on_close(struct actor *self, struct mail *mail)
{
    struct events *events = actor_state(self);
    events->close = mail_ticket(mail);
    if (events->ring) {
        Sluice__Event *event = MAIL_NEW(sluice__event);
        mail_set(&event->source_kind, "engine");
        event->body_case = SLUICE__EVENT__BODY_SHUTDOWN;
        event->shutdown = MAIL_NEW(sluice__marker);
        event->shutdown->last = events->last + 1; /* itself */
        emit(events, event);
        mail_free_body(event);
    }
    timer_cancel(reactor_timers(actor_reactor(self)), &events->heart);
    if (events->socket.closing)
        events->socket.closed = all_closed;
    else if (events->socket.socket)
        zsocket_close(&events->socket, all_closed);
    else
        finish(events);
}

static void events_init(struct actor *self)
{
    struct events *events = actor_state(self);
    events->self = self;
    events->epoch = wall_us();
}

static void events_fini(struct actor *self)
{
    struct events *events = actor_state(self);
    for (size_t i = 0; i < events->capacity; i++)
        free(events->ring[i].data);
    free(events->ring);
}

const struct actor_type events_type = {
    .name = "events",
    .size = sizeof(struct events),
    .init = events_init,
    .fini = events_fini,
    .handlers =
        {
            [MAIL_EVENTS_OPEN] = on_open,
            [MAIL_EMIT] = on_emit,
            [MAIL_REQUEST] = on_request,
            [MAIL_SNAPSHOT] = on_snapshot,
            [MAIL_CLOSE] = on_close,
        },
};
