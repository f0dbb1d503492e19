#!/usr/bin/python3
"""NBD by hand: what real clients never send, against a real server.

    nbd_raw.py WRITABLE_SOCKET READ_ONLY_SOCKET PID

Both sockets lead to exports named "disk"; the writable one has at least 5 GiB of zeroes (sparse).
PID is the server's, for its memory. Each test is named by the behaviour that it shows.
"""
import os
import socket
import struct
import sys
import time
import unittest

OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO, OPT_STRUCTURED = 1, 2, 3, 5, 6, 7, 8
REP_ACK, REP_SERVER, REP_INFO = 1, 2, 3
ERR_UNSUP, ERR_INVALID, ERR_UNKNOWN, ERR_TOO_BIG = (1 << 31 | n for n in (1, 3, 6, 9))
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES = range(7)
FUA, NO_HOLE, FAST_ZERO = 1, 2, 16
EPERM, EIO, EINVAL, ENOSPC = 1, 5, 22, 28
MAX = 32 << 20


class Client:
    """One connection. Nothing is sent or checked that was not asked for."""

    def __init__(self, path, flags=3, go=True, name=b"disk"):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(path)
        try:
            self.shake_hands(flags, go, name)
        except Exception:
            self.close()
            raise

    def shake_hands(self, flags, go, name):
        magic, opt, self.server_flags = struct.unpack(">8s8sH", self.take(18))
        assert (magic, opt) == (b"NBDMAGIC", b"IHAVEOPT")
        if flags is not None:
            self.send(struct.pack(">I", flags))
        if go:
            assert self.go(name)[-1][0] == REP_ACK

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def take(self, count):
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise EOFError("closed after %d of %d bytes" % (len(data), count))
            data += more
        return data

    def is_closed(self):
        """Waits for the server to close."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True

    def option(self, option, data=b"", length=None):
        self.send(struct.pack(">8sII", b"IHAVEOPT", option, len(data) if length is None else length) + data)

    def option_reply(self, option):
        magic, got, kind, length = struct.unpack(">QIII", self.take(20))
        assert magic == 0x3E889045565A9 and got == option, (hex(magic), got)
        return kind, self.take(length)

    def option_replies(self, option):
        """All up to the one that ends it."""
        replies = []
        while not replies or replies[-1][0] in (REP_SERVER, REP_INFO):
            replies.append(self.option_reply(option))
        return replies

    def go(self, name=b"disk", option=OPT_GO, infos=(1, 2, 3)):
        self.option(option, struct.pack(">I", len(name)) + name +
                    struct.pack(">H%dH" % len(infos), len(infos), *infos))
        replies = self.option_replies(option)
        for kind, data in replies[:-1]:
            if data[:2] == b"\0\0":
                self.size, self.flags = struct.unpack(">2xQH", data)
            elif data[:2] == b"\0\3":
                self.blocks = struct.unpack(">2x3I", data)
        return replies

    def request(self, kind, offset=0, length=0, flags=0, cookie=1, data=b"", magic=0x25609513):
        self.send(struct.pack(">IHHQQI", magic, flags, kind, cookie, offset, length) + data)

    def reply(self, length=0):
        """Error, cookie, data of a successful read."""
        magic, error, cookie = struct.unpack(">IIQ", self.take(16))
        assert magic == 0x67446698, hex(magic)
        return error, cookie, self.take(length) if not error else b""

    def ask(self, kind, offset=0, length=0, flags=0, data=b"", cookie=77):
        """The error of a whole request, or its data."""
        self.request(kind, offset, length, flags, cookie, data)
        error, got, data = self.reply(length if kind == READ else 0)
        assert got == cookie
        return error or data

    def write(self, offset, data, flags=0):
        return self.ask(WRITE, offset, len(data), flags, data)


class Handshake(unittest.TestCase):
    def client(self, **args):
        client = Client(WRITABLE, **args)
        self.addCleanup(client.close)
        return client

    def goes_on(self, client):
        self.assertEqual(client.go()[-1][0], REP_ACK)
        self.assertEqual(client.ask(READ, 0, 16), bytes(16))

    def test_server_offers_fixed_newstyle_without_zeroes(self):
        self.assertEqual(self.client(go=False).server_flags, 3)

    def test_unknown_client_flag_ends_the_connection(self):
        self.assertTrue(self.client(flags=7, go=False).is_closed())

    def test_wrong_option_magic_ends_the_connection(self):
        client = self.client(go=False)
        client.send(struct.pack(">8sII", b"IHAVENOT", OPT_GO, 0))
        self.assertTrue(client.is_closed())

    def test_unknown_options_are_answered_unsupported(self):
        client = self.client(go=False)
        for option in (OPT_STARTTLS, OPT_STRUCTURED, 4, 9, 10, 11, 12345, 0, 2**32 - 1):
            client.option(option, b"data")
            self.assertEqual(client.option_reply(option)[0], ERR_UNSUP)
        self.goes_on(client)

    def test_malformed_go_is_answered_invalid(self):
        client = self.client(go=False)
        for data in (b"", b"\0\0\0\4disk", b"\0\0\0\4disk\0\1", b"\xff\xff\xff\xffdisk\0\0",
                     b"\0\0\0\0\0\0\0", b"\0\0\0\4disk\0\0\0"):
            for option in (OPT_INFO, OPT_GO):
                client.option(option, data)
                self.assertEqual(client.option_reply(option)[0], ERR_INVALID)
        self.goes_on(client)

    def test_list_with_data_is_answered_invalid(self):
        client = self.client(go=False)
        client.option(OPT_LIST, b"x")
        self.assertEqual(client.option_reply(OPT_LIST)[0], ERR_INVALID)
        self.goes_on(client)

    def test_unknown_name_is_answered_unknown(self):
        client = self.client(go=False)
        for name in (b"other", b"dis", b"disk\0", b"x" * 5000):
            self.assertEqual(client.go(name)[-1][0], ERR_UNKNOWN)
        self.goes_on(client)

    def test_oversized_option_is_skipped_and_answered_too_big(self):
        client = self.client(go=False)
        for size in (65537, 3000000):
            client.option(OPT_GO, bytes(size))
            self.assertEqual(client.option_reply(OPT_GO)[0], ERR_TOO_BIG)
        self.goes_on(client)

    def test_option_of_64_kib_is_read_whole(self):
        client = self.client(go=False)
        client.option(OPT_GO, bytes(65536))
        self.assertEqual(client.option_reply(OPT_GO)[0], ERR_INVALID)
        self.goes_on(client)

    def test_list_names_the_export(self):
        client = self.client(go=False)
        client.option(OPT_LIST)
        (kind, data), end = client.option_replies(OPT_LIST)
        self.assertEqual((kind, data[:8], end[0]), (REP_SERVER, b"\0\0\0\4disk", REP_ACK))

    def test_info_tells_without_ending_the_handshake(self):
        client = self.client(go=False)
        replies = client.go(option=OPT_INFO)
        self.assertEqual(replies[-1][0], REP_ACK)
        self.assertIn(b"\0\1disk", [data for _, data in replies])
        self.assertEqual((client.blocks[0], client.blocks[2]), (1, MAX))
        self.goes_on(client)

    def test_empty_name_is_the_default_export(self):
        client = self.client(go=False)
        self.assertEqual(client.go(b"")[-1][0], REP_ACK)
        self.assertEqual(client.ask(READ, 0, 16), bytes(16))

    def test_abort_is_acknowledged_and_closes(self):
        client = self.client(go=False)
        client.option(OPT_ABORT)
        self.assertEqual(client.option_reply(OPT_ABORT), (REP_ACK, b""))
        self.assertTrue(client.is_closed())

    def test_export_name_goes_on_with_and_without_zeroes(self):
        for flags, zeroes in ((1, 124), (3, 0), (0, 124)):
            client = self.client(flags=flags, go=False)
            client.option(OPT_EXPORT_NAME, b"disk")
            size, _ = struct.unpack(">QH", client.take(10))
            self.assertGreater(size, 5 << 30)
            self.assertEqual(client.take(zeroes), bytes(zeroes))
            self.assertEqual(client.ask(READ, 0, 16), bytes(16))

    def test_unknown_export_name_ends_the_connection(self):
        for name in (b"other", bytes(70000)):
            client = self.client(go=False)
            client.option(OPT_EXPORT_NAME, name)
            self.assertTrue(client.is_closed())

    def test_options_may_come_byte_by_byte(self):
        client = self.client(flags=None, go=False)
        for byte in struct.pack(">I8sIII4sH", 3, b"IHAVEOPT", OPT_GO, 10, 4, b"disk", 0):
            client.send(bytes([byte]))
        self.assertEqual(client.option_replies(OPT_GO)[-1][0], REP_ACK)

    def test_silence_in_the_handshake_ends_the_connection_after_its_time(self):
        silent = [self.client(flags=None, go=False), self.client(go=False)]
        half = self.client(go=False)
        half.send(b"IHAVE")
        start = time.monotonic()
        for client in silent + [half]:
            self.assertTrue(client.is_closed())
        self.assertTrue(8 < time.monotonic() - start < 15)


class Requests(unittest.TestCase):
    def setUp(self):
        self.client = self.admitted()

    def another(self, path=None):
        client = Client(path or WRITABLE)
        self.addCleanup(client.close)
        return client

    def goes_on(self, client=None):
        self.assertEqual((client or self.client).ask(READ, 4 << 30, 512), bytes(512))

    def test_wrong_magic_ends_this_connection_only(self):
        other = self.another()
        self.client.request(READ, 0, 512, magic=0x12345678)
        self.assertTrue(self.client.is_closed())
        self.goes_on(other)

    def test_requests_before_a_wrong_magic_are_answered(self):
        self.client.request(READ, 0, 512, cookie=5)
        self.client.request(READ, 0, 512, magic=0)
        self.assertEqual(self.client.reply(512)[:2], (0, 5))
        self.assertTrue(self.client.is_closed())

    def test_unknown_commands_are_invalid(self):
        for kind in (CACHE, 7, 8, 9, 65535):
            self.assertEqual(self.client.ask(kind, 0, 512), EINVAL)
        self.goes_on()

    def test_flags_that_make_no_sense_are_invalid(self):
        for kind, flags in ((READ, NO_HOLE), (READ, 4), (TRIM, FAST_ZERO), (ZEROES, 32), (FLUSH, NO_HOLE)):
            self.assertEqual(self.client.ask(kind, 0, 0 if kind == FLUSH else 512, flags), EINVAL)
        self.assertEqual(self.client.write(0, bytes(512), NO_HOLE), EINVAL)
        self.goes_on()

    def test_reading_past_the_end_is_invalid(self):
        size = self.client.size
        for offset, length in ((size, 1), (size - 511, 512), (size + 1, 0), (2**64 - 1, 512), (2**63, 1)):
            self.assertEqual(self.client.ask(READ, offset, length), EINVAL)
        self.assertEqual(self.client.ask(READ, size - 512, 512), bytes(512))

    def test_writing_past_the_end_has_no_space(self):
        size = self.client.size
        for offset in (size, size - 511, 2**64 - 1, 2**63 - 1):
            self.assertEqual(self.client.write(offset, b"x" * 512), ENOSPC)
            self.assertEqual(self.client.ask(ZEROES, offset, 512), ENOSPC)
            self.assertEqual(self.client.ask(TRIM, offset, 512), EINVAL)
        self.goes_on()

    def test_flush_takes_no_range(self):
        self.assertEqual(self.client.ask(FLUSH), b"")
        self.assertEqual(self.client.ask(FLUSH, 512), EINVAL)
        self.assertEqual(self.client.ask(FLUSH, 0, 512), EINVAL)

    def test_nothing_is_done_at_once(self):
        for kind in (READ, WRITE, TRIM, ZEROES):
            self.assertEqual(self.client.ask(kind, 512, 0), b"")

    def test_reading_more_than_the_maximum_is_invalid(self):
        self.assertEqual(self.client.ask(READ, 0, MAX + 1), EINVAL)
        self.assertEqual(self.client.ask(READ, 0, 2**32 - 1), EINVAL)
        self.assertEqual(len(self.client.ask(READ, 0, MAX)), MAX)

    def test_writing_more_than_the_maximum_is_skipped_and_invalid(self):
        self.assertEqual(self.client.write(0, b"x" * (MAX + 1)), EINVAL)
        self.assertEqual(self.client.ask(READ, 0, 512), bytes(512))
        self.assertEqual(self.client.write(1 << 30, b"x" * MAX), b"")
        self.assertEqual(self.client.ask(READ, (1 << 30) + MAX - 512, 1024), b"x" * 512 + bytes(512))
        self.assertEqual(self.client.ask(ZEROES, 1 << 30, MAX), b"")

    def test_writing_to_a_read_only_export_is_not_permitted(self):
        client = self.another(READ_ONLY)
        self.assertTrue(client.flags & 2)
        self.assertEqual(client.write(0, b"x" * 512), EPERM)
        self.assertEqual(client.write(0, b"x" * 600000), EPERM)
        for kind in (TRIM, ZEROES):
            self.assertEqual(client.ask(kind, 0, 512), EPERM)
        self.assertEqual(client.ask(FLUSH), b"")
        self.goes_on(client)

    def test_trim_and_zeroes_may_be_as_long_as_the_protocol_can_tell(self):
        self.assertEqual(self.client.write(2**32 - 512, b"y" * 512), b"")
        self.assertEqual(self.client.ask(ZEROES, 0, 2**32 - 1), b"")
        self.assertEqual(self.client.ask(READ, 2**32 - 512, 512), bytes(511) + b"y")
        self.assertEqual(self.client.ask(ZEROES, 2**32 - 512, 512, NO_HOLE), b"")
        self.assertEqual(self.client.ask(TRIM, 0, 2**32 - 1), b"")

    def test_half_a_request_and_silence_costs_the_others_nothing(self):
        header = struct.pack(">IHHQQI", 0x25609513, 0, READ, 9, 0, 512)
        self.client.send(header[:13])
        other = self.another()
        self.client.sock.settimeout(0.5)
        self.assertRaises(TimeoutError, self.client.take, 1)
        self.goes_on(other)
        self.client.send(header[13:])
        self.assertEqual(self.client.reply(512), (0, 9, bytes(512)))

    def test_half_a_payload_and_silence_costs_the_others_nothing(self):
        for size in (4096, 1 << 20):
            data = os.urandom(size)
            self.client.request(WRITE, 2 << 30, size, data=data[:1000])
            other = self.another()
            self.goes_on(other)
            self.client.send(data[1000:])
            self.assertEqual(self.client.reply()[0], 0)
            self.assertEqual(self.client.ask(READ, 2 << 30, size), data)
            self.assertEqual(self.client.ask(ZEROES, 2 << 30, size), b"")

    def test_death_in_the_middle_costs_the_others_nothing(self):
        others = [self.another(), self.another()]
        for cut in (1, 28, 500):
            dying = self.another()
            for i in range(50):
                dying.request(READ, i << 16, 65536, cookie=i)
            dying.send((struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 9, 0, 512) + bytes(512))[:cut])
            dying.close()
            for other in others:
                self.goes_on(other)

    def test_many_requests_in_one_send_are_all_answered(self):
        sizes = [512, 4096, 100, 70000, 1, 30000, 262144, 28]
        wanted, stream = {}, b""
        for i in range(300):
            data = os.urandom(sizes[i % len(sizes)])
            wanted[i] = data
            stream += struct.pack(">IHHQQI", 0x25609513, FUA * (i % 7 == 0), WRITE, i, (3 << 30) + (i << 18), len(data)) + data
        self.client.sock.setblocking(False)
        replies = b""
        while stream or len(replies) < 16 * len(wanted):
            try:
                stream = stream[self.client.sock.send(stream[:1 << 20]):] if stream else b""
            except BlockingIOError:
                pass
            try:
                replies += self.client.sock.recv(65536)
            except BlockingIOError:
                pass
        self.client.sock.settimeout(20)
        done = [struct.unpack_from(">IIQ", replies, 16 * i) for i in range(len(wanted))]
        self.assertEqual({error for _, error, _ in done}, {0})
        self.assertEqual({cookie for _, _, cookie in done}, set(wanted))
        for i, data in wanted.items():
            self.client.request(READ, (3 << 30) + (i << 18), len(data), cookie=i)
            self.assertEqual(self.client.reply(len(data))[2], data)
        self.assertEqual(self.client.ask(ZEROES, 3 << 30, 300 << 18), b"")

    def test_client_that_does_not_listen_is_not_read(self):
        """Memory stays bounded: the server reads no more requests than it has credits for."""
        before = resident()
        self.client.sock.setblocking(False)
        sent = 0
        quiet = time.monotonic() + 1
        while time.monotonic() < quiet and sent < 20000:
            try:
                self.client.request(READ, 0, 1 << 20, cookie=sent)
                sent += 1
                quiet = time.monotonic() + 1
            except BlockingIOError:
                time.sleep(0.01)
        self.assertLess(sent, 5000)
        self.assertLess(resident() - before, 200 << 20)
        self.goes_on(self.another())
        self.client.sock.settimeout(20)
        for i in range(sent):
            error, _, data = self.client.reply(1 << 20)
            self.assertEqual((error, len(data)), (0, 1 << 20))
        self.goes_on()

    def admitted(self):
        """A client that gets in, once others that are leaving have left."""
        until = time.monotonic() + 10
        while True:
            try:
                return self.another()
            except (EOFError, ConnectionError):
                self.assertLess(time.monotonic(), until)
                time.sleep(0.05)

    def test_as_many_clients_as_are_allowed_work_at_once(self):
        clients = [self.client] + [self.admitted() for _ in range(63)]
        with self.assertRaises((EOFError, ConnectionError)):
            self.another()
        for client in clients:
            client.request(READ, 0, 1 << 20, cookie=3)
        for client in clients:
            self.assertEqual(client.reply(1 << 20)[:2], (0, 3))
            self.assertEqual(client.blocks[2], MAX)
        clients[1].close()
        self.goes_on(self.admitted())

    def test_disconnect_answers_what_came_before_it(self):
        for i in range(40):
            self.client.request(WRITE, i << 20, 512, FUA, i, bytes(512))
        self.client.request(DISC)
        self.assertEqual({self.client.reply()[1] for i in range(40)}, set(range(40)))
        self.assertTrue(self.client.is_closed())

    def test_random_bytes_end_the_connection_and_nothing_else(self):
        for _ in range(20):
            noisy = self.another()
            try:
                noisy.send(os.urandom(100000))
            except ConnectionError:
                pass
            self.assertTrue(noisy.is_closed())
        self.goes_on()


def resident():
    with open("/proc/%s/statm" % PID) as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    WRITABLE, READ_ONLY, PID = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
