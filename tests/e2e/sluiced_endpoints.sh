# Nobody steals another daemon's endpoint; what a dead one left over is taken; nobody else gets in.
. "$SOURCE/tests/e2e/lib-daemon.sh"

# A second daemon is told who has it, and the first goes on.
start
equal "$(stat -c %a "$dir/control.sock")" 600
fails 1 "can't listen at $control: process $pid uses it" "$sluiced" --control "$control" --events none
fails 1 "can't listen at $events: process $pid uses it" "$sluiced" --control none --events "$events"
says 'version' sluice status
stop
equal "$status" 0
[ -z "$(ls "$dir" | grep sock)" ] || die "paths are left over: $(ls "$dir")"

# After a crash the path is taken over.
start
kill -KILL "$pid"
wait "$pid" 2>/dev/null
[ -S "$dir/control.sock" ] || die "the dead daemon's path is gone by itself"
start
says 'version' sluice status
stop

# Something else in the place is left alone.
echo precious >"$dir/file"
fails 1 'no socket; remove it, or choose another path' "$sluiced" --control "ipc://$dir/file" --events none
equal "$(cat "$dir/file")" precious
long=$(printf '%0120d' 0)
fails 1 'Unix sockets take 107; choose a shorter one' "$sluiced" --control "ipc://$dir/$long" --events none
fails 1 'beyond loopback anyone could give orders' "$sluiced" --control 'tcp://0.0.0.0:*' --events none
fails 1 'beyond loopback anyone could give orders' "$sluiced" --control none --events 'tcp://*:5555'
fails 1 'an endpoint is ipc://PATH or tcp://127.0.0.1:PORT' "$sluiced" --control nonsense --events none

# TCP on loopback, at a port that is free: the ready line tells which.
"$sluiced" --control 'tcp://127.0.0.1:*' --events 'tcp://127.0.0.1:*' >"$dir/daemon.out" 2>"$dir/daemon.err" &
pid=$!
tries=0
until grep -q '^sluiced ready:' "$dir/daemon.out"; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || die "not ready"
    sleep 0.1
done
control=$(sed 's/.* control=\([^ ]*\).*/\1/' "$dir/daemon.out")
events=$(sed 's/.* events=\([^ ]*\).*/\1/' "$dir/daemon.out")
says 'version' sluice status
says 'NODE_ADDED' sh -c "'$BUILD/bin/sluice' -s $control node add n driver=null && '$BUILD/bin/sluice' -s $control events"
fails 1 "can't listen at $control: Address already in use" "$sluiced" --control "$control" --events none
stop
equal "$status" 0

# Without options: below the runtime folder, which is for the owner only.
XDG_RUNTIME_DIR=$dir "$sluiced" >"$dir/daemon.out" 2>"$dir/daemon.err" &
pid=$!
tries=0
until grep -q '^sluiced ready:' "$dir/daemon.out"; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || die "not ready"
    sleep 0.1
done
equal "$(stat -c %a "$dir/sluice")" 700
says 'version' env XDG_RUNTIME_DIR="$dir" "$BUILD/bin/sluice" status
stop
equal "$status" 0
