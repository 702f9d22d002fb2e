/* What a step costs Redis: processor time per operation with four processes listening, printed beside a plain SET and a
 * SET with PUBLISH of the same run. The bounds are ten times what was measured, so only a step that has become another
 * algorithm (a scan, say) fails here. */
#include "coherence_peer.h"

#define LISTENERS 4
#define THREADS 8
#define BATCH 16
#define OPERATIONS 16000

typedef enum what { SET, SET_PUBLISH, PUT, INVALIDATE, TOKEN_FILL, TAG, WHATS } what;
static const char *const names[WHATS] = { "SET", "SET+PUBLISH", "put", "invalidate", "token+fill", "tag, 4 shards" };
static const double bound_us[WHATS] = { 100, 200, 300, 300, 500, 1500 };

typedef struct work {
	peer *p;
	what kind;
	int thread;
} work;

static double cpu_us(void)
{
	char path[64], line[512];
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)redis_server_pid(server));
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	fclose(f);
	unsigned long user, system;
	const char *after = strrchr(line, ')');
	assert_int_equal(sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
	return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static void bare(peer *p, const char *const *words, int count)
{
	const char *argv[8];
	size_t sizes[8];
	near__reply *reply = NULL;
	for (int i = 0; i < count; i++) {
		argv[i] = words[i];
		sizes[i] = strlen(words[i]);
	}
	near__command command = { count, argv, sizes };
	assert_int_equal(near__redis_call(near__coherence_redis(p->c), &command, peer_deadline(), &reply), NEAR_OK);
	near__reply_free(reply);
}

static void *run(void *arg)
{
	const work *w = arg;
	char key[32], value[101];
	memset(value, 'v', 100);
	value[100] = '\0';
	for (int i = 0; i < OPERATIONS / THREADS; i++) {
		(void)snprintf(key, sizeof(key), "user:%d:%d", w->thread, i % 500);
		peer_token t;
		switch (w->kind) {
		case SET:
		case SET_PUBLISH:
			bare(w->p, (const char *[]){ "SET", key, value, "PX", "60000" }, 5);
			if (w->kind == SET_PUBLISH)
				bare(w->p, (const char *[]){ "PUBLISH", "test:v1~c:0", "0 none of the library's" }, 3);
			break;
		case PUT:
			(void)peer_put(w->p, key, value);
			break;
		case INVALIDATE:
			(void)peer_invalidate(w->p, key);
			break;
		case TOKEN_FILL:
			assert_int_equal(peer_ask(w->p, key, 'm', 0, 1000, &t), NEAR_OK);
			if (t.answer == NEAR__TOKEN_GRANTED)
				(void)peer_fill(w->p, key, &t, value);
			break;
		case TAG:
			if (i % BATCH == 0)
				assert_int_equal(near__coherence_invalidate_tag(w->p->c, (uint64_t)i, peer_deadline()), NEAR_OK);
			break;
		case WHATS:
			break;
		}
	}
	return NULL;
}

static void steps__with_four_listeners__cost_microseconds(void **state)
{
	(void)state;
	peer *p[LISTENERS];
	for (int i = 0; i < LISTENERS; i++)
		p[i] = peer_open(server);
	for (what kind = 0; kind < WHATS; kind++) {
		pthread_t threads[THREADS];
		work works[THREADS];
		if (kind == TOKEN_FILL)
			server_run("FLUSHALL%s", "");
		double before_us = cpu_us();
		int64_t begun_ns = near__now_ns();
		for (int t = 0; t < THREADS; t++) {
			works[t] = (work){ p[0], kind, t };
			pthread_create(&threads[t], NULL, run, &works[t]);
		}
		for (int t = 0; t < THREADS; t++)
			pthread_join(threads[t], NULL);
		double n = kind == TAG ? OPERATIONS / BATCH : OPERATIONS;
		double each_us = (cpu_us() - before_us) / n;
		print_message("%-14s %6.1f us of Redis's processor each, %8.0f a second from %d threads\n", names[kind], each_us,
		              n * 1e9 / (double)(near__now_ns() - begun_ns), THREADS);
		assert_true(each_us < bound_us[kind]);
	}
	for (int i = 0; i < LISTENERS; i++)
		peer_close(p[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { SERVER_TEST(steps__with_four_listeners__cost_microseconds) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
