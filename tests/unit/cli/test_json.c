/* The command's JSON: what a string of any bytes becomes, and the little that is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "json.h"

static void expect_json(const char *bytes, size_t size, const char *expected)
{
	text out = { 0 };
	json_string(&out, bytes, size);
	assert_string_equal(out.bytes, expected);
	text_free(&out);
}

static void string__special_characters__are_escaped(void **state)
{
	(void)state;
	expect_json("", 0, "\"\"");
	expect_json("plain", 5, "\"plain\"");
	expect_json("\"\\/", 3, "\"\\\"\\\\/\"");
	expect_json("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
	expect_json("a\0b\x1f\x7f", 5, "\"a\\u0000b\\u001f\\u007f\"");
	expect_json("\xc3\xa4\xf0\x9f\x98\x80", 6, "\"\xc3\xa4\xf0\x9f\x98\x80\"");
}

/* The boundaries of RFC 3629, section 4. */
static void utf8__of_the_rfc__is_valid_and_nothing_else(void **state)
{
	(void)state;
	static const char *const good[] = { "", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
		                            "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf" };
	static const char *const bad[] = { "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x7f", "\xc2\xc0", "\xe0\x9f\xbf",
		                           "\xed\xa0\x80", "\xed\xbf\xbf", "\xe2\x82", "\xe2\x82\x7f", "\xf0\x8f\xbf\xbf",
		                           "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xf0\x9f\x98", "a\xff" };
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(utf8_valid(good[i], strlen(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(utf8_valid(bad[i], strlen(bad[i])));
	assert_true(utf8_valid("a\0b", 3));
}

/* The vectors of RFC 4648, section 10. */
static void base64__of_the_rfc__matches(void **state)
{
	(void)state;
	static const char *const pairs[][2] = { { "", "\"\"" },
		                                { "f", "\"Zg==\"" },
		                                { "fo", "\"Zm8=\"" },
		                                { "foo", "\"Zm9v\"" },
		                                { "foob", "\"Zm9vYg==\"" },
		                                { "fooba", "\"Zm9vYmE=\"" },
		                                { "foobar", "\"Zm9vYmFy\"" },
		                                { "\xff\xfe\xfd", "\"//79\"" } };
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		text out = { 0 };
		json_base64(&out, pairs[i][0], strlen(pairs[i][0]));
		assert_string_equal(out.bytes, pairs[i][1]);
		text_free(&out);
	}
}

static void expect_member_json(const char *bytes, size_t size, bool base64, const char *expected)
{
	text out = { 0 };
	json_member(&out, "value", bytes, size, base64);
	assert_string_equal(out.bytes, expected);
	text_free(&out);
}

static void member__of_any_bytes__says_how_it_is_written(void **state)
{
	(void)state;
	expect_member_json(NULL, 0, false, ",\"value\":null");
	expect_member_json("", 0, false, ",\"value\":\"\"");
	expect_member_json("\xc3\xa4", 2, false, ",\"value\":\"\xc3\xa4\"");
	expect_member_json("\xff", 1, false, ",\"value\":\"/w==\",\"value_encoding\":\"base64\"");
	expect_member_json("a", 1, true, ",\"value\":\"YQ==\",\"value_encoding\":\"base64\"");
}

static void next_string__of_a_flat_object__gives_its_strings(void **state)
{
	(void)state;
	const char *json = "[ {\"i\":0, \"a\" : \"x\\n\\\"\\u0041\", \"n\":-1.5e3,\"o\":{\"b\":[\"}\"]},\"c\":\"\"} , {\"a\":\"y\"}]";
	const char *at = json + 2;
	text name = { 0 }, value = { 0 };
	assert_true(json_next_string(&at, &name, &value));
	assert_string_equal(name.bytes, "a");
	assert_string_equal(value.bytes, "x\n\"A");
	assert_true(json_next_string(&at, &name, &value));
	assert_string_equal(name.bytes, "c");
	assert_string_equal(value.bytes, "");
	assert_false(json_next_string(&at, &name, &value));
	assert_string_equal(at, " , {\"a\":\"y\"}]");
	text_free(&name);
	text_free(&value);
}

static void next_string__malformed__ends(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "{", "{\"", "{\"a\"", "{\"a\":", "{\"a\":\"", "{\"a\":\"\\", "{\"a\":\"\\u12", "{a:1}" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *at = bad[i];
		text name = { 0 }, value = { 0 };
		assert_false(json_next_string(&at, &name, &value));
		text_free(&name);
		text_free(&value);
	}
}

static void find__a_member__gives_what_follows(void **state)
{
	(void)state;
	assert_string_equal(json_find("{\"a\":1,\"b\": [2]}", "b"), "[2]}");
	assert_null(json_find("{\"a\":1}", "b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(string__special_characters__are_escaped),
		cmocka_unit_test(utf8__of_the_rfc__is_valid_and_nothing_else),
		cmocka_unit_test(base64__of_the_rfc__matches),
		cmocka_unit_test(member__of_any_bytes__says_how_it_is_written),
		cmocka_unit_test(next_string__of_a_flat_object__gives_its_strings),
		cmocka_unit_test(next_string__malformed__ends),
		cmocka_unit_test(find__a_member__gives_what_follows),
	};
	return cmocka_run_group_tests_name("cli/json", tests, NULL, NULL);
}
