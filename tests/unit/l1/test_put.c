/* Puts and finds: what goes in comes out, modes, versions, as-of, the fence. */
#include "l1_fixture.h"

static void put__then_find__gives_value_and_fields(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	near__l1_write w = write_text(&b, "key", "value");
	w.asof = 7;
	assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_INSTALLED);
	seen s = see(&b, "key", 3);
	assert_true(s.found);
	assert_string_equal(s.value, "value");
	assert_int_equal(s.view.value_size, 5);
	assert_int_equal(s.view.asof, 7);
	assert_int_equal(s.view.version, 0);
	assert_int_equal(s.view.delta_us, 0);
	assert_int_equal(s.view.flags, 0);
	assert_int_equal(s.view.tag_count, 0);
	assert_false(s.view.marked_stale);
	/* ends of life are rounded down to ticks of 4.2 ms */
	assert_in_range(b.now + 60 * SECOND_NS - s.view.fresh_until_ns, 0, 5000000);
	assert_in_range(b.now + 90 * SECOND_NS - s.view.stale_until_ns, 0, 5000000);
	free(s.value);
	check_at_rest(&b);
	box_close(&b);
}

static void find__of_an_absent_key__misses(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_false(is_there(&b, "key"));
	assert_int_equal(put_text(&b, "key", "value"), NEAR__L1_INSTALLED);
	assert_false(is_there(&b, "ke"));
	assert_false(is_there(&b, "key2"));
	box_close(&b);
}

static void put__again__replaces(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_int_equal(put_text(&b, "key", "one"), NEAR__L1_INSTALLED);
	assert_int_equal(put_text(&b, "key", "another"), NEAR__L1_INSTALLED);
	assert_string_equal(see_text(&b, "key"), "another");
	assert_int_equal(box_gauges(&b).items, 1);
	check_at_rest(&b);
	box_close(&b);
}

static void put__of_a_lower_asof__leaves_the_newer(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_int_equal(put_asof(&b, "key", "ten", 10), NEAR__L1_INSTALLED);
	assert_int_equal(put_asof(&b, "key", "nine", 9), NEAR__L1_NEWER);
	assert_string_equal(see_text(&b, "key"), "ten");
	assert_int_equal(put_asof(&b, "key", "ten again", 10), NEAR__L1_INSTALLED);
	assert_string_equal(see_text(&b, "key"), "ten again");
	assert_int_equal(put_asof(&b, "key", "eleven", 11), NEAR__L1_INSTALLED);
	assert_string_equal(see_text(&b, "key"), "eleven");
	check_at_rest(&b);
	box_close(&b);
}

/* Every combination of the optional fields, over sizes that shift their alignment. */
static void put__of_any_fields__gives_them_back(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	near__tag tags[NEAR_TAGS_MAX];
	for (unsigned i = 0; i < NEAR_TAGS_MAX; i++)
		tags[i] = UINT64_C(0x1111111111111111) * i;
	for (unsigned combo = 0; combo < 32; combo++) {
		for (size_t size = 0; size < 24; size++) {
			const char value[] = "abcdefghijklmnopqrstuvwxyz";
			near__l1_write w = write_of(&b, "key", 1 + size % 3, value, size);
			w.version = combo & 1 ? 1000 + combo * 24 + size : 0;
			w.delta_us = combo & 2 ? 77 : 0;
			w.stale_until_ns = combo & 4 ? w.stale_until_ns : w.fresh_until_ns;
			w.flags = combo & 8 ? NEAR__ENTRY_NEGATIVE : 0;
			w.tags = tags;
			w.tag_count = combo & 16 ? 1 + (unsigned)size % NEAR_TAGS_MAX : 0;
			w.asof = UINT64_MAX;
			(void)drop_text(&b, "k", UINT64_MAX, false);
			near__l1_clear(b.l1);
			assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_INSTALLED);
			seen s = see(&b, "key", 1 + size % 3);
			assert_true(s.found);
			assert_int_equal(s.view.value_size, size);
			assert_memory_equal(s.value, value, size);
			assert_true(s.view.version == w.version && s.view.delta_us == w.delta_us && s.view.flags == w.flags);
			assert_true(s.view.asof == UINT64_MAX);
			assert_int_equal(s.view.stale_until_ns > s.view.fresh_until_ns, (combo & 4) != 0);
			assert_int_equal(s.view.tag_count, w.tag_count);
			if (w.tag_count > 0) {
				assert_int_equal((uintptr_t)s.view.tags % 8, 0);
				assert_memory_equal(s.view.tags, tags, w.tag_count * sizeof(*tags));
			}
			free(s.value);
		}
	}
	check_at_rest(&b);
	box_close(&b);
}

static void put__of_odd_sizes__gives_the_bytes_back(void **state)
{
	(void)state;
	const size_t keys[] = { 1, 2, 7, 8, 25, 255, 256, 1023, NEAR_KEY_MAX };
	const size_t values[] = { 0, 1, 15, 16, 17, 100, 4095, 4096, 16384, 100000, 1 << 20, 10 << 20 };
	box b = box_of(256 * MIB);
	char key[NEAR_KEY_MAX];
	unsigned char *value = malloc(10 << 20);
	assert_non_null(value);
	for (size_t i = 0; i < (10 << 20); i++)
		value[i] = (unsigned char)(i * 31 + (i >> 8));
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
			for (unsigned v = 0; v < sizeof(values) / sizeof(*values); v++) {
				memset(key, 'a' + (int)v, sizeof(key));
				near__l1_write w = write_of(&b, key, keys[k], value + 1, values[v] > 0 ? values[v] - 1 : 0);
				if (round == 0) {
					assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_INSTALLED);
				}
				seen s = see(&b, key, keys[k]);
				if (values[v] < (1 << 20) || round == 0) /* the large ones may have been evicted since */
					assert_true(s.found);
				if (s.found) {
					assert_int_equal(s.view.value_size, w.value_size);
					assert_memory_equal(s.value, value + 1, w.value_size);
					free(s.value);
				}
			}
		}
	}
	free(value);
	check_at_rest(&b);
	box_close(&b);
}

static void put__larger_than_its_share__is_declined_and_the_older_is_gone(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	char *value = calloc(1, 2 * MIB);
	assert_non_null(value);
	assert_int_equal(put_text(&b, "key", "small"), NEAR__L1_INSTALLED);
	near__l1_write w = write_of(&b, "key", 3, value, 2 * MIB);
	w.mode = NEAR__L1_REPLACE;
	assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_DECLINED);
	assert_string_equal(see_text(&b, "key"), "small"); /* only a SET promises that the older one goes */
	w.mode = NEAR__L1_SET;
	assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_DECLINED);
	assert_false(is_there(&b, "key"));
	assert_int_equal(box_count(&b, NEAR__STAT_puts_declined), 2);
	assert_int_equal(put_asof(&b, "key", "later", 5), NEAR__L1_INSTALLED);
	w.asof = 4;
	assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_DECLINED);
	assert_string_equal(see_text(&b, "key"), "later"); /* not older than what was declined */
	free(value);
	check_at_rest(&b);
	box_close(&b);
}

/* ---------------------------------------------------------------- modes */

static near__l1_outcome put_mode(const box *b, const char *value, near__l1_mode mode, uint64_t version, uint64_t expected)
{
	near__l1_write w = write_text(b, "key", value);
	w.mode = mode;
	w.version = version;
	w.expected = expected;
	return near__l1_put(b->l1, &w);
}

static void put_add__installs_unless_something_fresh_is_there(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_int_equal(put_mode(&b, "one", NEAR__L1_ADD, 0, 0), NEAR__L1_INSTALLED);
	assert_int_equal(put_mode(&b, "two", NEAR__L1_ADD, 0, 0), NEAR__L1_PRESENT);
	assert_string_equal(see_text(&b, "key"), "one");
	b.now += 61 * SECOND_NS; /* stale by now */
	assert_int_equal(put_mode(&b, "three", NEAR__L1_ADD, 0, 0), NEAR__L1_INSTALLED);
	assert_int_equal(drop_text(&b, "key", 1, true), 1); /* marked */
	assert_int_equal(put_mode(&b, "four", NEAR__L1_ADD, 0, 0), NEAR__L1_INSTALLED);
	assert_string_equal(see_text(&b, "key"), "four");
	near__l1_write w = write_text(&b, "key", "");
	w.flags = NEAR__ENTRY_NEGATIVE;
	assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_INSTALLED);
	assert_int_equal(put_mode(&b, "five", NEAR__L1_ADD, 0, 0), NEAR__L1_INSTALLED); /* nothing was there, says the source */
	check_at_rest(&b);
	box_close(&b);
}

static void put_replace__installs_only_over_something_fresh(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_int_equal(put_mode(&b, "one", NEAR__L1_REPLACE, 0, 0), NEAR__L1_ABSENT);
	assert_false(is_there(&b, "key"));
	assert_int_equal(put_text(&b, "key", "two"), NEAR__L1_INSTALLED);
	assert_int_equal(put_mode(&b, "three", NEAR__L1_REPLACE, 0, 0), NEAR__L1_INSTALLED);
	assert_string_equal(see_text(&b, "key"), "three");
	b.now += 61 * SECOND_NS;
	assert_int_equal(put_mode(&b, "four", NEAR__L1_REPLACE, 0, 0), NEAR__L1_ABSENT);
	assert_int_equal(put_text(&b, "key", "five"), NEAR__L1_INSTALLED);
	assert_int_equal(drop_text(&b, "key", 1, true), 1);
	assert_int_equal(put_mode(&b, "six", NEAR__L1_REPLACE, 0, 0), NEAR__L1_ABSENT);
	assert_string_equal(see_text(&b, "key"), "five");
	check_at_rest(&b);
	box_close(&b);
}

static void put_if_version__installs_only_over_that_version(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_int_equal(put_mode(&b, "a", NEAR__L1_IF_VERSION, 2, 1), NEAR__L1_ABSENT);
	assert_int_equal(put_mode(&b, "b", NEAR__L1_SET, 1, 0), NEAR__L1_INSTALLED);
	assert_int_equal(put_mode(&b, "c", NEAR__L1_IF_VERSION, 3, 2), NEAR__L1_MISMATCH);
	assert_string_equal(see_text(&b, "key"), "b");
	assert_int_equal(put_mode(&b, "d", NEAR__L1_IF_VERSION, 2, 1), NEAR__L1_INSTALLED);
	assert_string_equal(see_text(&b, "key"), "d");
	assert_int_equal(put_mode(&b, "e", NEAR__L1_IF_VERSION, 3, 1), NEAR__L1_MISMATCH);
	check_at_rest(&b);
	box_close(&b);
}

static void put__of_a_version_not_above__leaves_the_fresh_one(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	assert_int_equal(put_mode(&b, "five", NEAR__L1_SET, 5, 0), NEAR__L1_INSTALLED);
	assert_int_equal(put_mode(&b, "four", NEAR__L1_SET, 4, 0), NEAR__L1_NEWER);
	assert_int_equal(put_mode(&b, "five again", NEAR__L1_SET, 5, 0), NEAR__L1_NEWER);
	assert_string_equal(see_text(&b, "key"), "five");
	assert_int_equal(put_mode(&b, "six", NEAR__L1_SET, 6, 0), NEAR__L1_INSTALLED);
	b.now += 61 * SECOND_NS;
	assert_int_equal(put_mode(&b, "old but fresh", NEAR__L1_SET, 2, 0), NEAR__L1_INSTALLED);
	assert_string_equal(see_text(&b, "key"), "old but fresh");
	assert_int_equal(put_mode(&b, "without", NEAR__L1_SET, 0, 0), NEAR__L1_INSTALLED);
	check_at_rest(&b);
	box_close(&b);
}

/* ---------------------------------------------------------------- the fence */

typedef struct fence {
	box *b;
	bool answer;
	unsigned asked;
	uint64_t drop_below; /* 0: no drop inside */
	bool put_inside;
} fence;

static bool fence_current(void *ctx, const near__l1_write *write)
{
	fence *f = ctx;
	f->asked++;
	(void)write;
	assert_false(is_there(f->b, "key")); /* UNIQUE, not VALID: nobody sees it */
	if (f->drop_below != 0) {
		near__thread *self = near__self();
		near__epoch_exit(self); /* a put holds a section while it asks; a drop is another thread's */
		(void)drop_text(f->b, "key", f->drop_below, false);
		near__epoch_enter(self);
	}
	return f->answer;
}

static near__l1_outcome put_fenced(box *b, fence *f, const char *value, uint64_t asof)
{
	near__l1_write w = write_text(b, "key", value);
	f->b = b;
	w.asof = asof;
	w.current = fence_current;
	w.ctx = f;
	return near__l1_put(b->l1, &w);
}

static void put_fenced__current__installs(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	fence f = { .answer = true };
	assert_int_equal(put_fenced(&b, &f, "one", 1), NEAR__L1_INSTALLED);
	assert_string_equal(see_text(&b, "key"), "one");
	assert_int_equal(put_fenced(&b, &f, "two", 2), NEAR__L1_INSTALLED); /* in place */
	assert_string_equal(see_text(&b, "key"), "two");
	assert_int_equal(f.asked, 2);
	check_at_rest(&b);
	box_close(&b);
}

static void put_fenced__not_current__leaves_nothing(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	fence f = { .answer = false };
	assert_int_equal(put_fenced(&b, &f, "one", 1), NEAR__L1_OVERTAKEN);
	assert_false(is_there(&b, "key"));
	assert_int_equal(put_asof(&b, "key", "two", 2), NEAR__L1_INSTALLED);
	assert_int_equal(put_fenced(&b, &f, "three", 3), NEAR__L1_OVERTAKEN);
	assert_false(is_there(&b, "key"));
	assert_int_equal(box_gauges(&b).items, 0);
	check_at_rest(&b);
	box_close(&b);
}

static void put_fenced__dropped_while_it_asks__is_overtaken(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	fence f = { .answer = true, .drop_below = 5 };
	assert_int_equal(put_fenced(&b, &f, "four", 4), NEAR__L1_OVERTAKEN);
	assert_false(is_there(&b, "key"));
	assert_int_equal(put_fenced(&b, &f, "five", 5), NEAR__L1_INSTALLED); /* not below */
	assert_string_equal(see_text(&b, "key"), "five");
	check_at_rest(&b);
	box_close(&b);
}

static void put_fenced__that_never_ends__is_replaced_by_the_next(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	/* What a thread that stopped before VALID leaves behind. */
	near__l1_write w = write_text(&b, "key", "stopped");
	assert_int_equal(near__l1_put(b.l1, &w), NEAR__L1_INSTALLED);
	near__table *t = l1_table(b.l1);
	near__slot *set = table_set(t, w.hash);
	for (unsigned j = 0; j < SET_SLOTS; j++)
		if (!slot_is_vacant(slot_peek(&set[j])))
			atomic_store(&slot_entry(b.l1, slot_peek(&set[j]))->life, UNIQUE);
	assert_false(is_there(&b, "key"));
	assert_int_equal(put_text(&b, "key", "next"), NEAR__L1_INSTALLED);
	assert_string_equal(see_text(&b, "key"), "next");
	check_at_rest(&b);
	box_close(&b);
}

/* ---------------------------------------------------------------- many */

static void find_many__gives_what_find_gives(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	enum { COUNT = 100 };
	char keys[COUNT][32];
	near__l1_query q[COUNT];
	near__l1_view v[COUNT];
	for (unsigned i = 0; i < COUNT; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "user:profile:%012u", i);
		q[i] = (near__l1_query){ .hash = near__hash_local(keys[i], 25), .key = keys[i], .key_size = 25 };
		if (i % 3 != 0)
			assert_int_equal(put_text(&b, keys[i], keys[i] + 13), NEAR__L1_INSTALLED);
	}
	near__thread *self = near__self();
	near__epoch_enter(self);
	near__l1_find_many(b.l1, q, COUNT, b.now, v);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(v[i].entry != NULL, i % 3 != 0);
		if (v[i].entry != NULL) {
			assert_int_equal(v[i].value_size, 12);
			assert_memory_equal(v[i].value, keys[i] + 13, 12);
		}
	}
	near__epoch_exit(self);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put__then_find__gives_value_and_fields),
		cmocka_unit_test(find__of_an_absent_key__misses),
		cmocka_unit_test(put__again__replaces),
		cmocka_unit_test(put__of_a_lower_asof__leaves_the_newer),
		cmocka_unit_test(put__of_any_fields__gives_them_back),
		cmocka_unit_test(put__of_odd_sizes__gives_the_bytes_back),
		cmocka_unit_test(put__larger_than_its_share__is_declined_and_the_older_is_gone),
		cmocka_unit_test(put_add__installs_unless_something_fresh_is_there),
		cmocka_unit_test(put_replace__installs_only_over_something_fresh),
		cmocka_unit_test(put_if_version__installs_only_over_that_version),
		cmocka_unit_test(put__of_a_version_not_above__leaves_the_fresh_one),
		cmocka_unit_test(put_fenced__current__installs),
		cmocka_unit_test(put_fenced__not_current__leaves_nothing),
		cmocka_unit_test(put_fenced__dropped_while_it_asks__is_overtaken),
		cmocka_unit_test(put_fenced__that_never_ends__is_replaced_by_the_next),
		cmocka_unit_test(find_many__gives_what_find_gives),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
