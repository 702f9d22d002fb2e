/* The read path: L1, judged; then L2, fenced into L1; then, for those who allow it, what is left as stale.
 *
 *   lease asked -> section { find -> judge -> deliver } -> hit
 *                                  \-> before { position, incarnation, ticket } -> GET -> decode -> install -> deliver
 *
 * An L1 hit takes no lock, allocates nothing and waits for nobody. The lease is asked before the entry is loaded: the other
 * way round an entry loaded under an old lease could be served under a new one that was earned by dropping that entry.
 */
#include <string.h>
#include "core/core.h"
#include "core/journal.h"
#include "core/refresh.h"

static bool tags_hold(near_cache *cache, near__key *key, const near__l1_view *view)
{
	near__key_share(cache, key);
	for (uint32_t i = 0; i < view->tag_count; i++) {
		near__pos last = cache->coherence != NULL
		                     ? near__coherence_tag_pos(cache->coherence, key->shard, view->tags[i])
		                     : near__fence_tag(&cache->fence, view->tags[i]);
		if (view->asof < last)
			return false;
	}
	return true;
}

/* The part of the judgement that only a cache with Redis needs. False: the entry cannot be vouched for. */
static bool vouched(near_cache *cache, near__key *key, bool leased, const near__l1_view *view)
{
	near__coherence *c = cache->coherence;
	if (NEAR_UNLIKELY(!leased) && !(view->flags & NEAR__ENTRY_ALONE)) {
		near__count(cache->stats, NEAR__STAT_lease_lapsed);
		return false;
	}
	if (NEAR_UNLIKELY(view->asof < near__coherence_floor_max(c))) {
		near__key_share(cache, key);
		if (view->asof < near__coherence_floor(c, key->shard)) {
			near__count(cache->stats, NEAR__STAT_floor_rejected);
			return false;
		}
	}
	return true;
}

near__verdict near__judge(near_cache *cache, near__key *key, bool leased, int64_t now_ns, const near__l1_view *view)
{
	bool fresh = now_ns < view->fresh_until_ns && !view->marked_stale;
	if (fresh && cache->coherence != NULL)
		fresh = vouched(cache, key, leased, view);
	if (fresh && NEAR_UNLIKELY(view->tag_count > 0))
		fresh = tags_hold(cache, key, view);
	if (NEAR_LIKELY(fresh))
		return NEAR__FRESH;
	return now_ns < view->stale_until_ns && !(view->flags & NEAR__ENTRY_NEGATIVE) ? NEAR__STALE : NEAR__NONE;
}

/* NEAR_OK, NEAR_MISS (known not to exist), NEAR_STALE when only that is there and `stale` asks for it; otherwise
 * NEAR_E_UNAVAILABLE: L1 has no answer. Delivery errors pass through. */
static near_status from_l1(near_cache *cache, near__key *key, const near__sink *sink, bool stale)
{
	int64_t now_ns = near__coarse_ns();
	near__thread *self = near__self();
	bool leased = near__leased(cache, key, now_ns);
	near__l1_view view;
	near_status status = NEAR_E_UNAVAILABLE;
	int64_t age_ns = -1;
	near__epoch_enter(self);
	near__verdict verdict =
		near__l1_find(cache->l1, key->local, key->bytes, key->size, now_ns, &view)
			? near__judge(cache, key, leased, now_ns, &view)
			: NEAR__NONE;
	if (verdict == NEAR__FRESH && (view.flags & NEAR__ENTRY_NEGATIVE))
		status = NEAR_MISS;
	else if (verdict == NEAR__FRESH)
		status = near__sink_view(cache, sink, &view, now_ns, NEAR_OK);
	else if (verdict == NEAR__STALE && stale) {
		status = near__sink_view(cache, sink, &view, now_ns, NEAR_STALE);
		age_ns = now_ns > view.fresh_until_ns ? now_ns - view.fresh_until_ns : 0;
	}
	near__epoch_exit(self);
	if (age_ns >= 0)
		near__tell_stale(cache, key, age_ns);
	else if (verdict == NEAR__FRESH)
		near__count(cache->stats, status == NEAR_MISS ? NEAR__STAT_negative_hits : NEAR__STAT_l1_hits);
	return status;
}

near_status near__stale_from_l1(near_cache *cache, near__key *key, const near__sink *sink)
{
	return from_l1(cache, key, sink, true);
}

bool near__stale_in_l1(near_cache *cache, near__key *key)
{
	near__l1_view view;
	int64_t now_ns = near__coarse_ns();
	near__thread *self = near__self();
	near__epoch_enter(self);
	bool there = near__l1_find(cache->l1, key->local, key->bytes, key->size, now_ns, &view) &&
	             near__judge(cache, key, true, now_ns, &view) != NEAR__NONE;
	near__epoch_exit(self);
	return there;
}

/* A hit as above that also asks whether the value is due for a refresh. */
near_status near__load_hit(near_cache *cache, near__key *key, near_loader loader, void *ctx, const near__terms *terms,
                           const near__sink *sink)
{
	int64_t now_ns = near__coarse_ns();
	near__thread *self = near__self();
	bool leased = near__leased(cache, key, now_ns);
	near__l1_view view;
	near_status status = NEAR_E_UNAVAILABLE;
	bool due = false, negative = false;
	near__epoch_enter(self);
	if (near__l1_find(cache->l1, key->local, key->bytes, key->size, now_ns, &view) &&
	    near__judge(cache, key, leased, now_ns, &view) == NEAR__FRESH) {
		negative = view.flags & NEAR__ENTRY_NEGATIVE;
		status = negative ? NEAR_MISS : near__sink_view(cache, sink, &view, now_ns, NEAR_OK);
		due = near__refresh_due(now_ns, view.fresh_until_ns, view.delta_us, terms->beta, &self->random);
	}
	near__epoch_exit(self);
	if (status == NEAR_E_UNAVAILABLE)
		return status;
	near__count_by(cache->stats, self, negative ? NEAR__STAT_negative_hits : NEAR__STAT_l1_hits, 1);
	if (NEAR_UNLIKELY(due))
		near__refresh_offer(cache, key, loader, ctx, terms, view.fresh_until_ns);
	return status;
}

bool near__l2_usable(near_cache *cache, near__key *key)
{
	if (cache->coherence == NULL || !near__redis_is_up(cache->redis))
		return false;
	near__key_share(cache, key);
	return !near__journal_has(cache->journal, key->shard, key->bytes, key->size);
}

near_status near__take(near_cache *cache, near__key *key, const near__terms *terms, const near__sink *sink,
                       const near__before *before, const void *bytes, size_t size)
{
	near__found found;
	uint64_t sum;
	if (near__decode(cache, key, before, bytes, size, &found, &sum) != NEAR__FRESH) {
		near__count(cache->stats, NEAR__STAT_l2_misses);
		return NEAR_E_UNAVAILABLE;
	}
	if (!(terms->flags & NEAR_NO_L1))
		(void)near__install(cache, key, before, &found);
	if (found.flags & NEAR__ENTRY_NEGATIVE) {
		near__count(cache->stats, NEAR__STAT_negative_hits);
		return NEAR_MISS;
	}
	near__count(cache->stats, NEAR__STAT_l2_hits);
	int64_t ttl_ms = (found.fresh_until_ns - near__coarse_ns()) / NEAR__MS_NS;
	return near__sink_bytes(sink, found.value, found.value_size, found.version, ttl_ms, NEAR_FROM_L2, NEAR_OK);
}

static near_status from_l2(near_cache *cache, near__key *key, const near__terms *terms, const near__sink *sink)
{
	near__before before;
	near__before_take(cache, key, &before);
	char name[NEAR__NAME_MAX];
	size_t name_size = near__l2_data_name(cache->prefix, key->bytes, key->size, name);
	const char *argv[] = { "GET", name };
	const size_t sizes[] = { 3, name_size };
	near__reply *reply = NULL;
	near_status status = near__redis_call(
		cache->redis, &(near__command){ .argc = 2, .argv = argv, .sizes = sizes }, terms->deadline_ns, &reply);
	if (status != NEAR_OK || near__reply_is(reply) == NEAR__REPLY_ERROR) {
		near__count(cache->stats, NEAR__STAT_l2_errors);
		if (status == NEAR_OK)
			near__reply_free(reply);
		return NEAR_E_UNAVAILABLE;
	}
	size_t size;
	const char *bytes = near__reply_bytes(reply, &size);
	status = NEAR_E_UNAVAILABLE;
	if (bytes != NULL)
		status = near__take(cache, key, terms, sink, &before, bytes, size);
	else
		near__count(cache->stats, NEAR__STAT_l2_misses);
	near__reply_free(reply);
	return status;
}

/* What follows when L1 had nothing fresh. */
static near_status beyond_l1(near_cache *cache, near__key *key, const near__terms *terms, const near__sink *sink)
{
	near_status status = NEAR_E_UNAVAILABLE;
	if (!(terms->flags & NEAR_NO_L2) && near__l2_usable(cache, key))
		status = from_l2(cache, key, terms, sink);
	if (status == NEAR_E_UNAVAILABLE && terms->stale_allowed && !(terms->flags & NEAR_NO_L1))
		status = from_l1(cache, key, sink, true);
	return status == NEAR_E_UNAVAILABLE ? NEAR_MISS : status;
}

near_status near__get_with(near_cache *cache, near__key *key, const near__terms *terms, const near__sink *sink)
{
	if (!(terms->flags & NEAR_NO_L1)) {
		near_status status = from_l1(cache, key, sink, false);
		if (status != NEAR_E_UNAVAILABLE)
			return status;
		near__count(cache->stats, NEAR__STAT_l1_misses);
	}
	return beyond_l1(cache, key, terms, sink);
}

/* All that a get does when the value is not simply there, fresh and vouched for. The lookup is made again: of the many ways
 * here only the wait for Redis costs anything. */
static __attribute__((noinline)) near_status get_beyond(near_cache *cache, const void *bytes, size_t size, void *buf,
                                                        size_t buf_size, near_item *item)
{
	near__key key = near__key_make(bytes, size);
	near__sink sink = { .buf = buf, .buf_size = buf_size, .item = item };
	near__terms terms;
	near_status status = from_l1(cache, &key, &sink, false);
	if (status != NEAR_E_UNAVAILABLE)
		return status;
	near__count(cache->stats, NEAR__STAT_l1_misses);
	if (cache->coherence == NULL && !cache->settings.o.stale_ok)
		return NEAR_MISS;
	(void)near__terms_make(cache, NULL, &terms);
	return beyond_l1(cache, &key, &terms, &sink);
}

/* Nothing but the life has to be asked: the common case of a judgement. */
static inline bool plainly_fresh(near_cache *cache, bool leased, int64_t now_ns, const near__l1_view *view)
{
	return now_ns < view->fresh_until_ns && !view->marked_stale && view->flags == 0 && view->tag_count == 0 && leased &&
	       (cache->coherence == NULL || view->asof >= near__coherence_floor_max(cache->coherence));
}

/* The get that workers make a million times a second, kept short: while a processor waits for the entry of one get it can
 * fetch the set of the next one, if that lies within the few hundred instructions it looks ahead. Hence no key, no sink and
 * no terms here; whatever is not the common case goes the long way. */
near_status near__get(near_cache *cache, const void *bytes, size_t size, void *buf, size_t buf_size, near_item *item)
{
	uint64_t hash = near__hash_local(bytes, size);
	near__l1_prefetch(cache->l1, hash);
	int64_t now_ns = near__coarse_ns();
	near__thread *self = near__self();
	bool leased = cache->coherence == NULL || now_ns < near__coherence_lease_until(cache->coherence);
	near__l1_view view;
	bool hit = false;
	near__epoch_enter(self);
	if (NEAR_LIKELY(near__l1_find(cache->l1, hash, bytes, size, now_ns, &view)) &&
	    NEAR_LIKELY(plainly_fresh(cache, leased, now_ns, &view)) && NEAR_LIKELY(view.value_size <= buf_size)) {
		if (item != NULL)
			*item = (near_item){ .value_size = view.value_size, .version = view.version, .source = NEAR_FROM_L1,
				             .ttl_ms = (view.fresh_until_ns - now_ns) / NEAR__MS_NS };
		if (view.value_size != 0)
			memcpy(buf, view.value, view.value_size);
		hit = true;
	}
	near__epoch_exit(self);
	if (NEAR_UNLIKELY(!hit))
		return get_beyond(cache, bytes, size, buf, buf_size, item);
	near__count_by(cache->stats, self, NEAR__STAT_l1_hits, 1);
	return NEAR_OK;
}

near_status near__ttl(near_cache *cache, near__key *key, const near__terms *terms, uint64_t *ttl_ms)
{
	near_item item;
	near__sink sink = { .item = &item };
	near__terms mine = *terms;
	mine.stale_allowed = false;
	near_status status = near__get_with(cache, key, &mine, &sink);
	if (status != NEAR_OK && status != NEAR_E_NOSPACE)
		return status;
	*ttl_ms = item.ttl_ms > 0 ? (uint64_t)item.ttl_ms : 0;
	return NEAR_OK;
}
