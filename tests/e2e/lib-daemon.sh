# lib-daemon.sh — for scripts that need a sluiced: a folder of their own, a daemon in it, an end to both.
#
# Sourced. Gives: $dir; start ARG… (waits until it is ready; $pid, $ready); stop (SIGTERM; $status);
# sluice ARG… (the client, at this daemon); fails, says, has (see below). Everything ends with the script.
set -u
dir=$(mktemp -d)
pid=
sluiced=$BUILD/bin/sluiced

cleanup() {
    if [ -n "$pid" ]; then
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    fi
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

die() {
    echo "FAILED: $*" >&2
    for file in "$dir"/daemon.err "$dir"/out "$dir"/err; do
        [ -s "$file" ] && { echo "--- $file"; head -50 "$file"; } >&2
    done
    exit 1
}

# Runs sluiced in the background, with endpoints in $dir, until it says that it is ready.
start() {
    start_at "$dir/control.sock" "$dir/events.sock" "$@"
}

start_at() {
    control=ipc://$1 events=ipc://$2
    shift 2
    "$sluiced" --control "$control" --events "$events" "$@" >"$dir/daemon.out" 2>"$dir/daemon.err" &
    pid=$!
    tries=0
    until grep -q '^sluiced ready:' "$dir/daemon.out"; do
        kill -0 "$pid" 2>/dev/null || die "sluiced did not start"
        tries=$((tries + 1))
        [ $tries -lt 300 ] || die "sluiced is not ready after 30 s"
        sleep 0.1
    done
    ready=$(cat "$dir/daemon.out")
}

# Ends the daemon as a supervisor does; $status is its exit status.
stop() {
    kill -TERM "$pid"
    wait "$pid"
    status=$?
    pid=
}

sluice() {
    "$BUILD/bin/sluice" -s "$control" -e "$events" "$@"
}

# says TEXT COMMAND…: it succeeds, and TEXT (a grep pattern) is in what it prints; "": anything, or nothing.
says() {
    pattern=$1
    shift
    "$@" >"$dir/out" 2>"$dir/err" || die "$* (status $?)"
    [ -z "$pattern" ] || grep -q -e "$pattern" "$dir/out" || die "$* does not say: $pattern"
}

# fails STATUS TEXT COMMAND…: it ends with this status, and TEXT is in what it complains of.
fails() {
    wanted=$1 pattern=$2
    shift 2
    "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ $got -eq "$wanted" ] || die "$* ended with $got, not $wanted"
    grep -q -e "$pattern" "$dir/err" || die "$* does not complain: $pattern"
}

# equal A B: the two words are the same.
equal() {
    [ "$1" = "$2" ] || die "\"$1\" is not \"$2\""
}
