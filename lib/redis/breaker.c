/* The gate and the breaker: who may ask Redis.
 *
 *              ready                    failures in a row
 *     DOWN ------------> UP ------------------------------> TRIPPED
 *      ^                 | ^                                  |  |
 *      '--- lost --------' '----- an answer in time ----------'  |
 *      '---------------------------- lost -----------------------'
 *
 * A worker looks at one word. Behind a gate that is not UP it is told NEAR_E_UNAVAILABLE at once and goes to its source
 * instead of adding to the load of a server that is in trouble.
 *
 * Failures are a connect that failed, a connection lost, a deadline passed, and the answers LOADING and MASTERDOWN. An
 * answer that comes in time makes it zero; one that comes after its asker has left does not: a server that answers
 * everything too late is no use. While TRIPPED a PING is sent after a pause that doubles (with jitter) up to
 * backoff_max_ms; the owner's own commands are still sent and are as good a probe. The connection is kept: dropping it
 * would make every process of a slow Redis reconnect and resynchronise, which makes it slower. A dead connection is
 * found by its age (near__conn_suspect_ns).
 *
 * Threads: a worker moves UP -> TRIPPED by CAS, every other move is the I/O thread's.
 */
#include "redis/room.h"

#include "base/clock.h"
#include "base/hash.h"
#include "sync/wake.h"

#define PROBE_FIRST_MS 20

near__verdict near__breaker_judge(const near__reply *reply)
{
	if (near__reply_is(reply) != NEAR__REPLY_ERROR)
		return NEAR__SERVES;
	if (near__reply_error_is(reply, "NOAUTH"))
		return NEAR__FORGOT;
	if (near__reply_error_is(reply, "LOADING") || near__reply_error_is(reply, "MASTERDOWN"))
		return NEAR__CANNOT;
	return NEAR__SERVES;
}

void near__breaker_fail(near__redis *redis, near__thread *self)
{
	/* relaxed: a count; what it decides is decided by the CAS on the gate. */
	uint64_t failures = atomic_fetch_add_explicit(&redis->failures, 1, memory_order_relaxed) + UINT64_C(1);
	if (failures < redis->config.breaker_failures)
		return;
	if (failures == redis->config.breaker_failures)
		near__count_by(redis->config.stats, self, NEAR__STAT_breaker_trips, 1);
	uint32_t up = NEAR__GATE_UP;
	if (atomic_compare_exchange_strong_explicit(&redis->gate, &up, NEAR__GATE_TRIPPED, memory_order_relaxed,
	                                            memory_order_relaxed)) {
		near__redis_trouble(redis, NEAR_LOG_WARN, "Redis is not asked for now: %u failures in a row",
		                    (unsigned)failures);
		near__io_ring(redis); /* it plans the probe */
	}
}

void near__gate_open(near__redis *redis)
{
	atomic_store_explicit(&redis->failures, 0, memory_order_relaxed);
	redis->probe_ns = 0;
	redis->probes = 0;
	/* REDIS-GATE, release: pairs with near__redis_wait_up and near__redis_is_up: what the greeting has set up is
	 * there for who sees UP. */
	atomic_store_explicit(&redis->gate, NEAR__GATE_UP, memory_order_release);
	near__wake_all(&redis->gate);
}

void near__gate_shut(near__redis *redis)
{
	redis->probe_ns = 0;
	/* relaxed: nothing is handed over; a worker that still sees UP has its request ended when it arrives. */
	atomic_store_explicit(&redis->gate, NEAR__GATE_DOWN, memory_order_relaxed);
}

void near__breaker_answer(near__redis *redis, near__verdict verdict)
{
	if (NEAR_UNLIKELY(verdict != NEAR__SERVES)) {
		if (verdict == NEAR__FORGOT)
			near__conn_doom(&redis->data, "Redis asks for a password again (NOAUTH)");
		else
			near__breaker_fail(redis, near__self());
		return;
	}
	if (NEAR_LIKELY(atomic_load_explicit(&redis->failures, memory_order_relaxed) == 0 && redis->probe_ns == 0))
		return;
	atomic_store_explicit(&redis->failures, 0, memory_order_relaxed);
	redis->probes = 0;
	if (atomic_load_explicit(&redis->gate, memory_order_relaxed) == NEAR__GATE_TRIPPED) {
		near__log_write(&redis->config.log, NEAR_LOG_INFO, "Redis answers again");
		near__gate_open(redis);
	}
}

static void probe_done(void *ctx, near_status status, const near__reply *reply)
{
	near__redis *redis = ctx;
	(void)status; /* a good answer has opened the gate before this call */
	(void)reply;
	redis->probe_ns = 0;
}

void near__breaker_probe(near__redis *redis)
{
	if (atomic_load_explicit(&redis->gate, memory_order_relaxed) != NEAR__GATE_TRIPPED)
		return;
	if (redis->probe_ns == 0) {
		unsigned doublings = redis->probes < 8 ? redis->probes : 8;
		int64_t pause = (int64_t)(PROBE_FIRST_MS << doublings) * NEAR__MS_NS;
		int64_t most = (int64_t)redis->config.backoff_max_ms * NEAR__MS_NS;
		if (pause > most)
			pause = most;
		pause = pause / 2 + (int64_t)(near__random_next(&redis->random) % (uint64_t)(pause / 2 + 1));
		redis->probe_ns = redis->now_ns + pause;
		redis->probes++;
	}
	if (redis->now_ns < redis->probe_ns)
		return;
	redis->probe_ns = INT64_MAX;
	static const char *ping[] = { "PING" };
	static const size_t size[] = { 4 };
	int64_t deadline_ns = redis->now_ns + (int64_t)redis->config.command_ms_max * NEAR__MS_NS;
	near__redis_send(redis, &(near__command){ 1, ping, size }, 0, deadline_ns, probe_done, redis);
}
