/* What the library keeps in Redis is taken away while four processes read and write: the data, the functions. */
#include "fault/crew.h"

static void empty_again_and_again(const char *command)
{
	crew_start(NULL, NULL);
	atomic_store(&all->running, true);
	for (int i = 0; i < 8; i++) {
		nap_ms(300);
		TELL_REDIS(command);
	}
	expect_well();
	nap_ms(300);
	expect_rest();
	expect_history();
	crew_end();
}

static void flushall__again_and_again__is_a_new_incarnation_and_nobody_is_stale(void **state)
{
	(void)state;
	empty_again_and_again("FLUSHALL");
	assert_true(SUM(incarnations) >= CREW_SIZE);
}

static void functions_flushed__again_and_again__are_loaded_again_and_nobody_is_stale(void **state)
{
	(void)state;
	empty_again_and_again("FUNCTION FLUSH");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CREW_TEST(flushall__again_and_again__is_a_new_incarnation_and_nobody_is_stale),
		CREW_TEST(functions_flushed__again_and_again__are_loaded_again_and_nobody_is_stale),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
