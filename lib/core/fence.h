/* The local fence: what this process has invalidated itself, whether or not Redis has heard of it.
 *
 * A count of the process's own writes, and per stripe of keys the count at the last one.
 *
 *   reader   ticket = now()                      ... reads the source or Redis ...   publish in L1, full fence, holds(ticket)?
 *   writer   raise(): count + 1 into the stripe, full fence, drop from L1
 *
 * Either the reader's published entry is seen by the writer's drop, or the writer's raise is seen by the reader's check:
 * the store-buffering argument of the coherence fence (coherence.h), for writes that carry no sequence of Redis's yet.
 * Keys that share a stripe cost each other a refused fill, never a wrong value.
 *
 * Without Redis the ticket is also the as-of of L1's entries: the count orders all writes of the process.
 */
#ifndef NEAR_CORE_FENCE_H
#define NEAR_CORE_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/base.h"

#define NEAR__FENCE_STRIPES 4096

typedef struct near__fence {
	_Atomic(uint64_t) count;
	_Atomic(uint64_t) stripe[NEAR__FENCE_STRIPES];
	_Atomic(uint64_t) tag[NEAR__FENCE_STRIPES]; /* tags apart: a write of a key shall not void the tags of its stripe */
} near__fence;

static inline uint64_t near__fence_now(const near__fence *fence)
{
	/* FENCE-TICKET, seq_cst: ordered before the read of the source that follows, against raise's addition. */
	return atomic_load_explicit(&fence->count, memory_order_seq_cst);
}

/* Ends because each failed CAS means that another writer has raised the stripe; lock-free. */
/* *before: the count that stood in the stripe. */
static inline uint64_t near__fence_raise_at(near__fence *fence, _Atomic(uint64_t) *stripe, uint64_t *before)
{
	uint64_t mine = atomic_fetch_add_explicit(&fence->count, 1, memory_order_seq_cst) + 1;
	uint64_t seen = atomic_load_explicit(stripe, memory_order_relaxed);
	/* FENCE-RAISE, seq_cst: before the drop's scan of L1; pairs with near__fence_holds after the publish in L1. */
	while (seen < mine && !atomic_compare_exchange_weak_explicit(stripe, &seen, mine, memory_order_seq_cst,
	                                                             memory_order_relaxed))
		continue;
	near__fence();
	*before = seen;
	return mine;
}

static inline uint64_t near__fence_raise(near__fence *fence, uint64_t hash)
{
	uint64_t before;
	return near__fence_raise_at(fence, &fence->stripe[hash % NEAR__FENCE_STRIPES], &before);
}
static inline uint64_t near__fence_raise_tag(near__fence *fence, uint64_t tag)
{
	uint64_t before;
	return near__fence_raise_at(fence, &fence->tag[tag % NEAR__FENCE_STRIPES], &before);
}
/* The same, and whether anybody has raised the stripe since `ticket`. */
static inline uint64_t near__fence_raise_since(near__fence *fence, uint64_t hash, uint64_t ticket, bool *raised_since)
{
	uint64_t before, mine = near__fence_raise_at(fence, &fence->stripe[hash % NEAR__FENCE_STRIPES], &before);
	*raised_since = before > ticket;
	return mine;
}
/* The count at the last invalidation of the tag by this process. */
static inline uint64_t near__fence_tag(const near__fence *fence, uint64_t tag)
{
	/* FENCE-RAISE, seq_cst: see near__fence_raise_at. */
	return atomic_load_explicit(&fence->tag[tag % NEAR__FENCE_STRIPES], memory_order_seq_cst);
}

static inline bool near__fence_holds(const near__fence *fence, uint64_t hash, uint64_t ticket)
{
	/* FENCE-RAISE, seq_cst: see near__fence_raise_at. */
	near__fence();
	return atomic_load_explicit(&fence->stripe[hash % NEAR__FENCE_STRIPES], memory_order_seq_cst) <= ticket;
}

#endif
