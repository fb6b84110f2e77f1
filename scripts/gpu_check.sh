#!/usr/bin/env bash
# Everything that a GPU has to show, with a report: scripts/gpu_check.sh [--quick] [--report FILE]
#
# It runs in a checkout after `make build`, or in the unpacked bundle of `make bundle` on a machine without Go. It needs an NVIDIA GPU
# and Python with torch 2.11.0 (and transformers, for the comparison with it; without that the peers are left out).
# Exit code 1 if a check failed; the report says which. The benchmark makes random checkpoints of 1 and 3 GB in a temporary folder.
set -uo pipefail
cd "$(dirname "$0")/.."
report=gpu-report.md quick=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=--quick ;;
    --report) report=${2:?--report needs a file}; shift ;;
    *) echo "usage: scripts/gpu_check.sh [--quick] [--report FILE]" >&2; exit 2 ;;
  esac
  shift
done

if [ -x bin/decode.test ]; then
  ./setup || exit 1
  torch_tests() { bin/torch.test -test.v -test.run CUDA; }
  decode_tests() { (cd decode && ../bin/decode.test -test.v -test.run CUDA); }
else
  make build || exit 1
  source .deps/env
  go build -o bin/bench-step ./scripts/bench/step || exit 1
  torch_tests() { go test -count=1 -v -run CUDA ./internal/torch; }
  decode_tests() { go test -count=1 -v -run CUDA ./decode; }
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
{
  echo "# gpu-check"
  echo
  echo "$(date -u +%Y-%m-%d), $(bin/gsmeval version | head -n 1)"
} > "$report"

# check NAME COMMAND...: its output goes to the report, a SKIP is a failure: here nothing may be skipped for want of a GPU.
check() {
  local name=$1 code=0
  shift
  echo "gpu-check: $name" >&2
  "$@" > "$work/out" 2>&1 || code=$?
  if [ $code = 0 ] && grep -q 'no GPU' "$work/out"; then code=1; fi
  [ $code = 0 ] || failed=1
  {
    echo
    echo "## $name: $([ $code = 0 ] && echo passed || echo "FAILED ($code)")"
    echo
    echo '```'
    grep -v '^=== ' "$work/out" | tail -n 150
    echo '```'
  } >> "$report"
}

resume() { # a run that is killed ends as one that was not, byte for byte, on the GPU
  local set=(--quiet --set model.device=cuda --set dataset.limit=60 --set generation.batch_size=32)
  bin/gsmeval run configs/dyn_tstar.yaml "${set[@]}" --set output="$work/whole" > /dev/null || return 1
  bin/gsmeval run configs/dyn_tstar.yaml "${set[@]}" --set output="$work/killed" > /dev/null &
  local program=$! samples=0
  while [ "$samples" -lt 20 ] && kill -0 $program 2> /dev/null; do
    sleep 0.05
    samples=$(cat "$work/killed/samples.jsonl" 2> /dev/null | wc -l)
  done
  kill -KILL $program 2> /dev/null
  wait $program 2> /dev/null
  echo "killed after $samples samples"
  bin/gsmeval resume "$work/killed" --quiet > /dev/null || return 1
  bin/gsmeval run configs/dyn_tstar.yaml "${set[@]}" --no-graphs --set output="$work/eager" > /dev/null || return 1
  for run in killed eager; do
    for file in samples.jsonl table.json table.md; do cmp "$work/whole/$file" "$work/$run/$file" || return 1; done
  done
  echo "samples and tables of a killed and resumed run, and of one without CUDA graphs, are the bytes of the whole run"
}

check "the machine" bin/gsmeval doctor models/gsm-tiny
check "tensors, graphs, memory" torch_tests
check "parity, neighbours, noise, graphs against eager" decode_tests
check "kill and resume, graphs and --no-graphs" resume
check "benchmark" python3 scripts/gpu_bench.py $quick --work "$work/bench"
echo "gpu-check: $report" >&2
exit $failed
