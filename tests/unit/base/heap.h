/* A heap of blocks under a bound, and what the system says of it. For the tests of base/mem. */
#ifndef NEAR_TESTS_HEAP_H
#define NEAR_TESTS_HEAP_H

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/base.h"
#include "base/hash.h"
#include "base/mem.h"

#define MIB (UINT64_C(1) << 20)
#if defined(NEAR__TSAN) || defined(NEAR__ASAN) /* several times slower: less of the same */
#define BOUND (24 * MIB)
#define SLOWER 8
#else
#define BOUND (40 * MIB)
#define SLOWER 1
#endif

/* ---------------------------------------------------------------- a heap of blocks */

typedef struct heap {
	near__mem *mem;
	void **block;
	size_t count, capacity;
	uint64_t random;
	uint64_t usable; /* of all blocks */
	bool above;      /* the bound was broken once */
} heap;

static inline void heap_open(heap *h, uint64_t limit, bool huge)
{
	memset(h, 0, sizeof(*h));
	near__random_bytes(&h->random, sizeof(h->random));
	print_message("seed %" PRIu64 "\n", h->random);
	assert_int_equal(near__mem_create(limit, huge, &h->mem), NEAR_OK);
	h->capacity = (size_t)(limit / 16);
	h->block = malloc(h->capacity * sizeof(*h->block));
	assert_non_null(h->block);
}

static inline void heap_close(heap *h)
{
	near__mem_release(h->mem);
	free(h->block);
}

static inline size_t between(heap *h, size_t least, size_t most)
{
	return least + (size_t)(near__random_next(&h->random) % (most - least + 1));
}

/* False at the bound. Writes the first and the last byte. */
static inline bool heap_add(heap *h, size_t size)
{
	char *b = near__mem_alloc(h->mem, size);
	h->above = h->above || near__mem_mapped(h->mem) > near__mem_limit(h->mem);
	if (b == NULL)
		return false;
	b[0] = b[size - 1] = (char)size;
	h->usable += near__mem_usable(b);
	assert_true(h->count < h->capacity);
	h->block[h->count++] = b;
	return true;
}

static inline void heap_drop(heap *h, size_t i)
{
	h->usable -= near__mem_usable(h->block[i]);
	near__mem_free(h->mem, h->block[i]);
	h->block[i] = h->block[--h->count];
}

/* In random order, as eviction frees. */
static inline void heap_empty(heap *h)
{
	while (h->count > 0)
		heap_drop(h, between(h, 0, h->count - 1));
}

static inline uint64_t heap_fill(heap *h, size_t least, size_t most)
{
	/* To refusal, and then a few more tries, because a smaller one may still fit. */
	for (unsigned refused = 0; refused < 20;)
		refused = heap_add(h, between(h, least, most)) ? 0 : refused + 1;
	return h->usable;
}

/* What the system says is resident in the range, in bytes. */
static inline uint64_t resident_bytes(const near__mem *mem, uint64_t reach)
{
	size_t pages = (size_t)(reach / 4096), n = 0;
	unsigned char *in_core = malloc(pages);
	assert_non_null(in_core);
	assert_int_equal(mincore(near__mem_base(mem), (size_t)reach, in_core), 0);
	for (size_t i = 0; i < pages; i++)
		n += in_core[i] & 1;
	free(in_core);
	return n * 4096;
}

#endif
