#!/bin/sh
# What NBD clients should never send is refused or ends their connection, and disturbs nobody else.
. "$(dirname "$0")/lib_nbd.sh"
need /usr/bin/python3

start --node driver=memory,name=n,size=6G --backend name=disk,node=n \
    --export "type=nbd,backend=disk,id=rw,unix=$dir/rw,writable=on" \
    --export "type=nbd,backend=disk,id=ro,unix=$dir/ro"
/usr/bin/python3 "$(dirname "$0")/nbd_raw.py" "$dir/rw" "$dir/ro" "$pid" || fail "see above"
stop
[ ! -e "$dir/rw" ] || fail "the socket was left behind"
