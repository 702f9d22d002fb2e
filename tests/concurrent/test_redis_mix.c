/* Everything that any thread may do with the redis room, at once, while connections are cut and the server is paused:
 * answers belong to their questions, each post runs exactly once, no call outlives its deadline, nothing stays counted. */
#include "integration/redis_fixture.h"

#include "base/hash.h"
#include "redis/room.h"

#define THREADS 6
#define ROUNDS 400
#define DEADLINE_MS 60
/* Past its deadline, on a shared machine under a sanitizer. */
#define LATE_MS_MAX 2000

typedef struct mixer {
	owner *o;
	pthread_t thread;
	uint64_t random;
	_Atomic(unsigned) *ran; /* posts */
	unsigned posted, answered, wrong;
	int64_t late_ns;
} mixer;

static void count_run(void *ctx)
{
	atomic_fetch_add((_Atomic(unsigned) *)ctx, 1);
}

static void ask_echoes(mixer *m)
{
	enum { MOST = 20 };
	char texts[MOST][24];
	sentence s[MOST];
	near__command commands[MOST];
	near_status statuses[MOST];
	near__reply *replies[MOST];
	size_t count = 1 + near__random_next(&m->random) % MOST;
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(texts[i], sizeof(texts[i]), "%llx", (unsigned long long)near__random_next(&m->random));
		commands[i] = *sentence_of(&s[i], "ECHO", texts[i], (const char *)NULL);
	}
	int64_t deadline_ns = MILLIS(DEADLINE_MS);
	near__redis_call_many(m->o->redis, commands, count, deadline_ns, statuses, replies);
	int64_t late_ns = near__now_ns() - deadline_ns;
	m->late_ns = late_ns > m->late_ns ? late_ns : m->late_ns;
	for (size_t i = 0; i < count; i++) {
		const char *text = near__reply_bytes(replies[i], NULL);
		m->answered += statuses[i] == NEAR_OK;
		m->wrong += statuses[i] == NEAR_OK ? text == NULL || strcmp(text, texts[i]) != 0 : replies[i] != NULL;
		near__reply_free(replies[i]);
	}
}

static void *mix(void *arg)
{
	mixer *m = arg;
	char text[256];
	for (unsigned i = 0; i < ROUNDS; i++) {
		switch (near__random_next(&m->random) % 8) {
		case 0:
			m->posted += near__redis_post(m->o->redis, count_run, m->ran) == NEAR_OK;
			break;
		case 1:
			(void)near__redis_wait_up(m->o->redis, MILLIS(20));
			break;
		case 2:
			(void)near__redis_last_error(m->o->redis, text, sizeof(text));
			(void)near__redis_is_up(m->o->redis);
			break;
		default:
			ask_echoes(m);
		}
	}
	return NULL;
}

static void disturb(redis_server *server, uint64_t *random)
{
	switch (near__random_next(random) % 3) {
	case 0:
		free(redis_server_command(server, "CLIENT KILL TYPE normal"));
		break;
	case 1:
		free(redis_server_command(server, "CLIENT KILL TYPE pubsub"));
		break;
	default:
		redis_server_pause(server);
		(void)usleep(30000); /* how long it hangs: an input, not a wait for something */
		redis_server_resume(server);
	}
}

static void mix__with_cuts_and_pauses__answers_are_right_and_nothing_leaks(void **state)
{
	(void)state;
	static const char *const channels[] = { "a", "b" };
	mixer mixers[THREADS];
	_Atomic(unsigned) ran = 0;
	uint64_t seed = 11;
	unsigned posted = 0, answered = 0;
	printf("seed %llu\n", (unsigned long long)seed);
	redis_server *server = redis_server_start(NULL);
	owner *o = owner_open_with(redis_server_url(server),
	                           (near__redis_config){ .channels = channels, .channel_count = 2, .pipeline_max = 64,
	                                                 .backoff_max_ms = 20, .command_ms_max = 100 });
	owner_wait_up(o);
	for (unsigned i = 0; i < THREADS; i++) {
		mixers[i] = (mixer){ .o = o, .random = seed + i, .ran = &ran, .late_ns = INT64_MIN };
		assert_int_equal(pthread_create(&mixers[i].thread, NULL, mix, &mixers[i]), 0);
	}
	for (unsigned i = 0; i < 25; i++) {
		unsigned ticks = atomic_load(&o->ticks);
		wait_count(&o->ticks, ticks + 3);
		disturb(server, &seed);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		(void)pthread_join(mixers[i].thread, NULL);
		assert_int_equal(mixers[i].wrong, 0);
		assert_true(mixers[i].late_ns < LATE_MS_MAX * NEAR__MS_NS);
		posted += mixers[i].posted;
		answered += mixers[i].answered;
	}
	assert_true(answered > 0);
	wait_count(&ran, posted);
	int64_t deadline_ns = SECONDS(10);
	near__reply *reply = NULL;
	while (near__redis_call(o->redis, WORDS("ECHO", "end"), SECONDS(1), &reply) != NEAR_OK) /* the last cut may come now */
		assert_true(near__now_ns() < deadline_ns);
	near__reply_free(reply);
	while (atomic_load(&o->redis->load) != 0) {
		assert_true(near__now_ns() < deadline_ns);
		(void)usleep(1000);
	}
	owner_close(o);
	assert_int_equal(ran, posted); /* none twice */
	redis_server_free(server);
}

/* Opening and closing while threads call: close ends them all. */
static void *call_until_closed(void *arg)
{
	near__reply *reply;
	near_status status;
	unsigned long *wrong = calloc(1, sizeof(*wrong));
	while ((status = near__redis_call(arg, WORDS("ECHO", "x"), SECONDS(10), &reply)) == NEAR_OK)
		near__reply_free(reply);
	*wrong = status != NEAR_E_UNAVAILABLE;
	return wrong;
}

static void close__while_threads_call__ends_them_all(void **state)
{
	(void)state;
	redis_server *server = redis_server_start(NULL);
	for (int round = 0; round < 15; round++) {
		pthread_t threads[4];
		owner *o = owner_open(redis_server_url(server));
		owner_wait_up(o);
		for (int i = 0; i < 4; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, call_until_closed, o->redis), 0);
		int64_t deadline_ns = SECONDS(10);
		while (near__histogram_count(o->stats->latency[NEAR_LATENCY_L2]) < 200) {
			assert_true(near__now_ns() < deadline_ns);
			(void)usleep(100);
		}
		/* With the server stopped and its last answers read, each of them waits inside and none comes back before
		 * close: a call that begins after it would be the caller's mistake. */
		redis_server_pause(server);
		unsigned ticks;
		do {
			assert_true(near__now_ns() < deadline_ns);
			ticks = atomic_load(&o->ticks);
			wait_count(&o->ticks, ticks + 5);
		} while (atomic_load(&o->redis->load) >> NEAR__LOAD_SHIFT < 4);
		near__redis_close(o->redis);
		redis_server_resume(server);
		for (int i = 0; i < 4; i++) {
			void *wrong;
			(void)pthread_join(threads[i], &wrong);
			assert_int_equal(*(unsigned long *)wrong, 0);
			free(wrong);
		}
		near__stats_free(o->stats);
		(void)pthread_mutex_destroy(&o->lock);
		free(o);
	}
	redis_server_free(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mix__with_cuts_and_pauses__answers_are_right_and_nothing_leaks),
		cmocka_unit_test(close__while_threads_call__ends_them_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
