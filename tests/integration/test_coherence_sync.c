/* What a process knows of changes it did not hear of: killed subscriptions, lost messages, lost data, new servers. */
#include "coherence_peer.h"

static uint64_t incarnation_of(peer *p, const char *key)
{
	return near__coherence_incarnation(p->c, peer_shard(p, key));
}

static near__pos pos_of(peer *p, const char *key)
{
	return near__coherence_pos(p->c, peer_shard(p, key));
}

/* ---------------------------------------------------------------------- the fence */

static void current__after_an_invalidation_was_applied__refuses_what_was_read_before(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	unsigned shard = peer_shard(a, "k");
	uint64_t hash = near__hash_shared("k", 1);
	near__pos p0 = near__coherence_pos(b->c, shard);
	assert_true(near__coherence_current(b->c, shard, hash, p0));
	(void)peer_invalidate(a, "k");
	PEER_UNTIL(near__coherence_pos(b->c, shard) > p0);
	assert_false(near__coherence_current(b->c, shard, hash, p0));
	assert_true(near__coherence_current(b->c, shard, hash, near__coherence_pos(b->c, shard)));
	peer_close(a);
	peer_close(b);
}

static void raise__of_an_own_write__refuses_before_the_message_comes(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	unsigned shard = peer_shard(a, "k");
	uint64_t hash = near__hash_shared("k", 1);
	near__pos p0 = near__coherence_pos(a->c, shard);
	near__coherence_raise(a->c, shard, hash, p0 + 1);
	assert_false(near__coherence_current(a->c, shard, hash, p0));
	assert_true(near__coherence_current(a->c, shard, hash, p0 + 1));
	/* Never lowered. */
	near__coherence_raise(a->c, shard, hash, p0);
	assert_false(near__coherence_current(a->c, shard, hash, p0));
	peer_close(a);
}

static void before_redis__nothing_is_known_and_no_lease_held(void **state)
{
	(void)state;
	peer *a = peer_open_with(NULL, &(peer_options){ .url = "unix:///nonexistent/near.sock" });
	assert_int_equal(near__coherence_incarnation(a->c, 0), 0);
	assert_int_equal(near__coherence_pos(a->c, 0), 0);
	assert_int_equal(near__coherence_wait_lease(a->c, near__now_ns() + 50 * NEAR__MS_NS), NEAR_E_TIMEOUT);
	assert_int_equal(near__coherence_redis_ms(a->c), 0);
	near__pos pos;
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, false, &pos), NEAR_E_UNAVAILABLE);
	char text[300];
	PEER_UNTIL(near__coherence_last_error(a->c, text, sizeof(text)) > 0);
	peer_close(a);
}

static void between_words_and_envelopes__only_the_same_incarnation_counts(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	unsigned shard = peer_shard(a, "k");
	near__pos pos = peer_invalidate(a, "k");
	PEER_UNTIL(near__coherence_pos(a->c, shard) == pos);
	uint64_t inc = incarnation_of(a, "k");
	assert_int_equal(near__coherence_seq_of(a->c, shard, pos, inc), 1);
	assert_int_equal(near__coherence_seq_of(a->c, shard, pos, inc + 1), 0);
	assert_true(near__coherence_pos_of(a->c, shard, inc, 1) == pos);
	assert_true(near__coherence_pos_of(a->c, shard, inc + 1, 1) == 0);
	assert_int_equal(near__coherence_void_shard(a->c, shard, peer_deadline()), NEAR_OK);
	PEER_UNTIL(incarnation_of(a, "k") != inc && incarnation_of(a, "k") != 0);
	/* A pos of a former generation is as old as can be. */
	assert_int_equal(near__coherence_seq_of(a->c, shard, pos, incarnation_of(a, "k")), 0);
	peer_close(a);
}

/* ------------------------------------------------------------- lost subscriptions */

static void kill_subscribers(void)
{
	server_run("CLIENT KILL TYPE %s", "pubsub");
}

static void subscriber_killed__what_was_missed_is_replayed_and_nothing_flushed(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	char key[16];
	for (int round = 0; round < 5; round++) {
		kill_subscribers();
		for (int i = 0; i < 40; i++) {
			(void)snprintf(key, sizeof(key), "k%d.%d", round, i);
			(void)peer_invalidate(a, key);
		}
	}
	for (int round = 0; round < 5; round++)
		for (int i = 0; i < 40; i++) {
			(void)snprintf(key, sizeof(key), "k%d.%d", round, i);
			PEER_UNTIL(peer_drops_of(a, key) == 1 && peer_drops_of(b, key) == 1);
		}
	assert_int_equal(peer_get(b, &b->flushed), 0);
	assert_int_equal(peer_stat(b, NEAR__STAT_flushes), 0);
	assert_int_equal(peer_stat(b, NEAR__STAT_messages_applied), 200);
	peer_ready(b);
	peer_close(a);
	peer_close(b);
}

/* ------------------------------------------------------------------ away for a while */

static int server_up_with_guest(void **state)
{
	(void)state;
	server = redis_server_start(&(redis_server_options){ .tcp = true });
	server_run("ACL SETUSER guest on >pass ~* &* +@all%s", "");
	return 0;
}

/* A peer that can be kept away from Redis: it comes as a user of its own. */
static peer *guest_open(const peer_options *options)
{
	char url[128];
	peer_options o = *options;
	(void)snprintf(url, sizeof(url), "redis://guest:pass@127.0.0.1:%u", (unsigned)redis_server_port(server));
	o.url = url;
	peer *p = peer_open_with(server, &o);
	peer_ready(p);
	return p;
}

static void guest_away(peer *p)
{
	server_run("ACL SETUSER guest %s", "off");
	server_run("CLIENT KILL USER %s", "guest");
	PEER_UNTIL(!near__redis_is_up(near__coherence_redis(p->c)) && peer_get(p, &p->downs) > 0);
}

static void guest_back(peer *p)
{
	server_run("ACL SETUSER guest %s", "on");
	PEER_UNTIL(near__redis_is_up(near__coherence_redis(p->c)));
}

static void process_away__within_the_log__replays_all_in_several_answers(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1 });
	peer_ready(a);
	peer *b = guest_open(&(peer_options){ .shards = 1 });
	char key[16];
	guest_away(b);
	for (int i = 0; i < 1500; i++) {
		(void)snprintf(key, sizeof(key), "k%d", i);
		(void)peer_invalidate(a, key);
	}
	assert_int_equal(pos_of(b, "k0") & NEAR__SEQ_MASK, 0);
	guest_back(b);
	PEER_UNTIL((pos_of(b, "k0") & NEAR__SEQ_MASK) == 1500);
	for (int i = 0; i < 1500; i += 100) {
		(void)snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(peer_drops_of(b, key), 1);
	}
	assert_int_equal(peer_get(b, &b->flushed), 0);
	assert_int_equal(peer_stat(b, NEAR__STAT_messages_applied), 1500);
	assert_true(peer_stat(b, NEAR__STAT_replays) >= 3);
	peer_close(a);
	peer_close(b);
}

static void process_away__longer_than_the_log__flushes(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1, .log_max = 16 });
	peer_ready(a);
	peer *b = guest_open(&(peer_options){ .shards = 1, .log_max = 16 });
	uint64_t hash = near__hash_shared("k", 1);
	(void)peer_invalidate(a, "k");
	PEER_UNTIL((pos_of(b, "k") & NEAR__SEQ_MASK) == 1);
	near__pos before = pos_of(b, "k");
	uint64_t inc = incarnation_of(b, "k");
	guest_away(b);
	for (int i = 0; i < 400; i++) /* a stream is trimmed by whole nodes of 100 */
		(void)peer_invalidate(a, "other");
	guest_back(b);
	PEER_UNTIL((pos_of(b, "k") & NEAR__SEQ_MASK) == 401);
	assert_int_equal(peer_get(b, &b->flushed), 1);
	assert_int_equal(incarnation_of(b, "k"), inc);
	/* Everything kept before is below the floor, everything from now on above. */
	assert_true(before < near__coherence_floor(b->c, 0));
	assert_false(near__coherence_current(b->c, 0, hash, before));
	assert_true(pos_of(b, "k") >= near__coherence_floor(b->c, 0));
	assert_true(near__coherence_floor_max(b->c) == near__coherence_floor(b->c, 0));
	peer_close(a);
	peer_close(b);
}

/* A fill that was under way during the absence: p0 from before, the value from before. */
static void process_away__fill_of_before__is_refused_after_the_replay(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1 });
	peer_ready(a);
	peer *b = guest_open(&(peer_options){ .shards = 1 });
	near__pos p0 = pos_of(b, "k");
	guest_away(b);
	(void)peer_invalidate(a, "k");
	guest_back(b);
	peer_ready(b);
	PEER_UNTIL((pos_of(b, "k") & NEAR__SEQ_MASK) == 1);
	assert_false(near__coherence_current(b->c, 0, near__hash_shared("k", 1), p0));
	peer_close(a);
	peer_close(b);
}

/* ------------------------------------------------------------------- lost data */

static void expect_new_incarnation(peer *p, const char *key, uint64_t old, unsigned flushes)
{
	PEER_UNTIL(incarnation_of(p, key) != old && incarnation_of(p, key) != 0);
	PEER_UNTIL(peer_get(p, &p->flushed) >= flushes);
	peer_ready(p);
}

static void redis_restarted_without_data__new_incarnation_and_flush(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	(void)peer_put(a, "k", "v1");
	uint64_t inc = incarnation_of(a, "k");
	redis_server_restart(server, false);
	expect_new_incarnation(a, "k", inc, 4);
	assert_int_equal(peer_get(a, &a->ups), 2);
	assert_int_equal(peer_get(a, &a->downs), 1);
	(void)peer_invalidate(a, "k");
	peer_close(a);
}

static int server_up_persistent(void **state)
{
	(void)state;
	server = redis_server_start(&(redis_server_options){ .persist = true });
	return 0;
}

/* The data may lack what was acknowledged last, so nothing of it is believed. */
static void redis_restarted_with_data__new_incarnation_and_old_values_are_dead(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	char text[64];
	(void)peer_put(a, "k", "v1");
	uint64_t inc = incarnation_of(a, "k");
	redis_server_restart(server, true);
	expect_new_incarnation(a, "k", inc, 4);
	assert_int_equal(peer_look(a, "k", text), PEER_DEAD);
	peer_token t;
	assert_int_equal(peer_ask(a, "k", 'm', 0, 1000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_GRANTED);
	assert_false(t.has_value);
	peer_close(a);
}

static void flushall__while_connected__is_noticed_without_any_step(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	uint64_t inc = incarnation_of(b, "k");
	server_run("FLUSHALL%s", "");
	expect_new_incarnation(a, "k", inc, 4);
	expect_new_incarnation(b, "k", inc, 4);
	PEER_UNTIL(incarnation_of(a, "k") == incarnation_of(b, "k"));
	peer_close(a);
	peer_close(b);
}

static void hash_lost_but_not_the_log__begins_anew_and_goes_on(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1 });
	peer_ready(a);
	for (int i = 0; i < 5; i++)
		(void)peer_invalidate(a, "k");
	uint64_t inc = incarnation_of(a, "k");
	server_run("DEL test:v1~m:%s", "0");
	near__pos pos;
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, false, &pos), NEAR_OK);
	expect_new_incarnation(a, "k", inc, 1);
	PEER_UNTIL((pos_of(a, "k") & NEAR__SEQ_MASK) == 1);
	(void)peer_invalidate(a, "k");
	PEER_UNTIL((pos_of(a, "k") & NEAR__SEQ_MASK) == 2);
	peer_close(a);
}

/* Set back, as by a restore of a single key: the log is ahead of it and refuses the sequence. */
static void hash_older_than_the_log__begins_anew(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1 });
	peer_ready(a);
	for (int i = 0; i < 5; i++)
		(void)peer_invalidate(a, "k");
	uint64_t inc = incarnation_of(a, "k");
	server_run("HSET test:v1~m:0 seq %s", "2");
	near__pos pos;
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, false, &pos), NEAR_OK);
	expect_new_incarnation(a, "k", inc, 1);
	/* The same for what is no hash and no stream at all. */
	inc = incarnation_of(a, "k");
	server_run("SET test:v1~m:0 %s", "x");
	expect_new_incarnation(a, "k", inc, 2);
	inc = incarnation_of(a, "k");
	server_run("SET test:v1~l:0 %s", "x");
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, false, &pos), NEAR_OK);
	expect_new_incarnation(a, "k", inc, 3);
	peer_close(a);
}

static void log_lost__while_nothing_was_missed__goes_on_without_a_flush(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1 });
	peer_ready(a);
	(void)peer_invalidate(a, "k");
	server_run("DEL test:v1~l:%s", "0");
	(void)peer_invalidate(a, "k");
	PEER_UNTIL((pos_of(a, "k") & NEAR__SEQ_MASK) == 2);
	assert_int_equal(peer_get(a, &a->flushed), 0);
	peer_close(a);
}

static void log_with_a_hole__flushes(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1 });
	peer_ready(a);
	peer *b = guest_open(&(peer_options){ .shards = 1 });
	guest_away(b);
	for (int i = 0; i < 5; i++)
		(void)peer_invalidate(a, "k");
	server_run("XDEL test:v1~l:0 %s", "3-1");
	guest_back(b);
	PEER_UNTIL((pos_of(b, "k") & NEAR__SEQ_MASK) == 5);
	assert_int_equal(peer_get(b, &b->flushed), 1);
	peer_ready(b);
	peer_close(a);
	peer_close(b);
}

static void void_shard__by_one__is_flushed_by_all_at_once(void **state)
{
	(void)state;
	/* A lease so long that only the message can have brought it. */
	peer *a = peer_open_with(server, &(peer_options){ .lease_ms = 60000 });
	peer *b = peer_open_with(server, &(peer_options){ .lease_ms = 60000 });
	peer_ready(a);
	peer_ready(b);
	unsigned shard = peer_shard(a, "k");
	uint64_t inc = incarnation_of(b, "k");
	assert_int_equal(near__coherence_void_shard(a->c, shard, peer_deadline()), NEAR_OK);
	assert_true(incarnation_of(a, "k") != inc && incarnation_of(a, "k") != 0);
	PEER_UNTIL(incarnation_of(a, "k") == incarnation_of(b, "k"));
	assert_int_equal(peer_get(b, &b->flushed), 1);
	assert_int_equal(peer_get(a, &a->flushed), 1);
	peer_close(a);
	peer_close(b);
}

/* ------------------------------------------------------------------ lost messages */

static _Atomic(near__coherence *) deaf;
static _Atomic(int) deaf_left; /* messages still to be lost */
static _Atomic(int) deaf_lost;

static bool lose(near__coherence *c, const char *channel, size_t channel_size, const char *bytes, size_t size)
{
	(void)channel;
	(void)channel_size;
	(void)bytes;
	(void)size;
	if (c != atomic_load(&deaf) || atomic_load(&deaf_left) <= 0)
		return true;
	atomic_fetch_sub(&deaf_left, 1);
	atomic_fetch_add(&deaf_lost, 1);
	return false;
}

static void lose_messages(peer *p, int count)
{
	atomic_store(&deaf_lost, 0);
	atomic_store(&deaf_left, count);
	atomic_store(&deaf, p->c);
	near__coherence_message_hook = lose;
}

static void message_lost__with_another_after_it__is_replayed_at_once(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1, .lease_ms = 60000 });
	peer *b = peer_open_with(server, &(peer_options){ .shards = 1, .lease_ms = 60000 });
	peer_ready(a);
	peer_ready(b);
	lose_messages(b, 1);
	(void)peer_invalidate(a, "lost");
	(void)peer_invalidate(a, "heard");
	PEER_UNTIL(peer_drops_of(b, "lost") == 1 && peer_drops_of(b, "heard") == 1);
	assert_int_equal(atomic_load(&deaf_lost), 1);
	assert_int_equal(peer_stat(b, NEAR__STAT_gaps), 1);
	assert_int_equal(peer_get(b, &b->gaps), 1);
	assert_int_equal(peer_get(b, &b->flushed), 0);
	near__coherence_message_hook = NULL;
	peer_close(a);
	peer_close(b);
}

static void last_message_lost__is_found_by_position_and_pong(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	lose_messages(b, 1);
	(void)peer_invalidate(a, "lost");
	PEER_UNTIL(peer_drops_of(b, "lost") == 1);
	assert_int_equal(atomic_load(&deaf_lost), 1);
	assert_int_equal(peer_stat(b, NEAR__STAT_gaps), 1);
	assert_int_equal(peer_get(b, &b->flushed), 0);
	peer_ready(b);
	near__coherence_message_hook = NULL;
	peer_close(a);
	peer_close(b);
}

/* A subscription that answers PING and brings nothing, as on the old node after a slot has moved. */
static void subscription_silent__is_made_again(void **state)
{
	(void)state;
	peer *a = peer_open(server), *b = peer_open(server);
	uint64_t reconnects = peer_stat(b, NEAR__STAT_reconnects);
	char key[16];
	lose_messages(b, 1000000);
	for (int i = 0; peer_stat(b, NEAR__STAT_reconnects) == reconnects; i++) {
		assert_true(i < 100);
		(void)snprintf(key, sizeof(key), "k%d", i);
		(void)peer_invalidate(a, key);
		PEER_UNTIL(peer_drops_of(b, key) == 1); /* replayed all the same */
	}
	near__coherence_message_hook = NULL;
	peer_close(a);
	peer_close(b);
}

/* -------------------------------------------------------------- forged and foreign */

static void publish(unsigned shard, const char *bytes, size_t size)
{
	free(redis_server_command(server, "PUBLISH test:v1~c:%s %b", (char[]){ (char)('0' + shard), '\0' }, bytes, size));
}

static void malformed_messages__are_counted_and_change_nothing(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	static const char *const bad[] = { "", " ", "1", "1 ", "hello", "1 0123456789abcdef 1 0123456789abcdef i",
		                           "1 0123456789abcdeF 1 0123456789abcdef i k", "1 0123456789abcdef 01 0123456789abcdef i k",
		                           "1 0123456789abcdef 0 0123456789abcdef i k", "-1 0 0 0 i k", "0 x" };
	size_t n = sizeof(bad) / sizeof(bad[0]);
	near__pos pos = near__coherence_pos(a->c, 1);
	for (size_t i = 0; i < n; i++)
		publish(1, bad[i], strlen(bad[i]));
	char *large = malloc(100000);
	assert_non_null(large);
	memset(large, 'x', 100000);
	publish(1, large, 100000);
	free(large);
	PEER_UNTIL(peer_stat(a, NEAR__STAT_messages_malformed) == n + 1);
	assert_true(near__coherence_pos(a->c, 1) == pos);
	assert_int_equal(peer_get(a, &a->flushed), 0);
	(void)peer_invalidate(a, "k");
	PEER_UNTIL(peer_drops_of(a, "k") == 1);
	peer_close(a);
}

static void forged_messages__cost_a_question_and_no_flush(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1 });
	peer_ready(a);
	char text[128];
	int n = snprintf(text, sizeof(text), "1 %016llx 17592186044415 0123456789abcdef i k",
	                 (unsigned long long)incarnation_of(a, "k"));
	for (int i = 0; i < 100; i++)
		publish(0, text, (size_t)n);
	n = snprintf(text, sizeof(text), "1 00000000deadbeef 5 0123456789abcdef i k");
	for (int i = 0; i < 100; i++)
		publish(0, text, (size_t)n);
	(void)peer_invalidate(a, "k");
	PEER_UNTIL(peer_drops_of(a, "k") == 1);
	peer_ready(a);
	assert_int_equal(peer_get(a, &a->flushed), 0);
	assert_int_equal(pos_of(a, "k") & NEAR__SEQ_MASK, 1);
	peer_close(a);
}

static void message_of_a_later_version__flushes_but_not_for_each(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1, .lease_ms = 500 });
	peer_ready(a);
	near__pos before = pos_of(a, "k");
	int64_t begun_ns = near__now_ns();
	for (int i = 0; i < 50; i++)
		publish(0, "2 whatever a later version says", 31);
	PEER_UNTIL(peer_get(a, &a->flushed) >= 1);
	assert_true(near__coherence_floor(a->c, 0) > before);
	PEER_UNTIL(near__coherence_pos(a->c, 0) > before);
	peer_ready(a);
	/* One at once, then one per lease. */
	uint64_t leases = (uint64_t)(near__now_ns() - begun_ns) / (500 * (uint64_t)NEAR__MS_NS);
	assert_true(peer_get(a, &a->flushed) <= 2 + leases);
	peer_close(a);
}

/* ------------------------------------------------------------------------- tags */

static void tag__invalidated__is_known_to_all_in_all_shards(void **state)
{
	(void)state;
	const uint64_t tag = near__hash_shared("blue", 4);
	peer *a = peer_open(server), *b = peer_open(server);
	for (unsigned s = 0; s < 4; s++)
		assert_true(near__coherence_tag_pos(a->c, s, tag) == 0);
	assert_int_equal(near__coherence_invalidate_tag(a->c, tag, peer_deadline()), NEAR_OK);
	for (unsigned s = 0; s < 4; s++) {
		/* The writer at once, the others by the message. */
		assert_int_equal(near__coherence_tag_pos(a->c, s, tag) & NEAR__SEQ_MASK, 1);
		PEER_UNTIL((near__coherence_tag_pos(b->c, s, tag) & NEAR__SEQ_MASK) == 1);
		assert_int_equal(near__coherence_tag_pos(b->c, s, tag + 1), 0);
	}
	PEER_UNTIL(peer_drop_count(b) == 4);
	assert_int_equal(b->drops[0].change, NEAR__CHANGE_TAG);
	assert_memory_equal(b->drops[0].key, &tag, 8); /* this machine is little endian */
	peer_close(a);
	peer_close(b);
}

static void tag__invalidated_before_a_process_came__is_known_to_it(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	assert_int_equal(near__coherence_invalidate_tag(a->c, 77, peer_deadline()), NEAR_OK);
	(void)peer_invalidate(a, "k");
	peer *late = peer_open(server);
	for (unsigned s = 0; s < 4; s++) {
		near__pos pos = near__coherence_tag_pos(late->c, s, 77);
		assert_int_equal(pos & NEAR__SEQ_MASK, 1);
		assert_true(pos == near__coherence_pos_of(late->c, s, near__coherence_incarnation(late->c, s), 1));
	}
	/* And to one that has to start over. */
	for (unsigned s = 0; s < 4; s++)
		publish(s, "2 x", 3);
	PEER_UNTIL(peer_get(late, &late->flushed) == 4);
	for (unsigned s = 0; s < 4; s++)
		assert_true(near__coherence_tag_pos(late->c, s, 77) >= near__coherence_floor(late->c, s));
	peer_close(a);
	peer_close(late);
}

static void fill__of_a_value_older_than_its_tag__is_refused(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	const uint64_t tags[2] = { 1234567, 77 };
	unsigned shard = peer_shard(a, "k");
	char text[64];
	peer_token t;
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &t), NEAR_OK);
	near__pos p0 = near__coherence_pos(a->c, shard);
	assert_int_equal(near__coherence_invalidate_tag(a->c, 77, peer_deadline()), NEAR_OK);
	peer_value v = { .text = "v", .tags = tags, .tag_count = 2 };
	v.asof = near__coherence_seq_of(a->c, shard, p0, t.token.incarnation);
	assert_int_equal(peer_fill_with(a, "k", &t, &v), NEAR_CONFLICT);
	assert_int_equal(peer_look(a, "k", text), PEER_NOTHING);
	/* Read after it: stored. */
	PEER_UNTIL((near__coherence_pos(a->c, shard) & NEAR__SEQ_MASK) == 1);
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &t), NEAR_OK);
	v.asof = near__coherence_seq_of(a->c, shard, near__coherence_pos(a->c, shard), t.token.incarnation);
	assert_int_equal(v.asof, 1);
	assert_int_equal(peer_fill_with(a, "k", &t, &v), NEAR_OK);
	peer_close(a);
}

static void token__for_a_value_older_than_its_tag__is_granted(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	const uint64_t tags[2] = { 1234567, 77 };
	near__pos pos;
	bool retry;
	peer_token t;
	peer_value v = { .text = "v", .tags = tags, .tag_count = 2 };
	assert_int_equal(peer_put_with(a, "k", &v, 's', 0, &pos, &retry), NEAR_OK);
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_VALUE);
	assert_int_equal(peer_put_with(a, "k", &v, 'a', 0, &pos, &retry), NEAR_EXISTS);
	assert_int_equal(near__coherence_invalidate_tag(a->c, 77, peer_deadline()), NEAR_OK);
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &t), NEAR_OK);
	assert_int_equal(t.answer, NEAR__TOKEN_GRANTED);
	assert_int_equal(peer_put_with(a, "k", &v, 'r', 0, &pos, &retry), NEAR_MISS);
	assert_int_equal(peer_put_with(a, "k", &v, 'a', 0, &pos, &retry), NEAR_OK);
	peer_close(a);
}

static void tags__of_every_stripe__reach_a_late_comer(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 1 });
	peer_ready(a);
	for (unsigned i = 0; i < NEAR__TAG_STRIPES; i += 64) {
		char command[4096];
		int n = snprintf(command, sizeof(command), "HSET test:v1~m:0");
		for (unsigned j = i; j < i + 64; j++)
			n += snprintf(command + n, sizeof(command) - (size_t)n, " t%u %u", j, j + 1);
		server_run(command, "");
	}
	server_run("HSET test:v1~m:0 seq %s", "20000");
	peer *late = peer_open_with(server, &(peer_options){ .shards = 1 });
	peer_ready(late);
	for (unsigned i = 0; i < NEAR__TAG_STRIPES; i++)
		assert_int_equal(near__coherence_tag_pos(late->c, 0, i + 5 * NEAR__TAG_STRIPES) & NEAR__SEQ_MASK, i + 1);
	peer_close(a);
	peer_close(late);
}

/* ------------------------------------------------------------------------- lease */

static void redis_paused__lease_runs_to_its_end_and_comes_back(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .lease_ms = 1500 });
	peer_ready(a);
	redis_server_pause(server);
	int64_t paused_ns = near__now_ns();
	assert_true(near__coherence_lease_until(a->c) > near__coarse_ns()); /* goes on */
	PEER_UNTIL(near__coarse_ns() >= near__coherence_lease_until(a->c));
	/* No question asked after the pause can have been answered. */
	assert_true(near__coherence_lease_until(a->c) <= paused_ns + 1500 * NEAR__MS_NS - NEAR__COARSE_NS);
	redis_server_resume(server);
	peer_ready(a);
	assert_true(near__coherence_shard_lease_until(a->c, 0) >= near__coherence_lease_until(a->c));
	peer_close(a);
}

static void lease__is_renewed_while_all_is_well_and_never_lapses(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .lease_ms = 4000, .shards = 16 });
	peer_ready(a);
	uint64_t renewals = peer_stat(a, NEAR__STAT_lease_renewals);
	while (peer_stat(a, NEAR__STAT_lease_renewals) < renewals + 4) {
		assert_true(near__coarse_ns() < near__coherence_lease_until(a->c));
		usleep(2000);
	}
	char json[4096], small[10];
	size_t n = near__coherence_lease_json(a->c, json, sizeof(json));
	assert_int_equal(n, strlen(json));
	assert_int_equal(near__coherence_lease_json(a->c, small, sizeof(small)), n);
	assert_int_equal(strlen(small), sizeof(small) - 1);
	assert_non_null(strstr(json, "\"shards\":[{\"shard\":0,\"incarnation\":\""));
	assert_non_null(strstr(json, "\"connected\":true,\"subscribed\":true"));
	peer_close(a);
}

static void clock_of_redis__as_estimated__is_near(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	char *text = redis_server_command(server, "TIME");
	long long redis_ms = atoll(text) * 1000 + atoll(strchr(text, '\n')) / 1000;
	long long ours_ms = (long long)near__coherence_redis_ms(a->c);
	free(text);
	assert_in_range(ours_ms - redis_ms + 1000, 0, 2000);
	peer_close(a);
}

/* ------------------------------------------------------------------------- bounds */

static void shards__as_many_as_there_may_be__work(void **state)
{
	(void)state;
	peer *a = peer_open_with(server, &(peer_options){ .shards = 256 });
	peer *b = peer_open_with(server, &(peer_options){ .shards = 256 });
	peer_ready(a);
	peer_ready(b);
	assert_int_equal(near__coherence_invalidate_tag(a->c, 7, peer_deadline()), NEAR_OK);
	for (unsigned s = 0; s < 256; s++)
		PEER_UNTIL((near__coherence_tag_pos(b->c, s, 7) & NEAR__SEQ_MASK) == 1);
	(void)peer_invalidate(a, "k");
	PEER_UNTIL(peer_drops_of(b, "k") == 1);
	kill_subscribers();
	(void)peer_invalidate(a, "k");
	PEER_UNTIL(peer_drops_of(b, "k") == 2);
	assert_int_equal(peer_get(b, &b->flushed), 0);
	peer_close(a);
	peer_close(b);
}

static _Atomic(size_t) long_heard;
static char long_key[NEAR_KEY_MAX];
static void hear_long(void *ctx, unsigned shard, near__change change, const void *key, size_t key_size, near__pos pos)
{
	(void)ctx;
	(void)shard;
	(void)change;
	(void)pos;
	if (key_size == NEAR_KEY_MAX && memcmp(key, long_key, key_size) == 0)
		atomic_fetch_add(&long_heard, 1);
}

static void key__of_any_bytes_and_the_greatest_length__is_heard_whole(void **state)
{
	(void)state;
	char data[NEAR__NAME_MAX], token[NEAR__NAME_MAX];
	for (size_t i = 0; i < sizeof(long_key); i++)
		long_key[i] = (char)(i * 7);
	peer *a = peer_open_with(server, &(peer_options){ .drop = hear_long });
	peer_ready(a);
	near__step step = {
		.shard = near__coherence_shard(a->c, near__hash_shared(long_key, sizeof(long_key))),
		.key = long_key,
		.key_size = sizeof(long_key),
		.data_name = data,
		.token_name = token,
		.data_name_size = near__l2_data_name(a->prefix, long_key, sizeof(long_key), data),
		.token_name_size = near__l2_token_name(a->prefix, long_key, sizeof(long_key), token),
		.deadline_ns = peer_deadline(),
	};
	near__pos pos;
	near__token_answer answer;
	near__token t;
	near__reply *value;
	uint64_t wait_ms;
	assert_int_equal(near__coherence_invalidate(a->c, &step, NEAR__CHANGE_REMOVE, false, &pos), NEAR_OK);
	PEER_UNTIL(atomic_load(&long_heard) == 1);
	/* By way of the log as well. */
	lose_messages(a, 1);
	assert_int_equal(near__coherence_invalidate(a->c, &step, NEAR__CHANGE_REMOVE, false, &pos), NEAR_OK);
	PEER_UNTIL(atomic_load(&long_heard) == 2);
	near__coherence_message_hook = NULL;
	assert_int_equal(near__coherence_token(a->c, &step, 'm', 0, 1000, &answer, &t, &value, &wait_ms), NEAR_OK);
	near__coherence_token_release(a->c, &step, &t);
	assert_int_equal(peer_stat(a, NEAR__STAT_messages_malformed), 0);
	peer_close(a);
}

/* ------------------------------------------------------------- who may come at all */

static void shards__another_number_than_the_namespace_has__is_refused_in_words(void **state)
{
	(void)state;
	peer *a = peer_open(server);
	peer *b = peer_open_with(server, &(peer_options){ .shards = 8 });
	char text[300] = "";
	PEER_UNTIL(near__coherence_last_error(b->c, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "made with 4 shards"));
	assert_int_equal(near__coherence_incarnation(b->c, 0), 0);
	assert_int_equal(peer_get(b, &b->ups), 0);
	uint64_t inc = incarnation_of(a, "k");
	(void)peer_invalidate(a, "k");
	assert_int_equal(incarnation_of(a, "k"), inc);
	/* One that is connected already finds out by its next question, leaves, and comes back when it is right again. */
	server_run("HSET test:v1~m:0 n %s", "8");
	PEER_UNTIL(peer_get(a, &a->downs) == 1);
	assert_false(near__redis_is_up(near__coherence_redis(a->c)));
	server_run("HSET test:v1~m:0 n %s", "4");
	PEER_UNTIL(peer_get(a, &a->ups) == 2);
	peer_ready(a);
	assert_int_equal(peer_get(a, &a->flushed), 0);
	peer_close(a);
	peer_close(b);
}

#define GUEST_TEST(f) cmocka_unit_test_setup_teardown(f, server_up_with_guest, server_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(current__after_an_invalidation_was_applied__refuses_what_was_read_before),
		SERVER_TEST(raise__of_an_own_write__refuses_before_the_message_comes),
		cmocka_unit_test(before_redis__nothing_is_known_and_no_lease_held),
		SERVER_TEST(between_words_and_envelopes__only_the_same_incarnation_counts),
		SERVER_TEST(subscriber_killed__what_was_missed_is_replayed_and_nothing_flushed),
		GUEST_TEST(process_away__within_the_log__replays_all_in_several_answers),
		GUEST_TEST(process_away__longer_than_the_log__flushes),
		GUEST_TEST(process_away__fill_of_before__is_refused_after_the_replay),
		SERVER_TEST(redis_restarted_without_data__new_incarnation_and_flush),
		cmocka_unit_test_setup_teardown(redis_restarted_with_data__new_incarnation_and_old_values_are_dead,
		                                server_up_persistent, server_down),
		SERVER_TEST(flushall__while_connected__is_noticed_without_any_step),
		SERVER_TEST(hash_lost_but_not_the_log__begins_anew_and_goes_on),
		SERVER_TEST(hash_older_than_the_log__begins_anew),
		SERVER_TEST(log_lost__while_nothing_was_missed__goes_on_without_a_flush),
		GUEST_TEST(log_with_a_hole__flushes),
		SERVER_TEST(void_shard__by_one__is_flushed_by_all_at_once),
		SERVER_TEST(message_lost__with_another_after_it__is_replayed_at_once),
		SERVER_TEST(last_message_lost__is_found_by_position_and_pong),
		SERVER_TEST(subscription_silent__is_made_again),
		SERVER_TEST(malformed_messages__are_counted_and_change_nothing),
		SERVER_TEST(forged_messages__cost_a_question_and_no_flush),
		SERVER_TEST(message_of_a_later_version__flushes_but_not_for_each),
		SERVER_TEST(tag__invalidated__is_known_to_all_in_all_shards),
		SERVER_TEST(tag__invalidated_before_a_process_came__is_known_to_it),
		SERVER_TEST(fill__of_a_value_older_than_its_tag__is_refused),
		SERVER_TEST(token__for_a_value_older_than_its_tag__is_granted),
		SERVER_TEST(tags__of_every_stripe__reach_a_late_comer),
		SERVER_TEST(shards__as_many_as_there_may_be__work),
		SERVER_TEST(key__of_any_bytes_and_the_greatest_length__is_heard_whole),
		SERVER_TEST(redis_paused__lease_runs_to_its_end_and_comes_back),
		SERVER_TEST(lease__is_renewed_while_all_is_well_and_never_lapses),
		SERVER_TEST(clock_of_redis__as_estimated__is_near),
		SERVER_TEST(shards__another_number_than_the_namespace_has__is_refused_in_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
