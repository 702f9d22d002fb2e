/* Memory of one cache: jemalloc arenas whose extents are carved out of one reserved range of addresses.
 *
 *   range  [........................................................]   reach_bytes of addresses, reserved, not backed
 *           ^ offset 0 is never handed out: reference 0 means "none"
 *
 * The extent hooks carve the range, count what is taken and refuse past the bound, so the bound holds by construction:
 * mapped = bytes taken from the range + bytes charged (the table) + the allocator's own. Every block is 16-byte aligned, so
 * a block is named by its offset in units of 16 bytes: NEAR__REF_BITS bits.
 *
 * A freed block lowers `mapped` when its slab becomes empty, at once; blocks of more than 14 KiB have a run of their own.
 * So an allocation that is refused is not helped by near__mem_trim, only by freeing.
 */
#ifndef NEAR_BASE_MEM_H
#define NEAR_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <nearcache/nearcache.h>

#define NEAR__REF_BITS 34
#define NEAR__REF_UNIT 16
#define NEAR__MEM_LIMIT_MIN (UINT64_C(16) << 20)

typedef struct near__mem near__mem;

typedef struct near__mem_stats {
	uint64_t limit_bytes, mapped_bytes, mapped_bytes_max, charged_bytes, metadata_bytes, allocated_bytes, reach_bytes;
	uint64_t backed_bytes; /* of the arenas' pages, how many may be resident: at most limit - charged - metadata */
} near__mem_stats;

/* Reserves 4 times `limit_bytes` of addresses (less where the system allows less) and makes the arenas.
 * NEAR_OK, NEAR_E_USAGE (limit outside 16 MiB .. 64 GiB), NEAR_E_NOMEM, NEAR_E_SYSTEM. The creator holds the first reference. */
near_status near__mem_create(uint64_t limit_bytes, bool huge_pages, near__mem **mem);
/* References keep the range alive: one for the creator, one per pin. The last release unmaps all. Any thread. */
void near__mem_hold(near__mem *mem);
void near__mem_release(near__mem *mem);

/* A block of at least `size` bytes, or NULL at the bound. Never blocks but for jemalloc's own locks and the short one in
 * its hooks. Any thread. */
void *near__mem_alloc(near__mem *mem, size_t size);
void near__mem_free(near__mem *mem, void *block);
/* Usable bytes of a block that near__mem_alloc(size) would give; and of a block. */
size_t near__mem_good_size(size_t size);
size_t near__mem_usable(const void *block);

/* The run of pages that a block lies in: a slab of blocks of one size, or one large block. When all blocks of a run are
 * free, its pages are, for any size; so who needs room for another size empties whole runs, because blocks freed here and
 * there free no page (with 100 blocks in a slab, 19 in 20 must go before the first slab is empty).
 * `block` is allocated, and stays so during the call. The other blocks of the run may be allocated, or free with stale
 * bytes in them, and may change meanwhile; reading them is safe only in the sense that the memory is there. */
typedef struct near__run {
	char *first;          /* block; the others follow at `stride` */
	size_t stride, count; /* stride: near__mem_usable of each */
} near__run;
void near__mem_run(near__mem *mem, const void *block, near__run *run);

/* Start of the range: ref -> pointer is base + ref * NEAR__REF_UNIT. */
char *near__mem_base(const near__mem *mem);
static inline uint64_t near__mem_ref(const char *base, const void *block)
{
	return (uint64_t)((const char *)block - base) / NEAR__REF_UNIT;
}
static inline void *near__mem_at(char *base, uint64_t ref)
{
	return base + ref * NEAR__REF_UNIT;
}

/* Counts memory that lives outside the arenas (the table) under the same bound. False: it would pass the bound. */
bool near__mem_charge(near__mem *mem, size_t bytes);
void near__mem_uncharge(near__mem *mem, size_t bytes);

/* Gives the pages that hold nothing to the system, when they are more than a 16th of the bound. Costs system calls now
 * and page faults later: for a cache that has become much emptier. It makes no room: what is free is free already, and the
 * bound holds for resident memory without it. */
void near__mem_trim(near__mem *mem);

/* False: above the reserved reach or below the minimum. Lowering does not evict: the caller does until mapped fits. */
bool near__mem_set_limit(near__mem *mem, uint64_t limit_bytes);
uint64_t near__mem_mapped(const near__mem *mem); /* cheap */
uint64_t near__mem_limit(const near__mem *mem);  /* cheap */
/* Not cheap (tens of microseconds, jemalloc's statistics lock): for people who look. */
void near__mem_get_stats(near__mem *mem, near__mem_stats *stats);

#ifdef NEARCACHE_TEST_HOOKS
/* A test's word on each step; true refuses it. */
typedef enum near__mem_step {
	NEAR__MEM_CREATE,
	NEAR__MEM_ALLOC,
	NEAR__MEM_EXTENT,
	NEAR__MEM_SPLIT,
	NEAR__MEM_CHARGE
} near__mem_step;
extern bool (*near__mem_refuse)(near__mem_step step);
#endif

#endif
