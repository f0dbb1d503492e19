# What NBD clients should never send is refused or ends their connection, and disturbs nobody else.
. "$(dirname "$0")/lib.sh"
need python3

sluiced_start --node driver=memory,name=n,size=6G --backend name=disk,node=n,werror=stop,rerror=stop \
    --export "type=nbd,backend=disk,id=rw,unix=$WORK/rw,writable=on" \
    --export "type=nbd,node=n,name=disk,id=ro,unix=$WORK/ro"
python3 "$E2E/nbd_raw.py" "$WORK/rw" "$WORK/ro" "$SLUICED" || fail "see above"
sluice --json backend show disk >shown.json
python3 - <<'PY' || fail "what was refused is not counted: $(cat shown.json)"
import json
shown = json.load(open("shown.json"))
assert all(int(shown[kind]["invalid"]) > 0 for kind in ("read", "write", "zeroes", "discard")), shown
PY
sluiced_stop
[ ! -e "$WORK/rw" ] || fail "the socket was left behind"
