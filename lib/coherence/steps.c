/* The atomic steps as workers take them: arguments out, answer in. What each does in Redis stands in steps_lua.c.
 *
 * Each is one round trip. None is repeated here but when its function was not there: an invalidation may be repeated by
 * whoever gets a timeout (it is idempotent), a put may not (repeat it as an invalidation).
 *
 * Positions in answers are of the incarnation that Redis named; they become pos words of the generation that this
 * process is in, or 0 when it does not know that incarnation yet. Then nothing it could raise would mean anything: the
 * shard is about to be flushed. */
#include "coherence/room.h"

#include <string.h>


#define ENVELOPE_HEAD 64 /* of l2/l2.h; a test holds the two together */
#define ENVELOPE_INC_AT 8

static near__shard *shard_of(near__coherence *c, unsigned shard)
{
	NEAR_ASSERT(shard < c->shards);
	return &c->shard[shard];
}

static void put_bytes(uint64_t value, char out[8])
{
	for (int i = 0; i < 8; i++)
		out[i] = (char)(unsigned char)(value >> (8 * i));
}

/* An envelope that says another incarnation than its step would be dead on arrival, or worse, alive. */
static bool envelope_is_of(const void *envelope, size_t size, uint64_t incarnation)
{
	char inc[8];
	put_bytes(incarnation, inc);
	return size >= ENVELOPE_HEAD && memcmp((const char *)envelope + ENVELOPE_INC_AT, inc, 8) == 0;
}

/* 4 meta log token data run nonce shards */
static void begin_on_key(near__args *a, near__coherence *c, near__function function, const near__step *step)
{
	const near__shard *s = shard_of(c, step->shard);
	near__args_begin(a, c, function);
	near__args_text(a, "4");
	near__args_text(a, s->meta);
	near__args_text(a, s->log);
	near__args_add(a, step->token_name, step->token_name_size);
	near__args_add(a, step->data_name, step->data_name_size);
	near__args_enter(a, c);
}

/* channel log_max writer kind key: what a change needs */
static void add_change(near__args *a, near__coherence *c, unsigned shard, const char *kind, const void *key,
                       size_t key_size)
{
	near__args_text(a, shard_of(c, shard)->channel);
	near__args_text(a, c->log_max_text);
	near__args_add(a, c->writer_text, NEAR__HEX);
	near__args_add(a, kind, 1);
	near__args_add(a, key, key_size);
}

static near_status strange_answer(near__coherence *c, near__reply *reply)
{
	near_status status = near__step_error(c, reply);
	near__reply_free(reply);
	return status;
}

/* {inc, seq} -> *pos */
static near_status take_position(near__coherence *c, unsigned shard, near__reply *reply, near__pos *pos)
{
	uint64_t incarnation, seq;
	if (!near__step_read(reply, 0, &incarnation, &seq))
		return strange_answer(c, reply);
	near__reply_free(reply);
	*pos = near__step_pos(c, shard, incarnation, seq);
	return NEAR_OK;
}

near_status near__coherence_invalidate(near__coherence *c, const near__step *step, near__change change, bool keep_stale,
                                       near__pos *pos)
{
	near__args a;
	near__reply *reply = NULL;
	const char kind = (char)change;
	NEAR_ASSERT(change == NEAR__CHANGE_INVALIDATE || change == NEAR__CHANGE_REMOVE);
	int64_t begun_ns = near__now_ns();
	begin_on_key(&a, c, NEAR__F_INVALIDATE, step);
	add_change(&a, c, step->shard, &kind, step->key, step->key_size);
	near__args_text(&a, keep_stale ? "1" : "0");
	near_status status = near__step_call(c, &a, step->deadline_ns, &reply);
	if (status == NEAR_OK)
		status = take_position(c, step->shard, reply, pos);
	if (status == NEAR_OK)
		near__histogram_add(c->config.redis.stats->latency[NEAR_LATENCY_INVALIDATE],
		                    (uint64_t)(near__now_ns() - begun_ns));
	return status;
}

/* ------------------------------------------------------------------------- put */

/* Waits until this process has taken over an incarnation other than `old`. */
static near_status wait_for_incarnation(near__coherence *c, unsigned shard, uint64_t old, int64_t deadline_ns)
{
	near__sync_noticed(c, shard);
	for (;;) {
		uint32_t changes = atomic_load(&c->changes);
		uint64_t now = near__coherence_incarnation(c, shard);
		if (now != 0 && now != old)
			return NEAR_OK;
		if (!near__redis_is_up(c->redis) || !near__wait(&c->changes, changes, deadline_ns))
			return NEAR_E_UNAVAILABLE; /* nothing has been put */
	}
}

static near_status put_answered(near__coherence *c, const near__step *step, const near__put_step *put, int64_t code,
                                uint64_t incarnation, uint64_t seq, near__pos *pos, bool *retry)
{
	switch (code) {
	case 0:
		*pos = near__step_pos(c, step->shard, incarnation, seq);
		return NEAR_OK;
	case 1:
		*retry = true;
		return wait_for_incarnation(c, step->shard, put->incarnation, step->deadline_ns);
	case 2:
		return NEAR_EXISTS;
	case 3:
		return NEAR_MISS;
	case 4:
		return NEAR_CONFLICT;
	default:
		return NEAR_E_REDIS;
	}
}

near_status near__coherence_put(near__coherence *c, const near__step *step, const near__put_step *put, near__pos *pos,
                                bool *retry)
{
	near__args a;
	near__reply *reply = NULL;
	char version[8], expected[8], incarnation_text[NEAR__HEX];
	uint64_t incarnation, seq;
	NEAR_ASSERT(envelope_is_of(put->envelope, put->envelope_size, put->incarnation));
	put_bytes(put->version, version);
	put_bytes(put->expected, expected);
	near__hex_write(put->incarnation, incarnation_text);
	*retry = false;
	begin_on_key(&a, c, NEAR__F_PUT, step);
	add_change(&a, c, step->shard, "p", step->key, step->key_size);
	near__args_add(&a, put->envelope, put->envelope_size);
	near__args_number(&a, put->life_ms != 0 ? put->life_ms : 1);
	near__args_add(&a, &put->mode, 1);
	near__args_add(&a, version, sizeof(version));
	near__args_add(&a, expected, sizeof(expected));
	near__args_add(&a, incarnation_text, sizeof(incarnation_text));
	near_status status = near__step_call(c, &a, step->deadline_ns, &reply);
	if (status != NEAR_OK)
		return status;
	int64_t code = near__reply_integer(near__reply_at(reply, 0));
	if (near__reply_is(near__reply_at(reply, 0)) != NEAR__REPLY_INTEGER ||
	    !near__step_read(reply, 1, &incarnation, &seq))
		return strange_answer(c, reply);
	near__reply_free(reply);
	return put_answered(c, step, put, code, incarnation, seq, pos, retry);
}

/* ----------------------------------------------------------------------- token */

#define TOKEN_TEXT (NEAR__HEX + 1 + 2 * NEAR__HEX)

static uint64_t nonce_half(const near__token *token, int half)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | token->nonce[8 * half + i];
	return v;
}

/* "<inc>:<nonce>" in hex, as it stands at the token's key. */
static void token_write(const near__token *token, char out[TOKEN_TEXT])
{
	near__hex_write(token->incarnation, out);
	out[NEAR__HEX] = ':';
	near__hex_write(nonce_half(token, 0), out + NEAR__HEX + 1);
	near__hex_write(nonce_half(token, 1), out + 2 * NEAR__HEX + 1);
}

static void token_draw(near__coherence *c, near__token *token)
{
	char hex[2 * NEAR__HEX];
	near__nonce(c, hex);
	near__nonce(c, hex + NEAR__HEX);
	for (int i = 0; i < 2; i++) {
		uint64_t v = 0;
		(void)near__hex_read(hex + i * NEAR__HEX, NEAR__HEX, &v);
		for (int b = 7; b >= 0; b--, v >>= 8)
			token->nonce[8 * i + b] = (unsigned char)v;
	}
}

/* {1, inc, value} {2, inc, stale value or nil} {3, inc, ms} */
static bool token_answer(near__reply *reply, near__token *token, near__token_answer *answer, uint64_t *wait_ms)
{
	size_t size;
	const near__reply *code = near__reply_at(reply, 0), *rest = near__reply_at(reply, 2);
	const char *inc = near__reply_bytes(near__reply_at(reply, 1), &size);
	if (near__reply_is(code) != NEAR__REPLY_INTEGER || inc == NULL || !near__hex_read(inc, size, &token->incarnation))
		return false;
	switch (near__reply_integer(code)) {
	case 1:
		*answer = NEAR__TOKEN_VALUE;
		return near__reply_is(rest) == NEAR__REPLY_STRING;
	case 2:
		*answer = NEAR__TOKEN_GRANTED;
		return true;
	case 3:
		*answer = NEAR__TOKEN_WAIT;
		*wait_ms = near__reply_integer(rest) > 0 ? (uint64_t)near__reply_integer(rest) : 0;
		return true;
	default:
		return false;
	}
}

near_status near__coherence_token(near__coherence *c, const near__step *step, char mode, uint64_t seen,
                                  uint64_t token_ms, near__token_answer *answer, near__token *token,
                                  near__reply **value, uint64_t *wait_ms)
{
	near__args a;
	near__reply *reply = NULL;
	near__token drawn;
	char sum[8], nonce[2 * NEAR__HEX];
	NEAR_ASSERT(mode == 'm' || mode == 'r' || mode == 'x');
	token_draw(c, &drawn);
	drawn.incarnation = near__coherence_incarnation(c, step->shard);
	*token = drawn;
	near__hex_write(nonce_half(&drawn, 0), nonce);
	near__hex_write(nonce_half(&drawn, 1), nonce + NEAR__HEX);
	put_bytes(seen, sum);
	begin_on_key(&a, c, NEAR__F_TOKEN, step);
	near__args_add(&a, &mode, 1);
	if (mode == 'x')
		near__args_add(&a, sum, sizeof(sum));
	else
		near__args_number(&a, seen);
	near__args_number(&a, token_ms != 0 ? token_ms : 1);
	near__args_add(&a, nonce, sizeof(nonce));
	near_status status = near__step_call(c, &a, step->deadline_ns, &reply);
	if (status != NEAR_OK)
		return status;
	if (!token_answer(reply, &drawn, answer, wait_ms))
		return strange_answer(c, reply);
	*token = drawn;
	*value = near__reply_take(reply, 2);
	if (near__reply_is(*value) != NEAR__REPLY_STRING) {
		near__reply_free(*value);
		*value = NULL;
	}
	near__reply_free(reply);
	if (near__coherence_incarnation(c, step->shard) != drawn.incarnation)
		near__sync_noticed(c, step->shard);
	return NEAR_OK;
}

near_status near__coherence_fill(near__coherence *c, const near__step *step, const near__token *token,
                                 const void *envelope, size_t envelope_size, uint64_t life_ms)
{
	near__args a;
	near__reply *reply = NULL;
	char text[TOKEN_TEXT];
	NEAR_ASSERT(envelope_is_of(envelope, envelope_size, token->incarnation));
	token_write(token, text);
	begin_on_key(&a, c, NEAR__F_FILL, step);
	near__args_text(&a, shard_of(c, step->shard)->channel);
	near__args_add(&a, c->writer_text, NEAR__HEX);
	near__args_add(&a, step->key, step->key_size);
	near__args_add(&a, text, sizeof(text));
	near__args_add(&a, envelope, envelope_size);
	near__args_number(&a, life_ms != 0 ? life_ms : 1);
	near_status status = near__step_call(c, &a, step->deadline_ns, &reply);
	if (status == NEAR_E_UNAVAILABLE || status == NEAR_E_REDIS) {
		/* Refused, a full Redis for one: nobody shall wait for the token to lapse. */
		near__coherence_token_release(c, step, token);
		return status;
	}
	if (status != NEAR_OK)
		return status;
	if (near__reply_is(reply) != NEAR__REPLY_INTEGER)
		return strange_answer(c, reply);
	bool stored = near__reply_integer(reply) == 1;
	near__reply_free(reply);
	return stored ? NEAR_OK : NEAR_CONFLICT;
}

/* "1 <inc> 0 <writer> f <key>" */
static size_t filled_message(const near__coherence *c, const near__step *step, uint64_t incarnation,
                             char out[64 + NEAR_KEY_MAX])
{
	char *at = out;
	memcpy(at, "1 ", 2);
	near__hex_write(incarnation, at + 2);
	at += 2 + NEAR__HEX;
	memcpy(at, " 0 ", 3);
	memcpy(at + 3, c->writer_text, NEAR__HEX);
	at += 3 + NEAR__HEX;
	memcpy(at, " f ", 3);
	memcpy(at + 3, step->key, step->key_size);
	return (size_t)(at + 3 - out) + step->key_size;
}

void near__coherence_token_release(near__coherence *c, const near__step *step, const near__token *token)
{
	near__args a;
	near__reply *reply = NULL;
	char text[TOKEN_TEXT], message[64 + NEAR_KEY_MAX];
	NEAR_ASSERT(step->key_size <= NEAR_KEY_MAX);
	token_write(token, text);
	near__args_begin(&a, c, NEAR__F_RELEASE);
	near__args_text(&a, "1");
	near__args_add(&a, step->token_name, step->token_name_size);
	near__args_add(&a, text, sizeof(text));
	near__args_text(&a, shard_of(c, step->shard)->channel);
	near__args_add(&a, message, filled_message(c, step, token->incarnation, message));
	/* Where this fails the token lapses by itself. */
	if (near__step_call(c, &a, step->deadline_ns, &reply) == NEAR_OK)
		near__reply_free(reply);
}

near_status near__coherence_touch(near__coherence *c, const near__step *step, uint64_t sum, const void *envelope,
                                  size_t envelope_size, uint64_t life_ms)
{
	near__args a;
	near__reply *reply = NULL;
	char sum_bytes[8];
	const near__shard *s = shard_of(c, step->shard);
	put_bytes(sum, sum_bytes);
	near__args_begin(&a, c, NEAR__F_TOUCH);
	near__args_text(&a, "3");
	near__args_text(&a, s->meta);
	near__args_text(&a, s->log);
	near__args_add(&a, step->data_name, step->data_name_size);
	near__args_enter(&a, c);
	near__args_add(&a, sum_bytes, sizeof(sum_bytes));
	near__args_add(&a, envelope, envelope_size);
	near__args_number(&a, life_ms != 0 ? life_ms : 1);
	near_status status = near__step_call(c, &a, step->deadline_ns, &reply);
	if (status != NEAR_OK)
		return status;
	if (near__reply_is(reply) != NEAR__REPLY_INTEGER)
		return strange_answer(c, reply);
	bool done = near__reply_integer(reply) == 1;
	near__reply_free(reply);
	return done ? NEAR_OK : NEAR_MISS;
}

near_status near__coherence_void_shard(near__coherence *c, unsigned shard, int64_t deadline_ns)
{
	near__args a;
	near__reply *reply = NULL;
	near__pos pos;
	const near__shard *s = shard_of(c, shard);
	uint64_t old = near__coherence_incarnation(c, shard);
	near__args_begin(&a, c, NEAR__F_VOID);
	near__args_text(&a, "2");
	near__args_text(&a, s->meta);
	near__args_text(&a, s->log);
	near__args_enter(&a, c);
	near_status status = near__step_call(c, &a, deadline_ns, &reply);
	if (status == NEAR_OK)
		status = take_position(c, shard, reply, &pos);
	/* Done for the others; where the wait ends without it, this process flushes a moment later. */
	if (status == NEAR_OK)
		(void)wait_for_incarnation(c, shard, old, deadline_ns);
	return status;
}
