/* What base/mem and its extent hooks share: the memory of one cache, and the account of it. For base/mem alone,
 * which includes jemalloc before. */
#ifndef NEAR_BASE_MEM_EXTENTS_H
#define NEAR_BASE_MEM_EXTENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/base.h"
#include "base/mem.h"
#include "base/range.h"

#define NEAR__ARENAS_MAX 4

typedef struct near__arena {
	unsigned id;
	int flags;
	uint64_t extents, extents_max;
} near__arena;

struct near__mem {
	extent_hooks_t hooks; /* first: the hooks get its address */
	pthread_mutex_t lock;
	near__range range;
	near__arena arena[NEAR__ARENAS_MAX];
	unsigned arena_count;
	uint64_t charged_bytes, metadata_bytes;
	_Atomic(uint64_t) limit_bytes, mapped_bytes, mapped_bytes_max;
	_Atomic(uint64_t) gives, purged_at; /* extents given back; how many there were at the last purge */
	_Atomic(uint32_t) holds;
	near__mem *next, **link; /* in the list for fork */
};

extern const extent_hooks_t near__extents_hooks;

/* All of these under the lock. Add: false when it would pass the limit. */
bool near__extents_add(near__mem *mem, uint64_t bytes);
void near__extents_sub(near__mem *mem, uint64_t bytes);
/* How many pages may be resident: what the bound leaves beside the table and the metadata. */
uint64_t near__extents_cap_pages(const near__mem *mem);
/* For when the cap fell: the bound was lowered, the metadata grew. */
void near__extents_keep_to_cap(near__mem *mem);

static inline uint64_t near__extents_page_of(const near__mem *mem, const void *at)
{
	return (uint64_t)((const char *)at - mem->range.base) / NEAR__PAGE;
}

#ifdef NEARCACHE_TEST_HOOKS
#define NEAR__MEM_REFUSED(step) (near__mem_refuse != NULL && near__mem_refuse(step))
#else
#define NEAR__MEM_REFUSED(step) false
#endif

#endif
