# What NBD clients should never send is refused or ends their connection, and disturbs nobody else.
. "$(dirname "$0")/lib.sh"
need python3

sluiced_start --node driver=memory,name=n,size=6G --backend name=disk,node=n \
    --export "type=nbd,backend=disk,id=rw,unix=$WORK/rw,writable=on" \
    --export "type=nbd,node=n,name=disk,id=ro,unix=$WORK/ro"
python3 "$E2E/nbd_raw.py" "$WORK/rw" "$WORK/ro" "$SLUICED" || fail "see above"
sluiced_stop
[ ! -e "$WORK/rw" ] || fail "the socket was left behind"
