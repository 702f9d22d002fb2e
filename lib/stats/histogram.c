/* A histogram of durations, log-linear, as in HdrHistogram.
 *
 *   value     0 .. 31 | 32 .. 63 | 64 .. 127 | 128 .. 255 | ...  up to 2^42 - 1 ns, more than an hour
 *   buckets        32 |       32 |        32 |         32 | ...
 *   width           1 |        1 |         2 |          4 | ...
 *
 * Every bucket is at most 1/32 of its lowest value wide, so a quantile, given as the highest value of its bucket, is never
 * too low and at most 1/32 too high. Samples above an hour count as an hour.
 *
 * Threads: any, at once. Adding is two relaxed locked additions (about 10 ns alone): a histogram is for what takes
 * microseconds. A reader sees each bucket at some moment of its own; quantiles of a running histogram are those of the
 * samples it saw.
 *
 * Source: Gil Tene, HdrHistogram, https://hdrhistogram.github.io/HdrHistogram/
 */
#include "stats/stats.h"

#include <stdlib.h>

#define LINEAR_BITS 5
#define LINEAR (1u << LINEAR_BITS)
#define VALUE_MAX (UINT64_C(3600) * 1000000000)
#define TOP_BIT 41
#define BUCKETS (LINEAR * (TOP_BIT - LINEAR_BITS + 2))
static_assert(VALUE_MAX < UINT64_C(1) << (TOP_BIT + 1), "the longest sample has a bucket");

struct near__histogram {
	_Atomic(uint64_t) bucket[BUCKETS];
	_Atomic(uint64_t) sum; /* of what was added, capped at an hour each: 5,000,000 hours fit */
};

static unsigned bucket_of(uint64_t ns)
{
	if (ns < LINEAR)
		return (unsigned)ns;
	unsigned top = 63u - (unsigned)__builtin_clzll(ns);
	unsigned shift = top - LINEAR_BITS;
	return LINEAR * (shift + 1) + (unsigned)(ns >> shift) - LINEAR;
}

static uint64_t highest_of(unsigned bucket)
{
	if (bucket < LINEAR)
		return bucket;
	unsigned shift = bucket / LINEAR - 1;
	uint64_t lowest = (uint64_t)(LINEAR + bucket % LINEAR) << shift;
	return lowest + (UINT64_C(1) << shift) - 1;
}

near__histogram *near__histogram_create(void)
{
	near__histogram *h = malloc(sizeof(*h));
	for (unsigned i = 0; h != NULL && i < BUCKETS; i++)
		atomic_init(&h->bucket[i], 0);
	if (h != NULL)
		atomic_init(&h->sum, 0);
	return h;
}

void near__histogram_free(near__histogram *h)
{
	free(h);
}

void near__histogram_add(near__histogram *h, uint64_t ns)
{
	if (ns > VALUE_MAX)
		ns = VALUE_MAX;
	unsigned bucket = bucket_of(ns);
	NEAR_DEBUG_ASSERT(bucket < BUCKETS);
	/* relaxed: a count orders nothing */
	atomic_fetch_add_explicit(&h->bucket[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum, ns, memory_order_relaxed);
}

uint64_t near__histogram_sum(const near__histogram *h)
{
	return atomic_load_explicit(&h->sum, memory_order_relaxed);
}

uint64_t near__histogram_count(const near__histogram *h)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < BUCKETS; i++)
		n += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
	return n;
}

/* How many of `n` samples lie at or below the quantile: at least one. Not a number counts as 0. */
static uint64_t rank_of(double quantile, uint64_t n)
{
	if (!(quantile > 0))
		return 1;
	if (quantile >= 1)
		return n;
	uint64_t rank = (uint64_t)(quantile * (double)n);
	if ((double)rank < quantile * (double)n)
		rank++;
	return rank < 1 ? 1 : rank > n ? n : rank;
}

uint64_t near__histogram_quantile(const near__histogram *h, double quantile)
{
	uint64_t n = near__histogram_count(h);
	if (n == 0)
		return 0;
	uint64_t rank = rank_of(quantile, n), below = 0;
	for (unsigned i = 0; i < BUCKETS; i++) {
		below += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
		if (below >= rank)
			return highest_of(i);
	}
	return highest_of(BUCKETS - 1); /* not reached: counts only grow */
}
