# cppcheck finds nothing in the C files. It reads no system headers, and would pass over a file whose
# generated messages it can't make sense of: hence the definitions.
# builds: release
. "$(dirname "$0")/lib.sh"
need cppcheck
cd "$SOURCE"
cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,portability \
    --library=posix -j "$(nproc)" -I . -I "$BUILD/proto" \
    -DSLUICE_JEMALLOC -DPROTOBUF_C_VERSION_NUMBER=1004001 -DPROTOBUF_C_MIN_COMPILER_VERSION=1000000 \
    -DPROTOBUF_C__BEGIN_DECLS= -DPROTOBUF_C__END_DECLS= '-DPROTOBUF_C__FORCE_ENUM_TO_BE_INT_SIZE(x)=' \
    engine drivers actors proto tools bench
