/* Counters over threads, histograms against sorted samples, text forms read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/hash.h"
#include "stats/stats.h"

/* ---------------------------------------------------------------------- counters */

#define THREADS 8
#define COUNTS 20000

static _Atomic(uint32_t) together;

static void *count_many(void *arg)
{
	near__stats *s = arg;
	for (unsigned i = 0; i < COUNTS; i++) {
		near__count(s, NEAR__STAT_l1_hits);
		near__count_by(s, near__self(), NEAR__STAT_payload_bytes, 7);
	}
	/* All live at once, so that their indices differ. */
	atomic_fetch_add(&together, 1);
	while (atomic_load(&together) < THREADS)
		sched_yield();
	return NULL;
}

static void run(void *(*body)(void *), void *arg, unsigned threads)
{
	pthread_t thread[256];
	assert_true(threads <= 256);
	for (unsigned i = 0; i < threads; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, body, arg), 0);
	for (unsigned i = 0; i < threads; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
}

static void stats_sum__after_many_threads__is_exact(void **state)
{
	(void)state;
	near__stats *s = NULL;
	assert_int_equal(near__stats_create(&s), NEAR_OK);
	assert_int_equal(near__stats_sum(s, NEAR__STAT_l1_hits), 0);
	for (unsigned round = 1; round <= 3; round++) { /* the second round's threads take over the stripes of the first's */
		atomic_store(&together, 0);
		run(count_many, s, THREADS);
		assert_int_equal(near__stats_sum(s, NEAR__STAT_l1_hits), (uint64_t)round * THREADS * COUNTS);
		assert_int_equal(near__stats_sum(s, NEAR__STAT_payload_bytes), (uint64_t)round * THREADS * COUNTS * 7);
		assert_int_equal(near__stats_sum(s, NEAR__STAT_l1_misses), 0);
	}
	near__stats_free(s);
}

static void stats_sum__counted_down__wraps_back(void **state)
{
	(void)state;
	near__stats *s = NULL;
	assert_int_equal(near__stats_create(&s), NEAR_OK);
	near__count_by(s, near__self(), NEAR__STAT_items, 5);
	near__count_by(s, near__self(), NEAR__STAT_items, (uint64_t)-3);
	assert_int_equal(near__stats_sum(s, NEAR__STAT_items), 2);
	near__stats_free(s);
}

/* More threads at once than there are stripes. */
#define CROWD 200

typedef struct crowd {
	near__stats *stats;
	_Atomic(uint32_t) there, most;
} crowd;

static void *count_in_a_crowd(void *arg)
{
	crowd *c = arg;
	uint32_t index = near__self()->index, most = atomic_load(&c->most);
	while (index > most && !atomic_compare_exchange_weak(&c->most, &most, index))
		continue;
	atomic_fetch_add(&c->there, 1);
	while (atomic_load(&c->there) < CROWD)
		sched_yield();
	for (unsigned i = 0; i < 1000; i++)
		near__count(c->stats, NEAR__STAT_puts);
	return NULL;
}

static void stats_sum__more_threads_than_stripes__is_exact(void **state)
{
	(void)state;
	crowd c = { 0 };
	assert_int_equal(near__stats_create(&c.stats), NEAR_OK);
	run(count_in_a_crowd, &c, CROWD);
	assert_true(atomic_load(&c.most) >= NEAR__STRIPES);
	assert_int_equal(near__stats_sum(c.stats, NEAR__STAT_puts), CROWD * 1000);
	near__stats_free(c.stats);
}

/* -------------------------------------------------------------------- histograms */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static void histogram_quantile__random_samples__is_within_a_32nd_above(void **state)
{
	(void)state;
	enum { SAMPLES = 20000 };
	uint64_t random, *sample = malloc(SAMPLES * sizeof(*sample)), sum = 0;
	assert_non_null(sample);
	near__random_bytes(&random, sizeof(random));
	print_message("seed %" PRIu64 "\n", random);
	near__histogram *h = near__histogram_create();
	assert_non_null(h);
	for (unsigned i = 0; i < SAMPLES; i++) {
		sample[i] = near__random_next(&random) >> (23 + near__random_next(&random) % 41); /* every magnitude below an hour */
		sum += sample[i];
		near__histogram_add(h, sample[i]);
	}
	qsort(sample, SAMPLES, sizeof(*sample), by_value);
	for (double q = 0; q <= 1; q += 0.001) {
		uint64_t rank = (uint64_t)(q * SAMPLES);
		rank += (double)rank < q * SAMPLES;
		uint64_t exact = sample[rank == 0 ? 0 : rank - 1], got = near__histogram_quantile(h, q);
		if (got < exact || got > exact + exact / 32)
			fail_msg("quantile %f: %" PRIu64 " for %" PRIu64, q, got, exact);
	}
	assert_int_equal(near__histogram_count(h), SAMPLES);
	assert_int_equal(near__histogram_sum(h), sum);
	near__histogram_free(h);
	free(sample);
}

static void histogram_quantile__at_the_edges(void **state)
{
	(void)state;
	near__histogram *h = near__histogram_create();
	assert_non_null(h);
	assert_int_equal(near__histogram_quantile(h, 0.5), 0); /* no samples */
	near__histogram_add(h, 0);
	assert_int_equal(near__histogram_quantile(h, 1), 0);
	near__histogram_add(h, UINT64_MAX); /* counts as an hour */
	uint64_t hour = UINT64_C(3600000000000), top = near__histogram_quantile(h, 1);
	assert_true(top >= hour && top <= hour + hour / 32);
	assert_int_equal(near__histogram_sum(h), hour);
	assert_int_equal(near__histogram_quantile(h, -1), 0);
	assert_int_equal(near__histogram_quantile(h, 0.5), 0);
	assert_true(near__histogram_quantile(h, 2) == top);
	assert_int_equal(near__histogram_quantile(h, (double)__builtin_nan("")), 0);
	near__histogram_free(h);
}

static void *add_many(void *arg)
{
	for (unsigned i = 0; i < COUNTS; i++)
		near__histogram_add(arg, i);
	return NULL;
}

static void histogram_count__many_threads__is_exact(void **state)
{
	(void)state;
	near__histogram *h = near__histogram_create();
	assert_non_null(h);
	run(add_many, h, 4);
	assert_int_equal(near__histogram_count(h), 4 * COUNTS);
	assert_int_equal(near__histogram_sum(h), UINT64_C(4) * COUNTS * (COUNTS - 1) / 2);
	near__histogram_free(h);
}

/* --------------------------------------------------------------------- text forms */

static void fill(near_stats *s)
{
	memset(s, 0, sizeof(*s));
	s->struct_size = sizeof(*s);
	uint64_t n = UINT64_C(1) << 63;
#define NEAR_STAT(kind, field, help) s->field = n++;
#include <nearcache/stats.def>
#undef NEAR_STAT
}

static void stats_to_json__every_figure__is_there_with_its_value(void **state)
{
	(void)state;
	near__stats *more = NULL;
	assert_int_equal(near__stats_create(&more), NEAR_OK);
	near__histogram_add(more->latency[NEAR_LATENCY_LOAD], 31);
	near_stats s;
	fill(&s);
	static char buf[16384];
	size_t length = near__stats_to_json(&s, more, buf, sizeof(buf));
	assert_int_equal(length, strlen(buf));
	char expected[128];
#define NEAR_STAT(kind, field, help) \
	(void)snprintf(expected, sizeof(expected), "\"" #field "\":%" PRIu64 ",", s.field); \
	assert_non_null(strstr(buf, expected));
#include <nearcache/stats.def>
#undef NEAR_STAT
	assert_non_null(strstr(buf, "\"latency_ns\":{\"l2\":{\"count\":0,\"mean\":0,\"p50\":0,\"p99\":0,\"p999\":0},"));
	assert_non_null(strstr(buf, "\"load\":{\"count\":1,\"mean\":31,\"p50\":31,\"p99\":31,\"p999\":31}"));
	assert_true(buf[0] == '{' && strcmp(buf + length - 3, "}}}") == 0);
	/* Cut short: the need is told, the end is there, nothing is written past it. */
	for (size_t size = 0; size < length + 2; size += size < 40 ? 1 : 97) {
		char *cut = malloc(size + 1);
		assert_non_null(cut);
		cut[size] = '#';
		assert_int_equal(near__stats_to_json(&s, more, cut, size), length);
		assert_true(cut[size] == '#');
		size_t kept = size == 0 ? 0 : size - 1 < length ? size - 1 : length;
		assert_true(size == 0 || cut[kept] == '\0');
		assert_memory_equal(cut, buf, kept);
		free(cut);
	}
	assert_int_equal(near__stats_to_json(&s, more, NULL, 0), length);
	assert_true(near__stats_to_json(&s, NULL, buf, sizeof(buf)) < length);
	assert_null(strstr(buf, "latency"));
	near__stats_free(more);
}

/* Line by line, as a scraper reads: a sample is only legal after the TYPE of its family. */
static void stats_to_prometheus__every_line__is_legal(void **state)
{
	(void)state;
	near__stats *more = NULL;
	assert_int_equal(near__stats_create(&more), NEAR_OK);
	near__histogram_add(more->latency[NEAR_LATENCY_L2], 1500000000);
	near_stats s;
	fill(&s);
	static char buf[32768];
	size_t length = near__stats_to_prometheus(&s, more, buf, sizeof(buf));
	assert_int_equal(length, strlen(buf));
	assert_true(buf[length - 1] == '\n');
	assert_non_null(strstr(buf, "# TYPE nearcache_l1_hits_total counter\nnearcache_l1_hits_total 9223372036854775808\n"));
	assert_non_null(strstr(buf, "# TYPE nearcache_items gauge\n"));
	assert_non_null(strstr(buf, "nearcache_l2_seconds{quantile=\"0.5\"} 1.5"));
	assert_non_null(strstr(buf, "nearcache_l2_seconds_sum 1.500000000\nnearcache_l2_seconds_count 1\n"));
	char family[128] = "";
	unsigned samples = 0;
	for (char *line = strtok(buf, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		if (strncmp(line, "# HELP ", 7) == 0)
			continue;
		char type[16];
		if (sscanf(line, "# TYPE %127s %15s", family, type) == 2)
			continue;
		assert_memory_equal(line, family, strlen(family));
		char *value = strrchr(line, ' '), *end = NULL;
		assert_non_null(value);
		(void)strtod(value + 1, &end);
		assert_true(*end == '\0' && end > value + 1);
		samples++;
	}
	assert_int_equal(samples, NEAR__STAT_COUNT + 5 * NEAR_LATENCY_COUNT);
	near__stats_free(more);
}

/* --------------------------------------------------------------------------- cost */

static void stats__cost__is_printed(void **state)
{
	(void)state;
	near__stats *s = NULL;
	assert_int_equal(near__stats_create(&s), NEAR_OK);
	enum { TIMES = 5000000 };
	int64_t start = near__now_ns();
	for (unsigned i = 0; i < TIMES; i++)
		near__count(s, NEAR__STAT_l1_hits);
	double count = (double)(near__now_ns() - start) / TIMES;
	start = near__now_ns();
	for (unsigned i = 0; i < TIMES; i++)
		near__histogram_add(s->latency[0], i);
	double add = (double)(near__now_ns() - start) / TIMES;
	print_message("count %.1f ns, histogram add %.1f ns\n", count, add);
	assert_int_equal(near__stats_sum(s, NEAR__STAT_l1_hits), TIMES);
	near__stats_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stats_sum__after_many_threads__is_exact),
		cmocka_unit_test(stats_sum__counted_down__wraps_back),
		cmocka_unit_test(stats_sum__more_threads_than_stripes__is_exact),
		cmocka_unit_test(histogram_quantile__random_samples__is_within_a_32nd_above),
		cmocka_unit_test(histogram_quantile__at_the_edges),
		cmocka_unit_test(histogram_count__many_threads__is_exact),
		cmocka_unit_test(stats_to_json__every_figure__is_there_with_its_value),
		cmocka_unit_test(stats_to_prometheus__every_line__is_legal),
		cmocka_unit_test(stats__cost__is_printed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
