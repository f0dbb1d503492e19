/* What NBD clients must not send, and silence: it costs nobody but them. */
#include "nbd_rig.h"

#include <unistd.h>

static void test_requests_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint16_t type, flags;
        uint64_t offset;
        uint32_t length;
        int error;
    } cases[] = {
        {5, 0, 0, 512, NBD_EINVAL},
        {7, 0, 0, 512, NBD_EINVAL},
        {65535, 0, 0, 512, NBD_EINVAL},
        {NBD_CMD_READ, NBD_CMD_NO_HOLE, 0, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0x8000, 0, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, MEDIUM, 1, NBD_EINVAL},
        {NBD_CMD_READ, 0, UINT64_MAX, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX + 1, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, UINT32_MAX, NBD_EINVAL},
        {NBD_CMD_TRIM, 0, MEDIUM - 511, 512, NBD_EINVAL},
        {NBD_CMD_WRITE_ZEROES, 0, MEDIUM - 511, 512, NBD_ENOSPC},
        {NBD_CMD_FLUSH, 0, 0, 1, NBD_EINVAL},
    };
    int fd = client_ready();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(
            client_ask(fd, cases[i].type, cases[i].flags, cases[i].offset, cases[i].length),
            cases[i].error);
    assert_int_equal(backend.count, 0);
    assert_int_equal(backend_invalid(OP_READ), 6); /* each counts where its kind is known */
    assert_int_equal(
        backend_invalid(OP_DISCARD) + backend_invalid(OP_ZEROES) + backend_invalid(OP_FLUSH), 3);
    assert_int_equal(backend_invalid(OP_WRITE), 0);
    client_goes_on(fd);
    assert_int_equal(client_ask(fd, NBD_CMD_READ, 0, 0, 0), 0); /* it is fine */
    assert_int_equal(backend_invalid(OP_READ), 6);
    close(fd);
}

/* But for commands that there are not, and those that the backend has seen. */
static void test_what_is_refused_here_is_counted_as_invalid(void **state)
{
    (void)state;
    char data[512] = "x";
    int fd = client_ready();
    rig_pass(NS_PER_S);
    assert_int_equal(client_ask(fd, NBD_CMD_READ, 0, MEDIUM, 1), NBD_EINVAL);
    assert_int_equal(client_ask(fd, NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX + 1), NBD_EINVAL);
    assert_int_equal(client_ask(fd, NBD_CMD_READ, NBD_CMD_NO_HOLE, 0, 512), NBD_EINVAL);
    client_give_request(fd, NBD_CMD_WRITE, 0, MEDIUM, sizeof(data));
    client_give(fd, data, sizeof(data));
    assert_int_equal(client_take_reply(fd), NBD_ENOSPC);
    assert_int_equal(client_ask(fd, NBD_CMD_WRITE_ZEROES, 0, MEDIUM, 1), NBD_ENOSPC);
    assert_int_equal(client_ask(fd, NBD_CMD_TRIM, 0, MEDIUM, 1), NBD_EINVAL);
    assert_int_equal(client_ask(fd, NBD_CMD_FLUSH, 0, 0, 1), NBD_EINVAL);
    assert_int_equal(client_ask(fd, 5, 0, 0, 512), NBD_EINVAL);
    assert_int_equal(client_ask(fd, NBD_CMD_TRIM, 0, 0, 0), 0);
    client_goes_on(fd);
    assert_non_null(backend.told);
    assert_int_equal(backend.told->invalid[OP_READ], 3);
    assert_int_equal(backend.told->invalid[OP_WRITE], 1);
    assert_int_equal(backend.told->invalid[OP_ZEROES], 1);
    assert_int_equal(backend.told->invalid[OP_DISCARD], 1);
    assert_int_equal(backend.told->invalid[OP_FLUSH], 1);
    assert_true(backend.told->last >= NS_PER_S);
    close(fd);
}

static void test_refused_write_is_skipped_with_its_payload(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset;
        uint32_t length;
        uint16_t flags;
        int error;
    } cases[] = {
        {0, NBD_PAYLOAD_MAX + 1, 0, NBD_EINVAL},
        {MEDIUM, 100000, 0, NBD_ENOSPC},
        {0, 512, NBD_CMD_NO_HOLE, NBD_EINVAL},
        {MEDIUM, 512, 0, NBD_ENOSPC},
    };
    char *payload = malloc(NBD_PAYLOAD_MAX + 1);
    memset(payload, 'x', NBD_PAYLOAD_MAX + 1);
    int fd = client_ready();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        client_give_request(fd, NBD_CMD_WRITE, cases[i].flags, cases[i].offset, cases[i].length);
        assert_int_equal(client_give(fd, payload, cases[i].length), cases[i].length);
        assert_int_equal(client_take_reply(fd), cases[i].error);
        assert_int_equal(backend_invalid(OP_WRITE), i + 1);
    }
    assert_int_equal(backend.count, 0);
    client_goes_on(fd);
    free(payload);
    close(fd);
}

static void test_wrong_magic_ends_this_connection_only(void **state)
{
    (void)state;
    int fd = client_ready(), other = client_ready();
    struct nbd_wire_request wire = client_request(NBD_CMD_READ, 0, 0, 512, 0);
    wire.magic ^= 1;
    client_give(fd, &wire, sizeof(wire));
    assert_true(client_is_closed(fd));
    assert_non_null(strstr(export.last_reason, "magic"));
    client_goes_on(other);
    close(fd);
    close(other);
}

static void test_writing_to_a_read_only_export_is_not_permitted(void **state)
{
    (void)state;
    export_close();
    export_open(export_spec(false));
    char data[512] = "x";
    int fd = client_ready();
    client_give_request(fd, NBD_CMD_WRITE, 0, 0, sizeof(data));
    client_give(fd, data, sizeof(data));
    assert_int_equal(client_take_reply(fd), NBD_EPERM);
    assert_int_equal(client_ask(fd, NBD_CMD_TRIM, 0, 0, 512), NBD_EPERM);
    assert_int_equal(client_ask(fd, NBD_CMD_WRITE_ZEROES, 0, 0, 512), NBD_EPERM);
    assert_int_equal(backend.count, 0);
    assert_int_equal(
        backend_invalid(OP_WRITE) + backend_invalid(OP_DISCARD) + backend_invalid(OP_ZEROES), 3);
    client_goes_on(fd);
    close(fd);
}

static void test_half_a_request_and_silence_costs_the_others_nothing(void **state)
{
    (void)state;
    int fd = client_ready(), other = client_ready();
    struct nbd_wire_request wire = client_request(NBD_CMD_READ, 0, 0, 512, 0);
    client_give(fd, &wire, 11);
    rig_pass(3600 * NS_PER_S);
    client_goes_on(other);
    client_give(fd, (char *)&wire + 11, sizeof(wire) - 11);
    assert_int_equal(client_take_reply(fd), 0);
    close(fd);
    close(other);
}

static void test_silence_in_the_handshake_ends_the_connection(void **state)
{
    (void)state;
    int fd = client_greeted();
    client_give(fd, "IHAVE", 5);
    rig_pass(9 * NS_PER_S);
    assert_false(client_is_closed(fd));
    rig_pass(1 * NS_PER_S);
    assert_true(client_is_closed(fd));
    assert_non_null(strstr(export.last_reason, "handshake"));
    close(fd);
}

static void test_bad_options_are_refused_and_the_handshake_goes_on(void **state)
{
    (void)state;
    char *large = calloc(1, 200000);
    int fd = client_greeted();
    client_give_option(fd, 8, NULL, 0); /* STRUCTURED_REPLY */
    assert_int_equal(client_take_rep(fd, 8, NULL, 0), NBD_REP_ERR_UNSUP);
    client_give_option(fd, 12345, large, 1000);
    assert_int_equal(client_take_rep(fd, 12345, NULL, 0), NBD_REP_ERR_UNSUP);
    client_give_option(fd, NBD_OPT_GO, large, 200000);
    assert_int_equal(client_take_rep(fd, NBD_OPT_GO, NULL, 0), NBD_REP_ERR_TOO_BIG);
    client_give_option(fd, NBD_OPT_GO, CLIENT_GO, 9);
    assert_int_equal(client_take_rep(fd, NBD_OPT_GO, NULL, 0), NBD_REP_ERR_INVALID);
    client_give_option(fd, NBD_OPT_GO, "\0\0\0\4disc\0\0", 10);
    assert_int_equal(client_take_rep(fd, NBD_OPT_GO, NULL, 0), NBD_REP_ERR_UNKNOWN);
    client_give_option(fd, NBD_OPT_LIST, "x", 1);
    assert_int_equal(client_take_rep(fd, NBD_OPT_LIST, NULL, 0), NBD_REP_ERR_INVALID);
    client_give_option(fd, NBD_OPT_GO, CLIENT_GO, 10);
    assert_int_equal(client_last_rep(fd, NBD_OPT_GO), NBD_REP_ACK);
    client_goes_on(fd);
    free(large);
    close(fd);
}

static void test_noise_ends_the_connection_and_nothing_else(void **state)
{
    (void)state;
    int other = client_ready();
    for (unsigned seed = 1; seed < 50; seed++) {
        unsigned r = seed;
        unsigned char noise[3000];
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (unsigned char)(rand_r(&r) >> 4);
        int fd = seed % 2 ? client_ready() : client_greeted();
        client_give(fd, noise, sizeof(noise));
        assert_true(client_is_closed(fd));
        close(fd);
    }
    client_goes_on(other);
    close(other);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        NBD_TEST(test_requests_that_make_no_sense_are_refused),
        NBD_TEST(test_what_is_refused_here_is_counted_as_invalid),
        NBD_TEST(test_refused_write_is_skipped_with_its_payload),
        NBD_TEST(test_wrong_magic_ends_this_connection_only),
        NBD_TEST(test_writing_to_a_read_only_export_is_not_permitted),
        NBD_TEST(test_half_a_request_and_silence_costs_the_others_nothing),
        NBD_TEST(test_silence_in_the_handshake_ends_the_connection),
        NBD_TEST(test_bad_options_are_refused_and_the_handshake_goes_on),
        NBD_TEST(test_noise_ends_the_connection_and_nothing_else),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
