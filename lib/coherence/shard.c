/* One shard as this process sees it: the state machine of positions. I/O thread only, but for what others read.
 *
 *   a change q            known incarnation, q = applied + 1   apply
 *                         q <= applied                         a duplicate: drop
 *                         q >  applied + 1                     something is missing: resync
 *                         another incarnation                  resync
 *   an answer to replay   contiguous entries                   apply each
 *                         "start anew"                         adopt: generation + 1, floor, tags, position
 *
 * Why a message may be handled at any moment, whatever else is under way (no subscription confirmed yet, a replay being
 * waited for): within one incarnation the changes are one line, (inc, q) names one change for ever, and nothing but the
 * next one of the line is ever applied. A message that is dropped because it does not fit makes its receiver ask for a
 * replay *after* it was seen, and Redis's position then is at least the message's: nothing it told is lost. A forged
 * one costs one question.
 *
 * pos = generation << NEAR__SEQ_BITS | applied. A generation is a stretch of the line without a hole; a new one begins
 * whenever the line cannot be proved whole, and its floor (generation, 0) puts everything older below: a flush in O(1).
 * Generations of one shard only grow. A new one is at least the highest of any shard, so that a flush of all shards
 * leaves one common floor, and hits need not look at their own shard's.
 *
 * Order of an application, and why:
 *   1. iv (or the tag's stripe) is raised      2. full fence      3. drop      4. pos is published
 *   1-2-3 against the fill's publish-fence-look: COH-FENCE, one of the two sees the other. 4 last: a reader that takes
 *   its p0 from the new pos asks Redis after the change; one that took the old p0 is refused by iv.
 *
 * When the generations are used up (a million flushes of one shard) it stays without incarnation and lease: L1 and L2
 * are then not used for its keys until the cache is opened anew. Wrapping around would make old entries look new. */
#include "coherence/room.h"

#include <string.h>

#include "base/hash.h"

void near__shard_raise(_Atomic(uint64_t) *stripe, uint64_t pos)
{
	uint64_t old = atomic_load_explicit(stripe, memory_order_relaxed);
	/* Ends: each failure means that another thread has raised it, and it is never lowered. Sequentially consistent: the
	 * first half of COH-FENCE. */
	while (old < pos && !atomic_compare_exchange_weak(stripe, &old, pos))
		;
}

static uint64_t word_of(const near__shard *s, uint64_t seq)
{
	return s->generation << NEAR__SEQ_BITS | seq;
}

static void shard_publish(near__shard *s, uint64_t seq)
{
	s->applied = seq;
	/* COH-POS, release: pairs with near__coherence_pos. All that this position covers has been raised and dropped. */
	atomic_store_explicit(&s->pos, word_of(s, seq), memory_order_release);
}

static uint64_t tag_of(const char *key)
{
	uint64_t tag = 0;
	for (int i = 7; i >= 0; i--)
		tag = tag << 8 | (unsigned char)key[i];
	return tag;
}

void near__shard_apply(near__shard *s, uint64_t seq, char change, const char *key, size_t key_size)
{
	near__coherence *c = s->owner;
	const near__coherence_news *news = &c->config.news;
	uint64_t pos = word_of(s, seq);
	NEAR_ASSERT(seq == s->applied + 1 && s->inc != 0);
	if (change == NEAR__CHANGE_TAG)
		near__shard_raise(&s->tags[tag_of(key) % NEAR__TAG_STRIPES], pos);
	else
		near__shard_raise(&s->iv[near__shard_stripe(near__hash_shared(key, key_size))], pos);
	NEAR_YIELD("coherence: raised");
	/* COH-FENCE: iv before the look into L1. A fill stores its entry, fences, and looks at iv. */
	near__fence();
	if (news->drop != NULL)
		news->drop(news->ctx, s->index, (near__change)change, key, key_size, pos);
	NEAR_YIELD("coherence: dropped");
	shard_publish(s, seq);
	near__count(c->config.redis.stats, NEAR__STAT_messages_applied);
	near__lease_try(s);
}

/* False: used up. */
static bool next_generation(near__shard *s)
{
	near__coherence *c = s->owner;
	uint64_t next = s->generation + 1 > c->generation_max ? s->generation + 1 : c->generation_max;
	if (next > NEAR__GENERATION_MAX)
		return false;
	s->generation = next;
	c->generation_max = next;
	return true;
}

/* The hash's fields "t<stripe>": sequences of the last invalidations of tags, in this incarnation. */
static void take_tags(near__shard *s, const near__reply *hash)
{
	size_t n = near__reply_count(hash);
	for (size_t i = 0; i + 1 < n; i += 2) {
		size_t size, value_size;
		const char *name = near__reply_bytes(near__reply_at(hash, i), &size);
		const char *value = near__reply_bytes(near__reply_at(hash, i + 1), &value_size);
		uint64_t stripe, seq;
		if (name == NULL || value == NULL || size < 2 || name[0] != 't')
			continue;
		if (near__decimal_read(name + 1, size - 1, NEAR__TAG_STRIPES - 1, &stripe) &&
		    near__decimal_read(value, value_size, NEAR__SEQ_MASK, &seq))
			near__shard_raise(&s->tags[stripe], word_of(s, seq));
	}
}

/* Out of generations: nothing of this shard is believed or kept from now on. */
static void shard_spend(near__shard *s)
{
	near__log_write(&s->owner->config.redis.log, NEAR_LOG_ERROR,
	                "coherence: shard %u has been flushed a million times and is out of use", s->index);
	atomic_store(&s->incarnation, 0);
	atomic_store(&s->floor, UINT64_MAX);
	atomic_store(&s->lease_until, 0);
	s->inc = 0;
	s->spent = true;
}

void near__shard_adopt(near__shard *s, uint64_t incarnation, uint64_t seq, const near__reply *hash)
{
	near__coherence *c = s->owner;
	const near__coherence_news *news = &c->config.news;
	near__stats *stats = c->config.redis.stats;
	bool is_first = s->inc == 0, is_other = s->inc != incarnation;
	/* COH-INC: 0 stands while incarnation and generation do not belong together. */
	if (is_other)
		atomic_store(&s->incarnation, 0);
	if (!next_generation(s)) {
		shard_spend(s);
		return;
	}
	uint64_t floor = word_of(s, 0);
	atomic_store(&s->floor, floor);
	if (atomic_load_explicit(&c->floor_max, memory_order_relaxed) < floor)
		atomic_store(&c->floor_max, floor); /* only this thread writes it */
	take_tags(s, hash);
	near__fence(); /* COH-FENCE: floor like iv above */
	s->inc = incarnation;
	s->asked = false; /* a position of another line, or of before the hole */
	s->ping_seq = 0;
	if (!is_first) {
		near__count(stats, NEAR__STAT_flushes);
		if (news->flushed != NULL)
			news->flushed(news->ctx, s->index);
	}
	shard_publish(s, seq);
	/* COH-INC, release: pairs with near__coherence_incarnation and near__coherence_pos_of. */
	atomic_store_explicit(&s->incarnation, incarnation, memory_order_release);
	if (is_other && !is_first)
		near__count(stats, NEAR__STAT_incarnations);
	atomic_fetch_add(&c->changes, 1);
	near__wake_all(&c->changes);
}

void near__shard_gap(near__shard *s)
{
	const near__coherence_news *news = &s->owner->config.news;
	if (s->running)
		return; /* a replay is on its way: the same gap, seen again */
	near__count(s->owner->config.redis.stats, NEAR__STAT_gaps);
	if (news->gap != NULL)
		news->gap(news->ctx, s->index);
}

near__verdict near__shard_message(near__shard *s, const near__message *m)
{
	near__coherence *c = s->owner;
	const near__coherence_news *news = &c->config.news;
	near__stats *stats = c->config.redis.stats;
	if (s->spent)
		return NEAR__VERDICT_DONE;
	switch (m->kind) {
	case NEAR__MESSAGE_MALFORMED:
		near__count(stats, NEAR__STAT_messages_malformed);
		near__log_write(&c->config.redis.log, NEAR_LOG_WARN, "coherence: a malformed message on %s", s->channel);
		return NEAR__VERDICT_DONE;
	case NEAR__MESSAGE_UNKNOWN:
		near__log_write(&c->config.redis.log, NEAR_LOG_WARN, "coherence: a message of a later version on %s",
		                s->channel);
		return NEAR__VERDICT_DOUBT;
	case NEAR__MESSAGE_FILLED:
		if (news->filled != NULL)
			news->filled(news->ctx, s->index, m->key, m->key_size);
		return NEAR__VERDICT_DONE;
	case NEAR__MESSAGE_VOID:
		return m->incarnation == s->inc ? NEAR__VERDICT_DONE : NEAR__VERDICT_RESYNC;
	case NEAR__MESSAGE_CHANGE:
		break;
	}
	if (s->inc == 0 || m->incarnation != s->inc)
		return NEAR__VERDICT_RESYNC;
	if (m->seq <= s->applied) {
		near__count(stats, NEAR__STAT_messages_duplicate);
		return NEAR__VERDICT_DONE;
	}
	if (m->seq > s->applied + 1) {
		near__shard_gap(s);
		return NEAR__VERDICT_RESYNC;
	}
	s->silent = 0;
	near__shard_apply(s, m->seq, m->change, m->key, m->key_size);
	return NEAR__VERDICT_DONE;
}

/* One entry of the log: [id, [field, value]], id "<seq>-1". */
static bool read_entry(const near__reply *entry, uint64_t *seq, near__message *m)
{
	size_t id_size, size;
	const char *id = near__reply_bytes(near__reply_at(entry, 0), &id_size);
	const char *bytes = near__reply_bytes(near__reply_at(near__reply_at(entry, 1), 1), &size);
	if (id == NULL || bytes == NULL || id_size < 3 || memcmp(id + id_size - 2, "-1", 2) != 0 ||
	    !near__decimal_read(id, id_size - 2, NEAR__SEQ_MASK, seq))
		return false;
	*m = near__message_read_entry(bytes, size);
	return m->kind == NEAR__MESSAGE_CHANGE;
}

/* Applies what follows `applied`; what a message has brought meanwhile is passed over. False: a hole, or an entry that
 * cannot be read: the log proves nothing. */
static bool apply_entries(near__shard *s, const near__reply *entries)
{
	size_t n = near__reply_count(entries);
	for (size_t i = 0; i < n; i++) {
		uint64_t seq;
		near__message m;
		if (!read_entry(near__reply_at(entries, i), &seq, &m) || seq > s->applied + 1)
			return false;
		if (seq == s->applied + 1)
			near__shard_apply(s, seq, m.change, m.key, m.key_size);
	}
	return true;
}

bool near__shard_replayed(near__shard *s, const near__reply *reply, bool *more)
{
	uint64_t incarnation, seq;
	const near__reply *rest = near__reply_at(reply, 3);
	if (!near__step_read(reply, 0, &incarnation, &seq) || near__reply_is(rest) != NEAR__REPLY_ARRAY)
		return false;
	*more = false;
	if (near__reply_integer(near__reply_at(reply, 2)) != 0) {
		/* Messages may have carried the same line past this position meanwhile. To begin at the older one is as good:
		 * values read from now on are newer still, and the next message finds the gap and has it replayed. */
		near__shard_adopt(s, incarnation, seq, rest);
		s->start_over = s->start_over && !s->running_over;
		return true;
	}
	if (incarnation != s->inc) {
		/* Adopted something else since it was asked: ask again. */
		*more = true;
		return true;
	}
	uint64_t before = s->applied;
	if (!apply_entries(s, rest)) {
		near__log_write(&s->owner->config.redis.log, NEAR_LOG_WARN, "coherence: a hole in %s", s->log);
		s->start_over = true;
		*more = true;
		return true;
	}
	if (s->applied != before)
		near__count(s->owner->config.redis.stats, NEAR__STAT_replays);
	*more = s->applied < seq;
	return true;
}
