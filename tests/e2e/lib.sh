# lib.sh — for end-to-end scripts: a folder of their own, programs that end with the script, checks.
#
#     . "$(dirname "$0")/lib.sh"
#     need qemu-img
#     sluiced_start --node driver=null,name=n,size=1G
#     says '^n  *null' sluice node list
#     fails 1 'nobody' sluice node show nobody
#     sluiced_stop
#
# The script runs in its folder, WORK, which goes when it ends; what it started is ended then, by
# process id. Any command that fails fails the script, and then the end of all output is shown. Set
# KEEP=1 to keep the folder.
#
# A check (says, fails) leaves what the command printed in the files out and err.
set -eu

SOURCE=${SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
BUILD=${BUILD:-$SOURCE/build}
E2E=$SOURCE/tests/e2e
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
        for file in "$WORK"/out "$WORK"/err "$WORK"/*.out "$WORK"/*.err; do
            [ -s "$file" ] && echo "--- ${file##*/}" && tail -n 40 "$file"
        done >&2
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

# --- Checks. A PATTERN is grep's.

# says PATTERN COMMAND...: it succeeds, and prints a line that matches; '': whatever it prints.
says() {
    pattern=$1
    shift
    got=0
    "$@" >"$WORK/out" 2>"$WORK/err" || got=$?
    [ "$got" -eq 0 ] || fail "$* ended with $got"
    [ -z "$pattern" ] || grep -q -e "$pattern" "$WORK/out" || fail "$* does not say: $pattern"
}

# fails STATUS PATTERN COMMAND...: it ends with this status, and complains in a line that matches;
# '': whatever it complains of.
fails() {
    wanted=$1 pattern=$2
    shift 2
    got=0
    "$@" >"$WORK/out" 2>"$WORK/err" || got=$?
    [ "$got" -eq "$wanted" ] || fail "$* ended with $got, not $wanted"
    [ -z "$pattern" ] || grep -q -e "$pattern" "$WORK/err" || fail "$* does not complain: $pattern"
}

# equal A B: the two words are the same.
equal() {
    [ "$1" = "$2" ] || fail "\"$1\" is not \"$2\""
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

# --- Processes

# start NAME COMMAND...: in the background, its output in NAME.out and NAME.err. Sets PID. COMMAND is
# a program, not a function, so that PID is its own.
start() {
    name=$1
    shift
    : >"$WORK/$name.out" # the background comes to it later, and a former one's words may be there
    "$@" >"$WORK/$name.out" 2>"$WORK/$name.err" &
    PID=$!
    started="$started $PID"
}

# alive PID: whether it runs (a zombie doesn't).
alive() {
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 1
    [ -n "$state" ] && [ "$state" != Z ]
}

# ends PID SECONDS: whether it ends in that time.
ends() {
    until_true "$2" not alive "$1"
}

# status_of PID: sets STATUS to what the process of start ends with, which it must do in 40 seconds.
status_of() {
    ends "$1" 40 || fail "process $1 does not end"
    STATUS=0
    wait "$1" || STATUS=$?
    forget "$1"
}

# forget PID: it has ended.
forget() {
    others=
    for other in $started; do
        [ "$other" = "$1" ] || others="$others $other"
    done
    started=$others
}

# --- A daemon

CONTROL=ipc://$WORK/control.sock
EVENTS=ipc://$WORK/events.sock

# sluiced_start ARGUMENT...: a daemon at the endpoints CONTROL and EVENTS; returns when it is ready.
# Sets SLUICED, its process id, and CONTROL and EVENTS to what its ready line (in sluiced.out) says.
sluiced_start() {
    sluiced_run sluiced --control "$CONTROL" --events "$EVENTS" "$@"
}

# sluiced_run COMMAND...: the same with a command line that becomes a daemon.
sluiced_run() {
    start sluiced "$@"
    SLUICED=$PID
    until_true 30 sluiced_settled || fail "sluiced is not ready after 30 s"
    grep -q '^sluiced ready:' "$WORK/sluiced.out" || fail "sluiced did not start"
    CONTROL=$(sed -n 's/^sluiced ready:.* control=\([^ ]*\).*/\1/p' "$WORK/sluiced.out")
    EVENTS=$(sed -n 's/^sluiced ready:.* events=\([^ ]*\).*/\1/p' "$WORK/sluiced.out")
}

sluiced_settled() {
    grep -q '^sluiced ready:' "$WORK/sluiced.out" || not alive "$SLUICED"
}

# sluiced_stop [SIGNAL]: ends it as a supervisor does (TERM); its status must be 0.
sluiced_stop() {
    kill -"${1:-TERM}" "$SLUICED"
    sluiced_ends
}

# sluiced_ends: it was told to stop, and must end with status 0.
sluiced_ends() {
    status_of "$SLUICED"
    [ "$STATUS" -eq 0 ] || fail "sluiced ended with status $STATUS"
}

# sluiced_crash: it ends at once and tidies nothing.
sluiced_crash() {
    kill -KILL "$SLUICED"
    status_of "$SLUICED"
}

# The client, at that daemon.
sluice() {
    "$BUILD/bin/sluice" -s "$CONTROL" -e "$EVENTS" "$@"
}
