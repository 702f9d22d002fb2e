/* The ACL rule that the library prints is enough for everything it does, and is no more than its own namespace. */
#include "coherence_peer.h"

static peer *open_as_printed(const char *name_space)
{
	char prefix[NEAR__PREFIX_MAX], rule[1024], url[128];
	near__l2_prefix(name_space, 1, prefix);
	size_t n = near__coherence_acl(prefix, rule, sizeof(rule));
	assert_true(n > 0 && n < sizeof(rule));
	char command[1200];
	(void)snprintf(command, sizeof(command), "ACL SETUSER near on >secret %s", rule);
	char *answer = redis_server_command(server, command);
	assert_string_equal(answer, "OK");
	free(answer);
	(void)snprintf(url, sizeof(url), "redis://near:secret@127.0.0.1:%u", (unsigned)redis_server_port(server));
	return peer_open_with(server, &(peer_options){ .url = url, .name_space = name_space });
}

static int server_up_tcp(void **state)
{
	(void)state;
	server = redis_server_start(&(redis_server_options){ .tcp = true });
	return 0;
}

static void user_of_the_printed_rule__may_do_everything(void **state)
{
	(void)state;
	peer *a = open_as_printed("test");
	peer_ready(a);
	peer_token t;
	peer_key k;
	near__pos pos;
	bool retry;
	size_t size;
	char text[64];
	(void)peer_put(a, "k", "v1");
	assert_int_equal(peer_look(a, "k", text), PEER_FRESH);
	assert_int_equal(peer_put_with(a, "k", &(peer_value){ .text = "v2", .version = 5 }, 's', 0, &pos, &retry), NEAR_OK);
	assert_int_equal(peer_put_with(a, "k", &(peer_value){ .text = "v3", .version = 6 }, 'c', 5, &pos, &retry), NEAR_OK);
	unsigned char *bytes = peer_get_raw(a, "k", &size);
	assert_int_equal(near__coherence_touch(a->c, peer_key_of(a, "k", &k), near__envelope_sum(bytes, size), bytes, size,
	                                       60000), NEAR_OK);
	free(bytes);
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, true, &pos), NEAR_OK);
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_REMOVE, false, &pos), NEAR_OK);
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &t), NEAR_OK);
	peer_token wait;
	assert_int_equal(peer_ask(a, "k", 'm', 0, 60000, &wait), NEAR_OK);
	assert_int_equal(wait.answer, NEAR__TOKEN_WAIT);
	uint64_t tag = 9;
	assert_int_equal(peer_fill_with(a, "k", &t, &(peer_value){ .text = "v", .tags = &tag, .tag_count = 1 }), NEAR_OK);
	assert_int_equal(peer_ask(a, "j", 'm', 0, 60000, &t), NEAR_OK);
	near__coherence_token_release(a->c, peer_key_of(a, "j", &k), &t.token);
	assert_int_equal(redis_server_integer(server, "EXISTS test:v1~t:j"), 0);
	assert_int_equal(near__coherence_invalidate_tag(a->c, tag, peer_deadline()), NEAR_OK);
	assert_int_equal(near__coherence_void_shard(a->c, 0, peer_deadline()), NEAR_OK);
	/* Replays, from the log and from the start. */
	server_run("CLIENT KILL TYPE %s", "pubsub");
	(void)peer_invalidate(a, "k");
	PEER_UNTIL(peer_drops_of(a, "k") == 5 || peer_get(a, &a->flushed) > 0);
	peer_ready(a);
	char *log = redis_server_command(server, "ACL LOG");
	if (log[0] != '\0')
		fail_msg("denied: %s", log);
	free(log);
	peer_close(a);
}

/* "te*t" as a namespace is a name, not a pattern. */
static void printed_rule__gives_no_other_namespace(void **state)
{
	(void)state;
	peer *a = open_as_printed("te*t");
	peer_ready(a);
	(void)peer_put(a, "k", "v");
	static const char *const theirs[] = { "test:v1:k", "te*t:v10:k", "te*t:v2:k", "other" };
	for (size_t i = 0; i < sizeof(theirs) / sizeof(theirs[0]); i++) {
		char *answer = redis_server_command(server, "ACL DRYRUN near GET %s", theirs[i]);
		assert_non_null(strstr(answer, "no permissions"));
		free(answer);
		answer = redis_server_command(server, "ACL DRYRUN near PUBLISH %s x", theirs[i]);
		assert_non_null(strstr(answer, "no permissions"));
		free(answer);
	}
	char *answer = redis_server_command(server, "ACL DRYRUN near FLUSHALL");
	assert_non_null(strstr(answer, "no permissions"));
	free(answer);
	peer_close(a);
}

static bool lose_all(near__coherence *c, const char *channel, size_t channel_size, const char *bytes, size_t size)
{
	(void)c;
	(void)channel;
	(void)channel_size;
	(void)bytes;
	(void)size;
	return false;
}

/* Every step once, whatever its status; messages are lost, so that the log is asked as well. */
static void exercise(peer *a)
{
	peer_token t, u;
	peer_key k;
	near__pos pos;
	bool retry;
	uint64_t tag = 9;
	peer_value v = { .text = "v", .tags = &tag, .tag_count = 1, .incarnation = near__coherence_incarnation(a->c, 0) };
	if (near__redis_wait_up(near__coherence_redis(a->c), near__now_ns() + 20 * NEAR__MS_NS) != NEAR_OK)
		return;
	(void)peer_put_with(a, "k", &v, 's', 0, &pos, &retry);
	(void)peer_put_with(a, "k", &v, 'a', 0, &pos, &retry);
	free(peer_get_raw(a, "k", &(size_t){ 0 }));
	(void)peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, true, &pos);
	if (peer_ask(a, "k", 'm', 0, 60000, &t) == NEAR_OK && peer_ask(a, "k", 'm', 0, 60000, &u) == NEAR_OK)
		(void)peer_fill_with(a, "k", &t, &v);
	if (peer_ask(a, "j", 'm', 0, 60000, &t) == NEAR_OK)
		near__coherence_token_release(a->c, peer_key_of(a, "j", &k), &t.token);
	(void)near__coherence_invalidate_tag(a->c, tag, peer_deadline());
}

static bool denied(void)
{
	char *log = redis_server_command(server, "ACL LOG");
	bool any = log[0] != '\0';
	free(log);
	return any;
}

static void without_any_one_right__something_is_denied(void **state)
{
	(void)state;
	char rule[1024], command[1200], url[128];
	near__coherence_message_hook = lose_all;
	near__coherence_acl("test:v1", rule, sizeof(rule));
	/* Another database than 0: SELECT is needed only then. */
	(void)snprintf(url, sizeof(url), "redis://near:secret@127.0.0.1:%u/1", (unsigned)redis_server_port(server));
	unsigned words = 0;
	for (const char *word = strchr(rule, '+'); word != NULL; word = strchr(word + 1, '+'), words++) {
		int size = (int)strcspn(word, " ");
		(void)snprintf(command, sizeof(command), "ACL SETUSER near reset on >secret %.*s%s", (int)(word - rule), rule,
		               word + size);
		server_run("FUNCTION FLUSH%s", "");
		server_run("FLUSHALL%s", "");
		server_run("ACL LOG %s", "RESET");
		server_run(command, "");
		peer *a = peer_open_with(server, &(peer_options){ .url = url, .shards = 1, .lease_ms = 100 });
		int64_t until_ns = peer_deadline();
		while (!denied()) {
			if (near__now_ns() > until_ns)
				fail_msg("nobody missed %.*s", size, word);
			exercise(a);
		}
		peer_close(a);
	}
	assert_true(words > 15);
	near__coherence_message_hook = NULL;
}

static void user_who_may_not_log__is_refused_and_nothing_begins_anew(void **state)
{
	(void)state;
	peer *a = open_as_printed("test");
	peer_ready(a);
	near__pos pos;
	char text[300];
	uint64_t inc = near__coherence_incarnation(a->c, peer_shard(a, "k"));
	server_run("ACL SETUSER near %s", "-xadd");
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, false, &pos), NEAR_E_UNAVAILABLE);
	server_run("ACL SETUSER near %s", "-fcall");
	assert_int_equal(peer_invalidate_with(a, "k", NEAR__CHANGE_INVALIDATE, false, &pos), NEAR_E_UNAVAILABLE);
	assert_true(near__coherence_last_error(a->c, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "NOPERM"));
	server_run("ACL SETUSER near %s", "+xadd");
	server_run("ACL SETUSER near %s", "+fcall");
	(void)peer_invalidate(a, "k");
	assert_true(near__coherence_incarnation(a->c, peer_shard(a, "k")) == inc);
	peer_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(user_of_the_printed_rule__may_do_everything, server_up_tcp, server_down),
		cmocka_unit_test_setup_teardown(printed_rule__gives_no_other_namespace, server_up_tcp, server_down),
		cmocka_unit_test_setup_teardown(without_any_one_right__something_is_denied, server_up_tcp, server_down),
		cmocka_unit_test_setup_teardown(user_who_may_not_log__is_refused_and_nothing_begins_anew, server_up_tcp,
		                                server_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
