# What waits for a throttle group when somebody goes: a client is killed, an export is removed, the daemon stops.
. "$(dirname "$0")/lib.sh"
need python3

sluiced_start --throttle name=gold,iops-total=20 --node driver=memory,name=m,size=64M \
    --backend name=vd0,node=m,throttle=gold --backend name=vd1,node=m,throttle=gold \
    --export "type=nbd,backend=vd0,unix=$WORK/vd0" --export "type=nbd,backend=vd1,unix=$WORK/vd1"

# Asks for 100 reads at once, and takes as many replies as it is told.
cat >asks.py <<'PY'
import sys
sys.path.insert(0, sys.argv[1])
from nbd_raw import *
client = Client(sys.argv[2], name=b"")
for cookie in range(100):
    client.request(READ, cookie * 4096, 512, cookie=cookie)
print("asked", flush=True)
for _ in range(int(sys.argv[3])):
    assert client.reply(512)[0] == 0
print("all", flush=True)
if int(sys.argv[3]) == 100:
    assert client.is_closed()
else:
    time.sleep(100)
PY
# The milliseconds that 60 reads take, one after the other.
cat >reads.py <<'PY'
import sys
sys.path.insert(0, sys.argv[1])
from nbd_raw import *
client = Client(sys.argv[2], name=b"")
began = time.monotonic()
for _ in range(60):
    assert len(client.ask(READ, 0, 512)) == 512
print(int((time.monotonic() - began) * 1000))
PY
deserted() {
    ! sluice export show "$1" | grep -q "^connections:"
}
waiting() {
    sluice throttle show gold | grep -q '^waiting: *[1-9][0-9]'
}

# Killed: its requests are gone, not done for nobody at a rate that others lack.
start dies /usr/bin/python3 asks.py "$E2E" vd0 1
dies=$PID
until_true 10 waiting || fail "nothing waits: $(sluice throttle show gold)"
kill -KILL "$dies"
status_of "$dies"
until_true 3 deserted vd0 || fail "the killed client stays: $(sluice export show vd0)"
! waiting || fail "requests of the killed client wait: $(sluice throttle show gold)"
took=$(/usr/bin/python3 reads.py "$E2E" vd1)
[ "$took" -ge 2500 ] && [ "$took" -lt 5000 ] || fail "60 reads at 20 a second took $took ms"

# Removed, and stopped: all are done at once, though they count.
start asks /usr/bin/python3 asks.py "$E2E" vd0 100
asks=$PID
until_true 10 waiting || fail "nothing waits: $(sluice throttle show gold)"
says '' sluice --timeout 3s export remove vd0
status_of "$asks"
equal "$STATUS" 0

start asks /usr/bin/python3 asks.py "$E2E" vd1 100
asks=$PID
until_true 10 grep -q asked asks.out || fail "nothing is asked"
until_true 10 waiting || fail "nothing waits: $(sluice throttle show gold)"
before=$(date +%s%N)
sluiced_stop
took=$((($(date +%s%N) - before) / 1000000))
[ $took -lt 4000 ] || fail "stopping took $took ms"
status_of "$asks"
equal "$STATUS" 0
