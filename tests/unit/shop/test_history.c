/* The judge of the demonstration: if it is wrong, the demonstration shows nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "history.h"

#define ARTICLE 7
#define LEASE 1000

static struct history *history;

static int fresh(void **state)
{
	(void)state;
	history = history_create(10, 100);
	return history == NULL;
}

static uint32_t written(uint32_t version, uint64_t committed)
{
	uint32_t event = history_append(history, ARTICLE, version);

	assert_int_not_equal(event, 0);
	history_committed(history, event, committed);
	return event;
}

static struct judgement judged(uint32_t version, uint64_t asked)
{
	return history_judge(history, ARTICLE, version, asked, LEASE);
}

static void judge__the_newest_version__is_not_old(void **state)
{
	(void)state;
	assert_int_equal(judged(1, 5000).age_ns, 0);
	history_acknowledged(history, written(2, 5000), 5100);
	assert_int_equal(judged(2, 9000).age_ns, 0);
	assert_int_equal(judged(2, 9000).overtaken_ns, 0);
	assert_false(judged(2, 9000).unknown);
}

static void judge__older_than_acknowledged_within_the_lease__is_aged_and_allowed(void **state)
{
	struct judgement judgement;

	(void)state;
	history_acknowledged(history, written(2, 5000), 5100);
	judgement = judged(1, 5100 + LEASE);
	assert_int_equal(judgement.age_ns, LEASE);
	assert_false(judgement.beyond);
	assert_int_equal(judgement.overtaken_ns, 100 + LEASE);
}

static void judge__one_past_the_lease__is_beyond(void **state)
{
	(void)state;
	history_acknowledged(history, written(2, 5000), 5100);
	assert_true(judged(1, 5101 + LEASE).beyond);
}

static void judge__committed_and_never_acknowledged__is_overtaken_only(void **state)
{
	struct judgement judgement;

	(void)state;
	written(2, 5000);
	judgement = judged(1, 900000);
	assert_int_equal(judgement.age_ns, 0);
	assert_false(judgement.beyond);
	assert_int_equal(judgement.overtaken_ns, 895000);
}

static void judge__acknowledged_after_the_read_began__does_not_count(void **state)
{
	(void)state;
	history_acknowledged(history, written(2, 5000), 5100);
	assert_int_equal(judged(1, 5100).age_ns, 0);
	assert_int_equal(judged(1, 5050).age_ns, 0);
}

static void judge__several_newer__counts_from_the_first_acknowledged(void **state)
{
	uint32_t second, third;

	(void)state;
	second = written(2, 5000);
	third = written(3, 6000);
	history_acknowledged(history, written(4, 7000), 7100);
	assert_int_equal(judged(1, 7200).age_ns, 100);
	history_acknowledged(history, third, 7150); /* acknowledged out of order, later than the one above */
	assert_int_equal(judged(1, 7200).age_ns, 100);
	history_acknowledged(history, second, 5200);
	assert_int_equal(judged(1, 7200).age_ns, 2000);
	assert_true(judged(1, 7200).beyond);
	assert_int_equal(judged(2, 7200).age_ns, 100); /* what made version 1 old says nothing of version 2 */
}

static void judge__a_version_that_never_was__is_unknown(void **state)
{
	(void)state;
	assert_true(judged(2, 5000).unknown);
	assert_true(judged(0, 5000).unknown);
	written(2, 5000);
	assert_false(judged(2, 6000).unknown);
	assert_true(judged(3, 6000).unknown);
}

static void append__full__says_so(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 100; i++)
		assert_int_not_equal(history_append(history, ARTICLE, i + 2), 0);
	assert_int_equal(history_append(history, ARTICLE, 200), 0);
	assert_int_equal(history_newest(history, ARTICLE), 101);
	assert_int_equal(history_newest(history, ARTICLE + 1), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(judge__the_newest_version__is_not_old, fresh),
		cmocka_unit_test_setup(judge__older_than_acknowledged_within_the_lease__is_aged_and_allowed, fresh),
		cmocka_unit_test_setup(judge__one_past_the_lease__is_beyond, fresh),
		cmocka_unit_test_setup(judge__committed_and_never_acknowledged__is_overtaken_only, fresh),
		cmocka_unit_test_setup(judge__acknowledged_after_the_read_began__does_not_count, fresh),
		cmocka_unit_test_setup(judge__several_newer__counts_from_the_first_acknowledged, fresh),
		cmocka_unit_test_setup(judge__a_version_that_never_was__is_unknown, fresh),
		cmocka_unit_test_setup(append__full__says_so, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
