#!/usr/bin/env bash
# Everything that a GPU has to show, with a report: scripts/gpu_check.sh [--quick] [--device cuda|cpu] [--python PYTHON] [--report FILE]
#
# It runs in a checkout, which it builds, or in the unpacked bundle of `make bundle` on a machine without Go. It needs an NVIDIA GPU
# and Python with torch 2.11.0 (and transformers, for the comparison with it; without that the peers are left out); PYTHON is python3.
# Exit code 1 if a check failed; the report says which. The benchmark makes random checkpoints of 1 and 3 GB in a temporary folder.
#
# --device cpu tries all of this without a GPU, in about a minute: what of the checks a CPU can show, a benchmark of a tiny model, and the
# report, which names what was not measured. There a benchmark for which PYTHON has no torch is not measured either.
set -uo pipefail
usage="usage: scripts/gpu_check.sh [--quick] [--device cuda|cpu] [--python PYTHON] [--report FILE]"
say() { echo "gpu-check: $*" >&2; }
report=gpu-report.md quick=() device=cuda python=python3
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=(--quick) ;;
    --device | --python | --report)
      [ $# -ge 2 ] || { echo "$usage" >&2; exit 2; }
      case $1 in --device) device=$2 ;; --python) python=$2 ;; --report) report=$2 ;; esac
      shift ;;
    *) echo "$usage" >&2; exit 2 ;;
  esac
  shift
done
case $device in cuda | cpu) ;; *) say "--device $device is not cuda or cpu"; exit 2 ;; esac
python=$(command -v "$python") || { say "there is no Python where --python says, or no python3"; exit 2; }
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
: 2> /dev/null >> "$report" || { say "the report $report cannot be written"; exit 2; }
report=$(cd "$(dirname "$report")" && pwd)/$(basename "$report")
cd "$(dirname "$0")/.."

torch_of() { # prints the folder of a Python's torch, if it is 2.11.0
  "$1" - 2> /dev/null << 'PY'
import importlib.metadata, importlib.util, pathlib, sys
if importlib.metadata.version("torch").split("+")[0] != "2.11.0":
    sys.exit(1)
print(pathlib.Path(importlib.util.find_spec("torch").origin).parent)
PY
}

bundled=
if [ -x bin/decode.test ]; then
  bundled=1 torch=${LIBTORCH:-$(torch_of "$python")}
  ./setup ${torch:+--torch "$torch"} >&2 || exit 1
else
  make build || exit 1
  source .deps/env
  go build -o bin/bench-step ./scripts/bench/step || exit 1
fi
# What the program is to find its CUDA libraries by, where --python is not the python3 that it asks itself.
[ -n "${LIBTORCH:-}" ] || ! torch=$(torch_of "$python") || export LIBTORCH=$torch

# go_tests PACKAGE NAMES: the tests of those names, where their data is if they have some.
go_tests() {
  if [ -n "$bundled" ]; then
    local test=$PWD/bin/${1##*/}.test
    (if [ -d "$1" ]; then cd "$1" || exit 1; fi && "$test" -test.v -test.run "$2")
  else
    go test -count=1 -v -run "$2" "./$1"
  fi
}

if [ $device = cuda ]; then
  gpu=$(bin/gsmeval doctor | sed -n 's/^ok  GPU  *none: //p') || gpu="gsmeval doctor failed"
  if [ -n "$gpu" ]; then
    [ -s "$report" ] || rm -f "$report"
    say "there is no GPU to check ($gpu); --device cpu tries the script without one"
    exit 1
  fi
  tensors=^TestCUDA decoding=^TestCUDA shapes=()
else
  tensors='^TestCUDA|OnDevice|GraphsNeed' decoding='^TestCUDA|Device' shapes=(--device cpu --shape tiny)
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0 unmeasured=()
{
  echo "# gpu-check"
  echo
  echo "$(date -u +%Y-%m-%d), $(bin/gsmeval version | head -n 1)"
  [ $device = cuda ] || printf '\nA try of the checks on a CPU. What says "not measured: no GPU" was not measured, and no number here says anything about a GPU.\n'
} > "$report"

section() { # section NAME VERDICT: what $work/out holds goes to the report
  printf '\n## %s: %s\n\n```\n' "$1" "$2"
  grep -v '^=== ' "$work/out" | tail -n 150
  printf '```\n'
}

# check NAME COMMAND...: its output goes to the report. On a GPU nothing may be skipped for want of one; elsewhere what was is named.
check() {
  local name=$1 code=0 verdict skipped
  shift
  say "$name"
  "$@" > "$work/out" 2>&1 || code=$?
  skipped=$(sed -n '/no GPU: /{n; s/^ *--- SKIP: \([^ ]*\).*/\1/p}' "$work/out" | sort -u)
  if [ $device = cuda ] && [ -n "$skipped" ] && [ $code = 0 ]; then code=1; fi
  verdict=passed
  if [ $code != 0 ]; then
    verdict="FAILED ($code)" failed=1
  elif [ -n "$skipped" ]; then
    verdict="passed, but for what needs a GPU"
    while read -r test; do unmeasured+=("$name: $test"); done <<< "$skipped"
  fi
  say "$name: $verdict"
  section "$name" "$verdict" >> "$report"
}

set=(--quiet --set model.device=$device --set dataset.limit=60 --set generation.batch_size=32)
[ $device = cuda ] || set+=(--set dataset.limit=24 --set generation.batch_size=8 --set generation.max_new_tokens=32 --set noise_seeds=1)
same() { # same RUN: its samples and tables are the bytes of the whole run's
  local file
  for file in samples.jsonl table.json table.md; do cmp "$work/whole/$file" "$work/$1/$file" || return 1; done
}

resume() { # a run that is killed ends as one that was not, byte for byte, and so does one without CUDA graphs
  bin/gsmeval run configs/dyn_tstar.yaml "${set[@]}" --set output="$work/whole" > /dev/null || return 1
  bin/gsmeval run configs/dyn_tstar.yaml "${set[@]}" --set output="$work/killed" > /dev/null &
  local program=$! samples=0 all
  while [ "$samples" -lt 20 ] && kill -0 $program 2> /dev/null; do
    sleep 0.02
    samples=$(cat "$work/killed/samples.jsonl" 2> /dev/null | wc -l)
  done
  kill -KILL $program 2> /dev/null
  wait $program 2> /dev/null
  samples=$(wc -l < "$work/killed/samples.jsonl") all=$(wc -l < "$work/whole/samples.jsonl")
  echo "killed after $samples of $all samples"
  [ "$samples" -lt "$all" ] || { echo "the run was at its end before it was killed: nothing was shown"; return 1; }
  bin/gsmeval resume "$work/killed" --quiet > /dev/null || return 1
  bin/gsmeval run configs/dyn_tstar.yaml "${set[@]}" --no-graphs --set output="$work/eager" > /dev/null || return 1
  same killed && same eager || return 1
  echo "samples and tables of a killed and resumed run, and of one without CUDA graphs, are the bytes of the whole run"
}

several() { # a run on two devices is, byte for byte, the run on one
  bin/gsmeval run configs/dyn_tstar.yaml "${set[@]}" --set "devices=[$1, $2]" --set output="$work/several" > /dev/null && same several || return 1
  echo "samples and tables of a run on $1 and $2 are the bytes of the whole run"
}

runs_out() { # what does not fit is said at the start, with a batch size that does; 260 GB of cache are on no GPU
  local out
  if out=$(bin/gsmeval run configs/dyn_tstar.yaml "${set[@]}" --set generation.batch_size=65536 --set generation.max_new_tokens=1800 --set output="$work/large" 2>&1); then
    echo "260 GB fitted"
    return 1
  fi
  echo "$out"
  grep -q 'set generation.batch_size to [0-9]* or less' <<< "$out"
}

plain() { GSMEVAL_CUDA_KERNELS=0 go_tests decode "$decoding"; }

check "the machine" bin/gsmeval doctor models/gsm-tiny
check "tensors, graphs, memory" go_tests internal/torch "$tensors"
check "parity, neighbours, noise, graphs against eager" go_tests decode "$decoding"
[ $device = cpu ] || check "the same by plain operations" plain
check "kill and resume, graphs and --no-graphs" resume
[ $device = cpu ] || check "memory runs out at the start" runs_out
if [ $device = cpu ]; then
  check "several devices" several cpu cpu
  unmeasured+=("several GPUs")
elif [ "$(bin/gsmeval doctor | grep -c '^ok  GPU cuda:')" -ge 2 ]; then
  check "several devices" several 0 1
else
  say "several devices: not measured: there is one GPU"
  printf '\n## several devices: not measured: there is one GPU\n' >> "$report"
fi
if [ $device = cpu ] && ! "$python" -c 'import torch' 2> "$work/out"; then
  say "benchmark: not measured: $python has no torch"
  section benchmark "not measured: this Python has no torch" >> "$report"
else
  check "benchmark" "$python" scripts/gpu_bench.py ${quick[@]+"${quick[@]}"} ${shapes[@]+"${shapes[@]}"} --work "$work/bench"
fi
if [ $device = cpu ]; then
  unmeasured+=("plain operations on a GPU" "memory that runs out at the start" "kill and resume, and --no-graphs, on CUDA" "the benchmark's numbers: bandwidth, steps, GSM8K, what noise costs")
  {
    printf '\n## Not measured: no GPU\n\n'
    printf -- '- %s: not measured: no GPU\n' "${unmeasured[@]}"
  } >> "$report"
fi
say "$([ $failed = 0 ] && echo "every check passed" || echo "a check FAILED"): $report"
exit $failed
