# A kernel, container or limit that does not let it run is told in a sentence with the remedy.
. "$(dirname "$0")/lib.sh"

cat >without_io_uring.py <<'PY'
"""ERRNO COMMAND...: runs it where io_uring_setup fails with that errno, by seccomp, as containers do."""
import ctypes, os, struct, sys
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
LOAD, JUMP_IF_EQUAL, RETURN, ERRNO, ALLOW, IO_URING_SETUP = 0x20, 0x15, 0x06, 0x50000, 0x7FFF0000, 425
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in (
    (LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP), (RETURN, 0, 0, ERRNO | int(sys.argv[1])),
    (RETURN, 0, 0, ALLOW))))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(Program(4, ctypes.addressof(code)))) == 0 # PR_SET_SECCOMP
os.execv(sys.argv[2], sys.argv[2:])
PY
without_io_uring() {
    /usr/bin/python3 "$WORK/without_io_uring.py" "$@"
}
fails 1 'io_uring is forbidden here.*kernel.io_uring_disabled=0' without_io_uring 1 "$BUILD/bin/sluiced" --control none --events none
fails 1 'has no io_uring; Linux 6.1 or later' without_io_uring 38 "$BUILD/bin/sluiced" --control none --events none
fails 1 'io_uring is forbidden here' without_io_uring 1 "$BUILD/bin/sluice-bench" --node driver=null --runtime 100ms

fails 1 '2 threads were asked for, but this process may run on 1 CPU only: ask for at most 1' \
    taskset -c "$(taskset -pc $$ | sed 's/.*[ ,-]//')" "$BUILD/bin/sluiced" --control none --events none --threads 2
for limit in 6 12 20; do
    fails 1 'Too many open files' sh -c "ulimit -n $limit; exec '$BUILD/bin/sluiced' --control none --events none"
done

# No place for the endpoints.
fails 1 "can't listen at ipc://$WORK/image/sluice/events.sock: $WORK/image/sluice: Not a directory" \
    sh -c "touch image; XDG_RUNTIME_DIR='$WORK/image' exec '$BUILD/bin/sluiced'"
someone="setpriv --reuid 65534 --regid 65534 --clear-groups"
if $someone test -x "$BUILD/bin/sluiced" 2>/dev/null; then
    mkdir -m 700 "$WORK/mine"
    chmod 755 "$WORK"
    export XDG_RUNTIME_DIR="$WORK/mine"
    # shellcheck disable=SC2086
    fails 1 "$WORK/mine/sluice: Permission denied" $someone "$BUILD/bin/sluiced"
    # shellcheck disable=SC2086
    fails 1 "no daemon answers at ipc://$WORK/mine/sluice/control.sock" $someone "$BUILD/bin/sluice" status
fi
