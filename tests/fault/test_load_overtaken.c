/* A load that is under way while the world goes on: who comes after an invalidation does not get what was read before
 * it, whether the invalidation was of a tag, or of an incarnation this process has not heard of, or could not be heard
 * of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nearcache/nearcache.h>
#include "base/clock.h"
#include "support/redis_server.h"

#define KEY(s) s, sizeof(s) - 1
enum { SOON_MS = 5000, LEASE_MS = 300 };

static const char *const tags[] = { "team" };
static const near_call tagged = { .struct_size = sizeof(near_call), .tags = tags, .tag_count = 1 };

static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static near_cache *open_on(const char *url)
{
	near_options o;
	near_error error;
	near_cache *cache = NULL;
	near_options_init(&o);
	o.ignore_environment = 1;
	o.memory_bytes = 16 << 20;
	o.redis_url = url;
	o.lease_ms = LEASE_MS;
	if (near_open(&o, &cache, &error) != NEAR_OK)
		fail_msg("open: %s", error.text);
	assert_int_equal(near_wait_ready(cache, SOON_MS), NEAR_OK);
	return cache;
}

/* A load in a thread of its own that has read the source and is held before it hands the value over. */
typedef struct slow_load {
	near_cache *cache;
	const near_call *call;
	pthread_t thread;
	_Atomic(int) has_read, let_go;
	near_status status;
	char got[8];
} slow_load;

static near_status read_slowly(void *ctx, const void *key, size_t key_size, near_loaded *loaded)
{
	slow_load *slow = ctx;
	(void)key;
	(void)key_size;
	slow->has_read = 1;
	while (!slow->let_go)
		nap_ms(1);
	return near_loaded_set(loaded, "old", 3);
}

static near_status read_new(void *ctx, const void *key, size_t key_size, near_loaded *loaded)
{
	(void)ctx;
	(void)key;
	(void)key_size;
	return near_loaded_set(loaded, "new", 3);
}

static void *run_slow(void *ctx)
{
	slow_load *slow = ctx;
	slow->status = near_load(slow->cache, KEY("k"), read_slowly, slow, slow->call, slow->got, 7, NULL);
	return NULL;
}

static void slow_begin(slow_load *slow, near_cache *cache, const near_call *call)
{
	*slow = (slow_load){ .cache = cache, .call = call };
	assert_int_equal(pthread_create(&slow->thread, NULL, run_slow, slow), 0);
	while (!slow->has_read)
		nap_ms(1);
}

static void *let_go_soon(void *ctx)
{
	slow_load *slow = ctx;
	nap_ms(200); /* time for the other caller to join, if it would */
	slow->let_go = 1;
	return NULL;
}

/* The next caller, while the slow one is held; then both are over. */
static void expect_next_is_new(slow_load *slow)
{
	char got[8] = "";
	pthread_t other;
	assert_int_equal(pthread_create(&other, NULL, let_go_soon, slow), 0);
	near_status status = near_load(slow->cache, KEY("k"), read_new, NULL, slow->call, got, 7, NULL);
	pthread_join(other, NULL);
	pthread_join(slow->thread, NULL);
	assert_int_equal(slow->status, NEAR_OK);
	assert_string_equal(slow->got, "old"); /* it asked before */
	assert_int_equal(status, NEAR_OK);
	assert_string_equal(got, "new");
}

static void expect_not_joined_over_a_tag(near_cache *cache, near_cache *invalidator)
{
	slow_load slow;
	near_stats before, now;
	slow_begin(&slow, cache, &tagged);
	near_stats_get(cache, &before);
	assert_int_equal(near_invalidate_tag(invalidator, "team", NULL), NEAR_OK);
	int64_t end_ns = near__now_ns() + SOON_MS * NEAR__MS_NS;
	do
		near_stats_get(cache, &now);
	while (cache != invalidator && now.messages_applied < before.messages_applied + 16 && near__now_ns() < end_ns);
	expect_next_is_new(&slow);
}

static void load__tag_invalidated_meanwhile__is_not_joined(void **state)
{
	near_cache *alone = open_on("");
	expect_not_joined_over_a_tag(alone, alone);
	near_close(alone);
	near_cache *a = open_on(redis_server_url(*state)), *b = open_on(redis_server_url(*state));
	expect_not_joined_over_a_tag(a, a);
	assert_int_equal(near_remove(a, KEY("k"), NULL), NEAR_OK);
	expect_not_joined_over_a_tag(a, b);
	near_close(a);
	near_close(b);
}

static void load__begun_before_the_connection_was_lost__is_not_joined_after_a_lease(void **state)
{
	slow_load slow;
	char url[64];
	redis_server *redis = *state;
	free(redis_server_command(redis, "ACL SETUSER apart on >word ~* &* +@all"));
	(void)snprintf(url, sizeof url, "redis://apart:word@127.0.0.1:%u", (unsigned)redis_server_port(redis));
	near_cache *a = open_on(url), *b = open_on(redis_server_url(redis));
	slow_begin(&slow, a, NULL);
	free(redis_server_command(redis, "ACL SETUSER apart off"));
	assert_true(redis_server_integer(redis, "CLIENT KILL USER apart") >= 2);
	assert_int_equal(near_invalidate(b, KEY("k"), NULL), NEAR_OK);
	nap_ms(LEASE_MS + 50); /* the promise's own time: from here on the old value would be older than the lease */
	expect_next_is_new(&slow);
	near_close(a);
	near_close(b);
}

static void tag__invalidated_just_after_flushall__is_gone_here_when_the_call_returns(void **state)
{
	enum { N = 64, ROUNDS = 30 };
	near_cache *cache = open_on(redis_server_url(*state));
	char key[16], got[8];
	int were_there = 0;
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < N; i++) {
			size_t n = (size_t)snprintf(key, sizeof key, "k:%d", i);
			assert_int_equal(near_put(cache, key, n, "old", 3, &tagged), NEAR_OK);
		}
		free(redis_server_command(*state, "FLUSHALL"));
		were_there += near_get(cache, KEY("k:0"), got, sizeof got, NULL) == NEAR_OK; /* not heard of it yet */
		assert_int_equal(near_invalidate_tag(cache, "team", NULL), NEAR_OK);
		for (int i = 0; i < N; i++) {
			size_t n = (size_t)snprintf(key, sizeof key, "k:%d", i);
			assert_int_equal(near_get(cache, key, n, got, sizeof got, NULL), NEAR_MISS);
		}
	}
	assert_true(were_there > 0);
	near_close(cache);
}

static void *get_on_and_on(void *ctx)
{
	slow_load *s = ctx; /* its cache, and let_go as the end */
	char got[8];
	while (!s->let_go)
		s->has_read += near_get(s->cache, KEY("k"), got, sizeof got, NULL) == NEAR_OK;
	return NULL;
}

static void invalidate__queued_under_readers_of_redis__is_gone_here_when_the_call_returns(void **state)
{
	enum { ROUNDS = 20, READERS = 3 };
	near_cache *cache = open_on(redis_server_url(*state));
	slow_load readers = { .cache = cache };
	pthread_t threads[READERS];
	char got[8];
	int put = 0, queued = 0, old = 0;
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_on_and_on, &readers), 0);
	for (int round = 0; round < ROUNDS; round++) {
		int64_t end_ns = near__now_ns() + SOON_MS * NEAR__MS_NS;
		bool done = false;
		while (!done && near__now_ns() < end_ns)
			done = near_put(cache, KEY("k"), "old", 3, NULL) == NEAR_OK;
		put += done;
		free(redis_server_command(*state, "REPLICAOF 127.0.0.1 1")); /* still gives the old value, and keeps it */
		queued += near_invalidate(cache, KEY("k"), NULL) == NEAR_QUEUED;
		for (int i = 0; i < 50; i++) {
			old += near_get(cache, KEY("k"), got, sizeof got, NULL) != NEAR_MISS;
			nap_ms(1);
		}
		free(redis_server_command(*state, "REPLICAOF NO ONE"));
	}
	readers.let_go = 1;
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	near_close(cache);
	assert_int_equal(put, ROUNDS);
	assert_int_equal(queued, ROUNDS);
	assert_int_equal(old, 0);
	assert_true(readers.has_read > 0);
}

static int start(void **state)
{
	*state = redis_server_start(&(redis_server_options){ .tcp = true });
	return 0;
}
static int stop(void **state)
{
	redis_server_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
		TEST(load__tag_invalidated_meanwhile__is_not_joined),
		TEST(load__begun_before_the_connection_was_lost__is_not_joined_after_a_lease),
		TEST(tag__invalidated_just_after_flushall__is_gone_here_when_the_call_returns),
		TEST(invalidate__queued_under_readers_of_redis__is_gone_here_when_the_call_returns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
