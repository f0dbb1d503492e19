/* control_rig.h — for tests of control and events: an engine of one reactor that the test steps, an
 * actor that asks, and ZeroMQ clients that wait while the engine goes on. */
#ifndef CONTROL_RIG_H
#define CONTROL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "actors/kinds.h"
#include "engine/actor.h"
#include "engine/reactor.h"

#include "control_rig_engine.h"

static struct world rig_world;
static struct actor *tester;

static void rig_up(void)
{
    static const struct actor_type tester_type = {.name = "tester"};
    rig_engine_up(&rig_world);
    tester = actor_at(actor_spawn(NULL, &tester_type, "tester", 0));
}

static void rig_down(void)
{
    rig_engine_down();
}

static int64_t rig_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Steps until `*flag`; fails after 20 s. */
static void rig_until(const bool *flag)
{
    for (int64_t end = rig_ms() + 20000; !*flag;) {
        rig_step();
        if (rig_ms() > end)
            fail_msg("nothing has come for 20 s");
    }
}

static void rig_for(int64_t ms)
{
    for (int64_t end = rig_ms() + ms; rig_ms() < end;)
        rig_step();
}

/* --- asking from inside ------------------------------------------------------------------------
 */

struct rig_answer {
    bool came;
    unsigned kind;
    ProtobufCMessage *body;
    struct err err; /* of a fault */
};

static void rig_answered(struct actor *self, struct mail *mail, void *arg)
{
    struct rig_answer *answer = arg;
    (void)self;
    answer->came = true;
    answer->kind = mail->kind;
    if (mail_fault(mail)) {
        mail_fault_err(mail, &answer->err);
        return;
    }
    answer->body = mail->body;
    mail->body = NULL;
}

/* Asks and waits. The body of the answer is the caller's. */
static struct rig_answer rig_ask(actor_addr to, unsigned kind, void *body)
{
    struct rig_answer answer = {0};
    actor_ask(tester, to, kind, body, rig_answered, &answer);
    rig_until(&answer.came);
    return answer;
}

/* --- clients outside ---------------------------------------------------------------------------
 */

static void *rig_connect(void *context, int type, const char *endpoint)
{
    void *socket = zmq_socket(context, type);
    int none = 0;
    assert_non_null(socket);
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    if (type == ZMQ_SUB)
        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    return socket;
}

/* One frame, while the engine is stepped; -1 when none comes in time. */
static int rig_receive(void *socket, void *data, size_t size, int64_t ms)
{
    for (int64_t end = rig_ms() + ms;;) {
        int n = zmq_recv(socket, data, size, ZMQ_DONTWAIT);
        if (n >= 0)
            return n;
        if (rig_ms() > end)
            return -1;
        rig_step();
    }
}

#endif
