#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz target of the pure-Go packages for TIME, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rl --include='*_test.go' '^func Fuzz' datasets scoring results harness/config decode/chat decode/checkpoint | while read -r file; do
  sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
    echo "fuzz: ${file%/*} $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x "./${file%/*}" < /dev/null | tail -n 2
  done
done
