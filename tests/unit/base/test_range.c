/* The carver against a model that is too simple to be wrong: one byte per page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/hash.h"
#include "base/range.h"

#define CHUNKS 37u /* no power of two */
#define PAGES ((uint64_t)CHUNKS * NEAR__CHUNK_PAGES)

typedef struct run {
	uint64_t first, pages;
} run;

typedef struct model {
	near__range range;
	unsigned char taken[PAGES];
	run runs[PAGES];
	size_t run_count;
	uint64_t taken_pages, cap, random;
} model;

/* The lowest run inside one chunk, or the lowest wholly free chunks. */
static uint64_t model_find(const model *m, uint64_t pages)
{
	uint64_t step = pages <= NEAR__CHUNK_PAGES ? 1 : NEAR__CHUNK_PAGES;
	uint64_t need = pages <= NEAR__CHUNK_PAGES ? pages
	                                           : (pages + NEAR__CHUNK_PAGES - 1) / NEAR__CHUNK_PAGES * NEAR__CHUNK_PAGES;
	for (uint64_t at = 0; at + need <= PAGES; at += step) {
		if (step == 1 && at / NEAR__CHUNK_PAGES != (at + need - 1) / NEAR__CHUNK_PAGES)
			continue;
		uint64_t n = 0;
		while (n < need && !m->taken[at + n])
			n++;
		if (n == need)
			return at;
	}
	return NEAR__RANGE_NONE;
}

static char *page_at(const model *m, uint64_t page)
{
	return m->range.base + page * NEAR__PAGE;
}

static void model_take(model *m, uint64_t pages)
{
	uint64_t first = near__range_find(&m->range, pages);
	assert_true(first == model_find(m, pages));
	if (first == NEAR__RANGE_NONE || m->taken_pages + pages > m->cap)
		return;
	near__range_take(&m->range, first, pages, m->cap);
	memset(m->taken + first, 1, pages);
	m->taken_pages += pages;
	m->runs[m->run_count++] = (run){ first, pages };
	*(uint64_t *)page_at(m, first) = *(uint64_t *)page_at(m, first + pages - 1) = first;
}

static void model_give(model *m, size_t i)
{
	run r = m->runs[i], seen = { 0, 0 };
	uint64_t inside = r.first + near__random_next(&m->random) % r.pages;
	assert_true(near__range_run(&m->range, inside, &seen.first, &seen.pages));
	assert_true(seen.first == r.first && seen.pages == r.pages);
	/* What was written is still there: no page of a taken run was dropped. */
	assert_int_equal(*(uint64_t *)page_at(m, r.first), r.first);
	assert_int_equal(*(uint64_t *)page_at(m, r.first + r.pages - 1), r.first);
	near__range_give(&m->range, r.first, r.pages);
	assert_false(near__range_run(&m->range, inside, &seen.first, &seen.pages));
	memset(m->taken + r.first, 0, r.pages);
	m->taken_pages -= r.pages;
	m->runs[i] = m->runs[--m->run_count];
}

static uint64_t resident_pages(const model *m)
{
	static unsigned char in_core[PAGES];
	assert_int_equal(mincore(m->range.base, PAGES * NEAR__PAGE, in_core), 0);
	uint64_t n = 0;
	for (uint64_t i = 0; i < PAGES; i++)
		n += in_core[i] & 1;
	return n;
}

static uint64_t draw_pages(model *m)
{
	static const uint64_t most[] = { 1, 2, 5, 8, 28, 100, 512, 513, 1500 };
	return 1 + near__random_next(&m->random) % most[near__random_next(&m->random) % 9];
}

static void drive(bool huge)
{
	static model m;
	memset(&m, 0, sizeof(m));
	near__random_bytes(&m.random, sizeof(m.random));
	print_message("seed %" PRIu64 "\n", m.random);
	assert_int_equal(near__range_create(&m.range, PAGES * NEAR__PAGE, 8 * NEAR__CHUNK, huge), NEAR_OK);
	m.taken[0] = 1; /* never handed out */
	m.cap = PAGES / 3;
	for (unsigned step = 0; step < 20000; step++) {
		bool filling = step / 1000 % 2 == 0;
		if (near__random_next(&m.random) % 8 < (filling ? 6u : 2u))
			model_take(&m, draw_pages(&m));
		else if (m.run_count > 0)
			model_give(&m, (size_t)(near__random_next(&m.random) % m.run_count));
		assert_int_equal(m.range.taken_pages, m.taken_pages);
		assert_true(m.range.backed_pages <= m.cap);
		if (step % 997 == 0) {
			uint64_t resident = resident_pages(&m);
			if (resident > m.range.backed_pages)
				fail_msg("%" PRIu64 " resident, %" PRIu64 " backed", resident, m.range.backed_pages);
		}
		if (step % 5000 == 4999) {
			assert_false(near__range_shrink(&m.range, 0, UINT64_MAX)); /* all that is free */
			assert_int_equal(m.range.backed_pages, m.taken_pages);
			assert_true(resident_pages(&m) <= m.taken_pages);
		}
	}
	while (m.run_count > 0)
		model_give(&m, m.run_count - 1);
	while (near__range_shrink(&m.range, 0, 3))
		continue;
	assert_int_equal(m.range.backed_pages, 0);
	assert_int_equal(resident_pages(&m), 0);
	assert_int_equal(near__range_find(&m.range, 1), 1);
	near__range_destroy(&m.range);
}

static void range__driven_at_random_with_small_pages__agrees_with_the_model(void **state)
{
	(void)state;
	drive(false);
}

static void range__driven_at_random_with_huge_pages__agrees_with_the_model(void **state)
{
	(void)state;
	drive(true);
}

static void range_find__more_than_there_is__is_none(void **state)
{
	(void)state;
	near__range r;
	assert_int_equal(near__range_create(&r, 3 * NEAR__CHUNK, NEAR__CHUNK, false), NEAR_OK);
	assert_int_equal(near__range_find(&r, 512), 512); /* page 0 is not free */
	assert_int_equal(near__range_find(&r, 1024), 512);
	assert_true(near__range_find(&r, 1025) == NEAR__RANGE_NONE);
	assert_true(near__range_find(&r, UINT64_C(1) << 40) == NEAR__RANGE_NONE);
	assert_int_equal(near__range_unopened(&r, 512, 1024), 2);
	near__range_take(&r, 512, 1024, 1024);
	assert_int_equal(near__range_unopened(&r, 512, 1024), 0);
	assert_true(near__range_find(&r, 512) == NEAR__RANGE_NONE);
	assert_int_equal(near__range_find(&r, 511), 1);
	uint64_t first, pages;
	near__range_split(&r, 612);
	assert_true(near__range_run(&r, 611, &first, &pages) && first == 512 && pages == 100);
	assert_true(near__range_run(&r, 1535, &first, &pages) && first == 612 && pages == 924);
	near__range_merge(&r, 612);
	assert_true(near__range_run(&r, 700, &first, &pages) && first == 512 && pages == 1024);
	assert_false(near__range_run(&r, 0, &first, &pages));
	assert_false(near__range_run(&r, 1536, &first, &pages));
	near__range_give(&r, 512, 1024);
	near__range_destroy(&r);
}

static void range_side__used_up__is_null(void **state)
{
	(void)state;
	near__range r;
	assert_int_equal(near__range_create(&r, NEAR__CHUNK, 3 * NEAR__CHUNK, false), NEAR_OK);
	char *a = near__range_side(&r, 1), *b = near__range_side(&r, NEAR__CHUNK);
	assert_non_null(a);
	assert_ptr_equal(b, a + NEAR__CHUNK);
	assert_int_equal((uintptr_t)a % NEAR__CHUNK, 0);
	assert_true(a >= r.base + r.reach_bytes);
	assert_null(near__range_side(&r, 2 * NEAR__CHUNK));
	assert_non_null(near__range_side(&r, NEAR__CHUNK));
	assert_null(near__range_side(&r, 1));
	near__range_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(range__driven_at_random_with_small_pages__agrees_with_the_model),
		cmocka_unit_test(range__driven_at_random_with_huge_pages__agrees_with_the_model),
		cmocka_unit_test(range_find__more_than_there_is__is_none),
		cmocka_unit_test(range_side__used_up__is_null),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
