# No function of a test rig has the name of one of the libraries': the linker would take the rig's
# for both, without a word.
# builds: release
. "$(dirname "$0")/lib.sh"
need nm

defined() {
    nm --defined-only --extern-only --format=posix "$@" 2>nm.err | awk 'NF >= 3 { print $1 }' | sort -u
    [ ! -s nm.err ] || fail "nm: $(cat nm.err)"
}

defined "$BUILD/tests/librig.a" >rig
defined "$BUILD"/*/lib[!r]*.a >libraries
grep -qx stack_start rig || fail "the rig's names are not there: $(head rig)"
grep -qx sluice_start libraries && grep -qx reactor_turn libraries ||
    fail "the libraries' names are not there: $(head libraries)"
[ -z "$(comm -12 rig libraries)" ] || fail "these are in both: $(comm -12 rig libraries)"
