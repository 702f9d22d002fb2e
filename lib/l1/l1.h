/* L1: the table of this process. It knows keys, values, lives and as-of positions; it knows nothing of Redis.
 *
 * As-of: a 64-bit position that only its owner (the coherence room, through core) gives meaning to; L1 compares as-ofs of
 * one key with `<` and keeps the higher. Without Redis every as-of is 0.
 *
 * Every `hash` is near__hash_local of the key: a table that grows computes it again.
 *
 * Time is handed in as near clock nanoseconds; lives are kept in ticks of 4 ms.
 */
#ifndef NEAR_L1_L1_H
#define NEAR_L1_L1_H

#include "base/log.h"
#include "base/mem.h"
#include "stats/stats.h"
#include "sync/epoch.h"

typedef struct near__l1 near__l1;
typedef struct near__entry near__entry;
typedef struct near__pin near__pin; /* an entry that is kept, and what keeps its memory alive */

typedef struct near__l1_config {
	uint64_t memory_bytes;
	near_evict evict;
	bool huge_pages;
	uint64_t sweep_ms;
	uint64_t table_slots_min; /* 0: the least */
	uint64_t payload_limit;   /* 0: none; else the sum of key and value bytes is bounded too (policy studies) */
	near__stats *stats;
	/* May be NULL. Called outside of sections and locks. */
	void (*on_evicted)(void *ctx, const void *key, size_t key_size, size_t value_size);
	void *ctx;
} near__l1_config;

near_status near__l1_create(const near__l1_config *config, near__l1 **l1);
void near__l1_free(near__l1 *l1); /* no other call may run; pins stay valid */

/* A tag as an entry keeps it: the shared hash of its name. */
typedef uint64_t near__tag;

/* Flags of an entry, which a lookup gives back: "the source does not have it"; and one bit of the caller's own, kept for it. */
enum { NEAR__ENTRY_NEGATIVE = 1, NEAR__ENTRY_CALLER = 2, NEAR__ENTRY_FLAGS = 3 };

/* What a lookup saw. Pointers are valid inside the caller's section only, unless pinned. */
typedef struct near__l1_view {
	near__entry *entry;
	const void *value;
	size_t value_size;
	uint64_t asof;
	int64_t fresh_until_ns;
	int64_t stale_until_ns; /* >= fresh_until_ns */
	uint64_t version;
	uint32_t delta_us;      /* measured cost of the load; 0: none */
	uint32_t flags;
	uint32_t tag_count;
	const near__tag *tags;  /* 8-byte aligned */
	bool marked_stale;      /* invalidated in place: only ever given back as stale */
} near__l1_view;

/* Sends for the set's lines, outside of any section: worth calling as soon as the hash is known. Changes nothing. */
void near__l1_prefetch(const near__l1 *l1, uint64_t hash);

/* Inside a section. True: the key is there and VALID, `view` is filled (also when its life is over: the caller judges,
 * as-of, life and mark). False: not there. Counts an access in the slot word; writes nothing shared on a saturated entry.
 * Wait-free but for a bounded number of retries when the slot changes underneath. */
bool near__l1_find(near__l1 *l1, uint64_t hash, const void *key, size_t key_size, int64_t now_ns, near__l1_view *view);

/* The same for a batch, with prefetching. views[i].entry is NULL where the key is not there. Inside a section. */
typedef struct near__l1_query {
	uint64_t hash;
	const void *key;
	size_t key_size;
} near__l1_query;
void near__l1_find_many(near__l1 *l1, const near__l1_query *queries, size_t count, int64_t now_ns, near__l1_view *views);

/* Inside the section that found it: keep the entry, so that the view's value stays where it is. NULL when it has too many
 * pins, or the host has no memory for 24 bytes. The pin holds the memory of the cache, too. */
near__pin *near__l1_pin(near__l1 *l1, const near__l1_view *view);
/* Any thread, also after near__l1_free. */
void near__l1_unpin(near__pin *pin);

typedef enum near__l1_mode {
	NEAR__L1_SET,
	NEAR__L1_ADD,       /* only if there is no live fresh entry */
	NEAR__L1_REPLACE,   /* only if there is one */
	NEAR__L1_IF_VERSION, /* only if there is one, of version `expected` */
	NEAR__L1_FILL        /* as SET, but no version is compared: as-of and fence decide alone. For what was read, whose
	                      * version may well be the one that is there and whose new life counts */
} near__l1_mode;

typedef struct near__l1_write {
	uint64_t hash;
	const void *key;
	size_t key_size;
	const void *value;
	size_t value_size;
	uint64_t asof;
	int64_t now_ns, fresh_until_ns, stale_until_ns;
	uint64_t version;    /* 0: none. NEAR__L1_SET of a version does nothing when the fresh entry's is the same or higher */
	uint32_t delta_us;
	uint32_t flags;
	uint32_t tag_count;
	const near__tag *tags;
	near__l1_mode mode;
	uint64_t expected;
	/* The coherence fence: asked after the entry is published (UNIQUE) and before it is VALID; false: something newer has
	 * overtaken it, drop it. NULL: no fence. */
	bool (*current)(void *ctx, const struct near__l1_write *write);
	void *ctx;
} near__l1_write;

typedef enum near__l1_outcome {
	NEAR__L1_INSTALLED,
	NEAR__L1_DECLINED,  /* no room, or too large: what was there before is gone all the same when the mode is SET or FILL */
	NEAR__L1_OVERTAKEN, /* the fence said no, or an invalidation aborted it */
	NEAR__L1_NEWER,     /* an entry with a higher as-of, or a version at or above ours, is there */
	NEAR__L1_PRESENT,   /* ADD */
	NEAR__L1_ABSENT,    /* REPLACE, IF_VERSION */
	NEAR__L1_MISMATCH   /* IF_VERSION */
} near__l1_outcome;

/* Not inside a section. Lock-free outside jemalloc's locks. Evicts for room, a bounded number of times. */
near__l1_outcome near__l1_put(near__l1 *l1, const near__l1_write *write);

/* Takes the key's entries with asof < `below` out; with keep_stale, a VALID one that has a stale window left is marked
 * stale in place instead. Entries not yet VALID are aborted. Returns how many it touched. Not inside a section. */
unsigned near__l1_drop(near__l1 *l1, uint64_t hash, const void *key, size_t key_size, uint64_t below, bool keep_stale,
                       int64_t now_ns);

/* New lives for the VALID entry with this as-of and without flags, in place. False: no such entry. */
bool near__l1_touch(near__l1 *l1, uint64_t hash, const void *key, size_t key_size, uint64_t asof,
                    int64_t fresh_until_ns, int64_t stale_until_ns);

/* Everything out. */
void near__l1_clear(near__l1 *l1);

/* Housekeeping in small steps: moves on a growth of the table, sweeps for expired entries, collects the retired, trims,
 * evicts while over the limit. Called from one thread every few milliseconds. Returns true while there is more to do now.*/
bool near__l1_maintain(near__l1 *l1, int64_t now_ns);

/* Fills the gauges that L1 knows. */
void near__l1_gauges(near__l1 *l1, near_stats *stats);
/* False: out of reach. Evicts until the bound holds. */
bool near__l1_set_limit(near__l1 *l1, uint64_t memory_bytes);
void near__l1_set_payload_limit(near__l1 *l1, uint64_t payload_limit);

#endif
