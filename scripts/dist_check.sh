#!/usr/bin/env bash
# Tries the archive of `make dist` as a new user would: in an empty directory, with an empty environment whose PATH holds coreutils, sh,
# tar, gzip and python3 and nothing else.
#
#   scripts/dist_check.sh               setup downloads libtorch (530 MB)
#   scripts/dist_check.sh --torch DIR   setup takes that one
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
archive=$(ls -t dist/gsmeval-*-linux-x86_64.tar.gz | head -n 1)
(cd dist && sha256sum --check --quiet "$(basename "$archive").sha256")

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/bin" "$tmp/home" "$tmp/work"
for tool in sh tar gzip python3 basename cat chmod cp cut dirname head ln ls mkdir mv pwd rm sort tail uname wc; do
  ln -s "$(readlink -f "$(command -v $tool)")" "$tmp/bin/$tool" # what a shim of a version manager leads to
done
python=$(python3 -c 'import sys; print(sys.executable)')
ln -sf "$python" "$tmp/bin/python3"
bare() { (cd "$tmp/work" && env -i HOME="$tmp/home" PATH="$tmp/bin" LANG=C.UTF-8 ${TMPDIR:+TMPDIR=$TMPDIR} "$@"); }
fail() { echo "dist-check: $*" >&2; exit 1; }

bare tar -xzf "$root/$archive"
dir=$(basename "$archive" .tar.gz)
[ "$(bare ls)" = "$dir" ] || fail "the archive holds more than $dir"
! bare "$dir/bin/gsmeval" version 2> /dev/null || fail "the program starts without its libraries: it found others"
! grep -qF -e "$HOME/.cache" <(readelf -d "$tmp/work/$dir/bin/gsmeval") || fail "the program looks for libraries in this machine's cache"
bare "$dir/setup" "$@"
bare "$dir/setup" "$@" # a second time there is nothing to do
inside() { (cd "$tmp/work/$dir" && env -i HOME="$tmp/home" PATH="$tmp/bin" LANG=C.UTF-8 "$@"); }
inside bin/gsmeval doctor models/gsm-tiny
inside bin/gsmeval run configs/first_light.yaml --set dataset.limit=8 --quiet > "$tmp/table.md"
[ "$(grep -c '^| .* greedy ' "$tmp/table.md")" = 3 ] || fail "the first run has no table of three rows"
inside bin/gsmeval export runs/first_light --format csv --out - > "$tmp/samples.csv"
[ "$(wc -l < "$tmp/samples.csv")" -gt 24 ] || fail "the export has not all samples"
[ "$(inside bin/gsmeval version --json)" = "$(bin/gsmeval version --json)" ] || fail "the versions differ"
[ -s "$tmp/work/$dir/licences/README.md" ] || fail "there are no licences"
head -n 5 "$tmp/table.md"
echo "dist-check: $archive works in a bare directory" >&2
