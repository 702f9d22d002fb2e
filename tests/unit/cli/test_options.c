/* From words to a request: what a command takes, what it makes of it, and what is said of anything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cli.h"

/* Splits and reads `line`; NULL or what is wrong (in `wrong`). The request points into `copy`. */
static const char *read_line(const char *line, request *r, text *wrong, char **copy)
{
	word words[WORDS_MAX];
	size_t count;
	*copy = malloc(strlen(line) + 1);
	assert_non_null(*copy);
	strcpy(*copy, line);
	assert_null(words_split(*copy, strlen(line), words, &count));
	return request_read(r, words, count, wrong);
}

static void release(request *r, text *wrong, char *copy)
{
	request_clear(r);
	text_free(&r->tag_bytes);
	text_free(wrong);
	free(copy);
}

static void request__with_all_options__carries_them(void **state)
{
	(void)state;
	request r = { 0 };
	text wrong = { 0 };
	char *copy;
	assert_null(read_line("load k v cost_ms=5 ttl_ms=7 stale_ms=9 version=11 tags=\"a,b c\" beta=2.5 stale_ok=1 refresh=1 "
	                      "no_l1=1 no_l2=1 deadline_ms=13 fail=1 miss=1",
	                      &r, &wrong, &copy));
	assert_string_equal(r.command->name, "load");
	assert_true(word_is(r.argument[0], "k"));
	assert_true(word_is(r.argument[1], "v"));
	assert_int_equal(r.cost_ms, 5);
	assert_int_equal(r.call.struct_size, sizeof(near_call));
	assert_int_equal(r.call.ttl_ms, 7);
	assert_int_equal(r.call.stale_ms, 9);
	assert_int_equal(r.call.version, 11);
	assert_true(r.call.beta == 2.5);
	assert_int_equal(r.call.flags, NEAR_STALE_ALLOWED | NEAR_REFRESH | NEAR_NO_L1 | NEAR_NO_L2);
	assert_int_equal(r.call.deadline_ms, 13);
	assert_int_equal(r.call.tag_count, 2);
	assert_string_equal(r.call.tags[0], "a");
	assert_string_equal(r.call.tags[1], "b c");
	assert_true(r.fails && r.misses);
	release(&r, &wrong, copy);
}

static void request__used_again__keeps_nothing(void **state)
{
	(void)state;
	request r = { 0 };
	text wrong = { 0 };
	char *first, *second;
	assert_null(read_line("put k v tags=a,b ttl_ms=5 no_l1=1 version=3", &r, &wrong, &first));
	assert_null(read_line("put k w", &r, &wrong, &second));
	assert_int_equal(r.call.tag_count, 0);
	assert_null(r.call.tags);
	assert_int_equal(r.call.ttl_ms, 0);
	assert_int_equal(r.call.flags, 0);
	assert_int_equal(r.call.version, 0);
	free(first);
	release(&r, &wrong, second);
}

/* 0 means "as configured" to the library, so the command's own 0 becomes what says none. */
static void request__zero__means_none(void **state)
{
	(void)state;
	request r = { 0 };
	text wrong = { 0 };
	char *copy;
	assert_null(read_line("load k v stale_ms=0 beta=0 stale_ok=0", &r, &wrong, &copy));
	assert_int_equal(r.call.stale_ms, NEAR_NO_STALE);
	assert_true(r.call.beta < 0);
	assert_int_equal(r.call.flags, 0);
	release(&r, &wrong, copy);
}

static void request__too_much_of_anything__is_refused(void **state)
{
	(void)state;
	char tags17[64] = "put k v tags=a", tag129[160] = "put k v tags=";
	for (int i = 0; i < NEAR_TAGS_MAX; i++)
		strcat(tags17, ",a");
	memset(tag129 + strlen(tag129), 'x', NEAR_TAG_MAX + 1);
	const char *const lines[] = { tags17, tag129, "put k v tags=", "put k v tags=a,", "put k v tags=\"a\\x00b\"",
		                      "put k v deadline_ms=4294967296", "put k v deadline_ms=0", "put k v version=1e3",
		                      "put k v version=18446744073709551616", "load k v beta=-1", "load k v beta=nan",
		                      "load k v beta=", "load k v beta=1x", "load k v cost_ms=+5", "load k v fail=yes" };
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		request r = { 0 };
		text wrong = { 0 };
		char *copy;
		const char *said = read_line(lines[i], &r, &wrong, &copy);
		assert_non_null(said);
		assert_non_null(strstr(said, "should be"));
		release(&r, &wrong, copy);
	}
}

static void number__of_64_bits__is_read_whole_or_not_at_all(void **state)
{
	(void)state;
	uint64_t n = 5;
	assert_true(number_of(word_of("18446744073709551615"), &n));
	assert_true(n == UINT64_MAX);
	assert_true(number_of(word_of("0"), &n));
	assert_int_equal(n, 0);
	static const char *const bad[] = { "", " 1", "1 ", "-1", "+1", "0x10", "18446744073709551616", "99999999999999999999" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(number_of(word_of(bad[i]), &n));
	assert_false(number_of((word){ "1\0", 2 }, &n));
}

/* The help is made from the table, so the table has to be whole: every option of a command has a meaning. */
static void help__of_every_command__explains_every_option(void **state)
{
	(void)state;
	for (const command *c = commands; c->name != NULL; c++) {
		text out = { 0 };
		assert_true(help_topic(c->name, &out));
		if (strcmp(c->name, "shell") != 0)
			assert_non_null(strstr(out.bytes, c->summary));
		for (const char *at = c->options; *at != '\0';) {
			size_t n = strcspn(at, " ");
			char line[64];
			snprintf(line, sizeof(line), "\n    %-12.*s ", (int)n, at);
			const char *found = strstr(out.bytes, line);
			if (found == NULL || found[strlen(line)] == '\n')
				fail_msg("%s: no meaning of %.*s", c->name, (int)n, at);
			at += n + (at[n] == ' ');
		}
		text_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request__with_all_options__carries_them),
		cmocka_unit_test(request__used_again__keeps_nothing),
		cmocka_unit_test(request__zero__means_none),
		cmocka_unit_test(request__too_much_of_anything__is_refused),
		cmocka_unit_test(number__of_64_bits__is_read_whole_or_not_at_all),
		cmocka_unit_test(help__of_every_command__explains_every_option),
	};
	return cmocka_run_group_tests_name("cli/options", tests, NULL, NULL);
}
