/* The control actor: requests from a socket and from inside, and their replies. */
#include "control_rig.h"

#include <poll.h>

#include "drivers_rig.h"
#include "proto/words.h"

/* --- A driver, to be listed */

static const struct option driver_options[] = {
    {.name = "size", .type = OPTION_SIZE, .required = true, .help = "its length"},
    {.name = "mode", .type = OPTION_CHOICE, .choices = "a|b", .preset = "a", .help = "how"},
    {0},
};
static const struct driver played = {
    .name = "played", .help = "plays", .options = driver_options, .filter = true};

RIG_DRIVERS(&played)

/* --- Requests and replies */

static void dealer_and_req_get_their_reply(void **state)
{
    (void)state;
    void *dealer = control_client(), *req = rig_connect(control.context, ZMQ_REQ, control.endpoint);
    control_send(dealer, "node-show n", 7);
    assert_string_equal(control_name_in_reply(dealer, 7), "answer1");
    control_send(req, "node-show n", 0);
    assert_string_equal(control_name_in_reply(req, 0), "answer2");
    control_send(req, "node-show n", UINT64_MAX);
    assert_string_equal(control_name_in_reply(req, UINT64_MAX), "answer3");
    zmq_close(dealer);
    zmq_close(req);
}

static void replies_come_in_any_order(void **state)
{
    (void)state;
    void *one = control_client(), *two = control_client();
    control.graph.hold = true;
    control_send(one, "node-show a", 1);
    control_send(one, "node-show b", 2);
    while (control.graph.nheld < 2)
        rig_run();
    control_send(two, "node-show c", 1);
    while (control.graph.nheld < 3)
        rig_run();
    control.graph.hold = false;
    control_answer(2);
    control_name_in_reply(two, 1);
    control_answer(control.graph.ids[0] == 2 ? 0 : 1);
    control_name_in_reply(one, 2);
    control_answer(control.graph.ids[0] == 2 ? 1 : 0);
    control_name_in_reply(one, 1);
    zmq_close(one);
    zmq_close(two);
}

static void a_repeated_id_gets_the_same_reply_and_acts_once(void **state)
{
    (void)state;
    void *one = control_client(), *two = control_client();
    control_send(one, "node-show n", 5);
    assert_string_equal(control_name_in_reply(one, 5), "answer1");
    control_send(one, "node-show n", 5);
    assert_string_equal(control_name_in_reply(one, 5), "answer1");
    assert_int_equal(control.graph.asked, 1);
    /* Another client's ids are its own; and 0 is not protected. */
    control_send(two, "node-show n", 5);
    assert_string_equal(control_name_in_reply(two, 5), "answer2");
    control_send(one, "node-show n", 0);
    assert_string_equal(control_name_in_reply(one, 0), "answer3");
    control_send(one, "node-show n", 0);
    assert_string_equal(control_name_in_reply(one, 0), "answer4");
    zmq_close(one);
    zmq_close(two);
}

static void a_repetition_while_under_way_gets_one_reply(void **state)
{
    (void)state;
    void *socket = control_client();
    control.graph.hold = true;
    control_send(socket, "node-show n", 5);
    control_send(socket, "node-show n", 5);
    control_send(socket, "node-show n", 6);
    while (control.graph.nheld < 2)
        rig_run();
    control.graph.hold = false;
    control_answer(0);
    control_answer(1);
    control_name_in_reply(socket, 5);
    control_name_in_reply(socket, 6);
    assert_null(control_reply_within(socket, 50));
    assert_int_equal(control.graph.asked, 2);
    zmq_close(socket);
}

static void a_client_that_comes_back_under_its_name_gets_the_reply(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        void *socket = zmq_socket(control.context, ZMQ_DEALER);
        int none = 0;
        zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
        zmq_setsockopt(socket, ZMQ_ROUTING_ID, "console", 7);
        assert_int_equal(zmq_connect(socket, control.endpoint), 0);
        control_send(socket, "node-show n", 9);
        assert_string_equal(control_name_in_reply(socket, 9), "answer1");
        zmq_close(socket);
    }
    assert_int_equal(control.graph.asked, 1);
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
    void *socket = control_client();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        control.graph.fault = cases[i].code;
        control_send(socket, "node-show n", i + 1);
        Sluice__Reply *reply = control_reply_to(socket, i + 1);
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
    void *socket = control_client();
    control_send(socket, "driver-list", 1);
    Sluice__Reply *reply = control_reply_to(socket, 1);
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
    void *socket = control_client();
    control_send(socket, "events-since since=1", 1);
    Sluice__Reply *reply = control_reply_to(socket, 1);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_EVENTS);
    assert_int_equal(reply->events->last, 0);
    sluice__reply__free_unpacked(reply, NULL);
    assert_int_equal(control.graph.asked, 0);
    zmq_close(socket);
}

static void shutdown_is_answered_and_signalled(void **state)
{
    (void)state;
    void *socket = control_client();
    struct pollfd fd = {.fd = control.shutdown_fd, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    control_send(socket, "shutdown", 1);
    Sluice__Reply *reply = control_reply_to(socket, 1);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_DONE);
    sluice__reply__free_unpacked(reply, NULL);
    assert_int_equal(poll(&fd, 1, 0), 1);
    zmq_close(socket);
}

/* --- From inside, opening and closing */

static void actors_may_ask_too(void **state)
{
    (void)state;
    struct refusal refusal;
    Sluice__Request *request = words_request_line("io-write vd0 data=hello", &refusal);
    request->has_id = 1;
    request->id = 3;
    struct rig_answer answer = rig_ask(control.address, MAIL_REQUEST, request);
    assert_int_equal(answer.kind, MAIL_REPLY);
    Sluice__Reply *reply = (Sluice__Reply *)answer.body;
    assert_int_equal(reply->id, 3);
    assert_int_equal(reply->io->bytes, 5);
    control.graph.fault = -ENOENT;
    answer = rig_ask(control.address, MAIL_REQUEST, words_request_line("node-show n", &refusal));
    assert_int_equal(answer.kind, MAIL_REPLY);
    assert_int_equal(((Sluice__Reply *)answer.body)->error->class_,
                     SLUICE__ERROR__CLASS__NOT_FOUND);
}

static void it_lives_without_an_endpoint(void **state)
{
    struct refusal refusal;
    assert_int_equal(control_open("").kind, MAIL_ENDPOINT_OPENED);
    assert_string_equal(control.endpoint, "");
    struct rig_answer answer =
        rig_ask(control.address, MAIL_REQUEST, words_request_line("node-show n", &refusal));
    assert_int_equal(answer.kind, MAIL_REPLY);
    control_teardown(state);
}

static void an_endpoint_that_cant_be_had_is_told(void **state)
{
    struct rig_answer answer = control_open("ipc:///nonexistent/folder/x");
    assert_int_equal(answer.kind, MAIL_FAULT);
    assert_int_equal(answer.err.code, -ENOENT);
    assert_non_null(strstr(answer.err.text, "can't listen at ipc:///nonexistent/folder/x"));
    control_teardown(state);
}

static void closing_waits_for_what_is_under_way(void **state)
{
    control_setup(state);
    void *socket = control_client();
    struct rig_answer closed;
    struct refusal refusal;
    control.graph.hold = true;
    control_send(socket, "node-show n", 1);
    while (control.graph.nheld < 1)
        rig_run();
    rig_post(&closed, control.address, MAIL_CLOSE, NULL);
    rig_for(20);
    assert_false(closed.came);
    control_send(socket, "node-show n", 2);
    control_expect_error(socket, 2, SLUICE__ERROR__CLASS__SHUTDOWN, "", "shutting down");
    struct rig_answer answer =
        rig_ask(control.address, MAIL_REQUEST, words_request_line("node-show n", &refusal));
    assert_int_equal(answer.err.code, -ESHUTDOWN);
    control_answer(0);
    control_name_in_reply(socket, 1);
    rig_until(&closed.came);
    assert_int_equal(closed.kind, MAIL_NONE);
    zmq_close(socket);
    control_down();
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        CONTROL_TEST(dealer_and_req_get_their_reply),
        CONTROL_TEST(replies_come_in_any_order),
        CONTROL_TEST(a_repeated_id_gets_the_same_reply_and_acts_once),
        CONTROL_TEST(a_repetition_while_under_way_gets_one_reply),
        CONTROL_TEST(a_client_that_comes_back_under_its_name_gets_the_reply),
        CONTROL_TEST(faults_become_errors_of_their_class),
        CONTROL_TEST(drivers_are_listed_with_their_options),
        CONTROL_TEST(events_are_asked_of_the_events_actor),
        CONTROL_TEST(shutdown_is_answered_and_signalled),
        CONTROL_TEST(actors_may_ask_too),
        cmocka_unit_test(it_lives_without_an_endpoint),
        cmocka_unit_test(an_endpoint_that_cant_be_had_is_told),
        cmocka_unit_test(closing_waits_for_what_is_under_way),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
