#!/bin/bash
# tools/lint finds each kind of offence, and nothing in a clean tree. Prints TAP.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tree=$(mktemp -d "${TMPDIR:-/tmp}/near-lint-XXXXXX")
trap 'rm -rf "$tree"' EXIT
count=0 failures=0

# expect NAME WORDS FILE TEXT: a tree with FILE gives an offence that says WORDS; WORDS empty: it is clean.
expect() {
	local name=$1 words=$2 file=$3 text=$4 said status=0
	rm -rf "${tree:?}"/*
	mkdir -p "$tree/lib/base" "$tree/$(dirname "$file")"
	printf '/* What it is for. */\n%b' "$text" >"$tree/$file"
	said=$("$root/tools/lint" "$tree" 2>&1) || status=$?
	count=$((count + 1))
	if { [ -z "$words" ] && [ $status = 0 ]; } || { [ -n "$words" ] && [ $status = 1 ] && [[ $said == *"$words"* ]]; }; then
		echo "ok $count - $name"
	else
		failures=$((failures + 1))
		echo "not ok $count - $name"
		printf '%s\n' "status $status" "$said" | sed 's/^/# /'
	fi
}

expect lint__a_room_below__is_allowed '' lib/l1/table.c '#include "base/mem.h"\n#include <stdio.h>\n'
expect lint__a_room_above__is_refused 'base may not know core' lib/base/x.c '#include "core/core.h"\n'
expect lint__a_sibling__is_refused 'l1 may not know coherence' lib/l1/x.h '#include "coherence/coherence.h"\n'
expect lint__l1_and_redis__is_refused 'l1 may not know redis' lib/l1/x.c '#  include "redis/redis.h"\n'
expect lint__an_unknown_room__is_refused 'room attic is not in the list' lib/attic/x.c '#include "base/mem.h"\n'
expect lint__a_pathless_include__is_refused 'name it as' lib/l1/x.c '#include "l1.h"\n'
expect lint__a_climbing_include__is_refused 'name it as' lib/l1/x.c '#include "../core/core.h"\n'
expect lint__hiredis_in_redis__is_allowed '' lib/redis/x.c '#include <hiredis/hiredis.h>\n'
expect lint__hiredis_elsewhere__is_refused 'only the room redis' lib/core/x.c '#include <hiredis/hiredis.h>\n'
expect lint__ck_epoch_elsewhere__is_refused 'only sync/epoch.c' lib/sync/thread.c '#include <ck_epoch.h>\n'
expect lint__jemalloc_elsewhere__is_refused 'only base/mem' lib/base/hash.c '#include <jemalloc/jemalloc.h>\n'
expect lint__xxhash_elsewhere__is_refused 'only base/hash.c' lib/l2/x.c '#include <xxhash.h>\n'
expect lint__the_environment_elsewhere__is_refused 'reads the environment' lib/core/x.c 'x = getenv("A");\n'
expect lint__a_long_file__is_refused '601 lines' lib/base/x.c "$(printf 'x\\n%.0s' {1..600})"
expect lint__a_long_line__is_no_offence '' lib/base/x.c "$(printf 'x%.0s' {1..141})\n"
expect lint__blanks_at_the_end__are_refused 'blanks at the end' lib/base/x.c 'x \n'
echo "1..$count"
exit $((failures > 0))
