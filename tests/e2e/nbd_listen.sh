#!/bin/sh
# Exports listen where they are told, take over what is dead, and leave alone what is not theirs.
. "$(dirname "$0")/lib_nbd.sh"
need nbdinfo

serve="--node driver=memory,name=n,size=1M --backend name=m,node=n"

# Refused: sluiced ends, with a sentence that has these words.
refused() {
    words=$1
    shift
    if timeout 20 "$BUILD/bin/sluiced" --control "ipc://$dir/c2" --events "ipc://$dir/e2" $serve \
        --export "$@" >"$dir/out" 2>&1; then
        fail "sluiced accepted --export $*"
    fi
    grep -q "$words" "$dir/out" || fail "no \"$words\" for --export $*: $(cat "$dir/out")"
}

# shellcheck disable=SC2086
start $serve --export "type=nbd,backend=m,unix=$dir/s"
refused "another server listens there" "type=nbd,backend=m,unix=$dir/s"
nbdinfo --size "nbd+unix:///m?socket=$dir/s" >/dev/null || fail "the first server was disturbed"

echo precious >"$dir/file"
refused "not a socket" "type=nbd,backend=m,unix=$dir/file"
[ "$(cat "$dir/file")" = precious ] || fail "a file was overwritten"
refused "No such file" "type=nbd,backend=m,unix=$dir/nowhere/s"
refused "shorter" "type=nbd,backend=m,unix=$dir/$(printf '%0120d' 0)"
refused "exactly one of" "type=nbd,backend=m"
refused "exactly one of" "type=nbd,backend=m,unix=$dir/x,port=0"
refused "from 0" "type=nbd,backend=m,port=65536"
refused "is no address" "type=nbd,backend=m,port=0,host=not.an.address"
refused "at least 1" "type=nbd,backend=m,unix=$dir/x,max_connections=0"
refused "the types are" "type=iscsi,backend=m,unix=$dir/x"
refused "4096" "type=nbd,backend=m,unix=$dir/x,name=$(printf '%04097d' 0)"

# A server that was killed leaves its socket; the next one takes it over at once.
kill -KILL "$pid"
wait "$pid" 2>/dev/null
[ -S "$dir/s" ] || fail "the killed server's socket is gone"
# shellcheck disable=SC2086
"$BUILD/bin/sluiced" --control "ipc://$dir/control" --events "ipc://$dir/events" $serve \
    --export "type=nbd,backend=m,unix=$dir/s" --export type=nbd,backend=m,id=tcp,port=0 \
    >"$dir/log" 2>&1 &
pid=$!
await nbdinfo --size "nbd+unix:///m?socket=$dir/s" >/dev/null 2>&1 || fail "the socket was not taken over"

# A free TCP port, told by the server.
uri=$("$BUILD/bin/sluice" -s "ipc://$dir/control" --json export show tcp |
    sed -n 's/.*"\(nbd:\/\/[^"]*\)".*/\1/p' | sed 's/\\//g')
[ "$(nbdinfo --size "$uri")" = 1048576 ] || fail "no export at \"$uri\""
stop
[ ! -e "$dir/s" ] || fail "the socket was left behind"
