/* What the coherence room reports, turned into L1's terms and the program's events. All of it runs on the I/O thread. */
#include <string.h>
#include "core/flight.h"
#include "core/house.h"

void near__tell(near_cache *cache, near_event_kind kind, unsigned shard, const void *key, size_t key_size,
                size_t value_size, const char *text)
{
	const near_options *o = &cache->settings.o;
	if (o->on_event == NULL)
		return;
	near_event event = { .struct_size = sizeof event, .kind = kind, .shard = shard, .key = key, .key_size = key_size,
		                 .value_size = value_size, .text = text != NULL ? text : "" };
	o->on_event(o->hook_ctx, &event);
}

void near__tell_stale(near_cache *cache, const near__key *key, int64_t age_ns)
{
	near__count(cache->stats, NEAR__STAT_stale_served);
	near__histogram_add(cache->stats->latency[NEAR_LATENCY_STALE_AGE], (uint64_t)age_ns);
	near__tell(cache, NEAR_EVENT_STALE_SERVED, key->has_shared ? key->shard : 0, key->bytes, key->size, 0, NULL);
}

static void on_drop(void *ctx, unsigned shard, near__change change, const void *key, size_t key_size, near__pos pos)
{
	near_cache *cache = ctx;
	(void)shard;
	if (change == NEAR__CHANGE_TAG)
		return; /* entries with the tag are judged by the tag's position */
	bool keep_stale = change == NEAR__CHANGE_INVALIDATE && cache->settings.o.stale_ms > 0;
	(void)near__l1_drop(cache->l1, near__hash_local(key, key_size), key, key_size, pos, keep_stale, near__coarse_ns());
}

static void on_filled(void *ctx, unsigned shard, const void *key, size_t key_size)
{
	(void)shard;
	near__flight_news(ctx, key, key_size);
}

static void on_flushed(void *ctx, unsigned shard)
{
	near__tell(ctx, NEAR_EVENT_FLUSH, shard, NULL, 0, 0, "the log could not prove completeness");
}

static void on_gap(void *ctx, unsigned shard)
{
	near__tell(ctx, NEAR_EVENT_GAP, shard, NULL, 0, 0, "messages were missed and are being replayed");
}

static void on_up(void *ctx)
{
	near_cache *cache = ctx;
	if (atomic_exchange_explicit(&cache->degraded, false, memory_order_relaxed)) {
		near__log_write(&cache->log, NEAR_LOG_INFO, "Redis is back");
		near__tell(cache, NEAR_EVENT_RECOVERED, 0, NULL, 0, 0, "Redis is back");
	}
	near__house_nudge(cache);
}

static void on_down(void *ctx, const char *why)
{
	near_cache *cache = ctx;
	if (!atomic_exchange_explicit(&cache->degraded, true, memory_order_relaxed)) {
		near__log_write(&cache->log, NEAR_LOG_WARN, "Redis lost: %s; serving without it", why);
		near__tell(cache, NEAR_EVENT_DEGRADED, 0, NULL, 0, 0, why);
	}
}

const near__coherence_news near__news = {
	.drop = on_drop,
	.filled = on_filled,
	.flushed = on_flushed,
	.gap = on_gap,
	.up = on_up,
	.down = on_down,
};
