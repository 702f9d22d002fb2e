/* A peer: one instance of the coherence room as a process would have it, with its news written down. Several of them on
 * one Redis are several processes, as far as the protocol can tell. */
#ifndef NEAR_TESTS_COHERENCE_PEER_H
#define NEAR_TESTS_COHERENCE_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "coherence/coherence.h"
#include "l2/l2.h"
#include "support/redis_server.h"

#define PEER_PATIENCE_MS 10000 /* of anything that must happen */
#define PEER_DROPS 65536

typedef struct peer_drop {
	unsigned shard;
	near__change change;
	char key[48];
	size_t key_size;
	near__pos pos;
} peer_drop;

typedef struct peer {
	near__coherence *c;
	near__stats *stats;
	char prefix[NEAR__PREFIX_MAX];
	pthread_mutex_t lock; /* of what follows, written on the I/O thread */
	peer_drop *drops;
	size_t drop_count;
	unsigned filled, flushed, gaps, ups, downs;
	char last_filled[48];
} peer;

typedef struct peer_options {
	const char *url;        /* NULL: the server's socket */
	const char *name_space; /* NULL: "test" */
	unsigned shards;        /* 0: 4 */
	uint64_t lease_ms;      /* 0: 1000 */
	uint64_t log_max;       /* 0: 10000 */
	/* NULL: drops are written down */
	void (*drop)(void *ctx, unsigned shard, near__change change, const void *key, size_t key_size, near__pos pos);
} peer_options;

static inline int64_t peer_deadline(void)
{
	return near__now_ns() + PEER_PATIENCE_MS * NEAR__MS_NS;
}

/* Waits until `condition` holds; fails the test when it takes too long. */
#define PEER_UNTIL(condition) \
	do { \
		int64_t until_ns_ = peer_deadline(); \
		while (!(condition)) { \
			if (near__now_ns() > until_ns_) \
				fail_msg("waited in vain for: %s", #condition); \
			usleep(500); \
		} \
	} while (0)

static inline void peer_on_drop(void *ctx, unsigned shard, near__change change, const void *key, size_t key_size,
                                near__pos pos)
{
	peer *p = ctx;
	pthread_mutex_lock(&p->lock);
	if (p->drop_count < PEER_DROPS) {
		peer_drop *d = &p->drops[p->drop_count++];
		*d = (peer_drop){ .shard = shard, .change = change, .key_size = key_size, .pos = pos };
		memcpy(d->key, key, key_size < sizeof(d->key) ? key_size : sizeof(d->key));
	}
	pthread_mutex_unlock(&p->lock);
}

static inline void peer_count(peer *p, unsigned *what)
{
	pthread_mutex_lock(&p->lock);
	++*what;
	pthread_mutex_unlock(&p->lock);
}
static inline void peer_on_filled(void *ctx, unsigned shard, const void *key, size_t key_size)
{
	peer *p = ctx;
	(void)shard;
	peer_count(p, &p->filled);
	pthread_mutex_lock(&p->lock);
	(void)snprintf(p->last_filled, sizeof(p->last_filled), "%.*s", (int)key_size, (const char *)key);
	pthread_mutex_unlock(&p->lock);
}
static inline void peer_on_flushed(void *ctx, unsigned shard)
{
	(void)shard;
	peer_count(ctx, &((peer *)ctx)->flushed);
}
static inline void peer_on_gap(void *ctx, unsigned shard)
{
	(void)shard;
	peer_count(ctx, &((peer *)ctx)->gaps);
}
static inline void peer_on_up(void *ctx)
{
	peer_count(ctx, &((peer *)ctx)->ups);
}
static inline void peer_on_down(void *ctx, const char *why)
{
	(void)why;
	peer_count(ctx, &((peer *)ctx)->downs);
}
static inline unsigned peer_get(peer *p, const unsigned *what)
{
	pthread_mutex_lock(&p->lock);
	unsigned n = *what;
	pthread_mutex_unlock(&p->lock);
	return n;
}
static inline uint64_t peer_stat(peer *p, unsigned which)
{
	return near__stats_sum(p->stats, which);
}

/* How many drops of this key were told. */
static inline size_t peer_drops_of(peer *p, const char *key)
{
	size_t n = 0;
	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < p->drop_count; i++)
		n += p->drops[i].key_size == strlen(key) && memcmp(p->drops[i].key, key, strlen(key)) == 0;
	pthread_mutex_unlock(&p->lock);
	return n;
}

static inline size_t peer_drop_count(peer *p)
{
	pthread_mutex_lock(&p->lock);
	size_t n = p->drop_count;
	pthread_mutex_unlock(&p->lock);
	return n;
}

static inline void peer_quiet(void *ctx, near_log_level level, const char *text)
{
	(void)ctx;
	if (getenv("PEER_LOG") != NULL)
		fprintf(stderr, "[%d] %s\n", (int)level, text);
}

/* Opens; does not wait. */
static inline peer *peer_open_with(redis_server *server, const peer_options *o)
{
	peer *p = calloc(1, sizeof(*p));
	assert_non_null(p);
	p->drops = calloc(PEER_DROPS, sizeof(*p->drops));
	assert_non_null(p->drops);
	pthread_mutex_init(&p->lock, NULL);
	assert_int_equal(near__stats_create(&p->stats), NEAR_OK);
	near__l2_prefix(o->name_space != NULL ? o->name_space : "test", 1, p->prefix);
	near__coherence_config config = {
		.redis = { .connect_ms = 1000, .pipeline_max = 4096, .breaker_failures = 1000000, .backoff_max_ms = 100,
		           .command_ms_max = 2000, .thread_name = "peer", .stats = p->stats, .log = { peer_quiet, NULL } },
		.prefix = p->prefix,
		.shards = o->shards != 0 ? o->shards : 4,
		.lease_ms = o->lease_ms != 0 ? o->lease_ms : 1000,
		.log_max = o->log_max != 0 ? o->log_max : 10000,
		.news = { p, o->drop != NULL ? o->drop : peer_on_drop, peer_on_filled, peer_on_flushed, peer_on_gap, peer_on_up,
		          peer_on_down },
	};
	near_error error;
	const char *url = o->url != NULL ? o->url : redis_server_url(server);
	if (near__url_parse(url, &config.redis.url, &error) != NEAR_OK)
		fail_msg("%s: %s", url, error.text);
	assert_int_equal(near__coherence_open(&config, &p->c), NEAR_OK);
	return p;
}

static inline void peer_ready(peer *p)
{
	if (near__coherence_wait_lease(p->c, peer_deadline()) != NEAR_OK) {
		char text[300];
		(void)near__coherence_last_error(p->c, text, sizeof(text));
		fail_msg("no lease: %s", text);
	}
}

static inline peer *peer_open(redis_server *server)
{
	peer *p = peer_open_with(server, &(peer_options){ .shards = 4 });
	peer_ready(p);
	return p;
}

static inline void peer_close(peer *p)
{
	near__coherence_close(p->c);
	near__stats_free(p->stats);
	pthread_mutex_destroy(&p->lock);
	free(p->drops);
	free(p);
}

/* ------------------------------------------------------------------------ steps */

typedef struct peer_key {
	near__step step;
	uint64_t hash;
	char data[NEAR__NAME_MAX], token[NEAR__NAME_MAX];
} peer_key;

static inline const near__step *peer_key_of(peer *p, const char *key, peer_key *k)
{
	k->hash = near__hash_shared(key, strlen(key));
	k->step = (near__step){
		.shard = near__coherence_shard(p->c, k->hash),
		.key = key,
		.key_size = strlen(key),
		.data_name = k->data,
		.token_name = k->token,
		.data_name_size = near__l2_data_name(p->prefix, key, strlen(key), k->data),
		.token_name_size = near__l2_token_name(p->prefix, key, strlen(key), k->token),
		.deadline_ns = peer_deadline(),
	};
	return &k->step;
}

static inline unsigned peer_shard(peer *p, const char *key)
{
	return near__coherence_shard(p->c, near__hash_shared(key, strlen(key)));
}

static inline near_status peer_invalidate_with(peer *p, const char *key, near__change change, bool keep_stale,
                                               near__pos *pos)
{
	peer_key k;
	return near__coherence_invalidate(p->c, peer_key_of(p, key, &k), change, keep_stale, pos);
}
static inline near__pos peer_invalidate(peer *p, const char *key)
{
	near__pos pos = 0;
	assert_int_equal(peer_invalidate_with(p, key, NEAR__CHANGE_INVALIDATE, false, &pos), NEAR_OK);
	return pos;
}

typedef struct peer_value {
	const char *text;
	uint64_t version, asof, fresh_ms, incarnation; /* 0: 60 s; the present one */
	uint32_t flags, tag_count;
	const uint64_t *tags;
} peer_value;

static inline void *peer_envelope(peer *p, const char *key, const peer_value *v, size_t *size)
{
	uint64_t now_ms = near__coherence_redis_ms(p->c);
	near__envelope e = {
		.incarnation = v->incarnation != 0 ? v->incarnation : near__coherence_incarnation(p->c, peer_shard(p, key)),
		.created_ms = now_ms,
		.fresh_until_ms = now_ms + (v->fresh_ms != 0 ? v->fresh_ms : 60000),
		.asof = v->asof,
		.version = v->version,
		.flags = v->flags,
		.tag_count = v->tag_count,
		.tags = v->tags,
		.payload = v->text,
		.payload_size = strlen(v->text),
	};
	*size = near__envelope_size(&e);
	void *bytes = malloc(*size);
	assert_non_null(bytes);
	near__envelope_write(&e, key, strlen(key), bytes);
	return bytes;
}

static inline near_status peer_put_with(peer *p, const char *key, const peer_value *v, char mode, uint64_t expected,
                                        near__pos *pos, bool *retry)
{
	peer_key k;
	size_t size;
	void *bytes = peer_envelope(p, key, v, &size);
	near__put_step put = {
		.envelope = bytes,
		.envelope_size = size,
		.incarnation = v->incarnation != 0 ? v->incarnation : near__coherence_incarnation(p->c, peer_shard(p, key)),
		.life_ms = 60000,
		.mode = mode,
		.version = v->version,
		.expected = expected,
	};
	near_status status = near__coherence_put(p->c, peer_key_of(p, key, &k), &put, pos, retry);
	free(bytes);
	return status;
}
static inline near__pos peer_put(peer *p, const char *key, const char *text)
{
	near__pos pos = 0;
	bool retry = true;
	assert_int_equal(peer_put_with(p, key, &(peer_value){ .text = text }, 's', 0, &pos, &retry), NEAR_OK);
	assert_false(retry);
	return pos;
}

/* The bytes at the data key; NULL when there are none. The caller frees. */
static inline unsigned char *peer_get_raw(peer *p, const char *key, size_t *size)
{
	peer_key k;
	(void)peer_key_of(p, key, &k);
	const char *argv[] = { "GET", k.data };
	const size_t sizes[] = { 3, k.step.data_name_size };
	near__command command = { 2, argv, sizes };
	near__reply *reply = NULL;
	assert_int_equal(near__redis_call(near__coherence_redis(p->c), &command, peer_deadline(), &reply), NEAR_OK);
	const char *bytes = near__reply_bytes(reply, size);
	unsigned char *copy = NULL;
	if (near__reply_is(reply) == NEAR__REPLY_STRING) {
		copy = malloc(*size + 1);
		assert_non_null(copy);
		memcpy(copy, bytes, *size);
	}
	near__reply_free(reply);
	return copy;
}

typedef enum peer_state { PEER_NOTHING, PEER_FRESH, PEER_MARKED, PEER_DEAD, PEER_STRANGE } peer_state;

/* What a reader of L2 would make of it; `text` gets the payload. */
static inline peer_state peer_look(peer *p, const char *key, char text[64])
{
	size_t size;
	near__envelope e;
	unsigned char *bytes = peer_get_raw(p, key, &size);
	peer_state state = PEER_NOTHING;
	text[0] = '\0';
	if (bytes != NULL && !near__envelope_read(bytes, size, key, strlen(key), &e)) {
		state = PEER_STRANGE;
	} else if (bytes != NULL) {
		(void)snprintf(text, 64, "%.*s", (int)e.payload_size, (const char *)e.payload);
		state = e.marked_stale ? PEER_MARKED : PEER_FRESH;
		if (e.incarnation != near__coherence_incarnation(p->c, peer_shard(p, key)))
			state = PEER_DEAD;
	}
	free(bytes);
	return state;
}

typedef struct peer_token {
	near__token_answer answer;
	near__token token;
	char value[64];
	bool has_value;
	uint64_t wait_ms;
} peer_token;

static inline near_status peer_ask(peer *p, const char *key, char mode, uint64_t seen, uint64_t token_ms, peer_token *t)
{
	peer_key k;
	near__reply *value = NULL;
	size_t size;
	near__envelope e;
	memset(t, 0, sizeof(*t));
	near_status status = near__coherence_token(p->c, peer_key_of(p, key, &k), mode, seen, token_ms, &t->answer, &t->token,
	                                           &value, &t->wait_ms);
	if (status != NEAR_OK)
		return status;
	const char *bytes = near__reply_bytes(value, &size);
	t->has_value = value != NULL;
	if (bytes != NULL && near__envelope_read(bytes, size, key, strlen(key), &e))
		(void)snprintf(t->value, sizeof(t->value), "%.*s", (int)e.payload_size, (const char *)e.payload);
	near__reply_free(value);
	return status;
}

static inline near_status peer_fill_with(peer *p, const char *key, const peer_token *t, const peer_value *v)
{
	peer_key k;
	size_t size;
	peer_value of_token = *v;
	of_token.incarnation = t->token.incarnation;
	void *bytes = peer_envelope(p, key, &of_token, &size);
	near_status status = near__coherence_fill(p->c, peer_key_of(p, key, &k), &t->token, bytes, size, 60000);
	free(bytes);
	return status;
}
static inline near_status peer_fill(peer *p, const char *key, const peer_token *t, const char *text)
{
	return peer_fill_with(p, key, t, &(peer_value){ .text = text });
}

/* ----------------------------------------------------------------------- fixture */

static redis_server *server;

static inline int server_up(void **state)
{
	(void)state;
	server = redis_server_start(NULL);
	return 0;
}
static inline int server_down(void **state)
{
	(void)state;
	redis_server_free(server);
	server = NULL;
	return 0;
}
#define SERVER_TEST(f) cmocka_unit_test_setup_teardown(f, server_up, server_down)

static inline void server_run(const char *format, const char *argument)
{
	free(redis_server_command(server, format, argument));
}

static inline uint64_t incarnation_of(peer *p, const char *key)
{
	return near__coherence_incarnation(p->c, peer_shard(p, key));
}
static inline near__pos pos_of(peer *p, const char *key)
{
	return near__coherence_pos(p->c, peer_shard(p, key));
}
static inline void kill_subscribers(void)
{
	server_run("CLIENT KILL TYPE %s", "pubsub");
}

#endif
