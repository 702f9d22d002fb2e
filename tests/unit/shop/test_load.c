/* The shop's load and its measuring: popularity as Zipf has it, quantiles as a sorted list has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "histogram.h"
#include "zipf.h"

#define COUNT 1000
#define DRAWS 2000000

static void draw(double s, uint32_t *hits)
{
	struct random random = { 7 };
	struct zipf zipf;

	memset(hits, 0, (COUNT + 1) * sizeof(hits[0]));
	zipf_init(&zipf, COUNT, s, 1);
	for (int i = 0; i < DRAWS; i++) {
		uint32_t rank = zipf_rank(&zipf, &random);

		assert_in_range(rank, 1, COUNT);
		hits[rank]++;
	}
}

/* Each of the first ranks within five standard deviations of what the distribution says. */
static void rank__of_each_skew__has_its_share(void **state)
{
	static const double skew[] = { 0, 0.6, 0.99, 1, 1.3 };
	static uint32_t hits[COUNT + 1];

	(void)state;
	for (int k = 0; k < 5; k++) {
		double sum = 0;

		for (int rank = 1; rank <= COUNT; rank++)
			sum += pow(rank, -skew[k]);
		draw(skew[k], hits);
		for (int rank = 1; rank <= COUNT; rank = rank < 20 ? rank + 1 : rank * 2) {
			double wanted = DRAWS * pow(rank, -skew[k]) / sum;

			assert_true(fabs(hits[rank] - wanted) < 5 * sqrt(wanted) + 1);
		}
	}
}

static void article__of_every_rank__is_a_bijection(void **state)
{
	static const uint32_t counts[] = { 1, 2, 10, 1000, 99991, 100000 };
	static unsigned char seen[100001];
	struct zipf zipf;

	(void)state;
	for (int k = 0; k < 6; k++) {
		zipf_init(&zipf, counts[k], 0.99, (uint64_t)k);
		memset(seen, 0, sizeof(seen));
		for (uint32_t rank = 1; rank <= counts[k]; rank++) {
			uint32_t article = zipf_article(&zipf, rank);

			assert_in_range(article, 1, counts[k]);
			assert_int_equal(seen[article]++, 0);
		}
	}
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void quantile__is_within_its_buckets_width(void **state)
{
	static struct histogram histogram;
	static struct spread spread;
	static uint64_t value[10000];
	static const double quantile[] = { 0, 0.01, 0.5, 0.9, 0.99, 0.999, 1 };
	struct random random = { 3 };

	(void)state;
	for (int i = 0; i < 10000; i++) {
		value[i] = random_next(&random) >> (24 + random_below(&random, 40)); /* from a nanosecond to minutes */
		histogram_add(&histogram, value[i]);
	}
	qsort(value, 10000, sizeof(value[0]), ascending);
	histogram_collect(&histogram, &spread, 1);
	assert_int_equal(spread.count, 10000);
	assert_int_equal(spread.max, value[9999]);
	for (int i = 0; i < 7; i++) {
		uint64_t wanted = value[quantile[i] < 1 ? (int)(quantile[i] * 10000) : 9999];

		assert_true(fabs((double)spread_quantile(&spread, quantile[i]) - (double)wanted) <= (double)wanted / 32 + 1);
	}
}

static void between__two_copies__is_what_came_between(void **state)
{
	static struct histogram histogram;
	static struct spread first, second, difference;

	(void)state;
	histogram_add(&histogram, 1000000);
	histogram_collect(&histogram, &first, 1);
	histogram_add(&histogram, 50);
	histogram_collect(&histogram, &second, 1);
	spread_between(&difference, &second, &first);
	assert_int_equal(difference.count, 1);
	assert_int_equal(difference.sum, 50);
	assert_int_equal(difference.max, 50); /* the greatest of the span, not of all time */
	assert_int_equal(spread_quantile(&difference, 1), 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rank__of_each_skew__has_its_share),
		cmocka_unit_test(article__of_every_rank__is_a_bijection),
		cmocka_unit_test(quantile__is_within_its_buckets_width),
		cmocka_unit_test(between__two_copies__is_what_came_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
