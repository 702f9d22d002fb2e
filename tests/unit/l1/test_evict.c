/* Eviction: the bound, what stays and what goes, ghosts, limits that change. */
#include "l1_fixture.h"

#include <pthread.h>

static void key_of(uint64_t i, char *key)
{
	(void)snprintf(key, 32, "user:profile:%012u", (unsigned)i);
}

static near__l1_outcome put_sized(const box *b, uint64_t i, size_t size)
{
	static char value[1 << 20];
	char key[32];
	key_of(i, key);
	near__l1_write w = write_of(b, key, strlen(key), value, size);
	return near__l1_put(b->l1, &w);
}

static bool get(const box *b, uint64_t i)
{
	char key[32];
	near__l1_view v;
	key_of(i, key);
	near__thread *self = near__self();
	near__epoch_enter(self);
	bool found = near__l1_find(b->l1, near__hash_local(key, strlen(key)), key, strlen(key), b->now, &v);
	near__epoch_exit(self);
	return found;
}

static void check_bound(const box *b)
{
	near__mem_stats m;
	near__mem_get_stats(b->l1->mem, &m);
	assert_true(m.mapped_bytes <= m.limit_bytes);
	assert_true(m.mapped_bytes_max <= m.limit_bytes);
}

/* Sizes from 10 B to 100 KB, each half-octave alike. */
static size_t draw_size(uint64_t *random)
{
	uint64_t r = near__random_next(random);
	size_t size = (size_t)10 << r % 14;
	size += size * (r >> 32) / (UINT64_C(1) << 32);
	return size < 100000 ? size : 100000;
}

static void fill_times(uint64_t memory_bytes, unsigned times)
{
	uint64_t seed = 42, random = seed, bytes = 0, puts = 0, declined = 0;
	box b = box_of(memory_bytes);
	while (bytes < memory_bytes * times) {
		size_t size = draw_size(&random);
		near__l1_outcome o = put_sized(&b, puts++, size);
		assert_true(o == NEAR__L1_INSTALLED || o == NEAR__L1_DECLINED);
		declined += o == NEAR__L1_DECLINED;
		bytes += size + 25;
		if (puts % 256 == 0)
			check_bound(&b);
	}
	near_stats g = box_gauges(&b);
	print_message("seed %lu: %lu puts, %lu declined, %lu items, live %.1f %% of the bound, mapped at most %.2f %%\n",
	              (unsigned long)seed, (unsigned long)puts, (unsigned long)declined, (unsigned long)g.items,
	              100.0 * (double)g.live_bytes / (double)g.limit_bytes,
	              100.0 * (double)g.mapped_bytes_max / (double)g.limit_bytes);
	assert_true(declined <= puts / 1000);
	assert_true(g.live_bytes + g.table_bytes > g.limit_bytes * 80 / 100);
	check_at_rest(&b);
	box_close(&b);
}

static void bound__ten_fills_of_64_mib__holds_at_every_moment(void **state)
{
	(void)state;
	fill_times(64 * MIB, 10);
}

static void bound__of_16_mib__holds_at_every_moment(void **state)
{
	(void)state;
	fill_times(16 * MIB, 10);
}

static void evict__prefers_what_is_not_asked_for(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	enum { HOT = 2000 };
	for (uint64_t i = 0; i < HOT; i++)
		assert_int_equal(put_sized(&b, i, 1000), NEAR__L1_INSTALLED);
	unsigned lost = 0;
	for (uint64_t i = HOT; i < 100000; i++) {
		uint64_t hot = i * 7919 % HOT;
		if (!get(&b, hot)) {
			lost++;
			assert_int_equal(put_sized(&b, hot, 1000), NEAR__L1_INSTALLED);
		}
		assert_int_equal(put_sized(&b, i, 1000), NEAR__L1_INSTALLED);
	}
	print_message("%u of 98000 gets of hot keys missed\n", lost);
	assert_true(lost < 2000);
	assert_true(box_count(&b, NEAR__STAT_evictions) > 80000);
	check_at_rest(&b);
	box_close(&b);
}

/* How many small ones are left of as many small as large, by what is to be spared. */
static double share_of_small(near_evict evict)
{
	near__l1_config c = box_config(16 * MIB);
	c.evict = evict;
	box b = box_open(c);
	for (uint64_t i = 0; i < 60000; i++) {
		assert_int_equal(put_sized(&b, i, i % 2 ? 100 : 3000), NEAR__L1_INSTALLED);
		while (i % 100 == 0 && near__l1_maintain(b.l1, b.now))
			continue;
	}
	unsigned small = 0, large = 0;
	for (uint64_t i = 0; i < 60000; i++)
		if (get(&b, i))
			++*(i % 2 ? &small : &large);
	check_at_rest(&b);
	box_close(&b);
	return (double)small / (small + large);
}

static void evict__by_objects__keeps_more_small_ones_than_by_bytes(void **state)
{
	(void)state;
	double objects = share_of_small(NEAR_EVICT_OBJECTS), balanced = share_of_small(NEAR_EVICT_BALANCED),
	       bytes = share_of_small(NEAR_EVICT_BYTES);
	print_message("share of small ones: objects %.3f, balanced %.3f, bytes %.3f\n", objects, balanced, bytes);
	assert_true(objects > balanced && balanced > bytes + 0.1);
	assert_true(bytes > 0.4 && bytes < 0.6);
}

static void ghost__of_an_evicted_key__is_remembered(void **state)
{
	(void)state;
	box b = box_of(16 * MIB);
	for (uint64_t i = 0; i < 30000; i++)
		assert_int_equal(put_sized(&b, i, 1000), NEAR__L1_INSTALLED);
	assert_true(box_count(&b, NEAR__STAT_ghost_hits) < 300); /* tags of 12 bits: few by chance */
	uint64_t before = box_count(&b, NEAR__STAT_ghost_hits), again = 0;
	for (uint64_t i = 29999; i > 20000 && again < 1000; i--) {
		if (get(&b, i))
			continue;
		assert_int_equal(put_sized(&b, i, 1000), NEAR__L1_INSTALLED);
		again++;
	}
	uint64_t hits = box_count(&b, NEAR__STAT_ghost_hits) - before;
	print_message("%lu of %lu evicted keys remembered\n", (unsigned long)hits, (unsigned long)again);
	assert_true(hits > again / 2);
	box_close(&b);
}

/* When small values come after large ones, and the other way round, the memory follows. */
static void sizes_that_shift__leave_little_idle(void **state)
{
	(void)state;
	const size_t sizes[] = { 3000, 100, 20000, 400, 40 };
	box b = box_of(32 * MIB);
	uint64_t n = 0;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint64_t declined = 0, first = n;
		for (uint64_t bytes = 0; bytes < 64 * MIB; bytes += sizes[i] + 25) {
			declined += put_sized(&b, n++, sizes[i]) != NEAR__L1_INSTALLED;
			while (n % 4 == 0 && near__l1_maintain(b.l1, b.now))
				continue;
		}
		near_stats g = box_gauges(&b);
		print_message("values of %zu: live %.1f %%, table %.1f %%, %lu of %lu declined\n", sizes[i],
		              100.0 * (double)g.live_bytes / (double)g.limit_bytes,
		              100.0 * (double)g.table_bytes / (double)g.limit_bytes, (unsigned long)declined,
		              (unsigned long)(n - first));
		assert_true(g.live_bytes + g.table_bytes > g.limit_bytes * 85 / 100);
		/* What is put is let in at the pace at which housekeeping empties spans, and that is called every 4 puts only. */
		assert_true(declined <= (n - first) / 2);
		check_bound(&b);
	}
	check_at_rest(&b);
	box_close(&b);
}

typedef struct evicted {
	uint64_t count, bytes;
} evicted;

static void on_evicted(void *ctx, const void *key, size_t key_size, size_t value_size)
{
	evicted *e = ctx;
	assert_int_equal(key_size, 25);
	assert_memory_equal(key, "user:profile:", 13);
	assert_true(near__epoch_idle(near__self()));
	e->count++;
	e->bytes += value_size;
}

static void on_evicted__hears_of_each(void **state)
{
	(void)state;
	evicted e = { 0 };
	near__l1_config c = box_config(16 * MIB);
	c.on_evicted = on_evicted;
	c.ctx = &e;
	box b = box_open(c);
	for (uint64_t i = 0; i < 30000; i++)
		assert_int_equal(put_sized(&b, i, 1000), NEAR__L1_INSTALLED);
	assert_int_equal(e.count, box_count(&b, NEAR__STAT_evictions) + box_count(&b, NEAR__STAT_set_conflicts));
	assert_int_equal(e.count + box_gauges(&b).items, 30000);
	assert_int_equal(e.bytes, e.count * 1000);
	box_close(&b);
}

/* ---------------------------------------------------------------- a reader that stands still */

typedef struct sleeper {
	pthread_mutex_t lock;
	pthread_cond_t turn;
	int step; /* 1: it is inside its section; 2: it may leave */
} sleeper;

static void step_to(sleeper *s, int step)
{
	(void)pthread_mutex_lock(&s->lock);
	s->step = step;
	(void)pthread_cond_broadcast(&s->turn);
	(void)pthread_mutex_unlock(&s->lock);
}

static void wait_for(sleeper *s, int step)
{
	(void)pthread_mutex_lock(&s->lock);
	while (s->step < step)
		(void)pthread_cond_wait(&s->turn, &s->lock);
	(void)pthread_mutex_unlock(&s->lock);
}

static void *sleep_inside(void *arg)
{
	near__thread *self = near__self();
	near__epoch_enter(self);
	step_to(arg, 1);
	wait_for(arg, 2);
	near__epoch_exit(self);
	return NULL;
}

static void put__while_a_reader_stands_still__declines_and_keeps_most(void **state)
{
	(void)state;
	sleeper s = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
	pthread_t thread;
	box b = box_of(16 * MIB);
	for (uint64_t i = 0; i < 30000; i++)
		assert_int_equal(put_sized(&b, i, 1000), NEAR__L1_INSTALLED);
	uint64_t items = box_gauges(&b).items;
	assert_int_equal(pthread_create(&thread, NULL, sleep_inside, &s), 0);
	wait_for(&s, 1);
	unsigned declined = 0;
	for (uint64_t i = 30000; i < 60000; i++)
		declined += put_sized(&b, i, 1000) == NEAR__L1_DECLINED;
	check_bound(&b);
	assert_true(declined > 20000);
	assert_true(box_gauges(&b).items > items * 3 / 4);
	step_to(&s, 2);
	assert_int_equal(pthread_join(thread, NULL), 0);
	collect_all(&b);
	for (uint64_t i = 60000; i < 61000; i++)
		assert_int_equal(put_sized(&b, i, 1000), NEAR__L1_INSTALLED);
	check_at_rest(&b);
	box_close(&b);
}

/* ---------------------------------------------------------------- limits */

static void set_limit__lower__holds_on_return(void **state)
{
	(void)state;
	box b = box_of(64 * MIB);
	uint64_t random = 1;
	for (uint64_t i = 0; i < 40000; i++)
		(void)put_sized(&b, i, draw_size(&random));
	assert_true(near__l1_set_limit(b.l1, 32 * MIB));
	near_stats g = box_gauges(&b);
	assert_true(g.mapped_bytes <= 32 * MIB);
	assert_true(g.live_bytes > 24 * MIB);
	assert_true(near__l1_set_limit(b.l1, 16 * MIB));
	assert_true(box_gauges(&b).mapped_bytes <= 16 * MIB);
	for (uint64_t i = 0; i < 10000; i++)
		(void)put_sized(&b, i, 100);
	assert_true(box_gauges(&b).mapped_bytes <= 16 * MIB);
	assert_false(near__l1_set_limit(b.l1, 8 * MIB));     /* below the least */
	assert_false(near__l1_set_limit(b.l1, 1024 * MIB));  /* out of reach */
	assert_true(near__l1_set_limit(b.l1, 128 * MIB));
	for (uint64_t i = 0; i < 100000; i++)
		assert_int_equal(put_sized(&b, i, 1000), NEAR__L1_INSTALLED);
	assert_true(box_gauges(&b).live_bytes > 80 * MIB);
	box_close(&b);
}

static void payload_limit__bounds_keys_and_values(void **state)
{
	(void)state;
	near__l1_config c = box_config(64 * MIB);
	c.payload_limit = 100000;
	box b = box_open(c);
	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(put_sized(&b, i, 1000), NEAR__L1_INSTALLED);
		assert_true(box_gauges(&b).payload_bytes <= 100000);
	}
	assert_int_equal(box_gauges(&b).items, 97); /* of 1025 each */
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(put_sized(&b, 7, 1000), NEAR__L1_INSTALLED); /* replaces itself: evicts at most one other */
	assert_true(box_gauges(&b).items >= 96);
	assert_int_equal(put_sized(&b, 0, 100000), NEAR__L1_DECLINED);
	near__l1_set_payload_limit(b.l1, 50000);
	assert_true(box_gauges(&b).payload_bytes <= 50000);
	check_at_rest(&b);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bound__ten_fills_of_64_mib__holds_at_every_moment),
		cmocka_unit_test(bound__of_16_mib__holds_at_every_moment),
		cmocka_unit_test(evict__prefers_what_is_not_asked_for),
		cmocka_unit_test(evict__by_objects__keeps_more_small_ones_than_by_bytes),
		cmocka_unit_test(sizes_that_shift__leave_little_idle),
		cmocka_unit_test(ghost__of_an_evicted_key__is_remembered),
		cmocka_unit_test(on_evicted__hears_of_each),
		cmocka_unit_test(put__while_a_reader_stands_still__declines_and_keeps_most),
		cmocka_unit_test(set_limit__lower__holds_on_return),
		cmocka_unit_test(payload_limit__bounds_keys_and_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
