#!/usr/bin/env bash
# Tries the archive of `make bundle` without a GPU (about a minute): unpacked in a bare directory, its gpu_check.sh says that there is no GPU,
# and runs all that a CPU can show.
#
#   scripts/bundle_check.sh TORCH [PYTHON]   TORCH: an unpacked libtorch 2.11.0; PYTHON, one with torch, tries the benchmark too
set -euo pipefail
cd "$(dirname "$0")/.."
archive=$PWD/dist/gsmeval-gpu-check.tar.gz LIBTORCH=$(cd "$1" && pwd) python=${2:-python3}
export LIBTORCH
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fail() { echo "bundle-check: $*" >&2; exit 1; }
tar -xzf "$archive" -C "$tmp"
cd "$tmp/gsmeval-gpu-check"
if ! ldconfig -p | grep -q 'libcuda\.so\.1'; then # without a driver
  code=0
  scripts/gpu_check.sh 2> "$tmp/said" || code=$?
  [ $code = 1 ] && [ "$(grep -c '^gpu-check: ' "$tmp/said")" = 1 ] && grep -q '^gpu-check: there is no GPU' "$tmp/said" ||
    fail "without a GPU gpu_check.sh ends with $code and says: $(cat "$tmp/said")"
  [ ! -e gpu-report.md ] || fail "without a GPU there is a report"
fi
scripts/gpu_check.sh --device cpu --python "$python" || { cat gpu-report.md; fail "a check failed"; }
for line in 'neighbours, noise, graphs against eager: TestCUDAParity: not measured: no GPU$' '^--- PASS: TestPlainDeviceParity' '^--- PASS: TestNeighboursDoNotMatterOnADevice' \
  '^--- PASS: TestNoiseOnDeviceAgreesWithCPU' 'without CUDA graphs, are the bytes of the whole run$' 'on cpu and cpu are the bytes of the whole run$' '^## benchmark: '; do
  grep -q -e "$line" gpu-report.md || fail "the report lacks '$line'"
done
! grep -q '^## .*FAILED' gpu-report.md || fail "the report names a failure"
if "$python" -c 'import torch' 2> /dev/null; then
  [ "$(grep -c '^| tiny ' gpu-report.md)" -ge 10 ] || fail "the benchmark has not all of its rows"
fi
echo "bundle-check: $archive works in a bare directory; $(grep -c 'not measured: no GPU$' gpu-report.md) things need a GPU" >&2
