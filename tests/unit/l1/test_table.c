/* Growth: from the least table to many sets, with lookups and removals on the way. */
#include "l1_fixture.h"

static void key_of(unsigned i, char *key)
{
	(void)snprintf(key, 32, "user:profile:%012u", i);
}

static void growth__from_16_sets__keeps_what_was_put(void **state)
{
	(void)state;
	enum { COUNT = 100000 };
	box b = box_of(64 * MIB);
	char key[32];
	assert_int_equal(box_gauges(&b).slots, 256);
	for (unsigned i = 0; i < COUNT; i++) {
		key_of(i, key);
		assert_int_equal(put_text(&b, key, key), NEAR__L1_INSTALLED);
		assert_string_equal(see_text(&b, key), key);
	}
	unsigned found = 0;
	for (unsigned i = 0; i < COUNT; i++) {
		key_of(i, key);
		const char *value = see_text(&b, key);
		if (value != NULL)
			assert_string_equal(value, key);
		found += value != NULL;
	}
	uint64_t conflicts = box_count(&b, NEAR__STAT_set_conflicts);
	print_message("%u of %u found, %lu set conflicts, %lu growths\n", found, COUNT, (unsigned long)conflicts,
	              (unsigned long)box_count(&b, NEAR__STAT_growths));
	assert_int_equal(found + conflicts, COUNT); /* nothing was lost but by full sets */
	assert_true(conflicts < COUNT / 50);
	assert_int_equal(box_count(&b, NEAR__STAT_evictions), 0);
	check_at_rest(&b);
	near_stats g = box_gauges(&b);
	assert_true(g.slots >= g.items * 16 / 11 && g.slots <= g.items * 16 / 4);
	assert_int_equal(g.table_bytes, g.slots * 8);
	box_close(&b);
}

/* Stops in the middle of a move: neither puts nor housekeeping finish it. */
static void grow_by_hand(box *b)
{
	near__table *t = l1_table(b->l1);
	near__table *larger = near__l1_table_make(b->l1, (t->set_mask + 1) * 2);
	assert_non_null(larger);
	atomic_store(&larger->parent, t);
	atomic_store(&b->l1->table, larger);
}

static void find__while_growing__finds_what_has_not_moved(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	char key[32];
	for (unsigned i = 0; i < 100; i++) {
		key_of(i, key);
		assert_int_equal(put_text(&b, key, key), NEAR__L1_INSTALLED);
	}
	grow_by_hand(&b);
	for (unsigned i = 0; i < 100; i++) {
		key_of(i, key);
		assert_string_equal(see_text(&b, key), key);
	}
	key_of(100, key);
	assert_false(is_there(&b, key));
	check_at_rest(&b);
	box_close(&b);
}

static void drop__while_growing__removes_for_good(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	char key[32];
	for (unsigned i = 0; i < 100; i++) {
		key_of(i, key);
		assert_int_equal(put_text(&b, key, key), NEAR__L1_INSTALLED);
	}
	grow_by_hand(&b);
	for (unsigned i = 0; i < 100; i += 2) {
		key_of(i, key);
		assert_int_equal(drop_text(&b, key, 1, false), 1);
	}
	finish_growth(&b);
	for (unsigned i = 0; i < 100; i++) {
		key_of(i, key);
		assert_int_equal(is_there(&b, key), i % 2);
	}
	check_at_rest(&b);
	box_close(&b);
}

static void growth__done__gives_the_old_table_back(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	grow_by_hand(&b);
	assert_int_equal(box_gauges(&b).table_bytes, 4096 + 4096);
	while (near__l1_maintain(b.l1, b.now))
		continue;
	collect_all(&b);
	assert_int_equal(box_gauges(&b).table_bytes, 4096);
	assert_int_equal(box_gauges(&b).slots, 512);
	check_at_rest(&b);
	box_close(&b);
}

static void growth__leaves_pending_and_aborted_entries_behind(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	char key[32];
	for (unsigned i = 0; i < 30; i++) {
		key_of(i, key);
		assert_int_equal(put_text(&b, key, key), NEAR__L1_INSTALLED);
	}
	/* What threads that stopped leave: undecided ones (with T), and aborted ones. */
	unsigned n = 0;
	near__table *t = l1_table(b.l1);
	for (uint64_t i = 0; i < (t->set_mask + 1) * SET_SLOTS; i++) {
		uint64_t word = slot_peek(&t->slots[i]);
		if (slot_is_vacant(word))
			continue;
		if (n % 3 == 1) {
			atomic_store(&slot_entry(b.l1, word)->life, PENDING);
			atomic_store(&t->slots[i].word, word | SLOT_TENT);
		} else if (n % 3 == 2) {
			atomic_store(&slot_entry(b.l1, word)->life, ABORTED);
		}
		n++;
	}
	grow_by_hand(&b);
	check_at_rest(&b);
	assert_int_equal(box_gauges(&b).items, 10);
	box_close(&b);
}

static void growth__without_room__leaves_the_table(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	near_stats g = box_gauges(&b);
	uint64_t rest = (g.limit_bytes - g.mapped_bytes) / 4096 * 4096;
	assert_true(near__mem_charge(b.l1->mem, rest));
	assert_null(near__l1_table_make(b.l1, 1024));
	near__mem_uncharge(b.l1->mem, rest);
	box_close(&b);
}

static void table_slots_min__is_there_from_the_start(void **state)
{
	(void)state;
	near__l1_config c = box_config(64 * MIB);
	c.table_slots_min = 100000;
	c.huge_pages = true;
	box b = box_open(c);
	assert_int_equal(box_gauges(&b).slots, 131072);
	assert_int_equal(put_text(&b, "key", "value"), NEAR__L1_INSTALLED);
	assert_true(is_there(&b, "key"));
	check_at_rest(&b);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(growth__from_16_sets__keeps_what_was_put),
		cmocka_unit_test(find__while_growing__finds_what_has_not_moved),
		cmocka_unit_test(drop__while_growing__removes_for_good),
		cmocka_unit_test(growth__done__gives_the_old_table_back),
		cmocka_unit_test(growth__leaves_pending_and_aborted_entries_behind),
		cmocka_unit_test(growth__without_room__leaves_the_table),
		cmocka_unit_test(table_slots_min__is_there_from_the_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
