/* The shell as people script it: one JSON object for each line, whatever the line, and several shells on one Redis are
 * several coherent processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "base/hash.h"
#include "support/process.h"
#include "support/redis_server.h"

#define PROGRAM NEARCACHE_BINARY_DIR "/bin/nearcache"

static redis_server *redis;
static char redis_url[160];

static process *shell_start(const char *url, const char *more)
{
	const char *const argv[] = { PROGRAM, "shell", NULL };
	const char *const environment[] = { url, more, NULL };
	return process_start(argv, url != NULL ? environment : environment + 1);
}

static process *shell_on_redis(void)
{
	process *p = shell_start(redis_url, NULL);
	process_ask(p, "ready deadline_ms=10000");
	return p;
}

/* The answer has all its parts and this status; then also each of the parts given, as text. */
static void answer_is(const char *answer, const char *status, const char *part)
{
	char expected[64];
	snprintf(expected, sizeof(expected), "\"status\":\"%s\"", status);
	if (!json_is_valid(answer, strlen(answer)))
		fail_msg("no JSON: %s", answer);
	static const char *const members[] = { "{\"op\":", "\"key\":", "\"status\":", "\"value\":", "\"source\":", "\"elapsed_us\":" };
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (strstr(answer, members[i]) == NULL)
			fail_msg("%s is missing in %s", members[i], answer);
	if (strstr(answer, expected) == NULL || strstr(answer, part) == NULL)
		fail_msg("expected %s and %s, got %s", expected, part, answer);
}

static void ask(process *p, const char *line, const char *status, const char *part)
{
	answer_is(process_ask(p, line), status, part);
}

/* Asks until the answer has the part, for at most 5 s. */
static void ask_until(process *p, const char *line, const char *part)
{
	const char *answer = "";
	for (int i = 0; i < 500; i++) {
		answer = process_ask(p, line);
		if (strstr(answer, part) != NULL)
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	fail_msg("never %s, but %s", part, answer);
}

static long long number_in(const char *answer, const char *name)
{
	char pattern[64];
	snprintf(pattern, sizeof(pattern), "\"%s\":", name);
	const char *at = strstr(answer, pattern);
	if (at == NULL)
		fail_msg("%s is missing in %s", name, answer);
	return strtoll(at + strlen(pattern), NULL, 10);
}

/* ------------------------------------------------------------- coherent */

static void two_shells__a_put__is_seen_by_the_other(void **state)
{
	(void)state;
	process *a = shell_on_redis(), *b = shell_on_redis();
	ask(a, "put coh:1 old", "OK", "\"key\":\"coh:1\"");
	ask(b, "get coh:1", "OK", "\"value\":\"old\",\"source\":\"l2\"");
	ask_until(b, "get coh:1", "\"source\":\"l1\"");
	ask(a, "put coh:1 new", "OK", "");
	ask_until(b, "get coh:1", "\"value\":\"new\"");
	assert_int_equal(process_end(a), 0);
	assert_int_equal(process_end(b), 0);
}

static void two_shells__an_invalidation__makes_the_other_miss(void **state)
{
	(void)state;
	process *a = shell_on_redis(), *b = shell_on_redis();
	ask(a, "put coh:2 v", "OK", "");
	ask_until(b, "get coh:2", "\"source\":\"l1\"");
	ask(a, "invalidate coh:2", "OK", "\"op\":\"invalidate\"");
	ask(a, "get coh:2", "MISS", "\"value\":null,\"source\":\"none\"");
	ask_until(b, "get coh:2", "\"status\":\"MISS\"");
	ask(a, "put coh:2 w", "OK", "");
	ask_until(b, "get coh:2", "\"value\":\"w\"");
	ask(b, "remove coh:2", "OK", "");
	ask_until(a, "get coh:2 stale_ok=1", "\"status\":\"MISS\"");
	process_end(a);
	process_end(b);
}

static void two_shells__a_tag__takes_all_its_values_along(void **state)
{
	(void)state;
	process *a = shell_on_redis(), *b = shell_on_redis();
	ask(a, "put tag:1 v tags=\"red,dark blue\"", "OK", "");
	ask(a, "put tag:2 v tags=red", "OK", "");
	ask(a, "put tag:3 v tags=green", "OK", "");
	ask_until(b, "get tag:1", "\"source\":\"l1\"");
	ask(a, "invalidate_tag \"dark blue\"", "OK", "");
	ask_until(b, "get tag:1", "\"status\":\"MISS\"");
	ask(b, "get tag:2", "OK", "\"value\":\"v\"");
	ask(b, "invalidate_tag red", "OK", "");
	ask_until(a, "get tag:2", "\"status\":\"MISS\"");
	ask(a, "get tag:3", "OK", "\"value\":\"v\"");
	process_end(a);
	process_end(b);
}

static void two_shells__the_same_cold_load_at_once__load_once(void **state)
{
	(void)state;
	process *a = shell_on_redis(), *b = shell_on_redis();
	process_write(a, "load cold:1 first cost_ms=400\n", 30);
	process_write(b, "load cold:1 second cost_ms=400\n", 31);
	char *of_a = strdup(process_line(a)), *of_b = strdup(process_line(b));
	answer_is(of_a, "OK", "\"value\":");
	answer_is(of_b, "OK", "\"value\":");
	/* Whichever came first was the source for both. */
	const char *value = strstr(of_a, "\"value\":\"first\"") != NULL ? "\"value\":\"first\"" : "\"value\":\"second\"";
	answer_is(of_a, "OK", value);
	answer_is(of_b, "OK", value);
	long long loads = number_in(process_ask(a, "stats"), "loads") + number_in(process_ask(b, "stats"), "loads");
	assert_int_equal(loads, 1);
	free(of_a);
	free(of_b);
	process_end(a);
	process_end(b);
}

static void shell__redis_killed_and_back__says_so_and_recovers(void **state)
{
	(void)state;
	redis_server *own = redis_server_start(NULL);
	char url[160];
	snprintf(url, sizeof(url), "NEARCACHE_REDIS_URL=%s", redis_server_url(own));
	process *p = shell_start(url, "NEARCACHE_LEASE_MS=300");
	ask(p, "put k v1", "OK", "");
	redis_server_kill(own);
	ask_until(p, "ping deadline_ms=100", "\"status\":\"E_");
	ask(p, "put k v2", "QUEUED", "");
	ask(p, "invalidate k", "QUEUED", "");
	ask(p, "load k v3 cost_ms=1", "OK", "\"source\":\"loader\"");
	redis_server_restart(own, false);
	ask_until(p, "ping deadline_ms=1000", "\"status\":\"OK\"");
	ask_until(p, "put k v4", "\"status\":\"OK\"");
	ask(p, "get k", "OK", "\"value\":\"v4\"");
	assert_int_equal(process_end(p), 0);
	redis_server_free(own);
}

/* ------------------------------------------------------------- alone */

static void shell__without_redis__is_a_cache_of_its_own(void **state)
{
	(void)state;
	process *p = shell_start(NULL, NULL);
	ask(p, "get k", "MISS", "\"value\":null,\"source\":\"none\"");
	ask(p, "put k v ttl_ms=60000 version=3", "OK", "\"op\":\"put\",\"key\":\"k\"");
	ask(p, "get k", "OK", "\"value\":\"v\",\"source\":\"l1\"");
	assert_int_equal(number_in(process_ask(p, "get k"), "version"), 3);
	ask(p, "add k w", "EXISTS", "");
	ask(p, "replace k w", "OK", "");
	ask(p, "replace other w", "MISS", "");
	ask(p, "exists k", "OK", "");
	assert_in_range(number_in(process_ask(p, "get k"), "ttl_ms"), 1, 300000);
	ask(p, "touch k 1000", "OK", "");
	assert_in_range(number_in(process_ask(p, "ttl k"), "ttl_ms"), 1, 1000);
	ask(p, "put k a version=7", "OK", "");
	ask(p, "put k b version=7", "CONFLICT", "");
	ask(p, "cas k c expected=7 version=8", "OK", "");
	ask(p, "cas k d expected=7 version=9", "CONFLICT", "");
	ask(p, "get k", "OK", "\"value\":\"c\"");
	ask(p, "remove k", "OK", "");
	ask(p, "get k", "MISS", "");
	assert_int_equal(process_end(p), 0);
}

static void shell__load__plays_the_source(void **state)
{
	(void)state;
	process *p = shell_start(NULL, NULL);
	const char *answer = process_ask(p, "load k v cost_ms=50");
	answer_is(answer, "OK", "\"value\":\"v\",\"source\":\"loader\"");
	assert_true(number_in(answer, "elapsed_us") >= 50000);
	ask(p, "load k w", "OK", "\"value\":\"v\",\"source\":\"l1\"");
	ask(p, "load k w refresh=1", "OK", "\"value\":\"w\",\"source\":\"loader\"");
	ask(p, "load gone v miss=1", "MISS", "\"value\":null");
	ask(p, "load broken v fail=1", "E_LOADER", "\"error\":");
	ask(p, "invalidate k", "OK", "");
	ask(p, "load k x fail=1", "STALE", "\"value\":\"w\"");
	process_end(p);
}

static void shell__stats_lease_config__are_objects_on_one_line(void **state)
{
	(void)state;
	process *p = shell_on_redis();
	ask(p, "stats", "OK", "\"stats\":{");
	ask(p, "lease", "OK", "\"lease\":{");
	ask(p, "config", "OK", "\"config\":{");
	ask(p, "version", "OK", "\"version\":\"");
	ask(p, "help", "OK", "\"help\":\"");
	ask(p, "sleep 1", "OK", "\"op\":\"sleep\",\"key\":null");
	process_end(p);
}

static void shell__quit__answers_and_ends(void **state)
{
	(void)state;
	process *p = shell_start(NULL, NULL);
	ask(p, "quit", "OK", "\"op\":\"quit\"");
	assert_null(process_line(p));
	assert_int_equal(process_end(p), 0);
}

/* ------------------------------------------------------------- hostile */

static void shell__a_bad_line__is_refused_and_the_shell_goes_on(void **state)
{
	(void)state;
	static const char *const bad[][2] = {
		{ "frobnicate k", "there is no command 'frobnicate'" },
		{ "get", "usage: get KEY" },
		{ "put k", "usage: put KEY VALUE" },
		{ "get k extra", "options are written name=value" },
		{ "get k ttl_ms=5", "get takes: stale_ok" },
		{ "put k v ttl_ms=abc", "should be milliseconds above 0" },
		{ "put k v ttl_ms=0", "should be milliseconds above 0" },
		{ "put k v ttl_ms=99999999999999999999", "should be milliseconds" },
		{ "put k v ttl_ms=-1", "should be milliseconds" },
		{ "put k v tags=a,,b", "should be up to 16 tags" },
		{ "get k stale_ok=2", "should be 0 or 1" },
		{ "put \"k", "does not end" },
		{ "put \"k\"v w", "blank must follow" },
		{ "sleep soon", "should be milliseconds" },
		{ "shell", "not inside a shell" },
		{ "\xff\xfe k", "there is no command" },
		{ "touch k never", "should be milliseconds" },
		{ "get \"\"", "argument is outside its range" },
	};
	process *p = shell_start(NULL, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ask(p, bad[i][0], "E_USAGE", bad[i][1]);
	ask(p, "put k v", "OK", "");
	ask(p, "get k", "OK", "\"value\":\"v\"");
	assert_int_equal(process_end(p), 0);
}

static void shell__empty_lines_and_comments__are_passed_over(void **state)
{
	(void)state;
	process *p = shell_start(NULL, NULL);
	ask(p, "\n   \n# a comment \"\n\r\nget k\r", "MISS", "\"key\":\"k\"");
	process_write(p, "get last", 8); /* no newline behind it */
	assert_int_equal(process_end(p), 0);
}

static void shell__values_of_any_bytes__come_back(void **state)
{
	(void)state;
	process *p = shell_on_redis();
	ask(p, "put bin \"a\\x00\\\"\\\\\\n\\u00e4\"", "OK", "");
	ask(p, "get bin", "OK", "\"value\":\"a\\u0000\\\"\\\\\\n\xc3\xa4\"");
	ask(p, "put bin \"\\xff\\xfe\\xfd\"", "OK", "");
	ask(p, "get bin", "OK", "\"value\":\"//79\",\"value_encoding\":\"base64\"");
	ask(p, "put \"k\\xff\" v", "OK", "\"key\":\"a/8=\",\"key_encoding\":\"base64\"");
	ask(p, "get \"k\\xff\"", "OK", "\"value\":\"v\"");
	ask(p, "put empty \"\"", "OK", "");
	ask(p, "get empty", "OK", "\"value\":\"\"");
	ask(p, "put json {\"id\":1,\"n\":\"x\"}", "OK", "");
	ask(p, "get json", "OK", "\"value\":\"{\\\"id\\\":1,\\\"n\\\":\\\"x\\\"}\"");
	process_end(p);
}

static void shell__a_value_of_four_megabytes__comes_back(void **state)
{
	(void)state;
	enum { SIZE = 4 << 20 };
	process *p = shell_on_redis();
	char *line = malloc(SIZE + 16);
	assert_non_null(line);
	memcpy(line, "put big ", 8);
	for (size_t i = 0; i < SIZE; i++)
		line[8 + i] = (char)('a' + i % 26);
	line[8 + SIZE] = '\0';
	ask(p, line, "OK", "");
	line[7] = '"';
	line[8 + SIZE] = '"';
	line[9 + SIZE] = '\0';
	const char *answer = process_ask(p, "get big deadline_ms=5000");
	assert_non_null(strstr(answer, line + 7));
	free(line);
	process_end(p);
}

static void shell__a_key_or_value_past_its_limit__is_refused(void **state)
{
	(void)state;
	process *p = shell_start(NULL, "NEARCACHE_VALUE_MAX=1000");
	char line[2200] = "put k ";
	memset(line + 6, 'v', 1001);
	ask(p, line, "E_TOO_LARGE", "\"error\":");
	line[6 + 1000] = '\0';
	ask(p, line, "OK", "");
	memset(line, 0, sizeof(line));
	memcpy(line, "get ", 4);
	memset(line + 4, 'k', 1025);
	ask(p, line, "E_USAGE", "\"error\":");
	line[4 + 1024] = '\0';
	ask(p, line, "MISS", "");
	process_end(p);
}

/* Lines of random bytes: each that is not blank nor a comment has one answer, which is JSON; and the shell goes on. */
static void shell__random_lines__are_answered_one_by_one(void **state)
{
	(void)state;
	static const char *const starts[] = { "", "get ", "put ", "put k ", "load k v ", "put \"", "put k \"", "tags=", "touch " };
	uint64_t seed = 7;
	process *p = shell_start(NULL, NULL);
	for (int round = 0; round < 3000; round++) {
		char line[128];
		const char *start = starts[near__random_next(&seed) % (sizeof(starts) / sizeof(starts[0]))];
		size_t size = strlen(start), more = near__random_next(&seed) % 40;
		memcpy(line, start, size);
		for (size_t i = 0; i < more; i++) {
			/* Half of them from what the shell's language is made of. */
			char c = near__random_next(&seed) % 2 == 0 ? "\"\\ux=,# \t09az"[near__random_next(&seed) % 13]
			                                           : (char)near__random_next(&seed);
			if (c != '\n')
				line[size++] = c;
		}
		line[size++] = '\n';
		/* A marker behind it shows where its answer, if any, has ended. */
		process_write(p, line, size);
		process_write(p, "get marker\n", 11);
		for (int answers = 0; ; answers++) {
			const char *answer = process_line(p);
			if (answer == NULL || answers > 1 || !json_is_valid(answer, strlen(answer)))
				fail_msg("round %d: %s", round, answer != NULL ? answer : "(ended)");
			if (strstr(answer, "\"key\":\"marker\"") != NULL)
				break;
		}
	}
	ask(p, "put k v", "OK", "");
	assert_int_equal(process_end(p), 0);
}

static int setup(void **state)
{
	(void)state;
	redis = redis_server_start(NULL);
	snprintf(redis_url, sizeof(redis_url), "NEARCACHE_REDIS_URL=%s", redis_server_url(redis));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	redis_server_free(redis);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_shells__a_put__is_seen_by_the_other),
		cmocka_unit_test(two_shells__an_invalidation__makes_the_other_miss),
		cmocka_unit_test(two_shells__a_tag__takes_all_its_values_along),
		cmocka_unit_test(two_shells__the_same_cold_load_at_once__load_once),
		cmocka_unit_test(shell__redis_killed_and_back__says_so_and_recovers),
		cmocka_unit_test(shell__without_redis__is_a_cache_of_its_own),
		cmocka_unit_test(shell__load__plays_the_source),
		cmocka_unit_test(shell__stats_lease_config__are_objects_on_one_line),
		cmocka_unit_test(shell__quit__answers_and_ends),
		cmocka_unit_test(shell__a_bad_line__is_refused_and_the_shell_goes_on),
		cmocka_unit_test(shell__empty_lines_and_comments__are_passed_over),
		cmocka_unit_test(shell__values_of_any_bytes__come_back),
		cmocka_unit_test(shell__a_value_of_four_megabytes__comes_back),
		cmocka_unit_test(shell__a_key_or_value_past_its_limit__is_refused),
		cmocka_unit_test(shell__random_lines__are_answered_one_by_one),
	};
	return cmocka_run_group_tests_name("integration/shell", tests, setup, teardown);
}
