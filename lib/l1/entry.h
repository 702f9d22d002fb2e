/* The entry: header, key, value and what few entries have, in one block of the cache's arenas.
 *
 *    0        4        8                16           20         22      23     24
 *   | life   | fresh  | as-of          | value_size | key_size | flags | tags | key | value | trailer
 *                     '- link, retired-'
 *   trailer: tags (8 each, 8-aligned) | version 8 | stale 4 | delta 4      as flags say, 4-aligned without tags
 *
 * life, one atomic word:   pins 28 | ORPHAN | MARK | state 2
 *
 *   state   PENDING --> UNIQUE --> VALID         settled: the only one of its key that lives (put.c)
 *              |    \------|------->^            (without a fence nothing lies between PENDING and VALID)
 *              '-> ABORTED <                     UNIQUE -> VALID is the owner's step, all others are anybody's
 *   MARK    on a VALID one: invalidated in place, only ever given back as stale;
 *           on an ABORTED one: a drop did it, its put must not be tried again
 *   ORPHAN  retired while pinned: the last unpin frees it
 *
 * fresh and stale are ends of life in ticks of 2^22 ns (about 4 ms), modulo 2^32: comparable while they lie within 104 days
 * of now; TTL and stale window are capped at 30 days each, and the sweep takes an entry away soon after both.
 *
 * Everything but life, fresh and stale is written before the entry is published and never again, until the limbo's link
 * overlays as-of. A reader may meet that moment. It loads as-of (acquire), then the slot again: if it had read the link,
 * the unlink, which came before the link, shows in the slot (L1-UNLINK), and it looks anew.
 *
 * Edges:
 *   L1-PUBLISH  entry's bytes -> slot_cas -> slot_peek, slot_look.
 *   L1-UNLINK   see slot.h.
 *   L1-PIN      near__l1_unpin (acq_rel) -> the last one to let go (acq_rel): all use of the bytes comes before the free.
 */
#ifndef NEAR_L1_ENTRY_H
#define NEAR_L1_ENTRY_H

#include <string.h>
#include "l1/l1.h"

struct near__entry {
	_Atomic(uint32_t) life;
	_Atomic(uint32_t) fresh;
	_Atomic(uint64_t) asof;
	uint32_t value_size;
	uint16_t key_size;
	uint8_t flags;
	uint8_t tag_count;
	char bytes[];
};
#define ENTRY_HEADER 24
static_assert(sizeof(near__entry) == ENTRY_HEADER && offsetof(near__entry, bytes) == ENTRY_HEADER, "the header as drawn");
static_assert(sizeof(near__retired) == sizeof(uint64_t), "the link overlays as-of");
static_assert(NEAR__ENTRY_FLAGS == 3, "the flags below begin at 4");
static_assert(NEAR_TAGS_MAX <= UINT8_MAX && NEAR_KEY_MAX <= UINT16_MAX, "header fields hold their maxima");

/* flags, above those of l1.h */
enum {
	ENTRY_VERSION = 4,
	ENTRY_DELTA = 8,
	ENTRY_STALE = 16,
	ENTRY_FENCED = 32 /* UNIQUE is not enough: the owner asks the coherence fence first */
};

enum { PENDING = 0, UNIQUE = 1, VALID = 2, ABORTED = 3 };
#define LIFE_STATE UINT32_C(3)
#define LIFE_MARK UINT32_C(4)
#define LIFE_ORPHAN UINT32_C(8)
#define LIFE_PIN UINT32_C(16)
#define LIFE_PINS (~UINT32_C(15))

/* ------------------------------------------------------------------ time */
#define TICK_SHIFT 22
#define TICK_SPAN (INT64_C(90) * 86400 * 1000000000) /* ends of life further off are brought this near */

static inline uint32_t tick_of(int64_t now_ns, int64_t at_ns)
{
	if (at_ns > now_ns + TICK_SPAN)
		at_ns = now_ns + TICK_SPAN;
	else if (at_ns < now_ns - TICK_SPAN)
		at_ns = now_ns - TICK_SPAN;
	return (uint32_t)(at_ns >> TICK_SHIFT);
}
static inline int64_t tick_ns(int64_t now_ns, uint32_t tick)
{
	int64_t now_tick = now_ns >> TICK_SHIFT;
	return (now_tick + (int32_t)(tick - (uint32_t)now_tick)) * (INT64_C(1) << TICK_SHIFT);
}
/* Is the end of life `tick` reached at now? */
static inline bool tick_is_over(int64_t now_ns, uint32_t tick)
{
	return (int32_t)(tick - (uint32_t)(now_ns >> TICK_SHIFT)) <= 0;
}

/* ------------------------------------------------------------------ layout */
/* Where the parts lie, as offsets from the entry. */
typedef struct near__layout {
	uint64_t tags, version, stale, delta, size;
} near__layout;

static inline near__layout layout_of(uint64_t key_size, uint64_t value_size, unsigned flags, unsigned tag_count)
{
	near__layout l;
	uint64_t at = ENTRY_HEADER + key_size + value_size;
	if (tag_count > 0)
		at = (at + 7) & ~UINT64_C(7);
	else if (flags & (ENTRY_VERSION | ENTRY_STALE | ENTRY_DELTA))
		at = (at + 3) & ~UINT64_C(3);
	l.tags = at;
	l.version = l.tags + tag_count * sizeof(near__tag);
	l.stale = l.version + (flags & ENTRY_VERSION ? 8 : 0);
	l.delta = l.stale + (flags & ENTRY_STALE ? 4 : 0);
	l.size = l.delta + (flags & ENTRY_DELTA ? 4 : 0);
	return l;
}
static inline near__layout entry_layout(const near__entry *e)
{
	return layout_of(e->key_size, e->value_size, e->flags, e->tag_count);
}
static inline const char *entry_value(const near__entry *e)
{
	return e->bytes + e->key_size;
}
static inline bool entry_has_key(const near__entry *e, const void *key, size_t key_size)
{
	return e->key_size == key_size && memcmp(e->bytes, key, key_size) == 0;
}
/* Bytes that the entry's block occupies: what is given to the limbo and taken back from it. */
static inline size_t entry_footprint(const near__entry *e)
{
	return near__mem_good_size(entry_layout(e).size);
}
static inline uint64_t entry_payload(const near__entry *e)
{
	return (uint64_t)e->key_size + e->value_size;
}

static inline uint64_t entry_version(const near__entry *e)
{
	uint64_t version = 0;
	if (e->flags & ENTRY_VERSION)
		memcpy(&version, (const char *)e + entry_layout(e).version, sizeof(version));
	return version;
}
/* NULL: no stale window, stale ends with fresh. */
static inline _Atomic(uint32_t) *entry_stale(near__entry *e)
{
	return e->flags & ENTRY_STALE ? (_Atomic(uint32_t) *)((char *)e + entry_layout(e).stale) : NULL;
}
/* The same where nothing else is in the trailer: the common case, in a few instructions. */
static inline _Atomic(uint32_t) *entry_stale_alone(near__entry *e)
{
	uint64_t at = (ENTRY_HEADER + (uint64_t)e->key_size + e->value_size + 3) & ~UINT64_C(3);
	return (_Atomic(uint32_t) *)(void *)((char *)e + at);
}
static inline uint64_t entry_asof(const near__entry *e)
{
	/* L1-UNLINK, acquire: pairs with the fence in near__limbo_retire. The caller looks at the slot again. */
	return atomic_load_explicit(&e->asof, memory_order_acquire);
}

static inline near__retired *entry_link(near__entry *e)
{
	return (near__retired *)(void *)((char *)e + offsetof(near__entry, asof));
}
static inline near__entry *entry_of_link(near__retired *link)
{
	return (near__entry *)(void *)((char *)link - offsetof(near__entry, asof));
}

/* ------------------------------------------------------------------ life */
static inline uint32_t entry_life(const near__entry *e)
{
	/* seq_cst: the state is one of the words of the insertion's proof (put.c). An acquire load on x86. */
	return atomic_load_explicit(&e->life, memory_order_seq_cst);
}
static inline unsigned life_state(uint32_t life)
{
	return life & LIFE_STATE;
}
static inline bool state_is_settled(unsigned state)
{
	return state == UNIQUE || state == VALID;
}

/* Moves the state from `from` to `to`, setting `more` besides. Returns the state that holds afterwards.
 * Ends: a failure means that the word was changed by another; there are few changes in a life, pins apart, and nothing but
 * a VALID entry is pinned, which is never a `from`. */
static inline unsigned entry_move(near__entry *e, unsigned from, unsigned to, uint32_t more)
{
	uint32_t life = entry_life(e);
	while (life_state(life) == from) {
		uint32_t next = (life & ~LIFE_STATE) | to | more;
		if (atomic_compare_exchange_strong_explicit(&e->life, &life, next, memory_order_seq_cst, memory_order_seq_cst))
			return to;
	}
	return life_state(life);
}
/* The decision for a pending one; anybody's. */
static inline unsigned entry_settle(near__entry *e)
{
	return entry_move(e, PENDING, e->flags & ENTRY_FENCED ? UNIQUE : VALID, 0);
}
static inline unsigned entry_abort_pending(near__entry *e)
{
	return entry_move(e, PENDING, ABORTED, 0);
}
/* VALID, life not over, not marked, and a value. */
static inline bool entry_is_fresh(near__entry *e, int64_t now_ns)
{
	uint32_t life = entry_life(e);
	return life_state(life) == VALID && !(life & LIFE_MARK) && !(e->flags & NEAR__ENTRY_NEGATIVE) &&
	       !tick_is_over(now_ns, atomic_load_explicit(&e->fresh, memory_order_relaxed));
}

#endif
