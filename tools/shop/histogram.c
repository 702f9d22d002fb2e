/* See histogram.h. */
#include "histogram.h"

#include <string.h>

static unsigned bucket_of(uint64_t ns)
{
	if (ns < HISTOGRAM_SUB)
		return (unsigned)ns;
	unsigned power = 63 - (unsigned)__builtin_clzll(ns);
	unsigned bucket = (power - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB +
	                  (unsigned)((ns >> (power - HISTOGRAM_SUB_BITS)) & (HISTOGRAM_SUB - 1));

	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t bucket_middle(unsigned bucket)
{
	if (bucket < HISTOGRAM_SUB)
		return bucket;
	unsigned shift = bucket / HISTOGRAM_SUB - 1;
	uint64_t least = (uint64_t)(HISTOGRAM_SUB + bucket % HISTOGRAM_SUB) << shift;

	return least + ((UINT64_C(1) << shift) >> 1);
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
	uint64_t max = atomic_load_explicit(&histogram->max, memory_order_relaxed);

	atomic_fetch_add_explicit(&histogram->bucket[bucket_of(ns)], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->sum, ns, memory_order_relaxed);
	while (ns > max && !atomic_compare_exchange_weak_explicit(&histogram->max, &max, ns, memory_order_relaxed,
	                                                          memory_order_relaxed))
		;
}

void histogram_collect(struct histogram *histogram, struct spread *spread, int take_max)
{
	uint64_t max = take_max ? atomic_exchange_explicit(&histogram->max, 0, memory_order_relaxed) : 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t count = atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);

		spread->bucket[i] += count;
		spread->count += count;
	}
	spread->sum += atomic_load_explicit(&histogram->sum, memory_order_relaxed);
	if (max > spread->max)
		spread->max = max;
}

void spread_between(struct spread *out, const struct spread *later, const struct spread *earlier)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		out->bucket[i] = later->bucket[i] - earlier->bucket[i];
	out->count = later->count - earlier->count;
	out->sum = later->sum - earlier->sum;
	out->max = later->max;
}

void spread_add(struct spread *to, const struct spread *from)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
	to->count += from->count;
	to->sum += from->sum;
	if (from->max > to->max)
		to->max = from->max;
}

uint64_t spread_quantile(const struct spread *spread, double quantile)
{
	uint64_t rank = (uint64_t)(quantile * (double)spread->count), seen = 0;

	if (spread->count == 0)
		return 0;
	if (rank >= spread->count)
		rank = spread->count - 1;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += spread->bucket[i];
		if (seen > rank) {
			uint64_t middle = bucket_middle(i);

			return spread->max > 0 && middle > spread->max ? spread->max : middle;
		}
	}
	return spread->max;
}

double spread_mean(const struct spread *spread)
{
	return spread->count > 0 ? (double)spread->sum / (double)spread->count : 0;
}
