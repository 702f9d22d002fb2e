#!/bin/bash
# The demonstration in a short form: it ends well and leaves what it promises (tables, page, JSON, database) and nothing
# else; it ends badly when coherence is broken on purpose or a worker dies; it cleans up when it is broken off.
# NEARCACHE_BUILD: the build folder. Prints TAP.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${NEARCACHE_BUILD:-$root/build}
program=$build/bin/nearcache-shop
if ! "$root/tools/setup" build demo >/dev/null || ! "$root/tools/build" release nearcache_shop >/dev/null; then
	echo "1..1"
	echo "not ok 1 - the demo builds"
	exit 1
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/near-demo-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
export NO_COLOR=1
mkdir "$work/tmp"
count=0 failures=0

# check NAME COMMAND...: the command's words are shown when it fails.
check() {
	local name=$1
	shift
	count=$((count + 1))
	if "$@" >"$work/said" 2>&1; then
		echo "ok $count - $name"
	else
		failures=$((failures + 1))
		echo "not ok $count - $name"
		sed 's/^/# /' "$work/said"
	fi
}

is() { [ "$1" = "$2" ] || { echo "is '$1', should be '$2'"; return 1; }; }
has() { grep -qE -- "$2" "$1" || { echo "$1 has no '$2'; it ends with:"; tail -n 25 "$1"; return 1; }; }
has_not() { if grep -nE -- "$2" "$1"; then return 1; fi; }
no_child_of() { # SESSION: nothing is left that it started
	local stat rest state session left=0
	for stat in /proc/[0-9]*/stat; do
		rest=$(cat "$stat" 2>/dev/null) || continue
		read -r state _ _ session _ <<<"${rest##*) }"
		if [ "$session" = "$1" ] && [ "$state" != Z ]; then echo "left: $rest"; left=1; fi
	done
	return $left
}
nothing_in() { if [ -n "$(ls -A "$1")" ]; then ls -l "$1"; return 1; fi; }

# run_demo NAME OPTION...: in a session of its own, so that what is left of it can be found; leaves $status and $session.
run_demo() {
	local name=$1
	shift
	TMPDIR=$work/tmp setsid "$program" --out "$work/$name" --plain "$@" >"$work/$name.log" 2>&1 &
	session=$!
	wait "$session"
	status=$?
}

"$program" --help >"$work/help.log" 2>&1
check "--help explains the options" has "$work/help.log" '--seconds N'
"$program" --workers 0 >"$work/wrong.log" 2>&1
check "a wrong argument ends with 2" is $? 2
check "a wrong argument is named with what would be right" has "$work/wrong.log" '--workers 0: a number from 1 to'

run_demo good --seconds 20 --json "$work/good.json"
check "a run keeps its promises and ends with 0" is "$status" 0
check "its last line says so" has "$work/good.log" '^All [0-9]+ promises were kept\.$'
check "no promise is reported broken" has_not "$work/good.log" '^BROKEN'
check "a pipe gets plain lines" has_not "$work/good.log" $'\033'
check "its table names the stages" has "$work/good.log" '^Redis killed +[0-9,]+ '
check "the page has pictures" is "$(grep -c '<svg' "$work/good/report.html")" 8
check "the page loads nothing from elsewhere" has_not "$work/good/report.html" '(src|href)=|@import|url\('
check "the figures say that Redis came back" has "$work/good.json" '"kept": true, "promise": "works again within 5 s'
if command -v python3 >/dev/null; then
	check "the figures are JSON" python3 -m json.tool "$work/good.json" /dev/null
	check "the database has its rows" python3 -c 'import sqlite3, sys
rows, = sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM article").fetchone()
print(rows)
sys.exit(rows < 100000)' "$work/good/catalogue.db"
else
	echo "# python3 is missing: the JSON is not parsed, the rows are not counted"
fi
check "no process is left" no_child_of "$session"
check "the private folder is gone" nothing_in "$work/tmp"

run_demo forgetful --seconds 15 --forget
check "invalidations left out on purpose end with 1" is "$status" 1
check "and the last lines name the promise" has "$work/forgetful.log" '^BROKEN: no fresh value older than its acknowledged'

# begin_demo NAME: a long run in the background; returns when it has begun to serve. Leaves $session.
begin_demo() {
	TMPDIR=$work/tmp setsid "$program" --out "$work/$1" --plain --seconds 60 >"$work/$1.log" 2>&1 &
	session=$!
	for ((i = 0; i < 300; i++)); do
		if grep -q 'req/s' "$work/$1.log"; then break; fi
		sleep 0.1
	done
}

begin_demo killed
worker=$(cat "/proc/$session/task/$session/children" | tr ' ' '\n' | tail -n 2 | head -n 1)
kill -KILL "$worker"
wait "$session"
check "a worker that dies ends the run with 1" is $? 1
check "and the last lines say so" has "$work/killed.log" '^BROKEN: no process crashes: 1 did: worker [0-9]+: signal 9'
check "and no process is left" no_child_of "$session"

begin_demo broken_off
kill -TERM "$session"
wait "$session"
check "broken off by a signal it ends with 2" is $? 2
check "and leaves no process" no_child_of "$session"
check "and no private folder" nothing_in "$work/tmp"

echo "1..$count"
[ "$failures" = 0 ]
