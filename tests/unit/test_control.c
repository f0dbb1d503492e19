/* The control actor: requests from a socket and from inside, with a graph and a backend that do as
 * they are told. */
#include "control_rig.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/clients.h"
#include "actors/control.h"
#include "actors/endpoint.h"
#include "actors/events.h"
#include "actors/io.h"
#include "drivers/driver.h"
#include "proto/check.h"
#include "proto/words.h"

#define MEDIUM (4 << 20)

static void *context;
static actor_addr control;
static char endpoint[ENDPOINT_TEXT];
static int shutdown_fd;

/* --- a graph: keeps what it is asked until it is told to answer --------------------------------
 */

static struct {
    unsigned asked; /* requests in all */
    struct ticket held[2048];
    uint64_t ids[2048];
    unsigned nheld;
    bool hold;       /* keep them; else they are answered at once */
    bool read_only;  /* the backend */
    unsigned claims; /* on it */
    int fault;       /* negative errno to refuse with */
    struct actor *self;
} graph;

static void graph_init(struct actor *self)
{
    graph.self = self;
}

static void answer_one(void *arg)
{
    unsigned i = *(unsigned *)arg;
    Sluice__Reply *reply = MAIL_NEW(sluice__reply);
    reply->body_case = SLUICE__REPLY__BODY_NODE;
    reply->node = MAIL_NEW(sluice__node_info);
    char name[32];
    snprintf(name, sizeof name, "answer%u", graph.asked);
    mail_set(&reply->node->name, name);
    mail_set(&reply->node->driver, "null");
    actor_reply(graph.self, graph.held[i], MAIL_REPLY, reply);
}

static void graph_request(struct actor *self, struct mail *mail)
{
    const Sluice__Request *request = (Sluice__Request *)mail->body;
    graph.asked++;
    if (graph.fault) {
        struct err err;
        err_field(&err, "name", graph.fault, "refused by the graph");
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    graph.ids[graph.nheld] = request->id;
    graph.held[graph.nheld] = mail_ticket(mail);
    if (!graph.hold)
        answer_one(&graph.nheld);
    graph.nheld++;
}

static actor_addr backend_address;

static void graph_claim(struct actor *self, struct mail *mail)
{
    const Sluice__Claim *claim = (Sluice__Claim *)mail->body;
    struct err err = {0};
    if (strcmp(claim->backend, "vd0") != 0)
        err_field(&err, "backend", -ENOENT, "there is no backend \"%s\"", claim->backend);
    else if (claim->permissions->perm & (PERM_WRITE | PERM_RESIZE) && graph.read_only)
        err_set(&err, -EROFS, "backend \"vd0\" is read-only");
    if (err.code) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    graph.claims++;
    Sluice__Claimed *claimed = MAIL_NEW(sluice__claimed);
    claimed->address = backend_address;
    claimed->claim = 7;
    actor_reply(self, mail_ticket(mail), MAIL_CLAIMED, claimed);
}

static void graph_claim_end(struct actor *self, struct mail *mail)
{
    assert_int_equal(((Sluice__ClaimEnd *)mail->body)->claim, 7);
    graph.claims--;
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static const struct actor_type graph_type = {
    .name = "graph",
    .init = graph_init,
    .handlers = {[MAIL_REQUEST] = graph_request,
                 [MAIL_CLAIM] = graph_claim,
                 [MAIL_CLAIM_END] = graph_claim_end},
};

static void answer_held(unsigned i)
{
    rig_at(rig_world.graph, answer_one, &i);
}

/* --- a backend: memory -------------------------------------------------------------------------
 */

static struct {
    unsigned sessions, opened, ops, flushes;
    int fail;      /* negative errno for operations */
    uint64_t room; /* bytes that it grants; 0: what is asked for */
    uint64_t largest;
    uint16_t flags;
    int64_t length;
    uint8_t *memory;
} backend;

static void backend_open(struct actor *self, struct mail *mail)
{
    const Sluice__SessionOpen *open = (Sluice__SessionOpen *)mail->body;
    backend.sessions++;
    backend.opened++;
    Sluice__SessionGrant *grant = MAIL_NEW(sluice__session_grant);
    grant->session = 5;
    grant->requests = open->requests;
    grant->bytes = backend.room ? backend.room : open->bytes;
    grant->inserted = true;
    grant->facts = MAIL_NEW(sluice__node_facts);
    grant->facts->length = backend.length;
    grant->facts->alignment = 1;
    actor_reply(self, mail_ticket(mail), MAIL_SESSION_GRANT, grant);
}

static void backend_close(struct actor *self, struct mail *mail)
{
    assert_int_equal(((Sluice__SessionClose *)mail->body)->session, 5);
    backend.sessions--;
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

static void backend_submit(struct actor *self, struct op *op)
{
    (void)self;
    backend.ops++;
    backend.flags = op->flags;
    if (op->bytes > backend.largest)
        backend.largest = op->bytes;
    int64_t ret = backend.fail;
    if (op->kind == OP_FLUSH)
        backend.flushes++;
    else if (op->kind == OP_TRUNCATE)
        backend.length = op->offset;
    else if (op->offset < 0 || op->offset + (int64_t)op->bytes > backend.length)
        ret = -EIO;
    else if (op->kind == OP_READ && !ret)
        memcpy(op->iov->iov_base, backend.memory + op->offset, op->bytes);
    else if (op->kind == OP_WRITE && !ret)
        memcpy(backend.memory + op->offset, op->iov->iov_base, op->bytes);
    op_complete(op, ret);
}

static const struct actor_type backend_type = {
    .name = "backend",
    .submit = backend_submit,
    .handlers = {[MAIL_SESSION_OPEN] = backend_open, [MAIL_SESSION_CLOSE] = backend_close},
};

/* --- a driver, to be listed --------------------------------------------------------------------
 */

static const struct option driver_options[] = {
    {.name = "size", .type = OPTION_SIZE, .required = true, .help = "its length"},
    {.name = "mode", .type = OPTION_CHOICE, .choices = "a|b", .preset = "a", .help = "how"},
    {0},
};
static const struct driver played = {
    .name = "played", .help = "plays", .options = driver_options, .filter = true};
const struct driver *const drivers[] = {&played, NULL}; /* before the library's */

/* --- up and down -------------------------------------------------------------------------------
 */

static struct rig_answer open_control(const char *at)
{
    Sluice__ControlOpen *open = MAIL_NEW(sluice__control_open);
    Sluice__EventsOpen *events_open = MAIL_NEW(sluice__events_open);
    memset(&graph, 0, sizeof graph);
    memset(&backend, 0, sizeof backend);
    backend.length = MEDIUM;
    backend.memory = calloc(1, MEDIUM);
    rig_up();
    context = zmq_ctx_new();
    shutdown_fd = eventfd(0, EFD_NONBLOCK);
    rig_world.graph = rig_play(&graph_type);
    rig_world.events = rig_spawn(&events_type, "events");
    backend_address = rig_play(&backend_type);
    control = rig_spawn(&control_type, "control");
    mail_set(&events_open->endpoint, "");
    events_open->kept = 10;
    rig_ask(rig_world.events, MAIL_EVENTS_OPEN, events_open);
    mail_set(&open->endpoint, at);
    open->context = (uintptr_t)context;
    open->shutdown_fd = shutdown_fd;
    struct rig_answer answer = rig_ask(control, MAIL_CONTROL_OPEN, open);
    if (answer.kind == MAIL_ENDPOINT_OPENED)
        strcpy(endpoint, ((Sluice__EndpointOpened *)answer.body)->endpoint);
    return answer;
}

static int up(void **state)
{
    (void)state;
    assert_int_equal(open_control("tcp://127.0.0.1:*").kind, MAIL_ENDPOINT_OPENED);
    return 0;
}

static int down(void **state)
{
    (void)state;
    for (unsigned i = 0; graph.hold && i < graph.nheld; i++)
        answer_held(i);
    assert_int_equal(rig_ask(control, MAIL_CLOSE, NULL).kind, MAIL_NONE);
    assert_int_equal(rig_ask(rig_world.events, MAIL_CLOSE, NULL).kind, MAIL_NONE);
    assert_int_equal(backend.sessions, 0);
    assert_int_equal(graph.claims, 0);
    rig_for(5);
    rig_down();
    zmq_ctx_term(context);
    close(shutdown_fd);
    free(backend.memory);
    return 0;
}

/* --- a client ----------------------------------------------------------------------------------
 */

static void *client(void)
{
    return rig_connect(context, ZMQ_DEALER, endpoint);
}

static void send_line(void *socket, const char *line, uint64_t id)
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

static uint8_t buffer[4 << 20];

/* The next reply, or null when none comes in time. */
static Sluice__Reply *reply_within(void *socket, int64_t ms)
{
    struct refusal refusal = {0};
    int n = rig_receive(socket, buffer, sizeof buffer, ms);
    if (n < 0)
        return NULL;
    Sluice__Reply *reply =
        check_unpack(&sluice__reply__descriptor, buffer, (size_t)n, CHECK_CLIENT, &refusal);
    if (!reply)
        fail_msg("the reply is refused: %s", refusal.text);
    return reply;
}

static Sluice__Reply *reply_to(void *socket, uint64_t id)
{
    Sluice__Reply *reply = reply_within(socket, 5000);
    assert_non_null(reply);
    assert_int_equal(reply->id, id);
    return reply;
}

static void expect_error(void *socket, uint64_t id, Sluice__Error__Class kind, const char *field,
                         const char *text)
{
    Sluice__Reply *reply = reply_to(socket, id);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_ERROR);
    if (!strstr(reply->error->message, text))
        fail_msg("refused with: %s", reply->error->message);
    assert_int_equal(reply->error->class_, kind);
    assert_string_equal(reply->error->field ? reply->error->field : "", field);
    sluice__reply__free_unpacked(reply, NULL);
}
#define INVALID SLUICE__ERROR__CLASS__INVALID

static char *name_in_reply(void *socket, uint64_t id)
{
    static char name[64];
    Sluice__Reply *reply = reply_to(socket, id);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_NODE);
    snprintf(name, sizeof name, "%s", reply->node->name);
    sluice__reply__free_unpacked(reply, NULL);
    return name;
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void dealer_and_req_get_their_reply(void **state)
{
    (void)state;
    void *dealer = client(), *req = rig_connect(context, ZMQ_REQ, endpoint);
    send_line(dealer, "node-show n", 7);
    assert_string_equal(name_in_reply(dealer, 7), "answer1");
    send_line(req, "node-show n", 0);
    assert_string_equal(name_in_reply(req, 0), "answer2");
    send_line(req, "node-show n", UINT64_MAX);
    assert_string_equal(name_in_reply(req, UINT64_MAX), "answer3");
    zmq_close(dealer);
    zmq_close(req);
}

static void replies_come_in_any_order(void **state)
{
    (void)state;
    void *one = client(), *two = client();
    graph.hold = true;
    send_line(one, "node-show a", 1);
    send_line(one, "node-show b", 2);
    while (graph.nheld < 2)
        rig_run();
    send_line(two, "node-show c", 1);
    while (graph.nheld < 3)
        rig_run();
    graph.hold = false;
    answer_held(2);
    name_in_reply(two, 1);
    answer_held(graph.ids[0] == 2 ? 0 : 1);
    name_in_reply(one, 2);
    answer_held(graph.ids[0] == 2 ? 1 : 0);
    name_in_reply(one, 1);
    zmq_close(one);
    zmq_close(two);
}

static void a_repeated_id_gets_the_same_reply_and_acts_once(void **state)
{
    (void)state;
    void *one = client(), *two = client();
    send_line(one, "node-show n", 5);
    assert_string_equal(name_in_reply(one, 5), "answer1");
    send_line(one, "node-show n", 5);
    assert_string_equal(name_in_reply(one, 5), "answer1");
    assert_int_equal(graph.asked, 1);
    /* Another client's ids are its own; and 0 is not protected. */
    send_line(two, "node-show n", 5);
    assert_string_equal(name_in_reply(two, 5), "answer2");
    send_line(one, "node-show n", 0);
    assert_string_equal(name_in_reply(one, 0), "answer3");
    send_line(one, "node-show n", 0);
    assert_string_equal(name_in_reply(one, 0), "answer4");
    zmq_close(one);
    zmq_close(two);
}

static void a_repetition_while_under_way_gets_one_reply(void **state)
{
    (void)state;
    void *socket = client();
    graph.hold = true;
    send_line(socket, "node-show n", 5);
    send_line(socket, "node-show n", 5);
    send_line(socket, "node-show n", 6);
    while (graph.nheld < 2)
        rig_run();
    graph.hold = false;
    answer_held(0);
    answer_held(1);
    name_in_reply(socket, 5);
    name_in_reply(socket, 6);
    assert_null(reply_within(socket, 50));
    assert_int_equal(graph.asked, 2);
    zmq_close(socket);
}

static void a_client_that_comes_back_under_its_name_gets_the_reply(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        void *socket = zmq_socket(context, ZMQ_DEALER);
        int none = 0;
        zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
        zmq_setsockopt(socket, ZMQ_ROUTING_ID, "console", 7);
        assert_int_equal(zmq_connect(socket, endpoint), 0);
        send_line(socket, "node-show n", 9);
        assert_string_equal(name_in_reply(socket, 9), "answer1");
        zmq_close(socket);
    }
    assert_int_equal(graph.asked, 1);
}

static void send_raw(void *socket, const char *data, size_t size)
{
    assert_int_equal(zmq_send(socket, data, size, 0), size);
}
#define SEND_RAW(socket, data) send_raw(socket, data, sizeof data - 1)

static void what_is_no_request_gets_an_error_and_costs_nothing_else(void **state)
{
    (void)state;
    void *socket = client();
    SEND_RAW(socket, "");
    expect_error(socket, 0, INVALID, "", "the request has no body");
    SEND_RAW(socket, "\xff\xff\xff");
    expect_error(socket, 0, INVALID, "", "ends in mid-field");
    SEND_RAW(socket, "\x08\x07");
    expect_error(socket, 7, INVALID, "", "the request has no body, so nothing is asked");
    SEND_RAW(socket, "\x08\x09\x98\x3f\x01");
    expect_error(socket, 9, INVALID, "", "has no field number 1011");
    SEND_RAW(socket, "\x08\x0a\x62\x02\x0a\x00\x62");
    expect_error(socket, 10, INVALID, "", "ends in mid-field");
    SEND_RAW(socket, "\x08\x0b\x62\x03\x0a\x01\xff");
    expect_error(socket, 11, INVALID, "name", "name is not text in UTF-8");
    SEND_RAW(socket, "\x08\x0c\x62\x00");
    expect_error(socket, 12, INVALID, "name", "node_show needs name, which is missing");
    SEND_RAW(socket, "\x08\x0d\x12\x00\x5a\x00");
    expect_error(socket, 13, INVALID, "node_list", "more than one body");
    /* Two frames, and a delimiter with nothing behind it but another. */
    zmq_send(socket, "a", 1, ZMQ_SNDMORE);
    SEND_RAW(socket, "b");
    expect_error(socket, 0, INVALID, "", "a request is one frame");
    zmq_send(socket, "", 0, ZMQ_SNDMORE);
    zmq_send(socket, "x", 1, ZMQ_SNDMORE);
    SEND_RAW(socket, "y");
    assert_int_equal(rig_receive(socket, buffer, sizeof buffer, 5000), 0); /* its delimiter */
    expect_error(socket, 0, INVALID, "", "a request is one frame");
    /* Too long, but not yet so long that the connection ends. */
    char *large = calloc(1, CONTROL_REQUEST_BYTES + 1);
    memcpy(large, "\x08\x0e", 2);
    send_raw(socket, large, CONTROL_REQUEST_BYTES + 1);
    expect_error(socket, 14, INVALID, "", "1310720 are the most");
    free(large);
    assert_int_equal(graph.asked, 0);
    send_line(socket, "node-show n", 15);
    assert_string_equal(name_in_reply(socket, 15), "answer1");
    zmq_close(socket);
}

static void a_frame_that_is_far_too_long_ends_its_connection_only(void **state)
{
    (void)state;
    void *greedy = client(), *other = client();
    char *large = calloc(1, CONTROL_FRAME_BYTES + 1);
    send_raw(greedy, large, CONTROL_FRAME_BYTES + 1);
    free(large);
    assert_null(reply_within(greedy, 100));
    send_line(other, "node-show n", 1);
    name_in_reply(other, 1);
    send_line(greedy, "node-show n", 1); /* it has connected again */
    name_in_reply(greedy, 1);
    zmq_close(greedy);
    zmq_close(other);
}

static void random_bytes_get_errors(void **state)
{
    (void)state;
    void *socket = client();
    uint64_t random = 88172645463325252;
    unsigned replies = 0;
    graph.fault = -ENOENT;
    for (unsigned round = 0; round < 3000; round++) {
        uint8_t data[100];
        size_t size;
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        size = random % sizeof data;
        for (size_t i = 0; i < size; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            data[i] = (uint8_t)random;
        }
        assert_int_equal(zmq_send(socket, data, size, 0), size);
        Sluice__Reply *reply = reply_within(socket, 5000);
        assert_non_null(reply);
        replies += reply->body_case == SLUICE__REPLY__BODY_ERROR;
        sluice__reply__free_unpacked(reply, NULL);
    }
    assert_true(replies > 2900);
    zmq_close(socket);
}

static void requests_under_way_are_bounded_by_client(void **state)
{
    (void)state;
    void *socket = client(), *other = client();
    graph.hold = true;
    for (uint64_t id = 1; id <= CLIENT_IN_FLIGHT; id++)
        send_line(socket, "node-show n", id);
    while (graph.nheld < CLIENT_IN_FLIGHT)
        rig_run();
    send_line(socket, "node-show n", 1000);
    expect_error(socket, 1000, SLUICE__ERROR__CLASS__LIMIT, "", "has 64 requests under way");
    graph.hold = false;
    send_line(other, "node-show n", 1);
    name_in_reply(other, 1);
    for (unsigned i = 0; i < CLIENT_IN_FLIGHT; i++)
        answer_held(i);
    for (uint64_t i = 0; i < CLIENT_IN_FLIGHT; i++) {
        Sluice__Reply *reply = reply_within(socket, 5000);
        assert_non_null(reply);
        sluice__reply__free_unpacked(reply, NULL);
    }
    /* A refusal is not remembered: it did nothing. */
    send_line(socket, "node-show n", 1000);
    name_in_reply(socket, 1000);
    zmq_close(socket);
    zmq_close(other);
}

static void one_that_reads_no_replies_costs_the_others_nothing(void **state)
{
    (void)state;
    void *deaf = zmq_socket(context, ZMQ_DEALER), *other = client();
    int one = 1, none = 0, small = 4096;
    zmq_setsockopt(deaf, ZMQ_RCVHWM, &one, sizeof one);
    zmq_setsockopt(deaf, ZMQ_RCVBUF, &small, sizeof small);
    zmq_setsockopt(deaf, ZMQ_LINGER, &none, sizeof none);
    assert_int_equal(zmq_connect(deaf, endpoint), 0);
    memset(backend.memory, 'x', MEDIUM);
    for (uint64_t id = 1; id <= 2000; id++) {
        send_line(deaf, "io-read vd0 bytes=64K", 0);
        rig_run();
        if (id % 500 == 0) {
            send_line(other, "node-show n", id);
            name_in_reply(other, id);
        }
    }
    zmq_close(deaf);
    zmq_close(other);
}

static void faults_become_errors_of_their_class(void **state)
{
    (void)state;
    static const struct {
        int code;
        Sluice__Error__Class kind;
    } cases[] = {
        {-ENOENT, SLUICE__ERROR__CLASS__NOT_FOUND},
        {-EEXIST, SLUICE__ERROR__CLASS__EXISTS},
        {-EBUSY, SLUICE__ERROR__CLASS__IN_USE},
        {-EINVAL, SLUICE__ERROR__CLASS__INVALID},
        {-ERANGE, SLUICE__ERROR__CLASS__INVALID},
        {-ENOTSUP, SLUICE__ERROR__CLASS__UNSUPPORTED},
        {-ESHUTDOWN, SLUICE__ERROR__CLASS__SHUTDOWN},
        {-ENOSPC, SLUICE__ERROR__CLASS__IO},
        {-EIO, SLUICE__ERROR__CLASS__IO},
        {-EPERM, SLUICE__ERROR__CLASS__DENIED},
        {-EACCES, SLUICE__ERROR__CLASS__DENIED},
        {-ENOBUFS, SLUICE__ERROR__CLASS__LIMIT},
    };
    void *socket = client();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        graph.fault = cases[i].code;
        send_line(socket, "node-show n", i + 1);
        Sluice__Reply *reply = reply_to(socket, i + 1);
        assert_int_equal(reply->error->class_, cases[i].kind);
        assert_int_equal(reply->error->errno_value, -cases[i].code);
        assert_string_equal(reply->error->message, "refused by the graph");
        assert_string_equal(reply->error->field, "name");
        sluice__reply__free_unpacked(reply, NULL);
    }
    zmq_close(socket);
}

static void drivers_are_listed_with_their_options(void **state)
{
    (void)state;
    void *socket = client();
    send_line(socket, "driver-list", 1);
    Sluice__Reply *reply = reply_to(socket, 1);
    assert_int_equal(reply->drivers->n_drivers, 1);
    const Sluice__DriverInfo *info = reply->drivers->drivers[0];
    assert_string_equal(info->name, "played");
    assert_string_equal(info->help, "plays");
    assert_true(info->filter);
    assert_int_equal(info->n_options, 2);
    assert_string_equal(info->options[0]->type, "size");
    assert_true(info->options[0]->required);
    assert_string_equal(info->options[1]->type, "choice");
    assert_int_equal(info->options[1]->n_choices, 2);
    assert_string_equal(info->options[1]->choices[0], "a");
    assert_string_equal(info->options[1]->choices[1], "b");
    assert_string_equal(info->options[1]->default_value, "a");
    sluice__reply__free_unpacked(reply, NULL);
    zmq_close(socket);
}

static void events_are_asked_of_the_events_actor(void **state)
{
    (void)state;
    void *socket = client();
    send_line(socket, "events-since since=1", 1);
    Sluice__Reply *reply = reply_to(socket, 1);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_EVENTS);
    assert_int_equal(reply->events->last, 0);
    sluice__reply__free_unpacked(reply, NULL);
    assert_int_equal(graph.asked, 0);
    zmq_close(socket);
}

static void shutdown_is_answered_and_signalled(void **state)
{
    (void)state;
    void *socket = client();
    struct pollfd fd = {.fd = shutdown_fd, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    send_line(socket, "shutdown", 1);
    Sluice__Reply *reply = reply_to(socket, 1);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_DONE);
    sluice__reply__free_unpacked(reply, NULL);
    assert_int_equal(poll(&fd, 1, 0), 1);
    zmq_close(socket);
}

/* --- io ----------------------------------------------------------------------------------------
 */

static Sluice__Reply *io(void *socket, const char *line)
{
    static uint64_t id = 1000000;
    send_line(socket, line, ++id);
    return reply_to(socket, id);
}

static void io_done(void *socket, const char *line, uint64_t bytes)
{
    Sluice__Reply *reply = io(socket, line);
    if (reply->body_case == SLUICE__REPLY__BODY_ERROR)
        fail_msg("%s: %s", line, reply->error->message);
    if (reply->body_case == SLUICE__REPLY__BODY_IO)
        assert_int_equal(reply->io->bytes, bytes);
    sluice__reply__free_unpacked(reply, NULL);
    assert_int_equal(backend.sessions, 0);
    assert_int_equal(graph.claims, 0);
}

static void io_refused(void *socket, const char *line, Sluice__Error__Class kind, const char *field,
                       const char *text)
{
    Sluice__Reply *reply = io(socket, line);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_ERROR);
    if (!strstr(reply->error->message, text))
        fail_msg("%s: %s", line, reply->error->message);
    assert_int_equal(reply->error->class_, kind);
    assert_string_equal(reply->error->field ? reply->error->field : "", field);
    sluice__reply__free_unpacked(reply, NULL);
    assert_int_equal(backend.sessions, 0);
    assert_int_equal(graph.claims, 0);
}

static void io_goes_through_a_session_in_bounded_pieces(void **state)
{
    (void)state;
    void *socket = client();
    io_done(socket, "io-write vd0 offset=10 data=hello fua=on", 5);
    assert_int_equal(backend.flags, OP_FUA);
    assert_memory_equal(backend.memory + 10, "hello", 5);
    Sluice__Reply *reply = io(socket, "io-read vd0 offset=9 bytes=7");
    assert_int_equal(reply->io->data.len, 7);
    assert_memory_equal(reply->io->data.data, "\0hello\0", 7);
    sluice__reply__free_unpacked(reply, NULL);
    backend.ops = 0;
    backend.largest = 0;
    io_done(socket, "io-write vd0 offset=1 bytes=3000K pattern=7", 3000 << 10);
    assert_int_equal(backend.ops, 3);
    assert_int_equal(backend.largest, IO_BYTES);
    assert_int_equal(backend.memory[0], 0);
    assert_int_equal(backend.memory[1], 7);
    assert_int_equal(backend.memory[3000 << 10], 7);
    assert_int_equal(backend.memory[(3000 << 10) + 1], 0);
    io_done(socket, "io-read vd0 bytes=1M", 1 << 20);
    io_done(socket, "io-read vd0 offset=4M bytes=0", 0);
    io_done(socket, "io-flush vd0", 0);
    assert_int_equal(backend.flushes, 1);
    io_done(socket, "io-zeroes vd0 bytes=64K unmap=on", 65536);
    assert_int_equal(backend.flags, OP_MAY_UNMAP);
    io_done(socket, "io-discard vd0 bytes=64K", 65536);
    zmq_close(socket);
}

static void long_ranges_are_split(void **state)
{
    (void)state;
    void *socket = client();
    io_done(socket, "io-truncate vd0 size=5G preallocation=falloc", 0);
    assert_int_equal(backend.flags, OP_PREALLOC_FALLOC);
    backend.ops = 0;
    io_done(socket, "io-discard vd0 bytes=5G", UINT64_C(5) << 30);
    assert_int_equal(backend.ops, 5);
    zmq_close(socket);
}

static void what_there_is_no_room_for_goes_in_pieces_but_an_ioctl_is_refused(void **state)
{
    (void)state;
    void *socket = client();
    backend.room = 1000;
    io_done(socket, "io-load-vmstate vd0 bytes=2500", 2500);
    assert_int_equal(backend.ops, 3);
    assert_int_equal(backend.largest, 1000);
    io_done(socket, "io-ioctl vd0 1 bytes=1000", 1000);
    assert_int_equal(backend.ops, 4);
    io_refused(socket, "io-ioctl vd0 1 bytes=1001", SLUICE__ERROR__CLASS__LIMIT, "",
               "io-ioctl: the argument goes whole, but of its 1001 bytes backend \"vd0\" has room "
               "for 1000 now; ask again");
    assert_int_equal(backend.ops, 4);
    zmq_close(socket);
}

static void io_that_cant_be_is_refused_by_field(void **state)
{
    (void)state;
    void *socket = client();
    io_refused(socket, "io-read nobody bytes=1", SLUICE__ERROR__CLASS__NOT_FOUND, "backend",
               "there is no backend \"nobody\"");
    io_refused(socket, "io-read vd0 bytes=1048577", INVALID, "bytes", "1048576 are the most");
    io_refused(socket, "io-write vd0", INVALID, "data", "either data or pattern");
    io_refused(socket, "io-write vd0 data=x pattern=1", INVALID, "data", "either data or pattern");
    io_refused(socket, "io-write vd0 bytes=1 pattern=256", INVALID, "pattern", "0 to 255");
    io_refused(socket, "io-write vd0 pattern=1", INVALID, "bytes", "bytes tells how many");
    io_refused(socket, "io-write vd0 pattern=1 bytes=1025M", INVALID, "bytes", "are the most");
    io_refused(socket, "io-write vd0 bytes=2 data=x", INVALID, "bytes", "data has 1");
    io_refused(socket, "io-discard vd0 bytes=9E", INVALID, "bytes", "are the most");
    io_refused(socket, "io-truncate vd0 size=1 preallocation=x", INVALID, "preallocation",
               "must be off, metadata, falloc or full");
    assert_int_equal(backend.opened, 0);
    io_refused(socket, "io-read vd0 offset=4M bytes=1", INVALID, "offset", "reach beyond its end");
    io_refused(socket, "io-read vd0 offset=-1 bytes=1", INVALID, "offset", "must be 0 or more");
    backend.fail = -ENOSPC;
    io_refused(socket, "io-write vd0 data=x", SLUICE__ERROR__CLASS__IO, "",
               "io-write: backend \"vd0\" failed at byte 0: No space left on device");
    io_refused(socket, "io-flush vd0", SLUICE__ERROR__CLASS__IO, "", "io-flush: backend \"vd0\"");
    backend.ops = 0;
    io_refused(socket, "io-write vd0 bytes=3M pattern=0", SLUICE__ERROR__CLASS__IO, "", "failed");
    assert_int_equal(backend.ops, 1); /* the first failure ends it */
    graph.read_only = true;
    io_refused(socket, "io-write vd0 data=x", SLUICE__ERROR__CLASS__DENIED, "", "read-only");
    io_refused(socket, "io-truncate vd0 size=1", SLUICE__ERROR__CLASS__DENIED, "", "read-only");
    zmq_close(socket);
}

/* --- from inside, opening and closing ----------------------------------------------------------
 */

static void actors_may_ask_too(void **state)
{
    (void)state;
    struct refusal refusal;
    Sluice__Request *request = words_request_line("io-write vd0 data=hello", &refusal);
    request->has_id = 1;
    request->id = 3;
    struct rig_answer answer = rig_ask(control, MAIL_REQUEST, request);
    assert_int_equal(answer.kind, MAIL_REPLY);
    Sluice__Reply *reply = (Sluice__Reply *)answer.body;
    assert_int_equal(reply->id, 3);
    assert_int_equal(reply->io->bytes, 5);
    graph.fault = -ENOENT;
    answer = rig_ask(control, MAIL_REQUEST, words_request_line("node-show n", &refusal));
    assert_int_equal(answer.kind, MAIL_REPLY);
    assert_int_equal(((Sluice__Reply *)answer.body)->error->class_,
                     SLUICE__ERROR__CLASS__NOT_FOUND);
}

static void it_lives_without_an_endpoint(void **state)
{
    struct refusal refusal;
    assert_int_equal(open_control("").kind, MAIL_ENDPOINT_OPENED);
    assert_string_equal(endpoint, "");
    struct rig_answer answer =
        rig_ask(control, MAIL_REQUEST, words_request_line("node-show n", &refusal));
    assert_int_equal(answer.kind, MAIL_REPLY);
    down(state);
}

static void an_endpoint_that_cant_be_had_is_told(void **state)
{
    struct rig_answer answer = open_control("ipc:///nonexistent/folder/x");
    assert_int_equal(answer.kind, MAIL_FAULT);
    assert_int_equal(answer.err.code, -ENOENT);
    assert_non_null(strstr(answer.err.text, "can't listen at ipc:///nonexistent/folder/x"));
    down(state);
}

static void closing_waits_for_what_is_under_way(void **state)
{
    up(state);
    void *socket = client();
    struct rig_answer closed;
    struct refusal refusal;
    graph.hold = true;
    send_line(socket, "node-show n", 1);
    while (graph.nheld < 1)
        rig_run();
    rig_post(&closed, control, MAIL_CLOSE, NULL);
    rig_for(20);
    assert_false(closed.came);
    send_line(socket, "node-show n", 2);
    expect_error(socket, 2, SLUICE__ERROR__CLASS__SHUTDOWN, "", "shutting down");
    struct rig_answer answer =
        rig_ask(control, MAIL_REQUEST, words_request_line("node-show n", &refusal));
    assert_int_equal(answer.err.code, -ESHUTDOWN);
    answer_held(0);
    name_in_reply(socket, 1);
    rig_until(&closed.came);
    assert_int_equal(closed.kind, MAIL_NONE);
    zmq_close(socket);
    rig_ask(rig_world.events, MAIL_CLOSE, NULL);
    rig_for(5);
    rig_down();
    zmq_ctx_term(context);
    close(shutdown_fd);
    free(backend.memory);
}

#define CONTROL_TEST(test) cmocka_unit_test_setup_teardown(test, up, down)

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        CONTROL_TEST(dealer_and_req_get_their_reply),
        CONTROL_TEST(replies_come_in_any_order),
        CONTROL_TEST(a_repeated_id_gets_the_same_reply_and_acts_once),
        CONTROL_TEST(a_repetition_while_under_way_gets_one_reply),
        CONTROL_TEST(a_client_that_comes_back_under_its_name_gets_the_reply),
        CONTROL_TEST(what_is_no_request_gets_an_error_and_costs_nothing_else),
        CONTROL_TEST(a_frame_that_is_far_too_long_ends_its_connection_only),
        CONTROL_TEST(random_bytes_get_errors),
        CONTROL_TEST(requests_under_way_are_bounded_by_client),
        CONTROL_TEST(one_that_reads_no_replies_costs_the_others_nothing),
        CONTROL_TEST(faults_become_errors_of_their_class),
        CONTROL_TEST(drivers_are_listed_with_their_options),
        CONTROL_TEST(events_are_asked_of_the_events_actor),
        CONTROL_TEST(shutdown_is_answered_and_signalled),
        CONTROL_TEST(io_goes_through_a_session_in_bounded_pieces),
        CONTROL_TEST(long_ranges_are_split),
        CONTROL_TEST(what_there_is_no_room_for_goes_in_pieces_but_an_ioctl_is_refused),
        CONTROL_TEST(io_that_cant_be_is_refused_by_field),
        CONTROL_TEST(actors_may_ask_too),
        cmocka_unit_test(it_lives_without_an_endpoint),
        cmocka_unit_test(an_endpoint_that_cant_be_had_is_told),
        cmocka_unit_test(closing_waits_for_what_is_under_way),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
