/* Greeting, subscription, resync: when Redis is asked what was missed. I/O thread.
 *
 *   data connection     greet -> ASKING  one position step for all shards: enter; loads the library if it is missing
 *                             -> REPLAYING  replay of each shard: known incarnation -> what was missed; else adopt
 *                             -> READY   workers may use Redis; news.up
 *                       lost  -> DOWN    leases run out by themselves
 *   subscription        subscribed   -> every shard asks for a replay once more, now that nothing can slip through
 *                       unsubscribed -> no lease is extended until that is done again
 *
 * A replay asked while one is on its way is remembered (`again`) and asked when that one ends, so there is one question
 * per shard at any time, and what made us ask is always older than the question that answers it.
 *
 * Answers that belong to a former connection are ignored: near__redis_send calls back for each question exactly once,
 * so `running` always ends. */
#include "coherence/room.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_NS (100 * NEAR__MS_NS)

#ifdef NEARCACHE_TEST_HOOKS
bool (*near__coherence_message_hook)(near__coherence *c, const char *channel, size_t channel_size, const char *bytes,
                                     size_t size);
#endif

void near__sync_reject(near__coherence *c, const char *format, ...)
{
	char why[256];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	c->phase = NEAR__PHASE_DOWN;
	c->conn++;
	near__error_keep(c, why, strlen(why));
	near__redis_reject(c->redis, why);
}

static bool is_subscribed(const near__coherence *c)
{
	/* relaxed: written by this thread. */
	return atomic_load_explicit(&c->subscribed, memory_order_relaxed);
}

/* -------------------------------------------------------------------- greeting */

/* Every shard has been told its incarnation on this connection: workers may come. */
static void greeting_ends(near__coherence *c)
{
	if (c->phase != NEAR__PHASE_REPLAYING)
		return;
	for (unsigned i = 0; i < c->shards; i++)
		if (c->shard[i].greeted_conn != c->conn && !c->shard[i].spent)
			return;
	c->phase = NEAR__PHASE_READY;
	c->position_due_ns = 0;
	near__error_keep(c, "", 0);
	atomic_store(&c->ready, true);
	near__redis_ready(c->redis);
	if (c->config.news.up != NULL)
		c->config.news.up(c->config.news.ctx);
}

void near__sync_entered(near__coherence *c)
{
	c->phase = NEAR__PHASE_REPLAYING;
	for (unsigned i = 0; i < c->shards; i++)
		near__sync_shard(&c->shard[i]);
	greeting_ends(c); /* all spent */
}

/* ---------------------------------------------------------------------- replay */

static void replay_failed(near__shard *s, near_status status, const near__reply *reply)
{
	near__coherence *c = s->owner;
	if (near__library_is_missing(reply)) {
		near__sync_load(c);
	} else if (reply != NULL) {
		status = near__step_error(c, reply);
	}
	if (c->phase == NEAR__PHASE_REPLAYING)
		near__sync_reject(c, "shard %u could not be replayed (%s)", s->index, near_status_name(status));
	else
		s->retry_ns = near__now_ns() + RETRY_NS;
}

static void replay_answered(void *ctx, near_status status, const near__reply *reply)
{
	near__shard *s = ctx;
	near__coherence *c = s->owner;
	bool more = false;
	s->running = false;
	if (s->running_conn != c->conn) {
		if (s->again)
			near__sync_shard(s);
		return;
	}
	if (status != NEAR_OK || !near__shard_replayed(s, reply, &more)) {
		replay_failed(s, status, reply);
		return;
	}
	s->greeted_conn = c->conn;
	greeting_ends(c);
	if (more || s->again || s->start_over) {
		near__sync_shard(s);
		return;
	}
	if (!s->synced && is_subscribed(c) && s->running_sub == c->sub) {
		s->synced = true;
		c->position_due_ns = 0; /* whoever waits for the lease shall not wait for its third */
	}
	near__lease_try(s);
}

void near__sync_shard(near__shard *s)
{
	near__coherence *c = s->owner;
	char inc[NEAR__HEX];
	near__args a;
	if (s->spent || c->phase < NEAR__PHASE_REPLAYING)
		return; /* the greeting asks for every shard */
	if (s->running) {
		s->again = true;
		return;
	}
	s->again = false;
	s->retry_ns = 0;
	s->running = true;
	s->running_over = s->start_over;
	s->running_conn = c->conn;
	s->running_sub = is_subscribed(c) ? c->sub : 0;
	/* 0 is nobody's incarnation: answered by what to adopt. */
	near__hex_write(s->start_over ? 0 : s->inc, inc);
	near__args_begin(&a, c, NEAR__F_REPLAY);
	near__args_text(&a, "2");
	near__args_text(&a, s->meta);
	near__args_text(&a, s->log);
	near__args_enter(&a, c);
	near__args_add(&a, inc, sizeof(inc));
	near__args_number(&a, s->applied);
	near__args_number(&a, NEAR__REPLAY_COUNT);
	near__command command = { a.argc, a.argv, a.sizes };
	near__redis_send(c->redis, &command, c->phase == NEAR__PHASE_READY ? 0 : NEAR__REDIS_GREETING,
	                 near__now_ns() + NEAR__RESYNC_MS * NEAR__MS_NS, replay_answered, s);
}

/* --------------------------------------------------------------------- library */

static void load_answered(void *ctx, near_status status, const near__reply *reply)
{
	near__coherence *c = ctx;
	bool refused = near__reply_is(reply) == NEAR__REPLY_ERROR && !near__library_is_there_already(reply);
	bool done = status == NEAR_OK && !refused;
	c->loading = false;
	if (c->phase == NEAR__PHASE_DOWN)
		return;
	if (done) {
		c->loaded_conn = c->conn;
		c->position_due_ns = 0;
	} else if (status == NEAR_OK) {
		status = near__step_error(c, reply);
	}
	if (c->phase == NEAR__PHASE_ASKING && done) {
		near__lease_ask(c);
	} else if (c->phase != NEAR__PHASE_READY && !done) {
		size_t size = 0;
		const char *text = near__reply_bytes(reply, &size);
		near__sync_reject(c, "FUNCTION LOAD was refused: %.*s", (int)size, text != NULL ? text : "");
	}
}

void near__sync_load(near__coherence *c)
{
	if (c->loading)
		return;
	const char *argv[] = { "FUNCTION", "LOAD", c->library.text };
	const size_t sizes[] = { 8, 4, c->library.text_size };
	near__command command = { 3, argv, sizes };
	c->loading = true;
	near__redis_send(c->redis, &command, c->phase == NEAR__PHASE_READY ? 0 : NEAR__REDIS_GREETING,
	                 near__now_ns() + NEAR__RESYNC_MS * NEAR__MS_NS, load_answered, c);
}

/* -------------------------------------------------------------------- handlers */

/* Run ids are few: one per server process met. Kept until close, because workers read them without a lock. */
static bool identify(near__coherence *c, const char *run_id)
{
	near__identity *last = atomic_load_explicit(&c->identity, memory_order_relaxed);
	if (last != NULL && strcmp(last->run_id, run_id) == 0)
		return true;
	near__identity *made = calloc(1, sizeof(*made));
	if (made == NULL || strlen(run_id) >= sizeof(made->run_id)) {
		free(made);
		return false;
	}
	made->size = strlen(run_id);
	memcpy(made->run_id, run_id, made->size);
	made->next = last;
	/* Release: pairs with near__identity_of. */
	atomic_store_explicit(&c->identity, made, memory_order_release);
	return true;
}

static void on_greet(void *ctx, const char *run_id)
{
	near__coherence *c = ctx;
	c->conn++;
	c->phase = NEAR__PHASE_ASKING;
	if (!identify(c, run_id)) {
		near__sync_reject(c, "no memory for the greeting");
		return;
	}
	near__lease_ask(c);
}

static void on_lost(void *ctx, const char *why)
{
	near__coherence *c = ctx;
	bool was_ready = atomic_exchange(&c->ready, false);
	c->conn++;
	c->phase = NEAR__PHASE_DOWN;
	near__lease_forget(c);
	if (was_ready && c->config.news.down != NULL)
		c->config.news.down(c->config.news.ctx, why);
}

static void subscription_changed(near__coherence *c, bool stands)
{
	c->sub++;
	c->pings = 0;
	atomic_store(&c->subscribed, stands);
	for (unsigned i = 0; i < c->shards; i++) {
		c->shard[i].synced = false;
		c->shard[i].ping_seq = 0;
	}
}

static void on_subscribed(void *ctx)
{
	near__coherence *c = ctx;
	subscription_changed(c, true);
	for (unsigned i = 0; i < c->shards; i++)
		near__sync_shard(&c->shard[i]);
}

static void on_unsubscribed(void *ctx, const char *why)
{
	(void)why;
	subscription_changed(ctx, false);
}

static void on_message(void *ctx, const char *channel, size_t channel_size, const char *bytes, size_t size)
{
	near__coherence *c = ctx;
	unsigned shard;
#ifdef NEARCACHE_TEST_HOOKS
	if (near__coherence_message_hook != NULL &&
	    !near__coherence_message_hook(c, channel, channel_size, bytes, size))
		return;
#endif
	if (!near__message_read_channel(c->prefix, c->shards, channel, channel_size, &shard)) {
		near__count(c->config.redis.stats, NEAR__STAT_messages_malformed);
		return;
	}
	near__shard *s = &c->shard[shard];
	near__message m = near__message_read(bytes, size);
	switch (near__shard_message(s, &m)) {
	case NEAR__VERDICT_DONE:
		break;
	case NEAR__VERDICT_RESYNC:
		near__sync_shard(s);
		break;
	case NEAR__VERDICT_DOUBT:
		/* At most one flush per lease and shard, so that processes of a later version that talk all the time cannot
		 * use up the generations; the lease is not extended meanwhile. */
		if (s->doubt_ns == 0)
			s->doubt_ns = s->doubt_last_ns + (int64_t)c->config.lease_ms * NEAR__MS_NS;
		break;
	}
}

static void on_pong(void *ctx)
{
	near__lease_pong(ctx);
}

static void shard_tick(near__shard *s, int64_t now_ns)
{
	if (s->doubt_ns != 0 && now_ns >= s->doubt_ns) {
		s->doubt_ns = 0;
		s->doubt_last_ns = now_ns;
		s->start_over = true;
		near__sync_shard(s);
	}
	if (s->retry_ns != 0 && now_ns >= s->retry_ns)
		near__sync_shard(s);
}

static void on_tick(void *ctx, int64_t now_ns)
{
	near__coherence *c = ctx;
	if (c->phase != NEAR__PHASE_READY)
		return;
	for (unsigned i = 0; i < c->shards; i++)
		shard_tick(&c->shard[i], now_ns);
	near__lease_tick(c, now_ns);
}

void near__sync_handlers(near__coherence *c, near__redis_handlers *on)
{
	*on = (near__redis_handlers){
		.ctx = c,
		.greet = on_greet,
		.lost = on_lost,
		.subscribed = on_subscribed,
		.unsubscribed = on_unsubscribed,
		.message = on_message,
		.pong = on_pong,
		.tick = on_tick,
	};
}

/* --------------------------------------------------------------- from workers */

static void notice(void *ctx)
{
	near__coherence *c = ctx;
	/* First: a notice after this one asks again. */
	atomic_store(&c->noticing, false);
	for (unsigned i = 0; i < c->shards; i++)
		if (atomic_exchange(&c->shard[i].noticed, false))
			near__sync_shard(&c->shard[i]);
}

void near__sync_noticed(near__coherence *c, unsigned shard)
{
	atomic_store(&c->shard[shard].noticed, true);
	if (atomic_exchange(&c->noticing, true))
		return;
	/* Refused (too much waits): the position step will notice, too. */
	if (near__redis_post(c->redis, notice, c) != NEAR_OK)
		atomic_store(&c->noticing, false);
}
