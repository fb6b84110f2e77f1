#!/usr/bin/env bash
# Cross-builds gsmeval for aarch64 Linux into bin/gsmeval-aarch64 and tries it under qemu's user emulation: the machine, a run that is
# interrupted and resumed, the tests of the packages without C and parity with transformers. Twenty minutes on an AMD EPYC. Run by
# `make aarch64`. On a machine of that kind itself `make run` and `make test` are meant to be enough; none has been at hand.
#
# Needs, as Debian calls them, g++-aarch64-linux-gnu and qemu-user-static (which is to be registered with the kernel, for a test that starts
# itself), and Rust's library for aarch64-unknown-linux-gnu.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { echo "aarch64: $*" >&2; }
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || { say "qemu-aarch64 is missing (Debian: apt install qemu-user-static)"; exit 1; }
# The C library of the cross compiler stands in for a system's.
export QEMU_LD_PREFIX=${QEMU_LD_PREFIX:-/usr/aarch64-linux-gnu}
emulated="$qemu -E LD_LIBRARY_PATH=$PWD/.deps/lib-aarch64"

GSMEVAL_MACHINE=aarch64 scripts/deps.sh
source .deps/env-aarch64
say "building bin/gsmeval-aarch64 (the first time some minutes)"
go build -o bin/gsmeval-aarch64 ./cmd/gsmeval
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
printf '#!/bin/sh\nexec %s %s "$@"\n' "$emulated" "$PWD/bin/gsmeval-aarch64" > "$tmp/gsmeval"
chmod +x "$tmp/gsmeval"
export PATH=$tmp:$PATH
gsmeval --version
gsmeval doctor models/gsm-tiny

say "a run of six samples, and one that is interrupted and resumed"
gsmeval run configs/first_light.yaml --set dataset.limit=2 --set output="$tmp/whole"
python3 scripts/wheel/interrupt.py configs/first_light.yaml --set dataset.limit=2 --set output="$tmp/cut"
gsmeval resume "$tmp/cut" --quiet > /dev/null
cmp "$tmp/whole/samples.jsonl" "$tmp/cut/samples.jsonl"
say "the resumed run is the whole one, byte for byte"

# Left out: a test that asks when a process started, of which qemu makes up another time than the kernel.
say "tests"
CGO_ENABLED=0 go test -timeout 30m -skip TestTwoProcesses -exec "$emulated" $(sed -n 's/^PURE := //p' Makefile)
go test -timeout 60m -exec "$emulated" -run TestParityWithTransformers ./decode
say "ok"
