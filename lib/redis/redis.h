/* The door to Redis: the only room that knows hiredis.
 *
 *   workers --(bounded ring)--> I/O thread --(one write for all that waits)--> data connection --> Redis
 *      ^---- completion in order, each waiter woken ----'
 *                               I/O thread <-- subscription connection <-- Redis
 *
 * One I/O thread per cache owns both connections, the timers, the breaker and the backoff. Every command has a
 * deadline. A worker waits in near__redis_call; the I/O thread itself uses near__redis_send with a callback.
 *
 * States   DOWN -> CONNECTING -> (hello: AUTH, SELECT, INFO server -> run_id) -> owner's `greet` callback -> UP -> DOWN
 * Commands given by workers are sent only when UP; before, they answer NEAR_E_UNAVAILABLE at once. The greeting's
 * commands go through near__redis_send with NEAR__REDIS_GREETING and may be sent before UP; the owner ends the greeting
 * with near__redis_ready or near__redis_reject.
 */
#ifndef NEAR_REDIS_REDIS_H
#define NEAR_REDIS_REDIS_H

#include "base/log.h"
#include "redis/url.h"
#include "stats/stats.h"

typedef struct near__redis near__redis;

/* A reply, as a tree. Owned by whoever got it; near__reply_free frees all. Mirrors RESP2; what RESP3 adds is OTHER. */
typedef enum near__reply_kind {
	NEAR__REPLY_NIL,
	NEAR__REPLY_STRING,
	NEAR__REPLY_STATUS,
	NEAR__REPLY_ERROR,
	NEAR__REPLY_INTEGER,
	NEAR__REPLY_ARRAY,
	NEAR__REPLY_OTHER
} near__reply_kind;
typedef struct near__reply near__reply; /* opaque; its bytes are followed by a NUL that is not counted */
near__reply_kind near__reply_is(const near__reply *reply);               /* NIL for NULL */
const char *near__reply_bytes(const near__reply *reply, size_t *size);   /* STRING, STATUS, ERROR; else NULL, 0 */
int64_t near__reply_integer(const near__reply *reply);                   /* INTEGER; else 0 */
size_t near__reply_count(const near__reply *reply);                      /* ARRAY; else 0 */
const near__reply *near__reply_at(const near__reply *reply, size_t i);   /* NULL past the end */
/* Takes the i-th element out: the caller's now, a nil stays in its place. NULL past the end. */
near__reply *near__reply_take(near__reply *reply, size_t i);
void near__reply_free(near__reply *reply);

typedef struct near__redis_handlers {
	void *ctx;
	/* All of these run on the I/O thread and must not block. Any may be NULL; without `greet` the connection is UP
	 * as soon as the server is known. None but `done` and `run` is called once near__redis_close has begun. */
	void (*greet)(void *ctx, const char *run_id); /* data connection is there, run_id of its server known */
	/* The data connection is gone; once for each greet. What waits on it is ended after this call. */
	void (*lost)(void *ctx, const char *why);
	void (*subscribed)(void *ctx); /* every channel has been confirmed, by the server that was greeted */
	void (*unsubscribed)(void *ctx, const char *why); /* once for each subscribed */
	/* May come before `subscribed`, from a channel that is confirmed already. */
	void (*message)(void *ctx, const char *channel, size_t channel_size, const char *bytes, size_t size);
	/* Answer on the subscription to near__redis_sub_ping: all that was published before it has been handed out. */
	void (*pong)(void *ctx);
	/* Called every tick_ms and after every batch of events. */
	void (*tick)(void *ctx, int64_t now_ns);
} near__redis_handlers;

typedef struct near__redis_config {
	near__url url;
	uint64_t connect_ms;       /* to connect, and again for the hello */
	uint64_t pipeline_max;     /* commands of workers' that wait for Redis at once */
	uint64_t breaker_failures; /* in a row */
	uint64_t backoff_max_ms;
	uint64_t command_ms_max;   /* no answer for so long (or the command's deadline, if later): reconnect */
	uint64_t reply_bytes_max;  /* 0: 576 MiB, Redis's largest string and some */
	const char *thread_name;
	const char *const *channels; /* copied */
	size_t channel_count;
	uint64_t tick_ms;
	near__redis_handlers on;
	near__stats *stats;
	near__log log;
} near__redis_config;

/* Starts the I/O thread; does not wait for Redis. *redis is set before the first handler runs, NULL on failure.
 * NEAR_OK, NEAR_E_NOMEM, NEAR_E_SYSTEM. */
near_status near__redis_open(const near__redis_config *config, near__redis **redis);
/* Fails what waits with NEAR_E_UNAVAILABLE (callers inside near__redis_call come back), stops the thread, frees. Prompt
 * even when Redis hangs; only the resolution of a host name (getaddrinfo) is waited for. */
void near__redis_close(near__redis *redis);

/* A command: argument vector with sizes. */
typedef struct near__command {
	int argc;
	const char **argv;
	const size_t *sizes;
} near__command;

/* Sends and waits. NEAR_OK: *reply is the answer (an ERROR reply is NEAR_OK here; the caller looks) and the caller's.
 * NEAR_E_UNAVAILABLE (down, breaker open; answered at once), NEAR_E_BUSY (too much waits; at once), NEAR_E_TIMEOUT (the
 * command may have taken effect), NEAR_E_NOMEM. Any thread but the I/O thread. deadline_ns on the near clock. */
near_status near__redis_call(near__redis *redis, const near__command *command, int64_t deadline_ns,
                             near__reply **reply);
/* Many commands, one round trip (more than half of pipeline_max: one per such part); statuses[i] and replies[i] for
 * each, replies[i] NULL unless NEAR_OK. */
void near__redis_call_many(near__redis *redis, const near__command *commands, size_t count, int64_t deadline_ns,
                           near_status *statuses, near__reply **replies);

enum { NEAR__REDIS_GREETING = 1 };
/* On the I/O thread: sends, and calls done(ctx, status, reply) there later, once, always; `reply` is the room's, NULL
 * when status is not NEAR_OK. Only without memory it is called at once, with NEAR_E_NOMEM. */
void near__redis_send(near__redis *redis, const near__command *command, unsigned flags, int64_t deadline_ns,
                      void (*done)(void *ctx, near_status status, const near__reply *reply), void *ctx);
/* Any thread: has `run(ctx)` run on the I/O thread soon, connected or not. NEAR_OK: it will run, at the latest while
 * closing; NEAR_E_BUSY, NEAR_E_NOMEM, NEAR_E_UNAVAILABLE once close has begun: it will not. */
near_status near__redis_post(near__redis *redis, void (*run)(void *ctx), void *ctx);

/* On the I/O thread. */
void near__redis_ready(near__redis *redis);                     /* greeting done: UP */
void near__redis_reject(near__redis *redis, const char *why);   /* drop the connection, back off, try again */
void near__redis_sub_ping(near__redis *redis);
void near__redis_sub_restart(near__redis *redis, const char *why); /* drop the subscription and make it again */

bool near__redis_is_up(const near__redis *redis);  /* UP and breaker closed; cheap, any thread */
/* Waits for that. NEAR_OK, NEAR_E_TIMEOUT, NEAR_E_UNAVAILABLE when closing. */
near_status near__redis_wait_up(near__redis *redis, int64_t deadline_ns);
size_t near__redis_last_error(near__redis *redis, char *buf, size_t buf_size);

#endif
