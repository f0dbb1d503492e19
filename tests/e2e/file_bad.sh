# Files that can't be served are refused with a sentence; full disks and images in use harm nobody else.
# What is mounted here is seen by nobody else, and gone afterwards.
if [ -z "${MOUNTS-}" ] && [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
    MOUNTS=own exec unshare -m sh "$0"
fi
. "$(dirname "$0")/lib.sh"

refused() {
    wanted=$1
    shift
    fails 1 "$wanted" timeout 20 "$@" "$BUILD/bin/sluiced" --control none --events none --node "$node"
}
file() {
    node=driver=file,name=n,filename=$1
}
chmod 755 "$WORK"
mkdir "$WORK/folder"
mkfifo "$WORK/pipe"
ln -s nowhere "$WORK/dangling"
ln -s circle "$WORK/circle"
truncate -s 1M "$WORK/image"
chmod 600 "$WORK/image"
file "$WORK/missing" && refused "there is no file '$WORK/missing'; create it" env
file "$WORK/dangling" && refused 'there is no file' env
file "$WORK/circle" && refused 'symbolic links' env
file "$WORK/folder" && refused 'is a directory; name a regular file' env
file "$WORK/pipe" && refused 'is a pipe; name a regular file' env
file /dev/null && refused 'is a character device; name a regular file' env
file "$(printf '/%05000d' 0)" && refused 'File name too long' env
someone="setpriv --reuid 65534 --regid 65534 --clear-groups"
if $someone test -x "$BUILD/bin/sluiced" 2>/dev/null; then
    # shellcheck disable=SC2086
    file "$WORK/image" && refused 'permission denied' $someone
    chmod 644 "$WORK/image"
    # shellcheck disable=SC2086
    refused 'if reading is enough, give read-only=on' $someone
fi

# One writer at a time, here and elsewhere; as many readers as like to.
sluiced_start --node "driver=file,name=a,filename=$WORK/image"
file "$WORK/image" && refused 'is in use: another program or node has it open' env
fails 1 'is in use: another program or node has it open' sluice node add driver=file name=b filename="$WORK/image"
fails 1 'is in use' sluice node add driver=file name=b filename="$WORK/image" read-only=on
fails 1 'lock' qemu-io -f raw -c 'write 0 512' "$WORK/image"
says '' qemu-io -r -U -f raw -c 'read 0 512' "$WORK/image"
sluiced_stop
start qsd qemu-storage-daemon --blockdev driver=file,node-name=f,filename="$WORK/image" \
    --nbd-server addr.type=unix,addr.path="$WORK/qsd" --export type=nbd,id=e,node-name=f,writable=on
until_true 10 test -S qsd || fail "no qemu-storage-daemon"
refused 'is in use' env
kill "$PID"
status_of "$PID"
sluiced_start --node "driver=file,name=a,filename=$WORK/image,read-only=on" \
    --node "driver=file,name=b,filename=$WORK/image,read-only=on" --backend name=ro,node=a
refused 'is in use' env
fails 1 'read-only' sluice io write ro data=x
sluiced_stop

# The rest needs file systems of its own.
[ -n "${MOUNTS-}" ] || exit 0
mkdir "$WORK/small"
mount -t tmpfs -o size=4m none "$WORK/small"
truncate -s 16M "$WORK/small/image"
truncate -s 16M "$WORK/other"
sluiced_start --node "driver=file,name=n1,filename=$WORK/small/image" --backend name=full,node=n1 \
    --node "driver=file,name=n2,filename=$WORK/other" --backend name=other,node=n2 \
    --export "type=nbd,backend=full,unix=$WORK/full,writable=on" \
    --export "type=nbd,backend=other,unix=$WORK/nbd,writable=on"
/usr/bin/python3 - "$E2E" "$WORK/full" "$WORK/nbd" <<'PY' || fail "the full disk"
import sys
sys.path.insert(0, sys.argv[1])
from nbd_raw import *
full, other = Client(sys.argv[2], name=b"full"), Client(sys.argv[3], name=b"other")
results = []
for i in range(8):
    data = os.urandom(1 << 20)
    results.append(full.write(i << 20, data))
    assert results[-1] == ENOSPC or full.ask(READ, i << 20, 1 << 20) == data
    assert other.write(i << 20, data) == b"" and other.ask(READ, i << 20, 1 << 20) == data
assert results[0] == b"" and results[-1] == ENOSPC, results
assert full.ask(FLUSH) == b"" and full.ask(TRIM, 0, 2 << 20) == b""
assert full.write(8 << 20, data) == b"" and full.ask(READ, 8 << 20, 1 << 20) == data
PY
fails 1 'No space left on device' sluice io write full offset=10M bytes=6M pattern=1
says 'failed [1-9]' sluice backend show full
# A file that somebody else shortens reads as zeroes where it ended, and grows again.
truncate -s 1M "$WORK/other"
says '00 00 00' sluice io read other offset=2M bytes=16
says '' sluice io write other offset=4M data=hello
says 'data: *hello' sluice io read other offset=4M bytes=5
sluiced_stop
mkdir "$WORK/fixed"
mount --bind "$WORK/small" "$WORK/fixed"
mount -o remount,bind,ro "$WORK/fixed"
file "$WORK/fixed/image" && refused 'is on a read-only file system; give read-only=on' env
umount "$WORK/fixed" "$WORK/small"
