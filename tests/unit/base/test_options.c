/* Settings from defaults, program and environment; errors that say what would be right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/options.h"

static int clean_environment(void **state)
{
	(void)state;
#define NEAR_OPTION(kind, field, env, def, least, most, unit, sentence) (void)unsetenv(env);
#include <nearcache/options.def>
#undef NEAR_OPTION
	return 0;
}

static near__settings settings;
static near_error error;

static near_status make(const near_options *program)
{
	memset(&error, 0, sizeof(error));
	return near__settings_make(program, &settings, &error);
}

static void expect_ok(const near_options *program)
{
	near_status status = make(program);
	if (status != NEAR_OK)
		fail_msg("%s", error.text);
}

/* The error holds all of these words. */
static void expect_error(const near_options *program, const char *const *words)
{
	assert_int_equal(make(program), NEAR_E_CONFIG);
	for (; *words != NULL; words++)
		if (strstr(error.text, *words) == NULL)
			fail_msg("\"%s\" is not in: %s", *words, error.text);
}
#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void settings_make__nothing_given__has_the_defaults(void **state)
{
	(void)state;
	expect_ok(NULL);
	assert_int_equal(settings.o.memory_bytes, 268435456);
	assert_string_equal(settings.o.redis_url, "");
	assert_string_equal(settings.o.name_space, "near");
	assert_true(settings.o.beta == 1.0);
	for (unsigned i = 0; i < NEAR__OPT_COUNT; i++)
		assert_int_equal(settings.source[i], NEAR__BY_DEFAULT);
	near__settings_free(&settings);
}

static void settings_make__program_and_environment__the_environment_wins(void **state)
{
	(void)state;
	near_options o;
	near_options_init(&o);
	char name[] = "prod";
	o.name_space = name;
	o.memory_bytes = 64 << 20;
	o.lease_ms = 2000;
	o.beta = 2.5;
	setenv("NEARCACHE_MEMORY", "32M", 1);
	setenv("NEARCACHE_TTL_MS", "1m", 1);
	setenv("NEARCACHE_EVICT", "bytes", 1);
	setenv("NEARCACHE_STALE_OK", "yes", 1);
	setenv("NEARCACHE_TTL_JITTER", "12.5", 1);
	expect_ok(&o);
	name[0] = 'x'; /* ours is a copy */
	assert_string_equal(settings.o.name_space, "prod");
	assert_int_equal(settings.source[NEAR__OPT_name_space], NEAR__BY_PROGRAM);
	assert_int_equal(settings.o.memory_bytes, 32 << 20);
	assert_int_equal(settings.source[NEAR__OPT_memory_bytes], NEAR__BY_ENVIRONMENT);
	assert_int_equal(settings.o.lease_ms, 2000);
	assert_int_equal(settings.source[NEAR__OPT_lease_ms], NEAR__BY_PROGRAM);
	assert_int_equal(settings.o.ttl_ms, 60000);
	assert_int_equal(settings.o.evict, NEAR_EVICT_BYTES);
	assert_int_equal(settings.o.stale_ok, 1);
	assert_true(settings.o.ttl_jitter_percent == 12.5);
	assert_true(settings.o.beta == 2.5);
	assert_int_equal(settings.source[NEAR__OPT_shards], NEAR__BY_DEFAULT);
	near__settings_free(&settings);
}

static void settings_make__environment_ignored__only_the_program_counts(void **state)
{
	(void)state;
	near_options o;
	near_options_init(&o);
	o.ignore_environment = 1;
	setenv("NEARCACHE_MEMORY", "nonsense", 1);
	expect_ok(&o);
	assert_int_equal(settings.o.memory_bytes, 268435456);
	near__settings_free(&settings);
}

static void settings_make__empty_variable__empties_a_text_and_is_no_number(void **state)
{
	(void)state;
	near_options o;
	near_options_init(&o);
	o.redis_url = "redis://host";
	setenv("NEARCACHE_REDIS_URL", "", 1);
	expect_ok(&o);
	assert_string_equal(settings.o.redis_url, "");
	near__settings_free(&settings);
	setenv("NEARCACHE_LEASE_MS", "", 1);
	expect_error(&o, WORDS("NEARCACHE_LEASE_MS", "\"\"", "50 to 60000"));
}

static void settings_make__bad_variable__names_it_its_value_and_what_is_right(void **state)
{
	(void)state;
	static const char *const cases[][4] = {
		{ "NEARCACHE_MEMORY", "12Q", "\"12Q\"", "16M to 64G" },
		{ "NEARCACHE_MEMORY", "1M", "\"1M\"", "16M to 64G" },
		{ "NEARCACHE_MEMORY", "65G", "too large", "16M to 64G" },
		{ "NEARCACHE_LEASE_MS", "49", "too small", "50 to 60000" },
		{ "NEARCACHE_LEASE_MS", "-5", "\"-5\"", "50 to 60000" },
		{ "NEARCACHE_SHARDS", "many", "not a whole number", "1 to 256" },
		{ "NEARCACHE_BETA", "nan", "not a plain number", "0 to 100" },
		{ "NEARCACHE_BETA", "100.5", "too large", "0 to 100" },
		{ "NEARCACHE_STALE_OK", "maybe", "neither yes nor no", "no or yes" },
		{ "NEARCACHE_EVICT", "lru", "\"lru\"", "objects, balanced or bytes" },
		{ "NEARCACHE_NAMESPACE", "", "empty", "1 to 64" },
		{ "NEARCACHE_NAMESPACE", "a:b", "\"a:b\"", "letters, digits" },
		{ "NEARCACHE_NAMESPACE", "a~b", "\"a~b\"", "letters, digits" },
		{ "NEARCACHE_THREAD_NAME", "far-too-long", "too long", "1 to 10" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		setenv(cases[i][0], cases[i][1], 1);
		expect_error(NULL, WORDS("environment variable", cases[i][0], cases[i][2], cases[i][3]));
		unsetenv(cases[i][0]);
	}
}

static void settings_make__bad_option_of_the_program__names_it(void **state)
{
	(void)state;
	near_options o;
	near_options_init(&o);
	o.memory_bytes = 1000;
	expect_error(&o, WORDS("memory_bytes", "set by the program", "\"1000\"", "16M to 64G"));
	near_options_init(&o);
	o.beta = NAN;
	expect_error(&o, WORDS("beta", "0 to 100"));
	near_options_init(&o);
	o.evict = 3;
	expect_error(&o, WORDS("evict", "objects, balanced or bytes"));
	near_options_init(&o);
	o.ignore_environment = 2;
	expect_error(&o, WORDS("ignore_environment"));
}

static void settings_make__life_above_its_cap__names_both(void **state)
{
	(void)state;
	setenv("NEARCACHE_TTL_MAX", "1m", 1);
	setenv("NEARCACHE_TTL_MS", "5m", 1);
	expect_error(NULL, WORDS("ttl_ms", "NEARCACHE_TTL_MS", "300000 ms", "from the environment", "ttl_max_ms",
	                         "NEARCACHE_TTL_MAX", "60000 ms"));
	setenv("NEARCACHE_TTL_MS", "30s", 1);
	expect_ok(NULL);
	near__settings_free(&settings);
	setenv("NEARCACHE_NEGATIVE_TTL_MS", "2m", 1);
	expect_error(NULL, WORDS("negative_ttl_ms", "120000 ms", "ttl_max_ms"));
}

static void settings_make__a_cap_below_the_default_life__brings_the_default_down(void **state)
{
	(void)state;
	setenv("NEARCACHE_TTL_MAX", "500", 1);
	expect_ok(NULL);
	assert_int_equal(settings.o.ttl_ms, 500);
	assert_int_equal(settings.o.negative_ttl_ms, 500);
	assert_int_equal(settings.source[NEAR__OPT_ttl_ms], NEAR__BY_DEFAULT);
	near__settings_free(&settings);
}

static void settings_make__a_password__is_in_no_word(void **state)
{
	(void)state;
	char url[5000];
	memset(url, 'x', sizeof(url));
	memcpy(url, "redis://me:hunter2@host/", 24);
	url[sizeof(url) - 1] = '\0';
	setenv("NEARCACHE_REDIS_URL", url, 1);
	expect_error(NULL, WORDS("NEARCACHE_REDIS_URL", "too long", "redis://me:***@host/"));
	assert_null(strstr(error.text, "hunter2"));
	setenv("NEARCACHE_REDIS_URL", "redis://me:hunter2@host/", 1);
	expect_ok(NULL);
	assert_string_equal(settings.o.redis_url, "redis://me:hunter2@host/");
	near__option_view view;
	near__settings_view(&settings, NEAR__OPT_redis_url, &view);
	assert_string_equal(view.value, "redis://me:***@host/");
	near__settings_free(&settings);
}

/* What a program was compiled with: the fields up to and including `shards`. */
#define OLD_SIZE (offsetof(near_options, shards) + sizeof(uint64_t))

static void settings_make__an_older_shorter_struct__keeps_what_it_has_not(void **state)
{
	(void)state;
	char *old = malloc(OLD_SIZE); /* so that reading past it is seen */
	assert_non_null(old);
	near_options_init_sized((near_options *)old, OLD_SIZE);
	*(uint64_t *)(old + offsetof(near_options, shards)) = 4;
	expect_ok((near_options *)old);
	assert_int_equal(settings.o.shards, 4);
	assert_int_equal(settings.o.log_max, 10000);
	assert_string_equal(settings.o.thread_name, "near");
	near__settings_free(&settings);
	free(old);
}

static void settings_make__a_newer_longer_struct__is_taken_if_its_new_options_are_unset(void **state)
{
	(void)state;
	struct {
		near_options o;
		uint64_t later;
	} newer;
	near_options_init_sized(&newer.o, sizeof(newer));
	assert_int_equal(newer.o.struct_size, sizeof(newer));
	assert_int_equal(newer.later, 0);
	newer.o.shards = 8;
	expect_ok(&newer.o);
	assert_int_equal(settings.o.shards, 8);
	assert_int_equal(settings.o.struct_size, sizeof(near_options));
	near__settings_free(&settings);
	newer.later = 1;
	expect_error(&newer.o, WORDS("struct_size", "does not know"));
}

static void settings_make__no_struct_size__is_an_error(void **state)
{
	(void)state;
	near_options o;
	memset(&o, 0, sizeof(o));
	expect_error(&o, WORDS("struct_size is 0", "near_options_init"));
	near_options_init(&o);
	o.name_space = NULL; /* not set */
	expect_ok(&o);
	assert_string_equal(settings.o.name_space, "near");
	near__settings_free(&settings);
	assert_int_equal(near__settings_make(&o, &settings, NULL), NEAR_OK);
	near__settings_free(&settings);
	o.lease_ms = 1;
	assert_int_equal(near__settings_make(&o, &settings, NULL), NEAR_E_CONFIG);
}

static void settings_view__every_option__can_be_set_back_from_its_text(void **state)
{
	(void)state;
	expect_ok(NULL);
	for (unsigned i = 0; i < NEAR__OPT_COUNT; i++) {
		near__option_view view;
		near__settings_view(&settings, i, &view);
		assert_true(strlen(view.field) > 0 && strncmp(view.env, "NEARCACHE_", 10) == 0);
		assert_true(strlen(view.sentence) > 10 && strlen(view.range) > 0);
		assert_string_equal(view.value, view.fallback);
		setenv(view.env, view.value, 1);
	}
	near__settings second;
	assert_int_equal(near__settings_make(NULL, &second, &error), NEAR_OK);
	for (unsigned i = 0; i < NEAR__OPT_COUNT; i++) {
		near__option_view one, two;
		near__settings_view(&settings, i, &one);
		near__settings_view(&second, i, &two);
		assert_string_equal(one.value, two.value);
		assert_int_equal(two.source, NEAR__BY_ENVIRONMENT);
	}
	near__settings_free(&settings);
	near__settings_free(&second);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, clean_environment, clean_environment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(settings_make__nothing_given__has_the_defaults),
		TEST(settings_make__program_and_environment__the_environment_wins),
		TEST(settings_make__environment_ignored__only_the_program_counts),
		TEST(settings_make__empty_variable__empties_a_text_and_is_no_number),
		TEST(settings_make__bad_variable__names_it_its_value_and_what_is_right),
		TEST(settings_make__bad_option_of_the_program__names_it),
		TEST(settings_make__life_above_its_cap__names_both),
		TEST(settings_make__a_cap_below_the_default_life__brings_the_default_down),
		TEST(settings_make__a_password__is_in_no_word),
		TEST(settings_make__an_older_shorter_struct__keeps_what_it_has_not),
		TEST(settings_make__a_newer_longer_struct__is_taken_if_its_new_options_are_unset),
		TEST(settings_make__no_struct_size__is_an_error),
		TEST(settings_view__every_option__can_be_set_back_from_its_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
