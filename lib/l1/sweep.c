/* Housekeeping: one thread calls near__l1_maintain every few milliseconds.
 *
 *   growth    moves MOVE_SETS sets of the parent table per call, and finishes the move
 *   expiry    walks all sets once per sweep_ms, as far per call as the time since the last call demands; an entry past its
 *             stale window (past its life, if it has none) is taken out. A set's entries are fetched ahead, then read.
 *   clock     an entry that was not touched for most of the 8-bit clock's round is brought back to AGE_MAX, lest it
 *             look young again
 *   limbo     collects
 *   spans     empties spans of the range while puts starve beside idle memory (empty.c)
 *
 * Each set is its own section, so the sweep holds nobody's reclamation up.
 */
#include "l1/inside.h"

#define MOVE_SETS 256
#define SWEEP_SETS_MAX 16384
#define AGE_MAX 200
#define EMPTY_SETS 8192
#define TRIM_SHARE 8 /* expired memory is given to the system when it has come to this share of the bound */

static bool is_over(near__entry *e, int64_t now_ns)
{
	const _Atomic(uint32_t) *stale = entry_stale(e);
	/* relaxed: an end of life orders nothing. */
	uint32_t fresh = atomic_load_explicit(&e->fresh, memory_order_relaxed);
	return tick_is_over(now_ns, fresh) &&
	       (stale == NULL || tick_is_over(now_ns, atomic_load_explicit(stale, memory_order_relaxed)));
}

/* Returns the bytes taken out. */
static size_t sweep_slot(near__l1 *l1, near__thread *self, near__slot *slot, int64_t now_ns)
{
	uint64_t word = slot_peek(slot);
	if (slot_is_vacant(word) || (word & (SLOT_TENT | SLOT_FROZEN)))
		return 0;
	near__entry *e = slot_entry(l1, word);
	if (!is_over(e, now_ns)) {
		unsigned tick = l1_tick(l1);
		if (((tick - heat_clock(word)) & 0xff) > AGE_MAX)
			slot_note(slot, heat_make(heat_freq(word), tick - AGE_MAX, heat_class(word)));
		return 0;
	}
	NEAR_YIELD("l1-expire");
	size_t bytes = entry_footprint(e);
	if (!slot_cas_standing(slot, &word, SLOT_EMPTY))
		return 0;
	near__l1_retire(l1, self, e);
	near__count_by(l1->stats, self, NEAR__STAT_expirations, 1);
	return bytes;
}

/* Returns the number of sets of the table. */
static uint64_t sweep_set(near__l1 *l1, near__thread *self, uint64_t i, int64_t now_ns, size_t *freed)
{
	near__epoch_enter(self);
	near__table *t = l1_table(l1);
	near__slot *set = table_set(t, i);
	table_ready(l1, self, t, i);
	__builtin_prefetch(table_set(t, i + 2));
	__builtin_prefetch(table_set(t, i + 2) + SET_SLOTS / 2);
	for (unsigned j = 0; j < SET_SLOTS; j++) {
		uint64_t word = slot_peek(&set[j]);
		if (!slot_is_vacant(word))
			__builtin_prefetch(slot_block(l1->base, word));
	}
	for (unsigned j = 0; j < SET_SLOTS; j++)
		*freed += sweep_slot(l1, self, &set[j], now_ns);
	uint64_t sets = t->set_mask + 1;
	near__epoch_exit(self);
	return sets;
}

/* True: there is more to do to be in time. */
static bool sweep(near__l1 *l1, near__thread *self, int64_t now_ns)
{
	size_t freed = 0;
	if (l1->swept_ns == 0 || now_ns < l1->swept_ns)
		l1->swept_ns = now_ns;
	uint64_t sets = sweep_set(l1, self, l1->sweep_at, now_ns, &freed);
	double per_set_ns = (double)l1->sweep_ms * (double)NEAR__MS_NS / (double)sets;
	double due = (double)(now_ns - l1->swept_ns) / per_set_ns;
	uint64_t todo = due > (double)sets ? sets : (uint64_t)due;
	bool more = todo > SWEEP_SETS_MAX;
	if (more)
		todo = SWEEP_SETS_MAX;
	for (uint64_t n = 0; n < todo; n++)
		(void)sweep_set(l1, self, l1->sweep_at++, now_ns, &freed);
	if (due > (double)sets)
		l1->swept_ns = now_ns - (int64_t)((double)(sets - todo) * per_set_ns);
	else
		l1->swept_ns += (int64_t)((double)todo * per_set_ns);
	l1->freed_bytes += freed;
	return more;
}

bool near__l1_maintain(near__l1 *l1, int64_t now_ns)
{
	near__thread *self = near__self();
	near__epoch_enter(self);
	bool more = near__l1_help(l1, self, MOVE_SETS);
	near__epoch_exit(self);
	more |= sweep(l1, self, now_ns);
	(void)near__l1_collect(l1);
	more |= near__l1_empty_step(l1, self, EMPTY_SETS);
	if (l1->freed_bytes >= near__mem_limit(l1->mem) / TRIM_SHARE) {
		l1->freed_bytes = 0;
		near__mem_trim(l1->mem);
	}
	return more;
}
