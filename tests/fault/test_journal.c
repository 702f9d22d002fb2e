/* Redis is away while a process writes: the answer is NEAR_QUEUED within the deadline, and what was queued takes
 * effect in every process and in Redis when it is back, also when more was written than the journal holds. */
#include "fault/crew.h"

enum { KEYS = 200, JOURNAL = 10, WRITER = 0 };

static void task_read_all(void)
{
	uint64_t version;
	for (int k = 0; k < KEYS; k++)
		(void)judged_read(k, 0, &version);
}

static void note(int at, near_status status, int64_t begun_ns)
{
	me->status[at] = (int)status;
	me->took_ms[at] = ms_since(begun_ns);
}

/* One of each kind of write, then an invalidation of all keys. */
static void task_write_while_away(void)
{
	int64_t begun_ns = near__now_ns();
	note(0, near_put(cache, "put", 3, "new", 3, NULL), begun_ns);
	begun_ns = near__now_ns();
	note(1, near_invalidate(cache, "invalidated", 11, NULL), begun_ns);
	begun_ns = near__now_ns();
	note(2, near_remove(cache, "removed", 7, NULL), begun_ns);
	begun_ns = near__now_ns();
	note(3, judged_tag_write(), begun_ns);
	me->status[4] = 0;
	for (int k = 0; k < KEYS; k++)
		me->status[4] += judged_write(k, false) == NEAR_QUEUED;
}

static void task_put_old(void)
{
	me->status[0] = near_put(cache, "put", 3, "old", 3, NULL) + near_put(cache, "invalidated", 11, "old", 3, NULL) +
	                near_put(cache, "removed", 7, "old", 3, NULL);
}

static void task_get_three(void)
{
	static const char *const keys[] = { "put", "invalidated", "removed" };
	char got[8];
	for (int i = 0; i < 3; i++)
		me->status[i] = near_get(cache, keys[i], strlen(keys[i]), got, sizeof got, NULL);
}

static void expect_each(int first, int last, int status)
{
	for (int i = first; i <= last; i++) {
		assert_int_equal(all->child[WRITER].status[i], status);
		assert_true(all->child[WRITER].took_ms[i] <= DEADLINE_MS + SLACK_MS);
	}
}

/* Values in Redis and in everybody's L1; Redis goes; one process writes; Redis is back with its old data. */
static void write_while_away(uint64_t journal_max, bool paused)
{
	crew_start(&(crew_options){ .keys = KEYS, .write_percent = -1, .journal_max = journal_max, .shards = 4 },
	           &(redis_server_options){ .persist = true });
	order_one(1, task_put_old);
	assert_int_equal(all->child[1].status[0], NEAR_OK);
	order_all(task_get_three);
	order_all(task_read_all);
	if (paused)
		redis_server_pause(redis);
	else
		redis_server_kill(redis);
	order_one(WRITER, task_write_while_away);
	expect_each(0, 3, NEAR_QUEUED);
	assert_int_equal(all->child[WRITER].status[4], KEYS);
	order_one(WRITER, task_report);
	assert_true(all->child[WRITER].stats.journal_keys > 0);
	assert_true(journal_max == 0 || all->child[WRITER].stats.journal_overflows > 0);
	if (paused)
		redis_server_resume(redis);
	else
		redis_server_restart(redis, true);
	atomic_store(&all->running, true);
	expect_well();
	expect_rest(); /* of the 200 keys and the tag */
	for (int i = 0; i < CREW_SIZE; i++) {
		order_one(i, task_get_three);
		for (int k = 0; k < 3; k++) /* of the three others: the writer's own put may only live in its process */
			assert_int_equal(all->child[i].status[k], NEAR_MISS);
	}
	assert_true(all->child[WRITER].stats.journal_sent > 0);
	expect_history();
	crew_end();
}

static void writes__redis_killed__are_queued_and_go_out_on_return(void **state)
{
	(void)state;
	write_while_away(0, false);
}

static void writes__redis_silent__are_queued_within_the_deadline_and_go_out_on_return(void **state)
{
	(void)state;
	write_while_away(0, true);
}

static void writes__more_than_the_journal_holds__flush_and_lose_nothing(void **state)
{
	(void)state;
	write_while_away(JOURNAL, false);
	assert_true(SUM(flushes) > 0);
}

static void writes__more_than_a_journal_of_one__flush_and_lose_nothing(void **state)
{
	(void)state;
	write_while_away(1, true);
	assert_true(SUM(flushes) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CREW_TEST(writes__redis_killed__are_queued_and_go_out_on_return),
		CREW_TEST(writes__redis_silent__are_queued_within_the_deadline_and_go_out_on_return),
		CREW_TEST(writes__more_than_the_journal_holds__flush_and_lose_nothing),
		CREW_TEST(writes__more_than_a_journal_of_one__flush_and_lose_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
