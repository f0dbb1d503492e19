# Whatever is thrown at the sockets from outside ZeroMQ: the daemon answers the others.
. "$(dirname "$0")/lib.sh"
need python3
sluiced_start --node driver=memory,name=m,size=1M --backend name=vd0,node=m

cat >throw.py <<'PY'
import random, socket, sys
seed = 20240
random.seed(seed)
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)

def connect(path):
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(5)
    end.connect(path)
    return end

def command(name, properties):
    body = bytes([len(name)]) + name
    for key, value in properties:
        body += bytes([len(key)]) + key + len(value).to_bytes(4, "big") + value
    return b"\x04" + bytes([len(body)]) + body

def handshake(path, kind):
    end = connect(path)
    end.sendall(GREETING + command(b"READY", [(b"Socket-Type", kind), (b"Identity", b"")]))
    return end

def throw(end, data):
    try:
        end.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass # it did not want more: good

held = []
for path, kind in ((sys.argv[1], b"DEALER"), (sys.argv[2], b"SUB")):
    for size in (0, 1, 10, 64, 1000, 100000):                       # no greeting at all
        throw(connect(path), random.randbytes(size))
    held.append(connect(path))                                      # silence
    throw(connect(path), GREETING[:20])                             # half a greeting
    throw(connect(path), GREETING + b"\x04\xff" + bytes(50))        # half a handshake
    throw(handshake(path, b"NONSENSE"), b"\x00\x01x")
    throw(handshake(path, kind), b"\x02" + (1 << 40).to_bytes(8, "big"))     # a terabyte
    throw(handshake(path, kind), b"\x02" + (3 << 20).to_bytes(8, "big") + bytes(3 << 20))
    throw(handshake(path, kind), b"\x00\xff" + bytes(10))           # half a frame, and silence
    held.append(handshake(path, kind))
    for _ in range(200):                                            # frames of noise
        data = random.randbytes(random.randrange(200))
        throw(held[-1], bytes([0, len(data)]) + data)
    many = handshake(path, kind)
    throw(many, b"\x01\x00" * 5000 + b"\x00\x01x")                  # one message of 5001 frames
    held.append(many)
PY
python3 throw.py control.sock events.sock || fail "throwing"

says 'version' sluice status
says 'bytes: *5 B' sluice io write vd0 data=hello
says '' sluice node add driver=null name=after
says 'NODE_ADDED  *node after' sluice events
(sleep 0.5; sluice node add driver=null name=seen) &
says 'node seen' sluice events --follow --count 1
wait $!
sluiced_stop
