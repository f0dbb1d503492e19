# Events that were published can be had again, up to the number that is kept; the rest is told as a gap.
. "$(dirname "$0")/lib.sh"
need python3
sluiced_start --events-kept 10

for n in 1 2 3; do
    says '' sluice node add driver=null name=n$n
done
says '^ *2  .* NODE_ADDED  *node n2, driver null' sluice events
equal "$(sluice events | wc -l)" 3
equal "$(sluice events --since 2 | wc -l)" 2
equal "$(sluice events --count 1 | wc -l)" 1
equal "$(sluice events --since 4 | wc -l)" 0
sluice events --since 9 >out 2>err || fail "events --since 9"
grep -q 'there is no event 9 yet (the newest is 3)' err || fail "no word of the future"
equal "$(wc -l <out)" 0

sluice --json events >out || fail "events"
python3 - out <<'PY' || fail "the JSON events"
import json, sys, time
events = [json.loads(line) for line in open(sys.argv[1])]
assert [event["sequence"] for event in events] == [1, 2, 3]
assert [event["topic_sequence"] for event in events] == [1, 2, 3]
assert len({event["epoch"] for event in events}) == 1
assert events[1]["node_added"] == {"node": "n2", "driver": "null"}
assert events[1]["source_kind"] == "node" and events[1]["source"] == "n2"
assert all(abs(event["time"] / 1e6 - time.time()) < 60 for event in events)
PY

for n in 4 5 6 7 8 9 10 11 12; do
    says '' sluice node add driver=null name=n$n
done
sluice events >out 2>err || fail "events"
grep -q 'events before 3 are no longer kept' err || fail "the gap is not told"
equal "$(awk '{print $1}' out | tr '\n' ' ')" "3 4 5 6 7 8 9 10 11 12 "

# The snapshot tells the number that it is true at; the next event has the next one.
equal "$(sluice --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["sequence"])')" 12
says '' sluice node remove n1
says '^ *13 .* NODE_DELETED  *node n1' sluice events --since 13

# The numbers of one start mean nothing in the next.
epoch=$(sluice --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["epoch"])')
says '"gap": false' sluice --json events-since since=13 epoch="$epoch"
sluiced_stop
sluiced_start
says '"gap": true' sluice --json events-since since=1 epoch="$epoch"
sluiced_stop
