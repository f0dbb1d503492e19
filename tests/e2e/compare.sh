# bench/compare runs every row beside its peers and tells their ratios; a peer that is missing costs
# its row only.
# builds: release
. "$(dirname "$0")/lib.sh"
need /usr/bin/python3 qemu-img qemu-storage-daemon nbdkit fio
"$SOURCE/bench/compare" --build "$BUILD" --quick --json all.json >table
for text in "null node in process, 4 KiB, QD 64" "of uncounted" "of what it does in no group" "4 NBD clients" "p99 of the ideal" "lesser share of two" "of qemu-img" "of exchange" "of fio" "NBD, file" "MiB resident"; do
    says "$text" cat table
done
[ "$(grep -c '"row":' all.json)" = 34 ] || fail "not all rows are there: $(cat table)"
mkdir empty
fails 1 "sluice-bench is not there" "$SOURCE/bench/compare" --build empty --quick --row null-qd1
