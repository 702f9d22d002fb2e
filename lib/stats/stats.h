/* Counters and histograms. One stripe of counters per thread, summed when read, so that counting a hit costs one store to
 * a line that no other thread writes. Threads past the number of stripes share the last one with locked additions. */
#ifndef NEAR_STATS_STATS_H
#define NEAR_STATS_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "sync/thread.h"

enum {
#define NEAR_STAT(kind, field, help) NEAR__STAT_##field,
#include <nearcache/stats.def>
#undef NEAR_STAT
	NEAR__STAT_COUNT
};

#define NEAR__STRIPES 128

typedef struct near__stripe {
	NEAR_ALIGNED_LINE _Atomic(uint64_t) value[NEAR__STAT_COUNT];
} near__stripe;

typedef struct near__histogram near__histogram; /* log-linear, at most 1/32 relative error, 1 ns .. 1 h */

typedef struct near__stats {
	_Atomic(near__stripe *) stripe[NEAR__STRIPES];
	near__histogram *latency[NEAR_LATENCY_COUNT];
} near__stats;

near_status near__stats_create(near__stats **stats);
void near__stats_free(near__stats *stats);
near__stripe *near__stats_stripe_make(near__stats *stats, uint32_t index); /* never NULL: falls back to the last one */

static inline void near__count_by(near__stats *stats, near__thread *self, unsigned which, uint64_t n)
{
	uint32_t i = self->index < NEAR__STRIPES - 1 ? self->index : NEAR__STRIPES - 1;
	near__stripe *s = atomic_load_explicit(&stats->stripe[i], memory_order_acquire);
	bool shared = i == NEAR__STRIPES - 1;
	if (NEAR_UNLIKELY(s == NULL)) {
		s = near__stats_stripe_make(stats, i);
		shared = s == atomic_load_explicit(&stats->stripe[NEAR__STRIPES - 1], memory_order_relaxed);
	}
	if (NEAR_UNLIKELY(shared)) {
		atomic_fetch_add_explicit(&s->value[which], n, memory_order_relaxed);
		return;
	}
	/* relaxed: the only writer is this thread; readers sum and may be late. */
	uint64_t v = atomic_load_explicit(&s->value[which], memory_order_relaxed);
	atomic_store_explicit(&s->value[which], v + n, memory_order_relaxed);
}
static inline void near__count(near__stats *stats, unsigned which)
{
	near__count_by(stats, near__self(), which, 1);
}
uint64_t near__stats_sum(const near__stats *stats, unsigned which);

/* Histograms may be used on their own (bench, tools through their own copy of this API). Any thread. */
near__histogram *near__histogram_create(void);
void near__histogram_free(near__histogram *h);
void near__histogram_add(near__histogram *h, uint64_t ns);
uint64_t near__histogram_quantile(const near__histogram *h, double quantile);
uint64_t near__histogram_count(const near__histogram *h);
uint64_t near__histogram_sum(const near__histogram *h); /* of the samples, ns */

/* Text forms of a filled near_stats, and of the latencies of `more` unless it is NULL; same return as near_stats_json. */
size_t near__stats_to_json(const near_stats *stats, const near__stats *more, char *buf, size_t buf_size);
size_t near__stats_to_prometheus(const near_stats *stats, const near__stats *more, char *buf, size_t buf_size);

#endif
