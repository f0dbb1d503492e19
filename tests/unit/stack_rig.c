#include "stack_rig.h"

#include <stdio.h>

#include "actors/control.h"
#include "actors/events.h"
#include "actors/graph.h"
#include "drivers/driver.h"
#include "engine/port.h"
#include "played_rig.h"
#include "proto/render.h"
#include "proto/words.h"

#define CLAIMS    16
#define MAX(a, b) ((a) > (b) ? (a) : (b))

static struct {
    struct claimed {
        char backend[64];
        actor_addr address;
        uint64_t claim;
    } claims[CLAIMS];
    size_t nclaims;
    uint64_t last_claim; /* its number: they count from 1 */
    uint64_t seed;
    struct engine *engine;
    struct port *port;
    struct world world;
    struct stack_news news;
    uint64_t *leaving; /* claims whose backends are about to move */
    size_t nleaving;
    unsigned moment, left;
    void **kept; /* bodies of answers */
    size_t nkept;
    char scratch[1 << 16];
    char story[1 << 16];
} stack;

static void *keep(void *body)
{
    if (!body)
        return NULL;
    stack.kept = realloc(stack.kept, (stack.nkept + 1) * sizeof *stack.kept);
    assert_non_null(stack.kept);
    return stack.kept[stack.nkept++] = body;
}

struct engine *stack_engine(void)
{
    return stack.engine;
}

const struct world *stack_world(void)
{
    return &stack.world;
}

struct port *stack_port(void)
{
    return stack.port;
}

const struct stack_news *stack_news(void)
{
    return &stack.news;
}

unsigned stack_moment(void)
{
    return stack.moment;
}

unsigned stack_actors(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < engine_threads(stack.engine); i++)
        n += reactor_stats(engine_reactor(stack.engine, i))->actors;
    return n;
}

/* --- Steps */

void stack_step(void)
{
    port_poll(stack.port);
    engine_step(stack.engine);
}

void stack_settle(void)
{
    port_poll(stack.port);
    do
        engine_settle(stack.engine);
    while (port_poll(stack.port));
}

void stack_pass(uint64_t ns)
{
    stack_settle();
    engine_advance(stack.engine, ns);
    stack_settle();
}

void stack_await(const struct stack_answer *answer)
{
    while (!answer->came)
        assert_true(port_wait(stack.port, UINT64_MAX));
}

void stack_await_op(const struct stack_op *op)
{
    while (!op->came)
        assert_true(port_wait(stack.port, UINT64_MAX));
}

/* --- Asking */

static void answered(struct port *port, struct mail *reply, void *arg)
{
    struct stack_answer *answer = arg;
    const Sluice__Fault *fault = mail_fault(reply);
    (void)port;
    assert_false(answer->came); /* once */
    answer->came = true;
    answer->at = ++stack.moment;
    answer->kind = reply->kind;
    if (fault) {
        answer->code = fault->code;
        snprintf(answer->text, sizeof answer->text, "%s", fault->text);
        snprintf(answer->field, sizeof answer->field, "%s", fault->field ? fault->field : "");
        return;
    }
    if (reply->kind == MAIL_CLAIMED)
        stack.last_claim = MAX(stack.last_claim, ((const Sluice__Claimed *)reply->body)->claim);
    answer->body = keep(reply->body);
    reply->body = NULL;
    const Sluice__Reply *said = answer->body;
    if (reply->kind == MAIL_REPLY && said->body_case == SLUICE__REPLY__BODY_ERROR) {
        const Sluice__Error *error = said->error;
        answer->code = -error->errno_value;
        answer->class = error->class_;
        snprintf(answer->text, sizeof answer->text, "%s", error->message);
        snprintf(answer->field, sizeof answer->field, "%s", error->field ? error->field : "");
        answer->body = NULL;
    }
}

void stack_ask(struct stack_answer *answer, actor_addr to, unsigned kind, void *body)
{
    *answer = (struct stack_answer){0};
    port_ask(stack.port, to, kind, body, answered, answer);
}

void stack_tell(actor_addr to, unsigned kind, void *body)
{
    port_tell(stack.port, to, kind, body);
}

static void send_words(struct stack_answer *answer, actor_addr to, const char *format, va_list args)
{
    char line[512];
    struct refusal refusal = {0};
    vsnprintf(line, sizeof line, format, args);
    Sluice__Request *request = words_request_line(line, &refusal);
    if (!request)
        fail_msg("%s: %s", line, refusal.text);
    stack_ask(answer, to, MAIL_REQUEST, request);
}

void stack_send(struct stack_answer *answer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    send_words(answer, stack.world.control, format, args);
    va_end(args);
}

void stack_send_graph(struct stack_answer *answer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    send_words(answer, stack.world.graph, format, args);
    va_end(args);
}

const Sluice__Reply *stack_do(const char *format, ...)
{
    struct stack_answer answer;
    va_list args;
    va_start(args, format);
    send_words(&answer, stack.world.control, format, args);
    va_end(args);
    stack_await(&answer);
    if (answer.code)
        fail_msg("%s", answer.text);
    return answer.body;
}

void stack_refused(int code, const char *text, const char *format, ...)
{
    struct stack_answer answer;
    va_list args;
    va_start(args, format);
    send_words(&answer, stack.world.control, format, args);
    va_end(args);
    stack_await(&answer);
    if (answer.code != code || !strstr(answer.text, text))
        fail_msg("%d \"%s\", but not %d \"%s\"", answer.code, answer.text, code, text);
}

void *stack_call(actor_addr to, unsigned kind, void *body)
{
    struct stack_answer answer;
    stack_ask(&answer, to, kind, body);
    stack_await(&answer);
    if (answer.code)
        fail_msg("%s", answer.text);
    return answer.body;
}

const char *stack_story(uint64_t since)
{
    const Sluice__EventList *list =
        stack_do("events-since since=%llu", (unsigned long long)since)->events;
    size_t used = 0;
    stack.story[0] = 0;
    for (size_t i = 0; i < list->n_events; i++) {
        char topic[RENDER_TOPIC];
        const Sluice__Event *event = list->events[i];
        if (event->body_case == SLUICE__EVENT__BODY_PERMISSION_CHANGED)
            continue;
        used += (size_t)snprintf(stack.story + used, sizeof stack.story - used, "%s%s %s",
                                 used ? ", " : "", render_topic(event, topic), event->source);
        assert_true(used < sizeof stack.story);
    }
    return stack.story;
}

/* --- A frontend */

void stack_claim(struct stack_answer *answer, const char *backend, unsigned perm, unsigned shared)
{
    Sluice__Claim *claim = MAIL_NEW(sluice__claim);
    mail_set(&claim->backend, backend);
    mail_set(&claim->name, "rig");
    claim->permissions = MAIL_NEW(sluice__permissions);
    claim->permissions->perm = perm;
    claim->permissions->shared = shared;
    stack_ask(answer, stack.world.graph, MAIL_CLAIM, claim);
}

void stack_claim_end(uint64_t claim)
{
    Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
    end->claim = claim;
    stack_call(stack.world.graph, MAIL_CLAIM_END, end);
}

actor_addr stack_find(const char *backend)
{
    static const unsigned perms[] = {PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE,
                                     PERM_CONSISTENT_READ};
    struct stack_answer answer = {.code = -EPERM};
    for (size_t i = 0; i < stack.nclaims; i++)
        if (!strcmp(stack.claims[i].backend, backend))
            return stack.claims[i].address;
    assert_true(stack.nclaims < CLAIMS);
    for (size_t i = 0; answer.code == -EPERM && i < 2; i++) {
        stack_claim(&answer, backend, perms[i], PERM_ALL);
        stack_await(&answer);
    }
    if (answer.code)
        fail_msg("%s", answer.text);
    const Sluice__Claimed *claimed = answer.body;
    struct claimed *kept = &stack.claims[stack.nclaims++];
    snprintf(kept->backend, sizeof kept->backend, "%s", backend);
    kept->address = claimed->address;
    kept->claim = claimed->claim;
    return kept->address;
}

actor_addr stack_backend(const char *node, const char *driver, const char *settings)
{
    stack_do("node-add name=%s %s", node, driver);
    stack_do("backend-add name=b node=%s %s", node, settings);
    return stack_find("b");
}

void stack_release(const char *backend)
{
    for (size_t i = 0; i < stack.nclaims; i++)
        if (!strcmp(stack.claims[i].backend, backend)) {
            stack_claim_end(stack.claims[i].claim);
            stack.claims[i] = stack.claims[--stack.nclaims];
            return;
        }
}

Sluice__SessionOpen *stack_session(uint32_t requests, uint64_t bytes)
{
    Sluice__SessionOpen *open = MAIL_NEW(sluice__session_open);
    open->requests = requests;
    open->bytes = bytes;
    open->has_watcher = true;
    open->watcher = port_address(stack.port);
    mail_set(&open->name, "rig");
    return open;
}

Sluice__SessionClose *stack_session_end(uint64_t session)
{
    Sluice__SessionClose *close = MAIL_NEW(sluice__session_close);
    close->session = session;
    return close;
}

/* --- Mail */

/* Each claim is told in turn. */
static void moving(const Sluice__Moving *moving)
{
    size_t i = 0;
    while (i < stack.nleaving && stack.leaving[i] != moving->claim)
        i++;
    assert_int_equal(i < stack.nleaving, moving->arrived);
    if (moving->arrived) {
        stack.leaving[i] = stack.leaving[--stack.nleaving];
    } else {
        stack.leaving = realloc(stack.leaving, (stack.nleaving + 1) * sizeof *stack.leaving);
        assert_non_null(stack.leaving);
        stack.leaving[stack.nleaving++] = moving->claim;
    }
    stack.news.moves += moving->arrived;
    stack.news.leaving = !moving->arrived;
    stack.news.reactor = moving->reactor;
}

static void on_mail(struct port *port, struct mail *mail, void *arg)
{
    (void)port;
    (void)arg;
    if (played_mail(mail))
        return;
    if (mail->kind == MAIL_MOVING) {
        moving((const void *)mail->body);
        return;
    }
    assert_int_equal(mail->kind, MAIL_BACKEND_CHANGED);
    const Sluice__BackendChanged *told = (const void *)mail->body;
    stack.news.count++;
    stack.news.at = ++stack.moment;
    stack.news.length = told->facts->length;
    stack.news.inserted = told->inserted;
}

static void op_ended(struct op *op, void *who)
{
    struct stack_op *noted = who;
    assert_false(noted->came); /* once */
    noted->came = true;
    noted->at = ++stack.moment;
    noted->ret = op->ret;
    op_free(op);
}

void stack_submit(struct stack_op *noted, actor_addr to, enum op_kind kind, int64_t offset,
                  uint64_t bytes, unsigned flags, void *data)
{
    struct op *op = op_new(port_peer(stack.port));
    *noted = (struct stack_op){.tag = op_tag(op)};
    op->kind = (uint8_t)kind;
    op->flags = (uint16_t)flags;
    op->holder = (uint8_t)(flags / STACK_HOLDER(1));
    op->offset = offset;
    op->bytes = bytes;
    op->niov = kind == OP_READ || kind == OP_WRITE || kind == OP_IOCTL || kind == OP_SAVE_VMSTATE ||
               kind == OP_LOAD_VMSTATE;
    op->one = (struct iovec){data ? data : stack.scratch, bytes};
    op->iov = &op->one;
    op_push(op, op_ended, noted);
    op_send(op, to);
}

void stack_plug(bool on)
{
    if (on)
        port_plug(stack.port);
    else
        port_unplug(stack.port);
}

int64_t stack_run(actor_addr to, enum op_kind kind, int64_t offset, uint64_t bytes, unsigned flags)
{
    struct stack_op op;
    stack_submit(&op, to, kind, offset, bytes, flags, NULL);
    stack_await_op(&op);
    return op.ret;
}

/* --- Seeds */

#define SEEDS 60

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

uint64_t stack_first_seed(void)
{
    return number("STACK_SEED", 0);
}

uint64_t stack_last_seed(void)
{
    return stack_first_seed() + number("STACK_SEEDS", getenv("STACK_SEED") ? 1 : SEEDS);
}

/* A test that failed has not stopped its engine. */
static void tell_failed(void)
{
    if (stack.engine)
        fprintf(stderr, "a test failed with seed %llu: STACK_SEED=%llu replays it\n",
                (unsigned long long)stack.seed, (unsigned long long)stack.seed);
}

/* --- Life */

static void start(unsigned threads, uint64_t seed, bool incoming)
{
    struct err err = {0};
    struct engine_options options = {.threads = threads,
                                     .bodies = mail_bodies,
                                     .nbodies = MAIL_COUNT,
                                     .world = &stack.world,
                                     .stepped = true,
                                     .seed = seed};
    stack.news = (struct stack_news){0};
    stack.nleaving = 0;
    played_start();
    static bool watched;
    if (!watched)
        atexit(tell_failed);
    watched = true;
    tell_failed();
    stack.seed = seed;
    stack.moment = stack.left = 0;
    stack.nclaims = stack.last_claim = 0;
    stack.engine = engine_new(&options, &err);
    if (!stack.engine)
        fail_msg("%s", err.text);
    stack.world.threads = threads;
    stack.world.incoming = incoming;
    stack.world.graph = engine_spawn(stack.engine, &graph_type, "graph", 0);
    stack.world.events =
        engine_spawn(stack.engine, &events_type, "events", (unsigned)seed % threads);
    stack.world.control = engine_spawn(stack.engine, &control_type, "control", threads - 1);
    stack.port = port_open(stack.engine, &err);
    if (!stack.port)
        fail_msg("%s", err.text);
    port_on_mail(stack.port, on_mail, NULL);

    Sluice__EventsOpen *events = MAIL_NEW(sluice__events_open);
    mail_set(&events->endpoint, "");
    events->kept = 4096;
    stack_call(stack.world.events, MAIL_EVENTS_OPEN, events);
    Sluice__ControlOpen *control = MAIL_NEW(sluice__control_open);
    mail_set(&control->endpoint, "");
    control->shutdown_fd = -1;
    stack_call(stack.world.control, MAIL_CONTROL_OPEN, control);
}

void stack_start(unsigned threads, uint64_t seed)
{
    start(threads, seed, false);
}

void stack_start_incoming(unsigned threads, uint64_t seed)
{
    start(threads, seed, true);
}

void stack_leaves(unsigned actors)
{
    stack.left = actors;
}

void stack_stop(void)
{
    struct stack_answer answer;
    const actor_addr all[] = {stack.world.graph, stack.world.control, stack.world.events};
    /* Of those that are ended, or of a graph that is gone, there is nothing to end. */
    while (stack.last_claim) {
        Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
        end->claim = stack.last_claim--;
        stack_ask(&answer, stack.world.graph, MAIL_CLAIM_END, end);
        stack_await(&answer);
    }
    for (unsigned i = 0; i < 3; i++) {
        Sluice__Shutdown *shutdown = i ? NULL : MAIL_NEW(sluice__shutdown);
        if (shutdown)
            shutdown->deadline = 30 * NS_PER_S;
        stack_ask(&answer, all[i], i ? MAIL_CLOSE : MAIL_SHUTDOWN, shutdown);
        stack_await(&answer);
        assert_true(answer.code == 0 || answer.code == -ENXIO);
    }
    stack_settle();
    assert_int_equal(stack_actors(), stack.left);
    port_close(&stack.port);
    engine_free(&stack.engine);
    while (stack.nkept)
        mail_free_body(stack.kept[--stack.nkept]);
    free(stack.kept);
    free(stack.leaving);
    stack.kept = NULL;
    stack.leaving = NULL;
}
