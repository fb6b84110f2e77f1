#!/usr/bin/env bash
# venv.sh NAME: prints the directory of a Python environment of its own with scripts/requirements-NAME.txt, in the cache (made once, a
# minute or two).
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=scripts/requirements-$1.txt
dir=${GSMEVAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gsmeval}/venvs/$1-$(cksum < "$requirements" | cut -d' ' -f1)
if [ ! -e "$dir/complete" ]; then
  rm -rf "$dir"
  python3 -m venv "$dir"
  "$dir/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
  touch "$dir/complete"
fi
echo "$dir"
