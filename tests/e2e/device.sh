# Devices and their media, as a console sees them: a drive with a tray, a locked one, a change, and a
# node that two exports share, each on a backend of its own.
. "$(dirname "$0")/lib.sh"
need qemu-io python3

cat >config.yaml <<END
- node-add:    {name: one, driver: memory, size: 1M}
- node-add:    {name: two, driver: memory, size: 2M}
- backend-add: {name: cd0, node: one}
- device-add:  {id: cd, backend: cd0, removable: on, tray: on, locked: on}
END
sluiced_start --config config.yaml

# shown KEY: the value in what is shown of the backend.
shown() {
    sluice backend show cd0 | sed -n "s/^$1: *//p"
}
# topics FROM: the topics of events from this number on, in order, but for what each user's coming and going tells.
topics() {
    sluice events --since "$1" --count 100 | awk '$4 != "PERMISSION_CHANGED" { print $4 }' | tr '\n' ' '
}
last() {
    sluice --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["sequence"])'
}

# One device, which is named; it is in every list.
fails 1 "backend 'cd0' has a device already, device 'cd'" \
    sluice export add nbd backend=cd0 unix="$WORK/nbd"
says '^cd ' sluice device list
says 'device: *cd$' sluice backend show cd0
fails 1 "device 'cd' uses it" sluice backend remove cd0

# A locked tray: the device is asked. Its guest lets go, and opens the tray by itself.
before=$(last)
fails 1 'in progress' sluice medium eject cd0
says 'eject-requests: *1$' sluice device show cd
says '' sluice device set cd locked=off tray-open=on
equal "$(shown tray-open)" on
fails 1 'No medium found' sluice io read cd0 bytes=512
says '' sluice medium remove cd0
says '' sluice medium insert cd0 two
says '' sluice medium close-tray cd0
says '' sluice io read cd0 offset=1M bytes=512
equal "$(topics $((before + 1)))" \
    'DEVICE_TRAY_MOVED MEDIUM_REMOVED MEDIUM_INSERTED DEVICE_TRAY_MOVED '

# A change that fails changes nothing; one that does not goes through the tray.
before=$(last)
fails 1 "there is no node 'three'" sluice medium change cd0 three
equal "$(topics $((before + 1)))" ''
says '' sluice medium change cd0 one mode=read-only
equal "$(shown read-only)" on
fails 1 'is closed; open it first' sluice medium remove cd0
says '' sluice medium eject cd0 force=on
says '' sluice device remove cd
says '' sluice backend remove cd0

# One node, two exports: each has a backend of its own, and what one writes the other reads.
says '' sluice export add nbd node=two id=a unix="$WORK/a" writable=on
says '' sluice export add nbd node=two id=b unix="$WORK/b" writable=on
says 'no backends' sluice backend list
qemu-io -f raw -c 'write -P 9 64k 64k' "nbd+unix:///two?socket=$WORK/a" >out || fail "$(cat out)"
qemu-io -f raw -c 'read -P 9 64k 64k' "nbd+unix:///two?socket=$WORK/b" >out || fail "$(cat out)"
says '' sluice export remove a
says '' sluice export remove b
says '' sluice node remove two
sluiced_stop # its status also says that the leak checker found nothing
