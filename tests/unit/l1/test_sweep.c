/* Housekeeping: expired memory comes back without being asked. */
#include "l1_fixture.h"

static void key_of(unsigned i, char *key)
{
	(void)snprintf(key, 32, "user:profile:%012u", i);
}

static void fill(box *b, unsigned from, unsigned to, int64_t fresh_ns, int64_t stale_ns)
{
	char key[32], value[100] = { 0 };
	for (unsigned i = from; i < to; i++) {
		key_of(i, key);
		near__l1_write w = write_of(b, key, strlen(key), value, sizeof(value));
		w.fresh_until_ns = b->now + fresh_ns;
		w.stale_until_ns = b->now + stale_ns;
		assert_int_equal(near__l1_put(b->l1, &w), NEAR__L1_INSTALLED);
	}
}

/* Housekeeping every 5 ms for `span_ns` of the test's time. */
static void pass_time(box *b, int64_t span_ns)
{
	for (int64_t t = 0; t < span_ns; t += 5 * NEAR__MS_NS) {
		b->now += 5 * NEAR__MS_NS;
		while (near__l1_maintain(b->l1, b->now))
			continue;
	}
}

static void sweep__takes_what_is_past_its_stale_window_within_sweep_ms(void **state)
{
	(void)state;
	box b = box_of(64 * MIB);
	fill(&b, 0, 10000, 2 * SECOND_NS, 4 * SECOND_NS);      /* stale window */
	fill(&b, 10000, 20000, 2 * SECOND_NS, 2 * SECOND_NS);  /* none */
	fill(&b, 20000, 20100, 60 * SECOND_NS, 60 * SECOND_NS);
	uint64_t all = box_gauges(&b).items, conflicts = box_count(&b, NEAR__STAT_set_conflicts);
	assert_int_equal(all + conflicts, 20100);
	pass_time(&b, 2 * SECOND_NS - 50 * NEAR__MS_NS);
	assert_int_equal(box_gauges(&b).items, all);
	pass_time(&b, 1100 * NEAR__MS_NS); /* sweep_ms is 1000 */
	assert_in_range(box_gauges(&b).items, 9700, 10100);
	pass_time(&b, 800 * NEAR__MS_NS);
	assert_in_range(box_gauges(&b).items, 9700, 10100);
	pass_time(&b, 1300 * NEAR__MS_NS);
	assert_in_range(box_gauges(&b).items, 98, 100);
	assert_int_equal(box_count(&b, NEAR__STAT_expirations) + box_gauges(&b).items, all);
	check_at_rest(&b);
	box_close(&b);
}

static void sweep__gives_mapped_memory_back(void **state)
{
	(void)state;
	box b = box_of(64 * MIB);
	fill(&b, 0, 200000, SECOND_NS, SECOND_NS);
	uint64_t full = box_gauges(&b).mapped_bytes;
	pass_time(&b, 2100 * NEAR__MS_NS);
	collect_all(&b);
	near_stats g = box_gauges(&b);
	assert_int_equal(g.items, 0);
	assert_true(g.mapped_bytes - g.table_bytes < full / 20);
	check_at_rest(&b);
	box_close(&b);
}

static void sweep__after_a_long_pause__catches_up(void **state)
{
	(void)state;
	box b = box_of(64 * MIB);
	fill(&b, 0, 50000, SECOND_NS, SECOND_NS);
	(void)near__l1_maintain(b.l1, b.now);
	b.now += 3600 * SECOND_NS;
	unsigned calls = 1;
	while (near__l1_maintain(b.l1, b.now))
		calls++;
	assert_int_equal(box_gauges(&b).items, 0);
	assert_true(calls < 100);
	check_at_rest(&b);
	box_close(&b);
}

static void sweep__of_a_key_touched_in_time__leaves_it(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	fill(&b, 0, 2, SECOND_NS, SECOND_NS);
	char key[32];
	key_of(0, key);
	assert_true(near__l1_touch(b.l1, near__hash_local(key, 25), key, 25, 0, b.now + 10 * SECOND_NS, b.now + 10 * SECOND_NS));
	pass_time(&b, 3 * SECOND_NS);
	assert_true(is_there(&b, key));
	key_of(1, key);
	assert_false(is_there(&b, key));
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sweep__takes_what_is_past_its_stale_window_within_sweep_ms),
		cmocka_unit_test(sweep__gives_mapped_memory_back),
		cmocka_unit_test(sweep__after_a_long_pause__catches_up),
		cmocka_unit_test(sweep__of_a_key_touched_in_time__leaves_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
