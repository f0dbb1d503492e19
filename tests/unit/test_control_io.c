/* Requests to read, write and change what a backend has, as control makes a frontend's of them. */
#include "control_rig.h"

#include "actors/io.h"

static Sluice__Reply *io(void *socket, const char *line)
{
    static uint64_t id = 1000000;
    control_send(socket, line, ++id);
    return control_reply_to(socket, id);
}

static void io_done(void *socket, const char *line, uint64_t bytes)
{
    Sluice__Reply *reply = io(socket, line);
    if (reply->body_case == SLUICE__REPLY__BODY_ERROR)
        fail_msg("%s: %s", line, reply->error->message);
    if (reply->body_case == SLUICE__REPLY__BODY_IO)
        assert_int_equal(reply->io->bytes, bytes);
    sluice__reply__free_unpacked(reply, NULL);
    assert_int_equal(control.backend.sessions, 0);
    assert_int_equal(control.graph.claims, 0);
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
    assert_int_equal(control.backend.sessions, 0);
    assert_int_equal(control.graph.claims, 0);
}

static void io_goes_through_a_session_in_bounded_pieces(void **state)
{
    (void)state;
    void *socket = control_client();
    io_done(socket, "io-write vd0 offset=10 data=hello fua=on", 5);
    assert_int_equal(control.backend.flags, OP_FUA);
    assert_memory_equal(control.backend.memory + 10, "hello", 5);
    Sluice__Reply *reply = io(socket, "io-read vd0 offset=9 bytes=7");
    assert_int_equal(reply->io->data.len, 7);
    assert_memory_equal(reply->io->data.data, "\0hello\0", 7);
    sluice__reply__free_unpacked(reply, NULL);
    control.backend.ops = 0;
    control.backend.largest = 0;
    io_done(socket, "io-write vd0 offset=1 bytes=3000K pattern=7", 3000 << 10);
    assert_int_equal(control.backend.ops, 3);
    assert_int_equal(control.backend.largest, IO_BYTES);
    assert_int_equal(control.backend.memory[0], 0);
    assert_int_equal(control.backend.memory[1], 7);
    assert_int_equal(control.backend.memory[3000 << 10], 7);
    assert_int_equal(control.backend.memory[(3000 << 10) + 1], 0);
    io_done(socket, "io-read vd0 bytes=1M", 1 << 20);
    io_done(socket, "io-read vd0 offset=4M bytes=0", 0);
    io_done(socket, "io-flush vd0", 0);
    assert_int_equal(control.backend.flushes, 1);
    io_done(socket, "io-zeroes vd0 bytes=64K unmap=on", 65536);
    assert_int_equal(control.backend.flags, OP_MAY_UNMAP);
    io_done(socket, "io-discard vd0 bytes=64K", 65536);
    zmq_close(socket);
}

static void long_ranges_are_split(void **state)
{
    (void)state;
    void *socket = control_client();
    io_done(socket, "io-truncate vd0 size=5G preallocation=falloc", 0);
    assert_int_equal(control.backend.flags, OP_PREALLOC_FALLOC);
    control.backend.ops = 0;
    io_done(socket, "io-discard vd0 bytes=5G", UINT64_C(5) << 30);
    assert_int_equal(control.backend.ops, 5);
    zmq_close(socket);
}

static void what_there_is_no_room_for_goes_in_pieces_but_an_ioctl_is_refused(void **state)
{
    (void)state;
    void *socket = control_client();
    control.backend.room = 1000;
    io_done(socket, "io-load-vmstate vd0 bytes=2500", 2500);
    assert_int_equal(control.backend.ops, 3);
    assert_int_equal(control.backend.largest, 1000);
    io_done(socket, "io-ioctl vd0 1 bytes=1000", 1000);
    assert_int_equal(control.backend.ops, 4);
    io_refused(socket, "io-ioctl vd0 1 bytes=1001", SLUICE__ERROR__CLASS__LIMIT, "",
               "io-ioctl: the argument goes whole, but of its 1001 bytes backend \"vd0\" has room "
               "for 1000 now; ask again");
    assert_int_equal(control.backend.ops, 4);
    zmq_close(socket);
}

static void io_that_cant_be_is_refused_by_field(void **state)
{
    (void)state;
    void *socket = control_client();
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
    assert_int_equal(control.backend.opened, 0);
    io_refused(socket, "io-read vd0 offset=4M bytes=1", INVALID, "offset", "reach beyond its end");
    io_refused(socket, "io-read vd0 offset=-1 bytes=1", INVALID, "offset", "must be 0 or more");
    control.backend.fail = -ENOSPC;
    io_refused(socket, "io-write vd0 data=x", SLUICE__ERROR__CLASS__IO, "",
               "io-write: backend \"vd0\" failed at byte 0: No space left on device");
    io_refused(socket, "io-flush vd0", SLUICE__ERROR__CLASS__IO, "", "io-flush: backend \"vd0\"");
    control.backend.ops = 0;
    io_refused(socket, "io-write vd0 bytes=3M pattern=0", SLUICE__ERROR__CLASS__IO, "", "failed");
    assert_int_equal(control.backend.ops, 1); /* the first failure ends it */
    control.graph.read_only = true;
    io_refused(socket, "io-write vd0 data=x", SLUICE__ERROR__CLASS__DENIED, "", "read-only");
    io_refused(socket, "io-truncate vd0 size=1", SLUICE__ERROR__CLASS__DENIED, "", "read-only");
    zmq_close(socket);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        CONTROL_TEST(io_goes_through_a_session_in_bounded_pieces),
        CONTROL_TEST(long_ranges_are_split),
        CONTROL_TEST(what_there_is_no_room_for_goes_in_pieces_but_an_ioctl_is_refused),
        CONTROL_TEST(io_that_cant_be_is_refused_by_field),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
