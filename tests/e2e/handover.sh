# Two daemons hand one image over to each other: the locks say whose it is, what one wrote the other
# finds, and who does not own it changes nothing.
. "$(dirname "$0")/lib.sh"
need qemu-io

# serve NAME ARGUMENT...: a daemon that serves the image at NAME.nbd; afterwards, NAME REQUEST asks it.
serve() {
    CONTROL=ipc://$WORK/$1.control
    EVENTS=ipc://$WORK/$1.events
    socket=$WORK/$1.nbd
    shift
    sluiced_start "$@" --node "driver=file,name=n,filename=$WORK/image" --backend name=d,node=n \
        --export "type=nbd,backend=d,unix=$socket,writable=on"
}
a() {
    "$BUILD/bin/sluice" -s "ipc://$WORK/a.control" -e "ipc://$WORK/a.events" "$@"
}
b() {
    "$BUILD/bin/sluice" -s "ipc://$WORK/b.control" -e "ipc://$WORK/b.events" "$@"
}
# through NAME COMMAND...: a client of the export.
through() {
    uri="nbd+unix:///d?socket=$WORK/$1.nbd"
    shift
    for command in "$@"; do
        set -- "$@" -c "$command"
        shift
    done
    qemu-io -f raw "$@" "$uri"
}
# content NAME COMMAND...: reads with patterns that must match.
content() {
    says '' through "$@"
    not grep -qi 'fail\|error' out || fail "$1 does not serve what was written: $(cat out)"
}
# in_use NAME REQUEST...: refused, as the other one has the image.
in_use() {
    fails 1 "'$WORK/image' is in use: another program or node has it open; close it there" "$@"
}
# shut NAME: neither reads nor changes, as the image is another one's.
shut() {
    not through "$1" 'read 0 512' 'write 0 512' >out 2>&1
    equal "$(grep -c 'Operation not permitted' out)" 2
}
clients() {
    "$1" --json export show d | grep -q "\"connections\": *$2"
}
# said TIMES WHAT: the client that stays has.
said() {
    [ "$(cat client.out client.err | grep -c "$2")" -eq "$1" ]
}

truncate -s 8M "$WORK/image"
serve a
A=$SLUICED
content a 'write -P 1 0 64k'

# The second one has it open, and nothing else.
in_use "$BUILD/bin/sluiced" --control none --events none --node "driver=file,name=n,filename=$WORK/image"
serve b --incoming
B=$SLUICED
says 'run-state: *incoming' b status
says 'activity: *inactive' b backend show d
says 'inactive: *on' b node show n
in_use b resume
in_use b activate
in_use b backend activate d
says 'run-state: *incoming' b status
shut b
fails 1 'not permitted' b io write d data=x
content a 'write -P 2 64k 64k'

# Clients are not left behind unless that was allowed.
mkfifo "$WORK/keep"
start client sh -c "exec qemu-io -f raw 'nbd+unix:///d?socket=$WORK/a.nbd' <keep"
client=$PID
exec 9>"$WORK/keep"
until_true 10 clients a 1 || fail "no client is connected"
fails 1 "export 'd' has 1 client, so its backend can't be inactivated; disconnect it" a inactivate
says '' a backend show d
not grep -q '^activity:' out || fail "the refusal has inactivated it: $(cat out)"
exec 9>&-
status_of "$client"
until_true 10 clients a 0 || fail "the client is connected still"

# Over, while the length changes, ...
says '' a inactivate
fails 1 'not permitted' a io write d data=x
says '' b resume
says '' b status
not grep -q '^run-state:' out || fail "b is not running: $(cat out)"
in_use a activate
in_use a backend activate d
content b 'read -P 1 0 64k' 'read -P 2 64k 64k' 'write -P 3 128k 64k'
says '' b io truncate d size=16M
shut a
says 'length: *8 MiB' a backend show d

# ... back, ...
says '' b backend inactivate d
says '' a backend activate d
in_use b activate
says 'length: *16 MiB' a backend show d
says 'BLOCK_RESIZED' a events --since 1
content a 'read -P 1 0 64k' 'read -P 2 64k 64k' 'read -P 3 128k 64k' 'write -P 4 15M 64k'
fails 1 'not permitted' b io write d data=x

# ... and to and fro, with a client that stays.
says '' b export remove d
says '' b export add type=nbd backend=d unix="$WORK/b.nbd" writable=on allow-inactive=on
mkfifo "$WORK/keep2"
start client sh -c "exec qemu-io -f raw 'nbd+unix:///d?socket=$WORK/b.nbd' <keep2"
client=$PID
exec 9>"$WORK/keep2"
until_true 10 clients b 1 || fail "no client is connected"
for round in 1 2 3 4 5; do
    says '' a inactivate
    says '' b activate
    in_use a activate
    echo "write -P 1$round 1M 64k" >&9
    until_true 10 said $round 'wrote 65536/65536' || fail "$(cat client.out client.err)"
    says '' b inactivate
    says '' a activate
    in_use b activate
    echo "write -P 99 1M 64k" >&9
    until_true 10 said $round 'not permitted' || fail "$(cat client.out client.err)"
    content a "read -P 1$round 1M 64k"
done
exec 9>&-
status_of "$client"

# An owner that is killed leaves the image to who takes it.
SLUICED=$A
sluiced_crash
until_true 10 b activate || fail "what nobody owns can't be activated: $(b activate 2>&1)"
content b 'read -P 1 0 64k' 'read -P 4 15M 64k' 'read -P 15 1M 64k' 'write -P 5 0 64k'
SLUICED=$B
sluiced_stop
equal "$(od -An -tx1 -N1 "$WORK/image" | tr -d ' ')" 05
