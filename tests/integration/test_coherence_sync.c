/* What a process knows of changes it did not hear of: fences, killed subscriptions, absence, lost data, new servers. */
#include "coherence_peer.h"

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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
