/* The shell's line: what becomes a word, what a quoted string may hold, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/hash.h"
#include "words.h"

/* Splits a copy that is exactly as large as the line and its one writable byte more. */
static const char *split(const void *line, size_t size, word words[WORDS_MAX], size_t *count, char **copy)
{
	*copy = malloc(size + 1);
	assert_non_null(*copy);
	memcpy(*copy, line, size);
	(*copy)[size] = 'X';
	return words_split(*copy, size, words, count);
}

static void expect(const char *line, size_t expected_count, const char *const expected[])
{
	word words[WORDS_MAX];
	size_t count;
	char *copy;
	assert_null(split(line, strlen(line), words, &count, &copy));
	assert_int_equal(count, expected_count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(words[i].bytes, expected[i]);
		assert_int_equal(words[i].size, strlen(expected[i]));
	}
	free(copy);
}
#define EXPECT(line, ...) \
	expect(line, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), (const char *const[]){ __VA_ARGS__ })

static void expect_wrong(const char *line, const char *part)
{
	word words[WORDS_MAX];
	size_t count;
	char *copy;
	const char *wrong = split(line, strlen(line), words, &count, &copy);
	assert_non_null(wrong);
	if (strstr(wrong, part) == NULL)
		fail_msg("'%s' gives '%s'", line, wrong);
	free(copy);
}

static void split__blanks__separate_words(void **state)
{
	(void)state;
	EXPECT("get a", "get", "a");
	EXPECT("  get \t a  ", "get", "a");
	EXPECT("get", "get");
	expect("", 0, NULL);
	expect(" \t ", 0, NULL);
}

static void split__a_quoted_word__may_hold_anything(void **state)
{
	(void)state;
	EXPECT("put \"a key\" \"two words\"", "put", "a key", "two words");
	EXPECT("put \"\" x", "put", "", "x");
	EXPECT("put \"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "put", "\"\\/\b\f\n\r\t");
	EXPECT("put \"\\u0041\\u00e4\\u20ac\\ud83d\\ude00\"", "put", "A\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
	EXPECT("put \"\\x41\\xfF\"", "put", "A\xff");
}

static void split__quotes_inside_a_word__are_ordinary(void **state)
{
	(void)state;
	EXPECT("put k {\"id\":1}", "put", "k", "{\"id\":1}");
	EXPECT("put k it's", "put", "k", "it's");
	EXPECT("put k a\\nb", "put", "k", "a\\nb");
	EXPECT("put k [\"a\",\"b\"] x", "put", "k", "[\"a\",\"b\"]", "x");
}

static void split__behind_an_options_equals__may_be_quoted(void **state)
{
	(void)state;
	EXPECT("put k v tags=\"a b,c\" ttl_ms=5", "put", "k", "v", "tags=a b,c", "ttl_ms=5");
	EXPECT("put A=\"x\"", "put", "A=\"x\"");
	EXPECT("put =\"x\"", "put", "=\"x\"");
	EXPECT("put a==\"x\"", "put", "a==\"x\"");
}

static void split__any_bytes__stay_as_they_are(void **state)
{
	(void)state;
	char line[4 + 256];
	size_t size = 4, count;
	word words[WORDS_MAX];
	char *copy;
	memcpy(line, "put ", 4);
	for (int byte = 0; byte < 256; byte++)
		if (byte != ' ' && byte != '\t' && byte != '\n' && byte != '"')
			line[size++] = (char)byte;
	assert_null(split(line, size, words, &count, &copy));
	assert_int_equal(count, 2);
	assert_int_equal(words[1].size, size - 4);
	assert_memory_equal(words[1].bytes, line + 4, size - 4);
	free(copy);
}

static void split__a_nul__is_an_ordinary_byte(void **state)
{
	(void)state;
	word words[WORDS_MAX];
	size_t count;
	char *copy;
	assert_null(split("put a\0b \"\\x00\\u0000\"", 20, words, &count, &copy));
	assert_int_equal(count, 3);
	assert_int_equal(words[1].size, 3);
	assert_memory_equal(words[1].bytes, "a\0b", 3);
	assert_int_equal(words[2].size, 2);
	assert_memory_equal(words[2].bytes, "\0\0", 2);
	free(copy);
}

static void split__a_malformed_string__is_refused_in_words(void **state)
{
	(void)state;
	expect_wrong("put \"a", "does not end");
	expect_wrong("put \"a\\", "does not end");
	expect_wrong("put \"a\\\"", "does not end");
	expect_wrong("put \"a\"b", "blank must follow");
	expect_wrong("put \"\\q\"", "unknown escape");
	expect_wrong("put \"\\x4\"", "two hex digits");
	expect_wrong("put \"\\x", "two hex digits");
	expect_wrong("put \"\\u12g4\"", "four hex digits");
	expect_wrong("put \"\\ud800\"", "low one behind it");
	expect_wrong("put \"\\ud800\\u0041\"", "low one behind it");
	expect_wrong("put \"\\udc00\"", "without a high one");
}

static void split__too_many_words__is_refused(void **state)
{
	(void)state;
	char line[2 * WORDS_MAX + 2];
	word words[WORDS_MAX];
	size_t count;
	for (size_t i = 0; i <= WORDS_MAX; i++) {
		line[2 * i] = 'a';
		line[2 * i + 1] = ' ';
	}
	assert_null(words_split(line, 2 * WORDS_MAX, words, &count));
	assert_int_equal(count, WORDS_MAX);
	for (size_t i = 0; i <= WORDS_MAX; i++) {
		line[2 * i] = 'a';
		line[2 * i + 1] = ' ';
	}
	assert_string_equal(words_split(line, 2 * WORDS_MAX + 1, words, &count), "too many words");
}

/* Any bytes, written as \xNN, come back. */
static void split__random_bytes_escaped__come_back(void **state)
{
	(void)state;
	uint64_t seed = 20240817;
	for (int round = 0; round < 200; round++) {
		unsigned char bytes[64];
		char line[4 * sizeof(bytes) + 8], *at = line, *copy;
		size_t size = near__random_next(&seed) % sizeof(bytes), count;
		word words[WORDS_MAX];
		at += sprintf(at, "put \"");
		for (size_t i = 0; i < size; i++) {
			bytes[i] = (unsigned char)near__random_next(&seed);
			at += sprintf(at, "\\x%02x", bytes[i]);
		}
		at += sprintf(at, "\"");
		assert_null(split(line, (size_t)(at - line), words, &count, &copy));
		assert_int_equal(count, 2);
		assert_int_equal(words[1].size, size);
		assert_memory_equal(words[1].bytes, bytes, size);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split__blanks__separate_words),
		cmocka_unit_test(split__a_quoted_word__may_hold_anything),
		cmocka_unit_test(split__quotes_inside_a_word__are_ordinary),
		cmocka_unit_test(split__behind_an_options_equals__may_be_quoted),
		cmocka_unit_test(split__any_bytes__stay_as_they_are),
		cmocka_unit_test(split__a_nul__is_an_ordinary_byte),
		cmocka_unit_test(split__a_malformed_string__is_refused_in_words),
		cmocka_unit_test(split__too_many_words__is_refused),
		cmocka_unit_test(split__random_bytes_escaped__come_back),
	};
	return cmocka_run_group_tests_name("cli/words", tests, NULL, NULL);
}
