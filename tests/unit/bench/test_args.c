/* Arguments of nearbench: what is accepted, and that everything else is refused with a sentence and without effect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "args.h"

typedef struct values {
	uint64_t items, memory;
	double fraction;
	const char *name;
	unsigned engine;
	bool pin;
} values;

#define ENTRY(n, k, to, lo, hi, list) {n, k, to, lo, hi, list, "V", "help", false}
#define TABLE(v) \
	{ \
		ENTRY("items", BENCH_ARG_COUNT, &(v).items, 1, 5000000, NULL), \
		ENTRY("memory", BENCH_ARG_SIZE, &(v).memory, 16777216, 1e12, NULL), \
		ENTRY("fraction", BENCH_ARG_REAL, &(v).fraction, 0, 1, NULL), \
		ENTRY("name", BENCH_ARG_TEXT, &(v).name, 0, 0, NULL), \
		ENTRY("engine", BENCH_ARG_CHOICE, &(v).engine, 0, 0, "near|bare|mutex"), \
		ENTRY("pin", BENCH_ARG_FLAG, &(v).pin, 0, 0, NULL), \
		{.name = NULL}, \
	}

static void parse__both_forms__set_the_values(void **state)
{
	(void)state;
	values v = {.items = 7};
	bench_arg table[] = TABLE(v);
	bench_args_error error;
	char *argv[] = {"--items", "5M", "--memory=64MiB", "--fraction", "0.25", "--name=a=b", "--engine", "mutex", "--pin"};
	assert_true(bench_args_parse(table, 9, argv, &error));
	assert_int_equal(v.items, 5000000);
	assert_int_equal(v.memory, 64 << 20);
	assert_true(v.fraction == 0.25);
	assert_string_equal(v.name, "a=b");
	assert_int_equal(v.engine, 2);
	assert_true(v.pin);
	assert_true(bench_args_given(table, "pin"));
}

static void parse__nothing_given__keeps_defaults(void **state)
{
	(void)state;
	values v = {.items = 7};
	bench_arg table[] = TABLE(v);
	bench_args_error error;
	assert_true(bench_args_parse(table, 0, NULL, &error));
	assert_int_equal(v.items, 7);
	assert_false(bench_args_given(table, "items"));
}

static void refused(char *first, char *second, const char *says)
{
	values v = {.items = 7, .memory = 99, .fraction = 0.5, .name = "n", .engine = 1};
	bench_arg table[] = TABLE(v);
	bench_args_error error = {""};
	char *argv[] = {first, second};
	if (bench_args_parse(table, second == NULL ? 1 : 2, argv, &error))
		fail_msg("%s %s was accepted", first, second == NULL ? "" : second);
	if (strstr(error.text, says) == NULL)
		fail_msg("%s %s: \"%s\" does not say \"%s\"", first, second == NULL ? "" : second, error.text, says);
	assert_int_equal(v.items, 7);
	assert_int_equal(v.memory, 99);
	assert_true(v.fraction == 0.5);
	assert_int_equal(v.engine, 1);
	assert_false(v.pin);
}

static void parse__anything_else__is_refused_with_a_sentence(void **state)
{
	(void)state;
	refused("--item", "5", "did you mean --items");
	refused("--xyzzy", "5", "no option --xyzzy");
	refused("items", NULL, "'items' is not an option");
	refused("--", NULL, "not an option");
	refused("-items", NULL, "not an option");
	refused("--items", NULL, "needs a value");
	refused("--items", "0", "from 1 to 5000000");
	refused("--items", "5000001", "from 1 to 5000000");
	refused("--items", "-1", "whole number");
	refused("--items", "1.5", "whole number");
	refused("--items", "5Mi", "whole number");
	refused("--items", " 5", "whole number");
	refused("--items=", NULL, "whole number");
	refused("--memory", "1M", "from 16M");
	refused("--memory", "64MB", "size in bytes");
	refused("--fraction", "nan", "a number");
	refused("--fraction", "0.5x", "a number");
	refused("--fraction", "1.01", "from 0 to 1");
	refused("--engine", "nea", "near|bare|mutex");
	refused("--engine", "near|bare", "near|bare|mutex");
	refused("--pin=1", NULL, "takes no value");
	refused("--name=", NULL, "empty");
}

static void parse__an_option_twice__is_refused(void **state)
{
	(void)state;
	values v = {.items = 7};
	bench_arg table[] = TABLE(v);
	bench_args_error error;
	char *argv[] = {"--items", "5", "--items=6"};
	assert_false(bench_args_parse(table, 3, argv, &error));
	assert_non_null(strstr(error.text, "twice"));
}

static void parse_count__edges(void **state)
{
	(void)state;
	uint64_t v = 1;
	assert_true(bench_parse_count("18446744073709551615", &v));
	assert_true(v == UINT64_MAX);
	assert_true(bench_parse_count("5_000_000", &v));
	assert_int_equal(v, 5000000);
	assert_true(bench_parse_count("2k", &v));
	assert_int_equal(v, 2000);
	const char *const bad[] = {"18446744073709551616", "18446744073709552k", "", "_5", "5_", "5__0", "k",
	                           "5kk", "0x10", "+5"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		v = 1;
		assert_false(bench_parse_count(bad[i], &v));
		assert_int_equal(v, 1);
	}
}

static void parse_size__powers_of_1024(void **state)
{
	(void)state;
	uint64_t v;
	assert_true(bench_parse_size("3G", &v));
	assert_true(v == UINT64_C(3) << 30);
	assert_true(bench_parse_size("1kib", &v));
	assert_int_equal(v, 1024);
	assert_true(bench_parse_size("16777215T", &v));
	assert_false(bench_parse_size("16777216T", &v));
	assert_false(bench_parse_size("5iB", &v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse__both_forms__set_the_values),
		cmocka_unit_test(parse__nothing_given__keeps_defaults),
		cmocka_unit_test(parse__anything_else__is_refused_with_a_sentence),
		cmocka_unit_test(parse__an_option_twice__is_refused),
		cmocka_unit_test(parse_count__edges),
		cmocka_unit_test(parse_size__powers_of_1024),
	};
	return cmocka_run_group_tests_name("bench/args", tests, NULL, NULL);
}
