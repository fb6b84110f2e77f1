#!/usr/bin/env bash
# Builds libgsmeval_cuda.so from internal/torch/cuda and links it to .deps/lib: neither a GPU, nor nvcc, nor CUDA's libraries are needed,
# only the headers of libtorch's wheel. Where they are missing it says so and succeeds: gsmeval works on the CPU without it.
#
#   scripts/cuda_shim.sh TORCH CACHE    (deps.sh calls it; prints the path of the library, or nothing)
#
# The library stays in the cache under a hash of its sources, flags and headers' place, so that it is compiled once. The wheel links its
# object anew (scripts/wheel.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
torch=$1 cache=$2
cuda=$torch/../nvidia/cu13/include
lib=.deps/lib/libgsmeval_cuda.so

say() { printf '%s\n' "deps: $*" >&2; }
without() { say "without CUDA: $*"; rm -f "$lib"; exit 0; }

[ -e "$torch/include/ATen/cuda/CUDAGraph.h" ] || without "the libtorch in $torch has no CUDA headers (it is for the CPU only)"
[ -e "$cuda/cuda_runtime_api.h" ] || without "there is no $cuda/cuda_runtime_api.h (Python package nvidia-cuda-runtime)"

crt=$cache/cuda-crt-13.0.88
if [ -e "$cuda/crt/host_defines.h" ]; then
  crt=$cuda
elif [ ! -e "$crt/crt/host_defines.h" ]; then
  rm -rf "$crt.part" && mkdir -p "$crt.part"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes --platform manylinux2014_x86_64 \
    --dest "$crt.part" -r scripts/requirements-cuda.txt || without "pip could not fetch the headers that scripts/requirements-cuda.txt names"
  python3 - "$crt.part" <<'PY'
import pathlib, sys, zipfile
root = pathlib.Path(sys.argv[1])
for wheel in root.glob("*.whl"):
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if "/include/crt/" in name:
                to = root / "crt" / name.rsplit("/", 1)[1]
                to.parent.mkdir(exist_ok=True)
                to.write_bytes(z.read(name))
PY
  rm -rf "$crt" "$crt.part"/*.whl && mv "$crt.part" "$crt"
fi

flags=(-std=c++17 -O2 -fPIC -fvisibility=hidden -w -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" -isystem "$cuda" -isystem "$crt")
# What libtorch_cuda.so itself lacks here is there where it is loaded; what this library lacks is an error now.
link=(-shared -L"$torch/lib" -L"$torch/../nvidia/cu13/lib" -Wl,-soname,libgsmeval_cuda.so -Wl,-z,defs -Wl,--allow-shlib-undefined
  -ltorch_cuda -lc10_cuda -ltorch_cpu -lc10 -l:libcudart.so.13 -ldl)
hash=$({ printf '%s\n' "${flags[@]}" "${link[@]}"; g++ --version; cat scripts/cuda_shim.sh internal/torch/*.h internal/torch/cuda/* internal/torch/kernels/*.{h,cu}; } | sha256sum | cut -c1-16)
built=$cache/cuda/$hash/libgsmeval_cuda.so
if [ ! -e "$built" ] || [ ! -e "${built%.so}.o" ]; then
  say "compiling libgsmeval_cuda.so"
  mkdir -p "$cache/cuda/$hash"
  tmp=$(mktemp -d "$cache/cuda/$hash/XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  jobs=()
  for src in internal/torch/cuda/*.cpp; do
    g++ "${flags[@]}" -DGSMC_BUILD="\"$hash\"" -c "$src" -o "$tmp/$(basename "$src" .cpp).o" &
    jobs+=($!)
  done
  failed=0
  for job in "${jobs[@]}"; do wait "$job" || failed=1; done
  [ $failed = 0 ] || { say "libgsmeval_cuda.so does not compile"; exit 1; }
  g++ "$tmp"/*.o "${link[@]}" -o "$tmp/out.so" || { say "libgsmeval_cuda.so does not link"; exit 1; }
  g++ -r -nostdlib "$tmp"/*.o -o "$tmp/all.part"
  mv "$tmp/all.part" "${built%.so}.o"
  mv "$tmp/out.so" "$built"
fi
mkdir -p .deps/lib
[ "$lib" -ef "$built" ] || ln -f "$built" "$lib" 2> /dev/null || ln -sfn "$built" "$lib"
say "libgsmeval_cuda.so: $built"
echo "$built"
