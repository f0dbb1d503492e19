# Stopping waits for what is under way, until its deadline; starting again takes over from who was killed.
. "$(dirname "$0")/lib.sh"
slow="--node driver=null,name=n,size=1G,latency=3600s --backend name=disk,node=n"

# Requests that would take an hour end with an error when the time is up, over NBD and over control.
cat >waits.py <<'PY'
import sys
sys.path.insert(0, sys.argv[1])
from nbd_raw import *
client = Client(sys.argv[2], name=b"")
for cookie in range(10):
    client.request(READ, 0, 512, cookie=cookie)
for _ in range(10):
    assert client.reply(512)[0] == 108 # ESHUTDOWN
assert client.is_closed()
PY
# shellcheck disable=SC2086
sluiced_start --deadline 1s $slow --export "type=nbd,backend=disk,unix=$WORK/nbd"
start client /usr/bin/python3 waits.py "$E2E" nbd
client=$PID
start reader "$BUILD/bin/sluice" -s "$CONTROL" --timeout 60s io read disk bytes=512
reader=$PID
under_way() {
    sluice backend show disk | grep -q 'in-flight: *11'
}
until_true 10 under_way || fail "nothing is under way: $(sluice backend show disk)"
before=$(date +%s%N)
sluiced_stop
took=$((($(date +%s%N) - before) / 1000000))
[ $took -ge 900 ] && [ $took -lt 4000 ] || fail "a deadline of 1 s took $took ms"
status_of "$client"
equal "$STATUS" 0
status_of "$reader"
equal "$STATUS" 1
grep -q 'the engine is shutting down' reader.err || fail "the reader is not told why"

# Who waits is told for what and how long, and need not: a second signal ends it, though SIGHUP doesn't.
# shellcheck disable=SC2086
sluiced_start --deadline 1h $slow
start reader "$BUILD/bin/sluice" -s "$CONTROL" --timeout 60s io read disk bytes=512
reader=$PID
reading() {
    sluice backend show disk | grep -q 'in-flight: *1'
}
until_true 10 reading || fail "nothing is under way"
kill -TERM "$SLUICED"
until_true 10 grep -q 'waits for requests that are under way, 3600 s at most' sluiced.err || fail "it waits in silence"
kill -HUP "$SLUICED"
sleep 0.2
alive "$SLUICED" || fail "SIGHUP ended it"
kill -INT "$SLUICED"
status_of "$SLUICED"
equal "$STATUS" 1
equal "$(wc -l <sluiced.err)" 1
kill "$reader"
status_of "$reader"

# The deadline is 30 s unless told otherwise.
# shellcheck disable=SC2086
sluiced_start $slow
start reader "$BUILD/bin/sluice" -s "$CONTROL" --timeout 60s io read disk bytes=512
reader=$PID
until_true 10 reading || fail "nothing is under way"
kill -TERM "$SLUICED"
until_true 10 grep -q 'waits for requests that are under way, 30[.0]* s at most' sluiced.err || fail "it waits otherwise"
kill -INT "$SLUICED"
status_of "$SLUICED"
equal "$STATUS" 1
kill "$reader"
status_of "$reader"

# What is done in time is done: everything that was acknowledged is there afterwards.
truncate -s 16M image
disk="--node driver=file,name=n,filename=$WORK/image --backend name=disk,node=n"
for signal in TERM INT HUP; do
    # shellcheck disable=SC2086
    sluiced_start $disk --export "type=nbd,backend=disk,unix=$WORK/nbd,writable=on"
    cat >writes.py <<'PY'
import sys
sys.path.insert(0, sys.argv[1])
from nbd_raw import *
client, done = Client(sys.argv[2], name=b""), 0
try:
    while True:
        assert client.write(done % 4096 * 4096, struct.pack(">Q", done + 1) * 512) == b""
        done += 1
        if done == 100:
            open(sys.argv[3], "w").close()
except (AssertionError, EOFError, ConnectionError):
    pass
image = open(sys.argv[4], "rb")
for n in range(max(0, done - 4096), done):
    image.seek(n % 4096 * 4096)
    got = struct.unpack(">Q", image.read(8))[0]
    assert got >= n + 1, (n, got, done)
PY
    rm -f asked
    start client /usr/bin/python3 writes.py "$E2E" nbd asked image
    client=$PID
    until_true 10 test -e asked || fail "nothing is written"
    sluiced_stop $signal
    status_of "$client"
    [ "$STATUS" -eq 0 ] || fail "what was acknowledged before SIG$signal is lost"
done

# Killed with requests under way, and started again at once, as supervisors do.
for n in 1 2 3; do
    # shellcheck disable=SC2086
    sluiced_start $disk --export "type=nbd,backend=disk,unix=$WORK/nbd,writable=on"
    says '' sluice io write disk data=hello
    sluiced_crash
done
# shellcheck disable=SC2086
sluiced_start $disk --export "type=nbd,backend=disk,unix=$WORK/nbd,writable=on"
says 'data: *hello' sluice io read disk bytes=5
sluiced_stop
