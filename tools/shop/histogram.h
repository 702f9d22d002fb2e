/* Histogram of times in nanoseconds, in shared memory, added to by any thread of any process.
 *
 *   buckets: 0..31 ns one each, then 32 per power of two, so a value is known to about 3 %, up to 2^41 ns (36 minutes)
 *
 * Adding is two relaxed atomic additions: nothing is ordered by them, a reader only sums. The counts only ever grow;
 * the figures of a span are the difference of two copies, and the greatest value of a span is kept apart (`max`), which
 * the one sampling process takes out and sets back. */
#ifndef SHOP_HISTOGRAM_H
#define SHOP_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_SUB_BITS 5
#define HISTOGRAM_SUB (1u << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_BUCKETS (HISTOGRAM_SUB * (41 - HISTOGRAM_SUB_BITS + 1))

struct histogram {
	_Atomic uint64_t bucket[HISTOGRAM_BUCKETS];
	_Atomic uint64_t sum;
	_Atomic uint64_t max;
};

/* A private copy. */
struct spread {
	uint64_t bucket[HISTOGRAM_BUCKETS];
	uint64_t count, sum, max;
};

void histogram_add(struct histogram *histogram, uint64_t ns);
/* Adds the counts to `spread`; `take_max` also takes the maximum out. */
void histogram_collect(struct histogram *histogram, struct spread *spread, int take_max);
/* spread = later - earlier; max is the later one's. */
void spread_between(struct spread *out, const struct spread *later, const struct spread *earlier);
void spread_add(struct spread *to, const struct spread *from);
/* The value below which the share `quantile` lies (the middle of its bucket, never above max); 0 without values. */
uint64_t spread_quantile(const struct spread *spread, double quantile);
double spread_mean(const struct spread *spread);

#endif
