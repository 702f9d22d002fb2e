/* The inbox between workers and the I/O thread, and commands in RESP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "redis/reply.h"
#include "redis/request.h"

static void inbox_take__after_pushes__is_in_order(void **state)
{
	(void)state;
	near__inbox inbox = { NULL };
	near__request requests[5];
	assert_null(near__inbox_take(&inbox));
	assert_false(near__inbox_push(&inbox, &requests[0], &requests[0]));
	/* A chain of three, newest first. */
	requests[3].next = &requests[2];
	requests[2].next = &requests[1];
	assert_false(near__inbox_push(&inbox, &requests[3], &requests[1]));
	assert_false(near__inbox_push(&inbox, &requests[4], &requests[4]));
	near__request *request = near__inbox_take(&inbox);
	for (int i = 0; i < 5; i++, request = request->next)
		assert_ptr_equal(request, &requests[i]);
	assert_null(request);
	assert_null(near__inbox_take(&inbox));
}

static void inbox_sleep__exactly_one_push_rings(void **state)
{
	(void)state;
	near__inbox inbox = { NULL };
	near__request requests[3];
	assert_true(near__inbox_sleep(&inbox));
	assert_true(near__inbox_push(&inbox, &requests[0], &requests[0]));
	assert_false(near__inbox_push(&inbox, &requests[1], &requests[1]));
	assert_false(near__inbox_sleep(&inbox)); /* something is there */
	near__request *request = near__inbox_take(&inbox);
	assert_ptr_equal(request, &requests[0]);
	assert_ptr_equal(request->next, &requests[1]);
	assert_null(request->next->next);
	assert_true(near__inbox_sleep(&inbox));
	assert_null(near__inbox_take(&inbox)); /* woken by something else */
	assert_false(near__inbox_push(&inbox, &requests[2], &requests[2]));
}

/* Threads push numbered requests; the consumer sleeps for real (spins on a bell) whenever the inbox is empty. Nothing is
 * lost, each thread's requests come in its order, and no sleep goes without a ring. */
#define THREADS 4
#define PUSHES 20000

typedef struct numbered {
	near__request request;
	unsigned thread, number;
} numbered;

typedef struct producer {
	near__inbox *inbox;
	_Atomic(unsigned) *bell;
	unsigned id;
	numbered *requests;
	pthread_t thread;
} producer;

static void *produce(void *arg)
{
	producer *p = arg;
	for (unsigned i = 0; i < PUSHES; i++) {
		p->requests[i] = (numbered){ .thread = p->id, .number = i };
		if (near__inbox_push(p->inbox, &p->requests[i].request, &p->requests[i].request))
			atomic_fetch_add(p->bell, 1);
	}
	return NULL;
}

static void inbox__many_producers__nothing_is_lost_and_sleeps_are_rung(void **state)
{
	(void)state;
	static near__inbox inbox;
	_Atomic(unsigned) bell = 0;
	producer producers[THREADS];
	unsigned next[THREADS] = { 0 }, taken = 0, heard = 0;
	for (unsigned i = 0; i < THREADS; i++) {
		producers[i] = (producer){ &inbox, &bell, i, calloc(PUSHES, sizeof(numbered)), 0 };
		assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
	}
	while (taken < THREADS * PUSHES) {
		if (near__inbox_sleep(&inbox)) {
			while (atomic_load(&bell) == heard) /* hangs, and the test runner ends it, when a ring is lost */
				(void)sched_yield();
			heard++;
			assert_int_equal(atomic_load(&bell), heard);
		}
		for (near__request *r = near__inbox_take(&inbox); r != NULL; r = r->next, taken++) {
			numbered *n = (numbered *)r;
			assert_int_equal(n->number, next[n->thread]);
			next[n->thread]++;
		}
	}
	for (unsigned i = 0; i < THREADS; i++) {
		(void)pthread_join(producers[i].thread, NULL);
		free(producers[i].requests);
	}
	assert_null(near__inbox_take(&inbox));
}

static void wire__command__reads_back_as_it_was(void **state)
{
	(void)state;
	static char large[100000];
	const char *argv[] = { "SET", "", "a\0\r\nb", large };
	const size_t sizes[] = { 3, 0, 5, sizeof(large) };
	const near__command command = { 4, argv, sizes };
	memset(large, 'x', sizeof(large));
	size_t size = near__wire_size(&command);
	char *bytes = malloc(size);
	assert_ptr_equal(near__wire_write(&command, bytes), bytes + size);
	near__parser *parser = near__parser_create(1 << 20);
	near__reply *reply = NULL;
	assert_true(near__parser_feed(parser, bytes, size));
	assert_true(near__parser_next(parser, &reply));
	assert_int_equal(near__reply_count(reply), 4);
	for (size_t i = 0; i < 4; i++) {
		size_t got;
		const char *argument = near__reply_bytes(near__reply_at(reply, i), &got);
		assert_int_equal(got, sizes[i]);
		assert_memory_equal(argument, argv[i], got);
	}
	assert_int_equal(near__parser_pending(parser), 0);
	near__reply_free(reply);
	near__parser_free(parser);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inbox_take__after_pushes__is_in_order),
		cmocka_unit_test(inbox_sleep__exactly_one_push_rings),
		cmocka_unit_test(inbox__many_producers__nothing_is_lost_and_sleeps_are_rung),
		cmocka_unit_test(wire__command__reads_back_as_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
