/* The door to Redis: the only room that knows hiredis.
 *
 *   workers --(bounded ring)--> I/O thread --(one write for all that waits)--> data connection --> Redis
 *      ^---- completion in order, each waiter woken ----'
 *                               I/O thread <-- subscription connection <-- Redis
 *
 * One I/O thread per cache owns both connections, the timers, the breaker and the backoff. Every command has a deadline.
 * A worker waits in near__redis_call; the I/O thread itself uses near__redis_send with a callback.
 *
 * States   DOWN -> CONNECTING -> (hello: AUTH, SELECT, INFO server -> run_id) -> owner's `greet` callback -> UP -> DOWN
 * Commands given by workers are sent only when UP; before, they answer NEAR_E_UNAVAILABLE at once. The greeting's commands
 * go through near__redis_send with NEAR__REDIS_GREETING and may be sent before UP; the owner ends the greeting with
 * near__redis_ready or near__redis_reject.
 */
#ifndef NEAR_REDIS_REDIS_H
#define NEAR_REDIS_REDIS_H

#include "base/log.h"
#include "redis/url.h"
#include "stats/stats.h"

typedef struct near__redis near__redis;

/* A reply, as a tree. Owned by whoever got it; near__reply_free frees all. Mirrors RESP2/3; the room hides hiredis. */
typedef enum near__reply_kind {
	NEAR__REPLY_NIL,
	NEAR__REPLY_STRING,
	NEAR__REPLY_STATUS,
	NEAR__REPLY_ERROR,
	NEAR__REPLY_INTEGER,
	NEAR__REPLY_ARRAY,
	NEAR__REPLY_OTHER
} near__reply_kind;
typedef struct near__reply near__reply; /* opaque: a hiredis reply */
near__reply_kind near__reply_is(const near__reply *reply);               /* NIL for NULL */
const char *near__reply_bytes(const near__reply *reply, size_t *size);   /* STRING, STATUS, ERROR; else NULL, 0 */
int64_t near__reply_integer(const near__reply *reply);                   /* INTEGER; else 0 */
size_t near__reply_count(const near__reply *reply);                      /* ARRAY; else 0 */
const near__reply *near__reply_at(const near__reply *reply, size_t i);   /* NULL past the end */
void near__reply_free(near__reply *reply);

typedef struct near__redis_handlers {
	void *ctx;
	/* All of these run on the I/O thread and must not block. */
	void (*greet)(void *ctx, const char *run_id); /* data connection is there, run_id of its server known */
	void (*lost)(void *ctx, const char *why);     /* the data connection is gone; greeting or UP before */
	void (*subscribed)(void *ctx);                /* every channel has been confirmed on the subscription */
	void (*unsubscribed)(void *ctx, const char *why);
	void (*message)(void *ctx, const char *channel, size_t channel_size, const char *bytes, size_t size);
	void (*pong)(void *ctx);                      /* answer on the subscription to near__redis_sub_ping */
	/* Called every tick_ms and after every batch of events. */
	void (*tick)(void *ctx, int64_t now_ns);
} near__redis_handlers;

typedef struct near__redis_config {
	near__url url;
	uint64_t connect_ms, pipeline_max, breaker_failures, backoff_max_ms, command_ms_max;
	const char *thread_name;
	const char *const *channels; /* copied */
	size_t channel_count;
	uint64_t tick_ms;
	near__redis_handlers on;
	near__stats *stats;
	near__log log;
} near__redis_config;

/* Starts the I/O thread; does not wait for Redis. */
near_status near__redis_open(const near__redis_config *config, near__redis **redis);
/* Fails what waits with NEAR_E_UNAVAILABLE, stops the thread, frees. */
void near__redis_close(near__redis *redis);

/* A command: argument vector with sizes. */
typedef struct near__command {
	int argc;
	const char **argv;
	const size_t *sizes;
} near__command;

/* Sends and waits. NEAR_OK: *reply is the answer (an ERROR reply is NEAR_OK here; the caller looks) and the caller's.
 * NEAR_E_UNAVAILABLE (down, breaker open; answered at once), NEAR_E_BUSY (ring full; at once), NEAR_E_TIMEOUT (the command
 * may have taken effect), NEAR_E_NOMEM. Any thread but the I/O thread. deadline_ns on the near clock. */
near_status near__redis_call(near__redis *redis, const near__command *command, int64_t deadline_ns, near__reply **reply);
/* Many commands, one round trip; statuses[i] and replies[i] for each. */
void near__redis_call_many(near__redis *redis, const near__command *commands, size_t count, int64_t deadline_ns,
                           near_status *statuses, near__reply **replies);

enum { NEAR__REDIS_GREETING = 1 };
/* On the I/O thread: sends, and calls done(ctx, status, reply) there later, once, always; `reply` is the room's, NULL when
 * status is not NEAR_OK. */
void near__redis_send(near__redis *redis, const near__command *command, unsigned flags, int64_t deadline_ns,
                      void (*done)(void *ctx, near_status status, const near__reply *reply), void *ctx);
/* Any thread: has `run(ctx)` run on the I/O thread soon. NEAR_E_BUSY, NEAR_E_UNAVAILABLE after close. */
near_status near__redis_post(near__redis *redis, void (*run)(void *ctx), void *ctx);

/* On the I/O thread. */
void near__redis_ready(near__redis *redis);                     /* greeting done: UP */
void near__redis_reject(near__redis *redis, const char *why);   /* drop the connection, back off, try again */
void near__redis_sub_ping(near__redis *redis);
void near__redis_sub_restart(near__redis *redis, const char *why); /* drop the subscription and make it again */

bool near__redis_is_up(const near__redis *redis);  /* cheap, any thread */
/* Waits for UP. NEAR_OK, NEAR_E_TIMEOUT. */
near_status near__redis_wait_up(near__redis *redis, int64_t deadline_ns);
size_t near__redis_last_error(near__redis *redis, char *buf, size_t buf_size);

#endif
