/* What `nearbench replay` can drive with a trace: who is resident at the trace's own time.
 *
 *   near   the library's L1 itself (lib/l1), real entries of the trace's sizes, the trace's clock handed in
 *   lru    exact LRU over key and value bytes without any metadata: the yardstick, and the check that requests, lives and
 *          deletions are read as the reference table reads them (it reproduces the rows ksim:lru)
 */
#ifndef NEAR_BENCH_POLICY_H
#define NEAR_BENCH_POLICY_H

#include <nearcache/nearcache.h>
#include "trace.h"

typedef struct bench_policy_config {
	const bench_trace *trace;
	uint64_t memory_bytes;  /* of mapped bytes */
	uint64_t payload_limit; /* of key and value bytes; 0: none */
	near_evict evict;
} bench_policy_config;

typedef struct bench_policy_gauges {
	uint64_t payload_bytes, mapped_bytes_max, limit_bytes, items;
} bench_policy_gauges;

typedef struct bench_policy {
	const char *name;
	void *(*open)(const bench_policy_config *config);
	void (*close)(void *policy);
	/* Is the key there and its life not over? Counts as an access. */
	bool (*get)(void *policy, uint32_t key, uint32_t time_s);
	void (*put)(void *policy, uint32_t key, uint32_t ttl_s, uint32_t time_s);
	void (*del)(void *policy, uint32_t key, uint32_t time_s);
	/* Called every few hundred requests and whenever time has moved from `before_s` to `time_s`. */
	void (*housekeep)(void *policy, uint32_t before_s, uint32_t time_s);
	void (*gauges)(void *policy, bench_policy_gauges *gauges);
	/* Fills in what there is to tell of its inner life; all zero where there is nothing. */
	void (*stats)(void *policy, near_stats *stats);
} bench_policy;

extern const bench_policy bench_policy_near, bench_policy_lru;

#endif
