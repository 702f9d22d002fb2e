/* The list of engines, in the order of BENCH_ENGINE_CHOICES, and the library itself as an engine. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include "keys.h"

const bench_engine *bench_engine_at(unsigned choice)
{
	static const bench_engine *const list[] = {&bench_engine_near, &bench_engine_bare, &bench_engine_mutex};
	return choice < sizeof(list) / sizeof(list[0]) ? list[choice] : NULL;
}

/* Header and alignment of an entry, and a slot at a filling of 45 %, between just grown (30 %) and about to (60 %). */
uint64_t bench_item_bytes(uint64_t value_size)
{
	uint64_t entry = (BENCH_KEY_SIZE + value_size + 24 + 15) / 16 * 16;
	return entry + entry / 16 + 18;
}

static void *near_engine_open(const bench_engine_config *config, near_error *error)
{
	near_options options;
	near_cache *cache;
	near_options_init(&options);
	options.ignore_environment = 1;
	options.memory_bytes = config->memory_bytes;
	options.huge_pages = config->huge_pages;
	options.ttl_ms = options.ttl_max_ms;
	return near_open(&options, &cache, error) == NEAR_OK ? cache : NULL;
}

static void near_engine_close(void *engine)
{
	near_close(engine);
}

static bool near_engine_get(void *engine, const char *key, void *buf, size_t buf_size)
{
	return near_get(engine, key, BENCH_KEY_SIZE, buf, buf_size, NULL) == NEAR_OK;
}

static void near_engine_get_many(void *engine, near_lookup *lookups, size_t count)
{
	if (near_get_many(engine, lookups, count, NULL) != NEAR_OK)
		abort(); /* only arguments out of range are refused */
}

static bool near_engine_put(void *engine, const char *key, const void *value, size_t value_size)
{
	return near_put(engine, key, BENCH_KEY_SIZE, value, value_size, NULL) == NEAR_OK;
}

static void near_engine_del(void *engine, const char *key)
{
	if (near_remove(engine, key, BENCH_KEY_SIZE, NULL) != NEAR_OK)
		abort();
}

typedef struct source {
	const void *value;
	size_t size;
} source;

static near_status bring(void *ctx, const void *key, size_t key_size, near_loaded *loaded)
{
	const source *from = ctx;
	(void)key;
	(void)key_size;
	return near_loaded_set(loaded, from->value, from->size);
}

static bool near_engine_load(void *engine, const char *key, const void *value, size_t value_size, void *buf,
                             size_t buf_size)
{
	/* beta below 0: no refresh in the background, which would call `bring` after this frame is gone. */
	near_call call = NEAR_CALL_INIT;
	source from = {value, value_size};
	call.beta = -1;
	return near_load(engine, key, BENCH_KEY_SIZE, bring, &from, &call, buf, buf_size, NULL) == NEAR_OK;
}

static uint64_t near_engine_count(void *engine)
{
	near_stats stats;
	near_stats_get(engine, &stats);
	return stats.items;
}

static uint64_t near_engine_mapped(void *engine)
{
	near_stats stats;
	near_stats_get(engine, &stats);
	return stats.mapped_bytes;
}

const bench_engine bench_engine_near = {
	.name = "near",
	.concurrent_writes = true,
	.bounded = true,
	.open = near_engine_open,
	.close = near_engine_close,
	.get = near_engine_get,
	.get_many = near_engine_get_many,
	.put = near_engine_put,
	.del = near_engine_del,
	.load = near_engine_load,
	.count = near_engine_count,
	.mapped = near_engine_mapped,
};
