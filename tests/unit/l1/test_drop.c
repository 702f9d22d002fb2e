/* Removal, stale marks, touch, clear. */
#include "l1_fixture.h"

static void drop__below_a_position__takes_older_entries_only(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_int_equal(drop_text(&b, "key", 100, false), 0);
	assert_int_equal(put_asof(&b, "key", "five", 5), NEAR__L1_INSTALLED);
	assert_int_equal(put_asof(&b, "other", "five", 5), NEAR__L1_INSTALLED);
	assert_int_equal(drop_text(&b, "key", 5, false), 0);
	assert_true(is_there(&b, "key"));
	assert_int_equal(drop_text(&b, "key", 6, false), 1);
	assert_false(is_there(&b, "key"));
	assert_true(is_there(&b, "other"));
	assert_int_equal(drop_text(&b, "key", 6, false), 0);
	check_at_rest(&b);
	box_close(&b);
}

static void drop_keep_stale__within_the_window__marks(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_int_equal(put_asof(&b, "key", "value", 5), NEAR__L1_INSTALLED);
	assert_int_equal(drop_text(&b, "key", 6, true), 1);
	seen s = see(&b, "key", 3);
	assert_true(s.found);
	assert_true(s.view.marked_stale);
	assert_string_equal(s.value, "value");
	free(s.value);
	assert_int_equal(drop_text(&b, "key", 7, true), 0); /* marked already */
	assert_int_equal(put_asof(&b, "key", "next", 7), NEAR__L1_INSTALLED);
	s = see(&b, "key", 3);
	assert_false(s.view.marked_stale);
	free(s.value);
	check_at_rest(&b);
	box_close(&b);
}

static void drop_keep_stale__without_a_window__removes(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	near__l1_write w = write_text(&b, "key", "value");
	w.stale_until_ns = w.fresh_until_ns;
	assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_INSTALLED);
	assert_int_equal(drop_text(&b, "key", 1, true), 1);
	assert_false(is_there(&b, "key"));
	assert_int_equal(put_text(&b, "key", "value"), NEAR__L1_INSTALLED);
	b.now += 91 * SECOND_NS; /* the window is over */
	assert_int_equal(drop_text(&b, "key", 1, true), 1);
	assert_false(is_there(&b, "key"));
	check_at_rest(&b);
	box_close(&b);
}

static bool touch_text(const box *b, const char *key, uint64_t asof, int64_t fresh, int64_t stale)
{
	return near__l1_touch(b->l1, near__hash_local(key, strlen(key)), key, strlen(key), asof, b->now + fresh, b->now + stale);
}

static void touch__gives_new_lives_in_place(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_false(touch_text(&b, "key", 5, SECOND_NS, SECOND_NS));
	assert_int_equal(put_asof(&b, "key", "value", 5), NEAR__L1_INSTALLED);
	assert_true(touch_text(&b, "key", 5, 100 * SECOND_NS, 200 * SECOND_NS));
	seen s = see(&b, "key", 3);
	assert_in_range(b.now + 100 * SECOND_NS - s.view.fresh_until_ns, 0, 5000000);
	assert_in_range(b.now + 200 * SECOND_NS - s.view.stale_until_ns, 0, 5000000);
	free(s.value);
	assert_true(touch_text(&b, "key", 5, SECOND_NS, SECOND_NS)); /* shorter */
	s = see(&b, "key", 3);
	assert_in_range(b.now + SECOND_NS - s.view.fresh_until_ns, 0, 5000000);
	assert_int_equal(s.view.stale_until_ns, s.view.fresh_until_ns);
	free(s.value);
	box_close(&b);
}

static void touch__of_another_asof_or_a_marked_one__refuses(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_int_equal(put_asof(&b, "key", "value", 5), NEAR__L1_INSTALLED);
	assert_false(touch_text(&b, "key", 4, SECOND_NS, SECOND_NS));
	assert_false(touch_text(&b, "key", 6, SECOND_NS, SECOND_NS));
	assert_int_equal(drop_text(&b, "key", 6, true), 1);
	assert_false(touch_text(&b, "key", 5, SECOND_NS, SECOND_NS));
	box_close(&b);
}

static void lives__far_off__are_brought_near(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	near__l1_write w = write_text(&b, "key", "value");
	w.fresh_until_ns = w.stale_until_ns = INT64_MAX;
	assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_INSTALLED);
	seen s = see(&b, "key", 3);
	assert_true(s.view.fresh_until_ns > b.now + 80 * 86400 * SECOND_NS);
	free(s.value);
	w.fresh_until_ns = w.stale_until_ns = INT64_MIN;
	assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_INSTALLED);
	s = see(&b, "key", 3);
	assert_true(s.view.fresh_until_ns < b.now);
	free(s.value);
	box_close(&b);
}

static void clear__takes_everything(void **state)
{
	(void)state;
	box b = box_of(64 * MIB);
	char key[32];
	for (unsigned i = 0; i < 20000; i++) {
		(void)snprintf(key, sizeof(key), "key %u", i);
		assert_int_equal(put_text(&b, key, "value"), NEAR__L1_INSTALLED);
	}
	near__l1_clear(b.l1);
	for (unsigned i = 0; i < 20000; i++) {
		(void)snprintf(key, sizeof(key), "key %u", i);
		assert_false(is_there(&b, key));
	}
	near_stats g = box_gauges(&b);
	assert_int_equal(g.items, 0);
	assert_int_equal(g.live_bytes, 0);
	check_at_rest(&b);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drop__below_a_position__takes_older_entries_only),
		cmocka_unit_test(drop_keep_stale__within_the_window__marks),
		cmocka_unit_test(drop_keep_stale__without_a_window__removes),
		cmocka_unit_test(touch__gives_new_lives_in_place),
		cmocka_unit_test(touch__of_another_asof_or_a_marked_one__refuses),
		cmocka_unit_test(lives__far_off__are_brought_near),
		cmocka_unit_test(clear__takes_everything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
