/* The table: sets of 16 slots, and growth without a pause.
 *
 *      parent, n sets                 table, 2n sets
 *      set i: [ s0 s1 ... s15 ]  -->  set i:   [ s0 s1 ... s15 ]     slot j moves to slot j
 *                                     set i+n: [ s0 s1 ... s15 ]     of one of the two, by the next bit of the hash
 *
 * When more than GROW_LOAD of the slots are taken, a table of twice the sets is mapped (zero pages: every slot UNINIT),
 * charged to the bound and published. From then on it is the table; the one before is its parent until all is moved. A
 * third is not begun before the second is whole. Whoever works on a set of a growing table first makes the set ready: for
 * each slot that is UNINIT,
 *
 *   1. FREEZE  set F in the parent's slot by CAS, unless it is set. The parent's slot never changes again.
 *   2. DECIDE  EMPTY: both children shall be EMPTY, with the ghost if there is one.
 *              entry: abort it if it is PENDING. ABORTED: both children shall be EMPTY. Else the child that the hash's next
 *              bit names (the proper one) shall have the entry, without T and F, and the other EMPTY.
 *   3. OTHER   CAS the other child from UNINIT.
 *   4. PROPER  CAS the proper child from UNINIT. Who succeeds with an ABORTED one has taken it out, and retires it.
 *
 * Why this is right.
 *  a. Each child is initialised once, because nothing ever goes back to UNINIT: a slow helper's CAS fails.
 *  b. All helpers agree but for one thing: whether the entry is ABORTED may change from no to yes between two of them. Then
 *     either it stays out, taken out by the one who succeeded in 4; or it comes in ABORTED, and goes as any such does.
 *  c. Nobody reads an entry that may be freed. A helper reads the entry of step 2 after it saw, in its section, one child
 *     UNINIT. If that was the proper one, the entry could not have been taken out before, since a move takes nothing out
 *     and the parent's slot is frozen. If it was the other, then by the order of 3 and 4 the proper one was still UNINIT
 *     at that moment. So the entry is retired, if at all, after the helper's section began.
 *  d. Two live entries of a key cannot come from the move. One that is live sits in one slot of the parent and goes to one
 *     child. A pending one is aborted by its state before any slot of a ready set can be read, so whatever its owner, still
 *     at work in the parent, finds there, it can no longer be settled. (One that was settled before the abort moves as live,
 *     and those who scan the ready set see it.)
 *  e. Who reads F anywhere takes the table anew. Who works in a table that has become a parent and reads no F has read
 *     each slot while it still counted; its CAS on a slot fails once that is frozen.
 *
 * Progress: lock-free. A helper that stops leaves a slot that anybody else can complete. `moved` is a cursor: it goes from k
 * to k+1 after the helper has itself made parent set k ready in both children, so it never runs ahead of the work, and who
 * sees it at the end may finish: detach the parent, retire it through the epoch, which unmaps it and gives back the charge.
 *
 * Edges:
 *   L1-TABLE  near__l1_grow_if_full (seq_cst) -> l1_table: a table's fields come before its publication.
 *   L1-WHOLE  finish (acq_rel) -> table_ready, find.c (acquire): who reads no parent reads no UNINIT. The cursor's increments
 *             are acq_rel, so the last one comes after all slots have been initialised.
 *
 * Costs: a move reads each entry once for its hash, with prefetching. The slots' memory is twice the parent's while growing.
 */
#include "l1/inside.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Of 16: at 10 one set in 20 is full (Poisson), just before the table doubles; much lower would waste table. */
#define GROW_LOAD 10
/* While the table is this small a share of the bound, a set that overflows is reason enough from GROW_EARLY on: slots are
 * cheap there, and nobody expects a cache with room to forget. */
#define GROW_EARLY 4
#define SMALL_SHARE 64
#define HUGE_BYTES (UINT64_C(2) << 20)
#define PAGE_BYTES UINT64_C(4096)

static near__slot *map_slots(size_t bytes, bool huge_pages)
{
	size_t align = bytes >= HUGE_BYTES && huge_pages ? HUGE_BYTES : PAGE_BYTES;
	size_t more = align == PAGE_BYTES ? 0 : align;
	char *start = mmap(NULL, bytes + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return NULL;
	char *at = (char *)(((uintptr_t)start + align - 1) / align * align);
	if (at > start)
		(void)munmap(start, (size_t)(at - start));
	if (at + bytes < start + bytes + more)
		(void)munmap(at + bytes, (size_t)(start + more - at));
	if (more > 0)
		(void)madvise(at, bytes, MADV_HUGEPAGE); /* a wish; small pages do as well */
	return (near__slot *)(void *)at;
}

near__table *near__l1_table_make(near__l1 *l1, uint64_t set_count)
{
	size_t bytes = (set_count * SET_SLOTS * sizeof(near__slot) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	near__table *t = malloc(sizeof(*t));
	if (t == NULL)
		return NULL;
	if (!near__mem_charge(l1->mem, bytes))
		goto fail_charge;
	t->slots = map_slots(bytes, l1->huge_pages);
	if (t->slots == NULL)
		goto fail_map;
	t->set_mask = set_count - 1;
	t->bytes = bytes;
	atomic_init(&t->parent, NULL);
	atomic_init(&t->moved, 0);
	return t;

fail_map:
	near__mem_uncharge(l1->mem, bytes);
fail_charge:
	free(t);
	return NULL;
}

void near__l1_table_unmap(near__l1 *l1, near__table *t)
{
	(void)munmap(t->slots, t->bytes);
	near__mem_uncharge(l1->mem, t->bytes);
	free(t);
}

/* ------------------------------------------------------------------ moving */

static uint64_t freeze(near__slot *slot)
{
	uint64_t word = slot_look(slot);
	/* Ends: a failure means that somebody changed the slot, and put or drop or evict got on by it. */
	while (!(word & SLOT_FROZEN)) {
		NEAR_YIELD("l1-freeze");
		if (slot_cas(slot, &word, word | SLOT_FROZEN))
			word |= SLOT_FROZEN;
	}
	NEAR_ASSERT((word & ~SLOT_FROZEN) != SLOT_UNINIT); /* a parent is whole */
	return word;
}

static bool initialise(near__slot *slot, uint64_t word)
{
	uint64_t uninit = SLOT_UNINIT;
	NEAR_ASSERT(word != SLOT_UNINIT && !(word & SLOT_FROZEN));
	NEAR_YIELD("l1-initialise");
	return slot_cas(slot, &uninit, word);
}

/* The caller saw low or high UNINIT in its section (c). */
static void move_slot(near__l1 *l1, near__thread *self, near__slot *from, near__slot *low, near__slot *high,
                      uint64_t next_bit)
{
	uint64_t word = freeze(from) & ~SLOT_FROZEN;
	if (slot_is_vacant(word)) {
		(void)initialise(low, word);
		(void)initialise(high, word);
		return;
	}
	near__entry *e = slot_entry(l1, word);
	bool is_high = (near__hash_local(e->bytes, e->key_size) & next_bit) != 0;
	bool aborted = entry_abort_pending(e) == ABORTED;
	(void)initialise(is_high ? low : high, SLOT_EMPTY);
	if (initialise(is_high ? high : low, aborted ? SLOT_EMPTY : word & ~SLOT_TENT) && aborted)
		near__l1_retire(l1, self, e);
}

static void move_parent_set(near__l1 *l1, near__thread *self, near__table *t, near__table *parent, uint64_t i)
{
	near__slot *from = parent->slots + i * SET_SLOTS;
	near__slot *low = t->slots + i * SET_SLOTS;
	near__slot *high = t->slots + (i + parent->set_mask + 1) * SET_SLOTS;
	for (unsigned j = 0; j < SET_SLOTS; j++) {
		/* relaxed: a hint for the processor. */
		uint64_t word = atomic_load_explicit(&from[j].word, memory_order_relaxed);
		if (!slot_is_vacant(word))
			__builtin_prefetch(slot_block(l1->base, word));
	}
	for (unsigned j = 0; j < SET_SLOTS; j++)
		if (slot_look(&low[j]) == SLOT_UNINIT || slot_look(&high[j]) == SLOT_UNINIT)
			move_slot(l1, self, &from[j], &low[j], &high[j], parent->set_mask + 1);
}

static near__table *parent_of(near__table *t)
{
	/* L1-WHOLE, acquire: pairs with finish. */
	return atomic_load_explicit(&t->parent, memory_order_acquire);
}

void near__l1_move_set(near__l1 *l1, near__thread *self, near__table *t, uint64_t hash)
{
	const near__slot *set = table_set(t, hash);
	near__table *parent = parent_of(t);
	for (unsigned j = 0; j < SET_SLOTS; j++) {
		if (parent != NULL && slot_look(&set[j]) == SLOT_UNINIT) {
			move_parent_set(l1, self, t, parent, hash & parent->set_mask);
			return;
		}
	}
}

/* All of the parent is moved: let go of it. */
static void finish(near__l1 *l1, near__table *t, near__table *parent)
{
	NEAR_YIELD("l1-finish");
	/* L1-WHOLE, acq_rel: pairs with table_ready. One of those who come here succeeds. */
	if (atomic_compare_exchange_strong_explicit(&t->parent, &parent, NULL, memory_order_acq_rel, memory_order_acquire))
		near__limbo_retire(&l1->limbo, &parent->link, 0); /* its bytes are charged, not of the arenas */
}

bool near__l1_help(near__l1 *l1, near__thread *self, unsigned sets)
{
	near__table *t = l1_table(l1);
	near__table *parent = parent_of(t);
	if (NEAR_LIKELY(parent == NULL))
		return false;
	for (unsigned n = 0; n < sets; n++) {
		uint64_t i = atomic_load_explicit(&t->moved, memory_order_acquire);
		if (i > parent->set_mask) {
			finish(l1, t, parent);
			return false;
		}
		move_parent_set(l1, self, t, parent, i);
		NEAR_YIELD("l1-moved");
		/* L1-WHOLE, acq_rel: what others moved, and what we did, comes before the end of the cursor. */
		(void)atomic_compare_exchange_strong_explicit(&t->moved, &i, i + 1, memory_order_acq_rel, memory_order_relaxed);
	}
	return true;
}

/* ------------------------------------------------------------------ growing */

static bool is_full(near__l1 *l1, const near__table *t, bool overflows)
{
	int64_t items = (int64_t)near__stats_sum(l1->stats, NEAR__STAT_items);
	bool early = overflows && t->bytes <= near__mem_limit(l1->mem) / SMALL_SHARE;
	return items > (int64_t)((t->set_mask + 1) * (early ? GROW_EARLY : GROW_LOAD));
}

bool near__l1_grow_if_full(near__l1 *l1, bool overflows)
{
	near__table *t = l1_table(l1);
	if (parent_of(t) != NULL || !is_full(l1, t, overflows))
		return false;
	near__table *larger = near__l1_table_make(l1, (t->set_mask + 1) * 2);
	if (larger == NULL)
		return false; /* no room under the bound: the table stays as it is */
	atomic_init(&larger->parent, t);
	NEAR_YIELD("l1-grow");
	/* L1-TABLE, seq_cst: pairs with l1_table. In a section `t` is not freed, so this is no ABA. */
	if (!atomic_compare_exchange_strong_explicit(&l1->table, &t, larger, memory_order_seq_cst, memory_order_seq_cst)) {
		near__l1_table_unmap(l1, larger);
		return false;
	}
	l1_hint(l1, larger);
	near__count(l1->stats, NEAR__STAT_growths);
	return true;
}
