# clang-tidy finds nothing in the C files (.clang-tidy says what it looks for). It needs to see the
# assertions, which a Release build has not.
# builds: asan
. "$(dirname "$0")/lib.sh"
need clang-tidy
cd "$SOURCE"
ls engine/*.c drivers/*.c actors/*.c proto/*.c tools/*.c bench/*.c |
    xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$BUILD" >"$WORK/found" 2>/dev/null ||
    fail "it found: $(cat "$WORK/found")"
