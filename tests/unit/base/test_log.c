/* The log: to the callback everything, to standard error little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"

typedef struct heard {
	unsigned count;
	near_log_level level;
	char text[2048];
} heard;

static void hear(void *ctx, near_log_level level, const char *text)
{
	heard *h = ctx;
	h->count++;
	h->level = level;
	(void)snprintf(h->text, sizeof(h->text), "%s", text);
}

static void log_write__with_a_callback__hands_every_line_on(void **state)
{
	(void)state;
	heard h = { 0 };
	near__log log = { hear, &h };
	for (unsigned i = 0; i < 100; i++)
		near__log_write(&log, NEAR_LOG_DEBUG, "number %u", i);
	assert_int_equal(h.count, 100);
	assert_int_equal(h.level, NEAR_LOG_DEBUG);
	assert_string_equal(h.text, "number 99");
	char longer[3000];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	near__log_write(&log, NEAR_LOG_INFO, "%s", longer);
	assert_int_equal(strlen(h.text), 1023); /* cut, not refused */
}

/* Standard error goes to a file while body runs; the lines come back. */
static char captured[65536];
static const char *capture(void (*body)(void))
{
	FILE *f = tmpfile();
	assert_non_null(f);
	int saved = dup(STDERR_FILENO);
	assert_true(saved >= 0 && dup2(fileno(f), STDERR_FILENO) >= 0);
	body();
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	rewind(f);
	size_t n = fread(captured, 1, sizeof(captured) - 1, f);
	captured[n] = '\0';
	(void)fclose(f);
	return captured;
}

static unsigned lines_with(const char *text, const char *word)
{
	unsigned n = 0;
	for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
		n++;
	return n;
}

static void speak_much(void)
{
	near__log none = { NULL, NULL };
	for (unsigned i = 0; i < 1000; i++) {
		near__log_write(&none, NEAR_LOG_WARN, "first place %u", i);
		near__log_write(NULL, NEAR_LOG_ERROR, "second place %u", i);
		near__log_write(&none, NEAR_LOG_INFO, "third place %u", i);
	}
}

static void log_write__without_a_callback__each_place_once_a_second(void **state)
{
	(void)state;
	int64_t start = near__now_ns();
	const char *text = capture(speak_much);
	if (near__now_ns() - start > 900 * NEAR__MS_NS)
		skip(); /* the machine stood still for a second: nothing can be said */
	assert_int_equal(lines_with(text, "nearcache: warning: first place 0\n"), 1);
	assert_int_equal(lines_with(text, "nearcache: error: second place 0\n"), 1);
	assert_int_equal(lines_with(text, "\n"), 2);
}

static void speak_until_heard_again(void)
{
	int64_t start = near__now_ns();
	for (unsigned i = 0; near__now_ns() - start < 1100 * NEAR__MS_NS; i++) {
		near__log_write(NULL, NEAR_LOG_WARN, "again %u", i);
		(void)usleep(1000);
	}
}

static void log_write__after_a_second__speaks_again_and_counts_what_it_swallowed(void **state)
{
	(void)state;
	const char *text = capture(speak_until_heard_again);
	assert_int_equal(lines_with(text, "again 0\n"), 1);
	assert_int_equal(lines_with(text, " like it before)\n"), 1);
	assert_int_equal(lines_with(text, "\n"), 2);
}

static void *speak(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 1000; i++)
		near__log_write(NULL, NEAR_LOG_WARN, "from many threads");
	return NULL;
}

static void speak_together(void)
{
	pthread_t thread[4];
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, speak, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
}

static void log_write__from_many_threads__one_of_them_speaks(void **state)
{
	(void)state;
	int64_t start = near__now_ns();
	const char *text = capture(speak_together);
	if (near__now_ns() - start > 900 * NEAR__MS_NS)
		skip();
	assert_int_equal(lines_with(text, "from many threads"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log_write__with_a_callback__hands_every_line_on),
		cmocka_unit_test(log_write__without_a_callback__each_place_once_a_second),
		cmocka_unit_test(log_write__after_a_second__speaks_again_and_counts_what_it_swallowed),
		cmocka_unit_test(log_write__from_many_threads__one_of_them_speaks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
