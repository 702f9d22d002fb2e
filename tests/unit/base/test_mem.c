/* The bound, on the real allocator: filled to refusal with every size, emptied, filled with another, and never a byte above
 * the limit; and what is resident by the system's own account. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include "base/clock.h"
#include "heap.h"

/* ----------------------------------------------------------------------- blocks */

/* What the essay of mem.c relies on; MALLOC_CONF must not reach our copy. */
static void mem__the_allocators_options__are_ours(void **state)
{
	(void)state;
	static const char *const off[] = { "opt.retain", "opt.tcache", "opt.cache_oblivious", "opt.background_thread" };
	for (unsigned i = 0; i < sizeof(off) / sizeof(*off); i++) {
		bool value = true;
		size_t size = sizeof(value);
		assert_int_equal(mallctl(off[i], &value, &size, NULL, 0), 0);
		if (value)
			fail_msg("%s is on", off[i]);
	}
	assert_int_equal(near__mem_good_size(16384), 16384);
}

static void mem_alloc__any_size__is_aligned_and_named_by_its_reference(void **state)
{
	(void)state;
	heap h;
	heap_open(&h, 32 * MIB, false);
	char *base = near__mem_base(h.mem);
	for (size_t size = 0; size < 100000; size = size * 5 / 4 + 1) {
		char *b = near__mem_alloc(h.mem, size);
		assert_non_null(b);
		uint64_t ref = near__mem_ref(base, b);
		assert_int_equal((uintptr_t)b % NEAR__REF_UNIT, 0);
		assert_true(ref > 0 && ref < UINT64_C(1) << NEAR__REF_BITS);
		assert_ptr_equal(near__mem_at(base, ref), b);
		assert_true(near__mem_usable(b) >= size);
		assert_int_equal(near__mem_usable(b), near__mem_good_size(size));
		near__mem_free(h.mem, b);
	}
	assert_null(near__mem_alloc(h.mem, SIZE_MAX));
	assert_null(near__mem_alloc(h.mem, 33 * MIB));
	heap_close(&h);
}

static void mem_alloc__filled_to_refusal__most_of_the_limit_is_live(void **state)
{
	(void)state;
	static const size_t sizes[][2] = { { 10, 10 }, { 160, 160 }, { 10, 1000 }, { 4096, 4096 }, { 10, 102400 },
		                           { 100000, 102400 } };
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		heap h;
		heap_open(&h, BOUND, true);
		uint64_t usable = heap_fill(&h, sizes[i][0], sizes[i][1]);
		near__mem_stats s;
		near__mem_get_stats(h.mem, &s);
		print_message("%zu..%zu bytes: live %.1f %%, metadata %.2f %%, blocks %zu\n", sizes[i][0], sizes[i][1],
		              100.0 * (double)usable / (double)s.limit_bytes,
		              100.0 * (double)s.metadata_bytes / (double)s.limit_bytes, h.count);
		assert_false(h.above);
		assert_true(s.mapped_bytes_max <= s.limit_bytes);
		assert_true(usable >= s.limit_bytes * 94 / 100);
		assert_int_equal(s.allocated_bytes, usable);
		heap_empty(&h);
		heap_close(&h);
	}
}

static void mem_alloc__sizes_shift_ten_times__each_phase_reaches_the_limit(void **state)
{
	(void)state;
	heap h;
	heap_open(&h, BOUND, true);
	double least = 1;
	for (unsigned phase = 0; phase < 20; phase++) {
		uint64_t usable = phase % 2 == 0 ? heap_fill(&h, 10, 100) : heap_fill(&h, 10000, 102400);
		double share = (double)usable / (double)BOUND;
		least = share < least ? share : least;
		heap_empty(&h);
		if (phase % 4 == 3)
			near__mem_trim(h.mem);
	}
	near__mem_stats s;
	near__mem_get_stats(h.mem, &s);
	print_message("least live share of 20 phases %.1f %%, most mapped %.3f %% of the limit\n", 100 * least,
	              100.0 * (double)s.mapped_bytes_max / (double)s.limit_bytes);
	assert_false(h.above);
	assert_true(s.mapped_bytes_max <= s.limit_bytes);
	assert_true(least > 0.94);
	heap_close(&h);
}

/* Full all the time, one out and one in, the sizes drifting: what a cache under pressure does. */
static void mem_alloc__replaced_at_the_bound__resident_memory_stays_below_it(void **state)
{
	(void)state;
	heap h;
	heap_open(&h, BOUND, true);
	near__mem_stats s;
	near__mem_get_stats(h.mem, &s);
	size_t sizes[] = { 100, 20000, 1000, 102400, 10, 5000 };
	uint64_t most = 0;
	for (unsigned drift = 0; drift < sizeof(sizes) / sizeof(*sizes); drift++) {
		for (unsigned i = 0; i < 20000 / SLOWER; i++) {
			size_t size = between(&h, sizes[drift] / 2 + 1, sizes[drift]);
			while (!heap_add(&h, size))
				heap_drop(&h, between(&h, 0, h.count - 1));
			memset(h.block[h.count - 1], 1, size);
		}
		uint64_t resident = resident_bytes(h.mem, s.reach_bytes);
		most = resident > most ? resident : most;
		near__mem_get_stats(h.mem, &s);
		print_message("sizes to %zu: live %.1f %%, backed %.1f %%, resident %.1f %%\n", sizes[drift],
		              100.0 * (double)h.usable / (double)s.limit_bytes,
		              100.0 * (double)s.backed_bytes / (double)s.limit_bytes,
		              100.0 * (double)resident / (double)s.limit_bytes);
		assert_true(s.backed_bytes <= s.limit_bytes - s.metadata_bytes);
		assert_true(resident <= s.limit_bytes);
	}
	assert_true(most > 0);
	assert_false(h.above);
	heap_empty(&h);
	near__mem_trim(h.mem);
	assert_int_equal(resident_bytes(h.mem, s.reach_bytes), 0);
	heap_close(&h);
}

/* A cache of small blocks is to hold larger ones: whole runs are emptied, and not much more goes than is needed. */
static void mem_run__emptied__makes_room_for_another_size(void **state)
{
	(void)state;
	static const size_t shifts[][2] = { { 160, 1000 }, { 1000, 160 }, { 40, 5000 }, { 300, 100000 }, { 100000, 10 } };
	for (unsigned i = 0; i < sizeof(shifts) / sizeof(*shifts); i++) {
		heap h;
		heap_open(&h, BOUND, true);
		(void)heap_fill(&h, shifts[i][0], shifts[i][0]);
		size_t units = (size_t)(8 * BOUND / NEAR__REF_UNIT);
		size_t *place = calloc(units, sizeof(*place)); /* index + 1 of the block at a reference */
		assert_non_null(place);
		char *base = near__mem_base(h.mem);
		for (size_t k = 0; k < h.count; k++)
			place[near__mem_ref(base, h.block[k])] = k + 1;
		uint64_t least = h.usable;
		for (size_t added = 0; added < BOUND / 8 / shifts[i][1];) {
			void *b = near__mem_alloc(h.mem, shifts[i][1]);
			if (b != NULL) {
				h.usable += near__mem_usable(b);
				added++; /* never evicted again, freed with the arena */
				continue;
			}
			assert_true(h.count > 0);
			near__run r;
			near__mem_run(h.mem, h.block[between(&h, 0, h.count - 1)], &r);
			for (size_t n = 0; n < r.count; n++) {
				size_t *p = &place[near__mem_ref(base, r.first + n * r.stride)];
				if (*p == 0)
					continue;
				size_t k = *p - 1;
				assert_ptr_equal(h.block[k], r.first + n * r.stride);
				assert_int_equal(near__mem_usable(h.block[k]), r.stride);
				*p = 0;
				heap_drop(&h, k);
				if (k < h.count)
					place[near__mem_ref(base, h.block[k])] = k + 1;
			}
			least = h.usable < least ? h.usable : least;
		}
		print_message("%zu to %zu bytes: live never below %.1f %%\n", shifts[i][0], shifts[i][1],
		              100.0 * (double)least / (double)BOUND);
		assert_true(least > BOUND * 85 / 100);
		free(place);
		heap_close(&h);
	}
}

static uint64_t allocator_metadata(void)
{
	uint64_t epoch = 1, sum = 0;
	size_t size = sizeof(epoch);
	assert_int_equal(mallctl("epoch", &epoch, &size, &epoch, size), 0);
	unsigned arenas = 0;
	size = sizeof(arenas);
	assert_int_equal(mallctl("arenas.narenas", &arenas, &size, NULL, 0), 0);
	for (unsigned i = 1; i < arenas; i++) {
		char name[64];
		size_t base = 0;
		bool there = false;
		(void)snprintf(name, sizeof(name), "arena.%u.initialized", i);
		size = sizeof(there);
		if (mallctl(name, &there, &size, NULL, 0) != 0 || !there)
			continue;
		(void)snprintf(name, sizeof(name), "stats.arenas.%u.base", i);
		size = sizeof(base);
		assert_int_equal(mallctl(name, &base, &size, NULL, 0), 0);
		sum += base;
	}
	return sum;
}

static void mem_stats__metadata__is_no_less_than_the_allocator_itself_reports(void **state)
{
	(void)state;
	uint64_t before = allocator_metadata();
	heap h;
	heap_open(&h, BOUND, false);
	for (unsigned i = 0; i < 4; i++) {
		(void)heap_fill(&h, i % 2 == 0 ? 4096 : 10, i % 2 == 0 ? 4096 : 40000); /* slabs of one page: most extents */
		near__mem_stats s;
		near__mem_get_stats(h.mem, &s);
		uint64_t theirs = allocator_metadata() - before;
		print_message("metadata: ours %" PRIu64 ", jemalloc's %" PRIu64 " bytes\n", s.metadata_bytes, theirs);
		assert_true(s.metadata_bytes >= theirs);
		assert_true(s.metadata_bytes <= theirs * 2 + 256 * 1024);
		heap_empty(&h);
	}
	heap_close(&h);
}

/* -------------------------------------------------------------------- the bound */

static void mem_charge__beside_blocks__shares_their_bound(void **state)
{
	(void)state;
	heap h;
	heap_open(&h, 32 * MIB, true);
	assert_false(near__mem_charge(h.mem, 33 * MIB));
	assert_true(near__mem_charge(h.mem, 16 * MIB));
	(void)heap_fill(&h, 1000, 10000);
	assert_true(h.usable < 16 * MIB);
	assert_false(near__mem_charge(h.mem, 8 * MIB));
	heap_empty(&h);
	assert_true(near__mem_charge(h.mem, 8 * MIB));
	near__mem_stats s;
	near__mem_get_stats(h.mem, &s);
	assert_int_equal(s.charged_bytes, 24 * MIB);
	assert_true(s.backed_bytes <= s.limit_bytes - s.charged_bytes - s.metadata_bytes);
	near__mem_uncharge(h.mem, 24 * MIB);
	(void)heap_fill(&h, 1000, 10000);
	assert_true(h.usable > 28 * MIB);
	assert_false(h.above);
	heap_close(&h);
}

static void mem_set_limit__lowered_and_raised__is_kept_from_then_on(void **state)
{
	(void)state;
	heap h;
	heap_open(&h, 32 * MIB, true);
	(void)heap_fill(&h, 100, 5000);
	assert_false(near__mem_set_limit(h.mem, 15 * MIB));
	assert_false(near__mem_set_limit(h.mem, 200 * MIB));
	assert_true(near__mem_set_limit(h.mem, 16 * MIB));
	assert_null(near__mem_alloc(h.mem, 100000));
	while (near__mem_mapped(h.mem) > near__mem_limit(h.mem))
		heap_drop(&h, between(&h, 0, h.count - 1));
	h.above = false;
	for (unsigned i = 0; i < 1000; i++)
		if (!heap_add(&h, between(&h, 100, 5000)))
			heap_drop(&h, between(&h, 0, h.count - 1));
	assert_false(h.above);
	near__mem_stats s;
	near__mem_get_stats(h.mem, &s);
	assert_true(resident_bytes(h.mem, s.reach_bytes) <= 16 * MIB);
	assert_true(near__mem_set_limit(h.mem, 128 * MIB));
	(void)heap_fill(&h, 100, 5000);
	assert_true(h.usable > 120 * MIB);
	assert_false(h.above);
	heap_close(&h);
}

static void mem_create__a_limit_out_of_range__is_refused(void **state)
{
	(void)state;
	near__mem *mem = NULL;
	assert_int_equal(near__mem_create(16 * MIB - 1, false, &mem), NEAR_E_USAGE);
	assert_int_equal(near__mem_create(65 * 1024 * MIB, false, &mem), NEAR_E_USAGE);
	assert_null(mem);
	assert_int_equal(near__mem_create(64 * 1024 * MIB, false, &mem), NEAR_OK);
	void *block = near__mem_alloc(mem, 100);
	assert_non_null(block);
	near__mem_free(mem, block);
	near__mem_release(mem);
}

/* ------------------------------------------------------------------------- cost */

static void mem__cost__is_printed(void **state)
{
	(void)state;
	heap h;
	heap_open(&h, BOUND, true);
	enum { PAIRS = 1000000 / SLOWER };
	void *first = near__mem_alloc(h.mem, 160);
	int64_t start = near__now_ns();
	for (unsigned i = 0; i < PAIRS; i++) {
		void *b = near__mem_alloc(h.mem, 160);
		near__mem_free(h.mem, b);
	}
	double pair = (double)(near__now_ns() - start) / PAIRS;
	start = near__now_ns();
	for (unsigned i = 0; i < PAIRS / 10; i++) {
		void *b = near__mem_alloc(h.mem, 20000);
		near__mem_free(h.mem, b);
	}
	double large = (double)(near__now_ns() - start) / (PAIRS / 10);
	near__mem_free(h.mem, first);
	(void)heap_fill(&h, 160, 160);
	start = near__now_ns();
	for (unsigned i = 0; i < PAIRS; i++) {
		size_t at = between(&h, 0, h.count - 1);
		near__mem_free(h.mem, h.block[at]);
		h.block[at] = near__mem_alloc(h.mem, 160);
		assert_non_null(h.block[at]);
	}
	double full = (double)(near__now_ns() - start) / PAIRS;
	print_message("alloc+free: 160 bytes %.1f ns, at the bound in random order %.1f ns, 20000 bytes %.1f ns\n", pair, full,
	              large);
	heap_close(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mem__the_allocators_options__are_ours),
		cmocka_unit_test(mem_alloc__any_size__is_aligned_and_named_by_its_reference),
		cmocka_unit_test(mem_alloc__filled_to_refusal__most_of_the_limit_is_live),
		cmocka_unit_test(mem_alloc__sizes_shift_ten_times__each_phase_reaches_the_limit),
		cmocka_unit_test(mem_alloc__replaced_at_the_bound__resident_memory_stays_below_it),
		cmocka_unit_test(mem_run__emptied__makes_room_for_another_size),
		cmocka_unit_test(mem_stats__metadata__is_no_less_than_the_allocator_itself_reports),
		cmocka_unit_test(mem_charge__beside_blocks__shares_their_bound),
		cmocka_unit_test(mem_set_limit__lowered_and_raised__is_kept_from_then_on),
		cmocka_unit_test(mem_create__a_limit_out_of_range__is_refused),
		cmocka_unit_test(mem__cost__is_printed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
