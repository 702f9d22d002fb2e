/* Lookups.
 *
 *   hash --> set: 16 words, two lines          first miss of the processor's caches
 *            |  tag, T and F of all 16 compared at once
 *            v
 *            word --> entry: header, key, value    second miss
 *            |  key equal? state VALID? fill the view
 *            v
 *            the word again: same entry, no F?  --> the view holds; note the access
 *
 * A lookup that finds nothing has read each of the 16 words at a time when it counted, if the table was whole before (no
 * parent, read first) and is still the table afterwards (read last): no slot of it was F or UNINIT in between. Otherwise the
 * set is made ready in the newest table and read again. FIND_TRIES bounds that; then the answer is "not there", which is
 * always allowed.
 *
 * The second look at the word proves that the entry had not been taken out when its as-of was read (L1-UNLINK); with F set
 * it proves nothing, because the entry may have gone from the larger table since.
 *
 * The 16 words are read by eight plain 16-byte loads: only a filter. A word that matches is loaded again as an atomic; one
 * that does not was not the key's at the moment of its load (aligned 8-byte halves are read whole on x86). SSE2 is part of
 * every x86-64, needs no check at run time, and AVX2 saves nothing beside two cache misses.
 *
 * Wait-free but for a growing table, where a lookup may have to make its set ready (once per set and doubling; lock-free).
 * Writes nothing shared but the heat, and that only when it changes, and only while room is wanted or half of the bound is in
 * use: in a cache that has room to spare the lines of the table stay clean (15 of 250 ns of a lookup among 5,000,000).
 */
#include "l1/inside.h"

#if defined(__SSE2__) && !defined(NEAR__TSAN)
#include <emmintrin.h>
#define FIND_VECTORS 1
#else
#define FIND_VECTORS 0
#endif

#define FIND_TRIES 4
#define CHUNK 32

/* Bit j: slot j has the hash's tag, and neither T nor F (or is UNINIT, for tag 0). */
#if FIND_VECTORS
/* Of four words: all ones where the top 14 bits are as wanted. */
static inline __m128i four(const near__slot *slot, __m128i want)
{
	__m128 low = _mm_load_ps((const float *)(const void *)slot), high = _mm_load_ps((const float *)(const void *)(slot + 2));
	__m128i tops = _mm_castps_si128(_mm_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 3, 1)));
	return _mm_cmpeq_epi32(_mm_srli_epi32(tops, SLOT_TAG_SHIFT - 32 - 2), want);
}
static inline unsigned candidates(const near__slot *set, uint64_t hash)
{
	__m128i want = _mm_set1_epi32((int)(hash >> SLOT_TAG_SHIFT << 2)); /* neither T nor F */
	__m128i first = _mm_packs_epi32(four(set, want), four(set + 4, want));
	__m128i second = _mm_packs_epi32(four(set + 8, want), four(set + 12, want));
	return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(first, second));
}
#else
static inline unsigned candidates(const near__slot *set, uint64_t hash)
{
	unsigned mask = 0;
	for (unsigned j = 0; j < SET_SLOTS; j++)
		mask |= (unsigned)(((slot_peek(&set[j]) ^ hash) >> 50 & ~UINT64_C(3)) == 0 &&
		                   (slot_peek(&set[j]) & (SLOT_TENT | SLOT_FROZEN)) == 0)
		        << j;
	return mask;
}
#endif

static inline bool is_candidate(uint64_t word, uint64_t hash)
{
	return slot_has_tag(word, hash) && !slot_is_vacant(word) && (word & (SLOT_TENT | SLOT_FROZEN)) == 0;
}

static inline void view_stale(const _Atomic(uint32_t) *stale, int64_t now_ns, near__l1_view *view)
{
	/* relaxed: an end of life orders nothing. */
	int64_t until_ns = tick_ns(now_ns, atomic_load_explicit(stale, memory_order_relaxed));
	if (until_ns > view->fresh_until_ns)
		view->stale_until_ns = until_ns;
}

/* What few entries have. */
static void view_trailer(near__entry *e, int64_t now_ns, near__l1_view *view)
{
	near__layout l = entry_layout(e);
	const char *at = (const char *)e;
	view->tag_count = e->tag_count;
	if (e->tag_count > 0)
		view->tags = (const near__tag *)(const void *)(at + l.tags);
	if (e->flags & ENTRY_VERSION)
		memcpy(&view->version, at + l.version, sizeof(view->version));
	if (e->flags & ENTRY_DELTA)
		memcpy(&view->delta_us, at + l.delta, sizeof(view->delta_us));
	if (e->flags & ENTRY_STALE)
		view_stale(entry_stale(e), now_ns, view);
}

static inline void view_fill(near__entry *e, uint32_t life, int64_t now_ns, near__l1_view *view)
{
	view->entry = e;
	view->value = entry_value(e);
	view->value_size = e->value_size;
	view->asof = entry_asof(e);
	/* relaxed: an end of life orders nothing. */
	view->fresh_until_ns = tick_ns(now_ns, atomic_load_explicit(&e->fresh, memory_order_relaxed));
	view->stale_until_ns = view->fresh_until_ns;
	view->version = 0;
	view->delta_us = 0;
	view->flags = e->flags & NEAR__ENTRY_FLAGS;
	view->tag_count = 0;
	view->tags = NULL;
	view->marked_stale = (life & LIFE_MARK) != 0;
	if (e->tag_count > 0 || (e->flags & (ENTRY_VERSION | ENTRY_DELTA)))
		view_trailer(e, now_ns, view);
	else if (e->flags & ENTRY_STALE)
		view_stale(entry_stale_alone(e), now_ns, view);
}

static inline void note_access(const near__l1 *l1, near__slot *slot, uint64_t word)
{
	unsigned freq = heat_freq(word), tick = l1_tick(l1);
	if (!l1_is_pressed(l1))
		return;
	if (freq < HEAT_FREQ_MAX || heat_clock(word) != tick)
		slot_note(slot, heat_make(freq + (freq < HEAT_FREQ_MAX), tick, heat_class(word)));
}

/* Sends for the further lines that an entry reaches into, by its class. (always_inline: gcc takes a function that does
 * nothing but prefetch for one without effect, and drops the call.) */
static inline __attribute__((always_inline)) void fetch_rest(const char *e, uint64_t word)
{
	unsigned class = heat_class(word);
	__builtin_prefetch(e + NEAR_LINE);
	if (class >= 2) /* from 64 bytes on; a fourth line the processor sees coming */
		__builtin_prefetch(e + 2 * NEAR_LINE);
}

typedef enum look { LOOK_FOUND, LOOK_NOTHING, LOOK_AGAIN } look;

static inline look look_in(near__l1 *l1, near__slot *set, const near__l1_query *q, int64_t now_ns, near__l1_view *view)
{
	look nothing = LOOK_NOTHING;
	for (unsigned m = candidates(set, q->hash); m != 0; m &= m - 1) {
		near__slot *slot = set + __builtin_ctz(m);
		uint64_t word = slot_peek(slot);
		if (NEAR_UNLIKELY(!is_candidate(word, q->hash))) {
			nothing = word == SLOT_UNINIT ? nothing : LOOK_AGAIN; /* changed since; UNINIT: of tag 0 */
			continue;
		}
		near__entry *e = slot_entry(l1, word);
		fetch_rest((const char *)e, word);
		if (!entry_has_key(e, q->key, q->key_size))
			continue;
		uint32_t life = entry_life(e);
		if (life_state(life) != VALID)
			continue;
		NEAR_YIELD("l1-found");
		view_fill(e, life, now_ns, view);
		NEAR_YIELD("l1-found-filled");
		if (NEAR_UNLIKELY(!slot_same(slot_peek(slot), word))) /* L1-UNLINK */
			return LOOK_AGAIN;
		note_access(l1, slot, word);
		return LOOK_FOUND;
	}
	return nothing;
}

static bool find_in_table(near__l1 *l1, near__thread *self, const near__l1_query *q, int64_t now_ns, near__l1_view *view)
{
	for (unsigned i = 0; i < FIND_TRIES; i++) {
		near__table *t = l1_table(l1);
		table_ready(l1, self, t, q->hash);
		look l = look_in(l1, table_set(t, q->hash), q, now_ns, view);
		if (l == LOOK_FOUND)
			return true;
		if (l == LOOK_NOTHING && NEAR_LIKELY(l1_table(l1) == t))
			break;
		NEAR_YIELD("l1-find-again");
	}
	view->entry = NULL;
	return false;
}

void near__l1_prefetch(const near__l1 *l1, uint64_t hash)
{
	/* relaxed: see l1_hint. */
	const near__slot *slots = atomic_load_explicit(&l1->hint_slots, memory_order_relaxed);
	const near__slot *set = slots + (hash & atomic_load_explicit(&l1->hint_mask, memory_order_relaxed)) * SET_SLOTS;
	__builtin_prefetch(set);
	__builtin_prefetch(set + SET_SLOTS / 2);
}

bool near__l1_find(near__l1 *l1, uint64_t hash, const void *key, size_t key_size, int64_t now_ns, near__l1_view *view)
{
	near__thread *self = near__self();
	const near__l1_query q = { .hash = hash, .key = key, .key_size = key_size };
	l1_pulse(l1, self, 1);
	return find_in_table(l1, self, &q, now_ns, view);
}

static void find_chunk(near__l1 *l1, near__thread *self, const near__l1_query *q, size_t count, int64_t now_ns,
                       near__l1_view *views)
{
	near__table *t = l1_table(l1); /* for hints: what is found is found by find_in_table */
	for (size_t i = 0; i < count; i++) {
		const near__slot *set = table_set(t, q[i].hash);
		__builtin_prefetch(set);
		__builtin_prefetch(set + SET_SLOTS / 2);
	}
	for (size_t i = 0; i < count; i++) {
		near__slot *set = table_set(t, q[i].hash);
		unsigned m = candidates(set, q[i].hash);
		if (m == 0)
			continue;
		uint64_t word = slot_peek(set + __builtin_ctz(m));
		const char *e = slot_block(l1->base, word);
		__builtin_prefetch(e);
		fetch_rest(e, word);
	}
	l1_pulse(l1, self, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		(void)find_in_table(l1, self, &q[i], now_ns, &views[i]);
}

void near__l1_find_many(near__l1 *l1, const near__l1_query *queries, size_t count, int64_t now_ns, near__l1_view *views)
{
	near__thread *self = near__self();
	for (size_t i = 0; i < count; i += CHUNK)
		find_chunk(l1, self, queries + i, count - i < CHUNK ? count - i : CHUNK, now_ns, views + i);
}
