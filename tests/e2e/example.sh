# The example program runs, and reads back what it wrote.
# builds: release asan tsan
. "$(dirname "$0")/lib.sh"
says "block 5 of 67108864 bytes holds ffffffff..." sluice-example
