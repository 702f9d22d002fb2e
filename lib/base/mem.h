/* Memory of one cache: jemalloc arenas whose extents are carved out of one reserved range of addresses.
 *
 *   range  [........................................................]   reach_bytes of addresses, reserved, not backed
 *           ^ offset 0 is never handed out: reference 0 means "none"
 *
 * The extent hooks carve the range, count what is taken and refuse past the bound, so the bound holds by construction:
 * mapped = bytes taken from the range + bytes charged (the table). Every block is 16-byte aligned, so a block is named by
 * its offset in units of 16 bytes: NEAR__REF_BITS bits.
 *
 * Freed blocks do not lower `mapped` until whole extents are given back: see near__mem_trim.
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
} near__mem_stats;

/* Reserves 4 times `limit_bytes` of addresses (so that the bound may be raised) and makes the arenas.
 * NEAR_OK, NEAR_E_NOMEM, NEAR_E_SYSTEM. The creator holds the first reference. */
near_status near__mem_create(uint64_t limit_bytes, bool huge_pages, near__mem **mem);
/* References keep the range alive: one for the creator, one per pin. The last release unmaps all. Any thread. */
void near__mem_hold(near__mem *mem);
void near__mem_release(near__mem *mem);

/* A block of at least `size` bytes, or NULL at the bound. Never blocks but for jemalloc's own locks. Any thread. */
void *near__mem_alloc(near__mem *mem, size_t size);
void near__mem_free(near__mem *mem, void *block);
/* Usable bytes of a block that near__mem_alloc(size) would give; and of a block. */
size_t near__mem_good_size(size_t size);
size_t near__mem_usable(const void *block);

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

/* Gives extents that hold nothing back to the range and their pages to the system. Costs system calls: for when an
 * allocation was refused although much has been freed, and for housekeeping. */
void near__mem_trim(near__mem *mem);

/* False: above the reserved reach or below the minimum. Lowering does not evict: the caller does until mapped fits. */
bool near__mem_set_limit(near__mem *mem, uint64_t limit_bytes);
uint64_t near__mem_mapped(const near__mem *mem); /* cheap */
uint64_t near__mem_limit(const near__mem *mem);  /* cheap */
void near__mem_get_stats(near__mem *mem, near__mem_stats *stats);

#endif
