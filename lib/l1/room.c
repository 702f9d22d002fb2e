/* Room under the bound, for a put.
 *
 * An evicted entry is retired, and freed when the sections of now have ended: two or three collections later. A freed block
 * serves its own size only, until a whole slab of them is free; then, and for blocks of 16 KiB and more at once, its pages
 * serve any. So an allocation may fail while much is free. make_room takes turns at
 *
 *   collect, ask the allocator                 what others evicted may be enough
 *   evict by score                             while little memory lies idle in part-filled slabs: each size's turn comes
 *   evict by score among those whose memory    else: a block of the very size, or pages. This freezes the shares of the
 *   serves                                     sizes as they are; so it counts itself in `starved`, and housekeeping
 *                                              empties whole spans of the range (empty.c), which moves the shares
 *
 * and declines after ROOM_ROUNDS; or when much lies idle already and there is nothing of that size to evict; or when the
 * limbo is over its cap: a reader stands still in its section, and evicting would only empty the cache into the limbo.
 *
 * A put evicts some more than it needs, which spares the next few puts the way here.
 */
#include "l1/inside.h"

#define ROOM_ROUNDS 64
#define LIMBO_SHARE 8 /* the limbo may hold this share of the bound */
#define IDLE_SHARE 20 /* part-filled slabs this, before sizes look after themselves; the allocator's own counts in */
#define IDLE_SHARE_MAX 12 /* and this, before a size of which there is none is declined */
#define SCORE_ROUNDS 8 /* as do they when this many rounds have not helped */
#define COLLECTS 3    /* after as many, what was retired before the first is free, if nobody stands still */

size_t near__l1_collect(near__l1 *l1)
{
	return near__limbo_collect(&l1->limbo, near__l1_release, l1);
}

static bool limbo_is_over(near__l1 *l1)
{
	return near__limbo_bytes(&l1->limbo) > near__mem_limit(l1->mem) / LIMBO_SHARE;
}

/* What is mapped and holds nothing, give or take what the allocator needs itself. */
static uint64_t idle_bytes(near__l1 *l1, near__thread *self)
{
	near__epoch_enter(self);
	near__table *t = l1_table(l1);
	near__table *parent = atomic_load_explicit(&t->parent, memory_order_acquire);
	uint64_t held = t->bytes + (parent != NULL ? parent->bytes : 0);
	near__epoch_exit(self);
	held += near__limbo_bytes(&l1->limbo) + atomic_load_explicit(&l1->keeper->bytes, memory_order_relaxed);
	int64_t live = (int64_t)near__stats_sum(l1->stats, NEAR__STAT_live_bytes);
	held += live > 0 ? (uint64_t)live : 0;
	uint64_t mapped = near__mem_mapped(l1->mem);
	return mapped > held ? mapped - held : 0;
}

/* Evicts about as much as is wanted. Returns the bytes, 0: there is nothing whose eviction would help. */
static size_t evict_some(near__l1 *l1, near__thread *self, uint64_t hash, size_t size, unsigned round)
{
	size_t want = size < 2048 ? size * 8 : size < 8192 ? 16384 : size * 2;
	size_t freed = 0, bytes, like = 0;
	uint64_t idle = idle_bytes(l1, self), limit = near__mem_limit(l1->mem);
	if (round >= SCORE_ROUNDS || idle > limit / IDLE_SHARE) {
		like = near__mem_good_size(size);
		atomic_fetch_add_explicit(&l1->starved, 1, memory_order_relaxed); /* a hint */
	}
	do {
		bytes = near__l1_evict(l1, self, hash, like);
		if (bytes == 0 && like != 0 && idle < limit / IDLE_SHARE_MAX) {
			like = 0; /* none of that size is to be found */
			bytes = near__l1_evict(l1, self, hash, 0);
		}
		freed += bytes;
		hash = near__random_next(&self->random); /* the own set's lowest has gone: a second sample there would be a poor one */
	} while (freed < want && bytes != 0);
	return freed;
}

static near__entry *make_room(near__l1 *l1, near__thread *self, uint64_t hash, size_t size)
{
	bool evicted = true;
	for (unsigned round = 0; round < ROOM_ROUNDS && evicted; round++) {
		near__entry *e = NULL;
		for (unsigned i = 0; i < COLLECTS && e == NULL; i++)
			if (near__l1_collect(l1) > 0)
				e = near__mem_alloc(l1->mem, size);
		if (e != NULL)
			return e;
		if (limbo_is_over(l1))
			return NULL;
		evicted = evict_some(l1, self, hash, size, round) > 0;
	}
	return NULL;
}

near__entry *near__l1_alloc(near__l1 *l1, near__thread *self, uint64_t hash, size_t size)
{
	near__entry *e = near__mem_alloc(l1->mem, size);
	return NEAR_LIKELY(e != NULL) ? e : make_room(l1, self, hash, size);
}

/* ------------------------------------------------------------------ payload */

/* Payload of the key's entry that is there already: a put of it takes its place. */
static uint64_t payload_there(near__l1 *l1, near__thread *self, const near__l1_query *q)
{
	uint64_t bytes = 0;
	near__epoch_enter(self);
	near__table *t = l1_table(l1);
	table_ready(l1, self, t, q->hash);
	const near__slot *set = table_set(t, q->hash);
	for (unsigned j = 0; j < SET_SLOTS; j++) {
		uint64_t word = slot_peek(&set[j]);
		if (slot_has_key(l1, word, q->hash, q->key, q->key_size) && !(word & SLOT_FROZEN))
			bytes = entry_payload(slot_entry(l1, word));
	}
	near__epoch_exit(self);
	return bytes;
}

bool near__l1_fit_payload(near__l1 *l1, near__thread *self, const near__l1_query *q, uint64_t more)
{
	uint64_t limit = atomic_load_explicit(&l1->payload_limit, memory_order_relaxed);
	if (NEAR_LIKELY(limit == 0))
		return true;
	uint64_t there = more > 0 ? payload_there(l1, self, q) : 0;
	uint64_t hash = q->hash;
	while ((int64_t)(near__stats_sum(l1->stats, NEAR__STAT_payload_bytes) + more - there) > (int64_t)limit) {
		if (near__l1_evict(l1, self, hash, 0) == 0)
			return false;
		hash = near__random_next(&self->random); /* as in evict_some */
	}
	return true;
}
