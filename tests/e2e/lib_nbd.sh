# lib_nbd.sh — a captive sluiced for the NBD scripts, in a directory of its own.
#
#     need PROGRAM…        skips the test when one is missing
#     start ARGUMENT…      starts sluiced with them; waits until all sockets named by unix= are there
#     stop                 ends it with SIGTERM and checks that it ends well
#     fail TEXT…           ends the test
#
# $dir is the directory, $pid the server. Everything is cleaned up at the exit.

need() {
    for program in "$@"; do
        command -v "$program" >/dev/null || {
            echo "skipped: $program is not here"
            exit 77
        }
    done
}

fail() {
    echo "FAILED: $*" >&2
    [ -f "$dir/log" ] && sed 's/^/sluiced: /' "$dir/log" >&2
    exit 1
}

cleanup() {
    [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
    rm -rf "$dir"
}

# Waits up to ten seconds for a condition.
await() {
    tries=100
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
}

start() {
    "$BUILD/bin/sluiced" --control "ipc://$dir/control" --events "ipc://$dir/events" "$@" \
        >"$dir/log" 2>&1 &
    pid=$!
    for argument in "$@"; do
        case $argument in
        *unix=*)
            socket=${argument##*unix=}
            await test -S "${socket%%,*}" || fail "sluiced did not listen on ${socket%%,*}"
            ;;
        esac
    done
}

stop() {
    kill -TERM "$pid"
    wait "$pid" || fail "sluiced ended with status $?"
    pid=
}

pid=
dir=$(mktemp -d) || exit 1
trap cleanup EXIT
trap 'exit 1' INT TERM
