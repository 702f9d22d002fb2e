/* Threads come and go, and fork. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "sync/epoch.h"

static void run_one(void *(*body)(void *), void *arg)
{
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, body, arg), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

typedef struct asked {
	near__thread *other;
	uint32_t index;
} asked;

static void *own_index(void *arg)
{
	asked *a = arg;
	near__thread *self = near__self();
	if (self != near__self() || self == a->other)
		near__assert_failed("self is stable, and another thread's is another", __FILE__, __LINE__);
	a->index = self->index;
	return NULL;
}

static void self__in_another_thread__is_another(void **state)
{
	(void)state;
	asked a = { near__self(), 0 };
	run_one(own_index, &a);
	assert_true(a.index != near__self()->index);
}

static void self__of_thousands_of_threads_in_turn__uses_few_indices(void **state)
{
	(void)state;
	asked a = { near__self(), 0 };
	for (unsigned i = 0; i < 3000; i++) {
		run_one(own_index, &a);
		assert_true(a.index < 4);
	}
}

#define CROWD 64
static _Atomic(uint32_t) there;
static uint32_t indices[CROWD];

static void *take_index(void *arg)
{
	uint32_t *mine = arg;
	*mine = near__self()->index;
	atomic_fetch_add(&there, 1);
	while (atomic_load(&there) < CROWD)
		sched_yield();
	return NULL;
}

static void self__of_live_threads__has_an_index_of_its_own(void **state)
{
	(void)state;
	pthread_t thread[CROWD];
	for (unsigned i = 0; i < CROWD; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, take_index, &indices[i]), 0);
	for (unsigned i = 0; i < CROWD; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	for (unsigned i = 0; i < CROWD; i++)
		for (unsigned k = 0; k < i; k++)
			assert_true(indices[i] != indices[k] && indices[i] != near__self()->index);
}

/* Another library's destructor, which runs after ours and still calls us. */
static pthread_key_t late_key;
static _Atomic(uint32_t) late_calls;

static void use_us_late(void *arg)
{
	(void)arg;
	near__epoch_enter(near__self());
	near__epoch_exit(near__self());
	atomic_fetch_add(&late_calls, 1);
}

static void *leave_work_behind(void *arg)
{
	(void)arg;
	(void)near__self();
	(void)pthread_setspecific(late_key, &late_key);
	return NULL;
}

static void self__used_by_a_later_destructor__loses_no_slot(void **state)
{
	(void)state;
	assert_int_equal(pthread_key_create(&late_key, use_us_late), 0);
	asked a = { near__self(), 0 };
	run_one(own_index, &a);
	uint32_t before = a.index;
	for (unsigned i = 0; i < 500; i++)
		run_one(leave_work_behind, NULL);
	assert_int_equal(atomic_load(&late_calls), 500);
	run_one(own_index, &a);
	assert_int_equal(a.index, before);
	assert_int_equal(pthread_key_delete(late_key), 0);
}

/* ------------------------------------------------------------------------------ fork */

static _Atomic(uint32_t) inside, leave;

static void *stay_inside(void *arg)
{
	(void)arg;
	near__epoch_enter(near__self());
	atomic_store(&inside, 1);
	while (atomic_load(&leave) == 0)
		sched_yield();
	near__epoch_exit(near__self());
	return NULL;
}

static size_t free_it(void *ctx, near__retired *object)
{
	++*(unsigned *)ctx;
	free(object);
	return 64;
}

static unsigned retire_and_collect(void)
{
	near__limbo limbo;
	near__limbo_init(&limbo);
	near__epoch_enter(near__self());
	near__limbo_retire(&limbo, malloc(64), 64);
	near__epoch_exit(near__self());
	unsigned freed = 0;
	for (unsigned i = 0; i < 4; i++)
		(void)near__limbo_collect(&limbo, free_it, &freed);
	if (freed == 0)
		near__limbo_drain(&limbo, free_it, &freed), freed = 0;
	return freed;
}

static void fork__while_another_thread_is_inside__the_child_reclaims_without_it(void **state)
{
	(void)state;
	(void)near__self();
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, stay_inside, NULL), 0);
	while (atomic_load(&inside) == 0)
		sched_yield();
	assert_int_equal(retire_and_collect(), 0); /* here it is held up */
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(retire_and_collect() == 1 ? 0 : 1);
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	atomic_store(&leave, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(retire_and_collect(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(self__in_another_thread__is_another),
		cmocka_unit_test(self__of_thousands_of_threads_in_turn__uses_few_indices),
		cmocka_unit_test(self__of_live_threads__has_an_index_of_its_own),
		cmocka_unit_test(self__used_by_a_later_destructor__loses_no_slot),
		cmocka_unit_test(fork__while_another_thread_is_inside__the_child_reclaims_without_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
