#!/usr/bin/env bash
# Makes the virtual environment of the bench's peers, or finds it made: scripts/bench/venv.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")"
venv=$1
stamp=$venv/made-of.txt
cmp -s requirements.txt "$stamp" && exit 0
command -v python3 >/dev/null || { echo "bench: install Python 3.11 or later with venv" >&2; exit 1; }
echo "bench: installing the peers into $venv (4 GB; llama.cpp is built, ten minutes on two cores)" >&2
python3 -m venv "$venv"
# Only llama.cpp's library is needed: its server, tools and chat parsers would be most of the build.
export CMAKE_ARGS="-DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAVA_BUILD=OFF ${CMAKE_ARGS:-}"
# A peer that does not install on this machine is left out: the page says so.
while read -r requirement; do
  CMAKE_BUILD_PARALLEL_LEVEL=2 "$venv/bin/pip" install --quiet --disable-pip-version-check "$requirement" ||
    echo "bench: $requirement does not install here" >&2
done < <(sed 's/#.*//; /^[[:space:]]*$/d' requirements.txt)
"$venv/bin/python" -c 'import torch, transformers' || { echo "bench: torch and transformers are needed at least" >&2; exit 1; }
cp requirements.txt "$stamp"
