/* Sampled eviction, without a queue or any second structure.
 *
 *   score = f^2 / (idle + 1/2) / size        the lowest of about 16 residents goes
 *
 *   f      frequency, 3 bits: 1 at first insert, 3 when the ghost remembers the key, +1 per access
 *   idle   ticks since the last access, 8 bits; a tick is 1/16 of a turnover: as many accesses as 1/16 of the entries
 *   size   of the entry by its class: itself (objects), its square root (balanced), 1 (bytes)
 *
 * All of that stands in the slot word, so a sample reads lines of the table and no entry. The sample is the set of the key
 * that wants room (in the processor's cache already, and as random as any), and sets drawn at random until SAMPLE residents
 * have been seen; the next one is fetched while the present one is scored. What is evicted leaves a ghost in its slot, the
 * tag and the time: they fill the EMPTY slots, and count for one turnover of evictions, so that about as many evicted keys are
 * remembered as there are entries.
 *
 * Threads: any. An eviction is one CAS; lock-free: a failed one means that the slot was changed by another, and after
 * EVICT_TRIES the caller tries something else.
 *
 * Sources: the policy and its figures: replays of 43 traces; sampling as in Redis's approximated LRU.
 */
#include "l1/inside.h"

#include <math.h>

#define SAMPLE 16
#define SAMPLE_SETS_MAX 64
#define LIKE_SAMPLE 8
#define LARGE_BYTES 16384 /* from here on a block has pages of its own, which serve any other of the kind */
#define EVICT_TRIES 8
#define TICKS 16      /* per turnover */
#define BATCH_MAX 64

/* ------------------------------------------------------------------ clock */

void near__l1_beat(near__l1 *l1, uint32_t count)
{
	/* All relaxed: a score's clock. */
	uint64_t beats = atomic_fetch_add_explicit(&l1->beats, count, memory_order_relaxed) + count;
	uint64_t per_tick = atomic_load_explicit(&l1->tick_beats, memory_order_relaxed);
	if (beats < per_tick ||
	    !atomic_compare_exchange_strong_explicit(&l1->beats, &beats, beats % per_tick, memory_order_relaxed,
	                                             memory_order_relaxed))
		return; /* not yet, or another thread does it */
	atomic_fetch_add_explicit(&l1->tick, (uint32_t)(beats / per_tick), memory_order_relaxed);
	int64_t items = (int64_t)near__stats_sum(l1->stats, NEAR__STAT_items);
	bool pressed = near__mem_mapped(l1->mem) > near__mem_limit(l1->mem) / 2 ||
	               atomic_load_explicit(&l1->payload_limit, memory_order_relaxed) != 0;
	atomic_store_explicit(&l1->pressed, pressed, memory_order_relaxed);
	uint64_t least = pressed ? 1 : BATCH_MAX; /* as long as nothing is evicted nobody reads the clock */
	per_tick = items / TICKS > (int64_t)least ? (uint64_t)items / TICKS : least;
	uint64_t batch = per_tick / 8 < 1 ? 1 : per_tick / 8 > BATCH_MAX ? BATCH_MAX : per_tick / 8;
	atomic_store_explicit(&l1->tick_beats, per_tick, memory_order_relaxed);
	atomic_store_explicit(&l1->batch, pressed ? (uint32_t)batch : BATCH_MAX, memory_order_relaxed);
}

/* The clock of the ghosts: their age counts in evictions, for that is what there are slots for. By accesses a ghost of a cache
 * that seldom misses would soon be older than 8 bits can tell. */
static unsigned ghost_beat(near__l1 *l1)
{
	/* All relaxed, as above. */
	uint64_t gone = atomic_fetch_add_explicit(&l1->gone, 1, memory_order_relaxed) + 1;
	uint64_t per_tick = atomic_load_explicit(&l1->tick_beats, memory_order_relaxed);
	if (gone >= per_tick &&
	    atomic_compare_exchange_strong_explicit(&l1->gone, &gone, 0, memory_order_relaxed, memory_order_relaxed))
		atomic_fetch_add_explicit(&l1->ghost_tick, 1, memory_order_relaxed);
	return l1_ghost_tick(l1);
}

void near__l1_weigh(near__l1 *l1, near_evict evict)
{
	for (unsigned i = 0; i <= HEAT_CLASS_MAX; i++) {
		float octaves = (float)i / 2;
		l1->weight[i] = evict == NEAR_EVICT_OBJECTS ? exp2f(-octaves) : evict == NEAR_EVICT_BALANCED ? exp2f(-octaves / 2) : 1;
	}
}

static inline float score(const near__l1 *l1, uint64_t word, unsigned tick)
{
	unsigned freq = heat_freq(word), idle = (tick - heat_clock(word)) & 0xff;
	return (float)(freq * freq) * l1->weight[heat_class(word)] / (float)(2 * idle + 1);
}

float near__l1_worth(const near__l1 *l1, uint64_t word)
{
	return score(l1, word, l1_tick(l1)) * heat_class_bytes(word);
}

/* ------------------------------------------------------------------ sampling */

typedef struct sample {
	near__slot *slot; /* of the lowest, or NULL */
	uint64_t word;
	float score;
	unsigned seen;
} sample;

static inline void offer(sample *s, near__slot *slot, uint64_t word, float its)
{
	s->seen++;
	if (s->slot != NULL && its >= s->score)
		return;
	s->slot = slot;
	s->word = word;
	s->score = its;
}

/* `spared`: a hash whose tag is left alone (the key that wants room), or NULL. */
static void sample_set(near__l1 *l1, near__table *t, uint64_t i, const uint64_t *spared, sample *s)
{
	near__slot *set = table_set(t, i);
	unsigned tick = l1_tick(l1);
	for (unsigned j = 0; j < SET_SLOTS; j++) {
		uint64_t word = slot_peek(&set[j]);
		if (slot_is_vacant(word) || (word & (SLOT_TENT | SLOT_FROZEN)) || (spared != NULL && slot_has_tag(word, *spared)))
			continue;
		offer(s, &set[j], word, score(l1, word, tick));
	}
}

static uint64_t draw(near__thread *self, const near__table *t)
{
	uint64_t i = near__random_next(&self->random);
	__builtin_prefetch(table_set(t, i));
	__builtin_prefetch(table_set(t, i) + SET_SLOTS / 2);
	return i;
}

static void sample_table(near__l1 *l1, near__thread *self, near__table *t, uint64_t hash, sample *s)
{
	uint64_t next = draw(self, t), after = draw(self, t);
	table_ready(l1, self, t, hash);
	sample_set(l1, t, hash, &hash, s);
	for (unsigned i = 0; i < SAMPLE_SETS_MAX && s->seen < SAMPLE; i++) {
		table_ready(l1, self, t, next);
		sample_set(l1, t, next, NULL, s);
		next = after;
		after = draw(self, t);
	}
}

/* Does its memory serve an allocation of `bytes`? */
static bool serves(const near__entry *e, size_t bytes)
{
	size_t its = entry_footprint(e);
	return bytes < LARGE_BYTES ? its == bytes : its >= LARGE_BYTES;
}

/* Reads the entries whose class is right, since two sizes of the arenas share one. */
static void sample_like(near__l1 *l1, near__thread *self, near__table *t, size_t bytes, sample *s)
{
	unsigned least = heat_class_of(bytes < LARGE_BYTES ? bytes : LARGE_BYTES);
	unsigned most = bytes < LARGE_BYTES ? least : HEAT_CLASS_MAX, tick = l1_tick(l1);
	uint64_t next = draw(self, t);
	for (unsigned i = 0; i < SAMPLE_SETS_MAX && s->seen < LIKE_SAMPLE; i++) {
		near__slot *set = table_set(t, next);
		table_ready(l1, self, t, next);
		next = draw(self, t);
		for (unsigned j = 0; j < SET_SLOTS; j++) {
			uint64_t word = slot_peek(&set[j]);
			if (slot_is_vacant(word) || (word & (SLOT_TENT | SLOT_FROZEN)) || heat_class(word) < least ||
			    heat_class(word) > most || !serves(slot_entry(l1, word), bytes))
				continue;
			offer(s, &set[j], word, score(l1, word, tick));
		}
	}
}

/* ------------------------------------------------------------------ evicting */

/* What the program wants to know of it. */
typedef struct obituary {
	size_t key_size, value_size;
	char key[NEAR_KEY_MAX];
} obituary;

/* Inside a section. Returns the bytes, 0: the slot has changed. */
static size_t take_out(near__l1 *l1, near__thread *self, sample *s, obituary *o)
{
	NEAR_YIELD("l1-evict");
	near__entry *e = slot_entry(l1, s->word);
	if (!slot_cas(s->slot, &s->word, slot_ghost(s->word, ghost_beat(l1))))
		return 0;
	size_t bytes = entry_footprint(e);
	if (l1->on_evicted != NULL) {
		o->key_size = e->key_size;
		o->value_size = e->value_size;
		memcpy(o->key, e->bytes, e->key_size);
	}
	near__l1_retire(l1, self, e);
	return bytes;
}

static void tell(near__l1 *l1, const obituary *o)
{
	if (l1->on_evicted != NULL)
		l1->on_evicted(l1->ctx, o->key, o->key_size, o->value_size);
}

size_t near__l1_evict(near__l1 *l1, near__thread *self, uint64_t hash, size_t like)
{
	obituary o;
	size_t bytes = 0;
	near__epoch_enter(self);
	for (unsigned i = 0; i < EVICT_TRIES && bytes == 0; i++) {
		sample s = { 0 };
		if (like != 0)
			sample_like(l1, self, l1_table(l1), like, &s);
		else
			sample_table(l1, self, l1_table(l1), hash, &s);
		if (s.slot == NULL)
			break;
		bytes = take_out(l1, self, &s, &o);
	}
	near__epoch_exit(self);
	if (bytes == 0)
		return 0;
	near__count_by(l1->stats, self, NEAR__STAT_evictions, 1);
	tell(l1, &o);
	return bytes;
}

/* Inside a section: the next slot of set i, from *j on, whose entry lies in the range. */
static bool next_in_range(near__l1 *l1, near__thread *self, uint64_t i, const near__span *span, unsigned *j, sample *s)
{
	near__table *t = l1_table(l1);
	near__slot *set = table_set(t, i);
	table_ready(l1, self, t, i);
	for (; *j < SET_SLOTS; ++*j) {
		uint64_t word = slot_peek(&set[*j]);
		if (slot_ref(word) - span->from >= span->count || slot_is_vacant(word) || (word & (SLOT_TENT | SLOT_FROZEN)))
			continue;
		s->slot = &set[*j];
		s->word = word;
		return true;
	}
	return false;
}

size_t near__l1_evict_span(near__l1 *l1, near__thread *self, uint64_t i, const near__span *span)
{
	size_t sum = 0;
	for (unsigned j = 0; j < SET_SLOTS; j++) {
		obituary o;
		sample s;
		size_t bytes = 0;
		near__epoch_enter(self);
		bool found = next_in_range(l1, self, i, span, &j, &s);
		if (found)
			bytes = take_out(l1, self, &s, &o);
		near__epoch_exit(self);
		if (bytes == 0)
			continue;
		sum += bytes;
		near__count_by(l1->stats, self, NEAR__STAT_evictions, 1);
		tell(l1, &o);
	}
	return sum;
}

bool near__l1_evict_from_set(near__l1 *l1, near__thread *self, uint64_t hash)
{
	obituary o;
	size_t bytes = 0;
	near__epoch_enter(self);
	for (unsigned i = 0; i < EVICT_TRIES && bytes == 0; i++) {
		sample s = { 0 };
		near__table *t = l1_table(l1);
		table_ready(l1, self, t, hash);
		sample_set(l1, t, hash, NULL, &s);
		if (s.slot == NULL || s.seen < SET_SLOTS)
			break; /* not full any more, or full of undecided ones that settle themselves */
		bytes = take_out(l1, self, &s, &o);
	}
	near__epoch_exit(self);
	if (bytes == 0)
		return false;
	near__count_by(l1->stats, self, NEAR__STAT_set_conflicts, 1);
	tell(l1, &o);
	return true;
}
