# The quickstart serves an image, has a client compare it, loads it, stops in order; and stays when told to.
# builds: release
. "$(dirname "$0")/lib.sh"
need nbdcopy fio mke2fs
[ "$BUILD" = "$SOURCE/build" ] || { echo "skipped: the quickstart uses $SOURCE/build"; exit 77; }

sh "$SOURCE/tools/quickstart" >printed 2>&1 || fail "it failed: $(cat printed)"
for text in "every byte is the image's" "k IOPS" NODE_ADDED EXPORT_ADDED CLIENT_CONNECTED SHUTDOWN \
    "identical" "server CPU per read" "Stopped in order"; do
    says "$text" cat printed
done

head -c 3000000 /dev/urandom >"an image, mine"
before=$(sha256sum <"an image, mine")
sh "$SOURCE/tools/quickstart" "an image, mine" --stay >printed 2>&1 || fail "it failed: $(cat printed)"
pid=$(sed -n 's/^Still running, as process \([0-9]*\).*/\1/p' printed)
[ -n "$pid" ] || fail "it does not tell its process: $(cat printed)"
started="$started $pid"
alive "$pid" || fail "it does not stay"
uri=$(sed -n 's/^  NBD *//p' printed)
nbdcopy "$uri" copy || fail "what stays does not serve"
cmp copy "an image, mine"
kill "$pid"
ends "$pid" 20 || fail "what stays does not stop"
forget "$pid"
[ "$(sha256sum <"an image, mine")" = "$before" ] || fail "the image was changed"
rm -rf "$(dirname "${uri##*socket=}")"

fails 2 "/nowhere is not a file" sh "$SOURCE/tools/quickstart" /nowhere
fails 2 "no option --go" sh "$SOURCE/tools/quickstart" --go
