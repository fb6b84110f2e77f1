#!/usr/bin/env bash
# Runs the bundled model as a job array on a one-machine Slurm, kills, cancels and interrupts tasks, puts them back into the
# queue, and compares the merged bytes with those of one run. Needs bin/gsmeval, slurm-wlm and munge, and root.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in munged slurmctld slurmd sbatch; do
  command -v "$tool" > /dev/null || { echo "slurm: $tool is not installed (Debian: apt-get install slurm-wlm munge)" >&2; exit 1; }
done
source test/slurm/cluster.sh

work=$(mktemp -d /tmp/gsmeval-slurm.XXXXXX)
chmod 755 "$work"
end() {
  code=$?
  [ $code = 0 ] || tail -n 50 "$work"/run/slurm/*.log "$work"/cluster/slurmctld.log >&2 || true
  cluster_stop
  rm -rf "$work"
  exit $code
}
trap end EXIT
say() { printf 'slurm: %3d s  %s\n' "$SECONDS" "$*"; }
fail() { say "FAILED: $*"; squeue >&2; exit 1; }
samples() { # SHARD: how many its journal has
  cat "$work/run/shards/$1-of-4/samples.jsonl" 2> /dev/null | wc -l
}
await() { # SECONDS WHAT COMMAND...: until the command succeeds
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ $SECONDS -lt $until ] || fail "$what did not come"
    sleep 0.2
  done
}
has_samples() { [ "$(samples "$1")" -gt 0 ]; }
state() { scontrol show job "${array}_$1" | grep -o 'JobState=[A-Z]*' | head -n 1; }
is() { [ "$(state "$1")" = "JobState=$2" ]; }
ended_well() { grep -q 'interrupted: .* samples are kept' "$work/run/slurm/shard-$1.log"; }
no_jobs() { [ -z "$(squeue -h)" ]; }
begun_again() { grep -q 'samples are there' "$work/run/slurm/shard-$1.log"; }

cluster_start "$work/cluster"
say "$(sbatch --version), $(sinfo -h -o '%D node, %c processors')"
bin/gsmeval run test/slurm/gsmeval.yaml --quiet --set output="$work/whole" > /dev/null
say "one run: $(wc -l < "$work/whole/samples.jsonl") samples"

# The calibration of the single run is out of the array's reach: its first job measures its own.
mkdir "$work/array" && mv "$work/whole" "$work/array/whole" && mv "$work/calibrations" "$work/array/"
submitted=$(bin/gsmeval submit slurm test/slurm/gsmeval.yaml --shards 4 --set output="$work/run" --sbatch "--time=10" --yes)
say "$submitted"
array=$(sed 's/.*shards \([0-9]*\).*/\1/' <<< "$submitted")

killed() { # TASK HOW COMMAND...: kill a task between its first and its last sample
  local task=$1 how=$2
  shift 2
  await 60 "the first sample of shard $task" has_samples "$task"
  "$@"
  say "task $task $how after $(samples "$task") samples"
}
owner() { grep -o '"pid":[0-9]*' "$work/run/shards/$1-of-4/samples.jsonl.lock" | cut -d: -f2; }
kill_program() { kill -KILL "$(owner 1)"; }
killed 1 "lost its program to SIGKILL" kill_program
await 30 "the end of task 1" is 1 FAILED
[ -e "$work/run/shards/1-of-4/samples.jsonl.lock" ] || fail "the killed program has left no lock file: it was not killed"
scontrol requeue "${array}_1"
killed 2 "cancelled (scancel)" scancel "${array}_2"
await 30 "the end of task 2" is 2 CANCELLED
await 30 "the cancelled program's end in good order" ended_well 2 # Slurm calls a task cancelled before its program has ended
scontrol requeue "${array}_2"
killed 3 "told that its time is up (USR1)" scancel --signal=USR1 --batch "${array}_3"
bin/gsmeval status "$work/run"

await 150 "the merge" test -e "$work/run/table.md"
await 60 "the end of the merge's job" no_jobs # the report comes after the table
for task in 1 2 3; do begun_again $task || fail "task $task did not go on where it was"; done
say "all tasks are done: $(bin/gsmeval status "$work/run" | head -n 1)"
[ "$(grep -c '^calibrating under' "$work"/run/slurm/*.log | awk -F: '{n += $2} END {print n}')" = 2 ] || fail "the two noises were not calibrated once each"
for file in samples.jsonl table.csv table.md table.json table.tex; do
  cmp "$work/array/whole/$file" "$work/run/$file" || fail "$file differs from that of one run"
done
say "passed: samples and tables are the bytes of one run ($(sha256sum < "$work/run/samples.jsonl" | cut -c 1-16))"
