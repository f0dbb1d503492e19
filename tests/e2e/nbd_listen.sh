# Exports listen where they are told, take over what is dead, and leave alone what is not theirs.
. "$(dirname "$0")/lib.sh"
need nbdinfo /usr/bin/python3

serve="--node driver=memory,name=n,size=1M --backend name=m,node=n"

# refused PATTERN EXPORT: sluiced ends, and says why.
refused() {
    # shellcheck disable=SC2086
    fails 1 "$1" timeout 20 sluiced --control "ipc://$WORK/c2" --events "ipc://$WORK/e2" $serve --export "$2"
}

# shellcheck disable=SC2086
sluiced_start $serve --export "type=nbd,backend=m,unix=$WORK/s"
refused "another server listens there" "type=nbd,backend=m,unix=$WORK/s"
says '' nbdinfo --size "nbd+unix:///m?socket=$WORK/s"

echo precious >file
refused "not a socket" "type=nbd,backend=m,unix=$WORK/file"
equal "$(cat file)" precious
refused "No such file" "type=nbd,backend=m,unix=$WORK/nowhere/s"
refused "shorter" "type=nbd,backend=m,unix=$WORK/$(printf '%0120d' 0)"
refused "exactly one of" "type=nbd,backend=m"
refused "exactly one of" "type=nbd,backend=m,unix=$WORK/x,port=0"
refused "from 0" "type=nbd,backend=m,port=65536"
refused "a Unix socket, which has no host" "type=nbd,backend=m,unix=$WORK/x,host=127.0.0.1"
refused "is no address" "type=nbd,backend=m,port=0,host=not.an.address"
refused "at least 1" "type=nbd,backend=m,unix=$WORK/x,max_connections=0"
refused "the types are" "type=iscsi,backend=m,unix=$WORK/x"
refused "4096" "type=nbd,backend=m,unix=$WORK/x,name=$(printf '%04097d' 0)"

# A server that was killed leaves its socket; the next one takes it over at once.
sluiced_crash
[ -S s ] || fail "the killed server's socket is gone"
# shellcheck disable=SC2086
sluiced_start $serve --export "type=nbd,backend=m,unix=$WORK/s" --export type=nbd,node=n,id=tcp,port=0
says '' nbdinfo --size "nbd+unix:///m?socket=$WORK/s"

# A free TCP port, told by the server.
uri=$(sluice --json export show tcp | sed -n 's/.*"\(nbd:\/\/[^"]*\)".*/\1/p' | sed 's/\\//g')
equal "$(nbdinfo --size "$uri")" 1048576

# A client whose machine goes without a word is noticed: the kernel keeps a keepalive timer (kind 02) for it.
says '' /usr/bin/python3 - "$uri" <<'PY'
import socket, sys, urllib.parse
uri = urllib.parse.urlparse(sys.argv[1])
client = socket.create_connection((uri.hostname, uri.port))
client.recv(18)
here, there = "%04X" % uri.port, "%04X" % client.getsockname()[1]
rows = [line.split() for line in open("/proc/net/tcp")]
timers = [row[5][:2] for row in rows if row[1].endswith(":" + here) and row[2].endswith(":" + there)]
assert timers == ["02"], timers
PY
sluiced_stop
[ ! -e s ] || fail "the socket was left behind"
