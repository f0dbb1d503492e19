# What is installed is enough to build and run the example elsewhere, and shows no other names.
# builds: release
. "$(dirname "$0")/lib.sh"
need cmake cc pkg-config nm

cmake --install "$BUILD" --prefix "$WORK/prefix" >install.log
for file in bin/sluice bin/sluiced bin/sluice-bench share/sluice/control.proto \
    share/sluice/event.proto; do
    [ -f "prefix/$file" ] || fail "$file is not installed"
done
config=$(dirname "$(find prefix -name sluice.pc)")

# From another place than it was installed to: nothing may name that.
mv prefix moved
export PKG_CONFIG_PATH="$WORK/moved/${config#prefix/}"
flags=$(pkg-config --cflags --libs sluice)
cp "$SOURCE/tools/example.c" .
# Unquoted on purpose: the flags are words.
cc -std=c17 -Wall -Wextra -Wpedantic -Werror example.c -o example $flags >cc.log 2>&1 ||
    fail "the example does not build with $flags: $(cat cc.log)"
LD_LIBRARY_PATH=$(pkg-config --variable=libdir sluice)
export LD_LIBRARY_PATH
says "holds ffffffff" ./example

# The allocator of the program, the library's and its libraries' must be one.
cat >endpoint.c <<'END'
#include <sluice.h>
int main(void)
{
    sluice *engine;
    int ret = sluice_start(&(struct sluice_options){.control = "ipc://control"}, &engine, NULL);
    if (ret == 0)
        sluice_stop(&engine);
    return ret != 0;
}
END
cc endpoint.c -o endpoint $flags
./endpoint || fail "a program with a control endpoint ended with status $?"
says "sluice" "$WORK/moved/bin/sluice" --version

nm -D --defined-only "$LD_LIBRARY_PATH/libsluice.so" | sed 's/.* //' | sort >shown
sed -n 's/^[a-z].*[ *]\(\(blk\|sluice\)_[a-z_]*\)(.*/\1/p' "$SOURCE/actors/sluice.h" |
    grep -v -xE 'blk_(done|notify)_fn' | sort >declared
[ "$(wc -l <declared)" -ge 30 ] || fail "few functions were found in sluice.h: $(cat declared)"
diff declared shown || fail "the library does not show what sluice.h declares (>: shown)"
