#!/bin/bash
# README keeps its word: its worker compiles without a warning and runs, its table is the one that options.def makes, the
# calls, commands and files that it names exist. NEARCACHE_BUILD: the build folder. Prints TAP.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${NEARCACHE_BUILD:-$root/build}
work=$(mktemp -d "${TMPDIR:-/tmp}/near-readme-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
count=0 failures=0

check() {
	count=$((count + 1))
	if "$2" >"$work/said" 2>&1; then
		echo "ok $count - $1"
	else
		failures=$((failures + 1))
		echo "not ok $count - $1"
		sed 's/^/# /' "$work/said"
	fi
}

worker() {
	sed -n '/^```c$/,/^```$/p' "$root/README.md" | sed '1d;$d' >"$work/worker.c" &&
		cc -std=c11 -Wall -Wextra -Werror -I"$root/include" "$work/worker.c" -o "$work/worker" \
			-L"$build/lib" -lnearcache -Wl,-rpath,"$build/lib" &&
		env -u NEARCACHE_REDIS_URL "$work/worker" | tee "$work/out" && grep -qx 'shop.db: article article:42' "$work/out"
}
options() { "$root/tools/readme-options" --check; }
calls() {
	local name missing=0
	for name in $(grep -o 'near_[a-z_]*' "$root/README.md" | sort -u); do
		grep -qw "$name" "$root/include/nearcache/nearcache.h" || { echo "$name is not in nearcache.h"; missing=1; }
	done
	return $missing
}
commands() {
	local name
	for name in get put add replace cas load invalidate remove touch ttl stats lease ping config shell; do
		"$build/bin/nearcache" help "$name" >/dev/null || { echo "nearcache help $name fails"; return 1; }
	done
}
files() {
	local name
	for name in $(grep -oE '(\(|`)(tools|lib|include)/[A-Za-z0-9_./-]+' "$root/README.md" "$root/lib/README.md" | sed 's/^[^(`]*[(`]//'); do
		[ -e "$root/$name" ] || { echo "$name does not exist"; return 1; }
	done
}
check readme__its_worker__compiles_and_runs worker
check readme__its_table_of_options__is_that_of_options_def options
check readme__the_calls_it_names__are_declared calls
check readme__the_commands_it_names__exist commands
check readme__the_files_it_names__exist files
echo "1..$count"
exit $((failures > 0))
