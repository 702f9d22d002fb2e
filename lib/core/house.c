/* Housekeeping and the courier: see house.h.
 *
 * The housekeeper calls near__l1_maintain every few milliseconds: small steps, so that it never holds a worker's memory or
 * core for long. The courier sleeps until Redis is back (or something was queued while Redis is up, which a timeout or a
 * refusal does) and sends the journal, oldest first.
 */
#include <stdio.h>
#include <stdlib.h>
#include "core/house.h"
#include "core/journal.h"
#include "sync/wake.h"

enum { TIDY_MS = 5, COURIER_MS = 100 };

struct near__house {
	near_cache *cache;
	_Atomic(bool) stopping;
	_Atomic(uint32_t) tidy_word; /* futex */
	bool has_tidy, has_courier;
	pthread_t tidy, courier;
};

static bool stopping(const near__house *house)
{
	/* relaxed: only ends loops; joining the thread orders everything. */
	return atomic_load_explicit(&house->stopping, memory_order_relaxed);
}

static void *tidy(void *ctx)
{
	near__house *house = ctx;
	while (!stopping(house)) {
		if (near__l1_maintain(house->cache->l1, near__coarse_ns()))
			continue;
		(void)near__wait(&house->tidy_word, 0, near__now_ns() + TIDY_MS * NEAR__MS_NS);
	}
	return NULL;
}

static near_status send(near_cache *cache, const near__journal_item *item, int64_t deadline_ns)
{
	if (item->void_shard) {
		uint64_t before = near__coherence_incarnation(cache->coherence, item->shard);
		near_status status = near__coherence_void_shard(cache->coherence, item->shard, deadline_ns);
		bool adopted = near__coherence_incarnation(cache->coherence, item->shard) != before;
		return status != NEAR_OK || adopted ? status : NEAR_E_TIMEOUT; /* void, but not yet here: once more does no harm */
	}
	if (item->change == NEAR__CHANGE_TAG) {
		near__tag tag;
		__builtin_memcpy(&tag, item->key, sizeof tag);
		return near__coherence_invalidate_tag(cache->coherence, tag, deadline_ns);
	}
	near__key key = near__key_make(item->key, item->key_size);
	near__names names;
	near__pos pos;
	near__step step = near__step_make(cache, &key, deadline_ns, &names);
	bool keep_stale = item->change == NEAR__CHANGE_INVALIDATE && cache->settings.o.stale_ms > 0;
	near_status status = near__coherence_invalidate(cache->coherence, &step, item->change, keep_stale, &pos);
	if (status != NEAR_OK)
		return status;
	if (pos != 0)
		near__coherence_raise(cache->coherence, key.shard, key.shared, pos);
	(void)near__l1_drop(cache->l1, key.local, key.bytes, key.size, pos != 0 ? pos : UINT64_MAX, keep_stale,
	                    near__coarse_ns());
	return NEAR_OK;
}

void near__house_deliver(near_cache *cache, int64_t deadline_ns)
{
	near__journal_item item;
	/* Ends: each round sends one noted entry or leaves; new ones are bounded by the deadline. */
	while (near__redis_is_up(cache->redis) && near__journal_next(cache->journal, &item)) {
		int64_t now_ns = near__now_ns();
		int64_t until_ns = now_ns + (int64_t)cache->settings.o.deadline_ms * NEAR__MS_NS;
		if (now_ns >= deadline_ns || send(cache, &item, until_ns < deadline_ns ? until_ns : deadline_ns) != NEAR_OK)
			return;
		near__journal_done(cache->journal, &item);
		near__count(cache->stats, NEAR__STAT_journal_sent);
	}
}

static void *courier(void *ctx)
{
	near__house *house = ctx;
	near_cache *cache = house->cache;
	while (!stopping(house)) {
		/* relaxed: a nudge after this load changes the word, so the wait returns at once. */
		uint32_t word = atomic_load_explicit(&cache->courier_word, memory_order_relaxed);
		if (near__journal_count(cache->journal) > 0)
			near__house_deliver(cache, near__now_ns() + 1000 * NEAR__MS_NS);
		if (!stopping(house))
			(void)near__wait(&cache->courier_word, word, near__now_ns() + COURIER_MS * NEAR__MS_NS);
	}
	return NULL;
}

void near__house_nudge(near_cache *cache)
{
	atomic_fetch_add_explicit(&cache->courier_word, 1, memory_order_relaxed);
	near__wake_all(&cache->courier_word);
}

static bool start(near__house *house, pthread_t *thread, void *(*body)(void *), const char *suffix)
{
	char name[16];
	snprintf(name, sizeof name, "%.10s-%s", house->cache->settings.o.thread_name, suffix);
	return near__thread_start(thread, body, house, name);
}

near_status near__house_create(near_cache *cache, near__house **out)
{
	near__house *house = calloc(1, sizeof *house);
	if (house == NULL)
		return NEAR_E_NOMEM;
	house->cache = cache;
	house->has_tidy = start(house, &house->tidy, tidy, "tidy");
	house->has_courier = cache->coherence != NULL && start(house, &house->courier, courier, "mail");
	if (!house->has_tidy || (cache->coherence != NULL && !house->has_courier)) {
		near__house_free(house);
		return NEAR_E_SYSTEM;
	}
	*out = house;
	return NEAR_OK;
}

void near__house_free(near__house *house)
{
	if (house == NULL)
		return;
	atomic_store_explicit(&house->stopping, true, memory_order_relaxed);
	atomic_store_explicit(&house->tidy_word, 1, memory_order_relaxed);
	near__wake_all(&house->tidy_word);
	near__house_nudge(house->cache);
	if (house->has_tidy)
		pthread_join(house->tidy, NULL);
	if (house->has_courier)
		pthread_join(house->courier, NULL);
	free(house);
}
