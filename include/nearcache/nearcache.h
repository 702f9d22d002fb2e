/* nearcache: a coherent two-tier cache for C workers.
 *
 *   worker -> L1 (lock-free table in this process, bounded memory) -> L2 (Redis) -> your loader
 *
 * Every change is committed in Redis together with a sequence number and broadcast; every process applies the changes
 * in sequence or knows that it has missed some. A value from L1 is served as fresh only while the process holds a
 * freshness lease, so no process serves a value whose invalidation was acknowledged more than NEARCACHE_LEASE_MS ago
 * without saying NEAR_STALE.
 *
 * Conventions of every call below unless it says otherwise
 *   Sizes are bytes. Keys are any bytes, 1..NEAR_KEY_MAX long. Times are milliseconds.
 *   The cache keeps no pointer of the caller's after a call returns.
 *   Any number of threads may use one cache at once. Outputs are written only on NEAR_OK and NEAR_STALE.
 *   A `call` of NULL means the cache's own settings.
 *   NEAR_E_USAGE answers an argument outside its range; nothing has happened then.
 */
#ifndef NEARCACHE_NEARCACHE_H
#define NEARCACHE_NEARCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEAR_VERSION_MAJOR 0
#define NEAR_VERSION_MINOR 1
#define NEAR_VERSION_PATCH 0

#define NEAR_KEY_MAX 1024
#define NEAR_TAGS_MAX 16
#define NEAR_TAG_MAX 128

#if defined(__GNUC__)
#define NEAR_API __attribute__((visibility("default")))
#define NEAR_MUST_USE __attribute__((warn_unused_result))
#else
#define NEAR_API
#define NEAR_MUST_USE
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ status */

/* Answers. Zero and above: the cache did its work. Below zero: it could not, and says why. */
typedef enum near_status {
	NEAR_OK = 0,
	NEAR_MISS = 1,     /* no value, and for a load: the source has none */
	NEAR_STALE = 2,    /* a value, but one that can not be vouched for; given only to those who asked for it */
	NEAR_QUEUED = 3,   /* Redis is away: this process has it, the others learn of it when Redis is back */
	NEAR_EXISTS = 4,   /* near_add: the key is there already */
	NEAR_CONFLICT = 5, /* near_put_if_version, or a put with a version: another version is there */

	NEAR_E_USAGE = -1,       /* an argument outside its range */
	NEAR_E_CONFIG = -2,      /* an option or environment variable; near_error names it */
	NEAR_E_NOSPACE = -3,     /* the caller's buffer is too small; item.value_size says the need */
	NEAR_E_NOMEM = -4,       /* the system gave no memory */
	NEAR_E_TOO_LARGE = -5,   /* the value is larger than NEARCACHE_VALUE_MAX */
	NEAR_E_TIMEOUT = -6,     /* the deadline passed */
	NEAR_E_BUSY = -7,        /* too much waits for Redis already */
	NEAR_E_UNAVAILABLE = -8, /* Redis cannot be reached, or refuses (near_last_error says how) */
	NEAR_E_REDIS = -9,       /* Redis answered with an error, or with something unexpected */
	NEAR_E_LOADER = -10,     /* the loader failed and nothing stale could stand in */
	NEAR_E_SYSTEM = -11      /* a system call failed (threads, address space) */
} near_status;

/* "OK", "MISS", "E_TIMEOUT": the name without its prefix. Never NULL; static storage. */
NEAR_API const char *near_status_name(near_status status);
/* One plain sentence. Never NULL; static storage. */
NEAR_API const char *near_status_text(near_status status);
/* "0.1.0" of the library that runs, not of this header. */
NEAR_API const char *near_version(void);

/* ----------------------------------------------------------------- options */

typedef enum near_evict { NEAR_EVICT_OBJECTS = 0, NEAR_EVICT_BALANCED = 1, NEAR_EVICT_BYTES = 2 } near_evict;

typedef enum near_event_kind {
	NEAR_EVENT_EVICTED = 1,      /* an entry went for room; key, value_size */
	NEAR_EVENT_STALE_SERVED = 2, /* key */
	NEAR_EVENT_FLUSH = 3,        /* shard: the log could not prove completeness */
	NEAR_EVENT_GAP = 4,          /* shard: messages were missed and are being replayed */
	NEAR_EVENT_DEGRADED = 5,     /* Redis lost; text says how */
	NEAR_EVENT_RECOVERED = 6     /* Redis back */
} near_event_kind;

typedef struct near_event {
	size_t struct_size;
	near_event_kind kind;
	unsigned shard;
	const void *key; /* valid during the callback only */
	size_t key_size;
	size_t value_size;
	const char *text;
} near_event;

typedef enum near_log_level { NEAR_LOG_ERROR = 0, NEAR_LOG_WARN = 1, NEAR_LOG_INFO = 2, NEAR_LOG_DEBUG = 3 } near_log_level;

#define NEAR__FIELD_STRING const char *
#define NEAR__FIELD_COUNT uint64_t
#define NEAR__FIELD_SIZE uint64_t
#define NEAR__FIELD_MILLIS uint64_t
#define NEAR__FIELD_REAL double
#define NEAR__FIELD_FLAG uint64_t
#define NEAR__FIELD_EVICT uint64_t

/* What a cache is opened with. Set by near_options_init to the built-in defaults, then by the program; the environment
 * overrides both at near_open. Strings are copied by near_open. One field per line of nearcache/options.def. */
typedef struct near_options {
	size_t struct_size;
	/* Called from whichever thread meets the event, never under a lock of the cache's; must not block and must not call
	 * back into the cache. */
	void (*on_event)(void *ctx, const near_event *event);
	void (*on_log)(void *ctx, near_log_level level, const char *text);
	void *hook_ctx;
	uint64_t ignore_environment; /* 1: only the program's options count */
#define NEAR_OPTION(kind, field, env, def, least, most, unit, sentence) NEAR__FIELD_##kind field;
#include <nearcache/options.def>
#undef NEAR_OPTION
} near_options;

#define near_options_init(options) near_options_init_sized((options), sizeof(near_options))
NEAR_API void near_options_init_sized(near_options *options, size_t struct_size);

/* Why an open failed: names the option or variable, its value and what would be right. */
typedef struct near_error {
	char text[512];
} near_error;

/* ------------------------------------------------------------------- cache */

typedef struct near_cache near_cache;

/* Opens a cache. It does not wait for Redis: the cache works at once and is coherent as soon as Redis answers.
 * `options` may be NULL, `error` too.
 * Returns: NEAR_OK; NEAR_E_CONFIG (error->text names the variable, the value and the range), NEAR_E_NOMEM,
 * NEAR_E_SYSTEM. */
NEAR_API NEAR_MUST_USE near_status near_open(const near_options *options, near_cache **cache, near_error *error);

/* fork(): a cache may be used in the child: the first call there opens it anew, with an empty L1 and threads and connections
 * of its own. Pins and values of the parent stay valid in the child. A child that only execs costs nothing. */

/* Sends what the journal holds if Redis answers within the deadline, stops the cache's threads and frees it. No other
 * call may be running or follow; pins stay valid until they are given back. NULL is allowed. */
NEAR_API void near_close(near_cache *cache);

/* Changes the memory bound. Lowering evicts at once in steps; the bound holds from when the call returns NEAR_OK.
 * Returns: NEAR_OK; NEAR_E_USAGE below 16 MiB or above what was reserved (4 times the bound at open). */
NEAR_API NEAR_MUST_USE near_status near_set_memory(near_cache *cache, uint64_t memory_bytes);

/* Waits until Redis answers or the deadline passes. Returns: NEAR_OK (also without a Redis URL), NEAR_E_UNAVAILABLE,
 * NEAR_E_TIMEOUT. */
NEAR_API NEAR_MUST_USE near_status near_ping(near_cache *cache, uint64_t deadline_ms);

/* Waits until this process holds its freshness lease (L1 can serve) or the deadline passes.
 * Returns: NEAR_OK (also without a Redis URL), NEAR_E_TIMEOUT. */
NEAR_API NEAR_MUST_USE near_status near_wait_ready(near_cache *cache, uint64_t deadline_ms);

/* ------------------------------------------------------------------- calls */

typedef enum near_flag {
	NEAR_STALE_ALLOWED = 1 << 0, /* a stale value is welcome, as NEAR_STALE; near_load then loads behind the caller */
	NEAR_NO_L1 = 1 << 1,         /* neither look in L1 nor fill it */
	NEAR_NO_L2 = 1 << 2,         /* do not ask Redis for data (an invalidation still goes there) */
	NEAR_REFRESH = 1 << 3        /* near_load: run the loader although a fresh value is there */
} near_flag;

/* Settings of one call; zero means the cache's own. */
typedef struct near_call {
	size_t struct_size;
	uint32_t flags;       /* near_flag, or-ed */
	uint32_t deadline_ms; /* for Redis, and in near_load for a load that somebody else runs */
	uint64_t ttl_ms;      /* life of the value that is put or loaded */
	uint64_t stale_ms;    /* its stale window; NEAR_NO_STALE for none */
	uint64_t version;     /* of the value; a put of a version does nothing when the same or a higher one is there */
	double beta;          /* XFetch; below 0: never early */
	const char *const *tags;
	size_t tag_count;
} near_call;
#define NEAR_NO_STALE UINT64_MAX
#define NEAR_CALL_INIT { .struct_size = sizeof(near_call) }

typedef enum near_source { NEAR_FROM_NONE = 0, NEAR_FROM_L1 = 1, NEAR_FROM_L2 = 2, NEAR_FROM_LOADER = 3 } near_source;

/* What is known of a value that was found. */
typedef struct near_item {
	size_t value_size;
	uint64_t version; /* 0: none */
	int64_t ttl_ms;   /* remaining life as a fresh value; at or below 0: stale */
	near_source source;
} near_item;

/* Looks up `key` in L1, then in L2, and copies the value into `buf`.
 * Units:   buf_size in bytes; `item` may be NULL, `buf` only with buf_size 0.
 * Threads: an L1 hit takes no lock and allocates nothing; a miss may wait for Redis until the deadline.
 * Returns: NEAR_OK, NEAR_MISS, NEAR_STALE; NEAR_E_NOSPACE (item->value_size tells the need, nothing is copied).
 *          Redis away or slow is a NEAR_MISS for a get: it is counted (l2_errors), and near_last_error tells. */
NEAR_API NEAR_MUST_USE near_status near_get(near_cache *cache, const void *key, size_t key_size, void *buf,
                                            size_t buf_size, near_item *item);
NEAR_API NEAR_MUST_USE near_status near_get_with(near_cache *cache, const void *key, size_t key_size,
                                                 const near_call *call, void *buf, size_t buf_size, near_item *item);

/* A value held without copying. It outlives replacement, removal and near_close, and counts against the bound until
 * near_unpin. The bytes never change. */
typedef struct near_pin {
	const void *value;
	size_t value_size;
	near_item item;
	void *held; /* the library's own */
} near_pin;
NEAR_API NEAR_MUST_USE near_status near_get_pinned(near_cache *cache, const void *key, size_t key_size,
                                                   const near_call *call, near_pin *pin);
/* Gives a pin back; a second call on the same pin does nothing. */
NEAR_API void near_unpin(near_pin *pin);

/* One key of a batch: the first four fields are the caller's, the others the answer. */
typedef struct near_lookup {
	const void *key;
	size_t key_size;
	void *buf;
	size_t buf_size;
	near_status status;
	near_item item;
} near_lookup;
/* Looks up a batch: L1 with prefetching, then all misses in one round trip to Redis.
 * Returns: NEAR_OK when every status has been set; NEAR_E_USAGE. */
NEAR_API NEAR_MUST_USE near_status near_get_many(near_cache *cache, near_lookup *lookups, size_t count,
                                                 const near_call *call);

/* Is there a fresh value? NEAR_OK, NEAR_MISS. */
NEAR_API NEAR_MUST_USE near_status near_exists(near_cache *cache, const void *key, size_t key_size,
                                               const near_call *call);
/* The remaining life. NEAR_OK, NEAR_MISS. */
NEAR_API NEAR_MUST_USE near_status near_ttl(near_cache *cache, const void *key, size_t key_size, const near_call *call,
                                            uint64_t *ttl_ms);

/* Puts a value, here and in Redis, and makes every other process forget its own copy.
 * After a write to the database prefer near_invalidate: two writers' puts may reach Redis in another order than their
 * commits reached the database; or give both a version.
 * Returns: NEAR_OK; NEAR_QUEUED (Redis away: this process has it, in Redis the key is invalidated on return);
 * NEAR_CONFLICT (call->version set, and the same or a higher one is there); NEAR_E_TOO_LARGE, NEAR_E_BUSY. */
NEAR_API NEAR_MUST_USE near_status near_put(near_cache *cache, const void *key, size_t key_size, const void *value,
                                            size_t value_size, const near_call *call);
/* Puts only if there is no fresh value: NEAR_OK, NEAR_EXISTS. Needs Redis where one is configured: NEAR_E_UNAVAILABLE. */
NEAR_API NEAR_MUST_USE near_status near_add(near_cache *cache, const void *key, size_t key_size, const void *value,
                                            size_t value_size, const near_call *call);
/* Puts only if there is a fresh value: NEAR_OK, NEAR_MISS. Needs Redis where one is configured. */
NEAR_API NEAR_MUST_USE near_status near_replace(near_cache *cache, const void *key, size_t key_size, const void *value,
                                                size_t value_size, const near_call *call);
/* Puts, with version call->version, only if the fresh value there has version `expected`: NEAR_OK, NEAR_MISS,
 * NEAR_CONFLICT. Needs Redis where one is configured. */
NEAR_API NEAR_MUST_USE near_status near_put_if_version(near_cache *cache, const void *key, size_t key_size,
                                                       const void *value, size_t value_size, uint64_t expected,
                                                       const near_call *call);
/* Gives a fresh value a new life without changing it; nobody drops it. NEAR_OK, NEAR_MISS. */
NEAR_API NEAR_MUST_USE near_status near_touch(near_cache *cache, const void *key, size_t key_size, uint64_t ttl_ms,
                                              const near_call *call);

/* The source of `key` has changed: nobody serves the old value as fresh; a load may fall back on it within its stale
 * window if the source fails.
 * Returns: NEAR_OK: acknowledged by Redis, and every process has dropped it as soon as it reads the message and no later
 * than the freshness lease; NEAR_QUEUED: Redis away, it goes out first on return. */
NEAR_API NEAR_MUST_USE near_status near_invalidate(near_cache *cache, const void *key, size_t key_size,
                                                   const near_call *call);
/* The same, and no stale value stays behind. */
NEAR_API NEAR_MUST_USE near_status near_remove(near_cache *cache, const void *key, size_t key_size,
                                               const near_call *call);
/* Invalidates all values that were put or loaded with `tag`, whatever their number, at once and with the same promise as
 * near_invalidate. NEAR_OK, NEAR_QUEUED. */
NEAR_API NEAR_MUST_USE near_status near_invalidate_tag(near_cache *cache, const char *tag, const near_call *call);

/* What a loader brings; filled by its calls of near_loaded_set and the fields. */
typedef struct near_loaded {
	size_t struct_size;
	uint64_t ttl_ms;   /* 0: as the call said */
	uint64_t version;  /* 0: none */
	void *internal;
} near_loaded;
/* Hands a copy of the value over. May be called again: the last one counts. NEAR_OK, NEAR_E_TOO_LARGE, NEAR_E_NOMEM. */
NEAR_API NEAR_MUST_USE near_status near_loaded_set(near_loaded *loaded, const void *value, size_t value_size);

/* Reads the source. Returns NEAR_OK after near_loaded_set, NEAR_MISS when the source has no such thing, or any error.
 * Runs on the caller's thread, or on a thread of the cache's for a refresh before expiry: `ctx` must stay valid until
 * near_close when refreshes are on. */
typedef near_status (*near_loader)(void *ctx, const void *key, size_t key_size, near_loaded *loaded);

/* The value from L1, L2 or, at last, the loader: one run per key in this process and, while Redis answers, one in all
 * processes. A value near its expiry is refreshed in the background (XFetch: Vattani, Chierichetti, Lowenstein, PVLDB
 * 8(8), 2015) while the caller gets the one that is there.
 * Returns: NEAR_OK; NEAR_MISS (the source has none); NEAR_STALE (the source failed, or the flag allows it);
 * NEAR_E_LOADER, NEAR_E_TIMEOUT (somebody else's load did not end in time), NEAR_E_NOSPACE. */
NEAR_API NEAR_MUST_USE near_status near_load(near_cache *cache, const void *key, size_t key_size, near_loader loader,
                                             void *ctx, const near_call *call, void *buf, size_t buf_size,
                                             near_item *item);
/* The same without a copy. */
NEAR_API NEAR_MUST_USE near_status near_load_pinned(near_cache *cache, const void *key, size_t key_size,
                                                    near_loader loader, void *ctx, const near_call *call,
                                                    near_pin *pin);

/* --------------------------------------------------------------- seeing it */

/* One field per line of nearcache/stats.def. */
typedef struct near_stats {
	size_t struct_size;
#define NEAR_STAT(kind, field, help) uint64_t field;
#include <nearcache/stats.def>
#undef NEAR_STAT
} near_stats;

#define near_stats_get(cache, stats) near_stats_get_sized((cache), (stats), sizeof(near_stats))
NEAR_API void near_stats_get_sized(near_cache *cache, near_stats *stats, size_t struct_size);

/* Latencies that a cache keeps, in nanoseconds. */
typedef enum near_latency {
	NEAR_LATENCY_L2 = 0,          /* a round trip to Redis */
	NEAR_LATENCY_LOAD = 1,        /* a run of a loader */
	NEAR_LATENCY_INVALIDATE = 2,  /* an invalidation until acknowledged */
	NEAR_LATENCY_STALE_AGE = 3,   /* how long past its life a stale value was served */
	NEAR_LATENCY_COUNT = 4
} near_latency;
/* The latency below which `quantile` (0..1) of the samples lie, in ns; 0 without samples. */
NEAR_API uint64_t near_latency_ns(near_cache *cache, near_latency which, double quantile);

/* All figures as one JSON object, or as Prometheus text. Returns the length needed without the final NUL; writes at most
 * buf_size bytes, always NUL-terminated. */
NEAR_API size_t near_stats_json(near_cache *cache, char *buf, size_t buf_size);
NEAR_API size_t near_stats_prometheus(near_cache *cache, char *buf, size_t buf_size);

/* Every option with value, source (default, program, environment), unit and meaning, as JSON; the ACL rule that suffices
 * for the library's user in Redis under "acl". Same return as near_stats_json. */
NEAR_API size_t near_config_json(near_cache *cache, char *buf, size_t buf_size);

/* The state of the freshness lease as JSON: per shard incarnation, applied sequence, time left. */
NEAR_API size_t near_lease_json(near_cache *cache, char *buf, size_t buf_size);

/* The last trouble with Redis in words, "" without; copied into `buf`. */
NEAR_API size_t near_last_error(near_cache *cache, char *buf, size_t buf_size);

#ifdef __cplusplus
}
#endif
#endif
