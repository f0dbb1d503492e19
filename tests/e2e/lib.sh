# lib.sh — for end-to-end scripts: a working directory, programs that end with the script, checks.
#
#     . "$(dirname "$0")/lib.sh"
#     need qemu-img
#     sluiced_start --node driver=null,name=n,size=1G
#     says '"name": "n"' sluice --json node list
#
# The script runs in a directory of its own, which goes when it ends; what it started with start
# and sluiced_start is ended then, by process id. Any command that fails fails the script; a check
# says what was expected. Set KEEP=1 to keep the directory.
set -eu

SOURCE=${SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
BUILD=${BUILD:-$SOURCE/build}
PATH=$BUILD/bin:$PATH
WORK=$(mktemp -d /tmp/sluice-test.XXXXXX)
cd "$WORK"
started=

finish() {
    status=$?
    trap - EXIT
    set +e
    for pid in $started; do
        kill "$pid" 2>/dev/null
    done
    for pid in $started; do
        ends "$pid" 15 || { echo "process $pid had to be killed" >&2; kill -9 "$pid"; status=1; }
    done 2>&1
    if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
        for log in "$WORK"/*.log; do
            [ -s "$log" ] && echo "--- ${log##*/}" && tail -n 40 "$log"
        done
    fi
    cd /
    [ -n "${KEEP-}" ] && echo "kept: $WORK" || rm -rf "$WORK"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# need COMMAND...: skips the test when one is missing.
need() {
    for command in "$@"; do
        command -v "$command" >/dev/null || { echo "skipped: $command is not installed"; exit 77; }
    done
}

# start NAME COMMAND...: in the background, its output in NAME.log. Sets PID.
start() {
    log=$1.log
    shift
    "$@" >"$log" 2>&1 &
    PID=$!
    started="$started $PID"
}

# alive PID: whether it runs (a zombie doesn't).
alive() {
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 1
    [ -n "$state" ] && [ "$state" != Z ]
}

# until_true SECONDS COMMAND...: repeats the command until it succeeds; fails after that time.
until_true() {
    tries=$(($1 * 20))
    shift
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
}

not() {
    ! "$@"
}

# ends PID SECONDS: whether it ends in that time.
ends() {
    until_true "$2" not alive "$1"
}

CONTROL=ipc://$WORK/control.sock
EVENTS=ipc://$WORK/events.sock

# sluiced_start ARGUMENT...: a daemon with the endpoints CONTROL and EVENTS, output in sluiced.log;
# returns when it answers. Sets SLUICED, its process id.
sluiced_start() {
    start sluiced sluiced --control "$CONTROL" --events "$EVENTS" "$@"
    SLUICED=$PID
    until_true 20 daemon_settled
    alive "$SLUICED" || fail "sluiced ended: $(cat sluiced.log)"
}

daemon_settled() {
    ! alive "$SLUICED" || sluice status
}

# sluiced_stop: SIGTERM, and the daemon must end with status 0.
sluiced_stop() {
    kill -TERM "$SLUICED"
    ends "$SLUICED" 40 || fail "sluiced did not stop on SIGTERM"
    wait "$SLUICED" || fail "sluiced ended with status $?"
}

# The client, on that daemon.
sluice() {
    "$BUILD/bin/sluice" -s "$CONTROL" "$@"
}

# says TEXT COMMAND...: the command succeeds and its output contains TEXT.
says() {
    text=$1
    shift
    output=$("$@" 2>&1) || fail "$* failed: $output"
    case $output in
    *"$text"*) ;;
    *) fail "$* does not say \"$text\": $output" ;;
    esac
}

# refuses TEXT COMMAND...: the command fails, not by a signal, and its output contains TEXT.
refuses() {
    text=$1
    shift
    if output=$("$@" 2>&1); then
        fail "$* succeeded: $output"
    else
        status=$?
    fi
    [ "$status" -lt 126 ] || fail "$* ended with status $status: $output"
    case $output in
    *"$text"*) ;;
    *) fail "$* does not say \"$text\": $output" ;;
    esac
}
