/* Counters in stripes.
 *
 *   stripe[0] [1] ... [126]   one per thread index, made when that thread first counts in this cache
 *   stripe[127]               there from the start; shared, with locked additions: threads of higher index, and those for
 *                             whose own stripe the system had no memory
 *
 * A stripe has one writer at a time: a thread index has one owner at a time, and sync/thread hands it over with
 * release/acquire. A reader sums what it sees: each counter is exact once its writers are quiet, and never runs backwards
 * for one reader, because each value only grows (a counter that is also counted down wraps, and so does the sum).
 *
 * Progress: wait-free, but for the allocation of the first use.
 */
#include "stats/stats.h"

#include <stdlib.h>
#include <string.h>

#define SHARED (NEAR__STRIPES - 1)

static near__stripe *stripe_new(void)
{
	near__stripe *s = aligned_alloc(NEAR_LINE, sizeof(*s));
	for (unsigned i = 0; s != NULL && i < NEAR__STAT_COUNT; i++)
		atomic_init(&s->value[i], 0);
	return s;
}

near_status near__stats_create(near__stats **stats)
{
	near__stats *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NEAR_E_NOMEM;
	bool whole = true;
	for (unsigned i = 0; i < NEAR_LATENCY_COUNT; i++) {
		s->latency[i] = near__histogram_create();
		whole = whole && s->latency[i] != NULL;
	}
	near__stripe *shared = stripe_new();
	atomic_store_explicit(&s->stripe[SHARED], shared, memory_order_relaxed);
	if (!whole || shared == NULL) {
		near__stats_free(s);
		return NEAR_E_NOMEM;
	}
	*stats = s;
	return NEAR_OK;
}

void near__stats_free(near__stats *stats)
{
	if (stats == NULL)
		return;
	for (unsigned i = 0; i < NEAR_LATENCY_COUNT; i++)
		near__histogram_free(stats->latency[i]);
	for (unsigned i = 0; i < NEAR__STRIPES; i++)
		free(atomic_load_explicit(&stats->stripe[i], memory_order_relaxed));
	free(stats);
}

near__stripe *near__stats_stripe_make(near__stats *stats, uint32_t index)
{
	NEAR_ASSERT(index < NEAR__STRIPES);
	near__stripe *fresh = stripe_new();
	if (fresh == NULL)
		return atomic_load_explicit(&stats->stripe[SHARED], memory_order_relaxed);
	/* STATS-STRIPE, release: pairs with near__count_by and near__stats_sum. The zeros come before the pointer. A plain
	 * store: the owner of the index is the only one who makes its stripe. */
	NEAR_DEBUG_ASSERT(atomic_load_explicit(&stats->stripe[index], memory_order_relaxed) == NULL);
	atomic_store_explicit(&stats->stripe[index], fresh, memory_order_release);
	return fresh;
}

uint64_t near__stats_sum(const near__stats *stats, unsigned which)
{
	NEAR_ASSERT(which < NEAR__STAT_COUNT);
	uint64_t sum = 0;
	for (unsigned i = 0; i < NEAR__STRIPES; i++) {
		/* STATS-STRIPE, acquire: pairs with near__stats_stripe_make. */
		const near__stripe *s = atomic_load_explicit(&stats->stripe[i], memory_order_acquire);
		if (s != NULL)
			sum += atomic_load_explicit(&s->value[which], memory_order_relaxed);
	}
	return sum;
}
