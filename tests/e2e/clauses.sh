# Each clause of what a backend must do has tests that exist, or is counted as missing.
# builds: release
. "$(dirname "$0")/lib.sh"
need python3
tests=$SOURCE/tests

check() {
    python3 "$E2E/clauses.py" "$1" "$tests"
}
says 'clauses, .* missing$' check "$tests/clauses"
cat out

# refused PATTERN SED: of a copy that is damaged so, the check complains.
refused() {
    sed -e "$2" "$tests/clauses" >damaged
    ! cmp -s "$tests/clauses" damaged || fail "nothing is damaged by $2"
    fails 1 "$1" check damaged
}
refused '28.3 comes where 28.2' '/^28\.2 /,/^ /d'
refused '3.1 comes where' '/^2\.1 /,/^$/d'
refused 'not of 48' '/^48\./,$d'
refused '49.1 comes where' '$a49.1  one too many\n      missing'
refused '23.1 has no test' '/^23\.1 /,/^ /{/^ /d}'
refused '23.1 has tests, and is missing' '/^23\.1 /a\      missing'
refused 'runs no a_test_that_nobody_wrote' '/^23\.1 /a\      test_medium:a_test_that_nobody_wrote'
refused 'there is no unit/test_nothing.c' '/^23\.1 /a\      test_nothing:at_all'
refused 'there is no e2e/nothing.sh' '/^23\.1 /a\      e2e/nothing'
refused "but not 'nonsense'" '/^23\.1 /a\      nonsense'
refused 'names e2e/error_policy twice' '/^26\.1 /a\      e2e/error_policy'
refused "'missing at most' says 9999" 's/^missing at most: .*/missing at most: 9999/'
refused "no line 'missing at most" '/^missing at most:/d'
# A test that is defined and not run, or only named in a comment, is none.
tests=$WORK/tests
mkdir -p "$tests/unit" "$tests/e2e"
cp "$SOURCE"/tests/unit/*.c "$tests/unit"
cp "$SOURCE"/tests/e2e/*.sh "$tests/e2e"
says '' check "$SOURCE/tests/clauses"
sed -i 's|cmocka_unit_test(drains_nest),|/* cmocka_unit_test(drains_nest), */|' "$tests/unit/test_backend_drain.c"
fails 1 'test_backend_drain.c runs no drains_nest' check "$SOURCE/tests/clauses"
