/* The public calls: arguments checked, then core. Nothing else is decided here. */
#include <string.h>
#include "core/core.h"

static bool key_valid(const void *key, size_t key_size)
{
	return key != NULL && key_size >= 1 && key_size <= NEAR_KEY_MAX;
}
static bool out_valid(const void *buf, size_t buf_size)
{
	return buf != NULL || buf_size == 0;
}
static int64_t after_ms(uint64_t ms)
{
	return near__now_ns() + (int64_t)(ms < 86400000 ? ms : 86400000) * NEAR__MS_NS;
}
/* Writes at most buf_size bytes of `text`, NUL-terminated; returns its length. */
static size_t text_out(const char *text, char *buf, size_t buf_size)
{
	size_t length = strlen(text);
	if (buf_size > 0) {
		size_t n = length < buf_size - 1 ? length : buf_size - 1;
		memcpy(buf, text, n);
		buf[n] = '\0';
	}
	return length;
}

near_status near_open(const near_options *options, near_cache **cache, near_error *error)
{
	return cache != NULL ? near__open(options, cache, error) : NEAR_E_USAGE;
}

void near_close(near_cache *cache)
{
	near__close(cache);
}

near_status near_set_memory(near_cache *cache, uint64_t memory_bytes)
{
	near_status here = cache != NULL ? near__cache_here(cache) : NEAR_E_USAGE;
	if (here != NEAR_OK)
		return here;
	return near__l1_set_limit(cache->l1, memory_bytes) ? NEAR_OK : NEAR_E_USAGE;
}

near_status near_ping(near_cache *cache, uint64_t deadline_ms)
{
	near_status here = cache != NULL ? near__cache_here(cache) : NEAR_E_USAGE;
	return here == NEAR_OK ? near__ping(cache, after_ms(deadline_ms)) : here;
}

near_status near_wait_ready(near_cache *cache, uint64_t deadline_ms)
{
	near_status here = cache != NULL ? near__cache_here(cache) : NEAR_E_USAGE;
	return here == NEAR_OK ? near__wait_ready(cache, after_ms(deadline_ms)) : here;
}

near_status near_get(near_cache *cache, const void *key, size_t key_size, void *buf, size_t buf_size, near_item *item)
{
	if (NEAR_UNLIKELY(cache == NULL || !key_valid(key, key_size) || !out_valid(buf, buf_size)))
		return NEAR_E_USAGE;
	near_status here = near__cache_here(cache);
	return NEAR_LIKELY(here == NEAR_OK) ? near__get(cache, key, key_size, buf, buf_size, item) : here;
}

/* The checks that all calls with a near_call share. */
static near_status prepare(near_cache *cache, const void *key, size_t key_size, const near_call *call,
                           near__terms *terms, near__key *made)
{
	if (cache == NULL || !key_valid(key, key_size))
		return NEAR_E_USAGE;
	near_status here = near__cache_here(cache);
	if (here != NEAR_OK)
		return here;
	*made = near__key_make(key, key_size);
	return near__terms_make(cache, call, terms);
}

near_status near_get_with(near_cache *cache, const void *key, size_t key_size, const near_call *call, void *buf,
                          size_t buf_size, near_item *item)
{
	near__terms terms;
	near__key k;
	if (!out_valid(buf, buf_size))
		return NEAR_E_USAGE;
	near_status status = prepare(cache, key, key_size, call, &terms, &k);
	near__sink sink = { .buf = buf, .buf_size = buf_size, .item = item };
	return status == NEAR_OK ? near__get_with(cache, &k, &terms, &sink) : status;
}

near_status near_get_pinned(near_cache *cache, const void *key, size_t key_size, const near_call *call, near_pin *pin)
{
	near__terms terms;
	near__key k;
	if (pin == NULL)
		return NEAR_E_USAGE;
	near_status status = prepare(cache, key, key_size, call, &terms, &k);
	near__sink sink = { .pin = pin };
	return status == NEAR_OK ? near__get_with(cache, &k, &terms, &sink) : status;
}

void near_unpin(near_pin *pin)
{
	if (pin != NULL)
		near__sink_unpin(pin);
}

near_status near_get_many(near_cache *cache, near_lookup *lookups, size_t count, const near_call *call)
{
	near__terms terms;
	if (cache == NULL || (lookups == NULL && count > 0))
		return NEAR_E_USAGE;
	for (size_t i = 0; i < count; i++)
		if (!key_valid(lookups[i].key, lookups[i].key_size) || !out_valid(lookups[i].buf, lookups[i].buf_size))
			return NEAR_E_USAGE;
	near_status status = near__cache_here(cache);
	if (status == NEAR_OK)
		status = near__terms_make(cache, call, &terms);
	if (status == NEAR_OK && count > 0)
		near__get_many(cache, lookups, count, &terms);
	return status;
}

near_status near_ttl(near_cache *cache, const void *key, size_t key_size, const near_call *call, uint64_t *ttl_ms)
{
	near__terms terms;
	near__key k;
	if (ttl_ms == NULL)
		return NEAR_E_USAGE;
	near_status status = prepare(cache, key, key_size, call, &terms, &k);
	return status == NEAR_OK ? near__ttl(cache, &k, &terms, ttl_ms) : status;
}

near_status near_exists(near_cache *cache, const void *key, size_t key_size, const near_call *call)
{
	uint64_t ttl_ms;
	return near_ttl(cache, key, key_size, call, &ttl_ms);
}

static near_status put(near_cache *cache, const void *key, size_t key_size, const void *value, size_t value_size,
                       near__l1_mode mode, uint64_t expected, const near_call *call)
{
	near__terms terms;
	near__key k;
	if (value == NULL && value_size > 0)
		return NEAR_E_USAGE;
	near_status status = prepare(cache, key, key_size, call, &terms, &k);
	return status == NEAR_OK ? near__put(cache, &k, value, value_size, mode, expected, &terms) : status;
}

near_status near_put(near_cache *cache, const void *key, size_t key_size, const void *value, size_t value_size,
                     const near_call *call)
{
	return put(cache, key, key_size, value, value_size, NEAR__L1_SET, 0, call);
}

near_status near_add(near_cache *cache, const void *key, size_t key_size, const void *value, size_t value_size,
                     const near_call *call)
{
	return put(cache, key, key_size, value, value_size, NEAR__L1_ADD, 0, call);
}

near_status near_replace(near_cache *cache, const void *key, size_t key_size, const void *value, size_t value_size,
                         const near_call *call)
{
	return put(cache, key, key_size, value, value_size, NEAR__L1_REPLACE, 0, call);
}

near_status near_put_if_version(near_cache *cache, const void *key, size_t key_size, const void *value,
                                size_t value_size, uint64_t expected, const near_call *call)
{
	return put(cache, key, key_size, value, value_size, NEAR__L1_IF_VERSION, expected, call);
}

near_status near_touch(near_cache *cache, const void *key, size_t key_size, uint64_t ttl_ms, const near_call *call)
{
	near__terms terms;
	near__key k;
	near_status status = prepare(cache, key, key_size, call, &terms, &k);
	return status == NEAR_OK ? near__touch(cache, &k, ttl_ms, &terms) : status;
}

static near_status invalidate(near_cache *cache, const void *key, size_t key_size, near__change change,
                              const near_call *call)
{
	near__terms terms;
	near__key k;
	near_status status = prepare(cache, key, key_size, call, &terms, &k);
	return status == NEAR_OK ? near__invalidate(cache, &k, change, &terms) : status;
}

near_status near_invalidate(near_cache *cache, const void *key, size_t key_size, const near_call *call)
{
	return invalidate(cache, key, key_size, NEAR__CHANGE_INVALIDATE, call);
}

near_status near_remove(near_cache *cache, const void *key, size_t key_size, const near_call *call)
{
	return invalidate(cache, key, key_size, NEAR__CHANGE_REMOVE, call);
}

near_status near_invalidate_tag(near_cache *cache, const char *tag, const near_call *call)
{
	near__terms terms;
	size_t size = tag != NULL ? strnlen(tag, NEAR_TAG_MAX + 1) : 0;
	if (cache == NULL || size == 0 || size > NEAR_TAG_MAX)
		return NEAR_E_USAGE;
	near_status status = near__cache_here(cache);
	if (status == NEAR_OK)
		status = near__terms_make(cache, call, &terms);
	return status == NEAR_OK ? near__invalidate_tag(cache, near__hash_shared(tag, size), &terms) : status;
}

near_status near_load(near_cache *cache, const void *key, size_t key_size, near_loader loader, void *ctx,
                      const near_call *call, void *buf, size_t buf_size, near_item *item)
{
	near__terms terms;
	near__key k;
	if (loader == NULL || !out_valid(buf, buf_size))
		return NEAR_E_USAGE;
	near_status status = prepare(cache, key, key_size, call, &terms, &k);
	near__sink sink = { .buf = buf, .buf_size = buf_size, .item = item };
	return status == NEAR_OK ? near__load(cache, &k, loader, ctx, &terms, &sink) : status;
}

near_status near_load_pinned(near_cache *cache, const void *key, size_t key_size, near_loader loader, void *ctx,
                             const near_call *call, near_pin *pin)
{
	near__terms terms;
	near__key k;
	if (loader == NULL || pin == NULL)
		return NEAR_E_USAGE;
	near_status status = prepare(cache, key, key_size, call, &terms, &k);
	near__sink sink = { .pin = pin };
	return status == NEAR_OK ? near__load(cache, &k, loader, ctx, &terms, &sink) : status;
}

void near_stats_get_sized(near_cache *cache, near_stats *stats, size_t struct_size)
{
	near_stats all;
	if (stats == NULL || struct_size < sizeof stats->struct_size)
		return;
	memset(stats, 0, struct_size);
	if (cache != NULL && near__cache_here(cache) == NEAR_OK) {
		near__figures(cache, &all);
		memcpy(stats, &all, struct_size < sizeof all ? struct_size : sizeof all);
	}
	stats->struct_size = struct_size < sizeof all ? struct_size : sizeof all;
}

uint64_t near_latency_ns(near_cache *cache, near_latency which, double quantile)
{
	if (cache == NULL || near__cache_here(cache) != NEAR_OK || (unsigned)which >= NEAR_LATENCY_COUNT || !(quantile >= 0 && quantile <= 1))
		return 0;
	return near__histogram_quantile(cache->stats->latency[which], quantile);
}

size_t near_stats_json(near_cache *cache, char *buf, size_t buf_size)
{
	near_stats stats;
	if (cache == NULL || near__cache_here(cache) != NEAR_OK)
		return text_out("{}", buf, buf_size);
	near__figures(cache, &stats);
	return near__stats_to_json(&stats, cache->stats, buf, buf_size);
}

size_t near_stats_prometheus(near_cache *cache, char *buf, size_t buf_size)
{
	near_stats stats;
	if (cache == NULL || near__cache_here(cache) != NEAR_OK)
		return text_out("", buf, buf_size);
	near__figures(cache, &stats);
	return near__stats_to_prometheus(&stats, cache->stats, buf, buf_size);
}

size_t near_config_json(near_cache *cache, char *buf, size_t buf_size)
{
	return cache != NULL ? near__config_json(cache, buf, buf_size) : text_out("{}", buf, buf_size);
}

size_t near_lease_json(near_cache *cache, char *buf, size_t buf_size)
{
	if (cache == NULL || near__cache_here(cache) != NEAR_OK || cache->coherence == NULL)
		return text_out("{\"shards\":[]}", buf, buf_size);
	return near__coherence_lease_json(cache->coherence, buf, buf_size);
}

size_t near_last_error(near_cache *cache, char *buf, size_t buf_size)
{
	if (cache == NULL || near__cache_here(cache) != NEAR_OK || cache->coherence == NULL)
		return text_out("", buf, buf_size);
	return near__coherence_last_error(cache->coherence, buf, buf_size);
}
