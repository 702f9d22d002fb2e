/* Status texts and version: every status has a name of its own, and any other number is survived. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <nearcache/nearcache.h>

static void status_name__every_status__has_a_name_and_a_sentence_of_its_own(void **state)
{
	(void)state;
	for (int a = NEAR_E_SYSTEM; a <= NEAR_CONFLICT; a++) {
		assert_string_not_equal(near_status_name((near_status)a), "E_UNKNOWN");
		assert_true(strlen(near_status_text((near_status)a)) > 3);
		for (int b = NEAR_E_SYSTEM; b < a; b++) {
			assert_string_not_equal(near_status_name((near_status)a), near_status_name((near_status)b));
			assert_string_not_equal(near_status_text((near_status)a), near_status_text((near_status)b));
		}
	}
}

static void status_name__failures__begin_with_e(void **state)
{
	(void)state;
	for (int s = NEAR_E_SYSTEM; s <= NEAR_CONFLICT; s++)
		assert_int_equal(strncmp(near_status_name((near_status)s), "E_", 2) == 0, s < 0);
	assert_string_equal(near_status_name(NEAR_OK), "OK");
	assert_string_equal(near_status_name(NEAR_STALE), "STALE");
	assert_string_equal(near_status_name(NEAR_E_TIMEOUT), "E_TIMEOUT");
}

static void status_name__a_foreign_number__is_named_unknown(void **state)
{
	(void)state;
	const int foreign[] = { NEAR_E_SYSTEM - 1, NEAR_CONFLICT + 1, INT_MIN, INT_MAX };
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		assert_string_equal(near_status_name((near_status)foreign[i]), "E_UNKNOWN");
		assert_non_null(near_status_text((near_status)foreign[i]));
	}
}

static void version__of_the_library__is_that_of_its_header(void **state)
{
	(void)state;
	char expected[32];
	snprintf(expected, sizeof(expected), "%d.%d.%d", NEAR_VERSION_MAJOR, NEAR_VERSION_MINOR, NEAR_VERSION_PATCH);
	assert_string_equal(near_version(), expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_name__every_status__has_a_name_and_a_sentence_of_its_own),
		cmocka_unit_test(status_name__failures__begin_with_e),
		cmocka_unit_test(status_name__a_foreign_number__is_named_unknown),
		cmocka_unit_test(version__of_the_library__is_that_of_its_header),
	};
	return cmocka_run_group_tests_name("api/status", tests, NULL, NULL);
}
