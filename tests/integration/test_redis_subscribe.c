/* The subscription against a real Redis: messages byte for byte, loss and return, liveness. */
#include "integration/redis_fixture.h"

#include <sys/wait.h>

static redis_server *server;
static const char *const channels[] = { "~c:0", "~c:1", "~c:2" };

static int setup(void **state)
{
	(void)state;
	server = redis_server_start(&(redis_server_options){ .tcp = true });
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	redis_server_free(server);
	return 0;
}

static owner *open_subscribed(const char *url)
{
	owner *o = owner_open_with(url, (near__redis_config){ .channels = channels, .channel_count = 3 });
	owner_wait_up(o);
	wait_count(&o->subscribed, 1);
	return o;
}

static void expect_message(owner *o, const char *channel, const void *bytes, size_t size)
{
	unsigned before = atomic_load(&o->messages);
	assert_int_equal(redis_server_integer(server, "PUBLISH %s %b", channel, bytes, size), 1);
	wait_count(&o->messages, before + 1);
	(void)pthread_mutex_lock(&o->lock);
	assert_int_equal(o->channel_size, strlen(channel));
	assert_memory_equal(o->channel, channel, o->channel_size);
	assert_int_equal(o->message_size, size);
	assert_memory_equal(o->message, bytes, size);
	(void)pthread_mutex_unlock(&o->lock);
}

static void message__any_bytes__come_as_they_were_sent(void **state)
{
	(void)state;
	char all[256], large[40000];
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)(i * 7);
	owner *o = open_subscribed(redis_server_url(server));
	expect_message(o, "~c:0", all, sizeof(all));
	expect_message(o, "~c:1", "", 0);
	expect_message(o, "~c:2", "\r\n*3\r\n$7\r\nmessage\r\n", 19);
	expect_message(o, "~c:0", large, sizeof(large));
	owner_close(o);
}

static void subscription__over_tcp__works(void **state)
{
	(void)state;
	owner *o = open_subscribed(redis_server_tcp_url(server));
	expect_message(o, "~c:1", "x", 1);
	owner_close(o);
}

static void sub_ping__is_answered_by_a_pong(void **state)
{
	(void)state;
	owner *o = open_subscribed(redis_server_url(server));
	atomic_store(&o->ping, true);
	wait_count(&o->pongs, 1);
	owner_close(o);
}

static void subscription__killed__comes_back_while_data_stays(void **state)
{
	(void)state;
	owner *o = open_subscribed(redis_server_url(server));
	assert_true(redis_server_integer(server, "CLIENT KILL TYPE pubsub") >= 1);
	wait_count(&o->unsubscribed, 1);
	wait_count(&o->subscribed, 2);
	assert_int_equal(o->losses, 0);
	assert_int_equal(o->greets, 1);
	expect_message(o, "~c:0", "again", 5);
	owner_close(o);
}

static void data_connection__killed__takes_the_subscription_along(void **state)
{
	(void)state;
	owner *o = open_subscribed(redis_server_url(server));
	assert_true(redis_server_integer(server, "CLIENT KILL TYPE normal") >= 1);
	wait_count(&o->losses, 1);
	wait_count(&o->unsubscribed, 1);
	wait_count(&o->greets, 2);
	wait_count(&o->subscribed, 2);
	expect_message(o, "~c:0", "again", 5);
	assert_int_equal(o->losses, 1);
	owner_close(o);
}

static void subscription__output_buffer_limit__is_noticed_and_made_again(void **state)
{
	(void)state;
	static char text[60000];
	free(redis_server_command(server, "CONFIG SET client-output-buffer-limit %s", "pubsub 32kb 32kb 1"));
	owner *o = open_subscribed(redis_server_url(server));
	/* A message above the hard limit in one piece: Redis cuts the connection before it is written. */
	free(redis_server_command(server, "PUBLISH ~c:0 %b", text, sizeof(text)));
	wait_count(&o->unsubscribed, 1);
	free(redis_server_command(server, "CONFIG SET client-output-buffer-limit %s", "pubsub 32mb 8mb 60"));
	wait_count(&o->subscribed, 2);
	expect_message(o, "~c:0", "again", 5);
	assert_int_equal(o->losses, 0);
	owner_close(o);
}

static void wait_until_busy(bool wanted)
{
	int64_t deadline_ns = SECONDS(10);
	for (;;) {
		char *answer = redis_server_command(server, "PING");
		bool busy = strncmp(answer, "(error) BUSY", 12) == 0;
		free(answer);
		if (busy == wanted)
			return;
		assert_true(near__now_ns() < deadline_ns);
	}
}

static void sub_ping__server_busy_with_a_script__error_is_survived(void **state)
{
	(void)state;
	owner *o = open_subscribed(redis_server_url(server));
	free(redis_server_command(server, "CONFIG SET busy-reply-threshold 50"));
	/* Loops until it is killed: from its threshold on the server answers BUSY to everything else, the ping included. */
	pid_t child = fork();
	if (child == 0) {
		(void)fclose(stdout);
		(void)fclose(stderr);
		execlp("redis-cli", "redis-cli", "-s", redis_server_socket(server), "EVAL", "while true do end", "0", (char *)NULL);
		_exit(127);
	}
	wait_until_busy(true);
	unsigned ticks = atomic_load(&o->ticks);
	atomic_store(&o->ping, true);
	wait_count(&o->ticks, ticks + 30);
	assert_int_equal(o->pongs, 0);
	assert_int_equal(o->unsubscribed, 0);
	free(redis_server_command(server, "SCRIPT KILL"));
	wait_until_busy(false);
	(void)waitpid(child, NULL, 0);
	expect_message(o, "~c:0", "after", 5);
	atomic_store(&o->ping, true);
	wait_count(&o->pongs, 1);
	owner_close(o);
}

static void subscription__acl_forbids_the_channel__says_so_and_data_works(void **state)
{
	(void)state;
	char url[512];
	free(redis_server_command(server, "ACL SETUSER narrow on >pw ~* +@all resetchannels &other:*"));
	(void)snprintf(url, sizeof(url), "redis://narrow:pw@127.0.0.1:%u/0", redis_server_port(server));
	owner *o = owner_open_with(url, (near__redis_config){ .channels = channels, .channel_count = 3 });
	owner_wait_up(o);
	wait_last_error(o, "Redis refused SUBSCRIBE: NOPERM");
	ask_text(o, WORDS("ECHO", "x"), "x");
	assert_int_equal(o->subscribed, 0);
	assert_int_equal(o->unsubscribed, 0);
	free(redis_server_command(server, "ACL SETUSER narrow allchannels"));
	wait_count(&o->subscribed, 1);
	owner_close(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message__any_bytes__come_as_they_were_sent),
		cmocka_unit_test(subscription__over_tcp__works),
		cmocka_unit_test(sub_ping__is_answered_by_a_pong),
		cmocka_unit_test(subscription__killed__comes_back_while_data_stays),
		cmocka_unit_test(data_connection__killed__takes_the_subscription_along),
		cmocka_unit_test(subscription__output_buffer_limit__is_noticed_and_made_again),
		cmocka_unit_test(sub_ping__server_busy_with_a_script__error_is_survived),
		cmocka_unit_test(subscription__acl_forbids_the_channel__says_so_and_data_works),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
