/* A process is stopped (SIGSTOP, as by a debugger or a machine that swaps) for longer than its lease and goes on: what
 * it serves after waking is bound by the lease, counted from before each read. */
#include "fault/crew.h"

enum { ROUNDS = 4, VICTIM = 1 };

static void stop_and_continue(bool cut)
{
	for (int round = 0; round < ROUNDS; round++) {
		nap_ms(300);
		atomic_fetch_add(&all->excused, 1);
		assert_int_equal(kill(all->child[VICTIM].pid, SIGSTOP), 0);
		if (cut) { /* what it would have found in its socket on waking is gone: only the log knows */
			nap_ms(LEASE_MS);
			assert_true(redis_server_integer(redis, "CLIENT KILL TYPE pubsub") >= CREW_SIZE);
		}
		nap_ms(cut ? 2 * LEASE_MS : 3 * LEASE_MS);
		assert_int_equal(kill(all->child[VICTIM].pid, SIGCONT), 0);
		expect_well();
		atomic_fetch_add(&all->excused, 1);
	}
	nap_ms(300);
	expect_rest();
	expect_history();
}

static void process_stopped_for_3_leases__serves_nothing_old_on_waking_and_catches_up(void **state)
{
	(void)state;
	crew_start(NULL, NULL);
	order_all(task_report);
	uint64_t flushes = SUM(flushes), applied = all->child[VICTIM].stats.messages_applied;
	atomic_store(&all->running, true);
	stop_and_continue(false);
	assert_int_equal(SUM(flushes), flushes);
	assert_true(all->child[VICTIM].stats.messages_applied > applied);
	crew_end();
}

static void process_stopped_and_cut_off__catches_up_by_replay(void **state)
{
	(void)state;
	crew_start(NULL, NULL);
	order_all(task_report);
	uint64_t flushes = SUM(flushes), replays = all->child[VICTIM].stats.replays;
	atomic_store(&all->running, true);
	stop_and_continue(true);
	assert_true(all->child[VICTIM].stats.replays > replays);
	assert_int_equal(SUM(flushes), flushes);
	crew_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CREW_TEST(process_stopped_for_3_leases__serves_nothing_old_on_waking_and_catches_up),
		CREW_TEST(process_stopped_and_cut_off__catches_up_by_replay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
