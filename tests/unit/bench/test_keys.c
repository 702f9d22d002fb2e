/* Draws of nearbench: key strings, the distributions against their formulas, the mix. Seeds are fixed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/hash.h"
#include "keys.h"

static void key_write__looks_as_users_have_it__and_reads_back(void **state)
{
	(void)state;
	char key[BENCH_KEY_SIZE];
	uint64_t item = 0;
	bench_key_write(42, key);
	assert_memory_equal(key, "user:profile:000000000042", BENCH_KEY_SIZE);
	assert_true(bench_key_read(key, sizeof(key), &item));
	assert_int_equal(item, 42);
	assert_false(bench_key_read(key, sizeof(key) - 1, &item));
	key[20] = 'x';
	assert_false(bench_key_read(key, sizeof(key), &item));
}

static void draw_parse__accepts_uniform_and_zipf_only(void **state)
{
	(void)state;
	double s = -1;
	assert_true(bench_draw_parse("uniform", &s));
	assert_true(s == 0);
	assert_true(bench_draw_parse("zipf:0.99", &s));
	assert_true(s == 0.99);
	const char *const bad[] = {"", "zipf", "zipf:", "zipf:0", "zipf:-1", "zipf:11", "zipf:1x", "Uniform", "uniform "};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(bench_draw_parse(bad[i], &s));
}

/* Pearson's statistic of ranks drawn against the distribution's own probabilities, over the first ranks and the rest. */
static double chi_square(double exponent, uint64_t items, unsigned cells, uint64_t draws, uint64_t seed)
{
	bench_draw draw;
	uint64_t *seen = calloc(cells + 1, sizeof(*seen));
	double sum = 0, head = 0, chi = 0;
	assert_non_null(seen);
	bench_draw_init(&draw, exponent, items, seed);
	for (uint64_t i = 0; i < draws; i++) {
		uint64_t rank = bench_draw_rank(&draw);
		assert_true(rank < items);
		seen[rank < cells ? rank : cells]++;
	}
	for (uint64_t k = 1; k <= items; k++)
		sum += pow((double)k, -exponent);
	for (unsigned k = 0; k <= cells; k++) {
		double p = k < cells ? pow(k + 1.0, -exponent) / sum : 1 - head;
		head += p;
		if (p > 1e-9)
			chi += ((double)seen[k] - p * (double)draws) * ((double)seen[k] - p * (double)draws) / (p * (double)draws);
	}
	free(seen);
	return chi;
}

static void draw__ranks__follow_the_distribution(void **state)
{
	(void)state;
	const double exponents[] = {0, 0.2, 0.7, 0.99, 1, 1.01, 1.5, 3};
	for (size_t i = 0; i < sizeof(exponents) / sizeof(exponents[0]); i++) {
		/* 20 degrees of freedom: above 56 once in 40,000 times by chance, and the seed is fixed. */
		double chi = chi_square(exponents[i], 1000, 20, 400000, 12345);
		if (chi > 56)
			fail_msg("zipf:%g, seed 12345: chi-square %g over 20 cells", exponents[i], chi);
	}
}

static void draw__huge_and_tiny_ranges__stay_inside(void **state)
{
	(void)state;
	const uint64_t sizes[] = {1, 2, 3, 4, 7, BENCH_ITEMS_MAX};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (double s = 0; s <= 10; s += 1) {
			bench_draw draw;
			bench_draw_init(&draw, s, sizes[i], 7);
			for (int n = 0; n < 2000; n++)
				assert_true(bench_draw_item(&draw) < sizes[i]);
		}
	}
}

static void draw__rank_to_item__is_a_bijection(void **state)
{
	(void)state;
	for (uint64_t items = 1; items < 700; items++) {
		bench_draw draw;
		unsigned char seen[700] = {0};
		bench_draw_init(&draw, 0.99, items, 1);
		for (uint64_t rank = 0; rank < items; rank++)
			assert_int_equal(seen[bench_draw_rank_to_item(&draw, rank)]++, 0);
	}
}

static void mix__weights__decide(void **state)
{
	(void)state;
	bench_mix mix;
	uint64_t count[BENCH_OPS] = {0}, random = 3;
	assert_true(bench_mix_parse("get:90,load:0,put:10", &mix));
	for (int i = 0; i < 100000; i++)
		count[bench_mix_pick(&mix, near__random_next(&random))]++;
	assert_in_range(count[BENCH_GET], 89000, 91000);
	assert_int_equal(count[BENCH_GET] + count[BENCH_PUT], 100000);
	const char *const bad[] = {"", "get", "get:", "get:0", "get:1,get:2", "get:1,", ",get:1", "set:1", "get:-1",
	                           "get:1000001", "get:1.5"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (bench_mix_parse(bad[i], &mix))
			fail_msg("'%s' was accepted", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(key_write__looks_as_users_have_it__and_reads_back),
		cmocka_unit_test(draw_parse__accepts_uniform_and_zipf_only),
		cmocka_unit_test(draw__ranks__follow_the_distribution),
		cmocka_unit_test(draw__huge_and_tiny_ranges__stay_inside),
		cmocka_unit_test(draw__rank_to_item__is_a_bijection),
		cmocka_unit_test(mix__weights__decide),
	};
	return cmocka_run_group_tests_name("bench/keys", tests, NULL, NULL);
}
