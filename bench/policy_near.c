/* L1 itself under a trace: real keys and values of the trace's sizes, the trace's seconds as the near clock.
 *
 * A request's second s becomes START_NS + s; a life ends `ttl_s` later, one without a TTL after a hundred days (longer
 * than any trace; entries count lives modulo half a year). The housekeeping that a cache does every few milliseconds is
 * called here as often as the trace's time asks for, at most STEPS_MAX times between two requests.
 */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/hash.h"
#include "l1/l1.h"
#include "measure.h"
#include "policy.h"

#define SECOND_NS (1000 * NEAR__MS_NS)
#define START_NS (3600 * SECOND_NS)
#define FOR_EVER_NS (INT64_C(100) * 86400 * SECOND_NS)
#define SWEEP_MS 10000
#define STEP_NS (1000 * NEAR__MS_NS)
#define STEPS_MAX 256
#define MORE_MAX 64

typedef struct replayed {
	const bench_trace *trace;
	near__l1 *l1;
	near__stats *counters;
	unsigned char *value;
	char key[NEAR_KEY_MAX];
} replayed;

static int64_t near_ns(uint32_t time_s)
{
	return START_NS + (int64_t)time_s * SECOND_NS;
}

static uint64_t expand(replayed *r, uint32_t key)
{
	bench_trace_key_write(r->trace, key, r->key);
	return near__hash_local(r->key, r->trace->keys[key].key_size);
}

static void near_policy_close(void *policy)
{
	replayed *r = policy;
	near__l1_free(r->l1);
	near__stats_free(r->counters);
	free(r->value);
	free(r);
}

static void *near_policy_open(const bench_policy_config *config)
{
	replayed *r = bench_alloc(1, sizeof(*r));
	r->trace = config->trace;
	r->value = bench_alloc(1, config->trace->value_size_max + 1);
	near__l1_config l1 = {.memory_bytes = config->memory_bytes,
	                      .evict = config->evict,
	                      .huge_pages = true,
	                      .sweep_ms = SWEEP_MS,
	                      .payload_limit = config->payload_limit};
	if (near__stats_create(&r->counters) == NEAR_OK) {
		l1.stats = r->counters;
		if (near__l1_create(&l1, &r->l1) == NEAR_OK)
			return r;
		near__stats_free(r->counters);
	}
	free(r->value);
	free(r);
	return NULL;
}

static bool near_policy_get(void *policy, uint32_t key, uint32_t time_s)
{
	replayed *r = policy;
	uint64_t hash = expand(r, key);
	int64_t now_ns = near_ns(time_s);
	near__l1_view view;
	near__epoch_enter(near__self());
	bool fresh = near__l1_find(r->l1, hash, r->key, r->trace->keys[key].key_size, now_ns, &view) &&
	             !view.marked_stale && view.fresh_until_ns > now_ns;
	near__epoch_exit(near__self());
	return fresh;
}

static void near_policy_put(void *policy, uint32_t key, uint32_t ttl_s, uint32_t time_s)
{
	replayed *r = policy;
	int64_t now_ns = near_ns(time_s);
	near__l1_write write = {
		.hash = expand(r, key),
		.key = r->key,
		.key_size = r->trace->keys[key].key_size,
		.value = r->value,
		.value_size = r->trace->keys[key].value_size,
		.now_ns = now_ns,
		.fresh_until_ns = ttl_s == 0 ? now_ns + FOR_EVER_NS : now_ns + (int64_t)ttl_s * SECOND_NS,
		.mode = NEAR__L1_SET,
	};
	write.stale_until_ns = write.fresh_until_ns;
	(void)near__l1_put(r->l1, &write); /* what is not admitted will be missed */
}

static void near_policy_del(void *policy, uint32_t key, uint32_t time_s)
{
	replayed *r = policy;
	uint64_t hash = expand(r, key);
	(void)near__l1_drop(r->l1, hash, r->key, r->trace->keys[key].key_size, UINT64_MAX, false, near_ns(time_s));
}

static void maintain(replayed *r, int64_t now_ns)
{
	for (int more = 0; more < MORE_MAX && near__l1_maintain(r->l1, now_ns); more++)
		;
}

static void near_policy_housekeep(void *policy, uint32_t before_s, uint32_t time_s)
{
	replayed *r = policy;
	int64_t from_ns = near_ns(before_s), now_ns = near_ns(time_s);
	int64_t step_ns = (now_ns - from_ns) / STEPS_MAX > STEP_NS ? (now_ns - from_ns) / STEPS_MAX : STEP_NS;
	for (int64_t at_ns = from_ns + step_ns; at_ns < now_ns; at_ns += step_ns)
		maintain(r, at_ns);
	maintain(r, now_ns);
}

static void near_policy_stats(void *policy, near_stats *stats)
{
	replayed *r = policy;
	memset(stats, 0, sizeof(*stats));
	stats->struct_size = sizeof(*stats);
#define NEAR_STAT(kind, field, help) stats->field = near__stats_sum(r->counters, NEAR__STAT_##field);
#include <nearcache/stats.def>
#undef NEAR_STAT
	near__l1_gauges(r->l1, stats);
}

static void near_policy_gauges(void *policy, bench_policy_gauges *g)
{
	near_stats stats;
	memset(&stats, 0, sizeof(stats));
	near__l1_gauges(((replayed *)policy)->l1, &stats);
	*g = (bench_policy_gauges){stats.payload_bytes, stats.mapped_bytes_max, stats.limit_bytes, stats.items};
}

const bench_policy bench_policy_near = {
	.name = "near",
	.open = near_policy_open,
	.close = near_policy_close,
	.get = near_policy_get,
	.put = near_policy_put,
	.del = near_policy_del,
	.housekeep = near_policy_housekeep,
	.gauges = near_policy_gauges,
	.stats = near_policy_stats,
};
