/* Memory of one cache: jemalloc arenas over one reserved range.
 *
 *   near__mem_alloc -> mallocx in one of up to 4 arenas -> slab or large extent
 *                                                             | hooks of mem_extents.c: the bound
 *                                                             v
 *                                                       a run of pages of base/range
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
 * Costs, in processor time on a machine under load: a pair of alloc and free of 160 bytes 45 ns; the same at random places
 * of 160 MB, where everything misses the processor's caches, 350 ns; of 20,000 bytes (an extent each) 490 ns. The test
 * mem__cost__is_printed shows them.
 * Sources: jemalloc 5.3.0, its manual and src/jemalloc.c.
 */
#include "base/mem.h"

#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/mem_extents.h"

#define ARENA_LIMIT_BYTES (UINT64_C(64) << 20) /* an arena more for each of these, up to the number of processors */
#define SLACK_BYTES 16384
#define SIDE_BYTES_MIN (UINT64_C(64) << 20)
#define BLOCK_MIN NEAR__REF_UNIT /* a class of 8 bytes would break the alignment */

static_assert((UINT64_C(1) << NEAR__REF_BITS) * NEAR__REF_UNIT == UINT64_C(256) << 30, "references reach 256 GiB");

/* ------------------------------------------------------------------------ fork */

/* For fork alone: the child must not find a lock that a thread of the parent's held. Taken before and given back after, on
 * both sides; after jemalloc's own, whose handlers are registered later and so run earlier. */
static pthread_mutex_t everyone_lock = PTHREAD_MUTEX_INITIALIZER;
static near__mem *everyone;

static void before_fork(void)
{
	pthread_mutex_lock(&everyone_lock);
	for (near__mem *mem = everyone; mem != NULL; mem = mem->next)
		pthread_mutex_lock(&mem->lock);
}

static void after_fork(void)
{
	for (near__mem *mem = everyone; mem != NULL; mem = mem->next)
		pthread_mutex_unlock(&mem->lock);
	pthread_mutex_unlock(&everyone_lock);
}

static void enlist(near__mem *mem)
{
	pthread_mutex_lock(&everyone_lock);
	mem->next = everyone;
	mem->link = &everyone;
	if (everyone != NULL)
		everyone->link = &mem->next;
	everyone = mem;
	pthread_mutex_unlock(&everyone_lock);
}

static void delist(near__mem *mem)
{
	pthread_mutex_lock(&everyone_lock);
	*mem->link = mem->next;
	if (mem->next != NULL)
		mem->next->link = mem->link;
	pthread_mutex_unlock(&everyone_lock);
}

/* ------------------------------------------------------ the allocator's options */

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
	(void)pthread_atfork(before_fork, after_fork, after_fork);
}

#ifdef NEARCACHE_TEST_HOOKS
bool (*near__mem_refuse)(near__mem_step step);
#endif

#ifdef NEAR__ASAN
#include <sanitizer/asan_interface.h>
#define POISON(at, size) ASAN_POISON_MEMORY_REGION((at), (size))
#define UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION((at), (size))
#else
#define POISON(at, size) ((void)0)
#define UNPOISON(at, size) ((void)0)
#endif

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
	near__arena *a = &mem->arena[mem->arena_count];
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
	bool fits = near__extents_add(mem, own);
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
	return n < 1 ? 1 : n > NEAR__ARENAS_MAX ? NEAR__ARENAS_MAX : (unsigned)n;
}

static void purge_arenas(near__mem *mem)
{
	for (unsigned i = 0; i < mem->arena_count; i++)
		(void)control("arena.", mem->arena[i].id, ".purge", NULL, NULL, NULL, 0);
}

/* ----------------------------------------------------------------- life of a mem */

static void destroy(near__mem *mem)
{
	delist(mem);
	if (mem->range.base != NULL)
		UNPOISON(mem->range.base, mem->range.backed_high * NEAR__CHUNK);
	for (unsigned i = 0; i < mem->arena_count; i++) {
		int r = control("arena.", mem->arena[i].id, ".destroy", NULL, NULL, NULL, 0);
		NEAR_ASSERT(r == 0); /* else it would use the range after that is gone */
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
	near__mem *mem = NEAR__MEM_REFUSED(NEAR__MEM_CREATE) ? NULL : calloc(1, sizeof(*mem));
	if (mem == NULL)
		return NEAR_E_NOMEM;
	mem->hooks = near__extents_hooks;
	pthread_mutex_init(&mem->lock, NULL);
	atomic_init(&mem->limit_bytes, limit_bytes);
	atomic_init(&mem->holds, 1);
	enlist(mem);
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
	if (size > near__mem_limit(mem) || NEAR__MEM_REFUSED(NEAR__MEM_ALLOC))
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
	bool there = near__range_run(&mem->range, near__extents_page_of(mem, block), &first, &pages);
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
	if (NEAR__MEM_REFUSED(NEAR__MEM_CHARGE))
		return false;
	pthread_mutex_lock(&mem->lock);
	bool fits = near__extents_add(mem, bytes);
	if (fits) {
		mem->charged_bytes += bytes;
		near__extents_keep_to_cap(mem);
	}
	pthread_mutex_unlock(&mem->lock);
	return fits;
}

void near__mem_uncharge(near__mem *mem, size_t bytes)
{
	pthread_mutex_lock(&mem->lock);
	NEAR_ASSERT(mem->charged_bytes >= bytes);
	mem->charged_bytes -= bytes;
	near__extents_sub(mem, bytes);
	pthread_mutex_unlock(&mem->lock);
}

void near__mem_trim(near__mem *mem)
{
	enum { STEP = 16, IDLE_SHARE = 16 };
	purge_arenas(mem);
	pthread_mutex_lock(&mem->lock);
	uint64_t steps = mem->range.backed_high / STEP + 1; /* others may give more meanwhile: once round is enough */
	bool more = (mem->range.backed_pages - mem->range.taken_pages) * IDLE_SHARE > near__extents_cap_pages(mem);
	pthread_mutex_unlock(&mem->lock);
	/* A few chunks at a time, so that nobody waits long for the lock. */
	for (; more && steps > 0; steps--) {
		pthread_mutex_lock(&mem->lock);
		more = near__range_shrink(&mem->range, 0, STEP);
		pthread_mutex_unlock(&mem->lock);
	}
}

bool near__mem_set_limit(near__mem *mem, uint64_t limit_bytes)
{
	if (limit_bytes < NEAR__MEM_LIMIT_MIN || limit_bytes > mem->range.reach_bytes)
		return false;
	pthread_mutex_lock(&mem->lock);
	atomic_store_explicit(&mem->limit_bytes, limit_bytes, memory_order_relaxed);
	near__extents_keep_to_cap(mem);
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
