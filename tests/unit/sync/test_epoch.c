/* Reclamation by epochs, with real threads. A use after free shows as poison: release overwrites the object before the
 * memory is used again, and every reader checks what it reads inside its section. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/hash.h"
#include "sync/epoch.h"

#define LIVE UINT64_C(0x11fe11fe11fe11fe)
#define POISON UINT64_C(0xdeaddeaddeaddead)

typedef struct object {
	near__retired link; /* the retirer's: readers do not look */
	_Atomic(uint64_t) mark;
	uint64_t bytes;
} object;

static size_t poison_and_free(void *ctx, near__retired *retired)
{
	object *o = (object *)retired;
	size_t bytes = (size_t)o->bytes;
	uint64_t was = atomic_exchange(&o->mark, POISON);
	if (was != LIVE)
		near__assert_failed("an object is released once, and alive until then", __FILE__, __LINE__);
	if (ctx != NULL)
		++*(size_t *)ctx;
	free(o);
	return bytes;
}

static object *object_new(uint64_t bytes)
{
	object *o = malloc(sizeof(*o));
	assert_non_null(o);
	atomic_init(&o->mark, LIVE);
	o->bytes = bytes;
	return o;
}

static void retire_one(near__limbo *limbo, uint64_t bytes)
{
	near__thread *self = near__self();
	near__epoch_enter(self);
	near__limbo_retire(limbo, &object_new(bytes)->link, (size_t)bytes);
	near__epoch_exit(self);
}

/* ---------------------------------------------------------------- one thread */

static void limbo_collect__three_times_without_sections__frees_everything(void **state)
{
	(void)state;
	near__limbo limbo;
	near__limbo_init(&limbo);
	for (unsigned i = 0; i < 100; i++)
		retire_one(&limbo, 1000);
	assert_int_equal(near__limbo_bytes(&limbo), 100000);
	size_t freed = 0, bytes = 0;
	for (unsigned i = 0; i < 3; i++)
		bytes += near__limbo_collect(&limbo, poison_and_free, &freed);
	assert_int_equal(freed, 100);
	assert_int_equal(bytes, 100000);
	assert_int_equal(near__limbo_bytes(&limbo), 0);
}

static void limbo_collect__right_after_retire__frees_nothing(void **state)
{
	(void)state;
	near__limbo limbo;
	near__limbo_init(&limbo);
	retire_one(&limbo, 64);
	size_t freed = 0;
	assert_int_equal(near__limbo_collect(&limbo, poison_and_free, &freed), 0);
	assert_int_equal(freed, 0);
	assert_int_equal(near__limbo_bytes(&limbo), 64);
	near__limbo_drain(&limbo, poison_and_free, &freed);
	assert_int_equal(freed, 1);
}

static void epoch_enter__nested__is_idle_only_after_the_last_exit(void **state)
{
	(void)state;
	near__thread *self = near__self();
	assert_true(near__epoch_idle(self));
	near__epoch_enter(self);
	near__epoch_enter(self);
	near__epoch_exit(self);
	assert_false(near__epoch_idle(self));
	near__epoch_exit(self);
	assert_true(near__epoch_idle(self));
}

static size_t stays_pinned(void *ctx, near__retired *retired)
{
	*(near__retired **)ctx = retired;
	return (size_t)((object *)retired)->bytes;
}

static void limbo_collect__release_keeps_the_object__the_account_is_settled(void **state)
{
	(void)state;
	near__limbo limbo;
	near__limbo_init(&limbo);
	retire_one(&limbo, 48);
	near__retired *kept = NULL;
	size_t bytes = 0;
	for (unsigned i = 0; i < 3; i++)
		bytes += near__limbo_collect(&limbo, stays_pinned, &kept);
	assert_int_equal(bytes, 48);
	assert_non_null(kept);
	assert_int_equal(near__limbo_bytes(&limbo), 0);
	free(kept);
}

/* ------------------------------------------------------- a reader that stops */

typedef struct stopped_reader {
	_Atomic(object *) shared;
	_Atomic(uint32_t) inside, leave;
	uint64_t seen_at_the_end;
} stopped_reader;

static void *read_and_stop(void *arg)
{
	stopped_reader *r = arg;
	near__thread *self = near__self();
	near__epoch_enter(self);
	object *o = atomic_load(&r->shared);
	atomic_store(&r->inside, 1);
	while (atomic_load(&r->leave) == 0)
		sched_yield();
	r->seen_at_the_end = atomic_load(&o->mark);
	near__epoch_exit(self);
	return NULL;
}

static void limbo_collect__while_a_reader_is_stopped__frees_nothing_and_others_go_on(void **state)
{
	(void)state;
	near__limbo limbo;
	near__limbo_init(&limbo);
	stopped_reader r = { .shared = NULL };
	object *seen = object_new(1);
	atomic_store(&r.shared, seen);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, read_and_stop, &r), 0);
	while (atomic_load(&r.inside) == 0)
		sched_yield();

	near__thread *self = near__self();
	near__epoch_enter(self);
	atomic_store(&r.shared, NULL);
	near__limbo_retire(&limbo, &seen->link, 1);
	near__epoch_exit(self);
	/* Retiring goes on, collecting returns at once, and what the reader can see stays. */
	size_t freed = 0;
	for (unsigned i = 0; i < 1000; i++) {
		retire_one(&limbo, 1);
		(void)near__limbo_collect(&limbo, poison_and_free, &freed);
	}
	assert_int_equal(freed, 0);
	assert_int_equal(near__limbo_bytes(&limbo), 1001);

	atomic_store(&r.leave, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(r.seen_at_the_end == LIVE);
	for (unsigned i = 0; i < 4; i++)
		(void)near__limbo_collect(&limbo, poison_and_free, &freed);
	assert_int_equal(freed, 1001);
	assert_int_equal(near__limbo_bytes(&limbo), 0);
}

/* --------------------------------------- a thread that stops at any step of ours */

#define OURS 1
#define THEIRS 1000

typedef struct count {
	size_t ours, theirs;
} count;

static size_t count_and_free(void *ctx, near__retired *retired)
{
	count *c = ctx;
	c->ours += ((object *)retired)->bytes == OURS;
	c->theirs += ((object *)retired)->bytes == THEIRS;
	return poison_and_free(NULL, retired);
}

static const char *stop_at;
static _Atomic(uint32_t) stopped, go_on;
static _Thread_local bool victim;

static void stop_the_victim(const char *point)
{
	if (!victim || strcmp(point, stop_at) != 0 || atomic_load(&stopped) != 0)
		return;
	atomic_store(&stopped, 1);
	while (atomic_load(&go_on) == 0)
		sched_yield();
}

typedef struct victims {
	near__limbo *limbo;
	count counted;
} victims;

static void *retire_and_collect(void *arg)
{
	victims *v = arg;
	victim = true;
	for (unsigned i = 0; i < 20; i++) {
		retire_one(v->limbo, THEIRS);
		(void)near__limbo_collect(v->limbo, count_and_free, &v->counted);
	}
	return NULL;
}

static void limbo__a_thread_stopped_at_each_step__others_go_on(void **state)
{
	(void)state;
	static const struct {
		const char *point;
		bool inside; /* of a section: then nothing new is freed meanwhile */
	} steps[] = {
		{ "epoch:enter", false },   { "epoch:entered", true }, { "epoch:exit", true },   { "epoch:exited", false },
		{ "limbo:unlinked", true }, { "limbo:push", true },    { "limbo:take", true },   { "limbo:advance", true },
		{ "limbo:release", false },
	};
	for (unsigned i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		near__limbo limbo;
		near__limbo_init(&limbo);
		victims v = { &limbo, { 0, 0 } };
		stop_at = steps[i].point;
		atomic_store(&stopped, 0);
		atomic_store(&go_on, 0);
		near__yield_hook = stop_the_victim;
		pthread_t thread;
		assert_int_equal(pthread_create(&thread, NULL, retire_and_collect, &v), 0);
		while (atomic_load(&stopped) == 0)
			sched_yield();
		count mine = { 0, 0 };
		for (unsigned k = 0; k < 1000; k++) {
			retire_one(&limbo, OURS);
			(void)near__limbo_collect(&limbo, count_and_free, &mine);
		}
		if (steps[i].inside != (mine.ours == 0))
			fail_msg("%s: %zu freed", steps[i].point, mine.ours);
		atomic_store(&go_on, 1);
		assert_int_equal(pthread_join(thread, NULL), 0);
		near__yield_hook = NULL;
		for (unsigned k = 0; k < 5; k++)
			(void)near__limbo_collect(&limbo, count_and_free, &mine);
		assert_int_equal(mine.ours + v.counted.ours, 1000);
		assert_int_equal(mine.theirs + v.counted.theirs, 20);
		assert_int_equal(near__limbo_bytes(&limbo), 0);
	}
}

/* --------------------------------------------------------------- many threads */

#define CELLS 64
#define READERS 3
#define WRITERS 3
#define ROUNDS 40000
#define PATIENCE_NS (10000 * NEAR__MS_NS)

typedef struct arena {
	near__limbo limbo;
	_Atomic(object *) cell[CELLS];
	_Atomic(uint32_t) writers_left;
	_Atomic(uint64_t) reads, poisoned, freed, retired;
	uint64_t seed;
} arena;

typedef struct worker {
	pthread_t thread;
	arena *arena;
	uint64_t random;
} worker;

static void *reader(void *arg)
{
	worker *w = arg;
	near__thread *self = near__self();
	uint64_t reads = 0, poisoned = 0;
	while (atomic_load(&w->arena->writers_left) > 0) {
		near__epoch_enter(self);
		for (unsigned i = 0; i < 16; i++) {
			object *o = atomic_load_explicit(&w->arena->cell[near__random_next(&w->random) % CELLS], memory_order_acquire);
			/* Twice with something between: the object must live as long as the section. */
			poisoned += atomic_load(&o->mark) != LIVE;
			if (i == 7)
				sched_yield();
			poisoned += atomic_load(&o->mark) != LIVE;
			reads++;
		}
		near__epoch_exit(self);
	}
	atomic_fetch_add(&w->arena->reads, reads);
	atomic_fetch_add(&w->arena->poisoned, poisoned);
	return NULL;
}

static void *writer(void *arg)
{
	worker *w = arg;
	near__thread *self = near__self();
	size_t freed = 0;
	uint64_t retired = 0;
	/* On past ROUNDS until something was freed beside the readers: one of them may sleep inside its section meanwhile. */
	for (int64_t deadline_ns = near__now_ns() + PATIENCE_NS;
	     retired < ROUNDS || (freed == 0 && near__now_ns() < deadline_ns); retired++) {
		object *fresh = object_new(sizeof(*fresh));
		near__epoch_enter(self);
		object *old = atomic_exchange(&w->arena->cell[near__random_next(&w->random) % CELLS], fresh);
		near__limbo_retire(&w->arena->limbo, &old->link, sizeof(*old));
		near__epoch_exit(self);
		if (near__random_next(&w->random) % 4 == 0)
			(void)near__limbo_collect(&w->arena->limbo, poison_and_free, &freed);
	}
	atomic_fetch_add(&w->arena->freed, freed);
	atomic_fetch_add(&w->arena->retired, retired);
	atomic_fetch_sub(&w->arena->writers_left, 1);
	return NULL;
}

static void limbo__many_readers_and_writers__no_reader_meets_a_freed_object(void **state)
{
	(void)state;
	static arena a;
	near__random_bytes(&a.seed, sizeof(a.seed));
	print_message("seed %llu\n", (unsigned long long)a.seed);
	near__limbo_init(&a.limbo);
	for (unsigned i = 0; i < CELLS; i++)
		atomic_init(&a.cell[i], object_new(sizeof(object)));
	atomic_init(&a.writers_left, WRITERS);
	worker workers[READERS + WRITERS];
	for (unsigned i = 0; i < READERS + WRITERS; i++) {
		workers[i] = (worker){ .arena = &a, .random = a.seed + i };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, i < READERS ? reader : writer, &workers[i]), 0);
	}
	for (unsigned i = 0; i < READERS + WRITERS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	assert_int_equal(atomic_load(&a.poisoned), 0);
	assert_true(atomic_load(&a.reads) > 0);
	size_t freed = (size_t)atomic_load(&a.freed);
	size_t retired = (size_t)atomic_load(&a.retired);
	print_message("reads %llu, freed while running %zu of %zu\n", (unsigned long long)atomic_load(&a.reads), freed,
	              retired);
	assert_true(freed > 0); /* reclamation did run beside the readers */
	for (unsigned i = 0; i < 4; i++)
		(void)near__limbo_collect(&a.limbo, poison_and_free, &freed);
	assert_int_equal(freed, retired);
	assert_int_equal(near__limbo_bytes(&a.limbo), 0);
	for (unsigned i = 0; i < CELLS; i++)
		free(atomic_load(&a.cell[i]));
}

/* ------------------------------------------------------------------------- cost */

static void epoch__cost__is_printed(void **state)
{
	(void)state;
	enum { TIMES = 5000000 };
	near__thread *self = near__self();
	int64_t start = near__now_ns();
	for (unsigned i = 0; i < TIMES; i++) {
		near__epoch_enter(self);
		near__epoch_exit(self);
	}
	double section = (double)(near__now_ns() - start) / TIMES;
	start = near__now_ns();
	near__epoch_enter(self);
	for (unsigned i = 0; i < TIMES; i++) {
		near__epoch_enter(self);
		near__epoch_exit(self);
	}
	near__epoch_exit(self);
	double nested = (double)(near__now_ns() - start) / TIMES;
	near__limbo limbo;
	near__limbo_init(&limbo);
	static object objects[100000];
	start = near__now_ns();
	near__epoch_enter(self);
	for (unsigned i = 0; i < 100000; i++)
		near__limbo_retire(&limbo, &objects[i].link, 1);
	near__epoch_exit(self);
	double retire = (double)(near__now_ns() - start) / 100000;
	print_message("enter+exit %.1f ns, nested %.1f ns, retire %.1f ns\n", section, nested, retire);
	assert_int_equal(near__limbo_bytes(&limbo), 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limbo_collect__three_times_without_sections__frees_everything),
		cmocka_unit_test(limbo_collect__right_after_retire__frees_nothing),
		cmocka_unit_test(epoch_enter__nested__is_idle_only_after_the_last_exit),
		cmocka_unit_test(limbo_collect__release_keeps_the_object__the_account_is_settled),
		cmocka_unit_test(limbo_collect__while_a_reader_is_stopped__frees_nothing_and_others_go_on),
		cmocka_unit_test(limbo__a_thread_stopped_at_each_step__others_go_on),
		cmocka_unit_test(limbo__many_readers_and_writers__no_reader_meets_a_freed_object),
		cmocka_unit_test(epoch__cost__is_printed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
