/* A reserved range of addresses, carved into runs of pages. For base/mem alone.
 *
 *   [ extents: reach_bytes, page 0 never handed out ............... | side: bump, for the allocator's own blocks ]
 *     chunk 0 (2 MiB)   chunk 1          chunk 2
 *     |tttt..tt.ddd...| |dddddddddddddd| |................|        t taken   d free, still backed   . free, not backed
 *
 * Everything here is called under the owner's lock. `backed` counts pages that may be resident: it stays at or below the
 * cap that the owner hands in, so resident memory obeys the bound, too, and not the account alone.
 */
#ifndef NEAR_BASE_RANGE_H
#define NEAR_BASE_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <nearcache/nearcache.h>

#define NEAR__PAGE UINT64_C(4096)
#define NEAR__CHUNK (UINT64_C(2) << 20)
#define NEAR__CHUNK_PAGES 512u
#define NEAR__RANGE_NONE UINT64_MAX

typedef struct near__chunk {
	uint64_t taken[NEAR__CHUNK_PAGES / 64];
	uint64_t backed[NEAR__CHUNK_PAGES / 64];
	uint64_t start[NEAR__CHUNK_PAGES / 64]; /* of taken pages: a run begins here */
} near__chunk;

typedef struct near__range {
	char *base;
	uint64_t reach_bytes, chunk_count, leaf_count;
	char *side, *side_end;
	bool huge;
	uint64_t taken_pages, backed_pages, backed_high; /* backed_high: the highest chunk that was ever backed, plus one */
	uint64_t purge_cursor;
	/* One private mapping: zero pages mean "free, not backed", so what is never reached costs nothing. */
	void *books;
	size_t books_size;
	near__chunk *chunk;
	uint16_t *tree;  /* least (512 - longest free run) below each node; node 1 is the root */
	uint64_t *idle;  /* a bit per chunk: it may have pages that are free and backed */
	uint8_t *state;  /* per chunk */
	void *mapping;
	size_t mapping_size;
} near__range;

/* Reserves reach_bytes (a multiple of 2 MiB) and side_bytes. NEAR_OK, NEAR_E_SYSTEM. */
near_status near__range_create(near__range *range, uint64_t reach_bytes, uint64_t side_bytes, bool huge_pages);
void near__range_destroy(near__range *range);

/* The lowest run of `pages` free pages: the number of its first page, or NEAR__RANGE_NONE. */
uint64_t near__range_find(const near__range *range, uint64_t pages);
/* How many chunks a run would touch that were never used before. */
uint64_t near__range_unopened(const near__range *range, uint64_t first, uint64_t pages);
/* Takes a run that near__range_find gave. taken_pages + pages <= cap_pages; backs at most cap_pages, giving up free pages
 * elsewhere. */
void near__range_take(near__range *range, uint64_t first, uint64_t pages, uint64_t cap_pages);
void near__range_give(near__range *range, uint64_t first, uint64_t pages);
/* A taken run becomes two; two adjacent ones become one. `first` is the second one's. */
void near__range_split(near__range *range, uint64_t first);
void near__range_merge(near__range *range, uint64_t first);
/* The run that holds `page`: its first page, and how many. False: the page is free. */
bool near__range_run(const near__range *range, uint64_t page, uint64_t *first, uint64_t *pages);
/* Gives the free pages of up to chunks_max chunks to the system, while more than cap_pages are backed. True: there may be
 * more to give. */
bool near__range_shrink(near__range *range, uint64_t cap_pages, uint64_t chunks_max);
/* `size` bytes of the side, 2 MiB aligned, zeroed; NULL when it is used up. Never comes back. */
void *near__range_side(near__range *range, size_t size);

#endif
