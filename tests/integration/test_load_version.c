/* Loads of a value that carries a version and has not changed: the version is the one that is there already, and what the
 * load brought counts all the same. With Redis away what was loaded is served for one lease; with Redis there a refresh
 * before expiry begins a new life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <time.h>

#include <nearcache/nearcache.h>
#include "base/clock.h"
#include "support/redis_server.h"

#define LEASE_MS 400
enum { SOON_MS = 5000 };

static redis_server *redis;
static _Atomic(int) runs;
static uint64_t version;
static int cost_ms;

static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static near_status read_source(void *ctx, const void *key, size_t key_size, near_loaded *loaded)
{
	(void)ctx;
	(void)key;
	(void)key_size;
	runs++;
	nap_ms(cost_ms);
	loaded->version = version;
	return near_loaded_set(loaded, "value", 5);
}

static near_cache *open_cache(void)
{
	near_options o;
	near_error error;
	near_cache *cache = NULL;
	near_options_init(&o);
	o.ignore_environment = 1;
	o.memory_bytes = 16 << 20;
	o.lease_ms = LEASE_MS;
	o.redis_url = redis_server_url(redis);
	if (near_open(&o, &cache, &error) != NEAR_OK)
		fail_msg("open: %s", error.text);
	assert_int_equal(near_wait_ready(cache, SOON_MS), NEAR_OK);
	return cache;
}

static near_item ask_item(near_cache *cache, uint64_t ttl_ms)
{
	near_call call = NEAR_CALL_INIT;
	near_item item;
	char value[8];
	call.ttl_ms = ttl_ms;
	assert_int_equal(near_load(cache, "key", 3, read_source, NULL, &call, value, sizeof value, &item), NEAR_OK);
	assert_int_equal(item.version, version);
	return item;
}
static near_source ask(near_cache *cache, uint64_t ttl_ms)
{
	return ask_item(cache, ttl_ms).source;
}

/* The load before the kill leaves the same version in L1, whose life is not over; only the lease is. */
static void alone(uint64_t of_version)
{
	redis = redis_server_start(NULL);
	version = of_version;
	runs = cost_ms = 0;
	near_cache *cache = open_cache();
	assert_int_equal(ask(cache, 60000), NEAR_FROM_LOADER);
	assert_int_equal(ask(cache, 60000), NEAR_FROM_L1);
	redis_server_kill(redis);
	int64_t until_ns = near__now_ns() + SOON_MS * NEAR__MS_NS;
	while (ask(cache, 60000) == NEAR_FROM_L1 && near__now_ns() < until_ns)
		nap_ms(1); /* until the lease has run out and the source was asked */
	assert_int_equal(runs, 2);
	int hits = 0;
	int64_t begin_ns = near__now_ns();
	while (near__now_ns() - begin_ns < LEASE_MS * NEAR__MS_NS / 2)
		hits += ask(cache, 60000) == NEAR_FROM_L1;
	/* A machine that stalls for half a lease may end the value's life in between, no more often than once. */
	assert_true(runs <= 3);
	assert_true(hits > 0);
	near_close(cache);
	redis_server_free(redis);
}

static void load__with_redis_away__is_served_from_l1_for_a_lease(void **state)
{
	(void)state;
	alone(0);
}

static void load__with_redis_away_of_the_version_that_is_there__is_served_as_well(void **state)
{
	(void)state;
	alone(7);
}

static void refresh__of_an_unchanged_version__begins_a_new_life(void **state)
{
	(void)state;
	redis = redis_server_start(NULL);
	version = 7;
	runs = 0;
	cost_ms = 40;
	near_cache *cache = open_cache();
	/* A new life shows as an answer that has longer to live than the one before it, while that one's life was not over, and
	 * without a wait for a load. It may come from Redis: a caller who meets the moment in which the new entry has taken the old
	 * one's place and is not yet valid asks there. Without the new life L1 would give the old one until it ends. */
	int64_t left_ms = INT64_MAX;
	int renewed = 0;
	int64_t until_ns = near__now_ns() + 20000 * NEAR__MS_NS;
	while (renewed < 3 && near__now_ns() < until_ns) {
		int64_t begun_ns = near__now_ns();
		near_item item = ask_item(cache, 500);
		bool waited = near__now_ns() - begun_ns > cost_ms * NEAR__MS_NS / 2;
		renewed += !waited && left_ms > 10 && left_ms != INT64_MAX && item.ttl_ms > left_ms + 100;
		left_ms = waited ? INT64_MAX : item.ttl_ms;
	}
	assert_int_equal(renewed, 3);
	near_close(cache);
	redis_server_free(redis);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(load__with_redis_away__is_served_from_l1_for_a_lease),
		cmocka_unit_test(load__with_redis_away_of_the_version_that_is_there__is_served_as_well),
		cmocka_unit_test(refresh__of_an_unchanged_version__begins_a_new_life),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
