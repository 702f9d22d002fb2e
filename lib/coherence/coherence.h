/* Coherence: positions, the freshness lease, the atomic steps in Redis, gap detection, replay.
 *
 * State in Redis per shard s
 *     <prefix>~m:<s>  hash {run, inc, seq, n, t<stripe>...}
 *         run  the server process that the rest is of: another one (restart, failover, lost data) starts a new incarnation
 *         inc  the incarnation, 64 bits as 16 hex digits; envelopes, tokens and messages carry it
 *         seq  the sequence of the last change;  n  the number of shards
 *         t<stripe>  sequence of the last invalidation of a tag of that stripe (NEAR__TAG_STRIPES of them, so their room is
 *                    bounded and needs no expiry)
 *     <prefix>~l:<s>  stream, ids seq-1, MAXLEN ~ log_max
 *     <prefix>~c:<s>  channel
 *
 * State here per shard: pos = one word (generation << 44 | applied sequence), incarnation, floor, lease_until;
 * and iv[stripe], the position of the last invalidation of any key of that stripe.
 *
 *   as-of of a value   = a pos word; comparable within a shard, because a generation only grows
 *   fence of a fill    = p0 taken before the read; after publishing the entry: current(p0) says iv <= p0, floor <= p0
 *   hit                = lease held (asked before the entry is loaded) and as-of not below the shard's floor
 *
 * Order for a reader of L2: p0 = near__coherence_asof, then near__coherence_incarnation, then the GET; and after the
 * answer the incarnation once more. Taken before p0 it could lend a dead value a new as-of. Not looked at after the
 * answer, the value could come from another server (connected to in between, which changes the incarnation first of
 * all) that has lost the value's invalidation.
 * Tags of a value from L2 are judged by what this process knows of them: that is complete up to now less one lease only
 * while the shard's lease is held (asked before the GET). Without it a value with tags needs the token step, which
 * knows.
 *
 * Before the first greeting: pos 0, incarnation 0, no lease. Whatever was kept as of 0 is below the floor after it.
 *
 * The room owns the greeting (incarnation first, before anything is trusted), the subscription's messages and the
 * timers; it is driven by the redis room's handlers on the I/O thread. Steps called by workers are marked (W).
 */
#ifndef NEAR_COHERENCE_COHERENCE_H
#define NEAR_COHERENCE_COHERENCE_H

#include "redis/redis.h"

typedef struct near__coherence near__coherence;
typedef uint64_t near__pos;
#define NEAR__SEQ_BITS 44
#define NEAR__SEQ_MASK ((UINT64_C(1) << NEAR__SEQ_BITS) - 1)
#define NEAR__TAG_STRIPES 16384 /* per shard; a tag's stripe is its hash modulo this */

/* What a message says of its key. */
typedef enum near__change {
	NEAR__CHANGE_PUT = 'p',        /* a new value is in Redis: drop older */
	NEAR__CHANGE_INVALIDATE = 'i', /* drop, may be kept as stale */
	NEAR__CHANGE_REMOVE = 'r',     /* drop for good */
	NEAR__CHANGE_TAG = 't'         /* key = 8 bytes of the tag's hash: everything older with this tag */
} near__change;

/* News for core, on the I/O thread. */
typedef struct near__coherence_news {
	void *ctx;
	/* Entries of `key` with as-of below `pos` are to go. Called after iv was raised and before pos moves. */
	void (*drop)(void *ctx, unsigned shard, near__change change, const void *key, size_t key_size, near__pos pos);
	void (*filled)(void *ctx, unsigned shard, const void *key, size_t key_size); /* somebody's load ended */
	void (*flushed)(void *ctx, unsigned shard);
	void (*gap)(void *ctx, unsigned shard);
	void (*up)(void *ctx);   /* greeting done, incarnations known: Redis may be used */
	void (*down)(void *ctx, const char *why);
} near__coherence_news;

typedef struct near__coherence_config {
	/* Url, limits, thread name, stats (not NULL), log; channels, handlers and tick_ms are filled in here. */
	near__redis_config redis;
	const char *prefix; /* of near__l2_prefix; copied */
	unsigned shards;
	uint64_t lease_ms, log_max;
	near__coherence_news news;
} near__coherence_config;

near_status near__coherence_open(const near__coherence_config *config, near__coherence **coherence);
void near__coherence_close(near__coherence *coherence);
near__redis *near__coherence_redis(near__coherence *coherence); /* for plain GETs by core */

/* --- the read side; any thread, no waiting */
unsigned near__coherence_shard(const near__coherence *coherence, uint64_t shared_hash);
near__pos near__coherence_pos(const near__coherence *coherence, unsigned shard);
/* The as-of of a value of this key whose read begins now: pos, or iv where that is ahead. A position of iv has been
 * committed in Redis (its message was applied here, or Redis answered our own write), and with it all before it: what is
 * read from now on reflects them. So a load right after an invalidation of our own is kept although the message of that
 * invalidation has not come round yet. */
near__pos near__coherence_asof(const near__coherence *coherence, unsigned shard, uint64_t shared_hash);
uint64_t near__coherence_incarnation(const near__coherence *coherence, unsigned shard); /* 0: not known now */
/* The shortest lease of all shards ends here (near clock; already less the coarse clock's lateness): check before
 * loading an entry, with the coarse clock. */
int64_t near__coherence_lease_until(const near__coherence *coherence);
int64_t near__coherence_shard_lease_until(const near__coherence *coherence, unsigned shard);
/* The highest floor of all shards: an as-of at or above it needs no look at its own shard's floor. */
near__pos near__coherence_floor_max(const near__coherence *coherence);
near__pos near__coherence_floor(const near__coherence *coherence, unsigned shard);
/* The fence (after a full fence): nothing newer than `asof` is known for the key. */
bool near__coherence_current(const near__coherence *coherence, unsigned shard, uint64_t shared_hash, near__pos asof);
/* Position of the last invalidation of a tag in a shard, 0 none: an entry with the tag is valid if its as-of is not
 * below. */
near__pos near__coherence_tag_pos(const near__coherence *coherence, unsigned shard, uint64_t tag);
/* Own writes: raise iv of the key to `pos` and return. */
void near__coherence_raise(near__coherence *coherence, unsigned shard, uint64_t shared_hash, near__pos pos);
/* Between pos words and what an envelope holds (incarnation, bare sequence). seq_of: the sequence of `pos` if it was
 * taken in `incarnation`, else 0, which is older than everything: the as-of to write into an envelope (of a fill: with
 * the token's incarnation). pos_of: the word for a sequence of `incarnation`; 0 when that is not the present one: the
 * as-of of a value found in L2, to compare with near__coherence_tag_pos. */
uint64_t near__coherence_seq_of(const near__coherence *coherence, unsigned shard, near__pos pos, uint64_t incarnation);
near__pos near__coherence_pos_of(const near__coherence *coherence, unsigned shard, uint64_t incarnation, uint64_t seq);
/* Redis's clock now, ms, from the last position step; 0 unknown. */
uint64_t near__coherence_redis_ms(const near__coherence *coherence);
/* Waits until every shard holds its lease. NEAR_OK, NEAR_E_TIMEOUT. */
near_status near__coherence_wait_lease(near__coherence *coherence, int64_t deadline_ns);
/* The last trouble with Redis in words: an error reply to a step, else what the redis room says; "" without. */
size_t near__coherence_last_error(near__coherence *coherence, char *buf, size_t buf_size);

/* --- the atomic steps (W): one round trip each. Statuses of near__redis_call, and NEAR_E_REDIS for error replies. */
typedef struct near__step {
	unsigned shard;
	const void *key;
	size_t key_size;
	const char *data_name, *token_name;
	size_t data_name_size, token_name_size;
	int64_t deadline_ns;
} near__step;

/* seq+1, token and data deleted (keep_stale: data marked stale instead), log, publish. *pos: its position, in the
 * present generation; 0 when the shard's incarnation changed meanwhile. */
near_status near__coherence_invalidate(near__coherence *c, const near__step *step, near__change change, bool keep_stale,
                                       near__pos *pos);

typedef struct near__put_step {
	const void *envelope; /* carries `incarnation` */
	size_t envelope_size;
	uint64_t incarnation; /* near__coherence_incarnation(shard) as it was read before encoding */
	uint64_t life_ms;     /* of the key in Redis: fresh and stale window together */
	/* 's' set, 'a' add, 'r' replace, 'c' compare version with `expected`. A fresh "the source does not have it" counts
	 * as no value. */
	char mode;
	uint64_t version;     /* 's': 0, or refuse when the fresh value's version is the same or higher */
	uint64_t expected;
} near__put_step;
/* NEAR_OK; NEAR_EXISTS, NEAR_MISS, NEAR_CONFLICT as the mode says, nothing done then. *retry true (and NEAR_OK):
 * put->incarnation is not the present one and nothing was put; the room knows the present one now: encode again and
 * call again. */
near_status near__coherence_put(near__coherence *c, const near__step *step, const near__put_step *put, near__pos *pos,
                                bool *retry);

typedef struct near__token {
	uint64_t incarnation;
	unsigned char nonce[16];
} near__token;
typedef enum near__token_answer { NEAR__TOKEN_VALUE, NEAR__TOKEN_GRANTED, NEAR__TOKEN_WAIT } near__token_answer;
/* mode 'm' miss: a fresh value of the present incarnation (none of its tags invalidated since), else the token.
 *      'r' refresh: only one whose life ends after `seen` (ms of Redis's clock), else the token.
 *      'x' reject: the caller could not use the envelope whose checksum is `seen`: only another one, else the token.
 * *value: the raw bytes when VALUE, and also when GRANTED and something stale is there (may be NULL); the caller's.
 * *wait_ms: how long the present token lives, when WAIT. *token is set in any case: after NEAR_E_TIMEOUT it names the one that
 * Redis may yet grant, to be given back (and never to be filled with: it may be granted after the source was read). */
near_status near__coherence_token(near__coherence *c, const near__step *step, char mode, uint64_t seen,
                                  uint64_t token_ms, near__token_answer *answer, near__token *token,
                                  near__reply **value, uint64_t *wait_ms);
/* Stores what a load brought, if the token is still held, its incarnation present and no tag of the envelope
 * invalidated since its as-of, and tells waiters. The envelope carries the token's incarnation. NEAR_OK stored;
 * NEAR_CONFLICT overtaken. When Redis refuses (NEAR_E_UNAVAILABLE, NEAR_E_REDIS) the token has been given back. */
near_status near__coherence_fill(near__coherence *c, const near__step *step, const near__token *token,
                                 const void *envelope, size_t envelope_size, uint64_t life_ms);
/* The load failed: gives the token back and tells waiters. */
void near__coherence_token_release(near__coherence *c, const near__step *step, const near__token *token);
/* New envelope bytes in place of those whose checksum is `sum`: a longer life without a change. NEAR_OK, NEAR_MISS. */
near_status near__coherence_touch(near__coherence *c, const near__step *step, uint64_t sum, const void *envelope,
                                  size_t envelope_size, uint64_t life_ms);
/* Logged in all shards, one pipeline. */
near_status near__coherence_invalidate_tag(near__coherence *c, uint64_t tag, int64_t deadline_ns);
/* Journal overflow, or any doubt: everything of the shard is void: a new incarnation, which every process notices;
 * this one has when the call returns, deadline permitting. */
near_status near__coherence_void_shard(near__coherence *c, unsigned shard, int64_t deadline_ns);

size_t near__coherence_lease_json(near__coherence *c, char *buf, size_t buf_size);
/* The keys, channels and commands an ACL user needs: one rule line. */
size_t near__coherence_acl(const char *prefix, char *buf, size_t buf_size);

#ifdef NEARCACHE_TEST_HOOKS
/* Asked for every message before it is looked at; false: it is lost, as if the network had. */
extern bool (*near__coherence_message_hook)(near__coherence *c, const char *channel, size_t channel_size,
                                            const char *bytes, size_t size);
#endif

#endif
