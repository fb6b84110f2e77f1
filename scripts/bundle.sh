#!/usr/bin/env bash
# Makes dist/gsmeval-gpu-check.tar.gz: what scripts/gpu_check.sh needs on a machine with an NVIDIA GPU and Python torch 2.11.0, but
# without Go: the program, the CUDA library, the compiled tests with their data, the bundled model and the benchmark. Run by `make bundle`.
set -euo pipefail
cd "$(dirname "$0")/.."
source .deps/env
source scripts/reproducible.sh
stage=dist/gsmeval-gpu-check
rm -rf "$stage" "$stage.tar.gz"
mkdir -p "$stage/bin" "$stage/lib"
[ -e .deps/lib/libgsmeval_cuda.so ] || { echo "bundle: there is no .deps/lib/libgsmeval_cuda.so; make build says why" >&2; exit 1; }
cp -L .deps/lib/libgsmeval_cuda.so "$stage/lib/"
go build "${reproducible[@]}" -ldflags='-s -w' -o "$stage/bin/gsmeval" ./cmd/gsmeval
go build "${reproducible[@]}" -ldflags='-s -w' -o "$stage/bin/bench-step" ./scripts/bench/step
go test -c "${reproducible[@]}" -ldflags='-s -w' -o "$stage/bin/torch.test" ./internal/torch
go test -c "${reproducible[@]}" -ldflags='-s -w' -o "$stage/bin/decode.test" ./decode
for program in gsmeval bench-step torch.test decode.test; do go run ./scripts/rpath "$stage/bin/$program" "\$ORIGIN/../lib"; done
git ls-files -z models data configs scripts/gpu_check.sh scripts/gpu_bench.py scripts/bench/qwen2.py scripts/dist/setup scripts/requirements-libtorch.txt decode/testdata | xargs -0 cp --parents -t "$stage"
install -m 755 scripts/dist/setup "$stage/setup"
cp scripts/requirements-libtorch.txt "$stage/"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -C dist -cf - gsmeval-gpu-check | gzip -9 -n > "$stage.tar.gz"
size=$(stat -c %s "$stage.tar.gz")
echo "bundle: $((size / 1000000)) MB $stage.tar.gz; there: tar -xzf, cd gsmeval-gpu-check, scripts/gpu_check.sh" >&2
[ "$size" -lt 60000000 ] || { echo "bundle: more than 60 MB" >&2; exit 1; }
