#!/usr/bin/env bash
# The study of docs/preregistration.md: the runs of configs/right_*.yaml, their comparisons and curves, and the divergence of
# every form of T* under each noise. About two hours on two cores with AVX2; tables go to DIR, which is runs/right_study by default.
#
#   scripts/study.sh [DIR]
#
# It may be stopped anywhere: the same command goes on. Where make smollm2 has fetched that model, its rows are measured too.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/right_study}
gsmeval=bin/gsmeval
[[ -x $gsmeval ]] || { echo "study.sh: bin/gsmeval is missing; make build makes it" >&2; exit 1; }
mkdir -p "$out"

# once FILE COMMAND...: what a command prints, unless the file is there already.
once() {
	local file=$out/$1
	shift
	[[ -s $file ]] && return
	echo "study: $file"
	"$gsmeval" "$@" >"$file.part"
	mv "$file.part" "$file"
}

for name in right_primary right_forms right_base06; do
	once "$name.md" run "configs/$name.yaml" --set output="$out/$name"
	once "$name-compare.md" compare "$out/$name"
done
once right_primary-curve.md curve "$out/right_primary"

# forms NAME NOISE [ARG...]: the forms of T* under one noise, each on texts that it was not fitted to.
forms() {
	local name=forms-$1 noise=$2
	shift 2
	once "$name.md" fidelity configs/right_fidelity.yaml --forms --set output="$out/right_fidelity" --out "$out/$name" --noise "$noise" "$@"
}
for scale in 0.13 0.18 0.21; do forms "activation-$scale" "{kind: activation, scale: $scale}"; done
for scale in 0.13 0.17 0.21; do forms "weight-$scale" "{kind: weight, scale: $scale}"; done
for bits in 4 3; do forms "int$bits" "{weights: {kind: int, bits: $bits}}"; done

smollm2=models/smollm2.gguf
if [[ ! -e $smollm2 ]]; then
	echo "study: $smollm2 is not there (make smollm2 fetches it): its rows are left out"
	exit
fi
real=(--set model.path=$smollm2 --set calibration.prompts=4 --set calibration.positions=24 --set calibration.draws=16
	--set 'dataset.range="400:406"' --set output="$out/right_smollm2")
for scale in 0.05 0.1; do forms "smollm2-activation-$scale" "{kind: activation, scale: $scale}" "${real[@]}"; done
forms smollm2-weight-0.05 "{kind: weight, scale: 0.05}" "${real[@]}"
# Not in the plan: noise of each token's own size, which an attention sink does not make larger.
for scale in 0.05 0.1 0.2; do forms "smollm2-token-$scale" "{kind: activation, scale: $scale, per: token}" "${real[@]}"; done
