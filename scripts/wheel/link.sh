#!/usr/bin/env bash
# link.sh ARGS: g++ for `go build -ldflags=-extld=...` and for libgsmeval_cuda.so, which links against glibc 2.28 whatever is installed, so
# that the result starts wherever libtorch's wheel does. Objects are compiled as ever; the symbols that they name get the versions of
# $GSMEVAL_GLIBC (scripts/wheel/glibc.sh), and compat.o has the few that are younger.
set -euo pipefail
glibc=$GSMEVAL_GLIBC
at() { g++ -print-file-name="$1"; }
case " $* " in
  *" -shared "*) exec g++ -nostdlib -L"$glibc" "$(at crti.o)" "$(at crtbeginS.o)" "$@" "$glibc/compat.o" -Wl,--allow-shlib-undefined \
    -lstdc++ -lm -lgcc -lgcc_s -lc -ldl -lresolv -lgcc "$(at crtendS.o)" "$(at crtn.o)" ;;
  *go.o\ *) exec g++ -nostdlib -L"$glibc" "$glibc/crt1.o" "$(at crti.o)" "$(at crtbegin.o)" "$@" "$glibc/compat.o" -Wl,--allow-shlib-undefined \
    -lstdc++ -lm -lgcc -lgcc_s -lc -lpthread -ldl -lresolv -lgcc "$glibc/ld-linux-x86-64.so.2" "$(at crtend.o)" "$(at crtn.o)" ;;
  *) exec g++ "$@" ;; # what the Go linker tries first, to see which flags there are
esac
