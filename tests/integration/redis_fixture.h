/* What the tests of the redis room share: an owner that records what it is told, and short ways to ask.
 *
 * Every wait here polls for a state until a deadline; nothing sleeps to let something happen. */
#ifndef NEAR_TESTS_REDIS_FIXTURE_H
#define NEAR_TESTS_REDIS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "redis/redis.h"
#include "support/redis_server.h"

#define UNUSED __attribute__((unused))
#define SECONDS(n) (near__now_ns() + (int64_t)(n)*1000 * NEAR__MS_NS)
#define MILLIS(n) (near__now_ns() + (int64_t)(n)*NEAR__MS_NS)

/* The owner. Counters are read by the test's thread. */
typedef struct owner {
	near__redis *redis;
	near__stats *stats;
	_Atomic(unsigned) greets, losses, subscribed, unsubscribed, messages, pongs, ticks;
	_Atomic(bool) ping; /* the next tick pings the subscription */
	_Atomic(bool) hold; /* greet does not become ready */
	pthread_mutex_t lock; /* what follows */
	char run_id[41], why[256];
	char channel[256], message[1 << 16];
	size_t channel_size, message_size;
} owner;

static inline void owner_greet(void *ctx, const char *run_id)
{
	owner *o = ctx;
	(void)pthread_mutex_lock(&o->lock);
	(void)snprintf(o->run_id, sizeof(o->run_id), "%s", run_id);
	(void)pthread_mutex_unlock(&o->lock);
	atomic_fetch_add(&o->greets, 1);
	if (!atomic_load(&o->hold))
		near__redis_ready(o->redis);
}

static inline void owner_why(owner *o, const char *why)
{
	(void)pthread_mutex_lock(&o->lock);
	(void)snprintf(o->why, sizeof(o->why), "%s", why);
	(void)pthread_mutex_unlock(&o->lock);
}

static inline void owner_lost(void *ctx, const char *why)
{
	owner *o = ctx;
	owner_why(o, why);
	atomic_fetch_add(&o->losses, 1);
}

static inline void owner_subscribed(void *ctx)
{
	atomic_fetch_add(&((owner *)ctx)->subscribed, 1);
}

static inline void owner_unsubscribed(void *ctx, const char *why)
{
	(void)why;
	atomic_fetch_add(&((owner *)ctx)->unsubscribed, 1);
}

static inline void owner_message(void *ctx, const char *channel, size_t channel_size, const char *bytes, size_t size)
{
	owner *o = ctx;
	(void)pthread_mutex_lock(&o->lock);
	o->channel_size = channel_size < sizeof(o->channel) ? channel_size : sizeof(o->channel);
	memcpy(o->channel, channel, o->channel_size);
	o->message_size = size < sizeof(o->message) ? size : sizeof(o->message);
	memcpy(o->message, bytes, o->message_size);
	(void)pthread_mutex_unlock(&o->lock);
	atomic_fetch_add(&o->messages, 1);
}

static inline void owner_pong(void *ctx)
{
	atomic_fetch_add(&((owner *)ctx)->pongs, 1);
}

static inline void owner_tick(void *ctx, int64_t now_ns)
{
	owner *o = ctx;
	(void)now_ns;
	atomic_fetch_add(&o->ticks, 1);
	if (atomic_exchange(&o->ping, false))
		near__redis_sub_ping(o->redis);
}

/* Fills in what a test did not set and opens. The URL comes from `url`. */
static UNUSED owner *owner_open_with(const char *url, near__redis_config config)
{
	near_error error;
	owner *o = calloc(1, sizeof(*o));
	assert_non_null(o);
	(void)pthread_mutex_init(&o->lock, NULL);
	assert_int_equal(near__stats_create(&o->stats), NEAR_OK);
	assert_int_equal(near__url_parse(url, &config.url, &error), NEAR_OK);
	config.stats = o->stats;
	config.thread_name = "test";
	if (config.tick_ms == 0)
		config.tick_ms = 5;
	if (config.backoff_max_ms == 0)
		config.backoff_max_ms = 200;
	config.on = (near__redis_handlers){ .ctx = o,
		                            .greet = owner_greet,
		                            .lost = owner_lost,
		                            .subscribed = owner_subscribed,
		                            .unsubscribed = owner_unsubscribed,
		                            .message = owner_message,
		                            .pong = owner_pong,
		                            .tick = owner_tick };
	assert_int_equal(near__redis_open(&config, &o->redis), NEAR_OK);
	return o;
}

static UNUSED owner *owner_open(const char *url)
{
	return owner_open_with(url, (near__redis_config){ 0 });
}

static UNUSED void owner_close(owner *o)
{
	near__redis_close(o->redis);
	near__stats_free(o->stats);
	(void)pthread_mutex_destroy(&o->lock);
	free(o);
}

static UNUSED void owner_wait_up(owner *o)
{
	assert_int_equal(near__redis_wait_up(o->redis, SECONDS(10)), NEAR_OK);
}

/* Polls until *counter is at least `least`. */
static UNUSED void wait_count(_Atomic(unsigned) *counter, unsigned least)
{
	int64_t deadline_ns = SECONDS(10);
	while (atomic_load(counter) < least) {
		assert_true(near__now_ns() < deadline_ns);
		(void)usleep(1000);
	}
}

static UNUSED void wait_last_error(owner *o, const char *part)
{
	char text[256] = "";
	int64_t deadline_ns = SECONDS(10);
	for (;;) {
		(void)near__redis_last_error(o->redis, text, sizeof(text));
		if (strstr(text, part) != NULL)
			return;
		if (near__now_ns() > deadline_ns)
			fail_msg("the last error is \"%s\", without \"%s\"", text, part);
		(void)usleep(1000);
	}
}

/* Words as a command. */
#define WORDS_MAX 8
typedef struct sentence {
	const char *argv[WORDS_MAX];
	size_t sizes[WORDS_MAX];
	near__command command;
} sentence;
static UNUSED const near__command *sentence_of(sentence *w, const char *first, ...)
{
	va_list args;
	va_start(args, first);
	w->command = (near__command){ 0, w->argv, w->sizes };
	for (const char *word = first; word != NULL; word = va_arg(args, const char *)) {
		assert_true(w->command.argc < WORDS_MAX);
		w->argv[w->command.argc] = word;
		w->sizes[w->command.argc++] = strlen(word);
	}
	va_end(args);
	return &w->command;
}
#define WORDS(...) sentence_of(&(sentence){ 0 }, __VA_ARGS__, (const char *)NULL)

/* Asks, expects NEAR_OK. */
static UNUSED near__reply *ask(owner *o, const near__command *command)
{
	near__reply *reply = NULL;
	assert_int_equal(near__redis_call(o->redis, command, SECONDS(10), &reply), NEAR_OK);
	return reply;
}

/* Asks, expects a string or status with this text. */
static UNUSED void ask_text(owner *o, const near__command *command, const char *text)
{
	near__reply *reply = ask(o, command);
	size_t size;
	const char *bytes = near__reply_bytes(reply, &size);
	assert_non_null(bytes);
	assert_int_equal(size, strlen(text));
	assert_memory_equal(bytes, text, size);
	near__reply_free(reply);
}

static UNUSED uint64_t stat_of(owner *o, unsigned which)
{
	return near__stats_sum(o->stats, which);
}

#endif
