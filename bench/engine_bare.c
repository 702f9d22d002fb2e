/* The bare table: what two dependent cache misses cost, and nothing else.
 *
 *   line of 8 slots (64 bytes)   [tag 16 | address 48] x 8      the first miss
 *   entry                        key_size, value_size, bytes     the second
 *
 * Sized for its items at a filling of about half, linear probing by lines, entries one after the other in one mapping.
 * Threads: any number may read; a writer must be alone. No bound: it maps what `items` need.
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/hash.h"
#include "keys.h"

#define SLOTS 8
#define TAG_SHIFT 48
#define ADDRESS_MASK ((UINT64_C(1) << TAG_SHIFT) - 1)
#define GONE UINT64_C(1) /* a slot whose entry was deleted: probing goes on */
#define BATCH_MAX 256

typedef struct bare_entry {
	uint32_t key_size, value_size;
	unsigned char bytes[];
} bare_entry;

typedef struct bare_line {
	uint64_t slot[SLOTS];
} bare_line;

typedef struct bare {
	bare_line *lines;
	uint64_t line_mask, count;
	char *entries;
	size_t lines_bytes, entries_bytes, entries_used;
} bare;

static size_t entry_bytes(size_t value_size)
{
	return (sizeof(bare_entry) + BENCH_KEY_SIZE + value_size + 15) / 16 * 16;
}

static void *map(size_t bytes, bool huge_pages)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	if (huge_pages)
		(void)madvise(at, bytes, MADV_HUGEPAGE);
	return at;
}

static void bare_close(void *engine)
{
	bare *b = engine;
	if (b->lines != NULL)
		(void)munmap(b->lines, b->lines_bytes);
	if (b->entries != NULL)
		(void)munmap(b->entries, b->entries_bytes);
	free(b);
}

static void *bare_open(const bench_engine_config *config, near_error *error)
{
	bare *b = calloc(1, sizeof(*b));
	uint64_t lines = 1;
	if (b == NULL)
		return NULL;
	while (lines * SLOTS < config->items * 2)
		lines *= 2;
	b->line_mask = lines - 1;
	b->lines_bytes = lines * sizeof(bare_line);
	b->entries_bytes = (config->items + 1) * entry_bytes(config->value_size);
	b->lines = map(b->lines_bytes, config->huge_pages);
	b->entries = map(b->entries_bytes, config->huge_pages);
	if (b->lines != NULL && b->entries != NULL)
		return b;
	(void)snprintf(error->text, sizeof(error->text), "no memory for %zu bytes", b->lines_bytes + b->entries_bytes);
	bare_close(b);
	return NULL;
}

static bool holds(uint64_t word, uint64_t hash, const char *key, const bare_entry **entry)
{
	if (word >> TAG_SHIFT != (hash >> TAG_SHIFT) || (word & ADDRESS_MASK) <= GONE)
		return false;
	const bare_entry *e = (const bare_entry *)(uintptr_t)(word & ADDRESS_MASK);
	*entry = e;
	return e->key_size == BENCH_KEY_SIZE && memcmp(e->bytes, key, BENCH_KEY_SIZE) == 0;
}

/* The slot that holds the key, or NULL. *free_slot (may be NULL): where it would go. */
static uint64_t *find(bare *b, uint64_t hash, const char *key, uint64_t **free_slot)
{
	for (uint64_t at = hash;; at++) { /* ends: the table is never more than half full */
		bare_line *line = &b->lines[at & b->line_mask];
		for (unsigned i = 0; i < SLOTS; i++) {
			const bare_entry *e;
			if (holds(line->slot[i], hash, key, &e))
				return &line->slot[i];
			if (line->slot[i] == 0) {
				if (free_slot != NULL)
					*free_slot = &line->slot[i];
				return NULL;
			}
		}
	}
}

static bool copy_out(const uint64_t *slot, void *buf, size_t buf_size, size_t *value_size)
{
	if (slot == NULL)
		return false;
	const bare_entry *e = (const bare_entry *)(uintptr_t)(*slot & ADDRESS_MASK);
	*value_size = e->value_size;
	if (e->value_size > buf_size)
		return false;
	memcpy(buf, e->bytes + e->key_size, e->value_size);
	return true;
}

static bool bare_get(void *engine, const char *key, void *buf, size_t buf_size)
{
	size_t value_size;
	return copy_out(find(engine, near__hash_local(key, BENCH_KEY_SIZE), key, NULL), buf, buf_size, &value_size);
}

static void bare_get_many(void *engine, near_lookup *lookups, size_t count)
{
	bare *b = engine;
	uint64_t hashes[BATCH_MAX];
	for (size_t from = 0; from < count; from += BATCH_MAX) {
		size_t n = count - from < BATCH_MAX ? count - from : BATCH_MAX;
		near_lookup *l = lookups + from;
		for (size_t i = 0; i < n; i++) {
			hashes[i] = near__hash_local(l[i].key, BENCH_KEY_SIZE);
			__builtin_prefetch(&b->lines[hashes[i] & b->line_mask]);
		}
		for (size_t i = 0; i < n; i++) {
			const bare_line *line = &b->lines[hashes[i] & b->line_mask];
			for (unsigned s = 0; s < SLOTS; s++)
				if (line->slot[s] >> TAG_SHIFT == hashes[i] >> TAG_SHIFT)
					__builtin_prefetch((const void *)(uintptr_t)(line->slot[s] & ADDRESS_MASK));
		}
		for (size_t i = 0; i < n; i++)
			l[i].status = copy_out(find(b, hashes[i], l[i].key, NULL), l[i].buf, l[i].buf_size,
			                       &l[i].item.value_size) ? NEAR_OK : NEAR_MISS;
	}
}

static bool bare_put(void *engine, const char *key, const void *value, size_t value_size)
{
	bare *b = engine;
	uint64_t hash = near__hash_local(key, BENCH_KEY_SIZE), *free_slot = NULL;
	uint64_t *slot = find(b, hash, key, &free_slot);
	if (slot != NULL) {
		bare_entry *e = (bare_entry *)(uintptr_t)(*slot & ADDRESS_MASK);
		if (e->value_size != value_size)
			return false;
		memcpy(e->bytes + e->key_size, value, value_size);
		return true;
	}
	size_t bytes = entry_bytes(value_size);
	if (bytes > b->entries_bytes - b->entries_used)
		return false;
	bare_entry *e = (bare_entry *)(void *)(b->entries + b->entries_used);
	b->entries_used += bytes;
	e->key_size = BENCH_KEY_SIZE;
	e->value_size = (uint32_t)value_size;
	memcpy(e->bytes, key, BENCH_KEY_SIZE);
	memcpy(e->bytes + BENCH_KEY_SIZE, value, value_size);
	*free_slot = (hash >> TAG_SHIFT) << TAG_SHIFT | (uint64_t)(uintptr_t)e;
	b->count++;
	return true;
}

static void bare_del(void *engine, const char *key)
{
	bare *b = engine;
	uint64_t *slot = find(b, near__hash_local(key, BENCH_KEY_SIZE), key, NULL);
	if (slot == NULL)
		return;
	*slot = GONE;
	b->count--;
}

static uint64_t bare_count(void *engine)
{
	return ((bare *)engine)->count;
}

static uint64_t bare_mapped(void *engine)
{
	bare *b = engine;
	return b->lines_bytes + b->entries_used;
}

const bench_engine bench_engine_bare = {
	.name = "bare",
	.open = bare_open,
	.close = bare_close,
	.get = bare_get,
	.get_many = bare_get_many,
	.put = bare_put,
	.del = bare_del,
	.count = bare_count,
	.mapped = bare_mapped,
};
