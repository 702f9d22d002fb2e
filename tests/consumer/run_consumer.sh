#!/bin/bash
# Installs the library into a folder of its own and builds programs outside the tree with what was installed: through
# pkg-config and through CMake, shared and static. Also what a library owes its users: it exports the functions of its
# header and nothing else, the archive brings no global name but near_*, the header is valid C and C++ on its own.
# NEARCACHE_BUILD: the build folder. Prints TAP.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${NEARCACHE_BUILD:-$root/build}
work=$(mktemp -d "${TMPDIR:-/tmp}/near-consumer-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
here=$root/tests/consumer
count=0 failures=0

# check NAME FUNCTION: the function's words are shown when it fails.
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
skip() {
	count=$((count + 1))
	echo "ok $count - $1 # SKIP $2"
}

installed() { find "$prefix" -name "$1" | head -n 1; }
install_it() {
	cmake --install "$build" --prefix "$prefix" && [ -n "$(installed nearcache.pc)" ] &&
		[ -n "$(installed nearcacheConfig.cmake)" ] && [ -n "$(installed libnearcache.so.0)" ] &&
		[ -n "$(installed libnearcache.a)" ] && [ -n "$(installed nearcache.h)" ]
}
compile() { # compile OUTPUT FLAGS...
	local output=$1
	shift
	cc -std=c11 -Wall -Wextra -Werror -DNEARCACHE_EXPECTED_VERSION="\"$(pkg-config --modversion nearcache)\"" \
		"$here/main.c" -o "$output" "$@"
}
pkg_config_shared() {
	compile "$work/shared" $(pkg-config --cflags --libs nearcache) &&
		ldd "$work/shared" | grep libnearcache.so.0 && "$work/shared"
}
pkg_config_static() {
	local dir
	dir=$(dirname "$(installed libnearcache.a)")
	mkdir -p "$work/archive" && cp "$dir/libnearcache.a" "$work/archive/" &&
		compile "$work/static" $(pkg-config --cflags nearcache) -L"$work/archive" \
			$(pkg-config --libs --static nearcache | sed "s|-L[^ ]*prefix[^ ]*||") &&
		! ldd "$work/static" | grep libnearcache && env -u LD_LIBRARY_PATH "$work/static"
}
cmake_both() {
	cmake -S "$here" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" && cmake --build "$work/cmake" &&
		env -u LD_LIBRARY_PATH "$work/cmake/consumer_shared" && "$work/cmake/consumer_static" &&
		! ldd "$work/cmake/consumer_static" | grep libnearcache
}
declared() {
	cpp -I"$prefix/include" "$(installed nearcache.h)" | tr '\n' ' ' | grep -oE '\bnear_[a-z_0-9]+ ?\([^*]' |
		sed 's| *(.*||' | sort -u
}
shared_exports() {
	diff <(declared) <(nm -D --defined-only "$(installed libnearcache.so.0)" |
		awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort -u)
}
static_names() {
	diff <(declared) <(nm -g --defined-only "$(installed libnearcache.a)" | awk 'NF == 3 { print $3 }' | sort -u)
}
malloc_untouched() {
	! nm -D "$(installed libnearcache.so.0)" | grep -E ' [TW] (malloc|free|calloc|realloc|mallocx)$' &&
		! ldd "$(installed libnearcache.so.0)" | grep jemalloc
}
header_c() {
	echo '#include <nearcache/nearcache.h>' | cc -std=c11 -Wall -Wextra -pedantic -Werror -I"$prefix/include" -x c \
		-fsyntax-only -
}
header_cpp() {
	echo '#include <nearcache/nearcache.h>' | c++ -std=c++11 -Wall -Wextra -pedantic -Werror -I"$prefix/include" -x c++ \
		-fsyntax-only -
}

check install__into_a_prefix__brings_all_parts install_it
PKG_CONFIG_PATH=$(dirname "$(installed nearcache.pc)")
LD_LIBRARY_PATH=$(dirname "$(installed libnearcache.so.0)")
export PKG_CONFIG_PATH LD_LIBRARY_PATH
check consumer__pkg_config_shared__builds_and_runs pkg_config_shared
check consumer__pkg_config_static__builds_and_runs pkg_config_static
check consumer__cmake_package__builds_and_runs_shared_and_static cmake_both
check exports__of_the_shared_library__are_the_header_functions shared_exports
check names__of_the_static_library__are_the_header_functions static_names
check malloc__of_the_host__is_left_alone malloc_untouched
check header__as_c11__stands_alone header_c
if command -v c++ >/dev/null; then
	check header__as_cpp11__stands_alone header_cpp
else
	skip header__as_cpp11__stands_alone "no C++ compiler"
fi
echo "1..$count"
exit $((failures > 0))
