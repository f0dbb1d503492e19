# A subscriber that stands still for tens of thousands of events misses none of those that are kept, holds
# up nobody, and is told of what is no longer kept and of a new start.
. "$(dirname "$0")/lib.sh"
export PYTHONPATH="$E2E"
sluiced_start --events-kept 20000

churn() {
    /usr/bin/python3 -c '
import sys
from zmtp import *
peer = Peer(sys.argv[1], "DEALER")
for _ in range(int(sys.argv[2])):
    assert DONE in peer.ask(0, NODE_ADD, (1, "n"), (2, "null"))
    assert DONE in peer.ask(0, NODE_REMOVE, (1, "n"))
' "$WORK/control.sock" "$1" || fail "the churn"
}

# newest_is FOLLOWER NUMBER, reaches FOLLOWER NUMBER: of what it has printed.
newest_is() {
    tail -n 1 "$1.out" | grep -q "\"sequence\":$2,"
}
reaches() {
    until_true 30 newest_is "$1" "$2" || fail "$1 does not reach event $2: $(tail -n 1 "$1.out")"
}

start watching "$BUILD/bin/sluice" -s "$CONTROL" -e "$EVENTS" --json events --follow --since 1
watching=$PID
start standing "$BUILD/bin/sluice" -s "$CONTROL" -e "$EVENTS" --json events --follow --since 1
standing=$PID
churn 1
reaches watching 2
reaches standing 2

kill -STOP $standing
churn 7500
reaches watching 15002
kill -CONT $standing
churn 1
reaches standing 15004
[ ! -s standing.err ] || fail "a gap is told where there is none"

kill -STOP $standing
churn 15000
kill -CONT $standing
churn 1
reaches standing 45006
grep -q 'events before [0-9]* are no longer kept' standing.err || fail "the gap is not told"

# What was killed says nothing; its silence is noticed, and the next start is another epoch.
sluiced_crash
until_true 20 grep -q 'the daemon is silent' watching.err || fail "the silence is not noticed"
sluiced_start --node driver=null,name=first
reaches watching 1
reaches standing 1
grep -q 'started anew' watching.err || fail "the new start is not told"
sluiced_stop
status_of "$watching"
equal "$STATUS" 0
status_of "$standing"
equal "$STATUS" 0

/usr/bin/python3 - <<'PY' || fail "something is missing"
import itertools, json
def read(name):
    events = [json.loads(line) for line in open(name + ".out")]
    return [[event["sequence"] for event in group]
            for _, group in itertools.groupby(events, lambda event: event["epoch"])], events[-1]
(before, after), last = read("watching")
assert before == list(range(1, 45007)) and after == [1, 2, 3] and "shutdown" in last
(before, after), last = read("standing")
assert before[:15004] == list(range(1, 15005)), "before the gap"
jumps = [b for a, b in zip(before, before[1:]) if b != a + 1]
assert len(jumps) == 1 and before[-1] == 45006, jumps
assert after == [1, 2, 3] and "shutdown" in last
PY
