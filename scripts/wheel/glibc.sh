#!/usr/bin/env bash
# glibc.sh PYTHON OUT: makes what link.sh links against: glibc 2.28 as a linker sees it (the names and versions of its symbols; zig has them
# for every version, and PYTHON has the package ziglang), and compat.o.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1 out=$2
rm -rf "$out.part" && mkdir -p "$out.part/zig"
part=$(cd "$out.part" && pwd)
echo 'int main(void) { return 0; }' > "$part/zig/main.c"
ZIG_GLOBAL_CACHE_DIR=$part/zig ZIG_LOCAL_CACHE_DIR=$part/zig "$python" -m ziglang cc -target x86_64-linux-gnu.2.28 -o "$part/zig/main" "$part/zig/main.c" -lm
take() { # take NAME [AS]
  local found
  found=$(find "$part/zig" -name "$1" -print -quit)
  [ -n "$found" ] || { echo "wheel: zig made no $1" >&2; exit 1; }
  cp "$found" "$part/${2:-$1}"
}
take crt1.o
take libc_nonshared.a
take libc.so.6
take libld.so.2 ld-linux-x86-64.so.2
echo "INPUT($out/libc.so.6 $out/libc_nonshared.a)" > "$part/libc.so"
for lib in libm.so.6 libdl.so.2 libpthread.so.0 libresolv.so.2; do
  take $lib
  ln -s $lib "$part/${lib%.so.*}.so"
done
rm -rf "$part/zig"
g++ -O2 -fPIC -Wall -Werror -c scripts/wheel/compat.cpp -o "$part/compat.o"
rm -rf "$out" && mv "$part" "$out"
