# What is random is tried in many orders: each of these programs with a thousand seeds. A seed that fails is told,
# and STACK_SEED=N replays it.
# builds: release
. "$(dirname "$0")/lib.sh"
for program in drain move cancel throttle throttle_waits throttle_whatever throttle_graph throttle_rest throttle_end; do
    STACK_SEEDS=${STACK_SEEDS:-1000} "$BUILD/bin/test_$program" >"$WORK/out" 2>&1 ||
        fail "test_$program: $(grep -E 'ERROR|LINE|seed' "$WORK/out" | tail -5)"
done
# All at once: there are more orders.
STACK_SEEDS=${STACK_SEEDS:-10000} "$BUILD/bin/test_at_once" >"$WORK/out" 2>&1 ||
    fail "test_at_once: $(grep -E 'ERROR|LINE|seed|not answered|not ended' "$WORK/out" | tail -5)"
