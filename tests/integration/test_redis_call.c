/* Commands through the I/O thread against a real Redis: answers, order, deadlines, bounds, both kinds of socket. */
#include "integration/redis_fixture.h"

#include "base/hash.h"
#include "redis/room.h"

static redis_server *server;

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

static void call__set_then_get__gives_the_value(void **state)
{
	(void)state;
	owner *o = owner_open(redis_server_url(server));
	owner_wait_up(o);
	ask_text(o, WORDS("SET", "k", "v"), "OK");
	ask_text(o, WORDS("GET", "k"), "v");
	assert_true(near__redis_is_up(o->redis));
	assert_int_equal(strlen(o->run_id), 40);
	assert_int_equal(near__histogram_count(o->stats->latency[NEAR_LATENCY_L2]), 2);
	owner_close(o);
}

static void call__over_tcp__works(void **state)
{
	(void)state;
	owner *o = owner_open(redis_server_tcp_url(server));
	owner_wait_up(o);
	ask_text(o, WORDS("SET", "tcp", "v"), "OK");
	ask_text(o, WORDS("GET", "tcp"), "v");
	owner_close(o);
}

static void call__host_by_name__is_resolved(void **state)
{
	(void)state;
	static const char *const channels[] = { "c" };
	char url[64];
	(void)snprintf(url, sizeof(url), "redis://localhost:%u", redis_server_port(server));
	owner *o = owner_open_with(url, (near__redis_config){ .channels = channels, .channel_count = 1 });
	owner_wait_up(o);
	ask_text(o, WORDS("ECHO", "x"), "x");
	wait_count(&o->subscribed, 1); /* at the address that the name gave the data connection */
	owner_close(o);
	owner *lost = owner_open("redis://no-such-host.invalid");
	int64_t deadline_ns = SECONDS(30);
	char text[256] = "";
	while (near__redis_last_error(lost->redis, text, sizeof(text)) == 0) { /* a resolver takes its time */
		assert_true(near__now_ns() < deadline_ns);
		(void)usleep(1000);
	}
	assert_non_null(strstr(text, "no-such-host.invalid"));
	owner_close(lost);
}

static void open__without_handlers__is_up_by_itself(void **state)
{
	(void)state;
	static const char *const channels[] = { "c" };
	near_error error;
	near__redis *redis;
	near__reply *reply;
	near__redis_config config = { .channels = channels, .channel_count = 1 };
	assert_int_equal(near__stats_create(&config.stats), NEAR_OK);
	assert_int_equal(near__url_parse(redis_server_url(server), &config.url, &error), NEAR_OK);
	assert_int_equal(near__redis_open(&config, &redis), NEAR_OK);
	assert_int_equal(near__redis_wait_up(redis, SECONDS(10)), NEAR_OK);
	assert_int_equal(near__redis_call(redis, WORDS("ECHO", "x"), SECONDS(10), &reply), NEAR_OK);
	near__reply_free(reply);
	near__redis_close(redis);
	near__redis_close(NULL);
	near__stats_free(config.stats);
}

static void call__kinds_of_replies__are_told_apart(void **state)
{
	(void)state;
	owner *o = owner_open(redis_server_url(server));
	owner_wait_up(o);
	near__reply *reply = ask(o, WORDS("GET", "nothing"));
	assert_int_equal(near__reply_is(reply), NEAR__REPLY_NIL);
	near__reply_free(reply);
	reply = ask(o, WORDS("INCR", "count"));
	assert_int_equal(near__reply_is(reply), NEAR__REPLY_INTEGER);
	assert_int_equal(near__reply_integer(reply), 1);
	near__reply_free(reply);
	reply = ask(o, WORDS("NOSUCHCOMMAND"));
	assert_int_equal(near__reply_is(reply), NEAR__REPLY_ERROR);
	near__reply_free(reply);
	reply = ask(o, WORDS("MGET", "nothing", "count"));
	assert_int_equal(near__reply_count(reply), 2);
	assert_int_equal(near__reply_is(near__reply_at(reply, 0)), NEAR__REPLY_NIL);
	assert_string_equal(near__reply_bytes(near__reply_at(reply, 1), NULL), "1");
	assert_null(near__reply_at(reply, 2));
	near__reply_free(reply);
	owner_close(o);
}

static void call__db_in_the_url__is_selected(void **state)
{
	(void)state;
	char url[512];
	(void)snprintf(url, sizeof(url), "%s?db=3", redis_server_url(server));
	owner *o = owner_open(url);
	owner_wait_up(o);
	ask_text(o, WORDS("SET", "in-three", "v"), "OK");
	owner_close(o);
	assert_int_equal(redis_server_integer(server, "EXISTS in-three"), 0);
	(void)snprintf(url, sizeof(url), "%s/99", redis_server_tcp_url(server));
	o = owner_open(url);
	wait_last_error(o, "database");
	assert_false(near__redis_is_up(o->redis));
	owner_close(o);
}

/* --- many threads, mixed sizes: each answer belongs to its question */

#define THREADS 12
#define ROUNDS 150
#define VALUE_MAX (1 << 20)

typedef struct worker {
	owner *o;
	unsigned id;
	pthread_t thread;
	unsigned long wrong, refused;
} worker;

static size_t draw_size(uint64_t *random)
{
	uint64_t n = near__random_next(random);
	return n % 50 == 0 ? n / 50 % VALUE_MAX : n % 20 == 0 ? n / 20 % 50000 : n % 200;
}

static void *ask_own_keys(void *arg)
{
	worker *w = arg;
	uint64_t random = 42 + w->id;
	char *value = malloc(VALUE_MAX);
	char key[32];
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t size = draw_size(&random), got;
		memset(value, 'a' + (int)(near__random_next(&random) % 26), size);
		int key_size = snprintf(key, sizeof(key), "own:%u:%u", w->id, i % 5);
		const char *set[] = { "SET", key, value };
		const size_t set_sizes[] = { 3, (size_t)key_size, size };
		const char *get[] = { "GET", key };
		const size_t get_sizes[] = { 3, (size_t)key_size };
		const char *echo[] = { "ECHO", key };
		const size_t echo_sizes[] = { 4, (size_t)key_size };
		const near__command commands[] = { { 3, set, set_sizes }, { 2, get, get_sizes }, { 2, echo, echo_sizes } };
		near_status statuses[3];
		near__reply *replies[3];
		near__redis_call_many(w->o->redis, commands, 3, SECONDS(30), statuses, replies);
		w->refused += statuses[0] != NEAR_OK || statuses[1] != NEAR_OK || statuses[2] != NEAR_OK;
		const char *bytes = near__reply_bytes(replies[1], &got);
		w->wrong += bytes == NULL || got != size || memcmp(bytes, value, size) != 0;
		bytes = near__reply_bytes(replies[2], &got);
		w->wrong += bytes == NULL || got != (size_t)key_size || memcmp(bytes, key, got) != 0;
		for (unsigned j = 0; j < 3; j++)
			near__reply_free(replies[j]);
	}
	free(value);
	return NULL;
}

static void call_many__many_threads_and_sizes__answers_belong_to_their_questions(void **state)
{
	(void)state;
	worker workers[THREADS];
	/* Sanitizers and a shared machine may take longer than a second for some hundred MiB; that is not what is tested. */
	owner *o = owner_open_with(redis_server_url(server), (near__redis_config){ .command_ms_max = 30000 });
	owner_wait_up(o);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (worker){ .o = o, .id = i };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, ask_own_keys, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		(void)pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].wrong, 0);
		assert_int_equal(workers[i].refused, 0);
	}
	assert_int_equal(o->losses, 0);
	owner_close(o);
}

static void call_many__more_than_the_pipeline__is_done_in_parts(void **state)
{
	(void)state;
	enum { COUNT = 100 };
	sentence w[COUNT];
	near__command commands[COUNT];
	near_status statuses[COUNT];
	near__reply *replies[COUNT];
	for (int i = 0; i < COUNT; i++)
		commands[i] = *sentence_of(&w[i], "INCR", "parts", (const char *)NULL);
	for (uint64_t most = 1; most <= 16; most *= 4) {
		owner *o = owner_open_with(redis_server_url(server), (near__redis_config){ .pipeline_max = most });
		owner_wait_up(o);
		(void)redis_server_integer(server, "DEL parts");
		near__redis_call_many(o->redis, commands, COUNT, SECONDS(10), statuses, replies);
		for (int i = 0; i < COUNT; i++) {
			assert_int_equal(statuses[i], NEAR_OK);
			assert_int_equal(near__reply_integer(replies[i]), i + 1);
			near__reply_free(replies[i]);
		}
		owner_close(o);
	}
}

/* --- deadlines */

static void call__server_hangs__times_out_at_its_deadline(void **state)
{
	(void)state;
	near__reply *reply;
	owner *o = owner_open_with(redis_server_url(server), (near__redis_config){ .command_ms_max = 5000 });
	owner_wait_up(o);
	redis_server_pause(server);
	int64_t start_ns = near__now_ns();
	assert_int_equal(near__redis_call(o->redis, WORDS("GET", "k"), MILLIS(50), &reply), NEAR_E_TIMEOUT);
	int64_t took_ns = near__now_ns() - start_ns;
	redis_server_resume(server);
	assert_true(took_ns >= 50 * NEAR__MS_NS);
	assert_true(took_ns < 2000 * NEAR__MS_NS);
	assert_int_equal(stat_of(o, NEAR__STAT_timeouts), 1);
	/* The late answer is thrown away; the next question gets its own. */
	ask_text(o, WORDS("ECHO", "after"), "after");
	assert_int_equal(o->losses, 0);
	owner_close(o);
}

static void call__deadline_in_the_past__times_out_without_asking(void **state)
{
	(void)state;
	near__reply *reply;
	owner *o = owner_open(redis_server_url(server));
	owner_wait_up(o);
	(void)redis_server_integer(server, "DEL past");
	assert_int_equal(near__redis_call(o->redis, WORDS("INCR", "past"), near__now_ns() - 1, &reply), NEAR_E_TIMEOUT);
	ask_text(o, WORDS("ECHO", "x"), "x");
	assert_int_equal(redis_server_integer(server, "EXISTS past"), 0);
	owner_close(o);
}

static void call__no_answer_for_command_ms_max__drops_the_connection(void **state)
{
	(void)state;
	near__reply *reply;
	owner *o = owner_open_with(redis_server_url(server), (near__redis_config){ .command_ms_max = 200 });
	owner_wait_up(o);
	redis_server_pause(server);
	assert_int_equal(near__redis_call(o->redis, WORDS("GET", "k"), MILLIS(20), &reply), NEAR_E_TIMEOUT);
	wait_count(&o->losses, 1);
	assert_false(near__redis_is_up(o->redis));
	assert_int_equal(near__redis_call(o->redis, WORDS("GET", "k"), SECONDS(10), &reply), NEAR_E_UNAVAILABLE);
	redis_server_resume(server);
	int64_t start_ns = near__now_ns();
	owner_wait_up(o);
	assert_true(near__now_ns() - start_ns < 5000 * NEAR__MS_NS);
	ask_text(o, WORDS("ECHO", "back"), "back");
	owner_close(o);
}

/* --- the bound */

static void *call_until_deadline(void *arg)
{
	near__reply *reply = NULL;
	near_status status = near__redis_call(arg, WORDS("ECHO", "x"), MILLIS(1500), &reply);
	if (status == NEAR_OK)
		near__reply_free(reply);
	return (void *)(intptr_t)status;
}

static void call__pipeline_full__is_busy_at_once(void **state)
{
	(void)state;
	enum { PIPELINE = 16 };
	pthread_t threads[PIPELINE];
	near__reply *reply;
	owner *o = owner_open_with(redis_server_url(server), (near__redis_config){ .pipeline_max = PIPELINE,
	                                                                           .command_ms_max = 10000,
	                                                                           .breaker_failures = 1000 });
	owner_wait_up(o);
	redis_server_pause(server);
	for (int i = 0; i < PIPELINE; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_until_deadline, o->redis), 0);
	/* Until the threads have asked, a call of ours only times out. */
	int64_t deadline_ns = SECONDS(10), took_ns;
	near_status status;
	do {
		assert_true(near__now_ns() < deadline_ns);
		int64_t start_ns = near__now_ns();
		status = near__redis_call(o->redis, WORDS("ECHO", "x"), MILLIS(1), &reply);
		took_ns = near__now_ns() - start_ns;
	} while (status == NEAR_E_TIMEOUT);
	assert_int_equal(status, NEAR_E_BUSY);
	assert_true(took_ns < 500 * NEAR__MS_NS);
	assert_true(stat_of(o, NEAR__STAT_busy) >= 1);
	redis_server_resume(server);
	for (int i = 0; i < PIPELINE; i++)
		(void)pthread_join(threads[i], NULL);
	/* What was given back can be used again. */
	deadline_ns = SECONDS(10);
	while ((status = near__redis_call(o->redis, WORDS("ECHO", "x"), SECONDS(10), &reply)) == NEAR_E_BUSY)
		assert_true(near__now_ns() < deadline_ns);
	assert_int_equal(status, NEAR_OK);
	near__reply_free(reply);
	owner_close(o);
}

/* --- posts and the owner's commands */

typedef struct order {
	near__redis *redis;
	_Atomic(unsigned) done;
	near_status status;
	int64_t integer;
} order;

static void order_done(void *ctx, near_status status, const near__reply *reply)
{
	order *r = ctx;
	r->status = status;
	r->integer = near__reply_integer(reply);
	atomic_fetch_add(&r->done, 1);
}

static void order_incr(void *ctx)
{
	order *r = ctx;
	near__redis_send(r->redis, WORDS("INCR", "posted"), 0, SECONDS(10), order_done, r);
}

static void order_impatient(void *ctx)
{
	order *r = ctx;
	near__redis_send(r->redis, WORDS("INCR", "posted"), 0, MILLIS(30), order_done, r);
}

static void post__sends_on_the_io_thread(void **state)
{
	(void)state;
	owner *o = owner_open(redis_server_url(server));
	order r = { .redis = o->redis };
	owner_wait_up(o);
	(void)redis_server_integer(server, "DEL posted");
	assert_int_equal(near__redis_post(o->redis, order_incr, &r), NEAR_OK);
	wait_count(&r.done, 1);
	assert_int_equal(r.status, NEAR_OK);
	assert_int_equal(r.integer, 1);
	owner_close(o);
}

static void send__server_hangs__is_told_at_its_deadline_and_only_once(void **state)
{
	(void)state;
	owner *o = owner_open_with(redis_server_url(server), (near__redis_config){ .command_ms_max = 5000 });
	order r = { .redis = o->redis };
	owner_wait_up(o);
	redis_server_pause(server);
	assert_int_equal(near__redis_post(o->redis, order_impatient, &r), NEAR_OK);
	wait_count(&r.done, 1);
	assert_int_equal(r.status, NEAR_E_TIMEOUT);
	redis_server_resume(server);
	ask_text(o, WORDS("ECHO", "x"), "x");
	assert_int_equal(r.done, 1);
	owner_close(o);
}

static void close__while_redis_hangs__is_prompt_and_ends_callers(void **state)
{
	(void)state;
	pthread_t thread;
	void *status;
	owner *o = owner_open_with(redis_server_url(server), (near__redis_config){ .command_ms_max = 20000 });
	order r = { .redis = o->redis };
	owner_wait_up(o);
	redis_server_pause(server);
	assert_int_equal(near__redis_post(o->redis, order_incr, &r), NEAR_OK);
	while (atomic_load(&o->redis->load) != 0) /* until the post has run */
		(void)usleep(1000);
	assert_int_equal(pthread_create(&thread, NULL, call_until_deadline, o->redis), 0);
	int64_t deadline_ns = SECONDS(10);
	while ((atomic_load(&o->redis->load) >> NEAR__LOAD_SHIFT) < 1) { /* the thread waits inside */
		assert_true(near__now_ns() < deadline_ns);
		(void)usleep(1000);
	}
	int64_t start_ns = near__now_ns();
	near__redis_close(o->redis);
	assert_true(near__now_ns() - start_ns < 1000 * NEAR__MS_NS);
	redis_server_resume(server);
	(void)pthread_join(thread, &status);
	assert_int_equal((intptr_t)status, NEAR_E_UNAVAILABLE);
	assert_int_equal(r.done, 1);
	assert_int_equal(r.status, NEAR_E_UNAVAILABLE);
	near__stats_free(o->stats);
	free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call__set_then_get__gives_the_value),
		cmocka_unit_test(call__over_tcp__works),
		cmocka_unit_test(call__host_by_name__is_resolved),
		cmocka_unit_test(open__without_handlers__is_up_by_itself),
		cmocka_unit_test(call__kinds_of_replies__are_told_apart),
		cmocka_unit_test(call__db_in_the_url__is_selected),
		cmocka_unit_test(call_many__many_threads_and_sizes__answers_belong_to_their_questions),
		cmocka_unit_test(call_many__more_than_the_pipeline__is_done_in_parts),
		cmocka_unit_test(call__server_hangs__times_out_at_its_deadline),
		cmocka_unit_test(call__deadline_in_the_past__times_out_without_asking),
		cmocka_unit_test(call__no_answer_for_command_ms_max__drops_the_connection),
		cmocka_unit_test(call__pipeline_full__is_busy_at_once),
		cmocka_unit_test(post__sends_on_the_io_thread),
		cmocka_unit_test(send__server_hangs__is_told_at_its_deadline_and_only_once),
		cmocka_unit_test(close__while_redis_hangs__is_prompt_and_ends_callers),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
