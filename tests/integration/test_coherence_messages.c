/* Messages lost, forged, of later versions; tags; the lease in time; bounds; who may come at all. */
#include "coherence_peer.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
