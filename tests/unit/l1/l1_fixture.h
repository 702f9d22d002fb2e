/* What the tests of L1 share: a cache in a box, calls without ceremony, and a look at the whole table at rest.
 * Time is the test's own: `now` starts at START_NS and is moved by hand. */
#ifndef TESTS_L1_FIXTURE_H
#define TESTS_L1_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "l1/inside.h"

#define MIB (UINT64_C(1) << 20)
#define SECOND_NS INT64_C(1000000000)
#define START_NS (1000 * SECOND_NS)

typedef struct box {
	near__l1 *l1;
	near__stats *stats;
	int64_t now;
} box;

static inline near__l1_config box_config(uint64_t memory_bytes)
{
	return (near__l1_config){ .memory_bytes = memory_bytes, .evict = NEAR_EVICT_BALANCED, .sweep_ms = 1000 };
}

static inline box box_open(near__l1_config config)
{
	box b = { .now = START_NS };
	assert_int_equal(near__stats_create(&b.stats), NEAR_OK);
	config.stats = b.stats;
	assert_int_equal(near__l1_create(&config, &b.l1), NEAR_OK);
	return b;
}

static inline box box_of(uint64_t memory_bytes)
{
	return box_open(box_config(memory_bytes));
}

static inline void box_close(box *b)
{
	near__l1_free(b->l1);
	near__stats_free(b->stats);
}

static inline uint64_t box_count(const box *b, unsigned which)
{
	return near__stats_sum(b->stats, which);
}

static inline near_stats box_gauges(const box *b)
{
	near_stats g;
	memset(&g, 0, sizeof(g));
	near__l1_gauges(b->l1, &g);
	return g;
}

/* A minute of life and half a minute of stale window. */
static inline near__l1_write write_of(const box *b, const void *key, size_t key_size, const void *value, size_t value_size)
{
	return (near__l1_write){ .hash = near__hash_local(key, key_size), .key = key, .key_size = key_size, .value = value,
		                 .value_size = value_size, .now_ns = b->now, .fresh_until_ns = b->now + 60 * SECOND_NS,
		                 .stale_until_ns = b->now + 90 * SECOND_NS };
}

static inline near__l1_write write_text(const box *b, const char *key, const char *value)
{
	return write_of(b, key, strlen(key), value, strlen(value));
}

static inline near__l1_outcome put_text(const box *b, const char *key, const char *value)
{
	near__l1_write w = write_text(b, key, value);
	return near__l1_put(b->l1, &w);
}

static inline near__l1_outcome put_asof(const box *b, const char *key, const char *value, uint64_t asof)
{
	near__l1_write w = write_text(b, key, value);
	w.asof = asof;
	return near__l1_put(b->l1, &w);
}

/* A view and a copy of its value, for use outside of the section. */
typedef struct seen {
	bool found;
	near__l1_view view;
	char *value; /* one byte longer, with a 0 */
} seen;

static inline seen see(const box *b, const void *key, size_t key_size)
{
	seen s = { 0 };
	near__thread *self = near__self();
	near__epoch_enter(self);
	s.found = near__l1_find(b->l1, near__hash_local(key, key_size), key, key_size, b->now, &s.view);
	if (s.found) {
		s.value = calloc(1, s.view.value_size + 1);
		assert_non_null(s.value);
		memcpy(s.value, s.view.value, s.view.value_size);
	} else {
		assert_null(s.view.entry);
	}
	near__epoch_exit(self);
	return s;
}

/* NULL: not there. Static storage, for the next call to overwrite. */
static inline const char *see_text(const box *b, const char *key)
{
	static char text[4096];
	seen s = see(b, key, strlen(key));
	if (!s.found)
		return NULL;
	(void)snprintf(text, sizeof(text), "%s", s.value);
	free(s.value);
	return text;
}

static inline bool is_there(const box *b, const char *key)
{
	return see_text(b, key) != NULL;
}

static inline unsigned drop_text(const box *b, const char *key, uint64_t below, bool keep_stale)
{
	return near__l1_drop(b->l1, near__hash_local(key, strlen(key)), key, strlen(key), below, keep_stale, b->now);
}

static inline void collect_all(const box *b)
{
	for (unsigned i = 0; i < 4; i++)
		(void)near__l1_collect(b->l1);
}

static inline void finish_growth(const box *b)
{
	near__thread *self = near__self();
	near__epoch_enter(self);
	while (near__l1_help(b->l1, self, 64))
		continue;
	near__epoch_exit(self);
}

/* At rest: every entry is VALID, decided, of no other entry's key, and accounted for to the byte. */
static inline void check_at_rest(const box *b)
{
	finish_growth(b);
	collect_all(b);
	near__l1 *l1 = b->l1;
	near__table *t = l1_table(l1);
	uint64_t items = 0, live = 0, payload = 0;
	assert_null(atomic_load(&t->parent));
	for (uint64_t i = 0; i <= t->set_mask; i++) {
		near__slot *set = t->slots + i * SET_SLOTS;
		for (unsigned j = 0; j < SET_SLOTS; j++) {
			uint64_t word = slot_peek(&set[j]);
			assert_true(word != SLOT_UNINIT && !(word & SLOT_FROZEN));
			if (slot_is_vacant(word))
				continue;
			near__entry *e = slot_entry(l1, word);
			uint64_t hash = near__hash_local(e->bytes, e->key_size);
			assert_false(word & SLOT_TENT);
			assert_int_equal(life_state(entry_life(e)), VALID);
			assert_true(slot_has_tag(word, hash) && (hash & t->set_mask) == i);
			for (unsigned k = 0; k < j; k++)
				assert_false(slot_has_key(l1, slot_peek(&set[k]), hash, e->bytes, e->key_size));
			items++;
			live += entry_footprint(e);
			payload += entry_payload(e);
		}
	}
	near_stats g = box_gauges(b);
	near__mem_stats m;
	near__mem_get_stats(l1->mem, &m);
	assert_int_equal(g.items, items);
	assert_int_equal(g.live_bytes, live);
	assert_int_equal(g.payload_bytes, payload);
	assert_int_equal(g.retired_bytes, 0);
	assert_int_equal(m.allocated_bytes, live + g.pinned_bytes); /* nothing leaked, nothing freed twice */
	assert_int_equal(m.charged_bytes, t->bytes);
	assert_true(m.mapped_bytes_max <= m.limit_bytes);
}

#endif
