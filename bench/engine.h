/* What `nearbench l1` can drive: the library, and tables to compare it with. A new one is a file engine_<name>.c with one
 * bench_engine, named in engines.c.
 *
 *   near    nearcache through its public functions
 *   bare    the least a table can do: one line of slots, one entry, two dependent cache misses; no bound, no expiry, no
 *           eviction, one writer while nobody reads. The floor under every design with separate entries
 *   mutex   what a program writes first: one lock, chains, an LRU list, malloc
 *
 * A batch is an array of near_lookup, the library's own form; `status` and `item.value_size` are the answer. Keys have
 * BENCH_KEY_SIZE bytes.
 */
#ifndef NEAR_BENCH_ENGINE_H
#define NEAR_BENCH_ENGINE_H

#include <nearcache/nearcache.h>

typedef struct bench_engine_config {
	uint64_t items; /* that will be put at most */
	uint64_t value_size, memory_bytes;
	bool huge_pages;
} bench_engine_config;

typedef struct bench_engine {
	const char *name;
	bool concurrent_writes; /* may several threads put while others get? */
	bool bounded;           /* does it keep memory_bytes? */
	/* NULL: error->text says why. */
	void *(*open)(const bench_engine_config *config, near_error *error);
	void (*close)(void *engine);
	/* True: the value is in `buf`. */
	bool (*get)(void *engine, const char *key, void *buf, size_t buf_size);
	void (*get_many)(void *engine, near_lookup *lookups, size_t count);
	bool (*put)(void *engine, const char *key, const void *value, size_t value_size);
	void (*del)(void *engine, const char *key);
	/* Get, else what a loader brings at once; NULL: get, then put. */
	bool (*load)(void *engine, const char *key, const void *value, size_t value_size, void *buf, size_t buf_size);
	uint64_t (*count)(void *engine);
	uint64_t (*mapped)(void *engine); /* bytes it says it has taken */
} bench_engine;

extern const bench_engine bench_engine_near, bench_engine_bare, bench_engine_mutex;

#define BENCH_ENGINE_CHOICES "near|bare|mutex"
const bench_engine *bench_engine_at(unsigned choice);

/* What one item takes under the bound, about: for choosing a memory bound from a number of items. */
uint64_t bench_item_bytes(uint64_t value_size);

#endif
