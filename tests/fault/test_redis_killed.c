/* Redis dies and returns under four processes that read and write: with all its data, with an old snapshot of them,
 * with none. */
#include "fault/crew.h"

enum { ROUNDS = 3 };

static void kill_and_restart(bool keep_data, bool snapshot)
{
	for (int round = 0; round < ROUNDS; round++) {
		nap_ms(400);
		if (snapshot) /* what follows is lost */
			TELL_REDIS("SAVE");
		nap_ms(300);
		redis_server_kill(redis);
		nap_ms(round == 0 ? LEASE_MS / 2 : 2 * LEASE_MS);
		redis_server_restart(redis, keep_data);
		expect_well();
	}
	nap_ms(300);
	expect_rest();
	expect_history();
	crew_end();
}

static void redis_killed__back_empty__nobody_is_stale_and_all_work_within_5_s(void **state)
{
	(void)state;
	crew_start(NULL, NULL);
	atomic_store(&all->running, true);
	kill_and_restart(false, false);
	assert_true(SUM(incarnations) > 0);
}

static void redis_killed__back_with_its_data__nobody_is_stale_and_all_work_within_5_s(void **state)
{
	(void)state;
	crew_start(NULL, &(redis_server_options){ .persist = true });
	atomic_store(&all->running, true);
	kill_and_restart(true, false);
	assert_true(SUM(incarnations) > 0);
}

static void redis_killed__back_with_an_old_snapshot__nobody_is_stale_and_all_work_within_5_s(void **state)
{
	(void)state;
	crew_start(NULL, NULL);
	atomic_store(&all->running, true);
	kill_and_restart(true, true);
	assert_true(SUM(incarnations) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CREW_TEST(redis_killed__back_empty__nobody_is_stale_and_all_work_within_5_s),
		CREW_TEST(redis_killed__back_with_its_data__nobody_is_stale_and_all_work_within_5_s),
		CREW_TEST(redis_killed__back_with_an_old_snapshot__nobody_is_stale_and_all_work_within_5_s),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
