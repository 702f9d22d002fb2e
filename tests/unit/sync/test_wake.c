/* Waiting on a word: by value, by deadline, by wake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include "base/clock.h"
#include "sync/wake.h"

static void wait__another_value__returns_at_once(void **state)
{
	(void)state;
	_Atomic(uint32_t) word = 1;
	assert_true(near__wait(&word, 0, INT64_MAX));
}

static void wait__deadline__returns_false_and_not_before_it(void **state)
{
	(void)state;
	_Atomic(uint32_t) word = 0;
	int64_t deadline = near__now_ns() + 20 * NEAR__MS_NS;
	bool again = true;
	while (again) /* what is spurious returns true */
		again = near__wait(&word, 0, deadline);
	assert_true(near__now_ns() >= deadline);
	assert_false(near__wait(&word, 0, near__now_ns() - 1));
	assert_false(near__wait(&word, 0, 0));
	assert_false(near__wait(&word, 0, INT64_MIN));
}

#define ROUNDS 5000
static _Atomic(uint32_t) ball;

/* Each waits for its turn and passes the ball; a lost wake would run into the deadline. */
static void *player(void *arg)
{
	uint32_t me = *(uint32_t *)arg;
	int64_t deadline = near__now_ns() + 60000 * NEAR__MS_NS;
	for (uint32_t turn = me; turn < 2 * ROUNDS; turn += 2) {
		uint32_t seen;
		while ((seen = atomic_load(&ball)) != turn)
			if (!near__wait(&ball, seen, deadline))
				return NULL;
		atomic_store(&ball, turn + 1);
		near__wake_one(&ball);
	}
	return arg;
}

static void wake_one__two_threads_in_turn__loses_no_wake(void **state)
{
	(void)state;
	uint32_t even = 0, odd = 1;
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, player, &odd), 0);
	assert_non_null(player(&even));
	void *other = NULL;
	assert_int_equal(pthread_join(thread, &other), 0);
	assert_non_null(other);
	assert_int_equal(atomic_load(&ball), 2 * ROUNDS);
}

#define WAITERS 8
static _Atomic(uint32_t) gate, waiting;

static void *wait_at_gate(void *arg)
{
	(void)arg;
	int64_t deadline = near__now_ns() + 60000 * NEAR__MS_NS;
	atomic_fetch_add(&waiting, 1);
	while (atomic_load(&gate) == 0)
		if (!near__wait(&gate, 0, deadline))
			return NULL;
	return &gate;
}

static void wake_all__many_waiters__wakes_each(void **state)
{
	(void)state;
	pthread_t thread[WAITERS];
	for (unsigned i = 0; i < WAITERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, wait_at_gate, NULL), 0);
	while (atomic_load(&waiting) < WAITERS)
		sched_yield();
	atomic_store(&gate, 1);
	near__wake_all(&gate);
	for (unsigned i = 0; i < WAITERS; i++) {
		void *passed = NULL;
		assert_int_equal(pthread_join(thread[i], &passed), 0);
		assert_non_null(passed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wait__another_value__returns_at_once),
		cmocka_unit_test(wait__deadline__returns_false_and_not_before_it),
		cmocka_unit_test(wake_one__two_threads_in_turn__loses_no_wake),
		cmocka_unit_test(wake_all__many_waiters__wakes_each),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
