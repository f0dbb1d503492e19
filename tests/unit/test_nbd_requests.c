/* What NBD clients ask: bounds of what is under way, what reaches the backend, and what they are
 * told of it. */
#include "nbd_rig.h"

#include <errno.h>
#include <unistd.h>

/* --- Bounds */

static void test_requests_beyond_the_credits_are_not_read(void **state)
{
    (void)state;
    backend.requests = 4;
    backend.holds = true;
    int fd = client_ready();
    for (unsigned i = 0; i < 20; i++)
        client_give_request(fd, NBD_CMD_READ, 0, i * 512, 512);
    assert_int_equal(backend.count, 4);
    rig_release(1);
    assert_int_equal(backend.count, 5);
    backend.holds = false;
    rig_release(BACKEND_SEEN);
    assert_int_equal(backend.count, 20);
    char replies[20 * (16 + 512)];
    assert_int_equal(client_take(fd, replies, sizeof(replies)), sizeof(replies));
    close(fd);
}

static void test_bytes_beyond_the_credits_are_not_read(void **state)
{
    (void)state;
    backend.bytes = 1 << 20;
    backend.holds = true;
    int fd = client_ready();
    for (unsigned i = 0; i < 20; i++)
        client_give_request(fd, NBD_CMD_READ, 0, 0, 300 << 10);
    assert_int_equal(backend.count, 3);
    /* More than is ever granted is more than the largest request. */
    int other = client_ready();
    assert_int_equal(client_ask(other, NBD_CMD_READ, 0, 0, (1 << 20) + 1), NBD_EINVAL);
    close(fd);
    close(other);
}

static void test_client_that_does_not_listen_is_not_read(void **state)
{
    (void)state;
    backend.requests = 8;
    int fd = client_ready();
    for (unsigned i = 0; i < 100; i++)
        client_give_request(fd, NBD_CMD_READ, 0, 0, 1 << 20);
    /* What the socket takes, and the credits. */
    assert_in_range(backend.count, 8, 24);
    client_goes_on(client_ready());
    unsigned char *replies = malloc(100 * (16 + (1 << 20)));
    assert_int_equal(client_take(fd, replies, 100 * (16 + (1 << 20))), 100 * (16 + (1 << 20)));
    free(replies);
    client_goes_on(fd);
    close(fd);
}

static void test_client_beyond_the_allowed_number_is_sent_away(void **state)
{
    (void)state;
    export_close();
    Sluice__ExportAdd *spec = export_spec(true);
    spec->has_max_connections = true;
    spec->max_connections = 2;
    export_open(spec);
    int first = client_ready(), second = client_ready(), third = client_dial();
    assert_true(client_is_closed(third));
    assert_non_null(strstr(export.last_reason, "2 clients"));
    assert_int_equal(export.last_severity, SLUICE__EVENT__SEVERITY__WARNING);
    close(first);
    rig_settle();
    int fourth = client_ready();
    client_goes_on(second);
    client_goes_on(fourth);
    close(second);
    close(third);
    close(fourth);
}

/* --- What reaches the backend */

static void test_long_zeroes_go_in_parts_one_after_the_other(void **state)
{
    (void)state;
    backend.length = INT64_C(8) << 30;
    backend.holds = true;
    int fd = client_ready();
    client_give_request(fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FUA, 512, UINT32_MAX);
    uint64_t at = 512;
    for (unsigned i = 1; backend.held.count; i++) {
        assert_int_equal(backend.count, i);
        assert_int_equal(backend.seen[i - 1].offset, at);
        assert_int_equal(backend.seen[i - 1].flags, OP_FUA | OP_MAY_UNMAP);
        assert_true(backend.seen[i - 1].bytes <= INT32_MAX);
        at += backend.seen[i - 1].bytes;
        rig_release(1);
    }
    assert_int_equal(at, 512 + (uint64_t)UINT32_MAX);
    assert_int_equal(client_take_reply(fd), 0);
    close(fd);
}

static void test_part_that_fails_ends_the_request(void **state)
{
    (void)state;
    backend.length = INT64_C(8) << 30;
    backend.error = -ENOSPC;
    backend.error_at = 2;
    int fd = client_ready();
    assert_int_equal(client_ask(fd, NBD_CMD_WRITE_ZEROES, 0, 0, UINT32_MAX), NBD_ENOSPC);
    assert_int_equal(backend.count, 2);
    close(fd);
}

static void test_flags_are_passed_on(void **state)
{
    (void)state;
    static const struct {
        uint16_t type, flags;
        uint8_t kind;
        uint16_t op_flags;
    } cases[] = {
        {NBD_CMD_READ, NBD_CMD_FUA, OP_READ, 0},
        {NBD_CMD_FLUSH, 0, OP_FLUSH, 0},
        {NBD_CMD_TRIM, NBD_CMD_FUA, OP_DISCARD, OP_FUA},
        {NBD_CMD_WRITE_ZEROES, 0, OP_ZEROES, OP_MAY_UNMAP},
        {NBD_CMD_WRITE_ZEROES, NBD_CMD_NO_HOLE, OP_ZEROES, 0},
        {NBD_CMD_WRITE_ZEROES, NBD_CMD_NO_HOLE | NBD_CMD_FAST_ZERO, OP_ZEROES, OP_NO_FALLBACK},
    };
    char data[512];
    int fd = client_ready();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t length = cases[i].type == NBD_CMD_FLUSH ? 0 : 512;
        assert_int_equal(client_ask(fd, cases[i].type, cases[i].flags, 0, length), 0);
        if (cases[i].type == NBD_CMD_READ)
            client_take(fd, data, sizeof(data));
        assert_int_equal(backend.seen[i].kind, cases[i].kind);
        assert_int_equal(backend.seen[i].flags, cases[i].op_flags);
    }
    client_give_request(fd, NBD_CMD_WRITE, NBD_CMD_FUA, 0, 512);
    client_give(fd, data, sizeof(data));
    assert_int_equal(client_take_reply(fd), 0);
    assert_int_equal(backend.seen[backend.count - 1].flags, OP_FUA);
    close(fd);
}

static void test_errors_of_the_medium_have_the_protocols_numbers(void **state)
{
    (void)state;
    static const int cases[][2] = {
        {-EIO, NBD_EIO},       {-ENOSPC, NBD_ENOSPC},       {-EDQUOT, NBD_ENOSPC},
        {-EFBIG, NBD_ENOSPC},  {-EPERM, NBD_EPERM},         {-EROFS, NBD_EPERM},
        {-EINVAL, NBD_EINVAL}, {-ENOMEM, NBD_ENOMEM},       {-ENOTSUP, NBD_ENOTSUP},
        {-ENXIO, NBD_EIO},     {-ESHUTDOWN, NBD_ESHUTDOWN}, {-ENOMEDIUM, NBD_EIO},
    };
    int fd = client_ready();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        backend.error = cases[i][0];
        assert_int_equal(client_ask(fd, NBD_CMD_READ, 0, 0, 512), cases[i][1]);
    }
    /* But a trim is a hint. */
    backend.error = -ENOTSUP;
    assert_int_equal(client_ask(fd, NBD_CMD_TRIM, 0, 0, 512), 0);
    backend.error = 0;
    close(fd);
}

static void test_payloads_arrive_whole_however_they_are_cut(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {512, 4096, 1, 70000, 28, 65536, 65535, 300000, 131072, 12345};
    unsigned seed = 1;
    unsigned char *model = calloc(1, MEDIUM), *stream = malloc(64 << 20);
    size_t bytes = 0, count = 400;
    for (size_t i = 0; i < count; i++) {
        uint32_t length = sizes[rand_r(&seed) % 10];
        uint64_t offset = (uint64_t)rand_r(&seed) % (MEDIUM - length);
        struct nbd_wire_request wire = client_request(NBD_CMD_WRITE, 0, offset, length, i);
        memcpy(stream + bytes, &wire, sizeof(wire));
        bytes += sizeof(wire);
        for (uint32_t j = 0; j < length; j++)
            stream[bytes + j] = (unsigned char)(rand_r(&seed) >> 8);
        memcpy(model + offset, stream + bytes, length);
        bytes += length;
    }
    int fd = client_ready();
    unsigned char *replies = malloc(count * sizeof(struct nbd_wire_reply));
    size_t got = 0, room = count * sizeof(struct nbd_wire_reply);
    for (size_t at = 0; at < bytes;) {
        size_t cut = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 2 ? 100 : 200000);
        cut = cut < bytes - at ? cut : bytes - at;
        assert_int_equal(client_give(fd, stream + at, cut), cut);
        at += cut;
        if (rand_r(&seed) % 8 == 0)
            got += client_take(fd, replies + got, room - got);
    }
    got += client_take(fd, replies + got, room - got);
    assert_int_equal(got, room);
    assert_int_equal(memcmp(model, backend.memory, MEDIUM), 0);
    free(replies);
    free(stream);
    free(model);
    close(fd);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        NBD_TEST(test_requests_beyond_the_credits_are_not_read),
        NBD_TEST(test_bytes_beyond_the_credits_are_not_read),
        NBD_TEST(test_client_that_does_not_listen_is_not_read),
        NBD_TEST(test_client_beyond_the_allowed_number_is_sent_away),
        NBD_TEST(test_long_zeroes_go_in_parts_one_after_the_other),
        NBD_TEST(test_part_that_fails_ends_the_request),
        NBD_TEST(test_flags_are_passed_on),
        NBD_TEST(test_errors_of_the_medium_have_the_protocols_numbers),
        NBD_TEST(test_payloads_arrive_whole_however_they_are_cut),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
