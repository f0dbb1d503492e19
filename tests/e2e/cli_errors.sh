# What goes wrong is told in a sentence, to whoever caused it, and disturbs nobody else.
. "$(dirname "$0")/lib.sh"
need python3
CONTROL=ipc://$WORK/nobody.sock EVENTS=ipc://$WORK/nobody-events.sock

# No daemon; wrong usage.
fails 1 "no daemon answers at ipc://$WORK/nobody.sock; start sluiced" sluice status
fails 1 "no events come from ipc://$WORK/nobody-events.sock" sluice events --follow
fails 2 'what to ask is missing' sluice
fails 2 'the request "frobnicate" is unknown; known are: status' sluice frobnicate
fails 2 'node frobnicate is unknown; node can be followed by: add, list, show, remove' sluice node frobnicate
fails 2 'node-add needs driver, which is missing' sluice node add name=n
fails 2 'backend-set has no field "nam"; it takes name, werror, rerror' sluice backend set nam=x
fails 2 'port is "x", but must be a whole number' sluice export add type=nbd backend=b port=x
fails 2 '"b" must be written as key=value' sluice node show a b
fails 2 'timeout is "soon", but must be' sluice --timeout soon status
fails 2 'follow go with events only' sluice --follow status
fails 2 'unrecognized option' sluice --nonsense
fails 2 'name the events endpoint with -e' "$BUILD/bin/sluice" -s tcp://127.0.0.1:1 events --follow
fails 1 'no daemon answers' "$BUILD/bin/sluice" -s tcp://127.0.0.1:1 events
fails 1 'foo is no endpoint' "$BUILD/bin/sluice" -s foo status

CONTROL=ipc://$WORK/control.sock EVENTS=ipc://$WORK/events.sock
sluiced_start --node driver=memory,name=mem,size=1M --backend name=vd0,node=mem --node driver=null,name=n,size=1M

# Refusals by the engine: what, why, what to do.
fails 1 'nobody' sluice node show nobody
fails 1 'nobody' sluice node remove nobody
fails 1 'nobody' sluice backend show nobody
fails 1 'nobody' sluice export remove nobody
fails 1 'vd0' sluice node remove mem
fails 1 'mem' sluice node add driver=null name=mem
fails 1 'mem' sluice backend add mem
fails 1 '1bad' sluice node add driver=null name=1bad
fails 1 "'nod' is nothing that a backend has" sluice backend add vd1 nod=mem
fails 1 'nonsense' sluice node add driver=nonsense name=x
fails 1 'nonsense' sluice node add driver=memory name=x size=1M nonsense=1
fails 1 'nonsense' sluice export add type=nonsense backend=vd0
says '' sluice export add nbd backend=vd0 unix="$WORK/nbd"
fails 1 "there is an export 'vd0' already" sluice export add nbd backend=vd0 unix="$WORK/nbd2"
says '' sluice export remove vd0

# io: what can't be, by field.
fails 1 'backend "vd0" is 1048576 bytes long' sluice io read vd0 offset=1M bytes=1
fails 1 'backend "vd0" is 1048576 bytes long' sluice io write vd0 offset=1M data=x
fails 1 'offset is -1, but must be 0 or more' sluice io read vd0 offset=-1 bytes=1
fails 2 'io-read needs bytes, which is missing' sluice io read vd0
fails 1 'bytes tells how many to fill' sluice io write vd0 pattern=1
fails 1 '1048577 bytes are asked for; 1048576 are the most' sluice io read vd0 bytes=1048577
fails 1 'are the most in one request' sluice io write vd0 bytes=2G pattern=0
fails 1 'either data or pattern' sluice io write vd0
fails 1 'either data or pattern' sluice io write vd0 data=x pattern=1
fails 1 'pattern is 256, but a byte is 0 to 255' sluice io write vd0 bytes=1 pattern=256
fails 1 'bytes is 7, but data has 1' sluice io write vd0 bytes=7 data=x
fails 2 'io-flush has no field "offset"; it takes backend$' sluice io flush vd0 offset=1
fails 2 'io-read has no field "fua"; it takes backend, offset, bytes, unthrottled$' sluice io read vd0 bytes=1 fua=on
fails 1 'preallocation is "much", but must be off, metadata, falloc or full' \
    sluice io truncate vd0 size=1M preallocation=much
fails 1 'preallocated for growth only' sluice io truncate vd0 size=4K preallocation=falloc
fails 1 'nobody' sluice io read nobody bytes=1

# With --json the error is a document too.
fails 1 '' sluice --json node show nobody
python3 -c '
import json, sys
error = json.load(open(sys.argv[1]))["error"]
assert error["class"] == "NOT_FOUND", error
assert "nobody" in error["message"], error
' out || fail "the JSON error"

# Nothing of that did any harm.
says '^vd0 ' sluice backend list
says 'bytes: *1 B' sluice io write vd0 offset=1048575 data=x
sluiced_stop
