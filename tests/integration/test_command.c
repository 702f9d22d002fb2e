/* One command at a time: what it prints, and how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "support/process.h"
#include "support/redis_server.h"

#define PROGRAM NEARCACHE_BINARY_DIR "/bin/nearcache"

static redis_server *redis;
static char redis_url[160];

/* Runs it, expects this exit status, and gives what it printed, the caller's to free. */
static char *run(int expected, const char *setting, const char *input, const char *const words[])
{
	const char *argv[16] = { PROGRAM };
	const char *const environment[] = { setting, NULL };
	size_t n = 1;
	for (; words[n - 1] != NULL; n++)
		argv[n] = words[n - 1];
	argv[n] = NULL;
	char *output;
	int status = process_run(argv, setting != NULL ? environment : NULL, input, true, &output);
	if (status != expected)
		fail_msg("%s ended with %d, not %d: %s", words[0], status, expected, output);
	return output;
}
#define RUN(expected, setting, input, ...) run(expected, setting, input, (const char *const[]){ __VA_ARGS__, NULL })

static void prints(char *output, const char *expected)
{
	assert_string_equal(output, expected);
	free(output);
}

static void says(char *output, const char *part)
{
	if (strstr(output, part) == NULL)
		fail_msg("'%s' is missing in: %s", part, output);
	free(output);
}

static void command__put_get_invalidate__work_across_processes(void **state)
{
	(void)state;
	prints(RUN(0, redis_url, NULL, "put", "k", "a value", "ttl_ms=60000"), "OK\n");
	prints(RUN(0, redis_url, NULL, "get", "k"), "a value\n");
	prints(RUN(0, redis_url, NULL, "--raw", "get", "k"), "a value");
	says(RUN(0, redis_url, NULL, "ttl", "k"), " ms\n");
	says(RUN(0, redis_url, NULL, "--json", "get", "k"), "\"value\":\"a value\",\"source\":\"l2\"");
	says(RUN(0, redis_url, NULL, "--json", "--base64", "get", "k"), "\"value\":\"YSB2YWx1ZQ==\"");
	prints(RUN(0, redis_url, NULL, "load", "k", "other"), "a value\n");
	prints(RUN(0, redis_url, NULL, "invalidate", "k"), "OK\n");
	prints(RUN(1, redis_url, NULL, "get", "k"), "MISS\n");
	prints(RUN(0, redis_url, NULL, "load", "k", "other"), "other\n");
	prints(RUN(0, redis_url, NULL, "remove", "k"), "OK\n");
	prints(RUN(1, redis_url, NULL, "exists", "k"), "MISS\n");
}

static void command__a_value_of_minus__is_read_from_standard_input(void **state)
{
	(void)state;
	prints(RUN(0, redis_url, "from\nstdin", "put", "in", "-"), "OK\n");
	prints(RUN(0, redis_url, NULL, "--raw", "get", "in"), "from\nstdin");
}

static void command__a_wrong_line__ends_with_2(void **state)
{
	(void)state;
	says(RUN(2, redis_url, NULL, "frobnicate"), "there is no command 'frobnicate'");
	says(RUN(2, redis_url, NULL, "get"), "usage: get KEY");
	says(RUN(2, redis_url, NULL, "get", "k", "--nonsense"), "there is no flag '--nonsense'");
	says(RUN(2, redis_url, NULL, "put", "k", "v", "ttl_ms=x"), "should be milliseconds");
	says(RUN(2, redis_url, NULL, "--wait", "soon", "ping"), "--wait wants milliseconds");
	says(RUN(2, redis_url, NULL, "quit"), "only inside a shell");
	says(RUN(2, redis_url, NULL, "get", ""), "E_USAGE");
	says(RUN(2, redis_url, NULL, "help", "nothing"), "no command or topic 'nothing'");
}

static void command__a_bad_setting__ends_with_3_and_names_it(void **state)
{
	(void)state;
	char *output = RUN(3, "NEARCACHE_MEMORY=lots", NULL, "ping");
	assert_non_null(strstr(output, "NEARCACHE_MEMORY"));
	says(output, "lots");
	says(RUN(3, "NEARCACHE_REDIS_URL=gopher://x", NULL, "ping"), "NEARCACHE_REDIS_URL");
}

static void command__redis_away__ends_with_4(void **state)
{
	(void)state;
	const char *away = "NEARCACHE_REDIS_URL=unix:///nonexistent/redis.sock";
	says(RUN(4, away, NULL, "--wait", "100", "get", "k"), "Redis did not answer within 100 ms");
	says(RUN(4, away, NULL, "--wait", "100", "ping", "deadline_ms=100"), "E_");
	says(RUN(4, away, NULL, "--wait", "100", "put", "k", "v"), "no other process learns of it");
	says(RUN(4, away, NULL, "--wait", "100", "invalidate", "k"), "QUEUED");
	says(RUN(0, away, NULL, "--wait", "100", "load", "k", "v"), "v\n");
}

static void command__ping__says_whether_redis_answers(void **state)
{
	(void)state;
	prints(RUN(0, redis_url, NULL, "ping"), "OK\n");
	says(RUN(0, redis_url, NULL, "--json", "ping"), "\"op\":\"ping\",\"key\":null,\"status\":\"OK\"");
}

/* Every option of the library, with the source that set it. */
static void command__config__shows_every_option(void **state)
{
	(void)state;
	static const char *const variables[] = {
#define NEAR_OPTION(kind, field, env, def, least, most, unit, sentence) env,
#include <nearcache/options.def>
#undef NEAR_OPTION
	};
	char *output = RUN(0, "NEARCACHE_LEASE_MS=750", NULL, "config");
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if (strstr(output, variables[i]) == NULL)
			fail_msg("%s is missing", variables[i]);
	const char *lease = strstr(output, "NEARCACHE_LEASE_MS");
	char *line = strndup(lease, strcspn(lease, "\n"));
	assert_non_null(strstr(line, "750"));
	assert_non_null(strstr(line, "environment"));
	free(line);
	says(output, "ACL SETUSER");
	output = RUN(0, "NEARCACHE_LEASE_MS=750", NULL, "--json", "config");
	assert_true(json_is_valid(output, strlen(output)));
	free(output);
}

/* The password of the URL is nobody's business. */
static void command__config__hides_the_password(void **state)
{
	(void)state;
	char *output = RUN(0, "NEARCACHE_REDIS_URL=redis://bob:topsecret@127.0.0.1:1/0", NULL, "config");
	assert_null(strstr(output, "topsecret"));
	says(output, "bob");
}

static void command__stats__has_three_forms(void **state)
{
	(void)state;
	says(RUN(0, redis_url, NULL, "stats"), "l1_hits");
	says(RUN(0, redis_url, NULL, "--prometheus", "stats"), "# TYPE ");
	char *output = RUN(0, redis_url, NULL, "--json", "stats");
	assert_true(json_is_valid(output, strlen(output)));
	says(output, "\"stats\":{");
}

static void command__help__teaches_every_command(void **state)
{
	(void)state;
	static const char *const names[] = { "get", "put", "invalidate", "remove", "load", "stats", "config", "ping", "shell",
		                             "version" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *all = RUN(0, NULL, NULL, "--help");
		says(all, names[i]);
		says(RUN(0, NULL, NULL, "help", names[i]), names[i]);
		says(RUN(0, NULL, NULL, names[i], "--help"), names[i]);
	}
	says(RUN(0, NULL, NULL, "help", "shell"), "elapsed_us");
	says(RUN(0, NULL, NULL, "help", "exit"), "E_UNAVAILABLE");
	says(RUN(0, NULL, NULL, "--version"), "nearcache 0.");
	says(RUN(0, NULL, NULL, "version"), "nearcache 0.");
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
		cmocka_unit_test(command__put_get_invalidate__work_across_processes),
		cmocka_unit_test(command__a_value_of_minus__is_read_from_standard_input),
		cmocka_unit_test(command__a_wrong_line__ends_with_2),
		cmocka_unit_test(command__a_bad_setting__ends_with_3_and_names_it),
		cmocka_unit_test(command__redis_away__ends_with_4),
		cmocka_unit_test(command__ping__says_whether_redis_answers),
		cmocka_unit_test(command__config__shows_every_option),
		cmocka_unit_test(command__config__hides_the_password),
		cmocka_unit_test(command__stats__has_three_forms),
		cmocka_unit_test(command__help__teaches_every_command),
	};
	return cmocka_run_group_tests_name("integration/command", tests, setup, teardown);
}
