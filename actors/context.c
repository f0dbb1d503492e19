/* context.c — an embedding thread's contexts, and control requests from them. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/context.h"
#include "actors/control.h"
#include "engine/clock.h"
#include "engine/mem.h"
#include "proto/check.h"
#include "proto/convert.h"
#include "proto/words.h"

/* --- Life */

/* Callbacks don't run amid the taking of a frame: they tell of it later. */
static void note(blk_context *context, struct mail *mail)
{
    struct note **at = &context->notes, *note = MEM_NEW(struct note);
    *note = (struct note){
        .kind = mail->kind, .from = mail->from, .ticket = mail_ticket(mail), .body = mail->body};
    mail->body = NULL;
    while (*at)
        at = &(*at)->next;
    *at = note;
}

static void tell_news(const blk_context *context, const struct note *note)
{
    const Sluice__MediumNews *news = note->body;
    for (struct blk *blk = context->blks; blk; blk = blk->next)
        if (blk->backend == note->from && blk->session == news->session) {
            blk_medium_news(blk, news);
            return;
        }
}

static void tell_note(blk_context *context, struct note *note)
{
    if (note->kind == MAIL_DEVICE_CALL) {
        blk_dev_called(context, note);
        return;
    }
    if (note->kind == MAIL_MEDIUM_NEWS) {
        tell_news(context, note);
        return;
    }
    const Sluice__Moving *moving = note->body;
    for (struct blk *blk = context->blks; blk; blk = blk->next)
        if (blk->claim == moving->claim) {
            blk_moving(blk, moving);
            return;
        }
}

static bool run_note(blk_context *context)
{
    struct note *note = context->notes;
    if (!note)
        return false;
    context->notes = note->next;
    context->running++;
    tell_note(context, note);
    context->running--;
    context->ran++;
    mail_free_body(note->body);
    free(note);
    return true;
}

static void on_mail(struct port *port, struct mail *mail, void *arg)
{
    blk_context *context = arg;
    (void)port;
    if (mail->kind == MAIL_MOVING || mail->kind == MAIL_DEVICE_CALL ||
        mail->kind == MAIL_MEDIUM_NEWS) {
        note(context, mail);
        return;
    }
    for (struct blk *blk = context->blks; blk; blk = blk->next) {
        if (blk->backend != mail->from)
            continue;
        if (mail->kind == MAIL_BACKEND_CHANGED) {
            blk_changed(blk, (const Sluice__BackendChanged *)mail->body);
        } else if (mail->kind == MAIL_SESSION_QUIET &&
                   blk->session == ((Sluice__SessionQuiet *)mail->body)->session) {
            blk->quiet_asked = true;
            blk_tell_calm(blk);
        }
    }
}

int blk_context_open(sluice *engine, unsigned depth, blk_context **out, char **error)
{
    struct err err = {0};
    *out = NULL;
    if (depth > CONTEXT_DEPTH_MAX)
        err_set(&err, -EINVAL, "a context of depth %u was asked for; %d is the most", depth,
                CONTEXT_DEPTH_MAX);
    struct port *port = err.code ? NULL : port_open(engine->engine, &err);
    if (!port)
        return context_error(error, err.code, err.text);
    blk_context *context = MEM_NEW(struct blk_context);
    context->sluice = engine;
    context->port = port;
    context->depth = depth ? depth : CONTEXT_DEPTH;
    op_queue_init(&context->ended);
    port_on_mail(port, on_mail, context);
    *out = context;
    return context_error(error, 0, NULL);
}

/* Before anything waits: for requests that wait for the end of one. */
static void end_regions(blk_context *context)
{
    while (context->regions)
        region_end(context, &context->regions);
    for (struct blk *blk = context->blks; blk;)
        if (blk->regions) {
            region_end(context, &blk->regions);
            blk = context->blks; /* callbacks have run */
        } else {
            blk = blk->next;
        }
}

void blk_context_close(blk_context **self)
{
    blk_context *context = *self;
    if (!context)
        return;
    assert(!context->running); /* the callback that closes it would return into nothing */
    end_regions(context);
    while (context->blks) {
        struct blk *blk = context->blks;
        blk->references = 1; /* whoever had others has no context any more */
        blk_close(&blk);
    }
    end_regions(context);       /* that callbacks have begun meanwhile */
    while (run_note(context)) { /* nobody is left who would be called, but somebody may wait */
    }
    *self = NULL;
    port_close(&context->port);
    free(context);
}

/* --- Callbacks */

/* Those that have ended by now: a callback that submits what fails at once can't keep this going.
 * One that waits for others runs some of them inside itself. */
static void run_ended(blk_context *context)
{
    while (run_note(context)) {
    }
    for (size_t n = context->ended.count; n && context->ended.head; n--) {
        context->outstanding--;
        context->running++;
        blk_run_done(op_dequeue(&context->ended));
        context->running--;
        context->ran++;
    }
    port_flush(context->port);
}

unsigned blk_poll(blk_context *context)
{
    uint64_t before = context->ran;
    port_poll(context->port);
    run_ended(context);
    return (unsigned)(context->ran - before);
}

void blk_io_plug(blk_context *context)
{
    if (context->plugged++ == 0)
        port_plug(context->port);
}

void blk_io_unplug(blk_context *context)
{
    if (context->plugged && --context->plugged == 0)
        port_unplug(context->port);
}

unsigned context_wait_begin(blk_context *context)
{
    unsigned plugged = context->plugged;
    context->plugged = 0;
    port_unplug(context->port);
    return plugged;
}

void context_wait_end(blk_context *context, unsigned plugged)
{
    context->plugged += plugged;
    if (context->plugged)
        port_plug(context->port);
}

unsigned blk_wait(blk_context *context, int timeout_ms)
{
    unsigned plugged = context_wait_begin(context);
    const struct engine *engine = context->sluice->engine;
    uint64_t before = context->ran, now = 0, end = UINT64_MAX;
    blk_poll(context);
    if (context->ran == before && timeout_ms >= 0) {
        now = engine_now(engine);
        end = now + (uint64_t)timeout_ms * NS_PER_MS;
    }
    while (context->ran == before && now < end) {
        port_wait(context->port, end == UINT64_MAX ? end : end - now); /* wakes for mail too */
        run_ended(context);
        if (end != UINT64_MAX)
            now = engine_now(engine);
    }
    context_wait_end(context, plugged);
    return (unsigned)(context->ran - before);
}

int blk_context_fd(const blk_context *context)
{
    return port_fd(context->port);
}

bool blk_arm(blk_context *context)
{
    return !context->ended.head && !context->notes && port_arm(context->port);
}

/* --- Waiting for answers */

struct context_answer {
    bool came;
    context_take_fn *take;
    void *arg;
    void *body;
    struct err *err;
    int code;
};

static void answered(struct port *port, struct mail *reply, void *arg)
{
    struct context_answer *answer = arg;
    const Sluice__Fault *fault = mail_fault(reply);
    (void)port;
    answer->came = true;
    answer->code = fault ? fault->code : 0;
    if (fault) {
        if (answer->err)
            mail_fault_err(reply, answer->err);
        return;
    }
    if (answer->take)
        answer->take(reply->body, answer->arg);
    answer->body = reply->body;
    reply->body = NULL;
}

static void await_answer(blk_context *context, actor_addr to, unsigned kind, void *body,
                         struct context_answer *answer)
{
    unsigned plugged = context_wait_begin(context);
    port_ask(context->port, to, kind, body, answered, answer);
    while (!answer->came) {
        port_wait(context->port, UINT64_MAX);
        run_ended(context);
    }
    context_wait_end(context, plugged);
}

int context_call(blk_context *context, actor_addr to, unsigned kind, void *body, void **reply,
                 struct err *err)
{
    struct context_answer answer = {.err = err};
    await_answer(context, to, kind, body, &answer);
    assert(answer.code <= 0);
    if (reply && answer.code == 0)
        *reply = answer.body;
    else
        mail_free_body(answer.body);
    return answer.code;
}

int context_call_take(blk_context *context, actor_addr to, unsigned kind, void *body,
                      context_take_fn *take, void *arg, struct err *err)
{
    struct context_answer answer = {.take = take, .arg = arg, .err = err};
    await_answer(context, to, kind, body, &answer);
    mail_free_body(answer.body);
    return answer.code;
}

/* --- Drained regions */

int region_begin(blk_context *context, struct held_region **list, Sluice__Drain *drain)
{
    void *reply = NULL;
    int ret = context_call(context, context->sluice->world.graph, MAIL_DRAIN, drain, &reply, NULL);
    if (ret < 0)
        return ret;
    struct held_region *region = MEM_NEW(struct held_region);
    region->id = ((const Sluice__Drained *)reply)->region;
    region->next = *list;
    *list = region;
    mail_free_body(reply);
    return 0;
}

int region_end(blk_context *context, struct held_region **at)
{
    struct held_region *region = *at;
    *at = region->next;
    Sluice__RegionEnd *end = MAIL_NEW(sluice__region_end);
    end->region = region->id;
    free(region->node);
    free(region);
    return context_call(context, context->sluice->world.graph, MAIL_REGION_END, end, NULL, NULL);
}

int blk_node_drain_begin(blk_context *context, const char *node)
{
    Sluice__Drain *drain = MAIL_NEW(sluice__drain);
    mail_set(&drain->node, node);
    int ret = region_begin(context, &context->regions, drain);
    if (ret == 0)
        context->regions->node = mem_string(node);
    return ret;
}

int blk_node_drain_end(blk_context *context, const char *node)
{
    struct held_region **at = &context->regions;
    while (*at && strcmp((*at)->node, node) != 0)
        at = &(*at)->next;
    return *at ? region_end(context, at) : -EINVAL;
}

int blk_drain_all_begin(blk_context *context)
{
    int ret = region_begin(context, &context->regions, MAIL_NEW(sluice__drain));
    if (ret == 0)
        context->regions->node = mem_string("");
    return ret;
}

int blk_drain_all_end(blk_context *context)
{
    return blk_node_drain_end(context, "");
}

/* --- Control requests */

static int ask_control(blk_context *context, Sluice__Request *request, Sluice__Reply **reply,
                       struct err *err)
{
    return context_call(context, context->sluice->world.control, MAIL_REQUEST, request,
                        (void **)reply, err);
}

int sluice_request(blk_context *context, const char *text, char **out, char **error)
{
    struct refusal refusal = {0};
    struct err err = {0};
    if (out)
        *out = NULL;
    Sluice__Request *request = words_request_line(text, &refusal);
    if (!request)
        return context_error(error, -EINVAL, refusal.text);
    Sluice__Reply *reply = NULL;
    int ret = ask_control(context, request, &reply, &err);
    if (ret < 0)
        return context_error(error, ret, err.text);
    if (reply->body_case == SLUICE__REPLY__BODY_ERROR) {
        ret = reply->error->errno_value ? -reply->error->errno_value : -EIO;
        context_error(error, ret, reply->error->message);
    } else {
        context_error(error, 0, NULL);
        if (out)
            *out = convert_reply(reply);
    }
    mail_free_body(reply);
    return ret;
}

int sluice_request_packed(blk_context *context, const void *data, size_t size, void **out,
                          size_t *out_size)
{
    struct err err = {0};
    Sluice__Request *request;
    *out = NULL;
    *out_size = 0;
    Sluice__Reply *reply = control_unpack(data, size, &request);
    if (reply) {
        reply->has_id = 1;
        reply->id = check_request_id(data, size);
    } else {
        int ret = ask_control(context, request, &reply, &err);
        if (ret < 0)
            return ret;
    }
    *out_size = sluice__reply__get_packed_size(reply);
    *out = mem_new(*out_size);
    sluice__reply__pack(reply, *out);
    mail_free_body(reply);
    return 0;
}
