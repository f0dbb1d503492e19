# Real NBD clients read and write exports of memory and file nodes, and find what was written.
. "$(dirname "$0")/lib.sh"
need qemu-img qemu-io nbdinfo nbdcopy fio cmp

size=$((64 << 20))
truncate -s $size disk.img
# Something to copy: data, a hole, data up to an odd end.
head -c 20000000 /dev/urandom >source.img
truncate -s 50000000 source.img
head -c 1234567 /dev/urandom >>source.img
truncate -s $size source.img

sluiced_start --node driver=memory,name=mem0,size=64M --backend name=mem,node=mem0 \
    --node "driver=file,name=file0,filename=$WORK/disk.img" --backend name=file,node=file0 \
    --export "type=nbd,backend=mem,unix=$WORK/mem,writable=on,description=in memory" \
    --export "type=nbd,backend=file,unix=$WORK/file,writable=on" \
    --export "type=nbd,node=file0,id=ro,name=a name,unix=$WORK/ro"

for name in mem file; do
    uri="nbd+unix:///$name?socket=$WORK/$name"
    echo "--- $name"

    for line in "export-size: $size" "is_read_only: false" "can_multi_conn: true" "can_flush: true" \
        "can_fua: true" "can_trim: true" "can_zero: true" "block_size_maximum: 33554432"; do
        says "$line" nbdinfo "$uri"
    done
    equal "$(nbdinfo --size "$uri")" $size

    qemu-img convert -n -f raw -O raw source.img "$uri" || fail "qemu-img convert to $name"
    qemu-img compare -f raw -F raw source.img "$uri" || fail "qemu-img compare with $name"
    says "\"length\": $size" qemu-img map --output=json "$uri"
    qemu-img convert -f raw -O raw "$uri" back.img || fail "qemu-img convert from $name"
    cmp source.img back.img || fail "qemu-img convert changed data of $name"

    says '' qemu-io -f raw -c 'write -P 0x5a 1M 3M' -c 'write -f -P 0xa5 1000000 700' -c 'write -z 2M 64k' \
        -c 'write -z -u 3M 64k' -c 'discard 5M 1M' -c flush -c 'read -P 0xa5 1000000 700' \
        -c 'read -P 0 2M 64k' -c 'read -P 0 3M 64k' -c 'read -P 0x5a 2162688 900k' \
        -c 'aio_write -P 1 6M 1M' -c 'aio_write -P 2 7M 1M' -c aio_flush -c 'read -P 2 7M 1M' \
        "$uri"
    ! grep -qi 'fail\|error' out || fail "qemu-io on $name: $(cat out)"

    nbdcopy --connections=4 source.img "$uri" || fail "nbdcopy to $name"
    nbdcopy --connections=4 --requests=64 "$uri" back.img || fail "nbdcopy from $name"
    cmp source.img back.img || fail "nbdcopy changed data of $name"

    fio --name=verify --ioengine=nbd --uri="$uri" --rw=randwrite --bssplit=512/30:4k/30:12345/10:64k/20:300k/10 \
        --bs_unaligned --iodepth=64 --size=48M --verify=crc32c --verify_fatal=1 --verify_state_save=0 --minimal \
        >/dev/null || fail "fio --verify on $name"
done

echo "--- read-only, by a name with a space"
uri="nbd+unix:///a%20name?socket=$WORK/ro"
says 'is_read_only: true' nbdinfo "$uri"
says 'a name' nbdinfo --list "nbd+unix:///?socket=$WORK/ro"
! qemu-io -f raw -c 'write 0 512' "$uri" >/dev/null 2>&1 || fail "a read-only export was written to"
qemu-img compare -f raw -F raw disk.img "$uri" || fail "the read-only export differs"

sluiced_stop
qemu-img compare -f raw -F raw disk.img disk.img >/dev/null || fail "the image is locked still"
