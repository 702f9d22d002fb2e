/* Redis is stopped (SIGSTOP: connections stay, nothing is answered): every kind of call is back within its deadline
 * with a status that its contract names; afterwards all works again. */
#include "fault/crew.h"

static void redis_stopped__under_load__nobody_is_stale_and_all_work_within_5_s(void **state)
{
	(void)state;
	crew_start(NULL, NULL);
	atomic_store(&all->running, true);
	for (int round = 0; round < 4; round++) {
		nap_ms(400);
		redis_server_pause(redis);
		nap_ms(round % 2 == 0 ? LEASE_MS / 2 : 4 * LEASE_MS);
		redis_server_resume(redis);
		expect_well();
	}
	nap_ms(300);
	expect_rest();
	expect_history();
	crew_end();
}

enum {
	GET, GET_PINNED, GET_MANY, EXISTS, TTL, PUT, ADD, REPLACE, PUT_IF_VERSION, TOUCH, INVALIDATE, REMOVE, INVALIDATE_TAG,
	LOAD, LOAD_PINNED, PING, WAIT_READY, CALLS
};
static const char *const call_name[CALLS] = { "get", "get_pinned", "get_many", "exists", "ttl", "put", "add", "replace",
	"put_if_version", "touch", "invalidate", "remove", "invalidate_tag", "load", "load_pinned", "ping", "wait_ready" };

#define NOTE(at, call) do { \
	int64_t begun_ns_ = near__now_ns(); \
	me->status[at] = (int)(call); \
	me->took_ms[at] = ms_since(begun_ns_); \
} while (0)

static void task_call_reads(void)
{
	char got[32];
	uint64_t ttl_ms;
	near_pin pin = { 0 };
	near_lookup lookups[3];
	for (int i = 0; i < 3; i++)
		lookups[i] = (near_lookup){ .key = &"key:0\0key:1\0key:2"[6 * i], .key_size = 5, .buf = got, .buf_size = 32,
			                        .status = NEAR_E_SYSTEM };
	NOTE(GET, near_get(cache, "key:0", 5, got, sizeof got, NULL));
	NOTE(GET_PINNED, near_get_pinned(cache, "key:0", 5, NULL, &pin));
	near_unpin(&pin);
	NOTE(GET_MANY, near_get_many(cache, lookups, 3, NULL));
	for (int i = 0; i < 3 && me->status[GET_MANY] == NEAR_OK; i++)
		me->status[GET_MANY] = (int)lookups[i].status; /* the first that is not NEAR_OK, or that */
	NOTE(EXISTS, near_exists(cache, "key:0", 5, NULL));
	NOTE(TTL, near_ttl(cache, "key:0", 5, NULL, &ttl_ms));
}

static void task_call_others(void)
{
	char got[32];
	near_call version = NEAR_CALL_INIT;
	near_pin pin = { 0 };
	version.version = 2;
	NOTE(PING, near_ping(cache, DEADLINE_MS));
	NOTE(WAIT_READY, near_wait_ready(cache, DEADLINE_MS));
	NOTE(ADD, near_add(cache, "a", 1, "1", 1, NULL));
	NOTE(REPLACE, near_replace(cache, "key:1", 5, "1", 1, NULL));
	NOTE(PUT_IF_VERSION, near_put_if_version(cache, "key:2", 5, "1", 1, 1, &version));
	NOTE(TOUCH, near_touch(cache, "key:3", 5, 5000, NULL));
	NOTE(PUT, near_put(cache, "p", 1, "1", 1, NULL));
	NOTE(INVALIDATE, near_invalidate(cache, "key:4", 5, NULL));
	NOTE(REMOVE, near_remove(cache, "key:5", 5, NULL));
	NOTE(LOAD, near_load(cache, "key:6", 5, read_source, NULL, NULL, got, sizeof got, NULL));
	NOTE(LOAD_PINNED, near_load_pinned(cache, "key:7", 5, read_source, NULL, NULL, &pin));
	near_unpin(&pin);
	NOTE(INVALIDATE_TAG, near_invalidate_tag(cache, "fourth", NULL));
}

static void expect_one_of(int i, int at, near_status one, near_status other)
{
	int status = all->child[i].status[at];
	if (status != (int)one && status != (int)other)
		fail_msg("near_%s of process %d answered %s", call_name[at], i, near_status_name((near_status)status));
	if (all->child[i].took_ms[at] > (at == LOAD || at == LOAD_PINNED ? 2 : 1) * DEADLINE_MS + SLACK_MS)
		fail_msg("near_%s took %lld ms", call_name[at], (long long)all->child[i].took_ms[at]);
}

static void expect_others_refused(int i)
{
	for (int at = PUT; at <= WAIT_READY; at++)
		if (at >= ADD && at <= TOUCH)
			expect_one_of(i, at, NEAR_E_UNAVAILABLE, NEAR_E_TIMEOUT);
		else if (at == PUT || (at >= INVALIDATE && at <= INVALIDATE_TAG))
			expect_one_of(i, at, NEAR_QUEUED, NEAR_QUEUED);
		else if (at == LOAD || at == LOAD_PINNED)
			expect_one_of(i, at, NEAR_OK, NEAR_OK);
		else
			expect_one_of(i, at, NEAR_E_TIMEOUT, NEAR_E_UNAVAILABLE);
}

static void task_read_all(void)
{
	uint64_t version;
	for (int k = 0; k < all->o.keys; k++)
		(void)judged_read(k, 0, &version);
}

static void redis_stopped__each_call__answers_in_time_as_documented(void **state)
{
	(void)state;
	crew_start(&(crew_options){ .write_percent = -1 }, NULL);
	order_all(task_read_all);
	order_all(task_call_reads);
	for (int at = GET; at <= TTL; at++)
		expect_one_of(0, at, NEAR_OK, NEAR_OK);
	redis_server_pause(redis);
	order_all(task_nothing);
	nap_ms(2 * LEASE_MS); /* the leases run out, which is what is asked about */
	order_all(task_call_reads);
	for (int i = 0; i < CREW_SIZE; i++)
		for (int at = GET; at <= TTL; at++)
			expect_one_of(i, at, NEAR_MISS, NEAR_MISS);
	order_all(task_call_others);
	for (int i = 0; i < CREW_SIZE; i++)
		expect_others_refused(i);
	redis_server_resume(redis);
	atomic_store(&all->running, true);
	expect_well();
	expect_rest();
	order_all(task_call_reads);
	for (int i = 0; i < CREW_SIZE; i++)
		for (int at = GET; at <= TTL; at++)
			expect_one_of(i, at, NEAR_OK, NEAR_OK);
	expect_history();
	crew_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CREW_TEST(redis_stopped__under_load__nobody_is_stale_and_all_work_within_5_s),
		CREW_TEST(redis_stopped__each_call__answers_in_time_as_documented),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
