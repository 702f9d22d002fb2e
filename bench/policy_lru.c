/* Exact LRU over key and value bytes: a list through an array with one place per key of the trace. Expiry is lazy: an
 * expired key keeps its room until it is asked for or falls off the end. A value larger than the limit is not kept. */
#include <stdlib.h>
#include <string.h>
#include "measure.h"
#include "policy.h"

#define NOBODY UINT32_MAX

typedef struct place {
	uint32_t newer, older;
	uint32_t ends_s; /* 0: never */
	bool there;
} place;

typedef struct lru {
	const bench_trace *trace;
	place *places;
	uint32_t newest, oldest;
	uint64_t bytes, bytes_max, limit, items;
} lru;

static uint64_t bytes_of(const lru *l, uint32_t key)
{
	return (uint64_t)l->trace->keys[key].key_size + l->trace->keys[key].value_size;
}

static void *lru_open(const bench_policy_config *config)
{
	lru *l = bench_alloc(1, sizeof(*l));
	l->trace = config->trace;
	l->places = bench_alloc(config->trace->key_count, sizeof(place));
	l->newest = l->oldest = NOBODY;
	l->limit = config->payload_limit != 0 ? config->payload_limit : config->memory_bytes;
	return l;
}

static void lru_close(void *policy)
{
	free(((lru *)policy)->places);
	free(policy);
}

static void take_out(lru *l, uint32_t key)
{
	place *p = &l->places[key];
	*(p->newer != NOBODY ? &l->places[p->newer].older : &l->newest) = p->older;
	*(p->older != NOBODY ? &l->places[p->older].newer : &l->oldest) = p->newer;
	p->there = false;
	l->bytes -= bytes_of(l, key);
	l->items--;
}

static void put_in_front(lru *l, uint32_t key)
{
	place *p = &l->places[key];
	p->newer = NOBODY;
	p->older = l->newest;
	*(p->older != NOBODY ? &l->places[p->older].newer : &l->oldest) = key;
	l->newest = key;
	p->there = true;
	l->bytes += bytes_of(l, key);
	l->items++;
}

static bool lru_get(void *policy, uint32_t key, uint32_t time_s)
{
	lru *l = policy;
	place *p = &l->places[key];
	if (!p->there || (p->ends_s != 0 && time_s >= p->ends_s))
		return false;
	take_out(l, key);
	put_in_front(l, key);
	return true;
}

static void lru_put(void *policy, uint32_t key, uint32_t ttl_s, uint32_t time_s)
{
	lru *l = policy;
	if (l->places[key].there)
		take_out(l, key);
	if (bytes_of(l, key) > l->limit)
		return;
	while (l->bytes + bytes_of(l, key) > l->limit)
		take_out(l, l->oldest);
	put_in_front(l, key);
	l->places[key].ends_s = ttl_s == 0 ? 0 : time_s + ttl_s;
	if (l->bytes > l->bytes_max)
		l->bytes_max = l->bytes;
}

static void lru_del(void *policy, uint32_t key, uint32_t time_s)
{
	lru *l = policy;
	(void)time_s;
	if (l->places[key].there)
		take_out(l, key);
}

static void lru_housekeep(void *policy, uint32_t before_s, uint32_t time_s)
{
	(void)policy;
	(void)before_s;
	(void)time_s;
}

static void lru_gauges(void *policy, bench_policy_gauges *g)
{
	const lru *l = policy;
	*g = (bench_policy_gauges){l->bytes, l->bytes_max, l->limit, l->items};
}

static void lru_stats(void *policy, near_stats *stats)
{
	(void)policy;
	memset(stats, 0, sizeof(*stats));
}

const bench_policy bench_policy_lru = {
	.name = "lru",
	.open = lru_open,
	.close = lru_close,
	.get = lru_get,
	.put = lru_put,
	.del = lru_del,
	.housekeep = lru_housekeep,
	.gauges = lru_gauges,
	.stats = lru_stats,
};
