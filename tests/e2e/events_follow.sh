# Who follows misses nothing, whatever comes and goes meanwhile, and sees the end.
. "$SOURCE/tests/e2e/lib-daemon.sh"
start --node driver=null,name=first

sluice --json events --follow --since 1 >"$dir/followed" 2>"$dir/follow.err" &
follower=$!
timeout 20 sh -c "until grep -q first '$dir/followed'; do sleep 0.1; done" || die "the past is not shown"

# Two at once.
churn() {
    for n in $(seq 60); do
        sluice node add driver=null name="$1$n" || return 1
        sluice node remove "$1$n" || return 1
    done
}
churn a & one=$!
churn b & two=$!
wait $one || die "churn a"
wait $two || die "churn b"

# One that comes late, without the past.
sluice --json events --follow >"$dir/late" 2>"$dir/late.err" &
late=$!
sluice --json events --follow --since 100 --count 50 >"$dir/some" || die "--count"
equal "$(wc -l <"$dir/some")" 50
tries=0
until grep -q last "$dir/late"; do
    sluice node add driver=null name="last$tries" || die "add"
    tries=$((tries + 1))
    [ $tries -lt 50 ] || die "the late follower sees nothing"
    sleep 0.1
done
stop
equal "$status" 0
wait $follower || die "the follower failed: $(cat "$dir/follow.err")"
wait $late || die "the late follower failed"

python3 - "$dir" <<'PY' || die "something is missing"
import json, sys
def read(name):
    return [json.loads(line) for line in open(sys.argv[1] + "/" + name)]
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
