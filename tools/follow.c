#include "tools/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <json-c/json.h>

#include "proto/convert.h"
#include "proto/render.h"

#define SILENCE_S 5 /* heartbeats come once a second */

struct state {
    const struct follow *follow;
    uint64_t epoch; /* 0: not known yet */
    uint64_t next;  /* sequence number of the event to print next */
    uint64_t printed;
    bool ended; /* nothing follows */
    bool failed;
};

static void note(const char *text)
{
    fprintf(stderr, "sluice: %s\n", text);
}

static void fail(struct state *state, const char *text)
{
    note(text);
    state->failed = state->ended = true;
}

static void print_event(struct state *state, const Sluice__Event *event)
{
    if (state->follow->json) {
        struct json_object *object = convert_to_json(&event->base);
        puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(object);
    } else {
        render_event(stdout, event);
    }
    state->next = event->sequence + 1;
    if (++state->printed == state->follow->count)
        state->ended = true;
    if (state->follow->follow && event->body_case == SLUICE__EVENT__BODY_SHUTDOWN)
        state->ended = true;
}

/* --- replay ------------------------------------------------------------------------------------
 */

static Sluice__Reply *ask(struct state *state, uint32_t count)
{
    char error[CLIENT_ERROR];
    Sluice__Request request = SLUICE__REQUEST__INIT;
    Sluice__EventsSince since = SLUICE__EVENTS_SINCE__INIT;
    since.has_since = since.has_count = 1;
    since.since = state->next;
    since.count = count;
    since.has_epoch = state->epoch != 0;
    since.epoch = state->epoch;
    request.body_case = SLUICE__REQUEST__BODY_EVENTS_SINCE;
    request.events_since = &since;
    Sluice__Reply *reply = client_call(state->follow->client, &request, error);
    if (!reply) {
        fail(state, error);
        return NULL;
    }
    if (reply->body_case == SLUICE__REPLY__BODY_EVENTS)
        return reply;
    fail(state, reply->body_case == SLUICE__REPLY__BODY_ERROR
                    ? reply->error->message
                    : "the daemon replied something else");
    sluice__reply__free_unpacked(reply, NULL);
    return NULL;
}

/* The numbers that were asked for are gone, or of another start of the engine: goes on from what
 * there is, and says so. */
static void skip_gap(struct state *state, const Sluice__EventList *list)
{
    char text[200];
    if (state->epoch && list->epoch != state->epoch)
        snprintf(text, sizeof text, "the engine was started anew; its events count from 1 again");
    else if (state->next > list->last)
        snprintf(text, sizeof text,
                 "there is no event %" PRIu64 " yet (the newest is %" PRIu64
                 "); the engine was started anew?",
                 state->next, list->last);
    else
        snprintf(text, sizeof text, "events before %" PRIu64 " are no longer kept", list->first);
    note(text);
    state->epoch = list->epoch;
    state->next = state->next > list->last ? list->last + 1 : list->first;
}

/* What control gives must be of the same start of the same engine as what the subscription gives.
 */
static bool is_of_subscription(struct state *state, const Sluice__EventList *list)
{
    char text[CLIENT_ERROR];
    if (!state->follow->follow || list->epoch == state->epoch)
        return true;
    snprintf(text, sizeof text,
             "the events from %.200s are of another engine, or another start of it, than what the "
             "control endpoint answers; name both endpoints of one daemon with -s and -e",
             state->follow->events);
    fail(state, text);
    return false;
}

/* Prints the events from `next` up to `last` (or to the newest that there is), from the past. */
static void replay(struct state *state, uint64_t last)
{
    while (!state->ended && state->next <= last) {
        Sluice__Reply *reply = ask(state, 1000);
        if (!reply)
            return;
        const Sluice__EventList *list = reply->events;
        if (!is_of_subscription(state, list)) {
            sluice__reply__free_unpacked(reply, NULL);
            return;
        }
        if (list->gap)
            skip_gap(state, list);
        state->epoch = list->epoch;
        for (size_t i = 0; i < list->n_events && !state->ended; i++)
            if (list->events[i]->sequence == state->next && state->next <= last)
                print_event(state, list->events[i]);
        bool through = state->next > list->last;
        sluice__reply__free_unpacked(reply, NULL);
        if (through)
            return;
    }
}

/* --- following ---------------------------------------------------------------------------------
 */

static void take_event(struct state *state, const Sluice__Event *event)
{
    const Sluice__Marker *marker = event->body_case == SLUICE__EVENT__BODY_WELCOME ||
                                           event->body_case == SLUICE__EVENT__BODY_HEARTBEAT
                                       ? event->welcome
                                       : NULL;
    if (event->epoch != state->epoch) {
        note("the engine was started anew; its events count from 1 again");
        state->epoch = event->epoch;
        state->next = 1;
    }
    if (marker) {
        replay(state, marker->last);
        return;
    }
    if (event->sequence > state->next)
        replay(state, event->sequence - 1);
    /* What a replay could not give is gone: it has said so. */
    if (!state->ended && event->sequence >= state->next)
        print_event(state, event);
}

/* Waits for the marker that says: from here on the subscription works. */
static bool await_welcome(struct state *state, struct watch *watch)
{
    char error[CLIENT_ERROR], text[CLIENT_ERROR];
    int tries = CLIENT_CONNECT_MS / 100;
    while (tries > 0) {
        Sluice__Event *event = watch_next(watch, 100, error);
        if (!event && *error) {
            fail(state, error);
            return false;
        }
        if (!event) {
            tries--;
            continue;
        }
        bool welcome = event->body_case == SLUICE__EVENT__BODY_WELCOME;
        if (welcome) {
            state->epoch = event->epoch;
            if (!state->follow->since_given)
                state->next = event->welcome->last + 1;
            replay(state, event->welcome->last);
        }
        sluice__event__free_unpacked(event, NULL);
        if (welcome)
            return !state->ended;
    }
    snprintf(text, sizeof text,
             "no events come from %.300s; start sluiced, or name its endpoint with -e",
             state->follow->events);
    fail(state, text);
    return false;
}

static void listen_on(struct state *state, struct watch *watch)
{
    char error[CLIENT_ERROR];
    unsigned silent = 0;
    while (!state->ended) {
        Sluice__Event *event = watch_next(watch, 1000, error);
        if (event) {
            silent = 0;
            take_event(state, event);
            sluice__event__free_unpacked(event, NULL);
        } else if (*error) {
            fail(state, error);
        } else if (++silent == SILENCE_S) {
            note("the daemon is silent; waiting for it to come back");
        }
    }
}

int follow_run(const struct follow *follow)
{
    struct state state = {.follow = follow, .next = follow->since ? follow->since : 1};
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (follow->follow) {
        struct watch *watch = watch_new(follow->events);
        if (await_welcome(&state, watch))
            listen_on(&state, watch);
        watch_free(&watch);
    } else {
        replay(&state, UINT64_MAX);
    }
    if (fflush(stdout))
        state.failed = true;
    return state.failed ? 1 : 0;
}
