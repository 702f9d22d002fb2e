/* Bytes that no Redis sends: each is rejected with words, the connection is made again, and then all works. */
#include "integration/redis_fake.h"
#include "integration/redis_fixture.h"

#include "base/hash.h"

static fake *server;
static const char *const channels[] = { "c0", "c1" };

static int setup(void **state)
{
	(void)state;
	server = fake_start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_stop(server);
	return 0;
}

static owner *open_up(void)
{
	owner *o = owner_open_with(server->url, (near__redis_config){ .backoff_max_ms = 20, .breaker_failures = 1000000,
	                                                              .command_ms_max = 3000, .reply_bytes_max = 1 << 20 });
	owner_wait_up(o);
	return o;
}

/* Answers a GET with `bytes`; then the connection must have been dropped with these words, and the next one must work. */
static void expect_dropped(const char *bytes, size_t size, const char *words)
{
	near__reply *reply = NULL;
	owner *o = open_up();
	(void)pthread_mutex_lock(&server->lock);
	server->script = bytes;
	server->script_size = size;
	(void)pthread_mutex_unlock(&server->lock);
	near_status status = near__redis_call(o->redis, WORDS("GET", "k"), SECONDS(20), &reply);
	if (status == NEAR_OK) /* a whole answer came before the rest */
		near__reply_free(reply);
	wait_count(&o->losses, 1);
	wait_last_error(o, words);
	FAKE_SET(server, script, NULL);
	owner_wait_up(o);
	ask_text(o, WORDS("ECHO", "still here"), "still here");
	owner_close(o);
}

static void expect_text_dropped(const char *text, const char *words)
{
	expect_dropped(text, strlen(text), words);
}

static void answer__not_resp__is_dropped(void **state)
{
	(void)state;
	expect_text_dropped("HTTP/1.1 400 Bad Request\r\n\r\n", "broken bytes");
	expect_text_dropped("\r\n", "broken bytes");
	expect_dropped("\0\0\0\0", 4, "broken bytes");
}

static void answer__bad_lengths__are_dropped(void **state)
{
	(void)state;
	expect_text_dropped("$9223372036854775807\r\nabc\r\n", "broken bytes");
	expect_text_dropped("$9223372036854775806\r\nabc\r\n", "broken bytes");
	expect_text_dropped("$18446744073709551615\r\nabc\r\n", "broken bytes");
	expect_text_dropped("$-7\r\n", "broken bytes");
	expect_text_dropped("$abc\r\n", "broken bytes");
	expect_text_dropped("*9223372036854775807\r\n", "broken bytes");
	expect_text_dropped("*4294967295\r\n", "broken bytes");
	expect_text_dropped("*1048577\r\n", "broken bytes");
	expect_text_dropped(":12x\r\n", "broken bytes");
}

static void answer__larger_than_allowed__is_dropped(void **state)
{
	(void)state;
	size_t size = (1 << 20) + 65536;
	char *bytes = malloc(size);
	memset(bytes, 'x', size);
	memcpy(bytes, "$2000000\r\n", 10);
	expect_dropped(bytes, size, "larger than any");
	memcpy(bytes, "+0123456789", 10); /* a line without an end */
	expect_dropped(bytes, size, "does not end");
	memset(bytes, '1', size);
	bytes[0] = '$'; /* a length of a million digits */
	expect_dropped(bytes, size, "larger than any");
	memset(bytes, '0', size);
	bytes[0] = '$'; /* the same, of zeros */
	expect_dropped(bytes, size, "does not end");
	free(bytes);
}

static void answer__nested_a_million_deep__is_dropped(void **state)
{
	(void)state;
	enum { DEPTH = 1000000 };
	char *bytes = malloc(4 * DEPTH);
	for (size_t i = 0; i < DEPTH; i++)
		memcpy(bytes + 4 * i, "*1\r\n", 4);
	expect_dropped(bytes, 4 * (size_t)DEPTH, "nested too deep");
	free(bytes);
}

static void answer__a_million_empty_arrays__is_dropped(void **state)
{
	(void)state;
	enum { COUNT = 1000000 };
	char *bytes = malloc(4 * COUNT + 16);
	size_t size = (size_t)sprintf(bytes, "*%d\r\n", COUNT);
	for (size_t i = 0; i < COUNT; i++, size += 4)
		memcpy(bytes + size, "*0\r\n", 4);
	expect_dropped(bytes, size, "larger than any");
	free(bytes);
}

static void answer__nobody_asked__is_dropped(void **state)
{
	(void)state;
	expect_text_dropped("$-1\r\n+surprise\r\n", "without a question: surprise");
	expect_text_dropped(">2\r\n+invalidate\r\n*0\r\n", "without a question");
}

static void answer__kinds_of_resp3__are_other(void **state)
{
	(void)state;
	static const char *const others[] = { "%1\r\n+a\r\n:1\r\n", "~1\r\n:1\r\n", ",1.5\r\n", "#t\r\n", "(123456789012345678901\r\n",
		                              "=7\r\ntxt:abc\r\n" };
	owner *o = open_up();
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		(void)pthread_mutex_lock(&server->lock);
		server->script = others[i];
		server->script_size = strlen(others[i]);
		(void)pthread_mutex_unlock(&server->lock);
		near__reply *reply = ask(o, WORDS("GET", "k"));
		assert_int_equal(near__reply_is(reply), NEAR__REPLY_OTHER);
		assert_null(near__reply_bytes(reply, NULL));
		assert_int_equal(near__reply_count(reply), 0);
		near__reply_free(reply);
	}
	FAKE_SET(server, script, NULL);
	assert_int_equal(o->losses, 0);
	owner_close(o);
}

static void answer__byte_by_byte__is_read(void **state)
{
	(void)state;
	FAKE_SET(server, drip, 1);
	owner *o = open_up();
	ask_text(o, WORDS("ECHO", "drop by drop"), "drop by drop");
	FAKE_SET(server, drip, 0);
	owner_close(o);
}

static void answer__random_bytes__never_hang_or_crash(void **state)
{
	(void)state;
	uint64_t random = 20240607;
	char bytes[400];
	static const char alphabet[] = "+-:$*%~>,_#(=0123456789\r\n\r\n\r\nabc";
	printf("seed %llu\n", (unsigned long long)random);
	owner *o = open_up();
	for (int round = 0; round < 100; round++) {
		near__reply *reply = NULL;
		size_t size = near__random_next(&random) % sizeof(bytes);
		for (size_t i = 0; i < size; i++)
			bytes[i] = round % 3 == 0 ? (char)near__random_next(&random)
			                          : alphabet[near__random_next(&random) % (sizeof(alphabet) - 1)];
		(void)pthread_mutex_lock(&server->lock);
		server->script = bytes;
		server->script_size = size;
		(void)pthread_mutex_unlock(&server->lock);
		near_status status = near__redis_call(o->redis, WORDS("GET", "k"), MILLIS(10), &reply);
		if (status == NEAR_OK)
			near__reply_free(reply);
		FAKE_SET(server, script, NULL);
		/* An unfinished answer: who asks next completes it or breaks it. */
		if (status == NEAR_E_TIMEOUT &&
		    near__redis_call(o->redis, WORDS("ECHO", "x"), MILLIS(10), &reply) == NEAR_OK)
			near__reply_free(reply);
		owner_wait_up(o);
	}
	owner_close(o);
	o = open_up();
	ask_text(o, WORDS("ECHO", "x"), "x");
	owner_close(o);
}

/* --- the hello */

static void hello__bytes_before_any_question__is_dropped(void **state)
{
	(void)state;
	FAKE_SET(server, greeting, "220 mail.example.org ESMTP\r\n");
	owner *o = owner_open(server->url);
	wait_last_error(o, "Redis");
	assert_false(near__redis_is_up(o->redis));
	FAKE_SET(server, greeting, NULL);
	owner_wait_up(o);
	owner_close(o);
}

static void hello__silence__is_given_up_and_tried_again(void **state)
{
	(void)state;
	FAKE_SET(server, mute, true);
	owner *o = owner_open_with(server->url, (near__redis_config){ .connect_ms = 50 });
	wait_last_error(o, "no answer within 50 ms");
	FAKE_SET(server, mute, false);
	owner_wait_up(o);
	owner_close(o);
}

static void hello__server_that_will_not_do__is_rejected_with_words(void **state)
{
	(void)state;
	static const struct {
		const char *info, *words;
	} cases[] = {
		{ "redis_version:6.2.14\r\nrun_id:" FAKE_RUN_ID "\r\n", "too old" },
		{ "redis_version:70\r\nrun_id:abc\r\n", "no run_id" },
		{ "redis_version:7.0.0\r\n", "no run_id" },
		{ "redis_version:7.0.0\r\nrun_id:" FAKE_RUN_ID "0\r\n", "no run_id" },
		{ "redis_version:7.0.0\r\nrun_id:zz23456789abcdef0123456789abcdef01234567\r\n", "no run_id" },
		{ "run_id:" FAKE_RUN_ID "\r\n", "not Redis" },
		{ "", "not Redis" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		FAKE_SET(server, info, cases[i].info);
		owner *o = owner_open(server->url);
		wait_last_error(o, cases[i].words);
		assert_int_equal(o->greets, 0);
		owner_close(o);
	}
	FAKE_SET(server, info, NULL);
}

/* --- the subscription */

static void expect_subscription_dropped(const char *bytes, const char *words)
{
	FAKE_SET(server, sub_script, bytes);
	owner *o = owner_open_with(server->url, (near__redis_config){ .channels = channels, .channel_count = 2,
	                                                              .connect_ms = 300 });
	owner_wait_up(o);
	wait_last_error(o, words);
	ask_text(o, WORDS("ECHO", "data works"), "data works");
	FAKE_SET(server, sub_script, NULL);
	unsigned before = atomic_load(&o->subscribed);
	wait_count(&o->subscribed, before + 1);
	assert_int_equal(o->losses, 0);
	owner_close(o);
}

#define CONFIRM(channel) "*3\r\n$9\r\nsubscribe\r\n$2\r\n" channel "\r\n:1\r\n"
#define CONFIRMED CONFIRM("c0") CONFIRM("c1")

static void subscription__odd_answers__are_dropped_while_data_stays(void **state)
{
	(void)state;
	expect_subscription_dropped("+OK\r\n", "unexpected kind");
	expect_subscription_dropped(":1\r\n", "unexpected kind");
	expect_subscription_dropped("%1\r\n+a\r\n:1\r\n", "unexpected kind");
	expect_subscription_dropped("-ERR no\r\n", "refused SUBSCRIBE: ERR no");
	expect_subscription_dropped(CONFIRM("c1") CONFIRM("c0"), "not asked for");
	expect_subscription_dropped(CONFIRMED CONFIRM("c1"), "not asked for");
	expect_subscription_dropped(CONFIRM("c0"), "no answer within");
	expect_subscription_dropped("*3\r\n$9\r\nsubscribe\r\n$-1\r\n:1\r\n", "not asked for");
	expect_subscription_dropped(CONFIRMED "*3\r\n$7\r\nmessage\r\n$2\r\nc0\r\n:7\r\n", "without channel or text");
	expect_subscription_dropped(CONFIRMED "*1\r\n$7\r\nmessage\r\n", "without channel or text");
	expect_subscription_dropped(CONFIRMED "*3\r\n$11\r\nunsubscribe\r\n$2\r\nc0\r\n:0\r\n", "ended the subscription");
	expect_subscription_dropped(CONFIRMED "garbage\r\n", "broken bytes");
}

static void subscription__unknown_messages_and_errors__are_passed_over(void **state)
{
	(void)state;
	FAKE_SET(server, sub_script, CONFIRMED "*2\r\n+news\r\n:1\r\n*0\r\n*1\r\n*0\r\n-ERR odd\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"
	                                       "*3\r\n$7\r\nmessage\r\n$2\r\nc1\r\n$3\r\nend\r\n");
	owner *o = owner_open_with(server->url, (near__redis_config){ .channels = channels, .channel_count = 2 });
	wait_count(&o->messages, 1);
	assert_int_equal(o->pongs, 1);
	assert_int_equal(o->subscribed, 1);
	assert_int_equal(o->unsubscribed, 0);
	FAKE_SET(server, sub_script, NULL);
	owner_close(o);
}

static void subscription__reaches_another_server__does_not_count(void **state)
{
	(void)state;
	FAKE_SET(server, other_sub_id, true);
	owner *o = owner_open_with(server->url, (near__redis_config){ .channels = channels, .channel_count = 2 });
	owner_wait_up(o);
	wait_last_error(o, "another server");
	assert_int_equal(o->subscribed, 0);
	FAKE_SET(server, other_sub_id, false);
	owner_close(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answer__not_resp__is_dropped),
		cmocka_unit_test(answer__bad_lengths__are_dropped),
		cmocka_unit_test(answer__larger_than_allowed__is_dropped),
		cmocka_unit_test(answer__nested_a_million_deep__is_dropped),
		cmocka_unit_test(answer__a_million_empty_arrays__is_dropped),
		cmocka_unit_test(answer__nobody_asked__is_dropped),
		cmocka_unit_test(answer__kinds_of_resp3__are_other),
		cmocka_unit_test(answer__byte_by_byte__is_read),
		cmocka_unit_test(answer__random_bytes__never_hang_or_crash),
		cmocka_unit_test(hello__bytes_before_any_question__is_dropped),
		cmocka_unit_test(hello__silence__is_given_up_and_tried_again),
		cmocka_unit_test(hello__server_that_will_not_do__is_rejected_with_words),
		cmocka_unit_test(subscription__odd_answers__are_dropped_while_data_stays),
		cmocka_unit_test(subscription__unknown_messages_and_errors__are_passed_over),
		cmocka_unit_test(subscription__reaches_another_server__does_not_count),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
