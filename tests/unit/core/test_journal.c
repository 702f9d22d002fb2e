/* The journal keeps one note a key, oldest first, and turns what does not fit into a note of the whole shard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/journal.h"

enum { SHARDS = 4, KEYS = 8 };

static int make(void **state)
{
	struct near__journal *j;
	if (near__journal_create(SHARDS, KEYS, &j) != NEAR_OK)
		return -1;
	*state = j;
	return 0;
}
static int drop(void **state)
{
	near__journal_free(*state);
	return 0;
}
static bool add(struct near__journal *j, unsigned shard, near__change change, const char *key)
{
	return near__journal_add(j, shard, change, key, strlen(key));
}
static bool has(struct near__journal *j, unsigned shard, const char *key)
{
	return near__journal_has(j, shard, key, strlen(key));
}

static void journal__empty__has_nothing(void **state)
{
	near__journal_item item;
	assert_false(has(*state, 0, "a"));
	assert_int_equal(near__journal_count(*state), 0);
	assert_false(near__journal_next(*state, &item));
}

static void journal__same_key_twice__is_one_note(void **state)
{
	assert_true(add(*state, 1, NEAR__CHANGE_INVALIDATE, "a"));
	assert_true(add(*state, 1, NEAR__CHANGE_INVALIDATE, "a"));
	assert_int_equal(near__journal_count(*state), 1);
	assert_true(has(*state, 1, "a"));
	assert_false(has(*state, 1, "b"));
}

static void journal__invalidate_then_remove__sends_the_stronger(void **state)
{
	near__journal_item item;
	assert_true(add(*state, 1, NEAR__CHANGE_REMOVE, "a"));
	assert_true(add(*state, 1, NEAR__CHANGE_INVALIDATE, "a"));
	assert_true(near__journal_next(*state, &item));
	assert_int_equal(item.change, NEAR__CHANGE_REMOVE);
}

static void journal__sends_oldest_first__until_empty(void **state)
{
	const char *keys[] = { "a", "b", "c" };
	near__journal_item item;
	for (int i = 0; i < 3; i++)
		assert_true(add(*state, (unsigned)i, NEAR__CHANGE_INVALIDATE, keys[i]));
	for (int i = 0; i < 3; i++) {
		assert_true(near__journal_next(*state, &item));
		assert_int_equal(item.shard, i);
		assert_int_equal(item.key_size, 1);
		assert_memory_equal(item.key, keys[i], 1);
		near__journal_done(*state, &item);
	}
	assert_false(near__journal_next(*state, &item));
	assert_int_equal(near__journal_count(*state), 0);
}

static void journal__noted_again_while_sent__stays(void **state)
{
	near__journal_item item;
	assert_true(add(*state, 1, NEAR__CHANGE_INVALIDATE, "a"));
	assert_true(near__journal_next(*state, &item));
	assert_true(add(*state, 1, NEAR__CHANGE_INVALIDATE, "a"));
	near__journal_done(*state, &item);
	assert_true(has(*state, 1, "a"));
	assert_true(near__journal_next(*state, &item));
	near__journal_done(*state, &item);
	assert_false(has(*state, 1, "a"));
}

static void journal__overflow__notes_the_shard(void **state)
{
	near__journal_item item;
	char key[2] = "A";
	for (int i = 0; i < KEYS; i++, key[0]++)
		assert_true(add(*state, 2, NEAR__CHANGE_INVALIDATE, key));
	assert_false(add(*state, 3, NEAR__CHANGE_INVALIDATE, "overflow"));
	assert_true(has(*state, 3, "any key of the shard"));
	assert_false(has(*state, 1, "any key of another one"));
	assert_true(near__journal_next(*state, &item));
	assert_true(item.void_shard);
	assert_int_equal(item.shard, 3);
	near__journal_done(*state, &item);
	assert_false(has(*state, 3, "any key of the shard"));
	assert_true(near__journal_next(*state, &item));
	assert_false(item.void_shard);
	assert_memory_equal(item.key, "A", 1);
}

static void journal__shard_noted_again_while_sent__stays(void **state)
{
	near__journal_item item;
	char key[2] = "A";
	for (int i = 0; i < KEYS; i++, key[0]++)
		assert_true(add(*state, 2, NEAR__CHANGE_INVALIDATE, key));
	assert_false(add(*state, 3, NEAR__CHANGE_INVALIDATE, "x"));
	assert_true(near__journal_next(*state, &item));
	assert_false(add(*state, 3, NEAR__CHANGE_INVALIDATE, "y"));
	near__journal_done(*state, &item);
	assert_true(has(*state, 3, "y"));
}

static void journal__tag__holds_up_every_key_and_goes_first(void **state)
{
	uint64_t tag = 42;
	near__journal_item item;
	assert_true(add(*state, 1, NEAR__CHANGE_INVALIDATE, "a"));
	assert_true(near__journal_add(*state, 0, NEAR__CHANGE_TAG, &tag, sizeof tag));
	assert_true(has(*state, 3, "any key"));
	assert_true(near__journal_next(*state, &item));
	assert_int_equal(item.change, NEAR__CHANGE_TAG);
	assert_memory_equal(item.key, &tag, sizeof tag);
	near__journal_done(*state, &item);
	assert_false(has(*state, 3, "any key"));
	assert_true(has(*state, 1, "a"));
}

static void journal__tag_overflow__notes_every_shard(void **state)
{
	uint64_t tag = 42;
	char key[2] = "A";
	for (int i = 0; i < KEYS; i++, key[0]++)
		assert_true(add(*state, 2, NEAR__CHANGE_INVALIDATE, key));
	assert_false(near__journal_add(*state, 0, NEAR__CHANGE_TAG, &tag, sizeof tag));
	for (unsigned s = 0; s < SHARDS; s++)
		assert_true(has(*state, s, "any key"));
	assert_int_equal(near__journal_count(*state), KEYS + SHARDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(journal__empty__has_nothing, make, drop),
		cmocka_unit_test_setup_teardown(journal__same_key_twice__is_one_note, make, drop),
		cmocka_unit_test_setup_teardown(journal__invalidate_then_remove__sends_the_stronger, make, drop),
		cmocka_unit_test_setup_teardown(journal__sends_oldest_first__until_empty, make, drop),
		cmocka_unit_test_setup_teardown(journal__noted_again_while_sent__stays, make, drop),
		cmocka_unit_test_setup_teardown(journal__overflow__notes_the_shard, make, drop),
		cmocka_unit_test_setup_teardown(journal__shard_noted_again_while_sent__stays, make, drop),
		cmocka_unit_test_setup_teardown(journal__tag__holds_up_every_key_and_goes_first, make, drop),
		cmocka_unit_test_setup_teardown(journal__tag_overflow__notes_every_shard, make, drop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
