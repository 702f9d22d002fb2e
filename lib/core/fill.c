/* From a value that was read to an entry that may be served: the fences, and the way between an envelope and L1.
 *
 * Why nothing late gets in. Let an invalidation of key K be at sequence q (or at ticket t, if this process issued it and
 * Redis has not numbered it). A value read before it carries as-of p0 < q (ticket t0 < t), taken before its read began.
 *   1. The entry is published in L1 as UNIQUE, which no reader accepts; then a full fence; then near__before_holds.
 *   2. The invalidation raises iv(K) (the stripe of the local fence); then a full fence; then scans L1.
 * One of the two sees the other: the check refuses, or the scan aborts. Only then does UNIQUE become VALID.
 */
#include <stdlib.h>
#include <string.h>
#include "core/core.h"
#include "core/journal.h"

void near__before_take(near_cache *cache, near__key *key, near__before *before)
{
	near__key_share(cache, key);
	before->read_ns = near__now_ns();
	before->ticket = near__fence_now(&cache->fence);
	before->asof = before->ticket;
	before->incarnation = 0;
	before->tags_known = true;
	if (cache->coherence != NULL) {
		before->tags_known =
			near__coarse_ns() < near__coherence_shard_lease_until(cache->coherence, key->shard);
		before->asof = near__coherence_asof(cache->coherence, key->shard, key->shared);
		before->incarnation = near__coherence_incarnation(cache->coherence, key->shard);
	}
}

bool near__before_holds(const near_cache *cache, const near__key *key, const near__before *before)
{
	NEAR_DEBUG_ASSERT(key->has_shared);
	return near__fence_holds(&cache->fence, key->shared, before->ticket) &&
	       (cache->coherence == NULL ||
	        near__coherence_current(cache->coherence, key->shard, key->shared, before->asof));
}

typedef struct fencing {
	const near_cache *cache;
	const near__key *key;
	const near__before *before;
} fencing;

static bool still_current(void *ctx, const near__l1_write *write)
{
	const fencing *f = ctx;
	if (!near__before_holds(f->cache, f->key, f->before))
		return false;
	for (uint32_t i = 0; i < write->tag_count; i++)
		if (near__fence_tag(&f->cache->fence, write->tags[i]) > f->before->ticket)
			return false;
	return true;
}

near__l1_write near__write_make(const near__key *key, const near__found *found, near__pos asof)
{
	return (near__l1_write){
		.hash = key->local,
		.key = key->bytes,
		.key_size = key->size,
		.value = found->value,
		.value_size = found->value_size,
		.asof = asof,
		.now_ns = near__coarse_ns(),
		.fresh_until_ns = found->fresh_until_ns,
		.stale_until_ns = found->stale_until_ns,
		.version = found->version,
		.delta_us = found->delta_us,
		.flags = found->flags,
		.tag_count = found->tag_count,
		.tags = found->tags,
		.mode = NEAR__L1_FILL,
	};
}

near__l1_outcome near__install(near_cache *cache, const near__key *key, const near__before *before,
                               const near__found *found)
{
	fencing fence = { cache, key, before };
	near__l1_write write = near__write_make(key, found, before->asof);
	write.current = still_current;
	write.ctx = &fence;
	/* Asked here as well, before anything is touched: a put that its fence refuses has already taken the place of what was
	 * there, perhaps the stale value that somebody will fall back on. */
	near__l1_outcome outcome =
		still_current(&fence, &write) ? near__l1_put(cache->l1, &write) : NEAR__L1_OVERTAKEN;
	if (outcome == NEAR__L1_OVERTAKEN)
		near__count(cache->stats, NEAR__STAT_fills_refused_l1);
	return outcome;
}

/* True when no invalidation of one of the value's tags is known that it does not already reflect, and what is known here
 * may be relied on. */
static bool tags_current(near_cache *cache, const near__key *key, const near__before *before,
                         const near__envelope *envelope, near__found *found)
{
	near__pos asof =
		near__coherence_pos_of(cache->coherence, key->shard, envelope->incarnation, envelope->asof);
	bool current = envelope->tag_count == 0 || before->tags_known;
	for (uint32_t i = 0; i < envelope->tag_count; i++) {
		found->tags[i] = near__envelope_tag(envelope, i);
		if (near__coherence_tag_pos(cache->coherence, key->shard, found->tags[i]) > asof)
			current = false;
	}
	found->tag_count = envelope->tag_count;
	return current;
}

near__verdict near__decode(near_cache *cache, near__key *key, const near__before *before, const void *bytes, size_t size,
                           near__found *found, uint64_t *sum)
{
	near__envelope e;
	near__key_share(cache, key);
	*sum = 0;
	if (size >= NEAR__ENVELOPE_HEAD)
		memcpy(sum, (const char *)bytes + NEAR__ENVELOPE_SUM_AT, sizeof *sum);
	/* Asked before the question as well; but a write may have been noted since. Who notes one raises the fence afterwards, so
	 * a ticket that the raise does not refuse was taken after the note, and the note is seen here. */
	if (near__journal_has(cache->journal, key->shard, key->bytes, key->size))
		return NEAR__NONE;
	uint64_t redis_ms = near__coherence_redis_ms(cache->coherence);
	if (!near__envelope_read(bytes, size, key->bytes, key->size, &e) || e.tag_count > NEAR_TAGS_MAX ||
	    e.incarnation != before->incarnation || e.incarnation == 0 || redis_ms == 0 ||
	    /* Again, now that the answer is here: the connection may have been lost and made anew before it was asked. */
	    e.incarnation != near__coherence_incarnation(cache->coherence, key->shard)) {
		near__count(cache->stats, NEAR__STAT_l2_rejected);
		return NEAR__NONE;
	}
	int64_t now_ns = near__coarse_ns();
	int64_t cap_ms = (int64_t)cache->settings.o.ttl_max_ms;
	int64_t left_ms = (int64_t)(e.fresh_until_ms - redis_ms);
	if (left_ms > cap_ms)
		left_ms = cap_ms;
	if (left_ms < -cap_ms)
		left_ms = -cap_ms;
	*found = (near__found){
		.value = e.payload,
		.value_size = e.payload_size,
		.version = e.version,
		.created_ms = e.created_ms,
		.delta_us = e.delta_us,
		.flags = e.flags & NEAR__ENVELOPE_NEGATIVE ? NEAR__ENTRY_NEGATIVE : 0,
		.fresh_until_ns = now_ns + left_ms * NEAR__MS_NS,
	};
	found->stale_until_ns = found->fresh_until_ns + (int64_t)cache->settings.o.stale_ms * NEAR__MS_NS;
	if (!tags_current(cache, key, before, &e, found) || e.marked_stale || left_ms <= 0)
		return now_ns < found->stale_until_ns && found->flags == 0 ? NEAR__STALE : NEAR__NONE;
	return NEAR__FRESH;
}

near_status near__encode(near_cache *cache, const near__key *key, const near__before *before, const near__found *found,
                         uint64_t fresh_ms, void **bytes, size_t *size)
{
	uint64_t redis_ms = near__coherence_redis_ms(cache->coherence);
	if (redis_ms == 0 || before->incarnation == 0)
		return NEAR_E_UNAVAILABLE;
	near__envelope e = {
		.incarnation = before->incarnation,
		.created_ms = redis_ms,
		.fresh_until_ms = redis_ms + fresh_ms,
		.asof = near__coherence_seq_of(cache->coherence, key->shard, before->asof, before->incarnation),
		.version = found->version,
		.delta_us = found->delta_us,
		.flags = found->flags & NEAR__ENTRY_NEGATIVE ? NEAR__ENVELOPE_NEGATIVE : 0,
		.tag_count = found->tag_count,
		.tags = found->tags,
		.payload = found->value,
		.payload_size = found->value_size,
	};
	*size = near__envelope_size(&e);
	*bytes = malloc(*size);
	if (*bytes == NULL)
		return NEAR_E_NOMEM;
	near__envelope_write(&e, key->bytes, key->size, *bytes);
	return NEAR_OK;
}

near__step near__step_make(near_cache *cache, near__key *key, int64_t deadline_ns, near__names *names)
{
	near__key_share(cache, key);
	return (near__step){
		.shard = key->shard,
		.key = key->bytes,
		.key_size = key->size,
		.data_name = names->data,
		.token_name = names->token,
		.data_name_size = near__l2_data_name(cache->prefix, key->bytes, key->size, names->data),
		.token_name_size = near__l2_token_name(cache->prefix, key->bytes, key->size, names->token),
		.deadline_ns = deadline_ns,
	};
}
