# An overlay over a file is merged into that file, while a client writes through NBD: whatever is
# written is read back at any time, and when nobody writes any more, the file has all of it.
. "$SOURCE/tests/e2e/lib.sh"
need python3

size=$((48 << 20))
head -c "$size" /dev/urandom >base.img
head -c "$size" /dev/zero >upper.img
sluiced_start --node driver=file,name=base,filename="$WORK/base.img" \
    --node "driver=memory,name=upper,size=48M" \
    --node driver=overlay,name=top,child=upper,backing=base \
    --backend name=disk,node=top --backend name=direct,node=base \
    --export "type=nbd,backend=disk,unix=$WORK/nbd,writable=on"

# topics: of all events, in order.
topics() {
    sluice events --since 1 --count 1000 | awk '{ print $4 }' | tr '\n' ' '
}
no_jobs() {
    sluice job list | grep -q '^no jobs'
}

# Half of the blocks, then commits one after the other until the writer is through.
cat >writer.py <<'END'
import os, random, sys
sys.path.insert(0, os.environ["E2E"])
from nbd_raw import *

image = bytearray(open("base.img", "rb").read())
client = Client("nbd")
random.seed(7)


def write(offset, length):
    if random.random() < 0.2:
        image[offset:offset + length] = bytes(length)
        assert client.ask(ZEROES, offset, length) == b""
    else:
        data = random.randbytes(length)
        image[offset:offset + length] = data
        assert client.write(offset, data) == b""


def check(offset, length):
    if client.ask(READ, offset, length) != image[offset:offset + length]:
        sys.exit("what was written at %d is not read back" % offset)


if sys.argv[1] == "first":
    for block in random.sample(range(len(image) >> 16), len(image) >> 17):
        write(block << 16, 1 << 16)
else:
    image = bytearray(open("image", "rb").read())
    random.seed(8)
    end = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        length = random.choice((512, 4096, 65536, 200000))
        offset = random.randrange(len(image) - length) // 512 * 512
        write(offset, length) if random.random() < 0.5 else check(offset, length)
for offset in range(0, len(image), 1 << 20):
    check(offset, 1 << 20)
open("image", "wb").write(image)
END
E2E=$E2E python3 writer.py first || fail "the first writes"
says '' sluice commit disk id=merge speed=8M
says 'source: *top' sluice job show merge
fails 1 'resize is blocked on node' sluice io truncate disk size=1M
fails 1 'job .merge. uses it\|merge' sluice node remove base
export E2E
start writer python3 writer.py on 10
writer=$PID
until_true 60 no_jobs || fail "the commit does not end"
case $(topics) in
*JOB_ADDED*JOB_COMPLETED*JOB_DELETED*) ;;
*) fail "events do not tell of the job: $(topics)" ;;
esac
# Without a limit, again and again, as long as the writer is there.
commits=0
while alive "$writer"; do
    says '' sluice commit-all
    commits=$((commits + 1))
done
status_of "$writer"
equal "$STATUS" 0
[ "$commits" -gt 1 ] || fail "only $commits commits ran while the client wrote"

# Nobody writes any more: now the file is what the client has.
says '' sluice commit-all
cmp base.img image || fail "the backing is not what was written"
E2E=$E2E python3 writer.py on 0 || fail "the overlay shows something else"

# An error of the backing is told, and nothing is lost.
says '' sluice io write disk offset=4096 data=precious
says '' sluice commit-all
equal "$(dd if=base.img bs=1 skip=4096 count=8 2>/dev/null)" precious
sluiced_stop
