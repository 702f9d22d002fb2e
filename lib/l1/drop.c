/* Removal: taking a key's entries out, or marking them stale, and what else changes an entry in place.
 *
 * A drop is what kills a late fill. An invalidation at position q reaches this process; the coherence room raises the key's
 * position to q, and then the key's entries older than q are dropped. A fill with as-of p < q may be at any step:
 *
 *   1. published before the drop's look at its slot: the drop sees it. Not yet VALID: aborted by its state, so that its
 *      owner's step to VALID fails. VALID: taken out, or marked.
 *   2. published after that look: then the raise came before the look, the look before the publication (each is a seq_cst
 *      access of the same slot, and the look did not see the publication), and the publication before the putter's question
 *      (put.c). So the question sees q, and the putter aborts its entry. [L1-FENCE; the dropper's side is the fence below
 *      and slot_look, the putter's is slot_cas and the fence before `current`.]
 *   3. moved to a larger table meanwhile: the drop works on a ready set of the newest table that it saw. It reads no F, so
 *      each of its looks counted when it was made (table.c, e); a publication in a still larger table comes after that one's
 *      set was made ready, hence after the freeze of these slots, hence after these looks: case 2.
 *
 * An entry that is seen ABORTED on the way is cleared, whoever aborted it.
 *
 * The as-of is loaded before it is known that the entry is still in its slot (L1-UNLINK): a verdict "leave it alone" is
 * checked by a second look at the slot; "take it out" ends in a CAS that fails if the entry has gone; an abort that hits an
 * entry already replaced hits one that nobody can see any more.
 *
 * Progress: lock-free: a round more means that the slot's entry was replaced, moved or touched by another.
 */
#include "l1/inside.h"

typedef struct cut {
	near__l1 *l1;
	near__thread *self;
	uint64_t hash;
	const void *key;
	size_t key_size;
	uint64_t below;
	bool keep_stale;
	int64_t now_ns;
	uint64_t spared_version;
	unsigned touched;
} cut;

typedef enum step { STEP_NEXT, STEP_AGAIN, STEP_MOVED } step;

static bool stale_window_left(near__entry *e, int64_t now_ns)
{
	const _Atomic(uint32_t) *stale = entry_stale(e);
	/* relaxed: a life's end orders nothing. */
	return stale != NULL && !tick_is_over(now_ns, atomic_load_explicit(stale, memory_order_relaxed));
}

static bool is_spared(const cut *c, near__entry *e)
{
	return c->spared_version != 0 && entry_is_fresh(e, c->now_ns) && entry_version(e) >= c->spared_version;
}

/* Takes a VALID one out, or marks it. */
static step cut_valid(cut *c, near__slot *slot, uint64_t *word, near__entry *e)
{
	if (is_spared(c, e))
		return STEP_NEXT;
	if (c->keep_stale && stale_window_left(e, c->now_ns)) {
		uint32_t before = atomic_fetch_or_explicit(&e->life, LIFE_MARK, memory_order_seq_cst);
		NEAR_YIELD("l1-marked");
		c->touched += !(before & LIFE_MARK);
		/* Replaced meanwhile: the mark has hit what nobody sees; look at what is there now. */
		uint64_t now = slot_look(slot);
		return slot_same(now, *word) ? STEP_NEXT : STEP_AGAIN;
	}
	NEAR_YIELD("l1-cut");
	if (!slot_cas_standing(slot, word, SLOT_EMPTY))
		return STEP_AGAIN;
	near__l1_retire(c->l1, c->self, e);
	c->touched++;
	return STEP_NEXT;
}

static step cut_slot(cut *c, near__slot *slot)
{
	uint64_t word = slot_look(slot);
	if (word & SLOT_FROZEN)
		return STEP_MOVED;
	if (!slot_has_key(c->l1, word, c->hash, c->key, c->key_size))
		return STEP_NEXT;
	near__entry *e = slot_entry(c->l1, word);
	if (entry_asof(e) >= c->below) {
		uint64_t now = slot_look(slot);
		return slot_same(now, word) ? STEP_NEXT : STEP_AGAIN;
	}
	NEAR_YIELD("l1-cut-decide");
	unsigned state = entry_move(e, PENDING, ABORTED, LIFE_MARK);
	if (state == UNIQUE)
		state = entry_move(e, UNIQUE, ABORTED, LIFE_MARK);
	if (state == VALID)
		return cut_valid(c, slot, &word, e);
	if (!l1_clear_aborted(c->l1, c->self, slot, &word))
		return STEP_AGAIN;
	c->touched++;
	return STEP_NEXT;
}

static bool cut_set(cut *c)
{
	near__table *t = l1_table(c->l1);
	table_ready(c->l1, c->self, t, c->hash);
	near__slot *set = table_set(t, c->hash);
	for (unsigned j = 0; j < SET_SLOTS; j++) {
		step s;
		do
			s = cut_slot(c, &set[j]);
		while (s == STEP_AGAIN);
		if (s == STEP_MOVED)
			return false;
	}
	return true;
}

unsigned near__l1_drop_older(near__l1 *l1, uint64_t hash, const void *key, size_t key_size, uint64_t below,
                             bool keep_stale, int64_t now_ns, uint64_t spared_version)
{
	cut c = { .l1 = l1, .self = near__self(), .hash = hash, .key = key, .key_size = key_size, .below = below,
		  .keep_stale = keep_stale, .now_ns = now_ns, .spared_version = spared_version };
	/* L1-FENCE: the caller has raised the key's position before; the looks come after. Pairs with the fence before
	 * `current` in put.c. */
	near__fence();
	near__epoch_enter(c.self);
	/* Ends: F was met, so a larger table has been published, which happens once per doubling. */
	while (!cut_set(&c))
		NEAR_YIELD("l1-cut-moved");
	near__epoch_exit(c.self);
	return c.touched;
}

unsigned near__l1_drop(near__l1 *l1, uint64_t hash, const void *key, size_t key_size, uint64_t below, bool keep_stale,
                       int64_t now_ns)
{
	return near__l1_drop_older(l1, hash, key, key_size, below, keep_stale, now_ns, 0);
}

/* ------------------------------------------------------------------ one entry */

static step unlink_slot(near__l1 *l1, near__thread *self, near__slot *slot, const near__entry *e, bool *done)
{
	uint64_t word = slot_look(slot);
	if (slot_is_vacant(word) || slot_entry(l1, word) != e)
		return word & SLOT_FROZEN ? STEP_MOVED : STEP_NEXT;
	if (word & SLOT_FROZEN)
		return STEP_MOVED;
	NEAR_YIELD("l1-unlink");
	if (!slot_cas_standing(slot, &word, SLOT_EMPTY))
		return STEP_AGAIN;
	near__l1_retire(l1, self, slot_entry(l1, word));
	*done = true;
	return STEP_NEXT;
}

void near__l1_unlink(near__l1 *l1, near__thread *self, uint64_t hash, near__entry *e)
{
	bool done = false, moved;
	do {
		moved = false;
		near__table *t = l1_table(l1);
		table_ready(l1, self, t, hash);
		near__slot *set = table_set(t, hash);
		for (unsigned j = 0; j < SET_SLOTS && !done && !moved; j++) {
			step s;
			do
				s = unlink_slot(l1, self, &set[j], e, &done);
			while (s == STEP_AGAIN);
			moved = s == STEP_MOVED;
		}
	} while (moved); /* ends as cut_set's caller does */
}

/* False: F was met. */
static bool touch_set(near__l1 *l1, near__thread *self, const near__l1_query *q, uint64_t asof, int64_t fresh_until_ns,
                      int64_t stale_until_ns, bool *touched)
{
	near__table *t = l1_table(l1);
	table_ready(l1, self, t, q->hash);
	near__slot *set = table_set(t, q->hash);
	for (unsigned j = 0; j < SET_SLOTS; j++) {
		uint64_t word = slot_look(&set[j]);
		if (word & SLOT_FROZEN)
			return false;
		if (!slot_has_key(l1, word, q->hash, q->key, q->key_size))
			continue;
		near__entry *e = slot_entry(l1, word);
		uint32_t life = entry_life(e);
		if (life_state(life) != VALID || (life & LIFE_MARK) || (e->flags & NEAR__ENTRY_FLAGS) || entry_asof(e) != asof)
			continue;
		if (!slot_same(slot_look(&set[j]), word)) /* L1-UNLINK */
			continue;
		/* relaxed: an end of life orders nothing; a reader between the two stores sees each end old or new. The new ends
		 * lie near now, so one of them tells where in the modulo we are. */
		_Atomic(uint32_t) *stale = entry_stale(e);
		if (stale != NULL)
			atomic_store_explicit(stale, tick_of(fresh_until_ns, stale_until_ns), memory_order_relaxed);
		atomic_store_explicit(&e->fresh, tick_of(fresh_until_ns, fresh_until_ns), memory_order_relaxed);
		*touched = true;
		break;
	}
	return true;
}

bool near__l1_touch(near__l1 *l1, uint64_t hash, const void *key, size_t key_size, uint64_t asof,
                    int64_t fresh_until_ns, int64_t stale_until_ns)
{
	near__thread *self = near__self();
	const near__l1_query q = { .hash = hash, .key = key, .key_size = key_size };
	bool touched = false;
	near__epoch_enter(self);
	while (!touch_set(l1, self, &q, asof, fresh_until_ns, stale_until_ns, &touched))
		NEAR_YIELD("l1-touch-moved");
	near__epoch_exit(self);
	return touched;
}

/* ------------------------------------------------------------------ everything */

static void clear_slot(near__l1 *l1, near__thread *self, near__slot *slot)
{
	uint64_t word = slot_look(slot);
	/* Ends: a failure means that somebody changed the slot and got on by it. */
	while (!slot_is_vacant(word) && !(word & SLOT_FROZEN)) {
		near__entry *e = slot_entry(l1, word);
		if (entry_move(e, PENDING, ABORTED, LIFE_MARK) == UNIQUE)
			(void)entry_move(e, UNIQUE, ABORTED, LIFE_MARK);
		if (slot_cas_standing(slot, &word, SLOT_EMPTY)) {
			near__l1_retire(l1, self, e);
			return;
		}
	}
}

/* A section per set, so that what was taken out can be freed on the way. False: the table has another size by now. */
static bool clear_set(near__l1 *l1, near__thread *self, uint64_t i, uint64_t sets)
{
	near__epoch_enter(self);
	near__table *t = l1_table(l1);
	bool same = t->set_mask + 1 == sets;
	if (same) {
		table_ready(l1, self, t, i);
		for (unsigned j = 0; j < SET_SLOTS; j++)
			clear_slot(l1, self, &t->slots[i * SET_SLOTS + j]);
	}
	near__epoch_exit(self);
	return same;
}

static uint64_t set_count(near__l1 *l1, near__thread *self)
{
	near__epoch_enter(self);
	uint64_t sets = l1_table(l1)->set_mask + 1;
	near__epoch_exit(self);
	return sets;
}

void near__l1_clear(near__l1 *l1)
{
	near__thread *self = near__self();
	uint64_t sets;
	do { /* once more when the table grew meanwhile */
		sets = set_count(l1, self);
		for (uint64_t i = 0; i < sets && clear_set(l1, self, i, sets); i++)
			if (i % 64 == 63)
				(void)near__l1_collect(l1);
	} while (set_count(l1, self) != sets);
	for (unsigned i = 0; i < 4; i++)
		(void)near__l1_collect(l1);
}
