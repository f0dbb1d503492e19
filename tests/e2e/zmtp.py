"""ZMTP 3.0 and protobuf by hand: a ZeroMQ peer without libzmq, which can also do what libzmq never does.

    peer = Peer(path, "DEALER")           # or REQ, SUB; path of an ipc:// endpoint
    peer.ask(id, STATUS)                  # -> the reply's fields
    peer.send(frame, ...) / peer.receive() -> [frame, ...]

A message is a dict of field number to list of values (int or bytes); pack() and unpack() know nothing
of types, so that messages can also be wrong.
"""
import socket
import struct

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
# Fields of Request's body and of Reply, from control.proto.
STATUS, SHUTDOWN, NODE_ADD, NODE_LIST, NODE_SHOW, NODE_REMOVE = 2, 3, 10, 11, 12, 13
BACKEND_ADD, EXPORT_ADD, EVENTS_SINCE, IO_READ, IO_WRITE, IO_FLUSH = 20, 30, 50, 60, 61, 62
ERROR, DONE, REPLY_EVENTS, REPLY_IO = 2, 3, 50, 60
INVALID, NOT_FOUND, EXISTS, IN_USE, UNSUPPORTED, IO, SHUTTING_DOWN, LIMIT, DENIED = range(1, 10)


def varint(number):
    out = b""
    number &= (1 << 64) - 1
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def pack(*fields):
    """Of (number, value) pairs: an int as a varint, bytes or str as they are."""
    out = b""
    for number, value in fields:
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def unpack(data):
    fields, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            value = number()
        elif key & 7 == 2:
            size = number()
            value = data[at:at + size]
            at += size
        else:
            raise ValueError("wire type %d" % (key & 7))
        fields.setdefault(key >> 3, []).append(value)
    return fields


def request(id, body, *fields):
    return pack((1, id), (body, pack(*fields)))


def error_of(reply):
    """(class, message) of a reply that is an error, else None."""
    if ERROR not in reply:
        return None
    error = unpack(reply[ERROR][0])
    return error[1][0], error[2][0].decode()


class Peer:
    def __init__(self, path, kind, identity=b"", timeout=20):
        self.kind = kind
        self.buffer = b""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        properties = b""
        for key, value in ((b"Socket-Type", kind.encode()), (b"Identity", identity)):
            properties += bytes([len(key)]) + key + struct.pack(">I", len(value)) + value
        body = b"\x05READY" + properties
        self.sock.sendall(GREETING + b"\x04" + bytes([len(body)]) + body)
        self.take(64)
        self.frame()
        if kind == "SUB":
            self.send(b"\x01")

    def close(self):
        self.sock.close()

    def take(self, count):
        while len(self.buffer) < count:
            more = self.sock.recv(1 << 16)
            if not more:
                raise EOFError("closed")
            self.buffer += more
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def frame(self):
        """(flags, data) of the next frame or command."""
        flags = self.take(1)[0]
        size = struct.unpack(">Q", self.take(8))[0] if flags & 2 else self.take(1)[0]
        return flags, self.take(size)

    @staticmethod
    def wire(*frames):
        out = b""
        for i, data in enumerate(frames):
            flags = (i < len(frames) - 1) | 2 * (len(data) > 255)
            out += bytes([flags]) + (struct.pack(">Q", len(data)) if flags & 2 else bytes([len(data)])) + data
        return out

    def send(self, *frames):
        self.sock.sendall(self.wire(*frames))

    def receive(self):
        """The frames of the next message; answers pings meanwhile."""
        frames = []
        while True:
            flags, data = self.frame()
            if flags & 4:
                if data[:5] == b"\x04PING":
                    pong = b"\x04PONG" + data[7:]
                    self.sock.sendall(b"\x04" + bytes([len(pong)]) + pong)
                continue
            frames.append(data)
            if not flags & 1:
                return frames

    def reply(self):
        frames = self.receive()
        if self.kind == "REQ":
            assert frames[0] == b"", frames
            frames = frames[1:]
        assert len(frames) == 1, frames
        return unpack(frames[0])

    def throw(self, data):
        """Sends one payload frame in this kind's form."""
        self.send(*([b""] if self.kind == "REQ" else []), data)

    def ask(self, id, body, *fields):
        self.throw(request(id, body, *fields))
        reply = self.reply()
        assert reply.get(1, [0])[0] == id, (reply, id)
        return reply
