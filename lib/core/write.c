/* The write path. One atomic step in Redis carries data, sequence, log and message; what this process then keeps in L1 is
 * fenced like any fill.
 *
 *   put          step -> answered q: raise iv to q, install as of q -> NEAR_OK
 *                     -> not answered: install alone (fresh for one lease), journal an invalidation -> NEAR_QUEUED
 *                        (a put is not idempotent: repeated later it could overwrite a newer one; an invalidation is)
 *   invalidate   local fence, drop; step -> answered q: raise iv to q, drop what was refilled meanwhile -> NEAR_OK
 *                                        -> not answered: journal -> NEAR_QUEUED
 *
 * Without Redis the L1 entry's own rules suffice: as-of is the local fence's count.
 */
#include <stdlib.h>
#include "core/core.h"
#include "core/journal.h"

static near_status from_outcome(near__l1_outcome outcome)
{
	switch (outcome) {
	case NEAR__L1_PRESENT:
		return NEAR_EXISTS;
	case NEAR__L1_ABSENT:
		return NEAR_MISS;
	case NEAR__L1_MISMATCH:
		return NEAR_CONFLICT;
	default:
		return NEAR_OK; /* installed; or not kept, which a cache may always do: counted by L1 */
	}
}

static near__found value_of(const near_cache *cache, const void *value, size_t value_size, const near__terms *terms,
                            uint64_t *fresh_ms)
{
	int64_t now_ns = near__coarse_ns();
	*fresh_ms = near__terms_jitter(cache, terms->ttl_ms);
	near__found found = {
		.value = value,
		.value_size = value_size,
		.version = terms->version,
		.fresh_until_ns = now_ns + (int64_t)*fresh_ms * NEAR__MS_NS,
		.tag_count = terms->tag_count,
	};
	found.stale_until_ns = found.fresh_until_ns + (int64_t)terms->stale_ms * NEAR__MS_NS;
	for (uint32_t i = 0; i < terms->tag_count; i++)
		found.tags[i] = terms->tags[i];
	return found;
}

static near_status put_single(near_cache *cache, near__key *key, const near__found *found, near__l1_mode mode,
                              uint64_t expected)
{
	near__key_share(cache, key);
	near__l1_write write = near__write_make(key, found, 0);
	near__l1_outcome outcome;
	write.mode = mode;
	write.expected = expected;
	/* A later write is there. A put has then been overtaken; what depends on what is there looks again, with a later as-of.
	 * Ends: each round more means that another write got on. */
	do {
		write.asof = near__fence_raise(&cache->fence, key->shared);
		outcome = near__l1_put(cache->l1, &write);
	} while (outcome == NEAR__L1_NEWER && mode != NEAR__L1_SET);
	if (outcome == NEAR__L1_NEWER && found->version != 0)
		return NEAR_CONFLICT;
	return from_outcome(outcome);
}

/* Drops the key here. `below`: entries older than this. */
static void drop(near_cache *cache, const near__key *key, near__pos below, bool keep_stale)
{
	(void)near__l1_drop(cache->l1, key->local, key->bytes, key->size, below, keep_stale, near__coarse_ns());
}

/* Notes the write for later: from then on this process takes nothing about the key from Redis. What it asked before, while
 * the write was trying its luck, may have brought the old value back into L1, or be about to: so after the note comes the
 * fence, and then a drop. */
static near_status queue(near_cache *cache, near__key *key, near__change change)
{
	if (!near__journal_add(cache->journal, key->shard, change, key->bytes, key->size))
		near__count(cache->stats, NEAR__STAT_journal_overflows);
	near__count(cache->stats, NEAR__STAT_queued);
	return NEAR_QUEUED;
}

/* The part of an invalidation that Redis sees. Any failure leaves it queued, a refusal by the server, too, since the promise
 * to invalidate does not lapse; the caller raises the fence and drops then. A key that is noted already is sent all the same
 * when Redis is up. */
static near_status invalidate_step(near_cache *cache, near__key *key, near__change change, bool keep_stale,
                                   const near__terms *terms, near__pos *pos)
{
	if (!near__redis_is_up(cache->redis))
		return queue(cache, key, change);
	near__names names;
	near__step step = near__step_make(cache, key, terms->deadline_ns, &names);
	near_status status = near__coherence_invalidate(cache->coherence, &step, change, keep_stale, pos);
	if (status != NEAR_OK) {
		near__count(cache->stats, NEAR__STAT_l2_errors);
		return queue(cache, key, change);
	}
	if (*pos != 0) {
		near__coherence_raise(cache->coherence, key->shard, key->shared, *pos);
		drop(cache, key, *pos, keep_stale);
		return NEAR_OK;
	}
	/* Another incarnation began meanwhile: every as-of of ours is below its floor or unknown. */
	(void)near__fence_raise(&cache->fence, key->shared);
	drop(cache, key, UINT64_MAX, false);
	return NEAR_OK;
}

near_status near__invalidate(near_cache *cache, near__key *key, near__change change, const near__terms *terms)
{
	bool keep_stale = change == NEAR__CHANGE_INVALIDATE && terms->stale_ms > 0;
	near__key_share(cache, key);
	near__count(cache->stats, NEAR__STAT_invalidations);
	(void)near__fence_raise(&cache->fence, key->shared);
	drop(cache, key, UINT64_MAX, keep_stale);
	if (cache->coherence == NULL)
		return NEAR_OK;
	near__pos pos;
	near_status status = invalidate_step(cache, key, change, keep_stale, terms, &pos);
	if (status == NEAR_QUEUED) {
		/* Redis still has the old value, and until the journal named the key it could be read and kept here. */
		(void)near__fence_raise(&cache->fence, key->shared);
		drop(cache, key, UINT64_MAX, keep_stale);
	}
	return status;
}

near_status near__invalidate_tag(near_cache *cache, near__tag tag, const near__terms *terms)
{
	near__count(cache->stats, NEAR__STAT_invalidations);
	(void)near__fence_raise_tag(&cache->fence, tag);
	if (cache->coherence == NULL)
		return NEAR_OK;
	near_status status = NEAR_E_UNAVAILABLE;
	if (near__redis_is_up(cache->redis))
		status = near__coherence_invalidate_tag(cache->coherence, tag, terms->deadline_ns);
	if (status == NEAR_OK)
		return NEAR_OK;
	if (!near__journal_add(cache->journal, 0, NEAR__CHANGE_TAG, &tag, sizeof tag))
		near__count(cache->stats, NEAR__STAT_journal_overflows);
	near__count(cache->stats, NEAR__STAT_queued);
	/* As for a key: note, fence, drop. Unnumbered, a tag's invalidation cannot be compared with the entries' as-ofs: forget
	 * everything here. */
	(void)near__fence_raise_tag(&cache->fence, tag);
	near__l1_clear(cache->l1);
	return NEAR_QUEUED;
}

/* A fresh value of this version or a higher one is here. */
static bool version_is_here(near_cache *cache, near__key *key, uint64_t version)
{
	near__l1_view view;
	int64_t now_ns = near__coarse_ns();
	near__thread *self = near__self();
	bool leased = near__leased(cache, key, now_ns);
	near__epoch_enter(self);
	bool here = near__l1_find(cache->l1, key->local, key->bytes, key->size, now_ns, &view) &&
	            near__judge(cache, key, leased, now_ns, &view) == NEAR__FRESH &&
	            !(view.flags & NEAR__ENTRY_NEGATIVE) && view.version >= version;
	near__epoch_exit(self);
	return here;
}

typedef struct alone {
	uint64_t ticket; /* of when the put began */
	bool tried;      /* Redis was sent the put and may have taken it */
	bool ask;        /* Redis answers: it can be sent an invalidation now */
} alone;

/* The put did not take effect for certain: the others learn that theirs is old, then this process keeps the value alone.
 * What was read of the old value before the note has an older ticket than what is installed here; and nothing is installed
 * when another write of this process has ended since the put began, which may be the newer one. */
static near_status put_alone(near_cache *cache, near__key *key, near__found *found, const near__terms *terms,
                             const alone *how)
{
	near__before before;
	near__pos pos = 0;
	bool overtaken;
	if (found->version != 0 && version_is_here(cache, key, found->version)) {
		if (how->tried)
			(void)queue(cache, key, NEAR__CHANGE_INVALIDATE);
		return NEAR_CONFLICT;
	}
	near_status status = how->ask ? invalidate_step(cache, key, NEAR__CHANGE_INVALIDATE, false, terms, &pos)
	                              : queue(cache, key, NEAR__CHANGE_INVALIDATE);
	uint64_t ticket = near__fence_raise_since(&cache->fence, key->shared, how->ticket, &overtaken);
	near__before_take(cache, key, &before);
	before.ticket = ticket;
	if (status == NEAR_OK && pos != 0)
		before.asof = pos;
	drop(cache, key, UINT64_MAX, false);
	int64_t alone_ns = terms->begun_ns + (int64_t)cache->settings.o.lease_ms * NEAR__MS_NS - NEAR__COARSE_NS;
	found->flags |= NEAR__ENTRY_ALONE;
	if (found->fresh_until_ns > alone_ns)
		found->fresh_until_ns = alone_ns;
	found->stale_until_ns = alone_ns + (int64_t)cache->settings.o.degraded_ttl_ms * NEAR__MS_NS;
	if (!overtaken && !(terms->flags & NEAR_NO_L1))
		(void)near__install(cache, key, &before, found);
	return status;
}

static const char step_mode[] = { [NEAR__L1_SET] = 's', [NEAR__L1_ADD] = 'a', [NEAR__L1_REPLACE] = 'r',
	                              [NEAR__L1_IF_VERSION] = 'c' };

/* Encodes for the present incarnation and runs the step; again when the incarnation has just changed. */
static near_status put_step(near_cache *cache, near__key *key, const near__found *found, uint64_t fresh_ms,
                            near__l1_mode mode, uint64_t expected, const near__terms *terms, near__before *before,
                            near__pos *pos)
{
	near__names names;
	near__step step = near__step_make(cache, key, terms->deadline_ns, &names);
	near_status status = NEAR_E_UNAVAILABLE;
	for (int attempt = 0; attempt < 3; attempt++) {
		void *bytes;
		size_t size;
		bool again = false;
		near__before_take(cache, key, before);
		status = near__encode(cache, key, before, found, fresh_ms, &bytes, &size);
		if (status != NEAR_OK)
			return status;
		near__put_step put = {
			.envelope = bytes,
			.envelope_size = size,
			.incarnation = before->incarnation,
			.life_ms = fresh_ms + terms->stale_ms,
			.mode = step_mode[mode],
			.version = found->version,
			.expected = expected,
		};
		status = near__coherence_put(cache->coherence, &step, &put, pos, &again);
		free(bytes);
		if (!again)
			return status;
		status = NEAR_E_UNAVAILABLE;
	}
	return status;
}

static near_status put_shared(near_cache *cache, near__key *key, near__found *found, uint64_t fresh_ms,
                              near__l1_mode mode, uint64_t expected, const near__terms *terms)
{
	near__before before;
	near__pos pos = 0;
	alone how = { .ticket = near__fence_now(&cache->fence), .tried = near__l2_usable(cache, key) };
	near_status status = NEAR_E_UNAVAILABLE;
	if (how.tried)
		status = put_step(cache, key, found, fresh_ms, mode, expected, terms, &before, &pos);
	if (status == NEAR_EXISTS || status == NEAR_MISS || status == NEAR_CONFLICT)
		return status;
	if (status == NEAR_OK && pos == 0) {
		(void)near__fence_raise(&cache->fence, key->shared);
		drop(cache, key, UINT64_MAX, false);
		return NEAR_OK;
	}
	if (status == NEAR_OK) {
		near__coherence_raise(cache->coherence, key->shard, key->shared, pos);
		before.asof = pos;
		/* Refused by a fence that another key of the stripe has raised: what the put has replaced must still go. */
		if ((terms->flags & NEAR_NO_L1) || near__install(cache, key, &before, found) == NEAR__L1_OVERTAKEN)
			drop(cache, key, pos, false);
		return NEAR_OK;
	}
	if (how.tried)
		near__count(cache->stats, NEAR__STAT_l2_errors);
	how.ask = status == NEAR_E_REDIS || (!how.tried && near__redis_is_up(cache->redis));
	if (mode == NEAR__L1_SET)
		return put_alone(cache, key, found, terms, &how);
	if (how.tried && (status == NEAR_E_TIMEOUT || status == NEAR_E_REDIS || status == NEAR_E_UNAVAILABLE))
		(void)near__invalidate(cache, key, NEAR__CHANGE_INVALIDATE, terms); /* it may have taken effect */
	return status;
}

near_status near__put(near_cache *cache, near__key *key, const void *value, size_t value_size, near__l1_mode mode,
                      uint64_t expected, const near__terms *terms)
{
	uint64_t fresh_ms;
	if (value_size > cache->settings.o.value_max_bytes)
		return NEAR_E_TOO_LARGE;
	near__found found = value_of(cache, value, value_size, terms, &fresh_ms);
	near__count(cache->stats, NEAR__STAT_puts);
	if (cache->coherence == NULL && (terms->flags & NEAR_NO_L1) && mode == NEAR__L1_SET)
		return near__invalidate(cache, key, NEAR__CHANGE_REMOVE, terms); /* nowhere to put it: what is there is old */
	if (cache->coherence == NULL)
		return put_single(cache, key, &found, mode, expected);
	return put_shared(cache, key, &found, fresh_ms, mode, expected, terms);
}

/* --- touch: a longer life for the same bytes */

static near_status touch_single(near_cache *cache, near__key *key, int64_t fresh_ns, int64_t stale_ns)
{
	near__l1_view view;
	int64_t now_ns = near__coarse_ns();
	near__thread *self = near__self();
	uint64_t asof = 0;
	near__epoch_enter(self);
	bool there = near__l1_find(cache->l1, key->local, key->bytes, key->size, now_ns, &view) &&
	             near__judge(cache, key, true, now_ns, &view) == NEAR__FRESH &&
	             view.flags == 0; /* a value kept alone must not outlive its lease */
	if (there)
		asof = view.asof;
	near__epoch_exit(self);
	if (!there)
		return NEAR_MISS;
	return near__l1_touch(cache->l1, key->local, key->bytes, key->size, asof, now_ns + fresh_ns, now_ns + stale_ns)
	           ? NEAR_OK
	           : NEAR_MISS;
}

/* Reads the envelope, writes it again with another end; the step refuses when it is no longer the same one. */
static near_status touch_shared(near_cache *cache, near__key *key, uint64_t fresh_ms, const near__terms *terms)
{
	near__before before;
	near__found found;
	near__reply *reply = NULL;
	uint64_t sum;
	near__names names;
	near__step step = near__step_make(cache, key, terms->deadline_ns, &names);
	near__before_take(cache, key, &before);
	const char *argv[] = { "GET", names.data };
	const size_t sizes[] = { 3, step.data_name_size };
	near_status status = near__redis_call(
		cache->redis, &(near__command){ .argc = 2, .argv = argv, .sizes = sizes }, terms->deadline_ns, &reply);
	if (status != NEAR_OK)
		return status;
	size_t size;
	const char *bytes = near__reply_bytes(reply, &size);
	void *again = NULL;
	size_t again_size;
	status = NEAR_MISS;
	if (near__reply_is(reply) == NEAR__REPLY_ERROR)
		status = NEAR_E_REDIS;
	else if (bytes != NULL && near__decode(cache, key, &before, bytes, size, &found, &sum) == NEAR__FRESH &&
	         found.flags == 0) {
		near__envelope old;
		(void)near__envelope_read(bytes, size, key->bytes, key->size, &old);
		/* The value has not become any newer. */
		before.asof = near__coherence_pos_of(cache->coherence, key->shard, old.incarnation, old.asof);
		status = near__encode(cache, key, &before, &found, fresh_ms, &again, &again_size);
	}
	if (status == NEAR_OK)
		status = near__coherence_touch(cache->coherence, &step, sum, again, again_size, fresh_ms + terms->stale_ms);
	free(again);
	near__reply_free(reply);
	return status;
}

near_status near__touch(near_cache *cache, near__key *key, uint64_t ttl_ms, const near__terms *terms)
{
	if (ttl_ms == 0)
		return NEAR_E_USAGE;
	if (ttl_ms > cache->settings.o.ttl_max_ms)
		ttl_ms = cache->settings.o.ttl_max_ms;
	int64_t fresh_ns = (int64_t)ttl_ms * NEAR__MS_NS;
	int64_t stale_ns = fresh_ns + (int64_t)terms->stale_ms * NEAR__MS_NS;
	if (cache->coherence == NULL)
		return touch_single(cache, key, fresh_ns, stale_ns);
	if (!near__l2_usable(cache, key))
		return NEAR_E_UNAVAILABLE;
	near_status status = touch_shared(cache, key, ttl_ms, terms);
	if (status == NEAR_OK)
		(void)touch_single(cache, key, fresh_ns, stale_ns); /* ours may be another one, or gone: then it lives as it did */
	return status;
}
