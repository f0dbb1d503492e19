#include "control_rig.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/events.h"
#include "drivers/driver.h"
#include "proto/check.h"
#include "proto/words.h"

struct control_rig control;

/* --- The graph: keeps what it is asked until it is told to answer */

static void graph_init(struct actor *self)
{
    control.graph.self = self;
}

static void answer_one(void *arg)
{
    unsigned i = *(unsigned *)arg;
    Sluice__Reply *reply = MAIL_NEW(sluice__reply);
    reply->body_case = SLUICE__REPLY__BODY_NODE;
    reply->node = MAIL_NEW(sluice__node_info);
    char name[32];
    snprintf(name, sizeof name, "answer%u", control.graph.asked);
    mail_set(&reply->node->name, name);
    mail_set(&reply->node->driver, "null");
    actor_reply(control.graph.self, control.graph.held[i], MAIL_REPLY, reply);
}

static void graph_request(struct actor *self, struct mail *mail)
{
    const Sluice__Request *request = (Sluice__Request *)mail->body;
    control.graph.asked++;
    if (control.graph.fault) {
        struct err err;
        err_field(&err, "name", control.graph.fault, "refused by the graph");
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    control.graph.ids[control.graph.nheld] = request->id;
    control.graph.held[control.graph.nheld] = mail_ticket(mail);
    if (!control.graph.hold)
        answer_one(&control.graph.nheld);
    control.graph.nheld++;
}

static void graph_claim(struct actor *self, struct mail *mail)
{
    const Sluice__Claim *claim = (Sluice__Claim *)mail->body;
    struct err err = {0};
    if (strcmp(claim->backend, "vd0") != 0)
        err_field(&err, "backend", -ENOENT, "there is no backend \"%s\"", claim->backend);
    else if (claim->permissions->perm & (PERM_WRITE | PERM_RESIZE) && control.graph.read_only)
        err_set(&err, -EROFS, "backend \"vd0\" is read-only");
    if (err.code) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    control.graph.claims++;
    Sluice__Claimed *claimed = MAIL_NEW(sluice__claimed);
    claimed->address = control.backend.address;
    claimed->claim = 7;
    actor_reply(self, mail_ticket(mail), MAIL_CLAIMED, claimed);
}

static void graph_claim_end(struct actor *self, struct mail *mail)
{
    assert_int_equal(((Sluice__ClaimEnd *)mail->body)->claim, 7);
    control.graph.claims--;
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static const struct actor_type graph_type = {
    .name = "graph",
    .init = graph_init,
    .handlers = {[MAIL_REQUEST] = graph_request,
                 [MAIL_CLAIM] = graph_claim,
                 [MAIL_CLAIM_END] = graph_claim_end},
};

void control_answer(unsigned i)
{
    rig_at(rig_world.graph, answer_one, &i);
}

/* --- The backend: memory */

static void backend_open(struct actor *self, struct mail *mail)
{
    const Sluice__SessionOpen *open = (Sluice__SessionOpen *)mail->body;
    control.backend.sessions++;
    control.backend.opened++;
    Sluice__SessionGrant *grant = MAIL_NEW(sluice__session_grant);
    grant->session = 5;
    grant->requests = open->requests;
    grant->bytes = control.backend.room ? control.backend.room : open->bytes;
    grant->inserted = true;
    grant->facts = MAIL_NEW(sluice__node_facts);
    grant->facts->length = control.backend.length;
    grant->facts->alignment = 1;
    actor_reply(self, mail_ticket(mail), MAIL_SESSION_GRANT, grant);
}

static void backend_close(struct actor *self, struct mail *mail)
{
    assert_int_equal(((Sluice__SessionClose *)mail->body)->session, 5);
    control.backend.sessions--;
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static void backend_submit(struct actor *self, struct op *op)
{
    (void)self;
    control.backend.ops++;
    control.backend.flags = op->flags;
    if (op->bytes > control.backend.largest)
        control.backend.largest = op->bytes;
    int64_t ret = control.backend.fail;
    if (op->kind == OP_FLUSH)
        control.backend.flushes++;
    else if (op->kind == OP_TRUNCATE)
        control.backend.length = op->offset;
    else if (op->offset < 0 || op->offset + (int64_t)op->bytes > control.backend.length)
        ret = -EIO;
    else if (op->kind == OP_READ && !ret)
        memcpy(op->iov->iov_base, control.backend.memory + op->offset, op->bytes);
    else if (op->kind == OP_WRITE && !ret)
        memcpy(control.backend.memory + op->offset, op->iov->iov_base, op->bytes);
    op_complete(op, ret);
}

static const struct actor_type backend_type = {
    .name = "backend",
    .submit = backend_submit,
    .handlers = {[MAIL_SESSION_OPEN] = backend_open, [MAIL_SESSION_CLOSE] = backend_close},
};

/* --- Up and down */

struct rig_answer control_open(const char *at)
{
    Sluice__ControlOpen *open = MAIL_NEW(sluice__control_open);
    Sluice__EventsOpen *events_open = MAIL_NEW(sluice__events_open);
    memset(&control, 0, sizeof control);
    control.backend.length = MEDIUM;
    control.backend.memory = calloc(1, MEDIUM);
    rig_up();
    control.context = zmq_ctx_new();
    control.shutdown_fd = eventfd(0, EFD_NONBLOCK);
    rig_world.graph = rig_play(&graph_type);
    rig_world.events = rig_spawn(&events_type, "events");
    control.backend.address = rig_play(&backend_type);
    control.address = rig_spawn(&control_type, "control");
    mail_set(&events_open->endpoint, "");
    events_open->kept = 10;
    rig_ask(rig_world.events, MAIL_EVENTS_OPEN, events_open);
    mail_set(&open->endpoint, at);
    open->context = (uintptr_t)control.context;
    open->shutdown_fd = control.shutdown_fd;
    struct rig_answer answer = rig_ask(control.address, MAIL_CONTROL_OPEN, open);
    if (answer.kind == MAIL_ENDPOINT_OPENED)
        strcpy(control.endpoint, ((Sluice__EndpointOpened *)answer.body)->endpoint);
    return answer;
}

int control_setup(void **state)
{
    (void)state;
    assert_int_equal(control_open("tcp://127.0.0.1:*").kind, MAIL_ENDPOINT_OPENED);
    return 0;
}

int control_teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; control.graph.hold && i < control.graph.nheld; i++)
        control_answer(i);
    assert_int_equal(rig_ask(control.address, MAIL_CLOSE, NULL).kind, MAIL_NONE);
    control_down();
    return 0;
}

void control_down(void)
{
    assert_int_equal(rig_ask(rig_world.events, MAIL_CLOSE, NULL).kind, MAIL_NONE);
    assert_int_equal(control.backend.sessions, 0);
    assert_int_equal(control.graph.claims, 0);
    rig_for(5);
    rig_down();
    zmq_ctx_term(control.context);
    close(control.shutdown_fd);
    free(control.backend.memory);
}

/* --- Clients */

void *control_client(void)
{
    return rig_connect(control.context, ZMQ_DEALER, control.endpoint);
}

void control_send(void *socket, const char *line, uint64_t id)
{
    struct refusal refusal;
    Sluice__Request *request = words_request_line(line, &refusal);
    assert_non_null(request);
    request->has_id = 1;
    request->id = id;
    size_t size = sluice__request__get_packed_size(request);
    uint8_t *data = malloc(size);
    sluice__request__pack(request, data);
    assert_int_equal(zmq_send(socket, data, size, 0), size);
    free(data);
    sluice__request__free_unpacked(request, NULL);
}

Sluice__Reply *control_reply_within(void *socket, int64_t ms)
{
    struct refusal refusal = {0};
    int n = rig_receive(socket, control.buffer, sizeof control.buffer, ms);
    if (n < 0)
        return NULL;
    Sluice__Reply *reply =
        check_unpack(&sluice__reply__descriptor, control.buffer, (size_t)n, CHECK_CLIENT, &refusal);
    if (!reply)
        fail_msg("the reply is refused: %s", refusal.text);
    return reply;
}

Sluice__Reply *control_reply_to(void *socket, uint64_t id)
{
    Sluice__Reply *reply = control_reply_within(socket, 5000);
    assert_non_null(reply);
    assert_int_equal(reply->id, id);
    return reply;
}

void control_expect_error(void *socket, uint64_t id, Sluice__Error__Class kind, const char *field,
                          const char *text)
{
    Sluice__Reply *reply = control_reply_to(socket, id);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_ERROR);
    if (!strstr(reply->error->message, text))
        fail_msg("refused with: %s", reply->error->message);
    assert_int_equal(reply->error->class_, kind);
    assert_string_equal(reply->error->field ? reply->error->field : "", field);
    sluice__reply__free_unpacked(reply, NULL);
}

char *control_name_in_reply(void *socket, uint64_t id)
{
    static char name[64];
    Sluice__Reply *reply = control_reply_to(socket, id);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_NODE);
    snprintf(name, sizeof name, "%s", reply->node->name);
    sluice__reply__free_unpacked(reply, NULL);
    return name;
}
