/* What the files of this room share: the state behind near__redis.
 *
 *   line 1  read by every call, written when the connection comes or goes
 *   line 2  the inbox, written by every call and taken by the I/O thread
 *   line 3  what waits for Redis, the callers inside
 *   line 4  the number of the turn, read by every call; then the words on which callers sleep, a line each
 *   rest    the I/O thread's alone
 */
#ifndef NEAR_REDIS_ROOM_H
#define NEAR_REDIS_ROOM_H

#include <pthread.h>
#include "redis/conn.h"

/* May workers ask? Also the futex word of near__redis_wait_up. */
typedef enum near__gate {
	NEAR__GATE_DOWN = 0, /* no connection, or not greeted yet */
	NEAR__GATE_UP = 1,
	NEAR__GATE_TRIPPED = 2 /* greeted, but the breaker is open */
} near__gate;

/* near__redis `load`: requests << NEAR__LOAD_SHIFT | bytes, of what workers have given and Redis has not answered. */
#define NEAR__LOAD_SHIFT 40
/* A single request may be larger; then it goes alone. */
#define NEAR__LOAD_BYTES_MAX (UINT64_C(256) << 20)

/* Where workers sleep. Those who ask in the same turn (between two takes of the inbox) sleep on the same word: their
 * commands go out in one write, the answers mostly come in one read, and one system call wakes them all. One that is
 * woken too early looks and sleeps on. Measured with 16 threads on 2 cores, against a word per call: 31 % less CPU per
 * call. */
#define NEAR__TURNS 16
typedef struct near__turn {
	NEAR_ALIGNED_LINE _Atomic(uint32_t) word; /* changes with each wake */
} near__turn;

/* What one recv takes at most. */
#define NEAR__CHUNK_SIZE ((size_t)256 << 10)

static_assert(NEAR__TURNS <= 32, "`due` has a bit for each");

typedef struct near__send near__send;

struct near__redis {
	_Atomic(uint32_t) gate;
	_Atomic(uint32_t) stopping;
	near__redis_config config; /* channels and thread name are copies of our own */
	int bell;                  /* eventfd, edge-triggered: never read */

	near__inbox inbox;

	NEAR_ALIGNED_LINE _Atomic(uint64_t) load;
	_Atomic(uint32_t) callers;  /* threads inside near__redis_call, _call_many, _post */
	_Atomic(uint32_t) failures; /* in a row */

	NEAR_ALIGNED_LINE _Atomic(uint32_t) turn; /* only ever grows */
	near__turn turns[NEAR__TURNS];

	/* --- the I/O thread's */
	NEAR_ALIGNED_LINE near__conn data;
	near__conn sub;
	int epoll;
	char *chunk; /* NEAR__CHUNK_SIZE bytes to receive into */
	int64_t now_ns;
	int64_t tick_ns;       /* next tick */
	uint64_t random;
	uint32_t due;          /* turns with a sleeper to be woken, a bit each */
	near__request_list dead; /* to be ended with NEAR_E_UNAVAILABLE: never sent */
	near__send *sends;     /* the owner's commands, with their asker still waiting */
	int64_t sends_ns;      /* no deadline of theirs is earlier */
	bool greeted;          /* on.greet was called for this connection */
	bool was_up;           /* ever */
	bool subscribed;       /* on.subscribed was called for this subscription */
	bool was_subscribed;   /* ever */
	size_t confirmed;      /* channels */
	int64_t probe_ns;      /* TRIPPED: when to ask next; 0 none planned, INT64_MAX one is on its way */
	unsigned probes;

	pthread_t thread;
	pthread_mutex_t error_lock; /* off the fast path: held for a copy of a short text */
	char error[256];
};

/* The I/O thread's body. */
void *near__io_run(void *redis);
bool near__io_is_self(const near__redis *redis);
void near__io_ring(near__redis *redis);

/* Breaker. A failure: a connect that failed, a connection lost, a deadline passed, an error that says the server cannot
 * serve. Any thread. */
void near__breaker_fail(near__redis *redis, near__thread *self);
/* What an answer says about the server: that it serves, that it cannot now (LOADING, MASTERDOWN), that it has forgotten
 * us (NOAUTH). */
typedef enum near__verdict { NEAR__SERVES, NEAR__CANNOT, NEAR__FORGOT } near__verdict;
near__verdict near__breaker_judge(const near__reply *reply);
/* An answer came in time. I/O thread. */
void near__breaker_answer(near__redis *redis, near__verdict verdict);
/* Opens the gate and closes the breaker; shuts the gate. I/O thread. */
void near__gate_open(near__redis *redis);
void near__gate_shut(near__redis *redis);
/* Plans and sends probes while TRIPPED. I/O thread. */
void near__breaker_probe(near__redis *redis);

/* Subscription. */
void near__sub_opened(near__conn *conn);
void near__sub_stray(near__conn *conn, near__reply *reply);
void near__sub_lost(near__redis *redis);

/* Keeps words for near__redis_last_error and logs them. */
void near__redis_trouble(near__redis *redis, near_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
