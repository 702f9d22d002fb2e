/* What the files of this room share.
 *
 *   slot.h entry.h   the words and the bytes; every edge of the memory order is named there
 *   table.c          sets, growth
 *   find.c           lookups
 *   put.c            insertion and its proof
 *   drop.c           removal, stale marks, touch, clear
 *   evict.c          sampling, scores, ghosts
 *   room.c empty.c   room under the bound: for one put; by emptying spans of the range
 *   sweep.c          housekeeping
 *   pin.c            entries that are kept
 *   l1.c             creation, end, gauges, limits
 *
 * Who frees. Whoever takes an entry out of its slot retires it: one CAS of one slot takes it out, so exactly one does. An
 * entry that was never published is its maker's to free, directly. A move to a larger table takes nothing out but what was
 * aborted (table.c).
 */
#ifndef NEAR_L1_INSIDE_H
#define NEAR_L1_INSIDE_H

#include "base/clock.h"
#include "base/hash.h"
#include "l1/entry.h"
#include "l1/slot.h"

#define SET_SLOTS 16
#define SET_COUNT_MIN 16

typedef struct near__table {
	near__slot *slots; /* set i: slots[16 * i] to slots[16 * i + 15], two lines */
	uint64_t set_mask;
	_Atomic(struct near__table *) parent; /* while it still grows out of it */
	size_t bytes;                         /* mapped and charged */
	_Atomic(uint64_t) moved;              /* parent sets below this have been moved */
	near__retired link;
} near__table;

/* What a pin needs when the cache is gone: shared by the cache and its pins, freed by the last. */
typedef struct near__keeper {
	near__mem *mem;
	_Atomic(uint64_t) holders;
	_Atomic(uint64_t) bytes; /* pinned and out of the table */
} near__keeper;

typedef struct near__emptying near__emptying;

#define PULSE_LINES 64

/* Accesses of one thread (or few) since it last added them up. */
typedef struct near__pulse {
	NEAR_ALIGNED_LINE _Atomic(uint32_t) count;
} near__pulse;

struct near__l1 {
	/* read by every lookup */
	NEAR_ALIGNED_LINE _Atomic(near__table *) table;
	_Atomic(near__slot *) hint_slots; /* of the table, for prefetching only: may be another's */
	_Atomic(uint64_t) hint_mask;
	char *base;
	uint64_t reach_bytes;
	near__mem *mem;
	near__stats *stats;
	/* the clock of the heat */
	NEAR_ALIGNED_LINE _Atomic(uint32_t) tick; /* modulo 2^32; slots keep 8 bits of it */
	_Atomic(bool) pressed;                    /* room is wanted, or will soon be: accesses are noted */
	_Atomic(uint32_t) batch;                  /* accesses that a thread counts on its own */
	NEAR_ALIGNED_LINE _Atomic(uint64_t) beats; /* accesses since the tick began */
	_Atomic(uint64_t) tick_beats;              /* accesses per tick */
	/* the clock of the ghosts */
	NEAR_ALIGNED_LINE _Atomic(uint64_t) gone; /* evictions since its tick began */
	_Atomic(uint32_t) ghost_tick;             /* 1/16 of a turnover, too, but of evictions */

	near__limbo limbo;
	NEAR_ALIGNED_LINE float weight[HEAT_CLASS_MAX + 1]; /* of a class, in the score */
	_Atomic(uint64_t) payload_limit;
	_Atomic(uint32_t) starved; /* puts that found much idle memory but none of their size */
	bool huge_pages;
	near__keeper *keeper;
	void (*on_evicted)(void *ctx, const void *key, size_t key_size, size_t value_size);
	void *ctx;
	/* housekeeping, one thread */
	near__emptying *emptying;
	uint64_t sweep_ms;
	uint64_t sweep_at; /* set where the sweep stands */
	int64_t swept_ns;      /* up to when it has done its share */
	uint64_t freed_bytes;  /* expired since the last trim */
	near__pulse pulse[PULSE_LINES];
};

static inline near__table *l1_table(near__l1 *l1)
{
	/* L1-TABLE, seq_cst (acquire): pairs with near__l1_grow. */
	return atomic_load_explicit(&l1->table, memory_order_seq_cst);
}
static inline near__slot *table_set(const near__table *t, uint64_t hash)
{
	return t->slots + (hash & t->set_mask) * SET_SLOTS;
}
static inline near__entry *slot_entry(const near__l1 *l1, uint64_t word)
{
	return slot_block(l1->base, word);
}
static inline bool l1_is_pressed(const near__l1 *l1)
{
	/* relaxed: a hint. */
	return atomic_load_explicit(&l1->pressed, memory_order_relaxed);
}
static inline uint8_t l1_tick(const near__l1 *l1)
{
	/* relaxed: a score's clock. */
	return (uint8_t)atomic_load_explicit(&l1->tick, memory_order_relaxed);
}
static inline uint8_t l1_ghost_tick(const near__l1 *l1)
{
	return (uint8_t)atomic_load_explicit(&l1->ghost_tick, memory_order_relaxed);
}
static inline bool slot_has_key(const near__l1 *l1, uint64_t word, uint64_t hash, const void *key, size_t key_size)
{
	return slot_has_tag(word, hash) && !slot_is_vacant(word) && entry_has_key(slot_entry(l1, word), key, key_size);
}

/* table.c */
near__table *near__l1_table_make(near__l1 *l1, uint64_t set_count);
void near__l1_table_unmap(near__l1 *l1, near__table *t);
/* Inside a section: after it no slot of the hash's set in `t` is UNINIT. */
void near__l1_move_set(near__l1 *l1, near__thread *self, near__table *t, uint64_t hash);
static inline void table_ready(near__l1 *l1, near__thread *self, near__table *t, uint64_t hash)
{
	/* L1-WHOLE, acquire: pairs with finish in table.c. */
	if (NEAR_UNLIKELY(atomic_load_explicit(&t->parent, memory_order_acquire) != NULL))
		near__l1_move_set(l1, self, t, hash);
}
/* Inside a section: moves some sets if the table is growing. True: it still is. */
bool near__l1_help(near__l1 *l1, near__thread *self, unsigned sets);
/* Inside a section: begins a table of twice the sets when the present one is full enough and the bound allows it.
 * `overflows`: a put found no slot in its set. */
bool near__l1_grow_if_full(near__l1 *l1, bool overflows);

/* A stretch of the arenas' range, in references. */
typedef struct near__span {
	uint64_t from, count;
} near__span;

/* evict.c. All outside of sections. */
/* Evicts the lowest of a sample; with `like`, of a sample of those whose memory serves an allocation of that many bytes.
 * Returns its bytes, 0: there was none. */
size_t near__l1_evict(near__l1 *l1, near__thread *self, uint64_t hash, size_t like);
/* Evicts the lowest of one set, because it is full. False: there was none. */
bool near__l1_evict_from_set(near__l1 *l1, near__thread *self, uint64_t hash);
/* Evicts what the slots of set i (modulo the sets of now) have in a span. Returns the bytes. */
size_t near__l1_evict_span(near__l1 *l1, near__thread *self, uint64_t i, const near__span *span);
/* What an entry is worth to the cache: its score without the division by its size. */
float near__l1_worth(const near__l1 *l1, uint64_t word);
void near__l1_weigh(near__l1 *l1, near_evict evict);
/* Adds a thread's accesses to the tick. */
void near__l1_beat(near__l1 *l1, uint32_t count);

/* Accesses, for the clock. */
static inline void l1_pulse(near__l1 *l1, const near__thread *self, uint32_t accesses)
{
	_Atomic(uint32_t) *count = &l1->pulse[self->index % PULSE_LINES].count;
	/* relaxed: the clock is no promise; threads that share a line may lose a few. */
	uint32_t n = atomic_load_explicit(count, memory_order_relaxed) + accesses;
	if (NEAR_UNLIKELY(n >= atomic_load_explicit(&l1->batch, memory_order_relaxed))) {
		near__l1_beat(l1, n);
		n = 0;
	}
	atomic_store_explicit(count, n, memory_order_relaxed);
}

/* room.c. All outside of sections. */
/* A block under the bound, evicting for it if need be. NULL: none was to be had. */
near__entry *near__l1_alloc(near__l1 *l1, near__thread *self, uint64_t hash, size_t size);
/* Makes the payload limit hold with `more` bytes of payload of the key, which take the place of its own. False: it does
 * not. With 0 more the key is not looked at, only the hash. */
bool near__l1_fit_payload(near__l1 *l1, near__thread *self, const near__l1_query *q, uint64_t more);
size_t near__l1_collect(near__l1 *l1);

/* empty.c. All outside of sections. */
near__emptying *near__l1_emptying_make(void);
void near__l1_emptying_free(near__emptying *m);
/* Housekeeping's share: goes on for some sets, if there is need. True: there is more to do. */
bool near__l1_empty_step(near__l1 *l1, near__thread *self, uint64_t sets);
/* Empties spans while more is mapped than the limit allows. False: it still is. Any thread. */
bool near__l1_fit_bound(near__l1 *l1, near__thread *self, unsigned rounds);

/* Tells near__l1_prefetch of a table. */
static inline void l1_hint(near__l1 *l1, const near__table *t)
{
	/* relaxed: one may be seen without the other; then the wrong lines are fetched. */
	atomic_store_explicit(&l1->hint_slots, t->slots, memory_order_relaxed);
	atomic_store_explicit(&l1->hint_mask, t->set_mask, memory_order_relaxed);
}

/* drop.c */
/* near__l1_drop that spares a fresh entry whose version is at or above `spared_version`, unless that is 0. */
unsigned near__l1_drop_older(near__l1 *l1, uint64_t hash, const void *key, size_t key_size, uint64_t below,
                             bool keep_stale, int64_t now_ns, uint64_t spared_version);
/* Inside a section: takes the entry out of its slot, wherever it is by now, unless somebody has done so. */
void near__l1_unlink(near__l1 *l1, near__thread *self, uint64_t hash, near__entry *e);

/* l1.c */
/* Inside a section: accounts for an entry that has come in; for one that was taken out, and gives it to the limbo. */
void near__l1_linked(near__l1 *l1, near__thread *self, const near__entry *e);
void near__l1_retire(near__l1 *l1, near__thread *self, near__entry *e);
/* For the limbo: what a retired object is given back as. */
size_t near__l1_release(void *ctx, near__retired *object);
/* pin.c */
near__keeper *near__l1_keeper_make(near__mem *mem);
void near__l1_keeper_let_go(near__keeper *keeper);
/* Frees the entry, or leaves that to the last unpin. Returns false then. */
bool near__l1_free_or_orphan(near__keeper *keeper, near__entry *e);

/* Inside a section: clears a slot whose entry was seen ABORTED. True: it is EMPTY now, by our hand or another's. */
static inline bool l1_clear_aborted(near__l1 *l1, near__thread *self, near__slot *slot, uint64_t *seen)
{
	NEAR_YIELD("l1-clear-aborted");
	uint64_t word = *seen;
	if (!slot_cas_standing(slot, seen, SLOT_EMPTY))
		return slot_is_vacant(*seen);
	near__l1_retire(l1, self, slot_entry(l1, word));
	*seen = SLOT_EMPTY;
	return true;
}

#endif
