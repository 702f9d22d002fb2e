#!/bin/bash
# run_one.sh PROGRAM [CORPUS]: one fuzz target for a bounded, seeded number of runs; prints TAP. What libFuzzer finds goes
# to a copy of the corpus, so that a run leaves the tree as it is. NEARCACHE_FUZZ_RUNS, NEARCACHE_FUZZ_SEED change both.
set -uo pipefail
program=$1 corpus=${2:-}
folder=$(mktemp -d "${TMPDIR:-/tmp}/near-fuzz-XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/corpus"
if [ -d "$corpus" ]; then cp "$corpus"/* "$folder/corpus/"; fi
cd "$folder" || exit 1
runs=${NEARCACHE_FUZZ_RUNS:-50000} seed=${NEARCACHE_FUZZ_SEED:-1}
echo "1..1"
if "$program" -runs="$runs" -seed="$seed" -max_len=4096 -max_total_time=60 -timeout=10 "$folder/corpus"; then
	echo "ok 1 - $(basename "$program")__${runs}_runs_of_seed_${seed}__nothing_found"
else
	for crash in crash-* leak-* timeout-* oom-*; do
		[ -e "$crash" ] && echo "# $crash, base64: $(base64 -w0 "$crash")"
	done
	echo "not ok 1 - $(basename "$program")__${runs}_runs_of_seed_${seed}__nothing_found"
	exit 1
fi
