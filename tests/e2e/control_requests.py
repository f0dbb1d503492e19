#!/usr/bin/python3
"""Console authors' mistakes, and worse. control_requests.py CONTROL_SOCKET FOLDER, with a backend vd0 on node m."""
import random
import sys
import unittest

from zmtp import *


class Requests(unittest.TestCase):
    def peer(self, kind="DEALER", **args):
        peer = Peer(PATH, kind, **args)
        self.addCleanup(peer.close)
        return peer

    def refused(self, kind, words, data, peer=None):
        peer = peer or self.peer()
        peer.throw(data)
        reply = peer.reply()
        error = error_of(reply)
        self.assertIsNotNone(error, reply)
        self.assertEqual(error[0], kind, error)
        self.assertIn(words, error[1])

    def test_req_and_dealer_are_answered_in_their_form(self):
        for kind in ("REQ", "DEALER"):
            peer = self.peer(kind)
            for id in (1, 0, 2**64 - 1):
                self.assertIsNone(error_of(peer.ask(id, STATUS)))

    def test_malformed_requests_are_refused_with_the_field(self):
        for words, data in (
                ("has no body", b""),
                ("has no body", pack((1, 5))),
                ("more than one body", pack((STATUS, b""), (NODE_LIST, b""))),
                ("no field number 999", pack((999, 1), (STATUS, b""))),
                ("no field number 77", pack((NODE_SHOW, pack((1, "m"), (77, b"x"))))),
                ("not text in UTF-8", pack((NODE_SHOW, pack((1, b"\xff\xfe"))))),
                ("not text in UTF-8", pack((NODE_SHOW, pack((1, b"a\0b"))))),
                ("4096 are the most", pack((NODE_ADD, pack((1, "z"), (2, "null"), *[(15, pack((1, "k%d" % i), (2, "v")))
                                                                                  for i in range(5000)])))),
                ("63 characters at most", pack((NODE_ADD, pack((1, "z" * 1000000), (2, "null"))))),
                ("is too large a size", pack((NODE_ADD, pack((1, "z"), (2, "null"), (15, pack((1, "size"), (2, "9" * 99999)))))))):
            with self.subTest(words):
                self.refused(INVALID, words, data)
        nested = b""
        for _ in range(300):
            nested = pack((NODE_SHOW, nested))
        self.refused(INVALID, "node_show", nested)

    def test_a_long_request_is_refused_and_a_longer_one_ends_the_connection(self):
        def write(size):
            return request(0, IO_WRITE, (1, "vd0"), (4, bytes(size)))
        peer = self.peer()
        peer.throw(write(1 << 20))
        self.assertIsNone(error_of(peer.reply()))
        self.refused(INVALID, "1048576 are the most", write((1 << 20) + 1), peer)
        self.refused(INVALID, "1310720 are the most", write(1310720), peer)
        self.refused(INVALID, "1310720 are the most", write((2 << 20) - 100), peer)
        with self.assertRaises((EOFError, ConnectionError)):
            peer.throw(write(2 << 20))
            peer.reply()

    def test_a_repeated_id_acts_once_and_0_always(self):
        peer = self.peer()
        for _ in range(3):
            self.assertIn(DONE, peer.ask(100, NODE_ADD, (1, "once"), (2, "null")))
        self.assertIn(DONE, peer.ask(0, NODE_ADD, (1, "twice"), (2, "null")))
        self.assertEqual(error_of(peer.ask(0, NODE_ADD, (1, "twice"), (2, "null")))[0], EXISTS)
        # Also over another connection, for a client with a name.
        first = self.peer(identity=b"console-1")
        self.assertIn(DONE, first.ask(7, NODE_ADD, (1, "named"), (2, "null")))
        first.close()
        self.assertIn(DONE, self.peer(identity=b"console-1").ask(7, NODE_ADD, (1, "named"), (2, "null")))

    def test_a_client_with_64_requests_under_way_gets_all_replies(self):
        peer, count, replied = self.peer(), 5000, set()
        for id in range(1, count + 64):
            if id <= count:
                peer.throw(request(id, NODE_SHOW, (1, "m")))
            if id >= 64:
                reply = peer.reply()
                self.assertIsNone(error_of(reply))
                replied.add(reply[1][0])
        self.assertEqual(replied, set(range(1, count + 1)))

    def test_of_thousands_of_requests_at_once_each_can_be_had_in_the_end(self):
        peer, missing, before = self.peer(timeout=1), set(range(1, 3001)), 0
        while missing:
            self.assertNotEqual(len(missing), before, "nothing comes any more")
            before = len(missing)
            for id in missing:
                peer.throw(request(id, NODE_SHOW, (1, "m")))
            try:
                while True:
                    reply = peer.reply()
                    error = error_of(reply)
                    if error is None:
                        missing.discard(reply[1][0])
                    else:
                        self.assertEqual(error[0], LIMIT)
            except TimeoutError:
                pass # what was lost or refused is asked for again

    def test_clients_that_never_read_disturb_nobody(self):
        deaf = [self.peer(timeout=0.5) for _ in range(10)]
        for peer in deaf:
            try:
                for id in range(1, 2000):
                    peer.throw(request(id, EVENTS_SINCE, (1, 1)))
            except TimeoutError:
                pass
        peer = self.peer()
        for id in range(1, 20):
            self.assertIsNone(error_of(peer.ask(id, STATUS)))

    def test_mutated_requests_get_one_reply_each(self):
        samples = [
            request(1, STATUS), request(2, NODE_LIST), request(3, NODE_SHOW, (1, "m")),
            request(4, NODE_ADD, (1, "x"), (2, "memory"), (15, pack((1, "size"), (2, "1M")))),
            request(5, NODE_REMOVE, (1, "x")), request(6, EVENTS_SINCE, (1, 1), (2, 10)),
            request(7, IO_READ, (1, "vd0"), (2, 0), (3, 512)), request(8, IO_WRITE, (1, "vd0"), (2, 0), (4, b"hello")),
            request(9, IO_FLUSH, (1, "vd0")), request(10, 23, (1, "b2")), request(11, 33, (1, "e")),
            request(12, EXPORT_ADD, (1, "nbd"), (2, "vd0"), (3, "e"), (5, FOLDER + "/nbd")),
            request(13, BACKEND_ADD, (1, "b2"), (2, "x")), request(14, 40),
            request(15, 63, (1, "vd0"), (3, 4096)), request(16, 64, (1, "vd0"), (3, 4096))]
        for seed in range(300):
            rng = random.Random(seed)
            peer = self.peer(rng.choice(["DEALER", "REQ"]))
            for _ in range(20):
                data = bytearray(rng.choice(samples))
                for _ in range(rng.randrange(4)):
                    how, at = rng.randrange(6), rng.randrange(len(data) + 1)
                    if how == 0:
                        data[at:at + 1] = rng.randbytes(1)
                    elif how == 1:
                        del data[at:at + 1]
                    elif how == 2:
                        data.insert(at, rng.getrandbits(8))
                    elif how == 3:
                        data += rng.choice(samples)
                    elif how == 4:
                        del data[at:]
                    else:
                        data = bytearray(rng.randbytes(rng.randrange(60)))
                if b"\x1a\0" in data:
                    continue  # it may be a shutdown
                with self.subTest(seed=seed, data=data.hex()):
                    peer.throw(bytes(data))
                    error = error_of(peer.reply())
                    self.assertTrue(error is None or error[1])
            peer.close()


if __name__ == "__main__":
    PATH, FOLDER = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
