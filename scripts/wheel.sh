#!/usr/bin/env bash
# Makes dist/gsmeval-VERSION-py3-none-manylinux_2_28_x86_64.whl: the program and its CUDA library, linked against glibc 2.28 as libtorch's
# own wheel is, the Python module, the bundled model, data and configs, completions and licences. Run by `make wheel`.
# Two builds of a commit have the same bytes, wherever the clone lies, on a machine with the same compilers and the same cache.
set -euo pipefail
cd "$(dirname "$0")/.."
source .deps/env
source scripts/reproducible.sh
cache=${GSMEVAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gsmeval}
say() { echo "wheel: $*" >&2; }

tools=$(scripts/venv.sh wheel)
glibc=$cache/glibc-2.28-$({ cat scripts/wheel/glibc.sh scripts/wheel/compat.cpp scripts/requirements-wheel.txt; g++ --version; } | cksum | cut -d' ' -f1)
[ -e "$glibc/compat.o" ] || scripts/wheel/glibc.sh "$tools/bin/python" "$glibc"
export GSMEVAL_GLIBC=$glibc

stage=dist/wheel
rm -rf "$stage"
mkdir -p "$stage/bin" "$stage/lib"
go build "${reproducible[@]}" -ldflags="-s -w -buildid= -extld=$PWD/scripts/wheel/link.sh" \
  -o "$stage/bin/gsmeval" ./cmd/gsmeval
# Beside site-packages/gsmeval/bin: what else is in the wheel, and the libtorch of the Python that it is installed in.
go run ./scripts/rpath "$stage/bin/gsmeval" "\$ORIGIN/../lib:\$ORIGIN/../../torch/lib"
if [ -n "${LIBGSMEVAL_CUDA:-}" ]; then
  torch=$(grep -oE -- '-L[^ ]+/lib ' <<< "$CGO_LDFLAGS" | head -n 1 | sed 's/^-L//; s/.lib $//')
  scripts/wheel/link.sh -shared "${LIBGSMEVAL_CUDA%.so}.o" -s -L"$torch/lib" -L"$torch/../nvidia/cu13/lib" -Wl,-soname,libgsmeval_cuda.so \
    -ltorch_cuda -lc10_cuda -ltorch_cpu -lc10 -l:libcudart.so.13 -o "$stage/lib/libgsmeval_cuda.so"
fi
scripts/licences.sh "$stage/licences"
completions=$stage/share
mkdir -p "$completions/bash-completion/completions" "$completions/zsh/site-functions" "$completions/fish/vendor_completions.d"
bin/gsmeval completion bash > "$completions/bash-completion/completions/gsmeval"
bin/gsmeval completion zsh > "$completions/zsh/site-functions/_gsmeval"
bin/gsmeval completion fish > "$completions/fish/vendor_completions.d/gsmeval.fish"

version=$(bin/gsmeval version --json | sed -n 's/.*"gsmeval":"\([^"]*\)".*/\1/p')
wheel=$(SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) python3 scripts/wheel/pack.py "$stage" "$version" dist)
rm -rf "$stage"
"$tools/bin/python" scripts/wheel/check.py "$wheel"
(cd dist && sha256sum "$(basename "$wheel")" > "$(basename "$wheel").sha256")
say "$(du -h "$wheel" | cut -f1) $wheel"
