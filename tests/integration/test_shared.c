/* Two caches on one real Redis: what one writes, the other one knows. Each cache is opened as its own process would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nearcache/nearcache.h>
#include "base/clock.h"
#include "support/redis_server.h"

#define KEY(s) s, sizeof(s) - 1
enum { SOON_MS = 5000 };

typedef struct pair {
	redis_server *redis;
	near_cache *a, *b;
} pair;

static near_cache *open_on(const char *url)
{
	near_options o;
	near_error error;
	near_cache *cache = NULL;
	near_options_init(&o);
	o.ignore_environment = 1;
	o.memory_bytes = 16 << 20;
	o.redis_url = url;
	if (near_open(&o, &cache, &error) != NEAR_OK)
		fail_msg("open: %s", error.text);
	assert_int_equal(near_wait_ready(cache, SOON_MS), NEAR_OK);
	return cache;
}
static int make(void **state)
{
	pair *p = calloc(1, sizeof *p);
	p->redis = redis_server_start(NULL);
	p->a = open_on(redis_server_url(p->redis));
	p->b = open_on(redis_server_url(p->redis));
	*state = p;
	return 0;
}
static int drop(void **state)
{
	pair *p = *state;
	near_close(p->a);
	near_close(p->b);
	redis_server_free(p->redis);
	free(p);
	return 0;
}
static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}
static near_stats stats_of(near_cache *cache)
{
	near_stats s;
	near_stats_get(cache, &s);
	return s;
}
/* Waits until the condition holds; false after SOON_MS. */
#define SOON(condition) soon_(({ int64_t end_ = near__now_ns() + SOON_MS * NEAR__MS_NS; \
	while (!(condition) && near__now_ns() < end_) nap_ms(1); (condition); }))
static bool soon_(bool held)
{
	return held;
}

static near_status get(near_cache *cache, const char *key, char value[64], near_item *item)
{
	memset(value, 0, 64);
	return near_get(cache, key, strlen(key), value, 63, item);
}
static bool holds(near_cache *cache, const char *key, const char *value)
{
	char got[64];
	return get(cache, key, got, NULL) == NEAR_OK && strcmp(got, value) == 0;
}

static void put__by_one__is_read_by_the_other_from_l2_then_l1(void **state)
{
	pair *p = *state;
	char got[64];
	near_item item;
	assert_int_equal(near_put(p->a, KEY("k"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(get(p->a, "k", got, &item), NEAR_OK);
	assert_int_equal(item.source, NEAR_FROM_L1);
	assert_int_equal(get(p->b, "k", got, &item), NEAR_OK);
	assert_int_equal(item.source, NEAR_FROM_L2);
	assert_string_equal(got, "1");
	/* The put's message may come after that read and drop what it kept, once. */
	assert_true(SOON(get(p->b, "k", got, &item) == NEAR_OK && item.source == NEAR_FROM_L1));
	assert_true(item.ttl_ms > 200000 && item.ttl_ms <= 300000);
}

static void put__again__replaces_the_others_copy(void **state)
{
	pair *p = *state;
	for (int i = 0; i < 200; i++) {
		char value[16];
		int n = snprintf(value, sizeof value, "%d", i);
		assert_int_equal(near_put(i % 2 ? p->a : p->b, KEY("k"), value, (size_t)n, NULL), NEAR_OK);
		assert_true(SOON(holds(p->a, "k", value)));
		assert_true(SOON(holds(p->b, "k", value)));
	}
	assert_int_equal(stats_of(p->a).gaps, 0);
	assert_int_equal(stats_of(p->b).flushes, stats_of(p->a).flushes);
}

static void own_put__is_not_dropped_by_its_own_message(void **state)
{
	pair *p = *state;
	char got[64];
	near_item item;
	for (int i = 0; i < 100; i++)
		assert_int_equal(near_put(p->a, KEY("mine"), "1", 1, NULL), NEAR_OK);
	assert_true(SOON(stats_of(p->a).messages_applied >= 100));
	assert_int_equal(get(p->a, "mine", got, &item), NEAR_OK);
	assert_int_equal(item.source, NEAR_FROM_L1);
}

static void invalidate__drops_everywhere__and_leaves_stale_for_those_who_ask(void **state)
{
	pair *p = *state;
	char got[64];
	near_call stale = NEAR_CALL_INIT;
	stale.flags = NEAR_STALE_ALLOWED;
	assert_int_equal(near_put(p->a, KEY("k"), "1", 1, NULL), NEAR_OK);
	assert_true(SOON(stats_of(p->b).messages_applied == 1));
	assert_true(holds(p->b, "k", "1"));
	assert_int_equal(near_invalidate(p->a, KEY("k"), NULL), NEAR_OK);
	assert_int_equal(get(p->a, "k", got, NULL), NEAR_MISS);
	assert_true(SOON(get(p->b, "k", got, NULL) == NEAR_MISS));
	assert_int_equal(near_get_with(p->b, KEY("k"), &stale, got, sizeof got, NULL), NEAR_STALE);
	assert_int_equal(near_remove(p->a, KEY("k"), NULL), NEAR_OK);
	assert_true(SOON(near_get_with(p->b, KEY("k"), &stale, got, sizeof got, NULL) == NEAR_MISS));
}

static void conditional_puts__decide_in_redis(void **state)
{
	pair *p = *state;
	near_call v = NEAR_CALL_INIT;
	assert_int_equal(near_replace(p->b, KEY("k"), "0", 1, NULL), NEAR_MISS);
	assert_int_equal(near_add(p->a, KEY("k"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_add(p->b, KEY("k"), "2", 1, NULL), NEAR_EXISTS);
	assert_int_equal(near_replace(p->b, KEY("k"), "3", 1, NULL), NEAR_OK);
	assert_true(SOON(holds(p->a, "k", "3")));
	v.version = 10;
	assert_int_equal(near_put(p->a, KEY("v"), "10", 2, &v), NEAR_OK);
	v.version = 9;
	assert_int_equal(near_put(p->b, KEY("v"), "9", 1, &v), NEAR_CONFLICT);
	v.version = 11;
	assert_int_equal(near_put_if_version(p->b, KEY("v"), "11", 2, 9, &v), NEAR_CONFLICT);
	assert_int_equal(near_put_if_version(p->b, KEY("v"), "11", 2, 10, &v), NEAR_OK);
	assert_true(SOON(holds(p->a, "v", "11")));
}

static void touch__extends_without_dropping_the_others_copy(void **state)
{
	pair *p = *state;
	uint64_t left;
	near_call ttl = NEAR_CALL_INIT;
	ttl.ttl_ms = 2000;
	assert_int_equal(near_put(p->a, KEY("k"), "1", 1, &ttl), NEAR_OK);
	assert_true(SOON(stats_of(p->b).messages_applied == 1));
	assert_true(holds(p->b, "k", "1"));
	uint64_t applied = stats_of(p->b).messages_applied;
	assert_int_equal(near_touch(p->a, KEY("k"), 100000, NULL), NEAR_OK);
	assert_int_equal(near_ttl(p->a, KEY("k"), NULL, &left), NEAR_OK);
	assert_true(left > 50000);
	near_call beside = NEAR_CALL_INIT;
	beside.flags = NEAR_NO_L1;
	assert_int_equal(near_ttl(p->b, KEY("k"), &beside, &left), NEAR_OK);
	assert_true(left > 50000);
	assert_true(holds(p->b, "k", "1"));
	assert_int_equal(stats_of(p->b).messages_applied, applied);
}

static void get_many__takes_misses_from_l2_in_one_go(void **state)
{
	enum { N = 1500 };
	pair *p = *state;
	static char keys[N][16], bufs[N][16];
	static near_lookup lookups[N];
	for (int i = 0; i < N; i++) {
		int n = snprintf(keys[i], sizeof keys[i], "key:%d", i);
		if (i % 2 == 0)
			assert_int_equal(near_put(p->a, keys[i], (size_t)n, keys[i], (size_t)n, NULL), NEAR_OK);
		lookups[i] = (near_lookup){ .key = keys[i], .key_size = (size_t)n, .buf = bufs[i], .buf_size = 16 };
	}
	assert_true(SOON(stats_of(p->b).messages_applied == N / 2));
	for (int round = 0; round < 2; round++) {
		assert_int_equal(near_get_many(p->b, lookups, N, NULL), NEAR_OK);
		for (int i = 0; i < N; i++) {
			assert_int_equal(lookups[i].status, i % 2 == 0 ? NEAR_OK : NEAR_MISS);
			if (i % 2 == 0) {
				assert_int_equal(lookups[i].item.source, round == 0 ? NEAR_FROM_L2 : NEAR_FROM_L1);
				assert_memory_equal(bufs[i], keys[i], lookups[i].item.value_size);
			}
		}
	}
}

static void tag__invalidates_in_every_process_and_in_l2(void **state)
{
	pair *p = *state;
	char got[64], key[32];
	const char *tags[] = { "team:7" };
	near_call call = NEAR_CALL_INIT;
	call.tags = tags;
	call.tag_count = 1;
	for (int i = 0; i < 50; i++) {
		int n = snprintf(key, sizeof key, "member:%d", i);
		assert_int_equal(near_put(p->a, key, (size_t)n, "1", 1, &call), NEAR_OK);
		if (i % 2)
			assert_true(holds(p->b, key, "1"));
	}
	assert_int_equal(near_put(p->a, KEY("other"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_invalidate_tag(p->b, "team:7", NULL), NEAR_OK);
	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof key, "member:%d", i);
		assert_true(SOON(get(p->a, key, got, NULL) == NEAR_MISS));
		assert_true(SOON(get(p->b, key, got, NULL) == NEAR_MISS));
	}
	assert_true(holds(p->b, "other", "1"));
	assert_int_equal(near_put(p->b, KEY("member:0"), "2", 1, &call), NEAR_OK);
	assert_true(SOON(holds(p->a, "member:0", "2")));
}

static void namespaces_and_versions__are_apart(void **state)
{
	pair *p = *state;
	near_options o;
	near_cache *other = NULL;
	char got[64];
	near_options_init(&o);
	o.ignore_environment = 1;
	o.memory_bytes = 16 << 20;
	o.redis_url = redis_server_url(p->redis);
	o.schema_version = 2;
	assert_int_equal(near_open(&o, &other, NULL), NEAR_OK);
	assert_int_equal(near_wait_ready(other, SOON_MS), NEAR_OK);
	assert_int_equal(near_put(p->a, KEY("k"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(get(other, "k", got, NULL), NEAR_MISS);
	assert_int_equal(redis_server_integer(p->redis, "EXISTS near:v1:k"), 1);
	near_close(other);
}

static void stranger_bytes__under_our_key__are_a_counted_miss(void **state)
{
	pair *p = *state;
	char got[64];
	free(redis_server_command(p->redis, "SET near:v1:k hello"));
	free(redis_server_command(p->redis, "LPUSH near:v1:list hello"));
	assert_int_equal(get(p->a, "k", got, NULL), NEAR_MISS);
	assert_int_equal(get(p->a, "list", got, NULL), NEAR_MISS);
	assert_true(stats_of(p->a).l2_rejected >= 1);
	assert_int_equal(near_put(p->a, KEY("k"), "1", 1, NULL), NEAR_OK);
	assert_true(holds(p->b, "k", "1"));
}

static void subscriber_killed__replays_without_a_flush(void **state)
{
	pair *p = *state;
	char got[64];
	assert_int_equal(near_put(p->a, KEY("keep"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_put(p->a, KEY("gone"), "1", 1, NULL), NEAR_OK);
	assert_true(SOON(stats_of(p->b).messages_applied == 2));
	assert_true(holds(p->b, "keep", "1"));
	assert_true(holds(p->b, "gone", "1"));
	uint64_t flushes = stats_of(p->b).flushes, replays = stats_of(p->b).replays;
	assert_true(redis_server_integer(p->redis, "CLIENT KILL TYPE pubsub") >= 2);
	assert_int_equal(near_invalidate(p->a, KEY("gone"), NULL), NEAR_OK);
	assert_true(SOON(get(p->b, "gone", got, NULL) == NEAR_MISS));
	assert_true(SOON(stats_of(p->b).replays > replays));
	near_item item;
	assert_int_equal(get(p->b, "keep", got, &item), NEAR_OK);
	assert_int_equal(item.source, NEAR_FROM_L1);
	assert_int_equal(stats_of(p->b).flushes, flushes);
}

static void redis_restarted_empty__is_a_new_incarnation(void **state)
{
	pair *p = *state;
	assert_int_equal(near_put(p->a, KEY("k"), "1", 1, NULL), NEAR_OK);
	assert_true(holds(p->b, "k", "1"));
	redis_server_restart(p->redis, false);
	assert_int_equal(near_ping(p->a, SOON_MS), NEAR_OK);
	assert_int_equal(near_ping(p->b, SOON_MS), NEAR_OK);
	assert_true(SOON(near_put(p->a, KEY("k"), "2", 1, NULL) == NEAR_OK));
	assert_true(SOON(holds(p->b, "k", "2")));
	assert_true(SOON(holds(p->a, "k", "2")));
	assert_true(stats_of(p->b).incarnations >= 1);
}

static void redis_away__writes_are_queued_and_go_out_on_return(void **state)
{
	pair *p = *state;
	char got[64];
	assert_int_equal(near_put(p->a, KEY("q"), "1", 1, NULL), NEAR_OK);
	assert_true(holds(p->b, "q", "1"));
	redis_server_kill(p->redis);
	int64_t begun = near__now_ns();
	assert_int_equal(near_invalidate(p->a, KEY("q"), NULL), NEAR_QUEUED);
	assert_int_equal(near_put(p->a, KEY("w"), "2", 1, NULL), NEAR_QUEUED);
	assert_true(near__now_ns() - begun < 1500 * NEAR__MS_NS);
	assert_true(holds(p->a, "w", "2"));
	assert_int_equal(get(p->a, "q", got, NULL), NEAR_MISS);
	assert_int_equal(stats_of(p->a).journal_keys, 2);
	redis_server_restart(p->redis, false);
	assert_true(SOON(stats_of(p->a).journal_keys == 0));
	assert_true(stats_of(p->a).journal_sent >= 2);
	assert_true(SOON(near_put(p->b, KEY("w"), "3", 1, NULL) == NEAR_OK));
	assert_true(SOON(holds(p->a, "w", "3")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
		TEST(put__by_one__is_read_by_the_other_from_l2_then_l1),
		TEST(put__again__replaces_the_others_copy),
		TEST(own_put__is_not_dropped_by_its_own_message),
		TEST(invalidate__drops_everywhere__and_leaves_stale_for_those_who_ask),
		TEST(conditional_puts__decide_in_redis),
		TEST(touch__extends_without_dropping_the_others_copy),
		TEST(get_many__takes_misses_from_l2_in_one_go),
		TEST(tag__invalidates_in_every_process_and_in_l2),
		TEST(namespaces_and_versions__are_apart),
		TEST(stranger_bytes__under_our_key__are_a_counted_miss),
		TEST(subscriber_killed__replays_without_a_flush),
		TEST(redis_restarted_empty__is_a_new_incarnation),
		TEST(redis_away__writes_are_queued_and_go_out_on_return),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
