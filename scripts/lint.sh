#!/usr/bin/env bash
# lint.sh CACHE GOLANGCI_LINT GOFUMPT: go vet, golangci-lint, gofumpt and go mod tidy on the files that git would have.
# The linters open the files that cgo names, and with -trimpath (.deps/env) Go's cache names them by the folder of the clone
# that was compiled first, which may be gone. So the files are copied to one folder for all clones, and checked there without
# -trimpath: what was compiled and found there before is reused.
set -euo pipefail
env=$PWD/.deps/env
src=$1/lint/src
mkdir -p "$1/lint"
exec 9> "$1/lint/lock"
flock 9
rm -rf "$src" && mkdir "$src"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
  if [ -e "$f" ]; then printf '%s\0' "$f"; fi
done | tar -c --null -T - | tar -x -C "$src"
cd "$src"
# shellcheck source=/dev/null
source "$env"
export GOFLAGS=${GOFLAGS/-trimpath/} GOLANGCI_LINT_CACHE=$1/lint/golangci
go vet ./...
"$2" run ./...
unformatted=$("$3" -extra -l .)
[ -z "$unformatted" ] || { echo "not gofumpt: $unformatted" >&2; exit 1; }
go mod tidy -diff
