/* The range: which pages are taken, which may be resident.
 *
 * Finding a run. Pages are grouped in chunks of 512 (one huge page). A chunk knows its longest free run; a binary tree
 * over the chunks holds in each node the best below it, so the lowest chunk with a long enough run is found in
 * log2(chunks) steps, and the lowest run in it by a scan of 8 words. A run of up to 512 pages never crosses a chunk; a
 * longer one starts at a wholly free chunk. Lowest first keeps what is taken together at the low end, where huge pages
 * are full, and leaves whole chunks free at the high end.
 *
 *              2 <- 512 - longest run, least of both sides
 *            /   \
 *          40     2
 *         /  \   /  \
 *       512  40 2    0         zeroed memory reads "all free": untouched books cost no memory
 *
 * Backing. What the range gives back to itself stays resident ("backed") and is used again without a system call or a page
 * fault. When a new run needs pages that are not backed and the cap is reached, free backed pages are given to the system
 * first, at least PURGE_PAGES of them where there are so many, so that the calls are few.
 *
 * Huge pages. The whole range says MADV_NOHUGEPAGE, whatever the system's default is: else one touched page could make 512
 * resident behind our back. A chunk asks for a huge page when it is first used and the cap has room for all 512 pages,
 * which then count as backed. A chunk out of which single pages are purged returns to small pages, or the kernel's
 * khugepaged would fill the holes again; once wholly free and purged it may ask anew.
 *
 * Costs: take and give about 100 to 200 ns; books 200 bytes per used chunk (1/10000).
 */
#include "base/range.h"

#include <string.h>
#include <sys/mman.h>
#include "base/base.h"

#define WORDS (NEAR__CHUNK_PAGES / 64)
#define PURGE_PAGES 64
#define PAGE_ZERO UINT64_C(1) /* taken for ever, and never touched: but a huge page backs it, too */

enum { CHUNK_FRESH = 0, CHUNK_SMALL = 1, CHUNK_HUGE = 2, CHUNK_ADVICE = 3, CHUNK_OPENED = 4 };

static_assert(NEAR__CHUNK == NEAR__PAGE * NEAR__CHUNK_PAGES, "a chunk is one huge page");

/* ------------------------------------------------------------- bits of a chunk */

/* Bits a..b-1 of word w. */
static uint64_t mask_in_word(unsigned w, unsigned a, unsigned b)
{
	unsigned low = w * 64, from = a > low ? a - low : 0, to = b < low + 64 ? b - low : 64;
	if (a >= low + 64 || b <= low || from >= to)
		return 0;
	uint64_t ones = to - from == 64 ? UINT64_MAX : (UINT64_C(1) << (to - from)) - 1;
	return ones << from;
}

/* The first bit at or after `at` that is `value`, or 512. */
static unsigned next_bit(const uint64_t bits[WORDS], unsigned at, bool value)
{
	while (at < NEAR__CHUNK_PAGES) {
		uint64_t word = (value ? bits[at / 64] : ~bits[at / 64]) >> (at % 64);
		if (word != 0)
			return at + (unsigned)__builtin_ctzll(word);
		at = (at / 64 + 1) * 64;
	}
	return NEAR__CHUNK_PAGES;
}

static unsigned lowest_run(const uint64_t taken[WORDS], unsigned pages)
{
	unsigned at = 0;
	while (at < NEAR__CHUNK_PAGES) {
		unsigned start = next_bit(taken, at, false);
		at = next_bit(taken, start, true);
		if (at - start >= pages && start < NEAR__CHUNK_PAGES)
			return start;
	}
	return NEAR__CHUNK_PAGES;
}

static unsigned longest_run(const uint64_t taken[WORDS])
{
	unsigned at = 0, longest = 0;
	while (at < NEAR__CHUNK_PAGES) {
		unsigned start = next_bit(taken, at, false);
		at = next_bit(taken, start, true);
		if (at - start > longest)
			longest = at - start;
	}
	return longest;
}

static unsigned count_bits(const uint64_t bits[WORDS])
{
	unsigned n = 0;
	for (unsigned w = 0; w < WORDS; w++)
		n += (unsigned)__builtin_popcountll(bits[w]);
	return n;
}

/* ---------------------------------------------------------------------- the tree */

static void tree_update(near__range *range, uint64_t chunk)
{
	uint64_t i = range->leaf_count + chunk;
	uint16_t value = (uint16_t)(NEAR__CHUNK_PAGES - longest_run(range->chunk[chunk].taken));
	while (range->tree[i] != value) {
		range->tree[i] = value;
		if (i == 1)
			return;
		uint16_t other = range->tree[i ^ 1];
		value = value < other ? value : other;
		i /= 2;
	}
}

/* The first chunk at or after `from` whose longest run leaves at most `missing` of 512; NONE past the end. */
static uint64_t tree_first(const near__range *range, uint64_t from, unsigned missing)
{
	uint64_t i = range->leaf_count + from;
	if (from >= range->chunk_count)
		return NEAR__RANGE_NONE;
	while (range->tree[i] > missing) {
		while (i & 1) /* a right child: its parent's right neighbour comes next */
			i /= 2;
		if (i == 0)
			return NEAR__RANGE_NONE;
		i++;
	}
	while (i < range->leaf_count) {
		i *= 2;
		if (range->tree[i] > missing)
			i++;
	}
	i -= range->leaf_count;
	return i < range->chunk_count ? i : NEAR__RANGE_NONE; /* leaves past the end read "free" */
}

/* Consecutive wholly free chunks, for more than 512 pages. */
static uint64_t find_chunks(const near__range *range, uint64_t count)
{
	uint64_t start = tree_first(range, 0, 0);
	while (start != NEAR__RANGE_NONE && start + count <= range->chunk_count) {
		uint64_t n = 1;
		while (n < count && range->tree[range->leaf_count + start + n] == 0)
			n++;
		if (n == count)
			return start * NEAR__CHUNK_PAGES;
		start = tree_first(range, start + n, 0);
	}
	return NEAR__RANGE_NONE;
}

uint64_t near__range_find(const near__range *range, uint64_t pages)
{
	NEAR_ASSERT(pages > 0);
	if (pages > NEAR__CHUNK_PAGES)
		return find_chunks(range, (pages + NEAR__CHUNK_PAGES - 1) / NEAR__CHUNK_PAGES);
	uint64_t chunk = tree_first(range, 0, NEAR__CHUNK_PAGES - (unsigned)pages);
	if (chunk == NEAR__RANGE_NONE)
		return NEAR__RANGE_NONE;
	unsigned at = lowest_run(range->chunk[chunk].taken, (unsigned)pages);
	NEAR_ASSERT(at < NEAR__CHUNK_PAGES);
	return chunk * NEAR__CHUNK_PAGES + at;
}

/* -------------------------------------------------------------------- backing */

static char *address_of(const near__range *range, uint64_t chunk, unsigned page)
{
	return range->base + chunk * NEAR__CHUNK + page * NEAR__PAGE;
}

/* Lets one chunk's free pages go. */
static void purge(near__range *range, uint64_t chunk)
{
	near__chunk *c = &range->chunk[chunk];
	range->idle[chunk / 64] &= ~(UINT64_C(1) << chunk % 64);
	uint64_t idle[WORDS];
	for (unsigned w = 0; w < WORDS; w++)
		idle[w] = c->backed[w] & ~(chunk == 0 && w == 0 ? c->taken[w] - PAGE_ZERO : c->taken[w]);
	unsigned n = count_bits(idle);
	if (n == 0)
		return;
	if ((range->state[chunk] & CHUNK_ADVICE) == CHUNK_HUGE) {
		/* May fail when the process has too many mappings: then the kernel may fill the holes again, and we are told so by
		 * nobody. The pages go back all the same. */
		(void)madvise(address_of(range, chunk, 0), NEAR__CHUNK, MADV_NOHUGEPAGE);
		range->state[chunk] = CHUNK_OPENED | CHUNK_SMALL;
	}
	for (unsigned from = next_bit(idle, 0, true); from < NEAR__CHUNK_PAGES;) {
		unsigned to = next_bit(idle, from, false);
		/* Refused where the program locks all its memory: the pages stay resident then, because it wants them so. */
		if (madvise(address_of(range, chunk, from), (to - from) * NEAR__PAGE, MADV_DONTNEED) != 0)
			return;
		for (unsigned w = from / 64; w < WORDS && w * 64 < to; w++)
			c->backed[w] &= ~mask_in_word(w, from, to);
		NEAR_ASSERT(range->backed_pages >= to - from);
		range->backed_pages -= to - from;
		from = next_bit(idle, to, true);
	}
	if (count_bits(c->backed) == 0)
		range->state[chunk] = CHUNK_OPENED | CHUNK_FRESH;
}

static void mark_idle(near__range *range, uint64_t chunk)
{
	range->idle[chunk / 64] |= UINT64_C(1) << chunk % 64;
}

/* The highest chunk below `end` that may have idle pages, or NONE. */
static uint64_t idle_below(const near__range *range, uint64_t end)
{
	uint64_t w = end / 64, word = w * 64 < range->chunk_count ? range->idle[w] & ((UINT64_C(1) << end % 64) - 1) : 0;
	while (word == 0) {
		if (w == 0)
			return NEAR__RANGE_NONE;
		word = range->idle[--w];
	}
	return w * 64 + 63 - (uint64_t)__builtin_clzll(word);
}

/* From the high end down and round again: what lies low is wanted next. Ends: each step clears a bit of `idle`. */
bool near__range_shrink(near__range *range, uint64_t cap_pages, uint64_t chunks_max)
{
	for (; range->backed_pages > cap_pages; chunks_max--) {
		uint64_t chunk = idle_below(range, range->purge_cursor);
		if (chunk == NEAR__RANGE_NONE)
			chunk = idle_below(range, range->backed_high);
		if (chunk == NEAR__RANGE_NONE)
			return false;
		if (chunks_max == 0)
			return true;
		purge(range, chunk);
		range->purge_cursor = chunk;
	}
	return false;
}

/* Room for `pages` more backed ones under the cap. */
static void make_room(near__range *range, uint64_t pages, uint64_t cap_pages)
{
	if (range->backed_pages + pages <= cap_pages)
		return;
	uint64_t extra = pages < PURGE_PAGES ? PURGE_PAGES : pages;
	(void)near__range_shrink(range, cap_pages > extra ? cap_pages - extra : 0, UINT64_MAX);
}

/* The pages a..b-1 of a chunk, already marked taken, become backed. */
static void back(near__range *range, uint64_t chunk, unsigned a, unsigned b, uint64_t cap_pages)
{
	near__chunk *c = &range->chunk[chunk];
	bool fresh = (range->state[chunk] & CHUNK_ADVICE) == CHUNK_FRESH;
	if (fresh && range->huge && range->backed_pages + NEAR__CHUNK_PAGES <= cap_pages &&
	    madvise(address_of(range, chunk, 0), NEAR__CHUNK, MADV_HUGEPAGE) == 0) {
		memset(c->backed, 0xff, sizeof(c->backed));
		range->backed_pages += NEAR__CHUNK_PAGES;
		range->state[chunk] = CHUNK_OPENED | CHUNK_HUGE;
		mark_idle(range, chunk);
	} else if (fresh) {
		range->state[chunk] = CHUNK_OPENED | CHUNK_SMALL;
	}
	if (chunk >= range->backed_high)
		range->backed_high = chunk + 1;
	uint64_t clean[WORDS];
	for (unsigned w = 0; w < WORDS; w++)
		clean[w] = mask_in_word(w, a, b) & ~c->backed[w];
	unsigned n = count_bits(clean);
	if (n == 0)
		return;
	make_room(range, n, cap_pages);
	for (unsigned w = 0; w < WORDS; w++)
		c->backed[w] |= clean[w];
	range->backed_pages += n;
}

/* ---------------------------------------------------------------- take and give */

/* Calls for each chunk that a run lies in: chunk, first page, past the last. */
#define FOR_CHUNKS(first, pages, chunk, a, b) \
	for (uint64_t at_ = (first), end_ = (first) + (pages), chunk = at_ / NEAR__CHUNK_PAGES, \
	              a = at_ % NEAR__CHUNK_PAGES, \
	              b = end_ - at_ + a < NEAR__CHUNK_PAGES ? end_ - at_ + a : NEAR__CHUNK_PAGES; \
	     at_ < end_; at_ += b - a, chunk++, a = 0, b = end_ - at_ < NEAR__CHUNK_PAGES ? end_ - at_ : NEAR__CHUNK_PAGES)

uint64_t near__range_unopened(const near__range *range, uint64_t first, uint64_t pages)
{
	uint64_t n = 0;
	for (uint64_t c = first / NEAR__CHUNK_PAGES; c <= (first + pages - 1) / NEAR__CHUNK_PAGES; c++)
		n += (range->state[c] & CHUNK_OPENED) == 0;
	return n;
}

void near__range_take(near__range *range, uint64_t first, uint64_t pages, uint64_t cap_pages)
{
	NEAR_ASSERT((first + pages) * NEAR__PAGE <= range->reach_bytes);
	FOR_CHUNKS(first, pages, chunk, a, b) {
		for (unsigned w = (unsigned)a / 64; w < WORDS && w * 64 < b; w++) {
			uint64_t mask = mask_in_word(w, (unsigned)a, (unsigned)b);
			NEAR_ASSERT((range->chunk[chunk].taken[w] & mask) == 0);
			range->chunk[chunk].taken[w] |= mask;
		}
		tree_update(range, chunk);
		range->taken_pages += b - a;
	}
	near__range_split(range, first);
	/* After all of the run is marked, so that making room never drops a page of it. */
	FOR_CHUNKS(first, pages, chunk, a, b)
		back(range, chunk, (unsigned)a, (unsigned)b, cap_pages);
}

void near__range_give(near__range *range, uint64_t first, uint64_t pages)
{
	FOR_CHUNKS(first, pages, chunk, a, b) {
		for (unsigned w = (unsigned)a / 64; w < WORDS && w * 64 < b; w++) {
			uint64_t mask = mask_in_word(w, (unsigned)a, (unsigned)b);
			NEAR_ASSERT((range->chunk[chunk].taken[w] & mask) == mask);
			range->chunk[chunk].taken[w] &= ~mask;
			range->chunk[chunk].start[w] &= ~mask;
		}
		tree_update(range, chunk);
		mark_idle(range, chunk);
		NEAR_ASSERT(range->taken_pages >= b - a);
		range->taken_pages -= b - a;
	}
}

void near__range_split(near__range *range, uint64_t first)
{
	range->chunk[first / NEAR__CHUNK_PAGES].start[first % NEAR__CHUNK_PAGES / 64] |= UINT64_C(1) << first % 64;
}

void near__range_merge(near__range *range, uint64_t first)
{
	range->chunk[first / NEAR__CHUNK_PAGES].start[first % NEAR__CHUNK_PAGES / 64] &= ~(UINT64_C(1) << first % 64);
}

static bool page_is(const near__range *range, uint64_t page, size_t member)
{
	const near__chunk *c = &range->chunk[page / NEAR__CHUNK_PAGES];
	const uint64_t *bits = (const uint64_t *)(const void *)((const char *)c + member);
	return bits[page % NEAR__CHUNK_PAGES / 64] >> page % 64 & 1;
}

/* Page by page: a slab has at most a few, and who asks about a large block asks seldom. */
bool near__range_run(const near__range *range, uint64_t page, uint64_t *first, uint64_t *pages)
{
	uint64_t count = range->chunk_count * NEAR__CHUNK_PAGES;
	if (page == 0 || page >= count || !page_is(range, page, offsetof(near__chunk, taken)))
		return false;
	uint64_t from = page, to = page + 1;
	while (!page_is(range, from, offsetof(near__chunk, start)))
		from--;
	while (to < count && page_is(range, to, offsetof(near__chunk, taken)) &&
	       !page_is(range, to, offsetof(near__chunk, start)))
		to++;
	*first = from;
	*pages = to - from;
	return true;
}

void *near__range_side(near__range *range, size_t size)
{
	size = (size + NEAR__CHUNK - 1) / NEAR__CHUNK * NEAR__CHUNK;
	if (size > (size_t)(range->side_end - range->side))
		return NULL;
	char *at = range->side;
	range->side += size;
	return at;
}

/* ---------------------------------------------------------------------- life */

/* A program that locks all its memory (mlockall with MCL_FUTURE) would have every page of a new mapping made resident; so it
 * is mapped without access first, unlocked, and opened then. */
static void *reserve(size_t size)
{
	void *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	(void)munlock(at, size);
	if (mprotect(at, size, PROT_READ | PROT_WRITE) == 0)
		return at;
	(void)munmap(at, size);
	return NULL;
}

near_status near__range_create(near__range *range, uint64_t reach_bytes, uint64_t side_bytes, bool huge_pages)
{
	NEAR_ASSERT(reach_bytes % NEAR__CHUNK == 0 && side_bytes % NEAR__CHUNK == 0);
	memset(range, 0, sizeof(*range));
	range->reach_bytes = reach_bytes;
	range->chunk_count = reach_bytes / NEAR__CHUNK;
	range->leaf_count = 1;
	while (range->leaf_count < range->chunk_count)
		range->leaf_count *= 2;
	range->huge = huge_pages;
	size_t chunks_size = range->chunk_count * sizeof(near__chunk);
	size_t tree_size = 2 * range->leaf_count * sizeof(uint16_t);
	size_t idle_size = (range->chunk_count + 63) / 64 * sizeof(uint64_t);
	range->books_size = chunks_size + idle_size + tree_size + range->chunk_count;
	range->books = reserve(range->books_size);
	range->mapping_size = reach_bytes + side_bytes + NEAR__CHUNK; /* to align */
	range->mapping = reserve(range->mapping_size);
	if (range->books == NULL || range->mapping == NULL) {
		near__range_destroy(range);
		return NEAR_E_SYSTEM;
	}
	range->chunk = range->books;
	range->idle = (uint64_t *)((char *)range->books + chunks_size);
	range->tree = (uint16_t *)((char *)range->books + chunks_size + idle_size);
	range->state = (uint8_t *)range->books + chunks_size + idle_size + tree_size;
	range->base = (char *)(((uintptr_t)range->mapping + NEAR__CHUNK - 1) / NEAR__CHUNK * NEAR__CHUNK);
	range->side = range->base + reach_bytes;
	range->side_end = range->side + side_bytes;
	/* Refused by kernels without huge pages, where it says nothing new. */
	(void)madvise(range->mapping, range->mapping_size, MADV_NOHUGEPAGE);
	range->chunk[0].taken[0] = PAGE_ZERO; /* offset 0 names nothing */
	tree_update(range, 0);
	return NEAR_OK;
}

void near__range_destroy(near__range *range)
{
	if (range->mapping != NULL)
		(void)munmap(range->mapping, range->mapping_size);
	if (range->books != NULL)
		(void)munmap(range->books, range->books_size);
	memset(range, 0, sizeof(*range));
}
