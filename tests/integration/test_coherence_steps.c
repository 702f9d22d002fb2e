/* The atomic steps against a real Redis: what they do, what they refuse, what others hear of them. */
#include "coherence_peer.h"

static void invalidate__acknowledged__every_peer_drops_it(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	(void)peer_put(a, "k", "v1");
	near__pos pos = peer_invalidate(a, "k");
	assert_true(pos != 0);
	PEER_UNTIL(peer_drops_of(a, "k") == 2 && peer_drops_of(b, "k") == 2);
	char text[64];
	assert_int_equal(peer_look(b, "k", text), PEER_NOTHING);
	pthread_mutex_lock(&b->lock);
	assert_int_equal(b->drops[0].change, NEAR__CHANGE_PUT);
	assert_int_equal(b->drops[1].change, NEAR__CHANGE_INVALIDATE);
	assert_true(b->drops[1].pos > b->drops[0].pos);
	pthread_mutex_unlock(&b->lock);
	/* The position of the writer's answer is the one under which its own message came. */
	assert_true(a->drops[1].pos == pos);
	assert_true(near__coherence_pos(a->c, peer_shard(a, "k")) == pos);
	peer_close(a);
	peer_close(b);
}

static void put__then_read_by_another__is_fresh_and_of_its_incarnation(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	char text[64];
	(void)peer_put(a, "k", "v1");
	assert_int_equal(peer_look(b, "k", text), PEER_FRESH);
	assert_string_equal(text, "v1");
	peer_close(a);
	peer_close(b);
}

static void invalidate__keeping_stale__marks_in_place(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	char text[64];
	near__pos pos;
	(void)peer_put(a, "k", "v1");
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, true, &pos), NEAR_OK);
	assert_int_equal(peer_look(a, "k", text), PEER_MARKED);
	assert_string_equal(text, "v1");
	/* Its life in Redis is what it was. */
	long long ttl = redis_server_integer(server, "PTTL test:v1:k");
	assert_in_range(ttl, 1, 60000);
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_REMOVE, false, &pos), NEAR_OK);
	assert_int_equal(peer_look(a, "k", text), PEER_NOTHING);
	peer_close(a);
}

static void invalidate__keeping_what_is_no_envelope__deletes_it(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	near__pos pos;
	char text[64];
	server_run("SET test:v1:k %s", "somebody-else's-bytes-that-are-longer-than-the-sixty-four-bytes-of-a-head");
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, true, &pos), NEAR_OK);
	assert_int_equal(peer_look(a, "k", text), PEER_NOTHING);
	server_run("RPUSH test:v1:k %s", "a list");
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, true, &pos), NEAR_OK);
	assert_int_equal(redis_server_integer(server, "EXISTS test:v1:k"), 0);
	peer_close(a);
}

/* ------------------------------------------------------------------------- put */

static near_status put_mode(peer *p, const char *key, const char *text, char mode, uint64_t version, uint64_t expected)
{
	near__pos pos = 0;
	bool retry;
	near_status status =
		peer_put_with(p, key, &(peer_value){ .text = text, .version = version }, mode, expected, &pos, &retry);
	assert_false(retry);
	return status;
}

static void add__where_a_fresh_value_is__does_nothing(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	char text[64];
	near__pos pos;
	assert_int_equal(put_mode(a, "k", "v1", 'a', 0, 0), NEAR_OK);
	assert_int_equal(put_mode(a, "k", "v2", 'a', 0, 0), NEAR_EXISTS);
	(void)peer_look(a, "k", text);
	assert_string_equal(text, "v1");
	/* A stale one is none. */
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, true, &pos), NEAR_OK);
	assert_int_equal(put_mode(a, "k", "v3", 'a', 0, 0), NEAR_OK);
	peer_close(a);
}

static void replace__without_a_fresh_value__does_nothing(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	char text[64];
	assert_int_equal(put_mode(a, "k", "v1", 'r', 0, 0), NEAR_MISS);
	assert_int_equal(peer_look(a, "k", text), PEER_NOTHING);
	(void)peer_put(a, "k", "v1");
	assert_int_equal(put_mode(a, "k", "v2", 'r', 0, 0), NEAR_OK);
	(void)peer_look(a, "k", text);
	assert_string_equal(text, "v2");
	peer_close(a);
}

static void put_of_a_version__where_the_same_or_a_higher_is__conflicts(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	char text[64];
	/* Beyond what a double holds exactly: neighbours must still be told apart. */
	const uint64_t high = UINT64_MAX - 5;
	assert_int_equal(put_mode(a, "k", "v1", 's', high, 0), NEAR_OK);
	assert_int_equal(put_mode(a, "k", "v2", 's', high, 0), NEAR_CONFLICT);
	assert_int_equal(put_mode(a, "k", "v2", 's', high - 1, 0), NEAR_CONFLICT);
	assert_int_equal(put_mode(a, "k", "v2", 's', 7, 0), NEAR_CONFLICT);
	assert_int_equal(put_mode(a, "k", "v2", 's', high + 1, 0), NEAR_OK);
	(void)peer_look(a, "k", text);
	assert_string_equal(text, "v2");
	/* Bytes that compare differently as text: 0x0100 against 0x00ff. */
	assert_int_equal(put_mode(a, "j", "v1", 's', 0x00ff, 0), NEAR_OK);
	assert_int_equal(put_mode(a, "j", "v2", 's', 0x0100, 0), NEAR_OK);
	assert_int_equal(put_mode(a, "j", "v3", 's', UINT64_C(1) << 32, 0), NEAR_OK);
	assert_int_equal(put_mode(a, "j", "v4", 's', UINT32_MAX, 0), NEAR_CONFLICT);
	/* Without a version nothing is compared. */
	assert_int_equal(put_mode(a, "j", "v5", 's', 0, 0), NEAR_OK);
	peer_close(a);
}

static void put_if_version__of_another_version__conflicts(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	char text[64];
	assert_int_equal(put_mode(a, "k", "v2", 'c', 2, 1), NEAR_MISS);
	assert_int_equal(put_mode(a, "k", "v1", 's', 1, 0), NEAR_OK);
	assert_int_equal(put_mode(a, "k", "v3", 'c', 3, 2), NEAR_CONFLICT);
	assert_int_equal(put_mode(a, "k", "v2", 'c', 2, 1), NEAR_OK);
	(void)peer_look(a, "k", text);
	assert_string_equal(text, "v2");
	peer_close(a);
}

static void add__over_a_remembered_absence__puts(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	near__pos pos;
	bool retry;
	peer_value absent = { .text = "", .flags = NEAR__ENVELOPE_NEGATIVE };
	assert_int_equal(peer_put_with(a, "k", &absent, 's', 0, &pos, &retry), NEAR_OK);
	assert_int_equal(put_mode(a, "k", "v1", 'r', 0, 0), NEAR_MISS);
	assert_int_equal(put_mode(a, "k", "v1", 'a', 0, 0), NEAR_OK);
	peer_close(a);
}

static void put__of_an_incarnation_that_is_over__retries_with_the_new_one(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	near__pos pos = 0;
	bool retry = false;
	char text[64];
	peer_value v = { .text = "v1", .incarnation = near__coherence_incarnation(a->c, peer_shard(a, "k")) };
	server_run("FLUSHALL%s", "");
	assert_int_equal(peer_put_with(a, "k", &v, 's', 0, &pos, &retry), NEAR_OK);
	assert_true(retry);
	assert_int_equal(peer_look(a, "k", text), PEER_NOTHING);
	/* The room knows the new one when it comes back. */
	uint64_t now = near__coherence_incarnation(a->c, peer_shard(a, "k"));
	assert_true(now != 0 && now != v.incarnation);
	v.incarnation = now;
	assert_int_equal(peer_put_with(a, "k", &v, 's', 0, &pos, &retry), NEAR_OK);
	assert_false(retry);
	assert_true(pos != 0);
	assert_int_equal(peer_look(a, "k", text), PEER_FRESH);
	peer_close(a);
}

/* ----------------------------------------------------------------------- tokens */

static void token__asked_by_two__is_granted_to_one(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	peer_token ta, tb;
	assert_int_equal(peer_ask(a, "k", 'm', 0, 5000, &ta), NEAR_OK);
	assert_int_equal(ta.answer, NEAR__TOKEN_GRANTED);
	assert_false(ta.has_value);
	assert_int_equal(peer_ask(b, "k", 'm', 0, 5000, &tb), NEAR_OK);
	assert_int_equal(tb.answer, NEAR__TOKEN_WAIT);
	assert_in_range(tb.wait_ms, 1, 5000);
	assert_int_equal(peer_fill(a, "k", &ta, "v1"), NEAR_OK);
	PEER_UNTIL(peer_get(b, &b->filled) == 1);
	assert_string_equal(b->last_filled, "k");
	assert_int_equal(peer_ask(b, "k", 'm', 0, 5000, &tb), NEAR_OK);
	assert_int_equal(tb.answer, NEAR__TOKEN_VALUE);
	assert_string_equal(tb.value, "v1");
	/* A fill is no change: nobody drops anything. */
	assert_int_equal(peer_drops_of(b, "k"), 0);
	peer_close(a);
	peer_close(b);
}

static void fill__after_an_invalidation__is_refused(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	peer_token t;
	char text[64];
	assert_int_equal(peer_ask(a, "k", 'm', 0, 5000, &t), NEAR_OK);
	(void)peer_invalidate(b, "k");
	assert_int_equal(peer_fill(a, "k", &t, "too late"), NEAR_CONFLICT);
	assert_int_equal(peer_look(a, "k", text), PEER_NOTHING);
	/* And the other way that a token ends: a put. */
	assert_int_equal(peer_ask(a, "k", 'm', 0, 5000, &t), NEAR_OK);
	(void)peer_put(b, "k", "newer");
	assert_int_equal(peer_fill(a, "k", &t, "too late"), NEAR_CONFLICT);
	(void)peer_look(a, "k", text);
	assert_string_equal(text, "newer");
	peer_close(a);
	peer_close(b);
}

static void fill__with_a_token_of_a_dead_incarnation__is_refused(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	peer_token t, u;
	char text[64];
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &t), NEAR_OK);
	assert_int_equal(near__coherence_void_shard(a->c, peer_shard(a, "k"), peer_deadline()), NEAR_OK);
	/* The token's key is still there: it is nobody's now. */
	assert_int_equal(redis_server_integer(server, "EXISTS test:v1~t:k"), 1);
	assert_int_equal(peer_fill(a, "k", &t, "too late"), NEAR_CONFLICT);
	assert_int_equal(peer_look(a, "k", text), PEER_NOTHING);
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &t), NEAR_OK);
	assert_int_equal(near__coherence_void_shard(a->c, peer_shard(a, "k"), peer_deadline()), NEAR_OK);
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &u), NEAR_OK);
	assert_int_equal(u.answer, NEAR__TOKEN_GRANTED);
	assert_true(u.token.incarnation != t.token.incarnation);
	peer_close(a);
}

static void token__released__is_free_and_waiters_hear_of_it(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	peer_token t, u;
	peer_key k;
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &t), NEAR_OK);
	near__coherence_token_release(a->c, peer_key_of(a, "k", &k), &t.token);
	PEER_UNTIL(peer_get(b, &b->filled) == 1);
	assert_int_equal(peer_ask(b, "k", 'm', 0, 60000, &u), NEAR_OK);
	assert_int_equal(u.answer, NEAR__TOKEN_GRANTED);
	/* A second release by the former holder frees nothing. */
	near__coherence_token_release(a->c, peer_key_of(a, "k", &k), &t.token);
	assert_int_equal(redis_server_integer(server, "EXISTS test:v1~t:k"), 1);
	peer_close(a);
	peer_close(b);
}

/* Soft-expired, marked stale, damaged for the caller, a stranger's: all of these must be loadable again. */
static void token__by_what_the_envelope_says__is_granted(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	peer_token t;
	near__pos pos;
	bool retry;
	size_t size;
	peer_value brief = { .text = "old", .fresh_ms = 1 };
	assert_int_equal(peer_put_with(a, "expired", &brief, 's', 0, &pos, &retry), NEAR_OK);
	PEER_UNTIL(peer_ask(a, "expired", 'm', 0, 60000, &t) == NEAR_OK && t.answer == NEAR__TOKEN_GRANTED);
	assert_string_equal(t.value, "old"); /* to fall back on */

	(void)peer_put(a, "marked", "old");
	assert_int_equal(peer_invalidate_with(a, "marked", NEAR__CHANGE_INVALIDATE, true, &pos), NEAR_OK);
	assert_int_equal(peer_ask(a, "marked", 'm', 0, 60000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_GRANTED);
	assert_string_equal(t.value, "old");

	server_run("SET test:v1:strange %s", "bytes");
	assert_int_equal(peer_ask(a, "strange", 'm', 0, 60000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_GRANTED);
	assert_false(t.has_value);
	assert_int_equal(peer_fill(a, "strange", &t, "ours"), NEAR_OK);
	server_run("DEL test:v1:list%s", "");
	server_run("RPUSH test:v1:list %s", "x");
	assert_int_equal(peer_ask(a, "list", 'm', 0, 60000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_GRANTED);
	assert_int_equal(peer_fill(a, "list", &t, "ours"), NEAR_OK);

	(void)peer_put(a, "rejected", "cannot be decoded by me");
	unsigned char *bytes = peer_get_raw(a, "rejected", &size);
	assert_int_equal(peer_ask(a, "rejected", 'm', 0, 60000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_VALUE);
	assert_int_equal(peer_ask(a, "rejected", 'x', near__envelope_sum(bytes, size), 60000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_GRANTED);
	assert_int_equal(peer_ask(a, "rejected", 'x', near__envelope_sum(bytes, size) + 1, 60000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_VALUE);
	free(bytes);
	peer_close(a);
}

static void token__for_a_refresh__gives_only_a_newer_value(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	peer_token t;
	size_t size;
	near__envelope e;
	(void)peer_put(a, "k", "v1");
	unsigned char *bytes = peer_get_raw(a, "k", &size);
	assert_true(near__envelope_read(bytes, size, "k", 1, &e));
	assert_int_equal(peer_ask(b, "k", 'r', e.fresh_until_ms - 1, 60000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_VALUE);
	assert_int_equal(peer_ask(b, "k", 'r', e.fresh_until_ms, 60000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_GRANTED);
	free(bytes);
	peer_close(a);
	peer_close(b);
}

static void token__whose_holder_died__lapses(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	peer_token t;
	assert_int_equal(peer_ask(a, "k", 'm', 0, 30, &t), NEAR_OK);
	peer_close(a);
	PEER_UNTIL(peer_ask(b, "k", 'm', 0, 1000, &t) == NEAR_OK && t.answer == NEAR__TOKEN_GRANTED);
	peer_close(b);
}

/* ------------------------------------------------------------------------- touch */

static void touch__of_the_value_seen__replaces_it_and_nobody_drops(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	peer_key k;
	size_t size, new_size;
	near__pos pos;
	(void)peer_put(a, "k", "v1");
	PEER_UNTIL(peer_drops_of(a, "k") == 1);
	unsigned char *bytes = peer_get_raw(a, "k", &size);
	void *longer = peer_envelope(a, "k", &(peer_value){ .text = "v1", .fresh_ms = 500000 }, &new_size);
	uint64_t sum = near__envelope_sum(bytes, size);
	assert_int_equal(near__coherence_touch(a->c, peer_key_of(a, "k", &k), sum + 1, longer, new_size, 600000), NEAR_MISS);
	assert_int_equal(near__coherence_touch(a->c, peer_key_of(a, "k", &k), sum, longer, new_size, 600000), NEAR_OK);
	assert_true(redis_server_integer(server, "PTTL test:v1:k") > 60000);
	assert_int_equal(near__coherence_touch(a->c, peer_key_of(a, "k", &k), sum, longer, new_size, 600000), NEAR_MISS);
	assert_int_equal(peer_drops_of(a, "k"), 1);
	/* What is stale does not live longer. */
	sum = near__envelope_sum(longer, new_size);
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, true, &pos), NEAR_OK);
	assert_int_equal(near__coherence_touch(a->c, peer_key_of(a, "k", &k), sum, longer, new_size, 600000), NEAR_MISS);
	free(bytes);
	free(longer);
	peer_close(a);
}

/* ---------------------------------------------------------- trouble with the server */

static void steps__after_function_flush__load_the_library_again(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	peer_token t;
	server_run("FUNCTION FLUSH%s", "");
	(void)peer_invalidate(a, "k");
	server_run("FUNCTION FLUSH%s", "");
	assert_int_equal(peer_ask(a, "k", 'm', 0, 1000, &t), NEAR_OK);
	server_run("FUNCTION FLUSH%s", "");
	assert_int_equal(near__coherence_invalidate_tag(a->c, 7, peer_deadline()), NEAR_OK);
	/* The I/O thread's own steps, too: the lease goes on being renewed. */
	server_run("FUNCTION FLUSH%s", "");
	uint64_t renewals = peer_stat(b, NEAR__STAT_lease_renewals);
	PEER_UNTIL(peer_stat(b, NEAR__STAT_lease_renewals) > renewals + 3);
	peer_close(a);
	peer_close(b);
}

static void invalidate__in_a_full_redis__still_works(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	near__pos pos;
	bool retry;
	peer_token t;
	char text[64], error[200];
	(void)peer_put(a, "k", "v1");
	server_run("CONFIG SET maxmemory-policy %s", "noeviction");
	server_run("CONFIG SET maxmemory %s", "1");
	assert_int_equal(peer_put_with(a, "k2", &(peer_value){ .text = "v" }, 's', 0, &pos, &retry), NEAR_E_UNAVAILABLE);
	assert_true(near__coherence_last_error(a->c, error, sizeof(error)) > 0);
	assert_non_null(strstr(error, "OOM"));
	assert_int_equal(peer_ask(a, "k2", 'm', 0, 1000, &t), NEAR_E_UNAVAILABLE);
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, false, &pos), NEAR_OK);
	assert_int_equal(near__coherence_invalidate_tag(a->c, 7, peer_deadline()), NEAR_OK);
	PEER_UNTIL(peer_drops_of(b, "k") == 2);
	assert_int_equal(peer_look(a, "k", text), PEER_NOTHING);
	uint64_t renewals = peer_stat(b, NEAR__STAT_lease_renewals);
	PEER_UNTIL(peer_stat(b, NEAR__STAT_lease_renewals) > renewals);
	peer_close(a);
	peer_close(b);
}

static void fill__refused_by_a_full_redis__gives_the_token_back(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	peer_token t;
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &t), NEAR_OK);
	server_run("CONFIG SET maxmemory %s", "1");
	assert_int_equal(peer_fill(a, "k", &t, "v1"), NEAR_E_UNAVAILABLE);
	assert_int_equal(redis_server_integer(server, "EXISTS test:v1~t:k"), 0);
	peer_close(a);
}

static void steps__on_a_replica__are_refused_and_nothing_is_trusted(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	near__pos pos;
	server_run("REPLICAOF 127.0.0.1 %s", "1");
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, false, &pos), NEAR_E_UNAVAILABLE);
	PEER_UNTIL(near__coarse_ns() > near__coherence_lease_until(a->c));
	server_run("REPLICAOF NO %s", "ONE");
	peer_ready(a);
	peer_close(a);
}

/* Offsets in the steps' text against those of the envelope: were one wrong, these steps would answer otherwise. */
static void envelope__as_redis_reads_it__has_the_fields_of_l2(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	peer_token t;
	size_t size;
	char text[64];
	near__pos pos;
	static const struct {
		size_t at, bytes;
		bool stays_fresh;
	} fields[] = {
		{ 0, 4, false }, { 4, 1, false }, { 5, 1, true }, { NEAR__ENVELOPE_MARK_AT, 1, false },
		{ NEAR__ENVELOPE_INC_AT, 8, false }, { NEAR__ENVELOPE_CREATED_AT, 8, true },
		{ NEAR__ENVELOPE_VERSION_AT, 8, true }, { NEAR__ENVELOPE_SUM_AT, 8, true },
	};
	for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
		for (size_t i = 0; i < fields[f].bytes; i++) {
			unsigned char *bytes = peer_envelope(a, "k", &(peer_value){ .text = "v" }, &size);
			bytes[fields[f].at + i] ^= 0x40;
			free(redis_server_command(server, "SET test:v1:k %b", bytes, size));
			assert_int_equal(peer_ask(a, "k", 'm', 0, 1000, &t), NEAR_OK);
			assert_int_equal(t.answer == NEAR__TOKEN_VALUE, fields[f].stays_fresh);
			free(bytes);
			server_run("DEL test:v1~t:%s", "k");
		}
	}
	/* fresh_until: the sign of the difference decides, at its own 8 bytes. */
	unsigned char *bytes = peer_envelope(a, "k", &(peer_value){ .text = "v" }, &size);
	memset(bytes + NEAR__ENVELOPE_FRESH_AT, 0, 8);
	free(redis_server_command(server, "SET test:v1:k %b", bytes, size));
	assert_int_equal(peer_ask(a, "k", 'm', 0, 1000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_GRANTED);
	bytes[NEAR__ENVELOPE_FRESH_AT + 6] = 1;
	free(redis_server_command(server, "SET test:v1:k %b", bytes, size));
	assert_int_equal(peer_ask(a, "k", 'm', 0, 1000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_VALUE);
	free(bytes);
	/* The head's length: one byte less is no envelope. */
	bytes = peer_envelope(a, "k", &(peer_value){ .text = "" }, &size);
	assert_int_equal(size, NEAR__ENVELOPE_HEAD);
	free(redis_server_command(server, "SET test:v1:k %b", bytes, size - 1));
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, true, &pos), NEAR_OK);
	assert_int_equal(peer_look(a, "k", text), PEER_NOTHING);
	free(redis_server_command(server, "SET test:v1:k %b", bytes, size));
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, true, &pos), NEAR_OK);
	assert_int_equal(peer_look(a, "k", text), PEER_MARKED);
	free(bytes);
	peer_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(invalidate__acknowledged__every_peer_drops_it),
		SERVER_TEST(put__then_read_by_another__is_fresh_and_of_its_incarnation),
		SERVER_TEST(invalidate__keeping_stale__marks_in_place),
		SERVER_TEST(invalidate__keeping_what_is_no_envelope__deletes_it),
		SERVER_TEST(add__where_a_fresh_value_is__does_nothing),
		SERVER_TEST(replace__without_a_fresh_value__does_nothing),
		SERVER_TEST(put_of_a_version__where_the_same_or_a_higher_is__conflicts),
		SERVER_TEST(put_if_version__of_another_version__conflicts),
		SERVER_TEST(add__over_a_remembered_absence__puts),
		SERVER_TEST(put__of_an_incarnation_that_is_over__retries_with_the_new_one),
		SERVER_TEST(token__asked_by_two__is_granted_to_one),
		SERVER_TEST(fill__after_an_invalidation__is_refused),
		SERVER_TEST(fill__with_a_token_of_a_dead_incarnation__is_refused),
		SERVER_TEST(token__released__is_free_and_waiters_hear_of_it),
		SERVER_TEST(token__by_what_the_envelope_says__is_granted),
		SERVER_TEST(token__for_a_refresh__gives_only_a_newer_value),
		SERVER_TEST(token__whose_holder_died__lapses),
		SERVER_TEST(touch__of_the_value_seen__replaces_it_and_nobody_drops),
		SERVER_TEST(steps__after_function_flush__load_the_library_again),
		SERVER_TEST(invalidate__in_a_full_redis__still_works),
		SERVER_TEST(fill__refused_by_a_full_redis__gives_the_token_back),
		SERVER_TEST(steps__on_a_replica__are_refused_and_nothing_is_trusted),
		SERVER_TEST(envelope__as_redis_reads_it__has_the_fields_of_l2),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
