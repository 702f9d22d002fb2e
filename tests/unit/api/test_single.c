/* The whole API without Redis: a single-process cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nearcache/nearcache.h>

#define KEY(s) s, sizeof(s) - 1

static near_cache *open_with(void (*change)(near_options *o))
{
	near_options o;
	near_cache *cache = NULL;
	near_error error;
	near_options_init(&o);
	o.ignore_environment = 1;
	o.memory_bytes = 32 << 20;
	if (change != NULL)
		change(&o);
	if (near_open(&o, &cache, &error) != NEAR_OK)
		fail_msg("open: %s", error.text);
	return cache;
}
static int open_plain(void **state)
{
	*state = open_with(NULL);
	return 0;
}
static int close_it(void **state)
{
	near_close(*state);
	return 0;
}
static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}
static near_call with_ttl(uint64_t ttl_ms)
{
	near_call call = NEAR_CALL_INIT;
	call.ttl_ms = ttl_ms;
	return call;
}
static void assert_there(near_cache *cache, const char *key, const char *value)
{
	char buf[256];
	near_item item;
	assert_int_equal(near_get(cache, key, strlen(key), buf, sizeof buf, &item), NEAR_OK);
	assert_int_equal(item.value_size, strlen(value));
	assert_memory_equal(buf, value, item.value_size);
	assert_int_equal(item.source, NEAR_FROM_L1);
}
static near_status get_status(near_cache *cache, const char *key)
{
	char buf[256];
	return near_get(cache, key, strlen(key), buf, sizeof buf, NULL);
}

static void get__never_put__misses(void **state)
{
	assert_int_equal(get_status(*state, "nothing"), NEAR_MISS);
}

static void get__after_put__delivers_and_counts(void **state)
{
	near_stats stats;
	assert_int_equal(near_put(*state, KEY("a"), "1", 1, NULL), NEAR_OK);
	assert_there(*state, "a", "1");
	near_stats_get(*state, &stats);
	assert_int_equal(stats.l1_hits, 1);
	assert_int_equal(stats.puts, 1);
	assert_int_equal(stats.items, 1);
}

static void get__buffer_too_small__says_the_need_and_copies_nothing(void **state)
{
	char buf[4] = "xyz";
	near_item item;
	assert_int_equal(near_put(*state, KEY("a"), "12345", 5, NULL), NEAR_OK);
	assert_int_equal(near_get(*state, KEY("a"), buf, 3, &item), NEAR_E_NOSPACE);
	assert_int_equal(item.value_size, 5);
	assert_string_equal(buf, "xyz");
}

static void put__empty_value__is_a_value(void **state)
{
	near_item item;
	assert_int_equal(near_put(*state, KEY("e"), NULL, 0, NULL), NEAR_OK);
	assert_int_equal(near_get(*state, KEY("e"), NULL, 0, &item), NEAR_OK);
	assert_int_equal(item.value_size, 0);
}

static void calls__arguments_out_of_range__are_refused(void **state)
{
	char long_key[NEAR_KEY_MAX + 1] = { 0 };
	near_call tagged = NEAR_CALL_INIT;
	const char *tags[] = { "" };
	tagged.tags = tags;
	tagged.tag_count = 1;
	assert_int_equal(near_put(*state, "", 0, "1", 1, NULL), NEAR_E_USAGE);
	assert_int_equal(near_put(*state, long_key, sizeof long_key, "1", 1, NULL), NEAR_E_USAGE);
	assert_int_equal(near_put(*state, long_key, NEAR_KEY_MAX, "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_put(*state, KEY("a"), NULL, 1, NULL), NEAR_E_USAGE);
	assert_int_equal(near_put(*state, KEY("a"), "1", 1, &tagged), NEAR_E_USAGE);
	assert_int_equal(near_get(*state, KEY("a"), NULL, 5, NULL), NEAR_E_USAGE);
	assert_int_equal(near_get(NULL, KEY("a"), NULL, 0, NULL), NEAR_E_USAGE);
	assert_int_equal(near_touch(*state, KEY("a"), 0, NULL), NEAR_E_USAGE);
}

static void small_values(near_options *o)
{
	o->value_max_bytes = 1000;
}
static void put__over_the_largest_value__is_refused(void **state)
{
	(void)state;
	static char value[1001];
	near_cache *cache = open_with(small_values);
	assert_int_equal(near_put(cache, KEY("a"), value, 1000, NULL), NEAR_OK);
	assert_int_equal(near_put(cache, KEY("a"), value, 1001, NULL), NEAR_E_TOO_LARGE);
	near_close(cache);
}

static void get__after_expiry__misses_and_stale_if_asked(void **state)
{
	char buf[8];
	near_item item;
	near_call ttl = with_ttl(30), stale = NEAR_CALL_INIT;
	stale.flags = NEAR_STALE_ALLOWED;
	assert_int_equal(near_put(*state, KEY("a"), "1", 1, &ttl), NEAR_OK);
	nap(60);
	assert_int_equal(get_status(*state, "a"), NEAR_MISS);
	assert_int_equal(near_get_with(*state, KEY("a"), &stale, buf, sizeof buf, &item), NEAR_STALE);
	assert_int_equal(item.value_size, 1);
	assert_true(item.ttl_ms <= 0);
}

static void invalidate__keeps_a_stale_value__remove_does_not(void **state)
{
	char buf[8];
	near_call stale = NEAR_CALL_INIT;
	stale.flags = NEAR_STALE_ALLOWED;
	assert_int_equal(near_put(*state, KEY("a"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_invalidate(*state, KEY("a"), NULL), NEAR_OK);
	assert_int_equal(get_status(*state, "a"), NEAR_MISS);
	assert_int_equal(near_get_with(*state, KEY("a"), &stale, buf, sizeof buf, NULL), NEAR_STALE);
	assert_int_equal(near_remove(*state, KEY("a"), NULL), NEAR_OK);
	assert_int_equal(near_get_with(*state, KEY("a"), &stale, buf, sizeof buf, NULL), NEAR_MISS);
}

static void put__after_invalidate__is_fresh_again(void **state)
{
	assert_int_equal(near_put(*state, KEY("a"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_invalidate(*state, KEY("a"), NULL), NEAR_OK);
	assert_int_equal(near_put(*state, KEY("a"), "2", 1, NULL), NEAR_OK);
	assert_there(*state, "a", "2");
}

static void add_and_replace__depend_on_presence(void **state)
{
	assert_int_equal(near_replace(*state, KEY("a"), "0", 1, NULL), NEAR_MISS);
	assert_int_equal(near_add(*state, KEY("a"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_add(*state, KEY("a"), "2", 1, NULL), NEAR_EXISTS);
	assert_there(*state, "a", "1");
	assert_int_equal(near_replace(*state, KEY("a"), "3", 1, NULL), NEAR_OK);
	assert_there(*state, "a", "3");
	assert_int_equal(near_invalidate(*state, KEY("a"), NULL), NEAR_OK);
	assert_int_equal(near_replace(*state, KEY("a"), "4", 1, NULL), NEAR_MISS);
	assert_int_equal(near_add(*state, KEY("a"), "5", 1, NULL), NEAR_OK);
	assert_there(*state, "a", "5");
}

static void versions__higher_wins_and_compare_and_put_compares(void **state)
{
	near_call v = NEAR_CALL_INIT;
	v.version = 5;
	assert_int_equal(near_put(*state, KEY("a"), "5", 1, &v), NEAR_OK);
	assert_int_equal(near_put(*state, KEY("a"), "x", 1, &v), NEAR_CONFLICT);
	v.version = 4;
	assert_int_equal(near_put(*state, KEY("a"), "x", 1, &v), NEAR_CONFLICT);
	v.version = 6;
	assert_int_equal(near_put(*state, KEY("a"), "6", 1, &v), NEAR_OK);
	v.version = 7;
	assert_int_equal(near_put_if_version(*state, KEY("a"), "x", 1, 5, &v), NEAR_CONFLICT);
	assert_int_equal(near_put_if_version(*state, KEY("a"), "7", 1, 6, &v), NEAR_OK);
	assert_there(*state, "a", "7");
	assert_int_equal(near_put_if_version(*state, KEY("b"), "7", 1, 6, &v), NEAR_MISS);
}

static void touch_and_ttl__move_the_end(void **state)
{
	near_call ttl = with_ttl(50);
	uint64_t left;
	assert_int_equal(near_ttl(*state, KEY("a"), NULL, &left), NEAR_MISS);
	assert_int_equal(near_put(*state, KEY("a"), "1", 1, &ttl), NEAR_OK);
	assert_int_equal(near_ttl(*state, KEY("a"), NULL, &left), NEAR_OK);
	assert_true(left <= 50);
	assert_int_equal(near_touch(*state, KEY("a"), 10000, NULL), NEAR_OK);
	nap(80);
	assert_there(*state, "a", "1");
	assert_int_equal(near_exists(*state, KEY("a"), NULL), NEAR_OK);
	assert_int_equal(near_ttl(*state, KEY("a"), NULL, &left), NEAR_OK);
	assert_true(left > 5000 && left <= 10000);
	assert_int_equal(near_touch(*state, KEY("b"), 10000, NULL), NEAR_MISS);
}

static void pin__outlives_replacement_removal_and_close(void **state)
{
	(void)state;
	near_cache *cache = open_with(NULL);
	near_pin pin;
	static char big[100000];
	memset(big, 'x', sizeof big);
	assert_int_equal(near_put(cache, KEY("a"), big, sizeof big, NULL), NEAR_OK);
	assert_int_equal(near_get_pinned(cache, KEY("a"), NULL, &pin), NEAR_OK);
	assert_int_equal(near_put(cache, KEY("a"), "2", 1, NULL), NEAR_OK);
	assert_int_equal(near_remove(cache, KEY("a"), NULL), NEAR_OK);
	near_close(cache);
	assert_int_equal(pin.value_size, sizeof big);
	assert_memory_equal(pin.value, big, sizeof big);
	near_unpin(&pin);
	near_unpin(&pin);
}

static void get_many__mixes_hits_and_misses(void **state)
{
	enum { N = 500 };
	static char keys[N][16], bufs[N][16];
	static near_lookup lookups[N];
	for (int i = 0; i < N; i++) {
		int n = snprintf(keys[i], sizeof keys[i], "key:%d", i);
		if (i % 3 != 0)
			assert_int_equal(near_put(*state, keys[i], (size_t)n, keys[i], (size_t)n, NULL), NEAR_OK);
		lookups[i] = (near_lookup){ .key = keys[i], .key_size = (size_t)n, .buf = bufs[i], .buf_size = i == 1 ? 2 : 16 };
	}
	assert_int_equal(near_get_many(*state, lookups, N, NULL), NEAR_OK);
	for (int i = 0; i < N; i++) {
		assert_int_equal(lookups[i].status, i % 3 == 0 ? NEAR_MISS : i == 1 ? NEAR_E_NOSPACE : NEAR_OK);
		if (lookups[i].status == NEAR_OK)
			assert_memory_equal(bufs[i], keys[i], lookups[i].item.value_size);
	}
	assert_int_equal(near_get_many(*state, NULL, 0, NULL), NEAR_OK);
}

static void tags__invalidate_all_that_carry_them(void **state)
{
	const char *red[] = { "red" }, *both[] = { "blue", "red" };
	near_call call = NEAR_CALL_INIT;
	call.tags = red;
	call.tag_count = 1;
	assert_int_equal(near_put(*state, KEY("r"), "1", 1, &call), NEAR_OK);
	call.tags = both;
	call.tag_count = 2;
	assert_int_equal(near_put(*state, KEY("rb"), "1", 1, &call), NEAR_OK);
	call.tag_count = 1;
	assert_int_equal(near_put(*state, KEY("b"), "1", 1, &call), NEAR_OK);
	assert_int_equal(near_put(*state, KEY("plain"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_invalidate_tag(*state, "red", NULL), NEAR_OK);
	assert_int_equal(get_status(*state, "r"), NEAR_MISS);
	assert_int_equal(get_status(*state, "rb"), NEAR_MISS);
	assert_there(*state, "b", "1");
	assert_there(*state, "plain", "1");
	call.tags = red;
	assert_int_equal(near_put(*state, KEY("r"), "2", 1, &call), NEAR_OK);
	assert_there(*state, "r", "2");
}

static void two_caches_in_one_process__share_nothing(void **state)
{
	near_cache *other = open_with(NULL);
	assert_int_equal(near_put(*state, KEY("a"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(get_status(other, "a"), NEAR_MISS);
	near_close(other);
}

static void set_memory__within_reach__is_taken(void **state)
{
	near_stats stats;
	static char value[1000];
	char key[32];
	for (int i = 0; i < 20000; i++) {
		int n = snprintf(key, sizeof key, "k%d", i);
		assert_int_equal(near_put(*state, key, (size_t)n, value, sizeof value, NULL), NEAR_OK);
	}
	assert_int_equal(near_set_memory(*state, 16 << 20), NEAR_OK);
	near_stats_get(*state, &stats);
	assert_int_equal(stats.limit_bytes, 16 << 20);
	assert_true(stats.mapped_bytes <= stats.limit_bytes);
	assert_true(stats.items > 1000);
	assert_int_equal(near_set_memory(*state, 1 << 20), NEAR_E_USAGE);
	assert_int_equal(near_set_memory(*state, UINT64_C(1) << 50), NEAR_E_USAGE);
}

static void older_callers__with_shorter_structs__are_served(void **state)
{
	struct { size_t struct_size; uint64_t l1_hits; } stats = { 0, 99 };
	struct { size_t struct_size; uint32_t flags; } call = { sizeof(size_t) + sizeof(uint32_t), NEAR_STALE_ALLOWED };
	char buf[8];
	near_stats_get_sized(*state, (near_stats *)(void *)&stats, sizeof stats);
	assert_int_equal(stats.l1_hits, 0);
	assert_int_equal(near_put(*state, KEY("a"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_invalidate(*state, KEY("a"), NULL), NEAR_OK);
	assert_int_equal(near_get_with(*state, KEY("a"), (const near_call *)(const void *)&call, buf, sizeof buf, NULL),
	                 NEAR_STALE);
}

static void texts__cut_short__end_in_nul_and_say_the_need(void **state)
{
	char small[10];
	size_t need = near_config_json(*state, small, sizeof small);
	assert_true(need > sizeof small);
	assert_int_equal(strlen(small), sizeof small - 1);
	char *whole = malloc(need + 1);
	assert_non_null(whole);
	assert_int_equal(near_config_json(*state, whole, need + 1), need);
	assert_int_equal(strlen(whole), need);
	assert_non_null(strstr(whole, "NEARCACHE_MEMORY"));
	free(whole);
	need = near_stats_json(*state, NULL, 0);
	assert_true(need > 100);
	assert_true(near_stats_prometheus(*state, NULL, 0) > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_plain, close_it)
		TEST(get__never_put__misses),
		TEST(get__after_put__delivers_and_counts),
		TEST(get__buffer_too_small__says_the_need_and_copies_nothing),
		TEST(put__empty_value__is_a_value),
		TEST(calls__arguments_out_of_range__are_refused),
		cmocka_unit_test(put__over_the_largest_value__is_refused),
		TEST(get__after_expiry__misses_and_stale_if_asked),
		TEST(invalidate__keeps_a_stale_value__remove_does_not),
		TEST(put__after_invalidate__is_fresh_again),
		TEST(add_and_replace__depend_on_presence),
		TEST(versions__higher_wins_and_compare_and_put_compares),
		TEST(touch_and_ttl__move_the_end),
		cmocka_unit_test(pin__outlives_replacement_removal_and_close),
		TEST(get_many__mixes_hits_and_misses),
		TEST(tags__invalidate_all_that_carry_them),
		TEST(two_caches_in_one_process__share_nothing),
		TEST(set_memory__within_reach__is_taken),
		TEST(older_callers__with_shorter_structs__are_served),
		TEST(texts__cut_short__end_in_nul_and_say_the_need),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
