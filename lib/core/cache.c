/* Opening and closing. Rooms are opened from the ground up and closed from the top down, so that no thread of one ever
 * meets a room that is gone: refreshers and courier first (they call everything), then coherence with its I/O thread
 * (it calls L1 and the flights), then L1.
 *
 * A cache's handle outlives a fork, its rooms do not: see fork.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/flight.h"
#include "core/house.h"
#include "core/journal.h"
#include "core/refresh.h"

static void on_evicted(void *ctx, const void *key, size_t key_size, size_t value_size)
{
	near__tell(ctx, NEAR_EVENT_EVICTED, 0, key, key_size, value_size, NULL);
}

static near_status open_l1(near_cache *cache)
{
	const near_options *o = &cache->settings.o;
	near__l1_config config = {
		.memory_bytes = o->memory_bytes,
		.evict = (near_evict)o->evict,
		.huge_pages = o->huge_pages,
		.sweep_ms = o->sweep_ms,
		.stats = cache->stats,
		.on_evicted = o->on_event != NULL ? on_evicted : NULL,
		.ctx = cache,
	};
	return near__l1_create(&config, &cache->l1);
}

/* Says also who gave the URL. Never the URL itself: it may hold a password. */
static near_status read_url(const near__settings *settings, near__url *url, near_error *error)
{
	near_error why = { "" };
	near_status status = near__url_parse(settings->o.redis_url, url, &why);
	bool environment = settings->source[NEAR__OPT_redis_url] == NEAR__BY_ENVIRONMENT;
	if (status != NEAR_OK && error != NULL)
		(void)snprintf(error->text, sizeof error->text, "%s: %.400s",
		               environment ? "environment variable NEARCACHE_REDIS_URL" : "option redis_url", why.text);
	return status;
}

static near_status open_coherence(near_cache *cache, near_error *error)
{
	const near_options *o = &cache->settings.o;
	if (o->redis_url[0] == '\0')
		return NEAR_OK;
	near__coherence_config config = {
		.redis = {
			.connect_ms = o->connect_ms,
			.pipeline_max = o->pipeline_max,
			.breaker_failures = o->breaker_failures,
			.backoff_max_ms = o->backoff_max_ms,
			.command_ms_max = o->deadline_ms * 4 > 2000 ? o->deadline_ms * 4 : 2000,
			.thread_name = o->thread_name,
			.stats = cache->stats,
			.log = cache->log,
		},
		.prefix = cache->prefix,
		.shards = (unsigned)o->shards,
		.lease_ms = o->lease_ms,
		.log_max = o->log_max,
		.news = near__news,
	};
	config.news.ctx = cache;
	near_status status = read_url(&cache->settings, &config.redis.url, error);
	if (status == NEAR_OK)
		status = near__journal_create(config.shards, o->journal_max, &cache->journal);
	if (status == NEAR_OK)
		status = near__coherence_open(&config, &cache->coherence);
	memset(config.redis.url.password, 0, sizeof config.redis.url.password);
	if (status == NEAR_OK)
		cache->redis = near__coherence_redis(cache->coherence);
	return status;
}

static void rooms_close(near_cache *cache)
{
	near__refresh_free(cache->refresh);
	near__house_free(cache->house);
	if (cache->coherence != NULL) {
		near__house_deliver(cache, near__now_ns() + (int64_t)cache->settings.o.deadline_ms * NEAR__MS_NS);
		size_t left = near__journal_count(cache->journal);
		if (left > 0)
			near__log_write(&cache->log, NEAR_LOG_ERROR,
			                "closing with %zu invalidations that Redis has not acknowledged: other processes may serve "
			                "old values until their life ends",
			                left);
		near__coherence_close(cache->coherence);
	}
	near__journal_free(cache->journal);
	near__flights_free(cache->flights);
	if (cache->l1 != NULL)
		near__l1_free(cache->l1);
	near__stats_free(cache->stats);
}

static void rooms_forget(near_cache *cache)
{
	cache->refresh = NULL;
	cache->house = NULL;
	cache->coherence = NULL;
	cache->redis = NULL;
	cache->journal = NULL;
	cache->flights = NULL;
	cache->l1 = NULL;
	cache->stats = NULL;
	atomic_store_explicit(&cache->degraded, false, memory_order_relaxed);
}

near_status near__rooms_open(near_cache *cache, near_error *error)
{
	near_status status;
	rooms_forget(cache);
	if ((status = near__stats_create(&cache->stats)) != NEAR_OK || (status = open_l1(cache)) != NEAR_OK ||
	    (status = near__flights_create(&cache->flights)) != NEAR_OK ||
	    (status = open_coherence(cache, error)) != NEAR_OK ||
	    (status = near__refresh_create(cache, &cache->refresh)) != NEAR_OK ||
	    (status = near__house_create(cache, &cache->house)) != NEAR_OK) {
		rooms_close(cache);
		rooms_forget(cache);
	}
	return status;
}

static void say(near_error *error, near_status status)
{
	if (error->text[0] == '\0')
		snprintf(error->text, sizeof error->text, "%s", near_status_text(status));
}

near_status near__open(const near_options *options, near_cache **out, near_error *error)
{
	near_error ours;
	near_error *words = error != NULL ? error : &ours;
	words->text[0] = '\0';
	near_cache *cache = aligned_alloc(NEAR_LINE, (sizeof *cache + NEAR_LINE - 1) / NEAR_LINE * NEAR_LINE);
	near_status status = NEAR_E_NOMEM;
	if (cache != NULL) {
		memset(cache, 0, sizeof *cache);
		status = near__settings_make(options, &cache->settings, words);
		if (status == NEAR_OK) {
			const near_options *o = &cache->settings.o;
			cache->log = (near__log){ .write = o->on_log, .ctx = o->hook_ctx };
			near__l2_prefix(o->name_space, o->schema_version, cache->prefix);
			atomic_store_explicit(&cache->generation, atomic_load_explicit(&near__forks, memory_order_relaxed),
			                      memory_order_relaxed);
			status = near__rooms_open(cache, words);
			if (status != NEAR_OK)
				near__settings_free(&cache->settings);
		}
	}
	if (status != NEAR_OK) {
		say(words, status);
		free(cache);
		return status;
	}
	*out = cache;
	return NEAR_OK;
}

void near__close(near_cache *cache)
{
	if (cache == NULL)
		return;
	/* The rooms of a cache that this process inherited and never used are the parent's: see fork.c. */
	if (atomic_load_explicit(&cache->generation, memory_order_acquire) ==
	    atomic_load_explicit(&near__forks, memory_order_relaxed))
		rooms_close(cache);
	near__settings_free(&cache->settings);
	free(cache);
}

near_status near__ping(near_cache *cache, int64_t deadline_ns)
{
	if (cache->coherence == NULL)
		return NEAR_OK;
	near_status status = near__redis_wait_up(cache->redis, deadline_ns);
	if (status != NEAR_OK)
		return status;
	const char *argv[] = { "PING" };
	const size_t sizes[] = { 4 };
	near__reply *reply = NULL;
	status = near__redis_call(cache->redis, &(near__command){ .argc = 1, .argv = argv, .sizes = sizes }, deadline_ns,
	                          &reply);
	if (status != NEAR_OK)
		return status;
	if (near__reply_is(reply) == NEAR__REPLY_ERROR)
		status = NEAR_E_UNAVAILABLE;
	near__reply_free(reply);
	return status;
}

near_status near__wait_ready(near_cache *cache, int64_t deadline_ns)
{
	return cache->coherence != NULL ? near__coherence_wait_lease(cache->coherence, deadline_ns) : NEAR_OK;
}
