/* The state machine of one shard, without a Redis: what is applied, dropped, asked for again; the order of an
 * application; generations and floors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "coherence/room.h"

#define INC UINT64_C(0x1111222233334444)
#define SHARDS 2

typedef struct world {
	near__coherence c;
	near__shard shard[SHARDS];
	unsigned drops, flushes, gaps, filled;
	near__pos drop_pos, pos_at_drop;
	bool current_at_drop;
	uint64_t hash;
} world;

static void on_drop(void *ctx, unsigned shard, near__change change, const void *key, size_t key_size, near__pos pos)
{
	world *w = ctx;
	(void)change;
	(void)key;
	(void)key_size;
	w->drops++;
	w->drop_pos = pos;
	w->pos_at_drop = near__coherence_pos(&w->c, shard);
	w->current_at_drop = near__coherence_current(&w->c, shard, w->hash, w->pos_at_drop);
}
static void on_filled(void *ctx, unsigned shard, const void *key, size_t key_size)
{
	(void)shard;
	(void)key;
	(void)key_size;
	((world *)ctx)->filled++;
}
static void on_flushed(void *ctx, unsigned shard)
{
	(void)shard;
	((world *)ctx)->flushes++;
}
static void on_gap(void *ctx, unsigned shard)
{
	(void)shard;
	((world *)ctx)->gaps++;
}
static void quiet(void *ctx, near_log_level level, const char *text)
{
	(void)ctx;
	(void)level;
	(void)text;
}

static int world_up(void **state)
{
	world *w = aligned_alloc(NEAR_LINE, (sizeof(*w) + NEAR_LINE - 1) / NEAR_LINE * NEAR_LINE);
	assert_non_null(w);
	memset(w, 0, sizeof(*w));
	assert_int_equal(near__stats_create(&w->c.config.redis.stats), NEAR_OK);
	w->c.config.redis.log = (near__log){ quiet, NULL };
	w->c.config.news = (near__coherence_news){ .ctx = w, .drop = on_drop, .filled = on_filled, .flushed = on_flushed,
		                                   .gap = on_gap };
	w->c.shard = w->shard;
	w->c.shards = SHARDS;
	for (unsigned i = 0; i < SHARDS; i++) {
		w->shard[i].owner = &w->c;
		w->shard[i].index = i;
		w->shard[i].iv = calloc(NEAR__KEY_STRIPES, sizeof(*w->shard[i].iv));
		w->shard[i].tags = calloc(NEAR__TAG_STRIPES, sizeof(*w->shard[i].tags));
		assert_true(w->shard[i].iv != NULL && w->shard[i].tags != NULL);
	}
	w->hash = near__hash_shared("k", 1);
	*state = w;
	return 0;
}

static int world_down(void **state)
{
	world *w = *state;
	for (unsigned i = 0; i < SHARDS; i++) {
		free((void *)w->shard[i].iv);
		free((void *)w->shard[i].tags);
	}
	near__stats_free(w->c.config.redis.stats);
	free(w);
	return 0;
}

static near__verdict hear(world *w, uint64_t inc, uint64_t seq, char kind, const char *key)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "1 %016llx %llu 00000000000000aa %c %s", (unsigned long long)inc,
	                 (unsigned long long)seq, kind, key);
	near__message m = near__message_read(text, (size_t)n);
	return near__shard_message(&w->shard[0], &m);
}

static uint64_t stat(world *w, unsigned which)
{
	return near__stats_sum(w->c.config.redis.stats, which);
}

static void change__next_in_line__is_applied_in_order(void **state)
{
	world *w = *state;
	near__shard_adopt(&w->shard[0], INC, 5, NULL);
	near__pos before = near__coherence_pos(&w->c, 0);
	assert_int_equal(hear(w, INC, 6, 'i', "k"), NEAR__VERDICT_DONE);
	/* When the drop was asked for, iv was raised already and pos had not moved. */
	assert_int_equal(w->drops, 1);
	assert_true(w->drop_pos == before + 1);
	assert_true(w->pos_at_drop == before);
	assert_false(w->current_at_drop);
	assert_true(near__coherence_pos(&w->c, 0) == before + 1);
	assert_true(near__coherence_current(&w->c, 0, w->hash, before + 1));
}

static void change__applied_already__is_a_duplicate(void **state)
{
	world *w = *state;
	near__shard_adopt(&w->shard[0], INC, 5, NULL);
	assert_int_equal(hear(w, INC, 5, 'i', "k"), NEAR__VERDICT_DONE);
	assert_int_equal(hear(w, INC, 1, 'p', "k"), NEAR__VERDICT_DONE);
	assert_int_equal(w->drops, 0);
	assert_int_equal(stat(w, NEAR__STAT_messages_duplicate), 2);
}

static void change__beyond_the_next__asks_and_applies_nothing(void **state)
{
	world *w = *state;
	near__shard_adopt(&w->shard[0], INC, 5, NULL);
	assert_int_equal(hear(w, INC, 7, 'i', "k"), NEAR__VERDICT_RESYNC);
	assert_int_equal(w->drops, 0);
	assert_int_equal(w->gaps, 1);
	assert_int_equal(near__coherence_pos(&w->c, 0) & NEAR__SEQ_MASK, 5);
	/* While a replay is on its way, the next one of the line is still welcome, and the gap is not told again. */
	w->shard[0].running = true;
	assert_int_equal(hear(w, INC, 6, 'i', "k"), NEAR__VERDICT_DONE);
	assert_int_equal(w->drops, 1);
	assert_int_equal(hear(w, INC, 9, 'i', "k"), NEAR__VERDICT_RESYNC);
	assert_int_equal(w->gaps, 1);
}

static void change__of_another_incarnation__asks(void **state)
{
	world *w = *state;
	assert_int_equal(hear(w, INC, 1, 'i', "k"), NEAR__VERDICT_RESYNC); /* none known yet */
	near__shard_adopt(&w->shard[0], INC, 5, NULL);
	assert_int_equal(hear(w, INC + 1, 6, 'i', "k"), NEAR__VERDICT_RESYNC);
	assert_int_equal(hear(w, INC + 1, 0, 'v', ""), NEAR__VERDICT_RESYNC);
	assert_int_equal(hear(w, INC, 0, 'v', ""), NEAR__VERDICT_DONE);
	assert_int_equal(w->drops, 0);
}

static void news_of_a_fill__is_handed_on_and_moves_nothing(void **state)
{
	world *w = *state;
	near__shard_adopt(&w->shard[0], INC, 5, NULL);
	assert_int_equal(hear(w, INC, 0, 'f', "k"), NEAR__VERDICT_DONE);
	assert_int_equal(w->filled, 1);
	assert_int_equal(near__coherence_pos(&w->c, 0) & NEAR__SEQ_MASK, 5);
}

static void kind_unknown__is_in_doubt(void **state)
{
	world *w = *state;
	near__shard_adopt(&w->shard[0], INC, 5, NULL);
	assert_int_equal(hear(w, INC, 6, 'z', "k"), NEAR__VERDICT_DOUBT);
}

static void adopt__the_first_time__is_no_flush_but_ends_what_was_kept_before(void **state)
{
	world *w = *state;
	assert_true(near__coherence_current(&w->c, 0, w->hash, 0));
	near__shard_adopt(&w->shard[0], INC, 5, NULL);
	assert_int_equal(w->flushes, 0);
	assert_int_equal(stat(w, NEAR__STAT_flushes), 0);
	assert_false(near__coherence_current(&w->c, 0, w->hash, 0));
	assert_true(near__coherence_incarnation(&w->c, 0) == INC);
}

static void adopt__of_a_lower_sequence__still_makes_all_older_positions_lower(void **state)
{
	world *w = *state;
	near__shard_adopt(&w->shard[0], INC, 1000, NULL);
	near__pos old = near__coherence_pos(&w->c, 0);
	near__shard_adopt(&w->shard[0], INC + 1, 2, NULL);
	near__pos now = near__coherence_pos(&w->c, 0);
	assert_true(now > old);
	assert_true(old < near__coherence_floor(&w->c, 0) && near__coherence_floor(&w->c, 0) <= now);
	assert_int_equal(w->flushes, 1);
	assert_int_equal(stat(w, NEAR__STAT_incarnations), 1);
	/* The same incarnation, a hole in the log: a flush, but no new incarnation. */
	near__shard_adopt(&w->shard[0], INC + 1, 9, NULL);
	assert_int_equal(w->flushes, 2);
	assert_int_equal(stat(w, NEAR__STAT_incarnations), 1);
}

static void adopt__of_all_shards__leaves_one_common_floor(void **state)
{
	world *w = *state;
	for (int i = 0; i < 5; i++)
		near__shard_adopt(&w->shard[0], INC + (uint64_t)i, 3, NULL);
	near__shard_adopt(&w->shard[1], INC, 3, NULL);
	assert_true(near__coherence_floor(&w->c, 0) == near__coherence_floor(&w->c, 1));
	assert_true(near__coherence_floor_max(&w->c) == near__coherence_floor(&w->c, 0));
	assert_true(near__coherence_pos(&w->c, 1) >= near__coherence_floor_max(&w->c));
}

static void pos_of__an_own_answer__is_comparable_with_messages(void **state)
{
	world *w = *state;
	near__shard_adopt(&w->shard[0], INC, 5, NULL);
	near__pos own = near__coherence_pos_of(&w->c, 0, INC, 6);
	near__coherence_raise(&w->c, 0, w->hash, own);
	assert_false(near__coherence_current(&w->c, 0, w->hash, own - 1));
	assert_true(near__coherence_current(&w->c, 0, w->hash, own));
	/* Its own message leaves it alone: only what is below goes. */
	assert_int_equal(hear(w, INC, 6, 'p', "k"), NEAR__VERDICT_DONE);
	assert_true(w->drop_pos == own);
	assert_true(near__coherence_pos_of(&w->c, 0, INC + 1, 6) == 0);
}

static void tag__heard__raises_its_stripe(void **state)
{
	world *w = *state;
	near__shard_adopt(&w->shard[0], INC, 5, NULL);
	assert_int_equal(hear(w, INC, 6, 't', "ABCDEFGH"), NEAR__VERDICT_DONE);
	uint64_t tag;
	memcpy(&tag, "ABCDEFGH", 8);
	assert_int_equal(near__coherence_tag_pos(&w->c, 0, tag) & NEAR__SEQ_MASK, 6);
	assert_int_equal(near__coherence_tag_pos(&w->c, 0, tag + 1), 0);
	assert_int_equal(near__coherence_tag_pos(&w->c, 1, tag), 0);
	/* A flush puts it below what comes after: sequences of a tag are read again from Redis. */
	near__shard_adopt(&w->shard[0], INC + 1, 0, NULL);
	assert_true(near__coherence_tag_pos(&w->c, 0, tag) < near__coherence_floor(&w->c, 0));
}

static void lease__asked_at_a_position__begins_when_it_has_been_applied(void **state)
{
	world *w = *state;
	near__shard *s = &w->shard[0];
	near__shard_adopt(&w->shard[1], INC, 0, NULL);
	near__shard_adopt(s, INC, 5, NULL);
	w->c.config.lease_ms = 1000;
	w->c.phase = NEAR__PHASE_READY;
	s->asked = s->synced = true;
	s->asked_seq = 7;
	s->asked_ns = 100;
	near__lease_try(s);
	assert_int_equal(hear(w, INC, 6, 'i', "k"), NEAR__VERDICT_DONE);
	assert_true(near__coherence_shard_lease_until(&w->c, 0) == 0);
	assert_int_equal(hear(w, INC, 7, 'i', "k"), NEAR__VERDICT_DONE);
	assert_true(near__coherence_shard_lease_until(&w->c, 0) == 100 + 1000 * NEAR__MS_NS - NEAR__COARSE_NS);
	/* The shortest of all counts: the other shard has none. */
	assert_true(near__coherence_lease_until(&w->c) == 0);
}

static void lease__with_the_subscription_down_or_in_doubt__is_not_extended(void **state)
{
	world *w = *state;
	near__shard *s = &w->shard[0];
	near__shard_adopt(s, INC, 5, NULL);
	w->c.config.lease_ms = 1000;
	for (int i = 0; i < 5; i++) {
		w->c.phase = i == 0 ? NEAR__PHASE_DOWN : NEAR__PHASE_READY;
		s->synced = i != 1;
		s->doubt_ns = i == 2;
		s->start_over = i == 3;
		s->asked = i != 4;
		s->asked_seq = 5;
		s->asked_ns = 100;
		near__lease_try(s);
		assert_true(near__coherence_shard_lease_until(&w->c, 0) == 0);
	}
	/* A position of the line before a flush proves nothing for the one after it. */
	s->doubt_ns = 0;
	s->start_over = false;
	s->asked = true;
	near__shard_adopt(s, INC + 1, 5, NULL);
	near__lease_try(s);
	assert_true(near__coherence_shard_lease_until(&w->c, 0) == 0);
}

static void generations__used_up__take_the_shard_out_of_use(void **state)
{
	world *w = *state;
	near__shard_adopt(&w->shard[0], INC, 5, NULL);
	w->c.generation_max = w->shard[0].generation = NEAR__GENERATION_MAX - 1;
	near__shard_adopt(&w->shard[0], INC + 1, 5, NULL);
	near__pos last = near__coherence_pos(&w->c, 0);
	assert_true(last >> NEAR__SEQ_BITS == NEAR__GENERATION_MAX);
	near__shard_adopt(&w->shard[0], INC + 2, 5, NULL);
	assert_int_equal(near__coherence_incarnation(&w->c, 0), 0);
	assert_false(near__coherence_current(&w->c, 0, w->hash, last));
	assert_int_equal(hear(w, INC + 2, 6, 'i', "k"), NEAR__VERDICT_DONE);
	assert_int_equal(w->drops, 0);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(change__next_in_line__is_applied_in_order),
		WORLD_TEST(change__applied_already__is_a_duplicate),
		WORLD_TEST(change__beyond_the_next__asks_and_applies_nothing),
		WORLD_TEST(change__of_another_incarnation__asks),
		WORLD_TEST(news_of_a_fill__is_handed_on_and_moves_nothing),
		WORLD_TEST(kind_unknown__is_in_doubt),
		WORLD_TEST(adopt__the_first_time__is_no_flush_but_ends_what_was_kept_before),
		WORLD_TEST(adopt__of_a_lower_sequence__still_makes_all_older_positions_lower),
		WORLD_TEST(adopt__of_all_shards__leaves_one_common_floor),
		WORLD_TEST(pos_of__an_own_answer__is_comparable_with_messages),
		WORLD_TEST(tag__heard__raises_its_stripe),
		WORLD_TEST(lease__asked_at_a_position__begins_when_it_has_been_applied),
		WORLD_TEST(lease__with_the_subscription_down_or_in_doubt__is_not_extended),
		WORLD_TEST(generations__used_up__take_the_shard_out_of_use),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
