/* What workers see of Redis: open, close, call, post.
 *
 *   batch   one block: [head | call 0 | call 1 ... | their commands in RESP ]
 *           refs: the worker's and the I/O thread's; whoever lets go last frees it
 *           left: calls not ended yet, and whether the worker sleeps
 *   call    WAITING --the I/O thread: answer, loss--> DONE        the worker takes status and reply
 *              '-----the worker: deadline passed----> LEFT        the I/O thread throws the reply away
 *
 * A call costs one block, one addition to `load` (the bound on what waits), one CAS on the inbox and, where the I/O
 * thread sleeps, one eventfd write; coming back, a share of the futex wake of its turn (room.h).
 *
 * Spinning before the futex was measured on 2 cores and is not done: the I/O thread, Redis and the worker share them,
 * so a spinning worker takes the time that its own answer needs.
 */
#include "redis/room.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/clock.h"
#include "sync/wake.h"

#define LEFT_ASLEEP (UINT32_C(1) << 31)
#define LEFT_COUNT (LEFT_ASLEEP - 1)

enum { CALL_WAITING, CALL_DONE, CALL_LEFT };

typedef struct batch batch;

typedef struct call {
	near__request request;
	batch *batch;
	_Atomic(uint32_t) state;
	near_status status; /* of DONE */
	near__reply *reply;
} call;

struct batch {
	_Atomic(uint32_t) left;
	_Atomic(uint32_t) refs;
	uint64_t load; /* given back as a whole */
	uint32_t turn; /* which of redis->turns its worker sleeps on */
	call calls[];
};

/* --- callers inside */

/* False: closing, nothing may be pushed. Else caller_leave must follow, after which `redis` is not touched. */
static bool caller_enter(near__redis *redis)
{
	/* REDIS-CLOSE, seq_cst: pairs with io_stop. See there. */
	atomic_fetch_add_explicit(&redis->callers, 1, memory_order_seq_cst);
	if (NEAR_LIKELY(atomic_load_explicit(&redis->stopping, memory_order_seq_cst) == 0))
		return true;
	atomic_fetch_sub_explicit(&redis->callers, 1, memory_order_release);
	return false;
}

static void caller_leave(near__redis *redis)
{
	/* REDIS-CLOSE, release: pairs with io_stop: all we did with `redis` is over. */
	atomic_fetch_sub_explicit(&redis->callers, 1, memory_order_release);
}

/* --- the bound */

static uint64_t load_of(uint64_t count, uint64_t bytes)
{
	return (count << NEAR__LOAD_SHIFT) + bytes;
}

static bool load_add(near__redis *redis, uint64_t count, uint64_t bytes)
{
	/* relaxed: a bound, it orders nothing. */
	uint64_t before = atomic_load_explicit(&redis->load, memory_order_relaxed);
	do { /* lock-free: a CAS that fails is another's that did not */
		uint64_t requests = before >> NEAR__LOAD_SHIFT;
		uint64_t waiting = before & ((UINT64_C(1) << NEAR__LOAD_SHIFT) - 1);
		if (requests + count > redis->config.pipeline_max)
			return false;
		if (before != 0 && waiting + bytes > NEAR__LOAD_BYTES_MAX)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&redis->load, &before, before + load_of(count, bytes),
	                                                memory_order_relaxed, memory_order_relaxed));
	return true;
}

static void load_release(near__redis *redis, uint64_t load)
{
	atomic_fetch_sub_explicit(&redis->load, load, memory_order_relaxed); /* relaxed: as above */
}

/* --- calls: the I/O thread's side */

static void batch_release(batch *b)
{
	/* REDIS-BATCH, acq_rel: pairs with itself: the last one sees all that the other did with the block. */
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		free(b);
}

static void call_end(near__redis *redis, near__request *request, near_status status, near__reply *reply)
{
	call *c = (call *)request;
	batch *b = c->batch;
	near__verdict verdict = near__breaker_judge(reply);
	c->status = status;
	c->reply = reply;
	uint32_t state = CALL_WAITING;
	/* REDIS-CALL, release: pairs with call_collect. Status and reply are there before DONE. */
	if (atomic_compare_exchange_strong_explicit(&c->state, &state, CALL_DONE, memory_order_release,
	                                            memory_order_relaxed)) {
		if (status == NEAR_OK)
			near__breaker_answer(redis, verdict);
	} else {
		near__reply_free(reply);
	}
	/* The load goes back before the worker comes back, so that it finds room for its next call. relaxed: only this
	 * thread counts `left` down. */
	if ((atomic_load_explicit(&b->left, memory_order_relaxed) & LEFT_COUNT) == 1)
		load_release(redis, b->load);
	/* REDIS-LEFT, acq_rel: pairs with batch_wait, both ways: it sees the ends, or we see that it sleeps. */
	uint32_t left = atomic_fetch_sub_explicit(&b->left, 1, memory_order_acq_rel);
	NEAR_DEBUG_ASSERT((left & LEFT_COUNT) > 0);
	if ((left & LEFT_COUNT) != 1)
		return;
	if ((left & LEFT_ASLEEP) != 0)
		redis->due |= UINT32_C(1) << b->turn;
	batch_release(b);
}

static bool call_is_void(const near__request *request)
{
	/* relaxed: whether it is sent or not does not matter to who has left. */
	return atomic_load_explicit(&((const call *)request)->state, memory_order_relaxed) == CALL_LEFT;
}

/* --- calls: the worker's side */

static batch *batch_make(const near__command *commands, size_t count, int64_t deadline_ns, size_t *bytes)
{
	size_t head = sizeof(batch) + count * sizeof(call), wire_size = 0;
	for (size_t i = 0; i < count; i++)
		wire_size += near__wire_size(&commands[i]);
	batch *b = malloc(head + wire_size);
	if (b == NULL)
		return NULL;
	char *wire = (char *)b + head;
	atomic_init(&b->left, (uint32_t)count);
	atomic_init(&b->refs, 2);
	for (size_t i = 0; i < count; i++) {
		call *c = &b->calls[i];
		char *end = near__wire_write(&commands[i], wire);
		c->request = (near__request){ .next = i > 0 ? &b->calls[i - 1].request : NULL,
			                      .wire = wire,
			                      .wire_size = (size_t)(end - wire),
			                      .deadline_ns = deadline_ns,
			                      .end = call_end,
			                      .is_void = call_is_void };
		c->batch = b;
		c->reply = NULL;
		c->status = NEAR_E_TIMEOUT;
		atomic_init(&c->state, CALL_WAITING);
		wire = end;
	}
	b->load = load_of(count, wire_size);
	*bytes = wire_size;
	return b;
}

/* Until all calls are done or the deadline has passed.
 * No wake is lost: had `seen` been read after the change that is meant for us, REDIS-TURN would have shown us that none
 * is left. So the change is still to come, and it does come, because who ends the last call sees LEFT_ASLEEP; and it
 * ends the sleep, because the word is no longer `seen`. */
static void batch_wait(near__redis *redis, batch *b, int64_t deadline_ns)
{
	_Atomic(uint32_t) *word = &redis->turns[b->turn].word;
	for (;;) { /* ends: at the deadline at the latest */
		/* REDIS-TURN, acquire: pairs with wake_due. */
		uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
		/* REDIS-LEFT, acq_rel: pairs with call_end. */
		uint32_t left = atomic_fetch_or_explicit(&b->left, LEFT_ASLEEP, memory_order_acq_rel);
		if ((left & LEFT_COUNT) == 0 || !near__wait(word, seen, deadline_ns))
			return;
	}
}

/* Takes what has come; leaves the rest. True: all has come. */
static bool batch_collect(batch *b, size_t count, near_status *statuses, near__reply **replies)
{
	bool all = true;
	for (size_t i = 0; i < count; i++) {
		call *c = &b->calls[i];
		uint32_t state = CALL_WAITING;
		/* REDIS-CALL, acquire: pairs with call_end. */
		if (atomic_compare_exchange_strong_explicit(&c->state, &state, CALL_LEFT, memory_order_acquire,
		                                            memory_order_acquire)) {
			statuses[i] = NEAR_E_TIMEOUT;
			replies[i] = NULL;
			all = false;
		} else {
			statuses[i] = c->status;
			replies[i] = c->reply;
		}
	}
	return all;
}

static void refuse_all(size_t count, near_status status, near_status *statuses, near__reply **replies)
{
	for (size_t i = 0; i < count; i++) {
		statuses[i] = status;
		replies[i] = NULL;
	}
}

static void count_timeouts(near__redis *redis, size_t count, const near_status *statuses)
{
	near__thread *self = near__self();
	uint64_t late = 0;
	for (size_t i = 0; i < count; i++)
		late += statuses[i] == NEAR_E_TIMEOUT;
	near__count_by(redis->config.stats, self, NEAR__STAT_timeouts, late);
	near__breaker_fail(redis, self); /* once: one wait, one failure */
}

/* A part that fits into the pipeline. Returns what went wrong with all of it, or NEAR_OK. */
static near_status run_part(near__redis *redis, const near__command *commands, size_t count, int64_t deadline_ns,
                            near_status *statuses, near__reply **replies)
{
	int64_t start_ns = near__now_ns();
	size_t bytes;
	/* relaxed: a hint; a request that arrives behind a shut gate is ended there. */
	if (atomic_load_explicit(&redis->gate, memory_order_relaxed) != NEAR__GATE_UP)
		return NEAR_E_UNAVAILABLE;
	if (start_ns >= deadline_ns) {
		near__count_by(redis->config.stats, near__self(), NEAR__STAT_timeouts, count);
		return NEAR_E_TIMEOUT;
	}
	batch *b = batch_make(commands, count, deadline_ns, &bytes);
	if (b == NULL)
		return NEAR_E_NOMEM;
	if (!load_add(redis, count, bytes)) {
		free(b);
		near__count_by(redis->config.stats, near__self(), NEAR__STAT_busy, count);
		return NEAR_E_BUSY;
	}
	/* relaxed: any turn will do, the present one is best. */
	b->turn = atomic_load_explicit(&redis->turn, memory_order_relaxed) % NEAR__TURNS;
	if (near__inbox_push(&redis->inbox, &b->calls[count - 1].request, &b->calls[0].request))
		near__io_ring(redis);
	batch_wait(redis, b, deadline_ns);
	if (batch_collect(b, count, statuses, replies))
		near__histogram_add(redis->config.stats->latency[NEAR_LATENCY_L2],
		                    (uint64_t)(near__now_ns() - start_ns));
	else
		count_timeouts(redis, count, statuses);
	batch_release(b);
	return NEAR_OK;
}

void near__redis_call_many(near__redis *redis, const near__command *commands, size_t count, int64_t deadline_ns,
                           near_status *statuses, near__reply **replies)
{
	NEAR_ASSERT(!near__io_is_self(redis)); /* it would wait for itself */
	if (!caller_enter(redis)) {
		refuse_all(count, NEAR_E_UNAVAILABLE, statuses, replies);
		return;
	}
	size_t most = (size_t)(redis->config.pipeline_max + 1) / 2; /* so that one caller alone never finds it full */
	for (size_t done = 0; done < count;) {
		size_t part = count - done < most ? count - done : most;
		near_status status =
			run_part(redis, commands + done, part, deadline_ns, statuses + done, replies + done);
		if (status != NEAR_OK)
			refuse_all(part, status, statuses + done, replies + done);
		done += part;
	}
	caller_leave(redis);
}

near_status near__redis_call(near__redis *redis, const near__command *command, int64_t deadline_ns, near__reply **reply)
{
	near_status status;
	near__reply *answer;
	near__redis_call_many(redis, command, 1, deadline_ns, &status, &answer);
	if (status == NEAR_OK)
		*reply = answer;
	return status;
}

/* --- posts */

typedef struct post {
	near__request request;
	void (*run)(void *ctx);
	void *ctx;
} post;

static void post_end(near__redis *redis, near__request *request, near_status status, near__reply *reply)
{
	post *p = (post *)request;
	(void)status;
	(void)reply;
	load_release(redis, load_of(1, 0));
	p->run(p->ctx);
	free(p);
}

near_status near__redis_post(near__redis *redis, void (*run)(void *ctx), void *ctx)
{
	near_status status = NEAR_OK;
	if (!caller_enter(redis))
		return NEAR_E_UNAVAILABLE;
	post *p = malloc(sizeof(*p));
	if (p == NULL) {
		status = NEAR_E_NOMEM;
	} else if (!load_add(redis, 1, 0)) {
		free(p);
		near__count(redis->config.stats, NEAR__STAT_busy);
		status = NEAR_E_BUSY;
	} else {
		*p = (post){ .request = { .end = post_end }, .run = run, .ctx = ctx };
		if (near__inbox_push(&redis->inbox, &p->request, &p->request))
			near__io_ring(redis);
	}
	caller_leave(redis);
	return status;
}

/* --- seeing */

bool near__redis_is_up(const near__redis *redis)
{
	/* REDIS-GATE, acquire: pairs with near__gate_open. */
	return atomic_load_explicit(&redis->gate, memory_order_acquire) == NEAR__GATE_UP;
}

near_status near__redis_wait_up(near__redis *redis, int64_t deadline_ns)
{
	near_status status = NEAR_E_UNAVAILABLE;
	if (!caller_enter(redis))
		return status;
	while (atomic_load_explicit(&redis->stopping, memory_order_acquire) == 0) { /* ends at the deadline */
		/* REDIS-GATE, acquire: pairs with near__gate_open. */
		uint32_t gate = atomic_load_explicit(&redis->gate, memory_order_acquire);
		status = gate == NEAR__GATE_UP ? NEAR_OK : NEAR_E_TIMEOUT;
		if (status == NEAR_OK || !near__wait(&redis->gate, gate, deadline_ns))
			break;
		status = NEAR_E_UNAVAILABLE;
	}
	caller_leave(redis);
	return status;
}

size_t near__redis_last_error(near__redis *redis, char *buf, size_t buf_size)
{
	(void)pthread_mutex_lock(&redis->error_lock);
	size_t size = strlen(redis->error);
	if (buf_size > 0) {
		size_t n = size < buf_size ? size : buf_size - 1;
		memcpy(buf, redis->error, n);
		buf[n] = '\0';
	}
	(void)pthread_mutex_unlock(&redis->error_lock);
	return size;
}

/* --- open and close */

static uint64_t or_else(uint64_t value, uint64_t otherwise)
{
	return value != 0 ? value : otherwise;
}

/* Copies channels and thread name, so that the caller may free his. */
static bool copy_config(near__redis *redis, const near__redis_config *config)
{
	near__redis_config *own = &redis->config;
	*own = *config;
	own->connect_ms = or_else(config->connect_ms, 1000);
	own->pipeline_max = or_else(config->pipeline_max, 4096);
	own->breaker_failures = or_else(config->breaker_failures, 5);
	own->backoff_max_ms = or_else(config->backoff_max_ms, 1000);
	own->command_ms_max = or_else(config->command_ms_max, 1000);
	own->reply_bytes_max = or_else(config->reply_bytes_max, NEAR__REPLY_BYTES_MAX);
	own->tick_ms = or_else(config->tick_ms, 100);
	own->thread_name = strdup(config->thread_name != NULL ? config->thread_name : "near");
	char **channels = calloc(config->channel_count + 1, sizeof(*channels));
	own->channels = (const char *const *)channels;
	bool good = own->thread_name != NULL && channels != NULL;
	for (size_t i = 0; good && i < config->channel_count; i++)
		good = (channels[i] = strdup(config->channels[i])) != NULL;
	return good;
}

static void destroy(near__redis *redis)
{
	if (redis->config.channels != NULL)
		for (size_t i = 0; i < redis->config.channel_count; i++)
			free((void *)(uintptr_t)redis->config.channels[i]);
	free((void *)(uintptr_t)redis->config.channels);
	free((void *)(uintptr_t)redis->config.thread_name);
	free(redis->chunk);
	if (redis->epoll >= 0)
		(void)close(redis->epoll);
	if (redis->bell >= 0)
		(void)close(redis->bell);
	(void)pthread_mutex_destroy(&redis->error_lock);
	free(redis);
}

static void conn_init(near__conn *conn, near__redis *redis, const char *name)
{
	conn->redis = redis;
	conn->name = name;
	conn->fd = -1;
	conn->deadline_ns = INT64_MAX;
}

static near_status open_files(near__redis *redis)
{
	redis->epoll = epoll_create1(EPOLL_CLOEXEC);
	redis->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };
	if (redis->epoll < 0 || redis->bell < 0 || epoll_ctl(redis->epoll, EPOLL_CTL_ADD, redis->bell, &event) != 0)
		return NEAR_E_SYSTEM;
	return NEAR_OK;
}

/* The I/O thread takes no signals: they are the program's. */
static near_status start_thread(near__redis *redis)
{
	sigset_t all, before;
	char name[16];
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = pthread_create(&redis->thread, NULL, near__io_run, redis);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed != 0)
		return NEAR_E_SYSTEM;
	(void)snprintf(name, sizeof(name), "%.12s-io", redis->config.thread_name);
	(void)pthread_setname_np(redis->thread, name);
	return NEAR_OK;
}

near_status near__redis_open(const near__redis_config *config, near__redis **out)
{
	near__redis *redis = NULL;
	NEAR_ASSERT(config->stats != NULL);
	if (posix_memalign((void **)&redis, NEAR_LINE, sizeof(*redis)) != 0)
		return NEAR_E_NOMEM;
	memset(redis, 0, sizeof(*redis));
	redis->epoll = redis->bell = -1;
	(void)pthread_mutex_init(&redis->error_lock, NULL);
	conn_init(&redis->data, redis, "data");
	conn_init(&redis->sub, redis, "subscription");
	near_status status = NEAR_E_NOMEM;
	redis->chunk = malloc(NEAR__CHUNK_SIZE);
	if (!copy_config(redis, config) || redis->chunk == NULL)
		goto fail;
	if ((status = open_files(redis)) != NEAR_OK)
		goto fail;
	*out = redis; /* before the first handler runs, which may want to send */
	if ((status = start_thread(redis)) != NEAR_OK)
		goto fail;
	return NEAR_OK;
fail:
	*out = NULL;
	destroy(redis);
	return status;
}

void near__redis_close(near__redis *redis)
{
	if (redis == NULL)
		return;
	NEAR_ASSERT(!near__io_is_self(redis));
	/* REDIS-CLOSE, seq_cst: pairs with caller_enter and io_stop. */
	atomic_store_explicit(&redis->stopping, 1, memory_order_seq_cst);
	near__io_ring(redis);
	(void)pthread_join(redis->thread, NULL);
	destroy(redis);
}
