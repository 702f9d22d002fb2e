/* Memory of one cache: jemalloc arenas over one reserved range.
 *
 *   near__mem_alloc -> mallocx in one of up to 4 arenas -> slab or large extent
 *                                                             | extent hooks (this file)
 *                                                             v
 *                          lock { account, near__range_find, near__range_take }
 *
 * The account. `mapped` is one number, changed under the lock only:
 *
 *   mapped = pages the arenas hold + bytes charged (the table) + metadata     <= limit, at every moment
 *
 * An extent that would pass the limit is refused before it is carved, so the bound holds by construction and mapped_max is
 * exact. Metadata is what the allocator keeps for itself outside of the extents, and it counts as it comes into being:
 *   - the arena's own structures, as jemalloc reports them right after the arena was made, and SLACK_BYTES for the rest;
 *   - EXTENT_BYTES for each extent beyond the most that the arena has had at once: jemalloc's edata_t, never given back;
 *   - CHUNK_BYTES for each chunk used for the first time: a leaf page of jemalloc's radix tree, and the books of the range.
 * (jemalloc asks for its structures in blocks of 2 MiB and more, of which it touches a small part. They come from the side
 * of the range; charged in whole they would be a quarter of the smallest cache.)
 *
 * What is freed comes back at once. The arenas keep no freed extents: dirty_decay_ms and muzzy_decay_ms are 0, so an empty
 * slab goes to the dalloc hook in the very call that emptied it, and lowers `mapped` there. That costs no system call,
 * because the range keeps the pages resident for the next extent, of any size and any arena. So memory freed by small
 * blocks serves large ones and the other way round, with nothing to be trimmed or waited for; all coalescing is the
 * range's. Two things in jemalloc would be in the way, and both are told off by the alloc hook:
 *   - `retain` makes it ask for ever larger extents and keep what it does not need. Such a request comes with
 *     *commit == false; it is refused, and jemalloc asks again for exactly what it needs.
 *   - a thread that purges keeps another one from purging meanwhile, so that single freed extents may linger. A refused
 *     allocation purges the arenas once and tries again.
 *
 * Options of the allocator. The build links a private copy of jemalloc; its options are set here, in the one place that
 * comes after the environment, so the host's MALLOC_CONF is not about our copy. `cache_oblivious` would add a page to
 * every block of 16 KiB and more; 5.3 cannot be told so by an option, only by its variable.
 *
 * Threads. Any. Locks: jemalloc's own, and inside the hooks ours; nothing is called under ours but madvise(2). An
 * allocation that finds its arena full tries the others, because the room may be in a slab of theirs.
 *
 * The end. Pins outlive the cache: `holds` counts the creator and every pin. The last release destroys the arenas, then
 * unmaps.
 *
 * Costs: see tests/unit/base/test_mem.c (`ns`). A pair of alloc and free of 160 bytes is about 35 ns.
 * Sources: jemalloc 5.3.0: src/extent.c, src/pac.c, src/base.c, src/arena.c.
 */
#include "base/mem.h"

#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/base.h"
#include "base/range.h"

#define ARENAS_MAX 4
#define ARENA_LIMIT_BYTES (UINT64_C(64) << 20) /* an arena more for each of these, up to the number of processors */
#define EXTENT_BYTES 128
#define CHUNK_BYTES (4096 + 256)
#define SLACK_BYTES 16384
#define SIDE_BYTES_MIN (UINT64_C(64) << 20)
#define BLOCK_MIN NEAR__REF_UNIT /* a class of 8 bytes would break the alignment */
#define LARGE_ALIGNMENT NEAR__CHUNK

static_assert((UINT64_C(1) << NEAR__REF_BITS) * NEAR__REF_UNIT == UINT64_C(256) << 30, "references reach 256 GiB");

typedef struct arena {
	unsigned id;
	int flags;
	uint64_t extents, extents_max;
} arena;

struct near__mem {
	extent_hooks_t hooks; /* first: the hooks get its address */
	pthread_mutex_t lock;
	near__range range;
	arena arena[ARENAS_MAX];
	unsigned arena_count;
	uint64_t charged_bytes, metadata_bytes;
	_Atomic(uint64_t) limit_bytes, mapped_bytes, mapped_bytes_max;
	_Atomic(uint64_t) gives, purged_at; /* extents given back; how many there were at the last purge */
	_Atomic(uint32_t) holds;
};

/* For the private copy; hidden, so that a jemalloc of the host's has nothing to do with them. */
extern const char *near__jemalloc_conf __asm__("malloc_conf_2_conf_harder") __attribute__((visibility("hidden")));
const char *near__jemalloc_conf = "retain:false,tcache:false,narenas:1,dirty_decay_ms:0,muzzy_decay_ms:0,"
                                  "oversize_threshold:0,background_thread:false,hpa:false,zero:false,junk:false";
extern bool near__jemalloc_cache_oblivious __asm__("je_opt_cache_oblivious")
	__attribute__((weak, visibility("hidden")));
__attribute__((constructor(101))) static void before_jemalloc(void)
{
	if (&near__jemalloc_cache_oblivious != NULL)
		near__jemalloc_cache_oblivious = false;
}

#ifdef NEARCACHE_TEST_HOOKS
bool (*near__mem_refuse)(near__mem_step step);
#define REFUSED(step) (near__mem_refuse != NULL && near__mem_refuse(step))
#else
#define REFUSED(step) false
#endif

#ifdef NEAR__ASAN
#include <sanitizer/asan_interface.h>
#define POISON(at, size) ASAN_POISON_MEMORY_REGION((at), (size))
#define UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION((at), (size))
#else
#define POISON(at, size) ((void)0)
#define UNPOISON(at, size) ((void)0)
#endif

/* ------------------------------------------------------------------ the account */

/* All of these under the lock. */
static bool account(near__mem *mem, uint64_t bytes)
{
	uint64_t mapped = atomic_load_explicit(&mem->mapped_bytes, memory_order_relaxed);
	uint64_t limit = atomic_load_explicit(&mem->limit_bytes, memory_order_relaxed);
	if (mapped > limit || bytes > limit - mapped)
		return false;
	mapped += bytes;
	/* relaxed: readers want a number of about now; the lock orders the writers. */
	atomic_store_explicit(&mem->mapped_bytes, mapped, memory_order_relaxed);
	if (mapped > atomic_load_explicit(&mem->mapped_bytes_max, memory_order_relaxed))
		atomic_store_explicit(&mem->mapped_bytes_max, mapped, memory_order_relaxed);
	return true;
}

static void unaccount(near__mem *mem, uint64_t bytes)
{
	uint64_t mapped = atomic_load_explicit(&mem->mapped_bytes, memory_order_relaxed);
	NEAR_ASSERT(mapped >= bytes);
	atomic_store_explicit(&mem->mapped_bytes, mapped - bytes, memory_order_relaxed);
}

/* How many pages may be resident: what the bound leaves beside the table and the metadata. */
static uint64_t cap_pages(const near__mem *mem)
{
	uint64_t limit = atomic_load_explicit(&mem->limit_bytes, memory_order_relaxed);
	uint64_t other = mem->charged_bytes + mem->metadata_bytes;
	return limit > other ? (limit - other) / NEAR__PAGE : 0;
}

static uint64_t page_of(const near__mem *mem, const void *at)
{
	return (uint64_t)((const char *)at - mem->range.base) / NEAR__PAGE;
}

/* For when the cap fell: the bound was lowered, the metadata grew. */
static void keep_to_cap(near__mem *mem)
{
	uint64_t cap = cap_pages(mem);
	if (NEAR_UNLIKELY(mem->range.backed_pages > cap))
		near__range_shrink(&mem->range, cap);
}

static arena *arena_of(near__mem *mem, unsigned id)
{
	for (unsigned i = 0; i < mem->arena_count; i++)
		if (mem->arena[i].id == id)
			return &mem->arena[i];
	near__assert_failed("a hook is called for an arena of ours", __FILE__, __LINE__);
}

/* ------------------------------------------------------------------- the hooks */

static char *carve(near__mem *mem, size_t size, unsigned arena_id)
{
	uint64_t pages = size / NEAR__PAGE;
	uint64_t first = near__range_find(&mem->range, pages);
	if (first == NEAR__RANGE_NONE)
		return NULL;
	arena *a = arena_of(mem, arena_id);
	bool more = a->extents == a->extents_max;
	uint64_t metadata = near__range_unopened(&mem->range, first, pages) * CHUNK_BYTES + (more ? EXTENT_BYTES : 0);
	if (!account(mem, size + metadata))
		return NULL;
	mem->metadata_bytes += metadata;
	a->extents++;
	a->extents_max += more;
	near__range_take(&mem->range, first, pages, cap_pages(mem));
	keep_to_cap(mem);
	return mem->range.base + first * NEAR__PAGE;
}

static void *hook_alloc(extent_hooks_t *hooks, void *at, size_t size, size_t alignment, bool *zero, bool *commit,
                        unsigned arena_id)
{
	near__mem *mem = (near__mem *)hooks;
	if (at != NULL || !*commit || REFUSED(NEAR__MEM_EXTENT))
		return NULL; /* nothing grows in place; nothing is retained */
	bool metadata = alignment >= LARGE_ALIGNMENT; /* blocks are never that aligned */
	pthread_mutex_lock(&mem->lock);
	char *carved = metadata ? near__range_side(&mem->range, size) : carve(mem, size, arena_id);
	pthread_mutex_unlock(&mem->lock);
	if (carved == NULL)
		return NULL;
	if (!metadata && *zero)
		memset(carved, 0, size);
	*zero = *zero || metadata;
	*commit = true;
	return carved;
}

static void give(near__mem *mem, uint64_t offset, size_t size, unsigned arena_id)
{
	pthread_mutex_lock(&mem->lock);
	near__range_give(&mem->range, offset / NEAR__PAGE, size / NEAR__PAGE);
	arena *a = arena_of(mem, arena_id);
	NEAR_ASSERT(a->extents > 0);
	a->extents--;
	unaccount(mem, size);
	keep_to_cap(mem);
	pthread_mutex_unlock(&mem->lock);
	atomic_fetch_add_explicit(&mem->gives, 1, memory_order_relaxed);
}

static bool hook_dalloc(extent_hooks_t *hooks, void *at, size_t size, bool committed, unsigned arena_id)
{
	(void)committed;
	near__mem *mem = (near__mem *)hooks;
	uint64_t offset = (uint64_t)((char *)at - mem->range.base);
	if (offset < mem->range.reach_bytes) /* else a block of the side, at the end of its arena: unmapped with the rest */
		give(mem, offset, size, arena_id);
	return false; /* done */
}

/* The extent that this thread has just refused to split. */
static _Thread_local void *unsplit __attribute__((tls_model("initial-exec")));

/* An extent is about to become two, and the second needs an edata_t: at the bound there is no room for it. */
static bool hook_split(extent_hooks_t *hooks, void *at, size_t size, size_t size_a, size_t size_b, bool committed,
                       unsigned arena_id)
{
	(void)size, (void)size_b, (void)committed;
	near__mem *mem = (near__mem *)hooks;
	pthread_mutex_lock(&mem->lock);
	arena *a = arena_of(mem, arena_id);
	bool more = a->extents == a->extents_max;
	bool fits = !REFUSED(NEAR__MEM_SPLIT) && (!more || account(mem, EXTENT_BYTES));
	if (fits) {
		mem->metadata_bytes += more ? EXTENT_BYTES : 0;
		a->extents++;
		a->extents_max += more;
		near__range_split(&mem->range, page_of(mem, at) + size_a / NEAR__PAGE);
	}
	pthread_mutex_unlock(&mem->lock);
	unsplit = fits ? NULL : at;
	return !fits;
}

/* jemalloc forgets an extent that it could not split, and wants its pages purged before (extents_abandon_vm). That is the
 * only purge it asks us for, the arenas keeping nothing muzzy, and the moment to take the extent back. */
static bool hook_purge(extent_hooks_t *hooks, void *at, size_t size, size_t offset, size_t length, unsigned arena_id)
{
	near__mem *mem = (near__mem *)hooks;
	if (at == NULL || at != unsplit || offset != 0 || length != size)
		return true; /* not done */
	unsplit = NULL;
	give(mem, (uint64_t)((char *)at - mem->range.base), size, arena_id);
	return false;
}

static bool hook_merge(extent_hooks_t *hooks, void *at_a, size_t size_a, void *at_b, size_t size_b, bool committed,
                       unsigned arena_id)
{
	(void)at_a, (void)size_a, (void)size_b, (void)committed;
	near__mem *mem = (near__mem *)hooks;
	pthread_mutex_lock(&mem->lock);
	arena *a = arena_of(mem, arena_id);
	NEAR_ASSERT(a->extents > 1);
	a->extents--;
	near__range_merge(&mem->range, page_of(mem, at_b));
	pthread_mutex_unlock(&mem->lock);
	return false;
}

/* --------------------------------------------------------------------- arenas */

/* One of jemalloc's names about an arena, as in "arena.<id>.purge". */
static int control(const char *before, unsigned id, const char *after, void *old, size_t *old_size, void *new,
                   size_t new_size)
{
	char name[64];
	(void)snprintf(name, sizeof(name), "%s%u%s", before, id, after);
	return mallctl(name, old, old_size, new, new_size);
}

static size_t arena_figure(unsigned id, const char *what)
{
	size_t value = 0, size = sizeof(value);
	return control("stats.arenas.", id, what, &value, &size, NULL, 0) == 0 ? value : 0;
}

static void refresh_figures(void)
{
	uint64_t epoch = 1;
	size_t size = sizeof(epoch);
	(void)mallctl("epoch", &epoch, &size, &epoch, size);
}

static near_status arena_make(near__mem *mem)
{
	arena *a = &mem->arena[mem->arena_count];
	extent_hooks_t *hooks = &mem->hooks;
	size_t size = sizeof(a->id);
	if (mallctl("arenas.create", &a->id, &size, &hooks, sizeof(hooks)) != 0)
		return NEAR_E_NOMEM;
	mem->arena_count++;
	a->flags = MALLOCX_ARENA(a->id) | MALLOCX_TCACHE_NONE;
	ssize_t at_once = 0;
	if (control("arena.", a->id, ".dirty_decay_ms", NULL, NULL, &at_once, sizeof(at_once)) != 0 ||
	    control("arena.", a->id, ".muzzy_decay_ms", NULL, NULL, &at_once, sizeof(at_once)) != 0)
		return NEAR_E_SYSTEM;
	refresh_figures();
	uint64_t own = (arena_figure(a->id, ".base") + NEAR__PAGE - 1) / NEAR__PAGE * NEAR__PAGE + SLACK_BYTES;
	pthread_mutex_lock(&mem->lock);
	bool fits = account(mem, own);
	mem->metadata_bytes += fits ? own : 0;
	pthread_mutex_unlock(&mem->lock);
	return fits ? NEAR_OK : NEAR_E_NOMEM;
}

static unsigned arenas_wanted(uint64_t limit_bytes)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t n = limit_bytes / ARENA_LIMIT_BYTES;
	if (processors > 0 && n > (uint64_t)processors)
		n = (uint64_t)processors;
	return n < 1 ? 1 : n > ARENAS_MAX ? ARENAS_MAX : (unsigned)n;
}

static void purge_arenas(near__mem *mem)
{
	for (unsigned i = 0; i < mem->arena_count; i++)
		(void)control("arena.", mem->arena[i].id, ".purge", NULL, NULL, NULL, 0);
}

/* ----------------------------------------------------------------- life of a mem */

static void destroy(near__mem *mem)
{
	if (mem->range.base != NULL)
		UNPOISON(mem->range.base, mem->range.backed_high * NEAR__CHUNK);
	for (unsigned i = 0; i < mem->arena_count; i++) {
		int r = control("arena.", mem->arena[i].id, ".destroy", NULL, NULL, NULL, 0);
		NEAR_ASSERT(r == 0); /* else it would use the range after it is gone */
	}
	near__range_destroy(&mem->range);
	(void)pthread_mutex_destroy(&mem->lock);
	free(mem);
}

/* 4 times the bound, so that it may be raised and runs of pages are always found; less where the system allows less. */
static near_status reserve_range(near__mem *mem, uint64_t limit_bytes, bool huge_pages)
{
	uint64_t most = (UINT64_C(1) << NEAR__REF_BITS) * NEAR__REF_UNIT;
	for (unsigned quarters = 16; quarters >= 5; quarters = quarters * 5 / 8) {
		uint64_t reach = (limit_bytes / 4 * quarters + NEAR__CHUNK - 1) / NEAR__CHUNK * NEAR__CHUNK;
		if (reach > most)
			reach = most;
		uint64_t side = (SIDE_BYTES_MIN + reach / 16) / NEAR__CHUNK * NEAR__CHUNK;
		if (near__range_create(&mem->range, reach, side, huge_pages) == NEAR_OK)
			return NEAR_OK;
	}
	return NEAR_E_SYSTEM;
}

near_status near__mem_create(uint64_t limit_bytes, bool huge_pages, near__mem **out)
{
	if (limit_bytes < NEAR__MEM_LIMIT_MIN || limit_bytes > (UINT64_C(1) << NEAR__REF_BITS) * NEAR__REF_UNIT / 4)
		return NEAR_E_USAGE;
	near__mem *mem = REFUSED(NEAR__MEM_CREATE) ? NULL : calloc(1, sizeof(*mem));
	if (mem == NULL)
		return NEAR_E_NOMEM;
	mem->hooks = (extent_hooks_t){
		.alloc = hook_alloc, .dalloc = hook_dalloc, .purge_lazy = hook_purge, .split = hook_split, .merge = hook_merge
	};
	pthread_mutex_init(&mem->lock, NULL);
	atomic_init(&mem->limit_bytes, limit_bytes);
	atomic_init(&mem->holds, 1);
	near_status status = reserve_range(mem, limit_bytes, huge_pages);
	unsigned wanted = arenas_wanted(limit_bytes);
	for (unsigned i = 0; status == NEAR_OK && i < wanted; i++)
		status = arena_make(mem);
	if (status != NEAR_OK) {
		destroy(mem);
		return status;
	}
	*out = mem;
	return NEAR_OK;
}

void near__mem_hold(near__mem *mem)
{
	/* relaxed: who may add a hold has one, so the count cannot be falling to 0. */
	uint32_t before = atomic_fetch_add_explicit(&mem->holds, 1, memory_order_relaxed);
	NEAR_ASSERT(before > 0 && before < UINT32_MAX);
}

void near__mem_release(near__mem *mem)
{
	/* MEM-LAST, acq_rel: whatever any holder did comes before the last one destroys. */
	uint32_t before = atomic_fetch_sub_explicit(&mem->holds, 1, memory_order_acq_rel);
	NEAR_ASSERT(before > 0);
	if (before == 1)
		destroy(mem);
}

/* -------------------------------------------------------------------- blocks */

/* The arena of this thread: handed out in turn. */
static unsigned my_turn(void)
{
	static _Atomic(unsigned) turns;
	static _Thread_local unsigned mine __attribute__((tls_model("initial-exec"))); /* 0: none yet */
	if (NEAR_UNLIKELY(mine == 0))
		mine = atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed) | 0x80000000u;
	return mine & 0x7fffffffu;
}

static void *alloc_anywhere(near__mem *mem, size_t size)
{
	unsigned start = my_turn() % mem->arena_count;
	for (unsigned i = 0; i < mem->arena_count; i++) {
		void *block = mallocx(size, mem->arena[(start + i) % mem->arena_count].flags);
		if (NEAR_LIKELY(block != NULL))
			return block;
	}
	return NULL;
}

/* Extents that a purge in another thread left behind: see the essay. Only when some were given back since the last look. */
static bool purge_after_refusal(near__mem *mem)
{
	uint64_t gives = atomic_load_explicit(&mem->gives, memory_order_relaxed);
	if (atomic_exchange_explicit(&mem->purged_at, gives, memory_order_relaxed) == gives)
		return false;
	purge_arenas(mem);
	return atomic_load_explicit(&mem->gives, memory_order_relaxed) != gives;
}

void *near__mem_alloc(near__mem *mem, size_t size)
{
	if (size < BLOCK_MIN)
		size = BLOCK_MIN;
	if (size > near__mem_limit(mem) || REFUSED(NEAR__MEM_ALLOC))
		return NULL;
	void *block = alloc_anywhere(mem, size);
	if (NEAR_UNLIKELY(block == NULL) && purge_after_refusal(mem))
		block = alloc_anywhere(mem, size);
	if (block == NULL)
		return NULL;
	NEAR_DEBUG_ASSERT((uintptr_t)block % NEAR__REF_UNIT == 0);
	NEAR_DEBUG_ASSERT((char *)block > mem->range.base && (char *)block < mem->range.base + mem->range.reach_bytes);
	UNPOISON(block, near__mem_usable(block));
	return block;
}

void near__mem_free(near__mem *mem, void *block)
{
	(void)mem;
	NEAR_DEBUG_ASSERT((char *)block > mem->range.base && (char *)block < mem->range.base + mem->range.reach_bytes);
	POISON(block, near__mem_usable(block));
	dallocx(block, MALLOCX_TCACHE_NONE);
}

size_t near__mem_good_size(size_t size)
{
	return nallocx(size < BLOCK_MIN ? BLOCK_MIN : size, 0);
}

size_t near__mem_usable(const void *block)
{
	return sallocx(block, 0);
}

void near__mem_run(near__mem *mem, const void *block, near__run *run)
{
	uint64_t first = 0, pages = 0;
	pthread_mutex_lock(&mem->lock);
	bool there = near__range_run(&mem->range, page_of(mem, block), &first, &pages);
	pthread_mutex_unlock(&mem->lock);
	NEAR_ASSERT(there);
	run->first = mem->range.base + first * NEAR__PAGE;
	run->stride = near__mem_usable(block);
	run->count = (size_t)(pages * NEAR__PAGE / run->stride);
	NEAR_ASSERT(run->count > 0);
	if (run->count == 1)
		run->first = (char *)block; /* a large block may begin within its first page */
	NEAR_ASSERT((size_t)((const char *)block - run->first) % run->stride == 0);
}

char *near__mem_base(const near__mem *mem)
{
	return mem->range.base;
}

/* ------------------------------------------------------------------- the bound */

bool near__mem_charge(near__mem *mem, size_t bytes)
{
	if (REFUSED(NEAR__MEM_CHARGE))
		return false;
	pthread_mutex_lock(&mem->lock);
	bool fits = account(mem, bytes);
	if (fits) {
		mem->charged_bytes += bytes;
		near__range_shrink(&mem->range, cap_pages(mem));
	}
	pthread_mutex_unlock(&mem->lock);
	return fits;
}

void near__mem_uncharge(near__mem *mem, size_t bytes)
{
	pthread_mutex_lock(&mem->lock);
	NEAR_ASSERT(mem->charged_bytes >= bytes);
	mem->charged_bytes -= bytes;
	unaccount(mem, bytes);
	pthread_mutex_unlock(&mem->lock);
}

void near__mem_trim(near__mem *mem)
{
	enum { STEP = 16, IDLE_SHARE = 16 };
	purge_arenas(mem);
	bool more = true;
	/* A few chunks at a time, so that nobody waits long for the lock. */
	for (uint64_t chunk = 0; more; chunk += STEP) {
		pthread_mutex_lock(&mem->lock);
		if (chunk == 0)
			more = (mem->range.backed_pages - mem->range.taken_pages) * IDLE_SHARE > cap_pages(mem);
		for (uint64_t i = chunk; more && i < chunk + STEP; i++) {
			more = i < mem->range.backed_high;
			if (more)
				(void)near__range_purge(&mem->range, i);
		}
		pthread_mutex_unlock(&mem->lock);
	}
}

bool near__mem_set_limit(near__mem *mem, uint64_t limit_bytes)
{
	if (limit_bytes < NEAR__MEM_LIMIT_MIN || limit_bytes > mem->range.reach_bytes)
		return false;
	pthread_mutex_lock(&mem->lock);
	atomic_store_explicit(&mem->limit_bytes, limit_bytes, memory_order_relaxed);
	near__range_shrink(&mem->range, cap_pages(mem));
	pthread_mutex_unlock(&mem->lock);
	return true;
}

uint64_t near__mem_mapped(const near__mem *mem)
{
	return atomic_load_explicit(&mem->mapped_bytes, memory_order_relaxed);
}

uint64_t near__mem_limit(const near__mem *mem)
{
	return atomic_load_explicit(&mem->limit_bytes, memory_order_relaxed);
}

void near__mem_get_stats(near__mem *mem, near__mem_stats *stats)
{
	refresh_figures();
	uint64_t allocated = 0;
	for (unsigned i = 0; i < mem->arena_count; i++)
		allocated += arena_figure(mem->arena[i].id, ".small.allocated") +
		             arena_figure(mem->arena[i].id, ".large.allocated");
	pthread_mutex_lock(&mem->lock);
	*stats = (near__mem_stats){
		.limit_bytes = near__mem_limit(mem),
		.mapped_bytes = near__mem_mapped(mem),
		.mapped_bytes_max = atomic_load_explicit(&mem->mapped_bytes_max, memory_order_relaxed),
		.charged_bytes = mem->charged_bytes,
		.metadata_bytes = mem->metadata_bytes,
		.allocated_bytes = allocated,
		.reach_bytes = mem->range.reach_bytes,
		.backed_bytes = mem->range.backed_pages * NEAR__PAGE,
	};
	pthread_mutex_unlock(&mem->lock);
}
