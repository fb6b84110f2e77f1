#!/usr/bin/env bash
# The study of version 0.1.0: configs/study.yaml and its controls, first on few questions, then extended, with tables, comparisons and
# plots of what is there after every pass.
#
#   scripts/study_first.sh [-o DIR] [-c N] [-t N] [-j N] [-s KEY=VALUE]... LIMIT...
#
#   LIMIT...  questions of each pass, rising; a later pass keeps the samples of the earlier (100 300 1000)
#   -o DIR    where runs and report go (runs/study)
#   -c N      questions of the controls at most: sweep, forms, placebo, tuned T (as many as the study's)
#   -t N      train questions on which temperatures are tuned, in the first pass; later ones use the same (200)
#   -j N      runs side by side, each on one thread (1)
#   -s K=V    a further --set of every run; whoever changes it needs another DIR
#
# At LIMIT 1000 the study is 186,000 samples, the sweep 391,000, the forms 135,000, the placebo 35,000, the tuned T up to
# 186,000, and the tuning 36,000 with -t 200.
# It may be stopped anywhere (Ctrl-C, SIGTERM, SIGKILL): the same command goes on. DIR/report is renewed after every pass.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
	sed -n '2,/^set /s/^#\( \|$\)//p' "$0" >&2
	exit 2
}
whole() { # a whole number above 0
	[[ $1 =~ ^[1-9][0-9]*$ ]] || { echo "study_first.sh: $2 is not a whole number above 0: $1" >&2; exit 2; }
}

out=runs/study controls=1000000 tune=200 jobs=1 sets=(--set threads=1 --set progress=plain)
while getopts o:c:t:j:s:h opt; do
	case $opt in
	o) out=$OPTARG ;;
	c) whole "$OPTARG" -c; controls=$OPTARG ;;
	t) whole "$OPTARG" -t; tune=$OPTARG ;;
	j) whole "$OPTARG" -j; jobs=$OPTARG ;;
	s) sets+=(--set "$OPTARG") ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
(($# > 0)) || usage
last=0
for limit in "$@"; do
	whole "$limit" LIMIT
	((limit > last)) || { echo "study_first.sh: limits must rise: $limit after $last" >&2; exit 2; }
	last=$limit
done
mkdir -p "$out/done" "$out/log" "$out/report"
# The program is part of what a run is: the study keeps its own copy, so that a build in the meantime ends nothing.
gsmeval=$out/gsmeval
if [[ ! -x $gsmeval ]]; then
	[[ -x bin/gsmeval ]] || { echo "study_first.sh: bin/gsmeval is missing; make build makes it" >&2; exit 1; }
	cp bin/gsmeval "$gsmeval.part"
	mv "$gsmeval.part" "$gsmeval"
fi
export LD_LIBRARY_PATH=$PWD/.deps/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} # the copy's own way there begins at bin/

# A signal to the script ends the runs too; they keep what they have.
stop() {
	trap - INT TERM
	local running
	running=$(jobs -p)
	[[ -z $running ]] || kill -TERM $running 2>/dev/null || true
	wait || true
	echo "study_first.sh: stopped; the same command goes on" >&2
	exit 130
}
trap stop INT TERM

# run NAME LIMIT [ARG...]: brings a run to a limit, unless it has been there. done/NAME holds the limit that it has reached.
run() {
	local name=$1 limit=$2
	shift 2
	if [[ -f $out/done/$name && $(<"$out/done/$name") -ge $limit ]]; then return; fi
	echo "$(date -u +%H:%M:%S) $name, $limit questions"
	nice -n 10 "$gsmeval" run "configs/$name.yaml" --extend "${sets[@]}" --set output="$out/$name" --set dataset.limit="$limit" "$@" \
		>/dev/null 2>>"$out/log/$name.log" &
	child=$!
	if ! wait "$child"; then
		tail -n 3 "$out/log/$name.log" >&2
		return 1
	fi
	echo "$limit" >"$out/done/$name"
}

# start ARG...: run in the background, at most $jobs at a time.
failed=0
start() {
	while (($(jobs -rp | wc -l) >= jobs)); do wait -n || failed=1; done
	(
		child=
		trap 'kill -TERM $child 2>/dev/null && wait $child; exit 130' INT TERM
		run "$@"
	) &
}
finish() {
	while [[ -n $(jobs -p) ]]; do wait -n || failed=1; done
	((failed == 0)) || { echo "study_first.sh: a run failed; see $out/log" >&2; exit 1; }
}

# once FILE COMMAND...: does what a file of the report comes from, where it is not there yet.
once() {
	local file=$1
	shift
	[[ -s $file ]] && return
	nice -n 10 "$gsmeval" "$@" >"$file.part" 2>>"$out/log/report.log" &
	wait "$!" # and not in the foreground, where a signal to the script would have to wait
	mv "$file.part" "$file"
}

# report: tables, comparisons and plots of the runs that are there; alpha(t), which takes minutes, the first time.
report() {
	local name files=$out/report all=("${sets[@]}" --set output="$out/study")
	for name in study study_sweep study_forms study_placebo study_tune study_tuned; do
		[[ -f $out/$name/table.md ]] || continue
		for form in md csv json; do cp "$out/$name/table.$form" "$files/$name.$form"; done
		[[ $name == study_tune ]] || "$gsmeval" compare "$out/$name" --out "$files/$name-compare.md"
		[[ $name == study_tune ]] || "$gsmeval" compare "$out/$name" --json --out "$files/$name-compare.json"
	done
	for name in study_sweep study_tune; do
		if [[ -f $out/$name/table.md ]]; then "$gsmeval" curve "$out/$name" --out "$files/$name-curve" >"$files/$name-curve.md" 2>>"$out/log/report.log"; fi
	done
	once "$files/calibration.md" calibrate configs/study.yaml "${all[@]}"
	once "$files/alpha.md" alpha configs/study.yaml "${all[@]}" --out "$files/alpha"
	once "$files/temps.md" temps configs/study.yaml "${all[@]}"
	cp "$out"/study/temps/temps.* "$files/"
	for name in "$files"/*.md; do
		[[ $name == */all.md ]] || printf '## %s\n\n%s\n\n' "$(basename "$name" .md)" "$(<"$name")"
	done >"$files/.all.md"
	mv "$files/.all.md" "$files/all.md"
	echo "$(date -u +%H:%M:%S) wrote $files/all.md and the plots beside it"
}

for limit in "$@"; do
	control=$((limit < controls ? limit : controls))
	start study "$limit"
	start study_sweep "$control"
	start study_forms "$control"
	start study_placebo "$control"
	start study_tune "$tune"
	finish
	start study_tuned "$control" --set temperature.1.values="$("$gsmeval" curve "$out/study_tune" --values)"
	finish
	report
done
