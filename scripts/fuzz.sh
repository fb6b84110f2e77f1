#!/usr/bin/env bash
# fuzz.sh SECONDS: runs every fuzz target of the pure-Go packages, one after the other, for SECONDS in all, and prints
# what each did. A target that finds a crash does not keep the others from running; the exit status tells.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(datasets scoring results internal/config internal/thought decode/chat decode/checkpoint decode/tokenizer)
mapfile -t targets < <(grep -rhoH --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' "${packages[@]}" | sed 's|/[^/]*:func | |' | sort)
each=$(($1 / ${#targets[@]}))
[ "$each" -gt 0 ] || each=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# ended_late LOG tells whether a target failed for nothing but the end of its time: before Go 1.27 the coordinator can take that
# moment for a failure (go.dev/issue/75804). A crash or a hang says something else, and names the input that it wrote.
ended_late() {
  ! grep -q 'Failing input written' "$1" && [ "$(grep -A1 -e '^--- FAIL: Fuzz' "$1" | tail -n +2)" = "    context deadline exceeded" ]
}

total=0 failed=0
echo "fuzz: ${#targets[@]} targets, ${each}s each"
for target in "${targets[@]}"; do
  read -r package name <<< "$target"
  verdict=ok
  if ! go test -run '^$' -fuzz "^$name\$" -fuzztime "${each}s" -fuzzminimizetime 10x "./$package" > "$log" 2>&1 < /dev/null; then
    if ! ended_late "$log"; then
      verdict=FAILED failed=$((failed + 1))
      sed 's/^/  /' "$log"
    fi
  fi
  line=$(grep -o 'execs: .*' "$log" | tail -n 1 || true)
  execs=$(sed -n 's/^execs: \([0-9]*\).*/\1/p' <<< "$line")
  total=$((total + ${execs:-0}))
  echo "fuzz: $verdict $package $name: ${line:-no executions}"
done
echo "fuzz: $total executions, $failed of ${#targets[@]} targets failed"
[ "$failed" -eq 0 ]
