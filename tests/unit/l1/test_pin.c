/* Pins: values that stay, whatever becomes of their entry and of the cache. */
#include "l1_fixture.h"

static near__pin *pin_text(const box *b, const char *key, const void **value)
{
	near__thread *self = near__self();
	near__l1_view v;
	near__pin *pin = NULL;
	near__epoch_enter(self);
	if (near__l1_find(b->l1, near__hash_local(key, strlen(key)), key, strlen(key), b->now, &v)) {
		pin = near__l1_pin(b->l1, &v);
		*value = v.value;
	}
	near__epoch_exit(self);
	assert_non_null(pin);
	return pin;
}

static void pin__outlives_replacement_and_removal(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	const void *one, *two;
	assert_int_equal(put_text(&b, "key", "one"), NEAR__L1_INSTALLED);
	near__pin *first = pin_text(&b, "key", &one);
	assert_int_equal(put_text(&b, "key", "two"), NEAR__L1_INSTALLED);
	near__pin *second = pin_text(&b, "key", &two);
	near__pin *third = pin_text(&b, "key", &two);
	assert_int_equal(drop_text(&b, "key", 1, false), 1);
	collect_all(&b);
	near_stats g = box_gauges(&b);
	assert_int_equal(g.retired_bytes, 0);
	assert_true(g.pinned_bytes > 0);
	for (unsigned i = 0; i < 1000; i++) { /* would use the memory again */
		char key[16];
		(void)snprintf(key, sizeof(key), "%u", i);
		assert_int_equal(put_text(&b, key, "xxx"), NEAR__L1_INSTALLED);
	}
	assert_memory_equal(one, "one", 3);
	assert_memory_equal(two, "two", 3);
	near__l1_unpin(first);
	near__l1_unpin(second);
	assert_memory_equal(two, "two", 3);
	near__l1_unpin(third);
	assert_int_equal(box_gauges(&b).pinned_bytes, 0);
	check_at_rest(&b);
	box_close(&b);
}

static void unpin__of_an_entry_still_there__leaves_it(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	const void *value;
	assert_int_equal(put_text(&b, "key", "value"), NEAR__L1_INSTALLED);
	near__l1_unpin(pin_text(&b, "key", &value));
	assert_int_equal(box_gauges(&b).pinned_bytes, 0);
	assert_string_equal(see_text(&b, "key"), "value");
	assert_int_equal(drop_text(&b, "key", 1, false), 1);
	check_at_rest(&b);
	box_close(&b);
}

static void pin__outlives_the_cache(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	const void *in_table, *removed, *retired;
	assert_int_equal(put_text(&b, "a", "in the table"), NEAR__L1_INSTALLED);
	assert_int_equal(put_text(&b, "b", "removed"), NEAR__L1_INSTALLED);
	assert_int_equal(put_text(&b, "c", "retired"), NEAR__L1_INSTALLED);
	assert_int_equal(put_text(&b, "d", "not pinned"), NEAR__L1_INSTALLED);
	near__pin *pins[] = { pin_text(&b, "a", &in_table), pin_text(&b, "b", &removed), pin_text(&b, "c", &retired) };
	assert_int_equal(drop_text(&b, "b", 1, false), 1);
	collect_all(&b);
	assert_int_equal(drop_text(&b, "c", 1, false), 1);
	box_close(&b);
	assert_memory_equal(in_table, "in the table", 12);
	assert_memory_equal(removed, "removed", 7);
	assert_memory_equal(retired, "retired", 7);
	for (unsigned i = 0; i < 3; i++)
		near__l1_unpin(pins[i]);
}

static void pins__count_against_the_bound(void **state)
{
	(void)state;
	enum { COUNT = 24, SIZE = 512 << 10 };
	box b = box_of(16 * MIB);
	char *value = malloc(SIZE), key[16];
	near__pin *pins[COUNT];
	unsigned pinned = 0;
	assert_non_null(value);
	for (unsigned i = 0; i < COUNT; i++) {
		(void)snprintf(key, sizeof(key), "%u", i);
		memset(value, (int)i, SIZE);
		near__l1_write w = write_of(&b, key, strlen(key), value, SIZE);
		const void *at;
		if (near__l1_put(b.l1, &w) == NEAR__L1_INSTALLED)
			pins[pinned++] = pin_text(&b, key, &at);
	}
	assert_in_range(pinned, 10, COUNT);
	near_stats g = box_gauges(&b);
	assert_true(g.mapped_bytes_max <= g.limit_bytes);
	for (unsigned i = 0; i < pinned; i++)
		near__l1_unpin(pins[i]);
	assert_int_equal(put_text(&b, "key", "value"), NEAR__L1_INSTALLED);
	free(value);
	check_at_rest(&b);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pin__outlives_replacement_and_removal),
		cmocka_unit_test(unpin__of_an_entry_still_there__leaves_it),
		cmocka_unit_test(pin__outlives_the_cache),
		cmocka_unit_test(pins__count_against_the_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
