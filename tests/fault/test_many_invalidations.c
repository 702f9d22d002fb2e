/* 20,000 invalidations from one writer: every process applies every one, in sequence, and is left with nothing old. */
#include "fault/crew.h"

enum { KEYS = 500, INVALIDATIONS = 20000, WRITER = 0 };

static void task_write_all(void)
{
	me->status[0] = 0;
	for (int i = 0; i < INVALIDATIONS; i++)
		me->status[0] += judged_write(i % KEYS, false) == NEAR_OK;
}

static void task_read_all(void)
{
	uint64_t version;
	for (int k = 0; k < KEYS; k++)
		(void)judged_read(k, 0, &version);
}

static void invalidations__20000_of_one_writer__are_applied_by_all_and_none_is_lost(void **state)
{
	(void)state;
	uint64_t applied[CREW_SIZE];
	crew_start(&(crew_options){ .keys = KEYS, .write_percent = -1 }, NULL);
	order_all(task_read_all);
	order_all(task_report);
	for (int i = 0; i < CREW_SIZE; i++)
		applied[i] = all->child[i].stats.messages_applied;
	uint64_t flushes = SUM(flushes), loads = atomic_load(&all->loads);
	int64_t begun_ns = near__now_ns();
	atomic_store(&all->running, true); /* all read meanwhile */
	order_one(WRITER, task_write_all);
	print_message("%d invalidations in %lld ms\n", INVALIDATIONS, (long long)ms_since(begun_ns));
	assert_int_equal(all->child[WRITER].status[0], INVALIDATIONS);
	expect_rest();
	expect_history();
	for (int i = 0; i < CREW_SIZE; i++) {
		print_message("process %d applied %llu, duplicates %llu\n", i,
		              (unsigned long long)(all->child[i].stats.messages_applied - applied[i]),
		              (unsigned long long)all->child[i].stats.messages_duplicate);
		assert_true(all->child[i].stats.messages_applied - applied[i] >= INVALIDATIONS);
	}
	assert_int_equal(SUM(flushes), flushes);
	assert_int_equal(SUM(messages_malformed), 0);
	assert_true(atomic_load(&all->loads) > loads + KEYS);
	crew_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CREW_TEST(invalidations__20000_of_one_writer__are_applied_by_all_and_none_is_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
