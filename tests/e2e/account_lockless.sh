# Counting takes no lock: the code of a backend's requests, and of what they are counted with, has no locked
# instruction and calls nothing that locks. Compiled for this, as the build's own objects are not code yet.
# builds: release
. "$(dirname "$0")/lib.sh"
need cc nm objdump
[ "$(uname -m)" = x86_64 ] || { echo "skipped: this knows the locked instructions of x86_64 only"; exit 77; }

for name in account backend_io; do
    cc -O2 -DNDEBUG -D_GNU_SOURCE -Uunix -I "$SOURCE" -I "$BUILD/proto" -c -o $name.o "$SOURCE/actors/$name.c"
    nm $name.o >symbols
    grep -q ' T [a-z]*_' symbols || fail "$name.c has no code"
    ! grep -E ' U (pthread_|mtx_|sem_|zmq_|futex|syscall)' symbols || fail "$name.c calls what locks"
    objdump -d --no-show-raw-insn $name.o >code
    grep -q 'ret' code || fail "the code of $name.c can't be read"
    ! grep -E '[[:space:]]lock[[:space:]]|xchg.*\(' code || fail "$name.c has a locked instruction"
done
