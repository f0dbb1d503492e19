/* NBD exports and their clients come and go, and so does the backend's medium. */
#include "nbd_rig.h"

#include <unistd.h>

/* --- The backend's side of things */

static void test_refused_session_is_told_to_the_client(void **state)
{
    (void)state;
    char text[200];
    int fd = client_greeted();
    backend.refuses_sessions = true;
    client_give_option(fd, NBD_OPT_GO, CLIENT_GO, 10);
    assert_int_equal(client_take_rep(fd, NBD_OPT_GO, text, sizeof(text)), NBD_REP_ERR_POLICY);
    assert_string_equal(text, "all credits are taken");
    backend.refuses_sessions = false;
    client_give_option(fd, NBD_OPT_GO, CLIENT_GO, 10);
    assert_int_equal(client_last_rep(fd, NBD_OPT_GO), NBD_REP_ACK);
    close(fd);
}

static void test_backend_without_medium_is_not_served(void **state)
{
    (void)state;
    backend.inserted = false;
    int fd = client_greeted();
    client_give_option(fd, NBD_OPT_GO, CLIENT_GO, 10);
    assert_int_equal(client_last_rep(fd, NBD_OPT_GO), NBD_REP_ERR_UNKNOWN);
    close(fd);
}

static void test_growth_of_the_medium_is_noticed(void **state)
{
    (void)state;
    backend.length = 1 << 20;
    int fd = client_ready();
    assert_int_equal(client_ask(fd, NBD_CMD_TRIM, 0, 1 << 20, 512), NBD_EINVAL);
    backend_grow(2 << 20);
    assert_int_equal(client_ask(fd, NBD_CMD_TRIM, 0, 1 << 20, 512), 0);
    close(fd);
}

static void test_export_of_a_backend_that_refuses_is_refused(void **state)
{
    (void)state;
    export_close();
    backend.refuses_sessions = true;
    export_open(export_spec(true));
    assert_int_equal(export.answer.kind, MAIL_FAULT);
    assert_string_equal(export.answer.err.text, "all credits are taken");
    export.address = 0;
}

/* --- Ending */

static void test_death_with_requests_in_flight_costs_the_others_nothing(void **state)
{
    (void)state;
    backend.holds = true;
    int dying = client_ready(), other = client_ready();
    for (unsigned i = 0; i < 10; i++)
        client_give_request(dying, NBD_CMD_READ, 0, i * 4096, 4096);
    client_give_request(other, NBD_CMD_READ, 0, 512, 512);
    close(dying);
    rig_settle();
    rig_pass(3600 * NS_PER_S);
    assert_int_equal(backend.sessions, 2); /* its buffers are still in use */
    assert_int_equal(export.disconnected, 0);
    rig_release(11);
    assert_int_equal(backend.sessions, 1);
    assert_int_equal(export.disconnected, 1);
    assert_non_null(strstr(export.last_reason, "without a disconnect"));
    assert_int_equal(export.last_severity, SLUICE__EVENT__SEVERITY__WARNING);
    char data[512];
    assert_int_equal(client_take_reply(other), 0);
    assert_int_equal(client_take(other, data, sizeof(data)), sizeof(data));
    close(other);
}

static void test_death_with_half_a_payload_leaves_nothing(void **state)
{
    (void)state;
    for (uint32_t length = 4096; length <= 1 << 20; length <<= 8) {
        int dying = client_ready();
        char data[1000] = {0};
        client_give_request(dying, NBD_CMD_WRITE, 0, 0, length);
        client_give(dying, data, sizeof(data));
        close(dying);
        rig_settle();
        assert_int_equal(backend.sessions, 0);
    }
    assert_int_equal(backend.count, 0);
}

static void test_disconnect_waits_for_what_came_before_it(void **state)
{
    (void)state;
    backend.holds = true;
    int fd = client_ready();
    client_give_request(fd, NBD_CMD_READ, 0, 0, 512);
    client_give_request(fd, NBD_CMD_DISC, 0, 0, 0);
    assert_int_equal(client_take_reply(fd), -1);
    rig_release(1);
    char data[512];
    assert_int_equal(client_take_reply(fd), 0);
    assert_int_equal(client_take(fd, data, sizeof(data)), sizeof(data));
    assert_true(client_is_closed(fd));
    assert_string_equal(export.last_reason, "disconnect");
    assert_int_equal(export.last_severity, SLUICE__EVENT__SEVERITY__INFO);
    close(fd);
}

static void test_closing_the_export_lets_requests_in_flight_finish(void **state)
{
    (void)state;
    backend.holds = true;
    int fd = client_ready(), idle = client_ready(), shaking = client_greeted();
    client_give_request(fd, NBD_CMD_FLUSH, 0, 0, 0);
    export_close();
    assert_false(export.answer.came);
    assert_true(client_is_closed(idle));
    assert_true(client_is_closed(shaking));
    rig_release(1);
    assert_true(export.answer.came);
    assert_int_equal(client_take_reply(fd), 0);
    assert_true(client_is_closed(fd));
    assert_int_equal(backend.sessions, 0);
    assert_int_equal(access(export.path, F_OK), -1);
    assert_int_equal(export.connected, export.disconnected);
    export.address = 0;
    close(fd);
    close(idle);
    close(shaking);
}

static void test_last_replies_wait_for_a_client_only_so_long(void **state)
{
    (void)state;
    int fd = client_ready();
    for (unsigned i = 0; i < 100; i++)
        client_give_request(fd, NBD_CMD_READ, 0, 0, 1 << 20);
    export_close();
    rig_pass(9 * NS_PER_S);
    assert_false(export.answer.came);
    rig_pass(2 * NS_PER_S);
    assert_true(export.answer.came);
    export.address = 0;
    close(fd);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        NBD_TEST(test_refused_session_is_told_to_the_client),
        NBD_TEST(test_backend_without_medium_is_not_served),
        NBD_TEST(test_growth_of_the_medium_is_noticed),
        NBD_TEST(test_export_of_a_backend_that_refuses_is_refused),
        NBD_TEST(test_death_with_requests_in_flight_costs_the_others_nothing),
        NBD_TEST(test_death_with_half_a_payload_leaves_nothing),
        NBD_TEST(test_disconnect_waits_for_what_came_before_it),
        NBD_TEST(test_closing_the_export_lets_requests_in_flight_finish),
        NBD_TEST(test_last_replies_wait_for_a_client_only_so_long),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
