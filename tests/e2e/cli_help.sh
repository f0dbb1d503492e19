# --help tells everything that can be asked, from the tables that it is checked with.
. "$(dirname "$0")/lib.sh"
client=$BUILD/bin/sluice

says '^Usage: sluice ' "$client" --help
cp out help
requests=$(sed -n '/oneof body {/,/^  }/s/^    [A-Za-z]* \([a-z_]*\) = [0-9]*;$/\1/p' "$SOURCE/proto/control.proto" |
    sed '/^error$/,$d' | tr _ -)
[ "$(echo "$requests" | wc -l)" -ge 20 ] || fail "the requests of control.proto are not found"
for request in $requests; do
    grep -q "^  $request " help || fail "sluice --help lacks $request"
    says "^Usage: sluice $request" "$client" $request --help
done
says '  name=TEXT (required)' "$client" node add --help
says '  host=TEXT \[127.0.0.1\]' "$client" export-add --help
# What a request does not take is not offered.
says '^  backend=TEXT (required)' "$client" io flush --help
! grep -q '^  offset=' out || fail "io-flush offers a range"
says '^  offset=' "$client" io read --help
! grep -q '^  fua=' out || fail "io-read offers to write through"
says '^  werror=report|ignore|stop|enospc \[report\]$' "$client" backend add --help
says '^  bytes=SIZE (required)' "$client" io read --help
says '^  node-remove ' "$client" node --help
fails 2 'is unknown' "$client" nonsense --help
says '^sluice [0-9]' "$client" --version

says '^Usage: sluiced ' sluiced --help
cp out help
for option in threads control events events-kept deadline config node backend export help version; do
    grep -q -e "--$option" help || fail "sluiced --help lacks --$option"
done
for word in null memory file raw 'filename' 'driver=TEXT (required)' 'unix=TEXT' 'read-only=on|off'; do
    grep -q -e "$word" help || fail "sluiced --help lacks $word"
done
grep -q "SIGTERM, SIGINT and SIGHUP stop it" out || fail "sluiced --help lacks a signal"
says '^sluiced [0-9]' sluiced --version
# No line is too wide for a terminal.
awk 'length($0) > 100 { print; bad = 1 } END { exit bad }' help || fail "too wide"
