#!/bin/sh
# Real NBD clients read and write exports of memory and file nodes, and find what was written.
. "$(dirname "$0")/lib_nbd.sh"
need qemu-img qemu-io nbdinfo nbdcopy fio cmp

size=$((64 << 20))
truncate -s $size "$dir/disk.img"
# Something to copy: data, a hole, data up to an odd end.
head -c 20000000 /dev/urandom >"$dir/source.img"
truncate -s 50000000 "$dir/source.img"
head -c 1234567 /dev/urandom >>"$dir/source.img"
truncate -s $size "$dir/source.img"

start --node driver=memory,name=mem0,size=64M --backend name=mem,node=mem0 \
    --node "driver=file,name=file0,filename=$dir/disk.img" --backend name=file,node=file0 \
    --export "type=nbd,backend=mem,unix=$dir/mem,writable=on,description=in memory" \
    --export "type=nbd,backend=file,unix=$dir/file,writable=on" \
    --export "type=nbd,backend=file,id=ro,name=a name,unix=$dir/ro"

for name in mem file; do
    uri="nbd+unix:///$name?socket=$dir/$name"
    echo "--- $name"

    nbdinfo "$uri" >"$dir/out" || fail "nbdinfo $uri"
    for line in "export-size: $size" "is_read_only: false" "can_multi_conn: true" "can_flush: true" \
        "can_fua: true" "can_trim: true" "can_zero: true" "block_size_maximum: 33554432"; do
        grep -q "$line" "$dir/out" || fail "nbdinfo does not say $line: $(cat "$dir/out")"
    done
    [ "$(nbdinfo --size "$uri")" = $size ] || fail "nbdinfo --size"

    qemu-img convert -n -f raw -O raw "$dir/source.img" "$uri" || fail "qemu-img convert to $name"
    qemu-img compare -f raw -F raw "$dir/source.img" "$uri" || fail "qemu-img compare with $name"
    qemu-img map --output=json "$uri" >"$dir/out" || fail "qemu-img map of $name"
    grep -q "\"length\": $size" "$dir/out" || fail "qemu-img map of $name: $(cat "$dir/out")"
    qemu-img convert -f raw -O raw "$uri" "$dir/back.img" || fail "qemu-img convert from $name"
    cmp "$dir/source.img" "$dir/back.img" || fail "qemu-img convert changed data of $name"

    qemu-io -f raw -c 'write -P 0x5a 1M 3M' -c 'write -f -P 0xa5 1000000 700' -c 'write -z 2M 64k' \
        -c 'write -z -u 3M 64k' -c 'discard 5M 1M' -c flush -c 'read -P 0xa5 1000000 700' \
        -c 'read -P 0 2M 64k' -c 'read -P 0 3M 64k' -c 'read -P 0x5a 2162688 900k' \
        -c 'aio_write -P 1 6M 1M' -c 'aio_write -P 2 7M 1M' -c aio_flush -c 'read -P 2 7M 1M' \
        "$uri" >"$dir/out" || fail "qemu-io on $name"
    ! grep -qi 'fail\|error' "$dir/out" || fail "qemu-io on $name: $(cat "$dir/out")"

    nbdcopy --connections=4 "$dir/source.img" "$uri" || fail "nbdcopy to $name"
    nbdcopy --connections=4 --requests=64 "$uri" "$dir/back.img" || fail "nbdcopy from $name"
    cmp "$dir/source.img" "$dir/back.img" || fail "nbdcopy changed data of $name"

    fio --name=verify --ioengine=nbd --uri="$uri" --rw=randwrite --bssplit=512/30:4k/30:12345/10:64k/20:300k/10 \
        --bs_unaligned --iodepth=64 --size=48M --verify=crc32c --verify_fatal=1 --minimal \
        >/dev/null || fail "fio --verify on $name"
done

echo "--- read-only, by a name with a space"
uri="nbd+unix:///a%20name?socket=$dir/ro"
nbdinfo "$uri" | grep -q 'is_read_only: true' || fail "the export is not read-only"
nbdinfo --list "nbd+unix:///?socket=$dir/ro" | grep -q 'a name' || fail "the export is not listed"
! qemu-io -f raw -c 'write 0 512' "$uri" >/dev/null 2>&1 || fail "a read-only export was written to"
qemu-img compare -f raw -F raw "$dir/disk.img" "$uri" || fail "the read-only export differs"

stop
qemu-img compare -f raw -F raw "$dir/disk.img" "$dir/disk.img" >/dev/null || fail "the image is locked still"
