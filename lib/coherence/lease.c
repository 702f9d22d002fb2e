/* The freshness lease. I/O thread.
 *
 *   every third of a lease   t_s = now, ask all positions in one step
 *   the answer               per shard: another incarnation -> resync
 *                                       applied >= position -> lease until t_s + T
 *                                       behind              -> PING on the subscription
 *   a change applied         reaches the position asked for -> lease until t_s + T
 *   the PONG                 still behind -> a message was lost without a sound: resync
 *   no PONG                  the subscription is dead: make it again, resync meanwhile
 *
 * Why it holds. Let an invalidation have sequence q and be acknowledged at time t, and let a lease that was asked at
 * t_s serve a hit at u. If t <= t_s, Redis had counted q before it answered, so the position asked for is at least q;
 * positions are applied without a hole, so q was applied (raised and dropped) before the lease was stored, and
 * COH-LEASE shows it to whoever sees the lease: the hit is not older than q. If t > t_s then u < t_s + T < t + T.
 *
 * t_s is taken before the question is sent, so a slow network shortens the lease and never stretches it. The coarse
 * clock that a get reads is late by up to NEAR__COARSE_NS, which is taken off here once. Nothing revokes a lease early:
 * that would gain nothing (it says only "as of t_s") and would cost the L1 on every hiccup of Redis.
 *
 * PONG: Redis writes a subscriber's messages and answers in one order. The PING is sent after the position was
 * answered, hence every message of it precedes the PONG on that connection, or was lost. */
#include "coherence/room.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_NS(c) ((int64_t)(c)->config.lease_ms * NEAR__MS_NS)
#define SILENT_MAX 2 /* losses in a row, with nothing heard between, before the subscription is made again */

/* The shortest lease is what a get asks first; a longer one is worth a word to those who wait for it. */
static void store_min(near__coherence *c)
{
	int64_t min = INT64_MAX;
	for (unsigned i = 0; i < c->shards; i++) {
		int64_t until = atomic_load_explicit(&c->shard[i].lease_until, memory_order_relaxed);
		min = until < min ? until : min;
	}
	if (atomic_load_explicit(&c->lease_min, memory_order_relaxed) >= min)
		return;
	/* COH-LEASE, release: pairs with near__coherence_lease_until. */
	atomic_store_explicit(&c->lease_min, min, memory_order_release);
	near__count(c->config.redis.stats, NEAR__STAT_lease_renewals);
	atomic_fetch_add(&c->changes, 1);
	near__wake_all(&c->changes);
}

static bool extend(near__shard *s)
{
	near__coherence *c = s->owner;
	bool sound = c->phase == NEAR__PHASE_READY && s->synced && s->inc != 0 && !s->start_over && s->doubt_ns == 0;
	if (!s->asked || !sound || s->applied < s->asked_seq)
		return false;
	int64_t until = s->asked_ns + LEASE_NS(c) - NEAR__COARSE_NS;
	s->asked = false;
	if (until <= atomic_load_explicit(&s->lease_until, memory_order_relaxed))
		return false;
	/* COH-LEASE, release: pairs with near__coherence_shard_lease_until. Everything up to asked_seq has been dropped. */
	atomic_store_explicit(&s->lease_until, until, memory_order_release);
	return true;
}

void near__lease_try(near__shard *s)
{
	if (extend(s))
		store_min(s->owner);
}

void near__lease_forget(near__coherence *c)
{
	for (unsigned i = 0; i < c->shards; i++) {
		c->shard[i].asked = false;
		c->shard[i].ping_seq = 0;
	}
	c->pings = 0;
}

/* -------------------------------------------------------------------- the ping */

static void ping_the_behind(near__coherence *c)
{
	bool behind = false;
	if (c->pings != 0 || !atomic_load_explicit(&c->subscribed, memory_order_relaxed))
		return; /* one at a time, so that a PONG is known to be the answer to this one */
	for (unsigned i = 0; i < c->shards; i++) {
		near__shard *s = &c->shard[i];
		if (s->asked && s->synced && s->applied < s->asked_seq) {
			s->ping_seq = s->asked_seq;
			behind = true;
		}
	}
	if (!behind)
		return;
	c->pings++;
	c->ping_ns = near__now_ns();
	near__redis_sub_ping(c->redis);
}

/* Those that the PING has not carried forward have lost something. */
static bool resync_the_behind(near__coherence *c)
{
	bool again = false;
	for (unsigned i = 0; i < c->shards; i++) {
		near__shard *s = &c->shard[i];
		bool lost = s->ping_seq != 0 && s->applied < s->ping_seq;
		s->ping_seq = 0;
		if (!lost)
			continue;
		near__shard_gap(s);
		near__sync_shard(s);
		again = ++s->silent >= SILENT_MAX || again;
	}
	return again;
}

void near__lease_pong(near__coherence *c)
{
	if (c->pings == 0 || --c->pings != 0)
		return;
	if (resync_the_behind(c))
		near__redis_sub_restart(c->redis, "messages were lost although it answers");
}

static void ping_overdue(near__coherence *c, int64_t now_ns)
{
	int64_t patience = LEASE_NS(c) / 3;
	if (c->pings == 0 || now_ns - c->ping_ns < patience)
		return;
	c->pings = 0;
	(void)resync_the_behind(c);
	near__redis_sub_restart(c->redis, "it does not answer PING");
}

/* ---------------------------------------------------------------- the position */

static void take_clock(near__coherence *c, const near__reply *reply)
{
	int64_t redis_ms = near__reply_integer(near__reply_at(reply, 0));
	int64_t middle_ns = c->position_ns + (near__now_ns() - c->position_ns) / 2;
	if (redis_ms <= 0)
		return;
	/* relaxed: an estimate, ordered with nothing. */
	atomic_store_explicit(&c->clock_offset_ms, redis_ms - middle_ns / NEAR__MS_NS, memory_order_relaxed);
	atomic_store_explicit(&c->clock_known, true, memory_order_release);
}

static void take_positions(near__coherence *c, const near__reply *reply)
{
	bool extended = false;
	for (unsigned i = 0; i < c->shards; i++) {
		near__shard *s = &c->shard[i];
		uint64_t incarnation, seq;
		if (!near__step_read(reply, 1 + (size_t)2 * i, &incarnation, &seq))
			return;
		if (incarnation != s->inc) {
			near__sync_shard(s);
			continue;
		}
		s->asked = true;
		s->asked_seq = seq;
		s->asked_ns = c->position_ns;
		extended = extend(s) || extended;
	}
	if (extended)
		store_min(c);
	ping_the_behind(c);
}

/* The namespace has another number of shards: true, and the connection is given up. */
static bool shards_differ(near__coherence *c, const near__reply *reply)
{
	size_t size;
	const char *text = near__reply_bytes(reply, &size);
	if (text == NULL || size <= 11 || memcmp(text, "NEARSHARDS ", 11) != 0)
		return false;
	near__sync_reject(c, "%s was made with %.*s shards, here NEARCACHE_SHARDS is %u: give every process the same, or "
		                  "raise NEARCACHE_VERSION", c->prefix, (int)(size - 11), text + 11, c->shards);
	return true;
}

static void greeting_refused(near__coherence *c, const near__reply *reply)
{
	size_t size;
	const char *text = near__reply_bytes(reply, &size);
	if (text == NULL)
		near__sync_reject(c, "an answer to the first step that makes no sense");
	else
		near__sync_reject(c, "the first step was refused: %.*s", (int)size, text);
}

static bool position_makes_sense(const near__coherence *c, const near__reply *reply)
{
	return near__reply_is(reply) == NEAR__REPLY_ARRAY && near__reply_count(reply) == 1 + (size_t)2 * c->shards;
}

static void position_answered(void *ctx, near_status status, const near__reply *reply)
{
	near__coherence *c = ctx;
	bool greeting = c->phase == NEAR__PHASE_ASKING;
	c->position_running = false;
	if (c->position_conn != c->conn) { /* of a connection that is gone */
		if (greeting)
			near__lease_ask(c);
		return;
	}
	if (status == NEAR_OK && near__library_is_missing(reply)) {
		if (greeting && c->loaded_conn == c->conn)
			greeting_refused(c, reply);
		else
			near__sync_load(c);
	} else if (status != NEAR_OK) {
		if (greeting)
			near__sync_reject(c, "no answer to the first step (%s)", near_status_name(status));
	} else if (shards_differ(c, reply)) {
		return;
	} else if (!position_makes_sense(c, reply)) {
		if (greeting)
			greeting_refused(c, reply);
		else
			(void)near__step_error(c, reply);
	} else {
		take_clock(c, reply);
		if (greeting)
			near__sync_entered(c);
		else if (c->phase == NEAR__PHASE_READY)
			take_positions(c, reply);
	}
}

/* FCALL position 2n meta log ... run nonce shards */
void near__lease_ask(near__coherence *c)
{
	if (c->position_running)
		return;
	near__args a;
	near__args_begin(&a, c, NEAR__F_POSITION);
	near__args_number(&a, (uint64_t)2 * c->shards);
	near__args_enter(&a, c);
	size_t keys = (size_t)2 * c->shards, at = 3 + keys;
	for (size_t i = 0; i < 3; i++) {
		c->position_argv[i] = a.argv[i];
		c->position_sizes[i] = a.sizes[i];
		c->position_argv[at + i] = a.argv[3 + i];
		c->position_sizes[at + i] = a.sizes[3 + i];
	}
	near__command command = { (int)(at + 3), c->position_argv, c->position_sizes };
	c->position_running = true;
	c->position_conn = c->conn;
	c->position_ns = near__now_ns(); /* t_s: before it is sent */
	c->position_due_ns = c->position_ns + LEASE_NS(c) / 3;
	bool greeting = c->phase == NEAR__PHASE_ASKING;
	int64_t patience = greeting ? NEAR__RESYNC_MS * NEAR__MS_NS : LEASE_NS(c);
	near__redis_send(c->redis, &command, greeting ? NEAR__REDIS_GREETING : 0, c->position_ns + patience,
	                 position_answered, c);
}

void near__lease_tick(near__coherence *c, int64_t now_ns)
{
	if (c->phase != NEAR__PHASE_READY || !atomic_load_explicit(&c->subscribed, memory_order_relaxed))
		return;
	ping_overdue(c, now_ns);
	if (now_ns >= c->position_due_ns)
		near__lease_ask(c);
}
