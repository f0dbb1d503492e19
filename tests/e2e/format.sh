# Every C file is laid out as clang-format does it.
# builds: release
. "$(dirname "$0")/lib.sh"
need clang-format
cd "$SOURCE"
clang-format --dry-run -Werror */*.c */*.h tests/*/*.c $(ls tests/*/*.h 2>/dev/null)
