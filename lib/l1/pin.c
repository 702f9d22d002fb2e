/* Pins: an entry that a caller keeps without copying it, beyond its section, its removal, and the end of the cache.
 *
 *   pin --> entry (its life counts the pins)
 *      \--> keeper --> the arenas' range        one keeper per cache, held by the cache and by each pin
 *
 * A pin is taken inside the section that found the entry, so the entry has not been freed; it may have been taken out. When
 * the limbo gives it back, all sections that could have pinned it have ended: the number of pins can only fall. So either
 * it is 0 and the entry is freed, or ORPHAN is set and the unpin that brings the number to 0 frees it: both are changes of
 * one word, so exactly one of the two sees that it is the last [L1-PIN].
 *
 * The keeper's memory and a pin's are the host's malloc: 24 bytes each, not of the cache's bound. Pins are for large
 * values; a copy is cheaper for small ones.
 */
#include "l1/inside.h"

#include <stdlib.h>

struct near__pin {
	near__keeper *keeper;
	near__entry *entry;
};

near__keeper *near__l1_keeper_make(near__mem *mem)
{
	near__keeper *k = malloc(sizeof(*k));
	if (k == NULL)
		return NULL;
	k->mem = mem;
	atomic_init(&k->holders, 1);
	atomic_init(&k->bytes, 0);
	return k;
}

void near__l1_keeper_let_go(near__keeper *keeper)
{
	/* L1-KEEPER, acq_rel: all use of the range by all holders comes before its end. */
	if (atomic_fetch_sub_explicit(&keeper->holders, 1, memory_order_acq_rel) != 1)
		return;
	near__mem_release(keeper->mem);
	free(keeper);
}

bool near__l1_free_or_orphan(near__keeper *keeper, near__entry *e)
{
	/* L1-PIN, acquire: pairs with near__l1_unpin. */
	uint32_t life = atomic_load_explicit(&e->life, memory_order_acquire);
	if (NEAR_UNLIKELY((life & LIFE_PINS) != 0)) {
		size_t bytes = entry_footprint(e);
		atomic_fetch_add_explicit(&keeper->bytes, bytes, memory_order_relaxed); /* an account */
		NEAR_YIELD("l1-orphan");
		life = atomic_fetch_or_explicit(&e->life, LIFE_ORPHAN, memory_order_acq_rel); /* L1-PIN */
		if ((life & LIFE_PINS) != 0)
			return false;
		atomic_fetch_sub_explicit(&keeper->bytes, bytes, memory_order_relaxed);
	}
	near__mem_free(keeper->mem, e);
	return true;
}

near__pin *near__l1_pin(near__l1 *l1, const near__l1_view *view)
{
	near__entry *e = view->entry;
	near__pin *pin = malloc(sizeof(*pin));
	if (pin == NULL)
		return NULL;
	/* relaxed: the entry is ours to read already; what counts is the way back (L1-PIN). Ends: a failure means that another
	 * pinned, unpinned or marked it. */
	uint32_t life = atomic_load_explicit(&e->life, memory_order_relaxed);
	do {
		NEAR_ASSERT(life_state(life) == VALID);
		if ((life & LIFE_PINS) == LIFE_PINS) {
			free(pin);
			return NULL;
		}
	} while (!atomic_compare_exchange_weak_explicit(&e->life, &life, life + LIFE_PIN, memory_order_relaxed,
	                                                memory_order_relaxed));
	atomic_fetch_add_explicit(&l1->keeper->holders, 1, memory_order_relaxed);
	pin->keeper = l1->keeper;
	pin->entry = e;
	return pin;
}

void near__l1_unpin(near__pin *pin)
{
	near__entry *e = pin->entry;
	near__keeper *keeper = pin->keeper;
	size_t bytes = entry_footprint(e); /* before it may go */
	/* L1-PIN, acq_rel: our use of the bytes comes before the free, and the others' before ours. */
	uint32_t life = atomic_fetch_sub_explicit(&e->life, LIFE_PIN, memory_order_acq_rel);
	NEAR_ASSERT((life & LIFE_PINS) != 0);
	if ((life & LIFE_PINS) == LIFE_PIN && (life & LIFE_ORPHAN)) {
		atomic_fetch_sub_explicit(&keeper->bytes, bytes, memory_order_relaxed);
		near__mem_free(keeper->mem, e);
	}
	free(pin);
	near__l1_keeper_let_go(keeper);
}
