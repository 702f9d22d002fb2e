/* Emptying spans of the range, so that memory held by part-filled slabs, or by the wrong sizes, becomes whole again.
 *
 * When the sizes of what is put shift, evicting by score leaves blocks free here and there, each of use to its own size
 * only. What helps is to empty whole slabs. The allocator does not tell which entries share one; but they lie side by side, and
 * the slot words tell where each entry lies. So the range is looked at in cells of 1/128 of the bound, in two walks over
 * the table, which read slot words only:
 *
 *   MEASURE   add to each entry's cell what it is worth: its score without the division by its size. The sum of a cell is
 *             what the cache would lose by emptying it, and every cell gives back about the same.
 *   EMPTY     evict what lies in the cells that are worth least.
 *
 * Whole slabs inside the cells, and all their pages, are free then; at the edges some are not. That is eviction by value per
 * byte again, only by the cell: cells with holes, and cells of sizes that are little asked for, go first.
 *
 * Housekeeping does this in steps while puts say that they starve (room.c); the lowering of a bound does it to the end.
 * A walk that meets a table larger than at its start ends there: what it has not seen is not worth less, and it will be
 * begun again if need be.
 */
#include "l1/inside.h"

#include <stdlib.h>

#define CELLS_PER_LIMIT 128
#define CELL_BYTES_MIN (UINT64_C(128) << 10)
#define CELLS_AT_ONCE 8
#define STARVED_PER_CELL 16 /* puts that starved since the last time call for another cell */

struct near__emptying {
	uint64_t sets;       /* of the table when the walk began; 0: none is under way */
	uint64_t at;         /* next set */
	bool emptying;       /* second walk */
	uint64_t cell_units; /* references per cell */
	uint64_t cells;
	near__span span[CELLS_AT_ONCE];
	unsigned spans, spans_wanted;
	size_t freed;
	float *worth; /* per cell */
	float *bytes;
};

near__emptying *near__l1_emptying_make(void)
{
	return calloc(1, sizeof(near__emptying));
}

void near__l1_emptying_free(near__emptying *m)
{
	if (m != NULL)
		free(m->worth);
	free(m);
}

static uint64_t sets_now(near__l1 *l1, near__thread *self)
{
	near__epoch_enter(self);
	uint64_t sets = l1_table(l1)->set_mask + 1;
	near__epoch_exit(self);
	return sets;
}

/* False: no memory for the sums. */
static bool begin(near__l1 *l1, near__thread *self, near__emptying *m, unsigned spans_wanted)
{
	uint64_t bytes = near__mem_limit(l1->mem) / CELLS_PER_LIMIT;
	if (bytes < CELL_BYTES_MIN)
		bytes = CELL_BYTES_MIN;
	free(m->worth);
	*m = (near__emptying){ .cell_units = bytes / NEAR__REF_UNIT, .cells = l1->reach_bytes / bytes + 1 };
	m->worth = calloc(m->cells * 2, sizeof(float));
	if (m->worth == NULL)
		return false;
	m->bytes = m->worth + m->cells;
	m->spans_wanted = spans_wanted < CELLS_AT_ONCE ? spans_wanted : CELLS_AT_ONCE;
	m->sets = sets_now(l1, self);
	return true;
}

/* ------------------------------------------------------------------ first walk */

static void measure_set(near__l1 *l1, near__thread *self, near__emptying *m)
{
	near__epoch_enter(self);
	near__table *t = l1_table(l1);
	table_ready(l1, self, t, m->at);
	const near__slot *set = table_set(t, m->at);
	for (unsigned j = 0; j < SET_SLOTS; j++) {
		uint64_t word = slot_peek(&set[j]);
		if (slot_is_vacant(word))
			continue;
		uint64_t cell = slot_ref(word) / m->cell_units;
		m->worth[cell] += near__l1_worth(l1, word);
		m->bytes[cell] += heat_class_bytes(word);
	}
	near__epoch_exit(self);
}

static void choose(near__emptying *m)
{
	float cell_bytes = (float)(m->cell_units * NEAR__REF_UNIT);
	for (m->spans = 0; m->spans < m->spans_wanted; m->spans++) {
		uint64_t least = m->cells;
		for (uint64_t i = 0; i < m->cells; i++)
			/* nearly nothing there: not a cell in use, or one that gives little back */
			if (m->bytes[i] > cell_bytes / 16 && (least == m->cells || m->worth[i] < m->worth[least]))
				least = i;
		if (least == m->cells)
			return;
		m->span[m->spans] = (near__span){ .from = least * m->cell_units, .count = m->cell_units };
		m->bytes[least] = 0;
	}
}

/* ------------------------------------------------------------------ both */

/* Some sets further. True: the second walk has ended. */
static bool step(near__l1 *l1, near__thread *self, near__emptying *m, uint64_t sets)
{
	for (uint64_t n = 0; n < sets && m->at < m->sets; n++, m->at++) {
		if (!m->emptying)
			measure_set(l1, self, m);
		for (unsigned i = 0; m->emptying && i < m->spans; i++)
			m->freed += near__l1_evict_span(l1, self, m->at, &m->span[i]);
		if (m->emptying && m->at % 256 == 255)
			(void)near__l1_collect(l1);
	}
	if (m->at < m->sets)
		return false;
	bool ended = m->emptying;
	if (!ended)
		choose(m);
	m->at = 0;
	m->emptying = true;
	return ended;
}

bool near__l1_empty_step(near__l1 *l1, near__thread *self, uint64_t sets)
{
	near__emptying *m = l1->emptying;
	if (m->sets == 0) {
		/* relaxed: a hint of puts. */
		unsigned starved = atomic_load_explicit(&l1->starved, memory_order_relaxed);
		if (starved == 0)
			return false;
		atomic_fetch_sub_explicit(&l1->starved, starved, memory_order_relaxed);
		if (!begin(l1, self, m, 1 + starved / STARVED_PER_CELL))
			return false;
	}
	bool ended = step(l1, self, m, sets);
	if (ended)
		m->sets = 0;
	return !ended;
}

bool near__l1_fit_bound(near__l1 *l1, near__thread *self, unsigned rounds)
{
	near__emptying m = { 0 };
	unsigned fruitless = 0;
	for (unsigned round = 0; round < rounds && fruitless < 4 && near__mem_mapped(l1->mem) > near__mem_limit(l1->mem); round++) {
		if (!begin(l1, self, &m, CELLS_AT_ONCE / 4))
			break;
		while (!step(l1, self, &m, 4096))
			continue;
		for (unsigned i = 0; i < 4; i++)
			(void)near__l1_collect(l1);
		fruitless = m.freed > 0 ? 0 : fruitless + 1;
	}
	free(m.worth);
	return near__mem_mapped(l1->mem) <= near__mem_limit(l1->mem);
}
