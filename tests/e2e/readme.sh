# What README.md tells people to type under "First use" works, line by line, in that order, on a
# machine of two reactors. Only folders are other ones. What a block starts in the background is
# waited for as a reader would do it.
# builds: release
. "$(dirname "$0")/lib.sh"
need nbdinfo

unset -f sluice # the one that everybody types
export XDG_RUNTIME_DIR="$WORK"
# Blocks of shell commands are indented, and begin with one of these; continued lines are joined.
sed -n '/^## First use/,/^## Architecture/p' "$SOURCE/README.md" |
    sed -e ':more' -e '/\\$/{N;s/\\\n *//;t more' -e '}' |
    sed -n -e 's#build/bin/##g' -e "s#/srv/#$WORK/#g" -e "s#/run/#$WORK/#g" \
        -e '/^    \(truncate\|nbdinfo\|sluice\|sluiced\|sluice-bench\) /s/^    //p' >lines
[ "$(wc -l <lines)" -gt 25 ] || fail "only $(wc -l <lines) lines were found: has README.md another shape?"

is_stopped() {
    sluice backend show vd1 | grep -q "run-state.*stopped"
}

while read -r line <&3; do
    case $line in sluice-bench*) line="$line --runtime 1s" ;; esac
    case $line in
    *"&" | *"& "*"#"*)
        eval "$line" >>background.out 2>&1
        started="$started $!"
        case $line in
        *--incoming*) until_true 20 sluice -s "ipc://$WORK/b.control" status || fail "$line: does not serve" ;;
        sluiced*) until_true 20 sluice status || fail "$line: does not serve" ;;
        *) until_true 20 is_stopped || fail "$line: nothing stopped" ;;
        esac
        ;;
    *) eval "$line" >out 2>err </dev/null || fail "$line" ;;
    esac
done 3<lines
