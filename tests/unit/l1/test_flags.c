/* What an entry keeps for its owner, and what replaces it although its version is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "l1/l1.h"

#define START_NS INT64_C(1000000000000)
#define SECOND_NS INT64_C(1000000000)

static near__stats *stats;
static near__l1 *l1;

static int open_l1(void **state)
{
	near__l1_config config = { .memory_bytes = NEAR__MEM_LIMIT_MIN, .sweep_ms = 1000 };

	(void)state;
	if (near__stats_create(&stats) != NEAR_OK)
		return 1;
	config.stats = stats;
	return near__l1_create(&config, &l1) != NEAR_OK;
}

static int close_l1(void **state)
{
	(void)state;
	near__l1_free(l1);
	near__stats_free(stats);
	return 0;
}

static near__l1_outcome put(near__l1_mode mode, uint32_t flags, uint64_t version, const char *value)
{
	near__l1_write write = {
		.hash = near__hash_local("k", 1), .key = "k", .key_size = 1, .value = value, .value_size = strlen(value),
		.asof = 5, .now_ns = START_NS, .fresh_until_ns = START_NS + 100 * SECOND_NS,
		.stale_until_ns = START_NS + 200 * SECOND_NS, .version = version, .delta_us = 3, .flags = flags, .mode = mode,
	};

	return near__l1_put(l1, &write);
}

static near__l1_view found(char value[16])
{
	near__thread *self = near__self();
	near__l1_view view;

	near__epoch_enter(self);
	assert_true(near__l1_find(l1, near__hash_local("k", 1), "k", 1, START_NS, &view));
	memcpy(value, view.value, view.value_size);
	value[view.value_size] = '\0';
	near__epoch_exit(self);
	return view;
}

static void find__each_set_of_flags__gives_them_back_and_everything_else(void **state)
{
	char value[16];

	(void)state;
	for (uint32_t flags = 0; flags <= NEAR__ENTRY_FLAGS; flags++) {
		assert_int_equal(put(NEAR__L1_FILL, flags, 9, "value"), NEAR__L1_INSTALLED);
		near__l1_view view = found(value);

		assert_int_equal(view.flags, flags);
		assert_int_equal(view.version, 9);
		assert_int_equal(view.delta_us, 3);
		assert_true(view.stale_until_ns > view.fresh_until_ns);
		assert_string_equal(value, "value");
	}
}

static void put__of_the_same_version__does_nothing(void **state)
{
	char value[16];

	(void)state;
	assert_int_equal(put(NEAR__L1_SET, 0, 9, "first"), NEAR__L1_INSTALLED);
	assert_int_equal(put(NEAR__L1_SET, 0, 9, "second"), NEAR__L1_NEWER);
	(void)found(value);
	assert_string_equal(value, "first");
}

static void fill__of_the_same_version__takes_its_place(void **state)
{
	char value[16];

	(void)state;
	assert_int_equal(put(NEAR__L1_SET, 0, 9, "first"), NEAR__L1_INSTALLED);
	assert_int_equal(put(NEAR__L1_FILL, NEAR__ENTRY_CALLER, 9, "second"), NEAR__L1_INSTALLED);
	assert_int_equal(found(value).flags, NEAR__ENTRY_CALLER);
	assert_string_equal(value, "second");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(find__each_set_of_flags__gives_them_back_and_everything_else, open_l1, close_l1),
		cmocka_unit_test_setup_teardown(put__of_the_same_version__does_nothing, open_l1, close_l1),
		cmocka_unit_test_setup_teardown(fill__of_the_same_version__takes_its_place, open_l1, close_l1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
