#!/usr/bin/env bash
# tools.sh CACHE NAME PACKAGE VERSION: builds a Go tool of that version into CACHE/tools/NAME-VERSION, once.
set -euo pipefail
bin=$1/tools/$2-$4
[ -x "$bin" ] && exit 0
echo "tools: building $2 $4" >&2
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp" && rm -rf "$tmp"' EXIT
mkdir -p "$1/tools"
(cd "$tmp" && GOFLAGS='' GOBIN=$tmp go install "$3@$4")
mv "$tmp/$2" "$bin"
