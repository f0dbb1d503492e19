# Nobody steals another daemon's endpoint; what a dead one left over is taken; nobody else gets in.
. "$(dirname "$0")/lib.sh"

# A second daemon is told who has it, and the first goes on.
sluiced_start
equal "$(stat -c %a control.sock)" 600
fails 1 "can't listen at $CONTROL: process $SLUICED uses it" sluiced --control "$CONTROL" --events none
fails 1 "can't listen at $EVENTS: process $SLUICED uses it" sluiced --control none --events "$EVENTS"
says 'version' sluice status
sluiced_stop
[ -z "$(ls "$WORK" | grep sock)" ] || fail "paths are left over: $(ls "$WORK")"

# After a crash the path is taken over.
sluiced_start
sluiced_crash
[ -S control.sock ] || fail "the dead daemon's path is gone by itself"
sluiced_start
says 'version' sluice status
sluiced_stop

# Something else in the place is left alone.
echo precious >file
fails 1 'no socket; remove it, or choose another path' sluiced --control "ipc://$WORK/file" --events none
equal "$(cat file)" precious
long=$(printf '%0120d' 0)
fails 1 'Unix sockets take 107; choose a shorter one' sluiced --control "ipc://$WORK/$long" --events none
fails 1 'beyond loopback anyone could give orders' sluiced --control 'tcp://0.0.0.0:*' --events none
fails 1 'beyond loopback anyone could give orders' sluiced --control none --events 'tcp://*:5555'
fails 1 'an endpoint is ipc://PATH or tcp://127.0.0.1:PORT' sluiced --control nonsense --events none

# TCP on loopback, at a port that is free: the ready line tells which.
CONTROL='tcp://127.0.0.1:*' EVENTS='tcp://127.0.0.1:*'
sluiced_start
says 'version' sluice status
says '' sluice node add n driver=null
says 'NODE_ADDED' sluice events
fails 1 "can't listen at $CONTROL: Address already in use" sluiced --control "$CONTROL" --events none
sluiced_stop

# Without options: below the runtime folder, which is for the owner only.
sluiced_run env XDG_RUNTIME_DIR="$WORK" sluiced
equal "$(stat -c %a sluice)" 700
says 'version' env XDG_RUNTIME_DIR="$WORK" "$BUILD/bin/sluice" status
sluiced_stop
