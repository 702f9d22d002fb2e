/* L1 as a whole: creation, end, accounts, limits.
 *
 * Accounts. items, live_bytes and payload_bytes are kept in the caller's stripe of the counters: added when an entry is
 * published, subtracted (modulo 2^64) when it is taken out, whoever does either. Their sum over the stripes is right when
 * nothing is going on, and off by what is going on otherwise; a sum that looks negative reads as 0.
 *
 *   mapped = table + live + retired + pinned + the allocator's own + fragmentation
 */
#include "l1/inside.h"

#include <stdlib.h>

#define FIT_ROUNDS 4096

void near__l1_linked(near__l1 *l1, near__thread *self, const near__entry *e)
{
	near__count_by(l1->stats, self, NEAR__STAT_items, 1);
	near__count_by(l1->stats, self, NEAR__STAT_live_bytes, entry_footprint(e));
	near__count_by(l1->stats, self, NEAR__STAT_payload_bytes, entry_payload(e));
}

void near__l1_retire(near__l1 *l1, near__thread *self, near__entry *e)
{
	size_t bytes = entry_footprint(e);
	near__count_by(l1->stats, self, NEAR__STAT_items, -UINT64_C(1));
	near__count_by(l1->stats, self, NEAR__STAT_live_bytes, -(uint64_t)bytes);
	near__count_by(l1->stats, self, NEAR__STAT_payload_bytes, -entry_payload(e));
	NEAR_YIELD("l1-retire");
	near__limbo_retire(&l1->limbo, entry_link(e), bytes);
}

static bool is_table(const near__l1 *l1, const near__retired *object)
{
	/* The arenas' range is reserved up to its reach; a table's struct is the host's. */
	return (const char *)object < l1->base || (const char *)object >= l1->base + l1->reach_bytes;
}

size_t near__l1_release(void *ctx, near__retired *object)
{
	near__l1 *l1 = ctx;
	if (NEAR_UNLIKELY(is_table(l1, object))) {
		near__l1_table_unmap(l1, (near__table *)(void *)((char *)object - offsetof(near__table, link)));
		return 0;
	}
	near__entry *e = entry_of_link(object);
	size_t bytes = entry_footprint(e);
	(void)near__l1_free_or_orphan(l1->keeper, e);
	return bytes;
}

/* ------------------------------------------------------------------ creation and end */

static uint64_t sets_for(uint64_t slots_min)
{
	uint64_t sets = SET_COUNT_MIN;
	while (sets * SET_SLOTS < slots_min)
		sets *= 2;
	return sets;
}

static void set_up(near__l1 *l1, const near__l1_config *config)
{
	near__mem_stats m;
	near__mem_get_stats(l1->mem, &m);
	l1->base = near__mem_base(l1->mem);
	l1->reach_bytes = m.reach_bytes;
	l1->stats = config->stats;
	l1->huge_pages = config->huge_pages;
	l1->on_evicted = config->on_evicted;
	l1->ctx = config->ctx;
	l1->sweep_ms = config->sweep_ms > 0 ? config->sweep_ms : 1;
	atomic_init(&l1->payload_limit, config->payload_limit);
	atomic_init(&l1->tick_beats, 64);
	atomic_init(&l1->batch, 64);
	near__limbo_init(&l1->limbo);
	near__l1_weigh(l1, config->evict);
}

near_status near__l1_create(const near__l1_config *config, near__l1 **out)
{
	near_status status = NEAR_E_NOMEM;
	near__l1 *l1 = aligned_alloc(NEAR_LINE, sizeof(*l1));
	if (l1 == NULL)
		return status;
	memset(l1, 0, sizeof(*l1));
	status = near__mem_create(config->memory_bytes, config->huge_pages, &l1->mem);
	if (status != NEAR_OK)
		goto fail_mem;
	status = NEAR_E_NOMEM;
	l1->emptying = near__l1_emptying_make();
	l1->keeper = near__l1_keeper_make(l1->mem);
	if (l1->keeper == NULL || l1->emptying == NULL)
		goto fail_keeper;
	set_up(l1, config);
	near__table *t = near__l1_table_make(l1, sets_for(config->table_slots_min));
	if (t == NULL)
		goto fail_table;
	for (uint64_t i = 0; i < (t->set_mask + 1) * SET_SLOTS; i++)
		atomic_init(&t->slots[i].word, SLOT_EMPTY);
	atomic_init(&l1->table, t);
	l1_hint(l1, t);
	*out = l1;
	return NEAR_OK;

fail_table:
	near__l1_keeper_let_go(l1->keeper); /* and with it the memory */
	near__l1_emptying_free(l1->emptying);
	free(l1);
	return status;
fail_keeper:
	free(l1->keeper);
	near__l1_emptying_free(l1->emptying);
	near__mem_release(l1->mem);
fail_mem:
	free(l1);
	return status;
}

/* With pins outstanding the range stays: leave in it only what is pinned. */
static void free_entries(near__l1 *l1, const near__table *t, bool frozen_too)
{
	for (uint64_t i = 0; i < (t->set_mask + 1) * SET_SLOTS; i++) {
		uint64_t word = slot_peek(&t->slots[i]);
		if (!slot_is_vacant(word) && (frozen_too || !(word & SLOT_FROZEN)))
			(void)near__l1_free_or_orphan(l1->keeper, slot_entry(l1, word));
	}
}

static void finish_move(near__l1 *l1)
{
	near__thread *self = near__self();
	near__epoch_enter(self);
	while (near__l1_help(l1, self, 1024))
		continue;
	near__epoch_exit(self);
}

void near__l1_free(near__l1 *l1)
{
	finish_move(l1);
	near__limbo_drain(&l1->limbo, near__l1_release, l1);
	near__table *t = l1_table(l1);
	if (atomic_load_explicit(&l1->keeper->holders, memory_order_acquire) > 1) {
		free_entries(l1, t, true);
		near__mem_trim(l1->mem);
	}
	near__l1_table_unmap(l1, t);
	near__l1_keeper_let_go(l1->keeper);
	near__l1_emptying_free(l1->emptying);
	free(l1);
}

/* ------------------------------------------------------------------ limits */

bool near__l1_set_limit(near__l1 *l1, uint64_t memory_bytes)
{
	if (!near__mem_set_limit(l1->mem, memory_bytes))
		return false;
	(void)near__l1_fit_bound(l1, near__self(), FIT_ROUNDS);
	return true;
}

void near__l1_set_payload_limit(near__l1 *l1, uint64_t payload_limit)
{
	/* relaxed: read anew by each put. */
	atomic_store_explicit(&l1->payload_limit, payload_limit, memory_order_relaxed);
	near__thread *self = near__self();
	const near__l1_query q = { .hash = near__random_next(&self->random) };
	(void)near__l1_fit_payload(l1, self, &q, 0);
}

/* ------------------------------------------------------------------ gauges */

static uint64_t gauge(const near__l1 *l1, unsigned which)
{
	int64_t sum = (int64_t)near__stats_sum(l1->stats, which);
	return sum > 0 ? (uint64_t)sum : 0;
}

void near__l1_gauges(near__l1 *l1, near_stats *stats)
{
	near__mem_stats m;
	near__mem_get_stats(l1->mem, &m);
	near__thread *self = near__self();
	near__epoch_enter(self);
	stats->slots = (l1_table(l1)->set_mask + 1) * SET_SLOTS;
	near__epoch_exit(self);
	stats->items = gauge(l1, NEAR__STAT_items);
	stats->live_bytes = gauge(l1, NEAR__STAT_live_bytes);
	stats->payload_bytes = gauge(l1, NEAR__STAT_payload_bytes);
	stats->retired_bytes = near__limbo_bytes(&l1->limbo);
	stats->pinned_bytes = atomic_load_explicit(&l1->keeper->bytes, memory_order_relaxed);
	stats->limit_bytes = m.limit_bytes;
	stats->mapped_bytes = m.mapped_bytes;
	stats->mapped_bytes_max = m.mapped_bytes_max;
	stats->table_bytes = m.charged_bytes;
	stats->metadata_bytes = m.metadata_bytes;
	uint64_t held = stats->table_bytes + stats->live_bytes + stats->retired_bytes + stats->pinned_bytes + m.metadata_bytes;
	stats->fragmentation_bytes = m.mapped_bytes > held ? m.mapped_bytes - held : 0;
}
