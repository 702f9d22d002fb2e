/* Small measuring instruments: memory of this process, pinning, exact quantiles of a list, the cost of reading the clock. */
#ifndef NEAR_BENCH_MEASURE_H
#define NEAR_BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Resident bytes of this process; 0 when the system does not tell. */
uint64_t bench_rss_bytes(void);
/* Puts the calling thread on one of the CPUs it may use, the index-th modulo their number. */
bool bench_pin(unsigned index);
/* What two readings of the clock around nothing differ by, the least of many. */
int64_t bench_clock_cost_ns(void);
/* Sorts the samples; quantile 0..1. 0 without samples. */
void bench_sort(int64_t *samples, size_t count);
int64_t bench_quantile(const int64_t *sorted, size_t count, double quantile);
void bench_sleep_us(uint64_t us);
/* Allocates zeroed memory or ends the program with a sentence: a harness has no use for half its arrays. */
void *bench_alloc(size_t count, size_t size);
/* The same, shared with processes forked later. */
void *bench_alloc_shared(size_t size);

#endif
