# With file descriptors running out, clients are refused with a sentence; control and the others go on.
. "$(dirname "$0")/lib.sh"
ulimit -n 90
sluiced_start --node driver=memory,name=m,size=1M --backend name=vd0,node=m \
    --export "type=nbd,backend=vd0,unix=$WORK/nbd"
truncate -s 1M image

cat >crowd.py <<'PY'
import sys, time
sys.path.insert(0, sys.argv[1])
from nbd_raw import *
from zmtp import *
path, control, image = sys.argv[2:]
crowd = []
try:
    while len(crowd) < 60:
        crowd.append(Client(path, name=b"vd0"))
except (EOFError, ConnectionError):
    pass
assert 1 < len(crowd) < 60, len(crowd)
for client in crowd:
    assert client.ask(READ, 0, 512) == bytes(512)

# Control has some left, however many have gone away meanwhile.
for _ in range(50):
    peer = Peer(control, "DEALER")
    assert error_of(peer.ask(1, STATUS)) is None
    peer.close()
peer = Peer(control, "DEALER")
kind, text = error_of(peer.ask(2, NODE_ADD, (1, "f"), (2, "file"), (15, pack((1, "filename"), (2, image)))))
assert kind == LIMIT and "too few file descriptors are left" in text, text
kind, text = error_of(peer.ask(3, EXPORT_ADD, (1, "nbd"), (80, "m"), (3, "more"), (5, path + "2")))
assert kind == LIMIT and "too few file descriptors are left" in text, text

for client in crowd:
    client.close()
until = time.monotonic() + 10
while error_of(peer.ask(0, NODE_ADD, (1, "f"), (2, "file"), (15, pack((1, "filename"), (2, image))))):
    assert time.monotonic() < until
    time.sleep(0.05)
assert Client(path, name=b"vd0").ask(READ, 0, 512) == bytes(512)
PY
/usr/bin/python3 crowd.py "$E2E" "$WORK/nbd" "$WORK/control.sock" "$WORK/image" || fail "the crowd"
says 'refused: too few file descriptors are left' sluice events
sluiced_stop
