# A user's way through the command line: add, list, show, read, write, remove, end.
. "$(dirname "$0")/lib.sh"
need python3
sluiced_start

# Nodes, backends and exports come, are shown, and go.
says '' sluice node add driver=memory name=mem size=1M
says 'length: *1 MiB' sluice node show mem
says '^mem  *memory  *1 MiB' sluice node list
says '' sluice backend add vd0 node=mem
says '^vd0  *mem  *1 MiB' sluice backend list
says 'node: *mem' sluice backend show name=vd0
says "nbd+unix://.*$WORK/nbd" sluice export add type=nbd backend=vd0 unix=nbd writable=on
says '^vd0  *nbd  *vd0 ' sluice export list
says 'users: *vd0' sluice node show mem
says 'version:' sluice status
says 'exports:' sluice status

# Data goes there and back, as text, as bytes, and through a pipe.
says 'bytes: *5 B' sluice io write vd0 data=hello
says 'data: *hello' sluice io read vd0 bytes=5
says 'bytes: *64 KiB' sluice io write vd0 offset=64K bytes=64K pattern=255
equal "$(sluice io read vd0 offset=127K bytes=2K --raw | od -An -tx1 -v | tr -s ' \n' '\n\n' | sort | uniq -c | tr -s ' \n' ' ')" \
    " 1 1024 00 1024 ff "
head -c 100000 /dev/urandom >random
sluice io write vd0 offset=512K --raw <random >out || fail "io write --raw"
sluice io read vd0 offset=512K bytes=100000 --raw >back || fail "io read --raw"
cmp random back || fail "what was written is not what is read"
says '' sluice io flush vd0
says 'bytes: *4 KiB' sluice io zeroes vd0 offset=0 bytes=4K unmap=on
says '00000000  00 00' sluice io read vd0 bytes=16
says 'bytes: *4 KiB' sluice io discard vd0 bytes=4K
says '' sluice io truncate vd0 size=2M
says 'length: *2 MiB' sluice backend show vd0
says 'write: *operations 3,' sluice backend show vd0

# What is refused has done nothing, however long it is.
fails 1 'beyond its end' sluice io write vd0 offset=1M bytes=4M pattern=7
says '00000000  00 00' sluice io read vd0 offset=1M bytes=16
fails 1 'beyond its end' sluice io zeroes vd0 offset=1G bytes=4G

# What some drivers can beside that.
says '' sluice node add driver=mock name=odd ioctl-result=7 ioctl-data=ab
says '' sluice backend add vd1 node=odd
says 'result: *7$' sluice io ioctl vd1 4660 data=xyz
equal "$(cat out)" "bytes:  3 B
data:   abz
result: 7"
says '"base64": "YWIA"' sluice --json io ioctl vd1 4660 bytes=3
says '^  "result": 7$' sluice --json io ioctl vd1 4660
equal "$(printf '\0\0\0\377' | sluice --raw io ioctl vd1 4660 | od -An -tx1)" " 61 62 00 ff"
equal "$(sluice --raw io ioctl vd1 4660 bytes=1 </dev/null)" a
head -c 60000 random >state
says 'bytes: *3 B' sluice io save-vmstate vd1 data=far offset=60000
sluice io save-vmstate vd1 --raw <state >out || fail "io save-vmstate --raw"
sluice io load-vmstate vd1 bytes=60003 --raw >back || fail "io load-vmstate --raw"
printf far >>state
cmp state back || fail "the state that was saved is not the one that is loaded"
says 'data: *far$' sluice io load-vmstate vd1 bytes=3 offset=60000
says 'bytes: *4 B' sluice io write vd1 data=text compressed=on
says 'write 0+4 compressed' sluice node show odd
says '^ioctl: *operations 5, bytes 11 B' sluice backend show vd1
says '^save-vmstate: *operations 2, bytes ~58.5 KiB' sluice backend show vd1
says '^load-vmstate: *operations 2,' sluice backend show vd1
fails 1 'takes no ioctls' sluice io ioctl vd0 1
fails 1 'keeps no state of virtual machines' sluice io load-vmstate vd0 bytes=1
fails 1 'does not compress; leave compressed out' sluice io write vd0 data=x compressed=on
says '' sluice backend remove vd1
says '' sluice node remove odd

# Replies as JSON are one document.
sluice --json status >status || fail "status"
python3 - status <<'PY' || fail "the JSON of status is not as expected"
import json, sys
status = json.load(open(sys.argv[1]))
assert [node["name"] for node in status["nodes"]] == ["mem"]
assert status["backends"][0]["write"]["bytes"] == 5 + 65536 + 100000
assert status["exports"][0]["writable"] is True
assert status["sequence"] >= 3 and status["epoch"] > 0
assert status["reactors"]
PY
says '"base64": "AAAA"' sluice --json io read vd0 bytes=3
says '"drivers"' sluice --json driver list
says '^memory:' sluice driver list
says '^{$' sluice --json export remove vd0
says '' sluice backend remove vd0
says '' sluice node remove mem
says 'no nodes' sluice node list
says 'no exports' sluice status

# The end, over control.
says '' sluice shutdown
sluiced_ends
