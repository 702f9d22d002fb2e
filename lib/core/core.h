/* Core: the only room that composes the others. L1 knows no Redis, coherence knows no values, l2 sends nothing; here they
 * become one cache.
 *
 *   read.c     get, exists, ttl: L1, judged, then L2, fenced into L1; batch.c the same for many
 *   write.c    put and its conditional forms, touch, invalidate, remove, tags
 *   load.c     L1, L2, loader: single flight (flight.c), load token, XFetch (refresh.c)
 *   journal.c  invalidations that Redis has not acknowledged yet
 *   fence.h    what this process itself has written, for fills that are under way
 *   sink.c     how a value reaches the caller: copied or pinned
 *   news.c     what the coherence room reports
 *   house.c    the cache's own threads
 *   cache.c    open, close
 *   report.c   figures, configuration, lease as text
 *
 * Three positions guard a value on its way into L1:
 *   as-of    p0, the shard's position before the value was read: every later invalidation of another process has a higher
 *            one, and the fence (coherence's iv) or the drop that follows it refuses or removes the value
 *   ticket   the local fence's count before the value was read: an invalidation of our own raises it although Redis has
 *            not numbered it (Redis away, no Redis at all)
 *   the L1 entry's state  decides between a fill and a drop that meet in the table
 */
#ifndef NEAR_CORE_CORE_H
#define NEAR_CORE_CORE_H

#include <pthread.h>
#include "base/clock.h"
#include "base/hash.h"
#include "base/options.h"
#include "coherence/coherence.h"
#include "core/fence.h"
#include "l1/l1.h"
#include "l2/l2.h"

/* In L1 flags: beside NEAR__ENTRY_NEGATIVE. The value was read while Redis was away: it is fresh for one lease from the
 * beginning of its read by itself, so the lease is not asked. */
#define NEAR__ENTRY_ALONE ((uint32_t)NEAR__ENTRY_CALLER)

typedef struct near__flights near__flights;
typedef struct near__refresh near__refresh;
typedef struct near__journal near__journal;
typedef struct near__house near__house;

struct near_cache {
	near__l1 *l1;
	near__coherence *coherence; /* NULL: a single process */
	near__stats *stats;
	near__redis *redis;         /* of coherence */
	near__journal *journal;     /* NULL without coherence */
	near__flights *flights;
	near__refresh *refresh;
	near__house *house;
	near__settings settings;
	near__log log;
	char prefix[NEAR__PREFIX_MAX];
	_Atomic(bool) degraded;
	_Atomic(uint32_t) courier_word; /* futex: the courier of the journal sleeps on it */
	_Atomic(uint32_t) generation; /* of near__forks: in which process the rooms were opened */
	near__fence fence;
};

/* A key on its way: the local hash is always there, the shared one and the shard on demand. */
typedef struct near__key {
	const void *bytes;
	size_t size;
	uint64_t local;
	uint64_t shared;
	unsigned shard;
	bool has_shared;
} near__key;

static inline near__key near__key_make(const void *bytes, size_t size)
{
	return (near__key){ .bytes = bytes, .size = size, .local = near__hash_local(bytes, size) };
}
static inline void near__key_share(const near_cache *cache, near__key *key)
{
	if (key->has_shared)
		return;
	key->shared = near__hash_shared(key->bytes, key->size);
	key->shard = cache->coherence != NULL ? near__coherence_shard(cache->coherence, key->shared) : 0;
	key->has_shared = true;
}

/* The settings of one call with the cache's filled in. */
typedef struct near__terms {
	uint32_t flags;
	bool stale_allowed;
	int64_t begun_ns, deadline_ns, wait_deadline_ns;
	uint64_t ttl_ms, stale_ms, version;
	double beta;
	uint32_t tag_count;
	near__tag tags[NEAR_TAGS_MAX];
} near__terms;

/* NEAR_OK, NEAR_E_USAGE (a tag of wrong length, too many tags). */
near_status near__terms_make(const near_cache *cache, const near_call *call, near__terms *terms);
/* A life shortened by the jitter. */
uint64_t near__terms_jitter(const near_cache *cache, uint64_t ttl_ms);

/* What was known before a value was read; what a fill is fenced by. */
typedef struct near__before {
	near__pos asof;
	uint64_t incarnation;
	uint64_t ticket;
	int64_t read_ns;
	bool tags_known; /* the shard's lease was held: no invalidation of a tag is missing here for longer than it; or Redis
	                  * itself has judged the value's tags */
} near__before;
/* Order matters: position first, then incarnation (a value of the old incarnation is never taken for the new one). */
void near__before_take(near_cache *cache, near__key *key, near__before *before);
/* False: something has overtaken what was read since. */
bool near__before_holds(const near_cache *cache, const near__key *key, const near__before *before);

/* A value that was found outside L1 and how long it lives. */
typedef struct near__found {
	const void *value;
	size_t value_size;
	uint64_t version;
	uint64_t created_ms;   /* Redis's clock */
	uint32_t delta_us, flags; /* NEAR__ENTRY_NEGATIVE, NEAR__ENTRY_ALONE */
	int64_t fresh_until_ns, stale_until_ns;
	uint32_t tag_count;
	near__tag tags[NEAR_TAGS_MAX];
} near__found;

typedef enum near__verdict { NEAR__NONE, NEAR__STALE, NEAR__FRESH } near__verdict;

/* Lease: asked before the entry is loaded, the shortest one first. A lease that is asked afterwards may have been earned by
 * dropping that very entry. */
static inline bool near__leased(near_cache *cache, near__key *key, int64_t now_ns)
{
	if (cache->coherence == NULL || NEAR_LIKELY(now_ns < near__coherence_lease_until(cache->coherence)))
		return true;
	near__key_share(cache, key);
	return now_ns < near__coherence_shard_lease_until(cache->coherence, key->shard);
}
/* What an L1 entry is worth now. Inside the section that found it. `leased`: near__leased before it was found. */
near__verdict near__judge(near_cache *cache, near__key *key, bool leased, int64_t now_ns, const near__l1_view *view);

/* Decodes what Redis holds; NONE: nothing usable. `sum` gets the envelope's checksum (0 when there is none). */
near__verdict near__decode(near_cache *cache, near__key *key, const near__before *before, const void *bytes, size_t size,
                           near__found *found, uint64_t *sum);
/* The order to L1 for a value that was found: NEAR__L1_FILL as of `asof`, without a fence. */
near__l1_write near__write_make(const near__key *key, const near__found *found, near__pos asof);
/* Puts what was found into L1 under its fence. Returns L1's outcome. */
near__l1_outcome near__install(near_cache *cache, const near__key *key, const near__before *before,
                               const near__found *found);
/* Encodes; *bytes is malloc'd. `fresh_ms` from now. NEAR_OK, NEAR_E_NOMEM, NEAR_E_UNAVAILABLE (no clock of Redis yet). */
near_status near__encode(near_cache *cache, const near__key *key, const near__before *before, const near__found *found,
                         uint64_t fresh_ms, void **bytes, size_t *size);
/* True when Redis may be asked for this key now: connected, not journaled. */
bool near__l2_usable(near_cache *cache, near__key *key);
/* Names in Redis for a step. */
typedef struct near__names {
	char data[NEAR__NAME_MAX], token[NEAR__NAME_MAX];
} near__names;
near__step near__step_make(near_cache *cache, near__key *key, int64_t deadline_ns, near__names *names);

/* Delivery. */
typedef struct near__sink {
	void *buf;
	size_t buf_size;
	near_item *item;
	near_pin *pin; /* set: pin instead of copying */
} near__sink;
/* From L1, inside the section. Returns `status`, NEAR_E_NOSPACE or NEAR_E_NOMEM. */
near_status near__sink_view(near_cache *cache, const near__sink *sink, const near__l1_view *view, int64_t now_ns,
                            near_status status);
near_status near__sink_bytes(const near__sink *sink, const void *value, size_t value_size, uint64_t version,
                             int64_t ttl_ms, near_source source, near_status status);
void near__sink_unpin(near_pin *pin);

/* Delivers what Redis's bytes hold when it is fresh, and installs it. NEAR_E_UNAVAILABLE: it is not. */
near_status near__take(near_cache *cache, near__key *key, const near__terms *terms, const near__sink *sink,
                       const near__before *before, const void *bytes, size_t size);

/* Events for the program. */
void near__tell(near_cache *cache, near_event_kind kind, unsigned shard, const void *key, size_t key_size,
                size_t value_size, const char *text);
void near__tell_stale(near_cache *cache, const near__key *key, int64_t age_ns);

/* fork.c: forks that lead to this process. A cache whose generation is another one was opened by an ancestor. */
extern _Atomic(uint32_t) near__forks;
near_status near__cache_revive(near_cache *cache);
static inline near_status near__cache_here(near_cache *cache)
{
	/* relaxed: forks changes only while this process has one thread. CACHE-REVIVED, acquire: near__cache_revive. */
	uint32_t now = atomic_load_explicit(&near__forks, memory_order_relaxed);
	if (NEAR_LIKELY(atomic_load_explicit(&cache->generation, memory_order_acquire) == now))
		return NEAR_OK;
	return near__cache_revive(cache);
}
/* Opens the rooms of a cache whose settings are made. On failure those that were opened are closed again. */
near_status near__rooms_open(near_cache *cache, near_error *error);

/* The calls of the API, arguments checked. */
near_status near__open(const near_options *options, near_cache **cache, near_error *error);
void near__close(near_cache *cache);
near_status near__get(near_cache *cache, const void *key, size_t key_size, void *buf, size_t buf_size, near_item *item);
near_status near__get_with(near_cache *cache, near__key *key, const near__terms *terms, const near__sink *sink);
void near__get_many(near_cache *cache, near_lookup *lookups, size_t count, const near__terms *terms);
near_status near__ttl(near_cache *cache, near__key *key, const near__terms *terms, uint64_t *ttl_ms);
near_status near__put(near_cache *cache, near__key *key, const void *value, size_t value_size, near__l1_mode mode,
                      uint64_t expected, const near__terms *terms);
near_status near__touch(near_cache *cache, near__key *key, uint64_t ttl_ms, const near__terms *terms);
near_status near__invalidate(near_cache *cache, near__key *key, near__change change, const near__terms *terms);
near_status near__invalidate_tag(near_cache *cache, near__tag tag, const near__terms *terms);
near_status near__load(near_cache *cache, near__key *key, near_loader loader, void *ctx, const near__terms *terms,
                       const near__sink *sink);
/* The parts of a load that L1 answers. NEAR_E_UNAVAILABLE: it does not. */
near_status near__load_hit(near_cache *cache, near__key *key, near_loader loader, void *ctx, const near__terms *terms,
                           const near__sink *sink);
near_status near__stale_from_l1(near_cache *cache, near__key *key, const near__sink *sink);
bool near__stale_in_l1(near_cache *cache, near__key *key);
near_status near__ping(near_cache *cache, int64_t deadline_ns);
near_status near__wait_ready(near_cache *cache, int64_t deadline_ns);
void near__figures(near_cache *cache, near_stats *stats);
size_t near__config_json(near_cache *cache, char *buf, size_t buf_size);

/* News of the coherence room, with the cache as ctx. */
extern const near__coherence_news near__news;

/* What a loader handed over. */
typedef struct near__loaded_value {
	void *bytes;
	size_t size, size_max;
} near__loaded_value;

#endif
