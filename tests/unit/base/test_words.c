/* Words to numbers: what is taken, and above all what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <locale.h>
#include <string.h>
#include "base/words.h"

typedef struct number_case {
	const char *text;
	uint64_t value;
} number_case;

#define REFUSED UINT64_MAX

static void check_all(bool (*read)(const char *, uint64_t *), const number_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t out = 4711;
		bool taken = read(cases[i].text, &out);
		if (taken != (cases[i].value != REFUSED) || out != (taken ? cases[i].value : 4711))
			fail_msg("\"%s\": taken %d, %llu", cases[i].text, taken, (unsigned long long)out);
	}
}
#define CHECK_ALL(read, cases) check_all(read, cases, sizeof(cases) / sizeof(*cases))

static void word_count__strict(void **state)
{
	(void)state;
	static const number_case cases[] = {
		{ "0", 0 },        { "7", 7 },        { "18446744073709551614", UINT64_MAX - 1 }, { "007", 7 },
		{ "", REFUSED },   { " 7", REFUSED }, { "7 ", REFUSED },                          { "+7", REFUSED },
		{ "-7", REFUSED }, { "7.0", REFUSED }, { "0x7", REFUSED },                        { "7K", REFUSED },
		{ "18446744073709551616", REFUSED },  { "99999999999999999999999", REFUSED },     { "seven", REFUSED },
	};
	CHECK_ALL(near__word_count, cases);
}

static void word_size__powers_of_1024_in_any_case(void **state)
{
	(void)state;
	static const number_case cases[] = {
		{ "0", 0 },
		{ "100", 100 },
		{ "100B", 100 },
		{ "1K", 1024 },
		{ "1k", 1024 },
		{ "1KB", 1024 },
		{ "1KiB", 1024 },
		{ "64M", 64 << 20 },
		{ "64mib", 64 << 20 },
		{ "2G", UINT64_C(2) << 30 },
		{ "3TB", UINT64_C(3) << 40 },
		{ "16777215T", UINT64_C(16777215) << 40 },
		{ "16777216T", REFUSED },
		{ "1P", REFUSED },
		{ "1.5G", REFUSED },
		{ "1 G", REFUSED },
		{ "G", REFUSED },
		{ "-1G", REFUSED },
		{ "1KK", REFUSED },
		{ "1Ki", REFUSED },
		{ "", REFUSED },
	};
	CHECK_ALL(near__word_size, cases);
}

static void word_millis__units_in_small_letters(void **state)
{
	(void)state;
	static const number_case cases[] = {
		{ "0", 0 },        { "250", 250 },      { "250ms", 250 },  { "5s", 5000 },      { "2m", 120000 },
		{ "1h", 3600000 }, { "30d", 2592000000 }, { "5M", REFUSED }, { "5 s", REFUSED },  { "1.5s", REFUSED },
		{ "s", REFUSED },  { "", REFUSED },     { "-1s", REFUSED }, { "1w", REFUSED },   { "1us", REFUSED },
		{ "999999999999999999d", REFUSED },
	};
	CHECK_ALL(near__word_millis, cases);
}

static void word_flag_and_evict__their_words_only(void **state)
{
	(void)state;
	static const number_case flags[] = {
		{ "0", 0 },   { "1", 1 },    { "no", 0 },        { "YES", 1 },  { "off", 0 },
		{ "On", 1 },  { "false", 0 }, { "true", 1 },     { "", REFUSED }, { "2", REFUSED },
		{ "y", REFUSED }, { "yes ", REFUSED },
	};
	CHECK_ALL(near__word_flag, flags);
	static const number_case evicts[] = {
		{ "objects", 0 }, { "balanced", 1 }, { "bytes", 2 }, { "Bytes", 2 }, { "lru", REFUSED }, { "1", REFUSED }, { "", REFUSED },
	};
	CHECK_ALL(near__word_evict, evicts);
	for (uint64_t i = 0; i < 3; i++) {
		uint64_t back = 9;
		assert_true(near__word_evict(near__evict_word(i), &back));
		assert_int_equal(back, i);
	}
}

static void word_real__plain_decimals_in_every_locale(void **state)
{
	(void)state;
	double n = 0;
	(void)setlocale(LC_ALL, "de_DE.UTF-8"); /* where it exists, strtod would want a comma */
	assert_true(near__word_real("0.1", &n) && n == 0.1);
	assert_true(near__word_real("12.25", &n) && n == 12.25);
	assert_true(near__word_real("5", &n) && n == 5);
	assert_true(near__word_real("0.000000000000001", &n) == false); /* 16 digits */
	static const char *const refused[] = { "", ".5", "5.", "1,5", "-1", "+1", "1e3", "nan", "inf", "0x1", "1.2.3", " 1", "1 " };
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		assert_false(near__word_real(refused[i], &n));
	assert_true(n == 5);
	(void)setlocale(LC_ALL, "C");
}

static void word_url_shown__never_with_a_password(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "redis://host:6379/1", "redis://host:6379/1" },
		{ "redis://user@host", "redis://user@host" },
		{ "redis://user:secret@host:1/2", "redis://user:***@host:1/2" },
		{ "redis://:secret@host", "redis://:***@host" },
		{ "redis://user:sec@ret/with:all@host:1", "redis://user:***@host:1" },
		{ "redis://a:secret@h1,redis://b:secret@h2", "redis://a:***@h2" },
		{ "user:secret@host", "user:***@host" },
		{ "user:secret@host?x=redis://", "user:***@host?x=redis://" },
		{ "unix:///run/redis.sock", "unix:///run/redis.sock" },
		{ "", "" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char shown[200];
		near__word_url_shown(cases[i][0], shown, sizeof(shown));
		assert_string_equal(shown, cases[i][1]);
		assert_null(strstr(shown, "secret"));
	}
	char little[12];
	near__word_url_shown("redis://user:secret@host", little, sizeof(little));
	assert_string_equal(little, "redis://use");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(word_count__strict),
		cmocka_unit_test(word_size__powers_of_1024_in_any_case),
		cmocka_unit_test(word_millis__units_in_small_letters),
		cmocka_unit_test(word_flag_and_evict__their_words_only),
		cmocka_unit_test(word_real__plain_decimals_in_every_locale),
		cmocka_unit_test(word_url_shown__never_with_a_password),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
