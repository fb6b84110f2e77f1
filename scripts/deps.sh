#!/usr/bin/env bash
# Gets the two native libraries that gsmeval links, builds the one that it loads for CUDA, and prints the environment a Go build needs.
#
#   scripts/deps.sh          fetch or build what is missing, write .deps/env (shell `export` lines)
#
# libtorch 2.11.0, first that is there: $LIBTORCH; an installed Python torch of exactly that version;
# else the PyPI wheels (530 MB, sha256 checked), unpacked into the cache.
# libtokenizers.a: built by cargo from the Rust source inside the Go module daulet/tokenizers, with its lock file.
# libgsmeval_cuda.so: scripts/cuda_shim.sh; where libtorch has no CUDA headers, gsmeval goes without.
# GSMEVAL_MACHINE=aarch64 on another machine asks for what a cross build needs (scripts/aarch64.sh); its environment is .deps/env-aarch64.
#
# Everything goes to $GSMEVAL_CACHE (default: ~/.cache/gsmeval), never into the repository, so that a second
# clone finds it. The Go flags name only cache paths: they are part of Go's build cache key, and gotch's C++
# takes minutes to compile.
set -euo pipefail
cd "$(dirname "$0")/.."

torch_version=2.11.0
cache=${GSMEVAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gsmeval}
mkdir -p "$cache" .deps
cache=$(cd "$cache" && pwd)

machine=${GSMEVAL_MACHINE:-$(uname -m)}
cross=
[ "$machine" = "$(uname -m)" ] || cross=-$machine

say() { printf '%s\n' "deps: $*" >&2; }
die() { printf '%s\n' "deps: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || die "'$1' is not installed; $2"; }

need go "install Go 1.26 or later"
need "${cross:+$machine-linux-gnu-}g++" "install a C++17 compiler (Debian: apt install g++${cross:+$cross-linux-gnu})"

# --- libtorch -------------------------------------------------------------------------------------------

is_libtorch() { [ -e "$1/lib/libtorch_cpu.so" ] && [ -e "$1/include/torch/csrc/api/include/torch/torch.h" ]; }

python_torch() { # prints the folder of an installed torch of the right version; imports nothing of it
  [ -z "$cross" ] || return 1
  command -v python3 >/dev/null 2>&1 || return 1
  python3 - "$torch_version" <<'PY' 2>/dev/null
import importlib.metadata, importlib.util, pathlib, sys
if importlib.metadata.version("torch").split("+")[0] != sys.argv[1]:
    sys.exit(1)
print(pathlib.Path(importlib.util.find_spec("torch").origin).parent)
PY
}

fetch_libtorch() {
  local dir=$cache/libtorch-$torch_version$cross
  if [ ! -e "$dir/complete" ]; then
    need python3 "install Python 3 with pip, or set LIBTORCH to a libtorch $torch_version folder"
    case "$(uname -s) $machine" in
      "Linux x86_64" | "Linux aarch64") ;;
      *) die "there is no wheel for $(uname -s) on $machine here; set LIBTORCH to a libtorch $torch_version folder" ;;
    esac
    say "downloading libtorch $torch_version (530 MB, about a minute on a fast line) into $dir"
    rm -rf "$dir.part" && mkdir -p "$dir.part/wheels"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
      --python-version 3.11 --implementation cp --abi cp311 --abi none \
      --platform "manylinux_2_28_$machine" --platform "manylinux_2_25_$machine" --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
      --dest "$dir.part/wheels" -r scripts/requirements-libtorch.txt ||
      die "pip could not fetch the wheels named in scripts/requirements-libtorch.txt"
    python3 - "$dir.part" <<'PY'
import pathlib, sys, zipfile
root = pathlib.Path(sys.argv[1])
for wheel in (root / "wheels").glob("*.whl"):
    with zipfile.ZipFile(wheel) as z:
        keep = [n for n in z.namelist() if n.startswith(("torch/lib/", "torch/include/", "nvidia/"))]
        z.extractall(root, keep)
PY
    rm -rf "$dir.part/wheels" "$dir"
    touch "$dir.part/complete" && mv "$dir.part" "$dir"
  fi
  echo "$dir/torch"
}

if [ -n "${LIBTORCH:-}" ]; then
  is_libtorch "$LIBTORCH" || die "LIBTORCH=$LIBTORCH has no lib/libtorch_cpu.so with headers; it must be an unpacked libtorch $torch_version"
  torch=$(cd "$LIBTORCH" && pwd)
  from="LIBTORCH"
elif torch=$(python_torch) && is_libtorch "$torch"; then
  from="the installed Python torch"
else
  torch=$(fetch_libtorch)
  from="the wheel in the cache"
fi
have=$(sed -n 's/^#define TORCH_VERSION "\(.*\)"/\1/p' "$torch/include/torch/headeronly/version.h" "$torch/include/torch/csrc/api/include/torch/version.h" 2>/dev/null | head -n 1)
[ -z "$have" ] || [ "${have%%+*}" = "$torch_version" ] || die "$torch is libtorch $have; gsmeval is built and tested with $torch_version only"
say "libtorch $torch_version: $torch ($from)"

# --- libtokenizers --------------------------------------------------------------------------------------

go mod download github.com/daulet/tokenizers github.com/sugarme/gotch
tok_src=$(go list -m -f '{{.Dir}}' github.com/daulet/tokenizers)
tok=$cache/tokenizers-$(go list -m -f '{{.Version}}' github.com/daulet/tokenizers)$cross
if [ ! -e "$tok/libtokenizers.a" ]; then
  need cargo "install Rust (rustup.rs), it builds the tokenizer library"
  say "building libtokenizers.a with cargo (about 90 s)"
  rm -rf "$tok.part" && cp -r "$tok_src" "$tok.part" && chmod -R u+w "$tok.part"
  triple=$machine-unknown-linux-gnu
  upper=$(tr 'a-z-' 'A-Z_' <<< "$triple")
  (cd "$tok.part" && export CARGO_TARGET_DIR=target ${cross:+"CARGO_TARGET_${upper}_LINKER=$machine-linux-gnu-gcc"} &&
    cargo build --release --locked --quiet ${cross:+--target "$triple"}) ||
    die "cargo could not build $tok_src${cross:+; it needs the standard library of Rust for $triple (rustup target add $triple)}"
  mkdir -p "$tok"
  mv "$tok.part/target/${cross:+$triple/}release/libtokenizers.a" "$tok/libtokenizers.a.part" && mv "$tok/libtokenizers.a.part" "$tok/libtokenizers.a"
  rm -rf "$tok.part"
fi
say "libtokenizers: $tok/libtokenizers.a"

# --- flags ----------------------------------------------------------------------------------------------

# gotch asks for the CUDA libraries by name. Empty archives satisfy the linker, so that one binary runs on machines
# with and without a GPU; the CUDA backend is loaded at run time where it is asked for.
stubs=$cache/stubs
mkdir -p "$stubs"
for lib in torch cuda cudart cublas cudnn caffe2_nvrtc nvrtc-builtins nvrtc nvToolsExt c10_cuda torch_cuda; do
  [ -e "$stubs/lib$lib.a" ] || printf '!<arch>\n' > "$stubs/lib$lib.a"
done
# The forced header lives under its content's hash: editing it must rebuild gotch, moving the repository must not.
compat_src=internal/torch/include/gotch_compat.h
compat=$cache/include/gotch_compat_$(cksum < "$compat_src" | cut -d' ' -f1).h
mkdir -p "$cache/include"
cmp -s "$compat_src" "$compat" || cp "$compat_src" "$compat"

# The libraries the program loads, linked beside it, so that bin/ and .deps/ can be moved together.
libs=.deps/lib$cross
mkdir -p "$libs"
for so in "$torch"/lib/libtorch_cpu.so "$torch"/lib/libc10.so "$torch"/lib/libgomp*.so* "$torch"/lib/libarm_compute*.so "$torch"/lib/libnvpl_*.so.* \
          "$torch"/lib/libgfortran.so.* \
          "$torch"/../nvidia/cu13/lib/libcudart.so.13 "$torch"/../nvidia/cu13/lib/libcupti.so.13; do
  [ -e "$so" ] || continue
  dst=$libs/$(basename "$so")
  [ "$dst" -ef "$so" ] || ln -f "$so" "$dst" 2>/dev/null || ln -sfn "$so" "$dst"
done

# What needs CUDA's symbols is a library of its own, loaded when a GPU is asked for.
cuda_shim=
[ -n "$cross" ] || cuda_shim=$(scripts/cuda_shim.sh "$torch" "$cache")

# Without errno and floating-point traps, which nothing here reads, sqrtf and floorf are single instructions and the
# shim's loops become vector code. -trimpath leaves the clone's folder out of what is compiled, so that Go's cache has the C++
# for every clone.
env=.deps/env$cross
cat > "$env.part" <<ENV
export CGO_ENABLED=1${cross:+ GOARCH=arm64 CC=$machine-linux-gnu-gcc CXX=$machine-linux-gnu-g++}
export GOFLAGS='$(go env GOFLAGS | sed 's/-trimpath//') -trimpath'
export CGO_CFLAGS='-O2 -g -w'
export CGO_CXXFLAGS='-include $compat -I$torch/include -I$torch/include/torch/csrc/api/include -fno-math-errno -fno-trapping-math -w'
export CGO_LDFLAGS='-L$stubs -L$torch/lib -L$tok -Wl,--disable-new-dtags -Wl,-rpath,\$ORIGIN/../$libs -Wl,-rpath,\$ORIGIN/../lib -Wl,-rpath,$torch/lib'
${cuda_shim:+export LIBGSMEVAL_CUDA='$cuda_shim'}
ENV
mv "$env.part" "$env"
say "environment for go build and go test: $env"
