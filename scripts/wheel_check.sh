#!/usr/bin/env bash
# Tries the wheel of `make wheel` as a new user would: in a fresh virtual environment, with an empty environment whose PATH holds that
# and coreutils: install, run, kill, resume, compare, the module, uninstall.
#
#   scripts/wheel_check.sh               pip fetches torch and all that it depends on (some GB)
#   scripts/wheel_check.sh --torch DIR   the torch folder of an unpacked libtorch stands for torch, and pip is told that it is there
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
wheel=$(ls -t dist/gsmeval-*.whl | head -n 1)
(cd dist && sha256sum --check --quiet "$(basename "$wheel").sha256")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/bin" "$tmp/home" "$tmp/work"
for tool in sh cat cut grep ls mkdir rm sort uname wc; do ln -s "$(readlink -f "$(command -v $tool)")" "$tmp/bin/$tool"; done
python3 -m venv "$tmp/venv"
# In an empty environment, but for what pip is to ask where.
inside() {
  (cd "$tmp/work" && env -i HOME="$tmp/home" PATH="$tmp/venv/bin:$tmp/bin" LANG=C.UTF-8 ${TMPDIR:+TMPDIR=$TMPDIR} ${PIP_INDEX_URL:+PIP_INDEX_URL=$PIP_INDEX_URL} \
    ${PIP_CERT:+PIP_CERT=$PIP_CERT} ${HTTPS_PROXY:+HTTPS_PROXY=$HTTPS_PROXY} ${https_proxy:+https_proxy=$https_proxy} ${SSL_CERT_FILE:+SSL_CERT_FILE=$SSL_CERT_FILE} "$@")
}
fail() { echo "wheel-check: $*" >&2; exit 1; }
pip() { inside pip --disable-pip-version-check --quiet "$@"; }
# Empty folders stay behind: pip removes none of share/, where completions belong.
files() { (cd "$tmp/venv" && find . -name __pycache__ -prune -o ! -type d -print | sort); }

site=$(inside python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
pip install -r "$root/scripts/requirements-module.txt"
if [ "${1:-}" = --torch ]; then
  torch=$(cd "$2" && pwd)
  ln -s "$torch" "$site/torch"
  [ ! -e "$torch/../nvidia" ] || ln -s "$(cd "$torch/../nvidia" && pwd)" "$site/nvidia"
  mkdir "$site/torch-2.11.0.dist-info"
  printf 'Metadata-Version: 2.1\nName: torch\nVersion: 2.11.0\n' > "$site/torch-2.11.0.dist-info/METADATA"
  printf 'test\n' > "$site/torch-2.11.0.dist-info/INSTALLER"
  : > "$site/torch-2.11.0.dist-info/RECORD"
else
  pip install torch==2.11.0
fi
files > "$tmp/before"
pip install "$root/$wheel"
[ "$(inside gsmeval version --json)" = "$(bin/gsmeval version --json)" ] || fail "the versions differ"
inside gsmeval init
inside gsmeval doctor builtin:gsm-tiny
# One sequence at a time: slow enough to be interrupted between two lines of progress, on a quick processor too.
small=(--set dataset.limit=100 --set generation.max_new_tokens=160 --set generation.batch_size=1 --set threads=1)
inside gsmeval run configs/first_light.yaml "${small[@]}" --quiet > "$tmp/table.md"
[ "$(grep -c '^| .* greedy ' "$tmp/table.md")" = 3 ] || fail "the first run has no table of three rows"

echo "wheel-check: a run that is interrupted and resumed" >&2
inside python "$root/scripts/wheel/interrupt.py" configs/first_light.yaml "${small[@]}" --set output=runs/again
inside gsmeval resume runs/again --quiet > "$tmp/again.md"
cmp "$tmp/table.md" "$tmp/again.md" || fail "the resumed run has another table"
[ "$(cut -d, -f2- < "$tmp/work/runs/again/samples.jsonl")" = "$(cut -d, -f2- < "$tmp/work/runs/first_light/samples.jsonl")" ] || fail "the resumed run has other samples"
inside gsmeval compare runs/first_light runs/again > "$tmp/compare.md"

echo "wheel-check: the module: types, tests, and the notebook" >&2
cp -r python/tests python/gsmeval python/pyproject.toml "$tmp/home/"
inside sh -c 'cd "$HOME" && python -m mypy && rm -rf gsmeval'
inside sh -c 'GSMEVAL_TEST_RUN=$1 exec python -m pytest -q -p no:cacheprovider "$2"' sh "$tmp/work/runs/first_light" "$tmp/home/tests"
inside python "$root/scripts/wheel/notebook.py" "$root/python/notebooks/experiment6.ipynb" "$tmp/work/notebook" 4

echo "wheel-check: a torch that is another" >&2
sed -i 's/^Version: 2.11.0/Version: 2.10.0/' "$site"/torch-2.11.0*.dist-info/METADATA
mv "$site"/torch-2.11.0*.dist-info "$site/torch-2.10.0.dist-info"
if said=$(inside gsmeval version 2>&1); then fail "it starts with torch 2.10.0"; fi
[[ $said == "gsmeval: gsmeval needs torch 2.11.0, and "*" has 2.10.0: "*"pip install torch==2.11.0" ]] || fail "with torch 2.10.0 it says: $said"
mv "$site/torch-2.10.0.dist-info" "$site/torch-2.11.0.dist-info"

pip uninstall -y gsmeval
find "$site" -name __pycache__ -prune -exec rm -rf {} + 
files | sort > "$tmp/after"
cmp "$tmp/before" "$tmp/after" || fail "uninstalling leaves $(comm -13 "$tmp/before" "$tmp/after" | head -n 5 | tr '\n' ' ')"
head -n 5 "$tmp/table.md"
echo "wheel-check: $wheel works in a fresh virtual environment" >&2
