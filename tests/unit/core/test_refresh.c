/* XFetch: the probability of a refresh is that of the paper, exp(-left / (delta * beta)), within what chance allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "core/refresh.h"

enum { DRAWS = 200000 };

static double share_due(int64_t left_ns, uint32_t delta_us, double beta, uint64_t *random)
{
	int due = 0;
	for (int i = 0; i < DRAWS; i++)
		due += near__refresh_due(1000, 1000 + left_ns, delta_us, beta, random);
	return (double)due / DRAWS;
}

static void due__over_many_draws__follows_the_closed_form(void **state)
{
	(void)state;
	static const struct { double left_per_delta, beta; } cases[] = {
		{ 0.01, 1 }, { 0.1, 1 }, { 0.5, 1 }, { 1, 1 }, { 1.9, 1 }, { 2, 1 }, { 1, 0.5 }, { 1, 2 }, { 4, 2 }, { 6, 3 },
	};
	uint64_t random = 20150801;
	print_message("seed %llu\n", (unsigned long long)random);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		double expected = exp(-cases[i].left_per_delta / cases[i].beta);
		double got = share_due((int64_t)(cases[i].left_per_delta * 50e6), 50000, cases[i].beta, &random);
		double sigma = sqrt(expected * (1 - expected) / DRAWS);
		if (fabs(got - expected) > 5 * sigma + 1e-9)
			fail_msg("left %.2f delta, beta %.1f: %.5f due, %.5f expected, sigma %.5f", cases[i].left_per_delta,
			         cases[i].beta, got, expected, sigma);
	}
}

static void due__past_expiry__always(void **state)
{
	(void)state;
	uint64_t random = 1;
	assert_true(share_due(0, 50000, 1, &random) == 1.0);
	assert_true(share_due(-1, 50000, 1, &random) == 1.0);
}

static void due__beta_zero_or_no_cost__never(void **state)
{
	(void)state;
	uint64_t random = 1;
	assert_true(share_due(1, 50000, 0, &random) == 0.0);
	assert_true(share_due(1, 0, 1, &random) == 0.0);
}

static void due__further_off_than_its_reach__never_and_without_a_draw(void **state)
{
	(void)state;
	uint64_t random = 7;
	assert_true(share_due(INT64_C(50000000) * NEAR__REFRESH_REACH + 1, 50000, 1, &random) == 0.0);
	assert_int_equal(random, 7);
}

static void due__short_loads__follow_the_closed_form_beyond_two_loads(void **state)
{
	(void)state;
	uint64_t random = 8;
	double expected = exp(-4), got = share_due(4000000, 1000, 1, &random);
	assert_true(fabs(got - expected) < 5 * sqrt(expected * (1 - expected) / DRAWS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(due__over_many_draws__follows_the_closed_form),
		cmocka_unit_test(due__past_expiry__always),
		cmocka_unit_test(due__beta_zero_or_no_cost__never),
		cmocka_unit_test(due__further_off_than_its_reach__never_and_without_a_draw),
		cmocka_unit_test(due__short_loads__follow_the_closed_form_beyond_two_loads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
