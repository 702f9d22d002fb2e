/* Redis refused, killed, paused, locked: every call comes back by its deadline, and all works again within 5 s of the
 * server's return. */
#include "integration/redis_fixture.h"

#include <sys/wait.h>
#include "redis/reply.h"
#include "redis/room.h"

/* From the server's return to UP, at most. */
#define RETURN_MS_MAX 5000

static void expect_return(owner *o, int64_t since_ns)
{
	owner_wait_up(o);
	assert_true(near__now_ns() - since_ns < RETURN_MS_MAX * NEAR__MS_NS);
}

static void call__nobody_listens__is_unavailable_at_once(void **state)
{
	(void)state;
	near__reply *reply;
	owner *o = owner_open("unix:///tmp/near-nobody-listens-here.sock");
	int64_t start_ns = near__now_ns();
	assert_int_equal(near__redis_call(o->redis, WORDS("GET", "k"), SECONDS(30), &reply), NEAR_E_UNAVAILABLE);
	assert_true(near__now_ns() - start_ns < 1000 * NEAR__MS_NS);
	assert_int_equal(near__redis_wait_up(o->redis, MILLIS(30)), NEAR_E_TIMEOUT);
	wait_last_error(o, "No such file");
	int64_t deadline_ns = SECONDS(10);
	while (stat_of(o, NEAR__STAT_breaker_trips) == 0) { /* connects that fail are failures too */
		assert_true(near__now_ns() < deadline_ns);
		(void)usleep(1000);
	}
	assert_int_equal(stat_of(o, NEAR__STAT_breaker_trips), 1);
	owner_close(o);
}

static void open__server_comes_later__gets_up(void **state)
{
	(void)state;
	redis_server *server = redis_server_start(&(redis_server_options){ .tcp = true });
	redis_server_kill(server);
	owner *o = owner_open_with(redis_server_tcp_url(server), (near__redis_config){ .backoff_max_ms = 1000 });
	wait_last_error(o, "refused");
	wait_count(&o->ticks, 100);
	redis_server_restart(server, false);
	expect_return(o, near__now_ns());
	ask_text(o, WORDS("ECHO", "x"), "x");
	assert_int_equal(stat_of(o, NEAR__STAT_reconnects), 0); /* it is the first */
	owner_close(o);
	redis_server_free(server);
}

/* --- passwords and users */

static void hello__wrong_password__says_so_and_works_once_it_is_right(void **state)
{
	(void)state;
	char url[300];
	redis_server *server = redis_server_start(&(redis_server_options){ .tcp = true });
	free(redis_server_command(server, "ACL SETUSER alice on >right ~* &* +@all"));
	(void)snprintf(url, sizeof(url), "redis://alice:wrong@127.0.0.1:%u", redis_server_port(server));
	owner *o = owner_open(url);
	wait_last_error(o, "Redis refused user and password: WRONGPASS");
	char text[256];
	(void)near__redis_last_error(o->redis, text, sizeof(text));
	assert_null(strstr(text, "wrong@"));
	assert_false(near__redis_is_up(o->redis));
	free(redis_server_command(server, "ACL SETUSER alice >wrong"));
	expect_return(o, near__now_ns());
	ask_text(o, WORDS("ACL", "WHOAMI"), "alice");
	owner_close(o);
	redis_server_free(server);
}

static void hello__user_may_not_even_info__says_what_is_missing(void **state)
{
	(void)state;
	char url[300];
	redis_server *server = redis_server_start(&(redis_server_options){ .tcp = true });
	free(redis_server_command(server, "ACL SETUSER poor on >pw ~* +get +ping"));
	(void)snprintf(url, sizeof(url), "redis://poor:pw@127.0.0.1:%u", redis_server_port(server));
	owner *o = owner_open(url);
	wait_last_error(o, "Redis refused INFO: NOPERM");
	owner_close(o);
	redis_server_free(server);
}

static void hello__password_needed_but_not_given__says_so(void **state)
{
	(void)state;
	redis_server *server = redis_server_start(NULL);
	free(redis_server_command(server, "CONFIG SET requirepass secret"));
	owner *o = owner_open(redis_server_url(server));
	wait_last_error(o, "NOAUTH");
	assert_false(near__redis_is_up(o->redis));
	owner_close(o);
	redis_server_free(server);
}

static void call__user_deleted__is_unavailable_then_says_why(void **state)
{
	(void)state;
	char url[300];
	redis_server *server = redis_server_start(&(redis_server_options){ .tcp = true });
	free(redis_server_command(server, "ACL SETUSER alice on >pw ~* &* +@all"));
	(void)snprintf(url, sizeof(url), "redis://alice:pw@127.0.0.1:%u", redis_server_port(server));
	owner *o = owner_open(url);
	owner_wait_up(o);
	free(redis_server_command(server, "ACL DELUSER alice"));
	wait_count(&o->losses, 1);
	wait_last_error(o, "WRONGPASS");
	owner_close(o);
	redis_server_free(server);
}

static void call__server_forgets_us__logs_in_again(void **state)
{
	(void)state;
	char url[300];
	redis_server *server = redis_server_start(&(redis_server_options){ .tcp = true });
	free(redis_server_command(server, "ACL SETUSER alice on >pw ~* &* +@all"));
	(void)snprintf(url, sizeof(url), "redis://alice:pw@127.0.0.1:%u", redis_server_port(server));
	owner *o = owner_open(url);
	owner_wait_up(o);
	ask_text(o, WORDS("ECHO", "x"), "x");
	free(redis_server_command(server, "CONFIG SET requirepass needed"));
	near__reply_free(ask(o, WORDS("RESET"))); /* from here on we are nobody */
	near__reply *reply = ask(o, WORDS("ECHO", "x"));
	assert_true(near__reply_error_is(reply, "NOAUTH"));
	near__reply_free(reply);
	wait_count(&o->losses, 1);
	owner_wait_up(o);
	ask_text(o, WORDS("ACL", "WHOAMI"), "alice");
	owner_close(o);
	redis_server_free(server);
}

/* --- the breaker */

static void breaker__deadlines_missed_in_a_row__trips_and_closes_when_redis_answers(void **state)
{
	(void)state;
	near__reply *reply;
	redis_server *server = redis_server_start(NULL);
	owner *o = owner_open_with(redis_server_url(server), (near__redis_config){ .breaker_failures = 3,
	                                                                           .command_ms_max = 20000 });
	owner_wait_up(o);
	redis_server_pause(server);
	for (int i = 0; i < 3; i++)
		assert_int_equal(near__redis_call(o->redis, WORDS("GET", "k"), MILLIS(10), &reply), NEAR_E_TIMEOUT);
	assert_false(near__redis_is_up(o->redis));
	assert_int_equal(stat_of(o, NEAR__STAT_breaker_trips), 1);
	int64_t start_ns = near__now_ns();
	assert_int_equal(near__redis_call(o->redis, WORDS("GET", "k"), SECONDS(30), &reply), NEAR_E_UNAVAILABLE);
	assert_true(near__now_ns() - start_ns < 1000 * NEAR__MS_NS);
	redis_server_resume(server);
	expect_return(o, near__now_ns());
	ask_text(o, WORDS("ECHO", "x"), "x");
	assert_int_equal(o->losses, 0); /* it was slow, not gone: nothing is made again */
	owner_close(o);
	redis_server_free(server);
}

static void breaker__answers_that_come_too_late__do_not_count_as_success(void **state)
{
	(void)state;
	redis_server *server = redis_server_start(NULL);
	owner *o = owner_open_with(redis_server_url(server), (near__redis_config){ .breaker_failures = 3,
	                                                                           .command_ms_max = 20000 });
	owner_wait_up(o);
	for (int i = 0; i < 3; i++) {
		near__reply *reply;
		int64_t deadline_ns = SECONDS(10);
		assert_int_equal(stat_of(o, NEAR__STAT_breaker_trips), 0);
		assert_int_equal(near__redis_call(o->redis, WORDS("DEBUG", "SLEEP", "0.05"), MILLIS(10), &reply), NEAR_E_TIMEOUT);
		while (atomic_load(&o->redis->load) != 0) { /* until the answer has come */
			assert_true(near__now_ns() < deadline_ns);
			(void)usleep(1000);
		}
	}
	assert_int_equal(stat_of(o, NEAR__STAT_breaker_trips), 1);
	owner_wait_up(o); /* the probe */
	assert_int_equal(o->losses, 0);
	owner_close(o);
	redis_server_free(server);
}

static void breaker__redis_is_loading__trips_until_it_has_loaded(void **state)
{
	(void)state;
	static char value[600];
	redis_server *server = redis_server_start(NULL);
	for (int i = 0; i < 200; i++)
		free(redis_server_command(server, "SET key:%d %b", i, value, sizeof(value)));
	/* 5 ms a key: the server loads for a second and answers LOADING after each 1024 bytes. */
	free(redis_server_command(server, "CONFIG SET key-load-delay 5000"));
	free(redis_server_command(server, "CONFIG SET loading-process-events-interval-bytes 1024"));
	free(redis_server_command(server, "CONFIG SET rdbcompression no"));
	owner *o = owner_open_with(redis_server_url(server), (near__redis_config){ .breaker_failures = 2 });
	owner_wait_up(o);
	pid_t child = fork();
	if (child == 0) {
		execlp("redis-cli", "redis-cli", "-s", redis_server_socket(server), "DEBUG", "RELOAD", (char *)NULL);
		_exit(127);
	}
	int64_t deadline_ns = SECONDS(20);
	while (stat_of(o, NEAR__STAT_breaker_trips) == 0) {
		near__reply *reply = NULL;
		if (near__redis_call(o->redis, WORDS("GET", "key:1"), SECONDS(5), &reply) == NEAR_OK)
			near__reply_free(reply);
		assert_true(near__now_ns() < deadline_ns);
	}
	assert_int_equal(near__redis_wait_up(o->redis, SECONDS(20)), NEAR_OK);
	near__reply *reply = ask(o, WORDS("DBSIZE"));
	assert_int_equal(near__reply_integer(reply), 200);
	near__reply_free(reply);
	(void)waitpid(child, NULL, 0);
	owner_close(o);
	redis_server_free(server);
}

/* --- killed and restarted under load */

#define THREADS 8

typedef struct load {
	owner *o;
	pthread_t thread;
	_Atomic(bool) *stop;
	unsigned long ok, late, away, wrong;
	int64_t longest_ns; /* past the deadline */
} load;

static void *ask_until_stopped(void *arg)
{
	load *l = arg;
	while (!atomic_load(l->stop)) {
		near__reply *reply = NULL;
		int64_t deadline_ns = MILLIS(100);
		near_status status = near__redis_call(l->o->redis, WORDS("ECHO", "x"), deadline_ns, &reply);
		int64_t over_ns = near__now_ns() - deadline_ns;
		if (over_ns > l->longest_ns)
			l->longest_ns = over_ns;
		l->ok += status == NEAR_OK;
		l->late += status == NEAR_E_TIMEOUT;
		l->away += status == NEAR_E_UNAVAILABLE;
		l->wrong += status != NEAR_OK && status != NEAR_E_TIMEOUT && status != NEAR_E_UNAVAILABLE;
		if (status == NEAR_OK)
			near__reply_free(reply);
		else
			(void)usleep(1000); /* a worker would go to its source now */
	}
	return NULL;
}

static void load__redis_killed_and_restarted__no_call_hangs_and_all_returns(void **state)
{
	(void)state;
	static const char *const channels[] = { "c" };
	load loads[THREADS];
	_Atomic(bool) stop = false;
	redis_server *server = redis_server_start(&(redis_server_options){ .tcp = true });
	owner *o = owner_open_with(redis_server_tcp_url(server),
	                           (near__redis_config){ .channels = channels, .channel_count = 1, .backoff_max_ms = 1000 });
	owner_wait_up(o);
	for (int i = 0; i < THREADS; i++) {
		loads[i] = (load){ .o = o, .stop = &stop, .longest_ns = INT64_MIN };
		assert_int_equal(pthread_create(&loads[i].thread, NULL, ask_until_stopped, &loads[i]), 0);
	}
	for (unsigned round = 1; round <= 5; round++) {
		unsigned ticks = atomic_load(&o->ticks);
		wait_count(&o->ticks, ticks + 50); /* under load */
		redis_server_kill(server);
		wait_count(&o->losses, round);
		redis_server_restart(server, false);
		expect_return(o, near__now_ns());
		wait_count(&o->subscribed, round + 1);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++) {
		(void)pthread_join(loads[i].thread, NULL);
		assert_int_equal(loads[i].wrong, 0);
		assert_true(loads[i].ok > 0 && loads[i].away > 0);
		assert_true(loads[i].longest_ns < 1000 * NEAR__MS_NS); /* a shared machine may be late to run us */
	}
	assert_int_equal(o->losses, 5);
	assert_int_equal(o->unsubscribed, 5);
	assert_true(stat_of(o, NEAR__STAT_reconnects) >= 5);
	assert_int_equal(atomic_load(&o->redis->load) >> NEAR__LOAD_SHIFT, 0); /* nothing leaked */
	owner_close(o);
	redis_server_free(server);
}

static void greeting__rejected__is_tried_again(void **state)
{
	(void)state;
	near__reply *reply;
	redis_server *server = redis_server_start(NULL);
	owner *o = owner_open(redis_server_url(server));
	owner_wait_up(o);
	atomic_store(&o->hold, true); /* from now on the greeting does not end */
	free(redis_server_command(server, "CLIENT KILL TYPE normal"));
	wait_count(&o->greets, 2);
	assert_false(near__redis_is_up(o->redis));
	assert_int_equal(near__redis_call(o->redis, WORDS("GET", "k"), SECONDS(10), &reply), NEAR_E_UNAVAILABLE);
	atomic_store(&o->hold, false);
	free(redis_server_command(server, "CLIENT KILL TYPE normal"));
	wait_count(&o->losses, 2);
	owner_wait_up(o);
	ask_text(o, WORDS("ECHO", "x"), "x");
	owner_close(o);
	redis_server_free(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call__nobody_listens__is_unavailable_at_once),
		cmocka_unit_test(open__server_comes_later__gets_up),
		cmocka_unit_test(hello__wrong_password__says_so_and_works_once_it_is_right),
		cmocka_unit_test(hello__user_may_not_even_info__says_what_is_missing),
		cmocka_unit_test(hello__password_needed_but_not_given__says_so),
		cmocka_unit_test(call__user_deleted__is_unavailable_then_says_why),
		cmocka_unit_test(call__server_forgets_us__logs_in_again),
		cmocka_unit_test(breaker__deadlines_missed_in_a_row__trips_and_closes_when_redis_answers),
		cmocka_unit_test(breaker__answers_that_come_too_late__do_not_count_as_success),
		cmocka_unit_test(breaker__redis_is_loading__trips_until_it_has_loaded),
		cmocka_unit_test(load__redis_killed_and_restarted__no_call_hangs_and_all_returns),
		cmocka_unit_test(greeting__rejected__is_tried_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
