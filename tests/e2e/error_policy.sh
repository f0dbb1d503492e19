# Errors of a medium: reported, ignored, or the request waits and the client never learns; in that
# case the events come in order, and resume tries it again. Pauses hold everything and lose nothing.
. "$SOURCE/tests/e2e/lib.sh"
need qemu-io python3

sluiced_start --node driver=memory,name=m,size=64M --node driver=fault,name=f,child=m \
    --backend name=b,node=f --export "type=nbd,backend=b,unix=$WORK/nbd,writable=on,werror=enospc,rerror=ignore"
uri="nbd+unix:///b?socket=$WORK/nbd"

# shown KEY: the value in what is shown of the backend.
shown() {
    sluice backend show b | sed -n "s/^$1: *//p"
}
is() {
    [ "$(shown "$1")" = "$2" ]
}
# topics FROM: the topics of events from this number on, in order.
topics() {
    sluice events --since "$1" --count 100 | awk '{ print $4 }' | tr '\n' ' '
}
last() {
    sluice --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["sequence"])'
}

# The client's write waits for space; nobody tells the client.
says '' sluice node set f 'rules=write errno=ENOSPC offset=1M length=64K once'
before=$(last)
start client qemu-io -f raw -c 'write -P 7 1M 64k' -c 'write -P 8 2M 64k' -c 'read -P 7 1M 64k' "$uri"
client=$PID
until_true 10 is run-state stopped || fail "the error did not stop the backend"
is io-status nospace || fail "io-status is $(shown io-status)"
is held 1 || fail "$(shown held) requests are held"
alive "$client" || fail "the client was told: $(cat client.out)"
case $(topics $((before + 1))) in
*"BLOCK_IO_ERROR STOP "*) ;;
*) fail "events do not tell of the error, then of the stop: $(topics $((before + 1)))" ;;
esac
says '' sluice resume
status_of "$client"
equal "$STATUS" 0
! grep -qi 'fail\|error' client.out || fail "the client has learnt: $(cat client.out)"
is io-status ok || fail "io-status was not reset"
is held '' || fail "something is held still"
case $(topics $((before + 1))) in
*"BLOCK_IO_ERROR STOP RESUME"*) ;;
*) fail "events do not tell of resuming: $(topics $((before + 1)))" ;;
esac

# enospc reports what is no lack of space; ignore calls a failure a success.
says '' sluice node set f 'rules=write offset=1M length=64K; read offset=2M length=64K'
qemu-io -f raw -c 'write 1M 64k' "$uri" >out 2>&1 && fail "a failed write was not reported"
grep -q 'Input/output error' out || fail "the write failed otherwise: $(cat out)"
qemu-io -f raw -c 'write -P 5 3M 64k' -c 'read -P 0 2M 64k' "$uri" >out 2>&1 ||
    fail "a failed read was not ignored, or gave no zeroes: $(cat out)"
is run-state '' || fail "the backend is $(shown run-state)"

# What the checks refuse is no error of the medium: nobody can stop a backend by asking nonsense.
says '' sluice backend set b werror=stop rerror=stop
fails 1 'beyond its end' sluice io read b offset=64M bytes=1
is run-state '' || fail "a read past the end stopped the backend"

# A client that dies takes what it has waiting along.
says '' sluice node set f 'rules=write errno=EIO offset=1M length=64K'
start client qemu-io -f raw -c 'write -P 9 1M 64k' "$uri"
until_true 10 is run-state stopped || fail "the error did not stop the backend"
is io-status failed || fail "io-status is $(shown io-status)"
kill -KILL "$PID"
status_of "$PID"
until_true 10 is held '' || fail "what a dead client asked is held still"
says '' sluice backend resume b

# Paused by hand, one or all: requests wait, and control works.
says '' sluice node set f rules=
says '' sluice backend pause b
start writer "$BUILD/bin/sluice" -s "$CONTROL" io write b offset=0 data=waited
writer=$PID
until_true 10 is queued 1 || fail "the write does not wait"
says '' sluice pause
says '' sluice backend resume b
is queued 1 || fail "one backend was resumed though the engine is paused"
says 'run-state: *paused' sluice status
says '' sluice resume
status_of "$writer"
equal "$STATUS" 0
says 'data: *waited' sluice io read b bytes=6

# A flood of errors is counted in few events, and none is forgotten.
says '' sluice backend set b rerror=report
says '' sluice node set f 'rules=read offset=4M length=1M'
before=$(last)
for _ in 1 2 3 4 5 6 7 8 9 10; do
    fails 1 'Input/output' sluice io read b offset=4M bytes=512
done
counted() {
    sluice --json events --since $((before + 1)) --count 100 >counted.json
    python3 - <<'PY'
import json
text = open("counted.json").read()
decoder, at, total, events = json.JSONDecoder(), 0, 0, 0
while at < len(text.rstrip()):
    event, at = decoder.raw_decode(text, at)
    while at < len(text) and text[at].isspace():
        at += 1
    if "block_io_error" in event:
        total += event["block_io_error"].get("count", 1)
        events += 1
assert total == 10 and events <= 4, (total, events)
PY
}
until_true 5 counted || fail "ten errors are not told as ten: $(cat counted.json)"

# Mistakes.
fails 2 'one of REPORT, IGNORE, STOP, ENOSPC' sluice backend set b werror=maybe
fails 1 "no backend 'nobody'" sluice backend pause nobody
fails 1 'is no time' sluice backend set b intervals=soon
fails 1 'must rise' sluice backend set b histogram='1ms 1us'
fails 1 "no word of a rule" sluice node set f 'rules=write sometimes'
fails 1 "can't be changed while the node is open" sluice node set m size=1G

# Stopping with something held keeps the deadline: it ends with its error.
says '' sluice backend set b werror=stop
says '' sluice node set f 'rules=write errno=ENOSPC'
start client qemu-io -f raw -c 'write 0 4k' "$uri"
until_true 10 is held 1 || fail "nothing is held"
sluiced_stop
status_of "$PID"
equal "$STATUS" 1
