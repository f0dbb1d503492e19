#!/usr/bin/python3
"""NBD clients that send noise, die, and come in crowds. Everything is drawn from seeds.

    nbd_fuzz.py fuzz WRITABLE READ_ONLY FIRST COUNT   one client for each seed
    nbd_fuzz.py cut WRITABLE                          one for each length that a dialogue can be cut to
    nbd_fuzz.py crowd WRITABLE SECONDS                200 at once that come, ask and go

The exports are named "disk", of 64 MiB. A seed that does harm is the last one that was printed.
"""
import random
import sys
import threading

from nbd_raw import *

SIZE = 64 << 20


def wire_option(option, data, length=None, magic=b"IHAVEOPT"):
    return magic + struct.pack(">II", option, len(data) if length is None else length) + data


def wire_request(kind, offset, length, flags=0, data=b"", cookie=1, magic=0x25609513):
    return struct.pack(">IHHQQI", magic, flags, kind, cookie, offset, length) + data


def wire_go(option, name, infos):
    return wire_option(option, struct.pack(">I", len(name)) + name + struct.pack(">H", len(infos) // 2) + infos)


def odd_option(rng):
    option = rng.choice([1, 2, 3, 5, 6, 7, 8, 9, 10, 0, 0xFFFFFFFF, rng.getrandbits(32)])
    data = rng.randbytes(rng.choice([0, 1, 4, 5, 6, 10, 1000, 65536, 65537, rng.randrange(70000)]))
    if rng.random() < 0.6:
        name = rng.choice([b"disk", b"", b"x", rng.randbytes(rng.randrange(40))])
        infos = rng.randrange(5)
        data = struct.pack(">I", rng.choice([len(name), 0, 0xFFFFFFFF, len(name) + 1, 0xFFFFFFFA])) + name
        data += struct.pack(">H", rng.choice([infos, 65535, 0])) + rng.randbytes(2 * infos)
    length = len(data)
    if rng.random() < 0.05:
        length = rng.choice([len(data) + rng.randrange(9), 0, 0xFFFFFFFF, max(0, len(data) - 1)])
    magic = b"IHAVEOPT" if rng.random() < 0.99 else rng.randbytes(8)
    return wire_option(option, data, length, magic)


def odd_request(rng):
    magic = 0x25609513 if rng.random() < 0.997 else rng.getrandbits(32)
    kind = rng.choice([READ, READ, WRITE, WRITE, FLUSH, TRIM, ZEROES, CACHE, 7, 8, 65535])
    if rng.random() < 0.003:
        kind = DISC
    length = rng.choice([0, 1, 511, 512, 4096, 65536, 131071, 131072, 131073, 1 << 20, rng.randrange(300000)])
    offset = rng.choice([0, 1, 512, rng.randrange(SIZE), SIZE, SIZE - 1, SIZE - 512, SIZE + 1, 2**63,
                         2**64 - 1, 2**64 - 512, rng.getrandbits(64)])
    data = b""
    if kind == WRITE:
        data = rng.randbytes(length)
        if rng.random() < 0.05:
            data = data[:rng.randrange(len(data) + 1)]
    if rng.random() < 0.05:
        length = rng.choice([MAX, MAX + 1, 0xFFFFFFFF])
    return wire_request(kind, offset, length, rng.choice([0, 0, 0, 1, 2, 4, 8, 16, 31, 65535]), data,
                        rng.getrandbits(64), magic)


def odd_dialogue(rng):
    stream = struct.pack(">I", rng.choice([3] * 12 + [0, 1, 2, 7, 0xFFFFFFFF]))
    for _ in range(rng.randrange(3)):
        stream += odd_option(rng)
    if rng.random() < 0.9:
        stream += wire_go(OPT_GO, b"disk", b"") if rng.random() < 0.7 else wire_option(OPT_EXPORT_NAME, b"disk")
        for _ in range(rng.randrange(60)):
            stream += odd_request(rng)
    return stream


def play(rng, path):
    """Sends a dialogue in pieces, perhaps reading meanwhile; ends in one of three ways."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.setblocking(False)
    stream, reads, until = odd_dialogue(rng), rng.random() < 0.8, time.monotonic() + 1
    while stream and time.monotonic() < until:
        try:
            stream = stream[sock.send(stream[:rng.choice([1, 3, 27, 28, 29, 1000, 100000, 1 << 20])]):]
        except BlockingIOError:
            time.sleep(0.001)
        except ConnectionError:
            break
        try:
            if reads and sock.recv(1 << 20) == b"":
                break
        except BlockingIOError:
            pass
        except ConnectionError:
            break
    end = rng.random()
    if end < 0.3:
        hear_out(sock)
    elif end < 0.5:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def hear_out(sock, seconds=0.2):
    """Says no more; what comes back until the server closes, or None when it does not."""
    sock.settimeout(seconds)
    heard = b""
    try:
        sock.shutdown(socket.SHUT_WR)
        while more := sock.recv(1 << 20):
            heard += more
    except ConnectionError:
        pass
    except TimeoutError:
        return None
    return heard


def fuzz(writable, read_only, first, count):
    for seed in range(int(first), int(first) + int(count)):
        print("seed", seed, flush=True)
        rng = random.Random(seed)
        play(rng, rng.choice([writable, writable, read_only]))


def cut(path):
    stream = struct.pack(">I", 3) + wire_option(OPT_LIST, b"") + wire_go(OPT_INFO, b"disk", b"\0\3")
    stream += wire_go(OPT_GO, b"disk", b"") + wire_request(WRITE, 0, 512, 0, b"a" * 512)
    stream += wire_request(READ, 0, 65536) + wire_request(FLUSH, 0, 0) + wire_request(ZEROES, 4096, 4096)
    stream += wire_request(TRIM, 0, 4096) + wire_request(DISC, 0, 0)
    for length in range(len(stream) + 1):
        for half in (False, True):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            sock.sendall(stream[:length])
            if half:
                assert hear_out(sock, 20) is not None, "cut to %d, and the server still waits" % length
            sock.close()


def crowd(path, seconds):
    until = time.monotonic() + float(seconds)
    served = [0] * 200

    def come_and_go(who):
        rng = random.Random(who)
        while time.monotonic() < until:
            try:
                client = Client(path, go=rng.random() < 0.7)
                for i in range(rng.randrange(40) if hasattr(client, "size") else 0):
                    client.request(READ, i * 4096, 65536, cookie=i)
                client.close()
                served[who] += 1
            except (EOFError, ConnectionError):
                pass  # refused: too many

    threads = [threading.Thread(target=come_and_go, args=(who,)) for who in range(len(served))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(served) > 100, served


if __name__ == "__main__":
    {"fuzz": fuzz, "cut": cut, "crowd": crowd}[sys.argv[1]](*sys.argv[2:])
