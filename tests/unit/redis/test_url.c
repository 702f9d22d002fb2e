/* The URL of Redis: what is understood, what is refused and in which words, and that no password ever shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "redis/url.h"

static near__url parse(const char *text)
{
	near__url url;
	near_error error = { "" };
	if (near__url_parse(text, &url, &error) != NEAR_OK)
		fail_msg("%s: %s", text, error.text);
	return url;
}

static void expect_refused(const char *text, const char *words)
{
	near__url url;
	near_error error = { "" };
	memset(&url, 0x5a, sizeof(url));
	near__url before = url;
	assert_int_equal(near__url_parse(text, &url, &error), NEAR_E_CONFIG);
	if (strstr(error.text, words) == NULL)
		fail_msg("%s: \"%s\" does not say \"%s\"", text, error.text, words);
	assert_memory_equal(&url, &before, sizeof(url)); /* written on success only */
	assert_int_equal(near__url_parse(text, &url, NULL), NEAR_E_CONFIG);
}

static void url_parse__host_alone__gets_port_and_db_by_default(void **state)
{
	(void)state;
	near__url url = parse("redis://cache.example.org");
	assert_string_equal(url.host, "cache.example.org");
	assert_int_equal(url.port, 6379);
	assert_int_equal(url.db, 0);
	assert_string_equal(url.user, "");
	assert_string_equal(url.password, "");
	assert_false(url.is_unix);
	assert_string_equal(parse("REDIS://h/").host, "h");
	assert_int_equal(parse("redis://h:1").port, 1);
	assert_int_equal(parse("redis://h:65535/15").port, 65535);
	assert_int_equal(parse("redis://h:65535/15").db, 15);
	assert_int_equal(parse("redis://h?db=65535").db, 65535);
}

static void url_parse__userinfo__is_decoded_after_the_cut(void **state)
{
	(void)state;
	near__url url = parse("redis://al%40ice:p%3Aw%2f%25@h:7/2");
	assert_string_equal(url.user, "al@ice");
	assert_string_equal(url.password, "p:w/%");
	assert_string_equal(url.host, "h");
	assert_int_equal(url.port, 7);
	url = parse("redis://:secret@h");
	assert_string_equal(url.user, "");
	assert_string_equal(url.password, "secret");
	url = parse("redis://alice@h");
	assert_string_equal(url.user, "alice");
	assert_string_equal(url.password, "");
	/* The last '@' ends it, the first ':' splits it. */
	url = parse("redis://u:p@w:d@h");
	assert_string_equal(url.user, "u");
	assert_string_equal(url.password, "p@w:d");
	url = parse("redis://u:a,b@h");
	assert_string_equal(url.password, "a,b");
}

static void url_parse__ipv6__stands_in_brackets(void **state)
{
	(void)state;
	near__url url = parse("redis://[::1]:7000/1");
	assert_string_equal(url.host, "::1");
	assert_int_equal(url.port, 7000);
	assert_string_equal(parse("redis://[fe80::1%25eth0]").host, "fe80::1%eth0");
	expect_refused("redis://::1:6379", "port");
	expect_refused("redis://[::1", "bracket");
	expect_refused("redis://[localhost]", "not an IPv6 address");
	expect_refused("redis://[]", "host is missing");
	expect_refused("redis://[::1]x", "neither");
}

static void url_parse__unix__takes_path_and_db(void **state)
{
	(void)state;
	near__url url = parse("unix:///run/redis/redis.sock");
	assert_true(url.is_unix);
	assert_string_equal(url.host, "/run/redis/redis.sock");
	assert_int_equal(url.db, 0);
	url = parse("unix:///tmp/a%20b%3f?db=9");
	assert_string_equal(url.host, "/tmp/a b?");
	assert_int_equal(url.db, 9);
	url = parse("unix://alice:pw@/tmp/s@x");
	assert_string_equal(url.user, "alice");
	assert_string_equal(url.password, "pw");
	assert_string_equal(url.host, "/tmp/s@x");
	assert_string_equal(parse("unix://relative.sock").host, "relative.sock");
	expect_refused("unix://", "path is missing");
	expect_refused("unix://?db=1", "path is missing");
}

static void url_parse__path_of_a_socket__has_at_most_107_bytes(void **state)
{
	(void)state;
	char text[200] = "unix://";
	memset(text + 7, 'p', 107);
	assert_int_equal(strlen(parse(text).host), 107);
	memset(text + 7, 'p', 108);
	expect_refused(text, "at most 107 bytes");
}

static void url_parse__what_this_build_lacks__is_named(void **state)
{
	(void)state;
	expect_refused("rediss://h:6379", "TLS");
	expect_refused("sentinel://h:26379/mymaster", "sentinel");
	expect_refused("redis://a:6379,b:6379", "Cluster");
}

static void url_parse__malformed__is_refused_with_words(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "", "begin with redis://" },
		{ "localhost:6379", "begin with redis://" },
		{ "http://h", "begin with redis://" },
		{ "://h", "begin with redis://" },
		{ "redis://", "host is missing" },
		{ "redis:///0", "host is missing" },
		{ "redis://:6379", "host is missing" },
		{ "redis://u:p@", "host is missing" },
		{ "redis://h:", "port" },
		{ "redis://h:0", "port" },
		{ "redis://h:65536", "port" },
		{ "redis://h:99999999999999999999", "port" },
		{ "redis://h:+1", "port" },
		{ "redis://h: 1", "port" },
		{ "redis://h:12x", "port" },
		{ "redis://h/x", "database" },
		{ "redis://h/-1", "database" },
		{ "redis://h/65536", "database" },
		{ "redis://h/0/1", "database" },
		{ "redis://h?db=", "database" },
		{ "redis://h?dbx=1", "db=N" },
		{ "redis://h#x", "neither" },
		{ "redis://h/0#x", "neither" },
		{ "redis://h o", "character" },
		{ "redis://h%00", "zero byte" },
		{ "redis://u%00:p@h", "zero byte" },
		{ "redis://u:%4@h", "hex digits" },
		{ "redis://u:%@h", "hex digits" },
		{ "redis://u:%zz@h", "hex digits" },
		{ "unix:///a?x=1", "db=N" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_refused(cases[i][0], cases[i][1]);
}

static void url_parse__too_long__is_refused(void **state)
{
	(void)state;
	char text[2000];
	(void)snprintf(text, sizeof(text), "redis://%0300d", 7);
	expect_refused(text, "longer than 255");
	(void)snprintf(text, sizeof(text), "redis://%0200d@h", 7);
	expect_refused(text, "longer than 127");
	(void)snprintf(text, sizeof(text), "redis://u:%0600d@h", 7);
	expect_refused(text, "longer than 511");
}

static void url_errors_and_show__never_hold_the_password(void **state)
{
	(void)state;
	static const char *const texts[] = { "redis://u:hunter2@h:x", "redis://u:hunter2@h/x", "redis://u:hunter2@",
		                             "redis://u:hunter2%@h",  "redis://u:hunter2@a,b", "unix://u:hunter2@/s?x",
		                             "redis://u:hunter2@[x]", "redis://u:hunter2@h o" };
	char shown[600];
	near__url url;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		near_error error = { "" };
		assert_int_equal(near__url_parse(texts[i], &url, &error), NEAR_E_CONFIG);
		assert_null(strstr(error.text, "hunter2"));
	}
	url = parse("redis://u:hunter2@h:1/2");
	near__url_show(&url, shown, sizeof(shown));
	assert_string_equal(shown, "redis://u:***@h:1/2");
	url = parse("redis://:hunter2@[::1]");
	near__url_show(&url, shown, sizeof(shown));
	assert_string_equal(shown, "redis://:***@[::1]:6379/0");
	url = parse("redis://u@h");
	near__url_show(&url, shown, sizeof(shown));
	assert_string_equal(shown, "redis://u@h:6379/0");
	url = parse("unix:///s?db=4");
	near__url_show(&url, shown, sizeof(shown));
	assert_string_equal(shown, "unix:///s?db=4");
	near__url_show(&url, shown, 6);
	assert_string_equal(shown, "unix:");
	near__url_show(&url, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(url_parse__host_alone__gets_port_and_db_by_default),
		cmocka_unit_test(url_parse__userinfo__is_decoded_after_the_cut),
		cmocka_unit_test(url_parse__ipv6__stands_in_brackets),
		cmocka_unit_test(url_parse__unix__takes_path_and_db),
		cmocka_unit_test(url_parse__path_of_a_socket__has_at_most_107_bytes),
		cmocka_unit_test(url_parse__what_this_build_lacks__is_named),
		cmocka_unit_test(url_parse__malformed__is_refused_with_words),
		cmocka_unit_test(url_parse__too_long__is_refused),
		cmocka_unit_test(url_errors_and_show__never_hold_the_password),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
