/* L1 under many threads at once: one set of hot keys is put, fenced, dropped, touched, pinned, evicted and swept, while the
 * table grows under it. Values describe themselves, so that a torn, foreign or freed one shows; at rest the whole table is
 * looked at. The yield hook gives the processor away at random points of the algorithms, which on few processors is
 * what makes threads meet in the middle of them. The seed is printed; time limits only how much is tried. */
#include "unit/l1/l1_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#define THREADS 4
#define RUN_NS (2500 * NEAR__MS_NS)

typedef struct value {
	uint64_t key, asof, serial, size, sum;
	unsigned char more[];
} value;
#define VALUE_MAX 3000

static uint64_t sum_of(const value *v)
{
	return near__hash_sum(v->more, v->size - sizeof(*v), v->key * 31 + v->asof * 37 + v->serial);
}

static size_t make_value(value *v, uint64_t key, uint64_t asof, uint64_t *random)
{
	v->key = key;
	v->asof = asof;
	v->serial = near__random_next(random);
	v->size = sizeof(*v) + v->serial % (VALUE_MAX - sizeof(*v));
	memset(v->more, (int)v->serial, v->size - sizeof(*v));
	v->sum = sum_of(v);
	return v->size;
}

static void check_value(const near__l1_view *view, uint64_t key)
{
	value v[1 + VALUE_MAX / sizeof(value)];
	NEAR_ASSERT(view->value_size >= sizeof(value) && view->value_size <= VALUE_MAX);
	memcpy(v, view->value, view->value_size);
	NEAR_ASSERT(v->key == key && v->size == view->value_size && v->sum == sum_of(v));
	NEAR_ASSERT(v->asof == view->asof);
}

/* ---------------------------------------------------------------- the hook */

static _Thread_local uint64_t hook_random;

static void give_way(const char *point)
{
	(void)point;
	if (hook_random == 0)
		return;
	uint64_t r = near__random_next(&hook_random);
	if (r % 16 == 0)
		(void)sched_yield();
	else if (r % 1024 == 1)
		(void)usleep((unsigned)(r >> 32) % 200);
}

/* ---------------------------------------------------------------- one run */

typedef struct run {
	box b;
	uint64_t seed;
	unsigned keys;
	bool removes;            /* drops, evictions, growth */
	bool fences;             /* every put is fenced, some are overtaken */
	_Atomic(uint64_t) asof;  /* positions given out */
	_Atomic(uint64_t) iv[8]; /* what the coherence room keeps: the last drop of each key */
	_Atomic(uint64_t) ended[8]; /* the last drop of each key that has ended */
	_Atomic(int) stop;
	_Atomic(uint64_t) puts, hits, drops, overtaken;
} run;

typedef struct worker {
	run *r;
	unsigned index;
	uint64_t random;
	uint64_t last_asof[8]; /* highest seen per key */
	near__pin *pins[8];
	near__l1_view pinned[8];
	uint64_t pinned_key[8];
} worker;

static size_t key_of(uint64_t key, char *text)
{
	return (size_t)snprintf(text, 32, "hot key %lu", (unsigned long)key);
}

static bool is_current(void *ctx, const near__l1_write *write)
{
	_Atomic(uint64_t) *iv = ctx;
	return atomic_load(iv) <= write->asof;
}

static void do_put(worker *w, uint64_t key)
{
	run *r = w->r;
	char text[32];
	value v[1 + VALUE_MAX / sizeof(value)];
	/* a position taken before the value was made, as a load does */
	uint64_t asof = atomic_fetch_add(&r->asof, 1);
	size_t size = key_of(key, text);
	if (near__random_next(&w->random) % 4 == 0)
		(void)sched_yield();
	near__l1_write p = write_of(&r->b, text, size, v, make_value(v, key, asof, &w->random));
	p.asof = asof;
	if (r->fences) {
		p.current = is_current;
		p.ctx = &r->iv[key];
	}
	near__l1_outcome o = near__l1_put(r->b.l1, &p);
	NEAR_ASSERT(o == NEAR__L1_INSTALLED || o == NEAR__L1_NEWER || o == NEAR__L1_OVERTAKEN || o == NEAR__L1_DECLINED);
	atomic_fetch_add(&r->puts, 1);
	atomic_fetch_add(&r->overtaken, o == NEAR__L1_OVERTAKEN);
}

static void do_get(worker *w, uint64_t key)
{
	run *r = w->r;
	char text[32];
	size_t size = key_of(key, text);
	near__l1_view view;
	near__thread *self = near__self();
	uint64_t floor = atomic_load(&r->ended[key]);
	near__epoch_enter(self);
	if (near__l1_find(r->b.l1, near__hash_local(text, size), text, size, r->b.now, &view)) {
		check_value(&view, key);
		atomic_fetch_add(&r->hits, 1);
		/* A fenced run serves nothing older than a drop that had ended before the get began. */
		if (r->fences)
			NEAR_ASSERT(view.asof >= floor);
		if (!r->removes) {
			NEAR_ASSERT(view.asof >= w->last_asof[key]); /* never back */
			w->last_asof[key] = view.asof;
		}
		unsigned n = (unsigned)(near__random_next(&w->random) % 64);
		if (n < 8 && w->pins[n] == NULL) {
			w->pins[n] = near__l1_pin(r->b.l1, &view);
			NEAR_ASSERT(w->pins[n] != NULL);
			w->pinned[n] = view;
			w->pinned_key[n] = key;
		}
	}
	near__epoch_exit(self);
	unsigned n = (unsigned)(near__random_next(&w->random) % 32);
	if (n < 8 && w->pins[n] != NULL) {
		check_value(&w->pinned[n], w->pinned_key[n]);
		near__l1_unpin(w->pins[n]);
		w->pins[n] = NULL;
	}
}

static void raise(_Atomic(uint64_t) *position, uint64_t to)
{
	uint64_t now = atomic_load(position);
	while (now < to && !atomic_compare_exchange_weak(position, &now, to))
		continue;
}

static void do_drop(worker *w, uint64_t key)
{
	run *r = w->r;
	char text[32];
	size_t size = key_of(key, text);
	uint64_t q = atomic_fetch_add(&r->asof, 1);
	raise(&r->iv[key], q);
	(void)near__l1_drop(r->b.l1, near__hash_local(text, size), text, size, q, false, r->b.now);
	raise(&r->ended[key], q);
	atomic_fetch_add(&r->drops, 1);
}

static void do_evict(worker *w)
{
	near__l1 *l1 = w->r->b.l1;
	near__thread *self = near__self();
	uint64_t random = near__random_next(&w->random);
	if (random % 4 != 0) {
		(void)near__l1_evict(l1, self, random, random % 3 ? 0 : 160);
	} else {
		near__epoch_enter(self);
		(void)near__l1_help(l1, self, 1);
		near__epoch_exit(self);
	}
}

/* Growth by hand, as near__l1_grow_if_full does it: a few hot keys would never fill a table. */
static void do_grow(worker *w)
{
	near__l1 *l1 = w->r->b.l1;
	near__thread *self = near__self();
	near__epoch_enter(self);
	near__table *t = l1_table(l1);
	if (atomic_load(&t->parent) == NULL && t->set_mask < (1 << 14)) {
		near__table *larger = near__l1_table_make(l1, (t->set_mask + 1) * 2);
		NEAR_ASSERT(larger != NULL);
		atomic_store(&larger->parent, t);
		if (!atomic_compare_exchange_strong(&l1->table, &t, larger))
			near__l1_table_unmap(l1, larger);
	}
	near__epoch_exit(self);
}

static void *work(void *arg)
{
	worker *w = arg;
	run *r = w->r;
	hook_random = r->seed * 1000 + w->index + 1;
	for (unsigned i = 0; !atomic_load(&r->stop); i++) {
		uint64_t random = near__random_next(&w->random);
		uint64_t key = random % r->keys;
		unsigned what = (unsigned)(random >> 32) % 100;
		if (what < 40)
			do_put(w, key);
		else if (what < 80 || !r->removes)
			do_get(w, key);
		else if (what < 92)
			do_drop(w, key);
		else if (what < 98)
			do_evict(w);
		else if (what < 99 && i % 16 == 0)
			do_grow(w);
		else
			(void)near__l1_collect(r->b.l1);
	}
	for (unsigned n = 0; n < 8; n++)
		if (w->pins[n] != NULL)
			near__l1_unpin(w->pins[n]);
	hook_random = 0;
	return NULL;
}

static void race(unsigned keys, bool removes, bool fences)
{
	const char *given = getenv("NEARCACHE_TEST_SEED");
	run r = { .b = box_of(16 * MIB), .keys = keys, .removes = removes, .fences = fences };
	near__random_bytes(&r.seed, 4);
	if (given != NULL)
		r.seed = strtoull(given, NULL, 0);
	atomic_store(&r.asof, 1);
	worker w[THREADS];
	memset(w, 0, sizeof(w));
	pthread_t thread[THREADS];
	near__yield_hook = give_way;
	for (unsigned i = 0; i < THREADS; i++) {
		w[i].r = &r;
		w[i].index = i;
		w[i].random = r.seed + i * 7919;
		assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
	}
	int64_t end = near__now_ns() + RUN_NS;
	while (near__now_ns() < end) {
		(void)near__l1_maintain(r.b.l1, r.b.now);
		(void)usleep(1000);
	}
	atomic_store(&r.stop, 1);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	near__yield_hook = NULL;
	print_message("seed %lu: %lu puts (%lu overtaken), %lu hits, %lu drops, %lu sets at the end\n", (unsigned long)r.seed,
	              (unsigned long)r.puts, (unsigned long)r.overtaken, (unsigned long)r.hits, (unsigned long)r.drops,
	              (unsigned long)(l1_table(r.b.l1)->set_mask + 1));
	assert_true(r.puts > 100 && r.hits > 10);
	check_at_rest(&r.b);
	box_close(&r.b);
}

static void puts_of_one_key__are_unique_and_never_go_back(void **state)
{
	(void)state;
	race(1, false, false);
}

static void puts_of_few_keys__with_removal_eviction_and_growth__are_unique(void **state)
{
	(void)state;
	race(8, true, false);
}

static void fenced_puts_of_one_key__with_drops__never_serve_what_was_dropped(void **state)
{
	(void)state;
	race(1, true, true);
}

static void fenced_puts_of_few_keys__with_drops__never_serve_what_was_dropped(void **state)
{
	(void)state;
	race(4, true, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puts_of_one_key__are_unique_and_never_go_back),
		cmocka_unit_test(puts_of_few_keys__with_removal_eviction_and_growth__are_unique),
		cmocka_unit_test(fenced_puts_of_one_key__with_drops__never_serve_what_was_dropped),
		cmocka_unit_test(fenced_puts_of_few_keys__with_drops__never_serve_what_was_dropped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
