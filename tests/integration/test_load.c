/* Loads: one run per key whoever asks, refreshed before it hurts, and something sensible when the source is ill. */
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
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <nearcache/nearcache.h>
#include "base/clock.h"
#include "support/redis_server.h"

#define KEY(s) s, sizeof(s) - 1
enum { SOON_MS = 5000 };

/* The source, shared by threads and forked processes. */
typedef struct source {
	_Atomic(int) runs, value, fail, exists, cost_ms;
	_Atomic(int) hold; /* a loader waits while it is 1 */
	_Atomic(int) inside;
	_Atomic(int) gate, waited_long;
} source;

static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static near_status read_source(void *ctx, const void *key, size_t key_size, near_loaded *loaded)
{
	source *s = ctx;
	char text[16];
	(void)key;
	(void)key_size;
	s->runs++;
	int value = s->value;
	s->inside++;
	nap_ms(s->cost_ms);
	while (s->hold)
		nap_ms(1);
	s->inside--;
	if (s->fail)
		return NEAR_E_SYSTEM;
	if (!s->exists)
		return NEAR_MISS;
	int n = snprintf(text, sizeof text, "%d", value);
	return near_loaded_set(loaded, text, (size_t)n);
}

static source *source_make(void)
{
	source *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s != MAP_FAILED);
	memset(s, 0, sizeof *s);
	s->exists = 1;
	return s;
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
	if (near_open(&o, &cache, &error) != NEAR_OK)
		fail_msg("open: %s", error.text);
	assert_int_equal(near_wait_ready(cache, SOON_MS), NEAR_OK);
	return cache;
}

static near_status load(near_cache *cache, const char *key, source *s, const near_call *call, char got[16],
                        near_item *item)
{
	memset(got, 0, 16);
	return near_load(cache, key, strlen(key), read_source, s, call, got, 15, item);
}

/* Every test runs without Redis and with it. */
typedef struct world {
	redis_server *redis;
	near_cache *cache;
	source *source;
} world;
static int make_single(void **state)
{
	world *w = calloc(1, sizeof *w);
	w->cache = open_on("");
	w->source = source_make();
	*state = w;
	return 0;
}
static int make_shared(void **state)
{
	world *w = calloc(1, sizeof *w);
	w->redis = redis_server_start(NULL);
	w->cache = open_on(redis_server_url(w->redis));
	w->source = source_make();
	*state = w;
	return 0;
}
static int drop(void **state)
{
	world *w = *state;
	near_close(w->cache);
	redis_server_free(w->redis);
	munmap(w->source, sizeof *w->source);
	free(w);
	return 0;
}

static void load__cold__runs_the_loader_once_then_hits(void **state)
{
	world *w = *state;
	char got[16];
	near_item item;
	w->source->value = 7;
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, &item), NEAR_OK);
	assert_string_equal(got, "7");
	assert_int_equal(item.source, NEAR_FROM_LOADER);
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, &item), NEAR_OK);
	assert_int_equal(item.source, NEAR_FROM_L1);
	assert_int_equal(w->source->runs, 1);
}

typedef struct caller {
	world *world;
	near_status status;
	char got[16];
	pthread_t thread;
	const near_call *call;
} caller;
static void *call_load(void *ctx)
{
	caller *c = ctx;
	c->status = load(c->world->cache, "k", c->world->source, c->call, c->got, NULL);
	return NULL;
}
static void start(caller *c, world *w)
{
	*c = (caller){ .world = w };
	assert_int_equal(pthread_create(&c->thread, NULL, call_load, c), 0);
}

static void load__many_threads_at_once__one_run(void **state)
{
	enum { THREADS = 16 };
	world *w = *state;
	caller c[THREADS];
	w->source->value = 3;
	w->source->cost_ms = 50;
	for (int i = 0; i < THREADS; i++)
		start(&c[i], w);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(c[i].thread, NULL);
		assert_int_equal(c[i].status, NEAR_OK);
		assert_string_equal(c[i].got, "3");
	}
	assert_int_equal(w->source->runs, 1);
}

static void load__overtaken_by_an_invalidation__is_not_kept_and_not_joined(void **state)
{
	world *w = *state;
	caller first;
	char got[16];
	w->source->value = 1;
	w->source->hold = 1;
	start(&first, w);
	while (w->source->inside == 0)
		nap_ms(1);
	w->source->value = 2;
	assert_int_equal(near_invalidate(w->cache, KEY("k"), NULL), NEAR_OK);
	caller second;
	start(&second, w);
	/* With Redis the token of the first was deleted by the invalidation, so the second one loads, too. */
	while (w->source->inside < 2)
		nap_ms(1);
	w->source->hold = 0;
	pthread_join(first.thread, NULL);
	pthread_join(second.thread, NULL);
	assert_int_equal(first.status, NEAR_OK);
	assert_int_equal(second.status, NEAR_OK);
	assert_string_equal(second.got, "2");
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, NULL), NEAR_OK);
	assert_string_equal(got, "2");
}

static void load__source_fails__falls_back_on_stale_then_says_so(void **state)
{
	world *w = *state;
	char got[16];
	near_item item;
	w->source->value = 1;
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, NULL), NEAR_OK);
	assert_int_equal(near_invalidate(w->cache, KEY("k"), NULL), NEAR_OK);
	w->source->fail = 1;
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, &item), NEAR_STALE);
	assert_string_equal(got, "1");
	assert_int_equal(load(w->cache, "never", w->source, NULL, got, NULL), NEAR_E_LOADER);
	w->source->fail = 0;
	w->source->value = 2;
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, NULL), NEAR_OK);
	assert_string_equal(got, "2");
}

static void load__source_has_none__is_remembered_for_a_while(void **state)
{
	world *w = *state;
	char got[16];
	w->source->exists = 0;
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, NULL), NEAR_MISS);
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, NULL), NEAR_MISS);
	assert_int_equal(near_get(w->cache, KEY("k"), got, sizeof got, NULL), NEAR_MISS);
	assert_int_equal(w->source->runs, 1);
	w->source->exists = 1;
	assert_int_equal(near_add(w->cache, KEY("k"), "9", 1, NULL), NEAR_OK);
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, NULL), NEAR_OK);
	assert_string_equal(got, "9");
}

static void load__waiter__leaves_at_its_deadline(void **state)
{
	world *w = *state;
	caller first;
	near_call hurry = NEAR_CALL_INIT;
	char got[16];
	hurry.deadline_ms = 50;
	w->source->hold = 1;
	start(&first, w);
	while (w->source->inside == 0)
		nap_ms(1);
	int64_t begun = near__now_ns();
	assert_int_equal(load(w->cache, "k", w->source, &hurry, got, NULL), NEAR_E_TIMEOUT);
	assert_true(near__now_ns() - begun >= 50 * NEAR__MS_NS);
	w->source->hold = 0;
	pthread_join(first.thread, NULL);
	assert_int_equal(first.status, NEAR_OK);
}

static void load__near_expiry__is_refreshed_behind_the_caller(void **state)
{
	world *w = *state;
	char got[16];
	near_call ttl = NEAR_CALL_INIT;
	ttl.ttl_ms = 300;
	w->source->cost_ms = 20;
	int64_t end = near__now_ns() + 3000 * NEAR__MS_NS, slowest = 0;
	assert_int_equal(load(w->cache, "k", w->source, &ttl, got, NULL), NEAR_OK);
	while (near__now_ns() < end) {
		int64_t begun = near__now_ns();
		assert_int_equal(load(w->cache, "k", w->source, &ttl, got, NULL), NEAR_OK);
		int64_t took = near__now_ns() - begun;
		slowest = took > slowest ? took : slowest;
		struct timespec pause = { .tv_nsec = 200000 };
		nanosleep(&pause, NULL);
	}
	near_stats stats;
	near_stats_get(w->cache, &stats);
	print_message("runs %d, refreshes %d, slowest caller %.1f ms\n", w->source->runs, (int)stats.refreshes,
	              (double)slowest / 1e6);
	/* One generation lives 300 ms less what XFetch takes off, a few times the load's 20 ms. */
	assert_in_range(w->source->runs, 9, 30);
	/* Nearly all runs but the first are refreshes (on a machine that stalls some come too late); some refreshes find that
	 * the value has just been renewed, and adopt it. */
	assert_true(stats.refreshes * 2 >= (uint64_t)w->source->runs);
	assert_true(stats.refreshes - stats.refreshes_adopted <= (uint64_t)w->source->runs);
}

static void load__stale_is_welcome__comes_at_once_and_the_load_behind(void **state)
{
	world *w = *state;
	char got[16];
	near_call welcome = NEAR_CALL_INIT;
	welcome.flags = NEAR_STALE_ALLOWED;
	w->source->value = 1;
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, NULL), NEAR_OK);
	assert_int_equal(near_invalidate(w->cache, KEY("k"), NULL), NEAR_OK);
	w->source->value = 2;
	w->source->hold = 1;
	assert_int_equal(load(w->cache, "k", w->source, &welcome, got, NULL), NEAR_STALE);
	assert_string_equal(got, "1");
	w->source->hold = 0;
	near_status status = NEAR_STALE;
	for (int i = 0; i < SOON_MS && status == NEAR_STALE; i++, nap_ms(1))
		status = load(w->cache, "k", w->source, &welcome, got, NULL);
	assert_int_equal(status, NEAR_OK);
	assert_string_equal(got, "2");
	assert_int_equal(w->source->runs, 2);
}

static void load_pinned__and_forced__work(void **state)
{
	world *w = *state;
	near_pin pin;
	near_call force = NEAR_CALL_INIT;
	char got[16];
	w->source->value = 1;
	assert_int_equal(near_load_pinned(w->cache, KEY("k"), read_source, w->source, NULL, &pin), NEAR_OK);
	assert_memory_equal(pin.value, "1", 1);
	near_unpin(&pin);
	w->source->value = 2;
	force.flags = NEAR_REFRESH;
	assert_int_equal(load(w->cache, "k", w->source, &force, got, NULL), NEAR_OK);
	assert_string_equal(got, "2");
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, NULL), NEAR_OK);
	assert_string_equal(got, "2");
}

/* --- several processes */

enum { PROCESSES = 8, THREADS = 8 };

static void *ask_when_opened(void *ctx)
{
	caller *c = ctx;
	while (!c->world->source->gate)
		nap_ms(1);
	return call_load(ctx);
}

static void child(source *s, const char *url)
{
	caller c[THREADS];
	world w = { .source = s, .cache = open_on(url) };
	s->waited_long++;
	for (int i = 0; i < THREADS; i++) {
		c[i] = (caller){ .world = &w };
		if (pthread_create(&c[i].thread, NULL, ask_when_opened, &c[i]) != 0)
			_exit(9);
	}
	int bad = 0;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(c[i].thread, NULL);
		bad += c[i].status != NEAR_OK || strcmp(c[i].got, "5") != 0;
	}
	near_close(w.cache);
	_exit(bad);
}

static void load__cold_in_many_processes__one_run(void **state)
{
	(void)state;
	redis_server *redis = redis_server_start(NULL);
	source *s = source_make();
	pid_t pids[PROCESSES];
	s->value = 5;
	s->cost_ms = 50;
	fflush(NULL);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			child(s, redis_server_url(redis));
	}
	while (s->waited_long < PROCESSES)
		nap_ms(1);
	s->gate = 1;
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(s->runs, 1);
	redis_server_free(redis);
	munmap(s, sizeof *s);
}

static void load__redis_killed__runs_alone_and_lives_one_lease(void **state)
{
	world *w = *state;
	char got[16];
	near_item item;
	redis_server_kill(w->redis);
	w->source->value = 1;
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, &item), NEAR_OK);
	assert_int_equal(item.source, NEAR_FROM_LOADER);
	assert_int_equal(load(w->cache, "k", w->source, NULL, got, &item), NEAR_OK);
	assert_int_equal(item.source, NEAR_FROM_L1);
	assert_true(item.ttl_ms <= 1000);
	assert_int_equal(w->source->runs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define BOTH(name) \
	{ #name " (single process)", name, make_single, drop, NULL }, { #name " (with Redis)", name, make_shared, drop, NULL }
		BOTH(load__cold__runs_the_loader_once_then_hits),
		BOTH(load__many_threads_at_once__one_run),
		BOTH(load__overtaken_by_an_invalidation__is_not_kept_and_not_joined),
		BOTH(load__source_fails__falls_back_on_stale_then_says_so),
		BOTH(load__source_has_none__is_remembered_for_a_while),
		BOTH(load__waiter__leaves_at_its_deadline),
		BOTH(load__near_expiry__is_refreshed_behind_the_caller),
		BOTH(load__stale_is_welcome__comes_at_once_and_the_load_behind),
		BOTH(load_pinned__and_forced__work),
		cmocka_unit_test(load__cold_in_many_processes__one_run),
		cmocka_unit_test_setup_teardown(load__redis_killed__runs_alone_and_lives_one_lease, make_shared, drop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
