/* Opening, closing, and what any thread reads without waiting. The protocol stands in coherence.h, its parts in room.h.
 *
 * The read side of a get is two loads when all is well: the shortest lease of all shards, and the highest floor. Only
 * when the first has run out, or the second is above an entry's as-of, a get looks at the entry's own shard.
 *
 * Memory: per shard one line for readers, NEAR__KEY_STRIPES + NEAR__TAG_STRIPES words (160 KiB of addresses; pages of
 * it become real when something is invalidated), and some names. */
#include "coherence/room.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static_assert(NEAR__GENERATION_MAX == (UINT64_C(1) << 20) - 1, "20 bits of generation");
static_assert((NEAR__KEY_STRIPES & (NEAR__KEY_STRIPES - 1)) == 0, "a stripe is a mask of the hash");
static_assert((NEAR__TAG_STRIPES & (NEAR__TAG_STRIPES - 1)) == 0 && NEAR__TAG_STRIPES <= 65536,
              "steps_lua.c takes a tag's stripe from its two lowest bytes");

/* ---------------------------------------------------------------- open and close */

static void name_shard(near__coherence *c, near__shard *s, unsigned index)
{
	s->owner = c;
	s->index = index;
	(void)snprintf(s->meta, sizeof(s->meta), "%s~m:%u", c->prefix, index);
	(void)snprintf(s->log, sizeof(s->log), "%s~l:%u", c->prefix, index);
	(void)snprintf(s->channel, sizeof(s->channel), "%s~c:%u", c->prefix, index);
}

static bool shards_make(near__coherence *c)
{
	size_t bytes = c->shards * sizeof(*c->shard);
	c->shard = aligned_alloc(NEAR_LINE, (bytes + NEAR_LINE - 1) / NEAR_LINE * NEAR_LINE);
	if (c->shard == NULL)
		return false;
	memset(c->shard, 0, bytes);
	for (unsigned i = 0; i < c->shards; i++) {
		near__shard *s = &c->shard[i];
		name_shard(c, s, i);
		s->iv = calloc(NEAR__KEY_STRIPES, sizeof(*s->iv));
		s->tags = calloc(NEAR__TAG_STRIPES, sizeof(*s->tags));
		if (s->iv == NULL || s->tags == NULL)
			return false;
	}
	c->position_argv = calloc(2 * (size_t)c->shards + 8, sizeof(*c->position_argv));
	c->position_sizes = calloc(2 * (size_t)c->shards + 8, sizeof(*c->position_sizes));
	if (c->position_argv == NULL || c->position_sizes == NULL)
		return false;
	for (unsigned i = 0; i < c->shards; i++) {
		c->position_argv[3 + 2 * i] = c->shard[i].meta;
		c->position_sizes[3 + 2 * i] = strlen(c->shard[i].meta);
		c->position_argv[4 + 2 * i] = c->shard[i].log;
		c->position_sizes[4 + 2 * i] = strlen(c->shard[i].log);
	}
	return true;
}

static void destroy(near__coherence *c)
{
	for (unsigned i = 0; c->shard != NULL && i < c->shards; i++) {
		free((void *)c->shard[i].iv);
		free((void *)c->shard[i].tags);
	}
	near__identity *identity = atomic_load(&c->identity);
	while (identity != NULL) {
		near__identity *next = identity->next;
		free(identity);
		identity = next;
	}
	near__library_free(&c->library);
	free(c->position_argv);
	free(c->position_sizes);
	free(c->shard);
	free(c);
}

static void texts_make(near__coherence *c)
{
	uint64_t writer;
	near__random_bytes(&writer, sizeof(writer));
	near__hex_write(writer, c->writer_text);
	near__random_bytes(&writer, sizeof(writer));
	atomic_init(&c->nonces, writer);
	(void)snprintf(c->shards_text, sizeof(c->shards_text), "%u", c->shards);
	(void)snprintf(c->log_max_text, sizeof(c->log_max_text), "%" PRIu64, c->config.log_max);
}

/* Often enough that a lease's third is met; no oftener than a loop of 2 ms. */
static uint64_t tick_of(uint64_t lease_ms)
{
	uint64_t tick_ms = lease_ms / 15;
	return tick_ms < 2 ? 2 : tick_ms > 50 ? 50 : tick_ms;
}

static near_status start(near__coherence *c)
{
	const char *channels[NEAR__SHARDS_MAX];
	near__redis_config *redis = &c->config.redis;
	for (unsigned i = 0; i < c->shards; i++)
		channels[i] = c->shard[i].channel;
	redis->channels = channels; /* copied by the room below */
	redis->channel_count = c->shards;
	redis->tick_ms = tick_of(c->config.lease_ms);
	near__sync_handlers(c, &redis->on);
	near_status status = near__redis_open(redis, &c->redis);
	redis->channels = NULL;
	return status;
}

near_status near__coherence_open(const near__coherence_config *config, near__coherence **coherence)
{
	if (config->shards == 0 || config->shards > NEAR__SHARDS_MAX || config->lease_ms == 0 ||
	    strlen(config->prefix) >= NEAR__COHERENCE_PREFIX_MAX || config->redis.stats == NULL)
		return NEAR_E_USAGE;
	near__coherence *c = aligned_alloc(NEAR_LINE, sizeof(*c));
	if (c == NULL)
		return NEAR_E_NOMEM;
	memset(c, 0, sizeof(*c));
	c->config = *config;
	c->shards = config->shards;
	memcpy(c->prefix, config->prefix, strlen(config->prefix) + 1);
	c->config.prefix = c->prefix;
	texts_make(c);
	near_status status = NEAR_E_NOMEM;
	if (!shards_make(c) || near__library_make(&c->library) != NEAR_OK)
		goto fail;
	status = start(c);
	if (status != NEAR_OK)
		goto fail;
	*coherence = c;
	return NEAR_OK;
fail:
	destroy(c);
	return status;
}

void near__coherence_close(near__coherence *c)
{
	if (c == NULL)
		return;
	near__redis_close(c->redis);
	destroy(c);
}

near__redis *near__coherence_redis(near__coherence *c)
{
	return c->redis;
}

/* ------------------------------------------------------------------ the read side */

static const near__shard *shard_at(const near__coherence *c, unsigned shard)
{
	NEAR_DEBUG_ASSERT(shard < c->shards);
	return &c->shard[shard];
}

/* Part of the protocol: the same in every process. The upper half, because stripes take the lower. */
unsigned near__coherence_shard(const near__coherence *c, uint64_t shared_hash)
{
	return (unsigned)((shared_hash >> 32) % c->shards);
}

near__pos near__coherence_pos(const near__coherence *c, unsigned shard)
{
	/* COH-POS, acquire: pairs with shard_publish. */
	return atomic_load_explicit(&shard_at(c, shard)->pos, memory_order_acquire);
}

uint64_t near__coherence_incarnation(const near__coherence *c, unsigned shard)
{
	/* COH-INC, acquire: pairs with near__shard_adopt. */
	return atomic_load_explicit(&shard_at(c, shard)->incarnation, memory_order_acquire);
}

int64_t near__coherence_lease_until(const near__coherence *c)
{
	/* COH-LEASE, acquire: pairs with store_min. */
	return atomic_load_explicit(&c->lease_min, memory_order_acquire);
}

int64_t near__coherence_shard_lease_until(const near__coherence *c, unsigned shard)
{
	/* COH-LEASE, acquire: pairs with extend. */
	return atomic_load_explicit(&shard_at(c, shard)->lease_until, memory_order_acquire);
}

/* Floors are looked at by hits, ordered by the lease that was asked before, and by fills, after a full fence. */
near__pos near__coherence_floor_max(const near__coherence *c)
{
	return atomic_load_explicit(&c->floor_max, memory_order_acquire);
}

near__pos near__coherence_floor(const near__coherence *c, unsigned shard)
{
	return atomic_load_explicit(&shard_at(c, shard)->floor, memory_order_acquire);
}

bool near__coherence_current(const near__coherence *c, unsigned shard, uint64_t shared_hash, near__pos asof)
{
	const near__shard *s = shard_at(c, shard);
	/* COH-FENCE: the caller has stored its entry and fenced; near__shard_apply raises, fences and then drops. */
	return atomic_load(&s->iv[near__shard_stripe(shared_hash)]) <= asof && atomic_load(&s->floor) <= asof;
}

near__pos near__coherence_asof(const near__coherence *c, unsigned shard, uint64_t shared_hash)
{
	near__pos pos = near__coherence_pos(c, shard);
	/* COH-FENCE: read before the value is. */
	near__pos last = atomic_load(&shard_at(c, shard)->iv[near__shard_stripe(shared_hash)]);
	return last > pos && last >> NEAR__SEQ_BITS == pos >> NEAR__SEQ_BITS ? last : pos;
}

near__pos near__coherence_tag_pos(const near__coherence *c, unsigned shard, uint64_t tag)
{
	return atomic_load_explicit(&shard_at(c, shard)->tags[tag % NEAR__TAG_STRIPES], memory_order_acquire);
}

void near__coherence_raise(near__coherence *c, unsigned shard, uint64_t shared_hash, near__pos pos)
{
	near__shard_raise(&c->shard[shard].iv[near__shard_stripe(shared_hash)], pos);
	near__fence(); /* COH-FENCE: the caller drops next */
}

/* The present pos, if it is of `incarnation`; 0 otherwise. While an incarnation changes, 0 stands in its place from
 * before the new pos until after it (COH-INC), so a pos between two sights of the same incarnation belongs to it. */
static near__pos pos_within(const near__coherence *c, unsigned shard, uint64_t incarnation)
{
	if (incarnation == 0 || near__coherence_incarnation(c, shard) != incarnation)
		return 0;
	near__pos pos = near__coherence_pos(c, shard);
	return near__coherence_incarnation(c, shard) == incarnation ? pos : 0;
}

uint64_t near__coherence_seq_of(const near__coherence *c, unsigned shard, near__pos pos, uint64_t incarnation)
{
	near__pos now = pos_within(c, shard, incarnation);
	return now != 0 && now >> NEAR__SEQ_BITS == pos >> NEAR__SEQ_BITS ? pos & NEAR__SEQ_MASK : 0;
}

near__pos near__coherence_pos_of(const near__coherence *c, unsigned shard, uint64_t incarnation, uint64_t seq)
{
	near__pos now = pos_within(c, shard, incarnation);
	return now != 0 ? (now & ~NEAR__SEQ_MASK) | (seq & NEAR__SEQ_MASK) : 0;
}

uint64_t near__coherence_redis_ms(const near__coherence *c)
{
	if (!atomic_load_explicit(&c->clock_known, memory_order_acquire))
		return 0;
	int64_t ms = near__now_ns() / NEAR__MS_NS + atomic_load_explicit(&c->clock_offset_ms, memory_order_relaxed);
	return ms > 0 ? (uint64_t)ms : 0;
}

near_status near__coherence_wait_lease(near__coherence *c, int64_t deadline_ns)
{
	for (;;) { /* ends by the lease or by the deadline */
		uint32_t changes = atomic_load(&c->changes);
		if (near__coarse_ns() < near__coherence_lease_until(c))
			return NEAR_OK;
		if (!near__wait(&c->changes, changes, deadline_ns))
			return NEAR_E_TIMEOUT;
	}
}
