/* Connections die, one kind after the other, under four processes that read and write. */
#include "fault/crew.h"

static void kill_connections(const char *type, int times)
{
	long long killed = 0;
	for (int i = 0; i < times; i++) {
		nap_ms(150);
		killed += redis_server_integer(redis, "CLIENT KILL TYPE %s", type);
	}
	print_message("%lld connections killed\n", killed);
	assert_true(killed >= CREW_SIZE * 2);
	expect_well();
	nap_ms(300);
	expect_rest();
}

static void subscriptions_killed__again_and_again__all_is_replayed_and_nothing_flushed(void **state)
{
	(void)state;
	crew_start(NULL, NULL);
	order_all(task_report);
	uint64_t flushes = SUM(flushes), replays = SUM(replays);
	atomic_store(&all->running, true);
	kill_connections("pubsub", 20);
	expect_history();
	assert_true(SUM(replays) > replays);
	assert_int_equal(SUM(flushes), flushes);
	crew_end();
}

static void subscriptions_killed__log_too_short__is_flushed_and_nobody_is_stale(void **state)
{
	(void)state;
	crew_start(&(crew_options){ .log_max = 16, .shards = 1, .write_percent = 40 }, NULL);
	order_all(task_report);
	uint64_t flushes = SUM(flushes);
	atomic_store(&all->running, true);
	kill_connections("pubsub", 20);
	expect_history();
	assert_true(SUM(flushes) > flushes);
	crew_end();
}

static void data_connections_killed__again_and_again__nobody_is_stale(void **state)
{
	(void)state;
	crew_start(NULL, NULL);
	order_all(task_report);
	uint64_t reconnects = SUM(reconnects);
	atomic_store(&all->running, true);
	kill_connections("normal", 20);
	expect_history();
	assert_true(SUM(reconnects) > reconnects);
	crew_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CREW_TEST(subscriptions_killed__again_and_again__all_is_replayed_and_nothing_flushed),
		CREW_TEST(subscriptions_killed__log_too_short__is_flushed_and_nobody_is_stale),
		CREW_TEST(data_connections_killed__again_and_again__nobody_is_stale),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
