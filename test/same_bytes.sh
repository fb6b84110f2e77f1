#!/usr/bin/env bash
# Two builds give the same samples and tables: test/same_bytes.sh PARENT CHILD, two gsmeval programs on this machine.
#
# first_light, dose and study on a limit, a run in shards, and one that is killed and resumed. samples.jsonl is compared without
# `run` and `crc`, which name the build; every table byte for byte.
set -euo pipefail
cd "$(dirname "$0")/.."
parent=$(realpath "$1") child=$(realpath "$2") limit=${LIMIT:-20}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# samples DIR prints the journal without what names the build.
samples() { sed -E 's/"run":"[0-9a-f]*",//; s/,"crc":"[0-9a-f]*"\}$/}/' "$1/samples.jsonl"; }

same() { # same NAME A B: two run directories
  if ! cmp <(samples "$2") <(samples "$3"); then echo "$1: other samples"; failed=1; return; fi
  for table in table.csv table.md table.tex; do
    cmp <(sed -E 's/[0-9a-f]{32}/FINGERPRINT/' "$2/$table") <(sed -E 's/[0-9a-f]{32}/FINGERPRINT/' "$3/$table") ||
      { echo "$1: another $table"; failed=1; }
  done
  cmp <(sed -E 's/"fingerprint": ?"[0-9a-f]*"/F/' "$2/table.json") <(sed -E 's/"fingerprint": ?"[0-9a-f]*"/F/' "$3/table.json") ||
    { echo "$1: another table.json"; failed=1; }
  echo "$1: the same ($(wc -l < "$3/samples.jsonl") samples)"
}

run() { # run PROGRAM OUTPUT CONFIG [ARG...]
  local program=$1 out=$2 config=$3
  shift 3
  "$program" run "configs/$config.yaml" --set name=same --set output="$out" --set dataset.limit="$limit" --set progress=none "$@" > /dev/null
}

for config in first_light dose study; do
  for side in parent child; do run "${!side}" "$work/$side/$config" $config; done
  same $config "$work/parent/$config" "$work/child/$config"
done
for side in parent child; do
  for i in 1 2 3; do run "${!side}" "$work/$side/shards" study --set noise_seeds=2 --shard $i/3; done
  "${!side}" merge "$work/$side/shards" > /dev/null
done
same shards "$work/parent/shards" "$work/child/shards"
run "$parent" "$work/parent/whole" first_light --set dataset.limit=100
timeout -s INT 3 "$child" run configs/first_light.yaml --set name=same --set output="$work/child/whole" --set dataset.limit=100 --set progress=none \
  > /dev/null 2>&1 || true
"$child" resume "$work/child/whole" > /dev/null 2>&1
same resumed "$work/parent/whole" "$work/child/whole"
exit $failed
