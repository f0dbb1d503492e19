/* What clients of control send that is no request, or too much of it: it costs nobody but them. */
#include "control_rig.h"

#include "actors/clients.h"

static void send_raw(void *socket, const char *data, size_t size)
{
    assert_int_equal(zmq_send(socket, data, size, 0), size);
}
#define SEND_RAW(socket, data) send_raw(socket, data, sizeof data - 1)

static void what_is_no_request_gets_an_error_and_costs_nothing_else(void **state)
{
    (void)state;
    void *socket = control_client();
    SEND_RAW(socket, "");
    control_expect_error(socket, 0, INVALID, "", "the request has no body");
    SEND_RAW(socket, "\xff\xff\xff");
    control_expect_error(socket, 0, INVALID, "", "ends in mid-field");
    SEND_RAW(socket, "\x08\x07");
    control_expect_error(socket, 7, INVALID, "", "the request has no body, so nothing is asked");
    SEND_RAW(socket, "\x08\x09\x98\x3f\x01");
    control_expect_error(socket, 9, INVALID, "", "has no field number 1011");
    SEND_RAW(socket, "\x08\x0a\x62\x02\x0a\x00\x62");
    control_expect_error(socket, 10, INVALID, "", "ends in mid-field");
    SEND_RAW(socket, "\x08\x0b\x62\x03\x0a\x01\xff");
    control_expect_error(socket, 11, INVALID, "name", "name is not text in UTF-8");
    SEND_RAW(socket, "\x08\x0c\x62\x00");
    control_expect_error(socket, 12, INVALID, "name", "node_show needs name, which is missing");
    SEND_RAW(socket, "\x08\x0d\x12\x00\x5a\x00");
    control_expect_error(socket, 13, INVALID, "node_list", "more than one body");
    /* Two frames, and a delimiter with nothing behind it but another. */
    zmq_send(socket, "a", 1, ZMQ_SNDMORE);
    SEND_RAW(socket, "b");
    control_expect_error(socket, 0, INVALID, "", "a request is one frame");
    zmq_send(socket, "", 0, ZMQ_SNDMORE);
    zmq_send(socket, "x", 1, ZMQ_SNDMORE);
    SEND_RAW(socket, "y");
    assert_int_equal(rig_receive(socket, control.buffer, sizeof control.buffer, 5000),
                     0); /* its delimiter */
    control_expect_error(socket, 0, INVALID, "", "a request is one frame");
    /* Too long, but not yet so long that the connection ends. */
    char *large = calloc(1, CONTROL_REQUEST_BYTES + 1);
    memcpy(large, "\x08\x0e", 2);
    send_raw(socket, large, CONTROL_REQUEST_BYTES + 1);
    control_expect_error(socket, 14, INVALID, "", "1310720 are the most");
    free(large);
    assert_int_equal(control.graph.asked, 0);
    control_send(socket, "node-show n", 15);
    assert_string_equal(control_name_in_reply(socket, 15), "answer1");
    zmq_close(socket);
}

static void a_frame_that_is_far_too_long_ends_its_connection_only(void **state)
{
    (void)state;
    void *greedy = control_client(), *other = control_client();
    char *large = calloc(1, CONTROL_FRAME_BYTES + 1);
    send_raw(greedy, large, CONTROL_FRAME_BYTES + 1);
    free(large);
    assert_null(control_reply_within(greedy, 100));
    control_send(other, "node-show n", 1);
    control_name_in_reply(other, 1);
    control_send(greedy, "node-show n", 1); /* it has connected again */
    control_name_in_reply(greedy, 1);
    zmq_close(greedy);
    zmq_close(other);
}

static void random_bytes_get_errors(void **state)
{
    (void)state;
    void *socket = control_client();
    uint64_t random = 88172645463325252;
    unsigned replies = 0;
    control.graph.fault = -ENOENT;
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
        Sluice__Reply *reply = control_reply_within(socket, 5000);
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
    void *socket = control_client(), *other = control_client();
    control.graph.hold = true;
    for (uint64_t id = 1; id <= CLIENT_IN_FLIGHT; id++)
        control_send(socket, "node-show n", id);
    while (control.graph.nheld < CLIENT_IN_FLIGHT)
        rig_run();
    control_send(socket, "node-show n", 1000);
    control_expect_error(socket, 1000, SLUICE__ERROR__CLASS__LIMIT, "",
                         "has 64 requests under way");
    control.graph.hold = false;
    control_send(other, "node-show n", 1);
    control_name_in_reply(other, 1);
    for (unsigned i = 0; i < CLIENT_IN_FLIGHT; i++)
        control_answer(i);
    for (uint64_t i = 0; i < CLIENT_IN_FLIGHT; i++) {
        Sluice__Reply *reply = control_reply_within(socket, 5000);
        assert_non_null(reply);
        sluice__reply__free_unpacked(reply, NULL);
    }
    /* A refusal is not remembered: it did nothing. */
    control_send(socket, "node-show n", 1000);
    control_name_in_reply(socket, 1000);
    zmq_close(socket);
    zmq_close(other);
}

static void one_that_reads_no_replies_costs_the_others_nothing(void **state)
{
    (void)state;
    void *deaf = zmq_socket(control.context, ZMQ_DEALER), *other = control_client();
    int one = 1, none = 0, small = 4096;
    zmq_setsockopt(deaf, ZMQ_RCVHWM, &one, sizeof one);
    zmq_setsockopt(deaf, ZMQ_RCVBUF, &small, sizeof small);
    zmq_setsockopt(deaf, ZMQ_LINGER, &none, sizeof none);
    assert_int_equal(zmq_connect(deaf, control.endpoint), 0);
    memset(control.backend.memory, 'x', MEDIUM);
    for (uint64_t id = 1; id <= 2000; id++) {
        control_send(deaf, "io-read vd0 bytes=64K", 0);
        rig_run();
        if (id % 500 == 0) {
            control_send(other, "node-show n", id);
            control_name_in_reply(other, id);
        }
    }
    zmq_close(deaf);
    zmq_close(other);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        CONTROL_TEST(what_is_no_request_gets_an_error_and_costs_nothing_else),
        CONTROL_TEST(a_frame_that_is_far_too_long_ends_its_connection_only),
        CONTROL_TEST(random_bytes_get_errors),
        CONTROL_TEST(requests_under_way_are_bounded_by_client),
        CONTROL_TEST(one_that_reads_no_replies_costs_the_others_nothing),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
