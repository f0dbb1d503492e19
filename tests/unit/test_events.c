/* The events actor: numbers, replay, gaps, snapshots, and what subscribers see. */
#include "socket_rig.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "actors/events.h"
#include "actors/zsocket.h"
#include "proto/check.h"

static void *context;
static actor_addr events;
static char endpoint[ENDPOINT_TEXT];

static void open_events(const char *at, unsigned kept)
{
    Sluice__EventsOpen *open = MAIL_NEW(sluice__events_open);
    rig_up();
    context = zmq_ctx_new();
    events = rig_spawn(&events_type, "events");
    mail_set(&open->endpoint, at);
    open->context = (uintptr_t)context;
    open->kept = kept;
    struct rig_answer answer = rig_ask(events, MAIL_EVENTS_OPEN, open);
    assert_int_equal(answer.kind, MAIL_ENDPOINT_OPENED);
    strcpy(endpoint, ((Sluice__EndpointOpened *)answer.body)->endpoint);
}

static void close_events(void)
{
    struct rig_answer answer = rig_ask(events, MAIL_CLOSE, NULL);
    assert_int_equal(answer.kind, MAIL_NONE);
    rig_for(10);
    rig_down();
    zmq_ctx_term(context);
}

static void emit(const char *node, bool added)
{
    Sluice__Emit *emit = MAIL_NEW(sluice__emit);
    Sluice__NodeEvent *body = MAIL_NEW(sluice__node_event);
    emit->event = MAIL_NEW(sluice__event);
    mail_set(&body->node, node);
    mail_set(&body->driver, "null");
    emit->event->body_case =
        added ? SLUICE__EVENT__BODY_NODE_ADDED : SLUICE__EVENT__BODY_NODE_DELETED;
    emit->event->node_added = body;
    rig_tell(events, MAIL_EMIT, emit);
}

static void emit_many(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        emit("n", true);
        if (i % 8 == 7)
            rig_run();
    }
    rig_run();
}

static Sluice__Reply *since(uint64_t number, uint32_t count, uint64_t epoch)
{
    Sluice__Request *request = MAIL_NEW(sluice__request);
    request->body_case = SLUICE__REQUEST__BODY_EVENTS_SINCE;
    request->events_since = MAIL_NEW(sluice__events_since);
    request->events_since->has_since = request->events_since->has_count = 1;
    request->events_since->since = number;
    request->events_since->count = count;
    request->events_since->has_epoch = epoch != 0;
    request->events_since->epoch = epoch;
    struct rig_answer answer = rig_ask(events, MAIL_REQUEST, request);
    assert_int_equal(answer.kind, MAIL_REPLY);
    Sluice__Reply *reply = (Sluice__Reply *)answer.body;
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_EVENTS);
    return reply;
}

/* What a replay holds: its first number and how many, without holes, and whether it tells a gap. */
static void replays(uint64_t number, uint32_t count, uint64_t epoch, uint64_t first, size_t n,
                    bool gap)
{
    Sluice__Reply *reply = since(number, count, epoch);
    assert_int_equal(reply->events->gap, gap);
    assert_int_equal(reply->events->n_events, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(reply->events->events[i]->sequence, first + i);
}

static void events_are_numbered_without_gaps_and_by_topic(void **state)
{
    (void)state;
    open_events("", 100);
    emit("a", true);
    emit("a", false);
    emit("b", true);
    Sluice__Reply *reply = since(1, 1000, 0);
    Sluice__EventList *list = reply->events;
    static const unsigned topic[] = {1, 1, 2};
    assert_int_equal(list->n_events, 3);
    assert_int_equal(list->first, 1);
    assert_int_equal(list->last, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(list->events[i]->sequence, i + 1);
        assert_int_equal(list->events[i]->topic_sequence, topic[i]);
        assert_int_equal(list->events[i]->epoch, list->epoch);
        /* In microseconds since 1970; the wall clock may be set meanwhile, but not by a day. */
        assert_true(list->events[i]->time / 1000000 + 86400 > (uint64_t)time(NULL));
        assert_true(list->events[i]->time / 1000000 < (uint64_t)time(NULL) + 86400);
    }
    assert_string_equal(list->events[2]->node_added->node, "b");
    close_events();
}

static void a_replay_starts_where_asked_and_is_bounded(void **state)
{
    (void)state;
    open_events("", 5000);
    replays(1, 1000, 0, 0, 0, false);
    emit_many(2500);
    replays(1, 1000, 0, 1, 1000, false);
    replays(0, 1000, 0, 1, 1000, false);
    replays(1, 100000, 0, 1, EVENTS_REPLAY, false);
    replays(2001, 1000, 0, 2001, 500, false);
    replays(2500, 1000, 0, 2500, 1, false);
    replays(2501, 1000, 0, 0, 0, false);
    replays(100, 3, 0, 100, 3, false);
    replays(100, 0, 0, 0, 0, false);
    close_events();
}

static void a_reply_stays_under_a_mebibyte(void **state)
{
    (void)state;
    open_events("", 5000);
    char *name = calloc(1, 10001);
    memset(name, 'x', 10000);
    for (unsigned i = 0; i < 300; i++)
        emit(name, true);
    rig_for(50);
    Sluice__Reply *reply = since(1, 1000, 0);
    assert_true(sluice__reply__get_packed_size(reply) < 1 << 20);
    assert_true(reply->events->n_events > 90 && reply->events->n_events < 105);
    free(name);
    close_events();
}

static void what_is_no_longer_kept_or_of_another_epoch_is_a_gap(void **state)
{
    (void)state;
    open_events("", 10);
    emit_many(25);
    Sluice__Reply *reply = since(20, 10, 0);
    uint64_t epoch = reply->events->epoch;
    assert_int_equal(reply->events->first, 16);
    replays(16, 1000, 0, 16, 10, false);
    replays(16, 1000, epoch, 16, 10, false);
    replays(15, 1000, epoch, 16, 10, true);
    replays(1, 1000, 0, 16, 10, true);
    replays(16, 1000, epoch + 1, 0, 0, true);
    replays(26, 1000, epoch, 0, 0, false);
    replays(27, 1000, 0, 0, 0, true);
    close_events();
}

static void a_snapshot_is_stamped_with_the_number_it_is_true_at(void **state)
{
    (void)state;
    open_events("", 10);
    emit("a", true);
    emit("b", true);
    Sluice__Reply *status = MAIL_NEW(sluice__reply);
    status->body_case = SLUICE__REPLY__BODY_STATUS;
    status->status = MAIL_NEW(sluice__status);
    status->status->has_uptime = 1;
    status->status->uptime = 77;
    struct rig_answer answer;
    rig_post(&answer, events, MAIL_SNAPSHOT, status);
    emit("c", true); /* after it */
    rig_until(&answer.came);
    assert_int_equal(answer.kind, MAIL_REPLY);
    const Sluice__Status *stamped = ((Sluice__Reply *)answer.body)->status;
    assert_int_equal(stamped->sequence, 2);
    assert_int_equal(stamped->uptime, 77);
    assert_true(stamped->epoch > 0);
    close_events();
}

static Sluice__Event *next_event(void *subscriber, char topic[64], int64_t ms)
{
    static uint8_t data[8000];
    int n = rig_receive(subscriber, topic, 63, ms);
    if (n < 0)
        return NULL;
    topic[n] = '\0';
    n = rig_receive(subscriber, data, sizeof data, 1000);
    assert_true(n > 0 && n <= (int)sizeof data);
    Sluice__Event *event =
        check_unpack(&sluice__event__descriptor, data, (size_t)n, CHECK_CLIENT, NULL);
    assert_non_null(event);
    return event;
}

/* The next message has this topic, and this sequence number. */
static void expect(void *subscriber, const char *topic, uint64_t sequence)
{
    char got[64];
    Sluice__Event *event;
    for (;;) {
        event = next_event(subscriber, got, 5000);
        assert_non_null(event);
        if (strcmp(got, "HEARTBEAT") != 0 || strcmp(topic, got) == 0)
            break;
        sluice__event__free_unpacked(event, NULL);
    }
    assert_string_equal(got, topic);
    assert_int_equal(event->sequence, sequence);
    sluice__event__free_unpacked(event, NULL);
}

static void a_subscriber_is_welcomed_and_sees_all_that_follows(void **state)
{
    (void)state;
    open_events("tcp://127.0.0.1:*", 100);
    emit("before", true);
    rig_run();
    void *subscriber = rig_connect(context, ZMQ_SUB, endpoint);
    char topic[64];
    Sluice__Event *event = next_event(subscriber, topic, 5000);
    assert_string_equal(topic, "WELCOME");
    assert_int_equal(event->sequence, 0);
    assert_int_equal(event->welcome->last, 1);
    sluice__event__free_unpacked(event, NULL);
    emit("a", true);
    emit("a", false);
    expect(subscriber, "NODE_ADDED", 2);
    expect(subscriber, "NODE_DELETED", 3);
    zmq_close(subscriber);
    close_events();
}

static void every_subscriber_is_welcomed(void **state)
{
    (void)state;
    open_events("tcp://127.0.0.1:*", 100);
    void *first = rig_connect(context, ZMQ_SUB, endpoint);
    expect(first, "WELCOME", 0);
    void *second = rig_connect(context, ZMQ_SUB, endpoint);
    expect(second, "WELCOME", 0);
    void *third = zmq_socket(context, ZMQ_SUB);
    zmq_setsockopt(third, ZMQ_SUBSCRIBE, "WELCOME", 7);
    zmq_setsockopt(third, ZMQ_SUBSCRIBE, "NODE_DEL", 8);
    assert_int_equal(zmq_connect(third, endpoint), 0);
    expect(third, "WELCOME", 0);
    rig_for(50);
    emit("a", true);
    emit("a", false);
    expect(third, "NODE_DELETED", 2);
    zmq_close(first);
    zmq_close(second);
    zmq_close(third);
    close_events();
}

static void heartbeats_tell_the_last_number(void **state)
{
    (void)state;
    open_events("tcp://127.0.0.1:*", 100);
    void *subscriber = rig_connect(context, ZMQ_SUB, endpoint);
    expect(subscriber, "WELCOME", 0);
    emit("a", true);
    emit("b", true);
    expect(subscriber, "NODE_ADDED", 1);
    expect(subscriber, "NODE_ADDED", 2);
    for (unsigned i = 0; i < 2; i++) {
        char topic[64];
        rig_advance(NS_PER_S - 1);
        assert_null(next_event(subscriber, topic, 50));
        rig_advance(1);
        Sluice__Event *event = next_event(subscriber, topic, 3000);
        assert_non_null(event);
        assert_string_equal(topic, "HEARTBEAT");
        assert_int_equal(event->sequence, 0);
        assert_int_equal(event->heartbeat->last, 2);
        sluice__event__free_unpacked(event, NULL);
    }
    zmq_close(subscriber);
    close_events();
}

static void a_slow_subscriber_holds_up_nobody_and_can_replay(void **state)
{
    (void)state;
    open_events("tcp://127.0.0.1:*", 65536);
    void *slow = zmq_socket(context, ZMQ_SUB);
    int one = 1, small = 4096;
    zmq_setsockopt(slow, ZMQ_RCVHWM, &one, sizeof one);
    zmq_setsockopt(slow, ZMQ_RCVBUF, &small, sizeof small);
    zmq_setsockopt(slow, ZMQ_SUBSCRIBE, "", 0);
    assert_int_equal(zmq_connect(slow, endpoint), 0);
    expect(slow, "WELCOME", 0);
    char name[4001];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    int64_t start = rig_ms();
    for (unsigned i = 0; i < 2 * EVENTS_QUEUE; i++) {
        emit(name, true);
        rig_run();
    }
    replays(2 * EVENTS_QUEUE, 1, 0, 2 * EVENTS_QUEUE, 1, false);
    assert_true(rig_ms() - start < 15000);
    /* It sees less than all, and a number that is skipped: the end, or something before it. */
    uint64_t last = 0, seen = 0;
    char topic[64];
    for (Sluice__Event *event; (event = next_event(slow, topic, 300));) {
        assert_true(event->sequence == 0 || event->sequence > last);
        if (event->sequence) {
            last = event->sequence;
            seen++;
        }
        sluice__event__free_unpacked(event, NULL);
        if (seen && strcmp(topic, "HEARTBEAT") == 0)
            break;
    }
    assert_in_range(seen, 1, 2 * EVENTS_QUEUE - 1);
    replays(1000, 10, 0, 1000, 10, false);
    zmq_close(slow);
    close_events();
}

static void shutdown_is_the_last_event(void **state)
{
    (void)state;
    open_events("tcp://127.0.0.1:*", 100);
    void *subscriber = rig_connect(context, ZMQ_SUB, endpoint);
    expect(subscriber, "WELCOME", 0);
    emit("a", true);
    struct rig_answer answer = rig_ask(events, MAIL_CLOSE, NULL);
    assert_int_equal(answer.kind, MAIL_NONE);
    expect(subscriber, "NODE_ADDED", 1);
    expect(subscriber, "SHUTDOWN", 2);
    zmq_close(subscriber);
    rig_down();
    zmq_ctx_term(context);
}

static void an_endpoint_that_cant_be_had_is_told(void **state)
{
    (void)state;
    Sluice__EventsOpen *open = MAIL_NEW(sluice__events_open);
    rig_up();
    context = zmq_ctx_new();
    events = rig_spawn(&events_type, "events");
    mail_set(&open->endpoint, "tcp://0.0.0.0:1");
    open->context = (uintptr_t)context;
    open->kept = 1;
    struct rig_answer answer = rig_ask(events, MAIL_EVENTS_OPEN, open);
    assert_int_equal(answer.kind, MAIL_FAULT);
    assert_int_equal(answer.err.code, -EACCES);
    assert_non_null(strstr(answer.err.text, "can't listen at tcp://0.0.0.0:1"));
    close_events();
}

static void too_many_subscriptions_are_dropped_and_others_served(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "ipc:///tmp/sluice-test-events-%ld", (long)getpid());
    open_events(path, 100);
    void *greedy = zmq_socket(context, ZMQ_SUB);
    int none = 0;
    zmq_setsockopt(greedy, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(greedy, ZMQ_LINGER, &none, sizeof none);
    assert_int_equal(zmq_connect(greedy, endpoint), 0);
    /* It learns that it is cut off. */
    zmq_socket_monitor(greedy, "inproc://greedy", ZMQ_EVENT_DISCONNECTED);
    void *monitor = rig_connect(context, ZMQ_PAIR, "inproc://greedy");
    for (unsigned i = 0; i < EVENTS_SUBSCRIPTIONS + 10; i++) {
        char prefix[16];
        int length = snprintf(prefix, sizeof prefix, "%u", i);
        zmq_setsockopt(greedy, ZMQ_SUBSCRIBE, prefix, (size_t)length);
        if (i % 64 == 0)
            rig_run();
    }
    char data[64];
    assert_true(rig_receive(monitor, data, sizeof data, 5000) > 0);
    zmq_close(monitor);
    zmq_close(greedy);
    rig_for(200); /* libzmq gives the endpoint back in a thread of its own */
    rig_advance(2 * NS_PER_S);
    void *subscriber = rig_connect(context, ZMQ_SUB, endpoint);
    expect(subscriber, "WELCOME", 0);
    emit("a", true);
    expect(subscriber, "NODE_ADDED", 1);
    zmq_close(subscriber);
    close_events();
}

static void subscriptions_that_ended_do_not_count(void **state)
{
    (void)state;
    open_events("tcp://127.0.0.1:*", 100);
    void *holder = rig_connect(context, ZMQ_SUB, endpoint);
    zmq_setsockopt(holder, ZMQ_SUBSCRIBE, "x", 1);
    zmq_socket_monitor(holder, "inproc://holder", ZMQ_EVENT_DISCONNECTED);
    void *monitor = rig_connect(context, ZMQ_PAIR, "inproc://holder");
    expect(holder, "WELCOME", 0);
    void *restless = zmq_socket(context, ZMQ_SUB);
    int none = 0;
    zmq_setsockopt(restless, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(restless, ZMQ_LINGER, &none, sizeof none);
    assert_int_equal(zmq_connect(restless, endpoint), 0);
    for (unsigned i = 0; i < EVENTS_SUBSCRIPTIONS + 10; i++) {
        zmq_setsockopt(restless, ZMQ_SUBSCRIBE, "x", 1);
        zmq_setsockopt(restless, ZMQ_UNSUBSCRIBE, "x", 1);
        if (i % 64 == 0)
            rig_run();
    }
    zmq_setsockopt(restless, ZMQ_SUBSCRIBE, "NODE", 4);
    rig_for(300);
    emit("a", true);
    expect(holder, "NODE_ADDED", 1);
    expect(restless, "NODE_ADDED", 1);
    char data[64];
    assert_int_equal(rig_receive(monitor, data, sizeof data, 100), -1);
    zmq_close(monitor);
    zmq_close(holder);
    zmq_close(restless);
    close_events();
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_numbered_without_gaps_and_by_topic),
        cmocka_unit_test(a_replay_starts_where_asked_and_is_bounded),
        cmocka_unit_test(a_reply_stays_under_a_mebibyte),
        cmocka_unit_test(what_is_no_longer_kept_or_of_another_epoch_is_a_gap),
        cmocka_unit_test(a_snapshot_is_stamped_with_the_number_it_is_true_at),
        cmocka_unit_test(a_subscriber_is_welcomed_and_sees_all_that_follows),
        cmocka_unit_test(every_subscriber_is_welcomed),
        cmocka_unit_test(heartbeats_tell_the_last_number),
        cmocka_unit_test(a_slow_subscriber_holds_up_nobody_and_can_replay),
        cmocka_unit_test(shutdown_is_the_last_event),
        cmocka_unit_test(an_endpoint_that_cant_be_had_is_told),
        cmocka_unit_test(too_many_subscriptions_are_dropped_and_others_served),
        cmocka_unit_test(subscriptions_that_ended_do_not_count),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
