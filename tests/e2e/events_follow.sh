# Who follows misses nothing, whatever comes and goes meanwhile, and sees the end.
. "$(dirname "$0")/lib.sh"
need python3
sluiced_start --node driver=null,name=first

start followed "$BUILD/bin/sluice" -s "$CONTROL" -e "$EVENTS" --json events --follow --since 1
follower=$PID
until_true 20 grep -q first followed.out || fail "the past is not shown"

# Events of one daemon and the past of another do not go together.
first_control=$CONTROL first_events=$EVENTS first=$SLUICED
CONTROL=ipc://$WORK/second.sock EVENTS=ipc://$WORK/second-events.sock
sluiced_start --node driver=null,name=other
fails 1 'are of another engine' "$BUILD/bin/sluice" -s "$first_control" -e "$EVENTS" events --follow --since 1
[ ! -s out ] || fail "events of two daemons are mixed"
sluiced_stop
CONTROL=$first_control EVENTS=$first_events SLUICED=$first

# Two at once.
churn() {
    for n in $(seq 60); do
        sluice node add driver=null name="$1$n" || return 1
        sluice node remove "$1$n" || return 1
    done
}
churn a & one=$!
churn b & two=$!
wait $one || fail "churn a"
wait $two || fail "churn b"

# One that comes late, without the past.
start late "$BUILD/bin/sluice" -s "$CONTROL" -e "$EVENTS" --json events --follow
late=$PID
sluice --json events --follow --since 100 --count 50 >some.out || fail "--count"
equal "$(wc -l <some.out)" 50
tries=0
until grep -q last late.out; do
    sluice node add driver=null name="last$tries" || fail "add"
    tries=$((tries + 1))
    [ $tries -lt 50 ] || fail "the late follower sees nothing"
    sleep 0.1
done
sluiced_stop
for follower in $follower $late; do
    status_of "$follower"
    equal "$STATUS" 0
done

python3 - <<'PY' || fail "something is missing"
import json
def read(name):
    return [json.loads(line) for line in open(name + ".out")]
followed, late, some = read("followed"), read("late"), read("some")
numbers = [event["sequence"] for event in followed]
assert numbers == list(range(1, len(numbers) + 1)), numbers
assert "shutdown" in followed[-1] and "shutdown" in late[-1]
for letter in "ab":
    seen = [(kind, event[kind]["node"]) for event in followed
            for kind in ("node_added", "node_deleted") if kind in event
            and event[kind]["node"].startswith(letter)]
    assert seen == [(kind, f"{letter}{n}") for n in range(1, 61)
                    for kind in ("node_added", "node_deleted")], seen
assert [event["sequence"] for event in some] == list(range(100, 150))
numbers = [event["sequence"] for event in late]
assert numbers == list(range(numbers[0], len(followed) + 1)), numbers
assert numbers[0] > 240
PY
