/* The processes that nearbench coherence watches: see board.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/hash.h"
#include "board.h"
#include "coherence/coherence.h"
#include "keys.h"
#include "l1/l1.h"
#include "l2/l2.h"
#include "measure.h"

#define READY_MS 20000
#define APPLIED_MS 20000
#define L1_BYTES (UINT64_C(64) << 20)
#define HOUR_NS (INT64_C(3600) * 1000 * NEAR__MS_NS)

static int64_t deadline_in(uint64_t ms)
{
	return near__now_ns() + (int64_t)ms * NEAR__MS_NS;
}

/* The first moment counts; a message seen twice is no second application. */
static void mark(bench_marks *marks, unsigned reader, uint64_t item)
{
	int64_t nothing = 0;
	if (item >= marks->count)
		return;
	if (atomic_compare_exchange_strong_explicit(&marks->applied_ns[reader][item], &nothing, near__now_ns(),
	                                            memory_order_relaxed, memory_order_relaxed))
		/* release: who reads the count sees the moments counted. */
		atomic_fetch_add_explicit(&marks->applied[reader], 1, memory_order_release);
}

/* ------------------------------------------------------------- near reader */

typedef struct near_reader {
	bench_board *board;
	unsigned index;
	near__l1 *l1;
	near__coherence *coherence;
} near_reader;

/* As a cache's own handler does it, and then the mark. */
static void on_drop(void *ctx, unsigned shard, near__change change, const void *key, size_t key_size, near__pos pos)
{
	near_reader *r = ctx;
	uint64_t item;
	(void)shard;
	(void)near__l1_drop(r->l1, near__hash_local(key, key_size), key, key_size, pos, change == NEAR__CHANGE_INVALIDATE,
	                    near__coarse_ns());
	if (bench_key_read(key, key_size, &item))
		mark(r->board->near, r->index, item);
}

static void on_key(void *ctx, unsigned shard, const void *key, size_t key_size)
{
	(void)ctx;
	(void)shard;
	(void)key;
	(void)key_size;
}

static void on_shard(void *ctx, unsigned shard)
{
	near_reader *r = ctx;
	(void)shard;
	atomic_fetch_add(r->board->flushes, 1);
}

static void on_gap(void *ctx, unsigned shard)
{
	(void)ctx;
	(void)shard;
}

static void on_up(void *ctx)
{
	(void)ctx;
}

static void on_down(void *ctx, const char *why)
{
	(void)ctx;
	(void)fprintf(stderr, "nearbench coherence: Redis lost: %s\n", why);
}

static bool reader_open(near_reader *r, near__stats *stats)
{
	near_options o;
	char prefix[NEAR__PREFIX_MAX];
	bench_home_options(r->board->home, &o);
	near__l2_prefix(o.name_space, o.schema_version, prefix);
	near__l1_config l1 = {.memory_bytes = L1_BYTES, .evict = NEAR_EVICT_BALANCED, .sweep_ms = o.sweep_ms, .stats = stats};
	near__coherence_config config = {
		.redis = {.url = r->board->home->at, .connect_ms = o.connect_ms, .pipeline_max = o.pipeline_max,
		          .breaker_failures = o.breaker_failures, .backoff_max_ms = o.backoff_max_ms, .command_ms_max = 5000,
		          .thread_name = "near", .stats = stats},
		.prefix = prefix,
		.shards = BENCH_SHARDS,
		.lease_ms = o.lease_ms,
		.log_max = o.log_max,
		.news = {r, on_drop, on_key, on_shard, on_gap, on_up, on_down},
	};
	return near__l1_create(&l1, &r->l1) == NEAR_OK && near__coherence_open(&config, &r->coherence) == NEAR_OK;
}

static bool has_lease(const near_reader *r)
{
	int64_t end_ns = deadline_in(READY_MS);
	while (near__coherence_lease_until(r->coherence) <= near__coarse_ns()) {
		if (near__now_ns() > end_ns)
			return false;
		bench_sleep_us(2000);
	}
	return true;
}

static bool fill_l1(const near_reader *r)
{
	char key[BENCH_KEY_SIZE], value[100] = {'v'};
	for (uint64_t i = 0; i < r->board->keys; i++) {
		bench_key_write(i, key);
		near__pos pos = near__coherence_pos(r->coherence, near__coherence_shard(r->coherence,
		                                                                        near__hash_shared(key, sizeof(key))));
		near__l1_write write = {.hash = near__hash_local(key, sizeof(key)), .key = key, .key_size = sizeof(key),
		                        .value = value, .value_size = sizeof(value), .asof = pos, .now_ns = near__coarse_ns()};
		write.fresh_until_ns = write.stale_until_ns = write.now_ns + HOUR_NS;
		if (near__l1_put(r->l1, &write) != NEAR__L1_INSTALLED)
			return false;
	}
	return true;
}

/* What is still in L1 although its invalidation has been applied. */
static uint64_t left_behind(const near_reader *r)
{
	char key[BENCH_KEY_SIZE];
	uint64_t left = 0;
	near__l1_view view;
	for (uint64_t i = 0; i < r->board->keys; i++) {
		bench_key_write(i, key);
		near__epoch_enter(near__self());
		left += near__l1_find(r->l1, near__hash_local(key, sizeof(key)), key, sizeof(key), near__coarse_ns(), &view) &&
		        !view.marked_stale;
		near__epoch_exit(near__self());
	}
	return left;
}

int bench_near_reader(bench_crowd *crowd, unsigned index, void *argument)
{
	near_reader r = {.board = argument, .index = index};
	near__stats *stats;
	if (near__stats_create(&stats) != NEAR_OK || !reader_open(&r, stats) || !has_lease(&r) || !fill_l1(&r)) {
		(void)fprintf(stderr, "nearbench coherence: reader %u does not get ready\n", index);
		return 1;
	}
	if (!bench_crowd_pass(crowd, BENCH_GATE_READY))
		return 1;
	while (!atomic_load(r.board->finished))
		bench_sleep_us(20000);
	atomic_fetch_add(r.board->survivors, left_behind(&r));
	near__coherence_close(r.coherence);
	near__l1_free(r.l1);
	near__stats_free(stats);
	return 0;
}

/* ------------------------------------------------------------- bare reader */

static bool is_message(const redisReply *reply)
{
	return reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
	       reply->element[2]->type == REDIS_REPLY_STRING;
}

int bench_bare_reader(bench_crowd *crowd, unsigned index, void *argument)
{
	bench_board *board = argument;
	near_error error = {""};
	redisContext *redis = bench_home_connect(board->home, &error);
	redisReply *reply = redis != NULL ? redisCommand(redis, "SUBSCRIBE %s", BENCH_CHANNEL) : NULL;
	if (reply == NULL) {
		(void)fprintf(stderr, "nearbench coherence: bare reader %u: %s\n", index, error.text);
		return 1;
	}
	freeReplyObject(reply);
	/* The time limit of the connection's set-up is none of the wait for messages. */
	if (redisSetTimeout(redis, (struct timeval){.tv_sec = 3600}) != REDIS_OK || !bench_crowd_pass(crowd, BENCH_GATE_READY))
		return 1;
	bool more = true;
	while (more && redisGetReply(redis, (void **)&reply) == REDIS_OK) {
		uint64_t item;
		if (is_message(reply)) {
			const redisReply *text = reply->element[2];
			if (text->len >= BENCH_KEY_SIZE && bench_key_read(text->str, BENCH_KEY_SIZE, &item))
				mark(board->bare, index, item);
			else
				more = false; /* the word to leave */
		}
		freeReplyObject(reply);
	}
	redisFree(redis);
	return more ? 1 : 0;
}

/* ------------------------------------------------------------- checker */

static bool fetch_all(near_cache *cache, uint64_t keys)
{
	char key[BENCH_KEY_SIZE], value[256];
	for (uint64_t i = 0; i < keys; i++) {
		bench_key_write(i, key);
		if (near_get(cache, key, sizeof(key), value, sizeof(value), NULL) != NEAR_OK)
			return false;
	}
	return true;
}

static uint64_t count_in_l1(near_cache *cache, uint64_t keys)
{
	char key[BENCH_KEY_SIZE], value[256];
	near_call settings = NEAR_CALL_INIT;
	uint64_t there = 0;
	settings.flags = NEAR_NO_L2;
	for (uint64_t i = 0; i < keys; i++) {
		bench_key_write(i, key);
		there += near_get_with(cache, key, sizeof(key), &settings, value, sizeof(value), NULL) == NEAR_OK;
	}
	return there;
}

static uint64_t messages_applied(near_cache *cache)
{
	near_stats stats;
	near_stats_get(cache, &stats);
	return stats.messages_applied;
}

int bench_checker(bench_crowd *crowd, unsigned index, void *argument)
{
	bench_board *board = argument;
	near_options options;
	near_error error = {""};
	near_cache *cache;
	near_stats stats;
	bench_home_options(board->home, &options);
	options.shards = BENCH_SHARDS;
	options.ttl_ms = 3600000;
	if (near_open(&options, &cache, &error) != NEAR_OK || near_wait_ready(cache, READY_MS) != NEAR_OK ||
	    !fetch_all(cache, board->checker_keys)) {
		(void)fprintf(stderr, "nearbench coherence: checker %u cannot fill its L1: %s\n", index, error.text);
		return 1;
	}
	atomic_fetch_add(board->held, count_in_l1(cache, board->checker_keys));
	uint64_t goal = messages_applied(cache) + board->checker_keys;
	if (!bench_crowd_pass(crowd, BENCH_GATE_FILLED) || !bench_crowd_pass(crowd, BENCH_GATE_WRITTEN))
		return 1;
	int64_t end_ns = deadline_in(APPLIED_MS);
	while (messages_applied(cache) < goal && near__now_ns() < end_ns)
		bench_sleep_us(1000);
	uint64_t applied = messages_applied(cache);
	atomic_fetch_add(board->behind, applied < goal ? goal - applied : 0);
	atomic_fetch_add(board->survivors, count_in_l1(cache, board->checker_keys));
	near_stats_get(cache, &stats);
	atomic_fetch_add(board->flushes, stats.flushes);
	near_close(cache);
	return 0;
}
