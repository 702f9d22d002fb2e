/* Memory under a bound with many threads, across fork, with pins that outlive their cache, and with steps that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include "heap.h"

/* ------------------------------------------------------------------ many threads */

#define THREADS 4

typedef struct crowd {
	near__mem *mem;
	_Atomic(uint32_t) refused, above;
} crowd;

typedef struct member {
	crowd *crowd;
	uint64_t random;
	pthread_t thread;
} member;

static void *allocate_and_free(void *arg)
{
	member *m = arg;
	crowd *c = m->crowd;
	static const size_t mosts[] = { 64, 1000, 30000, 102400 };
	enum { KEPT = 20000 / SLOWER };
	char **kept = calloc(KEPT, sizeof(*kept));
	size_t *sizes = calloc(KEPT, sizeof(*sizes));
	for (unsigned i = 0; kept != NULL && sizes != NULL && i < 150000 / SLOWER; i++) {
		size_t at = (size_t)(near__random_next(&m->random) % KEPT);
		if (kept[at] != NULL) {
			if (kept[at][0] != (char)at || kept[at][sizes[at] - 1] != (char)at)
				near__assert_failed("a block keeps its bytes", __FILE__, __LINE__);
			near__mem_free(c->mem, kept[at]);
		}
		sizes[at] = 16 + (size_t)(near__random_next(&m->random) % mosts[i * SLOWER / 10000 % 4]);
		kept[at] = near__mem_alloc(c->mem, sizes[at]);
		if (kept[at] == NULL)
			atomic_fetch_add(&c->refused, 1);
		else
			kept[at][0] = kept[at][sizes[at] - 1] = (char)at;
		if (near__mem_mapped(c->mem) > near__mem_limit(c->mem))
			atomic_fetch_add(&c->above, 1);
		if (i % 1000 == 0 && near__mem_charge(c->mem, 100000))
			near__mem_uncharge(c->mem, 100000);
	}
	for (unsigned at = 0; kept != NULL && at < KEPT; at++)
		if (kept[at] != NULL)
			near__mem_free(c->mem, kept[at]);
	free(kept);
	free(sizes);
	return NULL;
}

static void mem__many_threads_at_the_bound__it_holds_and_all_comes_back(void **state)
{
	(void)state;
	crowd c = { 0 };
	assert_int_equal(near__mem_create(SLOWER == 1 ? 128 * MIB : 16 * MIB, true, &c.mem), NEAR_OK);
	uint64_t seed;
	near__random_bytes(&seed, sizeof(seed));
	print_message("seed %" PRIu64 "\n", seed);
	member members[THREADS];
	for (unsigned i = 0; i < THREADS; i++) {
		members[i] = (member){ .crowd = &c, .random = seed + i };
		assert_int_equal(pthread_create(&members[i].thread, NULL, allocate_and_free, &members[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(members[i].thread, NULL), 0);
	assert_int_equal(atomic_load(&c.above), 0);
	assert_true(atomic_load(&c.refused) > 0); /* the bound was reached */
	near__mem_trim(c.mem);
	near__mem_stats s;
	near__mem_get_stats(c.mem, &s);
	print_message("refused %u, mapped after all %" PRIu64 ", metadata %" PRIu64 "\n", atomic_load(&c.refused),
	              s.mapped_bytes, s.metadata_bytes);
	assert_true(s.mapped_bytes_max <= s.limit_bytes);
	assert_int_equal(s.allocated_bytes, 0);
	assert_int_equal(s.mapped_bytes, s.metadata_bytes);
	assert_int_equal(s.backed_bytes, 0);
	near__mem_release(c.mem);
}

/* ------------------------------------------------------------------------- fork */

static _Atomic(uint32_t) forked;

static void *allocate_until_forked(void *arg)
{
	near__mem *mem = arg;
	uint64_t random = 1;
	while (atomic_load(&forked) == 0) {
		void *b = near__mem_alloc(mem, 16000 + (size_t)(near__random_next(&random) % 60000)); /* an extent each */
		if (b != NULL)
			near__mem_free(mem, b);
	}
	return NULL;
}

/* A thread that is slow where it holds our lock: so that nearly every fork finds it there. */
static void dawdle(const char *point)
{
	if (strcmp(point, "mem:locked") != 0)
		return;
	for (unsigned i = 0; i < 100 && atomic_load(&forked) == 0; i++)
		sched_yield();
}

/* In the child, memory that was made before can still be given back: no lock is left held by a thread that is gone. */
static void fork__while_others_allocate__the_child_can_allocate_and_free(void **state)
{
	(void)state;
	near__mem *mem = NULL;
	assert_int_equal(near__mem_create(64 * MIB, true, &mem), NEAR_OK);
	near__yield_hook = dawdle;
	pthread_t thread[2];
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, allocate_until_forked, mem), 0);
	for (unsigned i = 0; i < 40; i++) {
		void *before = near__mem_alloc(mem, 20000);
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			near__yield_hook = NULL;
			(void)alarm(20); /* a lock that nobody gives back ends here */
			near__mem_free(mem, before);
			void *b = near__mem_alloc(mem, 30000);
			if (b != NULL)
				near__mem_free(mem, b);
			near__mem_release(mem);
			_exit(b != NULL ? 0 : 1);
		}
		int status = 0;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		near__mem_free(mem, before);
	}
	atomic_store(&forked, 1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	near__yield_hook = NULL;
	near__mem_release(mem);
}

/* ------------------------------------------------------------------------ pins */

static void mem_release__while_a_pin_holds__the_block_stays_readable(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		near__mem *mem = NULL;
		assert_int_equal(near__mem_create(16 * MIB, true, &mem), NEAR_OK);
		char *block = near__mem_alloc(mem, 5000);
		assert_non_null(block);
		memset(block, 'x', 5000);
		near__mem_hold(mem);
		near__mem_release(mem);
		for (unsigned k = 0; k < 5000; k++)
			assert_int_equal(block[k], 'x');
		near__mem_free(mem, block);
		near__mem_release(mem);
	}
}

/* --------------------------------------------------------------- what fails on purpose */

static near__mem_step refused_step;
static unsigned refuse_every, refusals, steps;

static bool refuse_some(near__mem_step step)
{
	if (step != refused_step || ++steps % refuse_every != 0)
		return false;
	refusals++;
	return true;
}

static void mem_alloc__steps_refused_at_random__nothing_is_lost(void **state)
{
	(void)state;
	static const near__mem_step each[] = { NEAR__MEM_ALLOC, NEAR__MEM_EXTENT, NEAR__MEM_CHARGE };
	for (unsigned i = 0; i < sizeof(each) / sizeof(*each); i++) {
		heap h;
		heap_open(&h, 32 * MIB, true);
		near__mem_stats first, last;
		refused_step = each[i];
		refuse_every = 3, refusals = 0, steps = 0;
		near__mem_refuse = refuse_some;
		unsigned failed = 0;
		for (unsigned k = 0; k < 3000; k++) {
			failed += !heap_add(&h, between(&h, 10, 20000));
			if (near__mem_charge(h.mem, 4096))
				near__mem_uncharge(h.mem, 4096);
			else
				failed++;
			if (k % 2 == 0 && h.count > 0)
				heap_drop(&h, between(&h, 0, h.count - 1));
		}
		near__mem_refuse = NULL;
		assert_true(refusals > 0 && failed > 0);
		heap_empty(&h);
		near__mem_trim(h.mem);
		near__mem_get_stats(h.mem, &first);
		assert_int_equal(first.mapped_bytes, first.metadata_bytes);
		assert_true(heap_fill(&h, 10, 20000) > 29 * MIB);
		near__mem_get_stats(h.mem, &last);
		assert_true(last.mapped_bytes_max <= last.limit_bytes);
		heap_close(&h);
	}
	refused_step = NEAR__MEM_CREATE, refuse_every = 1;
	near__mem_refuse = refuse_some;
	near__mem *mem = NULL;
	assert_int_equal(near__mem_create(16 * MIB, false, &mem), NEAR_E_NOMEM);
	refused_step = NEAR__MEM_EXTENT; /* the arena's first block */
	assert_int_equal(near__mem_create(16 * MIB, false, &mem), NEAR_E_NOMEM);
	near__mem_refuse = NULL;
	assert_null(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mem__many_threads_at_the_bound__it_holds_and_all_comes_back),
		cmocka_unit_test(fork__while_others_allocate__the_child_can_allocate_and_free),
		cmocka_unit_test(mem_release__while_a_pin_holds__the_block_stays_readable),
		cmocka_unit_test(mem_alloc__steps_refused_at_random__nothing_is_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
