# Noise, clients that die at any byte, and crowds that come and go: others read what they wrote meanwhile.
. "$(dirname "$0")/lib.sh"
need /usr/bin/python3 fio qemu-io
truncate -s 64M image
sluiced_start --node "driver=file,name=n,filename=$WORK/image" --backend name=disk,node=n \
    --node driver=memory,name=m,size=64M --backend name=other,node=m \
    --export "type=nbd,backend=disk,id=rw,unix=$WORK/rw,writable=on" \
    --export "type=nbd,node=n,name=disk,id=ro,unix=$WORK/ro" \
    --export "type=nbd,backend=other,unix=$WORK/other,writable=on"

start fio fio --name=verify --ioengine=nbd --uri="nbd+unix:///other?socket=$WORK/other" --rw=randwrite \
    --bs=4k --iodepth=16 --size=64M --rate_iops=2000 --verify=crc32c --verify_fatal=1 \
    --verify_state_save=0 --minimal
fio=$PID
says '' timeout 120 /usr/bin/python3 "$E2E/nbd_fuzz.py" fuzz rw ro 0 600
says '' timeout 120 /usr/bin/python3 "$E2E/nbd_fuzz.py" cut rw
says '' timeout 120 /usr/bin/python3 "$E2E/nbd_fuzz.py" crowd rw 4
status_of "$fio"
equal "$STATUS" 0

# Nothing is left of all those clients, and the next is served.
nobody_left() {
    sluice --json export list >exports && not grep -q '"connections": *[1-9]' exports
}
until_true 10 nobody_left || fail "clients are left: $(sluice export list)"
[ "$(ls "/proc/$SLUICED/fd" | wc -l)" -lt 50 ] || fail "file descriptors are left: $(ls -l "/proc/$SLUICED/fd")"
says '' qemu-io -r -f raw -c 'read 0 64M' "nbd+unix:///disk?socket=$WORK/ro"
sluiced_stop
