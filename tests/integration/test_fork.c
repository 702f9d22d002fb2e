/* fork: the child uses the cache that its parent opened, with an L1, threads and connections of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <nearcache/nearcache.h>
#include "support/redis_server.h"

#define KEY(s) s, sizeof(s) - 1
enum { SOON_MS = 5000 };

static near_cache *open_on(const char *url)
{
	near_options o;
	near_cache *cache = NULL;
	near_options_init(&o);
	o.ignore_environment = 1;
	o.memory_bytes = 16 << 20;
	o.redis_url = url;
	assert_int_equal(near_open(&o, &cache, NULL), NEAR_OK);
	assert_int_equal(near_wait_ready(cache, SOON_MS), NEAR_OK);
	return cache;
}

/* In the child: a failed check ends it with the number of its line. */
#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "child: line %d: %s\n", __LINE__, #condition); \
			_exit(1); \
		} \
	} while (0)

/* ThreadSanitizer does not follow a program of several threads through fork into a child that starts threads. */
static void skip_under_tsan(void)
{
#ifdef __SANITIZE_THREAD__
	print_message("skipped: ThreadSanitizer cannot watch threads that are started after fork\n");
	skip();
#endif
}

static void join(pid_t pid)
{
	int status;
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void fork__single_process__child_starts_empty(void **state)
{
	(void)state;
	skip_under_tsan();
	near_cache *cache = open_on("");
	char buf[8];
	assert_int_equal(near_put(cache, KEY("a"), "1", 1, NULL), NEAR_OK);
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(near_get(cache, KEY("a"), buf, sizeof buf, NULL) == NEAR_MISS);
		CHECK(near_put(cache, KEY("a"), "2", 1, NULL) == NEAR_OK);
		CHECK(near_get(cache, KEY("a"), buf, sizeof buf, NULL) == NEAR_OK && buf[0] == '2');
		near_close(cache);
		_exit(0);
	}
	join(pid);
	assert_int_equal(near_get(cache, KEY("a"), buf, sizeof buf, NULL), NEAR_OK);
	assert_int_equal(buf[0], '1');
	near_close(cache);
}

static void fork__child_never_uses_it__close_harms_nobody(void **state)
{
	redis_server *redis = *state;
	near_cache *cache = open_on(redis_server_url(redis));
	pid_t pid = fork();
	if (pid == 0) {
		near_close(cache);
		_exit(0);
	}
	join(pid);
	assert_int_equal(near_put(cache, KEY("a"), "1", 1, NULL), NEAR_OK);
	near_close(cache);
}

static void *ask(void *ctx)
{
	char buf[8];
	return near_get(ctx, KEY("a"), buf, sizeof buf, NULL) >= 0 ? NULL : ctx;
}

static void fork__with_redis__child_is_a_coherent_process(void **state)
{
	redis_server *redis = *state;
	skip_under_tsan();
	near_cache *cache = open_on(redis_server_url(redis));
	near_pin pin;
	char buf[8];
	assert_int_equal(near_put(cache, KEY("a"), "1", 1, NULL), NEAR_OK);
	assert_int_equal(near_get_pinned(cache, KEY("a"), NULL, &pin), NEAR_OK);
	pid_t pid = fork();
	if (pid == 0) {
		pthread_t threads[4];
		for (int i = 0; i < 4; i++)
			CHECK(pthread_create(&threads[i], NULL, ask, cache) == 0);
		for (int i = 0; i < 4; i++) {
			void *failed;
			CHECK(pthread_join(threads[i], &failed) == 0 && failed == NULL);
		}
		CHECK(near_wait_ready(cache, SOON_MS) == NEAR_OK);
		CHECK(near_get(cache, KEY("a"), buf, sizeof buf, NULL) == NEAR_OK && buf[0] == '1');
		CHECK(near_put(cache, KEY("a"), "2", 1, NULL) == NEAR_OK);
		CHECK(memcmp(pin.value, "1", 1) == 0);
		near_unpin(&pin);
		near_close(cache);
		_exit(0);
	}
	join(pid);
	for (int i = 0; i < SOON_MS; i++) {
		if (near_get(cache, KEY("a"), buf, sizeof buf, NULL) == NEAR_OK && buf[0] == '2')
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	assert_int_equal(buf[0], '2');
	assert_memory_equal(pin.value, "1", 1);
	near_unpin(&pin);
	near_close(cache);
}

static int start(void **state)
{
	*state = redis_server_start(NULL);
	return 0;
}
static int stop(void **state)
{
	redis_server_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fork__single_process__child_starts_empty),
		cmocka_unit_test_setup_teardown(fork__child_never_uses_it__close_harms_nobody, start, stop),
		cmocka_unit_test_setup_teardown(fork__with_redis__child_is_a_coherent_process, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
