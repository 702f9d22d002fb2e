/* Hooks: a program hears of what matters, once each, from a real server that dies and comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nearcache/nearcache.h>
#include "support/redis_server.h"

#define KEY(s) s, sizeof(s) - 1
enum { SOON_MS = 5000 };

typedef struct heard {
	_Atomic(int) count[8], logs;
	char key[64];
} heard;

static void on_event(void *ctx, const near_event *event)
{
	heard *h = ctx;
	assert_int_equal(event->struct_size, sizeof *event);
	if (event->kind == NEAR_EVENT_STALE_SERVED)
		snprintf(h->key, sizeof h->key, "%.*s", (int)event->key_size, (const char *)event->key);
	h->count[event->kind]++;
}
static void on_log(void *ctx, near_log_level level, const char *text)
{
	heard *h = ctx;
	(void)level;
	assert_null(strchr(text, '\n'));
	h->logs++;
}

static near_cache *open_on(const char *url, heard *h)
{
	near_options o;
	near_cache *cache = NULL;
	near_options_init(&o);
	o.ignore_environment = 1;
	o.memory_bytes = 16 << 20;
	o.redis_url = url;
	o.on_event = on_event;
	o.on_log = on_log;
	o.hook_ctx = h;
	assert_int_equal(near_open(&o, &cache, NULL), NEAR_OK);
	assert_int_equal(near_wait_ready(cache, SOON_MS), NEAR_OK);
	return cache;
}

static bool soon(_Atomic(int) *count, int least)
{
	for (int i = 0; i < SOON_MS && *count < least; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return *count >= least;
}

static void redis_lost_and_back__is_told_once_each(void **state)
{
	(void)state;
	heard h = { 0 };
	redis_server *redis = redis_server_start(NULL);
	near_cache *cache = open_on(redis_server_url(redis), &h);
	assert_int_equal(h.count[NEAR_EVENT_DEGRADED], 0);
	redis_server_kill(redis);
	assert_true(soon(&h.count[NEAR_EVENT_DEGRADED], 1));
	redis_server_restart(redis, false);
	assert_true(soon(&h.count[NEAR_EVENT_RECOVERED], 1));
	assert_true(soon(&h.count[NEAR_EVENT_FLUSH], 1));
	assert_int_equal(h.count[NEAR_EVENT_DEGRADED], 1);
	assert_int_equal(h.count[NEAR_EVENT_RECOVERED], 1);
	assert_true(h.logs >= 2);
	near_close(cache);
	redis_server_free(redis);
}

static void stale_and_evicted__are_told(void **state)
{
	(void)state;
	heard h = { 0 };
	near_cache *cache = open_on("", &h);
	near_call stale = NEAR_CALL_INIT;
	static char value[10000];
	char key[32], buf[8];
	stale.flags = NEAR_STALE_ALLOWED;
	assert_int_equal(near_put(cache, KEY("old"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_invalidate(cache, KEY("old"), NULL), NEAR_OK);
	assert_int_equal(near_get_with(cache, KEY("old"), &stale, buf, sizeof buf, NULL), NEAR_STALE);
	assert_int_equal(h.count[NEAR_EVENT_STALE_SERVED], 1);
	assert_string_equal(h.key, "old");
	for (int i = 0; i < 4000; i++) {
		int n = snprintf(key, sizeof key, "k%d", i);
		assert_int_equal(near_put(cache, key, (size_t)n, value, sizeof value, NULL), NEAR_OK);
	}
	assert_true(h.count[NEAR_EVENT_EVICTED] > 1000);
	near_close(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(redis_lost_and_back__is_told_once_each),
		cmocka_unit_test(stale_and_evicted__are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
