/* The account of one cache's memory, and the hooks through which jemalloc asks for extents and gives them back.
 *
 *   arena --alloc--> hook --lock--> { account, near__range_find, near__range_take }     or NULL at the bound
 *   arena --dalloc-> hook --lock--> { near__range_give, account }
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
 * range's. Two things in jemalloc would be in the way:
 *   - `retain` makes it ask for ever larger extents and keep what it does not need. Such a request comes with
 *     *commit == false; it is refused, and jemalloc asks again for exactly what it needs.
 *   - a thread that purges keeps another one from purging meanwhile, so that single freed extents may linger. A refused
 *     allocation purges the arenas once and tries again.
 *
 * Threads. Any; jemalloc may hold locks of its own around a hook, and nothing of jemalloc's is called under ours.
 *
 * Sources: jemalloc 5.3.0: src/extent.c, src/pac.c, src/base.c, src/arena.c.
 */
#include <jemalloc/jemalloc.h>
#include "base/mem_extents.h"

#include <string.h>

#define EXTENT_BYTES 128
#define CHUNK_BYTES (4096 + 256)

/* ------------------------------------------------------------------ the account */

bool near__extents_add(near__mem *mem, uint64_t bytes)
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

void near__extents_sub(near__mem *mem, uint64_t bytes)
{
	uint64_t mapped = atomic_load_explicit(&mem->mapped_bytes, memory_order_relaxed);
	NEAR_ASSERT(mapped >= bytes);
	atomic_store_explicit(&mem->mapped_bytes, mapped - bytes, memory_order_relaxed);
}

uint64_t near__extents_cap_pages(const near__mem *mem)
{
	uint64_t limit = atomic_load_explicit(&mem->limit_bytes, memory_order_relaxed);
	uint64_t other = mem->charged_bytes + mem->metadata_bytes;
	return limit > other ? (limit - other) / NEAR__PAGE : 0;
}

void near__extents_keep_to_cap(near__mem *mem)
{
	uint64_t cap = near__extents_cap_pages(mem);
	if (NEAR_UNLIKELY(mem->range.backed_pages > cap))
		(void)near__range_shrink(&mem->range, cap, UINT64_MAX);
}

static near__arena *arena_of(near__mem *mem, unsigned id)
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
	near__arena *a = arena_of(mem, arena_id);
	bool more = a->extents == a->extents_max;
	uint64_t metadata = near__range_unopened(&mem->range, first, pages) * CHUNK_BYTES + (more ? EXTENT_BYTES : 0);
	if (!near__extents_add(mem, size + metadata))
		return NULL;
	mem->metadata_bytes += metadata;
	a->extents++;
	a->extents_max += more;
	near__range_take(&mem->range, first, pages, near__extents_cap_pages(mem));
	near__extents_keep_to_cap(mem);
	return mem->range.base + first * NEAR__PAGE;
}

static void *hook_alloc(extent_hooks_t *hooks, void *at, size_t size, size_t alignment, bool *zero, bool *commit,
                        unsigned arena_id)
{
	near__mem *mem = (near__mem *)hooks;
	if (at != NULL || !*commit || NEAR__MEM_REFUSED(NEAR__MEM_EXTENT))
		return NULL; /* nothing grows in place; nothing is retained */
	bool metadata = alignment >= NEAR__CHUNK; /* blocks are never that aligned */
	pthread_mutex_lock(&mem->lock);
	NEAR_YIELD("mem:locked");
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
	near__arena *a = arena_of(mem, arena_id);
	NEAR_ASSERT(a->extents > 0);
	a->extents--;
	near__extents_sub(mem, size);
	near__extents_keep_to_cap(mem);
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
	near__arena *a = arena_of(mem, arena_id);
	bool more = a->extents == a->extents_max;
	bool fits = !NEAR__MEM_REFUSED(NEAR__MEM_SPLIT) && (!more || near__extents_add(mem, EXTENT_BYTES));
	if (fits) {
		mem->metadata_bytes += more ? EXTENT_BYTES : 0;
		a->extents++;
		a->extents_max += more;
		near__range_split(&mem->range, near__extents_page_of(mem, at) + size_a / NEAR__PAGE);
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
	near__arena *a = arena_of(mem, arena_id);
	NEAR_ASSERT(a->extents > 1);
	a->extents--;
	near__range_merge(&mem->range, near__extents_page_of(mem, at_b));
	pthread_mutex_unlock(&mem->lock);
	return false;
}

const extent_hooks_t near__extents_hooks = {
	.alloc = hook_alloc, .dalloc = hook_dalloc, .purge_lazy = hook_purge, .split = hook_split, .merge = hook_merge
};
