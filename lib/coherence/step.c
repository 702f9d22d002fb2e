/* How a step is asked for: the FCALL's arguments, the answer's parts, and what a refusal means.
 *
 * A step whose function Redis does not know (FUNCTION FLUSH by somebody, a new server) has not run: the caller loads
 * the library and asks once more, within the same deadline.
 *
 * Error replies come in two sorts. Those that say "not now, not here" (full, read-only, loading, no permission, ...)
 * are NEAR_E_UNAVAILABLE: the caller goes on as if Redis were away. Everything else is NEAR_E_REDIS: unexpected, worth
 * a look.
 *
 * Nonces: a counter that starts at random bits of the system per instance, mixed as splitmix64 does: distinct for 2^64
 * steps, independent between processes and after fork, because a child opens an instance of its own.
 *
 * The last error's text is kept in a sequence lock without waiting: a writer that finds another at work gives up its
 * own text, a reader tries a bounded number of times. No thread can hold up another one with it. */
#include "coherence/room.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

#define ERROR_BYTES (sizeof(((near__coherence *)0)->error_text))

/* ------------------------------------------------------------------- arguments */

void near__args_add(near__args *a, const void *bytes, size_t size)
{
	NEAR_ASSERT(a->argc < NEAR__ARGS_MAX);
	a->argv[a->argc] = bytes;
	a->sizes[a->argc++] = size;
}

void near__args_text(near__args *a, const char *text)
{
	near__args_add(a, text, strlen(text));
}

void near__args_number(near__args *a, uint64_t value)
{
	NEAR_ASSERT(a->numbers < (int)(sizeof(a->number) / sizeof(a->number[0])));
	char *at = a->number[a->numbers++];
	int n = snprintf(at, sizeof(a->number[0]), "%" PRIu64, value);
	near__args_add(a, at, (size_t)n);
}

void near__args_begin(near__args *a, const near__coherence *c, near__function function)
{
	a->argc = 0;
	a->numbers = 0;
	near__args_text(a, "FCALL");
	near__args_text(a, c->library.function[function]);
}

void near__nonce(near__coherence *c, char out[NEAR__HEX])
{
	/* relaxed: only the value counts. */
	uint64_t state = atomic_fetch_add_explicit(&c->nonces, UINT64_C(0x9e3779b97f4a7c15), memory_order_relaxed);
	uint64_t nonce = near__random_next(&state);
	near__hex_write(nonce != 0 ? nonce : 1, out); /* 0 is no incarnation */
}

void near__identity_of(near__coherence *c, const char **run_id, size_t *size)
{
	/* Acquire: pairs with the store in identify (sync.c). */
	const near__identity *identity = atomic_load_explicit(&c->identity, memory_order_acquire);
	*run_id = identity != NULL ? identity->run_id : "";
	*size = identity != NULL ? identity->size : 0;
}

void near__args_enter(near__args *a, near__coherence *c)
{
	const char *run_id;
	size_t size;
	near__identity_of(c, &run_id, &size);
	near__nonce(c, a->nonce);
	near__args_add(a, run_id, size);
	near__args_add(a, a->nonce, NEAR__HEX);
	near__args_text(a, c->shards_text);
}

/* --------------------------------------------------------------------- answers */

bool near__step_read(const near__reply *reply, size_t at, uint64_t *incarnation, uint64_t *seq)
{
	size_t size;
	const char *inc = near__reply_bytes(near__reply_at(reply, at), &size);
	const near__reply *number = near__reply_at(reply, at + 1);
	if (inc == NULL || !near__hex_read(inc, size, incarnation) || *incarnation == 0 ||
	    near__reply_is(number) != NEAR__REPLY_INTEGER)
		return false;
	int64_t value = near__reply_integer(number);
	if (value < 0 || (uint64_t)value > NEAR__SEQ_MASK)
		return false;
	*seq = (uint64_t)value;
	return true;
}

near__pos near__step_pos(near__coherence *c, unsigned shard, uint64_t incarnation, uint64_t seq)
{
	near__pos pos = near__coherence_pos_of(c, shard, incarnation, seq);
	if (pos == 0)
		near__sync_noticed(c, shard);
	return pos;
}

static near_status status_of_error(const char *text, size_t size)
{
	static const char *const not_now[] = { "OOM",        "READONLY",    "MISCONF",  "NOPERM",   "NOAUTH",     "LOADING",
		                               "BUSY",       "MASTERDOWN",  "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "MOVED",
		                               "ASK",        "UNBLOCKED",   "WRONGPASS", "NOSCRIPT", "NOPROTO" };
	const char *blank = memchr(text, ' ', size);
	size_t word = blank != NULL ? (size_t)(blank - text) : size;
	for (size_t i = 0; i < sizeof(not_now) / sizeof(not_now[0]); i++)
		if (strlen(not_now[i]) == word && memcmp(text, not_now[i], word) == 0)
			return NEAR_E_UNAVAILABLE;
	return NEAR_E_REDIS;
}

near_status near__step_error(near__coherence *c, const near__reply *reply)
{
	static const char strange[] = "an answer that makes no sense";
	size_t size;
	const char *text = near__reply_is(reply) == NEAR__REPLY_ERROR ? near__reply_bytes(reply, &size) : NULL;
	if (text == NULL) {
		near__error_keep(c, strange, sizeof(strange) - 1);
		return NEAR_E_REDIS;
	}
	near__error_keep(c, text, size);
	/* Inside a function Redis words a missing permission differently. */
	if (memmem(text, size, "can't run this command", 22) != NULL)
		return NEAR_E_UNAVAILABLE;
	return status_of_error(text, size);
}

/* Any thread but the I/O thread. True: it is there now. */
static bool load_library(near__coherence *c, int64_t deadline_ns)
{
	const char *argv[] = { "FUNCTION", "LOAD", c->library.text };
	const size_t sizes[] = { 8, 4, c->library.text_size };
	near__command command = { 3, argv, sizes };
	near__reply *reply = NULL;
	if (near__redis_call(c->redis, &command, deadline_ns, &reply) != NEAR_OK)
		return false;
	bool done = near__reply_is(reply) != NEAR__REPLY_ERROR || near__library_is_there_already(reply);
	if (!done)
		(void)near__step_error(c, reply);
	near__reply_free(reply);
	return done;
}

near_status near__step_call(near__coherence *c, const near__args *a, int64_t deadline_ns, near__reply **reply)
{
	near__command command = { a->argc, (const char **)(uintptr_t)a->argv, a->sizes };
	near__reply *r = NULL;
	near_status status = near__redis_call(c->redis, &command, deadline_ns, &r);
	if (status == NEAR_OK && near__library_is_missing(r) && load_library(c, deadline_ns)) {
		near__reply_free(r);
		r = NULL;
		status = near__redis_call(c->redis, &command, deadline_ns, &r);
	}
	if (status != NEAR_OK)
		return status;
	if (near__reply_is(r) == NEAR__REPLY_ERROR) {
		status = near__library_is_missing(r) ? NEAR_E_UNAVAILABLE : near__step_error(c, r);
		near__reply_free(r);
		return status;
	}
	*reply = r;
	return NEAR_OK;
}

/* ------------------------------------------------------------------ last error */

void near__error_keep(near__coherence *c, const char *bytes, size_t size)
{
	uint64_t words[ERROR_BYTES / 8] = { 0 };
	uint32_t turn = atomic_load(&c->error_turn);
	if (turn % 2 != 0 || !atomic_compare_exchange_strong(&c->error_turn, &turn, turn + 1))
		return;
	memcpy(words, bytes, size < ERROR_BYTES - 1 ? size : ERROR_BYTES - 1);
	for (size_t i = 0; i < ERROR_BYTES / 8; i++)
		atomic_store(&c->error_text[i], words[i]);
	atomic_store(&c->error_turn, turn + 2);
}

size_t near__coherence_last_error(near__coherence *c, char *buf, size_t buf_size)
{
	uint64_t words[ERROR_BYTES / 8] = { 0 };
	bool whole = false;
	for (int tries = 0; tries < 100 && !whole; tries++) {
		uint32_t turn = atomic_load(&c->error_turn);
		for (size_t i = 0; i < ERROR_BYTES / 8; i++)
			words[i] = atomic_load(&c->error_text[i]);
		whole = turn % 2 == 0 && atomic_load(&c->error_turn) == turn;
	}
	const char *text = (const char *)words;
	if (!whole || text[0] == '\0')
		return near__redis_last_error(c->redis, buf, buf_size);
	size_t size = strnlen(text, ERROR_BYTES - 1);
	if (buf_size != 0) {
		size_t n = size < buf_size ? size : buf_size - 1;
		memcpy(buf, text, n);
		buf[n] = '\0';
	}
	return size;
}
