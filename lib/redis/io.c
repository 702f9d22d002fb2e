/* The I/O thread: one round after the other.
 *
 *   sleep (epoll) -> take the inbox -> events of both connections -> requests out of the inbox -> timers -> tick
 *                 -> close what is doomed -> write all that waits
 *
 * Only this thread touches the connections. Handlers of the owner run inside a round and may send, reject, restart: all
 * of that takes effect later in the same round or in the next one, never below the caller's feet.
 *
 * The deadline of a worker is the worker's own business: it leaves, and the answer is thrown away when it comes. The
 * I/O thread looks at two other clocks: the owner's commands, which have nobody else to time them, and the age of the
 * oldest unanswered question, which tells a half-open connection (a peer that vanished without a word) from a quiet
 * one.
 *
 * Nothing here is unbounded: a round reads at most READS_MAX chunks per connection, and what workers may have waiting
 * is bounded by `load`.
 */
#include "redis/room.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/hash.h"
#include "sync/wake.h"

static _Thread_local const near__redis *io_self;

bool near__io_is_self(const near__redis *redis)
{
	return io_self == redis;
}

void near__io_ring(near__redis *redis)
{
	uint64_t one = 1;
	/* It can only fail when the counter is full, and then the bell is ringing. */
	ssize_t written = write(redis->bell, &one, sizeof(one));
	(void)written;
}

void near__redis_trouble(near__redis *redis, near_log_level level, const char *format, ...)
{
	char text[sizeof(redis->error)];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)pthread_mutex_lock(&redis->error_lock);
	memcpy(redis->error, text, sizeof(text));
	(void)pthread_mutex_unlock(&redis->error_lock);
	near__log_write(&redis->config.log, level, "%s", text);
}

/* --- the owner's commands */

struct near__send {
	near__request request;
	void (*done)(void *ctx, near_status status, const near__reply *reply); /* NULL: has been told NEAR_E_TIMEOUT */
	void *ctx;
	near__send *prev, *next;
};

static void send_unlink(near__redis *redis, near__send *send)
{
	if (send->prev != NULL)
		send->prev->next = send->next;
	else
		redis->sends = send->next;
	if (send->next != NULL)
		send->next->prev = send->prev;
}

static void send_end(near__redis *redis, near__request *request, near_status status, near__reply *reply)
{
	near__send *send = (near__send *)request;
	if (send->done != NULL) {
		send_unlink(redis, send);
		if (status == NEAR_OK)
			near__breaker_answer(redis, near__breaker_judge(reply));
		send->done(send->ctx, status, reply);
	}
	near__reply_free(reply);
	free(send);
}

void near__redis_send(near__redis *redis, const near__command *command, unsigned flags, int64_t deadline_ns,
                      void (*done)(void *ctx, near_status status, const near__reply *reply), void *ctx)
{
	NEAR_ASSERT(near__io_is_self(redis) && done != NULL);
	size_t size = near__wire_size(command);
	near__send *send = malloc(sizeof(*send) + size);
	if (send == NULL) {
		done(ctx, NEAR_E_NOMEM, NULL);
		return;
	}
	char *wire = (char *)(send + 1);
	(void)near__wire_write(command, wire);
	*send = (near__send){ .done = done, .ctx = ctx, .next = redis->sends };
	send->request = (near__request){ .wire = wire, .wire_size = size, .deadline_ns = deadline_ns, .end = send_end };
	if (redis->sends != NULL)
		redis->sends->prev = send;
	redis->sends = send;
	if (deadline_ns < redis->sends_ns)
		redis->sends_ns = deadline_ns;
	bool up = atomic_load_explicit(&redis->gate, memory_order_relaxed) != NEAR__GATE_DOWN;
	bool may = up || (redis->greeted && (flags & NEAR__REDIS_GREETING) != 0);
	if (may && redis->data.state == NEAR__CONN_OPEN && !redis->data.doomed)
		near__conn_send(&redis->data, &send->request);
	else
		near__list_append(&redis->dead, &send->request);
}

/* Tells those whose deadline has passed. The request stays where it is until its answer comes. */
static void sends_expire(near__redis *redis)
{
	near__send *next;
	if (redis->now_ns < redis->sends_ns)
		return;
	redis->sends_ns = INT64_MAX;
	for (near__send *send = redis->sends; send != NULL; send = next) {
		next = send->next; /* stays in the list: `done` may only add, at the front */
		if (send->request.deadline_ns > redis->now_ns) {
			if (send->request.deadline_ns < redis->sends_ns)
				redis->sends_ns = send->request.deadline_ns;
			continue;
		}
		void (*done)(void *ctx, near_status status, const near__reply *reply) = send->done;
		send_unlink(redis, send);
		send->done = NULL;
		near__count(redis->config.stats, NEAR__STAT_timeouts);
		near__breaker_fail(redis, near__self());
		done(send->ctx, NEAR_E_TIMEOUT, NULL);
	}
}

/* --- the data connection */

static void data_opened(near__conn *conn)
{
	near__redis *redis = conn->redis;
	redis->greeted = true;
	redis->sub.attempts = 0;
	redis->sub.retry_ns = redis->now_ns;
	if (redis->config.on.greet != NULL)
		redis->config.on.greet(redis->config.on.ctx, conn->run_id);
	else
		near__redis_ready(redis);
}

static void data_stray(near__conn *conn, near__reply *reply)
{
	size_t size;
	const char *text = near__reply_bytes(reply, &size);
	if (text != NULL)
		near__conn_doom(conn, "Redis sent an answer without a question: %.*s", (int)(size < 100 ? size : 100),
		                text);
	else
		near__conn_doom(conn, "Redis sent an answer without a question");
	near__reply_free(reply);
}

void near__redis_ready(near__redis *redis)
{
	NEAR_ASSERT(near__io_is_self(redis));
	if (!redis->greeted || redis->data.doomed)
		return; /* lost while the owner was getting ready */
	if (redis->was_up)
		near__count(redis->config.stats, NEAR__STAT_reconnects);
	redis->was_up = true;
	near__gate_open(redis);
	near__log_write(&redis->config.log, NEAR_LOG_INFO, "connected to Redis, run_id %s", redis->data.run_id);
}

void near__redis_reject(near__redis *redis, const char *why)
{
	NEAR_ASSERT(near__io_is_self(redis));
	near__conn_doom(&redis->data, "%s", why);
}

/* Closes the data connection, and the subscription with it: who answers next time may be another server. */
static void data_lost(near__redis *redis)
{
	near__conn *conn = &redis->data;
	const near__redis_handlers *on = &redis->config.on;
	bool told = redis->greeted;
	char why[sizeof(conn->why)], url[512];
	memcpy(why, conn->why, sizeof(why));
	near__url_show(&redis->config.url, url, sizeof(url));
	near__gate_shut(redis);
	redis->greeted = false;
	near__redis_trouble(redis, told || conn->attempts <= 1 ? NEAR_LOG_WARN : NEAR_LOG_DEBUG, "%.60s: %s", url, why);
	near__breaker_fail(redis, near__self());
	if (told && on->lost != NULL)
		on->lost(on->ctx, why);
	near__conn_close(conn, NEAR_E_UNAVAILABLE);
	near__conn_back_off(conn);
	near__conn_doom(&redis->sub, "the data connection is gone");
}

/* --- the round */

static void conn_timers(near__conn *conn, bool wanted, const near__conn *peer)
{
	near__redis *redis = conn->redis;
	if (conn->state == NEAR__CONN_CLOSED) {
		if (wanted && redis->now_ns >= conn->retry_ns)
			near__conn_open(conn, peer);
		return;
	}
	if (redis->now_ns >= conn->deadline_ns)
		near__conn_doom(conn, "no answer within %u ms", (unsigned)redis->config.connect_ms);
	if (conn->state == NEAR__CONN_OPEN && redis->now_ns >= near__conn_suspect_ns(conn))
		near__conn_doom(conn, "no answer for so long that the connection must be dead");
}

static bool sub_wanted(const near__redis *redis)
{
	return redis->config.channel_count > 0 && redis->data.state == NEAR__CONN_OPEN && !redis->data.doomed;
}

static void timers(near__redis *redis)
{
	conn_timers(&redis->data, true, NULL);
	conn_timers(&redis->sub, sub_wanted(redis), &redis->data);
	sends_expire(redis);
	near__breaker_probe(redis);
}

static int64_t conn_next_ns(const near__conn *conn, bool wanted)
{
	if (conn->doomed)
		return 0;
	if (conn->state == NEAR__CONN_CLOSED)
		return wanted ? conn->retry_ns : INT64_MAX;
	int64_t suspect_ns = conn->state == NEAR__CONN_OPEN ? near__conn_suspect_ns(conn) : INT64_MAX;
	return conn->deadline_ns < suspect_ns ? conn->deadline_ns : suspect_ns;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Milliseconds until something is to be done without being asked. */
static int patience_ms(const near__redis *redis)
{
	if (redis->dead.head != NULL)
		return 0;
	int64_t next_ns = redis->tick_ns;
	next_ns = earlier(next_ns, conn_next_ns(&redis->data, true));
	next_ns = earlier(next_ns, conn_next_ns(&redis->sub, sub_wanted(redis)));
	next_ns = earlier(next_ns, redis->sends_ns);
	if (redis->probe_ns != 0)
		next_ns = earlier(next_ns, redis->probe_ns);
	int64_t left_ns = next_ns - near__now_ns();
	if (left_ns <= 0)
		return 0;
	int64_t left_ms = (left_ns + NEAR__MS_NS - 1) / NEAR__MS_NS;
	return left_ms > 60000 ? 60000 : (int)left_ms;
}

/* Sends what came through the inbox, or puts it with the dead when nobody is there to send it to. */
static void accept_all(near__redis *redis, near__request *oldest)
{
	bool up = redis->data.state == NEAR__CONN_OPEN && !redis->data.doomed && redis->greeted &&
	          atomic_load_explicit(&redis->gate, memory_order_relaxed) != NEAR__GATE_DOWN;
	near__request *next;
	for (near__request *request = oldest; request != NULL; request = next) {
		next = request->next;
		if (request->wire == NULL)
			request->end(redis, request, NEAR_OK, NULL);
		else if (request->is_void != NULL && request->is_void(request))
			request->end(redis, request, NEAR_E_TIMEOUT, NULL);
		else if (up)
			near__conn_send(&redis->data, request);
		else
			near__list_append(&redis->dead, request);
	}
}

/* Ends those that were dead before this call; their ends may add more. */
static void bury(near__redis *redis)
{
	near__request_list dead = redis->dead;
	near__request *request;
	redis->dead = (near__request_list){ NULL, NULL };
	while ((request = near__list_take(&dead)) != NULL)
		request->end(redis, request, NEAR_E_UNAVAILABLE, NULL);
}

static void tick(near__redis *redis, bool anything)
{
	const near__redis_handlers *on = &redis->config.on;
	if (!anything && redis->now_ns < redis->tick_ns)
		return;
	if (redis->now_ns >= redis->tick_ns)
		redis->tick_ns = redis->now_ns + (int64_t)redis->config.tick_ms * NEAR__MS_NS;
	if (on->tick != NULL)
		on->tick(on->ctx, redis->now_ns);
}

/* Wakes the workers whose calls have ended. */
static void wake_due(near__redis *redis)
{
	while (redis->due != 0) {
		near__turn *turn = &redis->turns[__builtin_ctz(redis->due)];
		redis->due &= redis->due - 1;
		/* REDIS-TURN, release: pairs with batch_wait. The ends came before. */
		atomic_fetch_add_explicit(&turn->word, 1, memory_order_release);
		near__wake_all(&turn->word);
	}
}

/* What workers have asked since the last time; their turn is over. */
static near__request *take_inbox(near__redis *redis)
{
	near__request *oldest = near__inbox_take(&redis->inbox);
	if (oldest != NULL) /* relaxed: a hint, see run_part */
		atomic_store_explicit(&redis->turn, atomic_load_explicit(&redis->turn, memory_order_relaxed) + 1,
		                      memory_order_relaxed);
	return oldest;
}

static void io_round(near__redis *redis)
{
	struct epoll_event events[4];
	int wait_ms = patience_ms(redis);
	if (wait_ms > 0 && !near__inbox_sleep(&redis->inbox))
		wait_ms = 0;
	int count = epoll_wait(redis->epoll, events, 4, wait_ms);
	near__request *oldest = take_inbox(redis);
	redis->now_ns = near__now_ns();
	for (int i = 0; i < count; i++)
		if (events[i].data.ptr != NULL) /* NULL: the bell, which has done its work by waking us */
			near__conn_event(events[i].data.ptr, events[i].events);
	wake_due(redis); /* they may run while we go on */
	accept_all(redis, oldest);
	timers(redis);
	bury(redis);
	tick(redis, count > 0 || oldest != NULL);
	if (redis->data.doomed)
		data_lost(redis);
	if (redis->sub.doomed)
		near__sub_lost(redis);
	near__conn_flush(&redis->data);
	near__conn_flush(&redis->sub);
	wake_due(redis);
}

/* Ends everything with NEAR_E_UNAVAILABLE and stays until the last caller has left. */
static void io_stop(near__redis *redis)
{
	near__gate_shut(redis);
	redis->greeted = false;
	near__conn_close(&redis->data, NEAR_E_UNAVAILABLE);
	near__conn_close(&redis->sub, NEAR_E_UNAVAILABLE);
	for (;;) {
		/* REDIS-CLOSE, seq_cst: pairs with caller_enter (the load of `stopping` after adding oneself). Either
		 * the caller saw `stopping` and pushes nothing, or we see the caller here, stay, and take what it
		 * pushes. Read before the inbox is taken: who leaves has pushed before. */
		bool anybody = atomic_load_explicit(&redis->callers, memory_order_seq_cst) != 0;
		near__request *oldest = near__inbox_take(&redis->inbox);
		bool anything = oldest != NULL || redis->dead.head != NULL;
		redis->now_ns = near__now_ns();
		accept_all(redis, oldest);
		bury(redis);
		wake_due(redis);
		near__wake_all(&redis->gate); /* those in near__redis_wait_up */
		if (!anybody && !anything)
			return;
		if (!anything)
			(void)usleep(200);
	}
}

void *near__io_run(void *arg)
{
	near__redis *redis = arg;
	io_self = redis;
	redis->data.opened = data_opened;
	redis->data.stray = data_stray;
	redis->sub.opened = near__sub_opened;
	redis->sub.stray = near__sub_stray;
	redis->now_ns = near__now_ns();
	redis->tick_ns = redis->now_ns;
	redis->sends_ns = INT64_MAX;
	near__random_bytes(&redis->random, sizeof(redis->random));
	/* REDIS-CLOSE, acquire: pairs with near__redis_close. */
	while (atomic_load_explicit(&redis->stopping, memory_order_acquire) == 0)
		io_round(redis);
	io_stop(redis);
	return NULL;
}
